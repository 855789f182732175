"""Pictures of tracked tools: where a sensor and a tip went, and how errors grow."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import ArrayLike

from navkit.viewing._figure import MARKS, new_figure

__all__ = ["curves", "point_clouds"]


def point_clouds(
    clouds_pr: Mapping[str, tuple[ArrayLike, str]], *, title: str = "", space: str = "pr"
) -> Figure:
    """Clouds of points seen along y and along x, to scale.

    Parameters
    ----------
    clouds_pr : name -> (points (n, 3) mm, a key of `MARKS`); shape and colour both tell them apart
    space : the letter of the space, for the axes
    """
    figure, axes = new_figure(2, width=10.0, height=5.0)
    for ax, (across, up) in zip(axes, ((0, 2), (1, 2)), strict=True):
        for name, (points, kind) in clouds_pr.items():
            p, mark = np.atleast_2d(np.asarray(points, dtype=float)), MARKS[kind]
            ax.plot(
                p[:, across],
                p[:, up],
                linestyle="none",
                marker=mark.marker,
                color=mark.colour,
                markersize=5,
                markerfacecolor="none",
                label=name,
            )
        ax.set(xlabel=f"{'xyz'[across]}$_{{{space}}}$ (mm)", ylabel=f"{'xyz'[up]}$_{{{space}}}$ (mm)")
        ax.set_aspect("equal", adjustable="datalim")
    axes[0].legend(loc="best")
    if title:
        figure.suptitle(title)
    return figure


def curves(
    x: ArrayLike,
    lines: Mapping[str, tuple[ArrayLike, str]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: bool = False,
) -> Figure:
    """Curves over one axis, told apart by line, marker and colour; labels carry their units.

    Parameters
    ----------
    lines : name -> (values (n,), a key of `MARKS`)
    log : a logarithmic vertical axis, its ticks as plain numbers
    """
    figure, ax = new_figure(width=8.0, height=4.2)
    for name, (values, kind) in lines.items():
        mark = MARKS[kind]
        ax.plot(x, values, color=mark.colour, marker=mark.marker, linestyle=mark.line, label=name)
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        # Within one or two decades the powers of ten alone leave nothing to read off.
        ax.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        ax.set_ylim(bottom=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend()
    return figure
