"""Trees of boxes about triangles or points, and what is asked of them, compiled by numba.

Private: `closest_points` and `icp` are the doors. The items (triangles or points) are put in an order in
which every node of the tree owns a run of them, and halves it for its two children. Nodes are numbered from
the top, the first child straight after its parent.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import math

import numpy as np
from numba import njit

DEEP = 64
"""More than the levels of any tree: each level halves the items."""


@njit(nogil=True, cache=True)
def build(low, high, leaf):
    """Of items with boxes low, high (n, 3): order (n,), boxes (k, 6), the second child (k,), the run (k, 2).

    The second child of a leaf, which has at most `leaf` items, is 0.
    """
    n = len(low)
    middle = low + high
    order = np.arange(n)
    most = 4 * n // leaf + 3
    boxes = np.empty((most, 6))
    second = np.zeros(most, dtype=np.int32)
    run = np.empty((most, 2), dtype=np.int32)
    stack = np.empty((DEEP, 3), dtype=np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, n, -1
    top, nodes = 1, 0
    while top > 0:
        top -= 1
        first, last, parent = stack[top, 0], stack[top, 1], stack[top, 2]
        if parent >= 0:
            second[parent] = nodes
        node = nodes
        nodes += 1
        run[node, 0], run[node, 1] = first, last
        axis, widest = 0, -1.0
        for a in range(3):
            lo, hi, m_lo, m_hi = np.inf, -np.inf, np.inf, -np.inf
            for i in range(first, last):
                k = order[i]
                lo, hi = min(lo, low[k, a]), max(hi, high[k, a])
                m_lo, m_hi = min(m_lo, middle[k, a]), max(m_hi, middle[k, a])
            boxes[node, a], boxes[node, a + 3] = lo, hi
            if m_hi - m_lo > widest:
                axis, widest = a, m_hi - m_lo
        if last - first > leaf:
            half = (first + last) // 2
            _halve(order, middle[:, axis], first, last - 1, half)
            stack[top, 0], stack[top, 1], stack[top, 2] = half, last, node
            stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = first, half, -1
            top += 2
    return order, boxes[:nodes].copy(), second[:nodes].copy(), run[:nodes].copy()


@njit(nogil=True, cache=True)
def _halve(order, key, first, last, half):
    """Hoare's quickselect: no key before place `half` is above it, none after it below."""
    while first < last:
        a, b, c = key[order[first]], key[order[(first + last) // 2]], key[order[last]]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = first, last
        while i <= j:
            while key[order[i]] < pivot:
                i += 1
            while key[order[j]] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if half <= j:
            last = j
        elif half >= i:
            first = i
        else:
            return


@njit(nogil=True, cache=True)
def on_edge(x, y, x0, y0, x1, y1):
    """The point of an edge in the plane nearest to (x, y), and its squared distance."""
    ex, ey = x1 - x0, y1 - y0
    square = ex * ex + ey * ey
    t = 0.0
    if square > 0:
        t = min(max(((x - x0) * ex + (y - y0) * ey) / square, 0.0), 1.0)
    px, py = x0 + t * ex, y0 + t * ey
    return (x - px) ** 2 + (y - py) ** 2, px, py


@njit(nogil=True, cache=True)
def on_item(items, k, x, y, z):
    """Squared distance of item k, and where on the triangle's own axes u and v it is nearest.

    items is (n, 3) points, or (n, 16) triangles as `navkit.registration._closest` lays them out.
    """
    x, y, z = x - items[k, 0], y - items[k, 1], z - items[k, 2]
    if items.shape[1] == 3:
        return x * x + y * y + z * z, 0.0, 0.0
    s = x * items[k, 3] + y * items[k, 4] + z * items[k, 5]
    t = x * items[k, 6] + y * items[k, 7] + z * items[k, 8]
    out = x * items[k, 9] + y * items[k, 10] + z * items[k, 11]
    length, foot, height = items[k, 12], items[k, 13], items[k, 14]
    off, ps, pt = 0.0, s, t
    if t <= 0:  # both angles at the longest edge are sharp
        ps, pt = min(max(s, 0.0), length), 0.0
        off = (s - ps) ** 2 + t * t
    else:
        before = height * s < foot * t
        after = height * (s - length) >= (foot - length) * t  # a point, with 0 = 0, is an edge as well
        if before:
            off, ps, pt = on_edge(s, t, 0.0, 0.0, foot, height)
        if after:
            off_b, sb, tb = on_edge(s, t, length, 0.0, foot, height)
            if not before or off_b < off:
                off, ps, pt = off_b, sb, tb
    return off + out * out, ps, pt


@njit(nogil=True, cache=True)
def box_sq(boxes, k, x, y, z):
    """Squared distance of a point from box k, 0 inside."""
    dx = max(boxes[k, 0] - x, 0.0, x - boxes[k, 3])
    dy = max(boxes[k, 1] - y, 0.0, y - boxes[k, 4])
    dz = max(boxes[k, 2] - z, 0.0, z - boxes[k, 5])
    return dx * dx + dy * dy + dz * dz


@njit(nogil=True, cache=True)
def nearest(points, boxes, second, run, items, slack, which, closest, square):
    """The nearest item of each point, in `which` (n,), where it is nearest, and the squared distance.

    What `which` holds before is a guess, a near one saves time, or -1. slack (n,), or empty: while it is
    above 0 the guess is right; it becomes how far a point may move and still have this nearest item.
    """
    stack = np.empty(DEEP, dtype=np.int32)
    bound = np.empty(DEEP)
    wide = len(slack) > 0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        at = max(which[i], 0)
        best, s, t = on_item(items, at, x, y, z)
        other = np.inf  # the next nearest item's
        limit = other if wide else best
        stack[0], bound[0] = 0, 0.0
        top = 0 if wide and slack[i] > 0 else 1
        while top > 0:
            top -= 1
            node = stack[top]
            if bound[top] >= limit:
                continue
            while second[node] > 0:
                near, far = node + 1, second[node]
                near_sq, far_sq = box_sq(boxes, near, x, y, z), box_sq(boxes, far, x, y, z)
                if far_sq < near_sq:
                    near, far, near_sq, far_sq = far, near, far_sq, near_sq
                if far_sq < limit:
                    stack[top], bound[top] = far, far_sq
                    top += 1
                node = near
                if near_sq >= limit:
                    break
            else:
                for k in range(run[node, 0], run[node, 1]):
                    if k != at:
                        d, ks, kt = on_item(items, k, x, y, z)
                        if d < best:
                            other, best, s, t, at = best, d, ks, kt, k
                        elif d < other:
                            other = d
                limit = other if wide else best
        which[i], square[i] = at, best
        if wide and not slack[i] > 0:
            slack[i] = (math.sqrt(other) - math.sqrt(best)) / 2
        for c in range(3):
            closest[i, c] = items[at, c]
            if items.shape[1] > 3:
                closest[i, c] += s * items[at, c + 3] + t * items[at, c + 6]


@njit(nogil=True, cache=True)
def normals(points, boxes, second, run, items, number, out):
    """At each point, the direction in which the `number` nearest items spread least, of any sign."""
    stack = np.empty(DEEP, dtype=np.int32)
    bound = np.empty(DEEP)
    square = np.empty(number)
    which = np.empty(number, dtype=np.int64)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        square[:] = np.inf
        stack[0], bound[0] = 0, 0.0
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            if bound[top] >= square[number - 1]:
                continue
            if second[node] > 0:
                near, far = node + 1, second[node]
                near_sq, far_sq = box_sq(boxes, near, x, y, z), box_sq(boxes, far, x, y, z)
                if far_sq < near_sq:
                    near, far, near_sq, far_sq = far, near, far_sq, near_sq
                stack[top], bound[top] = far, far_sq
                stack[top + 1], bound[top + 1] = near, near_sq
                top += 2
                continue
            for k in range(run[node, 0], run[node, 1]):
                d, _, _ = on_item(items, k, x, y, z)
                if d < square[number - 1]:
                    place = number - 1
                    while place > 0 and square[place - 1] > d:
                        square[place], which[place] = square[place - 1], which[place - 1]
                        place -= 1
                    square[place], which[place] = d, k
        mx, my, mz = 0.0, 0.0, 0.0
        for j in range(number):
            k = which[j]
            mx, my, mz = mx + items[k, 0], my + items[k, 1], mz + items[k, 2]
        mx, my, mz = mx / number, my / number, mz / number
        xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(number):
            k = which[j]
            dx, dy, dz = items[k, 0] - mx, items[k, 1] - my, items[k, 2] - mz
            xx, xy, xz = xx + dx * dx, xy + dx * dy, xz + dx * dz
            yy, yz, zz = yy + dy * dy, yz + dy * dz, zz + dz * dz
        out[i, 0], out[i, 1], out[i, 2] = least(xx, xy, xz, yy, yz, zz)


@njit(nogil=True, cache=True)
def least(xx, xy, xz, yy, yz, zz):
    """The eigenvector of the least eigenvalue of a symmetric matrix, zero if two of them are 0.

    It is the greatest one's of the matrix of cofactors, which squaring over and over brings out.
    """
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    for _ in range(7):
        trace = a + d + f
        if not trace > 0:
            return 0.0, 0.0, 0.0
        a, b, c, d, e, f = a / trace, b / trace, c / trace, d / trace, e / trace, f / trace
        a, b, c, d, e, f = (
            a * a + b * b + c * c,
            a * b + b * d + c * e,
            a * c + b * e + c * f,
            b * b + d * d + e * e,
            b * c + d * e + e * f,
            c * c + e * e + f * f,
        )
    if a >= d and a >= f:
        x, y, z = a, b, c
    elif d >= f:
        x, y, z = b, d, e
    else:
        x, y, z = c, e, f
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


@njit(nogil=True, cache=True)
def move(pose, points, moved, slack):
    """Points (n, 3) through a pose (4, 4); how far they move is taken from their slack."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        way = 0.0
        for k in range(3):
            new = pose[k, 0] * x + pose[k, 1] * y + pose[k, 2] * z + pose[k, 3]
            way += (new - moved[i, k]) ** 2
            moved[i, k] = new
        slack[i] -= math.sqrt(way)


@njit(nogil=True, cache=True)
def plane_sums(moved, closest, normal, which, keep, centre, length):
    """Sums (6, 6) of J J^T and (6,) of J r: r is the distance to the tangent plane, J its change.

    By a shift, mm, and by a turn about `centre` that moves points `length` away by 1 mm.
    """
    total = np.zeros((6, 7))
    j = np.empty(7)
    for i in range(len(moved)):
        if keep[i]:
            x, y = (moved[i, 0] - centre[0]) / length, (moved[i, 1] - centre[1]) / length
            z = (moved[i, 2] - centre[2]) / length
            n = which[i]
            a, b, c = normal[n, 0], normal[n, 1], normal[n, 2]
            j[0], j[1], j[2] = a, b, c
            j[3], j[4], j[5] = y * c - z * b, z * a - x * c, x * b - y * a
            j[6] = 0.0
            for k in range(3):
                j[6] += normal[n, k] * (closest[i, k] - moved[i, k])
            for m in range(6):
                for k in range(m, 7):
                    total[m, k] += j[m] * j[k]
    for m in range(6):
        for k in range(m):
            total[m, k] = total[k, m]
    return total[:, :6].copy(), total[:, 6].copy()
