"""The bent field of an electromagnetic tracker, straightened by Bernstein polynomials on a box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from scipy.special import comb

from navkit.geometry import check_points, check_poses, pose_from

Array = NDArray[np.float64]

MARGIN = 0.01
"""How much wider than the data the box is on every side, as a share of its width."""
POINTS_PER_PARAMETER = 3
"""With fewer points for each parameter of an axis a fit follows their noise."""


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
    rms_mm : RMS 3-D distance left at the fitted points. It always falls with the degree, so it does not
        tell which degree is right: see `choose_degree`
    parameters : how many numbers an axis of the correction has
    warnings : tuple of str
        Why not to trust it, a sentence each; empty when nothing speaks against it.

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
    warnings: tuple[str, ...] = ()

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
            If shapes differ, the degree is below 1, the points span no box, or a ridge is missing where
            there are fewer points than parameters.

        Examples
        --------
        >>> p = np.random.default_rng(1).uniform(-100, 100, (60, 3))
        >>> field = FieldDistortion.fit(p, p + 0.01 * p[:, [1, 0, 2]], degree=1)
        >>> field.correct([[50, 10, 0]]).round(6), field.warnings
        (array([[50.1, 10.5,  0. ]]), ())
        """
        p, q = _pairs(measured, truth)
        low, high, coefficients, warnings = _fit(p, q - p, degree, ridge)
        left = q - p - _bernstein(p, low, high, degree) @ coefficients
        return cls(low, high, degree, coefficients, _rms(left), len(coefficients), warnings)

    def inside(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points (n, 3) lie in the box."""
        return _inside(check_points(points, "points"), self.low, self.high)

    def correct(self, points: ArrayLike) -> Array:
        """The true positions (n, 3) of measured ones, mm.

        Raises
        ------
        ValueError
            If a point lies outside the box: there the polynomials diverge, and nothing was measured.
        """
        p = check_points(points, "points")
        return p + _value(p, self.low, self.high, self.degree, self.coefficients)


@dataclass(frozen=True)
class OrientationDistortion:
    """A correction of orientations that holds inside a box and nowhere else.

    ``R_true = exp(sum c_ijk B_i(u) B_j(v) B_k(w)) @ R``: the rotation vector of the correction is made of
    the same polynomials of the measured position as in `FieldDistortion`. It stands on the left, in the
    tracker's space: the field at a place is turned whichever way the sensor points. On the right, in
    the sensor's space, the same field would need another correction for every orientation.

    Parameters
    ----------
    coefficients : ((degree + 1)**3, 3) rad
    rms_rad : RMS angle that is left at the poses it was fitted to
    low, high, degree, parameters, warnings : as in `FieldDistortion`
    """

    low: Array
    high: Array
    degree: int
    coefficients: Array
    rms_rad: float
    parameters: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, points: ArrayLike, measured: ArrayLike, truth: ArrayLike, *, degree: int, ridge: float = 0.0
    ) -> "OrientationDistortion":
        """Fit a correction to orientations that were measured and are known.

        It refuses what `FieldDistortion.fit` refuses, and matrices that are no rotations.

        Parameters
        ----------
        points : (n, 3) mm, the positions as they were measured, not corrected
        measured, truth : (n, 3, 3) rotations, from the sensor's space to the tracker's
        degree, ridge : as in `FieldDistortion.fit`

        Examples
        --------
        >>> rng = np.random.default_rng(1)
        >>> p, read = rng.uniform(-100, 100, (60, 3)), Rotation.random(60, rng=rng)
        >>> true = Rotation.from_rotvec(0.001 * p) * read
        >>> field = OrientationDistortion.fit(p, read.as_matrix(), true.as_matrix(), degree=1)
        >>> Rotation.from_matrix(field.correct([[20, 0, 50]], [np.eye(3)])).as_rotvec().round(6)
        array([[0.02, 0.  , 0.05]])
        """
        p = check_points(points, "points", at_least=4)
        r, s = _rotations(measured, "measured", len(p)), _rotations(truth, "truth", len(p))
        correction = s * r.inv()
        low, high, coefficients, warnings = _fit(p, correction.as_rotvec(), degree, ridge)
        turn = Rotation.from_rotvec(_bernstein(p, low, high, degree) @ coefficients)
        rms = _rms((correction * turn.inv()).as_rotvec())
        return cls(low, high, degree, coefficients, rms, len(coefficients), warnings)

    def inside(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points (n, 3) lie in the box."""
        return _inside(check_points(points, "points"), self.low, self.high)

    def correct(self, points: ArrayLike, rotations: ArrayLike) -> Array:
        """The true orientations (n, 3, 3) of sensors measured at points (n, 3) mm with these rotations.

        It refuses points outside the box, as `FieldDistortion.correct`, and matrices that are no rotations.
        """
        p = check_points(points, "points")
        turn = Rotation.from_rotvec(_value(p, self.low, self.high, self.degree, self.coefficients))
        return np.asarray((turn * _rotations(rotations, "rotations", len(p))).as_matrix(), dtype=float)


@dataclass(frozen=True)
class DegreeChoice:
    """Which degree generalises.

    Parameters
    ----------
    degree : the one with the least error at points left out; 0 if no correction is better than any
    left_out_rms_mm : degree -> RMS 3-D error at points left out of the fit; 0 is no correction at all
    warnings : tuple of str
        Which degrees do harm, which could not be tried, and whether a higher one may be better.
    """

    degree: int
    left_out_rms_mm: dict[int, float]
    warnings: tuple[str, ...] = ()


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
    outside the box of the others are passed over, for all degrees alike.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(-100, 100, (300, 3))
    >>> choice = choose_degree(p, p + rng.normal(size=p.shape), rng=rng, degrees=(1, 2))
    >>> choice.degree, choice.warnings
    (0, ('degrees [1, 2] fit noise: points left out are worse than without a correction.',))
    """
    p, q = _pairs(measured, truth)
    tried = [d for d in degrees if (d + 1) ** 3 <= len(p) - -(-len(p) // folds) or ridge > 0]
    group = rng.permutation(np.arange(len(p)) % folds)
    left: dict[int, list[Array]] = {degree: [] for degree in (0, *tried)}
    for k in range(folds):
        kept = group != k
        test = ~kept & _inside(p, *_box(p[kept]))
        left[0].append(q[test] - p[test])
        for degree in tried:
            fitted = FieldDistortion.fit(p[kept], q[kept], degree=degree, ridge=ridge)
            left[degree].append(q[test] - fitted.correct(p[test]))
    error = {degree: _rms(np.concatenate(parts)) for degree, parts in left.items()}
    best = min(error, key=lambda degree: error[degree])
    warnings = []
    if harmful := [degree for degree in tried if error[degree] > error[0]]:
        warnings.append(f"degrees {harmful} fit noise: points left out are worse than without a correction.")
    if skipped := [degree for degree in degrees if degree not in tried]:
        warnings.append(f"degrees {skipped} were not tried: more parameters than points.")
    if best == max(tried, default=0) > 0:
        warnings.append(f"degree {best} is the highest that was tried; a higher one may be better.")
    return DegreeChoice(best, error, tuple(warnings))


def _pairs(measured: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    p, q = check_points(measured, "measured", at_least=4), check_points(truth, "truth", at_least=4)
    if p.shape != q.shape:
        raise ValueError(f"measured has {len(p)} points and truth {len(q)}; expected pairs.")
    return p, q


def _rotations(matrices: ArrayLike, name: str, n: int) -> Rotation:
    m = np.asarray(matrices, dtype=float)
    if m.shape != (n, 3, 3):
        raise ValueError(f"{name} has shape {m.shape}; expected ({n}, 3, 3), one rotation for each point.")
    return Rotation.from_matrix(check_poses(pose_from(m, np.zeros(3)), name)[:, :3, :3])


def _fit(p: Array, value: Array, degree: int, ridge: float) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """The box of points (n, 3), the coefficients of values (n, 3) on it, and what speaks against them."""
    if degree < 1 or ridge < 0:
        raise ValueError(f"degree is {degree} and ridge {ridge}; expected at least 1 and 0.")
    n, parameters = len(p), (degree + 1) ** 3
    if n < parameters and ridge == 0:
        raise ValueError(
            f"degree {degree} has {parameters} parameters an axis but there are {n} points; expected a ridge."
        )
    low, high = _box(p)
    basis = _bernstein(p, low, high, degree)
    pull = np.sqrt(ridge * np.mean(basis**2) * n) * np.eye(parameters)  # without a ridge 0 = 0: no effect
    rows, right = np.vstack([basis, pull]), np.vstack([value, np.zeros((parameters, 3))])
    coefficients, _, rank, _ = np.linalg.lstsq(rows, right, rcond=None)
    warnings = []
    if n < POINTS_PER_PARAMETER * parameters:
        warnings.append(f"{parameters} parameters an axis for {n} points fit their noise; see choose_degree.")
    if rank < parameters:
        warnings.append(f"only {rank} of {parameters} parameters are determined: too few planes of points?")
    return low, high, np.asarray(coefficients, dtype=float), tuple(warnings)


def _box(p: Array) -> tuple[Array, Array]:
    width = np.ptp(p, axis=0)
    if width.min() <= 0:
        raise ValueError(f"the points span {width.round(3)} mm; expected a box. Do they lie in one plane?")
    return p.min(axis=0) - MARGIN * width, p.max(axis=0) + MARGIN * width


def _inside(p: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    return np.asarray(((p >= low) & (p <= high)).all(axis=1), dtype=bool)


def _value(p: Array, low: Array, high: Array, degree: int, coefficients: Array) -> Array:
    """The polynomials (n, 3) at points in the box; a point outside is refused."""
    outside = np.flatnonzero(~_inside(p, low, high))
    if outside.size:
        k = int(outside[0])
        raise ValueError(
            f"points[{k}] = {np.round(p[k], 1)} mm lies outside the calibrated box, {np.round(low, 1)} to "
            f"{np.round(high, 1)} mm ({outside.size} of {len(p)} do). The correction is not known there."
        )
    return np.asarray(_bernstein(p, low, high, degree) @ coefficients, dtype=float)


def _bernstein(p: Array, low: Array, high: Array, degree: int) -> Array:
    """The products of the three polynomials at each point, (n, (degree + 1)**3)."""
    u = ((p - low) / (high - low))[:, :, None]
    k = np.arange(degree + 1)
    b = comb(degree, k) * u**k * (1 - u) ** (degree - k)
    return np.asarray(np.einsum("ni,nj,nk->nijk", b[:, 0], b[:, 1], b[:, 2]).reshape(len(p), -1))


def _rms(left: Array) -> float:
    return float(np.sqrt(np.mean(np.sum(left**2, axis=1))))
