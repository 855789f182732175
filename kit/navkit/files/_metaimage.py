"""MetaImage headers and their pixels, exactly: sizes are checked before anything is used.

SimpleITK reads MetaImage too, but drops CustusX's own keys and reports a short file only as a failure.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navkit.files._errors import FileError
from navkit.files._pixels import ELEMENT_TYPES, Stored
from navkit.files._text import beside, decimals, decoded, is_file, wholes

MOST_HEADER = 2**20  # bytes: pixels may follow


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
        values = decimals(self.fields[key])
        if not values or (count is not None and len(values) < count):
            raise self.refusal(key, "numbers" if count is None else f"{count} numbers")
        return values

    def flag(self, key: str, *, otherwise: bool = False) -> bool:
        """True or False, as the header says, or `otherwise` where it says nothing."""
        found = self.fields.get(key, str(otherwise)).lower()
        if found not in ("true", "false"):
            raise self.refusal(key, "True or False")
        return found == "true"

    def refusal(self, key: str, expected: str) -> FileError:
        line, got = self.lines.get(key, "?"), self.fields.get(key, "")
        return FileError(f"{self.path.name} line {line}: {key} = {got!r}; expected {expected}.")


def read_header(path: Path) -> Header:
    """Key = value lines. CustusX's older files put keys of their own after ElementDataFile."""
    fields: dict[str, str] = {}
    lines: dict[str, int] = {}
    if not is_file(path):
        raise FileError(f"{path.parent.name}/{path.name} is missing; expected a MetaImage header.")
    with path.open("rb") as file:
        data = file.read(MOST_HEADER)
    for number, line in enumerate(data.splitlines(), start=1):
        key, equals, value = (decoded(part.strip()) for part in line.partition(b"="))
        if not equals:
            continue
        if fields.get(key, value) != value:
            raise FileError(f"{path.name} line {number}: a second {key}, {value!r}; expected one of each.")
        fields[key] = value
        lines[key] = number
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
    sizes = wholes(header.numbers("DimSize", 2))
    if sizes is None or len(sizes) > 3 or min(sizes) < 1:
        raise header.refusal("DimSize", "width, height and number of frames, 1 or more each")
    if "NDims" in header.fields and header.numbers("NDims", 1) != [len(sizes)]:
        raise header.refusal("NDims", f"{len(sizes)}, as DimSize has numbers")
    kind = header.fields.get("ElementType", "")
    if kind not in ELEMENT_TYPES:
        raise header.refusal("ElementType", f"one of {', '.join(ELEMENT_TYPES)}")
    channels = 1
    if "ElementNumberOfChannels" in header.fields:
        told = wholes(header.numbers("ElementNumberOfChannels", 1)) or [0]
        channels = told[0]
    if channels < 1:
        raise header.refusal("ElementNumberOfChannels", "1 or more")
    if not header.flag("BinaryData", otherwise=True):
        raise header.refusal("BinaryData", "True: pixels as text are not read")
    dtype = np.dtype(ELEMENT_TYPES[kind]).newbyteorder(">" if header.flag("BinaryDataByteOrderMSB") else "<")
    name = header.fields["ElementDataFile"]
    data_path = beside(header.path, name)
    if data_path is None:
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
        header.flag("CompressedData"),
        f"{header.path.name} line {header.lines['DimSize']}",
    )
