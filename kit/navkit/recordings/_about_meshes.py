"""Surfaces and lines of VTK and STL, and numpy's sets of arrays."""

import math
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files import FileError
from navkit.files._text import parsed_xml
from navkit.recordings._about import Description, Findings, described


def mesh(path: Path) -> Description:
    """A surface or lines: points, cells, extent."""
    data = path.read_bytes()
    read = {".vtk": _vtk, ".stl": _stl, ".vtp": _vtp}[path.suffix.lower()]
    points, cells, skipped = read(path, data)
    numbers = {
        "points": float(len(points) if isinstance(points, np.ndarray) else points),
        "cells": float(cells),
    }
    facts = [("points", f"{numbers['points']:.0f}"), ("cells", str(cells))]
    warnings = []
    if isinstance(points, np.ndarray) and len(points):
        if not np.isfinite(points).all():
            warnings.append("some points are not finite: leave them out before registering.")
        extent = np.ptp(points, axis=0)
        facts.append(("extent", " x ".join(f"{e:.4g}" for e in extent) + " mm"))
        numbers |= {f"extent_{a}_mm": float(e) for a, e in zip("xyz", extent, strict=True)}
        if 0 < extent.max() < 1:
            warnings.append(
                f"the mesh is {extent.max():.3g} mm large: is it in metres? Multiply by 1000 if so."
            )
    if not numbers["points"]:
        warnings.append("the mesh has no points: nothing can be shown or registered. Export it again.")
    return described(path, "mesh", Findings(tuple(facts), numbers, tuple(warnings), skipped))


Mesh = tuple[NDArray[Any] | int, int, tuple[str, ...]]


def _vtk(path: Path, data: bytes) -> Mesh:
    """Legacy VTK polydata, text or binary."""
    lines = data.split(b"\n", 4)
    kind = lines[2].strip().upper() if len(lines) > 4 else b""
    found = re.search(rb"^\s*POINTS\s+(\d{1,10})\s+(\w+)[ \t]*\r?\n", data, re.MULTILINE)
    if kind not in (b"ASCII", b"BINARY") or not found:
        raise FileError(f"{path.name}: no POINTS after ASCII or BINARY; expected legacy VTK polydata.")
    n, rest = int(found[1]), found.end()
    if kind == b"ASCII":
        words = data[rest:].split(None, 3 * n)[: 3 * n] if 3 * n <= len(data) else []
        try:
            points = np.array(words, dtype=float).reshape(n, 3)
        except ValueError:
            raise FileError(
                f"{path.name}: fewer than the {n} points that POINTS states, or no numbers. Was the copy "
                "cut off?"
            ) from None
        after = data
    else:
        dtype = np.dtype({b"float": ">f4", b"double": ">f8", b"int": ">i4"}.get(found[2], ">f4"))
        held = (len(data) - rest) // dtype.itemsize
        if held < 3 * n:
            raise FileError(f"{path.name} holds {held // 3} of {n} points. Was the copy cut off?")
        points = np.frombuffer(data, dtype, 3 * n, rest).reshape(n, 3).astype(float)
        after = data[rest + 3 * n * dtype.itemsize :]
    cells = re.findall(
        rb"^\s*(?:VERTICES|LINES|POLYGONS|TRIANGLE_STRIPS|CELLS)\s+(\d{1,10})", after, re.MULTILINE
    )
    return points, sum(map(int, cells)), ()


def _stl(path: Path, data: bytes) -> Mesh:
    n = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else -1
    if n >= 0 and len(data) == 84 + 50 * n:
        triangle = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
        return np.frombuffer(data, triangle, n, 84)["corners"].reshape(-1, 3).astype(float), n, ()
    if data[:5].lower() == b"solid":
        words = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
        if b"endsolid" not in data or len(words) % 3:
            raise FileError(f"{path.name} has no endsolid after its triangles. Was the copy cut off?")
        try:
            return np.array(words, dtype=float).reshape(-1, 3), len(words) // 3, ()
        except ValueError:
            raise FileError(f"{path.name}: a vertex is not three numbers; expected STL.") from None
    raise FileError(
        f"{path.name} has {len(data)} bytes; expected {84 + 50 * max(n, 0)} for {max(n, 0)} triangles of "
        "STL. Was the copy cut off?"
    )


def _vtp(path: Path, _: bytes) -> Mesh:
    pieces = parsed_xml(path).findall(".//Piece")
    points = sum(int(p.get("NumberOfPoints", "0")) for p in pieces)
    names = ("NumberOfVerts", "NumberOfLines", "NumberOfStrips", "NumberOfPolys")
    return points, sum(int(p.get(n, "0")) for p in pieces for n in names), ("extent of the points",)


def arrays(path: Path) -> Description:
    """A set of numpy arrays: names and shapes, by their headers only."""
    facts, numbers, warnings = [], {}, []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    major = np.lib.format.read_magic(file)[0]
                    read = (
                        np.lib.format.read_array_header_1_0
                        if major == 1
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                label = name.removesuffix(".npy")
                facts.append((label, f"{' x '.join(map(str, shape)) or 'one'} {dtype.name}"))
                numbers[f"{label}_size"] = float(math.prod(shape))
                if dtype.hasobject:
                    warnings.append(
                        f"{label} holds Python objects, which may run code when opened: it was not opened. "
                        "Trust the sender first."
                    )
    except (zipfile.BadZipFile, EOFError, ValueError) as reason:
        raise FileError(f"{path.name} is no whole set of arrays ({reason}). Was the copy cut off?") from None
    found = Findings(tuple(facts), {**numbers, "arrays": float(len(facts))}, tuple(warnings))
    return described(path, "set of arrays", found)
