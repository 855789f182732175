"""A tracked sequence of ultrasound frames."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from navkit.ultrasound._sector import ProbeSector

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sweep:
    """A tracked sequence of ultrasound frames.

    Parameters
    ----------
    frames : (n, height, width) uint8 grey values
    time_s : (n,) seconds
    pr_M_p : (n, 4, 4) affine; maps pixels (column, row, 0) to the patient reference, mm
    sector : ProbeSector
    valid : (n,) bool; frames without a trustworthy pose are False and used by nothing
    name : str
    notes : tuple of str
        What the reader noticed: frames dropped, a spacing that was overridden.
    """

    frames: NDArray[np.uint8]
    time_s: Array
    pr_M_p: Array
    sector: ProbeSector
    valid: NDArray[np.bool_]
    name: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.frames)
        if not (self.time_s.shape == self.valid.shape == (n,) and self.pr_M_p.shape == (n, 4, 4)):
            raise ValueError(
                f"{n} frames, {self.time_s.shape} times, {self.pr_M_p.shape} poses and {self.valid.shape} "
                "validity marks; expected the same number of each."
            )
        if self.frames.shape[1:] != self.sector.shape:
            raise ValueError(
                f"frames have {self.frames.shape[1:]} (rows, columns); the sector is for {self.sector.shape}."
            )

    def __len__(self) -> int:
        return len(self.frames)
