"""The gradebook cannot be made again: it is held, looked at and copied before every run, and looked at after.

`guarded` is what a step that writes stands in, `after_run` what it ends with. Nothing here changes a mark,
and nothing upgrades a gradebook silently.
"""

import filecmp
import os
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from navcourse.grading._one_grader import network_file_system, one_grader
from navcourse.grading.settings import Course, GradingError

__all__ = [
    "after_run", "backup", "backups", "before_run", "check_schema", "guarded", "reading", "restore", "verify",
]  # fmt: skip

KEEP = 20
"""Backups that are kept; the oldest go first."""
WAIT_S = 10.0
"""How long another program's writing is waited for."""
SQLITE = "sqlite:///"


@contextmanager
def guarded(course: Course) -> Iterator[None]:
    """Hold the gradebook for one grader, look at it and back it up; then the step may write.

    Raises
    ------
    GradingError
        If another grader is at work, or the gradebook cannot be read, is damaged, or has another schema.
    """
    with one_grader(course.root):
        before_run(course)
        yield


def before_run(course: Course) -> Path | None:
    """Warn of a network file system, back up, check the schema; the backup, or None without a gradebook."""
    told = network_file_system(course.root)
    if told and _file(course):
        warnings.warn(told, stacklevel=2)
    if not _is_there(course) and backups(course):
        warnings.warn(
            f"there is no gradebook here any more: a new one is made. {_advice(course)}", stacklevel=2
        )
    made = backup(course)
    check_schema(course)
    return made


def after_run(course: Course, assignment: str, students: Sequence[str]) -> None:
    """See that the gradebook is whole and has every row of `students`, who were graded without a failure.

    Raises
    ------
    GradingError
        If it is not; the sentence names the newest backup.
    """
    folder = course.root / "submitted"
    handed_in = [s for s in students if any((folder / s / assignment).glob("*.ipynb"))]  # else: quarantine
    problems = verify(course, assignment, handed_in)
    if problems:
        more = f" And {len(problems) - 3} more." if len(problems) > 3 else ""
        found = " ".join(problems[:3])
        raise GradingError(f"The gradebook is not as it should be. {found}{more} {_advice(course)}")


def check_schema(course: Course) -> None:
    """See that nbgrader's tables are those of the installed nbgrader; no gradebook yet is fine.

    Raises
    ------
    GradingError
        If the schema is older or newer, a table or column is missing, or the file is damaged.
    """
    from alembic.script import ScriptDirectory
    from nbgrader.api import Base
    from nbgrader.dbutil import ALEMBIC_DIR

    if not _is_there(course):
        return
    with reading(course) as connection:
        looked = inspect(connection)
        tables = set(looked.get_table_names())
        if not tables:
            return  # a new database: nbgrader makes the tables
        has_version = "alembic_version" in tables
        version = has_version and connection.scalar(text("SELECT version_num FROM alembic_version"))
        there = {name: {column["name"] for column in looked.get_columns(name)} for name in tables}
    scripts = ScriptDirectory(ALEMBIC_DIR)
    head, known = scripts.get_current_head(), {script.revision for script in scripts.walk_revisions()}
    where = f"the gradebook {_shown(course)}"
    kept = f" A backup is {backups(course)[-1]}." if backups(course) else " Make a backup first."
    if version != head and (version in known or not version):
        raise GradingError(
            f"{where} is of an older nbgrader: its schema is '{version or 'not named'}', this nbgrader "
            f"expects '{head}'. Nothing was changed.{kept} To upgrade it: cd {course.root} && "
            "nbgrader db upgrade. Then run this again."
        )
    if version != head:
        raise GradingError(
            f"{where} is of another, newer nbgrader: its schema is '{version}', this one expects '{head}'. "
            "Nothing was changed. Install the nbgrader that made it, or restore an older backup."
        )
    for table in Base.metadata.sorted_tables:
        # nbgrader would make a missing table anew, empty: the marks in it would be gone without a word.
        if missing := {column.name for column in table.columns} - there.get(table.name, set()):
            raise GradingError(
                f"{where} is damaged: its table '{table.name}' lacks {', '.join(sorted(missing))}. "
                f"Nothing was changed. {_advice(course)}"
            )


def backup(course: Course, *, keep: int = KEEP) -> Path | None:
    """Copy the gradebook into ``backups/``, named by the time; None when there is no gradebook yet.

    The copy is whole also while someone marks in formgrader. Nothing is added when nothing has changed
    since the newest one. A gradebook on a database server is copied row by row into an SQLite file.

    Raises
    ------
    GradingError
        If the gradebook is damaged or stays locked; no backup is given up for a damaged one.
    """
    if not _is_there(course):
        return None
    folder = course.root / "backups"
    folder.mkdir(exist_ok=True)
    older, beside = backups(course), folder / f"{os.getpid()}.part"
    beside.unlink(missing_ok=True)
    try:
        with reading(course) as connection:
            if _file(course):
                # Connection.backup waits for ever on a lock: the read lock is taken before, with a limit.
                raw = connection.connection.driver_connection
                raw.execute("BEGIN")
                raw.execute("SELECT count(*) FROM sqlite_master")
                with closing(sqlite3.connect(beside)) as copy:
                    raw.backup(copy)
                raw.rollback()
            else:
                _copy_rows(connection, f"{SQLITE}{beside}")
        _must_be_whole(beside, course)
        if older and filecmp.cmp(older[-1], beside, shallow=False):
            return older[-1]
        path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S.%fZ}.db"
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    for old in [*older, path][:-keep]:
        old.unlink()
    return path


def backups(course: Course) -> list[Path]:
    """The backups there are, the newest last."""
    return sorted((course.root / "backups").glob("*.db"))


def restore(course: Course, chosen: Path) -> Path | None:
    """Put a backup in the gradebook's place; what was there is kept, and its new place returned.

    Raises
    ------
    GradingError
        If the backup is not there or not whole, or another grader is at work.
    """
    if not chosen.is_file():
        raise GradingError(f"there is no backup {chosen}; there are: {[p.name for p in backups(course)]}.")
    _must_be_whole(chosen, course)
    with one_grader(course.root):
        path = _file(course)
        try:
            kept = backup(course, keep=KEEP + 1)  # the chosen one may be the oldest
        except GradingError as error:
            if path is None or "is damaged" not in str(error):
                raise
            kept = course.root / "backups" / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.damaged"
            path.replace(kept)
        if path is None:
            with _engine(f"{SQLITE}{chosen}").connect() as connection:
                _copy_rows(connection, course.gradebook_url)
        else:
            with (
                reading(course),
                closing(sqlite3.connect(chosen)) as copy,
                closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as gradebook,
            ):
                gradebook.execute("BEGIN EXCLUSIVE")  # here a lock is waited for with a limit
                gradebook.execute("ROLLBACK")
                copy.backup(gradebook)
    return kept


def verify(course: Course, assignment: str, students: Sequence[str]) -> tuple[str, ...]:
    """What is wrong in the gradebook, a sentence each: damage, rows that point nowhere, rows that lack."""
    if not _is_there(course):
        return ("There is none.",) if students else ()
    with reading(course) as connection:
        found = []
        if _file(course):
            damage = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
            found += [f"It is damaged: {line}." for line in damage if line != "ok"]
            lost = connection.execute(text("PRAGMA foreign_key_check")).all()
            found += [f"A row of '{row[0]}' points to a row of '{row[2]}' that is gone." for row in lost]
        cells = {
            str(row.name): int(row.cells) for row in connection.execute(text(_CELLS), {"name": assignment})
        }
        rows: dict[str, dict[str, Any]] = {}
        for row in connection.execute(text(_GRADES), {"name": assignment}):
            rows.setdefault(str(row.student_id), {})[str(row.name)] = row
    for student in students:
        for notebook, expected in cells.items():
            row = rows.get(student, {}).get(notebook)
            got = int(row.grades) if row else 0
            if row is None or got != expected:
                found.append(f"{student}, {notebook}: {got} of {expected} marks are in it.")
    return tuple(found)


@contextmanager
def reading(course: Course) -> Iterator[Any]:
    """A connection to the gradebook; what the database says becomes a sentence."""
    try:
        with _engine(course.gradebook_url).connect() as connection:
            yield connection
    except (DatabaseError, sqlite3.DatabaseError) as error:
        said = str(getattr(error, "orig", error))
        if "locked" in said:
            raise GradingError(
                f"the gradebook {_shown(course)} is locked: another program has been writing to it for "
                f"{WAIT_S:g} s. Close what has it open, such as formgrader, then run this again. "
                "Nothing was changed."
            ) from error
        if "not a database" in said or "malformed" in said:
            damaged = f"the gradebook {_shown(course)} is damaged ({said}). {_advice(course)}"
            raise GradingError(damaged) from error
        raise GradingError(f"the gradebook {_shown(course)} cannot be read: {said}.") from error


_CELLS = """
    SELECT n.name AS name, count(b.id) AS cells FROM notebook n JOIN assignment a ON a.id = n.assignment_id
    LEFT JOIN base_cell b ON b.notebook_id = n.id AND b.type IN ('GradeCell', 'TaskCell')
    WHERE a.name = :name GROUP BY n.name"""
_GRADES = """
    SELECT s.student_id AS student_id, n.name AS name, count(g.id) AS grades
    FROM submitted_assignment s JOIN assignment a ON a.id = s.assignment_id
    JOIN submitted_notebook sn ON sn.assignment_id = s.id JOIN notebook n ON n.id = sn.notebook_id
    LEFT JOIN grade g ON g.notebook_id = sn.id WHERE a.name = :name GROUP BY s.student_id, n.name"""


def _engine(url: str) -> Any:
    arguments = {"timeout": WAIT_S} if url.startswith(SQLITE) else {}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _file(course: Course) -> Path | None:
    """The gradebook's file; None on a database server."""
    url = course.gradebook_url
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def _is_there(course: Course) -> bool:
    path = _file(course)
    return path is None or (path.is_file() and path.stat().st_size > 0)  # to connect would make an empty one


def _shown(course: Course) -> str:
    path = _file(course)
    return str(path) if path else course.gradebook_url.rpartition("@")[2]  # without a password


def _advice(course: Course) -> str:
    kept = backups(course)
    return f"The newest backup is {kept[-1]}: see restore." if kept else "There is no backup of it."


def _must_be_whole(path: Path, course: Course) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'grade'").fetchone():
                said = ["it has no marks in it"]
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    if said != ["ok"]:
        why = " ".join(said[0].split())
        what = f"gradebook {_shown(course)}" if path.suffix == ".part" else f"backup {path}"
        raise GradingError(f"the {what} is damaged ({why}). {_advice(course)}")


def _copy_rows(connection: Any, url: str) -> None:
    """Every row of nbgrader's tables, and its schema version, in place of what is at `url`."""
    from nbgrader.api import Base

    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    with _engine(url).begin() as other:
        Base.metadata.create_all(other)
        other.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        other.execute(text("DELETE FROM alembic_version"))
        other.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
        for table in reversed(Base.metadata.sorted_tables):
            other.execute(table.delete())
        for table in Base.metadata.sorted_tables:
            if rows := connection.execute(select(table)).mappings().all():
                other.execute(insert(table), [dict(row) for row in rows])
