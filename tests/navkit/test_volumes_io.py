"""Volumes in and out: every voxel at its place, told by readers and writers of this test alone."""

import gzip
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from navkit.files import FileError, read_volume, write_volume
from navkit.files._volumes import read_image, volume_of
from navkit.reconstruction import Grid

ENDINGS = [".mha", ".mhd", ".nrrd", ".nii", ".nii.gz"]
MET = {"u1": "UCHAR", "i1": "CHAR", "u2": "USHORT", "i2": "SHORT", "u4": "UINT", "i4": "INT", "f4": "FLOAT",
       "f8": "DOUBLE"}  # fmt: skip
NRRD = {"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32",
        "f4": "float", "f8": "double"}  # fmt: skip
NIFTI = {"u1": 2, "i1": 256, "u2": 512, "i2": 4, "u4": 768, "i4": 8, "f4": 16, "f8": 64}
SPACING = np.array([0.7, 0.45, 2.5])
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def place(*, left_handed=False):
    """LPS of voxel indices (i, j, k): oblique, off-centre, three unequal spacings."""
    m = np.eye(4)
    m[:3, :3] = Rotation.from_euler("xyz", [25, -40, 110], degrees=True).as_matrix() * SPACING
    m[:3, 3] = -61.5, 118.25, 1033.75
    if left_handed:
        m[:3, 1] *= -1
    return m


def axes_of(m):
    spacing = np.linalg.norm(m[:3, :3], axis=0)
    return spacing, m[:3, :3] / spacing


def by_hand(path, values, m, kind):
    """A file of (nz, ny, nx) values, written from the formats' own descriptions."""
    spacing, axes = axes_of(m)
    data = values.astype("<" + kind).tobytes()
    size = values.shape[::-1]

    def words(v):
        return " ".join(map(repr, np.ravel(v).tolist()))

    if path.suffix in (".mha", ".mhd"):
        local = path.suffix == ".mha"
        head = (
            f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
            f"CompressedData = False\nTransformMatrix = {words(axes.T)}\nOffset = {words(m[:3, 3])}\n"
            f"CenterOfRotation = 0 0 0\nElementSpacing = {words(spacing)}\nDimSize = {words(size)}\n"
            f"ElementType = MET_{MET[kind]}\nElementDataFile = {'LOCAL' if local else 'x.raw'}\n"
        ).encode()
        path.write_bytes(head + (data if local else b""))
        if not local:
            (path.parent / "x.raw").write_bytes(data)
    elif path.suffix == ".nrrd":
        columns = " ".join("(" + ",".join(map(repr, c)) + ")" for c in m[:3, :3].T.tolist())
        head = (
            f"NRRD0004\ntype: {NRRD[kind]}\ndimension: 3\nspace: left-posterior-superior\n"
            f"sizes: {words(size)}\nspace directions: {columns}\nkinds: domain domain domain\n"
            f"endian: little\nencoding: raw\nspace origin: ({','.join(map(repr, m[:3, 3].tolist()))})\n\n"
        )
        path.write_bytes(head.encode() + data)
    else:
        ras = FLIP @ m
        head = bytearray(352)
        struct.pack_into("<i", head, 0, 348)
        struct.pack_into("<8h", head, 40, 3, *size, 1, 1, 1, 1)
        struct.pack_into("<2h", head, 70, NIFTI[kind], 8 * int(kind[1]))
        struct.pack_into("<8f", head, 76, 1, *spacing, 0, 0, 0, 0)
        struct.pack_into("<3f", head, 108, 352, 1, 0)
        struct.pack_into("<b", head, 123, 2)  # mm
        struct.pack_into("<2h", head, 252, 0, 1)
        struct.pack_into("<12f", head, 280, *ras[:3].ravel())
        head[344:348] = b"n+1\0"
        whole = bytes(head) + data
        path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)


def seen(path):
    """Values (nz, ny, nx) and the LPS of voxel indices, read from the formats' own descriptions."""
    raw = path.read_bytes()
    if path.suffix in (".mha", ".mhd"):
        head, data = re.fullmatch(rb"(.*?ElementDataFile = [^\n]*\n)(.*)", raw, re.DOTALL).groups()
        said = dict(line.split(" = ") for line in head.decode().strip().splitlines())
        if said["ElementDataFile"] != "LOCAL":
            data = (path.parent / said["ElementDataFile"]).read_bytes()
        data = zlib.decompress(data) if said["CompressedData"] == "True" else data
        dtype = {v: k for k, v in MET.items()}[said["ElementType"].removeprefix("MET_")]
        m = np.eye(4)
        spacing = np.array(said["ElementSpacing"].split(), dtype=float)
        m[:3, :3] = np.reshape(said["TransformMatrix"].split(), (3, 3)).astype(float).T * spacing
        m[:3, 3] = said["Offset"].split()
        size = [int(v) for v in said["DimSize"].split()]
    elif path.suffix == ".nrrd":
        head, data = raw.split(b"\n\n", 1)
        said = dict(re.split(":=?", line, maxsplit=1) for line in head.decode().splitlines() if ":" in line)
        assert said["space"].strip() == "left-posterior-superior"
        data = gzip.decompress(data) if said["encoding"].strip() in ("gzip", "gz") else data
        dtype = {v: k for k, v in {**NRRD, "u1": "unsigned char", "u2": "unsigned short", "i2": "short",
                                   "i4": "int", "u4": "unsigned int", "i1": "signed char"}.items()}[
                                       said["type"].strip()]  # fmt: skip
        m = np.eye(4)
        vectors = re.findall(r"\(([^)]*)\)", said["space directions"])
        m[:3, :3] = np.array([v.split(",") for v in vectors], dtype=float).T
        m[:3, 3] = said["space origin"].strip(" ()").split(",")
        size = [int(v) for v in said["sizes"].split()]
    else:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        size = struct.unpack_from("<3h", raw, 42)
        dtype = {v: k for k, v in NIFTI.items()}[struct.unpack_from("<h", raw, 70)[0]]
        ras = np.eye(4)
        ras[:3] = np.reshape(struct.unpack_from("<12f", raw, 280), (3, 4))
        m = FLIP @ ras
        data = raw[int(struct.unpack_from("<f", raw, 108)[0]) :]
    return np.frombuffer(data, "<" + dtype).reshape(size[::-1]), m


def some_values(rng, kind):
    low, high = (0, 255) if kind == "u1" else (-128, 127) if kind == "i1" else (0, 60000)
    low, high = (-9000, 9000) if kind in ("i2", "i4", "f4", "f8") else (low, high)
    values = rng.integers(low, high, (3, 5, 4)).astype(kind)
    return values + np.array(0.375, dtype=kind) if kind[0] == "f" else values


def tolerance(path):
    return 2e-4 if ".nii" in path.name else 1e-9  # mm; NIfTI has 32 bits for a position


def voxels_and_places(values, m):
    """Each value with its place (x, y, z), by place: what may not change, whatever the order of axes."""
    k, j, i = np.indices(values.shape).reshape(3, -1)
    places = (m @ np.stack([i, j, k, np.ones_like(i)]))[:3].T
    order = np.lexsort(np.round(places, 2).T)
    return values.ravel()[order], places[order]


@pytest.mark.parametrize("kind", MET)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_type_is_read_at_its_place(tmp_path, rng, ending, kind):
    values, m = some_values(rng, kind), place()
    by_hand(tmp_path / f"x{ending}", values, m, kind)
    volume = read_volume(tmp_path / f"x{ending}")
    assert np.array_equal(volume.values, values)
    assert volume.grid.pr_M_voxel() == pytest.approx(m, abs=tolerance(tmp_path / f"x{ending}"))
    assert volume.grid.spacing_mm == pytest.approx(SPACING, abs=1e-6)
    assert (volume.weight == 1).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_left_handed_axes_are_turned_and_no_voxel_moves(tmp_path, rng, ending):
    values, m = some_values(rng, "i2"), place(left_handed=True)
    path = tmp_path / f"x{ending}"
    by_hand(path, values, m, "i2")
    volume = read_volume(path)
    assert np.linalg.det(volume.grid.pr_M_d[:3, :3]) == pytest.approx(1, abs=1e-5)
    ours, theirs = (
        voxels_and_places(volume.values, volume.grid.pr_M_voxel()),
        voxels_and_places(values, m),
    )
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1] == pytest.approx(theirs[1], abs=2 * tolerance(path))
    assert "left-handed" in read_image(path)[1][0]
    by_hand(path, values, place(), "i2")
    assert read_image(path)[1] == ()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_type_is_written_at_its_place(tmp_path, rng, ending, dtype):
    values = some_values(rng, np.dtype(dtype).str[1:])
    spacing, axes = axes_of(place())
    pr_M_d = np.eye(4)
    pr_M_d[:3, :3], pr_M_d[:3, 3] = axes, place()[:3, 3]
    volume = volume_of(values.astype(np.float32), Grid((3, 5, 4), tuple(spacing.tolist()), pr_M_d))
    path = tmp_path / f"x{ending}"
    write_volume(volume, path, dtype=dtype)
    back, m = seen(path)
    assert back.dtype == np.dtype(dtype)
    assert np.array_equal(back, values)
    assert m == pytest.approx(place(), abs=tolerance(path))
    assert not list(tmp_path.glob(".*"))


def test_voxels_without_data_need_a_value_that_no_voxel_has(tmp_path, rng):
    values = some_values(rng, "i2").astype(np.float32)
    values[1, 2, 3] = np.nan
    volume = volume_of(values, Grid((3, 5, 4), (1.0, 2.0, 3.0), np.eye(4)))
    for wrong, sentence in [
        ({"dtype": "int16"}, "1 voxels have no data, which int16 cannot say"),
        ({"dtype": "int16", "no_data": float(values[0, 0, 0])}, "which is to mean no data"),
        ({"dtype": "uint8", "no_data": 0}, "has no place in uint8"),
        ({"dtype": "int16", "no_data": 40000}, "has no place in int16"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            write_volume(volume, tmp_path / "x.nrrd", **wrong)
    half = replace(volume, values=values + np.float32(0.5))
    with pytest.raises(ValueError, match="has no place in int32"):
        write_volume(half, tmp_path / "x.nrrd", dtype="int32", no_data=-20000)
    assert not list(tmp_path.iterdir())
    write_volume(volume, tmp_path / "x.nrrd", dtype="int16", no_data=-20000)
    assert seen(tmp_path / "x.nrrd")[0][1, 2, 3] == -20000
    assert np.array_equal(read_volume(tmp_path / "x.nrrd", no_data=-20000).values, values, equal_nan=True)
    write_volume(half, tmp_path / "y.nii", dtype="float32")
    assert np.array_equal(seen(tmp_path / "y.nii")[0], half.values, equal_nan=True)


def test_ultrasound_keeps_custusxs_rule(tmp_path, rng):
    values = np.array([[[0, 0.4, 254.6], [300, np.nan, 7]]], dtype=np.float32)
    volume = volume_of(values, Grid((1, 2, 3), (1.0, 2.0, 3.0), np.eye(4)))
    write_volume(volume, tmp_path / "us.mha")
    assert seen(tmp_path / "us.mha")[0].tolist() == [[[1, 1, 255], [255, 0, 7]]]
    with pytest.raises(ValueError, match="expected a dtype with it"):
        write_volume(volume, tmp_path / "us.mha", no_data=-1)


def test_colour_films_and_skewed_axes_are_refused(tmp_path, rng):
    grey = rng.integers(0, 255, (3, 5, 4), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([grey] * 3, -1), isVector=True), tmp_path / "rgb.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(grey[0]), tmp_path / "flat.mha")
    m = place()
    m[:3, 2] += 0.3 * m[:3, 0]
    by_hand(tmp_path / "skew.mha", grey, m, "u1")
    for name, sentence in [
        ("rgb.nrrd", "3 components; expected a 3-D grey image"),
        ("flat.mha", "2 dimensions"),
        ("skew.mha", "at right angles"),
        ("none.mha", "is not a file"),
    ]:
        with pytest.raises(FileError, match=sentence):
            read_volume(tmp_path / name)
    (tmp_path / "none.mha").write_text("ObjectType = Image\n", encoding="utf-8")
    with pytest.raises(FileError, match=r"no line ElementDataFile|cannot be read as an image"):
        read_volume(tmp_path / "none.mha")
