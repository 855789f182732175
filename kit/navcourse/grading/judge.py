"""Hidden checks: cases with inputs that travel and truth that stays, and the score.

A file ``grading/checks/<lesson>.py`` says what is asked and what is right::

    @hidden("find_tip")
    def find_tip(rng):
        poses, tip = made_up(rng)
        yield Case("poses with noise", (poses,), lambda answer: close(answer, tip, atol=0.3, ...))

The inputs go to the learner's kernel as plain arrays; `verify` runs here, outside it.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from navcourse.grading.probe import Answer
from navkit.checking import CheckFailed, either

__all__ = ["Case", "Checks", "Hidden", "Verdict", "cases", "hidden", "load_checks", "score"]

Generator = Callable[[np.random.Generator], Iterable["Case"]]
Checks = Mapping[str, "Hidden"]
MOST_FOR_PROPERTIES = 0.9
"""The largest share of a case that properties alone may earn: a wrong answer never gets all of it."""


@dataclass(frozen=True)
class Case:
    """One question: `inputs` for the learner's function, and `verify`, which raises when it is wrong."""

    title: str
    inputs: tuple[Any, ...]
    verify: Callable[[Any], object]


@dataclass(frozen=True)
class Hidden:
    """The hidden check of one exercise: a generator of cases."""

    exercise: str
    function: Generator

    def __call__(self, rng: np.random.Generator) -> Iterator[Case]:
        return iter(self.function(rng))


@dataclass(frozen=True)
class Verdict:
    """`points` of `max_points`, and one spoken line for each case."""

    points: float
    max_points: float
    lines: tuple[str, ...]


def hidden(exercise: str) -> Callable[[Generator], Hidden]:
    """Mark a function as the hidden check of `exercise`; `load_checks` finds it by this mark."""

    def mark(function: Generator) -> Hidden:
        return Hidden(exercise, function)

    return mark


def load_checks(folder: Path) -> dict[str, Hidden]:
    """The hidden checks of every ``*.py`` in `folder`, by exercise.

    Raises
    ------
    ValueError
        If the folder is not there, or two files claim one exercise.
    """
    found: dict[str, Hidden] = {}
    for module in modules_in(folder):
        for item in vars(module).values():
            if not isinstance(item, Hidden):
                continue
            if found.get(item.exercise, item) is not item:
                raise ValueError(
                    f"{module.__file__}: a second hidden check for '{item.exercise}'; expected one."
                )
            found[item.exercise] = item
    return found


def cases(check: Hidden, cohort: str) -> list[Case]:
    """The cases of one cohort: the same for every learner in it, others next year.

    Raises
    ------
    ValueError
        If the check yields no case.
    """
    digest = hashlib.sha256(f"{cohort}\n{check.exercise}".encode()).digest()
    made = list(check(np.random.default_rng(int.from_bytes(digest[:16]))))
    if not made:
        raise ValueError(f"the hidden check of '{check.exercise}' yields no case; expected one or more.")
    return made


def score(asked: Sequence[Case], answers: Sequence[Answer], points: float) -> Verdict:
    """`points` times the share of cases whose answer passes; each case says what happened.

    An answer that is missing, and a `verify` that fails in an unforeseen way, count as not passed. A case
    that fails earns what its check gives for properties that do hold (`navkit.checking.Property`).

    >>> def is_two(answer):
    ...     assert answer == 2, "expected 2"
    >>> score([Case("doubling", (1,), is_two)], [(True, 3)], 2).lines
    ('✗ doubling: expected 2',)
    """
    lines = []
    passed, parts = 0, 0.0
    for number, case in enumerate(asked):
        ok, value = answers[number] if number < len(answers) else (False, "no answer came back")
        message, part = _judged(case, value) if ok else (str(value), 0.0)
        passed += not message
        parts += part
        lines.append(f"✗ {case.title}: {message}" if message else f"✓ {case.title}")
    most = float(points)
    # All right is all the points, whatever rounding does; nbgrader loses a submission with more than that.
    got = most if passed == len(asked) else min(round(most * (passed + parts) / len(asked), 2), most)
    return Verdict(got, most, tuple(lines))


def modules_in(folder: Path) -> list[ModuleType]:
    """Every ``*.py`` of a folder imported by its path: the folder is data for this kit, not a package.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; expected the folder with one file for each lesson.")
    return [_module_at(path) for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]


def _module_at(path: Path) -> ModuleType:
    tag = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"_navcourse_{path.stem}_{tag}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be imported; expected a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look themselves up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _judged(case: Case, answer: Any) -> tuple[str, float]:
    """Empty when the answer is right, else what is wrong in a sentence, and the share earned all the same."""
    try:
        with np.errstate(all="ignore"):
            case.verify(answer)
    except CheckFailed as error:
        part = min(max(float(error.earned), 0.0), MOST_FOR_PROPERTIES)
        told = " ".join(str(error).split()) or "not right"
        if part:
            told = f"{either('earns', 'gir')} {100 * part:.0f} %; {told}"
        return told, part
    except AssertionError as error:
        return " ".join(str(error).split()) or "not right", 0.0
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        return f"this answer could not be compared ({type(error).__name__}: {told})", 0.0
    return "", 0.0
