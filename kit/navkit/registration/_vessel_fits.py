"""How vessels are laid on vessels: CustusX's loop, the robust fit from many starts, and thin plates."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import kabsch, orthonormalised, pose_from, transform_points
from navkit.registration._closest import Array, search
from navkit.registration._lines import Curves, direction_weights, settle
from navkit.registration._warp import ThinPlate, fit_thin_plate

AUTO_RATIOS = (0.40, 0.50, 0.60, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 1.00)
"""What CustusX tries."""
COARSE = 150
"""So many points, up to twice, are tried from each start."""
GOOD = 0.5
"""With this mean weight, no other start is tried."""
SAME_MM = 2.0
"""Ends are the same if they bring the points this near to each other, RMS."""
HALF = 0.25
"""A pair of this weight, at least, counts as kept: no farther apart than the scale."""
STIFFNESS_MM = (400.0, 200.0, 120.0, 80.0, 50.0, 35.0, 25.0)
"""Of the thin plates on the way; then that of the caller."""
WARP_POINTS = 150


@dataclass(frozen=True)
class Fit:
    """How one fit ended: pose (4, 4) of the moved points, then their distances and which were kept."""

    pose: Array
    distance: Array
    kept: NDArray[np.bool_]
    iterations: int
    converged: bool
    lts_ratio: float | None = None
    starts: int = 1
    agreeing: int = 1
    score: float = 1.0


def trimmed_fit(points: Array, goal: Curves, ratio: float, iterations: int, tolerance: float) -> Fit:
    """CustusX's loop: pair all, sort, keep the nearest, fit, until the mean over all hardly changes."""
    pose, guess, last, spent = np.eye(4), np.full(len(points), -1), np.inf, 0
    number = max(int(ratio * len(points)), 3)
    while True:
        moved = transform_points(pose, points)
        closest, square = search(goal.surface.tree, moved, guess, None)
        distance = np.sqrt(square)
        kept = np.zeros(len(points), dtype=bool)
        kept[np.argsort(distance, kind="stable")[:number]] = True
        converged = abs(last - distance.mean()) < tolerance
        if converged or spent == iterations:
            return Fit(orthonormalised(pose), distance, kept, spent, bool(converged), ratio)
        last, spent = distance.mean(), spent + 1
        pose = kabsch(points[kept], closest[kept], np.ones(number))[0]


def auto_trimmed(points: Array, goal: Curves, iterations: int, tolerance: float) -> list[Fit]:
    """A fit for each of CustusX's ratios, the one with the least mean over all points first."""
    fits = [trimmed_fit(points, goal, ratio, iterations, tolerance) for ratio in AUTO_RATIOS]
    return sorted(fits, key=lambda fit: float(fit.distance.mean()))


def robust_fit(
    mine: Curves,
    goal: Curves,
    *,
    capture_mm: float,
    capture_deg: float,
    scale_mm: float,
    iterations: int,
    tolerance_mm: float,
) -> Fit:
    """From wide to narrow, from 48 and then 176 more starts until one is good; then all points, both ways."""
    stride = max(len(mine.points) // COARSE, 1)
    few, few_along = mine.points[::stride], mine.along[::stride]
    wide = max(capture_mm, 4 * scale_mm)
    narrow = np.geomspace(wide, scale_mm, max(int(np.ceil(3 * np.log2(wide / scale_mm))), 2))
    narrow = narrow[:: max(len(narrow) // 8, 1)]
    about = mine.points.mean(axis=0)
    starts = spread_starts(about, 0.6 * capture_mm, 0.6 * capture_deg)
    poses, score, spent = np.empty((0, 4, 4)), np.empty(0), 0
    for some in np.split(starts, [1, 49]):
        ends = settle(few, few_along, goal, some, scales_mm=narrow, rounds=4, tolerance_mm=0.01)
        spent += ends.iterations
        poses, score = np.concatenate([poses, ends.poses]), np.concatenate([score, ends.score])
        if score.max() >= GOOD:
            break
    best = int(score.argmax())
    away = (poses - poses[best])[:, :3, :3] @ few.T + (poses - poses[best])[:, :3, 3:]
    agreeing = int((np.sqrt((away**2).sum(axis=1).mean(axis=1)) < SAME_MM).sum())

    box = transform_points(poses[best], mine.points)
    inside = ((goal.points > box.min(axis=0) - 5) & (goal.points < box.max(axis=0) + 5)).all(axis=1)
    back = (mine, goal.points[inside], goal.along[inside]) if inside.any() else None
    end = settle(
        mine.points,
        mine.along,
        goal,
        poses[best : best + 1],
        scales_mm=[2 * scale_mm, scale_mm],
        rounds=max(iterations // 2, 1),
        tolerance_mm=tolerance_mm,
        back=back,
    )
    distance, weight = _final(mine, goal, end.poses[0], scale_mm)
    return Fit(
        end.poses[0],
        distance,
        weight >= HALF,
        spent + end.iterations,
        end.step_mm < tolerance_mm,
        None,
        len(poses),
        agreeing,
        float(end.score[0]),
    )


def spread_starts(about: Array, shift_mm: float, angle_deg: float) -> Array:
    """Shifts along and turns about the axes, alone and together (49), then with the diagonals (225, 4, 4).

    The first is none.
    """
    axes = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    ways = np.concatenate([axes, np.array(list(product((-1, 1), repeat=3))) / np.sqrt(3)])
    turns = Rotation.from_rotvec(np.radians(angle_deg) * ways).as_matrix()
    turned = pose_from(turns, about - turns @ about)
    every = pose_from(np.eye(3), shift_mm * ways)[None] @ turned[:, None]
    few = np.zeros((len(ways), len(ways)), dtype=bool)
    few[: len(axes), : len(axes)] = True
    out: Array = np.concatenate([every[few], every[~few]])
    return out


def _final(mine: Curves, goal: Curves, pose: Array, scale_mm: float) -> tuple[Array, Array]:
    moved, guess = transform_points(pose, mine.points), np.full(len(mine.points), -1)
    closest, square = search(goal.surface.tree, moved, guess, None)
    to = goal.along_face[goal.surface.tree.order[guess]]
    cosine = ((mine.along @ pose[:3, :3].T) * to).sum(axis=1)
    weight = direction_weights(closest - moved, to, cosine, scale_mm, False, goal.spacing_mm)
    return np.sqrt(square), weight


def nearest_pairs(points: Array, goal: Curves, fit: Fit) -> tuple[Array, Array]:
    """The kept points and their partners."""
    here = points[fit.kept]
    there, _ = search(goal.surface.tree, transform_points(fit.pose, here), np.full(len(here), -1), None)
    return here, there


def warped_pairs(
    mine: Curves, goal: Curves, fit: Fit, stiffness_mm: float, scale_mm: float
) -> tuple[Array, Array]:
    """Points that move and their partners, by thin plates that grow softer from fit to fit."""
    stride = max(len(mine.points) // WARP_POINTS, 1)
    x, along = mine.points[::stride], mine.along[::stride]
    moved, ahead = transform_points(fit.pose, x), along @ fit.pose[:3, :3].T
    stiffness = [s for s in STIFFNESS_MM if s > stiffness_mm] + [stiffness_mm] * 3
    scales = np.geomspace(4 * scale_mm, scale_mm, len(stiffness))
    for stiff, scale in zip(stiffness, scales, strict=True):
        guess = np.full(len(x), -1)
        closest, _ = search(goal.surface.tree, moved, guess, None)
        to = goal.along_face[goal.surface.tree.order[guess]]
        weight = direction_weights(
            closest - moved, to, (ahead * to).sum(axis=1), scale, False, goal.spacing_mm
        )
        keep = weight >= HALF
        warp: ThinPlate = fit_thin_plate(x[keep], closest[keep], stiffness_mm=stiff)
        moved, ahead = warp(x), (warp.jacobian(x) @ along[..., None])[..., 0]
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    return x[keep], closest[keep]
