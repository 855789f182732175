"""Spin calibration: the axis of a shaft from poses recorded while the tool spins about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_poses

Array = NDArray[np.float64]

LEAST_SPIN_DEG = 5.0
"""A tool that turned less than this (RMS) about its shaft does not tell where the shaft is."""


@dataclass(frozen=True)
class SpinResult:
    """The axis of a shaft and what tells whether to trust it.

    Parameters
    ----------
    axis_s : (3,) unit vector in the sensor's space; its sign is free, the one with the largest part positive
    axis_pr : (3,) where it pointed in the patient reference, on average
    rms_deg : RMS angle of the axis, carried along by each pose, to `axis_pr`
    spread_deg : how far the tool turned about the axis, RMS from the mean
    ratio : how much less the axis moved than the direction that moved second least; 0 is ideal
    """

    axis_s: Array
    axis_pr: Array
    rms_deg: float
    spread_deg: float
    ratio: float


def calibrate_spin(pr_M_s: ArrayLike) -> SpinResult:
    """The axis of a tool from poses recorded while it spins about that axis.

    The axis is the direction of the tool that moves least: ``(R_i - mean R) axis_s = 0``, the right
    singular vector of the smallest singular value.

    Parameters
    ----------
    pr_M_s : (n, 4, 4) rigid, n >= 3

    Raises
    ------
    ValueError
        If there are fewer than 3 poses, a pose is not rigid, or the tool turned by less than 5 degrees.

    Examples
    --------
    >>> from navkit.geometry import pose_from
    >>> from scipy.spatial.transform import Rotation
    >>> turns = Rotation.from_rotvec(np.outer(np.linspace(0, 2, 9), [0.6, 0, 0.8]))
    >>> calibrate_spin(pose_from(turns, np.zeros((9, 3)))).axis_s.round(6) + 0.0
    array([0.6, 0. , 0.8])
    """
    m = check_poses(pr_M_s, "pr_M_s", at_least=3)
    r = m[:, :3, :3]
    r_mean = r.mean(axis=0)
    _, moved, directions = np.linalg.svd((r - r_mean).reshape(-1, 3), full_matrices=False)
    rms = moved / np.sqrt(len(r))  # RMS length of what each direction moved
    spread_deg = float(np.degrees(np.arcsin(min(rms[1], 1.0))))
    if spread_deg < LEAST_SPIN_DEG:
        raise ValueError(
            f"the {len(r)} poses turn by only {spread_deg:.2f} deg RMS; expected at least "
            f"{LEAST_SPIN_DEG:.0f} deg. Did the tool spin?"
        )
    axis_s = directions[2]
    axis_s = axis_s * np.sign(axis_s[np.argmax(np.abs(axis_s))])
    carried = r @ axis_s
    axis_pr = carried.mean(axis=0)
    axis_pr = axis_pr / np.linalg.norm(axis_pr)
    angle = np.arctan2(np.linalg.norm(np.cross(carried, axis_pr), axis=1), carried @ axis_pr)
    return SpinResult(
        axis_s, axis_pr, float(np.degrees(np.sqrt(np.mean(angle**2)))), spread_deg, float(rms[2] / rms[1])
    )
