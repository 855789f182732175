"""Files in and out, and only that: CustusX acquisitions, PLUS sequences and configurations, MetaImage
and what SimpleITK knows.

Every reader refuses what it cannot trust with one sentence: file, line, expected, got. Every writer
writes to a temporary name and moves, so that a failure leaves no half file. Frames of a recording that is
larger than memory stay on disk.
"""

from navkit.files._custusx import Acquisition, read_acquisition, read_tracking, write_acquisition
from navkit.files._errors import FileError
from navkit.files._plus_config import PlusConfig, read_plus_config
from navkit.files._plus_sweep import plus_sweep
from navkit.files._probe import read_probe_database
from navkit.files._sequences import Sequence, Transform, read_sequence
from navkit.files._volumes import read_volume, write_volume

__all__ = [
    "Acquisition",
    "FileError",
    "PlusConfig",
    "Sequence",
    "Transform",
    "plus_sweep",
    "read_acquisition",
    "read_plus_config",
    "read_probe_database",
    "read_sequence",
    "read_tracking",
    "read_volume",
    "write_acquisition",
    "write_volume",
]
