"""Named points of 3D Slicer (markups JSON, FCSV) and of MNI (tag), in and out.

Formats: 3D Slicer, "Markups" (developer guide and JSON schema 1.0.3); VTK, ``vtkMNITagPointReader``.
"""

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError, written_whole
from navkit.files._named_points import TO_LPS, NamedPoints, finite, named
from navkit.files._tags import from_tag, to_tag
from navkit.geometry import check_points

__all__ = ["NamedPoints", "read_points", "write_points"]

Array = NDArray[np.float64]

ENDINGS = (".mrk.json", ".json", ".fcsv", ".tag")
COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
VERSION = "Markups fiducial file version"
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
# A point's axes in the schema's column order: Slicer's own, seen from LPS and from RAS.
PLAIN_AXES = ([-1, 0, 0, 0, -1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0, 0, 1])


def read_points(path: str | Path) -> NamedPoints:
    """Read named points by the file's ending: .mrk.json and .json, .fcsv, .tag.

    A file that states LPS or RAS is taken at its word. One that does not gets its format's default, with a
    note: LPS for markups JSON (its schema), RAS for FCSV (Slicer's reader) and for tags (MINC's world, and
    what CustusX's importer takes for granted). A tag file states it in a comment: "LPS" or "DICOM", "RAS"
    or "MINC". Points that Slicer marks as not placed are left out, with a note.

    Raises
    ------
    FileError
        Another ending, a file that is cut short, not finite, contradicts itself or holds no point.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "nose.fcsv"
    >>> _ = path.write_text('''# Markups fiducial file version = 4.11
    ... # CoordinateSystem = RAS
    ... # columns = id,x,y,z,label
    ... 1,-10,20.5,3,"nose, tip"
    ... ''')
    >>> read_points(path)
    NamedPoints(points_r=array([[ 10. , -20.5,   3. ]]), labels=('nose, tip',), notes=(), second_r=None)
    """
    path = Path(path)
    ending = _ending(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as reason:
        raise FileError(f"{path.name} byte {reason.start}: not UTF-8; expected a text file.") from None
    if not text.strip():
        raise FileError(f"{path.name} is empty; expected named points.")
    points = {".json": _from_json, ".fcsv": _from_fcsv, ".tag": from_tag}[ending](path.name, text)
    if not len(points.points_r):
        raise FileError(f"{path.name} holds no point; expected one or more. {' '.join(points.notes)}".strip())
    return points


def write_points(points: NamedPoints, path: str | Path) -> None:
    """Write named points by the file's ending: .mrk.json and .json, .fcsv, .tag. Coordinates come back
    exactly; ``notes`` are not written.

    JSON and FCSV are written in LPS and say so, FCSV by the number 1, which old versions of Slicer
    understand too. Tags are RAS, by MINC's rule. Two volumes fit a tag file only.

    Raises
    ------
    ValueError
        Points that are not (n, 3) and finite, another number of labels.
    FileError
        Another ending, what the format cannot hold.
    """
    path = Path(path)
    ending = _ending(path)
    both = [check_points(points.points_r, "points_r")]
    if points.second_r is not None:
        both.append(check_points(points.second_r, "second_r"))
        if ending != ".tag":
            raise FileError(f"{path.name} holds points of one volume; got two (second_r). Write a .tag file.")
    if {len(points.labels), *map(len, both)} != {len(both[0])}:
        raise ValueError(
            f"{len(points.labels)} labels for {[len(p) for p in both]} points; expected one label a point."
        )
    writer = {".json": _to_json, ".fcsv": _to_fcsv, ".tag": to_tag}[ending]
    data = writer(path.name, np.hstack(both), points.labels).encode()
    with written_whole(path) as folder:
        (folder / path.name).write_bytes(data)


def _ending(path: Path) -> str:
    if not path.name.lower().endswith(ENDINGS):
        raise FileError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}.")
    return path.suffix.lower()


def _from_json(name: str, text: str) -> NamedPoints:
    try:
        document = json.loads(text, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as reason:
        told = f"{name} line {reason.lineno}: {reason.msg}; expected JSON. Was the file cut short?"
        raise FileError(told) from None
    except RecursionError:
        raise FileError(f"{name} is nested too deeply; expected Slicer markups.") from None
    except ValueError as reason:
        raise FileError(f"{name}: {reason}") from None
    lists = document.get("markups") if isinstance(document, dict) else None
    if not isinstance(lists, list) or not all(isinstance(markup, dict) for markup in lists):
        raise FileError(f"{name} has no list 'markups'; expected Slicer markups. Is it another kind of JSON?")
    notes = [f"{len(lists)} markups lists are joined"] if len(lists) > 1 else []
    rows: list[list[float]] = []
    labels: list[str] = []
    for k, markup in enumerate(lists):
        _one_list(f"{name}: markups[{k}]", markup, rows, labels, notes)
    return named(rows, labels, notes, "LPS")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twin!r} stands twice in one object; expected once.")
    return found


def _one_list(
    where: str, markup: dict[str, Any], rows: list[list[float]], labels: list[str], notes: list[str]
) -> None:
    """Append the placed points of one markups list, in LPS and mm."""
    system, units = markup.get("coordinateSystem"), markup.get("coordinateUnits", "mm")
    if system is None:
        system = "LPS"
        notes.append(f"{where} states no coordinateSystem: LPS, the schema's default")
    if system not in ("LPS", "RAS"):
        raise FileError(f"{where}: coordinateSystem is {system!r}; expected 'LPS' or 'RAS'.")
    unit = units[0] if isinstance(units, list) and units else units
    if unit not in ("mm", "um"):
        raise FileError(f"{where}: coordinateUnits is {units!r}; expected 'mm' or 'um'.")
    if markup.get("type", "Fiducial") != "Fiducial":
        notes.append(f"{where} is a {markup['type']}: only its control points are read")
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise FileError(f"{where}: controlPoints is not a list of objects; expected one object a point.")
    skipped, turned = 0, 0
    for k, point in enumerate(points):
        at = f"{where}.controlPoints[{k}]"
        status, position = point.get("positionStatus", "defined"), point.get("position")
        if status != "defined" or position is None:
            skipped += 1
            continue
        label = point.get("label", "")
        if not isinstance(label, str):
            raise FileError(f"{at}: label is {label!r}; expected a text.")
        xyz = _listed(position, 3, f"{at}: position") * TO_LPS[system]
        rows.append(list(xyz / 1000 if unit == "um" else xyz))
        labels.append(label)
        axes = _listed(point.get("orientation", PLAIN_AXES[0]), 9, f"{at}: orientation")
        turned += not any(np.allclose(axes, plain) for plain in PLAIN_AXES)
    if skipped:
        notes.append(f"{where}: {skipped} of {len(points)} points are not placed and left out")
    if turned:
        notes.append(f"{where}: the orientation of {turned} points is left out")


def _listed(values: object, n: int, where: str) -> Array:
    try:
        ok = isinstance(values, list) and len(values) == n and all(type(v) in (int, float) for v in values)
        found = np.array(values if ok else [math.nan], dtype=float)
    except OverflowError:
        found = np.array([math.inf])
    if not np.isfinite(found).all():
        raise FileError(f"{where} is {str(values)[:80]}; expected {n} finite numbers.")
    return found


def _to_json(name: str, rows: Array, labels: tuple[str, ...]) -> str:
    points = [
        {"id": str(k + 1), "label": label, "position": row.tolist(), "orientation": PLAIN_AXES[0]}
        | {"selected": True, "locked": False, "visibility": True, "positionStatus": "defined"}
        for k, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    return json.dumps({"@schema": SCHEMA, "markups": [markup]}, indent=1) + "\n"


def _from_fcsv(name: str, text: str) -> NamedPoints:
    head: dict[str, str] = {}
    columns = ["label"]
    rows, labels, notes, skipped = [], [], [], 0
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        where = f"{name} line {number}"
        if line.startswith("#"):
            key, value = (part.strip() for part in f"{line[1:]}=".split("=")[:2])
            if key in (VERSION, "CoordinateSystem", "columns") and head.setdefault(key, value) != value:
                raise FileError(f"{where}: a second {key!r} in the header; expected one.")
            continue
        if not line.strip():
            continue
        if VERSION not in head:
            raise FileError(
                f"{where}: a point before '# {VERSION}'; expected that line first. "
                "Is it a file of Slicer 3, or none of Slicer's?"
            )
        columns = [c.strip() for c in head.get("columns", COLUMNS).split(",")]
        twins = sorted({c for c in columns if columns.count(c) > 1})
        if twins or not {"x", "y", "z"} <= set(columns):
            told = f"{', '.join(twins)} twice" if twins else "not x, y and z"
            raise FileError(f"{name}: the columns line has {told}; expected each name once.")
        try:
            fields = next(csv.reader([line], strict=True))
        except csv.Error as reason:
            raise FileError(f"{where}: {reason}; expected comma-separated fields.") from None
        needed = [columns.index(c) for c in ("x", "y", "z", "label") if c in columns]
        # Slicer 5 adds the position's status and one more number without naming them.
        extra = fields[len(columns) :]
        cut = number == len(lines) and len(fields) <= max(needed) + 1
        if len(fields) <= max(needed) or cut or len(extra) > 2 or not all(e.isdecimal() for e in extra):
            raise FileError(
                f"{where}: {len(fields)} fields; expected {len(columns)}. "
                + (
                    "Was the file cut short?"
                    if len(fields) <= len(columns)
                    else "A label's comma, not quoted?"
                )
            )
        if extra and extra[0] != "2":
            skipped += 1
            continue
        rows.append(finite([fields[k] for k in needed[:3]], where))
        labels.append(fields[needed[3]] if len(needed) > 3 else "")
    if "CoordinateSystem" not in head:
        notes.append(f"{name} states no CoordinateSystem: RAS, as Slicer reads it")
    stated = head.get("CoordinateSystem", "RAS")
    system = {"0": "RAS", "1": "LPS"}.get(stated, stated)
    if system not in TO_LPS:
        raise FileError(f"{name}: CoordinateSystem is {stated!r}; expected RAS, LPS, 0 (RAS) or 1 (LPS).")
    if "label" not in columns:
        notes.append(f"{name} has no column 'label': the points have no names")
    if skipped:
        notes.append(f"{name}: {skipped} points are not placed and left out")
    return named(rows, labels, notes, system)


def _to_fcsv(name: str, rows: Array, labels: tuple[str, ...]) -> str:
    bad = next((label for label in labels if re.search(r"[\x00-\x1f]", label)), None)
    if bad is not None:
        raise FileError(f"{name}: the label {bad!r} has a line break or control sign; FCSV holds none.")
    file = io.StringIO()
    file.write(f"# {VERSION} = 4.10\n# CoordinateSystem = 1\n")
    file.write(f"# columns = {COLUMNS}\n")
    table = csv.writer(file, lineterminator="\n")
    for k, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
        table.writerow([k, *map(repr, row.tolist()), 0, 0, 0, 1, 1, 1, 0, label, "", ""])
    return file.getvalue()
