"""Two volumes of one thing: where they differ, one of them is wrong."""

from dataclasses import dataclass, replace

import numpy as np

from navkit.reconstruction._grid import Volume
from navkit.ultrasound import Sweep


@dataclass(frozen=True)
class Disagreement:
    """How two volumes of one thing differ.

    Parameters
    ----------
    mae, rms : mean absolute and root mean square difference, grey levels, over the voxels that both know
    bias : mean of the second minus the first
    noise : ``rms / sqrt(2)``; the standard deviation of each one's noise, if both are equally noisy and
        differ in nothing else
    covered : the part of the voxels known to either that both know
    """

    mae: float
    rms: float
    bias: float
    noise: float
    covered: float


def even_and_odd(sweep: Sweep) -> tuple[Sweep, Sweep]:
    """A sweep's valid frames as two sweeps, every second one each: a duplicate when there is no other.

    Neither half has the other's frames, so their volumes also differ by what lies between the frames.
    """
    turn = np.cumsum(sweep.valid) % 2
    return replace(sweep, valid=sweep.valid & (turn == 1)), replace(sweep, valid=sweep.valid & (turn == 0))


def disagreement(first: Volume, second: Volume) -> Disagreement:
    """Compare two volumes of the same thing on one grid, from two sweeps or two halves of one.

    Voxels that only one of them knows are never scored. What both get wrong in the same way, such as a wrong
    calibration, does not show.

    Raises
    ------
    ValueError
        If the grids differ or no voxel is known to both.

    References
    ----------
    Bland and Altman, BMJ 313, 1996, doi:10.1136/bmj.313.7059.744: the noise of duplicates.

    Examples
    --------
    >>> from navkit.reconstruction import Grid
    >>> grid = Grid((1, 1, 4), (1.0, 1.0, 1.0), np.eye(4))
    >>> seen, filled = np.ones((1, 1, 4), np.uint32), np.zeros((1, 1, 4), bool)
    >>> one, two = (
    ...     Volume(np.array([[row]], np.float32), seen, filled, grid)
    ...     for row in ([10, 20, 30, np.nan], [13, 24, np.nan, np.nan])
    ... )
    >>> found = disagreement(one, two)
    >>> found.mae, found.rms, found.covered
    (3.5, 3.5355339059327378, 0.6666666666666666)
    """
    a, b = first.grid, second.grid
    if a.shape != b.shape or not np.allclose(a.pr_M_voxel(), b.pr_M_voxel(), rtol=0, atol=1e-6):
        raise ValueError(
            f"the volumes lie on grids of {a.shape} and {b.shape} voxels or in other places; expected one "
            "grid. Give `reconstruct` the same grid for both."
        )
    known, also = np.isfinite(first.values), np.isfinite(second.values)
    both = known & also
    if not both.any():
        raise ValueError("no voxel is known to both volumes; expected an overlap. Are the voxels too small?")
    difference = second.values[both].astype(float) - first.values[both]
    rms = float(np.sqrt(np.mean(difference**2)))
    return Disagreement(
        float(np.abs(difference).mean()),
        rms,
        float(difference.mean()),
        rms / np.sqrt(2),
        float(both.sum() / (known | also).sum()),
    )
