"""Ids instead of names, with the key in a file of its own; and everything that names people put away.

An id is random and not made from the name: without the key file nobody can come back from one to the other.
"""

import csv
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from navcourse.grading._csv import guarded, unguarded

if TYPE_CHECKING:
    from navcourse.grading.report import ClassReport

__all__ = ["Purge", "default_key", "pseudonymise", "purge", "read_key", "with_pseudonyms"]

LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look alike
LENGTH = 6

PERSONAL = (
    "submitted", "autograded", "executed", "feedback", "judged", "notes", "quarantine", "originals",
    "downloaded", "report", "certificates", "backups", "exchange/*/inbound", "exchange/*/feedback",
    "exchange_cache", "gradebook*.db*", "gradebook.lock*", "*.db-wal", "*.db-shm", "*.db-journal",
    "marks*.csv", "canvas*.csv", "*.log", ".nbgrader.log", "**/.ipynb_checkpoints",
)  # fmt: skip
"""What a course root gets from grading people, as patterns from the root."""


@dataclass(frozen=True)
class Purge:
    """What `purge` found: `removed` (or to be removed), and `left`: files that still hold a person's id.

    `done` is False for a mere listing. `n_bytes` counts what `removed` takes on disk.
    """

    removed: tuple[Path, ...]
    n_bytes: int
    left: tuple[Path, ...]
    done: bool


def default_key(course_root: Path) -> Path:
    """Where a course's key is kept unless another place is named: in the home folder, outside the course."""
    root = course_root.resolve()
    name = re.sub(r"\W+", "-", f"{root.parent.name}-{root.name}").strip("-")
    return Path.home() / "navcourse-keys" / f"{name}.csv"


def read_key(key_file: Path) -> dict[str, str]:
    """Name -> id; empty when there is no such file yet."""
    if not key_file.is_file():
        return {}
    with key_file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != ["id", "name"] or any(len(row) != 2 for row in rows):
        raise ValueError(f"{key_file}: expected a CSV file with the columns id and name.")
    return {unguarded(name): own for own, name in rows[1:]}


def pseudonymise(names: Iterable[str], key_file: Path, *, course_root: Path | None = None) -> dict[str, str]:
    """Name -> random id, such as "p-7kq4m2"; a name keeps the id that the key file has for it.

    The key file is written at once, readable for its owner only.

    Raises
    ------
    ValueError
        If the key file would lie in `course_root`: who gets the course would get the names.
    """
    key_file = key_file.expanduser()
    if course_root is not None and key_file.resolve().is_relative_to(course_root.resolve()):
        raise ValueError(f"{key_file} lies in the course root; expected a place outside of it for the key.")
    known = read_key(key_file)
    ids, taken = dict(known), set(known.values())
    wanted = list(dict.fromkeys(names))
    fresh = [name for name in wanted if name not in ids]
    secrets.SystemRandom().shuffle(fresh)  # the order in the file tells nothing either
    for name in fresh:
        while (own := "p-" + "".join(secrets.choice(LETTERS) for _ in range(LENGTH))) in taken:
            pass
        ids[name] = own
        taken.add(own)
    if fresh:
        _write_key(key_file, ids)
    return {name: ids[name] for name in wanted}


def _write_key(key_file: Path, ids: Mapping[str, str]) -> None:
    key_file.parent.mkdir(parents=True, exist_ok=True)
    new = key_file.with_name(key_file.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name"])
        writer.writerows([own, guarded(name)] for name, own in ids.items())
    new.replace(key_file)


def with_pseudonyms(report: "ClassReport", ids: Mapping[str, str]) -> "ClassReport":
    """The report with ids for names, also inside sentences; names of files are taken out of them.

    Links to feedback pages are dropped: nbgrader's folders carry the names.
    """

    def plain(text: str) -> str:
        for name in sorted(ids, key=len, reverse=True):
            text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", ids[name], text, flags=re.IGNORECASE)
        return re.sub(r"'[^']*\.\w{2,6}'|\S+\.(zip|ipynb|txt|pdf|docx?)\b", "a file", text)

    rows = tuple(
        replace(
            row, student=ids[row.student], status=plain(row.status),
            notes=tuple(map(plain, row.notes)), feedback=None,
        )
        for row in report.rows
    )  # fmt: skip
    problems = tuple(
        replace(
            problem, student=ids.get(problem.student, ""), reason=plain(problem.reason),
            notebook=plain(problem.notebook) if problem.student else "a file",
            what_to_do=plain(problem.what_to_do),
        )
        for problem in report.problems
    )  # fmt: skip
    order = sorted(rows, key=lambda row: row.student)  # the order of names is a key too
    return replace(report, rows=tuple(order), problems=problems)


def purge(course_root: Path, *, names: Sequence[str] = (), yes: bool = False) -> Purge:
    """Remove what identifies people from a course root when the course is over; without `yes` only say what.

    Submissions, feedback, verdicts, the gradebook, its copies, logs and reports go. Sources, released
    notebooks, checks, rubrics and settings stay. Links are removed, never followed. Afterwards the rest is
    searched for people's ids and for `names`: `Purge.left` has files for a human to look at.

    Raises
    ------
    ValueError
        If the folder is no course root: none of what grading makes is in it.
    """
    root = course_root.resolve()
    if not any((root / mark).exists() for mark in ("gradebook.db", "submitted", "notes", "release")):
        raise ValueError(
            f"{course_root} is no course root; expected gradebook.db, submitted/, notes/ or release/ in it."
        )
    found = sorted({path for pattern in PERSONAL for path in root.glob(pattern) if _within(path, root)})
    top = [path for path in found if not any(parent in found for parent in path.parents)]
    size = sum(_size(path) for path in top)
    planted = _names(root) | {name for name in names if name}
    for path in top if yes else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return Purge(tuple(top), size, _holding(root, planted, skip=top), yes)


def _within(path: Path, root: Path) -> bool:
    """Whether the way to `path` from the root passes no link."""
    between = [parent for parent in path.parents if parent.is_relative_to(root) and parent != root]
    return not any(parent.is_symlink() for parent in between)


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(p.lstat().st_size for p in path.rglob("*") if p.is_symlink() or p.is_file())


def _names(root: Path) -> set[str]:
    """Ids of people as the folders have them; very short ones would be found in any file."""
    folders = ("submitted", "autograded", "feedback", "judged", "quarantine", "originals")
    people = {p.name for folder in folders for p in (root / folder).glob("*") if p.is_dir()} - {"nobody"}
    return {name for name in people if len(name) > 3}


def _holding(root: Path, names: set[str], *, skip: Sequence[Path]) -> tuple[Path, ...]:
    gone = set(skip)
    words = [_needles(name) for name in sorted(names)]
    left = []
    for path in sorted(root.rglob("*")):
        if path in gone or any(parent in gone for parent in path.parents) or not _within(path, root):
            continue
        held = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        low = b"\n".join((path.name.encode(), held)).lower()
        if any(quick in low and word.search(low) for quick, word in itertools.chain(*words)):
            left.append(path)
    return tuple(left)


def _needles(name: str) -> list[tuple[bytes, re.Pattern[bytes]]]:
    """A name as it stands in bytes, plain and as JSON writes it: in ``ada_pivot``, not in "Canada"."""
    ways = {way.encode().lower() for way in (name, name.lower(), json.dumps(name)[1:-1])}
    return [(way, re.compile(rb"(?<![^\W_])" + re.escape(way) + rb"(?![^\W_])")) for way in sorted(ways)]
