"""The command line for recordings of your own."""

import typer

from navkit.commands._datasets import datasets
from navkit.commands._live import listen, stream
from navkit.commands._reconstruct import reconstruct
from navkit.commands._recordings import anonymise, convert, info
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
    (convert, "navkit convert US_Acq/US-Acq_03 sweep.mha"),
    (anonymise, "navkit anonymise Hansen.cx3 case-01.cx3 --also Hansen --mask-pixels"),
    (stream, "navkit stream neuro_sweep --loop --latency-ms 120"),
    (listen, "navkit listen -o US_Acq/live --sector neuro_sweep --seconds 30"),
    (datasets, "navkit datasets --verify"),
):
    app.command(epilog=f"Example: {example}")(command)
