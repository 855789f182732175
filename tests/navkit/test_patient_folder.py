"""CustusX patient folders in and out; `cx3_rules` judges what is written, not the kit."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cx3_rules import problems
from patients import R_M_CT, STEP, made, registered_twice, volume
from sweeps import hand_sweep

from navkit.files import (
    FileError,
    Mesh,
    Patient,
    Session,
    patient_acquisitions,
    patient_mesh,
    patient_volume,
    read_acquisition,
    read_patient,
    write_patient,
)
from navkit.files._patient import header_pose, same


def test_a_folder_comes_back_and_the_rules_accept_it(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    folder = tmp_path / "Lab_\u00f8.cx3"
    assert write_patient(patient, folder, volumes=volumes, meshes=meshes) == ()
    assert problems(folder) == []
    again = read_patient(folder)
    assert same(again, patient)
    assert again.name == "Lab_\u00f8"
    assert again.notes == ()
    for uid, one in volumes.items():
        got = patient_volume(again, uid)
        np.testing.assert_array_equal(got.values, one.values)
        assert got.grid.spacing_mm == one.grid.spacing_mm
        np.testing.assert_array_equal(got.grid.pr_M_d, one.grid.pr_M_d)
    assert same(patient_mesh(again, "line"), meshes["line"])
    assert (folder / "Images/us.raw").stat().st_size == 24  # bytes, as CustusX's ultrasound
    assert (folder / "Images/ct.raw").stat().st_size == 2 * 60


def test_another_library_reads_the_images_the_same(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes, meshes=meshes)
    image = sitk.ReadImage(str(tmp_path / "a.cx3/Images/ct.mhd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volumes["ct"].values)
    np.testing.assert_allclose(image.GetOrigin(), R_M_CT[:3, 3])
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), R_M_CT[:3, :3], atol=1e-12)
    assert image.GetSpacing() == (0.5, 0.75, 1.25)


def test_the_pose_of_the_document_counts_not_the_header_s(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    write_patient(registered_twice(patient), tmp_path / "a.cx3", volumes=volumes, meshes=meshes)
    path = tmp_path / "a.cx3/Images/us.mhd"
    moved = STEP @ STEP @ R_M_CT
    np.testing.assert_allclose(header_pose(path), moved, atol=1e-12)
    path.write_text(
        path.read_text(encoding="utf-8").replace("Offset = -19", "Offset = -91"), encoding="utf-8"
    )
    again = read_patient(tmp_path / "a.cx3")
    np.testing.assert_allclose(patient_volume(again, "us").grid.pr_M_d, moved, atol=1e-12)
    # Without a history in the document it is the header's.
    bare = replace(again, data=dict(again.data, us=replace(again.data["us"], history=None)))
    np.testing.assert_array_equal(bare.registrations.data["us"].r_M_d, header_pose(path))


def test_a_header_s_axes_stand_one_after_another_and_z_is_their_product(tmp_path):
    path = tmp_path / "a.mhd"
    path.write_text(
        "TransformMatrix = 0 1 0 -1 0 0 0 0 -1\nOffset = 1 2 3\nElementDataFile = a.raw\n", encoding="utf-8"
    )
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    np.testing.assert_array_equal(header_pose(path), expected)  # z as in the file would be a mirror
    path.write_text("TransformMatrix = 0 1 0 -1 1 0 0 0 1\nElementDataFile = a.raw\n", encoding="utf-8")
    with pytest.raises(FileError, match=r"a\.mhd line 1: the pose is not rigid"):
        header_pose(path)


def test_voxels_without_data_are_0_and_the_darkest_value_is_1(tmp_path, rng):
    patient, volumes, _ = made(rng)
    values = np.array([[[np.nan, 0.0, 3.6, 300.0]]])
    us = volume(values, volumes["us"].grid.pr_M_d)
    write_patient(patient, tmp_path / "a.cx3", volumes={"us": us})
    got = patient_volume(read_patient(tmp_path / "a.cx3"), "us", no_data=0)
    np.testing.assert_array_equal(got.values, [[[np.nan, 1, 4, 255]]])
    for wrong in (40_000.0, 0.5, np.inf):
        with pytest.raises(ValueError, match="16 bit"):
            write_patient(patient, tmp_path / "b.cx3", volumes={"us": volume([[[wrong]]], R_M_CT)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.cx3"]


def test_compressed_voxels_are_read(rng, tmp_path):
    patient, volumes, _ = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes)
    images = tmp_path / "a.cx3/Images"
    (images / "ct.zraw").write_bytes(zlib.compress((images / "ct.raw").read_bytes()))
    (images / "ct.raw").unlink()
    text = (images / "ct.mhd").read_text(encoding="utf-8").replace("ct.raw", "ct.zraw")
    (images / "ct.mhd").write_text(
        text.replace("CompressedData = False", "CompressedData = True"), encoding="utf-8"
    )
    got = patient_volume(read_patient(tmp_path / "a.cx3"), "ct")
    np.testing.assert_array_equal(got.values, volumes["ct"].values)


def test_a_patient_moves_with_its_files(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes, meshes=meshes)
    log = tmp_path / "a.cx3/Logs/toolpositions.snwpos"
    log.write_bytes(b"SNWPOS\x02")
    first = read_patient(tmp_path / "a.cx3")
    changed = registered_twice(first)
    with pytest.raises(ValueError, match="own folder"):
        write_patient(changed, tmp_path / "a.cx3/Logs/b.cx3")
    with pytest.raises(FileError, match="exists"):
        write_patient(changed, tmp_path / "a.cx3")
    assert write_patient(changed, tmp_path / "b.cx3") == ()
    assert (tmp_path / "b.cx3/Logs/toolpositions.snwpos").read_bytes() == b"SNWPOS\x02"
    assert write_patient(changed, tmp_path / "a.cx3", exists="replace") == ()
    for name in ("a.cx3", "b.cx3"):
        again = read_patient(tmp_path / name)
        assert same(again, changed)
        np.testing.assert_array_equal(patient_volume(again, "us").values, volumes["us"].values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cx3", "b.cx3"]


def test_what_fails_leaves_the_folder_that_was_and_nothing_else(rng, tmp_path, monkeypatch):
    patient, volumes, meshes = made(rng)
    write_patient(patient, tmp_path / "a.cx3", volumes=volumes, meshes=meshes)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    bad = Mesh(np.array([[np.nan, 0, 0]]))
    with pytest.raises(ValueError):
        write_patient(patient, tmp_path / "a.cx3", meshes={"line": bad}, exists="replace")
    moves = iter([True, False, True])
    replaced = Path.replace

    def stuck(self, target):
        if not next(moves):
            raise OSError("no room")
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", stuck)
    with pytest.raises(OSError, match="no room"):
        write_patient(patient, tmp_path / "a.cx3", exists="replace")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_contents_that_belong_to_no_data_are_refused(rng, tmp_path):
    patient, volumes, _ = made(rng)
    with pytest.raises(ValueError, match=r"ends in '\.cx'; expected .cx3"):
        write_patient(patient, tmp_path / "a.cx")
    with pytest.raises(ValueError, match="no image of the patient"):
        write_patient(patient, tmp_path / "a.cx3", volumes={"line": volumes["ct"]})
    for file in ("../ct.mhd", "/tmp/ct.mhd", "Images/ct.nrrd"):
        elsewhere = replace(patient, data=dict(patient.data, ct=replace(patient.data["ct"], file=file)))
        with pytest.raises(ValueError, match=r"expected such as Images/ct.mhd"):
            write_patient(elsewhere, tmp_path / "a.cx3", volumes={"ct": volumes["ct"]})
    with pytest.raises(ValueError, match="the session is"):
        write_patient(patient, tmp_path / "a.cx3", sweeps={"../x": None})
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there_are_told_and_never_sought_outside(rng, tmp_path):
    patient, volumes, meshes = made(rng)
    lost = write_patient(patient, tmp_path / "a.cx3", volumes={"ct": volumes["ct"]}, meshes=meshes)
    assert lost == ("us: the file 'Images/us.mhd' is not in the folder",)
    again = read_patient(tmp_path / "a.cx3")
    assert again.notes == lost
    with pytest.raises(FileError, match=r"us: the file 'Images/us.mhd' is not in the folder of a"):
        patient_volume(again, "us")
    with pytest.raises(FileError, match="no image or mesh 'm'; the patient has ct, line, us"):
        patient_volume(again, "m")
    (tmp_path / "secret.mhd").write_text("x", encoding="utf-8")
    outside = replace(again, data=dict(again.data, us=replace(again.data["us"], file="../secret.mhd")))
    with pytest.raises(FileError, match="is not in the folder"):
        patient_volume(outside, "us")
    with pytest.raises(FileError, match="expected a patient folder"):
        read_patient(tmp_path)


@pytest.mark.parametrize("layout", ["stack", "frames"])
def test_a_sweep_is_an_acquisition_of_the_patient(rng, tmp_path, layout):
    sweep = replace(hand_sweep(rng), name="11L")
    session = "Lab_1_20261124T123000"
    patient = Patient(sessions={session: Session("Lab", ((0.0, 5000.0),))})
    write_patient(patient, tmp_path / "a.cx3", sweeps={session: sweep}, layout=layout)
    assert problems(tmp_path / "a.cx3") == []
    again = read_patient(tmp_path / "a.cx3")
    assert list(patient_acquisitions(again)) == [session]
    got = read_acquisition(patient_acquisitions(again)[session])
    assert got.name == f"{session}_11L"
    np.testing.assert_array_equal(got.frames, sweep.frames[sweep.valid])
    np.testing.assert_allclose(got.pr_M_p, sweep.pr_M_p[sweep.valid], atol=1e-6)
