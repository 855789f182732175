"""Straightening a bent field: exact for polynomials, honest about noise, silent outside the box."""

import numpy as np
import pytest

from navkit.tracking import FieldDistortion, choose_degree

BOX = np.array([[-120.0, 40.0, 210.0], [180.0, 260.0, 300.0]])


def in_box(rng, n):
    return rng.uniform(*BOX, size=(n, 3))


def bent(p, power):
    """Measured positions of `p`-like points whose correction is a polynomial of this degree on each axis."""
    u = (p - BOX[0]) / (BOX[1] - BOX[0])
    x, y, z = u.T
    shift = np.stack([3 * x**power - 2 * y, 4 * y**power * z - x, 2 * x * z - 5 * z**power * y], axis=1)
    return p + shift


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_of_the_same_degree_is_undone_exactly(rng, degree):
    measured = in_box(rng, 300)
    fitted = FieldDistortion.fit(measured, bent(measured, degree), degree=degree)
    fresh = rng.uniform(measured.min(axis=0), measured.max(axis=0), size=(200, 3))
    assert np.abs(fitted.correct(fresh) - bent(fresh, degree)).max() < 1e-9
    assert fitted.rms_mm < 1e-9
    assert fitted.parameters == (degree + 1) ** 3


def test_no_distortion_needs_no_correction(rng):
    p = in_box(rng, 100)
    fitted = FieldDistortion.fit(p, p, degree=2)
    assert np.abs(fitted.coefficients).max() < 1e-9


def test_noise_leaves_the_error_that_least_squares_must_leave(rng):
    """The mean square error at the fitted points is sigma^2 p / n an axis: the trace of the hat matrix."""
    sigma, n, degree = 0.4, 200, 2
    measured = in_box(rng, n)
    truth = bent(measured, 2)
    squares = []
    for _ in range(300):
        fitted = FieldDistortion.fit(measured, truth + rng.normal(scale=sigma, size=(n, 3)), degree=degree)
        squares.append(np.mean((fitted.correct(measured) - truth) ** 2))
    assert np.mean(squares) == pytest.approx(sigma**2 * 27 / n, rel=0.05)


def test_the_residual_falls_with_the_degree_and_the_left_out_error_does_not(rng):
    """Pure noise, no distortion: degree 5 is worse than 3, and the choice is no correction at all."""
    measured = in_box(rng, 400)
    truth = measured + rng.normal(scale=0.5, size=(400, 3))
    residual = [FieldDistortion.fit(measured, truth, degree=d).rms_mm for d in (1, 3, 5)]
    assert residual[0] > residual[1] > residual[2]
    choice = choose_degree(measured, truth, rng=rng, degrees=(1, 3, 5))
    error = choice.left_out_rms_mm
    assert choice.degree == 0
    assert error[5] > error[3] > error[1] > error[0]


def test_the_degree_that_made_the_field_is_chosen(rng):
    measured = in_box(rng, 700)
    truth = bent(measured, 3) + rng.normal(scale=0.05, size=(700, 3))
    choice = choose_degree(measured, truth, rng=rng)
    assert choice.degree == 3
    assert choice.left_out_rms_mm[3] == pytest.approx(0.05 * np.sqrt(3), rel=0.15)
    assert choice.left_out_rms_mm[0] > 1


def test_a_point_outside_the_box_is_refused_by_name(rng):
    measured = in_box(rng, 100)
    fitted = FieldDistortion.fit(measured, bent(measured, 1), degree=1)
    away = np.vstack([measured[:3], [[400.0, 100, 250], [0, 0, 0]]])
    assert fitted.inside(away).tolist() == [True, True, True, False, False]
    with pytest.raises(ValueError, match=r"points\[3\].* lies outside the calibrated box.*\(2 of 5 do\)"):
        fitted.correct(away)


def test_a_ridge_pulls_towards_no_correction_and_allows_few_points(rng):
    measured = in_box(rng, 40)
    truth = bent(measured, 1)
    with pytest.raises(ValueError, match=r"64 parameters an axis but there are 40 points"):
        FieldDistortion.fit(measured, truth, degree=3)
    sizes = [
        np.linalg.norm(FieldDistortion.fit(measured, truth, degree=3, ridge=r).coefficients)
        for r in (1e-4, 1e-2, 1.0, 1e6)
    ]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3]
    assert sizes[3] < 1e-2


def test_a_ridge_means_the_same_for_any_number_of_points(rng):
    few, many = in_box(rng, 500), in_box(rng, 5000)
    free = FieldDistortion.fit(many, bent(many, 2), degree=2).coefficients
    pulled = [FieldDistortion.fit(p, bent(p, 2), degree=2, ridge=1.0).coefficients for p in (few, many)]
    assert np.linalg.norm(pulled[0] - pulled[1]) < 0.1 * np.linalg.norm(pulled[1])
    assert 0.05 < np.linalg.norm(pulled[1]) / np.linalg.norm(free) < 0.8, "a ridge of 1 is strong"


def test_the_box_is_a_hundredth_wider_than_the_data_on_every_side(rng):
    measured = in_box(rng, 60)
    fitted = FieldDistortion.fit(measured, measured, degree=1)
    width = np.ptp(measured, axis=0)
    assert fitted.low == pytest.approx(measured.min(axis=0) - 0.01 * width)
    assert fitted.high == pytest.approx(measured.max(axis=0) + 0.01 * width)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: (p, p[:-1], 1), "50 points and truth 49"),
        (lambda p: (p, p, 0), "degree is 0"),
        (lambda p: (p * [1, 1, 0], p, 1), "Do they lie in one plane"),
    ],
)
def test_bad_input_is_one_sentence(rng, change, sentence):
    measured, truth, degree = change(in_box(rng, 50))
    with pytest.raises(ValueError, match=sentence):
        FieldDistortion.fit(measured, truth, degree=degree)
