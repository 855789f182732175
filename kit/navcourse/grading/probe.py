"""Asks the learner's function, inside the learner's kernel. Knows the inputs, never the truth.

The pipeline runs ``probe("find_tip", text)`` in the kernel right after the check cell. What comes
back is one printed line: a marker and plain arrays. Nothing here decides a score.
"""

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from navcourse.grading.codec import CodecError, decode, encode

__all__ = ["MARKER", "NOT_WRITTEN", "Answer", "answers_from", "ask", "pack_inputs", "probe"]

MARKER = "navcourse-answers:"
NOT_WRITTEN = "not written yet: replace the line that raises NotImplementedError"
Answer = tuple[bool, Any]
"""(True, the value) or (False, the sentence that says why there is none)."""


def pack_inputs(inputs: Sequence[tuple[Any, ...]]) -> str:
    """The inputs of all cases as one text, plain arrays only."""
    return json.dumps([encode(tuple(one), verb="a hidden check asks with") for one in inputs])


def probe(exercise: str, text: str, nonce: str = "") -> None:
    """Call the learner's `exercise` on the packed inputs and print one line with the answers."""
    function = getattr(sys.modules.get("__main__"), exercise, None)
    line = json.dumps(_call_all(function, exercise, text))
    print(f"\n{MARKER}{nonce}:{line}", flush=True)


def answers_from(output: str, n_cases: int, nonce: str = "") -> list[Answer]:
    """The answers in what the kernel printed; a line that is missing or forged answers nothing.

    The text comes from the learner's process: whatever it holds, this returns `n_cases` answers.
    """
    start = f"{MARKER}{nonce}:"
    lines = [line for line in output.splitlines() if line.startswith(start)]
    nothing: list[Answer] = [(False, "no answer came back from the notebook")] * n_cases
    if not lines:
        return nothing
    try:
        raw = json.loads(lines[-1][len(start) :])
    except (ValueError, RecursionError):
        return nothing
    if not isinstance(raw, list) or len(raw) != n_cases:
        return nothing
    return [_one_answer(entry) for entry in raw]


def ask(function: Any, inputs: Sequence[tuple[Any, ...]], *, exercise: str = "") -> list[Answer]:
    """Answers of `function` on every input, through the same text as in a kernel."""
    name = exercise or getattr(function, "__name__", "function")
    line = json.dumps(_call_all(function, name, pack_inputs(inputs)))
    return answers_from(f"{MARKER}:{line}", len(inputs))


def _one_answer(entry: Any) -> Answer:
    match entry:
        case {"value": str(text)}:
            try:
                return True, decode(text)
            except CodecError as error:
                return False, str(error)
        case {"error": str(sentence)}:
            return False, " ".join(sentence.split())[:500]
    return False, "no answer came back from the notebook"


def _call_all(function: Any, exercise: str, text: str) -> list[dict[str, str]]:
    packed: list[str] = json.loads(text)
    refusal = _refusal(function, exercise)
    if refusal:
        return [{"error": refusal}] * len(packed)
    return [_call(function, decode(one)) for one in packed]


def _refusal(function: Any, exercise: str) -> str:
    if function is None:
        return f"there is no function {exercise} in the notebook: was its cell run, and is the name right?"
    if not callable(function):
        return f"{exercise} is a {type(function).__name__}; expected a function"
    if getattr(function, "__module__", None) != "__main__":
        return f"{exercise} was imported; expected a function written in this notebook"
    return ""


def _call(function: Callable[..., Any], inputs: tuple[Any, ...]) -> dict[str, str]:
    # Every call gets its own arrays: `inputs` was decoded for it, so writing to them hurts nobody.
    sink = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            return {"value": encode(function(*inputs))}
    except NotImplementedError:
        return {"error": NOT_WRITTEN}
    except CodecError as error:
        return {"error": str(error)}
    except KeyboardInterrupt:
        raise  # the pipeline's time limit, not the learner's error
    except BaseException as error:
        return {"error": f"raised {type(error).__name__}: {_short(error)}"}


def _short(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception:
        return "an error whose message cannot be printed"
