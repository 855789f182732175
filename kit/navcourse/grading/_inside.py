"""The last step before a learner's code, inside the sandbox: own copies, last limits, then the kernel.

``python -P -m navcourse.grading._inside USER MOST_PROCESSES`` runs in the kernel's own process, so it
costs no start of its own; a kernel that is forked calls `prepare` instead. Only the standard library is
imported before the kernel.
"""

import ctypes
import json
import os
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CACHES", "CONNECTION", "GIVEN", "HOME", "SOCKETS", "WORK", "become", "limit_processes", "main",
           "prepare", "refuse_calls", "write_only"]  # fmt: skip

GIVEN = "/run/given"
SOCKETS = "/run/sockets"
CONNECTION = "/run/kernel.json"
HOME = "/home/learner"
WORK = "work"
CACHES = {"numba": "NUMBA_CACHE_DIR", "matplotlib": "MPLCONFIGDIR"}
"""What a kernel may add to, and the variable that says where."""

# What no lesson needs and attacks on the operating system begin with: namespaces, mounts, other processes'
# memory, keys, programs for the kernel. Numbers from linux/unistd.h: of one machine each, then of both.
_REFUSED = {
    "x86_64": (101, 155, 161, 165, 166, 248, 249, 250, 272, 298, 304, 308, 310, 311, 321, 323),
    "aarch64": (117, 41, 51, 40, 39, 217, 218, 219, 97, 241, 265, 268, 270, 271, 280, 282),
}
_REFUSED_BY_BOTH = (425, 428, 429, 430, 432, 442)
_ARCHITECTURE_AND_CLONE = {"x86_64": (0xC000003E, 56), "aarch64": (0xC00000B7, 220)}
_CLONE3, _NEW_USER = 435, 0x10000000
_ALLOW, _NOT_PERMITTED, _NOT_KNOWN = 0x7FFF0000, 0x00050001, 0x00050026
_PR_SET_SECCOMP, _FILTER = 22, 2

# Landlock, from linux/landlock.h: system calls and the rights that change something.
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _MAKE_SOCK, _TRUNCATE = 1 << 1, 1 << 9, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 14))  # remove, make, rename across folders


def main(user: int, most_processes: int) -> None:
    """Prepare, then be what ``python -m ipykernel_launcher`` is; no file keeps the history."""
    connection_file = prepare(user, most_processes)
    sys.argv = ["ipykernel_launcher", "-f", connection_file, "--HistoryManager.hist_file=:memory:"]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


def prepare(user: int, most_processes: int) -> str:
    """Give up what is left to give up, copy what is given, limit the rest; returns the connection file."""
    become(user)
    settle()
    limit_processes(most_processes)
    rooms = dict.fromkeys((HOME, "/tmp", "/dev/shm"), _CHANGES)
    write_only(rooms | {"/dev": _WRITE_FILE, SOCKETS: _MAKE_SOCK})
    refuse_calls()
    return own_connection()


def become(user: int) -> None:
    """A user without a name, and by that without a capability, if the grader is root; 0 changes nothing."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        # A change of user makes /proc/self root's, until the next exec; a kernel looks at its own.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def settle() -> None:
    """Own copies in the private home; of the caches, links to files that cannot be written."""
    homes = {WORK: Path(HOME) / WORK} | {name: Path(os.environ[key]) for name, key in CACHES.items()}
    for name, own in homes.items():
        own.mkdir(parents=True, exist_ok=True)
        given = Path(GIVEN) / name
        if given.is_dir():
            copy = shutil.copyfile if name == WORK else os.symlink
            shutil.copytree(given, own, dirs_exist_ok=True, copy_function=copy)
    os.chdir(homes[WORK])


def refuse_calls() -> bool:
    """Refuse some system calls from here on; False on a machine whose numbers are not known."""
    if os.uname().machine not in _REFUSED:
        return False
    architecture, clone = _ARCHITECTURE_AND_CLONE[os.uname().machine]

    def when(value: int, answer: int, test: int = 0x15) -> list[tuple[int, int, int, int]]:
        return [(test, 0, 1, value), (0x06, 0, 0, answer)]

    program = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, _NOT_KNOWN)]  # no calls of 32 bits
    program += [(0x20, 0, 0, 0), *when(0x40000000, _NOT_KNOWN, 0x35)]
    program += when(_CLONE3, _NOT_KNOWN)  # its flags cannot be seen; the C library takes the older one
    for call in (*_REFUSED[os.uname().machine], *_REFUSED_BY_BOTH):
        program += when(call, _NOT_PERMITTED)
    program += [(0x15, 0, 3, clone), (0x20, 0, 0, 16), *when(_NEW_USER, _NOT_PERMITTED, 0x45)]
    program += [(0x06, 0, 0, _ALLOW)]
    words = b"".join(struct.pack("=HBBI", *word) for word in program)
    text = ctypes.create_string_buffer(words, len(words))
    whole = struct.pack("@HP", len(program), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, whole, 0, 0) == 0)


def own_connection() -> str:
    """The connection file with the sockets where they are inside."""
    told = json.loads(Path(CONNECTION).read_text(encoding="utf-8"))
    told["ip"] = f"{SOCKETS}/{Path(told['ip']).name}"
    own = Path(HOME) / "kernel.json"
    own.write_text(json.dumps(told), encoding="utf-8")
    return str(own)


def limit_processes(most: int) -> None:
    """Processes and threads of this user from here on."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (value, value))


def write_only(allowed: Mapping[str, int]) -> bool:
    """Let this process and its children change files only below these folders; False without Landlock.

    What matters most is the folder of the sockets: it lies on the grader's disk, and nothing but
    sockets can be made in it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 2:
        return False
    truncate = _TRUNCATE if version >= 3 else 0
    handled = struct.pack("=Q", _CHANGES | truncate)
    rules = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    for folder, rights in allowed.items():
        place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        more = truncate if rights & _WRITE_FILE else 0
        libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", rights | more, place), 0)
        os.close(place)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # bubblewrap did; whoever came in otherwise did not
    restricted: int = libc.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return restricted == 0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
