"""Answers to exercises, wrong on purpose or right in another way, tried without a kernel.

A file ``grading/mistakes/<lesson>.py`` holds wrong answers with the words they must earn, and for each
exercise a correct answer that goes another way than the lesson's own::

    @mistake("find_tip", says="the pivot point, not the tip")
    def returns_the_pivot(poses): ...


    @also_correct("find_tip")
    def by_differences(poses): ...

`navcourse.grading.gate` tries them all.
"""

import contextlib
import io
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import navkit.checking
from navcourse.grading.judge import Hidden, Verdict, cases, modules_in, score
from navcourse.grading.probe import ask

__all__ = [
    "Mistake",
    "Solution",
    "Stage",
    "Trial",
    "also_correct",
    "load_mistakes",
    "load_solutions",
    "mistake",
    "stage",
    "stages",
    "trial",
    "visible",
]


@dataclass(frozen=True)
class Mistake:
    """A wrong `function` for `exercise`; `says` must appear in what its learner reads."""

    exercise: str
    says: str
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", "a mistake"))


@dataclass(frozen=True)
class Solution:
    """A `function` that answers `exercise` correctly, in another way than the lesson."""

    exercise: str
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", "another solution"))


@dataclass(frozen=True)
class Trial:
    """What the visible check printed (an error's message after ✗), the judge's verdict, processor seconds."""

    visible_text: str
    verdict: Verdict
    visible_s: float = 0.0
    hidden_s: float = 0.0

    @property
    def words(self) -> str:
        """Everything that the learner reads."""
        return " | ".join([self.visible_text, *self.verdict.lines])


@dataclass(frozen=True)
class Stage:
    """A lesson up to one check: the names that its cells made, and the cells that decide.

    `learner` is whose data it works on, "" for the course's own; `own_data` whether the lesson loaded a
    data set that each learner has a case of.
    """

    exercise: str
    names: Mapping[str, Any]
    solution: str
    stub: str
    check: str
    points: float
    learner: str = ""
    own_data: bool = False


def mistake(exercise: str, *, says: str) -> Callable[[Callable[..., Any]], Mistake]:
    """Mark a function as a wrong answer to `exercise`; `load_mistakes` finds it by this mark."""

    def mark(function: Callable[..., Any]) -> Mistake:
        return Mistake(exercise, says, function)

    return mark


def also_correct(exercise: str) -> Callable[[Callable[..., Any]], Solution]:
    """Mark a function as a second correct answer to `exercise`; `load_solutions` finds it by this mark."""

    def mark(function: Callable[..., Any]) -> Solution:
        return Solution(exercise, function)

    return mark


def load_mistakes(folder: Path) -> dict[str, list[Mistake]]:
    """The named mistakes of every ``*.py`` in `folder`, by exercise, in the order of the files."""
    found: dict[str, list[Mistake]] = {}
    for item in _marked(folder):
        if isinstance(item, Mistake):
            found.setdefault(item.exercise, []).append(item)
    return found


def load_solutions(folder: Path) -> dict[str, list[Solution]]:
    """The other correct answers of every ``*.py`` in `folder`, by exercise."""
    found: dict[str, list[Solution]] = {}
    for item in _marked(folder):
        if isinstance(item, Solution):
            found.setdefault(item.exercise, []).append(item)
    return found


def _marked(folder: Path) -> Iterator[Any]:
    for module in modules_in(folder):
        yield from vars(module).values()


def stage(lesson: Any, exercise: str) -> Stage:
    """Run the lesson's cells up to the check of `exercise`, with the solutions of earlier exercises.

    Raises
    ------
    ValueError
        If the lesson has no such exercise.
    """
    found = stages(lesson, last=exercise)
    if exercise not in found:
        raise ValueError(f"the lesson has no exercise '{exercise}' with a check.")
    return found[exercise]


def stages(lesson: Any, *, learner: str = "", last: str = "") -> dict[str, Stage]:
    """Run the lesson's cells once, up to its last check or that of `last`: a stage for each exercise.

    With `learner`, every data set that has a case for each learner is that learner's.
    """
    from navcourse.render import render

    solved = [cell for cell in render(lesson, "source").cells if cell.cell_type == "code"]
    stubs = {_grade_id(cell): str(cell.source) for cell in render(lesson, "student").cells}
    checks = [cell for cell in solved if _grade_id(cell).startswith("check_")]
    ids = [_grade_id(cell).removeprefix("check_") for cell in checks]
    count = ids.index(last) + 1 if last in ids else len(checks)
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *shown, **options: None}
    found: dict[str, Stage] = {}
    own: dict[str, set[str]] = {}
    sources: dict[str, str] = {}
    with _quiet(), _data_of(learner) as loaded:
        for cell in solved[: solved.index(checks[count - 1]) + 1] if count else []:
            mark = _grade_id(cell)
            exercise = mark.removeprefix("check_")
            if mark.startswith("check_"):
                kept = {name: value for name, value in names.items() if name not in own[exercise]}
                points = float(cell.metadata.nbgrader["points"])
                found[exercise] = Stage(
                    exercise,
                    kept,
                    sources[exercise],
                    stubs[exercise],
                    str(cell.source),
                    points,
                    learner,
                    bool(loaded),
                )
            elif "raises-exception" not in cell.metadata.get("tags", []):
                before = set(names)
                exec(compile(cell.source, f"<{mark or 'cell'}>", "exec"), names)
                own[mark], sources[mark] = set(names) - before, str(cell.source)
    return found


def trial(
    lesson: Any,
    exercise: str,
    answer: Callable[..., Any] | str,
    checks: Mapping[str, Hidden],
    cohort: str,
    *,
    prepared: Stage | None = None,
) -> Trial:
    """What a learner with this `answer` reads and gets, without a kernel.

    Parameters
    ----------
    lesson : from `navcourse.lesson.read_lesson`.
    answer : a function, or the source of an exercise cell.
    prepared : `stage` of the same exercise, to run the lesson's cells once for many answers.
    """
    at = prepared or stage(lesson, exercise)
    start = time.process_time()
    asked = cases(checks[exercise], cohort)
    made_s = time.process_time() - start
    with _kept():
        start = time.process_time()
        text, function = visible(at, answer)
        visible_s = time.process_time() - start
        start = time.process_time()
        answers = ask(function, [case.inputs for case in asked], exercise=exercise)
    verdict = score(asked, answers, at.points)
    return Trial(text, verdict, visible_s, made_s + time.process_time() - start)


def visible(at: Stage, answer: Callable[..., Any] | str) -> tuple[str, Any]:
    """What the visible check prints for an `answer` (an error's message after ✗), and its function."""
    names = dict(at.names)
    with _data_of(at.learner):
        if isinstance(answer, str):
            with _quiet():
                exec(compile(answer, f"<{at.exercise}>", "exec"), names)
        else:
            names[at.exercise] = _as_written_here(answer, at.exercise)
        with _kept():
            return _visible(at.check, names), names.get(at.exercise)


def _visible(check: str, names: dict[str, Any]) -> str:
    with _quiet() as printed:
        try:
            exec(compile(check, "<check>", "exec"), names)
            error = ""
        except Exception as raised:
            named = "" if isinstance(raised, AssertionError) else f"{type(raised).__name__}: "
            mark = "" if str(raised).startswith("✗") else "✗ "
            error = f"\n{mark}{named}{raised}"
    return (printed.getvalue() + error).strip()


def _as_written_here(function: Callable[..., Any], exercise: str) -> Callable[..., Any]:
    """A copy that looks written in the notebook: the probe refuses imported functions."""
    if not isinstance(function, types.FunctionType):
        return function
    own = types.FunctionType(
        function.__code__, function.__globals__, exercise, function.__defaults__, function.__closure__
    )
    own.__kwdefaults__ = function.__kwdefaults__
    own.__module__ = "__main__"
    return own


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """What an answer patches in numpy or in the checks is put back afterwards."""
    before = [(module, dict(vars(module))) for module in (np, np.linalg, navkit.checking)]
    try:
        yield
    finally:
        for module, values in before:
            for name, value in values.items():
                if vars(module).get(name) is not value:
                    setattr(module, name, value)


@contextlib.contextmanager
def _data_of(learner: str) -> Iterator[set[str]]:
    """``datasets.load`` gives this learner's own cases; the names of those loaded."""
    from navkit import datasets

    course = datasets.load
    loaded: set[str] = set()

    def own(name: str, **options: Any) -> Any:
        if not datasets.info(name).recipe:
            return course(name, **options)
        loaded.add(name)
        return course(name, **{"learner": learner, "cohort": "gate", **options})

    try:
        if learner:
            datasets.load = own
        yield loaded
    finally:
        datasets.load = course


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Printed text is caught, warnings are passed over, figures are drawn without a window and closed."""
    import matplotlib as mpl

    printed, backend = io.StringIO(), mpl.get_backend()
    mpl.use("agg")
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield printed
    finally:
        from matplotlib import pyplot

        pyplot.close("all")
        mpl.use(backend)


def _grade_id(cell: Any) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
