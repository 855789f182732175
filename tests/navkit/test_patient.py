"""A CustusX patient's document: what it says, what a change leaves alone, how registrations are entered."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from patients import R_M_CT, RICH, SEVENTEEN, STEP, made, rich

from navkit.files import FileError, Landmark, LandmarkName, Session, read_patient, with_registrations
from navkit.files._patient import document, same
from navkit.files._patient_document import patient_of
from navkit.registration import register_to_patient

# ---- reading ----


def canonical(text: str) -> str:
    """Equal for documents that say the same: blanks between words and layout do not count."""
    return " ".join(ET.canonicalize(text, strip_text=True).split())


def test_every_part_of_a_document_is_read():
    p = rich()
    assert p.version == "18.04 \u00e6\u00f8\u00e5"
    assert p.name == "Lab_4"
    assert p.landmark_names == {"1": LandmarkName("Nose"), "2": LandmarkName("Left ear", False)}
    np.testing.assert_array_equal(p.landmarks_pr["1"].point, [1.5, -2, 30])
    assert p.landmarks_pr["1"].timestamp == "20170918T123000"
    np.testing.assert_array_equal(p.center_r, [1, 2, 3.5])
    np.testing.assert_array_equal(p.r_M_ot[:3, 3], [5, 0, 0])
    np.testing.assert_array_equal(p.manual_tool[:3, 3], [1, 2, 3])
    assert p.tool_offset_mm == 2.5
    assert p.tools == ({"uid": "probe", "x": "1"},)
    (session,) = p.sessions.values()
    assert session == Session("Lab", ((1505738400000.0, 1505738412345.5),))
    assert list(p.data) == ["ct_1", "mesh_1", "m1", "m5", "f"]
    ct = p.data["ct_1"]
    assert (ct.type, ct.name, ct.file, ct.modality, ct.image_type) == (
        "image", "CT", "Images/ct.mhd", "CT", "Angio",
    )  # fmt: skip
    assert ct.acquired == "20170918T105710308"
    assert ct.attributes == {"strange": "yes"}
    np.testing.assert_array_equal(ct.landmarks_d["2"].point, [4, 5, 6])
    assert p.data["m1"].attributes == {"space": "data/ct_1", "coord": "1 0 0.5"}
    assert p.data["m5"].attributes == {"p0": "m1", "p1": "m1"}


def test_the_current_registration_is_the_latest_that_is_not_after_the_current_time():
    now = rich().registrations
    np.testing.assert_array_equal(now.r_M_pr[:3], [[0, -1, 0, 10], [1, 0, 0, 20.5], [0, 0, 1, -3]])
    np.testing.assert_array_equal(rich().r_M_pr.pose(), now.r_M_pr)  # the second in the file is the first
    np.testing.assert_array_equal(now.data["ct_1"].r_M_d[:3, 3], [7, 8, 9])  # 14 o'clock is after 13
    assert now.data["ct_1"].parent is None  # frame_1 stands last
    assert now.data["mesh_1"].parent == "ct_1"
    assert set(now.data) == {"ct_1", "mesh_1"}
    told = [(change.time_s, change.what, change.method) for change in now.history()]
    noon = SEVENTEEN - 2096
    assert told == [(noon, "patient", "Fast"), (SEVENTEEN, "patient", "Patient Landmarks")]
    np.testing.assert_array_equal(now.at(SEVENTEEN - 1).r_M_pr[:3, 3], [1, 2, 3])
    np.testing.assert_array_equal(now.at(0).r_M_pr, np.eye(4))


def test_a_registration_of_version_3_stands_with_the_tools_and_is_changed_there():
    old = RICH.replace('<registrationHistory keep="me">', '<toolManager2><registrationHistory keep="me">', 1)
    history = old[old.index("<registrationHistory keep") : old.index("<!-- a comment -->")]
    text = RICH.replace(history, "").replace("<toolManager>", f"<toolManager>{history}")
    p = patient_of("custusdoc.xml", text.encode())
    np.testing.assert_array_equal(p.registrations.r_M_pr[:3, 3], [10, 20.5, -3])
    moved = with_registrations(
        p, register_to_patient(p.registrations, STEP, time_s=SEVENTEEN + 60, method="x")
    )
    root = ET.fromstring(document(moved))
    assert len(root.findall("managers/toolManager/registrationHistory/registrationTransform")) == 3
    assert root.find("managers/datamanager/registrationHistory") is None


def test_six_digits_become_an_exact_rotation_and_stay_in_the_file():
    six = "\n".join(" ".join(f"{v:.6g}" for v in row) for row in R_M_CT)
    text = RICH.replace("0 -1 0 10\n1  0 0 20.5\n0  0 1 -3\n0  0 0 1", six)
    p = patient_of("custusdoc.xml", text.encode())
    np.testing.assert_array_equal(p.r_M_pr.pose(), p.registrations.r_M_pr)
    r = p.registrations.r_M_pr[:3, :3]
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(p.registrations.r_M_pr, R_M_CT, atol=1e-5, rtol=1e-5)
    assert np.abs(p.r_M_pr.entries[0].matrix - R_M_CT).max() > 1e-8
    assert document(p) == text.encode()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<patient ", "<!DOCTYPE patient [<!ENTITY a 'aaaa'>]><patient ", "line 2: a DOCTYPE"),
        ("<patient later", "<person later", "line 2: the root is <person>"),
        ("0 -1 0 10\n1  0 0 20.5", "0 -1 0 10\n1  0 0", "line 12: registrationTransform is"),
        ("0 -1 0 10\n1  0 0 20.5", "0 -2 0 10\n1  0 0 20.5", "line 12: the pose .* is not rigid"),
        ("0 -1 0 10\n1  0 0 20.5", "0 1 0 10\n1  0 0 20.5", "is not rigid"),
        ("<coord>4 5 6</coord>", "<coord>4 5</coord>", "landmark's coord is '4 5'; expected 3 numbers"),
        ("<coord>4 5 6</coord>", "", "without coord"),
        ('uid="m1" name', 'name', "without uid"),
        ('coord="1 0 0.5"', 'coord="1 0 nan"', "coord is '1 0 nan'"),
        ("  1 2   3.5 ", "1,5 2 3", "center is '1,5 2 3'"),
        ("<toolTipOffset>2.5", "<toolTipOffset>2_5", "toolTipOffset"),
        ('value="frame_1"', 'value="mesh_1"', "ring"),
        ('start="1505738400000"', 'start="now"', "start is 'now'"),
        ("18.04", "&bomb;", "not well-formed"),
        ("<x y", "<x>" * 200 + "<x y", "deep"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_trusted_is_refused_with_its_line(tmp_path, old, new, told):
    assert old in RICH
    path = tmp_path / "custusdoc.xml"
    path.write_text(RICH.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FileError, match=told):
        read_patient(path)


def test_entities_that_grow_are_refused_before_they_grow(tmp_path):
    path = tmp_path / "custusdoc.xml"
    layers = "".join(f"<!ENTITY l{k} '{f'&l{k - 1};' * 10}'>" for k in range(1, 12))
    path.write_text(f"<!DOCTYPE p [<!ENTITY l0 'lol'>{layers}]><patient>&l11;</patient>", encoding="utf-8")
    with pytest.raises(FileError, match="a DOCTYPE; expected none"):
        read_patient(path)


def test_what_stands_twice_counts_as_in_custusx():
    """Of data the first, of landmarks the last."""
    second = '<data type="mesh" uid="m1" name="second"/></datamanager>'
    mark = '<landmark uid="1"><coord>7 7 7</coord><timestamp/></landmark></landmarks>\n   <center>'
    text = RICH.replace("</datamanager>", second).replace("</landmarks>\n   <center>", mark)
    p = patient_of("custusdoc.xml", text.encode())
    assert p.data["m1"].type == "pointMetric"
    assert "stands twice" in p.notes[0]
    np.testing.assert_array_equal(p.landmarks_pr["1"].point, [7, 7, 7])
    renamed = replace(p, data=dict(p.data, m1=replace(p.data["m1"], name="new")))
    root = ET.fromstring(document(renamed))
    assert [e.get("name") for e in root.iter("data") if e.get("uid") == "m1"] == ["new", "second"]


def test_a_recording_that_has_not_stopped_stays_so():
    p = patient_of("custusdoc.xml", RICH.replace(' stop="1505738412345.5"', "").encode())
    (session,) = p.sessions.values()
    np.testing.assert_array_equal(session.intervals_ms, [(1505738400000.0, np.nan)])
    own = replace(p, sessions={"a": Session("b", ((1.0, float("nan")),))})
    assert same(patient_of("custusdoc.xml", document(own)), own)
    assert document(p) == p.document


# ---- writing the document ----


def test_a_document_that_did_not_change_keeps_its_bytes():
    assert document(rich()) == RICH.encode()


def test_what_is_not_known_survives_a_change_of_everything_that_is(rng):
    p, (other, _, _) = rich(), made(rng)
    ct, m1 = p.data["ct_1"], p.data["m1"]
    changed = replace(
        p,
        version="new",
        active_patient="elsewhere",
        landmark_names={"1": LandmarkName("Tip", False), "7": LandmarkName("new")},
        landmarks_pr={"1": Landmark(np.array([1, 2, 3.25]), "20200101T000000"), "7": other.landmarks_pr["1"]},
        data={
            "ct_1": replace(ct, name="x", file="Images/x.mhd", modality="", landmarks_d=other.landmarks_pr),
            "mesh_1": replace(p.data["mesh_1"], acquired="20200101T000000000"),
            "m1": replace(m1, attributes={"space": "reference", "coord": "0.1 2 3", "new": "1"}),
            "f": replace(p.data["f"], name="!"),
            "us": other.data["us"],
        },
        center_r=np.array([0.1, 0.2, 0.3]),
        r_M_ot=STEP,
        manual_tool=R_M_CT,
        tool_offset_mm=-1.0,
        tools=({"uid": "other"}, {"uid": "second"}),
        sessions={"Lab_1_20170918T124000": Session("B", ((1.0, 2.0), (3.0, 4.5)))},
    )
    changed = with_registrations(
        changed, register_to_patient(changed.registrations, STEP, time_s=SEVENTEEN + 60, method="again")
    )
    text = document(changed)
    root = ET.fromstring(text)
    assert root.get("later") == "kept"
    assert root.find("managers").get("a") == "1"
    assert root.findtext("managers/stateManager/workflow") == "us"
    assert root.find("managers/stateManager/recordSessions/recordSession/note") is not None
    assert root.find("managers/stateManager/recordSessions/recordSession").get("device") == "x"
    manager = root.find("managers/datamanager")
    assert manager.find("registrationHistory").get("keep") == "me"
    assert manager.find("registrationHistory/registrationTransform").get("quality") == "0.9"
    assert manager.find("landmarkprops/landmarkprop").get("colour") == "red"
    assert manager.find("landmarks/landmark/extra").get("b") == "2"
    assert manager.findtext("data/transferfunctions/alpha") == "0=0 24=0"
    assert manager.findtext("data[@uid='mesh_1']/organType") == "unknown"
    assert manager.findtext("data[@uid='m1']/color") == "240/170/255"
    assert manager.findtext("data[@uid='f']/x") == "text"
    assert manager.find("data[@uid='m5']") is None
    assert root.find("managers/toolManager/tools/tool/inner") is not None
    assert root.findtext("managers/viewManager/text") == "a\rb & c"
    assert root.findtext("ActiveData/activeUids") == "ct_1"
    assert b"<!-- a comment -->" in text
    again = patient_of("custusdoc.xml", text)
    assert same(again, changed)
    assert not same(again, p)
    order = [e.tag for e in manager]
    assert order == [e.tag for e in ET.fromstring(RICH).find("managers/datamanager")]


def test_what_is_removed_takes_no_text_beside_it_along():
    old = '<data type="distanceMetric" uid="m5" p0="m1" p1="m1"/>'
    p = patient_of("custusdoc.xml", RICH.replace(old, f"{old}beside it").encode())
    without = replace(p, data={uid: one for uid, one in p.data.items() if uid != "m5"})
    text = document(without)
    assert b"m5" not in text
    assert b"beside it" in text


def test_a_change_and_its_undoing_leave_the_document_as_it_was():
    p = rich()
    for change in (
        {"version": "x"}, {"center_r": np.array([9.5, 8, 7])}, {"tool_offset_mm": None}, {"r_M_ot": None},
        {"data": dict(p.data, m1=replace(p.data["m1"], attributes={"space": "reference"}))},
        {"landmark_names": dict(p.landmark_names, a=LandmarkName("a"))},
        {"landmarks_pr": dict(p.landmarks_pr, a=Landmark(np.ones(3)))},
        {"sessions": dict(p.sessions, a=Session("c", ((1.0, 2.0),)))}, {"tools": (*p.tools, {"uid": "z"})},
    ):  # fmt: skip
        there = patient_of("custusdoc.xml", document(replace(p, **change)))
        assert not same(there, p), change
        back = document(replace(there, **{key: getattr(p, key) for key in change}))
        if "data" not in change:  # attributes may have changed their order
            assert canonical(back.decode()) == canonical(RICH), change
        assert same(patient_of("custusdoc.xml", back), p), change


@pytest.mark.parametrize(
    "change",
    [
        {"version": " blanks "},
        {"version": "a\0b"},
        {"version": "lone \ud800"},
        {"center_r": np.array([1, np.nan, 0])},
        {"tools": ({"not a name": "1"},)},
        {"r_M_ot": np.diag([1.0, 2, 1, 1])},
    ],
)
def test_what_cannot_stand_in_a_document_is_refused(change):
    with pytest.raises(ValueError):
        document(replace(rich(), **change))
