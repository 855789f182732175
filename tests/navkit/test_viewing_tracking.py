"""What stands behind the pictures of tracked tools."""

import numpy as np
import pytest

from navkit.viewing import MARKS, curves, point_clouds


def test_clouds_are_drawn_along_y_and_along_x_with_their_marks(rng):
    sensor, tip = rng.normal(size=(20, 3)) * [5, 9, 2], rng.normal(size=(8, 3))
    figure = point_clouds({"sensor": (sensor, "measured"), "tip": (tip, "result")}, space="pr")
    for ax, (across, up) in zip(figure.axes, ((0, 2), (1, 2)), strict=True):
        for line, points, kind in zip(ax.lines, (sensor, tip), ("measured", "result"), strict=True):
            assert np.array_equal(line.get_xdata(), points[:, across])
            assert np.array_equal(line.get_ydata(), points[:, up])
            assert line.get_marker() == MARKS[kind].marker
        assert ax.get_aspect() == 1
        assert "(mm)" in ax.get_xlabel()
        assert "(mm)" in ax.get_ylabel()
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["sensor", "tip"]


@pytest.mark.parametrize("log", [False, True])
def test_curves_hold_their_values_and_differ_in_line_and_marker(log):
    x, a, b = np.arange(1.0, 5.0), np.array([3.0, 2, 1, 0.5]), np.array([0.4, 0.4, 0.5, 0.4])
    figure = curves(
        x, {"a": (a, "result"), "b": (b, "other")}, xlabel="angle (deg)", ylabel="error (mm)", log=log
    )
    (ax,) = figure.axes
    first, second = ax.lines
    assert np.array_equal(first.get_ydata(), a)
    assert np.array_equal(second.get_ydata(), b)
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert ax.get_yscale() == ("log" if log else "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("angle (deg)", "error (mm)")


def test_a_logarithmic_axis_shows_plain_numbers_between_the_powers_of_ten_too():
    figure = curves(
        [4.0, 9.0, 20.0], {"a": ([0.06, 0.3, 0.9], "result")}, xlabel="x (deg)", ylabel="y (mm)", log=True
    )
    figure.canvas.draw()
    axis = figure.axes[0].yaxis
    low, high = figure.axes[0].get_ylim()
    shown = {
        label.get_text(): at
        for minor in (False, True)
        for at, label in zip(axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor=minor), strict=True)
        if low <= at <= high
    }
    assert {"0.1", "0.2", "0.5"} <= set(shown)
    assert "0.3" not in shown  # 2 and 5 are enough; nine labels a decade overlap
    assert all(float(text) == pytest.approx(at) for text, at in shown.items())
