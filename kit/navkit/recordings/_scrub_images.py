"""Pictures and volumes without what their headers tell: MetaImage and NRRD, their pixels written anew."""

import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files import FileError
from navkit.files._nrrd import TYPES
from navkit.files._pixels import ELEMENT_TYPES, Stored
from navkit.files._sequences import FRAME_KEY, LONGEST_LINE
from navkit.recordings._identity import PERSON, Rules, cleaned, shifted, words_of_name

DROPPED = re.compile(
    PERSON.pattern
    + r"|study|series|institut|hospital|comment|note|descri|accession|referring|date|uid|content"
    r"|station|serial|user|host|path|(acquisition|content|recording)_?time|\A(name|id|parentid|copyright|author)\Z",
    re.IGNORECASE,
)
# Numbers that are no times, whatever they look like.
NUMERIC = re.compile(
    "NDims|DimSize|ElementSpacing|ElementSize|Offset|Position|Origin|Orientation|TransformMatrix|CenterOfRotation"
    "|ElementNumberOfChannels|CompressedDataSize|ElementM(in|ax)|HeaderSize|Rotation|FrameNumber|dimension|sizes"
    "|space (dimension|directions|origin)|spacings|axis m(in|ax)s|.*Transform"
)
STANDARD = re.compile(
    "Object(Sub)?Type|BinaryData(ByteOrderMSB)?|ElementByteOrderMSB|CompressedData|ElementType|Modality|ImageType3"
    "|AnatomicalOrientation|UltrasoundImage(Orientation|Type)|.*Status|Custom(Frame)?FieldNames|ConfigurationID"
    "|DefaultFrameTransformName|ProbeCalibration|type|endian|encoding|kinds|space",
    re.IGNORECASE,
)
NUMBERS = re.compile(r"[-+\d.eE\s(),nan]*")
ROOM = b" " * 20  # for the size of the compressed pixels, which is known at the end

Mask = NDArray[np.bool_] | None


def new_value(key: str, value: str, rules: Rules, where: str) -> str | None:
    """What stands for a header field; None where it is left out."""
    found = FRAME_KEY.fullmatch(key)
    name = found[2] if found else key
    if "timestamp" in name.lower():
        try:
            return shifted(value, rules, where) if value else value
        except ArithmeticError:
            raise FileError(f"{where}: {name} is no number; expected a time.") from None
    if name.endswith("Status") and value in ("OK", "INVALID"):
        return value
    numeric = NUMBERS.fullmatch(value) is not None
    if numeric and NUMERIC.fullmatch(name):
        return value
    if DROPPED.search(name) and not name.endswith("Status"):
        if PERSON.search(name):
            rules.persons.update(words_of_name(value))
        rules.note("header field", where, value)
        return None
    if not numeric and not STANDARD.fullmatch(name):
        rules.kept.add(name)
    return cleaned(value, rules, where)


def scrub_metaimage(source: Path, out: Path | None, rules: Rules, where: str, mask: Mask = None) -> None:
    """Write a .mhd with its pixels beside it, or a .mha. Without `out`, only look what identifies.

    Pixels are read and written anew, so that nothing hides behind them. Outside a mask they become black.
    """
    fields, offset = _fields(source)
    known = dict(fields)
    data_path = source if known["ElementDataFile"] == "LOCAL" else source.parent / known["ElementDataFile"]
    packed = known.get("CompressedData", "False").lower() == "true"
    stored = _stored(source, known, data_path, offset)
    lines: list[bytes] = []
    at, keys = 0, dict[str, str]()
    compressed = packed and mask is None
    data_name = f"{out.stem}.{'zraw' if compressed else 'raw'}" if out else ""
    for key, value in fields:
        new: str | None
        if key == "ElementDataFile":
            new = value if value == "LOCAL" else data_name
        elif key == "CompressedDataSize":
            if not compressed:
                continue
            at, new = sum(map(len, lines)) + len(b"CompressedDataSize = "), ROOM.decode()
        elif key == "CompressedData":
            new = str(compressed)
        else:
            new = new_value(key, value, rules, where)
            found = FRAME_KEY.fullmatch(key)
            name = found[2] if found else key
            if name not in keys:  # most names are those of every frame
                keys[name] = cleaned(name, rules, where)
            key = key.removesuffix(name) + keys[name]
        if new is not None:
            lines.append(f"{key} = {new}\n".encode())
    if out is None:
        return
    out.write_bytes(b"".join(lines))
    if stored is None:
        if data_path != source:
            (out.parent / data_name).touch()
        return
    target = out if data_path == source else out.parent / data_name
    held = _write_pixels(target, (_masked(b, mask).tobytes() for b in stored.blocks()), compressed)
    if at:
        with out.open("r+b") as file:
            file.seek(at)
            file.write(b"%d" % held)


def _fields(source: Path) -> tuple[list[tuple[str, str]], int]:
    """Keys and values in order, and where the pixels begin; those after ElementDataFile are CustusX's own."""
    fields: list[tuple[str, str]] = []
    with source.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            try:
                text = line.decode()
            except UnicodeDecodeError:
                text = line.decode("latin-1")
            key, equals, value = (part.strip() for part in text.partition("="))
            if equals:
                fields.append((key, value))
            if (key, value) == ("ElementDataFile", "LOCAL"):
                return fields, file.tell()
    if "ElementDataFile" not in dict(fields):
        raise FileError(f"{source.name}: no line ElementDataFile = ...; expected one in a MetaImage header.")
    return sorted(fields, key=lambda field: field[0] == "ElementDataFile"), 0


def stored_frames(source: Path) -> Stored | None:
    """The pixels of a MetaImage file; None where it has none."""
    fields, offset = _fields(source)
    known = dict(fields)
    name = known["ElementDataFile"]
    return _stored(source, known, source if name == "LOCAL" else source.parent / name, offset)


def _stored(source: Path, known: dict[str, str], data_path: Path, offset: int) -> Stored | None:
    words = known.get("DimSize", "").split()
    kind = known.get("ElementType", "")
    channels = known.get("ElementNumberOfChannels", "1")
    if not (2 <= len(words) <= 4 and all(w.isdecimal() and len(w) < 10 for w in [*words, channels])):
        raise FileError(f"{source.name}: DimSize = {known.get('DimSize')!r}; expected 2 to 4 whole numbers.")
    if "0" in words:
        return None
    if kind not in ELEMENT_TYPES:
        raise FileError(f"{source.name}: ElementType = {kind!r}; expected one of {', '.join(ELEMENT_TYPES)}.")
    if not data_path.is_file() or data_path.parent != source.parent:
        raise FileError(f"{source.name}: its pixel file is not beside it; expected it there.")
    sizes = [int(word) for word in reversed(words)]
    shape = (1, *sizes) if len(sizes) == 2 else tuple(sizes)
    shape += (int(channels),) if int(channels) > 1 else ()
    packed = known.get("CompressedData", "False").lower() == "true"
    return Stored(data_path, offset, shape, np.dtype(ELEMENT_TYPES[kind]), packed, f"{source.name}: DimSize")


def _masked(block: NDArray[np.generic], mask: Mask) -> NDArray[np.generic]:
    if mask is None:
        return block
    if block.shape[1:3] != mask.shape:
        raise FileError(f"pictures are {block.shape[1:3]}; the sector is for {mask.shape}.")
    inside = mask if block.ndim == 3 else mask[..., None]
    return np.where(inside, block, np.zeros(1, block.dtype))


def _write_pixels(target: Path, pieces: Iterator[bytes], compressed: bool, *, wbits: int = 15) -> int:
    """Append to a file; the number of bytes that were."""
    stream = zlib.compressobj(wbits=wbits) if compressed else None
    with target.open("ab") as file:
        start = file.tell()
        for piece in pieces:
            file.write(stream.compress(piece) if stream else piece)
        file.write(stream.flush() if stream else b"")
        return file.tell() - start


def scrub_nrrd(source: Path, out: Path | None, rules: Rules, where: str) -> None:
    """Write a .nrrd with its pixels inside. Without `out`, only look what identifies."""
    with source.open("rb") as file:
        first = file.readline(20)
        if not re.fullmatch(rb"NRRD000[1-5]\r?\n", first):
            raise FileError(f"{source.name} does not begin with NRRD0001 to NRRD0005; is it a NRRD file?")
        lines, said = [first.decode().strip()], {}
        while line := file.readline(LONGEST_LINE).decode("utf-8", "replace").strip():
            found = re.match(r"([^#:][^:]*)(:=|: ?)(.*)", line)
            if not found:
                rules.note("comment", where, line.lstrip("# ") if len(line) > 8 else "")
                continue
            key, sign, value = found.groups()
            if sign != ":=":
                said[key.lower()] = value.strip()
            new = new_value(key.lower() if sign != ":=" else key, value.strip(), rules, where)
            if new is not None:
                lines.append(f"{cleaned(key, rules, where)}{sign}{new}")
        dtype = next((t for t, also in TYPES.items() if said.get("type") in {t, *also.split("|")}), None)
        sizes = said.get("sizes", "").split()
        inside = not any(k.replace(" ", "") in ("datafile", "lineskip", "byteskip") for k in said)
        packed = said.get("encoding") in ("gz", "gzip")
        if dtype is None or not sizes or not all(w.isdecimal() and len(w) < 10 for w in sizes):
            raise FileError(f"{source.name}: no type and sizes that are known; expected both.")
        if not inside or not (packed or said.get("encoding") == "raw"):
            raise FileError(f"{source.name}: expected raw or gzip pixels that follow the header.")
        if out is None:
            return
        needed = math.prod(map(int, sizes)) * np.dtype(dtype).itemsize
        out.write_bytes("\n".join([*lines, "", ""]).encode())
        try:
            with gzip.GzipFile(fileobj=file) if packed else file as pixels:
                _write_pixels(out, _exactly(source.name, pixels.read, needed), packed, wbits=31)
        except (OSError, EOFError, zlib.error) as reason:
            raise FileError(f"{source.name}: the compressed pixels are damaged ({reason}).") from None


def _exactly(name: str, read: Callable[[int], bytes], needed: int) -> Iterator[bytes]:
    done = 0
    while piece := read(min(2**20, needed - done + 1)):
        done += len(piece)
        if done > needed:
            break
        yield piece
    if done != needed:
        raise FileError(f"{name}: more or fewer pixels than the {needed} bytes that its sizes expect.")
