"""Each event at its time."""

import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What a pacer asks of a clock; the module `time` is one."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


def paced(timed: Iterable[tuple[float, T]], clock: Clock = time) -> Iterator[T]:
    """Yield each thing when it is due.

    Due times are absolute: the time that a thing takes to be made or sent, or that is overslept, is not added
    to the next one. What is late comes at once; nothing is left out. A computer clock that is set meanwhile
    changes nothing.

    Parameters
    ----------
    timed
        Pairs of due time, s since 1970, and thing, in order of due time.
    clock
        ``time()`` in s since 1970, a ``monotonic()`` one to measure by, and ``sleep(seconds)``.

    Examples
    --------
    >>> start_s = time.time()
    >>> list(paced([(start_s, "a"), (start_s + 0.01, "b")]))
    ['a', 'b']
    """
    start_s = clock.time() - clock.monotonic()
    for due_s, thing in timed:
        wait_s = due_s - start_s - clock.monotonic()
        if wait_s > 0:
            clock.sleep(wait_s)
        yield thing
