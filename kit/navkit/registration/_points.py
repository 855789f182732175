"""Other fits of paired points than the rigid one: affine, shift only, one orientation, uneven errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import (
    RigidFit,
    check_points,
    check_poses,
    cross,
    fit_rigid,
    inverse,
    kabsch,
    pose_from,
    transform_points,
)
from navkit.registration._theory import check_covariances, gains, motion_covariance

Array = NDArray[np.float64]

PLANE_RATIO = 0.01
"""Points whose spread across a plane is less than this part of their spread along are called planar."""


@dataclass(frozen=True)
class PairFit:
    """A registration of paired points that is not (only) rigid.

    Parameters
    ----------
    matrix : (4, 4)
        ``to_M_from``: maps `p_from` to `p_to`.
    fre_rms_mm : float
        RMS over the pairs of the 3-D distance that is left; weighted when weights were given.
    residual_mm : (n,)
        That distance for each pair.
    warnings : tuple of str
        What the residual does not tell, a sentence each.
    """

    matrix: Array
    fre_rms_mm: float
    residual_mm: Array
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LandmarkAccuracy:
    """How far landmarks are apart. Say which number you quote: the mean is never more than the RMS.

    Parameters
    ----------
    distance_mm : (n,) for each pair
    mean_mm : what CustusX's landmark widget shows
    rms_mm : what its manual registration shows, and what FLE, FRE and TRE mean here
    max_mm : of the worst pair
    """

    distance_mm: Array
    mean_mm: float
    rms_mm: float
    max_mm: float


def landmark_accuracy(to_M_from: ArrayLike, p_from: ArrayLike, p_to: ArrayLike) -> LandmarkAccuracy:
    """How far pairs (n, 3) are apart under a given matrix, be it fitted or made by hand.

    >>> accuracy = landmark_accuracy(np.eye(4), [[0, 0, 0], [9, 0, 0]], [[0, 0, 1], [9, 0, 3]])
    >>> accuracy.mean_mm, round(accuracy.rms_mm, 3)
    (2.0, 2.236)
    """
    p, q = check_pairs(p_from, p_to, 1)
    distance = np.linalg.norm(transform_points(to_M_from, p) - q, axis=1)
    rms = float(np.sqrt((distance**2).mean()))
    return LandmarkAccuracy(distance, float(distance.mean()), rms, float(distance.max()))


def fit_affine(p_from: ArrayLike, p_to: ArrayLike, *, weights: ArrayLike | None = None) -> PairFit:
    """The affine transform (12 numbers) between paired points, in the least-squares sense.

    It follows scale and shear, and with few pairs their errors: below about 8 pairs the residual is small
    and the target error is not. `fit_rigid` with ``scale=True`` gives the similarity (7 numbers).

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 4, not in a plane
        Row k of one belongs to row k of the other.
    weights : (n,) not negative

    Raises
    ------
    ValueError
        If the shapes disagree, a point is not finite, or the points of either set lie in a plane (their
        spread across is less than 1 % of their spread along).

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [50, 0, 0], [0, 30, 0], [0, 0, 20], [9, 8, 7.0]])
    >>> np.diag(fit_affine(p, p * [1, 1.1, 0.9]).matrix).round(6)
    array([1. , 1.1, 0.9, 1. ])
    """
    p, q = check_pairs(p_from, p_to, 4)
    w = _check_weights(weights, len(p), 4)
    p_mean, q_mean = np.average(p, axis=0, weights=w), np.average(q, axis=0, weights=w)
    root = np.sqrt(w)[:, None]
    p0, q0 = root * (p - p_mean), root * (q - q_mean)
    for name, x in (("p_from", p0), ("p_to", q0)):
        spread = np.linalg.svd(x / np.sqrt(w.sum()), compute_uv=False)
        if spread[2] <= PLANE_RATIO * spread[0]:
            raise ValueError(
                f"{name} lie in a plane ({spread[0]:.4g}, {spread[1]:.4g} and {spread[2]:.4g} mm RMS along "
                "the principal axes): what happens across it is not determined. Use fit_rigid, or add a "
                "point off the plane."
            )
    linear = np.linalg.lstsq(p0, q0)[0].T
    warnings = []
    if (w > 0).sum() == 4:
        warnings.append("four pairs are always met exactly: the residual of 0 says nothing.")
    if np.linalg.det(linear) < 0:
        warnings.append("the matrix mirrors: is an axis flipped in one of the sets, or are pairs mixed up?")
    return _pair_fit(pose_from(linear, q_mean - linear @ p_mean), p, q, w, warnings)


def fit_translation(
    p_from: ArrayLike, p_to: ArrayLike, *, initial: ArrayLike | None = None, weights: ArrayLike | None = None
) -> PairFit:
    """The shift that brings paired points together, with the rotation of a given matrix kept.

    With `initial` ``r_M_pr`` it is CustusX's landmark registration with translation only: "fast landmark"
    after `fast_orientation`, "single landmark" with one pair, "plate" with the `reference_point`s of the
    reference tool as `p_from`. It is right at the landmarks' mean. An error of the rotation by the angle a
    moves a target at distance d from the mean, across the axis, by ``2 d sin(a / 2)``: 12 degrees,
    12.5 mm at 60 mm. A clinical study found 12.4 mm there [1]_.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 1
    initial : (4, 4) rigid ``to_M_from`` whose rotation is kept; the identity when left out
    weights : (n,) not negative

    References
    ----------
    .. [1] Int. J. Comput. Assist. Radiol. Surg., 2018, doi:10.1007/s11548-018-1830-7 (IOUSFAN).

    Examples
    --------
    >>> fit_translation([[0, 0, 0], [9, 0, 0]], [[5, 1, 0], [14, 3, 0]]).matrix[:3, 3]
    array([5., 2., 0.])
    """
    p, q = check_pairs(p_from, p_to, 1)
    w = _check_weights(weights, len(p), 1)
    rotation = np.eye(3) if initial is None else check_poses(np.asarray(initial)[None], "initial")[0, :3, :3]
    shift = np.average(q - p @ rotation.T, axis=0, weights=w)
    warnings = []
    if (w > 0).sum() == 1:
        warnings.append(
            "one pair is always met exactly: the residual of 0 says nothing. A degree of error in the "
            "rotation moves a target at 60 mm by 1.05 mm."
        )
    return _pair_fit(pose_from(rotation, shift), p, q, w, warnings)


def fast_orientation(pr_M_t: ArrayLike, *, back_face: bool = False) -> Array:
    """CustusX's fast orientation: the patient registration ``r_M_pr`` (4, 4) from one pose of a tool.

    Hold the tool along the patient, its tip towards the feet and its spheres facing as the nose does; with
    `back_face`, the other way (a patient who lies face down). The tool's tip becomes the origin of ``r``:
    follow with `fit_translation`.

    Parameters
    ----------
    pr_M_t : (4, 4) rigid
        The tool: z_t along its shaft to the tip, spheres towards -x_t.

    Notes
    -----
    ``r_M_pr = Ry(180 deg) Rz(90 deg) inverse(pr_M_t)``, with Rz(-90 deg) for the back face; ``r`` is LPS.

    Examples
    --------
    >>> r_M_pr = fast_orientation(np.eye(4))  # z_t to the feet, -x_t to the nose
    >>> (transform_points(r_M_pr, [[0, 0, 1], [-1, 0, 0]])).round(9) + 0.0
    array([[ 0.,  0., -1.],
           [ 0., -1.,  0.]])
    """
    m = check_poses(np.asarray(pr_M_t)[None], "pr_M_t")[0]
    turn = Rotation.from_euler("YZ", [180, -90 if back_face else 90], degrees=True)
    r_M_pr: Array = pose_from(turn, np.zeros(3)) @ inverse(m)
    return r_M_pr


def fit_rigid_anisotropic(p_from: ArrayLike, p_to: ArrayLike, fle_covariance: ArrayLike) -> RigidFit:
    """The rigid fit for points that are known better in some directions: least Mahalanobis distance.

    An optical tracker errs about three times more along its view; there this fit has less TRE than any with
    one weight a point (`tre_covariance` with ``weights=np.linalg.inv(fle_covariance)`` tells how much).
    Gauss-Newton from the solution of `fit_rigid` [1]_.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 3, not on a line
    fle_covariance : (3, 3) or (n, 3, 3) mm^2, positive definite, in the space of `p_to`
        Of the errors of both sets together.

    Returns
    -------
    RigidFit
        `covariance` is the one that `fle_covariance` gives, not one from the residual; `fre_rms_mm` and
        `residual_mm` are plain distances, which this fit does not make least.

    References
    ----------
    .. [1] Danilchenko, Fitzpatrick, IEEE Trans. Med. Imaging 30(3), 2011, doi:10.1109/TMI.2010.2091513.

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [50, 0, 0], [0, 30, 0], [0, 0, 20.0]])
    >>> fit = fit_rigid_anisotropic(p, p + [1, 2, 3], np.diag([0.01, 0.01, 0.09]))
    >>> fit.matrix[:3, 3].round(6), fit.sd_mm([1, 2, 3]).round(2)
    (array([1., 2., 3.]), np.float64(0.19))
    """
    plain = fit_rigid(p_from, p_to)
    p, q = check_pairs(p_from, p_to, 3)
    s = check_covariances(fle_covariance, len(p))
    w = precision(s)
    matrix = anisotropic(p, q, w)
    there = transform_points(matrix, p)
    centre = there.mean(axis=0)
    to_origin = np.eye(6)  # a turn about the centre shifts the origin by minus turn x centre
    to_origin[:3, 3:] = cross(centre)
    covariance = to_origin @ motion_covariance(there - centre, s, w) @ to_origin.T
    residual = np.linalg.norm(there - q, axis=1)
    fre = float(np.sqrt((residual**2).mean()))
    return RigidFit(matrix, 1.0, fre, residual, plain.singular_values, covariance)


def anisotropic(p: Array, q: Array, w: Array) -> Array:
    """Transforms (..., 4, 4) of point sets (..., n, 3) with weights (n, 3, 3); nothing is checked."""
    found, _, _ = kabsch(p, q, np.trace(w, axis1=-2, axis2=-1))
    reach = float(np.ptp(p, axis=-2).max())
    in_mm = np.array([1, 1, 1, reach, reach, reach])
    for _ in range(50):
        there = p @ np.swapaxes(found[..., :3, :3], -1, -2) + found[..., None, :3, 3]
        centre = there.mean(axis=-2)
        step = (gains(there - centre[..., None, :], w) @ (q - there)[..., None]).sum(axis=-3)[..., 0]
        turn = Rotation.from_rotvec(step[..., 3:].reshape(-1, 3)).as_matrix().reshape(*step.shape[:-1], 3, 3)
        about = centre - (turn @ centre[..., None])[..., 0]
        found = pose_from(turn, about + step[..., :3]) @ found
        if np.abs(step * in_mm).max() < 1e-10 * reach:
            break
    return found


def precision(s: Array) -> Array:
    """The inverse of covariances (n, 3, 3)."""
    values = np.linalg.eigvalsh(s)
    if (values[:, 0] <= 1e-9 * values[:, 2]).any():
        raise ValueError("fle_covariance is 0 in some direction; expected a variance above 0 in all.")
    return np.asarray(np.linalg.inv(s))


def check_pairs(p_from: ArrayLike, p_to: ArrayLike, at_least: int) -> tuple[Array, Array]:
    p = check_points(p_from, "p_from", at_least=at_least)
    q = check_points(p_to, "p_to", at_least=at_least)
    if p.shape != q.shape:
        raise ValueError(f"p_from has {len(p)} points and p_to {len(q)}; expected pairs, in the same order.")
    return p, q


def _check_weights(weights: ArrayLike | None, n: int, at_least: int) -> Array:
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (n,):
        raise ValueError(f"weights has shape {w.shape}; expected ({n},), one for each pair.")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError(f"weights are {w}; expected finite numbers that are not negative.")
    if (w > 0).sum() < at_least:
        raise ValueError(f"{(w > 0).sum()} weights are positive; expected at least {at_least}.")
    return w


def _pair_fit(matrix: Array, p: Array, q: Array, w: Array, warnings: list[str]) -> PairFit:
    residual = np.linalg.norm(transform_points(matrix, p) - q, axis=1)
    fre = float(np.sqrt(np.average(residual**2, weights=w)))
    return PairFit(matrix, fre, residual, tuple(warnings))
