"""The loops of the voxel-based methods, compiled by numba. Private: `reconstruct` is the door.

A plane is three affine functions of the voxel indices ``(i, j, k)``: the column and the row of the voxel's
foot on the frame, and its signed distance from it, mm. Over a box of voxels each stays within its value at
the centre +- its `extent`. So a large box, then a small one, strikes out most frames for all its voxels at
once, and never one that matters: the search is exact. The boxes lie on the grid, whoever works on them, so
the result does not depend on the number of threads.
"""

import numpy as np
from numba import njit

LARGE, SMALL = 16, 4  # voxels along a side of the boxes
SLACK = 1e-6  # mm or pixels, far above rounding: a bound that is a little wide loses nothing
NEAREST_MM = 1e-3  # CustusX: no plane counts as nearer, so that 1 / distance stays finite
OUTSIDE, PARTLY, INSIDE = range(3)  # how a frame's mask covers a box


@njit(nogil=True, cache=True)
def at(planes, n, q, x, y, z):  # type: ignore[no-untyped-def]
    """Function q (0 column, 1 row, 2 distance) of plane n at a voxel."""
    return planes[n, q, 0] * x + planes[n, q, 1] * y + planes[n, q, 2] * z + planes[n, q, 3]


@njit(nogil=True, cache=True)
def extent(planes, n, q, box):  # type: ignore[no-untyped-def]
    """How far the function may be from its value at the centre of a box."""
    p = planes
    return abs(p[n, q, 0]) * box[3] + abs(p[n, q, 1]) * box[4] + abs(p[n, q, 2]) * box[5] + SLACK


@njit(nogil=True, cache=True)
def box_at(i, j, k, side, shape):  # type: ignore[no-untyped-def]
    """Centre and half sides of the box that starts at voxel (i, j, k), cut where the volume ends."""
    hx = (min(side, shape[2] - i) - 1) / 2
    hy = (min(side, shape[1] - j) - 1) / 2
    hz = (min(side, shape[0] - k) - 1) / 2
    return i + hx, j + hy, k + hz, hx, hy, hz


@njit(nogil=True, cache=True)
def step(n, side):  # type: ignore[no-untyped-def]
    """The n-th place (x, y, z) in a cube, x running fastest."""
    return n % side, n // side % side, n // (side * side)


@njit(nogil=True, cache=True)
def coverage(area, left, right, top, bottom):  # type: ignore[no-untyped-def]
    """Whether the pixels that positions in a rectangle read, neighbours too, are in the mask.

    area (h + 1, w + 1) is the mask's summed-area table.
    """
    h, w = area.shape[0] - 1, area.shape[1] - 1
    left, right, top, bottom = np.floor(left), np.floor(right) + 2, np.floor(top), np.floor(bottom) + 2
    if right <= 0 or bottom <= 0 or left >= w or top >= h:
        return OUTSIDE
    c0, c1, r0, r1 = int(max(left, 0)), int(min(right, w)), int(max(top, 0)), int(min(bottom, h))
    number = area[r1, c1] - area[r0, c1] - area[r1, c0] + area[r0, c0]
    if number == 0:
        return OUTSIDE
    return INSIDE if number == (right - left) * (bottom - top) else PARTLY


@njit(nogil=True, cache=True)
def masked(mask, c, r):  # type: ignore[no-untyped-def]
    """Whether the pixel nearest to a position is in the mask."""
    c, r = np.floor(c + 0.5), np.floor(r + 0.5)
    return 0 <= c < mask.shape[1] and 0 <= r < mask.shape[0] and mask[int(r), int(c)]


@njit(nogil=True, cache=True)
def linear_pixel(frames, f, c, r):  # type: ignore[no-untyped-def]
    """Bilinear grey value of frame f."""
    c0, r0 = int(c), int(r)
    u, v = c - c0, r - r0
    a, b = float(frames[f, r0, c0]), float(frames[f, r0, c0 + 1])
    p, q = float(frames[f, r0 + 1, c0]), float(frames[f, r0 + 1, c0 + 1])
    upper, lower = a + u * (b - a), p + u * (q - p)
    return upper + v * (lower - upper)


@njit(nogil=True, cache=True)
def edge_pixel(frames, f, mask, c, r):  # type: ignore[no-untyped-def]
    """The same where the mask ends: pixels out of it lend no weight; the nearest one is in it."""
    c0, r0 = int(np.floor(c)), int(np.floor(r))
    total, share = 0.0, 0.0
    for rr in range(max(r0, 0), min(r0 + 2, mask.shape[0])):
        for cc in range(max(c0, 0), min(c0 + 2, mask.shape[1])):
            if mask[rr, cc]:
                w = (1 - abs(r - rr)) * (1 - abs(c - cc))
                total += w * frames[f, rr, cc]
                share += w
    return total / share


@njit(nogil=True, cache=True)
def planes_near(planes, area, box, radius, limit, among, count, into, lower, upper):  # type: ignore[no-untyped-def]
    """Those of the first `count` planes `among` that may be one of the `limit` nearest to a voxel of a box.

    among, into (m, 2): number of the plane and its coverage, as known of a larger box, and of this one;
    lower (m,): their least distance; upper (limit,): the `limit` least of the greatest distances of planes
    that cover the whole box, beyond which no plane is worth keeping. Returns how many were kept.
    """
    x, y, z = box[0], box[1], box[2]
    reach, found, bounds = radius, 0, 0
    for a in range(count):
        n, cover = among[a]
        distance, slope = abs(at(planes, n, 2, x, y, z)), extent(planes, n, 2, box)
        if distance - slope > reach:
            continue
        if cover != INSIDE:
            c, r = at(planes, n, 0, x, y, z), at(planes, n, 1, x, y, z)
            dc, dr = extent(planes, n, 0, box), extent(planes, n, 1, box)
            cover = coverage(area, c - dc, c + dc, r - dr, r + dr)
            if cover == OUTSIDE:
                continue
        far = distance + slope
        if cover == INSIDE and (bounds < limit or far < upper[limit - 1]):
            b = min(bounds, limit - 1)
            while b > 0 and upper[b - 1] > far:
                upper[b] = upper[b - 1]
                b -= 1
            upper[b] = far
            bounds = min(bounds + 1, limit)
            if bounds == limit:
                reach = min(reach, upper[limit - 1])
        into[found, 0], into[found, 1], lower[found] = n, cover, distance - slope
        found += 1
    kept = 0
    for a in range(found):
        if lower[a] <= reach:
            into[kept, 0], into[kept, 1], lower[kept] = into[a, 0], into[a, 1], lower[a]
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def sort_by_distance(chosen, lower, count):  # type: ignore[no-untyped-def]
    """In place by insertion: the lists are short."""
    for a in range(1, count):
        n, cover, low, b = chosen[a, 0], chosen[a, 1], lower[a], a
        while b > 0 and lower[b - 1] > low:
            chosen[b, 0], chosen[b, 1], lower[b] = chosen[b - 1, 0], chosen[b - 1, 1], lower[b - 1]
            b -= 1
        chosen[b, 0], chosen[b, 1], lower[b] = n, cover, low


@njit(nogil=True, cache=True)
def adaptive_weights(grey, number, weight, found, newness, brightness):  # type: ignore[no-untyped-def]
    """CustusX's "anisotropic" rule: turns the distances in `weight`, the nearest first, into weights."""
    mean, middle, variance = 0.0, 0.0, 0.0
    for b in range(found):
        mean += grey[b] / found
        middle += number[b] / found
    for b in range(found):
        variance += (grey[b] - mean) ** 2 / max(found - 1, 1)
    sigma = 32.0 / np.sqrt(min(max(variance, 1.0), 1e7))
    share = 0.0
    for b in range(found):
        w = np.exp(-0.5 * (weight[b] / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        # the means carry rounding: values equal to them must not count as below
        w += newness * (number[b] > middle - 1e-9) + brightness * (grey[b] > mean - 1e-9)
        weight[b] = w
        share += w
    if share == 0.0:  # every Gauss has vanished; in the limit the nearest plane is left
        weight[0] = 1.0


@njit(nogil=True, cache=True)
def average_planes(  # type: ignore[no-untyped-def]
    frames, order, planes, mask, area, row, radius, limit, bilinear, adaptive, newness, brightness,
    values, weight,
):  # fmt: skip
    """Fill a row of large boxes along x with the weighted mean of each voxel's nearest planes.

    frames (n, h, w); order (m,) the used ones; planes (m, 3, 4); mask (h, w); area its summed-area table;
    row (j, k) the first voxel's. A voxel without a plane within `radius` keeps what it holds.
    """
    shape, m, some = values.shape, len(order), 0
    every = np.full((m, 2), PARTLY)
    every[:, 0] = np.arange(m)
    large, small = np.empty((m, 2), np.int64), np.empty((m, 2), np.int64)
    lower, upper, grey, w = np.empty(m), np.empty(limit), np.empty(limit), np.empty(limit)
    number, inside = np.empty(limit, np.int64), np.empty(limit, np.bool_)
    boxes = (LARGE // SMALL) ** 3
    for box in range(-(-shape[2] // LARGE) * boxes):
        x, y, z = step(box % boxes, LARGE // SMALL)
        i0, j0, k0 = box // boxes * LARGE + SMALL * x, row[0] + SMALL * y, row[1] + SMALL * z
        if box % boxes == 0:
            whole = box_at(i0, j0, k0, LARGE, shape)
            some = planes_near(planes, area, whole, radius, limit, every, m, large, lower, upper)
        if some == 0 or i0 >= shape[2] or j0 >= shape[1] or k0 >= shape[0]:
            continue
        part = box_at(i0, j0, k0, SMALL, shape)
        few = planes_near(planes, area, part, radius, limit, large, some, small, lower, upper)
        sort_by_distance(small, lower, few)
        for v in range(SMALL**3):
            x, y, z = step(v, SMALL)
            i, j, k = i0 + x, j0 + y, k0 + z
            if i >= shape[2] or j >= shape[1] or k >= shape[0]:
                continue
            found, reach = 0, radius  # w holds the distances of the nearest so far, sorted
            for a in range(few):
                if lower[a] > reach:
                    break
                n, whole_box = small[a, 0], small[a, 1] == INSIDE
                d = abs(at(planes, n, 2, i, j, k))
                if d > reach or (found == limit and d == reach and n > number[limit - 1]):
                    continue
                if not whole_box and not masked(mask, at(planes, n, 0, i, j, k), at(planes, n, 1, i, j, k)):
                    continue
                b = min(found, limit - 1)
                while b > 0 and (w[b - 1] > d or (w[b - 1] == d and number[b - 1] > n)):
                    w[b], number[b], inside[b] = w[b - 1], number[b - 1], inside[b - 1]
                    b -= 1
                w[b], number[b], inside[b] = d, n, whole_box
                found = min(found + 1, limit)
                if found == limit:
                    reach = w[limit - 1]
            if found == 0:
                continue
            for b in range(found):
                n = number[b]
                f, c, r = order[n], at(planes, n, 0, i, j, k), at(planes, n, 1, i, j, k)
                if not bilinear:
                    grey[b] = frames[f, int(np.floor(r + 0.5)), int(np.floor(c + 0.5))]
                elif inside[b]:
                    grey[b] = linear_pixel(frames, f, c, r)
                else:
                    grey[b] = edge_pixel(frames, f, mask, c, r)
            if adaptive:
                adaptive_weights(grey, number, w, found, newness, brightness)
            else:
                for b in range(found):
                    w[b] = 1.0 / max(w[b], NEAREST_MM)
            total, share, squares = 0.0, 0.0, 0.0
            for b in range(found):
                total += w[b] * grey[b]
                share += w[b]
                squares += w[b] * w[b]
            values[k, j, i], weight[k, j, i] = total / share, share * share / squares


@njit(nogil=True, cache=True)
def pairs_near(planes, area, box, reach, among, count, into):  # type: ignore[no-untyped-def]
    """Those of the frames in `among` that, with the next one, may lie on both sides of a voxel of a box.

    As `planes_near`; reach: the largest sum of the two distances, mm.
    """
    x, y, z = box[0], box[1], box[2]
    kept = 0
    for a in range(count):
        n, cover = among[a]
        p, q = at(planes, n, 2, x, y, z), at(planes, n + 1, 2, x, y, z)
        dp, dq = extent(planes, n, 2, box), extent(planes, n + 1, 2, box)
        if min(p - dp, q - dq) > 0 or max(p + dp, q + dq) < 0 or abs(p - q) - dp - dq > reach:
            continue
        if cover != INSIDE:
            left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
            for b in range(n, n + 2):
                c, r = at(planes, b, 0, x, y, z), at(planes, b, 1, x, y, z)
                dc, dr = extent(planes, b, 0, box), extent(planes, b, 1, box)
                left, right, top, bottom = (
                    min(left, c - dc), max(right, c + dc), min(top, r - dr), max(bottom, r + dr)
                )  # fmt: skip
            cover = coverage(area, left, right, top, bottom)
            if cover == OUTSIDE:
                continue
        into[kept, 0], into[kept, 1] = n, cover
        kept += 1
    return kept


@njit(nogil=True, cache=True)
def between(planes, n, m, x, y, z):  # type: ignore[no-untyped-def]
    """Where the path from plane n to plane m comes by: the part of the way behind it, column and row.

    Beyond the two planes it is where the path ends.
    """
    p, q = at(planes, n, 2, x, y, z), at(planes, m, 2, x, y, z)
    t = min(max(p / (p - q), 0.0), 1.0) if p != q else 0.0
    c = (1 - t) * at(planes, n, 0, x, y, z) + t * at(planes, m, 0, x, y, z)
    r = (1 - t) * at(planes, n, 1, x, y, z) + t * at(planes, m, 1, x, y, z)
    return t, c, r


@njit(nogil=True, cache=True)
def pair_at(planes, mask, among, count, reach, i, j, k):  # type: ignore[no-untyped-def]
    """The closest two of the consecutive frames with a voxel between them: the path that leads through it.

    Returns the first one's number (-1: none), column and line where the path meets both, the share of the
    second, whether the mask is whole around it, and the sum of the two distances.
    """
    near, column, line, share, inside, gap = -1, 0.0, 0.0, 0.0, False, np.inf
    for a in range(count):
        n = among[a, 0]
        p, q = at(planes, n, 2, i, j, k), at(planes, n + 1, 2, i, j, k)
        if p * q > 0 or abs(p - q) > reach or abs(p - q) >= gap:
            continue
        t, c, r = between(planes, n, n + 1, i, j, k)
        if among[a, 1] != INSIDE and not masked(mask, c, r):
            continue
        near, column, line, share, inside, gap = n, c, r, t, among[a, 1] == INSIDE, abs(p - q)
    return near, column, line, share, inside, gap


@njit(nogil=True, cache=True)
def follow_path(frames, order, planes, mask, area, row, reach, values, weight):  # type: ignore[no-untyped-def]
    """Fill a row of large boxes along x between consecutive frames, along the probe's path.

    As `average_planes`; reach: the largest sum of a voxel's distances from the two frames, mm.
    """
    shape, m, some = values.shape, len(order) - 1, 0
    every = np.full((m, 2), PARTLY)
    every[:, 0] = np.arange(m)
    large, small = np.empty((m, 2), np.int64), np.empty((m, 2), np.int64)
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
            near, column, line, s, inside, _ = pair_at(planes, mask, small, few, reach, i, j, k)
            if near < 0:
                continue
            f, g = order[near], order[near + 1]
            if inside:
                one, other = linear_pixel(frames, f, column, line), linear_pixel(frames, g, column, line)
            else:
                one = edge_pixel(frames, f, mask, column, line)
                other = edge_pixel(frames, g, mask, column, line)
            values[k, j, i] = (1 - s) * one + s * other
            weight[k, j, i] = 1 / ((1 - s) ** 2 + s**2)
