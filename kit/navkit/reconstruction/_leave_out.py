"""How well a volume tells what a picture would have shown: leave frames out, and compare."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import transform_points
from navkit.reconstruction._grid import Grid, Volume, output_grid
from navkit.reconstruction._live import Compounding
from navkit.reconstruction._pixelwise import Fill, Method, reconstruct
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOutResult:
    """How pictures that were left out differ from what the volume says of them.

    Parameters
    ----------
    mae, rms : mean absolute and root mean square difference, grey levels, over the pixels that the volume
        covers
    covered : the part of the left-out pixels that it covers; a method that fills less is asked less, so
        compare methods on pixels that all of them cover: `difference` is NaN elsewhere
    gap_mm : mean distance between the frames kept on the two sides, over the picture
    frames : (m,) indices of the pictures that were compared
    difference : (m, pixels of the mask) float32, volume minus picture
    gaps_mm : (m,) the same as `gap_mm`, picture by picture
    """

    mae: float
    rms: float
    covered: float
    gap_mm: float
    frames: NDArray[np.int64]
    difference: NDArray[np.float32]
    gaps_mm: Array


def leave_out_error(
    sweep: Sweep,
    grid: Grid | None = None,
    *,
    every: int = 10,
    width: int = 1,
    method: Method = "pnn",
    compounding: Compounding = "mean",
    fill: Fill = "none",
    fill_steps: int = 3,
    radius_mm: float | None = None,
    plane_limit: int | None = None,
    threads: int | None = None,
) -> LeaveOutResult:
    """Leave frames out, reconstruct from the others, and compare the middle one of those left out.

    Parameters
    ----------
    sweep : Sweep
    grid : where; left out, `output_grid` of the whole sweep
    every : one run of frames is left out in so many valid ones
    width : frames in a run, odd: the wider, the greater the gap
    method, compounding, fill, fill_steps, radius_mm, plane_limit, threads : see `reconstruct`

    Raises
    ------
    ValueError
        If `width` is not odd, is not below `every`, or the sweep has fewer than ``every + 2`` valid frames.

    References
    ----------
    Rohling, Gee, Berman, Med. Image Anal. 3(4), 1999, doi:10.1016/S1361-8415(99)80028-0; Coupe et al.,
    IPMI 2005; the gap is stated in mm, and holes are never scored as black.
    """
    if not (1 <= width < every and width % 2 == 1):
        raise ValueError(f"width is {width}, every {every}; expected an odd width below every.")
    valid = np.flatnonzero(sweep.valid)
    if len(valid) < every + 2:
        raise ValueError(f"the sweep has {len(valid)} valid frames; expected at least {every + 2}.")
    half = width // 2
    middle = np.arange(max(every // 2, half + 1), len(valid) - half - 1, every)
    left_out = (middle[:, None] + np.arange(-half, half + 1)).ravel()
    keep = sweep.valid.copy()
    keep[valid[left_out]] = False
    grid = output_grid(sweep) if grid is None else grid
    volume = reconstruct(
        replace(sweep, valid=keep), grid, method=method, compounding=compounding, fill=fill,
        fill_steps=fill_steps, radius_mm=radius_mm, plane_limit=plane_limit, threads=threads,
    )  # fmt: skip

    rows, columns = np.nonzero(sweep.sector.mask())
    pixels = np.stack([columns, rows, 0 * rows], axis=-1).astype(float)
    some = pixels[:: max(len(pixels) // 500, 1)]
    difference = np.empty((len(middle), len(pixels)), dtype=np.float32)
    gaps = []
    for k, at in enumerate(middle):
        frame = valid[at]
        there = sample(volume, transform_points(sweep.pr_M_p[frame], pixels))
        difference[k] = there - sweep.frames[frame][rows, columns]
        before, after = (transform_points(sweep.pr_M_p[valid[at + s * (half + 1)]], some) for s in (-1, 1))
        gaps.append(np.linalg.norm(after - before, axis=1).mean())
    asked = difference[np.isfinite(difference)].astype(float)
    if asked.size == 0:
        raise ValueError("the volume covers no pixel that was left out. Is the gap wider than the filling?")
    return LeaveOutResult(
        float(np.abs(asked).mean()),
        float(np.sqrt((asked**2).mean())),
        asked.size / difference.size,
        float(np.mean(gaps)),
        valid[middle],
        difference,
        np.array(gaps),
    )


def sample(volume: Volume, points_pr: ArrayLike) -> NDArray[np.float32]:
    """Grey values (...) of a volume at points (..., 3), trilinear over the known voxels.

    NaN where the known ones have less than half of the weight.

    Examples
    --------
    >>> grid = Grid((2, 2, 2), (1.0, 2.0, 3.0), np.eye(4))
    >>> values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    >>> volume = Volume(values, np.ones_like(values, np.uint32), np.zeros_like(values, bool), grid)
    >>> float(sample(volume, [0.5, 1.0, 1.5]))
    3.5
    """
    from scipy.ndimage import map_coordinates

    points = np.asarray(points_pr, dtype=float)
    at = volume.grid.voxels(points.reshape(-1, 3))[:, ::-1].T
    known = np.isfinite(volume.values)
    weight, total = (
        map_coordinates(part, at, order=1, mode="constant", cval=0.0, output=np.float64)
        for part in (known.astype(np.float32), np.where(known, volume.values, 0).astype(np.float32))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(weight >= 0.5, total / weight, np.nan)
    return value.reshape(points.shape[:-1]).astype(np.float32)
