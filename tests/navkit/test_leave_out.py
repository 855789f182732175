"""Leaving frames out: what is compared is what was left out, holes are not scored, and the gap is in mm."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector

from navkit import datasets, files
from navkit.figures.leave_out import RADIUS_MM, REACH_VOXELS, by_gap, choices, compared, table
from navkit.geometry import pose_from, transform_points
from navkit.reconstruction import Grid, Volume, leave_out_error, output_grid, sample
from navkit.ultrasound import Sweep


def straight_sweep(n: int = 31, step_mm: float = 0.4) -> Sweep:
    """Parallel pictures, oblique in the room, that show a field which rises along the way and to the side."""
    sector = small_sector()
    turn = Rotation.from_euler("xyz", [25, -40, 10], degrees=True)
    along = turn.apply([1.0, 0, 0])
    at = np.array([31.0, -12.0, 77.0]) + np.arange(n)[:, None] * step_mm * along
    pr_M_p = pose_from(turn, at) @ sector.t_M_p()
    rows, columns = np.indices(sector.shape)
    pixels = np.stack([columns, rows, 0 * rows], axis=-1).astype(float)
    field = [(transform_points(m, pixels) - at[0]) @ (6.0 * along) + 2.0 * columns for m in pr_M_p]
    frames = np.rint(np.array(field) + 40).astype(np.uint8)
    return Sweep(frames, 3.0 + 0.05 * np.arange(n), pr_M_p, sector, np.ones(n, dtype=bool), "straight")


@pytest.mark.parametrize(("width", "gap"), [(1, 0.8), (3, 1.6), (5, 2.4)])
def test_a_field_without_bends_is_told_across_the_gap(width, gap):
    sweep = straight_sweep()
    grid = output_grid(sweep, spacing_mm=0.2, mask_reduction=0.0)
    result = leave_out_error(sweep, grid, every=8, width=width, method="path", radius_mm=2.0)
    assert result.gap_mm == pytest.approx(gap, abs=1e-9)
    assert result.gaps_mm == pytest.approx(np.full(len(result.frames), gap), abs=1e-9)
    assert np.array_equal(result.frames, np.arange(max(4, width // 2 + 1), 30 - width // 2, 8))
    assert result.covered > 0.9
    # the pictures are rounded to whole grey levels, and a pixel is 0.31 x 0.47 mm of the field's 2 a column
    assert result.mae < 0.6
    assert result.rms < 0.8


def test_the_pictures_that_are_compared_are_not_in_the_volume():
    sweep = straight_sweep()
    frames = np.full_like(sweep.frames, 50)
    frames[4:30:9] = 200
    result = leave_out_error(
        replace(sweep, frames=frames), output_grid(sweep, spacing_mm=0.4), every=9, method="vnn"
    )
    assert np.array_equal(result.frames, [4, 13, 22])
    asked = result.difference[np.isfinite(result.difference)]
    assert (asked == -150).all()
    assert result.mae == pytest.approx(150)
    assert result.rms == pytest.approx(150)


def test_holes_are_not_scored_and_counted():
    sweep = straight_sweep(step_mm=0.4)
    grid = output_grid(sweep, spacing_mm=0.25, mask_reduction=0.0)
    some, most = (leave_out_error(sweep, grid, every=6, fill="custusx", fill_steps=n) for n in (1, 4))
    assert 0.05 < some.covered < 0.6 < most.covered
    assert np.isfinite(some.difference).mean() == pytest.approx(some.covered)
    assert some.mae < 10  # black would be 100 and more
    with pytest.raises(ValueError, match="covers no pixel that was left out"):
        leave_out_error(straight_sweep(step_mm=1.3), output_grid(sweep, spacing_mm=0.25), every=6)


def test_frames_without_a_pose_are_neither_used_nor_compared():
    sweep = straight_sweep()
    valid = sweep.valid.copy()
    valid[[3, 4, 11]] = False
    poses = sweep.pr_M_p.copy()
    poses[~valid] = np.nan
    result = leave_out_error(
        replace(sweep, valid=valid, pr_M_p=poses), output_grid(sweep, spacing_mm=0.4), every=7, method="vnn"
    )
    assert not np.isin(result.frames, [3, 4, 11]).any()
    assert np.array_equal(result.frames, [5, 13, 20, 27])  # the 4th, 11th, ... of those with a pose
    assert np.isfinite(result.mae)


def test_noise_of_the_pictures_and_of_the_volume_add_up(rng):
    sweep = straight_sweep(n=40)
    noisy = np.clip(100 + rng.normal(scale=12, size=sweep.frames.shape), 0, 255).round().astype(np.uint8)
    result = leave_out_error(
        replace(sweep, frames=noisy), output_grid(sweep, spacing_mm=0.2), every=5, method="vnn"
    )
    # one pixel of a neighbour against one of the picture; looking between voxels takes some of it away
    assert 12 < result.rms < 12 * np.sqrt(2) * 1.02
    assert result.mae == pytest.approx(result.rms * np.sqrt(2 / np.pi), rel=0.02)


def test_looking_between_voxels_needs_half_of_the_weight():
    turn = Rotation.from_rotvec([0.3, -0.7, 0.2])
    grid = Grid((3, 4, 5), (0.5, 1.0, 2.0), pose_from(turn, [7.0, -3, 11]))
    k, j, i = np.indices(grid.shape)
    values = (10 * i + 100 * j + 1000 * k).astype(np.float32)
    values[1, 1, 2] = np.nan
    volume = Volume(values, np.ones(grid.shape, np.uint32), np.zeros(grid.shape, bool), grid)

    def at(x, y, z):
        return float(sample(volume, transform_points(grid.pr_M_voxel(), [x, y, z])))

    assert at(0.25, 0.5, 0.75) == pytest.approx(2.5 + 50 + 750)
    assert at(3.5, 2.5, 1.5) == pytest.approx(35 + 250 + 1500)
    assert at(1.4, 1, 1) == pytest.approx(1110)  # 0.4 of the weight is unknown
    assert np.isnan(at(1.6, 1, 1))
    assert np.isnan(at(-0.6, 0, 0))
    assert np.isnan(at(4.6, 3, 2))


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"width": 2}, "expected an odd width below every"),
        ({"width": 11}, "expected an odd width below every"),
        ({"every": 14}, "the sweep has 14 valid frames; expected at least 16"),
    ],
)
def test_a_wrong_request_is_a_sentence(rng, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        leave_out_error(hand_sweep(rng), **({"every": 5} | keywords))


# ---- which method tells most ------------------------------------------------------------------------------


def told_most(sweep, every, width):
    """Errors by gap of all methods; "predict" is the best, or within 2 % of it, at every gap."""
    asked = choices(REACH_VOXELS, radius_mm=RADIUS_MM)
    rows = by_gap(*compared(sweep, asked, every=every, width=width))
    assert rows
    for gap, _, errors in rows:
        assert errors["predict"] < 1.02 * min(errors.values()), f"at {gap:.1f} mm: {errors}"
    return rows


def without_first(sweep):
    """The method was made looking at other pictures: leaving the first out moves the choice by one."""
    return replace(sweep, valid=sweep.valid & (np.arange(len(sweep)) > 0))


def spine(folder):
    config = files.read_plus_config(next(folder.glob("*SpinePhantom_NN_MEAN.xml")))
    return files.plus_sweep(files.read_sequence(folder / "SpinePhantomFreehand.igs.mha"), config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "width", "gaps"), [(3, 1, (0.5, 1.8)), (9, 5, (1.4, 3.5)), (14, 11, (4.3, 5.0))]
)
def test_in_a_sweep_of_the_brain_predict_tells_most_at_every_gap(every, width, gaps):
    rows = told_most(without_first(datasets.load("neuro_sweep")), every, width)
    assert (rows[0][0], rows[-1][0]) == pytest.approx(gaps, abs=0.25)
    for gap, _, errors in rows:
        assert errors["vnn"] > 1.05 * errors["predict"]
        if gap > 2:
            assert errors["path"] > 1.02 * errors["predict"]


@pytest.mark.slow
@pytest.mark.parametrize(("every", "width"), [(4, 1), (4, 3)])
def test_in_the_recording_of_a_spine_predict_tells_most_and_so_does_the_path(navkit_data, every, width):
    """The probe slides along itself and bone is bright: what lies across the gap is what moved on."""
    for _, _, errors in told_most(without_first(spine(navkit_data / "plus" / "volrec")), every, width):
        assert errors["path"] < 1.02 * errors["predict"]
        assert errors["splat, convolution"] > 1.1 * errors["predict"]


@pytest.mark.slow
def test_the_page_tells_what_is_measured(root, navkit_data):
    """A row of each table again; the rows of a run stand alone when no other run has gaps of their class."""
    page = (root / "kit" / "navkit" / "figures" / "leave_out.md").read_text(encoding="utf-8")
    asked = choices(REACH_VOXELS, radius_mm=RADIUS_MM)
    wide = compared(without_first(spine(navkit_data / "plus" / "volrec")), asked, every=4, width=3)
    assert table(by_gap(*wide)).splitlines()[-1] in page
