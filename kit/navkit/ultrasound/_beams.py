"""The loop along scan lines, compiled by numba. Private: `simulate_envelope` is the door.

Each stage fills whole lines and reads only what the stage before has finished, so lines can be shared among
threads in any way and the picture does not depend on their number.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import math

import numpy as np
from numba import njit

from navkit.ultrasound._brick_kernels import ALONE

TILE = 128
BITS = 20
FIXED = float(1 << BITS)
EVEN = 128
"""Where a table of a texture's levels has the middle one."""
BEND = 4.0
FLAT = 2e-4
KNOT_BITS = 4
KNOT = 1 << KNOT_BITS


@njit(nogil=True, cache=True, inline="always")
def _bent(x, y, z):
    """Slowly bent axes, in tile voxels: the tile's copies never line up with one another."""
    return (
        x + BEND * (math.sin((0.8 * y + 0.6 * z) / 53.0) + math.sin((0.9 * z - 0.5 * y + 0.2 * x) / 48.0)),
        y
        + BEND
        * (math.sin((0.8 * z + 0.6 * x + 71.0) / 59.0) + math.sin((0.9 * x - 0.5 * z + 0.2 * y) / 46.0)),
        z
        + BEND
        * (math.sin((0.8 * x + 0.6 * y + 173.0) / 47.0) + math.sin((0.9 * y - 0.5 * x + 0.2 * z) / 44.0)),
    )


@njit(nogil=True, cache=True, inline="always")
def _trilinear(volume, x, y, z):
    nz, ny, nx = volume.shape
    x = min(max(x, 0.0), nx - 1.001)
    y = min(max(y, 0.0), ny - 1.001)
    z = min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    near = (1 - b) * ((1 - a) * volume[k, j, i] + a * volume[k, j, i + 1])
    near += b * ((1 - a) * volume[k, j + 1, i] + a * volume[k, j + 1, i + 1])
    far = (1 - b) * ((1 - a) * volume[k + 1, j, i] + a * volume[k + 1, j, i + 1])
    far += b * ((1 - a) * volume[k + 1, j + 1, i] + a * volume[k + 1, j + 1, i + 1])
    return (1 - c) * near + c * far


@njit(nogil=True, cache=True, inline="always")
def _voxel(shape, x, y, z):
    """Flat index of the nearest."""
    nz, ny, nx = shape
    i = min(max(int(x + 0.5), 0), nx - 1)
    j = min(max(int(y + 0.5), 0), ny - 1)
    k = min(max(int(z + 0.5), 0), nz - 1)
    return (k * ny + j) * nx + i


@njit(nogil=True, cache=True)
def _deposit(row, at, amplitude, sd):
    """Add a Gaussian of `sd` samples about the fractional sample `at`."""
    reach = int(4 * sd) + 1
    for s in range(max(int(at) - reach, 0), min(int(at) + reach + 2, len(row))):
        row[s] += amplitude * math.exp(-0.5 * ((s - at) / sd) ** 2)


@njit(nogil=True, cache=True)
def trace(
    first, last, labels, impedance, texture, swing, amplitude, loss, specular, slowness,
    start, step, normal, tile_start, tile_step, tile_normal,
    slices, slice_step, slice_weight, shift, tile, place, options,
    scatter, mirror, through,
):  # fmt: skip
    """Follow the lines first <= l < last through the phantom.

    labels (nz, ny, nx) uint8, impedance (its logarithm, smoothed) and texture on one grid; swing, the factor
    of each level of texture, 0 at its middle; amplitude, loss (what is left after one sample, there and
    back), specular, slowness (1540 m/s over its speed) by label; start and step (lines, 3) and normal (3,), a
    millimetre of elevation, in voxels and again in tile voxels. Layer i of slices[s] lies at
    (i - (slices[s] - 1) / 2) slice_step[s] mm and has slice_weight[s, i]; shift (layers, 3) moves its look-up
    within a voxel, so that all layers together see the voxel's mean and not its corners. tile: the field at
    place[x] | place[y] << 1 | place[z] << 2. options: pulse (samples), rough_power, mirror_power,
    reverberation. Fills scatter (2, lines, samples), not yet weakened; mirror (lines, samples), the
    interfaces' echoes; through, what all that is above leaves.
    """
    pulse, rough_power, mirror_power, reverberation = options
    n_samples = scatter.shape[2]
    shape = labels.shape
    label, level = labels.ravel(), texture.ravel()
    mask = TILE - 1
    left = np.empty(n_samples)
    knot = np.empty((2, 6), dtype=np.int64)
    side = 2.0
    for line in range(first, last):
        vx, vy, vz = start[line]
        dx, dy, dz = step[line]
        ux, uy, uz = tile_start[line]
        wx, wy, wz = tile_step[line]
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        mirror[line] = 0.0
        through[line] = 1.0
        total = 1.0
        passed = 1.0
        run, moment, began = 0.0, 0.0, 0
        last_r, last_at, last_passed, last_left = 0.0, 0.0, 0.0, 1.0
        before = _trilinear(impedance, vx, vy, vz)
        for s in range(n_samples):
            x, y, z = vx + s * dx, vy + s * dy, vz + s * dz

            # ---- speckle: the mean over the slice of amplitude times a field that belongs to the phantom;
            # in whole numbers, since a sine's last bit may differ from machine to machine
            if s % KNOT == 0:
                for k in range(0 if s == 0 else 1, 2):
                    t = s + k * KNOT
                    px, py, pz = ux + t * wx, uy + t * wy, uz + t * wz
                    qx, qy, qz = side * tile_normal[0], side * tile_normal[1], side * tile_normal[2]
                    ax, ay, az = _bent(px + qx, py + qy, pz + qz)
                    bx, by, bz = _bent(px - qx, py - qy, pz - qz)
                    if s > 0:
                        knot[0] = knot[1]
                    for c, here in enumerate((ax + bx, ay + by, az + bz)):
                        knot[k, c] = math.floor(here / 2 * FIXED + 0.5)
                    for c, way in enumerate((ax - bx, ay - by, az - bz)):
                        knot[k, 3 + c] = math.floor(way / (2 * side) * FIXED + 0.5)
            b = s % KNOT
            a = KNOT - b
            n = slices[s]
            gap = slice_step[s]
            gx = int(gap / KNOT * (a * knot[0, 3] + b * knot[1, 3]))
            gy = int(gap / KNOT * (a * knot[0, 4] + b * knot[1, 4]))
            gz = int(gap / KNOT * (a * knot[0, 5] + b * knot[1, 5]))
            fx = ((a * knot[0, 0] + b * knot[1, 0]) >> KNOT_BITS) - ((n - 1) * gx >> 1)
            fy = ((a * knot[0, 1] + b * knot[1, 1]) >> KNOT_BITS) - ((n - 1) * gy >> 1)
            fz = ((a * knot[0, 2] + b * knot[1, 2]) >> KNOT_BITS) - ((n - 1) * gz >> 1)
            at_voxel = _voxel(shape, x, y, z)
            tissue = label[at_voxel]
            alone = tissue >= ALONE
            tissue &= ALONE - 1
            weak = loss[tissue]
            real, imaginary, bright = 0.0, 0.0, 0.0
            if not alone:
                weak, weight = 0.0, 0.0
                e = -0.5 * (n - 1) * gap
                for i in range(n):
                    if i % 2 == 0:  # two layers share a look-up
                        g = e + 0.5 * gap
                        there = _voxel(
                            shape,
                            x + g * normal[0] + shift[i, 0],
                            y + g * normal[1] + shift[i, 1],
                            z + g * normal[2] + shift[i, 2],
                        )
                        tissue = label[there] & (ALONE - 1)
                        bright = amplitude[tissue] * swing[EVEN + level[there]]
                    w = slice_weight[s, i]
                    weak += w * loss[tissue]
                    weight += w
                    w *= bright
                    index = place[(fx >> BITS) & mask] | place[(fy >> BITS) & mask] << 1
                    index |= place[(fz >> BITS) & mask] << 2
                    real += w * tile[index, 0]
                    imaginary += w * tile[index, 1]
                    e += gap
                    fx += gx
                    fy += gy
                    fz += gz
                weak /= weight
            elif amplitude[tissue] > 0:
                for i in range(n):
                    index = place[(fx >> BITS) & mask] | place[(fy >> BITS) & mask] << 1
                    index |= place[(fz >> BITS) & mask] << 2
                    w = slice_weight[s, i]
                    real += w * tile[index, 0]
                    imaginary += w * tile[index, 1]
                    fx += gx
                    fy += gy
                    fz += gz
                bright = amplitude[tissue] * swing[EVEN + level[at_voxel]]
                real *= bright
                imaginary *= bright
            scatter[0, line, s] = real
            scatter[1, line, s] = imaginary
            total *= weak
            left[s] = total

            # ---- interfaces: one run of rising or falling impedance is one of them
            now = before if alone else _trilinear(impedance, x, y, z)
            change = now - before
            before = now
            still = abs(change) >= FLAT and s < n_samples - 1
            if run != 0.0 and (not still or change * run < 0):
                at = moment / run
                c = int(at)
                r = math.tanh(run / 2)
                mx, my, mz = vx + at * dx, vy + at * dy, vz + at * dz
                sx = _trilinear(impedance, mx + 1, my, mz) - _trilinear(impedance, mx - 1, my, mz)
                sy = _trilinear(impedance, mx, my + 1, mz) - _trilinear(impedance, mx, my - 1, mz)
                sz = _trilinear(impedance, mx, my, mz + 1) - _trilinear(impedance, mx, my, mz - 1)
                steep = math.sqrt(sx * sx + sy * sy + sz * sz)
                cos = 0.0
                if steep > 0:
                    cos = min(abs(sx * dx + sy * dy + sz * dz) / (steep * length), 1.0)
                above = label[
                    _voxel(shape, vx + (began - 1) * dx, vy + (began - 1) * dy, vz + (began - 1) * dz)
                ]
                above &= ALONE - 1
                below = label[_voxel(shape, x, y, z)] & (ALONE - 1)
                share = max(specular[above], specular[below])
                angle = share * cos**mirror_power + (1 - share) * cos**rough_power
                back = passed * left[c]
                _deposit(mirror[line], at, r * angle * back, pulse)
                again, k = r * angle * back * reverberation, 2
                while abs(again) > 1e-5 and k * at < n_samples:
                    _deposit(mirror[line], k * at, again, pulse)
                    again *= reverberation
                    k += 1
                # sound that runs to and fro in a layer between two strong interfaces: a comet's tail
                kept = abs(r * angle * last_r)
                if kept > 0.05:
                    half = (at + last_at) / 2
                    layer = label[_voxel(shape, vx + half * dx, vy + half * dy, vz + half * dz)] & (ALONE - 1)
                    way = (at - last_at) * slowness[layer]
                    crossing = left[c] / max(last_left, 1e-30)
                    fade = kept * crossing
                    again = last_passed * abs(r * angle) * crossing * fade
                    where = last_at + 2 * way
                    while again > 1e-5 and where < n_samples and way > 0.2:
                        _deposit(mirror[line], where, again, pulse)
                        again *= fade
                        where += way
                drop = 1 - (r * cos) ** 2
                for k in range(c, n_samples):
                    through[line, k] *= drop
                last_r, last_at = r * angle, at
                last_passed, last_left = back * drop, left[c]
                passed *= drop
                run, moment = 0.0, 0.0
            if still:
                if run == 0.0:
                    began = s
                run += change
                moment += change * (s - 0.5)
        for s in range(n_samples):
            through[line, s] *= left[s]
