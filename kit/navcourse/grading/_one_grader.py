"""Who holds the gradebook, and whether it lies where a lock can be trusted."""

import getpass
import json
import os
import socket
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from navcourse.grading.settings import GradingError

__all__ = ["network_file_system", "one_grader"]

NETWORK = (
    "nfs", "cifs", "smb", "9p", "afs", "afpfs", "webdav", "davfs", "ceph", "lustre", "gpfs", "beegfs",
    "ncpfs", "vboxsf", "prl_fs", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs",
)  # fmt: skip


@contextmanager
def one_grader(root: Path) -> Iterator[None]:
    """Hold the course root for one grader; a run that died holds nothing, and is told.

    Raises
    ------
    GradingError
        If another run is at work here, or one of another machine may be.
    """
    # An SQLite file is a lock on every system, and a dead process lets it go. The note says who has it.
    lock, note = root / "gradebook.lock", root / "gradebook.lock.json"
    with closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise GradingError(
                f"another grader is at work here: {_who(_read(note))}. Wait until that run is over."
            ) from error
        left = _read(note)
        if left and left.get("host") != socket.gethostname():
            # A network file system may not carry the lock: that run may still be at work.
            raise GradingError(
                f"another grader may be at work here: {_who(left)}. It cannot be seen from this machine. If "
                f"that run is over, delete {note} and run this again."
            )
        if left:
            warnings.warn(
                f"a run before this one ended before its time: {_who(left)}. Its lock is taken over.",
                stacklevel=5,
            )
        now = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M}"}
        with suppress(KeyError, OSError):  # a container may have no name for its user
            now["user"] = getpass.getuser()
        note.write_text(json.dumps(now), encoding="utf-8")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _read(note: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):  # being written, or cut off
        return {"host": socket.gethostname()}


def _who(note: Mapping[str, Any]) -> str:
    told = {name: note.get(name, "unknown") for name in ("user", "host", "pid", "since")}
    return "{user} on {host}, process {pid}, since {since}".format(**told)


def network_file_system(path: Path, *, mounts: Sequence[tuple[str, str]] | None = None) -> str:
    """A sentence when `path` lies on a network file system, else empty.

    Parameters
    ----------
    mounts : mount points and their kinds, as in ``("/home", "nfs4")``; this machine's when left out.

    >>> network_file_system(Path("/home/ada"), mounts=[("/", "ext4"), ("/home", "ext4")])
    ''
    """
    if mounts is None:
        parts = psutil.disk_partitions(all=True)
        mounts = [(p.mountpoint, "nfs" if "remote" in p.opts.split(",") else p.fstype) for p in parts]
    place = path.resolve()
    above = [
        (len(Path(at).parts), number)
        for number, (at, _) in enumerate(mounts)
        if at and place.is_relative_to(at)
    ]
    if not above:
        return ""
    at, kind = mounts[max(above)[1]]  # the deepest; of two at one place, the later
    if not kind.lower().startswith(NETWORK):
        return ""
    return (
        f"the course root {path} lies on a network file system ({kind}, mounted at {at}). The gradebook is "
        "SQLite: there it can be damaged when two machines write. Move the course root to a local disk and "
        "grade there, or keep the gradebook on a PostgreSQL server (db_url)."
    )
