"""Speed of hole filling in holes per second, and against PLUS's, as holes per second of both.

PLUS's C++ (IGSIO) was measured on two cores with 200 frames of 640 x 480 pixels of 0.2 mm, best of several:
3.80 million holes of 11.3 million voxels at 0.5 mm, 56.9 of 89.9 million at 0.25 mm. The "wobbling" sweep
comes near to it, with 3.8 of 11.1 million at 0.5 mm, most of them in gaps between frames. The "plain" one,
`make_benchmark_sweep`, has 3.4 of 12.1, most of them in the corners and out of reach, which cost less.
"""

from dataclasses import replace

import numpy as np
import pytest
from benchmark_sweep import make_benchmark_sweep
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.reconstruction import output_grid, reconstruct
from navkit.reconstruction._fill import fill_holes

# PLUS: holes, and the best seconds by method, for its size 5 (reach 2) and its stick of 9 (reach 4)
PLUS = {
    0.5: (3.80e6, {"nearest": 0.53, "gaussian": 3.30, "distance": 3.59, "accumulate": 3.43, "stick": 1.66}),
    0.25: (56.9e6, {"nearest": 16.4, "gaussian": 29.5, "distance": 33.9, "stick": 36.8}),
}
SAME_KERNEL = {"custusx": "nearest"}


def wobbling(sweep):
    s = np.linspace(-1, 1, len(sweep))
    tilt, yaw = 10 * np.sin(2 * np.pi * s), 5 * np.sin(3 * np.pi * s)
    turn = Rotation.from_euler("yz", np.stack([tilt, yaw], axis=1), degrees=True)
    position = np.outer(55 * s, [1.0, 0.0, 0.0])
    return replace(sweep, pr_M_p=pose_from(turn, position) @ sweep.sector.t_M_p())


@pytest.fixture(scope="module", params=["plain", "wobbling"])
def sweep(request):
    plain = make_benchmark_sweep()
    return request.param, plain if request.param == "plain" else wobbling(plain)


@pytest.fixture(scope="module", params=[0.5, 0.25])
def holed(request, sweep):
    name, sweep = sweep
    grid = output_grid(sweep, spacing_mm=request.param, orientation="reference", mask_reduction=0.0)
    return name, request.param, reconstruct(sweep, grid, threads=2)


@pytest.mark.parametrize(
    ("method", "reach"),
    [("nearest", 2), ("nearest", 4), ("custusx", 2), ("gaussian", 2), ("accumulate", 2), ("distance", 2)]
    + [("stick", 4), ("convolution", 2)],
)
def test_holes_per_second(benchmark, holed, method, reach):
    name, spacing_mm, volume = holed
    holes = int(np.isnan(volume.values).sum())
    weight = volume.weight if method == "accumulate" else None
    keywords = {"method": method, "reach": reach, "weight": weight, "threads": 2}
    rounds = 7 if spacing_mm == 0.5 else 3
    _, filled = benchmark.pedantic(fill_holes, (volume.values,), keywords, rounds=rounds, warmup_rounds=1)
    assert 0 < filled.sum() <= holes
    rate = holes / benchmark.stats.stats.min
    benchmark.extra_info |= {"sweep": name, "spacing_mm": spacing_mm, "holes": holes}
    benchmark.extra_info["holes_per_s"] = round(rate)
    their_holes, seconds = PLUS[spacing_mm]
    theirs = seconds.get(SAME_KERNEL.get(method, method))
    times = round(rate * theirs / their_holes, 1) if theirs else None
    benchmark.extra_info["times_plus"] = times
    print(f"\n{benchmark.name}: {holes / 1e6:.1f} M holes, {rate / 1e6:.1f} M holes/s, {times} x PLUS")
