"""Precision and accuracy of a probe calibration: exact, and PLUS's own figures."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from nwire_phantom import WIRES, each, plus_frames
from scipy.spatial.transform import Rotation

from navkit.calibration import (
    calibrate_probe_nwires,
    middle_points,
    probe_reproducibility,
    validate_probe,
)
from navkit.files import read_plus_config
from navkit.geometry import inverse, orthonormalised, pose_from

S_M_P = pose_from(Rotation.from_rotvec([0.4, -1.1, 0.3]), [11.0, 48, -3]) @ np.diag([0.08, 0.074, 0.077, 1.0])


def test_errors_are_told_along_the_picture(rng):
    px = rng.uniform([50, 30], [700, 500], size=(40, 2))
    off = rng.normal(size=(40, 3)) * [0.1, 0.2, 0.5] + [0.3, -0.1, 0.7]
    axes = S_M_P[:3, :3] / [0.08, 0.074, 0.077]
    points = px @ S_M_P[:3, :2].T + S_M_P[:3, 3] - off @ axes.T
    px[7] = np.nan
    told = validate_probe(S_M_P, px, points)
    kept = np.delete(off, 7, axis=0)
    assert told.error_mm == pytest.approx(kept, abs=1e-9)
    assert told.bias_mm == pytest.approx(kept.mean(axis=0), abs=1e-9)
    assert told.rms_mm == pytest.approx(np.sqrt((kept**2).sum(axis=1).mean()), abs=1e-9)
    assert told.distance_mm == pytest.approx(np.linalg.norm(kept, axis=1), abs=1e-9)
    best = np.sort(told.distance_mm)[:37]
    assert told.best_95 == pytest.approx((best.mean(), best.std()), abs=1e-9)


def test_repeated_calibrations_scatter_as_much_as_they_were_shaken(rng):
    """The far corner moves by the shift and by the turn times its distance from the origin."""
    shift, turn = 0.2, 0.004
    shaken = [
        pose_from(Rotation.from_rotvec(rng.normal(scale=turn, size=3)), rng.normal(scale=shift, size=3))
        @ S_M_P
        for _ in range(4000)
    ]
    px = np.array([[0.0, 0], [800, 600]])
    arm = np.linalg.norm(px @ S_M_P[:3, :2].T + S_M_P[:3, 3], axis=1)
    expected = np.sqrt(3 * shift**2 + 2 * (turn * arm) ** 2)
    assert probe_reproducibility(shaken, px) == pytest.approx(expected, rel=0.03)


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="1 calibration; expected at least 2"):
        probe_reproducibility([S_M_P], [[1.0, 2]])
    with pytest.raises(ValueError, match=r"s_M_p has shape \(4, 4\)"):
        probe_reproducibility(S_M_P, [[1.0, 2]])
    with pytest.raises(ValueError, match=r"px has shape \(1, 3\)"):
        validate_probe(S_M_P, [[1.0, 2, 0]], [[1.0, 2, 3]])
    with pytest.raises(ValueError, match=r"points_s has shape \(1, 2\)"):
        validate_probe(S_M_P, [[1.0, 2]], [[1.0, 2]])
    with pytest.raises(ValueError, match="points_s has 0 points"):
        validate_probe(S_M_P, [[np.nan, 2]], [[1.0, 2, 3]])


def test_plus_recording_repeats_within_half_a_millimetre_and_is_right_within_plus_own_figure(navkit_data):
    folder = navkit_data / "plus" / "fcal20"
    spaces = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml").spaces()
    report = ET.parse(folder / "FreehandCalibration3NWires_fCal2.0.results.xml").getroot().find("ErrorReport")

    def seen(part):
        dots, probe, reference = plus_frames(report, part)
        return dots, orthonormalised(inverse(probe) @ reference @ spaces.get("Reference", "Phantom"))

    dots, s_M_phantom = seen("CalibrationData")
    whole = calibrate_probe_nwires(dots, WIRES, s_M_phantom).s_M_p
    quarters = [calibrate_probe_nwires(dots[k::4], WIRES, s_M_phantom[k::4]).s_M_p for k in range(4)]
    centre, corner = probe_reproducibility(quarters, [[410.0, 308], [819, 615]])
    assert centre < 0.15
    assert centre < corner < 0.5

    dots, s_M_phantom = seen("ValidationData")
    points = each(s_M_phantom, middle_points(dots, WIRES)).reshape(-1, 3)
    told = validate_probe(whole, dots[:, :, 1].reshape(-1, 2), points)
    assert told.best_95 == pytest.approx((0.539932, 0.223536), abs=1e-3)
    assert np.abs(told.bias_mm).max() < 0.35
