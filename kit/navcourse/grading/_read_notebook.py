"""From the bytes of a submitted file to a notebook, or the reason why they are none.

Mended here is what has nothing to do with a lesson: encodings, old formats, huge or damaged
outputs, saved widgets, line ends, ids of cells.
"""

import codecs
import copy
import json
import mmap
import re
import warnings
from pathlib import Path
from typing import Any

from navcourse.grading._outputs import without_outputs

__all__ = ["Cell", "Notebook", "UnreadableError", "as_type", "fill_ids", "read_notebook", "write_notebook"]

MOST_BYTES = 2_000_000_000
MOST_WITHOUT_OUTPUTS = 100_000_000
LARGE = 20_000_000
AGAIN = "Ask {student} to download the notebook again and to hand it in anew."
Cell = dict[str, Any]
Notebook = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UnreadableError(ValueError):
    """The file holds no notebook: the reason, and what to do (``{student}`` stands for the learner)."""

    def __init__(self, reason: str, what_to_do: str = AGAIN) -> None:
        super().__init__(reason)
        self.what_to_do = what_to_do


def read_notebook(path: Path) -> tuple[Notebook, list[str]]:
    """The notebook in format 4, every source one text, and what had to be mended to read it.

    Raises
    ------
    UnreadableError
        If a person has to ask the learner.
    """
    if path.is_symlink() or not path.is_file():
        raise UnreadableError("this is a link, not a file", "Ask {student} to hand in the file itself.")
    try:
        data, mended = _bytes(path)
    except OSError as error:
        raise UnreadableError(f"the file could not be read ({type(error).__name__})") from error
    text = _decoded(data, mended)
    value = _parsed(text, mended)
    if isinstance(value, dict) and isinstance(value.get("worksheets"), list):
        value = _upgraded(value, mended)
    if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
        raise UnreadableError("the file is JSON but not a notebook: it has no list of cells")
    if value.get("nbformat") != 4:
        raise UnreadableError(f"the notebook has format {value.get('nbformat')!r}; expected 4")
    if not isinstance(value.get("metadata"), dict):
        raise UnreadableError("the notebook has no metadata")
    if type(value.get("nbformat_minor")) is not int:
        value["nbformat_minor"] = 5
        mended.append("the number of its format was damaged")
    _mend_cells(value["cells"], mended)
    _validated(value, mended)
    if value["metadata"].pop("widgets", None):
        mended.append("saved widgets were left out")
    return value, mended


def write_notebook(path: Path, notebook: Notebook) -> None:
    """In UTF-8, format 4.5, without outputs: they are made anew when it is graded."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    notebook["nbformat_minor"] = 5
    fill_ids(notebook["cells"])
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_bytes(text.encode("utf-8", errors="replace"))


def fill_ids(cells: list[Cell]) -> bool:
    """Give each cell an id; the first of two cells with one id keeps it. Whether one was missing."""
    used: set[str] = set()
    changed = False
    own = {str(cell.get("id")) for cell in cells}
    for number, cell in enumerate(cells):
        if not _ID.fullmatch(str(cell.get("id", ""))) or cell["id"] in used:
            new = f"cell-{number}"
            while new in own or new in used:
                new += "-new"
            cell["id"], changed = new, True
        used.add(cell["id"])
    return changed


# -- bytes and text ------------------------------------------------------------------------------


def _bytes(path: Path) -> tuple[bytes, list[str]]:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UnreadableError(f"the file is larger than {MOST_BYTES / 1e6:.0f} MB")
    if size <= LARGE:
        return path.read_bytes(), []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        data = without_outputs(whole)
    if len(data) > MOST_WITHOUT_OUTPUTS:
        most = f"{MOST_WITHOUT_OUTPUTS / 1e6:.0f} MB"
        raise UnreadableError(
            f"the file is larger than {most}, without its outputs too",
            "Ask {student} to take the pictures out of the text cells and to hand it in anew.",
        )
    gone = size - len(data)
    return data, [f"{gone / 1e6:.0f} MB of outputs were left out; they are made anew"] if gone else []


def _decoded(data: bytes, mended: list[str]) -> str:
    encoding = json.detect_encoding(data)
    if data.startswith(codecs.BOM_UTF8):
        mended.append("an editor had put a byte order mark before the notebook")
    elif encoding != "utf-8":
        mended.append(f"it was saved as {encoding[:6].upper()}, not as UTF-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
    lost = text.count("\ufffd")
    if sum(letter > "\x7f" for letter in text) - lost > lost:  # most letters are right: it is UTF-8
        mended.append(f"{lost} damaged letters were replaced")
        return text
    mended.append("it was saved in an old encoding of Windows, not as UTF-8")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parsed(text: str, mended: list[str]) -> Any:
    text = text.lstrip("\ufeff \t\r\n")
    try:
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            if "control character" not in error.msg:
                raise
            value, end = json.JSONDecoder(strict=False).raw_decode(text)
            mended.append("line ends inside its texts were not written as JSON wants them")
    except RecursionError as error:
        raise UnreadableError("the file is nested too deeply to be a notebook") from error
    except json.JSONDecodeError as error:
        raise _no_json(text, error) from error
    except ValueError as error:
        raise UnreadableError("the file is damaged: it holds a number that is too long") from error
    if text[end:].strip("\x00\x1a \t\r\n"):
        mended.append("what stood after the end of the notebook was left out")
    elif text[end:].strip():
        mended.append("bytes without meaning after the end of the notebook were left out")
    if re.search(r"\\u[dD][89abAB]", text):  # half a letter would stop whoever writes the file
        whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
        joined = whole.decode("utf-16", errors="replace")
        if "\ufffd" in joined:
            mended.append("damaged letters were replaced")
            value = json.loads(joined)
    return value


def _no_json(text: str, error: json.JSONDecodeError) -> UnreadableError:
    if not text.strip("\x00"):
        return UnreadableError("the file is empty: it was cut off or damaged")
    if re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE):
        return UnreadableError(
            "git had put two versions into the file and marked where they differ",
            "Ask {student} to choose one of the two versions and to hand that in.",
        )
    if text.startswith("PK\x03\x04"):
        return UnreadableError(
            "the file is a zip file with the name of a notebook",
            "Rename it to end in .zip and collect again.",
        )
    if text.startswith("<"):
        return UnreadableError(
            "the file is a web page with the name of a notebook",
            "Ask {student} to use File > Download in JupyterLab and to hand in the .ipynb file.",
        )
    return UnreadableError(f"the file is cut off or damaged: no valid JSON at line {error.lineno}")


# -- the notebook --------------------------------------------------------------------------------


def _upgraded(value: Notebook, mended: list[str]) -> Any:
    import nbformat

    number = value.get("nbformat")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new = nbformat.convert(nbformat.from_dict(copy.deepcopy(value)), 4)
        mended.append(f"it was in the old notebook format {number}")
        return json.loads(json.dumps(new))
    except Exception as error:
        raise UnreadableError(f"the notebook has format {number!r} and is damaged; expected 4") from error


def _mend_cells(cells: list[Any], mended: list[str]) -> None:
    line_ends = parts = False
    for cell in cells:
        if not isinstance(cell, dict):
            return  # not a notebook: `_validated` says so
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = cell["source"] = "".join(source)
        if isinstance(source, str) and "\r" in source:
            line_ends = True
            cell["source"] = source.replace("\r\n", "\n").replace("\r", "\n")
        parts |= as_type(cell, str(cell.get("cell_type")))
    if line_ends:
        mended.append("line ends of another system were replaced")
    if parts:
        mended.append("its cells had parts too many or too few")


def as_type(cell: Cell, cell_type: str) -> bool:
    """Make it a cell of this type, with the parts that such a cell has; whether something changed."""
    before = set(cell), cell.get("cell_type"), cell.get("metadata")
    cell["cell_type"] = cell_type
    if not isinstance(cell.get("metadata"), dict):
        cell["metadata"] = {}
    if cell_type == "code":
        cell.pop("attachments", None)
        cell.setdefault("outputs", [])
        cell.setdefault("execution_count", None)
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return before != (set(cell), cell_type, cell["metadata"])


def _validated(notebook: Notebook, mended: list[str]) -> None:
    """Outputs, counts and the kernel are made anew, so damage in them is none; nor is it in ids."""
    if not _invalid(notebook):
        return
    anew: Cell = {"outputs": [], "execution_count": None}
    cells = [
        cell | anew if isinstance(cell, dict) and cell.get("cell_type") == "code" else cell
        for cell in notebook["cells"]
    ]
    why = _invalid(notebook | {"cells": cells, "metadata": {}})
    if why:
        raise UnreadableError(f"the file is not a valid notebook: {why}")
    notebook["cells"], notebook["metadata"] = cells, {}
    mended.append("its saved outputs, or the name of its kernel, were damaged; they are made anew")


def _invalid(notebook: Notebook) -> str:
    import nbformat

    try:
        node = nbformat.from_dict(copy.deepcopy(notebook))
        for number, cell in enumerate(node.cells):
            cell["id"] = f"cell-{number}"
        node["nbformat_minor"] = max(5, int(notebook.get("nbformat_minor", 0)))
        nbformat.validate(node)
    except Exception as error:
        return str(error).splitlines()[0][:150] or type(error).__name__
    return ""
