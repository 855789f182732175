"""The loops over pixels, compiled by numba. Private: `reconstruct` and `Reconstructor` are the doors.

Threads share a volume by owning slabs of z, decided on the integer voxel index, so no voxel is ever
written by two of them and the result does not depend on their number. A row of pixels is a line through
the voxels: it is cut to the slab first, exactly, so that the loops over its pixels need no test; one finds
the voxels, which vectorises, and one for each channel adds to them.

A voxel is one word: how many pixels in the upper bits, what it keeps of them in the lower ones. A plain mean
takes 32 bits, 12 for the count and 20 for the sum, and carries them to a wide word of 64 before they run
over. All else takes wide words: 28 bits and, of a mean, the sum; or 20 bits and, of "median3", the number of
the last frame (18), how many frames there were, 3 for more (2), and the last three greys (24). Nothing runs
over below 268 million pixels a voxel, a million with "median3", each as often as it is important.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

MEAN, MAX, LAST, FIRST, MEDIAN = range(5)
WIDEST_ROW = 2047  # pixels that a word of 32 bits takes between two looks at its count


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
    if mode == LAST:
        return grey
    old = word & np.uint64((1 << 36) - 1)
    if mode == MAX:
        return max(old, grey)
    return grey if word == 0 else old


@njit(nogil=True, cache=True)
def line(voxel_M_p, run, shift, low, high):  # type: ignore[no-untyped-def]
    """A run of pixels (row, first column, the one after the last) as a line through the voxels.

    Returns where its row begins, moved by `shift`, and the columns with low <= (x, y, z) < high.
    """
    r, a, b = run[0], run[1], run[2]
    x0 = voxel_M_p[0, 1] * r + voxel_M_p[0, 3] + shift
    y0 = voxel_M_p[1, 1] * r + voxel_M_p[1, 3] + shift
    z0 = voxel_M_p[2, 1] * r + voxel_M_p[2, 3] + shift
    a, b = clipped(z0, voxel_M_p[2, 0], float(low[2]), float(high[2]), a, b)
    a, b = clipped(y0, voxel_M_p[1, 0], float(low[1]), float(high[1]), a, b)
    a, b = clipped(x0, voxel_M_p[0, 0], float(low[0]), float(high[0]), a, b)
    return x0, y0, z0, a, b


@njit(nogil=True, cache=True)
def nearest(voxel_M_p, run, z_from, shape, index):  # type: ignore[no-untyped-def]
    """The columns of a run that a slab of `shape` (nz, ny, nx) from layer `z_from` on has, and their voxels.

    Voxels are counted within the slab, in `index` from its first element on.
    """
    nz, ny, nx = shape
    # half a voxel is added once, so that the whole part is "nearest"
    x0, y0, z0, a, b = line(voxel_M_p, run, 0.5, (0, 0, z_from), (nx, ny, z_from + nz))
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    first, y_step, z_step = np.int32(z_from), np.int32(nx), np.int32(ny * nx)
    for n in range(max(b - a, 0)):
        c = float(np.int32(a + n))
        i, j, k = np.int32(x0 + dx * c), np.int32(y0 + dy * c), np.int32(z0 + dz * c)
        index[n] = (k - first) * z_step + j * y_step + i
    return a, b


@njit(nogil=True, cache=True)
def widened(word):  # type: ignore[no-untyped-def]
    """A word of 32 bits as one of 64."""
    return (np.uint64(word >> np.uint32(20)) << np.uint64(36)) | np.uint64(word & np.uint32(0xFFFFF))


@njit(nogil=True, cache=True)
def counted(slab, voxel, grey):  # type: ignore[no-untyped-def]
    """The word of a voxel, in which it has been written, with one pixel more."""
    word = np.uint32(slab[voxel] + np.uint32(1 << 20) + grey)
    slab[voxel] = word
    return word


@njit(nogil=True, cache=True)
def carry(at, slab, wide):  # type: ignore[no-untyped-def]
    """Empty the voxels `at` of a slab into its wide words."""
    for voxel in at:
        wide[voxel] += widened(slab[voxel])
        slab[voxel] = 0


@njit(nogil=True, cache=True)
def add(frames, runs, voxel_M_p, z_from, words, wide):  # type: ignore[no-untyped-def]
    """Add the pixels of one frame, each once, to a plain mean of their nearest voxels in one slab.

    frames : for each channel (h, w) uint8; runs (n, 3): row, first column and the one after the last;
    words (channels, nz, ny, nx) uint32, from layer `z_from` on; wide: as words, uint64. Returns whether
    anything has been carried to `wide`.
    """
    shape = words.shape[1:]
    index = np.empty(frames[0].shape[1], np.int32)
    carried = False
    for run in runs:
        a, b = nearest(voxel_M_p, run, z_from, shape, index)
        at = index[: max(b - a, 0)]
        for channel in range(0, len(frames), 2):  # two at once do not wait for each other
            other = min(channel + 1, len(frames) - 1)
            grey, slab = frames[channel][run[0]][a:b], words[channel].ravel()
            grey_2, slab_2 = frames[other][run[0]][a:b], words[other].ravel()
            most = np.uint32(0)
            if channel == other:
                for n in range(len(at)):
                    most |= counted(slab, np.uint32(at[n]), grey[n])
            else:
                for n in range(len(at)):
                    most |= counted(slab, np.uint32(at[n]), grey[n])
                    most |= counted(slab_2, np.uint32(at[n]), grey_2[n])
            if most >> np.uint32(31):
                carried = True
                for one in range(channel, other + 1):
                    carry(at, words[one].ravel(), wide[one].ravel())
    return carried


@njit(nogil=True, cache=True)
def paste(frames, runs, voxel_M_p, z_from, words, importance, reject, mode, number):  # type: ignore[no-untyped-def]
    """As `add`, whatever a voxel keeps; words are wide.

    importance (h, w) uint8: how often a pixel counts in a mean; darker ones than `reject` are left out.
    """
    shift = np.uint64(44 if mode == MEDIAN else 36)
    one = np.uint64(1) << shift
    above = ~(one - np.uint64(1))
    shape = words.shape[1:]
    index = np.empty(importance.shape[1], np.int32)
    for run in runs:
        a, b = nearest(voxel_M_p, run, z_from, shape, index)
        for channel in range(len(frames)):
            greys, weights, slab = frames[channel][run[0]], importance[run[0]], words[channel].ravel()
            voxel, word = np.uint32(0), slab[0]
            for c in range(a, b):
                here = np.uint32(index[c - a])
                if here != voxel:  # neighbours often share a voxel
                    slab[voxel] = word
                    voxel, word = here, slab[here]
                grey = np.uint64(greys[c])
                if grey >= reject:
                    if mode == MEAN:
                        word += np.uint64(weights[c]) * (one + grey)
                    else:
                        word = ((word & above) + one) | kept(word, grey, mode, number)
            slab[voxel] = word


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
def added(words, wide, carried, values, weight):  # type: ignore[no-untyped-def]
    """The means of a slab that `add` has filled, NaN where no pixel fell, and counts."""
    words, wide, values, weight = words.ravel(), wide.ravel(), values.ravel(), weight.ravel()
    for n in range(len(words)):
        word = widened(words[n])
        if carried:  # untouched, `wide` takes no memory
            word += wide[n]
        count, total = word >> np.uint64(36), word & np.uint64((1 << 36) - 1)
        weight[n] = count
        values[n] = float(total) / float(count) if count else np.nan


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


def runs_of(used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Unbroken stretches of True (h, w) as rows (n, 3): row, first column and the one after the last."""
    edges = np.diff(np.pad(used, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edges == 1)
    return np.stack([row, first, np.nonzero(edges == -1)[1]], axis=1)
