"""What the error of paired points does and does not say: FLE, FRE and TRE."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, cross, refuse_line

Array = NDArray[np.float64]


def expected_fre(fle_rms_mm: float, n: int) -> float:
    """The RMS FRE to expect from `n` fiducials: ``FRE^2 = (1 - 2 / n) FLE^2`` [1]_.

    It does not depend on where the fiducials are; the RMS is over many registrations. For errors that
    differ between directions or fiducials it does: see `fre_covariance`.

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
    p, r = check_fiducials(fiducials), check_targets(target)
    fle = _check_fle(fle_rms_mm)
    centre = p.mean(axis=0)
    r = r - centre
    _, spread, axes = np.linalg.svd(p - centre, full_matrices=False)
    along_sq = spread**2 / len(p)
    f_sq = along_sq.sum() - along_sq  # a point's squared distance from an axis is what is not along it
    d_sq = (r**2).sum(axis=-1, keepdims=True) - (r @ axes.T) ** 2
    tre: Array = fle * np.sqrt((1 + (d_sq / f_sq).mean(axis=-1)) / len(p))
    return tre


def isotropic_covariance(fle_rms_mm: ArrayLike) -> Array:
    """The covariance of an FLE that is equal in all directions: ``fle_rms_mm**2 / 3`` on the diagonal.

    (3, 3) mm^2 for one number; (n, 3, 3) for n of them, one for each fiducial.

    >>> np.diag(isotropic_covariance(0.6)).round(3)
    array([0.12, 0.12, 0.12])
    """
    fle = np.asarray(fle_rms_mm, dtype=float)
    if not (np.isfinite(fle).all() and (fle >= 0).all()):
        raise ValueError(f"fle_rms_mm is {fle}; expected finite numbers, 0 or more.")
    covariance: Array = fle[..., None, None] ** 2 / 3 * np.eye(3)
    return covariance


def tre_covariance(
    fiducials: ArrayLike, target: ArrayLike, fle_covariance: ArrayLike, *, weights: ArrayLike | None = None
) -> Array:
    """The covariance of the TRE at a target, for an FLE that differs between directions or fiducials.

    To first order in the error [1]_, for the fit with or without weights [2]_. Errors of both point sets
    add: pass the sum of their covariances, turned into the space of the fiducials.

    Parameters
    ----------
    fiducials : (n, 3) mm, n >= 3, not on a line
    target : (3,) or (k, 3) mm
    fle_covariance : (3, 3) mm^2 for all fiducials, or (n, 3, 3) one for each
        `isotropic_covariance` gives the one of an FLE in mm.
    weights : (n,), as `fit_rigid` takes them, or (n, 3, 3), as `fit_rigid_anisotropic` uses them
        The TRE is least for ``np.linalg.inv(fle_covariance)``; of the fits with one weight a fiducial, for
        1 / FLE^2 where no direction is worse than another.

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
    .. [2] Danilchenko, Fitzpatrick, IEEE Trans. Med. Imaging 30(3), 2011, doi:10.1109/TMI.2010.2091513.

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> np.diag(tre_covariance(fiducials, [40, 30, 100], np.diag([0.04, 0.04, 0.16]))).round(4)
    array([0.26  , 0.4544, 0.04  ])
    """
    p, r = check_fiducials(fiducials), check_targets(target)
    s, w = check_covariances(fle_covariance, len(p)), check_weights(weights, len(p))
    centre = p.mean(axis=0)
    effect = of_motion(r - centre)
    covariance: Array = effect @ motion_covariance(p - centre, s, w) @ np.swapaxes(effect, -1, -2)
    return covariance


def fre_covariance(
    fiducials: ArrayLike, fle_covariance: ArrayLike, *, weights: ArrayLike | None = None
) -> Array:
    """The covariance of what is left at each fiducial after the fit, (n, 3, 3) mm^2 [1]_.

    The root of ``np.trace(c, axis1=1, axis2=2).mean()`` is the RMS FRE to expect; without weights and with
    an FLE equal everywhere it is that of `expected_fre`. A fiducial far from the others pulls the fit to
    itself: what is left there is small, and an error of it shows badly. Arguments as in `tre_covariance`.

    References
    ----------
    .. [1] Danilchenko, Fitzpatrick, IEEE Trans. Med. Imaging 30(3), 2011, doi:10.1109/TMI.2010.2091513.

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [20, 0, 0], [0, 30, 0], [150, 60, 0]]
    >>> left = fre_covariance(fiducials, isotropic_covariance(0.5))
    >>> np.sqrt(np.trace(left, axis1=1, axis2=2)).round(2)
    array([0.4 , 0.39, 0.34, 0.26])
    """
    p = check_fiducials(fiducials)
    s, w = check_covariances(fle_covariance, len(p)), check_weights(weights, len(p))
    x = p - p.mean(axis=0)
    effect = of_motion(x)
    own = effect @ gains(x, w) @ s  # a fiducial's error moves the fit towards itself
    covariance: Array = s - own - np.swapaxes(own, -1, -2)
    return covariance + effect @ motion_covariance(x, s, w) @ np.swapaxes(effect, -1, -2)


def tre_map(
    fiducials: ArrayLike,
    fle_covariance: ArrayLike,
    shape: Sequence[int],
    r_M_voxel: ArrayLike,
    *,
    weights: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """The RMS TRE to expect in every voxel of a volume.

    Its square is a polynomial of degree two in the place, so a volume costs no more than a few additions a
    voxel and no memory but its own.

    Parameters
    ----------
    fiducials : (n, 3) mm, in ``r``
    fle_covariance, weights : as in `tre_covariance`
    shape : (nz, ny, nx) as numpy indexes the values
    r_M_voxel : (4, 4) affine
        From voxel indices (i, j, k), x first, to the space of the fiducials: direction, spacing and origin.

    Returns
    -------
    mm : (nz, ny, nx)

    Examples
    --------
    >>> fiducials = [[0, 0, 0], [80, 0, 0], [0, 60, 0], [80, 60, 0]]
    >>> r_M_voxel = np.diag([20.0, 15.0, 100.0, 1.0])
    >>> tre_map(fiducials, isotropic_covariance(0.5), (2, 5, 5), r_M_voxel)[:, 2, 2].round(3)
    array([0.25 , 0.651], dtype=float32)
    """
    p = check_fiducials(fiducials)
    s, w = check_covariances(fle_covariance, len(p)), check_weights(weights, len(p))
    m = np.asarray(r_M_voxel, dtype=float)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; expected three counts (nz, ny, nx), 1 or more.")
    if m.shape != (4, 4) or not np.isfinite(m).all() or np.abs(m[3] - [0, 0, 0, 1]).max() > 1e-9:
        raise ValueError("r_M_voxel is not a (4, 4) transform that ends in 0 0 0 1. Is it transposed?")
    centre = p.mean(axis=0)
    centred = np.eye(4)
    centred[:3, 3] = -centre
    q = (centred @ m).T @ mean_square(motion_covariance(p - centre, s, w)) @ (centred @ m)
    z, y, x = (np.arange(size, dtype=float) for size in shape)
    plane = q[0, 0] * x**2 + 2 * q[0, 3] * x + q[3, 3] + (q[1, 1] * y**2 + 2 * q[1, 3] * y)[:, None]
    plane += 2 * q[0, 1] * y[:, None] * x
    slope = 2 * (q[0, 2] * x + q[1, 2] * y[:, None] + q[2, 3])
    out = np.empty(tuple(shape), dtype=np.float32)
    for k, layer in zip(z, out, strict=True):
        layer[...] = np.sqrt(np.maximum(plane + k * (slope + k * q[2, 2]), 0))
    return out


# -- what the other files of the room use; points are relative to the fiducials' mean ------------------------


def of_motion(x: Array) -> Array:
    """(..., 3, 6) how a small shift and turn (about the origin) moves points (..., 3)."""
    return np.concatenate([np.broadcast_to(np.eye(3), (*x.shape, 3)), -cross(x)], axis=-1)


def gains(x: Array, w: Array) -> Array:
    """(..., n, 6, 3) how an error of each of n points (..., n, 3) shifts and turns the fit; w (n, 3, 3)."""
    effect = of_motion(x)
    rows = (*x.shape[:-2], 3 * x.shape[-2], 6)  # numpy is slow on many small matrices
    pull = np.swapaxes((w @ effect).reshape(rows), -1, -2)
    gain = np.linalg.inv(pull @ effect.reshape(rows)) @ pull
    return np.moveaxis(gain.reshape(*gain.shape[:-1], -1, 3), -2, -3)


def motion_covariance(x: Array, s: Array, w: Array) -> Array:
    """(..., 6, 6) covariance of the shift and turn of the fit, for errors with covariances s (n, 3, 3)."""
    g = gains(x, w)
    covariance: Array = (g @ s @ np.swapaxes(g, -1, -2)).sum(axis=-3)
    return covariance


def mean_square(covariance: Array) -> Array:
    """(..., 4, 4) the form that gives the mean squared error at (x, y, z, 1) under a shift and turn."""
    shift, both, turn = covariance[..., :3, :3], covariance[..., 3:, :3], covariance[..., 3:, 3:]
    odd = both - np.swapaxes(both, -1, -2)
    out = np.empty((*covariance.shape[:-2], 4, 4))
    out[..., :3, :3] = np.trace(turn, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - turn
    out[..., :3, 3] = np.stack([odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]], axis=-1)
    out[..., 3, :3] = out[..., :3, 3]
    out[..., 3, 3] = np.trace(shift, axis1=-2, axis2=-1)
    return out


def check_fiducials(fiducials: ArrayLike) -> Array:
    p = check_points(fiducials, "fiducials", at_least=3)
    spread = np.linalg.svd(p - p.mean(axis=0), compute_uv=False) / np.sqrt(len(p))
    refuse_line(spread, "mm RMS, along the principal axes", 0.01, "The fiducials")
    return p


def check_targets(target: ArrayLike) -> Array:
    r = np.asarray(target, dtype=float)
    check_points(np.atleast_2d(r), "target")
    return r


def check_covariances(fle_covariance: ArrayLike, n: int) -> Array:
    """(n, 3, 3)"""
    s = np.asarray(fle_covariance, dtype=float)
    if s.shape not in ((3, 3), (n, 3, 3)):
        raise ValueError(
            f"fle_covariance has shape {s.shape}; expected (3, 3) or ({n}, 3, 3). A standard deviation?"
        )
    size = np.abs(s).max()
    if not (np.isfinite(s).all() and np.allclose(s, np.swapaxes(s, -1, -2), atol=1e-9 * size)):
        raise ValueError("fle_covariance is not a symmetric matrix of finite numbers.")
    if (np.linalg.eigvalsh(s) < -1e-9 * size).any():
        raise ValueError("fle_covariance has a negative eigenvalue; expected variances in mm^2.")
    return np.broadcast_to(s, (n, 3, 3))


def check_weights(weights: ArrayLike | None, n: int) -> Array:
    """(n, 3, 3)"""
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    if w.shape not in ((n,), (n, 3, 3)):
        raise ValueError(f"weights has shape {w.shape}; expected ({n},), or ({n}, 3, 3) for directions.")
    if w.ndim == 1:
        w = w[:, None, None] * np.eye(3)
    if not (np.isfinite(w).all() and (np.linalg.eigvalsh(w) >= -1e-9 * np.abs(w).max()).all()):
        raise ValueError("weights are not finite numbers that are not negative.")
    if (np.trace(w, axis1=1, axis2=2) > 0).sum() < 3:
        raise ValueError("fewer than 3 weights are positive; expected at least 3.")
    return w


def _check_fle(fle_rms_mm: float) -> float:
    if not (np.isfinite(fle_rms_mm) and fle_rms_mm >= 0):
        raise ValueError(f"fle_rms_mm is {fle_rms_mm}; expected a finite number, 0 or more.")
    return float(fle_rms_mm)
