"""CustusX patient folders, ``.cx3``: read, changed and written, unknown elements kept."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from navkit.files._custusx import write_acquisition
from navkit.files._errors import FileError
from navkit.files._patient_document import document, patient_of
from navkit.files._patient_history import History, Parent, Registered
from navkit.files._patient_image import header_pose, read_image, write_image
from navkit.files._patient_mesh import Mesh, mesh_text, read_mesh, write_mesh
from navkit.files._patient_types import (
    PLACED,
    Landmark,
    LandmarkName,
    Patient,
    PatientData,
    Session,
    safe_file,
    same,
    with_registrations,
)
from navkit.reconstruction import Volume
from navkit.ultrasound import Sweep

__all__ = [
    "History",
    "Landmark",
    "LandmarkName",
    "Mesh",
    "Parent",
    "Patient",
    "PatientData",
    "Registered",
    "Session",
    "document",
    "header_pose",
    "patient_acquisitions",
    "patient_mesh",
    "patient_volume",
    "read_mesh",
    "read_patient",
    "same",
    "with_registrations",
    "write_mesh",
    "write_patient",
]

DOCUMENT = "custusdoc.xml"
FOLDERS = ("Images", "US_Acq", "Logs")
MOST_BYTES = 20_000_000


def read_patient(path: str | Path) -> Patient:
    """Read a CustusX patient: a ``.cx3`` folder, or its document alone. No pixel is read yet.

    Files that data name and that are not there are in ``notes``. A document whose name is not
    ``custusdoc.xml`` has no folder.

    Raises
    ------
    FileError
        Not well-formed, not a patient's, or numbers, poses or parents that cannot be trusted; the sentence
        names file and line.
    """
    path = Path(path)
    file = path / DOCUMENT if path.is_dir() else path
    if not file.is_file():
        raise FileError(f"{file} is not a file; expected a patient folder with {DOCUMENT}, or a document.")
    if file.stat().st_size > MOST_BYTES:
        raise FileError(f"{file.name} has {file.stat().st_size} bytes; expected at most {MOST_BYTES}.")
    patient = patient_of(file.name, file.read_bytes())
    folder = file.parent if file.name == DOCUMENT else None
    patient = replace(patient, folder=folder)
    try:
        patient.registrations  # noqa: B018 to be refused now
    except ValueError as reason:
        raise FileError(f"{file.name}: {reason}") from None
    return replace(patient, notes=(*patient.notes, *missing_files(patient)))


def missing_files(patient: Patient) -> tuple[str, ...]:
    """One sentence for each file that data name and that does not lie in the patient's folder."""
    if patient.folder is None:
        return ("the document stands alone: there are no images, meshes and acquisitions",)
    named = {uid: one.file for uid, one in patient.data.items() if one.file or one.type in PLACED}
    return tuple(
        f"{uid}: the file {file!r} is not in the folder"
        for uid, file in named.items()
        if safe_file(patient.folder, file) is None
    )


def patient_volume(patient: Patient, uid: str, *, no_data: float | None = None) -> Volume:
    """The voxels of an image, read now; ``grid.pr_M_d`` is its ``r_M_d`` of the document.

    The space d begins at the middle of the first voxel, its axes along columns, rows and slices; landmarks of
    the image are in it. The pose in the image's own header does not count, as in CustusX.

    Parameters
    ----------
    no_data : the value that becomes NaN (of CustusX's ultrasound volumes: 0)

    Raises
    ------
    FileError
        If there is no such image, or its file is missing or damaged.
    """
    return read_image(_file_of(patient, uid), patient.registrations.data[uid].r_M_d, no_data=no_data)


def patient_mesh(patient: Patient, uid: str) -> Mesh:
    """The points of a mesh in its own space d, with lines and triangles; see `Patient.registrations`."""
    return read_mesh(_file_of(patient, uid))


def _file_of(patient: Patient, uid: str) -> Path:
    if uid not in patient.data or patient.data[uid].type not in PLACED:
        known = [key for key, one in patient.data.items() if one.type in PLACED]
        raise FileError(f"no image or mesh {uid!r}; the patient has {', '.join(sorted(known)) or 'none'}.")
    file = patient.data[uid].file
    path = None if patient.folder is None else safe_file(patient.folder, file)
    if path is None:
        raise FileError(f"{uid}: the file {file!r} is not in the folder of {patient.name or 'the document'}.")
    return path


def patient_acquisitions(patient: Patient) -> dict[str, Path]:
    """The folders of the recordings that the patient has, by session; `read_acquisition` reads one."""
    group = None if patient.folder is None else patient.folder / "US_Acq"
    found = sorted(group.iterdir()) if group is not None and group.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and any(path.glob("*.fts"))}


def write_patient(
    patient: Patient,
    folder: str | Path,
    *,
    volumes: Mapping[str, Volume] | None = None,
    meshes: Mapping[str, Mesh] | None = None,
    sweeps: Mapping[str, Sweep] | None = None,
    layout: Literal["stack", "frames"] = "frames",
    exists: Literal["refuse", "replace"] = "refuse",
) -> tuple[str, ...]:
    """Write a patient folder, whole or not at all: its document, Images, US_Acq and Logs.

    The files of the folder that the patient came from are copied. Images are placed by
    ``patient.registrations``, not by their volume's grid.

    Parameters
    ----------
    folder : ends in ``.cx3``
    volumes, meshes : by uid of the data whose ``file`` they become; see `write_image` for what fits
    sweeps : by session, the name of their folder below US_Acq
    layout : of the sweeps, see `write_acquisition`
    exists : what to do with a folder that is there already

    Returns
    -------
    One sentence for each file that data name and that is not there

    Raises
    ------
    FileError
        If the folder exists.
    ValueError
        If the patient cannot be written, or contents belong to no data.
    """
    folder = Path(folder)
    volumes, meshes, sweeps = volumes or {}, meshes or {}, sweeps or {}
    if folder.suffix != ".cx3":
        raise ValueError(
            f"{folder.name} ends in {folder.suffix!r}; expected .cx3, by which CustusX knows it."
        )
    if folder.exists() and exists != "replace":
        raise FileError(f"{folder} exists; expected a new folder. exists='replace' replaces it.")
    source = patient.folder
    if source is not None and source.resolve() in folder.resolve().parents:
        raise ValueError(f"{folder} lies in the patient's own folder; expected one beside it.")
    text = document(patient)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = temporary / folder.name
        if source is not None:
            shutil.copytree(source, new, symlinks=True, ignore_dangling_symlinks=True)
        for name in FOLDERS:
            (new / name).mkdir(parents=True, exist_ok=True)
        (new / DOCUMENT).write_bytes(text)
        _write_contents(patient, new, volumes, meshes)
        for session, sweep in sweeps.items():
            _check_name(session)
            named = replace(sweep, name=f"{session}_{sweep.name or 'US'}")
            write_acquisition(named, new / "US_Acq" / session, layout=layout)
        written = replace(patient, folder=new, document=text)
        lost = missing_files(written)
        if folder.exists():
            folder.replace(temporary / "old")
        try:
            new.replace(folder)
        except OSError:
            if (temporary / "old").exists():
                (temporary / "old").replace(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return lost


def _write_contents(
    patient: Patient, new: Path, volumes: Mapping[str, Volume], meshes: Mapping[str, Mesh]
) -> None:
    placed = patient.registrations.data
    for kind, ending, contents in (("image", ".mhd", volumes), ("mesh", ".vtk", meshes)):
        for uid in contents:
            one = patient.data.get(uid)
            if one is None or one.type != kind:
                raise ValueError(f"contents for {uid!r}, which is no {kind} of the patient.")
            inside = (new / one.file).resolve().is_relative_to(new.resolve())
            if not one.file.endswith(ending) or not inside or Path(one.file).is_absolute():
                raise ValueError(f"the file of {uid} is {one.file!r}; expected such as Images/{uid}{ending}.")
            (new / one.file).parent.mkdir(parents=True, exist_ok=True)
    for uid, volume in volumes.items():
        one = patient.data[uid]
        pose, path = placed[uid].r_M_d, new / one.file
        write_image(volume, pose, path, modality=one.modality, image_type=one.image_type)
    for uid, mesh in meshes.items():
        (new / patient.data[uid].file).write_bytes(mesh_text(mesh))


def _check_name(session: str) -> None:
    if not session or set(session) & set('/\\:*?"<>|') or session in (".", ".."):
        raise ValueError(f"the session is {session!r}; expected a name such as Aorta_01_20170929T100700.")
