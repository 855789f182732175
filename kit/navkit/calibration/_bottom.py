"""The bottom of a water tank, found in a picture of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d
from scipy.stats import siegelslopes

Array = NDArray[np.float64]

COLUMN_STEP = 4
"""Every so many columns are looked at: neighbours show the same echo."""
BRIGHT = 0.2
"""A column counts when its echo reaches this part of the picture's brightest."""
FEWEST_COLUMNS = 5
INLIER_PX = 10.0


@dataclass(frozen=True)
class BottomLine:
    """A straight line across the picture.

    Parameters
    ----------
    point_px : (2,) column and row of the middle of the columns that were used
    direction_px : (2,) unit vector, towards larger columns
    rms_px : RMS distance of the echoes from the line, over those that were used
    used : share of the columns with an echo that lie on the line
    """

    point_px: Array
    direction_px: Array
    rms_px: float
    used: float

    def row_at(self, column: float) -> float:
        """The row (px) at which the line crosses a column."""
        slope = self.direction_px[1] / self.direction_px[0]
        return float(self.point_px[1] + slope * (column - self.point_px[0]))


def detect_bottom(
    frame: ArrayLike, *, clip_p: tuple[int, int, int, int] | None = None, dark: float = 8.0
) -> BottomLine | None:
    """The bright line that the bottom of a water tank makes, None where there is none.

    In each column the centre of the brightest echo is taken; a line is laid through them by repeated
    medians [1]_, which bears almost half of the columns wrong, and refined by least squares on the
    columns that agree. The same idea as PLUS's line segmentation, without its random draws.

    Parameters
    ----------
    frame : (height, width) grey values
    clip_p : first and last column, first and last row (px) to look at; everything when left out. Keep
        scales, texts and the probe's own bright face out
    dark : grey value below which nothing is an echo

    Raises
    ------
    ValueError
        If the frame is no picture or the clip lies outside it.

    References
    ----------
    .. [1] Siegel, Robust regression using repeated medians, Biometrika 69(1), 1982,
       doi:10.1093/biomet/69.1.242.

    Examples
    --------
    >>> frame = np.zeros((120, 200))
    >>> frame[70:75] = 200
    >>> round(detect_bottom(frame).row_at(100), 6)
    72.0
    """
    picture, (left, top) = clipped(frame, clip_p)
    columns = np.arange(0, picture.shape[1], COLUMN_STEP)
    smooth = uniform_filter1d(picture[:, columns].astype(float), 5, axis=0, mode="nearest")
    peak = smooth.max(axis=0)
    seen = peak >= max(dark, BRIGHT * peak.max(initial=0.0))
    if seen.sum() < FEWEST_COLUMNS:
        return None
    rows = _centres(smooth[:, seen])
    x = columns[seen].astype(float)
    slope, intercept = siegelslopes(rows, x)
    for _ in range(3):
        used = np.abs(rows - slope * x - intercept) < INLIER_PX
        if used.sum() < FEWEST_COLUMNS:
            return None
        slope, intercept = np.polyfit(x[used], rows[used], 1)
    middle = x[used].mean()
    across = 1 / np.hypot(1.0, slope)
    return BottomLine(
        np.array([middle + left, slope * middle + intercept + top]),
        np.array([across, slope * across]),
        float(np.sqrt(np.mean((rows - slope * x - intercept)[used] ** 2)) * across),
        float(used.mean()),
    )


def clipped(
    frame: ArrayLike, clip_p: tuple[int, int, int, int] | None
) -> tuple[NDArray[np.generic], tuple[int, int]]:
    """The part of a picture to look at, and its first column and row."""
    picture = np.asarray(frame)
    if picture.ndim != 2 or min(picture.shape) < 8:
        raise ValueError(f"frame has shape {picture.shape}; expected one picture (height, width).")
    height, width = picture.shape
    left, right, top, bottom = clip_p or (0, width - 1, 0, height - 1)
    if not (0 <= left < right < width and 0 <= top < bottom < height):
        raise ValueError(
            f"clip_p is {clip_p}; expected first and last column, first and last row inside a picture of "
            f"{width} x {height} pixels."
        )
    return picture[top : bottom + 1, left : right + 1], (left, top)


def _centres(columns: Array) -> Array:
    """The row of the brightest echo in every column: its centre of gravity above half of its height."""
    rows = np.arange(len(columns))[:, None]
    at = columns.argmax(axis=0)
    high = columns >= 0.5 * columns.max(axis=0)
    # the run of high pixels that holds the maximum: no low pixel between it and the maximum
    low_count = np.cumsum(~high, axis=0)
    run = high & (low_count == low_count[at, np.arange(columns.shape[1])])
    weight = np.where(run, columns, 0.0)
    centre: Array = (weight * rows).sum(axis=0) / weight.sum(axis=0)
    return centre
