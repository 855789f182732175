"""Tracked sweeps: the wire cross of the laboratory, and a patient's target as the probe shows it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.datasets._patients import Patient, drawn_patient
from navkit.datasets._store import Progress
from navkit.geometry import inverse, orthonormalised, pose_from, transform_points
from navkit.phantoms import TISSUES, Phantom, wire_cross
from navkit.tracking import Hand, PoseStream, fan_sweep, linear_sweep
from navkit.ultrasound import (
    ProbeSector,
    SimulationSettings,
    Sweep,
    curved_array,
    linear_array,
    scan,
    simulate_sweep,
)

Array = NDArray[np.float64]

AROUND_MM = 8.0
NOISE_MM, NOISE_DEG = (0.1, 0.1, 0.25), 0.1
"""Of the tracker, at the probe: along x, y and z of the room, and about each axis."""


@dataclass(frozen=True)
class Protocol:
    """How a patient is scanned: the probe, its settings, and the hand's motion from the middle pose."""

    sector: ProbeSector
    settings: SimulationSettings
    motion: Callable[..., PoseStream]
    duration_s: float = 6.0


def _fan(angle_deg: float, contact_mm: float) -> Callable[..., PoseStream]:
    return partial(fan_sweep, angle_deg=angle_deg, contact_mm=contact_mm)


def _fast(frequency_mhz: float, focus_mm: float) -> SimulationSettings:
    return SimulationSettings.fast(frequency_mhz=frequency_mhz, focus_mm=focus_mm)


PROTOCOLS = {
    "neuro": Protocol(curved_array(14, 70, 60, 0.25), _fast(7.0, 25), partial(linear_sweep, length_mm=36.0)),
    "liver": Protocol(curved_array(20, 62, 95, 0.4), _fast(4.0, 45), _fan(56.0, 20.0)),
    "kidney": Protocol(curved_array(20, 62, 90, 0.4), _fast(4.5, 40), _fan(60.0, 20.0)),
    "aorta": Protocol(
        curved_array(50, 60, 125, 0.6), _fast(3.5, 70), partial(linear_sweep, length_mm=120.0), 7.0
    ),
    "airway": Protocol(curved_array(5, 64, 38, 0.16), _fast(8.0, 14), _fan(60.0, 5.0)),
    "orbit": Protocol(linear_array(38, 50, 0.18), _fast(10.0, 30), partial(linear_sweep, length_mm=14.0)),
}
"""All chosen; no maker's probe."""
RATE_HZ = 15.0


def face_pose(patient: Patient, sector: ProbeSector) -> Array:
    """The middle pose ``r_M_t``: the face where the patient's view puts it, z along the beam."""
    z = patient.beam_r
    y = np.cross(z, patient.across_r)
    y /= np.linalg.norm(y)
    turn = np.stack([np.cross(y, z), y, z], axis=1)
    return pose_from(turn, patient.face_r - sector.depth_mm[0] * z)


def trajectory(kind: str, patient: Patient, rng: np.random.Generator) -> PoseStream:
    """The probe's true ``pr_M_t``, rounded as files round it."""
    protocol = PROTOCOLS[kind]
    middle = orthonormalised(np.round(patient.pr_M_r @ face_pose(patient, protocol.sector), 6))
    way = protocol.motion(middle, rng=rng, hand=Hand(duration_s=protocol.duration_s, rate_hz=RATE_HZ))
    return replace(way, pose=orthonormalised(np.round(way.pose, 6)))


def measured(stream: PoseStream, *, rng: np.random.Generator) -> PoseStream:
    """What the tracker delivers: each sample with its own error."""
    turn = Rotation.from_rotvec(np.radians(rng.normal(scale=NOISE_DEG, size=(len(stream), 3))))
    place = stream.pose[:, :3, 3] + rng.normal(scale=NOISE_MM, size=(len(stream), 3))
    pose = pose_from(turn * Rotation.from_matrix(stream.pose[:, :3, :3]), place)
    return replace(stream, pose=orthonormalised(np.round(pose, 6)))


def reached(phantom: Phantom, sector: ProbeSector, d_M_t: Array) -> Phantom:
    """The phantom with its box cut down to what the pictures reach, and gel for air under the probe."""
    rows, columns = np.nonzero(sector.mask())
    tool = sector.pixels_to_tool(np.stack([columns, rows], axis=1)[::37])
    points = transform_points(d_M_t, tool)
    low = np.floor(np.maximum(points.min(axis=(0, 1)) - AROUND_MM, phantom.low))
    high = np.ceil(np.minimum(points.max(axis=(0, 1)) + AROUND_MM, phantom.high))
    gel = replace(TISSUES["water"], name="gel")
    background = gel if phantom.background.name == "air" else phantom.background
    return replace(phantom, low=low, high=high, background=background)


def patient_sweep(kind: str, rng: np.random.Generator, progress: Progress | None = None) -> Sweep:
    """A hand's sweep over the target of a patient of that kind, tracked with noise.

    The patient is that of `case` for the same generator: its truth is there.
    """
    patient, protocol = drawn_patient(kind, rng), PROTOCOLS[kind]
    way = trajectory(kind, patient, rng)
    phantom = reached(patient.phantom, protocol.sector, inverse(patient.pr_M_r) @ way.pose)
    return scan(
        phantom,
        protocol.sector,
        way,
        rng=rng,
        pr_M_d=patient.pr_M_r,
        tracker=partial(measured, rng=rng),
        settings=protocol.settings,
        progress=progress,
        name=f"{kind}_sweep",
    ).sweep


def wire_cross_sweep(rng: np.random.Generator, progress: Progress | None = None) -> Sweep:
    """A linear probe swept by hand over CustusX's wire cross, in a water bath, as in the real recording.

    76 frames of 256 x 192 pixels at 6 Hz from a 38 mm linear array at 39 mm depth. The hand advances
    about 24 mm, tilts 10 degrees and trembles. The tracking is exact: the truth is known.
    """
    n = 76
    sector = ProbeSector(
        kind="linear",
        width=37.8204,
        depth_mm=(0.0, 39.2307),
        origin_p=(112.625, 16.625),
        spacing_mm=(0.25641, 0.25641),
        clip_p=(39, 186, 17, 170),
        shape=(192, 256),
    )
    s = np.linspace(0.0, 1.0, n)[:, None]
    tremble = np.cumsum(rng.normal(scale=[0.08, 0.05, 0.05], size=(n, 3)), axis=0)
    tremble -= tremble.mean(axis=0)
    angles = np.array([5.0, -20.5, -8.0]) + s * [2.0, 9.5, 0.5] + 0.2 * tremble
    rotation = Rotation.from_euler("xyz", angles, degrees=True)
    position = np.array([128.0, 143.8, 79.1]) + s * [22.0, -6.0, 8.0] + tremble
    pr_M_t = orthonormalised(np.round(pose_from(rotation, position), 6))
    time_s = np.round(1_000.0 + np.arange(n) / 6.0, 4)
    return simulate_sweep(wire_cross(), sector, pr_M_t, time_s, rng=rng, name="wire_cross_sweep")
