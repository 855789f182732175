"""PLUS: sequences, configurations and the results that its programs write."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files import PlusConfig, Sequence, read_plus_config, read_sequence
from navkit.files._pixels import ELEMENT_TYPES, Stored
from navkit.files._sequences import _size, _split, assembled
from navkit.files._text import parsed_xml
from navkit.geometry import orthonormalised
from navkit.recordings import _health as health
from navkit.recordings import _health_clocks as clocks
from navkit.recordings import _health_geometry as geometry
from navkit.recordings._about import Description, Findings, amount, attempt, described, several
from navkit.recordings._about_pictures import MOST_BYTES, Look, check_pictures, look_at, size_of
from navkit.tracking import PoseStream, without_repeats

SURE = "ProbeToReference", "ProbeToTracker"


def sequence(path: Path) -> Description:
    """A sequence: its header and transforms are read whole, its pictures as far as they are few."""
    nrrd = path.suffix.lower() == ".nrrd"
    if nrrd:
        return _nrrd(path)
    header, fields, data_path, offset = _split(path)
    *size, n = _size(path, header)
    seq = assembled(path, header, fields, None, n)
    if stray := [k for k in fields if k >= n]:
        found = Findings(
            warnings=(
                f"{path.name} has fields of frame {stray[0]}, but DimSize has {n} frames: the header was "
                "cut or edited. Which pictures they belong to is not known; record or export again.",
            )
        )
        return described(path, "damaged PLUS sequence", found + _streams(seq, pictures=False))
    said = [fields.get(k, {}) for k in range(n)]
    bad = sum(row.get("ImageStatus", row.get("Status", "OK")) != "OK" for row in said)
    found, look, broken = Findings(), None, False
    if math.prod(size) > 1:
        kind = header.get("ElementType", "")
        stored = Stored(
            data_path,
            offset,
            (n, math.prod(size[1:]), size[0]),  # a volume as one tall picture
            np.dtype(ELEMENT_TYPES.get(kind, np.uint8)),
            header.get("CompressedData", "False").lower() == "true",
            f"DimSize = {' '.join(header['DimSize'].split())}",
        )
        found, look, broken = _pictures(path, stored, len(size) == 3)
    else:
        found = Findings((("samples", f"{n}, no pictures"),), {"samples": float(n)})
    found += _streams(seq, pictures=math.prod(size) > 1, bad=bad) + _seen_latency(seq, look)
    what = "PLUS sequence" if math.prod(size) > 1 else "PLUS sequence, tracking only"
    return described(path, ("damaged " if broken else "") + what, found)


def _pictures(path: Path, stored: Stored, volumes: bool) -> tuple[Findings, Look | None, bool]:
    size, found = attempt(lambda: size_of([stored]))
    found = (size or Findings()) + found
    seen, trouble = attempt(lambda: look_at([stored]) if size else None)
    found += trouble
    if seen is None:
        return found, None, True
    return found + seen[1] + check_pictures(seen[0]), None if volumes else seen[0], False


def _nrrd(path: Path) -> Description:
    """A .nrrd sequence is read as a whole, unless it is large."""
    with path.open("rb") as file:
        sizes = re.search(rb"^sizes:((?:\s+\d{1,10}){1,5})\s*$", file.read(2**16), re.MULTILINE)
    pixels = math.prod(int(word) for word in sizes[1].split()) if sizes else 0
    if max(path.stat().st_size, pixels) > MOST_BYTES:
        large = Findings(
            (("size", f"{amount(path.stat().st_size)}, {amount(pixels)} or more of pixels"),),
            not_checked=("pictures and transforms: the file is large",),
        )
        return described(path, "PLUS sequence (NRRD)", large)
    seq = read_sequence(path)
    found, look = Findings(), None
    if seq.frames is not None:
        whole = np.asarray(seq.frames)
        frames = whole.reshape(len(whole), -1, whole.shape[-1])  # a volume as one tall picture
        n, height, width = frames.shape
        step = max(1, round(max(height, width) / 200))
        flat = (frames == frames[:, :1, :1]).all(axis=(1, 2))
        repeated = np.r_[False, (frames[1:] == frames[:-1]).all(axis=(1, 2))]
        small = frames[:, ::step, ::step].astype(np.float32)
        extremes = float(frames.min()), float(frames.max())
        look = Look(np.arange(n), small, step, flat, repeated, n, extremes)
        text = f"{n} of {width} x {height} pixels, grey, {frames.dtype.name}"
        numbers = {"frames": float(n), "width_px": float(width), "height_px": float(height)}
        found = Findings((("frames", text),), numbers) + check_pictures(look)
    found += _streams(seq, pictures=look is not None, bad=int((~seq.image_valid).sum())) + _seen_latency(
        seq, look
    )
    return described(path, "PLUS sequence (NRRD)", found)


def _streams(seq: Sequence, *, pictures: bool, bad: int = 0) -> Findings:
    """Times, statuses and transforms; with `pictures`, `bad` of them are not OK."""
    found = Findings(tuple((k, seq.header[k]) for k in ("UltrasoundImageOrientation",) if k in seq.header))
    what = "frames" if pictures else "tracking"
    finite = np.isfinite(seq.time_s)
    if not finite.all():
        lost = int((~finite).sum())
        found += Findings(
            warnings=(
                f"{lost} of {len(seq)} frames have no Timestamp: they cannot be matched with tracking or "
                "with each other. Are they frames of a volume, or was the recording edited?",
            )
        )
    if finite.sum() > 1:
        found += health.check_times(seq.time_s[finite], what)
    stamps = seq.fields.get("UnfilteredTimestamp")
    if stamps and finite.all():
        raw, one = attempt(lambda: np.array([float(s or "nan") for s in stamps]))
        found += one
        if raw is not None:
            found += clocks.check_drift(raw, seq.time_s, ("the unfiltered times", "the filtered times"))
    if pictures:
        found += _image_status(bad, len(seq))
    for name, one_transform in seq.transforms.items():
        found += health.check_status(one_transform.valid, name)
        found += health.check_rigid(one_transform.pose, one_transform.valid, name)
        found += health.check_jumps(one_transform.pose, one_transform.valid, name)
        usable = one_transform.valid & np.isfinite(one_transform.pose).all(axis=(1, 2)) & finite
        usable[1:] &= np.diff(seq.time_s, prepend=-np.inf)[1:] > 0
        rotation = one_transform.pose[usable, :3, :3]
        if len(rotation) < 3 or np.linalg.det(rotation).min() < 0.5:
            continue
        stream = PoseStream(seq.time_s[usable], orthonormalised(one_transform.pose[usable]), name=name)
        found += _quiet(health.check_repeats(stream, name), name)
    return found


def _quiet(found: Findings, name: str) -> Findings:
    """A reference that lies still is as it should be; so is a stylus that was put down."""
    still = name.startswith(("Reference", "Stylus", "Phantom")) or name.endswith("ToWorld")
    return replace(found, warnings=()) if still and found.numbers.get(f"{name}_moved_mm", 1) < 0.01 else found


def _image_status(bad: int, n: int) -> Findings:
    numbers = {"invalid_pictures": float(bad)}
    if not bad:
        return Findings((), numbers)
    return Findings(
        (),
        numbers,
        (
            f"{bad} of {n} pictures are marked as not OK: their pixels mean nothing and are left out. Was "
            "the scanner's cable loose?",
        ),
    )


def _seen_latency(seq: Sequence, look: Look | None) -> Findings:
    if look is None:
        return Findings()
    name = next((n for n in SURE if n in seq.transforms), None)
    run = look.number
    if name is None or not np.isfinite(seq.time_s).all() or (np.diff(run) != 1).any() or len(run) < 20:
        return Findings(
            not_checked=("latency: not estimated, no tracking of the probe beside enough pictures",)
        )
    if (np.diff(seq.time_s[run]) <= 0).any():
        return Findings(not_checked=("latency: not estimated, the times do not increase",))
    stream, trouble = attempt(lambda: seq.stream(name))
    if stream is None or len(stream) < 20:
        return trouble
    own = without_repeats(stream)
    return clocks.check_latency(seq.time_s[run], look.change(), own.time_s, own.pose[:, :3, 3])


def configuration(path: Path) -> Description:
    """A device set configuration: its transforms, and whether the calibration is plausible."""
    config = read_plus_config(path)
    facts = [
        ("transforms", ", ".join(f"{r}To{q}" for r, q in config.transforms) or "none"),
        ("phantom", f"{len(config.wires)} N-wires, {several(len(config.landmarks), 'landmark')}"),
    ]
    if config.clip_p is not None:
        facts.append(("clip", "columns {} to {}, rows {} to {}".format(*config.clip_p)))
    if config.reconstruction:
        said = config.reconstruction
        facts.append(("reconstruction", f"spacing {said.get('OutputSpacing', 'not stated')} mm"))
    found = Findings(
        tuple(facts),
        {
            "transforms": float(len(config.transforms)),
            "wires": 3.0 * len(config.wires),
            "landmarks": float(len(config.landmarks)),
        },
    )
    for device, offset in config.time_offset_s.items():
        found += geometry.check_latency_setting(1000 * offset, f"LocalTimeOffsetSec of {device}")
    return described(path, "PLUS configuration", found + _transforms(config))


def _transforms(config: PlusConfig) -> Findings:
    found = Findings()
    for (r, q), matrix in config.transforms.items():
        name = f"{r}To{q}"
        if r == "Image" and q != "TransducerOriginPixel":
            found += geometry.check_image_matrix(matrix, name, config.mm_per_px)
        elif r in ("TransducerOriginPixel", "Image") or q == "Image":
            continue  # pixels and scales
        elif (r, q) == ("StylusTip", "Stylus"):
            found += health.check_rigid(matrix[None], [True], name)
            found += geometry.check_calibration(matrix, name)
        else:
            found += health.check_rigid(matrix[None], [True], name)
    return found


def results(path: Path) -> Description:
    """What a PLUS program wrote about a calibration."""
    root = parsed_xml(path)
    if root.tag == "LineSegmentationResults":
        return _lines(path, root)
    if root.tag == "TemporalCalibrationResults":
        lag, found = attempt(lambda: float(root.get("TrackerLagSec", "")))
        if lag is None:
            return described(path, "damaged PLUS temporal calibration result", found)
        found = Findings((("tracker lag", f"{1000 * lag:.1f} ms"),), {"tracker_lag_ms": 1000 * lag})
        found += replace(geometry.check_latency_setting(1000 * lag, "TrackerLagSec"), facts=(), numbers={})
        return described(path, "PLUS temporal calibration result", found)
    found = Findings()
    for t in root.iterfind(".//CalibrationResults/Transform"):
        name = f"{t.get('From')}To{t.get('To')}"
        matrix, one = attempt(partial(_sixteen, t))
        found += one
        if matrix is not None:
            found += geometry.check_image_matrix(matrix, name)
    error = root.find(".//ReprojectionError3DStatistics")
    if error is not None:
        for what in ("Calibration", "Validation"):
            mean, _ = attempt(partial(float, error.get(f"{what}MeanMm", "")))
            if mean is not None:
                found += Findings(
                    ((f"3-D error, {what.lower()}", f"{mean:.3f} mm mean"),),
                    {f"{what.lower()}_error_mm": mean},
                )
    for what in ("Calibration", "Validation"):
        frames = root.findall(f".//{what}Data/Frame")
        if frames:
            good = sum(f.get("SegmentationStatus", "") == "OK" for f in frames)
            found += Findings(
                ((f"{what.lower()} frames", f"{len(frames)}, {good} segmented"),),
                {f"{what.lower()}_frames": float(len(frames)), f"{what.lower()}_segmented": float(good)},
            )
    return described(path, "PLUS probe calibration result", found)


def _sixteen(transform: ET.Element) -> NDArray[np.float64]:
    return np.array(transform.get("Matrix", "").split(), dtype=float).reshape(4, 4)


def _lines(path: Path, root: ET.Element) -> Description:
    frames = root.findall("Frame")
    good = sum(f.get("SegmentationStatus") == "OK" for f in frames)
    found = Findings(
        (("frames", f"{len(frames)}, a line found in {good}"),),
        {"frames": float(len(frames)), "segmented": float(good)},
    )
    if good < 0.8 * len(frames):
        found += Findings(
            warnings=(
                f"a line was found in only {good} of {len(frames)} pictures: a delay from so few is unsure. "
                "Is the clip right, and the gain high enough?",
            )
        )
    return described(path, "PLUS line segmentation result", found)
