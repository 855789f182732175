"""The command line of bubblewrap: what exists in a sandbox, and the environment in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from navcourse.grading._inside import CONNECTION, GIVEN, HOME, SOCKETS, WORK

__all__ = ["BARE", "SETTINGS_NAME", "command_of", "environment_of"]

SETTINGS_NAME = "sandbox.json"
ROOMS = (("/tmp", 500), (HOME, 500), ("/dev/shm", 100))
"""Folders in memory that a learner's code may fill, with their sizes in MB."""
SYSTEM_READABLE = ("/usr", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/fonts",
                   "/etc/alternatives", "/etc/localtime")  # fmt: skip
PASSED_ON = (
    "NAVKIT_DATA",
    "NAVKIT_DATASETS",
    "PYVISTA_OFF_SCREEN",
    "VTK_DEFAULT_OPENGL_WINDOW",
    "LD_LIBRARY_PATH",
)
BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
"""The environment of bubblewrap itself."""


def command_of(private: Path, readable: Sequence[Path], host: Mapping[str, str]) -> list[str]:
    """The command that becomes bubblewrap; what is not named here does not exist inside.

    `_inside` must run in it before any code of a learner's.
    """
    settings = json.loads((private / SETTINGS_NAME).read_text(encoding="utf-8"))
    command = [
        shutil.which("bwrap") or "bwrap",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
    ]
    command += [f"--unshare-{what}" for what in ("ipc", "pid", "net", "uts", "cgroup-try")]
    if settings["user"]:
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", *(["--disable-userns"] if _knows("--disable-userns") else [])]
    for folder in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/") / folder
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for name in SYSTEM_READABLE:
        command += ["--ro-bind-try", name, name]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for name, megabytes in ROOMS:
        size = ["--size", str(megabytes * 1_000_000)] if _knows("--size") else []
        command += ["--perms", "1777", *size, "--tmpfs", name]
    # After the empty rooms: the environment, the kit or the data may live below them.
    shown = {path: str(path) for path in (*_python_folders(), *_data_folders(host), *readable)}
    shown |= {Path(folder): f"{GIVEN}/{name}" for name, folder in settings["caches"].items()}
    shown |= {private / WORK: f"{GIVEN}/{WORK}", private / "kernel.json": CONNECTION}
    command += _open_ways(Path(SOCKETS), *map(Path, shown.values()))
    for path, inside in shown.items():
        command += ["--ro-bind-try", str(path), inside]
    command += ["--bind", str(private / "s"), SOCKETS]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME]
    for name, value in environment_of(host, HOME).items():
        command += ["--setenv", name, value]
    return command


def environment_of(host: Mapping[str, str], home: str) -> dict[str, str]:
    """What the kernel's environment holds: no token, no key, no name of the host's."""
    python = Path(sys.executable).parent
    own = {
        "HOME": home,
        "USER": "learner",
        "LOGNAME": "learner",
        "PATH": os.pathsep.join([str(python), "/usr/bin", "/bin"]),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_CACHE_DIR": f"{home}/numba",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYVISTA_OFF_SCREEN": "true",
        "PYVISTA_JUPYTER_BACKEND": "static",
        "IPYTHONDIR": f"{home}/.ipython",
    }
    return own | {name: host[name] for name in PASSED_ON if name in host}


@lru_cache
def _knows(option: str) -> bool:
    """Whether this bubblewrap has an option of its later versions, 0.7 and 0.8."""
    told = subprocess.run(
        [shutil.which("bwrap") or "bwrap", "--help"], capture_output=True, text=True, check=False
    )
    return option in told.stdout + told.stderr


def _open_ways(*paths: Path) -> list[str]:
    """The folders above `paths`; bubblewrap's own would be closed to a kernel that has another user."""
    above = {parent for path in paths for parent in path.parents if parent != Path("/")}
    return [word for path in sorted(above) for word in ("--perms", "0755", "--dir", str(path))]


def _python_folders() -> list[Path]:
    """The interpreter, its environment and the kit; the interpreter may live in somebody's home."""
    kit = Path(__file__).resolve().parents[2]
    found = [Path(sys.base_prefix), Path(sys.base_prefix).resolve(), Path(sys.prefix), kit]
    return [path for path in found if path != Path("/usr") and path != Path("/")]


def _data_folders(host: Mapping[str, str]) -> list[Path]:
    """Data sets and recordings where `navkit.datasets` looks for them: learners have the same."""
    checkout = Path(__file__).resolve().parents[3]
    sets = Path(host.get("NAVKIT_DATASETS", checkout / "datasets"))
    recordings = Path(host.get("NAVKIT_DATA", checkout.parent / "shared" / "data"))
    return [sets, sets.resolve(), recordings, recordings.resolve()]
