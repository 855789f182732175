"""``navkit stream`` and ``listen``: a tracker and a scanner on the wire."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Dialect = Literal["custusx", "slicer"]


def stream(
    source: Annotated[
        str, typer.Argument(help="Data set such as neuro_sweep, CustusX acquisition, or PLUS sequence.")
    ],
    config: Annotated[Path | None, typer.Option(help="PLUS's configuration of a sequence.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; where it is in use, the next.")] = 18944,
    dialect: Annotated[Dialect, typer.Option(help="Whose names and axes.")] = "custusx",
    tracking_hz: Annotated[
        float | None, typer.Option(help="Poses a second; 100, or as recorded.", min=0.1)
    ] = None,
    frame_hz: Annotated[float | None, typer.Option(help="Pictures a second; as recorded.", min=0.1)] = None,
    speed: Annotated[float, typer.Option(help="2 plays twice as fast.", min=0.01)] = 1.0,
    latency_ms: Annotated[
        float, typer.Option(help="How late pictures are stamped: what temporal calibration must find.", min=0)
    ] = 0.0,
    delay_ms: Annotated[float, typer.Option(help="How late everything is sent.", min=0)] = 0.0,
    breath_mm: Annotated[float, typer.Option(help="How far breath lifts the patient.", min=0)] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(help='Such as "probe hidden 3 4"; may be given again.')
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
    loop: Annotated[bool, typer.Option("--loop", help="Forward and back, for a whole workshop.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when the first client is there.")] = False,
    seconds: Annotated[float | None, typer.Option(help="At most so long.", min=0.1)] = None,
) -> None:
    """Serve a simulated operating room over OpenIGTLink: probe, pointer, reference and ultrasound."""
    from navkit import live

    live.stream(
        source,
        say=typer.echo,
        config=config,
        host=host,
        port=port,
        dialect=dialect,
        tracking_hz=tracking_hz,
        frame_hz=frame_hz,
        speed=speed,
        image_latency_s=latency_ms / 1000,
        delay_s=delay_ms / 1000,
        breath_mm=breath_mm,
        faults=tuple(fault or ()),
        seed=seed,
        loop=loop,
        wait=wait,
        seconds=seconds,
    )


def listen(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new acquisition.")],
    sector: Annotated[
        str, typer.Option(help="Of the probe: a .probedata.xml, or a recording or data set with the same.")
    ],
    host: Annotated[str, typer.Option(help="Address of the server.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 18944,
    dialect: Annotated[Dialect, typer.Option(help="Whose names and axes.")] = "custusx",
    probe: Annotated[
        str | None, typer.Option(help="Device name of the probe's poses; the dialect's.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Device name of the patient reference.")] = None,
    image: Annotated[
        str | None, typer.Option(help="Device name of the pictures; the first that comes.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help=".cal of the probe, where the poses are its sensor's.")
    ] = None,
    latency_ms: Annotated[float, typer.Option(help="Taken off the pictures' stamps.")] = 0.0,
    seconds: Annotated[float | None, typer.Option(help="At most so long.", min=0.1)] = None,
    patience: Annotated[float, typer.Option(help="Seconds to try to reach the server.", min=0)] = 10.0,
    name: Annotated[str, typer.Option(help="Of the acquisition.")] = "US-Acq_live",
) -> None:
    """Record what an OpenIGTLink server sends as a CustusX acquisition."""
    from navkit import files, live

    recorded = live.listen(
        output,
        say=typer.echo,
        sector=sector,
        host=host,
        port=port,
        dialect=dialect,
        probe=probe,
        reference=reference,
        image=image,
        s_M_t=None if calibration is None else files.read_calibration(calibration),
        image_latency_s=latency_ms / 1000,
        seconds=seconds,
        patience_s=patience,
        name=name,
    )
    if recorded is None:
        raise typer.Exit(2)
