"""Pivot calibration: the tip of a pointer from poses of its sensor while the tip rests in a dimple."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.calibration._pivot_sphere import WORTH_SAYING_MM, contradiction, fit_sphere
from navkit.geometry import check_poses

Array = NDArray[np.float64]

LEAST_TURN_DEG = 1.0
"""A direction of the tool that turned less than this (RMS) leaves the tip unknown along it."""
ENOUGH_TURN_DEG = 5.0
"""Below this the tip is found, and not to be trusted: the residual does not show it."""
MOST_ROUNDS = 30
CHI2_3_MEDIAN, CHI2_3_999 = 2.366, 16.266
"""Median and 99.9th percentile of the chi-square distribution with three degrees of freedom."""


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
    method: Literal["algebraic", "all-pairs", "sphere", "ransac", "autoregressive"] = "algebraic",
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
    method : "algebraic", "all-pairs", "sphere", "ransac" or "autoregressive"
        "algebraic" uses every pose. "all-pairs" is its other name, for who looks for the two-step method:
        the tip from ``(R_i - R_j) tip_s = t_j - t_i`` of all pairs, then the mean of the carried tips as
        pivot. The sums over all pairs are n times the sums over the poses about their mean, so the estimate
        is the same; programs that pair only neighbouring poses get a noisier one. "sphere" fits a sphere to
        the sensor's positions (least squares of distances) and uses the angles only to carry its centre
        into the tool: weaker, and here to be compared. "ransac" is algebraic on the poses that agree: of
        `trials` triples of poses the one with the least median residual is kept [2]_, then every pose
        within 99.9 % of the noise that the median implies is used, until the choice no longer changes. It
        bears up to half of the poses wrong. "autoregressive" is for poses in the order of their recording
        whose errors last for several samples (a tip that rolls in its dimple, a filter in the tracker):
        generalised least squares with first-order autoregressive errors [3]_. Its covariance counts
        neighbours for what they are worth; that of the others is then far too small.
    trials : how many triples "ransac" tries
    rng : numpy Generator, needed by "ransac"

    Returns
    -------
    PivotResult
        `rms_mm` is the RMS of 3-D distances, one for each pose, not over the 3 n equations. It shows the
        tracker's noise, not the error of the tip: read `warnings` and `covariance`. With 8 poses or more,
        `warnings` tells if the sphere and the angles contradict each other, whatever the method.

    Raises
    ------
    ValueError
        If there are fewer than 3 poses (4 for "sphere"), a pose is not rigid, the method is unknown,
        some direction of the tool did not turn (no rotation, or rotation about one axis only), or, for
        "sphere", the positions lie in one plane.

    References
    ----------
    .. [1] Yaniv, Which pivot calibration?, Proc. SPIE 9415, 2015, doi:10.1117/12.2081348.
    .. [2] Rousseeuw, Least median of squares regression, J. Am. Stat. Assoc. 79(388), 1984,
       doi:10.1080/01621459.1984.10477105.
    .. [3] Prais, Winsten, Trend estimators and serial correlation, Cowles Commission Paper 383, 1954.

    Examples
    --------
    >>> from navkit.geometry import pose_from
    >>> from scipy.spatial.transform import Rotation
    >>> turns = Rotation.from_euler("xyz", [[0, 0, 0], [30, 0, 0], [0, 30, 0], [-20, 10, 40]], degrees=True)
    >>> poses = pose_from(turns, [100, 0, 50] - turns.apply([0, 0, 150]))
    >>> calibrate_pivot(poses).tip_s.round(6) + 0.0
    array([  0.,   0., 150.])
    """
    if method not in (known := ("algebraic", "all-pairs", "sphere", "ransac", "autoregressive")):
        raise ValueError(f"method is {method!r}; expected one of {', '.join(known)}.")
    if method == "ransac" and rng is None:
        raise ValueError("rng is None; expected a numpy Generator: 'ransac' draws poses at random.")
    m = check_poses(pr_M_s, "pr_M_s", at_least=4 if method == "sphere" else 3)
    # Poses last: numpy is quick along a long axis. Row 3 j + k is coordinate k of the tool's axis j; the last
    # three rows are the position.
    x = m[:, :3].transpose(2, 1, 0).reshape(12, -1)
    if method == "sphere":
        return _sphere(x)
    everyone = np.ones(len(m), dtype=bool)
    if method == "autoregressive":
        return _autoregressive(x, _algebraic(x, everyone))
    return _algebraic(x, everyone if rng is None or method != "ransac" else _agreeing(x, trials, rng))


def _matrix(column: Array) -> Array:
    """The 3 x 3 rotation in a column of poses."""
    return column[:9].reshape(3, 3).T


def _moments(centred: Array) -> Array:
    """Normal equations for the tip, (3, 4), from poses about their mean: the pivot drops out."""
    a = centred.reshape(4, -1)  # the tool's three axes and the position
    return a[:3] @ a.T


def _solve(centred: Array, mean: Array) -> tuple[Array, Array, float]:
    """Tip, inverse of its normal matrix, squared sine of the least turn; refuses a tool that is still."""
    n = centred.shape[1]
    moments = _moments(centred)
    turns, directions = np.linalg.eigh(moments[:, :3] / n)
    least_deg = _turn_deg(turns[0])
    if least_deg < LEAST_TURN_DEG:
        a, b, c = directions[:, 0]
        raise ValueError(
            f"the {n} poses turn by up to {_largest_turn_deg(centred, mean):.2f} deg, but the tool's "
            f"direction ({a:.2f}, {b:.2f}, {c:.2f}) by only {least_deg:.2f} deg RMS; expected at least "
            f"{LEAST_TURN_DEG:.0f} deg. The tip is not determined along it. Was the tool still, or "
            "turned about one axis?"
        )
    inverse = (directions / turns) @ directions.T / n
    return -inverse @ moments[:, 3], inverse, float(turns[0])


def _turn_deg(squared_sine: float) -> float:
    return math.degrees(math.asin(math.sqrt(min(max(squared_sine, 0.0), 1.0))))


def _squared(centred: Array, tip: Array) -> Array:
    """Squared distance of each pose's tip from the mean tip, which is the pivot."""
    error = (tip @ centred[:9].reshape(3, -1)).reshape(3, -1) + centred[9:]
    squared: Array = np.einsum("kn,kn->n", error, error)
    return squared


def _algebraic(x: Array, used: NDArray[np.bool_]) -> PivotResult:
    """Least squares on the poses that are `used`; the residual of all."""
    n, of = int(used.sum()), len(used)
    mean = (x if n == of else x[:, used]).mean(axis=1)
    every = x - mean[:, None]
    centred = every if n == of else every[:, used]
    tip, inverse, least_turn = _solve(centred, mean)
    squared = _squared(every, tip)
    total = float(squared @ used)
    variance = total / (3 * n - 6)
    covariance = variance * inverse
    warnings = []
    if (least_turn_deg := _turn_deg(least_turn)) < ENOUGH_TURN_DEG:
        warnings.append(
            f"one direction of the tool turned by only {least_turn_deg:.1f} deg RMS (expected at least "
            f"{ENOUGH_TURN_DEG:.0f} deg): the tip may be {np.sqrt(np.trace(covariance)):.2f} mm off, "
            f"and the residual of {np.sqrt(total / n):.2f} mm does not show it. Swivel wider."
        )
    if n < of:
        warnings.append(f"{of - n} of {of} poses do not agree with the others and were left out.")
    if doubt := contradiction(centred[9:], _matrix(mean), tip, covariance, variance):
        warnings.append(doubt)
    return PivotResult(
        tip_s=tip,
        pivot_pr=_matrix(mean) @ tip + mean[9:],
        rms_mm=math.sqrt(total / n),
        residual_mm=np.sqrt(squared),
        inliers=used,
        # [R_i, -1] has the singular values sqrt(n (1 +- kept)), kept = sqrt(1 - least_turn).
        condition=(1 + math.sqrt(max(1 - least_turn, 0.0))) / math.sqrt(least_turn),
        covariance=covariance,
        spread_deg=_largest_turn_deg(centred, mean),
        warnings=tuple(warnings),
    )


def _autoregressive(x: Array, plain: PivotResult) -> PivotResult:
    """The result improved for errors of which each is a share of the one before it, plus news."""
    n = x.shape[1]
    a = np.concatenate([x[:9].reshape(3, 3, n).T, np.broadcast_to(-np.eye(3), (n, 3, 3))], axis=2)
    t, share = x[9:].T, 0.0
    for _ in range(MOST_ROUNDS):
        first = math.sqrt(1 - share**2)
        rows = np.concatenate([first * a[:1], a[1:] - share * a[:-1]]).reshape(-1, 6)
        right = np.concatenate([first * t[:1], t[1:] - share * t[:-1]]).reshape(-1)
        solution, news = np.linalg.lstsq(rows, -right, rcond=None)[:2]
        error = a @ solution + t
        before, share = share, min(max(float(np.sum(error[1:] * error[:-1]) / np.sum(error**2)), 0.0), 0.98)
        if abs(share - before) < 1e-4:
            break
    covariance = (
        news[0] / (3 * n - 6) * np.linalg.inv(rows.T @ rows)[:3, :3] if news.size else plain.covariance
    )
    mean = x.mean(axis=1)
    variance = float(np.sum(error**2)) / (3 * n - 6)
    doubt = contradiction(x[9:] - mean[9:, None], _matrix(mean), solution[:3], covariance, variance)
    kept = tuple(w for w in plain.warnings if not w.startswith("angles and positions"))
    return replace(
        plain,
        tip_s=solution[:3],
        pivot_pr=solution[3:],
        rms_mm=float(np.sqrt(np.mean(np.sum(error**2, axis=1)))),
        residual_mm=np.linalg.norm(error, axis=1),
        covariance=covariance,
        warnings=kept if doubt is None else (*kept, doubt),
    )


def _sphere(x: Array) -> PivotResult:
    """A sphere through the sensor's positions, its centre carried into the tool by every pose."""
    n, mean = x.shape[1], x.mean(axis=1)
    centred, r_mean = x - mean[:, None], _matrix(mean)
    by_angles, inverse, _ = _solve(centred, mean)  # needed only to judge the sphere
    variance = float(_squared(centred, by_angles).sum()) / (3 * n - 6)
    doubt = contradiction(centred[9:], r_mean, by_angles, variance * inverse, variance)
    sphere = fit_sphere(centred[9:])
    tips = np.einsum("jkn,kn->jn", x[:9].reshape(3, 3, n), sphere.centre[:, None] - centred[9:])
    tip = tips.mean(axis=1)
    apart = tips - tip[:, None]
    squared = np.einsum("kn,kn->n", apart, apart)
    covariance = r_mean.T @ sphere.covariance @ r_mean + np.einsum("kn,ln->kl", apart, apart) / (n * (n - 1))
    error_mm, width_mm = np.sqrt(np.trace(covariance)), np.ptp(centred[9:], axis=1).max()
    cap = f"the sensor moved over {width_mm:.0f} mm of a sphere of radius {sphere.radius_mm:.0f} mm"
    warnings = []
    if sphere.too_flat:
        warnings.append(
            f"{cap} and keeps within {sphere.radial_mm:.2f} mm RMS of it: too small a cap to say where the "
            f"centre is, or how far off ({error_mm:.0f} mm is a guess). Swivel wider."
        )
    elif error_mm > WORTH_SAYING_MM:
        warnings.append(f"{cap}: its centre may be {error_mm:.1f} mm off.")
    if doubt:
        warnings.append(doubt)
    return PivotResult(
        tip_s=tip,
        pivot_pr=sphere.centre + mean[9:],
        rms_mm=float(np.sqrt(squared.mean())),
        residual_mm=np.sqrt(squared),
        inliers=np.ones(n, dtype=bool),
        condition=sphere.condition,
        covariance=covariance,
        spread_deg=_largest_turn_deg(centred, mean),
        warnings=tuple(warnings),
    )


def _agreeing(x: Array, trials: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The poses that agree with most of the others (least median of squares, then re-selected)."""
    n = x.shape[1]
    i, j, k = rng.integers([n, n - 1, n - 2], size=(trials, 3)).T
    j += j >= i  # the j-th of those that are left
    k += k >= np.minimum(i, j)
    k += k >= np.maximum(i, j)
    three = x[:, np.stack([i, j, k], axis=1)]
    mean = three.mean(axis=2)
    off_mean = (three - mean[:, :, None]).transpose(1, 0, 2)
    a, b = off_mean[:, :9].reshape(trials, 3, 9), off_mean[:, 9:].reshape(trials, 9, 1)
    normal = a @ np.swapaxes(a, 1, 2)
    good = np.linalg.eigvalsh(normal)[:, 0] > 3 * np.radians(LEAST_TURN_DEG) ** 2
    if not good.any():
        _solve(x - x.mean(axis=1)[:, None], x.mean(axis=1))
        good[:] = True
        normal = normal + 1e-9 * np.eye(3)
    tips = np.linalg.solve(normal[good], -(a @ b)[good])[..., 0]
    pivots = np.einsum("tj,jkt->tk", tips, mean[:9, good].reshape(3, 3, -1)) + mean[9:, good].T
    error = (tips[:, None] @ x[:9].reshape(3, -1)).reshape(-1, 3, n)
    error += x[9:]
    error -= pivots[:, :, None]
    squared = np.einsum("tkn,tkn->tn", error, error)
    median = np.partition(squared, n // 2, axis=1)[:, n // 2]
    best = int(np.argmin(median))
    variance = median[best] / CHI2_3_MEDIAN * (1 + 5 / max(n - 3, 1)) ** 2
    used: NDArray[np.bool_] = squared[best] <= CHI2_3_999 * variance + 1e-18
    for _ in range(10):
        if used.sum() < 3:
            break
        centred = x - x[:, used].mean(axis=1)[:, None]
        moments = _moments(centred[:, used])
        now = _squared(centred, -np.linalg.pinv(moments[:, :3], hermitian=True) @ moments[:, 3])
        again: NDArray[np.bool_] = now <= CHI2_3_999 / CHI2_3_MEDIAN * np.median(now[used]) + 1e-18
        if np.array_equal(again, used):
            break
        used = again
    if used.sum() < 3:
        raise ValueError(
            f"only {used.sum()} of {n} poses agree on a tip; expected at least 3. "
            "Did the tip stay in one dimple?"
        )
    return used


def _largest_turn_deg(centred: Array, mean: Array) -> float:
    """The largest angle of rotation between any two poses; the trace of R_i.T R_j holds it.

    It grows with the distance between the matrices as points of nine dimensions. By the triangle inequality
    the farthest pair lies so near the rim of the cloud that most poses need not be tried.
    """
    flat = centred[:9]
    radius = np.sqrt(np.einsum("kn,kn->n", flat, flat))
    far = radius.argmax()
    here = flat[:, far]
    there = flat[:, (here @ flat).argmin()]
    (on_rim,) = (radius >= math.dist(here, there) - radius[far] - 1e-9).nonzero()
    rim = flat[:, on_rim] + mean[:9, None]
    turned = rim.T.copy()
    least = min(float((turned[i : i + 128] @ rim[:, i:]).min()) for i in range(0, len(on_rim), 128))
    return math.degrees(math.acos(min(max((least - 1) / 2, -1.0), 1.0)))
