"""Closest points on triangles against brute force, on meshes that are not kind."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from navkit import phantoms
from navkit.geometry import fit_rigid, transform_points
from navkit.registration import Cloud, Surface, closest_points, cloud_normals

Long = np.longdouble


def on_edge(p, a, b):
    """Nearest points of edges (m, 3) to points (n, 1, 3)."""
    along = b - a
    square = (along**2).sum(-1)
    t = ((p - a) * along).sum(-1) / np.where(square > 0, square, 1)
    return a + t.clip(0, 1)[..., None] * along


def brute_force(points, vertices, faces):
    """Distance from every point to every triangle, (n, m): to the foot on its plane, or to its edges."""
    p = np.asarray(points, dtype=Long)[:, None]
    a, b, c = np.moveaxis(np.asarray(vertices, dtype=Long)[faces], 1, 0)
    normal = np.cross(b - a, c - a)
    parts = [(np.cross(q - p, r - p) * normal).sum(-1) for q, r in ((b, c), (c, a), (a, b))]
    parts = np.stack(parts, axis=-1).clip(0) + Long(1e-300)
    parts /= parts.sum(
        axis=-1, keepdims=True
    )  # of a foot that is not inside, some other point of the triangle
    foot = parts[..., :1] * a + parts[..., 1:2] * b + parts[..., 2:] * c
    candidates = [foot, on_edge(p, a, b), on_edge(p, b, c), on_edge(p, c, a)]
    return np.min([np.sqrt(((p - q) ** 2).sum(-1)) for q in candidates], axis=0)


def unkind_mesh(rng, *, at=(12.0, -40.0, 95.0)):
    """Random triangles that cut each other, needles, and triangles that are an edge or a point."""
    vertices = rng.normal(size=(60, 3)) * [30, 20, 12]
    faces = rng.integers(60, size=(90, 3))
    a, b = vertices[rng.integers(60, size=(2, 12))]
    across = rng.normal(size=(12, 3))
    heights = np.array([0, 0, 1e-15, 1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 1, 5])
    third = (0.3 * a + 0.7 * b) + heights[:, None] * across
    needles = 60 + np.arange(36).reshape(3, 12).T
    points = np.repeat(rng.integers(60, size=(4, 1)), 3, axis=1)
    edges = np.repeat(rng.integers(60, size=(6, 2)), [1, 2], axis=1)
    twice = faces[:5, [1, 2, 0]]
    vertices = np.concatenate([vertices, a, b, third]) + at
    return vertices, np.concatenate([faces, needles, needles[:, [2, 0, 1]], points, edges, twice])


@pytest.mark.parametrize("seed", range(6))
def test_closest_points_are_those_of_brute_force_also_on_degenerate_triangles(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = unkind_mesh(rng)
    share = rng.dirichlet([1, 1, 1], size=len(faces))
    on = np.einsum("nk,nkj->nj", share, vertices[faces])
    middle = vertices[faces][:, :2].mean(axis=1)
    wide = vertices[:60].mean(axis=0) + rng.normal(size=(300, 3)) * [60, 40, 30]
    points = np.concatenate([wide, on, on + 1e-3 * rng.normal(size=on.shape), middle, vertices])
    closest, distance, face = closest_points(points, Surface(vertices, faces))
    every = brute_force(points, vertices, faces)
    np.testing.assert_allclose(distance, every.min(axis=1).astype(float), atol=1e-9, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), distance, atol=1e-12)
    np.testing.assert_allclose(every[np.arange(len(points)), face].astype(float), distance, atol=1e-9, rtol=0)
    on_its_face = [brute_force([q], vertices, faces[[k]])[0, 0] for q, k in zip(closest, face, strict=True)]
    assert max(on_its_face) < 1e-9
    # what a search among the corners would answer is far off
    assert np.mean(cKDTree(vertices[np.unique(faces)]).query(points)[0] > distance + 1) > 0.5


def test_one_triangle_of_each_degenerate_kind_alone():
    a, b = np.array([3.0, 1, 2]), np.array([13.0, 1, 2])
    mid = [8.0, 1, 2]
    cases = {(0, 1, 2): 4.0, (2, 0, 1): 4.0, (1, 2, 0): 4.0, (0, 0, 1): 4.0, (1, 0, 1): 4.0}
    for face, expected in cases.items():
        closest, distance, _ = closest_points([[6, 5, 2]], Surface([a, b, mid], [face]))
        np.testing.assert_allclose(closest, [[6, 1, 2]], atol=1e-12)
        assert distance[0] == pytest.approx(expected, abs=1e-12)
    closest, distance, _ = closest_points([[6, 5, 2]], Surface([a, b, mid], [(2, 2, 2)]))
    np.testing.assert_array_equal(closest, [mid])
    assert distance[0] == pytest.approx(np.sqrt(20), abs=1e-12)


def test_the_obtuse_corner_where_an_edge_owns_what_lies_beyond_both():
    """Beyond the corner opposite to the longest edge, either of the other edges may be the nearest."""
    vertices = np.array([[0.0, 0, 0], [10, 0, 0], [4, 1, 0]])
    x, y = np.meshgrid(np.linspace(-3, 14, 60), np.linspace(-3, 9, 50))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.7)], axis=1)
    for turned in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
        distance = closest_points(points, Surface(vertices, [turned]))[1]
        np.testing.assert_allclose(
            distance, brute_force(points, vertices, np.array([turned]))[:, 0].astype(float)
        )


def test_far_from_the_origin_and_at_any_size(rng):
    vertices, faces = unkind_mesh(rng, at=(0, 0, 0))
    points = rng.normal(size=(200, 3)) * 40
    distance = closest_points(points, Surface(vertices, faces))[1]
    for size, at in ((1.0, 3e5), (1e-3, 0.0), (1e4, 0.0)):
        moved = closest_points(points * size + at, Surface(vertices * size + at, faces))[1]
        np.testing.assert_allclose(moved, distance * size, rtol=1e-9, atol=1e-9)


def test_the_answer_is_the_same_for_any_number_of_threads(rng):
    surface = Surface(*unkind_mesh(rng))
    points = rng.normal(size=(7001, 3)) * 50
    one, two, three = (closest_points(points, surface, threads=k) for k in (1, 2, 3))
    for a, b, c in zip(one, two, three, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


def test_a_mesh_of_a_phantom_has_outward_normals_and_small_distances(rng):
    ball = phantoms.ellipsoid((11, -7, 40), (20, 30, 25))
    surface = Surface(*phantoms.surface_mesh(ball, spacing_mm=2.0))
    points = np.array([11, -7, 40]) + rng.normal(size=(500, 3)) * 30
    closest, distance, face = closest_points(points, surface)
    near = np.abs(ball(closest))
    assert near.max() < 0.1  # the chords of edges of 2 mm
    outside = ((points - closest) * surface.normals[face]).sum(axis=1)
    np.testing.assert_array_equal(outside[distance > 0.2] > 0, ball(points)[distance > 0.2] > 0)
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-12)


def test_a_triangle_without_an_area_has_no_normal(rng):
    corners = [[0, 0, 0], [10, 0, 0], [4, 0, 0], [0, 5, 0]]
    normals = Surface(corners, [[0, 1, 3], [0, 1, 2], [1, 1, 3], [2, 2, 2], [0, 3, 1]]).normals
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, -1]], atol=1e-15)
    ends = rng.normal(size=(2, 50, 3)) * 20 + 100
    between = ends[0] + rng.random((50, 1)) * (ends[1] - ends[0])  # on the line but for rounding
    flat = Surface(np.concatenate([*ends, between]), np.arange(150).reshape(3, 50).T)
    assert not flat.normals.any()


def test_a_cloud_is_searched_the_same_way(rng):
    cloud = rng.normal(size=(3000, 3)) * [40, 10, 25] + 7
    cloud[100:110] = cloud[100]
    points = rng.normal(size=(4500, 3)) * 40
    closest, distance, which = closest_points(points, Cloud(cloud))
    expected, _ = cKDTree(cloud).query(points)
    np.testing.assert_allclose(distance, expected, rtol=1e-12)
    np.testing.assert_array_equal(closest, cloud[which])


def test_normals_of_a_cloud_are_those_of_its_least_spread(rng):
    cloud = rng.normal(size=(700, 3)) * [40, 30, 20] + [5, 300, -80]
    own = cloud_normals(cloud, neighbours=9)
    near = cloud[cKDTree(cloud).query(cloud, k=9)[1]]
    arms = near - near.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.swapaxes(arms, 1, 2) @ arms)
    clear = values[:, 0] < 0.7 * values[:, 1]
    assert clear.sum() > 400
    agree = np.abs((own * vectors[:, :, 0]).sum(axis=1))
    np.testing.assert_allclose(agree[clear], 1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1, atol=1e-12)
    assert cloud_normals(cloud, threads=1).tobytes() == cloud_normals(cloud, threads=2).tobytes()


def test_points_on_a_line_have_no_normal_and_on_a_sphere_radial_ones(rng):
    assert not cloud_normals(np.outer(np.arange(20.0), [1, 2, 3]) + 5).any()
    radial = rng.normal(size=(4000, 3))
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    cosine = np.abs((cloud_normals(50 * radial + [3, 4, 500]) * radial).sum(axis=1))
    angle = np.arccos(cosine.clip(0, 1))
    assert np.degrees(np.sqrt((angle**2).mean())) < 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Surface(np.zeros((3, 5)), [[0, 1, 2]]), r"vertices has shape \(3, 5\).*in columns"),
        (lambda: Surface(np.eye(3), [[3, 0, 1, 2]]), r"\(1, 4\).*number of corners"),
        (lambda: Surface(np.eye(3), [[0.0, 1, 2]]), r"float64; expected \(m, 3\) whole"),
        (lambda: Surface(np.eye(3), [[1, 2, 3]]), "1 to 3; expected 0 to 2. Do they count from 1"),
        (lambda: Surface(np.eye(3), [[-1, 0, 1]]), "-1 to 1; expected 0 to 2"),
        (lambda: Surface(np.eye(3), np.zeros((0, 3), int)), r"\(0, 3\)"),
        (lambda: closest_points(np.zeros((3, 9)), Surface(np.eye(3), [[0, 1, 2]])), "in columns"),
        (lambda: closest_points([[0, 0, np.nan]], Cloud(np.eye(3))), "expected finite"),
        (lambda: closest_points(np.eye(3), np.eye(3)), "surface is a ndarray; expected a Surface or a Cloud"),
        (lambda: Cloud(np.eye(3), np.ones((2, 3))), "2 normals for 3 points"),
        (lambda: cloud_normals(np.eye(3)), "neighbours is 10; expected 3 to 3"),
        (lambda: cloud_normals(np.eye(3), neighbours=2), "neighbours is 2"),
    ],
)
def test_wrong_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- a real recording -------------------------------------------------------------------------------


def test_the_scan_of_the_pelvis_lies_off_the_bone_that_its_fiducials_fit(navkit_data):
    import pyvista as pv

    folder = navkit_data / "ucl" / "pelvis"
    mesh = pv.read(folder / "pelvis_cropped_decimated.vtk")
    surface = Surface(mesh.points, mesh.faces.reshape(-1, 4)[:, 1:])
    tracker = np.loadtxt(folder / "Tracker_Fiducial_Markers.txt")
    fit = fit_rigid(tracker, np.loadtxt(folder / "pelvis_cropped_ct_fiducial_markers.txt"))
    scan = transform_points(fit.matrix, np.loadtxt(folder / "Tracker_Surface_Scan.txt"))
    distance = closest_points(scan, surface)[1]
    assert fit.fre_rms_mm == pytest.approx(0.428, abs=5e-4)
    assert distance.mean() == pytest.approx(5.702, abs=1e-3)
    assert cKDTree(surface.vertices).query(scan)[0].mean() == pytest.approx(6.182, abs=1e-3)
