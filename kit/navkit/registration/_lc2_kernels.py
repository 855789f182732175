"""The loops of LC2 and of the descriptors, compiled by numba. Private: `register_images` is the door.

Both metrics are sums of squares, so one pass gives the value, its slope and the Gauss-Newton matrix. Rows
are cut by the picture, not by the workers, and each writes to a place of its own; the places are added in
one order. So the result does not depend on the number of threads.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import numpy as np
from numba import njit

RIGID = 6
"""Turn about x, y and z, then shift along them."""
TOTAL = 4 + RIGID + RIGID * RIGID
"""What a row adds up: what there is to explain, what is not explained, patches, voxels; slope; matrix."""
KNOWN = 4
"""Of a voxel: ultrasound, intensity, gradient, and 1."""
PRODUCTS = KNOWN + 2 * RIGID
"""With the slopes of intensity and gradient."""
ALIKE = 1e-10
"""Below it, intensity and gradient of a patch say the same; relative to the product of their squares."""


@njit(nogil=True, cache=True)
def sample(moving, index_M_voxel, i, j, k, out):
    """All channels (.., c) at the place of a voxel into out (c, 4): value, slopes by mm of the voxel's space.

    index_M_voxel (6, 4): the place in `moving`, and below it the slopes' chain rule. Trilinear; whether all
    eight voxels around it are there and known is the answer.
    """
    a = index_M_voxel
    x = a[0, 0] * i + a[0, 1] * j + a[0, 2] * k + a[0, 3]
    y = a[1, 0] * i + a[1, 1] * j + a[1, 2] * k + a[1, 3]
    z = a[2, 0] * i + a[2, 1] * j + a[2, 2] * k + a[2, 3]
    nz, ny, nx = moving.shape[:3]
    if not (0 <= x <= nx - 1 and 0 <= y <= ny - 1 and 0 <= z <= nz - 1):
        return False
    q, r, s = min(int(x), nx - 2), min(int(y), ny - 2), min(int(z), nz - 2)
    u, v, w = x - q, y - r, z - s
    for c in range(moving.shape[3]):
        m000, m001 = float(moving[s, r, q, c]), float(moving[s, r, q + 1, c])
        m010, m011 = float(moving[s, r + 1, q, c]), float(moving[s, r + 1, q + 1, c])
        m100, m101 = float(moving[s + 1, r, q, c]), float(moving[s + 1, r, q + 1, c])
        m110, m111 = float(moving[s + 1, r + 1, q, c]), float(moving[s + 1, r + 1, q + 1, c])
        d00, d01, d10, d11 = m001 - m000, m011 - m010, m101 - m100, m111 - m110
        m00, m01, m10, m11 = m000 + u * d00, m010 + u * d01, m100 + u * d10, m110 + u * d11
        m0, m1 = m00 + v * (m01 - m00), m10 + v * (m11 - m10)
        value = m0 + w * (m1 - m0)
        if np.isnan(value):
            return False
        dx0, dx1 = d00 + v * (d01 - d00), d10 + v * (d11 - d10)
        dx, dy, dz = dx0 + w * (dx1 - dx0), m01 - m00 + w * (m11 - m10 - m01 + m00), m1 - m0
        out[c, 0] = value
        for axis in range(3):
            out[c, 1 + axis] = a[3, axis] * dx + a[4, axis] * dy + a[5, axis] * dz
    return True


@njit(nogil=True, cache=True)
def lc2_slabs(fixed, moving, index_M_voxel, offset_M_voxel, mean, floor, edge, slope, first, last, out):
    """LC2 of the patches that begin in the slabs of blocks `first` to `last`.

    The picture is cut into blocks of `edge` voxels; a patch is 2 x 2 x 2 of them, so patches overlap by half
    and all they need are sums of products by block. Two slabs of those are kept.

    fixed (nz, ny, nx), NaN where there is no data; moving (.., 2): intensity and gradient magnitude;
    offset_M_voxel (3, 4): to the place from the centre of rotation, mm; mean (3,): of ultrasound, intensity
    and gradient, roughly, so that sums of squares stay exact; floor (2,): variance of intensity and gradient
    that is only rounding; slope: whether it is wanted too; out (slabs, TOTAL).
    """
    nz, ny, nx = fixed.shape
    bz, by, bx = (nz + edge - 1) // edge, (ny + edge - 1) // edge, (nx + edge - 1) // edge
    wide = PRODUCTS if slope else KNOWN
    slabs = np.zeros((2, by, bx, wide * wide))
    rows = np.zeros((2, bx, wide * wide))
    patch = np.empty((wide, wide))
    flat = patch.reshape(wide * wide)
    least = 4 * edge * edge * edge
    ready = first - 1
    for k in range(first, last):
        while ready < min(k + 1, bz - 1):
            ready += 1
            for j in range(by):
                block_row(
                    fixed,
                    moving,
                    index_M_voxel,
                    offset_M_voxel,
                    mean,
                    edge,
                    slope,
                    ready,
                    j,
                    slabs[ready % 2, j],
                )
        total = out[k]
        total[:] = 0.0
        one, two = slabs[k % 2], slabs[min(k + 1, bz - 1) % 2]
        for j in range(by):
            row, above = rows[j % 2], rows[(j + 1) % 2]
            for i in range(bx):
                for c in range(wide * wide):
                    row[i, c] = one[j, i, c] + two[j, i, c] if bz > 1 else one[j, i, c]
            if j == 0 and by > 1:
                continue
            for i in range(max(bx - 1, 1)):
                for c in range(wide * wide):
                    flat[c] = row[i, c]
                    if by > 1:
                        flat[c] += above[i, c]
                    if bx > 1:
                        flat[c] += row[i + 1, c]
                    if by > 1 and bx > 1:
                        flat[c] += above[i + 1, c]
                add_patch(patch, least, floor, slope, total)


@njit(nogil=True, cache=True)
def block_row(fixed, moving, index_M_voxel, offset_M_voxel, mean, edge, slope, block_k, block_j, out):
    """Sums of products (.., PRODUCTS * PRODUCTS) of a row of blocks; the half that is not needed stays 0."""
    nz, ny, nx = fixed.shape
    at = np.empty((2, 4))
    w = np.ones(PRODUCTS)
    o = offset_M_voxel
    out[:] = 0.0
    for k in range(block_k * edge, min((block_k + 1) * edge, nz)):
        for j in range(block_j * edge, min((block_j + 1) * edge, ny)):
            for i in range(nx):
                u = fixed[k, j, i]
                if np.isnan(u) or not sample(moving, index_M_voxel, i, j, k, at):
                    continue
                sums = out[i // edge]
                w[0], w[1], w[2] = u - mean[0], at[0, 0] - mean[1], at[1, 0] - mean[2]
                if not slope:
                    for q in range(KNOWN):
                        for c in range(KNOWN):
                            sums[KNOWN * q + c] += w[q] * w[c]
                    continue
                x = o[0, 0] * i + o[0, 1] * j + o[0, 2] * k + o[0, 3]
                y = o[1, 0] * i + o[1, 1] * j + o[1, 2] * k + o[1, 3]
                z = o[2, 0] * i + o[2, 1] * j + o[2, 2] * k + o[2, 3]
                for c in range(2):
                    hx, hy, hz = at[c, 1], at[c, 2], at[c, 3]
                    t = KNOWN + RIGID * c
                    w[t], w[t + 1], w[t + 2] = y * hz - z * hy, z * hx - x * hz, x * hy - y * hx
                    w[t + 3], w[t + 4], w[t + 5] = hx, hy, hz
                for q in range(KNOWN):
                    for c in range(PRODUCTS):
                        sums[PRODUCTS * q + c] += w[q] * w[c]
                for q in range(KNOWN, KNOWN + RIGID):
                    for c in range(KNOWN, PRODUCTS):
                        sums[PRODUCTS * q + c] += w[q] * w[c]
                for q in range(KNOWN + RIGID, PRODUCTS):
                    for c in range(KNOWN + RIGID, PRODUCTS):
                        sums[PRODUCTS * q + c] += w[q] * w[c]


@njit(nogil=True, cache=True)
def add_patch(s, least, floor, slope, total):
    """Add one patch's share. s: sums of products of (u, p, g, 1, slopes of p, slopes of g)."""
    n = s[3, 3]
    if n < least:
        return
    # about the means
    for q in range(3):
        for c in range(s.shape[1]):
            if c != 3:
                s[q, c] -= s[q, 3] * s[3, c] / n
    uu, up, ug, pp, pg, gg = s[0, 0], s[0, 1], s[0, 2], s[1, 1], s[1, 2], s[2, 2]
    pp, gg = pp if pp > n * floor[0] else 0.0, gg if gg > n * floor[1] else 0.0
    # the inverse of [[pp, pg], [pg, gg]], or of the better of the two alone where both say the same
    det = pp * gg - pg * pg
    vpp, vpg, vgg = 0.0, 0.0, 0.0
    if det > ALIKE * pp * gg:
        vpp, vpg, vgg = gg / det, -pg / det, pp / det
    elif pp > 0 and (gg == 0 or up * up * gg >= ug * ug * pp):
        vpp = 1 / pp
    elif gg > 0:
        vgg = 1 / gg
    a, b = vpp * up + vpg * ug, vpg * up + vgg * ug
    total[0] += uu / n
    total[1] += max(uu - a * up - b * ug, 0.0) / n
    total[2] += 1
    total[3] += n
    if not slope:
        return
    h = np.empty((KNOWN, RIGID))  # with u, p and g about their means, and with 1
    for x in range(KNOWN):
        for q in range(RIGID):
            h[x, q] = a * s[x, KNOWN + q] + b * s[x, KNOWN + RIGID + q]
    # what a, b and c could follow by themselves says nothing about the place: variable projection
    for q in range(RIGID):
        total[4 + q] += (h[0, q] - a * h[1, q] - b * h[2, q]) / n
        p, g = KNOWN + q, KNOWN + RIGID + q
        for c in range(q + 1):
            pc, gc = KNOWN + c, KNOWN + RIGID + c
            square = a * a * s[p, pc] + a * b * (s[p, gc] + s[pc, g]) + b * b * s[g, gc]
            known = h[3, q] * h[3, c] / n + vpp * h[1, q] * h[1, c] + vgg * h[2, q] * h[2, c]
            known += vpg * (h[1, q] * h[2, c] + h[2, q] * h[1, c])
            total[4 + RIGID + RIGID * q + c] += (square - known) / n


@njit(nogil=True, cache=True)
def difference_slices(fixed, moving, index_M_voxel, offset_M_voxel, slope, first, last, out):
    """Squared differences of pictures of many channels (.., c), of the slices `first` to `last`.

    out (nz, TOTAL), as for LC2; what there is to explain is a difference of 1 in every channel.
    """
    _, ny, nx, channels = fixed.shape
    at = np.empty((channels, 4))
    h = np.empty(RIGID)
    o = offset_M_voxel
    for k in range(first, last):
        total = out[k]
        total[:] = 0.0
        for j in range(ny):
            for i in range(nx):
                if np.isnan(fixed[k, j, i, 0]) or not sample(moving, index_M_voxel, i, j, k, at):
                    continue
                x = o[0, 0] * i + o[0, 1] * j + o[0, 2] * k + o[0, 3]
                y = o[1, 0] * i + o[1, 1] * j + o[1, 2] * k + o[1, 3]
                z = o[2, 0] * i + o[2, 1] * j + o[2, 2] * k + o[2, 3]
                total[0] += channels
                total[2] += 1
                total[3] += 1
                for c in range(channels):
                    r = float(fixed[k, j, i, c]) - at[c, 0]
                    total[1] += r * r
                    if slope:
                        hx, hy, hz = at[c, 1], at[c, 2], at[c, 3]
                        h[0], h[1], h[2] = y * hz - z * hy, z * hx - x * hz, x * hy - y * hx
                        h[3], h[4], h[5] = hx, hy, hz
                        for q in range(RIGID):
                            total[4 + q] += h[q] * r
                            for p in range(q + 1):
                                total[10 + RIGID * q + p] += h[q] * h[p]
