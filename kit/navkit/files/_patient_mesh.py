"""Meshes of a patient: VTK's legacy polydata, ASCII and binary, as CustusX keeps them."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError, written_whole
from navkit.geometry import check_points

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

NUMBERS = {
    "float": "f4", "double": "f8", "int": "i4", "vtktypeint64": "i8", "vtktypeint32": "i4", "long": "i8",
    "short": "i2", "char": "i1", "unsigned_char": "u1", "vtkidtype": "i4",
}  # fmt: skip
CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
ENOUGH = ("POINT_DATA", "CELL_DATA")  # what follows belongs to what is read already


@dataclass(frozen=True)
class Mesh:
    """Points in the space of the mesh, d, with lines and triangles between them.

    Parameters
    ----------
    points_d : (n, 3) mm
    lines : each the indices of a line's points, such as a centreline
    triangles : (m, 3) indices
    """

    points_d: Array
    lines: tuple[Indices, ...] = ()
    triangles: Indices = field(default_factory=lambda: np.empty((0, 3), dtype=np.int64))


class _Text:
    """A legacy file, read word by word and block by block."""

    def __init__(self, name: str, data: bytes, binary: bool, at: int) -> None:
        self.name, self.data, self.binary, self.at = name, data, binary, at

    def word(self) -> str:
        found = re.compile(rb"\s*(\S+)").match(self.data, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[1].decode("latin-1")

    def count(self, what: str) -> int:
        word = self.word()
        if not re.fullmatch(r"\d{1,12}", word, re.ASCII) or int(word) > len(self.data):
            raise FileError(f"{self.name}: {word!r} {what}; expected a number that the file can hold.")
        return int(word)

    def block(self, n: int, kind: str, what: str) -> NDArray[Any]:
        if kind.lower() not in NUMBERS:
            raise FileError(f"{self.name}: {what} are of type {kind!r}; expected {', '.join(NUMBERS)}.")
        dtype = np.dtype(NUMBERS[kind.lower()]).newbyteorder(">")
        if self.binary:
            start = self.data.find(b"\n", self.at) + 1
            self.at = start + n * dtype.itemsize
            if not start or self.at > len(self.data):
                raise FileError(f"{self.name}: the {what} end early; expected {n}. Is the file cut?")
            with np.errstate(invalid="ignore"):  # a signalling NaN; what is not finite is refused later
                return np.frombuffer(self.data, dtype, n, start).astype(dtype.newbyteorder("="))
        words = self.data[self.at :].split(None, n)
        self.at = len(self.data) - len(words[n]) if len(words) > n else len(self.data)
        try:
            found = np.array([float(word) for word in words[:n]])
        except ValueError:
            found = np.empty(0)
        if len(found) != n or b"_" in b"".join(words[:n]):
            raise FileError(f"{self.name}: the {what} are not {n} numbers. Is the file cut?")
        return found

    def indices(self, n: int, kind: str, what: str) -> Indices:
        found = self.block(n, kind, what)
        if found.dtype.kind == "f" and not (np.abs(found) < 2**53).all():
            raise FileError(f"{self.name}: the {what} are not whole numbers.")
        return found.astype(np.int64)


def read_mesh(path: str | Path) -> Mesh:
    """Read VTK's legacy polydata, ASCII or binary, of the versions 1 to 5.

    Polygons and strips become triangles; colours and other data of points and cells are left out.

    Raises
    ------
    FileError
        If it is no polydata, is cut, or an index is of no point.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    data = path.read_bytes()
    head = re.match(rb"# vtk DataFile[^\n]*\n[^\n]*\n[ \t]*(ASCII|BINARY)[ \t]*\r?\n", data)
    if not head:
        raise FileError(
            f"{path.name}: expected '# vtk DataFile', a title, ASCII or BINARY in its first lines."
        )
    text = _Text(path.name, data, head[1] == b"BINARY", head.end())
    if (text.word(), text.word()) != ("DATASET", "POLYDATA"):
        raise FileError(f"{path.name} line 4: expected DATASET POLYDATA; only surfaces and lines are read.")
    points = np.empty((0, 3))
    cells: dict[str, list[Indices]] = {kind: [] for kind in CELLS}
    while (word := text.word()) and word not in ENOUGH:
        if word == "POINTS":
            n = text.count("points")
            points = text.block(3 * n, text.word(), "coordinates").astype(float).reshape(n, 3)
        elif word in CELLS:
            cells[word] = _cells(text, word)
        elif word == "METADATA":
            end = re.compile(rb"\n[ \t\r]*\n").search(data, text.at)
            text.at = end.end() if end else len(data)
        else:
            raise FileError(f"{path.name}: {word[:40]!r}; expected POINTS or one of {', '.join(CELLS)}.")
    if not np.isfinite(points).all() or not len(points):
        raise FileError(f"{path.name}: {len(points)} points, not all finite or none; expected finite points.")
    for kind, found in cells.items():
        flat = np.concatenate([np.empty(0, dtype=np.int64), *found])
        if flat.size and not 0 <= flat.min() <= flat.max() < len(points):
            named = f"{flat.min()} to {flat.max()}"
            raise FileError(f"{path.name}: {kind} name points {named}; there are {len(points)}, from 0.")
    fans = [_fan(cell) for cell in cells["POLYGONS"] if len(cell) > 2]
    fans += [_strip(cell) for cell in cells["TRIANGLE_STRIPS"]]
    triangles = np.concatenate([np.empty((0, 3), dtype=np.int64), *fans])
    return Mesh(points, tuple(cells["LINES"]), triangles)


def _fan(polygon: Indices) -> Indices:
    """Triangles about the first corner."""
    if len(polygon) == 3:
        return polygon[None]
    return np.stack([np.full(len(polygon) - 2, polygon[0]), polygon[1:-1], polygon[2:]], axis=1)


def _strip(strip: Indices) -> Indices:
    """Three points after another; every other triangle turns the other way."""
    triangles = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
    triangles[1::2, :2] = triangles[1::2, 1::-1]
    return triangles


def _cells(text: _Text, kind: str) -> list[Indices]:
    """Cells of either layout: a count before each, or, from version 5, all offsets and all indices."""
    n, size = text.count("cells"), text.count("indices")
    before = text.at
    if text.word() == "OFFSETS":
        ends = text.indices(n, text.word(), f"offsets of {kind}")
        if text.word() != "CONNECTIVITY":
            raise FileError(f"{text.name}: {kind} have OFFSETS and no CONNECTIVITY; expected both.")
        flat = text.indices(size, text.word(), f"indices of {kind}")
        if n and (ends[0] != 0 or ends[-1] != size or (np.diff(ends) < 0).any()):
            raise FileError(f"{text.name}: the offsets of {kind} do not rise from 0 to {size}.")
        return [flat[a:b] for a, b in pairwise(ends)]
    text.at = before
    flat = text.indices(size, "int", f"indices of {kind}")
    found, at = [], 0
    for _ in range(n):
        count = int(flat[at]) if at < size else -1
        if count < 0 or at + 1 + count > size:
            raise FileError(f"{text.name}: {kind} do not fit {n} cells in {size} numbers. Is the file cut?")
        found.append(flat[at + 1 : at + 1 + count])
        at += 1 + count
    if at != size:
        raise FileError(f"{text.name}: {kind} have {size - at} numbers too many.")
    return found


def write_mesh(mesh: Mesh, path: str | Path) -> None:
    """Write VTK's legacy polydata, ASCII; every digit comes back.

    Raises
    ------
    ValueError
        If a point is not finite, or an index is of no point.
    """
    path, text = Path(path), mesh_text(mesh)
    with written_whole(path) as temporary:
        (temporary / path.name).write_bytes(text)


def mesh_text(mesh: Mesh) -> bytes:
    """The bytes of a file; see `write_mesh`."""
    points = check_points(mesh.points_d, "points_d")
    triangles = np.asarray(mesh.triangles, dtype=np.int64).reshape(-1, 3)
    used = np.concatenate([np.empty(0, dtype=np.int64), *mesh.lines, triangles.ravel()])
    if used.size and not 0 <= used.min() <= used.max() < len(points):
        raise ValueError(f"an index is {used.max()} or below 0; expected 0 to {len(points) - 1}.")
    out = [
        "# vtk DataFile Version 3.0\nvtk output\nASCII\nDATASET POLYDATA\n",
        f"POINTS {len(points)} double\n",
    ]
    out += [" ".join(map(repr, row)) + "\n" for row in points.tolist()]
    for kind, cells in (("LINES", mesh.lines), ("POLYGONS", triangles)):
        if len(cells):
            out.append(f"{kind} {len(cells)} {sum(len(cell) + 1 for cell in cells)}\n")
            out += [" ".join(map(str, [len(cell), *cell.tolist()])) + "\n" for cell in cells]
    if not used.size:
        out.append(f"VERTICES 1 {len(points) + 1}\n{len(points)} {' '.join(map(str, range(len(points))))}\n")
    return "".join(out).encode("ascii")
