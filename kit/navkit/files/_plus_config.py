"""PLUS's configuration files: fixed transforms, the phantom, where to look in the picture, time offsets."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._text import decimals, is_file, parsed_xml, wholes
from navkit.geometry import SpaceGraph

Array = NDArray[np.float64]
Key = TypeVar("Key")
Value = TypeVar("Value")

MOST_FLAT = 1e12  # the condition of a matrix; more cannot be inverted


@dataclass(frozen=True)
class PlusConfig:
    """What a PLUS device set file says.

    Parameters
    ----------
    transforms : ("Image", "Probe") -> (4, 4), maps Image to Probe; mm, except Image, which is pixels
    wires : (n_wires, 3, 2, 3) mm in Phantom: the N-wires, as `calibrate_probe_nwires` takes them; empty
        without any
    landmarks : name -> (3,) mm in Phantom
    clip_p : first and last column, first and last row (px) that the segmentation looks at; None for all
    mm_per_px : about how large a pixel is, for the segmentation; NaN when it does not say
    time_offset_s : device -> LocalTimeOffsetSec, which PLUS adds to the device's times
    reconstruction : the attributes of the volume reconstruction, as written
    """

    transforms: Mapping[tuple[str, str], Array]
    wires: Array
    landmarks: Mapping[str, Array]
    clip_p: tuple[int, int, int, int] | None
    mm_per_px: float
    time_offset_s: Mapping[str, float]
    reconstruction: Mapping[str, str]

    def spaces(self) -> SpaceGraph:
        """The transforms as a graph: ``spaces().get("Reference", "Phantom")`` maps Phantom to Reference."""
        graph = SpaceGraph()
        for (r, q), q_M_r in self.transforms.items():
            graph.set(q, r, q_M_r)
        return graph


def read_plus_config(path: str | Path) -> PlusConfig:
    """Read a PLUS device set configuration (.xml).

    Raises
    ------
    FileError
        If the file is no configuration, a number is missing, an N-wire has not three wires, or the
        transforms close a loop.
    """
    path = Path(path)
    if not is_file(path):
        raise FileError(f"{path} is not a file.")
    root = parsed_xml(path)
    if root.tag != "PlusConfiguration":
        raise FileError(f"{path.name}: the outermost element is <{root.tag}>; expected <PlusConfiguration>.")

    def numbers(element: ET.Element, name: str, count: int) -> Array:
        text = element.get(name, "")
        values = decimals(text)
        if values is None or len(values) != count:
            raise FileError(
                f"{path.name}: <{element.tag}> has {name}={' '.join(text.split())[:60]!r}; expected {count} "
                f"number{'s'[: count > 1]}."
            )
        return np.array(values)

    def pixels(element: ET.Element, name: str) -> tuple[int, int]:
        found = wholes(numbers(element, name, 2).tolist())
        if found is None or min(found) < 0:
            raise FileError(
                f"{path.name}: <{element.tag}> has {name}={element.get(name)!r}; expected two whole numbers "
                "of pixels."
            )
        return found[0], found[1]

    def once(found: dict[Key, Value], key: Key, value: Value, what: str) -> None:
        if key in found:
            raise FileError(f"{path.name}: a second {what} {key!r}; expected one of each.")
        found[key] = value

    transforms: dict[tuple[str, str], Array] = {}
    for t in root.iterfind("CoordinateDefinitions/Transform"):
        ends = t.get("From", ""), t.get("To", "")
        matrix = numbers(t, "Matrix", 16).reshape(4, 4)
        if not np.array_equal(matrix[3], [0, 0, 0, 1]) or not np.linalg.cond(matrix[:3, :3]) < MOST_FLAT:
            raise FileError(
                f"{path.name}: the matrix of {ends[0]}To{ends[1]} does not end in 0 0 0 1 or cannot be "
                "inverted; expected 16 numbers row by row. Is it transposed?"
            )
        once(transforms, ends, matrix, "transform")
    landmarks: dict[str, Array] = {}
    for m in root.iterfind(".//Landmarks/Landmark"):
        once(landmarks, m.get("Name", ""), numbers(m, "Position", 3), "landmark")
    offsets: dict[str, float] = {}
    for device in root.iter("Device"):
        if device.get("LocalTimeOffsetSec") is not None:
            once(offsets, device.get("Id", ""), float(numbers(device, "LocalTimeOffsetSec", 1)[0]), "device")
    patterns = []
    for pattern in root.iterfind("PhantomDefinition/Geometry/Pattern"):
        if pattern.get("Type") != "NWire":
            continue
        wires = pattern.findall("Wire")
        if len(wires) != 3:
            raise FileError(f"{path.name}: an N-wire pattern has {len(wires)} wires; expected 3.")
        patterns.append([[numbers(w, f"EndPoint{end}", 3) for end in ("Front", "Back")] for w in wires])
    segmentation = root.find("Segmentation")
    clip, mm_per_px = None, np.nan
    if segmentation is not None:
        mm_per_px = float(numbers(segmentation, "ApproximateSpacingMmPerPixel", 1)[0])
        if not mm_per_px > 0:
            raise FileError(
                f"{path.name}: ApproximateSpacingMmPerPixel is {mm_per_px:g}; expected more than 0."
            )
        if segmentation.get("ClipRectangleSize") is not None:
            x, y = pixels(segmentation, "ClipRectangleOrigin")
            width, height = pixels(segmentation, "ClipRectangleSize")
            clip = (x, x + width - 1, y, y + height - 1) if width and height else None
    reconstruction = root.find("VolumeReconstruction")
    config = PlusConfig(
        transforms,
        np.array(patterns, dtype=float).reshape(-1, 3, 2, 3),
        landmarks,
        clip,
        mm_per_px,
        offsets,
        {} if reconstruction is None else dict(reconstruction.attrib),
    )
    try:
        config.spaces()
    except ValueError as reason:
        raise FileError(f"{path.name}: {reason}") from None
    return config


def frames_of(name: str) -> tuple[str, str] | None:
    """("Image", "Probe") of "ImageToProbe"; None for what is no transform's name."""
    found = re.fullmatch(r"(\w+?)To([A-Z0-9]\w*)", name)
    return (found[1], found[2]) if found else None
