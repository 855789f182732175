"""Look up, make, fetch, verify."""

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from navkit.datasets import _store
from navkit.datasets._recipes import RECIPES
from navkit.datasets._store import Arrays, DatasetError, Progress
from navkit.ultrasound import Sweep

KINDS = ("arrays", "acquisition", "file", "link")
_KEYS: dict[str, type] = {
    "kind": str, "licence": str, "recipe": str, "seed": int, "sha256": str, "bytes": int, "patient": str,
    "url": str, "page": str, "local": str, "citation": str, "card": str, "committed": bool,
}  # fmt: skip
_MEANING = {str: "text in quotes", int: "a whole number", bool: "true or false"}
_NEEDED = {
    "recipe": ("seed", "sha256", "bytes"),
    "url": ("sha256", "bytes", "citation"),
    "page": ("citation",),
}


@dataclass(frozen=True)
class DatasetInfo:
    """What the registry says of a set, and where it is.

    Parameters
    ----------
    name, kind, licence : str; kind is "arrays", "acquisition", "file" (of others) or "link" (only an address)
    bytes : of its content, unpacked; None where it is not known
    recipe, address : one of them, the other is empty
    card : name of its card
    path : where it lies on this machine; None where it is not
    """

    name: str
    kind: str
    licence: str
    bytes: int | None
    recipe: str
    address: str
    card: str
    path: Path | None


@lru_cache(maxsize=4)
def _parsed(path: Path, changed_ns: int) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise DatasetError(f"{path.name} is not TOML: {reason}.") from reason


def _registry() -> dict[str, Any]:
    path = _store.folder() / "registry.toml"
    return _parsed(path, path.stat().st_mtime_ns)


def _entry(name: str) -> dict[str, Any]:
    registry = _registry()
    if name not in registry:
        raise DatasetError(f"no data set {name!r}; the registry has {', '.join(sorted(registry))}.")
    entry = registry[name]
    problem = _problem(entry)
    if problem:
        raise DatasetError(f"registry.toml, [{name}]: {problem}")
    return dict(entry)


def _problem(entry: Any) -> str | None:
    """What is wrong with an entry of the registry, as a sentence."""
    if not isinstance(entry, dict):
        return f"is {entry!r}; expected a table."
    for key, value in entry.items():
        if key not in _KEYS:
            return f"{key!r} is not a key; expected some of {', '.join(_KEYS)}."
        if type(value) is not _KEYS[key]:
            return f"{key} is {value!r}; expected {_MEANING[_KEYS[key]]}."
    sources = [key for key in _NEEDED if key in entry]
    if len(sources) != 1:
        return f"has {' and '.join(sources) or 'no source'}; expected exactly one of recipe, url and page."
    needed = ("kind", "licence", *_NEEDED[sources[0]])
    missing = [key for key in needed if key not in entry]
    if missing:
        return f"{', '.join(missing)} is missing; a set with a {sources[0]} needs {', '.join(needed)}."
    if entry["kind"] not in KINDS:
        return f"kind is {entry['kind']!r}; expected one of {', '.join(KINDS)}."
    if (entry["kind"] == "link") != ("page" in entry):
        return f"kind is {entry['kind']!r}; expected link where there is a page, and only there."
    if "recipe" in entry and entry["recipe"] not in RECIPES:
        return f"no recipe {entry['recipe']!r}; there are {', '.join(RECIPES)}."
    if "sha256" in entry and not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
        return f"sha256 is {entry['sha256']!r}; expected 64 digits 0 to 9 and a to f."
    return None


def names(kind: Literal["arrays", "acquisition", "file", "link"] | None = None) -> list[str]:
    """The names in the registry, all or those of one kind."""
    return sorted(n for n, e in _registry().items() if kind is None or _entry(n)["kind"] == kind)


def info(name: str) -> DatasetInfo:
    """What the registry says of a set, and where it is."""
    entry = _entry(name)
    return DatasetInfo(
        name,
        entry["kind"],
        entry["licence"],
        entry.get("bytes"),
        entry.get("recipe", ""),
        entry.get("url", "") or entry.get("page", ""),
        entry.get("card", name),
        _here(name, entry),
    )


def _file_name(name: str, entry: dict[str, Any]) -> str:
    if "url" in entry:
        return str(entry["url"].rsplit("/", 1)[-1])
    return f"{name}.npz" if entry["kind"] == "arrays" else name


def _here(name: str, entry: dict[str, Any]) -> Path | None:
    local = recording(entry["local"]) if "local" in entry else None
    return local or _store.found(_file_name(name, entry))


def case_rng(name: str, *, learner: str, cohort: str) -> np.random.Generator:
    """The generator of one learner's own case: the same for the same three names, anywhere."""
    digest = hashlib.sha256(f"{name}\n{cohort}\n{learner}".encode()).digest()
    return np.random.default_rng(list(digest))


def load(
    name: str, *, learner: str | None = None, cohort: str | None = None, progress: Progress | None = None
) -> Sweep | Arrays:
    """A data set: a `Sweep`, or a dict of arrays with their truth.

    With `learner` and `cohort`, the case that belongs to this learner; without, the course's own. Sets of one
    patient ("neuro_case" and "neuro_sweep") give the same learner the same patient.

    Parameters
    ----------
    name : in the registry
    learner, cohort : both or none
    progress : called with how many frames are made, and of how many

    Raises
    ------
    DatasetError
        If the name is unknown, only one of learner and cohort is given, or the data do not hash to
        what the registry says.
    """
    entry = _entry(name)
    if (learner is None) != (cohort is None):
        raise DatasetError(f"learner is {learner!r} and cohort {cohort!r}; expected both or none.")
    if learner is not None and cohort is not None:
        if "recipe" not in entry:
            raise DatasetError(
                f"{name} is a recording; only sets with a recipe have a case for each learner."
            )
        rng = case_rng(entry.get("patient", name), learner=learner, cohort=cohort)
        return RECIPES[entry["recipe"]](rng, progress)
    path = make(name, progress=progress) if "recipe" in entry else fetch(name)
    if path.is_file() and path.suffix != ".npz":
        raise DatasetError(f"{name} is a file of others, {path}; read it with navkit.files.")
    _check(name, entry, path)
    return _store.read(path)


def make(name: str, *, progress: Progress | None = None) -> Path:
    """The file or acquisition folder of a recipe; made when it is missing, and checked when made.

    Raises
    ------
    DatasetError
        If it has no recipe, cannot be written, or is not what the registry says. Nothing half made is left.
    """
    entry = _entry(name)
    if "recipe" not in entry:
        raise DatasetError(
            f"{name} has no recipe; it is a recording: see {entry.get('url') or entry['page']}."
        )
    here = _here(name, entry)
    if here is not None:
        return here
    path = _store.writable() / _file_name(name, entry)
    content = RECIPES[entry["recipe"]](np.random.default_rng(entry["seed"]), progress)
    _store.write(content, path, partial(_check, name, entry))
    return path


def fetch(name: str) -> Path:
    """A recording of others: from NAVKIT_DATA, or downloaded once from its public address.

    Raises
    ------
    DatasetError
        If it has no public address or cannot be reached, or is not what the registry says.
    """
    entry = _entry(name)
    if "recipe" in entry:
        raise DatasetError(f"{name} has no public address; it is made from its recipe.")
    local = recording(entry["local"]) if "local" in entry else None
    if local is not None and _store.file_digest(local) == entry.get("sha256"):
        return local
    if "page" in entry:
        raise DatasetError(
            f"{name} is not downloaded from here; get it from {entry['page']} and mind its licence, "
            f"{entry['licence']}."
        )
    import pooch

    place = _store.writable()
    try:
        return Path(
            pooch.retrieve(
                entry["url"],
                known_hash=f"sha256:{entry['sha256']}",
                fname=_file_name(name, entry),
                path=place,
            )
        )
    except (OSError, ValueError) as reason:
        raise DatasetError(f"{name} was not fetched from {entry['url']}: {reason}") from reason


def verify() -> list[str]:
    """Check every entry, and every set on this machine: one sentence for each that is not right."""
    problems = []
    for name in names():
        try:
            entry = _entry(name)
            here = _here(name, entry)
            if here is not None and "sha256" in entry:
                _check(name, entry, here)
        except DatasetError as reason:
            problems.append(str(reason))
    return problems


def _check(name: str, entry: dict[str, Any], path: Path) -> None:
    got = _store.digest(path) if "recipe" in entry else _store.file_digest(path)
    if got != entry["sha256"]:
        raise DatasetError(
            f"{name}: sha256 is {got}; the registry says {entry['sha256']}. Delete {path.name} and "
            f"{'make' if 'recipe' in entry else 'fetch'} it again; if it still differs, please report it."
        )


def recording(relative: str) -> Path | None:
    """A real recording below NAVKIT_DATA (or ``../shared/data`` of a checkout); None where it is not."""
    here = Path(__file__).resolve().parents[3]
    path = Path(os.environ.get("NAVKIT_DATA", here.parent / "shared" / "data")) / relative
    return path if path.exists() else None
