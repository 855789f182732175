"""The weighted means of hole filling, compiled by numba. Private: `fill_holes` is the door.

Every kernel owns the planes ``k_from <= k < k_to`` of what it writes, reads only known voxels and adds them
in the same order for every voxel, so the result does not depend on the number of threads. ``steps`` is
explained in _fill_steps.py. What several rows need of row j is kept in ``j & last`` of a ring of rows, as
many as a power of two, which stays in the processor's cache.
"""

import numpy as np
from numba import njit

CROWDED = 40  # a row is summed as a whole, in vectors, if more than one of so many voxels needs it


@njit(nogil=True, cache=True)
def mean_of_cube(values, steps, reach, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """The mean of the known voxels in the smallest cube that has any: summed along z, then y, then x."""
    nz, ny, nx = values.shape
    total, number = np.zeros(nx + 2 * reach), np.zeros(nx + 2 * reach, dtype=np.float32)
    top, bottom = np.empty(nx), np.empty(nx, dtype=np.float32)
    for s in range(1, reach + 1):
        n_ring = _power_of_two(2 * s + 1)
        owner = np.empty((n_ring, nx + 1), dtype=np.int32)  # the row j of each sum, and of all of a row
        sums, sizes = np.empty((n_ring, nx)), np.empty((n_ring, nx), dtype=np.float32)
        for k in range(k_from, k_to):
            owner[:] = -1
            planes = max(k - s, 0), min(k + s + 1, nz)
            for j in range(ny):
                holes = _count(steps[k, j], np.uint8(s))
                rows = max(j - s, 0), min(j + s + 1, ny)
                if holes * CROWDED > nx:
                    total[:], number[:] = 0.0, 0.0
                    for jj in range(rows[0], rows[1]):
                        slot = jj & (n_ring - 1)
                        if owner[slot, nx] != jj:
                            owner[slot] = jj
                            sums[slot], sizes[slot] = 0.0, 0.0
                            for kk in range(planes[0], planes[1]):
                                _add(values[kk, jj], sums[slot], sizes[slot])
                        _plus(sums[slot], total[reach : reach + nx])
                        _plus(sizes[slot], number[reach : reach + nx])
                    top[:], bottom[:] = total[reach - s : reach - s + nx], number[reach - s : reach - s + nx]
                    for at in range(reach - s + 1, reach + s + 1):
                        _plus(total[at : at + nx], top)
                        _plus(number[at : at + nx], bottom)
                    _put(top, bottom, steps[k, j], np.uint8(s), out[k, j], filled[k, j])
                elif holes > 0:
                    _means_of_few(
                        values, steps, s, planes, rows, k, j, owner, sums, sizes, total, number, out, filled
                    )


@njit(nogil=True, cache=True)
def _means_of_few(values, steps, s, planes, rows, k, j, owner, sums, sizes, total, number, out, filled):  # type: ignore[no-untyped-def]
    """The same sums in the same order, one hole after another; each is made when it is first needed."""
    nx = values.shape[2]
    made = 0
    for i in range(nx):
        if steps[k, j, i] != s:
            continue
        left, right = max(i - s, 0), min(i + s + 1, nx)
        for c in range(max(made, left), right):
            total[c], number[c] = 0.0, 0.0
            for jj in range(rows[0], rows[1]):
                slot = jj & (owner.shape[0] - 1)
                if owner[slot, c] != jj:
                    owner[slot, c] = jj
                    sums[slot, c], sizes[slot, c] = _along_z(values, planes, jj, c)
                total[c] += sums[slot, c]
                number[c] += sizes[slot, c]
        made = right
        top, bottom = 0.0, 0.0
        for c in range(left, right):
            top += total[c]
            bottom += number[c]
        out[k, j, i] = top / bottom
        filled[k, j, i] = True


@njit(nogil=True, cache=True)
def _along_z(values, planes, j, i):  # type: ignore[no-untyped-def]
    total, number = 0.0, 0
    for k in range(planes[0], planes[1]):
        v = values[k, j, i]
        total += np.float64(v if v == v else np.float32(0))
        number += v == v
    return total, number


@njit(nogil=True, cache=True)
def _power_of_two(least):  # type: ignore[no-untyped-def]
    n = 1
    while n < least:
        n *= 2
    return n


@njit(nogil=True, cache=True)
def gaussian_mean(values, mass, steps, taps, k_from, k_to, out, filled):  # type: ignore[no-untyped-def]
    """Normalised convolution, sum(w m v) / sum(w m), with a sum of separable weights w.

    taps (levels, 3, reach + 1): the factors along z, y and x of each summand by the distance in voxels; mass
    (nz, ny, nx): the weight m of each voxel, or of size 0 if all are 1.
    """
    nz, ny, nx = values.shape
    levels, _, n_taps = taps.shape
    reach = n_taps - 1
    n_ring = _power_of_two(2 * reach + 1)
    ring = np.empty((n_ring, levels, 2, nx))  # weighted along z
    pair = np.empty((2, nx))  # what two rows hold together: sum and mass
    row = np.zeros((2, nx + 2 * reach))
    ends = np.empty((2, nx))
    for k in range(k_from, k_to):
        made = 0
        for j in range(ny):
            first, last = _span(steps[k, j], 1, reach)
            if last < first:
                continue
            for jj in range(max(made, j - reach), min(j + reach + 1, ny)):
                ring[jj & (n_ring - 1)] = 0.0
                for d in range(n_taps):
                    pair[:] = 0.0
                    for kk in range(k - d, k + d + 1, max(2 * d, 1)):
                        if 0 <= kk < nz:
                            _add_massive(values, mass, kk, jj, pair)
                    for level in range(levels):
                        for q in range(2):
                            _axpy(taps[level, 0, d], pair[q], ring[jj & (n_ring - 1), level, q])
            made = j + reach + 1
            ends[:] = 0.0
            for level in range(levels):
                row[:] = 0.0
                for d in range(n_taps):
                    for jj in range(j - d, j + d + 1, max(2 * d, 1)):
                        if 0 <= jj < ny:
                            for q in range(2):
                                line = ring[jj & (n_ring - 1), level, q]
                                _axpy(taps[level, 1, d], line, row[q, reach : reach + nx])
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
    n_ring = _power_of_two(2 * reach + 1)
    ring = np.empty((n_ring, reach + 1, 2, nx))  # the sums and numbers of the two rows dz planes away
    row = np.zeros((2, nx + 2 * reach))
    ends = np.empty((2, nx))
    for k in range(k_from, k_to):
        made = 0
        for j in range(ny):
            first, last = _span(steps[k, j], 1, reach)
            if last < first:
                continue
            for jj in range(max(made, j - reach), min(j + reach + 1, ny)):
                for dz in range(reach + 1):
                    pair = ring[jj & (n_ring - 1), dz]
                    pair[:] = 0.0
                    for kk in range(k - dz, k + dz + 1, max(2 * dz, 1)):
                        if 0 <= kk < nz:
                            _add(values[kk, jj], pair[0], pair[1])
            made = j + reach + 1
            ends[:] = 0.0
            for dz in range(reach + 1):
                for dy in range(reach + 1):
                    for q in range(2):
                        row[q] = 0.0
                        for jj in range(j - dy, j + dy + 1, max(2 * dy, 1)):
                            if 0 <= jj < ny:
                                _plus(ring[jj & (n_ring - 1), dz, q], row[q, reach : reach + nx])
                        _spread(row[q], table[dz, dy], ends[q])
            _divide(ends, steps[k, j], reach, first, last, out[k, j], filled[k, j])


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
    zero = np.float32(0)
    for i in range(values.size):
        v = values[i]
        known = v == v
        total[i] += np.float64(v if known else zero)
        number[i] += np.float32(1) if known else zero


@njit(nogil=True, cache=True)
def _plus(row, total):  # type: ignore[no-untyped-def]
    for i in range(row.size):
        total[i] += row[i]


@njit(nogil=True, cache=True)
def _count(steps, s):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(steps.size):
        n += steps[i] == s
    return n


@njit(nogil=True, cache=True, error_model="numpy")  # 0 / 0 is NaN: a test would forbid vectors
def _put(top, bottom, steps, s, out, filled):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        top[i] /= np.float64(bottom[i])
    for i in range(out.size):
        mean, old = np.float32(top[i]), out[i]
        out[i] = mean if steps[i] == s else old
    for i in range(out.size):
        filled[i] = filled[i] | (steps[i] == s)


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
