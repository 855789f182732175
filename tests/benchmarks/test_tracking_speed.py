"""Times of the filters on 100,000 samples; below 0.5 s each. Looked at, never asserted in `make test`."""

from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.tracking import (
    PoseStream,
    constant_velocity_kalman,
    custusx_live_filter,
    estimate_clock,
    filter_timestamps,
    moving_average,
    one_euro,
    resample,
    without_repeats,
)

SAMPLES = 100_000


@pytest.fixture(scope="module")
def stream() -> PoseStream:
    """A wandering tool at 100 Hz with jittered times: 17 minutes."""
    rng = np.random.default_rng(0)
    time = (np.arange(SAMPLES) + rng.uniform(0, 0.5, SAMPLES)) / 100
    turn = Rotation.from_rotvec(np.cumsum(rng.normal(scale=0.002, size=(SAMPLES, 3)), axis=0))
    place = np.cumsum(rng.normal(scale=[0.3, 0.1, 0.2], size=(SAMPLES, 3)), axis=0)
    return PoseStream(time, pose_from(turn, place))


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(one_euro, id="one euro"),
        pytest.param(
            partial(constant_velocity_kalman, position_sd_mm=0.2, acceleration_sd_mm_s2=300), id="kalman"
        ),
        pytest.param(custusx_live_filter, id="custusx live"),
        pytest.param(partial(moving_average, strength=2), id="moving average"),
        pytest.param(partial(resample, rate_hz=73.0), id="resample"),
        pytest.param(without_repeats, id="without repeats"),
    ],
)
def test_a_stream(benchmark, stream, act):
    benchmark.pedantic(act, (stream,), rounds=5, warmup_rounds=1)


def test_filtering_time_stamps(benchmark, stream):
    benchmark.pedantic(filter_timestamps, (np.arange(SAMPLES), stream.time_s), rounds=5, warmup_rounds=1)


def test_fitting_a_clock(benchmark, stream):
    late = np.random.default_rng(1).exponential(scale=0.01, size=SAMPLES)
    benchmark.pedantic(estimate_clock, (stream.time_s, stream.time_s + late), rounds=5, warmup_rounds=1)
