"""A brain's shapes: its hull, folds, midline and ventricles, and a tumour's; and how it sinks."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points
from navkit.phantoms._shapes import Shape, blended, ellipsoid, rippled, tube, union

Array = NDArray[np.float64]

BRAIN_RADII_MM = np.array([70.0, 85.0, 60.0])
GYRUS_MM = 11.0
SULCUS_DEPTH_MM = (8.0, 20.0)
LEAN = np.array([[0, 1 / 11, 1 / 17], [1 / 17, 0, 1 / 11], [1 / 11, 1 / 17, 0]])
SAG_WIDTH_MM = 35.0
MOST_SAG_MM = 20.0


@dataclass(frozen=True)
class Head:
    """What brain and shift both need: the brain's radii, the tumour's side, the window and gravity."""

    radii: Array
    side: int
    window: Array
    outward: Array
    base_z: float

    @property
    def hull(self) -> Shape:
        return ellipsoid(np.zeros(3), self.radii)


def head_rng(seed: int, what: int) -> np.random.Generator:
    return np.random.default_rng([seed, 0xB7A1, what])


def head_of(seed: int) -> Head:
    rng = head_rng(seed, 0)
    radii = BRAIN_RADII_MM * (1 if seed == 0 else rng.uniform(0.95, 1.05, size=3))
    side = 1 if seed == 0 else int(rng.choice([-1, 1]))
    way = np.array([side * rng.uniform(0.55, 0.75), rng.uniform(-0.35, 0.15), rng.uniform(0.65, 0.8)])
    window = way / np.linalg.norm(way / radii)
    normal = window / radii**2
    return Head(radii, side, window, normal / np.linalg.norm(normal), float(-0.75 * radii[2]))


def brain_shift(points_d: ArrayLike, *, depth_mm: float = 8.0, seed: int = 0) -> Array:
    """Where points of the brain are after it has sunk under the craniotomy.

    A point moves along gravity, which is the axis of the window, for the head is turned so that the window
    is uppermost: by ``depth_mm * exp(-a^2 / (2 w^2)) * h^2``, where a is its distance from that axis, w =
    35 mm, and h its height above the skull base, 1 at the cortex under the window and 0 at and below the
    base. The law is chosen; shifts of 2.5 to 21 mm are met (Miga et al. 2016, doi:10.1007/s11548-015-1295-x).

    Parameters
    ----------
    points_d : (n, 3) in the space of `neuro`
    depth_mm : how far the cortex under the middle of the window sinks, 0 to 20
    seed : the case of `neuro`

    Returns
    -------
    (n, 3), mm

    Raises
    ------
    ValueError
        If the depth is out of range.

    Examples
    --------
    >>> from navkit.phantoms import neuro
    >>> cortex = neuro().landmarks["cortex under the craniotomy"]
    >>> float(np.linalg.norm(brain_shift([cortex], depth_mm=8.0) - cortex).round(6))
    8.0
    """
    return sag(check_points(points_d, "points_d"), head_of(seed), _checked(depth_mm))


def undo_brain_shift(points_d: ArrayLike, *, depth_mm: float = 8.0, seed: int = 0) -> Array:
    """Where points were before `brain_shift`, by fixed-point iteration, to 1e-9 mm.

    Parameters and errors are those of `brain_shift`.
    """
    return unsag(check_points(points_d, "points_d"), head_of(seed), _checked(depth_mm), 1e-9)


def _checked(depth_mm: float) -> float:
    if not 0 <= depth_mm <= MOST_SAG_MM:
        raise ValueError(
            f"depth_mm is {depth_mm:g}; expected 0 to {MOST_SAG_MM:g}. Is it in mm, and positive for sinking?"
        )
    return depth_mm


def sag(p: Array, head: Head, depth_mm: float) -> Array:
    off = p - head.window
    along = off @ head.outward
    across2 = np.maximum((off**2).sum(axis=1) - along**2, 0)
    height = np.clip((p[:, 2] - head.base_z) / (head.window[2] - head.base_z), 0, 1)
    by = depth_mm * np.exp(-across2 / (2 * SAG_WIDTH_MM**2)) * height**2
    return np.asarray(p - by[:, None] * head.outward)


def unsag(p: Array, head: Head, depth_mm: float, tolerance_mm: float) -> Array:
    before = p
    for _ in range(100):
        change = p - sag(before, head, depth_mm)
        before = before + change
        if not len(p) or np.abs(change).max() < tolerance_mm:
            break
    return before


@lru_cache(maxsize=4)
def _fold_map(seed: int, radii: tuple[float, float, float]) -> tuple[Array, Array]:
    """Over polar angle and azimuth about y: mm to the nearest fold along the surface, and its depth.

    The folds are where a random field of one wavelength is zero: such lines meander, keep apart and end
    nowhere, as gyri do. A coarser field says how deep they are, and where they are missing.
    """
    from scipy.spatial import cKDTree

    rng = head_rng(seed, 2)
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 381), np.linspace(-np.pi, np.pi, 721), indexing="ij")
    q = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], axis=-1) * radii
    field = _waves(q, 2 * GYRUS_MM, 40, rng)
    deep = 15.5 + 4.5 * _waves(q, 55.0, 12, rng)
    lines, depths = [], []
    for one, next_one in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        f0, f1 = field[one], field[next_one]
        crossed = f0 * f1 < 0
        share = (f0[crossed] / (f0 - f1)[crossed])[:, None]
        lines.append(q[one][crossed] * (1 - share) + q[next_one][crossed] * share)
        depths.append(deep[one][crossed])
    line, depth = np.concatenate(lines), np.concatenate(depths)
    far, _ = cKDTree(line[depth > SULCUS_DEPTH_MM[0]]).query(q)
    return far, np.clip(deep, *SULCUS_DEPTH_MM)


def _waves(p: Array, length_mm: float, n: int, rng: np.random.Generator) -> Array:
    """A smooth random field (...) of variance 1 at points (..., 3): plane waves from everywhere."""
    k = rng.normal(size=(n, 3))
    k *= 2 * np.pi / length_mm / np.linalg.norm(k, axis=1)[:, None]
    phase = rng.uniform(0, 2 * np.pi, n)
    total = np.zeros(p.shape[:-1])
    for wave, start in zip(k, phase, strict=True):
        total += np.cos(p @ wave + start)
    return np.asarray(total * np.sqrt(2 / n))


def folds(head: Head, seed: int, fissure: Shape) -> Shape:
    """Sulci that go in from the lines of the fold map, leaning to and fro, and the fissure of the midline.

    They are wider at the mouth, as between rounded gyri. The distance is right up to 5 mm, and a lower bound
    further away.
    """
    from scipy.ndimage import map_coordinates

    hull, r = head.hull, head.radii
    most = SULCUS_DEPTH_MM[1]

    def distance(p: Array) -> Array:
        fold, deep = _fold_map(seed, (float(r[0]), float(r[1]), float(r[2])))
        under = -hull.distance(p)
        out: Array = np.where(under < 0, 5.0, under - most)
        ask = np.flatnonzero((under < most + 5) & (under > -5))
        t, q = np.maximum(under[ask], 0), p[ask].T
        lean = 0.2 * np.minimum(t, most)
        u, v, w = ((q[i] + lean * np.sin(LEAN[:, i] @ q)) / r[i] for i in range(3))
        size = np.sqrt(u * u + v * v + w * w)
        polar, turn = np.arccos(v / size) * (380 / np.pi), (np.arctan2(u, w) + np.pi) * (720 / (2 * np.pi))
        far, depth = (map_coordinates(one, [polar, turn], order=1, mode="nearest") for one in (fold, deep))
        out[ask] = np.maximum(far * size - 1.0 - np.exp(-t / 2.0), under[ask] - depth)
        ask = np.flatnonzero(np.abs(p[:, 0]) < fissure.high[0] + 5)
        out[ask] = np.minimum(out[ask], fissure.distance(p[ask]))
        return out

    return Shape(distance, hull.low, hull.high)


def midline(head: Head, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """The cleft between the hemispheres, and the falx in it: a thin, slightly wavy sheet."""
    a, b = rng.uniform(0, 2 * np.pi, 2)
    r = head.radii

    def sheet(half_mm: float, low_mm: float) -> Shape:
        core = ellipsoid((0, 6, -5), (400.0, 0.66 * r[1] + low_mm, 0.6 * r[2] + low_mm))

        def distance(p: Array) -> Array:
            off = np.abs(p[:, 0] - 1.2 * np.sin(p[:, 1] / 35 + a) - 0.8 * np.sin(p[:, 2] / 25 + b)) - half_mm
            sides = [off, low_mm - 12 - p[:, 2], head.hull.distance(p), -core.distance(p)]
            return np.asarray(np.max(sides, axis=0))

        wide = 2.0 + half_mm
        return Shape(distance, np.array([-wide, -r[1], low_mm - 12]), np.array([wide, r[1], r[2]]))

    return sheet(1.6, 0.0), sheet(0.6, 4.0)


def frontal_horn(head: Head, side: int) -> Array:
    return np.asarray(head.radii * (side * 0.14, -0.40, 0.12))


def atrium(head: Head, side: int) -> Array:
    return np.asarray(head.radii * (side * 0.32, 0.36, 0.08))


def ventricle_system(head: Head) -> Shape:
    """Lateral ventricles, curved as the letter C with an occipital horn, and the third one."""
    from scipy.interpolate import PchipInterpolator

    r = head.radii
    third = ellipsoid((0, 2, -4), (2.0, 13.0, 9.0))
    found = [third]
    for side in (-1, 1):
        keys = np.array(
            [
                frontal_horn(head, side) / r,
                (side * 0.13, -0.28, 0.19),
                (side * 0.15, -0.05, 0.24),
                (side * 0.20, 0.18, 0.21),
                atrium(head, side) / r,
                (side * 0.46, 0.22, -0.14),
                (side * 0.50, 0.02, -0.30),
            ]
        )
        radius = [3.5, 5.5, 4.5, 5.0, 7.0, 3.0, 1.8]
        at = np.linspace(0, 6, 10)
        line = PchipInterpolator(np.arange(7), keys)(at) * r
        body = tube(line, PchipInterpolator(np.arange(7), radius)(at))
        back = tube([atrium(head, side), r * (side * 0.26, 0.58, 0.06)], [6.0, 1.5])
        found.append(blended(body, back, 5.0))
    return union(*found)


def glioma_at(middle: Array, outward: Array, size: float, rng: np.random.Generator) -> Shape:
    """An ellipsoid, thinnest towards the window, with a border as rough as a diffuse one looks."""
    across = np.cross(outward, rng.normal(size=3))
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(outward, across), outward], axis=1)
    wave_rng = np.random.default_rng(rng.integers(2**63))
    k = wave_rng.normal(size=(8, 3))
    k *= (2 * np.pi / wave_rng.uniform(9, 18, 8) / np.linalg.norm(k, axis=1))[:, None]
    start = wave_rng.uniform(0, 2 * np.pi, 8)
    plain = ellipsoid(middle, np.array([15.0, 12.5, 10.0]) * size, axes)
    return rippled(plain, lambda p: 0.35 * np.cos(p @ k.T + start).sum(axis=1), 2.8)
