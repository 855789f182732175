"""Recordings made here, healthy or with one fault each: the fault is named, and nothing else."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_recordings import (
    BASE,
    SECTOR,
    assert_only,
    cut,
    edited,
    kept,
    made_sweep,
    sequence,
    write_rows,
    written,
)

from navkit import files
from navkit.recordings import describe
from navkit.tracking import PoseStream
from navkit.ultrasound import Sweep


@pytest.fixture(scope="module")
def made() -> tuple[Sweep, PoseStream]:
    return made_sweep()


@pytest.mark.parametrize("layout", ["stack", "frames"])
def test_a_healthy_acquisition_has_no_warning(tmp_path, made, layout):
    found = assert_only(describe(written(tmp_path / "acq", *made, layout=layout)))
    assert found.kind == f"CustusX acquisition, {'old' if layout == 'stack' else 'new'} layout"
    assert found.numbers["frames"] == len(made[0].frames)
    assert found.numbers["frames_rate_hz"] == pytest.approx(20, abs=1e-6)
    assert found.numbers["tracking_true_rate_hz"] == pytest.approx(40, rel=0.01)
    assert found.numbers["sector_share"] == SECTOR.mask().mean()
    assert found.numbers["first_frame_ms"] == pytest.approx(
        1000 * (made[0].time_s[0] - made[1].time_s[0]), abs=1e-3
    )
    assert abs(found.numbers["latency_seen_ms"]) < 20, found.lines()
    assert found.numbers["echoes_outside_share"] == 0


def at(tracking: Callable[[PoseStream], PoseStream]) -> Callable[[Path, Sweep, PoseStream], None]:
    return lambda folder, sweep, stream: written(folder, sweep, tracking(stream)) and None


def pictured(change: Callable[[np.ndarray], None]) -> Callable[[Path, Sweep, PoseStream], None]:
    def fault(folder: Path, sweep: Sweep, stream: PoseStream) -> None:
        frames = sweep.frames.copy()
        change(frames)
        written(folder, replace(sweep, frames=frames), stream)

    return fault


def told(name: str, old: str, new: str) -> Callable[[Path, Sweep, PoseStream], None]:
    def fault(folder: Path, sweep: Sweep, stream: PoseStream) -> None:
        written(folder, sweep, stream)
        edited(folder / f"{BASE}{name}", old, new)

    return fault


def taken(stream: PoseStream, index: np.ndarray) -> PoseStream:
    return PoseStream(stream.time_s, stream.pose[index])


def jumped(stream: PoseStream) -> PoseStream:
    pose = np.array(stream.pose)
    pose[200, :3, 3] += [0, 0, 90]
    return PoseStream(stream.time_s, pose)


def lost(stream: PoseStream) -> PoseStream:
    pose = np.array(stream.pose)
    pose[[60, 61]] = np.eye(4)
    return PoseStream(stream.time_s, pose)


def pinched(stream: PoseStream) -> PoseStream:
    time_s = np.array(stream.time_s)
    time_s[50] = time_s[49] + 0.0001
    return PoseStream(time_s, stream.pose)


def flat(frames):
    frames[40:43] = 0


def doubled(frames):
    frames[1::8] = frames[::8][: len(frames[1::8])]


def gone(folder: Path, sweep: Sweep, stream: PoseStream) -> None:
    frames = np.r_[:70, 90 : len(sweep.frames)]
    part = Sweep(
        sweep.frames[frames], sweep.time_s[frames], sweep.pr_M_p[frames], SECTOR, sweep.valid[frames], BASE
    )
    written(folder, part, stream)


def stamped(folder: Path, sweep: Sweep, stream: PoseStream) -> None:
    written(folder, sweep, stream)
    clock = 7 + (sweep.time_s - sweep.time_s[0]) * 1.01
    write_rows(folder / f"{BASE}.scanner.frameTimestamps", 1000 * clock[:, None])


def shifted(folder: Path, sweep: Sweep, stream: PoseStream) -> None:
    frames = np.roll(sweep.frames, 20, axis=2)
    written(folder, replace(sweep, frames=frames), stream)


FAULTS = {
    "every other pose is a repeat": (
        at(lambda s: taken(s, np.arange(len(s)) // 2 * 2)),
        "samples repeat the pose",
    ),
    "the tracker freezes": (
        at(lambda s: taken(s, np.where((i := np.arange(len(s))) // 50 == 2, 100, i))),
        "stands still",
    ),
    "the tool never moves": (at(lambda s: taken(s, np.zeros(len(s), int))), "pose never changes"),
    "tracking has a gap": (at(lambda s: kept(s, np.r_[:100, 130 : len(s)])), "tracking: 1 pause"),
    "tracking starts late": (at(lambda s: kept(s, np.r_[40 : len(s)])), "lie outside the tracking"),
    "tracking of another day": (at(lambda s: PoseStream(s.time_s + 86400, s.pose)), "no frame lies within"),
    "two samples coincide": (at(pinched), "1 sample less than 1 ms"),
    "a pose jumps": (at(jumped), "1 pose is up to"),
    "lost poses are identities": (at(lost), "2 poses marked as good are the identity"),
    "frames pause": (gone, "frames: 1 pause"),
    "frames are flat": (pictured(flat), "3 of"),
    "frames repeat": (pictured(doubled), "repeat the frame before them"),
    "frames are stamped late": (
        lambda f, w, s: written(f, w, s, late_s=0.13) and None,
        "frames look stamped late",
    ),
    "frames are stamped early": (
        lambda f, w, s: written(f, w, s, late_s=-0.13) and None,
        "frames look stamped early",
    ),
    "the scanner's clock drifts": (stamped, "the scanner clock drifts by +8"),
    "the sector is elsewhere": (shifted, "lie outside the sector"),
    "another pixel size": (
        told(".probedata.xml", 'spacing="0.5 0.5', 'spacing="0.48 0.5'),
        "the picture's pixels are",
    ),
    "a latency in another unit": (
        told(".probedata.xml", 'Calibration="0"', 'Calibration="11500"'),
        "is 11500 ms",
    ),
    "the clip leaves the picture": (
        told(".probedata.xml", 'clipRect_p="8 68 5 76', 'clipRect_p="8 68 5 84'),
        "leaves the picture",
    ),
    "a latency that is none": (
        told(".probedata.xml", 'Calibration="0"', 'Calibration="x"'),
        "'x'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_gives_one_warning(tmp_path, made, fault):
    make, phrase = FAULTS[fault]
    make(tmp_path / "acq", *made)
    found = assert_only(describe(tmp_path / "acq"), phrase)
    assert found.kind == "CustusX acquisition, old layout"


def test_the_latency_seen_is_the_one_made(tmp_path, made):
    for late_ms in (130, -130):
        found = describe(written(tmp_path / f"{late_ms}", *made, late_s=late_ms / 1000))
        assert found.numbers["latency_seen_ms"] == pytest.approx(-late_ms, abs=20)


def test_pixels_of_unequal_length(tmp_path, made):
    sector = replace(SECTOR, spacing_mm=(0.5, 0.6), depth_mm=(0.0, 43.2))
    written(tmp_path, replace(made[0], sector=sector), made[1])
    assert_only(describe(tmp_path), "1.20 times longer")


def damage(name: str, change: Callable[[Path], None]):
    def fault(folder: Path) -> None:
        change(folder / f"{BASE}{name}")

    return fault


def swapped(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[20], lines[21] = lines[21], lines[20]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shorter(path: Path) -> None:
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-3]) + "\n", encoding="utf-8")


def mirrored(path: Path) -> None:
    rows = np.loadtxt(path)
    rows[0::3, 0] *= -1
    rows[1::3, 0] *= -1
    rows[2::3, 0] *= -1
    write_rows(path, rows)


DAMAGES = {
    "damaged: pixels cut": (damage(".raw", cut), "bytes of pixels"),
    "damaged: times swapped": (damage(".fts", swapped), "does not come after"),
    "damaged: frame times missing": (damage(".fts", shorter), "times in"),
    "damaged: poses cut": (damage(".tp", shorter), "lines; expected"),
    "damaged: poses mirror": (damage(".tp", mirrored), "pose"),
    "incomplete: no tracking": (damage(".tp", Path.unlink), "is missing"),
    "incomplete: no pixels": (damage(".raw", Path.unlink), "nothing can be reconstructed"),
    "incomplete: no header": (damage(".mhd", Path.unlink), "no frames (.mhd)"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_the_rest_is_described(tmp_path, made, name):
    written(tmp_path, *made)
    DAMAGES[name][0](tmp_path)
    found = assert_only(describe(tmp_path), DAMAGES[name][1])
    assert found.kind == f"{name.partition(':')[0]} CustusX acquisition, old layout"
    assert found.numbers.get("tracking_samples", 340) == 340
    assert "frames_rate_hz" in found.numbers or "times swapped" in name


def test_a_frame_of_another_size_and_a_damaged_one_in_the_new_layout(tmp_path, made):
    written(tmp_path, *made, layout="frames")
    header = tmp_path / f"{BASE}_7.mhd"
    edited(header, "DimSize = 90 84 1", "DimSize = 84 90 1")
    assert assert_only(describe(tmp_path), "a frame of another size").kind.startswith("damaged")
    edited(header, "DimSize = 84 90 1", "DimSize = 90 84 1")
    cut(tmp_path / f"{BASE}_9.raw")
    assert assert_only(describe(tmp_path / f"{BASE}_3.mhd"), "bytes of pixels").kind.startswith("damaged")


def test_a_folder_of_acquisitions_and_one_of_many_things(tmp_path, made):
    for k in (1, 2):
        written(tmp_path / "US_Acq" / f"{k}", *made)
    found = assert_only(describe(tmp_path / "US_Acq"))
    assert found.kind == "folder of several CustusX acquisitions"
    assert found.numbers["acquisitions"] == 2
    (tmp_path / "notes.txt").write_text("a phantom on a Tuesday\n", encoding="utf-8")
    (tmp_path / "tip.cal").write_text("1 0 0 0\n0 1 0 0\n0 0 1 9\n0 0 0 1\n", encoding="utf-8")
    found = assert_only(describe(tmp_path))
    assert found.kind == "folder"
    assert {"text files", "tool calibrations"} <= found.numbers.keys()
    (tmp_path / "none").mkdir()
    assert assert_only(describe(tmp_path / "none")).kind == "empty folder"


@pytest.mark.parametrize("name", ["s.igs.mha", "s.mha", "s.mhd", "s.nrrd"])
def test_a_healthy_sequence_in_each_form(tmp_path, made, name):
    seq = sequence(made)
    if name == "s.nrrd":
        files.write_sequence(seq, tmp_path / name)
    else:
        files.write_sequence(seq, tmp_path / name, compressed=name == "s.igs.mha")
    found = assert_only(describe(tmp_path / name))
    assert found.kind == ("PLUS sequence (NRRD)" if name == "s.nrrd" else "PLUS sequence")
    assert found.numbers["frames"] == len(seq)
    assert found.numbers["ProbeToTracker_true_rate_hz"] == pytest.approx(20, abs=0.01)
    assert abs(found.numbers["latency_seen_ms"]) < 20


def sequence_faults(made):
    seq = sequence(made)
    n = len(seq)
    probe = seq.transforms["ProbeToTracker"]

    def with_probe(pose=probe.pose, valid=probe.valid):
        return replace(seq, transforms={**seq.transforms, "ProbeToTracker": files.Transform(pose, valid)})

    ok = np.ones(n, dtype=bool)
    ok[[5, 80]] = False
    yield with_probe(valid=ok), "ProbeToTracker: 2 of"
    pose = probe.pose.copy()
    pose[:, :3, 2] *= -1
    yield with_probe(pose), "poses mirror"
    pose = probe.pose.copy()
    pose[30, :3, 0] *= 1.02
    yield with_probe(pose), "not rigid"
    pose = probe.pose.copy()
    pose[44] = np.eye(4)
    yield with_probe(pose), "is the identity"
    good = np.ones(n, dtype=bool)
    good[9] = False
    yield replace(seq, image_valid=good), "1 of"
    raw = tuple(f"{100 + (t - 100) * 1.01:.6f}" for t in seq.time_s)
    yield replace(seq, fields={"UnfilteredTimestamp": raw}), "drifts by -"
    later, _ = made[1].at(seq.time_s + 0.14)  # of when the picture arrived, not of when it was made
    yield with_probe(later), "frames look stamped late"


def test_each_fault_of_a_sequence(tmp_path, made):
    for k, (seq, phrase) in enumerate(sequence_faults(made)):
        files.write_sequence(seq, tmp_path / f"{k}.mha")
        assert_only(describe(tmp_path / f"{k}.mha"), phrase)


def test_a_sequence_cut_short_or_edited(tmp_path, made):
    files.write_sequence(sequence(made), tmp_path / "s.mha", compressed=True)
    files.write_sequence(sequence(made, pictures=False), tmp_path / "t.mha")
    assert assert_only(describe(tmp_path / "t.mha")).kind == "PLUS sequence, tracking only"
    data = (tmp_path / "s.mha").read_bytes()
    (tmp_path / "cut.mha").write_bytes(data[:-5000])
    assert assert_only(describe(tmp_path / "cut.mha"), "end early").kind == "damaged PLUS sequence"
    fewer = re.sub(rb"(DimSize = 90 84 +)\d+", rb"\g<1>99", data, count=1)
    assert fewer != data
    (tmp_path / "few.mha").write_bytes(fewer)
    assert assert_only(describe(tmp_path / "few.mha"), "fields of frame 99").kind == "damaged PLUS sequence"


def test_ten_gigabytes_are_not_read(tmp_path):
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\n"
    head += "DimSize = 1000 1000 10000\nKinds = domain domain list\nElementType = MET_UCHAR\n"
    head += "UltrasoundImageOrientation = MFA\n"
    head += "".join(f"Seq_Frame{k:04d}_Timestamp = {k / 30:.6f}\n" for k in range(10000))
    path = tmp_path / "large.mha"
    path.write_text(head + "ElementDataFile = LOCAL\n", encoding="utf-8")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 10**10)  # a hole: no disk is used
    start = time.process_time()
    found = describe(path)
    assert time.process_time() - start < 5
    assert found.numbers["frames"] == 10000
    assert any("of 10000 frames" in what for what in found.not_checked)
