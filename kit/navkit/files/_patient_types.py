"""What a CustusX patient holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files._patient_history import History, Registered, continued, registrations_of
from navkit.files._patient_image import header_pose
from navkit.registration import Registrations

Array = NDArray[np.float64]

PLACED = ("image", "mesh")
"""Types of data that have a space of their own; metrics have none."""
NEW_PATIENT = b"""<?xml version='1.0' encoding='UTF-8'?>
<patient>
    <version_name/>
    <active_patient/>
    <managers>
        <stateManager>
            <recordSessions/>
        </stateManager>
        <datamanager>
            <registrationHistory>
                <currentTime/>
            </registrationHistory>
            <landmarkprops/>
            <landmarks/>
            <center>0 0 0</center>
        </datamanager>
        <toolManager>
            <toolTipOffset>0</toolTipOffset>
            <tools/>
        </toolManager>
        <registrationManager>
            <fixedDataUid/>
            <movingDataUid/>
        </registrationManager>
    </managers>
</patient>
"""


@dataclass(frozen=True)
class LandmarkName:
    name: str
    active: bool = True


@dataclass(frozen=True, eq=False)
class Landmark:
    """A landmark as it was pointed at: (3,) mm in the space of its owner."""

    point: Array
    timestamp: str = ""


@dataclass(frozen=True, eq=False)
class PatientData:
    """An image, a mesh or a metric.

    Parameters
    ----------
    type : "image", "mesh", "pointMetric", ... ; capitals as CustusX has them
    file : from the patient's folder, "" where there is none
    history : of ``r_M_d``; None where the file's own header places it
    acquired : ``yyyyMMddThhmmsszzz``
    landmarks_d : by uid, in the space of the data
    attributes : of a metric: ``space``, ``coord``, ``frame``, ``p0``, ... ; texts, as in the file
    """

    type: str
    name: str = ""
    file: str = ""
    history: History | None = None
    acquired: str = ""
    modality: str = ""
    image_type: str = ""
    landmarks_d: Mapping[str, Landmark] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """A recording: its category and the (start, stop) of its parts, ms since 1970."""

    category: str = ""
    intervals_ms: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Patient:
    """A CustusX patient: what its document says, and the folder where its files are.

    A changed one is ``dataclasses.replace(patient, center_r=...)``; where data and patient lie is changed by
    `with_registrations`.

    Parameters
    ----------
    version, active_patient : as CustusX wrote them
    r_M_pr : the history of the patient registration
    landmark_names : by uid, for the landmarks of the patient and of all data
    landmarks_pr : by uid, as touched on the patient
    data : by uid
    center_r : (3,) mm, where the views meet
    r_M_ot : (4, 4) the operating table
    manual_tool : (4, 4) the tool that the mouse moves, prMt; None where the document has none
    tool_offset_mm : along the tool's z axis; None where the document has none
    tools : the attributes of each
    sessions : recordings by uid
    folder : None for a document alone
    document : its bytes as read, so that writing changes only what changed
    notes : what looks wrong or is missing

    Examples
    --------
    >>> Patient(landmark_names={"1": LandmarkName("nose")}).registrations.r_M_pr[:3, 3]
    array([0., 0., 0.])
    """

    version: str = ""
    active_patient: str = ""
    r_M_pr: History = field(default_factory=History)
    landmark_names: Mapping[str, LandmarkName] = field(default_factory=dict)
    landmarks_pr: Mapping[str, Landmark] = field(default_factory=dict)
    data: Mapping[str, PatientData] = field(default_factory=dict)
    center_r: Array | None = field(default_factory=lambda: np.zeros(3))
    r_M_ot: Array | None = None
    manual_tool: Array | None = None
    tool_offset_mm: float | None = 0.0
    tools: tuple[Mapping[str, str], ...] = ()
    sessions: Mapping[str, Session] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)
    document: bytes = field(default=NEW_PATIENT, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The folder's name, else that of the active patient, without ``.cx3``."""
        named = self.folder.name if self.folder else re.split(r"[/\\]", self.active_patient)[-1]
        return named.removesuffix(".cx3")

    @property
    def registrations(self) -> Registrations:
        """Where patient and data lie now, and how this came about, as CustusX takes it.

        Times are whole seconds since 1970 of an unknown zone. What has no time, or stands in the header of an
        image only, is the start. ``history`` goes up to each history's current time.
        """
        return registrations_of(self.r_M_pr, _histories(self))


def with_registrations(patient: Patient, now: Registrations) -> Patient:
    """The patient with new registrations, or an old state (``registrations.at(time)``), entered.

    Nothing of the histories is lost: a change is appended to those that it moves, a way back sets their
    current time.

    Raises
    ------
    ValueError
        If `now` does not continue ``patient.registrations``, or is of other data.

    Examples
    --------
    >>> from navkit.registration import register_to_patient
    >>> patient, r_M_pr = Patient(), np.eye(4)
    >>> r_M_pr[0, 3] = 12.0
    >>> now = register_to_patient(patient.registrations, r_M_pr, time_s=60.0, method="Patient Landmarks")
    >>> with_registrations(patient, now).r_M_pr.entries[-1].timestamp
    '19700101T000100'
    """
    r_M_pr, histories = continued(patient.r_M_pr, _histories(patient), now)
    data = {
        uid: replace(one, history=histories[uid]) if uid in histories else one
        for uid, one in patient.data.items()
    }
    return replace(patient, r_M_pr=r_M_pr, data=data)


def _histories(patient: Patient) -> dict[str, History]:
    """The histories of all that has a place; of what has none, the pose in its file's header."""
    found = {}
    for uid, one in patient.data.items():
        if one.history is not None:
            found[uid] = one.history
        elif one.type in PLACED:
            path = safe_file(patient.folder, one.file) if patient.folder else None
            header = path is not None and path.suffix == ".mhd"
            found[uid] = History((Registered(header_pose(path)),) if path and header else ())
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two values of this module hold the same, arrays to the bit."""
    return bool(_plain(a) == _plain(b))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return type(value), [_plain(getattr(value, f.name)) for f in fields(value) if f.compare]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return None if value != value else value  # a recording that has not stopped


def safe_file(folder: Path, file: str) -> Path | None:
    """The path of a file that lies in the folder; None for one that does not."""
    path = folder / file
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        return path if file and inside and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        return None
