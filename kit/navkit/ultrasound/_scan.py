"""Freehand scans of a phantom: what a navigation system records, beside what is true."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_points, check_poses, inverse, pose_from
from navkit.phantoms import Phantom
from navkit.tracking import PoseStream, resample
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SimulationSettings
from navkit.ultrasound._simulate import simulate_sweep
from navkit.ultrasound._sweep import Sweep

Array = NDArray[np.float64]
Stage = Callable[[PoseStream], PoseStream]


@dataclass(frozen=True)
class Scan:
    """A simulated scan: what was recorded, and the truth to judge it by.

    Parameters
    ----------
    sweep : Sweep
        What a navigation system records: late frames, with measured poses and the assumed calibration.
    truth : Sweep
        The same frames, at the times and the poses at which they were made.
    tracking : PoseStream
        Measured ``pr_M_s``, from which the sweep's poses were interpolated.
    s_M_t, assumed_s_M_t : (4, 4) rigid, the probe's calibration: the true one and the one in use
    latency_s : by how much the frames' times in `sweep` are late
    """

    sweep: Sweep
    truth: Sweep
    tracking: PoseStream
    s_M_t: Array
    assumed_s_M_t: Array
    latency_s: float

    def error_mm(self) -> Array:
        """How far each frame's pixels lie from where they were made, RMS over the sector, (n,) mm.

        NaN where the frame is not valid.
        """
        rows, columns = np.nonzero(self.truth.sector.mask())
        p = np.stack([columns, rows, 0 * rows, 1 + 0 * rows], axis=1).astype(float)
        off = self.sweep.pr_M_p - self.truth.pr_M_p
        error: Array = np.sqrt(np.einsum("nij,jk,nik->n", off, p.T @ p / len(p), off))
        return error


def scan(
    phantom: Phantom,
    sector: ProbeSector,
    trajectory: PoseStream,
    *,
    rng: np.random.Generator,
    pr_M_d: ArrayLike | None = None,
    frame_rate_hz: float | None = None,
    tracker: Stage | None = None,
    faults: Sequence[Stage] = (),
    s_M_t: ArrayLike | None = None,
    assumed_s_M_t: ArrayLike | None = None,
    latency_s: float = 0.0,
    settings: SimulationSettings | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    name: str = "scan",
) -> Scan:
    """Scan a phantom with a tracked probe, with all that goes wrong on the way.

    The frames are made at the true poses. The tracker watches the sensor on the probe, the faults spoil
    what it delivers, and the frames get their poses from that: see `track_frames`. With all left out the
    sweep is that of `simulate_sweep`.

    In the sweep: a latency moves each frame by speed times latency, to either side on the way to and fro. A
    wrong calibration moves all frames alike as seen from the probe, and so by something else wherever the
    probe is turned. Noise of the tracker is less than it states where a frame lies between two samples, at
    their middle by sqrt(2). Of the faults only `drop_out` is told by frames that are not valid, and
    `add_latency` by those before the tracking's start; the others (`add_jitter`, `repeat_samples`,
    `loosen_marker`, `swap_transform`) leave poses that look as good as before and are wrong. A bent holder
    is a wrong `assumed_s_M_t`.

    Parameters
    ----------
    phantom : Phantom, in its own space ``d``
    sector : ProbeSector
    trajectory : PoseStream
        The probe's true ``pr_M_t``, all of it valid, at the times at which the tracker samples; for the
        simulated trackers ``pr`` is the tracker's own space.
    rng : for the electronic noise of the pictures; tracker and faults have their own
    pr_M_d : (4, 4) rigid, where the phantom lies; identity unless given
    frame_rate_hz : of the video; a frame at every sample of the trajectory unless given
    tracker : what the tracker makes of the sensor's true ``pr_M_s``, such as ``partial(simulate_optical,
        markers_s=markers_s, rng=rng)``; the truth unless given
    faults : what happens to that on its way, in this order, such as ``partial(drop_out, rng=rng,
        fraction=0.1, length_s=0.5)``
    s_M_t : (4, 4) rigid, where the picture's tool space is seen from the sensor; identity unless given:
        then markers are given in ``t``. A turn of the sensor reaches the picture by that lever
    assumed_s_M_t : (4, 4) rigid, what the system takes for it, such as the result of a calibration, or
        ``s_M_t @ calibration_error(...)``; the true one unless given
    latency_s : how late the frames are stamped; `estimate_video_delay` finds it with the other sign, since
        it says how late the tracker is
    settings, threads : see `simulate_frame`
    progress : called with (frames done, frames in all)
    name : of the sweep

    Raises
    ------
    ValueError
        If the trajectory has samples that are not valid, or a matrix is not rigid.

    Examples
    --------
    >>> from navkit.phantoms import wire_cross
    >>> from navkit.tracking import Hand, linear_sweep
    >>> sector = ProbeSector("linear", 30, (0, 40), (31, 1), (0.5, 0.5), (0, 62, 0, 82), (83, 63))
    >>> pr_M_t = pose_from(np.diag([1.0, -1.0, -1.0]), [134, 134, 120])
    >>> way = linear_sweep(pr_M_t, length_mm=6, hand=Hand(duration_s=0.5, speed_variation=0))
    >>> late = scan(wire_cross(), sector, way, rng=np.random.default_rng(1), latency_s=0.1)
    >>> int((~late.sweep.valid).sum()), late.sweep.notes
    (3, ('3 of 16 frames have no tracking and are left out',))
    >>> late.error_mm()[:13].round(6)  # 12 mm/s for 0.1 s
    array([1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2])
    """
    if not trajectory.valid.all():
        k = int(np.argmin(trajectory.valid))
        raise ValueError(
            f"sample {k} of the trajectory is not valid; expected the true motion, without gaps. Leave it to "
            "tracker and faults to lose samples."
        )
    true_s_M_t = _rigid(s_M_t, "s_M_t")
    used_s_M_t = true_s_M_t if assumed_s_M_t is None else _rigid(assumed_s_M_t, "assumed_s_M_t")
    phantom_at = _rigid(pr_M_d, "pr_M_d")

    tracking = replace(trajectory, pose=trajectory.pose @ inverse(true_s_M_t))
    for stage in ((tracker,) if tracker else ()) + tuple(faults):
        tracking = stage(tracking)

    exposed = trajectory if frame_rate_hz is None else resample(trajectory, frame_rate_hz, max_gap_s=np.inf)
    true = simulate_sweep(
        phantom, sector, exposed.pose, exposed.time_s, rng=rng, pr_M_d=phantom_at,
        settings=settings, threads=threads, progress=progress, name=name,
    )  # fmt: skip
    return Scan(
        track_frames(true.frames, true.time_s + latency_s, tracking, sector, s_M_t=used_s_M_t, name=name),
        true,
        tracking,
        true_s_M_t,
        used_s_M_t,
        latency_s,
    )


def track_frames(
    frames: NDArray[np.uint8],
    time_s: ArrayLike,
    tracking: PoseStream,
    sector: ProbeSector,
    *,
    s_M_t: ArrayLike | None = None,
    latency_s: float = 0.0,
    max_gap_s: float = 0.25,
    name: str = "",
) -> Sweep:
    """A sweep from frames and a tracker that ran beside them: what a navigation system does.

    Works for a recording of PLUS as well: its frames, its times, `Sequence.stream` of the probe and the
    calibrated ``s_M_t``. To correct a `scan`, give its frames and tracking with the latency or the
    calibration that you found.

    Parameters
    ----------
    frames : (n, height, width) uint8
    time_s : (n,) s, as stamped
    tracking : PoseStream ``pr_M_s``
    sector : ProbeSector
    s_M_t : (4, 4) rigid, the probe's calibration; identity unless given, for a stream of ``pr_M_t``
    latency_s : how late the stamps are; taken off, as CustusX does before it stores them
    max_gap_s : a frame farther than that from the sample before or after has no pose
    name : of the sweep

    Returns
    -------
    Sweep
        Poses are interpolated, never extrapolated: a frame without is NaN and not valid, and counted in
        ``notes``. `navkit.files.write_acquisition` leaves those frames out.

    Raises
    ------
    ValueError
        If the numbers of frames and times differ, or `s_M_t` is not rigid.
    """
    time = np.asarray(time_s, dtype=float) - latency_s
    pr_M_s, valid = np.full((len(time), 4, 4), np.nan), np.zeros(len(time), dtype=bool)
    if tracking.valid.sum() >= 2:  # two samples make a way
        pr_M_s, valid = tracking.at(time, max_gap_s=max_gap_s)
    lost = int((~valid).sum())
    notes = (f"{lost} of {len(valid)} frames have no tracking and are left out",) if lost else ()
    return Sweep(frames, time, pr_M_s @ _rigid(s_M_t, "s_M_t") @ sector.t_M_p(), sector, valid, name, notes)


def calibration_error(
    *,
    rng: np.random.Generator,
    translation_mm: float,
    rotation_deg: float,
    centre_t: ArrayLike = (0.0, 0.0, 0.0),
) -> Array:
    """A probe calibration's error of given size, in a random direction.

    Parameters
    ----------
    translation_mm : length by which `centre_t` is moved
    rotation_deg : angle, about a random axis through `centre_t`
    centre_t : (3,) mm; the middle of the picture is where a calibration is best

    Returns
    -------
    (4, 4) rigid, to the true tool space from the assumed one: a calibration with that error is
    ``s_M_t @ calibration_error(...)``.

    Examples
    --------
    >>> error = calibration_error(rng=np.random.default_rng(1), translation_mm=1.5, rotation_deg=2.0)
    >>> round(float(np.linalg.norm(error[:3, 3])), 6)
    1.5
    """
    centre = check_points(np.asarray(centre_t, dtype=float)[None], "centre_t")[0]
    along, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(np.radians(rotation_deg) * axis)
    return pose_from(turn, centre - turn.apply(centre) + translation_mm * along)


def _rigid(q_M_r: ArrayLike | None, name: str) -> Array:
    """The checked matrix (4, 4); identity for None."""
    return np.eye(4) if q_M_r is None else check_poses(np.asarray(q_M_r, dtype=float)[None], name)[0]
