"""The self-similarity context: what a place's surroundings look like to each other, whatever the scanner."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse
from navkit.registration._lc2 import Climb, Evaluate, Level, Workers, chained, climb, offsets

Array = NDArray[np.float64]

NEIGHBOURS = np.array([(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0)])
PAIRS = [(a, b) for a, b in combinations(range(6), 2) if (NEIGHBOURS[a] != -NEIGHBOURS[b]).any()]
"""The twelve of the fifteen whose members are not opposite each other."""
PATCH_SIGMA = 1.5
NOISE_SHARE = 1e-3
"""A place's own variance counts as at least this share, and at most this many times less, of the mean."""
ROUNDS = 3
MARGIN_MM = 12.0


def self_similarity(values: ArrayLike, *, distance: int = 2) -> NDArray[np.float32]:
    """The self-similarity context of a picture (nz, ny, nx): twelve numbers of 0 to 1 for each voxel [1]_.

    Each compares two of the six neighbours, ``exp(-D / V)``: D is the squared difference of their patches
    (Gaussian of 1.5 voxels), V its mean over the twelve. They are scaled so that the largest is 1.

    Parameters
    ----------
    values : (nz, ny, nx), spacing about the same along all axes; NaN where there is no data
    distance : of the neighbours, in voxels

    Returns
    -------
    (nz, ny, nx, 12) ; NaN where a patch would need voxels that are not known

    References
    ----------
    .. [1] Heinrich, Jenkinson, Papiez, Brady, Schnabel, MICCAI 2013, doi:10.1007/978-3-642-40811-3_24,
       after MIND: Heinrich et al., Med. Image Anal. 16(7), 2012, doi:10.1016/j.media.2012.05.008.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> picture = rng.normal(size=(9, 8, 7))
    >>> np.allclose(self_similarity(picture), self_similarity(200 - 30 * picture), atol=1e-5)
    True
    """
    from scipy.ndimage import gaussian_filter

    picture = np.asarray(values, dtype=float)
    wide = np.pad(picture, distance, mode="edge")
    size = np.array(picture.shape)

    def moved(way: Array) -> Array:
        low = distance * (1 + way)
        return wide[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))]

    shifted = [moved(way) for way in NEIGHBOURS]
    # a correlation, not a running sum: what is not known stays where its patch reaches
    apart = [gaussian_filter((shifted[a] - shifted[b]) ** 2, PATCH_SIGMA, truncate=2) for a, b in PAIRS]
    distances = np.stack(apart, axis=-1)
    distances -= distances.min(axis=-1, keepdims=True)
    own = distances.mean(axis=-1, keepdims=True)
    typical = float(np.nanmean(own)) if np.isfinite(own).any() else 0.0
    own = np.clip(own, NOISE_SHARE * typical, typical / NOISE_SHARE)
    context: NDArray[np.float32] = np.exp(-distances / np.maximum(own, np.finfo(float).tiny)).astype(
        np.float32
    )
    return context


def ssc_climb(
    level: Level,
    moving: Array,
    m_M_voxel: Array,
    pool: Workers,
    tick: Callable[[], None],
    start: Array,
    most: int,
) -> Climb:
    """To the least difference of descriptors; the moving picture is sampled anew along the level's axes.

    The descriptor sees along axes, so it is taken again where the last round ended.
    """
    fixed = self_similarity(level.values)
    steps = 0
    for _ in range(ROUNDS):
        evaluate = _difference(level, fixed, moving, m_M_voxel, start, pool)
        # the picture was moved already: what is climbed now is what remains, in the fixed picture's space
        rest = climb(evaluate, level, tick, np.eye(4), most - steps)
        start, steps = start @ rest.m_M_f, steps + rest.steps
        if rest.steps == 0:
            break
    return Climb(start, rest.value, steps, rest.loose_mm)


def ssc_value(level: Level, moving: Array, m_M_voxel: Array, m_M_f: Array, pool: Workers) -> Array:
    """The sums at one place."""
    fixed = self_similarity(level.values)
    return _difference(level, fixed, moving, m_M_voxel, m_M_f, pool)(np.eye(4), False)


def _difference(
    level: Level, fixed: NDArray[np.float32], moving: Array, m_M_voxel: Array, m_M_f: Array, pool: Workers
) -> Evaluate:
    from navkit.registration._lc2_kernels import TOTAL, difference_slices

    resampled = _resampled(level, moving, m_M_voxel, m_M_f)
    channels = self_similarity(resampled.values)
    offset = offsets(level)
    index_M_f = inverse(resampled.f_M_voxel)

    def evaluate(rest_M_f: Array, slope: bool) -> Array:
        out = np.zeros((len(fixed), TOTAL))
        pictures = (fixed, channels, chained(index_M_f @ rest_M_f, level), offset, slope)
        pool.run(lambda first, last: difference_slices(*pictures, first, last, out), len(fixed))
        total: Array = out.sum(axis=0)
        return total

    return evaluate


def _resampled(level: Level, moving: Array, m_M_voxel: Array, m_M_f: Array) -> Level:
    """The moving picture on the level's grid and a margin around it, where `m_M_f` puts it."""
    from scipy.ndimage import map_coordinates

    spacing = np.linalg.norm(level.f_M_voxel[:3, :3], axis=0)
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    shift = np.eye(4)
    shift[:3, 3] = -margin
    nx, ny, nz = np.array(level.values.shape[::-1]) + 2 * margin
    f_M_voxel = level.f_M_voxel @ shift
    m = (inverse(m_M_voxel) @ m_M_f @ f_M_voxel)[:3]
    z, y, x = np.ogrid[:nz, :ny, :nx]
    at = np.stack([m[a, 0] * x + m[a, 1] * y + m[a, 2] * z + m[a, 3] for a in (2, 1, 0)])
    return Level(map_coordinates(moving, at, order=1, mode="constant", cval=np.nan), f_M_voxel)
