"""What goes wrong in a room while it is on the wire: tools that hide, poses that lie, pictures that stick.

A tool's fault takes a `PoseStream` and gives one of as many samples, as those of `navkit.tracking` do; its
times are seconds since the stream's start. A fault of the pictures takes their times and which frame each
shows, and gives both.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.tracking import PoseStream, add_jitter, drop_out, repeat_samples

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
ToolFault = Callable[[PoseStream], PoseStream]
PictureFault = Callable[[Array, Indices], tuple[Array, Indices]]

ROUNDING_S = 1e-9
TOOLS = ("probe", "pointer", "reference")


@dataclass(frozen=True)
class Faults:
    """What is spoilt, in order: by tool ("probe", "pointer", "reference"), and what befalls the pictures."""

    tools: Mapping[str, Sequence[ToolFault]] = field(default_factory=dict)
    pictures: Sequence[PictureFault] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tools) - set(TOOLS))
        if unknown:
            raise ValueError(f"no tool {unknown[0]!r}; expected some of {', '.join(TOOLS)}.")


def hide(stream: PoseStream, *, start_s: float, end_s: float, every_s: float | None = None) -> PoseStream:
    """Nobody sees the tool from `start_s` up to `end_s`, once or again every `every_s` seconds.

    >>> stream = PoseStream(np.arange(6), np.tile(np.eye(4), (6, 1, 1)))
    >>> hide(stream, start_s=1, end_s=2, every_s=3).valid
    array([ True, False,  True,  True, False,  True])
    """
    lost = _within(stream.time_s, start_s, end_s, every_s)
    return replace(
        stream, pose=np.where(lost[:, None, None], np.nan, stream.pose), valid=stream.valid & ~lost
    )


def add_noise(
    stream: PoseStream, *, rng: np.random.Generator, sd_mm: float, sd_deg: float = 0.0
) -> PoseStream:
    """White noise: of `sd_mm` along each axis of the tracker, and of `sd_deg` about each."""
    turn = Rotation.from_rotvec(np.radians(rng.normal(scale=sd_deg, size=(len(stream), 3))))
    noise = pose_from(turn, rng.normal(scale=sd_mm, size=(len(stream), 3)))
    pose = stream.pose.copy()
    pose[:, :3, :3] = noise[:, :3, :3] @ pose[:, :3, :3]
    pose[:, :3, 3] += noise[:, :3, 3]
    return replace(stream, pose=pose)


def add_outliers(
    stream: PoseStream, *, rng: np.random.Generator, fraction: float, size_mm: float
) -> PoseStream:
    """Single poses thrown `size_mm` away, each in its own direction: a reflection taken for a marker.

    They are as valid as the others; only their neighbours tell.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1.")
    thrown = rng.random(len(stream)) < fraction
    way = rng.normal(size=(len(stream), 3))
    pose = stream.pose.copy()
    pose[thrown, :3, 3] += size_mm * (way / np.linalg.norm(way, axis=1, keepdims=True))[thrown]
    return replace(stream, pose=pose)


def drop_pictures(
    time_s: Array, shown: Indices, *, rng: np.random.Generator, fraction: float
) -> tuple[Array, Indices]:
    """Pictures that never leave the grabber, each with the same chance."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected 0 to 1.")
    keep = rng.random(len(time_s)) >= fraction
    return time_s[keep], shown[keep]


def freeze_pictures(
    time_s: Array, shown: Indices, *, start_s: float, end_s: float, every_s: float | None = None
) -> tuple[Array, Indices]:
    """The picture stands still: somebody pressed freeze. New stamps, the old picture.

    >>> freeze_pictures(np.arange(5.0), np.arange(5), start_s=1.5, end_s=3.5)[1]
    array([0, 1, 1, 1, 4])
    """
    stuck = _within(time_s, start_s, end_s, every_s)
    last = np.maximum.accumulate(np.where(stuck, 0, np.arange(len(shown))))
    return time_s, shown[last]


TOOL_FAULTS: dict[str, tuple[Callable[..., PoseStream], tuple[str, ...]]] = {
    "hidden": (hide, ("start_s", "end_s", "every_s")),
    "lost": (drop_out, ("fraction", "length_s")),
    "repeats": (repeat_samples, ("every",)),
    "jitter": (add_jitter, ("sd_s",)),
    "noise": (add_noise, ("sd_mm", "sd_deg")),
    "outliers": (add_outliers, ("fraction", "size_mm")),
}
PICTURE_FAULTS: dict[str, tuple[Callable[..., tuple[Array, Indices]], tuple[str, ...]]] = {
    "dropped": (drop_pictures, ("fraction",)),
    "frozen": (freeze_pictures, ("start_s", "end_s", "every_s")),
}
RANDOM = {"lost", "jitter", "noise", "outliers", "dropped"}
OPTIONAL = {"every_s", "sd_deg"}
FAULT_WORDS = (
    "probe hidden 3 4 [every 10], probe lost 0.1 0.5 (share, s), probe repeats 2, probe jitter 0.005 (s), "
    "probe noise 0.3 [0.2] (mm, deg), probe outliers 0.01 20 (share, mm), pictures dropped 0.1 (share), "
    "pictures frozen 2 3 [every 10]; pointer and reference as probe"
)


def faults_from(words: Sequence[str], *, rng: np.random.Generator) -> Faults:
    """Faults as one types them: each a text such as "probe hidden 3 4" or "pictures dropped 0.1".

    Raises
    ------
    ValueError
        If a text is not one of the kinds; the sentence names them.

    Examples
    --------
    >>> words = ["probe hidden 3-4 every 10", "pictures dropped 0.1"]
    >>> found = faults_from(words, rng=np.random.default_rng())
    >>> len(found.tools["probe"]), len(found.pictures)
    (1, 1)
    """
    tools: dict[str, list[ToolFault]] = {}
    pictures: list[PictureFault] = []
    for text in words:
        what, kind, *rest = (*text.split(), "", "")[: max(2, len(text.split()))]
        table: Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]]
        table = TOOL_FAULTS if what in TOOLS else PICTURE_FAULTS if what == "pictures" else {}
        numbers = re.findall(r"\d+(?:\.\d*)?|\.\d+", " ".join(rest))
        left = re.sub(r"\d+(?:\.\d*)?|\.\d+|every|-|\s", "", " ".join(rest))
        function, names = table.get(kind, (None, ()))
        needed = len([name for name in names if name not in OPTIONAL])
        if function is None or left or not needed <= len(numbers) <= len(names):
            raise ValueError(f"fault {text!r} is not understood; expected one like {FAULT_WORDS}.")
        given: dict[str, Any] = {
            name: int(float(n)) if name == "every" else float(n)
            for name, n in zip(names, numbers, strict=False)
        }
        if kind in RANDOM:
            given["rng"] = rng
        made: Any = partial(function, **given)
        (pictures if what == "pictures" else tools.setdefault(what, [])).append(made)
    return Faults(tools, tuple(pictures))


def _within(time_s: Array, start_s: float, end_s: float, every_s: float | None) -> NDArray[np.bool_]:
    if not (end_s > start_s and (every_s is None or every_s >= end_s - start_s)):
        raise ValueError(
            f"from {start_s} to {end_s} s every {every_s} s; expected an end after the start, and a period "
            "no shorter than that."
        )
    since = time_s - start_s + ROUNDING_S
    if every_s is not None:
        since = np.where(since >= 0, since % every_s, since)
    inside: NDArray[np.bool_] = (since >= 0) & (since < end_s - start_s)
    return inside
