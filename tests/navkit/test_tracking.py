"""Streams of poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_error, pose_from
from navkit.tracking import PoseStream, moving_average


def wandering(rng: np.random.Generator, n: int = 60) -> PoseStream:
    turn = Rotation.from_rotvec(np.cumsum(rng.normal(scale=0.02, size=(n, 3)), axis=0) + [2.9, 0.4, -0.2])
    place = np.cumsum(rng.normal(scale=[0.4, 0.1, 0.2], size=(n, 3)), axis=0) + [100, -20, 7]
    return PoseStream(np.cumsum(rng.uniform(0.02, 0.05, n)), pose_from(turn, place), name="pointer")


def test_a_stream_keeps_its_own_read_only_copies(rng):
    time, pose = np.arange(3.0), np.repeat(np.eye(4)[None], 3, axis=0)
    stream = PoseStream(time, pose)
    time[0], pose[0, 0, 3] = -5, 99
    assert stream.time_s[0] == 0
    assert stream.pose[0, 0, 3] == 0
    assert stream.valid.tolist() == [True] * 3
    with pytest.raises(ValueError, match="read-only"):
        stream.pose[0, 0, 0] = 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"time_s": [0, 2, 1]}, r"time_s\[2\] = 1.000000 s does not come after 2"),
        ({"time_s": [0, 1, 1]}, "times must increase"),
        ({"time_s": [0, 1]}, "2 times, 3 poses"),
        ({"valid": [True, False]}, "2 validity marks"),
        ({"pose": np.diag([2.0, 1, 1, 1])[None].repeat(3, axis=0)}, r"pose\[0\] is not rigid"),
    ],
)
def test_a_stream_that_cannot_be_is_one_sentence(change, sentence):
    parts = {"time_s": np.arange(3.0), "pose": np.repeat(np.eye(4)[None], 3, axis=0), **change}
    with pytest.raises(ValueError, match=sentence):
        PoseStream(**parts)


def test_an_invalid_sample_may_be_garbage_and_is_used_by_nothing(rng):
    stream = wandering(rng)
    pose, valid = stream.pose.copy(), stream.valid.copy()
    pose[7], valid[7] = 1e6, False
    marked = PoseStream(stream.time_s, pose, valid)
    at, ok = marked.at(stream.time_s[7:8])
    assert ok.all()
    assert pose_error(at[0], stream.pose[7]).translation_mm < 1.0


def test_gaps_are_not_bridged_and_ends_not_extended(rng):
    stream = wandering(rng)
    keep = np.r_[:20, 40:60]
    gappy = PoseStream(stream.time_s[keep], stream.pose[keep])
    middle = (stream.time_s[19] + stream.time_s[40]) / 2
    _, ok = gappy.at([stream.time_s[0] - 1e-6, stream.time_s[3], middle, stream.time_s[-1] + 1e-6])
    assert ok.tolist() == [False, True, False, False]


def test_the_position_filter_of_strength_0_changes_nothing_and_keeps_a_short_stream(rng):
    stream = wandering(rng)
    assert moving_average(stream, 0) is stream
    short = PoseStream(stream.time_s[:5], stream.pose[:5])
    assert moving_average(short, 2) is short


def test_the_position_filter_keeps_count_and_smooths_a_jump(rng):
    """CustusX's own test: 20 poses, one jump of 10 mm; strength 2 keeps the number of poses."""
    pose = np.repeat(np.eye(4)[None], 20, axis=0)
    pose[10, 0, 3] = 10.0
    smooth = moving_average(PoseStream(np.arange(20.0), pose), 2).pose
    assert len(smooth) == 20
    assert smooth[8:13, 0, 3] == pytest.approx([2.0] * 5)
    assert smooth[:, 0, 3].sum() == pytest.approx(10.0)


def test_the_position_filter_equals_a_naive_mean_of_poses(rng):
    stream = wandering(rng)
    smooth = moving_average(stream, 3)
    for k in (3, 30, 56):
        window = slice(k - 3, k + 4)
        assert smooth.pose[k, :3, 3] == pytest.approx(stream.pose[window, :3, 3].mean(axis=0))
        mean = Rotation.from_matrix(stream.pose[window, :3, :3]).mean().as_matrix()
        assert np.abs(smooth.pose[k, :3, :3] - mean).max() < 1e-3


def test_the_position_filter_does_not_mind_a_quaternions_sign(rng):
    """A matrix's quaternion has its largest part positive: about this axis its sign flips at 103 degrees."""
    angle = np.radians(np.linspace(90, 115, 41))
    turn = Rotation.from_rotvec(np.outer(angle, [0, -0.6, -0.8]))
    signs = np.sign(
        np.sum(turn.as_quat()[1:] * Rotation.from_matrix(turn.as_matrix()).as_quat()[:-1], axis=1)
    )
    assert len(set(signs)) == 2, "the case must have a flip"
    stream = PoseStream(np.arange(41.0), pose_from(turn, np.zeros((41, 3))))
    away = pose_error(moving_average(stream, 2).pose[3:-3], stream.pose[3:-3]).rotation_rad
    assert away.max() < 1e-6


def test_a_lost_sample_is_averaged_into_nothing(rng):
    n = 30
    pose = pose_from(
        Rotation.from_rotvec(np.outer(np.linspace(0, 1, n), [0.2, -0.4, 0.3])), rng.normal(size=(n, 3))
    )
    valid = np.ones(n, dtype=bool)
    valid[[7, 8, 20]] = False
    spoiled = pose.copy()
    spoiled[7], spoiled[8], spoiled[20, :3, 3] = np.nan, -np.inf, 1e6
    time = np.arange(n) / 10
    smooth = moving_average(PoseStream(time, spoiled, valid), 2)
    alone = moving_average(PoseStream(time[valid], pose[valid]), 2)
    assert np.array_equal(smooth.valid, valid)
    assert smooth.pose[valid] == pytest.approx(alone.pose, abs=1e-12)
    assert np.isnan(smooth.pose[7]).all()
    assert smooth.pose[20, 0, 3] == 1e6
