"""The bent field of an electromagnetic tracker, straightened by Bernstein polynomials on a box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from navkit.geometry import check_points

Array = NDArray[np.float64]

MARGIN = 0.01
"""How much wider than the data the box is on every side, as a share of its width."""


@dataclass(frozen=True)
class FieldDistortion:
    """A correction of positions that holds inside a box and nowhere else.

    ``p_true = p + sum c_ijk B_i(u) B_j(v) B_k(w)`` with u, v, w the position in the box, 0 to 1, and B
    the Bernstein polynomials of one degree [1]_.

    Parameters
    ----------
    low, high : (3,) mm, the corners of the box
    degree : of the polynomials along each axis
    coefficients : ((degree + 1)**3, 3) mm
    rms_mm : RMS 3-D distance that is left at the points it was fitted to; it always falls with the
        degree, so it does not tell which degree is right: see `choose_degree`
    parameters : how many numbers an axis of the correction has; more than a third of the points is many

    References
    ----------
    .. [1] Franz et al., Electromagnetic tracking in medicine: a review, IEEE Trans. Med. Imaging 33(8),
       2014, doi:10.1109/TMI.2014.2321777.
    """

    low: Array
    high: Array
    degree: int
    coefficients: Array
    rms_mm: float
    parameters: int

    @classmethod
    def fit(
        cls, measured: ArrayLike, truth: ArrayLike, *, degree: int, ridge: float = 0.0
    ) -> "FieldDistortion":
        """Fit a correction to positions that were measured and are known.

        Parameters
        ----------
        measured, truth : (n, 3) mm, row i of one belonging to row i of the other, in the same space
        degree : 1 or more; has ``(degree + 1)**3`` parameters an axis
        ridge : pulls the correction towards zero; 0 is least squares. In units of the mean square of
            the polynomials, so that 1e-3 is little for any number of points

        Raises
        ------
        ValueError
            If shapes differ, the degree is below 1, the points do not span a box, or there are fewer
            points than parameters and no ridge.
        """
        p = check_points(measured, "measured", at_least=4)
        q = check_points(truth, "truth", at_least=4)
        if p.shape != q.shape:
            raise ValueError(f"measured has {len(p)} points and truth {len(q)}; expected pairs.")
        if degree < 1 or ridge < 0:
            raise ValueError(f"degree is {degree} and ridge {ridge}; expected at least 1 and 0.")
        parameters = (degree + 1) ** 3
        if len(p) < parameters and ridge == 0:
            raise ValueError(
                f"degree {degree} has {parameters} parameters an axis but there are {len(p)} points; "
                "expected more points, a lower degree, or a ridge."
            )
        width = np.ptp(p, axis=0)
        if width.min() <= 0:
            raise ValueError(
                f"the points span {width[0]:.3g} x {width[1]:.3g} x {width[2]:.3g} mm; expected a box. "
                "Do they lie in one plane?"
            )
        low, high = p.min(axis=0) - MARGIN * width, p.max(axis=0) + MARGIN * width
        basis = _bernstein(p, low, high, degree)
        weight = np.sqrt(ridge * np.mean(basis**2) * len(p))
        rows = np.vstack([basis, weight * np.eye(parameters)]) if ridge > 0 else basis
        right = np.vstack([q - p, np.zeros((parameters, 3))]) if ridge > 0 else q - p
        coefficients = np.asarray(np.linalg.lstsq(rows, right, rcond=None)[0], dtype=float)
        left = q - p - basis @ coefficients
        rms = float(np.sqrt(np.mean(np.sum(left**2, axis=1))))
        return cls(low, high, degree, coefficients, rms, parameters)

    def inside(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points (n, 3) lie in the box."""
        p = check_points(points, "points")
        return np.asarray(((p >= self.low) & (p <= self.high)).all(axis=1), dtype=bool)

    def correct(self, points: ArrayLike) -> Array:
        """The true positions (n, 3) of measured ones, mm.

        Raises
        ------
        ValueError
            If a point lies outside the box: there the polynomials diverge, and nothing was measured.
        """
        p = check_points(points, "points")
        outside = np.flatnonzero(~self.inside(p))
        if outside.size:
            k = int(outside[0])
            lo, hi = np.round(self.low, 1), np.round(self.high, 1)
            raise ValueError(
                f"points[{k}] = {np.round(p[k], 1)} mm lies outside the calibrated box, {lo} to {hi} mm "
                f"({outside.size} of {len(p)} do). The correction is not known there."
            )
        corrected: Array = p + _bernstein(p, self.low, self.high, self.degree) @ self.coefficients
        return corrected


@dataclass(frozen=True)
class DegreeChoice:
    """Which degree generalises.

    Parameters
    ----------
    degree : the one with the least error on points that were left out; 0 if no correction is better
        than each of them
    left_out_rms_mm : degree -> RMS 3-D error at points left out of the fit; 0 is no correction at all
    """

    degree: int
    left_out_rms_mm: dict[int, float]


def choose_degree(
    measured: ArrayLike,
    truth: ArrayLike,
    *,
    rng: np.random.Generator,
    degrees: Sequence[int] = (1, 2, 3, 4, 5),
    ridge: float = 0.0,
    folds: int = 5,
) -> DegreeChoice:
    """Choose the degree of a `FieldDistortion` by cross-validation.

    The points are dealt into `folds` groups; each group is corrected by what was fitted to the others. Points
    outside the box of the others are passed over, for all degrees alike. A degree with more parameters than
    points is left out.
    """
    p, q = check_points(measured, "measured", at_least=4), check_points(truth, "truth", at_least=4)
    group = rng.permutation(np.arange(len(p)) % folds)
    squares: dict[int, list[Array]] = {0: []}
    for k in range(folds):
        kept = group != k
        for degree in degrees:
            if (degree + 1) ** 3 > kept.sum() and ridge == 0:
                continue
            fitted = FieldDistortion.fit(p[kept], q[kept], degree=degree, ridge=ridge)
            test = ~kept & fitted.inside(p)
            if degree == degrees[0]:
                squares[0].append(np.sum((q - p)[test] ** 2, axis=1))
            squares.setdefault(degree, []).append(np.sum((q[test] - fitted.correct(p[test])) ** 2, axis=1))
    error = {
        degree: float(np.sqrt(np.mean(np.concatenate(many)))) for degree, many in squares.items() if many
    }
    return DegreeChoice(min(error, key=lambda degree: error[degree]), error)


def _bernstein(p: Array, low: Array, high: Array, degree: int) -> Array:
    """The products of the three polynomials at each point, (n, (degree + 1)**3)."""
    u = ((p - low) / (high - low))[:, :, None]
    k = np.arange(degree + 1)
    b = comb(degree, k) * u**k * (1 - u) ** (degree - k)
    products: Array = np.einsum("ni,nj,nk->nijk", b[:, 0], b[:, 1], b[:, 2]).reshape(len(p), -1)
    return products
