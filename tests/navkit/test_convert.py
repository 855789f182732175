"""Conversion: what comes out lies where it lay, and what is lost is told, found, and nothing else."""

import csv
import itertools
import json
import re
import shutil
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep
from test_dicom import AXES, COLUMN_MM, CORNER, ROW_MM, SLICE_MM, series
from test_tools import log, pose_record, tool_record
from test_volumes_io import by_hand, place, seen, voxels_and_places

from navkit.files import (
    FileError,
    Sequence,
    Transform,
    plus_sweep,
    read_acquisition,
    read_plus_config,
    read_points,
    read_positions,
    read_sequence,
    sequence_of,
    write_acquisition,
    write_sequence,
)
from navkit.geometry import pose_from, transform_points
from navkit.reconstruction import output_grid, reconstruct
from navkit.recordings import convert
from navkit.ultrasound import ProbeSector, Sweep, curved_array, linear_array


def acquisition(folder, rng, *, kind="linear", layout="stack"):
    sweep = hand_sweep(rng, kind=kind, name="US-Acq_ø")
    write_acquisition(sweep, folder, layout=layout)
    return sweep


def pixels_r(sweep):
    """Where the corners of every valid picture are."""
    height, width = sweep.sector.shape
    corners = [[0, 0, 0], [width - 1, 0, 0], [0, height - 1, 0], [width - 1, height - 1, 0]]
    return transform_points(sweep.pr_M_p[sweep.valid], corners)


def assert_same_sweep(back, sweep):
    assert np.array_equal(back.frames[back.valid], sweep.frames[sweep.valid])
    assert back.time_s[back.valid] == pytest.approx(sweep.time_s[sweep.valid], abs=5.1e-8)
    assert pixels_r(back) == pytest.approx(pixels_r(sweep), abs=1e-6)


# ---- acquisitions and sequences --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".igs.mha", ".seq.nrrd"])
@pytest.mark.parametrize(("kind", "layout"), [("linear", "stack"), ("sector", "frames")])
@pytest.mark.parametrize("orientation", [None, "NU"])
def test_an_acquisition_goes_to_a_sequence_and_back(tmp_path, rng, ending, kind, layout, orientation):
    sweep = acquisition(tmp_path / "a", rng, kind=kind, layout=layout)
    lost = convert(tmp_path / "a", tmp_path / f"s{ending}", orientation=orientation)
    assert len(lost) == (kind == "sector")  # of unequal pixels, which PLUS's fan does not know
    assert all("for PLUS, which clips by a rectangle and a fan in pixels" in told for told in lost)
    made = {f"s{ending}", "s.xml", "s.probedata.xml", "a"} | ({"s.zraw"} if ending == ".mhd" else set())
    assert {p.name for p in tmp_path.iterdir()} == made
    assert convert(tmp_path / f"s{ending}", tmp_path / "b", layout="frames") == ()
    back = read_acquisition(tmp_path / "b")
    assert back.sector == sweep.sector
    assert_same_sweep(back, sweep)


@st.composite
def any_sweep(draw):
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(3, 9)), draw(st.integers(3, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["linear", "sector"]))
    width, depth = (rng.uniform(0.5, 2), tuple(np.sort(rng.uniform(0, 9, 2))))
    clip = (
        *np.sort(rng.choice(w, 2, replace=False)).tolist(),
        *np.sort(rng.choice(h, 2, replace=False)).tolist(),
    )
    spacing = tuple(rng.uniform(0.05, 2, 2).tolist())
    origin = (float(rng.uniform(-3, w)), float(rng.uniform(-3, h)))
    sector = ProbeSector(
        kind, float(width), (float(depth[0]), float(depth[1]) + 0.1), origin, spacing, clip, (h, w)
    )
    poses = pose_from(
        Rotation.random(n, random_state=rng.integers(2**31)), rng.normal(scale=300, size=(n, 3))
    )
    start = draw(st.sampled_from([-3600.0, 0.0, 1.4e9]))
    time_s = start + np.cumsum(rng.uniform(1e-3, 0.2, n))
    frames = rng.integers(0, 256, (n, h, w), dtype=np.uint8)
    name = draw(st.sampled_from(["US-Acq_01_20110511T092317", "høyre", "a b.c"]))
    return Sweep(frames, time_s, poses @ sector.t_M_p(), sector, np.ones(n, dtype=bool), name)


@given(
    sweep=any_sweep(),
    ending=st.sampled_from(["mha", "mhd", "nrrd"]),
    layout=st.sampled_from(["stack", "frames"]),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_any_acquisition_goes_to_a_sequence_and_back(sweep, ending, layout):
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        write_acquisition(sweep, here / sweep.name)
        convert(here / sweep.name, here / f"s.{ending}")
        lost = convert(here / f"s.{ending}", here / "back", layout=layout)
        back = read_acquisition(here / "back")
        assert [told for told in lost if not told.startswith("times keep")] == []
        assert np.array_equal(back.frames, sweep.frames)
        assert pixels_r(back) == pytest.approx(pixels_r(sweep), abs=5e-6)  # .tp has nine digits
        assert back.time_s == pytest.approx(sweep.time_s, abs=5e-7, rel=0)
        one = replace(back.sector, width=sweep.sector.width, depth_mm=sweep.sector.depth_mm,
                      origin_p=sweep.sector.origin_p, spacing_mm=sweep.sector.spacing_mm)  # fmt: skip
        assert one == sweep.sector
        assert back.sector.width == pytest.approx(sweep.sector.width, rel=1e-11)
        assert back.sector.spacing_mm == pytest.approx(sweep.sector.spacing_mm, rel=1e-8)


def test_frames_stay_on_disk_on_the_way(tmp_path):
    array = linear_array(20.0, 15.0, 0.055)
    n, (h, w) = 200, array.shape
    frames = np.broadcast_to((np.arange(w) % 251).astype(np.uint8), (n, h, w))  # 21 MB of a line
    poses = np.broadcast_to(array.t_M_p(), (n, 4, 4))
    sweep = Sweep(frames, np.arange(n) / 50, poses, array, np.ones(n, dtype=bool), "long")
    write_acquisition(sweep, tmp_path / "a")
    for source, target in [("a", "t.mha"), ("t.mha", "b"), ("b", "c")]:
        tracemalloc.start()
        try:
            convert(tmp_path / source, tmp_path / target, compressed=False, layout="stack")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert most < frames.size / 2, target
    assert (tmp_path / "c" / "t.raw").stat().st_size == frames.size


def test_plus_finds_the_pictures_where_they_were(tmp_path, rng):
    sweep = acquisition(tmp_path / "a", rng)
    convert(tmp_path / "a", tmp_path / "s.mha", orientation="MFA")
    raw = (tmp_path / "s.mha").read_bytes()
    text = re.search(rb"Seq_Frame0003_ImageToReferenceTransform = (.*)", raw)[1]
    assert np.array(text.split(), dtype=float).reshape(4, 4) @ [5, 7, 0, 1] == pytest.approx(
        sweep.pr_M_p[3] @ [5, 7, 0, 1], abs=1e-6
    )
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "s.mha")), sweep.frames)


@pytest.mark.parametrize("array", [linear_array(20.0, 15.0, 0.4), curved_array(30.0, 50.0, 40.0, 0.9)])
def test_plus_gets_the_calibration_and_the_same_pixels_of_square_ones(tmp_path, rng, array):
    n = 5
    poses = pose_from(Rotation.random(n, random_state=rng), rng.normal(scale=90, size=(n, 3)))
    frames = rng.integers(0, 256, (n, *array.shape), dtype=np.uint8)
    sweep = Sweep(frames, np.arange(n) / 8, poses @ array.t_M_p(), array, np.ones(n, dtype=bool), "square")
    write_acquisition(sweep, tmp_path / "a")
    assert convert(tmp_path / "a", tmp_path / "s.mha") == ()
    config = read_plus_config(tmp_path / "s.xml")
    assert np.array_equal(config.transforms["Image", "Probe"], array.t_M_p())
    seen_ = plus_sweep(read_sequence(tmp_path / "s.mha"), config)
    assert np.array_equal(seen_.sector.mask(), array.mask())
    probe_r = read_sequence(tmp_path / "s.mha").spaces(config).get("Reference", "Probe")
    assert probe_r == pytest.approx(poses, abs=1e-6)


def plus_recording(rng, *, skew=0.0, mirrored=False):
    """Probe and reference tracked, calibration apart; returns the sequence, its config's text, and truth."""
    n = 9
    probe = pose_from(Rotation.random(n, random_state=rng), rng.normal(scale=90, size=(n, 3)))
    reference = pose_from(Rotation.random(n, random_state=rng), rng.normal(scale=90, size=(n, 3)))
    axes = Rotation.from_euler("xyz", [10, 170, -65], degrees=True).as_matrix()
    image = np.eye(4)
    image[:3, 0] = 0.11 * axes[:, 0]
    image[:3, 1] = 0.07 * (axes[:, 1] + skew * axes[:, 0])
    image[:3, 2] = (-3.0 if mirrored else 0.3) * (axes[:, 2] + 0.2 * axes[:, 0])  # it says nothing of pixels
    image[:3, 3] = 12.0, -31.0, 4.5
    everywhere = np.ones(n, dtype=bool)
    transforms = {"ProbeToTracker": Transform(probe, everywhere)}
    transforms["ReferenceToTracker"] = Transform(reference, everywhere)
    frames = rng.integers(0, 256, (n, 20, 30), dtype=np.uint8)
    sequence = Sequence(frames, 3 + 0.05 * np.arange(n), transforms, everywhere, {}, {})
    matrix = " ".join(map(repr, image.ravel().tolist()))
    config = (
        '<PlusConfiguration><CoordinateDefinitions><Transform From="Image" To="Probe" '
        f'Matrix="{matrix}"/></CoordinateDefinitions></PlusConfiguration>'
    )
    return sequence, config, np.linalg.inv(reference) @ probe @ image


def places_in(folder, where):
    back = read_acquisition(folder)
    corners = np.array([[0, 0, 0, 1], [29, 0, 0, 1], [0, 19, 0, 1]]).T
    return np.abs((back.pr_M_p - where) @ corners)[:, :3].max()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_plus_recording_becomes_an_acquisition_whatever_its_third_column_says(tmp_path, rng, mirrored):
    sequence, config, truth = plus_recording(rng, mirrored=mirrored)
    write_sequence(sequence, tmp_path / "s.mha")
    (tmp_path / "c.xml").write_text(config, encoding="utf-8")
    lost = convert(tmp_path / "s.mha", tmp_path / "a", config=tmp_path / "c.xml")
    assert lost == (
        "ProbeToTracker, ReferenceToTracker apart from each other: an acquisition has one pose a frame",
    )
    assert places_in(tmp_path / "a", truth) < 1e-6
    assert np.array_equal(read_acquisition(tmp_path / "a").frames, sequence.frames)
    (tmp_path / "c.xml").rename(tmp_path / "s.xml")
    assert convert(tmp_path / "s.mha", tmp_path / "b") == lost


def test_a_calibration_inside_the_sequence_needs_no_config(tmp_path, rng):
    sequence, config, truth = plus_recording(rng)
    matrix = np.array(re.search('Matrix="(.*?)"', config)[1].split(), dtype=float).reshape(4, 4)
    inside = Transform(np.broadcast_to(matrix, (9, 4, 4)), np.ones(9, dtype=bool))
    inside = replace(sequence, transforms={**sequence.transforms, "ImageToProbe": inside})
    write_sequence(inside, tmp_path / "s.mha")
    convert(tmp_path / "s.mha", tmp_path / "a")
    assert places_in(tmp_path / "a", truth) < 1e-6


def test_a_skewed_calibration_is_told_with_what_it_costs(tmp_path, rng):
    sequence, config, truth = plus_recording(rng, skew=0.05)
    write_sequence(sequence, tmp_path / "s.mha")
    (tmp_path / "s.xml").write_text(config, encoding="utf-8")
    lost = convert(tmp_path / "s.mha", tmp_path / "a")
    found = re.match(r"pixels move by up to ([\d.]+) mm: rows and columns are ([\d.]+) degrees", lost[0])
    assert float(found[2]) == pytest.approx(90 - np.degrees(np.arctan(0.05)), abs=0.01)
    assert float(found[1]) == pytest.approx(places_in(tmp_path / "a", truth), rel=0.05)
    assert 0.01 < float(found[1]) < 0.1


def test_every_thing_that_an_acquisition_cannot_hold_is_told(tmp_path, rng):
    sequence, config, truth = plus_recording(rng)
    seen_, pictures = np.ones(9, dtype=bool), np.ones(9, dtype=bool)
    seen_[[2, 6]], pictures[0] = False, False
    time_s = sequence.time_s + 0.123456789e-6
    time_s[4], time_s[8] = np.nan, time_s[7]
    probe = sequence.transforms["ProbeToTracker"]
    missing = Transform(probe.pose, seen_, ("", "", "MISSING", *[""] * 6))
    transforms = {**sequence.transforms, "ProbeToTracker": missing, "StylusToTracker": probe}
    fields = {"FrameNumber": ("1",) * 9, "Hand": ("left",) * 9}
    one = replace(sequence, time_s=time_s, image_valid=pictures, transforms=transforms,
                  fields=fields, header={"Site": "Oslo"})  # fmt: skip
    write_sequence(one, tmp_path / "s.mha")
    device = '<DataCollection><Device Id="Probe" LocalTimeOffsetSec="0.2"/></DataCollection><Coord'
    (tmp_path / "s.xml").write_text(config.replace("<Coord", device), encoding="utf-8")
    lost = convert(tmp_path / "s.mha", tmp_path / "a")
    kept = [1, 3, 5, 7]
    assert np.array_equal(read_acquisition(tmp_path / "a").frames, sequence.frames[kept])
    assert places_in(tmp_path / "a", truth[kept]) < 1e-6
    assert [re.sub(r"[\d.e-]+ s$", "# s", told) for told in lost[:5]] == [
        "1 frame whose picture is INVALID, left out",
        "2 frames without a pose, left out",
        "1 frame without a time, left out",
        "1 frame not later than one before, left out",
        "times keep 0.1 us: they change by up to # s",
    ]
    assert lost[5:] == (
        "2 fields of frames, no place in a CustusX acquisition: FrameNumber, Hand",
        "1 transform: StylusToTracker",
        "ProbeToTracker, ReferenceToTracker apart from each other: an acquisition has one pose a frame",
        "Site of the header",
        "time offsets of the configuration, which are not applied: Probe 0.2 s",
    )
    none = replace(one, image_valid=np.zeros(9, dtype=bool))
    write_sequence(none, tmp_path / "s.mha")
    with pytest.raises(FileError, match="no frame has a picture, a time and a pose: 9 frames whose"):
        convert(tmp_path / "s.mha", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_every_thing_that_a_sequence_cannot_hold_is_told(tmp_path, rng):
    sweep = acquisition(tmp_path / "a", rng)
    base = tmp_path / "a" / sweep.name
    header = base.parent / f"{base.name}.mhd"
    colour = np.repeat(sweep.frames[..., None], 3, axis=-1)
    (tmp_path / "a" / f"{base.name}.raw").write_bytes(colour.tobytes())
    text = header.read_text(encoding="utf-8").replace("Modality = US", "Modality = US\nConfigurationID = A:B")
    text = text.replace("ElementType", "ElementNumberOfChannels = 3\nElementType")
    header.write_text(text, encoding="utf-8")
    (tmp_path / "a" / f"{base.name}.fp").write_text("poses", encoding="utf-8")
    times = np.loadtxt(tmp_path / "a" / f"{base.name}.tts")
    times[3] += 1.5
    np.savetxt(tmp_path / "a" / f"{base.name}.tts", times, "%.4f")
    lost = convert(tmp_path / "a", tmp_path / "s.mha")
    assert lost == (
        "1 tracking sample at times of their own: a sequence has one pose a frame, interpolated between them",
        "grey from colour: the pictures have 3 channels",
        "ConfigurationID of the pictures' header",
        f"1 file beside the frames: {base.name}.fp",
    )
    assert np.abs(read_sequence(tmp_path / "s.mha").frames.astype(int) - sweep.frames).max() <= 1


def test_probe_data_of_another_picture_are_refused(tmp_path, rng):
    sweep = acquisition(tmp_path / "a", rng)
    convert(tmp_path / "a", tmp_path / "s.mha")
    probe = tmp_path / "s.probedata.xml"
    text = probe.read_text(encoding="utf-8")
    for old, new, sentence in [
        ('width="36"', 'width="40"', r"for pictures of 40 x 27 pixels; s\.mha has 36 x 27"),
        ('spacing="0.31', 'spacing="0.33', r"has pixels of \(0\.33, 0\.47\) mm; the calibration"),
        ('type="2"', 'type="0"', "has type 0, no sector"),
    ]:
        assert old in text
        probe.write_text(
            text.replace(old, new, 1) if old != 'width="36"' else text.replace(old, new), encoding="utf-8"
        )
        with pytest.raises(FileError, match=sentence):
            convert(tmp_path / "s.mha", tmp_path / "b")
    probe.unlink()
    convert(tmp_path / "s.mha", tmp_path / "b")  # PLUS's clip is all there is then
    assert_same_sweep(read_acquisition(tmp_path / "b"), sweep)


# ---- among themselves ------------------------------------------------------------------------------------


def test_layouts_keep_every_byte(tmp_path, rng):
    acquisition(tmp_path / "a", rng)
    (tmp_path / "a" / "US-Acq_ø.probe.toolmeta").write_bytes(b"\x00meta")
    assert convert(tmp_path / "a", tmp_path / "f", layout="frames") == ()
    assert len(list((tmp_path / "f").glob("*_*.mhd"))) == 14
    assert convert(tmp_path / "f", tmp_path / "s") == ()
    for path in (tmp_path / "a").iterdir():
        if path.suffix != ".mhd":
            assert (tmp_path / "s" / path.name).read_bytes() == path.read_bytes(), path.name
    assert_same_sweep(read_acquisition(tmp_path / "f"), read_acquisition(tmp_path / "a"))
    assert_same_sweep(read_acquisition(tmp_path / "s"), read_acquisition(tmp_path / "a"))
    one = tmp_path / "f" / "US-Acq_ø_3.mhd"
    one.write_text(
        one.read_text(encoding="utf-8").replace("Offset = 0 0 0", "Offset = 3 1 4"), encoding="utf-8"
    )
    assert convert(tmp_path / "f", tmp_path / "t") == ("Offset of each frame's own header: a stack has one",)
    assert convert(tmp_path / "f", tmp_path / "g", layout="frames") == ()
    assert "Offset = 3 1 4" in (tmp_path / "g" / one.name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("first", "second"), [("a.mha", "b.nrrd"), ("a.nrrd", "b.mhd"), ("a.mhd", "b.mha")])
@pytest.mark.parametrize("orientation", ["UN", "FM"])
def test_a_sequence_keeps_all_in_every_format(tmp_path, rng, first, second, orientation):
    sequence, _, _ = plus_recording(rng)
    words = ("", "MISSING", *[""] * 7)
    valid = np.arange(9) != 1
    poses = sequence.transforms["ProbeToTracker"].pose
    transforms = {**sequence.transforms, "ProbeToTracker": Transform(poses, valid, words)}
    one = replace(
        sequence, transforms=transforms, fields={"Hand": ("venstre å",) * 9}, header={"Site": "Bergen"}
    )
    write_sequence(one, tmp_path / first)
    told = []
    assert convert(tmp_path / first, tmp_path / second, orientation=orientation,
                   progress=lambda k, n: told.append((k, n))) == ()  # fmt: skip
    assert told[-1] == (9, 9)
    back = read_sequence(tmp_path / second)
    assert np.array_equal(back.frames, one.frames)
    assert back.transforms["ProbeToTracker"].status == words
    assert np.array_equal(back.transforms["ProbeToTracker"].pose, poses)
    assert back.fields == one.fields
    assert back.header["Site"] == "Bergen"


def test_positions_become_a_table_and_a_sequence(tmp_path):
    one, two = (0.3, -0.2, 1.1, 10, 20, 30), (0.1, 0.4, -2.0, -5, 6, 7.25)
    data = log(tool_record("9730605 pointer"), pose_record(1000, one), pose_record(1050, two),
               tool_record("To-Nål"), pose_record(1050, one))  # fmt: skip
    (tmp_path / "p.snwpos").write_bytes(data)
    truth = read_positions(tmp_path / "p.snwpos")
    assert convert(tmp_path / "p.snwpos", tmp_path / "p.csv") == ()
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tool"], float(row["time_s"])) for row in rows] == [
        ("9730605 pointer", 1.0), ("9730605 pointer", 1.05), ("To-Nål", 1.05)]  # fmt: skip
    assert [float(rows[1][f"m{i}{j}"]) for i in range(3) for j in range(4)] == pytest.approx(
        truth["9730605 pointer"].pose[1, :3].ravel().tolist(), abs=1e-15
    )
    lost = convert(tmp_path / "p.snwpos", tmp_path / "p.mha")
    assert lost == (
        "the name '9730605 pointer': PLUS calls it 9730605Pointer",
        "the name 'To-Nål': PLUS calls it toNl",
    )
    sequence = read_sequence(tmp_path / "p.mha")
    assert sequence.time_s.tolist() == [1.0, 1.05]
    pointer = sequence.transforms["9730605PointerToReference"]
    assert np.array_equal(pointer.pose, truth["9730605 pointer"].pose)
    assert pointer.valid.all()
    assert sequence.transforms["toNlToReference"].valid.tolist() == [False, True]


# ---- volumes, DICOM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [".mha", ".mhd", ".nrrd", ".nii", ".nii.gz"])
@pytest.mark.parametrize("second", [".mha", ".mhd", ".nrrd", ".nii", ".nii.gz"])
def test_volumes_keep_values_type_and_place(tmp_path, rng, first, second):
    values = rng.normal(scale=1e9, size=(3, 5, 4))
    source, target = tmp_path / f"x{first}", tmp_path / "out" / f"y{second}"
    by_hand(source, values, place(), "f8")
    lost = convert(source, target)
    back, m = seen(target)
    assert np.array_equal(back, values)
    coarse = ".nii" in first + second
    assert m == pytest.approx(place(), abs=3e-4 if coarse else 1e-9)
    assert len(lost) == (".nii" in second)
    if lost and ".nii" not in first:
        worst = float(re.search(r"move by up to (\S+) mm", lost[0])[1])
        corners = np.array([[x, y, z, 1] for x in (0, 3) for y in (0, 4) for z in (0, 2)]).T
        assert worst == pytest.approx(np.abs(m @ corners - place() @ corners).max(), rel=1)


def test_left_handed_axes_and_keys_of_a_header_are_told(tmp_path, rng):
    values = rng.integers(-900, 900, (3, 5, 4), dtype=np.int16)
    by_hand(tmp_path / "x.mha", values, place(left_handed=True), "i2")
    raw = (tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(raw.replace(b"ElementType", b"Modality = CT\nElementType"))
    lost = convert(tmp_path / "x.mha", tmp_path / "y.nrrd")
    assert [told.split(";")[0] for told in lost] == [
        "x.mha: the axes are left-handed", "x.mha: Modality of its header"]  # fmt: skip
    ours, theirs = (
        voxels_and_places(*seen(tmp_path / "y.nrrd")),
        voxels_and_places(values, place(left_handed=True)),
    )
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1] == pytest.approx(theirs[1], abs=1e-9)


@pytest.mark.parametrize(
    ("slope", "dtype", "n"), [((1, -1024), "int16", 1), ((10, 20000), "uint16", 1), ((0.3, 0), "float32", 2)]
)
def test_a_dicom_series_becomes_a_volume_of_its_numbers(tmp_path, rng, slope, dtype, n):
    (tmp_path / "d").mkdir()
    pixels = series(tmp_path / "d", rng, slope=slope)
    lost = convert(tmp_path / "d", tmp_path / "v.nrrd")
    values, m = seen(tmp_path / "v.nrrd")
    assert values.dtype == dtype
    assert values == pytest.approx(pixels.astype(float) * slope[0] + slope[1], rel=1e-7)
    assert m[:3, :3] == pytest.approx(AXES * [COLUMN_MM, ROW_MM, SLICE_MM], abs=1e-6)
    assert m[:3, 3] == pytest.approx(CORNER, abs=1e-6)
    assert len(lost) == n
    assert "DICOM fields, the name of the patient among them" in lost[-1]
    assert b"Hansen" not in (tmp_path / "v.nrrd").read_bytes()


# ---- landmarks, transforms, probes -----------------------------------------------------------------------

PLACES = {"nose": (10.0, -20.5, 3.25), "left ear, upper": (71.0, 4.5, -8.0)}


def written_landmarks(path):
    """By hand, each in the format's own way: RAS where it is RAS."""
    ras = {name: (-x, -y, z) for name, (x, y, z) in PLACES.items()}
    if path.suffix == ".json":
        points = [{"label": n, "position": p} for n, p in ras.items()]
        path.write_text(
            json.dumps({"markups": [{"coordinateSystem": "RAS", "controlPoints": points}]}), encoding="utf-8"
        )
    elif path.suffix == ".fcsv":
        columns = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
        head = f"# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = {columns}\n"
        places = enumerate(PLACES.items())  # LPS, as the line above says
        rows = "".join(f'{k},{x},{y},{z},0,0,0,1,1,1,0,"{n}",,\n' for k, (n, (x, y, z)) in places)
        path.write_text(head + rows, encoding="utf-8")
    else:
        rows = "\n".join(f'{x} {y} {z} "{n}"' for n, (x, y, z) in ras.items())
        path.write_text(f"MNI Tag Point File\nVolumes = 1;\n% MINC\nPoints =\n{rows};\n", encoding="utf-8")


def seen_landmarks(path):
    """LPS by name, read by this test alone."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        (one,) = json.loads(text)["markups"]
        sign = -1 if one["coordinateSystem"] == "RAS" else 1
        return {p["label"]: tuple(np.array(p["position"]) * [sign, sign, 1]) for p in one["controlPoints"]}
    if path.suffix == ".fcsv":
        sign = 1 if re.search(r"CoordinateSystem = (LPS|1)\b", text) else -1
        rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
        return {r[11]: (sign * float(r[1]), sign * float(r[2]), float(r[3])) for r in rows}
    rows = re.findall(r'(?m)^\s*(\S+) (\S+) (\S+) "(.*?)"', text)
    assert "RAS" in text or "MINC" in text
    return {n: (-float(x), -float(y), float(z)) for x, y, z, n in rows}


@pytest.mark.parametrize("first", [".mrk.json", ".fcsv", ".tag"])
@pytest.mark.parametrize("second", [".mrk.json", ".fcsv", ".tag"])
def test_landmarks_lie_where_they_lay_in_every_format(tmp_path, first, second):
    written_landmarks(tmp_path / f"a{first}")
    assert seen_landmarks(tmp_path / f"a{first}") == PLACES
    assert convert(tmp_path / f"a{first}", tmp_path / f"b{second}") == ()
    assert seen_landmarks(tmp_path / f"b{second}") == PLACES


def test_what_landmarks_lose_is_told(tmp_path):
    tag = 'MNI Tag Point File\nVolumes = 2;\n% RAS\n% by Kari\nPoints =\n1 2 3 4 5 6 "a"\n7 8 9 1 1 1 "b";\n'
    (tmp_path / "two.tag").write_text(tag, encoding="utf-8")
    assert convert(tmp_path / "two.tag", tmp_path / "one.fcsv") == (
        "two.tag: its comments", "two.tag: the 2 places in the second volume")  # fmt: skip
    assert read_points(tmp_path / "one.fcsv").points_r.tolist() == [[-1, -2, 3], [-7, -8, 9]]
    points = [{"label": "a", "position": [1, 2, 3], "locked": True, "description": "x"},
              {"label": "b", "position": [4, 5, 6], "visibility": False, "selected": True}]  # fmt: skip
    markup = {"coordinateSystem": "LPS", "controlPoints": points, "display": {"opacity": 1}}
    (tmp_path / "m.mrk.json").write_text(json.dumps({"markups": [markup]}), encoding="utf-8")
    assert convert(tmp_path / "m.mrk.json", tmp_path / "m.tag") == (
        "m.mrk.json: its display", "m.mrk.json: the descriptions of 1 point",
        "m.mrk.json: the locks of 1 point", "m.mrk.json: the marks 'not visible' of 1 point")  # fmt: skip


RIGID = pose_from(Rotation.from_euler("xyz", [20, -50, 130], degrees=True), np.array([12.5, -77.0, 301.25]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *itertools.product([".tfm", ".txt", ".cal"], repeat=2),
        (".tfm", ".h5"),
        (".h5", ".txt"),
    ],  # HDF5 is slow
)
def test_transforms_move_points_alike_in_every_format(tmp_path, first, second):
    np.savetxt(tmp_path / "a.txt", RIGID, "%.17g")
    source, target = tmp_path / f"a{first}", tmp_path / f"b{second}"
    if first != ".txt":
        assert convert(tmp_path / "a.txt", source) == ()
    assert convert(source, target) == ()
    p = np.array([31.0, -8.0, 55.0])
    moved = RIGID[:3, :3] @ p + RIGID[:3, 3]
    if second in (".tfm", ".h5"):
        assert sitk.ReadTransform(target).TransformPoint(moved.tolist()) == pytest.approx(p, abs=1e-9)
    else:
        assert np.loadtxt(target) @ [*p, 1] == pytest.approx([*moved, 1], abs=1e-9)


def test_what_transforms_lose_is_told_and_what_they_cannot_be_refused(tmp_path):
    euler = sitk.Euler3DTransform((5, 6, 7), 0.1, 0.2, 0.3, (1, 2, 3))
    sitk.WriteTransform(euler, tmp_path / "e.tfm")
    assert convert(tmp_path / "e.tfm", tmp_path / "e.h5") == (
        "e.tfm: that it is a Euler3DTransform; what it does to points is kept",
    )
    np.savetxt(tmp_path / "r.cal", RIGID, "%.5f")
    (told,) = convert(tmp_path / "r.cal", tmp_path / "r.txt")
    assert re.match(r"r\.cal: its six digits are made an exact rotation: half a metre away 0\.00\d+ mm", told)
    np.savetxt(tmp_path / "s.txt", RIGID @ np.diag([1, 1, 1.2, 1]), "%.17g")
    with pytest.raises(ValueError, match=r"rotation|rigid"):
        convert(tmp_path / "s.txt", tmp_path / "s.cal")
    np.savetxt(tmp_path / "t.txt", RIGID.T, "%.17g")
    with pytest.raises(FileError, match="Is it transposed"):
        convert(tmp_path / "t.txt", tmp_path / "t.tfm")
    (tmp_path / "u.txt").write_text("1 2 3\n", encoding="utf-8")
    with pytest.raises(FileError, match="a 4 x 4 matrix"):
        convert(tmp_path / "u.txt", tmp_path / "u.tfm")
    assert not (tmp_path / "s.cal").exists()


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("a", "x.nii", r"a \(acquisition\) becomes sequence \(\.mha, \.mhd, \.nrrd\) or a folder"),
        ("a", "x.png", r"not x\.png"),
        ("n.fcsv", "x.mha", r"n\.fcsv \(landmarks\) becomes landmarks \(\.mrk\.json"),
        ("n.fcsv", "n.fcsv", "is the source itself"),
        ("n.fcsv", "there.tag", r"there\.tag exists; overwrite=True replaces it"),
        ("s.mha", "full", "full exists; overwrite=True"),
        ("none.mha", "x.nrrd", "does not exist"),
        ("empty", "x.nrrd", "holds neither an acquisition"),
        ("what.doc", "x.nrrd", "nothing that can be converted"),
    ],
)
def test_what_cannot_be_is_told_with_what_can(tmp_path, rng, source, target, sentence):
    sweep = acquisition(tmp_path / "a", rng)
    write_sequence(sequence_of(sweep), tmp_path / "s.mha")
    written_landmarks(tmp_path / "n.fcsv")
    for name in ("there.tag", "what.doc", "full/x.txt", "empty/.keep"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError, match=sentence):
        convert(tmp_path / source, tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.tag").read_text(encoding="utf-8") == "mine"


def test_overwriting_takes_the_old_one_away_whole_and_nothing_else(tmp_path, rng):
    sweep = acquisition(tmp_path / "a", rng)
    convert(tmp_path / "a", tmp_path / "s.mha")
    convert(tmp_path / "s.mha", tmp_path / "b", layout="stack")
    convert(tmp_path / "s.mha", tmp_path / "b", layout="frames", overwrite=True)
    assert not (tmp_path / "b" / "s.mhd").exists()
    assert_same_sweep(read_acquisition(tmp_path / "b"), sweep)
    (tmp_path / "b" / "diary.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileError, match=r"holds diary\.txt; only a folder of one acquisition"):
        convert(tmp_path / "s.mha", tmp_path / "b", overwrite=True)
    (tmp_path / "s.mha").unlink()
    with pytest.raises(FileError, match=r"s\.probedata\.xml, s\.xml exists beside s\.mha"):
        convert(tmp_path / "a", tmp_path / "s.mha")
    assert not (tmp_path / "s.mha").exists()
    convert(tmp_path / "a", tmp_path / "s.mha", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "s.mha", "s.probedata.xml", "s.xml"]


# ---- real recordings -------------------------------------------------------------------------------------


def test_a_real_acquisition_gives_the_same_volume_by_way_of_plus(tmp_path, navkit_data):
    source = navkit_data / "custusx" / "angio_lab_256x192"
    lost = convert(source, tmp_path / "s.mha")
    assert [told[:44] for told in lost] == ["383 tracking samples at times of their own: "]
    assert convert(tmp_path / "s.mha", tmp_path / "a") == ("1 frame without a pose, left out",)
    sweep, back = read_acquisition(source), read_acquisition(tmp_path / "a")
    assert_same_sweep(back, sweep)
    assert np.abs(back.pr_M_p - sweep.pr_M_p[sweep.valid]).max() < 1e-6
    assert back.sector == sweep.sector
    grid = output_grid(sweep, spacing_mm=0.4)
    ours, theirs = (reconstruct(one, grid).values for one in (back, sweep))
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    assert same.mean() > 0.9999
    assert np.isfinite(theirs).sum() > 10_000
    for layout, other in [("frames", "f"), ("stack", "g")]:
        assert convert(source if other == "f" else tmp_path / "f", tmp_path / other, layout=layout) == ()
    one = read_acquisition(tmp_path / "g")
    assert np.array_equal(one.frames, sweep.frames)
    assert np.array_equal(one.pr_M_p[1:], sweep.pr_M_p[1:])


def test_a_real_plus_recording_goes_to_an_acquisition_and_back(tmp_path, navkit_data):
    folder = navkit_data / "plus" / "volrec"
    config = next(folder.glob("*SpinePhantom_NN_MEAN.xml"))
    source = folder / "SpinePhantomFreehand.igs.mha"
    lost = convert(source, tmp_path / "a", config=config)
    assert "rows and columns are 92.74 degrees apart" in lost[0]  # this calibration is so
    assert 0.5 < float(re.search(r"up to (\S+) mm", lost[0])[1]) < 1
    assert lost[1:] == (
        "1 transform: StylusToTracker",
        "ProbeToTracker, ReferenceToTracker apart from each other: an acquisition has one pose a frame",
    )
    assert convert(tmp_path / "a", tmp_path / "s.mha") == ()
    assert convert(tmp_path / "s.mha", tmp_path / "b") == ()
    one, two = read_acquisition(tmp_path / "a"), read_acquisition(tmp_path / "b")
    assert np.array_equal(one.frames, read_sequence(source).frames)
    assert_same_sweep(two, one)
    with pytest.raises(FileError, match="no way from Image to Reference"):
        convert(source, tmp_path / "c")


def test_real_small_files(tmp_path, navkit_data):
    database = navkit_data / "custusx" / "config" / "tool" / "ProbeCalibConfigs.xml"
    key = "Vivid 7 - Karkirurgen:M12L:VGA:WidthMaxDepth40"
    lost = convert(database, tmp_path / "p.probedata.xml", configuration=key)
    assert lost == (
        f"{key}: its Name, NCorners, Corner",
        "ProbeCalibConfigs.xml: the other 104 configurations",
    )
    text = (tmp_path / "p.probedata.xml").read_text(encoding="utf-8")
    assert 'temporalCalibration="170"' in text
    assert 'clipRect_p="125 470 53 411 0 0"' in text
    with pytest.raises(
        FileError, match="has 105 configurations and none is 'Vivid 7:M12L'; expected one such as"
    ):
        convert(database, tmp_path / "q.probedata.xml", configuration="Vivid 7:M12L")
    volume = next((navkit_data / "plus" / "volrec").glob("*NNMEAN*Ref.mha"))
    lost = convert(volume, tmp_path / "v.nii.gz")
    assert re.match(r"v\.nii\.gz: the positions of voxels move by up to \S+e-06 mm", lost[0])
    shutil.rmtree(tmp_path)
