"""Phantom cases as CustusX patients: the rules accept every one, and it comes back equal."""

import numpy as np
import pytest
from cx3_rules import problems
from scipy.spatial.transform import Rotation

from navkit.datasets import DatasetError, export_patient, info, load, names
from navkit.files import (
    FileError,
    patient_acquisitions,
    patient_mesh,
    patient_volume,
    read_acquisition,
    read_patient,
)
from navkit.geometry import transform_points

CASES = [name for name in names("arrays") if name.endswith("_case")]


def check_case(patient, case):
    """Every number of a case that a patient holds; positions within 1e-9 mm."""
    data = {one.name: uid for uid, one in patient.data.items()}
    now = patient.registrations
    for key in ("ct", "mr", "labels"):
        volume = patient_volume(patient, data[key])
        np.testing.assert_array_equal(volume.values, case[key])
        assert volume.grid.spacing_mm == tuple(case["spacing_mm"])
        np.testing.assert_array_equal(volume.grid.pr_M_d[:3, 3], case["origin_r"])
        np.testing.assert_allclose(volume.grid.pr_M_d[:3, :3], case["direction"], rtol=0, atol=1e-12)
    found = {}
    for uid in (uid for uid, one in patient.data.items() if one.type == "mesh"):
        name, mesh = patient.data[uid].name, patient_mesh(patient, uid)
        many = len(mesh.lines) > 1
        found |= {f"{name} {k + 1}" if many else name: mesh.points_d[i] for k, i in enumerate(mesh.lines)}
        np.testing.assert_array_equal(now.data[uid].r_M_d, np.eye(4))
        assert now.data[uid].parent == data["ct"]
    lines = np.split(case["centrelines_r"], case["centreline_ends"][:-1])
    assert list(found) == case["centreline_names"].tolist()
    for got, line in zip(found.values(), lines, strict=True):
        np.testing.assert_array_equal(got, line)
    targets = [one for one in patient.data.values() if one.type == "pointMetric"]
    assert [one.name for one in targets] == case["landmark_names"].tolist()
    coords = [[float(word) for word in one.attributes["coord"].split()] for one in targets]
    np.testing.assert_array_equal(coords, case["landmarks_r"])
    touched = np.array([one.point for one in patient.landmarks_pr.values()])
    np.testing.assert_array_equal(touched, case["fiducials_pr"])
    marked_d = np.array([one.point for one in patient.data[data["ct"]].landmarks_d.values()])
    marked_r = transform_points(now.data[data["ct"]].r_M_d, marked_d)
    np.testing.assert_allclose(marked_r, case["fiducials_r"], rtol=0, atol=1e-9)
    assert patient.landmark_names.keys() == patient.landmarks_pr.keys()
    # Registered from the fiducials, by scipy's own solution, and not further off the truth than they allow.
    a, b = (points - points.mean(axis=0) for points in (touched, marked_r))
    turn = Rotation.align_vectors(b, a)[0].as_matrix()
    np.testing.assert_allclose(now.r_M_pr[:3, :3], turn, rtol=0, atol=1e-9)
    left = transform_points(now.r_M_pr, touched) - marked_r
    np.testing.assert_allclose(left.mean(axis=0), 0, atol=1e-9)
    assert np.sqrt((left**2).sum(axis=1).mean()) < 1.5
    assert not np.allclose(now.r_M_pr @ case["pr_M_r_true"], np.eye(4), atol=1e-4)  # the truth is not told


@pytest.mark.parametrize("name", CASES)
def test_every_case_passes_the_rules_and_comes_back_equal(name, tmp_path):
    folder = tmp_path / f"{name}.cx3"
    told = export_patient(name, folder)
    assert len(told) == 2
    assert problems(folder) == []
    patient = read_patient(folder)
    assert patient.notes == ()
    check_case(patient, load(name))


def test_there_is_a_case_of_every_patient():
    assert len(CASES) == 6


def test_a_patient_comes_with_its_sweep(tmp_path):
    smallest = min(
        (n for n in names("acquisition") if f"{n[:-6]}_case" in CASES), key=lambda n: info(n).bytes
    )
    if info(smallest).path is None:
        pytest.skip(f"{smallest} is not made here")
    kind = smallest.removesuffix("_sweep")
    export_patient(kind, tmp_path / "a.cx3", sweep=True)
    assert problems(tmp_path / "a.cx3") == []
    patient, sweep = read_patient(tmp_path / "a.cx3"), load(smallest)
    ((session, path),) = patient_acquisitions(patient).items()
    got = read_acquisition(path)
    np.testing.assert_array_equal(got.frames, sweep.frames[sweep.valid])
    np.testing.assert_allclose(got.time_s, sweep.time_s[sweep.valid], rtol=0, atol=1e-7)
    np.testing.assert_allclose(got.pr_M_p, sweep.pr_M_p[sweep.valid], rtol=0, atol=1e-6)
    assert got.sector == sweep.sector
    (start, stop), = patient.sessions[session].intervals_ms  # fmt: skip
    assert (start, stop) == pytest.approx((1000 * got.time_s[0], 1000 * got.time_s[-1]), abs=1e-3)


def test_the_same_export_has_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        export_patient("orbit", tmp_path / name / "orbit.cx3")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_unknown_case_and_a_folder_that_exists_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no case 'heart'; there are neuro"):
        export_patient("heart", tmp_path / "a.cx3")
    with pytest.raises(DatasetError, match="both or none"):
        export_patient("orbit", tmp_path / "a.cx3", learner="ada")
    assert list(tmp_path.iterdir()) == []
    export_patient("orbit", tmp_path / "a.cx3")
    with pytest.raises(FileError, match="exists"):
        export_patient("orbit", tmp_path / "a.cx3")
    export_patient("airway", tmp_path / "a.cx3", exists="replace")
    assert any(one.name == "trachea" for one in read_patient(tmp_path / "a.cx3").data.values())
