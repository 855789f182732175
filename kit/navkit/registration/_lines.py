"""Centrelines as segments with directions, and the robust, annealed fit of one set to another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from navkit.geometry import check_points, cross, orthonormalised, pose_from, transform_points
from navkit.registration._closest import Array, Indices, Surface, search

Lines = Sequence[ArrayLike] | ArrayLike

NEIGHBOURS = 9
"""So many points, evenly spaced, tell the direction of a centreline."""
RIDGE = 1e-6
"""Of the trace of the normal matrix: what the lines leave free stays where it is."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Centrelines, or loose points of them.

    Parameters
    ----------
    vertices : (v, 3) mm
        As given.
    points, along : (n, 3)
        Evenly spaced on the lines, and the unit direction of the line there; of any sign if loose.
    surface : the segments as triangles without an area, or the loose points
    along_face : (f, 3) the direction of each
    spacing_mm : between loose points; 0 between segments, which have no gaps
    """

    vertices: Array
    points: Array
    along: Array
    surface: Surface
    along_face: Array
    spacing_mm: float


def as_lines(given: Lines, name: str) -> tuple[list[Array], bool]:
    """The polylines given, checked, and whether they are one array of loose points instead."""
    if isinstance(given, list | tuple) and given and np.ndim(given[0]) == 2:
        return [check_points(line, f"{name}[{k}]") for k, line in enumerate(given)], False
    return [check_points(given, name)], True  # type: ignore[arg-type]


def cropped(lines: list[Array], low: Array, high: Array) -> list[Array]:
    """The runs of the lines' vertices that lie in a box."""
    runs = []
    for line in lines:
        inside = np.flatnonzero(((line >= low) & (line <= high)).all(axis=1))
        runs += [line[run] for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1) if len(run)]
    return runs


def curves(lines: list[Array], *, loose: bool, spacing_mm: float) -> Curves:
    """Lines ready to be searched; with `loose`, they are points in no order."""
    vertices = np.concatenate(lines)
    n = np.arange(len(vertices))
    if loose:
        surface = Surface(vertices, np.stack([n, n, n], axis=1))
        points, middle = thinned(vertices, spacing_mm), vertices
        on, at = np.zeros_like(points), np.zeros_like(vertices)
    else:
        inner = np.ones(len(n), dtype=bool)
        inner[np.cumsum([len(line) for line in lines]) - 1] = False
        first = n[inner] if inner.any() else n
        second = first + 1 if inner.any() else n
        surface = Surface(vertices, np.stack([first, second, second], axis=1))
        even = [resampled(line, spacing_mm) for line in lines]
        points, middle = np.concatenate(even), (vertices[first] + vertices[second]) / 2
        on = np.concatenate([np.gradient(e, axis=0) if len(e) > 1 else np.zeros((1, 3)) for e in even])
        at = vertices[second] - vertices[first]
    return Curves(
        vertices,
        points,
        directions(points, points, on),
        surface,
        directions(middle, points, at),
        spacing_mm if loose else 0.0,
    )


def resampled(line: Array, spacing_mm: float) -> Array:
    """Points of a polyline, evenly spaced and about so far apart, both ends included."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], max(int(np.ceil(length[-1] / spacing_mm)), 0) + 1)
    return np.stack([np.interp(at, length, axis) for axis in line.T], axis=1)


def thinned(points: Array, spacing_mm: float) -> Array:
    """The means of the points in each cube of that size."""
    _, cell = np.unique(np.floor(points / spacing_mm), axis=0, return_inverse=True)
    total = np.zeros((cell.max() + 1, 3))
    np.add.at(total, cell.ravel(), points)
    out: Array = total / np.bincount(cell.ravel())[:, None]
    return out


def directions(at: Array, points: Array, ahead: Array) -> Array:
    """The direction in which the points nearest to each place spread most, unit, of the sign of `ahead`."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(points).query(at, k=np.arange(1, min(NEIGHBOURS, len(points)) + 1))
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.swapaxes(around, 1, 2) @ around)
    out: Array = vectors[..., 2] * np.where((vectors[..., 2] * ahead).sum(axis=1) < 0, -1, 1)[:, None]
    return out


@dataclass(frozen=True)
class Settled:
    """Where each start ended: poses (s, 4, 4), breathing (s, k, 3) mm, scores (s,) 0 to 1."""

    poses: Array
    sway: Array
    score: Array
    iterations: int
    step_mm: float


@dataclass(frozen=True)
class Pairs:
    """Moved points, their partners, the direction of the partner's line, and how much each pair counts."""

    moved: Array
    closest: Array
    along: Array
    weight: Array


def settle(
    points: Array,
    along: Array,
    goal: Curves,
    poses: Array,
    *,
    scales_mm: ArrayLike,
    rounds: int,
    tolerance_mm: float,
    back: tuple[Curves, Array, Array] | None = None,
    signed: bool = False,
    prior: Array | None = None,
    signals: Array | None = None,
    hold: float = 0.0,
) -> Settled:
    """Fit from many poses at once: pair, weigh by distance and direction, and make least what lies across.

    The distance along the partner's line does not count, so lines may slide on each other, and the steps
    are Gauss and Newton's. Weights are Geman and McClure's, times the squared cosine between the lines.

    back : the curves that move, and points (m, 3) of the goal with their directions, for pairs the other way
    signed : lines that run against each other are no partners
    prior : (n,) how much each point counts; signals (n, k): the points also sway with these
    hold : how much each point's first place counts beside the partners
    """
    s, n = len(poses), len(points)
    signal = np.zeros((n, 0)) if signals is None else signals
    k = signal.shape[1]
    own = np.ones(n) if prior is None else prior
    sway = np.zeros((s, k, 3))
    centre = points.mean(axis=0)
    length = max(float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean())), 1e-9)
    first, none = transform_points(poses, points), np.zeros((s, n, 3))
    spent, step = 0, np.inf
    guess = np.full(s * n, -1), np.full(s * (0 if back is None else len(back[1])), -1)
    scales = np.atleast_1d(np.asarray(scales_mm, dtype=float))
    for scale in scales:
        for _ in range(rounds):
            ahead = _pairs(points, along, goal, poses, signal @ sway, own, scale, signed, guess[0])
            both = [ahead] if back is None else [ahead, _turned(back, poses, scale, signed, guess[1])]
            if hold > 0:
                both.append(Pairs(ahead.moved - signal @ sway, first, none, np.full((s, n), hold)))
            middle = poses[:, :3, :3] @ centre + poses[:, :3, 3]
            h, g = np.zeros((s, 6 + 3 * k, 6 + 3 * k)), np.zeros((s, 6 + 3 * k))
            for pairs in both:
                j = np.zeros((*pairs.moved.shape, 6 + 3 * k))
                j[..., :3] = np.eye(3)
                j[..., 3:6] = -cross((pairs.moved - middle[:, None]) / length)
                if pairs is ahead:
                    for c in range(k):
                        j[..., 6 + 3 * c : 9 + 3 * c] = signal[:, c, None, None] * np.eye(3)
                u = pairs.along
                j -= u[..., None] * (u[..., None, :] @ j)
                flat = j.reshape(s, -1, 6 + 3 * k)
                weighted = flat * np.repeat(pairs.weight, 3, axis=1)[..., None]
                h += np.swapaxes(flat, 1, 2) @ weighted
                g += (np.swapaxes(weighted, 1, 2) @ (pairs.closest - pairs.moved).reshape(s, -1, 1))[..., 0]
            h += (RIDGE * np.trace(h, axis1=1, axis2=2) + 1e-12)[:, None, None] * np.eye(6 + 3 * k)
            change = np.linalg.solve(h, g[..., None])[..., 0]
            turn = Rotation.from_rotvec(change[:, 3:6] / length).as_matrix()
            about = middle + change[:, :3] - (turn @ middle[..., None])[..., 0]
            poses = pose_from(turn, about) @ poses
            sway = sway + change[:, 6:].reshape(s, k, 3)
            spent += 1
            step = float(np.linalg.norm(change, axis=1).max())
            if step < tolerance_mm:
                break
    poses = orthonormalised(poses)
    ahead = _pairs(points, along, goal, poses, signal @ sway, own, scales[-1], signed, guess[0])
    return Settled(poses, sway, ahead.weight.sum(axis=1) / own.sum(), spent, step)


def _pairs(
    points: Array,
    along: Array,
    goal: Curves,
    poses: Array,
    shift: Array,
    own: Array,
    scale_mm: float,
    signed: bool,
    guess: Indices,
) -> Pairs:
    """Of points moved by each pose."""
    rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    moved = points @ rotations + poses[:, None, :3, 3] + shift
    closest, _ = search(goal.surface.tree, moved.reshape(-1, 3), guess, None)
    closest = closest.reshape(moved.shape)
    to = goal.along_face[goal.surface.tree.order[guess]].reshape(moved.shape)
    cosine = ((along @ rotations) * to).sum(axis=-1)
    return Pairs(
        moved,
        closest,
        to,
        own * direction_weights(closest - moved, to, cosine, scale_mm, signed, goal.spacing_mm),
    )


def _turned(
    back: tuple[Curves, Array, Array], poses: Array, scale_mm: float, signed: bool, guess: Indices
) -> Pairs:
    """Of the goal's points in the space of what moves, told as pairs of what moves."""
    mine, points, along = back
    rotations, shift = poses[:, :3, :3], poses[:, None, :3, 3]
    here = (points - shift) @ rotations
    closest, _ = search(mine.surface.tree, here.reshape(-1, 3), guess, None)
    closest = closest.reshape(here.shape)
    to = mine.along_face[mine.surface.tree.order[guess]].reshape(here.shape)
    cosine = ((along @ rotations) * to).sum(axis=-1)
    weight = direction_weights(closest - here, to, cosine, scale_mm, signed, mine.spacing_mm)
    there = np.swapaxes(rotations, 1, 2)
    goal = np.broadcast_to(points, here.shape)
    return Pairs(closest @ there + shift, goal, to @ there, weight)


def direction_weights(
    way: Array, along: Array, cosine: Array, scale_mm: float, signed: bool, spacing_mm: float
) -> Array:
    """Near, in the same direction, and beside a line rather than beyond its end."""
    square = (way**2).sum(axis=-1)
    beyond = (way * along).sum(axis=-1) ** 2 / (square + spacing_mm**2 + 1e-12)
    alike = np.clip(cosine, 0, 1) ** 2 if signed else cosine**2
    out: Array = alike * (1 - beyond) / (1 + square / scale_mm**2) ** 2
    return out
