"""Objects whose truth is known: wires in water, ellipsoids in tissue.

A phantom lives in its own space ``d`` (mm). What it is made of is a function of position, so that
any number of frames, at any spacing, agree about it. Echo amplitudes are relative to the brightest
echo that the scanner can show (1.0); 0.001 is 60 dB below.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ellipsoid", "Phantom", "ellipsoids_in_tissue", "wire_cross"]

Array = NDArray[np.float64]

SPECKLE_VOXEL_MM = 0.25
SPECKLE_TILE = 96


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid: ``centre`` (3,), ``radii`` (3,) mm along the columns of ``axes`` (3, 3), and its echo."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    echo: float
    label: str = ""
    axes: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))

    def signed_distance(self, points_d: ArrayLike) -> Array:
        """Distance (n,) in mm from the surface, negative inside: exact for a sphere, and of the
        right sign and to first order exact at the surface of any other ellipsoid."""
        local = (np.asarray(points_d, dtype=float) - self.centre) @ np.asarray(self.axes, dtype=float)
        radii = np.asarray(self.radii, dtype=float)
        unit = np.linalg.norm(local / radii, axis=-1)
        slope = np.linalg.norm(local / radii**2, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = unit * (unit - 1) / slope
        signed: Array = np.where(slope > 0, distance, -radii.min())
        return signed


@dataclass(frozen=True)
class Phantom:
    """Wires and ellipsoids in a background, with named landmarks.

    Parameters
    ----------
    wires : (n, 2, 3) end points, mm
    ellipsoids : the later one wins where two overlap
    background_echo : 0 for water
    landmarks : name -> (3,) mm
    seed : of the speckle, which belongs to the phantom and not to the scanner
    """

    name: str
    wires: Array = field(default_factory=lambda: np.zeros((0, 2, 3)))
    ellipsoids: tuple[Ellipsoid, ...] = ()
    background_echo: float = 0.0
    wire_echo: float = 1.0
    landmarks: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    seed: int = 0

    def labels(self, points_d: ArrayLike) -> NDArray[np.int16]:
        """0 for background, k for the k-th ellipsoid (from 1), at points (..., 3)."""
        p = np.asarray(points_d, dtype=float)
        out = np.zeros(p.shape[:-1], dtype=np.int16)
        for k, shape in enumerate(self.ellipsoids, start=1):
            out[shape.signed_distance(p) < 0] = k
        return out

    def echogenicity(self, points_d: ArrayLike) -> Array:
        """Mean echo amplitude (...) of the tissue at points (..., 3); wires are not tissue."""
        table = np.array([self.background_echo, *(shape.echo for shape in self.ellipsoids)])
        return table[self.labels(points_d)]

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


def wire_cross() -> Phantom:
    """CustusX's wire phantom: two wires that meet at 89.99 degrees, 0.01 mm apart, in water.

    End points as in CustusX's nominal model ``wire_phantom_cross_pts.vtk``.
    """
    wires = np.array(
        [
            [(9.20, 134.35, 50.64), (259.25, 134.30, 149.64)],
            [(134.20, 259.35, 100.14), (134.20, 9.35, 100.14)],
        ]
    )
    return Phantom("wire_cross", wires=wires, landmarks={"cross": (134.21, 134.34, 100.14)})


def ellipsoids_in_tissue(*, seed: int = 0) -> Phantom:
    """Three ellipsoids of unequal radii, off centre, in speckle: a cyst, a bright and a faint one."""
    c, s = np.cos(0.5), np.sin(0.5)
    turned = ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))
    shapes = (
        Ellipsoid((31.0, 22.0, 27.0), (9.0, 6.0, 5.0), echo=0.0, label="cyst"),
        Ellipsoid((12.0, 30.0, 18.0), (4.0, 7.0, 5.5), echo=0.35, label="bright lesion", axes=turned),
        Ellipsoid((44.0, 40.0, 21.0), (5.0, 5.0, 8.0), echo=0.03, label="faint lesion"),
    )
    landmarks = {shape.label: shape.centre for shape in shapes}
    return Phantom(
        "ellipsoids_in_tissue", ellipsoids=shapes, background_echo=0.1, landmarks=landmarks, seed=seed
    )
