"""Slice planes: CustusX's own test values, then what must hold for any tool."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from, transform_points
from navkit.planning import slice_plane
from navkit.reconstruction import Grid, Volume, sample

FOLLOWS_TOOL = ("any", "inverse_any", "side", "radial")
CENTRE = (33.0, 66.0, -3.0)


@pytest.fixture
def tool():
    """The tool of cxtestCatchSliceComputer.cpp: z_t = -z_r, y_t = +x_r."""
    turn = Rotation.from_rotvec([0, np.pi, 0]) * Rotation.from_rotvec([0, 0, np.pi / 2])
    return pose_from(turn, [5.0, 40.0, -50.0])


@pytest.fixture
def slanted(rng):
    return pose_from(Rotation.from_rotvec([0.7, -0.4, 1.1]), rng.uniform(-80, 80, 3))


@pytest.mark.parametrize(
    ("kind", "centre", "right", "up"),
    [
        ("sagittal", (5, 66, -3), (0, 1, 0), (0, 0, 1)),
        ("coronal", (33, 40, -3), (-1, 0, 0), (0, 0, 1)),
        ("axial", (33, 66, -50), (-1, 0, 0), (0, -1, 0)),
        ("any", (5, 40, -50), (-1, 0, 0), (0, 0, 1)),
        ("inverse_any", (5, 40, -50), (-1, 0, 0), (0, 0, -1)),
        ("side", (5, 40, -50), (0, -1, 0), (0, 0, 1)),
        ("radial", (5, 40, -50), (-1, 0, 0), (0, -1, 0)),
    ],
)
def test_custusx_own_values(tool, kind, centre, right, up):
    plane = slice_plane(kind, tool, centre_r=CENTRE)
    np.testing.assert_allclose(plane.centre_r, centre, atol=1e-12)
    np.testing.assert_allclose(plane.right_r, right, atol=1e-12)
    np.testing.assert_allclose(plane.up_r, up, atol=1e-12)


def test_custusx_own_view_offset(tool):
    moved = slice_plane("any", tool, view=(40.0, 0.25)).centre_r - slice_plane("any", tool).centre_r
    np.testing.assert_allclose(moved, [0, 0, -10], atol=1e-12)


@pytest.mark.parametrize("kind", ["any", "inverse_any", "side"])
def test_the_tip_stands_where_the_view_wants_it(slanted, kind):
    plane = slice_plane(kind, slanted, view=(60.0, 0.2))
    above_mm = (slanted[:3, 3] - plane.centre_r) @ plane.up_r
    assert abs(above_mm) == pytest.approx(18.0)  # 0.3 of 60 mm from the middle
    assert above_mm > 0  # nearer the top, whichever end of the beam that is


def test_a_long_virtual_tip_wins_over_the_real_one(slanted):
    plane = slice_plane("any", slanted, tool_offset_mm=50.0, view=(40.0, 0.25))
    virtual_r = transform_points(slanted, [0, 0, 50.0])
    assert (virtual_r - plane.centre_r) @ plane.up_r == pytest.approx(-10.0)  # 10 mm below the middle


def test_radiology_mirrors_axial_and_coronal_only(tool):
    for kind in ("axial", "coronal", "sagittal", *FOLLOWS_TOOL):
        ours, theirs = (slice_plane(kind, tool, convention=c) for c in ("neurology", "radiology"))
        turned = -1 if kind in ("axial", "coronal") else 1
        np.testing.assert_array_equal(theirs.right_r, turned * ours.right_r)
        np.testing.assert_array_equal(theirs.up_r, ours.up_r)


@pytest.mark.parametrize("kind", ["axial", "coronal", "sagittal", *FOLLOWS_TOOL, "tool_side"])
def test_every_plane_is_right_handed_and_holds_the_tip(slanted, kind):
    plane = slice_plane(kind, slanted, centre_r=CENTRE, down_r=[0.2, 0.9, -0.4], tool_offset_mm=12.0)
    pose = plane.r_M_sl
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert (transform_points(slanted, [0, 0, 12.0]) - plane.centre_r) @ pose[:3, 2] == pytest.approx(0.0)


def test_the_planes_of_the_tool_hold_or_cross_its_beam(slanted):
    beam = slanted[:3, 2]
    for kind, cosine in (("any", 0), ("inverse_any", 0), ("side", 0), ("radial", 1)):
        assert abs(slice_plane(kind, slanted).r_M_sl[:3, 2] @ beam) == pytest.approx(cosine, abs=1e-12)


@pytest.mark.parametrize("kind", FOLLOWS_TOOL)
def test_gravity_turns_the_picture_and_leaves_the_plane(slanted, kind):
    free = slice_plane(kind, slanted)
    normal = free.r_M_sl[:3, 2]
    down = -0.8 * free.right_r + 0.5 * free.up_r + 0.3 * normal
    hung = slice_plane(kind, slanted, down_r=5 * down)
    np.testing.assert_allclose(hung.r_M_sl[:3, 2], normal, atol=1e-12)
    sky = -down / np.linalg.norm(down)
    in_plane = np.linalg.norm(sky - normal * (sky @ normal))
    assert free.up_r @ sky < 0
    assert hung.up_r @ sky > 0.98 * in_plane
    leaning = slice_plane(kind, slanted, down_r=down + 2 * normal)  # the plane is nearly level: less is done
    assert free.up_r @ sky < leaning.up_r @ sky < hung.up_r @ sky


def test_in_an_upright_plane_up_is_up_and_in_a_level_one_the_tool_decides():
    lying = pose_from(Rotation.from_rotvec([0.0, 0.0, 0.4]), [1.0, 2.0, 3.0])
    down = -lying[:3, 0] + 0.6 * lying[:3, 1]  # in the plane of "radial"
    np.testing.assert_allclose(
        slice_plane("radial", lying, down_r=down).up_r, -down / np.linalg.norm(down), atol=1e-12
    )
    level = slice_plane("radial", lying, down_r=lying[:3, 2])
    np.testing.assert_allclose(level.up_r, slice_plane("radial", lying).up_r, atol=1e-12)


def test_the_tool_side_plane_is_upright_and_holds_a_slanted_beam(slanted):
    down = np.array([0.4, 0.9, 0.2])
    sky = -down / np.linalg.norm(down)
    beam = slanted[:3, 2]
    assert abs(sky @ beam) < np.sqrt(3) / 2  # else the tool would not decide alone
    plane = slice_plane("tool_side", slanted, down_r=down)
    np.testing.assert_allclose(plane.up_r, sky, atol=1e-12)
    assert plane.r_M_sl[:3, 2] @ beam == pytest.approx(0.0, abs=1e-12)
    assert plane.right_r @ beam > 0


def test_a_vertical_tool_has_a_tool_side_plane_too():
    upright = pose_from(Rotation.from_rotvec([0.0, 0.0, 0.4]), [1.0, 2.0, 3.0])
    plane = slice_plane("tool_side", upright, down_r=[0.0, 0.0, 1.0])
    np.testing.assert_allclose(plane.up_r, [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(plane.right_r, slice_plane("side", upright).right_r, atol=1e-12)


def test_between_slanted_and_vertical_the_tool_side_plane_turns_evenly():
    cosine = (1 + np.sqrt(3) / 2) / 2  # half way from 30 degrees to vertical, by the cosine
    lean = Rotation.from_rotvec([np.arccos(cosine), 0.0, 0.0]) * Rotation.from_rotvec([0.0, 0.0, 0.8])
    tool = pose_from(lean, [1.0, 2.0, 3.0])
    sky = np.array([0.0, 0.0, -1.0])
    slanted_right = np.cross(np.cross(sky, tool[:3, 2]), sky)
    vertical_right = np.cross(-slice_plane("side", tool).r_M_sl[:3, 2], sky)
    right = slice_plane("tool_side", tool, down_r=-sky).right_r
    one, other = (right @ v / np.linalg.norm(v) for v in (slanted_right, vertical_right))
    assert one == pytest.approx(other, abs=0.01)  # the bisector, but for a part out of the level
    assert 0.5 < one < 0.999


def test_a_picture_of_a_plane_shows_what_lies_there(slanted):
    """A volume whose grey value is a linear function of place is cut exactly, in any direction."""
    pr_M_d = pose_from(Rotation.from_rotvec([0.2, 0.5, -0.3]), [-25.0, -31.0, -18.0])
    grid = Grid((40, 50, 60), (1.3, 1.1, 0.9), pr_M_d)
    at = np.stack(np.meshgrid(*(np.arange(n) for n in (60, 50, 40)), indexing="ij"), axis=-1)
    slope = np.array([0.7, -1.9, 2.3])
    values = (transform_points(pr_M_d, at * grid.spacing_mm) @ slope + 100).transpose(2, 1, 0)
    volume = Volume(
        values.astype(np.float32), np.ones(values.shape, np.uint32), np.zeros(values.shape, bool), grid
    )
    tool = slanted.copy()
    tool[:3, 3] = transform_points(pr_M_d, [30.0, 25.0, 22.0])
    plane = slice_plane("any", tool)
    points = plane.points(9.0, 6.0, 0.5)
    assert points.shape == (12, 18, 3)
    np.testing.assert_allclose(sample(volume, points), points @ slope + 100, atol=1e-3)
    across, along = points[0, -1] - points[0, 0], points[0, 0] - points[-1, 0]
    np.testing.assert_allclose(across, 8.5 * plane.right_r, atol=1e-12)
    np.testing.assert_allclose(along, 5.5 * plane.up_r, atol=1e-12)
    np.testing.assert_allclose(points.mean(axis=(0, 1)), plane.centre_r, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "oblique"}, "expected a plane among axial, .*; got 'oblique'"),
        ({"convention": "surgery"}, "expected 'neurology' or 'radiology', got 'surgery'"),
        ({"r_M_t": np.diag([2.0, 1.0, 1.0, 1.0])}, "r_M_t"),
        ({"centre_r": [1.0, np.nan, 0.0]}, "centre_r"),
        ({"down_r": [0.0, 0.0, 0.0]}, "down_r"),
    ],
)
def test_what_makes_no_plane_is_refused(tool, change, says):
    asked = {"kind": "coronal" if "centre_r" in change else "any", "r_M_t": tool} | change
    kind, pose = asked.pop("kind"), asked.pop("r_M_t")
    with pytest.raises(ValueError, match=says):
        slice_plane(kind, pose, **asked)


def test_a_picture_without_size_is_refused(tool):
    with pytest.raises(ValueError, match=r"got 0 x 5 mm with a spacing of 1 mm"):
        slice_plane("any", tool).points(0, 5, 1)
