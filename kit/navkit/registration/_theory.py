"""What the error of paired points does and does not say: FLE, FRE and TRE."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, cross, refuse_line

Array = NDArray[np.float64]


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
    x_cross = cross(x)
    inertia = (np.swapaxes(x_cross, -1, -2) @ x_cross).sum(axis=0)
    turn = np.linalg.solve(inertia, x_cross)
    effect = np.eye(3) / len(x) - cross(r)[..., None, :, :] @ turn
    covariance: Array = (effect @ s @ np.swapaxes(effect, -1, -2)).sum(axis=-3)
    return covariance


def _centred(fiducials: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    x = check_points(fiducials, "fiducials", at_least=3)
    r = np.asarray(target, dtype=float)
    check_points(np.atleast_2d(r), "target")
    centre = x.mean(axis=0)
    spread = np.linalg.svd(x - centre, compute_uv=False) / np.sqrt(len(x))
    refuse_line(spread, "mm RMS, along the principal axes", 0.01, "The fiducials")
    return x - centre, r - centre


def _check_fle(fle_rms_mm: float) -> float:
    if not (np.isfinite(fle_rms_mm) and fle_rms_mm >= 0):
        raise ValueError(f"fle_rms_mm is {fle_rms_mm}; expected a finite number, 0 or more.")
    return float(fle_rms_mm)
