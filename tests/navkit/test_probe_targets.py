"""Probe calibration on a point, a stylus and a wall: exact without noise, as sure as it says with noise."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from nwire_phantom import WIRES, each, plus_frames
from scipy.spatial.transform import Rotation

from navkit.calibration import (
    best_95,
    calibrate_probe_nwires,
    calibrate_probe_point,
    calibrate_probe_stylus,
    calibrate_probe_wall,
    detect_bottom,
    middle_points,
)
from navkit.files import read_sequence
from navkit.geometry import inverse, orthonormalised, pose_from, transform_points

SCALE_MM = np.array([0.081, 0.074])
AXES = Rotation.from_euler("xyz", [25, -130, 70], degrees=True).as_matrix()
TRUE_S_M_P = pose_from(np.eye(3), [12.0, -31.0, 7.0])
TRUE_S_M_P[:3, :3] = AXES * [*SCALE_MM, SCALE_MM.mean()]
SHAPE = (616, 820)
CORNERS = np.array([[0.0, 0.0], [819.0, 0.0], [0.0, 615.0], [819.0, 615.0]])
TARGET_PR = np.array([31.0, -112.0, 77.0])
NORMAL_PR = Rotation.from_euler("xyz", [160, 15, 33], degrees=True).as_matrix()
WALL_PR = np.append(NORMAL_PR[:, 2], 55.0)


def mapped(s_M_p, px):
    return transform_points(s_M_p, np.pad(px, ((0, 0), (0, 1))))


def worst_mm(s_M_p):
    """How far the picture's worst corner is from where it truly is."""
    return np.linalg.norm(mapped(s_M_p, CORNERS) - mapped(TRUE_S_M_P, CORNERS), axis=1).max()


def looking(rng, n, *, tilt_deg=(35, 25, 50)):
    """Pixels (n, 2) and poses (n, 4, 4) in which they all are the same point."""
    px = rng.uniform([30, 40], [790, 580], size=(n, 2))
    base = Rotation.from_euler("xyz", [-70, 15, 133], degrees=True)
    turn = base * Rotation.from_rotvec(rng.uniform(-1, 1, size=(n, 3)) * np.radians(tilt_deg))
    return px, pose_from(turn, TARGET_PR - turn.apply(mapped(TRUE_S_M_P, px)))


def shaken(rng, m, sd_mm):
    """Poses whose place is wrong along the picture's columns, rows and across it."""
    out = m.copy()
    error = rng.normal(size=(len(m), 3)) * sd_mm
    out[:, :3, 3] += np.einsum("nij,nj->ni", m[:, :3, :3] @ AXES, error)
    return out


def above_wall(rng, n, *, tilt_deg=(35, 20, 30), spin_deg=60):
    """Lines (n, 2, 2) that a wall makes in tilted pictures, and the poses."""
    upright = np.column_stack([NORMAL_PR[:, 0], -NORMAL_PR[:, 2], NORMAL_PR[:, 1]])
    spin = Rotation.from_rotvec(np.radians(spin_deg) * rng.uniform(-1, 1, size=(n, 1)) * NORMAL_PR[:, 2])
    tilt = Rotation.from_rotvec(rng.uniform(-1, 1, size=(n, 3)) * np.radians(tilt_deg))
    turn = (spin * Rotation.from_matrix(upright) * tilt).as_matrix()
    middle = np.column_stack([np.full(n, 400.0), rng.uniform(200, 500, n)]) * SCALE_MM
    on_wall = np.column_stack([rng.uniform(-40, 40, size=(n, 2)), np.full(n, WALL_PR[3])]) @ NORMAL_PR.T
    place = on_wall - np.einsum("nij,nj->ni", turn[..., :2], middle)
    pr_M_s = pose_from(turn, place) @ inverse(pose_from(AXES, TRUE_S_M_P[:3, 3]))
    u = np.column_stack([rng.uniform(30, 200, n), rng.uniform(600, 790, n)])
    across = np.einsum("i,nij->nj", WALL_PR[:3], turn)
    off = (WALL_PR[3] - place @ WALL_PR[:3])[:, None]
    v = (off - across[:, :1] * SCALE_MM[0] * u) / (across[:, 1:2] * SCALE_MM[1])
    return np.stack([u, v], axis=-1), pr_M_s


def off_wall(line, pr_M_s, error_mm):
    """The lines with each point that far (n, 2) off the wall."""
    steep = pr_M_s[:, :3, :3] @ TRUE_S_M_P[:3, 1] @ WALL_PR[:3]
    return line + np.stack([np.zeros_like(error_mm), error_mm / steep[:, None]], axis=-1)


def stylus(rng, n):
    """Pixels and tips of a stylus that is touched to a picture that hardly turns."""
    px, pr_M_s = looking(rng, n, tilt_deg=(1, 2, 1))
    pr_M_s[:, :3, 3] += rng.uniform(-9, 9, size=(n, 3))
    tip_pr = np.einsum("nij,nj->ni", pr_M_s[:, :3, :3], mapped(TRUE_S_M_P, px)) + pr_M_s[:, :3, 3]
    return px, tip_pr, pr_M_s


def is_exact(result):
    """To 1e-9: the least squares end at rounding, not at a tolerance."""
    return (
        np.abs(result.s_M_p - TRUE_S_M_P).max() < 1e-9
        and result.scale_mm == pytest.approx(SCALE_MM, abs=1e-9)
        and result.rms_mm < 1e-9
        and result.kept.all()
        and result.warnings == ()
    )


@pytest.mark.parametrize("scale_mm", [None, SCALE_MM])
def test_without_noise_all_three_are_exact(rng, scale_mm):
    px, pr_M_s = looking(rng, 14)
    found = calibrate_probe_point(px, pr_M_s, scale_mm=scale_mm, shape=SHAPE)
    assert is_exact(found)
    assert found.target_pr == pytest.approx(TARGET_PR, abs=1e-9)
    assert is_exact(calibrate_probe_point(px, pr_M_s, target_pr=TARGET_PR, scale_mm=scale_mm, shape=SHAPE))
    assert is_exact(calibrate_probe_stylus(*stylus(rng, 11), scale_mm=scale_mm, shape=SHAPE))
    wall = calibrate_probe_wall(*above_wall(rng, 60, tilt_deg=(45, 20, 45)), scale_mm=scale_mm)
    assert is_exact(wall)
    assert wall.target_pr == pytest.approx(WALL_PR, abs=1e-9)
    assert wall.residual_mm.shape == wall.kept.shape == (60, 2)


def test_the_wall_is_found_from_lines_tilted_both_ways_with_no_guess(rng):
    """Also where a spin about the wall's normal, which tells nothing, is missing; one tilt is refused."""

    def found(noise_mm, **motion):
        line, pr_M_s = above_wall(rng, 80, **motion)
        return calibrate_probe_wall(off_wall(line, pr_M_s, rng.normal(size=(80, 2)) * noise_mm), pr_M_s)

    for spin_deg in (0, 120):
        result = found(0.1, tilt_deg=(35, 0, 35), spin_deg=spin_deg)
        assert worst_mm(result.s_M_p) < 0.6
        assert result.condition < 100
    for tilt_deg in ((35, 0, 0), (0, 0, 35)):
        with pytest.raises(ValueError, match="Did the probe tilt one way only"):
            found(0.01, tilt_deg=tilt_deg, spin_deg=120)
    with pytest.raises(ValueError, match=r"0\.0 deg about the next"):
        found(0.0, tilt_deg=(0, 0, 35), spin_deg=0)


def test_a_mirrored_picture_is_a_picture_too(rng):
    px, pr_M_s = looking(rng, 15)
    px[:, 0] = 819 - px[:, 0]
    mirror = np.diag([-1.0, 1, -1, 1])
    mirror[0, 3] = 819
    assert np.abs(calibrate_probe_point(px, pr_M_s).s_M_p - TRUE_S_M_P @ mirror).max() < 1e-9


def spread(results):
    """The mean squared deviation of the matrices' coefficients over what the covariances tell, about 1."""
    told = np.mean([r.covariance.reshape(9, 9) for r in results], axis=0)
    size = np.sqrt(np.diag(told))
    variance, vectors = np.linalg.eigh(told / np.outer(size, size))
    # right angles leave one of nine coefficients no freedom
    assert variance[0] < 0.1 * variance[1]
    columns = np.array([(r.s_M_p - TRUE_S_M_P)[:3, [0, 1, 3]].ravel() for r in results])
    z = (columns / size) @ vectors[:, 1:] / np.sqrt(variance[1:])
    return np.mean(z**2)


@pytest.mark.slow
def test_under_noise_the_point_is_as_unsure_as_it_says(rng):
    """200 seeded trials with a thick slice: 8 x 200 squared deviations, so 10 % is 3 standard errors."""
    sd_mm = np.array([0.2, 0.15, 0.6])
    px, pr_M_s = looking(rng, 30)
    results = [calibrate_probe_point(px, shaken(rng, pr_M_s, sd_mm), trim_sigma=np.inf) for _ in range(200)]
    assert spread(results) == pytest.approx(1.0, abs=0.1)
    variance = np.mean([r.noise_mm**2 for r in results], axis=0)
    assert np.sqrt(variance) == pytest.approx(sd_mm, rel=0.05)
    corner = np.array([mapped(r.s_M_p, CORNERS[3:])[0] for r in results])
    told = np.mean([r.sd_mm(CORNERS[3]) ** 2 for r in results], axis=0)
    assert np.var(corner, axis=0) == pytest.approx(told, rel=0.25)  # single variances: 9 % standard error
    # the elevation is worst everywhere in the picture
    c = np.mean([r.pixel_covariance(CORNERS) for r in results], axis=0)
    in_picture = np.sqrt(np.einsum("ia,cij,ja->ca", AXES, c, AXES))
    assert (in_picture[:, 2] > 1.4 * in_picture[:, :2].max(axis=1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_the_points_residual_is_noise_less_the_parameters(rng, known):
    px, pr_M_s = looking(rng, 15)
    target = TARGET_PR if known else None
    squares = [
        calibrate_probe_point(px, shaken(rng, pr_M_s, 0.2), target_pr=target, trim_sigma=np.inf).rms_mm ** 2
        for _ in range(200)
    ]
    parameters = 8 if known else 11
    assert np.mean(squares) / 3 == pytest.approx(0.2**2 * (1 - parameters / 45), rel=0.05)


@pytest.mark.slow
def test_under_noise_the_stylus_is_as_unsure_as_it_says(rng):
    px, tip_pr, pr_M_s = stylus(rng, 20)
    results = [
        calibrate_probe_stylus(px, tip_pr, shaken(rng, pr_M_s, [0.1, 0.1, 0.4]), trim_sigma=np.inf)
        for _ in range(200)
    ]
    assert spread(results) == pytest.approx(1.0, abs=0.1)
    fixed = [
        calibrate_probe_stylus(px, tip_pr, shaken(rng, pr_M_s, 0.3), scale_mm=SCALE_MM, trim_sigma=np.inf)
        for _ in range(100)
    ]
    assert np.mean([r.rms_mm**2 for r in fixed]) / 3 == pytest.approx(0.3**2 * (1 - 6 / 60), rel=0.05)
    assert np.allclose(fixed[0].scale_mm, SCALE_MM)


@pytest.mark.slow
def test_under_noise_the_wall_is_as_unsure_as_it_says(rng):
    line, pr_M_s = above_wall(rng, 30, tilt_deg=(45, 20, 45))
    errors = rng.normal(scale=0.05, size=(200, 30, 2))
    results = [calibrate_probe_wall(off_wall(line, pr_M_s, e), pr_M_s, trim_sigma=np.inf) for e in errors]
    assert spread(results) == pytest.approx(1.0, abs=0.1)
    assert np.mean([r.rms_mm**2 for r in results]) == pytest.approx(0.05**2 * (1 - 11 / 60), rel=0.05)
    assert np.mean([r.noise_mm**2 for r in results]) == pytest.approx(0.05**2, rel=0.05)


def test_a_tenth_of_wrong_pixels_is_trimmed(rng):
    px, pr_M_s = looking(rng, 40)
    pr_M_s = shaken(rng, pr_M_s, 0.1)
    px[[3, 17, 30, 31]] += [[90, 40], [-70, 110], [50, -80], [-60, -60]]
    result = calibrate_probe_point(px, pr_M_s)
    assert np.flatnonzero(~result.kept).tolist() == [3, 17, 30, 31]
    assert worst_mm(result.s_M_p) < 0.25 * worst_mm(
        calibrate_probe_point(px, pr_M_s, trim_sigma=np.inf).s_M_p
    )
    assert result.residual_mm[3] > 3
    line, pr_M_s = above_wall(rng, 60)
    line = off_wall(line, pr_M_s, rng.normal(scale=0.1, size=(60, 2)))
    line[::10, :, 1] += [[60.0, 90], [-70, -75], [80, 85], [90, 60], [-60, -65], [100, 80]]
    result = calibrate_probe_wall(line, pr_M_s)
    assert not result.kept[::10].any()
    assert result.kept.mean() > 0.88
    assert worst_mm(result.s_M_p) < 1.0


def test_a_poor_motion_is_refused_or_said(rng):
    with pytest.raises(ValueError, match=r"2\d\.\d deg about one axis and 0\.0 deg about the next"):
        calibrate_probe_point(*looking(rng, 60, tilt_deg=(0, 0, 35)))
    # a known point needs no turns
    px, pr_M_s = looking(rng, 12, tilt_deg=(0, 0, 5))
    assert is_exact(calibrate_probe_point(px, pr_M_s, target_pr=TARGET_PR, shape=SHAPE))
    px, pr_M_s = looking(rng, 12, tilt_deg=(40, 5, 5))
    turning, corner = calibrate_probe_point(px, shaken(rng, pr_M_s, 0.2), shape=SHAPE).warnings
    assert "expected 8 deg or more" in turning
    assert "a corner's standard deviation is" in corner
    px, pr_M_s = looking(rng, 12)
    px[:, 1] = 300 + rng.normal(scale=0.5, size=12)
    with pytest.raises(ValueError, match="one line of the picture"):
        calibrate_probe_point(px, pr_M_s)
    _, pr_M_s = above_wall(rng, 20)
    with pytest.raises(ValueError, match="one line of the picture"):
        calibrate_probe_wall(np.tile([[100.0, 300], [700, 300]], (20, 1, 1)), pr_M_s)
    with pytest.raises(ValueError, match=r"condition is \d{4}; expected less than 1000"):
        calibrate_probe_wall(*above_wall(rng, 60, tilt_deg=(5, 5, 5)))
    line, pr_M_s = above_wall(rng, 20)
    pr_M_s[:, 2, 3] = 5.0
    with pytest.raises(ValueError, match="stays at one place along an axis"):
        calibrate_probe_wall(line, pr_M_s)


def test_what_speaks_against_a_calibration_is_said(rng):
    px, pr_M_s = looking(rng, 400)
    part = (px[:, 0] > 300) & (px[:, 0] < 600)
    (covers,) = calibrate_probe_point(px[part], shaken(rng, pr_M_s[part], 0.1), shape=SHAPE).warnings
    assert "36% of the picture's width and 8" in covers
    px, pr_M_s = px[:40], shaken(rng, pr_M_s[:40], 0.1)
    assert calibrate_probe_point(px, pr_M_s).warnings == ()
    (scale,) = calibrate_probe_point(px, pr_M_s, scale_mm=SCALE_MM * 1.04).warnings
    assert "at right angles" in scale
    px[::4] += rng.normal(size=(10, 2)) * 60
    assert any("points do not fit" in w for w in calibrate_probe_point(px, pr_M_s, trim_sigma=1.5).warnings)


def test_wrong_input_is_one_sentence(rng):
    px, pr_M_s = looking(rng, 12)
    line, above = above_wall(rng, 20)
    with pytest.raises(ValueError, match=r"pixel has shape \(2, 12\); expected \('n', 2\)"):
        calibrate_probe_point(px.T, pr_M_s)
    with pytest.raises(ValueError, match="11 poses for 12 pictures"):
        calibrate_probe_point(px, pr_M_s[1:])
    with pytest.raises(ValueError, match="9 pictures; expected at least 10"):
        calibrate_probe_point(px[:9], pr_M_s[:9])
    with pytest.raises(ValueError, match="15 pictures; expected at least 16"):
        calibrate_probe_wall(line[:15], above[:15])
    with pytest.raises(ValueError, match=r"line has shape \(20, 2\); expected \('n', 2, 2\)"):
        calibrate_probe_wall(line[:, 0], above)
    with pytest.raises(ValueError, match=r"target_pr has shape"):
        calibrate_probe_point(px, pr_M_s, target_pr=[1.0, 2.0])
    with pytest.raises(ValueError, match="tip_pr has 11 points for 12 pictures"):
        calibrate_probe_stylus(px, np.ones((11, 3)), pr_M_s)
    with pytest.raises(ValueError, match="both positive"):
        calibrate_probe_point(px, pr_M_s, scale_mm=0.08)
    px[4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        calibrate_probe_point(px, pr_M_s)


def test_nothing_is_written_to_the_arguments(rng):
    px, pr_M_s = looking(rng, 12)
    before = px.copy(), pr_M_s.copy()
    calibrate_probe_point(px, pr_M_s, target_pr=TARGET_PR)
    assert (px == before[0]).all()
    assert (pr_M_s == before[1]).all()


def plus_dots(folder, part):
    """The dots of PLUS's report (n, 3, 3, 2) and the poses ``s_M_phantom`` (n, 4, 4)."""
    root = ET.parse(folder / "FreehandCalibration3NWires_fCal2.0.results.xml").getroot()
    config = ET.parse(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml").getroot()
    (place,) = [
        t for t in config.iter("Transform") if (t.get("From"), t.get("To")) == ("Phantom", "Reference")
    ]
    reference_M_phantom = np.fromstring(place.get("Matrix"), sep=" ").reshape(4, 4)
    dots, probe, reference = plus_frames(root.find("ErrorReport"), part)
    return dots, orthonormalised(inverse(probe) @ reference @ reference_M_phantom)


def test_plus_recording_as_if_a_stylus_had_been_at_the_wires(navkit_data):
    """Right angles move the corners of PLUS's picture by less than 0.2 mm, and validate as well."""
    dots, s_M_phantom = plus_dots(navkit_data / "plus" / "fcal20", "CalibrationData")
    nwires = calibrate_probe_nwires(dots, WIRES, s_M_phantom, trim_sigma=np.inf)
    px, tips = dots[:, :, 1].reshape(-1, 2), middle_points(dots, WIRES).reshape(-1, 3)
    result = calibrate_probe_stylus(px, tips, np.repeat(inverse(s_M_phantom), 3, axis=0), shape=SHAPE)
    off = mapped(result.s_M_p, CORNERS) - mapped(nwires.s_M_p, CORNERS)
    assert np.linalg.norm(off, axis=1).max() < 0.2
    assert result.rms_mm == pytest.approx(nwires.rms_mm, rel=1e-3)
    assert result.rms_mm > nwires.rms_mm
    assert result.noise_mm == pytest.approx([0.355, 0.160, 0.442], abs=0.001)
    (covers,) = result.warnings
    assert "29% of the picture's width and 50% of its height" in covers

    dots, s_M_phantom = plus_dots(navkit_data / "plus" / "fcal20", "ValidationData")
    there = each(s_M_phantom, middle_points(dots, WIRES))
    errors = []
    for s_M_p in (result.s_M_p, nwires.s_M_p):
        here = transform_points(s_M_p, np.pad(dots[:, :, 1], ((0, 0), (0, 0), (0, 1))))
        errors.append(best_95(np.linalg.norm(here - there, axis=-1))[0])
    # PLUS's own, with its trimming: 0.540
    assert errors == pytest.approx([0.5363, 0.5357], abs=1e-4)


def test_plus_tank_recording_that_only_goes_up_and_down_is_refused(navkit_data):
    """Real lines of a real tank bottom, made for the delay: they cannot tell where the picture is."""
    folder = navkit_data / "plus" / "temporal"
    video = read_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha")
    tracker = read_sequence(folder / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
    stream = tracker.stream("ProbeToTracker")
    lines = [detect_bottom(frame, clip_p=(225, 574, 40, 549)) for frame in video.frames]
    px = np.array([[[u, line.row_at(u)] for u in (240.0, 560.0)] for line in lines])
    nearest = np.abs(video.time_s[:, None] - stream.time_s).argmin(axis=1)
    with pytest.raises(ValueError, match=r"turns by 1\.7 deg about one axis and 1\.0 deg"):
        calibrate_probe_wall(px, orthonormalised(stream.pose[nearest]))
