"""The decorator that turns a function of the learner's function into a check with a title."""

import contextlib
import functools
import io
import linecache
import traceback
import warnings
from collections.abc import Callable
from typing import ParamSpec

from navkit.checking._plain import CheckFailed, errstate
from navkit.checking._words import say

P = ParamSpec("P")
_print = print


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
    >>> from navkit.checking import close
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
            failed: CheckFailed | None = None
            try:
                with (
                    contextlib.redirect_stderr(io.StringIO()),
                    warnings.catch_warnings(),
                    errstate(all="ignore"),
                ):
                    warnings.simplefilter("ignore")
                    function(*args, **kwargs)
            except (Exception, SystemExit) as error:
                told = say(
                    "failed", {"title": title, "sentence": _sentence(error, (*args, *kwargs.values()))}
                )
                failed = CheckFailed(told)
                if isinstance(error, CheckFailed):
                    failed = CheckFailed(told, earned=error.earned, mistake=error.mistake)
            if failed:  # raised here, outside the handler, so that no second traceback is chained
                raise failed from None
            _print(say("passed", {"title": title}))

        return run

    return decorate


def _sentence(error: BaseException, functions: tuple[object, ...]) -> str:
    """What went wrong in a check, in one sentence."""
    line = _line_in(error, functions)
    text = _text(error)
    if isinstance(error, CheckFailed):
        return text
    if isinstance(error, NotImplementedError):
        return say("not_written")
    kind = type(error).__name__
    told = say("told", {"kind": kind, "text": text}) if text else kind
    if line:
        return say("stopped", {"error": told, "line": line})
    if isinstance(error, AssertionError):
        return text or say("not_right")
    return say("unusable_none" if "NoneType" in text else "unusable", {"error": told})


def _line_in(error: BaseException, functions: tuple[object, ...]) -> str:
    """Where in the learner's own function the error passed through; empty when it did not."""
    codes = [code for f in functions if (code := getattr(f, "__code__", None)) is not None]
    found = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if any(frame.f_code is code for code in codes):
            source = linecache.getline(frame.f_code.co_filename, number).strip()
            found = say("line_source" if source else "line", {"number": number, "source": source})
    return found


def _text(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the learner's own making may not even print
        return ""
    if isinstance(error, CheckFailed) or len(text) <= 200:
        return text
    return text[:197] + "..."
