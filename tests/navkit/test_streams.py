"""Streams: gaps, repeated samples, resampling; the clocks that stamped them."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.geometry import pose_error, pose_from
from navkit.tracking import (
    PoseStream,
    estimate_clock,
    filter_lag_s,
    filter_timestamps,
    gaps,
    moving_average,
    repeated,
    resample,
    without_repeats,
)


def gliding(time_s: np.ndarray) -> np.ndarray:
    """A tool at a steady velocity that turns steadily about an oblique axis: interpolation is exact on it."""
    spin = Rotation.from_rotvec(np.outer(time_s, [0.3, -0.7, 0.2]))
    return pose_from(
        spin * Rotation.from_rotvec([1.1, 0.4, -0.6]), [40, -9, 7] + np.outer(time_s, [12, -5, 3])
    )


def gliding_stream(rng: np.random.Generator, n: int = 80) -> PoseStream:
    time = 1000.0 + np.cumsum(rng.uniform(0.02, 0.05, n))
    return PoseStream(time, gliding(time - 1000), name="pointer")


# ---- gaps and repeats -------------------------------------------------------------------------------------


def test_a_gap_lies_between_two_valid_samples():
    time = np.array([0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 1.3])
    valid = np.array([False, True, True, True, False, False, True, True])
    stream = PoseStream(time, gliding(time), valid)
    assert gaps(stream).tolist() == [[0.2, 0.5], [0.5, 0.8], [0.8, 1.3]]
    assert gaps(stream, max_gap_s=0.4).tolist() == [[0.8, 1.3]]
    assert gaps(stream, max_gap_s=0.6).shape == (0, 2)
    on_the_limit = PoseStream([0, 0.25, 0.75], gliding(np.arange(3.0)))
    assert gaps(on_the_limit, max_gap_s=0.25).tolist() == [[0.25, 0.75]]


def test_a_stream_without_valid_samples_has_no_gaps_and_no_repeats():
    stream = PoseStream(np.arange(3.0), np.tile(np.eye(4), (3, 1, 1)), np.zeros(3, dtype=bool))
    assert gaps(stream).shape == (0, 2)
    assert not repeated(stream).any()


def test_a_repeat_is_the_last_valid_pose_to_the_last_bit():
    place = gliding(np.arange(3.0))
    pose = place[[0, 0, 0, 1, 2, 2, 1]]
    pose[2, 1, 3] = np.nextafter(pose[2, 1, 3], np.inf)
    valid = np.array([True, True, True, True, False, True, True])
    stream = PoseStream(np.arange(7.0), pose, valid, "probe")
    assert repeated(stream).tolist() == [False, True, False, False, False, False, False]
    # an invalid sample neither is a repeat nor hides one
    again = PoseStream(np.arange(4.0), place[[0, 1, 0, 2]], np.array([True, False, True, True]))
    assert repeated(again).tolist() == [False, False, True, False]


def test_a_turn_alone_is_no_repeat():
    pose = pose_from(Rotation.from_rotvec([[0, 0, 0.1], [0, 0, 0.2]]), [1, 2, 3])
    assert not repeated(PoseStream([0, 1], pose)).any()


def test_of_equal_poses_the_first_stays():
    pose = gliding(np.arange(4.0))[[0, 0, 1, 2, 2, 2, 3]]
    valid = np.array([True, True, True, True, True, True, False])
    stream = without_repeats(PoseStream(np.arange(7.0), pose, valid, "probe"))
    assert stream.time_s.tolist() == [0, 2, 3, 6]
    assert stream.valid.tolist() == [True, True, True, False]
    assert np.array_equal(stream.pose, pose[[0, 2, 3, 6]])
    assert stream.name == "probe"


def test_the_real_recording_of_30_hz_has_15(navkit_data):
    stream = files.read_tracking(navkit_data / "custusx" / "angio_lab_text")
    assert len(stream) == 383
    assert (len(stream) - 1) / np.ptp(stream.time_s) == pytest.approx(30.4, abs=0.05)
    assert repeated(stream).sum() == 194
    true = without_repeats(stream)
    assert (len(true) - 1) / np.ptp(true.time_s) == pytest.approx(15.0, abs=0.05)
    assert not repeated(true).any()
    assert gaps(true).shape == (0, 2)


# ---- resampling -------------------------------------------------------------------------------------------


def test_a_steady_motion_is_resampled_exactly(rng):
    stream = gliding_stream(rng)
    regular = resample(stream, 73.0)
    assert regular.valid.all()
    assert regular.name == "pointer"
    assert regular.time_s[0] == stream.time_s[0]
    assert np.diff(regular.time_s) == pytest.approx(1 / 73)
    assert 0 <= stream.time_s[-1] - regular.time_s[-1] < 1 / 73
    error = pose_error(regular.pose, gliding(regular.time_s - 1000))
    assert error.translation_mm.max() < 1e-9
    assert error.rotation_rad.max() < 1e-7  # arccos near 1 has no more digits


@pytest.mark.parametrize("start", [1000.0, 1.35e9])
def test_the_last_sample_is_on_the_grid_in_spite_of_rounding(start):
    time = start + np.arange(10) / 30 - [*[0] * 9, 3e-7]
    assert (time[-1] - time[0]) * 100 < 30, "the case must round down"
    regular = resample(PoseStream(time, gliding(time - start)), 100.0)
    assert len(regular) == 31
    assert regular.time_s[-1] == time[-1]
    assert regular.valid.all()


def test_the_samples_at_both_ends_of_a_gap_are_kept():
    time = np.array([0.0, 0.125, 0.25, 0.75, 0.875])
    regular = resample(PoseStream(time, gliding(time)), 8.0)
    assert regular.valid.tolist() == [True, True, True, False, False, False, True, True]
    kept = regular.pose[regular.valid]
    assert pose_error(kept, gliding(time)).translation_mm.max() < 1e-12


@pytest.mark.parametrize("missing", [8, 12, 30])  # 0.30 s to 1.5 s without samples
def test_nothing_is_guessed_anywhere_in_a_gap(rng, missing):
    stream = gliding_stream(rng)
    valid = np.ones(len(stream), dtype=bool)
    valid[20 : 20 + missing] = False
    pose = np.where(valid[:, None, None], stream.pose, np.nan)
    regular = resample(PoseStream(stream.time_s, pose, valid), 200.0)
    inside = (regular.time_s > stream.time_s[19]) & (regular.time_s < stream.time_s[20 + missing])
    assert inside.sum() > 50
    assert np.array_equal(regular.valid, ~inside)
    assert np.isnan(regular.pose[inside]).all()
    assert not np.isnan(regular.pose[~inside]).any()


def test_a_short_loss_is_bridged(rng):
    stream = gliding_stream(rng)
    valid = np.ones(len(stream), dtype=bool)
    valid[20:23] = False
    regular = resample(PoseStream(stream.time_s, stream.pose, valid), 50.0)
    assert regular.valid.all()
    assert pose_error(regular.pose, gliding(regular.time_s - 1000)).translation_mm.max() < 1e-9


def test_half_way_between_samples_the_noise_variance_is_half(rng):
    time = np.arange(20000) / 50
    noisy = pose_from(np.eye(3), rng.normal(scale=0.3, size=(len(time), 3)))
    between = resample(PoseStream(time, noisy), 100.0).pose[1::2, :3, 3]
    assert between.var() == pytest.approx(0.3**2 / 2, rel=0.03)


def test_too_little_to_resample_is_one_sentence(rng):
    stream = gliding_stream(rng)
    with pytest.raises(ValueError, match="1 valid samples; expected at least 2"):
        resample(PoseStream(stream.time_s, stream.pose, np.arange(len(stream)) == 3), 10.0)
    for rate in (0.0, -5.0, np.nan):
        with pytest.raises(ValueError, match=r"rate_hz is .*; expected a number above 0"):
            resample(stream, rate)


def test_the_moving_average_has_no_lag(rng):
    time = np.arange(400) / 30
    path = pose_from(np.eye(3), np.stack([30 * np.sin(time), 8 * np.cos(1.3 * time), time], axis=1))
    stream = PoseStream(time, path)
    assert filter_lag_s(moving_average(stream, 4), stream) == pytest.approx(0.0, abs=1e-3)


def test_streams_and_clocks_load_no_compiler():
    code = (
        "import sys, navkit.tracking._filters, navkit.tracking._clock; "
        "print(sorted({'numba', 'matplotlib', 'scipy.signal'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# ---- two clocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "offset"),
    [(0.0, -17.25), (1.35e9, -17.25), (0.0, 1.35e9)],
    ids=["since start", "since 1970", "one since 1970"],
)
def test_a_clock_without_jitter_is_found_exactly(rng, start, offset):
    a = start + np.cumsum(rng.uniform(0.1, 2.0, 91))
    b = a + offset + 3e-5 * (a - start)
    clock = estimate_clock(a, b)
    tolerance = 1e-9 if max(start, offset) < 1e3 else 1e-6  # a double holds a time since 1970 to 2.4e-7 s
    assert clock.drift == pytest.approx(3e-5, abs=2e-9)
    assert clock.to_b(a) == pytest.approx(b, abs=tolerance, rel=0)
    assert clock.to_a(b) == pytest.approx(a, abs=tolerance, rel=0)
    assert clock.to_b(0.0) == pytest.approx(clock.offset_s)
    assert clock.inliers.all()
    assert clock.rms_s < tolerance


def test_there_and_back_is_the_same_time(rng):
    clock = estimate_clock([0, 1, 2, 3, 4], [5.0, 6.2, 7.4, 8.6, 9.8])
    time = rng.uniform(-100, 100, 20)
    assert clock.drift == pytest.approx(0.2)
    assert clock.to_a(clock.to_b(time)) == pytest.approx(time, abs=1e-9)


def test_the_stated_uncertainty_is_the_true_one(rng):
    a = np.cumsum(rng.uniform(0.2, 0.8, 120))
    ahead = a[-1] + 100.0
    found = []
    for _ in range(400):
        b = a * (1 - 4e-5) + 2.5 + rng.normal(scale=0.002, size=len(a))
        clock = estimate_clock(a, b)
        found.append((clock.drift + 4e-5, clock.to_b(ahead) - (ahead * (1 - 4e-5) + 2.5)))
    drift, time = np.transpose(found)
    # least squares: sd / sqrt(sum of squared distances); trimming at 3 sigma costs and hides a little
    assert drift.std() == pytest.approx(0.002 / np.sqrt(np.sum((a - a.mean()) ** 2)), rel=0.12)
    assert clock.drift_sd == pytest.approx(drift.std(), rel=0.25)
    assert clock.sd_s(ahead) == pytest.approx(time.std(), rel=0.25)
    assert clock.sd_s(clock.centre_s) == pytest.approx(0.002 / np.sqrt(120), rel=0.25)
    assert clock.rms_s == pytest.approx(0.002, rel=0.25)
    assert abs(drift.mean()) < 4 * drift.std() / 20


@pytest.mark.parametrize("drift", [2e-5, -1e-3])
@pytest.mark.parametrize("where", ["anywhere", "at the end"])
def test_late_packets_do_not_bend_the_clock(rng, where, drift):
    a = np.arange(300) * 0.5
    late = np.zeros(300, dtype=bool)
    late[rng.choice(300, 60, replace=False) if where == "anywhere" else slice(240, 300)] = True
    b = a * (1 + drift) - 8.0 + rng.normal(scale=0.001, size=300)
    b[late] += 0.05 + rng.exponential(scale=0.005, size=60)
    clock = estimate_clock(a, b)
    assert not clock.inliers[late].any()
    assert clock.inliers[~late].sum() >= 235
    assert abs(clock.drift - drift) < 4 * clock.drift_sd
    assert abs(clock.to_b(75.0) - (75 * (1 + drift) - 8)) < 4 * clock.sd_s(75.0)
    plain = b.mean()
    assert plain - (a.mean() * (1 + drift) - 8) > 0.01, "the case must mislead a plain fit"


def test_stamps_in_whole_milliseconds_keep_their_drift(rng):
    """Over a minute the drift is less than a step: most differences are equal and have no spread at all."""
    true = np.cumsum(rng.uniform(0.05, 0.15, 600))
    a, b = np.round(true, 3), np.round(true * (1 + 1e-5) + 3, 3)
    values, counts = np.unique(np.round(b - a, 3), return_counts=True)
    assert len(values) == 2, "the case must have two differences"
    assert counts.max() > 0.5 * len(a), "and most of them equal"
    clock = estimate_clock(a, b)
    assert clock.inliers.all()
    assert clock.drift == pytest.approx(1e-5, abs=4 * clock.drift_sd)
    assert clock.drift_sd < 2e-6


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([0, 1, 2], [0, 1, 2], "3 and 3 stamps; expected the same number of both, at least 4"),
        ([0, 1, 2, 3], [0, 1, 2, 3, 4], "4 and 5 stamps"),
        ([0, 1, 1, 3], [0, 1, 2, 3], r"time_a_s\[2\] = 1.0 does not come after 1.0"),
        ([0, 1, 2, 3], [0, 1, np.nan, 3], "time_b_s has shape .* finite numbers"),
    ],
)
def test_events_that_tell_no_clock_are_one_sentence(a, b, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimate_clock(a, b)


# ---- jittered time stamps ---------------------------------------------------------------------------------


def test_even_stamps_stay_even_where_items_were_lost(rng):
    index = np.cumsum(rng.integers(1, 4, 200)) + 5000
    time = 1.35e9 + index / 24.0
    assert filter_timestamps(index, time) == pytest.approx(time, abs=1e-6, rel=0)


def test_a_filtered_stamp_is_the_line_through_the_last_items(rng):
    index = np.cumsum(rng.integers(1, 3, 60))
    time = index / 24.0 + rng.exponential(scale=0.02, size=60)
    filtered = filter_timestamps(index, time, window=7)
    assert filtered[:2].tolist() == pytest.approx(time[:2].tolist(), abs=1e-12)
    for k in (2, 5, 6, 7, 40, 59):
        last = slice(max(k - 6, 0), k + 1)
        line = np.polynomial.Polynomial.fit(index[last], time[last], 1)
        assert filtered[k] == pytest.approx(line(index[k]), abs=1e-9)


def test_filtering_stamps_is_causal(rng):
    time = np.arange(50) / 20 + rng.normal(scale=0.003, size=50)
    later = time.copy()
    later[30:] += 0.5
    assert np.array_equal(
        filter_timestamps(np.arange(50), time)[:30], filter_timestamps(range(50), later)[:30]
    )


def test_jitter_falls_as_the_line_predicts_and_as_plus_demands(rng):
    """PLUS's own test: the standard deviation falls to a third at least, no stamp moves by 0.08 s."""
    n, sd = 40000, 0.01
    index = np.arange(n)
    jitter = rng.normal(scale=sd, size=n)
    filtered = filter_timestamps(index, index / 30 + jitter) - index / 30
    after = filtered[19:]
    assert after.std() == pytest.approx(sd * np.sqrt(78 / 420), rel=0.03)
    assert np.diff(after).std() / np.diff(jitter).std() == pytest.approx(0.151, rel=0.02)
    assert np.diff(jitter).std() > 3 * np.diff(after).std()
    assert np.abs(filtered - jitter).max() < 0.08


def test_pluss_own_filtered_stamps_are_found_again(navkit_data):
    """Real video, stamped by PLUS 2011: the file has both the raw stamps and PLUS's filtered ones."""
    sequence = files.read_sequence(
        navkit_data / "plus" / "temporal" / "WaterTankBottomTranslationVideoBuffer.igs.mha"
    )
    index = np.array(sequence.fields["FrameNumber"], dtype=float)
    raw = np.array(sequence.fields["UnfilteredTimestamp"], dtype=float)
    ours = filter_timestamps(index, raw)
    # the first items were filtered with others that came before the file begins
    assert np.abs(ours - sequence.time_s)[19:].max() < 1e-6
    assert np.abs(raw - sequence.time_s)[19:].max() > 0.02, "the filter must have done something"
    assert np.abs(ours - raw).max() < 0.08


@pytest.mark.parametrize(
    ("index", "time", "window", "sentence"),
    [
        ([0, 1, 1], [0, 1, 2], 20, r"index\[2\] = 1.0 does not come after 1.0"),
        ([0, 1], [0, 1, 2], 20, "2 indices and 3 times"),
        ([0, 1, 2], [0, 1, 2], 1, "window is 1; expected 2 items or more"),
        ([], [], 20, r"index has shape \(0,\)"),
    ],
)
def test_stamps_that_cannot_be_filtered_are_one_sentence(index, time, window, sentence):
    with pytest.raises(ValueError, match=sentence):
        filter_timestamps(index, time, window=window)
