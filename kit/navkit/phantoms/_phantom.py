"""A phantom: named parts in a background, with what a learner is asked about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.phantoms._shapes import Shape
from navkit.phantoms._tissues import TISSUES, Tissue
from navkit.phantoms._voxels import label_blocks, label_grid

Array = NDArray[np.float64]

SPECKLE_VOXEL_MM = 0.25
SPECKLE_TILE = 96
LIVER_LEVEL = 0.1
"""Mean echo amplitude of a tissue of 0 dB, relative to the brightest that the scanner can show."""


@dataclass(frozen=True)
class Part:
    """One solid of one tissue; `name` is what a learner calls it."""

    name: str
    shape: Shape
    tissue: Tissue


@dataclass(frozen=True)
class LabelVolume:
    """A phantom on a grid.

    Parameters
    ----------
    labels : (nz, ny, nx) uint8, index into `tissues`
    tissues : label -> Tissue; 0 is the background
    origin_mm : (3,) x, y, z of the centre of voxel (0, 0, 0), in the phantom's space d
    spacing_mm : (3,) along x, y, z
    """

    labels: NDArray[np.uint8]
    tissues: tuple[Tissue, ...]
    origin_mm: Array
    spacing_mm: Array


@dataclass(frozen=True)
class Phantom:
    """Parts in a background, in a space ``d`` of its own (mm).

    What it is made of is a function of position, so that any number of pictures, at any spacing, agree
    about it.

    Parameters
    ----------
    name : str
    parts : the later one wins where two overlap
    background : Tissue
    low, high : (3,) the box that is of interest
    wires : (n, 2, 3) end points of thin wires, which are not parts
    wire_echo : amplitude of a wire's echo; 1 is the brightest that the scanner can show
    landmarks : name -> (3,), points to touch or to find
    fiducials : (n, 3) markers for registration
    centrelines : name -> (k, 3), of vessels and airways
    measures : name -> number, the truth of what a learner measures; the name ends in its unit
    seed : of the speckle, which belongs to the phantom and not to the scanner
    """

    name: str
    parts: tuple[Part, ...] = ()
    background: Tissue = TISSUES["water"]
    low: Array = field(default_factory=lambda: np.zeros(3))
    high: Array = field(default_factory=lambda: np.full(3, 100.0))
    wires: Array = field(default_factory=lambda: np.zeros((0, 2, 3)))
    wire_echo: float = 1.0
    landmarks: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    fiducials: Array = field(default_factory=lambda: np.zeros((0, 3)))
    centrelines: Mapping[str, Array] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    @property
    def tissues(self) -> tuple[Tissue, ...]:
        """What the labels mean: the background, then each part's tissue."""
        return (self.background, *(part.tissue for part in self.parts))

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises
        ------
        KeyError
            If there is none; the message lists what there is.
        """
        for one in self.parts:
            if one.name == name:
                return one
        raise KeyError(f"no part {name!r} in {self.name}; there are {', '.join(p.name for p in self.parts)}.")

    def labels(self, points_d: ArrayLike) -> NDArray[np.uint8]:
        """0 for background, k for the k-th part (from 1), at points (..., 3)."""
        p = np.asarray(points_d, dtype=float)
        flat = p.reshape(-1, 3)
        out = np.zeros(len(flat), dtype=np.uint8)
        for k, part in reversed(
            list(enumerate(self.parts, start=1))
        ):  # what a later part has is not asked again
            inside_box = ((flat >= part.shape.low) & (flat <= part.shape.high)).all(axis=1)
            near = np.flatnonzero(inside_box & (out == 0))
            if near.size:
                out[near[part.shape.distance(flat[near]) < 0]] = k
        return out.reshape(p.shape[:-1])

    def voxels(
        self, spacing_mm: float | ArrayLike, *, low: ArrayLike | None = None, high: ArrayLike | None = None
    ) -> LabelVolume:
        """The labels on a grid over the phantom's box, or over another one."""
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,)).copy()
        origin = np.array(self.low if low is None else low, dtype=float)
        end = np.array(self.high if high is None else high, dtype=float)
        size = np.maximum(np.floor((end - origin) / spacing + 1e-9).astype(int) + 1, 1)
        labels = label_grid([part.shape for part in self.parts], origin, spacing, size)
        return LabelVolume(labels, self.tissues, origin, spacing)

    def blocks(
        self,
        origin: ArrayLike,
        spacing_mm: float,
        block: ArrayLike,
        *,
        fine: NDArray[np.bool_] | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The labels of some blocks of a grid, for those who need them bit by bit.

        Parameters
        ----------
        origin : (3,) middle of the grid's first voxel, mm
        spacing_mm : of its voxels, along each axis
        block : (n, 3) integers, how many blocks of 16 voxels further on along x, y, z
        fine : (n, 8, 8, 8) in which cells the voxels are wanted, all unless given
        threads : how many share the work

        Returns
        -------
        (n, 16, 16, 16) uint8, the labels in z, y, x, and (n, 8, 8, 8) uint8, those of their cells: 255 where
        a cell may hold several. Voxels of such a cell are labelled where `fine` says so.
        """
        return label_blocks(
            [part.shape for part in self.parts],
            np.asarray(origin, dtype=float),
            np.full(3, float(spacing_mm)),
            np.asarray(block, dtype=np.intp),
            fine=fine,
            threads=threads,
        )

    def echogenicity(self, points_d: ArrayLike) -> Array:
        """Mean echo amplitude (...) of the tissue at points (..., 3); wires are not tissue."""
        table = LIVER_LEVEL * 10 ** (np.array([t.echo_db for t in self.tissues]) / 20)
        amplitude: Array = table[self.labels(points_d)]
        return amplitude

    def speckle(self, points_d: ArrayLike) -> Array:
        """Rayleigh-distributed factor (...) with mean 1, fixed in ``d`` and smooth over about 0.5 mm.

        The pattern repeats every 24 mm along each axis.
        """
        p = np.asarray(points_d, dtype=float)
        real, imaginary = (_between_voxels(part, p) for part in _speckle_tile(self.seed))
        factor: Array = np.hypot(real, imaginary)
        return factor


def _between_voxels(tile: Array, points_d: Array) -> Array:
    """The periodic tile at points (..., 3), trilinear."""
    from scipy.ndimage import map_coordinates

    where = (points_d / SPECKLE_VOXEL_MM).reshape(-1, 3).T
    at: Array = map_coordinates(tile, where, order=1, mode="grid-wrap", prefilter=False)
    return at.reshape(points_d.shape[:-1])


@lru_cache(maxsize=2)
def _speckle_tile(seed: int) -> tuple[Array, Array]:
    """A periodic complex Gaussian field whose magnitude is Rayleigh with mean 1."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([seed, 0x5EC71E])
    anywhere = rng.uniform(0, SPECKLE_TILE * SPECKLE_VOXEL_MM, size=(50_000, 3))
    parts = []
    for _ in range(2):
        tile = gaussian_filter(rng.normal(size=(SPECKLE_TILE,) * 3), sigma=1.0, mode="wrap")
        # interpolation smooths: the level is set where it will be used, between the voxels
        parts.append(tile / _between_voxels(tile, anywhere).std() * np.sqrt(2 / np.pi))
    return parts[0], parts[1]


def drawn(bounds: Mapping[str, tuple[float, float]], seed: int) -> dict[str, float]:
    """A case: every (reference, half range) drawn evenly; seed 0 is the reference.

    Examples
    --------
    >>> drawn({"neck_length_mm": (22.0, 6.0)}, 0)
    {'neck_length_mm': 22.0}
    """
    share = np.random.default_rng(seed).uniform(-1, 1, len(bounds)) * (seed != 0)
    return {key: float(mid + s * half) for (key, (mid, half)), s in zip(bounds.items(), share, strict=True)}


def marks(points: Mapping[str, ArrayLike]) -> dict[str, tuple[float, float, float]]:
    """Landmarks as a `Phantom` holds them: plain numbers."""
    return {name: tuple(np.asarray(p, dtype=float).tolist()) for name, p in points.items()}
