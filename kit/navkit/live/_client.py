"""A client that loses nothing and comes back by itself."""

import math
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from navkit.live._events import Event
from navkit.live._names import NAMES, Names
from navkit.live._server import PORT
from navkit.live._wire import Incoming, WireError, make_ready

Arrival = tuple[float, Event]

_POLL_S = 0.2
_AGAIN_S = 0.1


class Client:
    """What a server sends, with the time of arrival; read in a thread of its own, so that those are true.

    A connection that is lost is made again. A loop over the client ends where the server stays away.

    Parameters
    ----------
    host, port
        Where the server is.
    names
        The dialect that it speaks: see `Names.ras`.
    patience_s
        How long to try to connect, at first and again.
    room
        Messages that wait to be taken out; when it is full the client stops reading, and then it is for the
        server to choose what to leave out.

    Attributes
    ----------
    over
        True when the server stayed away and everything that came is taken out.
    connections
        How often a connection was made.
    incoming
        What was left out: see `Incoming`.

    Examples
    --------
    >>> from navkit.live import _events, _server
    >>> with _server.Server(port=0) as server, Client(port=server.port) as client:
    ...     while not server.clients:
    ...         time.sleep(0.01)
    ...     server.send(_events.Status("Room", 1.0, 1, "hello"))
    ...     _, event = next(iter(client))
    >>> event.text
    'hello'
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = PORT,
        *,
        names: Names = NAMES["custusx"],
        patience_s: float = 10.0,
        room: int = 1000,
    ) -> None:
        make_ready()
        self.host, self.port, self.connections, self.over = host, port, 0, False
        self.incoming = Incoming(names)
        self._patience_s = patience_s
        self._arrived: queue.Queue[Arrival] = queue.Queue(room)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._stay, name=f"navkit client {port}", daemon=True)
        self._thread.start()

    def receive(self, timeout_s: float = math.inf) -> Arrival | None:
        """The next event and when it came, s since 1970; None if none comes in time, or ever: see `over`.

        Raises
        ------
        ConnectionError
            There was no OpenIGTLink server at all.
        """
        end_s = time.monotonic() + timeout_s
        while not self.over:
            gone = not self._thread.is_alive()
            try:
                return self._arrived.get(timeout=max(0.0, min(_POLL_S, end_s - time.monotonic())))
            except queue.Empty:
                self.over = gone
                if time.monotonic() >= end_s:
                    return None
        if not (self.incoming.messages or self._stop.is_set()):
            silent = "it sends nothing" if self.connections else "nobody answers"
            why = (self.incoming.notes or [silent])[-1]
            raise ConnectionError(f"no OpenIGTLink server at {self.host}:{self.port}: {why}")
        return None

    def __iter__(self) -> Iterator[Arrival]:
        while (arrival := self.receive()) is not None:
            yield arrival

    def close(self) -> None:
        """Leave; no thread and no socket stay behind. What came can still be taken out."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stay(self) -> None:
        """Connect, read, and connect again while that makes sense."""
        self._good_s = time.monotonic()
        while not self._stop.is_set() and time.monotonic() < self._good_s + self._patience_s:
            with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1.0) as sock:
                if sock.getsockname() != sock.getpeername():  # a port of this computer can answer itself
                    self._read(sock)
            self._stop.wait(_AGAIN_S)

    def _read(self, sock: socket.socket) -> None:
        self.connections += 1
        self.incoming.restart()
        known = self.incoming.messages
        sock.settimeout(_POLL_S)
        while not self._stop.is_set():
            try:
                data = sock.recv(2**20)
            except TimeoutError:
                continue
            arrived_s = time.time()
            if not data:
                return
            try:
                for event in self.incoming.feed(data):
                    self._keep((arrived_s, event))
            except WireError as error:  # what follows is out of step: start afresh
                self.incoming.refuse(error)
                return
            if self.incoming.messages > known:
                known, self._good_s = self.incoming.messages, time.monotonic()

    def _keep(self, arrival: Arrival) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._arrived.put(arrival, timeout=_POLL_S)
                return
