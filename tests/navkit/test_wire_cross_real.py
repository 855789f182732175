"""The real CustusX recording of the wire cross, against what CustusX's own test demands of it.

Points in the patient reference (mm), limits and negative controls: see LIST.md beside the recordings.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest

from navkit import files
from navkit.__main__ import app, run
from navkit.reconstruction import Volume, measure_wire_cross, output_grid, reconstruct
from navkit.ultrasound import Sweep

CROSS_PR = np.array(
    [
        (137.124, 157.658, 100.249),
        (137.564, 150.940, 100.188),
        (137.343, 145.001, 100.243),
        (137.078, 133.918, 100.574),
        (137.242, 129.049, 100.188),
        (128.098, 134.702, 96.760),
    ]
)
DARK_PR = np.array(
    [
        (128.939, 134.859, 94.061),
        (135.340, 134.893, 97.360),
        (132.655, 141.616, 97.557),
        (143.044, 124.371, 94.718),
        (146.411, 123.867, 94.729),
        (143.745, 124.240, 95.264),
    ]
)
SEEN_PR = (137.3, 134.5, 100.3)
SPACING_MM = 0.117895
FULL_EXTENT_MM = (42.917, 40.791, 31.008)


@pytest.fixture(scope="module")
def sweep(navkit_data) -> Sweep:
    return files.read_acquisition(navkit_data / "custusx" / "angio_lab_256x192")


@pytest.fixture(scope="module")
def volume(sweep) -> Volume:
    return reconstruct(sweep, output_grid(sweep, spacing_mm=SPACING_MM))


def around(volume: Volume, point_pr: np.ndarray) -> np.ndarray:
    """The pasted grey values within 2 voxels of a point."""
    i, j, k = np.rint(volume.grid.voxels(point_pr)).astype(int)
    cube = volume.values[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3]
    return cube[~np.isnan(cube)]


def brightest(volume: Volume) -> np.ndarray:
    return np.array([around(volume, p).max(initial=-1) for p in CROSS_PR])


def darkest_hold(volume: Volume) -> bool:
    return all(len(around(volume, p)) and around(volume, p).max() == 0 for p in DARK_PR)


def passes(volume: Volume) -> bool:
    return bool((brightest(volume) > 190).all()) and darkest_hold(volume)


def test_the_cross_is_bright_and_the_water_dark_where_custusx_demands_it(volume):
    assert brightest(volume).tolist() == [220, 237, 242, 225, 249, 250]
    assert darkest_hold(volume)


def test_the_extent_is_the_full_recordings_within_0_6_mm(volume):
    assert volume.grid.extent_mm == pytest.approx(FULL_EXTENT_MM, abs=0.6)


def test_the_full_recordings_extent_agrees_with_custusx_within_0_15_mm(navkit_data):
    folder = navkit_data / "custusx" / "angio_lab_text"
    stream = files.read_tracking(folder)
    from navkit.files._probe import sector_from_probedata

    sector = sector_from_probedata(next(folder.glob("*.probedata.xml")))
    times = np.loadtxt(next(folder.glob("*.fts"))) / 1000
    poses, valid = stream.at(times, extrapolate=True)
    frames = np.broadcast_to(np.uint8(0), (len(times), *sector.shape))
    full = Sweep(frames, times, poses @ sector.t_M_p(), sector, valid)
    assert output_grid(full).extent_mm == pytest.approx((42.9099, 40.7953, 31.0081), abs=0.15)


def flipped(sweep: Sweep, *, across: bool) -> Sweep:
    """The picture mirrored left-right, or turned upside down, within the clip rectangle."""
    left, right, top, bottom = sweep.sector.clip_p
    frames = sweep.frames.copy()
    inside = frames[:, top : bottom + 1, left : right + 1]
    frames[:, top : bottom + 1, left : right + 1] = inside[:, :, ::-1] if across else inside[:, ::-1]
    return replace(sweep, frames=frames)


@pytest.mark.parametrize("across", [True, False], ids=["mirrored", "upside down"])
def test_a_flipped_picture_fails_the_same_test(sweep, volume, across):
    assert passes(volume)
    wrong = reconstruct(flipped(sweep, across=across), volume.grid)
    assert not passes(wrong)
    assert (brightest(wrong) > 190).sum() <= 1


def test_the_wires_meet_at_88_7_degrees(volume):
    found = measure_wire_cross(volume, around_pr=SEEN_PR, rng=np.random.default_rng(1))
    assert found.angle_deg == pytest.approx(88.7, abs=1.5)
    assert found.gap_mm == pytest.approx(0.12, abs=0.15)
    assert np.linalg.norm(found.cross_pr - SEEN_PR) < 0.5


def test_mirrored_wires_do_not_meet_at_a_right_angle(sweep, volume):
    """As sharp as the right volume, and wrong: 63 degrees in the full recording."""
    wrong = reconstruct(flipped(sweep, across=True), volume.grid)
    found = measure_wire_cross(wrong, around_pr=(140.0, 153.5, 102.6), rng=np.random.default_rng(1))
    assert min(found.voxels) > 250, "two wires are found"
    assert found.rms_mm == pytest.approx((0.6, 0.6), abs=0.2), "and they look like wires"
    assert found.angle_deg < 70


def test_the_command_line_writes_the_same_volume_where_it_belongs(
    navkit_data, tmp_path, volume, monkeypatch, capsys
):
    path = tmp_path / "wire.mha"
    folder = navkit_data / "custusx" / "angio_lab_256x192"
    argv = ["navkit", "reconstruct", str(folder), "--spacing", str(SPACING_MM), "-o", str(path)]
    monkeypatch.setattr(sys, "argv", argv)
    assert run(app) == 0
    assert "from 76 of 77 frames (pnn, mean)" in capsys.readouterr().out
    written = files.read_volume(path)
    stored = [int(v) for p in DARK_PR for v in around(written, p) if v > 0]
    assert set(stored) == {1}, "the darkest value is stored as 1, no data as 0"
    assert (brightest(written) > 190).all()
    assert written.values.shape == volume.values.shape
