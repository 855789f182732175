"""Hole filling: every method of CustusX and PLUS, and one that does better."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.reconstruction._grid import demand_memory

Array = NDArray[np.float64]
Method = Literal[
    "none", "custusx", "nearest", "gaussian", "accumulate", "distance", "stick", "convolution"
]  # fmt: skip
METHODS = get_args(Method)
PLANES_A_TASK = 4
BYTES_A_VOXEL = 4 + 1 + 1 + 1  # value, filled, two distances; "custusx": what is known, twice

# "convolution": a narrow Gaussian and wider ones, each far lighter, in voxels. Together they fall like a
# power of the distance, so near voxels rule where there are any, and wide gaps are averaged widely. A stick
# takes its part by its length in voxels. Tuned on speckled ellipsoids (seed 0) and every second spine frame.
SCALES = (0.8, 1.6, 3.2, 6.4)
SHARES = (1.0, 0.05, 0.001, 0.00004)
STICK_SHARE = 2.0

DIRECTIONS = np.array(
    [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0)]
    + [(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]
)


def fill_holes(
    values: NDArray[np.float32],
    *,
    weight: ArrayLike | None = None,
    method: Method = "convolution",
    reach: int = 3,
    spacing_mm: ArrayLike = (1.0, 1.0, 1.0),
    sigma: float = 1.0,
    sticks: int = 1,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Give holes a value made of the known voxels around them; no filled voxel is ever read.

    A hole is filled if a known voxel lies in the cube of ``2 * reach + 1`` voxels around it ("custusx" and
    "stick" ask for more); all others stay NaN. In what follows d is the distance in voxels, or with unequal
    spacing in units of the smallest spacing.

    Parameters
    ----------
    values : (nz, ny, nx) float32; NaN is a hole
    weight : (nz, ny, nx) how many pixels each voxel has got; for "accumulate" only
    method : by what a hole is filled

        - "convolution": weighted mean of the cube, the weights a sum of Gaussians of 0.8, 1.6, 3.2 and 6.4
          voxels with shares 1, 1/20, 1/1000, 1/25000 (normalised convolution [1]_), mixed with the value of
          "stick", if there is one, which takes the part 2 / length
        - "gaussian": weighted mean of the cube, ``exp(-d**2 / (2 sigma**2))``
        - "accumulate": the same times the voxel's own `weight`
        - "distance": weighted mean of the cube, ``1 / d``
        - "nearest": mean of the smallest cube that has any known voxel
        - "custusx": the same, if the hole lies between known voxels along x, y or z
        - "stick": linear along the shortest of 13 lines of at most ``2 * reach + 1`` voxels that end in
          known voxels; ties are averaged. PLUS's own weights lean to one end by half a voxel or more; here
          they are exactly linear
        - "none": nothing
    reach : in voxels, 1 to 100. PLUS's size 5 is 2; its stick of 9 is 4
    spacing_mm : (sx, sy, sz)
    sigma : of the Gaussian, in voxels; PLUS's Stdev
    sticks : how many of the shortest lines are averaged, weighted by 1 / length
    threads : how many; all cores when left out. The result is the same for any number
    progress : called with (planes done, planes in all)

    Returns
    -------
    values : (nz, ny, nx) float32, a new array; known voxels are unchanged
    filled : (nz, ny, nx) bool

    Raises
    ------
    ValueError
        If an array has another shape or type, a choice is unknown or out of its range, or more memory is
        needed than is free.

    References
    ----------
    .. [1] Knutsson and Westin, CVPR 1993, doi:10.1109/CVPR.1993.341081. The others: CustusX, plug-in
       org.custusx.usreconstruction.pnn; PLUS (IGSIO), hole filling.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([[[10, np.nan, np.nan, 40, np.nan]]], dtype=np.float32)
    >>> fill_holes(line, method="stick")[0]
    array([[[10., 20., 30., 40., nan]]], dtype=float32)
    """
    from navkit.reconstruction import _fill_kernels as kernels
    from navkit.reconstruction import _fill_steps as distances

    spacing = np.asarray(spacing_mm, dtype=float)
    mass = np.empty((0, 0, 0), dtype=np.float32)
    if method == "accumulate" and weight is not None:
        mass = np.ascontiguousarray(weight, dtype=np.float32)
    _check(values, method, reach, spacing, sigma, sticks, mass, threads)
    demand_memory(values.shape, spacing, BYTES_A_VOXEL + 2 * (method == "custusx"))
    values = np.ascontiguousarray(values)
    filled = np.zeros(values.shape, dtype=bool)
    if method == "none" or not values.size:
        return values.copy(), filled

    nz, cap = values.shape[0], reach + 1
    starts = range(0, nz, PLANES_A_TASK)
    stages = 4 if method in ("custusx", "convolution") else 3
    done = 0
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:

        def run(kernel: Callable[..., None], *inputs: object, into: tuple[NDArray[np.generic], ...]) -> None:
            nonlocal done
            tasks = [pool.submit(kernel, *inputs, k, min(k + PLANES_A_TASK, nz), *into) for k in starts]
            for task, k in zip(tasks, starts, strict=True):
                task.result()
                done += min(PLANES_A_TASK, nz - k)
                if progress is not None:
                    progress(done, stages * nz)

        in_plane, steps = np.empty(values.shape, dtype=np.uint8), np.empty(values.shape, dtype=np.uint8)
        out = np.empty_like(values)
        run(distances.steps_in_plane, values, cap, into=(in_plane, out))
        run(distances.steps_across_planes, in_plane, cap, into=(steps,))
        if method == "custusx":
            known = steps == 0
            some = known.any(axis=0)
            lowest = np.where(some, known.argmax(axis=0), nz)
            highest = np.where(some, nz - 1 - known[::-1].argmax(axis=0), -1)
            # what lies outside is no hole: out of reach. A copy, for planes read each other's steps
            run(distances.forget_outside, known, lowest, highest, cap, into=(steps,))

        result = (out, filled)
        norms = np.linalg.norm(DIRECTIONS * (spacing / spacing.min())[::-1], axis=1)
        if method in ("custusx", "nearest"):
            run(kernels.mean_of_cube, values, steps, reach, into=result)
        elif method == "stick":
            run(distances.sticks, values, steps, reach, DIRECTIONS, norms, sticks, np.inf, into=result)
        elif method == "distance":
            run(kernels.table_mean, values, steps, _inverse_distances(reach, spacing), into=result)
        elif method == "convolution":
            taps = _gaussians(reach, spacing, SCALES, SHARES)
            run(kernels.gaussian_mean, values, mass, steps, taps, into=result)
            run(distances.sticks, values, steps, reach, DIRECTIONS, norms, 1, STICK_SHARE, into=result)
        else:
            taps = _gaussians(reach, spacing, (sigma,), (1.0,))
            run(kernels.gaussian_mean, values, mass, steps, taps, into=result)
    return out, filled


def _gaussians(reach: int, spacing: Array, sigmas: tuple[float, ...], shares: tuple[float, ...]) -> Array:
    """Factors (levels, 3, reach + 1) along z, y, x, so that their product is the share at d = 0.

    They are never below 1e-60, so that every voxel within reach counts, however far.
    """
    d = np.arange(reach + 1.0) * (spacing / spacing.min())[::-1, None]
    factors = np.exp(-0.5 * (d / np.array(sigmas)[:, None, None]) ** 2)
    taps: Array = np.maximum(factors, 1e-60) * np.cbrt(shares)[:, None, None]
    return taps


def _inverse_distances(reach: int, spacing: Array) -> Array:
    sx, sy, sz = spacing / spacing.min()
    z, y, x = np.indices((reach + 1,) * 3)
    d = np.sqrt((sz * z) ** 2 + (sy * y) ** 2 + (sx * x) ** 2)
    d[0, 0, 0] = 1.0  # the hole itself, which is not known
    return np.asarray(1.0 / d)


def _check(
    values: NDArray[np.float32],
    method: str,
    reach: int,
    spacing: Array,
    sigma: float,
    sticks: int,
    mass: NDArray[np.float32],
    threads: int | None,
) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype != np.float32:
        kind = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"values is {kind}; expected a float32 array (nz, ny, nx) with NaN in its holes.")
    if method not in METHODS:
        raise ValueError(f"fill method is {method!r}; expected one of {', '.join(METHODS)}.")
    if reach != int(reach) or not 1 <= reach <= 100:
        raise ValueError(f"reach is {reach}; expected 1 to 100 whole voxels (not millimetres).")
    if spacing.shape != (3,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"spacing_mm is {spacing.tolist()}; expected three positive numbers (sx, sy, sz).")
    if not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma is {sigma}; expected a positive number of voxels.")
    if not 1 <= sticks <= len(DIRECTIONS):
        raise ValueError(f"sticks is {sticks}; expected 1 to {len(DIRECTIONS)}.")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1, or None for all cores.")
    if method != "accumulate":
        return
    if mass.shape != values.shape:
        got = "none" if mass.size == 0 else f"shape {mass.shape}"
        raise ValueError(
            f"weight has {got}; method 'accumulate' expected one number for each of {values.shape}."
        )
    if not ((mass > 0) | np.isnan(values)).all():
        raise ValueError("weight is not positive in every known voxel; is it of another volume?")
