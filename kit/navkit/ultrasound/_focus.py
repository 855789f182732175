"""From echoes on scan lines to the picture, compiled by numba: shadows, blur, wires, envelope, grey levels.

As in `_beams`, each stage reads only what the stage before has finished.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False

import math

import numpy as np
from numba import njit


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
    first, last, field, lateral, span, axial, wires, bright, spread, comet, shaded,
    gain, noise, noise_at, noise_level, face, envelope,
):  # fmt: skip
    """Blur by the beam and the pulse, add the wires and the noise, and take the envelope.

    lateral (2 k + 1, samples): weights of the lines, used for span[j, 0] <= s < span[j, 1]; axial (2 m + 1,):
    taps. wires (n, lines, 2, 3): their ends seen from each line, mm across, samples along, mm of elevation;
    bright (n, lines): their echo; spread (samples, 2): sd of beam and slice; comet: pulse and period in
    samples, decay.
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
            _add_wire(sharp[0], wires[k, line], bright[k, line], spread, comet, shaded[line])
        for s in range(n_samples):
            re0 = sharp[0, s] * gain[s] + noise_level[s] * noise[noise_at[line, 0] + s]
            im0 = sharp[1, s] * gain[s] + noise_level[s] * noise[noise_at[line, 1] + s]
            envelope[line, s] = math.sqrt(re0 * re0 + im0 * im0) + face[s]


@njit(nogil=True, cache=True)
def _add_wire(row, ends, echo, spread, comet, through):
    """The echo of one wire on one line: a Gaussian about its nearest point, in units of the blur."""
    pulse, period, decay = comet
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
            level = 20 * math.log10(max(float(envelope[line, s]), 1e-7))
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
