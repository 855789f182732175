"""CT-like and MR-like pictures of a phantom, on grids as scanners deliver them: oblique, unequal spacing."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from navkit.geometry import check_poses, inverse, transform_points
from navkit.phantoms._phantom import Phantom

Array = NDArray[np.float64]

SLAB = 2_000_000
MR_FULL_SCALE = 1000.0


@dataclass(frozen=True)
class Picture:
    """Values on an oblique grid, in SimpleITK's terms.

    Parameters
    ----------
    values : (nz, ny, nx)
    origin_mm : (3,) centre of the voxel (0, 0, 0), in d
    spacing_mm : (3,) along the picture's x, y, z
    direction : (3, 3), its columns are the picture's axes in d
    """

    values: NDArray[np.float32]
    origin_mm: Array
    spacing_mm: Array
    direction: Array

    @property
    def d_M_index(self) -> Array:
        """Affine (4, 4) from voxel indices (x, y, z) to d, mm."""
        m = np.eye(4)
        m[:3, :3] = self.direction * self.spacing_mm
        m[:3, 3] = self.origin_mm
        return m


def labels_like(
    phantom: Phantom, spacing_mm: float | ArrayLike, *, d_M_i: ArrayLike | None = None
) -> Picture:
    """The phantom's labels on the grid that `ct_like` and `mr_like` use, as numbers.

    Parameters
    ----------
    phantom : Phantom
    spacing_mm : one number or (3,), along the picture's axes
    d_M_i : (4, 4) rigid, from the picture's space i to the phantom's; d's own axes when left out. Voxels lie
        at multiples of the spacing in i, as many as cover the phantom's box; without `d_M_i` they begin
        at the box's lowest corner, as in `Phantom.voxels`

    Raises
    ------
    ValueError
        If a spacing is not above 0 or `d_M_i` is not rigid.

    Examples
    --------
    >>> from navkit.phantoms import ellipsoids_in_tissue
    >>> labels_like(ellipsoids_in_tissue(), (2.0, 2.5, 5.0)).values.shape
    (11, 25, 31)
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,)).copy()
    if not ((spacing > 0) & np.isfinite(spacing)).all():
        raise ValueError(f"spacing_mm is {spacing}; expected one or three numbers above 0.")
    if d_M_i is None:
        m = np.eye(4)
        first, size = np.zeros(3), np.floor((phantom.high - phantom.low) / spacing + 1e-9) + 1
        m[:3, 3] = phantom.low
    else:
        m = check_poses(np.asarray(d_M_i, dtype=float)[None], "d_M_i")[0]
        corners = np.array(list(product(*zip(phantom.low, phantom.high, strict=True))))
        steps = transform_points(inverse(m), corners) / spacing
        first = np.floor(steps.min(axis=0) + 1e-9)
        size = np.ceil(steps.max(axis=0) - 1e-9) - first + 1
    origin = transform_points(m, first * spacing)
    nx, ny, nz = size.astype(int)
    picture = Picture(np.empty((nz, ny, nx), dtype=np.float32), origin, spacing, m[:3, :3].copy())
    step = max(SLAB // (nx * ny), 1)
    for k in range(0, nz, step):
        z, y, x = np.indices((min(step, nz - k), ny, nx))
        index = np.stack([x, y, z + k], axis=-1).reshape(-1, 3)
        points = transform_points(picture.d_M_index, index)
        picture.values[k : k + step] = phantom.labels(points).reshape(x.shape)
    return picture


def ct_like(
    phantom: Phantom,
    spacing_mm: float | ArrayLike,
    *,
    d_M_i: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    noise_hu: float = 12.0,
    blur: float = 0.5,
) -> Picture:
    """A picture as of a CT: Hounsfield units, partial volume, noise.

    What it leaves out: beam hardening, metal, the correlation of neighbouring voxels' noise.

    Parameters
    ----------
    phantom, spacing_mm, d_M_i : see `labels_like`
    rng : for the noise; without it there is none
    noise_hu : standard deviation of the white Gaussian noise
    blur : standard deviation of the smoothing in voxels, along each axis; 0 gives each voxel its middle's
        tissue

    Returns
    -------
    Picture
        Rounded to whole units, as scanners store them.

    Raises
    ------
    ValueError
        As `labels_like`.

    Examples
    --------
    >>> from navkit.phantoms import ellipsoids_in_tissue
    >>> ct = ct_like(ellipsoids_in_tissue(), 2.5)
    >>> float(ct.values[0, 0, 0]), float(ct.values[11, 9, 12])
    (15.0, 0.0)
    """
    labels, grey = _greys(phantom, [t.hounsfield for t in phantom.tissues], spacing_mm, d_M_i, blur)
    if rng is not None:
        grey += noise_hu * rng.standard_normal(grey.shape, dtype=np.float32)
    return _like(labels, np.rint(grey))


def mr_like(
    phantom: Phantom,
    spacing_mm: float | ArrayLike,
    *,
    d_M_i: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    noise: float = 15.0,
    bias: float = 0.15,
    blur: float = 0.5,
) -> Picture:
    """A picture as of a T1-weighted MR: 0 to about 1000, partial volume, uneven coils, Rician noise.

    The bias field is a random quadratic of position, its mean over the picture 1. What it leaves out:
    geometric distortion, chemical shift, flow.

    Parameters
    ----------
    phantom, spacing_mm, d_M_i, blur : see `ct_like`
    rng : for bias field and noise; without it there is neither
    noise : standard deviation of each of the two channels; where there is no signal the picture is Rayleigh
        distributed with mean 1.25 of it [1]_
    bias : largest deviation of the bias field from 1

    Raises
    ------
    ValueError
        As `labels_like`.

    References
    ----------
    .. [1] Gudbjartsson, Patz, Magn. Reson. Med. 34(6), 1995, doi:10.1002/mrm.1910340618.
    """
    labels, grey = _greys(phantom, [MR_FULL_SCALE * t.mr for t in phantom.tissues], spacing_mm, d_M_i, blur)
    if rng is not None:
        grey *= _bias_field(grey.shape, bias, rng)
        channels = noise * rng.standard_normal((2, *grey.shape), dtype=np.float32)
        grey = np.hypot(grey + channels[0], channels[1])
    return _like(labels, grey)


def _greys(
    phantom: Phantom, table: list[float], spacing_mm: float | ArrayLike, d_M_i: ArrayLike | None, blur: float
) -> tuple[Picture, NDArray[np.float32]]:
    labels = labels_like(phantom, spacing_mm, d_M_i=d_M_i)
    grey = np.array(table, dtype=np.float32)[labels.values.astype(np.uint8)]
    smooth: NDArray[np.float32] = gaussian_filter(grey, blur, mode="nearest", truncate=4)
    return labels, smooth


def _like(picture: Picture, values: NDArray[np.float32]) -> Picture:
    return Picture(values, picture.origin_mm, picture.spacing_mm, picture.direction)


def _bias_field(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random quadratic of position with mean 1 that deviates from it by `most` somewhere."""
    across = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    z, y, x = np.meshgrid(*across, indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, x * z, x * x, y * y, z * z)
    field = sum(w * term for w, term in zip(rng.normal(size=9).astype(np.float32), terms, strict=True))
    field = field - np.mean(field)
    scaled: NDArray[np.float32] = 1 + most * field / max(float(np.abs(field).max()), 1e-9)
    return scaled
