"""How wrong one may be at a target: simulated, at worst, with one more fiducial, by which chance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, kabsch, transform_points
from navkit.registration._points import anisotropic
from navkit.registration._theory import (
    check_covariances,
    check_fiducials,
    check_weights,
    mean_square,
    motion_covariance,
    tre_covariance,
)

Array = NDArray[np.float64]

TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class SimulatedErrors:
    """Many registrations of the same fiducials, each with errors of its own.

    Parameters
    ----------
    matrix : (trials, 4, 4) what each registration found; the identity is true
    fre : (trials, n, 3) mm, what is left at each fiducial: where it is mapped to minus where it was located
    tre : (trials, k, 3) mm, the error at each target
    fre_rms_mm : (trials,) the FRE a program shows, RMS over the fiducials
    tre_mm : (trials, k) the length of `tre`, which no program can show
    """

    matrix: Array
    fre: Array
    tre: Array

    @property
    def fre_rms_mm(self) -> Array:
        rms: Array = np.sqrt((self.fre**2).sum(axis=-1).mean(axis=-1))
        return rms

    @property
    def tre_mm(self) -> Array:
        length: Array = np.linalg.norm(self.tre, axis=-1)
        return length


@dataclass(frozen=True)
class WorstTarget:
    """The point of a region with the largest RMS TRE: its row, place, RMS TRE and covariance (3, 3) mm^2."""

    index: int
    target: Array
    tre_rms_mm: float
    covariance: Array


@dataclass(frozen=True)
class NextFiducial:
    """Where one more fiducial helps most.

    Parameters
    ----------
    index : row of the best candidate
    place : (3,) mm, that candidate
    tre_mm : (m,) the RMS TRE that each candidate would leave, over the targets or at the worst of them
    now_mm : the same without any
    """

    index: int
    place: Array
    tre_mm: Array
    now_mm: float


@dataclass(frozen=True)
class Ellipsoid:
    """A region of confidence about its centre: half lengths (..., 3) mm, falling, and axes (..., 3, 3).

    Row k of `axes` is the direction of half length k.
    """

    half_lengths_mm: Array
    axes: Array


def simulate_tre(
    fiducials: ArrayLike,
    targets: ArrayLike,
    fle_covariance: ArrayLike,
    *,
    rng: np.random.Generator,
    trials: int = 10_000,
    weights: ArrayLike | None = None,
) -> SimulatedErrors:
    """The Monte-Carlo twin of `tre_covariance` and `fre_covariance`: as many registrations as asked for.

    Nothing is linearised: it tells also when errors are large. The RMS over 10,000 trials is within about
    1 % of what it estimates.

    Parameters
    ----------
    fiducials : (n, 3) mm, n >= 3, not on a line
    targets : (3,) or (k, 3) mm
    fle_covariance, weights : as in `tre_covariance`
    rng : source of the errors, which are normal
    trials : how many registrations; memory grows with trials times targets

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> rng = np.random.default_rng(1)
    >>> errors = simulate_tre(fiducials, [40, 30, 100], np.eye(3) / 12, rng=rng)
    >>> np.sqrt((errors.tre_mm**2).mean(axis=0)).round(2)  # expected_tre says 0.651
    array([0.65])
    """
    p = check_fiducials(fiducials)
    r = check_points(np.atleast_2d(np.asarray(targets, dtype=float)), "targets")
    s, w = check_covariances(fle_covariance, len(p)), check_weights(weights, len(p))
    if trials < 1:
        raise ValueError(f"trials is {trials}; expected 1 or more.")
    variance, axes = np.linalg.eigh(s)
    root = axes * np.sqrt(np.maximum(variance, 0))[:, None, :]
    q = p + (root @ rng.standard_normal((trials, len(p), 3, 1)))[..., 0]
    directed = weights is not None and np.ndim(weights) == 3
    matrix = anisotropic(p, q, w) if directed else kabsch(p, q, w[:, 0, 0])[0]
    return SimulatedErrors(matrix, transform_points(matrix, p) - q, transform_points(matrix, r) - r)


def worst_target(
    fiducials: ArrayLike, region: ArrayLike, fle_covariance: ArrayLike, *, weights: ArrayLike | None = None
) -> WorstTarget:
    """The point of a region where the RMS TRE is largest.

    The squared TRE grows in all directions from its least, so the worst point of a body is on its surface,
    and that of a box one of its eight corners: these are enough as `region`.

    Parameters
    ----------
    fiducials : (n, 3) mm
    region : (k, 3) mm
    fle_covariance, weights : as in `tre_covariance`

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> worst = worst_target(fiducials, [[40, 30, 0], [40, 30, 100]], np.eye(3) / 12)
    >>> worst.index, round(worst.tre_rms_mm, 3)
    (1, 0.651)
    """
    r = check_points(region, "region")
    covariance = tre_covariance(fiducials, r, fle_covariance, weights=weights)
    square = np.trace(covariance, axis1=1, axis2=2)
    k = int(square.argmax())
    return WorstTarget(k, r[k], float(np.sqrt(square[k])), covariance[k])


def next_fiducial(
    fiducials: ArrayLike,
    candidates: ArrayLike,
    targets: ArrayLike,
    fle_covariance: ArrayLike,
    *,
    criterion: Literal["rms", "worst"] = "rms",
) -> NextFiducial:
    """Which of the candidates lowers the TRE most when it is added to the fiducials.

    Parameters
    ----------
    fiducials : (n, 3) mm, n >= 3, not on a line
    candidates : (m, 3) mm, where a fiducial can be placed or a landmark be touched
    targets : (3,) or (k, 3) mm
    fle_covariance : (3, 3) mm^2, or (n + 1, 3, 3) with that of the new fiducial last
    criterion : "rms", the RMS TRE over the targets, or "worst", that of the worst target

    Examples
    --------
    >>> fiducials, target = [[0, 0, 0], [80, 0, 0], [0, 60, 0]], [40, 30, 100]
    >>> places = [[80, 60, 0], [40, 30, 60], [20, 20, 0]]
    >>> better = next_fiducial(fiducials, places, target, np.eye(3) / 12)
    >>> better.index, better.tre_mm.round(2), round(better.now_mm, 2)
    (1, array([0.65, 0.53, 0.9 ]), 0.91)
    """
    p, c = check_fiducials(fiducials), check_points(candidates, "candidates")
    r = check_points(np.atleast_2d(np.asarray(targets, dtype=float)), "targets")
    if criterion not in ("rms", "worst"):
        raise ValueError(f"criterion is {criterion!r}; expected 'rms' or 'worst'.")
    s = check_covariances(fle_covariance, len(p) + 1)

    def tre(x: Array, s: Array) -> Array:
        centre = x.mean(axis=-2, keepdims=True)
        form = mean_square(motion_covariance(x - centre, s, np.broadcast_to(np.eye(3), s.shape)))
        at = np.insert(r - centre, 3, 1.0, axis=-1)
        square = ((at @ form) * at).sum(axis=-1)
        rms: Array = np.sqrt(square.mean(axis=-1) if criterion == "rms" else square.max(axis=-1))
        return rms

    now = tre(p, s[:-1])
    each = tre(np.concatenate([np.broadcast_to(p, (len(c), *p.shape)), c[:, None]], axis=1), s)
    k = int(each.argmin())
    return NextFiducial(k, c[k], each, float(now))


def confidence_ellipsoid(covariance: ArrayLike, level: float = 0.95) -> Ellipsoid:
    """Where the target is with a given probability: chi-square with 3 degrees of freedom.

    Parameters
    ----------
    covariance : (..., 3, 3) mm^2, as `tre_covariance` gives it
    level : probability, between 0 and 1

    Examples
    --------
    >>> confidence_ellipsoid(np.diag([0.04, 0.25, 0.09])).half_lengths_mm.round(2)
    array([1.4 , 0.84, 0.56])
    """
    from scipy.special import chdtri

    c = _checked(covariance, level)
    variance, axes = np.linalg.eigh(c)
    half = np.sqrt(np.maximum(variance, 0) * chdtri(3, 1 - level))
    return Ellipsoid(half[..., ::-1], np.swapaxes(axes, -1, -2)[..., ::-1, :])


def tre_probability(covariance: ArrayLike, within_mm: ArrayLike) -> Array:
    """The probability that the TRE is at most so many mm, for normal errors.

    The squared length is a weighted sum of three chi-square variables [1]_. It is integrated over
    directions: along each, the length has a chi distribution. Accurate to 1e-4, and to 1e-9 for distances
    above half the largest standard deviation.

    Parameters
    ----------
    covariance : (..., 3, 3) mm^2
    within_mm : (...) 0 or more

    References
    ----------
    .. [1] Fitzpatrick, West, IEEE Trans. Med. Imaging 20(9), 2001, doi:10.1109/42.952729.

    Examples
    --------
    >>> tre_probability(np.diag([0.04, 0.04, 0.36]), [0.5, 1.0, 2.0]).round(3)
    array([0.488, 0.889, 0.999])
    """
    c, r = _checked(covariance, 0.5), np.asarray(within_mm, dtype=float)
    if not (r >= 0).all():
        raise ValueError(f"within_mm is {r}; expected distances, 0 or more.")
    return _probability(r, np.asarray(np.linalg.eigvalsh(c)))


def tre_quantile(covariance: ArrayLike, level: float = 0.95) -> Array:
    """The distance (...) in mm that the TRE keeps to with probability `level`: `tre_probability` inverted.

    For one direction that dominates, 95 % is 1.96 times the RMS TRE; for three equal ones, 1.61 times.

    >>> tre_quantile(np.diag([0.04, 0.04, 0.36])).round(3)
    np.float64(1.212)
    """
    from scipy.optimize.elementwise import find_root
    from scipy.special import chdtri

    variance = np.asarray(np.linalg.eigvalsh(_checked(covariance, level)), dtype=float)
    largest = np.maximum(variance[..., 2], TINY)
    relative = variance / largest[..., None]

    def beyond(r: Array, *v: Array) -> Array:
        return _probability(r, np.stack(v, axis=-1)) - level

    most = np.full(largest.shape, np.sqrt(chdtri(3, 1 - level)))
    found = find_root(beyond, (0 * most, most + 1e-6), args=tuple(np.moveaxis(relative, -1, 0)))
    quantile: Array = np.sqrt(largest) * found.x
    return quantile


def _probability(r: Array, variance: Array) -> Array:
    """Of a length of at most r (...), for normal errors with variances (..., 3), rising."""
    from scipy.special import erf

    square, weight = _DIRECTIONS
    t = np.minimum(r[..., None] / np.sqrt(2 * np.maximum(variance @ square, TINY)), 30.0)  # 1 by then
    chi: Array = erf(t) - 2 / np.sqrt(np.pi) * t * np.exp(-(t**2))  # three degrees of freedom
    return chi @ weight


def _directions(n: int) -> tuple[Array, Array]:
    """Squared components (3, m) of directions over one eighth of the sphere, the largest variance last."""
    u, weight = np.polynomial.legendre.leggauss(n)
    u, weight = (u + 1) / 2, weight / 2
    angle = np.pi / 2 * u
    z, a = np.repeat(u, n), np.tile(angle, n)
    flat = 1 - z**2
    return np.stack([flat * np.cos(a) ** 2, flat * np.sin(a) ** 2, z**2]), np.outer(weight, weight).ravel()


_DIRECTIONS = _directions(48)


def _checked(covariance: ArrayLike, level: float) -> Array:
    c = np.asarray(covariance, dtype=float)
    if c.shape[-2:] != (3, 3):
        raise ValueError(f"covariance has shape {c.shape}; expected (..., 3, 3) mm^2.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a probability between 0 and 1. In percent?")
    return c
