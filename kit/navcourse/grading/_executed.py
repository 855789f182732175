"""What one run of a notebook gave, as a file: the cells' outputs and the answers. Text, no pickles.

A result is found again by the key of what it came from: the submission's cells and files, the source
notebook, the questions, the limits and the kit's own code. The same files are never run twice.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, from_dict

__all__ = ["Asked", "Executed", "digest_of", "executed_path", "fill", "key_of", "load", "save", "taken_from"]

NOT_WORK = {"timestamp.txt", "submission_secret.txt"}


@dataclass(frozen=True)
class Asked:
    """What the probe printed for one exercise, unread, or the sentence that says why there is nothing."""

    line: str = ""
    nonce: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Executed:
    """One run: for each code cell its source's digest, outputs and number; the answers by exercise."""

    cells: list[tuple[str, list[dict[str, Any]], int | None]]
    answers: Mapping[str, Asked]
    metadata: Mapping[str, Any]


def executed_path(folder: Path, student: str, assignment: str, notebook: str) -> Path:
    """Where the result of one notebook is kept."""
    return folder / student / assignment / f"{notebook}.json"


def taken_from(nb: NotebookNode, answers: Mapping[str, Asked]) -> Executed:
    """The result in a notebook that was run."""
    cells = [(_digest(c.source), c.get("outputs", []), c.get("execution_count")) for c in _code(nb)]
    metadata = {name: nb.metadata[name] for name in ("language_info", "widgets") if name in nb.metadata}
    return Executed(cells, answers, metadata)


def fill(nb: NotebookNode, executed: Executed) -> bool:
    """Put the outputs into a notebook as if it had been run; False when its cells are others."""
    cells = _code(nb)
    if [_digest(cell.source) for cell in cells] != [source for source, _, _ in executed.cells]:
        return False
    for cell, (_, outputs, count) in zip(cells, executed.cells, strict=True):
        cell.outputs, cell.execution_count = from_dict(outputs), count
    nb.metadata.update(from_dict(dict(executed.metadata)))
    return True


def save(path: Path, executed: Executed, key: str) -> None:
    """Write the result; whoever looks sees the whole file or none, also after a power cut."""
    write_whole(path, json.dumps({"key": key} | asdict(executed)))


def load(path: Path, key: str) -> Executed | None:
    """The result of this key, or None."""
    try:
        found = json.loads(path.read_bytes())
        if found["key"] != key:
            return None
        answers = {name: Asked(**asked) for name, asked in found["answers"].items()}
        return Executed([tuple(cell) for cell in found["cells"]], answers, found["metadata"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, cut off, or of an older kit
        return None


def write_whole(path: Path, text: str) -> None:
    """Write beside, then move: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def key_of(submitted: Path, source: Path, more: Iterable[str]) -> str:
    """What decides the result of a run: cells and files of the submission, the source, `more`, the kit.

    Ids and old outputs of cells decide nothing.
    """
    folders = (submitted.parent, source.parent)
    beside = [path for folder in folders for path in sorted(folder.rglob("*")) if _is_work(path)]
    parts = [_cells_of(submitted), _cells_of(source), *more, _kit()]
    return digest_of([*parts, *(f"{path.name} {_file_digest(path)}" for path in beside)])


def digest_of(parts: Iterable[str]) -> str:
    """One digest of several texts."""
    return _digest(json.dumps(list(parts)))


def _is_work(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.suffix != ".ipynb" and path.name not in NOT_WORK


def _code(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def _cells_of(path: Path) -> str:
    cells = json.loads(path.read_bytes())["cells"]
    told = [(c["cell_type"], "".join(c["source"]), c["metadata"].get("nbgrader")) for c in cells]
    return json.dumps(told, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _kit() -> str:
    """The code that learners' code can meet: a repaired kit runs everything anew."""
    kit = Path(__file__).resolve().parents[2]
    files = [*sorted((kit / "navkit").rglob("*.py")), *sorted((kit / "navcourse" / "grading").glob("*.py"))]
    return digest_of(f"{path.relative_to(kit)} {_file_digest(path)}" for path in files)
