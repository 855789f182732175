"""Pixel-based reconstruction: every pixel goes to its nearest voxel (PNN), then holes are filled."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from navkit.geometry import inverse
from navkit.reconstruction._grid import Grid, Volume, output_grid
from navkit.ultrasound import Sweep

BYTES_A_VOXEL = 4 + 4 + 4 + 1 + 1  # sum, count, value, known, filled
COMPOUNDING = ("mean", "max", "last", "first")  # in the order of the kernels' constants


def reconstruct(
    sweep: Sweep,
    grid: Grid | None = None,
    *,
    method: Literal["pnn"] = "pnn",
    compounding: Literal["mean", "max", "last", "first"] = "mean",
    fill: Literal["none", "custusx"] = "none",
    fill_steps: int = 3,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Volume:
    """Reconstruct a volume from the valid frames of a sweep.

    Parameters
    ----------
    grid : where the voxels lie; left out, `output_grid` with its defaults
    method : "pnn", pixel nearest neighbour: each pixel of the sector falls into the voxel whose
        centre is nearest
    compounding : what a voxel keeps of its pixels. "mean" is exact (sum over count). CustusX documents
        "max" but keeps "last" [1]_: both are here, by name
    fill : "custusx" gives an empty voxel the mean of the known ones in the smallest cube around it that
        has any, up to ``2 * fill_steps + 1`` voxels wide, if it lies between known voxels along x, y or z
    threads : how many; all cores when left out. The result is the same for any number
    progress : called with (frames done, frames in all)

    Returns
    -------
    Volume
        ``values`` NaN where no pixel fell and nothing was filled.

    Raises
    ------
    ValueError
        If a choice is unknown, or the volume would need more memory than is free; nothing has been
        allocated then.

    References
    ----------
    .. [1] CustusX, plug-in org.custusx.usreconstruction.pnn; taxonomy of methods in Solberg et al.,
       Ultrasound Med. Biol. 33(7), 2007, doi:10.1016/j.ultrasmedbio.2007.02.015.
    """
    if method != "pnn":
        raise ValueError(f"method is {method!r}; expected 'pnn', the one that exists so far.")
    if compounding not in COMPOUNDING:
        raise ValueError(f"compounding is {compounding!r}; expected one of {', '.join(COMPOUNDING)}.")
    if fill not in ("none", "custusx"):
        raise ValueError(f"fill is {fill!r}; expected 'none' or 'custusx'.")
    from navkit.reconstruction import _kernels

    grid = output_grid(sweep) if grid is None else grid
    _demand_memory(grid)
    mode = COMPOUNDING.index(compounding)
    mask = sweep.sector.mask()
    columns = _kernels.row_spans(mask)
    used = np.flatnonzero(sweep.valid)
    voxel_M_p = inverse(grid.pr_M_voxel()) @ sweep.pr_M_p
    total = np.zeros(grid.shape, dtype=np.uint32)
    count = np.zeros(grid.shape, dtype=np.uint32)

    workers = max(1, min(threads or os.cpu_count() or 1, grid.shape[0]))
    edges = np.linspace(0, grid.shape[0], workers + 1).astype(int)

    def paste(worker: int) -> None:
        slab = float(edges[worker]), float(edges[worker + 1])
        for done, n in enumerate(used, start=1):
            frame = np.ascontiguousarray(sweep.frames[n])
            _kernels.paste_frame(frame, columns, mask, voxel_M_p[n], mode, *slab, total, count)
            if progress is not None and worker == 0:
                progress(done, len(used))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(paste, range(workers)))

    known = count > 0
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    divisor = count if mode == _kernels.MEAN else np.uint32(1)
    np.divide(total, divisor, out=values, where=known, casting="same_kind")
    filled = np.zeros(grid.shape, dtype=bool)
    if fill == "custusx":
        filled = _kernels.fill_growing_cube(values, known, fill_steps)
    return Volume(values, count, filled, grid)


def _demand_memory(grid: Grid) -> None:
    """Refuse before allocating: a process that is killed for want of memory says nothing."""
    import psutil

    needed = BYTES_A_VOXEL * float(np.prod(grid.shape, dtype=float))
    free = float(psutil.virtual_memory().available)
    if needed > 0.9 * free:
        nz, ny, nx = grid.shape
        raise ValueError(
            f"{nx} x {ny} x {nz} voxels of {grid.spacing_mm[0]:.4g} mm need {needed / 1e9:.1f} GB of memory "
            f"and {free / 1e9:.1f} GB are free. Take a larger spacing."
        )
