"""The input of the speed tests: the one that PLUS's reconstruction was measured with."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.ultrasound import ProbeSector, Sweep


def make_benchmark_sweep(frames: int = 200, *, jitter_mm: float = 0.0, seed: int = 0) -> Sweep:
    """Random greys, 640 x 480 pixels of 0.2 mm, over 110 mm, tilted by -10 to 10 and yawed by 5 deg.

    The tilt is about the lateral axis and turns the deep end inwards, the yaw about the beam goes to and fro.
    200 frames are 61 million pixels. `jitter_mm` is the standard deviation of the hand's tremor.
    """
    rng = np.random.default_rng(seed)
    sector = ProbeSector("linear", 128.0, (0, 96), (319.5, 0), (0.2, 0.2), (0, 639, 0, 479), (480, 640))
    s = np.linspace(-1, 1, frames)
    turn = Rotation.from_euler("yz", np.stack([-10 * s, 5 * np.sin(5 * s)], axis=1), degrees=True)
    position = np.outer(55 * s, [1.0, 0.0, 0.0]) + rng.normal(scale=jitter_mm, size=(frames, 3))
    pixels = rng.integers(0, 256, size=(frames, *sector.shape), dtype=np.uint8)
    pose = pose_from(turn, position) @ sector.t_M_p()
    return Sweep(pixels, 10 * (s + 1), pose, sector, np.ones(frames, dtype=bool), "benchmark")
