"""What CustusX expects of a patient folder, as sentences on what is wrong.

Written from the facts on CustusX alone; no code of the kit is used, so that reader and writer are judged by
something else than themselves.
"""

import re
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import numpy as np
from cx3_files import SECONDS, acquisition, mesh, metaimage, numbers

FOLDERS = ("Images", "US_Acq", "Logs")
MILLISECONDS = r"\d{8}T\d{9}"
METRICS = {  # attributes by type: how many numbers, 0 for a text
    "pointMetric": {"space": 0, "coord": 3},
    "frameMetric": {"space": 0, "frame": 16},
    "ToolMetric": {"space": 0, "frame": 16, "toolname": 0, "tooloffset": 1},
    "distanceMetric": {"p0": 0, "p1": 0},
    "angleMetric": {"p0": 0, "p1": 0},
    "planeMetric": {"p0": 0, "p1": 0},
    "SphereMetric": {"p0": 0, "radius": 1},
    "DonutMetric": {"p0": 0, "p1": 0, "radius": 1, "thickness": 1, "height": 1},
    "CustomMetric": {"p0": 0, "p1": 0},
    "roiMetric": {},
}
SPACES = {"reference", "patient reference", "sensor", "tool", "tool offset", "voxel", "data"}


def problems(folder: Path) -> list[str]:
    """Everything in a patient folder that CustusX would refuse, lose or misread."""
    folder, found = Path(folder), []
    if folder.suffix != ".cx3":
        found.append(f"the folder {folder.name} does not end in .cx3")
    found += [f"the folder {name} is missing" for name in FOLDERS if not (folder / name).is_dir()]
    document = folder / "custusdoc.xml"
    if not document.is_file():
        return [*found, "custusdoc.xml is missing"]
    try:
        root = ET.parse(document).getroot()
    except ET.ParseError as reason:
        return [*found, f"custusdoc.xml: {reason}"]
    found += _document(folder, root)
    acquisitions = folder / "US_Acq"
    for one in sorted(acquisitions.iterdir()) if acquisitions.is_dir() else []:
        found += [f"US_Acq/{one.name}: {told}" for told in acquisition(one)]
    return found


def _rigid(text: str | None, tolerance: float = 1e-3) -> np.ndarray | None:
    values = numbers(text, 16)
    if values is None:
        return None
    m = values.reshape(4, 4)
    fits = np.allclose(m[:3, :3] @ m[:3, :3].T, np.eye(3), atol=tolerance)
    return m if fits and np.linalg.det(m[:3, :3]) > 0 and np.allclose(m[3], [0, 0, 0, 1]) else None


def _time(text: str | None, *forms: str) -> bool:
    """Empty, or a real date of one of these forms."""
    if not text:
        return True
    if not any(re.fullmatch(form, text) for form in forms):
        return False
    try:
        datetime.strptime(text[:15], "%Y%m%dT%H%M%S")
    except ValueError:
        return False
    return True


def _document(folder: Path, root: ET.Element) -> list[str]:
    if root.tag != "patient":
        return [f"the root is {root.tag}, not patient"]
    needed = (
        "version_name",
        "active_patient",
        "managers/datamanager",
        "managers/toolManager",
        "managers/stateManager/recordSessions",
        "managers/datamanager/landmarkprops",
        "managers/datamanager/center",
    )
    found = [f"<{path}> is missing" for path in needed if root.find(path) is None]
    manager, tools = root.find("managers/datamanager"), root.find("managers/toolManager")
    if manager is None or tools is None:
        return found
    histories = [one for one in (manager, tools) if one.find("registrationHistory") is not None]
    if not histories:
        found.append("the patient has no registrationHistory")
    for one in histories:
        found += [f"rMpr: {told}" for told in _history(one.find("registrationHistory"))[0]]
    if numbers(manager.findtext("center"), 3) is None:
        found.append("center is not three numbers")
    for at, tag in ((manager, "operatingTable"), (tools, "manualTool")):
        if at.find(tag) is not None and _rigid(at.findtext(tag)) is None:
            found.append(f"{tag} is not a rigid 4 x 4 matrix")
    names = [one.get("uid") for one in manager.iterfind("landmarkprops/landmarkprop")]
    found += [f"the landmark name {uid} stands twice" for uid in set(names) if names.count(uid) > 1]
    for one in manager.iterfind("landmarkprops/landmarkprop"):
        if one.get("active") not in ("0", "1"):
            found.append(f"landmark {one.get('uid')}: active is {one.get('active')}, not 0 or 1")
    found += [f"the patient's {told}" for told in _landmarks(manager, names)]
    found += _data(folder, manager, names)
    for one in root.iterfind("managers/stateManager/recordSessions/recordSession"):
        spans = [(numbers(i.get("start"), 1), numbers(i.get("stop"), 1)) for i in one.iterfind("interval")]
        if not one.get("uid") or not spans or any(a is None or b is None or a > b for a, b in spans):
            found.append(f"recordSession {one.get('uid')}: no uid, or an interval that does not run forward")
    return found


def _history(e: ET.Element | None) -> tuple[list[str], np.ndarray]:
    """What is wrong with a history, and the pose that counts."""
    if e is None:
        return ["no registrationHistory"], np.eye(4)
    found, dated = [], []
    now = (e.findtext("currentTime") or "").strip()
    if e.find("currentTime") is None or not _time(now, SECONDS):
        found.append(f"currentTime is {now!r}, no yyyyMMddThhmmss")
    for one in e.iterfind("registrationTransform"):
        stamp, pose = one.get("timestamp", ""), _rigid(one.text)
        if not _time(stamp, SECONDS):
            found.append(f"the registration's timestamp is {stamp!r}, no yyyyMMddThhmmss")
        if pose is None:
            found.append(f"the registration of {stamp!r} is not a rigid 4 x 4 matrix")
        elif not now or stamp <= now:
            dated.append((stamp, pose))
    for one in e.iterfind("parentFrame"):
        if not _time(one.get("timestamp", ""), SECONDS):
            found.append(f"the parentFrame's timestamp is {one.get('timestamp')!r}, no yyyyMMddThhmmss")
    return found, sorted(dated, key=lambda one: one[0])[-1][1] if dated else np.eye(4)


def _landmarks(owner: ET.Element, names: list[str | None]) -> list[str]:
    found = []
    for one in owner.iterfind("landmarks/landmark"):
        if one.get("uid") not in names:
            found.append(f"landmark {one.get('uid')} is none of landmarkprops")
        if numbers(one.findtext("coord"), 3) is None:
            found.append(f"landmark {one.get('uid')} has no coord x y z")
        if not _time(one.findtext("timestamp"), SECONDS):
            found.append(f"landmark {one.get('uid')} has the timestamp {one.findtext('timestamp')!r}")
    return found


def _data(folder: Path, manager: ET.Element, names: list[str | None]) -> list[str]:
    data = manager.findall("data")
    uids = [one.get("uid", "") for one in data]
    found = [f"the uid {uid!r} is not unique" for uid in sorted(set(uids)) if uids.count(uid) > 1]
    found += ["a data has no uid"] if "" in uids else []
    parents = {}
    for one in data:
        told, kind = [], one.get("type", "")
        if kind in METRICS:
            told += _metric(one, uids)
        elif kind not in ("image", "mesh"):
            told.append(f"the type {kind!r} is unknown")
        else:
            wrong, r_M_d = _history(one.find("registrationHistory"))
            told += wrong + _file(folder, one, r_M_d)
            frames = [p.get("value", "") for p in one.iterfind("registrationHistory/parentFrame")]
            parents[one.get("uid", "")] = at = frames[-1] if frames else ""
            if at and at not in uids and not re.fullmatch(r"frame_\d+", at):
                told.append(f"the parent {at} is no data")
        if not _time(one.findtext("acqusitionTime"), SECONDS, MILLISECONDS):
            told.append(f"acqusitionTime is {one.findtext('acqusitionTime')!r}")
        told += _landmarks(one, names)
        found += [f"data {one.get('uid')}: {t}" for t in told]
    for uid in parents:
        line: list[str] = []
        at = uid
        while at in parents and at not in line:
            line.append(at)
            at = parents[at]
        if at in line:
            found.append(f"data {uid}: its parents form a ring")
    return found


def _metric(one: ET.Element, uids: list[str]) -> list[str]:
    found = []
    for key, count in METRICS[one.get("type", "")].items():
        value = one.get(key)
        if value is None:
            found.append(f"the attribute {key} is missing")
        elif count == 16 and _rigid(value) is None:
            found.append(f"{key} is not a rigid 4 x 4 matrix")
        elif count and numbers(value, count) is None:
            found.append(f"{key} is {value!r}, not {count} numbers")
        elif key == "space" and value.split("/")[0] not in SPACES:
            found.append(f"the space {value!r} is unknown")
    for key, value in one.attrib.items():
        if re.fullmatch(r"p\d", key) and value not in uids:
            found.append(f"{key} is {value!r}, which is no data")
    return found


def _file(folder: Path, one: ET.Element, r_M_d: np.ndarray) -> list[str]:
    name = (one.findtext("filePath") or "").strip()
    path = folder / name
    if not name or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return [f"the file {name!r} is not in the folder"]
    if one.get("type") == "mesh":
        return mesh(path)
    found, pose = metaimage(path)
    if pose is not None and not np.allclose(pose, r_M_d, atol=1e-4):
        found.append("the pose in the header is not the one of the document")
    modality = (one.findtext("modality") or "UNKNOWN").strip()
    if f"Modality = {modality}\n" not in path.read_text(encoding="utf-8"):
        found.append(f"the modality in the header is not {modality}")
    return found
