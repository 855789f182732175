"""Simulated frames and sweeps.

A phantom of wires alone is drawn by one formula; one with parts is traced line by line (`_bmode`).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, transform_points
from navkit.phantoms import Phantom
from navkit.ultrasound._bmode import bmode_frame, prepare, simulate_envelope
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SimulationSettings
from navkit.ultrasound._sweep import Sweep

Array = NDArray[np.float64]


def simulate_frame(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    rng: np.random.Generator,
    settings: SimulationSettings | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """One B-mode picture (height, width) of a phantom.

    A phantom with parts is traced scan line by scan line, see `simulate_envelope`; the envelope is then
    log-compressed and scan-converted. A phantom without parts is drawn by one formula: wires give a point
    echo blurred by pulse, beam and slice, the background gives speckle that is fixed in the phantom's space,
    and there are no shadows.

    Parameters
    ----------
    phantom : Phantom, in its own space ``d``
    sector : ProbeSector
    d_M_p : (4, 4) affine from pixels to the phantom, mm
    rng : numpy Generator, for the electronic noise only
    settings : SimulationSettings
        Unless given, `SimulationSettings.fast()` where there are parts, else `SimulationSettings()`.
    threads : how many share the work, all cores unless given; the picture does not depend on it
    """
    if phantom.parts:
        s = settings or SimulationSettings.fast()
        envelope = simulate_envelope(phantom, sector, d_M_p, rng=rng, settings=s, threads=threads)
        return bmode_frame(envelope, s, threads)
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
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    name: str = "simulated",
) -> Sweep:
    """A sweep of simulated frames, one for each tool pose (n, 4, 4); the phantom lies at ``pr_M_d``.

    `progress` is called with (frames done, frames in all).
    """
    poses = np.asarray(pr_M_t, dtype=float)
    d_M_pr = np.eye(4) if pr_M_d is None else inverse(pr_M_d)
    pr_M_p = poses @ sector.t_M_p()
    if phantom.parts:
        prepare(phantom, sector, d_M_pr @ pr_M_p, settings=settings, threads=threads)
    frames = np.empty((len(poses), *sector.shape), dtype=np.uint8)
    for k, m in enumerate(pr_M_p):
        frames[k] = simulate_frame(phantom, sector, d_M_pr @ m, rng=rng, settings=settings, threads=threads)
        if progress is not None:
            progress(k + 1, len(frames))
    time = np.asarray(time_s, dtype=float)
    return Sweep(frames, time, pr_M_p, sector, np.ones(len(time), dtype=bool), name)
