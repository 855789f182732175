"""N-wire calibration: exact without noise, honest with noise, and PLUS's own figures on PLUS's recording."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from nwire_phantom import WIRES, each, plus_frames
from scipy.spatial.transform import Rotation

from navkit.calibration import best_95, calibrate_probe_nwires, middle_points
from navkit.files import read_plus_config
from navkit.geometry import inverse, orthonormalised, pose_from, transform_points

TRUE_S_M_P = np.array(
    [
        [-0.0005, 0.0745, 0.0, 11.2],
        [-0.0803, -0.0001, 0.0, 48.4],
        [0.0018, -0.0008, 0.0, -0.4],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
TRUE_S_M_P[:3, 2] = np.cross(TRUE_S_M_P[:3, 0], TRUE_S_M_P[:3, 1])
TRUE_S_M_P[:3, 2] *= 0.0774 / np.linalg.norm(TRUE_S_M_P[:3, 2])


def looking(rng, n, true=TRUE_S_M_P):
    """Poses s_M_phantom from which the picture cuts all nine wires, and the dots it shows (n, 3, 3, 2)."""
    # in the phantom: picture columns along -x, rows along -z, the plane across y
    upright = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]).T
    tilt = Rotation.from_rotvec(rng.uniform(-1, 1, size=(n, 3)) * [0.25, 0.35, 0.3])
    columns = orthonormalised(true / [0.0803, 0.0745, 0.0774, 1.0])[:3, :3]
    turn = (tilt * Rotation.from_matrix(upright)).as_matrix() @ columns.T
    centre_s = transform_points(true, [410.0, 300.0, 0.0])
    place = rng.uniform([42, 12, 6], [48, 28, 14], size=(n, 3))
    phantom_M_s = pose_from(turn, place - turn @ centre_s)
    s_M_phantom = inverse(phantom_M_s)
    ends = transform_points(inverse(true) @ s_M_phantom, WIRES.reshape(-1, 3)).reshape(n, 3, 3, 2, 3)
    a, b = ends[..., 0, :], ends[..., 1, :]
    share = a[..., 2:] / (a[..., 2:] - b[..., 2:])
    return s_M_phantom, (a + share * (b - a))[..., :2]


def test_without_noise_the_picture_is_found_exactly(rng):
    s_M_phantom, dots = looking(rng, 25)
    result = calibrate_probe_nwires(dots, WIRES, s_M_phantom)
    assert np.abs(result.s_M_p[:3, [0, 1, 3]] - TRUE_S_M_P[:3, [0, 1, 3]]).max() < 1e-9
    assert np.abs(result.s_M_p[:3, 2] - TRUE_S_M_P[:3, 2]).max() < 1e-4
    assert result.scale_mm == pytest.approx(np.linalg.norm(TRUE_S_M_P[:3, :2], axis=0), abs=1e-9)
    assert result.rms_mm < 1e-9
    assert result.kept.all()
    assert result.warnings == ()


def test_the_ratio_gives_the_point_of_the_middle_wire(rng):
    s_M_phantom, dots = looking(rng, 6)
    on_wire = each(inverse(s_M_phantom) @ TRUE_S_M_P, np.pad(dots[:, :, 1], ((0, 0), (0, 0), (0, 1))))
    assert middle_points(dots, WIRES) == pytest.approx(on_wire, abs=1e-9)


def test_wires_that_are_not_seen_are_passed_over(rng):
    s_M_phantom, dots = looking(rng, 25)
    dots[3, 1, 2] = np.nan
    dots[7] = np.nan
    result = calibrate_probe_nwires(dots, WIRES, s_M_phantom)
    assert np.isnan(result.residual_mm).sum() == 4
    assert not result.kept[7].any()
    assert np.abs(result.s_M_p[:3, 3] - TRUE_S_M_P[:3, 3]).max() < 1e-9


def test_a_few_wrong_dots_are_trimmed(rng):
    s_M_phantom, dots = looking(rng, 80)
    dots += rng.normal(scale=0.3, size=dots.shape)
    dots[5, 0, 1, 0] += 120
    dots[40, 2, 1, 0] -= 90
    with_trim = calibrate_probe_nwires(dots, WIRES, s_M_phantom)
    without = calibrate_probe_nwires(dots, WIRES, s_M_phantom, trim_sigma=np.inf)
    corners = np.array([[0.0, 0, 0], [819, 0, 0], [0, 615, 0], [819, 615, 0]])

    def worst(result):
        off = transform_points(result.s_M_p, corners) - transform_points(TRUE_S_M_P, corners)
        return np.linalg.norm(off, axis=1).max()

    assert not with_trim.kept[5, 0]
    assert not with_trim.kept[40, 2]
    assert with_trim.kept.mean() > 0.95
    assert worst(with_trim) < 0.5 * worst(without)


def test_the_covariance_is_that_of_linear_regression(rng):
    """500 seeded trials with noise of the phantom's place: variances within 10 % of what the result tells."""
    s_M_phantom, dots = looking(rng, 60)
    found, told, noise = [], [], []
    for _ in range(500):
        shaken = s_M_phantom.copy()
        shaken[:, :3, 3] += rng.normal(scale=[0.1, 0.2, 0.4], size=(60, 3))
        # one shift for all three N's of a frame: take one N a frame, so that the rows are independent
        one = np.full_like(dots, np.nan)
        pick = np.arange(60) % 3
        one[np.arange(60), pick] = dots[np.arange(60), pick]
        result = calibrate_probe_nwires(one, WIRES, shaken, trim_sigma=np.inf)
        found.append(transform_points(result.s_M_p, [100.0, 550.0, 0.0]))
        told.append(result.sd_mm([100.0, 550.0]) ** 2)
        noise.append(result.noise_mm**2)
    # the picture's columns run along the sensor's -y, its rows along x
    assert np.sqrt(np.mean(noise, axis=0)) == pytest.approx([0.2, 0.1, 0.4], rel=0.03)
    assert np.var(found, axis=0) == pytest.approx(np.mean(told, axis=0), rel=0.15)


@pytest.mark.parametrize("refine", ["in-plane", "distance"])
def test_without_noise_every_dot_gives_the_same_picture(rng, refine):
    square = orthonormalised(TRUE_S_M_P / [0.0803, 0.0745, 0.0774, 1]) * [0.0803, 0.0745, 0.0774, 1]
    s_M_phantom, dots = looking(rng, 25, square)
    dots[4, 1, 0] = np.nan  # takes its middle point with it, not its neighbours
    result = calibrate_probe_nwires(dots, WIRES, s_M_phantom, refine=refine)
    assert np.abs(result.s_M_p - square).max() < 1e-9
    assert result.rms_mm < 1e-9
    assert result.square_deg == 90.0
    assert np.isnan(result.residual_mm[4, 1])
    assert np.isfinite(result.residual_mm).sum() == 74


@pytest.mark.slow
def test_all_dots_are_worth_more_than_a_third_of_them_and_say_how_much(rng):
    """100 seeded trials with noise of the dots: errors within 10 % (RMS) of what the refined result tells."""
    s_M_phantom, dots = looking(rng, 40)
    corner = [780.0, 560.0]
    found, told, linear = [], [], []
    for _ in range(100):
        noisy = dots + rng.normal(scale=1.5, size=dots.shape)
        one = calibrate_probe_nwires(noisy, WIRES, s_M_phantom, trim_sigma=np.inf, refine="in-plane")
        found.append(transform_points(one.s_M_p, [*corner, 0.0]))
        told.append(one.sd_mm(corner) ** 2)
        two = calibrate_probe_nwires(noisy, WIRES, s_M_phantom, trim_sigma=np.inf)
        linear.append(transform_points(two.s_M_p, [*corner, 0.0]))
    assert np.var(found, axis=0).sum() == pytest.approx(np.mean(told, axis=0).sum(), rel=0.2)
    assert np.var(found, axis=0).sum() < 0.5 * np.var(linear, axis=0).sum()
    # along columns and rows 1.5 px each
    assert one.noise_mm == pytest.approx(1.5 * np.array(one.scale_mm), rel=0.15)


def test_each_refinement_is_best_by_its_own_measure(rng):
    s_M_phantom, dots = looking(rng, 30)
    dots = dots + rng.normal(scale=3.0, size=dots.shape)
    dots[4, 1, 0] = np.nan
    ends = each(s_M_phantom, np.broadcast_to(WIRES.reshape(-1, 3), (30, 18, 3))).reshape(30, 3, 3, 2, 3)

    def errors(s_M_p):
        """RMS distance of the dots from where their wires pierce the picture, and from the wires, mm."""
        a, b = np.moveaxis(transform_points(inverse(s_M_p), ends), -2, 0)
        pierced = a + (a[..., 2:] / (a[..., 2:] - b[..., 2:])) * (b - a)
        in_plane = (pierced[..., :2] - dots) * np.linalg.norm(s_M_p[:3, :2], axis=0)
        there = transform_points(s_M_p, np.pad(dots, ((0, 0),) * 3 + ((0, 1),)))
        along = ends[..., 1, :] - ends[..., 0, :]
        away = np.cross(there - ends[..., 0, :], along / np.linalg.norm(along, axis=-1, keepdims=True))
        return [np.sqrt(np.nanmean((e**2).sum(axis=-1))) for e in (in_plane, away)]

    in_plane, distance = (
        calibrate_probe_nwires(dots, WIRES, s_M_phantom, trim_sigma=np.inf, refine=way)
        for way in ("in-plane", "distance")
    )
    assert errors(in_plane.s_M_p)[0] < errors(distance.s_M_p)[0] - 1e-6
    assert errors(distance.s_M_p)[1] < errors(in_plane.s_M_p)[1] - 1e-6
    here = transform_points(in_plane.s_M_p, np.pad(dots[:, :, 1], ((0, 0), (0, 0), (0, 1))))
    off = np.linalg.norm(here - each(s_M_phantom, middle_points(dots, WIRES)), axis=-1)
    assert in_plane.residual_mm == pytest.approx(off, abs=1e-9, nan_ok=True)
    assert in_plane.rms_mm == pytest.approx(np.sqrt(np.nanmean(off**2)), abs=1e-9)
    dots[4, 1] = np.nan  # the other two dots of that N counted
    without = calibrate_probe_nwires(dots, WIRES, s_M_phantom, trim_sigma=np.inf, refine="in-plane")
    assert np.abs(without.s_M_p - in_plane.s_M_p).max() > 1e-6


def test_an_unknown_refinement_is_refused(rng):
    s_M_phantom, dots = looking(rng, 12)
    with pytest.raises(ValueError, match="refine is 'out'; expected None, 'in-plane' or 'distance'"):
        calibrate_probe_nwires(dots, WIRES, s_M_phantom, refine="out")


def test_a_picture_that_never_moves_or_few_dots_are_refused(rng):
    s_M_phantom, dots = looking(rng, 3)
    with pytest.raises(ValueError, match="9 middle points are seen; expected at least 10"):
        calibrate_probe_nwires(dots, WIRES, s_M_phantom)
    s_M_phantom, dots = looking(rng, 30)
    dots[:, 1:] = np.nan
    dots[:, 0, :, 1] = 200.0
    with pytest.raises(ValueError, match="one line of the picture"):
        calibrate_probe_nwires(dots, WIRES, s_M_phantom)


def test_wires_that_are_no_n_and_wrong_shapes_are_one_sentence(rng):
    s_M_phantom, dots = looking(rng, 12)
    parallel = WIRES.copy()
    parallel[1, 1] = parallel[1, 0] + [3.0, 0, 0]
    with pytest.raises(ValueError, match="N number 1 does not cross"):
        calibrate_probe_nwires(dots, parallel, s_M_phantom)
    with pytest.raises(ValueError, match=r"expected \(n_frames, n_wires, 3, 2\)"):
        calibrate_probe_nwires(dots[0], WIRES, s_M_phantom)
    with pytest.raises(ValueError, match="11 poses for 12 frames"):
        calibrate_probe_nwires(dots, WIRES, s_M_phantom[:11])
    with pytest.raises(ValueError, match=r"expected \(3, 3, 2, 3\)"):
        calibrate_probe_nwires(dots, WIRES[:2], s_M_phantom)


def test_a_middle_wire_on_another_layer_is_no_n(rng):
    s_M_phantom, dots = looking(rng, 12)
    lifted = WIRES.copy()
    lifted[2, 1, :, 2] += 4.0
    with pytest.raises(ValueError, match="N number 2 does not cross"):
        calibrate_probe_nwires(dots, lifted, s_M_phantom)


def test_a_point_trimmed_in_one_coordinate_is_not_kept(rng):
    s_M_phantom, dots = looking(rng, 40)
    shifted = s_M_phantom.copy()
    shifted[9, 2, 3] += 25.0  # along one axis of the sensor only
    result = calibrate_probe_nwires(dots, WIRES, shifted)
    assert not result.kept[9].any()
    assert result.kept[np.arange(40) != 9].all()


def test_what_speaks_against_a_calibration_is_said(rng):
    s_M_phantom, dots = looking(rng, 40)
    sheared = dots.copy()
    sheared[..., 0] += 0.05 * dots[..., 1]
    (warning,) = calibrate_probe_nwires(sheared, WIRES, s_M_phantom).warnings
    assert "axes meet at" in warning
    assert warning in calibrate_probe_nwires(sheared, WIRES, s_M_phantom, refine="distance").warnings
    wrong = s_M_phantom.copy()
    wrong[:5, :3, 3] += [40.0, -30.0, 55.0]
    wrong[5:10, :3, 3] += [9.0, 8.0, -9.0]
    warnings = calibrate_probe_nwires(dots, WIRES, wrong, trim_sigma=1.5).warnings
    assert any("points do not fit and were left out" in w for w in warnings)


def test_plus_recording_gives_plus_matrix_and_all_four_statistics(navkit_data):
    folder = navkit_data / "plus" / "fcal20"
    root = ET.parse(folder / "FreehandCalibration3NWires_fCal2.0.results.xml").getroot()
    expected = np.fromstring(root.find("CalibrationResults/Transform").get("Matrix"), sep=" ").reshape(4, 4)
    spaces = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml").spaces()
    report = root.find("ErrorReport")

    def seen(part):
        dots, probe, reference = plus_frames(report, part)
        return dots, orthonormalised(inverse(probe) @ reference @ spaces.get("Reference", "Phantom"))

    dots, s_M_phantom = seen("CalibrationData")
    result = calibrate_probe_nwires(dots, WIRES, s_M_phantom)
    assert np.abs(result.s_M_p - expected).max() < 1e-4
    told = {k: float(v) for k, v in report.find("ReprojectionError3DStatistics").attrib.items()}
    mean, sd = result.best_95()
    assert mean == pytest.approx(told["CalibrationMeanMm"], abs=1e-3)
    assert sd == pytest.approx(told["CalibrationStdDevMm"], abs=1e-3)

    dots, s_M_phantom = seen("ValidationData")
    there = each(s_M_phantom, middle_points(dots, WIRES))
    here = transform_points(result.s_M_p, np.pad(dots[:, :, 1], ((0, 0), (0, 0), (0, 1))))
    mean, sd = best_95(np.linalg.norm(here - there, axis=-1))
    assert mean == pytest.approx(told["ValidationMeanMm"], abs=1e-3)
    assert sd == pytest.approx(told["ValidationStdDevMm"], abs=1e-3)
