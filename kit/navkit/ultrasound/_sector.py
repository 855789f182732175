"""The part of the picture that the probe insonifies."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import transform_points

Array = NDArray[np.float64]

EDGE_PX = 4


@dataclass(frozen=True)
class ProbeSector:
    """The part of the picture that the probe insonifies, and how it is placed in the tool.

    Parameters
    ----------
    kind : "linear" or "sector"
    width : mm for a linear array, opening angle in radians for a sector
    depth_mm : (2,) start and end of the beam, mm from the origin
    origin_p : (2,) column, row of the origin of ``t``; may be fractional
    spacing_mm : (2,) pixel width and height, mm
    clip_p : (4,) first and last column, first and last row, inclusive
    shape : (height, width) of the picture, pixels
    """

    kind: Literal["linear", "sector"]
    width: float
    depth_mm: tuple[float, float]
    origin_p: tuple[float, float]
    spacing_mm: tuple[float, float]
    clip_p: tuple[int, int, int, int]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "sector"):
            raise ValueError(f"kind is {self.kind!r}; expected 'linear' or 'sector'.")
        if not (self.width > 0 and self.depth_mm[1] > self.depth_mm[0]):
            raise ValueError(
                f"the beam is {self.width} wide from {self.depth_mm[0]} to {self.depth_mm[1]} mm; "
                "expected a positive width and an end below the start."
            )
        if min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm is {self.spacing_mm}; expected two positive numbers.")

    def mask(self) -> NDArray[np.bool_]:
        """Which pixels (height, width) hold echoes: inside the clip rectangle and the beam."""
        rows, columns = np.indices(self.shape)
        across = (columns - self.origin_p[0]) * self.spacing_mm[0]
        down = (rows - self.origin_p[1]) * self.spacing_mm[1]
        tiny = 1e-9  # a pixel centre on the edge belongs to the beam
        if self.kind == "linear":
            beam = (np.abs(across) <= self.width / 2 + tiny) & (down >= self.depth_mm[0] - tiny)
            beam &= down <= self.depth_mm[1] + tiny
        else:
            distance = np.hypot(across, down)
            angle = np.arctan2(across, down)
            beam = (np.abs(angle) <= self.width / 2 + tiny) & (distance >= self.depth_mm[0] - tiny)
            beam &= distance <= self.depth_mm[1] + tiny
        left, right, top, bottom = self.clip_p
        inside: NDArray[np.bool_] = (
            beam & (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        )
        return inside

    def t_M_p(self) -> Array:
        """The affine transform (4, 4) from pixels ``(column, row, 0)`` to the tool, mm.

        The third column keeps the frame right-handed with unit length: ``z_p`` is CustusX's ``z_v``.
        """
        sx, sy = self.spacing_mm
        c0, r0 = self.origin_p
        return np.array(
            [
                [0.0, 0.0, -1.0, 0.0],
                [-sx, 0.0, 0.0, c0 * sx],
                [0.0, sy, 0.0, -r0 * sy],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )

    def pixels_to_tool(self, px: ArrayLike) -> Array:
        """Pixels (..., 2), column first, as points (..., 3) in ``t``, mm.

        >>> sector = ProbeSector("linear", 38, (0, 40), (45, 7), (0.5, 0.4), (7, 83, 7, 107), (128, 96))
        >>> sector.pixels_to_tool([7, 107])
        array([ 0., 19., 40.])
        """
        p = np.asarray(px, dtype=float)
        return transform_points(self.t_M_p(), np.concatenate([p, np.zeros((*p.shape[:-1], 1))], axis=-1))


def linear_array(width_mm: float, depth_mm: float, pixel_mm: float) -> ProbeSector:
    """A linear array in the middle of its picture, with a dark edge of 4 pixels.

    Examples
    --------
    >>> linear_array(38.0, 40.0, 0.25).shape
    (169, 161)
    """
    columns, rows = round(width_mm / pixel_mm) // 2 * 2 + 1, round(depth_mm / pixel_mm) + 1
    shape = (rows + 2 * EDGE_PX, columns + 2 * EDGE_PX)
    clip = (EDGE_PX, EDGE_PX + columns - 1, EDGE_PX, EDGE_PX + rows - 1)
    origin = (EDGE_PX + columns // 2, EDGE_PX)
    return ProbeSector("linear", width_mm, (0.0, depth_mm), origin, (pixel_mm, pixel_mm), clip, shape)


def curved_array(radius_mm: float, angle_deg: float, depth_mm: float, pixel_mm: float) -> ProbeSector:
    """A curved array; its origin is the middle of its curvature, `depth_mm` counts from its face.

    Examples
    --------
    >>> curved_array(50.0, 60.0, 125.0, 0.6).depth_mm
    (50.0, 175.0)
    """
    half, end = np.radians(angle_deg) / 2, radius_mm + depth_mm
    top = float(np.floor(radius_mm * np.cos(half) / pixel_mm))
    beside = int(np.ceil(end * min(np.sin(half), 1.0) / pixel_mm))
    rows = int(np.ceil(end / pixel_mm - top)) + 1
    clip = (EDGE_PX, EDGE_PX + 2 * beside, EDGE_PX, EDGE_PX + rows - 1)
    return ProbeSector(
        "sector",
        float(2 * half),
        (radius_mm, end),
        (float(EDGE_PX + beside), EDGE_PX - top),
        (pixel_mm, pixel_mm),
        clip,
        (rows + 2 * EDGE_PX, 2 * beside + 1 + 2 * EDGE_PX),
    )
