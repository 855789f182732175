"""Speed of sound in water, and pixels put where their echoes came from."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import small_sector

from navkit.calibration import calibrate_probe_stylus, corrected_pixels, sound_speed_water
from navkit.geometry import pose_from, transform_points


def test_known_speeds():
    """Bilaniuk and Wong's table, doi:10.1121/1.406819, and the maximum near 74 degrees."""
    t = [0.0, 10.0, 20.0, 30.0, 37.0, 50.0, 80.0]
    assert sound_speed_water(t) == pytest.approx(
        [1402.39, 1447.28, 1482.36, 1509.15, 1523.64, 1542.57, 1554.49], abs=0.05
    )
    fine = np.linspace(0, 95, 951)
    assert fine[sound_speed_water(fine).argmax()] == pytest.approx(74.0, abs=0.3)
    assert sound_speed_water(20.0).shape == ()


@pytest.mark.parametrize("wrong", [-0.1, 95.1, 293.15, np.nan])
def test_a_temperature_of_no_liquid_water_is_refused(wrong):
    with pytest.raises(ValueError, match="expected 0 to 95 degrees Celsius"):
        sound_speed_water([20.0, wrong])


def test_the_error_at_100_mm_in_cold_water_is_3_7_mm():
    sector = replace(small_sector(), depth_mm=(0.0, 120.0))
    row = sector.origin_p[1] + 100 / sector.spacing_mm[1]
    moved = corrected_pixels([5.0, row], sector, speed_m_s=float(sound_speed_water(20.0)))
    assert (row - moved[1]) * sector.spacing_mm[1] == pytest.approx(3.74, abs=0.01)
    assert moved[0] == 5.0


@pytest.mark.parametrize("kind", ["linear", "sector"])
@pytest.mark.parametrize("face_mm", [None, 0.0])
def test_times_of_flight_give_the_corrected_pixels(rng, kind, face_mm):
    """Echoes at known places, shown by a scanner that assumes 1540 m/s, come back to where they are."""
    sector = small_sector(kind)
    speed = 1463.0
    face = sector.depth_mm[0] if face_mm is None else face_mm
    beam = rng.uniform(-0.6, 0.6, size=(5, 8))
    time_us = rng.uniform(1, 15, size=(5, 8))

    def pixels(speed_m_s):
        far = face + time_us * speed_m_s / 2000
        if kind == "linear":
            t = np.stack([5 * beam, far], axis=-1)
        else:
            t = far[..., None] * np.stack([np.sin(beam), np.cos(beam)], axis=-1)
        return np.array(sector.origin_p) + t / sector.spacing_mm

    shown = pixels(1540.0)
    moved = corrected_pixels(shown, sector, speed_m_s=speed, face_mm=face_mm)
    assert moved == pytest.approx(pixels(speed), abs=1e-9)
    assert np.abs(moved - shown).max() > 0.5
    back = corrected_pixels(moved, sector, speed_m_s=1540.0, assumed_m_s=speed, face_mm=face_mm)
    assert back == pytest.approx(shown, abs=1e-9)


def test_the_apex_stays_when_the_face_is_there():
    sector = small_sector("sector")
    apex = np.array([sector.origin_p])
    assert (corrected_pixels(apex, sector, speed_m_s=1480.0, face_mm=0.0) == apex).all()


def test_a_probe_calibrated_in_cold_water_is_right_in_tissue(rng):
    """Linear probe, stylus in water of 20 degrees: without the correction the rows' scale is 3.7 % off."""
    sector = replace(small_sector(), spacing_mm=(0.081, 0.074), origin_p=(210.0, 33.0), depth_mm=(0.0, 60.0))
    s_M_p = pose_from(Rotation.from_euler("xyz", [25, -130, 70], degrees=True), [12.0, -31.0, 7.0])
    s_M_p[:3, :3] *= [0.081, 0.074, 0.0775]
    px = rng.uniform([20, 60], [400, 560], size=(15, 2))
    tip = transform_points(s_M_p, np.pad(px, ((0, 0), (0, 1))))
    poses = np.tile(np.eye(4), (15, 1, 1))
    speed = float(sound_speed_water(20.0))
    shown = corrected_pixels(px, sector, speed_m_s=1540.0, assumed_m_s=speed)
    wrong = calibrate_probe_stylus(shown, tip, poses)
    assert wrong.scale_mm[1] == pytest.approx(0.074 * speed / 1540, abs=1e-9)
    right = calibrate_probe_stylus(corrected_pixels(shown, sector, speed_m_s=speed), tip, poses)
    assert np.abs(right.s_M_p - s_M_p).max() < 1e-9


def test_wrong_input_is_one_sentence():
    sector = small_sector()
    with pytest.raises(ValueError, match=r"px has shape \(2, 3\); expected \(..., 2\)"):
        corrected_pixels(np.zeros((2, 3)), sector, speed_m_s=1480.0)
    with pytest.raises(ValueError, match=r"speed_m_s is 1\.48; expected 1000 to 2500 m/s"):
        corrected_pixels([1.0, 2.0], sector, speed_m_s=1.48)
    with pytest.raises(ValueError, match="assumed_m_s is nan"):
        corrected_pixels([1.0, 2.0], sector, speed_m_s=1480.0, assumed_m_s=np.nan)
