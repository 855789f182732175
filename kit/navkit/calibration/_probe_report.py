"""How good a probe calibration is: does it repeat (precision), and is it right elsewhere (accuracy)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.calibration._probe_fit import best_95
from navkit.geometry import check_points

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProbeValidation:
    """Errors of a calibration at points that it was not made from.

    Parameters
    ----------
    error_mm : (n, 3) mapped pixel minus true point, along the picture's columns, its rows and across it
    distance_mm : (n,) their lengths
    bias_mm : (3,) their mean: what more pictures do not mend
    rms_mm : RMS over the points of the 3-D distance
    best_95 : mean and standard deviation of the smallest 95 % of the distances, mm, as PLUS reports
    """

    error_mm: Array
    distance_mm: Array
    bias_mm: Array
    rms_mm: float
    best_95: tuple[float, float]


def validate_probe(s_M_p: ArrayLike, px: ArrayLike, points_s: ArrayLike) -> ProbeValidation:
    """Accuracy: how far mapped pixels are from points that are known independently.

    Parameters
    ----------
    s_M_p : (4, 4) the calibration
    px : (n, 2) column and row of each point in its picture; rows with NaN are passed over
    points_s : (n, 3) mm, where the points were in the sensor's space

    Raises
    ------
    ValueError
        If shapes disagree or no point is seen.
    """
    m, pixel = _check(np.asarray(s_M_p, dtype=float)[None], px)
    points = np.asarray(points_s, dtype=float)
    if points.shape != (len(pixel), 3):
        raise ValueError(
            f"points_s has shape {points.shape}; expected ({len(pixel)}, 3), one for each pixel."
        )
    seen = np.isfinite(pixel).all(axis=1) & np.isfinite(points).all(axis=1)
    check_points(points[seen], "points_s")
    axes = m[0, :3, :3] / np.linalg.norm(m[0, :3, :3], axis=0)
    error = (_mapped(m, pixel[seen])[0] - points[seen]) @ axes
    distance = np.linalg.norm(error, axis=1)
    return ProbeValidation(
        error, distance, error.mean(axis=0), float(np.sqrt(np.mean(distance**2))), best_95(distance)
    )


def probe_reproducibility(s_M_p: ArrayLike, px: ArrayLike) -> Array:
    """Precision: how much a mapped pixel wanders when the calibration is repeated.

    The calibration reproducibility of the literature [1]_, as an RMS. It tells nothing of an error that every
    calibration makes, such as a wrong phantom or the wrong sound speed.

    Parameters
    ----------
    s_M_p : (k, 4, 4) calibrations of one probe and one sensor, made anew each time
    px : (n, 2) columns and rows to ask about, such as the centre and the corners

    Returns
    -------
    mm : (n,) RMS 3-D distance from the mean of the mapped points, unbiased (k - 1)

    References
    ----------
    .. [1] Mercier, Lango, Lindseth, Collins, Ultrasound Med. Biol. 31(4), 2005,
       doi:10.1016/j.ultrasmedbio.2004.11.015.

    Examples
    --------
    >>> once, again = np.eye(4), np.eye(4)
    >>> again[0, 3] = 0.2
    >>> probe_reproducibility([once, again], [[100.0, 50.0]]).round(4)
    array([0.1414])
    """
    m, pixel = _check(s_M_p, px)
    if len(m) < 2:
        raise ValueError(f"s_M_p has {len(m)} calibration; expected at least 2 to compare.")
    variance = np.var(_mapped(m, pixel), axis=0, ddof=1).sum(axis=-1)
    return np.asarray(np.sqrt(variance), dtype=float)


def _mapped(m: Array, pixel: Array) -> Array:
    """Pixels (n, 2) by every calibration (k, 4, 4): (k, n, 3)."""
    mapped: Array = pixel @ np.swapaxes(m[:, :3, :2], 1, 2) + m[:, None, :3, 3]
    return mapped


def _check(s_M_p: ArrayLike, px: ArrayLike) -> tuple[Array, Array]:
    m, pixel = np.asarray(s_M_p, dtype=float), np.asarray(px, dtype=float)
    if m.ndim != 3 or m.shape[1:] != (4, 4):
        raise ValueError(f"s_M_p has shape {m.shape}; expected (4, 4) for each calibration.")
    if pixel.ndim != 2 or pixel.shape[1] != 2:
        raise ValueError(f"px has shape {pixel.shape}; expected (n, 2), column and row.")
    return m, pixel
