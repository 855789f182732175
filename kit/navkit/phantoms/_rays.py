"""Points in a shape and on its surface, by chance and by rays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.phantoms._shapes import Shape

Array = NDArray[np.float64]

REACH_MM = 250.0


def random_points_in(shape: Shape, n: int, *, rng: np.random.Generator, margin_mm: float = 0.0) -> Array:
    """Points (n, 3), even in the part of a shape that is deeper than `margin_mm`."""
    found = np.zeros((0, 3))
    for _ in range(1000):
        p = rng.uniform(shape.low, shape.high, size=(4 * n + 100, 3))
        found = np.concatenate([found, p[shape(p) < -margin_mm]])
        if len(found) >= n:
            return found[:n]
    raise ValueError(f"The shape has no room {margin_mm:g} mm below its surface. Is the margin too wide?")


def sphere_directions(n: int) -> Array:
    """Unit vectors (n, 3), evenly spread (a Fibonacci lattice)."""
    k = np.arange(n) + 0.5
    z, turn = 1 - 2 * k / n, np.pi * (1 + np.sqrt(5)) * k
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


def ray_lengths(
    shape: Shape, origin: ArrayLike, directions: ArrayLike, *, longest_mm: float = 300.0
) -> Array:
    """How far (n,) the surface is along unit vectors (n, 3) from a point in the shape.

    Right for what is star-shaped about the origin; by bisection, to 1e-9 mm.
    """
    o, u = np.asarray(origin, dtype=float), np.asarray(directions, dtype=float)
    near, far = np.zeros(len(u)), np.full(len(u), longest_mm)
    for _ in range(40):
        middle = (near + far) / 2
        inside = shape(o + middle[:, None] * u) < 0
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return np.asarray((near + far) / 2)


def surface_along(shape: Shape, start: ArrayLike, way: ArrayLike) -> Array:
    """Where (3,) a ray from inside leaves a shape for good, to 0.01 mm; the start where it never was inside.

    Examples
    --------
    >>> from navkit.phantoms import sphere
    >>> surface_along(sphere((1, 2, 3), 10), (1, 2, 3), (0, 3, 4)).round(2)
    array([ 1.,  8., 11.])
    """
    p, w = np.asarray(start, dtype=float), np.asarray(way, dtype=float)
    w = w / np.linalg.norm(w)
    for step, span in ((1.0, REACH_MM), (0.05, 1.0), (0.01, 0.05)):
        t = np.arange(0, span + step / 2, step)
        inside = shape(p + t[:, None] * w) < 0
        p = p + t[np.flatnonzero(inside)[-1] if inside.any() else 0] * w
    return p


def star_surface(shape: Shape, centre: ArrayLike, *, n: int = 6000) -> tuple[Array, float]:
    """Points (n, 3) on the surface of a star-shaped solid, and its volume in ml.

    The volume is the mean of the cubed rays over evenly spread directions, times 4 pi / 3.

    Examples
    --------
    >>> from navkit.phantoms import ellipsoid
    >>> round(star_surface(ellipsoid((1, 2, 3), (10, 20, 30)), (1, 2, 3))[1], 3)
    25.133
    """
    u = sphere_directions(n)
    size = float(np.linalg.norm(shape.high - shape.low))
    rays = ray_lengths(shape, centre, u, longest_mm=size)
    return np.asarray(centre, dtype=float) + rays[:, None] * u, float(4 * np.pi / 3 * np.mean(rays**3) / 1000)
