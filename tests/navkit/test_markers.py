"""Poses from markers: exact, honest about hidden ones, and as wrong under noise as theory says."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from, transform_points
from navkit.registration import expected_tre
from navkit.tracking import locate_rigid_body, marker_geometry

MARKERS_T = np.array([[3.0, -2, 1], [91, 5, -3], [12, 62, 8], [60, 70, -20], [-30, 25, 14]])
PR_M_T = pose_from(Rotation.from_rotvec([1.1, -2.0, 0.4]), [310.0, -85, -1250])
FOUND = transform_points(PR_M_T, MARKERS_T)
TIP_T = np.array([10.0, -20, 190])


@pytest.mark.parametrize("hidden", [[], [1], [0, 3]])
def test_without_noise_the_pose_is_exact_whatever_is_hidden(hidden):
    found = FOUND.copy()
    found[hidden] = np.nan
    fit = locate_rigid_body(MARKERS_T, found)
    assert fit.matrix == pytest.approx(PR_M_T, abs=1e-9)
    assert np.isnan(fit.residual_mm[hidden]).all()
    assert np.isfinite(fit.residual_mm).sum() == 5 - len(hidden)
    assert fit.fre_rms_mm < 1e-9
    assert len(fit.warnings) == bool(hidden)
    if hidden:
        assert f"markers hidden: {', '.join(map(str, hidden))}" in fit.warnings[0]


def test_planar_markers_are_never_mirrored(rng):
    flat = MARKERS_T * [1, 1, 0]
    for _ in range(50):
        found = transform_points(PR_M_T, flat) + rng.normal(scale=0.5, size=flat.shape)
        fit = locate_rigid_body(flat, found)
        assert np.linalg.det(fit.matrix[:3, :3]) == pytest.approx(1)
        assert fit.matrix[:3, 2] @ PR_M_T[:3, 2] > 0.9


def test_a_bad_marker_counts_as_little_as_its_weight(rng):
    found = FOUND + rng.normal(scale=0.1, size=FOUND.shape)
    found[2] += [0, 8.0, 0]
    without = np.delete(np.arange(5), 2)
    alone = locate_rigid_body(MARKERS_T[without], found[without])
    fit = locate_rigid_body(MARKERS_T, found, weights=[1, 1, 1e-9, 1, 1])
    assert fit.matrix == pytest.approx(alone.matrix, abs=1e-6)
    assert fit.residual_mm[2] > 5
    # weights of markers that are hidden drop out with them
    found[1] = np.nan
    both = locate_rigid_body(MARKERS_T, found, weights=[1, 1e9, 1e-9, 1, 1])
    assert both.matrix == pytest.approx(
        locate_rigid_body(MARKERS_T[[0, 3, 4]], found[[0, 3, 4]]).matrix, abs=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [[], [4]])
def test_the_tip_is_as_wrong_as_theory_and_the_covariance_say(rng, hidden):
    """500 seeded trials, within 5 % of Fitzpatrick's TRE; what the residual tells of it, too."""
    seen = np.delete(np.arange(5), hidden)
    tip_pr = transform_points(PR_M_T, TIP_T)
    off, told = [], []
    for _ in range(500):
        found = FOUND + rng.normal(scale=0.2, size=FOUND.shape)
        found[hidden] = np.nan
        fit = locate_rigid_body(MARKERS_T, found)
        off.append(np.sum((transform_points(fit.matrix, TIP_T) - tip_pr) ** 2))
        told.append(fit.sd_mm(tip_pr) ** 2)
    theory = expected_tre(MARKERS_T[seen], TIP_T, 0.2 * np.sqrt(3))
    assert np.sqrt(np.mean(off)) == pytest.approx(theory, rel=0.05)
    assert np.sqrt(np.mean(told)) == pytest.approx(theory, rel=0.05)


@pytest.mark.slow
def test_unequal_markers_are_worth_their_weights_and_the_covariance_knows(rng):
    sd = np.array([0.1, 0.1, 0.5, 0.1, 0.3])
    tip_pr = transform_points(PR_M_T, TIP_T)
    off, told, plain = [], [], []
    for _ in range(500):
        found = FOUND + rng.normal(size=FOUND.shape) * sd[:, None]
        fit = locate_rigid_body(MARKERS_T, found, weights=1 / sd**2)
        off.append(np.sum((transform_points(fit.matrix, TIP_T) - tip_pr) ** 2))
        told.append(fit.sd_mm(tip_pr) ** 2)
        plain.append(
            np.sum((transform_points(locate_rigid_body(MARKERS_T, found).matrix, TIP_T) - tip_pr) ** 2)
        )
    assert np.mean(told) == pytest.approx(np.mean(off), rel=0.1)
    assert np.mean(off) < 0.8 * np.mean(plain)


def test_points_far_and_near_have_their_own_sd():
    fit = locate_rigid_body(MARKERS_T, FOUND + np.array([[0.2], [-0.1], [0.1], [-0.3], [0.1]]))
    near, far = fit.sd_mm([FOUND.mean(axis=0), FOUND.mean(axis=0) + [0, 0, 500.0]])
    assert far > 3 * near > 0
    # at the centroid the turn does not count: the errors of five markers averaged
    centre = transform_points(fit.matrix, MARKERS_T).mean(axis=0)
    variance = np.sum(fit.residual_mm**2) / (3 * 5 - 6)
    assert fit.sd_mm(centre) == pytest.approx(np.sqrt(3 * variance / 5), rel=1e-9)


def test_too_few_or_a_line_of_markers_is_refused_and_nearly_a_line_is_said():
    found = FOUND.copy()
    found[[0, 1, 4]] = np.nan
    with pytest.raises(ValueError, match="2 of 5 markers are seen; expected at least 3"):
        locate_rigid_body(MARKERS_T, found)
    line = np.outer([0.0, 30, 80], [1, 2, -1])
    with pytest.raises(ValueError, match="lie on a line"):
        locate_rigid_body(line, transform_points(PR_M_T, line))
    line[1] += [6.0, 0, 0]
    assert "nearly on a line" in locate_rigid_body(line, transform_points(PR_M_T, line)).warnings[0]


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r"markers_pr has shape \(4, 3\); expected \(5, 3\)"):
        locate_rigid_body(MARKERS_T, FOUND[:4])
    with pytest.raises(ValueError, match=r"weights has shape \(4,\); expected \(5,\)"):
        locate_rigid_body(MARKERS_T, FOUND, weights=np.ones(4))
    half = FOUND.copy()
    half[1, 2] = np.nan
    with pytest.raises(ValueError, match="expected finite numbers"):
        locate_rigid_body(MARKERS_T, half)


def test_a_tool_whose_triangles_look_alike_is_named():
    square = np.array([[0, 0, 0], [50, 0, 0], [50, 60.0, 0], [0, 60, 0]])
    told = marker_geometry(square)
    assert told.triple_gap_mm == pytest.approx(0, abs=1e-9)
    assert told.segment_gap_mm == pytest.approx(0, abs=1e-9)
    assert len(told.warnings) == 2
    isosceles = np.array([[0, 0, 0], [50, 0, 0], [25, 90.0, 4]])
    told = marker_geometry(isosceles)
    assert sorted(told.triples[1]) == [0, 1, 2]
    assert told.triples[1] != told.triples[0] == (0, 1, 2)


def test_the_gaps_are_those_of_the_sides():
    markers = np.array([[0.0, 0, 0], [52, 0, 0], [9, 71, 0], [60, 60, 25]])
    told = marker_geometry(markers)
    length = {(a, b): np.linalg.norm(markers[a] - markers[b]) for a in range(4) for b in range(a + 1, 4)}
    rising = sorted(length.values())
    assert told.segment_gap_mm == pytest.approx(np.diff(rising).min())
    assert abs(length[told.segments[0]] - length[told.segments[1]]) == pytest.approx(told.segment_gap_mm)

    def sides(t):
        return np.array([length[tuple(sorted((t[k], t[(k + 1) % 3])))] for k in range(3)])

    first, second = told.triples
    assert np.abs(sides(first) - sides(second)).max() == pytest.approx(told.triple_gap_mm)
    assert told.triple_gap_mm >= told.segment_gap_mm
    fit = locate_rigid_body(markers[list(first)], markers[list(second)])
    assert fit.residual_mm.max() < told.triple_gap_mm
    assert marker_geometry(markers, noise_mm=0.01).warnings == ()
    with pytest.raises(ValueError, match="13 markers; expected at most 12"):
        marker_geometry(np.random.default_rng(1).normal(size=(13, 3)))
