"""Delay between two clocks that watched the same motion."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, make_lsq_spline
from scipy.optimize import minimize_scalar

from navkit.calibration._bottom import detect_bottom
from navkit.tracking import PoseStream

Array = NDArray[np.float64]

FEWEST_SAMPLES = 8
ENOUGH_CONFIDENCE = 0.5
AS_GOOD = 1e-3
"""Correlations that differ by less than this are equally good."""
ENOUGH_MOTION_MM = 8.0
"""Below this the bottom's motion in the picture is not much more than its own thickness."""


@dataclass(frozen=True)
class DelayResult:
    """By how much one signal comes after another, and what tells whether to trust it.

    Parameters
    ----------
    delay_s : seconds; above 0 when b lags a: what a shows at time t, b shows at t + delay_s
    correlation : of the two signals after the shift, -1 to 1; below 0 when b goes up as a goes down
    sd_s : standard deviation of the delay from the misfit that is left, which need not be white
    confidence : 0 to 1: the share of the misfit of the next best delay (of either sign) that the best one
        removes. It is low when the motion is lost in the noise, and when it is so regular that another
        delay fits as well
    rival_s : that next best delay; NaN when the correlation has no second peak within `max_delay_s`
    warnings : tuple of str
    """

    delay_s: float
    correlation: float
    sd_s: float
    confidence: float
    rival_s: float
    warnings: tuple[str, ...] = ()


def estimate_delay(
    time_a: ArrayLike, signal_a: ArrayLike, time_b: ArrayLike, signal_b: ArrayLike, *, max_delay_s: float
) -> DelayResult:
    """The delay at which two signals agree best.

    Finds the shift with the largest absolute correlation [1]_. A cubic spline is fitted to the signal with
    the shorter sampling interval, with a knot for every two samples of the other, and is read at the
    shifted times of the other: the delay is not bound to either's samples. Units and offsets of the
    signals do not matter, nor does their sign.

    Parameters
    ----------
    time_a, time_b : (n,), (m,) s, increasing, each on its own clock
    signal_a, signal_b : (n,), (m,) finite, in any unit; leave out what was not measured
    max_delay_s : how far to search on both sides

    Raises
    ------
    ValueError
        If the shapes disagree, times do not increase, a signal is constant, or the recordings overlap in
        too few samples once shifted by `max_delay_s`.

    Notes
    -----
    Move as long and as irregularly as you can: several periods, of different length. A delay of a whole
    period of a regular motion, or of half a period with the other sign, fits as well as the true one.

    References
    ----------
    .. [1] Treece, Gee, Prager, Cash, Berman, High-definition freehand 3-D ultrasound, Ultrasound Med. Biol.
       29(4), 2003, doi:10.1016/S0301-5629(02)00735-4.

    Examples
    --------
    >>> t = np.linspace(0, 12, 241)
    >>> move = lambda t: np.sin(2 * t) + np.sin(0.7 * t)
    >>> round(estimate_delay(t, move(t), t, 5 - 2 * move(t - 0.125), max_delay_s=0.5).delay_s, 4)
    0.125
    """
    ta, a = _check_signal(time_a, signal_a, "a")
    tb, b = _check_signal(time_b, signal_b, "b")
    if not (np.isfinite(max_delay_s) and max_delay_s > 0):
        raise ValueError(f"max_delay_s is {max_delay_s}; expected a number of seconds above 0.")
    # The curve is laid through the denser signal; reading the sparse one would cut its corners.
    dense_a = np.median(np.diff(ta)) <= np.median(np.diff(tb))
    (td, d), (ts, s), sign = ((ta, a), (tb, b), -1.0) if dense_a else ((tb, b), (ta, a), 1.0)
    # The same samples for every shift, or the correlation would jump where one enters.
    inside = (ts >= td[0] + max_delay_s) & (ts <= td[-1] - max_delay_s)
    if inside.sum() < FEWEST_SAMPLES:
        raise ValueError(
            f"{inside.sum()} samples overlap once shifted by {max_delay_s} s; expected at least "
            f"{FEWEST_SAMPLES}. Signal a covers {ta[0]:.3f} to {ta[-1]:.3f} s, b {tb[0]:.3f} to "
            f"{tb[-1]:.3f} s: are the clocks the same?"
        )
    ts, s = ts[inside], _standard(s[inside], "the overlapping part of the sparser signal")
    curve = _curve(td, d, 2 * float(np.median(np.diff(ts))))

    def correlation(shift: float) -> float:
        there = curve(ts + shift)
        there = there - there.mean()
        size = np.sqrt(np.mean(there**2))
        return float(np.mean(there * s) / size) if size > 0 else 0.0

    step = min(float(np.median(np.diff(td))), max_delay_s / 8) / 2
    shifts = np.linspace(-max_delay_s, max_delay_s, 2 * int(np.ceil(max_delay_s / step)) + 1)
    strength = np.abs([correlation(x) for x in shifts])
    # a peak is no lower than its neighbours; at the edge of the search it need not be a true one
    padded = np.pad(strength, 1, constant_values=-1.0)
    peaks = np.flatnonzero((strength >= padded[:-2]) & (strength > padded[2:]))
    # of equal peaks the delay nearest to none comes first
    alike = np.where(strength[peaks] >= strength.max() - AS_GOOD, 1.0, strength[peaks])
    peaks = peaks[np.lexsort([np.abs(shifts[peaks]), -alike])]
    best, sd = _polished(curve, ts, s, _refined(correlation, shifts, int(peaks[0])))
    rival = _refined(correlation, shifts, int(peaks[1])) if len(peaks) > 1 else np.nan
    top = correlation(best)
    left = 1 - top**2
    of_rival = 1 - (correlation(rival) ** 2 if np.isfinite(rival) else 0.0)
    confidence = float(np.clip(1 - (left + AS_GOOD) / (of_rival + AS_GOOD), 0.0, 1.0))
    warnings = []
    if abs(best) > max_delay_s - 1e-4:
        warnings.append(
            f"the best delay is at the edge of the search, {sign * best:+.3f} s: search further than "
            f"{max_delay_s} s."
        )
    if confidence < ENOUGH_CONFIDENCE:
        other = f"a delay of {sign * rival:+.3f} s fits almost as well" if np.isfinite(rival) else "no peak"
        warnings.append(
            f"the correlation is {top:+.2f}, and {other} (confidence {confidence:.2f}): the motion is too "
            "small or too regular. Move further and less evenly."
        )
    return DelayResult(sign * best, top, sd, confidence, sign * rival, tuple(warnings))


def principal_motion(stream: PoseStream) -> tuple[Array, Array]:
    """Times (n,) s and positions (n,) mm of the valid samples along the direction that they moved most in.

    The sign of that direction is arbitrary; `estimate_delay` does not mind.
    """
    time = stream.time_s[stream.valid]
    place = stream.pose[stream.valid, :3, 3]
    if len(time) < FEWEST_SAMPLES:
        raise ValueError(f"{len(time)} samples are valid; expected at least {FEWEST_SAMPLES}.")
    centred = place - place.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    return time, centred @ direction


def estimate_video_delay(
    frames: ArrayLike,
    time_s: ArrayLike,
    stream: PoseStream,
    *,
    max_delay_s: float = 0.5,
    clip_p: tuple[int, int, int, int] | None = None,
) -> DelayResult:
    """The tracker's delay after the video, from pictures of a tank's bottom as the probe moves up and down.

    The video's signal is the row at which the bottom crosses the middle column, the tracker's the
    position along the direction of its main motion: PLUS's temporal calibration.

    Parameters
    ----------
    frames : (n, height, width) grey values
    time_s : (n,) s, on the video's clock
    stream : poses of the probe, on the tracker's clock
    max_delay_s : how far to search on both sides
    clip_p : where to look, see `detect_bottom`

    Returns
    -------
    DelayResult
        Above 0 when the tracker lags behind the video. Warns when fewer than four fifths of the
        pictures show a bottom, or the probe moved less than 8 mm.
    """
    pictures = np.asarray(frames)
    if pictures.ndim != 3 or len(pictures) != len(np.asarray(time_s)):
        raise ValueError(
            f"frames has shape {pictures.shape} and there are {len(np.asarray(time_s))} times; expected "
            "(n, height, width) and n times."
        )
    left, right = (clip_p or (0, pictures.shape[2] - 1))[:2]
    lines = [detect_bottom(picture, clip_p=clip_p) for picture in pictures]
    row = np.array([np.nan if line is None else line.row_at((left + right) / 2) for line in lines])
    seen = np.isfinite(row)
    if seen.sum() < FEWEST_SAMPLES:
        raise ValueError(
            f"the bottom shows in {seen.sum()} of {len(row)} pictures; expected at least {FEWEST_SAMPLES}. "
            "Is clip_p right, and the gain high enough?"
        )
    time, place = principal_motion(stream)
    result = estimate_delay(np.asarray(time_s)[seen], row[seen], time, place, max_delay_s=max_delay_s)
    warnings = list(result.warnings)
    if seen.mean() < 0.8:
        warnings.append(f"the bottom shows in only {seen.sum()} of {len(row)} pictures.")
    if np.ptp(place) < ENOUGH_MOTION_MM:
        warnings.append(
            f"the probe moved by {np.ptp(place):.1f} mm; expected at least {ENOUGH_MOTION_MM:.0f} mm."
        )
    return replace(result, warnings=tuple(warnings))


def _curve(t: Array, x: Array, spacing_s: float) -> BSpline:
    """A cubic spline by least squares, knots at least `spacing_s` apart: noise between them averages out.

    A spline through every sample would let the shift pick the noise that suits it.
    """
    spans = max(int((t[-1] - t[0]) / max(spacing_s, 2 * float(np.median(np.diff(t))))), 1)
    # as many samples in each span, so that a gap leaves no knot without samples
    inner = np.interp(np.linspace(0, len(t) - 1, spans + 1)[1:-1], np.arange(len(t)), t)
    return make_lsq_spline(t, x, np.r_[[t[0]] * 4, inner, [t[-1]] * 4], k=3)


def _refined(correlation: Callable[[float], float], shifts: Array, k: int) -> float:
    """The shift of the peak between the neighbours of sample k."""
    bounds = (shifts[max(k - 1, 0)], shifts[min(k + 1, len(shifts) - 1)])
    found = minimize_scalar(lambda x: -abs(correlation(x)), bounds=bounds, method="bounded")
    return float(found.x)


def _polished(curve: BSpline, ts: Array, s: Array, shift: float) -> tuple[float, float]:
    """The shift to full precision, and its standard deviation.

    The correlation is flat at its peak; regression of `s` on the curve, its slope and 1 is not: the slope's
    share is the shift that is still missing.
    """
    for _ in range(4):
        columns = np.column_stack([curve(ts + shift), curve(ts + shift, 1), np.ones_like(ts)])
        gain = np.linalg.lstsq(columns, s, rcond=None)[0]
        missing = gain[1] / gain[0]
        if abs(missing) > 0.1 * np.median(np.diff(ts)):  # not near a peak: leave what the search found
            break
        shift += missing
    off = s - columns @ gain
    spread = np.linalg.pinv(columns.T @ columns)[1, 1]
    # neighbours that err together count as fewer
    alike = float(np.clip(off[1:] @ off[:-1] / max(off @ off, 1e-300), 0.0, 0.95))
    variance = off @ off / max(len(s) - 3, 1) * (1 + alike) / (1 - alike)
    return float(shift), float(np.sqrt(variance * spread) / abs(gain[0]))


def _check_signal(time: ArrayLike, signal: ArrayLike, name: str) -> tuple[Array, Array]:
    t, x = np.asarray(time, dtype=float), np.asarray(signal, dtype=float)
    if t.ndim != 1 or t.shape != x.shape or len(t) < FEWEST_SAMPLES:
        raise ValueError(
            f"time_{name} has shape {t.shape} and signal_{name} {x.shape}; expected (n,) each, at least "
            f"{FEWEST_SAMPLES} samples."
        )
    if not (np.isfinite(t).all() and np.isfinite(x).all()):
        raise ValueError(f"signal {name} has values that are not finite; leave those samples out.")
    if (np.diff(t) <= 0).any():
        k = int(np.flatnonzero(np.diff(t) <= 0)[0]) + 1
        raise ValueError(f"time_{name}[{k}] = {t[k]:.6f} s does not come after {t[k - 1]:.6f} s.")
    _standard(x, f"signal_{name}")
    return t, x


def _standard(x: Array, what: str) -> Array:
    """Mean 0 and standard deviation 1."""
    size = float(x.std())
    if size <= 1e-12 * max(float(np.abs(x).max()), 1e-300):
        raise ValueError(f"{what} is constant; expected a motion.")
    standard: Array = (x - x.mean()) / size
    return standard
