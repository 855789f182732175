"""Which released cell a submitted cell is: by its mark, its id, its text, or what it defines."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from navcourse.grading._read_notebook import Cell, Notebook

__all__ = ["alike", "defines", "find_lost", "grade_id", "has_work", "is_solution", "marked", "same_text"]

_DEF = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
SHORTEST_LINE = 12


def grade_id(cell: Cell) -> str:
    """nbgrader's id of a cell; empty for an ordinary cell."""
    return str(_mark(cell).get("grade_id", ""))


def is_solution(cell: Cell) -> bool:
    """Whether the learner writes in it."""
    return bool(_mark(cell).get("solution"))


def marked(notebook: Notebook) -> dict[str, Cell]:
    """The cells of a released notebook that nbgrader knows, in their order."""
    return {grade_id(cell): cell for cell in notebook["cells"] if grade_id(cell)}


def same_text(one: Cell, other: Cell) -> bool:
    """White space at the ends of lines does not count."""
    return _words(one) == _words(other)


def has_work(notebook: Notebook, released: Notebook) -> bool:
    """Whether any cell that is the learner's to write differs from what was handed out."""
    stubs = {name: cell for name, cell in marked(released).items() if is_solution(cell)}
    own = {grade_id(cell): cell for cell in notebook["cells"] if grade_id(cell) in stubs}
    return any(not same_text(cell, stubs[name]) for name, cell in own.items())


def alike(notebook: Notebook, released: Notebook) -> int:
    """How many of the released cells are in `notebook`, by mark, id, text or first line."""
    wanted = marked(released)
    found: set[str] = set()
    for table, key_of in _evidence(wanted):
        found |= {table[key] for key in map(key_of, notebook["cells"]) if key in table}
    return len(found)


def find_lost(notebook: Notebook, wanted: Mapping[str, Cell], *, by_name: bool) -> list[str]:
    """Give marks back to the cells that lost them; with `by_name` also to those that define the right name.

    Returns
    -------
    names : of the cells that were found
    """
    evidence = _evidence(wanted)
    if by_name:
        evidence.append(
            ({defines(c): n for n, c in wanted.items() if is_solution(c) and defines(c)}, defines)
        )
    found = []
    for table, key_of in evidence:
        present = {grade_id(cell) for cell in notebook["cells"]}
        for cell in notebook["cells"]:
            name = "" if grade_id(cell) else table.get(key_of(cell), "")
            if name and name not in present:
                cell["metadata"]["nbgrader"] = dict(_mark(wanted[name]))
                present.add(name)
                found.append(name)
    return found


def defines(cell: Cell) -> str:
    """The first function or class that a cell defines; empty when there is none."""
    found = _DEF.search(cell["source"])
    return found[1] if found else ""


def _evidence(wanted: Mapping[str, Cell]) -> list[tuple[dict[str, str], Callable[[Cell], str]]]:
    """Tables from what a cell shows to the name of the released cell, the surest first."""
    marks = {name.casefold(): name for name in wanted}
    ids = {str(cell["id"]): name for name, cell in wanted.items() if cell.get("id")}
    texts = _unique({name: _words(cell) for name, cell in wanted.items()})
    headed = {name: cell for name, cell in wanted.items() if is_solution(cell) or _mark(cell).get("grade")}
    lines = _unique({name: _first_line(cell) for name, cell in headed.items()})
    lines = {line: name for line, name in lines.items() if len(line) >= SHORTEST_LINE}
    return [
        (marks, lambda cell: grade_id(cell).strip().casefold()),
        (ids, lambda cell: str(cell.get("id", ""))),
        (texts, _words),
        (lines, _first_line),
    ]


def _unique(values: Mapping[str, str]) -> dict[str, str]:
    all_values = list(values.values())
    return {value: name for name, value in values.items() if value and all_values.count(value) == 1}


def _words(cell: Cell) -> str:
    return "\n".join(line.rstrip() for line in cell["source"].strip().splitlines())


def _first_line(cell: Cell) -> str:
    return str(cell["source"]).strip().partition("\n")[0].strip()


def _mark(cell: Cell) -> dict[str, Any]:
    mark = cell["metadata"].get("nbgrader", {})
    return mark if isinstance(mark, dict) else {}
