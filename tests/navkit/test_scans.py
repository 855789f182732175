"""Freehand scans: the truth when all is right, and each error by exactly what was asked for."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.calibration import estimate_video_delay
from navkit.files import read_acquisition, write_acquisition
from navkit.geometry import inverse, pose_error, pose_from, transform_points
from navkit.phantoms import TISSUES, Phantom, water_tank, wire_cross
from navkit.registration import tre_covariance
from navkit.tracking import (
    EmSettings,
    Hand,
    OpticalSettings,
    PoseStream,
    add_jitter,
    add_latency,
    back_and_forth,
    drop_out,
    fan_sweep,
    linear_sweep,
    loosen_marker,
    repeat_samples,
    rotation_sweep,
    simulate_electromagnetic,
    simulate_optical,
    swap_transform,
    tilt_sweep,
)
from navkit.ultrasound import (
    ProbeSector,
    SimulationSettings,
    calibration_error,
    scan,
    simulate_sweep,
    track_frames,
)

SECTOR = ProbeSector("linear", 30.0, (0.5, 44.0), (47.25, 2.5), (0.35, 0.6), (0, 95, 0, 79), (80, 96))
DOT = ProbeSector("linear", 1.5, (0.4, 2.5), (2.25, 0.5), (0.31, 0.47), (0, 5, 0, 4), (5, 6))
PR_M_D = pose_from(Rotation.from_rotvec([0.4, 0.2, -0.3]), [30.0, -40, -300])
ABOVE_CROSS_D = pose_from(Rotation.from_euler("xyz", [180, 6, 35], degrees=True), [133.0, 134.9, 120.2])
S_M_T = pose_from(Rotation.from_rotvec([-0.5, 0.3, 1.1]), [18.0, -7, 96])
QUICK = Hand(duration_s=1.5, rate_hz=20)
AGAR = Phantom("agar", background=replace(TISSUES["agar"], echo_db=9.5), seed=3)


def seeded(k: int = 4) -> np.random.Generator:
    return np.random.default_rng(k)


def over_the_cross(sweep=linear_sweep, **options) -> PoseStream:
    """A trembling hand over the wire cross, which lies at PR_M_D."""
    return sweep(PR_M_D @ ABOVE_CROSS_D, rng=seeded(9), **{"hand": QUICK, **options})


def scan_cross(trajectory, **options):
    options = {"rng": seeded(), "pr_M_d": PR_M_D, **options}
    return scan(wire_cross(), SECTOR, trajectory, **options)


def long_scan(*, samples: int = 3000, length_mm: float = 80.0, depth_mm: float = 300.0, **options):
    """Thousands of tiny frames, for statistics; the truth moves evenly, so that no interpolation errs."""
    middle = pose_from(Rotation.from_rotvec([2.0, 0.4, -0.3]), [30.0, -40, -depth_mm])
    hand = Hand(duration_s=samples / 40, rate_hz=40)
    way = linear_sweep(middle, length_mm=length_mm, hand=hand)
    return scan(AGAR, DOT, way, rng=seeded(), **options)


def recorded_pr_M_t(result, which="sweep"):
    sweep = getattr(result, which)
    return sweep.pr_M_p @ inverse(sweep.sector.t_M_p())


# ---- nothing wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep", [linear_sweep, fan_sweep, tilt_sweep, rotation_sweep, back_and_forth])
def test_with_all_left_out_the_scan_is_the_simulated_sweep(sweep):
    way = over_the_cross(sweep)
    plain = simulate_sweep(wire_cross(), SECTOR, way.pose, way.time_s, rng=seeded(), pr_M_d=PR_M_D)
    found = scan_cross(way)
    for one in (found.sweep, found.truth):
        assert np.array_equal(one.frames, plain.frames)
        assert np.array_equal(one.time_s, plain.time_s)
        assert np.abs(one.pr_M_p - plain.pr_M_p).max() < 1e-10
        assert one.valid.all()
        assert one.notes == ()
    assert plain.frames.max() == 255  # the wires are in the picture
    assert np.abs(found.error_mm()).max() < 1e-10


def test_a_sensor_elsewhere_on_the_probe_changes_nothing_when_its_place_is_known():
    """Nor do frames between the tracker's samples: truth and tracking are read in the same way there."""
    way = over_the_cross()
    found = scan_cross(way, s_M_t=S_M_T, frame_rate_hz=13.0)
    assert len(found.sweep) == 20
    assert np.abs(found.tracking.pose @ S_M_T - way.pose).max() < 1e-10
    assert pose_error(recorded_pr_M_t(found), recorded_pr_M_t(found, "truth")).rotation_rad.max() < 1e-7
    # between samples a turning probe's sensor cuts the corner that its tool space cuts: micrometres
    assert found.error_mm().max() < 0.05
    on_samples = found.error_mm()[np.isin(found.truth.time_s.round(9), way.time_s.round(9))]
    assert len(on_samples) >= 2
    assert on_samples.max() < 1e-9


def test_equal_generators_give_equal_scans():
    def again(k):
        rng = seeded(k)
        tracker = partial(simulate_electromagnetic, rng=rng)
        return scan_cross(over_the_cross(), rng=rng, tracker=tracker)

    a, b, c = again(1), again(1), again(2)
    assert np.array_equal(a.sweep.frames, b.sweep.frames)
    assert np.array_equal(a.sweep.pr_M_p, b.sweep.pr_M_p)
    assert not np.array_equal(a.sweep.pr_M_p, c.sweep.pr_M_p)
    assert not np.array_equal(a.sweep.frames, c.sweep.frames)


def test_the_pictures_do_not_know_of_tracker_faults_latency_or_calibration():
    way = over_the_cross()
    spoilt = scan_cross(
        way,
        tracker=partial(simulate_electromagnetic, rng=seeded(7)),
        faults=[partial(drop_out, rng=seeded(8), fraction=0.5, length_s=0.4), repeat_samples],
        assumed_s_M_t=calibration_error(rng=seeded(), translation_mm=4, rotation_deg=5),
        latency_s=0.2,
    )
    assert np.array_equal(spoilt.sweep.frames, scan_cross(way).sweep.frames)
    assert np.array_equal(spoilt.truth.pr_M_p, scan_cross(way).truth.pr_M_p)


def test_progress_counts_every_frame():
    told = []
    scan_cross(over_the_cross(), progress=lambda done, total: told.append((done, total)))
    assert told == [(k, 31) for k in range(1, 32)]


# ---- latency ---------------------------------------------------------------------------------------------


def tank_scan(latency_s: float, frame_rate_hz: float):
    """Up and down over the bottom of a tank; the gain is low, so that the plate's back stays the darker."""
    settings = replace(
        SimulationSettings.fast(focus_mm=25.0),
        voxel_mm=1.0, gain_db=-36.0, max_lines=24, max_samples=160, max_slices=3,
    )  # fmt: skip
    rng = seeded(3)
    d_M_t = pose_from(Rotation.from_euler("xyz", [180, 4, 0], degrees=True), [3.0, -2, -12])
    pr_M_d = pose_from(Rotation.from_rotvec([0.4, 0.2, -0.3]), [30.0, -40, -900])
    hand = Hand(duration_s=8, rate_hz=40)
    way = back_and_forth(pr_M_d @ d_M_t, amplitude_mm=10, period_s=1.3, rng=rng, hand=hand)
    markers_s = [[0, 60, -1], [50, 0, 9], [-40, -20, -12], [20, -50, 3.0]]
    seen_from_everywhere = OpticalSettings(max_angle_deg=180)
    return scan(
        water_tank(depth_mm=40.0), SECTOR, way, rng=rng, pr_M_d=pr_M_d, frame_rate_hz=frame_rate_hz,
        tracker=partial(simulate_optical, markers_s=markers_s, rng=rng, settings=seen_from_everywhere),
        s_M_t=S_M_T, latency_s=latency_s, settings=settings,
    )  # fmt: skip


@pytest.mark.parametrize(("latency_s", "frame_rate_hz"), [(0.0, 20.0), (0.085, 22.0), (-0.06, 25.0)])
def test_the_water_tank_gives_the_latency_back(latency_s, frame_rate_hz):
    late = tank_scan(latency_s, frame_rate_hz)
    found = estimate_video_delay(late.sweep.frames, late.sweep.time_s, late.tracking, clip_p=(5, 90, 25, 76))
    assert found.delay_s == pytest.approx(-latency_s, abs=0.003)  # the tracker's delay after the video
    assert found.warnings == ()


def test_the_latency_once_known_is_undone():
    late = scan_cross(over_the_cross(), frame_rate_hz=17.0, latency_s=0.085, s_M_t=S_M_T)
    right = track_frames(
        late.sweep.frames, late.sweep.time_s, late.tracking, SECTOR, s_M_t=S_M_T, latency_s=0.085, name="x"
    )
    assert right.time_s == pytest.approx(late.truth.time_s, abs=1e-12)
    assert right.name == "x"
    assert np.nanmedian(late.error_mm()) > 2.0
    assert np.nanmax(replace(late, sweep=right).error_mm()) < 0.05
    assert right.valid[1:-1].all()  # rounding may push the first or the last one outwards


@pytest.mark.parametrize("latency_s", [0.13, -0.2])
def test_a_latency_moves_an_even_sweep_by_speed_times_latency(latency_s):
    hand = Hand(duration_s=2, rate_hz=20)
    way = linear_sweep(PR_M_D @ ABOVE_CROSS_D, length_mm=30, hand=hand)
    late = scan_cross(way, latency_s=latency_s)
    ok = late.sweep.valid
    assert np.array_equal(ok, (way.time_s + latency_s >= 0) & (way.time_s + latency_s <= 2))
    assert late.sweep.time_s == pytest.approx(way.time_s + latency_s, abs=1e-12)
    assert late.error_mm()[ok] == pytest.approx(15 * abs(latency_s), abs=1e-9)
    assert np.isnan(late.error_mm()[~ok]).all()
    # a late stamp shows a frame where the probe has moved to since
    moved = transform_points(inverse(late.truth.pr_M_p[ok]), late.sweep.pr_M_p[ok][:, :3, 3])
    assert np.diagonal(moved, axis1=0, axis2=1)[2] == pytest.approx(-15 * latency_s, abs=1e-9)


# ---- to and fro ------------------------------------------------------------------------------------------


def test_the_way_back_shows_what_the_way_forth_showed():
    """Sideways over speckle: frames of the same place agree; a latency tears them apart, to both sides."""
    hand = Hand(duration_s=2.0, rate_hz=20)
    way = back_and_forth(PR_M_D, amplitude_mm=10, period_s=2.0, direction_t=(1.0, 0, 0), hand=hand)
    latency_s = 0.05
    found = scan(AGAR, SECTOR, way, rng=seeded(), pr_M_d=PR_M_D, latency_s=latency_s)
    forth, back = 10 - np.arange(2, 7), 10 + np.arange(2, 7)  # about the turn at 0.5 s: samples 10 +- k
    x = inverse(PR_M_D) @ found.truth.pr_M_p
    assert np.abs(x[forth] - x[back]).max() < 1e-9
    inside = SECTOR.mask()
    for a, b in zip(forth, back, strict=True):
        one, two = (found.sweep.frames[k][inside].astype(float) for k in (a, b))
        assert np.corrcoef(one, two)[0, 1] > 0.9
        elsewhere = found.sweep.frames[30][inside].astype(float)  # at the other end
        assert abs(np.corrcoef(one, elsewhere)[0, 1]) < 0.3
    place = (inverse(PR_M_D) @ found.sweep.pr_M_p)[:, 0, 3]
    t = way.time_s[forth]
    apart = 10 * (np.sin(np.pi * (1 - t + latency_s)) - np.sin(np.pi * (t + latency_s)))
    assert place[back] - place[forth] == pytest.approx(apart, abs=1e-9)


# ---- calibration -----------------------------------------------------------------------------------------


def test_a_calibration_error_has_the_size_that_was_asked_for(rng):
    centre = np.array([0.0, 4, 22])
    errors = np.stack(
        [
            calibration_error(rng=rng, translation_mm=1.7, rotation_deg=2.5, centre_t=centre)
            for _ in range(2000)
        ]
    )
    moved = transform_points(errors, centre) - centre
    assert np.linalg.norm(moved, axis=1) == pytest.approx(1.7, abs=1e-9)
    turn = Rotation.from_matrix(errors[:, :3, :3]).as_rotvec(degrees=True)
    assert np.linalg.norm(turn, axis=1) == pytest.approx(2.5, abs=1e-9)
    for directions in (moved / 1.7, turn / 2.5):  # every direction alike
        assert np.abs(directions.mean(axis=0)).max() < 0.06
        assert np.cov(directions.T) == pytest.approx(np.eye(3) / 3, abs=0.03)
    assert abs(np.mean(np.sum(moved * turn, axis=1))) < 0.2


def test_a_wrong_calibration_is_off_by_exactly_its_error_in_every_frame(rng):
    middle_t = np.array([0.0, 0, 22])
    error = calibration_error(rng=rng, translation_mm=2.5, rotation_deg=3.0, centre_t=middle_t)
    found = scan_cross(over_the_cross(fan_sweep), s_M_t=S_M_T, assumed_s_M_t=S_M_T @ error)
    off = inverse(recorded_pr_M_t(found, "truth")) @ recorded_pr_M_t(found)
    assert np.abs(off - error).max() < 1e-9
    seen, true = (transform_points(recorded_pr_M_t(found, which), middle_t) for which in ("sweep", "truth"))
    assert np.linalg.norm(seen - true, axis=1) == pytest.approx(2.5, abs=1e-9)
    assert np.ptp((seen - true), axis=0).max() > 0.5  # alike as seen from the probe only
    assert np.abs(found.truth.pr_M_p - scan_cross(over_the_cross(fan_sweep)).truth.pr_M_p).max() < 1e-12
    right = track_frames(found.sweep.frames, found.sweep.time_s, found.tracking, SECTOR, s_M_t=S_M_T)
    assert replace(found, sweep=right).error_mm().max() < 1e-9


def test_a_wrong_calibration_shifts_a_wire_that_is_seen():
    """The cross, from the brightest pixels of the pictures that show it, lies off by the error."""
    way = linear_sweep(PR_M_D @ ABOVE_CROSS_D, length_mm=12, hand=Hand(duration_s=2, rate_hz=20))
    shift = pose_from(np.eye(3), [0.0, 3.0, -2.0])
    found = scan_cross(way, assumed_s_M_t=shift)
    cross_pr = transform_points(PR_M_D, wire_cross().landmarks["cross"])

    def distance(sweep):
        """How near the echoes come to the cross."""
        k, row, column = np.nonzero((sweep.frames >= 250) & (np.arange(80)[None, :, None] > 10))
        p = np.stack([column, row, 0 * row], axis=1).astype(float)
        at = np.einsum("nij,nj->ni", sweep.pr_M_p[k][:, :3, :3], p) + sweep.pr_M_p[k][:, :3, 3]
        return np.linalg.norm(at - cross_pr, axis=1).min()

    assert distance(found.truth) < 0.6  # a pixel is 0.35 x 0.6 mm
    # the echoes of the cross itself have moved by 3.6 mm
    moved = transform_points(recorded_pr_M_t(found) @ inverse(recorded_pr_M_t(found, "truth")), cross_pr)
    assert np.linalg.norm(moved - cross_pr, axis=1) == pytest.approx(np.hypot(3, 2), abs=1e-9)
    assert distance(found.sweep) > 1.5


# ---- trackers --------------------------------------------------------------------------------------------

WIDE_FIELD = EmSettings(low_mm=(-500, -500, -500), high_mm=(400, 400, 400))
ONLY_NOISE = replace(WIDE_FIELD, noise_mm=0.2, noise_deg=0.3, distortion_mm=0, distortion_deg=0)


def test_the_noise_of_a_sensor_reaches_the_picture_by_its_lever():
    """Covariance of the tool's place: white noise, and the turn's, across the lever."""
    tracker = partial(simulate_electromagnetic, rng=seeded(5), settings=ONLY_NOISE)
    found = long_scan(tracker=tracker, s_M_t=S_M_T)
    assert found.sweep.valid.all()
    off = (recorded_pr_M_t(found) - recorded_pr_M_t(found, "truth"))[:, :3, 3]
    lever = found.truth.pr_M_p[0, :3, :3] @ inverse(DOT.t_M_p())[:3, :3]  # pr_M_t's turn, always the same
    lever = lever @ inverse(S_M_T)[:3, :3] @ S_M_T[:3, 3]
    turned = np.radians(0.3) ** 2 * (lever @ lever * np.eye(3) - np.outer(lever, lever))
    expected = 0.2**2 * np.eye(3) + turned
    assert np.cov(off.T) == pytest.approx(expected, abs=0.07 * np.trace(expected) / 3)
    turn = pose_error(recorded_pr_M_t(found), recorded_pr_M_t(found, "truth")).rotation_rad
    assert np.sqrt(np.mean(turn**2)) == pytest.approx(np.sqrt(3) * np.radians(0.3), rel=0.04)


@pytest.mark.parametrize("frame_rate_hz", [37.0, 20.0 / 3])
def test_between_two_samples_noise_is_less_by_the_formula(frame_rate_hz):
    """A frame at a share u of the way between two samples has (1 - u)^2 + u^2 of their variance."""
    settings = replace(ONLY_NOISE, noise_deg=0.0)
    samples = 3000 if frame_rate_hz > 30 else 12_000
    found = long_scan(
        samples=samples,
        tracker=partial(simulate_electromagnetic, rng=seeded(5), settings=settings),
        frame_rate_hz=frame_rate_hz,
        latency_s=0.0125,  # half a sample, so that 20 / 3 Hz falls to the middle
    )
    ok = found.sweep.valid
    off = (found.sweep.pr_M_p - found.truth.pr_M_p)[ok, :3, 3]
    off = off - off.mean(axis=0)  # the latency's share is constant
    u = np.mod(found.sweep.time_s[ok] * 40, 1)
    share = np.mean((1 - u) ** 2 + u**2)
    assert share == pytest.approx(0.5 if frame_rate_hz < 30 else 2 / 3, abs=0.01)
    assert off.std() == pytest.approx(0.2 * np.sqrt(share), rel=0.03)


def test_an_optical_trackers_noise_at_the_picture_is_that_of_the_published_formula():
    markers_t = np.array([[3.0, -2, -91], [52, 8, -90], [-11, 71, -86], [-40, 30, -102]])
    settings = OpticalSettings(max_angle_deg=180)
    camera = partial(simulate_optical, markers_s=markers_t, rng=seeded(6), settings=settings)
    found = long_scan(samples=2500, length_mm=1e-3, depth_mm=900.0, tracker=camera)
    assert found.sweep.valid.all()
    middle_p = np.array([2.0, 3, 0])
    off = transform_points(found.sweep.pr_M_p, middle_p) - transform_points(found.truth.pr_M_p, middle_p)
    at_pr = transform_points(recorded_pr_M_t(found, "truth")[0], markers_t)
    target_pr = transform_points(found.truth.pr_M_p[0], middle_p)
    expected = tre_covariance(at_pr, target_pr, np.diag(np.square(settings.fle_sd_mm)))
    assert off.std(axis=0) == pytest.approx(np.sqrt(np.diag(expected)), rel=0.05)
    rms = np.sqrt(np.mean(found.error_mm() ** 2))
    assert rms == pytest.approx(np.sqrt(np.trace(expected)), rel=0.05)  # the sector is small


def test_error_mm_is_the_rms_over_the_sectors_pixels(rng):
    error = calibration_error(rng=rng, translation_mm=2.5, rotation_deg=9.0)
    found = scan_cross(over_the_cross(), assumed_s_M_t=error)
    rows, columns = np.nonzero(SECTOR.mask())
    p = np.stack([columns, rows, 0 * rows], axis=1).astype(float)
    off = transform_points(found.sweep.pr_M_p[3], p) - transform_points(found.truth.pr_M_p[3], p)
    assert found.error_mm()[3] == pytest.approx(np.sqrt(np.mean(np.sum(off**2, axis=1))), rel=1e-9)


# ---- faults ----------------------------------------------------------------------------------------------

LOOSE = pose_from(Rotation.from_rotvec([0.02, -0.05, 0.01]), [1.0, 2.0, -0.5])
NO_FIELD = EmSettings(low_mm=(-9, -9, -99))
FAULTS = {
    "drop_out": lambda x: drop_out(x, rng=seeded(2), fraction=0.3, length_s=0.6),
    "add_latency": partial(add_latency, latency_s=0.3),
    "add_jitter": lambda x: add_jitter(x, rng=seeded(2), sd_s=0.01),
    "swap_transform": swap_transform,
    "loosen_marker": partial(loosen_marker, time_s=0.8, s_M_moved=LOOSE),
    "repeat_samples": partial(repeat_samples, every=3),
    "all lost": lambda x: drop_out(x, rng=seeded(2), fraction=1.0, length_s=0.6),
    "out of the field": lambda x: simulate_electromagnetic(x, rng=seeded(2), settings=NO_FIELD),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_never_leaves_a_pose_that_is_no_pose_marked_valid(name):
    found = scan_cross(over_the_cross(), faults=[FAULTS[name]], frame_rate_hz=17.0)
    sweep = found.sweep
    assert np.isfinite(sweep.pr_M_p[sweep.valid]).all()
    assert np.isnan(sweep.pr_M_p[~sweep.valid][:, :3]).all()
    lost = int((~sweep.valid).sum())
    note = (f"{lost} of 26 frames have no tracking and are left out",)
    assert sweep.notes == (note if lost else ())
    expected = {
        "drop_out": (5, 20),
        "add_latency": (6, 6),
        "all lost": (26, 26),
        "out of the field": (26, 26),
    }
    low, high = expected.get(name, (0, 1))  # jitter may move the first or the last sample inwards
    assert low <= lost <= high


def test_no_frame_gets_a_pose_from_across_a_gap():
    found = scan_cross(over_the_cross(), faults=[FAULTS["drop_out"]], frame_rate_hz=17.0)
    seen = found.tracking.time_s[found.tracking.valid]
    before = np.array([seen[seen <= t].max(initial=-np.inf) for t in found.sweep.time_s])
    after = np.array([seen[seen >= t].min(initial=np.inf) for t in found.sweep.time_s])
    t = found.sweep.time_s
    near = (t - before <= 0.25) & (after - t <= 0.25)
    assert np.array_equal(found.sweep.valid, near | (before == t))
    assert np.nanmax(found.error_mm()) < 3.0  # nothing invented, though the hand speeds up within a gap


def test_a_loose_marker_shows_from_its_time_on_and_by_its_movement():
    found = scan_cross(over_the_cross(), faults=[FAULTS["loosen_marker"]], s_M_t=S_M_T)
    off = inverse(recorded_pr_M_t(found, "truth")) @ recorded_pr_M_t(found)
    later = found.truth.time_s >= 0.8
    assert 0 < later.sum() < len(later)
    assert np.abs(off[~later] - np.eye(4)).max() < 1e-9
    assert np.abs(off[later] - inverse(S_M_T) @ LOOSE @ S_M_T).max() < 1e-9


def test_repeats_make_poses_late_and_a_late_tracker_is_an_early_video():
    found = scan_cross(over_the_cross(), faults=[FAULTS["repeat_samples"]])
    k = np.arange(31) // 3 * 3
    assert np.abs(found.sweep.pr_M_p - found.truth.pr_M_p[k]).max() < 1e-9
    a = scan_cross(over_the_cross(), faults=[FAULTS["add_latency"]])
    b = scan_cross(over_the_cross(), latency_s=-0.3)
    assert np.array_equal(a.sweep.valid, b.sweep.valid)
    ok = a.sweep.valid
    assert np.abs(a.sweep.pr_M_p[ok] - b.sweep.pr_M_p[ok]).max() < 1e-9


def test_a_swapped_transform_passes_every_check_and_is_far_off():
    found = scan_cross(over_the_cross(), faults=[swap_transform])
    pr_M_t = recorded_pr_M_t(found)
    assert np.abs(pr_M_t - inverse(recorded_pr_M_t(found, "truth"))).max() < 1e-9
    assert found.error_mm().min() > 20


def test_tracker_and_faults_follow_each_other_in_order():
    told = []

    def stage(name):
        return lambda stream: told.append(name) or stream

    scan_cross(over_the_cross(), tracker=stage("tracker"), faults=[stage("one"), stage("two")])
    assert told == ["tracker", "one", "two"]


# ---- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["stack", "frames"])
def test_a_spoilt_scan_comes_back_from_its_files(tmp_path, layout):
    """All but the frames without a pose, which the format cannot mark and which are left out."""
    found = scan_cross(
        over_the_cross(),
        tracker=partial(simulate_electromagnetic, rng=seeded(7), settings=WIDE_FIELD),
        faults=[FAULTS["drop_out"]],
        s_M_t=S_M_T,
        assumed_s_M_t=S_M_T @ calibration_error(rng=seeded(), translation_mm=2, rotation_deg=2),
        latency_s=0.11,
        name="spoilt",
    ).sweep
    ok = found.valid
    assert 0 < ok.sum() < len(ok)
    write_acquisition(found, tmp_path, layout=layout)
    back = read_acquisition(tmp_path / "spoilt")
    assert np.array_equal(back.frames, found.frames[ok])
    assert np.abs(back.time_s - found.time_s[ok]).max() <= 0.51e-7
    assert np.abs(back.pr_M_p - found.pr_M_p[ok]).max() < 1e-5
    assert back.sector == found.sector
    assert back.valid.all()
    assert (back.name, back.notes) == ("spoilt", ())


# ---- doors -----------------------------------------------------------------------------------------------


def test_what_is_wrong_is_said_in_one_sentence():
    way = over_the_cross()
    broken = replace(way, valid=np.arange(31) != 4)
    with pytest.raises(ValueError, match=r"sample 4 of the trajectory is not valid; .*tracker and faults"):
        scan_cross(broken)
    for name in ("s_M_t", "assumed_s_M_t", "pr_M_d"):
        with pytest.raises(ValueError, match=rf"^{name}\[0\] is not rigid"):
            scan_cross(way, **{name: np.diag([1.1, 1, 1, 1])})
    with pytest.raises(ValueError, match="rate_hz is 0"):
        scan_cross(way, frame_rate_hz=0)
    with pytest.raises(ValueError, match="expected the same number"):
        track_frames(np.zeros((2, *SECTOR.shape), dtype=np.uint8), [1.0], way, SECTOR)


def test_nothing_is_written_to_an_argument():
    way, s_M_t, error = over_the_cross(), S_M_T.copy(), S_M_T @ LOOSE
    kept = way.pose.copy(), way.time_s.copy(), error.copy()
    scan_cross(way, s_M_t=s_M_t, assumed_s_M_t=error, faults=list(FAULTS.values())[:3], latency_s=0.1)
    assert np.array_equal(way.pose, kept[0])
    assert np.array_equal(way.time_s, kept[1])
    assert np.array_equal(error, kept[2])
    assert np.array_equal(s_M_t, S_M_T)
