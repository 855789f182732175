"""What anything is and whether it is healthy: the door to all that can be told of a file or folder."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from navkit.files import FileError
from navkit.recordings import _about_custusx as custusx
from navkit.recordings import _about_points as points
from navkit.recordings import _about_tools as tools
from navkit.recordings import _about_volumes as volumes
from navkit.recordings._about import UNREADABLE, Description, amount, sentence, several
from navkit.recordings._about_family import Family, recognise

MOST_LISTED = 2000
MOST_COPIED = 2**27


def describe(path: str | Path) -> Description:
    """Say what a file or folder is, and whether it is healthy.

    Recognised by content, and by name where content does not tell. Large recordings are sampled;
    ``not_checked`` says what was left out. What is damaged is described as far as it can be read, with the
    reason among ``warnings``.

    Parameters
    ----------
    path : a CustusX acquisition or patient folder, a PLUS sequence, a volume, a calibration, or anything else

    Returns
    -------
    Description
        ``lines()`` is the text, ``as_dict()`` the same for JSON.

    Raises
    ------
    FileError
        Only if there is nothing at `path`.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "pointer.cal"
    >>> _ = path.write_text("-1 0 0 -20.68\\n0 1 0 -0.04\\n0 0 -1 -158.29\\n0 0 0 1\\n")
    >>> print(*describe(path).lines(), sep="\\n")
    pointer.cal: tool calibration
      tip in the sensor's space  -20.68 -0.04 -158.3 mm, 159.6 mm away
    nothing suspicious
    """
    path = Path(path)
    if not path.exists():
        raise FileError(f"{path} does not exist; expected a file or a folder. Is the name spelled right?")
    name = "folder" if path.is_dir() else "file"
    try:
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            return Description(path, "no file: a device or a pipe", not_checked=("what comes out of it",))
        family = recognise(path)
        name = family.name
        return _by_its_ending(path, family)
    except UNREADABLE as reason:
        size = path.stat().st_size if path.is_file() else 0
        return Description(
            path, f"damaged {name}", (("size", amount(size)),), {"bytes": float(size)}, (sentence(reason),)
        )


def _by_its_ending(path: Path, family: Family) -> Description:
    """Readers go by the ending: a file with a wrong one is read as a copy with the right one."""
    if not family.endings or path.name.lower().endswith(family.endings):
        return family.about(path)
    told = (
        f"by its content this is a {family.name}, but its name ends in {path.suffix or 'nothing'!r}: "
        f"programs that go by the ending do not open it. Rename it to end in {family.endings[0]}."
    )
    if path.stat().st_size > MOST_COPIED:
        return Description(
            path, family.name, warnings=(told,), not_checked=("its content: the file is large",)
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"{path.stem}{family.endings[0]}"
        shutil.copyfile(path, copy)
        found = family.about(copy)
    return replace(found, path=path, warnings=(told, *found.warnings))


def _folder(path: Path) -> Description:
    """A folder by what is in it, one level down."""
    inside = sorted(islice((p for p in path.iterdir() if not p.name.startswith(".")), MOST_LISTED))
    files, folders = [p for p in inside if p.is_file()], [p for p in inside if p.is_dir()]
    by_ending = Counter(p.suffix for p in files)
    if any(p.name == "custusdoc.xml" for p in files):
        return _attempted(path, "CustusX patient folder", custusx.patient)
    if by_ending[".fts"] == 1:
        return _attempted(path, "CustusX acquisition", custusx.acquisition)
    times = sorted(path.glob("*.fts"))
    below = sorted(islice(path.glob("*/*.fts"), MOST_LISTED))
    if len(times) > 1 or (below and {p.parent for p in below} == set(folders)):
        return _acquisitions(path, times + below)
    if any(volumes.is_dicom(p) for p in files[:20]):
        return _attempted(path, "DICOM folder", volumes.dicom_folder)
    if by_ending[".cal"] >= 2 and not by_ending[".xml"]:
        return _attempted(path, "folder of tool calibrations", tools.calibrations)
    texts = [p for p in files if p.suffix == ".txt" and p.stat().st_size < 4096]
    if len(texts) >= 3 and len(texts) == by_ending[".txt"]:
        shapes = [points.table(p.read_text(encoding="latin-1")) for p in texts]
        if sum(s is not None and s.shape == (4, 4) for s in shapes) > 0.8 * len(texts):
            return _attempted(path, "folder of poses", lambda p: points.matrix_folder(p, texts))
    kinds = Counter(_plural(p) for p in files)
    facts = [(kind, str(n)) for kind, n in sorted(kinds.items())]
    if folders:
        names = ", ".join(p.name for p in folders[:8]) + (", ..." if len(folders) > 8 else "")
        facts.append(("folders", f"{len(folders)}: {names}"))
    if below:
        facts.append(("CustusX acquisitions", f"{len({p.parent for p in below})} of the folders"))
    numbers = {"files": float(len(files)), "folders": float(len(folders))}
    numbers |= {kind: float(n) for kind, n in kinds.items()}
    kind = "folder" if inside else "empty folder"
    skipped: tuple[str, ...] = ("what is inside: describe one of them",) if inside else ()
    if len(inside) == MOST_LISTED:
        skipped += (f"more than {MOST_LISTED} files",)
    return Description(path, kind, tuple(facts), numbers, (), skipped)


def _plural(path: Path) -> str:
    try:
        return recognise(path).plural
    except OSError:
        return "files that cannot be opened"


def _attempted(path: Path, name: str, about: Callable[[Path], Description]) -> Description:
    try:
        return about(path)
    except UNREADABLE as reason:
        return Description(path, f"damaged {name}", warnings=(sentence(reason),))


def _acquisitions(path: Path, times: list[Path]) -> Description:
    facts = []
    for file in times[:50]:
        n = len(file.read_bytes().split())
        facts.append((file.relative_to(path).as_posix().removesuffix(".fts"), several(n, "frame")))
    numbers = {"acquisitions": float(len(times))}
    kind = f"folder of {'several CustusX acquisitions' if len(times) > 1 else 'a CustusX acquisition'}"
    return Description(
        path, kind, tuple(facts), numbers, (), ("their health: describe one of the .fts files",)
    )
