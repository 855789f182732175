"""Pivot calibration: exact without noise, honest with noise, and right on real recordings."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_pivot
from navkit.geometry import pose_from, transform_points

TIP_S = np.array([-17.9, 12.3, 157.7])
PIVOT_PR = np.array([310.0, -85.0, -1200.0])


def pivoting(rng, n, *, cone_deg=35.0, sigma_mm=0.0):
    """Poses that swing a pointer about its tip, in all directions and about its shaft."""
    tilt = rng.uniform(-cone_deg, cone_deg, size=(n, 3)) * [1.0, 0.7, 1.5] + [10, -20, 70]
    turns = Rotation.from_euler("xyz", tilt, degrees=True)
    return pose_from(turns, PIVOT_PR - turns.apply(TIP_S) + rng.normal(0, sigma_mm, size=(n, 3)))


def about_one_axis(rng, n):
    axis = np.array([0.36, 0.48, 0.8])
    turns = Rotation.from_rotvec(rng.uniform(-1, 1, size=(n, 1)) * axis) * Rotation.from_euler("x", 0.7)
    return pose_from(turns, PIVOT_PR - turns.apply(TIP_S)), turns[0].inv().apply(axis)


def test_without_noise_tip_and_pivot_are_exact(rng):
    for n in (3, 4, 60):
        result = calibrate_pivot(pivoting(rng, n))
        np.testing.assert_allclose(result.tip_s, TIP_S, atol=1e-9)
        np.testing.assert_allclose(result.pivot_pr, PIVOT_PR, atol=1e-9)
        assert result.rms_mm < 1e-9
        assert result.inliers.shape == (n,)
        assert result.inliers.all()


def test_the_answer_is_that_of_the_full_system_of_3n_equations(rng):
    poses = pivoting(rng, 25, sigma_mm=0.8)
    system = np.concatenate([np.hstack([m[:3, :3], -np.eye(3)]) for m in poses])
    solution = np.linalg.lstsq(system, -poses[:, :3, 3].reshape(-1), rcond=None)[0]
    result = calibrate_pivot(poses)
    np.testing.assert_allclose(result.tip_s, solution[:3], atol=1e-8)
    np.testing.assert_allclose(result.pivot_pr, solution[3:], atol=1e-8)
    assert result.condition == pytest.approx(np.linalg.cond(system), rel=1e-8)
    error = transform_points(poses, result.tip_s) - result.pivot_pr
    assert result.rms_mm == pytest.approx(np.sqrt((error**2).sum(axis=1).mean()), rel=1e-9)
    np.testing.assert_allclose(result.residual_mm, np.linalg.norm(error, axis=1), atol=1e-9)


def test_the_result_does_not_depend_on_the_order_of_the_poses(rng):
    poses = pivoting(rng, 25, sigma_mm=0.8)
    a, b = calibrate_pivot(poses), calibrate_pivot(rng.permutation(poses))
    np.testing.assert_allclose(a.tip_s, b.tip_s, atol=1e-9)
    assert a.spread_deg == pytest.approx(b.spread_deg)


def test_moving_the_camera_moves_the_pivot_and_leaves_the_tip(rng):
    poses = pivoting(rng, 25, sigma_mm=0.8)
    q_M_pr = pose_from(Rotation.from_rotvec([0.3, -1.2, 0.5]), [900.0, 20.0, -50.0])
    a, b = calibrate_pivot(poses), calibrate_pivot(q_M_pr @ poses)
    np.testing.assert_allclose(b.tip_s, a.tip_s, atol=1e-8)
    np.testing.assert_allclose(b.pivot_pr, transform_points(q_M_pr, a.pivot_pr), atol=1e-8)
    assert b.rms_mm == pytest.approx(a.rms_mm, rel=1e-8)


def test_the_covariance_agrees_with_monte_carlo(rng):
    """Same poses, 3000 draws of the noise: each standard deviation within 5 %, correlations within 0.06."""
    sigma = 0.7
    clean = pivoting(rng, 40)
    tips, covariances, squares = [], [], []
    for _ in range(3000):
        poses = clean.copy()
        poses[:, :3, 3] += rng.normal(0, sigma, size=(40, 3))
        result = calibrate_pivot(poses)
        tips.append(result.tip_s)
        covariances.append(result.covariance)
        squares.append(result.rms_mm**2)
    seen, told = np.cov(np.array(tips), rowvar=False), np.mean(covariances, axis=0)
    np.testing.assert_allclose(np.sqrt(np.diag(told)), np.sqrt(np.diag(seen)), rtol=0.05)
    scale = np.sqrt(np.outer(np.diag(seen), np.diag(seen)))
    np.testing.assert_allclose(told / scale, seen / scale, atol=0.06)
    # The residual: 3 n equations, 6 unknowns.
    assert np.mean(squares) == pytest.approx(3 * sigma**2 * (1 - 6 / 120), rel=0.02)


def test_a_wider_cone_is_worth_more_than_its_residual_says(rng):
    narrow = calibrate_pivot(pivoting(rng, 100, cone_deg=5, sigma_mm=0.5))
    wide = calibrate_pivot(pivoting(rng, 100, cone_deg=40, sigma_mm=0.5))
    assert narrow.rms_mm == pytest.approx(wide.rms_mm, rel=0.15)
    assert np.trace(narrow.covariance) > 20 * np.trace(wide.covariance)
    assert narrow.condition > 5 * wide.condition
    assert narrow.spread_deg < wide.spread_deg / 3


def test_the_spread_is_the_largest_angle_between_two_poses(rng):
    turns = Rotation.random(300, random_state=3)  # more than one block of the computation
    turns = Rotation.from_rotvec(0.3 * turns.as_rotvec())
    poses = pose_from(turns, PIVOT_PR - turns.apply(TIP_S))
    largest = max((turns[k].inv() * turns).magnitude().max() for k in range(300))
    assert calibrate_pivot(poses).spread_deg == pytest.approx(np.degrees(largest), rel=1e-6)


@pytest.mark.parametrize("shape", ["ring", "shell", "one far out", "any", "spiral"])
@pytest.mark.parametrize("n", [3, 5, 400])
def test_the_largest_angle_is_found_without_trying_every_pair_wherever_the_poses_lie(rng, shape, n):
    around = rng.uniform(0, 2 * np.pi, size=n)
    ring = np.stack([np.cos(around), np.sin(around), 0.1 * np.cos(2 * around)], axis=1)
    turns = {
        "ring": Rotation.from_rotvec(0.5 * ring),
        "shell": Rotation.from_rotvec(0.6 * Rotation.random(n, random_state=rng).apply([0.6, 0.8, 0.0])),
        "one far out": Rotation.from_rotvec(0.1 * rng.normal(size=(n, 3)) + np.eye(n, 3)),
        "any": Rotation.random(n, random_state=rng),
        "spiral": Rotation.from_rotvec(np.linspace(0, 0.7, n)[:, None] ** 2 * ring),
    }[shape] * Rotation.from_rotvec([0.3, -1.1, 0.4])
    turns = turns * Rotation.from_rotvec(0.05 * rng.normal(size=(n, 3)))
    poses = pose_from(turns, PIVOT_PR - turns.apply(TIP_S))
    largest = max((turn.inv() * turns).magnitude().max() for turn in turns)
    assert calibrate_pivot(poses).spread_deg == pytest.approx(np.degrees(largest), abs=1e-6)


def test_turning_about_one_axis_is_refused_and_the_axis_named(rng):
    poses, axis = about_one_axis(rng, 30)
    with pytest.raises(ValueError, match="about one axis") as caught:
        calibrate_pivot(poses)
    named = np.array([float(x) for x in str(caught.value).split("direction (")[1].split(")")[0].split(",")])
    assert abs(named @ axis) == pytest.approx(1.0, abs=0.02)


def test_turning_about_one_axis_is_refused_with_the_noise_of_a_tracker_too(rng):
    poses, _ = about_one_axis(rng, 30)
    jitter = Rotation.from_rotvec(np.radians(0.3) * rng.normal(size=(30, 3)))
    poses[:, :3, :3] = poses[:, :3, :3] @ jitter.as_matrix()
    poses[:, :3, 3] += rng.normal(0, 0.2, size=(30, 3))
    with pytest.raises(ValueError, match="deg RMS; expected at least 1 deg"):
        calibrate_pivot(poses)


def test_a_still_tool_is_refused(rng):
    poses = np.tile(pivoting(rng, 1), (20, 1, 1))
    poses[:, :3, 3] += rng.normal(0, 0.2, size=(20, 3))
    with pytest.raises(ValueError, match=r"turn by up to 0\.00 deg"):
        calibrate_pivot(poses)


def test_too_few_poses_a_wrong_shape_and_an_unknown_method_are_refused(rng):
    poses = pivoting(rng, 10)
    with pytest.raises(ValueError, match="2 poses; expected at least 3"):
        calibrate_pivot(poses[:2])
    with pytest.raises(ValueError, match=r"expected \(n, 4, 4\)"):
        calibrate_pivot(poses[:, :3])
    with pytest.raises(ValueError, match="Is the matrix transposed"):
        calibrate_pivot(np.swapaxes(poses, 1, 2))
    with pytest.raises(ValueError, match="expected one of algebraic, all-pairs, sphere, ransac, auto"):
        calibrate_pivot(poses, method="magic")
    with pytest.raises(ValueError, match="rng is None"):
        calibrate_pivot(poses, method="ransac")


def test_the_poses_are_not_written_to(rng):
    poses = pivoting(rng, 10)
    before = poses.copy()
    calibrate_pivot(poses)
    np.testing.assert_array_equal(poses, before)


def test_57_recorded_poses_give_the_published_tip(navkit_data):
    files = sorted((navkit_data / "ucl" / "pivot").glob("*.txt"))
    poses = np.array([np.loadtxt(path) for path in files])
    if poses.shape[1] == 3:
        poses = np.concatenate([poses, np.tile([[[0.0, 0, 0, 1]]], (len(poses), 1, 1))], axis=1)
    assert len(poses) == 57
    result = calibrate_pivot(poses)
    np.testing.assert_allclose(result.tip_s, [-14.473, 394.634, -7.407], atol=1e-3)
    np.testing.assert_allclose(result.pivot_pr, [-804.742, -85.474, -2112.131], atol=1e-3)
    assert result.rms_mm == pytest.approx(3.050, abs=1e-3)
    assert result.rms_mm / np.sqrt(3) == pytest.approx(1.761, abs=1e-3)


def test_eight_recorded_dwells_agree_on_the_stylus_tip(navkit_data):
    folder = navkit_data / "plus" / "landmarks" / "segments"
    dwells = [np.loadtxt(folder / f"landmark{k}.txt").reshape(-1, 4, 4) for k in range(1, 9)]
    results = [calibrate_pivot(poses) for poses in dwells]
    tips = np.array([result.tip_s for result in results])
    assert (tips > [109.15, 6.0, 2.55]).all()
    assert (tips < [110.55, 7.25, 3.05]).all()
    np.testing.assert_allclose(tips.mean(axis=0), [109.629, 6.666, 2.799], atol=0.1)
    # The dwells differ by more than the noise of one: neighbouring samples share their errors.
    told = np.sqrt(np.mean([np.diag(result.covariance) for result in results], axis=0))
    assert (tips.std(axis=0, ddof=1) > 1.2 * told).all()
