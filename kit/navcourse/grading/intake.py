"""Looks at every submitted notebook before nbgrader does: repairs what is mechanical, sets aside the rest.

Nothing is judged here and nothing is lost: what nbgrader could stumble over is moved to
``quarantine/<student>/<assignment>/`` with a reason that a person can act on, and the student's
other notebooks go on. A file that is repaired is first copied to ``originals/<student>/<assignment>/``.

Of two copies of one lesson, the one with work in it counts; of two with work the one with the right
name; otherwise the one that was saved last.
"""

import filecmp
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from navcourse.grading._cells import alike, grade_id, has_work
from navcourse.grading._names import is_notebook, nfc, notebook_stem
from navcourse.grading._read_notebook import (
    Notebook,
    UnreadableError,
    fill_ids,
    read_notebook,
    write_notebook,
)
from navcourse.grading._repairs import repair

__all__ = ["Problem", "intake", "quarantine"]

REPAIRED = "Nothing: it was repaired and is graded."
PASSED_OVER = "Nothing, if it is the learner's own; nbgrader passes over it."
WHICH = "Ask {student} which one counts if the two differ."
OTHER_LESSON = "Ask {student} for the notebook of this lesson; this one belongs to another."
LOOK = "Look at {student}'s file yourself, and tell whoever keeps this kit."
NOT_NEEDED = "Nothing: another copy of this lesson is graded."


@dataclass(frozen=True)
class Problem:
    """What was found in one submitted file; `repaired` means that it is graded all the same."""

    student: str
    notebook: str
    reason: str
    what_to_do: str
    repaired: bool


@dataclass(frozen=True)
class _Copy:
    """One readable notebook of a lesson, repaired in memory."""

    path: Path
    notebook: Notebook
    repairs: tuple[str, ...]
    worked: bool
    saved: float

    def rank(self, name: str) -> tuple[bool, bool, float, str]:
        return self.worked, self.path.name == f"{name}.ipynb", self.saved, self.path.name


def intake(submitted: Path, assignment: str, expected: Mapping[str, Path]) -> list[Problem]:
    """Check, repair or set aside everything below ``submitted/<student>/<assignment>``.

    Parameters
    ----------
    submitted : nbgrader's folder ``submitted``; quarantine and originals are made beside it.
    expected : for each notebook name the released notebook, whose cells say what belongs in it.

    Returns
    -------
    problems : in the order of students; a repaired notebook is rewritten in place.

    Raises
    ------
    ValueError
        If a released notebook cannot be read: that is the instructor's file, not a learner's.
    """
    released: dict[str, Notebook] = {}
    for name, path in expected.items():
        try:
            released[name], _ = read_notebook(path)
        except UnreadableError as error:
            raise ValueError(f"{path}: {error}; expected the released notebook.") from error
    problems: list[Problem] = []
    for folder in sorted(submitted.glob(f"*/{assignment}")):
        if folder.is_dir():
            problems += _one_student(folder, folder.parent.name, released)
    return problems


def quarantine(path: Path, folder: Path, reason: str, *, keep: bool = False, name: str = "") -> Path:
    """Move (with `keep`: copy) `path` into `folder`, with a text file that says why; returns the place."""
    target = _stored(path, folder, name or path.name)
    if not keep:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    target.with_name(target.name + ".reason.txt").write_text(reason + "\n", encoding="utf-8")
    return target


def _stored(path: Path, folder: Path, name: str) -> Path:
    """A copy of `path` in `folder`, under this name or with a number; the same bytes are kept once."""
    folder.mkdir(parents=True, exist_ok=True)
    first = target = folder / name
    number = 1
    while target.is_symlink() or target.exists():
        if target.is_file() and path.is_file() and filecmp.cmp(path, target, shallow=False):
            return target
        number += 1
        target = folder / f"{first.stem} ({number}){first.suffix}"
    if path.is_symlink():
        target.symlink_to(path.readlink())  # the link itself: where it leads is not the learner's to give
    elif path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target)
    return target


# -- one student ---------------------------------------------------------------------------------


def _one_student(folder: Path, student: str, released: Mapping[str, Notebook]) -> list[Problem]:
    aside = folder.parents[1].parent / "quarantine" / student / folder.name
    problems: list[Problem] = []
    copies: dict[str, list[_Copy]] = {name: [] for name in released}
    unreadable: list[tuple[Path, UnreadableError]] = []
    for path in _notebooks(folder):
        try:
            name, found = _looked_at(path, released)
        except UnreadableError as error:
            unreadable.append((path, error))
        except Exception as error:  # a mistake of ours is one learner's to wait for, not the class's
            reason = f"intake itself failed at this file ({type(error).__name__}: {error})"
            unreadable.append((path, UnreadableError(reason, LOOK)))
        else:
            if name:
                copies[name].append(found)
                continue
            reason = "the notebook has no cell of this assignment"
            problems.append(Problem(student, notebook_stem(path.name), reason, PASSED_OVER, True))
    chosen: dict[str, _Copy] = {}
    for name, alternatives in copies.items():
        if alternatives:
            chosen[name], *others = sorted(alternatives, key=lambda copy: copy.rank(name), reverse=True)
            problems += [_second(student, name, chosen[name], other) for other in others]
    for path, why in unreadable:
        what_to_do = why.what_to_do.format(student=student)
        spare = _named_lesson(path, released) in chosen
        quarantine(path, aside, f"{why}. {what_to_do}")
        todo = NOT_NEEDED if spare else what_to_do
        problems.append(Problem(student, notebook_stem(path.name), str(why), todo, spare))
    problems += _settle(folder, student, chosen)
    return problems


def _looked_at(path: Path, released: Mapping[str, Notebook]) -> tuple[str, _Copy]:
    """The lesson's name, empty for none, and the notebook, repaired."""
    notebook, mended = read_notebook(path)
    name = _lesson_of(path, notebook, released)
    worked = False
    if name:
        mended += repair(notebook, released[name])
        if not mended and notebook["nbformat_minor"] >= 5 and fill_ids(notebook["cells"]):
            mended = ["cells without an id of their own got one"]
        worked = has_work(notebook, released[name])
    return name, _Copy(path, notebook, tuple(mended), worked, path.stat().st_mtime)


def _notebooks(folder: Path) -> list[Path]:
    """Everything with the name of a notebook, at any depth; a folder of that name only holds some."""
    found = [path for path in sorted(folder.rglob("*")) if is_notebook(path.name)]
    hidden = [".ipynb_checkpoints" in path.relative_to(folder).parts for path in found]
    return [
        path
        for path, skip in zip(found, hidden, strict=True)
        if not skip and (path.is_symlink() or not path.is_dir())
    ]


def _lesson_of(path: Path, notebook: Notebook, released: Mapping[str, Notebook]) -> str:
    """The lesson whose cells it has; by its name only if it has no marks at all; empty for none."""
    own = _named_lesson(path, released)
    shared = {name: alike(notebook, other) for name, other in released.items()}
    best = max(shared, key=lambda name: (shared[name], name == own))
    if shared[best]:
        return best
    foreign = sorted(filter(None, map(grade_id, notebook["cells"])))
    if own and foreign:
        raise UnreadableError(f"its cells belong to another lesson (such as '{foreign[0]}')", OTHER_LESSON)
    return own


def _named_lesson(path: Path, released: Mapping[str, Notebook]) -> str:
    """The lesson that a file's name says, whatever a system or a browser put around it."""
    stem = nfc(notebook_stem(path.name)).casefold()
    inside = [
        name for name in released if re.search(rf"(?<![^\W_]){re.escape(name.casefold())}(?![^\W_])", stem)
    ]
    return max(inside, key=len, default="")


def _second(student: str, name: str, chosen: _Copy, other: _Copy) -> Problem:
    if chosen.worked and not other.worked:
        why, same = "it has work in it, the other has none", True
    else:
        right_name = chosen.path.name == f"{name}.ipynb"
        why = "it has the right name" if right_name else "it was saved last"
        texts = [[c["source"] for c in copy.notebook["cells"]] for copy in (chosen, other)]
        same = texts[0] == texts[1]
    reason = f"'{other.path.name}' is a second copy of '{name}'; graded is '{chosen.path.name}': {why}"
    todo = "Nothing: both hold the same work." if same else WHICH.format(student=student)
    return Problem(student, notebook_stem(other.path.name), reason, todo, True)


def _settle(folder: Path, student: str, chosen: Mapping[str, _Copy]) -> list[Problem]:
    """Every chosen notebook under its lesson's name; what stood there goes aside, the rest is not touched."""
    originals = folder.parents[1].parent / "originals" / student / folder.name
    problems: list[Problem] = []
    moves = {name: copy for name, copy in chosen.items() if copy.path != folder / f"{name}.ipynb"}
    raw: dict[str, bytes] = {}
    for copy in chosen.values():
        if copy.repairs:
            _stored(copy.path, originals, copy.path.name)
    for name, copy in moves.items():
        raw[name] = b"" if copy.repairs else copy.path.read_bytes()
        where = "/".join(copy.path.relative_to(folder).parts)
        copy.path.unlink()
        reason = f"the file was named '{where}' and was recognised by its cells"
        problems.append(Problem(student, name, reason, REPAIRED, True))
    for name in moves:
        target = folder / f"{name}.ipynb"
        if target.exists():
            quarantine(target, originals, f"Another file is graded as '{name}'.")
        target.write_bytes(raw[name])
    for name, copy in chosen.items():
        if copy.repairs:
            write_notebook(folder / f"{name}.ipynb", copy.notebook)
        problems += [Problem(student, name, reason, REPAIRED, True) for reason in copy.repairs]
    return problems
