"""A lesson: one percent script, read into cells with marks.

The script is the only place to edit; `navcourse.render` derives every notebook from it. A mark
stands after ``# %%`` or ``# %% [markdown]``: ``exercise="find_tip"``, ``check="find_tip" points=2``,
``hint="find_tip"``, ``answer="why" points=3``, ``instructor=true``, ``fails="part of the message"``.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "BEGIN",
    "CODE_STUB",
    "END",
    "TEXT_STUB",
    "Cell",
    "Lesson",
    "LessonError",
    "find_lessons",
    "read_lesson",
    "replace_solution",
    "solution_source",
    "strip_markers",
    "stub_source",
]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CODE_STUB = 'raise NotImplementedError("Replace this line with your code.")'
TEXT_STUB = "YOUR ANSWER HERE"  # nbgrader's own words; its configuration leaves them as they are

FRONT_MATTER: Mapping[str, type] = {
    "title": str,
    "minutes": int,
    "needs": list,
    "objectives": list,
    "data": list,
    "custusx": str,
    "summary": str,
}
MARKS = ("exercise", "check", "hint", "answer", "instructor")
CELL_TYPE = {"exercise": "code", "check": "code", "hint": "markdown", "answer": "markdown"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class LessonError(ValueError):
    """A lesson script that cannot be read: file, line, expected, got, in one sentence."""


@dataclass(frozen=True)
class Cell:
    """One cell: what it is for (`mark`) and where it stands in the script (`line`, from 1).

    `name` is the id of an exercise, check, hint or answer, else ""; `points` is 0 where there are
    none; `fails` is part of the message that the cell must raise, else "".
    """

    kind: str
    source: str
    mark: str
    name: str
    points: int
    fails: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """One lesson: the front matter and the cells of its script."""

    id: str
    module: str
    path: Path
    title: str
    minutes: int
    needs: tuple[str, ...]
    objectives: tuple[str, ...]
    data: tuple[str, ...]
    custusx: str
    summary: str
    cells: tuple[Cell, ...]

    @property
    def exercises(self) -> tuple[str, ...]:
        """The ids of the exercises, in order; each is the name of the function to write."""
        return tuple(cell.name for cell in self.cells if cell.mark == "exercise")

    @property
    def points(self) -> dict[str, int]:
        """Exercise -> the points of its check. Written answers have theirs in their cells."""
        return {cell.name: cell.points for cell in self.cells if cell.mark == "check"}


def read_lesson(path: Path | str) -> Lesson:
    """Read a percent script into a `Lesson`.

    Parameters
    ----------
    path : path to ``notebooks/src/<module>/<lesson>.py``

    Raises
    ------
    LessonError
        One sentence that names file and line: a front matter key that is missing or of the wrong
        type, an unknown mark, an exercise without a check or a check without an exercise, an id used
        twice, missing or unbalanced solution markers, no points, an exercise without its function.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    front, first = _front_matter(path, text.splitlines())
    cells = _cells(path, text.splitlines(), first)
    _demand_pairs(path, cells)
    return Lesson(
        id=path.stem,
        module=path.resolve().parent.name,
        path=path,
        title=front["title"],
        minutes=front["minutes"],
        needs=tuple(front["needs"]),
        objectives=tuple(front["objectives"]),
        data=tuple(front["data"]),
        custusx=front["custusx"],
        summary=front["summary"],
        cells=cells,
    )


def find_lessons(src_folder: Path | str) -> dict[str, Path]:
    """Lesson id -> script, for every ``<module>/<lesson>.py`` in `src_folder`, sorted by path.

    Raises
    ------
    LessonError
        If two modules have a lesson of the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(Path(src_folder).glob("*/*.py")):
        if path.stem in found:
            raise LessonError(
                f"{path}:1: the lesson id '{path.stem}' is taken by {found[path.stem]}; "
                "expected a file name that no other module uses."
            )
        found[path.stem] = path
    return found


def solution_source(lesson: Lesson, exercise: str) -> str:
    """The exercise cell as solved, without the markers.

    Raises
    ------
    LessonError
        If the lesson has no such exercise.
    """
    return strip_markers(_exercise(lesson, exercise).source)


def stub_source(lesson: Lesson, exercise: str) -> str:
    """The exercise cell as the learner meets it: each solution region replaced by one line.

    Raises
    ------
    LessonError
        If the lesson has no such exercise.
    """
    return replace_solution(_exercise(lesson, exercise).source, CODE_STUB)


def replace_solution(source: str, stub: str) -> str:
    """`source` with each solution region replaced by `stub`, by nbgrader's rules.

    >>> replace_solution("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION", "...")
    'def f():\\n    ...'
    """
    lines, inside = [], False
    for line in source.split("\n"):
        if BEGIN in line:
            inside = True
            lines.append(line[: len(line) - len(line.lstrip())] + stub)
        elif END in line:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)


def strip_markers(source: str) -> str:
    """`source` without the lines that mark the solution."""
    return "\n".join(line for line in source.split("\n") if BEGIN not in line and END not in line)


# -- the parts -----------------------------------------------------------------------------------


def _exercise(lesson: Lesson, exercise: str) -> Cell:
    for cell in lesson.cells:
        if cell.mark == "exercise" and cell.name == exercise:
            return cell
    raise LessonError(
        f"{lesson.path}:1: there is no exercise '{exercise}'; expected one of {', '.join(lesson.exercises)}."
    )


def _front_matter(path: Path, lines: list[str]) -> tuple[dict[str, Any], int]:
    """The front matter, and the index of the line after it."""
    if not lines or lines[0].strip() != "# ---":
        got = lines[0] if lines else "an empty file"
        raise LessonError(f"{path}:1: expected the front matter to begin with '# ---', got {got!r}.")
    end = next((k for k, line in enumerate(lines[1:], 1) if line.strip() == "# ---"), None)
    if end is None:
        raise LessonError(f"{path}:1: expected the front matter to end with a line '# ---', got none.")
    body = "\n".join(re.sub(r"^# ?", "", line) for line in lines[1:end])
    try:
        front = yaml.safe_load(body)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 2 + (mark.line if mark else 0)
        raise LessonError(
            f"{path}:{line}: expected YAML in the front matter, got {getattr(error, 'problem', error)}. "
            "Does a value with a colon lack quotes?"
        ) from None
    if not isinstance(front, dict):
        raise LessonError(f"{path}:2: expected 'key: value' lines in the front matter, got {front!r}.")

    def at(key: str) -> int:
        return next((k + 1 for k in range(1, end) if lines[k].startswith(f"# {key}:")), 1)

    for key, kind in FRONT_MATTER.items():
        if key not in front:
            expected = ", ".join(FRONT_MATTER)
            raise LessonError(f"{path}:1: expected the front matter keys {expected}, got none named '{key}'.")
        value = front[key]
        good = isinstance(value, kind) and not isinstance(value, bool)
        if good and kind is list:
            good = all(isinstance(item, str) for item in value)
        if not good:
            words = {str: "a text", int: "a whole number", list: "a list of texts"}[kind]
            raise LessonError(f"{path}:{at(key)}: expected '{key}' to be {words}, got {value!r}.")
    unknown = [str(key) for key in front if key not in FRONT_MATTER]
    if unknown:
        raise LessonError(
            f"{path}:{at(unknown[0])}: expected the front matter keys {', '.join(FRONT_MATTER)}, "
            f"got '{unknown[0]}'."
        )
    return front, end + 1


def _cells(path: Path, lines: list[str], first: int) -> tuple[Cell, ...]:
    import jupytext  # half a second; only a script that is read needs it

    starts = [k for k in range(first, len(lines)) if re.match(r"# %%(\s|$)", lines[k])]
    before = next((k for k in range(first, starts[0] if starts else len(lines)) if lines[k].strip()), None)
    if before is not None or not starts:
        got = repr(lines[before]) if before is not None else "no cell"
        raise LessonError(
            f"{path}:{(before or first) + 1}: expected the first cell to begin with '# %%', got {got}."
        )
    parsed = jupytext.reads("\n".join(lines[starts[0] :]) + "\n", fmt="py:percent").cells
    if len(parsed) != len(starts):
        raise LessonError(
            f"{path}:{starts[0] + 1}: expected {len(starts)} cells, one for each '# %%', got {len(parsed)}. "
            "Does a text contain a line that begins with '# %%'?"
        )
    cells = tuple(_cell(path, start + 1, cell) for start, cell in zip(starts, parsed, strict=True))
    for cell in cells:
        _demand_cell(path, cell)
    return cells


def _cell(path: Path, line: int, parsed: Any) -> Cell:
    marks = {key: value for key, value in parsed.metadata.items() if key != "lines_to_next_cell"}
    title = marks.pop("title", None)
    if title is not None or parsed.cell_type not in ("code", "markdown"):
        got = title if title is not None else f"[{parsed.cell_type}]"
        raise LessonError(
            f"{path}:{line}: expected '# %%' or '# %% [markdown]' and marks as name=\"value\", got {got!r}."
        )
    for key in marks:
        if key not in (*MARKS, "points", "fails"):
            raise LessonError(
                f"{path}:{line}: expected a mark among {', '.join(MARKS)}, points, fails, got '{key}'."
            )
    used = [key for key in MARKS if key in marks]
    if len(used) > 1:
        raise LessonError(f"{path}:{line}: expected one mark on a cell, got {' and '.join(used)}.")
    mark = used[0] if used else "given"
    value = marks.get(mark, "")
    points = marks.get("points", 0)
    if not isinstance(points, int) or isinstance(points, bool) or points < 0:
        raise LessonError(f"{path}:{line}: expected points to be a whole number above 0, got {points!r}.")
    fails = marks.get("fails", "")
    if not isinstance(fails, str) or ("fails" in marks and not fails.strip()):
        raise LessonError(
            f"{path}:{line}: expected fails to be part of the error's message in quotes, got {fails!r}."
        )
    if mark == "instructor":
        if value is not True:
            raise LessonError(f"{path}:{line}: expected instructor=true, got instructor={value!r}.")
        value = ""
    elif mark != "given" and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise LessonError(
            f"{path}:{line}: expected {mark} to be an id in quotes (letters, digits, _), got {value!r}."
        )
    return Cell(parsed.cell_type, parsed.source, mark, value, points, fails, line)


def _demand_cell(path: Path, cell: Cell) -> None:
    """What one cell must keep by itself."""
    where = f"{path}:{cell.line}:"
    kind = CELL_TYPE.get(cell.mark, "markdown" if cell.mark == "instructor" else cell.kind)
    if cell.kind != kind:
        raise LessonError(f"{where} expected a {kind} cell for the mark {cell.mark}, got a {cell.kind} cell.")
    if cell.fails and (cell.kind, cell.mark) != ("code", "given"):
        raise LessonError(f"{where} expected fails on a given code cell, got {cell.mark} in {cell.kind}.")
    if cell.mark in ("check", "answer") and not cell.points:
        raise LessonError(f"{where} expected points=n above 0 for {cell.mark} '{cell.name}', got none.")
    if cell.points and cell.mark not in ("check", "answer"):
        raise LessonError(
            f"{where} expected points on a check or an answer, got points={cell.points} on a cell "
            f"marked {cell.mark}."
        )
    _demand_markers(path, cell)
    if cell.mark == "exercise":
        _demand_function(path, cell)


def _demand_markers(path: Path, cell: Cell) -> None:
    open_at = 0
    regions = 0
    for number, line in enumerate(cell.source.split("\n"), cell.line + 1):
        # nbgrader looks for the bare words; anything but the exact line would hide or leak a solution.
        begins, ends = "BEGIN SOLUTION" in line, "END SOLUTION" in line
        if (begins and line.strip() != BEGIN) or (ends and line.strip() != END):
            raise LessonError(f"{path}:{number}: expected '{BEGIN}' or '{END}' alone, got {line.strip()!r}.")
        if (begins or ends) and cell.mark not in ("exercise", "answer"):
            raise LessonError(
                f"{path}:{number}: expected solution markers in an exercise or an answer, "
                f"got '{line.strip()}' in a cell marked {cell.mark}."
            )
        if begins and open_at:
            raise LessonError(
                f"{path}:{number}: expected '{END}' for the one begun in line {open_at}, got '{BEGIN}'."
            )
        if ends and not open_at:
            raise LessonError(f"{path}:{number}: expected '{BEGIN}' first, got '{END}'.")
        if begins:
            open_at, regions = number, regions + 1
        if ends:
            open_at = 0
    if open_at:
        raise LessonError(f"{path}:{open_at}: expected '{END}' before the end of the cell, got none.")
    if cell.mark == "exercise" and regions == 0:
        raise LessonError(
            f"{path}:{cell.line}: expected '{BEGIN}' and '{END}' in exercise '{cell.name}', got neither."
        )


def _demand_function(path: Path, cell: Cell) -> None:
    for what, source in (
        ("solution", strip_markers(cell.source)),
        ("stub", replace_solution(cell.source, CODE_STUB)),
    ):
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            line = cell.line + (error.lineno or 0)
            raise LessonError(
                f"{path}:{line}: expected the {what} of '{cell.name}' to be Python, got {error.msg}."
            ) from None
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        if cell.name not in names:
            raise LessonError(
                f"{path}:{cell.line}: expected exercise '{cell.name}' to define a function '{cell.name}' "
                f"in its {what}, got {', '.join(names) or 'none'}."
            )


def _demand_pairs(path: Path, cells: tuple[Cell, ...]) -> None:
    """What the cells must keep together: ids used once, each exercise with its check after it."""
    seen: dict[tuple[str, str], int] = {}
    for cell in cells:
        key = ("exercise or answer" if cell.mark in ("exercise", "answer") else cell.mark, cell.name)
        if cell.name and cell.mark != "hint":  # an exercise may have several hints
            if key in seen:
                raise LessonError(
                    f"{path}:{cell.line}: expected a new id, got {cell.mark} '{cell.name}' again "
                    f"(first in line {seen[key]})."
                )
            seen[key] = cell.line
    written = {cell.name: cell.line for cell in cells if cell.mark == "exercise"}
    asked = {cell.name: cell.line for cell in cells if cell.mark in ("exercise", "answer")}
    checked = {cell.name: cell.line for cell in cells if cell.mark == "check"}
    for name, line in checked.items():
        if written.get(name, line) >= line:
            got = "one after it" if name in written else "none"
            raise LessonError(f"{path}:{line}: expected an exercise '{name}' before its check, got {got}.")
    for name, line in written.items():
        if name not in checked:
            raise LessonError(f"{path}:{line}: expected a check for exercise '{name}', got none.")
    for cell in cells:
        if cell.mark == "hint" and cell.name not in asked:
            raise LessonError(
                f"{path}:{cell.line}: expected an exercise or answer '{cell.name}' for this hint, got none."
            )
