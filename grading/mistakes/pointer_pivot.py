"""Named mistakes of the lesson on pivot calibration, with the words that each must earn."""

import numpy as np

from navcourse.grading.mistakes import also_correct, mistake


def solved(rotation, translation):
    """The six unknowns of R tip - pivot = -t."""
    equations = np.concatenate([rotation, np.tile(-np.eye(3), (len(rotation), 1, 1))], axis=2)
    return np.linalg.lstsq(equations.reshape(-1, 6), -translation.ravel(), rcond=None)[0]


@mistake("find_tip", says="the pivot point in pr, not the tip in s")
def returns_the_pivot(pr_M_s):
    return solved(pr_M_s[:, :3, :3], pr_M_s[:, :3, 3])[3:]


@mistake("find_tip", says="the tip with the opposite sign")
def forgets_the_minus(pr_M_s):
    return solved(pr_M_s[:, :3, :3], -pr_M_s[:, :3, 3])[:3]


@mistake("find_tip", says="rotations that were transposed")
def transposes_the_rotations(pr_M_s):
    return solved(np.swapaxes(pr_M_s[:, :3, :3], 1, 2), pr_M_s[:, :3, 3])[:3]


@mistake("find_tip", says="the mean position of the sensor")
def averages_the_sensor(pr_M_s):
    return pr_M_s[:, :3, 3].mean(axis=0)


@mistake("find_tip", says="metres instead of millimetres")
def answers_in_metres(pr_M_s):
    return solved(pr_M_s[:, :3, :3], pr_M_s[:, :3, 3])[:3] / 1000


@mistake("find_tip", says="both the tip and the pivot point")
def returns_all_six_numbers(pr_M_s):
    return solved(pr_M_s[:, :3, :3], pr_M_s[:, :3, 3])


@mistake("find_tip", says="a sphere through the sensor's positions")
def fits_a_sphere(pr_M_s):
    place = pr_M_s[:, :3, 3]
    rows = np.c_[2 * place, np.ones(len(place))]
    centre = np.linalg.lstsq(rows, (place**2).sum(axis=1), rcond=None)[0][:3]
    return np.mean(np.einsum("nji,nj->ni", pr_M_s[:, :3, :3], centre - place), axis=0)


@mistake("tip_positions", says="a tip that was shifted but not rotated")
def forgets_the_rotation(pr_M_s, tip_s):
    return pr_M_s[:, :3, 3] + tip_s


@mistake("tip_positions", says="a rotation the wrong way round")
def rotates_the_wrong_way(pr_M_s, tip_s):
    return np.einsum("nji,j->ni", pr_M_s[:, :3, :3], tip_s) + pr_M_s[:, :3, 3]


@mistake("tip_positions", says="a pose without its translation")
def forgets_the_translation(pr_M_s, tip_s):
    return pr_M_s[:, :3, :3] @ tip_s


@mistake("tip_positions", says="the inverse pose")
def uses_the_inverse_pose(pr_M_s, tip_s):
    return np.einsum("nji,nj->ni", pr_M_s[:, :3, :3], tip_s - pr_M_s[:, :3, 3])


@mistake("tip_positions", says="a shift before the rotation")
def shifts_before_it_rotates(pr_M_s, tip_s):
    return np.einsum("nij,nj->ni", pr_M_s[:, :3, :3], tip_s + pr_M_s[:, :3, 3])


# -- other ways that are right ------------------------------------------------------------------


@also_correct("tip_positions")
def with_a_one_behind_the_tip(pr_M_s, tip_s):
    return (pr_M_s @ np.array([*tip_s, 1.0]))[:, :3]


@also_correct("find_tip")
def by_differences(pr_M_s):
    """The pivot falls out when the mean pose is subtracted; three unknowns are left."""
    rotation, translation = pr_M_s[:, :3, :3], pr_M_s[:, :3, 3]
    turned, moved = rotation - rotation.mean(axis=0), translation - translation.mean(axis=0)
    normal = np.einsum("nji,njk->ik", turned, turned)
    return np.linalg.solve(normal, -np.einsum("nji,nj->i", turned, moved))
