"""Paths and airways: which way they lead, how far it is along them, and Fraxinus' loop."""

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import fit_rigid, transform_points
from navkit.registration._closest import Array, search
from navkit.registration._lines import Curves, resampled

JOINED_MM = 3.0
"""Branches nearer than this are connected, as in CustusX."""


def apart(positions: Array, step_mm: float) -> NDArray[np.bool_]:
    """Which positions are left if those within a step of the last one left are dropped."""
    keep = np.zeros(len(positions), dtype=bool)
    last = np.full(3, np.inf)
    for k, p in enumerate(positions):
        if not ((p - last) ** 2).sum() <= step_mm**2:
            keep[k], last = True, p
    return keep


def outwards(lines: list[Array]) -> list[Array]:
    """The lines, each turned to lead away from the highest end, the ones next to it first."""
    from scipy.spatial import cKDTree

    rest = list(lines)
    root = int(np.argmax([max(line[0, 2], line[-1, 2]) for line in rest]))
    line = rest.pop(root)
    placed = [line if line[0, 2] >= line[-1, 2] else line[::-1]]
    while rest:
        tree = cKDTree(np.concatenate(placed))
        ends = tree.query([[line[0], line[-1]] for line in rest])[0]
        k, end = np.unravel_index(int(ends.argmin()), ends.shape)
        line = rest.pop(int(k))
        placed.append(line if end == 0 else line[::-1])
    return placed


def along_airways(lines: list[Array], goal: Curves, here: Array, places: Array) -> Array:
    """How far (n,) places are from one place, along the branches; infinite if not connected."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import cKDTree

    nodes, tree = goal.points, cKDTree(goal.points)
    length = np.cumsum([len(resampled(line, 1.0)) for line in lines])
    next_to = np.setdiff1d(np.arange(len(nodes) - 1), length - 1)
    begins = np.concatenate([[0], length[:-1]])
    joint = [
        (b, k) for b in begins for k in tree.query_ball_point(nodes[b], JOINED_MM) if not b <= k <= b + 3
    ]
    one = np.concatenate([next_to, [b for b, _ in joint]]).astype(int)
    two = np.concatenate([next_to + 1, [k for _, k in joint]]).astype(int)
    edges = csr_array(
        (np.linalg.norm(nodes[one] - nodes[two], axis=1) + 1e-9, (one, two)), shape=[len(nodes)] * 2
    )
    away = dijkstra(edges, directed=False, indices=tree.query(here)[1])
    out: Array = away[tree.query(places)[1]]
    return out


def nearest(goal: Curves, p: Array) -> tuple[Array, Array]:
    """Distance to the lines and their direction there."""
    guess = np.full(len(p), -1)
    _, square = search(goal.surface.tree, p, guess, None)
    return np.sqrt(square), goal.along_face[goal.surface.tree.order[guess]]


def custusx_loop(
    x: Array, look: Array, goal: Curves, pose: Array, keep: float, rounds: int, stop_mm: float
) -> tuple[Array, NDArray[np.bool_], int, bool]:
    """The pose, which pairs were kept, the iterations, and whether the shift became small."""
    from scipy.spatial.distance import cdist

    number = max(int(keep * len(x)), 3)
    for k in range(1, rounds + 1):
        moved, ways = transform_points(pose, x), look @ pose[:3, :3].T
        far, turned = cdist(moved, goal.points), cdist(ways, goal.along)
        alpha = np.sqrt(far.mean(axis=1) / turned.mean(axis=1))
        pair = (far + alpha[:, None] * turned).argmin(axis=1)
        good = np.zeros(len(x), dtype=bool)
        good[np.argsort(turned[np.arange(len(x)), pair], kind="stable")[:number]] = True
        try:
            change = fit_rigid(moved[good], goal.points[pair[good]]).matrix
        except ValueError as error:
            raise ValueError(
                "the kept positions are paired with points on a line, such as the trachea's: drive into a "
                "bronchus on each side, or give an initial that is nearer."
            ) from error
        pose = change @ pose
        if np.abs(change[:3, 3]).sum() <= stop_mm:
            return pose, good, k, True
    return pose, good, rounds, False
