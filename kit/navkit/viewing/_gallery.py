"""The gallery: every phantom in ultrasound, with the CT-like and the MR-like picture of the same plane."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from numpy.typing import NDArray

from navkit.geometry import inverse, transform_points
from navkit.phantoms import TISSUES, Phantom
from navkit.ultrasound import ProbeSector, flow_colours, simulate_angio, simulate_frame
from navkit.viewing._figure import _png, new_figure
from navkit.viewing._views import VIEWS, View

Array = NDArray[np.float64]

DPI = 110
PANEL_PX, GAP_PX, TITLE_PX, WORDS_PX, HEAD_PX, FOOT_PX = (308, 264), 6, 34, 46, 84, 70
GROUP_PX = (3 * (PANEL_PX[0] + GAP_PX) + 3 * GAP_PX, TITLE_PX + PANEL_PX[1] + WORDS_PX)
"""A view with its title and its words."""
SLICE_MM = (-1.0, 0.0, 1.0)
NOISE_HU, NOISE_MR = 5.0, 0.01
COARSER = 3
GREYS, COLOURS = 40, 24
INSIDE_PX = 13
"""A structure that a circle of this radius fits into has its number inside; others get a line to it."""
BOUNDARY = "#ffe08a"


@dataclass(frozen=True)
class Seen:
    """A view as it is drawn.

    Parameters
    ----------
    frame : (height, width) or (height, width, 3) uint8, on the view's sector
    ct, mr : (rows, columns) the same plane, HU and 0 to 1, as coarse as scanners are
    places : name -> column, row, radius in pixels of the frame, of the structures that have a number
    """

    frame: NDArray[np.uint8]
    ct: Array
    mr: Array
    places: dict[str, tuple[float, float, float]]


def see(view: View, *, rng: np.random.Generator) -> Seen:
    """Simulate a view, and sample the phantom on its plane."""
    phantom = view.phantom()
    d_M_t = view.d_M_t(phantom)
    fine = _finer(view.sector)
    d_M_fine = d_M_t @ fine.t_M_p()
    if view.flow is None:
        big = simulate_frame(phantom, fine, d_M_fine, rng=rng, settings=view.settings)[..., None]
    else:
        big = simulate_angio(phantom, fine, d_M_fine, rng=rng, settings=view.settings, flow=view.flow)
    height, width = view.sector.shape
    frame = big.reshape(height, 2, width, 2, -1).mean(axis=(1, 3)).round().astype(np.uint8).squeeze()

    d_M_p = d_M_t @ view.sector.t_M_p()
    ct, mr = (_slice(phantom, d_M_p, view.sector, kind, rng) for kind in ("hounsfield", "mr"))
    return Seen(frame, ct, mr, _places(phantom, d_M_p, view))


def _finer(sector: ProbeSector) -> ProbeSector:
    """Twice as many pixels each way: a panel's pixel is the mean of four, or it would miss echoes."""
    (c, r), (left, right, top, bottom) = sector.origin_p, sector.clip_p
    return replace(
        sector,
        origin_p=(2 * c + 0.5, 2 * r + 0.5),
        spacing_mm=(sector.spacing_mm[0] / 2, sector.spacing_mm[1] / 2),
        clip_p=(2 * left, 2 * right + 1, 2 * top, 2 * bottom + 1),
        shape=(2 * sector.shape[0], 2 * sector.shape[1]),
    )


def _slice(phantom: Phantom, d_M_p: Array, sector: ProbeSector, kind: str, rng: np.random.Generator) -> Array:
    """CT-like or MR-like values of the picture's plane, three layers thick, on pixels three times as wide."""
    from scipy.ndimage import gaussian_filter

    rows, columns = (np.arange((COARSER - 1) / 2, n, COARSER) for n in sector.shape)
    layer, row, column = np.meshgrid(SLICE_MM, rows, columns, indexing="ij")
    points = transform_points(d_M_p, np.stack([column, row, layer], axis=-1))
    grey = np.array([getattr(t, kind) for t in phantom.tissues])[phantom.labels(points)]
    for a, b in phantom.wires:
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)[..., None]
        near = np.linalg.norm(points - a - along * (b - a), axis=-1) < 0.75 * COARSER * sector.spacing_mm[0]
        grey[near] = getattr(TISSUES["steel"], kind)
    plane = gaussian_filter(grey.mean(axis=0), 0.6)
    if kind == "hounsfield":
        return np.asarray(plane + NOISE_HU * rng.normal(size=plane.shape))
    return np.asarray(
        np.hypot(plane + NOISE_MR * rng.normal(size=plane.shape), NOISE_MR * rng.normal(size=plane.shape))
    )


def _places(phantom: Phantom, d_M_p: Array, view: View) -> dict[str, tuple[float, float, float]]:
    """Where the number of each structure goes: the middle of the largest circle in it, or its landmark."""
    from scipy.ndimage import distance_transform_edt

    mask = view.sector.mask()
    rows, columns = np.indices(mask.shape)
    labels = phantom.labels(transform_points(d_M_p, np.stack([columns, rows, 0 * rows], axis=-1)))
    names = [part.name for part in phantom.parts]
    found = {}
    for shown in view.shows:
        name, _, words = shown.partition("=")
        if name in names:
            inside = np.pad((labels == names.index(name) + 1) & mask, 1)
            depth = distance_transform_edt(inside)[1:-1, 1:-1]
            row, column = np.unravel_index(int(depth.argmax()), depth.shape)
            radius = float(depth[row, column])
        else:
            column, row, _ = transform_points(inverse(d_M_p), phantom.landmarks[name])
            radius = 1.0
        if radius == 0:
            raise ValueError(f"{name} is not in the picture {view.title!r}; expected what it shows.")
        found[words or name] = (float(column), float(row), radius)
    return found


def gallery(
    views: Sequence[View] = VIEWS, *, rng: np.random.Generator, across: int = 2
) -> tuple[Figure, str]:
    """A contact sheet: each view in ultrasound, with CT-like and MR-like pictures of the same plane.

    The three panels of a view have one scale and show the beam's outline; numbers name the structures.

    Parameters
    ----------
    views : which ones, all unless given
    rng : numpy Generator, for the noise
    across : how many views stand side by side

    Returns
    -------
    figure, description : what `save_gallery` takes

    Raises
    ------
    ValueError
        If a structure that a view is to show does not lie in its picture.
    """
    wide, high = PANEL_PX
    down = -(-len(views) // across)
    width, height = _sheet_px(len(views), across)
    figure, axes = new_figure(3 * across, down, width=width / DPI, height=height / DPI)
    figure.set_layout_engine("none")
    panels = np.reshape(axes, (down, across, 3))
    said = []
    for k, view in enumerate(views):
        row, column = divmod(k, across)
        seen = see(view, rng=rng)
        left = 3 * GAP_PX + column * GROUP_PX[0]
        top = HEAD_PX + row * GROUP_PX[1] + TITLE_PX
        for j, ax in enumerate(panels[row, column]):
            x, y = left + j * (wide + GAP_PX), height - top - high
            ax.set_position((x / width, y / height, wide / width, high / height))
            _draw(ax, view, seen, ("ultrasound", "CT-like", "MR-like")[j])
        figure.text(left / width, 1 - (top - 8) / height, f"{k + 1}. {view.title}", size=12, weight="bold")
        numbers = "   ".join(f"{n} {name}" for n, name in enumerate(seen.places, start=1)) or "wires"
        start, end = view.sector.depth_mm
        how = f"{view.probe}, {view.settings.frequency_mhz:g} MHz, {end - start:.0f} mm deep"
        figure.text(left / width, 1 - (top + high + 16) / height, numbers, size=9.5)
        figure.text(left / width, 1 - (top + high + 33) / height, how, size=9, color="#555555")
        said.append(f"{k + 1} {view.name}, {view.title}: {', '.join(seen.places) or 'wires'}")
    for ax in panels.reshape(-1, 3)[len(views) :].ravel():
        ax.remove()
    _frame(figure, height)
    what = "Contact sheet of simulated ultrasound, with CT-like and MR-like pictures of the same planes."
    return figure, f"{what} {'; '.join(said)}."


def _sheet_px(views: int, across: int) -> tuple[int, int]:
    """Width and height of a sheet, without the white edge that every saved figure gets."""
    return across * GROUP_PX[0] + 3 * GAP_PX, HEAD_PX + -(-views // across) * GROUP_PX[1] + FOOT_PX


def _frame(figure: Figure, height: int) -> None:
    from matplotlib.patches import Rectangle

    paper = Rectangle((0, 0), 1, 1, transform=figure.transFigure, facecolor="white", zorder=-1)
    figure.add_artist(paper)
    figure.text(0.012, 1 - 34 / height, "Simulated ultrasound of every phantom", size=19, weight="bold")
    figure.text(
        0.012, 1 - 62 / height,
        "Left: ultrasound. Middle: CT-like. Right: MR-like (as T1). One plane and one scale for the three; "
        "the bar is 10 mm. Dotted: the beam's outline. Numbers name the structures.", size=11,
    )  # fmt: skip
    figure.text(
        0.012, 24 / height,
        "Colour flow: red towards the probe, blue away from it. The fast model has no side lobes, no "
        "refraction, and one speed of sound for all tissues.\n"
        "For teaching and research; not a medical device. Simulated: no one's anatomy.", size=10.5,
    )  # fmt: skip


def _draw(ax: Any, view: View, seen: Seen, kind: str) -> None:
    """One panel: a pixel of the frame is a pixel of the sheet."""
    height, width = view.sector.shape
    left, top = (width - PANEL_PX[0]) // 2, (height - PANEL_PX[1]) // 2
    ax.set(xticks=[], yticks=[], facecolor="black")
    ax.spines[:].set_visible(False)
    if kind == "ultrasound":
        ax.imshow(seen.frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    else:
        values, brightest = (seen.ct if kind == "CT-like" else seen.mr), 1.1 * max(seen.mr.max(), 0.3)
        middle, wide = view.window_hu if kind == "CT-like" else (brightest / 2, brightest)
        extent = (-0.5, COARSER * values.shape[1] - 0.5, COARSER * values.shape[0] - 0.5, -0.5)
        ax.imshow(
            values, cmap="gray", vmin=middle - wide / 2, vmax=middle + wide / 2, extent=extent,
            interpolation="bilinear", aspect="auto",
        )  # fmt: skip
        edge = view.sector.mask().astype(float)
        ax.contour(edge, levels=[0.5], colors=BOUNDARY, linewidths=1.0, linestyles=":")
    ax.grid(False)
    ax.set(xlim=(left - 0.5, left + PANEL_PX[0] - 0.5), ylim=(top + PANEL_PX[1] - 0.5, top - 0.5))
    _number(ax, seen.places, (left, top))
    bar = 10 / view.sector.spacing_mm[0]
    x, y = left + 9, top + PANEL_PX[1] - 9
    style = {"linewidth": 2.5, "solid_capstyle": "butt"}
    ax.plot([x, x + bar], [y, y], color="white", path_effects=_outline(4.5), **style)


def _outline(width: float) -> list[Any]:
    return [patheffects.withStroke(linewidth=width, foreground="black")]


def _number(ax: Any, places: dict[str, tuple[float, float, float]], corner: tuple[int, int]) -> None:
    """Numbers inside what is large, beside what is small and joined to it; away from one another."""
    taken = [(x, y) for x, y, radius in places.values() if radius >= INSIDE_PX]
    for number, (x, y, radius) in enumerate(places.values(), start=1):
        at, arrow = (x, y), None
        if radius < INSIDE_PX:
            around = [(x + a, y + b) for a, b in ((23, -17), (-23, -17), (23, 17), (-23, 17))]
            off = np.array(around) - corner
            room = ((off > 8) & (off < np.array(PANEL_PX) - 8)).all(axis=1)
            apart = [min([np.hypot(a - u, b - v) // 24 for u, v in taken], default=9) for a, b in around]
            at = around[int(np.where(room, apart, -1).argmax())]
            taken.append(at)
            arrow = {"arrowstyle": "-", "color": "white", "linewidth": 1.0, "shrinkA": 0, "shrinkB": 2,
                     "path_effects": _outline(2.5)}  # fmt: skip
        ax.annotate(
            str(number), (x, y), xytext=at, ha="center", va="center", color="white", size=11, weight="bold",
            path_effects=_outline(2.5), arrowprops=arrow,
        )  # fmt: skip


def save_gallery(figure: Figure, path: str | Path, description: str) -> Path:
    """Write a contact sheet as PNG, complete or not at all, in 40 greys and 24 colours: speckle is large.

    Raises
    ------
    ValueError
        If the description has fewer than five words.
    """
    from PIL import Image, PngImagePlugin

    path = Path(path)
    picture = Image.open(BytesIO(_png(figure, description))).convert("RGB")
    grey = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    colour = flow_colours("colour")[np.linspace(0, 255, COLOURS).astype(int)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([grey, colour]).ravel().tolist())
    few = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Description", description)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    few.save(temporary, format="PNG", optimize=True, pnginfo=words)
    temporary.replace(path)
    return path
