"""Each check of a recording's health: silent on what is healthy, right and plain on what is not."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.files._pixels import Stored
from navkit.geometry import pose_from
from navkit.recordings import _health as health
from navkit.recordings import _health_clocks as clocks
from navkit.recordings import _health_geometry as geometry
from navkit.recordings._about_pictures import Look, check_pictures, check_sector, look_at
from navkit.tracking import PoseStream


def hand(rng, *, n=200, rate=40.0, noise_mm=0.05):
    """A hand that sweeps to and fro at uneven speed, far from the origin."""
    t = np.cumsum(rng.normal(1 / rate, 0.05 / rate, n))
    way = 14 * np.sin(1.3 * t) + 9 * np.sin(0.47 * t + 1) + 3 * np.sin(3.1 * t)
    place = np.stack([130 + way, -40 + 0.4 * way, 77 - 0.2 * way], axis=1) + rng.normal(0, noise_mm, (n, 3))
    turn = Rotation.from_euler(
        "xyz", np.stack([20 + way, -35 + 0.3 * way, 10 + 0 * way], axis=1), degrees=True
    )
    return PoseStream(t + 50, pose_from(turn, place))


def assert_only(found, *phrases):
    """The warnings are those with these phrases, one each."""
    assert len(found.warnings) == len(phrases), found.warnings
    for phrase in phrases:
        assert any(phrase in w for w in found.warnings), (phrase, found.warnings)


def test_even_times_are_silent_and_their_rate_is_right(rng):
    time = 5 + np.arange(100) / 25 + rng.normal(0, 0.001, 100)
    found = health.check_times(time, "frames")
    assert_only(found)
    assert found.numbers["frames_rate_hz"] == pytest.approx(99 / (time[-1] - time[0]))
    assert found.numbers["frames_largest_gap_ms"] == pytest.approx(1000 * np.diff(time).max())
    assert 0.8 < found.numbers["frames_jitter_ms"] < 2.2, "sd 1 ms of each time gives sqrt(2) of the interval"
    assert found.numbers["frames_gaps"] == found.numbers["frames_close"] == 0


def test_pauses_are_counted_and_only_those_longer_than_both_limits():
    time = np.r_[0:10, 10.3:20:1.0] * 0.1
    assert_only(health.check_times(time, "frames"))
    time = np.r_[np.arange(10), 20 + np.arange(10), 33 + np.arange(5)] * 0.1
    found = health.check_times(time, "frames")
    assert_only(found, "2 pauses of more than 300 ms, the longest 1100 ms after sample 9")
    assert found.numbers["frames_over_250_ms"] == 2
    assert_only(health.check_times(np.arange(30) * 0.4, "frames"))


def test_samples_that_almost_coincide_are_named():
    time = np.arange(50) * 0.033
    time[20] = time[19] + 0.0001
    assert_only(health.check_times(time, "tracking"), "1 sample less than 1 ms after")


def test_times_that_go_back_are_named():
    assert_only(health.check_times([0, 0.1, 0.05, 0.2], "frames"), "the first at sample 2 (-50.0 ms)")


def test_too_few_times_are_not_judged():
    found = health.check_times([3.0], "frames")
    assert_only(found)
    assert found.not_checked


def test_a_healthy_hand_has_no_warning_and_its_motion_is_right(rng):
    stream = hand(rng)
    found = health.check_repeats(stream)
    assert_only(found)
    assert found.numbers["tracking_repeated_share"] == 0
    assert found.numbers["tracking_true_rate_hz"] == pytest.approx(40, rel=0.02)
    step = np.linalg.norm(np.diff(stream.pose[:, :3, 3], axis=0), axis=1)
    assert found.numbers["tracking_path_mm"] == pytest.approx(step.sum())
    assert_only(health.check_jumps(stream.pose, stream.valid, "x"))
    assert_only(health.check_rigid(stream.pose, stream.valid, "x"))


def test_repeats_give_the_true_rate(rng):
    stream = hand(rng, n=201)
    keep = np.arange(201) // 2 * 2
    found = health.check_repeats(PoseStream(stream.time_s, stream.pose[keep]))
    assert_only(found, "100 of 201 samples repeat")
    assert found.numbers["tracking_true_rate_hz"] == pytest.approx(20, rel=0.03)
    assert found.numbers["tracking_repeated_share"] == pytest.approx(100 / 201)


def test_a_frozen_tracker_is_told_from_one_that_repeats(rng):
    stream = hand(rng, n=200)
    index = np.arange(200)
    index[80:130] = 80
    found = health.check_repeats(PoseStream(stream.time_s, stream.pose[index]))
    assert_only(found, "stands still to the last digit 1 time, up to 1.2 s")
    assert found.numbers["tracking_true_rate_hz"] == pytest.approx(40, rel=0.03), "rest is not counted"


def test_a_tool_that_never_moves_is_told_and_one_that_trembles_is_not(rng):
    still = np.tile(hand(rng).pose[:1], (50, 1, 1))
    assert_only(
        health.check_repeats(PoseStream(np.arange(50) / 20, still)), "the pose never changes in 50 samples"
    )
    still[:, 0, 3] += np.round(rng.normal(0, 0.06, 50), 1)
    assert_only(health.check_repeats(PoseStream(np.arange(50) / 20, still)))


def test_mirrored_bent_and_infinite_poses_are_told_apart(rng):
    pose, ok = np.array(hand(rng, n=20).pose), np.ones(20, dtype=bool)
    mirrored = pose.copy()
    mirrored[3, :3, 0] *= -1
    assert_only(health.check_rigid(mirrored, ok, "x"), "1 of 20 poses mirror")
    bent = pose.copy()
    bent[4:6, :3, 1] *= 1.01
    assert_only(health.check_rigid(bent, ok, "x"), "2 of 20 poses are not rigid")
    lost = pose.copy()
    lost[7] = np.nan
    assert_only(health.check_rigid(lost, ok, "x"), "1 of 20 poses marked as good are not finite")
    ok[[3, 4, 5, 7]] = False
    for m in (mirrored, bent, lost):
        assert_only(health.check_rigid(m, ok, "x"))


def test_a_lost_pose_that_is_marked_as_good_is_found(rng):
    stream = hand(rng, n=60)
    pose = np.array(stream.pose)
    pose[[17, 40]] = np.eye(4)
    found = health.check_jumps(pose, stream.valid, "x")
    assert_only(found, "2 poses marked as good are the identity among others that are not (the first in")
    assert found.numbers["x_jumps"] == 2
    pose = np.array(stream.pose)
    pose[31, :3, 3] += [0, 60, 0]
    assert_only(health.check_jumps(pose, stream.valid, "x"), "1 pose is up to 6")
    ok = np.array(stream.valid)
    ok[31] = False
    assert_only(health.check_jumps(pose, ok, "x"))
    assert_only(health.check_jumps(np.tile(np.eye(4), (9, 1, 1)), np.ones(9, dtype=bool), "x"))


def test_status_counts_and_names_the_first():
    ok = np.ones(30, dtype=bool)
    assert_only(health.check_status(ok, "x"))
    ok[[4, 9]] = False
    found = health.check_status(ok, "ProbeToTracker")
    assert_only(found, "2 of 30 poses are not OK (INVALID or missing), the first in frame 4")
    assert found.numbers["ProbeToTracker_invalid"] == 2


def test_frames_outside_the_tracking():
    track = np.arange(100) / 20
    assert_only(clocks.check_inside([0.1, 2.0, 4.9], track))
    found = clocks.check_inside([-0.1107, 2.0, 4.9, 5.2], track)
    assert_only(found, "2 of 4 frames lie outside")
    assert found.numbers["first_frame_ms"] == pytest.approx(-110.7)
    assert found.numbers["last_frame_ms"] == pytest.approx(250)
    assert_only(clocks.check_inside([7, 8], track), "no frame lies within the tracking")


def test_a_clock_that_runs_fast_is_measured(rng):
    time = np.arange(300) / 30
    noise = rng.normal(0, 0.002, 300)
    assert_only(clocks.check_drift(time, 3 + time * 1.0005 + noise, ("a", "b")))
    found = clocks.check_drift(time, 3 + time * 1.004 + noise, ("a", "b"))
    assert_only(found, "b drifts by +")
    assert found.numbers["clock_drift_ms"] == pytest.approx(39.9, abs=1.5)


def watched(rng, delay_s, *, n=160, noise=0.02):
    """Frames whose change follows the speed of a hand, stamped `delay_s` late."""
    stream = hand(rng, n=400)
    frame = np.linspace(stream.time_s[10], stream.time_s[-10], n)
    place = np.stack([np.interp(frame, stream.time_s, stream.pose[:, k, 3]) for k in range(3)], axis=1)
    moved = np.linalg.norm(np.diff(place, axis=0), axis=1)
    change = 5 + 8 * moved + rng.normal(0, noise, n - 1)
    return frame + delay_s, change, stream.time_s, stream.pose[:, :3, 3]


@pytest.mark.parametrize("delay_s", [0.12, -0.15])
def test_the_latency_has_the_right_size_and_sign(rng, delay_s):
    found = clocks.check_latency(*watched(rng, delay_s))
    assert_only(found, f"latency_s={found.numbers['latency_seen_ms'] / -1000:.3f}")
    assert found.numbers["latency_seen_ms"] == pytest.approx(-1000 * delay_s, abs=15)
    assert ("late" if delay_s > 0 else "early") in found.facts[0][1]


def test_a_small_latency_is_a_fact_and_noise_is_none(rng):
    found = clocks.check_latency(*watched(rng, 0.01))
    assert_only(found)
    assert abs(found.numbers["latency_seen_ms"] + 10) < 15
    frame, change, track, place = watched(rng, 0.12)
    found = clocks.check_latency(frame, rng.permutation(change), track, place)
    assert_only(found)
    assert "not estimated" in found.not_checked[0]
    assert "latency_seen_ms" not in found.numbers
    assert clocks.check_latency(frame[:9], change[:8], track, place).not_checked


def test_a_regular_motion_or_a_weak_likeness_gives_no_latency(rng):
    t = np.arange(400) / 40
    to_and_fro = np.stack([np.sin(4 * np.pi * t), 0 * t, 0 * t], axis=1)  # every quarter of a second alike
    frame = np.arange(0.1, 9.8, 0.05)
    moved = np.abs(np.diff(np.sin(4 * np.pi * (frame - 0.06))))
    found = clocks.check_latency(frame, 5 + 8 * moved, t, to_and_fro)
    assert "not estimated" in found.not_checked[0]
    frame, change, track, place = watched(rng, 0.12, n=380)
    against = 2 * change.mean() - change  # no picture changes less the faster the probe moves
    assert "not estimated" in clocks.check_latency(frame, against, track, place).not_checked[0]
    weak = change + rng.normal(0, 2 * change.std(), len(change))
    assert "not estimated" in clocks.check_latency(frame, weak, track, place).not_checked[0]


def test_pixel_size_against_the_probe_and_square():
    assert_only(geometry.check_spacing((0.2, 0.2), (0.2004, 0.2)))
    assert_only(
        geometry.check_spacing((0.2, 0.21), (0.2, 0.2)), "distances in the volume are wrong by 5.0 % in depth"
    )
    assert_only(geometry.check_spacing((0.2, 0.24), None), "1.20 times longer")


def image_matrix(sx=0.08, sy=0.081):
    m = np.eye(4)
    m[:3, :3] = Rotation.from_euler("xyz", [20, -50, 70], degrees=True).as_matrix() @ np.diag([sx, sy, 0.08])
    m[:3, 3] = [15, 49, -8]
    return m


def test_an_image_matrix_that_mirrors_stretches_or_leans():
    assert_only(geometry.check_image_matrix(image_matrix(), "ImageToProbe", 0.078))
    mirrored = image_matrix()
    mirrored[:3, 2] *= -1
    assert_only(geometry.check_image_matrix(mirrored, "ImageToProbe"), "mirrors")
    assert_only(geometry.check_image_matrix(image_matrix(0.08, 0.092), "ImageToProbe"), "15 % apart")
    leaning = image_matrix()
    leaning[:3, 0] += 0.06 * leaning[:3, 1]
    assert_only(geometry.check_image_matrix(leaning, "ImageToProbe"), "off a right angle")
    assert_only(geometry.check_image_matrix(image_matrix(), "ImageToProbe", 0.12), "scaled by 0.67")
    flat = image_matrix()
    flat[:3, 0] = 0
    assert_only(geometry.check_image_matrix(flat, "ImageToProbe"), "flat axis")
    assert_only(geometry.check_image_matrix(np.full((4, 4), np.nan), "ImageToProbe"), "not 4 x 4 finite")


def test_calibrations_that_no_tool_has():
    good = pose_from(Rotation.from_euler("y", 180, degrees=True), [-20.7, 0, -158])
    assert_only(geometry.check_calibration(good, "a.cal"))
    assert_only(geometry.check_calibration(np.eye(4), "a.cal"), "is the identity")
    turned = pose_from(Rotation.from_euler("z", 180, degrees=True), [0, 0, 0])
    assert_only(geometry.check_calibration(turned, "a.cal"), "turned axes")
    far = pose_from(Rotation.identity(), [0, 300, 500])
    found = geometry.check_calibration(far, "a.cal")
    assert_only(found, "583 mm from the sensor")
    assert found.numbers["tip_length_mm"] == pytest.approx(np.hypot(300, 500))


def test_repeated_calibrations_agree_or_not(rng):
    base = Rotation.from_euler("xyz", [30, 10, -60], degrees=True)
    tips = np.array([[-0.4, 2.2, 8.1], [0.1, 1.9, 8.4], [-0.2, 2.4, 8.2]])
    same = np.array([pose_from(base, tip) for tip in tips])
    found = geometry.compare_calibrations(same)
    assert_only(found)
    assert found.numbers["tip_sd_x_mm"] == pytest.approx(np.std([-0.4, 0.1, -0.2], ddof=1))
    assert found.numbers["tip_z_max_mm"] == 8.4
    same[1] = pose_from(base * Rotation.from_euler("z", 77, degrees=True), tips[1] + [0, 0, 3])
    found = geometry.compare_calibrations(same)
    assert_only(found, "differ by up to 77 deg", "mm apart")
    assert found.numbers["largest_turn_deg"] == pytest.approx(77)


def test_a_latency_setting_out_of_range():
    for ms in (-321, 0, 500):
        assert_only(geometry.check_latency_setting(ms, "temporal calibration"))
    assert_only(
        geometry.check_latency_setting(5000, "x"),
        "outside -400 to 600 ms: at 10 mm/s it moves every frame by 50",
    )


def pictures(tmp_path, frames, *, name="a.raw"):
    path = tmp_path / name
    path.write_bytes(frames.tobytes())
    return Stored(path, 0, frames.shape, frames.dtype, False, "DimSize")


def test_flat_and_repeated_pictures_are_counted(tmp_path, rng):
    frames = rng.integers(0, 250, (30, 40, 50), dtype=np.uint8)
    look, _ = look_at([pictures(tmp_path, frames)])
    found = check_pictures(look)
    assert_only(found)
    assert (found.numbers["darkest"], found.numbers["brightest"]) == (frames.min(), frames.max())
    frames[11] = 7
    frames[20], frames[21] = frames[19], frames[19]
    look, _ = look_at([pictures(tmp_path, frames)])
    found = check_pictures(look)
    assert_only(
        found,
        "1 of 30 frames looked at are flat (one value all over), the first is frame 11",
        "2 of 29 frames",
    )
    assert found.numbers["repeated_frames"] == 2


def test_change_follows_the_pictures(tmp_path):
    frames = np.zeros((3, 4, 6), np.uint8)
    frames[1], frames[2] = 10, 13
    assert look_at([pictures(tmp_path, frames)])[0].change().tolist() == [10, 3]


def test_a_long_recording_is_sampled_and_says_so(tmp_path, rng):
    frames = rng.integers(0, 250, (100, 40, 50), dtype=np.uint8)
    look, found = look_at([pictures(tmp_path, frames)], most_bytes=10 * 2000)
    assert look.number.tolist() == [0, *range(45, 55), 99]
    assert np.array_equal(look.small, frames[look.number])
    assert found.not_checked == ("pixels of 88 of 100 frames (176.0 kB)",)
    many = [pictures(tmp_path, frames[k : k + 1], name=f"{k}.raw") for k in range(100)]
    again, _ = look_at(many, most_bytes=10 * 2000)
    assert np.array_equal(again.small, look.small)


def sector_look(frames):
    n = len(frames)
    no = np.zeros(n, dtype=bool)
    return Look(np.arange(n), frames.astype(np.float32), 1, no, no, n, (0.0, 255.0))


def test_echoes_outside_the_sector_are_seen_and_letters_are_not(rng):
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:50, 20:70] = True
    frames = np.zeros((20, 60, 80))
    frames[:, mask] = rng.integers(0, 200, (20, mask.sum()))
    frames[:, 2:8, 2:30] = 255  # what the scanner writes beside the picture
    assert_only(check_sector(sector_look(frames), mask))
    moved = np.roll(mask, 12, axis=1)
    found = check_sector(sector_look(frames), moved)
    assert_only(found, "lie outside the sector")
    assert found.numbers["echoes_outside_share"] == pytest.approx(12 / 50, abs=0.02)
    assert found.numbers["sector_share"] == mask.mean()
    assert_only(check_sector(sector_look(frames), np.zeros_like(mask)), "covers no pixel")
