"""B-mode pictures of tissue, traced scan line by scan line through a voxelised phantom."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import transform_points
from navkit.phantoms import LIVER_LEVEL, Phantom
from navkit.ultrasound._bricks import LEVEL_DB, bricks_of, make_ready
from navkit.ultrasound._plan import (
    GRAIN_VOXELS,
    RAYLEIGH_MEAN,
    TILE_SD,
    Plan,
    ScanLines,
    plan_frame,
)
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SPEED_M_S, SimulationSettings

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

SWING = 10 ** (LEVEL_DB * np.arange(-128, 128) / 20)
"""What each level of a texture does to the amplitude; even tissue is exactly 1."""
PLACE = np.array([sum((k >> b & 1) << 3 * b for b in range(7)) for k in range(128)])
"""An index's bits, three apart: in Morton order, neighbours in any direction are near in memory."""


@dataclass(frozen=True)
class Envelope:
    """A frame before compression.

    Parameters
    ----------
    amplitude : (n_lines, n_samples) float32; 1 is the brightest that the picture shows
    lines : ScanLines
    """

    amplitude: Array32
    lines: ScanLines


@lru_cache(maxsize=2)
def _tile(seed: int) -> NDArray[np.int8]:
    """A periodic complex Gaussian field of sd TILE_SD in each part, in Morton order (voxels, 2)."""
    from scipy.ndimage import gaussian_filter

    from navkit.ultrasound._beams import TILE

    rng = np.random.default_rng([seed, 0x5CA77E])
    tile = np.empty((TILE, TILE, TILE, 2), dtype=np.int8)
    for part in range(2):
        field = rng.standard_normal((TILE,) * 3, dtype=np.float32)
        field = gaussian_filter(field, GRAIN_VOXELS, mode="wrap", truncate=3.0)
        tile[..., part] = np.clip(np.rint(field * (TILE_SD / field.std())), -127, 127)
    near = PLACE[:, None, None] << 2 | PLACE[:, None] << 1 | PLACE
    out = np.empty((tile.size // 2, 2), dtype=np.int8)
    out[near] = tile
    return out


def scan_lines(sector: ProbeSector, settings: SimulationSettings | None = None) -> ScanLines:
    """Where a frame of that sector is sampled, and how finely it resolves there."""
    return plan_frame(sector, settings or SimulationSettings.fast()).lines


def simulate_envelope(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    rng: np.random.Generator,
    settings: SimulationSettings | None = None,
    threads: int | None = None,
) -> Envelope:
    """The envelope of a frame on its scan lines, before compression and scan conversion.

    Each line is followed through the phantom. Where the impedance changes, a share of the sound comes back,
    less at an angle; the rest goes on, weakened by attenuation. In between, scatterers that belong to the
    phantom give speckle, in coarser grains where a tissue has a texture. Beam, pulse and slice blur it.
    Refraction, side lobes, motion, steered lines and compounding are not simulated, and all tissues have one
    speed. Outside its box a phantom goes on as at the border.

    Parameters
    ----------
    phantom : Phantom, in its own space ``d``
    sector : ProbeSector
    d_M_p : (4, 4) affine from pixels to the phantom, mm
    rng : numpy Generator, for the electronic noise only
    settings : SimulationSettings, `SimulationSettings.fast()` unless given
    threads : how many share the lines, all cores unless given; the result does not depend on it

    References
    ----------
    Burger, Bettinghausen, Radle, Hesser, Real-time GPU-based ultrasound simulation using deformable mesh
    models, IEEE Trans. Med. Imaging 32(3), 2013, doi:10.1109/TMI.2012.2234474. Wagner, Insana, Smith,
    J. Opt. Soc. Am. A 4(5), 1987, doi:10.1364/JOSAA.4.000910.
    """
    from navkit.ultrasound import _beams, _focus

    s = settings or SimulationSettings.fast()
    plan = plan_frame(sector, s)
    volume = bricks_of(phantom, s.voxel_mm, plan.slice_mm)
    d_M_t = np.asarray(d_M_p, dtype=float) @ np.linalg.inv(sector.t_M_p())
    make_ready(volume, phantom, d_M_t[None], plan, threads)
    n_lines, n_samples = len(plan.start_t), len(plan.gain)

    v_M_t = volume.v_M_d @ d_M_t
    k_M_t = d_M_t.copy()  # to voxels of the tile
    k_M_t[:3] *= GRAIN_VOXELS / plan.grain_mm
    start_v, step_v, normal_v = _carried(v_M_t, plan)
    start_k, step_k, normal_k = _carried(k_M_t, plan)
    tissues = volume.tissues
    amplitude = LIVER_LEVEL / RAYLEIGH_MEAN / TILE_SD * 10 ** (np.array([t.echo_db for t in tissues]) / 20)
    loss_db = np.array([t.attenuation_db_cm_mhz for t in tissues]) * s.frequency_mhz * 2 * plan.step_mm / 10
    scatter = np.empty((2, n_lines, n_samples), dtype=np.float32)
    field = np.empty_like(scatter)
    noise_at = rng.integers(0, len(plan.noise) - n_samples, size=(n_lines, 2))
    mirror, through, shaded, envelope = np.empty((4, n_lines, n_samples), dtype=np.float32)
    options = (plan.pulse, s.rough_power, s.mirror_power, 10 ** (s.reverberation_db / 20))
    spread = np.stack([plan.lines.lateral_mm, plan.lines.elevation_mm], axis=1)
    comet = (plan.lines.axial_mm / plan.step_mm, s.comet_mm / plan.step_mm, s.comet_decay)
    wires = _wires_from_lines(phantom, d_M_t, plan)
    bright = phantom.wire_echo * _squareness(wires, plan.step_mm) ** s.wire_power

    _share(
        threads, n_lines, _beams.trace,
        volume.labels, volume.impedance, volume.texture, SWING, amplitude, 10 ** (-loss_db / 20),
        np.array([t.specular for t in tissues]), np.array([SPEED_M_S / t.speed_m_s for t in tissues]),
        start_v, step_v, normal_v, start_k, step_k, normal_k,
        plan.slices, plan.slice_step, plan.slice_weight, plan.slice_shift,
        _tile(phantom.seed), PLACE, options, scatter, mirror, through,
    )  # fmt: skip
    _share(threads, n_lines, _focus.shade, scatter, mirror, through, plan.edge, plan.mirror_scale, plan.haze,
           shaded, field)  # fmt: skip
    _share(threads, n_lines, _focus.focus, field, plan.lateral, plan.span, plan.axial,
           wires, bright, spread, comet, shaded, plan.gain, plan.noise, noise_at, plan.noise_level, plan.face,
           envelope)  # fmt: skip
    return Envelope(envelope, plan.lines)


def prepare(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    settings: SimulationSettings | None = None,
    threads: int | None = None,
) -> None:
    """Make the part of the phantom that frames at poses (n, 4, 4) will read: quicker than frame by frame.

    Nothing depends on it but the time that the first frames take.
    """
    s = settings or SimulationSettings.fast()
    plan = plan_frame(sector, s)
    poses = np.asarray(d_M_p, dtype=float) @ np.linalg.inv(sector.t_M_p())
    make_ready(bricks_of(phantom, s.voxel_mm, plan.slice_mm), phantom, poses, plan, threads)


def bmode_frame(envelope: Envelope, settings: SimulationSettings, threads: int | None) -> NDArray[np.uint8]:
    """The picture (height, width) of an envelope."""
    from navkit.ultrasound import _focus

    plan = plan_frame(envelope.lines.sector, settings)
    grey = np.empty_like(envelope.amplitude)
    frame = np.zeros(envelope.lines.sector.shape, dtype=np.uint8)
    _share(threads, len(grey), _focus.compress, envelope.amplitude, settings.dynamic_range_db, grey)
    _share(threads, len(plan.pixels), _focus.convert, grey, plan.pixels, plan.corner, plan.share, frame)
    return frame


def _share(threads: int | None, n: int, stage: Callable[..., None], *arguments: Any) -> None:
    """Run one stage on 0 <= i < n, cut into one run for each thread."""
    workers = min(threads or os.cpu_count() or 1, n)
    if workers == 1:
        stage(0, n, *arguments)
        return
    cuts = np.linspace(0, n, workers + 1).astype(int)
    others = [_pool(workers).submit(stage, a, b, *arguments) for a, b in pairwise(cuts[1:])]
    stage(0, cuts[1], *arguments)
    for done in others:
        done.result()


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that wait for the next stage, instead of new ones for each of a frame's five."""
    return ThreadPoolExecutor(workers - 1)


if hasattr(os, "register_at_fork"):  # a child process has no threads yet
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _carried(q_M_t: Array, plan: Plan) -> tuple[Array, Array, Array]:
    """Starts and steps (lines, 3) of the lines and a millimetre of elevation (3,), in another space."""
    return transform_points(q_M_t, plan.start_t), plan.step_t @ q_M_t[:3, :3].T, q_M_t[:3, 0].copy()


def _wires_from_lines(phantom: Phantom, d_M_t: Array, plan: Plan) -> Array:
    """The wires' ends (n, lines, 2, 3) as each line sees them: mm across, samples along, mm of elevation."""
    ends = transform_points(np.linalg.inv(d_M_t), phantom.wires)[:, None]
    way = plan.step_t / plan.step_mm
    off = ends - plan.start_t[:, None]
    along = np.einsum("...nkc,nc->...nk", off, way)
    beside = np.stack([0 * way[:, 0], -way[:, 2], way[:, 1]], axis=1)  # to the right of the line
    return np.stack([np.einsum("...nkc,nc->...nk", off, beside), along / plan.step_mm, off[..., 0]], axis=-1)


def _squareness(wires: Array, step_mm: float) -> Array:
    """Sine (n, lines) of the angle between each wire and each line."""
    way = (wires[:, :, 1] - wires[:, :, 0]) * [1.0, step_mm, 1.0]
    square: Array = np.hypot(way[..., 0], way[..., 2]) / np.maximum(np.linalg.norm(way, axis=-1), 1e-12)
    return square
