"""What is said of real recordings is true, row by row; what is broken on purpose is named."""

import json
import time
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from truth_table import TRUTHS, Truth

from navkit.recordings import describe


def rows_of(name: str) -> list[str]:
    """The rows that a file's name fits; a wildcard does not reach over a slash."""
    parts = name.split("/")
    return [
        row
        for row in TRUTHS
        if row.count("/") == name.count("/")
        and all(fnmatchcase(p, r) for p, r in zip(parts, row.split("/"), strict=True))
    ]


def contradictions(path: Path, name: str, truth: Truth) -> list[str]:
    """What a description says that is not so, and what it leaves out."""
    found = describe(path)
    json.dumps(found.as_dict(), allow_nan=False)
    wrong = [] if found.kind == truth.kind else [f"{name} is {found.kind!r}; it is {truth.kind!r}"]
    for key, value in truth.numbers.items():
        right, tolerance = value if isinstance(value, tuple) else (value, 1e-12)
        got = found.numbers.get(key, np.nan)
        if not abs(got - right) <= tolerance:
            wrong.append(f"{name}: {key} is {got!r}; it is {right}")
    left = list(found.warnings)
    for phrase in truth.warnings:
        hits = [w for w in left if phrase in w]
        if len(hits) == 1:
            left.remove(hits[0])
        else:
            wrong.append(f"{name}: {phrase!r} is in {len(hits)} warnings")
    return wrong + [f"{name}: unexpected warning {w!r}" for w in left]


def test_every_real_file_and_folder_is_what_the_table_says(navkit_data):
    everything = [navkit_data, *sorted(navkit_data.rglob("*"))]
    seen, wrong = dict.fromkeys(TRUTHS, 0), []
    for path in everything:
        name = path.relative_to(navkit_data).as_posix()
        rows = rows_of(name)
        if len(rows) != 1:
            wrong.append(f"{name} fits the rows {rows}")
            continue
        seen[rows[0]] += 1
        wrong += contradictions(path, name, TRUTHS[rows[0]])
    assert wrong == []
    assert sum(p.is_file() for p in everything) == 164
    assert {row: n for row, n in seen.items() if n != TRUTHS[row].files} == {}


def test_the_largest_real_folders_are_described_in_two_seconds(navkit_data):
    for name in (
        "custusx/angio_lab_256x192",
        "plus/fcal20/fCal_Test_Calibration_3NWires_fCal2.0.igs.mha",
        "plus",
    ):
        start = time.process_time()
        describe(navkit_data / name)
        assert time.process_time() - start < 2, name
