"""A server that no client can hold up."""

import errno
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from navkit.live._events import Event, Picture, Status
from navkit.live._names import NAMES, Names
from navkit.live._wire import make_ready, pack

PORT = 18944
PORTS_TRIED = 20
OVERFLOW = 8
FLUSH_S = 1.0


@dataclass(frozen=True)
class ClientState:
    """A client's address, how much was sent, and how much it was too slow for; words are all but pictures."""

    address: str
    sent: int
    lost_pictures: int
    lost_words: int


class Server:
    """Sends every event to every client that is there, as OpenIGTLink; one thread.

    Each client has a queue of its own. One that stalls loses its own oldest pictures, and later its oldest
    poses: they are counted in `clients`, and a STATUS tells the client once it reads again. What clients send
    is read and ignored.

    Parameters
    ----------
    host
        Address to listen on: this computer alone; "0.0.0.0" lets everybody in who reaches the computer.
    port
        Where it is in use, the first free of the 20 after it, told by `port` and `note`; 0 for any free one.
    names
        The dialect.
    pictures, words
        Messages that wait for a slow client.

    Attributes
    ----------
    host, port
        Where it listens.
    note
        A sentence if that is another port than the one asked for.

    Raises
    ------
    OSError
        No free port, or no such address.

    Examples
    --------
    >>> from navkit.live._client import Client
    >>> with Server(port=0) as server, Client(port=server.port) as client:
    ...     while not server.clients:
    ...         time.sleep(0.01)
    ...     server.send(Status("Room", 1.0, 1, "hello"))
    ...     _, event = client.receive(5.0)
    >>> event
    Status(name='Room', time_s=1.0, code=1, text='hello')
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = PORT,
        names: Names = NAMES["custusx"],
        pictures: int = 60,
        words: int = 2000,
    ) -> None:
        make_ready()
        self._names, self._room = names, (pictures, words)
        self._listening = _listen(host, port)
        self.host, self.port = self._listening.getsockname()[:2]
        self.note = "" if port in (0, self.port) else f"Port {port} is in use; this is port {self.port}."
        self._bell, self._waker = socket.socketpair()
        for end in (self._listening, self._bell, self._waker):
            end.setblocking(False)
        self._lock = threading.Lock()
        self._guests: dict[socket.socket, _Guest] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=f"navkit server {self.port}", daemon=True)
        self._thread.start()

    @property
    def clients(self) -> tuple[ClientState, ...]:
        """Who is connected now."""
        with self._lock:
            return tuple(guest.state() for guest in self._guests.values())

    def send(self, event: Event) -> None:
        """Queue one event for everybody; never waits. From any thread.

        Raises
        ------
        ValueError
            An event that cannot be sent, see `pack`, or a server that is closed.
        """
        if not self._thread.is_alive():
            raise ValueError("expected an open server, got one that is closed")
        message = pack(event, self._names)
        with self._lock:
            for guest in self._guests.values():
                guest.queue(message, isinstance(event, Picture))
        self._wake()

    def run(self, events: Iterable[Event]) -> None:
        """Send events as they come, see `paced`; Ctrl-C is left to the caller."""
        for event in events:
            self.send(event)

    def close(self) -> None:
        """Send what waits, for a second at most, and leave no thread and no socket behind."""
        self._closing = True
        if self._thread.is_alive():
            self._wake()
            self._thread.join()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake; closed: it needs nothing
            self._waker.send(b"\0")

    def _serve(self) -> None:
        end_s = float("inf")
        with self._bell, self._waker, selectors.DefaultSelector() as watch:
            watch.register(self._listening, selectors.EVENT_READ)
            watch.register(self._bell, selectors.EVENT_READ)
            try:
                while time.monotonic() < end_s:
                    for key, _ in watch.select(None if end_s == float("inf") else 0.05):
                        if key.fileobj is self._listening:
                            self._welcome(watch)
                        elif key.fileobj is self._bell:
                            self._bell.recv(4096)
                    pending = [self._attend(guest, watch) for guest in list(self._guests.values())]
                    if self._closing:
                        end_s = min(end_s, time.monotonic() + FLUSH_S if any(pending) else 0.0)
            finally:
                self._listening.close()
                for guest in list(self._guests.values()):
                    self._part(guest, watch)

    def _welcome(self, watch: selectors.BaseSelector) -> None:
        try:
            sock, address = self._listening.accept()
        except OSError:  # gone again, or no more files: another time
            time.sleep(0.01)
            return
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        watch.register(sock, selectors.EVENT_READ)
        pictures, words = (deque[_Numbered](maxlen=room) for room in self._room)
        guest = _Guest(sock, f"{address[0]}:{address[1]}", self._lock, pictures, words)
        with self._lock:
            self._guests[sock] = guest

    def _attend(self, guest: "_Guest", watch: selectors.BaseSelector) -> bool:
        """Read and ignore, send what can be sent; True if more waits."""
        try:
            guest.read()
            more = guest.write(self._names)
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if more else 0)
            if watch.get_key(guest.sock).events != interest:
                watch.modify(guest.sock, interest)
            return more
        except OSError:
            self._part(guest, watch)
            return False

    def _part(self, guest: "_Guest", watch: selectors.BaseSelector) -> None:
        with self._lock:
            del self._guests[guest.sock]
        watch.unregister(guest.sock)
        with suppress(OSError):  # a socket with unread bytes would take back what is on its way
            guest.sock.shutdown(socket.SHUT_WR)
            guest.read()
        guest.sock.close()


def _listen(host: str, port: int) -> socket.socket:
    last = port if port == 0 else min(port + PORTS_TRIED, 65535)
    for candidate in range(port, last + 1):
        try:
            return socket.create_server((host, candidate), backlog=128)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise OSError(
                    error.errno, f"cannot listen on {host}:{candidate}: {error.strerror}"
                ) from error
    raise OSError(errno.EADDRINUSE, f"ports {port} to {last} of {host} are all in use: stop another server")


_Numbered = tuple[int, bytes]


@dataclass
class _Guest:
    """A client as the server sees it: the two queues are shared with `Server.send`, under the lock."""

    sock: socket.socket
    address: str
    lock: threading.Lock
    pictures: deque[_Numbered]
    words: deque[_Numbered]
    queued: int = 0
    sent: int = 0
    lost: list[int] = field(default_factory=lambda: [0, 0])
    untold: int = 0
    current: memoryview = field(default_factory=lambda: memoryview(b""))

    def state(self) -> ClientState:
        return ClientState(self.address, self.sent, *self.lost)

    def queue(self, message: bytes, is_picture: bool) -> None:
        waiting = self.pictures if is_picture else self.words
        if len(waiting) == waiting.maxlen:  # appending pushes the oldest out
            self.lost[not is_picture] += 1
            self.untold += 1
        waiting.append((self.queued, message))
        self.queued += 1

    def read(self) -> None:
        """Throw away a part of what came: who floods holds nobody up. OSError if the client is gone."""
        with suppress(BlockingIOError):
            if not self.sock.recv(65536):
                raise ConnectionAbortedError

    def write(self, names: Names) -> bool:
        """Send until the socket is full (True) or nothing waits (False)."""
        with suppress(BlockingIOError):
            while self.current or self._next(names):
                self.current = self.current[self.sock.send(self.current) :]
                self.sent += not self.current
            return False
        return True

    def _next(self, names: Names) -> bool:
        with self.lock:
            untold, self.untold = self.untold, 0
            if untold:
                word = f"{untold} messages lost: this client reads too slowly"
                self.current = memoryview(pack(Status(names.status, time.time(), OVERFLOW, word), names))
            elif self.pictures or self.words:
                queues = [queue for queue in (self.pictures, self.words) if queue]
                self.current = memoryview(min(queues, key=lambda queue: queue[0][0]).popleft()[1])
            return bool(self.current)
