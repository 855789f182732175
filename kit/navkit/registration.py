"""Registration: paired points, and what their error does and does not say.

FLE is the error of locating one fiducial, FRE the misfit of the fiducials after registration, TRE
the error at a target. All three are RMS of 3-D distances here, in mm. FRE and TRE of one
registration are uncorrelated [1]_: a small FRE is no proof of a good registration.

References
----------
.. [1] Fitzpatrick, Proc. SPIE 7261, 2009, doi:10.1117/12.813601.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, pose_from

__all__ = ["RigidFit", "expected_fre", "expected_tre", "fit_rigid", "tre_covariance"]

Array = NDArray[np.float64]

LINE_RATIO = 0.01
"""Points whose spread across is less than this part of their spread along are called a line."""


@dataclass(frozen=True)
class RigidFit:
    """A registration of paired points.

    Parameters
    ----------
    matrix : (4, 4)
        ``to_M_from``: maps `p_from` to `p_to`; includes the scale when one was estimated.
    scale : float
        1 unless it was asked for.
    fre_rms_mm : float
        RMS over the fiducials of the 3-D distance that is left; weighted when weights were given.
    residual_mm : (n,)
        That distance for each fiducial.
    singular_values : (3,) mm^2, falling
        Of the mean cross-covariance of the two centred sets: the square of the spread along their
        principal directions. The last is 0 for planar points (fine); the last two for points on a line.
    """

    matrix: Array
    scale: float
    fre_rms_mm: float
    residual_mm: Array
    singular_values: Array


def fit_rigid(
    p_from: ArrayLike, p_to: ArrayLike, *, weights: ArrayLike | None = None, scale: bool = False
) -> RigidFit:
    """The rigid transform that brings paired points together, in the least-squares sense.

    Kabsch's solution with the guard against reflection [1]_, and Umeyama's scale [2]_.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 3
        Row k of one belongs to row k of the other. The points may lie in a plane, not on a line.
    weights : (n,) not negative
        How much each pair counts; 1 / FLE^2 where the fiducials are not equally good.
    scale : bool
        Estimate one scale as well. Then `matrix` is the similarity, scale included, and is no
        longer rigid.

    Returns
    -------
    RigidFit

    Raises
    ------
    ValueError
        If the shapes disagree, a point is not finite, or the points lie on a line (their spread
        across is less than 1 % of their spread along); the message gives the singular values.

    References
    ----------
    .. [1] Kabsch, Acta Cryst. A34, 1978, doi:10.1107/S0567739478001680.
    .. [2] Umeyama, IEEE Trans. PAMI 13(4), 1991, doi:10.1109/34.88573.

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [50, 0, 0], [0, 30, 0], [0, 0, 20.0]])
    >>> fit = fit_rigid(p, p[:, [1, 2, 0]] + [10, 0, 0])
    >>> fit.matrix.round(6) + 0.0
    array([[ 0.,  1.,  0., 10.],
           [ 0.,  0.,  1.,  0.],
           [ 1.,  0.,  0.,  0.],
           [ 0.,  0.,  0.,  1.]])
    """
    p = check_points(p_from, "p_from", at_least=3)
    q = check_points(p_to, "p_to", at_least=3)
    if p.shape != q.shape:
        raise ValueError(f"p_from has {len(p)} points and p_to {len(q)}; expected pairs, in the same order.")
    w = _check_weights(weights, len(p))
    matrix, factor, singular_values = _kabsch(p, q, w, scale=scale)
    _refuse_line(singular_values, "mm^2, of the cross-covariance", LINE_RATIO**2, "The paired points")
    residual = np.linalg.norm(p @ matrix[:3, :3].T + matrix[:3, 3] - q, axis=1)
    fre = float(np.sqrt(np.average(residual**2, weights=w)))
    return RigidFit(matrix, float(factor), fre, residual, singular_values)


def expected_fre(fle_rms_mm: float, n: int) -> float:
    """The RMS FRE to expect from `n` fiducials: ``FRE^2 = (1 - 2 / n) FLE^2`` [1]_.

    It does not depend on where the fiducials are; the RMS is over many registrations.

    References
    ----------
    .. [1] Sibson, J. R. Stat. Soc. B 41(2), 1979; Fitzpatrick, West, Maurer, IEEE Trans. Med.
       Imaging 17(5), 1998, doi:10.1109/42.736021.

    Examples
    --------
    >>> round(expected_fre(0.5, 4), 4)
    0.3536
    """
    if n < 3:
        raise ValueError(f"n is {n}; expected at least 3 fiducials.")
    return float(np.sqrt(1 - 2 / n)) * _check_fle(fle_rms_mm)


def expected_tre(fiducials: ArrayLike, target: ArrayLike, fle_rms_mm: float) -> Array:
    """The RMS TRE to expect at a target, from the layout of the fiducials alone [1]_.

    ``TRE^2 = FLE^2 / n * (1 + mean over the principal axes of d_k^2 / f_k^2)``, with d_k the target's
    distance from principal axis k and f_k the RMS distance of the fiducials from it. This is the
    root of the mean square over many registrations, which is a little more than the mean TRE.

    Parameters
    ----------
    fiducials : (n, 3) mm, n >= 3, not on a line
    target : (3,) or (k, 3) mm, in the space of the fiducials
    fle_rms_mm : float
        RMS 3-D distance of a located fiducial from its true place, the same in all directions and
        for all fiducials. Three equal errors of sigma along x, y and z give sqrt(3) sigma.

    Returns
    -------
    mm : a number for one target, (k,) for k of them

    Raises
    ------
    ValueError
        If a shape is wrong or the fiducials lie on a line.

    References
    ----------
    .. [1] Fitzpatrick, West, Maurer, IEEE Trans. Med. Imaging 17(5), 1998, doi:10.1109/42.736021.

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> expected_tre(fiducials, [[40, 30, 0], [40, 30, 100]], 0.5).round(3)
    array([0.25 , 0.651])
    """
    x, r = _centred(fiducials, target)
    fle = _check_fle(fle_rms_mm)
    _, spread, axes = np.linalg.svd(x, full_matrices=False)
    along_sq = spread**2 / len(x)
    f_sq = along_sq.sum() - along_sq  # a point's squared distance from an axis is what is not along it
    d_sq = (r**2).sum(axis=-1, keepdims=True) - (r @ axes.T) ** 2
    tre: Array = fle * np.sqrt((1 + (d_sq / f_sq).mean(axis=-1)) / len(x))
    return tre


def tre_covariance(fiducials: ArrayLike, target: ArrayLike, fle_covariance: ArrayLike) -> Array:
    """The covariance of the TRE at a target, for an FLE that differs between directions [1]_.

    To first order in the error, and for the fit without weights. Errors of both point sets add:
    pass the sum of their covariances, turned into the space of the fiducials.

    Parameters
    ----------
    fiducials : (n, 3) mm, n >= 3, not on a line
    target : (3,) or (k, 3) mm
    fle_covariance : (3, 3) mm^2 for all fiducials, or (n, 3, 3) one for each

    Returns
    -------
    mm^2 : (3, 3) for one target, (k, 3, 3) for k of them; the root of its trace is the RMS TRE

    Raises
    ------
    ValueError
        If a shape is wrong, the fiducials lie on a line, or the covariance is none.

    References
    ----------
    .. [1] Wiles, Likholyot, Frantz, Peters, IEEE Trans. Med. Imaging 27(3), 2008,
       doi:10.1109/TMI.2007.908124.

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> np.diag(tre_covariance(fiducials, [40, 30, 100], np.diag([0.04, 0.04, 0.16]))).round(4)
    array([0.26  , 0.4544, 0.04  ])
    """
    x, r = _centred(fiducials, target)
    s = np.asarray(fle_covariance, dtype=float)
    if s.shape not in ((3, 3), (len(x), 3, 3)):
        raise ValueError(
            f"fle_covariance has shape {s.shape}; expected (3, 3) or ({len(x)}, 3, 3). A standard deviation?"
        )
    size = np.abs(s).max()
    if not (np.isfinite(s).all() and np.allclose(s, np.swapaxes(s, -1, -2), atol=1e-9 * size)):
        raise ValueError("fle_covariance is not a symmetric matrix of finite numbers.")
    if (np.linalg.eigvalsh(s) < -1e-9 * size).any():
        raise ValueError("fle_covariance has a negative eigenvalue; expected variances in mm^2.")
    # An error e_i of fiducial i shifts by e_i / n and turns by A^-1 (x_i x e_i); all of them add up.
    x_cross = _cross(x)
    inertia = (np.swapaxes(x_cross, -1, -2) @ x_cross).sum(axis=0)
    turn = np.linalg.solve(inertia, x_cross)
    effect = np.eye(3) / len(x) - _cross(r)[..., None, :, :] @ turn
    covariance: Array = (effect @ s @ np.swapaxes(effect, -1, -2)).sum(axis=-3)
    return covariance


def _kabsch(p: Array, q: Array, w: Array, *, scale: bool = False) -> tuple[Array, Array, Array]:
    """Transforms (..., 4, 4), scales (...) and singular values (..., 3) of point sets (..., n, 3)."""
    w = (w / w.sum())[:, None]
    p_mean, q_mean = (w * p).sum(axis=-2, keepdims=True), (w * q).sum(axis=-2, keepdims=True)
    p0, q0 = p - p_mean, q - q_mean
    u, s, vt = np.linalg.svd(np.swapaxes(q0, -1, -2) @ (w * p0))
    guard = np.ones_like(s)
    guard[..., 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * guard[..., None, :]) @ vt
    factor = np.ones(s.shape[:-1])
    if scale:
        spread = (w * p0**2).sum(axis=(-2, -1))
        # Points that coincide have no spread; the caller refuses them by their singular values.
        factor = (s * guard).sum(axis=-1) / np.where(spread > 0, spread, 1.0)
    linear = factor[..., None, None] * rotation
    shift = q_mean - p_mean @ np.swapaxes(linear, -1, -2)
    return pose_from(linear, shift[..., 0, :]), factor, s


def _centred(fiducials: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    x = check_points(fiducials, "fiducials", at_least=3)
    r = np.asarray(target, dtype=float)
    check_points(np.atleast_2d(r), "target")
    centre = x.mean(axis=0)
    spread = np.linalg.svd(x - centre, compute_uv=False) / np.sqrt(len(x))
    _refuse_line(spread, "mm RMS, along the principal axes", LINE_RATIO, "The fiducials")
    return x - centre, r - centre


def _refuse_line(singular_values: Array, unit: str, ratio: float, which: str) -> None:
    if singular_values[1] <= ratio * singular_values[0]:
        least = 1e-9 * singular_values[0]  # below it stands rounding
        told = ", ".join(f"{value if value > least else 0.0:.4g}" for value in singular_values)
        raise ValueError(
            f"{which} lie on a line (singular values {told} {unit}): the rotation about it is not "
            "determined. Add a point away from the line."
        )


def _check_weights(weights: ArrayLike | None, n: int) -> Array:
    if weights is None:
        return np.ones(n)
    w = np.asarray(weights, dtype=float)
    if w.shape != (n,):
        raise ValueError(f"weights has shape {w.shape}; expected ({n},), one for each pair.")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError(f"weights are {w}; expected finite numbers that are not negative.")
    if (w > 0).sum() < 3:
        raise ValueError(f"{(w > 0).sum()} weights are positive; expected at least 3.")
    return w


def _check_fle(fle_rms_mm: float) -> float:
    if not (np.isfinite(fle_rms_mm) and fle_rms_mm >= 0):
        raise ValueError(f"fle_rms_mm is {fle_rms_mm}; expected a finite number, 0 or more.")
    return float(fle_rms_mm)


def _cross(v: Array) -> Array:
    """(..., 3, 3) matrices with ``_cross(v) @ e == np.cross(v, e)``."""
    out = np.zeros((*v.shape[:-1], 3, 3))
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -z, y, -x
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = z, -y, x
    return out
