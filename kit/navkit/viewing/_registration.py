"""Pictures of registration: points on points, errors against errors, and error maps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from navkit.viewing._figure import MARKS, new_figure

__all__ = ["error_maps", "error_scatter"]


def error_scatter(x_mm: ArrayLike, y_mm: ArrayLike, *, xlabel: str, ylabel: str, title: str = "") -> Figure:
    """One point for each experiment: an error on either axis, both in mm and from zero.

    The dotted diagonal is where the two would be equal.
    """
    x, y = np.asarray(x_mm, dtype=float), np.asarray(y_mm, dtype=float)
    figure, ax = new_figure(width=6.6, height=5.2)
    mark = MARKS["measured"]
    ax.plot(x, y, linestyle="none", marker=".", markersize=4, color=mark.colour, alpha=0.5)
    top = float(max(x.max(), y.max())) * 1.05
    ax.plot([0, top], [0, top], color=MARKS["truth"].colour, linestyle=":", label="equal")
    ax.set(xlim=(0, float(x.max()) * 1.05), ylim=(0, float(y.max()) * 1.05))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend(loc="upper right")
    return figure


def error_maps(
    across_mm: ArrayLike,
    up_mm: ArrayLike,
    maps: Mapping[str, ArrayLike],
    points: Mapping[str, Mapping[str, tuple[ArrayLike, str]]],
    *,
    levels_mm: Sequence[float],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Maps of an error over a plane, side by side on one scale, with labelled contours.

    Parameters
    ----------
    across_mm, up_mm : (n,), (m,) the axes of the plane
    maps : title -> error (m, n) in mm
    points : title -> what is drawn on that map: name -> (points (k, 2) in the plane, a key of `MARKS`)
    levels_mm : where the contours run
    """
    figure, axes = new_figure(len(maps), width=5.6 * len(maps), height=4.8)
    panels = list(np.atleast_1d(axes))
    for ax, (title, error) in zip(panels, maps.items(), strict=True):
        shown = ax.contourf(across_mm, up_mm, error, levels=levels_mm, cmap="Greys", extend="both")
        lines = ax.contour(across_mm, up_mm, error, levels=levels_mm, colors="#1b1b1b", linewidths=0.7)
        ax.clabel(lines, fmt="%g mm", fontsize=9)
        for name, (place, kind) in points[title].items():
            p, mark = np.atleast_2d(np.asarray(place, dtype=float)), MARKS[kind]
            ax.plot(
                p[:, 0],
                p[:, 1],
                linestyle="none",
                marker=mark.marker,
                markersize=10,
                color=mark.colour,
                markeredgecolor="white",
                label=name,
            )
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        ax.set_aspect("equal")
        ax.grid(False)
    panels[0].legend(loc="upper left", frameon=True)
    figure.colorbar(shown, ax=panels, label="error (mm)", shrink=0.85)
    return figure
