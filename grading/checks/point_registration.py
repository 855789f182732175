"""Hidden checks of the lesson on point registration."""

import numpy as np
from scipy.spatial.transform import Rotation

from navcourse.grading.judge import Case, hidden
from navkit.checking import close, close_pose
from navkit.geometry import inverse, pose_from, transform_points
from navkit.registration import fit_rigid as best_fit


def a_pose(rng):
    """A turn that is not small about an axis that is not an axis, and a long way to go."""
    turn = rng.choice([-1, 1], size=3) * rng.uniform(0.4, 0.9, size=3)
    return pose_from(
        Rotation.from_rotvec(turn), rng.choice([-1, 1], size=3) * rng.uniform(40.0, 200.0, size=3)
    )


def landmarks(rng, n):
    """Points of unequal spread around a centre far from the origin."""
    centre = rng.choice([-1, 1], size=3) * rng.uniform(30.0, 120.0, size=3)
    while True:
        p = rng.normal(size=(n, 3)) * [55.0, 35.0, 20.0]
        if np.linalg.svd(p - p.mean(axis=0))[1][min(n - 2, 2)] > 10.0:  # three points span a plane only
            return p + centre


@hidden("fit_rigid")
def fit_rigid(rng):
    to_M_from = a_pose(rng)
    p = landmarks(rng, 7)
    yield Case(
        "exact landmarks",
        (p, transform_points(to_M_from, p)),
        transform_is(p, transform_points(to_M_from, p)),
    )

    p, to_M_from = landmarks(rng, 9), a_pose(rng)
    q = transform_points(to_M_from, p) + rng.normal(scale=0.6, size=p.shape)
    yield Case("landmarks touched with error", (p, q), transform_is(p, q))

    p, to_M_from = landmarks(rng, 3), a_pose(rng)
    q = transform_points(to_M_from, p)
    yield Case("three landmarks", (p, q), transform_is(p, q))

    # A plate so thin that the errors turn it inside out: the best orthogonal matrix is a mirror.
    p = rng.normal(size=(8, 3)) * [50.0, 30.0, 0.2]
    q = transform_points(a_pose(rng), p * [1, 1, -1] + rng.normal(scale=0.02, size=p.shape))
    p = p + rng.uniform(30.0, 90.0, size=3)
    yield Case("a thin plate, touched with error", (p, q), transform_is(p, q))

    p, to_M_from = landmarks(rng, 6), a_pose(rng)
    q = transform_points(to_M_from, p * rng.uniform(1.02, 1.04))
    yield Case("an image that is a few percent too large", (p, q), transform_is(p, q))


def transform_is(p, q):
    truth = best_fit(p, q).matrix
    rotation, centre_p, centre_q = truth[:3, :3], p.mean(axis=0), q.mean(axis=0)
    u, _, vt = np.linalg.svd(p.T @ q)
    uncentred = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    similar = best_fit(p, q, scale=True).matrix
    u, _, vt = np.linalg.svd((p - centre_p).T @ (q - centre_q))
    d = np.sign(np.linalg.det(vt.T @ u.T))  # -1 on the thin plate only; elsewhere these two are the truth
    strongest, all_axes = vt.T @ np.diag([d, 1, 1]) @ u.T, d * vt.T @ u.T
    likely = {
        "the transform the other way round, from p_to to p_from": best_fit(q, p).matrix,
        "a transposed rotation": pose_from(rotation.T, centre_q - rotation.T @ centre_p),
        "a shift between the centroids that forgets the rotation": pose_from(rotation, centre_q - centre_p),
        "a rotation fitted before the points were centred": pose_from(
            uncentred, centre_q - uncentred @ centre_p
        ),
        "a fit with a scale: a rigid transform has none": similar,
        "a guard that flips the strongest direction, not the weakest": pose_from(
            strongest, centre_q - strongest @ centre_p
        ),
        "a guard that turns the sign of the whole rotation": pose_from(
            all_axes, centre_q - all_axes @ centre_p
        ),
    }

    def verify(answer):
        close_pose(answer, truth, atol_mm=0.05, atol_deg=0.02, likely=likely)

    return verify


@hidden("target_error")
def target_error(rng):
    for title, n in (
        ("some targets", 5),
        ("one single target", 1),
        ("many targets", 200),
        ("a registration that is only shifted", 6),
        ("a perfect registration", 4),
    ):
        truth = a_pose(rng)
        target_pr = landmarks(rng, max(n, 4))[:n]
        target_r = transform_points(truth, target_pr)
        if title == "a registration that is only shifted":
            registered = pose_from(np.eye(3), rng.uniform(2.0, 9.0, size=3)) @ truth
        elif title == "a perfect registration":
            registered = truth
        else:
            small = Rotation.from_rotvec(rng.normal(scale=0.03, size=3))
            registered = pose_from(small, rng.uniform(1.0, 4.0, size=3)) @ truth
        yield Case(title, (registered, target_pr, target_r), error_is(registered, target_pr, target_r))


def error_is(r_M_pr, target_pr, target_r):
    miss = transform_points(r_M_pr, target_pr) - target_r
    truth = np.linalg.norm(miss, axis=1)
    unshifted = target_pr @ r_M_pr[:3, :3].T - target_r
    likely = {
        "the squares of the distances": truth**2,
        "the vectors instead of their lengths": miss,
        "one number instead of one for each target": truth.mean(),
        "the RMS instead of one number for each target": np.sqrt(np.mean(truth**2)),
        "a registration without its shift": np.linalg.norm(unshifted, axis=1),
        "the inverse registration, pr_M_r": np.linalg.norm(
            transform_points(inverse(r_M_pr), target_pr) - target_r, axis=1
        ),
        "a transposed rotation": np.linalg.norm(
            target_pr @ r_M_pr[:3, :3] + r_M_pr[:3, 3] - target_r, axis=1
        ),
    }

    def verify(answer):
        close(answer, truth, atol=1e-3, unit="mm", what="the TRE", likely=likely)

    return verify
