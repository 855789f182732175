"""Files of every other kind, whole, with one fault, and damaged at random."""

import json
import shutil
import struct

import numpy as np
import pytest
from made_recordings import (
    BASE,
    SECTOR,
    assert_only,
    cut,
    image,
    kept,
    made_sweep,
    matrix_text,
    sequence,
    stl,
    tool_text,
    written,
)
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.geometry import pose_from
from navkit.recordings import describe
from navkit.tracking import PoseStream
from navkit.ultrasound import Sweep


@pytest.fixture(scope="module")
def made() -> tuple[Sweep, PoseStream]:
    return made_sweep()


CONFIG = """<PlusConfiguration version="2.1">
 <CoordinateDefinitions>
  <Transform From="Image" To="Probe" Matrix="{image}"/>
  <Transform From="Phantom" To="Reference" Matrix="{phantom}"/>
 </CoordinateDefinitions>
 <Segmentation ApproximateSpacingMmPerPixel="0.08"/>
 <DataCollection><Device Id="Video" LocalTimeOffsetSec="{offset}"/></DataCollection>
</PlusConfiguration>
"""


@pytest.mark.parametrize(
    ("scale", "bend", "offset", "phrases"),
    [
        ((0.08, 0.078, 0.08), 1.0, 0.12, ()),
        ((0.08, 0.095, 0.08), 1.0, 0.12, ("19 % apart",)),
        ((0.08, 0.078, -0.08), 1.0, 0.12, ("mirrors",)),
        ((0.11, 0.11, 0.08), 1.0, 0.12, ("scaled by 1.38",)),
        ((0.08, 0.078, 0.08), 1.01, 0.12, ("not rigid",)),
        ((0.08, 0.078, 0.08), 1.0, 120, ("is 120000 ms",)),
    ],
)
def test_a_plus_configuration(tmp_path, scale, bend, offset, phrases):
    turn = Rotation.from_euler("xyz", [10, 60, -30], degrees=True).as_matrix()
    image, phantom = np.eye(4), np.eye(4)
    image[:3], phantom[:3, :3] = np.c_[turn * scale, [11, 48, -1]], turn * bend
    text = CONFIG.format(image=matrix_text(image), phantom=matrix_text(phantom), offset=offset)
    (tmp_path / "config.xml").write_text(text, encoding="utf-8")
    assert assert_only(describe(tmp_path / "config.xml"), *phrases).kind == "PLUS configuration"


def test_tools_and_their_configuration(tmp_path):
    good = pose_from(Rotation.from_euler("xyz", [30, -80, 170], degrees=True), [110, 124, -35])
    (tmp_path / "p.cal").write_text(matrix_text(good), encoding="utf-8")
    cases = [
        (tool_text(), ()),
        (tool_text(dof="5"), ("5 degrees of freedom cannot hold",)),
        (tool_text(rom="x.rom"), ("cannot find the tool",)),
        (tool_text(cal="none.cal"), ("the identity is used",)),
        (tool_text(type="reference", cal=""), ()),
        (tool_text(type="probe"), ("CustusX knows",)),
        (tool_text().replace("<instrument/>", ""), ("expected instrument, sensor, calibration",)),
    ]
    for text, phrases in cases:
        (tmp_path / "p.xml").write_text(text, encoding="utf-8")
        assert_only(describe(tmp_path / "p.xml"), *phrases)
    (tmp_path / "p.xml").write_text(tool_text(), encoding="utf-8")
    for yes, more, phrases in ((1, "", ()), (0, "", ("no reference tool",)), (2, "", ("2 reference tools",)),
                               (1, "<toolfile>none.xml</toolfile>", ("1 tool file not found",))):  # fmt: skip
        one = '<toolfile reference="yes">p.xml</toolfile>' * yes + "<toolfile>p.xml</toolfile>" + more
        text = f'<configuration clinical_app="L"><tracker type="polaris">{one}</tracker></configuration>'
        (tmp_path / "c.xml").write_text(text, encoding="utf-8")
        assert assert_only(describe(tmp_path / "c.xml"), *phrases).kind == "CustusX tool configuration"
    bent = good.copy()
    bent[:3, 0] *= 1.01
    (tmp_path / "p.cal").write_text(matrix_text(bent), encoding="utf-8")
    assert assert_only(describe(tmp_path / "p.cal"), "not rigid").kind == "damaged tool calibration"


TURNED = tuple(np.round(Rotation.from_euler("xyz", [0, 0, 20], degrees=True).as_matrix().ravel(), 12))


@pytest.mark.parametrize("name", ["v.mha", "v.mhd", "v.nrrd", "v.nii", "v.nii.gz"])
def test_volumes_of_every_form(tmp_path, name):
    found = assert_only(describe(image(tmp_path, name, direction=TURNED)))
    assert found.kind == "volume"
    want = {"size_x": 6, "size_y": 5, "size_z": 4, "spacing_y_mm": 0.6, "value_max": 119, "handedness": 1}
    assert {k: pytest.approx(found.numbers[k], abs=1e-6) for k in want} == want
    assert ("axes", "voxels run towards left, back, head of the patient; right-handed") in found.facts


def test_volumes_with_a_fault(tmp_path):
    left = image(tmp_path, "left.mha", direction=(1, 0, 0, 0, 1, 0, 0, 0, -1))
    assert_only(describe(left), "left-handed")
    flipped = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert_only(describe(image(tmp_path, "ras.nrrd", direction=flipped)), "x and y turned")
    assert_only(describe(image(tmp_path, "ras.nii", direction=flipped)))
    assert_only(describe(image(tmp_path, "thick.mha", spacing=(0.5, 0.5, 5))), "10.0 times longer")
    assert_only(
        describe(image(tmp_path, "empty.mha", values=np.full((4, 5, 6), 7, np.uint8))), "all values are 7"
    )
    values = np.ones((4, 5, 6), np.float32)
    values[1, 2, 3] = np.nan
    assert_only(describe(image(tmp_path, "nan.mha", values=values)), "not finite")
    whole = image(tmp_path, "cut.mha")
    cut(whole)
    assert assert_only(describe(whole), "cannot be read").kind == "damaged volume"


def test_a_dicom_folder_and_a_slice_that_is_missing(tmp_path):
    import SimpleITK as sitk

    for k in range(6):
        picture = sitk.GetImageFromArray(np.full((1, 8, 9), k, np.int16))
        picture.SetSpacing((0.4, 0.45, 2.5))
        picture.SetOrigin((0, 0, 2.5 * k))
        tags = {"0008|0060": "CT", "0020|000e": "1.2.3", "0020|000d": "1.2", "0010|0010": "Doe"}
        tags |= {"0020|0013": str(k), "0020|0032": f"0\\0\\{2.5 * k}"}
        for tag, value in tags.items():
            picture.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(tmp_path / f"{k}.dcm"))
        writer.Execute(picture)
    found = assert_only(describe(tmp_path))
    assert found.kind == "DICOM folder"
    assert (found.numbers["series"], found.numbers["series 1 slices"]) == (1, 6)
    assert found.numbers["series 1 slice_step_mm"] == pytest.approx(2.5)
    assert "Doe" not in "".join(found.lines())
    assert assert_only(describe(tmp_path / "2.dcm")).kind == "DICOM file"
    (tmp_path / "3.dcm").unlink()
    assert_only(describe(tmp_path), "slices are 2.5 to 5 mm apart")


def test_meshes(tmp_path, rng):
    corners = rng.normal(scale=30, size=(7, 3, 3)).astype(np.float32)
    (tmp_path / "m.stl").write_bytes(stl(corners))
    found = assert_only(describe(tmp_path / "m.stl"))
    assert (found.numbers["cells"], found.numbers["points"]) == (7, 21)
    assert found.numbers["extent_y_mm"] == pytest.approx(np.ptp(corners.reshape(-1, 3)[:, 1]), rel=1e-6)
    (tmp_path / "metres.stl").write_bytes(stl(corners / 1000))
    assert_only(describe(tmp_path / "metres.stl"), "metres")
    (tmp_path / "cut.stl").write_bytes(stl(corners)[:-20])
    assert assert_only(describe(tmp_path / "cut.stl"), "cut off").kind == "damaged mesh"
    points = corners.reshape(-1, 3)
    head = "# vtk DataFile Version 3.0\nx\n{}\nDATASET POLYDATA\nPOINTS 21 float\n"
    text = head.format("ASCII") + " ".join(map(str, points.ravel())) + "\nVERTICES 3 6\n1 0\n1 1\n1 2\n"
    binary = head.format("BINARY").encode() + points.astype(">f4").tobytes() + b"\nVERTICES 3 6\n" + bytes(24)
    for name, data in (("a.vtk", text.encode()), ("b.vtk", binary)):
        (tmp_path / name).write_bytes(data)
        found = assert_only(describe(tmp_path / name))
        assert (found.numbers["points"], found.numbers["cells"]) == (21, 3)
        assert found.numbers["extent_x_mm"] == pytest.approx(np.ptp(points[:, 0]), rel=1e-5)
        (tmp_path / name).write_bytes(data[:180])
        assert assert_only(describe(tmp_path / name), "cut off").kind == "damaged mesh"
    voxels = (
        "# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 3 2 2\nORIGIN 0 0 0\n"
    )
    voxels += "SPACING 1 2 3\nPOINT_DATA 12\nSCALARS s float 1\nLOOKUP_TABLE default\n" + "1 2 3 " * 4 + "\n"
    (tmp_path / "voxels.vtk").write_text(voxels, encoding="utf-8")
    found = assert_only(describe(tmp_path / "voxels.vtk"))
    assert (found.kind, found.numbers["size_x"], found.numbers["spacing_z_mm"]) == ("volume", 3, 3)
    piece = '<VTKFile type="PolyData"><Piece NumberOfPoints="5" NumberOfPolys="2"/></VTKFile>'
    (tmp_path / "p.vtp").write_text(piece, encoding="utf-8")
    assert assert_only(describe(tmp_path / "p.vtp")).numbers["cells"] == 2


def test_points_of_slicer_and_plain_ones(tmp_path, rng):
    points = rng.normal(scale=60, size=(5, 3))
    for name in ("p.mrk.json", "p.fcsv"):
        files.write_points(files.NamedPoints(points, ("a", "b", "", "d", "e")), tmp_path / name)
        found = assert_only(describe(tmp_path / name))
        assert (found.numbers["points"], found.numbers["named"]) == (5, 4)
        assert found.numbers["extent_x_mm"] == pytest.approx(np.ptp(points[:, 0]))
    shutil.copy(tmp_path / "p.fcsv", tmp_path / "p.txt")
    assert (
        assert_only(describe(tmp_path / "p.txt"), "Rename it to end in .fcsv").kind == "Slicer points (FCSV)"
    )
    np.savetxt(tmp_path / "twice.txt", points[[0, 1, 2, 1]])
    assert_only(describe(tmp_path / "twice.txt"), "same coordinates")
    np.savetxt(tmp_path / "line.txt", np.outer([0, 1, 3, 7], [10, 20, 5]) + rng.normal(0, 0.1, (4, 3)))
    assert_only(describe(tmp_path / "line.txt"), "on one line")
    np.savetxt(tmp_path / "metres.txt", points / 1000)
    assert_only(describe(tmp_path / "metres.txt"), "metres")
    np.savetxt(tmp_path / "table.txt", rng.normal(size=(7, 5)))
    assert describe(tmp_path / "table.txt").kind == "table of numbers"


def test_matrices_and_transforms(tmp_path, rng):
    good = pose_from(Rotation.from_euler("xyz", [30, -80, 170], degrees=True), [110, 124, -35])
    mirror = good @ np.diag([1.0, 1, -1, 1])
    bent = good @ np.diag([1.0, 1.01, 1, 1])
    for m, phrases in ((good, ()), (np.eye(4), ("is the identity",)), (good.T, ("Transpose it",)),
                       (mirror, ("mirror",)), (bent, ("not rigid",))):  # fmt: skip
        np.savetxt(tmp_path / "m.txt", m)
        assert assert_only(describe(tmp_path / "m.txt"), *phrases).kind == "4 x 4 matrix"
    for name in ("t.tfm", "t.h5"):
        files.write_transform(good, tmp_path / name)
        found = assert_only(describe(tmp_path / name))
        assert found.kind == "ITK transform"
        assert found.numbers["translation_mm"] == pytest.approx(np.linalg.norm([110, 124, -35]))
    shutil.copy(tmp_path / "t.tfm", tmp_path / "t.txt")
    assert assert_only(describe(tmp_path / "t.txt"), "Rename it to end in .tfm").kind == "ITK transform"
    files.write_transform(bent, tmp_path / "t.tfm")
    assert_only(describe(tmp_path / "t.tfm"), "not rigid")
    cut(tmp_path / "t.h5")
    assert describe(tmp_path / "t.h5").kind == "damaged ITK transform"
    poses = pose_from(Rotation.random(9, rng=rng), rng.normal(scale=50, size=(9, 3)))
    (tmp_path / "many").mkdir()
    for k, m in enumerate(poses):
        np.savetxt(tmp_path / "many" / f"{k}.txt", m)
    found = assert_only(describe(tmp_path / "many"))
    assert (found.kind, found.numbers["poses"]) == ("folder of poses", 9)
    np.savetxt(tmp_path / "poses.txt", poses.reshape(9, 16))
    assert assert_only(describe(tmp_path / "poses.txt")).numbers["poses"] == 9


def test_a_position_log(tmp_path):
    record = struct.pack("<BBI3s", 2, 7, 3, b"pen") + b"".join(
        struct.pack("<BBQ6d", 3, 68, 1_600_000_000_000 + 50 * k, 0.1, 0.2, 0.3, 9.0 + k, 2.0, 3.0)
        for k in range(40)
    )
    (tmp_path / "toolpositions.snwpos").write_bytes(b"SNWPOS\x02" + record)
    found = assert_only(describe(tmp_path / "toolpositions.snwpos"))
    assert found.numbers["pen_samples"] == 40
    assert found.numbers["pen_rate_hz"] == pytest.approx(20)
    cut(tmp_path / "toolpositions.snwpos")
    assert assert_only(describe(tmp_path / "toolpositions.snwpos"), "cut by the end").kind.startswith(
        "damaged"
    )


def test_a_patient_folder(tmp_path, made):
    data = '<data type="{0}" uid="{0}1"><filePath>{1}</filePath></data>'
    registration = (
        "<registrationHistory><registrationTransform>{}</registrationTransform></registrationHistory>"
    )
    good = matrix_text(pose_from(Rotation.from_euler("z", 33, degrees=True), [1, 2, 3]))
    text = "<patient><managers><datamanager>{}</datamanager></managers></patient>"
    content = (
        registration.format(good) + data.format("image", "Images/a.mha") + data.format("pointMetric", "")
    )
    content += '<landmarks><landmark uid="1"><coord>1 2 3</coord></landmark></landmarks>'
    (tmp_path / "Images").mkdir()
    image(tmp_path / "Images", "a.mha")
    (tmp_path / "custusdoc.xml").write_text(text.format(content), encoding="utf-8")
    written(tmp_path / "US_Acq" / "one", *made)
    found = assert_only(describe(tmp_path))
    assert found.kind == "CustusX patient folder"
    want = {
        "data": 2,
        "images": 1,
        "metrics": 1,
        "landmarks": 1,
        "patient_registrations": 1,
        "acquisitions": 1,
    }
    assert {k: found.numbers[k] for k in want} == want
    (tmp_path / "Images" / "a.mha").unlink()
    assert_only(describe(tmp_path / "custusdoc.xml"), "1 of 1 data files are not there")
    bent = registration.format(matrix_text(np.diag([1.0, 1, 1.2, 1])))
    (tmp_path / "custusdoc.xml").write_text(text.format(bent), encoding="utf-8")
    assert assert_only(describe(tmp_path), "not rigid").kind == "damaged CustusX patient folder"
    (tmp_path / "custusdoc.xml").write_text(text.format(registration.format("1 2 3")), encoding="utf-8")
    assert_only(describe(tmp_path), "expected 16 numbers")


def test_sets_of_arrays(tmp_path, rng):
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((4, 5, 6), np.uint8), tip_s=np.ones(3))
    found = assert_only(describe(tmp_path / "a.npz"))
    assert ("frames", "4 x 5 x 6 uint8") in found.facts
    assert found.numbers["tip_s_size"] == 3
    np.savez(tmp_path / "b.npz", tool=np.array([{"a": 1}], dtype=object))
    assert_only(describe(tmp_path / "b.npz"), "Python objects")
    cut(tmp_path / "a.npz")
    assert describe(tmp_path / "a.npz").kind == "damaged set of arrays"


def test_what_is_unknown_is_said_to_be(tmp_path, rng):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    found = assert_only(describe(tmp_path / "a.bin"))
    assert found.kind == "unknown binary file"
    assert ("first bytes", "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f") in found.facts
    (tmp_path / "a.md").write_text("# words\nand more\n", encoding="utf-8")
    assert assert_only(describe(tmp_path / "a.md")).kind == "text file"
    (tmp_path / "a.xml").write_text("<shelf><book/></shelf>", encoding="utf-8")
    assert assert_only(describe(tmp_path / "a.xml")).kind == "XML of <shelf>"
    (tmp_path / "a.xml").write_text("<root><book/></root>", encoding="utf-8")
    assert assert_only(describe(tmp_path / "a.xml")).kind == "XML of <root>"
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    assert assert_only(describe(tmp_path / "a.h5")).kind == "HDF5 file, no ITK transform"
    (tmp_path / "none.mha").write_bytes(b"")
    assert_only(describe(tmp_path / "none.mha"), "the file is empty")
    (tmp_path / "orphan.raw").write_bytes(bytes(500))
    assert assert_only(describe(tmp_path / "orphan.raw")).kind == "unknown binary file"
    with pytest.raises(files.FileError, match="does not exist"):
        describe(tmp_path / "nothing")


def test_damaged_files_of_every_kind_are_described_and_never_stop_it(tmp_path, made, rng):
    """400 variants: cut, bytes changed, pieces doubled; any kind may come out, none may raise."""
    small, n = tmp_path / "good", 12
    sweep, stream = made
    part = Sweep(sweep.frames[:n], sweep.time_s[:n], sweep.pr_M_p[:n], SECTOR, sweep.valid[:n], BASE)
    written(small, part, kept(stream, np.arange(40)))
    short = sequence((part, stream))
    files.write_sequence(short, small / "s.mha", compressed=True)
    files.write_sequence(short, small / "s.nrrd")
    files.write_points(files.NamedPoints(rng.normal(size=(4, 3)), ("a", "b", "c", "d")), small / "p.mrk.json")
    files.write_transform(np.eye(4), small / "t.tfm")
    (small / "p.cal").write_text(matrix_text(np.eye(4)), encoding="utf-8")
    (small / "p.xml").write_text(tool_text(), encoding="utf-8")
    (small / "m.stl").write_bytes(stl(rng.normal(size=(3, 3, 3))))
    np.savez(small / "a.npz", x=np.ones(3))
    for name in ("v.mhd", "v.nrrd", "v.nii.gz"):
        image(small, name)
    kinds = set()
    names = [p.name for p in sorted(small.iterdir())]
    for k in range(400):
        name = names[k % len(names)]
        data = bytearray((small / name).read_bytes())
        for _ in range(rng.integers(1, 4)):
            at, length = rng.integers(0, max(len(data), 1)), int(rng.integers(1, 20))
            way = rng.integers(0, 4)
            if way == 0:
                del data[at:]
            elif way == 1:
                data[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            elif way == 2:
                data[at:at] = data[at : at + length]
            else:
                data[at : at + 1] = rng.choice(list(b"0123456789.-e\n <>=")).tobytes()[:1]
        path = small / name
        whole = path.read_bytes()
        path.write_bytes(bytes(data))
        found = describe(path)
        path.write_bytes(whole)
        kinds.add(found.kind)
        json.dumps(found.as_dict(), allow_nan=False)
        assert all(len(w) < 1200 for w in found.warnings)
    assert sum(kind.startswith("damaged") for kind in kinds) >= 10
