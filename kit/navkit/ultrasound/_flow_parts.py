"""What colour-flow pictures are made from: the blood's way, the flow lines, their loss and blur."""

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms import Phantom, Shape, union
from navkit.ultrasound._sector import ProbeSector

Array = NDArray[np.float64]

NODE_MM = 0.5
SAME_WIDTH = 0.01
REACH = 1.5
"""Blood further from every centreline than so many radii has no known direction."""
STEPS_PER_SD = 1.25


@dataclass(frozen=True)
class _Vessels:
    """Blood, and nodes on its centrelines: which way it flows there (n, 3) and how fast (n,)."""

    blood: Shape
    tree: Any
    way: Array
    radius_mm: Array
    calibre_mm: Array
    arterial: NDArray[np.bool_]


_known: dict[int, _Vessels | None] = {}


def _vessels(phantom: Phantom) -> _Vessels | None:
    """Kept as long as the phantom lives. None without blood on a centreline."""
    if id(phantom) not in _known:
        _known[id(phantom)] = _find_vessels(phantom)
        weakref.finalize(phantom, _known.pop, id(phantom), None)
    return _known[id(phantom)]


def _find_vessels(phantom: Phantom) -> _Vessels | None:
    from scipy.spatial import cKDTree

    shapes = [part.shape for part in phantom.parts if part.tissue.name.startswith("blood")]
    if not shapes:
        return None
    blood = union(*shapes)
    found = []
    for name, line in phantom.centrelines.items():
        corner = np.append(0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1)))
        at = np.linspace(0, corner[-1], int(np.ceil(corner[-1] / NODE_MM)) + 2)
        nodes = np.stack([np.interp(at, corner, x) for x in np.asarray(line, dtype=float).T], axis=1)
        way = np.gradient(nodes, axis=0)
        way /= np.maximum(np.linalg.norm(way, axis=1), 1e-12)[:, None]
        radius = -blood(nodes)
        nodes, way, radius = (x[radius > 0] for x in (nodes, way, radius))
        if not len(nodes):
            continue
        end = max(len(nodes) // 10, 1)
        first, last = radius[:end].max(), radius[-end:].max()
        narrow = min(first, last)
        arterial = "portal" in name or not ("vein" in name or "vena" in name)
        grows = last - first if arterial else first - last
        way *= -1 if grows > SAME_WIDTH * narrow else 1
        # a branch starts on its parent's axis, where the wall is the parent's
        own = np.minimum(radius, narrow)
        calibre = narrow**3 / radius**2
        found.append((nodes, way, radius, own, calibre, np.full(len(nodes), arterial)))
    if not found:
        return None
    nodes, way, radius, own, calibre, artery = (np.concatenate(x) for x in zip(*found, strict=True))
    # the nearest of these in four dimensions has the least distance^2 - radius^2: the pipe that holds a point
    lifted = np.column_stack([nodes, np.sqrt(own.max() ** 2 - own**2)])
    return _Vessels(blood, cKDTree(lifted), way, radius, calibre, artery)


def near_blood(phantom: Phantom, points: Array, reach_mm: float) -> NDArray[np.bool_]:
    """Which points (n, 3) are in blood or so near."""
    v = _vessels(phantom)
    return np.zeros(len(points), dtype=bool) if v is None else v.blood(points) < reach_mm


def moving(
    phantom: Phantom, points: Array, *, artery_per_s: float, vein_per_s: float, parabolic: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """Velocity (n, 3) at points (n, 3), mm/s, and where there is blood (n,)."""
    velocity, blood = np.zeros_like(points), np.zeros(len(points), dtype=bool)
    v = _vessels(phantom)
    if v is None:
        return velocity, blood
    depth = -v.blood(points)
    inside = np.flatnonzero(depth > 0)
    named = np.array([tissue.name.startswith("blood") for tissue in phantom.tissues])
    inside = inside[named[phantom.labels(points[inside])]]
    blood[inside] = True
    p = points[inside]
    node = v.tree.query(np.column_stack([p, np.zeros(len(p))]))[1]
    off = np.linalg.norm(p - v.tree.data[node, :3], axis=1)
    share = np.minimum(depth[inside] / v.radius_mm[node], 1.0)
    profile = share * (2 - share) if parabolic else np.ones_like(share)
    peak = v.calibre_mm[node] * np.where(v.arterial[node], artery_per_s, vein_per_s)
    speed = np.where(off <= REACH * v.radius_mm[node], peak * profile, 0.0)
    velocity[inside] = speed[:, None] * v.way[node]
    return velocity, blood


@dataclass(frozen=True)
class FlowLines:
    """The lines of a colour box: (n,) places across, (k,) depths below the face along the line.

    start_t and way_t (n, 3): where they leave the face and their unit direction; spacing_mm (k,) between
    neighbours.
    """

    sector: ProbeSector
    steer: float
    across: Array
    depth_mm: Array
    start_t: Array
    way_t: Array
    spacing_mm: Array

    def pixels(self, top_mm: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """Rows and columns (m,) of the pixels of the box, and where they lie (2, m) in lines and samples."""
        rows, columns = np.nonzero(self.sector.mask())
        _, y, z = self.sector.pixels_to_tool(np.stack([columns, rows], axis=-1)).T
        start = self.sector.depth_mm[0]
        if self.sector.kind == "linear":
            across, depth = -y - (z - start) * np.tan(self.steer), (z - start) / np.cos(self.steer)
        else:
            across, depth = np.arctan2(-y, z), np.hypot(y, z) - start
        line = (across - self.across[0]) / (self.across[1] - self.across[0])
        boxed = (line >= 0) & (line <= len(self.across) - 1)
        boxed &= (depth >= top_mm) & (depth <= self.depth_mm[-1])
        return rows[boxed], columns[boxed], np.stack([line, depth / self.depth_mm[1]])[:, boxed]


def flow_lines(
    sector: ProbeSector,
    box: tuple[float, float, float, float],
    *,
    steer: float,
    lateral_mm: float,
    axial_mm: float,
) -> FlowLines:
    """From the face to the bottom of the box."""
    start, end = sector.depth_mm
    left, right, _, bottom = box
    deepest = bottom * (end - start) / np.cos(steer)
    # one unit of `across`, in mm at each depth
    unit = np.cos(steer) if sector.kind == "linear" else start + deepest
    n = int(np.ceil((right - left) * sector.width * unit * STEPS_PER_SD / lateral_mm)) + 2
    depth = np.linspace(0.0, deepest, int(np.ceil(deepest * STEPS_PER_SD / axial_mm)) + 2)
    across = np.linspace(left - 0.5, right - 0.5, n) * sector.width
    angle = np.full(n, steer) if sector.kind == "linear" else across
    way = np.stack([0 * angle, -np.sin(angle), np.cos(angle)], axis=1)
    if sector.kind == "linear":
        first = np.stack([0 * across, -across, 0 * across + start], axis=1)
        spacing = np.full(len(depth), across[1] - across[0]) * unit
    else:
        first, spacing = start * way, (across[1] - across[0]) * (start + depth)
    return FlowLines(sector, steer, across, depth, first, way, spacing)


def loss_db(phantom: Phantom, tissue: NDArray[np.uint8], step_mm: float, frequency_mhz: float) -> Array:
    """What is missing (n, k) from the echo, there and back, by attenuation and at interfaces hit squarely."""
    weak = np.array([t.attenuation_db_cm_mhz for t in phantom.tissues])[tissue]
    z = np.array([t.impedance_mrayl for t in phantom.tissues])[tissue]
    before = np.concatenate([z[:, :1], z[:, :-1]], axis=1)
    mirrored = (z - before) / (z + before)
    return np.asarray(
        np.cumsum(0.2 * frequency_mhz * step_mm * weak - 20 * np.log10(1 - mirrored**2), axis=1)
    )


def blurred(field: Array, spacing_mm: Array, step_mm: float, *, lateral_mm: float, axial_mm: float) -> Array:
    """Fields (..., n, k) averaged over beam and pulse; at the border, over what there is."""
    from scipy.ndimage import gaussian_filter1d

    n = field.shape[-2]
    half = min(int(np.ceil(3.2 * lateral_mm / spacing_mm.min())), n - 1)
    total, weight = np.zeros_like(field), np.zeros(field.shape[-2:])
    for j in range(-half, half + 1):
        w = np.exp(-0.5 * (j * spacing_mm / lateral_mm) ** 2)
        here, there = slice(max(0, -j), min(n, n - j)), slice(max(0, j), min(n, n + j))
        total[..., here, :] += w * field[..., there, :]
        weight[here] += w
    return np.asarray(gaussian_filter1d(total / weight, axial_mm / step_mm, axis=-1, mode="nearest"))
