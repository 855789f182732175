"""Figures: described, in millimetres, true to the arrays behind them."""

from dataclasses import replace

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import viewing
from navkit.geometry import transform_points
from navkit.reconstruction import output_grid, reconstruct


@pytest.fixture
def volume(rng):
    sweep = hand_sweep(rng)
    return reconstruct(sweep, output_grid(sweep, spacing_mm=0.5))


def test_a_figure_without_words_is_refused(tmp_path):
    figure, _ = viewing.new_figure()
    for description in ("", "a plot"):
        with pytest.raises(ValueError, match="for who cannot see it"):
            viewing.save(figure, tmp_path / "x.png", description)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_figure_carries_its_description(tmp_path):
    from PIL import Image

    figure, ax = viewing.new_figure()
    ax.plot([0, 1], [1, 0])
    words = "A line falls from one to zero."
    path = viewing.save(figure, tmp_path / "deep" / "x.png", words)
    assert Image.open(path).text["Description"] == words
    assert [p.name for p in path.parent.iterdir()] == ["x.png"]


def test_show_gives_text_alternative_and_visible_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append((a, k)))
    figure, _ = viewing.new_figure()
    viewing.show(figure, "An empty pair of axes, for the test.")
    assert shown[0][1]["metadata"] == {"image/png": {"alt": "An empty pair of axes, for the test."}}
    assert shown[0][0][0]["image/png"].startswith(b"\x89PNG")
    assert "An empty pair of axes" in shown[1][0][0].data


def test_slices_show_the_voxels_through_the_point_in_millimetres(volume):
    i, j, k = 6, 9, 4
    point = transform_points(volume.grid.pr_M_voxel(), [i, j, k])
    figure = viewing.orthogonal_slices(volume, point)
    images = [ax.images[0] for ax in figure.axes]
    expected = (volume.values[k], volume.values[:, j], volume.values[:, :, i])
    for image, values in zip(images, expected, strict=True):
        assert np.array_equal(np.ma.filled(image.get_array(), np.nan), values, equal_nan=True)
    sx, sy, sz = volume.grid.spacing_mm
    nz, ny, nx = volume.grid.shape
    assert images[0].get_extent() == pytest.approx([-sx / 2, (nx - 0.5) * sx, (ny - 0.5) * sy, -sy / 2])
    assert images[2].get_extent() == pytest.approx([-sy / 2, (ny - 0.5) * sy, (nz - 0.5) * sz, -sz / 2])
    for ax in figure.axes:
        assert "mm" in ax.get_xlabel()
        assert "mm" in ax.get_ylabel()
        assert ax.get_aspect() == 1


def test_a_thick_slice_shows_the_brightest_and_keeps_holes(volume):
    figure = viewing.orthogonal_slices(volume, thickness=1)
    k = round((volume.grid.shape[0] - 1) / 2)
    shown = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    slab = volume.values[k - 1 : k + 2]
    all_nan = np.isnan(slab).all(axis=0)
    assert np.array_equal(np.isnan(shown), all_nan)
    assert np.array_equal(shown[~all_nan], np.nanmax(slab[:, ~all_nan], axis=0))


def test_a_point_outside_the_volume_is_one_sentence(volume):
    with pytest.raises(ValueError, match="expected one inside"):
        viewing.orthogonal_slices(volume, [1e4, 0, 0])


def test_the_gallery_names_frames_without_tracking(rng):
    sweep = hand_sweep(rng)
    sweep = replace(sweep, valid=np.arange(len(sweep)) != 2)
    figure = viewing.frame_gallery(sweep, [1, 2])
    assert [ax.get_title() for ax in figure.axes] == ["frame 1", "frame 2 (no tracking)"]
    sx, _ = sweep.sector.spacing_mm
    assert figure.axes[0].images[0].get_extent()[0] == pytest.approx((-0.5 - 17.25) * sx)


def test_marks_differ_in_shape_and_line_not_only_in_colour():
    marks = viewing.MARKS.values()
    assert len({m.marker for m in marks}) == len(marks)
    assert len({m.colour for m in marks}) == len(marks)
