"""PLUS sequences out and in again: equal in all that a sequence holds, and damage is named."""

import gzip
import itertools
import re
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sweeps import hand_sweep

from navkit.files import (
    FileError,
    PlusConfig,
    Sequence,
    Transform,
    plus_sweep,
    read_sequence,
    sequence_of,
    write_sequence,
)
from navkit.files._pixels import ELEMENT_TYPES
from navkit.geometry import SpaceGraph

ORIENTATIONS = ["MFA", "MF", "MN", "UF", "UND", "FM", "NM", "FU", "NU", "XX"]
VOLUME_ORIENTATION = dict(  # one of the 3-D ones for each of the 2-D ones
    zip(ORIENTATIONS, ["MFA", "MF", "UNA", "UFD", "MND", "AMF", "NMD", "FUA", "UND", "XX"], strict=True)
)
OURS = {  # what the writer says of the file itself
    "BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "CompressedDataSize", "DimSize",
    "ElementDataFile", "ElementNumberOfChannels", "ElementType", "Kinds", "NDims", "ObjectType",
    "AnatomicalOrientation", "CenterOfRotation", "ElementSpacing", "Offset", "TransformMatrix",
    "UltrasoundImageOrientation", "UltrasoundImageType",
}  # fmt: skip
LIMITED = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def assert_same(back, one):
    if one.frames is None:
        assert back.frames is None
    else:
        assert back.frames.dtype == one.frames.dtype.newbyteorder("<")
        assert np.array_equal(back.frames, one.frames)
    assert back.time_s.tobytes() == one.time_s.tobytes()  # to the bit, -0.0 and NaN as well
    assert np.array_equal(back.image_valid, one.image_valid)
    assert back.transforms.keys() == one.transforms.keys()
    for name, transform in one.transforms.items():
        assert back.transforms[name].pose.tobytes() == transform.pose.tobytes(), name
        assert np.array_equal(back.transforms[name].valid, transform.valid), name
        assert back.transforms[name].status == transform.status, name
    assert back.image_status == one.image_status
    assert back.fields == one.fields
    assert {k: v for k, v in back.header.items() if k not in OURS} == {
        k: v for k, v in one.header.items() if k not in OURS
    }


# ---- any small sequence ----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
names = st.text(st.characters(categories=("L", "N", "Pd", "Pc")), min_size=1, max_size=9).filter(
    lambda s: s not in ("Timestamp", "ImageStatus", "Status")
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
parts = st.sampled_from(["Probe", "Tracker", "Nål", "Stylus2", "Image"])


def statuses(valid):
    """Words for frames that are not valid, in one of two sequences."""
    words = [st.just("") if v else st.sampled_from(["", "MISSING", "OUT_OF_VIEW"]) for v in valid]
    return st.one_of(st.just(()), st.tuples(*words).map(lambda one: one if any(one) else ()))


@st.composite
def sequences(draw):
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    frames = None
    shape = (n, h, w) if draw(st.booleans()) else (n, draw(st.integers(1, 3)), h, w)
    if np.prod(shape[1:]) > 1 and draw(st.integers(0, 4)):
        dtype = draw(st.sampled_from([np.uint8, np.uint8, *ELEMENT_TYPES.values()]))
        values = numbers if np.dtype(dtype).kind == "f" else None
        if dtype == np.float32:
            values = st.floats(allow_nan=False, allow_infinity=False, width=32)
        frames = draw(arrays(dtype, shape, elements=values))
    transforms = {}
    for r, q in draw(st.sets(st.tuples(parts, parts), max_size=3)):
        pose = draw(arrays(float, (n, 4, 4), elements=numbers))
        seen = np.array([True, *draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1))])
        pose[~seen] = np.nan
        valid = seen & draw(arrays(bool, n))
        transforms[f"{r}To{q}"] = Transform(pose, valid, draw(statuses(valid)))
    time_s = draw(arrays(float, n, elements=st.one_of(numbers, st.just(np.nan))))
    fields = draw(st.dictionaries(names, st.tuples(*[texts] * n), max_size=3))
    header = draw(st.dictionaries(names.filter(lambda s: s not in OURS), texts, max_size=3))
    valid = draw(arrays(bool, n)) & (frames is not None)
    return Sequence(frames, time_s, transforms, valid, fields, header, draw(statuses(valid)))


@given(
    one=sequences(),
    orientation=st.sampled_from(ORIENTATIONS),
    compressed=st.booleans(),
    suffix=st.sampled_from([".mha", ".mhd", ".nrrd", ".seq.nrrd"]),
)
@LIMITED
def test_any_sequence_comes_back_to_the_bit(tmp_path, one, orientation, compressed, suffix):
    path = tmp_path / f"sequence{suffix}"
    if one.frames is not None and one.frames.ndim == 4:
        orientation = VOLUME_ORIENTATION[orientation]
    if suffix.endswith(".nrrd"):
        assume(one.frames is not None)
    write_sequence(one, path, compressed=compressed, orientation=orientation)
    back = read_sequence(path)
    assert_same(back, one)
    assert back.header["UltrasoundImageOrientation"] == orientation
    assert not list(tmp_path.glob(".*"))


def small(rng, n=4):
    pose = rng.normal(scale=90, size=(2, n, 4, 4))
    valid = np.arange(n) % 3 != 1
    return Sequence(
        rng.integers(0, 256, (n, 6, 9), dtype=np.uint8),
        -3 + 0.1 * np.arange(n),
        {"ProbeToTracker": Transform(pose[0], valid), "ReferenceToTracker": Transform(pose[1], ~valid)},
        np.arange(n) != 2,
        {"FrameNumber": tuple(str(7 + k) for k in range(n)), "Hand": ("høyre", *[""] * (n - 1))},
        {"Site": "Trondheim", "Læge": "Å = å"},
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("orientation", ["MFA", "UN", "MN", "FM", "NU", "FU"])
def test_an_independent_reader_sees_the_pixels_as_the_letters_say(
    tmp_path, rng, orientation, suffix, compressed
):
    one = small(rng)
    write_sequence(one, tmp_path / f"s{suffix}", compressed=compressed, orientation=orientation)
    seen = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"s{suffix}"))
    expected = {
        "MFA": one.frames,
        "UN": one.frames[:, ::-1, ::-1],
        "MN": one.frames[:, ::-1],
        "FM": one.frames.transpose(0, 2, 1),  # columns run from near to far
        "NU": one.frames[:, ::-1, ::-1].transpose(0, 2, 1),
        "FU": one.frames[:, :, ::-1].transpose(0, 2, 1),
    }[orientation]
    assert np.array_equal(seen, expected)


VOLUMES = {  # how (n, z, y, x) that is MFA in truth lies in a file of another orientation
    "MFA": lambda v: v,
    "MF": lambda v: v,
    "UFA": lambda v: v[..., ::-1],
    "UF": lambda v: v[:, ::-1, :, ::-1],
    "MNA": lambda v: v[:, :, ::-1],
    "MND": lambda v: v[:, ::-1, ::-1],
    "UNA": lambda v: v[:, :, ::-1, ::-1],
    "UND": lambda v: v[:, ::-1, ::-1, ::-1],
    "MFD": lambda v: v[:, ::-1],
    "AMF": lambda v: np.moveaxis(v, 1, 3),  # x runs upwards, y from the marked side, z to far
    "AUN": lambda v: np.moveaxis(v[:, :, ::-1, ::-1], 1, 3),
    "DFM": lambda v: v[:, ::-1].transpose(0, 3, 2, 1),
    "FAM": lambda v: v.transpose(0, 3, 1, 2),
}


def volumes_sequence(rng, dtype=np.int16):
    one = small(rng)
    words = ("", "MISSING", "", "")
    transforms = {k: replace(t, status=words if not t.valid[1] else ()) for k, t in one.transforms.items()}
    image_status = ("", "", "REQ_TIMEOUT", "")
    frames = rng.integers(-999, 999, (4, 3, 5, 7)).astype(dtype)
    return replace(one, frames=frames, transforms=transforms, image_status=image_status)


def own_reading(path):
    """Header lines and frame fields of a .mha, and its pixels as they lie there: by this test alone."""
    head, data = path.read_bytes().split(b"ElementDataFile = LOCAL\n", 1)
    lines = dict(line.split(" = ", 1) for line in head.decode().splitlines())
    fields = {
        (int(f[1]), f[2]): v for k, v in lines.items() if (f := re.fullmatch(r"Seq_Frame(\d+)_(.*)", k))
    }
    dtype = {"MET_SHORT": "<i2", "MET_UCHAR": "u1", "MET_FLOAT": "<f4"}[lines["ElementType"]]
    raw = zlib.decompress(data) if lines["CompressedData"] == "True" else data
    size = [int(v) for v in lines["DimSize"].split()]
    return lines, fields, np.frombuffer(raw, dtype).reshape(size[::-1])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("orientation", VOLUMES)
def test_volumes_lie_in_the_file_as_their_three_letters_say(tmp_path, rng, orientation, compressed):
    one = volumes_sequence(rng)
    write_sequence(one, tmp_path / "v.mha", orientation=orientation, compressed=compressed)
    expected = VOLUMES[orientation](one.frames)
    lines, fields, pixels = own_reading(tmp_path / "v.mha")
    assert np.array_equal(pixels, expected)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "v.mha")), expected)
    assert (lines["NDims"], lines["Kinds"]) == ("4", "domain domain domain list")
    assert lines["UltrasoundImageOrientation"] == orientation
    assert fields[2, "ImageStatus"] == "REQ_TIMEOUT"
    assert fields[1, "ProbeToTrackerTransformStatus"] == "MISSING"
    assert fields[0, "ProbeToTrackerTransformStatus"] == "OK"
    pose = np.array(fields[3, "ReferenceToTrackerTransform"].split(), dtype=float).reshape(4, 4)
    assert np.array_equal(pose, one.transforms["ReferenceToTracker"].pose[3])
    for on_disk in (False, True):
        back = read_sequence(tmp_path / "v.mha", on_disk=on_disk)
        assert_same(back, one)
        assert isinstance(back.frames, np.memmap) == on_disk


@pytest.mark.parametrize("compressed", [False, True])
def test_volumes_as_nrrd_come_back_on_disk_too(tmp_path, rng, compressed):
    one = volumes_sequence(rng, np.float32)
    write_sequence(one, tmp_path / "v.seq.nrrd", orientation="UND", compressed=compressed)
    assert_same(read_sequence(tmp_path / "v.seq.nrrd", on_disk=True), one)
    head, data = (tmp_path / "v.seq.nrrd").read_bytes().split(b"\n\n", 1)
    assert b"\nkinds: domain domain domain list\n" in head
    assert b"\nspace directions: (1,0,0) (0,1,0) (0,0,1) none\n" in head
    raw = gzip.decompress(data) if compressed else data
    pixels = np.frombuffer(raw, "<f4").reshape(4, 3, 5, 7)
    assert np.array_equal(pixels, VOLUMES["UND"](one.frames))


@pytest.mark.parametrize("orientation", ["FM", "MM", "MFX", "MAD", "MFAA"])
def test_three_letters_of_three_axes_are_needed_for_volumes(tmp_path, rng, orientation):
    with pytest.raises(ValueError, match="expected three letters such as MFA"):
        write_sequence(volumes_sequence(rng), tmp_path / "v.mha", orientation=orientation)


def test_one_volume_is_told_from_frames_by_its_kinds(tmp_path, rng):
    one = small(rng, n=3)
    write_sequence(replace(one, fields={}, transforms={}), tmp_path / "s.mha", compressed=False)
    raw = (tmp_path / "s.mha").read_bytes()
    lines = [line for line in raw.split(b"ElementDataFile")[0].splitlines() if b"Seq_Frame" not in line]
    head = b"\n".join(lines).replace(b"domain domain list", b"domain domain domain")
    head = head.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 0.5 0.25 2")
    (tmp_path / "v.mha").write_bytes(head + b"\nElementDataFile" + raw.split(b"ElementDataFile")[1])
    volume = read_sequence(tmp_path / "v.mha")
    assert np.array_equal(volume.frames, one.frames[None])
    write_sequence(volume, tmp_path / "w.mha")
    lines, _, pixels = own_reading(tmp_path / "w.mha")
    assert np.array_equal(pixels, one.frames[None])
    assert lines["ElementSpacing"] == "0.5 0.25 2 1"


def test_a_tracker_file_with_a_pixel_a_frame_stays_one(tmp_path):
    head = (
        b"NDims = 3\nDimSize = 1 1 2\nElementType = MET_USHORT\nSeq_Frame0000_Timestamp = 1\n"
        b"Seq_Frame0000_AToBTransformStatus = OUT_OF_VIEW\nSeq_Frame0000_ImageStatus = OK\n"
        b"Seq_Frame0001_AToBTransform = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "s.mha").write_bytes(head + bytes(4))
    one = read_sequence(tmp_path / "s.mha")
    assert one.frames is None
    assert one.transforms["AToB"].status == ("OUT_OF_VIEW", "")
    assert one.image_status == ("OK", "")
    write_sequence(one, tmp_path / "t.mha")
    lines, fields, pixels = own_reading_raw(tmp_path / "t.mha")
    assert (lines["DimSize"], lines["ElementType"], pixels) == ("1 1 2", "MET_USHORT", bytes(4))
    assert fields["Seq_Frame0000_AToBTransformStatus"] == "OUT_OF_VIEW"
    assert "Seq_Frame0000_AToBTransform" not in fields
    assert_same(read_sequence(tmp_path / "t.mha"), one)


def own_reading_raw(path):
    head, data = path.read_bytes().split(b"ElementDataFile = LOCAL\n", 1)
    lines = dict(line.split(" = ", 1) for line in head.decode().splitlines())
    return lines, lines, data


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ElementNumberOfChannels = 3", "pictures of 3 channels"),
        ("Kinds = vector domain domain list", "expected grey ones"),
        ("NDims = 5", "NDims = 5, but DimSize has 4 numbers"),
    ],
)
def test_colour_and_a_contradicting_header_are_refused(tmp_path, rng, line, sentence):
    write_sequence(volumes_sequence(rng), tmp_path / "v.mha")
    key = line.split(" = ")[0].encode()
    raw = re.sub(rb"(?m)^" + key + rb" = .*$", line.encode(), (tmp_path / "v.mha").read_bytes())
    (tmp_path / "v.mha").write_bytes(raw)
    with pytest.raises(FileError, match=sentence):
        read_sequence(tmp_path / "v.mha")


@pytest.mark.parametrize(("compressed", "ending"), [(False, ".raw"), (True, ".zraw")])
def test_pixels_beside_a_header_are_named_by_whether_they_are_compressed(tmp_path, rng, compressed, ending):
    write_sequence(small(rng), tmp_path / "s.mhd", compressed=compressed)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.mhd", f"s{ending}"]
    assert (tmp_path / "s.mhd").read_text(encoding="utf-8").rstrip().endswith(f"ElementDataFile = s{ending}")


def test_the_file_is_laid_out_as_plus_writes_it(tmp_path, rng):
    write_sequence(small(rng), tmp_path / "s.mha")
    head, pixels = (tmp_path / "s.mha").read_bytes().split(b"ElementDataFile = LOCAL\n", 1)
    lines = head.decode().splitlines()
    assert lines[:2] == ["ObjectType = Image", "NDims = 3"]
    first = next(k for k, line in enumerate(lines) if line.startswith("Seq_Frame"))
    assert lines[2:first] == sorted(lines[2:first])
    assert all(line.startswith("Seq_Frame") for line in lines[first:])
    size = next(line for line in lines if line.startswith("CompressedDataSize"))
    assert int(size.split("=")[1]) == len(pixels)
    assert "DimSize = 9 6 4" in lines
    assert "Seq_Frame0001_ProbeToTrackerTransformStatus = INVALID" in lines
    assert "Seq_Frame0002_ImageStatus = INVALID" in lines
    assert "Seq_Frame0000_Timestamp = -3.0" in lines


def test_frames_left_on_disk_are_written_over_their_own_file(tmp_path, rng):
    write_sequence(small(rng), tmp_path / "s.mha", compressed=False, orientation="NU")
    one = read_sequence(tmp_path / "s.mha", on_disk=True)
    assert isinstance(one.frames, np.memmap)
    write_sequence(one, tmp_path / "s.mha")
    back = read_sequence(tmp_path / "s.mha")
    assert_same(back, small_again := replace(one, frames=np.array(back.frames)))
    assert np.array_equal(small_again.frames, one.frames)
    assert back.header["UltrasoundImageOrientation"] == "NU"


def test_writing_holds_one_frame_at_a_time(tmp_path):
    frames = np.broadcast_to(np.arange(1000, dtype=np.uint8), (40, 1000, 1000))  # 40 MB in 1 kB
    one = Sequence(frames, np.arange(40.0), {}, np.ones(40, dtype=bool), {}, {})
    tracemalloc.start()
    try:
        write_sequence(one, tmp_path / "s.mha", orientation="UN")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4e6
    assert read_sequence(tmp_path / "s.mha").frames[39, 7, 5] == 5


NAN, ALL, NONE = np.full((4, 4, 4), np.nan), np.ones(4, dtype=bool), np.zeros(4, dtype=bool)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fields": {"a=b": ("x",) * 4}}, "no '=' in a name"),
        ({"fields": {"a": ("x\ny",) * 4}}, "expected one line"),
        ({"fields": {"a": ("x ",) * 4}}, "without blanks around"),
        ({"fields": {"a": ("\ud800",) * 4}}, "would not be read back"),
        ({"fields": {"a" * 1000: ("x",) * 4}}, "PLUS reads 999 at most"),
        ({"fields": {"Timestamp": ("1",) * 4}}, "one of PLUS's own"),
        ({"fields": {"AToBTransform": ("1",) * 4}}, "one of PLUS's own"),
        ({"fields": {"ProbeToTrackerTransformStatus": ("OK",) * 4}}, "one of PLUS's own"),
        ({"fields": {"a": ("x",) * 3}}, "the field a has not one entry per frame; expected 4"),
        ({"header": {"Seq_Frame0001_a": "x"}}, "expected it among the fields"),
        ({"time_s": np.array([0, 1, np.inf, 2])}, "a time is infinite"),
        ({"time_s": np.arange(3.0)}, "expected 3, as there are times"),
        ({"frames": np.zeros((4, 6, 9), dtype=bool)}, "the pictures are bool"),
        ({"frames": np.zeros((4, 1, 1), dtype=np.uint8)}, "more than one pixel"),
        ({"frames": None}, "image_valid is True where there is no picture"),
        ({"transforms": {"Probe": Transform(np.ones((4, 4, 4)), ALL)}}, "no transform's name"),
        ({"transforms": {"AToB": Transform(NAN, NONE)}}, "no pose in"),
        ({"transforms": {"AToB": Transform(NAN, ALL)}}, "not finite"),
        ({"image_status": ("MISSING",) * 4}, "image_status has a word where valid is True"),
        ({"image_status": ("",) * 3}, "image_status has not one entry per frame"),
    ],
)  # fmt: skip
def test_what_would_not_come_back_is_refused_and_nothing_is_left(tmp_path, rng, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_sequence(replace(small(rng), **change), tmp_path / "s.mha")
    assert not list(tmp_path.iterdir())


def test_a_wrong_suffix_or_orientation_is_refused(tmp_path, rng):
    with pytest.raises(ValueError, match=r"ends in \.mha, \.mhd or \.nrrd"):
        write_sequence(small(rng), tmp_path / "s.nii")
    with pytest.raises(ValueError, match="expected letters such as MF"):
        write_sequence(small(rng), tmp_path / "s.mha", orientation="QF")
    assert not list(tmp_path.iterdir())


# ---- text of other programs ------------------------------------------------------------------------------


def test_field_names_with_any_letters_stay_with_their_frames(tmp_path):
    head = b"DimSize = 0 0 2\nSeq_Frame0000_my-field.2 = a\nSeq_Frame0001_Timestamp = 1\nSted = \xe5s\n"
    (tmp_path / "s.mha").write_bytes(head + b"ElementDataFile = LOCAL\n")
    one = read_sequence(tmp_path / "s.mha")
    assert one.fields == {"my-field.2": ("a", "")}
    assert one.header["Sted"] == "ås"  # Windows wrote it in Latin-1


def test_big_endian_pixels_are_read(tmp_path):
    head = (
        b"DimSize = 2 1 1\nElementType = MET_USHORT\nBinaryDataByteOrderMSB = True\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "s.mha").write_bytes(head + b"\x01\x02\x03\x04")
    assert read_sequence(tmp_path / "s.mha").frames.tolist() == [[[0x102, 0x304]]]


def test_more_frames_than_fields_without_pictures_are_refused(tmp_path):
    head = b"DimSize = 0 0 99999999999\nSeq_Frame0000_Timestamp = 1\nElementDataFile = LOCAL\n"
    (tmp_path / "s.mha").write_bytes(head)
    with pytest.raises(FileError, match="frame 99999999998 has no field"):
        read_sequence(tmp_path / "s.mha")


# ---- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_gives_a_sentence_or_a_sequence_that_fits_together(tmp_path, rng, compressed):
    one = small(rng)
    path = tmp_path / "s.mha"
    write_sequence(one, path, compressed=compressed)
    whole = path.read_bytes()
    refused = cut_read = 0
    for variant in range(400):
        raw = bytearray(whole)
        cut = variant % 4 == 0
        if cut:
            raw = raw[: rng.integers(len(raw))]
        else:
            for at in rng.integers(len(raw), size=rng.integers(1, 4)):
                raw[at] = rng.integers(256) if variant % 2 else rng.choice(list(b"0123456789 =\n-."))
        path.write_bytes(raw)
        try:
            back = read_sequence(path)
        except FileError:
            refused += 1
            continue
        cut_read += cut
        n = len(back)
        assert n == 4 or back.frames is None
        assert back.image_valid.shape == (n,)
        assert all(t.pose.shape == (n, 4, 4) and t.valid.shape == (n,) for t in back.transforms.values())
        assert back.frames is None or back.frames.size == one.frames.size
    assert cut_read == 0
    assert refused > 120


@pytest.mark.parametrize(
    "size",
    ["99999 99999 4", "999999999999999999999 6 4", "9 6 99999999999", "1 1 9999999999", "9² 6 4", "9 6 -4"],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_size_that_cannot_be_true_is_refused_before_memory_is_asked_for(tmp_path, rng, size, compressed):
    path = tmp_path / "s.mha"
    write_sequence(small(rng), path, compressed=compressed)
    path.write_bytes(path.read_bytes().replace(b"DimSize = 9 6 4", f"DimSize = {size}".encode()))
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="DimSize"):
            read_sequence(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


# ---- sweeps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_a_sweep_comes_back_from_the_sequence_that_plus_can_reconstruct(tmp_path, rng, kind):
    sweep = hand_sweep(rng, kind=kind)
    sweep = replace(sweep, valid=np.arange(len(sweep)) % 5 != 2)
    write_sequence(sequence_of(sweep), tmp_path / "s.mha", orientation="UN")
    nothing = PlusConfig({}, np.empty((0, 3, 2, 3)), {}, None, np.nan, {}, {})
    back = plus_sweep(read_sequence(tmp_path / "s.mha"), nothing)
    assert np.array_equal(back.frames, sweep.frames)
    assert np.array_equal(back.time_s, sweep.time_s)
    assert np.array_equal(back.valid, sweep.valid)
    assert np.array_equal(back.pr_M_p[back.valid], sweep.pr_M_p[sweep.valid])


def test_the_names_of_a_sweeps_spaces_can_be_chosen_and_are_checked(rng):
    sweep = hand_sweep(rng)
    graph = sequence_of(sweep, image="Us", reference="Patient").spaces()
    assert isinstance(graph, SpaceGraph)
    assert np.allclose(graph.get("Patient", "Us"), sweep.pr_M_p, atol=1e-12)
    for image, reference in itertools.product(["MapToX", "Us"], ["patient", "Pa tient"]):
        with pytest.raises(ValueError, match="which PLUS reads otherwise"):
            sequence_of(sweep, image=image, reference=reference)


# ---- real recordings -------------------------------------------------------------------------------------


def test_plus_own_files_come_back_equal(tmp_path, navkit_data):
    paths = sorted((navkit_data / "plus").rglob("*.mha"))
    paths = [path for path in paths if path.stat().st_size < 2_000_000 or "Spine" in path.name]
    assert len(paths) >= 11
    for k, path in enumerate(paths):
        one = read_sequence(path, on_disk=True)
        suffix, orientation = [(".mha", None), (".mhd", "UN"), (".mha", "NM")][k % 3]
        some = slice(None, 10)  # the big ones: all lines, few pictures
        if one.frames is not None and one.frames.nbytes > 3e7:
            one = Sequence(
                one.frames[some],
                one.time_s[some],
                {name: Transform(t.pose[some], t.valid[some]) for name, t in one.transforms.items()},
                one.image_valid[some],
                {name: texts[some] for name, texts in one.fields.items()},
                one.header,
            )
        copy = tmp_path / f"copy{suffix}"
        write_sequence(one, copy, orientation=orientation)
        assert_same(read_sequence(copy), one)
        assert one.transforms or one.frames is not None
