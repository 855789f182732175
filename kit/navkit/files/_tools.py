"""CustusX's tools: the XML of a tool, with the calibration beside it.

A tool file is edited where it stands: what we do not know, comments and layout come back byte for byte.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.files._calibration import (
    calibration_text,
    exactly,
    parsed_calibration,
    read_calibration,
    small_file,
    write_calibration,
)
from navkit.files._errors import FileError, written_whole
from navkit.files._xml import Element
from navkit.files._xml import elements as xml_elements

__all__ = ["FIELDS", "Tool", "read_calibration", "read_tool", "write_calibration", "write_tool"]

Array = NDArray[np.float64]

TOOL_TYPES = ("reference", "pointer", "usprobe")
TRACKING_SYSTEMS = ("polaris", "polaris spectra", "polaris vicra", "polaris classic", "aurora", "micron")
BLOCKS = ("instrument", "sensor", "calibration")
NEW_TOOL = b'<?xml version="1.0"?>\n<tool>\n' + b"".join(
    b"  <%s>\n  </%s>\n" % (block.encode(), block.encode()) for block in BLOCKS
)


@dataclass(frozen=True)
class Tool:
    """What a CustusX tool file holds. Texts are as in the file, without the blanks around them.

    A new tool needs no more than its fields; a changed one is ``dataclasses.replace(tool, name=...)``.

    Parameters
    ----------
    type : "reference", "pointer" or "usprobe"
    instrument_id, scanner_id : select the probe in ``ProbeCalibConfigs.xml``
    tracking_system : the sensor's type, such as "polaris" or "Aurora"
    reference_points_s : id -> (3,) mm, in the sensor's space
    s_M_t : (4, 4), mm; the identity where the calibration is missing, as in CustusX
    notes : what was missing or looks wrong
    xml, calibration : the two files as read, so that writing changes only what changed

    Examples
    --------
    >>> Tool(type="pointer", name="NDI pointer").s_M_t[:3, 3]
    array([0., 0., 0.])
    """

    type: str = ""
    id: str = ""
    name: str = ""
    description: str = ""
    manufacturer: str = ""
    clinical_app: str = ""
    geometry_file: str = ""
    picture_file: str = ""
    document_file: str = ""
    openigtlink_transform_id: str = ""
    openigtlink_image_id: str = ""
    instrument_type: str = ""
    instrument_id: str = ""
    instrument_name: str = ""
    scanner_id: str = ""
    tracking_system: str = ""
    sensor_id: str = ""
    sensor_name: str = ""
    wireless: str = ""
    degrees_of_freedom: str = ""
    port: str = ""
    channel: str = ""
    rom_file: str = ""
    calibration_file: str = ""
    reference_points_s: dict[str, Array] = field(default_factory=dict)
    s_M_t: Array = field(default_factory=lambda: np.eye(4))
    notes: tuple[str, ...] = ()
    xml: bytes = field(default=NEW_TOOL + b"</tool>\n", repr=False)
    calibration: bytes = field(default=b"", repr=False)


_OTHER_NAMES = {
    "geometry_file": "geo_file",
    "picture_file": "pic_file",
    "document_file": "doc_file",
    "openigtlink_transform_id": "openigtlinktransformid",
    "openigtlink_image_id": "openigtlinkimageid",
    "instrument_type": "instrument/type",
    "instrument_id": "instrument/id",
    "instrument_name": "instrument/name",
    "scanner_id": "instrument/scannerid",
    "tracking_system": "sensor/type",
    "sensor_id": "sensor/id",
    "sensor_name": "sensor/name",
    "wireless": "sensor/wireless",
    "degrees_of_freedom": "sensor/DOF",
    "port": "sensor/portnumber",
    "channel": "sensor/channelnumber",
    "rom_file": "sensor/rom_file",
    "calibration_file": "calibration/cal_file",
}
FIELDS = {
    f.name: _OTHER_NAMES.get(f.name, f.name)
    for f in fields(Tool)
    if f.default == "" and isinstance(f.default, str)
}


def _elements(name: str, data: bytes) -> list[Element]:
    """The elements of a tool file down to the children of its blocks, in order."""
    found = xml_elements(name, data, "tool", depth=2)
    for block in BLOCKS:
        times = [e.where for e in found].count(block)
        if times != 1:
            raise FileError(f"{name}: {times} <{block}> in <tool>; expected {', '.join(BLOCKS)}, one each.")
    return found


def _firsts(elements: list[Element]) -> dict[str, Element]:
    """CustusX takes the first where an element stands twice."""
    return {e.where: e for e in reversed(elements)}


def _points(name: str, elements: list[Element]) -> dict[str, Array]:
    points: dict[str, Array] = {}
    for e in elements:
        if e.where == "sensor/reference_point":
            key, xyz = e.attributes.get("id", ""), exactly(e.text, 3)
            if xyz is None:
                got = e.text[:60]
                raise FileError(f"{name} line {e.line}: reference point {got!r}; expected x y z in mm.")
            if key in points:
                raise FileError(f"{name} line {e.line}: a second reference point {key!r}; expected one each.")
            points[key] = np.array(xyz)
    return points


def read_tool(path: str | Path) -> Tool:
    """Read a CustusX tool file and the calibration beside it.

    Files it names but that are not there, and values that CustusX does not know, are in ``notes``.

    Raises
    ------
    FileError
        Not well-formed, no ``<tool>`` with instrument, sensor and calibration, a wrong reference point
        or a wrong ``.cal``; the sentence names file and line.
    """
    path = Path(path)
    data = small_file(path)
    elements = _elements(path.name, data)
    first = _firsts(elements)
    values: dict[str, Any] = {f: first[w].text if w in first else "" for f, w in FIELDS.items()}
    where = [e.where for e in elements if e.where in FIELDS.values()]
    notes = [f"<{w}> stands {where.count(w)} times; the first is used" for w in sorted(set(where))
             if where.count(w) > 1]  # fmt: skip
    for key, known in (("type", TOOL_TYPES), ("tracking_system", TRACKING_SYSTEMS)):
        if values[key].lower() not in known:
            notes.append(f"<{FIELDS[key]}> is {values[key]!r}; CustusX knows {', '.join(known)}")
    if not values["clinical_app"]:
        notes.append("<clinical_app> is empty; CustusX does not recognise the tool")
    for key in ("geometry_file", "picture_file", "document_file", "rom_file"):
        if values[key] and not _is_file(path.parent / values[key]):
            notes.append(f"<{FIELDS[key]}> {values[key]} is missing")
    calibration, s_M_t = b"", np.eye(4)
    named = values["calibration_file"]
    if named and _is_file(path.parent / named):
        calibration = small_file(path.parent / named)
        s_M_t = parsed_calibration(named, calibration)
        length = float(np.linalg.norm(s_M_t[:3, 3]))
        if 0 < length < 1 or length > 1000:
            notes.append(f"{named}: the translation is {length:.3g} mm long; is the file in another unit?")
    else:
        notes.append(
            f"{named or 'no calibration'} {'is missing' if named else 'named'}; the identity is used"
        )
    points = _points(path.name, elements)
    return Tool(**values, reference_points_s=points, s_M_t=s_M_t, notes=tuple(notes), xml=data,
                calibration=calibration)  # fmt: skip


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def write_tool(tool: Tool, path: str | Path) -> None:
    """Write a tool file, and its calibration beside it if it has one.

    Only the fields that differ from ``tool.xml`` are changed; a new element goes to the end of its
    block. The ``.cal`` keeps its bytes if ``s_M_t`` is what they say.

    Raises
    ------
    ValueError
        If a text cannot stand in XML, a point is not three numbers, or a calibration has no plain name.
    """
    path = Path(path)
    new_xml = _edited(tool, path.name)
    new_calibration = tool.calibration
    same = parsed_calibration("calibration", new_calibration) if new_calibration else np.eye(4)
    named = tool.calibration_file
    older = not new_calibration and named != "" and _is_file(path.parent / named)  # it would be read instead
    if older or not np.array_equal(same, tool.s_M_t):
        new_calibration = calibration_text(tool.s_M_t)
    if new_calibration and (not named or set(named) & set("/\\:") or named in ("..", ".", path.name)):
        raise ValueError(f"calibration_file is {named!r}; expected a plain file name beside {path.name}.")
    with written_whole(path) as temporary:
        (temporary / path.name).write_bytes(new_xml)
        if new_calibration:
            (temporary / named).write_bytes(new_calibration)


def _edited(tool: Tool, name: str) -> bytes:
    """The XML of a tool with the fields that differ changed where they stand, read back to be sure."""
    elements = _elements(name, tool.xml)
    first, old_points = _firsts(elements), _points(name, elements)
    edits: list[tuple[int, int, str]] = []
    added: dict[str, list[str]] = {}

    def fill(e: Element, text: str) -> None:
        if e.outer == e.end:  # <name/>
            edits.append((e.inner - 2, e.end, f">{text}</{e.where.rpartition('/')[2] or 'tool'}>"))
        else:
            edits.append((e.inner, e.outer, text))

    for key, where in FIELDS.items():
        new, e = getattr(tool, key), first.get(where)
        block, _, tag = where.rpartition("/")
        if e and new != e.text:
            fill(e, escape(new))
        elif not e and new:
            added.setdefault(block, []).append(f"<{tag}>{escape(new)}</{tag}>")
    new_points = {key: _point_text(key, xyz) for key, xyz in tool.reference_points_s.items()}
    for e in elements:
        if e.where == "sensor/reference_point":
            key = e.attributes.get("id", "")
            if key not in new_points:
                edits.append((e.start, e.end, ""))
            elif not np.array_equal(old_points[key], tool.reference_points_s[key]):
                fill(e, new_points[key])
    for key in new_points.keys() - old_points.keys():
        text = f"<reference_point id={quoteattr(key)}>{new_points[key]}</reference_point>"
        added.setdefault("sensor", []).append(text)
    for block, texts in added.items():
        e, before = first[block], tool.xml[: first[block].start]
        pad = before[len(before.rstrip(b" \t")) :].decode()
        text = "".join(f"  {text}\n{pad}" for text in sorted(texts))
        if e.outer == e.end:
            fill(e, f"\n{pad}{text}")
        else:
            edits.append((e.outer, e.outer, text))
    out = tool.xml
    for start, end, text in sorted(edits, reverse=True):
        out = out[:start] + text.encode("ascii", "xmlcharrefreplace") + out[end:]
    _check_edit(tool, name, out)
    return out


def _point_text(key: str, xyz: ArrayLike) -> str:
    text = " ".join(map(repr, np.ravel(np.asarray(xyz, dtype=float)).tolist()))
    if exactly(text, 3) is None:
        raise ValueError(f"reference point {key!r} is {text}; expected three finite numbers, mm.")
    return text


def _check_edit(tool: Tool, name: str, xml: bytes) -> None:
    try:
        elements = _elements(name, xml)
    except FileError as reason:
        raise ValueError(f"{name}: a text of the tool cannot stand in XML: {reason}") from None
    first = _firsts(elements)
    for key, where in FIELDS.items():
        new, got = getattr(tool, key), first[where].text if where in first else ""
        if new != got:
            raise ValueError(f"{key} is {new!r} but would be read as {got!r}; expected no blanks around it.")
    points = _points(name, elements)
    if points.keys() != tool.reference_points_s.keys():
        raise ValueError(f"reference points {sorted(tool.reference_points_s)} would be {sorted(points)}.")
