"""Four notebooks from one lesson, the same bytes every time.

======== =============================================================================
source   nbgrader's ``source/``: solutions between their markers, checks are grade cells
student  what nbgrader releases: stubs in place of solutions, hints folded
instructor   solved, hints and notes in the open
self_study   stubs, hints and solutions folded, no nbgrader metadata
======== =============================================================================

Cell ids are hashes of lesson and mark; there are no outputs, counts, times or machine names.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from navcourse.lesson import (
    BEGIN,
    CODE_STUB,
    END,
    TEXT_STUB,
    Cell,
    Lesson,
    replace_solution,
    strip_markers,
)

__all__ = ["KINDS", "render", "to_text", "write_notebook"]

KINDS = ("source", "student", "instructor", "self_study")
GRADED = ("source", "student")
NOT_A_DEVICE = "For teaching and research; not a medical device."


def render(lesson: Lesson, kind: str) -> Any:
    """One of a lesson's four notebooks.

    Parameters
    ----------
    lesson : from `navcourse.lesson.read_lesson`
    kind : "source", "student", "instructor" or "self_study"

    Returns
    -------
    nbformat.NotebookNode, format 4.5, without outputs

    Raises
    ------
    ValueError
        If `kind` is none of the four.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.")
    from nbformat import v4

    cells = [_markdown(lesson, "header", _header(lesson, kind))]
    order = {"given": 0, "instructor": 0, "hint": 0}
    for cell in lesson.cells:
        key = f"{cell.mark}/{cell.name}"
        if cell.mark in order:  # these have no id of their own, or may share one
            order[cell.mark] += 1
            key += f"/{order[cell.mark]}"
        cells.extend(_rendered(lesson, cell, key, kind))
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = v4.new_notebook(cells=cells, metadata=metadata)
    notebook.nbformat_minor = 5
    return notebook


def to_text(nb: Any) -> str:
    """The notebook as stable JSON: sorted keys, indent 1, letters as they are, a newline at the end."""
    import nbformat

    text: str = nbformat.writes(nb, version=4)
    return text.rstrip("\n") + "\n"


def write_notebook(nb: Any, path: Path | str) -> None:
    """Write a notebook under a temporary name, then move it: nobody sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:  # bytes: no line ends of the machine's own
            file.write(to_text(nb).encode("utf-8"))
        part.chmod(0o644)  # a temporary file is its maker's alone; a notebook is for everyone
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# -- cells ---------------------------------------------------------------------------------------


def _rendered(lesson: Lesson, cell: Cell, key: str, kind: str) -> Iterator[Any]:
    """The cells that one cell of the script becomes: none, one, or two (a folded solution)."""
    if cell.mark == "given" and cell.kind == "markdown":
        yield _markdown(lesson, key, cell.source)
    elif cell.mark == "given":
        yield _code(lesson, key, cell.source, kind, f"given_{_hash(lesson, key)}", fails=cell.fails)
    elif cell.mark == "hint":
        title = f"Hint for {cell.name}"
        shown = f"**{title}.** {cell.source}" if kind == "instructor" else _folded(title, cell.source)
        yield _markdown(lesson, key, shown)
    elif cell.mark == "instructor":
        if kind == "instructor":
            yield _markdown(lesson, key, _quoted("Instructor", cell.source))
    elif cell.mark == "exercise":
        yield _code(lesson, key, _exercise(cell, kind), kind, cell.name, solution=True)
    elif cell.mark == "check":
        source = f"# CHECK {cell.name}: run this cell, do not edit it\n{cell.source}"
        yield _code(lesson, key, source, kind, f"check_{cell.name}", points=cell.points)
        if kind == "self_study":
            solution = next(c for c in lesson.cells if c.mark == "exercise" and c.name == cell.name)
            body = f"```python\n{strip_markers(solution.source)}\n```"
            yield _markdown(lesson, f"solution/{cell.name}", _folded(f"Solution of {cell.name}", body))
    else:
        yield _answer(lesson, cell, key, kind)
        if kind == "self_study":
            body = _folded(f"Model answer for {cell.name}", strip_markers(cell.source))
            yield _markdown(lesson, f"solution/{cell.name}", body)


def _exercise(cell: Cell, kind: str) -> str:
    if kind == "instructor":
        return f"# EXERCISE {cell.name}: solved\n{strip_markers(cell.source)}"
    source = cell.source if kind == "source" else replace_solution(cell.source, CODE_STUB)
    return f"# EXERCISE {cell.name}: edit this cell\n{source}"


def _answer(lesson: Lesson, cell: Cell, key: str, kind: str) -> Any:
    """A written answer: a line that says so, and the words to replace."""
    model = cell.source if BEGIN in cell.source else f"{BEGIN}\n{cell.source}\n{END}"
    points = "" if kind == "self_study" else f" ({cell.points} point{'s' * (cell.points > 1)})"
    if kind == "instructor":
        return _markdown(
            lesson, key, f"**ANSWER {cell.name}{points}: a model answer**\n\n{strip_markers(model)}"
        )
    body = model if kind == "source" else replace_solution(model, TEXT_STUB)
    new = _markdown(lesson, key, f"**ANSWER {cell.name}{points}: edit this cell**\n\n{body}")
    if kind in GRADED:
        new.metadata.update(_marks(f"answer_{cell.name}", kind, solution=True, points=cell.points))
    return new


def _code(
    lesson: Lesson,
    key: str,
    source: str,
    kind: str,
    grade_id: str,
    *,
    solution: bool = False,
    points: int = 0,
    fails: str = "",
) -> Any:
    from nbformat import v4

    new = v4.new_code_cell(source, id=_hash(lesson, key))
    # Run All goes on after a cell that fails on purpose, and after a check that is not passed yet.
    if fails or (kind == "self_study" and key.startswith("check/")):
        new.metadata["tags"] = ["raises-exception"]
    if kind in GRADED:
        new.metadata.update(_marks(grade_id, kind, solution=solution, points=points))
    return new


def _markdown(lesson: Lesson, key: str, source: str) -> Any:
    from nbformat import v4

    return v4.new_markdown_cell(source, id=_hash(lesson, key))


def _marks(grade_id: str, kind: str, *, solution: bool, points: int) -> dict[str, Any]:
    """nbgrader's metadata (schema 3), and for the student what its LockCells adds."""
    marks: dict[str, Any] = {
        "grade": points > 0,
        "grade_id": grade_id,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points:
        marks["points"] = points
    extra: dict[str, Any] = {"nbgrader": marks}
    if kind == "student":
        extra["deletable"] = False
        if not solution:
            extra["editable"] = False
    return extra


def _hash(lesson: Lesson, key: str) -> str:
    return hashlib.sha256(f"{lesson.id}/{key}".encode()).hexdigest()[:12]


# -- words ---------------------------------------------------------------------------------------


def _header(lesson: Lesson, kind: str) -> str:
    needs = ", ".join(f"`{name}`" for name in lesson.needs) or "nothing"
    lines = [
        f"# {lesson.title}",
        "",
        f"{lesson.minutes} minutes · module: {lesson.module} · needs: {needs}",
        "",
        "In this lesson you learn to:",
        "",
        *(f"- {objective}" for objective in lesson.objectives),
        "",
        f"In CustusX: {lesson.custusx.rstrip('.')}.",
        "",
        NOT_A_DEVICE,
    ]
    if kind == "instructor":
        lines += ["", "**Instructor's copy: it holds the solutions.**"]
    return "\n".join(lines)


def _folded(title: str, body: str) -> str:
    # The empty lines let the notebook read what is between them as markdown.
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _quoted(title: str, body: str) -> str:
    lines = [f"**{title}**", "", *body.split("\n")]
    return "\n".join(f"> {line}".rstrip() for line in lines)
