"""Measures of a volume's quality: exact on what is known, right under noise, honest about holes."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import ndtr
from sweeps import hand_sweep

from navkit import viewing
from navkit.geometry import inverse, pose_from, transform_points
from navkit.phantoms import sphere
from navkit.reconstruction import (
    Grid,
    Volume,
    WireCross,
    bright_centre,
    disagreement,
    distance_mm,
    edge_width_mm,
    even_and_odd,
    frame_spacing_mm,
    leave_out_error,
    measure_structure,
    output_grid,
    quality_report,
    reconstruct,
    sharpness_per_mm,
)
from navkit.ultrasound import Sweep

TURN = Rotation.from_rotvec([0.5, -0.3, 0.9])


def oblique(shape=(41, 38, 44), spacing_mm=(0.3, 0.4, 0.35)) -> Grid:
    return Grid(shape, spacing_mm, pose_from(TURN, [40.0, -7.0, 90.0]))


def places(grid: Grid) -> np.ndarray:
    """Centres of all voxels (nz, ny, nx, 3) in the patient reference."""
    k, j, i = np.indices(grid.shape)
    return transform_points(grid.pr_M_voxel(), np.stack([i, j, k], axis=-1).reshape(-1, 3)).reshape(
        *k.shape, 3
    )


def of(values, grid: Grid, *, filled=None) -> Volume:
    values = np.asarray(values, dtype=np.float32)
    filled = np.zeros(grid.shape, dtype=bool) if filled is None else filled
    return Volume(values, (np.isfinite(values) & ~filled).astype(np.uint32), filled, grid)


# ---- two volumes of one thing ------------------------------------------------------------------------------


def test_a_shift_of_the_greys_is_all_of_the_disagreement_and_holes_are_not_scored(rng):
    grid = oblique((6, 7, 9))
    values = rng.uniform(20, 200, grid.shape).round()
    one, two = values.copy(), values + 7
    one[0], two[:, 0] = np.nan, np.nan
    found = disagreement(of(one, grid), of(two, grid))
    assert (found.mae, found.rms, found.bias) == (7, 7, 7)
    assert found.noise == pytest.approx(7 / np.sqrt(2), abs=1e-12)
    known = 6 * 7 * 9
    assert found.covered == pytest.approx((known - 7 * 9 - 6 * 9 + 9) / (known - 9), abs=1e-12)
    assert disagreement(of(two, grid), of(one, grid)).bias == -7


def test_the_noise_of_duplicates_is_found(rng):
    grid = oblique()
    truth = rng.uniform(60, 180, grid.shape)
    one, two = (of(truth + rng.normal(scale=9.0, size=grid.shape), grid) for _ in range(2))
    found = disagreement(one, two)
    n = one.values.size
    assert found.noise == pytest.approx(9.0, rel=4 / np.sqrt(2 * n))
    assert found.mae == pytest.approx(9.0 * 2 / np.sqrt(np.pi), rel=4 / np.sqrt(2 * n))


def test_halves_of_a_sweep_share_no_frame_and_lost_frames_keep_their_turn(rng):
    sweep = hand_sweep(rng)
    sweep = replace(sweep, valid=~np.isin(np.arange(14), [1, 2, 8]))
    one, two = even_and_odd(sweep)
    assert np.array_equal(np.flatnonzero(one.valid), [0, 4, 6, 9, 11, 13])
    assert np.array_equal(np.flatnonzero(two.valid), [3, 5, 7, 10, 12])


def test_the_noise_of_frames_is_that_of_half_volumes(rng):
    """Every frame shows the same scene, lies in the same plane and has its own noise."""
    sweep = hand_sweep(rng, n=40)
    noisy = np.clip(rng.normal(120, 14, size=sweep.frames.shape), 0, 255).round().astype(np.uint8)
    sweep = replace(sweep, frames=noisy, pr_M_p=np.repeat(sweep.pr_M_p[:1], 40, axis=0))
    columns = np.linalg.norm(sweep.pr_M_p[0, :3, :2], axis=0)
    plane = sweep.pr_M_p[0] @ np.diag([1 / columns[0], 1 / columns[1], 1, 1])
    grid = Grid((1, 27, 36), (columns[0], columns[1], 1.0), plane)  # one voxel for each pixel
    found = disagreement(*(reconstruct(half, grid) for half in even_and_odd(sweep)))
    assert found.covered == 1
    n = sweep.sector.mask().sum()
    assert found.noise == pytest.approx(14 / np.sqrt(20), rel=4 / np.sqrt(2 * n))


def test_volumes_that_cannot_be_compared_are_refused(rng):
    grid = oblique((3, 4, 5))
    one = of(rng.uniform(0, 9, grid.shape), grid)
    moved = replace(one, grid=replace(grid, pr_M_d=pose_from(TURN, [40.0, -7.0, 90.1])))
    for other in (moved, of(np.zeros((3, 4, 6)), oblique((3, 4, 6)))):
        with pytest.raises(ValueError, match="expected one grid"):
            disagreement(one, other)
    with pytest.raises(ValueError, match="no voxel is known to both"):
        disagreement(one, of(np.full(grid.shape, np.nan), grid))


# ---- sharpness ---------------------------------------------------------------------------------------------


def test_a_ramp_and_a_wave_have_the_sharpness_of_their_formula():
    grid = oblique()
    slope = np.array([3.0, -5.0, 2.0])
    ramp = (places(grid) - [40, -7, 90]) @ slope
    expected = np.linalg.norm(slope) / ramp.astype(np.float32).astype(float).std()
    assert sharpness_per_mm(of(ramp, grid)) == pytest.approx(expected, rel=1e-6)  # float32 greys
    assert sharpness_per_mm(of(ramp, grid), every=3) == pytest.approx(
        np.linalg.norm(slope) / ramp[::3].astype(np.float32).astype(float).std(), rel=1e-6
    )
    # gain and offset change nothing
    assert sharpness_per_mm(of(100 + 0.2 * ramp, grid)) == pytest.approx(expected, rel=1e-5)
    # eight whole waves along x between the ends; the central difference of a sine has sin(k s) / s for k
    step = 2 * np.pi / 13
    wave = np.sin(step * np.arange(8 * 13 + 2))
    flat = Grid((3, 4, 106), (0.4, 0.7, 0.9), np.eye(4))
    found = sharpness_per_mm(of(np.broadcast_to(wave, flat.shape), flat))
    assert found == pytest.approx(np.sin(step) / 0.4 * np.sqrt(0.5) / wave.std(), rel=1e-6)


def test_noise_raises_the_sharpness_by_its_formula_and_can_be_taken_away(rng):
    grid = oblique()
    spacing = np.array(grid.spacing_mm)
    clean = 40 * np.sin(1.1 * (places(grid) @ [0.6, 0.0, 0.8]))
    noisy = of(clean + rng.normal(scale=6.0, size=grid.shape), grid)
    true, spread = sharpness_per_mm(of(clean, grid)), clean.var()
    raised = np.sqrt((true**2 * spread + np.sum(36 / (2 * spacing**2))) / (spread + 36))
    assert raised > 1.15 * true
    assert sharpness_per_mm(noisy) == pytest.approx(raised, rel=0.02)
    assert sharpness_per_mm(noisy, noise=6.0) == pytest.approx(true, rel=0.03)


def test_sharpness_passes_over_holes_and_says_when_nothing_is_left(rng):
    grid = oblique((8, 9, 10))
    ramp = (places(grid) @ [1.0, 2.0, 3.0]).astype(np.float32)
    holes = np.where(rng.uniform(size=grid.shape) < 0.3, np.nan, ramp)
    expected = np.sqrt(14) / np.nanstd(holes.astype(float))
    assert sharpness_per_mm(of(holes, grid)) == pytest.approx(expected, rel=1e-4)
    sheets = np.where(np.arange(8)[:, None, None] % 4 == 0, ramp, np.nan)
    with pytest.raises(ValueError, match="two steps apart along z"):
        sharpness_per_mm(of(sheets, grid))
    with pytest.raises(ValueError, match="vary no more than noise of 0"):
        sharpness_per_mm(of(np.full(grid.shape, 77.0), grid))


def blurred_edge(grid: Grid, point, normal, sd_mm):
    return 30 + 150 * ndtr((places(grid) - point) @ normal / sd_mm)


def test_the_width_of_a_blurred_edge_is_exact_and_right_under_noise(rng):
    grid = oblique()
    point = transform_points(grid.pr_M_d, [6.0, 7.5, 7.0])
    normal = np.array([0.3, -0.8, 0.5]) / np.linalg.norm([0.3, -0.8, 0.5])
    for sd in (0.3, 0.55, 1.2):
        edge = blurred_edge(grid, point, normal, sd)
        width = edge_width_mm(of(edge, grid), at_pr=point, normal_pr=3 * normal)
        assert width == pytest.approx(2.5631 * sd, rel=1e-4)
        # 10 and 90 % of the height are that far apart
        assert ndtr(width / 2 / sd) == pytest.approx(0.9, abs=1e-4)
        # a point a little off the edge, and a normal the other way round, give the same
        beside = edge_width_mm(of(edge, grid), at_pr=point + 0.4 * normal, normal_pr=-normal)
        assert beside == pytest.approx(width, rel=1e-4)
    edge = blurred_edge(grid, point, normal, 0.55)
    found = [
        edge_width_mm(of(edge + rng.normal(scale=15, size=grid.shape), grid), at_pr=point, normal_pr=normal)
        for _ in range(8)
    ]
    assert np.mean(found) == pytest.approx(2.5631 * 0.55, rel=0.02)
    holes = np.where(rng.uniform(size=grid.shape) < 0.6, np.nan, edge)
    few = edge_width_mm(of(holes, grid), at_pr=point, normal_pr=normal)
    assert few == pytest.approx(2.5631 * 0.55, rel=1e-4)


def test_where_there_is_no_edge_no_width_is_told(rng):
    grid = oblique()
    point, normal = transform_points(grid.pr_M_d, [6.0, 7.5, 7.0]), np.array([0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="equally bright"):
        edge_width_mm(of(np.full(grid.shape, 9.0), grid), at_pr=point, normal_pr=normal)
    with pytest.raises(ValueError, match="20 or more, on both sides"):
        edge_width_mm(of(np.full(grid.shape, 9.0), grid), at_pr=[0, 0, 0], normal_pr=normal)
    with pytest.raises(ValueError, match="no edge is found within 5 mm"):
        edge_width_mm(of(places(grid) @ normal, grid), at_pr=point, normal_pr=normal)


# ---- distance and volume -----------------------------------------------------------------------------------


def test_the_distance_of_two_spots_is_that_of_their_centres(rng):
    """A spot that lies evenly about a voxel is found exactly, any other within a hundredth of a voxel."""
    grid = oblique((41, 38, 60))
    exact = transform_points(grid.pr_M_voxel(), [[12, 20, 18], [44, 15, 25]])
    for shift, tolerance in ((0.0, 1e-5), (0.13, 0.004)):
        at = exact + shift
        values = sum(220 * np.exp(-0.5 * (np.linalg.norm(places(grid) - p, axis=-1) / 0.8) ** 2) for p in at)
        volume = of(values, grid)
        found = [bright_centre(volume, around_pr=p, within_mm=4.0, threshold=40) for p in exact]
        assert np.abs(np.array(found) - at).max() < tolerance
        assert distance_mm(*found) == pytest.approx(distance_mm(*at), abs=2 * tolerance)
    assert distance_mm(*exact) == pytest.approx(np.linalg.norm(np.array([32, -5, 7]) * grid.spacing_mm))
    with pytest.raises(ValueError, match="no voxel within 4 mm is brighter than 250"):
        bright_centre(volume, around_pr=exact[0], within_mm=4.0, threshold=250)


def ball_in(grid: Grid, radius: float):
    centre = transform_points(grid.pr_M_d, [6.1, 7.4, 7.3])
    inside = sphere(centre, radius)(places(grid).reshape(-1, 3)).reshape(grid.shape)  # signed distance
    return centre, inside


def test_the_volume_of_the_phantoms_sphere_is_measured():
    grid = oblique()
    radius, truth = 4.3, 4 / 3 * np.pi * 4.3**3 / 1000
    centre, outside = ball_in(grid, radius)
    # bright on dark and dark on bright, a blurred edge with the threshold half way up
    for inside, around in ((180, 60), (20, 110)):
        grey = around + (inside - around) * ndtr(-outside / 0.5)
        side = {"above": 120} if inside > around else {"below": 65}
        found = measure_structure(of(grey, grid), around_pr=centre, within_mm=5.9, **side)
        assert found.ml == pytest.approx(truth, rel=0.01)
        assert found.ml == pytest.approx((outside < 0).sum() * 0.3 * 0.4 * 0.35 / 1000, rel=2e-3)
        assert found.unknown_ml == 0
        assert found.estimate_ml == found.ml
    band = measure_structure(of(grey, grid), around_pr=centre, within_mm=5.9, above=10, below=65)
    assert band.ml == found.ml


def test_two_balls_are_swept_over_and_their_size_and_distance_come_back():
    """From frames through the reconstruction: 0.4 mm apart, oblique, pixels of 0.31 x 0.47 mm."""
    sweep = straight([0.4] * 29)
    corners = [transform_points(m, [17.0, 12.5, 0.0]) for m in sweep.pr_M_p]
    at = np.array([corners[9] + 0.1, corners[21] - 0.05])
    first, second = sphere(at[0], 2.1), sphere(at[1], 1.7)
    rows, columns = np.indices(sweep.sector.shape)
    pixels = np.stack([columns, rows, 0 * rows], axis=-1).astype(float)
    places_pr = np.array([transform_points(m, pixels) for m in sweep.pr_M_p])
    outside = np.minimum(*(ball(places_pr.reshape(-1, 3)) for ball in (first, second)))
    frames = (40 + 180 * ndtr(-outside / 0.25)).reshape(sweep.frames.shape).round().astype(np.uint8)
    volume = reconstruct(
        replace(sweep, frames=frames), output_grid(sweep, spacing_mm=0.3), fill="convolution"
    )
    for point, radius in zip(at, (2.1, 1.7), strict=True):
        truth = 4 / 3 * np.pi * radius**3 / 1000
        found = measure_structure(volume, around_pr=point, within_mm=2.5, above=130)
        assert found.estimate_ml == pytest.approx(truth, rel=0.05)
        assert found.unknown_ml < 0.01 * truth
    centres = [bright_centre(volume, around_pr=p, within_mm=2.5, threshold=130) for p in at]
    assert distance_mm(*centres) == pytest.approx(distance_mm(*at), abs=0.03)


def test_noise_exchanges_voxels_by_its_formula(rng):
    grid = oblique()
    centre, outside = ball_in(grid, 4.3)
    grey = np.where(outside < 0, 100.0, 60.0) + rng.normal(scale=16, size=grid.shape)
    found = measure_structure(of(grey, grid), around_pr=centre, within_mm=5.9, above=80)
    near = np.linalg.norm(places(grid) - centre, axis=-1) <= 5.9
    inside, beside, wrong = (outside < 0).sum(), (near & (outside >= 0)).sum(), ndtr(-20 / 16)
    expected = inside * (1 - wrong) + beside * wrong
    spread = np.sqrt((inside + beside) * wrong * (1 - wrong))
    assert abs(found.ml / (0.3 * 0.4 * 0.35 / 1000) - expected) < 4 * spread


def test_holes_of_a_structure_are_told_and_not_taken_for_outside(rng):
    grid = oblique()
    centre, outside = ball_in(grid, 4.3)
    grey = np.where(outside < 0, 180.0, 60.0)
    whole = measure_structure(of(grey, grid), around_pr=centre, within_mm=5.9, above=120).ml
    holes = np.where(rng.uniform(size=grid.shape) < 0.4, np.nan, grey)
    found = measure_structure(of(holes, grid), around_pr=centre, within_mm=5.9, above=120)
    assert found.ml == pytest.approx(0.6 * whole, rel=0.03)
    assert found.ml < whole < found.ml + found.unknown_ml
    assert found.estimate_ml == pytest.approx(whole, rel=0.03)
    region = (np.linalg.norm(places(grid) - centre, axis=-1) <= 5.9) & np.isnan(holes)
    assert found.unknown_ml == pytest.approx(region.sum() * 0.3 * 0.4 * 0.35 / 1000)


def test_a_structure_that_cannot_be_measured_is_a_sentence():
    grid = oblique()
    centre, outside = ball_in(grid, 4.3)
    volume = of(outside, grid)
    with pytest.raises(ValueError, match="neither above nor below"):
        measure_structure(volume, around_pr=centre, within_mm=5)
    for at in ([1.0, 7.4, 7.3], [11.9, 7.4, 7.3], [6.1, 7.4, 1.0], [6.1, 13.8, 7.3]):
        with pytest.raises(ValueError, match="reaches out of the volume"):
            measure_structure(volume, around_pr=transform_points(grid.pr_M_d, at), within_mm=2, above=1)
    with pytest.raises(ValueError, match="no voxel within 5 mm is known"):
        measure_structure(of(outside * np.nan, grid), around_pr=centre, within_mm=5, above=1)


# ---- the report --------------------------------------------------------------------------------------------


def straight(steps_mm, *, slide_mm=0.0) -> Sweep:
    """Parallel frames that move by these steps across their plane, and slide along it."""
    sweep = hand_sweep(np.random.default_rng(3), n=len(steps_mm) + 1)
    first = sweep.pr_M_p[0]
    way = np.concatenate([[0], np.cumsum(steps_mm)])
    poses = np.repeat(first[None], len(sweep), axis=0)
    normal, along = first[:3, 2], first[:3, 0] / np.linalg.norm(first[:3, 0])
    poses[:, :3, 3] += way[:, None] * normal + slide_mm * np.arange(len(sweep))[:, None] * along
    return replace(sweep, pr_M_p=poses, time_s=7.0 + 0.05 * np.arange(len(sweep)))


STEPS = (0.4, 0.4, 0.4, 0.7, 0.4, 0.4, 1.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4)


def test_spacing_counts_across_the_frames_and_speed_along_the_way():
    sweep = straight(STEPS, slide_mm=0.3)
    assert frame_spacing_mm(sweep) == pytest.approx(np.array(STEPS), abs=1e-9)
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=0.5))
    report = quality_report(sweep, volume, repeat=False)
    assert report.spacing_mm == pytest.approx(np.array(STEPS), abs=1e-9)
    assert report.widest == 6
    assert report.speed_mm_s == pytest.approx(np.hypot(STEPS, 0.3) / 0.05, abs=1e-6)
    rows, columns = np.nonzero(sweep.sector.mask())
    a, b = (transform_points(m, [columns.mean(), rows.mean(), 0.0]) for m in sweep.pr_M_p[[6, 7]])
    assert np.linalg.norm(report.widest_pr - (a + b) / 2) < 0.2  # the mean of some of the pixels
    assert transform_points(inverse(sweep.pr_M_p[6]), report.widest_pr)[2] == pytest.approx(0.8, abs=1e-9)


def test_a_turn_of_the_probe_is_a_gap_as_wide_as_it_is_on_the_mean():
    sweep = straight((0.4,))
    turn = pose_from(Rotation.from_rotvec([0.0, np.radians(8), 0.0]), [0.0, 0.0, 0.0])
    turned = sweep.pr_M_p[0] @ turn  # about the picture's rows: across by the sine, times the column in mm
    sweep = replace(sweep, pr_M_p=np.stack([sweep.pr_M_p[0], turned]))
    columns = np.nonzero(sweep.sector.mask())[1]
    expected = np.abs(columns.mean() * np.sin(np.radians(8)))
    assert frame_spacing_mm(sweep)[0] == pytest.approx(expected, rel=0.02)


def test_a_lost_frame_is_a_gap():
    sweep = straight(STEPS)
    valid = ~np.isin(np.arange(15), [11, 12, 13])
    poses = sweep.pr_M_p.copy()
    poses[~valid] = np.nan
    lost = replace(sweep, valid=valid, pr_M_p=poses)
    volume = reconstruct(lost, output_grid(sweep, spacing_mm=0.5))
    report = quality_report(lost, volume, repeat=False)
    assert report.spacing_mm[-1] == pytest.approx(1.6)
    assert len(report.frames) == 12
    rows = {name: (value, words) for name, value, _, words in report.rows()}
    assert rows["frames used"] == (12, "of 15 recorded")
    assert rows["largest gap"][0] == pytest.approx(1.6)


@pytest.mark.parametrize(
    "choices",
    [{"fill": "custusx", "fill_steps": 2}, {"method": "splat"}, {"method": "vnn", "radius_mm": 1.0}],
)
def test_the_report_tells_what_the_measures_find(choices):
    sweep = straight(STEPS)
    grid = output_grid(sweep, spacing_mm=0.5)
    volume = reconstruct(sweep, grid, **choices)
    report = quality_report(sweep, volume, every=5, **choices)
    assert report.measured == pytest.approx(np.mean(volume.weight > 0))
    assert report.filled == pytest.approx(volume.filled.mean())
    assert report.measured + report.filled + report.empty == pytest.approx(1)
    weight = volume.weight[volume.weight > 0]
    assert (report.weight_median, report.weight_95) == pytest.approx(tuple(np.percentile(weight, (50, 95))))
    assert report.sharpness_per_mm == sharpness_per_mm(volume)
    assert report.halves == disagreement(*(reconstruct(h, grid, **choices) for h in even_and_odd(sweep)))
    left = leave_out_error(sweep, grid, every=5, **choices)
    assert (report.leave_out.mae, report.leave_out.gap_mm) == (left.mae, left.gap_mm)
    rows = {name: (value, unit, words) for name, value, unit, words in report.rows()}
    assert rows["largest gap"] == (pytest.approx(1.6), "mm", "between frames 6 and 7")
    assert rows["frame spacing"][0] == pytest.approx(0.4)
    assert rows["left-out frames"][:2] == (left.mae, "grey levels")
    assert f"gaps of {left.gap_mm:.2g} mm" in rows["left-out frames"][2]
    assert rows["noise"][0] == report.halves.noise
    assert rows["voxels measured"][0] == pytest.approx(100 * report.measured)


def test_the_table_says_the_same_as_text_as_lines_and_as_html():
    sweep = replace(straight(STEPS), name="a <b> & c")
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=0.5), fill="custusx")
    report = quality_report(sweep, volume, every=5, fill="custusx")
    text, html, lines = str(report), report._repr_html_(), report.summary()
    for name, value, unit, words in report.rows():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}  ")]
        assert line.split(name, 1)[1].strip().startswith(f"{value:.3g} {unit}".strip())
        assert line.endswith(words)
        assert f"<td>{value:.3g}</td>" in html
        assert f"{value:.3g} {unit}".strip() in " ".join(lines)
    assert html.count("<tr>") == html.count("</tr>") == 1 + len(report.rows())
    assert "a &lt;b&gt; &amp; c" in html
    for whole in (text, html):
        assert "For teaching and research; not a medical device." in whole
    assert 4 <= len(lines) <= 8
    assert len(quality_report(sweep, volume, repeat=False).summary()) == 4
    assert "nan" not in text + html + "".join(lines)


def test_what_is_not_known_is_left_out_of_the_table():
    sweep = straight(STEPS)
    one = replace(sweep, valid=np.arange(15) == 3)
    grid = output_grid(sweep, spacing_mm=0.5)
    report = quality_report(one, reconstruct(one, grid))
    names = [row[0] for row in report.rows()]
    assert "frames used" in names
    assert not {"frame spacing", "largest gap", "probe speed", "noise", "left-out frames"} & set(names)
    # too sparse for what was left out to be covered, or for halves to meet
    apart = straight([3.0] * 14)
    sparse = quality_report(apart, reconstruct(apart, output_grid(apart, spacing_mm=0.25)), every=5)
    assert sparse.leave_out is None
    assert sparse.halves is None
    assert sparse.summary()
    with pytest.raises(ValueError, match="has no valid frame"):
        quality_report(replace(sweep, valid=np.zeros(15, dtype=bool)), reconstruct(one, grid))
    with pytest.raises(ValueError, match="every is 1; expected 2 or more"):
        quality_report(sweep, reconstruct(sweep, grid), every=1)
    with pytest.raises(ValueError, match="radius_mm and plane_limit belong to other methods"):
        quality_report(sweep, reconstruct(sweep, grid), radius_mm=1.0)


# ---- its figure --------------------------------------------------------------------------------------------


def test_the_figure_shows_the_reports_numbers(tmp_path):
    from PIL import Image

    sweep = straight(STEPS)
    grid = output_grid(sweep, spacing_mm=0.5)
    volume = reconstruct(sweep, grid, fill="custusx")
    report = quality_report(sweep, volume, every=5, fill="custusx")
    figure = viewing.quality_figure(report, sweep, volume)
    spacing, widest, weights, left_out = figure.axes
    line, mark = spacing.lines
    assert np.array_equal(line.get_xdata(), np.arange(1, 15))
    assert line.get_ydata() == pytest.approx(np.array(STEPS))
    assert mark.get_xydata()[0] == pytest.approx([7, 1.6])
    bars = [bar.get_height() for bar in weights.patches]
    assert bars[0] == pytest.approx(100 * np.mean(volume.weight[volume.weight > 0] == 1))
    each, mean = left_out.lines
    expected = np.nanmean(np.abs(report.leave_out.difference), axis=1)
    assert each.get_ydata() == pytest.approx(expected, rel=1e-5)
    assert mean.get_ydata()[0] == report.leave_out.mae
    # the slice cuts across the pictures' rows and holds the middle of the gap; frames lie in it as lines
    d_M_p = inverse(grid.pr_M_d) @ sweep.pr_M_p[[6, 7]]
    i = round(grid.voxels(report.widest_pr)[0])
    assert np.argmax(np.abs(d_M_p[0, :3, 0])) == 0
    shown = np.ma.filled(widest.images[0].get_array(), np.nan)
    assert np.array_equal(shown, volume.values[:, :, i], equal_nan=True)
    rows, columns = np.nonzero(sweep.sector.mask())
    for drawn, one in zip(widest.lines, d_M_p, strict=True):
        for end, row in zip(drawn.get_xydata(), (rows.min(), rows.max()), strict=True):
            assert end == pytest.approx(transform_points(one, [columns.mean(), row, 0.0])[1:])
    styles = {line.get_linestyle() for line in widest.lines}
    assert len(styles) == 2, "told apart without colour"
    words = viewing.quality_words(report)
    path = viewing.save(figure, tmp_path / "q.png", words)
    assert Image.open(path).text["Description"] == words
    assert "1.6 mm" in words
    quick = quality_report(sweep, volume, repeat=False)
    assert len(viewing.quality_figure(quick, sweep, volume).axes) == 3


def test_bars_count_the_weights_that_are_written_below_them():
    sweep = straight(STEPS)
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=0.5))
    report = quality_report(sweep, volume, repeat=False)
    weight = (np.arange(volume.weight.size).reshape(volume.weight.shape) * 7 % 101).astype(np.uint32)
    ax = viewing.quality_figure(report, sweep, replace(volume, weight=weight)).axes[2]
    bars = {
        label.get_text(): bar.get_height()
        for label, bar in zip(ax.get_xticklabels(), ax.patches, strict=True)
    }
    assert sum(bars.values()) == pytest.approx(100)
    known = weight[weight > 0]
    for label, height in bars.items():
        low, *high = (int(number) for number in re.findall(r"\d+", label))
        inside = known > low if ">" in label else (known >= low) & (known <= (high or [low])[0])
        assert height == pytest.approx(100 * inside.mean()), label


def test_the_plane_of_two_wires_is_cut_in_every_volume():
    grid = oblique((60, 62, 64))
    u, v = np.array([0.9, 0.1, 0.42]), np.array([-0.05, 1.0, 0.1])
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    meet = transform_points(grid.pr_M_d, [9.0, 12.0, 10.0])
    cross = WireCross(80.0, 0.0, meet, np.stack([u, v]), (0.1, 0.1), (9, 9), (1.0, 1.0))
    along_u, along_v = ((places(grid) - meet) @ axis for axis in (u, v))
    figure = viewing.slices_through_wires(
        {"u": of(along_u, grid), "v": of(along_v, grid)}, cross, within_mm=4.0
    )
    step = np.arange(-4.0, 4.01, 0.1)
    for ax, name in zip(figure.axes, "uv", strict=True):
        shown = np.ma.filled(ax.images[0].get_array(), np.nan)
        assert ax.get_title() == name
        assert shown.shape == (81, 81)
        across, down = np.meshgrid(step, step)
        sine = np.sqrt(1 - (u @ v) ** 2)  # wire 1 to the right, wire 2 mostly downwards
        expected = across if name == "u" else across * (u @ v) + down * sine
        assert shown == pytest.approx(expected, abs=1e-4)
        left, right, bottom, top = ax.images[0].get_extent()
        assert (left, right, bottom, top) == pytest.approx((-4.05, 4.05, 4.05, -4.05)), "pixel centres at mm"
        bar = ax.lines[0].get_xdata()
        assert bar[1] - bar[0] == pytest.approx(5.0)
        assert "5 mm" in [text.get_text() for text in ax.texts]
        assert ax.images[0].get_clim() == (0, 255)


# ---- the real wire cross, every method ---------------------------------------------------------------------

LIMITS = {
    # method: least and largest angle of the recording, largest thickness in mm of recording and simulation
    "pnn, mean": (88.0, 90.0, 1.2, 1.4),
    "splat, mean": (88.0, 90.0, 1.4, 1.4),
    "vnn": (88.0, 90.0, 1.4, 1.5),
    "dw": (87.5, 90.0, 1.4, 1.5),
    "anisotropic": (88.0, 90.0, 1.6, 1.6),
    "path": (88.0, 90.0, 1.4, 1.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("kind", ["recording", "simulation"])
def test_wires_are_where_the_page_says(root, navkit_data, kind, name):
    from navkit import datasets, files
    from navkit.figures import wire_cross

    folder = navkit_data / "custusx" / "angio_lab_256x192"
    real = kind == "recording"
    sweep = files.read_acquisition(folder) if real else datasets.load("wire_cross_sweep")
    _, found = wire_cross.measured(sweep, kind, name)
    page = (root / "kit" / "navkit" / "figures" / "wire_cross.md").read_text(encoding="utf-8")
    (told,) = re.findall(rf"^\| {name} \|.*\|$", page.split("## ")[1 if real else 2], flags=re.MULTILINE)
    numbers, expected = (re.findall(r"\d+\.\d+", line) for line in (wire_cross.row(name, found), told))
    assert len(numbers) == len(expected) == 6
    for number, printed in zip(numbers, expected, strict=True):  # another machine may round a 5 otherwise
        assert abs(float(number) - float(printed)) < 1.01 * 10 ** -len(printed.split(".")[1])
    low, high, widest, simulated_widest = LIMITS[name]
    if real:
        assert low < found.angle_deg <= high
        assert found.gap_mm < 0.25
    else:
        assert found.angle_deg == pytest.approx(89.99, abs=1.2 if name == "pnn, mean" else 0.4)
        assert found.gap_mm < 0.05
        assert distance_mm(found.cross_pr, (134.21, 134.34, 100.14)) < 0.1
    assert 0.9 < min(found.thickness_mm) < max(found.thickness_mm) < (widest if real else simulated_widest)
    assert max(found.rms_mm) < 0.65


def test_the_page_has_a_row_for_every_way_of_reconstructing(root):
    from typing import get_args

    from PIL import Image

    from navkit.figures import wire_cross
    from navkit.reconstruction._live import Compounding
    from navkit.reconstruction._pixelwise import Method

    page = (root / "kit" / "navkit" / "figures" / "wire_cross.md").read_text(encoding="utf-8")
    tables = page.split("## ")[1:]
    for table in tables:
        assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][
            1:
        ] == list(wire_cross.METHODS)
    assert {choices.get("method", "pnn") for choices in wire_cross.METHODS.values()} == set(get_args(Method))
    pnn = {c["compounding"] for n, c in wire_cross.METHODS.items() if n.startswith("pnn")}
    assert pnn == set(get_args(Compounding))
    for line in wire_cross.PAGE.splitlines():
        if "{" not in line:
            assert line in page.splitlines()
    assert page.splitlines()[2] == "For teaching and research; not a medical device."
    assert wire_cross.WORDS in page
    picture = Image.open(root / "kit" / "navkit" / "figures" / "wire_cross.png")
    assert picture.text["Description"] == wire_cross.WORDS
