"""Self-checks that speak: one line when an answer is right, one sentence when it is not.

A check in a lesson is a function of the learner's function::

    @check("the tip of a noiseless pointer")
    def noiseless(find_tip):
        close(find_tip(poses), tip_s, atol=1e-6, unit="mm", what="the tip",
              likely={"the pivot point, not the tip": pivot_pr})

    noiseless(find_tip)

`close` and `close_pose` also judge answers outside the notebook. They look at plain numbers only:
an object that claims to equal everything is refused, and a learner who patches a numpy function
changes nothing here, because every function used is bound when this module is imported.
"""

import contextlib
import functools
import io
import linecache
import math
import numbers
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CheckFailed", "check", "close", "close_pose"]

Array = NDArray[np.float64]
P = ParamSpec("P")

_array, _abs, _isnan, _isfinite = np.array, np.abs, np.isnan, np.isfinite
_argmax, _unravel, _det, _eye = np.argmax, np.unravel_index, np.linalg.det, np.eye
_atan2, _degrees, _radians = math.atan2, math.degrees, math.radians
_print, _errstate, _float64, _float32 = print, np.errstate, np.float64, np.float32

FLOAT32_SLACK = 8 * float(np.finfo(np.float32).eps)
"""What single precision may cost, relative to the largest value: a right answer stays right."""
FLOAT64_SLACK = 8 * float(np.finfo(np.float64).eps)
RIGID_TOLERANCE = 1e-3
"""Largest element of ``R.T @ R - 1`` still called a rotation, as in `navkit.geometry`."""


class CheckFailed(AssertionError):  # noqa: N818  (a failed check is no error of the program)
    """An answer that is not right; the message is one sentence or two for the learner."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the message alone, without the frames of this module."""
        return [str(self)]


def check(title: str) -> Callable[[Callable[P, object]], Callable[P, None]]:
    """Turn a function of the learner's function into a check with a title.

    The check is silent on stderr and ignores warnings. It prints one line when it passes.

    Parameters
    ----------
    title : str
        What is checked, in a few words.

    Raises
    ------
    CheckFailed
        By the decorated function, when the answer is not right, the function is not written yet,
        or it stops with an error. No other traceback is chained to it.

    Examples
    --------
    >>> @check("twice the length")
    ... def twice(double):
    ...     close(double(2.0), 4.0, atol=1e-9, unit="mm", what="the doubled length")
    >>> twice(lambda length: 2 * length)
    ✓ twice the length
    >>> twice(lambda length: None)
    Traceback (most recent call last):
    navkit.checking.CheckFailed: ✗ twice the length: your function returned None instead of ...
    """

    def decorate(function: Callable[P, object]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            sentence = ""
            try:
                with (
                    contextlib.redirect_stderr(io.StringIO()),
                    warnings.catch_warnings(),
                    _errstate(all="ignore"),
                ):
                    warnings.simplefilter("ignore")
                    function(*args, **kwargs)
            except (Exception, SystemExit) as error:
                sentence = _sentence(error, (*args, *kwargs.values()))
            if sentence:  # raised here, outside the handler, so that no second traceback is chained
                raise CheckFailed(f"✗ {title}: {sentence}") from None
            _print(f"✓ {title}")

        return run

    return decorate


def close(
    got: object,
    expected: ArrayLike,
    *,
    atol: float,
    unit: str = "",
    what: str = "the result",
    hint: str = "",
    likely: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Demand that numbers are right to within a tolerance: first shape, then finite, then accuracy.

    Parameters
    ----------
    got : numbers, nested lists or tuples of numbers, or an array
        The answer. Single precision is given the digits that it lacks.
    expected : array
        The truth. NaN means no data; the answer must be NaN there and nowhere else.
    atol : float
        Largest allowed absolute error of any one number, in `unit`.
    what : str
        What the numbers are: "the tip".
    hint : str
        A sentence that is added to whatever is wrong.
    likely : dict
        Wrong answers that people give, by their description ("the pivot point, not the tip"). One is
        named only when it alone fits the answer and the truth does not fit it.

    Raises
    ------
    CheckFailed
        With the largest error and the tolerance, in words.

    Examples
    --------
    >>> close([1, 2, 3], np.array([1.0, 2.0, 3.0]), atol=1e-6)
    >>> close([3, 2, 1], [1, 2, 3], atol=0.1, unit="mm", likely={"x and z swapped": [3, 2, 1]})
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the largest error of the result is 2 mm, at index 0 (tolerance 0.1 mm).
    This looks like x and z swapped.
    """
    truth = _truth(expected)
    told = _advice(hint)
    answer, relative = _numbers(got, what, truth.shape, told)
    allowed = atol + relative * _largest_size(answer)

    def far(a: Array, b: Array) -> bool:
        return _largest_error(a, b)[0] > allowed

    looks = _looks_like(answer, truth, likely, far) + told
    _demand_shape(answer, truth.shape, what, looks)
    _demand_finite(answer, truth, what, looks)
    error, index = _largest_error(answer, truth)
    if error > allowed:
        of = _unit(unit)
        size, limit = _texts(error, atol)
        where = f", at index {_index(index)}" if truth.size > 1 else ""
        largest = "largest error" if truth.size > 1 else "error"
        raise CheckFailed(f"the {largest} of {what} is {size}{of}{where} (tolerance {limit}{of}).{looks}")


def close_pose(
    got: object,
    expected: ArrayLike,
    *,
    atol_mm: float,
    atol_deg: float,
    what: str = "the transform",
    hint: str = "",
    likely: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Demand that a rigid (4, 4) transform is right in millimetres and degrees.

    First the shape, finite numbers, the last row, then whether the 3 x 3 part is a rotation, then
    the distance between the two origins and the angle between the two rotations. Parameters as in `close`.

    Raises
    ------
    CheckFailed
        With what is wrong, in words.

    Examples
    --------
    >>> close_pose(np.eye(4), np.eye(4), atol_mm=0.1, atol_deg=0.1)
    >>> close_pose(np.diag([1, 1, -1, 1]), np.eye(4), atol_mm=0.1, atol_deg=0.1)
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the 3 x 3 part of the transform is a mirror image (determinant -1), ...
    """
    truth = _truth(expected)
    told = _advice(hint)
    answer, relative = _numbers(got, what, (4, 4), told)
    slack = relative * _largest_size(answer)

    def far(a: Array, b: Array) -> bool:
        # Element by element, so that a mirror or a scale can be recognised as well.
        shift = _largest_error(a[:3, 3], b[:3, 3])[0] > atol_mm + slack
        turn = _largest_error(a[:3, :3], b[:3, :3])[0] > _radians(atol_deg) + relative
        return shift or turn or _largest_error(a[3], b[3])[0] > RIGID_TOLERANCE

    looks = _looks_like(answer, truth, likely, far) + told
    _demand_shape(answer, (4, 4), what, looks)
    _demand_finite(answer, truth, what, looks)
    _demand_rigid(answer, what, looks)

    difference = answer[:3, 3] - truth[:3, 3]
    distance = math.sqrt(float(difference @ difference))
    angle = _angle_deg(answer[:3, :3].T @ truth[:3, :3])
    wrong = []
    if distance > atol_mm + slack:
        size, limit = _texts(distance, atol_mm)
        wrong.append(f"its origin is {size} mm away (tolerance {limit} mm)")
    if angle > atol_deg + _degrees(relative):
        size, limit = _texts(angle, atol_deg)
        wrong.append(f"its rotation is {size} deg away (tolerance {limit} deg)")
    if wrong:
        right = "rotation" if wrong[0].startswith("its origin") else "origin"
        rest = "" if len(wrong) == 2 else f"; the {right} is right"
        raise CheckFailed(f"{what} is not right: {' and '.join(wrong)}{rest}.{looks}")


# -- the steps -----------------------------------------------------------------------------------


def _truth(expected: ArrayLike) -> Array:
    return _array(expected, dtype=_float64)


def _numbers(got: object, what: str, shape: tuple[int, ...], told: str) -> tuple[Array, float]:
    """The answer as plain numbers, and its relative precision; anything else is refused."""
    if got is None:
        raise CheckFailed(f"your function returned None instead of {what}: did you forget `return`?{told}")
    kind = type(got).__name__
    trouble = f"{what} is of type {kind}; expected numbers in an array of shape {shape}.{told}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = _array(got)
    except Exception:
        plain = None
    if plain is None:
        parts = f" of {len(got)} parts" if isinstance(got, list | tuple) else ""
        raise CheckFailed(
            f"{what} is a {kind}{parts} that do not form one array; expected an array of shape {shape}.{told}"
        )
    if plain.dtype.kind == "O":
        if any(item is None for item in plain.flat):
            raise CheckFailed(f"{what} contains None; expected numbers.{told}")
        if plain.size == 0 or not all(isinstance(item, numbers.Real) for item in plain.flat):
            raise CheckFailed(trouble)
    elif plain.dtype.kind == "c":
        if _abs(plain.imag).max(initial=0.0) > 0:
            raise CheckFailed(f"{what} contains complex numbers; expected real ones.{told}")
        plain = plain.real
    elif plain.dtype.kind not in "biuf":
        raise CheckFailed(trouble)
    relative = FLOAT32_SLACK if plain.dtype.type is _float32 else FLOAT64_SLACK
    return _array(plain, dtype=_float64), relative


def _largest_size(answer: Array) -> float:
    return float(_abs(answer[_isfinite(answer)]).max(initial=0.0))


def _demand_shape(answer: Array, shape: tuple[int, ...], what: str, looks: str) -> None:
    if answer.shape != shape:
        guess = ""
        if len(shape) == 2 and shape[0] != shape[1] and answer.shape == shape[::-1]:
            guess = " Are rows and columns swapped?"
        raise CheckFailed(f"{what} has shape {answer.shape}; expected {shape}.{guess}{looks}")


def _demand_finite(answer: Array, truth: Array, what: str, looks: str) -> None:
    no_data = _isnan(truth)
    missing = ~_isfinite(answer) & ~no_data
    invented = _isfinite(answer) & no_data
    if missing.any():
        at = _first(missing)
        where = f" at index {_index(at)}" if truth.size > 1 else ""
        many = f" ({int(missing.sum())} numbers in all)" if missing.sum() > 1 else ""
        raise CheckFailed(f"{what} is {answer[at]}{where}{many}; expected a finite number.{looks}")
    if invented.any():
        where = f" at index {_index(_first(invented))}" if truth.size > 1 else ""
        raise CheckFailed(f"{what} has a number{where} where there is no data; expected NaN.{looks}")


def _demand_rigid(m: Array, what: str, looks: str) -> None:
    if _largest_error(m[3], _array([0.0, 0.0, 0.0, 1.0]))[0] > RIGID_TOLERANCE:
        flipped = _largest_error(m[:, 3], _array([0.0, 0.0, 0.0, 1.0]))[0] <= RIGID_TOLERANCE
        row = " ".join(f"{value:.4g}" for value in m[3])
        guess = " Is the matrix transposed?" if flipped else ""
        raise CheckFailed(f"{what} ends in the row {row}; expected 0 0 0 1.{guess}{looks}")
    r = m[:3, :3]
    product = r.T @ r
    off = _largest_error(product, _eye(3))[0]
    det = float(_det(r))
    if off <= RIGID_TOLERANCE and det > 0:
        return
    mean = float(product.trace()) / 3
    if off <= RIGID_TOLERANCE:
        wrong = f"is a mirror image (determinant {det:.3g}), not a rotation"
    elif det > 0 and _largest_error(product, mean * _eye(3))[0] <= RIGID_TOLERANCE * mean:
        wrong = f"is a rotation with a scale of {math.sqrt(mean):.4g}; expected a scale of 1"
    else:
        wrong = f"is not a rotation: R.T @ R misses the identity by {off:.2g}, the determinant is {det:.3g}"
    raise CheckFailed(f"the 3 x 3 part of {what} {wrong}.{looks}")


def _looks_like(
    answer: Array,
    truth: Array,
    likely: Mapping[str, ArrayLike] | None,
    far: Callable[[Array, Array], bool],
) -> str:
    """The one known mistake that fits the answer and not the truth, in a sentence; else nothing."""
    names = []
    for name, value in (likely or {}).items():
        wrong = _array(value, dtype=_float64)
        if wrong.shape != answer.shape or far(answer, wrong):
            continue
        if wrong.shape == truth.shape and not far(truth, wrong):
            continue
        names.append(name)
    return f" This looks like {names[0].rstrip('.')}." if len(names) == 1 else ""


def _largest_error(a: Array, b: Array) -> tuple[float, tuple[int, ...]]:
    """The largest absolute difference and where it is; NaN agrees with NaN only."""
    if a.size == 0:
        return 0.0, ()
    with _errstate(invalid="ignore"):  # inf - inf
        error = _array(_abs(a - b))
    error[_isnan(a) & _isnan(b)] = 0.0
    error[_isnan(error)] = math.inf
    index = _first(error)
    return float(error[index]), index


def _first(values: NDArray[Any]) -> tuple[int, ...]:
    """Where the largest value stands; for a mask, where it is first True."""
    return tuple(int(i) for i in _unravel(int(_argmax(values)), values.shape))


def _angle_deg(r: Array) -> float:
    """The angle of a rotation; sine and cosine together keep small angles exact."""
    axial = (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    return _degrees(_atan2(math.hypot(*axial) / 2, (float(r.trace()) - 1) / 2))


# -- the words -----------------------------------------------------------------------------------


def _sentence(error: BaseException, functions: tuple[object, ...]) -> str:
    """What went wrong in a check, in one sentence."""
    line = _line_in(error, functions)
    text = _text(error)
    if isinstance(error, CheckFailed):
        return text
    if isinstance(error, NotImplementedError):
        return "not written yet: replace `raise NotImplementedError(...)` with your code."
    kind = type(error).__name__
    told = f"{kind}: {text}" if text else kind
    if line:
        return f"your function stopped with {told} ({line})."
    if isinstance(error, AssertionError):
        return text or "not right."
    question = "Does your function return what the task asks for?"
    if "NoneType" in text:
        question = "Your function returned None: did you forget `return`?"
    return f"the result could not be used ({told}). {question}"


def _line_in(error: BaseException, functions: tuple[object, ...]) -> str:
    """Where in the learner's own function the error passed through; empty when it did not."""
    codes = [code for f in functions if (code := getattr(f, "__code__", None)) is not None]
    found = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if any(frame.f_code is code for code in codes):
            source = linecache.getline(frame.f_code.co_filename, number).strip()
            found = f"line {number}: `{source}`" if source else f"line {number}"
    return found


def _text(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the learner's own making may not even print
        return ""
    if isinstance(error, CheckFailed) or len(text) <= 200:
        return text
    return text[:197] + "..."


def _texts(error: float, limit: float) -> tuple[str, str]:
    """Both numbers with as few digits as tell them apart."""
    for digits in range(3, 18):
        texts = _short(error, digits), _short(limit, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _short(value: float, digits: int) -> str:
    return f"{value:.0f}" if 1000 <= value < 1e7 and digits == 3 else f"{value:.{digits}g}"


def _index(index: tuple[int, ...]) -> str:
    return str(index[0]) if len(index) == 1 else str(index)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _advice(hint: str) -> str:
    return f" {hint}" if hint else ""
