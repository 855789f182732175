"""Several notebooks at a time, a run cut short and gone on with: always the same marks."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from nbgrader.utils import capture_log
from traitlets.config import Config

from navcourse.grading import _jobs, _resume, _warm, _worker, run
from navcourse.grading._executed import Asked, Executed, load, save
from navcourse.grading.sandbox import sandbox_available
from navcourse.grading.settings import STUB, Course, GradingError

HERE = Path(__file__).parent
ASSIGNMENT, LESSON = "half_day", "sample_lesson"
LONG = bool(os.environ.get("NAVKIT_LONG"))  # for -k killed: a class of 30, killed at ten moments

DOUBLE = "def double_mm(length_mm):\n    return np.asarray(length_mm) + np.asarray(length_mm)\n"
CENTRE = (
    "def centre_of(points):\n    c = np.average(points, axis=0)\n"
    "    return c, float(max(np.linalg.norm(p - c) for p in points))\n"
)
ANSWERS = {
    "ada": {"double_mm": DOUBLE, "centre_of": CENTRE},
    "bo": {"double_mm": "import sys\nprint('words', file=sys.stderr)\n" + DOUBLE},
    "cy": {"double_mm": "def double_mm(length_mm):\n    return length_mm\n", "centre_of": CENTRE},
    "dee": {},
    "eli": {"double_mm": DOUBLE, "centre_of": "def centre_of(points):\n    import os\n    os._exit(3)\n"},
    "fay": {"double_mm": "print(1 / 0)\n", "centre_of": CENTRE.replace("float(", "2 * float(")},
}
POINTS = {"ada": 5.0, "bo": 2.0, "cy": 3.0, "dee": 0.0, "eli": 2.0, "fay": 0.0}


def answered(released, **answers):
    notebook = nbformat.read(released, 4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in answers:
            cell.source = answers[name]
    return notebook


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no sandbox here, or a run that was cut short
        yield


def course_at(top):
    return Course(top / "course", top / "checks", "autumn", timeout_s=30)


def build(top, answers):
    """A class that has handed in, collected but not graded."""
    from navcourse.lesson import read_lesson
    from navcourse.render import render, write_notebook

    for name in ("checks", "handed_in", "course"):
        (top / name).mkdir()
    (top / "checks" / f"{LESSON}.py").write_text(
        (HERE / "sample_checks.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), top / "source.ipynb")
    released = run.release(course_at(top), ASSIGNMENT, {LESSON: top / "source.ipynb"})
    for student, own in answers.items():
        nbformat.write(answered(released[LESSON], **own), top / "handed_in" / f"{student}_{LESSON}.ipynb")
    assert run.collect(course_at(top), ASSIGNMENT, top / "handed_in") == []
    run._warm_caches(course_at(top), ASSIGNMENT)  # once, for every copy


@pytest.fixture(scope="module")
def klass(tmp_path_factory):
    top = tmp_path_factory.mktemp("class")
    build(top, {f"{who}{k or ''}": own for k in range(5 if LONG else 1) for who, own in ANSWERS.items()})
    return top


@pytest.fixture(scope="module")
def undisturbed(klass, tmp_path_factory):
    """The class graded with two workers: what every other way must agree with."""
    top = tmp_path_factory.mktemp("undisturbed") / "top"
    shutil.copytree(klass, top)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert run.autograde(course_at(top), ASSIGNMENT, workers=2) == {}
    return top


@pytest.fixture
def anew(klass, tmp_path):
    """A copy of the class that nobody graded yet."""
    shutil.copytree(klass, tmp_path / "top")
    return tmp_path / "top"


def rows_of(top):
    """Every row about submissions in the gradebook, and every cell written, without ids and times."""
    from nbgrader.api import Gradebook

    rows = {}
    with Gradebook(f"sqlite:///{top / 'course' / 'gradebook.db'}", "navigation") as book:
        for submission in book.assignment_submissions(ASSIGNMENT):
            who = submission.student.id
            rows[who] = (submission.score, submission.max_score, submission.needs_manual_grade)
            for notebook in submission.notebooks:
                for g in notebook.grades:
                    rows[who, notebook.name, g.name] = (
                        g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade, g.score,
                    )  # fmt: skip
                for c in notebook.comments:
                    rows[who, notebook.name, c.name, "comment"] = (c.auto_comment, c.manual_comment)
    for path in (top / "course" / "autograded").glob(f"*/{ASSIGNMENT}/*.ipynb"):
        cells = nbformat.read(path, 4).cells
        rows[path.parents[1].name, "cells"] = [
            (c.cell_type, c.source, c.get("outputs"), c.get("execution_count")) for c in cells
        ]
    for path in (top / "course" / "judged").glob(f"*/{ASSIGNMENT}/*.json"):
        rows[path.parents[1].name, "judged"] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def assert_same(rows, others):
    assert rows.keys() == others.keys()
    for name, row in rows.items():
        assert others[name] == row, name


# ------------------------------------------------------------------------------- the same marks


@pytest.mark.slow
def test_the_marks_are_right_whoever_fails(undisturbed):
    rows = rows_of(undisturbed)
    assert {student: rows[student][0] for student in POINTS} == POINTS
    status = {row.student: row.status for row in run.report(course_at(undisturbed), ASSIGNMENT).rows}
    assert status.pop("eli").startswith("needs a human: sample_lesson: the notebook's process ended")
    assert set(status.values()) == {"graded"}
    assert len(rows) == 6 * (1 + 3 + 3 + 2)  # three marks, three comments, cells and verdicts


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_rows(anew, undisturbed, workers):
    seen = []
    course = Course(**vars(course_at(anew)) | {"progress": lambda *told: seen.append(told)})
    order = sorted(ANSWERS, reverse=True)
    assert run.autograde(course, ASSIGNMENT, students=order, workers=workers) == {}
    assert_same(rows_of(undisturbed), rows_of(anew))
    assert [done for _, done, _ in seen] == [1, 2, 3, 4, 5, 6, 6]


@pytest.mark.slow
def test_a_regrade_runs_nothing_and_a_changed_file_runs_alone(undisturbed, tmp_path, monkeypatch):
    shutil.copytree(undisturbed, top := tmp_path / "top")
    asked = []

    def counted(course, jobs, *, workers):
        asked.append(sorted(job["student"] for job in jobs))
        return _jobs.run_jobs(course, jobs, workers=workers)

    monkeypatch.setattr(_resume, "run_jobs", counted)
    before = rows_of(top)
    run.autograde(course_at(top), ASSIGNMENT)
    assert_same(before, rows_of(top))
    path = top / "course" / "submitted" / "dee" / ASSIGNMENT / f"{LESSON}.ipynb"
    nbformat.write(answered(path, double_mm=DOUBLE), path)
    (path.parent / "notes.csv").write_text("1,2", encoding="utf-8")
    run.autograde(course_at(top), ASSIGNMENT)
    after = rows_of(top)
    assert after["dee"][0] == 2.0
    assert_same(*({k: v for k, v in r.items() if "dee" not in k} for r in (before, after)))
    run.autograde(course_at(top), ASSIGNMENT, students=["cy", "ada"], rerun=True)
    assert_same(after, rows_of(top))
    other = Course(**vars(course_at(top)) | {"cohort": "spring"})  # other questions: everyone runs again
    monkeypatch.setattr(_resume, "run_jobs", lambda course, jobs, **_: asked.append(len(jobs)) or iter_of())
    run.autograde(other, ASSIGNMENT)
    assert asked == [[], ["dee"], ["ada", "cy"], 6]


def iter_of(*items):
    yield from items


@pytest.mark.slow
def test_plain_nbgrader_gives_the_same_marks_where_it_can(undisturbed, tmp_path, monkeypatch):
    """Plain nbgrader knows the visible checks only, each all or nothing, and gives 0 for words on stderr.

    So it is compared on learners who pass or fail visible and hidden checks alike, and are quiet.
    """
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore")  # plain nbgrader has many
    who = ["ada", "cy", "dee"]
    source = tmp_path / "source" / ASSIGNMENT / f"{LESSON}.ipynb"
    source.parent.mkdir(parents=True)
    shutil.copyfile(undisturbed / "source.ipynb", source)
    for student in who:
        shutil.copytree(undisturbed / "course" / "submitted" / student, tmp_path / "submitted" / student)
    c = Config()
    c.CourseDirectory.root, c.CourseDirectory.course_id = str(tmp_path), "navigation"
    c.ClearSolutions.code_stub = {"python": STUB}
    with tempfile.TemporaryDirectory() as sockets:  # of a short name, as the system wants it
        c.KernelManager.transport, c.KernelManager.ip = "ipc", f"{sockets}/k"
        api = NbGraderAPI(config=c)
        assert api.generate_assignment(ASSIGNMENT, create=True)["success"]
        for student in who:
            assert api.autograde(ASSIGNMENT, student)["success"]
    plain = run.scores_of(api, ASSIGNMENT)
    with run.session(course_at(undisturbed)) as ours:
        got = run.scores_of(ours, ASSIGNMENT)
    assert {student: got[student] for student in who} == plain
    assert plain["cy"]["check_centre_of"] == 3.0


# ---------------------------------------------------------------------- cut short and gone on with

SCRIPT = """
import sys, warnings
from pathlib import Path
from navcourse.grading import run
from navcourse.grading.settings import Course
warnings.simplefilter("ignore")
top = Path(sys.argv[1])
from navcourse.grading import _resume
print("go", flush=True)
run.grade_class(
    top / "course", "half_day", {"sample_lesson": top / "source.ipynb"}, top / "handed_in",
    checks_folder=top / "checks", cohort="autumn", timeout_s=30, workers=2,
    progress=lambda step, done, total: print(step, done, flush=True),
)
"""


@contextmanager
def grading(top):
    """The class graded in a process of its own, as from a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(top)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "go\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def family(process):
    """All its descendants: workers, templates, sandboxes, kernels."""
    return psutil.Process(process.pid).children(recursive=True)


def template_homes(process):
    """The folders of the warm processes that run now."""
    homes = []
    for child in family(process):
        with suppress(psutil.Error):
            if "navcourse.grading._warm" in child.cmdline():
                homes.append(child.environ()["HOME"])
    return [home for home in homes if Path(home).parent.name.startswith("nw-")]


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no process groups as on Unix")
def test_killed_at_random_moments_and_resumed_gives_the_same_gradebook(anew, undisturbed, rng):
    moments = 10 if LONG else 2
    begin = time.monotonic()
    with grading(anew) as process:
        while not process.stdout.readline().startswith("autograde 1"):
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGKILL)  # surely in the middle
    some = time.monotonic() - begin
    for delay in rng.uniform(0.0, 1.2 * some, size=moments):
        with grading(anew) as process:
            time.sleep(delay)
            born = family(process) if process.poll() is None else []
            with suppress(ProcessLookupError):  # it was quick, and is over
                os.killpg(process.pid, signal.SIGKILL)
        assert_gone(born)
    with grading(anew) as process:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert_same(rows_of(undisturbed), rows_of(anew))
    assert list((anew / "course").rglob("*.part")) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no process groups as on Unix")
def test_control_c_ends_everything_that_was_started(anew):
    with grading(anew) as process:
        end = time.monotonic() + 60
        while not (homes := template_homes(process)) and sandbox_available():
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.5)
        born = family(process)
        assert len(born) >= 2
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert_gone(born)
    assert [home for home in homes if Path(home).exists()] == []


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, ValueError])
def test_control_c_while_nbgrader_works_is_no_failure_of_the_learners(tmp_path, stopped):
    def start():
        raise stopped

    app = SimpleNamespace(log=logging.getLogger("app"), start=start)
    api = SimpleNamespace(config=Config(), autograde=lambda *who, **how: capture_log(app))
    course = Course(tmp_path, tmp_path / "checks", "c")
    if stopped is ValueError:
        assert run._one_through_nbgrader(api, course, "a", "ann", {}) == ["ValueError"]
    else:
        with pytest.raises(KeyboardInterrupt):
            run._one_through_nbgrader(api, course, "a", "ann", {})


def test_who_was_finished_is_not_graded_again_unless_the_gradebook_differs(tmp_path):
    course = Course(tmp_path, tmp_path / "checks", "c")
    (tmp_path / "checks").mkdir()
    jobs = {"ann": [{"student": "ann", "assignment": "a", "notebook": "n", "key": "k"}]}
    judged = tmp_path / "judged" / "ann" / "a" / "n.json"
    judged.parent.mkdir(parents=True)
    judged.write_text(json.dumps({"tip": {"points": 1.5}}), encoding="utf-8")
    scores = {"ann": {"check_tip": 1.5, "answer": 0.0}}
    assert _resume.finished(course, "a", jobs, scores) == set()
    _resume.mark_finished(course, "a", "ann", {"n": "k"})
    assert _resume.finished(course, "a", jobs, scores) == {"ann"}
    assert _resume.finished(course, "a", jobs, {"ann": {"check_tip": 1.0}}) == set()
    assert _resume.finished(course, "a", jobs, {}) == set()
    assert _resume.finished(course, "a", {"ann": [jobs["ann"][0] | {"key": "other"}]}, scores) == set()
    (tmp_path / "checks" / "n.py").write_text("# a check that was changed", encoding="utf-8")
    assert _resume.finished(course, "a", jobs, scores) == set()


def test_a_result_that_was_cut_off_or_has_another_key_is_none(tmp_path):
    result = Executed([("d", [{"output_type": "stream", "name": "stdout", "text": "æ"}], 3)],
                      {"tip": Asked("line", "n"), "fit": Asked(instead="no")}, {"widgets": {}})  # fmt: skip
    path = tmp_path / "a" / "n.json"
    save(path, result, "key")
    assert load(path, "key") == result
    assert load(path, "other") is None
    path.write_text(path.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    assert load(path, "key") is None
    assert load(tmp_path / "none", "key") is None


# ------------------------------------------------------------------------- workers that die


FRAGILE = """
import json, sys, time
from pathlib import Path
sys.stdin.readline()
for line in sys.stdin:
    job = json.loads(line)
    tried = Path(sys.argv[1]) / job["notebook"]
    tried.write_text(tried.read_text() + "x" if tried.exists() else "x")
    if job["notebook"] == "deadly" or (job["notebook"] == "unlucky" and len(tried.read_text()) == 1):
        sys.exit(1)
    if job["notebook"] == "slow":
        time.sleep(60)
    print(json.dumps("no kernel" if job["notebook"] == "hopeless" else ""), flush=True)
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """Workers that do nothing but die, once or always, by the notebook's name."""

    def started(course):
        command = [sys.executable, "-c", FRAGILE, str(tmp_path)]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        _jobs._say(worker, {})
        return worker

    monkeypatch.setattr(_jobs, "_started", started)
    return lambda *names: _jobs.run_jobs(
        Course(tmp_path, tmp_path, "c"), [{"notebook": name} for name in names], workers=2
    )


def test_a_worker_that_dies_costs_one_more_try_and_nobody_else(fragile, tmp_path):
    told = {
        job["notebook"]: failure for job, failure in fragile("good", "deadly", "unlucky", "hopeless", "fine")
    }
    assert told == {"good": "", "deadly": _jobs.GONE, "unlucky": "", "hopeless": "no kernel", "fine": ""}
    tries = {name: len((tmp_path / name).read_text(encoding="utf-8")) for name in told}
    assert tries == {"good": 1, "deadly": 2, "unlucky": 2, "hopeless": 2, "fine": 1}


def test_closing_early_ends_the_workers(fragile):
    results = fragile("good", "slow", "slow")
    assert next(results)[1] == ""
    workers = [p for p in psutil.Process().children() if FRAGILE in p.cmdline()]
    assert workers
    for worker in workers:  # this one does not listen while it sleeps, so help it
        worker.kill()
    results.close()
    assert_gone(workers)


@pytest.mark.slow
def test_what_could_not_run_needs_a_human_and_runs_the_next_time(anew, undisturbed, monkeypatch):
    def failing(course, jobs, *, workers):
        good = [job for job in jobs if job["student"] != "ada"]
        yield from ((job, _jobs.GONE) for job in jobs if job["student"] == "ada")
        yield from _jobs.run_jobs(course, good, workers=workers)

    with monkeypatch.context() as patch:
        patch.setattr(_resume, "run_jobs", failing)
        failed = run.autograde(course_at(anew), ASSIGNMENT, students=["ada", "cy"])
    assert failed == {"ada": f"{LESSON}: {_jobs.GONE}"}
    row = next(row for row in run.report(course_at(anew), ASSIGNMENT).rows if row.student == "ada")
    assert (row.total, row.status) == (0.0, f"needs a human: {LESSON}: {_jobs.GONE}")
    assert run.autograde(course_at(anew), ASSIGNMENT) == {}
    assert_same(rows_of(undisturbed), rows_of(anew))


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(GradingError, match="expected one worker or more, got 0"):
        run.autograde(Course(tmp_path, tmp_path, "c"), "a", workers=0)


# ------------------------------------------------------------------------------ warm kernels

LOOK = """
import json, os, pathlib, resource, sys, socket
def status():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    wanted = ("Groups", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")
    return [line for line in lines if line.startswith(wanted)]
def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.errno
    return 0
own = {"numba", "matplotlib", *(p for p in os.listdir("/tmp") if p.startswith("nw-"))}  # its caches
names = set(os.environ) - {"NUMBA_CACHE_DIR", "MPLCONFIGDIR", "PWD"}
limits = [n for n in dir(resource) if n.startswith("RLIMIT_")]
places = ["/", "/home", "/home/learner", "/home/learner/work", "/run", "/run/given", "/usr", "/tmp"]
comms = {p.read_text().strip() for p in pathlib.Path("/proc").glob("[0-9]*/comm")}
print(json.dumps({
    "status": status(),
    "environment": {name: os.environ[name] for name in names},
    "limits": {n: resource.getrlimit(getattr(resource, n)) for n in limits},
    "places": {p: sorted(set(os.listdir(p)) - own) for p in places},
    "processes": sorted(c for c in comms if c != "cat" and "python" not in c),
    "argv": sys.argv[0].rsplit("/")[-1],
    "path": sys.path,
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "mounts": sorted(line.split()[4] for line in open("/proc/self/mountinfo")),
    "refused": {p: refused(p + "/x") for p in ["/", "/run", "/run/sockets", "/dev", "/tmp", "/home/learner"]},
    "main": [__name__, sys.modules["__main__"].__dict__ is globals()],
    "host": os.uname().nodename,
    "cwd": os.getcwd(),
    "oom": open("/proc/self/oom_score_adj").read(),
}, sort_keys=True))
PLOT
"""
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"


@pytest.fixture(scope="module")
def cold_and_warm(klass, tmp_path_factory):
    """The outputs of one notebook that looks around, plots and fails, from a cold and a warm kernel."""
    if not sandbox_available():
        pytest.skip("warm kernels are for sandboxes, and there is none here")
    top = tmp_path_factory.mktemp("warm") / "top"
    shutil.copytree(klass, top)
    course = course_at(top)
    source = course.root / "source" / ASSIGNMENT
    path = course.root / "submitted" / "ada" / ASSIGNMENT / f"{LESSON}.ipynb"
    (path.parent / "own.csv").write_text("1", encoding="utf-8")
    nbformat.write(answered(path, double_mm=DOUBLE + LOOK.replace("PLOT", PLOT)), path)
    job = {"student": "ada", "assignment": ASSIGNMENT, "notebook": LESSON, "key": "k"}
    found = []
    with _worker.desk(course) as at:
        modules = [*_warm.modules_of([source / f"{LESSON}.ipynb"]), "matplotlib.pyplot"]
        template = _warm.started(modules, at.folder / "warm")
        assert template
        for at.templates[source] in (None, template, template):
            _worker.run_job(at, job)
            assert at.templates[source] is (template if found else None)
            found.append(load(course.root / "executed" / "ada" / ASSIGNMENT / f"{LESSON}.json", "k"))
    return found


@pytest.mark.slow
def test_a_warm_kernel_gives_the_outputs_of_a_cold_one(cold_and_warm):
    cold, *warm = cold_and_warm
    kinds = {output["output_type"] for _, outputs, _ in cold.cells for output in outputs}
    assert kinds == {"stream", "display_data", "error"}
    for other in warm:
        for one, same in zip(cold.cells, other.cells, strict=True):
            assert one[:1] + one[2:] == same[:1] + same[2:]
            assert not_looked(one[1]) == not_looked(same[1])
        assert [told(a) for a in cold.answers.items()] == [told(a) for a in other.answers.items()]
        assert cold.metadata == other.metadata


@pytest.mark.slow
def test_a_warm_kernel_has_the_same_sandbox_around_it(cold_and_warm):
    cold, *warm = (looked(each) for each in cold_and_warm)
    assert cold["interfaces"] == ["lo"]
    assert "own.csv" in cold["places"]["/home/learner/work"]
    assert any(line.split() == ["CapEff:", "0" * 16] for line in cold["status"])
    for other in warm:
        for what in cold:
            assert cold[what] == other[what], what


def looked(executed):
    texts = [o.get("text", "") for _, outputs, _ in executed.cells for o in outputs]
    return json.loads(next(text for text in texts if '"limits"' in text))


def not_looked(outputs):
    return [output for output in outputs if '"limits"' not in output.get("text", "")]


def told(answer):
    exercise, asked = answer
    return exercise, asked.line.replace(asked.nonce, ""), asked.instead
