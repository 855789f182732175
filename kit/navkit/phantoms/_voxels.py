"""Labels on a grid, asked in blocks from coarse to fine: only voxels near a surface are asked one by one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._shapes import Shape, to_box

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Labels = NDArray[np.uint8]

EDGE, CELL = 16, 2
"""Voxels along a block, and along a cell, the smallest part that is asked as a whole; powers of 2."""
MIXED = 255
"""A cell's label when it may hold several."""
STEEP = 2.0
"""A part is settled when its middle is this many times further from a surface than from its own corners:
then it does no harm that some signed distances are right to first order only."""
BATCH = 1 << 13


def label_grid(shapes: Sequence[Shape], origin: Array, spacing: Array, size: Indices) -> Labels:
    """k + 1 in the last shape k that holds a voxel's middle, else 0; (nz, ny, nx) for a size (x, y, z)."""
    n = -(-size // EDGE)
    x, y, z = np.unravel_index(np.arange(n.prod()), n)
    labels = np.empty((n[2], EDGE, n[1], EDGE, n[0], EDGE), dtype=np.uint8)
    labels[z, :, y, :, x], _ = label_blocks(shapes, origin, spacing, np.stack([x, y, z], axis=1))
    return np.ascontiguousarray(labels.reshape(EDGE * n[::-1])[: size[2], : size[1], : size[0]])


def label_blocks(
    shapes: Sequence[Shape],
    origin: Array,
    spacing: Array,
    blocks: Indices,
    *,
    fine: NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> tuple[Labels, Labels]:
    """Labels of blocks of a grid, (n, EDGE, EDGE, EDGE) in z, y, x, and of their cells, CELL times coarser.

    blocks (n, 3): how many blocks further on along x, y, z; fine: in which cells the voxels are wanted, all
    unless given; in the others they are only right where the cell is not MIXED.
    """
    n, m = len(blocks), EDGE // CELL
    asked = _Blocks(
        shapes, origin, spacing, EDGE * blocks, np.ones((n, m, m, m), dtype=bool) if fine is None else fine,
        np.zeros((n, EDGE, EDGE, EDGE), dtype=np.uint8), np.zeros((n, m, m, m), dtype=np.uint8),
    )  # fmt: skip

    def work(some: Indices) -> None:
        ask, base = np.ones((len(some), len(shapes)), dtype=bool), np.zeros(len(some), dtype=np.uint8)
        _settle(asked, EDGE, some, np.zeros((len(some), 3), dtype=np.intp), ask, base)

    shares = np.array_split(np.arange(n), max(threads, -(-n // BATCH)))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
    return asked.labels, asked.cells


@dataclass(frozen=True)
class _Blocks:
    shapes: Sequence[Shape]
    origin: Array
    spacing: Array
    first: Indices
    fine: NDArray[np.bool_]
    labels: Labels
    cells: Labels


def _settle(
    blocks: _Blocks, edge: int, owner: Indices, place: Indices, ask: NDArray[np.bool_], base: Labels
) -> None:
    """Label parts of blocks that lie in one shape, and go on with eighths of the others.

    owner (n,) is the block, place (n, 3) the part's first voxel in it, edge its voxels along a side; ask (n,
    shapes) tells which shapes are still in doubt there, base (n,) the label if it is in none of them.
    """
    corner = blocks.first[owner] + place
    middle = np.asfortranarray(blocks.origin + blocks.spacing * (corner + (edge - 1) / 2))  # for columns
    reach = (edge - 1) / 2 * float(np.sqrt((blocks.spacing**2).sum()))
    for k in range(len(blocks.shapes) - 1, -1, -1):
        shape, who = blocks.shapes[k], np.flatnonzero(ask[:, k])
        near = to_box(middle[who], shape) <= reach
        ask[who[~near], k] = False
        who = who[near]
        depth = shape.distance(np.asfortranarray(middle[who]))
        ask[who[depth > STEEP * reach] if edge > 1 else who, k] = False
        inside = who[depth < -STEEP * reach]
        base[inside] = k + 1
        ask[inside, : k + 1] = False  # what a later shape has is not asked again
    doubt = ask.any(axis=1)
    _fill(blocks.labels, edge, owner[~doubt], place[~doubt], base[~doubt])
    if edge >= CELL:
        _fill(blocks.cells, edge // CELL, owner[~doubt], place[~doubt] // CELL, base[~doubt])
    if edge == CELL:
        x, y, z = (place // CELL).T
        blocks.cells[owner[doubt], z[doubt], y[doubt], x[doubt]] = MIXED
        doubt &= blocks.fine[owner, z, y, x]
    half = edge // 2
    eighths = half * np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1)
    for some in np.split(np.flatnonzero(doubt), range(BATCH, int(doubt.sum()), BATCH)):
        if len(some):
            again = np.repeat(some, 8)
            at = (place[some, None] + eighths).reshape(-1, 3)
            _settle(blocks, half, owner[again], at, ask[again], base[again])


def _fill(blocks: Labels, edge: int, owner: Indices, place: Indices, label: Labels) -> None:
    """Set cubes of `edge` voxels whose first is `place` (n, 3)."""
    n = blocks.shape[1] // edge
    x, y, z = (place // edge).T
    blocks.reshape(-1, n, edge, n, edge, n, edge)[owner, z, :, y, :, x] = label[:, None, None, None]
