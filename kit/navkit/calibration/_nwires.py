"""Probe calibration with N-wires: from where wires cross the picture to where the picture is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses

Array = NDArray[np.float64]

FEWEST_POINTS = 10
SQUARE_TOLERANCE_DEG = 1.0
"""How far the picture's axes may be from a right angle before a calibration is doubted."""


@dataclass(frozen=True)
class ProbeResult:
    """Where the picture is, seen from the probe's sensor, and what tells whether to trust it.

    Parameters
    ----------
    s_M_p : (4, 4) affine; maps pixels (column, row, 0) to the sensor, mm. Its third column is the cross
        product of the first two, as long as their mean: the picture itself says nothing about it
    scale_mm : (2,) width and height of a pixel
    rms_mm : RMS 3-D distance of the middle wires' points, as the picture gives them, from where the
        phantom says they are, over the points that were kept
    residual_mm : (n_frames, n_wires) that distance for every N; NaN where it was not seen
    kept : (n_frames, n_wires) bool; False where one of the three coordinates was trimmed
    covariance : (3, 3, 3) for each coordinate of the sensor's space, of the coefficients of column, row
        and 1; the elevation is the coordinate along which it is largest
    square_deg : the angle between the picture's axes; 90 for a picture without shear
    warnings : tuple of str
    """

    s_M_p: Array
    scale_mm: tuple[float, float]
    rms_mm: float
    residual_mm: Array
    kept: NDArray[np.bool_]
    covariance: Array
    square_deg: float
    warnings: tuple[str, ...]

    def sd_mm(self, px: ArrayLike) -> Array:
        """Standard deviation (..., 3) of mapped pixels (..., 2), along the sensor's axes, mm."""
        p = np.asarray(px, dtype=float)
        u = np.concatenate([p, np.ones((*p.shape[:-1], 1))], axis=-1)
        variance: Array = np.einsum("...i,cij,...j->...c", u, self.covariance, u)
        return np.sqrt(variance)

    def best_95(self) -> tuple[float, float]:
        """Mean and standard deviation of the smallest 95 % of the residuals, mm: the figure PLUS reports."""
        return best_95(self.residual_mm)


def best_95(residual_mm: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation of the smallest 95 % of some distances (NaN passed over), mm."""
    r = np.asarray(residual_mm, dtype=float)
    r = np.sort(r[np.isfinite(r)])
    r = r[: max(round(0.95 * len(r)), 1)]
    return float(r.mean()), float(r.std())


def calibrate_probe_nwires(
    wire_px: ArrayLike,
    wires_phantom: ArrayLike,
    s_M_phantom: ArrayLike,
    *,
    trim_sigma: float = 3.0,
) -> ProbeResult:
    """Calibrate a tracked probe from pictures of N-wires.

    In one N two outer wires are parallel and the third runs across. The ratio of the distances between
    their three dots tells where along the middle wire the picture cuts it [1]_: a point that is known in
    the phantom and in the picture. All of them give one linear system, solved for each coordinate of the
    sensor; rows further than `trim_sigma` standard deviations are left out and it is solved again until
    none is, as in PLUS's fCal [2]_.

    Parameters
    ----------
    wire_px : (n_frames, n_wires, 3, 2) column and row of the three dots of every N: outer, middle, outer;
        NaN where one was not seen
    wires_phantom : (n_wires, 3, 2, 3) the two ends of the same three wires, mm, in the phantom
    s_M_phantom : (n_frames, 4, 4) rigid; the phantom seen from the probe's sensor, for each frame
    trim_sigma : infinity keeps every row

    Raises
    ------
    ValueError
        If shapes disagree, fewer than 10 points are seen, the middle wire of an N does not cross the
        outer ones, or all points lie on one line of the picture.

    References
    ----------
    .. [1] Chen, Thurston, Ellis, Abolmaesumi, Ultrasound Med. Biol. 35(1), 2009,
       doi:10.1016/j.ultrasmedbio.2008.07.004.
    .. [2] PLUS, vtkPlusProbeCalibrationAlgo.
    """
    px = np.asarray(wire_px, dtype=float)
    wires = np.asarray(wires_phantom, dtype=float)
    m = check_poses(s_M_phantom, "s_M_phantom")
    if px.ndim != 4 or px.shape[2:] != (3, 2):
        raise ValueError(f"wire_px has shape {px.shape}; expected (n_frames, n_wires, 3, 2).")
    if wires.shape != (px.shape[1], 3, 2, 3):
        raise ValueError(f"wires_phantom has shape {wires.shape}; expected ({px.shape[1]}, 3, 2, 3).")
    if len(m) != len(px):
        raise ValueError(f"s_M_phantom has {len(m)} poses for {len(px)} frames; expected the same number.")

    # every frame's own pose on every frame's own points
    middle_s = middle_points(px, wires) @ np.swapaxes(m[:, :3, :3], 1, 2) + m[:, None, :3, 3]
    seen = np.isfinite(middle_s).all(axis=-1)
    u = np.concatenate([px[seen][:, 1], np.ones((int(seen.sum()), 1))], axis=1)
    x = middle_s[seen]
    if len(u) < FEWEST_POINTS:
        raise ValueError(f"{len(u)} middle points are seen; expected at least {FEWEST_POINTS}. More frames?")
    spread = np.linalg.svd(u[:, :2] - u[:, :2].mean(axis=0), compute_uv=False)
    if spread[1] < 0.01 * spread[0]:
        raise ValueError(
            "all middle points lie on one line of the picture; expected them spread over it. "
            "Move the probe, or use a phantom with more N's."
        )
    columns = np.zeros((3, 3))
    covariance = np.zeros((3, 3, 3))
    used = np.zeros((3, len(u)), dtype=bool)
    for c in range(3):
        columns[:, c], covariance[c], used[c] = _trimmed(u, x[:, c], trim_sigma)

    along, down, origin = columns
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    across = np.cross(along, down)
    s_M_p = np.eye(4)
    s_M_p[:3] = np.column_stack([along, down, across / np.linalg.norm(across) * np.mean(lengths), origin])
    distance = np.linalg.norm(u @ columns - x, axis=1)
    residual, kept = np.full(seen.shape, np.nan), np.zeros(seen.shape, dtype=bool)
    residual[seen], kept[seen] = distance, used.all(axis=0)
    square_deg = float(np.degrees(np.arccos(along @ down / (lengths[0] * lengths[1]))))
    warnings = []
    if abs(square_deg - 90) > SQUARE_TOLERANCE_DEG:
        warnings.append(
            f"the picture's axes meet at {square_deg:.1f} deg (expected 90 +- {SQUARE_TOLERANCE_DEG:.0f}): "
            "too few directions of the probe, or dots that are not the wires'."
        )
    if kept.sum() < 0.8 * seen.sum():
        warnings.append(f"{seen.sum() - kept.sum()} of {seen.sum()} points do not fit and were left out.")
    return ProbeResult(
        s_M_p,
        (float(lengths[0]), float(lengths[1])),
        float(np.sqrt(np.mean(residual[kept] ** 2))),
        residual,
        kept,
        covariance,
        square_deg,
        tuple(warnings),
    )


def middle_points(wire_px: ArrayLike, wires_phantom: ArrayLike) -> Array:
    """Where the picture cuts the middle wire of every N, (n_frames, n_wires, 3) mm in the phantom."""
    px, wires = np.asarray(wire_px, dtype=float), np.asarray(wires_phantom, dtype=float)
    to_middle, to_last = px[:, :, 1] - px[:, :, 0], px[:, :, 2] - px[:, :, 0]
    share = np.linalg.norm(to_middle, axis=-1) / np.linalg.norm(to_last, axis=-1)
    crossings = []
    for k, (first, middle, last) in enumerate(wires):
        ends = [_crossing(middle, outer) for outer in (first, last)]
        if any(end is None for end in ends):
            raise ValueError(f"the middle wire of N number {k} does not cross the outer two; expected an N.")
        crossings.append(ends)
    start, end = np.moveaxis(np.array(crossings, dtype=float), 1, 0)
    points: Array = start + share[..., None] * (end - start)
    return points


def _crossing(wire: Array, other: Array) -> Array | None:
    """The point of the line `wire` nearest to the line `other`; None where they do not meet within 1 mm."""
    u, v = wire[1] - wire[0], other[1] - other[0]
    normal = np.cross(u, v)
    size = normal @ normal
    if size < 1e-6 * (u @ u) * (v @ v):
        return None
    gap = (other[0] - wire[0]) @ normal / np.sqrt(size)
    if abs(gap) > 1.0:
        return None
    crossing: Array = wire[0] + np.cross(other[0] - wire[0], v) @ normal / size * u
    return crossing


def _trimmed(u: Array, y: Array, sigma: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Least squares without the rows beyond `sigma` deviations: values, covariance, which rows."""
    used: NDArray[np.bool_] = np.ones(len(y), dtype=bool)
    while True:
        solution = np.asarray(np.linalg.lstsq(u[used], y[used], rcond=None)[0], dtype=float)
        off = u[used] @ solution - y[used]
        beyond = np.abs(off - off.mean()) > sigma * off.std() + 1e-12
        if not beyond.any() or used.sum() - beyond.sum() < 6:
            break
        used[np.flatnonzero(used)[beyond]] = False
    variance = float(off @ off) / max(int(used.sum()) - 3, 1)
    covariance = np.asarray(variance * np.linalg.inv(u[used].T @ u[used]), dtype=float)
    return solution, covariance, used
