"""Pixels into voxels: every rule against a slow twin."""

from dataclasses import replace

import numpy as np
import pytest
from reconstructions import EVERY, oblique_grid, same
from sweeps import hand_sweep, small_sector

from navkit.geometry import inverse
from navkit.reconstruction import Grid, Reconstructor, output_grid, reconstruct, reconstruct_dual
from navkit.reconstruction._kernels import clipped, runs_of
from navkit.reconstruction._voxelwise import voxelwise
from navkit.ultrasound import ProbeSector, Sweep, split_angio


def positions(sweep: Sweep, grid: Grid, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxel coordinates (h, w, 3) of a frame's pixels, and which of them the sector has, in double."""
    m = inverse(grid.pr_M_voxel()) @ sweep.pr_M_p[n]
    row, column = np.indices(sweep.sector.shape)[..., None].astype(float)
    return (m[:3, 1] * row + m[:3, 3]) + m[:3, 0] * column, sweep.sector.mask()


def chosen(greys: list[tuple[int, int]], rule: str) -> float:
    """What a voxel keeps of its pixels, given as (frame, grey) in order."""
    if rule == "median3":
        of_frame = dict(greys)  # the last of each frame
        return float(np.median(list(of_frame.values())[-3:]))
    return float({"max": max, "last": lambda g: g[-1], "first": lambda g: g[0]}[rule]([g for _, g in greys]))


def twin(sweep, grid, method, rule, importance=None, reject_below=0):
    """One pixel after another: values and weight as `reconstruct` should give them."""
    kept: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    total, weight = np.zeros(grid.shape), np.zeros(grid.shape)
    for n in np.flatnonzero(sweep.valid):
        at, mask = positions(sweep, grid, n)
        for r, c in np.argwhere(mask):
            grey = int(sweep.frames[n, r, c])
            often = 1 if importance is None else int(importance[r, c])
            if grey < reject_below or often == 0:
                continue
            if method == "pnn":
                near = [(np.floor(at[r, c] + 0.5).astype(int), 1.0)]
            else:
                corner = np.floor(at[r, c]).astype(int)
                eight = [corner + d for d in np.ndindex(2, 2, 2)]
                near = [(v, np.prod(1 - np.abs(at[r, c] - v))) for v in eight]
            for voxel, share in near:
                index = tuple(int(v) for v in voxel[::-1])
                if min(index) < 0 or not all(v < s for v, s in zip(index, grid.shape, strict=True)):
                    continue
                if rule == "mean":
                    total[index] += often * share * grey
                    weight[index] += often * share
                elif method == "pnn" or share >= 0.125:
                    kept.setdefault(index, []).append((n, grey))
                    weight[index] += 1
    least = 1 / 512 if (method, rule) == ("splat", "mean") else 1
    weight[weight < least] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(weight > 0, total / weight, np.nan)
    for index, greys in kept.items():
        values[index] = chosen(greys, rule)
    return values, weight


@pytest.mark.parametrize("compounding", ["mean", "last"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pixel_belongs_to_the_nearer_voxel_however_near_the_middle_it_lies(axis, compounding):
    sector = ProbeSector("linear", 1.0, (0, 1), (0, 0), (2.0, 2.0), (0, 0, 0, 0), (1, 2))
    grid = Grid((3, 4, 5), (1.0, 1.0, 1.0), np.eye(4))
    for off, voxel in ((1e-9, 2), (-1e-9, 1)):
        live = Reconstructor(grid, sector, compounding=compounding)
        pose = np.eye(4)
        pose[:3, 3] = 1.0
        pose[axis, 3] = 1.5 + off
        live.insert(np.full((1, 2), 90, np.uint8), pose)
        found = np.argwhere(live.volume().weight)[0]
        expected = [1, 1, 1]
        expected[2 - axis] = voxel
        assert found.tolist() == expected


@pytest.mark.parametrize(("method", "compounding"), EVERY)
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_every_rule_equals_its_slow_twin(rng, kind, method, compounding):
    sweep = hand_sweep(rng, kind=kind, n=9)
    sweep = replace(sweep, valid=np.arange(9) != 4)
    grid = oblique_grid(sweep)
    values, weight = twin(sweep, grid, method, compounding)
    volume = reconstruct(sweep, grid, method=method, compounding=compounding, threads=2)
    assert (weight > 3).sum() > 100
    if (method, compounding) == ("splat", "mean"):
        assert np.allclose(volume.weight, weight, atol=1e-4)
        assert np.allclose(volume.values, values, rtol=1e-5, atol=1e-3, equal_nan=True)
    else:
        assert np.array_equal(volume.weight, weight)
        assert np.array_equal(volume.values, values.astype(np.float32), equal_nan=True)
    assert not volume.filled.any()


@pytest.mark.parametrize(("method", "compounding"), [("pnn", "mean"), ("pnn", "last"), ("splat", "mean")])
def test_importance_and_rejection_equal_the_slow_twin(rng, method, compounding):
    sweep = hand_sweep(rng, n=7)
    grid = oblique_grid(sweep)
    importance = rng.integers(0, 256, size=sweep.sector.shape, dtype=np.uint8)
    importance[rng.random(sweep.sector.shape) < 0.3] = 0
    keywords = {"importance": importance, "reject_below": 90}
    values, weight = twin(sweep, grid, method, compounding, **keywords)
    volume = reconstruct(sweep, grid, method=method, compounding=compounding, **keywords)
    assert np.allclose(volume.weight, weight, rtol=1e-6, atol=1e-4)
    assert np.allclose(volume.values, values, rtol=1e-5, atol=1e-3, equal_nan=True)
    assert np.nanmin(volume.values) >= 90


def test_a_grey_equal_to_the_threshold_is_kept(rng):
    sweep = hand_sweep(rng)
    sweep = replace(sweep, frames=np.full_like(sweep.frames, 90))
    grid = output_grid(sweep, spacing_mm=0.6)
    assert reconstruct(sweep, grid, reject_below=90).weight.any()
    assert not reconstruct(sweep, grid, reject_below=91).weight.any()


def test_rows_are_cut_exactly_where_each_pixel_would_be(rng):
    columns = np.arange(3, 40)
    for _ in range(3000):
        dx = float(rng.choice([0.0, 1e-17, -1e-9, 0.25, -0.25, 1.0, rng.normal()]))
        x0 = float(rng.choice([rng.normal(scale=8), rng.integers(-9, 9), 0.5]))
        low = float(rng.integers(-6, 4))
        high = low + float(rng.integers(1, 9))
        inside = (low <= x0 + dx * columns) & (x0 + dx * columns < high)
        a, b = clipped(x0, dx, low, high, 3, 40)
        assert np.array_equal(inside, (a <= columns) & (columns < b))


def test_runs_are_the_unbroken_stretches_of_each_row(rng):
    used = rng.random((17, 23)) < 0.6
    drawn = np.zeros_like(used)
    for row, first, stop in runs_of(used):
        assert not drawn[row, first:stop].any()
        drawn[row, first:stop] = True
    assert np.array_equal(drawn, used)
    assert len(runs_of(used)) == (np.diff(np.pad(used, ((0, 0), (1, 0))).astype(int), axis=1) == 1).sum()


def test_the_median_forgets_one_flash_frame_that_the_mean_keeps(rng):
    """Five frames in one place, the fourth a flash: the median of the last three is the tissue."""
    sweep = hand_sweep(rng, n=5)
    grid = output_grid(sweep, spacing_mm=0.6)
    sweep = replace(sweep, pr_M_p=np.repeat(sweep.pr_M_p[2:3], 5, axis=0))
    frames = np.full_like(sweep.frames, 40)
    frames[3] = 250
    sweep = replace(sweep, frames=frames)
    assert np.nanmax(reconstruct(sweep, grid, compounding="median3").values) == 40
    assert np.nanmin(reconstruct(sweep, grid).values) == pytest.approx((4 * 40 + 250) / 5)
    two = replace(sweep, valid=np.array([0, 0, 1, 1, 0], dtype=bool))
    assert np.nanmin(reconstruct(two, grid, compounding="median3").values) == (40 + 250) / 2


def test_splat_keeps_every_pixel_that_lies_inside_and_a_constant(rng):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.6, mask_reduction=-0.2)
    flat = replace(sweep, frames=np.full_like(sweep.frames, 77))
    volume = reconstruct(flat, grid, method="splat")
    assert volume.weight.sum(dtype=float) == pytest.approx(14 * sweep.sector.mask().sum(), rel=1e-4)
    assert np.nanmin(volume.values) == pytest.approx(77, abs=1e-3)
    assert np.nanmax(volume.values) == pytest.approx(77, abs=1e-3)
    assert (volume.weight > 0).sum() > 1.2 * (reconstruct(flat, grid).weight > 0).sum()


# ---- two channels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "compounding"), [("pnn", "mean"), ("pnn", "last"), ("splat", "mean"), ("splat", "max")]
)
def test_bmode_and_angio_in_one_pass_equal_two_passes(rng, method, compounding):
    base = hand_sweep(rng)
    rgb = np.repeat(base.frames[..., None], 3, axis=-1)
    coloured = rng.random(base.frames.shape) < 0.3
    rgb[coloured] = [200, 20, 0]
    bmode, angio = (replace(base, frames=frames) for frames in split_angio(rgb))
    grid = output_grid(base, spacing_mm=0.5)
    keywords = {"method": method, "compounding": compounding, "fill": "custusx"}
    both = reconstruct_dual(bmode, angio, grid, threads=2, **keywords)
    for one, sweep in zip(both, (bmode, angio), strict=True):
        assert same(one, reconstruct(sweep, grid, **keywords))
    assert not same(*both)


def test_grey_pixels_are_dark_in_the_angio_volume_or_nothing(rng):
    base = hand_sweep(rng)
    rgb = np.repeat(base.frames[..., None] | np.uint8(1), 3, axis=-1)
    rgb[3:6, 5:20, 10:20] = [210, 0, 0]
    bmode, angio = (replace(base, frames=frames) for frames in split_angio(rgb))
    grid = output_grid(base, spacing_mm=0.5)
    grey, colour = reconstruct_dual(bmode, angio, grid, compounding="max")
    assert np.array_equal(grey.weight, colour.weight)
    assert set(np.unique(colour.values[colour.weight > 0])) == {0.0, 63.0}
    _, only = reconstruct_dual(bmode, angio, grid, compounding="max", reject_below=1)
    assert np.array_equal(only.weight > 0, colour.values > 0)


def test_channels_that_do_not_belong_together_are_refused(rng):
    sweep = hand_sweep(rng)
    moved = sweep.pr_M_p.copy()
    moved[3, 0, 3] += 0.01
    for other in (replace(sweep, pr_M_p=moved), replace(sweep, valid=np.arange(14) > 0)):
        with pytest.raises(ValueError, match="expected two channels of the same frames"):
            reconstruct_dual(sweep, other)


def test_channels_with_a_lost_frame_belong_together(rng):
    sweep = hand_sweep(rng)
    poses, valid = sweep.pr_M_p.copy(), sweep.valid.copy()
    poses[5], valid[5] = np.nan, False
    lost = replace(sweep, pr_M_p=poses, valid=valid)
    one, two = reconstruct_dual(lost, replace(lost, pr_M_p=poses.copy()), output_grid(lost, spacing_mm=0.5))
    assert np.array_equal(one.weight, two.weight)
    assert 0 < one.weight.sum() < reconstruct(sweep, one.grid).weight.sum()


# ---- bad input -------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_a_sentence(rng):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.6)
    nothing = replace(sweep, valid=np.zeros(14, dtype=bool))
    for given in (None, grid):
        with pytest.raises(ValueError, match="has no valid frame"):
            reconstruct(nothing, given)
    pose = sweep.pr_M_p.copy()
    pose[5, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"frame 5 is not finite \(1 of 14 are not\).*out of sight"):
        reconstruct(replace(sweep, pr_M_p=pose), grid)
    with pytest.raises(ValueError, match="valid frames whose pose is not finite"):
        reconstruct(replace(sweep, pr_M_p=pose))
    marked = replace(sweep, pr_M_p=pose, valid=np.arange(14) != 5)
    assert reconstruct(marked, grid).weight.any()
    outside = replace(sweep, sector=replace(sweep.sector, clip_p=(0, 2, 0, 0)))
    with pytest.raises(ValueError, match="no pixel is left to use"):
        reconstruct(outside, grid)
    with pytest.raises(ValueError, match="have no pixel in common"):
        reconstruct(outside)
    with pytest.raises(ValueError, match="no pixel is left to use"):
        reconstruct(sweep, grid, importance=np.zeros(sweep.sector.shape, np.uint8))
    for wrong in (np.ones((27, 35), np.uint8), np.ones((27, 36))):
        with pytest.raises(ValueError, match=r"expected uint8 \(27, 36\), one for each pixel"):
            reconstruct(sweep, grid, importance=wrong)


def test_one_frame_has_no_volume_of_its_own_but_fills_a_given_grid(rng):
    sweep = hand_sweep(rng)
    one = Sweep(sweep.frames[:1], sweep.time_s[:1], sweep.pr_M_p[:1], sweep.sector, sweep.valid[:1])
    with pytest.raises(ValueError, match="did the probe move"):
        reconstruct(one)
    grid = output_grid(sweep, spacing_mm=0.6)
    assert 0 < reconstruct(one, grid).weight.sum() <= sweep.sector.mask().sum()


def test_the_clip_rectangle_gives_plus_box(rng):
    """A linear sweep straight along z: the box is the clip rectangle to the far side of its last pixels."""
    sector = replace(small_sector(), clip_p=(4, 20, 2, 26))
    pose = np.repeat(np.diag([0.5, 0.25, 1.0, 1.0])[None], 5, axis=0)
    pose[:, 2, 3] = np.arange(5) * 0.7
    sweep = Sweep(np.zeros((5, 27, 36), np.uint8), np.arange(5.0), pose, sector, np.ones(5, dtype=bool))
    grid = output_grid(sweep, spacing_mm=(0.4, 0.2, 0.7), orientation="reference", extent="clip")
    assert grid.pr_M_d[:3, 3].tolist() == pytest.approx([2.0, 0.5, 0.0])
    # columns 4 to 21, rows 2 to 26: no row beyond the picture's last
    assert grid.shape[::-1] == (round(17 * 0.5 / 0.4) + 1, round(24 * 0.25 / 0.2) + 1, 5)
    with pytest.raises(ValueError, match="expected 'mask' or 'clip'"):
        output_grid(sweep, extent="frame")
    with pytest.raises(ValueError, match="expected a positive number, or three"):
        output_grid(sweep, spacing_mm=(0.4, 0.0, 0.7))


# ---- the door to the other methods -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["vnn", "vnn2", "dw", "anisotropic", "path"])
def test_voxelwise_methods_come_through_the_same_door(rng, method):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.8)
    volume = reconstruct(sweep, grid, method=method, radius_mm=1.1)
    values, weight = voxelwise(sweep, grid, method=method, radius_mm=1.1)
    assert np.array_equal(volume.values, values, equal_nan=True)
    assert np.array_equal(volume.weight, weight)
    assert not volume.filled.any()
    for keywords in ({"compounding": "max"}, {"reject_below": 3}):
        with pytest.raises(ValueError, match="works voxel by voxel"):
            reconstruct(sweep, grid, method=method, **keywords)
    with pytest.raises(ValueError, match="belong to other methods; expected none for 'splat'"):
        reconstruct(sweep, grid, method="splat", radius_mm=1.0)
    huge = Grid((10_000, 10_000, 10_000), (1e-3, 1e-3, 1e-3), np.eye(4))
    with pytest.raises(ValueError, match=r"need 9000\.0 GB"):
        reconstruct(sweep, huge, method=method)


@pytest.mark.parametrize("fill", ["custusx", "nearest", "gaussian", "distance", "stick", "convolution"])
def test_filling_changes_only_what_was_empty(rng, fill):
    sweep = hand_sweep(rng, n=5)
    grid = output_grid(sweep, spacing_mm=0.4)
    bare, full = (reconstruct(sweep, grid, fill=f, fill_steps=2) for f in ("none", fill))
    assert np.array_equal(bare.weight, full.weight)
    assert full.filled.any()
    assert not (full.filled & (bare.weight > 0)).any()
    assert np.array_equal(full.values[~full.filled], bare.values[~full.filled], equal_nan=True)
    assert np.isfinite(full.values[full.filled]).all()
