"""Closest points on triangles, not on their corners, and in clouds of points."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LEAF = {"Surface": 4, "Cloud": 12}
"""So many items a leaf holds at most; the time has a flat optimum here."""
ALONE = 4000
"""So many points at least for each thread."""
EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Tree:
    """What the kernels ask: items (n, 3 or 16) in the tree's order, boxes, second children and runs."""

    order: Indices
    boxes: Array
    second: NDArray[np.int32]
    run: NDArray[np.int32]
    items: Array


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface of triangles; what makes the search quick is made at its first use, and kept.

    Parameters
    ----------
    vertices : (n, 3) mm
    faces : (m, 3) indices of the corners. A triangle may have no area, or one corner twice.

    Raises
    ------
    ValueError
        If a shape is wrong, or a face names a vertex that is not there.

    Examples
    --------
    >>> square = Surface([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> square.normals
    array([[0., 0., 1.],
           [0., 0., 1.]])
    """

    vertices: Array
    faces: Indices

    def __post_init__(self) -> None:
        vertices, faces = check_points(self.vertices, "vertices", at_least=3), np.asarray(self.faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0 or faces.dtype.kind not in "iu":
            hint = " Do they begin with a number of corners, as VTK's?" * (faces.shape[1:] == (4,))
            raise ValueError(
                f"faces has shape {faces.shape} of {faces.dtype}; expected (m, 3) whole numbers.{hint}"
            )
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(
                f"faces names the vertices {faces.min()} to {faces.max()}; expected 0 to "
                f"{len(vertices) - 1}. Do they count from 1?"
            )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces.astype(np.int64))

    @cached_property
    def points(self) -> Array:
        """(k, 3) the vertices that faces use: how large the surface is and where."""
        points: Array = self.vertices[np.unique(self.faces)]
        return points

    @cached_property
    def normals(self) -> Array:
        """(m, 3) unit, by the right-hand rule of the corners; zero for a triangle without an area."""
        out = np.empty((len(self.faces), 3))
        out[self.tree.order] = self.tree.items[:, 9:12] * (self.tree.items[:, 14:15] > 0) + 0.0
        return out

    @cached_property
    def tree(self) -> Tree:
        corners = self.vertices[self.faces]
        return _tree(corners.min(axis=1), corners.max(axis=1), _frames(corners), LEAF["Surface"])


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points on a surface whose triangles are not known, searched as a `Surface` is.

    Parameters
    ----------
    points : (n, 3) mm
    normals : (n, 3) or None
        Of any length and sign; a zero says that it is not known. See `cloud_normals`.

    Raises
    ------
    ValueError
        If a shape is wrong.
    """

    points: Array
    normals: Array | None = None

    def __post_init__(self) -> None:
        points = check_points(self.points, "points")
        object.__setattr__(self, "points", points)
        if self.normals is not None:
            normals = check_points(self.normals, "normals")
            if normals.shape != points.shape:
                raise ValueError(f"{len(normals)} normals for {len(points)} points; expected one for each.")
            length = np.linalg.norm(normals, axis=1, keepdims=True)
            object.__setattr__(self, "normals", normals / np.where(length > 0, length, 1))

    @cached_property
    def tree(self) -> Tree:
        return _tree(self.points, self.points, self.points, LEAF["Cloud"])


def closest_points(
    points: ArrayLike, surface: Surface | Cloud, *, threads: int | None = None
) -> tuple[Array, Array, Indices]:
    """The nearest point of a surface to each point, its distance, and the face it is on.

    On a `Surface` this is the nearest point of the triangles, inside, on an edge or a corner; the
    nearest vertex can be much farther away. Every triangle that could be nearer is looked at, through a
    tree of boxes. Of faces that are equally near, as on both sides of an edge, one is told.

    Parameters
    ----------
    points : (n, 3) mm
    surface : Surface, or Cloud, of which the nearest of its own points are found
    threads : how many; all cores when left out. The result is the same for any number

    Returns
    -------
    points (n, 3) mm, distance_mm (n,), and face (n,), an index into ``surface.faces`` or ``surface.points``

    Raises
    ------
    ValueError
        If the points are not (n, 3) finite numbers.

    References
    ----------
    Ericson, Real-Time Collision Detection, 2005, chapters 5 and 6.

    Examples
    --------
    >>> square = Surface([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> closest_points([[4, 3, 5], [4, 13, -4]], square)
    (array([[ 4.,  3.,  0.],
           [ 4., 10.,  0.]]), array([5., 5.]), array([0, 1]))
    """
    p = check_points(points, "points")
    if not isinstance(surface, Surface | Cloud):
        raise ValueError(f"surface is a {type(surface).__name__}; expected a Surface or a Cloud.")
    which = np.full(len(p), -1)
    closest, _ = search(surface.tree, p, which, threads)
    return closest, np.linalg.norm(closest - p, axis=1), surface.tree.order[which]


def cloud_normals(points: Cloud | ArrayLike, *, neighbours: int = 10, threads: int | None = None) -> Array:
    """The direction across the surface at each point of a cloud: of the least spread of its neighbours [1]_.

    More neighbours give calmer normals and blur the shape. The sign is arbitrary: nothing says which side is
    outside.

    Parameters
    ----------
    points : (n, 3) mm, or Cloud
    neighbours : how many, the point itself included
    threads : how many; all cores when left out. The result is the same for any number

    Returns
    -------
    (n, 3) unit, or zero where the neighbours lie on a line

    Raises
    ------
    ValueError
        If there are fewer points than `neighbours`, or fewer than 3 of these.

    References
    ----------
    .. [1] Hoppe et al., Surface reconstruction from unorganized points, SIGGRAPH 1992,
       doi:10.1145/133994.134011.

    Examples
    --------
    >>> x, y = np.mgrid[0:5, 0:4].reshape(2, -1)
    >>> np.abs(cloud_normals(np.stack([x, 0 * x + 7, y], axis=1))[0])
    array([0., 1., 0.])
    """
    from navkit.registration._bvh_kernels import normals

    cloud = points if isinstance(points, Cloud) else Cloud(check_points(points, "points"))
    if not 3 <= neighbours <= len(cloud.points):
        raise ValueError(f"neighbours is {neighbours}; expected 3 to {len(cloud.points)}, all the points.")
    tree = cloud.tree
    centred = tree.items - tree.items.mean(axis=0)
    found = np.empty_like(centred)
    out: Array = np.empty_like(found)
    boxes = tree.boxes - np.tile(tree.items.mean(axis=0), 2)

    def work(part: slice) -> None:
        normals(centred[part], boxes, tree.second, tree.run, centred, neighbours, found[part])

    _spread(work, len(found), threads)
    out[tree.order] = found
    return out


def search(
    tree: Tree, p: Array, which: Indices, threads: int | None, *, slack: Array | None = None
) -> tuple[Array, Array]:
    """Closest points (n, 3) and squared distances (n,); no checks.

    which (n,): guesses in the tree's order, or -1; it becomes the answers. slack (n,): where it is above 0
    the guess is known to be right; elsewhere it becomes how far the point may move and keep its answer.
    """
    from navkit.registration._bvh_kernels import nearest

    closest, square = np.empty_like(p), np.empty(len(p))
    free = np.empty(0) if slack is None else slack

    def work(part: slice) -> None:
        found = which[part], closest[part], square[part]
        nearest(p[part], tree.boxes, tree.second, tree.run, tree.items, free[part], *found)

    _spread(work, len(p), threads)
    return closest, square


def _spread(work: Callable[[slice], None], n: int, threads: int | None) -> None:
    """Do a work on n things in slices, each by a thread."""
    workers = min(threads or os.cpu_count() or 1, max(n // ALONE, 1))
    first, *others = [slice(n * k // workers, n * (k + 1) // workers) for k in range(workers)]
    if not others:
        work(first)
        return
    with ThreadPoolExecutor(workers - 1) as pool:
        rest = [pool.submit(work, part) for part in others]
        work(first)
        for done in rest:
            done.result()


def _tree(low: Array, high: Array, items: Array, leaf: int) -> Tree:
    from navkit.registration._bvh_kernels import build

    order, boxes, second, run = build(low, high, leaf)
    return Tree(order, boxes, second, run, np.ascontiguousarray(items[order]))


def _frames(corners: Array) -> Array:
    """Triangles (m, 3, 3) in frames of their own (m, 16): corner, axes u, v, w, then length, foot and height.

    u runs along the longest edge from the corner, so the foot of the third corner is on that edge; w is the
    normal. A triangle without an area has height 0, a point length 0 as well, and then some axes across:
    in these frames it needs no case of its own.
    """
    m = np.arange(len(corners))
    edges = np.roll(corners, -1, axis=1) - corners
    start = (edges**2).sum(axis=2).argmax(axis=1)
    along, last = edges[m, start], edges[m, start - 1]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    u = along / np.where(length > 0, length, 1)
    u[length[:, 0] == 0] = 1, 0, 0
    foot = -(u * last).sum(axis=1, keepdims=True)
    v = -last - foot * u
    height = np.linalg.norm(v, axis=1, keepdims=True)
    flat = height[:, 0] <= 16 * EPS * length[:, 0]  # what is left is rounding
    height[flat] = 0
    v[flat] = np.eye(3)[np.abs(u[flat]).argmin(axis=1)]
    v -= (u * v).sum(axis=1, keepdims=True) * u  # of a sliver's height, little is right after one subtraction
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    sides = length, np.clip(foot, 0, length), height, 0 * length
    return np.concatenate([corners[m, start], u, v, np.cross(u, v), *sides], axis=1)
