"""Acquisitions of CustusX and sequences of PLUS, from one to the other."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.files import (
    FileError,
    PlusConfig,
    Sequence,
    Transform,
    plus_sweep,
    read_acquisition,
    read_plus_config,
    read_sequence,
    read_tracking,
    sequence_of,
    write_acquisition,
    write_sequence,
)
from navkit.files._custusx import Acquisition, find_acquisition
from navkit.files._probe import probedata_text, sector_from_probedata
from navkit.geometry import orthonormalised
from navkit.recordings._convert_frames import PLAIN, Progress, headers_of, several, stem_of
from navkit.ultrasound import ProbeSector, Sweep

Array = NDArray[np.float64]

TOLERANCE_MM = 1e-6
TOLERANCE_S = 1e-9
PER_SECOND = 1e7  # steps of time in an acquisition: 0.1 us
NOTHING = PlusConfig({}, np.empty((0, 3, 2, 3)), {}, None, np.nan, {}, {})


# ---- acquisition to sequence -----------------------------------------------------------------------------


def acquisition_to_sequence(
    source: Path,
    target: Path,
    *,
    orientation: str | None,
    compressed: bool,
    spacing_from: Literal["agreed", "image"],
    progress: Progress | None,
) -> tuple[str, ...]:
    """A sequence with ImageToReference; beside it calibration and fan for PLUS, the sector for CustusX."""
    acq = find_acquisition(source)
    sweep = read_acquisition(source, on_disk=True, spacing_from=spacing_from)
    sequence = sequence_of(sweep)
    write_sequence(sequence, target, compressed=compressed, orientation=orientation, progress=progress)
    stem = stem_of(target)
    (target.parent / f"{stem}.xml").write_text(config_text(sweep.sector), encoding="utf-8")
    beside = target.parent / f"{stem}.probedata.xml"
    probe = acq.file(".probedata.xml")
    if probe.is_file() and sector_from_probedata(probe) == sweep.sector:
        shutil.copyfile(probe, beside)
    else:
        beside.write_text(probedata_text(sweep.sector), encoding="utf-8")
    return tuple(_lost_of_acquisition(acq, sweep, sequence, target))


def _lost_of_acquisition(acq: Acquisition, sweep: Sweep, sequence: Sequence, target: Path) -> Iterator[str]:
    yield from (note for note in sweep.notes if "have no tracking" not in note)
    tracking_s = read_tracking(acq).time_s
    own = np.count_nonzero(~np.isin(tracking_s, sweep.time_s))
    if own:
        yield (
            f"{several(own, 'tracking sample')} at times of their own: a sequence has one pose a frame, "
            "interpolated between them"
        )
    headers = headers_of(acq)
    channels = headers[0].fields.get("ElementNumberOfChannels", "1")
    if channels != "1":
        yield f"grey from colour: the pictures have {channels} channels"
    keys = sorted({key for header in headers for key in header.fields} - PLAIN - {"Modality"})
    if keys:
        yield f"{', '.join(keys)} of the pictures' header"
    if any(header.fields.get("Modality", "US") != "US" for header in headers):
        yield f"Modality = {headers[0].fields['Modality']} of the pictures' header"
    used = {h.path.name for h in headers} | {h.fields["ElementDataFile"] for h in headers}
    used |= {f"{acq.base}{ending}" for ending in (".fts", ".tts", ".tp", ".probedata.xml")}
    other = sorted(p.name for p in acq.folder.iterdir() if p.name not in used)
    if other:
        more = ", ..." * (len(other) > 8)
        yield f"{several(len(other), 'file')} beside the frames: {', '.join(other[:8])}{more}"
    config = read_plus_config(target.parent / f"{stem_of(target)}.xml")
    off = np.count_nonzero(plus_sweep(sequence, config).sector.mask() ^ sweep.sector.mask())
    if off:
        yield (
            f"{several(off, 'pixel')} more or less for PLUS, which clips by a rectangle and a fan in pixels; "
            "the .probedata.xml beside the sequence has the sector"
        )


def config_text(sector: ProbeSector) -> str:
    """PLUS's configuration of a sector: calibration of the picture to CustusX's tool, clip and fan."""
    left, right, top, bottom = sector.clip_p
    rows, columns = np.nonzero(sector.mask())
    if sector.kind == "linear" and rows.size:  # its beam is a rectangle, and may be smaller than the clip
        left, right, top, bottom = (int(v) for v in (columns.min(), columns.max(), rows.min(), rows.max()))
    said = {
        "ImageCoordinateFrame": "Image",
        "ReferenceCoordinateFrame": "Reference",
        "Interpolation": "NEAREST_NEIGHBOR",
        "CompoundingMode": "MEAN",
        "OutputSpacing": " ".join([f"{2 * max(sector.spacing_mm):.3g}"] * 3),
        "ClipRectangleOrigin": f"{left} {top}",
        "ClipRectangleSize": f"{right - left + 1} {bottom - top + 1}",
    }
    if sector.kind == "sector":
        pixel, half = sum(sector.spacing_mm) / 2, float(np.degrees(sector.width / 2))
        said |= {
            "FanAnglesDeg": f"{-half!r} {half!r}",
            "FanOriginPixel": f"{sector.origin_p[0]!r} {sector.origin_p[1]!r}",
            "FanRadiusStartPixel": repr(sector.depth_mm[0] / pixel),
            "FanRadiusStopPixel": repr(sector.depth_mm[1] / pixel),
        }
    matrix = " ".join(map(repr, sector.t_M_p().ravel().tolist()))
    attributes = " ".join(f'{key}="{value}"' for key, value in said.items())
    return (
        f'<PlusConfiguration version="2.9">\n <CoordinateDefinitions>\n'
        f'  <Transform From="Image" To="Probe" Matrix="{matrix}"/>\n </CoordinateDefinitions>\n'
        f" <VolumeReconstruction {attributes}/>\n</PlusConfiguration>\n"
    )


# ---- sequence to acquisition -----------------------------------------------------------------------------


def sequence_to_acquisition(
    source: Path, target: Path, *, config: str | Path | None, layout: Literal["stack", "frames"]
) -> tuple[str, ...]:
    """Frames that have a picture, a time and a pose; times and poses are compared with what is read back."""
    sequence = read_sequence(source, on_disk=True)
    plus, probe = _configs(source, config)
    sweep = plus_sweep(sequence, plus, name=stem_of(source))
    lost = []
    keep = sweep.valid.copy()
    for what, good in (
        ("whose picture is INVALID", sequence.image_valid),
        ("without a pose", np.isfinite(sweep.pr_M_p).all(axis=(1, 2))),
        ("without a time", np.isfinite(sweep.time_s)),
    ):
        if not good.all():
            lost.append(f"{several(np.count_nonzero(~good), 'frame')} {what}, left out")
        keep &= good
    ticks = np.where(keep, np.rint(sweep.time_s * PER_SECOND), -np.inf)
    later = ticks > np.concatenate([[-np.inf], np.maximum.accumulate(ticks)[:-1]])
    if (keep & ~later).any():
        lost.append(
            f"{several(np.count_nonzero(keep & ~later), 'frame')} not later than one before, left out"
        )
    keep &= later
    if not keep.any():
        raise FileError(f"{source.name}: no frame has a picture, a time and a pose: {'; '.join(lost)}.")
    pixel = np.linalg.norm(sweep.pr_M_p[keep][0, :3, :2], axis=0)
    measured = replace(sweep.sector, spacing_mm=(float(pixel[0]), float(pixel[1])))
    sector = measured if probe is None else _agreed(probe, measured, source)
    fan = np.count_nonzero(measured.mask() ^ sweep.sector.mask())
    if fan and probe is None:
        lost.append(f"{several(fan, 'pixel')} of the fan: PLUS's is a circle in pixels, CustusX's in mm")
    rigid = _rigid(sweep.pr_M_p[keep], sector)
    pr_M_p = sweep.pr_M_p.copy()
    pr_M_p[keep] = rigid
    write_acquisition(replace(sweep, pr_M_p=pr_M_p, sector=sector, valid=keep), target, layout=layout)
    if probe is not None:
        shutil.copyfile(probe, target / f"{sweep.name}.probedata.xml")
    again = read_acquisition(target, on_disk=True)
    if again.frames.shape[0] != np.count_nonzero(keep) or not again.valid.all():
        raise FileError(f"{target.name} did not come back whole; this is an error of the kit.")
    late = float(np.abs(again.time_s - sweep.time_s[keep]).max())
    if late > TOLERANCE_S:
        lost.append(f"times keep 0.1 us: they change by up to {late:.2g} s")
    width, height = sector.shape[1] - 1, sector.shape[0] - 1
    corners = np.array([[x, y, 0, 1.0] for x in (0, width) for y in (0, height)]).T
    off = float(np.abs((again.pr_M_p - sweep.pr_M_p[keep]) @ corners)[:, :3].max())
    if off > TOLERANCE_MM:
        across, down = sweep.pr_M_p[keep][0, :3, :2].T
        angle = np.degrees(np.arccos(across @ down / np.linalg.norm(across) / np.linalg.norm(down)))
        lost.append(
            f"pixels move by up to {off:.2g} mm: rows and columns are {angle:.2f} degrees apart, and become "
            "90; all frames get one size of pixel and a rigid pose of 9 digits"
        )
    return (*lost, *_lost_of_sequence(sequence, plus))


def _configs(source: Path, config: str | Path | None) -> tuple[PlusConfig, Path | None]:
    """PLUS's configuration and CustusX's probe data: the given one, else those beside the sequence."""
    if config is not None:
        config = Path(config)
        if config.name.lower().endswith(".probedata.xml"):
            return NOTHING, config
        return read_plus_config(config), None
    plus, probe = (source.parent / f"{stem_of(source)}{ending}" for ending in (".xml", ".probedata.xml"))
    return read_plus_config(plus) if plus.is_file() else NOTHING, probe if probe.is_file() else None


def _agreed(probe: Path, measured: ProbeSector, source: Path) -> ProbeSector:
    """The sector of the probe data, if it is of these pictures."""
    sector = sector_from_probedata(probe)
    if sector is None:
        raise FileError(f"{probe.name} has type 0, no sector; expected one that has.")
    if sector.shape != measured.shape:
        raise FileError(
            f"{probe.name} is for pictures of {sector.shape[1]} x {sector.shape[0]} pixels; {source.name} "
            f"has {measured.shape[1]} x {measured.shape[0]}."
        )
    if np.abs(np.subtract(sector.spacing_mm, measured.spacing_mm)).max() > 1e-3:
        raise FileError(
            f"{probe.name} has pixels of {sector.spacing_mm} mm; the calibration of {source.name} makes them "
            f"{measured.spacing_mm}. Expected the same."
        )
    return sector


def _rigid(pr_M_p: Array, sector: ProbeSector) -> Array:
    """Poses of pixels as CustusX has them: at right angles, right-handed, of the sector's pixel size.

    PLUS's third column says nothing of pixels, and may be mirrored; it is made anew of the other two.
    The middle of the picture stays where it is.
    """
    across, down = (pr_M_p[:, :3, k] / np.linalg.norm(pr_M_p[:, :3, k], axis=1)[:, None] for k in (0, 1))
    axes = np.zeros_like(pr_M_p)
    axes[:, :3, 0], axes[:, :3, 1], axes[:, :3, 2] = across, down, np.cross(across, down)
    axes[:, 3, 3] = 1
    made = orthonormalised(axes) @ np.diag([*sector.spacing_mm, 1.0, 1.0])
    middle = np.array([(sector.shape[1] - 1) / 2, (sector.shape[0] - 1) / 2, 0.0, 1.0])
    made[:, :3, 3] += ((pr_M_p - made) @ middle)[:, :3]
    return made


def _lost_of_sequence(sequence: Sequence, config: PlusConfig) -> Iterator[str]:
    if sequence.fields:
        yield (
            f"{several(len(sequence.fields), 'field')} of frames, no place in a CustusX acquisition: "
            f"{', '.join(sorted(sequence.fields))}"
        )
    used = [name for name in sequence.transforms if not _leads(sequence, name, config)]
    other = sorted(set(sequence.transforms) - set(used))
    if other:
        yield f"{several(len(other), 'transform')}: {', '.join(other)}"
    if len(used) > 1:
        yield f"{', '.join(sorted(used))} apart from each other: an acquisition has one pose a frame"
    keys = sorted(set(sequence.header) - PLAIN)
    if keys:
        yield f"{', '.join(keys)} of the header"
    offsets = [f"{device} {s:g} s" for device, s in config.time_offset_s.items() if s]
    if offsets:
        yield f"time offsets of the configuration, which are not applied: {', '.join(offsets)}"


def _leads(sequence: Sequence, without: str, config: PlusConfig) -> bool:
    """Whether there is a way from Image to Reference without a transform."""
    one = {name: _first(t) for name, t in sequence.transforms.items() if name != without}
    try:
        replace(sequence, transforms=one).spaces(config).get("Reference", "Image")
    except (KeyError, ValueError):
        return False
    return True


def _first(transform: Transform) -> Transform:
    """One pose in place of n: which way there is does not depend on them."""
    return Transform(np.eye(4)[None], np.array([True]))
