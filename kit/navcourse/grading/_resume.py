"""What of a class is already done: results that fit, and learners whose grading had finished.

A run that was cut short, by a power cut or Ctrl-C, leaves a note ``running``; the next one goes on where
it was. After a run that ended well, the next grades everyone again, from the stored results.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from navcourse.grading._executed import digest_of, executed_path, load, write_whole
from navcourse.grading._jobs import Job, run_jobs
from navcourse.grading.pipeline import LOST, ProbeExecute, judged_path
from navcourse.grading.settings import Course

__all__ = ["finished", "jobs_of", "mark_finished", "run_missing", "verdicts_of"]


def jobs_of(course: Course, assignment: str, student: str, execute: ProbeExecute) -> list[Job]:
    """One job for each notebook of a student that the assignment knows."""
    jobs: list[Job] = []
    for path in sorted((course.root / "submitted" / student / assignment).glob("*.ipynb")):
        source = course.root / "source" / assignment / path.name
        if source.is_file():
            key = execute.key_of(path, source)
            jobs.append({"student": student, "assignment": assignment, "notebook": path.stem, "key": key})
    return jobs


def run_missing(
    course: Course, jobs: Mapping[str, Sequence[Job]], *, workers: int, rerun: bool = False
) -> Generator[tuple[str, dict[str, str], list[str]], None, None]:
    """Run what has no result yet; yields each student as soon as all of theirs is there.

    Yields
    ------
    student, the key of each notebook's result, and what went wrong twice and was not theirs.
    """
    missing = [job for own in jobs.values() for job in own if rerun or not _is_done(course, job)]
    waiting = {student: {job["notebook"] for job in missing if job["student"] == student} for student in jobs}
    keys = {student: {job["notebook"]: job["key"] for job in own} for student, own in jobs.items()}
    failures: dict[str, list[str]] = {student: [] for student in jobs}
    results = run_jobs(course, missing, workers=workers)
    try:
        for student in jobs:
            if not waiting[student]:
                yield student, keys[student], []
        for job, failure in results:
            student, notebook = job["student"], job["notebook"]
            waiting[student].discard(notebook)
            if failure:
                keys[student][notebook] = LOST
                failures[student].append(f"{notebook}: {failure}")
            if not waiting[student]:
                yield student, keys[student], failures[student]
    finally:
        results.close()


def mark_finished(course: Course, assignment: str, student: str, keys: Mapping[str, str]) -> None:
    """Say that nbgrader has everything of this student; written after the last row of the gradebook."""
    write_whole(_mark(course, assignment, student), json.dumps({"keys": keys, "checks": _checks(course)}))


def finished(
    course: Course,
    assignment: str,
    jobs: Mapping[str, Sequence[Job]],
    scores: Mapping[str, Mapping[str, float]],
) -> set[str]:
    """Students whose grading a run before had finished, and whose rows in the gradebook say the same."""
    found = set()
    checks = _checks(course)
    for student, own in jobs.items():
        try:
            mark = json.loads(_mark(course, assignment, student).read_bytes())
            verdicts = verdicts_of(course, assignment, student, [job["notebook"] for job in own])
        except (OSError, ValueError):
            continue
        same = mark == {"keys": {job["notebook"]: job["key"] for job in own}, "checks": checks}
        if same and verdicts.items() <= scores.get(student, {}).items():
            found.add(student)
    return found


def verdicts_of(course: Course, assignment: str, student: str, notebooks: Sequence[str]) -> dict[str, float]:
    """The judge's points for each check cell."""
    told: dict[str, Any] = {}
    for notebook in notebooks:
        path = judged_path(course.root, assignment, student, notebook)
        told |= json.loads(path.read_text(encoding="utf-8"))
    return {f"check_{exercise}": float(verdict["points"]) for exercise, verdict in told.items()}


def _is_done(course: Course, job: Job) -> bool:
    path = executed_path(course.root / "executed", job["student"], job["assignment"], job["notebook"])
    return load(path, job["key"]) is not None


def _mark(course: Course, assignment: str, student: str) -> Path:
    return course.root / "executed" / student / assignment / ".graded"


def _checks(course: Course) -> str:
    return digest_of(path.read_text(encoding="utf-8") for path in sorted(course.checks_folder.glob("*.py")))
