"""Kernels that start warm: forked from a process that has imported everything, into a sandbox of their own.

For each submission bubblewrap makes the same sandbox as for a cold kernel, with nothing but `cat` in it. A
child of the template enters its namespaces, as `nsenter` does, gives up every capability, and goes on where
a cold kernel begins, in `_inside`. The template never runs a learner's code and holds nothing but modules
that the lesson itself imports. The kernel keeps the end of the pipe that `cat` reads: when it ends, the
sandbox ends, and whatever else was started in it.

``python -P -m navcourse.grading._warm FD`` is the template. Linux only; elsewhere kernels start cold.
"""

import ast
import asyncio
import ctypes
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from navcourse.grading import _inside, sandbox

__all__ = ["Template", "WarmProvisioner", "enter", "modules_of", "started"]

WARM = ("navkit", "numpy", "scipy", "matplotlib", "numba", "SimpleITK", "pyvista")
ALWAYS = ("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger", "IPython.core.completerlib",
          "IPython.core.debugger", "IPython.extensions.storemagic", "navcourse.grading.probe")  # fmt: skip
NAMESPACES = ("mnt", "net", "ipc", "uts", "cgroup", "pid")
NS_GET_USERNS = 0xB701
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
START_S = 60.0


@dataclass(frozen=True)
class Template:
    """A process with the modules imported, waiting to be forked."""

    process: "subprocess.Popen[bytes]"
    channel: socket.socket
    folder: Path

    def end(self) -> None:
        """End it; kernels that run go on."""
        self.channel.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def started(modules: Sequence[str], folder: Path) -> Template | None:
    """A template with these modules, or None where there cannot be one.

    Parameters
    ----------
    folder : a new one below /tmp, which inside a sandbox can be written to as well; for its caches.
    """
    if not sys.platform.startswith("linux") or not sandbox.sandbox_available():
        return None
    for name in _inside.CACHES:
        (folder / name).mkdir(parents=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "navcourse.grading._warm", str(theirs.fileno())],
            env=sandbox._environment(os.environ, str(folder)) | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
            cwd="/",
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    template = Template(process, ours, folder)
    ours.settimeout(START_S)
    with suppress(OSError):
        ours.send(json.dumps(list(modules)).encode())
        if ours.recv(16) == b"ready":
            return template
    template.end()
    return None


def modules_of(notebooks: Sequence[Path]) -> list[str]:
    """What the cells of these notebooks import, as far as it is the kit and the libraries below it."""
    found: dict[str, None] = {}
    for path in notebooks:
        for cell in json.loads(path.read_bytes())["cells"]:
            if cell["cell_type"] == "code":
                with suppress(SyntaxError):  # a line for IPython
                    found |= dict.fromkeys(_imported("".join(cell["source"])))
    return [name for name in found if name.split(".")[0] in WARM]


class WarmProvisioner(LocalProvisioner):
    """Starts the kernel from a template; all else is Jupyter's."""

    def use(self, template: Template, private: Path) -> None:
        """Say from what and where the kernel starts; `private` holds the sandbox's settings."""
        self._template, self._private = template, private

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        self.process = _start_kernel(self._template, self._private, Path(kwargs["cwd"]))
        self.pid = self.process.pid
        last = Path(f"{self.connection_info['ip']}-{self.connection_info['hb_port']}")
        end = time.monotonic() + START_S
        while not last.exists() and self.process.poll() is None and time.monotonic() < end:
            await asyncio.sleep(0.002)  # sooner than the sockets' own next try
        return self.connection_info

    async def wait(self) -> int | None:
        return self.process.wait() if self.process else 0


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # a module or not


def _start_kernel(template: Template, private: Path, submission: Path) -> "subprocess.Popen[bytes]":
    """A sandbox with a kernel in it; the process returned lives as long as both.

    Raises
    ------
    OSError
        If the sandbox or the kernel could not be made.
    """
    settings = json.loads((private / sandbox.SETTINGS_NAME).read_text(encoding="utf-8"))
    sandbox._copy_submission(submission, private / _inside.WORK)
    sandbox.hand_over(private, settings["user"])
    told, tell = os.pipe()
    reading, kept = os.pipe()
    command = sandbox._bwrap(private, [Path(path) for path in settings["readable"]], os.environ)
    try:
        process = subprocess.Popen(
            [*command, "--info-fd", str(tell), "cat"],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[tell],
            env=sandbox.BARE,
        )
        os.close(tell)
        with os.fdopen(told, encoding="utf-8") as info:
            text = info.read()
        os.write(kept, b".")
        assert process.stdout is not None
        with process.stdout as said:
            running = said.read(1) == b"."  # by `cat`: everything is mounted
        if not running:
            process.wait()
            raise OSError(f"bubblewrap made no sandbox, and said {text!r}")
        request = {
            "pid": json.loads(text)["child-pid"],
            "log": str(private / sandbox.LOG_NAME),
            "limits": [settings["memory_mb"], settings["cpu_s"]],
            "user": settings["user"],
            "most_processes": sandbox.most_processes(settings["way"]),
        }
        socket.send_fds(template.channel, [json.dumps(request).encode()], [kept])
        answer = template.channel.recv(1024)
        if answer != b"started":
            process.kill()
            process.wait()
            raise OSError(f"the template forked no kernel: {answer.decode(errors='replace')}")
    finally:
        os.close(reading)
        os.close(kept)
    return process


# -- in the template -----------------------------------------------------------------------------


def main(fd: int) -> None:
    """Import, then fork a kernel for every request until the worker is gone."""
    channel = socket.socket(fileno=fd)
    for name in [*ALWAYS, *json.loads(channel.recv(65536))]:
        with suppress(Exception):  # the notebook will meet the same error, and tell
            importlib.import_module(name)
    _print_an_error()
    gc.collect()
    gc.freeze()
    # A thread does not survive a fork, but its locks do.
    channel.send(b"ready" if len(list(Path("/proc/self/task").iterdir())) == 1 else b"has threads")
    while True:
        message, kept, _, _ = socket.recv_fds(channel, 65536, 1)
        if not kept:  # the worker is gone
            return
        os.set_inheritable(kept[0], False)
        between = os.fork()
        if between == 0:
            _go_between(json.loads(message), kept[0])
        os.close(kept[0])
        _, status = os.waitpid(between, 0)
        channel.send(b"started" if status == 0 else b"it could not enter the sandbox")


def _print_an_error() -> None:
    """What IPython loads for its first traceback: most notebooks that are handed in have one."""
    from IPython.core.ultratb import AutoFormattedTB

    with suppress(Exception):
        try:
            raise ValueError
        except ValueError:
            AutoFormattedTB(mode="Context").structured_traceback(*sys.exc_info())


def _go_between(request: Mapping[str, Any], kept: int) -> None:
    """Enter the sandbox and leave a kernel in it; never returns."""
    try:
        nothing = os.open("/dev/null", os.O_RDONLY)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for target, source in enumerate((nothing, log, log)):
            os.dup2(source, target)
        sandbox._limit(*request["limits"])
        enter(request["pid"])
        if os.fork():  # only a child is inside the namespace of processes
            os._exit(0)
        _become_kernel(request, kept)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    os._exit(1)


def enter(pid: int) -> None:
    """Enter every namespace of a process in one of bubblewrap's sandboxes; of processes, for children.

    Raises
    ------
    OSError
        If one of them may not be entered.
    """
    import fcntl

    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/user", os.O_RDONLY)
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    rooms = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    # An ordinary user's bubblewrap sets up in one user namespace and runs in a second inside the first.
    outer = fcntl.ioctl(rooms[0], NS_GET_USERNS)
    first = [] if os.path.sameopenfile(outer, own) else [outer]
    last = [] if os.path.sameopenfile(outer, user) else [user]
    for door in [*first, *rooms, *last]:
        if libc.setns(door, 0):
            raise OSError(ctypes.get_errno(), "setns")


def _become_kernel(request: Mapping[str, Any], kept: int) -> None:
    if Path("/proc/1/comm").read_text(encoding="utf-8") != "bwrap\n":
        raise OSError("not in the sandbox")
    os.setsid()
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):  # beyond the last one it is refused, and that is fine
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    connection_file = _inside.prepare(request["user"], request["most_processes"])
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capabilities remain")
    del os.environ["PYDEVD_DISABLE_FILE_VALIDATION"]
    os.environ |= {"HOME": _inside.HOME, "IPYTHONDIR": f"{_inside.HOME}/.ipython"}
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # every kernel its own numbers
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = ["ipykernel_launcher", "-f", connection_file, "--HistoryManager.hist_file=:memory:"]
    IPKernelApp.launch_instance()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
