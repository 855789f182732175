"""CT-like and MR-like pictures show the phantom, where they say, with the noise that they say."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from navkit.geometry import inverse, pose_from, transform_points
from navkit.phantoms import (
    TISSUES,
    Part,
    Phantom,
    _pictures,
    box,
    ct_like,
    ellipsoids_in_tissue,
    labels_like,
    mr_like,
    sphere,
)

OBLIQUE = pose_from(Rotation.from_rotvec([0.25, -0.4, 0.6]), [7.0, -11, 4])
SPACING = np.array([0.9, 1.3, 2.1])


def test_a_voxel_is_the_label_of_the_point_that_it_maps_to(monkeypatch):
    monkeypatch.setattr(_pictures, "SLAB", 20_000)  # more than one slab, the last one not full
    phantom = ellipsoids_in_tissue()
    picture = labels_like(phantom, SPACING, d_M_i=OBLIQUE)
    assert np.array_equal(picture.direction, OBLIQUE[:3, :3])
    assert np.array_equal(picture.spacing_mm, SPACING)
    z, y, x = np.indices(picture.values.shape)
    # SimpleITK's rule
    points = picture.origin_mm + (np.stack([x, y, z], axis=-1) * SPACING) @ picture.direction.T
    assert np.array_equal(picture.values, phantom.labels(points))
    assert set(np.unique(picture.values)) == {0, 1, 2, 3}
    assert transform_points(picture.d_M_index, [5, 3, 2]) == pytest.approx(points[2, 3, 5])


def test_the_oblique_grid_covers_the_box_just_so_at_multiples_of_the_spacing():
    phantom = ellipsoids_in_tissue()
    picture = labels_like(phantom, SPACING, d_M_i=OBLIQUE)
    corners = np.array([[x, y, z] for x in (0, 60) for y in (0, 60) for z in (0, 50.0)])
    index = transform_points(np.linalg.inv(picture.d_M_index), corners)
    size = np.array(picture.values.shape[::-1])
    assert (index.min(axis=0) > -1e-6).all()
    assert (index.min(axis=0) < 1).all()
    assert (index.max(axis=0) < size - 1 + 1e-6).all()
    assert (index.max(axis=0) > size - 2).all()
    steps = transform_points(inverse(OBLIQUE), picture.origin_mm) / SPACING
    assert steps == pytest.approx(np.round(steps), abs=1e-9)


def test_without_a_pose_the_grid_is_that_of_voxels():
    phantom = ellipsoids_in_tissue()
    picture, grid = labels_like(phantom, SPACING), phantom.voxels(SPACING)
    assert np.array_equal(picture.values, grid.labels)
    assert np.array_equal(picture.origin_mm, grid.origin_mm)
    assert np.array_equal(picture.direction, np.eye(3))


def test_without_noise_and_blur_the_values_are_the_tissues():
    phantom = ellipsoids_in_tissue()
    labels = labels_like(phantom, SPACING, d_M_i=OBLIQUE).values.astype(int)
    ct = ct_like(phantom, SPACING, d_M_i=OBLIQUE, blur=0)
    mr = mr_like(phantom, SPACING, d_M_i=OBLIQUE, blur=0)
    assert ct.values.dtype == mr.values.dtype == np.float32
    assert np.array_equal(ct.values, np.array([t.hounsfield for t in phantom.tissues])[labels])
    assert mr.values == pytest.approx(1000 * np.array([t.mr for t in phantom.tissues])[labels])
    assert np.array_equal(ct.origin_mm, labels_like(phantom, SPACING, d_M_i=OBLIQUE).origin_mm)


def test_partial_volume_is_a_smooth_step_and_keeps_the_amount():
    half = Phantom("half", (Part("bone", box((-9, -99, -99), (20.4, 99, 99)), TISSUES["bone"]),))
    spacing = (1.7, 9.0, 9.0)
    x = 1.7 * np.arange(59)
    ct = ct_like(half, spacing, blur=0.8).values[4, 4]
    # the face lies at 20.4 mm, on a voxel's middle that counts as outside: half a voxel lower on the grid
    assert ct == pytest.approx(1100 * ndtr((20.4 - 0.85 - x) / (0.8 * 1.7)), abs=25)
    ball = Phantom("ball", (Part("ball", sphere((48, 51, 47), 17), TISSUES["bone"]),))
    sharp, smooth = (ct_like(ball, (1.5, 2, 3), blur=b).values.sum(dtype=float) for b in (0, 0.7))
    assert smooth == pytest.approx(sharp, rel=1e-3)


def test_ct_noise_is_white_gaussian_with_the_stated_deviation(rng):
    water = Phantom("water")
    ct = ct_like(water, (1.5, 1.9, 2.3), rng=rng, noise_hu=20.0).values.astype(float)
    assert ct.std() == pytest.approx(np.hypot(20, 12**-0.5), rel=0.01)
    assert ct.mean() == pytest.approx(0, abs=0.3)
    for axis in range(3):
        near = np.moveaxis(ct, axis, 0)
        assert abs(np.corrcoef(near[1:].ravel(), near[:-1].ravel())[0, 1]) < 0.02
    # trilinear interpolation at random places keeps 2/3 of the variance along each axis, 8/27 in all
    where = rng.uniform(0, np.array(ct.shape)[:, None] - 1, size=(3, 100_000))
    assert map_coordinates(ct, where, order=1).std() == pytest.approx(20 * np.sqrt(8 / 27), rel=0.02)


def test_mr_noise_is_rician_in_an_uneven_field(rng):
    two = Phantom("two", (Part("fat", box((-1, -1, 50), (101, 101, 101)), TISSUES["fat"]),), TISSUES["air"])
    mr = mr_like(two, 2.0, rng=rng, noise=12.0, bias=0.2, blur=0).values
    dark, bright = mr[:24], mr[26:]
    assert dark.mean() == pytest.approx(12 * np.sqrt(np.pi / 2), rel=0.01)
    assert dark.std() == pytest.approx(12 * np.sqrt(2 - np.pi / 2), rel=0.01)
    field = mr_like(two, 2.0, rng=np.random.default_rng(8), noise=0.0, bias=0.2, blur=0).values[26:] / 950
    assert field.std() > 0.01
    assert np.abs(field - 1).max() < 0.2 + 1e-5
    assert np.abs(np.diff(field, axis=1)).max() < 0.04
    # second differences along each axis are the noise's alone: 6 times its variance
    curved = np.diff(bright, n=2, axis=1)
    assert curved.std() == pytest.approx(12 * np.sqrt(6), rel=0.02)


def test_the_bias_field_reaches_its_bound_and_averages_to_1():
    even = Phantom("even", background=TISSUES["fat"])
    field = (
        mr_like(even, (2.0, 3, 4), rng=np.random.default_rng(5), noise=0.0, bias=0.25, blur=0).values / 950
    )
    assert np.abs(field - 1).max() == pytest.approx(0.25, abs=1e-4)
    assert field.mean() == pytest.approx(1, abs=1e-4)


def test_the_same_generator_gives_the_same_picture_and_another_another():
    phantom = ellipsoids_in_tissue()
    for make in (ct_like, mr_like):
        a, b, c = (make(phantom, 2.5, rng=np.random.default_rng(k)).values for k in (1, 1, 2))
        assert np.array_equal(a, b)
        assert (a != c).mean() > 0.5


def test_bad_grids_are_refused():
    phantom = ellipsoids_in_tissue()
    with pytest.raises(ValueError, match=r"spacing_mm is .* expected one or three numbers above 0"):
        ct_like(phantom, (1.0, 0.0, 2.0))
    with pytest.raises(ValueError, match="d_M_i"):
        mr_like(phantom, 2.0, d_M_i=np.diag([1, 1, 2.0, 1]))
