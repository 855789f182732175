"""Hidden checks of the lesson on pivot calibration."""

import numpy as np
from scipy.spatial.transform import Rotation

from navcourse.grading.judge import Case, hidden
from navkit.checking import close
from navkit.geometry import inverse, pose_from, transform_points


def a_tool(rng):
    """A tip far from the sensor, off every axis, and a dimple far from the origin."""
    tip_s = rng.choice([-1, 1], size=3) * rng.uniform([8.0, 15.0, 90.0], [20.0, 30.0, 180.0])
    pivot_pr = rng.choice([-1, 1], size=3) * rng.uniform(40.0, 160.0, size=3)
    return tip_s, pivot_pr


def pivoting(rng, tip_s, pivot_pr, *, cone_deg, n, noise_mm=0.0, noise_deg=0.0, twist_deg=20.0):
    """Poses pr_M_s of a tool that swivels and twists with its tip in the dimple."""
    axis = tip_s / np.linalg.norm(tip_s)
    side = np.cross(axis, rng.normal(size=3))
    side /= np.linalg.norm(side)
    around = rng.uniform(0, 2 * np.pi, size=n)
    tilt = np.radians(cone_deg) * np.sqrt(rng.uniform(0.1, 1.0, size=n))
    across = np.outer(np.cos(around), side) + np.outer(np.sin(around), np.cross(axis, side))
    swing = Rotation.from_rotvec(tilt[:, None] * across)
    twist = Rotation.from_rotvec(np.outer(np.radians(rng.uniform(-twist_deg, twist_deg, size=n)), axis))
    turn = Rotation.random(random_state=rng) * swing * twist
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=noise_deg, size=(n, 3))))
    position = pivot_pr - turn.apply(tip_s) + rng.normal(scale=noise_mm, size=(n, 3))
    return pose_from(shake * turn, position)


@hidden("tip_positions")
def tip_positions(rng):
    tip_s, pivot_pr = a_tool(rng)
    tilted = Rotation.from_rotvec(rng.choice([-1, 1], size=(6, 3)) * rng.uniform(0.3, 0.9, size=(6, 3)))
    places = rng.choice([-1, 1], size=(6, 3)) * rng.uniform(30.0, 150.0, size=(6, 3))
    cases = {
        "a tool that only moved": pose_from(np.tile(np.eye(3), (6, 1, 1)), places),
        "a tool that only turned": pose_from(tilted, np.zeros((6, 3))),
        "a tool that turned and moved": pose_from(tilted, places),
        "one single pose": pose_from(tilted, places)[2:3],
        "a pivot: every position is the dimple": pivoting(rng, tip_s, pivot_pr, cone_deg=35, n=50),
    }
    for title, poses in cases.items():
        yield Case(title, (poses, tip_s), positions_are(poses, tip_s))


def positions_are(poses, tip_s):
    rotation, translation = poses[:, :3, :3], poses[:, :3, 3]
    truth = transform_points(poses, tip_s)
    likely = {
        "a tip that was shifted but not rotated": translation + tip_s,
        "a rotation the wrong way round (transposed)": np.swapaxes(rotation, 1, 2) @ tip_s + translation,
        "a pose without its translation": rotation @ tip_s,
        "the inverse pose, s_M_pr": transform_points(inverse(poses), tip_s),
        "a shift before the rotation": np.einsum("nij,nj->ni", rotation, translation + tip_s),
        "one mean position instead of one for each pose": truth.mean(axis=0),
    }

    def verify(answer):
        close(answer, truth, atol=1e-3, unit="mm", what="the tip's positions", likely=likely)

    return verify


@hidden("find_tip")
def find_tip(rng):
    for title, settings, atol in (
        ("many poses without noise", {"cone_deg": 40, "n": 80}, 1e-3),
        ("five poses without noise", {"cone_deg": 50, "n": 5, "twist_deg": 60}, 1e-3),
        ("poses with a tracker's noise", {"cone_deg": 35, "n": 150, "noise_mm": 0.15, "noise_deg": 0.1}, 0.5),
        # The sensor's cap is so flat that a sphere does not fit it; the angles do.
        ("a narrow swivel", {"cone_deg": 7, "n": 500, "noise_mm": 0.25, "noise_deg": 0.02}, 2.0),
        ("a long tool", {"cone_deg": 30, "n": 60}, 1e-3),
    ):
        tip_s, pivot_pr = a_tool(rng)
        tip_s = tip_s * 2 if title == "a long tool" else tip_s
        poses = pivoting(rng, tip_s, pivot_pr, **settings)
        yield Case(title, (poses,), tip_is(poses, tip_s, pivot_pr, atol))


def tip_is(poses, tip_s, pivot_pr, atol):
    translation = poses[:, :3, 3]
    likely = {
        "the pivot point in pr, not the tip in s": pivot_pr,
        "the tip with the opposite sign": -tip_s,
        "metres instead of millimetres": tip_s / 1000,
        "the mean position of the sensor": translation.mean(axis=0),
        "both the tip and the pivot point: return the first three numbers": [*tip_s, *pivot_pr],
        "rotations that were transposed": algebraic(np.swapaxes(poses[:, :3, :3], 1, 2), translation),
    }
    if atol > 1e-2:  # without noise a sphere finds the same tip
        likely["a sphere through the sensor's positions: it uses no angles"] = sphere(poses)

    def verify(answer):
        close(answer, tip_s, atol=atol, unit="mm", what="the tip", likely=likely)

    return verify


def algebraic(rotation, translation):
    """The one-step solution, here for rotations that are wrong on purpose."""
    equations = np.concatenate([rotation, np.tile(-np.eye(3), (len(rotation), 1, 1))], axis=2)
    return np.linalg.lstsq(equations.reshape(-1, 6), -translation.ravel(), rcond=None)[0][:3]


def sphere(poses):
    """The tip by a least-squares sphere through the sensor's positions."""
    place = poses[:, :3, 3]
    rows = np.c_[2 * place, np.ones(len(place))]
    centre = np.linalg.lstsq(rows, (place**2).sum(axis=1), rcond=None)[0][:3]
    return transform_points(inverse(poses), centre).mean(axis=0)
