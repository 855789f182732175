"""Files in and out, and only that: CustusX acquisitions, patients and tools, PLUS sequences and
configurations, Slicer's landmarks and transforms, volumes and DICOM.

Every reader refuses what it cannot trust with one sentence: file, line, expected, got. Every writer
writes to a temporary name and moves, so that a failure leaves no half file. Frames of a recording that is
larger than memory stay on disk.
"""

from navkit.files._calibration import read_calibration, write_calibration
from navkit.files._custusx import Acquisition, read_acquisition, read_tracking, write_acquisition
from navkit.files._dicom import read_dicom
from navkit.files._errors import FileError
from navkit.files._patient import (
    History,
    Landmark,
    LandmarkName,
    Mesh,
    Parent,
    Patient,
    PatientData,
    Registered,
    Session,
    patient_acquisitions,
    patient_mesh,
    patient_volume,
    read_mesh,
    read_patient,
    with_registrations,
    write_mesh,
    write_patient,
)
from navkit.files._plus_config import PlusConfig, read_plus_config
from navkit.files._plus_sweep import plus_sweep
from navkit.files._points import NamedPoints, read_points, write_points
from navkit.files._positions import read_positions
from navkit.files._probe import (
    ProbeData,
    ProbeSource,
    read_probe_database,
    read_probe_sources,
    read_probedata,
    write_probedata,
)
from navkit.files._sequences import Sequence, Transform, read_sequence
from navkit.files._tools import Tool, read_tool, write_tool
from navkit.files._transforms import read_transform, write_transform
from navkit.files._volumes import read_volume, write_volume
from navkit.files._write_sequence import sequence_of, write_sequence

__all__ = [
    "Acquisition",
    "FileError",
    "History",
    "Landmark",
    "LandmarkName",
    "Mesh",
    "NamedPoints",
    "Parent",
    "Patient",
    "PatientData",
    "PlusConfig",
    "ProbeData",
    "ProbeSource",
    "Registered",
    "Sequence",
    "Session",
    "Tool",
    "Transform",
    "patient_acquisitions",
    "patient_mesh",
    "patient_volume",
    "plus_sweep",
    "read_acquisition",
    "read_calibration",
    "read_dicom",
    "read_mesh",
    "read_patient",
    "read_plus_config",
    "read_points",
    "read_positions",
    "read_probe_database",
    "read_probe_sources",
    "read_probedata",
    "read_sequence",
    "read_tool",
    "read_tracking",
    "read_transform",
    "read_volume",
    "sequence_of",
    "with_registrations",
    "write_acquisition",
    "write_calibration",
    "write_mesh",
    "write_patient",
    "write_points",
    "write_probedata",
    "write_sequence",
    "write_tool",
    "write_transform",
    "write_volume",
]
