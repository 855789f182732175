"""What a class understood wrongly in each exercise, in the words of the judge; and which cells are slow."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from navcourse.grading.probe import NOT_WRITTEN

__all__ = [
    "Exercise",
    "SlowCell",
    "Verdicts",
    "exercises_of",
    "heard",
    "kinds",
    "read_verdicts",
    "slow_cells",
]

Verdicts = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Student -> exercise -> what the judge wrote: points and one line for each hidden case."""

MOST_SLOW = 10
_KINDS = (
    # First: what an error says are the learner's own words.
    (re.compile(r"(?:raised|stopped with(?: an?)?) (\w+)"), "the function stopped with {}"),
    (re.compile(r"[Tt]his looks like (.+?)\.?$"), "{}"),
    (re.compile(r"(not written yet)"), "{}"),
    (re.compile(r"(did not finish in time)"), "the code {}"),
    (re.compile(r"(returned None)"), "the function {}"),
    (re.compile(r"there is (no function) "), "{} of this name"),
    (re.compile(r"was (imported)"), "the function was {}, not written"),
    (re.compile(r"process (ended) before"), "the notebook's process {}"),
    (re.compile(r"(Are rows and columns swapped|Is the matrix transposed)\?"), "{}?"),
    (re.compile(r"has (shape) "), "the answer has another {}"),
)
OTHER = "wrong in a way that no one foresaw"


@dataclass(frozen=True)
class Exercise:
    """One exercise over the class: counts of people.

    `wrong` has what was misunderstood and by how many, `hardest` the hidden cases that most failed of
    those who wrote a function; both begin with the largest. A person may stand in several lines of either.
    """

    name: str
    judged: int
    solved: int
    wrong: tuple[tuple[str, int], ...]
    hardest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SlowCell:
    """A cell's time over the class in seconds; `who` had the longest."""

    notebook: str
    cell: str
    median_s: float
    longest_s: float
    who: str


def read_verdicts(root: Path, assignment: str, students: Iterable[str]) -> Verdicts:
    """What the judge left in ``judged/``; empty for people who were not judged."""
    found: dict[str, dict[str, Any]] = {}
    for student in students:
        found[student] = {}
        for path in sorted((root / "judged" / student / assignment).glob("*.json")):
            found[student] |= json.loads(path.read_text(encoding="utf-8"))
    return found


def kinds(lines: Iterable[str]) -> tuple[str, ...]:
    """The misconceptions in a judge's lines, each once; "no one foresaw" only when nothing else is said.

    >>> kinds(["✓ one", "✗ two: the error is 3 mm. This looks like the diameter.", "✗ three: not right"])
    ('the diameter',)
    """
    found = [_kind(line) for line in lines if line.startswith("✗")]
    named = [kind for kind in found if kind != OTHER]
    return tuple(dict.fromkeys(named or found))


def heard(lines: Sequence[str]) -> str:
    """The line that tells most: one with a likely cause before one without; empty if all is right."""
    wrong = [line for line in lines if line.startswith("✗")]
    return next((line for line in wrong if _kind(line) != OTHER), wrong[0] if wrong else "")


def exercises_of(verdicts: Verdicts, maximum: Mapping[str, float]) -> tuple[Exercise, ...]:
    """Each judged exercise in the order of `maximum`; written answers are not among them."""
    table = []
    for name, most in maximum.items():
        told = [own[name] for own in verdicts.values() if name in own]
        if not told:
            continue
        lines = [list(one["lines"]) for one in told]
        wrong = Counter(kind for own in lines for kind in kinds(own))
        hardest = Counter(title for own in lines for title in _failed(own, _titles(lines)))
        solved = sum(float(one["points"]) >= most for one in told)
        table.append(Exercise(name, len(told), solved, _ranked(wrong), _ranked(hardest)))
    return tuple(table)


def slow_cells(root: Path, assignment: str, students: Iterable[str]) -> tuple[SlowCell, ...] | None:
    """The cells that took longest for one person or more; None if no notebook says how long it took."""
    took: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for student in students:
        for path in sorted((root / "autograded" / student / assignment).glob("*.ipynb")):
            cells = json.loads(path.read_text(encoding="utf-8")).get("cells", [])
            for number, cell in enumerate((c for c in cells if c.get("cell_type") == "code"), 1):
                seconds = _seconds(cell.get("metadata", {}).get("execution", {}))
                if seconds is not None:
                    took[path.stem, _cell_name(cell, number)].append((seconds, student))
    if not took:
        return None
    slow = [
        SlowCell(notebook, name, median(s for s, _ in times), *max(times))
        for (notebook, name), times in took.items()
    ]
    return tuple(sorted(slow, key=lambda cell: -cell.longest_s)[:MOST_SLOW])


# -- the parts -----------------------------------------------------------------------------------


def _kind(line: str) -> str:
    for pattern, words in _KINDS:
        if found := pattern.search(line):
            return words.format(found[1])
    return OTHER


def _titles(lines: Sequence[Sequence[str]]) -> set[str]:
    """Titles of hidden cases as those who passed them read them: a title may hold a colon itself."""
    return {line[2:] for own in lines for line in own if line.startswith("✓ ")}


def _failed(lines: Sequence[str], known: set[str]) -> list[str]:
    from navcourse.grading.pipeline import DEAD, NO_CHECK, TIMED_OUT

    wrong = [line[2:] for line in lines if line.startswith("✗ ") and NOT_WRITTEN not in line]
    if len(lines) == 1 and wrong and wrong[0].startswith((DEAD, NO_CHECK, TIMED_OUT)):
        return []  # one line for all cases
    fits = ((text, [title for title in known if text.startswith(f"{title}: ")]) for text in wrong)
    return [max(titles, key=len) if titles else text.partition(": ")[0] for text, titles in fits]


def _ranked(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _seconds(execution: Mapping[str, str]) -> float | None:
    begin, end = execution.get("iopub.execute_input"), execution.get("shell.execute_reply")
    if not begin or not end:
        return None
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    except ValueError:
        return None


def _cell_name(cell: Mapping[str, Any], number: int) -> str:
    """The exercise or check; given cells have a name that says nothing, so they are counted."""
    name = str(cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))
    if name.startswith("check_"):
        return f"the check of {name.removeprefix('check_')}"
    return name if name and not name.startswith("given_") else f"code cell {number}"
