"""The marks of a class: a table for the terminal, a CSV for the institution."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navcourse.grading.intake import Problem

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ClassReport", "Row", "class_report", "marks_table", "write_csv"]


@dataclass(frozen=True)
class Row:
    """One learner: points by exercise, the gradebook's total, and what a human must know.

    `status` is "graded", "missing", or begins with "quarantined: " or "needs a human: ".
    `waiting` counts written answers that a human has not marked yet; they are in `max` but not in `total`.
    """

    student: str
    points: Mapping[str, float]
    total: float
    max: float
    status: str
    waiting: int
    notes: tuple[str, ...]
    feedback: Path | None


@dataclass(frozen=True)
class ClassReport:
    """All learners of one assignment; `maximum` has the points of each exercise."""

    assignment: str
    maximum: Mapping[str, float]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


def class_report(
    api: Any,
    root: Path,
    assignment: str,
    students: Sequence[str],
    problems: Sequence[Problem],
    failed: Mapping[str, str],
) -> ClassReport:
    """Read the gradebook, the verdicts beside it, and what intake found."""
    from nbgrader.api import MissingEntry

    rows = []
    with api.gradebook as gradebook:
        assigned = gradebook.find_assignment(assignment)
        maximum = {
            _exercise(cell.name): float(cell.max_score)
            for notebook in sorted(assigned.notebooks, key=lambda n: str(n.name))
            for cell in notebook.grade_cells
        }
        most, names = float(assigned.max_score), {str(n.name) for n in assigned.notebooks}
        for student in students:
            points, waiting, total = dict.fromkeys(maximum, 0.0), 0, 0.0
            try:
                submission = gradebook.find_submission(assignment, student)
            except MissingEntry:
                submission = None
            for notebook in submission.notebooks if submission is not None else ():
                for grade in notebook.grades:
                    points[_exercise(grade.name)] = float(grade.score)
                    waiting += bool(grade.needs_manual_grade)
            if submission is not None:
                total = round(sum(points.values()), 2)
            own = [p for p in problems if p.student == student]
            status, notes = _status(root, assignment, student, names, own, failed.get(student, ""))
            folder = root / "feedback" / student / assignment
            page = folder if folder.is_dir() else None
            rows.append(Row(student, points, total, most, status, waiting, notes, page))
    return ClassReport(assignment, maximum, tuple(rows), tuple(problems))


def marks_table(report: ClassReport) -> "Table":
    """The class as a table for the terminal, narrow enough for 80 columns.

    The status is in words, not in a colour; what a human must know stands below, a line each.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    below = [f"{p.notebook}: {p.reason}. {p.what_to_do}" for p in report.problems if not p.student]
    table = Table(title=f"Marks: {report.assignment}", caption_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("student")
    for exercise, points in report.maximum.items():
        table.add_column(f"{exercise.replace('_', chr(10))}\n({points:g})", justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("status", min_width=11)
    for row in report.rows:
        marks = [f"{row.points[exercise]:g}" for exercise in report.maximum]
        status, _, why = row.status.partition(": ")
        table.add_row(row.student, *marks, f"{row.total:g}/{row.max:g}", status)
        below += [f"{row.student}: {text}" for text in [why, *row.notes, *_waiting(row)] if text]
    table.caption = "\n".join(below) or None
    return table


def write_csv(report: ClassReport, path: Path) -> None:
    """The same as a CSV file in UTF-8: one row a learner."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["student", *report.maximum, "total", "max", "status", "waiting", "notes"])
        for row in report.rows:
            marks = [row.points[exercise] for exercise in report.maximum]
            notes = "; ".join(row.notes)
            writer.writerow([row.student, *marks, row.total, row.max, row.status, row.waiting, notes])


def _exercise(grade_id: str) -> str:
    return str(grade_id).removeprefix("check_")


def _waiting(row: Row) -> list[str]:
    return [f"{row.waiting} written answer(s) wait for a human"] if row.waiting else []


def _status(
    root: Path, assignment: str, student: str, names: set[str], problems: Sequence[Problem], failure: str
) -> tuple[str, tuple[str, ...]]:
    aside = [f"{p.notebook}: {p.reason}" for p in problems if not p.repaired]
    notes = [f"{p.notebook}: {p.reason}" for p in problems if p.repaired]
    handed_in = {path.stem for path in (root / "submitted" / student / assignment).glob("*.ipynb")}
    absent = sorted(names - handed_in - {p.notebook for p in problems})
    human = [failure] if failure else _needs_human(root, assignment, student, handed_in & names)
    if human:
        status = "needs a human: " + "; ".join(human)
        notes += aside
    elif aside:
        status = "quarantined: " + "; ".join(aside)
    elif not handed_in:
        return "missing", tuple(notes)
    else:
        status = "graded"
    return status, (*notes, *(f"{name}: not handed in" for name in absent))


def _needs_human(root: Path, assignment: str, student: str, notebooks: set[str]) -> list[str]:
    from navcourse.grading.pipeline import judged_path

    found = []
    for name in sorted(notebooks):
        path = judged_path(root, assignment, student, name)
        verdicts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        reasons = dict.fromkeys(v["human"] for v in verdicts.values() if v["human"])
        found += [f"{name}: {reason}" for reason in reasons]
        if not path.is_file():
            found.append(f"{name}: it was not judged")
    return found
