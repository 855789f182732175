"""PLUS and IGSIO sequences (.mha, .mhd): frames, and for each frame its transforms and fields.

``AToBTransform`` maps A to B, so it is ``b_M_a`` in our letters. Only a transform whose status is OK is
usable. Frames are turned to PLUS's own orientation, MF: columns from the marked side, rows from near to far.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._metaimage import ELEMENT_TYPES
from navkit.files._plus_config import PlusConfig, frames_of
from navkit.geometry import SpaceGraph, orthonormalised
from navkit.tracking import PoseStream

Array = NDArray[np.float64]

FRAME_KEY = re.compile(r"seq_frame(\d+)_(\w+)", flags=re.IGNORECASE)
LATERAL, AXIAL = "MU", "FN"


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
    frames : (n, height, width) in MF orientation; None where the file has tracking only
    time_s : (n,) the Timestamp of each frame; NaN where it has none
    transforms : name such as "ProbeToTracker" -> `Transform`
    image_valid : (n,) bool; an INVALID picture still has its place among the frames
    fields : every other frame field, name -> n texts, "" where a frame lacks it
    header : the fields that belong to no frame
    """

    frames: NDArray[np.generic] | None
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


def read_sequence(path: str | Path) -> Sequence:
    """Read a PLUS sequence, compressed or not, with its pixels inside or beside it.

    Raises
    ------
    FileError
        If the file is no sequence, its pixels are short, or a transform is not 16 numbers; the
        sentence names the frame.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    header, frame_fields, pixels = _split(path)
    sizes = [int(v) for v in header.get("DimSize", "").split() if v.isdigit()]
    if len(sizes) != 3:
        raise FileError(
            f"{path.name}: DimSize = {header.get('DimSize')!r}; expected width, height and number of frames."
        )
    width, height, n = sizes
    stray = [k for k in frame_fields if k >= n]
    if stray:
        raise FileError(
            f"{path.name}: fields of frame {stray[0]}, but DimSize has {n} frames (0 to {n - 1})."
        )
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
        None if width * height <= 1 else _pixels(path, header, pixels, (n, height, width)),
        time_s,
        transforms,
        np.array([s == "OK" for s in status], dtype=bool) & (width * height > 1),
        {name: tuple(row.get(name, "") for row in rows) for name in names if name not in known},
        header,
    )


def _split(path: Path) -> tuple[dict[str, str], dict[int, dict[str, str]], bytes]:
    """Header fields, frame fields by frame, and what follows the last line of the header."""
    raw = path.read_bytes()
    header: dict[str, str] = {}
    frames: dict[int, dict[str, str]] = {}
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start)
        end = len(raw) if end < 0 else end
        key, equals, value = raw[start:end].decode("latin-1").partition("=")
        key, value, start = key.strip(), value.strip(), end + 1
        if not equals:
            continue
        found = FRAME_KEY.fullmatch(key)
        if found:
            frames.setdefault(int(found[1]), {})[found[2]] = value
        else:
            header[key] = value
        if key == "ElementDataFile":
            return header, frames, raw[start:] if value == "LOCAL" else _beside(path, value)
    raise FileError(f"{path.name}: no line ElementDataFile = ...; expected it last in a sequence's header.")


def _beside(path: Path, name: str) -> bytes:
    if not (path.parent / name).is_file():
        raise FileError(f"{path.name}: the pixel file {name} is not in {path.parent.name}/.")
    return (path.parent / name).read_bytes()


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


def _pixels(
    path: Path, header: dict[str, str], raw: bytes, shape: tuple[int, int, int]
) -> NDArray[np.generic]:
    kind = header.get("ElementType", "")
    if kind not in ELEMENT_TYPES:
        raise FileError(f"{path.name}: ElementType = {kind!r}; expected one of {', '.join(ELEMENT_TYPES)}.")
    if header.get("CompressedData", "False").lower() == "true":
        try:
            raw = zlib.decompress(raw)
        except zlib.error as reason:
            raise FileError(
                f"{path.name}: the compressed frames end early or are damaged ({reason})."
            ) from None
    dtype = np.dtype(ELEMENT_TYPES[kind]).newbyteorder("<")
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(raw) < expected:
        complete = len(raw) // (expected // shape[0])
        raise FileError(
            f"{path.name}: {len(raw)} bytes of pixels; expected {expected} for {shape[0]} frames. "
            f"Frame {complete} is the first that is not complete. Was the copy cut off?"
        )
    frames = np.frombuffer(raw, dtype=dtype, count=int(np.prod(shape))).reshape(shape)
    return _to_mf(path, header.get("UltrasoundImageOrientation", "XX"), frames)


def _to_mf(path: Path, orientation: str, frames: NDArray[np.generic]) -> NDArray[np.generic]:
    """Frames turned so that columns run from the marked side and rows from near to far."""
    letters = orientation.strip().upper()[:2]
    if letters == "XX":
        return frames
    if len(letters) != 2 or not (
        (letters[0] in LATERAL and letters[1] in AXIAL) or (letters[0] in AXIAL and letters[1] in LATERAL)
    ):
        raise FileError(
            f"{path.name}: UltrasoundImageOrientation = {orientation!r}; expected letters such as MF or UN."
        )
    if letters[0] in AXIAL:  # columns run along the beam, as in RF data
        frames, letters = np.swapaxes(frames, 1, 2), letters[::-1]
    if letters[0] == "U":
        frames = frames[:, :, ::-1]
    if letters[1] == "N":
        frames = frames[:, ::-1]
    return np.ascontiguousarray(frames)
