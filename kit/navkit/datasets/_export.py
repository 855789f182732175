"""Phantom cases as CustusX patients."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.datasets._patients import PATIENTS
from navkit.datasets._registry import load
from navkit.datasets._store import Arrays, DatasetError, Progress
from navkit.files._patient import (
    History,
    Landmark,
    LandmarkName,
    Mesh,
    Parent,
    Patient,
    PatientData,
    Registered,
    Session,
    write_patient,
)
from navkit.geometry import fit_rigid, inverse, pose_from, transform_points
from navkit.reconstruction import Grid, Volume
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]

DAY = "20261124"
"""All cases are of one day: the same export has the same bytes."""
IMPORTED, REGISTERED, SCANNED = (f"{DAY}T{time}" for time in ("120000", "121500", "123000"))
IMAGES = {"ct": ("CT", ""), "mr": ("MR", ""), "labels": ("CT", "segmentation")}


def export_patient(
    name: str,
    folder: str | Path,
    *,
    sweep: bool = False,
    layout: Literal["stack", "frames"] = "frames",
    learner: str | None = None,
    cohort: str | None = None,
    exists: Literal["refuse", "replace"] = "refuse",
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a phantom case as a CustusX patient folder.

    CT, MR and labels become images, the centrelines meshes (r is their space; "portal vein 7" is
    line 7 of "portal vein"), the landmarks of the anatomy
    point metrics. The fiducials are landmarks of the CT and, as touched in the room, of the patient;
    ``r_M_pr`` is registered from them. The true registration is left out.

    Parameters
    ----------
    name : a case, "neuro" or "neuro_case"
    folder : ends in ``.cx3``
    sweep : with the ultrasound sweep of the same patient, in US_Acq
    layout : of the sweep, see `navkit.files.write_acquisition`
    learner, cohort : whose case; see `load`
    exists : what to do with a folder that is there already

    Returns
    -------
    One sentence for each thing that found no place

    Raises
    ------
    DatasetError
        If the case is not known.
    FileError
        If the folder exists.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "orbit.cx3"
    >>> for told in export_patient("orbit", folder):
    ...     print(told)
    the names of 14 labels and 5 measures have no place in a patient folder
    the true registration is left out
    """
    kind, folder = name.removesuffix("_case"), Path(folder)
    if kind not in PATIENTS:
        raise DatasetError(f"no case {name!r}; there are {', '.join(PATIENTS)}.")
    case = load(f"{kind}_case", learner=learner, cohort=cohort)
    assert not isinstance(case, Sweep)
    patient = replace(_patient(case), active_patient=folder.name)
    sweeps: dict[str, Sweep] = {}
    if sweep:
        swept = load(f"{kind}_sweep", learner=learner, cohort=cohort, progress=progress)
        assert isinstance(swept, Sweep)
        session = f"{kind}_1_{SCANNED}"
        ms = np.round(1000.0 * swept.time_s[swept.valid][[0, -1]], 4)
        patient = replace(patient, sessions={session: Session(kind, ((float(ms[0]), float(ms[1])),))})
        sweeps[session] = replace(swept, name="US")
    lost = write_patient(
        patient,
        folder,
        volumes={_uid(key): _volume(case, key) for key in IMAGES},
        meshes={_mesh_uid(key): mesh for key, mesh in _meshes(case).items()},
        sweeps=sweeps,
        layout=layout,
        exists=exists,
    )
    n_labels, n_measures = len(case["label_names"]), len(case["measures"])
    return (
        *lost,
        f"the names of {n_labels} labels and {n_measures} measures have no place in a patient folder",
        "the true registration is left out",
    )


def _uid(key: str) -> str:
    return f"{key}_{IMPORTED}"


def _mesh_uid(name: str) -> str:
    return _uid(f"centreline_{name.replace(' ', '_')}")


def _volume(case: Arrays, key: str) -> Volume:
    values = case[key].astype(np.float32)
    nz, ny, nx = values.shape
    sx, sy, sz = case["spacing_mm"].tolist()
    grid = Grid((nz, ny, nx), (sx, sy, sz), pose_from(case["direction"], case["origin_r"]))
    return Volume(values, np.ones(values.shape, dtype=np.uint32), np.zeros(values.shape, dtype=bool), grid)


def _meshes(case: Arrays) -> dict[str, Mesh]:
    """The centrelines by name; those that are numbered make one mesh, in the order of their numbers."""
    lines = np.split(case["centrelines_r"], case["centreline_ends"][:-1])
    together: dict[str, list[Array]] = {}
    for name, line in zip(case["centreline_names"].tolist(), lines, strict=True):
        together.setdefault(re.sub(r" \d+$", "", name), []).append(line)
    return {name: _mesh(of_one) for name, of_one in together.items()}


def _mesh(lines: list[Array]) -> Mesh:
    ends = np.cumsum([len(line) for line in lines])
    return Mesh(np.concatenate(lines), tuple(np.split(np.arange(ends[-1]), ends[:-1])))


def _patient(case: Arrays) -> Patient:
    """What the document of a case says."""
    grid = _volume(case, "ct").grid
    ct, acquired = _uid("ct"), f"{IMPORTED}000"
    fiducials, touched = case["fiducials_r"], case["fiducials_pr"]
    r_M_pr = fit_rigid(touched, fiducials).matrix
    own = np.array_equal(fiducials, case["landmarks_r"])
    names = case["landmark_names"].tolist() if own else [f"fiducial {k + 1}" for k in range(len(fiducials))]
    data: dict[str, PatientData] = {}
    for key, (modality, kind) in IMAGES.items():
        uid = _uid(key)
        parents = () if uid == ct else (Parent(ct),)
        history = History((Registered(grid.pr_M_d),), parents)
        file = f"Images/{uid}.mhd"
        data[uid] = PatientData("image", key, file, history, acquired, modality, kind)
    data[ct] = replace(data[ct], landmarks_d=_landmarks(transform_points(inverse(grid.pr_M_d), fiducials)))
    for name in _meshes(case):
        uid = _mesh_uid(name)
        history = History((Registered(np.eye(4)),), (Parent(ct),))
        data[uid] = PatientData("mesh", name, f"Images/{uid}.vtk", history, acquired)
    for k, (target, point) in enumerate(
        zip(case["landmark_names"].tolist(), case["landmarks_r"], strict=True)
    ):
        attributes = {"space": "reference", "coord": " ".join(map(repr, point.tolist()))}
        data[f"target_{k}"] = PatientData("pointMetric", target, acquired=acquired, attributes=attributes)
    return Patient(
        version="navkit",
        r_M_pr=History((Registered(r_M_pr, REGISTERED, "Patient Landmarks", ct),)),
        landmark_names={str(k + 1): LandmarkName(one) for k, one in enumerate(names)},
        landmarks_pr=_landmarks(touched),
        data=data,
        center_r=np.round(transform_points(grid.pr_M_voxel(), (np.array(grid.shape[::-1]) - 1) / 2), 4),
        r_M_ot=np.eye(4),
        manual_tool=np.eye(4),
    )


def _landmarks(points: Array) -> Mapping[str, Landmark]:
    """By uids that count from 1, as CustusX's."""
    return {str(k + 1): Landmark(point, REGISTERED) for k, point in enumerate(points)}
