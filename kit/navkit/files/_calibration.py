"""CustusX's ``.cal``: a tool's calibration ``s_M_t``."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.files._errors import FileError, written_whole
from navkit.files._text import decimals
from navkit.geometry import check_poses, orthonormalised

Array = NDArray[np.float64]

MAX_BYTES = 1_000_000


def read_calibration(path: str | Path) -> Array:
    """The calibration ``s_M_t`` (4, 4), mm, of a CustusX ``.cal``: four lines of four numbers.

    The 3 x 3 part is made an exact rotation, as CustusX does: its files keep six digits. A transposed
    matrix is found by its last row; a rotation transposed alone, or with no translation, cannot be.

    Raises
    ------
    FileError
        Not four rows of four numbers, or not rigid within 0.001; CustusX knows no comments here.
    """
    path = Path(path)
    return parsed_calibration(path.name, small_file(path))


def write_calibration(s_M_t: ArrayLike, path: str | Path) -> None:
    """Write a rigid (4, 4) transform, mm, as CustusX's ``.cal``; every digit comes back.

    Raises
    ------
    ValueError
        If the matrix is not rigid.
    """
    path = Path(path)
    text = calibration_text(s_M_t)
    with written_whole(path) as temporary:
        (temporary / path.name).write_bytes(text)


def calibration_text(s_M_t: ArrayLike) -> bytes:
    m = check_poses(np.asarray(s_M_t, dtype=float)[None], "s_M_t")[0]
    return "".join(" ".join(map(repr, row)) + "\n" for row in m.tolist()).encode()


def small_file(path: Path) -> bytes:
    if not path.is_file():
        raise FileError(f"{path.parent.name}/{path.name} is missing; expected a file.")
    if path.stat().st_size > MAX_BYTES:
        raise FileError(f"{path.name} has {path.stat().st_size} bytes; expected at most {MAX_BYTES}.")
    return path.read_bytes()


def exactly(words: bytes | str, count: int) -> list[float] | None:
    """Exactly `count` finite numbers, or None."""
    found = decimals(words)
    return found if found is not None and len(found) == count else None


def parsed_calibration(name: str, data: bytes) -> Array:
    rows = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        row = exactly(line, 4)
        if row is None:
            cause = " Is it a decimal comma?" if b"," in line else ""
            got = line.strip()[:60].decode("latin-1")
            raise FileError(f"{name} line {number}: {got!r}; expected four numbers.{cause}")
        rows.append(row)
    if len(rows) != 4:
        raise FileError(f"{name}: {len(rows)} lines of numbers; expected four. Is the file cut?")
    m = np.array(rows)
    try:
        check_poses(m[None], "matrix")
    except ValueError as reason:
        raise FileError(f"{name}: the {str(reason).replace('matrix[0]', 'matrix')}") from None
    exact = np.abs(m[:3, :3] @ m[:3, :3].T - np.eye(3)).max() < 1e-12
    return m if exact else orthonormalised(m)
