"""``navkit datasets``."""

from pathlib import Path
from typing import Annotated

import typer

from navkit.commands._run import progress


def datasets(
    verify: Annotated[bool, typer.Option(help="Check what is on this machine against the registry.")] = False,
    make: Annotated[str | None, typer.Option(help="Make this one now and print where it lies.")] = None,
    make_all: Annotated[bool, typer.Option(help="Make every set that is missing.")] = False,
    fetch: Annotated[str | None, typer.Option(help="Download this recording of others.")] = None,
    export: Annotated[
        str | None, typer.Option(help="Write this case as a CustusX patient folder: neuro, liver, ...")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The patient folder to write: FOLDER.cx3")] = None,
    with_sweep: Annotated[
        bool, typer.Option("--with-sweep", help="Its ultrasound sweep as well, in US_Acq.")
    ] = False,
) -> None:
    """List the named data sets, make them, fetch them, check them."""
    from navkit import datasets as data

    if make is not None:
        typer.echo(str(_made(make)))
    elif make_all:
        for name in data.names():
            if data.info(name).recipe:
                typer.echo(f"{name}: {_made(name)}")
    elif export is not None:
        folder = to or Path(f"{export}.cx3")
        told = _exported(export, folder, with_sweep)
        typer.echo("\n".join([f"{folder} is written.", *told]))
    elif fetch is not None:
        typer.echo(str(data.fetch(fetch)))
    elif verify:
        problems = data.verify()
        if problems:
            raise data.DatasetError(" ".join(problems))
        typer.echo("every data set on this machine is what the registry says")
    else:
        for one in map(data.info, data.names()):
            size = "" if one.bytes is None else f"{one.bytes / 1e6:.2f} MB"
            there = "here" if one.path else "made when needed" if one.recipe else "of others"
            typer.echo(f"{one.name:24} {one.kind:12} {size:>9}  {one.licence:13} {there}")


def _made(name: str) -> Path:
    """Make a data set behind a progress bar."""
    from navkit import datasets as data

    with progress() as bar:
        task = bar.add_task(f"Making {name}", total=None)
        return data.make(name, progress=lambda done, total: bar.update(task, completed=done, total=total))


def _exported(name: str, folder: Path, with_sweep: bool) -> tuple[str, ...]:
    """Export a case behind a progress bar."""
    from navkit import datasets as data

    with progress() as bar:
        task = bar.add_task(f"Exporting {name}", total=None)
        return data.export_patient(
            name,
            folder,
            sweep=with_sweep,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
