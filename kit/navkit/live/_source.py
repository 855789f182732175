"""What a room sends: a sweep's pictures, and the probe, a pointer and the patient reference as they move.

Spaces, CustusX's letters: ``tr`` tracker, ``pr`` patient reference, ``s`` a tool's sensor, ``t`` the probe's
tool space, ``p`` pixels, ``v`` the picture in mm from the middle of its upper left pixel. Device names
say what is sent, as PLUS and CustusX read them:

==========================  =======================================================================
device                      matrix
==========================  =======================================================================
ReferenceToTracker          ``tr_M_pr``
ProbeToTracker, Pointer..   ``tr_M_s = tr_M_pr @ pr_M_t @ inverse(s_M_t)``, for CustusX with
                            ``openigtlinkApplyRefToTools="yes"``
ProbeToReference, Stylus..  ``pr_M_s = inverse(tr_M_pr) @ tr_M_s``, both as measured: the reference is
                            applied before sending
Image_Tracker               the picture, with ``tr_M_v`` from the probe's pose at the picture's own stamp
Image_Reference             the same with ``pr_M_v``
==========================  =======================================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import count
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses, inverse, orthonormalised
from navkit.live._events import Event, Picture, Pose, Status
from navkit.live._faults import Faults
from navkit.live._motions import Motion, folded
from navkit.live._names import NAMES, Names
from navkit.tracking import PoseStream
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Due = tuple[float, Event]

OK, NOT_FOUND, SHUT_DOWN = 1, 4, 19
"""OpenIGTLink's status codes for what happens here."""
MAX_GAP_S = 0.25
ROUNDING_S = 1e-9


def tracking_of(sweep: Sweep) -> PoseStream:
    """The probe's ``pr_M_t`` that a sweep tells: a sample for each frame, not valid where that is not.

    The nearest rigid one: PLUS's calibrations may have a shear, which no pose of a tool can carry.
    """
    pr_M_p, pose = sweep.pr_M_p[sweep.valid], np.full(sweep.pr_M_p.shape, np.nan)
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (pr_M_p[:, :3, 0], pr_M_p[:, :3, 1]))
    pr_M_p[:, :3, 2] = np.cross(x, y)  # PLUS's third axis has a length of its own
    pose[sweep.valid] = orthonormalised(pr_M_p @ inverse(sweep.sector.t_M_p()))
    return PoseStream(sweep.time_s, pose, sweep.valid, sweep.name)


def room_events(
    sweep: Sweep,
    *,
    start_s: float,
    tracking: PoseStream | None = None,
    tracking_hz: float | None = None,
    frame_hz: float | None = None,
    speed: float = 1.0,
    loop: bool = False,
    reference: Motion | None = None,
    pointer: Motion | None = None,
    s_M_t: ArrayLike | None = None,
    names: Names = NAMES["custusx"],
    image_latency_s: float = 0.0,
    delay_s: float = 0.0,
    faults: Faults | None = None,
) -> Iterator[Due]:
    """What is sent and when, in that order.

    Something that happens t seconds after the start:

    ==================  =======================================  =====================================
    what                stamp, the event's `time_s`              due, when it leaves
    ==================  =======================================  =====================================
    pose                ``start_s + t``                          stamp ``+ delay_s``
    picture             ``start_s + t + image_latency_s``        that stamp ``+ delay_s``
    ==================  =======================================  =====================================

    So `image_latency_s` is a frame grabber's: pictures lag behind the poses of the same stamp, and temporal
    calibration finds by how much (`navkit.calibration.estimate_delay`). `delay_s` is the network's, and
    nothing in the stamps tells of it.

    Parameters
    ----------
    sweep : its frames, its sector, and its poses unless `tracking` is given
    start_s : when it starts, seconds since 1970
    tracking : the probe's ``pr_M_t`` as recorded, on the clock of the sweep; see `navkit.files.read_tracking`
    tracking_hz : poses per second, interpolated; the samples as they were recorded unless given
    frame_hz : pictures per second, each the frame nearest in time, so that frames repeat or are left out; the
        frames as they were recorded unless given
    speed : how much faster than recorded the hand moves
    loop : run forward and back for ever, without a jump; otherwise once
    reference : ``tr_M_pr`` over seconds since the start, such as `patient`; without it none is sent, and the
        tracker's space is the patient reference
    pointer : ``pr_M_s`` over seconds since the start, such as `pointer_tour`; without it none is sent
    s_M_t : (4, 4) rigid, the probe's calibration; identity unless given: then the probe's sensor is ``t``
    names : of the devices. Where the probe's ends in ``ToReference``, tools are sent relative to the
        reference; while it is hidden, they are
    image_latency_s : how late pictures are stamped, 0 or more
    delay_s : how late everything is sent
    faults : see `Faults`; every lap of a loop draws anew

    Returns
    -------
    Pairs (due_s, event), by due_s: a `Status` at the start, where a tool hides or comes back, and at the end.

    Raises
    ------
    ValueError
        If a rate or the speed is not above 0, a latency is below 0, there is nothing to show, or a fault is
        of a tool that is not sent; on the way, if a fault changes the number of samples.
    """
    for name, value in (("tracking_hz", tracking_hz), ("frame_hz", frame_hz), ("speed", speed)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}; expected a number above 0.")
    if not (image_latency_s >= 0 and delay_s >= 0):
        raise ValueError(f"image_latency_s is {image_latency_s}, delay_s {delay_s}; expected 0 or more.")
    if not (np.isfinite(sweep.time_s).all() and (np.diff(sweep.time_s) > 0).all()):
        raise ValueError(
            "the sweep's times do not increase; expected a time for each frame, later than the last."
        )
    faults = faults or Faults()
    for tool, motion in (("reference", reference), ("pointer", pointer)):
        if motion is None and faults.tools.get(tool):
            raise ValueError(f"a fault of the {tool} is asked for, but no {tool}; expected one to be spoilt.")
    probe = tracking_of(sweep) if tracking is None else tracking
    if probe.valid.sum() < 2:
        raise ValueError(f"{probe.valid.sum()} poses of the probe are valid; expected at least 2.")
    calibration = np.eye(4) if s_M_t is None else check_poses(np.asarray(s_M_t, float)[None], "s_M_t")[0]
    first_s = min(probe.time_s[0], sweep.time_s[0])
    span_s = (max(probe.time_s[-1], sweep.time_s[-1]) - first_s) / speed
    tape = _Tape(float(first_s), float(span_s), speed, loop)
    step_s = float(np.median(np.diff(probe.time_s[probe.valid])))
    max_gap_s = max(MAX_GAP_S, 1.5 * step_s)  # a slow sweep has no other poses
    sx, sy = sweep.sector.spacing_mm
    t_M_v = sweep.sector.t_M_p() @ np.diag([1 / sx, 1 / sy, 1.0, 1.0])

    def tools(lap: int) -> tuple[Array, dict[str, PoseStream], PoseStream]:
        """The lap's true times, its devices as sent, and the probe as pictures are placed by it."""
        if tracking_hz is None:
            t, which = tape.recorded(lap, probe.time_s)
            pr_M_t, seen = probe.pose[which], probe.valid[which]
        else:
            t, then_s = tape.regular(lap, tracking_hz)
            for end_s in probe.time_s[[0, -1]]:  # rounding must not put the ends outside
                then_s = np.where(np.abs(then_s - end_s) < ROUNDING_S, end_s, then_s)
            pr_M_t, seen = probe.at(then_s, max_gap_s=max_gap_s)
        tr_M_pr = np.broadcast_to(np.eye(4), (len(t), 4, 4)) if reference is None else reference(t)
        pr_M_s = {"probe": np.where(seen[:, None, None], pr_M_t @ inverse(calibration), np.nan)}
        if pointer is not None:
            pr_M_s["pointer"] = pointer(t)
        base = _spoilt(t, tr_M_pr, "reference", faults)
        measured = {tool: _spoilt(t, tr_M_pr @ pose, tool, faults) for tool, pose in pr_M_s.items()}
        relative = {tool: _relative(stream, base) for tool, stream in measured.items()}
        sent = relative if names.probe.endswith("ToReference") else measured
        placing = relative if names.image.endswith("_Reference") else measured
        return t, sent if reference is None else {"reference": base} | sent, placing["probe"]

    def poses(tool: str, t: Array, stream: PoseStream) -> Iterator[Due]:
        name = getattr(names, tool)
        for t_k, stamp, matrix, seen in zip(t, stream.time_s, stream.pose, stream.valid, strict=True):
            due = float(start_s + t_k + delay_s)
            if seen != visible.setdefault(name, True):
                visible[name] = bool(seen)
                word = f"{name} is {'seen again' if seen else 'hidden'}"
                yield due, Status(names.status, float(start_s + t_k), OK if seen else NOT_FOUND, word)
            yield due, Pose(name, float(start_s + stamp), matrix if seen else None)

    def pictures(lap: int, tracked: PoseStream) -> Iterator[Due]:
        if frame_hz is None:
            t, shown = tape.recorded(lap, sweep.time_s, late_s=image_latency_s)
        else:
            t, then_s = tape.regular(lap, frame_hz, late_s=image_latency_s)
            shown = np.searchsorted((sweep.time_s[1:] + sweep.time_s[:-1]) / 2, then_s)
        for fault in faults.pictures:
            t, shown = fault(t, shown)
        pose, placed = np.zeros((len(t), 4, 4)), np.zeros(len(t), dtype=bool)
        if tracked.valid.sum() > 1:
            near = 1.5 * float(np.median(np.diff(tracked.time_s)))
            pose, placed = tracked.at(t, max_gap_s=near, extrapolate=True)
        q_M_v = pose @ calibration @ t_M_v
        for t_k, k, matrix, known in zip(t, shown, q_M_v, placed, strict=True):
            due, stamp = float(start_s + t_k + delay_s), float(start_s + t_k)
            yield due, Picture(names.image, stamp, sweep.frames[k], (sx, sy), matrix if known else None)

    def laps() -> Iterator[Due]:
        n, height, width = sweep.frames.shape
        word = (
            f"{sweep.name or 'a sweep'}: {n} frames of {width} x {height}, {'to and fro' if loop else 'once'}"
        )
        yield start_s + delay_s, Status(names.status, start_s, OK, word)
        due = start_s + delay_s
        for lap in count() if loop else (0,):
            t, streams, placing = tools(lap)
            devices = [poses(tool, t, stream) for tool, stream in streams.items()]
            for due, event in merge(*devices, pictures(lap, placing), key=itemgetter(0)):
                yield due, event
        yield due, Status(names.status, due - delay_s, SHUT_DOWN, "the stream ends")

    visible: dict[str, bool] = {}
    return laps()


@dataclass(frozen=True)
class _Tape:
    """A recording that is played: from `first_s` for `span_s` (as played), and back again if it loops."""

    first_s: float
    span_s: float
    speed: float
    loop: bool

    def recorded(self, lap: int, time_s: Array, *, late_s: float = 0.0) -> tuple[Array, Indices]:
        """When in this lap the samples recorded at `time_s` pass, `late_s` late, and which they are."""
        since, number = (time_s - self.first_s) / self.speed, np.arange(len(time_s))
        back = self.span_s - since[::-1], number[::-1]
        # what is late comes from a lap before, and so does the sample at the turn
        earliest = max(lap - 1 - int(np.ceil(late_s / self.span_s)), 0)
        when, which = [], []
        for k in range(earliest, lap + 1):
            t, n = back if k % 2 else (since, number)
            once = int(k > 0 and t[0] < ROUNDING_S)  # the sample at a turn has been played
            when.append(k * self.span_s + late_s + t[once:])
            which.append(n[once:])
        t, n = np.concatenate(when), np.concatenate(which)
        begin = lap * self.span_s - ROUNDING_S
        here = (t >= begin) & (t < begin + self.span_s) if self.loop else t >= begin
        return t[here], n[here]

    def regular(self, lap: int, rate_hz: float, *, late_s: float = 0.0) -> tuple[Array, Array]:
        """Times in this lap at a rate of their own, and the recording's times that pass then.

        Played once, the last sample comes at the end or just after it, when the hand has stopped.
        """
        begin_s, end_s = (k * self.span_s - ROUNDING_S for k in (lap, lap + 1))
        if not self.loop:
            end_s += late_s + 1 / rate_hz
        t = np.arange(np.ceil(begin_s * rate_hz), np.ceil(end_s * rate_hz)) / rate_hz
        t = t[t >= late_s]
        since = folded(t - late_s, self.span_s) if self.loop else np.minimum(t - late_s, self.span_s)
        return t, self.first_s + self.speed * since


def _spoilt(t: Array, pose: Array, tool: str, faults: Faults) -> PoseStream:
    stream = PoseStream(t, pose, np.asarray(np.isfinite(pose).all(axis=(1, 2))), tool)
    for fault in faults.tools.get(tool, ()):
        stream = fault(stream)
    if len(stream) != len(t):
        raise ValueError(f"a fault of the {tool} made {len(stream)} of {len(t)} samples; expected as many.")
    return stream


def _relative(tool: PoseStream, base: PoseStream) -> PoseStream:
    """``pr_M_s`` from ``tr_M_s`` and ``tr_M_pr``; hidden where one of them is."""
    both = tool.valid & base.valid
    pose = np.full(tool.pose.shape, np.nan)
    pose[both] = inverse(base.pose[both]) @ tool.pose[both]
    return PoseStream(tool.time_s, pose, both, tool.name)
