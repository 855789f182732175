"""Tag points of MNI (.tag), as text.

Format: VTK, ``vtkMNITagPointReader``. CustusX reads tags by MINC's rule, RAS; samples of its own say DICOM.
"""

import re

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._named_points import TO_LPS, NamedPoints, finite, named

Array = NDArray[np.float64]

TAG_ROW = re.compile(r'([^"%;]*)(?:"((?:[^"\\]|\\.)*)"\s*)?(;?)\s*')


def from_tag(name: str, text: str) -> NamedPoints:
    lines = text.split("\n")
    if lines[0].strip() != "MNI Tag Point File":
        raise FileError(f"{name} line 1: {lines[0][:60]!r}; expected 'MNI Tag Point File'.")
    comments, volumes, begun, ended, extras = "", 0, False, False, False
    rows, labels, notes = [], [], []
    for number, line in enumerate(lines[1:], start=2):
        where, line = f"{name} line {number}", line.strip()
        if line.startswith(("%", "#")):
            comments += f"{line}\n"
        elif line and not begun:
            found = re.fullmatch(r"Volumes\s*=\s*([12])\s*;", line)
            begun = bool(volumes) and re.fullmatch(r"Points\s*=", line) is not None
            if not begun and (volumes or not found):
                raise FileError(f"{where}: {line[:60]!r}; expected 'Volumes = 1;' or 2, then 'Points ='.")
            volumes = int(found[1]) if found else volumes
        elif line:
            row = TAG_ROW.fullmatch(line)
            words = row[1].split() if row else []
            label, n = row[2] if row else None, 3 * volumes
            bare = row is not None and not words and label is None
            cut = number == len(lines) and row is not None and label is None and not row[3]
            if ended or row is None or cut or not (bare or len(words) in (n, n + 3)):
                raise FileError(
                    f"{where}: {line[:60]!r}; expected {n} coordinates, a quoted label, ; after the last. "
                    "Was the file cut short?"
                )
            ended = row[3] == ";"
            extras = extras or len(words) > n
            if not bare:
                rows.append(finite(words, where)[:n])
                labels.append(re.sub(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", _unescaped, label or ""))
    said = {"LPS": r"\b(LPS|DICOM)\b", "RAS": r"\b(RAS|MINC)\b"}
    stated = [system for system, words_ in said.items() if re.search(words_, comments, re.IGNORECASE)]
    if len(stated) > 1:
        raise FileError(f"{name}: its comments name LPS (DICOM) and RAS (MINC); expected one of them.")
    if not stated:
        notes.append(f"{name} states neither LPS nor RAS: RAS, by MINC's rule")
    elif stated == ["LPS"]:
        notes.append(f"{name}: LPS by its comment; programs that go by MINC's rule take it as RAS")
    if not ended:
        notes.append(f"{name} has no ; after the last point: points may be missing")
    if extras:
        notes.append(f"{name}: weights and numbers of structure and patient are left out")
    return named(rows, labels, notes, stated[0] if stated else "RAS")


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "01234567":
        return chr(int(code, 8))
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)).get(code, code)


def to_tag(name: str, rows: Array, labels: tuple[str, ...]) -> str:
    flipped = (rows.reshape(len(rows), -1, 3) * TO_LPS["RAS"]).reshape(rows.shape)
    lines = []
    for row, label in zip(flipped.tolist(), labels, strict=True):
        safe = re.sub(r'["\\]', r"\\\g<0>", label)
        safe = re.sub(r"[\x00-\x1f]", lambda found: f"\\{ord(found[0]):03o}", safe)
        lines.append(f' {" ".join(map(repr, row))} "{safe}"')
    head = f"MNI Tag Point File\nVolumes = {rows.shape[1] // 3};\n% RAS (MINC) in mm\n\nPoints =\n"
    return head + "\n".join(lines) + ";\n"
