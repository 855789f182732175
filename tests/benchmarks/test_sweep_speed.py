"""A sweep of 300 frames through the craniotomy of the neuro phantom, made from nothing.

The aims: under 12 s on two cores, the making of the phantom and of its voxels included, and under 1 GB.
"""

import resource
import subprocess
import sys

SWEEP = """
import time
import numpy as np
from navkit import phantoms, tracking, ultrasound
import navkit.ultrasound._beams  # what is measured is the making, not the loading of compiled code

began = time.perf_counter()
case = phantoms.neuro(seed=1)
window, tumour = (np.array(case.landmarks[k]) for k in ("cortex under the craniotomy", "tumour"))
z = (tumour - window) / np.linalg.norm(tumour - window)
y = np.cross(z, [0.2, 1, 0.1])
y /= np.linalg.norm(y)
pose = np.eye(4)
pose[:3, :3] = np.stack([np.cross(y, z), y, z], axis=1)
pose[:3, 3] = window - 2 * z
pixels = (200, 10), (0.125, 0.125), (0, 399, 0, 511), (512, 400)
sector = ultrasound.ProbeSector("linear", 40.0, (0.0, 60.0), *pixels)
hand = tracking.Hand(duration_s=10.0, rate_hz=30.0)
path = tracking.linear_sweep(pose, length_mm=40, rng=np.random.default_rng(1), hand=hand)
sweep = ultrasound.simulate_sweep(
    case, sector, path.pose[:300], path.time_s[:300], rng=np.random.default_rng(0), threads=2
)
print(len(sweep), time.perf_counter() - began)
"""


def test_a_sweep_through_the_craniotomy(benchmark):
    def sweep() -> float:
        done = subprocess.run([sys.executable, "-c", SWEEP], check=True, capture_output=True, text=True)
        frames, seconds = done.stdout.split()
        assert frames == "300"
        return float(seconds)

    sweep()  # compiles what is not compiled yet
    benchmark.extra_info["sweep_s"] = min(benchmark.pedantic(sweep, rounds=1), sweep())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    benchmark.extra_info["peak_MB"] = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
