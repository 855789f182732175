"""Files of no known format, pixel files, and what is empty."""

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from navkit.files._metaimage import read_header, stored_pixels
from navkit.recordings._about import UNREADABLE, Description, amount

HEAD = 2**16


def empty(path: Path) -> Description:
    told = "the file is empty: was the disk full, or the copy stopped? Copy it again."
    return Description(path, "empty file", (("size", "0 bytes"),), {"bytes": 0.0}, (told,))


def plain_text(path: Path) -> Description:
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(HEAD)
    kind = f"XML of <{root}>" if (root := xml_root(data)) else "text file"
    facts = [("size", amount(size))]
    if size <= HEAD:
        facts.append(("lines", str(len(data.splitlines()))))
    return Description(
        path, kind, tuple(facts), {"bytes": float(size)}, (), ("its meaning: no known format",)
    )


def plain_binary(path: Path) -> Description:
    """Bytes of no known format."""
    return named("unknown binary file")(path)


def named(kind: str) -> Callable[[Path], Description]:
    """What describes files that are known by no more than their kind."""

    def about(path: Path) -> Description:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(16)
        facts = (("size", amount(size)), ("first bytes", first.hex(" ")))
        return Description(path, kind, facts, {"bytes": float(size)}, (), ("its meaning: no known format",))

    return about


def header_of(path: Path) -> Path | None:
    """The MetaImage header beside a pixel file that names it."""
    headers = [path.with_suffix(".mhd"), *islice(path.parent.glob("*.mhd"), 50)]
    for header in headers:
        try:
            if read_header(header).fields["ElementDataFile"] == path.name:
                return header
        except UNREADABLE:
            continue
    return None


def pixels(path: Path, header: Path) -> Description:
    stored = stored_pixels(read_header(header))
    if not stored.compressed:
        stored.mapped()  # its size is checked
    size = path.stat().st_size
    n, height, width = stored.shape[:3]
    return Description(
        path,
        f"pixels of {header.name}",
        (("size", amount(size)), ("frames", f"{n} of {width} x {height} pixels")),
        {"bytes": float(size), "frames": float(n), "width_px": float(width), "height_px": float(height)},
        (),
        (f"the pictures: describe {header.name}",),
    )


def xml_root(head: bytes) -> str:
    """The name of the outermost element, "" where it is no XML."""
    text = re.sub(rb"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>]*>", b"", head, flags=re.DOTALL)
    found = re.match(rb"[\xef\xbb\xbf\s]*<([A-Za-z_][\w.:-]*)", text)
    return found[1].decode() if found else ""
