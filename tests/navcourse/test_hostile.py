"""Hostile submissions in a class with honest ones: they gain nothing and hurt nobody."""

import contextlib
import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest

from navcourse.grading import pipeline, sandbox
from navcourse.grading.run import autograde, collect, release, report
from navcourse.grading.sandbox import sandbox_available
from navcourse.grading.settings import Course
from navkit import checking

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("hostile_submissions", HERE / "hostile_submissions.py")
cases = sys.modules["hostile_submissions"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)
ASSIGNMENT = "half_day"
LESSON = "sample_lesson"
LONG = bool(os.environ.get("NAVKIT_LONG"))
TRIED = [hostile for hostile in cases.HOSTILE if LONG or not hostile.long]
TALKATIVE = ("prints", "shouts", "displays", "garbage", "unsays")
HONEST = ("ada", "zoe")  # graded first and last
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sandbox_available(), reason="bubblewrap is missing here, or may not make a namespace"
    ),
]


@dataclass(frozen=True)
class Class:
    """A class after grading, and what must be empty: files changed, who called, what still runs."""

    root: Path
    report: object
    changed: set
    callers: list
    left: list


def hand_in(folder: Path, released: Path, student: str, double_mm: str, centre_of: str) -> None:
    notebook = nbformat.read(released, 4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = {"double_mm": double_mm, "centre_of": centre_of}.get(name, cell.source)
    (folder / student).mkdir()
    nbformat.write(notebook, folder / student / f"{LESSON}.ipynb")
    (folder / student / "own.txt").write_text(student, encoding="utf-8")


def digests(*folders: Path) -> dict[Path, str]:
    files = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    from navcourse.lesson import read_lesson
    from navcourse.render import render, write_notebook

    top = tmp_path_factory.mktemp("hostile")
    for name in ("checks", "handed_in", "course"):
        (top / name).mkdir()
    (top / "checks" / f"{LESSON}.py").write_text(
        (HERE / "sample_checks.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), top / "source.ipynb")
    root, secret = top / "course", uuid.uuid4().hex
    course = Course(root, top / "checks", "autumn", require_sandbox=True, timeout_s=12)
    released = release(course, ASSIGNMENT, {LESSON: top / "source.ipynb"})[LESSON]
    with contextlib.ExitStack() as listening, pytest.MonkeyPatch.context() as patch:
        tcp = listening.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = listening.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{secret}")
        named = listening.enter_context(socket.socket(socket.AF_UNIX))
        os.chdir(top)  # the names of unix sockets are short
        named.bind("listening")
        for one in (tcp, abstract, named):
            one.listen()
            one.setblocking(False)
        known = f"ROOT, PORT, SECRET = {str(root)!r}, {tcp.getsockname()[1]}, {secret!r}\n{cases.START}"
        for student in HONEST:
            hand_in(top / "handed_in", released, student, cases.HONEST_DOUBLE, cases.HONEST_CENTRE)
        for hostile in TRIED:
            hand_in(
                top / "handed_in", released, hostile.student, known + hostile.double_mm, hostile.centre_of
            )
        collect(course, ASSIGNMENT, top / "handed_in")
        patch.setenv("NAVCOURSE_TEST_SECRET", secret)
        safe = [root / "source", root / "release", root / "submitted", top / "checks", top / "handed_in"]
        safe += [root / "cache", Path(checking.__file__), Path(np.__file__)]
        before = digests(*safe)
        autograde(course, ASSIGNMENT)
        callers = [one for one in (tcp, abstract, named) if called(one)]
        left = [p.pid for p in psutil.process_iter() if secret in " ".join(words_of(p))]
        after = digests(*safe)
        changed = {path for path in before if after.get(path) != before[path]}
    return Class(root, report(course, ASSIGNMENT), changed, callers, left)


def called(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def words_of(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def outputs_of(root: Path, student: str) -> str:
    notebook = nbformat.read(root / "autograded" / student / ASSIGNMENT / f"{LESSON}.ipynb", 4)
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return "\n".join(f"{o.get('text', '')}{o.get('evalue', '')}" for o in outputs)


def test_the_honest_have_all_points(graded):
    rows = {row.student: row for row in graded.report.rows}
    for student in HONEST:
        assert (dict(rows[student].points), rows[student].status) == (
            {"double_mm": 2.0, "centre_of": 3.0, "answer_what_moves": 0.0},
            "graded",
        )
    assert len(rows) == len(TRIED) + len(HONEST)


def test_no_one_else_was_hurt(graded):
    assert graded.changed == set()
    assert graded.callers == []
    assert graded.left == []


@pytest.mark.parametrize("hostile", TRIED, ids=[h.student for h in TRIED])
def test_a_hostile_submission_gains_nothing(graded, hostile):
    if hostile.student in TALKATIVE and not hasattr(pipeline, "MOST_OUTPUT"):
        pytest.skip("the pipeline keeps whatever a kernel says")
    kept = [
        p for name in ("executed", "autograded") for p in (graded.root / name / hostile.student).rglob("*")
    ]
    assert sum(path.stat().st_size for path in kept) < 80e6
    row = next(row for row in graded.report.rows if row.student == hostile.student)
    text = outputs_of(graded.root, hostile.student)
    assert "HOLE" not in text, [line for line in text.splitlines() if "HOLE" in line]
    assert (row.points["double_mm"], row.points["centre_of"]) == hostile.points, text[-3000:]
    assert row.status.startswith(hostile.status), row.status
    assert hostile.says in text
    if hostile.status == "graded":
        assert "TRIED" in text
        assert "Hidden checks: 0 of 2 points\n✗ " in text  # with a reason


@pytest.mark.parametrize("way", ["own user", "user namespace"])
def test_however_the_sandbox_is_made_there_is_no_way_out(tmp_path, monkeypatch, way):
    """The same without a kernel, so that a grader who is root tries the ordinary user's sandbox, too."""
    if way == "own user" and os.getuid():
        pytest.skip("only root can give a kernel a user of its own")
    secret, root = uuid.uuid4().hex, tmp_path / "course"
    for path in (root / "source" / "a.ipynb", root / "gradebook.db", tmp_path / "private" / "nothing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    private = tmp_path / "private"
    monkeypatch.setattr(sandbox, "_way", lambda: way)
    sandbox.write_settings(private, use_bwrap=True)
    settings = json.loads((private / "sandbox.json").read_text(encoding="utf-8"))
    (private / "kernel.json").write_text('{"ip": "/k"}', encoding="utf-8")
    sandbox.hand_over(private, settings["user"])
    code = f"import navkit.checking\nimport numpy as np\nROOT, PORT, SECRET = {str(root)!r}, 9, {secret!r}\n"
    prepare = f"from navcourse.grading import _inside\n_inside.prepare({settings['user']}, 200)\n"
    looks = (
        prepare + code + cases.START + cases.LOOKS + (cases.FORKS if way == "own user" or os.getuid() else "")
    )
    command = [*sandbox._bwrap(private, [], {}), sys.executable, "-P", "-c", looks + "print('TRIED')"]
    done = subprocess.run(
        command, env=sandbox.BARE, capture_output=True, text=True, preexec_fn=lambda: sandbox._limit(6000, 60)
    )
    assert "HOLE" not in done.stdout, done.stdout
    assert done.stdout.endswith("TRIED\n"), done.stderr
    assert list((private / "s").iterdir()) == []


def test_bubblewraps_own_environment_tells_nothing(tmp_path, monkeypatch):
    """Where kernel and grader are one user, the kernel can read it in /proc/1."""
    monkeypatch.setenv("NAVCOURSE_TEST_SECRET", "token")
    sandbox.write_settings(tmp_path, use_bwrap=True)
    (tmp_path / "kernel.json").write_text('{"ip": "/k"}', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-P", "-m", "navcourse.grading.sandbox", str(tmp_path / "kernel.json")]
    with subprocess.Popen(command, cwd=tmp_path / "empty", stdin=subprocess.DEVNULL) as process:
        seen = psutil.Process(process.pid)
        try:
            while seen.name() != "bwrap" or not seen.environ():
                assert process.poll() is None
                time.sleep(0.01)
            assert set(seen.environ()) == {"PATH"}
        finally:
            process.kill()
