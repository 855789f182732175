"""Rigid transforms on ``(..., 4, 4)`` arrays.

The notation is CustusX's: ``q_M_r`` maps points given in space ``r`` to space ``q``,
``p_q = q_M_r @ p_r``, so neighbouring letters match and cancel in a chain such as
``r_M_u = r_M_pr @ pr_M_s @ s_M_t @ t_M_u``. Vectors are columns, lengths millimetres.
Rotation algebra is scipy's; what is added here is the checking of input and the names. `fit_rigid` is the
rigid transform between paired points; its theory is in `navkit.registration`.
"""

from navkit.geometry._fit import RigidFit, cross, fit_rigid, kabsch, refuse_line
from navkit.geometry._poses import (
    RAS_M_LPS,
    PoseError,
    check_points,
    check_poses,
    compose,
    interpolate_poses,
    inverse,
    mean_pose,
    orthonormalised,
    pose_error,
    pose_from,
    transform_points,
)
from navkit.geometry._spaces import SpaceGraph

__all__ = [
    "RAS_M_LPS",
    "PoseError",
    "RigidFit",
    "SpaceGraph",
    "check_points",
    "check_poses",
    "compose",
    "cross",
    "fit_rigid",
    "interpolate_poses",
    "inverse",
    "kabsch",
    "mean_pose",
    "orthonormalised",
    "pose_error",
    "pose_from",
    "refuse_line",
    "transform_points",
]
