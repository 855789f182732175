"""PLUS sequences as NRRD: out and in again, and damage is named."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given
from hypothesis import strategies as st
from test_write_sequence import LIMITED, ORIENTATIONS, VOLUME_ORIENTATION, assert_same, sequences, small

from navkit.files import FileError, read_sequence
from navkit.files._nrrd import read_nrrd_sequence, write_nrrd_sequence


@given(one=sequences(), orientation=st.sampled_from(ORIENTATIONS), compressed=st.booleans())
@LIMITED
def test_any_sequence_with_pictures_comes_back_to_the_bit(tmp_path, one, orientation, compressed):
    assume(one.frames is not None)
    if one.frames.ndim == 4:
        orientation = VOLUME_ORIENTATION[orientation]
    write_nrrd_sequence(one, tmp_path / "s.nrrd", compressed=compressed, orientation=orientation)
    back = read_nrrd_sequence(tmp_path / "s.nrrd")
    assert_same(back, one)
    assert back.header["UltrasoundImageOrientation"] == orientation


@pytest.mark.parametrize("compressed", [False, True])
def test_an_independent_reader_sees_pixels_and_fields(tmp_path, rng, compressed):
    one = small(rng)
    write_nrrd_sequence(one, tmp_path / "s.nrrd", compressed=compressed, orientation="UF")
    image = sitk.ReadImage(tmp_path / "s.nrrd")
    seen = sitk.GetArrayFromImage(image)  # SimpleITK takes the list of frames as components of a pixel
    assert np.array_equal(np.moveaxis(seen, -1, 0), one.frames[:, :, ::-1])
    assert image.GetMetaData("Seq_Frame0002_ImageStatus") == "INVALID"
    assert image.GetMetaData("ultrasound image orientation") == "UF"
    text = image.GetMetaData("Seq_Frame0001_ProbeToTrackerTransform")
    assert np.array_equal(np.reshape([float(v) for v in text.split()], (4, 4)),
                          one.transforms["ProbeToTracker"].pose[1])  # fmt: skip


def test_a_file_as_plus_writes_it_is_read(tmp_path):
    head = (
        "NRRD0004\n# a comment: of one\ntype: unsigned char\ndimension: 3\nsizes: 2 1 2\nencoding: raw\n"
        "kinds: domain domain list\nultrasound image orientation:=UFA\nSeq_Frame0000_Timestamp:=1.5\n"
        "Seq_Frame0001_Status:=INVALID\nSeq_Frame0001_Path:=C:\\\\new\n\n"
    )
    (tmp_path / "s.seq.nrrd").write_bytes(head.encode() + bytes([1, 2, 3, 4]))
    one = read_nrrd_sequence(tmp_path / "s.seq.nrrd")
    assert one.frames.tolist() == [[[2, 1]], [[4, 3]]]
    assert one.image_valid.tolist() == [True, False]
    assert one.time_s[0] == 1.5
    assert np.isnan(one.time_s[1])
    assert one.fields == {"Path": ("", "C:\\new")}
    door = read_sequence(tmp_path / "s.seq.nrrd")
    assert np.array_equal(door.frames, one.frames)
    assert door.fields == one.fields


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("NRRD0004", "NRRD0009", "does not begin with NRRD0001"),
        ("type: uint8", "type: block", "expected one of uint8"),
        (
            "type: uint8",
            "type: uint16",
            "expected little|no more pixels than|bytes of pixels; sizes: 9 6 4 expects|end early",
        ),
        ("sizes: 9 6 4", "sizes: 9 6 3", "at least 4 frames"),
        ("sizes: 9 6 4", "sizes: 9 6 0", "1 or more each"),
        ("sizes: 9 6 4", "sizes: 9 5 4", "bytes of pixels; sizes: 9 5 4 expects 180"),
        (
            "sizes: 9 6 4",
            "sizes: 9 7 4",
            "no more pixels than 216 bytes hold|holds 216 bytes of pixels; sizes: 9 7 4",
        ),
        ("dimension: 3", "dimension: 4", "depth if there is one"),
        ("kinds: domain domain list", "kinds: RGB-color domain list", "expected grey pictures"),
        ("kinds: domain domain list", "kinds: vector domain list", "expected grey pictures"),
        ("sizes: 9 6 4", "sizes: 99999 99999 4", "no more pixels than"),
        ("encoding: ", "encoding: b", "expected raw or gzip"),
        ("dimension: 3\n", "data file: x\n", "the pixels follow the header"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_broken_is_one_sentence(tmp_path, rng, old, new, sentence, compressed):
    path = tmp_path / "s.nrrd"
    write_nrrd_sequence(small(rng), path, compressed=compressed)
    whole = path.read_bytes()
    assert old.encode() in whole
    path.write_bytes(whole.replace(old.encode(), new.encode(), 1))
    with pytest.raises(FileError, match=sentence):
        read_nrrd_sequence(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_gives_a_sentence_or_a_sequence_that_fits_together(tmp_path, rng, compressed):
    one, path = small(rng), tmp_path / "s.nrrd"
    write_nrrd_sequence(one, path, compressed=compressed)
    whole = path.read_bytes()
    refused = 0
    for variant in range(300):
        raw = bytearray(whole)
        if cut := variant % 4 == 0:
            raw = raw[: rng.integers(len(raw))]
        else:
            for at in rng.integers(len(raw), size=3):
                raw[at] = rng.integers(256)
        path.write_bytes(raw)
        try:
            back = read_nrrd_sequence(path)
        except FileError:
            refused += 1
            continue
        assert not cut
        assert len(back) == 4
        assert back.frames.size == one.frames.size
    assert refused >= 75


def test_what_nrrd_cannot_hold_is_refused_and_nothing_is_left(tmp_path, rng):
    for change, sentence in [
        ({"fields": {"a:b": ("x",) * 4}}, "no ':' or '#' in it"),
        ({"fields": {"a": ("x\n",) * 4}}, "expected one line"),
        ({"frames": None}, r"write a \.mha"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            write_nrrd_sequence(replace(small(rng), **change), tmp_path / "s.nrrd")
    with pytest.raises(ValueError, match=r"ends in \.nrrd"):
        write_nrrd_sequence(small(rng), tmp_path / "s.mha")
    assert not list(tmp_path.iterdir())
