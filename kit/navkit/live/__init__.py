"""A tracker and a scanner on the wire: OpenIGTLink in and out, with CustusX's names or Slicer's.

A source makes events (`room_events`), a `Server` or a `LocalStream` carries them, a `Client` takes them, and
`record` makes a sweep of them. Stamps are seconds since 1970, matrices lead to the space that a device's name
says. OpenIGTLink has no password: serve on this machine only, unless you mean others to listen.
"""

from navkit.live._client import Client
from navkit.live._commands import listen, stream
from navkit.live._events import Event, Picture, Pose, Status
from navkit.live._faults import (
    FAULT_WORDS,
    Faults,
    add_noise,
    add_outliers,
    drop_pictures,
    faults_from,
    freeze_pictures,
    hide,
)
from navkit.live._local import LocalStream
from navkit.live._motions import patient, played, pointer_tour
from navkit.live._names import NAMES, Names
from navkit.live._pace import paced
from navkit.live._record import Recorder, Recording, record
from navkit.live._server import PORT, ClientState, Server
from navkit.live._source import room_events, tracking_of
from navkit.live._wire import WireError

__all__ = [
    "FAULT_WORDS",
    "NAMES",
    "PORT",
    "Client",
    "ClientState",
    "Event",
    "Faults",
    "LocalStream",
    "Names",
    "Picture",
    "Pose",
    "Recorder",
    "Recording",
    "Server",
    "Status",
    "WireError",
    "add_noise",
    "add_outliers",
    "drop_pictures",
    "faults_from",
    "freeze_pictures",
    "hide",
    "listen",
    "paced",
    "patient",
    "played",
    "pointer_tour",
    "record",
    "room_events",
    "stream",
    "tracking_of",
]
