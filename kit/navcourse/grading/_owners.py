"""Whose file is it? The shape of its name, and of the folders and zip files around it, say so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from navcourse.grading._names import is_notebook, notebook_stem
from navcourse.grading._sources import PACKED, common

__all__ = ["Owner", "is_exchange", "named", "owner_of", "student_and_lesson", "without_wrappers"]

Parts = tuple[str, ...]

_STUDENT = re.compile(r"[\w@][\w@.-]*")
_NAME = re.compile(r"[\w@][\w@.' -]*")
_EXCHANGE = re.compile(
    r"(?P<who>.+)\+(?P<what>[^+]+)\+(?P<when>\d{4}-\d\d-\d\d \d\d[:_-]\d\d[:_-]\d\d(\.\d+)? \w+)(\+[^+]*)?"
)
_MOODLE = re.compile(r"(?P<who>.+_\d+)_assignsubmission_[a-z]+_?(?P<file>.*)")
_COPY_OF = re.compile(r"(kopi av|copy of|kopie von|copie de) ", re.IGNORECASE)
_CANVAS = re.compile(r"(?P<who>[^_]+)_((?P<late>late)_)?(?P<number>\d+)_\d+_(?P<file>.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Owner:
    """Whose file it is, what it is called below that person, when it came, and whether it came late."""

    person: str
    name: Parts
    when: str = ""
    late: bool = False


def is_exchange(paths: Sequence[Parts]) -> bool:
    """Whether folders are named as nbgrader's exchange names them."""
    return any(_EXCHANGE.fullmatch(part) for parts in paths for part in parts)


def owner_of(parts: Parts, lessons: Sequence[str], assignment: str) -> Owner | None:
    """Whose file this is, by the folders, zip files and names on the way to it; None if they do not say.

    >>> owner_of(("lovelaceada_LATE_1843_99_pivot-2.ipynb",), ["pivot"], "half_day")
    Owner(person='lovelaceada_1843', name=('pivot-2.ipynb',), when='', late=True)
    >>> owner_of(("ada+half_day+2026-11-24 03:37:09.1 UTC+x1", "pivot.ipynb"), ["pivot"], "half_day").when
    '2026-11-24 03:37:09.1 UTC'
    """
    for at, part in enumerate(parts):
        below = parts[at + 1 :]
        if found := _EXCHANGE.fullmatch(part):
            day, _, clock = found["when"].partition(" ")
            when = f"{day} {re.sub('[_-]', ':', clock)}"  # a zip file made on Windows has no ":"
            return Owner(found["who"], below, when) if found["what"] == assignment and below else None
        if found := _MOODLE.fullmatch(part):
            return Owner(found["who"], below or (found["file"] or part,))
        if found := _CANVAS.fullmatch(part):
            who = f"{found['who']}_{found['number']}"
            return Owner(who, below or (found["file"],), late=found["late"] is not None)
    plain = student_and_lesson(parts, lessons)
    if plain is None:
        return None
    alone = len(parts) == 1 and is_notebook(parts[0])
    return Owner(plain[0], (f"{plain[1]}.ipynb",) if alone else parts[1:] or parts)


def student_and_lesson(parts: Parts, lessons: Sequence[str]) -> tuple[str, str] | None:
    """The learner and the notebook's name in ``<student>_<lesson>`` or ``<student>/.../<lesson>``.

    The outermost folder or zip file decides, whatever the names in it say.

    >>> student_and_lesson(("ada_l_pivot (1).ipynb",), ["pivot"])
    ('ada_l', 'pivot (1)')
    >>> student_and_lesson(("ada", "bo_pivot.ipynb"), ["pivot"])
    ('ada', 'bo_pivot')
    """
    if not parts:
        return None
    stem = notebook_stem(parts[-1])
    ending = PurePath(parts[0].casefold()).suffix
    if len(parts) > 1 or ending in PACKED:
        holds_files = ending in PACKED or is_notebook(parts[0])  # or is a zip file under such a name
        folder = notebook_stem(parts[0]) if holds_files else parts[0]
        own = _split(folder, lessons)
        student = own[0] if own and own[1] in lessons else folder
        return (student, stem) if _NAME.fullmatch(student) else None
    return _split(stem, lessons) if is_notebook(parts[0]) else None


def named(name: str, lessons: Sequence[str]) -> str:
    """The learner whom a file's own name tells; empty if it tells none."""
    own = _split(notebook_stem(name), lessons) if is_notebook(name) else None
    return own[0] if own and own[1] in lessons else ""


def without_wrappers(paths: Sequence[Parts], lessons: Sequence[str]) -> list[Parts]:
    """The paths without the folders and zip files around the whole class, which are nobody's.

    Only what is around everything can be one: in a learner's own zip file other names say nothing.

    >>> without_wrappers([("all.zip", "ada_pivot.ipynb"), ("all.zip", "bo_pivot.ipynb")], ["pivot"])
    [('ada_pivot.ipynb',), ('bo_pivot.ipynb',)]
    >>> without_wrappers([("ada", "pivot.ipynb")], ["pivot"])
    [('ada', 'pivot.ipynb')]
    """
    notebooks = [parts for parts in paths if parts and is_notebook(parts[-1])]
    around = common([parts[:-1] for parts in notebooks])
    for depth in range(1, len(around) + 1):
        if _is_class([parts[depth:] for parts in notebooks], lessons):
            return [parts[depth:] if parts[:depth] == around[:depth] else parts for parts in paths]
    return list(paths)


def _is_class(paths: Sequence[Parts], lessons: Sequence[str]) -> bool:
    """Files of two people side by side, or two folders with notebooks and no notebook beside them."""
    files = [parts[0] for parts in paths if len(parts) == 1]
    people = {named(name, lessons) for name in files}
    folders = {parts[0] for parts in paths if len(parts) > 1}
    return len(people - {""}) > 1 or (not files and len(folders) > 1)


def _split(stem: str, lessons: Sequence[str]) -> tuple[str, str] | None:
    stem = _COPY_OF.sub("", stem)
    for lesson in sorted(lessons, key=len, reverse=True):
        before, found, after = stem.rpartition(f"_{lesson}")
        if found and _NAME.fullmatch(before):
            return before, lesson + after
        if lesson.casefold() in stem.casefold():
            return None  # a lesson without a name before it: "_" belongs to the lesson's own name
    student, found, name = stem.partition("_")
    return (student, name) if found and name and _STUDENT.fullmatch(student) else None
