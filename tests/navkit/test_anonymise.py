"""Recordings without names, dates and paths: identities are planted everywhere, and each must be gone."""

import contextlib
import gzip
import hashlib
import itertools
import re
import struct
import zlib
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import hand_sweep

from navkit.files import (
    FileError,
    read_acquisition,
    read_patient,
    read_positions,
    read_sequence,
    sequence_of,
    write_acquisition,
    write_sequence,
)
from navkit.files._xml import parsed
from navkit.reconstruction import Grid, reconstruct
from navkit.recordings import anonymise
from navkit.recordings._identity import Rules, cleaned, offset_of
from navkit.recordings._leaks import Secrets, leaks

ALSO = ("Hansen", "010190 12345")
START = 1512295200  # 2017-12-03 10:00:00
SESSION = "US-Acq_07_20171203T100000"
IMAGE = "t1_hansen_20171202T081500"
DOCUMENT = """<?xml version='1.0'?>
<!-- Ola Hansen came on 3.12.2017 -->
<patient>
 <version_name>3.2.1</version_name><active_patient>/home/ohansen/Patients/Hansen.cx3</active_patient>
 <managers>
  <stateManager><recordSessions><recordSession uid="SESSION"><category>Hansen US</category>
   <interval start="1512295200000" stop="1512295207000"/></recordSession></recordSessions></stateManager>
  <datamanager>
   <registrationHistory><currentTime></currentTime>
    <registrationTransform timestamp="20171203T101500" type="Patient Landmarks" fixed="IMAGE" moving="">
1 0 0 4
0 1 0 -7.25
0 0 1 12
0 0 0 1</registrationTransform></registrationHistory>
   <landmarkprops><landmarkprop uid="1" active="1" name="Nose of Hansen"/></landmarkprops>
   <landmarks><landmark uid="1"><coord>1 2.5 3</coord>
    <timestamp>20171203T101200</timestamp></landmark></landmarks>
   <center>1 2 3</center>
   <data type="image" uid="IMAGE" name="Hansen T1">
    <registrationHistory><parentFrame value="" timestamp="" type=""/></registrationHistory>
    <filePath>Images/IMAGE.mhd</filePath><acqusitionTime>20171202T081500123</acqusitionTime>
    <modality>MR</modality>
    <mystery when="2017-12-02 08:15:00">seen by Hansen<part/>in 2017/12/02 too</mystery>
   </data>
   <data type="mesh" uid="skin_of_t1_hansen_20171202T081500" name="skin">
    <registrationHistory><parentFrame value="IMAGE" timestamp="" type=""/></registrationHistory>
    <filePath>Images/skin.vtk</filePath>
   </data>
   <data type="pointMetric" uid="metric7" name="metric7" space="reference" coord="1 0 0"/>
   <data type="distanceMetric" uid="metric8" name="metric8" p0="metric7" p1="metric7"/>
  </datamanager>
  <toolManager><tools>
    <tool uid="VividE9_11L" geo_file="C:\\Users\\Ola Hansen\\probe.stl"/></tools></toolManager>
  <registrationManager><fixedDataUid>IMAGE</fixedDataUid><movingDataUid/></registrationManager>
 </managers>
</patient>
""".replace("SESSION", SESSION).replace("IMAGE", IMAGE)
HEADER = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {}\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -4 5 6.5\nElementSpacing = 0.5 0.7 0.9\nDimSize = 4 3 2\n"
    "ElementType = MET_SHORT\nModality = MR\n{}ElementDataFile = {}\n"
)
VOXELS = np.arange(24, dtype="<i2").tobytes()


@pytest.fixture
def patient(tmp_path, rng):
    """A patient's folder with an identity wherever CustusX may put one."""
    root = tmp_path / "source" / "2017-12-03_10-00_Hansen_4.cx3"
    images, logs = root / "Images", root / "Logs"
    for folder in (images, logs, root / "Screenshots"):
        folder.mkdir(parents=True)
    (root / "custusdoc.xml").write_text(DOCUMENT, encoding="utf-8")
    (root / "notes.txt").write_text("Hansen", encoding="utf-8")
    fields = "PatientName = Hansen^Ola\nStudyDate = 20171202\nComment = lives in Oslo, Storgata 7\n"
    (images / f"{IMAGE}.mhd").write_text(HEADER.format("False", fields, f"{IMAGE}.raw"), encoding="utf-8")
    (images / f"{IMAGE}.raw").write_bytes(VOXELS)
    title = b"# vtk DataFile Version 3.0\nskin of Hansen, 2 Dec 2017\nASCII\n"
    (images / "skin.vtk").write_bytes(title + b"DATASET POLYDATA\nPOINTS 1 float\n1 2 3\n")
    (images / "Hansen_extra.tag").write_text(
        'MNI Tag Point File\nVolumes = 1;\n% Hansen, RAS\nPoints =\n 1 2 3.5 "ear of Hansen";\n',
        encoding="utf-8",
    )
    (logs / "toolpositions.snwpos").write_bytes(positions(b"Hansen-pointer"))
    (logs / "registration.txt").write_text("Hansen", encoding="utf-8")
    (root / "Screenshots" / "Hansen.png").write_bytes(b"Hansen")
    sweep = hand_sweep(rng, n=5)
    sweep = replace(sweep, time_s=sweep.time_s + START, name=f"{SESSION}_Hansen")
    acquisition = root / "US_Acq" / SESSION
    write_acquisition(sweep, acquisition)
    (acquisition / f"{SESSION}_Hansen.probe.toolmeta").write_text(
        "Hansen 1512295201500 at 2017-12-03T10:00:01.5\n", encoding="utf-8"
    )
    (acquisition / f"{SESSION}_Hansen.README.txt").write_text("Hansen", encoding="utf-8")
    return root


def positions(tool=b"pointer"):
    six = (0.1, 0.2, 0.3, 4.0, 5.0, 6.0)
    name = struct.pack("<BBI", 2, len(tool) + 4, len(tool)) + tool
    rows = [struct.pack("<BBQ6d", 3, 68, START * 1000 + k, *six) for k in (5, 17)]
    return b"SNWPOS\x02" + name + b"".join(rows)


def hashes(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def everything(path):
    """All bytes that were written, names too, in lower case; zlib streams also as what is in them."""
    files = [path, *path.rglob("*")]
    data = [p.name.encode() for p in files] + [p.read_bytes() for p in files if p.is_file()]
    for part in list(data):
        for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", part):
            with contextlib.suppress(zlib.error):
                data.append(zlib.decompressobj(wbits=47).decompress(part[start.start() :]))
    return b"\n".join(data).lower()


def assert_gone(path, *, years=(b"2017",)):
    data = everything(path)
    for secret in ("hansen", "01019012345", "010190 12345", "storgata", "oslo", "/home", "users"):
        for form in (secret.encode(), secret.encode("utf-16-le")):
            assert form not in data, secret
    for form in (*years, b"15122", b"15123"):
        assert not re.search(rb"(?<![.\d])" + form, data), form


def test_every_planted_identity_of_a_patient_is_gone(patient, tmp_path):
    before = hashes(patient)
    done = anonymise(patient, tmp_path / "case-01.cx3", also=ALSO)
    assert hashes(patient) == before
    assert done.path == tmp_path / "case-01.cx3"
    assert_gone(done.path)
    assert not re.search(r"hansen|2017|15122|storgata", done.report().lower())
    assert done.not_copied == {
        "./*.txt": 1, "Logs/*.txt": 1, "Screenshots/*.png": 1, "US_Acq/*.txt": 1,
    }  # fmt: skip
    assert {kind for kind, _, _ in done.replaced} == {
        "comment", "date", "header field", "name", "name of data", "path", "patient", "time", "title",
        "uid or file name",
    }  # fmt: skip


def test_an_anonymised_patient_is_read_as_before_and_references_hold(patient, tmp_path):
    was = read_patient(patient)
    now = read_patient(anonymise(patient, tmp_path / "case-01.cx3", also=ALSO).path)
    assert now.active_patient == "case-01.cx3"
    assert list(now.data) == ["image_01", "mesh_01", "pointmetric_01", "distancemetric_01"]
    assert now.data["image_01"].file == "Images/image_01.mhd"
    assert now.data["mesh_01"].file == "Images/mesh_01.vtk"
    assert [one.name for one in now.data.values()] == list(now.data)
    assert now.data["mesh_01"].history.parents[-1].value == "image_01"
    assert now.data["distancemetric_01"].attributes["p0"] == "pointmetric_01"
    assert not [note for note in now.notes if "not in the folder" in note]
    np.testing.assert_array_equal(now.landmarks_pr["1"].point, was.landmarks_pr["1"].point)
    np.testing.assert_array_equal(now.registrations.r_M_pr, was.registrations.r_M_pr)
    assert now.landmark_names["1"].name == "Nose of case-01"
    # The image of the day before is the first event; all else keeps its distance to it.
    assert now.data["image_01"].acquired == "20000101T000000123"
    assert now.landmarks_pr["1"].timestamp == "20000102T015700"
    text = (tmp_path / "case-01.cx3" / "custusdoc.xml").read_text(encoding="utf-8")
    assert '<recordSession uid="US-Acq_01_20000102T014500"' in text
    assert '<interval start="946777500000" stop="946777507000"' in text
    assert '<mystery when="2000-01-01 00:00:00">seen by case-01<part />in 2000/01/01 too</mystery>' in text
    assert (tmp_path / "case-01.cx3/Images/image_01.raw").read_bytes() == VOXELS


def test_sweep_and_positions_of_a_patient_keep_their_relative_times(patient, tmp_path):
    new = anonymise(patient, tmp_path / "case-01.cx3", also=ALSO).path
    name = "US-Acq_01_20000102T014500"
    was = read_acquisition(patient / "US_Acq" / SESSION)
    now = read_acquisition(new / "US_Acq" / name)
    np.testing.assert_array_equal(now.frames, was.frames)
    np.testing.assert_allclose(now.pr_M_p, was.pr_M_p, atol=1e-9)
    shift = offset_of([Decimal(START - 26 * 3600 + 15 * 60)])
    np.testing.assert_allclose(now.time_s, was.time_s + shift, atol=3e-7)
    (tool,) = read_positions(new / "Logs/toolpositions.snwpos")
    assert tool == "case-01-pointer"
    old_log = read_positions(patient / "Logs/toolpositions.snwpos")["Hansen-pointer"]
    np.testing.assert_allclose(
        read_positions(new / "Logs/toolpositions.snwpos")[tool].time_s, old_log.time_s + shift, atol=3e-7
    )


def test_dates_can_be_left_out(patient, tmp_path):
    new = anonymise(patient, tmp_path / "case-01.cx3", also=ALSO, date="remove").path
    assert_gone(new)
    text = (new / "custusdoc.xml").read_text(encoding="utf-8")
    assert "2000" not in text
    assert "<acqusitionTime />" in text
    assert [p.name for p in (new / "US_Acq").iterdir()] == ["US-Acq_01"]
    assert len(read_acquisition(new / "US_Acq" / "US-Acq_01")) == 5


PLANTS = {
    "an element": ("custusdoc.xml", "<center>", "<note>{}</note><center>"),
    "an attribute": ("custusdoc.xml", "<center>", '<note by="{}"/><center>'),
    "a tail": ("custusdoc.xml", "<center>", "<note/>{}<center>"),
    "a comment": ("custusdoc.xml", "<center>", "<!-- {} --><center>"),
    "an instruction": ("custusdoc.xml", "<center>", "<?by {}?><center>"),
    "a cdata": ("custusdoc.xml", "<center>", "<note><![CDATA[{}]]></note><center>"),
    "a metric's name": ("custusdoc.xml", 'name="metric7"', 'name="{}"'),
    "a metric's uid": ("custusdoc.xml", "metric7", "{}"),
    "a day that is none": ("custusdoc.xml", "<center>", "<note>20170231 {}</note><center>"),
    "a path": ("custusdoc.xml", "Images/skin.vtk", "/data/{}/skin.vtk"),
    "an unknown field": (f"Images/{IMAGE}.mhd", "Modality", "Seen = {}\nModality"),
    "a description": (f"Images/{IMAGE}.mhd", "Modality", "SeriesDescription = {}\nModality"),
    "after the pixels' name": (
        f"Images/{IMAGE}.mhd",
        f"{IMAGE}.raw",
        f"{IMAGE}.raw\nProbeCalibration = {{}}.cal",
    ),
    "a title": ("Images/skin.vtk", "skin of Hansen", "{}"),
    "a probe": (f"US_Acq/{SESSION}/{SESSION}_Hansen.probedata.xml", "</root>", '<tool toolID="{}"/></root>'),
    "a tool's line": (f"US_Acq/{SESSION}/{SESSION}_Hansen.probe.toolmeta", "Hansen", "tool {} x"),
}
SECRETS = [
    "Hansen", "hansen's", "OLA_HANSEN", "010190 12345", "01019012345", "2017-12-03", "3.12.2017",
    "03/12/2017", "20171203T101112", "2017-12-03T10:11:12.5Z", "20171203101112", "3 Dec 2017",
    "Sun Dec  3 10:11:12 2017", "Dec 3, 2017", "3. desember 2017", "1512295201500", "1512295201",
    "C:/Users/me/x", "file:///home/me/x", "~/Patients/Hansen 2017/a b", "1.2.840.113619.2.20171203.7",
]  # fmt: skip


def planted(patient, place, secret):
    name, old, new = PLANTS[place]
    text = (patient / name).read_text(encoding="utf-8")
    assert old in text
    (patient / name).write_text(text.replace(old, new.format(secret)), encoding="utf-8")


@pytest.mark.parametrize("place", PLANTS)
def test_identities_are_gone_from_each_place(patient, tmp_path, place):
    secret = "Hansen_010190 12345_20171203" if "uid" in place else " | ".join(SECRETS)
    planted(patient, place, secret)
    assert_gone(anonymise(patient, tmp_path / "case.cx3", also=ALSO).path)


@pytest.mark.parametrize("secret", SECRETS)
def test_each_spelling_is_gone_where_it_stands_alone(patient, tmp_path, secret):
    planted(patient, "an element", secret)
    planted(patient, "an unknown field", f"seen: {secret}, here")
    assert_gone(anonymise(patient, tmp_path / "case.cx3", also=ALSO).path)


def test_a_patient_named_in_folder_document_or_header_is_found_without_being_told(patient, tmp_path):
    header = patient / f"Images/{IMAGE}.mhd"
    header.write_text(
        header.read_text(encoding="utf-8").replace("Hansen^Ola", "Kvernmo^Guro"), encoding="utf-8"
    )
    planted(patient, "an element", "for Guro's doctor")
    new = anonymise(patient, tmp_path / "case-01.cx3").path
    text = (new / "custusdoc.xml").read_text(encoding="utf-8").lower()
    assert "for case-01's doctor" in text
    assert "nose of case-01" in text
    assert not re.search(r"\bhansen\b|\bola\b", text)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("custusdoc.xml", "<center>", "<Hansen/><center>"),
        ("custusdoc.xml", "<center>", '<note Hansen="1"/><center>'),
        ("Images/skin.vtk", "1 2 3\n", "1 2 3\nFIELD FieldData 1\nHansen 1 1 float\n5\n"),
    ],
)
def test_what_cannot_be_replaced_is_refused_and_nothing_is_left(patient, tmp_path, name, old, new):
    (patient / name).write_text(
        (patient / name).read_text(encoding="utf-8").replace(old, new), encoding="utf-8"
    )
    with pytest.raises(FileError, match="would still hold 'Hansen'; nothing is written"):
        anonymise(patient, tmp_path / "case-01.cx3", also=ALSO)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("custusdoc.xml", '<!DOCTYPE a [<!ENTITY b "c">]><patient/>', "DOCTYPE"),
        ("custusdoc.xml", "<a>" * 200 + "</a>" * 200, "nested more than"),
        ("custusdoc.xml", "<patient>", "not well-formed"),
        (f"US_Acq/{SESSION}/{SESSION}_Hansen.tp", "Hansen was here\n", "expected numbers only"),
        (f"US_Acq/{SESSION}/{SESSION}_Hansen.tts", "Hansen\n", "expected a time in ms"),
        (f"US_Acq/{SESSION}/{SESSION}_Hansen.tts", "1512295201500\n17\n", "one clock"),
        (f"Images/{IMAGE}.raw", "x" * 49, "bytes of pixels"),
        ("Logs/toolpositions.snwpos", "Hansen", "position log"),
    ],
)
def test_files_that_cannot_be_trusted_are_refused(patient, tmp_path, name, text, told):
    (patient / name).write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=told):
        anonymise(patient, tmp_path / "case-01.cx3", also=ALSO)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_compressed_pixels_are_packed_anew_and_links_are_not_followed(patient, tmp_path):
    (patient / "Images" / f"{IMAGE}.raw").unlink()
    (patient / "Images" / f"{IMAGE}.mhd").write_text(
        HEADER.format("True", "CompressedDataSize = 9\n", "p.zraw"), encoding="utf-8"
    )
    (patient / "Images" / "p.zraw").write_bytes(zlib.compress(VOXELS, 0))
    (patient / "Images" / "linked.vtk").symlink_to(patient / "Images" / "skin.vtk")
    (patient / "Images" / "nowhere.mhd").symlink_to(patient / "no.mhd")
    done = anonymise(patient, tmp_path / "case-01.cx3", also=ALSO)
    assert_gone(done.path)
    header = (done.path / "Images/image_01.mhd").read_text(encoding="utf-8")
    packed = (done.path / "Images/image_01.zraw").read_bytes()
    assert zlib.decompress(packed) == VOXELS
    assert f"CompressedDataSize = {len(packed)} " in header
    assert "ElementDataFile = image_01.zraw" in header
    assert (done.not_copied["Images/*.vtk"], done.not_copied["Images/*.mhd"]) == (1, 1)
    (patient / "Images" / "p.zraw").write_bytes(zlib.compress(VOXELS) + b"Hansen 3.12.2017")
    with pytest.raises(FileError, match="after the end"):
        anonymise(patient, tmp_path / "case-02.cx3", also=ALSO)


def damaged(rng, data):
    """A few bytes flipped, cut out, doubled or zeroed."""
    a = int(rng.integers(len(data) + 1))
    b = min(len(data), a + int(rng.integers(1, 30)))
    middle = [rng.bytes(b - a), b"", data[a:b] * 2, bytes(b - a), data[a:b].swapcase()][rng.integers(5)]
    return data[:a] + middle + data[b:]


def attack(patient, rng, target):
    """One file damaged: refused with a sentence, or all identities that are still whole are gone."""
    files = [p for p in sorted(patient.rglob("*")) if p.is_file()]
    file = files[rng.integers(len(files))]
    whole = file.read_bytes()
    file.write_bytes(damaged(rng, whole))
    try:
        assert b"hansen" not in everything(anonymise(patient, target, also=ALSO).path)
        return True
    except FileError:
        assert not target.exists()
        return False
    finally:
        file.write_bytes(whole)


def test_a_damaged_recording_is_refused_or_clean(patient, tmp_path, rng):
    done = [attack(patient, rng, tmp_path / f"{k}.cx3") for k in range(30)]
    assert 5 < sum(done) < 29


# --- acquisitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["stack", "frames"])
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_masked_acquisitions_are_black_outside_the_sector_only(tmp_path, rng, layout, kind):
    sweep = hand_sweep(rng, n=4, kind=kind)
    sweep = replace(sweep, time_s=sweep.time_s + START, name="Hansen_20171203")
    write_acquisition(sweep, tmp_path / "a", layout=layout)
    plain = anonymise(tmp_path / "a", tmp_path / "b", also=ALSO)
    black = anonymise(tmp_path / "a", tmp_path / "c", also=ALSO, mask_pixels=True)
    mask = sweep.sector.mask()
    np.testing.assert_array_equal(read_acquisition(plain.path).frames, sweep.frames)
    np.testing.assert_array_equal(read_acquisition(black.path).frames, np.where(mask, sweep.frames, 0))
    share = 100 * np.mean(sweep.frames.max(axis=0)[~mask] >= 64)
    assert len(plain.warnings) == 1
    assert f"{share:.2f} % of the pixels outside" in plain.warnings[0]
    assert black.warnings == ()
    assert_gone(plain.path)


def test_colour_is_masked_and_a_mask_without_a_sector_is_refused(tmp_path, rng):
    sweep = replace(hand_sweep(rng, n=2), name="acq")
    write_acquisition(sweep, tmp_path / "a")
    header = tmp_path / "a" / "acq.mhd"
    header.write_text("ElementNumberOfChannels = 3\n" + header.read_text(encoding="utf-8"), encoding="utf-8")
    colour = rng.integers(1, 256, size=(*sweep.frames.shape, 3), dtype=np.uint8)
    (tmp_path / "a" / "acq.raw").write_bytes(colour.tobytes())
    new = anonymise(tmp_path / "a", tmp_path / "b", mask_pixels=True).path
    got = np.frombuffer(next(new.glob("*.raw")).read_bytes(), np.uint8).reshape(colour.shape)
    np.testing.assert_array_equal(got, np.where(sweep.sector.mask()[..., None], colour, 0))
    (tmp_path / "a" / "acq.probedata.xml").unlink()
    with pytest.raises(FileError, match="expected one of the two ways to learn the sector"):
        anonymise(tmp_path / "a", tmp_path / "c", mask_pixels=True)
    assert "no sector that can be read" in anonymise(tmp_path / "a", tmp_path / "c").warnings[0]


def test_the_wire_cross_keeps_digits_poses_and_volume(navkit_data, tmp_path):
    source = navkit_data / "custusx" / "angio_lab_256x192"
    before = hashes(source)
    done = anonymise(source, tmp_path / "new")
    assert hashes(source) == before
    for ending in (".fts", ".tts"):
        old, new = (
            [Decimal(line) for line in next(folder.glob(f"*{ending}")).read_text(encoding="utf-8").split()]
            for folder in (source, done.path)
        )
        assert [b - a for a, b in itertools.pairwise(old)] == [b - a for a, b in itertools.pairwise(new)]
        assert {b - a for a, b in zip(old, new, strict=True)} == {Decimal(-404392997000)}
        assert [n.as_tuple().exponent for n in old] == [n.as_tuple().exponent for n in new]
    assert next(done.path.glob("*.tp")).read_bytes() == next(source.glob("*.tp")).read_bytes()
    was, now = read_acquisition(source), read_acquisition(done.path)
    np.testing.assert_array_equal(now.frames, was.frames)
    np.testing.assert_array_equal(now.valid, was.valid)
    np.testing.assert_allclose(now.pr_M_p[now.valid], was.pr_M_p[was.valid], atol=1e-4)
    assert now.sector == was.sector
    pose = np.eye(4)
    pose[:3, 3] = 115, 110, 80
    grid = Grid((60, 80, 80), (0.5, 0.5, 0.5), pose)
    volumes = [reconstruct(sweep, grid=grid).values for sweep in (was, now)]
    assert np.isfinite(volumes[0]).sum() > 10_000
    same = np.isclose(*volumes, equal_nan=True)
    assert same.mean() > 0.9999
    assert not re.search(rb"2012|13510", b"".join(p.name.encode() for p in done.path.iterdir()))


@pytest.mark.parametrize("name", ["ResampleTest.custusdoc.xml", "baseline_patient_file_with_metrics.xml"])
def test_real_documents_are_read_as_before(navkit_data, tmp_path, name):
    folder = tmp_path / "2017-09-29_10-07_Laboratory_4.cx3"
    folder.mkdir()
    (folder / "custusdoc.xml").write_bytes((navkit_data / "custusx" / "patient" / name).read_bytes())
    was = read_patient(folder)
    now = read_patient(anonymise(folder, tmp_path / "case-01.cx3").path)
    assert [one.type for one in now.data.values()] == [one.type for one in was.data.values()]
    assert all(re.fullmatch(r"[a-z]+_\d\d", uid) for uid in now.data)
    np.testing.assert_array_equal(now.center_r, was.center_r)
    for a, b in zip(was.registrations.data.values(), now.registrations.data.values(), strict=True):
        np.testing.assert_array_equal(a.r_M_d, b.r_M_d)
    assert not re.search(
        r"201[1-7]|ResampleTest|testMetric",
        (tmp_path / "case-01.cx3/custusdoc.xml").read_text(encoding="utf-8"),
    )


# --- sequences and volumes ---------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd"])
def test_sequences_keep_frames_poses_and_relative_times(tmp_path, rng, ending, compressed):
    sweep = hand_sweep(rng, n=6)
    sequence = sequence_of(replace(sweep, time_s=np.round(sweep.time_s, 3) + START))
    fields = {
        "RecordingDate": ("2017-12-03",) * 6,
        "FrameNumber": tuple("123456"),
        "Seen": ("by Hansen",) * 6,
    }
    header = {
        "PatientName": "Hansen^Ola",
        "StudyDate": "20171203",
        "Comment": "Storgata",
        "Site": "room 010190 12345",
    }
    sequence = replace(sequence, fields=fields, header={**sequence.header, **header})
    path = tmp_path / "source" / f"Hansen{ending}"
    write_sequence(sequence, path, compressed=compressed)
    before = hashes(path.parent)
    done = anonymise(path, tmp_path / f"case{ending}", also=ALSO)
    assert hashes(path.parent) == before
    for file in tmp_path.glob("case.*"):
        assert_gone(file)
    was, now = read_sequence(path), read_sequence(done.path)
    np.testing.assert_array_equal(now.frames, was.frames)
    np.testing.assert_array_equal(
        now.transforms["ImageToReference"].pose, was.transforms["ImageToReference"].pose
    )
    assert now.time_s[0] // 1 == 946684800
    np.testing.assert_allclose(np.diff(now.time_s), np.diff(was.time_s), atol=3e-7)
    assert now.fields["FrameNumber"] == tuple("123456")
    assert now.fields["Seen"] == ("by case-01",) * 6
    assert "RecordingDate" not in now.fields
    assert not {"PatientName", "StudyDate", "Comment"} & now.header.keys()
    assert now.header["Site"] == "room case-01"
    assert "header field Site: not known" in done.left


def test_times_of_a_running_clock_are_no_dates_and_stay(navkit_data, tmp_path):
    for source in sorted((navkit_data / "plus" / "io").glob("*.mha")):
        done = anonymise(source, tmp_path / source.name)
        was, now = read_sequence(source), read_sequence(done.path)
        np.testing.assert_array_equal(now.time_s, was.time_s)
        np.testing.assert_array_equal(now.image_valid, was.image_valid)
        for name, one in was.transforms.items():
            np.testing.assert_array_equal(now.transforms[name].pose, one.pose)
        assert done.replaced == ()


def test_a_nrrd_loses_comment_content_and_the_name_in_gzip(tmp_path):
    lines = (
        "NRRD0004\n# for Hansen\ncontent: Hansen\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\n"
    )
    pixels = gzip.compress(VOXELS)
    named = pixels[:3] + b"\x08" + pixels[4:10] + b"Hansen.raw\0" + pixels[10:]
    path = tmp_path / "v.nrrd"
    path.write_bytes((lines + "encoding: gzip\nseen by:=Ola Hansen\n\n").encode() + named)
    new = anonymise(path, tmp_path / "case.nrrd", also=ALSO).path
    assert_gone(new)
    head, _, rest = new.read_bytes().partition(b"\n\n")
    assert gzip.decompress(rest) == VOXELS
    assert b"seen by:=Ola case-01" in head
    assert b"sizes: 4 3 2" in head


# --- the door ----------------------------------------------------------------------------------------


def test_what_is_asked_for_wrongly_is_refused(patient, tmp_path):
    target = tmp_path / "case-01.cx3"
    with pytest.raises(ValueError, match="three letters or more"):
        anonymise(patient, target, also="Hansen")
    with pytest.raises(ValueError, match="three letters or more"):
        anonymise(patient, target, also=("O ",))
    with pytest.raises(ValueError, match="letters, digits"):
        anonymise(patient, target, pseudonym="../x")
    with pytest.raises(FileError, match="would still hold 'Hansen'"):
        anonymise(patient, tmp_path / "Hansen.cx3", also=ALSO)
    with pytest.raises(FileError, match="inside the source"):
        anonymise(patient, patient / "new.cx3")
    with pytest.raises(FileError, match="does not exist"):
        anonymise(tmp_path / "no", target)
    with pytest.raises(FileError, match="expected a patient folder"):
        anonymise(patient / "Images", target)
    with pytest.raises(FileError, match="and the same ending"):
        anonymise(patient / "Images" / f"{IMAGE}.mhd", tmp_path / "x.mha")
    with pytest.raises(FileError, match="has no sector"):
        anonymise(patient / "Images" / f"{IMAGE}.mhd", tmp_path / "x.mhd", mask_pixels=True)
    target.mkdir()
    with pytest.raises(FileError, match="exists; expected a new name"):
        anonymise(patient, target)


def test_anonymising_twice_changes_nothing_more(patient, tmp_path):
    once = anonymise(patient, tmp_path / "a.cx3", also=ALSO).path
    twice = anonymise(once, tmp_path / "b.cx3", also=ALSO).path
    assert {p.relative_to(once): h for p, h in hashes(once).items()} == {
        p.relative_to(twice): h for p, h in hashes(twice).items()
    }


# --- texts -------------------------------------------------------------------------------------------

SHIFTED = Rules("case", ALSO, offset_s=-3600)
RULES = Rules(
    "case", ("Hansen",), ("Ola",), {"t1_20171203": "image_01", "20171203_t2": "image_02", "m1": "x"}, -3600
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("466.75229356389741 0=240/170/255 0.20171203101112", None),
        ("3.2.1 alpha, 10.5 mm/s at 1/2, Axial/Coronal, http://a.b/c", None),
        ("Solar m1 frame_1 1e10 -0.1512295201", None),
        ("20171203T000000123", "20171202T230000123"),
        ("20170231T000000", None),
        ("2017-12-03 00:10:01.25+01:00", "2017-12-02 23:10:01.25+01:00"),
        ("a_2017-12-03_00-10_b", "a_2017-12-02_23-10_b"),
        ("at 1512295201.50", "at 1512291601.50"),
        ("1512295201500123456", "1512291601500123456"),
        ("2017.12.03-dev", "2000.01.01-dev"),
        ("x/t1_20171203.mhd t1_20171203x", "x/image_01.mhd t1_20000101x"),
        ("20171203_t2 20171231 20170231", "image_02 20000101 20000101"),
        ("Ola, HANSEN_2 and xhansenx", "case, case_2 and xcasex"),
        ("see C:\\Users\\a b\\c; and /home/a b/c", "see removed; and removed"),
        ("of 1.2.840.113619.7.20171203.cal", "of 2.25.1.cal"),
        ("1.2.840.113619.7.1 1.2.840.113619.7.2 1.2.840.113619.7.1", "2.25.1 2.25.2 2.25.1"),
    ],
)  # fmt: skip
def test_texts(text, expected):
    assert cleaned(text, replace(RULES, removed={}), "") == (text if expected is None else expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(1_000_000_000, 1_999_999_999), st.text("0123456789", max_size=9), st.integers(-9, 9))
def test_time_stamps_move_by_one_offset_to_the_last_digit(seconds, digits, days):
    rules = Rules("case", offset_s=86400 * days)
    text = f"{seconds}.{digits}" if digits else str(seconds)
    new = cleaned(text, rules, "")
    assert Decimal(new) - Decimal(text) == 86400 * days
    assert len(new.partition(".")[2]) == len(digits)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=30),
    st.sampled_from(["Hansen", "HANSEN", "010190_12345", "C:/x", "20171203T101112"]),
    st.text(),
)
def test_nothing_around_an_identity_saves_it(before, secret, after):
    new = cleaned(f"{before} {secret} {after}", replace(SHIFTED, removed={}), "").lower()
    assert not re.search(r"hansen|010190.?12345|c:/x|20171203t101112", new)


def test_the_last_look_finds_each_spelling(tmp_path, monkeypatch):
    secrets = Secrets(
        frozenset({"Åse Hansen"}),
        frozenset({"t1_x"}),
        frozenset({"/home/me"}),
        frozenset({date(2017, 12, 3)}),
    )
    told = [
        "åse_hansen", "ÅSE HANSEN", "Hansen, Åse", "t1_x.mhd", "a /home/me/b", "20171203", "3.12.2017",
        "20171203101112", "Sun Dec  3 10:11:12 2017", "3. desember 2017", "1512295201500", "2017:12:03",
    ]  # fmt: skip
    kept = ["ase hansen", "t1_xy", "0.120171203", "1712295201500", "201712031", "4.12.2017", "03 12"]
    for k, text in enumerate(told + kept):
        file = tmp_path / f"f{k}"
        for code in ("utf-8", "latin-1"):
            file.write_bytes(text.encode(code))
            assert bool(list(leaks(file, secrets))) == (text in told), text
    monkeypatch.setattr("navkit.recordings._leaks.PIECE", 2048)
    (tmp_path / "g").write_bytes(bytes(4096 - 6) + "x åse_hansen".encode("utf-16-le"))
    assert [where for where, _ in leaks(tmp_path / "g", secrets)] == ["g"]


def test_xml_without_traps():
    assert parsed("a", b"<a><b>1</b></a>")[0].text == "1"
    with pytest.raises(FileError, match="line 1: a DOCTYPE"):
        parsed("a", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
