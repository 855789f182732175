"""Where the voxels lie: CustusX's and PLUS's rules for orientation, extent, spacing and size."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, orthonormalised, transform_points
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]

CUSTUSX_MAX_VOXELS = 32 * 1024**2


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in the patient reference.

    Parameters
    ----------
    shape : (nz, ny, nx) as numpy indexes the values
    spacing_mm : (sx, sy, sz)
    pr_M_d : (4, 4) rigid; maps the volume's own millimetres ``d``, with the centre of voxel
        (0, 0, 0) at its origin, to the patient reference
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    pr_M_d: Array

    def pr_M_voxel(self) -> Array:
        """The affine transform (4, 4) from voxel indices ``(i, j, k)``, x first, to ``pr``, mm."""
        return self.pr_M_d @ np.diag([*self.spacing_mm, 1.0])

    def voxels(self, points_pr: ArrayLike) -> Array:
        """Points (..., 3) in ``pr`` as continuous voxel indices ``(i, j, k)``, x first."""
        return transform_points(inverse(self.pr_M_voxel()), points_pr)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """From the first voxel's centre to the last one's along x, y, z."""
        nz, ny, nx = self.shape
        sx, sy, sz = self.spacing_mm
        return (nx - 1) * sx, (ny - 1) * sy, (nz - 1) * sz


@dataclass(frozen=True)
class Volume:
    """A reconstructed volume.

    Parameters
    ----------
    values : (nz, ny, nx) float32 grey values; NaN where there is no data
    weight : (nz, ny, nx) how many pixels fell into the voxel (uint32), or the sum of their weights (float32);
        0 for filled and empty voxels
    filled : (nz, ny, nx) bool; True where the value was interpolated from neighbours
    grid : Grid
    """

    values: NDArray[np.float32]
    weight: NDArray[np.uint32] | NDArray[np.float32]
    filled: NDArray[np.bool_]
    grid: Grid


def limited_size(
    bounds_mm: ArrayLike, spacing_mm: ArrayLike, max_voxels: float, *, isotropic: bool = True
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """CustusX's size rules: how many voxels (nx, ny, nz) and how large (sx, sy, sz).

    The wished spacing is kept if the volume stays within `max_voxels`; otherwise all three grow
    together. Spacing is then re-fitted so that the bounds are kept; `isotropic` makes the three equal,
    which may shorten the bounds by up to one voxel. Source: CustusX, class ImageParameters.

    >>> limited_size((10, 20, 30), (1, 0.1, 1), 1e9, isotropic=False)
    ((11, 201, 31), (1.0, 0.1, 1.0))
    """
    bounds = np.asarray(bounds_mm, dtype=float)
    wished = np.asarray(spacing_mm, dtype=float)
    steps = np.rint(bounds / wished)
    spacing = bounds / np.maximum(steps, 1)
    if np.prod(steps + 1) > max_voxels:
        allowed = (max_voxels ** (1 / 3) - 1) ** 3
        spacing = spacing * (np.prod(bounds / spacing) / allowed) ** (1 / 3)
        steps = np.floor(bounds / spacing)
        spacing = bounds / np.maximum(steps, 1)
    if isotropic and np.ptp(spacing) > 0:
        voxels = np.prod(steps + 1)
        side = (np.prod(bounds) / (voxels ** (1 / 3) - 1) ** 3) ** (1 / 3)
        steps = np.floor(bounds / side)
        spacing = np.full(3, side)
    nx, ny, nz = (int(n) + 1 for n in steps)
    sx, sy, sz = (float(s) for s in spacing)
    return (nx, ny, nz), (sx, sy, sz)


def output_grid(
    sweep: Sweep,
    *,
    spacing_mm: float | tuple[float, float, float] | None = None,
    orientation: Literal["middle", "reference"] = "middle",
    extent: Literal["mask", "clip"] = "mask",
    mask_reduction: float = 0.03,
    max_voxels: float | None = None,
) -> Grid:
    """The grid that CustusX would lay around a sweep, or PLUS.

    PLUS's is ``output_grid(sweep, spacing_mm=0.5, orientation="reference", extent="clip")``: it knows no
    spacing of its own.

    Parameters
    ----------
    spacing_mm : voxel size, one or along x, y, z; left out, the smaller side of a pixel, made larger until
        the volume stays within `max_voxels`
    orientation : axes of the middle frame (CustusX's default) or of the patient reference
    extent : the box around the mask in every frame (CustusX), or around the clip rectangle to the far side
        of its last pixels, as far as the picture goes (PLUS)
    mask_reduction : share of the mask's width and height that is left out of the box at each side, as
        CustusX's "Reduce mask"; the pixels themselves are all used where the box has room
        Not with ``extent="clip"``
    max_voxels : default CustusX's 32 MB of voxels; with a given spacing a larger volume is refused

    Raises
    ------
    ValueError
        If no frame is valid or a valid pose is not finite, or the volume would have more than `max_voxels`
        or a side of one voxel.
    """
    if not sweep.valid.any():
        raise ValueError(f"sweep {sweep.name!r} has no valid frame; expected at least one with a pose.")
    if not np.isfinite(sweep.pr_M_p[sweep.valid]).all():
        raise ValueError(
            f"sweep {sweep.name!r} has valid frames whose pose is not finite; expected numbers. Was the tool "
            "out of sight? Mark such frames as not valid."
        )
    rotation = np.eye(4)
    if orientation == "middle":
        index = np.flatnonzero(sweep.valid)
        middle = index[np.argmin(np.abs(index - len(sweep) // 2))]
        rotation = orthonormalised(sweep.pr_M_p[middle] / _column_lengths(sweep.pr_M_p[middle]))
        rotation[:3, 3] = 0.0
    elif orientation != "reference":
        raise ValueError(f"orientation is {orientation!r}; expected 'middle' or 'reference'.")

    if extent not in ("mask", "clip"):
        raise ValueError(f"extent is {extent!r}; expected 'mask' or 'clip'.")
    corners_p = _mask_corners(sweep, mask_reduction) if extent == "mask" else _clip_corners(sweep)
    corners = transform_points(inverse(rotation) @ sweep.pr_M_p[sweep.valid], corners_p).reshape(-1, 3)
    low, high = corners.min(axis=0), corners.max(axis=0)
    bounds = high - low

    covered = f"The sweep covers {bounds[0]:.2f} x {bounds[1]:.2f} x {bounds[2]:.2f} mm: did the probe move?"
    if bounds.min() < 1e-6:
        raise ValueError(f"the volume would be flat; every side needs at least two voxels. {covered}")
    limit = CUSTUSX_MAX_VOXELS if max_voxels is None else max_voxels
    if spacing_mm is None:
        size, spacing = limited_size(bounds, np.full(3, min(sweep.sector.spacing_mm)), limit)
    else:
        wished = np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3)
        if not (wished > 0).all():
            raise ValueError(f"spacing_mm is {spacing_mm}; expected a positive number, or three.")
        nx, ny, nz = (int(n) + 1 for n in np.rint(bounds / wished))
        size, spacing = (nx, ny, nz), (float(wished[0]), float(wished[1]), float(wished[2]))
        if max_voxels is not None and nx * ny * nz > max_voxels:
            raise ValueError(
                f"{nx} x {ny} x {nz} voxels of {spacing_mm} mm are {nx * ny * nz / 1e6:.0f} million; "
                f"at most {max_voxels / 1e6:.0f} million are allowed. Take a larger spacing."
            )
    if min(size) <= 1:
        raise ValueError(
            f"the volume would be {size[0]} x {size[1]} x {size[2]} voxels; every side needs at least two. "
            + covered
        )
    pr_M_d = rotation.copy()
    pr_M_d[:3, 3] = rotation[:3, :3] @ low
    nx, ny, nz = size
    return Grid((nz, ny, nx), spacing, pr_M_d)


def demand_memory(
    shape: tuple[int, ...], spacing_mm: ArrayLike, bytes_a_voxel: float, *, more: float = 0.0
) -> None:
    """Refuse before allocating: a process that is killed for want of memory says nothing."""
    import psutil

    needed = bytes_a_voxel * float(np.prod(shape, dtype=float)) + more
    free = float(psutil.virtual_memory().available)
    if needed > 0.9 * free:
        nz, ny, nx = shape
        raise ValueError(
            f"{nx} x {ny} x {nz} voxels of {np.min(spacing_mm):.4g} mm need {needed / 1e9:.1f} GB of memory "
            f"and {free / 1e9:.1f} GB are free. Take a larger spacing."
        )


def _column_lengths(m: Array) -> Array:
    lengths = np.ones((1, 4))
    lengths[0, :3] = np.linalg.norm(m[:3, :3], axis=0)
    return lengths


def _mask_corners(sweep: Sweep, reduction: float) -> Array:
    """Corners (4, 3) of the mask's bounding rectangle, `reduction` of each side left out, in pixels."""
    rows, columns = np.nonzero(sweep.sector.mask())
    if not len(rows):
        raise ValueError("the sector and the clip rectangle have no pixel in common; expected an overlap.")
    corners: list[list[float]] = []
    for r in _shrunk(float(rows.min()), float(rows.max()), reduction):
        sides = _shrunk(float(columns.min()), float(columns.max()), reduction)
        corners.extend([c, r, 0.0] for c in sides)
    return np.array(corners)


def _clip_corners(sweep: Sweep) -> Array:
    """Corners (4, 3) of the clip rectangle as PLUS counts them, in pixels: up to origin plus size."""
    left, right, top, bottom = sweep.sector.clip_p
    height, width = sweep.sector.shape
    columns, rows = (left, min(right + 1, width - 1)), (top, min(bottom + 1, height - 1))
    return np.array([[c, r, 0.0] for r in rows for c in columns])


def _shrunk(low: float, high: float, reduction: float) -> tuple[float, float]:
    cut = (high - low) * reduction
    return low + cut, high - cut
