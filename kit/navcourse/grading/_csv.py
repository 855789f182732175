"""Marks as CSV: a plain table, and the columns that Canvas imports."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from navcourse.grading.report import ClassReport, Row

__all__ = ["guarded", "unguarded", "write_canvas", "write_plain"]

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POINTS_POSSIBLE = "    Points Possible"  # with Canvas's own four spaces


def guarded(text: str) -> str:
    """Text that a spreadsheet shows and never computes; `unguarded` gives it back.

    >>> guarded("=1+1"), guarded("Ada"), unguarded(guarded("-bo"))
    ("'=1+1", 'Ada', '-bo')
    """
    return f"'{text}" if text[:1] in tuple("=+-@\t\r\n'＝＋－＠") else text


def unguarded(text: str) -> str:
    """The text before `guarded`."""
    return text.removeprefix("'")


def write_plain(report: "ClassReport", path: Path) -> None:
    """One row a learner in UTF-8: points by exercise, total, status, what waits, notes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = map(guarded, report.maximum)
        writer.writerow(["student", *names, "total", "max", "status", "waiting", "notes"])
        for row in report.rows:
            marks = [row.points[exercise] for exercise in report.maximum]
            words = guarded(row.status), row.waiting, guarded("; ".join(row.notes))
            writer.writerow([guarded(row.student), *marks, row.total, row.max, *words])


def write_canvas(report: "ClassReport", path: Path, *, roster: Path | None = None) -> tuple[str, ...]:
    """Marks as Canvas imports them: a row "Points Possible", then one row a learner.

    Only who was graded has marks; a mark that waits for a human is left empty, and so is the total of
    its assignment: Canvas leaves an empty cell as it is.

    Parameters
    ----------
    roster : Canvas's own export of its gradebook. Its people are kept with their numbers and sections.
        Without it the learner's id here stands under "SIS Login ID".

    Returns
    -------
    learners who are in the report and not in the roster; empty without one.
    """
    title = report.assignment
    people = _read_roster(roster) if roster else [_person(row.student) for row in report.rows]
    taken: set[str] = set()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CANVAS, guarded(title)])
        most = max((row.max for row in report.rows), default=sum(report.maximum.values()))
        writer.writerow([POINTS_POSSIBLE, *[""] * (len(CANVAS) - 1), f"{most:g}"])
        for person in people:
            row = _row_of(person, report.rows)
            if row:
                taken.add(row.student)
            writer.writerow([*(guarded(person[name]) for name in CANVAS), _mark(row)])
    return tuple(row.student for row in report.rows if row.student not in taken) if roster else ()


def _mark(row: "Row | None") -> str:
    return f"{row.total:g}" if row and row.status == "graded" and not row.waiting else ""


def _person(student: str) -> dict[str, str]:
    return dict.fromkeys(CANVAS, "") | {"Student": student, "SIS Login ID": student}


def _read_roster(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(name not in rows[0] for name in ("Student", "ID")):
        raise ValueError(
            f"{path}: expected Canvas's export of its gradebook with the columns Student and ID. "
            "In Canvas: Grades, Export."
        )
    people = [{name: (row.get(name) or "").strip() for name in CANVAS} for row in rows]
    return [person for person in people if person["Student"] and person["Student"] != "Points Possible"]


def _row_of(person: Mapping[str, str], rows: Sequence["Row"]) -> "Row | None":
    """The report's row of a person of Canvas: by number or login, else by the name as downloads have it."""
    ids = {unguarded(person[name]).casefold() for name in CANVAS[1:4]} - {""}
    squeezed = _squeezed(person["Student"])
    download = {f"{squeezed}_{person['ID']}", squeezed}
    return next((row for row in rows if row.student.casefold() in ids), None) or next(
        (row for row in rows if row.student.casefold() in download), None
    )


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
