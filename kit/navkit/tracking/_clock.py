"""Clocks: what two of them make of the same events, and time stamps that came late."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TRIM_SIGMA = 3.0


@dataclass(frozen=True)
class ClockFit:
    """How clock b runs against clock a: ``t_b = t_a * (1 + drift) + offset_s``.

    Parameters
    ----------
    offset_s : b's time at a's time 0; what is constant in the events' delay is part of it
    drift : seconds gained by b in each second of a; crystals keep below 1e-4
    rms_s : RMS distance of the inliers' stamps from the line
    inliers : (n,) bool, the events the line was fitted to
    centre_s : mean of the inliers on clock a, where the line is known best
    centre_sd_s : standard deviation of the line there
    drift_sd : standard deviation of the drift, independent of the one before
    """

    offset_s: float
    drift: float
    rms_s: float
    inliers: NDArray[np.bool_]
    centre_s: float
    centre_sd_s: float
    drift_sd: float

    def to_b(self, t_a: ArrayLike) -> Array:
        """Times on clock b of times on clock a, s."""
        t = np.asarray(t_a, dtype=float)
        return t + (self.drift * t + self.offset_s)

    def to_a(self, t_b: ArrayLike) -> Array:
        """Times on clock a of times on clock b, s."""
        t = np.asarray(t_b, dtype=float)
        return t - (self.drift * t + self.offset_s) / (1 + self.drift)

    def sd_s(self, t_a: ArrayLike) -> Array:
        """Standard deviation of `to_b`, s: it grows with the distance from the events."""
        away = np.asarray(t_a, dtype=float) - self.centre_s
        return np.hypot(self.centre_sd_s, self.drift_sd * away)


def estimate_clock(time_a_s: ArrayLike, time_b_s: ArrayLike, *, resolution_s: float = 1e-3) -> ClockFit:
    """Offset and drift between two clocks that stamped the same events.

    A line through ``b - a``: its first slope is the median over pairs of events half a recording apart [1]_,
    which bad stamps cannot bend while they are less than a quarter; then least squares, and events farther
    than three standard deviations from the line (from the median absolute deviation) are left out until none
    is. Late network packets are such events: they only ever come late, and a plain fit would follow them.

    Parameters
    ----------
    time_a_s : (n,) s, increasing
    time_b_s : (n,) s, the same events on the other clock, in the same order
    resolution_s : an event this near to the line is never left out. Stamps in whole milliseconds need it:
        most of them can have the same difference, and then no deviation at all is left to compare with

    Raises
    ------
    ValueError
        If the shapes disagree, there are fewer than 4 events, a time is not finite or `time_a_s` does not
        increase.

    References
    ----------
    .. [1] Theil, A rank-invariant method of linear and polynomial regression analysis, Proc. Kon. Ned. Akad.
       Wetensch. 53, 1950, doi:10.1007/978-94-011-2546-8_20; here its "incomplete" method.

    Examples
    --------
    >>> a = np.linspace(0, 60, 61)
    >>> b = a * (1 + 2e-5) - 4.0
    >>> b[7] += 0.3
    >>> clock = estimate_clock(a, b)
    >>> round(clock.offset_s, 6), round(clock.drift, 9), int(clock.inliers.sum())
    (-4.0, 2e-05, 60)
    """
    a, b = _check_stamps(time_a_s, "time_a_s"), _check_stamps(time_b_s, "time_b_s", increasing=False)
    if a.shape != b.shape or len(a) < 4:
        raise ValueError(f"{len(a)} and {len(b)} stamps; expected the same number of both, at least 4.")
    since, start = a - a[0], b[0] - a[0]
    gained = b - a - start  # small numbers, even where one clock counts from 1970
    half = len(a) // 2
    drift = float(np.median((gained[half:] - gained[:-half]) / (since[half:] - since[:-half])))
    keep = np.zeros(len(a), dtype=bool)
    for _ in range(50):
        deviation = gained - drift * since
        deviation = np.abs(deviation - np.median(deviation))
        limit = max(TRIM_SIGMA * 1.4826 * float(np.median(deviation)), resolution_s)
        before, keep = keep, deviation <= limit
        if np.array_equal(before, keep):
            break
        away = since[keep] - since[keep].mean()
        drift = float(away @ gained[keep] / (away @ away))
    gain, centre = float(gained[keep].mean()), float(a[keep].mean())
    residual = gained[keep] - gain - drift * away
    sd = float(np.sqrt(residual @ residual / max(len(residual) - 2, 1)))
    return ClockFit(
        offset_s=float(start) + gain - drift * centre,
        drift=drift,
        rms_s=float(np.sqrt(np.mean(residual**2))),
        inliers=keep,
        centre_s=centre,
        centre_sd_s=sd / float(np.sqrt(len(residual))),
        drift_sd=sd / float(np.sqrt(away @ away)),
    )


def filter_timestamps(index: ArrayLike, time_s: ArrayLike, *, window: int = 20) -> Array:
    """Time stamps without the jitter of the computer that set them: PLUS's filter.

    A device numbers its frames and samples them evenly; the computer stamps each when it arrives. A line
    through (index, time) of the last `window` items, read at the newest, is its filtered stamp [1]_. The
    filter is causal and has no lag while the rate holds; after a change of the rate it needs `window` items.
    The variance of white jitter falls to ``(4 w - 2) / (w (w + 1))`` of itself: for 20 items the standard
    deviation of a stamp to 0.43, that of the time between two neighbours to 0.15.

    Parameters
    ----------
    index : (n,) number of each item, increasing; where the device lost items it jumps
    time_s : (n,) s, as stamped
    window : number of items, at least 2. PLUS leaves its first items unfiltered; here the line is laid
        through the items there are

    Returns
    -------
    (n,) s. A very late stamp can still put a time before its neighbour's.

    Raises
    ------
    ValueError
        If the shapes disagree, the index does not increase or the window is below 2.

    References
    ----------
    .. [1] Lasso, Heffter, Rankin, Pinter, Ungi, Fichtinger, PLUS: open-source toolkit for ultrasound-guided
       intervention systems, IEEE Trans. Biomed. Eng. 61(10), 2014, doi:10.1109/TBME.2014.2322864.

    Examples
    --------
    >>> filter_timestamps([0, 1, 2, 4], [5.0, 5.1, 5.2, 5.4]).round(6)
    array([5. , 5.1, 5.2, 5.4])
    """
    n, t = _check_stamps(index, "index"), _check_stamps(time_s, "time_s", increasing=False)
    if n.shape != t.shape:
        raise ValueError(f"{len(n)} indices and {len(t)} times; expected the same number of both.")
    if window < 2:
        raise ValueError(f"window is {window}; expected 2 items or more.")

    def back(x: Array) -> Array:
        """What the last `window` items are ahead of the newest, (n, window); NaN before the first item."""
        padded = np.concatenate([np.full(window - 1, np.nan), x])
        last: Array = np.lib.stride_tricks.sliding_window_view(padded, window)
        return last - x[:, None]

    items, times = back(n), back(t)
    mean_item, mean_time = np.nanmean(items, axis=1), np.nanmean(times, axis=1)
    items -= mean_item[:, None]
    slope = np.nansum(items * times, axis=1) / np.maximum(np.nansum(items**2, axis=1), np.finfo(float).tiny)
    filtered: Array = t + mean_time - slope * mean_item
    return filtered


def _check_stamps(values: ArrayLike, name: str, *, increasing: bool = True) -> Array:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"{name} has shape {x.shape}; expected (n,) finite numbers, at least one.")
    late = np.flatnonzero(np.diff(x) <= 0)
    if increasing and late.size:
        k = int(late[0]) + 1
        raise ValueError(f"{name}[{k}] = {x[k]} does not come after {x[k - 1]}; expected increasing numbers.")
    return x
