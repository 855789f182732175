"""The loops that share a pixel among its eight voxels; private, and otherwise as those of `_kernels`."""

import numpy as np
from numba import njit

from navkit.reconstruction._kernels import MEDIAN, kept, line


@njit(nogil=True, cache=True)
def corners(voxel_M_p, run, z_from, shape, index, parts):  # type: ignore[no-untyped-def]
    """As `nearest`, the voxel below each pixel and how far beyond it is, `parts` (3, w) along x, y, z.

    `shape` has a rim of one voxel, which takes what lies outside; neighbours' rims are theirs to count.
    """
    nz, ny, nx = shape
    # the rim of one voxel is added once: voxel -1 is the first of the slab
    x0, y0, z0, a, b = line(voxel_M_p, run, 1.0, (0, 0, z_from), (nx - 1, ny - 1, z_from + nz - 1))
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    first, y_step, z_step = np.int32(z_from), np.int32(nx), np.int32(ny * nx)
    us, vs, ws = parts[0], parts[1], parts[2]
    for n in range(max(b - a, 0)):
        c = float(np.int32(a + n))
        x, y, z = x0 + dx * c, y0 + dy * c, z0 + dz * c
        i, j, k = np.int32(x), np.int32(y), np.int32(z)
        us[n], vs[n], ws[n] = x - i, y - j, z - k
        index[n] = (k - first) * z_step + j * y_step + i
    return a, b


@njit(nogil=True, cache=True)
def spread(frames, runs, voxel_M_p, z_from, sums, importance, reject):  # type: ignore[no-untyped-def]
    """Share each pixel of one frame among its eight voxels, trilinear weights, within one slab.

    sums : (channels, nz + 2, ny + 2, nx + 2, 2) float32: weight times grey and weight.
    """
    _, _, ny, nx, _ = sums.shape
    shape = sums.shape[1:4]
    width = importance.shape[1]
    index, parts = np.empty(width, np.int32), np.empty((3, width), np.float32)
    rest = np.float32(1.0)
    for run in runs:
        a, b = corners(voxel_M_p, run, z_from, shape, index, parts)
        for channel in range(len(frames)):
            greys, weights, out = frames[channel][run[0]], importance[run[0]], sums[channel].ravel()
            for c in range(a, b):
                if greys[c] < reject:
                    continue
                n = np.uint32(c - a)
                u, v, w = parts[0, n], parts[1, n], parts[2, n]
                grey, weight = np.float32(greys[c]), np.float32(weights[c])
                w1 = w * weight
                w0 = weight - w1
                w01, w11 = w0 * v, w1 * v
                w00, w10 = w0 - w01, w1 - w11
                u0 = rest - u
                ug, u0g = u * grey, u0 * grey
                at = np.uint64(2) * np.uint64(index[n])
                for m in range(4):
                    share = w00 if m == 0 else w01 if m == 1 else w10 if m == 2 else w11
                    here = at + np.uint64(2 * nx * (m % 2) + 2 * nx * ny * (m // 2))
                    out[here] += share * u0g
                    out[here + np.uint64(1)] += share * u0
                    out[here + np.uint64(2)] += share * ug
                    out[here + np.uint64(3)] += share * u


@njit(nogil=True, cache=True)
def spread_kept(frames, runs, voxel_M_p, z_from, words, reject, mode, number):  # type: ignore[no-untyped-def]
    """As `paste`, for what is not a mean: a pixel reaches those of its eight voxels of weight 1/8 or more."""
    _, nz, ny, nx = words.shape
    z_to = z_from + nz
    shift = np.uint64(44 if mode == MEDIAN else 36)
    one = np.uint64(1) << shift
    above = ~(one - np.uint64(1))
    dx, dy, dz = voxel_M_p[0, 0], voxel_M_p[1, 0], voxel_M_p[2, 0]
    for run in runs:
        x0, y0, z0, a, b = line(voxel_M_p, run, 0.0, (-1, -1, z_from - 1), (nx, ny, z_to))
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
                            grey = np.uint64(frames[channel][run[0], c])
                            if grey >= reject:
                                word = words[channel, kk - z_from, jj, ii]
                                words[channel, kk - z_from, jj, ii] = ((word & above) + one) | kept(
                                    word, grey, mode, number
                                )


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
