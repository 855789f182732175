"""Iterative closest points, and what a shape tells of its pose: exact, under noise, on a recording."""

import re

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from navkit import phantoms
from navkit.geometry import cross, fit_rigid, inverse, orthonormalised, pose_from, transform_points
from navkit.registration import (
    Cloud,
    Surface,
    closest_points,
    cube_starts,
    icp,
    observability,
    perturbed_starts,
)

CENTRE = np.array([120.0, -310, 85])


def directions(rng, n):
    v = rng.normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def bumpy(v):
    """Points on a head-size surface with bumps and without any symmetry, in directions (n, 3)."""
    x, y, z = v.T
    waves = (
        0.1 * np.sin(3 * x + 1) * np.cos(4 * y) + 0.08 * np.sin(5 * z + 2 * x) + 0.06 * np.cos(6 * y * z + 1)
    )
    return CENTRE + 85 * (1 + waves)[:, None] * v * [1, 0.8, 1.15]


def bumpy_surface(n):
    k = np.arange(n) + 0.5
    polar, turn = np.arccos(1 - 2 * k / n), np.pi * (1 + np.sqrt(5)) * k
    v = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    return Surface(bumpy(v), ConvexHull(v).simplices)


def on_faces(rng, surface, n):
    """Points all over the triangles, more where there are more."""
    share = rng.dirichlet([1, 1, 1], size=n)
    return np.einsum("nk,nkj->nj", share, surface.vertices[rng.choice(surface.faces, n)])


def motion(angle_deg, shift, about=CENTRE, axis=(1, 2, -1.5)):
    axis = np.array(axis) / np.linalg.norm(axis)
    turn = Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix()
    return pose_from(turn, about - turn @ about + shift)


@pytest.fixture(scope="module")
def surface():
    return bumpy_surface(1500)


# -- exact ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["surface", "cloud"])
@pytest.mark.parametrize("method", ["plane", "point"])
def test_noiseless_points_find_their_place_exactly(rng, surface, method, target):
    goal = surface if target == "surface" else bumpy(directions(rng, 2500))
    points = (
        on_faces(rng, surface, 600) if target == "surface" else goal[rng.choice(2500, 600, replace=False)]
    )
    # creeping along a surface is not exact; back to the very points of a cloud it is
    far = motion(8, [4, -5, 3]) if method == "plane" else motion(1, [0.4, -0.5, 0.3])
    fit = icp(transform_points(far, points), goal, method=method, tolerance_mm=1e-11, max_iterations=3000)
    assert fit.converged
    atol = 1e-9 if method == "plane" or target == "cloud" else 1e-6
    np.testing.assert_allclose(fit.matrix @ far, np.eye(4), atol=atol * 300)
    np.testing.assert_allclose(transform_points(fit.matrix @ far, points), points, atol=atol)
    assert fit.rms_mm < atol
    assert fit.across_rms_mm < atol
    np.testing.assert_allclose(orthonormalised(fit.matrix), fit.matrix, atol=1e-15)


@pytest.mark.parametrize(("size", "at"), [(1.0, 1e5), (1e-3, 0.0), (1e3, 0.0)])
@pytest.mark.parametrize("method", ["plane", "point"])
def test_neither_the_place_nor_the_size_of_the_problem_matters(rng, surface, method, size, at):
    points = on_faces(rng, surface, 300) - CENTRE
    pushed = transform_points(motion(5, [2, -3, 1], about=np.zeros(3)), points)
    goal = Surface((surface.vertices - CENTRE) * size + at, surface.faces)
    fit = icp(pushed * size + at, goal, method=method, tolerance_mm=1e-6 * size, max_iterations=40)
    moved = (transform_points(fit.matrix, pushed * size + at) - at) / size
    if method == "plane":
        np.testing.assert_allclose(moved, points, atol=1e-6)
    else:  # it creeps; it has to do so in the same way
        one = icp(
            pushed, Surface(surface.vertices - CENTRE, surface.faces), tolerance_mm=1e-6, max_iterations=40
        )
        np.testing.assert_allclose(moved, transform_points(one.matrix, pushed), atol=1e-6)
        np.testing.assert_allclose(fit.history_mm, np.array(one.history_mm) * size, rtol=1e-6)


def test_a_cloud_may_bring_its_own_normals(rng):
    v, w = directions(rng, 3000), directions(rng, 500)
    axes = np.array([60, 45, 72])
    far = motion(3, [2, -1, 2])
    points = transform_points(far, CENTRE + w * axes)
    right = v / axes * rng.choice([-7.5, 1], size=(3000, 1))
    off = []
    for normals in (right, None, np.roll(right, 1, axis=1)):
        fit = icp(points, Cloud(CENTRE + v * axes, normals), method="plane")
        moved = transform_points(fit.matrix, points)
        off.append(np.abs(np.linalg.norm((moved - CENTRE) / axes, axis=1) - 1).mean())
    assert max(off[:2]) < 0.001
    assert off[2] > 20 * max(off[:2])


def test_a_small_exact_cloud_is_found_by_point(rng):
    goal = rng.normal(size=(9, 3)) * [60, 40, 25] + CENTRE
    far = motion(2, [0.5, 0.4, -0.6])
    fit = icp(transform_points(far, goal[:4]), goal, tolerance_mm=1e-12)
    np.testing.assert_allclose(transform_points(fit.matrix @ far, goal), goal, atol=1e-9)
    assert fit.observability is None
    assert np.isnan(fit.covariance).all()


# -- the loop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("trim", [1.0, 0.7])
def test_point_to_point_never_gets_worse(rng, surface, trim):
    points = on_faces(rng, surface, 400)
    points[:60] += rng.normal(size=(60, 3)) * 20
    fit = icp(transform_points(motion(25, [20, -25, 15]), points), surface, trim=trim)
    history = np.array(fit.history_mm)
    assert len(history) > 10
    assert (np.diff(history) <= 1e-12).all()
    assert history[0] > 2 * history[-1]


def test_point_to_plane_needs_a_tenth_of_the_iterations(rng, surface):
    points = transform_points(motion(8, [4, -5, 3]), on_faces(rng, surface, 500))
    plane, point = (
        icp(points, surface, method=m, tolerance_mm=1e-3, max_iterations=500) for m in ("plane", "point")
    )
    assert plane.iterations <= 10
    assert point.iterations > 10 * plane.iterations
    assert plane.rms_mm < point.rms_mm


def test_what_is_told_of_the_pairs(rng, surface):
    points = transform_points(
        motion(5, [2, -3, 1]), on_faces(rng, surface, 3000) + rng.normal(size=(3000, 3))
    )
    fit = icp(points, surface, method="plane", trim=0.75)
    assert fit.inliers.sum() == 2250
    assert fit.distance_mm[fit.inliers].max() <= fit.distance_mm[~fit.inliers].min()
    assert fit.mean_mm == pytest.approx(fit.distance_mm[fit.inliers].mean())
    assert fit.rms_mm == pytest.approx(np.sqrt((fit.distance_mm[fit.inliers] ** 2).mean()))
    assert fit.history_mm[-1] == fit.rms_mm
    moved = transform_points(fit.matrix, points)
    np.testing.assert_allclose(closest_points(moved, surface)[1], fit.distance_mm, atol=1e-9)
    fiducials = CENTRE + rng.normal(size=(4, 3)) * 100
    np.testing.assert_allclose(
        fit.moved_mm(fiducials), np.linalg.norm(transform_points(fit.matrix, fiducials) - fiducials, axis=1)
    )


def test_moved_mm_is_counted_from_where_it_began(rng, surface):
    far = motion(40, [200, -100, 50])
    points = transform_points(inverse(motion(1, [2, 0, 0]) @ far), on_faces(rng, surface, 300))
    fit = icp(points, surface, method="plane", initial=far)
    assert fit.moved_mm(points).max() < 8
    assert fit.rms_mm < 1e-2


def test_it_says_that_it_stopped_by_the_number_of_iterations(rng, surface):
    points = transform_points(motion(10, [4, -5, 3]), on_faces(rng, surface, 300))
    fit = icp(points, surface, max_iterations=5)
    assert not fit.converged
    assert fit.iterations == 5
    assert "stopped after 5 iterations, still moving" in fit.warnings[0]
    assert icp(points, surface, method="plane").converged


def test_trimming_leaves_out_what_has_no_partner(rng, surface):
    points = on_faces(rng, surface, 1000)
    points[700:] += directions(rng, 300) * 15 + [0, 0, 12]
    pushed = transform_points(motion(6, [3, -4, 2]), points)
    trimmed = icp(pushed, surface, method="plane", trim=0.65, tolerance_mm=1e-10)
    np.testing.assert_allclose(transform_points(trimmed.matrix, pushed[:700]), points[:700], atol=1e-8)
    assert trimmed.inliers[700:].mean() < 0.03
    everything = icp(pushed, surface, method="plane")
    assert np.abs(transform_points(everything.matrix, pushed[:700]) - points[:700]).max() > 2


def test_the_answer_is_the_same_for_any_number_of_threads(rng, surface):
    points = transform_points(
        motion(8, [4, -5, 3]), on_faces(rng, surface, 9000) + rng.normal(size=(9000, 3))
    )
    one, two = (icp(points, surface.vertices, method="plane", trim=0.9, threads=k) for k in (1, 2))
    assert one.matrix.tobytes() == two.matrix.tobytes()
    assert one.distance_mm.tobytes() == two.distance_mm.tobytes()


# -- many starts ------------------------------------------------------------------------------------


def test_a_start_among_the_rotations_of_a_cube_finds_any_orientation(rng, surface):
    points = on_faces(rng, surface, 400)
    far = motion(150, [30, -20, 10])
    alone = icp(transform_points(far, points), surface, method="plane")
    fit = icp(transform_points(far, points), surface, method="plane", starts=cube_starts(), tolerance_mm=1e-9)
    assert alone.rms_mm > 3
    np.testing.assert_allclose(transform_points(fit.matrix @ far, points), points, atol=1e-8)
    assert fit.starts == 25
    assert 1 <= fit.agreeing < 25
    assert "another start" not in " ".join(fit.warnings)


def test_a_start_turns_the_points_about_their_mean_and_shifts_them(rng, surface):
    points = on_faces(rng, surface, 300)
    far = motion(120, [150, -90, 60], axis=(1, 1, 3))
    pushed = transform_points(far, points)
    start = pose_from(far[:3, :3].T, points.mean(axis=0) - pushed.mean(axis=0))
    fit = icp(pushed, surface, method="plane", starts=[motion(30, [5, 6, 7]), start])
    np.testing.assert_allclose(transform_points(fit.initial, pushed), points, atol=1e-9)
    assert fit.moved_mm(pushed).max() < 1e-6
    assert (fit.starts, fit.agreeing) == (3, 1)


def test_starts_agree_where_the_basin_is_wide(rng, surface):
    near = perturbed_starts(8, angle_deg=10, shift_mm=5, rng=rng)
    points = transform_points(motion(3, [2, 1, -2]), on_faces(rng, surface, 300))
    assert icp(points, surface, method="plane", starts=near).agreeing == 9


def test_a_shape_that_fits_turned_by_180_deg_is_reported(rng):
    v = directions(rng, 4000)
    surface = CENTRE + 60 * v * [1, 0.7, 1.3]
    points = CENTRE + 60 * directions(rng, 400) * [1, 0.7, 1.3]
    fit = icp(points, surface, method="plane", starts=cube_starts())
    assert any("another start ends" in told and "fits as well" in told for told in fit.warnings)


def test_the_starts_are_what_they_say(rng):
    cube = cube_starts()
    turns = Rotation.from_matrix(cube[:, :3, :3])
    least = [(Rotation.random(rng=rng) * turns).magnitude().min() for _ in range(500)]
    assert np.degrees(max(least)) < 63
    assert np.degrees(max(least)) > 45
    some = perturbed_starts(400, angle_deg=20, shift_mm=7, rng=rng)
    angle = np.degrees(Rotation.from_matrix(some[:, :3, :3]).magnitude())
    shift = np.linalg.norm(some[:, :3, 3], axis=1)
    assert 19 < angle.max() < 20
    assert 6.5 < shift.max() < 7
    again = perturbed_starts(3, angle_deg=20, shift_mm=7, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(
        again, perturbed_starts(3, angle_deg=20, shift_mm=7, rng=np.random.default_rng(5))
    )


# -- what a shape tells -----------------------------------------------------------------------------

HELD = motion(70, [40, 25, -60], axis=(2, -1, 1))


def held(points, normals):
    return transform_points(HELD, points), normals @ HELD[:3, :3].T


def tube(rng, n, radius=9.0, half=40.0):
    turn = rng.uniform(0, 2 * np.pi, n)
    across = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    return CENTRE + radius * across + np.outer(rng.uniform(-half, half, n), [0, 0, 1]), across


def test_a_tube_leaves_a_slide_and_a_roll_about_its_axis(rng):
    points, normals = held(*tube(rng, 300))
    told = observability(points, normals)
    slide, roll = told.free
    axis = HELD[:3, 2]
    for free in (slide, roll):
        assert abs(free.axis @ axis) == pytest.approx(1, abs=1e-9)
    off = roll.through - transform_points(HELD, CENTRE)
    np.testing.assert_allclose(np.cross(off, axis), 0, atol=1e-9)
    assert (slide.pitch_mm, roll.pitch_mm) == (np.inf, 0)
    assert (told.seen[:2] < 1e-7).all()
    assert (told.seen[2:] > 0.5).all()
    signed = "({:.2f}, {:.2f}, {:.2f})".format(*np.round(slide.axis, 2) + 0.0)
    assert told.words.startswith(f"slides along {signed}; rolls about {signed} through (")


def test_a_sphere_leaves_every_turn_about_its_centre(rng):
    v = directions(rng, 800)
    for part in (v, v[v[:, 2] > 0.4]):
        points, normals = held(CENTRE + 30 * part, part)
        told = observability(points, normals)
        assert [free.words[:6] for free in told.free] == ["rolls "] * 3
        np.testing.assert_allclose([free.axis for free in told.free], np.eye(3), atol=1e-9)
        for free in told.free:
            off = free.through - transform_points(HELD, CENTRE)
            np.testing.assert_allclose(np.cross(off, free.axis), 0, atol=1e-6)


def test_a_plane_leaves_two_slides_and_a_turn(rng):
    flat = rng.uniform(-1, 1, (200, 3)) * [40, 25, 0] + CENTRE
    told = observability(*held(flat, np.tile([0, 0, 1.0], (200, 1))))
    normal = HELD[:3, 2]
    assert [free.words.split()[0] for free in told.free] == ["slides", "slides", "rolls"]
    assert abs(told.free[0].axis @ normal) < 1e-9
    assert abs(told.free[1].axis @ normal) < 1e-9
    assert abs(told.free[2].axis @ normal) == pytest.approx(1)
    np.testing.assert_allclose(told.seen, [0, 0, 0, 1, 1, 1], atol=1e-7)


def test_a_surface_of_revolution_leaves_one_roll_a_helix_one_screw_and_an_ellipsoid_nothing(rng):
    v = directions(rng, 500)
    egg = observability(*held(CENTRE + v * [30, 30, 50], v / [30, 30, 50]))
    assert len(egg.free) == 1
    assert abs(egg.free[0].axis @ HELD[:3, 2]) == pytest.approx(1, abs=1e-9)
    s, t = rng.uniform(-9, 9, 900), rng.uniform(20, 50, 900)  # a ramp that winds up 60 mm a turn
    ramp = np.stack([t * np.cos(s), t * np.sin(s), 60 / (2 * np.pi) * s], axis=1)
    tangents = (
        np.stack([np.cos(s), np.sin(s), 0 * s], 1),
        np.stack([-t * np.sin(s), t * np.cos(s), 0 * s + 60 / 2 / np.pi], 1),
    )
    screw = observability(*held(CENTRE + ramp, np.cross(*tangents)))
    assert len(screw.free) == 1
    assert abs(screw.free[0].pitch_mm) == pytest.approx(60, rel=1e-6)
    assert "screws about" in screw.words
    lumpy = observability(*held(CENTRE + v * [30, 40, 55], v / [30, 40, 55]))
    assert lumpy.free == ()
    assert lumpy.words == f"every motion is seen, the least to {lumpy.seen[0]:.0%}"


def test_what_is_seen_does_not_depend_on_the_place_the_size_or_the_unit_of_normals(rng):
    v = directions(rng, 400)
    points, normals = CENTRE + v * [30, 40, 55], v / [30, 40, 55]
    one = observability(points, normals)
    other = observability(transform_points(HELD, 0.01 * points) + 500, -3 * normals @ HELD[:3, :3].T)
    np.testing.assert_allclose(other.seen, one.seen, rtol=1e-6)
    # each motion moves the points by 1 mm RMS, and the distances by what is seen of it
    for seen, twist in zip(one.seen, one.motion, strict=True):
        field = twist[:3] + np.cross(twist[3:], points - one.centre)
        assert np.sqrt((field**2).sum(axis=1).mean()) == pytest.approx(1)
        unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        assert np.sqrt(((field * unit).sum(axis=1) ** 2).mean()) == pytest.approx(seen)


def test_points_on_a_line_and_points_without_a_normal(rng):
    across = np.stack([np.cos(np.arange(50.0)), np.sin(np.arange(50.0)), np.zeros(50)], axis=1)
    line = CENTRE + np.outer(np.arange(50.0), [0, 0, 3])
    told = observability(line, across)
    assert len(told.free) == 2
    points, normals = tube(rng, 100)
    normals[::2] = 0
    assert observability(points, normals).n == 50
    np.testing.assert_allclose(
        observability(points, normals).seen, observability(points[1::2], normals[1::2]).seen
    )


# -- under noise ------------------------------------------------------------------------------------


def test_the_covariance_is_that_of_many_registrations(rng, surface):
    noise, n, trials = 0.4, 250, 250
    points = on_faces(rng, surface, n)
    sd, twists, fits = [], [], []
    for _ in range(trials):
        fit = icp(points + noise * rng.normal(size=(n, 3)), surface, method="plane", tolerance_mm=1e-4)
        turn = Rotation.from_matrix(fit.matrix[:3, :3]).as_rotvec()
        twists.append([*fit.matrix[:3, 3], *turn])
        sd.append(fit.across_rms_mm)
        fits.append(fit)
    twists = np.array(twists)
    predicted = np.mean([fit.covariance for fit in fits], axis=0)
    assert np.mean(np.square(sd)) == pytest.approx(noise**2 * (n - 6) / n, rel=0.05)
    whitened = np.linalg.solve(np.linalg.cholesky(predicted), twists.T)
    np.testing.assert_allclose((whitened**2).mean(axis=1), 1, atol=4 * np.sqrt(2 / trials))
    assert (whitened**2).sum(axis=0).mean() == pytest.approx(6, rel=0.12)
    corners = CENTRE + np.array([[0, 0, 0], [100, 0, 0], [0, -90, 120]])
    off = np.array([transform_points(fit.matrix, corners) - corners for fit in fits])
    seen = np.sqrt((off**2).sum(axis=2).mean(axis=0))
    np.testing.assert_allclose(np.mean([fit.sd_mm(corners) for fit in fits], axis=0), seen, rtol=0.15)
    assert fits[0].observability.covariance(0.8) == pytest.approx(4 * fits[0].observability.covariance(0.4))


def test_two_samplings_with_noise_come_together_far_below_the_noise(rng):
    """As in a comparison of libraries: 0.3 mm noise, a start 10 deg and 10 mm off, point to plane."""
    one, two = bumpy(directions(rng, 5000)), bumpy(directions(rng, 5000))
    far = motion(10, [6, -5, 6.2])
    noisy = [p + 0.3 * rng.normal(size=p.shape) for p in (one, two)]
    fit = icp(transform_points(far, noisy[0]), noisy[1], method="plane")
    off = np.linalg.norm(transform_points(fit.matrix @ far, one) - one, axis=1)
    assert off.mean() < 0.12
    assert off.mean() < 4 * fit.sd_mm(one).mean()
    assert fit.converged
    assert fit.iterations < 25


# -- a tube in a patient ----------------------------------------------------------------------------


def lumen(low, high):
    case = phantoms.aorta()
    mesh = phantoms.surface_mesh(case.part("lumen").shape, spacing_mm=2.0, low=low, high=high)
    surface = Surface(*mesh)
    middle = surface.vertices[surface.faces].mean(axis=1)
    wall = ((middle > np.add(low, 3)) & (middle < np.subtract(high, 3))).all(axis=1)  # no ends
    return Surface(surface.vertices, surface.faces[wall])


def test_the_aorta_above_the_renal_arteries_fixes_neither_the_slide_nor_the_roll(rng):
    """Point to point rests 5 mm and 15 deg wrong, its residual is the noise alone, and it says so."""
    neck = lumen((-30, -30, 12), (30, 30, 75))
    points = on_faces(rng, neck, 900)
    points = points[np.abs(points[:, 2] - 43) < 20]
    middle, axis = points.mean(axis=0), np.array([0, 0.12, 0.993])
    far = motion(15, 5 * axis, about=middle, axis=axis)
    noisy = points + rng.normal(size=points.shape)
    fit = icp(transform_points(far, noisy), neck)
    left = fit.matrix @ far
    off = (transform_points(left, points) - points).mean(axis=0)
    turn = np.degrees(Rotation.from_matrix(left[:3, :3]).as_rotvec())
    assert fit.rms_mm == pytest.approx(1, abs=0.1)
    assert off @ axis == pytest.approx(5, abs=1)
    assert turn @ axis == pytest.approx(15, abs=3)
    assert np.linalg.norm(off - off @ axis * axis) < 0.4
    assert np.linalg.norm(turn - turn @ axis * axis) < 2

    told = fit.observability
    assert (told.seen[:2] < 0.05).all()
    assert told.seen[2] > 0.5
    assert [free.words.split()[0] for free in told.free] == ["slides", "rolls"]
    for free in told.free:
        assert abs(free.axis @ axis) > 0.99
    assert "the shape leaves 2 motions free: slides along (0.0" in fit.warnings[-1]


def test_along_the_aorta_the_error_is_as_large_as_told(rng):
    neck = lumen((-30, -30, 12), (30, 30, 75))
    points = on_faces(rng, neck, 900)
    points = points[np.abs(points[:, 2] - 43) < 20]
    axis, across = np.array([0, 0.12, 0.993]), np.array([1, 0, 0])
    off, told = [], []
    for _ in range(60):
        fit = icp(points + 0.3 * rng.normal(size=points.shape), neck, method="plane")
        off.append((transform_points(fit.matrix, points) - points).mean(axis=0))
        effect = np.concatenate([np.eye(3), -cross(points.mean(axis=0))], axis=1)
        told.append(effect @ fit.covariance @ effect.T)
    slide, side = np.std(off @ axis), np.std(off @ across)
    predicted = np.mean(told, axis=0)
    assert slide > 15 * side
    assert slide == pytest.approx(np.sqrt(axis @ predicted @ axis), rel=0.35)
    assert side == pytest.approx(np.sqrt(predicted[0, 0]), rel=0.35)


def test_with_the_branches_and_the_sac_the_aorta_is_fixed(rng):
    whole = lumen((-60, -60, -140), (60, 60, 75))
    points = on_faces(rng, whole, 1500)
    far = motion(6, [0, 0.4, 4], about=points.mean(axis=0), axis=(0, 0.12, 1))
    fit = icp(transform_points(far, points), whole, method="plane")
    assert fit.observability.free == ()
    assert np.linalg.norm(transform_points(fit.matrix @ far, points) - points, axis=1).max() < 0.05


# -- wrong input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((3, 40))}, r"points has shape \(3, 40\).*in columns"),
        ({"target": np.zeros((3, 40))}, r"target has shape \(3, 40\).*in columns"),
        ({"points": np.eye(3), "method": "plane"}, "points has 3 points; expected at least 6"),
        ({"points": np.eye(3)[:2]}, "points has 2 points; expected at least 3"),
        ({"trim": 80}, "trim is 80; .*In percent"),
        ({"trim": 0}, "trim is 0"),
        ({"trim": 0.01, "method": "plane"}, "trim 0.01 keeps 3 of 300 pairs; 'plane' needs 6"),
        ({"method": "planes"}, "method is 'planes'"),
        ({"target": np.outer(np.arange(90.0), [1, 2, 2]), "method": "plane"}, "target has no normal"),
        ({"initial": np.eye(3)}, "initial"),
        ({"initial": np.diag([1, 1, -1, 1])}, "not rigid"),
        ({"starts": np.eye(4)}, r"starts has shape \(4, 4\); expected \(n, 4, 4\)"),
    ],
)
def test_wrong_input_gets_a_sentence(rng, surface, change, message):
    arguments = {"points": on_faces(rng, surface, 300), "target": surface} | change
    with pytest.raises(ValueError, match=message):
        icp(arguments.pop("points"), arguments.pop("target"), **arguments)


def test_metres_for_millimetres_are_refused_either_way(rng, surface):
    points = on_faces(rng, surface, 300)
    with pytest.raises(
        ValueError, match=r"points extend over 0\.\d+ mm and target over \d+ mm. Is one in metres"
    ):
        icp(points / 1000, surface)
    with pytest.raises(ValueError, match="Is one in metres"):
        icp(points, Surface(surface.vertices / 1000, surface.faces))
    with pytest.raises(ValueError, match="points extend over 0 mm"):
        icp(np.ones((10, 3)), surface)


@pytest.mark.parametrize(
    ("signs", "what"),
    [
        ((-1, 1, 1), "sign of x changed.*mirrored data"),
        ((1, 1, -1), "sign of z.*mirrored"),
        ((-1, -1, 1), "RAS for LPS"),
    ],
)
@pytest.mark.parametrize("method", ["plane", "point"])
def test_mirrored_or_turned_data_are_told(rng, surface, method, signs, what):
    points = (on_faces(rng, surface, 500) + rng.normal(size=(500, 3)) - CENTRE) * signs + CENTRE
    points = transform_points(motion(6, [3, -4, 2]), points)
    fit = icp(points, surface, method=method)
    assert fit.rms_mm > 2
    assert any(re.search(what, told) for told in fit.warnings), fit.warnings
    right = icp(transform_points(motion(6, [3, -4, 2]), on_faces(rng, surface, 500)), surface, method="plane")
    assert right.warnings == ()


def test_swapped_sets_are_told(rng, surface):
    part = bumpy(directions(rng, 4000))
    part = part[part[:, 2] > CENTRE[2] + 50]
    fit = icp(surface.vertices, part, method="plane")
    assert any("swapped?" in told for told in fit.warnings), fit.warnings
    assert icp(part[::3], surface, method="plane").warnings == ()


def test_a_start_that_is_far_off_is_told(rng, surface):
    points = transform_points(motion(60, [900, -700, 800]), on_faces(rng, surface, 300))
    fit = icp(points, surface, max_iterations=10)
    assert any(re.search(r"it began 1\d{3} mm away, .*give initial", told) for told in fit.warnings), (
        fit.warnings
    )


def test_points_that_are_not_written_to(rng, surface):
    points, vertices = on_faces(rng, surface, 100), surface.vertices.copy()
    kept = points.copy()
    points.setflags(write=False)
    icp(points, surface, method="plane")
    np.testing.assert_array_equal(points, kept)
    np.testing.assert_array_equal(surface.vertices, vertices)


# -- a real recording -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pelvis(navkit_data):
    import pyvista as pv

    folder = navkit_data / "ucl" / "pelvis"
    mesh = pv.read(folder / "pelvis_cropped_decimated.vtk")
    bone = Surface(mesh.points, mesh.faces.reshape(-1, 4)[:, 1:])
    names = "Tracker_Surface_Scan", "Tracker_Fiducial_Markers", "pelvis_cropped_ct_fiducial_markers"
    return bone, *(np.loadtxt(folder / f"{name}.txt") for name in names)


@pytest.mark.parametrize("method", ["plane", "point"])
def test_icp_lays_the_scan_on_the_pelvis_and_takes_the_fiducials_off_their_places(pelvis, method):
    bone, scan, fiducials, fiducials_ct = pelvis
    points = fit_rigid(fiducials, fiducials_ct)
    assert points.fre_rms_mm == pytest.approx(0.428, abs=5e-4)
    fit = icp(scan, bone, method=method, initial=points.matrix)
    assert fit.converged
    assert fit.mean_mm < 1.4
    assert 3.5 < fit.rms_mm < 3.7  # some points are far from any bone
    moved = fit.moved_mm(fiducials)
    assert (moved > 6).all()
    assert (moved < 11).all()
    assert 7 < moved.mean() < 10
    off = np.linalg.norm(transform_points(fit.matrix, fiducials) - fiducials_ct, axis=1)
    assert np.sqrt((off**2).mean()) > 15 * points.fre_rms_mm
    assert (fit.sd_mm(fiducials_ct) < 0.6).all()  # noise does not explain it: fiducials and bone disagree


def test_trimmed_the_scan_of_the_pelvis_fits_to_a_fifth_of_a_millimetre(pelvis):
    bone, scan, fiducials, fiducials_ct = pelvis
    start = fit_rigid(fiducials, fiducials_ct).matrix
    fit = icp(scan, bone, method="plane", trim=0.8, initial=start)
    assert fit.mean_mm == pytest.approx(0.197, abs=0.002)
    assert fit.observability.free == ()
    both = icp(scan, bone, method="point", trim=0.8, initial=start)
    assert np.linalg.norm(transform_points(both.matrix - fit.matrix, fiducials), axis=1).max() < 0.2


def test_the_shipped_icp_is_near_where_point_to_point_stays(pelvis, navkit_data):
    bone, scan, fiducials, _ = pelvis
    shipped = np.loadtxt(navkit_data / "ucl" / "pelvis" / "Tracker_to_pelvis_cropped_with_icp.txt")
    fit = icp(scan, bone, initial=shipped)
    before = closest_points(transform_points(shipped, scan), bone)[1]
    assert before.mean() == pytest.approx(1.413, abs=1e-3)
    assert fit.rms_mm < np.sqrt((before**2).mean()) == pytest.approx(3.606, abs=1e-3)
    assert fit.mean_mm < before.mean()
    assert fit.moved_mm(fiducials).max() < 3
