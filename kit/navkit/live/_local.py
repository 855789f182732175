"""The wire's client without a wire: for notebooks, for tests, and where ports are blocked."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from navkit.live._events import Event
from navkit.live._pace import Clock

Arrival = tuple[float, Event]

_POLL_S = 0.2
ROUNDING_S = 1e-6
"""Nearer than this is due: a wait this short may not move a clock on."""


class LocalStream:
    """Plays events to any number of clients in this process; no thread, whoever waits first keeps the time.

    Poses stay float64 and pictures are not copied: what arrives is what was sent, to the last bit.

    Parameters
    ----------
    timed
        Pairs of due time, s since 1970, and event, as `room_events` yields them.
    clock
        As for `paced`; None to play as fast as the clients read, with each arrival just when it is due.
    room
        Events that wait for a client; of a client that does not read the oldest are lost: see its `lost`.

    Examples
    --------
    >>> from navkit.live._events import Status
    >>> stream = LocalStream([(100.5, Status("Room", 100.0, 1, "hello"))], clock=None)
    >>> with stream, stream.client() as client:
    ...     [(arrived_s, event.text) for arrived_s, event in client]
    [(100.5, 'hello')]
    """

    def __init__(
        self,
        timed: Iterable[tuple[float, Event]],
        *,
        clock: Clock | None = time,
        room: int = 100_000,
    ) -> None:
        self._timed, self._clock, self._room = iter(timed), clock, room
        self._epoch_s = 0.0 if clock is None else clock.time() - clock.monotonic()
        self._lock = threading.Lock()
        self._clients: list[LocalClient] = []
        self._next: tuple[float, Event] | None = None
        self._stopped = False

    def client(self) -> "LocalClient":
        """A new client; it gets what is due from now on."""
        made = LocalClient(self, self._room)
        with self._lock:
            self._clients.append(made)
        return made

    def stop(self) -> None:
        """End the stream for all clients, from any thread; what waits for them can still be taken out."""
        self._stopped = True

    def __enter__(self) -> "LocalStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _now_s(self) -> float:
        return self._epoch_s + (self._clock or time).monotonic()

    def _advance(self) -> float | None:
        """Under the lock: hand out the next event if it is due; how long to wait, None at the end."""
        self._next = None if self._stopped else self._next or next(self._timed, None)
        if self._next is None:
            return None
        due_s, event = self._next
        now_s = due_s if self._clock is None else self._now_s()
        if now_s < due_s - ROUNDING_S:
            return due_s - now_s
        for client in self._clients:
            client._put((now_s, event))
        self._next = None
        return 0.0


class LocalClient:
    """One reader of a `LocalStream`, with the face of the wire's `Client`.

    Attributes
    ----------
    over
        True when the stream has ended and everything that came is taken out.
    lost
        Events that did not find room.
    """

    def __init__(self, stream: LocalStream, room: int) -> None:
        self.over, self.lost = False, 0
        self._stream, self._closed = stream, False
        self._arrived: deque[Arrival] = deque(maxlen=room)

    def receive(self, timeout_s: float = math.inf) -> Arrival | None:
        """The next event and when it came, s since 1970; None if none comes in time, or ever: see `over`."""
        stream = self._stream
        end_s = stream._now_s() + timeout_s
        while not self.over:
            with stream._lock:
                wait_s = 0.0 if self._arrived else None if self._closed else stream._advance()
                if self._arrived:
                    return self._arrived.popleft()
                self.over = wait_s is None
            left_s = end_s - stream._now_s()
            if wait_s is None or left_s <= 0:
                break
            if wait_s and stream._clock is not None:
                stream._clock.sleep(min(wait_s, left_s, _POLL_S))
        return None

    def close(self) -> None:
        """Leave; what came can still be taken out."""
        self._closed = True
        with self._stream._lock:
            if self in self._stream._clients:
                self._stream._clients.remove(self)

    def __iter__(self) -> Iterator[Arrival]:
        while (arrival := self.receive()) is not None:
            yield arrival

    def __enter__(self) -> "LocalClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, arrival: Arrival) -> None:
        self.lost += len(self._arrived) == self._arrived.maxlen
        self._arrived.append(arrival)
