"""Landmarks, transforms, probe data, tool positions as a table: small files from one format to another."""

import csv
import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files import (
    FileError,
    read_calibration,
    read_points,
    read_positions,
    read_probe_database,
    read_transform,
    write_calibration,
    write_points,
    write_transform,
)
from navkit.files._probe import probedata_text
from navkit.files._text import content, decimals, decoded, parsed_xml

Array = NDArray[np.float64]

CORNERS = np.array([[x, y, z, 1.0] for x in (-500, 500) for y in (-500, 500) for z in (-500, 500)]).T
TOLERANCE_MM = 1e-9
POINT_KEYS = {
    "description": "",
    "associatedNodeID": "",
    "selected": True,
    "locked": False,
    "visibility": True,
}
COLUMNS = {"desc": "", "associatedNodeID": "", "sel": "1", "lock": "0", "vis": "1"}
PLURALS = {
    "description": "descriptions", "desc": "descriptions", "associatedNodeID": "links to nodes",
    "selected": "marks 'not selected'", "sel": "marks 'not selected'", "locked": "locks", "lock": "locks",
    "visibility": "marks 'not visible'", "vis": "marks 'not visible'",
}  # fmt: skip


def to_other_landmarks(source: Path, target: Path) -> tuple[str, ...]:
    points = read_points(source)
    lost = [*points.notes, *_beside_the_points(source)]
    if points.second_r is not None and target.suffix.lower() != ".tag":
        lost.append(f"{source.name}: the {len(points.second_r)} places in the second volume")
        points = replace(points, second_r=None)
    write_points(points, target)
    again = read_points(target)
    off = np.abs(again.points_r - points.points_r).max()
    if off > 0 or again.labels != points.labels:
        lost.append(f"positions change by up to {off:.2g} mm, or labels")
    return tuple(lost)


def _beside_the_points(source: Path) -> Iterator[str]:
    """What a file of landmarks says that `NamedPoints` does not hold."""
    text = decoded(content(source))
    counts: dict[str, int] = {}
    if source.suffix.lower() == ".json":
        markups = [m for m in json.loads(text).get("markups", []) if isinstance(m, dict)]
        for point in (p for m in markups for p in m.get("controlPoints", [])):
            for key, plain in POINT_KEYS.items():
                counts[key] = counts.get(key, 0) + (point.get(key, plain) != plain)
        if len(markups) > 1:
            yield f"{source.name}: that its points are {len(markups)} lists"
        for key in ("display", "measurements"):
            if any(m.get(key) for m in markups):
                yield f"{source.name}: its {key}"
    elif source.suffix.lower() == ".fcsv":
        columns = re.search(r"(?m)^# columns = (.*)$", text)
        names = [c.strip() for c in columns[1].split(",")] if columns else []
        for row in csv.reader(line for line in text.splitlines() if line and not line.startswith("#")):
            for key, plain in COLUMNS.items():
                if key in names and names.index(key) < len(row):
                    counts[key] = counts.get(key, 0) + (row[names.index(key)].strip() not in (plain, ""))
    elif any(re.match(r"\s*%(?!.*\b(LPS|DICOM|RAS|MINC)\b)", line) for line in text.splitlines()):
        yield f"{source.name}: its comments"
    for key, count in counts.items():
        if count:
            yield f"{source.name}: the {PLURALS[key]} of {count} point{'s'[: count > 1]}"


def to_other_transform(source: Path, target: Path) -> tuple[str, ...]:
    matrix, lost = _read_matrix(source)
    ending = target.suffix.lower()
    if ending == ".cal":
        write_calibration(matrix, target)
    elif ending == ".txt":
        target.write_text(
            "".join(" ".join(map(repr, row)) + "\n" for row in matrix.tolist()), encoding="utf-8"
        )
    else:
        write_transform(matrix, target)
    off = float(np.abs((_read_matrix(target)[0] - matrix) @ CORNERS).max())
    if off > TOLERANCE_MM:
        lost.append(f"{target.name}: half a metre away points move by up to {off:.2g} mm")
    return tuple(lost)


def _read_matrix(path: Path) -> tuple[Array, list[str]]:
    """The (4, 4) that moves points; notes, and what the file says beside the matrix."""
    if path.suffix.lower() in (".tfm", ".h5"):
        import SimpleITK as sitk

        matrix, notes = read_transform(path)
        one = sitk.ReadTransform(str(path))
        lost = list(notes)
        if one.GetName() != "AffineTransform":
            lost.append(f"{path.name}: that it is a {one.GetName()}; what it does to points is kept")
        elif any(one.GetFixedParameters()):
            lost.append(f"{path.name}: its centre; what it does to points is kept")
        return matrix, lost
    data = content(path)
    rows = [decimals(line) for line in decoded(data).splitlines() if line.strip()]
    if len(rows) != 4 or any(row is None or len(row) != 4 for row in rows):
        raise FileError(f"{path.name}: expected four lines of four numbers, a 4 x 4 matrix.")
    raw = np.array(rows, dtype=float)
    if path.suffix.lower() == ".cal":
        matrix = read_calibration(path)
        off = float(np.abs((matrix - raw) @ CORNERS).max())
        told = f"{path.name}: its six digits are made an exact rotation: half a metre away {off:.2g} mm"
        return matrix, [told] if off > TOLERANCE_MM else []
    if not np.array_equal(raw[3], [0, 0, 0, 1]):
        raise FileError(f"{path.name} ends in the row {raw[3]}; expected 0 0 0 1. Is it transposed?")
    return raw, []


def to_table(source: Path, target: Path) -> tuple[str, ...]:
    """Tool positions as rows: tool, time in s since 1970, and pr_M_t row by row."""
    streams = read_positions(source)
    names = [f"m{i}{j}" for i in range(3) for j in range(4)]
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["tool", "time_s", *names])
        for name, stream in streams.items():
            for time_s, pose in zip(stream.time_s.tolist(), stream.pose, strict=True):
                table.writerow([name, repr(time_s), *map(repr, pose[:3].ravel().tolist())])
    return ()


def to_probe_data(source: Path, target: Path, configuration: str | None) -> tuple[str, ...]:
    database = read_probe_database(source)
    if configuration is None and len(database) == 1:
        (configuration,) = database
    if configuration not in database:
        near = difflib.get_close_matches(configuration or "", database, 3, 0.3) or list(database)[:3]
        raise FileError(
            f"{source.name} has {len(database)} configurations and none is {configuration!r}; expected one "
            f"such as {', '.join(near)}."
        )
    text, lost = probedata_text(database[configuration]), []
    element, latency_ms = _configuration(source, configuration)
    if latency_ms:
        text = text.replace('temporalCalibration="0"', f'temporalCalibration="{latency_ms}"')
    known = {"ID", "WidthDeg", "Depth", "Offset", "Origin", "CroppingEdges", "PixelSize"}
    other = dict.fromkeys(child.tag for child in element if child.tag not in known)
    if other:
        lost.append(f"{configuration}: its {', '.join(other)}")
    if len(database) > 1:
        lost.append(f"{source.name}: the other {len(database) - 1} configurations")
    target.write_text(text, encoding="utf-8")
    return tuple(lost)


def _configuration(source: Path, key: str) -> tuple[Any, str]:
    """The element of a configuration, and the latency that its source states, ms."""
    for scanner in parsed_xml(source).iter("USScanner"):
        for probe in scanner.iter("USProbe"):
            for stream in probe.iter("RTSource"):
                names = [(e.findtext("Name") or "").strip() for e in (scanner, probe, stream)]
                for config in stream.iter("Config"):
                    if ":".join([*names, (config.findtext("ID") or "").strip()]) == key:
                        latency = decimals(stream.findtext("TemporalCalibration") or "0")
                        return config, f"{latency[0]:g}" if latency and latency[0] else ""
    raise FileError(f"{source.name}: no configuration {key}.")
