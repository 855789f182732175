"""Poses of one tool over time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses, interpolate_poses, pose_from

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PoseStream:
    """Poses of one tool over time.

    Parameters
    ----------
    time_s : (n,) seconds, increasing
    pose : (n, 4, 4) rigid; maps the tool (or sensor) to the tracker's or patient's space, mm
    valid : (n,) bool; all True when left out
    name : str
        The tool's name in the file it came from.

    Raises
    ------
    ValueError
        If shapes disagree, a time does not come after the one before it, or a valid pose is not
        rigid; the message names the sample.
    """

    time_s: Array
    pose: Array
    valid: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    name: str = ""

    def __post_init__(self) -> None:
        time = np.array(self.time_s, dtype=float)
        pose = np.array(self.pose, dtype=float)
        valid = np.array(self.valid, dtype=bool)
        if valid.size == 0:
            valid = np.ones(len(time), dtype=bool)
        if not (time.shape == valid.shape == pose.shape[:1]):
            raise ValueError(
                f"{len(time)} times, {len(pose)} poses and {len(valid)} validity marks; "
                "expected the same number of each."
            )
        late = np.flatnonzero(np.diff(time) <= 0)
        if late.size:
            k = int(late[0]) + 1
            raise ValueError(
                f"time_s[{k}] = {time[k]:.6f} s does not come after {time[k - 1]:.6f} s; times must increase."
            )
        if valid.any():
            check_poses(np.where(valid[:, None, None], pose, np.eye(4)), "pose")
        for name, value in (("time_s", time), ("pose", pose), ("valid", valid)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.time_s)

    def at(
        self, query_s: ArrayLike, *, max_gap_s: float = 0.25, extrapolate: bool = False
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Poses (k, 4, 4) at other times and which of them are valid (k,); see `interpolate_poses`."""
        return interpolate_poses(
            self.time_s[self.valid],
            self.pose[self.valid],
            query_s,
            max_gap_s=max_gap_s,
            extrapolate=extrapolate,
        )


def moving_average(stream: PoseStream, strength: int) -> PoseStream:
    """CustusX's position filter: the plain mean of ``2 * strength + 1`` neighbouring samples.

    Quaternions are averaged by component, the ends are repeated, and a stream no longer than the
    window is left alone, as CustusX does [1]_. Ours aligns the quaternions' signs and normalises the
    mean, which CustusX does not; for the small turns between samples the two agree.
    It counts samples, not time: a tracker that repeats samples is smoothed less than it seems, see
    `without_repeats`. Samples that are not valid are passed over and stay as they are.

    The window is centred, so the lag is 0 s. It also looks `strength` samples ahead: this filter is for
    recordings, not for live use, where the same mean would come `strength` samples late.

    References
    ----------
    .. [1] CustusX, plug-in org.custusx.usreconstruction, class PositionFilter.
    """
    if strength < 0:
        raise ValueError(f"strength is {strength}; expected 0 (no filter) or more.")
    width = 2 * strength + 1
    if strength == 0 or stream.valid.sum() <= width:
        return stream
    from scipy.spatial.transform import Rotation

    known = stream.pose[stream.valid]
    quaternion = Rotation.from_matrix(known[:, :3, :3]).as_quat()
    flips = np.sign(np.sum(quaternion[1:] * quaternion[:-1], axis=1))
    quaternion[1:] *= np.cumprod(np.where(flips == 0, 1.0, flips))[:, None]
    samples = np.hstack([quaternion, known[:, :3, 3]])
    padded = np.pad(samples, ((strength, strength), (0, 0)), mode="edge")
    mean = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).mean(axis=-1)
    pose = stream.pose.copy()
    pose[stream.valid] = pose_from(Rotation.from_quat(mean[:, :4]), mean[:, 4:])
    return PoseStream(stream.time_s, pose, stream.valid, stream.name)


def gaps(stream: PoseStream, *, max_gap_s: float = 0.25) -> Array:
    """Where the tool was lost: the times between two valid samples that are too far apart.

    Parameters
    ----------
    stream : PoseStream
    max_gap_s : a longer time between two successive valid samples is a gap

    Returns
    -------
    (k, 2) s, the last valid sample before and the first one after each gap. What is missing before the
    first valid sample and after the last one is no gap.

    Examples
    --------
    >>> gaps(PoseStream([0, 0.1, 0.2, 0.9, 1.0], np.tile(np.eye(4), (5, 1, 1))))
    array([[0.2, 0.9]])
    """
    time = stream.time_s[stream.valid]
    wide = np.flatnonzero(np.diff(time) > max_gap_s)
    return np.stack([time[wide], time[wide + 1]], axis=1)


def repeated(stream: PoseStream) -> NDArray[np.bool_]:
    """True where a valid sample's pose is that of the valid sample before it, to the last bit.

    A tracker that is asked more often than it measures hands out its last pose again under a new time. Real
    noise does not do that, unless the poses were rounded and the tool lay still.

    Returns
    -------
    (n,) bool

    Examples
    --------
    >>> pose = np.tile(np.eye(4), (4, 1, 1))
    >>> pose[2:, 0, 3] = 1.5
    >>> repeated(PoseStream([0, 1, 2, 3], pose))
    array([False,  True, False,  True])
    """
    sample = np.flatnonzero(stream.valid)
    pose = stream.pose[sample]
    again = np.zeros(len(stream), dtype=bool)
    again[sample[1:]] = (pose[1:] == pose[:-1]).all(axis=(1, 2))
    return again


def without_repeats(stream: PoseStream) -> PoseStream:
    """The stream without its `repeated` samples: of equal poses the first one stays, with its time.

    Filters need this: two equal samples carry the noise of one.
    """
    keep = ~repeated(stream)
    return PoseStream(stream.time_s[keep], stream.pose[keep], stream.valid[keep], stream.name)


def resample(stream: PoseStream, rate_hz: float, *, max_gap_s: float = 0.25) -> PoseStream:
    """The stream on a regular grid of times: slerp for rotation, linear for position.

    Parameters
    ----------
    stream : PoseStream
    rate_hz : samples per second of the result, whose first time is that of the first valid sample
    max_gap_s : see `gaps`; nothing is guessed within a gap

    Returns
    -------
    PoseStream whose samples inside a gap are NaN and not valid. Interpolation averages neighbours: half-way
    between two samples the noise variance is half of theirs.

    Raises
    ------
    ValueError
        If fewer than two samples are valid or the rate is not positive.

    Examples
    --------
    >>> pose = np.tile(np.eye(4), (3, 1, 1))
    >>> pose[:, 0, 3] = [0, 2, 12]
    >>> resample(PoseStream([0, 0.1, 0.2], pose), 20).pose[:, 0, 3]
    array([ 0., 1., 2., 7., 12.])
    """
    time = stream.time_s[stream.valid]
    if len(time) < 2:
        raise ValueError(
            f"the stream has {len(time)} valid samples; expected at least 2. Was the tool hidden?"
        )
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise ValueError(f"rate_hz is {rate_hz}; expected a number above 0.")
    count = int((time[-1] - time[0]) * rate_hz + 1e-4) + 1  # the last sample counts in spite of rounding
    grid = np.minimum(time[0] + np.arange(count) / rate_hz, time[-1])
    pose, valid = stream.at(grid, max_gap_s=max_gap_s)
    # `at` measures from the query to each neighbour, and so bridges the middle of a gap twice as long
    start, end = gaps(stream, max_gap_s=max_gap_s).T
    valid &= grid >= np.r_[-np.inf, end][np.searchsorted(start, grid)]
    pose[~valid] = np.nan
    return PoseStream(grid, pose, valid, stream.name)
