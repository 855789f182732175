"""Who gets another mark when a class is graded again, and why: known before anything is written.

`preview` grades on a copy of the gradebook. Results of runs are shared with the real course root, so the
regrade that follows runs no notebook a second time.
"""

import dataclasses
import hashlib
import inspect
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from navcourse.grading.gradebook import backup, reading
from navcourse.grading.settings import Course, GradingError

__all__ = ["Change", "Mark", "differences", "marks_table", "preview", "reasons", "remember", "versions"]

SAME_FILES = "The same files gave other answers: is something in them random or near the time limit?"
Versions = Mapping[str, str]
"""What decides the marks of one notebook, by name: a digest or a word."""


@dataclass(frozen=True)
class Mark:
    """One row of the gradebook; `score` is what counts: the manual mark where there is one, and the extra."""

    student: str
    notebook: str
    exercise: str
    auto: float | None
    manual: float | None
    extra: float | None
    waits: bool
    comment: str

    @property
    def score(self) -> float:
        kept = self.auto if self.manual is None else self.manual
        return (kept or 0.0) + (self.extra or 0.0) * (kept is not None)


@dataclass(frozen=True)
class Change:
    """One mark that a regrade changes; None where there is no row."""

    student: str
    notebook: str
    exercise: str
    before: float | None
    after: float | None
    why: str

    def __str__(self) -> str:
        return (
            f"{self.student}, {self.exercise}: {_told(self.before)} becomes {_told(self.after)}. {self.why}"
        )


def marks_table(course: Course, assignment: str) -> tuple[Mark, ...]:
    """Every mark of an assignment, in the order of learner, notebook and exercise."""
    query = {"name": assignment}
    with reading(course) as connection:
        grades = connection.execute(text(_GRADES), query).all()
        comments = {tuple(row[:3]): row[3] for row in connection.execute(text(_COMMENTS), query)}
    found = []
    for student, notebook, cell, auto, manual, extra, waits in grades:
        exercise = str(cell).removeprefix("check_")
        comment = comments.get((student, notebook, cell)) or comments.get((student, notebook, exercise)) or ""
        found.append(Mark(student, notebook, exercise, auto, manual, extra, bool(waits), comment))
    return tuple(sorted(found, key=lambda mark: (mark.student, mark.notebook, mark.exercise)))


def differences(
    before: Iterable[Mark], after: Iterable[Mark], why: Mapping[tuple[str, str, str], str]
) -> tuple[Change, ...]:
    """The marks that differ. `why` has reasons by learner, notebook and exercise; without one: other answers.

    A mark that was given by hand stays; when the automatic one beneath it differs, that is told too.
    """
    old, new = ({(m.student, m.notebook, m.exercise): m for m in marks} for marks in (before, after))
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, will = old.get(key), new.get(key)
        if was and will and (was.auto, was.score) == (will.auto, will.score):
            continue
        reason = why.get(key) or SAME_FILES
        if was and will and was.score == will.score:
            reason = (
                f"The mark by hand stays; beneath it {_told(was.auto)} becomes {_told(will.auto)}. {reason}"
            )
        found.append(Change(*key, was.score if was else None, will.score if will else None, reason))
    return tuple(found)


def preview(course: Course, assignment: str, *, students: Sequence[str] | None = None) -> tuple[Change, ...]:
    """Grade everyone (or `students`) on a copy, and say who would get another mark and why.

    Raises
    ------
    GradingError
        If there is no gradebook yet, or grading cannot start.
    """
    from navcourse.grading.run import autograde, submitted_students

    if course.db_url:
        raise GradingError("a preview needs the gradebook as a file; this one is on a database server.")
    saved = backup(course)
    if saved is None:
        raise GradingError(
            f"there is no gradebook in {course.root}; expected a class that was graded before."
        )
    who = submitted_students(course, assignment) if students is None else list(students)
    with tempfile.TemporaryDirectory(prefix="navcourse-") as name:
        other = dataclasses.replace(course, root=Path(name).resolve())
        for folder in ("source", "release", "submitted", "executed", "cache"):
            _same(course.root / folder, other.root / folder)
        shutil.copyfile(saved, other.root / "gradebook.db")
        autograde(other, assignment, students=who)
        known, why = _remembered(course, assignment), {}
        for student in who:
            for notebook, now in versions(other, assignment, student).items():
                then = known.get(student, {}).get(notebook)
                for exercise, said in _new_words(course.root, other.root, assignment, student, notebook):
                    told = reasons(then, now, exercise) or SAME_FILES
                    why[student, notebook, exercise] = f"{told} {said}".strip()
        before = [mark for mark in marks_table(course, assignment) if mark.student in who]
        after = [mark for mark in marks_table(other, assignment) if mark.student in who]
    return differences(before, after, why)


def reasons(then: Versions | None, now: Versions, exercise: str) -> str:
    """What decides an exercise's mark and is not as before; empty when there is nothing.

    >>> reasons({"cohort": "spring"}, {"cohort": "autumn"}, "find_tip")
    'The cohort was spring and is autumn.'
    """
    if then is None:
        return "It is not known what the earlier mark was made from."
    found = []
    for name, what in _DECIDES.items():
        key = f"check {exercise}" if name == "check" else name
        if then.get(key) != now.get(key):
            found.append(what.format(exercise=exercise, then=then.get(key), now=now.get(key)))
    return " ".join(found)


def versions(course: Course, assignment: str, student: str) -> dict[str, dict[str, str]]:
    """What decides the marks of each notebook that a learner handed in."""
    from navcourse.grading._executed import _kit
    from navcourse.grading.sandbox import sandbox_available

    checks = _checks(str(course.checks_folder))
    common = {"cohort": course.cohort, "kit": _kit(), "limit": f"{course.timeout_s} s"}
    common["sandbox"] = "there" if sandbox_available() else "missing"
    folder = course.root / "submitted" / student / assignment
    beside = "".join(
        f"{path.name} {_digest(path.read_bytes())}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".ipynb" and path.name != "timestamp.txt"
    )
    found = {}
    for path in sorted(folder.glob("*.ipynb")):
        source = course.root / "source" / assignment / path.name
        if source.is_file():
            released = source.read_bytes()
            asked = {f"check {name}": digest for name, digest in checks.items() if _names(released, name)}
            own = {"submission": _digest(path.read_bytes() + beside.encode()), "lesson": _digest(released)}
            found[path.stem] = common | asked | own
    return found


def remember(course: Course, assignment: str, students: Iterable[str]) -> None:
    """Note what the marks of `students` were made from, for the next `preview`."""
    from navcourse.grading._executed import write_whole

    made = {student: versions(course, assignment, student) for student in students}
    write_whole(_note(course, assignment), json.dumps(_remembered(course, assignment) | made, indent=1))


_DECIDES = {
    "submission": "Another file was handed in.",
    "lesson": "The lesson's notebook is another.",
    "check": "The hidden check of {exercise} is another.",
    "cohort": "The cohort was {then} and is {now}.",
    "limit": "The time limit was {then} and is {now}.",
    "sandbox": "The sandbox was {then} and is {now}.",
    "kit": "The kit is another version.",
}
_GRADES = """
    SELECT s.student_id, n.name, b.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade
    FROM grade g JOIN base_cell b ON b.id = g.cell_id JOIN submitted_notebook sn ON sn.id = g.notebook_id
    JOIN notebook n ON n.id = sn.notebook_id JOIN submitted_assignment s ON s.id = sn.assignment_id
    JOIN assignment a ON a.id = s.assignment_id WHERE a.name = :name"""
_COMMENTS = """
    SELECT s.student_id, n.name, b.name, coalesce(c.manual_comment, c.auto_comment)
    FROM comment c JOIN base_cell b ON b.id = c.cell_id JOIN submitted_notebook sn ON sn.id = c.notebook_id
    JOIN notebook n ON n.id = sn.notebook_id JOIN submitted_assignment s ON s.id = sn.assignment_id
    JOIN assignment a ON a.id = s.assignment_id WHERE a.name = :name"""


def _checks(folder: str) -> dict[str, str]:
    """A digest of each exercise's hidden check: the file it stands in."""
    from navcourse.grading.pipeline import checks_in

    files = {name: Path(inspect.getfile(check.function)) for name, check in checks_in(folder).items()}
    return {name: _digest(path.read_bytes()) for name, path in files.items()}


def _told(mark: float | None) -> str:
    return "no mark" if mark is None else f"{mark:g}"


def _names(notebook: bytes, exercise: str) -> bool:
    return f'"check_{exercise}"'.encode() in notebook


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _note(course: Course, assignment: str) -> Path:
    return course.root / "notes" / f"{assignment}.graded.json"


def _remembered(course: Course, assignment: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads(_note(course, assignment).read_bytes()))
    return {}


def _same(real: Path, here: Path) -> None:
    """The folder of the real course root, not a copy of it where the system has links."""
    real.mkdir(exist_ok=True)
    try:
        here.symlink_to(real, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(real, here)


def _new_words(
    before: Path, after: Path, assignment: str, student: str, notebook: str
) -> Iterator[tuple[str, str]]:
    """Each exercise, with the first line that the judge says now and did not say before."""
    from navcourse.grading.pipeline import judged_path

    old, new = (
        json.loads(path.read_bytes()) if path.is_file() else {}
        for path in (judged_path(root, assignment, student, notebook) for root in (before, after))
    )
    for exercise, verdict in new.items():
        known = old.get(exercise, {}).get("lines", [])
        said = next((line for line in verdict["lines"] if line not in known), "")
        yield exercise, said and f"The judge now says: {said}"
