"""Speed, side by side in one run (`make bench`); nothing here is asserted in `make test`."""

import subprocess
import sys

import pytest
from benchmark_sweep import make_benchmark_sweep

from navkit.reconstruction import output_grid, reconstruct


@pytest.fixture(scope="module")
def sweep():
    return make_benchmark_sweep()


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
