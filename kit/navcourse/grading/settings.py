"""What a class is graded with: one `Course`, one nbgrader configuration, one quiet session."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traitlets.config import Config

__all__ = ["Course", "GradingError", "Progress", "class_config", "last_line", "must", "session"]

STUB = 'raise NotImplementedError("Replace this line with your code.")'
PIPELINE = "navcourse.grading.pipeline"
Progress = Callable[[str, int, int], object]
"""Called with a step's name, how many are done and how many there are."""


class GradingError(Exception):
    """A step cannot go on for the whole class; one sentence."""


@dataclass(frozen=True)
class Course:
    """Where a class is graded, and how."""

    root: Path
    checks_folder: Path
    cohort: str
    course_id: str = "navigation"
    require_sandbox: bool = False
    readable: tuple[Path, ...] = ()
    timeout_s: int = 60
    db_url: str = ""  # a database server, such as postgresql+psycopg://...; gradebook.db when empty
    progress: Progress = field(default=lambda step, done, total: None)

    @property
    def log(self) -> Path:
        """nbgrader's and the database's own messages."""
        return self.root / "grading.log"

    @property
    def gradebook_url(self) -> str:
        """Where nbgrader keeps the marks."""
        return self.db_url or f"sqlite:///{self.root.absolute() / 'gradebook.db'}"


def class_config(
    root: Path,
    checks_folder: Path,
    cohort: str,
    *,
    course_id: str = "navigation",
    readable: Sequence[Path] = (),
    timeout_s: int = 60,
    require_sandbox: bool = False,
    db_url: str = "",
) -> Config:
    """nbgrader's configuration for a course root; `grading/nbgrader_config.py` uses the same."""
    c = Config()
    c.CourseDirectory.root = str(root)
    c.CourseDirectory.course_id = course_id
    if db_url:
        c.CourseDirectory.db_url = db_url
    c.Exchange.root = str(root / "exchange")
    c.Exchange.cache = str(root / "exchange_cache")
    c.Exchange.path_includes_course = True
    c.ExchangeReleaseAssignment.force = True
    c.ClearSolutions.code_stub = {"python": STUB}
    c.OverwriteCells.add_missing_cells = True
    c.Autograde.autograde_preprocessors = [
        f"{PIPELINE}.ProbeExecute",
        f"{PIPELINE}.Judge",
        "nbgrader.preprocessors.IgnorePattern",
        "nbconvert.preprocessors.ClearMetadataPreprocessor",
        "nbgrader.preprocessors.LimitOutput",
        "nbgrader.preprocessors.SaveAutoGrades",
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    for section in (c.ProbeExecute, c.Judge):
        section.checks_folder = str(checks_folder)
        section.cohort = cohort
    c.Judge.course_root = str(root)
    c.ProbeExecute.require_sandbox = require_sandbox
    c.ProbeExecute.readable = [str(path) for path in readable]
    c.ProbeExecute.caches = {name: str(root / "cache" / name) for name in ("numba", "matplotlib")}
    # nbgrader waits 4 s for outputs and 60 s for a start: a busy machine is not the learner's fault.
    c.ProbeExecute.timeout = timeout_s
    c.ProbeExecute.iopub_timeout = 120
    c.ProbeExecute.startup_timeout = 240
    c.ProbeExecute.shutdown_kernel = "immediate"
    return c


@contextmanager
def session(course: Course) -> Iterator[Any]:
    """One API object for a step; its messages and warnings go to the course's log, not the terminal."""
    # nbgrader calls `alembic` by name when it makes a gradebook, also when the environment is not active.
    before, cwd = os.environ.get("PATH", ""), Path.cwd()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    handler = logging.FileHandler(course.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("traitlets", "sqlalchemy", "alembic", "asyncio")]
    kept = [(logger, logger.propagate, logger.level) for logger in loggers]
    try:
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = _to_log
            from nbgrader.apps import NbGraderAPI

            config = class_config(
                course.root, course.checks_folder, course.cohort,
                course_id=course.course_id, readable=course.readable, timeout_s=course.timeout_s,
                db_url=course.db_url,
            )  # fmt: skip
            yield NbGraderAPI(config=config)
    finally:
        for logger, propagate, level in kept:
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)
        handler.close()
        os.environ["PATH"] = before
        os.chdir(cwd)


def _to_log(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    logging.getLogger("traitlets").debug("%s:%s: %s: %s", filename, lineno, category.__name__, message)


def must(result: Mapping[str, Any], what: str, course: Course) -> None:
    """Raise when nbgrader says that a step failed for the whole class."""
    if not result["success"]:
        raise GradingError(f"{what}: {last_line(result.get('error', ''))} (see {course.log}).")


def last_line(text: str) -> str:
    """The last line of a traceback: what went wrong, without where."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
