"""What a registration moves: CustusX's tree of data, the patient beside it, and the way back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses, inverse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Datum:
    """An image, a mesh, a set of points: where it lies (``r_M_d``), and what it was made from or tied to."""

    r_M_d: Array
    parent: str | None = None


@dataclass(frozen=True)
class Change:
    """One step of the history.

    Parameters
    ----------
    time_s : when
    what : "patient", "reference", or with images "moving to fixed"
    method : in the user's words
    moved : names of the data that moved
    delta_r : (4, 4) by which they, or with "patient" the patient, moved in r
    temporary : the next change of the same `what` takes its place, as while a slider is dragged
    """

    time_s: float
    what: str
    method: str
    moved: tuple[str, ...]
    delta_r: Array
    temporary: bool


@dataclass(frozen=True)
class Registrations:
    """Where the patient and the data lie in the reference space r. A change makes a new one.

    Parameters
    ----------
    data : by name
    r_M_pr : (4, 4) patient reference to r
    change, before : how this came about, and from what; None at the start

    Raises
    ------
    ValueError
        If a pose is not rigid and finite, a parent is missing, or the parents form a ring.

    References
    ----------
    CustusX, plug-in org.custusx.registration: a registration image to patient replaces ``r_M_pr``, one
    image to image moves the data.
    """

    data: Mapping[str, Datum]
    r_M_pr: Array
    change: Change | None = None
    before: "Registrations | None" = None

    def __post_init__(self) -> None:
        _pose(self.r_M_pr, "r_M_pr")
        for name, one in self.data.items():
            _pose(one.r_M_d, f"r_M_d of {name!r}")
            self.ancestors(name)
        object.__setattr__(self, "data", MappingProxyType(dict(self.data)))

    def ancestors(self, name: str) -> list[str]:
        """`name`, its parent, the parent's parent and so on."""
        line: list[str] = []
        at: str | None = name
        while at is not None:
            if at not in self.data:
                of = f", the parent of {line[-1]!r}," if line else ""
                raise ValueError(f"{at!r}{of} is not among the data; expected one of {sorted(self.data)}.")
            if at in line:
                raise ValueError(f"the parents of {name!r} form a ring: {' <- '.join([*line, at])}.")
            line.append(at)
            at = self.data[at].parent
        return line

    def pr_M_d(self, name: str) -> Array:
        """Where a datum lies in the patient reference, which is what navigation shows."""
        self.ancestors(name)
        return inverse(self.r_M_pr) @ self.data[name].r_M_d

    def history(self) -> list[Change]:
        """All changes up to now, the oldest first."""
        return [one.change for one in reversed(list(self._back())) if one.change is not None]

    def at(self, time_s: float) -> "Registrations":
        """What was so at that time; keep this one to come forward again."""
        return next(one for one in self._back() if one.change is None or one.change.time_s <= time_s)

    def _back(self) -> Iterator["Registrations"]:
        one: Registrations | None = self
        while one is not None:
            yield one
            one = one.before


def register_to_patient(
    now: Registrations, r_M_pr: ArrayLike, *, time_s: float, method: str = "", temporary: bool = False
) -> Registrations:
    """Image to patient: the patient moves in r, the data stay.

    An ultrasound volume was laid into r through the ``r_M_pr`` of its time. It stays there too, and no
    longer lies where the patient is: reconstruct it again, or register it as an image.

    Examples
    --------
    >>> start = Registrations({"ct": Datum(np.eye(4))}, np.eye(4))
    >>> moved = np.eye(4)
    >>> moved[0, 3] = 12.0
    >>> now = register_to_patient(start, moved, time_s=60.0, method="landmarks")
    >>> float(now.pr_M_d("ct")[0, 3]), float(now.data["ct"].r_M_d[0, 3])
    (-12.0, 0.0)
    >>> now.at(59.0) is start
    True
    """
    base = _base(now, "patient", time_s)
    pose = _pose(r_M_pr, "r_M_pr")
    delta = pose @ inverse(base.r_M_pr)
    change = Change(float(time_s), "patient", method, (), delta, temporary)
    return replace(base, r_M_pr=pose, change=change, before=base)


def register_to_image(
    now: Registrations,
    moving: str,
    fixed: str,
    delta_r: ArrayLike,
    *,
    time_s: float,
    method: str = "",
    temporary: bool = False,
) -> Registrations:
    """Image to image: `moving` and its kin move by `delta_r` in r, ``r_M_d' = delta_r @ r_M_d``.

    The kin are all that descend from the oldest ancestor of `moving` that is none of `fixed`: a
    segmentation follows its image. If the two had no common ancestor, that ancestor becomes a child of
    `fixed`, and follows it from now on.

    Raises
    ------
    ValueError
        If a name is unknown, `fixed` is or descends from `moving`, the pose is not rigid, or `time_s` is
        before the last change.
    """
    what = f"{moving} to {fixed}"
    base = _base(now, what, time_s)
    line, others = base.ancestors(moving), base.ancestors(fixed)
    delta = _pose(delta_r, "delta_r")
    if moving in others:
        raise ValueError(
            f"fixed {fixed!r} descends from moving {moving!r} and would move along; expected two that can "
            "move apart. Are they swapped?"
        )
    oldest = [name for name in line if name not in others][-1]
    moved = tuple(name for name in base.data if oldest in base.ancestors(name))
    data = dict(base.data)
    for name in moved:
        data[name] = replace(data[name], r_M_d=delta @ data[name].r_M_d)
    if line[-1] != others[-1]:
        data[oldest] = replace(data[oldest], parent=fixed)
    change = Change(float(time_s), what, method, moved, delta, temporary)
    return replace(base, data=data, change=change, before=base)


def orient_reference(
    now: Registrations, delta_r: ArrayLike, *, time_s: float, method: str = "", temporary: bool = False
) -> Registrations:
    """Turn the reference space itself: data and patient move together, nothing moves against another."""
    base = _base(now, "reference", time_s)
    delta = _pose(delta_r, "delta_r")
    data = {name: replace(one, r_M_d=delta @ one.r_M_d) for name, one in base.data.items()}
    change = Change(float(time_s), "reference", method, tuple(data), delta, temporary)
    return replace(base, data=data, r_M_pr=delta @ base.r_M_pr, change=change, before=base)


def _base(now: Registrations, what: str, time_s: float) -> Registrations:
    """What a change starts from: a temporary one of its kind is undone first."""
    last = now.change
    if last is None:
        return now
    if not last.time_s <= time_s:
        raise ValueError(f"time_s is {time_s}; expected {last.time_s} or later. Rewind with `at` first?")
    if last.temporary and last.what == what and now.before is not None:
        return now.before
    return now


def _pose(given: ArrayLike, name: str) -> Array:
    pose = np.array(given, dtype=float)
    if pose.shape != (4, 4):
        raise ValueError(f"{name} has shape {pose.shape}; expected (4, 4).")
    checked: Array = check_poses(pose[None], name)[0]
    return checked
