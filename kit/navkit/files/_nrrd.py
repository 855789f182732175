"""PLUS sequences as NRRD (.nrrd): the same frames and fields with another header."""

import math
import re
import zlib
from pathlib import Path

import numpy as np

from navkit.files._errors import FileError, written_whole
from navkit.files._orientation import turn, turned_frames
from navkit.files._pixels import MOST_INFLATION, Frames, Stored
from navkit.files._sequences import BLANK, FRAME_KEY, LONGEST_LINE, Sequence, assembled
from navkit.files._write_sequence import Progress, check_sequence, checked_line, frame_fields

TYPES = {
    "uint8": "uchar|unsigned char|uint8_t",
    "int8": "signed char|int8_t",
    "uint16": "ushort|unsigned short|unsigned short int|uint16_t",
    "int16": "short|short int|signed short|signed short int|int16_t",
    "uint32": "uint|unsigned int|uint32_t",
    "int32": "int|signed int|int32_t",
    "float32": "float",
    "float64": "double",
}
PLUS_KEYS = {
    "ultrasound image orientation": "UltrasoundImageOrientation",
    "ultrasound image type": "UltrasoundImageType",
}


def read_nrrd_sequence(path: str | Path, *, on_disk: bool = False) -> Sequence:
    """Read a PLUS sequence with header and pixels in one .nrrd file, as `read_sequence` does.

    Raises
    ------
    FileError
        If the file is no NRRD sequence of grey pictures, its pixels are too few or too many or damaged, or a
        transform is not 16 numbers.

    References
    ----------
    NRRD format definition, teem.sourceforge.net/nrrd/format.html.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    said: dict[str, str] = {}
    header: dict[str, str] = {}
    fields: dict[int, dict[str, str]] = {}
    with path.open("rb") as file:
        if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(20)):
            raise FileError(f"{path.name} does not begin with NRRD0001 to NRRD0005; is it a NRRD file?")
        while (line := file.readline(LONGEST_LINE).decode("utf-8", "replace")).strip():
            found = re.match(r"([^#:][^:]*)(:=|:)(.*)", line)
            if not found:
                continue
            key, sign, value = (part.strip(BLANK) for part in found.groups())
            value = value.replace("\\\\", "\0").replace("\\n", " ").replace("\0", "\\")
            frame = FRAME_KEY.fullmatch(key)
            if sign == ":":
                where, name = said, key.lower()
            elif frame:
                where, name = fields.setdefault(int(frame[1]), {}), frame[2]
            else:
                where, name = header, PLUS_KEYS.get(key, key)
            if where.setdefault(name, value) != value:
                raise FileError(f"{path.name}: a second {key}: {value!r}; expected one of each.")

        def refuse(key: str, expected: str) -> FileError:
            return FileError(f"{path.name}: {key}: {said.get(key, '')!r}; expected {expected}.")

        dtype = next((t for t, also in TYPES.items() if said.get("type") in {t, *also.split("|")}), None)
        if dtype is None:
            raise refuse("type", f"one of {', '.join(TYPES)}")
        sizes = said.get("sizes", "").split()
        right = len(sizes) in (3, 4) and all(re.fullmatch("0*[1-9][0-9]{0,8}", w) for w in sizes)
        if not right or said.get("dimension", str(len(sizes))) != str(len(sizes)):
            raise refuse("sizes", "width, height, depth if there is one, number of frames, 1 or more each")
        kinds = said.get("kinds", "").split()
        if any(kind not in ("domain", "space", "???", "none") for kind in kinds[:-1]):
            raise refuse("kinds", "grey pictures: domain domain list")
        if said.get("encoding") not in ("raw", "gz", "gzip"):
            raise refuse("encoding", "raw or gzip")
        if dtype[-1:] != "8" and said.get("endian") not in ("little", "big"):
            raise refuse("endian", "little or big")
        if stray := {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & said.keys():
            raise refuse(min(stray), "no such line: the pixels follow the header")
        *size, n = map(int, sizes)
        if fields and max(fields) >= n:
            raise refuse("sizes", f"at least {max(fields) + 1} frames, as frame {max(fields)} has fields")
        dtype_stored = np.dtype(dtype).newbyteorder(">" if said.get("endian") == "big" else "<")
        shape = (n, *reversed(size))
        packed = said["encoding"] != "raw"
        stored = Stored(path, file.tell(), shape, dtype_stored, packed, f"sizes: {said['sizes']}")
        held = path.stat().st_size - file.tell()
        if stored.nbytes > held * (MOST_INFLATION if packed else 1):
            raise refuse("sizes", f"no more pixels than {held} bytes hold (was the copy cut off?)")
    frames: Frames | None = None
    if math.prod(size) > 1:
        to_mf = turn(path, header.get("UltrasoundImageOrientation", "XX"), dimension=len(size))
        frames = turned_frames(stored, to_mf, on_disk=on_disk)
    return assembled(path, header, fields, frames, n)


def write_nrrd_sequence(
    sequence: Sequence,
    path: str | Path,
    *,
    compressed: bool = True,
    orientation: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a sequence with pictures as a .nrrd file, as `write_sequence` does a .mha file.

    Raises
    ------
    ValueError
        As `write_sequence`, and if there are no pictures, which NRRD cannot say.

    >>> import tempfile
    >>> frames = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> sequence = Sequence(frames, np.array([0.1, 0.3]), {}, np.ones(2, dtype=bool), {}, {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nrrd_sequence(sequence, f"{folder}/s.nrrd", orientation="UN")
    ...     bool((read_nrrd_sequence(f"{folder}/s.nrrd").frames == frames).all())
    True
    """
    path = Path(path)
    frames = sequence.frames
    if path.suffix.lower() != ".nrrd":
        raise ValueError(f"{path.name} is the name of no NRRD file; expected one that ends in .nrrd.")
    good = frames is not None and frames.dtype.name in TYPES and frames.ndim in (3, 4)
    if frames is None or not good or frames[:1].size <= 1:
        raise ValueError(
            "expected pictures (n, height, width) or (n, depth, height, width) of 8 to 64 bit numbers; for "
            "none, write a .mha."
        )
    check_sequence(sequence)
    if orientation is None:
        orientation = sequence.header.get("UltrasoundImageOrientation", "MFA")
    axes = frames.ndim - 1
    from_mf = turn(path, orientation, back=True, dimension=axes)
    sizes = (*from_mf(frames[:1]).shape[:0:-1], len(frames))
    directions = ["(" + ",".join("1" if i == k else "0" for i in range(axes)) + ")" for k in range(axes)]
    head = (
        f"NRRD0004\ntype: {frames.dtype.name.replace('float32', 'float').replace('float64', 'double')}\n"
        f"dimension: {axes + 1}\nspace dimension: {axes}\nsizes: {' '.join(map(str, sizes))}\n"
        f"space directions: {' '.join(directions)} none\nkinds: {'domain ' * axes}list\nendian: little\n"
        f"encoding: {'gzip' if compressed else 'raw'}\nspace origin: ({','.join('0' * axes)})\n"
    )
    told = {"UltrasoundImageType": "BRIGHTNESS", **sequence.header, "UltrasoundImageOrientation": orientation}
    plus_key = {ours: theirs for theirs, ours in PLUS_KEYS.items()}
    lines = [(plus_key.get(key, key), value) for key, value in told.items()]
    stream = zlib.compressobj(wbits=31) if compressed else None
    with written_whole(path) as folder, (folder / path.name).open("wb") as file:
        file.write(head.encode())
        for key, value in (*lines, *frame_fields(sequence)):
            if ":" in key or key.startswith("#") or not key:
                raise ValueError(
                    f"the name {key[:60]!r} cannot be in a NRRD file; expected no ':' or '#' in it."
                )
            file.write(checked_line(key, value.replace("\\", "\\\\"), sign=":="))
        file.write(b"\n")
        for k in range(len(frames)):
            one = np.ascontiguousarray(from_mf(frames[k : k + 1]), dtype=frames.dtype.newbyteorder("<")).data
            file.write(stream.compress(one) if stream else one)
            if progress:
                progress(k + 1, len(frames))
        file.write(stream.flush() if stream else b"")
