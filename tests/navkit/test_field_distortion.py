"""Straightening a bent field: exact for polynomials, honest about noise, silent outside the box."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.tracking import (
    EmSettings,
    FieldDistortion,
    OrientationDistortion,
    PoseStream,
    choose_degree,
    simulate_electromagnetic,
)

BOX = np.array([[-120.0, 40.0, 210.0], [180.0, 260.0, 300.0]])
FIELD = np.array([[-120.0, -100.0, -400.0], [130.0, 140.0, -180.0]])
"""Where the simulated electromagnetic tracker is calibrated, mm from its generator."""


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


def test_a_shift_that_is_the_same_everywhere_has_equal_coefficients(rng):
    """Bernstein polynomials of one degree add up to 1."""
    p = in_box(rng, 300)
    fitted = FieldDistortion.fit(p, p + [1, -2, 3], degree=3)
    assert fitted.coefficients == pytest.approx(np.tile([1.0, -2, 3], (64, 1)))


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
    assert choice.warnings == (
        "degrees [1, 3, 5] fit noise: points left out are worse than without a correction.",
    )


def test_the_degree_that_made_the_field_is_chosen(rng):
    measured = in_box(rng, 700)
    truth = bent(measured, 3) + rng.normal(scale=0.05, size=(700, 3))
    choice = choose_degree(measured, truth, rng=rng)
    assert choice.degree == 3
    assert choice.left_out_rms_mm[3] == pytest.approx(0.05 * np.sqrt(3), rel=0.15)
    assert choice.left_out_rms_mm[0] > 1
    assert choice.warnings == ()
    short = choose_degree(measured, truth, rng=rng, degrees=(1, 2))
    assert short.degree == 2
    assert short.warnings == ("degree 2 is the highest that was tried; a higher one may be better.",)


def test_a_degree_that_cannot_be_tried_is_named_and_no_correction_is_still_an_answer(rng):
    measured = in_box(rng, 60)
    choice = choose_degree(measured, bent(measured, 1), rng=rng, degrees=(1, 3, 4), folds=4)
    assert sorted(choice.left_out_rms_mm) == [0, 1]
    assert choice.warnings[0] == "degrees [3, 4] were not tried: more parameters than points."
    none_fits = choose_degree(in_box(rng, 70), in_box(rng, 70), rng=rng, degrees=(3,))
    assert sorted(none_fits.left_out_rms_mm) == [0], "64 parameters fit 70 points, not the 56 of four folds"
    assert choose_degree(measured, measured + 1e-3, rng=rng, degrees=(3, 4)).degree == 0
    pulled = choose_degree(measured, bent(measured, 1), rng=rng, degrees=(3,), ridge=1e-3)
    assert sorted(pulled.left_out_rms_mm) == [0, 3]


@pytest.mark.parametrize(("points", "says"), [(3 * 64, False), (3 * 64 - 1, True)])
def test_fewer_than_three_points_a_parameter_is_said(rng, points, says):
    measured = in_box(rng, points)
    fitted = FieldDistortion.fit(measured, bent(measured, 2), degree=3)
    assert fitted.warnings == (
        (f"64 parameters an axis for {points} points fit their noise; see choose_degree.",) * says
    )


def test_points_on_too_few_planes_for_the_degree_are_said(rng):
    axes = [np.linspace(low, high, 3) for low, high in BOX.T]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3).repeat(8, axis=0)
    assert FieldDistortion.fit(grid, bent(grid, 1), degree=2).warnings == ()
    fitted = FieldDistortion.fit(grid, bent(grid, 1), degree=3)
    assert fitted.warnings == ("only 27 of 64 parameters are determined: too few planes of points?",)


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


# --- a simulated electromagnetic field ---------------------------------------------------------------------


def read_field(rng, n, settings):
    """Positions and orientations of a sensor in the field: (measured, true) poses."""
    truth = pose_from(Rotation.random(n, rng=rng), rng.uniform(*FIELD, size=(n, 3)))
    read = simulate_electromagnetic(PoseStream(np.arange(n), truth), rng=rng, settings=settings)
    assert read.valid.all()
    return read.pose, truth


def rms(away):
    return np.sqrt(np.mean(np.sum(away**2, axis=1)))


def test_in_a_simulated_field_the_chosen_degree_generalises(rng):
    """Chosen and fitted on noisy readings, judged on fresh ones without noise."""
    read, truth = (m[:, :3, 3] for m in read_field(rng, 900, EmSettings()))
    choice = choose_degree(read, truth, rng=rng)
    assert choice.degree in (2, 3)
    fresh, fresh_truth = (m[:, :3, 3] for m in read_field(rng, 2000, EmSettings(noise_mm=0)))
    left = {}
    for degree in (1, 2, 3, 5):
        fitted = FieldDistortion.fit(read, truth, degree=degree)
        known = fitted.inside(fresh)
        assert known.mean() > 0.95
        left[degree] = rms(fresh_truth[known] - fitted.correct(fresh[known]))
    before = rms(fresh_truth - fresh)
    assert before > 1.5
    assert left[choice.degree] < 0.1
    assert left[choice.degree] < 0.6 * left[1]
    assert left[choice.degree] < 0.6 * left[5]


def test_degree_5_on_a_simulated_tracker_without_distortion_does_harm_and_says_so(rng):
    straight = EmSettings(distortion_mm=0)
    read, truth = (m[:, :3, 3] for m in read_field(rng, 500, straight))
    choice = choose_degree(read, truth, rng=rng, degrees=(1, 3, 5))
    assert choice.degree == 0
    assert "[1, 3, 5] fit noise" in choice.warnings[0]
    fitted = FieldDistortion.fit(read, truth, degree=5)
    assert fitted.warnings == ("216 parameters an axis for 500 points fit their noise; see choose_degree.",)
    fresh = rng.uniform(*FIELD, size=(1000, 3))
    fresh = fresh[fitted.inside(fresh)]
    assert fitted.rms_mm < 0.15 * np.sqrt(3) < 1.2 * rms(fitted.correct(fresh) - fresh)


def test_the_orientation_is_corrected_apart_from_the_position(rng):
    """Fitted to noisy readings, judged on fresh ones without noise."""
    s = EmSettings()
    read, truth = read_field(rng, 900, s)
    fitted = OrientationDistortion.fit(read[:, :3, 3], read[:, :3, :3], truth[:, :3, :3], degree=2)
    assert fitted.warnings == ()
    noise_rms = np.radians(s.noise_deg) * np.sqrt(3)
    assert fitted.rms_rad == pytest.approx(noise_rms * np.sqrt(1 - 27 / 900), rel=0.05)
    fresh, fresh_truth = read_field(rng, 1000, EmSettings(noise_mm=0, noise_deg=0))
    known = fitted.inside(fresh[:, :3, 3])
    fresh, fresh_truth = fresh[known], fresh_truth[known]
    corrected = fitted.correct(fresh[:, :3, 3], fresh[:, :3, :3])
    before, after = (
        np.degrees(rms(Rotation.from_matrix(m @ np.swapaxes(fresh_truth[:, :3, :3], 1, 2)).as_rotvec()))
        for m in (fresh[:, :3, :3], corrected)
    )
    assert before > 0.7
    assert after < 0.1 * before


# --- orientations ------------------------------------------------------------------------------------------


def turned(p, degree):
    """Rotation vectors that are polynomials of the position, about 6 degrees."""
    return 0.02 * (bent(p, degree) - p)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_turn_of_the_same_degree_is_undone_exactly(rng, degree):
    p, read = in_box(rng, 300), Rotation.random(300, rng=rng)
    truth = Rotation.from_rotvec(turned(p, degree)) * read
    fitted = OrientationDistortion.fit(p, read.as_matrix(), truth.as_matrix(), degree=degree)
    assert fitted.rms_rad < 1e-9
    assert fitted.parameters == (degree + 1) ** 3
    fresh, other = rng.uniform(p.min(axis=0), p.max(axis=0), (200, 3)), Rotation.random(200, rng=rng)
    expected = (Rotation.from_rotvec(turned(fresh, degree)) * other).as_matrix()
    assert np.abs(fitted.correct(fresh, other.as_matrix()) - expected).max() < 1e-9
    assert np.degrees(np.linalg.norm(turned(fresh, degree), axis=1)).max() > 3


def test_an_orientation_outside_the_box_is_refused_by_name(rng):
    p, read = in_box(rng, 100), Rotation.random(100, rng=rng).as_matrix()
    fitted = OrientationDistortion.fit(p, read, read, degree=1)
    away = np.vstack([p[:3], [[400.0, 100, 250], [0, 0, 0]]])
    assert fitted.inside(away).tolist() == [True, True, True, False, False]
    with pytest.raises(ValueError, match=r"points\[3\].* lies outside the calibrated box.*\(2 of 5 do\)"):
        fitted.correct(away, read[:5])


def test_the_rms_of_orientations_is_the_angle_that_is_left(rng):
    """One pose in the middle is 10 degrees off the rest; a ridge this strong corrects nothing."""
    p, read = in_box(rng, 100), Rotation.random(100, rng=rng)
    error = np.zeros((100, 3))
    error[40] = np.radians([0, -6, 8])
    truth = Rotation.from_rotvec(error) * read
    fitted = OrientationDistortion.fit(p, read.as_matrix(), truth.as_matrix(), degree=1, ridge=1e9)
    assert np.degrees(fitted.rms_rad) == pytest.approx(10 / np.sqrt(100), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p, r: (p, r[:-1], r, 1), r"measured has shape \(49, 3, 3\); expected \(50, 3, 3\)"),
        (lambda p, r: (p, r, 2 * r, 1), r"truth\[0\] is not rigid"),
        (lambda p, r: (p, r, r, 3), "64 parameters an axis but there are 50 points"),
        (lambda p, r: (p * [1, 0, 1], r, r, 1), "Do they lie in one plane"),
    ],
)
def test_bad_orientations_are_one_sentence(rng, change, sentence):
    points, measured, truth, degree = change(in_box(rng, 50), Rotation.random(50, rng=rng).as_matrix())
    with pytest.raises(ValueError, match=sentence):
        OrientationDistortion.fit(points, measured, truth, degree=degree)


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
