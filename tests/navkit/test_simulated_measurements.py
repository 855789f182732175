"""What is measured in simulated pictures is what the phantom has, within the stated resolution."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from navkit.calibration import (
    calibrate_probe_nwires,
    corrected_pixels,
    detect_wires,
    estimate_video_delay,
)
from navkit.files import read_plus_config, read_sequence
from navkit.geometry import inverse, mean_pose, pose_from, transform_points
from navkit.phantoms import (
    TISSUES,
    Part,
    Phantom,
    Shape,
    box,
    ellipsoid,
    nwire_array,
    nwires,
    tube,
    water_tank,
    wire_target,
)
from navkit.reconstruction import output_grid, reconstruct
from navkit.tracking import PoseStream
from navkit.ultrasound import ProbeSector, SimulationSettings, scan_lines, simulate_frame, simulate_sweep

FWHM = 2 * np.sqrt(2 * np.log(2))
DOWN = Rotation.from_matrix([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])  # the beam along -z_d, x_d to the right
"""Of the tool in the phantom; y_d runs across the picture."""


def posed(sector: ProbeSector, turn: Rotation, face_d: np.ndarray) -> np.ndarray:
    """d_M_p of a probe, turned from looking straight down, the middle of its face at `face_d`."""
    turned = turn * DOWN
    return pose_from(turned, face_d - sector.depth_mm[0] * turned.apply([0, 0, 1.0])) @ sector.t_M_p()


def straight(sector: ProbeSector, y: float = 0.0, x: float = 0.0, turn_deg: float = 0.0) -> np.ndarray:
    """d_M_p of a probe 0.2 mm deep in the gel, turned within its picture."""
    return posed(sector, Rotation.from_euler("y", turn_deg, degrees=True), np.array([x, y, -0.2]))


def amplitude(frame: np.ndarray, settings: SimulationSettings) -> np.ndarray:
    """Of the echo, 1 the brightest: the log compression undone."""
    return np.where(frame > 0, 10 ** ((frame / 255.0 - 1) * settings.dynamic_range_db / 20), 0.0)


# ---- wires in a bath: the probe's calibration -------------------------------------------------------------

BATH = SimulationSettings(
    axial_mm=0.156, lateral_mm=0.26, elevation_mm=0.7, focus_mm=25.0, dynamic_range_db=32.0,
    noise_db=-38.0, gain_db=0.0, tgc_db_cm_mhz=0.0, clutter_db=-40.0, max_lines=240, voxel_mm=0.8,
)  # fmt: skip
PROBES = {
    "linear": ProbeSector("linear", 61, (0, 45), (406.3, 7.6), (0.08, 0.075), (15, 794, 12, 604), (616, 820)),
    "sector": ProbeSector(
        "sector", 1.1, (40, 86), (202.7, -181.4), (0.18, 0.18), (9, 401, 8, 294), (300, 404)
    ),
}
LOOK = {  # below the probe's own face
    "linear": {"mm_per_px": 0.078, "clip_p": (15, 794, 50, 604)},
    "sector": {"mm_per_px": 0.18, "clip_p": (9, 401, 60, 294)},
}


def bath(sector, rng, n, settings=BATH):
    """Frames of the N-wires from hand-like places, their poses d_M_p, and the true s_M_p: oblique."""
    turn = Rotation.from_euler("zxy", rng.uniform(-1, 1, size=(n, 3)) * [20, 15, 14], degrees=True)
    face = rng.uniform([41, 10, 31], [49, 30, 36], size=(n, 3))
    phantom = nwires()
    d_M_p = np.array([posed(sector, *one) for one in zip(turn, face, strict=True)])
    frames = [simulate_frame(phantom, sector, m, rng=rng, settings=settings, threads=1) for m in d_M_p]
    s_M_p = pose_from(Rotation.from_rotvec([0.6, -1.1, 0.4]), [12.0, -31, 48]) @ sector.t_M_p()
    return np.array(frames), d_M_p, s_M_p


def dots_in(frames, kind):
    dots = np.array([detect_wires(f, nwire_array(), **LOOK[kind]) for f in frames])
    assert np.isfinite(dots).all(axis=(1, 2, 3)).mean() > 0.9
    return dots


def worst_mm(found, true, sector):
    """The largest displacement over all pixels of the picture that hold echoes."""
    rows, columns = np.nonzero(sector.mask())
    px = np.stack([columns, rows, 0 * rows], axis=-1)
    return np.linalg.norm(transform_points(found, px) - transform_points(true, px), axis=1).max()


@pytest.mark.parametrize("kind", PROBES)
def test_wires_in_simulated_pictures_give_the_probes_true_calibration(rng, kind):
    frames, d_M_p, true = bath(PROBES[kind], rng, 40)
    result = calibrate_probe_nwires(dots_in(frames, kind), nwire_array(), true @ np.linalg.inv(d_M_p))
    assert worst_mm(result.s_M_p, true, PROBES[kind]) < 0.05
    assert result.rms_mm < 0.05
    assert result.warnings == ()


@pytest.mark.slow
def test_with_the_wires_tails_and_a_trackers_noise_it_is_still_within_three_tenths(rng):
    """A tail draws every dot down by 0.13 mm. Each pose is the mean of a second's 20 readings."""
    sector = PROBES["linear"]
    frames, d_M_p, true = bath(sector, rng, 50, replace(BATH, comet_decay=0.25))
    dots, exact = dots_in(frames, "linear"), true @ np.linalg.inv(d_M_p)
    for _ in range(3):
        shake = Rotation.from_rotvec(rng.normal(scale=np.radians(0.1), size=(1000, 3)))
        noise = pose_from(shake, rng.normal(scale=0.25, size=(1000, 3))).reshape(50, 20, 4, 4)
        read = np.array([mean_pose(some @ one) for some, one in zip(noise, exact, strict=True)])
        found = calibrate_probe_nwires(dots, nwire_array(), read)
        assert worst_mm(found.s_M_p, true, sector) < 0.3
    still = calibrate_probe_nwires(dots, nwire_array(), exact)
    assert worst_mm(still.s_M_p, true, sector) == pytest.approx(0.13, abs=0.04), "the tail is not free"


@pytest.mark.parametrize("kind", PROBES)
def test_in_water_the_depth_is_wrong_by_the_ratio_of_the_speeds_until_pixels_are_corrected(rng, kind):
    sector = PROBES[kind]
    frames, d_M_p, true = bath(sector, rng, 30, replace(BATH, true_speed_m_s=1482.0))
    dots, s_M_d = dots_in(frames, kind), true @ np.linalg.inv(d_M_p)
    wrong = calibrate_probe_nwires(dots, nwire_array(), s_M_d)
    assert worst_mm(wrong.s_M_p, true, sector) > 1.0
    if kind == "linear":
        assert wrong.scale_mm == pytest.approx([0.08, 0.075 * 1482 / 1540], rel=1e-3)
    right = corrected_pixels(dots, sector, speed_m_s=1482.0)
    assert worst_mm(calibrate_probe_nwires(right, nwire_array(), s_M_d).s_M_p, true, sector) < 0.05


def test_a_wires_dot_is_as_large_as_in_a_real_picture(rng, navkit_data):
    """Width and height of the outer dots at half its grey level, PLUS's recording and the bath."""
    folder = navkit_data / "plus" / "fcal20"
    config = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml")
    real = read_sequence(folder / "fCal_Test_Validation_3NWires_fCal2.0.igs.mha").frames[::8]
    looking = {"mm_per_px": config.mm_per_px, "clip_p": config.clip_p}
    size = half_sizes(real, [detect_wires(f, config.wires, **looking) for f in real], (0.0803, 0.0745))
    frames, *_ = bath(PROBES["linear"], rng, 12)
    ours = half_sizes(frames, dots_in(frames, "linear"), PROBES["linear"].spacing_mm)
    assert size == pytest.approx([1.2, 0.75], rel=0.1)
    assert ours == pytest.approx(size, rel=0.25)


def half_sizes(frames, dots, spacing_mm):
    """Medians (2,) mm over the dots of outer wires, which are not smeared by the slice."""
    sizes = []
    for frame, dot in zip(frames, dots, strict=True):
        for column, row in dot[:, [0, 2]].reshape(-1, 2):
            if not np.isfinite(column):
                continue
            r0, c0 = round(row - 2 / spacing_mm[1]), round(column - 2 / spacing_mm[0])
            part = frame[r0 : round(row + 2 / spacing_mm[1]), c0 : round(column + 2 / spacing_mm[0])]
            high = part >= part.max() / 2
            sizes.append([high.any(axis=0).sum(), high.any(axis=1).sum()])
    return np.median(sizes, axis=0) * spacing_mm


# ---- a plate in a tank: the delay of the pictures ---------------------------------------------------------

SMALL = ProbeSector("linear", 38.0, (0, 60), (60.7, 2.2), (0.33, 0.31), (2, 118, 1, 196), (200, 120))
TANK = SimulationSettings(
    axial_mm=0.3, lateral_mm=1.0, tgc_db_cm_mhz=0.0, gain_db=0.0, voxel_mm=1.0, max_lines=40, max_slices=3
)


@pytest.mark.parametrize("late_s", [0.073, -0.12, 0.31])
def test_a_set_latency_is_found_in_pictures_of_a_tank(rng, late_s):
    begin = rng.uniform(0, 6)

    def pose(t):
        down = 8 * np.sin(2.8 * t + begin) + 4 * np.sin(1.4 * t + 1) + 2 * np.sin(4.5 * t)
        return pose_from(
            Rotation.from_rotvec([0.05, 0.03, 0]) * DOWN, np.column_stack([3 + 0 * t, 0 * t - 2, down - 16])
        )

    shown = np.cumsum(rng.uniform(0.03, 0.05, 250))  # 25 a second, unevenly, for ten seconds
    tank = water_tank(depth_mm=57.0)
    sweep = simulate_sweep(tank, SMALL, pose(shown), shown + late_s, rng=rng, settings=TANK, threads=1)
    read = np.arange(-1, 12, 0.025) + rng.uniform(-0.004, 0.004, 520)
    place = pose_from(Rotation.from_rotvec([0.5, -1, 0.3]), [100.0, -40, 900]) @ pose(read)
    place[:, :3, 3] += rng.normal(scale=0.15, size=(520, 3))
    result = estimate_video_delay(
        sweep.frames, sweep.time_s, PoseStream(read, place, name="probe"), clip_p=(2, 118, 30, 196)
    )
    assert result.delay_s == pytest.approx(-late_s, abs=0.003)
    assert abs(result.delay_s + late_s) < 4 * result.sd_s
    assert result.warnings == ()


def test_a_tank_shows_its_bottom_and_nothing_beneath(rng):
    m = posed(SMALL, Rotation.from_rotvec([0.05, 0.03, 0]), np.array([3.0, -2, -14]))
    settings = replace(TANK, clutter_db=-np.inf, noise_db=-80.0)
    frame = simulate_frame(water_tank(depth_mm=50.0), SMALL, m, rng=rng, settings=settings, threads=1)
    bright = np.flatnonzero(frame[30:, 60]) + 30
    assert bright.mean() == pytest.approx(36.1 / 0.31 + 2.2, abs=2)
    assert np.ptp(bright) * 0.31 < 4


# ---- wires in gel: distances -----------------------------------------------------------------------------

LINEAR = ProbeSector("linear", 40.0, (0, 68), (103.4, 3.3), (0.2, 0.16), (3, 203, 2, 430), (434, 208))
CURVED = ProbeSector("sector", 1.0, (35, 100), (155.4, -180.0), (0.25, 0.2), (0, 309, 0, 323), (325, 310))
FINE = SimulationSettings.fine(focus_mm=35.0)
# the speckle's tile repeats about every 10 mm: other steps, or every wire has the same neighbours
TARGET = wire_target(
    depths_mm=(9.1, 17.3, 31.6, 44.9, 57.2), row_depths_mm=(26.0, 51.0), row_step_mm=6.7, pair_depth_mm=85.0
)
COLUMN = np.array([p for name, p in TARGET.landmarks.items() if name.startswith("column")])
ROWS = np.array([p for name, p in TARGET.landmarks.items() if name.startswith("row")]).reshape(2, 4, 3)


def centre_px(frame, near_px, spacing_mm):
    """The centre of gravity of the dot near a pixel, above three quarters of its brightest."""
    (column, row), (w, h) = (
        np.rint(near_px).astype(int),
        np.rint([2.2, 1.4] / np.array(spacing_mm)).astype(int),
    )
    window = frame[row - h : row + h + 1, column - w : column + w + 1].astype(float)
    weight = np.maximum(window - 0.75 * window.max(), 0)
    r, c = np.indices(weight.shape)
    return np.array([column - w + np.average(c, weights=weight), row - h + np.average(r, weights=weight)])


def measured_mm(sector, points_d, settings, rng, n, *, lean_deg=3.5):
    """Where wires are drawn (n, ..., 2), mm across and down in the picture, in n frames along the wires."""
    found = []
    for y in np.linspace(-11.3, 12.6, n):
        m = straight(sector, y, rng.uniform(-2, 2), rng.uniform(-1, 1) * lean_deg)
        frame = simulate_frame(TARGET, sector, m, rng=rng, settings=settings, threads=1)
        true_px = transform_points(inverse(m), points_d)[..., :2]
        near = corrected_pixels(
            true_px, sector, speed_m_s=settings.assumed_speed_m_s, assumed_m_s=settings.true_speed_m_s
        )
        px = [centre_px(frame, p, sector.spacing_mm) for p in near.reshape(-1, 2)]
        found.append(np.reshape(px, near.shape) * sector.spacing_mm)
    return np.array(found)


@pytest.mark.parametrize("sector", [LINEAR, CURVED])
def test_distances_between_wires_are_right_within_half_the_resolution(sector, rng):
    points = np.concatenate([COLUMN, ROWS.reshape(-1, 3)])
    found = measured_mm(sector, points, FINE, rng, 6)
    lines = scan_lines(sector, FINE)
    axial = FWHM * lines.axial_mm
    a, b = np.triu_indices(len(points), 1)
    off = np.linalg.norm(found[:, a] - found[:, b], axis=-1) - np.linalg.norm(points[a] - points[b], axis=-1)
    for k, (p, q) in enumerate(zip(points[a], points[b], strict=True)):
        across, down = np.abs(p - q)[[0, 2]] / np.linalg.norm(p - q)
        lateral = FWHM * np.interp(-np.array([p[2], q[2]]), lines.depth_mm, lines.lateral_mm).max()
        assert np.abs(off[:, k]).max() < np.hypot(axial * down, lateral * across) / 2
    assert abs(off.mean()) < 0.02, "and unbiased"


@pytest.mark.parametrize("speed", [1450.0, 1620.0])
def test_a_wrong_speed_of_sound_stretches_depths_by_exactly_its_ratio_and_widths_not(speed, rng):
    settings = replace(FINE, true_speed_m_s=speed)
    column = measured_mm(LINEAR, COLUMN, settings, rng, 8, lean_deg=0.0).mean(axis=0)
    assert np.polyfit(-COLUMN[:, 2], column[:, 1], 1)[0] == pytest.approx(1540 / speed, rel=1e-3)
    rows = measured_mm(LINEAR, ROWS, settings, rng, 4, lean_deg=0.0).mean(axis=0)
    assert np.diff(rows[..., 0]) == pytest.approx(np.diff(ROWS[..., 0]), abs=0.1)
    # between the rows: along the beam stretched, across it not
    assert rows[1, :, 1] - rows[0, :, 1] == pytest.approx(25.0 * 1540 / speed, abs=0.1)


# ---- a vessel and a lesion in gel: diameter and volume ----------------------------------------------------

SHALLOW = ProbeSector("linear", 38.0, (0, 48), (67.3, 3.2), (0.3, 0.3), (2, 133, 2, 166), (168, 136))
GEL = replace(SimulationSettings.fast(focus_mm=25.0), gain_db=-4.0, voxel_mm=0.3)
SPEEDS = [1540.0, 1450.0, 1620.0]


def echo_free(shape: Shape, seed: int) -> Phantom:
    """A solid without scatterers in gel, of the same impedance: it has an edge but no wall."""
    low, high, gel = np.array([-22.0, -20, -52]), np.array([22.0, 20, 0]), TISSUES["agar"]
    hole = replace(gel, name="echo-free gel", echo_db=-np.inf)
    parts = (Part("gel", box(low - 1, high + 1), gel), Part("hole", shape, hole))
    return Phantom("echo_free", parts, gel, low=low, high=high, seed=seed)


def width_mm(power, step_mm, middle, level):
    """Between the two places about a middle (samples) where a profile comes up to a level."""
    up = np.flatnonzero(np.diff(power > level))
    at = up + (level - power[up]) / (power[up + 1] - power[up])
    return (at[at > middle].min() - at[at < middle].max()) * step_mm


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_vessels_diameter_at_the_half_level_is_right_within_the_resolution(speed, rng):
    """Half of the tissue's mean power is where the edge is, for any width of a symmetric blur."""
    middle, radius, settings = np.array([3.4, 0, -21.7]), 5.3, replace(GEL, true_speed_m_s=speed)
    vessel = echo_free(tube([middle - [0, 30, 0], middle + [0, 30, 0]], radius), seed=4)
    frames = [
        simulate_frame(vessel, SHALLOW, straight(SHALLOW, y), rng=rng, settings=settings, threads=1)
        for y in np.linspace(-15, 15, 16)
    ]
    power = np.mean(amplitude(np.array(frames), settings) ** 2, axis=0)
    stretch = 1540 / speed
    column = round(middle[0] / 0.3 + 67.3)
    row = round((-0.2 - middle[2]) * stretch / 0.3 + 3.2)
    level = power[row - 40 : row + 40, 8:40].mean() / 2
    down = width_mm(power[:, column - 3 : column + 4].mean(axis=1), 0.3, row, level)
    across = width_mm(power[row - 3 : row + 4].mean(axis=0), 0.3, column, level)
    lines = scan_lines(SHALLOW, settings)
    lateral = FWHM * np.interp(21.5, lines.depth_mm, lines.lateral_mm)
    assert down == pytest.approx(2 * radius * stretch, abs=FWHM * lines.axial_mm)
    assert across == pytest.approx(2 * radius, abs=lateral)


def volume_mm3(speed, rng):
    """An ellipsoid's volume in a reconstructed sweep, its true volume, and surface x half resolution."""
    radii, middle = np.array([7.2, 5.1, 6.3]), np.array([2.3, -1.4, -23.6])
    axes = Rotation.from_euler("xyz", [20, -30, 15], degrees=True).as_matrix()
    settings = replace(GEL, true_speed_m_s=speed)
    slide = pose_from(np.eye(3), np.linspace(-11, 11, 34)[:, None] * [1.0, 0, 0])
    pr_M_t = straight(SHALLOW, middle[1]) @ np.linalg.inv(SHALLOW.t_M_p()) @ slide
    lesion = echo_free(ellipsoid(middle, radii, axes), seed=9)
    sweep = simulate_sweep(lesion, SHALLOW, pr_M_t, np.arange(34) / 20, rng=rng, settings=settings, threads=1)
    power = amplitude(sweep.frames, settings) ** 2
    mean = power[:5][:, SHALLOW.mask()].mean()
    linear = replace(sweep, frames=np.rint(255 * np.clip(power / mean / 8, 0, 1)).astype(np.uint8))
    grid = output_grid(linear, spacing_mm=0.6, orientation="reference")
    built = reconstruct(linear, grid, fill="custusx", threads=1)
    dark = gaussian_filter(np.nan_to_num(built.values, nan=255.0), 1.0) < 255 / 8 / 2
    at = transform_points(grid.pr_M_voxel(), np.argwhere(np.ones(dark.shape))[:, ::-1].astype(float))
    drawn = middle * [1, 1, 1540 / speed]
    near = (np.linalg.norm(at - drawn, axis=1) < 10.5).reshape(dark.shape)
    lines = scan_lines(SHALLOW, settings)
    at_depth = [np.interp(23.4, lines.depth_mm, sd) for sd in (lines.lateral_mm, lines.elevation_mm)]
    resolution = FWHM * np.mean([lines.axial_mm, *at_depth])
    p = 1.6075  # Thomsen's formula for the surface, good to 1 %
    a, b, c = radii**p
    surface = 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / p)
    true = 4 / 3 * np.pi * radii.prod()
    return (dark & near).sum() * 0.6**3, true, surface * resolution / 2


@pytest.mark.slow
def test_a_lesions_volume_in_a_reconstructed_sweep_is_right_and_scales_with_the_speed(rng):
    found, true, allowed = np.transpose([volume_mm3(speed, rng) for speed in SPEEDS[:2]])
    stretch = 1540 / np.array(SPEEDS[:2])
    assert np.abs(found - true * stretch).max() < allowed[0]
    assert found / true == pytest.approx(stretch, rel=0.05), "in practice much better than the resolution"
    assert found / found[0] == pytest.approx(stretch, rel=0.02)
