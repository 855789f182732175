"""The axis of a shaft, and the transform between two things that move together."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_spin, solve_hand_eye
from navkit.geometry import inverse, pose_error, pose_from

METHODS = ("park", "tsai", "daniilidis")
AXIS_S = np.array([0.48, -0.6, 0.64])


def spinning(rng, n, *, noise_deg=0.0, turn=2.5):
    base = Rotation.from_rotvec([0.7, 0.2, -1.1])
    spin = base * Rotation.from_rotvec(np.outer(rng.uniform(-turn, turn, n), AXIS_S))
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=noise_deg, size=(n, 3))))
    return pose_from(shake * spin, rng.normal(scale=50, size=(n, 3))), base.apply(AXIS_S)


def angle_deg(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), abs(a @ b)))


def test_the_axis_is_exact_without_noise(rng):
    for n in (3, 20):
        poses, axis_pr = spinning(rng, n)
        result = calibrate_spin(poses)
        assert result.axis_s == pytest.approx(AXIS_S, abs=1e-9)
        assert result.axis_pr == pytest.approx(axis_pr, abs=1e-9)
        assert result.axis_s[2] > 0, "the largest part is positive"
        assert result.rms_deg < 1e-5
        assert result.ratio < 1e-7


def test_noise_makes_the_axis_wrong_by_as_much_as_theory_says(rng):
    """n poses with sigma across the axis: about sigma times sqrt(2 / n) for a wide spin."""
    n, sigma = 200, 0.3
    errors = []
    for _ in range(200):
        poses, _ = spinning(rng, n, noise_deg=sigma, turn=np.pi)
        result = calibrate_spin(poses)
        errors.append(angle_deg(result.axis_s, AXIS_S))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(sigma * np.sqrt(2 / n), rel=0.15)
    assert result.rms_deg == pytest.approx(sigma * np.sqrt(2), rel=0.1)


def test_a_tool_that_hardly_spun_is_refused(rng):
    with pytest.raises(ValueError, match="Did the tool spin"):
        calibrate_spin(spinning(rng, 30, turn=0.05)[0])


def moved(rng, n, *, x, noise_deg=0.0, noise_mm=0.0, axis=None):
    """Motions A and B = X^-1 A X, B with noise."""
    turn = (
        rng.normal(scale=0.5, size=(n, 3)) if axis is None else np.outer(rng.normal(scale=0.5, size=n), axis)
    )
    a = pose_from(Rotation.from_rotvec(turn), rng.normal(scale=80, size=(n, 3)))
    b = inverse(x) @ a @ x
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=noise_deg, size=(n, 3)))).as_matrix()
    b[:, :3, :3] = shake @ b[:, :3, :3]
    b[:, :3, 3] += rng.normal(scale=noise_mm, size=(n, 3))
    return a, b


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turn", [0.0, 0.8, 2.6, 3.1, np.pi])
def test_every_method_is_exact_without_noise_also_near_half_a_turn(rng, method, turn):
    x = pose_from(Rotation.from_rotvec(turn * np.array([0.36, -0.48, 0.8])), [-31.0, 8.0, 120.0])
    for n in (2, 15):
        result = solve_hand_eye(*moved(rng, n, x=x), method=method)
        assert np.abs(result.x - x).max() < 1e-9
        assert result.rotation_rms_deg < 1e-5
        assert result.translation_rms_mm < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_two_motions_never_give_a_mirror_image(rng, method):
    x = pose_from(Rotation.from_rotvec([0.5, -1.2, 0.4]), [20.0, -35.0, 60.0])
    for _ in range(25):
        result = solve_hand_eye(*moved(rng, 2, x=x), method=method)
        assert np.linalg.det(result.x[:3, :3]) == pytest.approx(1.0)
        assert np.abs(result.x - x).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_the_residual_is_the_noise_of_the_motions(rng, method):
    x = pose_from(Rotation.from_rotvec([0.5, -1.2, 0.4]), [20.0, -35.0, 60.0])
    result = solve_hand_eye(*moved(rng, 400, x=x, noise_deg=0.2, noise_mm=0.3), method=method)
    assert result.rotation_rms_deg == pytest.approx(0.2 * np.sqrt(3), rel=0.1)
    assert result.translation_rms_mm == pytest.approx(0.3 * np.sqrt(3), rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_under_noise_the_methods_agree_and_reach_the_known_figure(rng, method):
    """science.md A6: 20 motions of about 30 degrees, 0.1 degrees and 0.2 mm: 0.03 degrees and 0.12 mm."""
    x = pose_from(Rotation.from_rotvec([0.5, -1.2, 0.4]), [20.0, -35.0, 60.0])
    off = [
        pose_error(solve_hand_eye(*moved(rng, 20, x=x, noise_deg=0.1, noise_mm=0.2), method=method).x, x)
        for _ in range(100)
    ]
    assert np.mean([np.degrees(o.rotation_rad) for o in off]) < 0.08
    assert np.mean([o.translation_mm for o in off]) < 0.4


@pytest.mark.parametrize("method", METHODS)
def test_motions_about_one_axis_are_refused(rng, method):
    x = pose_from(Rotation.from_rotvec([0.5, -1.2, 0.4]), [20.0, -35.0, 60.0])
    with pytest.raises(ValueError, match="free to slide along that axis"):
        solve_hand_eye(*moved(rng, 10, x=x, axis=[0.6, 0.0, 0.8]), method=method)


def test_the_order_is_a_x_is_x_b_and_not_the_other_way_round(rng):
    x = pose_from(Rotation.from_rotvec([0.5, -1.2, 0.4]), [20.0, -35.0, 60.0])
    a, b = moved(rng, 12, x=x)
    assert pose_error(solve_hand_eye(b, a).x, inverse(x)).translation_mm < 1e-6


def test_bad_motions_are_one_sentence(rng):
    x = np.eye(4)
    a, b = moved(rng, 5, x=x)
    with pytest.raises(ValueError, match="5 motions and b 4"):
        solve_hand_eye(a, b[:4])
    with pytest.raises(ValueError, match="expected 'park', 'tsai' or 'daniilidis'"):
        solve_hand_eye(a, b, method="horn")
    still = np.repeat(np.eye(4)[None], 5, axis=0)
    with pytest.raises(ValueError, match="0 of 5 motions turn by 2 deg"):
        solve_hand_eye(still, still)
