"""Pictures of sweeps and volumes, checked on the arrays and words behind them."""

from dataclasses import replace

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import viewing
from navkit.geometry import transform_points
from navkit.reconstruction import Grid, Volume, WireCross, output_grid, reconstruct


@pytest.fixture
def sweep(rng):
    return hand_sweep(rng)


@pytest.fixture
def volume(sweep):
    return reconstruct(sweep, output_grid(sweep, spacing_mm=0.5))


def points_of(line) -> np.ndarray:
    return np.stack(line.get_data_3d(), axis=-1)


def test_a_frame_is_drawn_where_its_pose_puts_the_clip_rectangle(sweep):
    figure = viewing.frames_in_space(sweep, [3, 8])
    sheets = [points_of(line) for line in figure.axes[0].lines if len(points_of(line)) == 5]
    left, right, top, bottom = sweep.sector.clip_p
    corners = [(left, top, 0), (right, top, 0), (right, bottom, 0), (left, bottom, 0), (left, top, 0)]
    for n, sheet in zip((3, 8), sheets, strict=True):
        assert np.allclose(sheet, transform_points(sweep.pr_M_p[n], corners))


def test_the_probes_way_leaves_out_frames_without_a_pose(sweep):
    sweep = replace(sweep, valid=np.arange(len(sweep)) > 3)
    figure = viewing.frames_in_space(sweep, [5])
    way = next(line for line in figure.axes[0].lines if line.get_label() == "origin of t")
    expected = transform_points(sweep.pr_M_p[4:], [*sweep.sector.origin_p, 0.0])
    assert np.allclose(points_of(way), expected)


def test_only_bright_pixels_that_are_deep_enough_are_shown(sweep):
    sweep = replace(sweep, valid=np.arange(len(sweep)) != 1)
    figure = viewing.frames_in_space(sweep, [5], brighter_than=250, deeper_than_mm=3.0)
    shown = np.stack([np.asarray(axis) for axis in figure.axes[0].collections[0]._offsets3d], axis=-1)
    mask = sweep.sector.mask()
    expected = [
        transform_points(sweep.pr_M_p[n], [c, r, 0.0])
        for n in np.flatnonzero(sweep.valid)
        for r, c in np.argwhere(mask & (sweep.frames[n] > 250))
        if (r - sweep.sector.clip_p[2]) * sweep.sector.spacing_mm[1] >= 3.0
    ]
    assert len(expected) > 10
    assert np.allclose(np.array(sorted(shown.tolist())), np.array(sorted(map(list, expected))))


def test_a_frame_without_a_pose_has_no_place(sweep):
    sweep = replace(sweep, valid=np.arange(len(sweep)) != 2)
    with pytest.raises(ValueError, match="frame 2 is not valid"):
        viewing.frames_in_space(sweep, [1, 2])


@pytest.mark.parametrize("plane", ["xy", "xz", "yz"])
def test_compared_slices_go_through_the_point_along_the_named_axes(volume, plane):
    i, j, k = 6, 9, 4
    other = replace(volume, values=volume.values / 2)
    at = transform_points(volume.grid.pr_M_voxel(), [i, j, k])
    figure = viewing.compare_slices({"one": volume, "half": other}, at, plane=plane, within_mm=2.0)
    expected = {"xy": volume.values[k], "xz": volume.values[:, j], "yz": volume.values[:, :, i]}[plane]
    for ax, values in zip(figure.axes, (expected, expected / 2), strict=True):
        shown = np.ma.filled(ax.images[0].get_array(), np.nan)
        assert np.array_equal(shown, values, equal_nan=True)
        assert ax.get_xlabel().startswith(plane[0])
        assert ax.get_ylabel().startswith(plane[1])
        centre = {"x": i * 0.5, "y": j * 0.5, "z": k * 0.5}
        assert ax.get_xlim() == pytest.approx((centre[plane[0]] - 2, centre[plane[0]] + 2))
        assert ax.get_ylim() == pytest.approx((centre[plane[1]] + 2, centre[plane[1]] - 2))
    assert [ax.get_title() for ax in figure.axes] == ["one", "half"]


def test_each_volume_can_have_its_own_point(volume):
    at = transform_points(volume.grid.pr_M_voxel(), [[6, 9, 4], [6, 9, 7]])
    figure = viewing.compare_slices({"low": volume, "high": volume}, at)
    for ax, k in zip(figure.axes, (4, 7), strict=True):
        shown = np.ma.filled(ax.images[0].get_array(), np.nan)
        assert np.array_equal(shown, volume.values[k], equal_nan=True)


def test_slices_outside_or_along_no_plane_are_refused_in_a_sentence(volume):
    with pytest.raises(ValueError, match=r"far: the point .* lies outside the volume"):
        viewing.compare_slices({"far": volume}, [1e4, 0.0, 0.0])
    with pytest.raises(ValueError, match="plane is 'zx'"):
        viewing.compare_slices({"any": volume}, [0.0, 0.0, 0.0], plane="zx")


def test_the_shares_of_voxels_are_those_of_the_volume_and_add_up(sweep):
    grid = output_grid(sweep, spacing_mm=0.4)
    volumes = {"empty": reconstruct(sweep, grid), "filled": reconstruct(sweep, grid, fill="custusx")}
    figure = viewing.voxel_shares(volumes)
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in figure.axes[0].containers}
    for n, volume in enumerate(volumes.values()):
        assert widths["measured"][n] == pytest.approx(100 * np.mean(volume.weight > 0))
        assert widths["filled"][n] == pytest.approx(100 * np.mean(volume.filled))
        assert widths["no data"][n] == pytest.approx(100 * np.mean(np.isnan(volume.values)))
        assert sum(share[n] for share in widths.values()) == pytest.approx(100)
        ends = [bars[n].get_x() + bars[n].get_width() for bars in figure.axes[0].containers]
        starts = [bars[n].get_x() for bars in figure.axes[0].containers]
        assert starts == pytest.approx([0, *ends[:-1]]), "one after the other"
    assert widths["filled"][0] == 0 < widths["filled"][1]
    hatches = {bars[0].get_hatch() for bars in figure.axes[0].containers}
    assert len(hatches) == 3, "told apart without colour"


def test_the_angle_on_paper_is_the_angle_in_space():
    u = np.array([2.0, -1.0, 0.5]) / np.linalg.norm([2.0, -1.0, 0.5])
    v = np.array([0.3, 1.0, 1.4]) / np.linalg.norm([0.3, 1.0, 1.4])
    cross_pr = np.array([8.0, -3.0, 5.0])
    cross = WireCross(73.0, 0.1, cross_pr, np.stack([u, v]), (0.5, 0.6), (10, 10), (1.2, 1.3))
    pose = np.eye(4)
    pose[:3, 3] = [1.0, -9.0, -1.0]
    values = np.full((9, 10, 11), 200.0, dtype=np.float32)
    values[6, 6, 7] = 100.0
    volume = Volume(
        values,
        np.ones(values.shape, dtype=np.uint32),
        np.zeros(values.shape, dtype=bool),
        Grid(values.shape, (1.0, 1.0, 1.0), pose),
    )
    figure = viewing.wires_in_their_plane({"hand": volume}, [cross], within_mm=3.05, off_plane_mm=1.1)
    ax = figure.axes[0]
    slopes = [np.diff(line.get_xydata(), axis=0)[0] for line in ax.lines]
    assert all(np.linalg.norm(s) == pytest.approx(6.1) for s in slopes), "both lie in the plane"
    assert slopes[0] @ slopes[1] / 6.1**2 == pytest.approx(u @ v)
    assert slopes[0][1] == pytest.approx(0.0, abs=1e-9)
    shown = ax.collections[0].get_offsets()
    off = np.stack(np.meshgrid(range(11), range(10), range(9)), axis=-1).reshape(-1, 3)
    off = off[~np.all(off == (7, 6, 6), axis=1)] + pose[:3, 3] - cross_pr
    normal = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    off = off[(np.linalg.norm(off, axis=1) <= 3.05) & (np.abs(off @ normal) <= 1.1)]
    assert len(off) > 20
    assert np.allclose(sorted(shown[:, 0]), sorted(off @ u)), "millimetres along the first wire"
    assert np.allclose(sorted(shown[:, 1]), sorted(off @ np.cross(normal, u))), "and across it"
    assert "73.0°" in ax.get_title()
    assert "0.50 and 0.60 mm" in ax.get_title()
