"""Pivot calibration of 1000 poses beside the same methods written the plain way.

Nothing is asserted in `make test`. Run it with ``-p benchmark``.
"""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_pivot
from navkit.geometry import check_poses, pose_from

TIP_S = np.array([-17.9, 12.3, 157.7])
PIVOT_PR = np.array([310.0, -85.0, -1200.0])


def plain_algebraic(poses):
    """All 3 n equations [R, -1] [tip; pivot] = -t in one matrix; tip, pivot, RMS over the equations."""
    n = len(poses)
    system = np.zeros((3 * n, 6))
    system[:, :3] = poses[:, :3, :3].reshape(-1, 3)
    system[:, 3:] = np.tile(-np.eye(3), (n, 1))
    right = -poses[:, :3, 3].reshape(-1)
    solution, _, rank, _ = np.linalg.lstsq(system, right, rcond=None)
    assert rank == 6
    return solution[:3], solution[3:], np.sqrt(np.mean((system @ solution - right) ** 2))


def plain_sphere(poses):
    """Centre and radius by a general optimiser, started at the mean; the centre seen by the mean pose."""
    t = poses[:, :3, 3]

    def off(unknown):
        return np.linalg.norm(t - unknown[:3], axis=1) - unknown[3]

    found = least_squares(off, [*(t.mean(axis=0) + [0.0, 0.0, 1.0]), 1.0]).x
    tips = np.einsum("nji,nj->ni", poses[:, :3, :3], found[:3] - t)
    return tips.mean(axis=0), found[:3], np.sqrt(np.mean(off(found) ** 2))


def plain_ransac(poses, rng, *, trials=10, within_mm=4.0, enough=0.25):
    """The algebraic tip of three random poses, tried on every other; the largest agreement is kept."""
    best = np.zeros(len(poses), dtype=bool)
    for _ in range(trials):
        tip, pivot, _ = plain_algebraic(poses[rng.choice(len(poses), 3, replace=False)])
        agree = np.zeros(len(poses), dtype=bool)
        for k, pose in enumerate(poses):
            agree[k] = np.linalg.norm(pose[:3, :3] @ tip + pose[:3, 3] - pivot) < within_mm
        if agree.mean() > enough and agree.sum() > best.sum():
            best = agree
    return (*plain_algebraic(poses[best]), best)


@pytest.fixture(scope="module")
def poses():
    """1000 poses in a cone of 35 degrees; 0.2 mm and 0.1 degrees of noise."""
    rng = np.random.default_rng(7)
    tilt = rng.uniform(-35, 35, size=(1000, 3)) * [1.0, 0.7, 1.5] + [10, -20, 70]
    turn = Rotation.from_euler("xyz", tilt, degrees=True)
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=0.1, size=(1000, 3))))
    return pose_from(shake * turn, PIVOT_PR - turn.apply(TIP_S) + rng.normal(scale=0.2, size=(1000, 3)))


@pytest.fixture(scope="module")
def slipped(poses):
    """Every fifth pose displaced by centimetres."""
    wrong = poses.copy()
    wrong[::5, :3, 3] += np.random.default_rng(8).normal(scale=15.0, size=(200, 3)) + 5.0
    return wrong


@pytest.mark.benchmark(group="algebraic, 1000 poses")
@pytest.mark.parametrize("run", [calibrate_pivot, plain_algebraic], ids=["navkit", "plain"])
def test_algebraic(benchmark, poses, run):
    benchmark(run, poses)


@pytest.mark.benchmark(group="sphere, 1000 poses")
@pytest.mark.parametrize(
    "run", [lambda m: calibrate_pivot(m, method="sphere"), plain_sphere], ids=["navkit", "plain"]
)
def test_sphere(benchmark, poses, run):
    benchmark(run, poses)


@pytest.mark.benchmark(group="RANSAC, 1000 poses, 20 % wrong")
@pytest.mark.parametrize(
    "run",
    [lambda m, rng: calibrate_pivot(m, method="ransac", rng=rng), plain_ransac],
    ids=["navkit", "plain"],
)
def test_ransac(benchmark, slipped, run):
    benchmark(run, slipped, np.random.default_rng(9))


@pytest.mark.benchmark(group="checking 1000 poses")
def test_check_poses(benchmark, poses):
    benchmark(check_poses, poses, "poses")
