"""The instructor's page and each person's own page: plain HTML, no scripts, nothing from the network."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from navcourse.grading._misconceptions import (
    Exercise,
    SlowCell,
    Verdicts,
    exercises_of,
    heard,
    read_verdicts,
    slow_cells,
)
from navcourse.grading._similarity import Pair, similar_pairs

if TYPE_CHECKING:
    from navcourse.grading.report import ClassReport, Row

__all__ = ["Findings", "class_page", "find", "own_page"]

LATE = "late"


@dataclass(frozen=True)
class Findings:
    """What the page tells besides the marks; `slow` is None when no time was measured."""

    verdicts: Verdicts
    exercises: tuple[Exercise, ...]
    slow: tuple[SlowCell, ...] | None
    pairs: tuple[Pair, ...]
    compared: int


def find(report: "ClassReport", root: Path) -> Findings:
    """Read what the steps before left in the course root: verdicts, executed notebooks, submissions."""
    who = [row.student for row in report.rows]
    verdicts = read_verdicts(root, report.assignment, who)
    answers = {student: _code(root / "submitted" / student / report.assignment) for student in who}
    answers = {student: cells for student, cells in answers.items() if cells}
    given = [text for folder in ("release", "source") for text in _code(root / folder / report.assignment)]
    return Findings(
        verdicts,
        exercises_of(verdicts, report.maximum),
        slow_cells(root, report.assignment, who),
        similar_pairs(answers, given),
        len(answers),
    )


def class_page(
    report: "ClassReport",
    findings: Findings,
    *,
    title: str,
    here: Path,
    names: Mapping[str, str] | None = None,
    files: Sequence[tuple[str, str]] = (),
) -> str:
    """The instructor's page as text.

    Parameters
    ----------
    here : folder of the page; links to feedback are relative to it.
    names : id in the course root -> what the page calls that person; None when they are the same.
    files : name and description of files beside the page.
    """
    called = names or {}
    rows = report.rows
    return _render(
        "report.html",
        title=title,
        report=report,
        graded=sum(row.status == "graded" for row in rows),
        human=[row for row in rows if row.status.startswith("needs a human")],
        missing=[row.student for row in rows if row.status == "missing"],
        aside=[p for p in report.problems if not p.repaired],
        repaired=[p for p in report.problems if p.repaired and p.reason],
        waiting=sum(row.waiting for row in rows),
        late={row.student for row in rows if _late(row)},
        words={row.student: row.status.partition(": ")[0] for row in rows},
        exercises=findings.exercises,
        unjudged=[name for name in report.maximum if name not in {e.name for e in findings.exercises}],
        slow=findings.slow,
        called=lambda who: called.get(who, who),
        pairs=findings.pairs,
        compared=findings.compared,
        pages={row.student: _own_link(row, here) or _links(row, here) for row in rows},
        any_pages=any(row.feedback for row in rows),
        files=files,
        middle=_middle(report),
    )


def own_page(report: "ClassReport", row: "Row", findings: Findings, *, title: str) -> str:
    """One person's page as text: own points, what the judge said, what waits. Nobody else is on it."""
    told = findings.verdicts.get(row.student, {})
    others = {other.student for other in report.rows} - {row.student}
    aside = [p for p in report.problems if p.student == row.student and not p.repaired]
    return _render(
        "own_feedback.html",
        title=title,
        row=row,
        maximum=report.maximum,
        assignment=report.assignment,
        lines={name: list(told[name]["lines"]) for name in report.maximum if name in told},
        first={name: heard(list(told[name]["lines"])) for name in report.maximum if name in told},
        aside=[p.reason for p in aside if not _names_someone(p.reason, others)],
        n_aside=len(aside),
        late=_late(row),
        pages=_links(row, row.feedback) if row.feedback else {},
    )


# -- the parts -----------------------------------------------------------------------------------


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("navcourse"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["breakable"] = lambda name: str(name).replace("_", "_\u200b")
    return str(environment.get_template(template).render(**values))


def _code(folder: Path) -> list[str]:
    """The code cells of all notebooks of a folder; what cannot be read was set aside long ago."""
    cells: list[str] = []
    for path in sorted(folder.glob("*.ipynb")):
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("cells", [])
        except (ValueError, AttributeError):
            continue
        cells += ["".join(cell.get("source", "")) for cell in found if cell.get("cell_type") == "code"]
    return cells


def _links(row: "Row", here: Path) -> dict[str, str]:
    """Lesson -> address of its feedback page, relative to the folder `here`."""
    if row.feedback is None:
        return {}
    pages = (path for path in sorted(row.feedback.glob("*.html")) if path.name != "index.html")
    return {path.stem: _relative(path, here) for path in pages}


def _own_link(row: "Row", here: Path) -> dict[str, str]:
    own = row.feedback / "index.html" if row.feedback else None
    return {"open": _relative(own, here)} if own and own.is_file() else {}


def _relative(path: Path, here: Path) -> str:
    return quote(Path(os.path.relpath(path, here)).as_posix())


def _late(row: "Row") -> bool:
    return any(re.search(rf"\b{LATE}\b", note) for note in row.notes)


def _names_someone(text: str, others: set[str]) -> bool:
    return any(re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text, re.IGNORECASE) for name in others)


def _middle(report: "ClassReport") -> str:
    totals = [row.total for row in report.rows if row.status != "missing"]
    return f"{median(totals):g}" if totals else "none"
