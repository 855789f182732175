"""Points with names, and what all their formats share."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.geometry import RAS_M_LPS

Array = NDArray[np.float64]

TO_LPS = {"LPS": np.ones(3), "RAS": RAS_M_LPS.diagonal()[:3]}
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class NamedPoints:
    """Points with a name each.

    Attributes
    ----------
    points_r : (n, 3) patient LPS in mm
    labels : n names; empty where the file has none
    notes : what was assumed and what was left out, one sentence each
    second_r : (n, 3) the same places in the second volume of a tag file, None where there is one volume
    """

    points_r: Array
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    second_r: Array | None = None


def finite(words: Sequence[str], where: str) -> list[float]:
    """Finite decimal numbers; `float` alone would also take nan, 1_0 and digits of other scripts."""
    values = [float(word) if NUMBER.fullmatch(word.strip()) else math.nan for word in words]
    if not all(map(math.isfinite, values)):
        raise FileError(f"{where}: {' '.join(words)!r}; expected finite numbers.")
    return values


def named(rows: list[list[float]], labels: list[str], notes: list[str], system: str) -> NamedPoints:
    volumes = len(rows[0]) // 3 if rows else 1
    pairs = np.array(rows, dtype=float).reshape(-1, volumes, 3) * TO_LPS[system]
    return NamedPoints(pairs[:, 0], tuple(labels), tuple(notes), pairs[:, 1] if volumes == 2 else None)
