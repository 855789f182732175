"""Frames into a volume, one after another or in blocks: what `reconstruct` does with a whole sweep."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse
from navkit.reconstruction._grid import Grid, Volume, demand_memory
from navkit.ultrasound import ProbeSector

Method = Literal["pnn", "splat"]
Compounding = Literal["mean", "max", "last", "first", "median3"]
COMPOUNDING = ("mean", "max", "last", "first", "median3")  # in the order of the kernels' constants
WORD_BYTES = {"short": 4, "wide": 8, "sums": 8}  # of a voxel
RESULT_BYTES = 4 + 4 + 1  # value, weight, filled
LEAST_WEIGHT = 1 / 512  # PLUS's: a voxel that pixels only graze stays empty


class Reconstructor:
    """A volume that grows while frames come in: live, or from a sweep that is larger than memory.

    The result is that of `reconstruct`, to the byte, however the frames are cut into blocks. Memory is that
    of the voxels and one block: 17 bytes a voxel, and 13 for a mean of "pnn" in which each pixel counts once,
    with 8 more where a voxel gets more than 2047 pixels.

    Parameters
    ----------
    grid : where the voxels lie
    sector : which pixels count
    method, compounding, importance, reject_below, threads : as for `reconstruct`
    channels : how many pictures share each pose

    Raises
    ------
    ValueError
        If a choice is unknown, no pixel is left to use, or the volume would need more memory than is free;
        nothing has been allocated then.

    Examples
    --------
    >>> from navkit.ultrasound import ProbeSector
    >>> sector = ProbeSector("linear", 4.0, (0, 3), (2, 0), (1.0, 1.0), (0, 4, 0, 3), (4, 5))
    >>> live = Reconstructor(Grid((2, 4, 5), (1.0, 1.0, 1.0), np.eye(4)), sector)
    >>> live.insert(np.full((4, 5), 7, dtype=np.uint8), np.eye(4))  # pixels on the first layer of voxels
    >>> live.volume().weight.sum(axis=(1, 2)).tolist()
    [20, 0]
    """

    def __init__(
        self,
        grid: Grid,
        sector: ProbeSector,
        *,
        method: Method = "pnn",
        compounding: Compounding = "mean",
        importance: ArrayLike | None = None,
        reject_below: int = 0,
        channels: int = 1,
        threads: int | None = None,
    ) -> None:
        if method not in ("pnn", "splat"):
            raise ValueError(f"method is {method!r}; expected 'pnn' or 'splat'.")
        if compounding not in COMPOUNDING:
            raise ValueError(f"compounding is {compounding!r}; expected one of {', '.join(COMPOUNDING)}.")
        from navkit.reconstruction import _kernels

        self.grid = grid
        self._mode = COMPOUNDING.index(compounding)
        self._splat = method == "splat"
        self._importance = _used_pixels(sector, importance)
        self._runs = _kernels.runs_of(self._importance > 0)
        r, c = (np.flatnonzero(self._importance.any(axis=axis))[[0, -1]] for axis in (1, 0))
        self._corners_p = np.array([[x, y, 0, 1] for x in c for y in r])
        self._reject = int(np.ceil(reject_below))
        once = self._reject <= 0 and int(self._importance.max()) == 1
        short = once and self._importance.shape[1] <= _kernels.WIDEST_ROW
        self._kind = "wide"
        if compounding == "mean":
            self._kind = "sums" if self._splat else "short" if short else "wide"
        demand_memory(grid.shape, grid.spacing_mm, channels * (WORD_BYTES[self._kind] + RESULT_BYTES))
        self._channels = channels
        self._voxel_M_pr = inverse(grid.pr_M_voxel())
        self._number = 0
        nz, ny, nx = grid.shape
        rim = 1 if self._kind == "sums" else 0
        # voxels of a slab are counted in 32 bits
        layers = max(1, min((2**31 - 1) // ((ny + 2 * rim) * (nx + 2 * rim)) - 2 * rim, nz))
        self._workers = max(1, min(threads or os.cpu_count() or 1, nz))
        slabs = max(self._workers, -(-nz // layers))
        self._slabs = list(pairwise(np.linspace(0, nz, slabs + 1).astype(int).tolist()))
        shapes = [(channels, b - a + 2 * rim, ny + 2 * rim, nx + 2 * rim) for a, b in self._slabs]
        if self._kind == "sums":
            self._voxels = [np.zeros((*shape, 2), np.float32) for shape in shapes]
        else:
            word = np.uint32 if self._kind == "short" else np.uint64
            self._voxels = [np.zeros(shape, word) for shape in shapes]
        # what short words cannot hold: asked for, but taken only where something is carried
        self._carry = [np.zeros(shape, np.uint64) for shape in shapes] if self._kind == "short" else []
        self._carried = False

    def insert(
        self,
        frames: ArrayLike,
        pr_M_p: ArrayLike,
        *,
        valid: ArrayLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Insert uint8 frames (h, w) or (n, h, w) with poses (4, 4) or (n, 4, 4), pixels to ``pr`` in mm.

        With more than one channel frames are (channels, h, w) or (channels, n, h, w). They are read where
        they are: a `numpy.memmap` is never in memory as a whole. Those not `valid` (n,) are left out.

        Raises
        ------
        ValueError
            If frames are of another size or type, or a pose is not finite; nothing has been inserted then.
        """
        pose = np.asarray(pr_M_p, dtype=float)
        shape = self._importance.shape
        stack = [frames] if self._channels == 1 else list(frames)  # type: ignore[arg-type]
        channels = [np.asarray(one)[None] if pose.ndim == 2 else np.asarray(one) for one in stack]
        pose = pose.reshape(-1, 4, 4)
        for one in channels:
            if one.shape != (len(pose), *shape) or one.dtype != np.uint8:
                raise ValueError(
                    f"frames are {one.dtype} {one.shape}; expected uint8 {(len(pose), *shape)}, one for each "
                    "pose and as large as the sector's picture. Were they cropped or scaled?"
                )
        if len(channels) != self._channels:
            raise ValueError(f"{len(channels)} channels of frames; expected {self._channels}.")
        used = np.arange(len(pose)) if valid is None else np.flatnonzero(valid)
        bad = used[~np.isfinite(pose[used]).all(axis=(1, 2))]
        if len(bad):
            raise ValueError(
                f"the pose of frame {bad[0]} is not finite ({len(bad)} of {len(used)} are not); expected "
                "numbers. Was the tool out of sight? Mark such frames as not valid."
            )
        voxel_M_p = self._voxel_M_pr @ pose[used]
        z = voxel_M_p[:, 2] @ self._corners_p.T
        low, high = z.min(axis=1) - 2, z.max(axis=1) + 2  # the layers that a frame meets, and some
        lock, told = Lock(), count(1)

        def work(slab: int) -> None:
            a, b = self._slabs[slab]
            for done, n in enumerate(used):
                if low[done] < b and high[done] >= a:
                    pictures = tuple(_plain(one[n]) for one in channels)
                    self._paste(pictures, voxel_M_p[done], self._number + done, slab)
                if progress is not None:
                    with lock:
                        frame, rest = divmod(next(told), len(self._slabs))
                        if rest == 0:
                            progress(frame, len(used))

        self._each_slab(work)
        self._number += len(used)

    def volume(self) -> Volume:
        """What has been reconstructed so far (of the first channel); frames can be inserted afterwards."""
        return self.volumes()[0]

    def volumes(self) -> tuple[Volume, ...]:
        """As `volume`, of every channel."""
        from navkit.reconstruction import _kernels, _splat_kernels

        shape, sums = self.grid.shape, self._kind == "sums"
        made = [
            Volume(
                np.empty(shape, np.float32),
                np.empty(shape, np.float32) if sums else np.empty(shape, np.uint32),
                np.zeros(shape, dtype=bool),
                self.grid,
            )
            for _ in range(self._channels)
        ]

        def work(slab: int) -> None:
            a, b = self._slabs[slab]
            for channel, one in enumerate(made):
                voxels, result = self._voxels[slab][channel], (one.values[a:b], one.weight[a:b])
                if self._kind == "sums":
                    _splat_kernels.weighed(voxels, LEAST_WEIGHT, *result)
                elif self._kind == "short":
                    _kernels.added(voxels, self._carry[slab][channel], self._carried, *result)
                else:
                    _kernels.unpacked(voxels, self._mode, *result)

        self._each_slab(work)
        return tuple(made)

    def _paste(self, frames: tuple[NDArray[np.uint8], ...], voxel_M_p: ArrayLike, n: int, slab: int) -> None:
        from navkit.reconstruction import _kernels, _splat_kernels

        given = frames, self._runs, voxel_M_p, self._slabs[slab][0], self._voxels[slab]
        mode = self._mode, np.uint64(n % 2**18)
        if self._kind == "short":
            if _kernels.add(*given, self._carry[slab]):
                self._carried = True
        elif self._kind == "sums":
            _splat_kernels.spread(*given, self._importance, self._reject)
        elif self._splat:
            _splat_kernels.spread_kept(*given, self._reject, *mode)
        else:
            _kernels.paste(*given, self._importance, self._reject, *mode)

    def _each_slab(self, work: Callable[[int], None]) -> None:
        if len(self._slabs) == 1:
            work(0)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(work, range(len(self._slabs))))


def _used_pixels(sector: ProbeSector, importance: ArrayLike | None) -> NDArray[np.uint8]:
    """How much each pixel (h, w) counts, 0 to 255; without `importance` 1 in the sector and 0 outside."""
    mask = sector.mask()
    weight = np.ones(mask.shape, np.uint8) if importance is None else np.asarray(importance)
    if weight.shape != mask.shape or weight.dtype != np.uint8:
        raise ValueError(
            f"importance is {weight.dtype} {weight.shape}; expected uint8 {mask.shape}, one for each pixel."
        )
    used: NDArray[np.uint8] = np.where(mask, weight, np.uint8(0))
    if not used.any():
        raise ValueError(
            "no pixel is left to use; expected some where the sector, its clip rectangle and the importance "
            "mask overlap. Do they belong to this picture?"
        )
    return used


def _plain(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame as the compiled loops take it: in one piece and, for one compilation only, writable."""
    plain = np.ascontiguousarray(frame)
    return plain if plain.flags.writeable else plain.copy()
