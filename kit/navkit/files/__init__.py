"""Files in and out, and only that: CustusX acquisitions, PLUS sequences and configurations, MetaImage
and what SimpleITK knows.

Every reader refuses what it cannot trust with one sentence: file, line, expected, got. Every writer
writes to a temporary name and moves, so that a failure leaves no half file. Frames of a recording that is
larger than memory stay on disk.
"""

from navkit.files._custusx import Acquisition, read_acquisition, read_tracking, write_acquisition
from navkit.files._errors import FileError
from navkit.files._nrrd import read_nrrd_sequence, write_nrrd_sequence
from navkit.files._plus_config import PlusConfig, read_plus_config
from navkit.files._plus_sweep import plus_sweep
from navkit.files._points import NamedPoints, read_points, write_points
from navkit.files._positions import read_positions
from navkit.files._probe import read_probe_database
from navkit.files._sequences import Sequence, Transform, read_sequence
from navkit.files._tools import Tool, read_calibration, read_tool, write_calibration, write_tool
from navkit.files._transforms import read_transform, write_transform
from navkit.files._volumes import read_volume, write_volume
from navkit.files._write_sequence import sequence_of, write_sequence

__all__ = [
    "Acquisition",
    "FileError",
    "NamedPoints",
    "PlusConfig",
    "Sequence",
    "Tool",
    "Transform",
    "plus_sweep",
    "read_acquisition",
    "read_calibration",
    "read_nrrd_sequence",
    "read_plus_config",
    "read_points",
    "read_positions",
    "read_probe_database",
    "read_sequence",
    "read_tool",
    "read_tracking",
    "read_transform",
    "read_volume",
    "sequence_of",
    "write_acquisition",
    "write_calibration",
    "write_nrrd_sequence",
    "write_points",
    "write_sequence",
    "write_tool",
    "write_transform",
    "write_volume",
]
