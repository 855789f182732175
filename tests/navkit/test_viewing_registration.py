"""What stands behind the pictures of registration."""

import numpy as np
import pytest

from navkit.viewing import MARKS, error_maps, error_scatter


def test_the_scatter_shows_every_experiment_from_zero_and_the_diagonal(rng):
    x, y = rng.uniform(0.2, 1.0, 50), rng.uniform(0.5, 3.0, 50)
    (ax,) = error_scatter(x, y, xlabel="FRE (mm)", ylabel="TRE (mm)").axes
    points, diagonal = ax.lines
    assert np.array_equal(points.get_xdata(), x)
    assert np.array_equal(points.get_ydata(), y)
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert ax.get_xlim()[0] == ax.get_ylim()[0] == 0
    assert ax.get_xlim()[1] >= x.max()
    assert ax.get_ylim()[1] >= y.max()


def test_maps_share_one_scale_and_carry_their_points():
    across, up = np.linspace(-40, 40, 9), np.linspace(-10, 70, 5)
    maps = {"near": np.add.outer(up, across) ** 2 / 1e3, "far": np.ones((5, 9))}
    spots = {
        "near": {"fiducial": ([[1.0, 2.0], [30, 60]], "measured")},
        "far": {"target": ([[5.0, 6.0]], "target")},
    }
    figure = error_maps(across, up, maps, spots, levels_mm=[1, 2, 4], xlabel="x (mm)", ylabel="y (mm)")
    left, right, bar = figure.axes
    assert [left.get_title(), right.get_title()] == ["near", "far"]
    assert np.array_equal(left.lines[0].get_xydata(), [[1, 2], [30, 60]])
    assert right.lines[0].get_marker() == MARKS["target"].marker
    for ax in (left, right):
        assert ax.collections[0].levels == pytest.approx([1, 2, 4])
        assert ax.get_aspect() == 1
    assert "mm" in bar.get_ylabel()
