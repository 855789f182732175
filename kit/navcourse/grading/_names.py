"""File names of every system, and names of people that are safe as folders on all of them."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

__all__ = ["clean_id", "is_notebook", "nfc", "notebook_stem", "safe_name", "student_ids"]

LONGEST = 80
# Browsers add .txt and .json, and a number after a second download.
_NOTEBOOK = re.compile(r"(?P<stem>.*)\.ipynb(\.(txt|json))?( ?\(\d+\))?[ .]*", re.IGNORECASE | re.DOTALL)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')  # in file names of Windows
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def nfc(name: str) -> str:
    """One spelling for each letter: a Mac writes "å" as "a" and a ring.

    >>> len(nfc("a\\u030a"))
    1
    """
    return unicodedata.normalize("NFC", name)


def is_notebook(name: str) -> bool:
    """Whether a file's name says that it is a notebook, whatever a browser made of it.

    >>> [is_notebook(n) for n in ("a.ipynb", "A.IPYNB", "a.ipynb.txt", "a.ipynb (1)", "a.ipynb.", "a.py")]
    [True, True, True, True, True, False]
    """
    return _NOTEBOOK.fullmatch(name) is not None and not name.startswith("._")


def notebook_stem(name: str) -> str:
    """The name without its ending, and without what a browser put after that.

    >>> notebook_stem("pivot.ipynb.txt")
    'pivot'
    """
    found = _NOTEBOOK.fullmatch(name)
    return found["stem"] if found else PurePath(name).stem


def safe_name(name: str) -> str:
    """The name as every file system takes it: no reserved name, no trailing dot, not too long.

    >>> safe_name("con.ipynb"), safe_name("a:b?.ipynb. "), len(safe_name("x" * 300 + ".ipynb"))
    ('_con.ipynb', 'a_b_.ipynb', 86)
    """
    name = _FORBIDDEN.sub("_", nfc(name)).strip(" ").rstrip(" .") or "_"
    path = PurePath(name)
    name = path.stem[:LONGEST].rstrip(" .") + path.suffix[:20]
    return f"_{name}" if _DEVICES.fullmatch(name) else name


def student_ids(people: Iterable[str]) -> dict[str, str]:
    """An id for each person: letters, digits and ``@ . _ -``; two people never get one id.

    Where two names would be one folder (on some systems capitals do not count), the name that is its
    own id keeps it, and every other gets four letters made from the name: the same each time.

    >>> student_ids(["Åse Berg", "ada"])
    {'ada': 'ada', 'Åse Berg': 'Åse_Berg'}
    >>> sorted(student_ids(["ada", "Ada", "ada "]).values())
    ['Ada', 'ada-680f', 'ada-fdee']
    """
    ids: dict[str, str] = {}
    taken: set[str] = set()
    cleaned = {name: clean_id(name) for name in people}
    for name in sorted(cleaned, key=lambda name: (cleaned[name] != name, name)):
        own = cleaned[name]
        if own.casefold() in taken:
            own += "-" + hashlib.sha256(name.encode()).hexdigest()[:4]
        taken.add(own.casefold())
        ids[name] = own
    return ids


def clean_id(name: str) -> str:
    """The name as an id; nbgrader uses it in paths and in patterns of paths."""
    name = re.sub(r"[^\w@.-]+", "_", nfc(name)).strip("._-")[:LONGEST] or "nobody"
    return f"_{name}" if _DEVICES.fullmatch(name) else name
