"""Voxel-based reconstruction: equal to a plain numpy twin, exact on linear fields, CustusX's own tests."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector
from test_reconstruction import differences, sphere_sweep
from test_wire_cross_real import CROSS_PR, DARK_PR, SEEN_PR, SPACING_MM, flipped

from navkit import files
from navkit.geometry import compose, pose_from, transform_points
from navkit.reconstruction import Grid, Volume, measure_wire_cross, output_grid
from navkit.reconstruction._voxelwise import METHODS, prepared, voxelwise
from navkit.ultrasound import Sweep

RULES = [
    ("vnn", {}),
    ("vnn2", {}),
    ("vnn2", {"plane_limit": 10}),
    ("dw", {}),
    ("dw", {"plane_limit": 1}),
    ("dw", {"plane_limit": 3}),
    ("anisotropic", {}),
    ("anisotropic", {"plane_limit": 4, "newness": 0.7, "brightness": 0.3}),
    ("anisotropic", {"newness": 0.0, "brightness": 0.0}),
    ("path", {}),
]


def crooked_sweep(rng: np.random.Generator, kind: str = "linear", n: int = 23) -> Sweep:
    """As `hand_sweep`, trembling so much that frames cross; sheared pixels and two frames not valid."""
    sweep = hand_sweep(rng, n=n, kind=kind)
    tremble = pose_from(
        Rotation.from_rotvec(rng.normal(scale=0.03, size=(n, 3))), rng.normal(scale=0.3, size=(n, 3))
    )
    middle = np.eye(4)
    middle[:3, 3] = sweep.pr_M_p[:, :3, 3].mean(axis=0)
    shear = np.eye(4)
    shear[0, 1] = 0.05
    pr_M_p = middle @ tremble @ np.linalg.inv(middle) @ sweep.pr_M_p @ shear
    return replace(sweep, pr_M_p=pr_M_p, valid=~np.isin(np.arange(n), (4, 11)))


def oblique_grid(sweep: Sweep, shape: tuple[int, int, int] = (21, 26, 37)) -> Grid:
    """Turned against the frames, unequal spacing, sides that no box divides, sticking out at one end."""
    turn = pose_from(Rotation.from_rotvec([0.5, -0.3, 0.9]), np.zeros(3))
    spacing = (0.41, 0.53, 0.62)
    rows, columns = sweep.sector.shape
    middle = transform_points(sweep.pr_M_p, [columns / 2, rows / 2, 0]).mean(axis=0)
    pr_M_d = turn.copy()
    pr_M_d[:3, 3] = middle - turn[:3, :3] @ (np.array(shape[::-1]) * spacing * [0.55, 0.5, 0.4])
    return Grid(shape, spacing, pr_M_d)


def points_of(grid: Grid) -> np.ndarray:
    k, j, i = np.indices(grid.shape)
    return transform_points(grid.pr_M_voxel(), np.stack([i, j, k], axis=-1).astype(float))


def feet(pr_M_p: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Foot (..., 2) of points on a frame, column first, and their signed distances, by least squares."""
    axes, offset = pr_M_p[:3, :2], points - pr_M_p[:3, 3]
    px = offset @ np.linalg.pinv(axes).T
    normal = np.cross(axes[:, 0], axes[:, 1])
    return px, offset @ (normal / np.linalg.norm(normal))


def sampled(frame: np.ndarray, mask: np.ndarray, px: np.ndarray, *, bilinear: bool) -> np.ndarray:
    """Pixels at positions; NaN where the nearest one is not in the mask."""
    padded, known = np.pad(frame.astype(float), 2), np.pad(mask, 2)
    limits = np.array(known.shape)[::-1] - 2

    def at(c: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, r = (np.clip(x + 2, 0, limit + 1).astype(int) for x, limit in ((c, limits[0]), (r, limits[1])))
        return padded[r, c], known[r, c]

    grey, inside = at(*np.moveaxis(np.floor(px + 0.5), -1, 0))
    if bilinear:
        low = np.floor(px)
        part = px - low
        total = share = 0.0
        for dc in (0, 1):
            for dr in (0, 1):
                value, there = at(low[..., 0] + dc, low[..., 1] + dr)
                w = np.abs(1 - dc - part[..., 0]) * np.abs(1 - dr - part[..., 1]) * there
                total, share = total + w * value, share + w
        grey = np.divide(total, share, out=np.zeros_like(grey), where=share > 0)
    return np.where(inside, grey, np.nan)


def naive(
    sweep: Sweep, grid: Grid, method: str, radius: float, *, plane_limit=None, newness=0.0, brightness=1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Every voxel against every frame, in plain numpy: the twin that the compiled search must equal."""
    points, mask = points_of(grid), sweep.sector.mask()
    used = np.flatnonzero(sweep.valid)
    px, signed = zip(*(feet(sweep.pr_M_p[n], points) for n in used), strict=True)
    if method == "path":
        best, values = np.full(grid.shape, np.inf), np.full(grid.shape, np.nan)
        weight = np.zeros(grid.shape)
        for a in range(len(used) - 1):
            p, q = signed[a], signed[a + 1]
            s = p / (p - q)
            between = (1 - s)[..., None] * px[a] + s[..., None] * px[a + 1]
            one, other = (sampled(sweep.frames[n], mask, between, bilinear=True) for n in used[a : a + 2])
            taken = (p * q <= 0) & (abs(p - q) <= 2 * radius) & (abs(p - q) < best) & (one >= 0)
            best[taken] = abs(p - q)[taken]
            values[taken] = ((1 - s) * one + s * other)[taken]
            weight[taken] = (1 / ((1 - s) ** 2 + s**2))[taken]
        return values, weight
    limit = plane_limit or {"vnn": 1, "vnn2": 2}.get(method, 10)
    grey = np.stack(
        [
            sampled(sweep.frames[n], mask, foot, bilinear=method == "dw")
            for n, foot in zip(used, px, strict=True)
        ]
    )
    distance = np.abs(np.stack(signed))
    distance[(distance > radius) | np.isnan(grey)] = np.inf
    nearest = np.argsort(distance, axis=0, kind="stable")[:limit]
    grey, distance = (np.take_along_axis(x, nearest, axis=0) for x in (grey, distance))
    there = np.isfinite(distance)
    found = np.maximum(there.sum(axis=0), 1)
    if method == "anisotropic":
        mean = np.where(there, grey, 0).sum(axis=0) / found
        variance = np.where(there, (grey - mean) ** 2, 0).sum(axis=0) / np.maximum(found - 1, 1)
        sigma = 32 / np.sqrt(np.clip(variance, 1, 1e7))
        w = np.exp(-(np.where(there, distance, 0) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
        w += newness * (nearest >= np.where(there, nearest, 0).sum(axis=0) / found - 1e-9)
        w += brightness * (grey >= mean - 1e-9)
    else:
        w = 1 / np.maximum(distance, 1e-3)
    w = np.where(there, w, 0)
    share = w.sum(axis=0)
    with np.errstate(invalid="ignore"):
        values = (w * np.where(there, grey, 0)).sum(axis=0) / share
        return values, np.where(share > 0, share**2 / (w**2).sum(axis=0), 0)


@pytest.mark.parametrize("kind", ["linear", "sector"])
@pytest.mark.parametrize(("method", "options"), RULES)
@pytest.mark.parametrize("radius_mm", [0.4, 1.7])
def test_every_method_equals_its_naive_twin(rng, kind, method, options, radius_mm):
    sweep = crooked_sweep(rng, kind)
    grid = oblique_grid(sweep)
    values, weight = voxelwise(sweep, grid, method=method, radius_mm=radius_mm, **options)
    expected, number = naive(sweep, grid, method, radius_mm, **options)
    assert values.dtype == weight.dtype == np.float32
    assert 0.05 < np.isfinite(expected).mean() < 0.9, "the case must have voxels with and without data"
    assert np.allclose(values, expected, rtol=0, atol=3e-5, equal_nan=True)
    assert np.allclose(weight, number, rtol=1e-5, atol=0)
    assert np.array_equal(weight == 0, np.isnan(values))


def test_the_nearest_frame_is_found_in_every_voxel_where_a_hill_climb_is_lost(rng):
    """Frames carry their number as grey value. A climb over the frame index from the neighbouring voxel's
    frame, as CustusX's and others do, stops at the first frame whose neighbours are farther."""
    sweep = crooked_sweep(rng, n=90)
    sweep = replace(sweep, frames=np.broadcast_to(np.arange(90, dtype=np.uint8)[:, None, None], (90, 27, 36)))
    grid = oblique_grid(sweep)
    values, _ = voxelwise(sweep, grid, method="vnn", radius_mm=1.0)
    expected, _ = naive(sweep, grid, "vnn", 1.0)
    assert np.array_equal(values, np.rint(expected), equal_nan=True)
    distance = np.abs(np.stack([feet(m, points_of(grid))[1] for m in sweep.pr_M_p[sweep.valid]]))
    climbed = np.full(grid.shape, len(distance) // 2)
    for _ in range(90):
        near = np.clip(climbed + np.array([-1, 0, 1])[:, None, None, None], 0, len(distance) - 1)
        step = np.take_along_axis(distance, near, axis=0).argmin(axis=0)
        climbed = np.take_along_axis(near, step[None], axis=0)[0]
    lost = np.take_along_axis(distance, climbed[None], axis=0)[0] > distance.min(axis=0)
    assert lost.mean() > 0.15


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_the_same_for_any_number_of_threads(rng, method):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep, (35, 50, 40))
    one = voxelwise(sweep, grid, method=method, radius_mm=1.2, threads=1)
    assert np.isfinite(one[0]).any()
    for threads in (2, 3, 7):
        many = voxelwise(sweep, grid, method=method, radius_mm=1.2, threads=threads)
        assert [x.tobytes() for x in many] == [x.tobytes() for x in one]


@pytest.mark.parametrize("method", METHODS)
def test_moving_everything_rigidly_changes_no_value(rng, method):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    move = pose_from(Rotation.from_rotvec([0.4, -1.1, 0.3]), [100.0, -40.0, 7.0])
    still, _ = voxelwise(sweep, grid, method=method, radius_mm=1.0)
    moved, _ = voxelwise(
        replace(sweep, pr_M_p=move @ sweep.pr_M_p),
        replace(grid, pr_M_d=compose(move, grid.pr_M_d)),
        method=method,
        radius_mm=1.0,
    )
    assert np.isclose(moved, still, atol=1e-3, equal_nan=True).mean() > 0.9999


def test_of_frames_in_the_same_place_the_earliest_is_taken(rng):
    sweep = crooked_sweep(rng)
    twice = replace(
        sweep,
        frames=np.concatenate([sweep.frames, 255 - sweep.frames]),
        pr_M_p=np.concatenate([sweep.pr_M_p] * 2),
        time_s=np.concatenate([sweep.time_s, sweep.time_s + 9]),
        valid=np.concatenate([sweep.valid] * 2),
    )
    grid = oblique_grid(sweep)
    once, _ = voxelwise(sweep, grid, method="vnn")
    assert np.array_equal(voxelwise(twice, grid, method="vnn")[0], once, equal_nan=True)
    mean, weight = voxelwise(twice, grid, method="vnn2")
    assert np.nanmax(np.abs(mean - 127.5)) < 1e-4, "both in the same place: the mean of grey and 255 - grey"
    assert np.allclose(weight[weight > 0], 2)


# ---- exact on fields, honest about noise -----------------------------------------------------------------


TURN = Rotation.from_euler("xyz", [25, -40, 10], degrees=True).as_matrix()


def straight_sweep(frames: np.ndarray, ahead_mm: np.ndarray, slip: tuple[float, float] = (0.0, 0.0)) -> Sweep:
    """Parallel frames `ahead_mm` along their normal, slipping by `slip` (y_t, z_t) for each mm ahead."""
    sector = small_sector()
    position = np.array([31.0, -12.0, 77.0]) + np.outer(ahead_mm, TURN @ [1.0, *slip])
    pr_M_p = pose_from(np.broadcast_to(TURN, (len(frames), 3, 3)), position) @ sector.t_M_p()
    n = len(frames)
    return Sweep(frames, np.arange(n) / 25.0, pr_M_p, sector, np.ones(n, dtype=bool))


def grid_on(sweep: Sweep, first: tuple[float, float, float], shape, step: tuple[float, float, float]) -> Grid:
    """Voxels along row, column (both in pixels) and ahead (mm) of the first frame, in this order."""
    width, height = sweep.sector.spacing_mm
    row, column, ahead = first
    origin = transform_points(sweep.pr_M_p[0], [column, row, 0.0]) + ahead * TURN[:, 0]
    axes = np.stack([TURN[:, 2], -TURN[:, 1], TURN[:, 0]], axis=1)
    return Grid(shape, (step[0] * height, step[1] * width, step[2]), pose_from(axes, origin))


def positions_on(sweep: Sweep, grid: Grid) -> np.ndarray:
    """Column, row on the first frame and mm ahead of it of every voxel."""
    offset = transform_points(np.linalg.inv(sweep.pr_M_p[0]), points_of(grid))
    return offset * [1, 1, -1]  # z_p looks back


@pytest.mark.parametrize(
    ("method", "options"), [("dw", {}), ("dw", {"plane_limit": 2}), ("path", {}), ("vnn2", {})]
)
def test_a_linear_field_is_exact_between_parallel_frames(method, options):
    """1 / distance over as many frames before as behind: the distances' signs cancel. VNN2's pixels are
    half a pixel off at most."""
    rows, columns = np.indices(small_sector().shape)
    field = np.array([3.0, 2.0, 4.0])  # per column, row and frame: whole numbers, so the frames are exact
    number = np.arange(16)
    frames = (3 * columns + 2 * rows + 4 * number[:, None, None]).astype(np.uint8)
    sweep = straight_sweep(frames, 0.47 * number)
    grid = grid_on(sweep, (2.3, 4.2, 4.1 * 0.47), (19, 22, 17), (1.17, 1.09, 0.159))
    values, _ = voxelwise(sweep, grid, method=method, **options)
    truth = positions_on(sweep, grid) @ (field / [1, 1, 0.47])
    inside = voxelwise(sweep, grid, method="dw", radius_mm=0.47)[1] > 0
    ahead = positions_on(sweep, grid)[..., 2] / 0.47
    assert 4 < ahead.min() < ahead.max() < 11, "five frames before and five behind"
    assert inside.mean() > 0.7
    miss = np.abs(values - truth)[inside & ~np.isnan(truth) & interior(sweep, grid)]
    assert len(miss) > 2000
    if method == "vnn2":
        assert 1.5 < miss.max() <= 2.5 + 1e-3
    else:
        assert miss.max() < 5e-3 if options.get("plane_limit") != 2 else miss.max() < 3e-5


def interior(sweep: Sweep, grid: Grid) -> np.ndarray:
    """Where all four neighbouring pixels are in the mask."""
    columns, rows = np.floor(np.moveaxis(positions_on(sweep, grid)[..., :2], -1, 0)).astype(int)
    mask = np.pad(sweep.sector.mask(), ((0, 9), (0, 9)))
    return (
        mask[rows, columns] & mask[rows + 1, columns] & mask[rows, columns + 1] & mask[rows + 1, columns + 1]
    )


def test_a_picture_that_slips_sideways_is_exact_along_the_path_and_smeared_at_right_angles(rng):
    """The same random picture in all frames, the probe slipping 0.9 mm for each mm ahead: what lies along
    the path is constant, what lies along the normal is not."""
    picture = rng.integers(0, 256, size=small_sector().shape, dtype=np.uint8)
    slip, ahead = (0.7, -0.55), np.array([0.0, 0.9, 2.0, 2.6, 3.9])
    sweep = straight_sweep(np.stack([picture] * 5), ahead, slip)
    grid = grid_on(sweep, (3.7, 9.4, 0.05), (24, 15, 13), (0.83, 1.2, 0.16))
    values, _ = voxelwise(sweep, grid, method="path", radius_mm=0.8)
    c, r, z = np.moveaxis(positions_on(sweep, grid), -1, 0)
    width, height = sweep.sector.spacing_mm
    along = np.stack([c + slip[0] * z / width, r - slip[1] * z / height], axis=-1)
    truth = sampled(picture, sweep.sector.mask(), along, bilinear=True)
    assert (~np.isnan(truth)).sum() > 2000
    assert np.allclose(values, truth, rtol=0, atol=3e-5, equal_nan=True)
    across, _ = voxelwise(sweep, grid, method="dw", plane_limit=2, radius_mm=0.8)
    assert np.nanmean(np.abs(across - truth)) > 20


def test_the_path_ends_with_the_frames_and_bridges_no_wider_gap_than_twice_the_radius():
    ahead = np.array([0.0, 1.0, 2.5, 3.0])
    sweep = straight_sweep(np.full((4, 27, 36), 9, dtype=np.uint8), ahead)
    grid = grid_on(sweep, (9.0, 12.0, -1.05), (55, 1, 1), (1.0, 1.0, 0.1))
    z = -1.05 + 0.1 * np.arange(55)
    for radius, expected in ((0.76, (z > 0) & (z < 3)), (0.74, (z > 0) & (z < 3) & ~((z > 1) & (z < 2.5)))):
        values, weight = voxelwise(sweep, grid, method="path", radius_mm=radius)
        assert np.array_equal(values[:, 0, 0] == 9, expected)
        assert np.array_equal(weight[:, 0, 0] > 0, expected)
    reached = voxelwise(sweep, grid, method="vnn", radius_mm=0.74)[1][:, 0, 0] > 0
    assert np.array_equal(reached, np.abs(z[:, None] - ahead).min(axis=1) < 0.74)


@pytest.mark.parametrize(
    ("method", "options"), [("vnn", {}), ("vnn2", {}), ("vnn2", {"plane_limit": 5}), ("dw", {}), ("path", {})]
)
def test_the_variance_of_noise_falls_as_the_weight_says(rng, method, options):
    """Independent noise in every pixel. Each voxel has its own pixels, half a pixel off for the bilinear
    methods, whose four equal shares divide the variance by another 4."""
    trials = []
    bilinear = method in ("dw", "path")
    ahead = np.array([0.0, 0.31, 0.5, 1.2, 1.5, 2.3])
    for _ in range(25):
        sweep = straight_sweep(rng.integers(0, 256, size=(6, *small_sector().shape), dtype=np.uint8), ahead)
        grid = grid_on(sweep, (4.5, 5.5, 0.87), (1, 12, 9), (2.0, 2.0, 1.0))
        if not bilinear:
            grid = grid_on(sweep, (4.1, 5.2, 0.87), (1, 12, 9), (2.0, 2.0, 1.0))
        values, weight = voxelwise(sweep, grid, method=method, radius_mm=1.5, **options)
        trials.append((values - 127.5) ** 2 * weight * (4 if bilinear else 1))
    ratio = np.stack(trials) / ((256**2 - 1) / 12)
    assert np.isfinite(ratio).all()
    assert np.mean(ratio) == pytest.approx(1.0, abs=4 * np.std(ratio) / np.sqrt(ratio.size))
    assert ratio.size == 2700


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_stays_constant_and_empty_stays_empty(rng, method):
    sweep = crooked_sweep(rng)
    sweep = replace(sweep, frames=np.full_like(sweep.frames, 77))
    values, weight = voxelwise(sweep, oblique_grid(sweep), method=method, radius_mm=0.9)
    assert np.nanmin(values) == np.nanmax(values) == 77
    assert np.array_equal(np.isnan(values), weight == 0)
    assert 0.1 < (weight > 0).mean() < 0.9


def test_a_frame_that_is_not_valid_is_used_by_nothing(rng):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    lost = np.where(sweep.valid[:, None, None], sweep.pr_M_p, np.nan)
    for method in METHODS:
        with_poses, without = (
            voxelwise(s, grid, method=method)[0] for s in (sweep, replace(sweep, pr_M_p=lost))
        )
        assert np.array_equal(with_poses, without, equal_nan=True)


# ---- CustusX's own synthetic tests (custusx.md section 7) ------------------------------------------------

CUSTUSX = [
    ("vnn", {}),
    ("vnn2", {"plane_limit": 8}),
    ("dw", {"plane_limit": 8}),
    ("anisotropic", {"plane_limit": 8, "newness": 0.0, "brightness": 0.0}),
    ("path", {}),
]


def compared(sweep: Sweep, spacing: float, method: str, **options) -> tuple[float, float, float]:
    """CustusX's comparer, see `differences`."""
    grid = output_grid(sweep, spacing_mm=spacing, orientation="reference", mask_reduction=0.0)
    got = np.nan_to_num(voxelwise(sweep, grid, method=method, radius_mm=10.0, **options)[0], nan=0.0)
    return differences(got, grid)


@pytest.mark.parametrize(("method", "options"), CUSTUSX)
def test_custusx_sphere(method, options):
    rms, centroid, mass = compared(
        sphere_sweep(planes=21, pixels=21, travel=1.0, angle_deg=0), 4.95, method, **options
    )
    assert rms < 20
    assert centroid < 1
    assert mass < 0.01


@pytest.mark.parametrize(("method", "options"), CUSTUSX)
def test_custusx_tilt(method, options):
    sweep = sphere_sweep(planes=40, pixels=150, travel=0.8, angle_deg=30)
    rms, centroid, mass = compared(sweep, 2.0, method, **options)
    assert rms < 30
    assert centroid < 2
    assert mass < 0.01


# ---- the real wire cross ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wires(navkit_data) -> Sweep:
    return files.read_acquisition(navkit_data / "custusx" / "angio_lab_256x192")


def cubes(sweep: Sweep, points_pr: np.ndarray, method: str, **options) -> list[np.ndarray]:
    """What a volume with CustusX's orientation and spacing holds within 2 voxels of some points."""
    pr_M_d = output_grid(sweep, spacing_mm=1.0).pr_M_d.copy()
    found = []
    for point in points_pr:
        pr_M_d[:3, 3] = point - 2 * SPACING_MM * pr_M_d[:3, :3].sum(axis=1)
        grid = Grid((5, 5, 5), (SPACING_MM,) * 3, pr_M_d.copy())
        found.append(voxelwise(sweep, grid, method=method, radius_mm=1.0, **options)[0])
    return found


@pytest.mark.parametrize(("method", "options"), CUSTUSX)
def test_the_cross_is_bright_and_the_water_dark_where_custusx_demands_it(wires, method, options):
    bright = [np.nanmax(cube) for cube in cubes(wires, CROSS_PR, method, **options)]
    dark = [np.nanmax(cube) for cube in cubes(wires, DARK_PR, method, **options)]
    assert min(bright) > 190
    # an average reaches 1 mm around, where there is a faint echo
    assert max(dark) <= {"vnn": 0, "path": 0.1}.get(method, 8)


@pytest.mark.parametrize("across", [True, False], ids=["mirrored", "upside down"])
@pytest.mark.parametrize(("method", "options"), CUSTUSX)
def test_a_flipped_picture_fails_the_same_test(wires, method, options, across):
    bright = [np.nanmax(cube) for cube in cubes(flipped(wires, across=across), CROSS_PR, method, **options)]
    assert sum(b > 190 for b in bright) <= 1


@pytest.mark.parametrize(("method", "options"), CUSTUSX)
def test_the_wires_meet_at_88_7_degrees(wires, method, options):
    pr_M_d = output_grid(wires, spacing_mm=1.0).pr_M_d.copy()
    pr_M_d[:3, 3] = SEEN_PR - 15 * pr_M_d[:3, :3].sum(axis=1)
    grid = Grid((101, 101, 101), (0.3, 0.3, 0.3), pr_M_d)
    values, weight = voxelwise(wires, grid, method=method, radius_mm=1.0, **options)
    volume = Volume(values, weight, np.zeros(grid.shape, dtype=bool), grid)
    found = measure_wire_cross(volume, around_pr=SEEN_PR, rng=np.random.default_rng(1))
    assert found.angle_deg == pytest.approx(88.7, abs=1.5)
    assert found.gap_mm == pytest.approx(0.12, abs=0.15)
    assert np.linalg.norm(found.cross_pr - SEEN_PR) < 0.6, "within what the eye tells"


# ---- the door --------------------------------------------------------------------------------------------


def test_progress_counts_every_row_of_blocks_once(rng):
    sweep = crooked_sweep(rng)
    told: list[tuple[int, int]] = []
    voxelwise(
        sweep, oblique_grid(sweep, (33, 18, 20)), method="vnn", threads=2, progress=lambda *t: told.append(t)
    )
    assert told == [(k, 6) for k in range(1, 7)]


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"method": "vnn3"}, "method is 'vnn3'; expected one of vnn, vnn2, dw, anisotropic, path"),
        ({"method": "dw", "radius_mm": 0.2}, r"radius_mm is 0\.2; expected at least 0\.205, half a voxel"),
        ({"method": "dw", "radius_mm": np.nan}, "radius_mm is nan; expected at least"),
        ({"method": "dw", "plane_limit": 0}, "plane_limit is 0; expected at least 1"),
        ({"method": "vnn", "plane_limit": 8}, "plane_limit is 8; expected 1 for method 'vnn'"),
        ({"method": "path", "plane_limit": 1}, "expected 2 for method 'path'"),
        ({"method": "anisotropic", "newness": -1.0}, "expected 0 or more of each"),
        ({"method": "vnn", "threads": 0}, "threads is 0; expected at least 1"),
    ],
)
def test_an_impossible_choice_is_a_sentence(rng, keywords, sentence):
    sweep = crooked_sweep(rng)
    with pytest.raises(ValueError, match=sentence):
        voxelwise(sweep, oblique_grid(sweep), **keywords)


def test_a_sweep_without_frames_or_poses_is_a_sentence(rng):
    sweep = crooked_sweep(rng)
    grid = oblique_grid(sweep)
    none = np.zeros(len(sweep), dtype=bool)
    with pytest.raises(ValueError, match=r"'hand' has 0 valid frame"):
        voxelwise(replace(sweep, valid=none), grid, method="vnn")
    alone = replace(sweep, valid=np.arange(len(sweep)) == 7)
    assert (voxelwise(alone, grid, method="dw")[1] > 0).any()
    with pytest.raises(ValueError, match=r"1 valid frame.* two for method 'path'"):
        voxelwise(alone, grid, method="path")
    for wrong in (np.nan, 0.0):
        pr_M_p = sweep.pr_M_p.copy()
        pr_M_p[6, :3, 0] = wrong
        with pytest.raises(ValueError, match=r"pr_M_p of frame 6 is not finite or flat \(1 such frames\)"):
            voxelwise(replace(sweep, pr_M_p=pr_M_p), grid, method="vnn")


def test_frames_on_disk_stored_upside_down_are_not_copied(rng, tmp_path):
    sweep = hand_sweep(rng)
    grid = output_grid(sweep, spacing_mm=0.8)
    stored = np.memmap(tmp_path / "frames", np.uint8, "w+", shape=sweep.frames.shape)
    stored[:] = sweep.frames[:, ::-1]
    on_disk = replace(
        sweep, frames=np.memmap(tmp_path / "frames", np.uint8, "r", shape=stored.shape)[:, ::-1]
    )
    seen = prepared(on_disk, grid, None, None, at_least=1)[0]
    assert np.shares_memory(seen, on_disk.frames)
    for one, other in zip(
        voxelwise(sweep, grid, method="vnn"), voxelwise(on_disk, grid, method="vnn"), strict=True
    ):
        assert one.tobytes() == other.tobytes()
