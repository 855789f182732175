"""The rules of a patient folder are red where something is wrong, and only there."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cx3_rules import problems
from patients import made
from sweeps import hand_sweep

from navkit.files import PatientData, Session, write_patient

SESSION = "Lab_1_20261124T123000"
BASE = f"US_Acq/{SESSION}/{SESSION}_11L"
DOC = "custusdoc.xml"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with everything in it."""
    rng = np.random.default_rng(7)
    patient, volumes, meshes = made(rng)
    frame = " ".join(map(str, np.eye(4).ravel()))
    extra = {
        "far": PatientData("distanceMetric", "far", attributes={"p0": "m", "p1": "m"}),
        "frame": PatientData("frameMetric", "frame", attributes={"space": "reference", "frame": frame}),
        "ball": PatientData("SphereMetric", "ball", attributes={"p0": "m", "radius": "3.5"}),
    }
    sessions = {SESSION: Session("Lab", ((0.0, 5000.0),))}
    patient = replace(patient, data={**patient.data, **extra}, sessions=sessions)
    sweep = replace(hand_sweep(rng), name="11L")
    folder = tmp_path_factory.mktemp("rules") / "whole.cx3"
    write_patient(patient, folder, volumes=volumes, meshes=meshes, sweeps={SESSION: sweep})
    return folder


def test_a_whole_folder_has_no_problem(whole):
    assert problems(whole) == []


EDITS = [
    (DOC, "<patient>", "<patient", "not well-formed"),
    (DOC, "<version_name>kit</version_name>", "", "<version_name> is missing"),
    (DOC, "20261124T120200", "2026-11-24T12:02", "timestamp is '2026-11-24T12:02'"),
    (DOC, "20261124T120200", "20261324T120200", "no yyyyMMddThhmmss"),
    (DOC, "20261124T120100", "noon", "landmark 1 has the timestamp 'noon'"),
    (DOC, "20261124T120000000", "yesterday", "data ct: acqusitionTime is 'yesterday'"),
    (DOC, "0 0 0 1</registrationTransform>", "0 0 1 1</registrationTransform>", "not a rigid 4 x 4"),
    (DOC, '<data uid="us"', '<data uid="ct"', "the uid 'ct' is not unique"),
    (DOC, '<data uid="us"', '<data uid=""', "a data has no uid"),
    (DOC, "Images/us.mhd", "Images/US.mhd", "the file 'Images/US.mhd' is not in the folder"),
    (DOC, "Images/us.mhd", "../whole.cx3/../x.mhd", "is not in the folder"),
    (DOC, 'parentFrame value="ct"', 'parentFrame value="who"', "the parent who is no data"),
    (DOC, 'parentFrame value="ct"', 'parentFrame value="us"', "parents form a ring"),
    (DOC, 'type="mesh"', 'type="Mesh"', "the type 'Mesh' is unknown"),
    (DOC, ' coord="1 2 3"', "", "data m: the attribute coord is missing"),
    (DOC, ' coord="1 2 3"', ' coord="1 2"', "coord is '1 2', not 3 numbers"),
    (DOC, 'space="reference" coord', 'space="room" coord', "the space 'room' is unknown"),
    (DOC, 'p1="m"', 'p1="gone"', "p1 is 'gone', which is no data"),
    (DOC, 'radius="3.5"', 'radius="big"', "radius is 'big'"),
    (DOC, 'frame="1.0', 'frame="2.0', "data frame: frame is not a rigid"),
    (DOC, '<landmarkprop uid="1"', '<landmarkprop uid="9"', "landmark 1 is none of landmarkprops"),
    (DOC, 'active="1"', 'active="yes"', "active is yes"),
    (DOC, "<center>1 2 3", "<center>1 2", "center is not three numbers"),
    (DOC, 'stop="5000"', 'stop="-5"', "does not run forward"),
    (DOC, "<modality>CT", "<modality>MR", "the modality in the header is not MR"),
    ("Images/ct.mhd", "Offset = -31.5", "Offset = -31.6", "not the one of the document"),
    ("Images/ct.mhd", "DimSize = 5", "DimSize = 6", "bytes of pixels, not 144"),
    ("Images/ct.mhd", "Modality = CT", "Modality = XX", "Modality is 'XX'"),
    ("Images/ct.mhd", "Offset", "Ofset", "no Offset of three"),
    ("Images/line.vtk", "POLYDATA", "UNSTRUCTURED_GRID", "no polydata"),
    (f"{BASE}.fts", re.compile(r"\A.*\n"), "", "14 frames, not 13 as in .fts"),
    (f"{BASE}.tts", re.compile(r"\A.*\n"), "", "42 lines in .tp, not 39"),
    (f"{BASE}.tts", re.compile(r"\A"), "9999999\n", "times in .tts do not increase"),
    (f"{BASE}.tp", re.compile(r"\A\S+"), "0.5", ".tp: sample 0 is no rotation"),
    (f"{BASE}.tp", re.compile(r"\A\S+"), "a", "not 1, 1 or 4 numbers"),
    (f"{BASE}.probedata.xml", 'spacing="0.31', 'spacing="0.32', "pixel spacing is not the probe's"),
    (f"{BASE}.probedata.xml", 'clipRect_p="3 30', 'clipRect_p="3 300', "clipRect_p is not inside"),
    (f"{BASE}.probedata.xml", 'type="2"', 'type="7"', "configuration of type 0, 1 or 2"),
    (f"{BASE}_3.mhd", "= 1 0 0 0 1 0 0 0 1", "= 1 0 0 0 1 0 0 0 -1", "z is not x cross y"),
    (f"{BASE}_3.mhd", "DimSize = 36", "DimSize = 35", "bytes of pixels"),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), EDITS)
def test_one_wrong_thing_is_told(whole, tmp_path, file, old, new, told):
    folder = shutil.copytree(whole, tmp_path / "whole.cx3")
    text = (folder / file).read_text(encoding="utf-8")
    wrong = text.replace(old, new) if isinstance(old, str) else old.sub(new, text, count=1)
    assert wrong != text
    (folder / file).write_text(wrong, encoding="utf-8")
    assert any(told in one for one in problems(folder)), problems(folder)


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("Logs", "the folder Logs is missing"),
        (DOC, "custusdoc.xml is missing"),
        ("Images/ct.raw", "the pixel file ct.raw is missing"),
        (f"{BASE}.fts", "0 .fts files, not one"),
        (f"{BASE}.tp", ".tp missing"),
        (f"{BASE}_3.mhd", "not numbered from 0 without a gap"),
    ],
)
def test_what_is_missing_is_told(whole, tmp_path, gone, told):
    folder = shutil.copytree(whole, tmp_path / "whole.cx3")
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any(told in one for one in problems(folder)), problems(folder)


def test_names_that_custusx_does_not_know_are_told(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "whole.patient")
    (folder / "US_Acq" / SESSION).rename(folder / "US_Acq" / "sweep")
    told = " ".join(problems(folder))
    assert "does not end in .cx3" in told
    assert "the session is not <category>_<number>_<yyyyMMddThhmmss>" in told
    assert "not <session>_<stream>" in told
