"""Frames as they lie in a file, and the two ways to have them: in memory, or left on disk.

They are read, inflated and converted block by block: beside its result, reading needs 16 MB, or six frames
where those are larger.
"""

import math
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError

Frames = NDArray[Any]

BLOCK = 2**21  # bytes of frames that are read at a time; colour needs five times as much to become grey
PIECE = 2**18  # bytes that go through zlib at a time
PADDING = b"\0\r\n"  # what may stand after the end of a stream
MOST_INFLATION = 1032  # zlib's, of pixels that are all the same

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
class Stored:
    """Frames of one size, one after another in a file.

    Parameters
    ----------
    path, offset : the file, and the first byte of the first frame
    shape : (n, height, width) or (n, height, width, channels), none of them 0
    compressed : all frames are one zlib stream
    told : where number and size of the frames are written, for the sentence if they do not fit
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    compressed: bool
    told: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def mapped(self) -> Frames:
        """All frames where they are, read-only, of a file that is not compressed."""
        self.check_size()
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def blocks(self) -> Iterator[Frames]:
        """The frames in order, as many at a time as a block holds; each block overwrites the one before.

        Raises
        ------
        FileError
            Before the first block if the size does not fit; of a compressed file after the last good block.
        """
        self.check_size()
        n = self.shape[0]
        frame = self.nbytes // n
        step = min(n, max(1, BLOCK // frame))
        buffer = np.empty((step, *self.shape[1:]), self.dtype)
        done = 0
        with self.path.open("rb") as file:
            file.seek(self.offset)
            readinto = _inflating(file) if self.compressed else file.readinto
            try:
                for first in range(0, n, step):
                    block = buffer[: n - first]
                    room = block.reshape(-1).view(np.uint8).data
                    while room and (got := readinto(room)):
                        room, done = room[got:], done + got
                    if room:
                        raise self._misfit(done)
                    yield block
                if readinto(memoryview(bytearray(1))):
                    raise self._misfit(done + 1)
            except zlib.error as reason:
                raise FileError(
                    f"{self.path.name}: the compressed pixels end early or are damaged ({reason}); "
                    f"{self.told} expects {n} frames, and the first {done // frame} can be read."
                ) from None

    def check_size(self) -> None:
        """Refuse a header that claims more than the file can hold, before memory or disk is asked for it."""
        held = self.path.stat().st_size - self.offset
        if self.compressed and self.nbytes > MOST_INFLATION * held:
            raise FileError(
                f"{self.path.name} holds {held} compressed bytes; {self.told} expects {self.nbytes} bytes of "
                "pixels, which cannot be in them. Was the copy cut off, or the header edited?"
            )
        if not self.compressed and held != self.nbytes:
            raise self._misfit(held)

    def _misfit(self, held: int) -> FileError:
        frame = self.nbytes // self.shape[0]
        more = "more than " if self.compressed and held > self.nbytes else ""
        hint = (
            "Do header and pixels belong together?"
            if held > self.nbytes
            else f"Frame {held // frame} is the first that is not complete. Was the copy cut off?"
        )
        return FileError(
            f"{self.path.name} holds {more}{held - bool(more)} bytes of pixels; {self.told} expects "
            f"{self.nbytes} ({self.shape[0]} frames of {frame}). {hint}"
        )


def _inflating(file: BinaryIO) -> Callable[[memoryview], int]:
    """``file.readinto`` of what a zlib or gzip stream holds: how many bytes came, 0 after its end."""
    stream = zlib.decompressobj(wbits=47)  # of zlib, as MetaImage has it, or of gzip, as NRRD

    def readinto(room: memoryview) -> int:
        while not stream.eof:
            raw = stream.unconsumed_tail or file.read(PIECE)
            piece = stream.decompress(raw, min(len(room), PIECE))
            if piece:
                room[: len(piece)] = piece
                return len(piece)
            if not raw:
                raise zlib.error("incomplete or truncated stream")
        if stream.unused_data.strip(PADDING) or file.read(PIECE).strip(PADDING):
            raise zlib.error("more data after the end of the stream")
        return 0

    return readinto


def stays_on_disk(nbytes: int, wished: bool) -> bool:
    """Whether frames of so many bytes stay on disk: if wished, or if they take half of the free memory."""
    import psutil

    return wished or nbytes > psutil.virtual_memory().available / 2


def gathered(blocks: Iterable[Frames], shape: tuple[int, ...], dtype: Any, *, on_disk: bool) -> Frames:
    """Blocks of frames as one array (n, h, w): in memory, or read-only in a temporary file.

    The file is gone with the array, and where files need no name also if the process is killed.

    >>> blocks = [np.full((2, 3, 4), 7), np.full((1, 3, 4), 9)]
    >>> frames = gathered(blocks, (3, 3, 4), int, on_disk=True)
    >>> frames[:, 0, 0].tolist(), frames.flags.writeable
    ([7, 7, 9], False)
    """
    if not on_disk:
        frames, first = np.empty(shape, dtype), 0
        for block in blocks:
            frames[first : first + len(block)] = block
            first += len(block)
        return frames
    folder = tempfile.gettempdir()
    needed, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"the frames need {needed / 1e9:.1f} GB on disk and {free / 1e9:.1f} GB are free in {folder}; "
            "expected room for all. Free some, or name another folder in TMPDIR."
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
        file.flush()
        return np.memmap(file, dtype, "r", shape=shape)
