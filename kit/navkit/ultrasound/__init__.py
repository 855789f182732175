"""The probe's sector, a sweep of frames, and simulated pictures.

Pixels ``p`` have column first, ``(column, row)``, centres at integers, row downwards. The tool's
space ``t`` is CustusX's: the origin at the sector's apex (curved array) or the top centre of the
beam (linear array), ``z`` along the beam, ``y`` to the left in the picture, so the picture is the
plane ``x_t = 0``: pixel (c, r) lies at ``(0, -(c - c0) sx, (r - r0) sy)`` mm.

`simulate_frame` makes one picture of a phantom, `simulate_sweep` one for each pose, and
`simulate_envelope` stops before compression, on the scan lines, where statistics can be checked.
"""

from navkit.ultrasound._bmode import Envelope, scan_lines, simulate_envelope
from navkit.ultrasound._plan import ScanLines
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SimulationSettings
from navkit.ultrasound._simulate import simulate_frame, simulate_sweep
from navkit.ultrasound._sweep import Sweep

__all__ = [
    "Envelope",
    "ProbeSector",
    "ScanLines",
    "SimulationSettings",
    "Sweep",
    "scan_lines",
    "simulate_envelope",
    "simulate_frame",
    "simulate_sweep",
]
