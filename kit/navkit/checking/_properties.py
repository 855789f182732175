"""Properties that an answer must have, whatever its numbers: looked at before the accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from navkit.checking._plain import (
    RIGID_TOLERANCE,
    About,
    Array,
    det,
    errstate,
    eye,
    largest_error,
    plain,
)
from navkit.checking._words import named


@dataclass(frozen=True)
class Property:
    """One demand on an answer, and what it is worth.

    Parameters
    ----------
    says : str
        What follows the name of the answer when the demand is not met: "is not symmetric"; or an id of
        the catalogue.
    holds : function
        Of the answer as a plain float array; true when the demand is met. An error counts as not met.
    share : float
        The part of the marks, 0 to less than 1, that the property earns when the answer is wrong otherwise.
        A constant may have it too: keep it small.
    """

    says: str
    holds: Callable[[Array], object]
    share: float = 0.0


def orthogonal(share: float = 0.0) -> Property:
    """``R.T @ R`` is the identity: a rotation or a mirror image (also the 3 x 3 part of a pose)."""
    return Property("is_orthogonal", lambda a: _near(_turn(a).T @ _turn(a), eye(3)), share)


def proper(share: float = 0.0) -> Property:
    """The determinant is +1 (also of the 3 x 3 part of a pose)."""
    return Property("is_proper", lambda a: abs(float(det(_turn(a))) - 1) <= 3 * RIGID_TOLERANCE, share)


def symmetric(share: float = 0.0) -> Property:
    return Property("is_symmetric", lambda a: _near(a, a.T, RIGID_TOLERANCE * float(abs(a).max())), share)


def unit_length(share: float = 0.0) -> Property:
    """Every last axis has length 1: directions and quaternions."""
    return Property("is_unit", lambda a: (abs((a**2).sum(axis=-1) - 1) <= 2 * RIGID_TOLERANCE).all(), share)


def increasing(share: float = 0.0) -> Property:
    return Property("is_increasing", lambda a: (a[1:] > a[:-1]).all(), share)


def positive(share: float = 0.0) -> Property:
    return Property("is_positive", lambda a: (a > 0).all(), share)


def demand_properties(answer: Array, properties: Sequence[Property], about: About) -> float:
    """Raise for the first property that is missing, with what the others earn; else what all earn."""
    has = [_holds(one, answer) for one in properties]
    earned = sum(one.share for one, ok in zip(properties, has, strict=True) if ok)
    for one, ok in zip(properties, has, strict=True):
        if not ok:
            raise about.fails("demanded", {"property": named(one.says).rstrip(".")}, earned=earned)
    return earned


def _holds(one: Property, answer: Array) -> bool:
    try:
        with errstate(all="ignore"):
            return bool(one.holds(plain(answer)))
    except Exception:
        return False


def _turn(a: Array) -> Array:
    return a[:3, :3] if a.shape == (4, 4) else a


def _near(a: Array, b: Array, tolerance: float = RIGID_TOLERANCE) -> bool:
    return a.shape == b.shape and largest_error(a, b)[0] <= tolerance
