"""Recordings without names, dates and paths."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.files import Acquisition, FileError
from navkit.files._custusx import _read_sector
from navkit.files._errors import written_whole
from navkit.files._metaimage import read_header
from navkit.recordings import _scrub_files as files
from navkit.recordings._identity import EPOCH, FIRST_DAY, Rules, cleaned, offset_of, telling, words_of_name
from navkit.recordings._leaks import Secrets, leaks
from navkit.recordings._plan_names import (
    HEADERS,
    KINDS,
    PARTS,
    Plan,
    document_words,
    moved_files,
    planned,
    tokens_of,
)
from navkit.recordings._scrub_images import scrub_metaimage, scrub_nrrd, stored_frames

LONG_TEXT = 12  # a shorter comment or field may stand elsewhere with good reason
BRIGHT = 64
LEFT = (
    "positions, poses and pixels: they are the recording",
    "times within and between streams: shifted by one whole number of seconds, intervals are exact",
    "times of a clock that does not count from 1970: they tell no date",
    "names of landmarks, tools, probes and scanners: anatomy and devices; persons in them are replaced",
)


@dataclass(frozen=True)
class Anonymised:
    """What was done; nothing that was removed stands here.

    Attributes
    ----------
    path : the folder or file that was written
    replaced : (kind, count, file) for everything that was replaced or left out
    left : what stays, and why
    not_copied : kinds of files that were not copied -> how many
    warnings : what a person must look at
    """

    path: Path
    replaced: tuple[tuple[str, int, str], ...]
    left: tuple[str, ...]
    not_copied: dict[str, int]
    warnings: tuple[str, ...]

    def report(self) -> str:
        """All of it as a table in plain text."""
        rows = [f"{kind:<20} {count:>6}  {where}" for kind, count, where in self.replaced]
        parts = {
            "Replaced or left out": [f"{'kind':<20} {'count':>6}  file", *rows],
            "Left": self.left,
            "Not copied": [f"{n} x {kind}" for kind, n in self.not_copied.items()] or ["nothing"],
            "Look at": self.warnings or ["nothing"],
        }
        return "\n".join(
            f"{title}\n" + "".join(f"  {row}\n" for row in part) for title, part in parts.items()
        )


def anonymise(
    source: str | Path,
    target: str | Path,
    *,
    pseudonym: str = "case-01",
    date: Literal["shift", "remove"] = "shift",
    also: Sequence[str] = (),
    mask_pixels: bool = False,
) -> Anonymised:
    """Write a recording anew without names, dates and paths; the source is only read.

    Files that we do not know are not copied, nor are screenshots and logs of text. Uids and files get new
    names, the same everywhere. At the end everything written is searched once more for all that was removed;
    if any is found, nothing is left behind.

    Parameters
    ----------
    source : a CustusX patient folder (.cx3), a folder with acquisitions, or one .mha, .mhd or .nrrd file
    target : the folder or file to write; it must not exist
    pseudonym : stands for the patient and for every name
    date : "shift" moves all times by one whole number of seconds, so that the first falls into the first
        second of 2000; days without a time become 2000-01-01. "remove" also leaves out written dates, and
        the latest registration is then the last in the file
    also : names and numbers that must be gone, wherever they stand: ("Hansen", "010190 12345")
    mask_pixels : black all pixels of acquisitions outside the probe's sector, where scanners print names

    Raises
    ------
    FileError
        A source that cannot be read, a target that exists, or something removed that is still found.

    Notes
    -----
    Text that is burnt into pictures cannot be found; `warnings` tells how many pixels outside the sector are
    bright. A volume of the head shows the face. A name that `also` lacks and no rule knows is kept.

    >>> import tempfile
    >>> old, new = (Path(tempfile.mkdtemp()) / name for name in ("Hansen.mha", "case.mha"))
    >>> lines = "DimSize = 0 0 1", "PatientName = Hansen", "Seen = by Hansen", "ElementDataFile = LOCAL", ""
    >>> _ = old.write_text("\\n".join(lines))
    >>> anonymise(old, new).replaced
    (('header field', 1, 'the file'), ('name', 1, 'the file'))
    """
    source, target = Path(source), Path(target)
    _check(source, target, pseudonym, also)
    one = source.is_file()
    if one and mask_pixels:
        raise FileError(f"{source.name} has no sector; expected an acquisition for mask_pixels.")
    plan = Plan(source.parent, (Path(source.name),), (), Counter(), None) if one else planned(source)

    look = Rules(pseudonym, tuple(also))
    for f in plan.copied:
        _write(plan, f, None, look, "")
    names = [] if one else list(document_words(plan))
    for text in (*map(str, plan.copied), *names):
        cleaned(text, look, "")
    offset = offset_of(look.seconds)
    words = look.persons | {word for text in names for word in words_of_name(text)}
    structure = _structure(plan)
    words = {w for w in words if not w.isdecimal() and w.lower() not in structure}
    rules = Rules(pseudonym, tuple(also), tuple(words), {}, offset, date == "shift")

    tokens = {} if one else tokens_of(plan, partial(_dated, rules))
    moved = {Path(source.name): Path(target.name)} if one else moved_files(plan, tokens)
    rules = replace(rules, tokens=tokens)
    masks, warnings = _masks(plan, mask_pixels)
    paths = {old.as_posix(): new.as_posix() for old, new in moved.items()}
    paths |= {(source / old).as_posix(): new for old, new in paths.items()}
    with written_whole(target) as folder:
        out = folder / target.name
        for old, new in moved.items():
            path = out if one else out / new
            path.parent.mkdir(parents=True, exist_ok=True)
            where = "the file" if one else new.as_posix()
            _write(plan, old, path, rules, where, paths, masks.get(old))
        _refuse_leaks(folder, rules, tokens, words, also, look)
        if one and target.exists():
            raise FileError(f"{target} exists; expected a new name.")
    rows = sorted((kind, n, where) for (kind, where), n in rules.tally.items())
    left = [*LEFT, *(f"header field {key}: not known" for key in sorted(rules.kept))]
    return Anonymised(target, tuple(rows), tuple(left), dict(sorted(plan.stays.items())), tuple(warnings))


def _check(source: Path, target: Path, pseudonym: str, also: Sequence[str]) -> None:
    if isinstance(also, str) or any(len("".join(text.split())) < 3 for text in also):
        raise ValueError(f"also={also!r}; expected texts of three letters or more, in a list or tuple.")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", pseudonym, re.ASCII):
        raise ValueError(f"pseudonym={pseudonym!r}; expected letters, digits, - and _ only.")
    if not source.exists():
        raise FileError(f"{source} does not exist.")
    if source.is_file() and (source.suffix not in HEADERS or target.suffix != source.suffix):
        raise FileError(
            f"{source.name} to {target.name}: expected a folder, or {', '.join(HEADERS)} and the same ending."
        )
    if target.exists() or target.is_symlink():
        raise FileError(f"{target} exists; expected a new name.")
    if source.resolve() in target.resolve().parents:
        raise FileError(f"{target.name} would be inside the source; expected another place.")


def _write(
    plan: Plan,
    f: Path,
    out: Path | None,
    rules: Rules,
    where: str,
    paths: dict[str, str] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> None:
    source, kind = plan.root / f, KINDS[f.suffix]
    simple: dict[str, Callable[[Path, Path | None, Rules, str], None]] = {
        "times": files.scrub_times,
        "numbers": files.scrub_numbers,
        "lines": files.scrub_lines,
        "positions": files.scrub_positions,
        "points": files.scrub_points,
        "polydata": files.scrub_polydata,
        "nrrd": scrub_nrrd,
    }
    if kind == "xml":
        files.scrub_xml(source, out, rules, where, paths or {})
    elif kind == "metaimage":
        scrub_metaimage(source, out, rules, where, mask)
    else:
        simple[kind](source, out, rules, where)


def _structure(plan: Plan) -> set[str]:
    """Words that the formats themselves need."""
    root = plan.document
    every = [] if root is None else list(root.iter())
    found = {w.lower() for e in every for w in (e.tag, *e.attrib, e.get("type", ""))}
    return found | {word.lower() for word in (*PARTS, *KINDS.values(), "acq", "images", "logs")}


def _dated(rules: Rules, name: str) -> str:
    found = re.search(r"(?<!\d)\d{8}T\d{6}(?!\d)", name)
    new = cleaned(found[0], replace(rules, tally=Counter(), removed={}), "") if found else ""
    return f"_{new}" if new else ""


def _masks(plan: Plan, wanted: bool) -> tuple[dict[Path, NDArray[np.bool_]], list[str]]:
    """The sector of each picture of an acquisition if it is wanted, and what to look at."""
    masks: dict[Path, NDArray[np.bool_]] = {}
    warnings = []
    pictures = [f for f in plan.copied if f.suffix in HEADERS]
    for k, (folder, base) in enumerate(plan.acquisitions, start=1):
        own = [
            f for f in pictures if f.parent == folder and re.fullmatch(rf"{re.escape(base)}(_\d+)?", f.stem)
        ]
        pictures = [f for f in pictures if f not in own and f.name != f"{base}.mask.mhd"]
        if not own:
            continue
        try:
            header = read_header(plan.root / own[0])
            mask = _read_sector(Acquisition(plan.root / folder, base), header, "image")[0].mask()
            if not mask.any():
                raise FileError(f"the sector of acquisition {k} holds no pixel; expected the probe's.")
        except FileError:
            if wanted:
                raise
            told = "has no sector that can be read: text in its pictures is not looked for"
            warnings.append(f"acquisition {k} {told}")
            continue
        if wanted:
            masks |= dict.fromkeys(own, mask)
            continue
        share = _bright_outside([plan.root / f for f in own], mask)
        warnings.append(
            f"acquisition {k}: {100 * share:.2f} % of the pixels outside the sector are bright in some "
            "frame; look for text there, or use mask_pixels"
        )
    if pictures:
        warnings.append(
            f"{len(pictures)} pictures and volumes without a sector: text in them is not looked for"
        )
    return masks, warnings


def _bright_outside(paths: list[Path], mask: NDArray[np.bool_]) -> float:
    peak = np.zeros(mask.shape)
    for path in paths:
        stored = stored_frames(path)
        for block in stored.blocks() if stored else ():
            grey = block if block.ndim == 3 else block.max(axis=3)
            if grey.shape[1:] != mask.shape:
                raise FileError(
                    f"{path.name}: pictures are {grey.shape[1:]}; the sector is for {mask.shape}."
                )
            peak = np.maximum(peak, grey.max(axis=0))
    return float(np.mean(peak[~mask] >= BRIGHT)) if not mask.all() else 0.0


def _refuse_leaks(
    folder: Path, rules: Rules, tokens: dict[str, str], words: set[str], also: Sequence[str], look: Rules
) -> None:
    """Search what was written for all that is gone."""
    removed = rules.removed
    texts = {t for kind in ("header field", "comment", "title") for t in removed.get(kind, ())}
    texts = {t for t in texts if len(t) >= LONG_TEXT} | {t for t in removed.get("path", ()) if len(t) > 6}
    dates = removed.get("date", {}).keys()
    texts |= {text for text in dates if not _day(text)}
    seconds = {int(second) for second in look.seconds}
    days = {(EPOCH + timedelta(seconds=second)).date() for second in seconds}
    days |= {day for text in dates if (day := _day(text))}
    last = FIRST_DAY + timedelta(seconds=max(seconds, default=0) - min(seconds, default=0))
    days = {day for day in days if not FIRST_DAY.date() <= day <= last.date()}
    gone = {t for t in tokens if telling(t) and t not in tokens.values()} | words
    secrets = Secrets(frozenset(also), frozenset(gone), frozenset(texts), frozenset(days))
    found = next(leaks(folder, secrets), None) if any(folder.iterdir()) else None
    if found:
        raise FileError(
            f"{found[0]} would still hold {found[1]!r}; nothing is written. Is it a word of the format?"
        )


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
