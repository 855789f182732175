"""Solid shapes as signed distances, and how to combine them.

A shape tells for any points how far its surface is, negative inside (mm), and a box that holds it. The
distance of a sphere, a box, a half-space and a tube is exact; of an ellipsoid, a combination or a rippled
shape it has the right sign and is right to first order at the surface, which is what labels, walls and
rendered surfaces need.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, transform_points

Array = NDArray[np.float64]
Distance = Callable[[Array], Array]

EVERYWHERE = np.full(3, np.inf)
CELL_MM = 4.0
NEAR_MM = 15.0


def length(v: Array) -> Array:
    """Lengths (n,) of vectors (n, 3). By columns: several times as quick as `numpy.linalg.norm`."""
    x, y, z = v[:, 0], v[:, 1], v[:, 2]
    return np.asarray(np.sqrt(x * x + y * y + z * z))


@dataclass(frozen=True)
class Shape:
    """A solid: ``distance`` maps points (n, 3) to mm (n,), negative inside; ``low`` to ``high`` holds it."""

    distance: Distance
    low: Array
    high: Array

    def __call__(self, points_d: ArrayLike) -> Array:
        """The signed distance (...) of points (..., 3), mm."""
        p = np.asarray(points_d, dtype=float)
        return np.asarray(self.distance(p.reshape(-1, 3)), dtype=float).reshape(p.shape[:-1])


def sphere(centre: ArrayLike, radius: float) -> Shape:
    """A ball."""
    c = np.asarray(centre, dtype=float)
    return Shape(lambda p: length(p - c) - radius, c - radius, c + radius)


def ellipsoid(centre: ArrayLike, radii: ArrayLike, axes: ArrayLike | None = None) -> Shape:
    """An ellipsoid with `radii` (3,) along the columns of the rotation `axes` (3, 3)."""
    c, r = np.asarray(centre, dtype=float), np.asarray(radii, dtype=float)
    turn = None if axes is None else np.asarray(axes, dtype=float)
    a, b = r**-2.0, r**-4.0

    def distance(p: Array) -> Array:
        local = p - c if turn is None else (p - c) @ turn
        x, y, z = (local[:, i] ** 2 for i in range(3))
        # the least values keep the middle from being 0 / 0: it is as deep as the least radius
        unit = np.sqrt(np.maximum(a[0] * x + a[1] * y + a[2] * z, 1e-18))
        slope = np.sqrt(np.maximum(b[0] * x + b[1] * y + b[2] * z, 1e-18 * a.max()))
        return np.asarray(unit * (unit - 1) / slope)

    reach = r if turn is None else np.sqrt(((turn * r) ** 2).sum(axis=1))
    return Shape(distance, c - reach, c + reach)


def box(low: ArrayLike, high: ArrayLike) -> Shape:
    """A block along the axes."""
    lo, hi = np.asarray(low, dtype=float), np.asarray(high, dtype=float)

    def distance(p: Array) -> Array:
        off = np.maximum(lo - p, p - hi)
        outside = length(np.maximum(off, 0))
        return np.asarray(outside + np.minimum(off.max(axis=1), 0))

    return Shape(distance, lo, hi)


def half_space(point: ArrayLike, normal: ArrayLike) -> Shape:
    """Everything behind the plane through `point`; `normal` points out of it."""
    n = np.asarray(normal, dtype=float)
    n = n / np.linalg.norm(n)
    at = float(np.asarray(point, dtype=float) @ n)
    return Shape(lambda p: np.asarray(p @ n - at), -EVERYWHERE, EVERYWHERE)


def tube(centreline: ArrayLike, radius: ArrayLike) -> Shape:
    """A pipe with round ends about a polyline (k, 3), its radius one number or (k,), linear in between.

    Exact where the radius is constant.
    """
    line = np.asarray(centreline, dtype=float)
    r = np.broadcast_to(np.asarray(radius, dtype=float), (len(line),))

    def distance(p: Array) -> Array:
        best = np.full(len(p), np.inf)
        for a, b, ra, rb in zip(line[:-1], line[1:], r[:-1], r[1:], strict=True):
            way = b - a
            off = p - a
            share = np.clip(off @ (way / (way @ way)), 0, 1)
            np.minimum(best, length(off - share[:, None] * way) - (ra + share * (rb - ra)), out=best)
        return best

    return Shape(distance, (line - r[:, None]).min(axis=0), (line + r[:, None]).max(axis=0))


def to_box(p: Array, shape: Shape) -> Array:
    """How far (n,) points (n, 3) are from a shape's box; 0 in it."""
    return length(np.maximum(np.maximum(shape.low - p, p - shape.high), 0))


def union(*shapes: Shape) -> Shape:
    """What is in any of them. A shape is asked only about points that its box says it can be nearest to."""

    def distance(p: Array) -> Array:
        best = np.array(shapes[0].distance(p), dtype=float)
        for shape in shapes[1:]:
            off = to_box(p, shape)
            ask = np.flatnonzero((off < best) | (off == 0))
            best[ask] = np.minimum(best[ask], shape.distance(p[ask]))
        return best

    return Shape(distance, np.min([s.low for s in shapes], axis=0), np.max([s.high for s in shapes], axis=0))


def gathered(*shapes: Shape) -> Shape:
    """The union of thin shapes: right within `NEAR_MM` of them, and fast.

    A shape is asked only about points near its box; elsewhere its distance is that of the box, too short.
    """

    def distance(p: Array) -> Array:
        best = np.full(len(p), np.inf)
        for shape in shapes:
            off = to_box(p, shape)
            near = np.flatnonzero(off < NEAR_MM)
            off[near] = shape.distance(p[near])
            np.minimum(best, off, out=best)
        return best

    return Shape(distance, np.min([s.low for s in shapes], axis=0), np.max([s.high for s in shapes], axis=0))


def intersection(*shapes: Shape) -> Shape:
    """What is in all of them."""
    return Shape(
        lambda p: np.max([s.distance(p) for s in shapes], axis=0),
        np.max([s.low for s in shapes], axis=0),
        np.min([s.high for s in shapes], axis=0),
    )


def without(shape: Shape, *holes: Shape) -> Shape:
    """What is in `shape` and in none of the `holes`."""
    hole = union(*holes)
    return Shape(lambda p: np.maximum(shape.distance(p), -hole.distance(p)), shape.low, shape.high)


def blended(a: Shape, b: Shape, width_mm: float) -> Shape:
    """The union of two with a fillet: the polynomial smooth minimum of their distances."""

    def distance(p: Array) -> Array:
        da, db = a.distance(p), b.distance(p)
        overlap = np.maximum(width_mm - np.abs(da - db), 0.0)
        return np.asarray(np.minimum(da, db) - overlap**2 / (4 * width_mm))

    reach = width_mm / 4
    return Shape(distance, np.minimum(a.low, b.low) - reach, np.maximum(a.high, b.high) + reach)


def thicker(shape: Shape, by_mm: float) -> Shape:
    """The shape grown by a margin, or shrunk by a negative one."""
    return Shape(lambda p: shape.distance(p) - by_mm, shape.low - by_mm, shape.high + by_mm)


def wall(shape: Shape, thickness_mm: float) -> Shape:
    """The layer just inside the surface."""
    return Shape(
        lambda p: np.maximum(shape.distance(p), -shape.distance(p) - thickness_mm), shape.low, shape.high
    )


def rippled(shape: Shape, height_mm: Distance, most_mm: float) -> Shape:
    """The shape with its surface moved outwards by a function of position, by `most_mm` at the very most.

    Right to first order as long as the function is gentle: keep its slope well below 1.
    """
    return Shape(lambda p: shape.distance(p) - height_mm(p), shape.low - most_mm, shape.high + most_mm)


def moved(shape: Shape, q_M_d: ArrayLike) -> Shape:
    """The shape carried by a rigid transform (4, 4)."""
    d_M_q = inverse(q_M_d)
    if not (np.isfinite(shape.low).all() and np.isfinite(shape.high).all()):
        low, high = -EVERYWHERE, EVERYWHERE
    else:
        ends = np.stack([shape.low, shape.high])
        corners = np.array(
            [[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        )
        there = transform_points(q_M_d, corners)
        low, high = there.min(axis=0), there.max(axis=0)
    return Shape(lambda p: shape.distance(transform_points(d_M_q, p)), low, high)


def pipes(a: Array, b: Array, radius: Array, *, reach_mm: float) -> Shape:
    """Straight pipes from `a` to `b` (n, 3) of `radius` (n,), with round ends; right up to `reach_mm`.

    Every cell of a coarse grid knows which of them are within reach, so many cost no more than few.
    """
    low = np.minimum(a, b).min(axis=0) - radius.max()
    high = np.maximum(a, b).max(axis=0) + radius.max()
    origin = low - reach_mm
    size = np.ceil((high + reach_mm - origin) / CELL_MM).astype(int)
    way = b - a
    square = np.maximum((way**2).sum(axis=1), 1e-12)

    def to_pipe(p: Array, k: NDArray[np.intp]) -> Array:
        share = np.clip(((p - a[k]) * way[k]).sum(axis=1) / square[k], 0, 1)
        return np.asarray(np.sqrt(((p - a[k] - share[:, None] * way[k]) ** 2).sum(axis=1)) - radius[k])

    centres = origin + CELL_MM * (np.moveaxis(np.indices(size), 0, -1) + 0.5)
    number = np.arange(size.prod()).reshape(size)
    near = reach_mm + CELL_MM * np.sqrt(3) / 2
    first = ((np.minimum(a, b) - radius[:, None] - near - origin) / CELL_MM).astype(int).clip(0)
    last = ((np.maximum(a, b) + radius[:, None] + near - origin) / CELL_MM).astype(int) + 1
    known: list[list[int]] = [[] for _ in range(number.size)]
    for k in range(len(a)):
        block = tuple(slice(lo, hi) for lo, hi in zip(first[k], last[k], strict=True))
        cells, middles = number[block].ravel(), centres[block].reshape(-1, 3)
        for cell in cells[to_pipe(middles, np.full(len(cells), k)) < near]:
            known[cell].append(k)
    table = np.full((len(known) + 1, max(map(len, known))), -1)
    for cell, pipes in enumerate(known):
        table[cell, : len(pipes)] = pipes

    def distance(p: Array) -> Array:
        best = np.full(len(p), reach_mm)
        at = np.floor((p - origin) / CELL_MM).astype(int)
        within = ((at >= 0) & (at < size)).all(axis=1)
        cell = np.where(within, (at[:, 0] * size[1] + at[:, 1]) * size[2] + at[:, 2], len(known))
        ask = np.arange(len(p))
        for column in table.T:
            ask = ask[column[cell[ask]] >= 0]
            if not len(ask):
                break
            best[ask] = np.minimum(best[ask], to_pipe(p[ask], column[cell[ask]]))
        return best

    return Shape(distance, low, high)
