"""Where a frame is sampled and how finely: all that depends only on the sector and the settings."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms import LIVER_LEVEL
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SimulationSettings

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

GRAIN = 0.9
"""The field's own standard deviation relative to the pulse's; the pulse adds the rest."""
GRAIN_VOXELS = 1.5
"""And in voxels of its tile."""
RAYLEIGH_MEAN = np.sqrt(np.pi / 2)
TILE_SD = 32.0
HAZE_SEED, NOISE_SEED = 0xC1077E, 0x7015E
NOISE_LENGTH = 1 << 18


@dataclass(frozen=True)
class ScanLines:
    """Where a frame is sampled: its scan lines and the samples along them.

    Parameters
    ----------
    sector : ProbeSector
    across : (n_lines,) of each line, to the right: mm of a linear array, radians of a sector
    depth_mm : (n_samples,) below the face, as drawn
    axial_mm : the pulse's standard deviation, as simulated; FWHM 2.355 times that
    lateral_mm, elevation_mm : (n_samples,) the beam's and the slice's
    """

    sector: ProbeSector
    across: Array
    depth_mm: Array
    axial_mm: float
    lateral_mm: Array
    elevation_mm: Array

    @property
    def line_spacing_mm(self) -> Array:
        """Between neighbouring lines at each depth (n_samples,)."""
        step = self.across[1] - self.across[0]
        spacing: Array = step * (
            np.ones_like(self.depth_mm) if self.sector.kind == "linear" else self._along()
        )
        return spacing

    def _along(self) -> Array:
        """Of each sample from the tool's origin, mm."""
        return self.depth_mm + self.sector.depth_mm[0]

    def points_t(self) -> Array:
        """Where the samples are drawn (n_lines, n_samples, 3), in the tool's space."""
        along, across = np.broadcast_arrays(self._along(), self.across[:, None])
        if self.sector.kind == "linear":
            return np.stack([0 * along, -across, along], axis=-1)
        return np.stack([0 * along, -along * np.sin(across), along * np.cos(across)], axis=-1)


@dataclass(frozen=True)
class Plan:
    """All that depends only on sector and settings: tables by sample, weights, the way to the pixels."""

    lines: ScanLines
    start_t: Array
    step_t: Array
    grain_mm: float
    slice_mm: float
    slices: NDArray[np.int64]
    slice_step: Array
    slice_weight: Array
    slice_shift: Array
    lateral: Array32
    span: NDArray[np.int64]
    axial: Array32
    pulse: float
    step_mm: float
    edge: Array32
    mirror_scale: Array32
    haze: Array32
    gain: Array32
    noise: Array32
    noise_level: Array32
    face: Array32
    pixels: NDArray[np.int32]
    corner: NDArray[np.int32]
    share: Array32


@lru_cache(maxsize=8)
def plan_frame(sector: ProbeSector, s: SimulationSettings) -> Plan:
    start, end = sector.depth_mm
    stretch = s.true_speed_m_s / s.assumed_speed_m_s
    middle_mm = 1.0 if sector.kind == "linear" else start + min(s.focus_mm, end - start)
    n_lines = (
        int(np.clip(np.ceil(sector.width * middle_mm * s.samples_per_sd / s.lateral_mm), 15, s.max_lines - 1))
        + 1
    )
    n_samples = (
        int(np.clip(np.ceil((end - start) * stretch * s.samples_per_sd / s.axial_mm), 31, s.max_samples - 1))
        + 1
    )
    across = np.linspace(-sector.width / 2, sector.width / 2, n_lines)
    drawn = np.linspace(0.0, end - start, n_samples)
    depth = drawn * stretch
    step_mm = depth[1]

    # resolution: never finer than the sampling carries
    off = np.hypot(1.0, (depth - s.focus_mm) / s.focus_zone_mm)
    along = depth + start
    spacing = (across[1] - across[0]) * (np.ones(n_samples) if sector.kind == "linear" else along)
    axial = max(s.axial_mm, step_mm)
    lateral = np.maximum(s.lateral_mm * off, spacing)
    elevation = s.elevation_mm * off
    lines = ScanLines(sector, across, drawn, axial, lateral, elevation)

    # the field is already blurred by its grain; what is missing to the beam, the pulse, the slice comes here
    grain = GRAIN * axial
    beam = np.sqrt(np.maximum(lateral**2 - grain**2, 1e-6))
    half = int(np.clip(np.ceil(2.8 * beam / np.maximum(spacing, 1e-3)).max(), 1, 24))
    j = np.arange(-half, half + 1)
    weight = np.exp(-0.5 * (j[:, None] * spacing / beam) ** 2)
    weight = weight / np.sqrt(_power(weight, j[:, None] * spacing, grain))
    kept = weight > 0.01 * weight.max(axis=0)
    span = np.stack([kept.argmax(axis=1), n_samples - kept[:, ::-1].argmax(axis=1)], axis=1)
    span[~kept.any(axis=1)] = 0

    rest = np.sqrt(axial**2 - grain**2) / step_mm
    m = np.arange(-int(np.ceil(3.2 * rest)), int(np.ceil(3.2 * rest)) + 1)
    taps = np.exp(-0.5 * (m / rest) ** 2)
    taps /= np.sqrt(_power(taps[:, None], m[:, None] * step_mm, grain))

    thick = np.sqrt(np.maximum(elevation**2 - grain**2, 1e-6))
    slices = np.clip(np.ceil(4.4 * thick / (3 * grain)).astype(int) + 1, 3, s.max_slices)
    slice_step = np.where(slices > 1, 4.4 * thick / np.maximum(slices - 1, 1), 0.0)
    k = np.arange(s.max_slices)
    place = (k - (slices[:, None] - 1) / 2) * slice_step[:, None]
    layer = np.where(k < slices[:, None], np.exp(-0.5 * (place / thick[:, None]) ** 2), 0.0)
    layer /= np.sqrt(_power(layer.T, place.T, grain))[:, None]
    golden = 1.2207440846  # its powers spread points evenly in three dimensions
    shift = np.mod(0.5 + k[:, None] / golden ** np.arange(1, 4), 1.0) - 0.5

    edge_lines = s.shadow_edge_mm / np.interp(s.focus_mm, depth, spacing)
    q = np.arange(-int(np.ceil(2.5 * edge_lines)), int(np.ceil(2.5 * edge_lines)) + 1)
    edge = np.exp(-0.5 * (q / max(edge_lines, 1e-6)) ** 2)

    gain = 10 ** ((s.gain_db + 2 * s.tgc_db_cm_mhz * s.frequency_mhz * drawn / 10) / 20)
    white = np.sqrt((weight**2).sum(axis=0) * (taps**2).sum())
    haze = np.random.default_rng(HAZE_SEED).normal(size=(2, n_lines, n_samples)) / RAYLEIGH_MEAN
    haze *= 10 ** (s.clutter_db / 20) * np.exp(-drawn / s.clutter_mm) / (white * gain)
    peak = (taps * np.exp(-0.5 * (m * step_mm / grain) ** 2)).sum()

    rows, columns = np.nonzero(sector.mask())
    _, y, z = sector.pixels_to_tool(np.stack([columns, rows], axis=-1)).T
    if sector.kind == "linear":
        place_across, place_along = -y, z
    else:
        place_across, place_along = np.arctan2(-y, z), np.hypot(y, z)
    where = np.stack(
        [(place_across / sector.width + 0.5) * (n_lines - 1), (place_along - start) / drawn[1]], axis=1
    )
    corner = np.clip(where.astype(int), 0, [n_lines - 2, n_samples - 2])

    zero = np.zeros(n_lines)
    if sector.kind == "linear":
        way = np.stack([zero, zero, zero + 1], axis=1)
        first = np.stack([zero, -across, zero + start], axis=1)
    else:
        way = np.stack([zero, -np.sin(across), np.cos(across)], axis=1)
        first = start * way
    f32 = np.float32
    return Plan(
        lines=lines, start_t=first, step_t=way * step_mm, grain_mm=grain,
        slice_mm=round(float(2.2 * thick.max()), 1) + 0.1,
        slices=slices, slice_step=slice_step, slice_weight=layer, slice_shift=shift,
        lateral=weight.astype(f32), span=span, axial=taps.astype(f32), pulse=grain / step_mm, step_mm=step_mm,
        edge=(edge / edge.sum()).astype(f32),
        mirror_scale=(LIVER_LEVEL * 10 ** (s.specular_db / 20) / (weight.sum(axis=0) * peak)).astype(f32),
        haze=haze.astype(f32), gain=gain.astype(f32), noise=_noise(),
        noise_level=(10 ** (s.noise_db / 20) / np.sqrt(2) * gain / gain[-1]).astype(f32),
        face=np.exp(-drawn / s.ring_down_mm).astype(f32),
        pixels=np.ravel_multi_index((rows, columns), sector.shape).astype(np.int32),
        corner=np.ravel_multi_index(tuple(corner.T), (n_lines, n_samples)).astype(np.int32),
        share=(where - corner).clip(0, 1).astype(f32),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _noise() -> Array32:
    """A long row of white noise: each line of each frame takes its own from it, which is quicker than new."""
    return np.random.default_rng(NOISE_SEED).standard_normal(NOISE_LENGTH, dtype=np.float32)


def _power(weight: Array, place_mm: Array, grain_mm: float) -> Array:
    """Variance (samples,) of the sum of a unit field, of that grain, at places with weights (n, samples)."""
    apart = place_mm[:, None] - place_mm[None]
    alike = np.exp(-((apart / grain_mm) ** 2) / 4)
    alike = np.broadcast_to(alike, (*alike.shape[:2], weight.shape[1]))
    return np.asarray(np.einsum("is,js,ijs->s", weight, weight, alike))
