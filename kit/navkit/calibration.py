"""Calibration: what a tracker's sensor must be told about the tool it sits on.

Pivot calibration finds the tip of a pointer from poses of its sensor while the tip rests in a dimple.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses

__all__ = ["PivotResult", "calibrate_pivot"]

Array = NDArray[np.float64]

LEAST_TURN_DEG = 1.0
"""A direction of the tool that turned less than this (RMS) leaves the tip unknown along it."""


@dataclass(frozen=True)
class PivotResult:
    """The tip of a pointer and what tells whether to trust it.

    Parameters
    ----------
    tip_s : (3,) mm
        The tip in the sensor's space.
    pivot_pr : (3,) mm
        The dimple in the patient reference (or the tracker's space, whichever the poses map to).
    rms_mm : float
        RMS over the inlying poses of the 3-D distance between that pose's tip and the pivot. Some programs
        print the RMS over the 3 n coordinates, which is smaller by sqrt(3).
    residual_mm : (n,)
        That distance for each pose.
    inliers : (n,) bool
        The poses that were used; all of them for "algebraic".
    condition : float
        Condition number of the linear system, 1 or more: how much an error of the poses may be magnified.
    covariance : (3, 3) mm^2
        Of `tip_s`, from the normal equations and the residual, for errors of the position that are
        independent and equal in all directions. Systematic errors do not show in it.
    spread_deg : float
        The largest angle of rotation between any two of the poses.
    """

    tip_s: Array
    pivot_pr: Array
    rms_mm: float
    residual_mm: Array
    inliers: NDArray[np.bool_]
    condition: float
    covariance: Array
    spread_deg: float


def calibrate_pivot(pr_M_s: ArrayLike, *, method: Literal["algebraic"] = "algebraic") -> PivotResult:
    """The tip of a pointer from poses recorded while it pivots about its tip.

    Every pose puts the tip at the same place, ``R_i tip_s + t_i = pivot_pr``: 3 n linear equations for
    6 unknowns, solved by least squares in one step [1]_.

    Parameters
    ----------
    pr_M_s : (n, 4, 4) rigid, n >= 3
        Poses of the sensor. Tilt the tool in all directions; turning it about one axis is not enough.
    method : "algebraic"
        The only method so far.

    Returns
    -------
    PivotResult
        `rms_mm` is the RMS of 3-D distances, one for each pose, not over the 3 n equations.

    Raises
    ------
    ValueError
        If there are fewer than 3 poses, a pose is not rigid, the method is unknown, or some direction of
        the tool did not turn: no rotation, or rotation about one axis only.

    References
    ----------
    .. [1] Yaniv, Which pivot calibration?, Proc. SPIE 9415, 2015, doi:10.1117/12.2081348.

    Examples
    --------
    >>> from navkit.geometry import pose_from
    >>> from scipy.spatial.transform import Rotation
    >>> turns = Rotation.from_euler("xyz", [[0, 0, 0], [30, 0, 0], [0, 30, 0], [-20, 10, 40]], degrees=True)
    >>> poses = pose_from(turns, [100, 0, 50] - turns.apply([0, 0, 150]))
    >>> calibrate_pivot(poses).tip_s.round(6) + 0.0
    array([  0.,   0., 150.])
    """
    if method != "algebraic":
        raise ValueError(f'method is {method!r}; expected "algebraic".')
    m = check_poses(pr_M_s, "pr_M_s", at_least=3)
    r, t = m[:, :3, :3], m[:, :3, 3]
    spread_deg = _largest_turn_deg(r)
    r_mean, t_mean = r.mean(axis=0), t.mean(axis=0)
    # The pivot drops out when the mean equation is subtracted. A direction of the tool that never turns
    # drops out as well: it is kept at full length by the mean rotation.
    _, kept, directions = np.linalg.svd(r_mean)
    kept = np.minimum(kept, 1.0)
    turned_deg = np.degrees(np.arcsin(np.sqrt(1 - kept**2)))
    if turned_deg[0] < LEAST_TURN_DEG:
        x, y, z = directions[0]
        raise ValueError(
            f"the {len(m)} poses turn by up to {spread_deg:.2f} deg, but the tool's direction "
            f"({x:.2f}, {y:.2f}, {z:.2f}) by only {turned_deg[0]:.2f} deg RMS; expected at least "
            f"{LEAST_TURN_DEG:.0f} deg. The tip is not determined along it. Was the tool still, or "
            "turned about one axis?"
        )
    a = (r - r_mean).reshape(-1, 3)
    tip = np.linalg.lstsq(a, (t_mean - t).reshape(-1), rcond=None)[0]
    pivot = r_mean @ tip + t_mean
    error = r @ tip + t - pivot
    variance = (error**2).sum() / (3 * len(m) - 6)
    return PivotResult(
        tip_s=tip,
        pivot_pr=pivot,
        rms_mm=float(np.sqrt((error**2).sum(axis=1).mean())),
        residual_mm=np.linalg.norm(error, axis=1),
        inliers=np.ones(len(m), dtype=bool),
        # [R_i, -1] has the singular values sqrt(n (1 +- kept)).
        condition=float(np.sqrt((1 + kept[0]) / (1 - kept[0]))),
        covariance=variance * np.linalg.inv(a.T @ a),
        spread_deg=spread_deg,
    )


def _largest_turn_deg(r: Array) -> float:
    """The largest angle of rotation between any two of (n, 3, 3); the trace of R_i.T R_j holds it."""
    flat = r.reshape(len(r), 9)
    least = min(float((flat[i : i + 256] @ flat.T).min()) for i in range(0, len(flat), 256))
    return float(np.degrees(np.arccos(np.clip((least - 1) / 2, -1.0, 1.0))))
