"""CustusX ultrasound acquisitions, old layout (one stack) and new (one file a frame).

Layout and rules: CustusX, "US acquisition file format". ``.fts`` holds frame times already corrected
for latency, ``.tts`` and ``.tp`` the tracking times and ``prMt``, ``.probedata.xml`` the sector.
"""

import math
import re
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError, written_whole
from navkit.files._metaimage import Header, read_header, stored_pixels
from navkit.files._pixels import Frames, gathered, stays_on_disk
from navkit.files._probe import ProbeData, line_of, probedata_text, read_probe_database, sector_from_probedata
from navkit.files._text import content, decimals, is_file
from navkit.geometry import check_poses, inverse, orthonormalised
from navkit.tracking import PoseStream, moving_average
from navkit.ultrasound import ProbeSector, Sweep

Array = NDArray[np.float64]

MAX_GAP_S = 0.25
FARTHEST_MM = 1e6  # a kilometre from the patient
SPACING_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Acquisition:
    """The files of one acquisition: its folder and the name they share."""

    folder: Path
    base: str

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.base}{ending}"


def find_acquisition(path: str | Path) -> Acquisition:
    """The acquisition in a folder, or the one that a file belongs to."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise FileError(f"{path} does not exist.")
    bases = sorted(p.name.removesuffix(".fts") for p in folder.glob("*.fts"))
    if not path.is_dir():  # of "hand" and "hand_2" the longer one
        bases = sorted((b for b in bases if path.name.startswith(b)), key=len)[-1:]
    if not bases:
        raise FileError(
            f"{folder}: no .fts file; expected one with the frame times. Is this a CustusX acquisition?"
        )
    if len(bases) > 1:
        raise FileError(
            f"{folder}: {len(bases)} acquisitions ({', '.join(bases)}); expected one. Name its .fts file."
        )
    return Acquisition(folder, bases[0])


def read_acquisition(
    path: str | Path,
    *,
    extrapolate: bool = False,
    filter_strength: int = 0,
    spacing_from: Literal["agreed", "image"] = "agreed",
    on_disk: bool = False,
) -> Sweep:
    """Read a CustusX acquisition as a sweep in the patient reference.

    Frames outside the tracking interval, or more than 250 ms from a tracking sample, are not valid;
    ``notes`` counts them.

    Parameters
    ----------
    path : the acquisition's folder, or one of its files where a folder holds several
    extrapolate : continue the tracking in a straight line beyond its ends, as CustusX does without a
        limit: on one real recording this throws three frames 24, 17 and 9 mm away
    filter_strength : CustusX's position filter. ``extrapolate=True, filter_strength=2`` are its defaults
    spacing_from : "agreed" refuses an image whose pixel spacing differs from the probe data by more than
        0.001 mm; "image" takes the image's, as CustusX does after a correction for sound speed
    on_disk : leave the frames on disk, as `read_sequence` does

    Raises
    ------
    FileError
        Missing or contradicting files; the sentence names file, line, expected and got.
    """
    acq = find_acquisition(path)
    frame_time_s = _read_times(acq.file(".fts"))
    stream = read_tracking(acq)
    frames, header = _read_frames(acq, on_disk)
    if len(frames) != len(frame_time_s):
        raise FileError(
            f"{acq.base}: {len(frames)} frames but {len(frame_time_s)} times in {acq.file('.fts').name}; "
            "expected the same number."
        )
    sector, notes = _read_sector(acq, header, spacing_from)
    stream = moving_average(stream, filter_strength)
    poses, valid = _poses_at(stream, frame_time_s, extrapolate)
    if not valid.any():
        raise FileError(
            f"{acq.base}: no frame lies within the tracking. Tracking covers {stream.time_s[0]:.3f} to "
            f"{stream.time_s[-1]:.3f} s, the frames {frame_time_s[0]:.3f} to {frame_time_s[-1]:.3f} s."
        )
    if not valid.all():
        notes.append(f"{np.count_nonzero(~valid)} of {len(valid)} frames have no tracking and are left out")
    return Sweep(frames, frame_time_s, poses @ sector.t_M_p(), sector, valid, acq.base, tuple(notes))


def _poses_at(stream: PoseStream, time_s: Array, extrapolate: bool) -> tuple[Array, NDArray[np.bool_]]:
    """`PoseStream.at`, where one sample tells of its own time only."""
    if len(stream) > 1:
        return stream.at(time_s, max_gap_s=MAX_GAP_S, extrapolate=extrapolate)
    valid = time_s == stream.time_s[0]
    return np.where(valid[:, None, None], stream.pose[0], np.nan), valid


def read_tracking(acquisition: Acquisition | str | Path) -> PoseStream:
    """The tracking of an acquisition: ``prMt`` over time, cleaned to exact rotations.

    CustusX writes six digits; matrices off by more than 0.001 are refused.
    """
    acq = acquisition if isinstance(acquisition, Acquisition) else find_acquisition(acquisition)
    time_s = _read_times(acq.file(".tts"))
    path = acq.file(".tp")
    rows = _read_rows(path, 4)
    if len(rows) != 3 * len(time_s):
        raise FileError(
            f"{path.name}: {len(rows)} lines; expected {3 * len(time_s)}, three for each of the "
            f"{len(time_s)} times in {acq.file('.tts').name}."
        )
    pose = np.zeros((len(time_s), 4, 4))
    pose[:, :3] = rows.reshape(-1, 3, 4)
    pose[:, 3, 3] = 1.0
    far = np.flatnonzero(np.abs(pose[:, :3, 3]).max(axis=1) > FARTHEST_MM)
    if far.size:
        line, (x, y, z) = 3 * int(far[0]) + 1, pose[far[0], :3, 3]
        raise FileError(
            f"{path.name} lines {line}-{line + 2}: the tool is at {x:g} {y:g} {z:g} mm; expected within "
            f"{FARTHEST_MM:g} mm. A mistyped number?"
        )
    try:
        check_poses(pose, "pose")
    except ValueError as reason:
        found = re.match(r"pose\[(\d+)\](.*)", str(reason))
        if not found:
            raise FileError(f"{path.name}: {reason}") from None
        line = 3 * int(found[1]) + 1
        raise FileError(f"{path.name} lines {line}-{line + 2}: the pose{found[2]}") from None
    return PoseStream(time_s, orthonormalised(pose), name=acq.base)


def _read_rows(path: Path, width: int) -> Array:
    """Numbers, `width` a line; a trailing blank line is no line."""
    rows = []
    for number, line in enumerate(content(path).rstrip().splitlines(), start=1):
        row = decimals(line)
        if row is None or len(row) != width:
            raise FileError(
                f"{path.name} line {number}: {line.strip().decode('latin-1')!r}; "
                f"expected {width} number{'s'[: width > 1]}."
            )
        rows.append(row)
    if not rows:
        raise FileError(f"{path.name} is empty; expected one line or more.")
    return np.array(rows)


def _read_times(path: Path) -> Array:
    """Milliseconds, one a line, as increasing seconds."""
    ms = _read_rows(path, 1)[:, 0]
    late = np.flatnonzero(np.diff(ms) <= 0)
    if late.size:
        k = int(late[0]) + 1
        raise FileError(
            f"{path.name} line {k + 1}: {ms[k]:.3f} ms does not come after the {ms[k - 1]:.3f} ms above it; "
            "expected increasing times."
        )
    return ms / 1000.0


def _read_frames(acq: Acquisition, on_disk: bool) -> tuple[NDArray[np.uint8], Header]:
    """All frames (n, h, w) grey, and the header that describes them."""
    stack = acq.file(".mhd")
    single = takewhile(is_file, (acq.file(f"_{k}.mhd") for k in count()))
    paths = [stack] if is_file(stack) else list(single)
    if not paths:
        raise FileError(f"{acq.folder.name}: neither {stack.name} nor {acq.base}_0.mhd; expected the frames.")
    parts = []
    headers = [read_header(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        part = stored_pixels(header)
        part.check_size()
        spacing = header.numbers("ElementSpacing", 2)[:2]
        if spacing != headers[0].numbers("ElementSpacing", 2)[:2]:
            raise header.refusal("ElementSpacing", f"that of {paths[0].name}")
        parts.append(part)
        expected = (1, *parts[0].shape[1:])
        if path != stack and part.shape != expected:
            raise FileError(f"{path.name}: frames x rows x columns is {part.shape}; expected {expected}.")
        if part.dtype != np.uint8 or part.shape[3:] not in ((), (3,), (4,)):
            raise FileError(
                f"{path.name} line {header.lines['ElementType']}: pixels are {part.dtype} with "
                f"{math.prod(part.shape[3:])} channels; expected MET_UCHAR, grey or of 3 or 4 channels."
            )
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:3])
    on_disk = stays_on_disk(math.prod(shape), on_disk)
    if on_disk and parts[0].shape == shape and not parts[0].compressed:
        return parts[0].mapped(), header
    blocks = (_grey(block) for part in parts for block in part.blocks())
    return gathered(blocks, shape, np.uint8, on_disk=on_disk), header


def _grey(pixels: Frames) -> Frames:
    """8-bit grey; colour by the usual luminance weights, in whole numbers: exact on every machine."""
    if pixels.ndim == 3:
        return pixels
    r, g, b = (np.multiply(pixels[..., k], w, dtype=np.uint16) for k, w in enumerate((30, 59, 11)))
    grey: Frames = ((r + g + b + np.uint16(50)) // np.uint16(100)).astype(np.uint8)
    return grey


def _read_sector(
    acq: Acquisition, header: Header, spacing_from: Literal["agreed", "image"]
) -> tuple[ProbeSector, list[str]]:
    """The sector from the probe data (or the probe database), with the image's spacing."""
    columns, rows = (int(n) for n in header.numbers("DimSize", 2)[:2])
    sx, sy = header.numbers("ElementSpacing", 2)[:2]
    if min(sx, sy) <= 0:
        raise header.refusal("ElementSpacing", "more than 0 mm")
    path = acq.file(".probedata.xml")
    sector = sector_from_probedata(path) if is_file(path) else None
    if sector is None:
        sector, path = _sector_from_database(acq, header, (rows, columns))
    if sector.shape != (rows, columns):
        raise FileError(
            f"{path.name} line {line_of(path, 'width=')}: the probe's image is {sector.shape[1]} x "
            f"{sector.shape[0]} pixels but {header.path.name} line {header.lines['DimSize']} has "
            f"{columns} x {rows}; expected the same."
        )
    notes = []
    off = max(abs(sx - sector.spacing_mm[0]), abs(sy - sector.spacing_mm[1]))
    if off > SPACING_TOLERANCE_MM:
        told = (
            f"{path.name} line {line_of(path, 'spacing')}: pixel spacing "
            f"{sector.spacing_mm[0]:g} x {sector.spacing_mm[1]:g} mm but {header.path.name} "
            f"line {header.lines['ElementSpacing']} has {sx:g} x {sy:g} mm"
        )
        if spacing_from != "image":
            raise FileError(
                f"{told}; expected the same. If the picture was corrected for sound speed, "
                "take the image's: spacing_from='image'."
            )
        notes.append(f"{told}; the image's is used")
    return replace(sector, spacing_mm=(sx, sy)), notes


def _sector_from_database(
    acq: Acquisition, header: Header, shape: tuple[int, int]
) -> tuple[ProbeSector, Path]:
    """The configuration that the frames name, looked up in ProbeCalibConfigs.xml beside them."""
    path = acq.folder / "ProbeCalibConfigs.xml"
    key = header.fields.get("ConfigurationID")
    if key is None or not is_file(path):
        raise FileError(
            f"{acq.folder.name}: no usable {acq.base}.probedata.xml, and "
            f"{'no ConfigurationID in ' + header.path.name if key is None else 'no ' + path.name}; "
            "expected one of the two ways to learn the sector."
        )
    database = read_probe_database(path)
    if key not in database:
        raise FileError(
            f"{header.path.name} line {header.lines['ConfigurationID']}: {key} is not one of the "
            f"{len(database)} configurations in {path.name}."
        )
    return replace(database[key], shape=shape), path


def write_acquisition(
    sweep: Sweep,
    folder: str | Path,
    *,
    layout: Literal["stack", "frames"] = "stack",
    tracking: PoseStream | None = None,
    tool_id: str = "",
) -> None:
    """Write a sweep as a CustusX acquisition, old layout or new.

    Without `tracking`, the valid frames and one sample of tracking for each. With it, all frames, and the
    valid samples of ``pr_M_t`` at their own times: whoever reads it interpolates anew. Nothing is left behind
    if writing fails. `tool_id` names the probe's tool file.
    """
    folder = Path(folder)
    base = sweep.name or "acquisition"
    if tracking is None:
        keep = np.flatnonzero(sweep.valid)
        sample_s, pr_M_t = sweep.time_s[keep], sweep.pr_M_p[keep] @ inverse(sweep.sector.t_M_p())
    else:
        keep = np.arange(len(sweep))
        sample_s, pr_M_t = tracking.time_s[tracking.valid], tracking.pose[tracking.valid]
    if not keep.size or not len(sample_s) or set(base) & set("/\\:\n\r\0") or base != base.strip(" ."):
        raise ValueError(
            f"{base!r} has {keep.size} frames and {len(sample_s)} samples of tracking to write; expected one "
            "or more, and a name that a file can have."
        )
    frame_ms, sample_ms = (
        "".join(f"{1000 * t:.4f}\n" for t in time) for time in (sweep.time_s[keep], sample_s)
    )
    with written_whole(folder / base) as temporary:
        (temporary / f"{base}.fts").write_text(frame_ms, encoding="utf-8")
        (temporary / f"{base}.tts").write_text(sample_ms, encoding="utf-8")
        lines = (
            "{:.9g} {:.9g} {:.9g} {:.9g}\n".format(*row) for m in orthonormalised(pr_M_t) for row in m[:3]
        )
        (temporary / f"{base}.tp").write_text("".join(lines), encoding="utf-8")
        probe = probedata_text(ProbeData(_rounded(sweep.sector), tool_id))
        (temporary / f"{base}.probedata.xml").write_text(probe, encoding="utf-8")
        single = {f"{base}_{k}": keep[k : k + 1] for k in range(len(keep))}
        for name, numbers in ({base: keep} if layout == "stack" else single).items():
            with (temporary / f"{name}.raw").open("wb") as file:
                for n in numbers:  # one at a time: they may be more than memory holds
                    file.write(np.ascontiguousarray(sweep.frames[n]).data)
            (temporary / f"{name}.mhd").write_text(
                _header_text(sweep.sector, len(numbers), name), encoding="utf-8"
            )


def _rounded(sector: ProbeSector) -> ProbeSector:
    """Twelve digits, nine of the spacing: what data sets have been hashed with."""

    def of(values: tuple[float, float], digits: int = 12) -> tuple[float, float]:
        a, b = (float(f"{v:.{digits}g}") for v in values)
        return a, b

    width, _ = of((sector.width, 0.0))
    return replace(
        sector,
        width=width,
        depth_mm=of(sector.depth_mm),
        origin_p=of(sector.origin_p),
        spacing_mm=of(sector.spacing_mm, 9),
    )


def _header_text(sector: ProbeSector, n: int, name: str) -> str:
    sx, sy = sector.spacing_mm
    height, width = sector.shape
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        "CenterOfRotation = 0 0 0\n"
        f"ElementSpacing = {sx:.9g} {sy:.9g} {sx:.9g}\nDimSize = {width} {height} {n}\n"
        f"ElementType = MET_UCHAR\nModality = US\nElementDataFile = {name}.raw\n"
    )
