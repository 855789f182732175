"""The marks of a class: a table for the terminal, a page for the instructor, files for the institution."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navcourse.grading._csv import write_canvas, write_plain
from navcourse.grading._page import class_page, find, own_page
from navcourse.grading._pseudonyms import pseudonymise, with_pseudonyms
from navcourse.grading.intake import Problem

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "ClassReport",
    "Row",
    "Written",
    "class_report",
    "marks_table",
    "write_csv",
    "write_feedback",
    "write_report",
]


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


@dataclass(frozen=True)
class Written:
    """The files of `write_report`; `unknown` are learners whom Canvas's roster does not have."""

    page: Path
    marks: Path
    canvas: Path
    unknown: tuple[str, ...]


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
            points, waiting, total, late_s = dict.fromkeys(maximum, 0.0), 0, 0.0, 0.0
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
                late_s = float(submission.total_seconds_late)
            own = [p for p in problems if p.student == student]
            status, notes = _status(root, assignment, student, names, own, failed.get(student, ""))
            folder = root / "feedback" / student / assignment
            page = folder if folder.is_dir() else None
            rows.append(Row(student, points, total, most, status, waiting, (*notes, *_late(late_s)), page))
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
    write_plain(report, path)


def write_report(
    report: ClassReport,
    root: Path,
    folder: Path,
    *,
    title: str = "",
    key_file: Path | None = None,
    canvas_roster: Path | None = None,
) -> Written:
    """Write the instructor's page and the marks for Canvas and for anyone: ``index.html`` and two CSV files.

    Parameters
    ----------
    root : the course root; it is only read.
    folder : made when it is missing.
    title : of the course; the assignment's name without it.
    key_file : with it the page and ``marks.csv`` have random ids for names, and the key is kept there.
        Canvas needs to know people: ``canvas.csv`` has the names, so it is not written then.
    canvas_roster : Canvas's export of its gradebook, whose people and numbers are kept.

    Raises
    ------
    ValueError
        If the key file would lie in the course root or in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    findings, ids = find(report, root), None
    page, marks, canvas = folder / "index.html", folder / "marks.csv", folder / "canvas.csv"
    files: list[tuple[str, str]] = [(marks.name, "one row a learner")]
    unknown: tuple[str, ...] = ()
    if key_file is None:
        unknown = write_canvas(report, canvas, roster=canvas_roster)
        files.append((canvas.name, "for Canvas: Grades, Import"))
    else:
        canvas.unlink(missing_ok=True)
        if key_file.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{key_file} lies beside the report; expected another place for the key.")
        names = {*(row.student for row in report.rows), *(p.student for p in report.problems)} - {""}
        ids = pseudonymise(sorted(names), key_file, course_root=root)
        report = with_pseudonyms(report, ids)
    write_plain(report, marks)
    text = class_page(report, findings, title=title or report.assignment, here=folder, names=ids, files=files)
    page.write_text(text, encoding="utf-8")
    return Written(page, marks, canvas, unknown)


def write_feedback(report: ClassReport, root: Path, *, title: str = "") -> dict[str, Path]:
    """Write each person's own page ``index.html`` beside nbgrader's feedback; returns them by person."""
    findings, pages = find(report, root), {}
    for row in report.rows:
        if row.feedback is not None:
            pages[row.student] = row.feedback / "index.html"
            text = own_page(report, row, findings, title=title or report.assignment)
            pages[row.student].write_text(text, encoding="utf-8")
    return pages


def _exercise(grade_id: str) -> str:
    return str(grade_id).removeprefix("check_")


def _late(seconds: float) -> tuple[str, ...]:
    return (f"late by {seconds / 3600:.1f} hours",) if seconds > 0 else ()


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
