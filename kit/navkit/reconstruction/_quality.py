"""What a volume is worth: measures on what it shows, most of them against a known truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import transform_points
from navkit.reconstruction._grid import Volume

Array = NDArray[np.float64]

TEN_TO_NINETY = 2.5631031310892007
"""From 10 to 90 % of an edge that a Gauss has blurred, in standard deviations."""


def sharpness_per_mm(volume: Volume, *, noise: float = 0.0, every: int = 1) -> float:
    """How steep the greys are: RMS gradient over their standard deviation, 1/mm.

    Both are free of the grey scale's gain and offset. A wave of length L has ``2 pi / L``, whatever its
    height. Speckle and noise are steep too, so compare volumes of one recording, and give the noise if you
    know it. Central differences look two voxels far: details finer than that go unseen.

    Parameters
    ----------
    volume : filled voxels count like the others; holes are left out
    noise : standard deviation of white noise in the voxels, grey levels; its part is taken away
    every : look at one plane of voxels in so many only, for speed

    Raises
    ------
    ValueError
        If along some axis no two voxels two steps apart are known, or the greys vary no more than the noise.

    References
    ----------
    Pertuz et al., Pattern Recognit. 46(5), 2013, doi:10.1016/j.patcog.2012.11.011: measures of focus.
    """
    total, count = np.zeros(3), np.zeros(3)
    sums = np.zeros(3)  # of ones, values and squares
    values = volume.values
    for k in range(0, len(values), every):  # plane by plane: no copy of a large volume
        plane = values[k].astype(float)
        known = plane[np.isfinite(plane)]
        sums += len(known), known.sum(), np.square(known).sum()
        steps = [plane[:, 2:] - plane[:, :-2], plane[2:] - plane[:-2]]
        if 0 < k < len(values) - 1:
            steps.append(values[k + 1].astype(float) - values[k - 1])
        for axis, step in enumerate(steps):
            step = step[np.isfinite(step)]
            total[axis] += np.square(step).sum()
            count[axis] += len(step)
    if not count.all():
        raise ValueError(
            f"no two voxels two steps apart along {'xyz'[int(np.argmin(count))]} are known; expected a "
            "denser volume. Fill it first, or take larger voxels."
        )
    reach = 2 * np.array(volume.grid.spacing_mm)
    steep = float(np.sum((total / count - 2 * noise**2) / reach**2))
    spread = float(sums[2] / sums[0] - (sums[1] / sums[0]) ** 2) - noise**2
    if spread <= 1e-9 * sums[2] / sums[0]:
        raise ValueError(f"the greys vary no more than noise of {noise:g}; expected a structure.")
    return float(np.sqrt(max(steep, 0.0) / spread))


def edge_width_mm(volume: Volume, *, at_pr: ArrayLike, normal_pr: ArrayLike, within_mm: float = 5.0) -> float:
    """From 10 to 90 % of the way across a flat edge whose place is known, mm.

    The greys over the distance from the plane are fitted by a step that a Gauss has blurred, so every voxel
    helps against noise; the width is 2.563 standard deviations of it.

    Parameters
    ----------
    at_pr, normal_pr : (3,) a point on the plane, about where it is asked, and the plane's normal
    within_mm : voxels as near to the point as this are used: at least twice the width, and no other edge

    Raises
    ------
    ValueError
        If there are fewer than 20 voxels, or no edge is found among them.

    References
    ----------
    The oversampled edge of Samei et al., Med. Phys. 25(1), 1998, doi:10.1118/1.598165.
    """
    from scipy.optimize import least_squares
    from scipy.special import ndtr

    points, index, _ = ball(volume, at_pr, within_mm)
    values = volume.values[index].astype(float)
    normal = np.asarray(normal_pr, dtype=float)
    x = (points - np.asarray(at_pr, dtype=float)) @ (normal / np.linalg.norm(normal))
    known = np.isfinite(values)
    x, grey = x[known], values[known]
    if len(x) < 20 or not x.min() < 0 < x.max():
        raise ValueError(
            f"{len(x)} voxels near the edge are known; expected 20 or more, on both sides of it."
        )
    dark, bright = grey[x < 0].mean(), grey[x > 0].mean()
    if dark == bright:
        raise ValueError("both sides of the plane are equally bright; expected an edge there.")

    def miss(p: Array) -> Array:
        off: Array = p[0] + (p[1] - p[0]) * ndtr((x - p[2]) / p[3]) - grey
        return off

    # beyond half a voxel and the whole ball no width can be told
    least = 1e-3 * min(volume.grid.spacing_mm)
    limits = ([-np.inf, -np.inf, -within_mm, least], [np.inf, np.inf, within_mm, 4 * within_mm])
    start = [dark, bright, 0.0, within_mm / 5]
    fit = least_squares(
        miss, start, bounds=limits, x_scale=[10, 10, 0.1, 0.1], xtol=1e-13, ftol=1e-13, gtol=1e-13
    )
    width = TEN_TO_NINETY * float(fit.x[3])
    if width > 2 * within_mm or abs(fit.x[2]) > 0.9 * within_mm:
        raise ValueError(
            f"no edge is found within {within_mm:g} mm; expected one there. Is the point off the plane, or "
            "the edge wider than that?"
        )
    return width


def bright_centre(volume: Volume, *, around_pr: ArrayLike, within_mm: float, threshold: float) -> Array:
    """Where a bright spot lies (3,), mm in ``pr``: the centre of its voxels, weighted by their rise.

    Use it for the cut of a wire or a ball; `navkit.reconstruction.distance_mm` of two such centres is the
    distance to compare with the truth.

    Parameters
    ----------
    around_pr, within_mm : only voxels in this ball count
    threshold : grey value above which a voxel belongs to the spot

    Raises
    ------
    ValueError
        If no voxel in the ball is brighter.

    Examples
    --------
    >>> from navkit.reconstruction import Grid
    >>> values = np.zeros((3, 3, 3), np.float32)
    >>> values[1, 1, 1:] = 110, 130
    >>> grid = Grid((3, 3, 3), (1.0, 2.0, 2.0), np.eye(4))
    >>> volume = Volume(values, np.ones((3, 3, 3), np.uint32), np.zeros((3, 3, 3), bool), grid)
    >>> bright_centre(volume, around_pr=[1, 2, 2], within_mm=3, threshold=100)
    array([1.75, 2.  , 2.  ])
    """
    points, index, _ = ball(volume, around_pr, within_mm)
    values = volume.values[index].astype(float)
    bright = values > threshold
    if not bright.any():
        raise ValueError(
            f"no voxel within {within_mm:g} mm is brighter than {threshold:g}; expected a spot. Is the point "
            "given in the patient reference?"
        )
    centre: Array = np.average(points[bright], axis=0, weights=values[bright] - threshold)
    return centre


def distance_mm(a_pr: ArrayLike, b_pr: ArrayLike) -> float:
    """Between two points, mm.

    >>> distance_mm([1, 2, 3], [1, 5, 7])
    5.0
    """
    return float(np.linalg.norm(np.asarray(b_pr, dtype=float) - np.asarray(a_pr, dtype=float)))


@dataclass(frozen=True)
class StructureVolume:
    """How large a structure is, and how much of that is not known.

    Parameters
    ----------
    ml : of the voxels that belong to it
    unknown_ml : of the region's voxels without data, any of which may belong to it: the structure has
        between `ml` and ``ml + unknown_ml``
    estimate_ml : if it has the same part of the unknown voxels as of the known ones: right if holes lie
        inside and outside alike
    """

    ml: float
    unknown_ml: float
    estimate_ml: float


def measure_structure(
    volume: Volume,
    *,
    around_pr: ArrayLike,
    within_mm: float,
    above: float = -np.inf,
    below: float = np.inf,
) -> StructureVolume:
    """The volume of what is brighter or darker than its surroundings, ml.

    Every voxel of the region is asked for itself, so noise adds some outside and takes some inside. A
    threshold half way between the greys inside and outside leaves a blurred edge in its place.

    Parameters
    ----------
    around_pr, within_mm : the region is this ball; it must lie inside the volume, and hold the structure
    above, below : greys between them belong to the structure

    Raises
    ------
    ValueError
        If neither threshold is given, the ball reaches out of the volume, or nothing in it is known.

    References
    ----------
    Volumes from 3D ultrasound: Gee et al., Br. J. Radiol. 77, 2004, doi:10.1259/bjr/80676194.
    """
    if not (np.isfinite(above) or np.isfinite(below)):
        raise ValueError("neither above nor below is given; expected a threshold.")
    _, index, whole = ball(volume, around_pr, within_mm)
    values = volume.values[index]
    if not whole:
        raise ValueError(
            f"a ball of {within_mm:g} mm there reaches out of the volume; expected all of it inside. What "
            "lies outside is not known."
        )
    known = np.isfinite(values)
    if not known.any():
        raise ValueError(f"no voxel within {within_mm:g} mm is known; expected some.")
    inside = (values > above) & (values < below)
    voxel_ml = float(np.prod(volume.grid.spacing_mm)) / 1000
    ml, unknown = (float(which.sum()) * voxel_ml for which in (inside, ~known))
    return StructureVolume(ml, unknown, ml / float(known.mean()))


def ball(
    volume: Volume, around_pr: ArrayLike, within_mm: float
) -> tuple[Array, tuple[NDArray[np.int64], ...], bool]:
    """Voxels near a point: centres (n, 3) in ``pr``, indices (k, j, i), and whether all of it is inside."""
    grid = volume.grid
    reach = within_mm / np.array(grid.spacing_mm)
    centre, last = grid.voxels(around_pr), np.array(grid.shape[::-1]) - 1
    low, high = np.ceil(centre - reach).astype(int), np.floor(centre + reach).astype(int)
    ranges = [np.arange(a, b + 1) for a, b in zip(np.maximum(low, 0), np.minimum(high, last), strict=True)]
    k, j, i = (axis.ravel() for axis in np.meshgrid(*ranges[::-1], indexing="ij"))
    points = transform_points(grid.pr_M_voxel(), np.stack([i, j, k], axis=-1).astype(float))
    near = np.linalg.norm(points - np.asarray(around_pr, dtype=float), axis=1) <= within_mm
    return points[near], (k[near], j[near], i[near]), bool((low >= 0).all() and (high <= last).all())
