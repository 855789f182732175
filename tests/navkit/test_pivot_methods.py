"""Sphere and RANSAC beside the algebraic pivot, and what each says of itself."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_pivot
from navkit.geometry import pose_from

TIP_S = np.array([-17.9, 12.3, 157.7])
PIVOT_PR = np.array([310.0, -85.0, -1200.0])


def swivel(rng, n, *, cone_deg=35.0, noise_mm=0.0, noise_deg=0.0):
    """Poses tilted by at most `cone_deg` about the dimple, twisted about the shaft, with noise."""
    axis = TIP_S / np.linalg.norm(TIP_S)
    side = np.cross(axis, [0.2, 1.0, -0.3])
    side /= np.linalg.norm(side)
    around = rng.uniform(0, 2 * np.pi, n)
    tilt = np.radians(cone_deg) * np.sqrt(rng.uniform(size=n))
    across = np.outer(np.cos(around), side) + np.outer(np.sin(around), np.cross(axis, side))
    twist = Rotation.from_rotvec(np.outer(rng.uniform(-0.3, 0.3, n), axis))
    turn = Rotation.from_rotvec([0.4, -1.0, 0.7]) * Rotation.from_rotvec(tilt[:, None] * across) * twist
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=noise_deg, size=(n, 3))))
    place = PIVOT_PR - turn.apply(TIP_S) + rng.normal(scale=noise_mm, size=(n, 3))
    return pose_from(shake * turn, place)


def off_mm(result) -> float:
    return float(np.linalg.norm(result.tip_s - TIP_S))


@pytest.mark.parametrize("method", ["algebraic", "sphere", "ransac"])
@pytest.mark.parametrize("n", [4, 9, 200])
def test_every_method_is_exact_without_noise(rng, method, n):
    result = calibrate_pivot(swivel(rng, n), method=method, rng=rng)
    assert off_mm(result) < 1e-6
    assert result.pivot_pr == pytest.approx(PIVOT_PR, abs=1e-6)
    assert result.rms_mm < 1e-6
    assert result.inliers.all()


def test_the_sphere_is_weaker_and_its_own_covariance_says_by_how_much(rng):
    wide = [(30.0, 0.15), (45.0, 0.25)]
    for cone, noise in wide:
        found = [
            calibrate_pivot(swivel(rng, 150, cone_deg=cone, noise_mm=noise), method="sphere")
            for _ in range(200)
        ]
        spread = np.cov(np.array([f.tip_s for f in found]).T)
        told = np.mean([f.covariance for f in found], axis=0)
        assert np.sqrt(np.trace(told)) == pytest.approx(np.sqrt(np.trace(spread)), rel=0.2)


def test_a_narrow_swivel_is_called_so_though_its_residual_is_as_small_as_ever(rng):
    narrow, wide = (
        calibrate_pivot(swivel(rng, 400, cone_deg=c, noise_mm=0.2, noise_deg=0.05)) for c in (4.0, 40.0)
    )
    assert narrow.rms_mm == pytest.approx(wide.rms_mm, rel=0.15)
    assert wide.warnings == ()
    assert len(narrow.warnings) == 1
    assert "Swivel wider" in narrow.warnings[0]
    assert f"{narrow.rms_mm:.2f} mm does not show it" in narrow.warnings[0]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_ransac_leaves_out_the_wrong_poses_and_them_alone(rng, share):
    poses = swivel(rng, 300, noise_mm=0.2)
    wrong = rng.random(300) < share
    poses[wrong, :3, 3] += rng.normal(scale=15.0, size=(int(wrong.sum()), 3)) + 5.0
    plain, robust = calibrate_pivot(poses), calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(robust) < 0.1 < off_mm(plain)
    assert not robust.inliers[wrong].any()
    assert robust.inliers[~wrong].mean() > 0.97
    assert f"{(~robust.inliers).sum()} of 300 poses do not agree" in robust.warnings[0]


def test_ransac_keeps_the_majority_when_the_tip_slipped_into_another_dimple(rng):
    """40 % of the poses agree with one another too, about a point 30 mm away."""
    poses = swivel(rng, 250, noise_mm=0.2)
    slipped = np.arange(250) >= 150
    poses[slipped, :3, 3] += [20.0, -15.0, 17.0]
    robust = calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(robust) < 0.1
    assert not robust.inliers[slipped].any()
    assert robust.rms_mm == pytest.approx(np.sqrt(np.mean(robust.residual_mm[robust.inliers] ** 2)))
    assert robust.residual_mm[slipped].min() > 10


def test_ransacs_choice_is_the_one_that_its_own_noise_implies(rng):
    """99 % of three-dimensional Gaussian errors lie within 2.19 times their median length."""
    for _ in range(20):
        poses = swivel(rng, 40, noise_mm=0.4)
        poses[:12, :3, 3] += rng.normal(scale=1.5, size=(12, 3))
        robust = calibrate_pivot(poses, method="ransac", rng=rng)
        limit = np.sqrt(11.345 / 2.366) * np.median(robust.residual_mm[robust.inliers])
        assert np.array_equal(robust.inliers, robust.residual_mm <= limit)


def test_ransac_throws_away_hardly_anything_when_nothing_is_wrong(rng):
    poses = swivel(rng, 500, noise_mm=0.3)
    robust = calibrate_pivot(poses, method="ransac", rng=rng)
    assert robust.inliers.mean() > 0.96
    assert robust.rms_mm == pytest.approx(calibrate_pivot(poses).rms_mm, rel=0.05)


def test_ransac_repeats_with_the_same_seed(rng):
    poses = swivel(rng, 120, noise_mm=0.3)
    one, two = (calibrate_pivot(poses, method="ransac", rng=np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one.tip_s, two.tip_s)


def test_a_tool_that_did_not_turn_is_refused_by_every_method(rng):
    still = np.repeat(swivel(rng, 1), 30, axis=0)
    still[:, :3, 3] += rng.normal(scale=0.2, size=(30, 3))
    for method in ("algebraic", "sphere", "ransac"):
        with pytest.raises(ValueError, match="Was the tool still, or turned about one axis"):
            calibrate_pivot(still, method=method, rng=rng)


def test_plus_fake_tracker_five_percent_wild_poses(rng):
    """PLUS's own test (plus.md 6): 100 poses, 5 % of them wild; the tip within 0.5 mm."""
    poses = swivel(rng, 100, noise_mm=0.1)
    wild = rng.choice(100, 5, replace=False)
    poses[wild] = pose_from(Rotation.random(5, random_state=rng), rng.uniform(-1000, 1000, size=(5, 3)))
    result = calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(result) < 0.5
    assert not result.inliers[wild].any()


def test_the_real_sphere_fit_is_12_mm_away_and_says_so_itself(navkit_data):
    poses = np.stack([np.loadtxt(p) for p in sorted((navkit_data / "ucl" / "pivot").glob("*.txt"))])
    sphere = calibrate_pivot(poses, method="sphere")
    assert sphere.tip_s == pytest.approx([-16.788, 382.618, -7.256], abs=1e-3)
    algebraic = calibrate_pivot(poses)
    assert np.linalg.norm(sphere.tip_s - algebraic.tip_s) == pytest.approx(12.2, abs=0.1)
    assert any("the angles contradict the sphere" in w for w in sphere.warnings)
    assert algebraic.warnings == ()
