"""The probe in CustusX's files: ``.probedata.xml`` of an acquisition, and the database of configurations."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import quoteattr

from navkit.files._errors import FileError, written_whole
from navkit.files._text import content, decimals, decoded, is_file, parsed_xml, wholes
from navkit.files._xml import parsed
from navkit.ultrasound import ProbeSector

LARGEST = 1e6  # of any number in these files: pixels, mm, ms
PLATFORMS = ("Linux", "Windows", "Apple")


def line_of(path: Path, word: str) -> str:
    """Number of the first line that holds `word`; '?' where none does."""
    lines = decoded(content(path)).splitlines() if is_file(path) else []
    return next((str(n) for n, line in enumerate(lines, start=1) if word in line), "?")


def _number(text: str) -> float:
    """One number of a size that a probe can have, else NaN."""
    values = decimals(text, largest=LARGEST) or []
    return values[0] if len(values) == 1 else math.nan


@dataclass(frozen=True)
class ProbeData:
    """What a ``.probedata.xml`` holds.

    Parameters
    ----------
    sector : None for type 0: the geometry is in the database, or arrives with the pictures
    tool_id : of the tool file; CustusX may leave it out
    latency_ms : the temporal calibration. The times in ``.fts`` are corrected for it already
    uid : of the configuration, ``Scanner:Probe:RTSource:ConfigID`` or empty
    center_offset : CustusX writes 0
    """

    sector: ProbeSector | None
    tool_id: str = ""
    latency_ms: float = 0.0
    uid: str = ""
    center_offset: float = 0.0


def read_probedata(path: str | Path) -> ProbeData:
    """Read a ``.probedata.xml``: the sector, the tool and its latency.

    Raises
    ------
    FileError
        Not well-formed, without a configuration, or numbers that make no sector; the sentence names the line.
    """
    path = Path(path)
    root = parsed_xml(path)
    configuration = root.find("configuration")
    image = None if configuration is None else configuration.find("image")
    kind = None if configuration is None else _numbers(path, configuration, "type", 1)[0]
    if configuration is None or (image is None and kind != 0):
        raise FileError(f"{path.name}: no <configuration> with an <image>; expected one.")
    if kind not in (0, 1, 2):
        raise FileError(
            f"{path.name} line {line_of(path, 'type')}: type={kind:g}; expected 1 (sector) or 2 (linear)."
        )
    sector = None if image is None or not kind else _sector(path, configuration, image, kind == 1)
    tool = root.find("tool")
    told = {
        name: _numbers(path, configuration, name, 1)[0] if configuration.get(name) else 0.0
        for name in ("temporalCalibration", "centerOffset")
    }
    return ProbeData(
        sector,
        "" if tool is None else tool.get("toolID", ""),
        told["temporalCalibration"],
        configuration.get("uid", ""),
        told["centerOffset"],
    )


def _numbers(path: Path, element: ET.Element, name: str, count: int) -> list[float]:
    text = element.get(name, "")
    values = decimals(text, largest=LARGEST) or []
    if len(values) < count:
        raise FileError(
            f"{path.name} line {line_of(path, name)}: {name}={text!r}; "
            f"expected {count} number{'s'[: count > 1]}."
        )
    return values


def _wholes(path: Path, element: ET.Element, name: str, count: int) -> list[int]:
    values = wholes(_numbers(path, element, name, count))
    if values is None or (count == 1 and values[0] < 1):
        raise FileError(
            f"{path.name} line {line_of(path, name)}: {name}={element.get(name)!r}; expected whole numbers."
        )
    return values


def _sector(path: Path, configuration: ET.Element, image: ET.Element, curved: bool) -> ProbeSector:
    left, right, top, bottom = _wholes(path, image, "clipRect_p", 4)[:4]
    (height,), (width,) = (_wholes(path, image, name, 1)[:1] for name in ("height", "width"))
    column, row = _numbers(path, image, "origin_p", 2)[:2]
    sx, sy = _numbers(path, image, "spacing", 2)[:2]
    across, start, end = (
        _numbers(path, configuration, name, 1)[0] for name in ("width", "depthStart", "depthEnd")
    )
    clip, shape = (left, right, top, bottom), (height, width)
    try:
        kind: Literal["linear", "sector"] = "sector" if curved else "linear"
        return ProbeSector(kind, across, (start, end), (column, row), (sx, sy), clip, shape)
    except ValueError as reason:
        raise FileError(f"{path.name} line {line_of(path, 'configuration')}: {reason}") from None


def sector_from_probedata(path: Path) -> ProbeSector | None:
    """The sector of a ``.probedata.xml``; None for type 0, which leaves it to the database."""
    return read_probedata(path).sector


def write_probedata(data: ProbeData, path: str | Path) -> None:
    """Write a ``.probedata.xml`` that `read_probedata` gives back exactly.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.probedata.xml"
    >>> sector = ProbeSector("linear", 38, (0, 40), (45, 7), (0.5, 0.4), (7, 83, 7, 107), (128, 96))
    >>> write_probedata(ProbeData(sector, "VividE9_11L", 106.0), path)
    >>> read_probedata(path).sector == sector
    True
    """
    path = Path(path)
    text = probedata_text(data).encode()
    parsed(path.name, text)  # a sign that XML cannot hold
    with written_whole(path) as folder:
        (folder / path.name).write_bytes(text)


def probedata_text(data: ProbeData | ProbeSector) -> str:
    """The file's text, numbers to the last digit."""
    if isinstance(data, ProbeSector):
        data = ProbeData(data)
    sector, image, beam = data.sector, "", 'type="0" width="0" depthStart="0" depthEnd="0"'
    if sector is not None:
        height, width = sector.shape
        (c0, r0), (sx, sy), (start, end) = sector.origin_p, sector.spacing_mm, sector.depth_mm
        clip = " ".join(map(str, sector.clip_p))
        beam = (
            f'type="{1 if sector.kind == "sector" else 2}" width="{_digits(sector.width)}" '
            f'depthStart="{_digits(start)}" depthEnd="{_digits(end)}"'
        )
        image = (
            f'  <image width="{width}" height="{height}" origin_p="{_digits(c0)} {_digits(r0)} 0" '
            f'spacing="{_digits(sx)} {_digits(sy)} 1" clipRect_p="{clip} 0 0"/>\n'
        )
    tool = f" <tool toolID={quoteattr(data.tool_id)}/>\n" if data.tool_id else ""
    uid = f" uid={quoteattr(data.uid)}" if data.uid else ""
    return (
        f'<root>\n <configuration {beam} temporalCalibration="{_digits(data.latency_ms)}" '
        f'centerOffset="{_digits(data.center_offset)}"{uid}>\n'
        f"{image} </configuration>\n{tool}</root>\n"
    )


def _digits(value: float) -> str:
    """The shortest text that is read back as the same number."""
    return repr(float(value)).removesuffix(".0")


@dataclass(frozen=True)
class ProbeSource:
    """One way a probe's pictures arrive: an ``RTSource`` of the database.

    Parameters
    ----------
    probe_type : "LinearArray", "CurvedLinearArray", "PhasedArray" or "3D", as in the file
    latency_ms : platform -> temporal calibration; "" is for all that have none of their own
    default : ConfigID of the default configuration; "Empty" and what is not there are ""
    sectors : ConfigID -> sector; None for a digital source, whose geometry arrives with the pictures
    corners_p : ConfigID -> (column, row) of the sector's corners; CustusX does not use them
    horizontal_offset : as in the file, None where it is no number
    """

    probe_type: str
    latency_ms: Mapping[str, float]
    default: str
    sectors: Mapping[str, ProbeSector | None]
    corners_p: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    horizontal_offset: float | None = None

    def latency(self, platform: Literal["Linux", "Windows", "Apple"] = "Linux") -> float:
        """The latency on a platform, ms; 0 where the database has none, as CustusX takes it."""
        return self.latency_ms.get(platform, self.latency_ms.get("", 0.0))


def read_probe_sources(path: str | Path) -> dict[str, ProbeSource]:
    """CustusX's ProbeCalibConfigs.xml: ``Scanner:Probe:RTSource`` -> latencies and sectors.

    Of two with the same name the first counts, as in CustusX.

    Raises
    ------
    FileError
        Not well-formed, or a configuration that makes no sector; the sentence names it.
    """
    path = Path(path)
    sources: dict[str, ProbeSource] = {}
    for scanner in parsed_xml(path).iter("USScanner"):
        for probe in scanner.iter("USProbe"):
            for source in probe.iter("RTSource"):
                key = ":".join(_said(e, "Name") for e in (scanner, probe, source))
                if key not in sources:
                    sources[key] = _source(path, key, source, _said(probe, "Type"))
    return sources


def read_probe_database(path: str | Path) -> dict[str, ProbeSector]:
    """CustusX's ProbeCalibConfigs.xml: ``Scanner:Probe:RTSource:ConfigID`` -> sector.

    The conversion is CustusX's: a configuration of at most 0.1 degrees is a linear array. Digital
    streams have no entry: their geometry arrives with the pictures. Latencies: `read_probe_sources`.
    """
    return {
        f"{key}:{config}": sector
        for key, source in read_probe_sources(path).items()
        for config, sector in source.sectors.items()
        if sector is not None
    }


def _said(element: ET.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _source(path: Path, key: str, source: ET.Element, probe_type: str) -> ProbeSource:
    latency = {
        platform: _number(_said(source, f"TemporalCalibration{platform}"))
        for platform in ("", *PLATFORMS)
        if source.find(f"TemporalCalibration{platform}") is not None
    }
    sectors: dict[str, ProbeSector | None] = {}
    corners: dict[str, tuple[tuple[float, float], ...]] = {}
    for config in source.iter("Config"):
        name = _said(config, "ID")
        if name in sectors:
            continue
        try:
            sectors[name] = None if config.find("PixelSize") is None else _converted(path, source, config)
        except FileError:
            raise
        except ValueError as reason:
            raise FileError(f"{path.name}: configuration {key}:{name}: {reason}") from None
        corners[name] = tuple(
            (_number(_said(corner, "Col")), _number(_said(corner, "Row"))) for corner in config.iter("Corner")
        )
    offset = _number(_said(source, "HorizontalOffset"))
    default = _said(source, "DefaultConfig")
    return ProbeSource(
        probe_type,
        {platform: 0.0 if math.isnan(ms) else ms for platform, ms in latency.items()},
        default if default in sectors else "",
        sectors,
        corners,
        None if math.isnan(offset) else offset,
    )


def _converted(path: Path, source: ET.Element, config: ET.Element) -> ProbeSector:
    """CustusX's conversion of one configuration."""

    def number(element: ET.Element, name: str) -> float:
        text = _said(element, name)
        if math.isnan(value := _number(text)):
            raise FileError(f"{path.name}: <{name}> is {text!r}; expected a number.")
        return value

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
    shape = wholes([number(source, "ImageSize/Height"), number(source, "ImageSize/Width")])
    clip = wholes([left, right, top, bottom])
    if shape is None or clip is None or min(shape) < 1:
        raise ValueError("CroppingEdges or ImageSize are no whole numbers; expected pixels.")
    clip_p, size = (clip[0], clip[1], clip[2], clip[3]), (shape[0], shape[1])
    return ProbeSector(kind, width, depth, (column, row), (sx, sy), clip_p, size)
