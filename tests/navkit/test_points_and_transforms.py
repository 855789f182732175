"""Named points (Slicer markups, FCSV, MNI tags) and linear transforms (ITK)."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from navkit.files import FileError, NamedPoints, read_points, read_transform, write_points, write_transform
from navkit.geometry import pose_from, transform_points

RAS = np.array([-1.0, -1.0, 1.0])
POINTS = np.array([[12.5, -33.25, 7.125], [-1e-9, 104.0625, -0.5], [3.0, -4.75, 88.0]])
LABELS = ("Nase, links", 'kno"ll\\', "søm 鼻")
HEAD = "# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n# columns = id,x,y,z,label,desc\n"
coordinates = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([1e-9, -1e-9, 1e300, 5e-324, -0.1]))
labels = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
named = st.lists(st.tuples(coordinates, coordinates, coordinates, labels), min_size=1, max_size=5)


def markups(system="LPS", points=None, **more):
    points = POINTS * (RAS if system == "RAS" else 1) if points is None else points
    control = [{"label": n, "position": list(p)} for n, p in zip(LABELS, points, strict=True)]
    return {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": control} | more]}


def read(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return read_points(folder / name)


@pytest.mark.parametrize("ending", [".mrk.json", ".fcsv", ".TAG"])
@given(rows=named)
@settings(deadline=None, max_examples=40)
def test_points_come_back_exactly(ending, rows):
    points = NamedPoints(np.array([r[:3] for r in rows]), tuple(r[3] for r in rows))
    with tempfile.TemporaryDirectory() as folder:
        write_points(points, Path(folder) / f"p{ending}")
        back = read_points(Path(folder) / f"p{ending}")
    assert np.array_equal(back.points_r, points.points_r)
    assert back.labels == points.labels
    assert back.notes == ()
    assert back.second_r is None


@given(rows=named, text=st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
@settings(deadline=None, max_examples=40)
def test_tags_keep_two_volumes_and_any_label(rows, text):
    first = np.array([r[:3] for r in rows])
    points = NamedPoints(first, (text, *(r[3] for r in rows[1:])), (), first[::-1, [2, 0, 1]])
    with tempfile.TemporaryDirectory() as folder:
        write_points(points, Path(folder) / "two.tag")
        back = read_points(Path(folder) / "two.tag")
    assert np.array_equal(back.points_r, first)
    assert np.array_equal(back.second_r, points.second_r)
    assert back.labels == points.labels


def test_what_is_written_says_what_it_is(tmp_path):
    points = NamedPoints(POINTS[:1], ("a,b",))
    write_points(points, tmp_path / "p.fcsv")
    lines = (tmp_path / "p.fcsv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "# CoordinateSystem = 1"
    assert lines[3] == '1,12.5,-33.25,7.125,0,0,0,1,1,1,0,"a,b",,'
    assert len(lines[2].split(",")) == 14
    write_points(points, tmp_path / "p.tag")
    assert (tmp_path / "p.tag").read_text(encoding="utf-8").splitlines()[5] == ' -12.5 33.25 7.125 "a,b";'
    write_points(points, tmp_path / "p.mrk.json")
    (markup,) = json.loads((tmp_path / "p.mrk.json").read_text(encoding="utf-8"))["markups"]
    assert markup["coordinateSystem"] == "LPS"
    assert markup["controlPoints"][0]["position"] == [12.5, -33.25, 7.125]
    assert [f.name for f in sorted(tmp_path.iterdir())] == ["p.fcsv", "p.mrk.json", "p.tag"]


def test_lps_and_ras_of_the_same_points_are_the_same(tmp_path):
    def fcsv(system, sign):
        rows = "".join(f"{k},{x},{y},{z},n{k},\n" for k, (x, y, z) in enumerate(POINTS * sign))
        return HEAD.replace("= RAS", f"= {system}") + rows

    def tag(comment, sign):
        rows = "\n".join(f'{x} {y} {z} "n"' for x, y, z in POINTS * sign)
        return f"MNI Tag Point File\nVolumes = 1;\n%{comment}\nPoints =\n{rows};\n"

    for system, sign in (("LPS", 1), ("RAS", RAS)):
        number = {"LPS": "1", "RAS": "0"}[system]
        for name, text in (
            ("p.json", json.dumps(markups(system))),
            ("p.fcsv", fcsv(system, sign)),
            ("p.fcsv", fcsv(number, sign)),
            ("p.tag", tag(f"in {system}", sign)),
        ):
            assert np.array_equal(read(tmp_path, name, text).points_r, POINTS)


def test_what_is_not_stated_is_the_formats_default_and_noted(tmp_path):
    document = markups()
    del document["markups"][0]["coordinateSystem"]
    got = read(tmp_path, "p.json", json.dumps(document))
    assert np.array_equal(got.points_r, POINTS)
    assert "states no coordinateSystem: LPS" in got.notes[0]
    got = read(tmp_path, "p.fcsv", HEAD.replace("# CoordinateSystem = RAS\n", "") + "1,5,6,7,a,\n")
    assert got.points_r.tolist() == [[-5, -6, 7]]
    assert "states no CoordinateSystem: RAS" in got.notes[0]
    got = read(
        tmp_path, "p.tag", 'MNI Tag Point File\nVolumes = 1;\nPoints =\n5 6 7 1 -1 -1 "a\\"b\\n\\101";\n'
    )
    assert got.points_r.tolist() == [[-5, -6, 7]]
    assert got.labels == ('a"b\nA',)
    assert "states neither LPS nor RAS: RAS" in got.notes[0]
    assert "weights" in got.notes[1]


def test_points_that_are_not_placed_are_left_out_and_counted(tmp_path):
    document = markups()
    points = document["markups"][0]["controlPoints"]
    points[0]["positionStatus"] = "undefined"
    points[2]["orientation"] = [0, -1, 0, 1, 0, 0, 0, 0, 1]
    points[1]["orientation"] = [-1, 0, 0, 0, -1, 0, 0, 0, 1]
    got = read(tmp_path, "p.mrk.json", json.dumps(document))
    assert np.array_equal(got.points_r, POINTS[1:])
    assert got.labels == LABELS[1:]
    assert "1 of 3 points are not placed" in got.notes[0]
    assert "orientation of 1 points" in got.notes[1]
    text = HEAD + "1,1,2,3,a,,2,0\n2,4,5,6,b,,0,0\n"
    got = read(tmp_path, "p.fcsv", text)
    assert got.labels == ("a",)
    assert "1 points are not placed" in got.notes[0]


def test_lists_are_joined_units_and_kinds_kept_in_mind(tmp_path):
    small = markups("RAS", POINTS * RAS * 1000, coordinateUnits=["um", "UCUM", "micrometer"], type="Curve")
    document = {"markups": markups()["markups"] + small["markups"]}
    got = read(tmp_path, "p.json", json.dumps(document))
    assert np.allclose(got.points_r, np.vstack([POINTS, POINTS]), rtol=1e-15)
    assert "2 markups lists are joined" in got.notes[0]
    assert "Curve" in got.notes[1]


def test_columns_are_found_by_their_names(tmp_path):
    text = HEAD.replace("id,x,y,z,label,desc", "label,z,x,y") + '"a ""1"", b",3,-1,-2\n'
    got = read(tmp_path, "p.fcsv", text.replace("\n", "\r\n"))
    assert got.points_r.tolist() == [[1, 2, 3]]
    assert got.labels == ('a "1", b',)
    got = read(tmp_path, "p.fcsv", HEAD.replace("label", "name") + "1,2,3,4,a,\n")
    assert got.labels == ("",)
    assert got.notes == ("p.fcsv has no column 'label': the points have no names",)


def test_the_real_tag_files(navkit_data):
    with_labels = read_points(navkit_data / "custusx/patient/metric_tags_with_labels.tag")
    without = read_points(navkit_data / "custusx/patient/metric_tags_without_labels.tag")
    assert with_labels.labels == tuple("ABCDEF")
    assert without.labels == ("",) * 6
    assert np.array_equal(with_labels.points_r, without.points_r)
    assert with_labels.points_r[[0, 5]].tolist() == [[25.78, 25.0818, 13.7766], [21.7821, 7.55754, 80.7703]]
    assert "LPS by its comment" in with_labels.notes[0]
    assert "no ;" in with_labels.notes[1]


TAG = "MNI Tag Point File\nVolumes = 1;\nPoints =\n"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.csv", "1,2,3", "p.csv ends in '.csv'; expected one of .mrk.json"),
        ("p.fcsv", " \n", "p.fcsv is empty"),
        ("p.fcsv", HEAD, "holds no point"),
        ("p.fcsv", "a,1,2,3,1,1\n", "Is it a file of Slicer 3"),
        ("p.fcsv", HEAD.replace("label", "x") + "1,2,3,4,5,6\n", "x twice; expected each name once"),
        ("p.fcsv", HEAD.replace("z,", "") + "1,2,3,4,5\n", "not x, y and z"),
        ("p.fcsv", HEAD.replace("= RAS", "= 2") + "1,2,3,4,5,6\n", "CoordinateSystem is '2'"),
        ("p.fcsv", HEAD + "# CoordinateSystem = LPS\n", "line 4: a second 'CoordinateSystem'"),
        ("p.fcsv", HEAD + "1,2,3,4,left, upper,\n", "line 4: 7 fields; expected 6. A label's comma"),
        ("p.fcsv", HEAD + "1,2,3,4\n", "4 fields; expected 6. Was the file cut short"),
        ("p.fcsv", HEAD + "1,2,3,4,nose", "Was the file cut short"),
        ("p.fcsv", HEAD + '1,2,3,4,"nose,\n', "expected comma-separated"),
        ("p.fcsv", HEAD + "1,2,nan,4,a,\n", "line 4: '2 nan 4'; expected finite numbers"),
        ("p.fcsv", HEAD + "1,2,1_0,4,a,\n", "expected finite numbers"),
        ("p.json", "{", "p.json line 1: "),
        ("p.json", "[" * 100_000, "nested too deeply"),
        ("p.json", '{"a": 1}', "has no list 'markups'"),
        ("p.json", '{"markups": [{"type": "Line", "type": "Line"}]}', "'type' stands twice"),
        ("p.json", json.dumps(markups("LAS", POINTS)), "coordinateSystem is 'LAS'"),
        ("p.json", json.dumps(markups(coordinateUnits="m")), "coordinateUnits is 'm'"),
        (
            "p.json",
            json.dumps(markups(points=[[1, 2]] * 3)),
            "controlPoints[0]: position is [1, 2]; expected 3",
        ),
        ("p.json", json.dumps(markups(points=[[1, 2, True]] * 3)), "expected 3 finite numbers"),
        ("p.json", json.dumps(markups(points=[[1, 2, 10**400]] * 3)), "expected 3 finite numbers"),
        ("p.json", json.dumps(markups(points=[[1, 2, float("nan")]] * 3)), "expected 3 finite numbers"),
        ("p.json", json.dumps(markups()).replace('"Nase, links"', "3"), "label is 3; expected a text"),
        ("p.json", json.dumps(markups(controlPoints=3)), "controlPoints is not a list"),
        ("p.tag", "Points =\n", "line 1: 'Points ='; expected 'MNI Tag Point File'"),
        ("p.tag", TAG.replace("1;", "3;"), "line 2: 'Volumes = 3;'; expected 'Volumes = 1;'"),
        ("p.tag", TAG.replace("Volumes = 1;\n", ""), "line 2: 'Points ='; expected 'Volumes"),
        ("p.tag", TAG + '1 2 "a";\n', "line 4: '1 2 \"a\";'; expected 3 coordinates"),
        ("p.tag", TAG + "1 2 3.", "Was the file cut short"),
        ("p.tag", TAG + '1 2 3 "a";\n4 5 6;\n', "line 5"),
        ("p.tag", TAG + '1 2 3 "a\n', "expected 3 coordinates"),
        ("p.tag", TAG + "%RAS or LPS\n1 2 3;\n", "name LPS (DICOM) and RAS"),
    ],
)
def test_bad_points_give_one_sentence(tmp_path, name, text, sentence):
    with pytest.raises(FileError) as error:
        read(tmp_path, name, text)
    assert sentence in str(error.value)


def test_what_a_format_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(FileError, match="line break"):
        write_points(NamedPoints(POINTS[:1], ("a\nb",)), tmp_path / "p.fcsv")
    with pytest.raises(FileError, match="got two"):
        write_points(NamedPoints(POINTS, LABELS, (), POINTS), tmp_path / "p.json")
    with pytest.raises(FileError, match=r"ends in '\.txt'"):
        write_points(NamedPoints(POINTS, LABELS), tmp_path / "p.txt")
    with pytest.raises(ValueError, match="2 labels for"):
        write_points(NamedPoints(POINTS, LABELS[:2]), tmp_path / "p.json")
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        write_points(NamedPoints(POINTS[0], LABELS), tmp_path / "p.json")
    with pytest.raises(FileError, match="not a file"):
        read_points(tmp_path / "none.tag")
    (tmp_path / "p.fcsv").write_bytes(HEAD.encode() + b"1,2,3,4,n\xff,\n")
    with pytest.raises(FileError, match="not UTF-8"):
        read_points(tmp_path / "p.fcsv")
    assert [f.name for f in tmp_path.iterdir()] == ["p.fcsv"]


@pytest.mark.parametrize("name", ["p.mrk.json", "p.fcsv", "p.tag"])
def test_cut_and_damaged_points_are_refused_or_right(tmp_path, rng, name):
    """A cut file gives the first points or an error; one changed byte touches one point, or all by a flip."""
    write_points(NamedPoints(POINTS, LABELS), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    refused, ends = 0, range(0, len(whole), 1 + len(whole) // 400)
    for end in ends:
        (tmp_path / name).write_bytes(whole[:end])
        try:
            got = read_points(tmp_path / name)
        except FileError:
            refused += 1
            continue
        n = len(got.labels)
        assert np.array_equal(got.points_r, POINTS[:n])
        assert got.labels == LABELS[:n]
        assert n == 3 or name == "p.fcsv" or got.notes
    assert refused > 0.4 * len(ends)
    refused = 0
    for at in rng.integers(0, len(whole), 300):
        bad = bytearray(whole)
        bad[at] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(bad)
        try:
            got = read_points(tmp_path / name)
        except FileError:
            refused += 1
            continue
        assert got.points_r.shape == (len(got.labels), 3)
        assert np.isfinite(got.points_r).all()
        same = max(
            sum((p.tolist(), n) in [(q.tolist(), m) for q, m in zip(POINTS * sign, LABELS, strict=True)]
                for p, n in zip(got.points_r, got.labels, strict=True))
            for sign in (1, RAS)
        )  # fmt: skip
        assert same >= 2 or "no column 'label'" in str(got.notes)
    assert refused > 60


def a_matrix(rng, *, rigid=False):
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation = q * np.sign(np.linalg.det(q))
    m = pose_from(rotation, rng.uniform(-200, 200, 3))
    if not rigid:
        m[:3, :3] = rotation @ np.diag([0.8, 1.3, -1.1]) + 0.05
    return m


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@given(seed=st.integers(0, 2**32 - 1), rigid=st.booleans())
@settings(deadline=None, max_examples=25)
def test_transforms_come_back_and_undo_itks(ending, seed, rigid):
    rng = np.random.default_rng(seed)
    to_M_from = a_matrix(rng, rigid=rigid)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ending}"
        write_transform(to_M_from, path)
        back, notes = read_transform(path)
        itk = sitk.ReadTransform(str(path))
    assert np.abs(back - to_M_from).max() < 1e-9
    assert len(notes) == (0 if rigid else 2)
    p_from = rng.uniform(-300, 300, (5, 3))
    p_to = transform_points(back, p_from)
    assert np.allclose([itk.TransformPoint(p) for p in p_to.tolist()], p_from, atol=1e-9)
    assert not np.allclose([itk.TransformPoint(p) for p in p_from.tolist()], p_to, atol=1)


def kinds():
    centre, shift = (11.0, -7.0, 30.0), (5.0, 60.0, -3.5)
    euler = sitk.Euler3DTransform(centre, 0.3, -0.2, 1.1, shift)
    versor = sitk.VersorRigid3DTransform((0.1, -0.3, 0.2, 0.92736), shift, centre)
    affine = sitk.AffineTransform((1.1, 0.2, 0, -0.1, 0.9, 0.3, 0, 0.05, 1.2), shift, centre)
    move = sitk.TranslationTransform(3, shift)
    similar = sitk.Similarity3DTransform(1.2, (0, 0, 1), 0.4, shift, centre)
    both = sitk.CompositeTransform([euler, affine])
    return {
        "euler": euler,
        "versor": versor,
        "affine": affine,
        "move": move,
        "similar": similar,
        "both": both,
    }


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@pytest.mark.parametrize("kind", ["euler", "versor", "affine", "move", "similar", "both"])
def test_every_linear_kind_is_the_inverse_of_itks_point_transform(tmp_path, rng, kind, ending):
    itk = kinds()[kind]
    sitk.WriteTransform(itk, str(tmp_path / f"t{ending}"))
    to_M_from, notes = read_transform(tmp_path / f"t{ending}")
    p = rng.uniform(-200, 200, (4, 3))
    assert np.allclose([itk.TransformPoint(q) for q in transform_points(to_M_from, p).tolist()], p, atol=1e-9)
    assert len(notes) == (kind in ("affine", "similar", "both"))


def test_resampling_by_the_file_moves_the_image_where_the_points_go(tmp_path):
    image = sitk.Image([24, 22, 20], sitk.sitkFloat32)
    image.SetOrigin((-4.0, 3.0, 6.0))
    image[5, 6, 7] = 1.0
    write_transform(pose_from(np.eye(3), [3, 4, 2]), tmp_path / "t.tfm")
    moved = sitk.Resample(image, image, sitk.ReadTransform(str(tmp_path / "t.tfm")))
    k, j, i = np.unravel_index(sitk.GetArrayFromImage(moved).argmax(), (20, 22, 24))
    assert (i, j, k) == (8, 10, 9)


AFFINE = (
    "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
    "Parameters: 0.9 0.1 0 -0.2 1.1 0.3 0.05 0 1.25 12.5 -7.25 30.5\nFixedParameters: 4.5 -6.25 8.75\n"
)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (AFFINE, "", "t.tfm line 1: []"),
        ("#Insight", "Insight", "expected '#Insight Transform File V1.0'"),
        (" 30.5\n", "\n", "line 4: 11 numbers; expected 12"),
        (" 30.5\n", " 30.5 1\n", "line 4: 13 numbers; expected 12"),
        (" 30.5\n", " nan\n", "line 4: 'nan'; expected a finite number"),
        ("FixedParameters: 4.5 -6.25 8.75\n", "", "'FixedParameters:' line"),
        ("8.75\n", "8.", "Was the file cut short"),
        (" 8.75\n", "\n", "cannot be read as an ITK transform"),
        ("0.05 0 1.25", "-0.2 1.1 0.3", "cannot be inverted"),
        ("AffineTransform_double_3_3", "NoTransform_double_3_3", "cannot be read as an ITK transform"),
        ("12.5", "1e999", "'1e999'; expected a finite number"),
        (AFFINE, AFFINE + AFFINE.split("\n", 1)[1], "holds 2 transforms; expected one"),
        (
            AFFINE.split("\n", 2)[2],
            "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 1 2 3\nFixedParameters: 0 0\n",
            "expected",
        ),
    ],
)
def test_bad_transforms_give_one_sentence(tmp_path, old, new, sentence):
    assert AFFINE.count(old) == 1
    (tmp_path / "t.tfm").write_text(AFFINE.replace(old, new), encoding="utf-8")
    with pytest.raises(FileError) as error:
        read_transform(tmp_path / "t.tfm")
    assert sentence in str(error.value)


def test_what_is_no_linear_transform_is_refused(tmp_path):
    field = sitk.DisplacementFieldTransform(sitk.Image([2, 2, 2], sitk.sitkVectorFloat64))
    sitk.WriteTransform(field, str(tmp_path / "field.h5"))
    with pytest.raises(FileError, match="expected linear"):
        read_transform(tmp_path / "field.h5")
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "flat.h5"))
    with pytest.raises(FileError, match="2-D"):
        read_transform(tmp_path / "flat.h5")
    sitk.WriteTransform(kinds()["both"], str(tmp_path / "both.h5"))
    data = (tmp_path / "both.h5").read_bytes()
    (tmp_path / "both.h5").write_bytes(data.replace(b"CompositeTransform_", b"NompositeTransform_"))
    with pytest.raises(FileError, match="holds 3 transforms; expected one"):
        read_transform(tmp_path / "both.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(FileError, match="does not begin as an HDF5 file"):
        read_transform(tmp_path / "empty.h5")
    for wrong, sentence in (
        (np.eye(3), "expected \\(4, 4\\)"),
        (np.eye(4) + [[0], [0], [0], [1]], "expected 0 0 0 1"),
        (np.diag([1.0, 0, 1, 1]), "cannot be inverted"),
        (np.full((4, 4), np.nan), "expected 0 0 0 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            write_transform(wrong, tmp_path / "t.tfm")
    with pytest.raises(FileError, match=r"expected \.tfm or \.h5"):
        write_transform(np.eye(4), tmp_path / "t.txt")
    with pytest.raises(FileError, match="not a file"):
        read_transform(tmp_path / "none.tfm")
    assert not (tmp_path / "t.tfm").exists()


def test_cut_and_damaged_transforms_are_refused_or_right(tmp_path, rng):
    path = tmp_path / "t.tfm"
    path.write_text(AFFINE, encoding="utf-8")
    right, _ = read_transform(path)
    whole = path.read_bytes()
    for end in range(1, len(whole), 2):
        path.write_bytes(whole[:end])
        with pytest.raises(FileError):
            read_transform(path)
    refused = 0
    for at in rng.integers(0, len(whole), 300):
        bad = bytearray(whole)
        bad[at] = rng.integers(32, 127)
        path.write_bytes(bad)
        try:
            got, _ = read_transform(path)
        except FileError:
            refused += 1
            continue
        itk = sitk.ReadTransform(str(path))
        points = transform_points(got, np.diag([9.0, -8, 7])).tolist()
        assert np.allclose([itk.TransformPoint(p) for p in points], np.diag([9.0, -8, 7]), atol=1e-6)
        assert np.count_nonzero(np.abs(np.linalg.inv(got) - np.linalg.inv(right)) > 1e-9) <= 4
    assert refused > 100


def test_cut_hdf5_transforms_are_refused_or_right(tmp_path):
    path = tmp_path / "t.h5"
    right = pose_from(np.eye(3), [4, -5, 6])
    write_transform(right, path)
    whole, refused = path.read_bytes(), 0
    for end in np.linspace(0, len(whole) - 1, 15).astype(int):  # a process each
        path.write_bytes(whole[:end])
        try:
            got, _ = read_transform(path)
        except FileError:
            refused += 1
            continue
        assert np.allclose(got, right, atol=1e-9)
    assert refused > 10
