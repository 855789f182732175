"""The loops over pixels, compiled by numba. Private: `reconstruct` and `Reconstructor` are the doors.

Threads share a volume by owning slabs of z, decided on the integer voxel index, so no voxel is ever
written by two of them and the result does not depend on their number. A row of pixels is a line through
the voxels: it is cut to the slab first, exactly, so that the loop over its pixels needs no test.

A voxel is one 64-bit word: how many pixels in the upper bits, what it keeps of them in the lower ones.
With "mean" that is their sum; with "median3" the number of the last frame (18 bits), how many frames there
were, 3 for more (2), and the last three greys (24). Nothing runs over below 268 million pixels a voxel, a
million with "median3", each pixel as often as it is important.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

MEAN, MAX, LAST, FIRST, MEDIAN = range(5)


@njit(nogil=True, cache=True)
def crossing(x0, dx, level, first, stop):  # type: ignore[no-untyped-def]
    """The first column from which ``x0 + dx * c`` is past `level`: at or above it, or below if dx < 0.

    A division finds it nearly; the steps make it exact, whatever was rounded.
    """
    c = first
    if dx != 0.0:
        c = int(min(max((level - x0) / dx, float(first)), float(stop)))
    rising = dx >= 0.0
    while c > first and (x0 + dx * (c - 1) >= level) == rising:
        c -= 1
    while c < stop and (x0 + dx * c >= level) != rising:
        c += 1
    return c


@njit(nogil=True, cache=True)
def clipped(x0, dx, low, high, first, stop):  # type: ignore[no-untyped-def]
    """The columns of first <= c < stop with low <= x0 + dx * c < high, again as first and stop."""
    if first >= stop:
        return first, first
    a, b = x0 + dx * first, x0 + dx * (stop - 1)
    if min(a, b) >= low and max(a, b) < high:
        return first, stop
    if max(a, b) < low or min(a, b) >= high:
        return first, first
    from_low, from_high = crossing(x0, dx, low, first, stop), crossing(x0, dx, high, first, stop)
    return min(from_low, from_high), max(from_low, from_high)


@njit(nogil=True, cache=True)
def kept(word, grey, mode, number):  # type: ignore[no-untyped-def]
    """The lower bits of a voxel that has got one more pixel, of frame `number`."""
    if mode == MEDIAN:
        greys, frames = word & np.uint64(0xFFFFFF), (word >> np.uint64(24)) & np.uint64(3)
        if frames > 0 and ((word >> np.uint64(26)) & np.uint64(0x3FFFF)) == number:
            greys &= np.uint64(0xFFFF00)  # one grey a frame, its last
        else:
            greys = (greys << np.uint64(8)) & np.uint64(0xFFFFFF)
            frames = min(frames + np.uint64(1), np.uint64(3))
        return (number << np.uint64(26)) | (frames << np.uint64(24)) | greys | grey
    old = word & np.uint64((1 << 36) - 1)
    if word == 0 or mode == LAST or (mode == MAX and grey > old):
        return grey
    return old


@njit(nogil=True, cache=True)
def paste(frames, runs, importance, reject, plain, voxel_M_p, mode, number, z_from, z_to, words):  # type: ignore[no-untyped-def]
    """Put the pixels of one frame into their nearest voxels, within slab z_from <= k < z_to.

    frames : for each channel (h, w) uint8; words : (channels, nz, ny, nx) uint64; runs (n, 3): row, first
    column and the one after the last; importance (h, w) uint8; darker than `reject` is left out;
    plain: all pixels count once, for a mean.
    """
    _, _, ny, nx = words.shape
    shift = np.uint64(44 if mode == MEDIAN else 36)
    one = np.uint64(1) << shift
    above = ~(one - np.uint64(1))
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    width = importance.shape[1]
    columns = np.arange(width).astype(np.float64)
    index = np.empty(width, np.uint32)  # within the slab
    base = z_from * ny * nx
    for n in range(len(runs)):
        r = runs[n, 0]
        # half a voxel is added once, so that the whole part is "nearest"
        x0 = voxel_M_p[0, 1] * r + voxel_M_p[0, 3] + 0.5
        y0 = voxel_M_p[1, 1] * r + voxel_M_p[1, 3] + 0.5
        z0 = voxel_M_p[2, 1] * r + voxel_M_p[2, 3] + 0.5
        a, b = clipped(z0, dz, float(z_from), float(z_to), runs[n, 1], runs[n, 2])
        a, b = clipped(y0, dy, 0.0, float(ny), a, b)
        a, b = clipped(x0, dx, 0.0, float(nx), a, b)
        if a >= b:
            continue
        for c in range(a, b):
            i = np.int32(x0 + dx * columns[c])
            j = np.int32(y0 + dy * columns[c])
            k = np.int32(z0 + dz * columns[c])
            index[c] = np.uint32((np.int64(k) * ny + j) * nx + i - base)
        for channel in range(len(frames)):
            greys, weights = frames[channel][r], importance[r]
            slab = words[channel, z_from:z_to].ravel()
            at = index[a]
            word = slab[at]
            for c in range(a, b):
                if index[c] != at:  # neighbours often share a voxel
                    slab[at] = word
                    at = index[c]
                    word = slab[at]
                grey = np.uint64(greys[c])
                if plain:
                    word += one + grey
                elif mode == MEAN:
                    word += np.uint64(weights[c]) * np.uint64(greys[c] >= reject) * (one + grey)
                elif greys[c] >= reject:
                    word = ((word & above) + one) | kept(word, grey, mode, number)
            slab[at] = word


@njit(nogil=True, cache=True)
def spread(frames, runs, importance, reject, voxel_M_p, z_from, z_to, sums):  # type: ignore[no-untyped-def]
    """Share each pixel among its eight voxels, trilinear weights, within slab z_from <= k < z_to.

    sums : (channels, z_to - z_from + 2, ny + 2, nx + 2, 2) float32: weight times grey and weight. A rim of
    one voxel takes what lies outside, so that the loop needs no test; neighbours' rims are theirs to count.
    """
    _, _, ny, nx, _ = sums.shape
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    for n in range(len(runs)):
        r = runs[n, 0]
        # the rim of one voxel is added once: voxel -1 is the first of `sums`
        x0 = voxel_M_p[0, 1] * r + voxel_M_p[0, 3] + 1.0
        y0 = voxel_M_p[1, 1] * r + voxel_M_p[1, 3] + 1.0
        z0 = voxel_M_p[2, 1] * r + voxel_M_p[2, 3] + 1.0
        a, b = clipped(z0, dz, float(z_from), float(z_to + 1), runs[n, 1], runs[n, 2])
        a, b = clipped(y0, dy, 0.0, float(ny - 1), a, b)
        a, b = clipped(x0, dx, 0.0, float(nx - 1), a, b)
        for channel in range(len(frames)):
            greys, weights, out = frames[channel][r], importance[r], sums[channel].ravel()
            for c in range(a, b):
                if greys[c] < reject:
                    continue
                x, y, z = x0 + dx * c, y0 + dy * c, z0 + dz * c
                i, j, k = np.int32(x), np.int32(y), np.int32(z)
                u, v, w = np.float32(x - i), np.float32(y - j), np.float32(z - k)
                grey, rest = np.float32(greys[c]), np.float32(1.0)
                w1 = w * np.float32(weights[c])
                w0 = np.float32(weights[c]) - w1
                w01, w11 = w0 * v, w1 * v
                w00, w10 = w0 - w01, w1 - w11
                at = np.uint64(2 * (((k - z_from) * ny + j) * nx + i))
                u0 = rest - u
                ug, u0g = u * grey, u0 * grey
                for m in range(4):
                    share = w00 if m == 0 else w01 if m == 1 else w10 if m == 2 else w11
                    here = at + np.uint64(2 * nx * (m % 2) + 2 * nx * ny * (m // 2))
                    out[here] += share * u0g
                    out[here + np.uint64(1)] += share * u0
                    out[here + np.uint64(2)] += share * ug
                    out[here + np.uint64(3)] += share * u


@njit(nogil=True, cache=True)
def spread_kept(frames, runs, importance, reject, voxel_M_p, mode, number, z_from, z_to, words):  # type: ignore[no-untyped-def]
    """As `paste`, for what is not a mean: a pixel reaches those of its eight voxels of weight 1/8 or more."""
    _, _, ny, nx = words.shape
    shift = np.uint64(44 if mode == MEDIAN else 36)
    one = np.uint64(1) << shift
    above = ~(one - np.uint64(1))
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    for n in range(len(runs)):
        r = runs[n, 0]
        x0 = voxel_M_p[0, 1] * r + voxel_M_p[0, 3]
        y0 = voxel_M_p[1, 1] * r + voxel_M_p[1, 3]
        z0 = voxel_M_p[2, 1] * r + voxel_M_p[2, 3]
        a, b = clipped(z0, dz, float(z_from - 1), float(z_to), runs[n, 1], runs[n, 2])
        a, b = clipped(y0, dy, -1.0, float(ny), a, b)
        a, b = clipped(x0, dx, -1.0, float(nx), a, b)
        for c in range(a, b):
            x, y, z = x0 + dx * c, y0 + dy * c, z0 + dz * c
            i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            for kk in range(max(k, z_from), min(k + 2, z_to)):
                for jj in range(max(j, 0), min(j + 2, ny)):
                    for ii in range(max(i, 0), min(i + 2, nx)):
                        share = (1.0 - abs(x - ii)) * (1.0 - abs(y - jj)) * (1.0 - abs(z - kk))
                        if share < 0.125:
                            continue
                        for channel in range(len(frames)):
                            grey = np.uint64(frames[channel][r, c])
                            if grey >= reject:
                                word = words[channel, kk, jj, ii]
                                words[channel, kk, jj, ii] = ((word & above) + one) | kept(
                                    word, grey, mode, number
                                )


@njit(nogil=True, cache=True)
def middle(low):  # type: ignore[no-untyped-def]
    """The median of the last three frames' greys, the mean of two, or the one."""
    frames = (low >> np.uint64(24)) & np.uint64(3)
    a = float(low & np.uint64(255))
    b = float((low >> np.uint64(8)) & np.uint64(255))
    c = float((low >> np.uint64(16)) & np.uint64(255))
    if frames == 1:
        return a
    if frames == 2:
        return (a + b) / 2
    return max(min(a, b), min(max(a, b), c))


@njit(nogil=True, cache=True)
def unpacked(words, mode, values, weight):  # type: ignore[no-untyped-def]
    """What the voxels of a slab (nz, ny, nx) keep: values, NaN where no pixel fell, and counts."""
    shift = np.uint64(44 if mode == MEDIAN else 36)
    below = (np.uint64(1) << shift) - np.uint64(1)
    words, values, weight = words.ravel(), values.ravel(), weight.ravel()
    for n in range(len(words)):
        word = words[n]
        count, low = word >> shift, word & below
        weight[n] = count
        if count == 0:
            values[n] = np.nan
        elif mode == MEAN:
            values[n] = float(low) / float(count)
        elif mode == MEDIAN:
            values[n] = middle(low)
        else:
            values[n] = low


@njit(nogil=True, cache=True)
def weighed(sums, least, values, weight):  # type: ignore[no-untyped-def]
    """The weighted means of a slab and their weights; NaN where the weight is below `least`."""
    nz, ny, nx = values.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                total, share = sums[k + 1, j + 1, i + 1]
                known = share >= least
                weight[k, j, i] = share if known else 0.0
                values[k, j, i] = total / share if known else np.nan


def runs_of(used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Unbroken stretches of True (h, w) as rows (n, 3): row, first column and the one after the last."""
    edges = np.diff(np.pad(used, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edges == 1)
    return np.stack([row, first, np.nonzero(edges == -1)[1]], axis=1)
