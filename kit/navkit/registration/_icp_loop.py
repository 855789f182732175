"""The loop of `icp`, and what it tells of how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import kabsch, orthonormalised, pose_from
from navkit.registration._closest import Array, Cloud, Indices, Surface, Tree, search
from navkit.registration._observability import Observability

Method = Literal["point", "plane"]

RIDGE = 1e-9
"""Of the trace of the normal matrix: with it, what the surface leaves free stays where it is."""
LEAST = {"point": 3, "plane": 6}
"""So many pairs at least."""


@dataclass(frozen=True)
class End:
    """Where iterations ended: the pose of the centred points, and its pairs in their order."""

    pose: Array
    moved: Array
    closest: Array
    square: Array
    which: Indices
    keep: NDArray[np.bool_]
    history: list[float]
    step_mm: float

    @property
    def iterations(self) -> int:
        return len(self.history) - 1


def iterate(
    x: Array,
    pose: Array,
    *,
    tree: Tree,
    across: Array,
    method: Method,
    trim: float,
    iterations: int,
    tolerance_mm: float,
    threads: int | None,
) -> End:
    """Pair and fit until the fit moves the points by less than the tolerance; no checks.

    across: the normals of the tree's items, in its order.
    """
    from navkit.registration._bvh_kernels import move, plane_sums

    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    moment = ones.T @ ones / len(x)
    length = np.sqrt(np.trace(moment[:3, :3]))
    kept = max(round(trim * len(x)), LEAST[method])
    moved, which, slack = np.zeros_like(x), np.full(len(x), -1), np.zeros(len(x))
    keep = np.ones(len(x), dtype=bool)
    step, motion, pace, history = np.inf, np.zeros(6), 1.0, list[float]()
    while True:
        move(pose, x, moved, slack)
        closest, square = search(tree, moved, which, threads, slack=slack)
        if kept < len(x):
            keep = square <= np.partition(square, kept - 1)[kept - 1]
        history.append(float(np.sqrt(square[keep].mean())))
        if step < tolerance_mm or len(history) > iterations:
            return End(orthonormalised(pose), moved, closest, square, which, keep, history, step)
        before = pose
        if method == "point":
            pose = kabsch(x, closest, keep.astype(float))[0]
        else:
            centre = (pose @ moment[:, 3])[:3]
            j_j, j_r = plane_sums(moved, closest, across, which, keep, centre, length)
            last, motion = motion, np.linalg.solve(j_j + RIDGE * np.trace(j_j) * np.eye(6), j_r)
            # Pairs that change to and fro would never let it rest: on the way back it takes smaller steps.
            pace = pace / 2 if motion @ last < 0 else min(1.2 * pace, 1)
            turn = Rotation.from_rotvec(pace * motion[3:] / length).as_matrix()
            pose = pose_from(turn, centre + pace * motion[:3] - turn @ centre) @ pose
        change = pose - before
        step = float(np.sqrt(max(np.trace(change @ moment @ change.T), 0)))


def rms(vectors: Array) -> float:
    """Root of the mean square length of vectors (n, d)."""
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))


def ending(end: End, seen: Observability | None, tolerance_mm: float) -> list[str]:
    """What to know of any fit, good or poor."""
    told = []
    if end.step_mm >= tolerance_mm:
        told.append(
            f"stopped after {end.iterations} iterations, still moving by {end.step_mm:.2g} mm in each"
        )
    if seen is not None and seen.free:
        told.append(f"the shape leaves {len(seen.free)} motions free: {seen.words}")
    return told


def causes(x: Array, begin: Array, goal: Surface | Cloud, run: Callable[..., End]) -> list[str]:
    """Why a fit is poor: other signs of the axes are better, the start is far, or points have no partner."""
    few = x[:: max(len(x) // 300, 1)]
    flips = np.array(list(product((1, -1), repeat=3)))
    quick = {"method": "plane", "tolerance_mm": 0.01 * rms(few)}
    ends = [run(few * flip, begin, **quick) for flip in flips]
    fit = np.array([end.history[-1] for end in ends])
    k = int(fit.argmin())
    told = []
    if fit[k] < 0.5 * fit[0]:
        signs = " and ".join(name for name, sign in zip("xyz", flips[k], strict=True) if sign < 0)
        what = "mirrored data?" if flips[k].prod() < 0 else "RAS for LPS?"
        told.append(
            f"with the sign of {signs} changed, about {fit[k]:.3g} instead of {fit[0]:.3g} mm is left: {what}"
        )
    own, other = extents(x, goal)
    if ends[0].history[0] > other:
        told.append(f"it began {ends[0].history[0]:.4g} mm away, more than the target's size: give initial")
    if own > 1.3 * other:
        told.append(
            f"points extend over {own:.4g} mm, target over {other:.4g} mm: swapped? Else trim what is outside"
        )
    return told


def extents(points: Array, goal: Surface | Cloud) -> tuple[float, float]:
    """The diagonals of the boxes about the points and about the target."""
    own, other = (float(np.linalg.norm(np.ptp(p, axis=0))) for p in (points, goal.points))
    return own, other
