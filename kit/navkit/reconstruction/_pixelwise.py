"""The door: a sweep in, a volume out, whichever method fills the voxels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from navkit.reconstruction._grid import Grid, Volume, demand_memory, output_grid
from navkit.reconstruction._live import Compounding, Reconstructor
from navkit.ultrasound import Sweep

Progress = Callable[[int, int], None]
Method = Literal["pnn", "splat", "vnn", "vnn2", "dw", "anisotropic", "path", "predict"]
Fill = Literal["none", "custusx", "nearest", "gaussian", "accumulate", "distance", "stick", "convolution"]
BYTES_A_VOXEL = 4 + 4 + 1  # voxel by voxel


def reconstruct(
    sweep: Sweep,
    grid: Grid | None = None,
    *,
    method: Method = "pnn",
    compounding: Compounding = "mean",
    fill: Fill = "none",
    fill_steps: int = 3,
    radius_mm: float | None = None,
    plane_limit: int | None = None,
    importance: ArrayLike | None = None,
    reject_below: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Volume:
    """Reconstruct a volume from the valid frames of a sweep.

    Parameters
    ----------
    grid : where the voxels lie; left out, `output_grid` with its defaults
    method : pixel by pixel: "pnn", each falls into the voxel whose centre is nearest, or "splat", each is
        shared among its eight voxels with trilinear weights. Voxel by voxel: "vnn", "vnn2", "dw",
        "anisotropic" and "path" average the frames that pass near, as `voxelwise` says [1]_; "predict"
        follows the path, smooths as much as the sweep's own held-out frames ask for, and averages frames
        closer than two voxels: the one to take, dense or sparse
    compounding : what a voxel keeps of its pixels. "mean" is exact with "pnn" (sum over count) and the
        weighted mean with "splat". "max", "last" and "first" go by frame, row and column; with "splat"
        a pixel then reaches the voxels where its weight is 1/8 or more [2]_. "median3" is the median of the
        last three frames that met the voxel, each by its last pixel; of two it is the mean. CustusX
        documents "max" but keeps "last": both are here, by name
    fill, fill_steps : how empty voxels are interpolated and how many voxels away the known ones may lie, as
        `fill_holes` says. "custusx" takes the mean of the known ones in the smallest cube around it that
        has any, up to ``2 * fill_steps + 1`` wide, if it lies between known voxels along x, y or z
    radius_mm, plane_limit : voxel by voxel only: how far frames may be, and how many are averaged
    importance : (h, w) uint8, pixel by pixel only; how often each pixel counts in a mean. Those of 0 are
        never used
    reject_below : pixel by pixel only; darker ones are not used, as with PLUS's PixelRejectionThreshold
    threads : how many; all cores when left out. The result is the same for any number
    progress : called with (frames done, frames in all)

    Returns
    -------
    Volume
        ``values`` NaN where no pixel fell and nothing was filled; ``weight`` the number of pixels, each as
        often as it is important, or the sum of weights. Filled voxels have none.

    Raises
    ------
    ValueError
        If a choice is unknown, no frame is valid, a valid pose is not finite, no pixel is left, or the volume
        would need more memory than is free; nothing has been allocated then.

    Notes
    -----
    Frames are read where they are: those of a `numpy.memmap` stream from disk. To insert frames as they come,
    or in blocks, use `Reconstructor`.

    References
    ----------
    .. [1] CustusX, plug-in org.custusx.usreconstruction.pnn; taxonomy of methods in Solberg et al.,
       Ultrasound Med. Biol. 33(7), 2007, doi:10.1016/j.ultrasmedbio.2007.02.015.
    .. [2] Lasso et al., PLUS, IEEE Trans. Biomed. Eng. 61(10), 2014, doi:10.1109/TBME.2014.2322864.
    """
    _check_choice("method", method, get_args(Method))
    _check_choice("fill", fill, get_args(Fill))
    filling = fill, fill_steps, threads
    if method == "pnn" or method == "splat":
        if radius_mm is not None or plane_limit is not None:
            raise ValueError(
                f"radius_mm and plane_limit belong to other methods; expected none for {method!r}."
            )
        live = Reconstructor(
            _grid(sweep, grid),
            sweep.sector,
            method=method,
            compounding=compounding,
            importance=importance,
            reject_below=reject_below,
            threads=threads,
        )
        live.insert(sweep.frames, sweep.pr_M_p, valid=sweep.valid, progress=progress)
        volume = live.volume()
        del live  # its voxels' words need not lie there while holes are filled
        return _filled(volume, *filling)
    if compounding != "mean" or importance is not None or reject_below:
        raise ValueError(
            f"method {method!r} works voxel by voxel; compounding, importance and reject_below are for "
            "'pnn' and 'splat' only."
        )
    from navkit.reconstruction._predict import predicted
    from navkit.reconstruction._voxelwise import voxelwise

    grid = _grid(sweep, grid)
    # beside the voxels, "predict" keeps smoothed frames
    more = 4 / 3 * float(sweep.valid.sum()) * sweep.sector.mask().size if method == "predict" else 0.0
    demand_memory(grid.shape, grid.spacing_mm, BYTES_A_VOXEL, more=more)
    if method == "predict":
        if plane_limit is not None:
            raise ValueError(f"plane_limit is {plane_limit}; expected none for method 'predict'.")
        values, weight = predicted(sweep, grid, radius_mm=radius_mm, threads=threads, progress=progress)
    else:
        values, weight = voxelwise(
            sweep,
            grid,
            method=method,
            radius_mm=radius_mm,
            plane_limit=plane_limit,
            threads=threads,
            progress=progress,
        )
    return _filled(Volume(values, weight, np.zeros(grid.shape, dtype=bool), grid), *filling)


def reconstruct_dual(
    bmode: Sweep,
    angio: Sweep,
    grid: Grid | None = None,
    *,
    method: Literal["pnn", "splat"] = "pnn",
    compounding: Compounding = "mean",
    fill: Fill = "none",
    fill_steps: int = 3,
    importance: ArrayLike | None = None,
    reject_below: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Volume, Volume]:
    """Both volumes of a coloured sweep in one pass, as CustusX's "Dual Angio": all in grey, and colour only.

    The two sweeps are what `navkit.ultrasound.split_angio` makes of coloured frames: the same poses, and in
    `angio` 0 where a pixel was grey. Such a pixel counts as dark; with ``reject_below=1`` a pixel of 0
    counts as nothing, in either volume. The other parameters are those of `reconstruct`.

    Raises
    ------
    ValueError
        As `reconstruct`, or if the two sweeps differ in poses, sector or validity.
    """
    same = bmode.frames.shape == angio.frames.shape and bmode.sector == angio.sector
    same = same and np.array_equal(bmode.valid, angio.valid)
    if not same or not np.array_equal(bmode.pr_M_p, angio.pr_M_p, equal_nan=True):  # a lost frame is NaN
        raise ValueError(
            f"{bmode.name!r} and {angio.name!r} differ in size, sector, poses or validity; expected two "
            "channels of the same frames, as `split_angio` makes them."
        )
    _check_choice("fill", fill, get_args(Fill))
    live = Reconstructor(
        _grid(bmode, grid),
        bmode.sector,
        method=method,
        compounding=compounding,
        importance=importance,
        reject_below=reject_below,
        channels=2,
        threads=threads,
    )
    live.insert((bmode.frames, angio.frames), bmode.pr_M_p, valid=bmode.valid, progress=progress)
    volumes = live.volumes()
    del live
    one, two = (_filled(volume, fill, fill_steps, threads) for volume in volumes)
    return one, two


def _check_choice(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"{name} is {given!r}; expected {', '.join(map(repr, known))}.")


def _grid(sweep: Sweep, grid: Grid | None) -> Grid:
    if not sweep.valid.any():
        raise ValueError(f"sweep {sweep.name!r} has no valid frame; expected at least one with a pose.")
    return output_grid(sweep) if grid is None else grid


def _filled(volume: Volume, fill: Fill, reach: int, threads: int | None) -> Volume:
    if fill == "none":
        return volume
    from navkit.reconstruction._fill import fill_holes

    values, filled = fill_holes(
        volume.values,
        weight=volume.weight,
        method=fill,
        reach=reach,
        spacing_mm=volume.grid.spacing_mm,
        threads=threads,
    )
    return replace(volume, values=values, filled=filled)
