"""Thin plate and B-spline: exact where they must be, as noisy as they say, and back from brain shift."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from navkit.registration import BSplineWarp, check_folding, fit_bspline, fit_thin_plate, invert_warp

AFFINE = np.array([[1.1, 0.05, -0.2, 4.0], [-0.1, 0.9, 0.08, 5.0], [0.03, -0.07, 1.2, -20.0], [0, 0, 0, 1]])
SPACING = [17.0, 25.0, 14.0]


def landmarks(rng, n=60):
    return rng.uniform([60, -120, -15], [150, 40, 35], size=(n, 3))


def affine(p):
    return p @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def bent(p):
    """A smooth motion of some millimetres that is no affine one."""
    return p + np.stack(
        [3 * np.sin(p[:, 1] / 40), 4 * np.cos(p[:, 2] / 30), 0.002 * (p[:, 0] - 100) * p[:, 1]], axis=1
    )


WARPS = {
    "thin plate": lambda p, q: fit_thin_plate(p, q),
    "stiff thin plate": lambda p, q: fit_thin_plate(p, q, stiffness_mm=20.0),
    "spline": lambda p, q: fit_bspline(p, q, spacing_mm=SPACING),
    "stiff spline": lambda p, q: fit_bspline(p, q, spacing_mm=SPACING, stiffness=100.0),
}


@pytest.mark.parametrize("name", WARPS)
def test_an_affine_motion_is_met_exactly(rng, name):
    p = landmarks(rng)
    warp = WARPS[name](p, affine(p))
    x = landmarks(rng, 200)
    np.testing.assert_allclose(warp(x), affine(x), atol=1e-8)
    np.testing.assert_allclose(warp.jacobian(x), np.repeat(AFFINE[None, :3, :3], 200, axis=0), atol=1e-8)


def test_the_thin_plate_goes_through_every_landmark_and_is_that_of_scipy(rng):
    p = landmarks(rng)
    q = bent(p)
    warp = fit_thin_plate(p, q)
    np.testing.assert_allclose(warp(p), q, atol=1e-9)
    assert warp.bending > 0
    x = landmarks(rng, 300)
    for stiffness in (0.0, 7.0):
        twin = RBFInterpolator(p, q, kernel="linear", degree=1, smoothing=stiffness)
        np.testing.assert_allclose(fit_thin_plate(p, q, stiffness_mm=stiffness)(x), twin(x), atol=1e-8)


def test_no_other_warp_through_the_landmarks_bends_less(rng):
    """Add a bump that vanishes at the landmarks: through the same places, more bending."""
    p = landmarks(rng, 12)
    q = bent(p)
    least = fit_thin_plate(p, q).bending
    for _ in range(20):
        there = np.vstack([p, landmarks(rng, 1)])
        away = np.vstack([q, fit_thin_plate(p, q)(there[-1:]) + rng.normal(0, 2, (1, 3))])
        assert fit_thin_plate(there, away).bending > least
    stiff = [fit_thin_plate(p, q, stiffness_mm=s) for s in (0, 5, 50, 5000)]
    assert np.diff([w.bending for w in stiff]).max() < 0
    misfit = [np.linalg.norm(w(p) - q) for w in stiff]
    assert np.diff(misfit).min() > 0
    design = np.column_stack([p, np.ones(12)])
    best_affine = design @ np.linalg.lstsq(design, q, rcond=None)[0]
    np.testing.assert_allclose(fit_thin_plate(p, q, stiffness_mm=1e9)(p), best_affine, atol=1e-3)


def test_a_spline_on_its_own_lattice_is_found_again(rng):
    corners = np.array([[60.0, -120, -15], [150, 40, 35]])  # so that both have the same box
    p, x = np.vstack([corners, landmarks(rng)]), landmarks(rng, 400)
    some = fit_bspline(p, bent(p), spacing_mm=SPACING, margin_mm=0.0)
    many = np.vstack([corners, landmarks(rng, 8000)])
    again = fit_bspline(many, some(many), spacing_mm=SPACING, margin_mm=0.0, stiffness=1e-12)
    assert again.control.shape == (9, 10, 7, 3)
    np.testing.assert_allclose(again(x), some(x), atol=1e-6)
    np.testing.assert_allclose(again.control, some.control, atol=1e-3)


def test_no_other_control_points_cost_less(rng):
    """What is least: misfit plus bending, second derivatives by differences, unequal spacings alike."""
    p, stiffness = landmarks(rng), 0.3
    q, h = bent(p), np.array(SPACING)
    best = fit_bspline(p, q, spacing_mm=SPACING, stiffness=stiffness)

    def cost(control):
        bending = 0.0
        for a in range(3):
            for b in range(3):
                second = np.diff(np.diff(control, axis=a), axis=b) / (h[a] * h[b])
                bending += (second**2).sum()
        misfit = np.linalg.norm(BSplineWarp(best.low_mm, h, control)(p) - q, axis=1)
        return (misfit**2).mean() + stiffness * h.min() ** 4 * bending / control[..., 0].size

    for _ in range(20):
        way = rng.normal(size=best.control.shape)
        up, here, down = (cost(best.control + e * way) for e in (1e-2, 0.0, -1e-2))
        assert here < min(up, down)
        assert abs(up - down) < 1e-4 * (up + down - 2 * here)  # the slope there is zero


@pytest.mark.parametrize("name", WARPS)
def test_slopes_are_the_difference_quotients(rng, name):
    p = landmarks(rng)
    warp = WARPS[name](p, bent(p))
    x, e = rng.uniform([70, -110, -10], [140, 30, 30], size=(100, 3)), 1e-4
    quotients = np.stack([(warp(x + e * d) - warp(x - e * d)) / (2 * e) for d in np.eye(3)], axis=2)
    np.testing.assert_allclose(warp.jacobian(x), quotients, atol=1e-6)


@pytest.mark.parametrize("name", ["thin plate", "spline"])
def test_noise_of_the_landmarks_comes_through_by_the_linear_weights(rng, name):
    """Both fits are linear in p_to: variance = sigma^2 * sum of the squared responses to one landmark."""
    p, x, sigma = landmarks(rng, 25), np.array([[110.0, -45, 12]]), 0.7

    def fit(q):
        return (
            fit_thin_plate(p, q)
            if name == "thin plate"
            else fit_bspline(p, q, spacing_mm=60.0, margin_mm=0.0)
        )

    response = [fit(p + np.outer(e, [1, 0, 0]))(x)[0, 0] - x[0, 0] for e in np.eye(25)]
    off = [fit(p + rng.normal(0, sigma, p.shape))(x) - x for _ in range(250)]
    assert np.std(off) == pytest.approx(sigma * np.linalg.norm(response), rel=0.06)
    assert 0.1 < np.linalg.norm(response) < 1


@pytest.mark.parametrize("name", WARPS)
def test_back_again(rng, name):
    p = landmarks(rng)
    warp = WARPS[name](p, bent(p))
    x = rng.uniform([75, -100, -8], [135, 20, 28], size=(200, 3))
    np.testing.assert_allclose(invert_warp(warp, warp(x)), x, atol=1e-5)


def test_outside_its_box_a_spline_is_nan_and_the_box_holds_the_landmarks(rng):
    p = landmarks(rng)
    warp = fit_bspline(p, bent(p), spacing_mm=SPACING, margin_mm=6.0)
    assert (warp.low_mm == p.min(axis=0) - 6).all()
    assert (warp.high_mm >= p.max(axis=0) + 6 - 1e-9).all()
    out = np.array([warp.low_mm - [1, 0, 0], warp.high_mm + [0, 0, 1], warp.low_mm + 1])
    assert np.isnan(warp(out)).any(axis=1).tolist() == [True, True, False]
    assert np.isnan(invert_warp(warp, out)).any(axis=1).tolist()[:2] == [True, True]
    with pytest.raises(ValueError, match="no point lies in the box"):
        check_folding(warp, out[:2])


def test_a_fold_is_found_where_it_is(rng):
    grid = np.stack(np.meshgrid(*[np.arange(-40.0, 41, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid * [1.0, 1.2, 0.8] + [5, -7, 11]
    smooth = grid.copy()
    smooth[:, 0] += 3 * np.exp(-((grid[:, 0] - 5) ** 2) / 400)
    assert check_folding(fit_thin_plate(grid, smooth), grid).folded == 0
    folding = check_folding(fit_thin_plate(grid, grid * [0.5, 1, 3]), grid)
    assert (folding.least, folding.most) == pytest.approx((1.5, 1.5))
    swapped = grid.copy()  # two neighbours change places
    a = np.flatnonzero((grid == [5, -7, 11]).all(axis=1))[0]
    b = np.flatnonzero((grid == [15, -7, 11]).all(axis=1))[0]
    swapped[[a, b]] = grid[[b, a]]
    fine = np.stack(np.meshgrid(*[np.arange(-15.0, 26, 2.5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for warp in (
        fit_thin_plate(grid, swapped),
        fit_bspline(grid, swapped, spacing_mm=8.0, margin_mm=0.0, stiffness=1e-4),
    ):
        folded = check_folding(warp, fine)
        assert folded.least < 0 < folded.folded < 0.2
        assert np.linalg.norm(folded.worst - [10, -7, 11]) < 6


def test_a_brain_that_sank_comes_back_by_its_landmarks(rng):
    """8 mm under the craniotomy; points the fit has not seen, within the cloud of those that it has."""
    from navkit.phantoms import brain_shift

    top = np.array([0.65, -0.1, 0.72]) / np.linalg.norm([0.65, -0.1, 0.72])
    cloud = rng.normal(size=(4000, 3))
    cloud *= (rng.uniform(0.15, 1, 4000) ** (1 / 3) / np.linalg.norm(cloud, axis=1))[:, None]
    before = cloud * [60, 75, 55]
    before = before[(before @ top > 5) & (before @ top < 50)]
    after = brain_shift(before, depth_mm=15.0)
    moved = np.linalg.norm(after - before, axis=1)
    known, asked = slice(0, 120), slice(120, None)
    assert moved[asked].mean() > 1.5
    for fit in (fit_thin_plate, lambda p, q: fit_bspline(p, q, spacing_mm=15.0, margin_mm=20.0)):
        back = fit(after[known], before[known])
        left = np.linalg.norm(back(after[asked]) - before[asked], axis=1)
        assert left.mean() < 0.15 * moved[asked].mean()
        assert check_folding(back, after[asked]).folded == 0


FLAT = np.array([[0.0, 0, 5], [50, 0, 5], [0, 30, 5], [40, 45, 5], [20, 10, 5]])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda p: fit_thin_plate(p, p[:-1]), "has 60 points and p_to 59"),
        (lambda p: fit_thin_plate(p[:3], p[:3]), "expected at least 4"),
        (lambda p: fit_thin_plate(FLAT, FLAT), "lie in a plane"),
        (lambda p: fit_bspline(FLAT, FLAT, spacing_mm=10.0), "lie in a plane"),
        (
            lambda p: fit_thin_plate(p[[0, 1, 2, 3, 4, 2]], p[:6]),
            r"p_from\[2\] and p_from\[5\] are one place",
        ),
        (lambda p: fit_thin_plate(p, p, stiffness_mm=-1), "stiffness_mm is -1"),
        (lambda p: fit_bspline(p, p, spacing_mm=0.0), "expected positive numbers"),
        (lambda p: fit_bspline(p, p, spacing_mm=10.0, stiffness=0.0), "holes are not determined"),
        (lambda p: fit_bspline(p, p, spacing_mm=1.0), "control points are too many"),
        (lambda p: fit_thin_plate(p, p)(p.T), "in columns"),
    ],
)
def test_what_cannot_be_is_a_sentence(rng, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong(landmarks(rng))
