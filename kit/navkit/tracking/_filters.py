"""Live filters: each sample of the result uses only that sample and earlier ones.

All of them trade noise for lag, and each says how much. Rules they share: a sample that is not valid is used
by nothing and stays as it is; a filter goes on over a short loss, with the true time between samples, and
starts anew after more than `max_gap_s` without a valid sample. Take repeated samples out first
(`without_repeats`): a filter takes them for a tool at rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.tracking._stream import PoseStream

Array = NDArray[np.float64]

START_SPEED_MM_S = 1000.0
"""Standard deviation of a tool's velocity before it is seen to move: no hand is much faster."""


def one_euro(
    stream: PoseStream,
    *,
    min_cutoff_hz: float = 1.0,
    beta: float = 0.16,
    beta_rotation: float = 9.0,
    derivative_cutoff_hz: float = 1.0,
    max_gap_s: float = 0.25,
) -> PoseStream:
    """The 1-Euro filter: an exponential filter that lets go as the tool moves faster.

    Its cut-off is ``fc = min_cutoff_hz + beta * speed``, so a hand at rest is smoothed and a moving one is
    not held back [1]_. Position and rotation are filtered apart: the position by the length of its velocity,
    which does not depend on the tracker's axes, the rotation by slerp with its angular speed.

    Lag (measured by `filter_lag_s`) at a steady speed: ``1 / (2 pi fc)`` s, whatever the sampling rate. The
    filtered tool is therefore never more than ``1 / (2 pi beta)`` mm behind (1.0 mm, and 1.0 degree, with the
    values given here): choose `beta` by that. With ``beta=0`` the lag is ``(1 - alpha) / alpha`` samples and
    the variance of white noise falls to ``alpha / (2 - alpha)`` of itself, where
    ``alpha = 1 / (1 + 1 / (2 pi fc dt))``.

    Parameters
    ----------
    stream : PoseStream
    min_cutoff_hz : cut-off at rest; lower is smoother
    beta : Hz for each mm/s
    beta_rotation : Hz for each rad/s
    derivative_cutoff_hz : the speed itself is smoothed with this cut-off, so it is seen
        ``1 / (2 pi derivative_cutoff_hz)`` s late
    max_gap_s : seconds; start anew after a longer loss

    Raises
    ------
    ValueError
        If a cut-off is not positive or a beta is negative.

    Notes
    -----
    The speed is that between two measured poses. The paper takes the difference between the newest measured
    and the last filtered position, which overstates a steady speed by ``1 / alpha`` and makes the tuning
    depend on the sampling rate.

    References
    ----------
    .. [1] Casiez, Roussel, Vogel, 1 Euro filter: a simple speed-based low-pass filter for noisy input in
       interactive systems, CHI 2012, doi:10.1145/2207676.2208639.

    Examples
    --------
    >>> pose = pose_from(np.eye(3), [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
    >>> one_euro(PoseStream([0, 0.02, 0.04, 0.06], pose), beta=0).pose[:, 2, 3].round(3)
    array([0.   , 0.   , 0.112, 0.099])
    """
    _check_positive(min_cutoff_hz=min_cutoff_hz, derivative_cutoff_hz=derivative_cutoff_hz)
    if min(beta, beta_rotation) < 0:
        raise ValueError(f"beta and beta_rotation are {beta} and {beta_rotation}; expected 0 or more.")
    if not stream.valid.any():
        return stream
    pose = stream.pose[stream.valid]
    step = _steps(stream, max_gap_s)

    def alpha(cutoff_hz: Array | float) -> Array:
        return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step))  # 1 at a fresh start, where step is infinite

    def cutoff(change: Array, factor: float) -> Array:
        velocity = _compiled(_one_pole)(change / step[:, None], alpha(derivative_cutoff_hz))
        speed: Array = np.linalg.norm(velocity, axis=1)
        return min_cutoff_hz + factor * speed

    position, rotation = pose[:, :3, 3].copy(), Rotation.from_matrix(pose[:, :3, :3])
    turn = np.zeros_like(position)
    turn[1:] = (rotation[1:] * rotation[:-1].inv()).as_rotvec()  # in fixed axes, so that turns may be added
    moved = np.diff(position, axis=0, prepend=position[:1])
    position = _compiled(_one_pole)(position, alpha(cutoff(moved, beta)))
    quaternion = _compiled(_slerp_pole)(rotation.as_quat(), alpha(cutoff(turn, beta_rotation)))
    return _with_poses(stream, pose_from(Rotation.from_quat(quaternion), position))


@dataclass(frozen=True)
class KalmanTrack:
    """What a Kalman filter makes of a stream.

    Parameters
    ----------
    stream : PoseStream with the filtered positions
    velocity_mm_s : (n, 3), NaN where not valid
    covariance : (n, 2, 2) of the error of one axis's position (mm) and velocity (mm/s), the same for all
        axes; NaN where not valid
    innovation_ratio : mean of the squared innovations (measured less predicted) over what the covariance
        expects of them. About 1 when the two standard deviations suit the stream; above 1 the filter trusts
        itself too much. NaN when there is no innovation
    """

    stream: PoseStream
    velocity_mm_s: Array
    covariance: Array
    innovation_ratio: float


def constant_velocity_kalman(
    stream: PoseStream,
    *,
    position_sd_mm: float,
    acceleration_sd_mm_s2: float,
    max_gap_s: float = 0.25,
) -> KalmanTrack:
    """A Kalman filter for a tool that keeps its velocity unless pushed.

    Each axis has a position and a velocity; between two samples it is pushed by a constant acceleration,
    random and new at each sample [1]_. Times may be irregular. Only the position is filtered: **rotation
    passes through unchanged**.

    Lag (measured by `filter_lag_s`): 0 s at a steady speed, once the velocity has settled. Under a steady
    acceleration A the position is ``A dt**2 (1 - g) / h`` behind, with the steady gains g of the position and
    h / dt of the velocity.

    Parameters
    ----------
    stream : PoseStream
    position_sd_mm : noise of the tracker, along each axis
    acceleration_sd_mm_s2 : of the tool, along each axis; it is for the stream's own rate, since a new
        acceleration is drawn at each sample
    max_gap_s : seconds; start anew after a longer loss

    Returns
    -------
    KalmanTrack

    Raises
    ------
    ValueError
        If a standard deviation is not positive.

    References
    ----------
    .. [1] Bar-Shalom, Li, Kirubarajan, Estimation with applications to tracking and navigation, Wiley 2001,
       section 6.3.2, doi:10.1002/0471221279.

    Examples
    --------
    >>> t = np.arange(60) / 20
    >>> stream = PoseStream(t, pose_from(np.eye(3), np.outer(t, [30, 0, -10])))
    >>> track = constant_velocity_kalman(stream, position_sd_mm=0.2, acceleration_sd_mm_s2=100)
    >>> track.velocity_mm_s[-1].round(3)
    array([ 30., 0., -10.])
    """
    _check_positive(position_sd_mm=position_sd_mm, acceleration_sd_mm_s2=acceleration_sd_mm_s2)
    velocity = np.full((len(stream), 3), np.nan)
    covariance = np.full((len(stream), 2, 2), np.nan)
    if not stream.valid.any():
        return KalmanTrack(stream, velocity, covariance, np.nan)
    pose = stream.pose[stream.valid]
    position, velocity[stream.valid], covariance[stream.valid], ratio = _compiled(_kalman)(
        pose[:, :3, 3].copy(), _steps(stream, max_gap_s), position_sd_mm**2, acceleration_sd_mm_s2**2
    )
    pose[:, :3, 3] = position
    return KalmanTrack(_with_poses(stream, pose), velocity, covariance, float(ratio))


def custusx_live_filter(
    stream: PoseStream,
    *,
    cutoff_hz: float = 3.0,
    rate_hz: float = 100.0,
    settle_s: float = 1.0,
    max_gap_s: float = 1.0,
) -> PoseStream:
    """CustusX's filter for tools on the screen: a Butterworth low pass of order 2, on the position only.

    The positions are interpolated to `rate_hz` and filtered; the newest filtered one is shown. For the first
    second, and again after a gap, CustusX shows what was measured [1]_. **Rotation passes through unchanged**
    (CustusX's is up to one step of `rate_hz` old and not renormalised).

    Lag (measured by `filter_lag_s`): ``sqrt(2) / (2 rate_hz tan(pi cutoff_hz / rate_hz))`` s, close to
    ``sqrt(2) / (2 pi cutoff_hz)``, 75 ms with CustusX's values; and up to ``1 / rate_hz`` more, since the
    newest step comes before the newest sample. At 50 mm/s the tool is shown 4 mm behind.

    Parameters
    ----------
    stream : PoseStream
    cutoff_hz, rate_hz : of the low pass, and of the steps it works on
    settle_s : for so long the measured positions are shown. Ours starts at rest at the first position, where
        CustusX's starts at the origin, and needs no settling: 0 filters from the first sample
    max_gap_s : seconds; start anew after a longer loss

    Raises
    ------
    ValueError
        If a rate is not positive or the cut-off is not below half of `rate_hz`.

    References
    ----------
    .. [1] CustusX, class TrackingPositionFilter.

    Examples
    --------
    >>> t = np.arange(80) / 20
    >>> stream = PoseStream(t, pose_from(np.eye(3), np.outer(t, [50, 0, 0])))
    >>> shown = custusx_live_filter(stream)
    >>> (stream.pose - shown.pose)[[5, 60], 0, 3].round(2)
    array([0.  , 3.74])
    """
    from scipy.signal import butter, lfilter, lfilter_zi

    _check_positive(cutoff_hz=cutoff_hz, rate_hz=rate_hz)
    if cutoff_hz >= rate_hz / 2:
        raise ValueError(f"cutoff_hz is {cutoff_hz}; expected less than half of rate_hz, {rate_hz / 2}.")
    b, a = butter(2, cutoff_hz, fs=rate_hz)
    rest = lfilter_zi(b, a)
    pose, time = stream.pose[stream.valid], stream.time_s[stream.valid]
    fresh = np.flatnonzero(np.isinf(_steps(stream, max_gap_s)))
    for first, end in pairwise([*fresh, len(time)]):
        since, position = time[first:end] - time[first], pose[first:end, :3, 3]
        newest = (since * rate_hz + 1e-4).astype(int)  # a sample on a step counts in spite of rounding
        grid = np.arange(newest[-1] + 1) / rate_hz
        steps = np.stack([np.interp(grid, since, x) for x in position.T], axis=1)
        smooth, _ = lfilter(b, a, steps, axis=0, zi=np.outer(rest, steps[0]))
        settled = newest > settle_s * rate_hz
        position[settled] = smooth[newest[settled]]
    return _with_poses(stream, pose)


def filter_lag_s(filtered: PoseStream, truth: PoseStream, *, settle_s: float = 1.0) -> float:
    """By how many seconds a filtered stream comes late: ``filtered(t)`` is nearest to ``truth(t - lag)``.

    Least squares over all positions, by Gauss-Newton on a cubic spline through the truth. Measure with the
    motion you care about, free of noise: a filter's lag depends on how fast and how evenly the tool moves.

    Parameters
    ----------
    filtered, truth : streams with the same times
    settle_s : seconds from the start that are left out

    Raises
    ------
    ValueError
        If the times disagree, fewer than 4 samples are left, or the truth does not move.

    Examples
    --------
    >>> t = np.arange(100) / 20
    >>> path = lambda t: pose_from(np.eye(3), np.outer(np.sin(t), [40, 0, 0]))
    >>> round(filter_lag_s(PoseStream(t, path(t - 0.08)), PoseStream(t, path(t))), 4)
    0.08
    """
    from scipy.interpolate import CubicSpline

    if not np.array_equal(filtered.time_s, truth.time_s):
        raise ValueError(
            "filtered and truth have different times; expected one to be filtered from the other."
        )
    use = filtered.valid & (truth.time_s >= truth.time_s[0] + settle_s)
    if use.sum() < 4:
        raise ValueError(f"{use.sum()} samples are left after {settle_s} s; expected at least 4.")
    path = CubicSpline(truth.time_s[truth.valid], truth.pose[truth.valid, :3, 3])
    time, seen = truth.time_s[use], filtered.pose[use, :3, 3]
    lag = 0.0
    for _ in range(20):
        velocity = path(time - lag, 1)
        if not np.sum(velocity**2) > 0:
            raise ValueError("the truth does not move; expected a motion to measure a lag by.")
        lag += float(np.sum(velocity * (path(time - lag) - seen)) / np.sum(velocity**2))
    return lag


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}; expected a number above 0.")


def _steps(stream: PoseStream, max_gap_s: float) -> Array:
    """Seconds since the valid sample before, for each valid sample; infinite where a filter starts anew."""
    step = np.diff(stream.time_s[stream.valid], prepend=-np.inf)
    return np.where(step > max_gap_s, np.inf, step)


def _with_poses(stream: PoseStream, pose: Array) -> PoseStream:
    """The stream with other poses at its valid samples."""
    every = stream.pose.copy()
    every[stream.valid] = pose
    return replace(stream, pose=every)


# ---- loops over samples, compiled by numba when first used ------------------------------------------------


@cache
def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit  # here and not above: importing navkit.tracking must stay light

    compiled: Callable[..., Any] = njit(nogil=True, cache=True)(loop)
    return compiled


def _one_pole(x: Array, alpha: Array) -> Array:
    """``y[k] = y[k - 1] + alpha[k] (x[k] - y[k - 1])`` for the columns of x (n, m)."""
    y = x.copy()
    for k in range(1, len(x)):
        for i in range(x.shape[1]):
            y[k, i] = y[k - 1, i] + alpha[k] * (x[k, i] - y[k - 1, i])
    return y


def _slerp_pole(q: Array, alpha: Array) -> Array:
    """The same on the sphere of unit quaternions (n, 4), whose signs mean nothing."""
    y = q.copy()
    for k in range(1, len(q)):
        cosine = 0.0
        for i in range(4):
            cosine += y[k - 1, i] * q[k, i]
        half = np.arccos(min(abs(cosine), 1.0))
        old, new = 1.0 - alpha[k], alpha[k]
        if half > 1e-4:  # below, the chord is as good as the arc
            old, new = np.sin(old * half) / np.sin(half), np.sin(new * half) / np.sin(half)
        if cosine < 0:
            new = -new
        size = 0.0
        for i in range(4):
            y[k, i] = old * y[k - 1, i] + new * q[k, i]
            size += y[k, i] ** 2
        for i in range(4):
            y[k, i] /= np.sqrt(size)
    return y


def _kalman(z: Array, step: Array, r: float, q: float) -> tuple[Array, Array, Array, float]:
    """Positions, velocities (n, 3) and covariances (n, 2, 2) from measured z (n, 3) with variance r."""
    x, v, p = z.copy(), np.zeros_like(z), np.empty((len(z), 2, 2))
    ratio, count = 0.0, 0
    xx, xv, vv = r, 0.0, 0.0
    for k in range(len(z)):
        dt = step[k]
        if np.isinf(dt):
            xx, xv, vv = r, 0.0, START_SPEED_MM_S**2
        else:
            xx, xv, vv = (
                xx + 2 * dt * xv + dt**2 * vv + q * dt**4 / 4,
                xv + dt * vv + q * dt**3 / 2,
                vv + q * dt**2,
            )
            s = xx + r
            g, h = xx / s, xv / s
            for i in range(3):
                predicted = x[k - 1, i] + dt * v[k - 1, i]
                innovation = z[k, i] - predicted
                x[k, i] = predicted + g * innovation
                v[k, i] = v[k - 1, i] + h * innovation
                ratio += innovation**2 / s
                count += 1
            xx, xv, vv = (1 - g) * xx, (1 - g) * xv, vv - h * xv
        p[k, 0, 0], p[k, 0, 1], p[k, 1, 0], p[k, 1, 1] = xx, xv, xv, vv
    return x, v, p, ratio / count if count else np.nan
