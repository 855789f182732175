"""``navkit reconstruct``: what it tells, where its volume lies, what it refuses, what a killed run leaves."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import files
from navkit.geometry import transform_points
from navkit.reconstruction import Grid, even_and_odd, output_grid, reconstruct
from navkit.ultrasound import Sweep


@pytest.fixture
def sweep(rng) -> Sweep:
    return hand_sweep(rng, n=30)


@pytest.fixture
def folder(sweep, tmp_path):
    files.write_acquisition(sweep, tmp_path / "acq")
    return tmp_path / "acq"


# ---- what it tells -----------------------------------------------------------------------------------------


def test_every_choice_of_reconstruct_is_on_the_command_line():
    from navkit.commands import _reconstruct
    from navkit.reconstruction import _live, _pixelwise

    offered = get_type_hints(_reconstruct.reconstruct)
    assert get_args(offered["method"]) == get_args(_pixelwise.Method)
    assert get_args(offered["fill"]) == get_args(_pixelwise.Fill)
    assert get_args(offered["compounding"]) == get_args(_live.Compounding)


@pytest.mark.parametrize(("quality", "lines"), [("none", 0), ("quick", 4), ("full", 6)])
def test_the_quality_is_told_in_a_few_lines(navkit, folder, tmp_path, sweep, quality, lines):
    out = tmp_path / "v.mha"
    code, said, _ = navkit(
        "reconstruct", folder, "--spacing", 0.5, "--fill", "custusx", "-o", out, "--quality", quality
    )
    assert code == 0
    first, *others = said.splitlines()
    assert first.startswith(f"{out}: ")
    assert len(others) == lines
    heads = ["frames", "spacing", "voxels", "sharpness", "left out", "even, odd"]
    assert [line[:10].strip() for line in others] == heads[:lines]
    volume = reconstruct(
        files.read_acquisition(folder), fill="custusx", grid=output_grid(sweep, spacing_mm=0.5)
    )
    if lines:
        assert f"{100 * np.mean(volume.weight > 0):.3g} % measured" in said
        assert f"{100 * volume.filled.mean():.3g} % filled" in said
    if lines == 6:
        from navkit.reconstruction import disagreement

        again = files.read_acquisition(folder)
        halves = (reconstruct(half, volume.grid, fill="custusx") for half in even_and_odd(again))
        assert f"{disagreement(*halves).rms:.3g} grey levels" in others[5]


def test_the_figure_is_written_with_its_words(navkit, folder, tmp_path):
    from PIL import Image

    picture = tmp_path / "deep" / "q.png"
    code, said, _ = navkit(
        "reconstruct", folder, "-o", tmp_path / "v.mha", "--figure", picture, "--spacing", 0.5
    )
    assert code == 0
    words = Image.open(picture).text["Description"]
    assert "a slice through the widest gap" in words
    for line in said.splitlines()[1:]:
        assert " ".join(line.split()) in words
    code, _, error = navkit("reconstruct", folder, "-o", tmp_path / "w.mha", "--figure", tmp_path / "q.jpg")
    assert code == 2
    assert "expected .png" in error
    assert not (tmp_path / "w.mha").exists()


def test_every_stage_has_its_name_and_the_long_ones_their_time_left(navkit, folder, tmp_path, monkeypatch):
    from rich import progress

    seen, columns = [], []

    class Watched(progress.Progress):
        def __init__(self, *given, **options):
            columns.extend(given)
            super().__init__(*given, **options)

        def refresh(self):
            for task in self.tasks:
                seen.append((task.description, task.completed, task.total))
            super().refresh()

        def update(self, *given, **options):
            super().update(*given, **options)
            self.refresh()

    monkeypatch.setattr(progress, "Progress", Watched)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    code, _, _ = navkit(
        "reconstruct", folder, "--spacing", 0.5, "--fill", "gaussian", "-o", tmp_path / "v.mha"
    )
    assert code == 0
    assert any(isinstance(one, progress.TimeRemainingColumn) for one in columns)
    names = list(dict.fromkeys(name for name, _, _ in seen))
    assert names == ["Reading", "Reconstructing", "Filling", "Writing", "Checking"]
    for name in ("Reconstructing", "Filling"):
        counts = [(done, total) for n, done, total in seen if n == name and total is not None]
        assert counts[-1][0] == counts[-1][1] > 10
        done = [d for d, _ in counts]
        assert done == sorted(done)
        assert len(set(done)) > 10 if name == "Reconstructing" else len(set(done)) > 3


def test_filling_as_a_stage_of_its_own_gives_what_reconstruct_fills(navkit, folder, tmp_path):
    out = tmp_path / "v.nrrd"
    choices = ["--method", "splat", "--fill", "accumulate", "--fill-steps", 2, "--spacing", 0.4]
    assert navkit("reconstruct", folder, "-o", out, *choices)[0] == 0
    sweep = files.read_acquisition(folder)
    grid = output_grid(sweep, spacing_mm=0.4)
    volume = reconstruct(sweep, grid, method="splat", fill="accumulate", fill_steps=2)
    expected = np.where(np.isfinite(volume.values), np.clip(np.rint(volume.values), 1, 255), 0)
    assert np.array_equal(files.read_volume(out).values, expected)


# ---- where the volume lies ---------------------------------------------------------------------------------


def greys_at(path, points_pr) -> np.ndarray:
    """What SimpleITK alone says of points (n, 3) in the patient reference; -1 outside."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    found = []
    for point in np.asarray(points_pr, dtype=float):
        index = image.TransformPhysicalPointToIndex(point.tolist())
        inside = all(0 <= n < size for n, size in zip(index, image.GetSize(), strict=True))
        found.append(image.GetPixel(index) if inside else -1)
    return np.array(found)


@pytest.mark.parametrize("orientation", ["middle", "reference"])
@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nii.gz"])
def test_a_bright_spot_is_where_the_probe_saw_it(navkit, sweep, tmp_path, orientation, ending):
    frames = np.full_like(sweep.frames, 20)
    spots = [(6, 8, 7), (13, 25, 20), (22, 15, 12)]  # frame, column, row; on no line of symmetry
    for n, column, row in spots:
        frames[n, row - 1 : row + 2, column - 1 : column + 2] = 250
    files.write_acquisition(replace(sweep, frames=frames), tmp_path / "acq")
    out = tmp_path / f"v.{ending}"
    assert navkit(
        "reconstruct", tmp_path / "acq", "--spacing", 0.3, "--compounding", "max", "-o", out,
        "--orientation", orientation,
    )[0] == 0  # fmt: skip
    read = files.read_acquisition(tmp_path / "acq")
    points = [transform_points(read.pr_M_p[n], [column, row, 0.0]) for n, column, row in spots]
    assert greys_at(out, points).tolist() == [250, 250, 250]
    beside = [transform_points(read.pr_M_p[n], [column - 5, row + 4, 0.0]) for n, column, row in spots]
    assert greys_at(out, beside).tolist() == [20, 20, 20]
    import SimpleITK as sitk

    image = sitk.ReadImage(str(out))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if orientation == "reference":
        assert np.abs(direction - np.eye(3)).max() < 1e-6
    else:
        assert np.abs(direction - np.eye(3)).max() > 0.3
        middle = read.pr_M_p[15, :3, :3]
        assert np.abs(direction - middle / np.linalg.norm(middle, axis=0)).max() < 1e-4
    assert image.GetSpacing() == pytest.approx((0.3, 0.3, 0.3), abs=1e-6)


@pytest.mark.parametrize("orientation", ["middle", "reference"])
def test_plus_pixels_are_where_its_transforms_put_them(navkit, navkit_data, tmp_path, orientation):
    import SimpleITK as sitk

    recording = navkit_data / "plus" / "volrec"
    config = next(recording.glob("*SpinePhantom_NN_MEAN.xml"))
    source, out = recording / "SpinePhantomFreehand.igs.mha", tmp_path / "spine.mha"
    assert navkit(
        "reconstruct", source, "--config", config, "--spacing", 0.7, "--compounding", "last", "-o", out,
        "--orientation", orientation,
    )[0] == 0  # fmt: skip
    sweep = files.plus_sweep(files.read_sequence(source), files.read_plus_config(config))
    rows, columns = np.nonzero(sweep.sector.mask())
    some = slice(0, None, 997)
    pixels = np.stack([columns, rows, 0 * rows], axis=-1)[some].astype(float)
    last = sweep.frames[-1][rows[some], columns[some]]
    found = greys_at(out, transform_points(sweep.pr_M_p[-1], pixels))
    inside = found >= 0
    assert inside.mean() > 0.9
    # a voxel keeps the last of the eighty pixels that share it
    assert np.corrcoef(found[inside], last[inside])[0, 1] > 0.9
    image = sitk.ReadImage(str(out))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    assert (np.abs(direction - np.eye(3)).max() < 1e-6) == (orientation == "reference")
    # with the axes exchanged the pixels are elsewhere
    image.SetDirection(direction.T[::-1].ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "wrong.mha"))
    wrong = greys_at(tmp_path / "wrong.mha", transform_points(sweep.pr_M_p[-1], pixels))
    assert (wrong < 0).mean() > 0.3 or np.corrcoef(wrong[wrong >= 0], last[wrong >= 0])[0, 1] < 0.5


# ---- what a killed run leaves ------------------------------------------------------------------------------

DRIVER = """
import pathlib, signal, sys, time
import SimpleITK
from navkit import reconstruction
from navkit.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it otherwise

where, go = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))


def wait():
    print("here", flush=True)
    while not go.exists():
        time.sleep(0.01)


reconstruct, write = reconstruction.reconstruct, SimpleITK.WriteImage


def slow_reconstruct(*given, progress, **options):
    def slow(done, total):
        progress(done, total)
        if done == total // 2:
            wait()

    return reconstruct(*given, progress=slow, **options)


def slow_write(image, path, **options):
    write(image, path, **options)
    whole = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(whole[: len(whole) // 2])
    wait()
    pathlib.Path(path).write_bytes(whole)


if where == "reconstructing":
    reconstruction.reconstruct = slow_reconstruct
else:
    SimpleITK.WriteImage = slow_write
main()
"""


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ("SIGKILL", "reconstructing"),
        ("SIGKILL", "writing"),
        ("SIGTERM", "reconstructing"),
        ("SIGTERM", "writing"),
        ("SIGINT", "writing"),
        ("nothing", "writing"),
    ],
)
def test_a_run_that_is_killed_half_way_leaves_no_volume(folder, tmp_path, where, how):
    """After SIGKILL while writing there is a hidden folder ``.v.mha.<random>``: not taken for a volume."""
    driver, go, results = tmp_path / "driver.py", tmp_path / "go", tmp_path / "results"
    driver.write_text(DRIVER, encoding="utf-8")
    results.mkdir()
    old, new = results / "old.mha", results / "v.mha"
    old.write_bytes(b"of before")
    out = old if how == "SIGINT" else new
    process = subprocess.Popen(
        [sys.executable, driver, where, go, "reconstruct", folder, "--spacing", "0.5", "-o", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "here\n", process.stderr.read()
        assert not new.exists()
        if how != "nothing":
            process.send_signal(getattr(signal, how))
            time.sleep(0.1)  # the signal comes before the leave to go on
        go.touch()
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert old.read_bytes() == b"of before"
    if how == "nothing":  # the driver itself does no harm
        assert process.returncode == 0
        assert (
            files.read_volume(new, no_data=0).values.shape
            == output_grid(files.read_acquisition(folder), spacing_mm=0.5).shape
        )
        return
    assert process.returncode == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[how]
    assert not new.exists()
    left = [path for path in results.iterdir() if path != old]
    if (how, where) == ("SIGKILL", "writing"):
        assert all(path.is_dir() and path.name.startswith(".v.mha.") for path in left)
        assert not [path for path in left if path.suffix == ".mha"]
    else:
        assert left == []


# ---- what it refuses ---------------------------------------------------------------------------------------

METHODS = ["pnn", "splat", "vnn", "path"]


def without_mask(sweep: Sweep) -> Sweep:
    """The clip rectangle lies beside the beam."""
    return replace(sweep, sector=replace(sweep.sector, clip_p=(0, 2, 0, 0)))


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_one_clear_sentence_by_every_method(sweep, method):
    grid = output_grid(sweep, spacing_mm=0.6)

    def refused(sweep, given, *parts):
        with pytest.raises(ValueError) as reason:
            reconstruct(sweep, given, method=method)
        message = str(reason.value)
        for part in parts:
            assert part in message
        assert message.endswith((".", "?"))
        assert "\n" not in message
        assert len(message) < 260

    refused(without_mask(sweep), None, "no pixel in common", "expected")
    nothing = replace(sweep, valid=np.zeros(30, dtype=bool))
    for given in (None, grid):
        refused(nothing, given, "'hand' has no valid frame", "expected at least one with a pose")
    pose = sweep.pr_M_p.copy()
    pose[5, 1, 2] = np.nan
    for given in (None, grid):
        refused(replace(sweep, pr_M_p=pose), given, "not finite", "expected", "not valid")
    assert reconstruct(
        replace(sweep, pr_M_p=pose, valid=np.arange(30) != 5), grid, method=method
    ).weight.any()
    large = Grid((10_000, 10_000, 10_000), (1e-3, 1e-3, 1e-3), np.eye(4))
    refused(sweep, large, "10000 x 10000 x 10000 voxels", "GB of memory", "Take a larger spacing")
    one = replace(sweep, valid=np.arange(30) == 4)
    refused(one, None, "flat", "did the probe move?")
    if method == "path":
        refused(one, grid, "1 valid frame", "two for method 'path'")
    else:
        assert np.isfinite(reconstruct(one, grid, method=method).values).any()


@pytest.mark.parametrize("method", ["pnn", "splat", "vnn", "path", "predict"])
def test_an_empty_mask_is_refused_for_a_given_grid_too(sweep, method):
    with pytest.raises(ValueError, match="no pixel is left to use; expected"):
        reconstruct(without_mask(sweep), output_grid(sweep, spacing_mm=0.6), method=method)


def test_frames_of_unequal_size_are_refused_before_any_method(sweep):
    with pytest.raises(ValueError, match=r"frames have \(26, 36\) .* the sector is for \(27, 36\)"):
        replace(sweep, frames=sweep.frames[:, 1:])
    with pytest.raises(ValueError, match=r"29 frames, \(30,\) times.* expected the same number of each"):
        replace(sweep, frames=sweep.frames[1:])


def edited(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def lines_of(path, change):
    path.write_text("\n".join(change(path.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")


def one_frame_lies_in_the_tracking(d):
    """Frames ten seconds apart, of which the tracking has seen one."""
    lines_of(
        d / "hand.fts", lambda lines: [f"{10_000 * n + float(lines[0]) + 20:.3f}" for n in range(len(lines))]
    )


REFUSED = {
    "an empty mask": (
        lambda d: edited(d / "hand.probedata.xml", 'clipRect_p="3 30', 'clipRect_p="0 0'),
        "no pixel in common",
    ),
    "one frame": (one_frame_lies_in_the_tracking, "did the probe move"),
    "all frames invalid": (
        lambda d: lines_of(d / "hand.tts", lambda lines: [str(n) for n in range(len(lines))]),
        "no frame lies within the tracking",
    ),
    "NaN poses": (
        lambda d: lines_of(d / "hand.tp", lambda lines: [*lines[:3], "nan nan nan nan", *lines[4:]]),
        "hand.tp line 4",
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", REFUSED)
def test_the_command_line_refuses_in_one_sentence_and_code_2(navkit, folder, tmp_path, what, method):
    break_it, part = REFUSED[what]
    break_it(folder)
    out = tmp_path / "out" / "v.mha"
    code, said, error = navkit("reconstruct", folder, "-o", out, "--method", method)
    assert code == 2
    assert said == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert part in error
    assert not out.parent.exists() or not list(out.parent.iterdir())


@pytest.mark.parametrize("method", METHODS)
def test_a_million_million_voxels_are_refused_at_once(navkit, folder, tmp_path, method):
    start = time.monotonic()
    code, _, error = navkit(
        "reconstruct", folder, "-o", tmp_path / "v.mha", "--method", method, "--spacing", 0.0008
    )
    assert code == 2
    assert "GB of memory" in error
    assert "Take a larger spacing" in error
    assert time.monotonic() - start < 20
    assert not (tmp_path / "v.mha").exists()


def test_frames_of_unequal_size_are_refused_by_name(navkit, sweep, tmp_path):
    files.write_acquisition(sweep, tmp_path / "acq", layout="frames")
    pictures = sorted((tmp_path / "acq").glob("*.mhd")) or sorted((tmp_path / "acq").rglob("*.mhd"))
    other = pictures[7]
    lines_of(other, lambda lines: [line.replace("36 27", "27 36") for line in lines])
    code, _, error = navkit("reconstruct", tmp_path / "acq", "-o", tmp_path / "v.mha")
    assert code == 2
    assert error.count("\n") == 1
    assert other.name in error
    assert not (tmp_path / "v.mha").exists()
