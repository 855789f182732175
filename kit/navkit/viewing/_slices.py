"""Pictures of frames and volumes, in millimetres."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from navkit.reconstruction import Volume
from navkit.ultrasound import Sweep
from navkit.viewing._figure import new_figure

NO_DATA = "#4a6b8a"
"""What is not data is neither black nor white: a flat blue-grey that no echo has."""


def _grey_map() -> mpl.colors.Colormap:
    return mpl.colormaps["gray"].with_extremes(bad=NO_DATA)


def orthogonal_slices(
    volume: Volume, at_pr: ArrayLike | None = None, *, title: str = "", thickness: int = 0
) -> Figure:
    """Three slices through a point, along the volume's own axes, to scale.

    Parameters
    ----------
    at_pr : (3,) where the slices meet, mm in the patient reference; the centre when left out
    thickness : show the brightest of this many voxels on either side too

    Raises
    ------
    ValueError
        If the point lies outside the volume.
    """
    at = _voxel(volume, at_pr)
    figure, axes = new_figure(3, width=12.0, height=4.4)
    _draw_slices(axes, volume, at, thickness)
    if title:
        figure.suptitle(title)
    return figure


def _draw_slices(axes: Sequence[Any], volume: Volume, at: tuple[int, int, int], thickness: int) -> None:
    (i, j, k), (sx, sy, sz) = at, volume.grid.spacing_mm
    panels = (
        (_slab(volume.values, 0, k, thickness), ("x", sx, i), ("y", sy, j)),
        (_slab(volume.values, 1, j, thickness), ("x", sx, i), ("z", sz, k)),
        (_slab(volume.values, 2, i, thickness), ("y", sy, j), ("z", sz, k)),
    )
    for ax, (picture, (across, da, a), (down, dd, d)) in zip(axes, panels, strict=True):
        extent = (-da / 2, (picture.shape[1] - 0.5) * da, (picture.shape[0] - 0.5) * dd, -dd / 2)
        ax.imshow(picture, cmap=_grey_map(), vmin=0, vmax=255, extent=extent, interpolation="nearest")
        ax.axvline(a * da, color="white", linewidth=0.8, linestyle=":")
        ax.axhline(d * dd, color="white", linewidth=0.8, linestyle=":")
        ax.set(xlabel=f"{across}$_d$ (mm)", ylabel=f"{down}$_d$ (mm)", title=f"{across}{down} slice")
        ax.grid(False)


def _voxel(volume: Volume, at_pr: ArrayLike | None) -> tuple[int, int, int]:
    nz, ny, nx = volume.grid.shape
    centre = np.array([nx - 1, ny - 1, nz - 1]) / 2
    where = centre if at_pr is None else volume.grid.voxels(at_pr)
    i, j, k = (int(v) for v in np.rint(where))
    if not (0 <= i < nx and 0 <= j < ny and 0 <= k < nz):
        raise ValueError(
            f"the point is voxel ({i}, {j}, {k}) of a volume of {nx} x {ny} x {nz}; expected one inside. "
            "Is it given in the patient reference?"
        )
    return i, j, k


def _slab(values: np.ndarray, axis: int, index: int, thickness: int) -> np.ndarray:
    """The slice, or the brightest along a slab of slices; NaN only where every voxel is NaN."""
    low, high = max(index - thickness, 0), min(index + thickness + 1, values.shape[axis])
    slab = np.take(values, range(low, high), axis=axis)
    brightest = np.where(np.isnan(slab), -np.inf, slab).max(axis=axis)
    return np.where(np.isneginf(brightest), np.nan, brightest)


def frame_gallery(sweep: Sweep, frames: Sequence[int], *, title: str = "") -> Figure:
    """Some frames of a sweep with the sector's outline, to scale, the origin of ``t`` at the top."""
    figure, axes = new_figure(len(frames), width=3.4 * len(frames), height=3.6)
    _draw_frames(list(np.atleast_1d(axes)), sweep, frames)
    if title:
        figure.suptitle(title)
    return figure


def _draw_frames(axes: Sequence[Any], sweep: Sweep, frames: Sequence[int]) -> None:
    sx, sy = sweep.sector.spacing_mm
    c0, r0 = sweep.sector.origin_p
    height, width = sweep.sector.shape
    extent = ((-0.5 - c0) * sx, (width - 0.5 - c0) * sx, (height - 0.5 - r0) * sy, (-0.5 - r0) * sy)
    left, right, top, bottom = sweep.sector.clip_p
    for ax, n in zip(axes, frames, strict=True):
        ax.imshow(sweep.frames[n], cmap="gray", vmin=0, vmax=255, extent=extent)
        ax.contour(
            sweep.sector.mask().astype(float),
            levels=[0.5],
            colors="white",
            linewidths=0.8,
            linestyles=":",
            extent=extent,
            origin="upper",
        )
        ax.set(
            xlim=((left - c0 - 6) * sx, (right - c0 + 6) * sx),
            ylim=((bottom - r0 + 6) * sy, (top - r0 - 6) * sy),
            xlabel="across, $-y_t$ (mm)",
            title=f"frame {n}" + ("" if sweep.valid[n] else " (no tracking)"),
        )
        ax.grid(False)
    axes[0].set_ylabel("depth, $z_t$ (mm)")


def sweep_and_volume(
    sweep: Sweep, frames: Sequence[int], volume: Volume, at_pr: ArrayLike, *, thickness: int = 0
) -> Figure:
    """Three frames of a sweep above three slices of the volume reconstructed from it, to scale."""
    at = _voxel(volume, at_pr)
    figure, axes = new_figure(3, 2, width=12.0, height=8.0)
    _draw_frames(axes[0], sweep, frames)
    _draw_slices(axes[1], volume, at, thickness)
    return figure
