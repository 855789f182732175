"""The quality gate of exercises: right answers pass, wrong ones fail and read why, for many seeds.

For every cohort (seed): the lesson's solution and a second correct one get full marks; the stub gets 0
and is told that it is not written yet; every named mistake stays below full marks and reads its own
words; and nobody gains by the tricks of `_tricks`. For every learner: right answers pass the visible
check on this learner's own data, and answers copied from another learner do not.

``python -m navcourse.grading.gate --seeds 20 --learners 30`` tries all lessons and prints a table.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from navcourse.grading._tricks import (
    NEVER_SEEN_AS_RIGHT,
    TRICKS,
    Answer,
    Memory,
    answers_of,
    parrot,
    recorded,
    solution_of,
    tricks,
)
from navcourse.grading.judge import Hidden, load_checks
from navcourse.grading.mistakes import (
    Mistake,
    Solution,
    Stage,
    Trial,
    load_mistakes,
    load_solutions,
    stages,
    trial,
    visible,
)
from navcourse.grading.probe import NOT_WRITTEN

__all__ = ["Gate", "Row", "exercise_problems", "gate"]

FEWEST = 6
"""Named mistakes that a lesson has at least, over all its exercises."""
MOST_S = 2.0
"""Processor seconds that one check of a right answer may take, the visible and the hidden each."""
MOST_FOR_TRICKS = 0.5
"""The share of the points that a trick may earn by chance: a constant may have a property (`Property`)."""


@dataclass(frozen=True)
class Row:
    """One exercise: cohorts, learners with data of their own, answers tried for each cohort and named
    mistakes among them, the points that tricks earned at most, processor seconds at most."""

    exercise: str
    cohorts: int
    learners: int
    answers: int
    mistakes: int
    most_by_tricks: float
    visible_s: float
    hidden_s: float


@dataclass(frozen=True)
class Gate:
    """One sentence for each thing wrong with a lesson's exercises, and a row for each exercise."""

    problems: tuple[str, ...]
    rows: tuple[Row, ...]


def exercise_problems(
    lesson: Any,
    checks: Mapping[str, Hidden],
    mistakes: Mapping[str, Sequence[Mistake]],
    cohorts: Sequence[str],
    *,
    solutions: Mapping[str, Sequence[Solution]] | None = None,
    learners: Sequence[str] = (),
) -> list[str]:
    """One sentence for each thing wrong with a lesson's exercises; empty when they are sound."""
    return list(gate(lesson, checks, mistakes, cohorts, solutions=solutions, learners=learners).problems)


def gate(
    lesson: Any,
    checks: Mapping[str, Hidden],
    mistakes: Mapping[str, Sequence[Mistake]],
    cohorts: Sequence[str],
    *,
    solutions: Mapping[str, Sequence[Solution]] | None = None,
    learners: Sequence[str] = (),
) -> Gate:
    """Try every kind of answer to every exercise of a lesson.

    Parameters
    ----------
    lesson : from `navcourse.lesson.read_lesson`.
    checks, mistakes : from `load_checks` and `load_mistakes`.
    cohorts : names; each seeds other hidden cases.
    solutions : from `load_solutions`; each exercise must have one. None asks for none.
    learners : names; each has data of their own where the lesson's data sets allow it.
    """
    problems: list[str] = []
    rows: list[Row] = []
    all_tries: dict[str, _Tries] = {}
    for exercise, at in stages(lesson).items():
        if exercise not in checks:
            problems.append(f"{exercise}: there is no hidden check")
            continue
        right = solutions.get(exercise, ()) if solutions is not None else ()
        if solutions is not None and not right:
            problems.append(f"{exercise}: there is no second correct solution")
        if not mistakes.get(exercise):
            problems.append(f"{exercise}: there is no named mistake that its check catches")
        tries = _Tries(lesson, at, checks, mistakes.get(exercise, ()), right)
        found, row = tries.for_cohorts(cohorts)
        problems += found
        rows.append(row)
        all_tries[exercise] = tries
    by_learner = _for_learners(lesson, all_tries, learners, problems)
    rows = [replace(row, learners=by_learner[row.exercise]) for row in rows]
    count = sum(len(mistakes.get(cell.name, ())) for cell in lesson.cells if cell.mark == "exercise")
    if count < FEWEST:
        problems.append(f"the lesson has {count} named mistakes; expected at least {FEWEST}")
    return Gate(tuple(problems), tuple(rows))


def _for_learners(
    lesson: Any, all_tries: Mapping[str, "_Tries"], learners: Sequence[str], problems: list[str]
) -> Counter[str]:
    """Add the problems with learners' own data; for each exercise, how many learners had some."""
    tried: Counter[str] = Counter()
    shown = {exercise: recorded(tries.at) for exercise, tries in all_tries.items()}
    for learner in learners:
        found = {name: at for name, at in stages(lesson, learner=learner).items() if at.own_data}
        if not found:
            break
        for exercise in (name for name in found if name in all_tries):
            problems += all_tries[exercise].for_learner(found[exercise], shown[exercise])
            shown[exercise] = recorded(found[exercise])
            tried[exercise] += 1
    return tried


@dataclass(frozen=True)
class _Tries:
    """Everything that is tried on one exercise."""

    lesson: Any
    at: Stage
    checks: Mapping[str, Hidden]
    wrong: Sequence[Mistake]
    right: Sequence[Solution]

    def for_cohorts(self, cohorts: Sequence[str]) -> tuple[list[str], Row]:
        problems: list[str] = []
        rights: list[Trial] = []
        tricked = 0.0
        shown = recorded(self.at)
        other: Memory = {}
        for cohort in cohorts:
            where = f"{self.at.exercise} (cohort {cohort})"
            good, told = self._right_answers(cohort, where)
            rights += good
            problems += told + self._stub_and_mistakes(cohort, where)
            most, told = self._tricks(cohort, where, shown, other)
            problems += told
            tricked = max(tricked, most)
            other = answers_of(self.at, self.checks[self.at.exercise], cohort)
            if self._try(parrot(other), cohort).verdict.points != self.at.points:
                problems.append(f"{where}: the solution does not answer the same twice")
        for kind, spent in (
            ("visible", [t.visible_s for t in rights]),
            ("hidden", [t.hidden_s for t in rights]),
        ):
            if spent and median(spent) > MOST_S:
                problems.append(
                    f"{self.at.exercise}: the {kind} check takes {median(spent):.1f} s of processor time; "
                    f"expected less than {MOST_S:g} s"
                )
        return problems, Row(
            exercise=self.at.exercise,
            cohorts=len(cohorts),
            learners=0,
            answers=3 + len(self.right) + len(self.wrong) + len(TRICKS),
            mistakes=len(self.wrong),
            most_by_tricks=tricked,
            visible_s=max((t.visible_s for t in rights), default=0.0),
            hidden_s=max((t.hidden_s for t in rights), default=0.0),
        )

    def _try(self, answer: Answer | str, cohort: str) -> Trial:
        return trial(self.lesson, self.at.exercise, answer, self.checks, cohort, prepared=self.at)

    def _named(self) -> list[tuple[str, Answer | str]]:
        own: list[tuple[str, Answer | str]] = [("the solution", self.at.solution)]
        return own + [(f"the solution {one.name}", one.function) for one in self.right]

    def _right_answers(self, cohort: str, where: str) -> tuple[list[Trial], list[str]]:
        trials, problems = [], []
        for name, answer in self._named():
            result = self._try(answer, cohort)
            trials.append(result)
            if result.verdict.points != self.at.points or "✗" in result.visible_text:
                problems.append(f"{where}: {name} does not pass: {result.words}")
        return trials, problems

    def _stub_and_mistakes(self, cohort: str, where: str) -> list[str]:
        problems = []
        empty = self._try(self.at.stub, cohort)
        if empty.verdict.points != 0.0 or NOT_WRITTEN not in empty.words:
            problems.append(f"{where}: the stub gets {empty.verdict.points:g} points: {empty.words}")
        for one in self.wrong:
            result = self._try(one.function, cohort)
            if result.verdict.points >= self.at.points:
                problems.append(f"{where}: the mistake {one.name} gets full marks")
            if one.says not in result.words:
                problems.append(f"{where}: the mistake {one.name} is not told '{one.says}': {result.words}")
        return problems

    def _tricks(self, cohort: str, where: str, shown: Memory, other: Memory) -> tuple[float, list[str]]:
        """What the tricks earn at most, and one sentence for each that earns too much or reads no reason."""
        most, problems = 0.0, []
        solution = solution_of(self.at)
        for name, answer in tricks(solution, shown, other):
            result = self._try(answer, cohort)
            lines = result.verdict.lines
            most = max(most, result.verdict.points)
            if result.verdict.points > MOST_FOR_TRICKS * self.at.points:
                problems.append(f"{where}: {name} gets {result.verdict.points:g} points")
            if any("could not be compared" in line for line in lines):
                problems.append(f"{where}: {name} is not told what is wrong: {result.words}")
            if name == "the copied visible answers" and "✗" in result.visible_text:
                problems.append(f"{where}: the visible check asks otherwise each time: {result.visible_text}")
            if name in NEVER_SEEN_AS_RIGHT and "✗" not in result.visible_text:
                problems.append(f"{where}: {name} passes the visible check")
        return most, problems

    def for_learner(self, at: Stage, shown: Memory) -> list[str]:
        where = f"{at.exercise} (learner {at.learner})"
        problems = []
        for name, answer in self._named():
            text, _ = visible(at, answer)
            if "✗" in text:
                problems.append(f"{where}: {name} does not pass: {text}")
        if "✗" not in visible(at, at.stub)[0]:
            problems.append(f"{where}: the stub passes the visible check")
        if "✗" not in visible(at, parrot(shown))[0]:
            problems.append(f"{where}: the copied answers of another learner pass the visible check")
        return problems


# -- the command ------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every lesson under ``--root``; 1 when something is wrong."""
    from navcourse.lesson import read_lesson

    parser = argparse.ArgumentParser(prog="python -m navcourse.grading.gate", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learners", type=int, default=2)
    parser.add_argument("--lesson", default="", help="only this one")
    asked = parser.parse_args(arguments)
    checks = load_checks(asked.root / "grading" / "checks")
    folder = asked.root / "grading" / "mistakes"
    mistakes, solutions = load_mistakes(folder), load_solutions(folder)
    print("exercise              seeds  learners  answers  mistakes  tricks get  visible s  hidden s")
    wrong = 0
    for path in sorted((asked.root / "notebooks" / "src").glob("*/*.py")):
        if asked.lesson not in ("", path.stem):
            continue
        result = gate(
            read_lesson(path),
            checks,
            mistakes,
            [f"seed-{k}" for k in range(asked.seeds)],
            solutions=solutions,
            learners=[f"learner-{k}" for k in range(asked.learners)],
        )
        for r in result.rows:
            print(
                f"{r.exercise:20}  {r.cohorts:5}  {r.learners:8}  {r.answers:7}  {r.mistakes:8}  "
                f"{r.most_by_tricks:10.2f}  {r.visible_s:9.2f}  {r.hidden_s:8.2f}",
                flush=True,
            )
        for problem in result.problems:
            print(f"✗ {problem}", flush=True)
        wrong += len(result.problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
