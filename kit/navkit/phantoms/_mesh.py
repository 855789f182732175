"""Triangles about a shape."""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.phantoms._shapes import Shape, box, intersection, length

Array = NDArray[np.float64]


def surface_mesh(
    shape: Shape, *, spacing_mm: float = 1.0, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """The surface of a shape as triangles, closed, by surface nets.

    Every cell of a grid that the surface crosses gets one vertex, at the mean of the crossings on its edges;
    each vertex is then moved onto the surface itself. Details below the spacing are lost.

    Parameters
    ----------
    shape : such as ``phantom.part("tumour").shape``; what later parts take of it is not cut off
    spacing_mm : of the grid, about the length of an edge
    low, high : (3,) the box that is of interest, the shape's own unless given; a shape that reaches
        out of it is closed there

    Returns
    -------
    vertices (n, 3) mm, and faces (m, 3), indices in the order that makes normals point outwards

    Raises
    ------
    ValueError
        If the shape has no end and no box is given, or nothing of it is in the box.

    References
    ----------
    Gibson, Constrained elastic surface nets, MICCAI 1998, doi:10.1007/BFb0056277.

    Examples
    --------
    >>> from navkit.phantoms import ellipsoid
    >>> vertices, faces = surface_mesh(ellipsoid((1, 2, 3), (10, 20, 30)), spacing_mm=2.0)
    >>> corners = vertices[faces]
    >>> float(round(np.linalg.det(corners).sum() / 6 / (4 / 3 * np.pi * 6000), 3))
    0.994
    """
    lo, hi = (np.asarray(b if a is None else a, float) for a, b in ((low, shape.low), (high, shape.high)))
    if not (np.isfinite(lo).all() and np.isfinite(hi).all() and (hi > lo).all()):
        raise ValueError(f"the box is from {lo} to {hi}; expected an end on each side. Give low and high.")
    if low is not None or high is not None:
        shape = intersection(shape, box(lo, hi))
    n = np.ceil((hi - lo) / spacing_mm).astype(int) + 4  # two nodes outside on each side
    origin = (lo + hi) / 2 - (n - 1) / 2 * spacing_mm
    nodes = np.stack(np.unravel_index(np.arange(n.prod()), n), axis=1)
    depth = shape.distance(np.asfortranarray(origin + spacing_mm * nodes)).reshape(n)
    if not (depth < 0).any():
        raise ValueError("nothing of the shape is in the box, or it is thinner than the spacing.")

    cells = n - 1
    total, count = np.zeros((cells.prod(), 3)), np.zeros(cells.prod(), dtype=int)
    quads = []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        first = np.delete(depth, -1, axis)
        second = np.delete(depth, 0, axis)
        at = np.argwhere((first < 0) != (second < 0))
        f0, f1 = first[tuple(at.T)], second[tuple(at.T)]
        crossing = at.astype(float)
        crossing[:, axis] += f0 / (f0 - f1)
        around = []
        for back in product((1, 0), repeat=2):  # the four cells about the edge
            cell = at.copy()
            cell[:, b] -= back[0]
            cell[:, c] -= back[1]
            around.append(np.ravel_multi_index(tuple(cell.T), tuple(cells)))
            np.add.at(total, around[-1], crossing)
            np.add.at(count, around[-1], 1)
        ring = np.stack([around[0], around[2], around[3], around[1]], axis=1)
        quads.append(np.where((f0 < 0)[:, None], ring, ring[:, ::-1]))
    used = np.flatnonzero(count)
    index = np.full(len(count), -1)
    index[used] = np.arange(len(used))
    quad = index[np.concatenate(quads)]
    vertices = origin + spacing_mm * total[used] / count[used, None]
    return _onto(shape, vertices, spacing_mm), np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])


def _onto(shape: Shape, p: Array, most_mm: float) -> Array:
    """Points moved along the slope of the distance until it is 0, unless that is far, as at an edge."""
    h = 1e-4 * most_mm
    moved = p
    for _ in range(4):
        slope = np.stack([shape(moved + d) - shape(moved - d) for d in h * np.eye(3)], axis=1) / (2 * h)
        steep = np.maximum((slope**2).sum(axis=1), 1e-12)
        moved = moved - (shape(moved) / steep)[:, None] * slope
    better = (length(moved - p) < most_mm) & (np.abs(shape(moved)) < np.abs(shape(p)))
    return np.where(better[:, None], moved, p)
