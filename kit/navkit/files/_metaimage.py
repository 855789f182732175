"""MetaImage headers and their pixels, exactly: sizes are checked before anything is used.

SimpleITK reads MetaImage too, but drops CustusX's own keys and reports a short file only as a failure.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError

ELEMENT_TYPES = {
    "MET_UCHAR": np.uint8,
    "MET_CHAR": np.int8,
    "MET_USHORT": np.uint16,
    "MET_SHORT": np.int16,
    "MET_UINT": np.uint32,
    "MET_INT": np.int32,
    "MET_FLOAT": np.float32,
    "MET_DOUBLE": np.float64,
}


@dataclass(frozen=True)
class Header:
    """The lines of a MetaImage header: ``fields`` by key, ``lines`` their numbers in the file."""

    path: Path
    fields: dict[str, str]
    lines: dict[str, int]

    def numbers(self, key: str, count: int | None = None) -> list[float]:
        """The numbers of a field, or one sentence on what is wrong with them."""
        if key not in self.fields:
            raise FileError(f"{self.path.name}: no line {key} = ...; expected one in a MetaImage header.")
        text = self.fields[key]
        try:
            values = [float(word) for word in text.split()]
        except ValueError:
            values = []
        if not values or (count is not None and len(values) < count):
            wanted = "numbers" if count is None else f"{count} numbers"
            raise FileError(f"{self.path.name} line {self.lines[key]}: {key} = {text!r}; expected {wanted}.")
        return values


def read_header(path: Path) -> Header:
    """Key = value lines. CustusX's older files put keys of their own after ElementDataFile."""
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(path.read_bytes().decode("latin-1").splitlines(), start=1):
        key, equals, value = line.partition("=")
        if not equals:
            continue
        fields[key.strip()] = value.strip()
        lines[key.strip()] = number
        if fields.get("ElementDataFile") == "LOCAL":  # pixels follow
            break
    if "ElementDataFile" not in fields:
        raise FileError(f"{path.name}: no line ElementDataFile = ...; expected one in a MetaImage header.")
    return Header(path, fields, lines)


def read_pixels(header: Header) -> NDArray[np.generic]:
    """The pixels as (n, h, w) or (n, h, w, channels), slowest axis first as stored.

    Raises
    ------
    FileError
        If the pixel file is missing, shorter or longer than the header says, or not of a known type.
    """
    sizes = [int(n) for n in header.numbers("DimSize", 2)]
    kind = header.fields.get("ElementType", "")
    if kind not in ELEMENT_TYPES:
        line = header.lines.get("ElementType", "?")
        raise FileError(
            f"{header.path.name} line {line}: ElementType = {kind!r}; "
            f"expected one of {', '.join(ELEMENT_TYPES)}."
        )
    channels = (
        int(header.numbers("ElementNumberOfChannels", 1)[0])
        if "ElementNumberOfChannels" in header.fields
        else 1
    )
    dtype = np.dtype(ELEMENT_TYPES[kind]).newbyteorder(
        ">" if header.fields.get("BinaryDataByteOrderMSB", "False").lower() == "true" else "<"
    )
    name = header.fields["ElementDataFile"]
    data_path = header.path.parent / name
    if not data_path.is_file():
        raise FileError(
            f"{header.path.name} line {header.lines['ElementDataFile']}: the pixel file {name} is not in "
            f"{header.path.parent.name}/."
        )
    raw = data_path.read_bytes()
    if header.fields.get("CompressedData", "False").lower() == "true":
        try:
            raw = zlib.decompress(raw)
        except zlib.error as reason:
            raise FileError(f"{name}: the compressed pixels end early or are damaged ({reason}).") from None
    expected = int(np.prod(sizes)) * channels * dtype.itemsize
    if len(raw) != expected:
        raise FileError(
            f"{name} holds {len(raw)} bytes of pixels; {header.path.name} line {header.lines['DimSize']} "
            f"expects {expected} ({' x '.join(map(str, sizes))} x {channels * dtype.itemsize}). "
            f"{'Was the copy cut off?' if len(raw) < expected else 'Do header and pixels belong together?'}"
        )
    shape = tuple(reversed(sizes)) + ((channels,) if channels > 1 else ())
    pixels = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return pixels[None] if len(sizes) == 2 else pixels
