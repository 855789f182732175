"""The door of image registration: two pictures in, the transform between them out."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, transform_points
from navkit.registration._images_checks import (
    Picture,
    apart,
    check_choices,
    checked_initial,
    checked_levels,
    checked_mask,
    checked_picture,
    overlap,
    refuse_empty,
)

Array = NDArray[np.float64]
Metric = Literal["mattes", "lc2", "correlation", "ssc"]
Transform = Literal["rigid", "affine", "bspline"]
Progress = Callable[[int, int], None]

LEVELS_MM: dict[str, tuple[float, ...]] = {
    "mattes": (4.0, 2.0),
    "correlation": (4.0, 2.0),
    "lc2": (4.0, 2.0),
    "ssc": (2.0,),
}
SEARCH_MM = {"lc2": 8.0, "ssc": 0.0}
LEAST_VOXELS = 500
"""That have to be known in both pictures, at the finest level."""
INVERSE_ROUNDS = 30


@dataclass(frozen=True)
class Deformation:
    """A cubic B-spline of displacements in the fixed picture's space.

    Parameters
    ----------
    knots_mm : (3, kz, ky, kx) the spline's coefficients along x, y and z, mm
    f_M_knot : (4, 4) from the indices (x, y, z) of a coefficient to the fixed picture's space, mm
    """

    knots_mm: Array
    f_M_knot: Array

    def displacement(self, points_f: ArrayLike) -> Array:
        """Displacements (..., 3) at points (..., 3); 0 beyond the picture."""
        from scipy.ndimage import map_coordinates

        points = np.asarray(points_f, dtype=float)
        at = transform_points(inverse(self.f_M_knot), points.reshape(-1, 3))
        size = np.array(self.knots_mm.shape[:0:-1])
        inside = np.all((at >= 1 - 1e-9) & (at <= size - 2 + 1e-9), axis=1)
        d = np.zeros_like(at)
        for axis, knots in enumerate(self.knots_mm):
            d[inside, axis] = map_coordinates(knots, at[inside, ::-1].T, order=3, prefilter=False)
        return d.reshape(points.shape)


@dataclass(frozen=True)
class ImageResult:
    """How two pictures lie to each other.

    Parameters
    ----------
    matrix : (4, 4) ``f_M_m``: maps points of the moving picture's space to the fixed picture's
    metric, transform : as asked for
    before, after : the similarity at `initial` and at the end, at the finest level; larger is better.
        "mattes": mutual information, nats; "correlation": squared coefficient; "lc2": 0 to 1; "ssc": 1 minus
        the mean squared difference of the descriptors. Numbers of different pictures do not compare
    iterations : steps in all
    overlap : share of the fixed picture's known voxels that lie on known ones of the moving picture
    loose_mm : RMS shift of the fixed picture's voxels, in the motion that the pictures hold least, that costs
        0.01 of the similarity: large where a direction is hardly seen. "lc2" and "ssc" only
    deformation : with "bspline", on top of the matrix
    """

    matrix: Array
    metric: Metric
    transform: Transform
    before: float
    after: float
    iterations: int
    overlap: float
    loose_mm: float | None = None
    deformation: Deformation | None = None

    def to_moving(self, points_f: ArrayLike) -> Array:
        """Points (..., 3) of the fixed picture's space in the moving picture's, deformation included."""
        points = np.asarray(points_f, dtype=float)
        if self.deformation is not None:
            points = points + self.deformation.displacement(points)
        return transform_points(inverse(self.matrix), points)

    def to_fixed(self, points_m: ArrayLike) -> Array:
        """The inverse of `to_moving`; with a deformation by iteration, which needs one that does not fold.

        Raises
        ------
        ValueError
            If the iteration does not settle within 1e-6 mm.
        """
        aim = transform_points(self.matrix, points_m)
        if self.deformation is None:
            return aim
        points = aim
        for _ in range(INVERSE_ROUNDS):
            points, last = aim - self.deformation.displacement(points), points
            if np.abs(points - last).max(initial=0.0) < 1e-6:
                return points
        raise ValueError("the deformation cannot be inverted at these points; expected one without folds.")


def register_images(
    fixed: Picture | tuple[ArrayLike, ArrayLike],
    moving: Picture | tuple[ArrayLike, ArrayLike],
    *,
    metric: Metric = "mattes",
    transform: Transform = "rigid",
    initial: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    levels_mm: Sequence[float] | None = None,
    iterations: int = 100,
    edge: int = 2,
    search_mm: float | None = None,
    knots_mm: float = 25.0,
    share: float = 1.0,
    seed: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ImageResult:
    """Register a picture to another by what they show.

    For ultrasound take it as `fixed`, metric "lc2", and the MR (or CT) as `moving`: in patches, LC2 fits the
    ultrasound by ``a p + b |grad p| + c`` of the MR's intensity p. It is 1 minus the sum of what is left
    over the sum of the variances, so that patches weigh by their variance [1]_. Here patches are cubes of
    ``2 * edge`` working voxels that overlap by half and count where half of their voxels are known in both.
    a, b and c follow the place; the place is climbed to by Gauss-Newton steps (variable projection [2]_).
    "ssc" compares self-similarity descriptors [3]_, a second opinion. Both are only for "rigid". "mattes"
    (mutual information) and "correlation" are SimpleITK's.

    Parameters
    ----------
    fixed, moving : a `Volume`, or its values (nz, ny, nx), NaN where there is no data, and the (4, 4) from
        voxel indices (x, y, z) to its space, mm. Grids may be oblique and anisotropic
    initial : (4, 4) ``f_M_m`` to start from: a rigid transform, or affine for "affine" and "bspline";
        identity when left out
    mask : (nz, ny, nx) bool, on the fixed picture's grid: True where it counts; all of it when left out
    levels_mm : working voxel sizes from coarse to fine; (4, 2) when left out, (2,) for "ssc"
    iterations : most steps at each level
    edge : half of an LC2 patch's side in voxels: with 2, patches of 16 mm at the 4 mm level and of 8 at 2
    search_mm : "lc2" and "ssc": at the coarsest level also start from that far away along each axis, and keep
        the best, which widens the capture range; 0 for the start alone. Left out: 8 for "lc2", 0 for "ssc"
    knots_mm : between the knots of "bspline"; it starts at `initial`, so register rigidly first
    share, seed : SimpleITK's: share of the voxels that are compared, 1 for all, and the seed of their choice
    threads : "lc2" and "ssc": how many, all cores when left out; the result is the same for any number.
        SimpleITK is run with one, so that its result is the same each time
    progress : called with (steps done, most steps in all)

    Returns
    -------
    ImageResult
        ``matrix`` maps the moving picture's space to the fixed picture's.

    Raises
    ------
    ValueError
        If a picture is empty, constant or not 3-D, the two have nothing in common where `initial` puts them,
        or a choice is unknown or does not fit the metric.

    Warns
    -----
    UserWarning
        If the overlap fell below half of what it was, the similarity fell, or LC2's pictures look swapped.

    References
    ----------
    .. [1] Wein et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_5; Fuerst et al., Med. Image Anal. 18(8),
       2014, doi:10.1016/j.media.2014.04.008.
    .. [2] Golub, Pereyra, Inverse Probl. 19(2), 2003, doi:10.1088/0266-5611/19/2/201.
    .. [3] Heinrich et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_24.

    Examples
    --------
    >>> z, y, x = np.mgrid[:22, :24, :26] * 2.0
    >>> head = np.exp(-((x - 22) ** 2 / 120 + (y - 26) ** 2 / 70 + (z - 20) ** 2 / 40))
    >>> grid, moved = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
    >>> moved[:3, 3] = [1.5, -2.0, 1.0]
    >>> found = register_images((head, grid), (head, moved), metric="lc2")
    >>> (found.matrix[:3, 3] + moved[:3, 3]).round(2) + 0.0
    array([0., 0., 0.])
    """
    check_choices(metric, transform, edge, search_mm, iterations, share, knots_mm)
    f, f_M_voxel = checked_picture(fixed, "fixed")
    m, m_M_voxel = checked_picture(moving, "moving")
    if f is m or fixed is moving:
        raise ValueError("fixed and moving are the same picture; expected two. Was one name used twice?")
    levels = checked_levels(LEVELS_MM[metric] if levels_mm is None else levels_mm)
    start = np.eye(4) if initial is None else checked_initial(initial, transform)
    if metric == "lc2" and np.isfinite(f).all() and not np.isfinite(m).all():
        warnings.warn(
            "fixed has data everywhere and moving has not; for 'lc2' fixed is the ultrasound. Swapped?",
            stacklevel=2,
        )
    f = np.where(checked_mask(mask, f.shape), f, np.nan)
    for values, name in ((f, "fixed"), (m, "moving")):
        refuse_empty(values, name, mask is not None and name == "fixed")
    before = overlap(f, f_M_voxel, m, m_M_voxel, start)
    known = before * np.isfinite(f).sum() * abs(np.linalg.det(f_M_voxel[:3, :3]))
    if known < LEAST_VOXELS * min(levels) ** 3:
        raise ValueError(apart(f, f_M_voxel, m, m_M_voxel, start, known))
    if metric == "lc2" or metric == "ssc":
        from navkit.registration._lc2 import run

        result = run(
            (f, f_M_voxel),
            (m, m_M_voxel),
            start,
            metric=metric,
            levels_mm=levels,
            iterations=iterations,
            edge=edge,
            search_mm=SEARCH_MM[metric] if search_mm is None else search_mm,
            threads=threads,
            progress=progress,
        )
    else:
        from navkit.registration._images_itk import run_itk

        result = run_itk(
            (f, f_M_voxel),
            (m, m_M_voxel),
            start,
            metric=metric,
            transform=transform,
            levels_mm=levels,
            iterations=iterations,
            knots_mm=knots_mm,
            share=share,
            seed=seed,
            progress=progress,
        )
    after = overlap(f, f_M_voxel, m, m_M_voxel, result.matrix)
    if after < before / 2:
        warnings.warn(
            f"the overlap fell from {before:.0%} to {after:.0%} of the fixed picture; expected about as "
            "much. Was the start too far away?",
            stacklevel=2,
        )
    if result.after < result.before:
        warnings.warn(
            f"the similarity fell from {result.before:.3g} to {result.after:.3g}: the start may be the "
            "better answer. Finer levels_mm only?",
            stacklevel=2,
        )
    return replace(result, overlap=after)
