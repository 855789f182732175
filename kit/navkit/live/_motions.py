"""How a patient and a pointer move while the probe sweeps: poses at any time since the stream's start."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import inverse, orthonormalised, pose_from
from navkit.tracking import PoseStream
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]
Motion = Callable[[Array], Array]
"""Poses (n, 4, 4) at (n,) seconds since the start; NaN where the thing is not seen."""

BEFORE_THE_CAMERA: Array = pose_from(
    Rotation.from_euler("xyz", [160.0, 15.0, 75.0], degrees=True), [40.0, -60.0, -1000.0]
)
"""``tr_M_pr``: a patient reference a metre before an optical tracker, which looks along -z."""
BEFORE_THE_CAMERA.setflags(write=False)


def patient(tr_M_pr: Array = BEFORE_THE_CAMERA, *, breath_mm: float = 0.0, period_s: float = 4.0) -> Motion:
    """The patient reference ``tr_M_pr`` in the tracker's space: still, or lifted `breath_mm` by each breath.

    Half of the lift goes along the reference's x as well, and a degree of turn comes with each 2 mm.

    >>> out, up = patient(breath_mm=2.0)(np.array([0.0, 2.0]))[:, :3, 3]
    >>> round(float(np.linalg.norm(up - out)), 6)  # 2 mm and 1 mm across
    2.236068
    """

    def where(time_s: Array) -> Array:
        lift = breath_mm * (0.5 - 0.5 * np.cos(2 * np.pi * time_s / period_s))
        zero = np.zeros_like(lift)
        turn = Rotation.from_rotvec(np.radians(np.stack([lift / 2, zero, zero], axis=1)))
        moved: Array = tr_M_pr @ pose_from(turn, np.stack([lift / 2, lift, zero], axis=1))
        return moved

    return where


def pointer_tour(sweep: Sweep) -> Motion:
    """A pointer ``pr_M_s`` that strolls over the phantom below the probe, and never the same way twice.

    Its tip is the origin of its sensor's space and its shaft goes up along z. The stroll is within 45 mm of
    the middle of the middle picture.
    """
    middle = np.flatnonzero(sweep.valid)
    if not middle.size:
        raise ValueError("no frame of the sweep has a pose; expected one to lead the pointer there.")
    t_M_p = sweep.sector.t_M_p()
    pr_M_t = orthonormalised(sweep.pr_M_p[middle[len(middle) // 2]] @ inverse(t_M_p))
    depth = float(np.mean(sweep.sector.depth_mm))

    def where(time_s: Array) -> Array:
        a, b, c = (
            np.sin(2 * np.pi * time_s / period + phase)
            for period, phase in ((5.3, 0.0), (7.1, 1.0), (3.7, 2.0))
        )
        place = np.stack([22 * a, 30 * b, depth + 6 * c], axis=1)
        turn = Rotation.from_euler("xyz", np.stack([195 + 12 * b, 20 * a, 30 * c], axis=1), degrees=True)
        moved: Array = pr_M_t @ pose_from(turn, place)
        return moved

    return where


def played(stream: PoseStream, *, max_gap_s: float = 0.25) -> Motion:
    """A recorded stream from its start to its end and back again, without a jump, for ever."""
    first, span = stream.time_s[0], float(np.ptp(stream.time_s))

    def where(time_s: Array) -> Array:
        return stream.at(first + folded(time_s, span), max_gap_s=max_gap_s)[0]

    return where


def folded(time_s: Array, span_s: float) -> Array:
    """Times that run from 0 to `span_s` and back again.

    >>> folded(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), 2.0)
    array([0., 1., 2., 1., 0., 1.])
    """
    there: Array = span_s - np.abs(span_s - np.mod(time_s, 2 * span_s))
    return there
