"""Takes the outputs out of a notebook of any size: hundreds of megabytes are never read as JSON."""

import mmap
import re

__all__ = ["without_outputs"]

_MARK = re.compile(rb'["\[\]{}]')
_LIST_FOLLOWS = re.compile(rb"\s*:\s*\[")


def without_outputs(data: bytes | mmap.mmap) -> bytes:
    """The JSON of a notebook with every cell's list of outputs emptied, without reading it as JSON.

    >>> without_outputs(b'{"cells": [{"outputs": [{"text": "a ] b"}], "source": ""}]}')
    b'{"cells": [{"outputs": [], "source": ""}]}'
    """
    kept: list[bytes] = []
    begin = depth = at = 0
    leave = -1  # the depth around the list that is being left out
    while mark := _MARK.search(data, at):
        at = mark.end()
        if mark[0] == b'"':
            at = _end_of_text(data, at)
            if leave < 0 and depth == 3 and data[mark.start() : at] == b'"outputs"':
                follows = _LIST_FOLLOWS.match(data, at)
                if follows:
                    kept.append(data[begin : follows.end()])
                    leave = depth
        elif mark[0] in b"[{":
            depth += 1
        else:
            depth -= 1
            if depth == leave:
                begin, leave = mark.start(), -1
    if leave < 0:
        kept.append(data[begin:])
    return b"".join(kept)


def _end_of_text(data: bytes | mmap.mmap, at: int) -> int:
    """Behind the quotation mark that ends the text in which `at` is: the first without a backslash."""
    while True:
        at = data.find(b'"', at) + 1
        if at == 0:
            return len(data)
        before = at - 2
        while data[before : before + 1] == b"\\":
            before -= 1
        if (at - before) % 2 == 0:
            return at
