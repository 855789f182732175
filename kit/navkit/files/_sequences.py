"""PLUS and IGSIO sequences (.mha, .mhd, .nrrd): frames, and for each its transforms and fields.

``AToBTransform`` maps A to B, so it is ``b_M_a`` in our letters. Only a transform whose status is OK is
usable. Frames are turned to PLUS's own orientation, MF: columns from the marked side, rows from near to far;
MFA in 3-D, where slices run upwards.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._orientation import turn, turned_frames
from navkit.files._pixels import ELEMENT_TYPES, Frames, Stored
from navkit.files._plus_config import PlusConfig, frames_of
from navkit.files._text import beside, decimals
from navkit.geometry import SpaceGraph, orthonormalised
from navkit.tracking import PoseStream

Array = NDArray[np.float64]

FRAME_KEY = re.compile(r"seq_frame([0-9]{1,9})_(.+)", flags=re.IGNORECASE)
BLANK = " \t\r\n"  # str.strip alone takes control signs too
LONGEST_LINE = 2**20  # so that a file of pixels only is not taken as one line


@dataclass(frozen=True)
class Transform:
    """One transform over the frames: ``pose`` (n, 4, 4) as stored, ``valid`` (n,) True where it is OK.

    ``status`` has n texts, or none: "" where OK or INVALID says all, else PLUS's own word, such as MISSING.
    """

    pose: Array
    valid: NDArray[np.bool_]
    status: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sequence:
    """A recorded sequence.

    Parameters
    ----------
    frames : (n, height, width) in MF orientation, or volumes (n, depth, height, width) in MFA; in memory or
        a read-only view of a file; None where the file has tracking only
    time_s : (n,) the Timestamp of each frame; NaN where it has none
    transforms : name such as "ProbeToTracker" -> `Transform`
    image_valid : (n,) bool; an INVALID picture still has its place among the frames
    fields : every other frame field, name -> n texts, "" where a frame lacks it
    header : the fields that belong to no frame
    image_status : n texts, or none: as a transform's status
    """

    frames: Frames | None
    time_s: Array
    transforms: Mapping[str, Transform]
    image_valid: NDArray[np.bool_]
    fields: Mapping[str, tuple[str, ...]]
    header: Mapping[str, str]
    image_status: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)

    def spaces(self, config: PlusConfig | None = None) -> SpaceGraph:
        """Every frame's transforms as one graph, with a configuration's fixed ones: (n, 4, 4) or (4, 4).

        ``spaces(config).get("Reference", "Image")`` is where each frame's picture was; NaN where a transform
        on the way was not OK.
        """
        graph = SpaceGraph() if config is None else config.spaces()
        for name, one in self.transforms.items():
            r, q = frames_of(name) or ("", "")
            graph.set(q, r, np.where(one.valid[:, None, None], one.pose, np.nan))
        return graph

    def stream(self, name: str, config: PlusConfig | None = None) -> PoseStream:
        """The samples of a transform that are OK, as exact rotations; the first of repeated times.

        The transform may be a chain: "StylusToReference" of a sequence that has StylusToTracker and
        ReferenceToTracker.
        """
        if name in self.transforms:
            one = self.transforms[name]
            pose = np.where(one.valid[:, None, None], one.pose, np.nan)
        else:
            r, q = frames_of(name) or ("", name)
            try:
                pose = np.broadcast_to(self.spaces(config).get(q, r), (len(self), 4, 4))
            except (KeyError, ValueError) as reason:
                has = ", ".join(sorted(self.transforms))
                raise FileError(f"no transform {name}; the sequence has {has}: {reason.args[0]}") from None
        usable = np.isfinite(pose).all(axis=(1, 2)) & np.isfinite(self.time_s)
        usable[1:] &= np.diff(self.time_s) > 0
        try:
            return PoseStream(self.time_s[usable], orthonormalised(pose[usable]), name=name)
        except ValueError as reason:
            raise FileError(f"transform {name}: {reason}") from None


def read_sequence(path: str | Path, *, on_disk: bool = False) -> Sequence:
    """Read a PLUS sequence: .mha, .mhd or .nrrd, compressed or not, pixels inside or beside the header.

    Parameters
    ----------
    on_disk : leave the frames on disk: a read-only `numpy.memmap` of the file itself, which must not change
        meanwhile, or, where they are compressed, of a temporary file that is gone with the array (in the
        folder that the environment variable TMPDIR names). Frames that would take half of the free memory
        stay there in any case, so that a recording may be larger than memory

    Raises
    ------
    FileError
        If the file is no sequence of grey pictures, its pixels are too few or too many, or a transform is
        not 16 numbers; the sentence names the frame.

    Notes
    -----
    Reading needs the memory of the frames that it keeps, and 16 MB. A volume of frames on disk,
    ``reconstruct(plus_sweep(read_sequence(path, on_disk=True), config))``, needs the memory of its voxels.
    A file whose Kinds are "domain domain domain" is one volume, not frames.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    if path.suffix.lower() == ".nrrd":
        from navkit.files._nrrd import read_nrrd_sequence  # which needs this module's Sequence

        return read_nrrd_sequence(path, on_disk=on_disk)
    header, frame_fields, data_path, offset = _split(path)
    *size, n = _size(path, header)
    stray = [k for k in frame_fields if k >= n]
    if stray:
        raise FileError(
            f"{path.name}: fields of frame {stray[0]}, but DimSize has {n} frames (0 to {n - 1})."
        )
    pixels = math.prod(size)
    if pixels <= 1 and n and n - 1 not in frame_fields:  # nothing else tells whether n is right
        raise FileError(
            f"{path.name}: DimSize has {n} frames without pictures, and frame {n - 1} has no field; expected "
            "one or more. Was the header edited?"
        )
    if pixels <= 1 and n > path.stat().st_size:  # before room for so many is made
        raise FileError(
            f"{path.name}: DimSize has {n} frames without pictures; expected fewer than the file has bytes. "
            "Was the header edited?"
        )
    frames = None
    if pixels > 1:
        frames = _read_frames(path, header, data_path, offset, (n, *reversed(size)), on_disk)
    return assembled(path, header, frame_fields, frames, n)


def _size(path: Path, header: Mapping[str, str]) -> list[int]:
    """Width, height, depth if there is one, and number of frames."""
    words = header.get("DimSize", "").split()
    kinds = header.get("Kinds", "").split()
    channels = header.get("ElementNumberOfChannels", "1")
    if channels != "1" or "vector" in kinds:
        raise FileError(
            f"{path.name}: pictures of {channels} channels, Kinds = {' '.join(kinds)!r}; expected grey ones."
        )
    if len(words) not in (3, 4) or not all(re.fullmatch("[0-9]{1,18}", w) for w in words):
        raise FileError(
            f"{path.name}: DimSize = {header.get('DimSize')!r}; expected width, height and number of frames, "
            "or width, height, depth and number."
        )
    if header.get("NDims", str(len(words))) != str(len(words)):
        raise FileError(f"{path.name}: NDims = {header['NDims']}, but DimSize has {len(words)} numbers.")
    size = [int(word) for word in words]
    return [*size, 1] if len(size) == 3 and kinds == ["domain"] * 3 else size


def assembled(
    path: Path,
    header: dict[str, str],
    frame_fields: dict[int, dict[str, str]],
    frames: Frames | None,
    n: int,
) -> Sequence:
    """A sequence of a file's header, fields of frames, and pictures."""
    rows = [frame_fields.get(k, {}) for k in range(n)]
    names = sorted({name for row in rows for name in row})
    transforms = {
        name.removesuffix("Transform"): _transform(path, rows, name)
        for name in names
        if name.endswith("Transform") and frames_of(name.removesuffix("Transform"))
    }
    known = {"Timestamp", "ImageStatus", "Status"} | {f"{t}Transform" for t in transforms}
    known |= {f"{t}TransformStatus" for t in transforms}
    time_s = np.array([_number(path, k, row.get("Timestamp", "nan")) for k, row in enumerate(rows)])
    said = [row.get("ImageStatus", row.get("Status")) for row in rows]
    valid = np.array([s in ("OK", None) for s in said], dtype=bool) & (frames is not None)
    return Sequence(
        frames,
        time_s,
        transforms,
        valid,
        {name: tuple(row.get(name, "") for row in rows) for name in names if name not in known},
        header,
        _words(said, valid, np.full(n, True)),
    )


def _words(said: list[str | None], valid: NDArray[np.bool_], held: NDArray[np.bool_]) -> tuple[str, ...]:
    """The statuses that `valid` does not tell, of what a frame holds or not; none at all if there is none."""
    plain = [
        {None, "OK"} if v else {None, "INVALID"} if h else {None} for v, h in zip(valid, held, strict=True)
    ]
    words = tuple("" if one in p else one or "" for one, p in zip(said, plain, strict=True))
    return words if any(words) else ()


def _split(path: Path) -> tuple[dict[str, str], dict[int, dict[str, str]], Path, int]:
    """Header fields, frame fields by frame, and the file and byte where the pixels begin."""
    header: dict[str, str] = {}
    frames: dict[int, dict[str, str]] = {}
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            key, equals, value = _text(line).partition("=")
            key, value = key.strip(BLANK), value.strip(BLANK)
            if not equals:
                continue
            found = FRAME_KEY.fullmatch(key)
            where, name = (frames.setdefault(int(found[1]), {}), found[2]) if found else (header, key)
            if where.setdefault(name, value) != value:
                raise FileError(f"{path.name}: a second {key} = {value!r}; expected one of each.")
            if key == "ElementDataFile":
                if value == "LOCAL":
                    return header, frames, path, file.tell()
                data_path = beside(path, value)
                if data_path is None:
                    raise FileError(f"{path.name}: the pixel file {value!r} is not in {path.parent.name}/.")
                return header, frames, data_path, 0
    raise FileError(f"{path.name}: no line ElementDataFile = ...; expected it last in a sequence's header.")


def _text(line: bytes) -> str:
    """UTF-8, or what older programs on Windows wrote."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _number(path: Path, frame: int, text: str) -> float:
    found = [math.nan] if text.lower() == "nan" else decimals(text, largest=math.inf)
    if found is None or len(found) != 1:
        raise FileError(f"{path.name}: frame {frame}: Timestamp = {text!r}; expected a number.")
    return found[0]


def _transform(path: Path, rows: list[dict[str, str]], name: str) -> Transform:
    pose = np.full((len(rows), 4, 4), np.nan)
    said = [row.get(f"{name}Status") for row in rows]
    for k, row in enumerate(rows):
        if name not in row:
            continue
        numbers = decimals(row[name], largest=math.inf)
        if numbers is None or len(numbers) != 16:
            raise FileError(f"{path.name}: frame {k}: {name} = {row[name][:60]!r}; expected 16 numbers.")
        pose[k] = np.reshape(numbers, (4, 4))
    held = np.array([name in row for row in rows], dtype=bool)
    valid = held & np.array([s in ("OK", None) for s in said], dtype=bool)
    return Transform(pose, valid, _words(said, valid, held))


def _read_frames(
    path: Path,
    header: dict[str, str],
    data_path: Path,
    offset: int,
    shape: tuple[int, ...],
    on_disk: bool,
) -> Frames:
    kind = header.get("ElementType", "")
    if kind not in ELEMENT_TYPES:
        raise FileError(f"{path.name}: ElementType = {kind!r}; expected one of {', '.join(ELEMENT_TYPES)}.")
    if not shape[0]:
        raise FileError(f"{path.name}: DimSize = {header['DimSize']!r} has no frame; expected one or more.")
    stored = Stored(
        data_path,
        offset,
        shape,
        np.dtype(ELEMENT_TYPES[kind]).newbyteorder(
            ">" if header.get("BinaryDataByteOrderMSB", "False").lower() == "true" else "<"
        ),
        header.get("CompressedData", "False").lower() == "true",
        f"DimSize = {' '.join(header['DimSize'].split())}",
    )
    stored.check_size()
    to_mf = turn(path, header.get("UltrasoundImageOrientation", "XX"), dimension=len(shape) - 1)
    return turned_frames(stored, to_mf, on_disk=on_disk)
