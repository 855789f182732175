"""MetaImage headers and their pixels, exactly: sizes are checked before anything is used.

SimpleITK reads MetaImage too, but drops CustusX's own keys and reports a short file only as a failure.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navkit.files._errors import FileError
from navkit.files._pixels import ELEMENT_TYPES, Stored


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


def stored_pixels(header: Header) -> Stored:
    """The pixels as (n, h, w) or (n, h, w, channels), slowest axis first as stored.

    Raises
    ------
    FileError
        If the pixel file is missing, a size is not positive, or the type is not known.
    """
    sizes = [int(n) for n in header.numbers("DimSize", 2)]
    if len(sizes) > 3 or min(sizes) < 1:
        raise FileError(
            f"{header.path.name} line {header.lines['DimSize']}: DimSize = {header.fields['DimSize']!r}; "
            "expected width, height and number of frames, 1 or more each."
        )
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
    width, height, n = (*sizes, 1)[:3]
    return Stored(
        data_path,
        0,
        (n, height, width) + ((channels,) if channels > 1 else ()),
        dtype,
        header.fields.get("CompressedData", "False").lower() == "true",
        f"{header.path.name} line {header.lines['DimSize']}",
    )
