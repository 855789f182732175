"""What a probe is calibrated and checked with: N-wires, a water tank, parallel wires."""

from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.datasets._store import Arrays, Progress
from navkit.datasets._sweeps import NOISE_DEG, NOISE_MM, measured, reached
from navkit.geometry import inverse, orthonormalised, pose_from, transform_points
from navkit.phantoms import Phantom, nwire_array, nwires, water_tank, wire_target
from navkit.tracking import Hand, PoseStream, back_and_forth
from navkit.ultrasound import ProbeSector, SimulationSettings, linear_array, scan, simulate_frame

Array = NDArray[np.float64]
Version = Literal["2.0", "1.2", "1.0"]

FRAMES = 60
DOWN = Rotation.from_matrix([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
"""A probe that looks down: its z along -z of the phantom, its y along x."""
LATENCY_S = (0.03, 0.12)


def _sector_arrays(sector: ProbeSector) -> Arrays:
    """What turns pixels into millimetres."""
    return {
        "t_M_p": sector.t_M_p(),
        "spacing_mm": np.array(sector.spacing_mm),
        "clip_p": np.array(sector.clip_p),
    }


def _rounded(pose: Array) -> Array:
    return orthonormalised(np.round(pose, 6))


def _frames(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_t: Array,
    rng: np.random.Generator,
    settings: SimulationSettings,
    progress: Progress | None,
) -> NDArray[np.uint8]:
    frames = []
    for k, pose in enumerate(d_M_t @ sector.t_M_p()):
        frames.append(simulate_frame(phantom, sector, pose, rng=rng, settings=settings))
        if progress is not None:
            progress(k + 1, len(d_M_t))
    return np.stack(frames)


def nwires_poses(version: Version, rng: np.random.Generator) -> tuple[ProbeSector, Array]:
    """A probe and its true poses ``d_M_t`` (60, 4, 4) above PLUS's phantom: moved along and turned."""
    wires = nwire_array(version)
    middle_x, top = wires[..., 0].mean(), wires[..., 2].max()
    along = np.linspace(8, 32, FRAMES) + rng.uniform(-2, 2, size=FRAMES)
    place = np.stack(
        [
            middle_x + rng.uniform(-2.5, 2.5, size=FRAMES),
            along,
            top + 22 + rng.uniform(-4, 4, size=FRAMES),
        ],
        axis=1,
    )
    turn = Rotation.from_euler("xyz", rng.uniform(-9, 9, size=(FRAMES, 3)), degrees=True)
    pose = pose_from(DOWN * turn, place)
    return linear_array(52.0, 60.0, 0.2), _rounded(pose)


def nwires_frames(version: Version, rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
    """Pictures of PLUS's N-wires by a probe whose calibration is asked for."""
    sector, d_M_t = nwires_poses(version, rng)
    s_M_t = _rounded(
        pose_from(
            Rotation.from_rotvec(rng.normal(scale=0.5, size=3)),
            np.array([12.0, -21.0, 95.0]) + rng.normal(scale=6.0, size=3),
        )
    )
    d_M_s = d_M_t @ inverse(s_M_t)
    noise = pose_from(
        Rotation.from_rotvec(np.radians(rng.normal(scale=NOISE_DEG, size=(FRAMES, 3)))),
        rng.normal(scale=NOISE_MM, size=(FRAMES, 3)),
    )
    frames = _frames(nwires(version), sector, d_M_t, rng, SimulationSettings(), progress)
    return {
        "frames": frames,
        "wires_d": nwire_array(version),
        "s_M_d": np.round(inverse(d_M_s @ noise), 6),
        "s_M_d_true": np.round(inverse(d_M_s), 6),
        "s_M_p_true": np.round(s_M_t @ sector.t_M_p(), 9),
        **_sector_arrays(sector),
    }


def water_tank_motion(rng: np.random.Generator) -> dict[str, Array]:
    """The true ``pr_M_t`` of a probe that goes up and down, and the latency of its pictures."""
    turn = Rotation.from_rotvec(rng.normal(scale=0.5, size=3)).as_matrix()
    pr_M_d = _rounded(pose_from(turn, rng.normal(scale=50.0, size=3)))
    middle = pr_M_d @ pose_from(DOWN, np.array([0.0, 0.0, -16.0]))
    way = back_and_forth(
        _rounded(middle),
        amplitude_mm=float(rng.uniform(9.0, 12.0)),
        period_s=float(rng.uniform(1.6, 2.4)),
        rng=rng,
        hand=Hand(duration_s=10.0, rate_hz=40.0),
    )
    latency = np.round(rng.uniform(*LATENCY_S), 4)
    return {"time_s": way.time_s, "pr_M_t": _rounded(way.pose), "pr_M_d": pr_M_d, "latency_s": latency}


def water_tank_sweep(rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
    """Pictures of a tank's bottom and a tracker's poses on one clock, the pictures stamped too late."""
    motion = water_tank_motion(rng)
    sector = linear_array(38.0, 62.0, 0.25)
    way = PoseStream(motion["time_s"], motion["pr_M_t"])
    phantom = reached(water_tank(), sector, inverse(motion["pr_M_d"]) @ way.pose)
    made = scan(
        phantom,
        sector,
        way,
        rng=rng,
        pr_M_d=motion["pr_M_d"],
        frame_rate_hz=15.0,
        tracker=partial(measured, rng=rng),
        latency_s=float(motion["latency_s"]),
        progress=progress,
    )
    return {
        "frames": made.truth.frames,
        "frame_time_s": np.round(made.truth.time_s + made.latency_s, 6),
        "tracker_time_s": np.round(made.tracking.time_s, 6),
        "pr_M_t": np.round(made.tracking.pose, 6),
        "latency_s_true": motion["latency_s"],
        **_sector_arrays(sector),
    }


def wire_target_poses(rng: np.random.Generator) -> tuple[ProbeSector, Array]:
    """A probe and its poses ``d_M_t`` (12, 4, 4) on the test object, its picture across the wires."""
    turn = Rotation.from_euler("xyz", rng.uniform(-1.5, 1.5, size=(12, 3)), degrees=True)
    place = np.stack([rng.uniform(-2, 2, size=12), np.linspace(-15, 15, 12), np.full(12, -0.5)], axis=1)
    return linear_array(56.0, 90.0, 0.25), _rounded(pose_from(DOWN * turn, place))


def wires_in_picture(phantom: Phantom, sector: ProbeSector, d_M_t: Array) -> Array:
    """Where each wire pierces each picture (frames, wires, 2), pixels; NaN where the wire is too short."""
    ends = transform_points(inverse(d_M_t @ sector.t_M_p()), phantom.wires)
    start, along = ends[..., 0, :], ends[..., 1, :] - ends[..., 0, :]
    share = -start[..., 2] / along[..., 2]
    px = start[..., :2] + share[..., None] * along[..., :2]
    return np.where(((share >= 0) & (share <= 1))[..., None], px, np.nan)


def wire_target_frames(rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
    """Pictures of parallel wires in agar: distances and resolution to measure."""
    sector, d_M_t = wire_target_poses(rng)
    phantom = wire_target(seed=int(rng.integers(1, 2**31)))
    return {
        "frames": _frames(phantom, sector, d_M_t, rng, SimulationSettings(), progress),
        "d_M_t": np.round(d_M_t, 6),
        "wire_names": np.array(list(phantom.landmarks)),
        "wires_d": phantom.wires,
        "wires_p_true": np.round(wires_in_picture(phantom, sector, d_M_t), 3),
        **_sector_arrays(sector),
    }
