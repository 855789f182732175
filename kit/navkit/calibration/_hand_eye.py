"""Hand-eye calibration: the fixed transform between two things that move together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_poses, compose, pose_error, pose_from

Array = NDArray[np.float64]

LEAST_TURN_DEG = 2.0
"""Motions that turn less than this tell too little about the axis of their turn."""
LEAST_ANGLE_DEG = 2.0
"""Axes of two motions that differ by less than this count as parallel."""


@dataclass(frozen=True)
class HandEyeResult:
    """The transform X of ``A_i X = X B_i`` and what tells whether to trust it.

    Parameters
    ----------
    x : (4, 4) rigid
    rotation_rms_deg, translation_rms_mm : RMS over the motions of how far ``A X`` is from ``X B``
    axes_deg : the largest angle between the axes of two motions; near 0 the answer is undetermined
    condition : of the equations for the translation; large when all motions turn about one axis
    """

    x: Array
    rotation_rms_deg: float
    translation_rms_mm: float
    axes_deg: float
    condition: float


def solve_hand_eye(
    a: ArrayLike, b: ArrayLike, *, method: Literal["park", "tsai", "daniilidis"] = "park"
) -> HandEyeResult:
    """Solve ``A_i X = X B_i`` for motions seen from two sides.

    With poses ``pr_M_s`` of a sensor and ``w_M_c`` of a camera fixed to it, a pair of moments gives
    ``A = inverse(pr_M_s[i]) @ pr_M_s[j]``, ``B = inverse(w_M_c[i]) @ w_M_c[j]`` and ``X = s_M_c``.

    Parameters
    ----------
    a, b : (n, 4, 4) rigid, n >= 2
        The same motions, row i of one belonging to row i of the other.
    method : "park" [1]_ (rotation by least squares on the logarithms), "tsai" [2]_ (on modified
        Rodrigues vectors), "daniilidis" [3]_ (rotation and translation at once, by dual quaternions)

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two motions, fewer than two turn by 2 degrees, or all turn
        about parallel axes: then X is free to slide along and turn about that axis.

    References
    ----------
    .. [1] Park, Martin, IEEE Trans. Robot. Autom. 10(5), 1994, doi:10.1109/70.326576.
    .. [2] Tsai, Lenz, IEEE Trans. Robot. Autom. 5(3), 1989, doi:10.1109/70.34770.
    .. [3] Daniilidis, Int. J. Robot. Res. 18(3), 1999, doi:10.1177/02783649922066213.
    """
    if method not in ("park", "tsai", "daniilidis"):
        raise ValueError(f"method is {method!r}; expected 'park', 'tsai' or 'daniilidis'.")
    m_a, m_b = check_poses(a, "a", at_least=2), check_poses(b, "b", at_least=2)
    if len(m_a) != len(m_b):
        raise ValueError(f"a has {len(m_a)} motions and b {len(m_b)}; expected pairs, in the same order.")
    turn_a = Rotation.from_matrix(m_a[:, :3, :3]).as_rotvec()
    turn_b = Rotation.from_matrix(m_b[:, :3, :3]).as_rotvec()
    axes_deg = _demand_axes(turn_a)

    if method == "daniilidis":
        x = _daniilidis(m_a, m_b)
    else:
        rotation = _park(turn_a, turn_b) if method == "park" else _tsai(turn_a, turn_b)
        x = pose_from(rotation, _translation(m_a, m_b, rotation))
    off = pose_error(compose(m_a, x), compose(x, m_b))
    singular = np.linalg.svd((m_a[:, :3, :3] - np.eye(3)).reshape(-1, 3), compute_uv=False)
    return HandEyeResult(
        x,
        float(np.degrees(np.sqrt(np.mean(off.rotation_rad**2)))),
        float(np.sqrt(np.mean(off.translation_mm**2))),
        axes_deg,
        float(singular[0] / singular[-1]),
    )


def _demand_axes(turn: Array) -> float:
    """The largest angle between axes of turning, in degrees; refuses motions that do not determine X."""
    angle = np.degrees(np.linalg.norm(turn, axis=1))
    turning = angle >= LEAST_TURN_DEG
    if turning.sum() < 2:
        raise ValueError(
            f"{turning.sum()} of {len(turn)} motions turn by {LEAST_TURN_DEG:.0f} deg or more (the largest "
            f"by {angle.max():.2f} deg); expected at least two. Were the poses too close together?"
        )
    axis = turn[turning] / np.linalg.norm(turn[turning], axis=1)[:, None]
    cosine = np.abs(axis @ axis.T).min()
    axes_deg = float(np.degrees(np.arccos(min(cosine, 1.0))))
    if axes_deg < LEAST_ANGLE_DEG:
        raise ValueError(
            f"all motions turn about one axis (within {axes_deg:.2f} deg); expected axes that differ by "
            f"{LEAST_ANGLE_DEG:.0f} deg or more. The transform is free to slide along that axis."
        )
    return axes_deg


def _park(turn_a: Array, turn_b: Array) -> Array:
    """The rotation that best carries the axes of B onto those of A, by least squares."""
    u, _, vt = np.linalg.svd(turn_a.T @ turn_b)
    rotation: Array = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return rotation


def _tsai(turn_a: Array, turn_b: Array) -> Array:
    """Tsai and Lenz's linear equations for a modified Rodrigues vector.

    The vector is infinite for a rotation of 180 degrees, so the equations are solved for what is left of
    two starting rotations that cannot both be half a turn away; the better answer is kept.
    """
    found = []
    for start in (np.eye(3), Rotation.from_rotvec([0.5, 1.0, 1.5]).as_matrix()):
        seen = turn_b @ start.T
        p_a, p_b = _half_sines(turn_a), _half_sines(seen)
        rows = _cross_matrix(p_a + p_b).reshape(-1, 3)
        half = np.asarray(np.linalg.lstsq(rows, (p_b - p_a).reshape(-1), rcond=None)[0], dtype=float)
        angle = 2 * np.arctan(np.linalg.norm(half))
        rotation: Array = Rotation.from_rotvec(angle * _unit(half)).as_matrix() @ start
        found.append((float(np.linalg.norm(turn_a - turn_b @ rotation.T)), rotation))
    return min(found, key=lambda one: one[0])[1]


def _half_sines(turn: Array) -> Array:
    angle: Array = np.asarray(np.linalg.norm(turn, axis=1, keepdims=True), dtype=float)
    scaled: Array = 2 * np.sin(angle / 2) * turn / np.maximum(angle, 1e-300)
    return scaled


def _unit(v: Array) -> Array:
    unit: Array = v / max(float(np.linalg.norm(v)), 1e-300)
    return unit


def _translation(a: Array, b: Array, rotation: Array) -> Array:
    """``(R_A - 1) t = R_X t_B - t_A``, all motions together."""
    rows = (a[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = b[:, :3, 3] @ rotation.T - a[:, :3, 3]
    return np.asarray(np.linalg.lstsq(rows, right.reshape(-1), rcond=None)[0], dtype=float)


def _cross_matrix(v: Array) -> Array:
    """(n, 3, 3) matrices that take the cross product with each of (n, 3)."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def _daniilidis(a: Array, b: Array) -> Array:
    """Rotation and translation at once: the null space of six equations a motion for a dual quaternion."""
    (q_a, d_a), (q_b, d_b) = _dual_quaternions(a), _dual_quaternions(b)
    n = len(a)
    t = np.zeros((n, 6, 8))
    t[:, :3, 0], t[:, :3, 1:4] = q_a[:, 1:] - q_b[:, 1:], _cross_matrix(q_a[:, 1:] + q_b[:, 1:])
    t[:, 3:, 0], t[:, 3:, 1:4] = d_a[:, 1:] - d_b[:, 1:], _cross_matrix(d_a[:, 1:] + d_b[:, 1:])
    t[:, 3:, 4], t[:, 3:, 5:] = t[:, :3, 0], t[:, :3, 1:4]
    v = np.linalg.svd(t.reshape(-1, 8), full_matrices=False)[2][-2:]
    (u1, v1), (u2, v2) = ((row[:4], row[4:]) for row in v)
    # x1 u1 + x2 u2 of unit length and with a dual part at right angles to it
    quadratic = (u1 @ v1, u1 @ v2 + u2 @ v1, u2 @ v2)
    candidates = [(1.0, 0.0)] if abs(quadratic[0]) < 1e-12 * (abs(u2 @ v2) + 1e-300) else []
    candidates += [(s, 1.0) for s in np.real(np.roots(quadratic)) if np.isfinite(s)]
    size = [(s1 * u1 + s2 * u2) @ (s1 * u1 + s2 * u2) for s1, s2 in candidates]
    s1, s2 = candidates[int(np.argmax(size))]
    scale = 1 / np.sqrt(max(size))
    real, dual = scale * (s1 * u1 + s2 * u2), scale * (s1 * v1 + s2 * v2)
    rotation = Rotation.from_quat(real, scalar_first=True)
    # t = 2 dual * conjugate(real)
    shift = 2 * (-dual[0] * real[1:] + real[0] * dual[1:] - np.cross(dual[1:], real[1:]))
    return pose_from(rotation, shift)


def _dual_quaternions(m: Array) -> tuple[Array, Array]:
    """Real and dual parts (n, 4), scalar first, the real scalar not negative."""
    real = Rotation.from_matrix(m[:, :3, :3]).as_quat(canonical=True, scalar_first=True)
    t, w, v = m[:, :3, 3], real[:, :1], real[:, 1:]
    dual = 0.5 * np.hstack([-np.sum(t * v, axis=1, keepdims=True), w * t + np.cross(t, v)])
    return real, dual
