"""Prediction along the path: equal to a plain twin, exact on linear fields, as noisy as it says."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector
from test_voxelwise import (
    TURN,
    crooked_sweep,
    feet,
    grid_on,
    interior,
    oblique_grid,
    points_of,
    positions_on,
    straight_sweep,
)

from navkit.geometry import compose, pose_from
from navkit.reconstruction import _predict as module
from navkit.reconstruction._predict import predicted
from navkit.reconstruction._voxelwise import voxelwise
from navkit.ultrasound import ProbeSector, Sweep

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@pytest.fixture
def rule(monkeypatch):
    """Sets the level and its rise with the root of the length, whatever the sweep says."""

    def set_rule(start: float, rise: float) -> None:
        monkeypatch.setattr(module, "level_rule", lambda *args, **options: (start, rise))

    return set_rule


# ---- the twin ---------------------------------------------------------------------------------------------


def naive_levels(frame: np.ndarray, mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each level and the known weight: smoothed by weighted means of what is known, every second pixel."""
    value, known = frame.astype(float), mask.astype(float)
    levels = [(value, known)]
    for _ in range(module.LEVELS):
        h, w = value.shape
        room = ((2, 2 * (h // 2 + 2) - h), (2, 2 * (w // 2 + 2) - w))
        total, share = np.pad(value * known, room), np.pad(known, room)
        for axis in (0, 1):
            total, share = (correlate1d(x, BINOMIAL, axis=axis, mode="constant") for x in (total, share))
        total, share = total[2::2, 2::2], share[2::2, 2::2]
        value = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
        known = (share > 0).astype(float)
        levels.append((value, known))
    return levels


def read(level: tuple[np.ndarray, np.ndarray], c: float, r: float) -> float:
    """Bilinear over the known pixels."""
    value, known = level
    total = share = 0.0
    for row in (int(np.floor(r)), int(np.floor(r)) + 1):
        for column in (int(np.floor(c)), int(np.floor(c)) + 1):
            if 0 <= row < value.shape[0] and 0 <= column < value.shape[1]:
                w = (1 - abs(r - row)) * (1 - abs(c - column)) * known[row, column]
                total, share = total + w * value[row, column], share + w
    return total / share


def naive(sweep: Sweep, grid, radius: float, start: float, rise: float) -> np.ndarray:
    """Voxel by voxel, in plain numpy."""
    used, mask = np.flatnonzero(sweep.valid), sweep.sector.mask()
    levels = [naive_levels(sweep.frames[n], mask) for n in used]
    foot, signed = zip(*(feet(sweep.pr_M_p[n], points_of(grid)) for n in used), strict=True)
    width = module.WIDTH * min(grid.spacing_mm)

    def inside(c: float, r: float) -> bool:
        c, r = int(np.floor(c + 0.5)), int(np.floor(r + 0.5))
        return 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and bool(mask[r, c])

    def told(n: int, level: float, c: float, r: float) -> float:
        e = min(int(level), module.LEVELS - 1)
        one, other = (read(levels[n][k], max(c, 0) / 2**k, max(r, 0) / 2**k) for k in (e, e + 1))
        return one + (level - e) * (other - one) if e or level else read(levels[n][0], c, r)

    values = np.full(grid.shape, np.nan)
    for v in np.ndindex(grid.shape):
        d = np.array([one[v] for one in signed])
        gap, found = np.inf, None
        for n in np.flatnonzero((d[:-1] * d[1:] <= 0) & (abs(np.diff(d)) <= 2 * radius)):
            s = d[n] / (d[n] - d[n + 1])
            c, r = (1 - s) * foot[n][v] + s * foot[n + 1][v]
            if abs(d[n] - d[n + 1]) < gap and inside(c, r):
                gap, found = abs(d[n] - d[n + 1]), (n, s, c, r)
        if found is None:
            continue
        n, s, c, r = found
        level = min(start + rise * np.sqrt(4 * s * (1 - s) * gap), module.LEVELS)
        if gap >= width or not (inside(*foot[n][v]) and inside(*foot[n + 1][v])):
            values[v] = (1 - s) * told(n, level, c, r) + s * told(n + 1, level, c, r)
            continue
        first, last = n, n + 1
        while first > 0 and abs(d[first - 1]) < width:
            first -= 1
        while last < len(d) - 1 and abs(d[last + 1]) < width:
            last += 1
        near = [n for n in range(first, last + 1) if inside(*foot[n][v])]
        grey = [told(n, level, *foot[n][v]) for n in near]
        line = np.polyfit(d[near], grey, 1, w=np.sqrt(1 - abs(d[near]) / width))
        values[v] = line[1]
    return values


@pytest.mark.parametrize("kind", ["linear", "sector"])
@pytest.mark.parametrize(("start", "rise"), [(0.0, 0.0), (0.6, 1.3), (3.4, 0.9)])
def test_every_voxel_equals_its_naive_twin(rng, rule, kind, start, rise):
    sweep = crooked_sweep(rng, kind)
    grid = oblique_grid(sweep, (9, 14, 19))
    rule(start, rise)
    values, weight = predicted(sweep, grid, radius_mm=0.7)
    expected = naive(sweep, grid, 0.7, start, rise)
    assert values.dtype == weight.dtype == np.float32
    assert 0.2 < np.isfinite(expected).mean() < 0.95, "the case must have voxels with and without data"
    assert np.allclose(values, expected, rtol=0, atol=2e-4, equal_nan=True)
    assert np.array_equal(weight == 0, np.isnan(values))


# ---- exact on fields, honest about noise ------------------------------------------------------------------


@pytest.mark.parametrize("slip", [(0.0, 0.0), (0.7, -0.55)])
def test_a_field_that_is_linear_along_the_path_and_in_the_picture_is_told_exactly(slip):
    """The rule is the sweep's own: nothing errs less than the frames themselves, so they are not smoothed."""
    rows, columns = np.indices(small_sector().shape)
    ahead = np.array([0.0, 1.0, 2.5, 3.0, 4.5, 5.0, 7.0, 8.5])
    frames = (3 * columns + 2 * rows + 8 * ahead[:, None, None]).astype(np.uint8)  # whole numbers
    sweep = straight_sweep(frames, ahead, slip)
    grid = grid_on(sweep, (3.7, 9.4, 0.05), (44, 15, 44), (0.43, 0.6, 0.19))
    values, _ = predicted(sweep, grid, radius_mm=1.2)
    c, r, z = np.moveaxis(positions_on(sweep, grid), -1, 0)
    width, height = sweep.sector.spacing_mm
    c, r = c + slip[0] * z / width, r - slip[1] * z / height  # the pixel whose path comes by
    there = np.isfinite(values) & (c >= 4) & (c <= 29) & (r >= 5) & (r <= 23)
    assert there.mean() > 0.4
    assert np.abs(values - (3 * c + 2 * r + 8 * z))[there].max() < 5e-5


def test_frames_closer_than_voxels_tell_a_linear_field_exactly_and_share_the_noise(rng, rule):
    rows, columns = np.indices(small_sector().shape)
    ahead = np.sort(rng.permutation(60)[:25]) / 10.0  # steps of 0.1 mm and more, none the same
    frames = (2 * columns + rows + 20 * ahead[:, None, None]).astype(np.uint8)
    sweep = straight_sweep(frames, ahead)
    grid = grid_on(sweep, (4.7, 6.4, ahead[2] + 0.03), (9, 12, 6), (1.3, 1.6, 0.5))
    rule(0.0, 0.0)
    values, weight = predicted(sweep, grid, radius_mm=2.0)
    c, r, z = np.moveaxis(positions_on(sweep, grid), -1, 0)
    there = np.isfinite(values) & interior(sweep, grid)
    assert there.mean() > 0.6
    assert np.abs(values - (2 * c + r + 20 * z))[there].max() < 5e-5
    alone = voxelwise(sweep, grid, method="path", radius_mm=2.0)[1]
    assert np.median(weight[there] / alone[there]) > 1.5 * 9 / 4  # a bilinear pixel is worth 9 / 4


def wide_sweep(frames: np.ndarray, ahead_mm: np.ndarray) -> Sweep:
    """Large parallel pictures, oblique in the room."""
    h, w = frames.shape[1:]
    sector = ProbeSector("linear", 99.0, (0, 99), (w / 2, 0), (0.3, 0.4), (0, w - 1, 0, h - 1), (h, w))
    position = np.array([31.0, -12.0, 77.0]) + np.outer(ahead_mm, TURN[:, 0])
    pr_M_p = pose_from(np.broadcast_to(TURN, (len(frames), 3, 3)), position) @ sector.t_M_p()
    return Sweep(frames, np.arange(len(frames)) / 25, pr_M_p, sector, np.ones(len(frames), dtype=bool))


@pytest.mark.parametrize("start", [0.0, 0.7, 1.5, 2.25])
@pytest.mark.parametrize("width_mm", [0.4, 1.8])  # less than all gaps, and more
def test_the_variance_of_white_noise_is_the_sum_of_squared_weights(rng, rule, monkeypatch, start, width_mm):
    ahead = np.cumsum(rng.uniform(0.5, 1.6, size=12))
    frames = rng.integers(0, 256, size=(12, 260, 240), dtype=np.uint8)
    sweep = wide_sweep(frames, ahead)
    steps = (1.93, 2.11, (ahead[-1] - ahead[0]) / 11.3)
    grid = grid_on(sweep, (40.0, 40.0, 0.1), (11, 80, 90), steps)
    rule(start, 0.0)
    monkeypatch.setattr(module, "WIDTH", width_mm / min(grid.spacing_mm))
    values, weight = predicted(sweep, grid, radius_mm=3.0)
    assert np.isfinite(values).all()
    ratio = ((values - 127.5) ** 2 * weight).mean(axis=(1, 2)) / ((256**2 - 1) / 12)
    assert np.abs(ratio - 1).max() < 0.25  # the wider the kernel, the fewer voxels are independent
    assert abs(ratio.mean() - 1) < 0.06


def test_a_constant_stays_constant_whatever_lies_outside_the_sector(rng, rule):
    for kind in ("linear", "sector"):
        sweep = crooked_sweep(rng, kind)
        frames = np.where(sweep.sector.mask(), 77, 255).astype(np.uint8)
        sweep = replace(sweep, frames=np.broadcast_to(frames, sweep.frames.shape))
        for start in (0.0, 1.3, 4.0):
            rule(start, 0.0)
            values, _ = predicted(sweep, oblique_grid(sweep), radius_mm=0.9)
            assert np.isfinite(values).mean() > 0.1
            assert np.nanmax(np.abs(values - 77)) < 1e-4


# ---- how smooth: asked of the sweep -----------------------------------------------------------------------


def asked_rule(sweep: Sweep, grid) -> tuple[float, float]:
    """What the sweep says, by way of `predicted`."""
    told = []
    old = module.level_rule

    def listen(*args, **options):
        told.append(old(*args, **options))
        return told[0]

    module.level_rule = listen
    try:
        predicted(sweep, grid)
    finally:
        module.level_rule = old
    return told[0]


def test_what_goes_on_from_frame_to_frame_is_not_smoothed_and_what_does_not_is(rng):
    ahead = np.cumsum(rng.uniform(0.3, 0.8, size=14))
    picture = rng.integers(0, 256, size=(120, 140), dtype=np.uint8)
    same = wide_sweep(np.broadcast_to(picture, (14, 120, 140)), ahead)
    grid = grid_on(same, (20.0, 20.0, 0.1), (30, 30, 20), (0.5, 0.5, 0.3))
    start, rise = asked_rule(same, grid)
    assert start == 0
    assert rise == 0
    fresh = wide_sweep(rng.integers(0, 256, size=(14, 120, 140), dtype=np.uint8), ahead)
    start, rise = asked_rule(fresh, grid)
    assert start + rise > 3.5


def test_speckle_on_a_shape_is_smoothed_as_far_as_the_shape_allows(rng):
    """Noise 5 pixels wide that differs from frame to frame, on stripes 48 pixels wide that do not."""
    ahead = np.cumsum(rng.uniform(0.3, 0.8, size=14))
    noise = gaussian_filter(rng.normal(size=(14, 120, 140)), (0, 2, 2))
    stripes = 128 + 60 * np.sin(2 * np.pi * np.arange(140) / 48)
    frames = np.clip(stripes + 40 * noise / noise.std(), 0, 255).round().astype(np.uint8)
    sweep = wide_sweep(frames, ahead)
    grid = grid_on(sweep, (20.0, 20.0, 0.1), (40, 60, 20), (1.0, 1.0, 0.25))
    start, rise = asked_rule(sweep, grid)
    assert 1.5 < start + rise < 3.5
    c = positions_on(sweep, grid)[..., 0]
    truth = 128 + 60 * np.sin(2 * np.pi * c / 48)
    told, path = predicted(sweep, grid)[0], voxelwise(sweep, grid, method="path")[0]
    both = np.isfinite(told) & np.isfinite(path)
    assert np.abs(told - truth)[both].mean() < 0.6 * np.abs(path - truth)[both].mean()


def test_frames_that_are_not_valid_are_never_looked_at(rng):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    frames, poses = sweep.frames.copy(), sweep.pr_M_p.copy()
    frames[~sweep.valid], poses[~sweep.valid] = 255 - frames[~sweep.valid], np.nan
    other = replace(sweep, frames=frames, pr_M_p=poses)
    assert [x.tobytes() for x in predicted(other, grid)] == [x.tobytes() for x in predicted(sweep, grid)]
    kept = sweep.valid
    fewer = Sweep(
        sweep.frames[kept],
        sweep.time_s[kept],
        sweep.pr_M_p[kept],
        sweep.sector,
        np.ones(kept.sum(), dtype=bool),
    )
    assert [x.tobytes() for x in predicted(fewer, grid)] == [x.tobytes() for x in predicted(sweep, grid)]


def test_two_frames_have_none_to_hold_out_and_tell_the_path(rng):
    sweep = straight_sweep(
        rng.integers(0, 256, size=(2, *small_sector().shape), dtype=np.uint8), np.array([0, 2.0])
    )
    grid = grid_on(sweep, (3.7, 9.4, 0.05), (24, 15, 13), (0.43, 0.6, 0.16))
    told, path = predicted(sweep, grid)[0], voxelwise(sweep, grid, method="path")[0]
    assert np.isfinite(told).any()
    assert np.allclose(told, path, rtol=0, atol=1e-4, equal_nan=True)


# ---- the rest of the contract -----------------------------------------------------------------------------


def test_the_result_is_the_same_for_any_number_of_threads_and_progress_is_told(rng):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep, (35, 50, 40))
    one = predicted(sweep, grid, radius_mm=1.2, threads=1)
    assert np.isfinite(one[0]).any()
    for threads in (2, 3, 7):
        calls: list[tuple[int, int]] = []
        many = predicted(sweep, grid, radius_mm=1.2, threads=threads, progress=lambda *at: calls.append(at))  # noqa: B023
        assert [x.tobytes() for x in many] == [x.tobytes() for x in one]
        assert calls == [(n, 12) for n in range(1, 13)]


def test_moving_everything_rigidly_changes_no_value(rng):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    move = pose_from(Rotation.from_rotvec([0.4, -1.1, 0.3]), [100.0, -40.0, 7.0])
    still, _ = predicted(sweep, grid)
    moved, _ = predicted(
        replace(sweep, pr_M_p=move @ sweep.pr_M_p), replace(grid, pr_M_d=compose(move, grid.pr_M_d))
    )
    assert np.isclose(moved, still, atol=1e-3, equal_nan=True).mean() > 0.999


@pytest.mark.parametrize("radius_mm", [0.4, 1.7])
def test_it_reaches_where_the_path_reaches_and_nothing_beyond_the_ends(rng, radius_mm):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    told, path = (
        predicted(sweep, grid, radius_mm=radius_mm),
        voxelwise(sweep, grid, method="path", radius_mm=radius_mm),
    )
    assert 0.05 < np.isfinite(path[0]).mean() < 0.9
    assert np.array_equal(np.isfinite(told[0]), np.isfinite(path[0]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"radius_mm": 0.05}, "radius_mm is 0.05; expected at least 0.205, half a voxel"),
        ({"radius_mm": np.nan}, "radius_mm is nan; expected at least"),
        ({"threads": 0}, "threads is 0; expected at least 1"),
    ],
)
def test_a_wrong_request_is_a_sentence(rng, options, sentence):
    sweep = hand_sweep(rng)
    with pytest.raises(ValueError, match=sentence):
        predicted(sweep, oblique_grid(sweep), **options)


def test_a_sweep_without_a_path_or_with_a_broken_pose_is_a_sentence(rng):
    sweep = hand_sweep(rng)
    grid = oblique_grid(sweep)
    with pytest.raises(ValueError, match=r"has 1 valid frame\(s\); expected at least one"):
        predicted(replace(sweep, valid=np.arange(14) == 3), grid)
    poses = sweep.pr_M_p.copy()
    poses[5, 1, 3] = np.nan
    with pytest.raises(ValueError, match="pr_M_p of frame 5 is not finite or flat"):
        predicted(replace(sweep, pr_M_p=poses), grid)
