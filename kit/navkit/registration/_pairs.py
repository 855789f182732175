"""What is wrong with paired points that do not fit: one bad pair, or a mistake made with all of them."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import RAS_M_LPS, check_poses, fit_rigid, kabsch, transform_points
from navkit.registration._points import anisotropic, check_pairs, precision
from navkit.registration._theory import check_covariances, motion_covariance, of_motion

Array = NDArray[np.float64]

UNITS = {1000.0: "metres", 10.0: "centimetres", 25.4: "inches"}
BY_COLUMNS = "read by rows and is written by columns: take np.reshape({0}, (3, -1)).T."
MUCH_BETTER = 1 / 3
"""A mistake is named when undoing it leaves less than this part of the misfit."""
MOST_ORDERS = 7
"""Up to so many pairs every order is tried."""


@dataclass(frozen=True)
class OutlierTest:
    """Each pair against the fit of all the others.

    Parameters
    ----------
    left_out_mm : (n,)
        How far pair k is off the fit that did not see it. NaN where the others lie on a line.
    expected_mm : (n,)
        The RMS to expect of that distance: the pair's own FLE and the TRE of the others there.
    p_value : (n,)
        The chance of so large an error with no pair bad: chi-square, 3 degrees of freedom, or, when the FLE
        is estimated from the others, F.
    p_rest : (n,)
        The chance of so large a misfit of the others; NaN when the FLE is not given. A small one says that
        leaving out pair k does not cure the rest.
    p_all : float
        The same for all pairs together.
    outlier : (n,) bool
        At most one pair: that whose leaving out cures the rest most, if its `p_value` is below the level
        divided by n.
    warnings : tuple of str
    """

    left_out_mm: Array
    expected_mm: Array
    p_value: Array
    p_rest: Array
    p_all: float
    outlier: NDArray[np.bool_]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A likely cause of a misfit, and the RMS distance in mm before and after it is undone."""

    cause: str
    before_mm: float
    after_mm: float


def find_outliers(
    p_from: ArrayLike, p_to: ArrayLike, fle_covariance: ArrayLike | None = None, *, level: float = 0.01
) -> OutlierTest:
    """Leave one out: is one of the pairs worse than the FLE explains?

    The residual of the full fit is a bad witness: the fit leans to the bad pair and the others look bad.
    Here each pair is predicted by the others, and the error compared with its covariance, own FLE plus TRE
    of the others. The pair with the smallest chance is the bad one, if there is just one. For more, take
    it out and call again.

    What it cannot tell: of three pairs, which one is bad (the sides of two triangles differ, `p_all` says
    whether by too much). Of four, often: then a warning names those that would explain the misfit as well.
    An error that all pairs share shifts or turns the fit and shows nowhere.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 3, not on a line
    fle_covariance : (3, 3) or (n, 3, 3) mm^2, positive definite, in the space of `p_to`
        Of the errors of both sets together; `isotropic_covariance` gives the one of an FLE in mm. Left out:
        equal in all directions and estimated from the other pairs, which with four or five tells little.
    level : chance of a false alarm when no pair is bad

    Raises
    ------
    ValueError
        If shapes disagree, the points lie on a line, or a variance is 0.

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [70, 0, 0], [0, 60, 0], [70, 50, 10], [30, 20, 50.0]])
    >>> q = p + [[0, 0.1, 0], [0, 0, 0.2], [4, 0, 0], [0.1, 0, 0], [0, -0.1, 0]]
    >>> test = find_outliers(p, q, np.eye(3) / 12)  # an FLE of 0.5 mm
    >>> test.outlier, test.left_out_mm.round(1)
    (array([False, False,  True, False, False]), array([1.2, 1.2, 3.9, 2.3, 0.8]))
    """
    from scipy.special import chdtrc, fdtrc

    p, q = check_pairs(p_from, p_to, 3)
    n = len(p)
    fit_rigid(p, q)  # refuses a line
    s = check_covariances(np.eye(3) if fle_covariance is None else fle_covariance, n)
    w = precision(s)
    left_out, expected, p_value, p_rest, misfit = np.full((5, n), np.nan)
    for k in range(n if n > 3 else 0):
        rest = np.arange(n) != k
        if _on_a_line(p[rest]):
            continue
        matrix, misfit[k] = _fitted(p[rest], q[rest], w[rest])
        freedom = 3 * (n - 1) - 6
        variance = misfit[k] / freedom if fle_covariance is None else 1.0
        there = transform_points(matrix, p)
        centre = there[rest].mean(axis=0)
        effect = of_motion(there[k] - centre)
        cov = s[k] + effect @ motion_covariance(there[rest] - centre, s[rest], w[rest]) @ effect.T
        off = there[k] - q[k]
        square = off @ np.linalg.solve(cov, off) / max(variance, np.finfo(float).tiny)
        left_out[k], expected[k] = np.linalg.norm(off), np.sqrt(variance * np.trace(cov))
        if fle_covariance is None:
            p_value[k] = fdtrc(3, freedom, square / 3)
        else:
            p_value[k], p_rest[k] = chdtrc(3, square), chdtrc(freedom, misfit[k])
    p_all = np.nan if fle_covariance is None else float(chdtrc(3 * n - 6, _fitted(p, q, w)[1]))
    outlier = np.zeros(n, dtype=bool)
    if not np.isnan(p_value).all():
        bad = np.nanargmin(misfit)  # the same as the least p_value, and no tie where that is 0
        outlier[bad] = p_value[bad] < level / n
    return OutlierTest(
        left_out, expected, p_value, p_rest, p_all, outlier, _doubts(p_value, p_rest, p_all, outlier, level)
    )


def diagnose_pairs(
    p_from: ArrayLike, p_to: ArrayLike, *, expected: ArrayLike | None = None
) -> tuple[Mistake, ...]:
    """Which mistakes would explain that paired points do not fit, the likeliest first; none if none would.

    Tried are: metres, centimetres or inches for millimetres, another scale, mirrored data, coordinates in
    columns read as rows, pairs in another order, one bad pair. Each is undone and fitted again; it is
    named when less than a third of the misfit is left.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 3, not on a line
    expected : (4, 4) ``to_M_from``, roughly
        A former registration, `fast_orientation`, or the identity if both sets should agree. Swapped sets and
        RAS for LPS are found with it only: a rotation absorbs them and the residual stays as small as ever.

    Notes
    -----
    Not found: a mirror when the points lie in a plane; an order that fits as well because the layout is
    symmetric; two mistakes at once. Above seven pairs, orders are sought by the points' distances.

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [70, 0, 0], [0, 60, 0], [70, 50, 10], [30, 20, 50.0]])
    >>> [found.cause for found in diagnose_pairs(p / 1000, p + [10, 0, 0])]
    ['p_from is in metres: multiply it by 1000.']
    >>> [found.cause for found in diagnose_pairs(p, p[[1, 0, 2, 3, 4]])]
    ['The pairs are in another order: take p_to[[1, 0, 2, 3, 4]].']
    """
    p, q = check_pairs(p_from, p_to, 3)
    before = fit_rigid(p, q).fre_rms_mm
    order = _best_order(p, q)
    tried = [
        *_other_scale(p, q),
        ("One set is mirrored: an axis has the wrong sign, or two are exchanged.", p * [-1, 1, 1], q),
        (f"p_from was {BY_COLUMNS.format('p_from')}", _by_columns(p), q),
        (f"p_to was {BY_COLUMNS.format('p_to')}", p, _by_columns(q)),
        (f"The pairs are in another order: take p_to[{order.tolist()}].", p, q[order]),
    ]
    test = find_outliers(p, q, level=0.001)
    for k in np.flatnonzero(test.outlier):
        cause = f"Pair {k} is off by {test.left_out_mm[k]:.1f} mm; the others fit."
        tried.append((cause, np.delete(p, k, axis=0), np.delete(q, k, axis=0)))
    found = [Mistake(cause, before, _fre(a, b)) for cause, a, b in tried]
    if expected is not None:
        found += _mistakes_of_space(p, q, check_poses(np.asarray(expected)[None], "expected")[0])
    floor = 1e-9 * float(np.ptp(q, axis=0).max())  # rounding is no misfit
    likely = [m for m in found if m.before_mm > floor and m.after_mm < MUCH_BETTER * m.before_mm]
    best = min((m.after_mm for m in likely), default=0.0)
    # Of those that leave about the least, a mistake with all points is likelier than one very bad pair.
    return tuple(sorted(likely, key=lambda m: m.after_mm if m.after_mm > 2 * best + floor else 0.0))


def _other_scale(p: Array, q: Array) -> list[tuple[str, Array, Array]]:
    ratio = float(np.sqrt((q - q.mean(axis=0)).var() / (p - p.mean(axis=0)).var()))
    for factor, unit in UNITS.items():
        if abs(ratio / factor - 1) < 0.1:
            return [(f"p_from is in {unit}: multiply it by {factor:g}.", factor * p, q)]
        if abs(ratio * factor - 1) < 0.1:
            return [(f"p_to is in {unit}: multiply it by {factor:g}.", p, factor * q)]
    scale = fit_rigid(p, q, scale=True).scale
    if abs(scale - 1) < 0.02:
        return []
    return [(f"p_from fits when multiplied by {scale:.4g}: the wrong spacing of an image?", scale * p, q)]


def _mistakes_of_space(p: Array, q: Array, to_M_from: Array) -> list[Mistake]:
    def apart(a: Array, b: Array) -> float:
        return float(np.sqrt(((transform_points(to_M_from, a) - b) ** 2).sum(axis=1).mean()))

    def flip(x: Array) -> Array:
        return transform_points(RAS_M_LPS, x)

    sign = "is in RAS and was taken for LPS (or the reverse): change the signs of x and y."
    tried = {
        "The sets are swapped: p_from and p_to are exchanged.": (q, p),
        f"p_from {sign}": (flip(p), q),
        f"p_to {sign}": (p, flip(q)),
    }
    return [Mistake(cause, apart(p, q), apart(a, b)) for cause, (a, b) in tried.items()]


def _best_order(p: Array, q: Array) -> NDArray[np.intp]:
    """The order of q that fits p best: of all, or for many points the one that their distances tell."""
    if len(p) <= MOST_ORDERS:
        orders = np.array(list(permutations(range(len(p)))))
        found, _, _ = kabsch(p, q[orders], np.ones(len(p)))
        best: int = ((transform_points(found, p) - q[orders]) ** 2).sum(axis=(-2, -1)).argmin()
        return np.asarray(orders[best])
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    return np.asarray(
        linear_sum_assignment(cdist(np.sort(cdist(p, p)), np.sort(cdist(q, q)), "sqeuclidean"))[1]
    )


def _by_columns(x: Array) -> Array:
    return x.reshape(3, -1).T


def _fre(p: Array, q: Array) -> float:
    found, _, _ = kabsch(p, q, np.ones(len(p)))
    return float(np.sqrt(((transform_points(found, p) - q) ** 2).sum(axis=1).mean()))


def _fitted(p: Array, q: Array, w: Array) -> tuple[Array, float]:
    """The fit, and the sum of the squared Mahalanobis distances that are left."""
    matrix = anisotropic(p, q, w)
    off = transform_points(matrix, p) - q
    return matrix, float(np.einsum("ni,nij,nj->", off, w, off))


def _on_a_line(p: Array) -> bool:
    spread = np.linalg.svd(p - p.mean(axis=0), compute_uv=False)
    return bool(spread[1] <= 0.01 * spread[0])


def _doubts(
    p_value: Array, p_rest: Array, p_all: float, outlier: NDArray[np.bool_], level: float
) -> tuple[str, ...]:
    n = len(p_value)
    warnings = []
    if n == 3:
        told = (
            f", only that they fit {'badly' if p_all < level else 'as they should'}" if p_all == p_all else ""
        )
        warnings.append(f"three pairs cannot tell which of them is bad{told}.")
    elif np.isnan(p_value).any():
        alone = np.flatnonzero(np.isnan(p_value)).tolist()
        warnings.append(f"pairs {alone} cannot be checked: the others lie on a line.")
    if outlier.any():
        bad = int(np.flatnonzero(outlier)[0])
        if p_rest[bad] < level:
            warnings.append(
                f"without pair {bad} the others do not fit either: a second bad pair, an FLE larger than "
                "given, or a mistake with all of them (diagnose_pairs)."
            )
        also = [k for k in range(n) if k != bad and p_rest[k] > level]
        if also:
            warnings.append(f"leaving out pair {also} instead of {bad} explains the misfit as well.")
    return tuple(warnings)
