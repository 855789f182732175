"""LC2, the similarity of ultrasound and MR, and the climb to its top; level by level, for descriptors too."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import inverse, pose_from
from navkit.registration._images import ImageResult, Metric

Array = NDArray[np.float64]
Evaluate = Callable[[Array, bool], Array]
"""From ``m_M_f``, and whether the slope is wanted, to the sums that the kernels' TOTAL names."""

CLOSE = 0.01
"""A climb ends when the step, as the RMS over the voxels, is a smaller share of the working voxel."""
SEARCH_STEPS = 10
LONGEST_MM = 8.0
LOSS = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Level:
    """A picture at a working resolution: smooth, NaN where there is no data.

    Parameters
    ----------
    values : (nz, ny, nx)
    f_M_voxel : (4, 4) from its voxel indices (x, y, z) to its space, mm
    """

    values: Array
    f_M_voxel: Array

    def centre(self) -> tuple[Array, float]:
        """The middle of what is known (3,), and the RMS distance of the voxels from it, mm."""
        voxels = np.argwhere(np.isfinite(self.values))[:, ::-1]
        points = voxels @ self.f_M_voxel[:3, :3].T + self.f_M_voxel[:3, 3]
        middle: Array = points.mean(axis=0)
        return middle, float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))


@dataclass(frozen=True)
class Climb:
    """Where a climb ended.

    Parameters
    ----------
    m_M_f : (4, 4)
    value : the similarity there
    steps : how many were taken
    loose_mm : the RMS shift of the voxels, along the motion that the pictures hold least, that costs 0.01 of
        the similarity
    """

    m_M_f: Array
    value: float
    steps: int
    loose_mm: float


def run(
    fixed: tuple[Array, Array],
    moving: tuple[Array, Array],
    f_M_m: Array,
    *,
    metric: Metric,
    levels_mm: tuple[float, ...],
    iterations: int,
    edge: int,
    search_mm: float,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> ImageResult:
    """See `register_images`."""
    from navkit.registration._descriptors import ssc_climb, ssc_value

    spacing = np.linalg.norm(moving[1][:3, :3], axis=0)
    most, steps = iterations * len(levels_mm), 0

    def tick() -> None:
        nonlocal steps
        steps += 1
        if progress is not None:
            progress(min(steps, most), most)

    first = inverse(f_M_m)
    starts = [first]
    if search_mm > 0:
        ways = search_mm * np.vstack([np.eye(3), -np.eye(3)])
        starts += [first @ pose_from(np.eye(3), way) for way in ways]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        workers = Workers(pool, threads or os.cpu_count() or 1)
        for level_mm in levels_mm:
            level, smooth = at_level(*fixed, level_mm), smoothed(moving[0], spacing, level_mm)
            up: Callable[[Array, int], Climb]
            if metric == "lc2":
                evaluate = lc2_evaluate(level, smooth, moving[1], edge, workers)
                up = partial(climb, evaluate, level, tick)
            else:
                up = partial(ssc_climb, level, smooth, moving[1], workers, tick)
            if len(starts) > 1:
                starts = [max((up(s, SEARCH_STEPS) for s in starts), key=lambda end: end.value).m_M_f]
            best = up(starts[0], iterations)
            starts = [best.m_M_f]
        before = (
            evaluate(first, False) if metric == "lc2" else ssc_value(level, smooth, moving[1], first, workers)
        )
    if progress is not None:
        progress(most, most)
    f_M_m = inverse(best.m_M_f)
    return ImageResult(f_M_m, metric, "rigid", similarity(before), best.value, steps, 0.0, best.loose_mm)


def smoothed(values: NDArray[np.generic], spacing_mm: Array, level_mm: float) -> Array:
    """Values (nz, ny, nx) as if a voxel of that size had averaged them; NaN where less than half is known."""
    from scipy.ndimage import gaussian_filter

    sigma = np.sqrt(np.maximum(level_mm**2 - spacing_mm**2, 0.0)) / 2 / spacing_mm
    known = np.isfinite(values)
    total, share = (
        gaussian_filter(part, sigma[::-1], mode="nearest", output=np.float64)
        for part in (np.where(known, values, 0.0).astype(np.float64), known.astype(np.float64))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(share > 0.5, total / share, np.nan)


def at_level(values: NDArray[np.generic], f_M_voxel: Array, level_mm: float) -> Level:
    """The picture on a grid of `level_mm` along its own axes, or of its own spacing where that is wider."""
    from scipy.ndimage import map_coordinates

    spacing = np.linalg.norm(f_M_voxel[:3, :3], axis=0)
    step = np.maximum(level_mm / spacing, 1.0)
    size = np.floor((np.array(values.shape[::-1]) - 1) / step + 1e-9).astype(int) + 1
    rest = (np.array(values.shape[::-1]) - 1 - (size - 1) * step) / 2  # the grid in the picture's middle
    smooth = smoothed(values, spacing, level_mm)
    axes = [rest[a] + step[a] * np.arange(size[a]) for a in (2, 1, 0)]
    # beyond a voxel that is not known there is nothing to interpolate: NaN spreads by itself
    coarse = map_coordinates(smooth, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    m = np.diag([*step, 1.0])
    m[:3, 3] = rest
    return Level(coarse, f_M_voxel @ m)


def with_gradient(values: Array, spacing_mm: Array) -> Array:
    """Intensity and gradient magnitude by mm, (nz, ny, nx, 2)."""
    slopes = np.gradient(values, *spacing_mm[::-1])
    return np.stack([values, np.sqrt(sum(s**2 for s in slopes))], axis=-1)


def lc2_evaluate(level: Level, moving: Array, m_M_voxel: Array, edge: int, pool: "Workers") -> Evaluate:
    """LC2 of a level and an MR (nz, ny, nx) at its resolution; patches of ``2 * edge`` voxels a side."""
    from navkit.registration._lc2_kernels import TOTAL, lc2_slabs

    channels = with_gradient(moving, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    mean = np.array([np.nanmean(level.values), *np.nanmean(channels, axis=(0, 1, 2))])
    floor = (ROUNDING * np.nanmax(np.abs(channels), axis=(0, 1, 2))) ** 2
    slabs = max(-(-len(level.values) // edge) - 1, 1)
    offset = offsets(level)

    def evaluate(m_M_f: Array, slope: bool) -> Array:
        at = chained(inverse(m_M_voxel) @ m_M_f, level)
        out = np.zeros((slabs, TOTAL))
        pictures = (level.values, channels, at, offset, mean, floor, edge, slope)
        pool.run(lambda first, last: lc2_slabs(*pictures, first, last, out), slabs)
        total: Array = out.sum(axis=0)
        return total

    return evaluate


def offsets(level: Level) -> Array:
    """From voxel indices to the offset from the centre of rotation, (3, 4), mm."""
    m = level.f_M_voxel[:3].copy()
    m[:, 3] -= level.centre()[0]
    return m


def chained(index_M_f: Array, level: Level) -> Array:
    """From a voxel to the place in the other picture, and below it the linear part for slopes: (6, 4)."""
    return np.vstack([(index_M_f @ level.f_M_voxel)[:3], index_M_f[:3]])


def climb(evaluate: Evaluate, level: Level, tick: Callable[[], None], start: Array, most: int) -> Climb:
    """To the nearest top by Levenberg-Marquardt, a step at a time, never down."""
    from scipy.spatial.transform import Rotation

    centre, reach = level.centre()
    close_mm = CLOSE * float(np.linalg.norm(level.f_M_voxel[:3, :3], axis=0).min())
    scale = np.array([reach, reach, reach, 1.0, 1.0, 1.0])
    m_M_f, damping, steps = start, 1e-3, 0
    total = evaluate(m_M_f, True)
    value = similarity(total)
    length = np.inf
    while steps < most and total[0] > 0 and length > close_mm:
        slope, matrix = _scaled(total, scale)
        better = False
        while not better and damping < 1e6:
            step = np.linalg.solve(matrix + damping * (np.trace(matrix) / 6 + 1e-300) * np.eye(6), slope)
            length = float(np.linalg.norm(step))
            step = step * min(1.0, LONGEST_MM / length) if length > 0 else step
            turn = Rotation.from_rotvec(step[:3] / scale[:3])
            there = m_M_f @ pose_from(turn, centre - turn.apply(centre) + step[3:])
            new = evaluate(there, True)
            better = similarity(new) > value
            if not better and length < close_mm:
                break
            damping = damping / 4 if better else damping * 4
        if not better:
            break
        m_M_f, total, value, steps = there, new, similarity(new), steps + 1
        tick()
    return Climb(m_M_f, value, steps, _loose(total, scale))


def similarity(total: Array) -> float:
    """1 minus the share that is not explained; 0 where there is nothing to explain."""
    return float(1.0 - total[1] / total[0]) if total[0] > 0 else 0.0


def _scaled(total: Array, scale: Array) -> tuple[Array, Array]:
    lower = total[10:].reshape(6, 6) / total[0]
    matrix = (lower + np.tril(lower, -1).T) / np.outer(scale, scale)
    return total[4:10] / total[0] / scale, matrix


def _loose(total: Array, scale: Array) -> float:
    if total[0] <= 0:
        return float("inf")
    least = float(np.linalg.eigvalsh(_scaled(total, scale)[1])[0])
    return float(np.sqrt(LOSS / least)) if least > 0 else float("inf")


@dataclass(frozen=True)
class Workers:
    """Threads that share rows."""

    pool: ThreadPoolExecutor
    threads: int

    def run(self, work: Callable[[int, int], None], rows: int) -> None:
        """Do ``work(first, last)`` for all rows, in shares small enough that no one waits long."""
        cuts: Sequence[int] = np.unique(np.linspace(0, rows, 4 * self.threads + 1).astype(int)).tolist()
        list(self.pool.map(lambda cut: work(*cut), pairwise(cuts)))
