"""One worker: runs notebooks in the sandbox, one after the other, as told on its standard input.

``python -P -m navcourse.grading._worker`` reads lines of JSON, first the course, then jobs, and answers
each job with a line: ``""`` when the result lies in its file, else what went wrong that was not the
learner's doing. When its input ends, because the grader closed it or is no more, it ends at once and
its kernel with it.
"""

import copy
import json
import os
import queue
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

from navcourse.grading._executed import executed_path, save
from navcourse.grading._warm import Template, modules_of, started
from navcourse.grading.pipeline import ProbeExecute
from navcourse.grading.settings import Course, session

__all__ = ["Desk", "course_from", "course_to", "desk", "main", "one_engine", "run_job"]


@dataclass(frozen=True)
class Desk:
    """What a worker keeps from one job to the next."""

    course: Any  # nbgrader's own: where its folders are
    before: Sequence[Any]  # nbgrader's preprocessors that come before the run
    execute: ProbeExecute
    gradebook: str
    folder: Path
    templates: dict[Path, Template | None]


def course_to(course: Course) -> dict[str, Any]:
    """The course as plain JSON, without what only the grader's own process can do."""
    told = {f.name: getattr(course, f.name) for f in fields(course) if f.name != "progress"}
    told["readable"] = [str(path) for path in course.readable]
    return {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}


def course_from(told: Mapping[str, Any]) -> Course:
    """The course that `course_to` wrote down."""
    paths = {name: Path(told[name]) for name in ("root", "checks_folder")}
    return Course(**dict(told) | paths | {"readable": tuple(Path(p) for p in told["readable"])})


@contextmanager
def one_engine() -> Iterator[None]:
    """Let nbgrader open the gradebook with one SQLAlchemy engine for each address.

    It opens it some ten times for each notebook, and each new engine compiles every statement anew.
    """
    from nbgrader import api

    usual = api.create_engine
    api.create_engine = lru_cache(maxsize=8)(usual)
    try:
        yield
    finally:
        api.create_engine = usual


@contextmanager
def desk(course: Course) -> Iterator[Desk]:
    """Everything that a worker needs, made once."""
    from nbgrader.converters import Autograde

    place = "/tmp" if Path("/tmp").is_dir() else None  # see `_warm.started`
    with session(course) as api, one_engine(), tempfile.TemporaryDirectory(prefix="nw-", dir=place) as name:
        converter = Autograde(coursedir=api.coursedir, parent=api)
        before = [made(parent=converter) for made in converter.sanitize_preprocessors]
        gradebook = _copied(api.coursedir.db_url, Path(name))
        templates: dict[Path, Template | None] = {}
        yield Desk(api.coursedir, before, ProbeExecute(parent=converter), gradebook, Path(name), templates)
        for template in filter(None, templates.values()):
            template.end()


def _template(at: Desk, source: Path) -> Template | None:
    """The warm process of this assignment; None when there is none to be had."""
    if source not in at.templates:
        at.templates[source] = started(
            modules_of(sorted(source.glob("*.ipynb"))), at.folder / f"warm{len(at.templates)}"
        )
    return at.templates[source]


def run_job(at: Desk, job: Mapping[str, str]) -> None:
    """Run one notebook just as nbgrader would, and keep the result under the job's key."""
    student, assignment, notebook = job["student"], job["assignment"], job["notebook"]
    submitted = Path(at.course.format_path(at.course.submitted_directory, student, assignment))
    source = Path(at.course.format_path(at.course.source_directory, ".", assignment))
    place = at.folder / "files"
    shutil.rmtree(place, ignore_errors=True)
    hidden = shutil.ignore_patterns(*at.course.ignore, "*.ipynb")
    for files in (submitted, source):  # the learner's, then the instructor's over them
        shutil.copytree(files, place, ignore=hidden, dirs_exist_ok=True, symlinks=True)
    who = {"student": student, "assignment": assignment, "notebook": notebook, "db_url": at.gradebook}
    resources: dict[str, Any] = {"nbgrader": who, "metadata": {"path": str(place)}}
    nb = nbformat.read(submitted / f"{notebook}.ipynb", 4)
    for preprocessor in at.before:
        nb, resources = preprocessor(nb, resources)
    untouched = copy.deepcopy(nb)
    at.execute.template = _template(at, source)
    try:
        done = at.execute.run(nb, resources)
    except (OSError, RuntimeError):
        if not at.execute.template:
            raise
        at.templates[source] = at.execute.template = None  # whatever it is, a cold kernel does not have it
        done = at.execute.run(untouched, resources)
    save(executed_path(Path(at.course.root) / "executed", student, assignment, notebook), done, job["key"])


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints does not speak to the grader
    course = course_from(json.loads(sys.stdin.readline()))
    todo: queue.Queue[str] = queue.Queue()
    with desk(course) as at:
        threading.Thread(target=_listen, args=(todo, at), daemon=True).start()
        while True:
            job = json.loads(todo.get())
            try:
                run_job(at, job)
                said = ""
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            answers.write(json.dumps(said) + "\n")
            answers.flush()


def _listen(todo: "queue.Queue[str]", at: Desk) -> None:
    # In a thread of its own: the grader's end is noticed in the middle of a notebook, too.
    for line in sys.stdin:
        todo.put(line)
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    for folder in filter(None, [at.folder, at.execute.private]):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _copied(db_url: str, folder: Path) -> str:
    """A copy of the gradebook to read released cells from: the grader writes to the real one meanwhile."""
    place = db_url.removeprefix("sqlite:///")
    if place == db_url:  # a database server: it has no trouble with several readers
        return db_url
    copied = folder / "gradebook.db"
    real = sqlite3.connect(f"file:{place}?mode=ro", uri=True, timeout=60)
    with closing(real), closing(sqlite3.connect(copied)) as target:
        real.backup(target)
    return f"sqlite:///{copied}"


if __name__ == "__main__":
    main()
