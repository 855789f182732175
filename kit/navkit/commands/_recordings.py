"""``navkit info``, ``convert``, ``anonymise``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from navkit.commands._run import progress


def info(
    path: Annotated[
        Path, typer.Argument(help="Any file or folder: recording, patient, volume, tool, points.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Say what anything is and whether it is healthy."""
    import json

    from navkit import recordings

    found = recordings.describe(path)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
    else:
        typer.echo("\n".join(found.lines()))


def convert(
    source: Annotated[Path, typer.Argument(help="File, or folder of an acquisition or DICOM series.")],
    target: Annotated[
        Path, typer.Argument(help="Its ending says the format; a name without one is an acquisition.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            help="PLUS's configuration or CustusX's .probedata.xml, for a sequence that lacks them."
        ),
    ] = None,
    configuration: Annotated[
        str | None, typer.Option(help="Scanner:Probe:RTSource:ConfigID of a probe database.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="UID or description of a DICOM series.")] = None,
    layout: Annotated[
        Literal["stack", "frames"], typer.Option(help="Of an acquisition: one stack, or one file a frame.")
    ] = "stack",
    orientation: Annotated[
        str | None, typer.Option(help="Of the pictures in a sequence, such as MFA or UN.")
    ] = None,
    compressed: Annotated[bool, typer.Option(help="Compress the pictures of a sequence.")] = True,
    spacing_from: Annotated[
        Literal["agreed", "image"],
        typer.Option(help="Take the image's pixel spacing where it contradicts the probe data."),
    ] = "agreed",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Convert between CustusX, PLUS, Slicer, DICOM; say what was lost."""
    from navkit import recordings

    with progress() as bar:
        task = bar.add_task("Converting", total=None)
        lost = recordings.convert(
            source,
            target,
            config=config,
            configuration=configuration,
            series=series,
            layout=layout,
            orientation=orientation,
            compressed=compressed,
            spacing_from=spacing_from,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"{target} is written; " + ("lost on the way:" if lost else "nothing was lost."))
    for one in lost:
        typer.echo(f"  {one}")


def anonymise(
    source: Annotated[Path, typer.Argument(help="Patient folder (.cx3), acquisition, .mha .mhd or .nrrd.")],
    target: Annotated[Path, typer.Argument(help="New folder or file.")],
    pseudonym: Annotated[str, typer.Option(help="Stands for the patient.")] = "case-01",
    also: Annotated[
        list[str] | None, typer.Option(help="A name or number that must be gone; give as many as you know.")
    ] = None,
    date: Annotated[
        Literal["shift", "remove"],
        typer.Option(help="Move all times to the year 2000, or also leave written dates out."),
    ] = "shift",
    mask_pixels: Annotated[
        bool, typer.Option("--mask-pixels", help="Black everything outside the sector: names stand there.")
    ] = False,
) -> None:
    """Write a recording anew without names, dates and paths, and report it."""
    from navkit import recordings

    done = recordings.anonymise(
        source, target, pseudonym=pseudonym, date=date, also=tuple(also or ()), mask_pixels=mask_pixels
    )
    typer.echo(f"{target} is written. Look at it before you give it away.")
    typer.echo(done.report().rstrip())
