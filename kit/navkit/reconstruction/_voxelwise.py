"""Voxel-based reconstruction: every voxel asks the frames that pass near it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import inverse
from navkit.reconstruction._grid import Grid
from navkit.ultrasound import Sweep

METHODS = ("vnn", "vnn2", "dw", "anisotropic", "path")
RADIUS_MM = 3.0  # CustusX's
PLANES = {"vnn": 1, "vnn2": 2, "dw": 10, "anisotropic": 10, "path": 2}


def voxelwise(
    sweep: Sweep,
    grid: Grid,
    *,
    method: Literal["vnn", "vnn2", "dw", "anisotropic", "path"],
    radius_mm: float | None = None,
    plane_limit: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    newness: float = 0.0,
    brightness: float = 1.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and weights of a grid's voxels from the valid frames of a sweep.

    A frame reaches a voxel if its plane passes within `radius_mm` and the pixel nearest to the voxel's foot
    on it is in the mask. Of those, the `plane_limit` nearest are averaged; all of them are looked at, so they
    are the nearest however the hand trembled.

    Parameters
    ----------
    method :
        - "vnn": the nearest frame's nearest pixel
        - "vnn2": nearest pixels of the nearest frames, weighted by 1 / distance
        - "dw": the same with bilinear pixels; with ``plane_limit=1`` a VNN with bilinear pixels
        - "anisotropic": nearest pixels weighted by a Gauss of the distance, the narrower the more they differ
          (sigma is 32 / their standard deviation), plus `newness` if the frame is not earlier than their
          mean, plus `brightness` if the pixel is not darker [1]_. CustusX adds up the squares wrongly; here
          the variance is the pixels' own
        - "path": between the two consecutive frames that pass on both sides of the voxel, along the probe's
          path instead of at right angles to the frames [2]_; if the probe came by more than once, the pair
          that is closest together. The frames may lie ``2 * radius_mm`` apart there, and nothing is
          reached beyond the first and the last
    radius_mm : default CustusX's, 3 mm
    plane_limit : default 1 for "vnn", 2 for "vnn2" and 10, CustusX's, for "dw" and "anisotropic". CustusX's
        VNN2 takes 10 too. "vnn" and "path" allow no other number
    threads : how many; all cores when left out. The result is the same for any number
    progress : called with (rows of blocks done, rows in all)
    newness, brightness : for "anisotropic"

    Returns
    -------
    values : (nz, ny, nx) float32; NaN where no frame reaches
    weight : (nz, ny, nx) float32; how many frames the mean is worth, ``sum(w)**2 / sum(w**2)``: noise that
        differs from frame to frame has its variance divided by it. 0 where no frame reaches

    Raises
    ------
    ValueError
        If a choice is unknown or out of range, no frame is valid, or a valid frame has no proper pose.

    References
    ----------
    .. [1] CustusX, plug-in org.custusx.usreconstruction.vnncl; taxonomy of methods in Solberg et al.,
       Ultrasound Med. Biol. 33(7), 2007, doi:10.1016/j.ultrasmedbio.2007.02.015.
    .. [2] Coupé, Hellier, Azzabou, Barillot, MICCAI 2005, doi:10.1007/11566465_74. Poses between frames are
       interpolated here by the pixel position, which differs from slerp by the square of the frames' angle.

    Examples
    --------
    Two frames 4 mm apart, 10 and 50 bright; a voxel 1 mm from the first:

    >>> from navkit.ultrasound import ProbeSector
    >>> sector = ProbeSector("linear", 9, (0, 9), (4.5, 0), (1.0, 1.0), (0, 9, 0, 9), (10, 10))
    >>> frames = np.stack([np.full((10, 10), grey, dtype=np.uint8) for grey in (10, 50)])
    >>> pr_M_t = np.stack([np.eye(4), np.eye(4)])
    >>> pr_M_t[1, 0, 3] = 4.0
    >>> sweep = Sweep(frames, np.arange(2.0), pr_M_t @ sector.t_M_p(), sector, np.ones(2, dtype=bool))
    >>> grid = Grid((1, 1, 1), (1.0, 1.0, 1.0), np.eye(4))
    >>> grid.pr_M_d[:3, 3] = 1.0, 0.0, 5.0
    >>> [voxelwise(sweep, grid, method=m)[0].item() for m in ("vnn", "vnn2", "dw", "path")]
    [10.0, 20.0, 20.0, 20.0]
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    limit = PLANES[method] if plane_limit is None else plane_limit
    if limit < 1 or (method in ("vnn", "path") and limit != PLANES[method]):
        wanted = str(PLANES[method]) if method in ("vnn", "path") else "at least 1"
        raise ValueError(f"plane_limit is {plane_limit}; expected {wanted} for method {method!r}.")
    if not (0 <= newness < np.inf and 0 <= brightness < np.inf):
        raise ValueError(f"newness is {newness} and brightness {brightness}; expected 0 or more of each.")
    from navkit.reconstruction import _voxel_kernels as kernels

    frames, order, planes, mask, area, rows, radius = prepared(
        sweep, grid, radius_mm, threads, at_least=2 if method == "path" else 1
    )
    values = np.full(grid.shape, np.nan, dtype=np.float32)
    weight = np.zeros(grid.shape, dtype=np.float32)

    def fill(row: tuple[int, int]) -> None:
        given = frames, order, planes, mask, area, row
        if method == "path":
            kernels.follow_path(*given, 2 * radius, values, weight)
        else:
            rule = method == "dw", method == "anisotropic", float(newness), float(brightness)
            kernels.average_planes(*given, radius, min(limit, len(order)), *rule, values, weight)

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(fill, rows), start=1):
            if progress is not None:
                progress(done, len(rows))
    return values, weight


Prepared = tuple[
    NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64],
    list[tuple[int, int]], float,
]  # fmt: skip


def prepared(
    sweep: Sweep, grid: Grid, radius_mm: float | None, threads: int | None, *, at_least: int
) -> Prepared:
    """What every method by voxel needs, checked.

    The frames, the numbers of the valid ones, voxel to frame (m, 3, 4), the mask, its summed area, the rows
    of large boxes, the radius.
    """
    from navkit.reconstruction._voxel_kernels import LARGE

    radius = RADIUS_MM if radius_mm is None else float(radius_mm)
    if not (np.isfinite(radius) and radius >= min(grid.spacing_mm) / 2):
        raise ValueError(
            f"radius_mm is {radius:g}; expected at least {min(grid.spacing_mm) / 2:g}, half a voxel: "
            "a smaller one leaves voxels empty that a frame passes through."
        )
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1.")
    order = np.flatnonzero(sweep.valid)
    if len(order) < at_least:
        raise ValueError(
            f"sweep {sweep.name!r} has {len(order)} valid frame(s); expected at least one with a pose, "
            "and two for method 'path' or 'predict'."
        )
    mask = sweep.sector.mask()
    if not mask.any():
        raise ValueError("no pixel is left to use; expected some where sector and clip rectangle overlap.")
    area = np.pad(mask.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    rows = [(j, k) for k in range(0, grid.shape[0], LARGE) for j in range(0, grid.shape[1], LARGE)]
    # frames on disk are read where they are, flipped or not: a copy may be more than memory holds
    on_disk = isinstance(sweep.frames, np.memmap)
    frames = np.asarray(sweep.frames) if on_disk else np.ascontiguousarray(sweep.frames)
    return frames, order, _planes(sweep, grid, order), mask, area, rows, radius


def _planes(sweep: Sweep, grid: Grid, order: NDArray[np.int64]) -> NDArray[np.float64]:
    """From voxel indices to column, row and signed distance in mm for each used frame, (m, 3, 4)."""
    pr_M_p = sweep.pr_M_p[order]
    normal = np.cross(pr_M_p[:, :3, 0], pr_M_p[:, :3, 1])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    wrong = order[~(np.isfinite(pr_M_p).all(axis=(1, 2)) & (length[:, 0] > 0))]
    if len(wrong):
        raise ValueError(
            f"pr_M_p of frame {wrong[0]} is not finite or flat ({len(wrong)} such frames); expected an "
            "affine transform. Should the frame be marked as not valid?"
        )
    pr_M_p[:, :3, 2] = normal / length  # a calibration may be sheared: the foot is at right angles
    return np.ascontiguousarray((inverse(pr_M_p) @ grid.pr_M_voxel())[:, :3])
