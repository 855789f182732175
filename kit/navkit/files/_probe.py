"""The probe's sector in CustusX's files: ``.probedata.xml`` and the database of configurations."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from navkit.files._errors import FileError
from navkit.ultrasound import ProbeSector


def line_of(path: Path, word: str) -> str:
    """Number of the first line that holds `word`; '?' where none does."""
    lines = path.read_text(encoding="latin-1").splitlines() if path.is_file() else []
    return next((str(n) for n, line in enumerate(lines, start=1) if word in line), "?")


def _parsed(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except ET.ParseError as reason:
        raise FileError(f"{path.name}: not well-formed XML ({reason}).") from None


def sector_from_probedata(path: Path) -> ProbeSector | None:
    """The sector of a ``.probedata.xml``; None for type 0, which leaves it to the database."""
    configuration = _parsed(path).find("configuration")
    image = None if configuration is None else configuration.find("image")
    if configuration is None or image is None:
        raise FileError(f"{path.name}: no <configuration> with an <image>; expected one.")

    def numbers(element: ET.Element, name: str, count: int) -> list[float]:
        text = element.get(name, "")
        try:
            values = [float(word) for word in text.split()]
        except ValueError:
            values = []
        if len(values) < count:
            raise FileError(
                f"{path.name} line {line_of(path, name)}: {name}={text!r}; "
                f"expected {count} number{'s'[: count > 1]}."
            )
        return values

    kind = int(numbers(configuration, "type", 1)[0])
    if kind == 0:
        return None
    if kind not in (1, 2):
        raise FileError(
            f"{path.name} line {line_of(path, 'type')}: type={kind}; expected 1 (sector) or 2 (linear)."
        )
    clip = [int(v) for v in numbers(image, "clipRect_p", 4)]
    origin = numbers(image, "origin_p", 2)
    spacing = numbers(image, "spacing", 2)
    try:
        return ProbeSector(
            "sector" if kind == 1 else "linear",
            numbers(configuration, "width", 1)[0],
            (numbers(configuration, "depthStart", 1)[0], numbers(configuration, "depthEnd", 1)[0]),
            (origin[0], origin[1]),
            (spacing[0], spacing[1]),
            (clip[0], clip[1], clip[2], clip[3]),
            (int(numbers(image, "height", 1)[0]), int(numbers(image, "width", 1)[0])),
        )
    except FileError:
        raise
    except ValueError as reason:
        raise FileError(f"{path.name} line {line_of(path, 'configuration')}: {reason}") from None


def read_probe_database(path: str | Path) -> dict[str, ProbeSector]:
    """CustusX's ProbeCalibConfigs.xml: ``Scanner:Probe:RTSource:ConfigID`` -> sector.

    The conversion is CustusX's: a configuration of at most 0.1 degrees is a linear array. Digital
    streams have no entry: their geometry arrives with the pictures.
    """
    path = Path(path)
    found: dict[str, ProbeSector] = {}

    def number(element: ET.Element, name: str) -> float:
        text = (element.findtext(name) or "").strip()
        try:
            return float(text)
        except ValueError:
            raise FileError(f"{path.name}: <{name}> is {text!r}; expected a number.") from None

    for scanner in _parsed(path).iter("USScanner"):
        for probe in scanner.iter("USProbe"):
            for source in probe.iter("RTSource"):
                names = [(e.findtext("Name") or "").strip() for e in (scanner, probe, source)]
                for config in source.iter("Config"):
                    if config.find("PixelSize") is None:
                        continue
                    key = ":".join([*names, (config.findtext("ID") or "").strip()])
                    try:
                        found[key] = _sector_from_config(source, config, number)
                    except FileError:
                        raise
                    except ValueError as reason:
                        raise FileError(f"{path.name}: configuration {key}: {reason}") from None
    return found


def _sector_from_config(
    source: ET.Element, config: ET.Element, number: Callable[[ET.Element, str], float]
) -> ProbeSector:
    """CustusX's conversion of one configuration; `number` reads a child or says what is wrong."""
    sx, sy = number(config, "PixelSize/Width"), number(config, "PixelSize/Height")
    column, row = number(config, "Origin/Col"), number(config, "Origin/Row")
    left, right, top, bottom = (
        number(config, f"CroppingEdges/{side}") for side in ("Left", "Right", "Top", "Bottom")
    )
    degrees = number(config, "WidthDeg")
    kind: Literal["linear", "sector"] = "linear" if degrees <= 0.1 else "sector"
    if kind == "linear":
        width = sx * (right - left)
        depth = ((top - row) * sy, (bottom - row) * sy)
    else:
        width = math.radians(degrees)
        start = number(config, "Offset") * sy
        depth = (start, number(config, "Depth") * sy + start)
    shape = (int(number(source, "ImageSize/Height")), int(number(source, "ImageSize/Width")))
    clip = (int(left), int(right), int(top), int(bottom))
    return ProbeSector(kind, width, depth, (column, row), (sx, sy), clip, shape)


def probedata_text(sector: ProbeSector) -> str:
    height, width = sector.shape
    clip = " ".join(map(str, sector.clip_p))
    return (
        "<root>\n"
        f' <configuration type="{1 if sector.kind == "sector" else 2}" width="{sector.width:.12g}" '
        f'depthStart="{sector.depth_mm[0]:.12g}" depthEnd="{sector.depth_mm[1]:.12g}" '
        'temporalCalibration="0" centerOffset="0">\n'
        f'  <image width="{width}" height="{height}" '
        f'origin_p="{sector.origin_p[0]:.12g} {sector.origin_p[1]:.12g} 0" '
        f'spacing="{sector.spacing_mm[0]:.9g} {sector.spacing_mm[1]:.9g} 1" clipRect_p="{clip} 0 0"/>\n'
        " </configuration>\n</root>\n"
    )
