"""Tools, their calibrations, and the configurations that name them."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np

from navkit.files import read_calibration, read_tool
from navkit.files._text import parsed_xml
from navkit.recordings import _health_geometry as geometry
from navkit.recordings._about import Description, Findings, attempt, described, several


def calibration(path: Path) -> Description:
    """A ``.cal``."""
    found = geometry.check_calibration(read_calibration(path), path.name)
    return described(path, "tool calibration", found)


def calibrations(path: Path) -> Description:
    """A folder of several ``.cal``, taken as calibrations of one tool."""
    files = sorted(path.glob("*.cal"))
    matrices, found = [], Findings((("calibrations", str(len(files))),))
    for file in files:
        m, one = attempt(partial(read_calibration, file))
        found += one
        if m is not None:
            matrices.append(m)
            found += Findings(warnings=geometry.check_calibration(m, file.name).warnings)
    if len(matrices) > 1:
        found += geometry.compare_calibrations(np.array(matrices))
    return described(path, "folder of tool calibrations", found)


def tool(path: Path) -> Description:
    """A tool file with its calibration."""
    it = read_tool(path)
    facts = [
        ("tool", f"{it.type or 'of no type'} {it.id}".strip()),
        (
            "sensor",
            f"{it.tracking_system or 'not stated'}, {it.degrees_of_freedom or '?'} degrees of freedom",
        ),
    ]
    if it.reference_points_s:
        facts.append(("reference points", str(len(it.reference_points_s))))
    looks = [note for note in it.notes if note.startswith(("<geo_file>", "<pic_file>", "<doc_file>"))]
    if looks:
        facts.append(("not there", ", ".join(note.split()[1] for note in looks) + ": only its looks"))
    found = Findings(
        tuple(facts),
        {"reference_points": float(len(it.reference_points_s))},
        tuple(_meant(it.type, note) for note in it.notes if note not in looks and _matters(it.type, note)),
    )
    if it.calibration:
        found += geometry.check_calibration(it.s_M_t, it.calibration_file)
    if it.degrees_of_freedom == "5":
        found += Findings(
            facts=(("roll", "not measured (5 degrees of freedom): no use for a picture"),),
        )
        if it.type == "usprobe":
            found += Findings(
                warnings=(
                    "a sensor of 5 degrees of freedom cannot hold an ultrasound probe: the turn about its "
                    "axis is not measured, and frames fan out at random. Use one of 6.",
                )
            )
    return described(path, "CustusX tool", found)


def tool_configuration(path: Path) -> Description:
    """A profile's list of tools."""
    root = parsed_xml(path)
    files = [(t, (t.text or "").strip()) for t in root.iter("toolfile")]
    references = [name for t, name in files if t.get("reference") == "yes"]
    systems = [t.get("type", "?") for t in root.iter("tracker")]
    transports = [t.get("type", "?") for t in root.iter("trackingsystemimplementation")]
    folders = list(itertools.islice((p / "tool" / "Tools" for p in path.parents), 6))
    folders += [p / "Tools" for p in itertools.islice(path.parents, 6)] + [path.parent]
    lost = [name for _, name in files if not any(_there(folder / name) for folder in folders)]
    facts = (
        ("clinical application", root.get("clinical_app", "not stated")),
        ("trackers", ", ".join(systems) + (f" through {', '.join(transports)}" if transports else "")),
        ("tools", f"{several(len(files), 'tool')}, {len(references)} of them the reference"),
    )
    warnings = []
    if files and not references:
        warnings.append(
            f"{path.name} has no reference tool: what is shown is right only while the patient lies still. "
            'Fix a frame to the patient and mark it reference="yes".'
        )
    if len(references) > 1:
        warnings.append(
            f"{path.name} has {len(references)} reference tools: which one is on the patient is not said. "
            "Keep "
            'reference="yes" for that one.'
        )
    if lost:
        warnings.append(
            f"{path.name}: {several(len(lost), 'tool file')} not found near it ({', '.join(lost[:3])}): "
            "those tools would not appear. Copy the Tools folder too, or mend the names."
        )
    numbers = {
        "tools": float(len(files)),
        "references": float(len(references)),
        "tools_missing": float(len(lost)),
    }
    return described(path, "CustusX tool configuration", Findings(facts, numbers, tuple(warnings)))


def _there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _matters(type_: str, note: str) -> bool:
    """A reference frame needs no calibration: its own space is what others are measured in."""
    return not (type_.lower() == "reference" and note.startswith("no calibration"))


def _meant(type_: str, note: str) -> str:
    """What a reader's note means for navigation."""
    if "rom_file" in note:
        return f"{note}: the tracker cannot find the tool without it. Copy it from the tracker's maker."
    if note.endswith("the identity is used"):
        return f"{note}: the {type_ or 'tool'}'s tip is shown at its sensor. Calibrate it, or copy its .cal."
    return f"{note}. Mend the tool file before navigating with it."
