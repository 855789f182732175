"""DICOM series as volumes: order, place, rescaling, and what is no regular stack."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from navkit.files import FileError, read_dicom
from navkit.files._dicom import series_in

CT, MR_ENHANCED, US_FILM, REPORT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4.1", "3.1", "88.11"))
EXPLICIT = "1.2.840.10008.1.2.1"
AXES = Rotation.from_euler("xyz", [20, -35, 80], degrees=True).as_matrix()  # columns: across, down, normal
CORNER = np.array([-101.5, 66.25, 912.75])
ROW_MM, COLUMN_MM, SLICE_MM = 0.8, 0.55, 2.25
N, H, W = 5, 6, 7


def element(group, number, vr, value):
    """One element of explicit little endian DICOM."""
    if vr == "SQ":
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in value)
    if isinstance(value, str):
        value = value.encode() + b" " * (len(value.encode()) % 2)
        value = value[:-1] + b"\0" if vr == "UI" and value.endswith(b" ") else value
    elif isinstance(value, int):
        value = struct.pack("<H", value)
    head = struct.pack("<HH", group, number) + vr.encode()
    long = vr in ("OB", "OW", "SQ")
    return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value


def numbers(values):
    return "\\".join(f"{v:.9f}"[:16] for v in values)


def dicom(
    path, pixels, *, position=None, kind=CT, syntax=EXPLICIT, uid="1.2.3.1", number=1, slope=None,
    axes=AXES, description="thorax", between=None, places=(), pixel=(ROW_MM, COLUMN_MM), samples=1,
):  # fmt: skip
    """A file of one or more pictures (n, h, w), from the standard's description alone."""
    pixels = pixels.reshape(-1, *pixels.shape[-2 - (samples > 1) :])
    n, h, w = pixels.shape[:3]
    signed = pixels.dtype == np.int16
    orientation = None if axes is None else numbers(axes[:, :2].T.ravel())

    def plane(where):
        inside = element(0x20, 0x9113, "SQ", [element(0x20, 0x32, "DS", numbers(where))])
        inside += element(0x20, 0x9116, "SQ", [element(0x20, 0x37, "DS", orientation)])
        return inside + element(0x28, 0x9110, "SQ", [element(0x28, 0x30, "DS", numbers(pixel))])

    body = element(8, 0x16, "UI", kind) + element(8, 0x18, "UI", f"1.2.9.{number}")
    body += element(8, 0x60, "CS", "CT") + element(8, 0x103E, "LO", description)
    body += element(0x10, 0x10, "PN", "Hansen^Kari") + element(0x10, 0x20, "LO", "12345")
    body += element(0x18, 0x88, "DS", f"{between}") if between else b""
    body += element(0x20, 0xD, "UI", "1.2.3") + element(0x20, 0xE, "UI", uid)
    body += element(0x20, 0x13, "IS", str(number))
    body += element(0x20, 0x32, "DS", numbers(position)) if position is not None else b""
    body += element(0x20, 0x37, "DS", orientation) if position is not None and orientation else b""
    body += element(0x28, 2, "US", samples)
    body += element(0x28, 4, "CS", "RGB" if samples > 1 else "MONOCHROME2")
    body += element(0x28, 6, "US", 0) if samples > 1 else b""
    body += element(0x28, 8, "IS", str(n)) if n > 1 else b""
    body += element(0x28, 0x10, "US", h) + element(0x28, 0x11, "US", w)
    body += element(0x28, 0x30, "DS", numbers(pixel)) if position is not None and pixel else b""
    bits = 8 * pixels.dtype.itemsize
    body += element(0x28, 0x100, "US", bits) + element(0x28, 0x101, "US", bits)
    body += element(0x28, 0x102, "US", bits - 1) + element(0x28, 0x103, "US", int(signed))
    if slope:
        body += element(0x28, 0x1052, "DS", str(slope[1])) + element(0x28, 0x1053, "DS", str(slope[0]))
    body += element(0x5200, 0x9230, "SQ", [plane(p) for p in places]) if len(places) else b""
    data = pixels.tobytes()
    if syntax == EXPLICIT:
        body += element(0x7FE0, 0x10, "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    else:  # encapsulated: an empty offset table, one fragment, the end
        body += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        body += struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(data))
        body += data + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    meta = element(2, 1, "OB", b"\0\1") + element(2, 2, "UI", kind) + element(2, 3, "UI", f"1.2.9.{number}")
    meta += element(2, 0x10, "UI", syntax) + element(2, 0x12, "UI", "1.2.3.4")
    meta = element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    path.write_bytes(bytes(128) + b"DICM" + meta + body)


def place(k, normal=AXES[:, 2]):
    return CORNER + k * SLICE_MM * normal


def series(folder, rng, *, shift=lambda k: 0.0, keep=range(N), **how):
    """Slices with shuffled names; returns the pixels in the order of their places."""
    pixels = rng.integers(-900, 2900, (N, H, W), dtype=np.int16)
    names = rng.permutation(1000)
    for k in keep:
        dicom(folder / f"{names[k]:03d}.dcm", pixels[k], position=place(k) + shift(k), number=k + 1, **how)
    return pixels


def assert_placed(volume, values):
    assert np.array_equal(volume.values, values)
    m = volume.grid.pr_M_voxel()
    expected = AXES * [COLUMN_MM, ROW_MM, SLICE_MM]
    assert m[:3, :3] == pytest.approx(expected, abs=1e-6)
    assert m[:3, 3] == pytest.approx(CORNER, abs=1e-6)


def test_slices_are_ordered_by_place_and_lie_where_they_were(tmp_path, rng):
    pixels = series(tmp_path, rng)
    (tmp_path / "notes.txt").write_text("none of DICOM's", encoding="utf-8")
    dicom(tmp_path / "report.dcm", np.zeros((1, 2, 2), np.int16), kind=REPORT)
    raw = (tmp_path / "report.dcm").read_bytes()
    (tmp_path / "report.dcm").write_bytes(raw[: raw.index(struct.pack("<HH", 0x28, 2))])
    volume = read_dicom(tmp_path)
    assert_placed(volume, pixels)
    one = next(p for p in tmp_path.iterdir() if p.name[0].isdigit())
    assert_placed(read_dicom(one), pixels)
    assert b"Hansen" in one.read_bytes()
    assert "Hansen" not in repr(volume)


@pytest.mark.parametrize("slope", [(1, -1024), (0.25, 7.5)])
def test_slope_and_intercept_are_applied(tmp_path, rng, slope):
    pixels = series(tmp_path, rng, slope=slope)
    assert_placed(read_dicom(tmp_path), pixels * slope[0] + slope[1])


def test_every_slice_has_its_own_slope(tmp_path, rng):
    pixels = rng.integers(0, 2000, (N, H, W), dtype=np.uint16)
    for k in range(N):
        dicom(tmp_path / f"{9 - k}", pixels[k], position=place(k), number=k, slope=(1 + k, -k))
    expected = pixels * (1.0 + np.arange(N))[:, None, None] - np.arange(N)[:, None, None]
    assert_placed(read_dicom(tmp_path), expected)


def test_files_that_simpleitk_writes_are_read_as_itself_reads_them(tmp_path, rng):
    pixels = rng.integers(-900, 2900, (N, H, W), dtype=np.int16)
    names = [str(tmp_path / f"{name}.dcm") for name in rng.permutation(50)[:N]]
    for k, name in enumerate(names):
        image = sitk.GetImageFromArray(pixels[k : k + 1])
        image.SetSpacing((COLUMN_MM, ROW_MM, SLICE_MM))
        tags = {"0008|0060": "CT", "0020|000e": "1.2.7", "0020|0032": numbers(place(k))}
        tags |= {"0020|0037": numbers(AXES[:, :2].T.ravel()), "0020|0013": str(k), "0010|0010": "Hansen"}
        for tag, text in tags.items():
            image.SetMetaData(tag, text)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(name)
        writer.Execute(image)
    volume = read_dicom(tmp_path)
    assert_placed(volume, pixels)
    theirs = sitk.ReadImage(names)
    assert volume.grid.pr_M_d[:3, :3].ravel() == pytest.approx(theirs.GetDirection(), abs=1e-6)
    assert volume.grid.pr_M_d[:3, 3] == pytest.approx(theirs.GetOrigin(), abs=1e-6)
    assert volume.grid.spacing_mm == pytest.approx(theirs.GetSpacing(), abs=1e-6)
    assert np.array_equal(volume.values, sitk.GetArrayFromImage(theirs))


def test_several_series_are_named_and_one_can_be_chosen(tmp_path, rng):
    pixels = series(tmp_path, rng)
    for k in range(2):
        dicom(tmp_path / f"scout{k}", pixels[k], position=place(k), uid="1.2.3.2", description="scout")
    with pytest.raises(FileError, match=r"1\.2\.3\.1 \(CT 'thorax', 5 pictures\); .*'scout', 2 pictures"):
        read_dicom(tmp_path)
    assert series_in(tmp_path) == {"1.2.3.1": ("CT", "thorax", 5), "1.2.3.2": ("CT", "scout", 2)}
    assert_placed(read_dicom(tmp_path, series="1.2.3.1"), pixels)
    assert_placed(read_dicom(tmp_path, series="thorax"), pixels)
    assert len(read_dicom(tmp_path / "scout0").values) == 2
    with pytest.raises(FileError, match="no series 'liver' here; there are"):
        read_dicom(tmp_path, series="liver")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"keep": [0, 1, 3, 4]}, r"a slice is missing: 4\.500 mm from \d+\.dcm to \d+\.dcm, usually 2\.250"),
        ({"keep": [0, 2, 3, 4]}, r"a slice is missing: 4\.500 mm"),
        ({"shift": lambda k: 0.04 * k**2 * AXES[:, 2]}, "the distances are not equal"),
        ({"shift": lambda k: 0.3 * k * AXES[:, 1]}, r"leans 7\.59 degrees from the slices' normal \(gantry"),
        ({"shift": lambda k: -0.05 * k * AXES[:, 0]}, r"leans 1\.27 degrees"),
        ({"shift": lambda k: -SLICE_MM * AXES[:, 2] * (k == 2)}, "are at one place"),
        ({"keep": [2]}, "one slice; expected two or more"),
        ({"axes": AXES * [1, 1.02, 1]}, "not two axes at right angles"),
        ({"axes": None}, r"Image Orientation \(Patient\) is ''; expected 6 numbers"),
        ({"pixel": None}, "Pixel Spacing is ''; expected 2 numbers"),
        ({"syntax": "1.2.840.10008.1.2.4.100"}, "cannot be read"),  # MPEG2
        ({"syntax": "1.2.840.10008.1.2.4.70"}, "cannot be read"),  # JPEG, of what is none
    ],
)
def test_what_is_no_regular_stack_is_refused_and_told(tmp_path, rng, how, sentence):
    series(tmp_path, rng, **how)
    with pytest.raises(FileError, match=sentence):
        read_dicom(tmp_path)


def test_rounded_positions_are_a_regular_stack(tmp_path, rng):
    series(tmp_path, rng, shift=lambda k: np.round(place(k), 2) - place(k))
    m = read_dicom(tmp_path).grid.pr_M_voxel()
    assert m[:3, 3] == pytest.approx(CORNER, abs=0.006)
    assert np.linalg.norm(m[:3, 2]) == pytest.approx(SLICE_MM, abs=0.004)


@pytest.mark.parametrize("change", [{"axes": AXES[:, [1, 0, 2]]}, {"pixel": (0.9, 0.55)}, {"size": 1}])
def test_a_slice_unlike_the_others_is_named(tmp_path, rng, change):
    pixels = series(tmp_path, rng)
    size = change.pop("size", 0)
    dicom(tmp_path / "odd.dcm", pixels[0, size:], position=place(N), **change)
    with pytest.raises(FileError, match=r"odd\.dcm"):
        read_dicom(tmp_path)


def test_one_file_with_a_position_for_each_picture_in_any_order(tmp_path, rng):
    pixels = rng.integers(0, 2900, (N, H, W), dtype=np.uint16)
    order = [3, 0, 4, 2, 1]
    where = [place(k) for k in order]
    dicom(tmp_path / "mr.dcm", pixels[order], kind=MR_ENHANCED, places=where)
    assert_placed(read_dicom(tmp_path / "mr.dcm"), pixels)
    assert_placed(read_dicom(tmp_path), pixels)
    dicom(tmp_path / "mr.dcm", pixels[order], kind=MR_ENHANCED, places=where[:-1])
    with pytest.raises(FileError, match="5 pictures and 4 positions"):
        read_dicom(tmp_path / "mr.dcm")
    leaning = [place(k) + 0.4 * k * AXES[:, 0] for k in range(N)]
    dicom(tmp_path / "mr.dcm", pixels, kind=MR_ENHANCED, places=leaning)
    with pytest.raises(FileError, match="leans"):
        read_dicom(tmp_path / "mr.dcm")


def test_one_file_with_a_position_and_a_distance(tmp_path, rng):
    pixels = rng.integers(0, 2900, (N, H, W), dtype=np.uint16)
    dicom(tmp_path / "a.dcm", pixels, kind="1.2.840.10008.5.1.4.1.1.7.3", position=CORNER, between=SLICE_MM)
    assert_placed(read_dicom(tmp_path / "a.dcm"), pixels)


def test_a_film_colour_and_no_dicom_are_refused(tmp_path, rng):
    frames = rng.integers(0, 255, (N, H, W), dtype=np.uint8)
    dicom(tmp_path / "film.dcm", frames, kind=US_FILM)
    with pytest.raises(FileError, match="0 positions; expected one each"):
        read_dicom(tmp_path / "film.dcm")
    rgb = rng.integers(0, 255, (1, H, W, 3), dtype=np.uint8)
    dicom(tmp_path / "rgb.dcm", rgb, samples=3, kind="1.2.840.10008.5.1.4.1.1.7", position=CORNER)
    with pytest.raises(FileError, match=r"rgb\.dcm is in colour"):
        read_dicom(tmp_path / "rgb.dcm")
    for k in range(2):  # a rendering beside them is no reason to refuse the slices
        dicom(tmp_path / f"{k}.dcm", frames[k], position=place(k), uid="1.2.3.9")
    assert np.array_equal(read_dicom(tmp_path, series="1.2.3.9").values, frames[:2])
    (tmp_path / "x").mkdir()
    with pytest.raises(FileError, match="has no DICOM picture"):
        read_dicom(tmp_path / "x")
    (tmp_path / "x" / "y").mkdir()
    with pytest.raises(FileError, match="Its folders are y"):
        read_dicom(tmp_path / "x")
    (tmp_path / "x" / "t").write_text("text", encoding="utf-8")
    with pytest.raises(FileError, match="is no DICOM picture"):
        read_dicom(tmp_path / "x" / "t")
    with pytest.raises(FileError, match="does not exist"):
        read_dicom(tmp_path / "none")


def test_damage_gives_a_sentence_or_a_volume_that_fits_together(tmp_path, rng):
    pixels = series(tmp_path, rng)
    paths = sorted(tmp_path.iterdir())
    whole = paths[2].read_bytes()
    refused = 0
    for variant in range(100):
        raw = bytearray(whole)
        if variant % 4 == 0:
            raw = raw[: rng.integers(133, len(raw) - 1)]
        else:
            for at in rng.integers(132, len(raw) - pixels[0].nbytes, size=2):
                raw[at] = rng.integers(256)
        paths[2].write_bytes(raw)
        try:
            volume = read_dicom(tmp_path)
        except FileError:
            refused += 1
            continue
        assert variant % 4, "a file that was cut is read"
        assert volume.values.shape == (N, H, W)
        assert np.isfinite(volume.grid.pr_M_d).all()
    assert refused > 30
