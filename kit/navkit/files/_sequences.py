"""PLUS and IGSIO sequences (.mha, .mhd): frames, and for each frame its transforms and fields.

``AToBTransform`` maps A to B, so it is ``b_M_a`` in our letters. Only a transform whose status is OK is
usable. Frames are turned to PLUS's own orientation, MF: columns from the marked side, rows from near to far.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._pixels import ELEMENT_TYPES, Frames, Stored, gathered, stays_on_disk
from navkit.files._plus_config import PlusConfig, frames_of
from navkit.geometry import SpaceGraph, orthonormalised
from navkit.tracking import PoseStream

Array = NDArray[np.float64]

FRAME_KEY = re.compile(r"seq_frame(\d{1,9})_(.+)", flags=re.IGNORECASE)
LATERAL, AXIAL = "MU", "FN"
MOST_INFLATION = 1032  # zlib's, of pixels that are all the same
LONGEST_LINE = 2**20  # so that a file of pixels only is not taken as one line


@dataclass(frozen=True)
class Transform:
    """One transform over the frames: ``pose`` (n, 4, 4) as stored, ``valid`` (n,) True where it is OK."""

    pose: Array
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Sequence:
    """A recorded sequence.

    Parameters
    ----------
    frames : (n, height, width) in MF orientation, in memory or a read-only view of a file; None where the
        file has tracking only
    time_s : (n,) the Timestamp of each frame; NaN where it has none
    transforms : name such as "ProbeToTracker" -> `Transform`
    image_valid : (n,) bool; an INVALID picture still has its place among the frames
    fields : every other frame field, name -> n texts, "" where a frame lacks it
    header : the fields that belong to no frame
    """

    frames: Frames | None
    time_s: Array
    transforms: Mapping[str, Transform]
    image_valid: NDArray[np.bool_]
    fields: Mapping[str, tuple[str, ...]]
    header: Mapping[str, str]

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
        return PoseStream(self.time_s[usable], orthonormalised(pose[usable]), name=name)


def read_sequence(path: str | Path, *, on_disk: bool = False) -> Sequence:
    """Read a PLUS sequence, compressed or not, with its pixels inside or beside it.

    Parameters
    ----------
    on_disk : leave the frames on disk: a read-only `numpy.memmap` of the file itself, which must not change
        meanwhile, or, where they are compressed, of a temporary file that is gone with the array (in the
        folder that the environment variable TMPDIR names). Frames that would take half of the free memory
        stay there in any case, so that a recording may be larger than memory

    Raises
    ------
    FileError
        If the file is no sequence, its pixels are too few or too many, or a transform is not 16 numbers; the
        sentence names the frame.

    Notes
    -----
    Reading needs the memory of the frames that it keeps, and 16 MB. A volume of frames on disk,
    ``reconstruct(plus_sweep(read_sequence(path, on_disk=True), config))``, needs the memory of its voxels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    header, frame_fields, data_path, offset = _split(path)
    words = header.get("DimSize", "").split()
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise FileError(
            f"{path.name}: DimSize = {header.get('DimSize')!r}; expected width, height and number of frames."
        )
    width, height, n = map(int, words)
    stray = [k for k in frame_fields if k >= n]
    if stray:
        raise FileError(
            f"{path.name}: fields of frame {stray[0]}, but DimSize has {n} frames (0 to {n - 1})."
        )
    if width * height <= 1 and n and n - 1 not in frame_fields:  # nothing else tells whether n is right
        raise FileError(
            f"{path.name}: DimSize has {n} frames without pictures, and frame {n - 1} has no field; expected "
            "one or more. Was the header edited?"
        )
    frames = None
    if width * height > 1:
        frames = _read_frames(path, header, data_path, offset, (n, height, width), on_disk)
    return assembled(path, header, frame_fields, frames, n)


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
    status = [row.get("ImageStatus", row.get("Status", "OK")) for row in rows]
    return Sequence(
        frames,
        time_s,
        transforms,
        np.array([s == "OK" for s in status], dtype=bool) & (frames is not None),
        {name: tuple(row.get(name, "") for row in rows) for name in names if name not in known},
        header,
    )


def _split(path: Path) -> tuple[dict[str, str], dict[int, dict[str, str]], Path, int]:
    """Header fields, frame fields by frame, and the file and byte where the pixels begin."""
    header: dict[str, str] = {}
    frames: dict[int, dict[str, str]] = {}
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            key, equals, value = _text(line).partition("=")
            key, value = key.strip(), value.strip()
            if not equals:
                continue
            found = FRAME_KEY.fullmatch(key)
            if found:
                frames.setdefault(int(found[1]), {})[found[2]] = value
            else:
                header[key] = value
            if key == "ElementDataFile":
                if value == "LOCAL":
                    return header, frames, path, file.tell()
                beside = path.parent / value
                if not beside.is_file():
                    raise FileError(f"{path.name}: the pixel file {value} is not in {path.parent.name}/.")
                return header, frames, beside, 0
    raise FileError(f"{path.name}: no line ElementDataFile = ...; expected it last in a sequence's header.")


def _text(line: bytes) -> str:
    """UTF-8, or what older programs on Windows wrote."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _number(path: Path, frame: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FileError(f"{path.name}: frame {frame}: Timestamp = {text!r}; expected a number.") from None


def _transform(path: Path, rows: list[dict[str, str]], name: str) -> Transform:
    pose = np.full((len(rows), 4, 4), np.nan)
    valid = np.zeros(len(rows), dtype=bool)
    for k, row in enumerate(rows):
        if name not in row:
            continue
        try:
            numbers = [float(word) for word in row[name].split()]
        except ValueError:
            numbers = []
        if len(numbers) != 16:
            raise FileError(f"{path.name}: frame {k}: {name} = {row[name][:60]!r}; expected 16 numbers.")
        pose[k] = np.reshape(numbers, (4, 4))
        valid[k] = row.get(f"{name}Status", "OK") == "OK"
    return Transform(pose, valid)


def _read_frames(
    path: Path,
    header: dict[str, str],
    data_path: Path,
    offset: int,
    shape: tuple[int, int, int],
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
    held = data_path.stat().st_size - offset
    if stored.compressed and stored.nbytes > MOST_INFLATION * held:  # before memory is asked for
        raise FileError(
            f"{data_path.name} holds {held} compressed bytes; {stored.told} expects {stored.nbytes} bytes "
            "of pixels, which cannot be in them. Was the copy cut off, or the header edited?"
        )
    to_mf = turn(path, header.get("UltrasoundImageOrientation", "XX"))
    on_disk = stays_on_disk(stored.nbytes, on_disk)
    if on_disk and not stored.compressed:
        return to_mf(stored.mapped())
    turned = to_mf(np.broadcast_to(stored.dtype.type(0), shape)).shape
    return gathered(map(to_mf, stored.blocks()), turned, stored.dtype, on_disk=on_disk)


def turn(path: Path, orientation: str, *, back: bool = False) -> Callable[[Frames], Frames]:
    """What turns frames so that columns run from the marked side and rows from near to far: a view.

    With `back`, from there to the orientation.
    """
    letters = orientation.strip().upper()[:2]
    if letters == "XX":
        return lambda frames: frames
    lateral, axial = sorted(letters, key=AXIAL.__contains__) if len(letters) == 2 else "??"
    if lateral not in LATERAL or axial not in AXIAL:
        raise FileError(
            f"{path.name}: UltrasoundImageOrientation = {orientation!r}; expected letters such as MF or UN."
        )
    columns, rows = (
        slice(None, None, -1 if lateral == "U" else 1),
        slice(None, None, -1 if axial == "N" else 1),
    )
    along_beam = letters[0] in AXIAL  # columns run along the beam, as in RF data

    def turned(frames: Frames) -> Frames:
        if along_beam and not back:
            frames = np.swapaxes(frames, 1, 2)
        frames = frames[:, rows, columns]
        return np.swapaxes(frames, 1, 2) if along_beam and back else frames

    return turned
