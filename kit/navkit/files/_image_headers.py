"""Headers of images that SimpleITK will read, checked first: it crashes on some, and guesses at others."""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from navkit.files._errors import FileError
from navkit.files._metaimage import MOST_HEADER, read_header
from navkit.files._pixels import ELEMENT_TYPES, MOST_INFLATION
from navkit.files._text import beside, decimals, decoded, wholes

META_NUMBERS = {  # how many, for n dimensions
    "ElementSpacing": 1, "ElementSize": 1, "Offset": 1, "Position": 1, "Origin": 1, "CenterOfRotation": 1,
    "TransformMatrix": 2, "Rotation": 2, "Orientation": 2,
}  # fmt: skip
LONGEST_LINE = 4096  # bytes of a NRRD header that place the image
SKEW = 1e-3
NIFTI_DIMENSIONS = 40  # the byte where eight 16-bit numbers begin


def check_image_header(path: Path) -> None:
    """Refuse what claims more pixels than the file can hold, or places them by what are no plain numbers.

    For MetaImage, NRRD and NIfTI by the ending; of another file nothing is said.
    """
    name = path.name.lower()
    if name.endswith((".mha", ".mhd")):
        _check_meta(path)
    elif name.endswith(".nrrd"):
        _check_nrrd(path)
    elif name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)


def _check_meta(path: Path) -> None:
    header = read_header(path)
    size = wholes(header.numbers("DimSize"))
    if size is None or min(size) < 1 or len(size) > 4:
        raise header.refusal("DimSize", "two to four whole numbers, 1 or more each")
    if header.numbers("NDims", 1) != [len(size)]:
        raise header.refusal("NDims", f"{len(size)}, as DimSize has numbers")
    for key, power in META_NUMBERS.items():
        if key in header.fields and len(header.numbers(key)) != len(size) ** power:
            raise header.refusal(key, f"{len(size) ** power} numbers")
        if key in header.fields and power == 2:
            axes = np.reshape(header.numbers(key), (len(size), len(size)))
            if not np.abs(axes @ axes.T - np.eye(len(size))).max() <= SKEW:  # ITK would straighten them
                raise header.refusal(key, "axes of length 1 at right angles")
    for key in {"ElementSpacing", "ElementSize"} & header.fields.keys():
        if min(header.numbers(key)) <= 0:  # what ITK would take as another direction
            raise header.refusal(key, "more than 0 mm")
    for key in ("HeaderSize", "CompressedDataSize", "ElementNumberOfChannels"):
        if key in header.fields and wholes(header.numbers(key, 1)) is None:
            raise header.refusal(key, "a whole number")
    for key in ("CompressedData", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        header.flag(key)
    kind = header.fields.get("ElementType", "").removesuffix("_ARRAY")
    if kind not in ELEMENT_TYPES and not re.fullmatch("MET_U?LONG(_LONG)?", kind):
        raise header.refusal("ElementType", f"one of {', '.join(ELEMENT_TYPES)}")
    channels = (
        int(header.numbers("ElementNumberOfChannels", 1)[0])
        if "ElementNumberOfChannels" in header.fields
        else 1
    )
    inside = header.fields["ElementDataFile"] == "LOCAL"
    pixels = path if inside else beside(path, header.fields["ElementDataFile"])
    if pixels is None:
        raise header.refusal("ElementDataFile", f"LOCAL, or a file in {path.parent.name}/")
    itemsize = np.dtype(ELEMENT_TYPES[kind]).itemsize if kind in ELEMENT_TYPES else 4
    _check_claim(pixels, math.prod(size) * max(1, channels) * itemsize, packed=header.flag("CompressedData"))


def _check_nrrd(path: Path) -> None:
    said: dict[str, str] = {}
    with path.open("rb") as file:
        data = file.read(MOST_HEADER)
    head = re.split(rb"\n\r?\n", data, maxsplit=1)[0]
    for number, line in enumerate(head.split(b"\n"), start=1):
        found = re.match(rb"\s*([^#:=]{1,40}):(?!=)(.*)", line, flags=re.DOTALL)
        if len(line) > LONGEST_LINE and b":=" not in line[:LONGEST_LINE]:
            raise FileError(
                f"{path.name} line {number}: {len(line)} bytes long; expected {LONGEST_LINE} at most."
            )
        if found:
            key, value = decoded(found[1].strip()).lower(), decoded(found[2].strip())
            if said.setdefault(key, value) != value:
                raise FileError(
                    f"{path.name} line {number}: a second {key}: {value!r}; expected one of each."
                )

    def refuse(key: str, expected: str) -> FileError:
        return FileError(f"{path.name}: {key}: {said.get(key, '')!r}; expected {expected}.")

    size = wholes(decimals(said.get("sizes", "")))
    if not size or min(size) < 1 or wholes(decimals(said.get("dimension", ""))) != [len(size)]:
        raise refuse(
            "sizes", f"whole numbers, 1 or more each, as many as dimension: {said.get('dimension', '')!r}"
        )
    for key in ("space directions", "space origin"):
        vectors = re.sub(r"\bnone\b", " ", said.get(key, ""))
        if decimals(re.sub("[(),]", " ", vectors)) is None:
            raise refuse(key, "vectors of plain numbers, such as (1,0,0)")
    if decimals(re.sub(r"(?i)\bnan\b", " ", said.get("spacings", ""))) is None:
        raise refuse("spacings", "plain numbers")
    outside = said.get("data file", said.get("datafile"))
    pixels = path if outside is None else beside(path, outside)
    if pixels is None:
        raise refuse("data file", f"a file in {path.parent.name}/")
    _check_claim(pixels, math.prod(size), packed=said.get("encoding", "raw") != "raw")


def _check_nifti(path: Path) -> None:
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            head = file.read(348)
    except (OSError, EOFError, zlib.error) as reason:
        raise FileError(f"{path.name}: the compressed image is damaged ({reason}).") from None
    if len(head) < 348:
        raise FileError(f"{path.name} has {len(head)} bytes; expected a NIfTI header of 348. Was it cut off?")
    order = "<" if head[:4] == struct.pack("<i", 348) else ">"
    (length,) = struct.unpack_from(f"{order}i", head)
    if length != 348:
        raise FileError(f"{path.name} does not begin as a NIfTI-1 file; expected its header's length, 348.")
    n, *size = struct.unpack_from(f"{order}8h", head, NIFTI_DIMENSIONS)
    if not 1 <= n <= 7 or min(size[:n]) < 1:
        raise FileError(f"{path.name}: dimensions {n}: {size}; expected 1 to 7, and sizes of 1 or more.")
    places = struct.unpack_from(f"{order}8f", head, 76) + struct.unpack_from(f"{order}18f", head, 256)
    if not all(map(math.isfinite, places)):
        raise FileError(f"{path.name}: its spacing or place has NaN or infinity; expected finite numbers.")
    _check_claim(path, math.prod(size[:n]), packed=path.name.lower().endswith(".gz"))


def _check_claim(path: Path, nbytes: int, *, packed: bool) -> None:
    held = path.stat().st_size
    if nbytes > held * (MOST_INFLATION if packed else 1):
        raise FileError(
            f"{path.name} has {held} bytes; its header claims {nbytes} of pixels, which cannot be in them. "
            "Was the copy cut off, or the header edited?"
        )
