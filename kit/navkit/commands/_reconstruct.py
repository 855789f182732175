"""``navkit reconstruct``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from navkit.commands._run import progress

if TYPE_CHECKING:
    from navkit.ultrasound import Sweep


def reconstruct(
    recording: Annotated[
        Path, typer.Argument(help="CustusX acquisition's folder or .fts file, or PLUS sequence (.mha .mhd).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Volume to write: .mha .mhd .nrrd .nii.gz")],
    spacing: Annotated[
        float | None, typer.Option(help="Voxel size in mm; left out, CustusX's rule for 32 MB.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="PLUS's configuration of the sequence, with calibration and clipping.")
    ] = None,
    method: Annotated[
        Literal["pnn", "splat", "vnn", "vnn2", "dw", "anisotropic", "path", "predict"],
        typer.Option(help="pnn and splat go by pixel, the others by voxel."),
    ] = "pnn",
    compounding: Annotated[
        Literal["mean", "max", "last", "first", "median3"],
        typer.Option(help="What a voxel keeps of its pixels (pnn and splat)."),
    ] = "mean",
    radius: Annotated[float | None, typer.Option(help="Reach of the methods by voxel, mm.")] = None,
    fill: Annotated[
        Literal["none", "custusx", "nearest", "gaussian", "accumulate", "distance", "stick", "convolution"],
        typer.Option(help="How holes are filled: custusx is its growing cube, convolution does best."),
    ] = "none",
    fill_steps: Annotated[int, typer.Option(help="How many voxels filling reaches.", min=1, max=20)] = 3,
    orientation: Annotated[
        Literal["middle", "reference"], typer.Option(help="Axes of the middle frame or of the patient.")
    ] = "middle",
    extrapolate: Annotated[
        bool, typer.Option(help="Keep frames outside the tracking, thrown far away, as CustusX does.")
    ] = False,
    filter_strength: Annotated[int, typer.Option(help="CustusX's position filter, 0 to 7.", min=0)] = 0,
    spacing_from: Annotated[
        Literal["agreed", "image"],
        typer.Option(help="Take the image's pixel spacing where it contradicts the probe data."),
    ] = "agreed",
    quality: Annotated[
        Literal["none", "quick", "full"],
        typer.Option(
            help="What is told of the volume. quick takes less than a third of the time on top; full "
            "reconstructs again, from halves of the frames and without some: four times the time."
        ),
    ] = "quick",
    figure: Annotated[Path | None, typer.Option(help="Also draw the quality: FILE.png")] = None,
) -> None:
    """Reconstruct a tracked ultrasound sweep as a volume in the patient reference."""
    from dataclasses import replace

    from navkit import files
    from navkit import reconstruction as rec

    if figure is not None and figure.suffix.lower() != ".png":
        raise files.FileError(f"{figure.name} ends in {figure.suffix!r}; expected .png.")
    with progress() as bar:
        task = bar.add_task("Reading", total=None)

        def stage(what: str) -> Callable[[int, int], None]:
            bar.reset(task, description=what, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        sweep = _read_sweep(recording, config, extrapolate, filter_strength, spacing_from)
        grid = rec.output_grid(sweep, spacing_mm=spacing, orientation=orientation)
        volume = rec.reconstruct(
            sweep,
            grid,
            method=method,
            compounding=compounding,
            radius_mm=radius,
            progress=stage("Reconstructing"),
        )
        if fill != "none":
            values, filled = rec.fill_holes(
                volume.values,
                weight=volume.weight,
                method=fill,
                reach=fill_steps,
                spacing_mm=grid.spacing_mm,
                progress=stage("Filling"),
            )
            volume = replace(volume, values=values, filled=filled)
        stage("Writing")
        files.write_volume(volume, output)
        if quality != "none" or figure is not None:
            stage("Checking")
            report = rec.quality_report(
                sweep,
                volume,
                repeat=quality == "full",
                method=method,
                compounding=compounding,
                fill=fill,
                fill_steps=fill_steps,
                radius_mm=radius,
            )
            if figure is not None:
                from navkit import viewing

                drawn = viewing.quality_figure(report, sweep, volume)
                viewing.save(drawn, figure, viewing.quality_words(report))
    nz, ny, nx = grid.shape
    x, y, z = grid.extent_mm
    how = f", {compounding}" if method in ("pnn", "splat") else ""
    for note in sweep.notes:
        typer.echo(f"note: {note}")
    typer.echo(
        f"{output}: {nx} x {ny} x {nz} voxels of {grid.spacing_mm[0]:.4g} mm, "
        f"{x:.2f} x {y:.2f} x {z:.2f} mm, "
        f"from {int(sweep.valid.sum())} of {len(sweep)} frames ({method}{how}). "
        f"{100 * float((volume.weight > 0).mean()):.1f} % of the voxels have data"
        + (f", {100 * float(volume.filled.mean()):.1f} % are filled." if fill != "none" else ".")
    )
    if quality != "none":
        typer.echo("\n".join(report.summary()))


def _read_sweep(
    recording: Path,
    config: Path | None,
    extrapolate: bool,
    filter_strength: int,
    spacing_from: Literal["agreed", "image"],
) -> "Sweep":
    from navkit import files

    if recording.suffix.lower() not in (".mha", ".mhd"):
        return files.read_acquisition(
            recording, extrapolate=extrapolate, filter_strength=filter_strength, spacing_from=spacing_from
        )
    if config is None:
        raise files.FileError(
            f"{recording.name} is a PLUS sequence; expected --config FILE with the probe's calibration."
        )
    plus = files.read_plus_config(config)
    return files.plus_sweep(files.read_sequence(recording), plus, name=recording.stem)
