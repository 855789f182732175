"""How a hand moves a probe: sweeps as streams of true poses, with uneven speed and tremor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.spatial.transform import Rotation

from navkit.geometry import check_poses, compose, pose_from
from navkit.tracking._stream import PoseStream

Array = NDArray[np.float64]

SLOWEST = 0.2
"""A hand that sweeps does not stop: its speed stays above this part of the mean one."""
SPEED_BAND_HZ = (0.0, 0.8)


@dataclass(frozen=True)
class Hand:
    """How long a sweep takes and how steady it is. The defaults are chosen.

    Parameters
    ----------
    duration_s, rate_hz : of the sweep, and of its samples
    speed_variation : standard deviation of the speed as a part of its mean; it changes within seconds
    tremor_mm, tremor_deg : RMS along, and about, each axis of the probe
    band_hz : the tremor's lowest and highest frequency: from drift to shake
    """

    duration_s: float = 10.0
    rate_hz: float = 30.0
    speed_variation: float = 0.25
    tremor_mm: float = 0.2
    tremor_deg: float = 0.3
    band_hz: tuple[float, float] = (0.2, 3.0)

    def __post_init__(self) -> None:
        if not (self.rate_hz > 0 and 2 <= self.duration_s * self.rate_hz < np.inf):
            raise ValueError(
                f"duration_s is {self.duration_s}, rate_hz {self.rate_hz}; expected numbers above 0 "
                "that make 3 samples or more."
            )
        if not min(self.speed_variation, self.tremor_mm, self.tremor_deg) >= 0:
            raise ValueError("a variation or tremor is below 0; expected 0 for a steady hand, or more.")
        low, high = self.band_hz
        if not 0 <= low < high <= self.rate_hz / 2 or high * self.duration_s < 1:
            raise ValueError(
                f"band_hz is {self.band_hz}; expected the lower first, not above half of rate_hz, and "
                "a period that fits into the sweep."
            )


def linear_sweep(
    pr_M_t: ArrayLike,
    *,
    length_mm: float = 60.0,
    rng: np.random.Generator | None = None,
    hand: Hand | None = None,
) -> PoseStream:
    """The probe slides across its picture, along x of ``t``; the commonest sweep for a volume.

    Parameters
    ----------
    pr_M_t : (4, 4) rigid, the middle of the sweep; ``t`` has x across the picture and z along the beam
    length_mm : of the way
    rng : for speed and tremor; without it the hand is perfectly steady
    hand : Hand

    Returns
    -------
    PoseStream
        True poses ``pr_M_t``; give them to a simulated tracker for measured ones.

    Raises
    ------
    ValueError
        If `pr_M_t` is not rigid.

    Examples
    --------
    >>> linear_sweep(np.eye(4), length_mm=50.0).pose[[0, -1], 0, 3]
    array([-25.,  25.])
    """
    return _swept(pr_M_t, lambda s: _slide((s - 0.5) * length_mm, (1.0, 0, 0)), rng, hand)


def fan_sweep(
    pr_M_t: ArrayLike,
    *,
    angle_deg: float = 60.0,
    contact_mm: float = 0.0,
    rng: np.random.Generator | None = None,
    hand: Hand | None = None,
) -> PoseStream:
    """The probe stays where it touches and its picture sweeps like a fan, about y of ``t``.

    Parameters
    ----------
    angle_deg : from the first picture to the last
    contact_mm : depth z of the line it turns about: the face of a curved array is not at its origin
    pr_M_t, rng, hand : see `linear_sweep`
    """
    return _swept(pr_M_t, lambda s: _turn((s - 0.5) * angle_deg, (0, 1.0, 0), contact_mm), rng, hand)


def tilt_sweep(
    pr_M_t: ArrayLike,
    *,
    angle_deg: float = 40.0,
    contact_mm: float = 0.0,
    rng: np.random.Generator | None = None,
    hand: Hand | None = None,
) -> PoseStream:
    """The probe rocks within the plane of its picture, about x of ``t``; see `fan_sweep`."""
    return _swept(pr_M_t, lambda s: _turn((s - 0.5) * angle_deg, (1.0, 0, 0), contact_mm), rng, hand)


def rotation_sweep(
    pr_M_t: ArrayLike,
    *,
    angle_deg: float = 180.0,
    rng: np.random.Generator | None = None,
    hand: Hand | None = None,
) -> PoseStream:
    """The probe turns about its beam, z of ``t``, as from a long to a short axis; see `linear_sweep`.

    180 degrees show a whole cylinder once.
    """
    return _swept(pr_M_t, lambda s: _turn((s - 0.5) * angle_deg, (0, 0, 1.0), 0.0), rng, hand)


def back_and_forth(
    pr_M_t: ArrayLike,
    *,
    amplitude_mm: float = 15.0,
    period_s: float = 2.0,
    direction_t: ArrayLike = (0.0, 0.0, 1.0),
    rng: np.random.Generator | None = None,
    hand: Hand | None = None,
) -> PoseStream:
    """The probe goes up and down about a pose, as for the delay between pictures and poses.

    Parameters
    ----------
    amplitude_mm : from the middle to either end
    period_s : on the average; an uneven hand keeps no time
    direction_t : (3,) in the probe's space
    pr_M_t, rng, hand : see `linear_sweep`

    Raises
    ------
    ValueError
        If `pr_M_t` is not rigid, the period is not above 0 or the direction has no length.
    """
    way = np.asarray(direction_t, dtype=float)
    if not (period_s > 0 and way.shape == (3,) and np.linalg.norm(way) > 0):
        raise ValueError(
            f"period_s is {period_s}, direction_t {way}; expected a period above 0 and a (3,) direction."
        )
    way = way / np.linalg.norm(way)
    turns = 2 * np.pi * (hand or Hand()).duration_s / period_s
    return _swept(pr_M_t, lambda s: _slide(amplitude_mm * np.sin(turns * s), way), rng, hand)


def _swept(
    pr_M_t: ArrayLike,
    motion: Callable[[Array], Array],
    rng: np.random.Generator | None,
    hand: Hand | None,
) -> PoseStream:
    """The middle pose moved by `motion` of the share of the way, 0 to 1, and shaken in the probe's space."""
    middle = check_poses(np.asarray(pr_M_t, dtype=float)[None], "pr_M_t")[0]
    h = hand or Hand()
    n = int(h.duration_s * h.rate_hz + 1e-6) + 1
    time = np.arange(n) / h.rate_hz
    share, shaken = np.linspace(0, 1, n), np.eye(4)
    if rng is not None:
        speed = np.maximum(
            1 + h.speed_variation * band_limited(n, h.rate_hz, SPEED_BAND_HZ, 1, rng)[:, 0], SLOWEST
        )
        share = cumulative_trapezoid(speed, initial=0)
        share /= share[-1]
        tremor = band_limited(n, h.rate_hz, h.band_hz, 6, rng)
        turn = Rotation.from_rotvec(np.radians(h.tremor_deg) * tremor[:, 3:])
        shaken = pose_from(turn, h.tremor_mm * tremor[:, :3])
    return PoseStream(time, compose(middle, motion(share), shaken), name="probe")


def band_limited(
    n: int, rate_hz: float, band_hz: tuple[float, float], channels: int, rng: np.random.Generator
) -> Array:
    """Gaussian noise (n, channels) of unit variance, without power outside the band; not periodic."""
    long = 4 * n
    spectrum = np.fft.rfft(rng.normal(size=(long, channels)), axis=0)
    f = np.fft.rfftfreq(long, 1 / rate_hz)
    inside = (f >= band_hz[0]) & (f <= band_hz[1]) & (f > 0)
    spectrum[~inside] = 0
    # 2 of `long` degrees of freedom for each frequency
    noise: Array = np.fft.irfft(spectrum, long, axis=0)[:n] * np.sqrt(long / (2 * max(int(inside.sum()), 1)))
    return noise


def _slide(by_mm: Array, way: ArrayLike) -> Array:
    return pose_from(np.eye(3), by_mm[:, None] * np.asarray(way, dtype=float))


def _turn(by_deg: Array, axis: ArrayLike, depth_mm: float) -> Array:
    """Turns about an axis through (0, 0, depth)."""
    r = Rotation.from_rotvec(np.radians(by_deg)[:, None] * np.asarray(axis, dtype=float))
    centre = np.array([0, 0, depth_mm])
    return pose_from(r, centre - r.apply(centre))
