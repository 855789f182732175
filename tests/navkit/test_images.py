"""The door of image registration: every metric finds the way, wrong input is told; a simulated patient."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from navkit import datasets
from navkit.geometry import RAS_M_LPS, inverse, pose_from, transform_points
from navkit.reconstruction import Grid, Volume, output_grid, reconstruct
from navkit.registration import register_images

BLOBS = 40


def oblique(angles_deg, origin, spacing):
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True)
    return pose_from(turn, origin) @ np.diag([*spacing, 1.0])


def centred(angles_deg, middle, spacing, shape):
    """A grid of that shape (nz, ny, nx) whose middle lies there."""
    m = oblique(angles_deg, np.zeros(3), spacing)
    m[:3, 3] = middle - m[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return m


class Scene:
    """Blobs around the origin of a space f, to be looked at on any grid."""

    def __init__(self, rng):
        self.place = rng.uniform([-34, -26, -22], [34, 26, 22], size=(BLOBS, 3))
        self.width = rng.uniform(4, 9, size=BLOBS)
        self.height = rng.normal(size=BLOBS) * 100

    def at(self, points_f):
        value = np.zeros(points_f.shape[:-1])
        for place, width, height in zip(self.place, self.width, self.height, strict=True):
            value += height * np.exp(-((points_f - place) ** 2).sum(axis=-1) / (2 * width**2))
        return value

    def on(self, f_M_voxel, shape):
        k, j, i = np.indices(shape)
        return self.at(np.stack([i, j, k], -1) @ f_M_voxel[:3, :3].T + f_M_voxel[:3, 3])


TRUE = pose_from(Rotation.from_euler("xyz", [25, -40, 70], degrees=True), [120.0, -85.0, 40.0])
"""f_M_m"""


@pytest.fixture(scope="module")
def pair():
    """Fixed and moving on oblique grids of unequal sides, spacing and origin, part of fixed not known."""
    scene = Scene(np.random.default_rng(5))
    shape = (17, 23, 29)
    f_M_voxel = centred([10, 30, -20], [1.0, -2.0, 3.0], (2.1, 1.8, 2.6), shape)
    fixed = scene.on(f_M_voxel, shape)
    fixed[:, :4, :6] = np.nan
    shape = (35, 31, 42)
    seen_f_M_voxel = centred([-35, 15, 80], [4.0, 3.0, -2.0], (1.9, 2.7, 2.2), shape)
    moving = scene.on(seen_f_M_voxel, shape)
    return (fixed, f_M_voxel), (moving, inverse(TRUE) @ seen_f_M_voxel)


def off(rng, mm):
    """A pose near the truth whose mean error over the fixed picture is about `mm`."""
    turn, way = rng.normal(size=(2, 3))
    turn = Rotation.from_rotvec(0.5 * mm / 20 * turn / np.linalg.norm(turn))
    return pose_from(turn, 0.8 * mm * way / np.linalg.norm(way)) @ TRUE


POINTS_F = np.array([[15, 0, 0], [-14, 9, 3], [2, -12, 9], [0, 8, -13], [10, 10, 10], [-8, -8, 4.0]])


def miss(result):
    """Mean error in mm at places of the fixed picture."""
    return np.linalg.norm(
        result.to_fixed(transform_points(inverse(TRUE), POINTS_F)) - POINTS_F, axis=1
    ).mean()


@pytest.mark.parametrize(
    ("metric", "transform", "within_mm"),
    [
        ("lc2", "rigid", 0.1),
        ("ssc", "rigid", 0.3),
        ("mattes", "rigid", 0.4),
        ("correlation", "rigid", 0.3),
        ("mattes", "affine", 0.6),
        ("correlation", "affine", 0.6),
    ],
)
def test_every_metric_finds_the_pose_between_oblique_grids(rng, pair, metric, transform, within_mm):
    start = off(rng, 4.0)
    result = register_images(*pair, metric=metric, transform=transform, initial=start)
    assert_allclose(result.to_fixed([0.0, 0, 0]), result.matrix[:3, 3])
    assert miss(result) < within_mm
    assert result.after > result.before
    assert (result.metric, result.transform) == (metric, transform)
    assert 0.9 < result.overlap <= 1
    assert (result.loose_mm is None) == (metric in ("mattes", "correlation"))
    assert result.deformation is None
    if transform == "rigid":
        assert_allclose(result.matrix[:3, :3] @ result.matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_lc2_sees_through_a_contrast_turned_round_and_mattes_too(rng, pair):
    (fixed, f_M_voxel), moving = pair
    turned = (400 - 0.4 * fixed, f_M_voxel)
    start = off(rng, 3.0)
    assert miss(register_images(turned, moving, metric="lc2", initial=start)) < 0.1
    assert miss(register_images(turned, moving, metric="mattes", initial=start)) < 0.4


def test_volumes_and_pairs_of_arrays_give_the_same(rng, pair):
    (fixed, f_M_voxel), (moving, m_M_voxel) = pair
    volumes = []
    for values, m in pair:
        spacing = np.linalg.norm(m[:3, :3], axis=0)
        grid = Grid(values.shape, tuple(spacing), m @ np.diag([*(1 / spacing), 1.0]))
        volumes.append(
            Volume(values.astype(np.float32), np.ones(values.shape, np.uint32), np.isnan(values), grid)
        )
    start = off(rng, 2.0)
    one = register_images(*volumes, metric="lc2", initial=start)
    two = register_images((fixed, f_M_voxel), (moving, m_M_voxel), metric="lc2", initial=start)
    assert_allclose(one.matrix, two.matrix, atol=1e-4)
    assert not np.isfinite(fixed).all()  # arguments are as they were
    assert_array_equal(pair[0][0], fixed)


@pytest.mark.parametrize("metric", ["lc2", "ssc", "mattes"])
def test_the_same_each_time_and_for_any_number_of_threads(rng, pair, metric):
    start = off(rng, 3.0)
    options = {"metric": metric, "initial": start, "iterations": 12, "levels_mm": (4.0, 3.0)}
    options |= {"share": 0.4, "seed": 9} if metric == "mattes" else {"search_mm": 3.0}
    one = register_images(*pair, threads=1, **options)
    three = register_images(*pair, threads=3, **options)
    assert_array_equal(one.matrix, three.matrix)
    assert one.after == three.after
    if metric == "mattes":
        other = register_images(*pair, **{**options, "seed": 10})
        assert not np.array_equal(other.matrix, one.matrix)


def test_a_mask_hides_what_misleads(rng, pair):
    (fixed, f_M_voxel), moving = pair
    spoiled, mask = fixed.copy(), np.ones(fixed.shape, dtype=bool)
    spoiled[:7] = np.roll(spoiled[:7], 5, axis=2)  # a third of it shows what was 10 mm away
    mask[:7] = False
    start = off(rng, 2.0)
    for metric in ("lc2", "mattes"):
        got = register_images((spoiled, f_M_voxel), moving, metric=metric, initial=start, mask=mask)
        without = register_images((spoiled, f_M_voxel), moving, metric=metric, initial=start)
        assert miss(got) < 0.6
        assert miss(without) > 2 * miss(got)


def test_a_wider_search_comes_back_from_farther_away(pair):
    near, far = [], []
    for seed in range(4):
        start = off(np.random.default_rng(seed), 26.0)
        options = {"metric": "lc2", "initial": start, "levels_mm": (4.0,)}
        near.append(miss(register_images(*pair, search_mm=0, **options)))
        far.append(miss(register_images(*pair, search_mm=10, **options)))
    assert np.sum(np.array(far) < 0.3) > np.sum(np.array(near) < 0.3)


def test_progress_grows_to_the_end(rng, pair):
    for metric in ("lc2", "correlation"):
        told = []
        register_images(
            *pair,
            metric=metric,
            initial=off(rng, 2.0),
            iterations=15,
            progress=lambda done, most, told=told: told.append((done, most)),
        )
        done = [d for d, _ in told]
        assert {most for _, most in told} == {30}
        assert done == sorted(done)
        assert done[-1] == 30
        assert len(done) > 5


def bent(points):
    """Where a point of the fixed picture is seen, up to 4 mm away."""
    x, y, z = np.moveaxis(points, -1, 0)
    return points + np.stack([3 * np.sin(y / 14 + 0.4), 2.5 * np.cos(z / 13), 2 * np.sin(x / 16 - 0.3)], -1)


@pytest.mark.slow
def test_a_spline_finds_a_bend_and_its_inverse(pair):
    import SimpleITK as sitk

    _, (moving, m_M_voxel) = pair
    scene = Scene(np.random.default_rng(5))
    shape = (21, 23, 29)
    f_M_voxel = centred([10, 30, -20], [1.0, -2.0, 3.0], (2.1, 1.8, 2.0), shape)
    k, j, i = np.indices(shape)
    fixed = scene.at(bent(np.stack([i, j, k], -1) @ f_M_voxel[:3, :3].T + f_M_voxel[:3, 3]))
    result = register_images(
        (fixed, f_M_voxel),
        (moving, m_M_voxel),
        metric="correlation",
        transform="bspline",
        initial=TRUE,
        knots_mm=15.0,
        levels_mm=(3.0,),
        iterations=20,
    )
    assert_allclose(result.matrix, TRUE, atol=1e-9)
    assert result.after > result.before
    want = transform_points(inverse(TRUE), bent(POINTS_F))
    before = np.linalg.norm(transform_points(inverse(TRUE), POINTS_F) - want, axis=1)
    after = np.linalg.norm(result.to_moving(POINTS_F) - want, axis=1)
    assert before.mean() > 3
    assert after.mean() < 0.5
    assert_allclose(result.to_fixed(result.to_moving(POINTS_F)), POINTS_F, atol=1e-5)
    # the spline is SimpleITK's
    bend = result.deformation
    spline = sitk.BSplineTransform(3, 3)
    images = []
    spacing = np.linalg.norm(bend.f_M_knot[:3, :3], axis=0)
    for knots in bend.knots_mm:
        image = sitk.GetImageFromArray(knots)
        image.SetOrigin(bend.f_M_knot[:3, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((bend.f_M_knot[:3, :3] / spacing).ravel().tolist())
        images.append(image)
    spline = sitk.BSplineTransform(images, 3)
    beyond = transform_points(bend.f_M_knot, [[0.6, 2, 2], [2, 2, bend.knots_mm.shape[1] - 1.6]])
    for point in [*POINTS_F, [0.3, 500.0, 2.0], *beyond]:
        want = np.array(spline.TransformPoint([float(v) for v in point]))
        assert_allclose(point + bend.displacement(point), want, atol=1e-9)
    assert np.abs(bend.displacement(POINTS_F)).max() > 1


def small(**changes):
    """Pictures of 8 mm voxels whose arguments are all right but for what a test changes."""
    z, y, x = np.indices((10, 12, 14))
    values = np.exp(-((x - 6) ** 2 / 9 + (y - 5) ** 2 / 12 + (z - 5) ** 2 / 7)) * 100
    grid = np.diag([8.0, 8.0, 8.0, 1.0])
    grid[:3, 3] = [-150, -260, -30]
    whole = {"fixed": (values, grid), "moving": (values + 0.5, grid), "metric": "lc2", "levels_mm": (8.0,)}
    whole.update(changes)
    return whole


GRID = small()["fixed"][1]
VALUES = small()["fixed"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "nmi"}, "metric is 'nmi'; expected one of 'mattes', 'lc2'"),
        ({"transform": "similarity"}, "transform is 'similarity'; expected one of 'rigid'"),
        ({"transform": "bspline"}, "metric 'lc2' is only for transform 'rigid', got 'bspline'"),
        ({"metric": "mattes", "search_mm": 5}, "search_mm is only for 'lc2' and 'ssc'"),
        ({"search_mm": -1}, "search_mm is -1; expected 0 or more"),
        ({"edge": 0}, "edge is 0; expected 1 or more"),
        ({"iterations": 0}, "iterations is 0; expected 1 or more"),
        ({"share": 20}, "share is 20; .* A percentage"),
        ({"knots_mm": 0.0}, "knots_mm is 0.0; expected a positive number"),
        ({"levels_mm": (2, 4)}, "levels_mm is \\(2, 4\\); expected voxel sizes from coarse to fine"),
        ({"levels_mm": ()}, "levels_mm is \\(\\)"),
        ({"initial": np.eye(3)}, "initial has shape \\(3, 3\\); expected \\(4, 4\\)"),
        ({"initial": np.diag([-1.0, 1, 1, 1])}, "initial"),
        ({"metric": "mattes", "transform": "affine", "initial": np.diag([-1.0, 1, 1, 1])}, "no mirror"),
        ({"fixed": (VALUES[0], GRID)}, "fixed has shape \\(12, 14\\); expected \\(nz, ny, nx\\)"),
        ({"fixed": (np.full_like(VALUES, np.nan), GRID)}, "fixed has no voxel with data: all are NaN"),
        ({"moving": (np.full_like(VALUES, 3), GRID)}, "moving has the same value, 3, everywhere"),
        ({"moving": (VALUES, np.diag([8.0, 8, 8, 2]))}, "moving's matrix from voxels to mm is no affine"),
        ({"moving": (VALUES, GRID + np.eye(4, k=1) * 3)}, "moving's axes are not at right angles"),
        ({"mask": np.ones((14, 12, 10), dtype=bool)}, "mask is bool of shape .* Are its axes x, y, z"),
        ({"mask": np.ones((10, 12, 14))}, "mask is float64"),
        ({"mask": np.zeros((10, 12, 14), dtype=bool)}, "fixed has no voxel with data under the mask"),
        ({"moving": (VALUES, pose_from(np.eye(3), [0, 0, 300]) @ GRID)}, "lies 228 mm away .*\\+228 mm"),
        ({"moving": (VALUES, RAS_M_LPS @ GRID)}, "do not overlap: .* RAS for LPS"),
        ({"moving": (VALUES, np.diag([1e-3, 1e-3, 1e-3, 1]) @ GRID)}, "metres for millimetres"),
        ({"moving": (VALUES, pose_from(np.eye(3), [100.0, 0, 0]) @ GRID)}, "ml of data in common"),
    ],
)
def test_wrong_input_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        register_images(**small(**changes))


def test_the_small_pictures_are_right_without_changes():
    result = register_images(**small())
    assert_allclose(result.matrix, np.eye(4), atol=1e-5)
    assert_allclose(result.after, 1.0, atol=1e-9)


def test_one_picture_for_both_is_told():
    both = SimpleNamespace(values=VALUES, grid=SimpleNamespace(pr_M_voxel=lambda: GRID))
    with pytest.raises(ValueError, match="the same picture"):
        register_images(both, both)


def test_swapped_pictures_are_warned_of():
    holes = VALUES.copy()
    holes[:3, :4] = np.nan
    with pytest.warns(UserWarning, match="for 'lc2' fixed is the ultrasound"):
        register_images(**small(moving=(holes, GRID)))


@pytest.fixture(scope="module")
def neuro():
    """The simulated patient: ultrasound and MR, the pose between them, and landmarks in the room."""
    case, sweep = datasets.load("neuro_case"), datasets.load("neuro_sweep")
    ultrasound = reconstruct(sweep, output_grid(sweep, spacing_mm=1.0), method="splat", fill="convolution")
    r_M_voxel = np.eye(4)
    r_M_voxel[:3, :3] = case["direction"] * case["spacing_mm"]
    r_M_voxel[:3, 3] = case["origin_r"]
    pr_M_r = case["pr_M_r_true"]
    marks = transform_points(pr_M_r, np.concatenate([case["landmarks_r"], case["centrelines_r"]]))
    at = np.rint(ultrasound.grid.voxels(marks)).astype(int)
    inside = ((at >= 0) & (at < ultrasound.grid.shape[::-1])).all(axis=1)
    inside[inside] = np.isfinite(ultrasound.values[tuple(at[inside, ::-1].T)])
    marks = marks[inside]
    return ultrasound, (case["mr"], r_M_voxel), pr_M_r, marks[:: len(marks) // 15]


def landmark_start(rng, pr_M_r, marks_pr, mm):
    """A random rigid start whose mean landmark error is `mm`."""
    turn, way = rng.normal(size=(2, 3))
    turn *= rng.uniform() / 30 / np.linalg.norm(turn)
    way /= np.linalg.norm(way)
    centre, scale = marks_pr.mean(axis=0), 1.0
    for _ in range(30):
        spin = Rotation.from_rotvec(scale * turn)
        move = pose_from(spin, centre - spin.apply(centre) + scale * way)
        scale *= mm / np.linalg.norm(transform_points(move, marks_pr) - marks_pr, axis=1).mean()
    return move @ pr_M_r


def landmark_error(matrix, pr_M_r, marks_pr):
    there = transform_points(matrix @ inverse(pr_M_r), marks_pr)
    return np.linalg.norm(there - marks_pr, axis=1).mean()


@pytest.mark.slow
def test_mr_and_ultrasound_of_a_simulated_patient_by_lc2(neuro):
    ultrasound, mr, pr_M_r, marks = neuro
    assert len(marks) >= 12
    errors = []
    for seed in range(3):
        start = landmark_start(np.random.default_rng(seed), pr_M_r, marks, 5.4)
        assert_allclose(landmark_error(start, pr_M_r, marks), 5.4, atol=0.05)
        result = register_images(ultrasound, mr, metric="lc2", initial=start)
        assert result.after > result.before
        assert 0.3 < result.loose_mm < 3
        errors.append(landmark_error(result.matrix, pr_M_r, marks))
    assert np.mean(errors) < 1.0
    assert np.ptp(errors) < 0.1  # one top, from wherever it is climbed
