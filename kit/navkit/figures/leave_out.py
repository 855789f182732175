"""Which reconstruction tells most of a picture it has not seen: makes ``leave_out.md`` and ``leave_out.png``.

Give it the folder of PLUS's recording of a spine phantom; without one, the page has the simulation only. ::

    python -m navkit.figures.leave_out ../shared/data/plus/volrec
"""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit import datasets, files, viewing
from navkit.reconstruction import leave_out_error, output_grid
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]

SPACING_MM = 0.5
RUNS = {"simulation": ((3, 1), (9, 5), (9, 7), (14, 11)), "recording": ((4, 1), (4, 3))}
"""One run of so many frames is left out in so many: every, width."""
CLASSES_MM = (0.0, 0.8, 1.2, 1.6, 2.1, 2.6, 3.2, 3.8, 4.6, 5.6, 9.0)
REACH_VOXELS, RADIUS_MM = 16, 5.0
LINES = {
    "predict": ("#d55e00", "^", "-"),
    "splat, convolution": ("#0072b2", "o", "--"),
    "path": ("#1b1b1b", "x", "-."),
    "dw": ("#009e73", "s", ":"),
    "pnn, custusx": ("#cc79a7", "D", (0, (5, 1, 1, 1, 1, 1))),
    "vnn": ("#7f7f7f", "v", (0, (1, 3))),
}
WORDS = (
    "Two charts of the mean absolute error, in grey levels, over the gap in millimetres, for six methods. In "
    "the simulated brain predict and splat with convolution are lowest and close together, and predict is "
    "below it where the gap is wide; vnn is highest. In the recording of a spine predict and path lie on "
    "each other, well below all others. Most errors grow with the gap."
)
PAGE = """\
# Which reconstruction tells most of a picture it has not seen

For teaching and research; not a medical device.

`leave_out_error`: pictures are left out, the volume is made of the others with voxels of {spacing} mm, and
read where the pictures were. Mean absolute error in grey levels, over the pixels that all methods cover; the
gap is the mean distance of the frames kept on the two sides, and pictures are sorted by their own. Best in
**bold**. Fillings reach {reach} voxels, and frames may be {radius} mm from a voxel. "predict" chooses how
much it smooths by frames that it holds out itself, never by those left out here; how it works was settled
while looking at other pictures of both sweeps: most of those below were new. `leave_out.py` makes this page.

## Simulation: `datasets.load("neuro_sweep")` without its first frame

{simulation}
Much of the error is speckle, which does not continue from frame to frame.

## Recording: PLUS's sweep of a spine phantom (SpinePhantomFreehand), without its first frame

{recording}
21 frames, 1.7 mm apart: there is no gap below 2 mm.

![{words}](leave_out.png)
"""


def choices(reach: int, *, radius_mm: float) -> dict[str, dict[str, Any]]:
    """What `reconstruct` is asked for, by the name of the method."""
    fills = ("custusx", "gaussian", "stick", "convolution")
    return {
        **{f"pnn, {f}": {"fill": f, "fill_steps": reach} for f in fills},
        "splat, convolution": {"method": "splat", "fill": "convolution", "fill_steps": reach},
        **{m: {"method": m, "radius_mm": radius_mm} for m in ("vnn", "vnn2", "dw", "path", "predict")},
    }


def compared(
    sweep: Sweep, asked: dict[str, dict[str, Any]], *, every: int, width: int
) -> tuple[Array, dict[str, Array]]:
    """Gap in mm (m,) of the left-out pictures, and for each method the mean absolute error (m,) of each.

    Only pixels that all methods cover are counted; they must be nine of ten. Pictures of which half is not
    covered are left away.
    """
    grid = output_grid(sweep, spacing_mm=SPACING_MM, mask_reduction=0.0)
    found = {name: leave_out_error(sweep, grid, every=every, width=width, **a) for name, a in asked.items()}
    common = np.all([np.isfinite(result.difference) for result in found.values()], axis=0)
    if common.mean() < 0.9:
        raise ValueError(f"all methods cover {common.mean():.0%} of the pixels; expected nine of ten.")
    seen = common.mean(axis=1) > 0.5  # the first and the last picture may lie beyond the frames kept
    errors = {
        name: np.abs(np.where(common, result.difference, 0))[seen].sum(axis=1) / common[seen].sum(axis=1)
        for name, result in found.items()
    }
    return next(iter(found.values())).gaps_mm[seen], errors


def by_gap(gaps_mm: Array, errors: dict[str, Array]) -> list[tuple[float, int, dict[str, float]]]:
    """Mean gap, number of pictures and error by method, for each class of gaps that has two pictures."""
    rows = []
    for low, high in pairwise(CLASSES_MM):
        some = (gaps_mm >= low) & (gaps_mm < high)
        if some.sum() >= 2:
            means = {name: float(error[some].mean()) for name, error in errors.items()}
            rows.append((float(gaps_mm[some].mean()), int(some.sum()), means))
    return rows


def measured(sweep: Sweep, kind: str) -> list[tuple[float, int, dict[str, float]]]:
    """All runs of a sweep together, without its first frame, by gap."""
    sweep = replace(sweep, valid=sweep.valid & (np.arange(len(sweep)) > 0))
    asked = choices(REACH_VOXELS, radius_mm=RADIUS_MM)
    runs = [compared(sweep, asked, every=every, width=width) for every, width in RUNS[kind]]
    gaps = np.concatenate([gaps for gaps, _ in runs])
    return by_gap(gaps, {name: np.concatenate([errors[name] for _, errors in runs]) for name in asked})


def table(rows: list[tuple[float, int, dict[str, float]]]) -> str:
    """In Markdown, the best of each row in bold."""
    names = list(rows[0][2])
    lines = ["| gap, mm | pictures | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for gap, number, errors in rows:
        best = min(errors.values())
        cells = [f"**{e:.2f}**" if e == best else f"{e:.2f}" for e in errors.values()]
        lines.append(f"| {gap:.1f} | {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(panels: dict[str, list[tuple[float, int, dict[str, float]]]]) -> Any:
    """One panel for each sweep: error over gap, a line style and a marker for each method."""
    drawn, axes = viewing.new_figure(len(panels), width=11.0, height=4.6)
    for axis, (title, rows) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for name, (colour, marker, line) in LINES.items():
            axis.plot(
                [gap for gap, _, _ in rows],
                [errors[name] for _, _, errors in rows],
                color=colour, marker=marker, linestyle=line, label=name,
            )  # fmt: skip
        axis.set(
            title=title, xlabel="Gap between the frames kept (mm)", ylabel="Mean absolute error (grey levels)"
        )
    np.atleast_1d(axes)[0].legend(loc="upper left", fontsize=10)
    return drawn


def main(recording: str | None = None) -> None:
    """Measure, and write the page and the picture."""
    folder = Path(__file__).parent
    simulated = datasets.load("neuro_sweep")
    assert isinstance(simulated, Sweep)
    panels = {"Simulation: brain": measured(simulated, "simulation")}
    if recording is not None:
        config = files.read_plus_config(next(Path(recording).glob("*SpinePhantom_NN_MEAN.xml")))
        sequence = files.read_sequence(Path(recording) / "SpinePhantomFreehand.igs.mha")
        panels["Recording: spine phantom"] = measured(files.plus_sweep(sequence, config), "recording")
    tables = [table(rows) for rows in panels.values()] + ["Not measured: the recording was not there.\n"]
    page = PAGE.format(
        spacing=SPACING_MM, reach=REACH_VOXELS, radius=RADIUS_MM, words=WORDS,
        simulation=tables[0], recording=tables[1],
    )  # fmt: skip
    (folder / "leave_out.md").write_text(page, encoding="utf-8")
    viewing.save(figure(panels), folder / "leave_out.png", WORDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
