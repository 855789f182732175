"""The rigid fit of paired points, exact, under noise and on a real recording."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import inverse, pose_from, transform_points
from navkit.registration import (
    diagnose_pairs,
    find_outliers,
    fit_rigid,
    isotropic_covariance,
    landmark_accuracy,
    tre_quantile,
    worst_target,
)

LAYOUTS = {
    "three": [[0, 0, 0], [70, 10, -5], [20, 90, 30]],
    "four, compact": [[10, 5, 0], [60, 0, 8], [15, 70, -12], [40, 30, 55]],
    "planar": [[0, 0, 0], [80, 5, 0], [10, 60, 0], [95, 75, 0], [40, -20, 0]],
    "long and thin": [[0, 0, 0], [60, 8, 2], [140, -6, 5], [210, 4, -9], [260, -3, 7], [300, 9, 1]],
    "eight, off-centre": [
        [400, -210, 900],
        [455, -190, 880],
        [430, -120, 935],
        [480, -140, 960],
        [390, -170, 990],
        [470, -230, 975],
        [415, -150, 870],
        [500, -185, 925],
    ],
}
q_M_p = pose_from(Rotation.from_euler("xyz", [25, -40, 110], degrees=True), [300.0, -80.0, 45.0])


def cloud(rng, n):
    return rng.normal(size=(n, 3)) * [15.0, 40.0, 70.0] + [110.0, -60.0, 230.0]


@pytest.mark.parametrize("n", [3, 4, 30])
def test_exact_pairs_give_the_transform(rng, n):
    p = cloud(rng, n)
    fit = fit_rigid(p, transform_points(q_M_p, p))
    np.testing.assert_allclose(fit.matrix, q_M_p, atol=1e-10)
    assert fit.scale == 1.0
    assert fit.fre_rms_mm < 1e-10
    assert fit.residual_mm.shape == (n,)


def test_planar_points_are_fine_and_never_mirrored(rng):
    p = cloud(rng, 6) * [1, 1, 0]
    q = transform_points(q_M_p, p)
    np.testing.assert_allclose(fit_rigid(p, q).matrix, q_M_p, atol=1e-10)
    for _ in range(50):  # noise decides on which side a mirrored solution would be better
        fit = fit_rigid(p, q + rng.normal(0, 3.0, size=q.shape))
        assert np.linalg.det(fit.matrix[:3, :3]) == pytest.approx(1.0, abs=1e-9)
    assert fit_rigid(p, q).singular_values[2] < 1e-9


def test_a_mirrored_set_gives_the_best_rotation_not_the_mirror(rng):
    p = cloud(rng, 12)
    fit = fit_rigid(p, p * [1, 1, -1])
    assert np.linalg.det(fit.matrix[:3, :3]) == pytest.approx(1.0, abs=1e-9)
    assert fit.fre_rms_mm > 10


def test_the_rotation_is_that_of_scipy(rng):
    p = cloud(rng, 8)
    w = rng.uniform(0.1, 5, size=8)
    q = transform_points(q_M_p, p) + rng.normal(0, 2.0, size=p.shape)
    for weights, used in ((None, np.ones(8)), (w, w)):
        fit = fit_rigid(p, q, weights=weights)
        p0, q0 = p - np.average(p, axis=0, weights=used), q - np.average(q, axis=0, weights=used)
        theirs, _ = Rotation.align_vectors(q0, p0, weights=used)
        np.testing.assert_allclose(fit.matrix[:3, :3], theirs.as_matrix(), atol=1e-9)
        moved = transform_points(fit.matrix, np.average(p, axis=0, weights=used))
        np.testing.assert_allclose(moved, np.average(q, axis=0, weights=used), atol=1e-9)


def test_no_small_motion_makes_the_fit_better(rng):
    p = cloud(rng, 7)
    q = transform_points(q_M_p, p) + rng.normal(0, 2.0, size=p.shape)
    fit = fit_rigid(p, q)
    for _ in range(200):
        nudge = pose_from(Rotation.from_rotvec(rng.normal(0, 1e-3, 3)), rng.normal(0, 0.05, 3))
        worse = np.linalg.norm(transform_points(nudge @ fit.matrix, p) - q, axis=1)
        assert np.sqrt((worse**2).mean()) > fit.fre_rms_mm


def test_the_residual_is_the_distance_that_is_left(rng):
    p = cloud(rng, 7)
    q = transform_points(q_M_p, p) + rng.normal(0, 2.0, size=p.shape)
    w = rng.uniform(0.1, 5, size=7)
    fit = fit_rigid(p, q, weights=w)
    left = np.linalg.norm(transform_points(fit.matrix, p) - q, axis=1)
    np.testing.assert_allclose(fit.residual_mm, left, atol=1e-10)
    assert fit.fre_rms_mm == pytest.approx(np.sqrt((w * left**2).sum() / w.sum()))


def test_a_weight_of_two_is_the_pair_given_twice_and_zero_is_none(rng):
    p = cloud(rng, 5)
    q = transform_points(q_M_p, p) + rng.normal(0, 2.0, size=p.shape)
    twice = fit_rigid(np.vstack([p, p[:1]]), np.vstack([q, q[:1]]))
    np.testing.assert_allclose(fit_rigid(p, q, weights=[2, 1, 1, 1, 1]).matrix, twice.matrix, atol=1e-9)
    without = fit_rigid(p[1:], q[1:])
    np.testing.assert_allclose(fit_rigid(p, q, weights=[0, 1, 1, 1, 1]).matrix, without.matrix, atol=1e-9)


def test_with_scale_the_matrix_maps_the_points_and_the_scale_is_told(rng):
    p = cloud(rng, 9)
    truth = q_M_p @ np.diag([1.7, 1.7, 1.7, 1.0])
    fit = fit_rigid(p, transform_points(truth, p), scale=True)
    assert fit.scale == pytest.approx(1.7)
    np.testing.assert_allclose(fit.matrix, truth, atol=1e-9)
    assert fit.fre_rms_mm < 1e-9
    assert fit_rigid(p, transform_points(truth, p)).fre_rms_mm > 10


def test_the_best_scale_is_found_under_noise(rng):
    p = cloud(rng, 9)
    q = transform_points(q_M_p @ np.diag([0.8, 0.8, 0.8, 1.0]), p) + rng.normal(0, 2.0, size=p.shape)
    fit = fit_rigid(p, q, scale=True)
    for factor in (0.999, 1.001):
        about = q.mean(axis=0) + factor * (transform_points(fit.matrix, p) - q.mean(axis=0))
        assert np.sqrt(((about - q) ** 2).sum(axis=1).mean()) > fit.fre_rms_mm


def test_a_mirrored_set_gives_the_best_scale_too(rng):
    p = cloud(rng, 9)
    q = p * [0.7, 1.0, -1.0]
    fit = fit_rigid(p, q, scale=True)
    for factor in (0.99, 1.01):
        about = q.mean(axis=0) + factor * (transform_points(fit.matrix, p) - q.mean(axis=0))
        assert np.sqrt(((about - q) ** 2).sum(axis=1).mean()) > fit.fre_rms_mm


def test_fre_does_not_change_when_both_sets_move_together(rng):
    p = cloud(rng, 6)
    q = transform_points(q_M_p, p) + rng.normal(0, 1.0, size=p.shape)
    a = fit_rigid(p, q)
    move = pose_from(Rotation.from_rotvec([1.0, -0.4, 2.0]), [-400.0, 30.0, 800.0])
    b = fit_rigid(transform_points(move, p), transform_points(move, q))
    assert b.fre_rms_mm == pytest.approx(a.fre_rms_mm, rel=1e-9)
    np.testing.assert_allclose(b.residual_mm, a.residual_mm, atol=1e-9)
    np.testing.assert_allclose(b.matrix, move @ a.matrix @ inverse(move), atol=1e-9)


def test_swapping_the_sets_gives_the_inverse(rng):
    p = cloud(rng, 6)
    q = transform_points(q_M_p, p) + rng.normal(0, 1.0, size=p.shape)
    np.testing.assert_allclose(fit_rigid(q, p).matrix, inverse(fit_rigid(p, q).matrix), atol=1e-9)


def test_singular_values_are_those_of_the_mean_cross_covariance(rng):
    p = cloud(rng, 6)
    q = transform_points(q_M_p, p)
    h = (p - p.mean(axis=0)).T @ (q - q.mean(axis=0)) / 6
    values = fit_rigid(p, q).singular_values
    np.testing.assert_allclose(values, np.linalg.svd(h, compute_uv=False), rtol=1e-9)
    assert (np.diff(values) < 0).all()


def test_points_on_a_line_are_refused_with_the_singular_values(rng):
    line = np.linspace(0, 150, 6)[:, None] * [0.6, 0.0, 0.8] + [30, 10, 5]
    with pytest.raises(ValueError, match=r"lie on a line \(singular values .* mm\^2") as caught:
        fit_rigid(line, transform_points(q_M_p, line))
    assert f"{np.var(np.linspace(0, 150, 6)):.0f}, 0, 0 mm" in str(caught.value)
    with pytest.raises(ValueError, match="lie on a line"):  # with the noise of a tracker too
        fit_rigid(
            line + rng.normal(0, 0.2, (6, 3)), transform_points(q_M_p, line) + rng.normal(0, 0.2, (6, 3))
        )
    with pytest.raises(ValueError, match="lie on a line"):
        fit_rigid(np.ones((4, 3)), np.ones((4, 3)), scale=True)


def test_a_flat_triangle_is_not_a_line():
    p = np.array([[0.0, 0, 0], [100, 0, 0], [50, 6, 0]])
    np.testing.assert_allclose(fit_rigid(p, transform_points(q_M_p, p)).matrix, q_M_p, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: fit_rigid(p.T, p.T), "Are the points in columns"),
        (lambda p: fit_rigid(p[:2], p[:2]), "2 points; expected at least 3"),
        (lambda p: fit_rigid(p, p[:4]), "p_from has 5 points and p_to 4"),
        (lambda p: fit_rigid(p, np.where(np.arange(5)[:, None] == 3, np.nan, p)), r"p_to\[3\] is"),
        (lambda p: fit_rigid(p, p, weights=[1, 2]), r"weights has shape \(2,\)"),
        (lambda p: fit_rigid(p, p, weights=[1, 1, 1, 1, -1]), "not negative"),
        (lambda p: fit_rigid(p, p, weights=[1, 1, 0, 0, 0]), "2 weights are positive"),
    ],
)
def test_doors_say_what_is_wrong(rng, call, says):
    with pytest.raises(ValueError, match=says):
        call(cloud(rng, 5))


def test_arguments_are_not_written_to(rng):
    p, q, w = cloud(rng, 5), cloud(rng, 5), np.ones(5)
    before = p.copy(), q.copy(), w.copy()
    fit_rigid(p, q, weights=w, scale=True)
    for a, b in zip((p, q, w), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_recorded_pelvis_gives_the_shipped_transform(navkit_data):
    folder = navkit_data / "ucl" / "pelvis"
    tracker = np.loadtxt(folder / "Tracker_Fiducial_Markers.txt")
    ct = np.loadtxt(folder / "pelvis_cropped_ct_fiducial_markers.txt")
    fit = fit_rigid(tracker, ct)
    np.testing.assert_allclose(fit.matrix, np.loadtxt(folder / "Tracker_to_pelvis_cropped.txt"), atol=1e-10)
    assert fit.fre_rms_mm == pytest.approx(0.428, abs=5e-4)
    whole = fit_rigid(tracker, np.loadtxt(folder / "pelvis_nii_ct_fiducial_markers.txt"))
    np.testing.assert_allclose(whole.matrix, np.loadtxt(folder / "Tracker_to_pelvis.txt"), atol=1e-9)
    assert whole.fre_rms_mm == pytest.approx(0.651, abs=5e-4)


def test_on_the_recorded_pelvis_no_theory_of_the_fiducials_shows_that_they_are_wrong(navkit_data):
    """All is as it should be at 0.6 mm of FLE: at most 0.5 mm on the scan. UCL's own ICP moves it by 8 mm."""
    folder = navkit_data / "ucl" / "pelvis"
    tracker = np.loadtxt(folder / "Tracker_Fiducial_Markers.txt")
    ct = np.loadtxt(folder / "pelvis_cropped_ct_fiducial_markers.txt")
    scan = np.loadtxt(folder / "Tracker_Surface_Scan.txt")
    fit = fit_rigid(tracker, ct)
    fle = isotropic_covariance(fit.fre_rms_mm / np.sqrt(1 - 2 / 4))
    worst = worst_target(tracker, scan, fle)
    assert worst.tre_rms_mm == pytest.approx(0.496, abs=1e-3)
    assert tre_quantile(worst.covariance) == pytest.approx(0.833, abs=1e-3)
    test = find_outliers(tracker, ct, fle)
    assert not test.outlier.any()
    assert (test.p_value > 0.3).all()
    assert diagnose_pairs(tracker, ct) == ()
    by_icp = np.loadtxt(folder / "Tracker_to_pelvis_cropped_with_icp.txt")
    apart = np.linalg.norm(transform_points(by_icp, scan) - transform_points(fit.matrix, scan), axis=1)
    assert apart.mean() == pytest.approx(7.69, abs=0.01)
    assert landmark_accuracy(by_icp, tracker, ct).mean_mm == pytest.approx(7.99, abs=0.01)
