"""Named mistakes of the lesson on point registration, with the words that each must earn."""

import math

import numpy as np

from navcourse.grading.mistakes import also_correct, mistake


def rotation_of(a, b, guarded=True):
    """The rotation that best turns centred points `a` onto `b`, (n, 3) each."""
    u, _, vt = np.linalg.svd(a.T @ b)
    d = np.sign(np.linalg.det(vt.T @ u.T)) if guarded else 1.0
    return vt.T @ np.diag([1.0, 1.0, d]) @ u.T


def placed(rotation, shift):
    to_M_from = np.eye(4)
    to_M_from[:3, :3] = rotation
    to_M_from[:3, 3] = shift
    return to_M_from


@mistake("fit_rigid", says="the transform the other way round")
def maps_the_other_way(p_from, p_to):
    rotation = rotation_of(p_to - p_to.mean(axis=0), p_from - p_from.mean(axis=0))
    return placed(rotation, p_from.mean(axis=0) - rotation @ p_to.mean(axis=0))


@mistake("fit_rigid", says="a transposed rotation")
def transposes_the_rotation(p_from, p_to):
    rotation = rotation_of(p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0)).T
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@mistake("fit_rigid", says="a mirror image")
def forgets_the_guard(p_from, p_to):
    rotation = rotation_of(p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0), guarded=False)
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@mistake("fit_rigid", says="a guard that flips the strongest direction")
def guards_the_strongest(p_from, p_to):
    u, _, vt = np.linalg.svd((p_from - p_from.mean(axis=0)).T @ (p_to - p_to.mean(axis=0)))
    vt[0] *= np.sign(np.linalg.det(vt.T @ u.T))
    rotation = vt.T @ u.T
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@mistake("fit_rigid", says="a guard that turns the sign of the whole rotation")
def guards_by_the_sign(p_from, p_to):
    mirror = rotation_of(p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0), guarded=False)
    rotation = mirror * np.sign(np.linalg.det(mirror))
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@mistake("fit_rigid", says="a shift between the centroids that forgets the rotation")
def shifts_without_the_rotation(p_from, p_to):
    rotation = rotation_of(p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0))
    return placed(rotation, p_to.mean(axis=0) - p_from.mean(axis=0))


@mistake("fit_rigid", says="a rotation fitted before the points were centred")
def forgets_to_centre(p_from, p_to):
    rotation = rotation_of(p_from, p_to)
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@mistake("fit_rigid", says="a fit with a scale")
def fits_a_scale(p_from, p_to):
    a, b = p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0)
    rotation = rotation_of(a, b)
    scale = np.sum((a @ rotation.T) * b) / np.sum(a**2)
    return placed(scale * rotation, p_to.mean(axis=0) - scale * rotation @ p_from.mean(axis=0))


@mistake("target_error", says="the inverse registration")
def uses_the_inverse(r_M_pr, target_pr, target_r):
    pr_M_r = np.linalg.inv(r_M_pr)
    return np.linalg.norm(target_pr @ pr_M_r[:3, :3].T + pr_M_r[:3, 3] - target_r, axis=1)


@mistake("target_error", says="a registration without its shift")
def forgets_the_shift(r_M_pr, target_pr, target_r):
    return np.linalg.norm(target_pr @ r_M_pr[:3, :3].T - target_r, axis=1)


@mistake("target_error", says="a transposed rotation")
def turns_the_wrong_way(r_M_pr, target_pr, target_r):
    return np.linalg.norm(target_pr @ r_M_pr[:3, :3] + r_M_pr[:3, 3] - target_r, axis=1)


@mistake("target_error", says="one number instead of one for each target")
def returns_the_mean(r_M_pr, target_pr, target_r):
    return np.mean(np.linalg.norm(target_pr @ r_M_pr[:3, :3].T + r_M_pr[:3, 3] - target_r, axis=1))


@mistake("target_error", says="the RMS instead of one number for each target")
def returns_the_rms(r_M_pr, target_pr, target_r):
    miss = target_pr @ r_M_pr[:3, :3].T + r_M_pr[:3, 3] - target_r
    return np.sqrt(np.mean(np.sum(miss**2, axis=1)))


@mistake("target_error", says="the vectors instead of their lengths")
def returns_the_vectors(r_M_pr, target_pr, target_r):
    return target_pr @ r_M_pr[:3, :3].T + r_M_pr[:3, 3] - target_r


@mistake("target_error", says="the squares of the distances")
def forgets_the_root(r_M_pr, target_pr, target_r):
    miss = target_pr @ r_M_pr[:3, :3].T + r_M_pr[:3, 3] - target_r
    return np.sum(miss**2, axis=1)


# -- other ways that are right ------------------------------------------------------------------


@also_correct("fit_rigid")
def by_a_quaternion(p_from, p_to):
    """Horn: the quaternion (w first) with the largest eigenvalue; a quaternion is never a mirror."""
    a, b = p_from - p_from.mean(axis=0), p_to - p_to.mean(axis=0)
    s = a.T @ b
    turn = np.array([s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]])
    n = np.zeros((4, 4))
    n[0, 0], n[0, 1:], n[1:, 0] = np.trace(s), turn, turn
    n[1:, 1:] = s + s.T - np.trace(s) * np.eye(3)
    w, x, y, z = np.linalg.eigh(n)[1][:, -1]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    return placed(rotation, p_to.mean(axis=0) - rotation @ p_from.mean(axis=0))


@also_correct("target_error")
def target_by_target(r_M_pr, target_pr, target_r):
    """One target after the other, with a 1 behind its coordinates."""
    return [math.dist((r_M_pr @ [*pr, 1.0])[:3], r) for pr, r in zip(target_pr, target_r, strict=True)]
