"""Colour-flow pictures: what the scanner tells of moving blood, and what it paints by mistake."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, inverse, transform_points
from navkit.phantoms import TISSUES, Phantom
from navkit.ultrasound._flow_parts import FlowLines, blurred, flow_lines, loss_db, moving, near_blood
from navkit.ultrasound._sector import ProbeSector
from navkit.ultrasound._settings import SPEED_M_S, SimulationSettings
from navkit.ultrasound._simulate import simulate_frame
from navkit.ultrasound._sweep import Sweep

Array = NDArray[np.float64]

SLICES = 5
LUMINANCE = np.array([30, 59, 11])
ALMOST_GREY = 3


@dataclass(frozen=True)
class FlowSettings:
    """How the scanner looks for flow, and how fast the blood is. All defaults are chosen.

    Parameters
    ----------
    mode : "colour" for the mean velocity along the line, red towards the probe and blue away from it;
        "power" for how much blood moves, in one colour
    frequency_mhz, prf_hz : of the flow pulses; they set the largest velocity, `nyquist_mm_s`
    wall_mm_s : what is slower along the line is filtered away as tissue
    threshold : share of a cell that must be moving blood, or it stays grey. A cell is blurred, so less than
        0.5 lets the colour bleed past the wall: past a flat one, by 0.52 `lateral_mm` (or `axial_mm`) at 0.3
    noise : standard deviation of a velocity, as a share of the largest, in a cell full of blood of one speed
    lateral_mm, axial_mm, elevation_mm : standard deviations of a cell; coarser than those of the grey picture
    box : left, right, top, bottom of the colour box, as shares of the beam's width and depth
    steer_deg : of the flow lines of a linear array, to the right in the picture; the box leans with them
    sensitivity_db : flow is lost where more than that is missing, beyond what the TGC gives back
    tissue_mm_s : velocity of all tissue towards the probe; above the wall filter it is painted too
    flash_chance, flash_mm_s : how likely a frame is to have a flash: tissue moves in addition, by a random
        push, turn and squeeze, each of this standard deviation
    artery_per_s, vein_per_s : peak speed over the vessel's radius, mm/s per mm
    profile : "parabolic" over the vessel (Poiseuille), or "plug", the peak speed everywhere in it
    """

    mode: Literal["colour", "power"] = "colour"
    frequency_mhz: float = 4.0
    prf_hz: float = 4000.0
    wall_mm_s: float = 25.0
    threshold: float = 0.3
    noise: float = 0.02
    lateral_mm: float = 1.0
    axial_mm: float = 0.6
    elevation_mm: float = 1.0
    box: tuple[float, float, float, float] = (0.15, 0.85, 0.1, 0.9)
    steer_deg: float = 0.0
    sensitivity_db: float = 20.0
    tissue_mm_s: float = 0.0
    flash_chance: float = 0.0
    flash_mm_s: float = 80.0
    artery_per_s: float = 80.0
    vein_per_s: float = 35.0
    profile: Literal["parabolic", "plug"] = "parabolic"

    def __post_init__(self) -> None:
        left, right, top, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"box is {self.box}; expected left < right and top < bottom, from 0 to 1.")
        if self.mode not in ("colour", "power") or self.profile not in ("parabolic", "plug"):
            raise ValueError(
                f"mode is {self.mode!r} and profile {self.profile!r}; expected 'colour' or 'power', "
                "and 'parabolic' or 'plug'."
            )
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}; expected a share between 0 and 1.")

    @property
    def nyquist_mm_s(self) -> float:
        """The largest velocity that is told from its opposite, c PRF / (4 f).

        >>> FlowSettings(frequency_mhz=4.0, prf_hz=4000.0).nyquist_mm_s
        385.0
        """
        return SPEED_M_S * self.prf_hz / (4 * self.frequency_mhz) / 1000


@dataclass(frozen=True)
class FlowEstimate:
    """What the scanner finds on its flow lines, before it decides what to paint.

    Parameters
    ----------
    velocity_mm_s : (n_lines, n_samples) along the line, positive towards the probe, within +-v_nyq
    power : (n_lines, n_samples) 1 where the cell is full of moving blood; moving tissue has hundreds
    correlation : (n_lines, n_samples) complex, the autocorrelation at lag one whose angle is the velocity
    across : (n_lines,) of each line at the face, to the right: mm of a linear array, radians of a sector
    depth_mm : (n_samples,) below the face along the line, as drawn
    """

    velocity_mm_s: Array
    power: Array
    correlation: NDArray[np.complex128]
    across: Array
    depth_mm: Array


def flow_velocity(phantom: Phantom, points_d: ArrayLike, *, flow: FlowSettings | None = None) -> Array:
    """Velocity (n, 3) of the blood at points (n, 3) of a phantom, mm/s, in its space ``d``; 0 outside blood.

    Blood is what has a tissue whose name begins with "blood". It flows along the centreline whose vessel
    holds the point. Arteries and the portal vein ("portal" in the centreline's name) flow from their wide end
    to the narrow one, other veins ("vein" or "vena" in it) the other way; equally wide ones, as drawn. Over a
    vessel the speed falls as a parabola to 0 at the wall. The radius comes from the wall's distance at the
    centreline. The peak is `artery_per_s` or `vein_per_s` times the vessel's radius near its narrow end
    (the last tenth), times the square of that over the local radius. So the flow is the same all
    along a vessel, also through an aneurysm; and where radii obey Murray's law, what flows into a fork flows
    out of it. Blood more than 1.5 radii from every centreline has no known direction and stands still.

    Parameters
    ----------
    phantom : Phantom
    points_d : (n, 3), mm
    flow : FlowSettings
        `artery_per_s`, `vein_per_s` and `profile` matter here.

    Raises
    ------
    ValueError
        If the points are not (n, 3) or not finite.

    Examples
    --------
    >>> from navkit.phantoms import TISSUES, Part, tube
    >>> line = np.array([(0.0, 0, 0), (40, 0, 0)])
    >>> artery = Part("artery", tube(line, 2.0), TISSUES["blood"])
    >>> vessel = Phantom("one", (artery,), centrelines={"artery": line})
    >>> flow_velocity(vessel, [(20.0, 0, 0), (20, 1, 0), (20, 3, 0)]).round(6)
    array([[160.,   0.,   0.],
           [120.,   0.,   0.],
           [  0.,   0.,   0.]])
    """
    return _moving(phantom, check_points(points_d, "points_d"), flow or FlowSettings())[0]


def simulate_flow(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    rng: np.random.Generator,
    settings: SimulationSettings | None = None,
    flow: FlowSettings | None = None,
) -> FlowEstimate:
    """Mean velocity and power of the moving echoes on the flow lines of a frame.

    An echo that moves with v along the line turns its phase by pi v / v_nyq from pulse to pulse. The scanner
    sees the angle alone, so a faster one comes out on the other side. What is slower than the wall filter,
    after that, is gone. A cell's echoes add up, weighted by the beam, the pulse and the slice, and by their
    power; the angle of their sum is the mean velocity [1]_. Flow across the line is not seen.

    The speckle of blood, the spectrum and the beat of the heart are not simulated, nor reflections at an
    angle; what is lost on the way is reckoned along each line alone.

    Parameters
    ----------
    phantom : Phantom, in its own space ``d``
    sector : ProbeSector
    d_M_p : (4, 4) affine from pixels to the phantom, mm
    rng : numpy Generator, for the noise and the flashes
    settings : SimulationSettings, `SimulationSettings.fast()` unless given; its speeds and its TGC matter
    flow : FlowSettings

    Raises
    ------
    ValueError
        If the box is deeper than an echo can come back from before the next pulse, or a sector is steered.

    References
    ----------
    .. [1] Kasai, Namekawa, Koyano, Omoto, IEEE Trans. Sonics Ultrason. 32(3), 1985,
       doi:10.1109/T-SU.1985.31615.
    """
    s, f = settings or SimulationSettings.fast(), flow or FlowSettings()
    lines = _lines(sector, f)
    drawn = lines.depth_mm
    stretch = s.true_speed_m_s / s.assumed_speed_m_s
    d_M_t = np.asarray(d_M_p, dtype=float) @ np.linalg.inv(sector.t_M_p())
    way = lines.way_t @ d_M_t[:3, :3].T
    points = transform_points(d_M_t, lines.start_t)[:, None] + way[:, None] * (drawn * stretch)[:, None]
    tissue = phantom.labels(points)
    given_db = 0.2 * s.tgc_db_cm_mhz * f.frequency_mhz * drawn
    heard = loss_db(phantom, tissue, drawn[1] * stretch, f.frequency_mhz) - given_db <= f.sensitivity_db

    # a jerk pushes the tissue, turns it and squeezes it
    push, turn, squeeze, chance = *rng.normal(0, f.flash_mm_s, 3), rng.random()
    across, along = np.linspace(-1, 1, tissue.shape[0])[:, None], np.linspace(-1, 1, tissue.shape[1])
    flash = push + turn * across + squeeze * along if chance < f.flash_chance else 0.0
    shaken = np.broadcast_to(f.tissue_mm_s + flash, tissue.shape)

    per_turn = np.pi / stretch / f.nyquist_mm_s
    echo = 10 ** (np.array([t.echo_db - TISSUES["blood"].echo_db for t in phantom.tissues]) / 10)
    echoes = np.zeros((3, *tissue.shape))  # their power, and the sum of their turns, real and imaginary
    place, weight = np.polynomial.hermite_e.hermegauss(SLICES)
    near = near_blood(phantom, points.reshape(-1, 3), place[-1] * f.elevation_mm).reshape(tissue.shape)
    some, line_way = points[near], np.broadcast_to(way[:, None], points.shape)[near]
    for at, w in zip(place * f.elevation_mm, weight / weight.sum(), strict=True):
        velocity, blood = _moving(phantom, some + at * d_M_t[:3, 0], f)
        strong, phase = echo[tissue], per_turn * shaken
        strong[near] = np.where(blood, 1.0, strong[near])
        phase[near] -= per_turn * np.einsum("nc,nc->n", velocity, line_way)
        aliased = np.abs(np.angle(np.exp(1j * phase)))
        strong *= w * (heard & (aliased >= np.pi * f.wall_mm_s / f.nyquist_mm_s))
        echoes += strong * np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)])
    echoes = blurred(echoes, lines.spacing_mm, drawn[1], lateral_mm=f.lateral_mm, axial_mm=f.axial_mm)
    power, real, imaginary = echoes + np.pi * f.noise * rng.normal(size=echoes.shape)
    turned = real + 1j * imaginary
    velocity_mm_s = np.angle(turned) / np.pi * f.nyquist_mm_s
    return FlowEstimate(velocity_mm_s, power, turned, lines.across, drawn)


def _moving(phantom: Phantom, points: Array, f: FlowSettings) -> tuple[Array, NDArray[np.bool_]]:
    return moving(
        phantom,
        points,
        artery_per_s=f.artery_per_s,
        vein_per_s=f.vein_per_s,
        parabolic=f.profile == "parabolic",
    )


def _lines(sector: ProbeSector, f: FlowSettings) -> FlowLines:
    if sector.kind == "sector" and f.steer_deg:
        raise ValueError(f"steer_deg is {f.steer_deg:g}; only the lines of a linear array can be steered.")
    steer = float(np.radians(f.steer_deg))
    lines = flow_lines(sector, f.box, steer=steer, lateral_mm=f.lateral_mm, axial_mm=f.axial_mm)
    reach_mm = SPEED_M_S * 1000 / (2 * f.prf_hz)
    if lines.depth_mm[-1] > reach_mm:
        raise ValueError(
            f"the colour box ends {lines.depth_mm[-1]:.0f} mm deep; expected at most "
            f"{reach_mm:.0f} mm with a PRF of {f.prf_hz:g} Hz. Lower the PRF, or lift the bottom of the box."
        )
    return lines


def flow_colours(mode: Literal["colour", "power"]) -> NDArray[np.uint8]:
    """The scale (256, 3) from the Nyquist velocity away from the probe to that towards it, or of the power.

    None of them is grey, none comes twice.

    >>> flow_colours("colour")[[0, 127, 128, 255]]
    array([[120, 250, 255],
           [  0,   0,  90],
           [ 90,   0,   0],
           [255, 240,  60]], dtype=uint8)
    """
    at = np.linspace(0, 1, 128 if mode == "colour" else 256)
    knots = [0, 0.5, 1]
    warm = np.stack([np.interp(at, knots, c) for c in ([90, 255, 255], [0, 40, 240], [0, 0, 60])], axis=1)
    if mode == "power":
        return np.asarray(np.rint(warm), dtype=np.uint8)
    cold = np.stack([np.interp(at, knots, c) for c in ([0, 0, 120], [0, 60, 250], [90, 255, 255])], axis=1)
    return np.asarray(np.rint(np.concatenate([cold[::-1], warm])), dtype=np.uint8)


def simulate_angio(
    phantom: Phantom,
    sector: ProbeSector,
    d_M_p: ArrayLike,
    *,
    rng: np.random.Generator,
    settings: SimulationSettings | None = None,
    flow: FlowSettings | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """A colour-flow picture (height, width, 3), RGB: `simulate_frame` in grey, with flow painted over it.

    Painted is, in the colour box, what has `power` above the threshold and, in the mode "colour", a mean
    velocity above the wall filter. The scale is `flow_colours`: linear from -v_nyq to v_nyq, or logarithmic
    from the threshold to 1. Grey pixels have three equal values, painted ones never. The box has no outline:
    it would go into the reconstruction.

    Parameters
    ----------
    phantom, sector, d_M_p, settings, threads : as of `simulate_frame`
    rng : numpy Generator, for the noise of both and the flashes; the grey picture is drawn first
    flow : FlowSettings
    """
    from scipy.ndimage import map_coordinates

    f = flow or FlowSettings()
    grey = simulate_frame(phantom, sector, d_M_p, rng=rng, settings=settings, threads=threads)
    found = simulate_flow(phantom, sector, d_M_p, rng=rng, settings=settings, flow=f)
    rgb = np.repeat(grey[..., None], 3, axis=2)

    top_mm = found.depth_mm[-1] * f.box[2] / f.box[3]
    rows, columns, at = _lines(sector, f).pixels(top_mm)
    power, real, imaginary = (
        map_coordinates(x, at, order=1) for x in (found.power, found.correlation.real, found.correlation.imag)
    )
    shown = power > f.threshold
    if f.mode == "colour":
        share = np.arctan2(imaginary, real) / np.pi
        shown &= np.abs(share) >= f.wall_mm_s / f.nyquist_mm_s
        level = (share + 1) / 2
    else:
        level = 1 - np.log(np.maximum(power, f.threshold)) / np.log(f.threshold)
    index = np.clip(level * 256, 0, 255).astype(int)
    rgb[rows[shown], columns[shown]] = flow_colours(f.mode)[index[shown]]
    return rgb


def split_angio(rgb: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The two pictures that CustusX's "Dual Angio" makes of coloured ones: all in grey, and colour only.

    Grey is 0.30 r + 0.59 g + 0.11 b, rounded down. A pixel is colour if the mean of |r - g|, |r - b| and
    |g - b|, rounded down, is above 3; the others are 0 in the second picture.

    Parameters
    ----------
    rgb : (..., height, width, 3) uint8

    Returns
    -------
    bmode, angio : (..., height, width) uint8

    Examples
    --------
    >>> split_angio(np.array([[[90, 90, 90], [100, 100, 105], [200, 0, 0]]], dtype=np.uint8))
    (array([[ 90, 100,  60]], dtype=uint8), array([[ 0,  0, 60]], dtype=uint8))
    """
    c = np.asarray(rgb)
    if c.dtype != np.uint8 or c.ndim < 3 or c.shape[-1] != 3:
        raise ValueError(f"rgb is {c.dtype} {c.shape}; expected uint8 (..., height, width, 3).")
    wide = c.astype(np.int64)
    grey = (wide @ LUMINANCE // 100).astype(np.uint8)
    # three numbers differ, in sum over their pairs, by twice their range
    spread = 2 * (wide.max(axis=-1) - wide.min(axis=-1)) // 3
    return grey, np.where(spread > ALMOST_GREY, grey, np.uint8(0))


def simulate_angio_sweep(
    phantom: Phantom,
    sector: ProbeSector,
    pr_M_t: ArrayLike,
    time_s: ArrayLike,
    *,
    rng: np.random.Generator,
    pr_M_d: ArrayLike | None = None,
    settings: SimulationSettings | None = None,
    flow: FlowSettings | None = None,
    threads: int | None = None,
    name: str = "simulated",
) -> tuple[Sweep, Sweep]:
    """Two sweeps of the same colour frames, one for each tool pose (n, 4, 4): all in grey, and colour only.

    They are what `split_angio` makes of `simulate_angio`; the phantom lies at ``pr_M_d``.
    """
    d_M_pr = np.eye(4) if pr_M_d is None else inverse(pr_M_d)
    pr_M_p = np.asarray(pr_M_t, dtype=float) @ sector.t_M_p()
    pairs = [
        split_angio(
            simulate_angio(
                phantom, sector, d_M_pr @ m, rng=rng, settings=settings, flow=flow, threads=threads
            )
        )
        for m in pr_M_p
    ]
    time = np.asarray(time_s, dtype=float)
    valid = np.ones(len(time), dtype=bool)
    bmode, angio = (np.stack(frames) for frames in zip(*pairs, strict=True))
    return (
        Sweep(bmode, time, pr_M_p, sector, valid, name),
        Sweep(angio, time, pr_M_p, sector, valid, f"{name} angio"),
    )
