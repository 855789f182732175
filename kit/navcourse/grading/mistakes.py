"""Exercises tested like code: the solution passes, the stub fails, every named mistake is caught.

A file ``grading/mistakes/<lesson>.py`` holds wrong answers with the words they must earn::

    @mistake("find_tip", says="the pivot point, not the tip")
    def returns_the_pivot(poses): ...
"""

import contextlib
import io
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navcourse.grading.judge import Hidden, Verdict, cases, modules_in, score
from navcourse.grading.probe import NOT_WRITTEN, ask

__all__ = ["Mistake", "Stage", "Trial", "exercise_problems", "load_mistakes", "mistake", "trial"]

FEWEST = 6
"""Named mistakes that a lesson has at least, over all its exercises."""


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
class Trial:
    """What the visible check printed (an error's message after ✗), and the judge's verdict."""

    visible_text: str
    verdict: Verdict


@dataclass(frozen=True)
class Stage:
    """A lesson up to one check: the names that its cells made, and the cells that decide."""

    exercise: str
    names: Mapping[str, Any]
    solution: str
    stub: str
    check: str
    points: float


def mistake(exercise: str, *, says: str) -> Callable[[Callable[..., Any]], Mistake]:
    """Mark a function as a wrong answer to `exercise`; `load_mistakes` finds it by this mark."""

    def mark(function: Callable[..., Any]) -> Mistake:
        return Mistake(exercise, says, function)

    return mark


def load_mistakes(folder: Path) -> dict[str, list[Mistake]]:
    """The named mistakes of every ``*.py`` in `folder`, by exercise, in the order of the files."""
    found: dict[str, list[Mistake]] = {}
    for module in modules_in(folder):
        for item in vars(module).values():
            if isinstance(item, Mistake):
                found.setdefault(item.exercise, []).append(item)
    return found


def stage(lesson: Any, exercise: str) -> Stage:
    """Run the lesson's cells up to the check of `exercise`, with the solutions of earlier exercises.

    Raises
    ------
    ValueError
        If the lesson has no such exercise.
    """
    from navcourse.render import render

    solved = [cell for cell in render(lesson, "source").cells if cell.cell_type == "code"]
    stubs = {_grade_id(cell): str(cell.source) for cell in render(lesson, "student").cells}
    check = next((cell for cell in solved if _grade_id(cell) == f"check_{exercise}"), None)
    solution = next((cell for cell in solved if _grade_id(cell) == exercise), None)
    if check is None or solution is None:
        raise ValueError(f"the lesson has no exercise '{exercise}' with a check.")
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *shown, **options: None}
    with _quiet():
        for cell in solved[: solved.index(check)]:
            if cell is solution or _grade_id(cell).startswith("check_"):
                continue
            if "raises-exception" not in cell.metadata.get("tags", []):
                exec(compile(cell.source, f"<{_grade_id(cell) or 'cell'}>", "exec"), names)
    points = float(check.metadata.nbgrader["points"])
    return Stage(exercise, names, str(solution.source), stubs[exercise], str(check.source), points)


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
    names = dict(at.names)
    if isinstance(answer, str):
        with _quiet():
            exec(compile(answer, f"<{exercise}>", "exec"), names)
    else:
        names[exercise] = _as_written_here(answer, exercise)
    text = _visible(at.check, names)
    asked = cases(checks[exercise], cohort)
    answers = ask(names.get(exercise), [case.inputs for case in asked], exercise=exercise)
    return Trial(text, score(asked, answers, at.points))


def exercise_problems(
    lesson: Any,
    checks: Mapping[str, Hidden],
    mistakes: Mapping[str, Sequence[Mistake]],
    cohorts: Sequence[str],
) -> list[str]:
    """One sentence for each thing wrong with a lesson's exercises; empty when they are sound.

    For every cohort: the solution passes the visible check and gets full marks, the stub gets 0 and is
    told that it is not written yet, every mistake stays below full marks and reads its own words.
    """
    from navcourse.render import render

    marks = [_grade_id(cell) for cell in render(lesson, "source").cells if cell.cell_type == "code"]
    exercises = [mark.removeprefix("check_") for mark in marks if mark.startswith("check_")]
    problems = []
    for exercise in exercises:
        if exercise not in checks:
            problems.append(f"{exercise}: there is no hidden check")
            continue
        prepared = stage(lesson, exercise)
        for cohort in cohorts:
            problems += _for_cohort(lesson, prepared, checks, mistakes.get(exercise, ()), cohort)
    count = sum(len(mistakes.get(exercise, ())) for exercise in exercises)
    if count < FEWEST:
        problems.append(f"the lesson has {count} named mistakes; expected at least {FEWEST}")
    return problems


def _for_cohort(
    lesson: Any, at: Stage, checks: Mapping[str, Hidden], wrong: Sequence[Mistake], cohort: str
) -> list[str]:
    def tried(answer: Callable[..., Any] | str) -> Trial:
        return trial(lesson, at.exercise, answer, checks, cohort, prepared=at)

    where = f"{at.exercise} (cohort {cohort})"
    problems = []
    solved = tried(at.solution)
    if solved.verdict.points != at.points or "✗" in solved.visible_text:
        problems.append(f"{where}: the solution does not pass: {_words(solved)}")
    empty = tried(at.stub)
    if empty.verdict.points != 0.0 or NOT_WRITTEN not in _words(empty):
        problems.append(f"{where}: the stub gets {empty.verdict.points:g} points: {_words(empty)}")
    for one in wrong:
        result = tried(one.function)
        if result.verdict.points >= at.points:
            problems.append(f"{where}: the mistake {one.name} gets full marks")
        if one.says not in _words(result):
            problems.append(f"{where}: the mistake {one.name} is not told '{one.says}': {_words(result)}")
    return problems


def _words(result: Trial) -> str:
    return " | ".join([result.visible_text, *result.verdict.lines])


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
