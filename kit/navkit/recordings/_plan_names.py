"""Which files of a recording are copied, and what they and the uids are called afterwards."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from navkit.files import FileError
from navkit.files._xml import parsed
from navkit.recordings._identity import COMMON, by_length, telling

DOCUMENT = "custusdoc.xml"
HEADERS = (".mhd", ".mha", ".nrrd")
KINDS = {
    **dict.fromkeys((".fts", ".tts", ".frameTimestamps"), "times"),
    **dict.fromkeys((".tp", ".fp", ".cal"), "numbers"),
    **dict.fromkeys((".mhd", ".mha"), "metaimage"),
    **dict.fromkeys((".tag", ".fcsv", ".json"), "points"),
    ".nrrd": "nrrd",
    ".toolmeta": "lines",
    ".xml": "xml",
    ".snwpos": "positions",
    ".vtk": "polydata",
}
PARTS = {
    "": (".xml",),
    "Images": (*HEADERS, ".vtk", ".tag", ".fcsv", ".json"),
    "US_Acq": (".fts", ".tts", ".frameTimestamps", ".tp", ".fp", ".cal", ".toolmeta", ".xml", ".mhd", ".mha"),
    "Logs": (".snwpos",),
}
PLAIN = {".vtk": "surface", ".tag": "points", ".fcsv": "points", ".json": "points", ".xml": "document"}
SHOWN = {
    *KINDS,
    ".txt",
    ".log",
    ".png",
    ".jpg",
    ".mp4",
    ".stl",
    ".raw",
    ".zraw",
    ".nii",
    ".gz",
    ".dcm",
    ".csv",
}
KEPT_NAMES = {DOCUMENT, "ProbeCalibConfigs.xml", "toolpositions.snwpos"}


@dataclass(frozen=True)
class Plan:
    """`copied` files (relative), `acquisitions` as (folder, base), and how often what stays behind."""

    root: Path
    copied: tuple[Path, ...]
    acquisitions: tuple[tuple[Path, str], ...]
    stays: Counter[str]
    document: ET.Element | None


def planned(root: Path) -> Plan:
    """What is in a folder: a patient's or of acquisitions.

    Raises
    ------
    FileError
        If it is neither.
    """
    patient = (root / DOCUMENT).is_file()
    acquisition = any(root.glob("*.fts"))
    if patient == acquisition:
        raise FileError(
            f"{root.name}: expected a patient folder with {DOCUMENT}, or a folder with .fts files."
        )
    files = [p.relative_to(root) for p in sorted(root.rglob("*")) if p.is_file() or p.is_symlink()]
    copied, stays = [], Counter[str]()
    pixels = {f.parent / _pixel_file(root / f) for f in files if f.suffix == ".mhd"}
    for f in files:
        top = (f.parts[0] if len(f.parts) > 1 else "") if patient else "US_Acq"
        deep = len(f.parts) > {"": 1, "Images": 2, "Logs": 2}.get(top, 3 if patient else 1)
        if f.suffix in PARTS.get(top, ()) and not deep and not (root / f).is_symlink():
            copied.append(f)
        elif f not in pixels:
            shown = top if top in {*PARTS, "Screenshots", "RouteToTargetInformation"} else "other folder"
            stays[f"{shown or '.'}/*{f.suffix if f.suffix in SHOWN else ''}"] += 1
    acquisitions = tuple((f.parent, f.name.removesuffix(".fts")) for f in copied if f.suffix == ".fts")
    document = parsed(DOCUMENT, (root / DOCUMENT).read_bytes()) if patient else None
    return Plan(root, tuple(copied), acquisitions, stays, document)


def _pixel_file(header: Path) -> str:
    if header.is_symlink():
        return ""
    with header.open("rb") as file:
        found = re.search(rb"^ElementDataFile *= *(.*?)\s*$", file.read(65536), re.MULTILINE)
    return found[1].decode("utf-8", "replace") if found else ""


def tokens_of(plan: Plan, dated: Callable[[str], str]) -> dict[str, str]:
    """Old uids and names of sessions and acquisitions -> new ones; `dated` gives the new time in a name."""
    tokens: dict[str, str] = {}
    seen = Counter[str]()
    root = plan.document if plan.document is not None else ET.Element("none")
    structure = {word.lower() for e in root.iter() for word in (e.tag, *e.attrib, e.get("type", ""))}
    structure |= {"images", "logs", "us_acq"}

    def named(old: str, new: str) -> None:
        if telling(old) and not COMMON.fullmatch(old) and old.lower() not in structure:
            tokens.setdefault(old, new)

    for e in root.iter("data"):
        kind = re.sub(r"\W", "", e.get("type", "")).lower() or "data"
        seen[kind] += 1
        named(e.get("uid", ""), f"{kind}_{seen[kind]:02d}")
    sessions = sorted({e.get("uid", "") for e in root.iter("recordSession")})
    bases = [(folder.name or base, base) for folder, base in plan.acquisitions]
    for k, session in enumerate(sorted({*sessions, *(session for session, _ in bases)} - {""}), start=1):
        new = f"US-Acq_{k:02d}{dated(session)}"
        tokens[session] = new
        inside = [base for owner, base in bases if owner == session]
        for j, base in enumerate(inside, start=1):
            tokens.setdefault(base, new if len(inside) == 1 else f"{new}_{j:02d}")
    return tokens


def moved_files(plan: Plan, tokens: dict[str, str]) -> dict[Path, Path]:
    """Old relative path -> new one; adds the stems of other files to `tokens`."""
    moved: dict[Path, Path] = {}
    seen = Counter[str]()
    owners = {}
    if plan.document is not None:
        for e in plan.document.iter("data"):
            path = re.split(r"[\\/]", (e.findtext("filePath") or "").strip())
            if path[-2:-1] == ["Images"]:
                owners[Path(*path[-2:])] = tokens.get(e.get("uid", ""), e.get("uid", ""))
    bases = by_length(base for _, base in plan.acquisitions)
    for f in plan.copied:
        folder = Path(*(tokens.get(part, part) for part in f.parent.parts))
        base = next((b for b in bases if f.name.startswith(b) and not f.name[len(b) :][:1].isalnum()), None)
        if f.name in KEPT_NAMES:
            name = f.name
        elif base is not None and not (plan.document is not None and f.parts[0] != "US_Acq"):
            name = tokens[base] + f.name[len(base) :]
        else:
            ending = ".mrk.json" if f.name.endswith(".mrk.json") else f.suffix
            stem = f.name.removesuffix(ending)
            kind = PLAIN.get(f.suffix, "picture" if f.suffix in HEADERS else "file")
            new = owners.get(f) or tokens.get(stem)
            if new is None:
                seen[kind] += 1
                new = f"{kind}_{seen[kind]:02d}"
            name = new + ending
            if telling(stem) and not COMMON.fullmatch(stem):
                tokens.setdefault(stem, new)
        moved[f] = folder / name
    twins = [new for new, n in Counter(moved.values()).items() if n > 1]
    if twins:
        raise FileError(f"{plan.root.name}: two files would be called {twins[0]}; expected distinct names.")
    return moved


def document_words(plan: Plan) -> Iterable[str]:
    """The texts that may hold the patient's name: the folder's and what the document calls it."""
    yield plan.root.stem
    if plan.document is not None:
        yield re.split(r"[\\/]", plan.document.findtext("active_patient") or "")[-1].removesuffix(".cx3")
