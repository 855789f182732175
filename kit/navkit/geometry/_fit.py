"""The rigid transform between paired points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry._poses import check_points, pose_from

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
    covariance : (6, 6)
        Of the shift (mm) and the turn (rad) by which `matrix` is off, about the origin of `p_to`'s space. For
        errors of the points that are independent, equal in all directions and as large as the residual
        tells, which few points tell badly; see `sd_mm`.
    warnings : tuple of str
    """

    matrix: Array
    scale: float
    fre_rms_mm: float
    residual_mm: Array
    singular_values: Array
    covariance: Array
    warnings: tuple[str, ...] = ()

    def sd_mm(self, p_to: ArrayLike) -> Array:
        """RMS distance (...) by which mapped points (..., 3), in the space of `p_to`, may be off."""
        p = np.asarray(p_to, dtype=float)
        effect = np.concatenate([np.broadcast_to(np.eye(3), (*p.shape, 3)), -cross(p)], axis=-1)
        variance: Array = np.einsum("...ij,jk,...ik->...", effect, self.covariance, effect)
        return np.sqrt(variance)


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
    w = _checked_weights(weights, len(p))
    matrix, factor, singular_values = kabsch(p, q, w, scale=scale)
    refuse_line(singular_values, "mm^2, of the cross-covariance", LINE_RATIO**2, "The paired points")
    residual = np.linalg.norm(p @ matrix[:3, :3].T + matrix[:3, 3] - q, axis=1)
    fre = float(np.sqrt(np.average(residual**2, weights=w)))
    covariance = _covariance(p @ matrix[:3, :3].T + matrix[:3, 3], w, residual, 7 if scale else 6)
    return RigidFit(matrix, float(factor), fre, residual, singular_values, covariance)


def kabsch(p: Array, q: Array, w: Array, *, scale: bool = False) -> tuple[Array, Array, Array]:
    """Transforms (..., 4, 4), scales (...) and singular values (..., 3) of point sets (..., n, 3).

    The weights are (n,) or (..., n); nothing is checked.
    """
    w = (w / w.sum(axis=-1, keepdims=True))[..., None]
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


def _covariance(there: Array, w: Array, residual: Array, parameters: int) -> Array:
    """Of shift and turn (6, 6) about the origin, for points whose variance goes as 1 / w."""
    centre = np.average(there, axis=0, weights=w)
    arms = cross(there - centre)
    turn = np.linalg.inv((w[:, None, None] * np.swapaxes(arms, 1, 2) @ arms).sum(axis=0))
    about_centre = np.zeros((6, 6))
    about_centre[:3, :3], about_centre[3:, 3:] = np.eye(3) / w.sum(), turn
    # a turn about the centre shifts the origin by minus turn x centre, which is centre x turn
    to_origin = np.eye(6)
    to_origin[:3, 3:] = cross(centre)
    variance = (w * residual**2).sum() / (3 * np.count_nonzero(w) - parameters)
    covariance: Array = variance * to_origin @ about_centre @ to_origin.T
    return covariance


def refuse_line(singular_values: Array, unit: str, ratio: float, which: str) -> None:
    if singular_values[1] <= ratio * singular_values[0]:
        least = 1e-9 * singular_values[0]  # below it stands rounding
        told = ", ".join(f"{value if value > least else 0.0:.4g}" for value in singular_values)
        raise ValueError(
            f"{which} lie on a line (singular values {told} {unit}): the rotation about it is not "
            "determined. Add a point away from the line."
        )


def _checked_weights(weights: ArrayLike | None, n: int) -> Array:
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


def cross(v: Array) -> Array:
    """(..., 3, 3) matrices with ``cross(v) @ e == np.cross(v, e)``."""
    out = np.zeros((*v.shape[:-1], 3, 3))
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -z, y, -x
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = z, -y, x
    return out
