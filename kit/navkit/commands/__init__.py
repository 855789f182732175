"""The command line for recordings of your own."""

import typer

from navkit.commands._datasets import datasets
from navkit.commands._reconstruct import reconstruct
from navkit.commands._recordings import info
from navkit.commands._run import run

__all__ = ["app", "run"]

app = typer.Typer(
    help="Surgical navigation with ultrasound: recordings in, volumes out. "
    "For teaching and research; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command, example in (
    (info, "navkit info US_Acq/US-Acq_03"),
    (reconstruct, "navkit reconstruct US_Acq/US-Acq_03 --spacing 0.25 -o volume.mha"),
    (datasets, "navkit datasets --verify"),
):
    app.command(epilog=f"Example: {example}")(command)
