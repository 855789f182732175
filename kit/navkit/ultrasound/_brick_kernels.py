"""The loops over bricks of voxels, compiled by numba. Private: `make_ready` is the door."""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import math

import numpy as np
from numba import njit

ALONE = 128
"""Added to a label when no other tissue is within the slice's reach."""


@njit(nogil=True, cache=True)
def finish(bricks, edge, labels, cells, table, taps, reach, swing, grain, tile, impedance, texture):
    """Smooth the impedance in bricks (n, 3) of `edge` voxels, mark what is alone, and give it its texture.

    labels and impedance are (nz, ny, nx), cells (a cell's label, 255 for several) coarser by a whole factor;
    table: the logarithm of impedance by label; taps (2 r + 1,) of the filter, which has to be smooth, or
    every corner of a voxel would reflect; reach: no other tissue within so many cells is to be alone.
    swing (tissues, 2): mean and sd of a tissue's texture, whole numbers of some dB, stored as signed bytes;
    grain (tissues, 2, 3, 4): from a voxel to two places in the periodic `tile`, whose sum is the texture.
    """
    size = labels.shape
    r = len(taps) // 2
    wide = edge + 2 * r
    one = np.empty((wide, wide, edge), dtype=np.float32)
    two = np.empty((wide, edge, edge), dtype=np.float32)
    row = np.empty(wide, dtype=np.float32)
    cell = size[0] // cells.shape[0]
    for b in range(len(bricks)):
        z0, y0, x0 = bricks[b, 0] * edge, bricks[b, 1] * edge, bricks[b, 2] * edge
        for k in range(wide):
            z = min(max(z0 + k - r, 0), size[0] - 1)
            for j in range(wide):
                y = min(max(y0 + j - r, 0), size[1] - 1)
                for i in range(wide):
                    row[i] = table[labels[z, y, min(max(x0 + i - r, 0), size[2] - 1)] & (ALONE - 1)]
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * row[i + t]
                    one[k, j, i] = total
        for k in range(wide):
            for j in range(edge):
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * one[k, j + t, i]
                    two[k, j, i] = total
        for k in range(edge):
            for j in range(edge):
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * two[k + t, j, i]
                    impedance[z0 + k, y0 + j, x0 + i] = total
                    own = labels[z0 + k, y0 + j, x0 + i] & (ALONE - 1)
                    if swing[own, 1] > 0:
                        field = _wrapped(tile, grain[own, 0], x0 + i, y0 + j, z0 + k)
                        field += _wrapped(tile, grain[own, 1], x0 + i, y0 + j, z0 + k)
                        level = math.floor(swing[own, 0] + swing[own, 1] * field + 0.5)
                        texture[z0 + k, y0 + j, x0 + i] = min(max(level, -127), 127)
        for k in range(z0 // cell, (z0 + edge) // cell):
            for j in range(y0 // cell, (y0 + edge) // cell):
                for i in range(x0 // cell, (x0 + edge) // cell):
                    if _alone(cells, k, j, i, reach):
                        for z in range(k * cell, (k + 1) * cell):
                            for y in range(j * cell, (j + 1) * cell):
                                for x in range(i * cell, (i + 1) * cell):
                                    labels[z, y, x] |= ALONE


@njit(nogil=True, cache=True)
def _wrapped(tile, t_M_v, x, y, z):
    """The periodic tile (n, n, n), n a power of 2, at a voxel, trilinear."""
    mask = len(tile) - 1
    p = t_M_v[0, 0] * x + t_M_v[0, 1] * y + t_M_v[0, 2] * z + t_M_v[0, 3]
    q = t_M_v[1, 0] * x + t_M_v[1, 1] * y + t_M_v[1, 2] * z + t_M_v[1, 3]
    r = t_M_v[2, 0] * x + t_M_v[2, 1] * y + t_M_v[2, 2] * z + t_M_v[2, 3]
    i, j, k = math.floor(p), math.floor(q), math.floor(r)
    a, b, c = p - i, q - j, r - k
    total = 0.0
    for dk, wk in ((0, 1 - c), (1, c)):
        for dj, wj in ((0, 1 - b), (1, b)):
            row = tile[(k + dk) & mask, (j + dj) & mask]
            total += wk * wj * ((1 - a) * row[i & mask] + a * row[(i + 1) & mask])
    return total


@njit(nogil=True, cache=True)
def _alone(cells, k, j, i, reach):
    own = cells[k, j, i]
    if own == 255:
        return False
    for z in range(max(k - reach, 0), min(k + reach + 1, cells.shape[0])):
        for y in range(max(j - reach, 0), min(j + reach + 1, cells.shape[1])):
            for x in range(max(i - reach, 0), min(i + reach + 1, cells.shape[2])):
                if cells[z, y, x] != own:
                    return False
    return True
