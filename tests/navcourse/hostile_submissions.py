"""What a hostile submission may try, each bounded in itself.

None starts more than 300 processes, writes more than 1 GB, leaves the loopback interface, or goes on for
more than 20 s: a hole in the sandbox costs a test and not the machine. Code that succeeds at something
prints ``HOLE`` and what; code that came to its end prints ``TRIED``.
"""

from dataclasses import dataclass

HONEST_DOUBLE = "def double_mm(length_mm):\n    return np.asarray(length_mm) + np.asarray(length_mm)\n"
HONEST_CENTRE = (
    "def centre_of(points):\n    c = np.average(points, axis=0)\n"
    "    return c, float(max(np.linalg.norm(p - c) for p in points))\n"
)
NOTHING = "def double_mm(length_mm):\n    return 0.0\n\nprint('TRIED')\n"
ENDS = "needs a human: sample_lesson: the notebook's process ended"


@dataclass(frozen=True)
class Hostile:
    """One submission: code for its first exercise (2 points) and its second (3 points)."""

    student: str
    tries: str
    double_mm: str
    centre_of: str = HONEST_CENTRE
    points: tuple[float, float] = (0.0, 3.0)  # what honest answers in it earn
    status: str = "graded"
    says: str = ""  # a reason that the learner reads
    long: bool = False


# ROOT, PORT and SECRET are put before this by the test.
START = """
import contextlib, glob, os, pathlib, signal, socket, sqlite3, subprocess, sys, threading, time
ERRORS = (OSError, ValueError, MemoryError, RuntimeError, sqlite3.Error, subprocess.SubprocessError)

def hole(*what):
    print("HOLE", *what)

def attempt(action, *args):
    try:
        return action(*args)
    except ERRORS:
        return None
"""

READS = """
names = ["gradebook.db", "source", "submitted", "release", "executed", "judged", "notes", "grading.log"]
places = [ROOT, "..", "../..", "../../source"]
places += glob.glob("/proc/[0-9]*/root" + ROOT) + glob.glob("/proc/[0-9]*/cwd/..")
for place in places:
    for name in names:
        if attempt(os.stat, os.path.join(place, name)):
            hole("sees", place, name)
for folder, folders, files in os.walk("/"):
    known = ("/proc", "/usr", "/etc", sys.prefix, sys.base_prefix, os.environ["PYTHONPATH"], "/dev")
    folders[:] = [f for f in folders if not os.path.join(folder, f).startswith(known)]
    for name in files:
        if name.endswith((".ipynb", ".db")) or "check" in name or name.startswith("id_"):
            hole("finds", folder, name)
for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/task/*/environ")]:
    if SECRET in (attempt(pathlib.Path(path).read_bytes) or b"").decode(errors="replace"):
        hole("reads the environment", path)
if SECRET in str(os.environ) or "SSH_AUTH_SOCK" in os.environ:
    hole("has the grader's environment")
for path in glob.glob("/proc/[0-9]*/fd/*"):
    target = attempt(os.readlink, path) or ""
    if ROOT in target or target.startswith("/dev/pts"):
        hole("has open", path, target)
if pathlib.Path("/proc/1/comm").read_text() != "bwrap\\n":
    hole("sees the processes of others")
for pid in range(1, 40):
    if not os.path.exists(f"/proc/self/task/{pid}") and attempt(os.open, f"/proc/{pid}/mem", os.O_RDONLY):
        hole("reads the memory of", pid)
for place in ("~/.ssh", "~root/.ssh", "/etc/shadow", "/sys/class", "/var/log"):
    if attempt(os.stat, os.path.expanduser(place)):
        hole("sees", place)
"""

WRITES = """
def overwrite(path):
    with open(path, "r+b") as file:
        file.write(b"bad")

def mark_up():
    with contextlib.closing(sqlite3.connect(ROOT + "/gradebook.db", timeout=1)) as book:
        book.execute("UPDATE grade SET auto_score = max_score_gradecell")
        book.commit()
        return True

if attempt(mark_up):
    hole("writes the gradebook")
packages = [np.__file__, os.__file__, sys.executable]
packages += [module.__file__ for name, module in sys.modules.items() if "navkit" in name]
caches = glob.glob("/run/given/**/*.*", recursive=True)
compiled = glob.glob(os.environ["NUMBA_CACHE_DIR"] + "/**/*.*", recursive=True)
linked = [path for path in compiled if os.path.islink(path)]
others = glob.glob(ROOT + "/submitted/*/*/*") + glob.glob("/proc/*/root" + ROOT + "/*")
for path in [*packages, *caches, *linked, *others, "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]:
    if path and attempt(lambda: overwrite(path) or True):
        hole("writes", path)
sockets = [p for p in glob.glob("/run/*") + glob.glob("/tmp/*/s") if os.path.isdir(p)]
libraries = os.path.dirname(np.__file__)
for folder in ["/", "/run", "/dev", "/etc", "/usr/lib", "/home", ROOT, libraries, *sockets]:
    if attempt(lambda: pathlib.Path(folder, "planted").write_text("x")):
        hole("writes into", folder)
    if attempt(lambda: os.symlink(ROOT + "/gradebook.db", folder + "/link") or True):
        hole("plants a link in", folder)
    if attempt(lambda: os.mkdir(folder + "/more") or True):
        hole("makes a folder in", folder)
# In its own folder it may: nothing follows these links on the way out.
for name in ("sample_lesson.ipynb", "out.txt", "kernel.json"):
    attempt(os.symlink, ROOT + "/gradebook.db", name)
attempt(os.chmod, os.environ["HOME"], 0)
attempt(os.chmod, os.environ["HOME"], 0o700)
"""

CONNECTS = """
named = ("\\0" + SECRET, ROOT + "/../listening", "/run/docker.sock", "/run/dbus/system_bus_socket")
for family, address in [(socket.AF_INET, ("127.0.0.1", PORT)), *((socket.AF_UNIX, name) for name in named)]:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(1)
        if attempt(lambda: one.connect(address) or True):
            hole("connects to", address)
if attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)):
    hole("opens a raw socket")
seen = attempt(pathlib.Path("/proc/net/unix").read_text) or ""
if SECRET in seen:
    hole("sees the sockets of others")
if [n for _, n in socket.if_nameindex() if n != "lo"]:
    hole("has a network")
"""

FORKS = """
started = []
try:
    for _ in range(300):
        started.append(os.posix_spawn("/bin/sleep", ["sleep", "15"], {}, setsid=True))
except OSError:
    print("stopped at", len(started))
if len(started) > 250:
    hole("starts", len(started), "processes")
for child in started:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""

STAYS = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [SECRET + "-stays", "-c", "import time; time.sleep(20)"])
    os._exit(0)
def go_on():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.001)
print("navcourse-answers::[]")
threading.Thread(target=go_on).start()
import atexit
atexit.register(time.sleep, 20)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""

FILLS = """
written = 0
for room in (".", "/tmp", "/dev/shm", *[p for p in glob.glob("/run/*") if os.path.isdir(p)]):
    here = 0
    for number in range(7):
        def more():
            global written, here
            with open(f"{room}/fill{number}", "wb") as file:
                for _ in range(100):
                    if written < 1_000_000_000:
                        written += file.write(bytes(1_000_000))
                        here += 1
        attempt(more)
    if here > 550:
        hole("writes", here, "MB into", room)
    print("wrote", here, "MB")
    for path in glob.glob(room + "/fill*"):
        os.remove(path)
own = [f for f in glob.glob("/proc/self/fd/*") if (attempt(os.readlink, f) or "").endswith("kernel.log")]
for path in own[:1]:
    attempt(lambda: [os.write(int(path.split("/")[-1]), bytes(1_000_000)) for _ in range(20)])
"""

ALLOCATES = """
import mmap
for what in (
    lambda: np.zeros(50_000_000_000, dtype=np.uint8), lambda: mmap.mmap(-1, 50_000_000_000),
    lambda: np.empty((2_500_000, 2_500)),
):
    if attempt(what) is not None:
        hole("has 50 GB")
if attempt(lambda: mmap.mmap(-1, 8_000_000_000)):
    hole("may ask for more than its share")
"""

LOOPS = """
def double_mm(length_mm):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass
    return 0.0
print("TRIED")
"""

WILL_NOT_STOP = """
def double_mm(length_mm):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            while time.monotonic() < end:
                pass
        except BaseException:
            pass
    return 0.0
print("TRIED")
"""

KILLS = """
for pid in (os.getppid(), 1, -1):
    attempt(os.kill, pid, signal.SIGKILL)
time.sleep(0.2)
sys.stdout.flush()
"""

PATCHES = """
import builtins, json, types
import navkit.checking
np.allclose = np.isclose = np.array_equal = np.all = lambda *a, **k: True
np.linalg.norm = lambda *a, **k: 0.0
np.asarray = np.array = lambda *a, **k: Yes(0)
navkit.checking.close = close = lambda *a, **k: None
navkit.checking.check = check = lambda *a, **k: lambda f: lambda *b: None
forged = types.ModuleType("navcourse.grading.probe")
forged.probe = lambda exercise, text, nonce="": print(f"\\nnavcourse-answers:{nonce}:[1.0, true]")
import navcourse.grading
sys.modules["navcourse.grading.probe"] = navcourse.grading.probe = forged
class Yes(float):
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __sub__ = __rsub__ = __abs__ = __mul__ = lambda self, *other: self
    __hash__ = float.__hash__
    __repr__ = lambda self: "2.0"
    __array_ufunc__ = lambda self, *a, **k: self
def double_mm(length_mm):
    return Yes(3)
print("TRIED")
"""

EQUALS = """
class Anything(np.ndarray):
    __eq__ = __le__ = __lt__ = __ge__ = lambda self, other: True
    __sub__ = __rsub__ = lambda self, other: np.zeros(3)
    __array_ufunc__ = lambda self, *a, **k: np.zeros(5)
    __array_function__ = lambda self, *a, **k: True
def double_mm(length_mm):
    return np.full(np.shape(length_mm), 1.0).view(Anything)
print("TRIED")
"""

REWRITES = (
    """
shell = get_ipython()
def forge(lines):
    text = "".join(lines)
    if "_navcourse_probe" not in text:
        return lines
    return ["import re\\n", f"text = {text!r}\\n",
            "nonce = re.findall(\\"'([0-9a-f]{32})'\\", text)[-1]\\n",
            "import navcourse.grading.codec as c, json\\n",
            "line = json.dumps([{'value': c.encode(3.0)}, {'value': c.encode(np.ones(5))}])\\n",
            "print(f'\\\\nnavcourse-answers:{nonce}:{line}')\\n", "print('FORGED')\\n"]
shell.input_transformers_cleanup.append(forge)
def look(info):
    if "_navcourse_probe" in info.raw_cell:
        for word in ("CheckFailed", "doubled", "likely", "rng", "seed", "autumn"):
            if word in info.raw_cell:
                print("HOLE the question tells", word)
shell.events.register("pre_run_cell", look)
for frame in (sys._getframe(n) for n in range(12)):
    if {"truth", "expected", "verify"} & set(frame.f_locals):
        hole("finds the truth in a frame")
"""
    + NOTHING
)

TALKS = (
    """
kernel = get_ipython().kernel
session, thread = kernel.session, kernel.iopub_thread
parent = kernel.get_parent("shell")
print("TRIED", flush=True)
def say(kind, content, parent=parent):
    session.send(thread, kind, content, parent=parent, ident=b"x")
say("status", {"execution_state": "idle"})
say("execute_reply", {"status": "ok", "execution_count": 1})
say("execute_result", {"data": {"text/plain": "2.0"}, "metadata": {}, "execution_count": 1})
say("stream", {"name": "stdout", "text": "navcourse-answers::[]"}, parent={})
say("display_data", {"data": {"text/plain": 3}, "metadata": 4, "transient": {"display_id": ["x"]}})
"""
    + NOTHING
)

GARBAGE = TALKS.replace("def double_mm", """
thread.send_multipart([b"garbage"])
thread.send_multipart([b"x", b"<IDS|MSG>", b"bad signature", b"{}", b"{}", b"{}", b"{}"])
time.sleep(0.5)
def double_mm""")  # fmt: skip

PRINTS = """
print("TRIED", flush=True)
line = "x" * 999_999 + "\\n"
for _ in range(200):
    sys.stdout.write(line)
    sys.stdout.flush()
"""

SHOUTS = """
print("TRIED", flush=True)
sys.stdout.write("x" * 900_000_000)
sys.stdout.flush()
"""

DISPLAYS = """
print("TRIED", flush=True)
from IPython.display import display, HTML
for _ in range(60):
    display(HTML("<script>location='http://127.0.0.1'</script>" + "y" * 5_000_000))
"""

HUGE = """
print("TRIED")
class Deep:
    def __repr__(self):
        return repr(self)
    def __array__(self, *a, **k):
        raise RecursionError
def double_mm(length_mm):
    if np.ndim(length_mm) == 0:
        return np.broadcast_to(0.0, (1_000_000, 1_000_000))
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep
"""

OBJECTS = """
print("TRIED")
class Late(Exception):
    def __str__(self):
        raise self
def double_mm(length_mm):
    if np.ndim(length_mm) == 0:
        return np.array([2.0, None], dtype=object)
    raise Late
"""

ESCAPES = """
import ctypes, fcntl, termios
libc = ctypes.CDLL(None, use_errno=True)
if attempt(lambda: libc.mount(b"none", b"/home/learner", b"tmpfs", 0, None) == 0):
    hole("mounts")
if attempt(lambda: libc.unshare(0x10020000) == 0):
    hole("makes a namespace of its own")
for flags in (0x10000011, 0x10020011):
    child = attempt(libc.syscall, {"x86_64": 56, "aarch64": 220}[os.uname().machine], flags, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child != -1:
        hole("starts a process in a namespace of its own")
if os.getuid() and attempt(lambda: os.setuid(0) or True):
    hole("becomes root")
if attempt(lambda: os.chroot("/home/learner") or True):
    hole("changes the root")
if attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20) or True):
    hole("raises its priority")
for number in range(3):
    if attempt(lambda: fcntl.ioctl(number, termios.TIOCSTI, b"x") or True):
        hole("types into the terminal")
if attempt(lambda: os.open("/dev/tty", os.O_RDWR)):
    hole("has the terminal")
if attempt(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)) or True):
    hole("makes a device")
if attempt(pathlib.Path("/proc/self/oom_score_adj").write_text, "0"):
    hole("will not be the first to go when memory runs out")
if pathlib.Path("/proc/self/oom_score_adj").read_text().strip() != "1000":
    hole("is not the first to go when memory runs out")
status = pathlib.Path("/proc/self/status").read_text()
if "CapEff:\\t0000000000000000" not in status or "NoNewPrivs:\\t1" not in status:
    hole("has capabilities")
"""

CRASHES = "print('TRIED', flush=True)\nimport ctypes\nctypes.string_at(0)\n"

UNSAYS = "import json\njson.dumps = lambda *a, **k: '[1.0]'\n"
UNSAID = "an error whose message cannot be printed"
LOST = {"points": (0.0, 0.0), "status": ENDS, "says": "a human will look at it"}

# As code for any Python, in the order in which a notebook tries them.
LOOKS = READS + WRITES + CONNECTS + ESCAPES + ALLOCATES
OUT = {"long": True}

HOSTILE = (
    Hostile("looks", "the five below, in one notebook", LOOKS + NOTHING),
    Hostile("reads", "source, gradebook, others, /proc, environments, open files", READS + NOTHING, **OUT),
    Hostile("writes", "gradebook, others' files, the kit, the cache, links", WRITES + NOTHING, **OUT),
    Hostile("connects", "TCP, unix and abstract sockets, raw sockets", CONNECTS + NOTHING, **OUT),
    Hostile("escapes", "mounts, namespaces, devices, terminal, capabilities", ESCAPES + NOTHING, **OUT),
    Hostile("allocates", "50 GB of memory", ALLOCATES + NOTHING, **OUT),
    Hostile("forks", "300 processes", FORKS + NOTHING),
    Hostile("stays", "a daemon, a thread, atexit: go on after the end", STAYS + NOTHING),
    Hostile("fills", "1 GB on disk", FILLS + NOTHING),
    Hostile("loops", "a function that never ends", LOOPS, says="is there a loop that never ends?"),
    Hostile("kills", "kill the parent, process 1 and everyone, then exit", KILLS + "os._exit(0)\n", **LOST),
    Hostile("patches", "numpy, navkit.checking and the probe itself", PATCHES, points=(0.0, 0.0)),
    Hostile("equals", "an array that equals everything", EQUALS),
    Hostile("rewrites", "the probe's own cell, forged answers with its nonce", REWRITES, points=(0.0, 0.0)),
    Hostile("prints", "200 MB of printed text", PRINTS + NOTHING),
    Hostile("shouts", "0.9 GB in one message", SHOUTS + NOTHING, **LOST, **OUT),
    Hostile("displays", "300 MB of HTML with scripts", DISPLAYS + NOTHING, **OUT),
    Hostile("objects", "object arrays, an error without words", OBJECTS, says=UNSAID, **OUT),
    Hostile("huge", "8 TB of zeros, a list 100000 deep", HUGE, says="MB of numbers", **OUT),
    Hostile("talks", "forged messages of the kernel", TALKS, **OUT),
    Hostile("garbage", "messages that are none", GARBAGE, **LOST, **OUT),
    Hostile("unsays", "json in the kernel itself", UNSAYS + NOTHING, **LOST, **OUT),
    Hostile("crashes", "a segmentation fault", CRASHES + NOTHING, **LOST, **OUT),
    Hostile("will_not_stop", "a loop that swallows interrupts", WILL_NOT_STOP, **LOST, **OUT),
)  # fmt: skip
