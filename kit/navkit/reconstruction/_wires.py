"""The wire cross: two wires at a known angle show whether a volume is true to shape."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.reconstruction._grid import Volume
from navkit.reconstruction._quality import ball

Array = NDArray[np.float64]

WIDEST_MM = 3.0
"""As far from a wire as its thickness is looked for."""


@dataclass(frozen=True)
class WireCross:
    """Two straight wires found in a volume.

    Parameters
    ----------
    angle_deg : between the wires, 0 to 90
    gap_mm : shortest distance between the two lines
    cross_pr : (3,) the point midway between them, mm
    direction_pr : (2, 3) unit vectors
    rms_mm : (2,) RMS distance of each wire's bright voxels from its line
    voxels : (2,) how many bright voxels each line explains
    thickness_mm : (2,) full width at half maximum of the mean grey value over the distance from the line;
        NaN where it does not fall to half within 3 mm
    """

    angle_deg: float
    gap_mm: float
    cross_pr: Array
    direction_pr: Array
    rms_mm: tuple[float, float]
    voxels: tuple[int, int]
    thickness_mm: tuple[float, float]


def measure_wire_cross(
    volume: Volume,
    *,
    around_pr: ArrayLike,
    within_mm: float = 15.0,
    threshold: float = 128.0,
    reach_mm: float = 1.0,
    rng: np.random.Generator,
) -> WireCross:
    """Fit two straight lines to the brightest voxels of a volume of the wire phantom.

    A real picture holds more than wires: the probe's own face, flashes, reverberation. So you say where
    you see the cross; voxels within `within_mm` of it are used, and each wire must pass it within
    ``2 * reach_mm``. Lines are found by random sampling (RANSAC), the longest first; then each bright
    voxel within `reach_mm` belongs to the nearer line, and each line is the principal axis of its voxels,
    weighted by how far they rise above the threshold.

    Parameters
    ----------
    around_pr : (3,) where you see the cross, mm
    threshold : grey value above which a voxel belongs to a wire; only voxels that a pixel fell into
        count, so filling does not thicken the wires

    Raises
    ------
    ValueError
        If fewer than 50 voxels are brighter than `threshold`.
    """
    near = np.asarray(around_pr, dtype=float)
    points, index, _ = ball(volume, near, within_mm)
    seen = volume.weight[index] > 0
    points, grey = points[seen], volume.values[index][seen]
    voxels = points, grey  # all of them, for the thickness
    points, rise = points[grey > threshold], grey[grey > threshold] - threshold
    if len(points) < 50:
        raise ValueError(
            f"{len(points)} voxels within {within_mm:g} mm are brighter than {threshold:g}; expected at "
            "least 50 for two wires. Is the threshold too high, or the point far from the wires?"
        )
    lines = [_sampled_line(points, near, reach_mm, rng)]
    rest = points[_distance(points, *lines[0]) > 3 * reach_mm]
    if len(rest) < 20:
        raise ValueError("one straight line explains every bright voxel; expected two wires.")
    lines.append(_sampled_line(rest, near, reach_mm, rng))
    for wider in (2.5, 2.5, 2.0, 2.0, 1.5, 1.5, *[1.0] * 10):  # from a rough start to the core
        distance = np.stack([_distance(points, *line) for line in lines])
        owner = np.argmin(distance, axis=0)
        kept = [(owner == n) & (distance[n] < wider * reach_mm) for n in range(2)]
        lines = [_principal_axis(points[own], rise[own]) for own in kept]

    (a, u), (b, v) = lines
    normal = np.cross(u, v)
    sine = np.linalg.norm(normal)
    # closest points of the two lines: a + s u and b + t v
    s = np.dot(np.cross(b - a, v), normal) / sine**2
    t = np.dot(np.cross(b - a, u), normal) / sine**2
    near_a, near_b = a + s * u, b + t * v
    rms = [
        float(np.sqrt(np.mean(_distance(points[own], *line) ** 2)))
        for own, line in zip(kept, lines, strict=True)
    ]
    step = max(volume.grid.spacing_mm) / 2
    return WireCross(
        angle_deg=float(np.degrees(np.arctan2(sine, abs(np.dot(u, v))))),
        gap_mm=float(np.linalg.norm(near_a - near_b)),
        cross_pr=(near_a + near_b) / 2,
        direction_pr=np.stack([u, v]),
        rms_mm=(rms[0], rms[1]),
        voxels=(int(kept[0].sum()), int(kept[1].sum())),
        thickness_mm=(
            _thickness(*voxels, step, (a, u), (b, v)),
            _thickness(*voxels, step, (b, v), (a, u)),
        ),
    )


def _thickness(
    points: Array,
    grey: NDArray[np.float32],
    step_mm: float,
    line: tuple[Array, Array],
    other: tuple[Array, Array],
) -> float:
    """Full width at half maximum of one wire, away from the other one, mm."""
    far = _distance(points, *line)
    use = (far < WIDEST_MM) & (_distance(points, *other) > WIDEST_MM)
    ring = (far[use] / step_mm).astype(int)
    count = np.bincount(ring)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = np.bincount(ring, grey[use]) / count
        radius = np.bincount(ring, far[use]) / count
    radius, profile = radius[count > 0], profile[count > 0]
    dark = float(np.median(profile[radius > WIDEST_MM / 2]))
    # on the line itself, by the parabola through the two innermost rings
    peak = profile[0] + (profile[0] - profile[1]) * radius[0] ** 2 / (radius[1] ** 2 - radius[0] ** 2)
    half = (min(float(peak), 255.0) + dark) / 2
    below = np.flatnonzero(profile < half)
    if not len(below) or below[0] == 0:
        return float("nan")
    n = below[0]
    share = (profile[n - 1] - half) / (profile[n - 1] - profile[n])
    return float(2 * (radius[n - 1] + share * (radius[n] - radius[n - 1])))


def _distance(points: Array, origin: Array, direction: Array) -> Array:
    """Distances (n,) of points from a line."""
    offset = points - origin
    along = offset @ direction
    distance: Array = np.sqrt(np.maximum(np.sum(offset**2, axis=1) - along**2, 0.0))
    return distance


def _principal_axis(points: Array, weights: Array) -> tuple[Array, Array]:
    """The line through the weighted centroid along the direction of largest spread."""
    centre = np.average(points, axis=0, weights=weights)
    offset = (points - centre) * np.sqrt(weights)[:, None]
    direction = np.linalg.svd(offset, full_matrices=False)[2][0]
    return centre, direction


def _sampled_line(
    points: Array, through: Array, reach_mm: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The line through two of the points that passes near `through` and that the points follow
    over the greatest length.

    Length is counted in occupied millimetres, not in voxels: a short thick flash has many voxels, a
    wire is long.
    """
    sample = points[rng.choice(len(points), size=min(len(points), 3000), replace=False)]
    best, line = -1, (points[0], np.array([1.0, 0.0, 0.0]))
    for _ in range(1000):
        a, b = sample[rng.choice(len(sample), size=2, replace=False)]
        length = np.linalg.norm(b - a)
        if length < 5 * reach_mm:
            continue
        direction = (b - a) / length
        if _distance(through[None], a, direction)[0] > 2 * reach_mm:
            continue
        near = _distance(sample, a, direction) < reach_mm
        covered = len(np.unique(np.floor((sample[near] - a) @ direction)))
        if covered > best:
            best, line = covered, (a, direction)
    return line
