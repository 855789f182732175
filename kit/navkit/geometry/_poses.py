"""Rigid transforms on ``(..., 4, 4)`` arrays: checking, composing, averaging, interpolating, comparing."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

RAS_M_LPS: Array = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Slicer's and NIfTI's space from CustusX's, DICOM's and ITK's: x and y change sign."""
RAS_M_LPS.setflags(write=False)

RIGID_TOLERANCE = 1e-3
"""Largest element of ``R.T @ R - 1`` still called rigid; six printed digits give 1e-6."""


@dataclass(frozen=True)
class PoseError:
    """How far one pose is from another: ``translation_mm`` and ``rotation_rad``."""

    translation_mm: Array
    rotation_rad: Array


def check_points(points: ArrayLike, name: str, *, at_least: int = 1) -> Array:
    """Points as a float array of shape (n, 3), or one sentence on what is wrong.

    Raises
    ------
    ValueError
        If the shape is not (n, 3), there are fewer than `at_least`, or a value is not finite.
    """
    p = np.asarray(points, dtype=float)
    if p.ndim != 2 or p.shape[1] != 3:
        hint = " Are the points in columns?" if p.ndim == 2 and p.shape[0] == 3 else ""
        raise ValueError(f"{name} has shape {p.shape}; expected (n, 3).{hint}")
    if len(p) < at_least:
        raise ValueError(f"{name} has {len(p)} points; expected at least {at_least}.")
    if not np.isfinite(p).all():
        row = int(np.flatnonzero(~np.isfinite(p).all(axis=1))[0])
        raise ValueError(f"{name}[{row}] is {p[row]}; expected finite numbers. Was a marker hidden?")
    return p


def check_poses(poses: ArrayLike, name: str, *, at_least: int = 1) -> Array:
    """Rigid transforms as a float array of shape (n, 4, 4), or one sentence on what is wrong.

    Raises
    ------
    ValueError
        If the shape is not (n, 4, 4), the last row is not 0 0 0 1, or a 3 x 3 part is not a
        rotation (a scale, a mirror, a transposed file).
    """
    m = np.asarray(poses, dtype=float)
    if m.ndim != 3 or m.shape[1:] != (4, 4):
        raise ValueError(f"{name} has shape {m.shape}; expected (n, 4, 4).")
    if len(m) < at_least:
        raise ValueError(f"{name} has {len(m)} poses; expected at least {at_least}.")
    if not np.isfinite(m).all():
        k = int(np.flatnonzero(~np.isfinite(m).all(axis=(1, 2)))[0])
        raise ValueError(
            f"{name}[{k}] has NaN or infinity in it; expected finite numbers. Was the tool hidden?"
        )
    # Poses last: numpy is quick along a long axis and slow on many small matrices.
    columns = m.transpose(2, 1, 0).copy()
    apart = np.abs(columns[:, 3] - [[0], [0], [0], [1]]) > [[1e-8], [1e-8], [1e-8], [1e-5]]
    if apart.any():
        k = int(np.flatnonzero(apart.any(axis=0))[0])
        raise ValueError(
            f"{name}[{k}] ends in the row {m[k, 3]}; expected 0 0 0 1. Is the matrix transposed?"
        )
    r = columns[:3, :3]
    off = np.abs(np.einsum("ikn,jkn->ijn", r, r) - np.eye(3)[:, :, None]).max(axis=(0, 1))
    (a, b, c), (d, e, f), (g, h, i) = r
    det = a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)
    bad = ~((off <= RIGID_TOLERANCE) & (det > 0))
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{name}[{k}] is not rigid: its 3 x 3 part has determinant {det[k]:.4g} (expected 1) and "
            f"misses orthogonality by {off[k]:.2g}. A scale, a mirrored axis or a mistyped number?"
        )
    return m


def pose_from(rotation: Rotation | ArrayLike, translation: ArrayLike) -> Array:
    """A (..., 4, 4) transform from a scipy `Rotation` or (..., 3, 3) matrix, and (..., 3) mm.

    >>> pose_from(np.eye(3), [1, 2, 3])[:3, 3]
    array([1., 2., 3.])
    """
    r = rotation.as_matrix() if isinstance(rotation, Rotation) else np.asarray(rotation, dtype=float)
    t = np.asarray(translation, dtype=float)
    shape = np.broadcast_shapes(r.shape[:-2], t.shape[:-1])
    m = np.zeros((*shape, 4, 4))
    m[..., :3, :3] = r
    m[..., :3, 3] = t
    m[..., 3, 3] = 1.0
    return m


def compose(*transforms: ArrayLike) -> Array:
    """The product from left to right: ``compose(r_M_pr, pr_M_t)`` is ``r_M_t``.

    >>> r_M_pr, pr_M_t = pose_from(np.eye(3), [1, 0, 0]), pose_from(np.eye(3), [0, 2, 0])
    >>> compose(r_M_pr, pr_M_t)[:3, 3]
    array([1., 2., 0.])
    """
    if not transforms:
        return np.eye(4)
    product: Array = reduce(np.matmul, (np.asarray(m, dtype=float) for m in transforms))
    return product


def inverse(q_M_r: ArrayLike) -> Array:
    """``r_M_q`` from ``q_M_r``, shape (..., 4, 4); affine transforms too.

    >>> inverse(pose_from(np.eye(3), [1, 2, 3]))[:3, 3]
    array([-1., -2., -3.])
    """
    m = np.asarray(q_M_r, dtype=float)
    out = np.zeros_like(m)
    a = np.linalg.inv(m[..., :3, :3])
    out[..., :3, :3] = a
    out[..., :3, 3] = -(a @ m[..., :3, 3, None])[..., 0]
    out[..., 3, 3] = 1.0
    return out


def transform_points(q_M_r: ArrayLike, p_r: ArrayLike) -> Array:
    """Points (..., 3) given in ``r``, expressed in ``q``; ``(k, 4, 4)`` gives ``(k, ..., 3)``.

    >>> transform_points(pose_from(np.eye(3), [1, 2, 3]), [[0, 0, 0], [1, 1, 1]])
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    m = np.asarray(q_M_r, dtype=float)
    p = np.asarray(p_r, dtype=float)
    if p.shape[-1:] != (3,):
        raise ValueError(f"p_r has shape {p.shape}; expected (..., 3). Are the points in columns?")
    linear = m[..., :3, :3].reshape(m.shape[:-2] + (1,) * max(p.ndim - 2, 0) + (3, 3))
    shift = m[..., :3, 3].reshape(m.shape[:-2] + (1,) * (p.ndim - 1) + (3,))
    moved: Array = (linear @ p if p.ndim == 1 else p @ np.swapaxes(linear, -1, -2)) + shift
    return moved


def orthonormalised(m: ArrayLike) -> Array:
    """The nearest rigid transforms (Frobenius norm): files keep six digits, poses need sixteen."""
    out = np.array(m, dtype=float)
    u, _, vt = np.linalg.svd(out[..., :3, :3])
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    out[..., :3, :3] = u @ vt
    return out


def mean_pose(poses: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """The mean of (n, 4, 4) poses: arithmetic for positions, chordal L2 for rotations.

    The rotation is the one of Markley's quaternion mean [1]_ (scipy's `Rotation.mean`), which
    does not depend on the sign of any quaternion.

    References
    ----------
    .. [1] Markley, Cheng, Crassidis, Oshman, J. Guid. Control Dyn. 30(4), 2007, doi:10.2514/1.28949.
    """
    m = check_poses(poses, "poses")
    w = None if weights is None else np.asarray(weights, dtype=float)
    rotation = Rotation.from_matrix(m[:, :3, :3]).mean(weights=w)
    return pose_from(rotation, np.average(m[:, :3, 3], axis=0, weights=w))


def interpolate_poses(
    time_s: ArrayLike,
    poses: ArrayLike,
    query_s: ArrayLike,
    *,
    max_gap_s: float,
    extrapolate: bool = False,
) -> tuple[Array, NDArray[np.bool_]]:
    """Poses at other times: slerp for rotation, linear for position.

    A query is valid when it lies within the stream and both neighbouring samples are within
    `max_gap_s` of it. An invalid pose is NaN: nothing is guessed.

    Parameters
    ----------
    time_s : (n,) increasing, seconds
    poses : (n, 4, 4) rigid
    query_s : (k,) seconds
    max_gap_s : seconds, as CustusX's 0.25
    extrapolate : bool
        Continue the first or last interval in a straight line beyond the ends, while the query is
        within `max_gap_s` of both samples of that interval. This is what CustusX does, without a
        limit on how far it throws a frame; keep it for comparison.

    Returns
    -------
    poses : (k, 4, 4), NaN where not valid
    valid : (k,) bool

    Examples
    --------
    >>> m = pose_from(np.eye(3), [[0, 0, 0], [10, 0, 0]])
    >>> at, valid = interpolate_poses([0, 1], m, [0.25, 1.5], max_gap_s=1)
    >>> at[0, :3, 3], valid
    (array([2.5, 0. , 0. ]), array([ True, False]))
    """
    t = np.asarray(time_s, dtype=float)
    m = check_poses(poses, "poses", at_least=2)
    q = np.atleast_1d(np.asarray(query_s, dtype=float))
    if t.shape != (len(m),):
        raise ValueError(f"time_s has shape {t.shape}; expected ({len(m)},), one time for each pose.")
    late = ~(np.diff(t) > 0)  # NaN is late as well
    if late.any():
        k = int(np.flatnonzero(late)[0]) + 1
        raise ValueError(f"time_s[{k}] = {t[k]} does not come after {t[k - 1]}; times must increase.")

    after = np.clip(np.searchsorted(t, q, side="left"), 1, len(t) - 1)
    before = after - 1
    inside = (q >= t[0]) & (q <= t[-1])
    near = (np.abs(q - t[before]) <= max_gap_s) & (np.abs(t[after] - q) <= max_gap_s)
    exact = inside & ((q == t[before]) | (q == t[after]))  # a sample itself needs no neighbour
    valid = (near & (inside | extrapolate)) | exact

    out = np.full((len(q), 4, 4), np.nan)
    if valid.any():
        rotations = Rotation.from_matrix(m[:, :3, :3])
        s = (q[valid] - t[before[valid]]) / (t[after[valid]] - t[before[valid]])
        i, j = before[valid], after[valid]
        turn = (rotations[i].inv() * rotations[j]).as_rotvec()
        rotation = rotations[i] * Rotation.from_rotvec(s[:, None] * turn)
        position = (1 - s)[:, None] * m[i, :3, 3] + s[:, None] * m[j, :3, 3]
        out[valid] = pose_from(rotation, position)
    return out, valid


def pose_error(a: ArrayLike, b: ArrayLike) -> PoseError:
    """Distance in mm and angle in rad between poses (..., 4, 4); the angle is in [0, pi].

    >>> float(pose_error(np.eye(4), pose_from(np.eye(3), [3, 4, 0])).translation_mm)
    5.0
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    turn = np.swapaxes(a[..., :3, :3], -1, -2) @ b[..., :3, :3]
    angle = np.asarray(Rotation.from_matrix(turn.reshape(-1, 3, 3)).magnitude()).reshape(turn.shape[:-2])
    return PoseError(np.linalg.norm(a[..., :3, 3] - b[..., :3, 3], axis=-1), angle)
