"""Pivot calibration: the tip of a pointer from poses of its sensor while the tip rests in a dimple."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses

Array = NDArray[np.float64]

LEAST_TURN_DEG = 1.0
"""A direction of the tool that turned less than this (RMS) leaves the tip unknown along it."""
ENOUGH_TURN_DEG = 5.0
"""Below this the tip is found, and not to be trusted: the residual does not show it."""
SPHERE_DISAGREES = 3.0
"""How much wider than the sphere's own residual the tips of single poses may scatter about the tip."""
CHI2_3_MEDIAN, CHI2_3_99 = 2.366, 11.345
"""Median and 99th percentile of the chi-square distribution with three degrees of freedom."""


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
        The poses that were used; all of them unless the method is "ransac".
    condition : float
        Condition number of the linear system, 1 or more: how much an error of the poses may be magnified.
    covariance : (3, 3) mm^2
        Of `tip_s`, from the normal equations and the residual, for errors of the position that are
        independent and equal in all directions. Systematic errors do not show in it.
    spread_deg : float
        The largest angle of rotation between any two of the poses.
    warnings : tuple of str
        Why not to trust the tip, a sentence each; empty when nothing speaks against it.
    """

    tip_s: Array
    pivot_pr: Array
    rms_mm: float
    residual_mm: Array
    inliers: NDArray[np.bool_]
    condition: float
    covariance: Array
    spread_deg: float
    warnings: tuple[str, ...] = ()


def calibrate_pivot(
    pr_M_s: ArrayLike,
    *,
    method: Literal["algebraic", "sphere", "ransac"] = "algebraic",
    trials: int = 100,
    rng: np.random.Generator | None = None,
) -> PivotResult:
    """The tip of a pointer from poses recorded while it pivots about its tip.

    Every pose puts the tip at the same place, ``R_i tip_s + t_i = pivot_pr``: 3 n linear equations for
    6 unknowns, solved by least squares in one step [1]_.

    Parameters
    ----------
    pr_M_s : (n, 4, 4) rigid, n >= 3
        Poses of the sensor. Tilt the tool in all directions; turning it about one axis is not enough.
    method : "algebraic", "sphere" or "ransac"
        "algebraic" uses every pose. "sphere" fits a sphere to the sensor's positions and uses the angles
        only to carry its centre into the tool: weaker, and here to be compared. "ransac" is algebraic
        on the poses that agree: of `trials` triples of poses the one with the least median residual is
        kept [2]_, then every pose within 99 % of the noise that the median implies is used, until the
        choice no longer changes. It bears up to half of the poses wrong.
    trials : how many triples "ransac" tries
    rng : numpy Generator, needed by "ransac"

    Returns
    -------
    PivotResult
        `rms_mm` is the RMS of 3-D distances, one for each pose, not over the 3 n equations. It shows the
        tracker's noise, not the error of the tip: read `warnings` and `covariance`.

    Raises
    ------
    ValueError
        If there are fewer than 3 poses (4 for "sphere"), a pose is not rigid, the method is unknown, or
        some direction of the tool did not turn: no rotation, or rotation about one axis only.

    References
    ----------
    .. [1] Yaniv, Which pivot calibration?, Proc. SPIE 9415, 2015, doi:10.1117/12.2081348.
    .. [2] Rousseeuw, Least median of squares regression, J. Am. Stat. Assoc. 79(388), 1984,
       doi:10.1080/01621459.1984.10477105.

    Examples
    --------
    >>> from navkit.geometry import pose_from
    >>> from scipy.spatial.transform import Rotation
    >>> turns = Rotation.from_euler("xyz", [[0, 0, 0], [30, 0, 0], [0, 30, 0], [-20, 10, 40]], degrees=True)
    >>> poses = pose_from(turns, [100, 0, 50] - turns.apply([0, 0, 150]))
    >>> calibrate_pivot(poses).tip_s.round(6) + 0.0
    array([  0.,   0., 150.])
    """
    if method not in ("algebraic", "sphere", "ransac"):
        raise ValueError(f"method is {method!r}; expected 'algebraic', 'sphere' or 'ransac'.")
    m = check_poses(pr_M_s, "pr_M_s", at_least=4 if method == "sphere" else 3)
    r, t = m[:, :3, :3], m[:, :3, 3]
    everyone = np.ones(len(m), dtype=bool)
    if method == "sphere":
        _demand_turns(r)  # the carried centre needs no turn, but without one nothing can judge it
        return _sphere(r, t)
    if method == "ransac":
        if rng is None:
            raise ValueError("rng is None; expected a numpy Generator: 'ransac' draws poses at random.")
        return _algebraic(r, t, _agreeing(r, t, trials, rng))
    return _algebraic(r, t, everyone)


def _demand_turns(r: Array) -> tuple[Array, Array, float]:
    """Mean rotation, its singular values, the least RMS turn in degrees; refuses a tool that did not turn."""
    r_mean = r.mean(axis=0)
    # A direction of the tool that never turns is kept at full length by the mean rotation.
    _, kept, directions = np.linalg.svd(r_mean)
    kept = np.minimum(kept, 1.0)
    turned_deg = np.degrees(np.arcsin(np.sqrt(1 - kept**2)))
    if turned_deg[0] < LEAST_TURN_DEG:
        x, y, z = directions[0]
        raise ValueError(
            f"the {len(r)} poses turn by up to {_largest_turn_deg(r):.2f} deg, but the tool's direction "
            f"({x:.2f}, {y:.2f}, {z:.2f}) by only {turned_deg[0]:.2f} deg RMS; expected at least "
            f"{LEAST_TURN_DEG:.0f} deg. The tip is not determined along it. Was the tool still, or "
            "turned about one axis?"
        )
    return r_mean, kept, float(turned_deg[0])


def _algebraic(r: Array, t: Array, used: NDArray[np.bool_]) -> PivotResult:
    """Least squares on the poses that are `used`; the residual of all."""
    n = int(used.sum())
    r_mean, kept, least_turn_deg = _demand_turns(r[used])
    tip, pivot, normal = _least_squares(r[used], t[used], r_mean)
    squared = ((r @ tip + t - pivot) ** 2).sum(axis=1)
    covariance = squared[used].sum() / (3 * n - 6) * np.linalg.inv(normal)
    warnings = []
    if least_turn_deg < ENOUGH_TURN_DEG:
        warnings.append(
            f"one direction of the tool turned by only {least_turn_deg:.1f} deg RMS (expected at least "
            f"{ENOUGH_TURN_DEG:.0f} deg): the tip may be {np.sqrt(np.trace(covariance)):.2f} mm off, "
            f"and the residual of {np.sqrt(squared[used].mean()):.2f} mm does not show it. Swivel wider."
        )
    if n < len(r):
        warnings.append(f"{len(r) - n} of {len(r)} poses do not agree with the others and were left out.")
    return PivotResult(
        tip_s=tip,
        pivot_pr=pivot,
        rms_mm=float(np.sqrt(squared[used].mean())),
        residual_mm=np.sqrt(squared),
        inliers=used,
        # [R_i, -1] has the singular values sqrt(n (1 +- kept)).
        condition=float(np.sqrt((1 + kept[0]) / (1 - kept[0]))),
        covariance=covariance,
        spread_deg=_largest_turn_deg(r[used]),
        warnings=tuple(warnings),
    )


def _least_squares(r: Array, t: Array, r_mean: Array) -> tuple[Array, Array, Array]:
    """Tip, pivot and the matrix of the normal equations for the tip."""
    t_mean = t.mean(axis=0)
    # The pivot drops out when the mean equation is subtracted.
    a = (r - r_mean).reshape(-1, 3)
    q, upper = np.linalg.qr(a)
    tip = np.linalg.solve(upper, q.T @ (t_mean - t).reshape(-1))
    return tip, r_mean @ tip + t_mean, upper.T @ upper


def _sphere(r: Array, t: Array) -> PivotResult:
    """A sphere through the sensor's positions, its centre carried into the tool by every pose."""
    t_mean = t.mean(axis=0)
    centred = t - t_mean
    a = np.column_stack([2 * centred, np.ones(len(t))])
    # positions in one plane leave the centre free along its normal: lstsq would pick the nearest
    solution, _, _, singular = np.linalg.lstsq(a, (centred**2).sum(axis=1), rcond=None)
    centre = solution[:3] + t_mean
    distance = np.linalg.norm(t - centre, axis=1)
    radius = float(distance.mean())
    radial = float(np.sqrt(((distance - radius) ** 2).sum() / max(len(t) - 4, 1)))
    tips = np.einsum("nji,nj->ni", r, centre - t)
    tip = tips.mean(axis=0)
    residual = np.linalg.norm(tips - tip, axis=1)
    scatter = float(np.sqrt((residual**2).mean()))
    of_centre = (2 * radius * radial) ** 2 * np.linalg.pinv(a.T @ a)[:3, :3]
    covariance = np.mean(np.swapaxes(r, 1, 2) @ of_centre @ r, axis=0) + np.cov(tips.T) / len(t)
    warnings = []
    if scatter > SPHERE_DISAGREES * max(radial, 1e-9):
        warnings.append(
            f"the sensor keeps within {radial:.2f} mm of a sphere, but its centre, seen from the tool, "
            f"wanders by {scatter:.2f} mm RMS: the angles contradict the sphere. Do not trust this tip; "
            "use the algebraic method."
        )
    error_mm = float(np.sqrt(np.trace(covariance)))
    if error_mm > 1.0:
        width = np.ptp(centred, axis=0).max()
        warnings.append(
            f"the sensor moved over {width:.0f} mm of a sphere of radius {radius:.0f} mm: its centre may be "
            f"{error_mm:.1f} mm off."
        )
    return PivotResult(
        tip_s=tip,
        pivot_pr=centre,
        rms_mm=scatter,
        residual_mm=residual,
        inliers=np.ones(len(t), dtype=bool),
        condition=float(singular[0] / singular[-1]),
        covariance=covariance,
        spread_deg=_largest_turn_deg(r),
        warnings=tuple(warnings),
    )


def _agreeing(r: Array, t: Array, trials: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The poses that agree with most of the others (least median of squares, then re-selected)."""
    n = len(r)
    triples = np.argpartition(rng.random((trials, n)), 2, axis=1)[:, :3]
    r_mean, t_mean = r[triples].mean(axis=1), t[triples].mean(axis=1)
    a = (r[triples] - r_mean[:, None]).reshape(trials, 9, 3)
    b = (t_mean[:, None] - t[triples]).reshape(trials, 9, 1)
    normal = np.swapaxes(a, 1, 2) @ a
    good = np.linalg.eigvalsh(normal)[:, 0] > 3 * np.radians(LEAST_TURN_DEG) ** 2
    if not good.any():
        _demand_turns(r)
        good[:] = True
        normal = normal + 1e-9 * np.eye(3)
    tips = np.linalg.solve(normal[good], (np.swapaxes(a, 1, 2) @ b)[good])[..., 0]
    pivots = (r_mean[good] @ tips[..., None])[..., 0] + t_mean[good]
    carried = (r.reshape(-1, 3) @ tips.T).reshape(n, 3, -1)
    squared = ((carried + t[:, :, None] - pivots.T) ** 2).sum(axis=1)
    median = np.partition(squared, n // 2, axis=0)[n // 2]
    best = int(np.argmin(median))
    variance = median[best] / CHI2_3_MEDIAN * (1 + 5 / max(n - 3, 1)) ** 2
    used: NDArray[np.bool_] = squared[:, best] <= CHI2_3_99 * variance + 1e-18
    for _ in range(10):
        if used.sum() < 3:
            break
        tip, pivot, _ = _least_squares(r[used], t[used], r[used].mean(axis=0))
        now = ((r @ tip + t - pivot) ** 2).sum(axis=1)
        again: NDArray[np.bool_] = now <= CHI2_3_99 / CHI2_3_MEDIAN * np.median(now[used]) + 1e-18
        if np.array_equal(again, used):
            break
        used = again
    if used.sum() < 3:
        raise ValueError(
            f"only {used.sum()} of {n} poses agree on a tip; expected at least 3. "
            "Did the tip stay in one dimple?"
        )
    return used


def _largest_turn_deg(r: Array) -> float:
    """The largest angle of rotation between any two of (n, 3, 3); the trace of R_i.T R_j holds it."""
    flat = r.reshape(len(r), 9)
    least = min(float((flat[i : i + 256] @ flat.T).min()) for i in range(0, len(flat), 256))
    return float(np.degrees(np.arccos(np.clip((least - 1) / 2, -1.0, 1.0))))
