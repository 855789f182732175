"""CustusX: acquisitions, patient folders, probe data and position logs."""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files import FileError, read_positions, read_probe_database, read_tracking
from navkit.files._custusx import (
    Acquisition,
    _read_rows,
    _read_sector,
    _read_times,
    find_acquisition,
)
from navkit.files._metaimage import Header, read_header, stored_pixels
from navkit.files._patient import read_patient
from navkit.files._pixels import Stored
from navkit.files._probe import sector_from_probedata
from navkit.files._text import is_file, parsed_xml
from navkit.recordings import _health as health
from navkit.recordings import _health_clocks as clocks
from navkit.recordings import _health_geometry as geometry
from navkit.recordings._about import Description, Findings, attempt, described, several
from navkit.recordings._about_pictures import Look, check_pictures, check_sector, look_at, size_of
from navkit.tracking import PoseStream, without_repeats
from navkit.ultrasound import ProbeSector

STAMPS = ("scanner", "softwareArrive")


def acquisition(path: Path) -> Description:
    """An acquisition by its folder or one of its files; every part is judged for itself."""
    acq = find_acquisition(path)
    names = {p.name for p in acq.folder.iterdir()}
    stack = f"{acq.base}.mhd" in names
    single = [acq.file(f"_{k}.mhd") for k in takewhile(lambda k: f"{acq.base}_{k}.mhd" in names, count())]
    headers = [acq.file(".mhd")] if stack else single
    kind = f"CustusX acquisition, {'old' if stack or not single else 'new'} layout"
    missing = [f"{acq.base}{e}" for e in (".tts", ".tp") if f"{acq.base}{e}" not in names]
    frame_s, found = attempt(lambda: _read_times(acq.file(".fts")))
    stream, one = attempt(lambda: read_tracking(acq))
    broken = bool(found.warnings) or bool(one.warnings and not missing)
    found += one
    header, one = attempt(lambda: read_header(headers[0]) if headers else None)
    found += one
    parts: list[Stored] | None = None
    if not headers:
        missing.append(f"{acq.base}.mhd")
        found += Findings(warnings=(f"{acq.base}: no frames (.mhd): tracking and times only.",))
    elif header is not None:
        lost = [h for h in headers[:1] if not _pixel_file(h).is_file()]
        missing += [_pixel_file(h).name for h in lost]
        parts, one = attempt(lambda: [stored_pixels(read_header(h)) for h in headers])
        found += _pixels_missing(header) if lost else one
        broken |= bool(one.warnings) and not lost
    sector, one = _sector(acq, header, names)
    found += one
    found = Findings((("acquisition", acq.base),)) + found
    look: Look | None = None
    if parts is not None:
        size, one = attempt(lambda: size_of(parts))
        seen, trouble = attempt(lambda: look_at(parts) if size else None)
        found += (size or Findings()) + one + trouble
        broken |= bool(one.warnings or trouble.warnings)
        if seen:
            look = seen[0]
            found += seen[1] + check_pictures(look)
        if sector is not None and look is not None and sector.shape == parts[0].shape[1:3]:
            found += check_sector(look, sector.mask())
    if frame_s is not None:
        found += health.check_times(frame_s, "frames") + _stamps(acq, frame_s, names)
        n = None if parts is None else sum(part.shape[0] for part in parts)
        if n is not None and n != len(frame_s):
            broken = True
            found += Findings(
                warnings=(
                    f"{n} frames but {len(frame_s)} times in {acq.base}.fts: which time belongs to which "
                    "frame is not known, and CustusX refuses it too. Was the copy cut off, or recording "
                    "stopped hard?",
                )
            )
        found += Findings((), {"frames": float(n if n is not None else len(frame_s))})
    if stream is not None:
        found += _tracking(stream)
        if frame_s is not None:
            found += clocks.check_inside(frame_s, stream.time_s)
    found += _latency(frame_s, stream, look)
    state = "damaged " if broken else "incomplete " if missing else ""
    return described(acq.folder if path.is_dir() else path, state + kind, found)


def _pixel_file(header: Path) -> Path:
    return header.parent / read_header(header).fields["ElementDataFile"]


def _pixels_missing(header: Header) -> Findings:
    """What a header promises, where its pixels are not there."""
    width, height, n = ([int(v) for v in header.numbers("DimSize", 2)] + [1])[:3]
    name = header.fields["ElementDataFile"]
    return Findings(
        (("frames", f"{n} of {width} x {height} pixels, but their file is not there"),),
        {"width_px": float(width), "height_px": float(height), "frames_stated": float(n)},
        (
            f"the pixel file {name} is not in {header.path.parent.name}/: times and poses can be used, "
            "nothing can be reconstructed. Copy it from where the recording was made.",
        ),
        (f"pictures: {name} is missing",),
    )


def _sector(acq: Acquisition, header: Header | None, names: set[str]) -> tuple[ProbeSector | None, Findings]:
    if header is None:
        return None, Findings()
    got, found = attempt(lambda: _read_sector(acq, header, "image"))
    if got is None:
        return None, found
    sector = got[0]
    path = acq.file(".probedata.xml")
    own = sector_from_probedata(path) if path.name in names else None
    found += _sector_facts(sector)
    found += geometry.check_spacing(sector.spacing_mm, own.spacing_mm if own else None)
    return sector, found + (_stated_latency(path) if path.name in names else Findings())


def _sector_facts(sector: ProbeSector) -> Findings:
    width = (
        f"{sector.width:.4g} mm wide" if sector.kind == "linear" else f"{np.degrees(sector.width):.4g} deg"
    )
    start, end = sector.depth_mm
    left, right, top, bottom = sector.clip_p
    height, wide = sector.shape
    warnings: tuple[str, ...] = ()
    if left < 0 or top < 0 or right >= wide or bottom >= height:
        warnings = (
            f"the clip {left} to {right} by {top} to {bottom} leaves the picture of {wide} x {height} "
            "pixels: it was made for another size. Was the picture scaled after the probe was set up?",
        )
    return Findings(
        (("sector", f"{sector.kind}, {width}, depth {start:.4g} to {end:.4g} mm"),),
        {"sector_width": sector.width, "depth_start_mm": start, "depth_end_mm": end},
        warnings,
    )


def _stated_latency(path: Path) -> Findings:
    configuration = parsed_xml(path).find("configuration")
    text = (None if configuration is None else configuration.get("temporalCalibration")) or "0"
    value, found = attempt(lambda: float(text))
    if value is None:
        return found
    return geometry.check_latency_setting(
        value, "temporal calibration", meaning=", already taken off the frame times"
    )


def _stamps(acq: Acquisition, frame_s: NDArray[np.float64], names: set[str]) -> Findings:
    """The clocks of scanner and program, where CustusX wrote them."""
    found = Findings()
    for clock in STAMPS:
        path = acq.file(f".{clock}.frameTimestamps")
        if path.name not in names:
            continue
        rows, one = attempt(partial(_read_rows, path, 1))
        found += one
        if rows is not None and len(rows) == len(frame_s):
            found += clocks.check_drift(frame_s, rows[:, 0] / 1000, ("the frame times", f"the {clock} clock"))
    return found


def _tracking(stream: PoseStream) -> Findings:
    size = Findings((("tracking", several(len(stream), "sample")),), {"tracking_samples": float(len(stream))})
    return (
        size
        + health.check_times(stream.time_s, "tracking")
        + health.check_repeats(stream)
        + health.check_jumps(stream.pose, stream.valid, "tracking")
    )


def _latency(frame_s: NDArray[np.float64] | None, stream: PoseStream | None, look: Look | None) -> Findings:
    if frame_s is None or stream is None or look is None or len(frame_s) != look.count:
        return Findings(not_checked=("latency: not estimated, pictures, times or tracking are missing",))
    run = np.flatnonzero(np.diff(look.number) == 1)
    if not len(run):
        return Findings(not_checked=("latency: not estimated, too few frames or samples",))
    run = np.r_[run, run[-1] + 1]
    part = replace(look, number=look.number[run], small=look.small[run])
    own = without_repeats(stream)
    return clocks.check_latency(frame_s[part.number], part.change(), own.time_s, own.pose[:, :3, 3])


def probe_data(path: Path) -> Description:
    """A ``.probedata.xml``."""
    sector = sector_from_probedata(path)
    found = _stated_latency(path)
    if sector is None:
        found += Findings((("sector", "type 0: left to ProbeCalibConfigs.xml"),))
    else:
        found += _sector_facts(sector) + geometry.check_spacing(sector.spacing_mm, None)
    return described(path, "CustusX probe data", found)


def probe_database(path: Path) -> Description:
    """ProbeCalibConfigs.xml: how many configurations, and their latencies."""
    root = parsed_xml(path)
    sectors = read_probe_database(path)
    configurations = len(root.findall(".//Config"))
    pairs = len(root.findall(".//USProbe"))
    stated = [e.text or "" for e in root.iter() if e.tag.startswith("TemporalCalibration")]
    tried = [attempt(partial(float, text))[0] for text in stated]
    latency = [v for v in tried if v is not None]
    version = (root.findtext("Version") or "not stated").strip()
    facts = [
        ("version", version),
        ("pairs", f"{pairs} of scanner and probe"),
        ("configurations", f"{configurations}, {len(sectors)} with a geometry of their own"),
    ]
    numbers = {"pairs": float(pairs), "configurations": float(configurations)}
    warnings = []
    if latency:
        facts.append(("temporal calibrations", f"{min(latency):g} to {max(latency):g} ms"))
        numbers |= {"latency_min_ms": min(latency), "latency_max_ms": max(latency)}
        low, high = geometry.LATENCY_MS
        bad = sorted({v for v in latency if not low <= v <= high})
        if bad:
            warnings.append(
                f"temporal calibrations of {', '.join(f'{v:g}' for v in bad[:3])} ms are outside {low:g} to "
                f"{high:g} ms: every frame of that probe is displaced by its speed times this. Calibrate "
                "again."
            )
    odd = [k for k, s in sectors.items() if max(s.spacing_mm) / min(s.spacing_mm) > geometry.UNEQUAL]
    if odd:
        warnings.append(
            f"{several(len(odd), 'configuration')} with pixels more than 10 % longer one way ({odd[0]}): "
            "right only where the picture is scaled on its way. Measure a known length both ways."
        )
    return described(path, "CustusX probe database", Findings(tuple(facts), numbers, tuple(warnings)))


def positions(path: Path) -> Description:
    """A log of tool positions."""
    streams = read_positions(path)
    found = Findings((("tools", ", ".join(streams) or "none"),), {"tools": float(len(streams))})
    for name, stream in streams.items():
        found += Findings(((name, several(len(stream), "sample")),), {f"{name}_samples": float(len(stream))})
        found += health.check_times(stream.time_s, name) + health.check_repeats(stream, name)
    return described(path, "CustusX tool position log", found)


METRICS = re.compile(r"\w+Metric", re.ASCII)


def patient(path: Path) -> Description:
    """A patient folder or its custusdoc.xml."""
    folder = path if path.is_dir() else path.parent
    document = folder / "custusdoc.xml" if path.is_dir() else path
    root = parsed_xml(document)
    if root.tag != "patient":
        raise FileError(f"{document.name}: the outermost element is <{root.tag}>; expected <patient>.")
    data = root.findall(".//datamanager/data")
    kinds = Counter(d.get("type", "") for d in data)
    metrics = sum(n for kind, n in kinds.items() if METRICS.fullmatch(kind))
    landmarks = len(root.findall(".//landmarks/landmark"))
    rMpr = sum(len(root.findall(f".//{m}/registrationHistory/registrationTransform"))
               for m in ("datamanager", "toolManager"))  # fmt: skip
    files = [t.strip() for d in data if (t := d.findtext("filePath") or "").strip()]
    lost = [f for f in files if not is_file(folder / f.replace("\\", "/"))]
    facts = [
        ("written by", (root.findtext("version_name") or "not stated").strip()),
        ("data", ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"),
        ("metrics", str(metrics)),
        ("landmarks", str(landmarks)),
        ("patient registrations", str(rMpr) if rMpr else "none: patient reference and reference coincide"),
    ]
    numbers = {"data": len(data), "images": kinds["image"], "meshes": kinds["mesh"], "metrics": metrics,
               "landmarks": landmarks, "patient_registrations": rMpr, "files_missing": len(lost)}  # fmt: skip
    warnings = []
    if path.is_dir():
        recordings = sorted((folder / "US_Acq").rglob("*.fts"))
        facts.append(("acquisitions", str(len(recordings))))
        numbers["acquisitions"] = len(recordings)
    if lost:
        warnings.append(
            f"{len(lost)} of {len(files)} data files are not there ({', '.join(lost[:3])}): CustusX opens "
            "the patient without them. Copy the whole .cx3 folder."
        )
    judged, trouble = attempt(lambda: read_patient(document))
    if judged is not None:
        known = ("is not in the folder", "stands alone")  # told above
        warnings += [f"{note}." for note in judged.notes if not any(k in note for k in known)]
    kind = "CustusX patient folder" if path.is_dir() else "CustusX patient document"
    found = Findings(
        tuple(facts),
        {k: float(v) for k, v in numbers.items()},
        tuple(warnings),
        ("its acquisitions and data: describe them one by one",),
    )
    return described(path, kind if judged is not None else f"damaged {kind}", found + trouble)
