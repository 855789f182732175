"""Calibration, side by side in one run (`make bench`); the aims stand beside each."""

import sys
from pathlib import Path

import numpy as np
import pytest

from navkit.calibration import calibrate_probe_nwires, detect_bottom, detect_wires, estimate_delay

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "navkit"))
from nwire_phantom import WIRES
from test_nwires import looking
from test_wires import drawn


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_nwires_of_300_frames(benchmark, rng):
    """Aim: below 50 ms."""
    s_M_phantom, dots = looking(rng, 300)
    dots = dots + rng.normal(scale=0.5, size=dots.shape)
    result = benchmark(calibrate_probe_nwires, dots, WIRES, s_M_phantom)
    assert result.kept.mean() > 0.9


def test_wires_in_a_picture_of_820_by_616(benchmark, rng):
    """Aim: 30 pictures a second on one core, 33 ms."""
    small, _ = drawn(rng)
    frame = np.kron(small, np.ones((2, 2), dtype=np.uint8))
    frame = np.pad(frame, ((0, 616 - frame.shape[0]), (0, 820 - frame.shape[1])))
    found = benchmark(detect_wires, frame, WIRES, mm_per_px=0.08)
    assert np.isfinite(found).all()


def test_bottom_of_a_picture_of_820_by_616(benchmark):
    frame = np.zeros((616, 820), dtype=np.uint8)
    frame[400:410] = 180
    assert benchmark(detect_bottom, frame).row_at(410) == pytest.approx(404.5)


def test_delay_of_200_pictures_and_800_poses(benchmark, rng):
    def move(t):
        return 13 * np.sin(2.1 * t) + 9 * np.sin(0.83 * t + 1)

    video, tracker = np.arange(0, 17, 0.087), np.arange(0, 20, 0.025)
    noisy = move(video) + rng.normal(size=video.size)
    result = benchmark(estimate_delay, video, noisy, tracker, move(tracker + 0.06), max_delay_s=0.5)
    assert result.delay_s == pytest.approx(-0.06, abs=0.02)
