"""The one error of this room, and the safe way to write."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 800  # characters of a sentence; a file may quote as one line what it is in whole


class FileError(ValueError):
    """A file that cannot be trusted: one sentence with file, line, expected and got."""

    def __init__(self, told: str) -> None:
        told = " ".join(told.splitlines())
        short = told if len(told) <= LONGEST else f"{told[: LONGEST // 2]} ... {told[-LONGEST // 2 :]}"
        super().__init__(short)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; what is written there is moved when the block succeeds.

    All files of the folder move to the folder of `path`, the one of its name last: it is the header that
    the others belong to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
        for part in sorted(folder.iterdir(), key=lambda part: (part.name == path.name, part.name)):
            part.replace(path.parent / part.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
