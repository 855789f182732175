"""A kernel that sees its own submission and nothing else.

``python -P -m navcourse.grading.sandbox CONNECTION_FILE`` is what Jupyter starts. It sets limits,
copies the submission's folder without its notebooks, and becomes `bwrap` (bubblewrap), which
becomes the kernel: no network, no home, no course folder, sockets in the file system instead of
ports. Where there is no bubblewrap the limits and the copy remain, and the caller warns.

Only the standard library is imported here: this file runs once for every kernel.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

__all__ = ["KERNEL_NAME", "copy_compiled", "kernelspec", "main", "sandbox_available", "write_settings"]

KERNEL_NAME = "navcourse_sandbox"
SETTINGS_NAME = "sandbox.json"
LOG_NAME = "kernel.log"
HOME = "/home/learner"
WORK = "work"
CACHES = ("numba", "matplotlib")
SYSTEM_READABLE = ("/usr", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/fonts",
                   "/etc/alternatives", "/etc/localtime")  # fmt: skip
PASSED_ON = (
    "NAVKIT_DATA",
    "NAVKIT_DATASETS",
    "PYVISTA_OFF_SCREEN",
    "VTK_DEFAULT_OPENGL_WINDOW",
    "LD_LIBRARY_PATH",
)


@lru_cache(maxsize=1)
def sandbox_available() -> bool:
    """Whether bubblewrap is there and may make a namespace here; tried once in a child process."""
    if shutil.which("bwrap") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="nc-") as folder:
        command = [*_bwrap(Path(folder), (), {}), sys.executable, "-P", "-c", "import encodings"]
        write_settings(Path(folder), use_bwrap=True)
        try:
            done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        except (OSError, subprocess.SubprocessError):
            return False
    return done.returncode == 0


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
        fonts), which the kernel gets as copies; without them every kernel makes its own.
    """
    for name in ("s", WORK, *CACHES):
        (private / name).mkdir()
    for name, folder in (caches or {}).items():
        if folder.is_dir():
            shutil.copytree(folder, private / name, dirs_exist_ok=True)
    settings = {
        "bwrap": use_bwrap,
        "readable": [str(path.resolve()) for path in readable],
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
    for index in kit.rglob("__pycache__/*.nbi"):
        source = str(index.parents[1])
        folder = target / f"{index.parents[1].name}_{hashlib.sha1(source.encode()).hexdigest()}"
        folder.mkdir(parents=True, exist_ok=True)
        for path in index.parent.glob(index.stem.split("-")[0] + "*.nb*"):
            shutil.copy2(path, folder / path.name)
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
    _copy_submission(Path.cwd(), private / WORK)
    _limit(settings["memory_mb"], settings["cpu_s"])
    kernel = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", connection_file]
    kernel += ["--HistoryManager.hist_file=:memory:"]
    if settings["bwrap"]:
        readable = [Path(p) for p in settings["readable"]]
        command = [*_bwrap(private, readable, os.environ), *kernel]
        os.execvp(command[0], command)
    os.chdir(private / WORK)
    os.execve(sys.executable, kernel, _environment(os.environ, str(private)))


def _copy_submission(source: Path, target: Path) -> None:
    """The submission's files without the notebooks (they hold checks) and without links out of it."""
    hidden = shutil.ignore_patterns("*.ipynb", "timestamp.txt", "submission_secret.txt")

    def ignored(folder: str, names: list[str]) -> set[str]:
        links = {name for name in names if (Path(folder) / name).is_symlink()}
        return set(hidden(folder, names)) | links

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)


def _limit(memory_mb: int, cpu_s: int) -> None:
    """Memory, processor time, file size and processes of this process and all that follow it."""
    import resource

    megabyte = 1_000_000
    wanted = [
        (resource.RLIMIT_AS, memory_mb * megabyte),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 200 * megabyte),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, _threads_of_user() + 200),
    ]
    for which, value in wanted:
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (ValueError, OSError):  # macOS refuses some; the others still hold
            continue


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


def _environment(host: Mapping[str, str], home: str) -> dict[str, str]:
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


def _bwrap(private: Path, readable: Sequence[Path], host: Mapping[str, str]) -> list[str]:
    """The command that becomes bubblewrap; what is not named here does not exist inside."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    for folder in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/") / folder
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for name in SYSTEM_READABLE:
        command += ["--ro-bind-try", name, name]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home"]
    # After the empty /home and /tmp: the environment, the kit or the data may live below them.
    for path in dict.fromkeys([*_python_folders(), *readable, *_data_folders(host)]):
        command += ["--ro-bind-try", str(path), str(path)]
    for name in (WORK, *CACHES):
        command += ["--bind", str(private / name), f"{HOME}/{name}"]
    command += ["--bind", str(private / "s"), str(private / "s")]
    command += [
        "--ro-bind-try",
        str(private / "kernel.json"),
        str(private / "kernel.json"),
        "--chdir",
        f"{HOME}/{WORK}",
    ]
    for name, value in _environment(host, HOME).items():
        command += ["--setenv", name, value]
    return command


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


if __name__ == "__main__":
    main(sys.argv[1])
