"""Pixels into voxels: every rule against a slow twin, live and out of core against the batch."""

import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector

from navkit.geometry import inverse, pose_from, transform_points
from navkit.reconstruction import Grid, Reconstructor, output_grid, reconstruct, reconstruct_dual
from navkit.reconstruction._kernels import clipped, runs_of
from navkit.reconstruction._voxelwise import voxelwise
from navkit.ultrasound import ProbeSector, Sweep, split_angio

COMPOUNDING = ("mean", "max", "last", "first", "median3")
EVERY = [("pnn", c) for c in COMPOUNDING] + [("splat", c) for c in COMPOUNDING]


def oblique_grid(sweep: Sweep) -> Grid:
    """Unequal sides, turned, and too small for the sweep: pixels leave it on every side."""
    box = output_grid(sweep, spacing_mm=(0.7, 0.6, 0.8))
    middle = transform_points(box.pr_M_d, np.array(box.extent_mm) / 2)
    turn = Rotation.from_matrix(box.pr_M_d[:3, :3]) * Rotation.from_rotvec([0.5, -0.3, 0.4])
    pr_M_d = pose_from(turn, middle) @ pose_from(np.eye(3), [-3.1, -2.9, -1.7])
    return Grid((6, 11, 9), (0.7, 0.6, 0.8), pr_M_d)


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


# ---- the same bytes --------------------------------------------------------------------------------------


def same(a, b) -> bool:
    return (
        a.values.tobytes() == b.values.tobytes()
        and a.weight.tobytes() == b.weight.tobytes()
        and a.weight.dtype == b.weight.dtype
        and a.filled.tobytes() == b.filled.tobytes()
    )


@pytest.mark.parametrize(("method", "compounding"), EVERY)
def test_threads_and_blocks_do_not_change_a_byte(rng, method, compounding):
    sweep = hand_sweep(rng, n=20)
    sweep = replace(sweep, valid=np.arange(20) % 7 != 3)
    keywords = {"method": method, "compounding": compounding}
    for grid in (oblique_grid(sweep), output_grid(sweep, spacing_mm=0.35)):
        batch = reconstruct(sweep, grid, threads=1, **keywords)
        for threads in (2, 4, 7):
            assert same(batch, reconstruct(sweep, grid, threads=threads, **keywords))
        live = Reconstructor(grid, sweep.sector, threads=2, **keywords)
        for n in np.flatnonzero(sweep.valid):  # one after another, looking in between
            live.insert(sweep.frames[n], sweep.pr_M_p[n])
            if n == 5:
                live.volume()
        assert same(batch, live.volume())
        live = Reconstructor(grid, sweep.sector, threads=3, **keywords)
        for n in range(0, 20, 6):
            block = slice(n, n + 6)
            live.insert(sweep.frames[block], sweep.pr_M_p[block], valid=sweep.valid[block])
        assert same(batch, live.volume())


def test_where_the_frames_lie_does_not_matter(rng):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.5)
    plain = reconstruct(sweep, grid)
    frozen = np.frombuffer(sweep.frames.tobytes(), np.uint8).reshape(sweep.frames.shape)
    for frames in (frozen, np.asfortranarray(sweep.frames), np.repeat(sweep.frames, 2, axis=2)[:, :, ::2]):
        assert same(plain, reconstruct(replace(sweep, frames=frames), grid))
    assert not frozen.flags.writeable


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


# ---- larger than memory ----------------------------------------------------------------------------------


def long_sweep(tmp_path, n: int = 600) -> tuple[Sweep, Grid]:
    """36 MB of frames in a file, mapped; a volume of 12,000 voxels."""
    sector = ProbeSector("linear", 30.0, (0, 20), (149.5, 0), (0.1, 0.1), (0, 299, 0, 199), (200, 300))
    s = np.linspace(-1, 1, n)[:, None]
    turn = Rotation.from_euler("xyz", [10, -20, 30] + s * [3, 4, 2], degrees=True)
    frames = np.memmap(tmp_path / "frames.raw", np.uint8, "w+", shape=(n, 200, 300))
    for k in range(n):
        frames[k] = np.add.outer(np.arange(200), np.arange(300) + 3 * k) % 251
    frames.flush()
    frames = np.memmap(tmp_path / "frames.raw", np.uint8, "r", shape=(n, 200, 300))
    pose = pose_from(turn, s * [9.0, 1.0, 2.0]) @ sector.t_M_p()
    sweep = Sweep(frames, np.arange(n) / 25, pose, sector, np.arange(n) % 9 != 4, "long")
    return sweep, output_grid(sweep, spacing_mm=1.0)


def peak_bytes(work) -> tuple[int, object]:
    """The most memory that Python and numpy held at once, beyond what was there; without mapped files."""
    work()  # compiled and warm
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["pnn", "splat"])
def test_a_mapped_sweep_needs_the_volume_and_a_few_frames(tmp_path, method):
    sweep, grid = long_sweep(tmp_path)
    voxels, frame = np.prod(grid.shape), sweep.frames[0].nbytes
    peak, volume = peak_bytes(lambda: reconstruct(sweep, grid, method=method, threads=2))
    padded = np.prod(np.add(grid.shape, (4, 2, 2))) / voxels if method == "splat" else 1.0
    assert peak < 17 * padded * voxels + 50 * frame  # most of the 50 is the sector's mask in the making
    assert peak < sweep.frames.nbytes / 10
    in_memory = replace(sweep, frames=np.array(sweep.frames))
    assert same(volume, reconstruct(in_memory, grid, method=method))


def test_compressed_frames_stream_in_blocks(tmp_path):
    sweep, grid = long_sweep(tmp_path)
    (tmp_path / "frames.z").write_bytes(zlib.compress(sweep.frames.tobytes(), 1))
    size, block = sweep.frames[0].nbytes, 16

    def stream():
        live = Reconstructor(grid, sweep.sector, threads=2)
        unpack, done, rest = zlib.decompressobj(), 0, b""
        with (tmp_path / "frames.z").open("rb") as packed:
            while done < len(sweep):
                few = min(block, len(sweep) - done)
                raw = bytearray()
                while len(raw) < few * size:
                    raw += unpack.decompress(rest or packed.read(65536), few * size - len(raw))
                    rest = unpack.unconsumed_tail
                here = slice(done, done + few)
                frames = np.frombuffer(raw, np.uint8).reshape(few, *sweep.sector.shape)
                live.insert(frames, sweep.pr_M_p[here], valid=sweep.valid[here])
                done += few
        return live.volume()

    peak, volume = peak_bytes(stream)
    assert same(volume, reconstruct(sweep, grid))
    assert peak < sweep.frames.nbytes / 3


def test_the_estimate_covers_what_is_allocated(tmp_path, monkeypatch):
    """Large enough that nothing else counts: the peak is at most the estimate, and not far below it."""
    sweep, _ = long_sweep(tmp_path, n=12)
    grid = output_grid(sweep, spacing_mm=0.15)
    asked = []
    monkeypatch.setattr(
        "navkit.reconstruction._live.demand_memory",
        lambda grid, each: asked.append(each * np.prod(grid.shape)),
    )
    for method in ("pnn", "splat"):
        peak, _ = peak_bytes(lambda method=method: reconstruct(sweep, grid, method=method, threads=2))
        assert 0.8 * asked[-1] < peak < 1.05 * asked[-1] + 1e6


# ---- bad input -------------------------------------------------------------------------------------------


def test_a_grid_of_a_million_million_voxels_is_refused_at_once(rng):
    sweep = hand_sweep(rng)
    grid = Grid((10_000, 10_000, 10_000), (1e-3, 1e-3, 1e-3), np.eye(4))
    for method in ("pnn", "splat"):
        with pytest.raises(ValueError, match=r"need 17000\.0 GB of memory and .* Take a larger spacing"):
            reconstruct(sweep, grid, method=method)


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


def test_frames_of_another_size_or_type_are_refused_and_nothing_is_inserted(rng):
    sweep = hand_sweep(rng)
    live = Reconstructor(output_grid(sweep, spacing_mm=0.6), sweep.sector)
    for frames in (sweep.frames[:, :-1], sweep.frames.astype(float), sweep.frames[:3]):
        with pytest.raises(ValueError, match="Were they cropped or scaled"):
            live.insert(frames, sweep.pr_M_p)
    pose = sweep.pr_M_p.copy()
    pose[13] = np.inf
    with pytest.raises(ValueError, match="frame 13 is not finite"):
        live.insert(sweep.frames, pose)
    assert not live.volume().weight.any()
    with pytest.raises(ValueError, match="method is 'vnn'; expected 'pnn' or 'splat'"):
        Reconstructor(live.grid, sweep.sector, method="vnn")


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
