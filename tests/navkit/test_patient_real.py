"""CustusX's own documents, documents that chance makes, and documents that are damaged."""

import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from cx3_rules import problems
from hypothesis import given, settings
from hypothesis import strategies as st
from patients import R_M_CT, RICH, made
from scipy.spatial.transform import Rotation
from test_patient_mesh import binary

from navkit.files import (
    FileError,
    History,
    Landmark,
    LandmarkName,
    Parent,
    Patient,
    PatientData,
    Registered,
    Session,
    patient_mesh,
    patient_volume,
    read_patient,
    with_registrations,
    write_mesh,
    write_patient,
)
from navkit.files._patient import document, same
from navkit.files._patient_document import patient_of
from navkit.geometry import pose_from
from navkit.registration import register_to_patient

REAL = ("ResampleTest.custusdoc.xml", "baseline_patient_file_with_metrics.xml")


def test_a_document_of_version_3_says_this(navkit_data):
    p = read_patient(navkit_data / "custusx/patient/ResampleTest.custusdoc.xml")
    assert (p.version, p.active_patient, p.name) == (
        "3.2.1 alpha", "/patients/ResampleTest.cx3", "ResampleTest",
    )  # fmt: skip
    assert p.folder is None
    assert p.notes == ("the document stands alone: there are no images, meshes and acquisitions",)
    us, mra = p.data["US_01_20110222T110117_1_20111109T105728"], p.data["mra_20111109T105710"]
    assert len(p.data) == 2
    assert (us.type, us.name, us.modality, us.acquired) == (
        "image", "US_01_20110222T110117_1", "US", "20111109T105728963",
    )  # fmt: skip
    assert (mra.file, mra.modality, mra.acquired) == ("Images/mra.mhd", "MR", "20111109T105710308")
    assert mra.history.parents == (Parent("frame_1"),)
    now = p.registrations
    np.testing.assert_array_equal(now.r_M_pr, np.eye(4))
    np.testing.assert_array_equal(now.data["mra_20111109T105710"].r_M_d[:3, 3], [-92.278, -140.609, -88.713])
    assert [one.parent for one in now.data.values()] == [None, None]
    assert now.history() == []
    np.testing.assert_array_equal(p.center_r, [-0.605502, -25.9285, -4.213])
    np.testing.assert_array_equal(p.manual_tool[:3, 3], p.center_r)
    assert p.r_M_ot is None
    assert p.tool_offset_mm is None


def test_a_document_of_2017_says_this(navkit_data):
    p = read_patient(navkit_data / "custusx/patient/baseline_patient_file_with_metrics.xml")
    assert p.version.startswith("2017.03.21")
    types = [one.type for one in p.data.values()]
    assert types == [
        "pointMetric", "pointMetric", "ToolMetric", "frameMetric", "distanceMetric", "planeMetric",
    ]  # fmt: skip
    metrics = {uid: one.attributes for uid, one in p.data.items()}
    assert metrics["testMetric1"] == {"space": "patient reference", "coord": "0 0 0"}
    assert metrics["testMetric2"] == {"space": "reference", "coord": "1 0 0"}
    assert (metrics["testMetric3"]["toolname"], metrics["testMetric3"]["tooloffset"]) == ("TestTool", "5")
    frame = np.array(metrics["testMetric4"]["frame"].split(), dtype=float).reshape(4, 4)
    np.testing.assert_array_equal(frame[:3, 3], [-2, 1, 3])
    assert metrics["testMetric5"] == metrics["testMetric6"] == {"p0": "testMetric1", "p1": "testMetric2"}
    assert p.data["testMetric6"].acquired == "20170321T154546548"
    np.testing.assert_array_equal(p.center_r, [1, 2, 3])
    np.testing.assert_array_equal(p.r_M_ot, np.eye(4))
    np.testing.assert_array_equal(p.manual_tool[:3, 3], [1, 2, 3])
    assert p.tool_offset_mm == 0
    assert p.tools == ({},)
    assert p.registrations.data == {}


@pytest.mark.parametrize("name", REAL)
def test_a_real_document_comes_back_but_for_what_is_changed(navkit_data, tmp_path, name):
    path = navkit_data / "custusx/patient" / name
    p = read_patient(path)
    assert document(p) == path.read_bytes()
    write_patient(p, tmp_path / "a.cx3")
    assert (tmp_path / "a.cx3/custusdoc.xml").read_bytes() == path.read_bytes()
    missing = {"US_01_20110222T110117_1_20111109T105728", "mra_20111109T105710"} & p.data.keys()
    told = problems(tmp_path / "a.cx3")
    assert len(told) == len(missing), told  # the two images, which are not published with their document
    assert all("is not in the folder" in one for one in told)
    moved = with_registrations(p, register_to_patient(p.registrations, R_M_CT, time_s=1.6e9, method="Fast"))
    moved = replace(moved, center_r=np.array([4.0, 5.0, 6.5]))
    text = document(moved)
    assert same(patient_of("custusdoc.xml", text), moved)
    was, now = ET.parse(path).getroot(), ET.fromstring(text)
    for root in (was, now):
        root.find("managers/datamanager/center").text = ""
        for history in root.findall("managers/*/registrationHistory"):
            history.clear()
    assert ET.canonicalize(ET.tostring(now), strip_text=True) == ET.canonicalize(
        ET.tostring(was), strip_text=True
    )


# ---- documents that chance makes ----

text = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)
uid = text.filter(bool)
number = st.floats(-1e6, 1e6).map(lambda v: v + 0.0)
point = st.lists(number, min_size=3, max_size=3).map(np.array)
pose = st.tuples(point, st.lists(st.floats(-3, 3), min_size=3, max_size=3)).map(
    lambda both: pose_from(Rotation.from_rotvec(both[1]), both[0])
)
stamp = st.one_of(st.just(""), st.datetimes().map(lambda t: f"{t.year:04d}{t:%m%dT%H%M%S}"))
landmarks = st.dictionaries(uid, st.builds(Landmark, point, stamp), max_size=3)
registered = st.builds(Registered, pose, stamp, text, text, text)
history = st.builds(
    History,
    st.lists(registered, max_size=3).map(tuple),
    st.lists(st.builds(Parent, st.just("frame_1"), stamp, text), max_size=2).map(tuple),
    stamp,
)
data = st.builds(
    PatientData, st.sampled_from(["image", "mesh", "fromTheFuture"]), text, text, st.none() | history, text,
    text, text, landmarks, st.dictionaries(st.sampled_from(["space", "p0", "later"]), text),
)  # fmt: skip
session = st.builds(Session, text, st.lists(st.tuples(number, number), max_size=2).map(tuple))
some_patients = st.builds(
    Patient, text, text, history, st.dictionaries(uid, st.builds(LandmarkName, text, st.booleans())),
    landmarks, st.dictionaries(uid, data, max_size=3), point, st.none() | pose, st.none() | pose,
    st.none() | number, st.lists(st.dictionaries(st.sampled_from(["uid", "x"]), text)).map(tuple),
    st.dictionaries(uid, session, max_size=2),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(some_patients, st.booleans())
def test_whatever_a_patient_holds_comes_back(patient, over):
    """Written new, and over a document that says something else."""
    if over:
        patient = replace(patient, document=RICH.encode())
    again = patient_of("custusdoc.xml", document(patient))
    assert same(again, patient)
    np.testing.assert_array_equal(again.registrations.r_M_pr, patient.registrations.r_M_pr)
    np.testing.assert_array_equal(patient.registrations.r_M_pr, patient.r_M_pr.pose())
    for key, placed in again.registrations.data.items():
        if again.data[key].history is not None:
            np.testing.assert_array_equal(placed.r_M_d, again.data[key].history.pose())


# ---- damage ----


def damaged(rng: np.random.Generator, whole: bytes) -> bytes:
    """Cut, with bytes changed, or with a piece doubled, moved or lost."""
    kind = rng.integers(5)
    a, b = sorted(rng.integers(len(whole), size=2))
    if kind == 0:
        return whole[:a]
    if kind == 1:
        out = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, 4)):
            out[at] = rng.integers(256)
        return bytes(out)
    if kind == 2:
        return whole[:b] + whole[a:]
    if kind == 3:
        return whole[:a] + whole[b:]
    tokens = whole.split(b" ")  # a number, a name or a tag in another's place
    i, j = rng.integers(len(tokens), size=2)
    tokens[i] = [tokens[j], b"1e999", b"-0", b"nan", b"99999999999999999999", b'"', b"&lt;"][rng.integers(7)]
    return b" ".join(tokens)


def test_a_damaged_document_is_refused_or_says_something_that_comes_back(rng, navkit_data):
    wholes = [RICH.encode(), *((navkit_data / "custusx/patient" / name).read_bytes() for name in REAL)]
    refused = 0
    for k in range(600):
        variant = damaged(rng, wholes[k % 3])
        try:
            p = patient_of("custusdoc.xml", variant)
        except FileError:
            refused += 1
            continue
        assert document(p) == variant
        moved = replace(p, version="moved")
        assert same(patient_of("custusdoc.xml", document(moved)), moved)
    assert 300 < refused < 600


def test_a_damaged_file_is_refused_by_every_reader(rng, tmp_path):
    path = tmp_path / "custusdoc.xml"
    refused = 0
    for _ in range(100):
        path.write_bytes(damaged(rng, RICH.encode()))
        try:
            read_patient(path)
        except FileError:
            refused += 1
    assert 30 < refused < 100


def test_a_damaged_mesh_or_image_is_refused_or_is_read(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes, meshes=meshes)
    again = read_patient(tmp_path / "a.cx3")
    write_mesh(meshes["line"], tmp_path / "ascii.vtk")
    sources = [binary(), binary(version=b"5.1"), (tmp_path / "ascii.vtk").read_bytes()]
    header = tmp_path / "a.cx3/Images/ct.mhd"
    whole, refused = header.read_bytes(), 0
    mesh = tmp_path / "a.cx3/Images/line.vtk"
    for k in range(300):
        mesh.write_bytes(damaged(rng, sources[k % 3]))
        header.write_bytes(damaged(rng, whole))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for read in (lambda: patient_mesh(again, "line"), lambda: patient_volume(again, "ct")):
                try:
                    got = read()
                except FileError:
                    refused += 1
                    continue
                assert np.isfinite(got.points_d if hasattr(got, "points_d") else got.values).all()
    assert 150 < refused < 600


def test_a_header_that_claims_more_than_there_is_takes_no_memory(rng, tmp_path):
    patient, volumes, _ = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes)
    again = read_patient(tmp_path / "a.cx3")
    header = tmp_path / "a.cx3/Images/ct.mhd"
    whole = header.read_text(encoding="utf-8")
    for claim in ("DimSize = 10000 10000 10000", "DimSize = inf 1 1", "DimSize = 1e300 1 1"):
        for packed in ("False", "True"):
            text = whole.replace("DimSize = 5 4 3", claim).replace("Data = False", f"Data = {packed}")
            header.write_text(text, encoding="utf-8")
            with pytest.raises(FileError, match=r"ct\.(mhd|raw)"):
                patient_volume(again, "ct")
