"""Pairs that do not fit: one that is bad, or a mistake made with all of them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_paired_points import FLE, layout, located
from test_registration import LAYOUTS, cloud, q_M_p

from navkit.geometry import RAS_M_LPS, pose_from, transform_points
from navkit.registration import diagnose_pairs, find_outliers, fit_rigid, isotropic_covariance

# -- one bad pair -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_no_bad_pair_chances_are_even(rng):
    """Of all pairs of 200 clean sets, as many have p below 5 and 50 % as that; 1 % give an alarm."""
    p_value, p_all, alarms, ratio = [], [], 0, []
    p = layout("long and thin")
    for _ in range(200):
        test = find_outliers(p, located(rng, p), isotropic_covariance(FLE))
        p_value += test.p_value.tolist()
        p_all.append(test.p_all)
        alarms += test.outlier.any()
        ratio.append(test.left_out_mm**2 / test.expected_mm**2)
    assert np.mean(np.array(p_value) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(p_value) < 0.5) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(p_all) < 0.5) == pytest.approx(0.5, abs=0.1)
    assert alarms <= 6
    np.testing.assert_allclose(np.mean(ratio, axis=0), 1, atol=0.25)


@pytest.mark.slow
def test_without_the_fle_as_well(rng):
    p, alarms, p_value = layout("eight, off-centre"), 0, []
    for _ in range(200):
        test = find_outliers(p, located(rng, p))
        p_value += test.p_value.tolist()
        alarms += test.outlier.any()
    assert np.mean(np.array(p_value) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert alarms <= 6
    assert np.isnan(test.p_all)
    assert np.isnan(test.p_rest).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "known", "least"), [(4, True, 0.9), (5, True, 0.95), (6, False, 0.9), (10, False, 1.0)]
)
def test_a_bad_pair_of_ten_fle_is_found(rng, n, known, least):
    right = 0
    for _ in range(100):
        p = rng.uniform([-60, -40, -50], [60, 70, 30], (n, 3))
        q = located(rng, p)
        bad, way = rng.integers(n), rng.normal(size=3)
        q[bad] += 10 * FLE * way / np.linalg.norm(way)
        test = find_outliers(p, q, isotropic_covariance(FLE) if known else None)
        assert test.outlier.sum() <= 1
        right += test.outlier[bad]
    assert right >= 100 * least


def test_the_left_out_pair_is_off_by_as_much_as_it_was_moved(rng):
    p = layout("planar")
    q = located(rng, p, 1e-3)
    q[3] += [0, 7, 0]
    test = find_outliers(p, q, isotropic_covariance(1e-3))
    assert test.left_out_mm[3] == pytest.approx(7, abs=0.02)
    assert test.outlier.tolist() == [False, False, False, True, False]
    assert test.p_rest[3] > 0.001
    assert (np.delete(test.p_rest, 3) < 1e-9).all()
    assert fit_rigid(p, q).residual_mm.max() < 5  # the full fit leans to it


def test_a_coarse_direction_is_not_an_outlier(rng):
    p = layout("eight, off-centre")
    q = transform_points(q_M_p, p)
    q[2] += [0, 0, 1.5]
    assert not find_outliers(p, q, np.diag([0.01, 0.01, 1.0])).outlier.any()
    assert find_outliers(p, q, np.diag([0.01, 1.0, 0.01])).outlier[2]


def test_three_pairs_cannot_tell_which(rng):
    p = layout("three")
    for q, told in ((located(rng, p), "as they should"), (located(rng, p) + np.diag([9.0, 0, 0]), "badly")):
        test = find_outliers(p, q, isotropic_covariance(FLE))
        assert np.isnan(test.left_out_mm).all()
        assert not test.outlier.any()
        assert "three pairs cannot tell which" in test.warnings[0]
        assert told in test.warnings[0]
    assert find_outliers(p, q).warnings == ("three pairs cannot tell which of them is bad.",)


def test_a_pair_that_holds_the_others_off_a_line_cannot_be_checked(rng):
    p = np.array([[0.0, 0, 0], [50, 10, 0], [100, 20, 0], [30, 70, 20]])
    test = find_outliers(p, located(rng, p), isotropic_covariance(FLE))
    np.testing.assert_array_equal(np.isnan(test.p_value), [False, False, False, True])
    assert "pairs [3] cannot be checked" in test.warnings[0]


def test_two_bad_pairs_and_two_that_explain_the_same_are_told(rng):
    p = layout("eight, off-centre")
    q = located(rng, p)
    q[1] += [0, 0, 12]
    q[6] -= [9, 9, 0]
    test = find_outliers(p, q, isotropic_covariance(FLE))
    assert any("the others do not fit either" in warning for warning in test.warnings)
    p = layout("four, compact")
    several = 0
    for k in range(60):
        q = located(rng, p)
        q[k % 4] += rng.normal(0, 1.5, 3)
        test = find_outliers(p, q, isotropic_covariance(FLE))
        told = [warning for warning in test.warnings if "explains the misfit as well" in warning]
        assert bool(told) == bool(test.outlier.any() and (test.p_rest[~test.outlier] > 0.01).any())
        several += bool(told)
    assert several > 5


# -- a mistake with all pairs -----------------------------------------------------------------------


def two_mixed_up(q):
    return q[[2, 1, 0, *range(3, len(q))]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda p, q: (p / 1000, q), "p_from is in metres: multiply it by 1000."),
        (lambda p, q: (p, q / 1000), "p_to is in metres"),
        (lambda p, q: (p / 10, q), "p_from is in centimetres"),
        (lambda p, q: (p, q / 25.4), "p_to is in inches"),
        (lambda p, q: (p * 0.9, q), "p_from fits when multiplied by 1.1"),
        (lambda p, q: (p.T.reshape(-1, 3), q), "take np.reshape(p_from, (3, -1)).T."),
        (lambda p, q: (p, q.T.reshape(-1, 3)), "take np.reshape(p_to, (3, -1)).T."),
        (lambda p, q: (p, two_mixed_up(q)), "another order: take p_to[[2, 1, 0"),
        (lambda p, q: (p, q[::-1]), "The pairs are in another order"),
    ],
)
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_mistake_is_named(rng, name, wrong, says):
    p = layout(name)
    a, b = wrong(p, located(rng, p))
    first = diagnose_pairs(a, b)[0]
    assert says in first.cause
    assert first.after_mm < 1.0
    assert first.before_mm == pytest.approx(fit_rigid(a, b).fre_rms_mm)


@pytest.mark.parametrize("mirrored", [lambda q: q * [1, 1, -1], lambda q: q[:, ::-1]])
@pytest.mark.parametrize("name", ["four, compact", "long and thin", "eight, off-centre"])
def test_a_mirror_is_named(rng, name, mirrored):
    p = layout(name)
    first = diagnose_pairs(p, mirrored(located(rng, p)))[0]
    assert first.cause.startswith("One set is mirrored")
    assert first.after_mm < 1.0 < first.before_mm


def test_the_order_it_names_is_the_right_one(rng):
    for n in (5, 7, 15):  # every order is tried, or the points' distances tell
        p = cloud(rng, n)
        order = rng.permutation(n)
        first = diagnose_pairs(p[order], located(rng, p))[0]
        assert first.cause == f"The pairs are in another order: take p_to[{order.tolist()}]."


def test_one_bad_pair_is_named(rng):
    p = layout("eight, off-centre")
    q = located(rng, p)
    q[5] += [0, 40, 0]
    found = diagnose_pairs(p, q)
    assert len(found) == 1
    assert found[0].cause.startswith("Pair 5 is off by 4")
    assert found[0].after_mm < 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_noise_is_no_mistake(rng, name):
    p = layout(name)
    named = sum(len(diagnose_pairs(p, located(rng, p))) for _ in range(25))
    assert named <= 1
    assert diagnose_pairs(p, transform_points(q_M_p, p)) == ()


ROUGH = pose_from(Rotation.from_rotvec([0.05, -0.08, 0.04]), [9.0, -12, 7]) @ q_M_p


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda p, q: (q, p), "The sets are swapped"),
        (lambda p, q: (transform_points(RAS_M_LPS, p), q), "p_from is in RAS"),
        (lambda p, q: (p, transform_points(RAS_M_LPS, q)), "p_to is in RAS"),
    ],
)
@pytest.mark.parametrize("name", LAYOUTS)
def test_swapped_sets_and_ras_are_named_when_the_rough_registration_is_known(rng, name, wrong, says):
    p = layout(name)
    a, b = wrong(p, located(rng, p))
    assert fit_rigid(a, b).fre_rms_mm < 1  # the residual does not show it
    assert diagnose_pairs(a, b) == ()
    assert diagnose_pairs(a, b, expected=ROUGH)[0].cause.startswith(says)
    assert diagnose_pairs(p, located(rng, p), expected=ROUGH) == ()


# -- doors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: find_outliers(p, p, np.diag([1, 1, 0])), "0 in some direction"),
        (lambda p: find_outliers(p, p, 0.5), "A standard deviation"),
        (lambda p: find_outliers(p, p[:4]), "p_from has 5 points and p_to 4"),
        (lambda p: find_outliers(p * [1, 0, 0], p), "lie on a line"),
        (lambda p: diagnose_pairs(p.T, p), "Are the points in columns"),
        (lambda p: diagnose_pairs(p, p, expected=np.zeros((4, 4))), "expected"),
    ],
)
def test_doors_say_what_is_wrong(rng, call, says):
    with pytest.raises(ValueError, match=says):
        call(cloud(rng, 5))


def test_arguments_are_not_written_to(rng):
    p, q, s, m = cloud(rng, 6), cloud(rng, 6), np.eye(3), q_M_p.copy()
    before = p.copy(), q.copy(), s.copy(), m.copy()
    find_outliers(p, q, s)
    diagnose_pairs(p, q, expected=m)
    for a, b in zip((p, q, s, m), before, strict=True):
        np.testing.assert_array_equal(a, b)
