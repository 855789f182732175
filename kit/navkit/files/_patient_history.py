"""CustusX's registration histories, and the tree of registrations that they tell."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, orthonormalised
from navkit.registration import Change, Datum, Registrations

Array = NDArray[np.float64]

EPOCH = datetime(1970, 1, 1)
PATIENT = ""  # beside the uids of data, where r_M_pr stands


def seconds_of(timestamp: str) -> float | None:
    """``yyyyMMddThhmmss`` as seconds since 1970, its zone unknown; None where CustusX sees no time.

    >>> seconds_of("19700102T000001"), seconds_of(""), seconds_of("20171399T000000")
    (86401.0, None, None)
    """
    if not re.fullmatch(r"\d{8}T\d{6}", timestamp, re.ASCII):
        return None
    try:
        return (datetime.strptime(timestamp, "%Y%m%dT%H%M%S") - EPOCH).total_seconds()
    except ValueError:
        return None


def timestamp_of(time_s: float) -> str:
    """CustusX's ``yyyyMMddThhmmss``: whole seconds.

    >>> timestamp_of(86401.7)
    '19700102T000001'
    """
    try:
        when = EPOCH + timedelta(seconds=float(np.floor(time_s)))
    except (OverflowError, ValueError):
        raise ValueError(f"time_s is {time_s}; expected seconds since 1970, up to the year 9999.") from None
    return f"{when.year:04d}{when:%m%dT%H%M%S}"


@dataclass(frozen=True, eq=False)
class Registered:
    """One registration of a history: the whole pose, as in the file, not the change."""

    matrix: Array
    timestamp: str = ""
    type: str = ""
    fixed: str = ""
    moving: str = ""


@dataclass(frozen=True)
class Parent:
    """Which space one hangs on; ``frame_1`` and its kind, of old files, are no data."""

    value: str
    timestamp: str = ""
    type: str = ""


@dataclass(frozen=True, eq=False)
class History:
    """All registrations of one space, in the order of the file, and the time that counts as now ("": now)."""

    entries: tuple[Registered, ...] = ()
    parents: tuple[Parent, ...] = ()
    current_time: str = ""

    def dated(self) -> list[Registered]:
        """What counts, in CustusX's order: by time, those without one first."""
        now = seconds_of(self.current_time)
        times = {id(one): seconds_of(one.timestamp) for one in self.entries}
        in_order = sorted(self.entries, key=lambda one: _early(times[id(one)]))
        return [one for one in in_order if now is None or _early(times[id(one)]) <= now]

    def pose(self) -> Array:
        """The latest that counts, made exactly rigid (files keep six digits); the identity without one."""
        dated = self.dated()
        return exact(dated[-1].matrix) if dated else np.eye(4)

    def parent(self) -> str:
        now = seconds_of(self.current_time)
        ordered = sorted(self.parents, key=lambda one: _early(seconds_of(one.timestamp)))
        counting = [one for one in ordered if now is None or _early(seconds_of(one.timestamp)) <= now]
        return counting[-1].value if counting else ""


def _early(time_s: float | None) -> float:
    return -np.inf if time_s is None else time_s


def exact(pose: ArrayLike) -> Array:
    """An exact rotation; what is exact already keeps its digits."""
    m = np.asarray(pose, dtype=float)
    off = np.abs(m[:3, :3] @ m[:3, :3].T - np.eye(3)).max()
    return m if off < 1e-12 else orthonormalised(m)


def registrations_of(r_M_pr: History, data: Mapping[str, History]) -> Registrations:
    """What the histories tell: the undated as the start, then change by change.

    Raises
    ------
    ValueError
        If the parents form a ring.
    """
    histories = {PATIENT: r_M_pr, **data}
    pose = {uid: np.eye(4) for uid in histories}
    events = []
    for uid, history in histories.items():
        for one in history.dated():
            time_s = seconds_of(one.timestamp)
            if time_s is None:
                pose[uid] = exact(one.matrix)
            else:
                events.append((time_s, one.type, one.fixed, one.moving, uid, exact(one.matrix)))
    parents = {uid: history.parent() for uid, history in data.items()}

    def state(change: Change | None, before: Registrations | None) -> Registrations:
        placed = {uid: Datum(pose[uid], at if (at := parents[uid]) in data else None) for uid in data}
        return Registrations(placed, pose[PATIENT], change, before)

    now = state(None, None)
    events.sort(key=lambda event: event[0])
    for (time_s, method, fixed, moving), group in groupby(events, key=lambda event: event[:4]):
        together = {uid: m for *_, uid, m in group}
        first = next(iter(together))
        delta = together[first] @ inverse(pose[first])
        pose.update(together)
        moved = tuple(uid for uid in together if uid != PATIENT)
        if PATIENT not in together:
            what = f"{moving or first} to {fixed or parents[first]}"
        else:
            what = "reference" if moved else "patient"
        now = state(Change(time_s, what, method, moved, delta, temporary=False), now)
    return now


def _states(now: Registrations) -> list[Registrations]:
    """A tree and all that were before, the oldest first."""
    states = [now]
    while (before := states[-1].before) is not None:
        states.append(before)
    return states[::-1]


def _alike(a: Registrations, b: Registrations) -> bool:
    return (
        a.data.keys() == b.data.keys()
        and (a.change and a.change.time_s) == (b.change and b.change.time_s)
        and np.array_equal(a.r_M_pr, b.r_M_pr)
        and all(np.array_equal(one.r_M_d, b.data[uid].r_M_d) for uid, one in a.data.items())
    )


def continued(
    r_M_pr: History, data: Mapping[str, History], now: Registrations
) -> tuple[History, dict[str, History]]:
    """The histories with what `now` has and they do not have; see `with_registrations`."""
    if now.data.keys() != data.keys():
        raise ValueError(f"the registrations are of {sorted(now.data)}; expected {sorted(data)}.")
    was, new = _states(registrations_of(r_M_pr, data)), _states(now)
    common = 0
    while common < min(len(was), len(new)) and _alike(was[common], new[common]):
        common += 1
    if not common:
        raise ValueError(
            "the registrations do not continue the patient's; expected them made from patient.registrations."
        )
    histories = {PATIENT: r_M_pr, **data}
    if common < len(was):  # gone back: only what was until then counts
        last, undone = was[common - 1].change, was[common].change
        assert undone
        time_s = last.time_s if last else undone.time_s - 1
        for uid, history in histories.items():
            if any((seconds_of(one.timestamp) or time_s) > time_s for one in history.entries):
                histories[uid] = replace(history, current_time=timestamp_of(time_s))
    for before, after in zip(new[common - 1 :], new[common:], strict=False):
        assert after.change
        for uid, history in histories.items():
            old, pose = _pose(before, uid), _pose(after, uid)
            if not np.array_equal(old, pose):
                histories[uid] = _entered(history, pose, after.change, uid)
    for uid, one in now.data.items():
        if one.parent != was[common - 1].data[uid].parent:
            history = histories[uid]
            time_s = now.change.time_s if now.change else 0.0
            parent = Parent(one.parent or "", _after(history, time_s), "Image to Image")
            histories[uid] = replace(history, parents=(*history.parents, parent))
    new_r_M_pr = histories.pop(PATIENT)
    told = registrations_of(new_r_M_pr, histories)
    if any(not np.allclose(_pose(told, uid), exact(_pose(now, uid)), atol=1e-9) for uid in (PATIENT, *data)):
        raise ValueError(
            "the registrations cannot be told by CustusX's histories; expected rigid steps in time."
        )
    return new_r_M_pr, histories


def _pose(state: Registrations, uid: str) -> Array:
    return state.r_M_pr if uid == PATIENT else state.data[uid].r_M_d


def _entered(history: History, pose: Array, change: Change, uid: str) -> History:
    moving, _, fixed = change.what.partition(" to ")
    entry = Registered(
        exact(pose), _after(history, change.time_s), change.method, fixed, moving if fixed else ""
    )
    return replace(history, entries=(*history.entries, entry), current_time="")


def _after(history: History, time_s: float) -> str:
    """The timestamp of a new entry: later than all there are, for CustusX counts the latest."""
    stamps = [one.timestamp for one in history.entries] + [one.timestamp for one in history.parents]
    times = map(seconds_of, stamps)
    return timestamp_of(max([time_s, *(t + 1 for t in times if t is not None)]))
