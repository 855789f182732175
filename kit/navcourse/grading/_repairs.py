"""Makes a submitted notebook what nbgrader expects: every released cell once, in order, as released.

Nothing here decides what is right. The learner's own text stays, in the order in which it ran for
the learner; only what was released and locked is put back.
"""

import ast
import copy
import difflib
import re
import warnings
from collections.abc import Iterator, Mapping

from navcourse.grading._cells import defines, find_lost, grade_id, is_solution, marked, same_text
from navcourse.grading._read_notebook import Cell, Notebook, as_type

__all__ = ["repair"]

MARKS = ("grade", "solution", "locked", "task", "points", "grade_id")
SCHEMA = "schema_version"
MOST_LINES = 3000
MANY = 3


def repair(notebook: Notebook, released: Notebook) -> list[str]:
    """Change `notebook` so that every released cell is in it once; says what was done."""
    wanted = marked(released)
    done = _kernel(notebook, released)
    cells: list[Cell] = notebook["cells"]
    _own_spelling(cells, wanted)
    lost = find_lost(notebook, wanted, by_name=False)
    done += _take_out_additions(cells, wanted)
    lost += find_lost(notebook, wanted, by_name=True)
    done += _told(lost, "the cell '{}' had lost its mark", "{} cells had lost their marks")
    done += _keep_one(cells, wanted)
    done += _join_pieces(cells, wanted)
    done += _as_released(cells, wanted)
    done += _in_order(cells, list(wanted))
    done += _put_back(cells, wanted)
    return done


def _told(names: list[str], one: str, many: str) -> list[str]:
    return [many.format(len(names))] if len(names) > MANY else [one.format(name) for name in names]


def _kernel(notebook: Notebook, released: Notebook) -> list[str]:
    """The course's kernel runs it, whatever it was written with."""
    right, own = released["metadata"].get("kernelspec"), notebook["metadata"].get("kernelspec")
    language = notebook["metadata"].get("language_info", {})
    language = language.get("name", "python") if isinstance(language, dict) else "python"
    name = own.get("name") if isinstance(own, dict) else None
    if not right or (name == right.get("name") and language == "python"):
        return []
    notebook["metadata"]["kernelspec"] = copy.deepcopy(right)
    notebook["metadata"].pop("language_info", None)
    if name is None:
        return ["it named no kernel; it is graded with the course's own"]
    said = f"'{name}'" if language == "python" else f"'{name}' ({language})"
    return [f"its kernel was {said}; it is graded with the course's own"]


def _own_spelling(cells: list[Cell], wanted: Mapping[str, Cell]) -> None:
    """A grade id that differs only in capitals is the released one; the mark is put right later."""
    spelling = {name.casefold(): name for name in wanted}
    for cell in cells:
        own = grade_id(cell)
        if own and own not in wanted:
            name = spelling.get(own.strip().casefold())
            if name:
                cell["metadata"]["nbgrader"]["grade_id"] = name
                cell["metadata"]["nbgrader"]["locked"] = None  # so that the change is told
            else:  # damaged, or from another lesson: to nbgrader it is an ordinary cell
                del cell["metadata"]["nbgrader"]
        elif not own:
            cell["metadata"].pop("nbgrader", None)


# -- too much ------------------------------------------------------------------------------------


def _take_out_additions(cells: list[Cell], wanted: Mapping[str, Cell]) -> list[str]:
    """Lines that a learner added to a locked cell go into a cell of their own: their code needs them."""
    done = []
    for index in reversed(range(len(cells))):
        name = grade_id(cells[index])
        right = wanted.get(name)
        if right is None or is_solution(right) or right["cell_type"] != "code":
            continue
        before, after = _additions(cells[index]["source"], right["source"])
        for at, text in ((index + 1, after), (index, before)):
            if text:
                cells.insert(at, _ordinary(text))
        if before or after:
            done.append(f"lines added to the locked cell '{name}' were put into a cell of their own")
    return done[::-1]


def _additions(own: str, right: str) -> tuple[str, str]:
    """What stands before and after the first released line in a locked cell, without what was changed."""
    lines, released = own.splitlines(), right.splitlines()
    if len(lines) > MOST_LINES:
        return "", ""
    before: list[str] = []
    after: list[str] = []
    for what, at, _, begin, end in difflib.SequenceMatcher(None, released, lines, False).get_opcodes():
        if what == "insert":
            (after if at else before).extend(lines[begin:end])
    texts = ("\n".join(part).strip("\n") for part in (before, after))
    first, last = (text if text.strip() and _is_code(text) else "" for text in texts)
    return first, last


def _keep_one(cells: list[Cell], wanted: Mapping[str, Cell]) -> list[str]:
    """One cell for each grade id; nbgrader would refuse the whole notebook.

    A copy of what was released goes. A copy that the learner worked in stays as an ordinary cell in
    its place: it still runs there, as it did for the learner. Of written answers every text is kept.
    """
    told: list[tuple[int, str]] = []
    gone: set[int] = set()
    after = -1
    for name, right in wanted.items():
        places = [index for index, cell in enumerate(cells) if grade_id(cell) == name]
        worked = [index for index in places if not same_text(cells[index], right)]
        fit = (worked if is_solution(right) else []) or places
        keep = next((index for index in fit if index > after), fit[0] if fit else after)
        after = max(after, keep)
        if len(places) < 2:
            continue
        count = "twice" if len(places) == 2 else f"{len(places)} times"
        other = "one with work in it" if is_solution(right) else "one in its place"
        which = "first one" if keep == places[0] else other
        reason = f"the cell '{name}' was there {count}; the {which} counts"
        written = is_solution(right) and right["cell_type"] == "markdown"
        if written and len({cells[index]["source"] for index in worked}) > 1:
            cells[keep]["source"] = "\n\n".join(dict.fromkeys(cells[index]["source"] for index in worked))
            reason = f"the written answer '{name}' was there {count}; its texts were put together"
            gone |= set(places) - {keep}
        told.append((places[1], reason))
        for index in set(places) - {keep}:
            cells[index]["metadata"].pop("nbgrader")
            cells[index]["metadata"].pop("deletable", None)
            if index not in worked and (not is_solution(right) or worked):
                gone.add(index)
    cells[:] = [cell for index, cell in enumerate(cells) if index not in gone]
    return [reason for _, reason in sorted(told)]


def _join_pieces(cells: list[Cell], wanted: Mapping[str, Cell]) -> list[str]:
    """A function that was split in its middle: neither half is Python, both together are."""
    done = []
    for name, right in wanted.items():
        if not is_solution(right) or right["cell_type"] != "code":
            continue
        at = _place(cells, name)
        if at is None or (_is_code(cells[at]["source"]) and not _goes_on(cells, at + 1)):
            continue
        for first, last in _stretches(cells, at):
            text = "\n".join(cell["source"] for cell in cells[first : last + 1])
            if _is_code(text):
                cells[at]["source"] = text
                cells[first : last + 1] = [cells[at]]
                done.append(f"the cell '{name}' was in {last - first + 1} pieces; they were joined")
                break
    return done


def _stretches(cells: list[Cell], at: int) -> Iterator[tuple[int, int]]:
    """Up to two neighbours that may belong to the cell at `at`, after it or before it."""
    for last in (at + 1, at + 2):
        if all(_ordinary_code(cells, index) for index in range(at + 1, last + 1)):
            yield at, last
    for first in (at - 1, at - 2):
        if all(_ordinary_code(cells, index) for index in range(first, at)):
            yield first, at


def _goes_on(cells: list[Cell], at: int) -> bool:
    """Whether this cell begins inside a function: its first line is indented."""
    return _ordinary_code(cells, at) and cells[at]["source"].lstrip("\n")[:1] in (" ", "\t")


def _ordinary_code(cells: list[Cell], at: int) -> bool:
    return 0 <= at < len(cells) and cells[at]["cell_type"] == "code" and not grade_id(cells[at])


# -- changed -------------------------------------------------------------------------------------


def _as_released(cells: list[Cell], wanted: Mapping[str, Cell]) -> list[str]:
    """Mark, type, and the text of locked cells."""
    done = []
    old: set[str] = set()
    changed = []
    for cell in cells:
        name = grade_id(cell)
        if not name:
            continue
        right = wanted[name]
        mark, right_mark = cell["metadata"]["nbgrader"], right["metadata"]["nbgrader"]
        if mark.get(SCHEMA) != right_mark.get(SCHEMA):
            old.add(str(mark.get(SCHEMA, "none")))
        elif any(mark.get(key) != right_mark.get(key) for key in MARKS):
            changed.append(name)
        cell["metadata"]["nbgrader"] = copy.deepcopy(right_mark)
        if cell["cell_type"] != right["cell_type"]:
            done.append(f"the {right['cell_type']} cell '{name}' had become a {cell['cell_type']} cell")
            as_type(cell, right["cell_type"])
        if not is_solution(right) and not same_text(cell, right):
            cell["source"] = right["source"]
            done.append(f"the locked cell '{name}' had been edited; it is as released again")
    if old:
        done.append(f"its marks were of another nbgrader (schema {', '.join(sorted(old))})")
    return done + _told(
        changed, "the mark of the cell '{}' had been changed", "the marks of {} cells had been changed"
    )


def _in_order(cells: list[Cell], names: list[str]) -> list[str]:
    """Released cells in the released order; what the learner put behind one stays behind it."""
    order = {name: number for number, name in enumerate(names)}
    found = [order[grade_id(cell)] for cell in cells if grade_id(cell)]
    if found == sorted(found):
        return []
    place = -1
    places = []
    for cell in cells:
        place = order.get(grade_id(cell), place)
        places.append(place)
    cells[:] = [cells[index] for index in sorted(range(len(cells)), key=places.__getitem__)]
    return ["cells had been moved; they are in the released order again"]


# -- missing -------------------------------------------------------------------------------------


def _put_back(cells: list[Cell], wanted: Mapping[str, Cell]) -> list[str]:
    done = []
    fresh: set[str] = set()
    at = 0
    for name, right in wanted.items():
        own = _place(cells, name)
        if own is not None:
            at = own + 1
            continue
        new = copy.deepcopy(right)
        reason = f"the cell '{name}' was missing and was put back as released"
        elsewhere = _defined_at(cells, defines(right)) if is_solution(right) else None
        if elsewhere is not None:  # the stub would replace the learner's function
            new["source"] = right["source"].partition("\n")[0]
            reason = f"the cell '{name}' was missing; '{defines(right)}' from another cell counts"
            at = max(at, elsewhere + 1)
        elif not is_solution(right) and name.removeprefix("check_") not in fresh:
            while right["metadata"]["nbgrader"].get("grade") and at < len(cells) and not grade_id(cells[at]):
                at += 1  # a check comes after all that the learner put behind the solution
        cells.insert(at, new)
        fresh.add(name)
        done.append(reason)
        at += 1
    return done


def _defined_at(cells: list[Cell], name: str) -> int | None:
    """The last ordinary code cell that gives `name` a value in another way than by `def`."""
    given = re.compile(
        rf"^(?:{re.escape(name)} *(?::.*)?=|.*\bimport\b.*\b{re.escape(name)}\b)", re.MULTILINE
    )
    places = [
        index
        for index, cell in enumerate(cells)
        if name and cell["cell_type"] == "code" and not grade_id(cell)
        if given.search(cell["source"]) or defines(cell) == name
    ]
    return places[-1] if places else None


def _place(cells: list[Cell], name: str) -> int | None:
    return next((index for index, cell in enumerate(cells) if grade_id(cell) == name), None)


def _ordinary(text: str) -> Cell:
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None}


def _is_code(text: str) -> bool:
    """Whether it is Python for IPython: magics and shell lines are."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a learner's odd escapes are not ours
            python = TransformerManager().transform_cell(text)
            compile(python, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
