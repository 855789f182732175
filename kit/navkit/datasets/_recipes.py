"""How each simulated data set is made. A recipe is a function of a random generator only.

Numbers are rounded as a tracker's file rounds them, so that the result hashes the same anywhere.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import orthonormalised, pose_from, transform_points
from navkit.phantoms import wire_cross
from navkit.ultrasound import ProbeSector, Sweep, simulate_sweep

Arrays = dict[str, NDArray[Any]]


def pointer_pivoting(rng: np.random.Generator) -> Arrays:
    """A pointer swivelled in a dimple: 120 sensor poses ``pr_M_s`` and the truth.

    Optical noise: 0.1, 0.1, 0.25 mm (z along the camera) and 0.1 degrees about each axis.
    """
    n = 120
    tip_s = np.array([-18.4, 1.7, -157.2]) + rng.normal(scale=[2.0, 1.0, 4.0])
    pivot_pr = np.array([62.0, -31.0, 114.0]) + rng.normal(scale=5.0, size=3)
    cone, roll = np.radians(28.0), np.radians(40.0)
    around = np.linspace(0, 5 * 2 * np.pi, n)
    tilt = cone * np.sqrt(rng.uniform(0.05, 1.0, size=n))
    base = Rotation.from_euler("xyz", [15, -35, 50], degrees=True)
    swing = Rotation.from_rotvec(np.stack([tilt * np.cos(around), tilt * np.sin(around), 0 * tilt], axis=1))
    twist = Rotation.from_rotvec(np.outer(rng.uniform(-roll, roll, size=n), [0, 0, 1]))
    rotation = base * swing * twist
    true = pose_from(rotation, pivot_pr - rotation.apply(tip_s))
    noisy = Rotation.from_rotvec(np.radians(rng.normal(scale=0.1, size=(n, 3)))) * rotation
    position = true[:, :3, 3] + rng.normal(scale=[0.1, 0.1, 0.25], size=(n, 3))
    return {
        "time_s": np.round(np.arange(n) / 20.0, 6),
        "pr_M_s": np.round(pose_from(noisy, position), 6),
        "pr_M_s_true": np.round(true, 6),
        "tip_s": np.round(tip_s, 6),
        "pivot_pr": np.round(pivot_pr, 6),
    }


def head_fiducials(rng: np.random.Generator) -> Arrays:
    """Six skin fiducials on a head and four targets inside, in image space and touched in the room.

    ``fiducials_r`` and ``targets_r`` are the image's; ``fiducials_pr`` were touched with an error of
    0.7 mm RMS; ``targets_pr_true`` and ``r_M_pr_true`` are the truth. Sizes are chosen, not measured.
    """
    fiducials_r = np.array(
        [
            [-62.0, -78.0, 18.0],
            [58.0, -82.0, 25.0],
            [3.0, -104.0, -22.0],
            [-74.0, -20.0, 48.0],
            [71.0, -31.0, 52.0],
            [-8.0, -66.0, 83.0],
        ]
    ) + rng.normal(scale=4.0, size=(6, 3))
    targets_r = np.array([[12.0, -60.0, 30.0], [-25.0, -5.0, 20.0], [30.0, 35.0, -5.0], [4.0, 62.0, 38.0]])
    rotation = Rotation.from_rotvec(rng.normal(scale=0.6, size=3))
    pr_M_r = pose_from(rotation, rng.normal(scale=80.0, size=3))
    fle = rng.normal(scale=0.7 / np.sqrt(3), size=(6, 3))
    r_M_pr = np.linalg.inv(pr_M_r)
    return {
        "fiducials_r": np.round(fiducials_r, 4),
        "fiducials_pr": np.round(transform_points(pr_M_r, fiducials_r) + fle, 4),
        "fiducials_pr_true": np.round(transform_points(pr_M_r, fiducials_r), 4),
        "targets_r": np.round(targets_r, 4),
        "targets_pr_true": np.round(transform_points(pr_M_r, targets_r), 4),
        "r_M_pr_true": np.round(r_M_pr, 9),
        "fle_rms_mm": np.array(0.7),
    }


def wire_cross_sweep(rng: np.random.Generator) -> Sweep:
    """A linear probe swept by hand over CustusX's wire cross, in a water bath, as in the real recording.

    76 frames of 256 x 192 pixels at 6 Hz from a 38 mm linear array at 39 mm depth. The hand advances
    about 24 mm, tilts 10 degrees and trembles. The tracking is exact: the truth is known.
    """
    n = 76
    sector = ProbeSector(
        kind="linear",
        width=37.8204,
        depth_mm=(0.0, 39.2307),
        origin_p=(112.625, 16.625),
        spacing_mm=(0.25641, 0.25641),
        clip_p=(39, 186, 17, 170),
        shape=(192, 256),
    )
    s = np.linspace(0.0, 1.0, n)[:, None]
    tremble = np.cumsum(rng.normal(scale=[0.08, 0.05, 0.05], size=(n, 3)), axis=0)
    tremble -= tremble.mean(axis=0)
    angles = np.array([5.0, -20.5, -8.0]) + s * [2.0, 9.5, 0.5] + 0.2 * tremble
    rotation = Rotation.from_euler("xyz", angles, degrees=True)
    position = np.array([128.0, 143.8, 79.1]) + s * [22.0, -6.0, 8.0] + tremble
    pr_M_t = orthonormalised(np.round(pose_from(rotation, position), 6))
    time_s = np.round(1_000.0 + np.arange(n) / 6.0, 4)
    return simulate_sweep(wire_cross(), sector, pr_M_t, time_s, rng=rng, name="wire_cross_sweep")


RECIPES: dict[str, Callable[[np.random.Generator], Sweep | Arrays]] = {
    "pointer_pivoting": pointer_pivoting,
    "head_fiducials": head_fiducials,
    "wire_cross_sweep": wire_cross_sweep,
}
