"""Prediction: along the probe's path, and as smooth as the sweep itself tells."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import inverse
from navkit.reconstruction._grid import Grid
from navkit.reconstruction._voxelwise import prepared
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]
Pyramid = tuple[NDArray[np.float32], NDArray[np.int64]]

LEVELS = 4  # the widest is 11 pixels wide (standard deviation)
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
QUESTIONS = 200_000  # pixels that are held out, of all frames and for all lags together
BINS, PARTS = 32, 4
WIDTH = 2.0  # voxels within which frames are averaged


def predicted(
    sweep: Sweep,
    grid: Grid,
    *,
    radius_mm: float | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and weights of a grid's voxels, told along the probe's path and as smooth as the sweep asks for.

    A voxel lies on a path between two consecutive frames, as with "path" of `voxelwise` [1]_, and is told
    linearly from the same pixel of both, after both were smoothed in their plane: where speckle does not
    reach across the gap, a mean tells more than a pixel. How smooth is asked of the sweep itself. Pixels of
    every valid frame are held out and told from the frames 1 to 32 before and after, by way of the voxels
    around them, at every level of smoothing. The level that errs least (mean absolute error over the least
    one of that length) is taken to rise linearly with the root of ``l = 4 p q / (p + q)``, p and q being the
    distances from the two frames: between two known points of a random walk the standard deviation rises
    so [2]_. Frames that are not valid are never looked at.

    Where the two frames are closer than two voxels, a line is fitted to all that pass within two voxels, each
    read at the voxel's foot; their weights fall linearly with the distance.

    Parameters
    ----------
    radius_mm : two frames may lie twice as far apart; default 3 mm. Nothing is reached beyond the first and
        the last frame
    threads : how many; all cores when left out. The result is the same for any number
    progress : called with (rows of blocks done, rows in all)

    Returns
    -------
    values : (nz, ny, nx) float32; NaN where no path leads
    weight : (nz, ny, nx) float32; how many pixels the mean is worth: white noise has its variance divided by
        it, on average over where a voxel lies between pixels. 0 where no path leads

    Raises
    ------
    ValueError
        If a choice is out of range, fewer than two frames are valid, or a valid frame has no proper pose.

    Notes
    -----
    Level 0 is the frame; level k is it, k times smoothed by (1, 4, 6, 4, 1) / 16 and halved [3]_. Read
    bilinearly, levels 0 to 4 are 0.4, 1.3, 2.8, 5.6 and 11.3 pixels wide (standard deviation); those between
    are mixed. They take 4/3 bytes for every pixel of a valid frame.

    References
    ----------
    .. [1] Coupé, Hellier, Azzabou, Barillot, MICCAI 2005, doi:10.1007/11566465_74.
    .. [2] The Brownian bridge, which is what kriging with a linear variogram tells: Matheron, Econ. Geol. 58,
       1963, doi:10.2113/gsecongeo.58.8.1246.
    .. [3] Burt, Adelson, IEEE Trans. Commun. 31(4), 1983, doi:10.1109/TCOM.1983.1095851.

    Examples
    --------
    Two frames 4 mm apart, 10 and 50 bright; a voxel 1 mm from the first:

    >>> from navkit.ultrasound import ProbeSector
    >>> sector = ProbeSector("linear", 9, (0, 9), (4.5, 0), (1.0, 1.0), (0, 9, 0, 9), (10, 10))
    >>> frames = np.stack([np.full((10, 10), grey, dtype=np.uint8) for grey in (10, 50)])
    >>> pr_M_t = np.stack([np.eye(4), np.eye(4)])
    >>> pr_M_t[1, 0, 3] = 4.0
    >>> sweep = Sweep(frames, np.arange(2.0), pr_M_t @ sector.t_M_p(), sector, np.ones(2, dtype=bool))
    >>> grid = Grid((1, 1, 1), (1.0, 1.0, 1.0), np.eye(4))
    >>> grid.pr_M_d[:3, 3] = 1.0, 0.0, 5.0
    >>> predicted(sweep, grid)[0].item()
    20.0
    """
    from navkit.reconstruction import _predict_kernels as kernels

    frames, order, planes, mask, area, rows, radius = prepared(sweep, grid, radius_mm, threads, at_least=2)
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    weight = np.zeros(grid.shape, dtype=np.float32)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        pyramid = _pyramid(frames, order, mask, pool)
        rule = level_rule(sweep, grid, planes, pyramid, reach=2 * radius)
        given = frames, order, planes, mask, area, *pyramid, rule, kernel_products()

        def fill(row: tuple[int, int]) -> None:
            kernels.predict(*given, row, 2 * radius, WIDTH * min(grid.spacing_mm), values, weight)

        for done, _ in enumerate(pool.map(fill, rows), start=1):
            if progress is not None:
                progress(done, len(rows))
    return values, weight


def _pyramid(
    frames: NDArray[np.uint8], order: NDArray[np.int64], mask: NDArray[np.bool_], pool: ThreadPoolExecutor
) -> Pyramid:
    """Levels 1 and up of the used frames (m, pixels of all of them); where each starts, and its width."""
    from navkit.reconstruction._predict_kernels import halve

    shapes = [mask.shape]
    for _ in range(LEVELS):
        shapes.append((shapes[-1][0] // 2 + 2, shapes[-1][1] // 2 + 2))
    ends = np.cumsum([h * w for h, w in shapes[1:]])
    layout = np.array([[0, *ends[:-1]], [w for _, w in shapes[1:]]], dtype=np.int64).T.copy()
    levels = np.empty((len(order), ends[-1]), dtype=np.float32)

    def smooth(n: int) -> None:
        picture, known = frames[order[n]].astype(np.float32), mask
        for (start, _), end, shape in zip(layout, ends, shapes[1:], strict=True):
            smaller, fewer = levels[n, start:end].reshape(shape), np.empty(shape, dtype=np.bool_)
            halve(picture, known, smaller, fewer)
            picture, known = smaller, fewer

    list(pool.map(smooth, range(len(order))))
    return levels, layout


def level_rule(
    sweep: Sweep, grid: Grid, planes: Array, pyramid: Pyramid, *, reach: float
) -> tuple[float, float]:
    """The level at length 0, and its rise with the root of the length in mm, that tell held-out pixels best.

    (0, 0) if none can be held out.
    """
    from navkit.reconstruction._predict_kernels import hold_out

    order = np.flatnonzero(sweep.valid)
    pixels = np.argwhere(sweep.sector.mask())
    lags = np.array([lag for lag in LAGS if 2 * lag < len(order)], dtype=np.int64)
    asked = min(len(pixels), QUESTIONS // (len(order) * max(len(lags), 1)) + 1)
    voxel_M_p = np.ascontiguousarray((inverse(grid.pr_M_voxel()) @ sweep.pr_M_p[order])[:, :3])
    error = np.zeros((LEVELS * PARTS + 1, BINS))
    root, number = np.zeros((2, BINS))
    hold_out(
        np.ascontiguousarray(sweep.frames), order, planes, sweep.sector.mask(), *pyramid, voxel_M_p,
        pixels[np.arange(asked) * len(pixels) // asked], lags, reach, PARTS, error, root, number,
    )  # fmt: skip
    there = number >= 100
    if not there.any():
        return 0.0, 0.0
    error = error[:, there] / number[there]
    error /= np.maximum(error.min(axis=0), 1e-9)
    best, rule = np.inf, (0.0, 0.0)
    for start in np.linspace(0, LEVELS, 8 * LEVELS + 1):
        for rise in np.linspace(0, 2, 41):
            level = np.minimum(start + rise * (root / np.maximum(number, 1))[there], LEVELS)
            mean = _read(error, level * PARTS).mean()
            if mean < best:
                best, rule = mean, (float(start), float(rise))
    return rule


def _read(table: Array, at: Array) -> Array:
    """Column by column, linear between rows."""
    low, columns = np.minimum(at.astype(int), len(table) - 2), np.arange(table.shape[1])
    return np.asarray((1 - (at - low)) * table[low, columns] + (at - low) * table[low + 1, columns])


def kernel_products(n: int = 128) -> Array:
    """Mean products (levels + 1, levels + 1) of the levels' kernels over where they are read between pixels.

    The diagonal is what is left of the variance of white noise.
    """
    level, places = np.eye(n), n / 2 + (np.arange(256) + 0.5) / 16 - 8
    rows = []
    for k in range(LEVELS + 1):
        low = np.floor(places / 2**k).astype(int)
        part = (places / 2**k - low)[:, None]
        rows.append((1 - part) * level[low] + part * level[low + 1])
        padded = np.pad(level, ((2, 6), (0, 0)))
        padded = np.stack([padded[a::2][: len(level) // 2 + 2] for a in range(5)], axis=-1)
        level = padded @ np.array([1, 4, 6, 4, 1]) / 16
    kernels = np.stack(rows)
    products = np.einsum("kax,lax->kl", kernels, kernels) / len(places)
    return np.asarray(products**2)  # rows and columns alike
