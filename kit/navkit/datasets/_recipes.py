"""How each simulated data set is made: the recipes by name.

A recipe is a function of a random generator only; `progress` hears how far it is. Numbers are rounded as a
tracker's file rounds them, and pictures are whole numbers, so that the result hashes the same anywhere.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from navkit.datasets._calibration import nwires_frames, water_tank_sweep, wire_target_frames
from navkit.datasets._cases import case
from navkit.datasets._patients import PATIENTS
from navkit.datasets._points import head_fiducials, pointer_pivoting
from navkit.datasets._store import Arrays, Progress
from navkit.datasets._sweeps import patient_sweep, wire_cross_sweep
from navkit.ultrasound import Sweep

Recipe = Callable[[np.random.Generator, Progress | None], Sweep | Arrays]

RECIPES: dict[str, Recipe] = {
    "pointer_pivoting": pointer_pivoting,
    "head_fiducials": head_fiducials,
    "wire_cross_sweep": wire_cross_sweep,
    "nwires_sweep": partial(nwires_frames, "2.0"),
    "nwires_12_sweep": partial(nwires_frames, "1.2"),
    "nwires_10_sweep": partial(nwires_frames, "1.0"),
    "water_tank_sweep": water_tank_sweep,
    "wire_target_frames": wire_target_frames,
    **{f"{kind}_case": partial(case, kind) for kind in PATIENTS},
    **{f"{kind}_sweep": partial(patient_sweep, kind) for kind in PATIENTS},
}
