"""How a figure is made, described, shown and saved."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE = {
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "figure.dpi": 100,
    "savefig.dpi": 110,
    "image.cmap": "gray",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Mark:
    """How one kind of thing looks in every figure: colour, marker and line, each enough alone."""

    colour: str
    marker: str
    line: str


MARKS = {
    "truth": Mark("#1b1b1b", "x", "-"),
    "measured": Mark("#0072b2", "o", "--"),
    "result": Mark("#d55e00", "^", "-."),
    "target": Mark("#cc79a7", "*", ":"),
    "other": Mark("#009e73", "s", ":"),
}
"""Colours are Okabe and Ito's, told apart by most colour-blind readers; markers tell them apart in grey."""


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 9.0, height: float = 4.0, projection: str | None = None
) -> tuple[Figure, Any]:
    """A figure in the house style and its axes (one, or an array of them); sizes in inches."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        keywords = None if projection is None else {"projection": projection}
        axes = figure.subplots(rows, columns, subplot_kw=keywords)
    return figure, axes


def _png(figure: Figure, description: str) -> bytes:
    """The picture, with its description inside the file."""
    if len(description.split()) < 5:
        raise ValueError(
            f"the description is {description!r}; expected a sentence that tells what the figure shows, "
            "for who cannot see it."
        )
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer,
            format="png",
            bbox_inches="tight",
            pad_inches=0.1,
            metadata={"Description": description, "Software": None},
        )
    return buffer.getvalue()


def show(figure: Figure, description: str) -> None:
    """Show a figure in the notebook with its description as text alternative and as visible text.

    Raises
    ------
    ValueError
        If the description has fewer than five words.
    """
    from IPython.display import Markdown, display

    picture = _png(figure, description)
    display({"image/png": picture}, raw=True, metadata={"image/png": {"alt": description}})
    display(Markdown(f"*Figure: {description}*"))


def save(figure: Figure, path: str | Path, description: str) -> Path:
    """Write a figure as PNG, complete or not at all; the description is stored in the file."""
    path = Path(path)
    picture = _png(figure, description)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(picture)
    temporary.replace(path)
    return path
