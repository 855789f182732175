"""A kernel that sees its own submission and nothing else.

``python -P -m navcourse.grading.sandbox CONNECTION_FILE`` is what Jupyter starts. It sets limits,
copies the submission's folder without its notebooks, and becomes `bwrap` (bubblewrap), which
becomes the kernel by way of `_inside`: no network, no course folder, an empty environment, a home in
memory, sockets in the file system instead of ports. A grader who is root gives every kernel a user
of its own. Where there is no bubblewrap the limits and the copy remain, and the caller warns.

Not here: cgroups, which need the machine's administrator. Memory is limited for each process, and a
kernel is the first to be ended when memory runs out.

Only the standard library is imported here: this file runs once for every kernel.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from navcourse.grading._bubblewrap import BARE, SETTINGS_NAME, command_of, environment_of
from navcourse.grading._inside import CACHES, WORK, limit_processes

__all__ = ["BARE", "KERNEL_NAME", "LOG_NAME", "SETTINGS_NAME", "copy_compiled", "hand_over", "kernelspec",
           "main", "most_processes", "sandbox_available", "write_settings"]  # fmt: skip

_bwrap, _environment = command_of, environment_of
KERNEL_NAME = "navcourse_sandbox"
LOG_NAME = "kernel.log"
MOST_PROCESSES = 200
"""Processes and threads of one kernel."""
FIRST_USER, USERS = 61184, 4096
"""Of the numbers that systemd keeps for users without a name; a kernel of root's gets one of these."""
TRIAL = "import navcourse.grading._inside as i; i.become({user}); import email; open(i.__file__)"


def sandbox_available() -> bool:
    """Whether bubblewrap is there and may make a namespace here; tried once in a child process."""
    return bool(_way())


@lru_cache(maxsize=1)
def _way() -> str:
    """How a sandbox can be made here: "own user" for a kernel of root's, "user namespace", or ""."""
    root = os.name != "nt" and os.getuid() == 0
    for way in ("own user", "user namespace") if root else ("user namespace",):
        with tempfile.TemporaryDirectory(prefix="nc-") as folder:
            private = Path(folder)
            (private / "s").mkdir()
            (private / SETTINGS_NAME).write_text(
                json.dumps({"way": way, "user": _user(way), "caches": {}}), encoding="utf-8"
            )
            command = [*_bwrap(private, (), {}), sys.executable, "-P", "-c", TRIAL.format(user=_user(way))]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                done = subprocess.run(command, capture_output=True, timeout=30, check=False, env=BARE)
                if done.returncode == 0:
                    return way
    return ""


def kernelspec(folder: Path) -> str:
    """Write the sandbox's kernel below `folder` (a JUPYTER_PATH) and return its name.

    The folder is private to the grading process: learners never see this kernel in their lists.
    """
    place = folder / "kernels" / KERNEL_NAME
    place.mkdir(parents=True, exist_ok=True)
    # -P: the kernel starts in the submission's folder, and a json.py there must not become ours.
    launcher = ["navcourse.grading.sandbox", "{connection_file}"]
    if os.name == "nt":  # no exec that keeps the process, no limits, no bubblewrap
        launcher = ["ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": [sys.executable, "-P", "-m", *launcher],
        "display_name": "navcourse sandbox",
        "language": "python",
        # Signals do not cross into the sandbox's own session, messages do.
        "interrupt_mode": "signal" if os.name == "nt" else "message",
    }
    (place / "kernel.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
    return KERNEL_NAME


def write_settings(
    private: Path,
    *,
    use_bwrap: bool,
    readable: Sequence[Path] = (),
    caches: Mapping[str, Path] | None = None,
    memory_mb: int = 6000,
    cpu_s: int = 600,
) -> None:
    """Prepare `private`, a new empty folder of one kernel, for the launcher.

    Parameters
    ----------
    readable : files and folders that the kernel may read besides Python and the kit, such as data sets.
    caches : folders of the host by name, "numba" (compiled functions) and "matplotlib" (the list of
        fonts). The kernel reads them and writes beside them, for itself only; without them every
        kernel makes its own.
    """
    for name in ("s", WORK, *CACHES):
        (private / name).mkdir()
    known = {name: folder for name, folder in (caches or {}).items() if folder.is_dir()}
    if not use_bwrap:
        for name, folder in known.items():
            shutil.copytree(folder, private / name, dirs_exist_ok=True)
    way = _way() if use_bwrap else ""
    settings = {
        "way": way,
        "user": _user(way),
        "readable": [str(path.resolve()) for path in readable],
        "caches": {name: str(folder.resolve()) for name, folder in known.items()},
        "memory_mb": memory_mb,
        "cpu_s": cpu_s,
    }
    (private / SETTINGS_NAME).write_text(json.dumps(settings), encoding="utf-8")


def copy_compiled(target: Path) -> None:
    """Copy what numba compiled for the kit on this machine into `target`, laid out as a NUMBA_CACHE_DIR.

    Beside its sources numba keeps files in ``__pycache__``; in a cache folder of its own it makes one
    folder for each source folder, named as below.
    """
    kit = Path(__file__).resolve().parents[2]
    for path in kit.rglob("__pycache__/*.nb[ic]"):
        source = path.parents[1]
        copied = target / f"{source.name}_{hashlib.sha1(str(source).encode()).hexdigest()}" / path.name
        if not copied.is_file() or copied.stat().st_mtime_ns != path.stat().st_mtime_ns:
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied)
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and Path(given).is_dir():
        shutil.copytree(given, target, dirs_exist_ok=True)


def main(connection_file: str) -> None:
    """Become the kernel of `connection_file`; its folder holds the settings."""
    private = Path(connection_file).resolve().parent
    settings = json.loads((private / SETTINGS_NAME).read_text(encoding="utf-8"))
    with (private / LOG_NAME).open("w") as log:  # the kernel's greeting is not for the instructor's terminal
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # nothing that the grader has open is handed on
    _copy_submission(Path.cwd(), private / WORK)
    _limit(settings["memory_mb"], settings["cpu_s"])
    if not settings["way"]:
        limit_processes(_threads_of_user() + MOST_PROCESSES)
        os.chdir(private / WORK)
        kernel = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", connection_file]
        kernel += ["--HistoryManager.hist_file=:memory:"]
        os.execve(sys.executable, kernel, _environment(os.environ, str(private)))
    hand_over(private, settings["user"])
    command = _bwrap(private, [Path(path) for path in settings["readable"]], os.environ)
    command += [sys.executable, "-P", "-m", "navcourse.grading._inside"]
    command += [str(settings["user"]), str(most_processes(settings["way"]))]
    # Whoever is inside can read bubblewrap's own environment in /proc/1: there is nothing in it.
    os.execve(command[0], command, BARE)


def hand_over(private: Path, user: int) -> None:
    """Give what the kernel writes and reads outside its memory to the kernel's user."""
    if user:
        for path in (private / "s", private / "kernel.json"):
            os.chown(path, user, user)


def _copy_submission(source: Path, target: Path) -> None:
    """The submission's files without the notebooks (they hold checks) and without links out of it."""
    hidden = shutil.ignore_patterns("*.ipynb", "timestamp.txt", "submission_secret.txt")

    def ignored(folder: str, names: list[str]) -> set[str]:
        links = {name for name in names if (Path(folder) / name).is_symlink()}
        return set(hidden(folder, names)) | links

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):  # the kernel's user may be another
        path.chmod(0o755 if path.is_dir() else 0o644)


def _limit(memory_mb: int, cpu_s: int) -> None:
    """Memory, processor time and file size of this process and of each that follows it."""
    import resource

    megabyte = 1_000_000
    wanted = [
        (resource.RLIMIT_AS, memory_mb * megabyte),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 200 * megabyte),
        (resource.RLIMIT_CORE, 0),
    ]
    for which, value in wanted:
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (ValueError, OSError):  # macOS refuses some; the others still hold
            continue
    with contextlib.suppress(OSError):  # when memory runs out, this goes before the grader
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def most_processes(way: str) -> int:
    """Since Linux 5.14 a namespace counts for itself: one kernel's processes do not use up another's."""
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    counts_alone = way == "own user" or version >= (5, 14)
    return MOST_PROCESSES if counts_alone else _threads_of_user() + MOST_PROCESSES


def _user(way: str) -> int:
    """The user of a new kernel when the grader is root, whom no limit on processes holds back; else 0."""
    return FIRST_USER + int.from_bytes(os.urandom(2)) % USERS if way == "own user" else 0


def _threads_of_user() -> int:
    """Threads that this user runs now: the kernel's limit on processes counts those too."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*/task"):
        try:
            if entry.stat().st_uid == os.getuid():
                total += sum(1 for _ in entry.iterdir())
        except OSError:  # the process ended while we looked
            continue
    return total


if __name__ == "__main__":
    main(sys.argv[1])
