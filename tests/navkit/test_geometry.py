"""Rigid transforms: algebra, averages, interpolation, and the graph of spaces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from navkit.geometry import (
    RAS_M_LPS,
    SpaceGraph,
    check_points,
    check_poses,
    compose,
    interpolate_poses,
    inverse,
    mean_pose,
    orthonormalised,
    pose_error,
    pose_from,
    transform_points,
)

seeds = st.integers(min_value=0, max_value=2**32 - 1)
many = settings(max_examples=40, deadline=None, derandomize=True)


def random_poses(seed, n):
    rng = np.random.default_rng(seed)
    turns = Rotation.from_quat(rng.normal(size=(n, 4)))
    return pose_from(turns, rng.normal(size=(n, 3)) * [50.0, 200.0, 700.0])


def about_y(angle_deg, position):
    return pose_from(Rotation.from_euler("y", angle_deg, degrees=True), position)


# -- algebra ----------------------------------------------------------------------------------------


@many
@given(seeds)
def test_a_transform_and_its_inverse_cancel(seed):
    m = random_poses(seed, 3)
    np.testing.assert_allclose(m @ inverse(m), np.tile(np.eye(4), (3, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(inverse(inverse(m)), m, atol=1e-9)


@many
@given(seeds)
def test_the_inverse_of_an_affine_transform_takes_points_back(seed):
    rng = np.random.default_rng(seed)
    m = random_poses(seed, 1)[0] @ np.diag([0.12, 0.31, 2.5, 1.0])
    m[0, 1] += 0.05  # shear
    p = rng.normal(size=(5, 3)) * [10, 100, 1000]
    np.testing.assert_allclose(transform_points(inverse(m), transform_points(m, p)), p, atol=1e-7)
    np.testing.assert_allclose(inverse(m), np.linalg.inv(m), atol=1e-7)


@many
@given(seeds)
def test_a_chain_applied_at_once_is_the_chain_applied_in_steps(seed):
    r_M_pr, pr_M_s, s_M_t = random_poses(seed, 3)
    p_t = np.random.default_rng(seed).normal(size=(7, 3)) * 100
    p_pr = transform_points(pr_M_s, transform_points(s_M_t, p_t))
    at_once = transform_points(compose(r_M_pr, pr_M_s, s_M_t), p_t)
    np.testing.assert_allclose(at_once, transform_points(r_M_pr, p_pr), atol=1e-8)


def test_compose_of_nothing_is_the_identity_and_streams_broadcast():
    np.testing.assert_array_equal(compose(), np.eye(4))
    stream, one = random_poses(5, 6), random_poses(6, 1)[0]
    np.testing.assert_allclose(compose(one, stream, one)[4], one @ stream[4] @ one)


@many
@given(seeds)
def test_distances_survive_a_rigid_transform(seed):
    p = np.random.default_rng(seed).normal(size=(6, 3)) * 100
    q = transform_points(random_poses(seed, 1)[0], p)
    np.testing.assert_allclose(
        np.linalg.norm(q[:, None] - q, axis=-1), np.linalg.norm(p[:, None] - p, axis=-1), atol=1e-9
    )


@pytest.mark.parametrize("transforms", [(), (4,), (2, 4)])
@pytest.mark.parametrize("points", [(), (5,), (2, 5), (3, 2, 5)])
def test_transform_points_takes_every_transform_to_every_point(rng, transforms, points):
    n = int(np.prod(transforms))
    m = random_poses(1, n).reshape(*transforms, 4, 4)
    p = rng.normal(size=(*points, 3)) * [1, 10, 100]
    q = transform_points(m, p)
    assert q.shape == (*transforms, *points, 3)
    for i in np.ndindex(transforms):
        for j in np.ndindex(points):
            np.testing.assert_allclose(q[i + j], (m[i] @ [*p[j], 1])[:3], atol=1e-9)


def test_points_in_columns_are_refused(rng):
    with pytest.raises(ValueError, match="Are the points in columns"):
        transform_points(np.eye(4), rng.normal(size=(3, 7)))
    with pytest.raises(ValueError, match="Are the points in columns"):
        check_points(rng.normal(size=(3, 7)), "p")


def test_pose_from_broadcasts_rotations_and_positions():
    turns = Rotation.from_euler("z", [[10], [20], [30]], degrees=True)
    assert pose_from(turns, [1, 2, 3]).shape == (3, 4, 4)
    assert pose_from(np.eye(3), np.zeros((5, 3))).shape == (5, 4, 4)
    np.testing.assert_array_equal(pose_from(turns, [1, 2, 3])[2, :3, 3], [1, 2, 3])
    np.testing.assert_array_equal(pose_from(turns, [1, 2, 3])[:, 3], [[0, 0, 0, 1]] * 3)


def test_ras_from_lps_turns_x_and_y_and_is_its_own_inverse():
    np.testing.assert_array_equal(transform_points(RAS_M_LPS, [1.0, 2.0, 3.0]), [-1.0, -2.0, 3.0])
    np.testing.assert_array_equal(RAS_M_LPS @ RAS_M_LPS, np.eye(4))
    assert np.linalg.det(RAS_M_LPS[:3, :3]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="read-only"):
        RAS_M_LPS[0, 0] = 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda m: m[:, :3], r"expected \(n, 4, 4\)"),
        (lambda m: m[0], r"expected \(n, 4, 4\)"),
        (lambda m: m[:0], "0 poses; expected at least 1"),
        (lambda m: np.swapaxes(m, 1, 2), r"poses\[0\] ends in the row .* Is the matrix transposed"),
        (lambda m: m @ np.diag([1, 1.01, 1, 1]), r"poses\[0\] is not rigid: .* determinant 1.01"),
        (lambda m: m @ np.diag([1, 1, -1, 1]), "determinant -1"),
        (lambda m: np.where(np.arange(3)[:, None, None] == 2, np.nan, m), r"poses\[2\] has NaN"),
    ],
)
def test_what_is_not_a_rigid_transform_is_refused(spoil, says):
    with pytest.raises(ValueError, match=says):
        check_poses(spoil(random_poses(7, 3)), "poses")


def test_six_printed_digits_are_rigid_enough_and_can_be_made_exact():
    exact = random_poses(8, 20)
    rounded = check_poses(exact.round(6), "poses")
    mended = orthonormalised(rounded)
    r = mended[:, :3, :3]
    np.testing.assert_allclose(np.swapaxes(r, 1, 2) @ r, np.tile(np.eye(3), (20, 1, 1)), atol=1e-14)
    assert (np.linalg.det(r) > 0).all()
    np.testing.assert_allclose(mended, exact, atol=3e-6)
    np.testing.assert_array_equal(mended[:, :3, 3], rounded[:, :3, 3])
    mirrored = orthonormalised(exact @ np.diag([1, 1, -1, 1]))
    np.testing.assert_allclose(np.linalg.det(mirrored[:, :3, :3]), 1.0)


# -- pose_error ---------------------------------------------------------------------------------------


@many
@given(seeds, st.floats(min_value=0, max_value=np.pi))
def test_pose_error_is_the_distance_and_the_angle(seed, angle):
    a = random_poses(seed, 1)[0]
    rng = np.random.default_rng(seed)
    axis, shift = rng.normal(size=3), rng.normal(size=3) * 10
    b = a @ pose_from(Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)), shift)
    error = pose_error(a, b)
    assert float(error.translation_mm) == pytest.approx(np.linalg.norm(shift), abs=1e-9)
    assert float(error.rotation_rad) == pytest.approx(angle, abs=1e-7)
    back = pose_error(b, a)
    assert float(back.rotation_rad) == pytest.approx(angle, abs=1e-7)
    assert float(back.translation_mm) == pytest.approx(float(error.translation_mm))


def test_pose_error_of_a_pose_with_itself_is_zero_and_streams_broadcast():
    stream = random_poses(11, 6)
    error = pose_error(stream, stream[2])
    assert error.translation_mm.shape == error.rotation_rad.shape == (6,)
    assert error.translation_mm[2] == 0
    assert error.rotation_rad[2] == pytest.approx(0, abs=1e-7)
    assert (np.delete(error.rotation_rad, 2) > 0.1).all()


# -- mean_pose ----------------------------------------------------------------------------------------


def test_the_mean_does_not_depend_on_the_sign_of_a_quaternion(rng):
    centre = Rotation.from_rotvec([np.pi, 0.0, 0.0])  # here the sign of a canonical quaternion flips
    turns = centre * Rotation.from_rotvec(rng.normal(0, 0.2, size=(9, 3)))
    quaternions = turns.as_quat(canonical=True)
    naive = Rotation.from_quat(quaternions.mean(axis=0))
    assert (naive.inv() * centre).magnitude() > 0.5
    mean = mean_pose(pose_from(turns, rng.normal(size=(9, 3)) * 100))
    assert pose_error(mean, pose_from(centre, [0, 0, 0])).rotation_rad < 0.2


def test_the_mean_is_markleys_eigenvector_and_the_chordal_mean(rng):
    turns = Rotation.from_rotvec(rng.normal(0, 0.8, size=(12, 3)))
    w = rng.uniform(0.2, 3.0, size=12)
    position = rng.normal(size=(12, 3)) * 100
    mean = mean_pose(pose_from(turns, position), weights=w)
    q = turns.as_quat()
    eigenvector = np.linalg.eigh((w[:, None] * q).T @ q)[1][:, -1]
    np.testing.assert_allclose(mean[:3, :3], Rotation.from_quat(eigenvector).as_matrix(), atol=1e-9)
    summed = pose_from(np.einsum("n,nij->ij", w, turns.as_matrix()), [0, 0, 0])
    np.testing.assert_allclose(mean[:3, :3], orthonormalised(summed)[:3, :3], atol=1e-9)
    np.testing.assert_allclose(mean[:3, 3], (w[:, None] * position).sum(axis=0) / w.sum())


def test_the_mean_moves_with_the_poses():
    stream = random_poses(13, 1)[0] @ pose_from(
        Rotation.from_rotvec(np.random.default_rng(13).normal(0, 0.3, size=(8, 3))), [10.0, 0, -5]
    )
    a, b = random_poses(14, 2)
    np.testing.assert_allclose(
        mean_pose(a @ stream @ b)[:3, :3], (a @ mean_pose(stream) @ b)[:3, :3], atol=1e-9
    )


# -- interpolate_poses ----------------------------------------------------------------------------------


def test_halfway_between_two_degrees_and_none_is_one_degree_as_in_custusx():
    m = np.stack([about_y(2.0, [0, 0, 0]), about_y(0.0, [10, 10, 10])])
    middle, valid = interpolate_poses([0.0, 1.0], m, 0.5, max_gap_s=1.0)
    assert valid.tolist() == [True]
    np.testing.assert_allclose(middle[0], about_y(1.0, [5, 5, 5]), atol=1e-4)


@many
@given(seeds)
def test_interpolation_is_scipys_slerp_and_linear_in_between(seed):
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.uniform(0.01, 0.2, size=9))
    m = random_poses(seed, 9)
    query = np.sort(rng.uniform(t[0], t[-1], size=30))
    out, valid = interpolate_poses(t, m, query, max_gap_s=1.0)
    assert valid.all()
    slerp = Slerp(t, Rotation.from_matrix(m[:, :3, :3]))(query)
    np.testing.assert_allclose(out[:, :3, :3], slerp.as_matrix(), atol=1e-8)
    for k in range(3):
        np.testing.assert_allclose(out[:, k, 3], np.interp(query, t, m[:, k, 3]), atol=1e-9)
    check_poses(out, "out")


def test_the_samples_themselves_come_back_even_next_to_a_gap():
    t, m = np.array([0.0, 0.1, 5.0, 5.1]), random_poses(21, 4)
    out, valid = interpolate_poses(t, m, t, max_gap_s=0.25)
    assert valid.all()
    np.testing.assert_allclose(out, m, atol=1e-12)


def test_the_short_way_round_is_taken_whatever_the_sign_of_the_quaternions():
    start = Rotation.from_euler("z", 175, degrees=True)
    end = Rotation.from_quat(-Rotation.from_euler("z", -175, degrees=True).as_quat())
    m = pose_from(Rotation.concatenate([start, end]), [0, 0, 0])
    out, _ = interpolate_poses([0.0, 1.0], m, [0.25, 0.5, 0.75], max_gap_s=1.0)
    expected = pose_from(Rotation.from_euler("z", [[177.5], [180.0], [182.5]], degrees=True), [0, 0, 0])
    np.testing.assert_allclose(out, expected, atol=1e-9)


def test_nothing_is_extrapolated():
    t, m = np.array([1.0, 1.1, 1.2]), random_poses(22, 3)
    query = np.array([0.999999, 1.0, 1.2, 1.200001, -5.0, np.nan])
    out, valid = interpolate_poses(t, m, query, max_gap_s=10.0)
    assert valid.tolist() == [False, True, True, False, False, False]
    assert np.isnan(out[~valid]).all()
    assert np.isfinite(out[valid]).all()


def test_nothing_is_guessed_across_a_gap():
    t, m = np.array([0.0, 0.1, 0.5, 0.6]), random_poses(23, 4)
    query = np.array([0.05, 0.2, 0.3, 0.45, 0.55])
    _, valid = interpolate_poses(t, m, query, max_gap_s=0.25)
    assert valid.tolist() == [
        True,
        False,
        True,
        False,
        True,
    ]  # 0.2 and 0.45 are 0.3 and 0.35 from a neighbour
    _, valid = interpolate_poses(t, m, query, max_gap_s=0.15)
    assert valid.tolist() == [True, False, False, False, True]


def test_extrapolation_as_in_custusx_must_be_asked_for_and_goes_straight_on():
    m = np.stack([about_y(0.0, [0, 0, 0]), about_y(2.0, [10, 20, 30])])
    query = np.array([1.1, -0.1, 1.3])
    out, valid = interpolate_poses([0.0, 1.0], m, query, max_gap_s=1.2, extrapolate=True)
    assert valid.tolist() == [True, True, False]
    np.testing.assert_allclose(out[0], about_y(2.2, [11, 22, 33]), atol=1e-9)
    np.testing.assert_allclose(out[1], about_y(-0.2, [-1, -2, -3]), atol=1e-9)
    assert np.isnan(out[2]).all()


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ([0.0, 0.1], "one time for each pose"),
        ([0.0, 0.2, 0.2], r"time_s\[2\] = 0.2 does not come after 0.2"),
        ([0.0, 0.2, 0.1], r"time_s\[2\] = 0.1 does not come after 0.2"),
        ([0.0, np.nan, 0.1], r"time_s\[1\] = nan does not come after 0.0"),
    ],
)
def test_times_that_do_not_increase_are_refused(time, says):
    with pytest.raises(ValueError, match=says):
        interpolate_poses(time, random_poses(24, 3), [0.05], max_gap_s=1.0)


# -- SpaceGraph -----------------------------------------------------------------------------------------


def graph_of_four():
    r_M_pr, pr_M_s, s_M_t = random_poses(31, 3)
    spaces = SpaceGraph().set("r", "pr", r_M_pr).set("pr", "s", pr_M_s).set("s", "t", s_M_t)
    return spaces, r_M_pr @ pr_M_s @ s_M_t


def test_the_graph_finds_the_chain_in_both_directions():
    spaces, r_M_t = graph_of_four()
    np.testing.assert_allclose(spaces.get("r", "t"), r_M_t, atol=1e-9)
    np.testing.assert_allclose(spaces.get("t", "r"), inverse(r_M_t), atol=1e-9)
    np.testing.assert_array_equal(spaces.get("s", "s"), np.eye(4))


def test_the_graph_refuses_a_loop_and_says_which():
    spaces, r_M_t = graph_of_four()
    with pytest.raises(ValueError, match="r_M_t would close a loop: r already reaches t by r - pr - s - t"):
        spaces.set("r", "t", r_M_t)
    with pytest.raises(ValueError, match="itself"):
        spaces.set("r", "r", np.eye(4))


def test_a_link_may_be_replaced_from_either_side():
    spaces, _ = graph_of_four()
    new = random_poses(32, 1)[0]
    np.testing.assert_allclose(spaces.set("t", "s", new).get("s", "t"), inverse(new), atol=1e-9)


def test_the_graph_names_what_is_missing():
    spaces, _ = graph_of_four()
    spaces.set("u", "v", np.eye(4))
    with pytest.raises(KeyError, match="no chain from v to t: t reaches pr, r, s, v reaches u") as caught:
        spaces.get("t", "v")
    assert "missing" in str(caught.value)
    with pytest.raises(KeyError, match="d reaches nothing"):
        spaces.get("r", "d")


def test_a_space_that_was_never_set_is_unknown_even_to_itself():
    graph = SpaceGraph().set("r", "pr", np.eye(4))
    assert np.array_equal(graph.get("r", "r"), np.eye(4))
    with pytest.raises(KeyError, match="no chain from x to x"):
        graph.get("x", "x")


def test_the_graph_keeps_its_own_copy():
    m = random_poses(33, 1)[0]
    kept = m.copy()
    spaces = SpaceGraph().set("r", "pr", m)
    m[:3, 3] = 0
    spaces.get("r", "pr")[:3, 3] = 0
    np.testing.assert_allclose(spaces.get("r", "pr"), kept)


def test_a_matrix_of_another_shape_or_without_inverse_changes_nothing():
    spaces, r_M_t = graph_of_four()
    with pytest.raises(ValueError, match=r"s_M_t has shape \(3, 4\)"):
        spaces.set("s", "t", np.eye(4)[:3])
    with pytest.raises(np.linalg.LinAlgError):
        spaces.set("s", "t", np.diag([1.0, 0, 1, 1]))
    np.testing.assert_allclose(spaces.get("r", "t"), r_M_t, atol=1e-9)
