"""Events as OpenIGTLink messages, and back.

IMAGE carries the middle of the picture, and the columns of its matrix are as long as a pixel; here a
picture's matrix maps millimetres from the middle of the upper left pixel. What TRANSFORM cannot say goes as
PLUS and CustusX understand it: a hidden tool has no TRANSFORM (PLUS leaves it out, CustusX shows the tool
as hidden after 0.5 s without one) but a STATUS of the tool's name with code 16, "not present"; a picture
without a pose has the identity and the metadata ``<image>To<space>TransformStatus`` = ``INVALID``. PLUS'
``TransformStatus`` of a TRANSFORM is read too.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from navkit.geometry import RAS_M_LPS
from navkit.live._events import Array, Event, Picture, Pose, Status
from navkit.live._names import NAMES, Names

HEADER_SIZE = 58
MAX_BODY = 64 * 2**20  # bytes; a picture has 0.2 to 6 MB
_NOT_PRESENT = 16
_FAR_MM = 1e6


class WireError(ValueError):
    """Bytes that are no OpenIGTLink message, or not the one they claim to be: one sentence."""


def pack(event: Event, names: Names = NAMES["custusx"]) -> bytes:
    """The bytes of one event.

    Parameters
    ----------
    event
        A pose, a picture or a status. Times are kept to 0.01 us, matrices and spacings to single precision.
    names
        The dialect: where it says so, a matrix is turned from LPS to RAS.

    Raises
    ------
    ValueError
        Name of more than 20 ASCII characters, time before 1970, matrix or picture of another shape or type.

    Examples
    --------
    >>> len(pack(Pose("ProbeToTracker", 1.5, np.eye(4))))
    106
    """
    from navkit.live._messages import KINDS

    if not (event.name.isascii() and 0 < len(event.name) <= 20):
        raise ValueError(f"expected a device name of 1 to 20 ASCII characters, got {event.name!r}")
    if not 0 <= event.time_s < 2**32:
        raise ValueError(f"expected a time in seconds since 1970, got {event.time_s} for {event.name}")
    head: dict[str, Any] = {"timestamp": event.time_s, "device_name": event.name}
    message: Any
    if isinstance(event, Status):
        message = KINDS["STATUS"](event.code, event.text, **head)
    elif isinstance(event, Picture):
        pixels = event.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size or max(pixels.shape) >= 2**16:
            got = f"{pixels.shape} {pixels.dtype} of {event.name}"
            raise ValueError(f"expected a picture of (h, w) uint8, got {got}")
        if not 0 < min(event.spacing_mm) <= max(event.spacing_mm) < _FAR_MM:
            raise ValueError(f"expected pixels of above 0 mm, got {event.spacing_mm} for {event.name}")
        matrix = np.eye(4) if event.matrix is None else _matrix(event.matrix, event.name, names)
        matrix = matrix @ np.diag([*event.spacing_mm, 1.0, 1.0])
        side = "ras" if names.turned(event.name) else "lps"
        message = KINDS["IMAGE"](pixels[None], matrix, side, **head)
        if event.matrix is None:
            message.header_version, message.metadata = 2, {_validity(event.name): "INVALID"}
    elif event.matrix is None:
        message = KINDS["STATUS"](_NOT_PRESENT, "hidden", "Hidden", **head)
    else:
        message = KINDS["TRANSFORM"](_matrix(event.matrix, event.name, names), **head)
    return bytes(message.pack())


def make_ready() -> None:
    """Load what the first message would otherwise wait for, a second or more: pyigtl and the checksum."""
    pack(Status("ready", 0.0, 1, ""))


def _matrix(matrix: Array, name: str, names: Names) -> Array:
    """The matrix as it is on the other side: the same function for there and back."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (4, 4) or not (np.abs(matrix) < _FAR_MM).all():
        raise WireError(f"expected a (4, 4) matrix of numbers below 1 km for {name}, got {matrix.tolist()}")
    return RAS_M_LPS @ matrix if names.turned(name) else matrix


def _validity(name: str) -> str:
    return name.replace("_", "To", 1) + "TransformStatus"


@dataclass(frozen=True)
class Header:
    """The first 58 bytes of a message."""

    kind: str
    name: str
    body_size: int
    crc: int
    fields: dict[str, Any]


def read_header(data: bytes) -> Header:
    """Read the 58 bytes that every message starts with.

    Raises
    ------
    WireError
        No OpenIGTLink, or a body of more than 64 MiB.
    """
    from navkit.live._messages import parse_header

    version = int.from_bytes(data[:2])
    try:
        fields = parse_header(data)
    except (ValueError, OverflowError) as error:
        raise WireError(f"expected an OpenIGTLink header, got {data[:24]!r}: {error}") from error
    kind = fields["message_type"]
    if version not in (1, 2, 3) or not (kind.isascii() and kind.isprintable() and kind):
        raise WireError(f"expected an OpenIGTLink header, got {data[:24]!r}: another program answers there")
    if fields["body_size"] > MAX_BODY:
        raise WireError(
            f"expected a message of at most {MAX_BODY} bytes, got a header that claims {fields['body_size']} "
            f"for {kind} {fields['device_name']!r}: damaged, or not OpenIGTLink"
        )
    return Header(kind, fields["device_name"], fields["body_size"], int.from_bytes(data[50:58]), fields)


def unpack(header: Header, body: bytes, names: Names = NAMES["custusx"]) -> Event | None:
    """The event in a message; None for a type that carries none.

    Raises
    ------
    WireError
        Wrong checksum, or a body that is not what its header says; pictures other than (h, w) uint8.
    """
    from navkit.live._crc import crc64
    from navkit.live._messages import KINDS

    if header.kind not in KINDS:
        return None
    what = f"{header.kind} {header.name!r}"
    if len(body) != header.body_size or crc64(body) != header.crc:
        raise WireError(f"{what}: checksum does not fit its {len(body)} bytes, damaged on the way")
    message = KINDS[header.kind]()
    if header.fields["header_version"] > 1:
        sizes = [int.from_bytes(body[a:b]) for a, b in ((0, 2), (2, 4), (4, 8))]  # extended header, metadata
        if sizes[0] < 12 or sum(sizes) > len(body):
            raise WireError(f"{what}: parts of {sizes} bytes do not fit into {len(body)}, damaged on the way")
    try:
        with np.errstate(all="ignore"):
            message.unpack(header.fields, body)
    except Exception as error:  # pyigtl trusts what it reads: any kind of error may come
        raise WireError(f"{what}: body of {len(body)} bytes cannot be read: {error}") from error
    name, time_s = header.name, message.timestamp
    if header.kind == "STATUS":
        if (message.code, message.error) == (_NOT_PRESENT, "Hidden"):
            return Pose(name, time_s, None)
        return Status(name, time_s, message.code, message.text)
    if header.kind == "TRANSFORM":
        if message.metadata.get("TransformStatus", "OK") != "OK":
            return Pose(name, time_s, None)
        return Pose(name, time_s, _matrix(message.matrix, name, names))
    image, matrix = message.image, _matrix(message.ijk_to_world_matrix, name, names)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 1 or not image.size:
        raise WireError(f"{what}: expected one picture of 8 bit grey, got {image.shape} {image.dtype}")
    x_mm, y_mm, z_mm = (math.hypot(*column) for column in matrix[:3, :3].T)
    if not min(x_mm, y_mm, z_mm) > 0:
        raise WireError(f"{what}: expected pixels larger than 0 mm, got {x_mm} x {y_mm} x {z_mm}")
    lost = message.metadata.get(_validity(name), "OK") != "OK"
    return Picture(name, time_s, image[0], (x_mm, y_mm), None if lost else matrix / [x_mm, y_mm, z_mm, 1.0])


@dataclass
class Incoming:
    """Bytes in, events out, whatever the pieces are that they come in.

    Attributes
    ----------
    messages
        How many came whole.
    unknown
        How many messages of which other type were left out.
    refused
        How many messages were damaged or not of use.
    notes
        Why, the first ten sentences.
    """

    names: Names = NAMES["custusx"]
    messages: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    notes: list[str] = field(default_factory=list)
    _waiting: bytearray = field(default_factory=bytearray)

    def restart(self) -> None:
        """Forget the beginning of a message whose rest will not come."""
        self._waiting.clear()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with `data`; go through them all.

        Raises
        ------
        WireError
            The bytes are no OpenIGTLink: nothing that follows can be trusted.
        """
        self._waiting += data
        while len(self._waiting) >= HEADER_SIZE:
            header = read_header(bytes(self._waiting[:HEADER_SIZE]))
            end = HEADER_SIZE + header.body_size
            if len(self._waiting) < end:
                break
            body = bytes(memoryview(self._waiting)[HEADER_SIZE:end])
            del self._waiting[:end]
            self.messages += 1
            try:
                event = unpack(header, body, self.names)
            except WireError as error:
                self.refuse(error)
                continue
            if event is None:
                self.unknown[header.kind] += 1
            else:
                yield event

    def refuse(self, error: WireError) -> None:
        """Count and note what was wrong."""
        self.refused += 1
        if len(self.notes) < 10:
            self.notes.append(str(error))
