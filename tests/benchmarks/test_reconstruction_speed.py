"""Speed of the reconstruction in Mpixel/s, and against the machine's own copying in one run.

Each row of the report has ``mpixel_per_s``, of the best round and allocation included, and
``of_copy_bandwidth``: the bytes of the pixels, read once, over what a plain copy moves in the same time.
"""

import time

import numpy as np
import pytest
from benchmark_sweep import make_benchmark_sweep

from navkit.reconstruction import output_grid, reconstruct, reconstruct_dual


@pytest.fixture(scope="module")
def sweep():
    return make_benchmark_sweep()


def copy_bytes_per_s() -> float:
    """Bytes read and written each second by one thread that copies 128 MB, the best of seven."""
    source, target = np.ones(2**27, np.uint8), np.ones(2**27, np.uint8)
    best = np.inf
    for _ in range(7):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def measured(benchmark, pixels: int, work, *, rounds: int = 7) -> None:
    benchmark.pedantic(work, rounds=rounds, warmup_rounds=1)
    rate, copy = pixels / benchmark.stats.stats.min, copy_bytes_per_s()
    benchmark.extra_info["mpixel_per_s"] = round(rate / 1e6, 1)
    benchmark.extra_info["of_copy_bandwidth"] = round(rate / copy, 4)
    usual = pixels / benchmark.stats.stats.median
    print(
        f"\n{benchmark.name}: {rate / 1e6:.0f} Mpixel/s, median {usual / 1e6:.0f}, "
        f"{rate / copy:.3f} of copying {copy / 1e9:.1f} GB/s"
    )


@pytest.mark.parametrize("orientation", ["middle", "reference"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("method", "compounding"),
    [("pnn", "mean"), ("pnn", "max"), ("pnn", "last"), ("pnn", "median3"), ("splat", "mean")],
)
def test_half_a_millimetre(benchmark, sweep, method, compounding, threads, orientation):
    grid = output_grid(sweep, spacing_mm=0.5, orientation=orientation, mask_reduction=0.0)
    keywords = {"method": method, "compounding": compounding, "threads": threads}
    measured(benchmark, sweep.frames.size, lambda: reconstruct(sweep, grid, **keywords))


@pytest.mark.parametrize("frames", [100, 400, 1600])
@pytest.mark.parametrize("spacing_mm", [0.25, 0.5, 1.0])
def test_cost_grows_with_pixels_and_voxels(benchmark, frames, spacing_mm):
    sweep = make_benchmark_sweep(frames)
    grid = output_grid(sweep, spacing_mm=spacing_mm, mask_reduction=0.0)
    benchmark.extra_info["voxels"] = int(np.prod(grid.shape))
    measured(benchmark, sweep.frames.size, lambda: reconstruct(sweep, grid, threads=2), rounds=3)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("method", ["pnn", "splat"])
def test_two_channels(benchmark, sweep, method, passes):
    grid = output_grid(sweep, spacing_mm=0.5, mask_reduction=0.0)
    keywords = {"method": method, "threads": 2}

    def work():
        if passes == 1:
            return reconstruct_dual(sweep, sweep, grid, **keywords)
        return tuple(reconstruct(sweep, grid, **keywords) for _ in range(2))

    measured(benchmark, 2 * sweep.frames.size, work)


@pytest.mark.parametrize("method", ["vnn", "vnn2", "dw", "anisotropic", "path", "predict"])
def test_voxel_by_voxel(benchmark, method):
    """400 frames, held by a trembling hand, and as many voxels as 256 x 256 x 256."""
    sweep = make_benchmark_sweep(400, jitter_mm=0.1)
    grid = output_grid(sweep, max_voxels=256**3, mask_reduction=0.0)
    benchmark.extra_info["voxels"] = int(np.prod(grid.shape))
    work = benchmark.pedantic(
        reconstruct, (sweep, grid), {"method": method, "threads": 2}, rounds=3, warmup_rounds=1
    )
    assert np.isfinite(work.values).any()
