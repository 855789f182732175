"""The loops over scan lines, compiled by numba. Private: `simulate_envelope` is the door.

Each stage fills whole lines and reads only what the stage before has finished, so lines can be shared among
threads in any way and the picture does not depend on their number.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import math

import numpy as np
from numba import njit

TILE = 128
BITS = 20
FIXED = float(1 << BITS)
ALONE = 128
"""Added to a label when no other tissue is within the slice's reach."""
BEND = 4.0
FLAT = 2e-4
KNOT = 16


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
def _label(labels, x, y, z):
    nz, ny, nx = labels.shape
    i = min(max(int(x + 0.5), 0), nx - 1)
    j = min(max(int(y + 0.5), 0), ny - 1)
    k = min(max(int(z + 0.5), 0), nz - 1)
    return int(labels[k, j, i])


@njit(nogil=True, cache=True)
def finish(bricks, edge, labels, cells, table, taps, reach, impedance):
    """Smooth the impedance in bricks (n, 3) of `edge` voxels, and mark the voxels of cells that are alone.

    labels and impedance are (nz, ny, nx), cells (a cell's label, 255 for several) coarser by a whole factor;
    table: the logarithm of impedance by label; taps (2 r + 1,) of the filter, which has to be smooth, or
    every corner of a voxel would reflect; reach: no other tissue within so many cells is to be alone.
    """
    size = labels.shape
    r = len(taps) // 2
    wide = edge + 2 * r
    one = np.empty((wide, wide, edge), dtype=np.float32)
    two = np.empty((wide, edge, edge), dtype=np.float32)
    row = np.empty(wide, dtype=np.float32)
    cell = size[0] // cells.shape[0]
    for b in range(len(bricks)):
        z0, y0, x0 = bricks[b, 0] * edge, bricks[b, 1] * edge, bricks[b, 2] * edge
        for k in range(wide):
            z = min(max(z0 + k - r, 0), size[0] - 1)
            for j in range(wide):
                y = min(max(y0 + j - r, 0), size[1] - 1)
                for i in range(wide):
                    row[i] = table[labels[z, y, min(max(x0 + i - r, 0), size[2] - 1)] & (ALONE - 1)]
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * row[i + t]
                    one[k, j, i] = total
        for k in range(wide):
            for j in range(edge):
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * one[k, j + t, i]
                    two[k, j, i] = total
        for k in range(edge):
            for j in range(edge):
                for i in range(edge):
                    total = np.float32(0)
                    for t in range(2 * r + 1):
                        total += taps[t] * two[k + t, j, i]
                    impedance[z0 + k, y0 + j, x0 + i] = total
        for k in range(z0 // cell, (z0 + edge) // cell):
            for j in range(y0 // cell, (y0 + edge) // cell):
                for i in range(x0 // cell, (x0 + edge) // cell):
                    if _alone(cells, k, j, i, reach):
                        for z in range(k * cell, (k + 1) * cell):
                            for y in range(j * cell, (j + 1) * cell):
                                for x in range(i * cell, (i + 1) * cell):
                                    labels[z, y, x] |= ALONE


@njit(nogil=True, cache=True)
def _alone(cells, k, j, i, reach):
    own = cells[k, j, i]
    if own == 255:
        return False
    for z in range(max(k - reach, 0), min(k + reach + 1, cells.shape[0])):
        for y in range(max(j - reach, 0), min(j + reach + 1, cells.shape[1])):
            for x in range(max(i - reach, 0), min(i + reach + 1, cells.shape[2])):
                if cells[z, y, x] != own:
                    return False
    return True


@njit(nogil=True, cache=True)
def _deposit(row, at, amplitude, sd):
    """Add a Gaussian of `sd` samples about the fractional sample `at`."""
    reach = int(4 * sd) + 1
    for s in range(max(int(at) - reach, 0), min(int(at) + reach + 2, len(row))):
        row[s] += amplitude * math.exp(-0.5 * ((s - at) / sd) ** 2)


@njit(nogil=True, cache=True)
def trace(
    first, last, labels, impedance, amplitude, loss, specular, slowness,
    start, step, normal, tile_start, tile_step, tile_normal,
    slices, slice_step, slice_weight, shift, tile, options,
    scatter, mirror, through,
):  # fmt: skip
    """Follow the lines first <= l < last through the phantom.

    labels (nz, ny, nx) uint8 and impedance (its logarithm, smoothed) on one grid; amplitude, loss (what is
    left after one sample, there and back), specular, slowness (1540 m/s over its speed) by label; start and
    step (lines, 3) and normal (3,), a millimetre of elevation, in voxels and again in tile voxels. Layer i of
    slices[s] lies at (i - (slices[s] - 1) / 2) slice_step[s] mm and has slice_weight[s, i]; shift (layers, 3)
    moves its look-up within a voxel, so that all layers together see the voxel's mean and not its corners.
    options: pulse (samples), rough_power, mirror_power, reverberation. Fills scatter (2, lines, samples), not
    yet weakened; mirror (lines, samples), the interfaces' echoes; through, what all that is above leaves.
    """
    pulse, rough_power, mirror_power, reverberation = options
    n_samples = scatter.shape[2]
    wrap = TILE * 4096.0
    mask = TILE - 1
    left = np.empty(n_samples)
    knot = np.empty((2, 6))
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

            # ---- speckle: the mean over the slice of amplitude times a field that belongs to the phantom
            if s % KNOT == 0:
                for k in range(0 if s == 0 else 1, 2):
                    t = s + k * KNOT
                    px, py, pz = ux + t * wx, uy + t * wy, uz + t * wz
                    qx, qy, qz = side * tile_normal[0], side * tile_normal[1], side * tile_normal[2]
                    ax, ay, az = _bent(px + qx, py + qy, pz + qz)
                    bx, by, bz = _bent(px - qx, py - qy, pz - qz)
                    if s > 0:
                        knot[0] = knot[1]
                    knot[k, 0], knot[k, 1], knot[k, 2] = (ax + bx) / 2, (ay + by) / 2, (az + bz) / 2
                    knot[k, 3] = (ax - bx) / (2 * side)
                    knot[k, 4] = (ay - by) / (2 * side)
                    knot[k, 5] = (az - bz) / (2 * side)
            b = (s % KNOT) / KNOT
            a = 1.0 - b
            tx = a * knot[0, 0] + b * knot[1, 0] + wrap
            ty = a * knot[0, 1] + b * knot[1, 1] + wrap
            tz = a * knot[0, 2] + b * knot[1, 2] + wrap
            ex = a * knot[0, 3] + b * knot[1, 3]
            ey = a * knot[0, 4] + b * knot[1, 4]
            ez = a * knot[0, 5] + b * knot[1, 5]
            n = slices[s]
            gap = slice_step[s]
            e = -0.5 * (n - 1) * gap
            fx, gx = int((tx + e * ex) * FIXED), int(gap * ex * FIXED)
            fy, gy = int((ty + e * ey) * FIXED), int(gap * ey * FIXED)
            fz, gz = int((tz + e * ez) * FIXED), int(gap * ez * FIXED)
            tissue = _label(labels, x, y, z)
            alone = tissue >= ALONE
            tissue &= ALONE - 1
            weak = loss[tissue]
            real, imaginary = 0.0, 0.0
            if not alone:
                weak, weight = 0.0, 0.0
                for i in range(n):
                    if i % 2 == 0:  # two layers share a look-up
                        g = e + 0.5 * gap
                        tissue = _label(
                            labels,
                            x + g * normal[0] + shift[i, 0],
                            y + g * normal[1] + shift[i, 1],
                            z + g * normal[2] + shift[i, 2],
                        ) & (ALONE - 1)  # fmt: skip
                    w = slice_weight[s, i]
                    weak += w * loss[tissue]
                    weight += w
                    w *= amplitude[tissue]
                    index = (((fz >> BITS) & mask) * TILE + ((fy >> BITS) & mask)) * TILE + (
                        (fx >> BITS) & mask
                    )
                    real += w * tile[index, 0]
                    imaginary += w * tile[index, 1]
                    e += gap
                    fx += gx
                    fy += gy
                    fz += gz
                weak /= weight
            elif amplitude[tissue] > 0:
                for i in range(n):
                    index = (((fz >> BITS) & mask) * TILE + ((fy >> BITS) & mask)) * TILE + (
                        (fx >> BITS) & mask
                    )
                    w = slice_weight[s, i]
                    real += w * tile[index, 0]
                    imaginary += w * tile[index, 1]
                    fx += gx
                    fy += gy
                    fz += gz
                real *= amplitude[tissue]
                imaginary *= amplitude[tissue]
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
                above = _label(labels, vx + (began - 1) * dx, vy + (began - 1) * dy, vz + (began - 1) * dz)
                above &= ALONE - 1
                below = _label(labels, x, y, z) & (ALONE - 1)
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
                    layer = _label(labels, vx + half * dx, vy + half * dy, vz + half * dz) & (ALONE - 1)
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


@njit(nogil=True, cache=True)
def shade(first, last, scatter, mirror, through, edge, mirror_scale, haze, shaded, field):
    """Weaken the scatter by what lies above, its shadows blurred across lines by `edge`; add the mirrors."""
    n_lines, n_samples = mirror.shape
    half = len(edge) // 2
    for line in range(first, last):
        dim = shaded[line]
        dim[:] = 0.0
        for j in range(-half, half + 1):
            other = through[min(max(line + j, 0), n_lines - 1)]
            w = edge[j + half]
            for s in range(n_samples):
                dim[s] += w * other[s]
        for s in range(n_samples):
            field[0, line, s] = (
                scatter[0, line, s] * dim[s] + mirror[line, s] * mirror_scale[s] + haze[0, line, s]
            )
            field[1, line, s] = scatter[1, line, s] * dim[s] + haze[1, line, s]


@njit(nogil=True, cache=True)
def focus(
    first, last, field, lateral, span, axial, wires, spread, comet, shaded,
    gain, noise, noise_at, noise_level, face, envelope,
):  # fmt: skip
    """Blur by the beam and the pulse, add the wires and the noise, and take the envelope.

    lateral (2 k + 1, samples): weights of the lines, used for span[j, 0] <= s < span[j, 1]; axial (2 m + 1,):
    taps. wires (n, lines, 2, 3): their ends seen from each line, mm across, samples along, mm of elevation;
    spread (samples, 2): sd of beam and slice; comet: pulse and period in samples, decay, echo.
    noise_at (lines, 2): where the two parts of each line's noise begin in the long row `noise`.
    """
    _, n_lines, n_samples = field.shape
    half, taps = lateral.shape[0] // 2, len(axial) // 2
    wide = np.empty((2, n_samples), dtype=np.float32)
    sharp = np.empty((2, n_samples), dtype=np.float32)
    for line in range(first, last):
        wide[:] = 0.0
        for j in range(-half, half + 1):
            if 0 <= line + j < n_lines:
                w = lateral[j + half]
                re, im = field[0, line + j], field[1, line + j]
                for s in range(span[j + half, 0], span[j + half, 1]):
                    wide[0, s] += w[s] * re[s]
                    wide[1, s] += w[s] * im[s]
        sharp[:] = 0.0
        for t in range(-taps, taps + 1):
            w0 = axial[t + taps]
            for s in range(max(0, -t), min(n_samples, n_samples - t)):
                sharp[0, s] += w0 * wide[0, s + t]
                sharp[1, s] += w0 * wide[1, s + t]
        for k in range(wires.shape[0]):
            _add_wire(sharp[0], wires[k, line], spread, comet, shaded[line])
        for s in range(n_samples):
            re0 = sharp[0, s] * gain[s] + noise_level[s] * noise[noise_at[line, 0] + s]
            im0 = sharp[1, s] * gain[s] + noise_level[s] * noise[noise_at[line, 1] + s]
            envelope[line, s] = math.sqrt(re0 * re0 + im0 * im0) + face[s]


@njit(nogil=True, cache=True)
def _add_wire(row, ends, spread, comet, through):
    """The echo of one wire on one line: a Gaussian about its nearest point, in units of the blur."""
    pulse, period, decay, echo = comet
    n_samples = len(row)
    ax, ay, az = ends[0]
    bx, by, bz = ends[1, 0] - ax, ends[1, 1] - ay, ends[1, 2] - az
    t, middle = 0.5, 0
    for _ in range(2):  # the blur where the line passes the wire
        middle = min(max(int(ay + t * by), 0), n_samples - 1)
        p, q = 1 / spread[middle, 0], 1 / spread[middle, 1]
        along = (bx * p) ** 2 + (bz * q) ** 2
        if along > 0:
            t = min(max(-(ax * bx * p * p + az * bz * q * q) / along, 0.0), 1.0)
    if ((ax + t * bx) * p) ** 2 + ((az + t * bz) * q) ** 2 > 20:
        return
    origin = ay + t * by
    length = along + (by / pulse) ** 2
    k = 0
    while echo > 1e-4 and k * period < n_samples:
        centre = origin + k * period
        for way in (-1, 1):
            s = math.floor(centre) + (1 if way > 0 else 0)
            while 0 <= s < n_samples:
                y = (s - k * period - ay) / pulse
                u = (-ax * p * bx * p + y * by / pulse - az * q * bz * q) / length
                u = min(max(u, 0.0), 1.0)
                miss = ((ax + u * bx) * p) ** 2 + (y - u * by / pulse) ** 2 + ((az + u * bz) * q) ** 2
                if miss > 20:
                    break
                row[s] += echo * through[min(max(int(origin), 0), n_samples - 1)] * math.exp(-0.5 * miss)
                s += way
        echo *= decay
        k += 1


@njit(nogil=True, cache=True)
def compress(first, last, envelope, dynamic_range_db, grey):
    """Grey levels 0 to 255, not yet rounded, of an envelope whose brightest is 1."""
    for line in range(first, last):
        for s in range(envelope.shape[1]):
            level = 20 * math.log10(max(envelope[line, s], np.float32(1e-7)))
            grey[line, s] = 255 * min(max(1 + level / dynamic_range_db, 0.0), 1.0)


@njit(nogil=True, cache=True)
def convert(first, last, grey, pixels, corner, share, frame):
    """Fill the flat `pixels[i]` of the picture, first <= i < last, from the four samples about each.

    corner (n,) the flat index of the first of them in grey (lines, samples); share (n, 2) how far it is on
    towards the next line and the next sample.
    """
    flat, out, across = grey.ravel(), frame.ravel(), grey.shape[1]
    for i in range(first, last):
        a, b, k = share[i, 0], share[i, 1], corner[i]
        near = flat[k] + b * (flat[k + 1] - flat[k])
        far = flat[k + across] + b * (flat[k + across + 1] - flat[k + across])
        out[pixels[i]] = np.uint8(near + a * (far - near) + np.float32(0.5))
