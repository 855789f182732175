"""Simulated trackers: from a true motion to what an optical or electromagnetic tracker would deliver."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_points, kabsch, pose_from, transform_points
from navkit.tracking._stream import PoseStream

Array = NDArray[np.float64]

LINE_RATIO = 0.01
"""Markers whose spread across is less than this part of their spread along lie on a line."""


@dataclass(frozen=True)
class OpticalSettings:
    """What a simulated optical tracker does.

    Its space is NDI's: the camera sits in the origin and looks along -z. The volume is about that of a
    Polaris Vicra. ``fle_sd_mm=(0, 0, 0)`` takes the noise away.

    Parameters
    ----------
    fle_sd_mm : standard deviation of one marker's error along x, y and z; depth is the worst [1]_. The
        default is 0.29 mm RMS in 3-D
    max_angle_deg : how far a marker may face away from the camera and be seen; 180 sees every marker
    z_mm : lowest and highest z at which a marker is seen
    view_deg : how far off the camera's axis a marker may be

    References
    ----------
    .. [1] Wiles, Thompson, Frantz, Proc. SPIE 5367, 2004, doi:10.1117/12.536128.
    """

    fle_sd_mm: tuple[float, float, float] = (0.1, 0.1, 0.25)
    max_angle_deg: float = 60.0
    z_mm: tuple[float, float] = (-1350.0, -550.0)
    view_deg: float = 20.0

    def __post_init__(self) -> None:
        if min(self.fle_sd_mm) < 0:
            raise ValueError(f"fle_sd_mm is {self.fle_sd_mm}; expected 0 or more.")
        if self.z_mm[0] >= self.z_mm[1]:
            raise ValueError(f"z_mm is {self.z_mm}; expected the lower first. The camera looks along -z.")


@dataclass(frozen=True)
class EmSettings:
    """What a simulated electromagnetic tracker does.

    Its space is that of the field generator, which sits in the origin and looks along -z. The defaults are
    about an NDI Aurora's cube, its jitter [1]_ and an operating table below it. ``noise_mm=0, noise_deg=0``
    takes the noise away, ``distortion_mm=0, distortion_deg=0`` the distortion.

    Parameters
    ----------
    noise_mm, noise_deg : standard deviation of the white noise along, and about, each axis; RMS in 3-D is
        sqrt(3) times as much
    distortion_mm, distortion_deg, reference_mm : the distortion at that distance from the generator
    power : the distortion grows as distance ** power; between 2 and 4 is realistic [2]_
    metal_mm : (3,) outside the volume; positions are pulled towards it and orientations turn about that
        direction. The nearer it is, the more the field curves
    low_mm, high_mm : (3,) corners of the volume; outside it samples are not valid

    References
    ----------
    .. [1] Hummel et al., Med. Phys. 32(7), 2005, doi:10.1118/1.1944327.
    .. [2] Nixon, McCallum, Fright, Price, Presence 7(2), 1998, p. 204.
    """

    noise_mm: float = 0.15
    noise_deg: float = 0.2
    distortion_mm: float = 3.0
    distortion_deg: float = 1.5
    reference_mm: float = 400.0
    power: float = 3.0
    metal_mm: tuple[float, float, float] = (450.0, -200.0, -700.0)
    low_mm: tuple[float, float, float] = (-250.0, -250.0, -550.0)
    high_mm: tuple[float, float, float] = (250.0, 250.0, -50.0)

    def __post_init__(self) -> None:
        if min(self.noise_mm, self.noise_deg) < 0:
            raise ValueError(f"noise_mm is {self.noise_mm}, noise_deg {self.noise_deg}; expected 0 or more.")
        if _within(np.array(self.metal_mm), self):
            raise ValueError(f"metal_mm is {self.metal_mm}; expected a place outside the volume.")


def simulate_optical(
    truth: PoseStream,
    markers_s: ArrayLike,
    *,
    rng: np.random.Generator,
    normals_s: ArrayLike = (0.0, 0.0, 1.0),
    settings: OpticalSettings | None = None,
) -> PoseStream:
    """What an optical tracker delivers for a tool with markers that moves along `truth`.

    Each marker is seen or not, is found with an error (FLE) of its own, and the pose is the least-squares
    fit to the seen ones. A sample with fewer than three, or with its seen markers on a line, is not valid.

    In the data: a pose that shivers about 0.1 mm at the markers and, because small turns of a small tool
    reach far, several times that at a tip far from them [1]_. Samples are lost in stretches, when the tool
    turns away or leaves the volume.

    Parameters
    ----------
    truth : PoseStream ``pr_M_s``, to the camera's space: see `OpticalSettings`
    markers_s : (n, 3) mm, n >= 3, in the tool's own space
    rng : for the FLE; every marker of every sample draws, seen or not
    normals_s : (3,) or (n, 3), where the markers face in the tool's space
    settings : OpticalSettings

    Returns
    -------
    PoseStream
        At the same times; poses that are not valid are NaN.

    Raises
    ------
    ValueError
        If there are fewer than three markers, they lie on a line, or a normal has no direction.

    References
    ----------
    .. [1] Fitzpatrick, West, Maurer, IEEE Trans. Med. Imaging 17(5), 1998, doi:10.1109/42.736021.

    Examples
    --------
    >>> truth = PoseStream(np.arange(3), pose_from(np.eye(3), [[0, 0, -900], [9, 0, -900], [0, 0, -200]]))
    >>> markers_s = [[0, 0, 0], [50, 0, 0], [0, 80, 0], [30, 60, 5.0]]
    >>> seen = simulate_optical(truth, markers_s, rng=np.random.default_rng(1))
    >>> seen.valid, bool(np.abs(seen.pose[0, :3, 3] - [0, 0, -900]).max() < 1)
    (array([ True,  True, False]), True)
    """
    s = settings or OpticalSettings()
    p = check_points(markers_s, "markers_s", at_least=3)
    spread = np.linalg.svd(p - p.mean(axis=0), compute_uv=False)
    if spread[1] <= LINE_RATIO * spread[0]:
        raise ValueError("the markers lie on a line; the turn about it is not seen. Move one away from it.")
    normals = check_points(np.atleast_2d(np.asarray(normals_s, dtype=float)), "normals_s")
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    if len(normals) not in (1, len(p)) or length.min() == 0:
        raise ValueError(f"normals_s has {len(normals)} directions; expected 1 or {len(p)}, none of them 0.")

    markers = transform_points(truth.pose, p)
    facing = normals / length @ np.swapaxes(truth.pose[:, :3, :3], 1, 2)
    distance = np.linalg.norm(markers, axis=-1)
    z = markers[..., 2]
    seen = np.sum(facing * -markers, axis=-1) >= np.cos(np.radians(s.max_angle_deg)) * distance
    seen &= (z >= s.z_mm[0]) & (z <= s.z_mm[1])
    seen &= np.abs(z) >= np.cos(np.radians(s.view_deg)) * distance
    found = markers + rng.normal(scale=s.fle_sd_mm, size=markers.shape)
    enough = truth.valid & (seen.sum(axis=1) >= 3)
    pose = np.full_like(truth.pose, np.nan)
    pose[enough] = _fit_markers(p, found[enough], seen[enough])
    return replace(truth, pose=pose, valid=~np.isnan(pose[:, 0, 0]))


def em_distortion(points: ArrayLike, settings: EmSettings) -> tuple[Array, Array]:
    """How far a field generator's readings are off at true positions (n, 3): the truth to draw or to undo.

    Returns
    -------
    shift_mm : (n, 3), to be added to the position
    turn_rad : (n, 3), rotation vectors in the generator's space; the orientation read is
        ``exp(turn) @ orientation``: a bent field turns a sensor whichever way the sensor points

    Examples
    --------
    >>> shift_mm, turn_rad = em_distortion([[0, 0, -200], [0, 0, -400]], EmSettings())
    >>> np.linalg.norm(shift_mm, axis=1), np.degrees(np.linalg.norm(turn_rad, axis=1))
    (array([0.375, 3.   ]), array([0.1875, 1.5   ]))
    """
    p = check_points(points, "points")
    growth = (np.linalg.norm(p, axis=1, keepdims=True) / settings.reference_mm) ** settings.power
    to_metal = np.array(settings.metal_mm) - p
    field = growth * to_metal / np.linalg.norm(to_metal, axis=1, keepdims=True)
    return settings.distortion_mm * field, np.radians(settings.distortion_deg) * field


def simulate_electromagnetic(
    truth: PoseStream, *, rng: np.random.Generator, settings: EmSettings | None = None
) -> PoseStream:
    """What an electromagnetic tracker delivers for a sensor that moves along `truth`.

    White noise, new in every sample, and a distortion that is the same whenever the sensor comes back.

    In the data: a sensor at rest looks fine, and repeats well, wherever it is: the distortion does not
    show in the spread. It shows as a known length that measures differently at different places, as a
    pivot residual that grows with the distance from the generator, or against an optical tracker.

    Parameters
    ----------
    truth : PoseStream ``pr_M_s``, to the generator's space: see `EmSettings`
    rng : for the white noise; every sample draws, valid or not
    settings : EmSettings

    Returns
    -------
    PoseStream
        At the same times; poses outside the volume are NaN and not valid.

    Examples
    --------
    >>> truth = PoseStream(np.arange(2), pose_from(np.eye(3), [[0, 0, -400], [0, 0, -900]]))
    >>> read = simulate_electromagnetic(truth, rng=np.random.default_rng(1))
    >>> read.valid, bool(np.linalg.norm(read.pose[0, :3, 3] - [0, 0, -400]) > 2)
    (array([ True, False]), True)
    """
    s = settings or EmSettings()
    noise_mm = rng.normal(scale=s.noise_mm, size=(len(truth), 3))
    noise_rad = np.radians(rng.normal(scale=s.noise_deg, size=(len(truth), 3)))
    valid = truth.valid & _within(truth.pose[:, :3, 3], s)
    pose = np.full_like(truth.pose, np.nan)
    if valid.any():
        place = truth.pose[valid, :3, 3]
        shift_mm, turn_rad = em_distortion(place, s)
        turn = Rotation.from_rotvec(noise_rad[valid]) * Rotation.from_rotvec(turn_rad)
        pose[valid] = pose_from(
            turn.as_matrix() @ truth.pose[valid, :3, :3], place + shift_mm + noise_mm[valid]
        )
    return replace(truth, pose=pose, valid=valid)


def _fit_markers(markers_s: Array, markers_pr: Array, seen: NDArray[np.bool_]) -> Array:
    """Poses (k, 4, 4) that bring markers (n, 3) to where they were found (k, n, 3), by the seen ones (k, n).

    NaN where those lie on a line.
    """
    pose, _, spread = kabsch(markers_s, markers_pr, seen.astype(float))
    pose[spread[:, 1] <= LINE_RATIO**2 * spread[:, 0]] = np.nan
    return pose


def _within(p: Array, s: EmSettings) -> NDArray[np.bool_]:
    """Which of the positions (..., 3) lie in the field's volume."""
    return np.asarray(((p >= s.low_mm) & (p <= s.high_mm)).all(axis=-1), dtype=bool)
