"""Triangles about shapes: closed, outwards, on the surface."""

import numpy as np
import pytest

from navkit.phantoms import (
    box,
    ellipsoid,
    half_space,
    intersection,
    kidney,
    neuro,
    sphere,
    surface_mesh,
    tube,
)  # fmt: skip


def volume(vertices, faces):
    return np.linalg.det(vertices[faces]).sum() / 6


def edges(faces):
    """Every directed edge, as pairs."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def is_closed(faces):
    """Each edge is walked once each way: no holes, and all triangles agree on which side is out."""
    there = {tuple(e) for e in edges(faces)}
    return len(there) == 3 * len(faces) and there == {(b, a) for a, b in there}


def test_an_oblique_ellipsoid_is_closed_exact_and_turned_outwards():
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    shape = ellipsoid((7, -4, 12), (9, 14, 23), turn)
    vertices, faces = surface_mesh(shape, spacing_mm=1.5)
    assert is_closed(faces)
    assert len(vertices) - len(edges(faces)) // 2 + len(faces) == 2  # Euler: a ball has no handle
    assert np.abs(shape(vertices)).max() < 1e-6
    exact = 4 / 3 * np.pi * 9 * 14 * 23
    assert volume(vertices, faces) == pytest.approx(exact, rel=0.01)
    coarse = volume(*surface_mesh(shape, spacing_mm=3.0))
    # chords cut off an amount that goes with the square of their length
    assert (exact - coarse) / (exact - volume(vertices, faces)) == pytest.approx(4, rel=0.25)
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = corners.mean(axis=1)
    assert (shape(middle + 0.3 * normal / np.linalg.norm(normal, axis=1)[:, None]) > shape(middle)).all()


def test_a_ring_has_one_handle():
    turn = np.linspace(0, 2 * np.pi, 60)
    ring = tube(np.stack([15 * np.cos(turn) + 2, 12 * np.sin(turn), 3 * np.cos(2 * turn)], axis=1), 4.0)
    vertices, faces = surface_mesh(ring, spacing_mm=1.0)
    assert is_closed(faces)
    assert len(vertices) - len(edges(faces)) // 2 + len(faces) == 0


def test_what_reaches_out_of_the_box_is_closed_there():
    slab = half_space((0, 0, 4.0), (0.0, 0, 1))
    vertices, faces = surface_mesh(slab, spacing_mm=1.0, low=(-5, -7, -3), high=(6, 5, 10))
    assert is_closed(faces)
    assert volume(vertices, faces) == pytest.approx(11 * 12 * 7, rel=0.02)
    assert vertices.min(axis=0) == pytest.approx([-5, -7, -3], abs=0.1)
    assert vertices[:, 2].max() == pytest.approx(4.0, abs=1e-6)
    with pytest.raises(ValueError, match="Give low and high"):
        surface_mesh(slab)
    with pytest.raises(ValueError, match="nothing of the shape"):
        surface_mesh(slab, low=(0, 0, 20), high=(5, 6, 30))


def test_edges_of_a_box_are_kept_within_the_spacing():
    block = intersection(box((-5, -7, 1), (6, 9, 12)), sphere((0, 1, 6), 11.0))
    vertices, faces = surface_mesh(block, spacing_mm=0.8)
    assert is_closed(faces)
    assert np.abs(block(vertices)).max() < 0.4


@pytest.mark.parametrize(
    ("make", "part", "measure"),
    [(neuro, "tumour", "tumour_volume_ml"), (kidney, "cyst", "cyst_volume_ml")],
)
def test_a_phantoms_part_has_the_volume_that_it_states(make, part, measure):
    case = make(seed=5)
    vertices, faces = surface_mesh(case.part(part).shape, spacing_mm=1.0)
    assert is_closed(faces)
    assert volume(vertices, faces) / 1000 == pytest.approx(case.measures[measure], rel=0.015)
