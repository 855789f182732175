"""``navkit stream`` and ``navkit listen`` without a command line: they speak through `say`."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from navkit.geometry import check_poses
from navkit.live._client import Client
from navkit.live._events import Picture, Status
from navkit.live._faults import faults_from
from navkit.live._inputs import read_sector, read_source, sheared_mm
from navkit.live._motions import patient, pointer_tour
from navkit.live._names import NAMES
from navkit.live._pace import paced
from navkit.live._record import Recorder
from navkit.live._server import PORT, ClientState, Server
from navkit.live._source import OK, SHUT_DOWN, room_events, tracking_of
from navkit.ultrasound import ProbeSector, Sweep

Say = Callable[[str], None]
Dialect = Literal["custusx", "slicer"]

MADE_HZ = 100.0
"""Poses a second of a sweep that was made; of a recording they are sent as they were recorded."""
LOOK_S = 0.2
SHEAR_MM = 0.1


def stream(
    source: str | Path,
    *,
    say: Say,
    config: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    dialect: Dialect = "custusx",
    tracking_hz: float | None = None,
    frame_hz: float | None = None,
    speed: float = 1.0,
    image_latency_s: float = 0.0,
    delay_s: float = 0.0,
    breath_mm: float = 0.0,
    faults: Sequence[str] = (),
    seed: int = 0,
    loop: bool = False,
    wait: bool = False,
    seconds: float | None = None,
) -> int:
    """Serve a simulated operating room until it ends, for some seconds, or until Ctrl-C.

    Probe, pictures, patient reference and a strolling pointer: see `room_events`.

    Parameters
    ----------
    source, config : see `read_source`
    say : called with each line of text
    host, port, dialect : see `Server` and `Names`; where the port is in use, the next one
    tracking_hz : as recorded, of a made sweep 100, unless given
    frame_hz, speed, image_latency_s, delay_s, loop : see `room_events`
    breath_mm : how far the patient's breath lifts the reference
    faults : texts such as "probe hidden 3 4", see `faults_from`
    seed : of the faults
    wait : begin when the first client is there
    seconds : at most so long

    Returns
    -------
    How many messages were sent to clients.
    """
    sweep, tracking = read_source(source, config)
    spoilt = faults_from(faults, rng=np.random.default_rng(seed))
    names = NAMES[dialect]
    rate_hz = MADE_HZ if tracking_hz is None and tracking is None else tracking_hz
    begin = partial(
        room_events, sweep, tracking=tracking, tracking_hz=rate_hz, frame_hz=frame_hz, speed=speed, loop=loop,
        reference=patient(breath_mm=breath_mm), pointer=pointer_tour(sweep), names=names,
        image_latency_s=image_latency_s, delay_s=delay_s, faults=spoilt,
    )  # fmt: skip
    begin(start_s=0.0)  # refuses what cannot be sent before a port is open
    with Server(host=host, port=port, names=names) as server, _until_interrupted(say):
        if server.note:
            say(server.note)
        off_mm = sheared_mm(sweep)
        if off_mm > SHEAR_MM:
            say(f"note: the pictures are sheared; rigid poses move their pixels by up to {off_mm:.1f} mm")
        poses = f"{rate_hz or _rate_hz((tracking or tracking_of(sweep)).time_s) * speed:.3g}/s"
        height, width = sweep.sector.shape
        guests = _Guests(server, say)
        count, event, start_s = 0, None, time.time()
        try:
            say(
                f"Serving {sweep.name or source} on {server.host}:{server.port}: "
                f"{names.probe}, {names.pointer}, {names.reference} at {poses}, "
                f"{names.image} ({width} x {height}) at "
                f"{frame_hz or _rate_hz(sweep.time_s) * speed:.3g}/s, {names.status}. Ctrl-C ends."
            )
            server.send(Status(names.status, start_s, OK, "getting ready"))  # compiles what packs it, in time
            while wait and not guests.look():
                time.sleep(LOOK_S / 4)
            start_s = time.time()
            end_s = np.inf if seconds is None else start_s + seconds
            for event in paced(takewhile(lambda pair: pair[0] <= end_s, begin(start_s=start_s))):
                server.send(event)
                count += 1
                guests.look()
        finally:
            if not (isinstance(event, Status) and event.code == SHUT_DOWN):
                server.send(Status(names.status, time.time(), SHUT_DOWN, "the stream is stopped"))
            time.sleep(LOOK_S)  # so that what is on its way is counted
            guests.look()
            say(f"{count} events in {time.time() - start_s:.1f} s. {guests.summary()}")
    return guests.sent


def listen(
    output: str | Path,
    *,
    say: Say,
    sector: str | Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    dialect: Dialect = "custusx",
    probe: str | None = None,
    reference: str | None = None,
    image: str | None = None,
    s_M_t: ArrayLike | None = None,
    image_latency_s: float = 0.0,
    seconds: float | None = None,
    patience_s: float = 10.0,
    name: str = "US-Acq_live",
) -> Sweep | None:
    """Record what a server sends as a CustusX acquisition, until it ends, for some seconds, or until Ctrl-C.

    Parameters
    ----------
    output : the acquisition's folder; it must not hold one of that name
    say : called with each line of text
    sector : of the probe: a ``.probedata.xml``, or a sweep as for `stream`
    host, port, dialect : of the server
    probe, reference : see `Recording.tracking`; the dialect's probe unless given
    image : device name of the pictures; the first that comes unless given
    s_M_t : the probe's calibration, see `Recording.sweep`
    image_latency_s : taken off the pictures' stamps
    seconds : at most so long, from the first event on
    patience_s : how long to try to reach the server, at first and when it is gone
    name : of the acquisition

    Returns
    -------
    What was written; None where nothing came that can be written, and `say` has said why.

    Raises
    ------
    ValueError
        If the output is taken or cannot be written, or the sector cannot be read or is for other pictures.
    ConnectionError
        If there is no server.
    """
    folder = Path(output)
    if any(folder.glob("*.fts")):
        raise ValueError(f"{folder} holds an acquisition already; expected a folder without one.")
    parent = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ValueError(f"{parent} cannot be written; expected a folder for the acquisition.")
    beam = read_sector(sector)
    calibration = np.eye(4) if s_M_t is None else check_poses(np.asarray(s_M_t, float)[None], "s_M_t")[0]
    recorder, came = Recorder(picture=image), 0
    probe = probe or NAMES[dialect].probe
    with Client(host, port, names=NAMES[dialect], patience_s=patience_s) as client:
        say(f"Recording from {host}:{port} to {folder / name}. Ctrl-C ends.")
        with _until_interrupted(say):
            end_s = np.inf
            while time.monotonic() < end_s:
                arrival = client.receive(LOOK_S)
                if arrival is None and client.over:
                    client.receive()  # says so if there was no server at all
                    break
                if arrival is None:
                    continue
                if not came:
                    say("The first event is here.")
                    end_s = np.inf if seconds is None else time.monotonic() + seconds
                came, event = came + 1, arrival[1]
                recorder.take(event)
                if isinstance(event, Picture) and event.name == recorder.picture:
                    _check_shape(event, beam)
                if isinstance(event, Status) and event.code == SHUT_DOWN:
                    break
    recording = recorder.recording()
    for number, what in ((client.connections - 1, "the connection was lost and made again"),
                         (client.incoming.refused, "a message could not be read")):  # fmt: skip
        if number > 0:
            say(f"note: {what}, {number} times")
    here = recording.tracking(probe, reference=reference) if probe in recording.poses else None
    samples = int(here.valid.sum()) if here else 0
    if not len(recording.frames) or not samples:
        what = f"pose of {probe}" if len(recording.frames) else "picture"
        there = ", ".join(filter(None, (*recording.poses, recording.picture))) or "none"
        say(f"Nothing is written: no {what} came that can be used. Devices: {there}.")
        return None
    sweep = recording.write(
        folder,
        beam,
        probe=probe,
        reference=reference,
        s_M_t=calibration,
        image_latency_s=image_latency_s,
        name=name,
    )
    for note in sweep.notes:
        say(f"note: {note}")
    say(
        f"{folder / name}: {len(sweep)} frames of {sweep.sector.shape[1]} x {sweep.sector.shape[0]} in "
        f"{np.ptp(sweep.time_s):.1f} s, {int(sweep.valid.sum())} of them tracked, by "
        f"{samples} samples of {probe}."
    )
    return sweep


def _check_shape(picture: Picture, sector: ProbeSector) -> None:
    """Refuse at once what could not be written in the end."""
    if picture.pixels.shape != sector.shape:
        (h, w), (rows, columns) = picture.pixels.shape, sector.shape
        raise ValueError(
            f"{picture.name} is {w} x {h} pixels; the sector is for {columns} x {rows}. Is it this probe's?"
        )


def _rate_hz(time_s: np.ndarray) -> float:
    return float(1 / np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0


@contextmanager
def _until_interrupted(say: Say) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped.")


class _Guests:
    """Who comes and goes, and what each was sent."""

    def __init__(self, server: Server, say: Say) -> None:
        self._server, self._say = server, say
        self._known: dict[str, ClientState] = {}
        self._here: set[str] = set()

    @property
    def sent(self) -> int:
        return sum(state.sent for state in self._known.values())

    def look(self) -> bool:
        """Tell who came and who left since the last time; True if somebody is there."""
        now = {state.address: state for state in self._server.clients}
        for address in now.keys() - self._here:
            self._say(f"{address} is here.")
        for address in self._here - now.keys():
            self._say(f"{address} is gone after {self._known[address].sent} messages.")
        self._known |= now
        self._here = set(now)
        return bool(now)

    def summary(self) -> str:
        lost = sum(state.lost_pictures + state.lost_words for state in self._known.values())
        return f"Clients: {len(self._known)}; messages sent: {self.sent}, lost by slow clients: {lost}."
