"""FLE, FRE and TRE: the theory against simulated registrations, and what is made of it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import chdtr, erf
from test_registration import LAYOUTS, cloud

from navkit.geometry import kabsch, pose_from, transform_points
from navkit.registration import (
    confidence_ellipsoid,
    expected_fre,
    expected_tre,
    fre_covariance,
    isotropic_covariance,
    next_fiducial,
    simulate_tre,
    tre_covariance,
    tre_map,
    tre_probability,
    tre_quantile,
    worst_target,
)

TURN = Rotation.from_euler("xyz", [30, 50, -20], degrees=True).as_matrix()
OBLIQUE = TURN @ np.diag([0.04, 0.09, 0.36]) @ TURN.T
AWAY = np.array([[0.0, 0, 0], [40, -15, 25], [-30, 80, -110]])
"""Targets, from the mean of the fiducials."""


def layout(name):
    fiducials = np.array(LAYOUTS[name], dtype=float)
    return fiducials, fiducials.mean(axis=0) + AWAY


def noise(kind, n):
    """Covariances (n, 3, 3) of an FLE: equal everywhere, worse in one direction, or each its own."""
    if kind == "isotropic":
        return np.broadcast_to(0.12 * np.eye(3), (n, 3, 3))
    if kind == "anisotropic":
        return np.broadcast_to(OBLIQUE, (n, 3, 3))
    size = np.resize([0.4, 1.7, 0.2, 0.9], n)
    turns = Rotation.from_euler("xyz", np.arange(3 * n).reshape(n, 3) * [0.7, 0.4, 1.1]).as_matrix()
    return size[:, None, None] ** 2 * turns @ np.diag([0.04, 0.09, 0.36]) @ np.swapaxes(turns, 1, 2)


def rms_of(covariance):
    return np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))


# -- the theory against simulation ------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", ["isotropic", "anisotropic", "per fiducial"])
def test_fre_and_tre_are_as_large_as_told(rng, name, kind):
    """Within 2 % of 20,000 registrations; drawn and fitted here, not by `simulate_tre`."""
    fiducials, targets = layout(name)
    s = noise(kind, len(fiducials))
    drawn = np.linalg.cholesky(s) @ rng.normal(size=(20_000, len(fiducials), 3, 1))
    located = fiducials + drawn[..., 0]
    found, _, _ = kabsch(np.broadcast_to(fiducials, located.shape), located, np.ones(len(fiducials)))
    tre = transform_points(found, targets) - targets
    fre = transform_points(found, fiducials) - located

    told = tre_covariance(fiducials, targets, s)
    np.testing.assert_allclose(rms_of(told), np.sqrt((tre**2).sum(axis=-1).mean(axis=0)), rtol=0.02)
    seen = np.einsum("tki,tkj->kij", tre, tre) / len(tre)
    np.testing.assert_allclose(told, seen, atol=0.05 * np.trace(seen, axis1=1, axis2=2).max())

    left = fre_covariance(fiducials, s)
    np.testing.assert_allclose(
        np.sqrt((rms_of(left) ** 2).mean()), np.sqrt((fre**2).sum(axis=-1).mean()), rtol=0.02
    )
    seen = np.einsum("tki,tkj->kij", fre, fre) / len(fre)
    np.testing.assert_allclose(left, seen, atol=0.03 * np.trace(seen, axis1=1, axis2=2).max())
    if kind == "isotropic":
        np.testing.assert_allclose(rms_of(told), expected_tre(fiducials, targets, 0.6), rtol=1e-9)
        assert np.sqrt((rms_of(left) ** 2).mean()) == pytest.approx(expected_fre(0.6, len(fiducials)))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", ["a number each", "a matrix each"])
def test_with_weights_too(rng, name, kind):
    fiducials, targets = layout(name)
    s = noise("per fiducial", len(fiducials))
    weights = np.linalg.inv(s) if kind == "a matrix each" else 1 / np.trace(s, axis1=1, axis2=2)
    errors = simulate_tre(fiducials, targets, s, rng=rng, weights=weights)
    told = tre_covariance(fiducials, targets, s, weights=weights)
    np.testing.assert_allclose(rms_of(told), np.sqrt((errors.tre_mm**2).mean(axis=0)), rtol=0.025)
    left = fre_covariance(fiducials, s, weights=weights)
    seen = np.sqrt((errors.fre**2).sum(axis=-1).mean(axis=0))
    np.testing.assert_allclose(rms_of(left), seen, rtol=0.04, atol=0.01 * seen.max())


@pytest.mark.parametrize("name", LAYOUTS)
def test_fre_does_not_predict_tre(rng, name):
    fiducials, targets = layout(name)
    errors = simulate_tre(fiducials, targets, 0.12 * np.eye(3), trials=20_000, rng=rng)
    for k in range(3):
        assert abs(np.corrcoef(errors.fre_rms_mm, errors.tre_mm[:, k])[0, 1]) < 0.03


def test_simulated_errors_are_what_they_say(rng):
    fiducials, targets = layout("long and thin")
    errors = simulate_tre(fiducials, targets, OBLIQUE, trials=50, rng=rng)
    assert errors.matrix.shape == (50, 4, 4)
    np.testing.assert_allclose(errors.tre, transform_points(errors.matrix, targets) - targets)
    located = transform_points(errors.matrix, fiducials) - errors.fre
    assert np.sqrt(((located - fiducials) ** 2).sum(axis=-1).mean()) == pytest.approx(0.7, rel=0.1)
    np.testing.assert_allclose(errors.fre.mean(axis=1), 0, atol=1e-9)
    rms = np.sqrt((np.linalg.norm(errors.fre, axis=-1) ** 2).mean(axis=1))
    np.testing.assert_allclose(errors.fre_rms_mm, rms)
    np.testing.assert_allclose(errors.tre_mm, np.sqrt((errors.tre**2).sum(axis=-1)))
    again = simulate_tre(fiducials, targets, OBLIQUE, trials=50, rng=np.random.default_rng(3))
    same = simulate_tre(fiducials, targets, OBLIQUE, trials=50, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(again.tre, same.tre)


def test_an_error_of_0_in_one_direction_can_be_simulated(rng):
    fiducials, targets = layout("three")
    errors = simulate_tre(fiducials, targets[0], np.diag([0.09, 0.04, 0.0]), trials=4000, rng=rng)
    across = np.sqrt((errors.tre[:, 0] ** 2).mean(axis=0))  # at the mean of the fiducials: FLE / sqrt(3)
    np.testing.assert_allclose(across, [0.3 / np.sqrt(3), 0.2 / np.sqrt(3), 0], rtol=0.05, atol=1e-9)


# -- weights ----------------------------------------------------------------------------------------


def test_an_fle_is_the_root_of_its_covariance_s_trace():
    np.testing.assert_allclose(rms_of(isotropic_covariance([0.6, 1.5])), [0.6, 1.5], rtol=1e-12)
    np.testing.assert_allclose(isotropic_covariance(0.6), 0.12 * np.eye(3), atol=1e-15)


def test_one_over_fle_squared_are_the_best_weights(rng):
    fiducials, targets = layout("four, compact")
    fle = np.array([0.2, 0.3, 1.6, 0.5])
    s = isotropic_covariance(fle)
    best = rms_of(tre_covariance(fiducials, targets, s, weights=1 / fle**2))
    np.testing.assert_allclose(
        best, rms_of(tre_covariance(fiducials, targets, s, weights=np.linalg.inv(s))), rtol=1e-9
    )
    for _ in range(100):
        other = rms_of(tre_covariance(fiducials, targets, s, weights=rng.uniform(0.5, 2, 4) / fle**2))
        assert (other > best).all()
    assert (rms_of(tre_covariance(fiducials, targets, s)) > 1.5 * best).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_for_directions_no_weights_are_better_than_the_inverse_covariance(rng, name):
    fiducials, targets = layout(name)
    s = noise("per fiducial", len(fiducials))
    best = tre_covariance(fiducials, targets, s, weights=np.linalg.inv(s))
    shaken = np.linalg.inv(s) * rng.uniform(0.7, 1.4, (len(s), 1, 1))
    for weights in (None, 1 / np.trace(s, axis1=1, axis2=2), shaken):
        more = tre_covariance(fiducials, targets, s, weights=weights) - best
        assert (np.linalg.eigvalsh(more) > -1e-9).all()  # in every direction, not only in sum
        assert (np.trace(more, axis1=1, axis2=2) > 1e-4).all()


def test_a_weight_of_0_takes_a_fiducial_out():
    fiducials, targets = layout("planar")
    weights = np.array([1, 1, 0, 2, 1.0])
    kept = weights > 0
    np.testing.assert_allclose(
        tre_covariance(fiducials, targets, OBLIQUE, weights=weights),
        tre_covariance(fiducials[kept], targets, OBLIQUE, weights=weights[kept]),
        rtol=1e-9,
    )


def test_one_target_gives_one_number_and_many_give_many():
    fiducials = LAYOUTS["planar"]
    targets = np.array([[1.0, 2, 3], [4, 5, 60], [7, 80, 9], [100, 1, 2]])
    tre, covariance = expected_tre(fiducials, targets, 0.5), tre_covariance(fiducials, targets, np.eye(3))
    assert tre.shape == (4,)
    assert covariance.shape == (4, 3, 3)
    assert np.shape(expected_tre(fiducials, targets[1], 0.5)) == ()
    assert expected_tre(fiducials, targets[1], 0.5) == pytest.approx(tre[1])
    np.testing.assert_allclose(tre_covariance(fiducials, targets[1], np.eye(3)), covariance[1])


def test_tre_is_least_at_the_centre_and_worst_far_from_the_line_of_the_fiducials():
    fiducials = np.array(LAYOUTS["long and thin"], dtype=float)
    centre = fiducials.mean(axis=0)
    at_centre, along, across = expected_tre(fiducials, centre + [[0, 0, 0], [100, 0, 0], [0, 0, 100]], 0.5)
    assert at_centre == pytest.approx(0.5 / np.sqrt(6))
    assert at_centre < along < across / 3


# -- where: maps, the worst target, the next fiducial -------------------------------------------------


@pytest.mark.parametrize("kind", ["isotropic", "per fiducial"])
def test_a_map_is_the_covariance_in_every_voxel(kind):
    fiducials, targets = layout("eight, off-centre")
    s = noise(kind, len(fiducials))
    r_M_voxel = pose_from(TURN @ np.diag([3.0, 7.0, 11.0]), targets[2])
    told = tre_map(fiducials, s, (4, 5, 6), r_M_voxel)
    assert told.shape == (4, 5, 6)
    assert told.dtype == np.float32
    k, j, i = np.indices(told.shape).reshape(3, -1)
    at = transform_points(r_M_voxel, np.stack([i, j, k], axis=1))
    np.testing.assert_allclose(told.ravel(), rms_of(tre_covariance(fiducials, at, s)), rtol=1e-6)
    if kind == "isotropic":
        np.testing.assert_allclose(told.ravel(), expected_tre(fiducials, at, 0.6), rtol=1e-6)


def test_a_map_uses_the_weights():
    fiducials, targets = layout("planar")
    s, r_M_voxel = noise("per fiducial", 5), pose_from(np.eye(3), targets[1])
    weights = np.array([1, 5, 2, 0.3, 4])
    told = tre_map(fiducials, s, (1, 1, 1), r_M_voxel, weights=weights).item()
    assert told == pytest.approx(rms_of(tre_covariance(fiducials, targets[1], s, weights=weights)), rel=1e-6)
    assert told != pytest.approx(rms_of(tre_covariance(fiducials, targets[1], s)), rel=0.05)


def test_the_worst_target_of_a_box_is_one_of_its_corners(rng):
    fiducials, _ = layout("long and thin")
    low, high = np.array([20.0, -60, -30]), np.array([180.0, 25, 90])
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (-30.0, 90)])
    worst = worst_target(fiducials, corners, OBLIQUE)
    inside = rng.uniform(low, high, (5000, 3))
    assert (rms_of(tre_covariance(fiducials, inside, OBLIQUE)) < worst.tre_rms_mm).all()
    every = rms_of(tre_covariance(fiducials, corners, OBLIQUE))
    assert worst.index == every.argmax()
    np.testing.assert_array_equal(worst.target, corners[worst.index])
    assert worst.tre_rms_mm == pytest.approx(every.max())
    np.testing.assert_allclose(worst.covariance, tre_covariance(fiducials, worst.target, OBLIQUE))
    other = worst_target(fiducials, corners, OBLIQUE, weights=[1, 1, 1, 1, 1, 40.0])
    assert other.tre_rms_mm > worst.tre_rms_mm


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_next_fiducial_is_the_one_a_search_finds(rng, name):
    fiducials, targets = layout(name)
    candidates = fiducials.mean(axis=0) + rng.uniform(-90, 90, (40, 3))
    s = noise("per fiducial", len(fiducials) + 1)
    each = np.array([rms_of(tre_covariance(np.vstack([fiducials, c]), targets, s)) for c in candidates])
    now = rms_of(tre_covariance(fiducials, targets, s[:-1]))
    found = next_fiducial(fiducials, candidates, targets, s)
    np.testing.assert_allclose(found.tre_mm, np.sqrt((each**2).mean(axis=1)), rtol=1e-9)
    assert found.now_mm == pytest.approx(np.sqrt((now**2).mean()))
    assert found.index == np.sqrt((each**2).mean(axis=1)).argmin()
    np.testing.assert_array_equal(found.place, candidates[found.index])
    worst = next_fiducial(fiducials, candidates, targets, s, criterion="worst")
    np.testing.assert_allclose(worst.tre_mm, each.max(axis=1), rtol=1e-9)
    assert worst.now_mm == pytest.approx(now.max())


def test_a_fiducial_off_the_line_helps_most():
    fiducials, targets = layout("long and thin")
    places = fiducials.mean(axis=0) + [[60, 0, 0], [0, 70, -60], [170, 5, 5]]
    better = next_fiducial(fiducials, places, targets[2], isotropic_covariance(0.5))
    assert better.index == 1
    assert better.tre_mm[1] < 0.5 * better.now_mm
    assert (better.tre_mm[[0, 2]] > 0.9 * better.now_mm).all()


# -- how sure: ellipsoids and probabilities -----------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_as_many_targets_lie_in_the_ellipsoid_as_it_says(rng, level):
    fiducials, targets = layout("four, compact")
    errors = simulate_tre(fiducials, targets, OBLIQUE, rng=rng)
    region = confidence_ellipsoid(tre_covariance(fiducials, targets, OBLIQUE), level)
    assert region.axes.shape == (3, 3, 3)
    assert (np.diff(region.half_lengths_mm, axis=1) < 0).all()
    along = np.einsum("kai,tki->tka", region.axes, errors.tre) / region.half_lengths_mm
    inside = ((along**2).sum(axis=-1) < 1).mean(axis=0)
    np.testing.assert_allclose(inside, level, atol=0.015)
    np.testing.assert_allclose(
        (along**2).mean(axis=0) / (along**2).mean(), 1, atol=0.06
    )  # longest is longest


def test_the_probability_is_exact_where_it_is_known():
    r = np.array([0.05, 0.3, 0.9, 2.0, 4.0])
    np.testing.assert_allclose(tre_probability(np.eye(3) * 0.49, r), chdtr(3, r**2 / 0.49), atol=1e-12)
    a_line = TURN[:, :1] @ TURN[:, :1].T
    np.testing.assert_allclose(tre_probability(a_line, r), erf(r / np.sqrt(2)), atol=1e-4)
    np.testing.assert_allclose(tre_probability(a_line, r[2:]), erf(r[2:] / np.sqrt(2)), atol=1e-9)
    a_plane = TURN @ np.diag([1, 1, 0]) @ TURN.T
    np.testing.assert_allclose(tre_probability(a_plane, r), 1 - np.exp(-(r**2) / 2), atol=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.95, 0.999])
def test_the_quantile_inverts_the_probability(level):
    fiducials, targets = layout("planar")
    covariance = tre_covariance(fiducials, targets, OBLIQUE)
    at = tre_quantile(covariance, level)
    assert at.shape == (3,)
    np.testing.assert_allclose(tre_probability(covariance, at), level, atol=1e-9)
    assert tre_quantile(covariance[1], level) == pytest.approx(at[1])
    assert tre_quantile(np.zeros((3, 3)), level) == pytest.approx(0, abs=1e-9)
    assert tre_quantile(1e-12 * covariance[1], level) == pytest.approx(1e-6 * at[1], rel=1e-9)


def test_95_percent_of_simulated_targets_are_within_the_quantile(rng):
    fiducials, targets = layout("long and thin")
    errors = simulate_tre(fiducials, targets, OBLIQUE, rng=rng)
    limit = tre_quantile(tre_covariance(fiducials, targets, OBLIQUE))
    np.testing.assert_allclose((errors.tre_mm < limit).mean(axis=0), 0.95, atol=0.01)
    ratio = limit / rms_of(tre_covariance(fiducials, targets, OBLIQUE))
    assert ((ratio > 1.61) & (ratio < 1.96)).all()


# -- doors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: expected_fre(0.5, 2), "at least 3 fiducials"),
        (lambda p: expected_fre(-0.5, 4), "fle_rms_mm is -0.5"),
        (lambda p: expected_tre(p, [[1, 2]], 0.5), "target has shape"),
        (lambda p: expected_tre(p, p, np.nan), "fle_rms_mm is nan"),
        (lambda p: isotropic_covariance([0.5, -1]), "fle_rms_mm is"),
        (lambda p: tre_covariance(p, p, 0.5), r"fle_covariance has shape \(\)"),
        (lambda p: tre_covariance(p, p, np.triu(np.ones((3, 3)))), "not a symmetric matrix"),
        (lambda p: tre_covariance(p, p, np.diag([1, 1, -1])), "negative eigenvalue"),
        (lambda p: tre_covariance(p, p, np.eye(3), weights=[1, 2]), r"weights has shape \(2,\)"),
        (lambda p: tre_covariance(p, p, np.eye(3), weights=[1, 1, 1, 1, -1]), "not negative"),
        (lambda p: fre_covariance(p, np.eye(3), weights=[1, 1, 0, 0, 0]), "fewer than 3 weights"),
        (lambda p: fre_covariance(p, np.eye(2)), "fle_covariance has shape"),
        (lambda p: tre_map(p, np.eye(3), (4, 5), np.eye(4)), "three counts"),
        (lambda p: tre_map(p, np.eye(3), (4, 5, 0), np.eye(4)), "three counts"),
        (lambda p: tre_map(p, np.eye(3), (4, 5, 6), pose_from(np.eye(3), [1, 2, 3]).T), "transposed"),
        (lambda p: simulate_tre(p, p, np.eye(3), trials=0, rng=np.random.default_rng(1)), "trials is 0"),
        (lambda p: simulate_tre(p, p.T, np.eye(3), rng=np.random.default_rng(1)), "targets has shape"),
        (lambda p: worst_target(p, p[:, :2], np.eye(3)), "region has shape"),
        (lambda p: next_fiducial(p, p.T, p, np.eye(3)), "candidates has shape"),
        (lambda p: next_fiducial(p, p, p, np.broadcast_to(np.eye(3), (5, 3, 3))), r"or \(6, 3, 3\)"),
        (lambda p: next_fiducial(p, p, p, np.eye(3), criterion="mean"), "expected 'rms' or 'worst'"),
        (lambda p: confidence_ellipsoid(np.eye(3), 95), "In percent"),
        (lambda p: tre_quantile(np.eye(3), 0.0), "level is 0.0"),
        (lambda p: tre_probability([1, 2, 3], 1.0), "covariance has shape"),
        (lambda p: tre_probability(np.eye(3), [1.0, -1.0]), "within_mm is"),
    ],
)
def test_doors_say_what_is_wrong(rng, call, says):
    with pytest.raises(ValueError, match=says):
        call(cloud(rng, 5))


@pytest.mark.parametrize(
    "function",
    [
        lambda f, rng: expected_tre(f, [1, 2, 3], 0.5),
        lambda f, rng: tre_covariance(f, [1, 2, 3], np.eye(3)),
        lambda f, rng: fre_covariance(f, np.eye(3)),
        lambda f, rng: tre_map(f, np.eye(3), (2, 3, 4), np.eye(4)),
        lambda f, rng: simulate_tre(f, [1, 2, 3], np.eye(3), rng=rng),
        lambda f, rng: worst_target(f, [[1, 2, 3]], np.eye(3)),
        lambda f, rng: next_fiducial(f, [[1, 2, 3]], [1, 2, 3], np.eye(3)),
    ],
)
def test_fiducials_on_a_line_are_refused(rng, function):
    with pytest.raises(ValueError, match="The fiducials lie on a line"):
        function(np.linspace(0, 150, 6)[:, None] * [0.6, 0.0, 0.8] + [30, 10, 5], rng)


def test_arguments_are_not_written_to(rng):
    p, s, w = cloud(rng, 5), noise("per fiducial", 5), np.ones(5)
    before = p.copy(), s.copy(), w.copy()
    for function in (tre_covariance, worst_target):
        function(p, p, s, weights=w)
    fre_covariance(p, s, weights=w)
    tre_map(p, s, (2, 3, 4), np.eye(4), weights=w)
    simulate_tre(p, p, s, rng=rng, trials=10, weights=np.linalg.inv(s))
    tre_quantile(s)
    confidence_ellipsoid(s)
    for a, b in zip((p, s, w), before, strict=True):
        np.testing.assert_array_equal(a, b)
