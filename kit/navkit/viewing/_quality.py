"""The figure of a quality report."""

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from navkit.geometry import inverse, transform_points
from navkit.reconstruction import QualityReport, Volume
from navkit.ultrasound import Sweep
from navkit.viewing._figure import MARKS, new_figure
from navkit.viewing._slices import _grey_map

BINS = (1, 2, 3, 5, 9, 17, 33, 65, np.inf)
"""Weights of voxels are counted from one of these up to the next."""


def quality_figure(report: QualityReport, sweep: Sweep, volume: Volume) -> Figure:
    """The spacing of the frames, a slice through the widest gap, the voxels' weights, and left-out frames.

    The last part is there only if frames were left out. `quality_words` describes it.

    Parameters
    ----------
    report : what `navkit.reconstruction.quality_report` found
    sweep, volume : that it was made of
    """
    if report.leave_out is None:
        figure, axes = new_figure(3, width=14.0, height=4.0)
    else:
        figure, axes = new_figure(2, 2, width=11.0, height=7.6)
        _draw_left_out(axes[1, 1], report)
    first, second, third = axes.ravel()[:3]
    _draw_spacing(first, report)
    _draw_widest(second, report, sweep, volume)
    _draw_weights(third, volume)
    figure.suptitle(f"{report.name}: {len(report.frames)} of {report.frames_in_all} frames")
    return figure


def quality_words(report: QualityReport) -> str:
    """What `quality_figure` shows, for who cannot see it."""
    parts = ["the distance from frame to frame along the sweep", "a slice through the widest gap"]
    parts.append("how many pixels the voxels have")
    if report.leave_out is not None:
        parts.append("how far left-out frames differ from the volume")
    figures = "; ".join(" ".join(line.split()) for line in report.summary())
    return f"Quality of a reconstruction in {len(parts)} parts: {', '.join(parts)}. In figures: {figures}."


def _draw_spacing(ax: Any, report: QualityReport) -> None:
    mark, worst = MARKS["measured"], MARKS["result"]
    if len(report.spacing_mm):
        ax.plot(report.frames[1:], report.spacing_mm, color=mark.colour, linewidth=1.2)
        n = report.widest
        ax.plot(
            report.frames[n + 1],
            report.spacing_mm[n],
            color=worst.colour,
            marker=worst.marker,
            linestyle="none",
            markersize=9,
            label=f"widest: {report.spacing_mm[n]:.2g} mm after frame {report.frames[n]}",
        )
        ax.legend(loc="best")
    ax.set(xlabel="frame", ylabel="from the frame before (mm)", title="Distance of the frames")
    ax.set_ylim(0, 1.3 * report.spacing_mm.max(initial=0.01))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_weights(ax: Any, volume: Volume) -> None:
    weight = volume.weight[volume.weight > 0]
    edges = np.array(BINS)
    share = 100 * np.histogram(np.maximum(weight, 1), edges)[0] / max(weight.size, 1)
    names = ["1", "2", "3-4", "5-8", "9-16", "17-32", "33-64", "> 64"]
    used = slice(0, max(int(np.flatnonzero(share).max(initial=0)) + 1, 3))
    bars = ax.bar(names[used], share[used], color="#d9d9d9", edgecolor="#1b1b1b")
    ax.bar_label(bars, [f"{s:.0f} %" if s >= 0.5 else "" for s in share[used]])
    ax.set(xlabel="pixels in the voxel (by voxel: frames)", ylabel="measured voxels (%)", title="Weight")
    ax.set_ylim(0, 1.15 * share.max(initial=1.0))
    ax.set_axisbelow(True)
    ax.grid(axis="x", visible=False)


def _draw_left_out(ax: Any, report: QualityReport) -> None:
    assert report.leave_out is not None
    left, mark = report.leave_out, MARKS["measured"]
    known = np.isfinite(left.difference)
    total = np.abs(np.where(known, left.difference, 0)).sum(axis=1, dtype=float)
    error = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    ax.plot(
        left.frames, error, color=mark.colour, marker=mark.marker, linestyle=mark.line, label="each frame"
    )
    ax.axhline(left.mae, color=MARKS["truth"].colour, linewidth=1.0, label=f"all: {left.mae:.3g}")
    ax.set(xlabel="frame", ylabel="mean absolute error (grey levels)", title="Frames that were left out")
    ax.set_ylim(0, 1.25 * np.nanmax(error))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="best")


def _draw_widest(ax: Any, report: QualityReport, sweep: Sweep, volume: Volume) -> None:
    """The slice of the volume that holds the widest gap and cuts best across the pictures' rows."""
    grid = volume.grid
    spacing, size = np.array(grid.spacing_mm), np.array(grid.shape[::-1])
    pair = report.frames[report.widest : report.widest + 2]
    d_M_p = inverse(grid.pr_M_d) @ sweep.pr_M_p[pair]
    fixed = int(np.argmax(np.abs(d_M_p[0, :3, 0])))
    across, down = (n for n in range(3) if n != fixed)
    at = int(np.clip(np.rint(grid.voxels(report.widest_pr)[fixed]), 0, size[fixed] - 1))
    low, high = -0.5 * spacing, (size - 0.5) * spacing
    ax.imshow(
        np.take(volume.values, at, axis=2 - fixed),
        cmap=_grey_map(),
        vmin=0,
        vmax=255,
        extent=(low[across], high[across], high[down], low[down]),
        interpolation="nearest",
    )
    rows, columns = np.nonzero(sweep.sector.mask())
    ends_p = [[columns.mean(), row, 0.0] for row in (rows.min(), rows.max())]
    outline = [patheffects.withStroke(linewidth=3.5, foreground="black")]
    for d_M_one, frame, line in zip(d_M_p, pair, ("-", "--"), strict=False):
        ends = transform_points(d_M_one, ends_p)[:, [across, down]]
        style = {"color": "white", "linestyle": line, "linewidth": 1.5, "path_effects": outline}
        ax.plot(*ends.T, label=f"frame {frame}", **style)
    ax.set(
        xlabel=f"{'xyz'[across]}$_d$ (mm)",
        ylabel=f"{'xyz'[down]}$_d$ (mm)",
        title="Where it is widest",
        xlim=(low[across], high[across]),
        ylim=(high[down], low[down]),
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    ax.grid(False)
