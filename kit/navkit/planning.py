"""Slice planes: which plane of a volume a view shows for a tool, and which way up.

The planes, their axes on the screen and their centres are CustusX's (``cxSliceComputer.cpp``). A plane has
no data of its own: `SlicePlane.points` says where its pixels are, and `navkit.reconstruction.sample` takes
the grey values there. For teaching and research; not a medical device.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, check_poses, pose_from, transform_points

__all__ = ["Kind", "SlicePlane", "slice_plane"]

Array = NDArray[np.float64]
Kind = Literal["axial", "coronal", "sagittal", "any", "inverse_any", "side", "radial", "tool_side"]

# Right and up on the screen: in r for the three that follow the patient, in t for those that follow the tool.
IN_R = {"axial": "-x -y", "coronal": "-x +z", "sagittal": "+y +z"}
IN_T = {"any": "-y -z", "inverse_any": "-y +z", "side": "-x -z", "radial": "-y -x", "tool_side": "-x -z"}
STEEP = np.sqrt(3) / 2  # a tool less than 30 degrees from the vertical


@dataclass(frozen=True)
class SlicePlane:
    """A plane as it stands on the screen: `centre_r` (3,) in mm, `right_r` and `up_r` (3,) of length 1."""

    centre_r: Array
    right_r: Array
    up_r: Array

    @property
    def r_M_sl(self) -> Array:
        """The pose (4, 4) of the slice: x right, y up, z towards the viewer, origin at the centre."""
        rotation = np.stack([self.right_r, self.up_r, np.cross(self.right_r, self.up_r)], axis=1)
        return pose_from(rotation, self.centre_r)

    def points(self, width_mm: float, height_mm: float, spacing_mm: float) -> Array:
        """Where the pixels of a picture of this plane are: (rows, columns, 3) in ``r``, mm.

        Row 0 is the top, column 0 the left. The middle of the picture is the plane's centre.

        Raises
        ------
        ValueError
            If a length is not positive.

        Examples
        --------
        >>> plane = slice_plane("coronal", np.eye(4))
        >>> plane.points(3.0, 2.0, 1.0).shape
        (2, 3, 3)
        >>> plane.points(3.0, 2.0, 1.0)[0, 0]  # above and, in the neurosurgeon's view, to the patient's left
        array([1. , 0. , 0.5])
        """
        if not min(width_mm, height_mm, spacing_mm) > 0:
            got = f"{width_mm} x {height_mm} mm with a spacing of {spacing_mm} mm"
            raise ValueError(f"expected lengths above 0 mm, got {got}.")
        columns, rows = max(1, round(width_mm / spacing_mm)), max(1, round(height_mm / spacing_mm))
        x = (np.arange(columns) - (columns - 1) / 2) * spacing_mm
        y = ((rows - 1) / 2 - np.arange(rows)) * spacing_mm
        points: Array = self.centre_r + x[:, None] * self.right_r + y[:, None, None] * self.up_r
        return points


def slice_plane(
    kind: Kind,
    r_M_t: ArrayLike,
    *,
    centre_r: ArrayLike | None = None,
    tool_offset_mm: float = 0.0,
    convention: Literal["neurology", "radiology"] = "neurology",
    down_r: ArrayLike | None = None,
    view: tuple[float, float] | None = None,
) -> SlicePlane:
    """The plane that a view of this kind shows while a tool has the pose `r_M_t`.

    Parameters
    ----------
    kind : "axial", "coronal", "sagittal" keep their directions in the patient; the plane goes through the
        tool's tip, the picture's middle stays at `centre_r`. "any" is the plane of the probe's own
        picture, "inverse_any" the same upside down; "side" stands across it and holds the beam too, "radial"
        is across the beam. "tool_side" stands upright and holds the beam; its middle stays at `centre_r`.
    r_M_t : (4, 4) pose of the tool, z along its beam or needle
    centre_r : (3,) mm; the tip when left out
    tool_offset_mm : a virtual tip, so far beyond the real one
    convention : "radiology" shows the patient's right on the left of axial and coronal pictures, as seen
        from the feet; "neurology" the patient's left on the left.
    down_r : (3,) the direction of gravity; planes of the tool are turned within themselves so that up is up.
        If the plane lies nearly level, that gives way to the tool's own directions.
    view : (height in mm, share): the tip stands at this share of the height from the picture's top; for
        "any", "inverse_any" and "side".

    Returns
    -------
    SlicePlane

    Raises
    ------
    ValueError
        If the kind or convention has another name, or the pose is none.

    Notes
    -----
    Of CustusX's own planes: ``cxSliceComputer.cpp`` and its test, ``cxtestCatchSliceComputer.cpp``.

    Examples
    --------
    >>> tool = np.eye(4)
    >>> tool[:3, 3] = 5.0, 40.0, -50.0
    >>> slice_plane("sagittal", tool, centre_r=[33.0, 66.0, -3.0]).centre_r
    array([ 5., 66., -3.])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"expected a plane among {', '.join(get_args(Kind))}; got {kind!r}.")
    if convention not in ("neurology", "radiology"):
        raise ValueError(f"expected 'neurology' or 'radiology', got {convention!r}.")
    pose = check_poses(np.asarray(r_M_t, dtype=float)[None], "r_M_t")[0]
    right_r, up_r = (_axis(word) for word in (IN_R | IN_T)[kind].split())
    if kind in IN_T:
        right_r, up_r = pose[:3, :3] @ right_r, pose[:3, :3] @ up_r
    elif convention == "radiology" and kind != "sagittal":
        right_r = -right_r
    tip_r, at_r = transform_points(pose, [[0.0, 0.0, 0.0], [0.0, 0.0, tool_offset_mm]])
    if kind in IN_T and down_r is not None:
        up = -check_points(np.asarray(down_r, dtype=float)[None], "down_r")[0]
        if not up.any():
            raise ValueError("down_r is 0 0 0; expected the direction of gravity.")
        up /= np.linalg.norm(up)
        turned = _along_the_tool if kind == "tool_side" else _upright
        right_r, up_r = turned(right_r, up_r, up, pose[:3, 2])
    middle_r = at_r
    if centre_r is not None and (kind in IN_R or kind == "tool_side"):
        normal = np.cross(right_r, up_r)
        middle_r = check_points(np.asarray(centre_r, dtype=float)[None], "centre_r")[0]
        middle_r = middle_r + normal * ((at_r - middle_r) @ normal)
    if view is not None and kind in ("any", "inverse_any", "side"):
        limit = view[0] * (0.5 - view[1])
        # Both tips stay in the picture; the virtual one decides.
        middle_r = middle_r + up_r * min((at_r - middle_r) @ up_r + limit, (tip_r - middle_r) @ up_r - limit)
    return SlicePlane(middle_r, right_r, up_r)


def _axis(word: str) -> Array:
    axis: Array = np.eye(3)["xyz".index(word[1])] * (1.0 if word[0] == "+" else -1.0)
    return axis


def _upright(right: Array, up: Array, sky: Array, beam: Array) -> tuple[Array, Array]:
    """Turn a plane within itself so that up points to the sky, the less the more level the plane is."""
    normal = np.cross(right, up)
    level = (sky @ normal) ** 2
    right = np.cross(sky, normal) * (1 - level) + right * level
    right = right / np.linalg.norm(right)
    return right, np.cross(normal, right)


def _along_the_tool(right: Array, up: Array, sky: Array, beam: Array) -> tuple[Array, Array]:
    """The upright plane that holds the tool; for a steep tool, more and more that of the tool's own side."""
    steep = max(0.0, (abs(sky @ beam) - STEEP) / (1 - STEEP))
    across = np.cross(sky, beam)
    across = across / max(float(np.linalg.norm(across)), 1e-12)
    across = across * (1 - steep) - np.cross(right, up) * steep
    right = np.cross(across, sky)
    return right / np.linalg.norm(right), sky
