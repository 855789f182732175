"""The probe's sector, a sweep of frames, and simulated pictures.

Pixels ``p`` have column first, ``(column, row)``, centres at integers, row downwards. The tool's
space ``t`` is CustusX's: the origin at the sector's apex (curved array) or the top centre of the
beam (linear array), ``z`` along the beam, ``y`` to the left in the picture, so the picture is the
plane ``x_t = 0``: pixel (c, r) lies at ``(0, -(c - c0) sx, (r - r0) sy)`` mm.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, transform_points
from navkit.phantoms import Phantom

__all__ = ["ProbeSector", "SimulationSettings", "Sweep", "simulate_frame", "simulate_sweep"]

Array = NDArray[np.float64]


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


@dataclass(frozen=True)
class SimulationSettings:
    """What the simulated scanner does.

    ``axial_mm``, ``lateral_mm`` and ``elevation_mm`` are the standard deviations of the pulse, the
    beam and the slice; ``ring_down_mm`` is over what depth the probe's own face fades;
    ``dynamic_range_db`` is what the 255 grey levels span; ``noise_db`` is the level of electronic noise
    relative to the brightest echo.
    """

    axial_mm: float = 0.18
    lateral_mm: float = 0.6
    elevation_mm: float = 0.7
    ring_down_mm: float = 0.15
    dynamic_range_db: float = 55.0
    noise_db: float = -62.0


def simulate_frame(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    rng: np.random.Generator,
    settings: SimulationSettings | None = None,
) -> NDArray[np.uint8]:
    """One B-mode picture (height, width) of a phantom.

    Wires give a point echo blurred by pulse, beam and slice; tissue gives fully developed speckle
    that is fixed in the phantom's space, so that overlapping frames agree; the sum is
    log-compressed. Shadows, reverberation and refraction are not simulated.

    Parameters
    ----------
    phantom : Phantom, in its own space ``d``
    sector : ProbeSector
    d_M_p : (4, 4) affine from pixels to the phantom, mm
    rng : numpy Generator, for the electronic noise only
    """
    s = settings or SimulationSettings()
    pose = np.asarray(d_M_p, dtype=float)
    height, width = sector.shape
    mask = sector.mask()
    rows, columns = np.nonzero(mask)
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(float)
    points_d = transform_points(pose, pixels)

    echo = phantom.echogenicity(points_d) * phantom.speckle(points_d)
    echo += _wire_echo(phantom, sector, pose, pixels, s)
    echo += np.exp(-_depth_mm(sector, pixels) / s.ring_down_mm)
    sd = 10 ** (s.noise_db / 20)
    noise = np.hypot(*rng.normal(scale=sd / np.sqrt(2), size=(2, len(rows))))
    level_db = 20 * np.log10(np.maximum(np.hypot(echo, noise), 1e-6))
    grey = 255 * np.clip(1 + level_db / s.dynamic_range_db, 0, 1)
    frame = np.zeros((height, width), dtype=np.uint8)
    frame[rows, columns] = np.rint(grey)
    return frame


def _depth_mm(sector: ProbeSector, pixels: Array) -> Array:
    """Depth (k,) below the probe's face."""
    _, y, z = sector.pixels_to_tool(pixels[:, :2]).T
    depth: Array = (z if sector.kind == "linear" else np.hypot(y, z)) - sector.depth_mm[0]
    return depth


def _wire_echo(
    phantom: Phantom, sector: ProbeSector, d_M_p: Array, pixels: Array, s: SimulationSettings
) -> Array:
    """Amplitude (k,) of the wires' echoes at `pixels`: a Gaussian pulse about the nearest wire point."""
    echo = np.zeros(len(pixels))
    scale = np.linalg.norm(d_M_p[:3, :3], axis=0)
    p_M_d = inverse(d_M_p)
    for a_d, b_d in phantom.wires:
        a, b = transform_points(p_M_d, np.stack([a_d, b_d]))
        # in the picture's own axes, mm: across, along the beam, through the slice; each in its blur
        unit = scale / np.array([s.lateral_mm, s.axial_mm, s.elevation_mm])
        start, along = a * unit, (b - a) * unit
        reach = np.clip((pixels * unit - start) @ along / (along @ along), 0, 1)
        miss = np.sum((pixels * unit - start - reach[:, None] * along) ** 2, axis=1)
        echo += phantom.wire_echo * np.exp(-miss / 2)
    return echo


def simulate_sweep(
    phantom: Phantom,
    sector: ProbeSector,
    pr_M_t: ArrayLike,
    time_s: ArrayLike,
    *,
    rng: np.random.Generator,
    pr_M_d: ArrayLike | None = None,
    settings: SimulationSettings | None = None,
    name: str = "simulated",
) -> Sweep:
    """A sweep of simulated frames, one for each tool pose (n, 4, 4); the phantom lies at ``pr_M_d``."""
    poses = np.asarray(pr_M_t, dtype=float)
    d_M_pr = np.eye(4) if pr_M_d is None else inverse(pr_M_d)
    pr_M_p = poses @ sector.t_M_p()
    frames = np.stack(
        [simulate_frame(phantom, sector, d_M_pr @ m, rng=rng, settings=settings) for m in pr_M_p]
    )
    time = np.asarray(time_s, dtype=float)
    return Sweep(frames, time, pr_M_p, sector, np.ones(len(time), dtype=bool), name)
