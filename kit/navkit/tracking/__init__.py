"""What a tracker delivers: poses of markers, streams of poses, and how its field bends them.

A stream holds where a tool (or sensor) was and when: ``pr_M_t`` for a calibrated tool in the patient
reference, ``pr_M_s`` for its sensor. Times are seconds on one clock. A sample that the tracker marked as
unusable stays in the stream with ``valid`` False and is used by nothing. `FieldDistortion` straightens
the positions of an electromagnetic tracker, `OrientationDistortion` its angles. `simulate_optical` and
`simulate_electromagnetic` make streams whose truth is known, and the faults spoil them as life does.
`one_euro`, `constant_velocity_kalman` and `custusx_live_filter` smooth live, `moving_average` afterwards.
"""

from navkit.tracking._clock import ClockFit, estimate_clock, filter_timestamps
from navkit.tracking._dwell import Dwell, find_dwells
from navkit.tracking._faults import (
    add_jitter,
    add_latency,
    bend_tip,
    drop_out,
    loosen_marker,
    repeat_samples,
    swap_transform,
)
from navkit.tracking._field import DegreeChoice, FieldDistortion, OrientationDistortion, choose_degree
from navkit.tracking._filters import (
    KalmanTrack,
    constant_velocity_kalman,
    custusx_live_filter,
    filter_lag_s,
    one_euro,
)
from navkit.tracking._markers import MarkerGeometry, locate_rigid_body, marker_geometry
from navkit.tracking._simulate import (
    EmSettings,
    OpticalSettings,
    em_distortion,
    simulate_electromagnetic,
    simulate_optical,
)
from navkit.tracking._stream import (
    PoseStream,
    gaps,
    moving_average,
    repeated,
    resample,
    without_repeats,
)
from navkit.tracking._trajectories import (
    Hand,
    back_and_forth,
    fan_sweep,
    linear_sweep,
    rotation_sweep,
    tilt_sweep,
)

__all__ = [
    "ClockFit",
    "DegreeChoice",
    "Dwell",
    "EmSettings",
    "FieldDistortion",
    "Hand",
    "KalmanTrack",
    "MarkerGeometry",
    "OpticalSettings",
    "OrientationDistortion",
    "PoseStream",
    "add_jitter",
    "add_latency",
    "back_and_forth",
    "bend_tip",
    "choose_degree",
    "constant_velocity_kalman",
    "custusx_live_filter",
    "drop_out",
    "em_distortion",
    "estimate_clock",
    "fan_sweep",
    "filter_lag_s",
    "filter_timestamps",
    "find_dwells",
    "gaps",
    "linear_sweep",
    "locate_rigid_body",
    "loosen_marker",
    "marker_geometry",
    "moving_average",
    "one_euro",
    "repeat_samples",
    "repeated",
    "resample",
    "rotation_sweep",
    "simulate_electromagnetic",
    "simulate_optical",
    "swap_transform",
    "tilt_sweep",
    "without_repeats",
]
