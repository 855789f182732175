"""Seeded vessel trees.

A tree grows from its root towards random targets in a shape, by space colonisation (Runions et al. 2007,
doi:10.2312/NPH/NPH07/063-070): every target pulls at the node nearest to it, a pulled node sprouts a step in
the mean direction, and a reached target is gone. Radii follow Murray's law (1926, doi:10.1073/pnas.12.3.207):
the cubes of the radii add up where vessels meet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.phantoms._rays import random_points_in
from navkit.phantoms._shapes import Shape, pipes, thicker, tube, without

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

GROWING_STEPS = 400


@dataclass(frozen=True)
class VesselTree:
    """Nodes (n, 3) in mm; `parent` (n,) comes before its child, -1 for the root; `radius` (n,) in mm."""

    nodes: Array
    parent: Indices
    radius: Array

    def branches(self) -> list[Array]:
        """Centrelines (k, 3) from one fork (or the root) to the next (or a tip), the widest first."""
        children = np.bincount(self.parent[1:], minlength=len(self.nodes))
        lines = []
        for end in np.flatnonzero(children != 1):
            path = [end]
            while self.parent[path[-1]] >= 0 and (len(path) == 1 or children[path[-1]] == 1):
                path.append(self.parent[path[-1]])
            if len(path) > 1:
                lines.append(path[::-1])
        lines.sort(key=lambda path: -self.radius[path[-1]])
        return [self.nodes[path] for path in lines]

    def shape(self, *, reach_mm: float = 3.0) -> Shape:
        """The solid tree. Its distance is right up to `reach_mm` from the surface, and that further away."""
        a, b = self.nodes[self.parent[1:]], self.nodes[1:]
        return pipes(a, b, self.radius[1:], reach_mm=reach_mm)

    def clearance(self, points_d: ArrayLike) -> Array:
        """Distance (n,) of points (n, 3) from the wall, however far; for few points, one pipe at a time."""
        p = np.asarray(points_d, dtype=float)
        best = np.full(len(p), np.inf)
        for child in range(1, len(self.nodes)):
            ends = self.nodes[[self.parent[child], child]]
            np.minimum(best, tube(ends, self.radius[child]).distance(p), out=best)
        return best


def grow_tree(
    root: ArrayLike,
    inside: Shape,
    *,
    rng: np.random.Generator,
    targets: int,
    tip_radius_mm: float,
    step_mm: float = 3.0,
    margin_mm: float = 3.0,
    avoid: VesselTree | None = None,
    gap_mm: float = 2.0,
) -> VesselTree:
    """A tree from `root` to random targets in `inside`.

    Parameters
    ----------
    root : (3,) where it starts, or (k, 3), a stem whose last point sprouts, mm
    inside : what it stays in, by `margin_mm`; the stem may be outside
    rng : of the targets
    targets : how many points are to be reached
    tip_radius_mm : radius of every tip; a stem that feeds n tips is n^(1/3) times as wide
    step_mm : length of a segment
    avoid, gap_mm : another tree, to which the walls keep this distance; what grew too near is cut off

    Examples
    --------
    >>> from navkit.phantoms import sphere
    >>> tree = grow_tree((0, 0, -30), sphere((0, 0, 0), 30), rng=np.random.default_rng(1), targets=40,
    ...                  tip_radius_mm=0.5)
    >>> tips = len(tree.nodes) - len(np.unique(tree.parent[1:]))
    >>> bool(np.isclose(tree.radius[0], 0.5 * tips ** (1 / 3)))
    True
    """
    from scipy.spatial import cKDTree

    if avoid is not None:
        clear = gap_mm + 2 * tip_radius_mm + step_mm / 2
        taken = avoid.shape(reach_mm=clear + 1)
        inside = without(inside, thicker(taken, clear - margin_mm))
    nodes = np.atleast_2d(np.asarray(root, dtype=float))
    parent = np.arange(len(nodes)) - 1
    stem = len(nodes) - 1
    waiting = random_points_in(inside, targets, rng=rng, margin_mm=margin_mm)
    for _ in range(GROWING_STEPS):
        near, owner = cKDTree(nodes[stem:]).query(waiting)
        waiting, owner = waiting[near > step_mm], owner[near > step_mm] + stem
        if not len(waiting):
            break
        pull = np.zeros_like(nodes)
        way = waiting - nodes[owner]
        np.add.at(pull, owner, way / np.linalg.norm(way, axis=1)[:, None])
        who = np.unique(owner)
        length = np.linalg.norm(pull[who], axis=1)
        who, length = who[length > 1e-6], length[length > 1e-6]
        at, step = nodes[who], step_mm * pull[who] / length[:, None]
        # what would leave the shape slides along its wall instead
        most = np.maximum(-margin_mm, inside(at))
        leaves = np.flatnonzero(inside(at + step) > most)
        wall = _uphill(inside, at[leaves])
        step[leaves] -= np.maximum((step[leaves] * wall).sum(axis=1) + 0.2 * step_mm, 0)[:, None] * wall
        new = at + step
        # targets that pull to and fro would sprout the same node again
        free = (cKDTree(nodes).query(new)[0] > 0.4 * step_mm) & (inside(new) <= most)
        # where there is no way on, every second target gives up, so that the others may pull elsewhere
        stuck = ~np.isin(owner, who[free])
        waiting = waiting[~(stuck & (np.cumsum(stuck) % 2 == 1))]
        nodes, parent = np.concatenate([nodes, new[free]]), np.concatenate([parent, who[free]])
    tree = _murray(_smoothed(nodes, parent), parent, tip_radius_mm)
    return tree if avoid is None else _clear_of(tree, avoid, gap_mm, tip_radius_mm)


def _uphill(shape: Shape, points: Array) -> Array:
    """Unit vectors (n, 3) in which the distance grows fastest."""
    h = 0.1 * np.eye(3)
    slope = np.stack([shape(points + d) - shape(points - d) for d in h], axis=1)
    return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1), 1e-12)[:, None])


def _murray(nodes: Array, parent: Indices, tip_radius_mm: float) -> VesselTree:
    tips = np.zeros(len(nodes))
    tips[np.setdiff1d(np.arange(len(nodes)), parent)] = 1
    for child in range(len(nodes) - 1, 0, -1):
        tips[parent[child]] += tips[child]
    return VesselTree(nodes, parent, tip_radius_mm * np.cbrt(tips))


def _smoothed(nodes: Array, parent: Indices, rounds: int = 4) -> Array:
    """Every node between the root and the tips half way to the mean of its neighbours, some times over."""
    inner = np.intersect1d(np.arange(1, len(nodes)), parent)
    for _ in range(rounds):
        total, count = np.zeros_like(nodes), np.bincount(parent[1:], minlength=len(nodes)) + 1
        np.add.at(total, parent[1:], nodes[1:])
        total[1:] += nodes[parent[1:]]
        nodes = nodes.copy()
        nodes[inner] = (nodes[inner] + total[inner] / count[inner, None]) / 2
    return nodes


def _clear_of(tree: VesselTree, other: VesselTree, gap_mm: float, tip_radius_mm: float) -> VesselTree:
    """The tree without what comes too near the other one, and without what hung on that."""
    # only nodes are asked; between two of them the tree may be half a segment nearer
    slack = gap_mm + np.linalg.norm(tree.nodes[1:] - tree.nodes[tree.parent[1:]], axis=1).max() / 2
    far = other.clearance(tree.nodes) > tree.radius + slack
    keep = far.copy()
    for k in range(1, len(keep)):
        keep[k] &= keep[tree.parent[k]]
    if not keep[0]:
        raise ValueError("The root of the tree lies on the tree that it is to avoid.")
    index = np.cumsum(keep) - 1
    parent = np.where(tree.parent >= 0, index[tree.parent], -1)[keep]
    return _murray(tree.nodes[keep], parent, tip_radius_mm)
