"""What goes wrong with a tracker: a fault spoils a stream in one way, and faults follow each other freely."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_points, check_poses, inverse
from navkit.tracking._stream import PoseStream

Array = NDArray[np.float64]


def drop_out(stream: PoseStream, *, rng: np.random.Generator, fraction: float, length_s: float) -> PoseStream:
    """Bursts of lost samples: somebody stands in the line of sight, a marker is wet, a cable is loose.

    In the data: the valid samples have gaps in time of `length_s` and more. Nothing may be interpolated
    across them; `PoseStream.at` refuses where the gap is longer than its ``max_gap_s``.

    Bursts begin at random samples and may touch; they are added until they cover `fraction` of all samples,
    and so cover at most one burst more. Lost poses are NaN.
    """
    if not (0 <= fraction <= 1 and length_s > 0):
        raise ValueError(f"fraction is {fraction}, length_s {length_s}; expected 0 to 1, and more than 0.")
    lost = np.zeros(len(stream), dtype=bool)
    for start in stream.time_s[rng.permutation(len(stream))]:
        if lost.sum() >= fraction * len(stream):
            break
        lost |= (stream.time_s >= start) & (stream.time_s < start + length_s)
    pose = np.where(lost[:, None, None], np.nan, stream.pose)
    return replace(stream, pose=pose, valid=stream.valid & ~lost)


def add_latency(stream: PoseStream, latency_s: float) -> PoseStream:
    """Time stamps that are late by a constant: the tracker, the network or the clock lags.

    In the data: nothing at rest. In motion everything trails by speed times latency, 10 mm at 50 mm/s and
    0.2 s, and a sweep to and fro is smeared into two. `navkit.calibration.estimate_delay` finds it.
    """
    return replace(stream, time_s=stream.time_s + latency_s)


def add_jitter(stream: PoseStream, *, rng: np.random.Generator, sd_s: float) -> PoseStream:
    """Time stamps that scatter: samples are stamped when a busy computer gets round to them.

    In the data: uneven time steps on an even motion, so the speed looks rough while the path is smooth. The
    error is speed times jitter and averages out, unlike a latency. Samples keep their order, as they
    would in a queue: the scattered stamps are dealt out in increasing order.
    """
    return replace(stream, time_s=np.sort(stream.time_s + rng.normal(scale=sd_s, size=len(stream))))


def swap_transform(stream: PoseStream) -> PoseStream:
    """Every pose inverted: ``s_M_pr`` is delivered where ``pr_M_s`` is expected.

    In the data: all matrices are rigid and the distance from the tracker is right, so nothing complains. But
    a tool that turns on the spot seems to travel on a sphere about the tracker. A pivot calibration even
    keeps its small residual; its tip and its pivot have changed places, so the tool seems a metre long.
    Swapping twice gives the stream back.
    """
    pose = stream.pose.copy()
    pose[stream.valid] = inverse(pose[stream.valid])
    return replace(stream, pose=pose)


def loosen_marker(stream: PoseStream, *, time_s: float, s_M_moved: ArrayLike) -> PoseStream:
    """From `time_s` on the sensor sits differently on the tool: somebody bumped it.

    In the data: one step in the pose, easily missed in motion, after which each part is as good as before.
    Two pivot calibrations, one of each part, have small residuals and different tips; one of both parts has
    a large residual. A fixed point touched before and after has moved.

    Parameters
    ----------
    stream : PoseStream ``pr_M_s``
    time_s : the first sample at or after it is changed
    s_M_moved : (4, 4) rigid, the moved sensor in the space of the sensor as it was
    """
    shift = check_poses(np.asarray(s_M_moved, dtype=float)[None], "s_M_moved")[0]
    moved = (stream.time_s >= time_s)[:, None, None]
    return replace(stream, pose=np.where(moved, stream.pose @ shift, stream.pose))


def repeat_samples(stream: PoseStream, *, every: int = 2) -> PoseStream:
    """A program polls the tracker `every` times as often as it measures: poses repeat, stamps go on.

    In the data: differences of neighbouring poses that are exactly zero, so the speed jumps between zero and
    too much, and the true rate is 1 / `every` of what the stamps say; CustusX's recordings are so. A filter
    that counts samples (`moving_average`) smooths less than it seems, and poses are late by up to
    ``every - 1`` samples.
    """
    if every < 1:
        raise ValueError(f"every is {every}; expected 1 (no repeats) or more.")
    k = np.arange(len(stream)) // every * every
    return replace(stream, pose=stream.pose[k], valid=stream.valid[k])


def bend_tip(
    tip_s: ArrayLike, *, angle_deg: float, axis_s: ArrayLike, hinge_s: ArrayLike = (0.0, 0.0, 0.0)
) -> Array:
    """Where the tip (3,) of a pointer is that was bent after it was calibrated, mm.

    In the data: nothing, until the tool touches a known point. Then the old tip misses it by the same length
    each time, in a direction that turns with the tool: with the real tip held in place and the tool
    turned about its shaft it draws a circle. A new pivot calibration has a small residual and another tip.

    Parameters
    ----------
    tip_s : (3,) mm, the calibrated tip
    angle_deg : how far the shaft was bent
    axis_s : (3,) the direction it was bent about, across the shaft
    hinge_s : (3,) mm, where the shaft gave way

    Examples
    --------
    >>> bend_tip([0, 0, -100], angle_deg=90, axis_s=[1, 0, 0], hinge_s=[0, 0, -80]).round(6)
    array([  0.,  20., -80.])
    """
    tip, axis, hinge = check_points(np.array([tip_s, axis_s, hinge_s], dtype=float), "tip, axis, hinge")
    length = np.linalg.norm(axis)
    if length == 0:
        raise ValueError("axis_s is 0 0 0; expected a direction across the shaft.")
    turn = Rotation.from_rotvec(np.radians(angle_deg) * axis / length)
    return np.asarray(hinge + turn.apply(tip - hinge), dtype=float)
