"""Sequences in another format, acquisitions in the other layout, tool positions as a sequence."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from navkit.files import (
    FileError,
    Sequence,
    Transform,
    read_acquisition,
    read_positions,
    read_sequence,
    write_sequence,
)
from navkit.files._custusx import Acquisition, find_acquisition
from navkit.files._metaimage import Header, read_header, stored_pixels
from navkit.files._plus_config import frames_of

Progress = Callable[[int, int], None]

PLAIN = {  # keys of a header that only say how the file is laid out
    "AnatomicalOrientation", "BinaryData", "BinaryDataByteOrderMSB", "CenterOfRotation", "CompressedData",
    "CompressedDataSize", "DimSize", "ElementByteOrderMSB", "ElementDataFile", "ElementNumberOfChannels",
    "ElementSpacing", "ElementType", "Kinds", "NDims", "ObjectType", "Offset", "TransformMatrix",
    "UltrasoundImageOrientation", "UltrasoundImageType",
}  # fmt: skip


def several(n: int | np.integer[Any], what: str) -> str:
    return f"{n} {what}{'s' * int(n != 1)}"


def stem_of(path: Path) -> str:
    """The name without .igs.mha, .seq.nrrd and the like."""
    return re.sub(r"(\.(igs|seq))?\.(mha|mhd|nrrd)$", "", path.name, flags=re.IGNORECASE)


def to_other_sequence(
    source: Path, target: Path, *, orientation: str | None, compressed: bool, progress: Progress | None
) -> tuple[str, ...]:
    sequence = read_sequence(source, on_disk=True)
    write_sequence(sequence, target, compressed=compressed, orientation=orientation, progress=progress)
    again = read_sequence(target, on_disk=True)
    lost = []
    for what, ours, theirs in (
        ("fields of frames", sequence.fields, again.fields),
        ("the header", _beside_layout(sequence.header), _beside_layout(again.header)),
        ("the transforms", _bytes(sequence), _bytes(again)),
    ):
        names = sorted(key for key, value in ours.items() if theirs.get(key) != value)
        if names:
            lost.append(f"{', '.join(names)} of {what}")
    if sequence.image_status != again.image_status:
        lost.append("words of the pictures' status")
    return tuple(lost)


def _beside_layout(header: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in header.items() if key not in PLAIN}


def _bytes(sequence: Sequence) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {
        name: (t.pose.tobytes(), t.valid.tobytes(), t.status) for name, t in sequence.transforms.items()
    }
    return {**found, "Timestamp": (sequence.time_s.tobytes(), sequence.image_valid.tobytes())}


def to_other_layout(source: Path, target: Path, layout: Literal["stack", "frames"]) -> tuple[str, ...]:
    """Frames in one stack or a file each, byte for byte; every other file is copied."""
    acq = find_acquisition(source)
    read_acquisition(source, on_disk=True, spacing_from="image")  # refuses what does not belong together
    headers = headers_of(acq)
    target.mkdir()
    pictures = {h.path.name for h in headers} | {h.fields["ElementDataFile"] for h in headers}
    stale = sorted(
        p.name for p in acq.folder.iterdir() if p.name not in pictures and re.fullmatch(
            re.escape(acq.base) + r"(_\d+)?\.(mhd|z?raw)", p.name)
    )  # fmt: skip
    for path in acq.folder.iterdir():
        if path.is_file() and path.name not in pictures and path.name not in stale:
            shutil.copyfile(path, target / path.name)
    lost = [f"{several(len(stale), 'file')} that nothing reads: {', '.join(stale[:5])}"] if stale else []
    lost += [f"the folder {p.name}" for p in sorted(acq.folder.iterdir()) if p.is_dir()]
    blocks = (frame for header in headers for block in stored_pixels(header).blocks() for frame in block)
    if layout == "stack":
        own = sorted(
            {key for h in headers for key in h.fields
             if key != "ElementDataFile" and h.fields[key] != headers[0].fields.get(key)}
        )  # fmt: skip
        if own:
            lost.append(f"{', '.join(own)} of each frame's own header: a stack has one")
        n = 0
        with (target / f"{acq.base}.raw").open("wb") as file:
            for n, frame in enumerate(blocks, start=1):  # noqa: B007
                file.write(np.ascontiguousarray(frame).data)
        _write_header(headers[0], target, acq.base, n)
    else:
        for k, frame in enumerate(blocks):
            (target / f"{acq.base}_{k}.raw").write_bytes(np.ascontiguousarray(frame).tobytes())
            _write_header(headers[k if len(headers) > 1 else 0], target, f"{acq.base}_{k}", 1)
    return tuple(lost)


def headers_of(acq: Acquisition) -> list[Header]:
    stack = acq.file(".mhd")
    if stack.is_file():
        return [read_header(stack)]
    headers: list[Header] = []
    while (path := acq.file(f"_{len(headers)}.mhd")).is_file():
        headers.append(read_header(path))
    return headers


def _write_header(header: Header, folder: Path, name: str, n: int) -> None:
    """The header's own lines, of n frames that lie beside it uncompressed."""
    fields = {key: value for key, value in header.fields.items() if key != "CompressedDataSize"}
    width, height = fields["DimSize"].split()[:2]
    fields |= {"NDims": "3", "DimSize": f"{width} {height} {n}", "CompressedData": "False"}
    spacing = fields.get("ElementSpacing", "").split()
    fields["ElementSpacing"] = " ".join([*spacing, spacing[0]][: max(3, len(spacing))])
    fields["ElementDataFile"] = fields.pop("ElementDataFile") and f"{name}.raw"  # last
    text = "".join(f"{key} = {value}\n" for key, value in fields.items())
    (folder / f"{name}.mhd").write_text(text, encoding="utf-8", newline="\n")


def positions_to_sequence(source: Path, target: Path) -> tuple[str, ...]:
    """A frame for every time at which a tool was seen, with the transforms of those that were."""
    streams = read_positions(source)
    time_s = np.unique(np.concatenate([s.time_s for s in streams.values()]) if streams else np.empty(0))
    if not len(time_s):
        raise FileError(f"{source.name} holds no position; expected one or more.")
    lost: list[str] = []
    transforms: dict[str, Transform] = {}
    for name, stream in streams.items():
        letters = re.sub(r"[^A-Za-z0-9]", "", name.title()) or "Tool"
        letters = re.sub("To(?=[A-Z0-9])", "to", letters)
        plain = f"{letters}ToReference"
        while plain in transforms or frames_of(plain) != (letters, "Reference"):
            letters = f"Tool{len(transforms)}x{letters.lower()}"
            plain = f"{letters}ToReference"
        if letters != name:
            lost.append(f"the name {name!r}: PLUS calls it {letters}")
        pose = np.full((len(time_s), 4, 4), np.nan)
        at = np.searchsorted(time_s, stream.time_s)
        pose[at] = stream.pose
        transforms[plain] = Transform(pose, np.isin(np.arange(len(time_s)), at))
    none = np.zeros(len(time_s), dtype=bool)
    write_sequence(Sequence(None, time_s, transforms, none, {}, {}), target)
    return tuple(lost)
