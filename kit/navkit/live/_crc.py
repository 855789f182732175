"""The CRC of OpenIGTLink (64 bit, ECMA-182), fast on every machine.

crcmod, which pyigtl uses, is quick only where a compiler stood ready when it was installed.
"""

import numpy as np
from numba import njit

_POLYNOMIAL = 0x42F0E1EBA9EA3693
_ALL = (1 << 64) - 1


def _tables() -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Row k: what a byte, followed by k more, leaves in the register."""
    rows = []
    for byte in range(256):
        value, row = byte << 56, []
        for _ in range(8):  # rows
            for _ in range(8):  # bits
                value = (value << 1 ^ (_POLYNOMIAL if value >> 63 else 0)) & _ALL
            row.append(value)
        rows.append(row)
    return np.array(rows, dtype=np.uint64).T.copy()


_TABLES = _tables()


@njit(nogil=True, cache=True)
def _crc(words, rest, tables):  # type: ignore[no-untyped-def]
    crc, low, byte = np.uint64(0), np.uint64(255), np.uint64(8)
    for word in words:
        crc ^= word
        after = np.uint64(0)
        for k in range(8):
            after ^= tables[k, crc & low]
            crc >>= byte
        crc = after
    for value in rest:
        crc = (crc << byte) ^ tables[0, (crc >> np.uint64(56)) ^ np.uint64(value)]
    return crc


def crc64(data: bytes) -> int:
    """The CRC of `data`; the same number as crcmod's.

    Examples
    --------
    >>> hex(crc64(b"123456789"))
    '0x6c40df5f0b497347'
    """
    whole = len(data) // 8
    words = np.frombuffer(data, dtype=">u8", count=whole).astype(np.uint64)
    return int(_crc(words, np.frombuffer(data, dtype=np.uint8, offset=8 * whole), _TABLES))
