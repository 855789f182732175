"""Plain numbers: what an answer becomes before anything is said of it, and how errors are measured.

Every function used is bound when this module is imported: who patches numpy later changes nothing here.
"""

import math
import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.checking._words import named, say

Array = NDArray[np.float64]

_array, _abs, _isnan, _isfinite = np.array, np.abs, np.isnan, np.isfinite
_argmax, _unravel, det, eye, zeros = np.argmax, np.unravel_index, np.linalg.det, np.eye, np.zeros
degrees, radians, hypot, sqrt = math.degrees, math.radians, math.hypot, math.sqrt
_atan2, _arctan2, _inf, _pi = math.atan2, np.arctan2, math.inf, math.pi
_real = numbers.Real
errstate, _float64, _float32 = np.errstate, np.float64, np.float32
_catch, _simplefilter = warnings.catch_warnings, warnings.simplefilter

FLOAT32_SLACK = 8 * float(np.finfo(np.float32).eps)
"""What single precision may cost, relative to the largest value: a right answer stays right."""
FLOAT64_SLACK = 8 * float(np.finfo(np.float64).eps)
RIGID_TOLERANCE = 1e-3
"""Largest element of ``R.T @ R - 1`` still called a rotation, as in `navkit.geometry`."""


class CheckFailed(AssertionError):  # noqa: N818  (a failed check is no error of the program)
    """An answer that is not right; the message is one sentence or two for the learner.

    Attributes
    ----------
    earned : float
        The share of the marks, 0 to less than 1, that properties earn which do hold.
    mistake : str
        The known mistake that was named: an id of the catalogue or the author's words; else "".
    """

    def __init__(self, message: str = "", *, earned: float = 0.0, mistake: str = "") -> None:
        super().__init__(message)
        self.earned = earned
        self.mistake = mistake

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the message alone, without the frames of this module."""
        return [str(self)]


CheckFailed.__module__ = "navkit.checking"  # where people import it from


@dataclass(frozen=True)
class About:
    """What one answer is called, the author's advice, and the known mistake that it shows ("" for none)."""

    what: str
    hint: str = ""
    mistake: str = ""

    def fails(
        self, name: str, values: Mapping[str, object], *, then: str = "", earned: float = 0.0
    ) -> CheckFailed:
        """The failure: the sentence `name` of the catalogue, a question `then`, the mistake, the advice."""
        looks = say("looks_like", {"mistake": named(self.mistake).rstrip(".")}) if self.mistake else ""
        told = say(name, {"what": self.what, **values}) + then + looks
        return CheckFailed(f"{told} {self.hint}".rstrip(), earned=earned, mistake=self.mistake)


def plain(value: ArrayLike) -> Array:
    """The author's numbers, copied."""
    return _array(value, dtype=_float64)


def numbers_of(got: object, shape: tuple[int, ...], about: About) -> tuple[Array, float]:
    """The answer as plain numbers, and its relative precision; anything else is refused."""
    if got is None:
        raise about.fails("none", {})
    kind = type(got).__name__
    trouble = about.fails("type", {"kind": kind, "shape": shape})
    try:
        with _catch():
            _simplefilter("ignore")
            made = _array(got)
    except Exception:
        made = None
    if made is None:
        parts = say("parts", {"count": len(got)}) if isinstance(got, list | tuple) else ""
        raise about.fails("ragged", {"kind": kind, "parts": parts, "shape": shape})
    if made.dtype.kind == "O":
        if any(item is None for item in made.flat):
            raise about.fails("has_none", {})
        if made.size == 0 or not all(isinstance(item, _real) for item in made.flat):
            raise trouble
    elif made.dtype.kind == "c":
        if _abs(made.imag).max(initial=0.0) > 0:
            raise about.fails("complex", {})
        made = made.real
    elif made.dtype.kind not in "biuf":
        raise trouble
    relative = FLOAT32_SLACK if made.dtype.type is _float32 else FLOAT64_SLACK
    return _array(made, dtype=_float64), relative


def demand_shape(answer: Array, shape: tuple[int, ...], about: About) -> None:
    if answer.shape != shape:
        swapped = len(shape) == 2 and shape[0] != shape[1] and answer.shape == shape[::-1]
        then = say("ask_swapped") if swapped else ""
        raise about.fails("shape", {"got": answer.shape, "shape": shape}, then=then)


def demand_finite(answer: Array, truth: Array, about: About) -> None:
    no_data = _isnan(truth)
    missing = ~_isfinite(answer) & ~no_data
    invented = _isfinite(answer) & no_data
    if missing.any():
        at = first(missing)
        count = int(missing.sum())
        many = say("in_all", {"count": count}) if count > 1 else ""
        raise about.fails("not_finite", {"value": answer[at], "where": place(at, truth), "many": many})
    if invented.any():
        raise about.fails("invented", {"where": place(first(invented), truth)})


def largest_size(answer: Array) -> float:
    return float(_abs(answer[_isfinite(answer)]).max(initial=0.0))


def largest_error(a: Array, b: Array) -> tuple[float, tuple[int, ...]]:
    """The largest absolute difference and where it is; NaN agrees with NaN only."""
    if a.size == 0:
        return 0.0, ()
    with errstate(invalid="ignore"):  # inf - inf
        error = _array(_abs(a - b))
    error[_isnan(a) & _isnan(b)] = 0.0
    error[_isnan(error)] = _inf
    index = first(error)
    return float(error[index]), index


def first(values: NDArray[Any]) -> tuple[int, ...]:
    """Where the largest value stands; for a mask, where it is first True."""
    return tuple(int(i) for i in _unravel(int(_argmax(values)), values.shape))


def place(index: tuple[int, ...], truth: Array) -> str:
    return say("at", {"index": index_text(index)}) if truth.size > 1 else ""


def index_text(index: tuple[int, ...]) -> str:
    return str(index[0]) if len(index) == 1 else str(index)


def angle_deg(r: Array) -> float:
    """The angle of a rotation; sine and cosine together keep small angles exact."""
    axial = (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    return degrees(_atan2(hypot(*axial) / 2, (float(r.trace()) - 1) / 2))


def quaternion_angles_deg(a: Array, b: Array) -> Array:
    """The angle of the turn between quaternions (..., 4) of length 1, whatever their signs."""
    less, more = ((a - b) ** 2).sum(axis=-1), ((a + b) ** 2).sum(axis=-1)
    angle = 4 * _arctan2(less**0.5, more**0.5)
    return _array(degrees(1.0) * (_pi - abs(angle - _pi)))
