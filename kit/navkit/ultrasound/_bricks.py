"""A phantom as the scan lines see it: voxels that are made, brick by brick, where a picture needs them.

The first picture of a whole head would otherwise wait for the whole head. What a brick holds does not depend
on when it was made, so neither does any picture.
"""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import transform_points
from navkit.phantoms import Phantom, Tissue
from navkit.ultrasound._plan import Plan

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

MOST_VOXELS = 150e6
CACHED = 2
BRICK, CELL = 16, 2
"""Voxels along a brick and along a cell of it, as `Phantom.blocks` has them."""
STEP, MARGIN = 8.0, 10
"""Voxels between the points of a picture that ask for bricks, and around each of them."""
SMOOTH_VOXELS = 0.8
LEVEL_DB = 0.1
"""Of one step of a texture's level."""
TEXTURE_TILE, TEXTURE_SD = 64, 2.5
"""Voxels along the tile from which textures are made, and the sd of its grain."""
TURNS = ((0.5, -0.9, 0.4), (-1.1, 0.3, 0.8))
"""Rotation vectors of its two looks, so that its edges and its repeats meet nowhere."""


@dataclass(frozen=True)
class Bricks:
    """One grid over a phantom, filled as pictures need it.

    Parameters
    ----------
    labels : (nz, ny, nx) uint8, plus ALONE where no other tissue is within `reach_mm`
    impedance : (nz, ny, nx) the smoothed logarithm of the impedance
    texture : (nz, ny, nx) int8, what is added to the tissue's echo level, in LEVEL_DB
    cells : the label of each cell, 255 where it may have several
    fine : the cells whose voxels have labels
    ready : the bricks that a picture may read
    """

    labels: NDArray[np.uint8]
    impedance: Array32
    texture: NDArray[np.int8]
    cells: NDArray[np.uint8]
    fine: NDArray[np.bool_]
    ready: NDArray[np.bool_]
    tissues: tuple[Tissue, ...]
    spacing_mm: float
    reach_mm: float
    v_M_d: Array


_made: dict[tuple[int, float, float], Bricks] = {}


def bricks_of(phantom: Phantom, voxel_mm: float, reach_mm: float) -> Bricks:
    """Kept for the last phantoms, as long as they live. `reach_mm`: how far the outermost layers lie."""
    from navkit.ultrasound._brick_kernels import ALONE

    if len(phantom.parts) >= ALONE:
        raise ValueError(f"{phantom.name} has {len(phantom.parts)} parts; expected at most {ALONE - 1}.")
    key = (id(phantom), voxel_mm, reach_mm)
    if key not in _made:
        while len(_made) >= CACHED:
            _made.pop(next(iter(_made)))
        extent = np.asarray(phantom.high - phantom.low, dtype=float)
        spacing = max(voxel_mm, float(np.prod(extent) / MOST_VOXELS) ** (1 / 3))
        n = np.maximum(np.ceil(extent / spacing / BRICK).astype(int), 1)[::-1]
        v_M_d = np.diag([*[1 / spacing] * 3, 1.0])
        v_M_d[:3, 3] = -np.asarray(phantom.low) / spacing
        _made[key] = Bricks(
            np.zeros(n * BRICK, dtype=np.uint8), np.zeros(n * BRICK, dtype=np.float32),
            np.zeros(n * BRICK, dtype=np.int8), np.zeros(n * BRICK // CELL, dtype=np.uint8),
            np.zeros(n * BRICK // CELL, dtype=bool), np.zeros(n, dtype=bool),
            phantom.tissues, spacing, reach_mm, v_M_d,
        )  # fmt: skip
        weakref.finalize(phantom, _made.pop, key, None)
    return _made[key]


def make_ready(bricks: Bricks, phantom: Phantom, d_M_t: Array, plan: Plan, threads: int | None) -> None:
    """Fill what frames at those poses (n, 4, 4) read and what is still missing."""
    from navkit.ultrasound._brick_kernels import finish

    wanted = np.zeros_like(bricks.ready)
    for one in d_M_t:
        wanted |= _read_by(bricks, one, plan)
    wanted &= ~bricks.ready
    if not wanted.any():
        return
    workers = threads or os.cpu_count() or 1
    n, m = wanted.shape, BRICK // CELL
    voxels = max(int(np.ceil(bricks.reach_mm / bricks.spacing_mm)) + 1, 3)  # 3: what smoothing looks at
    reach = -(-voxels // CELL)
    cells = wanted.repeat(m, axis=0).repeat(m, axis=1).repeat(m, axis=2)
    new = _grown(cells, 1) & ~bricks.fine  # smoothing looks beyond a brick
    around = _grown(wanted, -(-reach // m))  # as being alone does
    z, y, x = np.nonzero(around)
    new_here = _cut(new, n)[z, :, y, :, x]
    labels, coarse = phantom.blocks(
        phantom.low, bricks.spacing_mm, np.stack([x, y, z], axis=1), fine=new_here, threads=workers
    )
    _cut(bricks.cells, n)[z, :, y, :, x] = coarse
    where = new_here.repeat(CELL, axis=1).repeat(CELL, axis=2).repeat(CELL, axis=3)
    _cut(bricks.labels, n)[z, :, y, :, x] = np.where(where, labels, _cut(bricks.labels, n)[z, :, y, :, x])
    bricks.fine[new] = True

    table = np.log([t.impedance_mrayl for t in bricks.tissues]).astype(np.float32)
    taps = np.exp(-0.5 * (np.arange(-2, 3) / SMOOTH_VOXELS) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    swing, grain = _texture(bricks)
    tile = _texture_tile(phantom.seed)
    with ThreadPoolExecutor(workers) as pool:
        finished = [
            pool.submit(finish, some, BRICK, bricks.labels, bricks.cells, table, taps, reach,
                        swing, grain, tile, bricks.impedance, bricks.texture)
            for some in np.array_split(np.argwhere(wanted), workers)
        ]  # fmt: skip
        for part in finished:
            part.result()
    bricks.ready[wanted] = True


def _texture(bricks: Bricks) -> tuple[Array, Array]:
    """Mean and sd (tissues, 2) of textures, in LEVEL_DB; from voxels to the tile (tissues, 2, 3, 4)."""
    db = np.array([t.texture_db for t in bricks.tissues])
    # of a lognormal amplitude the mean power is above the middle; two looks that know nothing of each other
    swing = np.stack([-(db**2) * np.log(10) / 20, db / np.sqrt(2)], axis=1) / LEVEL_DB
    fwhm = 4 * np.sqrt(np.log(2)) * TEXTURE_SD
    stretch = fwhm / np.array([t.texture_mm for t in bricks.tissues])
    d_M_v = np.linalg.inv(bricks.v_M_d)[:3]
    turns = Rotation.from_rotvec(TURNS).as_matrix()
    return swing, np.einsum("nij,tj,jk->tnik", turns, stretch, d_M_v)


@lru_cache(maxsize=2)
def _texture_tile(seed: int) -> Array32:
    """A periodic Gaussian field (z, y, x), of sd 1 where it is read between its voxels."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([seed, 0x7E87])
    field = gaussian_filter(rng.standard_normal((TEXTURE_TILE,) * 3), TEXTURE_SD, mode="wrap")
    kept = 1 - (1 - np.exp(-1 / (4 * TEXTURE_SD**2))) / 3  # of its variance, along each axis
    tile: Array32 = (field / field.std() / kept**1.5).astype(np.float32)
    return tile


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The mask and all that is within `by` of it, corners too."""
    for axis in range(3):
        for _ in range(by):
            more = mask.copy()
            a, b = np.moveaxis(more, axis, 0), np.moveaxis(mask, axis, 0)
            a[1:] |= b[:-1]
            a[:-1] |= b[1:]
            mask = more
    return mask


def _cut(volume: NDArray[Any], n: tuple[int, ...]) -> NDArray[Any]:
    """A view (nz, dz, ny, dy, nx, dx) of a volume in n blocks along each axis."""
    d = [size // k for size, k in zip(volume.shape, n, strict=True)]
    return volume.reshape(n[0], d[0], n[1], d[1], n[2], d[2])


def _read_by(bricks: Bricks, d_M_t: Array, plan: Plan) -> NDArray[np.bool_]:
    """Which bricks a frame reads, or a few more."""
    step = STEP * bricks.spacing_mm
    n_lines, n_samples = len(plan.start_t), len(plan.gain)
    ends = plan.start_t + (n_samples - 1) * plan.step_t
    across = np.linalg.norm(np.diff(ends, axis=0), axis=1).sum()
    down = float((n_samples - 1) * plan.step_mm)
    layers = np.linspace(-1, 1, 2 * int(np.ceil(bricks.reach_mm / step)) + 1) * bricks.reach_mm
    lines = np.unique(np.linspace(0, n_lines - 1, int(across / step) + 2).round().astype(int))
    share = np.linspace(0, 1, int(down / step) + 2)[:, None, None]
    points_t = plan.start_t[lines] * (1 - share) + ends[lines] * share
    points_t = points_t[:, :, None] + layers[:, None] * np.array([1.0, 0, 0])
    at = transform_points(bricks.v_M_d @ d_M_t, points_t.reshape(-1, 3))[:, ::-1]
    most = np.array(bricks.ready.shape) - 1
    low, high = (np.clip((at + by) // BRICK, 0, most).astype(int) for by in (-MARGIN, MARGIN))
    read = np.zeros(bricks.ready.shape, dtype=bool)
    for z in (low, high):
        for y in (low, high):
            for x in (low, high):
                read[z[:, 0], y[:, 1], x[:, 2]] = True
    return read
