"""Where a stylus dwelt: its tip at rest while its shaft was swivelled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points
from navkit.tracking._stream import PoseStream

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dwell:
    """One landmark that was touched.

    Parameters
    ----------
    point_pr : (3,) mm, the mean of the tip over the first stretch that was long and swivelled enough, so what
        a program that listens live reports
    spread_mm : RMS distance of the tip from `point_pr` over that stretch
    first, last : the samples of the stream at which the dwell begins and ends, the end included; it goes on
        for as long as further stretches keep to the same place
    """

    point_pr: Array
    spread_mm: float
    first: int
    last: int


def find_dwells(
    stream: PoseStream,
    tip_s: ArrayLike,
    *,
    tip_mm: float = 1.5,
    shaft_mm: float = 30.0,
    least_s: float = 1.0,
    apart_mm: float = 5.0,
) -> list[Dwell]:
    """The landmarks at which the tip of a stylus rested while the stylus was swivelled.

    Swivelling tells a touch from a stylus that lies on the table: over at least `least_s` the tip keeps
    within a box and the sensor does not. PLUS's landmark detection works so, with the same sizes [1]_.

    Parameters
    ----------
    stream : poses of the stylus's sensor in the patient reference; samples that are not valid are passed over
    tip_s : (3,) mm, the tip in the sensor's space. A wrong tip wanders as the stylus swivels: calibrate first
    tip_mm : diagonal of the box that holds the tip
    shaft_mm : diagonal of the box that the sensor leaves
    least_s : seconds
    apart_mm : a touch nearer than this to one before is the same landmark again

    Returns
    -------
    list of Dwell, in the order in which they were first touched

    Raises
    ------
    ValueError
        If the tip is no point or a size is not positive.

    References
    ----------
    .. [1] PLUS, vtkPlusLandmarkDetectionAlgo.
    """
    if min(tip_mm, shaft_mm, least_s, apart_mm) <= 0:
        raise ValueError(
            f"tip_mm, shaft_mm, least_s and apart_mm are {tip_mm}, {shaft_mm}, {least_s} and {apart_mm}; "
            "expected positive numbers."
        )
    tip_there = check_points(np.asarray(tip_s, dtype=float)[None], "tip_s")[0]
    sample = np.flatnonzero(stream.valid)
    pose, time = stream.pose[sample], stream.time_s[sample]
    shaft = pose[:, :3, 3]
    tip: Array = pose[:, :3, :3] @ tip_there + shaft
    interval = float(np.median(np.diff(time))) if len(time) > 1 else 0.0  # a sample stands for so long
    dwells: list[Dwell] = []
    start = 0
    for k in range(len(sample)):
        while _diagonal(tip[start : k + 1]) > tip_mm:
            start += 1
        stretch = slice(start, k + 1)
        if time[k] - time[start] + interval < least_s - 1e-9 or _diagonal(shaft[stretch]) < shaft_mm:
            continue
        point = tip[stretch].mean(axis=0)
        spread = float(np.sqrt(np.mean(np.sum((tip[stretch] - point) ** 2, axis=1))))
        first, last = int(sample[start]), int(sample[k])
        start = k + 1
        near = [i for i, d in enumerate(dwells) if np.linalg.norm(d.point_pr - point) < apart_mm]
        if not near:
            dwells.append(Dwell(point, spread, first, last))
        elif near[0] == len(dwells) - 1:  # still there, or back before anything else was touched
            one = dwells[-1]
            dwells[-1] = Dwell(one.point_pr, one.spread_mm, one.first, last)
    return dwells


def _diagonal(points: Array) -> float:
    """Of the box around points (n, 3); 0 for none."""
    return float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0
