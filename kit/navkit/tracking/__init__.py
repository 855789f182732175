"""What a tracker delivers: streams of poses, and how its field bends them.

A stream holds where a tool (or sensor) was and when: ``pr_M_t`` for a calibrated tool in the patient
reference, ``pr_M_s`` for its sensor. Times are seconds on one clock. A sample that the tracker marked as
unusable stays in the stream with ``valid`` False and is used by nothing. `FieldDistortion` straightens
the positions of an electromagnetic tracker.
"""

from navkit.tracking._dwell import Dwell, find_dwells
from navkit.tracking._field import DegreeChoice, FieldDistortion, choose_degree
from navkit.tracking._stream import PoseStream, moving_average

__all__ = [
    "DegreeChoice",
    "Dwell",
    "FieldDistortion",
    "PoseStream",
    "choose_degree",
    "find_dwells",
    "moving_average",
]
