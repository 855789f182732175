"""Simulated trackers: exact without noise, right statistics with it; each fault does one thing."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.calibration import calibrate_pivot, estimate_delay
from navkit.geometry import pose_error, pose_from, transform_points
from navkit.registration import expected_tre, tre_covariance
from navkit.tracking import (
    EmSettings,
    OpticalSettings,
    PoseStream,
    add_jitter,
    add_latency,
    bend_tip,
    drop_out,
    em_distortion,
    loosen_marker,
    repeat_samples,
    simulate_electromagnetic,
    simulate_optical,
    swap_transform,
)

MARKERS_S = np.array([[3.0, -2, 1], [52, 8, 0], [-11, 71, 4], [38, 95, -9], [-40, 30, 12]])
SILENT_OPTICAL = OpticalSettings(fle_sd_mm=(0, 0, 0))
SILENT_EM = EmSettings(noise_mm=0, noise_deg=0)


def motion(rng, centre, n=200, tilt_deg=180.0, reach_mm=60.0, name="pointer"):
    """A tool at scattered places around `centre`, turned by up to `tilt_deg`, at uneven times."""
    axis = rng.normal(size=(n, 3))
    angle = np.radians(rng.uniform(0, tilt_deg, (n, 1)))
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis, axis=1, keepdims=True))
    place = np.array(centre) + rng.uniform(-reach_mm, reach_mm, (n, 3)) * [1, 0.7, 0.9]
    return PoseStream(np.cumsum(rng.uniform(0.02, 0.05, n)), pose_from(turn, place), name=name)


def for_camera(rng, **options):
    return motion(rng, [40.0, -70, -900], **{"tilt_deg": 30.0, **options})


def for_generator(rng, **options):
    return motion(rng, [30.0, -50, -330], **options)


def at_rest(centre, n):
    """One pose, n times."""
    pose = pose_from(Rotation.from_rotvec([0.5, -0.3, 0.8]), centre)
    return PoseStream(np.arange(n) / 60, np.repeat(pose[None], n, axis=0))


def with_lost_sample(stream, k=7):
    pose, valid = stream.pose.copy(), stream.valid.copy()
    pose[k], valid[k] = np.nan, False
    return PoseStream(stream.time_s, pose, valid, stream.name)


def same(a, b):
    return (
        np.array_equal(a.time_s, b.time_s)
        and np.array_equal(a.pose, b.pose, equal_nan=True)
        and np.array_equal(a.valid, b.valid)
        and a.name == b.name
    )


# --- optical -----------------------------------------------------------------------------------------------


def test_an_optical_tracker_without_noise_gives_the_truth(rng):
    truth = for_camera(rng)
    seen = simulate_optical(truth, MARKERS_S, rng=rng, settings=SILENT_OPTICAL)
    assert seen.valid.all()
    assert np.abs(seen.pose - truth.pose).max() < 1e-9
    assert seen.name == "pointer"
    assert np.array_equal(seen.time_s, truth.time_s)


def test_hidden_markers_do_not_spoil_the_truth(rng):
    truth = for_camera(rng)
    normals = np.array([[0, 0, 1], [0, 0, 1], [0, 0, -1], [0, 0, 1], [0, 0, -1.0]])
    seen = simulate_optical(truth, MARKERS_S, rng=rng, normals_s=normals, settings=SILENT_OPTICAL)
    assert seen.valid.all()
    assert np.abs(seen.pose - truth.pose).max() < 1e-9


def test_the_markers_centre_has_the_mean_error_of_the_markers(rng):
    truth = at_rest([40, -70, -900], 20_000)
    s = OpticalSettings()
    seen = simulate_optical(truth, MARKERS_S, rng=rng, settings=s)
    centre = MARKERS_S.mean(axis=0)
    away = transform_points(seen.pose, centre) - transform_points(truth.pose, centre)
    expected = np.array(s.fle_sd_mm) ** 2 / len(MARKERS_S)
    assert np.diag(np.cov(away.T)) == pytest.approx(expected, rel=0.05)
    assert np.abs(np.corrcoef(away.T) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("hidden", [[], [1], [0, 3]])
def test_a_tip_far_away_has_the_error_of_the_published_formula(rng, hidden):
    """Wiles 2008, for the markers that were seen."""
    truth = at_rest([40, -70, -900], 20_000)
    normals = np.tile([0, 0, 1.0], (len(MARKERS_S), 1))
    normals[hidden] *= -1
    s, tip_s = OpticalSettings(), np.array([20.0, -150, 30])
    seen = simulate_optical(truth, MARKERS_S, rng=rng, normals_s=normals, settings=s)
    assert seen.valid.all()
    away = transform_points(seen.pose, tip_s) - transform_points(truth.pose, tip_s)
    markers_pr = transform_points(truth.pose[0], np.delete(MARKERS_S, hidden, axis=0))
    tip_pr = transform_points(truth.pose[0], tip_s)
    expected = tre_covariance(markers_pr, tip_pr, np.diag(np.square(s.fle_sd_mm)))
    found = away.T @ away / len(away)
    assert np.sqrt(np.trace(found)) == pytest.approx(np.sqrt(np.trace(expected)), rel=0.05)
    assert np.diag(found) == pytest.approx(np.diag(expected), rel=0.05)


def test_equal_errors_in_all_directions_give_fitzpatricks_formula(rng):
    truth = for_camera(rng, n=20_000)  # the formula does not depend on the pose
    s, tip_s = OpticalSettings(fle_sd_mm=(0.2, 0.2, 0.2)), np.array([20.0, -150, 30])
    seen = simulate_optical(truth, MARKERS_S, rng=rng, settings=s)
    away = transform_points(seen.pose, tip_s) - transform_points(truth.pose, tip_s)
    rms = np.sqrt(np.mean(np.sum(away**2, axis=1)))
    assert rms == pytest.approx(float(expected_tre(MARKERS_S, tip_s, 0.2 * np.sqrt(3))), rel=0.05)


def test_a_sample_is_valid_where_three_markers_face_the_camera_in_the_volume(rng):
    """Against one marker at a time, by the angle itself."""
    truth = motion(rng, [-100.0, 180, -700], n=400, tilt_deg=110, reach_mm=200)
    normals = np.array([[0, 0, 1.0], [1, 0, 1], [0, 2, 2], [-0.5, 0, 1], [0, -0.3, 0.6]])
    s = OpticalSettings(max_angle_deg=50, z_mm=(-820, -600), view_deg=22)
    expected = []
    for pose in truth.pose:
        count = 0
        for marker, normal in zip(MARKERS_S, normals, strict=True):
            p, n = pose[:3, :3] @ marker + pose[:3, 3], pose[:3, :3] @ normal
            facing = np.degrees(np.arccos(n @ -p / np.linalg.norm(n) / np.linalg.norm(p)))
            off_axis = np.degrees(np.arctan2(np.hypot(p[0], p[1]), -p[2]))
            count += facing <= 50 and -820 <= p[2] <= -600 and off_axis <= 22
        expected.append(count >= 3)
    seen = simulate_optical(truth, MARKERS_S, rng=rng, normals_s=normals, settings=s)
    assert seen.valid.tolist() == expected
    assert 40 < sum(expected) < 360, "the case must have both"
    assert np.isnan(seen.pose[~seen.valid]).all()


@pytest.mark.parametrize(
    ("place", "valid"),
    [([0, 0, -900], True), ([0, 0, -500], False), ([0, 0, -1450], False), ([400, 0, -900], False)],
)
def test_the_cameras_volume_has_a_near_a_far_and_a_side(rng, place, valid):
    truth = PoseStream([0.0], pose_from(np.eye(3), [place]))
    seen = simulate_optical(truth, MARKERS_S, rng=rng, settings=OpticalSettings(max_angle_deg=180))
    assert seen.valid.tolist() == [valid]


def test_three_seen_markers_on_a_line_are_no_pose(rng):
    markers = np.array([[0, 0, 0], [30, 0, 0], [70, 0, 0], [10, 60, 5.0]])
    truth = for_camera(rng, n=5)
    seen = simulate_optical(truth, markers, rng=rng, normals_s=[[0, 0, 1]] * 3 + [[0, 0, -1]])
    assert not seen.valid.any()
    assert simulate_optical(truth, markers, rng=rng).valid.all()


def test_hiding_a_marker_leaves_the_noise_of_the_others(rng):
    truth = for_camera(rng, tilt_deg=80)
    free, hidden = (
        simulate_optical(
            truth, MARKERS_S, rng=np.random.default_rng(5), settings=OpticalSettings(max_angle_deg=a)
        )
        for a in (180, 40)
    )
    assert free.valid.all()
    assert 0.1 < hidden.valid.mean() < 0.9
    equal = (hidden.pose == free.pose).all(axis=(1, 2))
    assert equal.sum() > 0.8 * hidden.valid.sum(), "where all are seen, the pose is the same"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t, r: simulate_optical(t, MARKERS_S[:2], rng=r), "markers_s has 2 points"),
        (lambda t, r: simulate_optical(t, MARKERS_S[:, :1] * [1, 2, 3], rng=r), "markers lie on a line"),
        (lambda t, r: simulate_optical(t, MARKERS_S, rng=r, normals_s=[0, 0, 0]), "none of them 0"),
        (lambda t, r: simulate_optical(t, MARKERS_S, rng=r, normals_s=MARKERS_S[:2]), "expected 1 or 5"),
        (lambda t, r: OpticalSettings(fle_sd_mm=(0.1, -0.1, 0)), "expected 0 or more"),
        (lambda t, r: OpticalSettings(z_mm=(-500, -1300)), "looks along -z"),
        (lambda t, r: EmSettings(noise_deg=-1), "expected 0 or more"),
        (lambda t, r: EmSettings(metal_mm=(0, 100, -300)), "outside the volume"),
        (lambda t, r: drop_out(t, rng=r, fraction=20, length_s=0.1), "expected 0 to 1"),
        (lambda t, r: drop_out(t, rng=r, fraction=0.2, length_s=0), "more than 0"),
        (lambda t, r: loosen_marker(t, time_s=1, s_M_moved=np.diag([1, 1, -1, 1])), "is not rigid"),
        (lambda t, r: repeat_samples(t, every=0), "expected 1"),
        (lambda t, r: bend_tip([0, 0, 9], angle_deg=5, axis_s=[0, 0, 0]), "across the shaft"),
    ],
)
def test_bad_input_is_one_sentence(rng, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(for_camera(rng, n=4), rng)


# --- electromagnetic ---------------------------------------------------------------------------------------


def test_an_electromagnetic_tracker_without_noise_and_distortion_gives_the_truth(rng):
    truth = for_generator(rng)
    settings = EmSettings(noise_mm=0, noise_deg=0, distortion_mm=0, distortion_deg=0)
    read = simulate_electromagnetic(truth, rng=rng, settings=settings)
    assert read.valid.all()
    assert np.abs(read.pose - truth.pose).max() < 1e-9
    assert read.name == "pointer"
    assert np.array_equal(read.time_s, truth.time_s)


def test_without_noise_the_distortion_is_what_is_left(rng):
    truth = for_generator(rng)
    read = simulate_electromagnetic(truth, rng=rng, settings=SILENT_EM)
    shift_mm, turn_rad = em_distortion(truth.pose[:, :3, 3], SILENT_EM)
    assert np.abs(read.pose[:, :3, 3] - truth.pose[:, :3, 3] - shift_mm).max() < 1e-9
    turned = Rotation.from_rotvec(turn_rad).as_matrix() @ truth.pose[:, :3, :3]
    assert np.abs(read.pose[:, :3, :3] - turned).max() < 1e-9
    assert np.degrees(np.linalg.norm(turn_rad, axis=1)).max() > 0.5


def test_white_noise_is_equal_along_all_axes_and_independent(rng):
    truth = for_generator(rng, n=8000)
    s = EmSettings(noise_mm=0.25, noise_deg=0.4, distortion_mm=0, distortion_deg=0)
    read = simulate_electromagnetic(truth, rng=rng, settings=s)
    shift = read.pose[:, :3, 3] - truth.pose[:, :3, 3]
    turn = Rotation.from_matrix(read.pose[:, :3, :3] @ np.swapaxes(truth.pose[:, :3, :3], 1, 2))
    noise = np.hstack([shift, np.degrees(turn.as_rotvec())])
    assert noise.std(axis=0) == pytest.approx([0.25] * 3 + [0.4] * 3, rel=0.05)
    assert np.abs(noise.mean(axis=0)).max() < 0.02
    assert np.abs(np.corrcoef(noise.T) - np.eye(6)).max() < 0.05
    assert np.abs(np.mean(noise[1:] * noise[:-1], axis=0)).max() < 0.05 * 0.4**2, "white: no memory"


@pytest.mark.parametrize("power", [2, 3, 4.5])
def test_distortion_grows_with_the_stated_power_from_the_stated_amplitude(rng, power):
    s = EmSettings(power=power, distortion_mm=2.5, distortion_deg=0.8, reference_mm=350)
    ray = rng.normal(size=(50, 3))
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    for growth in (0.5, 1.0, 1.6):
        shift_mm, turn_rad = em_distortion(350 * growth * ray, s)
        assert np.linalg.norm(shift_mm, axis=1) == pytest.approx(np.full(50, 2.5 * growth**power))
        size_deg = np.degrees(np.linalg.norm(turn_rad, axis=1))
        assert size_deg == pytest.approx(np.full(50, 0.8 * growth**power))


def test_distortion_pulls_towards_the_metal_and_is_smooth(rng):
    s = EmSettings()
    p = rng.uniform(s.low_mm, s.high_mm, (300, 3))
    shift_mm, turn_rad = em_distortion(p, s)
    to_metal = np.array(s.metal_mm) - p
    assert np.sum(shift_mm * to_metal, axis=1) == pytest.approx(
        np.linalg.norm(shift_mm, axis=1) * np.linalg.norm(to_metal, axis=1)
    )
    assert np.abs(np.cross(shift_mm, turn_rad)).max() < 1e-12
    near = em_distortion(p + 1e-3, s)[0] - shift_mm
    assert np.abs(near).max() < 1e-3 * 0.2, "a step changes the shift by much less than the step"


def test_outside_the_field_nothing_is_valid(rng):
    truth = for_generator(rng, reach_mm=400)
    read = simulate_electromagnetic(truth, rng=rng)
    p = truth.pose[:, :3, 3]
    expected = (abs(p[:, 0]) <= 250) & (abs(p[:, 1]) <= 250) & (p[:, 2] >= -550) & (p[:, 2] <= -50)
    assert np.array_equal(read.valid, expected)
    assert 20 < expected.sum() < 180
    assert np.isnan(read.pose[~expected]).all()
    away = np.array([0, 0, 900.0])
    nothing = PoseStream(truth.time_s, pose_from(truth.pose[:, :3, :3], away))
    assert not simulate_electromagnetic(nothing, rng=rng).valid.any()


def test_the_distortion_does_not_show_at_rest_and_shows_in_a_known_length(rng):
    """What the docstring tells the learner to look for."""
    near, far = at_rest([40, 30, -150], 500), at_rest([140, 30, -480], 500)
    lengths, spreads = [], []
    for stream in (near, far):
        ends = []
        for offset in (0.0, 100.0):
            moved = PoseStream(
                stream.time_s, pose_from(stream.pose[:, :3, :3], stream.pose[:, :3, 3] + [0, offset, 0])
            )
            place = simulate_electromagnetic(moved, rng=rng).pose[:, :3, 3]
            spreads.append(np.sqrt(place.var(axis=0).sum()))
            ends.append(place.mean(axis=0))
        lengths.append(np.linalg.norm(ends[1] - ends[0]))
    assert spreads == pytest.approx([0.15 * np.sqrt(3)] * 4, rel=0.1)
    assert abs(lengths[0] - 100) < 0.2
    assert abs(lengths[1] - 100) > 0.5


# --- both --------------------------------------------------------------------------------------------------


def optical(stream, rng):
    return simulate_optical(stream, MARKERS_S, rng=rng, settings=OpticalSettings(max_angle_deg=100))


def electromagnetic(stream, rng):
    return simulate_electromagnetic(stream, rng=rng)


def lost(stream, rng):
    return drop_out(stream, rng=rng, fraction=0.3, length_s=0.2)


def jittered(stream, rng):
    return add_jitter(stream, rng=rng, sd_s=0.004)


@pytest.mark.parametrize(
    ("act", "truth"),
    [
        (optical, for_camera),
        (electromagnetic, for_generator),
        (lost, for_camera),
        (jittered, for_camera),
    ],
)
def test_a_seed_says_everything_and_inputs_stay(rng, act, truth):
    stream = truth(rng)
    time, pose, valid = stream.time_s.copy(), stream.pose.copy(), stream.valid.copy()
    markers = MARKERS_S.copy()
    first, again, other = (act(stream, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    assert same(stream, PoseStream(time, pose, valid, stream.name))
    assert np.array_equal(MARKERS_S, markers)


@pytest.mark.parametrize(("act", "truth"), [(optical, for_camera), (electromagnetic, for_generator)])
def test_what_was_not_valid_before_is_not_valid_after(rng, act, truth):
    stream = with_lost_sample(truth(rng))
    stream = PoseStream(stream.time_s, stream.pose, stream.valid & (np.arange(len(stream)) != 9))
    read = act(stream, rng)
    assert np.flatnonzero(~read.valid).tolist() == [7, 9]
    assert np.isnan(read.pose[[7, 9]]).all()


# --- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 0.8, 1.0])
def test_drop_out_loses_its_share_in_bursts(rng, fraction):
    stream = for_camera(rng, n=3000)
    spoilt = drop_out(stream, rng=rng, fraction=fraction, length_s=0.5)
    longest = 0.5 / 0.02  # samples in a burst, at the shortest time step
    assert fraction <= (~spoilt.valid).mean() <= fraction + longest / len(stream)
    assert np.array_equal(spoilt.time_s, stream.time_s)
    assert np.array_equal(spoilt.pose[spoilt.valid], stream.pose[spoilt.valid])
    assert np.isnan(spoilt.pose[~spoilt.valid]).all()
    edges = np.flatnonzero(np.diff(np.r_[1, spoilt.valid, 1]))
    for first, after in edges.reshape(-1, 2):
        if after < len(stream):
            assert stream.time_s[after] - stream.time_s[first] >= 0.5
    assert 0 < fraction < 1 or len(edges) == 2 * fraction


def test_drop_out_finds_no_lost_sample_again(rng):
    stream = with_lost_sample(for_camera(rng))
    spoilt = drop_out(stream, rng=rng, fraction=0.0, length_s=0.5)
    assert same(spoilt, stream)


def test_a_burst_is_not_bridged(rng):
    stream = for_camera(rng, n=600)
    spoilt = drop_out(stream, rng=rng, fraction=0.2, length_s=0.6)
    _, ok = spoilt.at(stream.time_s)
    assert np.array_equal(ok, spoilt.valid)


def test_latency_moves_the_stamps_and_nothing_else(rng):
    stream = with_lost_sample(for_camera(rng))
    late = add_latency(stream, 0.15)
    assert np.array_equal(late.time_s, stream.time_s + 0.15)
    assert same(PoseStream(stream.time_s, late.pose, late.valid, late.name), stream)
    t = np.arange(0, 8, 1 / 30)
    height = np.sin(2 * t) + np.sin(3.3 * t)
    found = estimate_delay(t, height, t + 0.15, height, max_delay_s=0.5)
    assert found.delay_s == pytest.approx(0.15, abs=1e-3)


def test_jitter_scatters_the_stamps_and_keeps_the_order(rng):
    stream = PoseStream(np.arange(5000) / 20, at_rest([1, 2, 3], 5000).pose)
    shaken = add_jitter(stream, rng=rng, sd_s=0.004)
    away = shaken.time_s - stream.time_s
    assert away.std() == pytest.approx(0.004, rel=0.05)
    assert abs(away.mean()) < 3e-4
    assert np.array_equal(shaken.pose, stream.pose)
    assert same(add_jitter(stream, rng=rng, sd_s=0), stream)
    wild = add_jitter(stream, rng=rng, sd_s=0.5)  # ten steps: stamps overtake each other, samples do not
    assert (np.diff(wild.time_s) > 0).all()
    assert np.array_equal(wild.pose, stream.pose)


def test_a_swapped_transform_is_the_inverse_and_twice_is_nothing(rng):
    stream = with_lost_sample(for_camera(rng, tilt_deg=180))
    swapped = swap_transform(stream)
    product = swapped.pose[stream.valid] @ stream.pose[stream.valid]
    assert np.abs(product - np.eye(4)).max() < 1e-9
    assert np.isnan(swapped.pose[7]).all()
    assert np.array_equal(swapped.valid, stream.valid)
    assert np.array_equal(swapped.time_s, stream.time_s)
    twice = swap_transform(swapped)
    assert np.abs(twice.pose - stream.pose)[stream.valid].max() < 1e-9


def test_a_swapped_transform_copes_with_garbage_in_lost_samples(rng):
    stream = for_camera(rng, n=5)
    pose = stream.pose.copy()
    pose[2] = 0  # has no inverse
    valid = np.arange(5) != 2
    assert np.array_equal(swap_transform(PoseStream(stream.time_s, pose, valid)).pose[2], pose[2])


def pivoting(rng, tip_s, n=120):
    """A sensor whose tip rests at one place while it is tilted."""
    turn = Rotation.from_rotvec(rng.uniform(-0.7, 0.7, (n, 3)))
    return PoseStream(np.arange(n) / 20, pose_from(turn, [30.0, -40, -800] - turn.apply(tip_s)))


def test_a_swapped_pivot_recording_fits_perfectly_with_tip_and_pivot_exchanged(rng):
    stream = swap_transform(pivoting(rng, np.array([12.0, -5, 160])))
    found = calibrate_pivot(stream.pose)
    assert found.rms_mm < 1e-9
    assert found.tip_s == pytest.approx([30, -40, -800])
    assert found.pivot_pr == pytest.approx([12, -5, 160])


def test_a_loosened_marker_sits_differently_from_then_on(rng):
    tip_s = np.array([12.0, -5, 160])
    s_M_moved = pose_from(Rotation.from_rotvec([0.05, 0.1, -0.02]), [1.5, 0, -3])
    stream = pivoting(rng, tip_s)
    loose = loosen_marker(stream, time_s=stream.time_s[50], s_M_moved=s_M_moved)
    assert np.array_equal(loose.pose[:50], stream.pose[:50])
    assert np.abs(loose.pose[50:] @ np.linalg.inv(s_M_moved) - stream.pose[50:]).max() < 1e-9
    assert np.array_equal(loose.time_s, stream.time_s)
    assert np.array_equal(loose.valid, stream.valid)
    before, after = (calibrate_pivot(loose.pose[part]) for part in (slice(50), slice(50, None)))
    assert max(before.rms_mm, after.rms_mm) < 1e-9
    assert before.tip_s == pytest.approx(tip_s)
    assert s_M_moved[:3, :3] @ after.tip_s + s_M_moved[:3, 3] == pytest.approx(tip_s)
    assert calibrate_pivot(loose.pose).rms_mm > 5


@pytest.mark.parametrize("every", [1, 2, 3])
def test_repeated_samples_are_bit_identical(rng, every):
    stream = with_lost_sample(for_camera(rng, n=100), k=6)
    polled = repeat_samples(stream, every=every)
    assert np.array_equal(polled.time_s, stream.time_s)
    for k in range(100):
        held = k - k % every
        assert np.array_equal(polled.pose[k], stream.pose[held], equal_nan=True)
        assert polled.valid[k] == stream.valid[held]


def test_custusx_real_recordings_repeat_every_other_sample(rng, navkit_data):
    stream = files.read_tracking(navkit_data / "custusx" / "temporal_2011_text")

    def share_repeated(s):
        return np.mean((s.pose[1:] == s.pose[:-1]).all(axis=(1, 2)))

    simulated = repeat_samples(for_camera(rng, n=len(stream)), every=2)
    assert share_repeated(simulated) == pytest.approx(share_repeated(stream), abs=0.02)


def test_a_bent_tip_keeps_its_distance_from_the_hinge_and_misses_by_one_length(rng):
    tip_s, hinge_s = np.array([4.0, -7, 160]), np.array([1.0, 2, 40])
    bent = bend_tip(tip_s, angle_deg=3, axis_s=[2, -1, 0], hinge_s=hinge_s)
    arm, was = bent - hinge_s, tip_s - hinge_s
    assert np.linalg.norm(arm) == pytest.approx(np.linalg.norm(was))
    across = np.array([2, -1, 0]) / np.sqrt(5)
    assert bent @ across == pytest.approx(tip_s @ across), "nothing moves along the axis it bends about"
    turned = np.arctan2(np.cross(was, arm) @ across, was @ arm - (was @ across) * (arm @ across))
    assert np.degrees(turned) == pytest.approx(3)
    stream = pivoting(rng, bent)
    miss = transform_points(stream.pose, tip_s) - [30, -40, -800]
    assert np.linalg.norm(miss, axis=1) == pytest.approx(np.full(len(stream), np.linalg.norm(tip_s - bent)))
    assert calibrate_pivot(stream.pose).tip_s == pytest.approx(bent)


def test_faults_follow_each_other(rng):
    stream = for_camera(rng, n=400)
    spoilt = swap_transform(add_latency(repeat_samples(lost(stream, rng)), 0.1))
    assert len(spoilt) == 400
    k = np.flatnonzero(spoilt.valid)
    away = pose_error(np.linalg.inv(spoilt.pose[k]), stream.pose[k - k % 2])
    assert away.translation_mm.max() < 1e-9
    assert spoilt.time_s == pytest.approx(stream.time_s + 0.1)
