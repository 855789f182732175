"""Calibration: what a tracker's sensor must be told about the tool it sits on.

`calibrate_pivot` finds the tip of a pointer, `calibrate_spin` the axis of its shaft, `solve_hand_eye` the
fixed transform between two things that move together. Where the picture of an ultrasound probe is:
`calibrate_probe_nwires` from a phantom of wires (`detect_wires` finds their dots), or
`calibrate_probe_point`, `calibrate_probe_stylus` and `calibrate_probe_wall`. `estimate_delay` and
`estimate_video_delay` find how late one clock is. Each result says when not to trust it.
"""

from navkit.calibration._bottom import BottomLine, detect_bottom
from navkit.calibration._delay import DelayResult, estimate_delay, estimate_video_delay, principal_motion
from navkit.calibration._hand_eye import HandEyeResult, solve_hand_eye
from navkit.calibration._nwires import calibrate_probe_nwires, middle_points
from navkit.calibration._pivot import PivotResult, calibrate_pivot
from navkit.calibration._probe_fit import ProbeResult, best_95
from navkit.calibration._probe_report import ProbeValidation, probe_reproducibility, validate_probe
from navkit.calibration._spin import SpinResult, calibrate_spin
from navkit.calibration._targets import (
    calibrate_probe_point,
    calibrate_probe_stylus,
    calibrate_probe_wall,
)
from navkit.calibration._water import corrected_pixels, sound_speed_water
from navkit.calibration._wires import detect_wires

__all__ = [
    "BottomLine",
    "DelayResult",
    "HandEyeResult",
    "PivotResult",
    "ProbeResult",
    "ProbeValidation",
    "SpinResult",
    "best_95",
    "calibrate_pivot",
    "calibrate_probe_nwires",
    "calibrate_probe_point",
    "calibrate_probe_stylus",
    "calibrate_probe_wall",
    "calibrate_spin",
    "corrected_pixels",
    "detect_bottom",
    "detect_wires",
    "estimate_delay",
    "estimate_video_delay",
    "middle_points",
    "principal_motion",
    "probe_reproducibility",
    "solve_hand_eye",
    "sound_speed_water",
    "validate_probe",
]
