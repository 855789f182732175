"""Paired points: affine, shift only, one orientation, uneven errors; mean and RMS."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_registration import LAYOUTS, cloud, q_M_p

from navkit.geometry import inverse, pose_from, transform_points
from navkit.registration import (
    expected_tre,
    fast_orientation,
    fit_affine,
    fit_rigid,
    fit_rigid_anisotropic,
    fit_translation,
    landmark_accuracy,
    tre_covariance,
)

SHEARED = q_M_p @ np.array([[1.1, 0.2, 0, 4], [0, 0.9, -0.1, 5], [0, 0, 1.3, 6], [0, 0, 0, 1]])
FLE = 0.5
COARSE = np.diag([0.04, 0.01, 0.36])


def located(rng, p, fle_rms_mm=FLE):
    return transform_points(q_M_p, p) + rng.normal(0, fle_rms_mm / np.sqrt(3), size=p.shape)


def layout(name):
    return np.array(LAYOUTS[name], dtype=float)


# -- affine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5, 20])
def test_exact_pairs_give_the_affine_transform(rng, n):
    p = cloud(rng, n)
    fit = fit_affine(p, transform_points(SHEARED, p))
    np.testing.assert_allclose(fit.matrix, SHEARED, atol=1e-9)
    assert fit.fre_rms_mm < 1e-9
    assert fit.residual_mm.shape == (n,)
    assert bool(fit.warnings) == (n == 4)


def test_no_other_affine_transform_is_better(rng):
    p = cloud(rng, 9)
    q = transform_points(SHEARED, p) + rng.normal(0, 2.0, size=p.shape)
    w = rng.uniform(0.2, 3, 9)
    fit = fit_affine(p, q, weights=w)
    assert fit.fre_rms_mm == pytest.approx(np.sqrt((w * fit.residual_mm**2).sum() / w.sum()))
    for _ in range(100):
        nudged = fit.matrix.copy()
        nudged[:3] += rng.normal(0, 1e-3, (3, 4))
        left = np.linalg.norm(transform_points(nudged, p) - q, axis=1)
        assert np.sqrt((w * left**2).sum() / w.sum()) > fit.fre_rms_mm


def test_more_freedom_leaves_less_residual_and_more_error_at_the_target(rng):
    p, target = layout("eight, off-centre"), np.array([440.0, -60, 990])
    left, off = np.zeros((2, 400, 3))
    for k in range(400):
        q = located(rng, p)
        fits = fit_rigid(p, q), fit_rigid(p, q, scale=True), fit_affine(p, q)
        left[k] = [fit.fre_rms_mm for fit in fits]
        truth = transform_points(q_M_p, target)
        off[k] = [np.linalg.norm(transform_points(fit.matrix, target) - truth) for fit in fits]
    assert (np.diff(left, axis=1) < 0).all()
    rms = np.sqrt((off**2).mean(axis=0))
    assert rms[0] == pytest.approx(expected_tre(p, target, FLE), rel=0.1)
    assert rms[2] > 1.2 * rms[0]


def test_points_in_a_plane_are_refused(rng):
    flat = cloud(rng, 8) * [1, 1, 0] + [0, 0, 20]
    with pytest.raises(ValueError, match="p_from lie in a plane"):
        fit_affine(transform_points(q_M_p, flat), cloud(rng, 8))
    with pytest.raises(ValueError, match="p_to lie in a plane"):
        fit_affine(cloud(rng, 8), flat + rng.normal(0, 0.05, (8, 3)))
    with pytest.raises(ValueError, match="p_from lie in a plane"):  # the only one off it has no weight
        fit_affine(np.vstack([flat, [[3, 4, 90]]]), cloud(rng, 9), weights=[1] * 8 + [0])


def test_a_mirror_is_told(rng):
    p = cloud(rng, 6)
    assert "mirrors" in fit_affine(p, p * [1, -1, 1]).warnings[0]
    assert fit_affine(p, p * [1, -1, -1]).warnings == ()


# -- CustusX's variants -----------------------------------------------------------------------------


def test_translation_is_the_difference_of_the_means_and_keeps_the_rotation(rng):
    p, w = cloud(rng, 4), np.array([1, 2, 0.5, 4])
    q = located(rng, p)
    fit = fit_translation(p, q, initial=q_M_p, weights=w)
    np.testing.assert_array_equal(fit.matrix[:3, :3], q_M_p[:3, :3])
    moved = transform_points(fit.matrix, np.average(p, axis=0, weights=w))
    np.testing.assert_allclose(moved, np.average(q, axis=0, weights=w), atol=1e-9)
    left = np.linalg.norm(transform_points(fit.matrix, p) - q, axis=1)
    np.testing.assert_allclose(fit.residual_mm, left, atol=1e-12)
    np.testing.assert_allclose(
        fit_translation(p, p + [3, -4, 5]).matrix, pose_from(np.eye(3), [3, -4, 5]), atol=1e-12
    )


def test_fast_orientation_is_custusx_s_product(rng):
    """custusx.md 4.2: rMpr = tMtm prMt^-1, tMtm = Ry(pi) Rz(+-pi/2), written out."""
    pr_M_t = pose_from(Rotation.from_euler("xyz", [20, -65, 130], degrees=True), [120.0, -45, -900])
    front = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    for back_face, turn in ((False, front), (True, front * [-1, -1, 1])):
        r_M_pr = fast_orientation(pr_M_t, back_face=back_face)
        np.testing.assert_allclose(r_M_pr[:3, :3], turn @ pr_M_t[:3, :3].T, atol=1e-12)
        np.testing.assert_allclose(transform_points(r_M_pr, pr_M_t[:3, 3]), 0, atol=1e-9)


def test_a_tool_held_as_told_gives_left_posterior_superior():
    """Axes of LPS: the nose is -y, the feet are -z; the patient lies along x_pr with the nose along z_pr."""
    feet, nose = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    for back_face, spheres in ((False, nose), (True, -nose)):
        x, z = -spheres, feet
        r_M_pr = fast_orientation(
            pose_from(np.stack([x, np.cross(z, x), z], axis=1), [7, 8, 9]), back_face=back_face
        )
        np.testing.assert_allclose(r_M_pr[:3, :3] @ feet, [0, 0, -1], atol=1e-12)
        np.testing.assert_allclose(r_M_pr[:3, :3] @ nose, [0, -1, 0], atol=1e-12)


def test_one_landmark_after_orientation_is_right_there_and_12_mm_off_at_60():
    """What IOUSFAN's study measured, 12.4 mm, is what an orientation wrong by 11.9 degrees does."""
    r_M_pr = pose_from(Rotation.from_euler("xyz", [80, 10, -30], degrees=True), [20.0, 30, -700])
    turn = 2 * np.arcsin(12.4 / 2 / 60)
    assert np.degrees(turn) == pytest.approx(11.86, abs=0.01)
    wrong = pose_from(Rotation.from_rotvec([0, 0, turn]), np.zeros(3)) @ r_M_pr
    landmark_pr = np.array([12.0, -34, 56])
    landmark_r = transform_points(r_M_pr, landmark_pr)
    fit = fit_translation([landmark_pr], [landmark_r], initial=wrong)
    assert fit.fre_rms_mm < 1e-9
    assert "one pair" in fit.warnings[0]
    targets_r = landmark_r + np.array([[60, 0, 0], [0, -60, 0], [0, 0, 60], [30, 0, 0]])
    found = transform_points(fit.matrix, transform_points(inverse(r_M_pr), targets_r))
    np.testing.assert_allclose(np.linalg.norm(found - targets_r, axis=1), [12.4, 12.4, 0, 6.2], atol=1e-9)


def test_the_plate_s_reference_points_become_landmarks():
    """Three points of the reference tool, in pr; with the right orientation only the shift is missing."""
    reference_points_pr = np.array([[134.25, 134.25, 99.5], [10, 134.25, 99.5], [134.25, 12, 90]])
    r_M_pr = pose_from(Rotation.from_euler("xyz", [5, 10, 175], degrees=True), [-40.0, 60, 300])
    lost = r_M_pr.copy()
    lost[:3, 3] = 0
    fit = fit_translation(reference_points_pr, transform_points(r_M_pr, reference_points_pr), initial=lost)
    np.testing.assert_allclose(fit.matrix, r_M_pr, atol=1e-9)
    assert fit.warnings == ()


# -- mean and RMS -----------------------------------------------------------------------------------


def test_custusx_s_manual_registration_in_its_own_numbers():
    """custusx.md 6.4: the hand-made matrix of CustusX's own test, and what a fit of the same pairs does."""
    fixed_d = np.array(
        [
            [145.676, 143.279, 52.5942],
            [216.527, 145.428, 42.9244],
            [138.119, 148.355, 69.2363],
            [220.452, 154.114, 59.0022],
        ]
    )
    moving_d = np.array(
        [
            [181.778, 143.559, 274.013],
            [111.144, 147.007, 284.916],
            [189.012, 149.21, 257.282],
            [106.915, 155.231, 268.812],
        ]
    )
    r_M_fixed = np.array(
        [
            [0.999998, -1.57265e-6, 0.00198575, -200.936],
            [-2.16633e-7, 1, 0.000901065, -245.095],
            [-0.00198575, -0.000901064, 0.999998, -664.637],
            [0, 0, 0, 1],
        ]
    )
    r_M_moving = pose_from(np.eye(3), [-149.707, -249.707, -1172.2])
    by_hand = np.array(
        [
            [-0.999946, 0.00233145, 0.0101763, -13.9823],
            [0.00212849, 0.9998, -0.0199104, -15.1837],
            [-0.0102207, -0.0198877, -0.99975, -1511.4],
            [0, 0, 0, 1],
        ]
    )
    moving_r, fixed_r = transform_points(r_M_moving, moving_d), transform_points(r_M_fixed, fixed_d)
    hand = landmark_accuracy(by_hand, moving_r, fixed_r)
    np.testing.assert_allclose(hand.distance_mm, [1.806, 0.834, 0.986, 0.899], atol=5e-4)
    assert hand.rms_mm == pytest.approx(1.198, abs=5e-4)
    assert hand.mean_mm == pytest.approx(1.131, abs=5e-4)
    assert hand.max_mm == pytest.approx(1.806, abs=5e-4)
    fit = fit_rigid(moving_r, fixed_r)
    best = landmark_accuracy(fit.matrix, moving_r, fixed_r)
    assert fit.fre_rms_mm == pytest.approx(best.rms_mm)
    assert best.rms_mm == pytest.approx(0.297, abs=5e-4)
    assert best.mean_mm == pytest.approx(0.295, abs=5e-4)


# -- uneven errors ----------------------------------------------------------------------------------


def test_the_anisotropic_fit_is_exact_and_is_the_plain_one_for_even_errors(rng):
    p = cloud(rng, 5)
    fit = fit_rigid_anisotropic(p, transform_points(q_M_p, p), COARSE)
    np.testing.assert_allclose(fit.matrix, q_M_p, atol=1e-9)
    q = located(rng, p, 3.0)
    even, plain = fit_rigid_anisotropic(p, q, 0.4 * np.eye(3)), fit_rigid(p, q)
    np.testing.assert_allclose(even.matrix, plain.matrix, atol=1e-9)
    np.testing.assert_allclose(even.residual_mm, plain.residual_mm, atol=1e-9)
    assert even.fre_rms_mm == pytest.approx(plain.fre_rms_mm)
    w = np.array([1, 2, 3, 4, 5.0])
    weighted = fit_rigid_anisotropic(p, q, np.eye(3) / w[:, None, None])
    np.testing.assert_allclose(weighted.matrix, fit_rigid(p, q, weights=w).matrix, atol=1e-9)


def test_no_other_motion_has_a_smaller_mahalanobis_distance(rng):
    p = cloud(rng, 6)
    turns = Rotation.from_rotvec(rng.normal(size=(6, 3))).as_matrix()
    s = turns @ COARSE @ np.swapaxes(turns, 1, 2)
    q = transform_points(q_M_p, p) + 8 * (np.linalg.cholesky(s) @ rng.normal(size=(6, 3, 1)))[..., 0]

    def distance(matrix):
        off = transform_points(matrix, p) - q
        return np.einsum("ni,nij,nj->", off, np.linalg.inv(s), off)

    fit = fit_rigid_anisotropic(p, q, s)
    there = transform_points(fit.matrix, p)
    pull = (np.linalg.inv(s) @ (there - q)[..., None])[..., 0]  # balanced: no force and no torque is left
    np.testing.assert_allclose(pull.sum(axis=0), 0, atol=1e-7 * np.abs(pull).max())
    arm = there - there.mean(axis=0)
    np.testing.assert_allclose(
        np.cross(arm, pull).sum(axis=0), 0, atol=1e-7 * np.abs(pull).max() * np.ptp(arm)
    )
    assert distance(fit.matrix) < 0.99 * distance(fit_rigid(p, q).matrix)
    for _ in range(200):
        nudge = pose_from(Rotation.from_rotvec(rng.normal(0, 1e-4, 3)), rng.normal(0, 0.01, 3))
        assert distance(nudge @ fit.matrix) > distance(fit.matrix)


def test_its_covariance_is_the_theory_s_and_beats_the_plain_fit():
    p = layout("four, compact")
    q, targets = transform_points(q_M_p, p), np.array([[50.0, 20, 30], [-60, 80, 110]])
    fit = fit_rigid_anisotropic(p, q, COARSE)
    there = transform_points(q_M_p, targets)
    best = tre_covariance(q, there, COARSE, weights=np.broadcast_to(np.linalg.inv(COARSE), (4, 3, 3)))
    np.testing.assert_allclose(fit.sd_mm(there) ** 2, np.trace(best, axis1=1, axis2=2), rtol=1e-6)
    plain = np.sqrt(np.trace(tre_covariance(q, there, COARSE), axis1=1, axis2=2))
    assert (fit.sd_mm(there) < 0.95 * plain).all()


# -- doors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: fit_affine(p[:3], p[:3]), "3 points; expected at least 4"),
        (lambda p: fit_affine(p.T, p), "Are the points in columns"),
        (lambda p: fit_affine(p, p[:4]), "p_from has 5 points and p_to 4"),
        (lambda p: fit_affine(p, p, weights=[1, 1, 1, 0, 0]), "3 weights are positive; expected at least 4"),
        (lambda p: fit_translation(p, p, weights=[1, 1, 1, 1, -2]), "not negative"),
        (lambda p: fit_translation(p, p, weights=[1, 2]), r"weights has shape \(2,\)"),
        (lambda p: fit_translation(p, p, initial=2 * q_M_p), "initial"),
        (lambda p: fast_orientation(q_M_p * [1, 1, -1, 1]), "not rigid"),
        (lambda p: landmark_accuracy(q_M_p, p, p[:4]), "p_from has 5 points and p_to 4"),
        (lambda p: fit_rigid_anisotropic(p, p, np.diag([1, 1, 0])), "0 in some direction"),
        (lambda p: fit_rigid_anisotropic(p[:2], p[:2], COARSE), "2 points; expected at least 3"),
    ],
)
def test_doors_say_what_is_wrong(rng, call, says):
    with pytest.raises(ValueError, match=says):
        call(cloud(rng, 5))


def test_arguments_are_not_written_to(rng):
    p, q, w, m = cloud(rng, 6), cloud(rng, 6), np.ones(6), q_M_p.copy()
    before = p.copy(), q.copy(), w.copy(), m.copy()
    fit_affine(p, q, weights=w)
    fit_translation(p, q, initial=m, weights=w)
    fit_rigid_anisotropic(p, q, COARSE)
    fast_orientation(m)
    for a, b in zip((p, q, w, m), before, strict=True):
        np.testing.assert_array_equal(a, b)
