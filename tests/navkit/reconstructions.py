"""What the tests of the pixel-based reconstruction share."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from, transform_points
from navkit.reconstruction import Grid, Volume, output_grid
from navkit.ultrasound import Sweep

COMPOUNDING = ("mean", "max", "last", "first", "median3")
EVERY = [("pnn", c) for c in COMPOUNDING] + [("splat", c) for c in COMPOUNDING]


def oblique_grid(sweep: Sweep) -> Grid:
    """Unequal sides, turned, and too small for the sweep: pixels leave it on every side."""
    box = output_grid(sweep, spacing_mm=(0.7, 0.6, 0.8))
    middle = transform_points(box.pr_M_d, np.array(box.extent_mm) / 2)
    turn = Rotation.from_matrix(box.pr_M_d[:3, :3]) * Rotation.from_rotvec([0.5, -0.3, 0.4])
    pr_M_d = pose_from(turn, middle) @ pose_from(np.eye(3), [-3.1, -2.9, -1.7])
    return Grid((6, 11, 9), (0.7, 0.6, 0.8), pr_M_d)


def same(a: Volume, b: Volume) -> bool:
    """To the byte."""
    return (
        a.values.tobytes() == b.values.tobytes()
        and a.weight.tobytes() == b.weight.tobytes()
        and a.weight.dtype == b.weight.dtype
        and a.filled.tobytes() == b.filled.tobytes()
    )
