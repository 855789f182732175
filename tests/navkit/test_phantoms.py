"""Shapes are where they say, and a phantom on a grid is the phantom."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.phantoms import (
    TISSUES,
    Part,
    Phantom,
    blended,
    box,
    ellipsoid,
    ellipsoids_in_tissue,
    half_space,
    intersection,
    moved,
    rippled,
    sphere,
    thicker,
    tube,
    union,
    wall,
    without,
)

AXES = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
BENT = np.array([[0.0, 0, 0], [20, 5, -3], [31, 25, 4], [30, 44, 20]])


def anywhere(rng, n=4000):
    return rng.uniform([-40, -30, -25], [70, 80, 60], size=(n, 3))


def test_a_sphere_a_box_a_half_space_and_a_tube_are_exact(rng):
    p = anywhere(rng)
    assert sphere([3, -4, 5], 6)(p) == pytest.approx(np.linalg.norm(p - [3, -4, 5], axis=1) - 6)
    assert half_space([1, 2, 3], [0, 3, 4])(p) == pytest.approx((p - [1, 2, 3]) @ [0, 0.6, 0.8])
    low, high = np.array([-3.0, 4, 1]), np.array([12.0, 9, 30])
    nearest = np.clip(p, low, high)
    off = np.linalg.norm(p - nearest, axis=1)
    depth = np.minimum(p - low, high - p).min(axis=1)
    assert box(low, high)(p) == pytest.approx(np.where(off > 0, off, -depth))
    # a tube of one radius: the distance from many points of the line, less the radius
    share = np.linspace(0, 1, 1001)[:, None]
    steps = np.concatenate([a + share * (b - a) for a, b in pairwise(BENT)])
    far = np.min([np.linalg.norm(p[:300] - step, axis=1) for step in steps], axis=0)
    assert tube(BENT, 2.5)(p[:300]) == pytest.approx(far - 2.5, abs=0.02)


def test_an_ellipsoid_is_right_to_first_order_at_its_surface(rng):
    radii, centre = np.array([9.0, 4.0, 6.0]), np.array([3.0, -4, 5])
    shape = ellipsoid(centre, radii, AXES)
    on = rng.normal(size=(300, 3))
    on /= np.linalg.norm(on, axis=1)[:, None]
    surface = on * radii @ AXES.T + centre
    outward = (on / radii) @ AXES.T
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    for step in (-0.05, 0.05):
        assert shape(surface + step * outward) == pytest.approx(step, abs=2e-3)
    assert shape(centre) < 0


def test_a_tapered_tube_has_its_radii_at_its_ends():
    cone = tube([[0, 0, 0], [0, 0, 30.0]], [6.0, 3.0])
    assert cone([[6.0, 0, 0], [0, 4.5, 15], [3, 0, 30], [0, 0, 33]]) == pytest.approx([0, 0, 0, 0], abs=1e-9)


@pytest.mark.parametrize(
    "shape",
    [
        sphere([3, -4, 5], 6),
        ellipsoid([3, -4, 5], [9, 4, 6], AXES),
        box([-3, 4, 1], [12, 9, 30]),
        tube(BENT, [3, 2, 2, 1]),
        union(sphere([3, -4, 5], 6), tube(BENT, 2), box([20, 20, 20], [30, 22, 40])),
        intersection(sphere([3, -4, 5], 9), half_space([3, 0, 0], [1, 0, 0])),
        without(sphere([3, -4, 5], 9), sphere([5, -4, 5], 5)),
        blended(sphere([3, -4, 5], 6), sphere([12, -4, 5], 5), 4.0),
        thicker(tube(BENT, 2), 1.5),
        wall(sphere([3, -4, 5], 9), 2.0),
        rippled(sphere([3, -4, 5], 9), lambda p: 0.8 * np.sin(p[:, 0]), 0.8),
        moved(ellipsoid([3, -4, 5], [9, 4, 6]), pose_from(AXES, [5.0, 20, -8])),
    ],
)
def test_nothing_of_a_shape_is_outside_its_box_and_its_distance_grows_by_no_more_than_the_way(rng, shape):
    p = anywhere(rng, 20000)
    inside = p[shape(p) < 0]
    assert len(inside) > 5
    assert (inside >= shape.low - 1e-9).all()
    assert (inside <= shape.high + 1e-9).all()
    step = rng.normal(size=p.shape) * 0.05
    assert np.abs(shape(p + step) - shape(p)).max() < 2.0 * np.linalg.norm(step, axis=1).max()


def test_combinations_are_those_of_sets(rng):
    p = anywhere(rng, 20000)
    a, b, c = sphere([3, -4, 5], 12), box([5, -20, 0], [25, 3, 9]), tube(BENT, 4)
    ia, ib, ic = (s(p) < 0 for s in (a, b, c))
    assert np.array_equal(union(a, b, c)(p) < 0, ia | ib | ic)
    assert np.array_equal(intersection(a, b)(p) < 0, ia & ib)
    assert np.array_equal(without(a, b, c)(p) < 0, ia & ~ib & ~ic)
    assert union(a, b, c)(p) == pytest.approx(np.min([a(p), b(p), c(p)], axis=0))
    assert np.array_equal(wall(a, 2.0)(p) < 0, ia & (a(p) > -2))
    assert thicker(a, 1.5)(p) == pytest.approx(a(p) - 1.5)
    fillet = blended(a, b, 6.0)(p) < 0
    assert (fillet >= (ia | ib)).all()
    assert (fillet & ~ia & ~ib).any()


def test_a_moved_shape_is_the_shape_elsewhere(rng):
    q_M_d = pose_from(AXES, [5.0, 20, -8])
    shape = tube(BENT, [3, 2, 2, 1])
    p = anywhere(rng)
    there = p @ AXES.T + [5, 20, -8]
    assert moved(shape, q_M_d)(there) == pytest.approx(shape(p), abs=1e-9)


def test_later_parts_win_and_the_grid_is_the_phantom(rng):
    phantom = ellipsoids_in_tissue()
    bubble = Part("bubble", sphere([31, 22, 27], 3.0), TISSUES["air"])
    phantom = Phantom("more", (*phantom.parts, bubble), phantom.background, phantom.low, phantom.high)
    assert phantom.labels([[31, 22, 27], [31, 22, 31.5], [1, 1, 1]]).tolist() == [4, 1, 0]
    spacing = np.array([0.9, 1.3, 0.7])
    grid = phantom.voxels(spacing, low=[2, 3, 4], high=[50, 47, 45])
    assert grid.labels.shape == (59, 34, 54)
    assert grid.labels.max() == 4
    index = rng.integers(0, grid.labels.shape, size=(3000, 3))
    points = grid.origin_mm + index[:, ::-1] * spacing
    assert np.array_equal(grid.labels[tuple(index.T)], phantom.labels(points))
    assert [t.name for t in grid.tissues][-1] == "air"


def test_a_part_has_its_name(rng):
    phantom = ellipsoids_in_tissue()
    assert phantom.part("cyst").tissue.name == "water"
    with pytest.raises(KeyError, match="no part 'tumour' in ellipsoids_in_tissue; there are cyst, bright"):
        phantom.part("tumour")


@pytest.mark.parametrize(
    ("a", "b", "expected_db"), [("white matter", "csf", -29), ("liver", "fat", -20), ("muscle", "bone", -3.7)]
)
def test_the_impedances_reflect_as_the_literature_says(a, b, expected_db):
    """Intensity reflected at a right angle."""
    za, zb = TISSUES[a].impedance_mrayl, TISSUES[b].impedance_mrayl
    assert 20 * np.log10(abs(zb - za) / (zb + za)) == pytest.approx(expected_db, abs=1.0)
