"""Look up, make, verify."""

import hashlib
import os
import shutil
import tempfile
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.datasets._recipes import RECIPES
from navkit.files import read_acquisition, write_acquisition
from navkit.ultrasound import Sweep

Arrays = dict[str, NDArray[Any]]


class DatasetError(ValueError):
    """A data set that is unknown, missing or not what it should be."""


def folder() -> Path:
    """The datasets folder: NAVKIT_DATASETS, else the one of this checkout."""
    path = Path(os.environ.get("NAVKIT_DATASETS", Path(__file__).resolve().parents[3] / "datasets"))
    if not (path / "registry.toml").is_file():
        raise DatasetError(
            f"{path} has no registry.toml; set NAVKIT_DATASETS to the course's datasets folder."
        )
    return path


@lru_cache(maxsize=4)
def _registry(path: Path) -> dict[str, dict[str, Any]]:
    return tomllib.loads((path / "registry.toml").read_text(encoding="utf-8"))


def _entry(name: str) -> dict[str, Any]:
    registry = _registry(folder())
    if name not in registry:
        raise DatasetError(f"no data set {name!r}; the registry has {', '.join(sorted(registry))}.")
    return registry[name]


def names() -> list[str]:
    """The names in the registry."""
    return sorted(_registry(folder()))


def case_rng(name: str, *, learner: str, cohort: str) -> np.random.Generator:
    """The generator of one learner's own case: the same for the same three names, anywhere."""
    digest = hashlib.sha256(f"{name}\n{cohort}\n{learner}".encode()).digest()
    return np.random.default_rng(list(digest))


def load(name: str, *, learner: str | None = None, cohort: str | None = None) -> Sweep | Arrays:
    """A data set: a `Sweep`, or a dict of arrays with their truth.

    With `learner` and `cohort`, the case that belongs to this learner; without, the course's own.

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
        return RECIPES[entry["recipe"]](case_rng(name, learner=learner, cohort=cohort))
    path = make(name) if "recipe" in entry else fetch(name)
    if path.is_dir():
        return read_acquisition(path)
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def make(name: str) -> Path:
    """The file or acquisition folder of a recipe; made when it is missing, and checked when made."""
    entry = _entry(name)
    if "recipe" not in entry:
        raise DatasetError(f"{name} has no recipe; it is a recording: fetch it from {entry['url']}.")
    made = folder() / "made"
    kind = ".npz" if entry["kind"] == "arrays" else ""
    path = made / f"{name}{kind}"
    if path.exists():
        return path
    made.mkdir(exist_ok=True)
    content = RECIPES[entry["recipe"]](np.random.default_rng(entry["seed"]))
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=made))
    try:
        part = temporary / path.name
        if isinstance(content, Sweep):
            write_acquisition(content, part)
        else:
            np.savez(part, allow_pickle=False, **content)
        _check(name, entry, part)
        try:
            part.replace(path)
        except OSError:  # another process was first
            if not path.exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def fetch(name: str) -> Path:
    """A recording of others, downloaded once from its public address and checked. Needs the network."""
    import pooch

    entry = _entry(name)
    if "url" not in entry:
        raise DatasetError(f"{name} has no public address; it is made from its recipe.")
    return Path(
        pooch.retrieve(
            entry["url"],
            known_hash=f"sha256:{entry['sha256']}",
            fname=entry["url"].rsplit("/", 1)[-1],
            path=folder() / "made",
        )
    )


def verify() -> list[str]:
    """Every data set that is on this machine against the registry: one sentence for each that differs."""
    problems = []
    for name in names():
        entry = _entry(name)
        path = folder() / "made" / (f"{name}.npz" if entry.get("kind") == "arrays" else name)
        if "recipe" in entry and path.exists():
            try:
                _check(name, entry, path)
            except DatasetError as reason:
                problems.append(str(reason))
    return problems


def _check(name: str, entry: dict[str, Any], path: Path) -> None:
    got = digest(path)
    if got != entry["sha256"]:
        raise DatasetError(
            f"{name}: sha256 is {got}; the registry says {entry['sha256']}. Delete {path.name} and make it "
            "again; if it still differs, this machine computes it differently: please report it."
        )


def digest(path: Path) -> str:
    """sha256 of a file, or of the files of a folder in the order of their names."""
    total = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        if path.is_dir():
            total.update(part.name.encode())
        total.update(part.read_bytes())
    return total.hexdigest()


def recording(relative: str) -> Path | None:
    """A real recording below NAVKIT_DATA (or ``../shared/data`` of a checkout); None where it is not."""
    here = Path(__file__).resolve().parents[3]
    path = Path(os.environ.get("NAVKIT_DATA", here.parent / "shared" / "data")) / relative
    return path if path.exists() else None
