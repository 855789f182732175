"""The table of methods in kit/navkit/README.md: complete, and every number of a recording computed again."""

import re
import xml.etree.ElementTree as ET

import numpy as np
from nwire_phantom import each, plus_frames

from navkit import calibration, tracking
from navkit.calibration import (
    calibrate_pivot,
    calibrate_probe_nwires,
    calibrate_probe_stylus,
    detect_bottom,
    detect_wires,
    estimate_video_delay,
    middle_points,
    probe_reproducibility,
    validate_probe,
)
from navkit.files import read_plus_config, read_sequence, read_tracking
from navkit.geometry import inverse, orthonormalised, pose_error, transform_points
from navkit.registration import fit_rigid
from navkit.tracking import find_dwells, repeated, without_repeats


def rows(root) -> dict[str, str]:
    """The table's rows: the first cell -> the last."""
    lines = (root / "kit" / "navkit" / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| `")]
    assert all(len(c) == 4 for c in cells)
    return {c[0].strip(): c[3].strip() for c in cells}


def test_every_method_has_a_row(root):
    named = set(re.findall(r"`(\w+)`", " ".join(rows(root))))
    for room in (tracking, calibration):
        methods = {name for name in room.__all__ if callable(getattr(room, name)) and name[0].islower()}
        assert methods <= named | {"em_distortion", "filter_lag_s"}, methods - named
    assert {"FieldDistortion", "OrientationDistortion"} <= named


def assert_told(root, method, *numbers):
    """Each number, as it is printed, stands in the row of the method."""
    cell = rows(root)[method]
    for number in numbers:
        found = re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", cell)
        assert found, f"{method}: {number} is not in: {cell}"


def test_pivot(root, navkit_data):
    poses = np.stack([np.loadtxt(f) for f in sorted((navkit_data / "ucl" / "pivot").glob("*.txt"))])
    algebraic, sphere = (calibrate_pivot(poses, method=m) for m in ("algebraic", "sphere"))
    off = np.linalg.norm(algebraic.tip_s - sphere.tip_s)
    assert sphere.warnings
    assert_told(root, '`calibrate_pivot`, `method="sphere"`', f"{off:.1f} mm")
    segments = navkit_data / "plus" / "landmarks" / "segments"
    stored = [
        orthonormalised(np.loadtxt(segments / f"landmark{k}.txt").reshape(-1, 4, 4)) for k in range(1, 9)
    ]
    joint = [109.629, 6.666, 2.799]
    plain, serial = (
        np.linalg.norm([calibrate_pivot(m, method=how).tip_s - joint for m in stored], axis=1)
        for how in ("algebraic", "autoregressive")
    )
    figures = (algebraic.rms_mm, plain[1:].max(), plain[0])
    assert_told(root, "`calibrate_pivot`", *(f"{mm:.2f} mm" for mm in figures))
    assert_told(root, '`calibrate_pivot`, `method="autoregressive"`', f"{serial.max():.2f} mm")


def test_dwells(root, navkit_data):
    folder = navkit_data / "plus" / "landmarks"
    config = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml")
    plus = read_plus_config(folder / "PhantomRegistrationLandmarkDetection.results.xml")
    stream = read_sequence(folder / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha").stream(
        "StylusToReference"
    )
    dwells = find_dwells(stream, config.transforms["StylusTip", "Stylus"][:3, 3])
    fit = fit_rigid(list(config.landmarks.values()), [d.point_pr for d in dwells])
    error = pose_error(fit.matrix, plus.transforms["Phantom", "Reference"])
    assert_told(
        root,
        "`find_dwells`",
        f"{error.translation_mm:.2f} mm",
        f"{np.degrees(error.rotation_rad):.3f} deg",
    )


def test_nwires_wires_and_stylus(root, navkit_data):
    folder = navkit_data / "plus" / "fcal20"
    config = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml")
    report = ET.parse(folder / "FreehandCalibration3NWires_fCal2.0.results.xml").getroot().find("ErrorReport")
    phantom = config.spaces().get("Reference", "Phantom")

    def plus(part):
        dots, probe, reference = plus_frames(report, f"{part}Data")
        return dots, orthonormalised(inverse(probe) @ reference @ phantom)

    def ours(part):
        sequence = read_sequence(folder / f"fCal_Test_{part}_3NWires_fCal2.0.igs.mha")
        looking = {"mm_per_px": config.mm_per_px, "clip_p": config.clip_p}
        dots = np.array([detect_wires(frame, config.wires, **looking) for frame in sequence.frames])
        return dots, orthonormalised(sequence.spaces(config).get("Probe", "Phantom"))

    def validated(s_M_p, dots, s_M_phantom):
        points = each(s_M_phantom, middle_points(dots, config.wires)).reshape(-1, 3)
        return f"{validate_probe(s_M_p, dots[:, :, 1].reshape(-1, 2), points).best_95[0]:.2f} mm"

    dots, s_M_phantom = plus("Calibration")
    linear = calibrate_probe_nwires(dots, config.wires, s_M_phantom)
    quarters = [calibrate_probe_nwires(dots[k::4], config.wires, s_M_phantom[k::4]).s_M_p for k in range(4)]
    spread = probe_reproducibility(quarters, [[410.0, 308], [819, 615]])
    refined = calibrate_probe_nwires(dots, config.wires, s_M_phantom, refine="in-plane")
    tips = each(s_M_phantom, middle_points(dots, config.wires)).reshape(-1, 3)
    still = np.tile(np.eye(4), (len(tips), 1, 1))
    stylus = calibrate_probe_stylus(dots[:, :, 1].reshape(-1, 2), tips, still)
    check = plus("Validation")
    theirs = validated(linear.s_M_p, *check)
    assert_told(root, "`calibrate_probe_nwires`", theirs, *(f"{mm:.2f} mm" for mm in spread))
    assert_told(root, "`calibrate_probe_nwires`, `refine=`", validated(refined.s_M_p, *check))
    assert_told(root, "`calibrate_probe_stylus`", validated(stylus.s_M_p, *check))

    dots, s_M_phantom = ours("Calibration")
    seen = ours("Validation")
    found = np.isfinite(np.concatenate([dots, seen[0]])).all(axis=(1, 2, 3))
    linear = calibrate_probe_nwires(dots, config.wires, s_M_phantom)
    assert_told(
        root, "`detect_wires`", f"{found.sum()} of {len(found)}", validated(linear.s_M_p, *seen), theirs
    )


def test_bottom_and_delay(root, navkit_data):
    folder = navkit_data / "plus" / "temporal"
    video = read_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha")
    tracker = read_sequence(folder / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
    clip = (225, 574, 40, 549)
    px, deg = [], []
    for frame in ET.parse(folder / "LineSegmentationResultsBaseline.xml").getroot():
        line = detect_bottom(video.frames[int(frame.get("Index"))], clip_p=clip)
        column, row = (float(v) for v in frame.get("LineOriginPointPx").split())
        dx, dy = (float(v) for v in frame.get("LineDirectionVectorPx").split())
        px.append(abs(line.row_at(column) - row))
        deg.append(abs(np.degrees(np.arctan2(*line.direction_px[::-1]) - np.arctan(dy / dx))))
    assert_told(
        root, "`detect_bottom`", f"{len(px)} of {len(video)}", f"{max(px):.1f} px", f"{max(deg):.1f} deg"
    )
    delay = estimate_video_delay(video.frames, video.time_s, tracker.stream("ProbeToTracker"), clip_p=clip)
    assert_told(
        root,
        "`estimate_delay`, `estimate_video_delay`",
        f"{1e3 * delay.delay_s:.1f} ms",
        "-64.8 ms",
        f"{1e3 * delay.sd_s:.1f} ms",
    )


def test_repeats(root, navkit_data):
    stream = read_tracking(navkit_data / "custusx" / "angio_lab_text")
    again = repeated(stream)
    true = without_repeats(stream)
    rate = (len(true) - 1) / np.ptp(true.time_s)
    assert_told(root, "`repeated`, `without_repeats`", f"{again.sum()} of {len(again)}", f"{rate:.1f} Hz")


def readme_code(root, word):
    """The one block of Python in the README that has this word."""
    text = (root / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, flags=re.S) if word in block)
    return code


def test_a_patient_as_in_the_readme(root):
    names: dict[str, object] = {}
    exec(compile(readme_code(root, "neuro_case"), "README.md", "exec"), names)
    assert 4.5 < names["truth"]["tumour_volume_ml"] < 12.5
    volume, where = names["volume"], names["case"]["landmark_names"].tolist().index("tumour")
    target_pr = transform_points(names["case"]["pr_M_r_true"], names["case"]["landmarks_r"][where])
    x, y, z = np.rint(volume.grid.voxels(target_pr)).astype(int)
    tumour = volume.values[z - 6 : z + 7, y - 6 : y + 7, x - 6 : x + 7]
    assert np.nanmean(tumour) > np.nanmean(volume.values) + 20  # a glioma is bright


def test_the_calibration_in_the_readme_runs_on_a_recording(root, navkit_data):
    folder = navkit_data / "plus" / "fcal20"
    code = readme_code(root, "detect_wires")
    code = code.replace(
        "PlusDeviceSet.xml", str(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml")
    ).replace("Calibration.igs.mha", str(folder / "fCal_Test_Validation_3NWires_fCal2.0.igs.mha"))
    names: dict[str, object] = {"print": lambda *shown: None}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].best_95()[0] < 0.6
    assert names["result"].warnings == ()
