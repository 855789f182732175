"""The other files of a recording without what identifies. Without `out`, each is only looked at."""

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from navkit.files import FileError, NamedPoints, read_points, read_positions, write_points
from navkit.files._positions import MAGIC, TOOL_INDEX, TOOL_NAME
from navkit.files._xml import parsed
from navkit.recordings._identity import PERSON, Rules, cleaned, shifted, words_of_name

MILLI = Decimal("0.001")


def scrub_times(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """One number a line, ms: .fts, .tts, .frameTimestamps. Times that are not since 1970 stay as they are."""
    lines = source.read_text(encoding="latin-1").splitlines()
    new = []
    for number, line in enumerate(lines, start=1):
        try:
            new.append(shifted(line.strip(), rules, where, MILLI) if line.strip() else "")
        except InvalidOperation:
            raise FileError(f"{where} line {number}: {line[:20]!r}; expected a time in ms.") from None
    same = [a.strip() == b for a, b in zip(lines, new, strict=True) if b]
    if rules.offset_s and any(same) and not all(same):
        raise FileError(f"{where}: some times are since 1970 and some are not; expected one clock.")
    _put(out, "".join(f"{line}\n" for line in new))


def scrub_numbers(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """Nothing but numbers: .tp, .fp, .cal."""
    text = source.read_text(encoding="latin-1")
    for number, line in enumerate(text.splitlines(), start=1):
        if not re.fullmatch(r"[-+\d.eE\s]*", line):
            raise FileError(f"{where} line {number}: expected numbers only.")
    _put(out, text)


def scrub_lines(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """Free text, a line at a time: .toolmeta."""
    text = _decoded(source.read_bytes())
    _put(out, "".join(cleaned(line, rules, where) + "\n" for line in text.splitlines()))


def scrub_xml(source: Path, out: Path | None, rules: Rules, where: str, moved: Mapping[str, str]) -> None:
    """Any XML: texts and attributes are cleaned, comments left out; unknown elements stay.

    `moved` has the new place of each file that a <filePath> may name.
    """
    data = source.read_bytes()
    root = parsed(source.name, data)
    for text in re.findall(r"<!--(.*?)-->", _decoded(data), re.DOTALL):
        rules.note("comment", where, text.strip() if len(text.strip()) > 8 else "")
    for e in root.iter():
        old_name = e.get("name", "")
        uid = e.get("uid", "")
        for key, value in e.attrib.items():
            person = PERSON.search(key) or (e.tag == "patient" and key.lower() in ("name", "id"))
            e.set(key, _person(value, rules, where) if person else cleaned(value, rules, where))
        if e.tag == "data" and old_name and rules.offset_s is not None:
            e.set("name", e.get("uid", "data"))
            if e.get("name") != old_name:
                rules.note("name of data", where, old_name)
        text = e.text or ""
        if e.tag == "filePath" and text.strip() and rules.offset_s is not None:
            new = moved.get(text.strip()) or _missing(text.strip(), uid, rules)
            rules.note("path", where, text.strip() if re.search(r"^\W|:", text.strip()) else "")
            e.text = new
        elif e.tag == "active_patient" and text.strip() and rules.offset_s is not None:
            e.text = f"{rules.pseudonym}.cx3"
            rules.note("patient", where, text.strip())
        elif PERSON.search(e.tag) and e.tag != "active_patient":
            e.text = _person(text, rules, where) if text.strip() else e.text
        else:
            e.text = cleaned(text, rules, where) if text.strip() else e.text
        e.tail = cleaned(e.tail, rules, where) if (e.tail or "").strip() and e.tail else e.tail
    if out is not None:
        out.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _person(value: str, rules: Rules, where: str) -> str:
    if rules.offset_s is None or not value.strip():
        rules.persons.update(words_of_name(value))
        return value
    rules.note("name", where, value)
    return rules.pseudonym


def _missing(text: str, uid: str, rules: Rules) -> str:
    """The place of a file that is not in the folder: named by its data."""
    suffix = Path(re.split(r"[\\/]", text)[-1]).suffix
    new = rules.tokens.get(uid, "")
    return f"Images/{new}{suffix}" if new and re.fullmatch(r"\.\w{1,5}", suffix) else ""


def scrub_positions(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """CustusX's log of tool positions: times and names of tools."""
    read_positions(source)  # refuses what is not one
    data, at = source.read_bytes(), len(MAGIC)
    pieces = [data[:at]]
    while at < len(data):
        kind = data[at]
        if kind == TOOL_NAME:
            (length,) = struct.unpack_from("<I", data, at + 2)
            name = cleaned(data[at + 6 : at + 6 + length].decode("latin-1"), rules, where).encode("latin-1")
            pieces.append(struct.pack("<BBI", kind, (len(name) + 4) & 255, len(name)) + name)
            at += 6 + length
            continue
        (ms,) = struct.unpack_from("<Q", data, at + 2)
        end = at + 10 + 48 + (kind == TOOL_INDEX)
        new = int(shifted(str(ms), rules, where, MILLI))
        pieces.append(data[at : at + 2] + struct.pack("<Q", new) + data[at + 10 : end])
        at = end
    if out is not None:
        out.write_bytes(b"".join(pieces))


def scrub_points(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """Named points: positions and cleaned names, no comment."""
    points = read_points(source)
    labels = tuple(cleaned(label, rules, where) for label in points.labels)
    if out is not None:
        write_points(NamedPoints(points.points_r, labels, second_r=points.second_r), out)


def scrub_polydata(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """A legacy VTK file: its second line is free text."""
    first, _, rest = source.read_bytes().partition(b"\n")
    title, _, rest = rest.partition(b"\n")
    if not re.fullmatch(rb"# vtk DataFile Version \d\.\d\r?", first) or re.search(rb"\bstring\b", rest):
        raise FileError(f"{where}: expected a legacy VTK file without texts.")
    rules.note("title", where, title.decode("latin-1").strip() if len(title) > 8 else "")
    if out is not None:
        out.write_bytes(first + b"\nmesh\n" + rest)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _put(out: Path | None, text: str) -> None:
    if out is not None:
        out.write_text(text, encoding="utf-8")
