"""Every file that was handed in, wherever it lies: folders, zip files in folders, zip files in zip files.

The source is only read. No link is followed, no name from a zip file becomes a path: what a zip
file holds is unpacked under names
of our own.
"""

import os
import shutil
import stat
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from navcourse.grading._names import is_notebook, nfc

__all__ = ["PACKED", "Handed", "Refused", "common", "find_files", "hidden"]

MOST_UNPACKED = 2_000_000_000
MOST_MEMBERS = 5_000
BLOCK = 4096  # what the smallest file takes on a disk
DEEPEST = 3
ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz")
PACKED = (".zip", *ARCHIVES)
NOT_LOOKED_INTO = ("__MACOSX", "__pycache__", "node_modules")
AGAIN = "Look at the zip file and ask {student} to hand it in anew."
LINK = "this is a link, not a file; links are not followed"
READ = "Ask for the right to read it, and collect again."
THE_FILE = "Ask {student} to hand in the file itself."
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Handed:
    """One file: `parts` says where it lay, with zip files as folders; `path` is where its bytes are."""

    parts: Parts
    path: Path


@dataclass(frozen=True)
class Refused:
    """Something that was not looked into; `path` is kept for a person if it is there."""

    parts: Parts
    path: Path | None
    reason: str
    what_to_do: str
    harmless: bool = False


def find_files(source: Path, scratch: Path, *, skip: Path, only: str) -> tuple[list[Handed], list[Refused]]:
    """All files below a folder or in a zip file, in the order of their names.

    Parameters
    ----------
    scratch : an empty folder for what zip files hold.
    skip : a folder that is not looked into: the course's own root, which may lie in a home folder.
    only : an assignment's name. Of a person's folder that has a folder of this name somewhere, such as
        a home folder on a hub, nothing else is looked at.
    """
    refused: list[Refused] = []
    if source.is_file():
        found = [Handed(() if source.suffix.casefold() == ".zip" else (source.name,), source)]
    else:
        found = _only(list(_walk(source, (), skip.resolve(), refused)), only, refused)
    files: list[Handed] = []
    for item in found:
        files += _opened(item, scratch, refused, [0], whole_class=len(found) == 1)
    return files, refused


def common(folders: Sequence[Parts]) -> Parts:
    """The folders that all have in common, from the outermost on."""
    shared = []
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)


def hidden(name: str) -> bool:
    """Files of systems and editors, that no learner made."""
    return name.startswith(".") or name in NOT_LOOKED_INTO or name.casefold() in ("thumbs.db", "desktop.ini")


def _wanted(name: str) -> bool:
    """Whether a learner's work may be in it."""
    return is_notebook(name) or name.casefold().endswith(PACKED)


def _walk(folder: Path, parts: Parts, skip: Path, refused: list[Refused]) -> Iterator[Handed]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = f"the folder could not be read ({type(error).__name__})"
        refused.append(Refused(parts or (folder.name,), None, reason, READ))
        return
    for entry in entries:
        here = (*parts, nfc(entry.name))
        if hidden(entry.name):
            continue
        if entry.is_symlink():
            refused.append(Refused(here, None, LINK, THE_FILE, bool(parts) and not _wanted(entry.name)))
        elif entry.is_dir(follow_symlinks=False):
            if Path(entry.path).resolve() != skip:
                yield from _walk(Path(entry.path), here, skip, refused)
        elif entry.is_file(follow_symlinks=False):
            yield Handed(here, Path(entry.path))
        else:
            reason = "this is no ordinary file"
            refused.append(Refused(here, None, reason, THE_FILE, not _wanted(entry.name)))


def _only(found: list[Handed], assignment: str, refused: list[Refused]) -> list[Handed]:
    """Of a home folder only what is in the assignment's folder; notebooks elsewhere are counted."""
    depth = len(common([item.parts[:-1] for item in found])) if len(found) > 1 else 0
    inside = {item for item in found if assignment in item.parts[depth + 1 : -1]}
    homes = {item.parts[depth] for item in inside}
    outside = [item for item in found if item.parts[depth] in homes and item not in inside]
    for home in sorted(homes):
        passed = [i for i in outside if i.parts[depth] == home and is_notebook(i.parts[-1])]
        if passed:
            reason = f"{len(passed)} notebooks outside the folder '{assignment}' were not looked at"
            todo = "Nothing, if {student} worked in that folder."
            refused.append(Refused((*passed[0].parts[: depth + 1], assignment), None, reason, todo, True))
    return [item for item in found if item not in set(outside)]


# -- zip files -----------------------------------------------------------------------------------


def _opened(
    item: Handed,
    scratch: Path,
    refused: list[Refused],
    spent: list[int],
    *,
    depth: int = 0,
    whole_class: bool = False,
) -> list[Handed]:
    """The file itself, or what is in it.

    `spent` counts the bytes of one hand-in with all the zip files in it; of a whole class in one zip
    file, each file in it counts for itself: nobody uses up the room of others.
    """
    if not os.access(item.path, os.R_OK):
        refused.append(Refused(item.parts, None, "the file may not be read", READ))
        return []
    name = item.parts[-1] if item.parts else item.path.name
    ending = Path(name.casefold().rstrip(" .")).suffix
    if ending in ARCHIVES:
        todo = "Ask {student} for a .zip file, or unpack it and collect again."
        refused.append(Refused(item.parts, item.path, f"a packed file of kind {ending}; expected .zip", todo))
        return []
    if ending != ".zip" and not (is_notebook(name) and _is_zip(item.path)):
        return [item]
    if depth >= DEEPEST:
        refused.append(Refused(item.parts, item.path, "zip files in zip files, too deep to follow", AGAIN))
        return []
    members: list[Handed] = []
    try:
        with zipfile.ZipFile(item.path) as archive:
            reason = _unsafe(archive, spent)
            if not reason:
                members = list(_unpacked(archive, item.parts, scratch, refused))
    except Exception as error:  # whatever a stranger's zip file makes the library raise
        at = f" ({error})" if "CRC" in str(error) else ""
        reason = f"the zip file is damaged or has a password{at}"
    if not reason and not members:
        reason = "the zip file holds no file"
    if reason:
        refused.append(Refused(item.parts, item.path, reason, AGAIN))
        return []
    return [
        inner
        for member in members
        for inner in _opened(member, scratch, refused, [0] if whole_class else spent, depth=depth + 1)
    ]


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unsafe(archive: zipfile.ZipFile, spent: list[int]) -> str:
    """Why a zip file is not unpacked: sizes are those that it declares, and no more is ever read."""
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    spent[0] += total + BLOCK * len(members)
    if spent[0] > MOST_UNPACKED or len(members) > MOST_MEMBERS:
        return f"the zip file would unpack to {len(members)} files of {total / 1e6:.0f} MB"
    for member in members:
        parts = _parts(member)
        if ".." in parts or member.filename.startswith(("/", "\\")) or any(":" in part for part in parts[:1]):
            return "the zip file wants to write outside its own folder"
    return ""


def _unpacked(
    archive: zipfile.ZipFile, parts: Parts, scratch: Path, refused: list[Refused]
) -> Iterator[Handed]:
    scratch.mkdir(parents=True, exist_ok=True)
    for member in archive.infolist():
        inner = _parts(member)
        if member.is_dir() or not inner or any(map(hidden, inner)):
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            refused.append(Refused((*parts, *inner), None, LINK, THE_FILE, not _wanted(inner[-1])))
            continue
        target = scratch / uuid.uuid4().hex
        with archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
        try:
            saved = time.mktime((*member.date_time, 0, 0, -1))
        except (ValueError, OverflowError):
            saved = 0.0
        os.utime(target, (saved, saved))
        yield Handed((*parts, *inner), target)


def _parts(member: zipfile.ZipInfo) -> Parts:
    """Folders and name; without the mark of UTF-8 a name may be UTF-8 all the same, or of an old Windows."""
    name = member.filename
    if not member.flag_bits & 0x800 and not name.isascii():
        raw = name.encode("cp437", errors="replace")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp850")
    return tuple(nfc(part) for part in name.replace("\\", "/").split("/") if part not in ("", "."))
