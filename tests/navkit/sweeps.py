"""Sweeps with known truth for the tests: nothing about them is symmetric."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.ultrasound import ProbeSector, Sweep


def small_sector(kind: str = "linear") -> ProbeSector:
    """A small sector: unequal spacing, fractional origin off centre, a clip that cuts one side.

    The curved one's near arc leaves a gap in the middle of its first row.
    """
    width = 9.0 if kind == "linear" else 1.4
    depth = (0.4, 11.0) if kind == "linear" else (3.0, 12.0)
    return ProbeSector(kind, width, depth, (17.25, 2.5), (0.31, 0.47), (3, 30, 1, 24), (27, 36))


def hand_sweep(rng: np.random.Generator, *, n: int = 14, kind: str = "linear", name: str = "hand") -> Sweep:
    """Random grey frames along a trembling, tilting path far from the origin."""
    sector = small_sector(kind)
    s = np.linspace(-1, 1, n)[:, None]
    rotation = Rotation.from_euler("xyz", np.array([25, -40, 10]) + s * [4, 7, -3], degrees=True)
    position = np.array([31.0, -12.0, 77.0]) + s * [3.1, 1.2, -0.8] + rng.normal(scale=0.05, size=(n, 3))
    frames = rng.integers(0, 256, size=(n, *sector.shape), dtype=np.uint8)
    time = 5.0 + np.cumsum(rng.uniform(0.03, 0.06, size=n))
    pose = pose_from(rotation, position) @ sector.t_M_p()
    return Sweep(frames, time, pose, sector, np.ones(n, dtype=bool), name)
