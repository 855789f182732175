"""The loops of hole filling, compiled by numba. Private: `fill_holes` is the door.

Every kernel owns the planes ``k_from <= k < k_to`` of what it writes and reads only known voxels, so the
result depends neither on the order nor on the number of threads. ``steps`` (nz, ny, nx) uint8 is the
chessboard distance in voxels to the nearest known voxel: 0 is known, `cap` is "out of reach".
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def steps_in_plane(values, cap, k_from, k_to, out):  # type: ignore[no-untyped-def]
    """Chessboard distance to the nearest known voxel of the same plane, at most `cap`."""
    _, ny, nx = values.shape
    row = np.empty((ny, nx), dtype=np.uint8)
    for k in range(k_from, k_to):
        for j in range(ny):
            d = cap
            for i in range(nx):
                d = 0 if values[k, j, i] == values[k, j, i] else min(d + 1, cap)
                row[j, i] = d
            for i in range(nx - 1, -1, -1):
                d = min(row[j, i], min(d + 1, cap))
                row[j, i] = d
        for j in range(ny):
            out[k, j, :] = row[j]
            for jj in range(max(j - cap + 1, 0), min(j + cap, ny)):
                _closer(row[jj], np.uint8(abs(jj - j)), out[k, j])


@njit(nogil=True, cache=True)
def steps_across_planes(in_plane, cap, k_from, k_to, out):  # type: ignore[no-untyped-def]
    """Chessboard distance to the nearest known voxel of any plane, from the distances in the planes."""
    nz, ny, _ = in_plane.shape
    for k in range(k_from, k_to):
        for j in range(ny):
            out[k, j, :] = in_plane[k, j]
            for kk in range(max(k - cap + 1, 0), min(k + cap, nz)):
                _closer(in_plane[kk, j], np.uint8(abs(kk - k)), out[k, j])


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
def mean_of_cube(values, steps, reach, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """The mean of the known voxels in the smallest cube that has any.

    The rows of the cubes are added first, for all neighbouring holes that need a cube of that size.
    """
    nz, ny, nx = values.shape
    total, number = np.empty(nx), np.empty(nx)
    for k in range(k_from, k_to):
        for j in range(ny):
            for s in range(1, reach + 1):
                first, last = _cluster(steps[k, j], s, 0)
                while first <= last:
                    low, high = max(first - s, 0), min(last + s + 1, nx)
                    total[low:high], number[low:high] = 0.0, 0.0
                    for kk in range(max(k - s, 0), min(k + s + 1, nz)):
                        for jj in range(max(j - s, 0), min(j + s + 1, ny)):
                            _add(values[kk, jj, low:high], total[low:high], number[low:high])
                    for i in range(first, last + 1):
                        if steps[k, j, i] == s:
                            top, bottom = 0.0, 0.0
                            for ii in range(max(i - s, 0), min(i + s + 1, nx)):
                                top += total[ii]
                                bottom += number[ii]
                            out[k, j, i] = top / bottom
                            filled[k, j, i] = True
                    first, last = _cluster(steps[k, j], s, last + 1)


@njit(nogil=True, cache=True)
def _cluster(steps, s, start):  # type: ignore[no-untyped-def]
    """First and last of the next holes with `s` steps, cubes at most 32 apart; last < first: none left."""
    nx = steps.size
    first = start
    while first < nx and steps[first] != s:
        first += 1
    last = first if first < nx else first - 1
    i = last + 1
    while first < nx and i < min(last + 2 * s + 33, nx):
        if steps[i] == s:
            last = i
        i += 1
    return first, last


@njit(nogil=True, cache=True)
def gaussian_mean(values, mass, steps, taps, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """Normalised convolution, sum(w m v) / sum(w m), with a sum of separable weights w.

    taps (levels, 3, reach + 1): the factors along z, y and x of each summand by the distance in voxels; mass
    (nz, ny, nx): the weight m of each voxel, or of size 0 if all are 1.
    """
    nz, ny, nx = values.shape
    levels, _, n_taps = taps.shape
    reach = n_taps - 1
    pair = np.empty((2, nx))  # what two rows hold together: sum and mass
    plane = np.empty((ny, levels, 2, nx))
    row = np.zeros((2, nx + 2 * reach))
    ends = np.empty((2, nx))
    for k in range(k_from, k_to):
        if not _any(steps[k], reach):
            continue
        for j in range(ny):
            plane[j] = 0.0
            for d in range(n_taps):
                pair[:] = 0.0
                for kk in range(k - d, k + d + 1, max(2 * d, 1)):
                    if 0 <= kk < nz:
                        _add_massive(values, mass, kk, j, pair)
                for level in range(levels):
                    for q in range(2):
                        _axpy(taps[level, 0, d], pair[q], plane[j, level, q])
        for j in range(ny):
            first, last = _span(steps[k, j], 1, reach)
            if last < first:
                continue
            ends[:] = 0.0
            for level in range(levels):
                row[:] = 0.0
                for d in range(n_taps):
                    for jj in range(j - d, j + d + 1, max(2 * d, 1)):
                        if 0 <= jj < ny:
                            for q in range(2):
                                _axpy(taps[level, 1, d], plane[jj, level, q], row[q, reach : reach + nx])
                for q in range(2):
                    _spread(row[q], taps[level, 2], ends[q])
            _divide(ends, steps[k, j], reach, first, last, out[k, j], filled[k, j])


@njit(nogil=True, cache=True)
def table_mean(values, steps, table, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """Normalised convolution with any weights that are even along z, y and x.

    table (reach + 1, reach + 1, reach + 1): the weights by the distance in voxels along z, y and x. The four
    rows that lie dz planes and dy rows away have the same weights: they are added before they are weighted.
    """
    nz, ny, nx = values.shape
    reach = table.shape[0] - 1
    row = np.zeros((2, nx + 2 * reach))
    ends = np.empty((2, nx))
    for k in range(k_from, k_to):
        for j in range(ny):
            first, last = _span(steps[k, j], 1, reach)
            if last < first:
                continue
            ends[:] = 0.0
            for dz in range(reach + 1):
                for dy in range(reach + 1):
                    row[:] = 0.0
                    for kk in range(k - dz, k + dz + 1, max(2 * dz, 1)):
                        for jj in range(j - dy, j + dy + 1, max(2 * dy, 1)):
                            if 0 <= kk < nz and 0 <= jj < ny:
                                _add(values[kk, jj], row[0, reach : reach + nx], row[1, reach : reach + nx])
                    for q in range(2):
                        _spread(row[q], table[dz, dy], ends[q])
            _divide(ends, steps[k, j], reach, first, last, out[k, j], filled[k, j])


@njit(nogil=True, cache=True)
def _any(steps, reach):  # type: ignore[no-untyped-def]
    for j in range(steps.shape[0]):
        first, last = _span(steps[j], 1, reach)
        if first <= last:
            return True
    return False


@njit(nogil=True, cache=True)
def _span(steps, nearest, farthest):  # type: ignore[no-untyped-def]
    """First and last voxel of a row with so many steps; last < first where there is none."""
    first, last = 0, steps.size - 1
    while first <= last and not nearest <= steps[first] <= farthest:
        first += 1
    while first < last and not nearest <= steps[last] <= farthest:
        last -= 1
    return first, last


@njit(nogil=True, cache=True)
def _divide(ends, steps, reach, first, last, out, filled):  # type: ignore[no-untyped-def]
    for i in range(first, last + 1):
        if 0 < steps[i] <= reach and ends[1, i] > 0:
            out[i] = ends[0, i] / ends[1, i]
            filled[i] = True


# These loops run over equally long, contiguous rows from 0: LLVM turns them into vector instructions.


@njit(nogil=True, cache=True)
def _add(values, total, number):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        v = values[i]
        known = v == v
        total[i] += np.float64(v) if known else 0.0
        number[i] += 1.0 if known else 0.0


@njit(nogil=True, cache=True)
def _add_massive(values, mass, k, j, pair):  # type: ignore[no-untyped-def]
    if mass.size == 0:
        _add(values[k, j], pair[0], pair[1])
        return
    row, m_row, total, number = values[k, j], mass[k, j], pair[0], pair[1]
    for i in range(row.size):
        v = row[i]
        m = np.float64(m_row[i]) if v == v else 0.0
        total[i] += m * v if v == v else 0.0
        number[i] += m


@njit(nogil=True, cache=True)
def _axpy(w, row, total):  # type: ignore[no-untyped-def]
    for i in range(row.size):
        total[i] += w * row[i]


@njit(nogil=True, cache=True)
def _spread(row, weights, total):  # type: ignore[no-untyped-def]
    """Add a row, padded by the reach at both ends, convolved with even weights."""
    reach, n = weights.size - 1, total.size
    _axpy(weights[0], row[reach : reach + n], total)
    for d in range(1, reach + 1):
        left, right, w = row[reach - d : reach - d + n], row[reach + d : reach + d + n], weights[d]
        for i in range(n):
            total[i] += w * (left[i] + right[i])


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
