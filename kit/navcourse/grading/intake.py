"""Looks at every submitted notebook before nbgrader does: repairs what is mechanical, sets aside the rest.

Nothing is judged here and nothing is lost: what nbgrader could stumble over is moved to
``quarantine/<student>/<assignment>/`` with a reason that a person can act on, and the student's
other notebooks go on.
"""

import codecs
import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Problem", "intake", "quarantine"]

MOST_BYTES = 100_000_000
MARKS = ("grade", "solution", "locked", "task", "points", "schema_version")
REPAIRED = "Nothing: it was repaired and is graded."
Cell = dict[str, Any]
Notebook = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What was found in one submitted file; `repaired` means that it is graded all the same."""

    student: str
    notebook: str
    reason: str
    what_to_do: str
    repaired: bool


def intake(submitted: Path, assignment: str, expected: Mapping[str, Path]) -> list[Problem]:
    """Check, repair or set aside everything below ``submitted/<student>/<assignment>``.

    Parameters
    ----------
    submitted : nbgrader's folder ``submitted``; quarantine is made beside it.
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
        notebook, reason = _read(path)
        if notebook is None:
            raise ValueError(f"{path}: {reason}; expected the released notebook.")
        released[name] = notebook
    problems: list[Problem] = []
    for folder in sorted(submitted.glob(f"*/{assignment}")):
        if folder.is_dir():
            problems += _one_student(folder, folder.parent.name, released)
    return problems


def quarantine(path: Path, folder: Path, reason: str, *, keep: bool = False) -> Path:
    """Move (with `keep`: copy) `path` into `folder`, with a text file that says why; returns the place."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem} ({number}){path.suffix}"
    if keep:
        shutil.copyfile(path, target)
    else:
        shutil.move(path, target)
    target.with_name(target.name + ".reason.txt").write_text(reason + "\n", encoding="utf-8")
    return target


def _one_student(folder: Path, student: str, released: Mapping[str, Notebook]) -> list[Problem]:
    problems: list[Problem] = []
    readable: dict[Path, Notebook] = {}
    aside = folder.parents[1].parent / "quarantine" / student / folder.name
    for path in sorted(folder.glob("*.ipynb")):
        notebook, reason = _read(path)
        if notebook is None:
            quarantine(path, aside, reason)
            todo = f"Ask {student} to download the notebook again and to hand it in anew."
            problems.append(Problem(student, path.stem, reason, todo, False))
        else:
            readable[path] = notebook
    for path, notebook in _named(readable, student, released, problems).items():
        repairs = _repair(notebook, released[path.stem])
        if path.read_bytes().startswith(codecs.BOM_UTF8):  # nbgrader would stop at it
            repairs.append("an editor had put a byte order mark before the notebook")
        if repairs:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
        for reason in repairs:
            problems.append(Problem(student, path.stem, reason, REPAIRED, True))
    return problems


def _read(path: Path) -> tuple[Notebook | None, str]:
    """The notebook, or None and the reason why this is none."""
    if path.is_symlink() or not path.is_file():
        return None, "this is a link, not a file"
    if path.stat().st_size > MOST_BYTES:
        return None, f"the file is larger than {MOST_BYTES / 1e6:.0f} MB"
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None, "the file is not text in UTF-8"
    except RecursionError:
        return None, "the file is nested too deeply to be a notebook"
    except json.JSONDecodeError as error:
        return None, f"the file is cut off or damaged: no valid JSON at line {error.lineno}"
    reason = _not_a_notebook(notebook)
    return (None, reason) if reason else (notebook, "")


def _not_a_notebook(notebook: Any) -> str:
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return "the file is JSON but not a notebook: it has no list of cells"
    if notebook.get("nbformat") != 4:
        return f"the notebook has format {notebook.get('nbformat')!r}; expected 4"
    if not isinstance(notebook.get("metadata"), dict):
        return "the notebook has no metadata"
    import nbformat

    try:
        as_node = nbformat.from_dict(copy.deepcopy(notebook))
        for number, cell in enumerate(as_node.cells):  # a missing or doubled id is not the learner's fault
            cell["id"] = f"cell-{number}"
        as_node["nbformat_minor"] = max(5, int(notebook.get("nbformat_minor", 0)))
        nbformat.validate(as_node)
    except Exception as error:
        return f"the file is not a valid notebook: {str(error).splitlines()[0][:150]}"
    return ""


def _named(
    readable: Mapping[Path, Notebook], student: str, released: Mapping[str, Notebook], problems: list[Problem]
) -> dict[Path, Notebook]:
    """The notebooks under their expected names; a renamed one is recognised by its cells."""
    named = {path: nb for path, nb in readable.items() if path.stem in released}
    for path, notebook in readable.items():
        if path.stem in released:
            continue
        name = _most_alike(notebook, released)
        target = path.with_name(f"{name}.ipynb")
        if not name:
            reason = "the notebook has no cell of this assignment"
            todo = "Nothing, if it is the learner's own; nbgrader passes over it."
            problems.append(Problem(student, path.stem, reason, todo, True))
        elif target in named:
            reason = f"a second copy of '{name}'; the one with the right name is graded"
            todo = f"Ask {student} which one counts if the two differ."
            problems.append(Problem(student, path.stem, reason, todo, True))
        else:
            path.rename(target)
            named[target] = notebook
            reason = f"the file was named '{path.name}' and was recognised by its cells"
            problems.append(Problem(student, name, reason, REPAIRED, True))
    return named


def _most_alike(notebook: Notebook, released: Mapping[str, Notebook]) -> str:
    own = _marks(notebook)
    shared = {name: len(own & _marks(other)) for name, other in released.items()}
    best = max(shared, key=lambda name: shared[name], default="")
    return best if best and shared[best] else ""


def _marks(notebook: Notebook) -> set[str]:
    """Grade ids, and ids of the cells that have one: a tool may strip one kind or the other."""
    marked = [cell for cell in notebook["cells"] if _grade_id(cell)]
    return {_grade_id(cell) for cell in marked} | {str(c["id"]) for c in notebook["cells"] if "id" in c}


def _grade_id(cell: Cell) -> str:
    marks = cell.get("metadata", {}).get("nbgrader", {})
    return str(marks.get("grade_id", "")) if isinstance(marks, dict) else ""


def _repair(notebook: Notebook, released: Notebook) -> list[str]:
    """Change `notebook` so that every released cell is in it once; says what was done."""
    wanted = {_grade_id(cell): cell for cell in released["cells"] if _grade_id(cell)}
    by_cell_id = {str(cell["id"]): cell for cell in wanted.values() if "id" in cell}
    done: list[str] = []
    cells: list[Cell] = notebook["cells"]
    present = {_grade_id(cell) for cell in cells}
    for cell in cells:  # an editor that strips metadata leaves the ids of the cells
        twin = by_cell_id.get(str(cell.get("id")))
        if twin is not None and not _grade_id(cell) and _grade_id(twin) not in present:
            cell["metadata"]["nbgrader"] = copy.deepcopy(twin["metadata"]["nbgrader"])
            done.append(f"the cell '{_grade_id(twin)}' had lost its mark")
    done += _drop_copies(notebook)
    for cell in notebook["cells"]:
        name = _grade_id(cell)
        if name in wanted:
            own, right = cell["metadata"]["nbgrader"], wanted[name]["metadata"]["nbgrader"]
            if any(own.get(key) != right.get(key) for key in MARKS):
                done.append(f"the mark of the cell '{name}' had been changed")
            cell["metadata"]["nbgrader"] = copy.deepcopy(right)
        else:  # damaged, or from another lesson: to nbgrader it is an ordinary cell
            cell["metadata"].pop("nbgrader", None)
    present = {_grade_id(cell) for cell in notebook["cells"]}
    at = 0
    for name, cell in wanted.items():
        if name in present:
            at = 1 + next(i for i, own in enumerate(notebook["cells"]) if _grade_id(own) == name)
        else:
            notebook["cells"].insert(at, copy.deepcopy(cell))
            at += 1
            done.append(f"the cell '{name}' was missing and was put back as released")
    return done


def _drop_copies(notebook: Notebook) -> list[str]:
    """Keep the first of the cells with one grade id; nbgrader would refuse the whole notebook.

    A copy of a locked cell goes. A copy that the learner may have worked in stays as an ordinary
    cell without the mark, in its place: it still runs there, as it did for the learner.
    """
    seen: set[str] = set()
    kept: list[Cell] = []
    done: list[str] = []
    for cell in notebook["cells"]:
        name = _grade_id(cell)
        if name in seen:
            marks = cell["metadata"].pop("nbgrader")
            cell["metadata"].pop("deletable", None)
            done.append(f"the cell '{name}' was there twice; the first one counts")
            if marks.get("locked", False) or not marks.get("solution", False):
                continue
        elif name:
            seen.add(name)
        kept.append(cell)
    notebook["cells"] = kept
    return done
