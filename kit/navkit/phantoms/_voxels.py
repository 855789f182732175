"""Labels on a grid, asked in blocks from coarse to fine: only voxels near a surface are asked one by one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._shapes import Shape, to_box

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Labels = NDArray[np.uint8]

EDGE = 32
"""Voxels along a block; a power of 2."""
STEEP = 2.0
"""A block is settled when its middle is this many times further from a surface than from its own corners:
then it does no harm that some signed distances are right to first order only."""
BATCH = 1 << 16


def label_grid(shapes: Sequence[Shape], origin: Array, spacing: Array, size: Indices) -> Labels:
    """k + 1 in the last shape k that holds a voxel's middle, else 0; (nz, ny, nx) for a size (x, y, z)."""
    blocks = -(-size // EDGE)
    x, y, z = np.unravel_index(np.arange(blocks.prod()), blocks)
    labels = np.empty((blocks[2], EDGE, blocks[1], EDGE, blocks[0], EDGE), dtype=np.uint8)
    labels[z, :, y, :, x] = label_blocks(shapes, origin, spacing, EDGE * np.stack([x, y, z], axis=1))
    return np.ascontiguousarray(labels.reshape(EDGE * blocks[::-1])[: size[2], : size[1], : size[0]])


def label_blocks(
    shapes: Sequence[Shape], origin: Array, spacing: Array, first: Indices, *, threads: int = 1
) -> Labels:
    """The labels (n, EDGE, EDGE, EDGE), in z, y, x, of blocks whose first voxels are (n, 3), in x, y, z."""
    labels = np.zeros((len(first), EDGE, EDGE, EDGE), dtype=np.uint8)
    workers = max(min(threads, len(first)), 1)

    def work(some: Indices) -> None:
        ask = np.ones((len(some), len(shapes)), dtype=bool)
        base = np.zeros(len(some), dtype=np.uint8)
        _settle(
            shapes, origin, spacing, first, EDGE, some, np.zeros((len(some), 3), np.intp), ask, base, labels
        )

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [np.arange(k, len(first), workers) for k in range(workers)]))
    return labels


def _settle(
    shapes: Sequence[Shape], origin: Array, spacing: Array, first: Indices, edge: int,
    owner: Indices, place: Indices, ask: NDArray[np.bool_], base: Labels, labels: Labels,
) -> None:  # fmt: skip
    """Label parts of blocks that lie in one shape, and go on with eighths of the others.

    owner (n,) is the block, place (n, 3) the part's first voxel in it, edge its voxels along a side; ask (n,
    shapes) tells which shapes are still in doubt there, base (n,) the label if it is in none of them.
    """
    middle = np.asfortranarray(origin + spacing * (first[owner] + place + (edge - 1) / 2))  # for columns
    reach = (edge - 1) / 2 * float(np.sqrt((spacing**2).sum()))
    for k in range(len(shapes) - 1, -1, -1):
        who = np.flatnonzero(ask[:, k])
        near = to_box(middle[who], shapes[k]) <= reach
        ask[who[~near], k] = False
        who = who[near]
        depth = shapes[k].distance(np.asfortranarray(middle[who]))
        ask[who[depth > STEEP * reach] if edge > 1 else who, k] = False
        inside = who[depth < -STEEP * reach]
        base[inside] = k + 1
        ask[inside, : k + 1] = False  # what a later shape has is not asked again
    doubt = ask.any(axis=1)
    n = EDGE // edge
    x, y, z = (place[~doubt] // edge).T
    parts = labels.reshape(-1, n, edge, n, edge, n, edge)
    parts[owner[~doubt], z, :, y, :, x] = base[~doubt, None, None, None]
    half = edge // 2
    eighths = half * np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1)
    for some in np.split(np.flatnonzero(doubt), range(BATCH // 8, int(doubt.sum()), BATCH // 8)):
        if len(some):
            again = np.repeat(some, 8)
            at = (place[some, None] + eighths).reshape(-1, 3)
            _settle(shapes, origin, spacing, first, half, owner[again], at, ask[again], base[again], labels)
