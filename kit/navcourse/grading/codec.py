"""Plain numbers and arrays through text, never an object: no pickle in either direction.

What crosses the border between the learner's kernel and the judge is a number, an array, or a
tuple of them. Everything else is refused in a sentence, on both sides.
"""

import base64
import binascii
import io
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

__all__ = ["MAX_BYTES", "CodecError", "decode", "encode"]

MAX_BYTES = 64_000_000
"""Most bytes of array data that one value may hold; a 400 x 400 x 400 volume of uint8 fits."""
MAX_PARTS = 64
KINDS = "biufc"
_NPZ_ERRORS = (binascii.Error, zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, SyntaxError,
               MemoryError, NotImplementedError, RuntimeError)  # fmt: skip


class CodecError(ValueError):
    """The value is not a number, an array, or a tuple of them."""


def encode(value: Any, *, verb: str = "returned") -> str:
    """A number, an array or a tuple of them as base64 text of an npz file.

    Raises
    ------
    CodecError
        With one sentence that begins with `verb`: what came, and what is expected.

    >>> decode(encode((1.5, np.arange(3))))
    (1.5, array([0, 1, 2]))
    >>> encode(None)
    Traceback (most recent call last):
    navcourse.grading.codec.CodecError: returned None; expected an array or a number
    """
    is_tuple = isinstance(value, tuple)
    parts = list(value) if is_tuple else [value]
    if len(parts) > MAX_PARTS:
        raise CodecError(f"{verb} a tuple of {len(parts)} parts; expected at most {MAX_PARTS}")
    arrays = []
    for number, part in enumerate(parts, start=1):
        where = f" as part {number} of the tuple" if is_tuple else ""
        arrays.append(_plain(part, verb, where))
    total = sum(a.nbytes for a in arrays)
    if total > MAX_BYTES:
        raise CodecError(f"{verb} {total / 1e6:.0f} MB of numbers; expected at most {MAX_BYTES / 1e6:.0f} MB")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, array in enumerate(arrays):
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            name = f"{'tuple' if is_tuple else 'single'}_{number:02d}.npy"
            # Without the time of day: the same value is the same text, always.
            archive.writestr(zipfile.ZipInfo(name), member.getvalue(), zipfile.ZIP_DEFLATED, 1)
        if not arrays:
            archive.writestr(zipfile.ZipInfo("tuple_empty"), b"")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode(text: str) -> Any:
    """What `encode` was given: numbers as plain Python numbers, arrays as plain arrays.

    Raises
    ------
    CodecError
        If the text is not such a file: pickled objects, other types, too much data, a forged header.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(text, validate=True))) as archive:
            members = archive.infolist()
            # Sizes are checked before a byte is unpacked: a small file can claim to be a huge one.
            if len(members) > MAX_PARTS or sum(m.file_size for m in members) > MAX_BYTES + 4096 * MAX_PARTS:
                raise CodecError("the answer is larger than the judge accepts")
            names = [m.filename for m in members]
            values = [_read_npy(archive.read(m)) for m in members if m.filename != "tuple_empty"]
    except CodecError:
        raise
    except _NPZ_ERRORS as error:
        raise CodecError(f"the answer could not be read ({type(error).__name__})") from error
    if names and all(name.startswith("tuple_") for name in names):
        return tuple(values)
    if len(values) != 1:
        raise CodecError("the answer could not be read (parts are missing)")
    return values[0]


def _plain(part: Any, verb: str, where: str) -> Any:
    expected = "expected an array or a number"
    if part is None:
        raise CodecError(f"{verb} None{where}; {expected}")
    if isinstance(part, str | bytes):
        raise CodecError(f"{verb} a text{where}; {expected}")
    try:
        array = np.asarray(part)  # a plain array: a subclass of ndarray does not cross
    except Exception as error:
        raise CodecError(f"{verb} a {type(part).__name__}{where}; {expected}") from error
    if array.dtype.kind not in KINDS or array.dtype.hasobject or array.dtype.names is not None:
        raise CodecError(f"{verb} a {type(part).__name__}{where}; {expected}")
    return array


def _read_npy(data: bytes) -> Any:
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind not in KINDS or dtype.hasobject or dtype.names is not None:
        raise CodecError("the answer holds something else than numbers")
    # reshape refuses a header that does not fit the data: nothing is allocated on a header's word.
    array = (
        np.frombuffer(data[stream.tell() :], dtype=dtype).reshape(shape, order="F" if fortran else "C").copy()
    )
    return array.item() if array.ndim == 0 else array
