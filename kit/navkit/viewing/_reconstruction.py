"""Pictures of a sweep in space, of volumes side by side, and of the wire cross."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import inverse, transform_points
from navkit.reconstruction import Volume, WireCross, sample
from navkit.ultrasound import Sweep
from navkit.viewing._figure import MARKS, new_figure
from navkit.viewing._slices import _grey_map, _slab

Array = NDArray[np.float64]

PLANES = {"xy": 0, "xz": 1, "yz": 2}
"""The axes across and down of a slice, and the index of ``values`` (nz, ny, nx) that it holds fixed."""
BAR_MM = 5.0
HATCHES = {"measured": ("#d9d9d9", ""), "filled": ("#8fb8d6", "//"), "no data": ("#4a6b8a", "xx")}


def frames_in_space(
    sweep: Sweep,
    frames: Sequence[int],
    *,
    brighter_than: float | None = None,
    deeper_than_mm: float = 0.0,
    title: str = "",
) -> Figure:
    """The outlines of some frames in the patient reference, and where the probe went.

    Parameters
    ----------
    frames : which frames are drawn as sheets: the clip rectangle, its top edge (the probe) thick
    brighter_than : also show the pixels of all valid frames above this grey value, as points
    deeper_than_mm : of those only the ones this far below the top of the clip rectangle; the probe's own
        face is bright in every frame

    Raises
    ------
    ValueError
        If one of the frames has no pose, and so no place.
    """
    lost = [n for n in frames if not sweep.valid[n]]
    if lost:
        raise ValueError(f"frame {lost[0]} is not valid: it has no pose; expected frames that have one.")
    left, right, top, bottom = sweep.sector.clip_p
    corners_p = np.array(
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], dtype=float
    )
    origins = sweep.pr_M_p[sweep.valid] @ [*sweep.sector.origin_p, 0.0, 1.0]
    figure, ax = new_figure(width=8.0, height=6.0, projection="3d")
    for n in frames:
        sheet = transform_points(sweep.pr_M_p[n], np.pad(corners_p, ((0, 0), (0, 1))))
        ax.plot(*sheet.T, color="#555555", linewidth=0.8)
        ax.plot(*sheet[:2].T, color="#1b1b1b", linewidth=2.5)
    mark = MARKS["measured"]
    ax.plot(*origins[:, :3].T, color=mark.colour, linestyle=mark.line, linewidth=1.5, label="origin of t")
    if brighter_than is not None:
        bright = _bright_pixels(sweep, brighter_than, deeper_than_mm)
        mark, label = MARKS["result"], f"pixels above {brighter_than:g}"
        ax.scatter(*bright.T, s=4, color=mark.colour, marker=mark.marker, linewidths=0, label=label)
    ax.set(xlabel="x$_{pr}$ (mm)", ylabel="y$_{pr}$ (mm)", zlabel="z$_{pr}$ (mm)")
    ax.set_aspect("equal")
    # the probe stands on top, its beam points down: +z of the patient reference goes down in the picture
    ax.view_init(elev=-20, azim=-62)
    ax.invert_zaxis()
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(5))
    if title:
        figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=2, markerscale=3)
    return figure


def _bright_pixels(sweep: Sweep, brighter_than: float, deeper_than_mm: float) -> Array:
    """Pixels (k, 3) of the valid frames, inside the mask, above a grey value and below a depth, in ``pr``."""
    n, rows, columns = np.nonzero((sweep.frames > brighter_than) & sweep.sector.mask())
    keep = sweep.valid[n] & ((rows - sweep.sector.clip_p[2]) * sweep.sector.spacing_mm[1] >= deeper_than_mm)
    pixels = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)], axis=-1)[keep]
    points: Array = np.einsum("nij,nj->ni", sweep.pr_M_p[n[keep], :3], pixels)
    return points


def compare_slices(
    volumes: Mapping[str, Volume],
    at_pr: ArrayLike,
    *,
    plane: str = "xy",
    within_mm: float | None = None,
    thickness: int = 0,
    title: str = "",
) -> Figure:
    """The same slice of several volumes side by side, each along its own axes, to scale.

    Parameters
    ----------
    volumes : title of the panel -> volume
    at_pr : (3,) the point that the slice holds, or (n, 3), one for each volume; mm
    plane : "xy", "xz" or "yz", axes of the volume
    within_mm : show no more than this to either side of the point
    thickness : show the brightest of this many voxels on either side too

    Raises
    ------
    ValueError
        If the plane is unknown or the point lies outside a volume.
    """
    if plane not in PLANES:
        raise ValueError(f"plane is {plane!r}; expected one of {', '.join(PLANES)}.")
    points = np.broadcast_to(np.asarray(at_pr, dtype=float), (len(volumes), 3))
    figure, axes = new_figure(len(volumes), width=min(4.2 * len(volumes), 13.0), height=4.4)
    across, down = ("xyz".index(letter) for letter in plane)
    for ax, (name, volume), point in zip(np.atleast_1d(axes), volumes.items(), points, strict=True):
        where = volume.grid.voxels(point)
        fixed = int(np.rint(where[2 - PLANES[plane]]))
        size = np.array(volume.grid.shape[::-1])
        if np.any(where < -0.5) or np.any(where >= size - 0.5):
            raise ValueError(
                f"{name}: the point {np.round(point, 1)} lies outside the volume. "
                "Is it given in the patient reference?"
            )
        spacing = np.array(volume.grid.spacing_mm)
        low = -0.5 * spacing
        high = (size - 0.5) * spacing
        picture = _slab(volume.values, PLANES[plane], fixed, thickness)
        ax.imshow(
            picture,
            cmap=_grey_map(),
            vmin=0,
            vmax=255,
            extent=(low[across], high[across], high[down], low[down]),
            interpolation="nearest",
        )
        if within_mm is not None:
            centre = where * spacing
            ax.set_xlim(centre[across] - within_mm, centre[across] + within_mm)
            ax.set_ylim(centre[down] + within_mm, centre[down] - within_mm)
        ax.set(xlabel=f"{plane[0]}$_d$ (mm)", ylabel=f"{plane[1]}$_d$ (mm)", title=name)
        ax.grid(False)
    if title:
        figure.suptitle(title)
    return figure


def voxel_shares(volumes: Mapping[str, Volume], *, title: str = "") -> Figure:
    """How many of each volume's voxels were measured, were filled, and hold no data: bars in per cent."""
    shares = {
        "measured": [float(np.mean(v.weight > 0)) for v in volumes.values()],
        "filled": [float(np.mean(v.filled)) for v in volumes.values()],
        "no data": [float(np.mean(np.isnan(v.values))) for v in volumes.values()],
    }
    figure, ax = new_figure(width=9.0, height=1.8 + 0.6 * len(volumes))
    start = np.zeros(len(volumes))
    for kind, share in shares.items():
        colour, hatch = HATCHES[kind]
        percent = 100 * np.array(share)
        bars = ax.barh(
            list(volumes), percent, left=start, color=colour, hatch=hatch, edgecolor="#1b1b1b", label=kind
        )
        words = [f"{p:.0f} %" if p >= 4 else "" for p in percent]
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        for text in ax.bar_label(bars, words, label_type="center"):
            text.set_bbox(box if text.get_text() else None)
        start = start + percent
    ax.set(xlim=(0, 100), xlabel="share of the volume's voxels (%)", title=title)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def wires_in_their_plane(
    volumes: Mapping[str, Volume],
    crosses: Sequence[WireCross],
    *,
    threshold: float = 128.0,
    within_mm: float = 12.0,
    off_plane_mm: float = 2.0,
    title: str = "",
) -> Figure:
    """The bright voxels of a wire cross, seen straight onto the plane of its two wires.

    In this view the angle on the paper is the angle in space. Axes run along the first wire and across
    it, from the point where the wires meet.

    Parameters
    ----------
    crosses : what `measure_wire_cross` found in each volume
    threshold, within_mm, off_plane_mm : which voxels count as bright, how far from the cross and how
        far to either side of the plane they are shown
    """
    figure, axes = new_figure(len(volumes), width=min(5.0 * len(volumes), 12.0), height=5.0)
    for ax, (name, volume), cross in zip(np.atleast_1d(axes), volumes.items(), crosses, strict=True):
        plane = _plane_of(cross)
        k, j, i = np.nonzero((volume.weight > 0) & (volume.values > threshold))
        voxels = np.stack([i, j, k], axis=-1).astype(float)
        points = transform_points(inverse(plane) @ volume.grid.pr_M_voxel(), voxels)
        near = (np.linalg.norm(points, axis=1) <= within_mm) & (np.abs(points[:, 2]) <= off_plane_mm)
        grey = volume.values[k, j, i][near]
        # bright on a light page: the brighter the darker, but pale enough for the lines on top
        ax.scatter(*points[near, :2].T, c=grey, cmap="Greys", vmin=0, vmax=500, s=9, linewidths=0)
        ax.set_axisbelow(True)
        reach = np.array([-within_mm, within_mm])
        outline = [patheffects.withStroke(linewidth=4.0, foreground="white")]
        for number, (direction, kind) in enumerate(
            zip(cross.direction_pr, ("result", "measured"), strict=True), start=1
        ):
            along = plane[:3, :3].T @ direction
            line = np.outer(along[:2], reach)
            style = {"color": MARKS[kind].colour, "linestyle": MARKS[kind].line, "path_effects": outline}
            ax.plot(*line, **style, linewidth=2.0, label=f"wire {number}")
        rms = " and ".join(f"{value:.2f}" for value in cross.rms_mm)
        ax.set(
            xlabel="along wire 1 (mm)",
            ylabel="across wire 1 (mm)",
            title=f"{name}: {cross.angle_deg:.1f}°\nscatter {rms} mm",
            xlim=reach,
            ylim=reach,
            aspect="equal",
        )
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title)
    return figure


def slices_through_wires(
    volumes: Mapping[str, Volume], cross: WireCross, *, within_mm: float = 10.0, title: str = ""
) -> Figure:
    """The plane of a cross's two wires through several volumes side by side, in one grey window.

    Wire 1 runs from left to right. Greys are trilinear between the known voxels; the bar is 5 mm long.

    Parameters
    ----------
    cross : whose plane is shown, the same in all volumes
    within_mm : how much is shown to either side of the point where the wires meet
    """
    steps = np.arange(-within_mm, within_mm + 0.05, 0.1)
    across, down = np.meshgrid(steps, steps)
    points = transform_points(_plane_of(cross), np.stack([across, down, 0 * down], axis=-1))
    figure, axes = new_figure(len(volumes), width=3.0 * len(volumes), height=3.5)
    for ax, (name, volume) in zip(np.atleast_1d(axes), volumes.items(), strict=True):
        extent = (-within_mm - 0.05, within_mm + 0.05, within_mm + 0.05, -within_mm - 0.05)
        ax.imshow(sample(volume, points), cmap=_grey_map(), vmin=0, vmax=255, extent=extent)
        end = within_mm - 1.0
        outline = [patheffects.withStroke(linewidth=5.0, foreground="black")]
        ax.plot([end - BAR_MM, end], [end, end], color="white", linewidth=3.0, path_effects=outline)
        ax.text(
            end - BAR_MM / 2,
            end - 0.4,
            f"{BAR_MM:g} mm",
            color="white",
            ha="center",
            va="bottom",
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="black")],
        )
        ax.set(title=name, xticks=[], yticks=[])
        ax.grid(False)
    if title:
        figure.suptitle(title)
    return figure


def _plane_of(cross: WireCross) -> Array:
    """``pr_M_plane`` (4, 4): x along the first wire, z across both, the origin where they meet."""
    u, v = cross.direction_pr
    normal = np.cross(u, v)
    normal /= np.linalg.norm(normal)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([u, np.cross(normal, u), normal], axis=1)
    pose[:3, 3] = cross.cross_pr
    return pose
