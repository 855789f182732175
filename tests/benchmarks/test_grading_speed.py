"""Grading a class of trivial submissions, and of a real lesson, against plain nbgrader.

Wall clock, whole processes with their imports. Where a cgroup can be made, `extra_info` has the processor
time of all processes together, kernels too, which other work on the machine changes less.

NAVKIT_CLASS is the number of submissions, 30 when not set.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

ROOT = Path(__file__).resolve().parents[2]
SIZE = int(os.environ.get("NAVKIT_CLASS", "30"))
LESSON = "trivial"
CHECK = """
from navcourse.grading.judge import Case, hidden
from navkit.checking import close

@hidden("double")
def double(rng):
    x = rng.uniform(1, 9, 5)
    yield Case("five numbers", (x,), lambda answer: close(answer, 2 * x, atol=1e-9, unit="", what="it"))
"""
PLAIN = """
import sys
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config
c = Config()
c.CourseDirectory.root, c.CourseDirectory.course_id = sys.argv[1], "navigation"
api = NbGraderAPI(config=c)
for student in sys.argv[2:]:
    assert api.autograde("a", student)["success"]
"""
OURS = """
import sys
from pathlib import Path
from navcourse.grading.run import autograde
from navcourse.grading.settings import Course
course = Course(Path(sys.argv[1]), Path(sys.argv[2]), "c", readable=(Path(sys.argv[3]),))
assert autograde(course, "a", workers=int(sys.argv[4])) == {}
"""
CPUACCT = Path("/sys/fs/cgroup/cpuacct")


def timed(benchmark, each, commands):
    """Run the commands at the same time, once; time and processor time for each submission."""
    group = CPUACCT / f"navcourse-{os.getpid()}-{time.monotonic_ns()}"
    with suppress(OSError):
        group.mkdir()
    joined = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"] if group.is_dir() else []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run():
        environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen(
                [*joined, *c], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for c in commands
        ]
        assert [process.wait() for process in running] == [0] * len(commands)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["load"] = os.getloadavg()[0]
    benchmark.extra_info["wall_s_each"] = benchmark.stats.stats.mean / each
    if group.is_dir():
        benchmark.extra_info["cpu_s_each"] = (
            int((group / "cpuacct.usage").read_text(encoding="utf-8")) / 1e9 / each
        )
        with suppress(OSError):  # somebody may still be ending
            group.rmdir()
    print("\n", benchmark.name, {k: round(v, 2) for k, v in benchmark.extra_info.items()})


def trivial():
    marks = {"schema_version": 3, "locked": False, "task": False}
    solution = v4.new_code_cell(
        "import numpy as np\n\ndef double(x):\n"
        "    ### BEGIN SOLUTION\n    return 2 * np.asarray(x)\n    ### END SOLUTION",
        metadata={"nbgrader": marks | {"grade_id": "double", "solution": True, "grade": False}},
    )
    check = v4.new_code_cell(
        "assert double(3) == 6",
        metadata={
            "nbgrader": marks
            | {"grade_id": "check_double", "solution": False, "grade": True, "points": 2}
            | {"locked": True}
        },
    )
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=[solution, check], metadata={"kernelspec": spec})


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """The same class of trivial submissions twice: released and collected, not graded."""
    top = tmp_path_factory.mktemp("trivial")
    (top / "checks").mkdir()
    (top / "checks" / "trivial.py").write_text(CHECK, encoding="utf-8")
    return top, prepared(top, {LESSON: trivial()}, {LESSON: trivial()}, top / "checks", SIZE)


def prepared(top, sources, answers, checks, size):
    from navcourse.grading import run
    from navcourse.grading.settings import Course

    for name, notebook in sources.items():
        nbformat.write(notebook, top / f"{name}.ipynb")
    for k in range(size):
        for name, notebook in answers.items():
            path = top / "handed_in" / f"s{k:02d}_{name}.ipynb"
            path.parent.mkdir(exist_ok=True)
            nbformat.write(notebook, path)
    course = Course(top / "course", checks, "c")
    course.root.mkdir()
    run.release(course, "a", {name: top / f"{name}.ipynb" for name in sources})
    run.collect(course, "a", top / "handed_in")
    run._warm_caches(course, "a")  # once for each course root
    return run.submitted_students(course, "a")


def copied(top, tmp_path):
    shutil.copytree(top / "course", tmp_path / "course")
    return str(tmp_path / "course")


@pytest.mark.parametrize("processes", [1, 2])
def test_plain_nbgrader(benchmark, classes, tmp_path, processes):
    """One process, and two on disjoint halves of the class with one gradebook."""
    top, who = classes
    root = copied(top, tmp_path)
    parts = [who[k::processes] for k in range(processes)]
    timed(benchmark, len(who), [[sys.executable, "-c", PLAIN, root, *part] for part in parts])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_kit(benchmark, classes, tmp_path, workers):
    """The same submissions in the sandbox, probed and judged: at least 4 and 2.5 times as fast as those."""
    top, who = classes
    command = [
        sys.executable,
        "-c",
        OURS,
        copied(top, tmp_path),
        str(top / "checks"),
        str(ROOT),
        str(workers),
    ]
    timed(benchmark, len(who), [command])


OWN = """
import sys, nbformat, time
nb = nbformat.read(sys.argv[1], 4)
def once():
    space = {"__name__": "__main__"}
    for cell in nb.cells:
        if cell.cell_type == "code":
            try:
                exec(cell.source, space)
            except Exception:
                pass
import matplotlib; matplotlib.use("agg")
once()
begin = time.process_time()
once()
print(time.process_time() - begin)
"""


def test_a_real_lesson(benchmark, tmp_path):
    """`pointer_pivot`, all right: at most the learner's own cells and 0.4 s of processor time each."""
    from navcourse.lesson import read_lesson, solution_source
    from navcourse.render import render

    lesson = read_lesson(ROOT / "notebooks" / "src" / "tracking" / "pointer_pivot.py")
    answer = render(lesson, "student")
    for cell in answer.cells:
        exercise = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if exercise in lesson.exercises:
            cell.source = solution_source(lesson, exercise)
    checks = ROOT / "grading" / "checks"
    who = prepared(tmp_path, {lesson.id: render(lesson, "source")}, {lesson.id: answer}, checks, SIZE)
    nbformat.write(answer, tmp_path / "answer.ipynb")
    own = subprocess.run(
        [sys.executable, "-c", OWN, str(tmp_path / "answer.ipynb")],
        capture_output=True,
        text=True,
        check=True,
    )
    benchmark.extra_info["own_cells_cpu_s"] = float(own.stdout.split()[-1])
    command = [sys.executable, "-c", OURS, str(tmp_path / "course"), str(checks), str(ROOT / "datasets"), "2"]
    timed(benchmark, len(who), [command])
