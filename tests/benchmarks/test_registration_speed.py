"""Registration, side by side in one run (`make bench`); the aims stand beside each."""

import numpy as np
import pytest

from navkit.registration import fit_rigid, next_fiducial, simulate_tre, tre_map

FIDUCIALS = np.array(
    [[0, 0, 0], [60, 8, 2], [140, -6, 5], [210, 4, -9], [260, -3, 7], [300, 9, 1]], dtype=float
)
FLE = np.diag([0.04, 0.04, 0.36])
TARGET = np.array([120.0, 30, -40])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.benchmark(group="10,000 registrations of 6 fiducials")
def test_simulated_registrations(benchmark, rng):
    """Aim: below 1 s."""
    errors = benchmark(simulate_tre, FIDUCIALS, TARGET, FLE, rng=rng)
    assert len(errors.tre) == 10_000


@pytest.mark.benchmark(group="10,000 registrations of 6 fiducials")
def test_simulated_registrations_that_know_the_directions(benchmark, rng):
    weights = np.broadcast_to(np.linalg.inv(FLE), (6, 3, 3))
    errors = benchmark(simulate_tre, FIDUCIALS, TARGET, FLE, rng=rng, weights=weights)
    assert len(errors.tre) == 10_000


@pytest.mark.benchmark(group="10,000 registrations of 6 fiducials")
def test_one_by_one(benchmark, rng):
    located = FIDUCIALS + rng.normal(size=(10_000, 6, 3)) * [0.2, 0.2, 0.6]
    benchmark.pedantic(lambda: [fit_rigid(FIDUCIALS, q) for q in located], rounds=1)


def test_a_map_of_256_cubed(benchmark):
    told = benchmark(tre_map, FIDUCIALS, FLE, (256, 256, 256), np.eye(4))
    assert told.min() > 0


def test_a_thousand_places_for_the_next_fiducial(benchmark, rng):
    places, targets = rng.normal(size=(1000, 3)) * 80, rng.normal(size=(50, 3)) * 50
    benchmark(next_fiducial, FIDUCIALS, places, targets, FLE)
