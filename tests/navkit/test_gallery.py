"""The gallery: every phantom on it, none of its pictures empty, the planes the same in all three panels."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from navkit import phantoms, viewing
from navkit.geometry import transform_points
from navkit.phantoms import Phantom
from navkit.ultrasound import SimulationSettings
from navkit.viewing import VIEWS, View, gallery, save_gallery
from navkit.viewing import _gallery as inside

IN_WATER = {"nwires", "wire_cross", "water_tank"}
EDGE_PX = 22  # of white, around every saved figure


def quick(view: View) -> View:
    """The view with coarse settings: as bright, in a tenth of the time."""
    fast = SimulationSettings.fast(frequency_mhz=view.settings.frequency_mhz, focus_mm=view.settings.focus_mm)
    same = {k: getattr(view.settings, k) for k in ("gain_db", "dynamic_range_db", "ring_down_mm")}
    return replace(view, settings=replace(fast, voxel_mm=0.8, max_samples=256, **same))


def test_every_phantom_is_shown():
    functions = {name: one for name in phantoms.__all__ if inspect.isfunction(one := getattr(phantoms, name))}
    made = {name for name, f in functions.items() if inspect.signature(f).return_annotation is Phantom}
    assert len(made) == 11
    assert {view.name for view in VIEWS} == made


def test_titles_differ_and_one_view_has_colour_flow():
    assert len({view.title for view in VIEWS}) == len(VIEWS)
    assert sum(view.flow is not None for view in VIEWS) == 1


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.title)
def test_no_picture_is_empty_and_numbers_lie_on_what_they_name(view, rng):
    view = quick(view)
    seen = inside.see(view, rng=rng)
    frame = seen.frame if seen.frame.ndim == 2 else seen.frame.mean(axis=2)
    mask = view.sector.mask()
    grey = frame[mask]
    low, high = (0.5, 20) if view.name in IN_WATER else (20, 140)
    assert low < grey.mean() < high
    assert grey.min() <= 25
    assert grey.max() >= 200
    assert frame[~binary_dilation(mask, iterations=2)].max() == 0
    assert (seen.frame.ndim == 3) == (view.flow is not None)

    assert len(seen.places) == len(view.shows)
    phantom = view.phantom()
    parts = [part.name for part in phantom.parts]
    for shown, (x, y, _) in zip(view.shows, seen.places.values(), strict=True):
        name = shown.partition("=")[0]
        assert mask[round(y), round(x)], f"{name} lies beside the beam"
        at = transform_points(view.d_M_t(phantom) @ view.sector.t_M_p(), [x, y, 0.0])
        if name in parts:
            assert parts[phantom.labels(at) - 1] == name
        else:
            assert np.linalg.norm(at - phantom.landmarks[name]) < 1.0


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.title)
def test_the_probe_touches_and_the_pose_is_rigid(view):
    phantom = view.phantom()
    pose = view.d_M_t(phantom)
    assert pose[:3, :3].T @ pose[:3, :3] == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    depth = np.linspace(0, 6, 25)
    beam = transform_points(pose, [[0, 0, view.sector.depth_mm[0] + d] for d in depth])
    first = {phantom.tissues[k].name for k in phantom.labels(beam)}
    assert "air" not in first
    if view.name not in IN_WATER:
        assert not first <= {"gel", "water"}


def test_the_slices_show_the_tissues_of_the_plane(rng):
    view = next(view for view in VIEWS if view.title.startswith("Aorta") and "along" in view.title)
    seen = inside.see(quick(view), rng=rng)
    x, y, _ = seen.places["lumen"]
    contrast = seen.ct[round(y / inside.COARSER - 0.5), round(x / inside.COARSER - 0.5)]
    assert contrast == pytest.approx(300, abs=25)
    x, y, _ = seen.places["vertebrae"]
    row, column = round(y / inside.COARSER - 0.5), round(x / inside.COARSER - 0.5)
    assert seen.ct[row, column] > 900
    assert seen.mr[row, column] < 0.1


def test_a_pixel_of_the_panel_is_the_mean_of_four_that_surround_it():
    sector = VIEWS[0].sector
    fine = inside._finer(sector)
    assert fine.shape == (2 * sector.shape[0], 2 * sector.shape[1])
    four = fine.pixels_to_tool([[100, 60], [101, 60], [100, 61], [101, 61]])
    assert four.mean(axis=0) == pytest.approx(sector.pixels_to_tool([50, 30]), abs=1e-12)
    assert fine.mask()[60:62, 100:102].all() == sector.mask()[30, 50]


def test_what_is_to_be_seen_and_is_not_is_an_error(rng):
    lost = replace(quick(VIEWS[0]), shows=("tumour", "skin"))
    with pytest.raises(ValueError, match="skin is not in the picture 'Brain: tumour"):
        inside.see(lost, rng=rng)


def test_a_small_sheet_is_made_in_seconds(tmp_path, rng):
    few = [quick(view) for view in VIEWS if view.name in ("ellipsoids_in_tissue", "orbit", "water_tank")]
    figure, description = gallery(few, rng=rng)
    path = save_gallery(figure, tmp_path / "deep" / "sheet.png", description)
    picture = Image.open(path)
    width, height = inside._sheet_px(3, 2)
    assert picture.size == (width + EDGE_PX, height + EDGE_PX)
    assert picture.text["Description"] == description
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    for view in few:
        assert f"{view.name}, {view.title}" in description
    assert "3 vitreous" in " ".join(text.get_text() for text in figure.texts)
    assert len(figure.axes) == 9


def test_colours_of_flow_survive_the_palette(tmp_path, rng):
    from navkit.ultrasound import flow_colours

    figure, ax = viewing.new_figure(width=2.0, height=2.0)
    ax.imshow(flow_colours("colour")[None], aspect="auto")
    path = save_gallery(figure, tmp_path / "c.png", "The scale of the colours of flow.")
    rgb = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    assert (rgb[:, 0] - rgb[:, 2]).max() > 180
    assert (rgb[:, 2] - rgb[:, 0]).max() > 180


def test_the_committed_sheet_is_of_all_views(root):
    path = root / "datasets" / "cards" / "gallery.png"
    assert path.stat().st_size < 1_000_000
    picture = Image.open(path)
    width, height = inside._sheet_px(len(VIEWS), 2)
    assert picture.size == (width + EDGE_PX, height + EDGE_PX)
    description = picture.text["Description"]
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for number, view in enumerate(VIEWS, start=1):
        assert f"{number} {view.name}, {view.title}:" in description
        assert f"| {number} | `{view.name}` |" in card
    assert "not a medical device" in " ".join(card.split())
