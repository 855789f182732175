"""What happens in an operating room, as the wire carries it: a pose, a picture, a status."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Where a tracked thing is: ``matrix`` (4, 4), mm, as the device `name` sends it; None where hidden.

    `time_s` is the stamp, seconds since 1970.
    """

    name: str
    time_s: float
    matrix: Array | None


@dataclass(frozen=True)
class Picture:
    """One ultrasound frame: ``pixels`` (h, w) uint8, first row nearest the probe, of ``spacing_mm`` (x, y).

    ``matrix`` (4, 4) maps pixels' millimetres, from the middle of the upper left pixel, to the space of the
    message; None where the picture travels without a pose.
    """

    name: str
    time_s: float
    pixels: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    matrix: Array | None = None


@dataclass(frozen=True)
class Status:
    """A word from the server: OpenIGTLink's code (1 is OK) and a sentence."""

    name: str
    time_s: float
    code: int
    text: str


Event = Pose | Picture | Status
