"""CustusX acquisitions and volumes: what goes out comes back, and what is broken is named."""

import shutil
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import files
from navkit.__main__ import app, run
from navkit.geometry import inverse, pose_error
from navkit.reconstruction import output_grid, reconstruct


@pytest.mark.parametrize("layout", ["stack", "frames"])
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_an_acquisition_written_and_read_is_the_same_in_both_layouts(tmp_path, rng, layout, kind):
    sweep = hand_sweep(rng, kind=kind)
    files.write_acquisition(sweep, tmp_path / "acq", layout=layout)
    back = files.read_acquisition(tmp_path / "acq")
    assert np.array_equal(back.frames, sweep.frames)
    assert np.abs(back.time_s - sweep.time_s).max() < 1e-6
    assert np.abs(back.pr_M_p - sweep.pr_M_p).max() < 1e-6
    assert back.valid.all()
    assert np.array_equal(back.sector.mask(), sweep.sector.mask())
    assert back.sector == sweep.sector


def test_frames_outside_the_tracking_are_dropped_and_counted(tmp_path, rng):
    sweep = hand_sweep(rng, n=20)
    files.write_acquisition(sweep, tmp_path)
    times = (tmp_path / "hand.tts").read_text(encoding="utf-8").splitlines()
    poses = (tmp_path / "hand.tp").read_text(encoding="utf-8").splitlines()
    (tmp_path / "hand.tts").write_text("\n".join(times[2:-3]) + "\n", encoding="utf-8")
    (tmp_path / "hand.tp").write_text("\n".join(poses[6:-9]) + "\n", encoding="utf-8")
    back = files.read_acquisition(tmp_path)
    assert back.valid.tolist() == [False] * 2 + [True] * 15 + [False] * 3
    assert np.isnan(back.pr_M_p[0]).any()
    assert back.notes == ("5 of 20 frames have no tracking and are left out",)
    thrown = files.read_acquisition(tmp_path, extrapolate=True)
    assert thrown.valid.all(), "within 250 ms CustusX keeps them"


def test_one_folder_with_two_acquisitions_asks_which(tmp_path, rng):
    files.write_acquisition(hand_sweep(rng, name="first"), tmp_path)
    files.write_acquisition(hand_sweep(rng, name="second"), tmp_path)
    with pytest.raises(files.FileError, match=r"2 acquisitions \(first, second\)"):
        files.read_acquisition(tmp_path)
    assert files.read_acquisition(tmp_path / "second.fts").name == "second"


def test_a_compressed_colour_stack_is_read_as_grey(tmp_path, rng):
    sweep = hand_sweep(rng)
    files.write_acquisition(sweep, tmp_path)
    colour = np.stack([sweep.frames, sweep.frames // 2, sweep.frames // 3], axis=-1)
    (tmp_path / "hand.zraw").write_bytes(zlib.compress(colour.tobytes()))
    header = (tmp_path / "hand.mhd").read_text(encoding="utf-8")
    header = header.replace("CompressedData = False", "CompressedData = True\nElementNumberOfChannels = 3")
    (tmp_path / "hand.mhd").write_text(header.replace("hand.raw", "hand.zraw"), encoding="utf-8")
    back = files.read_acquisition(tmp_path)
    expected = 0.30 * colour[..., 0] + 0.59 * colour[..., 1] + 0.11 * colour[..., 2]
    assert np.abs(back.frames - expected).max() <= 0.51


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"the fixture has no {old!r} in {path.name}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_line(path: Path, number: int, new: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = new
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


BROKEN = {
    "no .fts": (lambda d: (d / "hand.fts").unlink(), ["no .fts file", "expected one with the frame times"]),
    "no .tp": (lambda d: (d / "hand.tp").unlink(), ["hand.tp is missing"]),
    "no pixels": (lambda d: (d / "hand.raw").unlink(), ["hand.mhd line 13", "hand.raw is not in"]),
    "no frames": (lambda d: (d / "hand.mhd").unlink(), ["neither hand.mhd nor hand_0.mhd"]),
    "a time too few": (
        lambda d: (d / "hand.fts").write_text(
            "\n".join((d / "hand.fts").read_text(encoding="utf-8").split()[:-1]), encoding="utf-8"
        ),
        ["14 frames but 13 times in hand.fts", "expected the same number"],
    ),
    "truncated pixels": (
        lambda d: (d / "hand.raw").write_bytes((d / "hand.raw").read_bytes()[:-100]),
        ["hand.raw holds 13508 bytes", "hand.mhd line 10 expects 13608", "cut off"],
    ),
    "too many pixels": (
        lambda d: (d / "hand.raw").write_bytes((d / "hand.raw").read_bytes() + b"x"),
        ["hand.raw holds 13609 bytes", "belong together"],
    ),
    "spacing against the XML": (
        lambda d: edit(d / "hand.mhd", "ElementSpacing = 0.31", "ElementSpacing = 0.33"),
        ["hand.probedata.xml line 3", "0.31 x 0.47", "hand.mhd line 9", "0.33 x 0.47", "sound speed"],
    ),
    "size against the XML": (
        lambda d: edit(d / "hand.probedata.xml", 'width="36"', 'width="37"'),
        ["37 x 27 pixels", "36 x 27"],
    ),
    "non-rigid pose": (
        lambda d: edit_line(d / "hand.tp", 8, "1.5 0 0 7"),
        ["hand.tp lines 7-9", "not rigid", "expected 1"],
    ),
    "a word in the poses": (
        lambda d: edit_line(d / "hand.tp", 5, "0.1 0.2 oops 3"),
        ["hand.tp line 5", "'0.1 0.2 oops 3'", "expected 4 numbers"],
    ),
    "NaN in the poses": (
        lambda d: edit_line(d / "hand.tp", 5, "0.1 nan 0 3"),
        ["hand.tp line 5", "expected 4"],
    ),
    "a pose line too few": (
        lambda d: (d / "hand.tp").write_text(
            "\n".join((d / "hand.tp").read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8"
        ),
        ["hand.tp: 41 lines", "expected 42", "hand.tts"],
    ),
    "frame times run back": (
        lambda d: edit_line(d / "hand.fts", 4, (d / "hand.fts").read_text(encoding="utf-8").split()[1]),
        ["hand.fts line 4", "does not come after", "expected increasing"],
    ),
    "tracking times run back": (
        lambda d: edit_line(d / "hand.tts", 9, "5.0"),
        ["hand.tts line 9", "expected increasing"],
    ),
    "empty .tts": (lambda d: (d / "hand.tts").write_text("\n", encoding="utf-8"), ["hand.tts is empty"]),
    "frames at another time": (
        lambda d: (d / "hand.tts").write_text("".join(f"{k}\n" for k in range(14)), encoding="utf-8"),
        ["no frame lies within the tracking"],
    ),
    "broken XML": (lambda d: edit(d / "hand.probedata.xml", "</root>", "</rot>"), ["not well-formed XML"]),
    "unknown probe type": (
        lambda d: edit(d / "hand.probedata.xml", 'type="2"', 'type="7"'),
        ["type=7", "expected 1"],
    ),
    "no probe data": (lambda d: (d / "hand.probedata.xml").unlink(), ["no usable hand.probedata.xml"]),
    "no DimSize": (lambda d: edit(d / "hand.mhd", "DimSize", "Dims"), ["no line DimSize"]),
    "16-bit pixels": (
        lambda d: edit(d / "hand.mhd", "MET_UCHAR", "MET_FANCY"),
        ["hand.mhd line 11", "MET_FANCY", "expected one of MET_UCHAR"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_acquisition_is_one_sentence_exit_code_2_and_no_output(
    tmp_path, rng, what, capsys, monkeypatch
):
    break_it, expected = BROKEN[what]
    folder = tmp_path / "acq"
    files.write_acquisition(hand_sweep(rng), folder)
    files.read_acquisition(folder)  # whole before it is broken
    break_it(folder)
    output = tmp_path / "out" / "volume.mha"
    monkeypatch.setattr(sys, "argv", ["navkit", "reconstruct", str(folder), "-o", str(output)])
    assert run(app) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in expected:
        assert part in message
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_the_images_spacing_is_taken_when_asked_for_and_noted(tmp_path, rng):
    files.write_acquisition(hand_sweep(rng), tmp_path)
    edit(tmp_path / "hand.mhd", "ElementSpacing = 0.31 0.47", "ElementSpacing = 0.31 0.45")
    sweep = files.read_acquisition(tmp_path, spacing_from="image")
    assert sweep.sector.spacing_mm == (0.31, 0.45)
    assert "the image's is used" in sweep.notes[0]


def test_a_failed_write_leaves_nothing(tmp_path, rng, monkeypatch):
    sweep = hand_sweep(rng)
    monkeypatch.setattr("navkit.files._custusx.probedata_text", lambda sector: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write_acquisition(sweep, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nii.gz"])
def test_a_volume_comes_back_with_its_place_and_its_holes(tmp_path, rng, ending):
    volume = reconstruct(hand_sweep(rng), fill="none")
    path = tmp_path / f"volume{ending}"
    files.write_volume(volume, path)
    back = files.read_volume(path, no_data=0)
    assert np.array_equal(np.isnan(back.values), np.isnan(volume.values))
    known = np.isfinite(volume.values)
    assert np.abs(back.values[known] - np.maximum(volume.values[known], 1)).max() <= 0.5
    corner = np.array([3.0, 7.0, 2.0, 1.0])
    assert np.abs((back.grid.pr_M_voxel() - volume.grid.pr_M_voxel()) @ corner).max() < 1e-3
    assert len(list(tmp_path.iterdir())) == (2 if ending == ".mhd" else 1)


def test_a_header_is_moved_after_the_pixels_that_it_speaks_of(tmp_path, rng, monkeypatch):
    volume = reconstruct(hand_sweep(rng))
    moved = []
    replace_file = Path.replace

    def watched(self, target):
        moved.append(Path(target).name)
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    files.write_volume(volume, tmp_path / "volume.mhd")
    assert len(moved) == 2
    assert moved[1] == "volume.mhd"


def test_zero_stays_no_data_and_the_darkest_value_is_one(tmp_path, rng):
    sweep = hand_sweep(rng)
    dark = replace(sweep, frames=np.zeros_like(sweep.frames))
    volume = reconstruct(dark)
    files.write_volume(volume, tmp_path / "dark.mha")
    back = files.read_volume(tmp_path / "dark.mha")
    assert set(np.unique(back.values)) == {0.0, 1.0}
    assert np.array_equal(back.values == 1, volume.weight > 0)


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path, rng):
    volume = reconstruct(hand_sweep(rng))
    with pytest.raises(files.FileError, match=r"expected one of \.mha"):
        files.write_volume(volume, tmp_path / "volume.vol")
    assert list(tmp_path.iterdir()) == []


# ---- real recordings -------------------------------------------------------------------------------------


def test_the_real_acquisition_is_read_and_its_first_frame_is_left_out(navkit_data):
    sweep = files.read_acquisition(navkit_data / "custusx" / "angio_lab_256x192")
    assert sweep.frames.shape == (77, 192, 256)
    assert np.count_nonzero(~sweep.valid) == 1
    assert not sweep.valid[0]
    # custusx.md: the left clip edge lies half the probe's width to the left of the origin
    assert sweep.sector.pixels_to_tool([39, 16.625])[1] == pytest.approx(37.8204 / 2, abs=0.06)


def test_custusx_own_settings_throw_three_frames_far_away(navkit_data):
    stream = files.read_tracking(navkit_data / "custusx" / "angio_lab_text")
    times = np.loadtxt(next((navkit_data / "custusx" / "angio_lab_text").glob("*.fts"))) / 1000
    from navkit.tracking import moving_average

    _, valid = stream.at(times)
    assert np.flatnonzero(~valid).tolist() == [0, 1, 2]
    plain, _ = stream.at(times, extrapolate=True)
    thrown, all_valid = moving_average(stream, 2).at(times, extrapolate=True)
    assert all_valid.all()
    away = pose_error(thrown, plain).translation_mm
    assert away[:3] == pytest.approx([24, 17, 9], abs=1.0)
    assert np.median(away[10:-10]) < 0.2, "elsewhere the filter moves hardly anything"


def test_the_2011_acquisition_without_probe_data_finds_its_sector_in_the_database(navkit_data, tmp_path):
    source = navkit_data / "custusx" / "temporal_2011_text"
    for path in source.iterdir():
        shutil.copy(path, tmp_path / path.name)
    base = next(source.glob("*.fts")).stem
    deflate = zlib.compressobj(1)
    with (tmp_path / f"{base}.zraw").open("wb") as file:
        file.writelines(deflate.compress(bytes(800 * 600 * 3)) for _ in range(233))
        file.write(deflate.flush())
    sweep = files.read_acquisition(tmp_path)
    assert len(sweep) == 233
    assert sweep.sector.kind == "linear"
    assert sweep.sector.spacing_mm == pytest.approx((0.086022, 0.086022))


def test_custusx_probe_database_gives_every_sector_with_a_geometry(navkit_data):
    database = files.read_probe_database(
        navkit_data / "custusx" / "config" / "tool" / "ProbeCalibConfigs.xml"
    )
    assert len(database) == 105  # 113 configurations, 8 of them digital streams
    sector = database["Ultrasonix:L14-5:DVI:WidthMaxDepth4"]
    assert sector.kind == "linear"
    assert sector.depth_mm == pytest.approx((0.0, 39.2307), abs=1e-3)
    assert {s.kind for s in database.values()} == {"linear", "sector"}


def test_read_poses_are_exact_rotations(navkit_data):
    stream = files.read_tracking(navkit_data / "custusx" / "angio_lab_256x192")
    r = stream.pose[:, :3, :3]
    assert np.abs(np.swapaxes(r, 1, 2) @ r - np.eye(3)).max() < 1e-12
    assert np.abs(inverse(stream.pose) @ stream.pose - np.eye(4)).max() < 1e-10


def test_the_grid_does_not_depend_on_the_layout(tmp_path, rng):
    sweep = hand_sweep(rng)
    grids = []
    for layout in ("stack", "frames"):
        files.write_acquisition(sweep, tmp_path / layout, layout=layout)
        grids.append(output_grid(files.read_acquisition(tmp_path / layout)))
    assert grids[0].shape == grids[1].shape
    assert np.array_equal(grids[0].pr_M_d, grids[1].pr_M_d)
