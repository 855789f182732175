"""Texts, numbers and XML of files from strangers: bounded, plain, or refused with one sentence."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from navkit.files._errors import FileError
from navkit.files._xml import parsed

MOST_BYTES = 2**26  # of a text: an hour and a half of poses at 100 Hz
LARGEST = (
    1e15  # of a number: no length, angle or time in these files is larger, and products of them are finite
)
NUMBERS = re.compile(rb"(?:\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?!\S))*+\s*")


def is_file(path: Path) -> bool:
    """Also of a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def beside(path: Path, name: str) -> Path | None:
    """The file of that name in the folder of `path`: a header from a stranger names no file elsewhere."""
    plain = name not in ("", ".", "..") and not set(name) & set("/\\:")
    return path.parent / name if plain and is_file(path.parent / name) else None


def content(path: Path, expected: str = "it beside the other files") -> bytes:
    """The bytes of a text file."""
    if not is_file(path):
        raise FileError(f"{path.parent.name}/{path.name} is missing; expected {expected}.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise FileError(f"{path.name} has {size} bytes; expected a text of at most {MOST_BYTES}.")
    return path.read_bytes()


def decoded(data: bytes) -> str:
    """UTF-8, or what older programs wrote."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decimals(text: str | bytes, *, largest: float = LARGEST) -> list[float] | None:
    """Plain decimals between blanks; None if one is nan, 1_000, in digits of another script, or too large.

    >>> decimals("1 -2.5e3"), decimals("1_000"), decimals("nan")
    ([1.0, -2500.0], None, None)
    """
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if not NUMBERS.fullmatch(data):
        return None
    values = [float(word) for word in data.split()]
    return values if math.inf > max(map(abs, values), default=0.0) <= largest else None


def wholes(values: list[float] | None) -> list[int] | None:
    """Whole numbers, also where they are written as 157.000."""
    if values is None or not all(value.is_integer() for value in values):
        return None
    return [int(value) for value in values]


def parsed_xml(path: Path) -> ET.Element:
    """The outermost element of an XML file; see `navkit.files._xml`."""
    data = content(path)
    if b"\0" in data:
        raise FileError(f"{path.name}: UTF-16 or zero bytes; expected UTF-8 or Latin-1 text.")
    return parsed(path.name, data)
