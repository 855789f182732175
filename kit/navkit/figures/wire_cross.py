"""The wire cross by every method: makes ``wire_cross.md`` and ``wire_cross.png`` beside this file.

Give it the folder of CustusX's recording, and where a picture of that may go. The recording has no open
licence: its picture is for your eyes, and the one in the kit is of the simulation. ::

    python -m navkit.figures.wire_cross ../shared/data/custusx/angio_lab_256x192 build/recording.png
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from navkit import datasets, files, viewing
from navkit.reconstruction import (
    Volume,
    WireCross,
    frame_spacing_mm,
    measure_wire_cross,
    output_grid,
    reconstruct,
)
from navkit.ultrasound import Sweep

SPACING_MM = 0.25
METHODS: dict[str, dict[str, Any]] = {
    **{f"pnn, {kept}": {"compounding": kept} for kept in ("mean", "max", "last", "first", "median3")},
    **{f"splat, {kept}": {"method": "splat", "compounding": kept} for kept in ("mean", "max")},
    **{name: {"method": name} for name in ("vnn", "vnn2", "dw", "anisotropic", "path", "predict")},
}
SHOWN = ("pnn, mean", "splat, mean", "dw", "path")
SEEN_PR = {"recording": (137.3, 134.5, 100.3), "simulation": (134.21, 134.34, 100.14)}
HEAD = """\
| method | angle, deg | gap, mm | thickness along x and y, mm | scatter along x and y, mm |
|---|---|---|---|---|
"""
WORDS = (
    "Four pictures side by side of the plane of two crossed wires, simulated in water, each 20 mm wide and "
    "in the same grey window. By pnn, mean, the two bright lines have holes in the colour of no data; by "
    "splat, mean, by dw and by path they are whole. They cross at a right angle. A bar is 5 mm long."
)
PAGE = """\
# The wire cross by every method

For teaching and research; not a medical device.

Two wires in water, crossed at a right angle. `measure_wire_cross` fits two lines to the voxels above grey 128
that pixels or frames reached; volumes have voxels of {spacing} mm, nothing is filled, and each method is as
`reconstruct` has it when nothing else is said. Thickness is the full width at half maximum of the grey value
over the distance from the line, the mean of all sides: more the beam's width than the wire's. Scatter is the
RMS distance of the bright voxels from their line. One wire runs along x of the patient reference and up, the
other along y. `wire_cross.py` makes this page; a test measures rows of both tables again.

## Recording

CustusX's acquisition of its wire phantom (SINTEF, `US-Acq_03_20121024T132330`), of which every fourth frame
and every fourth pixel: {frames} frames of 256 x 192 pixels of 0.256 mm, {apart:.2f} mm apart (median). Known:
the phantom's drawing has the wires at 89.99 deg and 0.01 mm apart. Not known: how true the phantom, the
calibration and the tracking are, and how thick the wires.

{recording}
## Simulation

`datasets.load("wire_cross_sweep")`: the same phantom and probe, simulated, with noise of the tracker. Known:
89.99 deg and 0.01 mm.

{simulation}
![{words}](wire_cross.png)
"""


def measured(sweep: Sweep, kind: str, name: str) -> tuple[Volume, WireCross]:
    """A volume of the wire cross by one method, and what is measured in it."""
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=SPACING_MM), **METHODS[name])
    return volume, measure_wire_cross(volume, around_pr=SEEN_PR[kind], rng=np.random.default_rng(1))


def row(name: str, found: WireCross) -> str:
    """A line of the table, the wire along x first."""
    x, y = np.argsort(-np.abs(found.direction_pr[:, 0]))
    thick, rms = found.thickness_mm, found.rms_mm
    values = f"{thick[x]:.2f} and {thick[y]:.2f} | {rms[x]:.2f} and {rms[y]:.2f}"
    return f"| {name} | {found.angle_deg:.1f} | {found.gap_mm:.2f} | {values} |\n"


def main(recording: str, picture: str | None = None) -> None:
    """Measure both, write the page and the picture of the simulation."""
    folder = Path(__file__).parent
    real, simulated = files.read_acquisition(recording), datasets.load("wire_cross_sweep")
    assert isinstance(simulated, Sweep)
    tables = {}
    for kind, sweep, path in (
        ("recording", real, picture),
        ("simulation", simulated, folder / "wire_cross.png"),
    ):
        found = {name: measured(sweep, kind, name) for name in METHODS}
        tables[kind] = HEAD + "".join(row(name, cross) for name, (_, cross) in found.items())
        if path is not None:
            shown = {name: found[name][0] for name in SHOWN}
            viewing.save(viewing.slices_through_wires(shown, found[SHOWN[-1]][1]), path, WORDS)
    apart = float(np.median(frame_spacing_mm(real)))
    page = PAGE.format(spacing=SPACING_MM, frames=int(real.valid.sum()), apart=apart, words=WORDS, **tables)
    (folder / "wire_cross.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
