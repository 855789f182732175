"""Whether a lesson keeps its shape, runs, and has a fresh notebook. Each problem is one sentence."""

import ast
import copy
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from navcourse.lesson import Cell, Lesson, LessonError, find_lessons, read_lesson, strip_markers
from navcourse.render import render, to_text

__all__ = ["anatomy", "execute", "execute_problems", "stale"]

FIRST = ("In the room", "Spaces", "Setup")
LAST = ("Break it", "In practice", "Key points", "References")
MOST_CELLS, MOST_WORDS, MOST_LINES = 25, 120, 15
BANNED = re.compile(r"\b(simply|just|obviously)\b", re.IGNORECASE)
ITEM = re.compile(r"(?:[-*]|\d+\.) ")
SOURCE = re.compile(r"\b10\.\d{4,9}/\S+|https?:|\b(19|20)\d\d\b")


def anatomy(lesson: Lesson) -> list[str]:
    """What in a lesson departs from the plan that all lessons share; empty when nothing does.

    Sections and their order, numbers of cells, words and lines, one cell with imports, a hint for each
    exercise, a cell that fails on purpose, words that belittle, text for pictures, one key point
    for each objective, sources.
    """
    sections = list(_sections(lesson))
    problems = [
        *_front_matter(lesson),
        *_order(lesson, [title for title, _ in sections]),
        *_sizes(lesson),
        *_imports(lesson, sections),
        *_hints(lesson),
        *_words(lesson),
    ]
    held: dict[str, list[Cell]] = {}
    for title, cells in sections:
        held.setdefault(title, cells)
    failing = [cell for cell in held.get("Break it", []) if cell.fails]
    if "Break it" in held and not failing:
        problems.append(
            _at(lesson, held["Break it"][0], "expected a cell with fails=... in 'Break it', got none")
        )
    if "Key points" in held:
        points = len(_items(held["Key points"]))
        if points != len(lesson.objectives):
            expected = f"expected one key point for each of the {len(lesson.objectives)} objectives"
            problems.append(_at(lesson, held["Key points"][0], f"{expected}, got {points}"))
    if "References" in held:
        items = _items(held["References"])
        if not items:
            problems.append(_at(lesson, held["References"][0], "expected numbered references, got none"))
        for item in items:
            if not SOURCE.search(item):
                expected = "expected a DOI, an address or a year in each reference"
                problems.append(_at(lesson, held["References"][0], f"{expected}, got {item[:60]!r}"))
    return problems


def stale(root: Path | str) -> list[str]:
    """Self-study notebooks that differ from a fresh render, are missing, or have no lesson (left over)."""
    notebooks = Path(root) / "notebooks"
    problems, wanted = [], set()
    try:
        scripts = find_lessons(notebooks / "src")
    except LessonError as error:
        return [str(error)]
    for name, script in scripts.items():
        path = notebooks / script.parent.name / f"{name}.ipynb"
        wanted.add(path)
        try:
            fresh = to_text(render(read_lesson(script), "self_study")).encode("utf-8")
        except LessonError as error:
            problems.append(str(error))
            continue
        shown = path.relative_to(root).as_posix()
        if not path.is_file():
            problems.append(f"{shown} is missing; expected the self-study notebook of {name}.")
        elif path.read_bytes() != fresh:
            problems.append(f"{shown} differs from a fresh render of {name}.")
    for path in sorted(notebooks.glob("*/*.ipynb")):
        if path not in wanted:
            shown = path.relative_to(root).as_posix()
            problems.append(f"{shown} is left over; expected a lesson script of that name.")
    return problems


def execute(nb: Any, *, timeout_s: float = 120, cwd: Path | str | None = None) -> Any:
    """A copy of `nb` with the outputs of a run from top to bottom in a fresh kernel.

    The kernel speaks over files (IPC), not over network ports; on Windows over TCP. A cell with the
    tag ``raises-exception`` may fail; `execute_problems` says whether it failed as it should.

    Parameters
    ----------
    nb : notebook, not changed
    timeout_s : seconds that one cell may take
    cwd : folder in which the kernel runs; the present one when left out

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If any other cell fails.
    nbclient.exceptions.CellTimeoutError
        If a cell takes longer.
    """
    from nbclient import NotebookClient
    from traitlets.config import Config

    done = copy.deepcopy(nb)
    # ignore_cleanup_errors: the kernel removes its own files in the same moment.
    with tempfile.TemporaryDirectory(prefix="k", ignore_cleanup_errors=True) as folder:
        config = Config()
        address = str(Path(folder).resolve() / "k")
        if sys.platform != "win32" and len(address) < 90:  # a socket's name has at most 103 letters
            config.AsyncKernelManager.transport = "ipc"
            config.AsyncKernelManager.ip = address
        client = NotebookClient(
            done,
            config=config,  # a manager of our own would be left running: the client ends only its own
            kernel_name="python3",
            timeout=timeout_s,
            record_timing=False,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": str(cwd or Path.cwd())}},
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*over TCP without encryption.*")
            client.execute()
    return done


def execute_problems(lesson: Lesson, nb: Any) -> list[str]:
    """Whether each cell that fails on purpose failed with its words, and no other failed.

    Parameters
    ----------
    lesson : the lesson that `nb` was rendered from
    nb : from `execute`. Checks of a self-study notebook may fail: nobody has written the answers.
    """
    problems = []
    fails = {cell.source: cell for cell in lesson.cells if cell.fails}
    met = set()
    for number, shown in enumerate(nb.cells, 1):
        if shown.cell_type != "code":
            continue
        errors = [out for out in shown.outputs if out.output_type == "error"]
        got = f"{errors[0].ename}: {errors[0].evalue}" if errors else "no error"
        cell = fails.get(shown.source)
        if cell is not None:
            met.add(shown.source)
            if not errors or cell.fails not in got:
                problems.append(_at(lesson, cell, f"expected an error with {cell.fails!r}, got {got}"))
        elif errors and "raises-exception" not in shown.metadata.get("tags", ()):
            problems.append(f"{lesson.path}: cell {number} of the notebook failed: {got}.")
    for source, cell in fails.items():
        if source not in met:
            problems.append(_at(lesson, cell, "expected this cell in the notebook, got none like it"))
    return problems


# -- the parts of an anatomy ---------------------------------------------------------------------


def _at(lesson: Lesson, cell: Cell, words: str) -> str:
    return f"{lesson.path}:{cell.line}: {words}."


def _sections(lesson: Lesson) -> Iterator[tuple[str, list[Cell]]]:
    """Each level-2 heading with its cells; what stands before the first has the title ""."""
    title, cells = "", list[Cell]()
    for cell in lesson.cells:
        heading = _heading(cell)
        if heading is not None:
            if cells:
                yield title, cells
            title, cells = heading, []
        cells.append(cell)
    yield title, cells


def _heading(cell: Cell) -> str | None:
    if cell.kind != "markdown" or cell.mark != "given":
        return None
    found = re.match(r"## +(.+)", cell.source.lstrip())
    return found.group(1).strip() if found else None


def _prose(source: str) -> str:
    """Markdown without code, mathematics and addresses."""
    text = re.sub(r"^(```|~~~).*?^\1", " ", source, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|`[^`]*`", " x ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"<[^>]*>", " ", text)


def _items(cells: list[Cell]) -> list[str]:
    """The items of the lists, each with its continued lines."""
    items: list[str] = []
    for cell in cells:
        if cell.kind != "markdown" or cell.mark != "given":
            continue
        open_item = False
        for line in cell.source.split("\n"):
            if ITEM.match(line):
                items.append(line)
                open_item = True
            elif open_item and line.strip():
                items[-1] += " " + line.strip()
    return items


def _front_matter(lesson: Lesson) -> Iterator[str]:
    if not 2 <= len(lesson.objectives) <= 4:
        yield f"{lesson.path}:1: expected 2 to 4 objectives, got {len(lesson.objectives)}."
    if not 30 <= lesson.minutes <= 45:
        yield f"{lesson.path}:1: expected 30 to 45 minutes, got {lesson.minutes}."
    for text in (lesson.title, lesson.summary, lesson.custusx, *lesson.objectives):
        for word in BANNED.findall(text):
            yield f"{lesson.path}:1: expected the front matter without '{word}', got {text!r}."


def _order(lesson: Lesson, titles: list[str]) -> Iterator[str]:
    first, last = len(FIRST), len(titles) - len(LAST)
    middle = titles[first:last]
    good = tuple(titles[:first]) == FIRST and tuple(titles[max(last, 0) :]) == LAST
    if not good or not middle:
        expected = ", ".join((*FIRST, "Idea: ...", "Exercise: ...", *LAST))
        got = ", ".join(title or "a cell before the first heading" for title in titles)
        yield f"{lesson.path}:1: expected the sections {expected}, got {got}."
        return
    for title in middle:
        if not re.match(r"(Idea|Exercise): \S", title):
            yield f"{lesson.path}:1: expected 'Idea: ...' or 'Exercise: ...' after Setup, got '{title}'."
    if not middle[0].startswith("Idea: ") or not any(title.startswith("Exercise: ") for title in middle):
        yield f"{lesson.path}:1: expected an idea, then an exercise, got {', '.join(middle)}."


def _sizes(lesson: Lesson) -> Iterator[str]:
    counted = [cell for cell in lesson.cells if cell.mark not in ("hint", "instructor", "answer")]
    if len(counted) > MOST_CELLS:
        yield f"{lesson.path}:1: expected at most {MOST_CELLS} cells, got {len(counted)}."
    for cell in lesson.cells:
        if cell.kind == "markdown" and cell.mark in ("given", "hint") and _heading(cell) != "References":
            lines = [line for line in _prose(cell.source).split("\n") if not line.lstrip().startswith("|")]
            words = len(re.findall(r"\w[\w'’.-]*", " ".join(lines)))
            if words > MOST_WORDS:
                yield _at(lesson, cell, f"expected at most {MOST_WORDS} words in a cell, got {words}")
        if cell.kind == "code" and cell.mark == "given":
            count = sum(bool(line.strip()) for line in cell.source.split("\n"))
            if count > MOST_LINES:
                yield _at(lesson, cell, f"expected at most {MOST_LINES} lines of code in a cell, got {count}")


def _imports(lesson: Lesson, sections: list[tuple[str, list[Cell]]]) -> Iterator[str]:
    setup: list[Cell] = []
    for title, cells in sections:
        if title == "Setup":
            setup = [cell for cell in cells if cell.kind == "code"]
            if len(setup) != 1 or setup[0].mark != "given" or setup[0].fails:
                yield _at(
                    lesson, cells[0], f"expected one given code cell in Setup, got {len(setup)} code cells"
                )
    for cell in lesson.cells:
        if cell.kind != "code":
            continue
        try:
            tree = ast.parse(strip_markers(cell.source))
        except SyntaxError as error:
            yield _at(lesson, cell, f"expected Python, got {error.msg} in line {error.lineno} of the cell")
            continue
        if cell in setup:
            continue
        # A learner's function may import inside itself; everything else does so in Setup.
        nodes = tree.body if cell.mark == "exercise" else list(ast.walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield _at(lesson, cell, f"expected imports in Setup only, got '{ast.unparse(node)}'")


def _hints(lesson: Lesson) -> Iterator[str]:
    hinted = {cell.name for cell in lesson.cells if cell.mark == "hint"}
    for cell in lesson.cells:
        if cell.mark == "exercise" and cell.name not in hinted:
            yield _at(lesson, cell, f"expected a hint for exercise '{cell.name}', got none")


def _words(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.cells:
        if cell.kind != "markdown":
            continue
        for word in BANNED.findall(_prose(cell.source)):
            yield _at(
                lesson, cell, f"expected prose without '{word}': what is easy for you may not be for others"
            )
        if re.search(r"!\[\s*\]", cell.source) or any(
            not re.search(r'\balt="[^"]*\w', tag) for tag in re.findall(r"<img\b[^>]*>", cell.source)
        ):
            yield _at(
                lesson, cell, "expected a description of each picture, got one without alternative text"
            )
        outside = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.DOTALL | re.MULTILINE)
        levels = [len(marks) for marks in re.findall(r"^(#+) ", outside, flags=re.MULTILINE)]
        if 1 in levels:
            yield _at(lesson, cell, "expected no level-1 heading (the title is in the front matter), got one")
        if any(after > before + 1 for before, after in pairwise([2, *levels])):
            yield _at(lesson, cell, f"expected headings without a skipped level, got levels {levels}")
        late = len(re.findall(r"^## ", outside, flags=re.MULTILINE)) - (_heading(cell) is not None)
        if cell.mark == "given" and late > 0:
            yield _at(
                lesson, cell, "expected each level-2 heading at the top of its own cell, got one further down"
            )
