"""Poses and points: a pointer in a dimple, fiducials on a head."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.datasets._store import Arrays, Progress
from navkit.geometry import pose_from, transform_points


def pointer_pivoting(rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
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


def head_fiducials(rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
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
