"""CustusX's log of tool positions, ``Logs/toolpositions.snwpos``."""

import math
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.files._errors import FileError
from navkit.files._text import is_file
from navkit.geometry import pose_from
from navkit.tracking import PoseStream

MAGIC = b"SNWPOS\x02"
TOOL_INDEX, TOOL_NAME, TOOL_POSE = 1, 2, 3
LAST_MS = 4_102_444_800_000  # the year 2100
LARGEST_ANGLE, FARTHEST_MM = 6.2832, 1e6  # a turn; a kilometre from the patient


def read_positions(path: str | Path) -> dict[str, PoseStream]:
    """The streams ``pr_M_t`` of a CustusX position log by tool, times in s since 1970.

    Old records carry an index instead of a name; their stream is called "tool 3". CustusX loses one pose
    each time the tool changes [1]_. A sample written twice (same time and pose) counts once. A tool that
    was named but never seen has no stream.

    Raises
    ------
    FileError
        A wrong header or record, a log that is cut, or times that do not increase; the sentence names
        the byte.

    References
    ----------
    .. [1] CustusX, class PositionStorageReader: layout and the size byte of 68 that 56 bytes follow.
    """
    path = Path(path)
    if not is_file(path):
        raise FileError(f"{path.parent.name}/{path.name} is missing; expected a position log.")
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        got = data[: len(MAGIC)]
        raise FileError(f"{path.name} starts with {got!r}; expected {MAGIC!r}, a position log of version 2.")
    samples: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    tool: str | None = None
    at = len(MAGIC)
    try:
        while at < len(data):
            start = at
            kind, size = struct.unpack_from("<BB", data, at)
            at += 2
            if kind == TOOL_NAME:
                (length,) = struct.unpack_from("<I", data, at)
                _check_size(path, start, size, (length + 4) & 255)
                (name,) = struct.unpack_from(f"<{length}s", data, at + 4)
                tool, at = name.decode("latin-1"), at + 4 + length
                continue
            if kind == TOOL_POSE:
                _check_size(path, start, size, 68)
                if tool is None:
                    raise FileError(f"{path.name} byte {start}: a pose before any tool is named.")
                owner = tool
            elif kind == TOOL_INDEX:
                _check_size(path, start, size, 69)
                owner = f"tool {data[at + 8]}" if at + 8 < len(data) else ""
            else:
                raise FileError(f"{path.name} byte {start}: record type {kind}; expected 1, 2 or 3.")
            layout = "<Q6d" if kind == TOOL_POSE else "<QB6d"
            sample = struct.unpack_from(layout, data, at)
            at += struct.calcsize(layout)
            _take(path, start, samples[owner], (sample[0], *sample[-6:]))
    except struct.error:
        raise FileError(f"{path.name}: the record at byte {start} is cut by the end of the file.") from None
    return {name: _stream(name, np.array(rows)) for name, rows in samples.items()}


def _check_size(path: Path, at: int, size: int, expected: int) -> None:
    if size != expected:
        raise FileError(f"{path.name} byte {at + 1}: the record's size is {size}; expected {expected}.")


def _take(path: Path, at: int, rows: list[tuple[float, ...]], row: tuple[float, ...]) -> None:
    """Add a sample (ms and six numbers) after the one before it; one that was written twice counts once."""
    angles, place = max(map(abs, row[1:4])), max(map(abs, row[4:]))
    if not all(map(math.isfinite, row)) or not (
        row[0] <= LAST_MS and angles <= LARGEST_ANGLE and place <= FARTHEST_MM
    ):
        raise FileError(
            f"{path.name} byte {at}: {row}; expected ms since 1970 and six finite numbers: three "
            "angles within a turn, a position within a kilometre. Is the log damaged?"
        )
    if rows and row[0] <= rows[-1][0]:
        if row == rows[-1]:
            return
        raise FileError(
            f"{path.name} byte {at}: {row[0]} ms does not come after {rows[-1][0]} ms of the same tool. "
            "Was the clock set back?"
        )
    rows.append(row)


def _stream(name: str, rows: NDArray[np.float64]) -> PoseStream:
    """Rows of ms, the axis' two angles, the angle about it (all rad) and the position, mm."""
    theta_xy, theta_z, half = rows[:, 1], rows[:, 2], rows[:, 3] / 2
    axis = [np.cos(theta_xy) * np.cos(theta_z), np.sin(theta_xy) * np.cos(theta_z), np.sin(theta_z)]
    rotation = Rotation.from_quat(np.column_stack([*(a * np.sin(half) for a in axis), np.cos(half)]))
    return PoseStream(rows[:, 0] / 1000.0, pose_from(rotation, rows[:, 4:]), name=name)
