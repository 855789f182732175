"""The probe's sector, a sweep of frames, and simulated pictures.

Pixels ``p`` have column first, ``(column, row)``, centres at integers, row downwards. The tool's
space ``t`` is CustusX's: the origin at the sector's apex (curved array) or the top centre of the
beam (linear array), ``z`` along the beam, ``y`` to the left in the picture, so the picture is the
plane ``x_t = 0``: pixel (c, r) lies at ``(0, -(c - c0) sx, (r - r0) sy)`` mm.

`simulate_frame` makes one picture of a phantom, `simulate_sweep` one for each pose, and
`simulate_envelope` stops before compression, on the scan lines, where statistics can be checked.
`simulate_angio` adds colour flow. `scan` is what a navigation system would record of a moving hand:
tracked with noise, faults, latency and a wrong calibration, with the truth beside it.
"""

from navkit.ultrasound._bmode import Envelope, scan_lines, simulate_envelope
from navkit.ultrasound._flow import (
    FlowEstimate,
    FlowSettings,
    flow_colours,
    flow_velocity,
    simulate_angio,
    simulate_angio_sweep,
    simulate_flow,
    split_angio,
)
from navkit.ultrasound._plan import ScanLines
from navkit.ultrasound._scan import Scan, calibration_error, scan, track_frames
from navkit.ultrasound._sector import ProbeSector, curved_array, linear_array
from navkit.ultrasound._settings import SimulationSettings
from navkit.ultrasound._simulate import simulate_frame, simulate_sweep
from navkit.ultrasound._sweep import Sweep

__all__ = [
    "Envelope",
    "FlowEstimate",
    "FlowSettings",
    "ProbeSector",
    "Scan",
    "ScanLines",
    "SimulationSettings",
    "Sweep",
    "calibration_error",
    "curved_array",
    "flow_colours",
    "flow_velocity",
    "linear_array",
    "scan",
    "scan_lines",
    "simulate_angio",
    "simulate_angio_sweep",
    "simulate_envelope",
    "simulate_flow",
    "simulate_frame",
    "simulate_sweep",
    "split_angio",
    "track_frames",
]
