"""Which motions of a surface its own shape leaves free."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, cross

Array = NDArray[np.float64]

SEEN_AT_LEAST = 0.1
"""A motion that changes the distances by less than this part of itself counts as free."""
SLIDE = 0.2
"""A turn about an axis farther away than 5 times the RMS radius of the points is called a slide."""
ROLL = 0.05
"""A turn that moves along its axis by less than this part of that radius in 1 rad is no screw."""
NEVER = 1e-12
"""A square of what is seen, or of how far points move, that is below this is rounding."""


@dataclass(frozen=True)
class FreeMotion:
    """A motion that a surface does not resist: a slide (`turn` is zero), a roll or a screw.

    Parameters
    ----------
    words : str
        Such as "slides along (0.00, 0.00, 1.00)" or "rolls about (...) through (...)".
    axis : (3,) unit
    through : (3,) mm
        A point of the axis, the nearest to the centre of the points.
    pitch_mm : float
        Slide along the axis in one turn: 0 for a roll, infinite for a slide.
    """

    words: str
    axis: Array
    through: Array
    pitch_mm: float


@dataclass(frozen=True)
class Observability:
    """What the distances from a surface tell about a pose, and what they do not.

    Parameters
    ----------
    seen : (6,) rising, 0 to 1
        Of six motions that together make every small one: by how much the distances from the surface
        change, RMS, when the motion moves the points by 1, RMS. Pushed against a plane it is 1, along it 0.
    motion : (6, 6)
        A row each: the shift (mm) of `centre` and turn (rad) about it that move the points by 1 mm RMS.
    centre : (3,) mm
        The mean of the points.
    free : tuple of FreeMotion
        The motions of which less than `seen_at_least` is seen, as slides and rolls: as many as there are
        degrees of freedom left.
    n : int
        Points with a normal.
    """

    seen: Array
    motion: Array
    centre: Array
    free: tuple[FreeMotion, ...]
    n: int

    @property
    def words(self) -> str:
        """One sentence on what is free."""
        if not self.free:
            return f"every motion is seen, the least to {self.seen[0]:.0%}"
        return "; ".join(motion.words for motion in self.free)

    def covariance(self, noise_mm: float) -> Array:
        """Of the pose's shift (mm) and turn (rad) about the origin (6, 6), if distances err by `noise_mm`.

        For errors of the points that are independent of each other, of standard deviation `noise_mm` along
        the normal. A motion that is not seen at all gets a million times the sd of a push against a plane.
        """
        scaled = self.motion / np.maximum(self.seen, np.sqrt(NEVER))[:, None]
        to_origin = np.eye(6)
        to_origin[:3, 3:] = cross(self.centre)  # a turn about the centre shifts the origin
        moved = to_origin @ scaled.T
        covariance: Array = noise_mm**2 / self.n * moved @ moved.T
        return covariance


def observability(
    points: ArrayLike, normals: ArrayLike, *, seen_at_least: float = SEEN_AT_LEAST
) -> Observability:
    """The motions points can make along their surface: a slide and a roll on a tube, all turns on a ball.

    From the eigenvalues of the normal matrix of point-to-plane ICP [1]_, relative to how far the points
    themselves move, so that turns and shifts compare. Errors of the normals let a free motion look seen by
    about their size, in rad: `seen_at_least` has to be above it.

    Parameters
    ----------
    points : (n, 3) mm, n >= 6
    normals : (n, 3) across the surface there, of any sign; zero where not known
    seen_at_least : float
        What is seen less counts as free.

    Returns
    -------
    Observability

    Raises
    ------
    ValueError
        If a shape is wrong, fewer than 6 points have a normal, or all the points are one.

    References
    ----------
    .. [1] Gelfand, Ikemoto, Rusinkiewicz, Levoy, Geometrically stable sampling for the ICP algorithm,
       3DIM 2003, doi:10.1109/IM.2003.1240258, who scale by a length; the motion of the points needs none.

    Examples
    --------
    >>> t = np.arange(12)
    >>> across = np.stack([np.cos(t), np.sin(t), 0 * t], axis=1)
    >>> print(observability(9 * across + np.outer(t, [0, 0, 5]), across).words)
    slides along (0.00, 0.00, 1.00); rolls about (0.00, 0.00, 1.00) through (0.0, 0.0, 27.5) mm
    """
    p = check_points(points, "points", at_least=6)
    n = check_points(normals, "normals", at_least=6)
    if p.shape != n.shape:
        raise ValueError(f"{len(n)} normals for {len(p)} points; expected one for each.")
    size = np.linalg.norm(n, axis=1)
    if (size > 0).sum() < 6:
        raise ValueError(f"{(size > 0).sum()} points have a normal that is not zero; expected at least 6.")
    p, n = p[size > 0], n[size > 0] / size[size > 0, None]
    centre = p.mean(axis=0)
    arm = p - centre
    length = np.sqrt((arm**2).sum() / len(p))
    if not length > 0:
        raise ValueError("all the points are the same; expected points all over a surface.")
    arm = arm / length
    change = np.concatenate([n, np.cross(arm, n)], axis=1)
    moves = np.eye(6)  # their mean square motion: no product of a shift and a turn about the centre is left
    moves[3:, 3:] -= arm.T @ arm / len(p)
    # Points on a line do not move when turned about it, and see nothing of that.
    scale, axes = np.linalg.eigh(moves)
    basis = axes / np.sqrt(np.maximum(scale, NEVER))
    square, vectors = np.linalg.eigh(basis.T @ (change.T @ change / len(p)) @ basis)
    seen = np.sqrt(np.clip(square, 0, 1))
    motion = (basis @ vectors).T / np.repeat([1, length], 3)
    loose = motion[seen < seen_at_least]
    return Observability(seen, motion, centre, _named(loose, centre, length), len(p))


def _named(loose: Array, centre: Array, length: float) -> tuple[FreeMotion, ...]:
    """Motions (k, 6) about the centre as slides, then rolls, that make the same motions together."""
    span, _ = np.linalg.qr((loose * np.repeat([1, length], 3)).T)
    _, vectors = np.linalg.eigh(span[3:].T @ span[3:])  # those that turn least come first
    span = span @ vectors
    is_slide = np.linalg.norm(span[3:], axis=0) < SLIDE
    slides, _ = np.linalg.qr(span[:3, is_slide])
    rolls = span[:, ~is_slide]
    if rolls.shape[1] == 3:  # about any axis: then those of the space
        rolls = rolls @ np.linalg.inv(rolls[3:])
    found = []
    for slide in slides.T:
        axis = _forwards(slide)
        found.append(FreeMotion(f"slides along {_told(axis, 2)}", axis, centre, np.inf))
    for shift, turn in zip(rolls[:3].T, rolls[3:].T / length, strict=True):
        square = turn @ turn
        axis, through = _forwards(turn / np.sqrt(square)), centre + np.cross(turn, shift) / square
        pitch = 2 * np.pi * (turn @ shift) / square
        where = f"{_told(axis, 2)} through {_told(through, 1)} mm"
        if abs(pitch) < 2 * np.pi * ROLL * length:
            found.append(FreeMotion(f"rolls about {where}", axis, through, 0.0))
        else:
            found.append(FreeMotion(f"screws about {where}, {pitch:.1f} mm a turn", axis, through, pitch))
    return tuple(found)


def _forwards(axis: Array) -> Array:
    """The axis with the sign that makes its largest part positive."""
    out: Array = axis * np.sign(axis[np.abs(axis).argmax()])
    return out


def _told(v: Array, digits: int) -> str:
    return "(" + ", ".join(f"{x:.{digits}f}" for x in v.round(digits) + 0.0) + ")"
