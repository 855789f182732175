"""What pictures and choices have to be for a registration, and what to say where they are not."""

from collections.abc import Sequence
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import RAS_M_LPS, check_poses, inverse, transform_points

Array = NDArray[np.float64]

METRICS, TRANSFORMS = ("mattes", "lc2", "correlation", "ssc"), ("rigid", "affine", "bspline")


class _Grid(Protocol):
    def pr_M_voxel(self) -> Array: ...


class Picture(Protocol):
    """What is registered, such as a `navkit.reconstruction.Volume`: values (nz, ny, nx), NaN where none."""

    @property
    def values(self) -> NDArray[np.float32]: ...
    @property
    def grid(self) -> _Grid: ...


def check_choices(
    metric: str,
    transform: str,
    edge: int,
    search_mm: float | None,
    iterations: int,
    share: float,
    knots_mm: float,
) -> None:
    for name, got, choices in (("metric", metric, METRICS), ("transform", transform, TRANSFORMS)):
        if got not in choices:
            raise ValueError(f"{name} is {got!r}; expected one of {', '.join(map(repr, choices))}.")
    if metric in ("lc2", "ssc") and transform != "rigid":
        raise ValueError(
            f"metric {metric!r} is only for transform 'rigid', got {transform!r}; expected 'mattes' or "
            "'correlation' for it, perhaps from this one's matrix."
        )
    if metric not in ("lc2", "ssc") and search_mm:
        raise ValueError(f"search_mm is only for 'lc2' and 'ssc', not for {metric!r}; expected 0.")
    least = {"edge": (edge, 1), "iterations": (iterations, 1), "search_mm": (search_mm or 0, 0)}
    for name, (number, bound) in least.items():
        if not (np.isfinite(number) and number >= bound):
            raise ValueError(f"{name} is {number}; expected {bound} or more.")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; expected more than 0, at most 1. A percentage?")
    if not (np.isfinite(knots_mm) and knots_mm > 0):
        raise ValueError(f"knots_mm is {knots_mm}; expected a positive number.")


def checked_picture(picture: Picture | tuple[ArrayLike, ArrayLike], name: str) -> tuple[Array, Array]:
    pair = picture if isinstance(picture, tuple) else (picture.values, picture.grid.pr_M_voxel())
    values, m = np.asarray(pair[0]), np.asarray(pair[1], dtype=float)
    if values.ndim != 3 or min(values.shape) < 4:
        raise ValueError(
            f"{name} has shape {values.shape}; expected (nz, ny, nx), 4 or more along each axis."
        )
    sides = np.linalg.norm(m[:3, :3], axis=0) if m.shape == (4, 4) else np.zeros(3)
    if not (np.isfinite(m).all() and sides.min() > 0 and np.array_equal(m[3], [0, 0, 0, 1])):
        raise ValueError(
            f"{name}'s matrix from voxels to mm is no affine (4, 4) with row 0 0 0 1 at the bottom."
        )
    axes = m[:3, :3] / sides
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise ValueError(f"{name}'s axes are not at right angles; expected a grid without shear. Transposed?")
    return values.astype(np.float64), m


def checked_levels(levels_mm: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(float(v) for v in levels_mm)
    if not levels or min(levels) <= 0 or list(levels) != sorted(levels, reverse=True):
        raise ValueError(
            f"levels_mm is {levels_mm}; expected voxel sizes from coarse to fine, such as (4, 2)."
        )
    return levels


def checked_initial(initial: ArrayLike, transform: str) -> Array:
    m = np.asarray(initial, dtype=float)
    if m.shape != (4, 4):
        raise ValueError(f"initial has shape {m.shape}; expected (4, 4), from moving to fixed.")
    if transform == "rigid":
        pose: Array = check_poses(m[None], "initial")[0]
        return pose
    if not (np.isfinite(m).all() and np.array_equal(m[3], [0, 0, 0, 1]) and np.linalg.det(m[:3, :3]) > 0):
        raise ValueError("initial is no affine transform; expected row 0 0 0 1 at the bottom, and no mirror.")
    return m


def checked_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(shape, dtype=bool)
    m = np.asarray(mask)
    if m.dtype != bool or m.shape != shape:
        hint = " Are its axes x, y, z?" if m.shape == shape[::-1] else ""
        raise ValueError(f"mask is {m.dtype} of shape {m.shape}; expected bool of {shape}, as fixed.{hint}")
    return m


def refuse_empty(values: Array, name: str, masked: bool) -> None:
    known = values[np.isfinite(values)]
    where = " under the mask" if masked else ""
    if not len(known):
        raise ValueError(f"{name} has no voxel with data{where}: all are NaN.")
    if known.min() == known.max():
        raise ValueError(f"{name} has the same value, {known[0]:g}, everywhere{where}; expected a picture.")


def overlap(f: Array, f_M_voxel: Array, m: Array, m_M_voxel: Array, f_M_m: Array) -> float:
    """Share of the known voxels of f whose nearest voxel of m is known."""
    voxels = np.argwhere(np.isfinite(f))[:, ::-1]
    voxels = voxels[:: max(len(voxels) // 200_000, 1)]
    at = np.rint(transform_points(inverse(m_M_voxel) @ inverse(f_M_m) @ f_M_voxel, voxels)).astype(int)
    inside = ((at >= 0) & (at < m.shape[::-1])).all(axis=1)
    x, y, z = at[inside].T
    return float(np.isfinite(m[z, y, x]).sum() / len(voxels))


def apart(
    f: Array,
    f_M_voxel: Array,
    m: Array,
    m_M_voxel: Array,
    f_M_m: Array,
    known: float,
) -> str:
    """What to say where the pictures have too little in common: how far apart, and the likely cause."""
    a, b = _box(f, f_M_voxel), _box(m, f_M_m @ m_M_voxel)
    size_a, size_b = np.ptp(a, axis=0).max(), np.ptp(b, axis=0).max()
    gap = np.maximum(b[0] - a[1], 0) - np.maximum(a[0] - b[1], 0)
    if not gap.any():
        said = f"fixed and moving have {known / 1000:.2f} ml of data in common"
    else:
        said = (
            f"fixed and moving do not overlap: moving's box lies {np.linalg.norm(gap):.0f} mm away "
            f"({gap[0]:+.0f}, {gap[1]:+.0f}, {gap[2]:+.0f} mm along x, y, z)"
        )
    turned = _box(m, f_M_m @ RAS_M_LPS @ m_M_voxel)
    if not 1e-2 < size_a / size_b < 1e2:
        cause = f"They are {size_a:.3g} and {size_b:.3g} mm wide: metres for millimetres?"
    elif gap.any() and ((turned[0] < a[1]) & (a[0] < turned[1])).all():
        cause = "With x and y of moving turned round they would: RAS for LPS?"
    else:
        cause = "Is initial missing, or does it map from fixed to moving?"
    return f"{said}; expected pictures of one place. {cause}"


def _box(values: Array, f_M_voxel: Array) -> Array:
    """Lowest and highest corner (2, 3) of what is known."""
    known = np.isfinite(values)
    ends = []
    for axis in (2, 1, 0):
        at = np.flatnonzero(known.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((at[0], at[-1]))
    corners = transform_points(f_M_voxel, list(product(*ends)))
    return np.stack([corners.min(axis=0), corners.max(axis=0)])
