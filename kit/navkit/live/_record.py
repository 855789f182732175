"""What came over the wire, kept: poses and pictures by their stamps, as a sweep or a CustusX acquisition."""

import tempfile
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from weakref import finalize

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.files import write_acquisition
from navkit.files._pixels import gathered
from navkit.geometry import check_poses, inverse
from navkit.live._events import Event, Pose, Status
from navkit.tracking import PoseStream, gaps
from navkit.ultrasound import ProbeSector, Sweep, track_frames

Array = NDArray[np.float64]

OK, SHUT_DOWN = 1, 19
"""OpenIGTLink's codes of a status that is no trouble."""
MAX_GAP_S = 0.25
SAME_S = 1e-6
"""Stamps nearer than this are one: what is written keeps tenths of microseconds."""
SPACING_TOLERANCE_MM = 1e-3
RIGID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Recording:
    """A stretch of a stream, in the order of its stamps.

    Parameters
    ----------
    poses : device name -> its matrices as sent, not valid where it was hidden
    frames : (n, h, w) uint8, read-only, in a temporary file that is gone with the array
    frame_s : (n,) s, increasing, the pictures' stamps
    spacing_mm : (x, y) of a pixel, as the last picture said
    picture : device name of the pictures; "" if none came
    statuses : what the server said
    notes : what was lost, hidden, late or left out, a sentence each
    """

    poses: Mapping[str, PoseStream]
    frames: NDArray[np.uint8]
    frame_s: Array
    spacing_mm: tuple[float, float]
    picture: str
    statuses: tuple[Status, ...]
    notes: tuple[str, ...]

    def tracking(self, probe: str = "ProbeToTracker", *, reference: str | None = None) -> PoseStream:
        """The tool ``pr_M_s``: as it came, or relative to a reference that came beside it.

        Parameters
        ----------
        probe : device name of the tool
        reference : device name of the reference ``tr_M_pr``; if None, "ReferenceToTracker" where that came
            and the tool's name ends in ``ToTracker``. A tool is hidden where its reference is

        Raises
        ------
        ValueError
            If a device did not come; the sentence names those that did.
        """
        if reference is None and probe.endswith("ToTracker") and "ReferenceToTracker" in self.poses:
            reference = "ReferenceToTracker"
        for name in filter(None, (probe, reference)):
            if name not in self.poses:
                raise ValueError(f"no pose of {name!r} came; there are {', '.join(self.poses) or 'none'}.")
        tool = self.poses[probe]
        if reference is None:
            return tool
        base, pose = self.poses[reference], np.full(tool.pose.shape, np.nan)
        seen = np.zeros(len(tool), dtype=bool)
        if base.valid.sum() > 1:
            tr_M_pr, seen = base.at(tool.time_s, max_gap_s=MAX_GAP_S)
            seen &= tool.valid
            pose[seen] = inverse(tr_M_pr[seen]) @ tool.pose[seen]
        return PoseStream(tool.time_s, pose, seen, probe)

    def sweep(
        self,
        sector: ProbeSector,
        *,
        probe: str = "ProbeToTracker",
        reference: str | None = None,
        s_M_t: ArrayLike | None = None,
        image_latency_s: float = 0.0,
        name: str = "recording",
    ) -> Sweep:
        """The pictures where they were in the patient reference.

        Parameters
        ----------
        sector : of the probe; its spacing holds, and ``notes`` tell if the pictures say another
        probe, reference : see `tracking`
        s_M_t : (4, 4) rigid, the probe's calibration; identity unless given, for a probe sent as ``t``
        image_latency_s : how late the pictures are stamped; taken off
        name : of the sweep

        Returns
        -------
        Sweep
            Poses are interpolated at the pictures' times; a picture without tracking within 250 ms on both
            sides is not valid.
        """
        if not len(self.frames):
            raise ValueError("no picture came; expected some to place. Does the server send an IMAGE?")
        stream = self.tracking(probe, reference=reference)
        placed = track_frames(
            self.frames, self.frame_s, stream, sector,
            s_M_t=s_M_t, latency_s=image_latency_s, max_gap_s=MAX_GAP_S, name=name,
        )  # fmt: skip
        notes = self.notes + placed.notes
        if not np.allclose(self.spacing_mm, sector.spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
            told, used = ("{:g} x {:g} mm".format(*s) for s in (self.spacing_mm, sector.spacing_mm))
            notes += (f"the pictures say that a pixel is {told}; the sector's {used} are used",)
        return replace(placed, notes=notes)

    def write(
        self,
        folder: str | Path,
        sector: ProbeSector,
        *,
        probe: str = "ProbeToTracker",
        reference: str | None = None,
        s_M_t: ArrayLike | None = None,
        image_latency_s: float = 0.0,
        name: str = "recording",
        layout: Literal["stack", "frames"] = "stack",
    ) -> Sweep:
        """Write a CustusX acquisition: every picture, and every sample of the probe that was seen.

        ``.tp`` holds ``pr_M_t`` at the samples' own times and ``.fts`` the pictures' times without
        `image_latency_s`, as CustusX stores them. See `sweep` for the parameters; its sweep is returned.
        """
        sweep = self.sweep(
            sector, probe=probe, reference=reference, s_M_t=s_M_t, image_latency_s=image_latency_s, name=name
        )
        stream, calibration = self.tracking(probe, reference=reference), np.eye(4)
        if s_M_t is not None:
            calibration = check_poses(np.asarray(s_M_t, dtype=float)[None], "s_M_t")[0]
        write_acquisition(
            sweep, folder, layout=layout, tracking=replace(stream, pose=stream.pose @ calibration)
        )
        return sweep


class Recorder:
    """Takes events one by one, in whatever order they come; pictures go to a temporary file at once.

    Parameters
    ----------
    picture : device name of the pictures to keep; those of the first that comes unless given

    Examples
    --------
    >>> recorder = Recorder()
    >>> for time_s in (2.0, 1.0, 2.0):
    ...     recorder.take(Pose("ProbeToTracker", time_s, np.eye(4)))
    >>> made = recorder.recording()
    >>> made.poses["ProbeToTracker"].time_s, made.notes
    (array([1., 2.]), ('ProbeToTracker: 1 sample came late', 'ProbeToTracker: 1 sample came again'))
    """

    def __init__(self, *, picture: str | None = None) -> None:
        self.picture = picture
        self._poses: dict[str, array[float]] = {}  # time and 16 numbers each
        self._statuses: list[Status] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the recorder
        finalize(self, self._file.close)
        self._frame_s = array("d")
        self._shape: tuple[int, ...] = (0, 0)
        self._spacing_mm = (1.0, 1.0)
        self._misfits = 0

    def take(self, event: Event) -> None:
        """Keep an event."""
        if isinstance(event, Pose):
            matrix = np.full((4, 4), np.nan) if event.matrix is None else event.matrix
            self._poses.setdefault(event.name, array("d")).extend((event.time_s, *np.ravel(matrix)))
        elif isinstance(event, Status):
            self._statuses.append(event)
        elif self.picture in (None, event.name):
            if not self._frame_s:
                self.picture, self._shape = event.name, event.pixels.shape
            if event.pixels.shape != self._shape:
                self._misfits += 1
                return
            self._file.write(np.ascontiguousarray(event.pixels, dtype=np.uint8).data)
            self._frame_s.append(event.time_s)
            self._spacing_mm = event.spacing_mm

    def recording(self) -> Recording:
        """What was taken until now."""
        poses, notes = {}, []
        for name, numbers in self._poses.items():
            poses[name], told = _stream(name, np.array(numbers).reshape(-1, 17))
            notes += told
        frame_s = np.array(self._frame_s)
        order, told = _order(self.picture or "", frame_s, "picture")
        notes += told + _missing(self.picture or "", frame_s[order])
        if self._misfits:
            notes.append(f"{self.picture}: {self._misfits} pictures of another size than the first left out")
        bad = [s.text for s in self._statuses if s.code not in (OK, SHUT_DOWN)]
        notes += [f"the server said: {text}" for text in bad[:5]]
        notes += [f"and {len(bad) - 5} more such words"] * (len(bad) > 5)
        return Recording(
            poses,
            self._frames(order),
            frame_s[order],
            self._spacing_mm,
            (self.picture or "") if self._frame_s else "",
            tuple(self._statuses),
            tuple(notes),
        )

    def _frames(self, order: NDArray[np.intp]) -> NDArray[np.uint8]:
        if not len(order):
            return np.zeros((0, *self._shape), dtype=np.uint8)
        self._file.flush()
        stored = np.memmap(self._file, np.uint8, "r", shape=(len(self._frame_s), *self._shape))
        if np.array_equal(order, np.arange(len(stored))):
            return stored
        return gathered(
            (stored[k : k + 1] for k in order), (len(order), *self._shape), np.uint8, on_disk=True
        )


def record(
    arrivals: Iterable[tuple[float, Event]], *, seconds: float | None = None, picture: str | None = None
) -> Recording:
    """Record a stream until it ends or says that it does, or for some `seconds` of its stamps.

    Parameters
    ----------
    arrivals : pairs of time and event: a client of either kind, or `room_events`; the times are not used
    seconds : how long
    picture : see `Recorder`

    Examples
    --------
    >>> record([(0.0, Status("Room", 1.7e9, 1, "hello"))]).statuses[0].text
    'hello'
    """
    recorder, first_s = Recorder(picture=picture), None
    for _, event in arrivals:
        first_s = event.time_s if first_s is None else first_s
        if seconds is not None and event.time_s - first_s > seconds:
            break
        recorder.take(event)
        if isinstance(event, Status) and event.code == SHUT_DOWN:
            break
    return recorder.recording()


def _order(name: str, stamp_s: Array, what: str) -> tuple[NDArray[np.intp], list[str]]:
    """Which items to keep, by increasing stamp; of those with one stamp the first that came."""
    order = np.argsort(stamp_s, kind="stable")
    late = int((stamp_s < np.maximum.accumulate(stamp_s)).sum()) if len(stamp_s) else 0
    fresh = np.diff(stamp_s[order], prepend=-np.inf) > SAME_S
    again = int((~fresh).sum())
    told = [(late, "late"), (again, "again")]
    return order[fresh], [f"{name}: {n} {what}{'s' * (n > 1)} came {how}" for n, how in told if n]


def _stream(name: str, numbers: Array) -> tuple[PoseStream, list[str]]:
    order, notes = _order(name, numbers[:, 0], "sample")
    time, pose = numbers[order, 0], numbers[order, 1:].reshape(-1, 4, 4)
    sent = np.asarray(np.isfinite(pose).all(axis=(1, 2)))
    turn = np.where(sent[:, None, None], pose, np.eye(4))[:, :3, :3]
    off = np.abs(turn @ np.swapaxes(turn, 1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    rigid = np.asarray((off <= RIGID_TOLERANCE) & (np.linalg.det(turn) > 0))
    pose[~rigid] = np.nan
    stream = PoseStream(time, pose, sent & rigid, name)
    if not sent.all():
        wide = np.diff(gaps(stream, max_gap_s=MAX_GAP_S), axis=1)
        longest = f", at most {wide.max():.2f} s on end" if wide.size else ""
        notes.append(f"{name}: hidden in {(~sent).sum()} of {len(sent)} samples{longest}")
    if not rigid.all():
        notes.append(f"{name}: {(~rigid).sum()} of {len(rigid)} matrices are not rigid and are left out")
    return stream, notes


def _missing(name: str, frame_s: Array) -> list[str]:
    """A sentence on pictures that seem to be lost: by steps of more than one and a half of the usual."""
    step = np.diff(frame_s)
    usual = float(np.median(step)) if step.size else 0.0
    wide = step[step > 1.5 * usual]
    if not wide.size:
        return []
    lost = int(np.round(wide / usual - 1).sum())
    return [
        f"{name}: about {lost} pictures are missing, at {wide.size} places; the longest is {wide.max():.2f} s"
    ]
