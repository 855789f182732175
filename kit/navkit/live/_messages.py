"""pyigtl's messages, and what they lack: STATUS, and a CRC that is fast on every machine."""

import struct
from typing import Any

from pyigtl import messages

from navkit.live._crc import crc64

messages.CRC64 = crc64  # crcmod's takes 50 ms for a picture where it found no compiler

_STATUS = struct.Struct(">Hq20s")


class StatusMessage(messages.MessageBase):  # type: ignore[misc]
    """STATUS: a code (1 is OK), the device's own code, a short name of what is wrong and a sentence."""

    def __init__(self, code: int = 1, text: str = "", error: str = "", **head: Any) -> None:
        super().__init__(**head)
        self._message_type = "STATUS"
        self.code, self.text, self.error = code, text, error
        self._valid_message = True

    def _pack_content(self) -> bytes:
        return _STATUS.pack(self.code, 0, self.error.encode()) + self.text.encode() + b"\0"

    def _unpack_content(self, content: bytes) -> None:
        self.code, _, error = _STATUS.unpack_from(content)
        self.error = error.rstrip(b"\0").decode()
        self.text = content[_STATUS.size :].rstrip(b"\0").decode()


KINDS = {"TRANSFORM": messages.TransformMessage, "IMAGE": messages.ImageMessage, "STATUS": StatusMessage}

parse_header = messages.MessageBase.parse_header
