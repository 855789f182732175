"""Where data sets lie, what they hash to, and how they are written: whole or not at all."""

import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files import read_acquisition, write_acquisition
from navkit.ultrasound import Sweep

Arrays = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]


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


def user_cache() -> Path:
    """Where sets are made when the datasets folder cannot be written."""
    import pooch

    return Path(pooch.os_cache("navkit"))


def writable() -> Path:
    """The folder for what is made or fetched: ``made`` beside the registry, else the user's cache."""
    made = folder() / "made"
    return made if os.access(made if made.exists() else folder(), os.W_OK) else user_cache()


def found(file_name: str) -> Path | None:
    """A set that is here already: committed, made, or in the user's cache."""
    beside = (folder() / part / file_name for part in ("files", "made"))
    here = next((path for path in beside if path.exists()), None)
    return here or next((path for path in [user_cache() / file_name] if path.exists()), None)


def digest(path: Path) -> str:
    """sha256 of what a set holds, whoever packed it: see `arrays_digest` and `file_digest`."""
    return arrays_digest(read_arrays(path)) if path.suffix == ".npz" else file_digest(path)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; of a folder's names and bytes, its lines ending as on Linux."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for part in sorted(path.iterdir()):
        whole = part.read_bytes()
        total.update(part.name.encode())
        total.update(whole if part.suffix == ".raw" else whole.replace(b"\r\n", b"\n"))
    return total.hexdigest()


def arrays_digest(arrays: Arrays) -> str:
    """sha256 of the name, type, shape and bytes of each array, in the order of the names.

    It does not depend on how a machine packs a file.
    """
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if little.dtype.kind == "f":
            little = little + 0.0  # -0.0 is 0.0
        total.update(f"{name}\n{little.dtype.str}\n{little.shape}\n".encode())
        total.update(little.tobytes())
    return total.hexdigest()


def size(path: Path) -> int:
    """Bytes of what a set holds, unpacked."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.iterdir())
    if path.suffix == ".npz":
        return sum(array.nbytes for array in read_arrays(path).values())
    return path.stat().st_size


def read_arrays(path: Path) -> Arrays:
    """The arrays of a file.

    Raises
    ------
    DatasetError
        If it is damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as reason:
        raise DatasetError(f"{path.name} is damaged ({reason}). Delete it and make it again.") from reason


def read(path: Path) -> Sweep | Arrays:
    """A set: a folder is an acquisition, a file holds arrays."""
    return read_acquisition(path) if path.is_dir() else read_arrays(path)


def write(content: Sweep | Arrays, path: Path, check: Callable[[Path], None]) -> None:
    """Write a set under a temporary name, check it, and move it to its place; leave nothing half made.

    Raises
    ------
    DatasetError
        If it cannot be written, or `check` refuses it.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        part = temporary / path.name
        if isinstance(content, Sweep):
            write_acquisition(content, part)
        else:
            np.savez_compressed(part, allow_pickle=False, **dict(sorted(content.items())))
        check(part)
        try:
            part.replace(path)
        except OSError:  # another process was first
            if not path.exists():
                raise
    except OSError as reason:
        why = "the disk is full" if reason.errno == errno.ENOSPC else reason.strerror or str(reason)
        raise DatasetError(
            f"{path.name} could not be written to {path.parent}: {why}. Nothing was left behind; free some "
            "space or set NAVKIT_DATASETS to a folder with the registry that can be written."
        ) from reason
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
