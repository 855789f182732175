"""The document of a patient, ``custusdoc.xml``, as a `Patient`, and a changed `Patient` as its document."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from navkit.files import _patient_xml as xml
from navkit.files._errors import FileError
from navkit.files._patient_history import History, Parent, Registered
from navkit.files._patient_types import Landmark, LandmarkName, Patient, PatientData, Session, same
from navkit.files._patient_xml import Document, content, put_attribute, put_numbers, put_text

ROOT = "patient"
PATHS = {
    "sessions": "managers/stateManager/recordSessions",
    "data": "managers/datamanager",
    "tools": "managers/toolManager",
}
OWN = ("type", "name", "uid")
TEXTS = {"file": "filePath", "acquired": "acqusitionTime", "modality": "modality", "image_type": "imageType"}
"""Children of a data element; the second is spelled so."""


def patient_of(name: str, data: bytes) -> Patient:
    """What a document says; what is absent is empty, as for CustusX."""
    doc = xml.parsed(name, data, ROOT)
    root, notes = doc.root, []
    manager, tools = root.find(PATHS["data"]), root.find(PATHS["tools"])
    if manager is None:
        notes.append("no <datamanager>: no data, no registration")
    found: dict[str, PatientData] = {}
    for e in [] if manager is None else manager.findall("data"):
        uid = e.get("uid", "")
        if not uid:
            raise doc.wrong(e, "a <data> without uid; expected one.")
        if uid in found:
            notes.append(f"{uid!r} stands twice among the data; the first is used")
        else:
            found[uid] = _data(doc, e)
    names = {
        e.get("uid", ""): LandmarkName(e.get("name", ""), _is_on(e.get("active", "")))
        for e in _under(manager, "landmarkprops", "landmarkprop")
    }
    tip = _first(tools, "toolTipOffset")
    offset = None if tip is None else doc.numbers(tip, content(tip), 1, "toolTipOffset")
    center, home = _first(manager, "center"), _home(root, "landmarks")
    return Patient(
        version=content(root.find("version_name")),
        active_patient=content(root.find("active_patient")),
        r_M_pr=_history(doc, _first(_home(root, "registrationHistory"), "registrationHistory")) or History(),
        landmark_names=names,
        landmarks_pr=_landmarks(doc, home),
        data=found,
        center_r=None if center is None else doc.numbers(center, content(center), 3, "center"),
        r_M_ot=doc.pose(_first(manager, "operatingTable"), "operatingTable"),
        manual_tool=doc.pose(_first(tools, "manualTool"), "manualTool"),
        tool_offset_mm=None if offset is None else float(offset[0]),
        tools=tuple(dict(e.attrib) for e in _under(tools, "tools", "tool")),
        sessions=dict(_sessions(doc, root.find(PATHS["sessions"]))),
        document=data,
        notes=tuple(notes),
    )


def _first(parent: ET.Element | None, tag: str) -> ET.Element | None:
    return None if parent is None else parent.find(tag)


def _under(parent: ET.Element | None, group: str, tag: str) -> list[ET.Element]:
    at = _first(parent, group)
    return [] if at is None else at.findall(tag)


def _home(root: ET.Element, tag: str) -> ET.Element | None:
    """Who has the patient's own history or landmarks: the data manager, in versions 3 the tool manager."""
    homes = [root.find(PATHS["data"]), root.find(PATHS["tools"])]
    return next((home for home in homes if home is not None and home.find(tag) is not None), homes[0])


def _is_on(text: str) -> bool:
    return text.strip().lstrip("+-").isdecimal() and int(text) != 0


def _landmarks(doc: Document, owner: ET.Element | None) -> dict[str, Landmark]:
    found = {}
    for e in _under(owner, "landmarks", "landmark"):
        point = doc.numbers(e, content(e.find("coord")), 3, "the landmark's coord")
        if point is None:
            raise doc.wrong(e, "a landmark without coord; expected x y z.")
        found[e.get("uid", "")] = Landmark(point, content(e.find("timestamp")))
    return found


def _history(doc: Document, e: ET.Element | None) -> History | None:
    if e is None:
        return None
    entries = []
    for one in e.findall("registrationTransform"):
        matrix = doc.pose(one, "registrationTransform")
        if matrix is None:
            raise doc.wrong(one, "an empty registrationTransform; expected 16 numbers.")
        told = (one.get(key, "") for key in ("timestamp", "type", "fixed", "moving"))
        entries.append(Registered(matrix, *told))
    parents = [
        Parent(*(one.get(key, "") for key in ("value", "timestamp", "type")))
        for one in e.findall("parentFrame")
    ]
    return History(tuple(entries), tuple(parents), content(e.find("currentTime")))


def _data(doc: Document, e: ET.Element) -> PatientData:
    attributes = {key: value for key, value in e.attrib.items() if key not in OWN}
    if "coord" in attributes:
        doc.numbers(e, attributes["coord"], 3, "coord")
    doc.pose(e, "frame", attributes.get("frame", ""))
    return PatientData(
        type=e.get("type", ""),
        name=e.get("name", ""),
        history=_history(doc, e.find("registrationHistory")),
        landmarks_d=_landmarks(doc, e),
        attributes=attributes,
        **{key: content(e.find(tag)) for key, tag in TEXTS.items()},
    )


def _sessions(doc: Document, group: ET.Element | None) -> Iterator[tuple[str, Session]]:
    for e in [] if group is None else group.findall("recordSession"):
        intervals = []
        for one in e.findall("interval"):
            ends = [doc.numbers(one, one.get(key, ""), 1, key) for key in ("start", "stop")]
            start, stop = (math.nan if end is None else float(end[0]) for end in ends)
            intervals.append((start, stop))
        yield e.get("uid", ""), Session(content(e.find("category")), tuple(intervals))


def document(patient: Patient) -> bytes:
    """``custusdoc.xml`` of a patient: the bytes as read where nothing changed, else only what changed.

    Raises
    ------
    ValueError
        If something cannot stand in the document, such as a text with blanks around it.
    """
    name = "custusdoc.xml"
    if same(patient_of(name, patient.document), patient):
        return patient.document
    doc = xml.parsed(name, patient.document, ROOT)
    _put_patient(doc.root, patient)
    xml.lay_out(doc.root, doc.lines)
    after = xml.serialised(doc.root)
    try:
        told = patient_of(name, after)
    except FileError as reason:
        raise ValueError(f"the patient cannot be written: {reason}") from None
    for f in fields(Patient):
        if f.compare and not same(getattr(told, f.name), getattr(patient, f.name)):
            raise ValueError(
                f"{f.name} would be read back different from what it is; expected texts without blanks "
                "around them, and numbers that are finite."
            )
    return after


def _put_patient(root: ET.Element, patient: Patient) -> None:
    put_text(root, "version_name", patient.version)
    put_text(root, "active_patient", patient.active_patient)
    managers = xml.need_child(root, "managers")
    manager = xml.need_child(managers, "datamanager")
    tools = xml.need_child(managers, "toolManager")
    home = _home(root, "registrationHistory")
    _put_history(manager if home is None else home, patient.r_M_pr)
    _put_names(manager, patient.landmark_names)
    home = _home(root, "landmarks")
    _put_landmarks(manager if home is None else home, patient.landmarks_pr)
    put_numbers(manager, "center", patient.center_r)
    put_numbers(manager, "operatingTable", patient.r_M_ot)
    found = xml.put_all(manager, "data", patient.data, first=True)
    for uid, one in patient.data.items():
        _put_data(found[uid], one)
    put_numbers(tools, "toolTipOffset", patient.tool_offset_mm)
    put_numbers(tools, "manualTool", patient.manual_tool)
    _put_list(tools, "tools", "tool", patient.tools)
    if patient.sessions or root.find(PATHS["sessions"]) is not None:
        group = xml.need_child(xml.need_child(managers, "stateManager"), "recordSessions")
        sessions = xml.put_all(group, "recordSession", patient.sessions)
        for uid, session in patient.sessions.items():
            put_text(sessions[uid], "category", session.category)
            spans = [{"start": _ms(start), "stop": _ms(stop)} for start, stop in session.intervals_ms]
            _put_each(sessions[uid], "interval", spans)


def _ms(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f}" if value.is_integer() else repr(value)


def _put_each(parent: ET.Element, tag: str, wanted: list[dict[str, str]]) -> list[ET.Element]:
    """As many children of that name as wanted, with these attributes; what they have more they keep."""
    children = parent.findall(tag)
    for child in children[len(wanted) :]:
        xml.drop(parent, child)
    after = parent.find("parentFrame") if tag == "registrationTransform" else None
    while len(children) < len(wanted):
        children.append(xml.put_child(parent, tag, before=after))
        for key in wanted[len(children) - 1]:
            children[-1].set(key, "")
    for child, attributes in zip(children, wanted, strict=False):
        for key, value in attributes.items():
            if key in ("start", "stop") and xml.is_written(child.get(key, ""), float(value or "nan")):
                continue
            put_attribute(child, key, value)
    return children[: len(wanted)]


def _put_list(parent: ET.Element, group: str, tag: str, wanted: tuple[Mapping[str, str], ...]) -> None:
    if not wanted and parent.find(group) is None:
        return
    at = xml.need_child(parent, group)
    for child, attributes in zip(_put_each(at, tag, [dict(w) for w in wanted]), wanted, strict=True):
        for key in set(child.attrib) - set(attributes):
            del child.attrib[key]


def _put_names(manager: ET.Element, names: Mapping[str, LandmarkName]) -> None:
    if not names and manager.find("landmarkprops") is None:
        return
    found = xml.put_all(xml.need_child(manager, "landmarkprops"), "landmarkprop", names)
    for uid, one in names.items():
        is_new = found[uid].keys() == ["uid"]
        if is_new or _is_on(found[uid].get("active", "")) != one.active:
            found[uid].set("active", str(int(one.active)))
        put_attribute(found[uid], "name", one.name)


def _put_landmarks(owner: ET.Element, landmarks: Mapping[str, Landmark]) -> None:
    if not landmarks and owner.find("landmarks") is None:
        return
    found = xml.put_all(xml.need_child(owner, "landmarks"), "landmark", landmarks)
    for uid, one in landmarks.items():
        put_numbers(found[uid], "coord", np.ravel(one.point))
        put_text(found[uid], "timestamp", one.timestamp)


def _put_history(owner: ET.Element, history: History | None) -> None:
    e = owner.find("registrationHistory")
    if history is None or (e is None and same(history, History()) and owner.tag != "data"):
        if e is not None:
            xml.drop(owner, e)
        return
    if e is None:
        e = xml.put_child(owner, "registrationHistory", before=owner[0] if len(owner) else None)
        xml.put_child(e, "currentTime")
    put_text(e, "currentTime", history.current_time)
    told: list[dict[str, Any]] = [
        {"timestamp": one.timestamp, "type": one.type}
        | {key: value for key, value in (("fixed", one.fixed), ("moving", one.moving)) if value}
        for one in history.entries
    ]
    for child, one in zip(_put_each(e, "registrationTransform", told), history.entries, strict=True):
        for key in {"fixed", "moving"} & child.attrib.keys():
            put_attribute(child, key, getattr(one, key))
        if not xml.is_written(content(child), one.matrix):
            child.text = xml.numbers_text(one.matrix)
    parents = [{"value": p.value, "timestamp": p.timestamp, "type": p.type} for p in history.parents]
    _put_each(e, "parentFrame", parents)


def _put_data(e: ET.Element, one: PatientData) -> None:
    put_attribute(e, "type", one.type)
    put_attribute(e, "name", one.name)
    for key in set(e.attrib) - set(one.attributes) - set(OWN):
        del e.attrib[key]
    for key, value in one.attributes.items():
        if key in OWN:
            raise ValueError(f"{key!r} is an attribute of the data itself; expected those of a metric.")
        if key not in e.attrib or e.attrib[key] != value:
            e.set(key, value)
    _put_history(e, one.history)
    for key, tag in TEXTS.items():
        put_text(e, tag, getattr(one, key))
    _put_landmarks(e, one.landmarks_d)
