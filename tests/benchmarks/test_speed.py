"""Speed, side by side in one run (`make bench`); nothing here is asserted in `make test`."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.reconstruction import output_grid, reconstruct
from navkit.ultrasound import ProbeSector, Sweep


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    """200 frames of 640 x 480 pixels of 0.2 mm over 110 mm, tilting and yawing: 61 million pixels."""
    sector = ProbeSector("linear", 128.0, (0, 96), (319.5, 0), (0.2, 0.2), (0, 639, 0, 479), (480, 640))
    s = np.linspace(-1, 1, 200)
    turn = Rotation.from_euler("xyz", np.stack([0 * s, 10 * s, 5 * np.sin(5 * s)], axis=1), degrees=True)
    pose = pose_from(turn, np.outer(55 * s, [1, 0, 0])) @ sector.t_M_p()
    frames = np.random.default_rng(0).integers(0, 256, size=(200, 480, 640), dtype=np.uint8)
    return Sweep(frames, s, pose, sector, np.ones(200, dtype=bool))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compounding", ["mean", "max", "last"])
def test_pixel_nearest_neighbour_at_half_a_millimetre(benchmark, sweep, compounding, threads):
    grid = output_grid(sweep, spacing_mm=0.5, orientation="reference", mask_reduction=0.0)
    reconstruct(sweep, grid, compounding=compounding, threads=threads)
    benchmark.extra_info["pixels"] = sweep.frames.size
    benchmark(reconstruct, sweep, grid, compounding=compounding, threads=threads)


def test_custusx_hole_filling_at_half_a_millimetre(benchmark, sweep):
    grid = output_grid(sweep, spacing_mm=0.5, orientation="reference", mask_reduction=0.0)
    benchmark.pedantic(reconstruct, (sweep, grid), {"fill": "custusx"}, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("package", ["", "navkit", "numpy"])
def test_import(benchmark, package):
    """`import navkit` against Python alone and numpy: below 0.2 s more than Python alone."""
    command = [sys.executable, "-c", f"import {package}" if package else "pass"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True}, rounds=7, warmup_rounds=1)
