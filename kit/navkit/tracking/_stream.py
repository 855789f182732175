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
    It counts samples, not time: a tracker that repeats samples is smoothed less than it seems.

    References
    ----------
    .. [1] CustusX, plug-in org.custusx.usreconstruction, class PositionFilter.
    """
    if strength < 0:
        raise ValueError(f"strength is {strength}; expected 0 (no filter) or more.")
    width = 2 * strength + 1
    if strength == 0 or len(stream) <= width:
        return stream
    from scipy.spatial.transform import Rotation

    quaternion = Rotation.from_matrix(stream.pose[:, :3, :3]).as_quat()
    flips = np.sign(np.sum(quaternion[1:] * quaternion[:-1], axis=1))
    quaternion[1:] *= np.cumprod(np.where(flips == 0, 1.0, flips))[:, None]
    samples = np.hstack([quaternion, stream.pose[:, :3, 3]])
    padded = np.pad(samples, ((strength, strength), (0, 0)), mode="edge")
    mean = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).mean(axis=-1)
    pose = pose_from(Rotation.from_quat(mean[:, :4]), mean[:, 4:])
    return PoseStream(stream.time_s, pose, stream.valid, stream.name)
