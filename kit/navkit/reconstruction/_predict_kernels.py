"""Compiled parts of `_predict`: pictures at several scales, what each would have told, and the voxels."""

import numpy as np
from numba import njit

from navkit.reconstruction._voxel_kernels import (
    LARGE,
    PARTLY,
    SMALL,
    at,
    between,
    box_at,
    edge_pixel,
    linear_pixel,
    masked,
    pair_at,
    pairs_near,
    step,
)

BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


@njit(nogil=True, cache=True)
def halve(picture, known, smaller, fewer):  # type: ignore[no-untyped-def]
    """Fill `smaller`, whose pixel (j, i) lies at (2 j, 2 i), with binomial means of the known pixels.

    picture (h, w); known (h, w) bool; smaller (h // 2 + 2, w // 2 + 2); fewer the same, bool: what is known
    of it. The four pixels around a known one's place are known.
    """
    h, w = picture.shape
    line, share = np.empty(w), np.empty(w)
    for j in range(smaller.shape[0]):
        low, high = max(2 * j - 2, 0), min(2 * j + 3, h)
        line[:] = 0.0
        share[:] = 0.0
        for y in range(low, high):
            b = BINOMIAL[y - 2 * j + 2]
            for x in range(w):
                line[x] += b * known[y, x] * picture[y, x]
                share[x] += b * known[y, x]
        for i in range(smaller.shape[1]):
            total, whole = 0.0, 0.0
            for x in range(max(2 * i - 2, 0), min(2 * i + 3, w)):
                total += BINOMIAL[x - 2 * i + 2] * line[x]
                whole += BINOMIAL[x - 2 * i + 2] * share[x]
            fewer[j, i] = whole > 0
            smaller[j, i] = total / whole if whole > 0 else 0.0


@njit(nogil=True, cache=True)
def at_level(frames, order, mask, levels, layout, n, c, r, inside, k):  # type: ignore[no-untyped-def]
    """Bilinear grey value of the n-th used frame at level k; 0 is the frame itself.

    levels (m, pixels of all levels from 1); layout (levels, 2): where one starts, and its width.
    """
    if k > 0:
        scale = 1.0 / (1 << k)
        c, r = max(c, 0.0) * scale, max(r, 0.0) * scale
        c0, r0 = int(c), int(r)
        u, v = c - c0, r - r0
        a = layout[k - 1, 0] + r0 * layout[k - 1, 1] + c0
        b = a + layout[k - 1, 1]
        upper = levels[n, a] + u * (levels[n, a + 1] - levels[n, a])
        lower = levels[n, b] + u * (levels[n, b + 1] - levels[n, b])
        return upper + v * (lower - upper)
    if inside:
        return linear_pixel(frames, order[n], c, r)
    return edge_pixel(frames, order[n], mask, c, r)


@njit(nogil=True, cache=True)
def hold_out(  # type: ignore[no-untyped-def]
    frames, order, planes, mask, levels, layout, voxel_M_p, pixels, lags, reach, parts, error, root, number
):
    """Ask for pixels of each frame the frames `lag` before and after, at every level, by way of the voxels.

    voxel_M_p (m, 3, 4); pixels (s, 2) row and column; error (levels * parts + 1, bins): sums of absolute
    differences for levels in steps of 1 / parts; root, number (bins,): sum of the roots of lengths, and how
    many. Bins are equal in the root. A pixel is left out if a voxel around it is not reached.
    """
    bins, count = len(number), len(layout) + 1
    told = np.empty(count)
    for lag in lags:
        for m in range(lag, len(order) - lag):
            a, b = m - lag, m + lag
            for i in range(len(pixels)):
                row, column = pixels[i]
                x, y, z = voxel_M_p[m, :, 0] * column + voxel_M_p[m, :, 1] * row + voxel_M_p[m, :, 3]
                p, q = at(planes, a, 2, x, y, z), at(planes, b, 2, x, y, z)
                if p * q > 0 or p == q or abs(p - q) >= reach:
                    continue
                told[:] = -float(frames[order[m], row, column])
                whole = True
                for corner in range(8):
                    dx, dy, dz = step(corner, 2)
                    xx, yy, zz = np.floor(x) + dx, np.floor(y) + dy, np.floor(z) + dz
                    w = (1 - abs(x - xx)) * (1 - abs(y - yy)) * (1 - abs(z - zz))
                    t, c, r = between(planes, a, b, xx, yy, zz)
                    if not masked(mask, c, r):
                        whole = False
                        break
                    for k in range(count):
                        one = at_level(frames, order, mask, levels, layout, a, c, r, False, k)
                        other = at_level(frames, order, mask, levels, layout, b, c, r, False, k)
                        told[k] += w * ((1 - t) * one + t * other)
                if not whole:
                    continue
                way = abs(4 * p * q / (p - q))
                bin = int(bins * np.sqrt(way / reach))
                root[bin] += np.sqrt(way)
                number[bin] += 1
                error[0, bin] += abs(told[0])
                for k in range(1, count):
                    for g in range(1, parts + 1):
                        mixed = told[k - 1] + g / parts * (told[k] - told[k - 1])
                        error[(k - 1) * parts + g, bin] += abs(mixed)


@njit(nogil=True, cache=True)
def predict(  # type: ignore[no-untyped-def]
    frames, order, planes, mask, area, levels, layout, rule, norms, row, reach, width, values, weight
):
    """Fill a row of large boxes along x between consecutive frames, along the probe's path.

    As `follow_path`; levels, layout: as in `at_level`; rule: the level at length 0, and its rise with the
    length's root; norms (levels + 1, levels + 1) products of their kernels; width: frames that pass within,
    in mm, are averaged.
    """
    shape, m, some = values.shape, len(order) - 1, 0
    every = np.full((m, 2), PARTLY)
    every[:, 0] = np.arange(m)
    large, small = np.empty((m, 2), np.int64), np.empty((m, 2), np.int64)
    share = np.empty(m + 1)
    boxes = (LARGE // SMALL) ** 3
    for box in range(-(-shape[2] // LARGE) * boxes):
        x, y, z = step(box % boxes, LARGE // SMALL)
        i0, j0, k0 = box // boxes * LARGE + SMALL * x, row[0] + SMALL * y, row[1] + SMALL * z
        if box % boxes == 0:
            some = pairs_near(planes, area, box_at(i0, j0, k0, LARGE, shape), reach, every, m, large)
        if some == 0 or i0 >= shape[2] or j0 >= shape[1] or k0 >= shape[0]:
            continue
        few = pairs_near(planes, area, box_at(i0, j0, k0, SMALL, shape), reach, large, some, small)
        for v in range(SMALL**3):
            x, y, z = step(v, SMALL)
            i, j, k = i0 + x, j0 + y, k0 + z
            if i >= shape[2] or j >= shape[1] or k >= shape[0]:
                continue
            near, column, line, s, inside, gap = pair_at(planes, mask, small, few, reach, i, j, k)
            if near < 0:
                continue
            level = min(rule[0] + rule[1] * np.sqrt(4 * s * (1 - s) * gap), float(len(layout)))
            e = min(int(level), len(layout) - 1)
            part = level - e
            first, last = near, near + 1
            share[near], share[near + 1] = 1 - s, s
            dense = gap < width  # then a line is fitted to all that pass within, the nearer the more weight
            for n in range(near, near + 2):
                dense = dense and masked(mask, at(planes, n, 0, i, j, k), at(planes, n, 1, i, j, k))
            if dense:
                while first > 0 and abs(at(planes, first - 1, 2, i, j, k)) < width:
                    first -= 1
                while last < m and abs(at(planes, last + 1, 2, i, j, k)) < width:
                    last += 1
                s0, s1, s2 = 0.0, 0.0, 0.0
                for n in range(first, last + 1):
                    d = at(planes, n, 2, i, j, k)
                    share[n] = 0.0
                    if masked(mask, at(planes, n, 0, i, j, k), at(planes, n, 1, i, j, k)):
                        share[n] = 1 - abs(d) / width
                    s0, s1, s2 = s0 + share[n], s1 + share[n] * d, s2 + share[n] * d * d
                spread = s0 * s2 - s1 * s1
                for n in range(first, last + 1):
                    if spread > 1e-9 * s0 * s0 * width * width:
                        share[n] *= (s2 - s1 * at(planes, n, 2, i, j, k)) / spread
                    else:
                        share[n] /= s0
            total, squares = 0.0, 0.0
            for n in range(first, last + 1):
                if share[n] == 0:
                    continue
                c, r = column, line
                if dense:
                    c, r = at(planes, n, 0, i, j, k), at(planes, n, 1, i, j, k)
                sure = inside and not dense
                grey = at_level(frames, order, mask, levels, layout, n, c, r, sure, e)
                if part > 0:
                    grey += part * (
                        at_level(frames, order, mask, levels, layout, n, c, r, sure, e + 1) - grey
                    )
                total += share[n] * grey
                squares += share[n] * share[n]
            noise = (1 - part) ** 2 * norms[e, e] + part**2 * norms[e + 1, e + 1]
            noise += 2 * part * (1 - part) * norms[e, e + 1]
            values[k, j, i], weight[k, j, i] = total, 1 / (noise * squares)
