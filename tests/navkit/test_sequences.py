"""PLUS sequences: every orientation, compressed or not, tracking only, INVALID frames, and what is broken."""

import zlib

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.geometry import pose_from

N, H, W = 4, 3, 5
MF = np.arange(N * H * W, dtype=np.uint8).reshape(N, H, W)
STORED = {  # how a picture that is MF in truth lies in a file of another orientation
    "MF": MF,
    "MFA": MF,
    "UF": MF[:, :, ::-1],
    "MN": MF[:, ::-1],
    "UNA": MF[:, ::-1, ::-1],
    "FM": MF.swapaxes(1, 2),
    "NM": MF[:, ::-1].swapaxes(1, 2),
    "FU": MF[:, :, ::-1].swapaxes(1, 2),
    "NU": MF[:, ::-1, ::-1].swapaxes(1, 2),
    "XX": MF,
}


def poses(rng):
    return pose_from(Rotation.random(N, random_state=rng), rng.normal(scale=90, size=(N, 3)))


def written(
    path, rng, *, orientation="MFA", compressed=False, beside=False, tracking_only=False, status=("OK",) * N
):
    """A sequence file as PLUS writes it; returns its poses."""
    frames = np.ascontiguousarray(STORED[orientation])
    pixels = b"" if tracking_only else frames.tobytes()
    data = zlib.compress(pixels) if compressed else pixels
    size = (0, 0, N) if tracking_only else (*frames.shape[:0:-1], N)
    m = poses(rng)
    lines = ["ObjectType = Image", "NDims = 3", f"CompressedData = {compressed}"]
    lines += [f"CompressedDataSize = {len(data)}              "] if compressed else []
    lines += [f"DimSize = {size[0]}   {size[1]} {size[2]}            ", "ElementType = MET_UCHAR"]
    lines += [f"UltrasoundImageOrientation = {orientation}"]
    for k in range(N):
        lines += [
            f"Seq_Frame{k:04d}_ProbeToTrackerTransform = " + " ".join(f"{v:.9g}" for v in m[k].ravel()),
            f"Seq_Frame{k:04d}_ProbeToTrackerTransformStatus = {status[k]}",
            f"Seq_Frame{k:04d}_Timestamp = {100 + 0.1 * k:.6f}",
            f"Seq_Frame{k:04d}_ImageStatus = {'INVALID' if k == 2 else 'OK'}",
            f"Seq_Frame{k:04d}_Operator = left{k}",
        ]
    lines += [f"ElementDataFile = {'pixels.raw' if beside else 'LOCAL'}"]
    head = ("\n".join(lines) + "\n").encode()
    path.write_bytes(head if beside else head + data)
    if beside:
        (path.parent / "pixels.raw").write_bytes(data)
    return m


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_orientation_is_turned_to_mf(tmp_path, rng, orientation, compressed):
    written(tmp_path / "s.mha", rng, orientation=orientation, compressed=compressed)
    sequence = files.read_sequence(tmp_path / "s.mha")
    assert np.array_equal(sequence.frames, MF)
    assert len(sequence) == N


def test_transforms_times_statuses_and_fields_come_with_their_frames(tmp_path, rng):
    m = written(tmp_path / "s.mha", rng, status=("OK", "INVALID", "OK", "MISSING"))
    sequence = files.read_sequence(tmp_path / "s.mha")
    one = sequence.transforms["ProbeToTracker"]
    assert one.pose == pytest.approx(m, abs=1e-5)
    assert one.valid.tolist() == [True, False, True, False]
    assert sequence.image_valid.tolist() == [True, True, False, True]
    assert sequence.time_s == pytest.approx([100, 100.1, 100.2, 100.3])
    assert sequence.fields == {"Operator": ("left0", "left1", "left2", "left3")}
    stream = sequence.stream("ProbeToTracker")
    assert stream.time_s == pytest.approx([100, 100.2])
    assert np.abs(stream.pose - m[[0, 2]]).max() < 1e-5
    with pytest.raises(
        files.FileError, match="no transform StylusToTracker; the sequence has ProbeToTracker"
    ):
        sequence.stream("StylusToTracker")


def test_pixels_may_lie_beside_the_header(tmp_path, rng):
    written(tmp_path / "s.mhd", rng, beside=True, compressed=True)
    assert np.array_equal(files.read_sequence(tmp_path / "s.mhd").frames, MF)


def test_tracking_without_pictures_has_no_frames(tmp_path, rng):
    written(tmp_path / "s.mha", rng, tracking_only=True)
    sequence = files.read_sequence(tmp_path / "s.mha")
    assert sequence.frames is None
    assert not sequence.image_valid.any()
    assert len(sequence.stream("ProbeToTracker")) == N


def broken(path, old, new):
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            b"Seq_Frame0002_ProbeToTrackerTransform = ",
            b"Seq_Frame0002_ProbeToTrackerTransform = x",
            "frame 2: Probe",
        ),
        (b"Timestamp = 100.1", b"Timestamp = noon", "frame 1: Timestamp = 'noon00000'"),
        (b"Seq_Frame0003", b"Seq_Frame0009", "fields of frame 9, but DimSize has 4 frames"),
        (b"DimSize = 5", b"DimSize = A", "expected width, height and number of frames"),
        (b"Orientation = MFA", b"Orientation = QZA", "expected letters such as MF or UN"),
        (b"MET_UCHAR", b"MET_CRUMB", "expected one of MET_UCHAR"),
        (b"ElementDataFile", b"ElementDataFoil", "no line ElementDataFile"),
    ],
)
def test_what_is_broken_is_one_sentence_that_names_the_frame(tmp_path, rng, old, new, sentence):
    written(tmp_path / "s.mha", rng)
    broken(tmp_path / "s.mha", old, new)
    with pytest.raises(files.FileError, match=sentence):
        files.read_sequence(tmp_path / "s.mha")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_was_cut_off_says_where(tmp_path, rng, compressed):
    written(tmp_path / "s.mha", rng, compressed=compressed)
    whole = (tmp_path / "s.mha").read_bytes()
    (tmp_path / "s.mha").write_bytes(whole[:-20])
    sentence = "end early or are damaged" if compressed else "Frame 2 is the first that is not complete"
    with pytest.raises(files.FileError, match=sentence):
        files.read_sequence(tmp_path / "s.mha")


# ---- real recordings -------------------------------------------------------------------------------------


def test_plus_own_files_are_read(navkit_data):
    plus = navkit_data / "plus"
    spine = files.read_sequence(plus / "volrec" / "SpinePhantomFreehand.igs.mha")
    assert spine.frames.shape == (21, 616, 820)
    assert spine.frames.max() > 200
    assert set(spine.transforms) >= {"ProbeToTracker", "ReferenceToTracker", "StylusToTracker"}
    assert len(files.read_sequence(plus / "fcal20" / "fCal_Test_Validation_3NWires_fCal2.0.igs.mha")) == 103
    interpolation = files.read_sequence(plus / "io" / "TransformInterpolationTest.igs.mha")
    assert len(interpolation) == 500
    invalid = [np.count_nonzero(~t.valid) for t in interpolation.transforms.values()]
    assert sorted(set(invalid)) in ([0, 1], [1])
    assert interpolation.frames is None
    tracker = files.read_sequence(plus / "io" / "SyntheticTrackerBuffer20.igs.mha")
    assert tracker.transforms["ToolToTracker"].pose[2, :3, 3].tolist() == [10, 20, 32]
