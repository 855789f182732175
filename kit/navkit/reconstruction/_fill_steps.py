"""Distances from holes to known voxels, and the lines that leap by them. Private: `fill_holes` is the door.

Compiled by numba. Every kernel owns the planes ``k_from <= k < k_to`` of what it writes, so the result
depends neither on the order nor on the number of threads. ``steps`` (nz, ny, nx) uint8 is the chessboard
distance in voxels to the nearest known voxel: 0 is known, `cap` is "out of reach".
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def steps_in_plane(values, cap, k_from, k_to, out, copy):  # type: ignore[no-untyped-def]
    """Chessboard distance to the nearest known voxel of the same plane, at most `cap`; `copy` is a copy."""
    _, ny, nx = values.shape
    row = np.full(nx + 2 * cap, cap, dtype=np.uint8)
    along_x = np.empty((ny, nx), dtype=np.uint8)
    for k in range(k_from, k_to):
        for j in range(ny):
            _look(values[k, j], np.uint8(cap), row[cap : cap + nx], copy[k, j])
            along_x[j] = row[cap : cap + nx]
            if _any(along_x[j]):
                for d in range(1, cap):
                    _closer(row[cap - d : cap - d + nx], np.uint8(d), along_x[j])
                    _closer(row[cap + d : cap + d + nx], np.uint8(d), along_x[j])
        for j in range(ny):
            out[k, j] = along_x[j]
            if _any(along_x[j]):
                for jj in range(max(j - cap + 1, 0), min(j + cap, ny)):
                    _closer(along_x[jj], np.uint8(abs(jj - j)), out[k, j])


@njit(nogil=True, cache=True)
def steps_across_planes(in_plane, cap, k_from, k_to, out):  # type: ignore[no-untyped-def]
    """Chessboard distance to the nearest known voxel of any plane, from the distances in the planes."""
    nz, ny, _ = in_plane.shape
    for k in range(k_from, k_to):
        for j in range(ny):
            out[k, j] = in_plane[k, j]
            if _any(in_plane[k, j]):
                for kk in range(max(k - cap + 1, 0), min(k + cap, nz)):
                    _closer(in_plane[kk, j], np.uint8(abs(kk - k)), out[k, j])


@njit(nogil=True, cache=True)
def _look(values, cap, row, copy):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        v = values[i]
        copy[i] = v
        row[i] = np.uint8(0) if v == v else cap


@njit(nogil=True, cache=True)
def _any(row):  # type: ignore[no-untyped-def]
    most = np.uint8(0)
    for i in range(row.size):
        most = max(most, row[i])
    return most > 0


@njit(nogil=True, cache=True)
def _closer(row, away, out):  # type: ignore[no-untyped-def]
    for i in range(row.size):
        out[i] = min(out[i], max(row[i], away))


@njit(nogil=True, cache=True)
def forget_outside(known, lowest, highest, cap, k_from, k_to, steps):  # type: ignore[no-untyped-def]
    """CustusX fills only between the first and the last known voxel along x, y or z (the union).

    lowest and highest (ny, nx): the first and the last known plane of each column.
    """
    _, ny, nx = known.shape
    low, high = np.empty(nx, dtype=np.int64), np.empty(nx, dtype=np.int64)
    for k in range(k_from, k_to):
        low[:], high[:] = ny, -1
        for j in range(ny):
            for i in range(nx):
                if known[k, j, i]:
                    low[i], high[i] = min(low[i], j), j
        for j in range(ny):
            first, last = nx, -1
            for i in range(nx):
                if known[k, j, i]:
                    first, last = min(first, i), i
            for i in range(nx):
                along_x, along_y = first <= i <= last, low[i] <= j <= high[i]
                if not (along_x or along_y or lowest[j, i] <= k <= highest[j, i]):
                    steps[k, j, i] = cap


@njit(nogil=True, cache=True)
def sticks(values, steps, reach, directions, norms, count, share, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """Linear interpolation along the `count` shortest sticks that end in known voxels (all ties included).

    directions (13, 3) as (dz, dy, dx); norms (13,) their lengths. A stick has at most 2 * reach + 1 voxels.
    Its value takes min(1, share / length of the shortest stick) of the hole, what is in `out` the rest.
    """
    nz, ny, nx = values.shape
    flat, distance = values.ravel(), steps.ravel()
    score, value = np.empty(13), np.empty(13)
    for k in range(k_from, k_to):
        for j in range(ny):
            for i in range(nx):
                s = np.int64(steps[k, j, i])
                if s == 0 or s > reach:
                    continue
                here = (k * ny + j) * nx + i
                best = np.inf
                for n in range(13):
                    score[n] = np.inf
                    dz, dy, dx = directions[n]
                    longest = 2 * reach
                    if count == 1 and best < np.inf:  # a longer one cannot win any more
                        longest = min(longest, np.int64(best / norms[n] + 1e-9) - 1)
                    if 2 * s > longest:
                        continue
                    stride = (dz * ny + dy) * nx + dx
                    ahead = min(_room(k, dz, nz), _room(j, dy, ny), _room(i, dx, nx))
                    behind = min(_room(k, -dz, nz), _room(j, -dy, ny), _room(i, -dx, nx))
                    f = _walk(distance, here, stride, s, min(ahead, longest - s))
                    if f == 0:
                        continue
                    b = _walk(distance, here, -stride, s, min(behind, longest - f))
                    if b == 0:
                        continue
                    score[n] = (f + b + 1) * norms[n]
                    value[n] = (b * flat[here + f * stride] + f * flat[here - b * stride]) / (f + b)
                    best = min(best, score[n])
                if best == np.inf:
                    continue
                part = min(1.0, share / best)
                total, weight, used = 0.0, 0.0, 0
                while used < count and best < np.inf:
                    following = np.inf
                    for n in range(13):
                        if score[n] == best:
                            total += value[n] / best
                            weight += 1 / best
                            used += 1
                        elif best < score[n] < following:
                            following = score[n]
                    best = following
                rest = (1 - part) * out[k, j, i] if part < 1 else 0.0
                out[k, j, i] = part * (total / weight) + rest
                filled[k, j, i] = True


@njit(nogil=True, cache=True)
def _room(at, step, size):  # type: ignore[no-untyped-def]
    """How many steps fit before the border."""
    if step == 0:
        return size + 255
    return size - 1 - at if step > 0 else at


@njit(nogil=True, cache=True)
def _walk(distance, here, stride, nearest, farthest):  # type: ignore[no-untyped-def]
    """Steps to the first known voxel, from `nearest` to `farthest`; 0 if there is none.

    Where the nearest known voxel is d away in any direction, d steps can be taken at once.
    """
    n = nearest
    while n <= farthest:
        d = distance[here + n * stride]
        if d == 0:
            return n
        n += np.int64(d)
    return 0
