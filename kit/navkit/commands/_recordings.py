"""``navkit info``."""

from pathlib import Path
from typing import Annotated

import typer


def info(acquisition: Annotated[Path, typer.Argument(help="Folder of a CustusX acquisition.")]) -> None:
    """Say what an acquisition holds and whether it is healthy."""
    import numpy as np

    from navkit import files

    sweep = files.read_acquisition(acquisition)
    stream = files.read_tracking(acquisition)
    step = np.diff(stream.pose, axis=0)
    repeats = float((np.abs(step).max(axis=(1, 2)) < 1e-9).mean()) if len(step) else 0.0
    n, height, width = sweep.frames.shape
    typer.echo(f"{sweep.name}: {n} frames of {width} x {height} pixels in {np.ptp(sweep.time_s):.2f} s")
    typer.echo(
        f"pixel {sweep.sector.spacing_mm[0]:g} x {sweep.sector.spacing_mm[1]:g} mm, {sweep.sector.kind} probe"
    )
    typer.echo(
        f"tracking: {len(stream)} samples in {np.ptp(stream.time_s):.2f} s, "
        f"largest gap {1000 * np.diff(stream.time_s).max():.0f} ms, "
        f"{100 * repeats:.0f} % repeat the one before"
    )
    for note in sweep.notes:
        typer.echo(f"note: {note}")
