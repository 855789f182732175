"""The loops over pixels and voxels, compiled by numba. Private: `reconstruct` is the door.

Threads share a volume by owning slabs of z, decided on the integer voxel index, so no voxel is ever
written by two of them and the result does not depend on their number.
"""

import numpy as np
from numba import njit, prange

MEAN, MAX, LAST, FIRST = range(4)


@njit(nogil=True, cache=True)
def paste_frame(frame, columns, mask, voxel_M_p, mode, z_from, z_to, total, count):  # type: ignore[no-untyped-def]
    """Put every masked pixel of one frame into its nearest voxel, within slab z_from <= k < z_to.

    frame (h, w) uint8; columns (h, 2) first and last masked column of each row, last < first where
    there is none; total and count (nz, ny, nx) uint32: the sum (mean) or the kept value, and the number.
    """
    _, ny, nx = count.shape
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    for r in range(frame.shape[0]):
        first, last = columns[r, 0], columns[r, 1]
        if last < first:
            continue
        # half a voxel is added once, so that floor() is "nearest"
        x0 = voxel_M_p[0, 1] * r + voxel_M_p[0, 3] + 0.5
        y0 = voxel_M_p[1, 1] * r + voxel_M_p[1, 3] + 0.5
        z0 = voxel_M_p[2, 1] * r + voxel_M_p[2, 3] + 0.5
        za, zb = z0 + dz * first, z0 + dz * last
        if max(za, zb) < z_from or min(za, zb) >= z_to:
            continue
        for c in range(first, last + 1):
            z = z0 + dz * c
            x = x0 + dx * c
            y = y0 + dy * c
            if not (z_from <= z < z_to and 0.0 <= x < nx and 0.0 <= y < ny):
                continue
            if not mask[r, c]:
                continue
            i, j, k = int(x), int(y), int(z)
            value = np.uint32(frame[r, c])
            if mode == MEAN:
                total[k, j, i] += value
            elif mode == LAST or count[k, j, i] == 0 or (mode == MAX and value > total[k, j, i]):
                total[k, j, i] = value
            count[k, j, i] += np.uint32(1)


@njit(nogil=True, cache=True)
def row_spans(mask):  # type: ignore[no-untyped-def]
    """First and last True column of each row, (h, 2); (0, -1) for an empty row."""
    spans = np.empty((mask.shape[0], 2), dtype=np.int64)
    for r in range(mask.shape[0]):
        spans[r, 0], spans[r, 1] = 0, -1
        for c in range(mask.shape[1]):
            if mask[r, c]:
                if spans[r, 1] < 0:
                    spans[r, 0] = c
                spans[r, 1] = c
    return spans


@njit(cache=True)
def between(known):  # type: ignore[no-untyped-def]
    """Voxels between the first and the last known one along x, y or z (the union), (nz, ny, nx) bool."""
    nz, ny, nx = known.shape
    out = np.zeros(known.shape, dtype=np.bool_)
    for k in range(nz):
        for j in range(ny):
            first, last = nx, -1
            for i in range(nx):
                if known[k, j, i]:
                    first, last = min(first, i), i
            for i in range(first, last + 1):
                out[k, j, i] = True
    low, high = np.full((nz, nx), ny), np.full((nz, nx), -1)
    lowest, highest = np.full((ny, nx), nz), np.full((ny, nx), -1)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if known[k, j, i]:
                    low[k, i], high[k, i] = min(low[k, i], j), j
                    lowest[j, i], highest[j, i] = min(lowest[j, i], k), k
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if low[k, i] <= j <= high[k, i] or lowest[j, i] <= k <= highest[j, i]:
                    out[k, j, i] = True
    return out


@njit(parallel=True, cache=True)
def fill_growing_cube(values, known, steps):  # type: ignore[no-untyped-def]
    """CustusX's hole filling: the mean of the known voxels in the smallest cube that has any.

    Cubes of 3, 5, ... 2 * steps + 1 voxels; only known voxels are read, so the order does not matter.
    Writes into `values` and returns which voxels were filled.
    """
    nz, ny, nx = known.shape
    candidates = between(known)
    filled = np.zeros(known.shape, dtype=np.bool_)
    for k in prange(nz):
        for j in range(ny):
            for i in range(nx):
                if known[k, j, i] or not candidates[k, j, i]:
                    continue
                for s in range(1, steps + 1):
                    total, number = 0.0, 0
                    for kk in range(max(k - s, 0), min(k + s + 1, nz)):
                        for jj in range(max(j - s, 0), min(j + s + 1, ny)):
                            for ii in range(max(i - s, 0), min(i + s + 1, nx)):
                                if known[kk, jj, ii]:
                                    total += values[kk, jj, ii]
                                    number += 1
                    if number > 0:
                        values[k, j, i] = total / number
                        filled[k, j, i] = True
                        break
    return filled
