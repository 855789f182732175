"""What kind of file it is, by its first bytes and, for text of no form of its own, by its name."""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from navkit.recordings import _about_custusx as custusx
from navkit.recordings import _about_meshes as meshes
from navkit.recordings import _about_others as others
from navkit.recordings import _about_plus as plus
from navkit.recordings import _about_points as points
from navkit.recordings import _about_tools as tools
from navkit.recordings import _about_volumes as volumes
from navkit.recordings._about import Description

OF_ACQUISITION = (".fts", ".tts", ".tp", ".fp", ".toolmeta", ".frameTimestamps")
PICTURES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\0": ".tif", b"MM\0*": ".tif"}


@dataclass(frozen=True)
class Family:
    """A kind of file: its name and plural, what describes it, and the endings that programs know it by."""

    name: str
    plural: str
    about: Callable[[Path], Description]
    endings: tuple[str, ...] = ()


def recognise(path: Path) -> Family:
    """The family of a file, by its first bytes and, for text of no form of its own, by its name."""
    with path.open("rb") as file:
        head = file.read(others.HEAD)
    low = path.name.lower()
    if not head:
        return Family("empty file", "empty files", others.empty)
    base = path.name.removesuffix(path.suffix)
    stem = re.sub(r"_\d+$", "", base)
    if path.suffix == ".mhd" and any((path.parent / f"{b}.fts").is_file() for b in (base, stem)):
        return Family("CustusX acquisition", "CustusX acquisition files", custusx.acquisition)
    if path.name.endswith(OF_ACQUISITION):
        return Family("CustusX acquisition", "CustusX acquisition files", custusx.acquisition)
    if low.endswith((".raw", ".zraw")) and (header := others.header_of(path)):
        return Family(f"pixels of {header.name}", "pixel files", lambda p: others.pixels(p, header))
    return _binary(path, head) or _xml(head) or _text(path, head) or _unknown(path, head)


def _binary(path: Path, head: bytes) -> Family | None:
    low = path.name.lower()
    for magic, ending in PICTURES.items():
        if head.startswith(magic):
            return Family("picture", "pictures", volumes.image, (ending, ".jpeg", ".tiff"))
    if head[128:132] == b"DICM":
        return Family("DICOM file", "DICOM files", volumes.dicom_file)
    if head.startswith(b"SNWPOS"):
        return Family("tool position log", "tool position logs", custusx.positions)
    if head.startswith(b"\x89HDF"):
        if b"TransformGroup" not in head:
            return Family("HDF5 file", "HDF5 files", others.named("HDF5 file, no ITK transform"))
        return Family("ITK transform", "ITK transforms", points.transform, (".h5",))
    if head.startswith(b"PK") and (low.endswith(".npz") or b".npy" in head):
        return Family("set of arrays", "sets of arrays", meshes.arrays)
    if head.startswith(b"NRRD000"):
        if re.search(rb"Seq_Frame\d", head, re.IGNORECASE):
            return Family("PLUS sequence", "PLUS sequences", plus.sequence, (".nrrd",))
        return Family("volume", "volumes", volumes.image, (".nrrd", ".nhdr"))
    start = zlib.decompressobj(wbits=47)
    try:
        plain = start.decompress(head, 400) if head.startswith(b"\x1f\x8b") else head
    except zlib.error:
        plain = b""
    if plain[344:348] in (b"n+1\0", b"ni1\0"):
        return Family("volume", "volumes", volumes.image, (".nii.gz",) if plain is not head else (".nii",))
    if low.endswith(".nii.gz"):
        return Family("volume", "volumes", volumes.image)
    if re.search(rb"^\s*ElementDataFile\s*=|^\s*(ObjectType|NDims)\s*=", head, re.MULTILINE):
        one_volume = re.search(rb"^Kinds\s*=\s*domain\s+domain\s+domain\s*$", head, re.MULTILINE)
        endings = (".mha", ".mhd")
        if re.search(rb"^Seq_Frame\d", head, re.MULTILINE | re.IGNORECASE) and not one_volume:
            return Family("PLUS sequence", "PLUS sequences", plus.sequence, endings)
        return Family("volume", "volumes", volumes.image, endings)
    if head.startswith(b"# vtk DataFile") and re.search(rb"^DATASET\s+STRUCTURED_POINTS", head, re.MULTILINE):
        return Family("volume", "volumes", volumes.image, (".vtk",))
    if head.startswith(b"# vtk DataFile"):
        return Family("mesh", "meshes", meshes.mesh, (".vtk",))
    triangles = int.from_bytes(head[80:84], "little")
    if low.endswith(".stl") or path.stat().st_size == 84 + 50 * triangles > 84:
        return Family("mesh", "meshes", meshes.mesh, (".stl",))
    return None


def _xml(head: bytes) -> Family | None:
    """By the outermost element."""
    root = others.xml_root(head)
    if not root:
        return None
    marks = {
        "root": rb"<USScanner|clipRect_p|<configuration type",
        "configuration": rb"clinical_app|<toolfile",
        "VTKFile": rb"PolyData",
    }
    if root in marks and not re.search(marks[root], head):
        return Family(f"XML of <{root}>", "other XML files", others.plain_text)
    if root == "root":
        if b"<USScanner" in head:
            return Family("CustusX probe database", "CustusX probe databases", custusx.probe_database)
        return Family("CustusX probe data", "CustusX probe data files", custusx.probe_data)
    known = {
        "tool": ("CustusX tool", tools.tool),
        "configuration": ("CustusX tool configuration", tools.tool_configuration),
        "patient": ("CustusX patient document", custusx.patient),
        "PlusConfiguration": ("PLUS configuration", plus.configuration),
        "ProbeCalibrationResult": ("PLUS probe calibration result", plus.results),
        "LineSegmentationResults": ("PLUS line segmentation result", plus.results),
        "TemporalCalibrationResults": ("PLUS temporal calibration result", plus.results),
    }
    if root in known:
        return Family(known[root][0], f"{known[root][0]}s", known[root][1])
    if root == "VTKFile":
        return Family("mesh", "meshes", meshes.mesh, (".vtp",))
    return Family(f"XML of <{root}>", "other XML files", others.plain_text)


def _text(path: Path, head: bytes) -> Family | None:
    low = path.name.lower()
    if b"\0" in head:
        return None
    if head.startswith(b"#Insight Transform"):
        return Family("ITK transform", "ITK transforms", points.transform, (".tfm",))
    if head.startswith(b"MNI Tag Point File"):
        return Family("MNI tag file", "MNI tag files", points.named_points, (".tag",))
    if head.lstrip().startswith(b"{") and (b'"markups"' in head or low.endswith(".mrk.json")):
        return Family("Slicer markups file", "Slicer markups files", points.named_points, (".json",))
    if head.startswith(b"# Markups fiducial file"):
        return Family("Slicer FCSV file", "Slicer FCSV files", points.named_points, (".fcsv",))
    if low.endswith(".cal"):
        return Family("tool calibration", "tool calibrations", tools.calibration)
    if low.endswith((".tag", ".fcsv", ".mrk.json")):
        return Family("file of named points", "files of named points", points.named_points)
    if points.ELASTIX.search(head.decode("latin-1")):
        return Family("elastix parameter file", "elastix parameter files", points.elastix)
    first = head.split(b"\n", 1)[0] if b"\n" in head else head
    values = points.table(first.decode("latin-1"))
    if values is not None and values.size:
        return Family("file of numbers", "files of numbers", points.numbers_in_text)
    return None


def _unknown(path: Path, head: bytes) -> Family:
    if b"\0" not in head:
        return Family("text file", "text files", others.plain_text)
    return Family("unknown binary file", "unknown binary files", others.plain_binary)
