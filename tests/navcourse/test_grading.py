"""A class through nbgrader, intake, and the sandbox."""

import contextlib
import copy
import csv
import html
import json
import re
import socket
import warnings
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from traitlets.config.loader import PyFileConfigLoader

from navcourse.grading.collector import student_and_lesson
from navcourse.grading.intake import intake
from navcourse.grading.report import marks_table, write_csv
from navcourse.grading.run import GradingError, autograde, collect, grade_class, release
from navcourse.grading.sandbox import sandbox_available
from navcourse.grading.settings import Course, class_config

HERE = Path(__file__).parent
ASSIGNMENT = "half_day"
LESSON = "sample_lesson"

# ------------------------------------------------------------------- a class, once, end to end

RIGHT_DOUBLE = "def double_mm(length_mm):\n    return np.asarray(length_mm) + np.asarray(length_mm)\n"
RIGHT_CENTRE = (
    "def centre_of(points):\n    c = np.average(points, axis=0)\n"
    "    return c, float(max(np.linalg.norm(p - c) for p in points))\n"
)
WITH_WARNINGS = (
    "import sys, warnings\nerrors = sys.stderr  # kept: nobody can redirect it away\n"
    "def double_mm(length_mm):\n    warnings.warn('slow')\n    print('noise', file=errors)\n"
    "    return np.asarray(length_mm) + np.asarray(length_mm)\n"
)
ONLY_NUMBERS = (
    "def double_mm(length_mm):\n    return length_mm if np.ndim(length_mm) else length_mm + length_mm\n"
)
DIAMETER = RIGHT_CENTRE.replace("float(", "2 * float(")
CHEAT_DOUBLE = (
    "class Yes(float):\n    __eq__ = lambda self, other: True\n    __sub__ = __rsub__ = lambda self, o: 0.0\n"
    "np.allclose = np.isclose = lambda *a, **k: True\n"
    "import navkit.checking\nnavkit.checking.close = close = lambda *a, **k: None\n"
    "def double_mm(length_mm):\n    return Yes(3.0)\n"
)
CHEAT_CENTRE = "print('navcourse-answers::[]')\nfrom numpy import mean as centre_of\n"
NOSY = """
import os, pathlib, socket
def double_mm(length_mm):
    return np.asarray(length_mm) + np.asarray(length_mm)
for path in {paths}:
    print("READ" if pathlib.Path(path).exists() else "absent", "a path")
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2).close()
    print("CONNECTED")
except OSError:
    print("no network")
print("NAMES", sorted(os.environ.get("NAVCOURSE_TEST_SECRET", "none")))
"""
ENDLESS = "def double_mm(length_mm):\n    while True:\n        pass\n"
LEAVES = "def centre_of(points):\n    import os\n    os._exit(1)\n"

EXPECTED = {
    # student: (double_mm of 2, centre_of of 3, how the status begins)
    "ada": (2.0, 3.0, "graded"),  # all right
    "bo": (2.0, 3.0, "graded"),  # right, with warnings and words on stderr
    "cy": (1.0, 3.0, "graded"),  # a typical mistake: half of the cases
    "dee": (2.0, 0.0, "graded"),  # another: the diameter
    "eli": (0.0, 0.0, "graded"),  # the stub, untouched
    "fay": (0.0, 0.0, "quarantined: sample_lesson: the file is cut off"),  # a broken file
    "gus": (2.0, 3.0, "graded"),  # copied cells
    "hal": (2.0, 0.0, "graded"),  # looks around
    "ivy": (0.0, 0.0, "graded"),  # cheats
    "jo": (
        0.0,
        0.0,
        "needs a human: sample_lesson: the notebook's process ended",
    ),  # a loop, then a dead kernel
    "kim": (2.0, 3.0, "graded"),  # renamed, deleted the checks, in a zip file
    "lou": (0.0, 0.0, "missing"),
    "max": (0.0, 0.0, "quarantined: max.zip: the zip file is damaged"),
}

NOT_GRADED = {"fay", "lou", "max"}


def answered(released: Path, **answers: str) -> nbformat.NotebookNode:
    notebook = nbformat.read(released, 4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in answers:
            cell.source = answers[name]
    return notebook


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def hand_in(folder: Path, released: Path, root: Path, port: int) -> None:
    def put(student, **answers):
        notebook = answered(released, **answers)
        nbformat.write(notebook, folder / f"{student}_{LESSON}.ipynb")
        return notebook

    put("ada", double_mm=RIGHT_DOUBLE, centre_of=RIGHT_CENTRE)
    put("bo", double_mm=WITH_WARNINGS, centre_of=RIGHT_CENTRE)
    put("cy", double_mm=ONLY_NUMBERS, centre_of=RIGHT_CENTRE)
    put("dee", double_mm=RIGHT_DOUBLE, centre_of=DIAMETER)
    put("eli")
    put("fay", double_mm=RIGHT_DOUBLE, centre_of=RIGHT_CENTRE)
    whole = (folder / f"fay_{LESSON}.ipynb").read_text(encoding="utf-8")
    (folder / f"fay_{LESSON}.ipynb").write_text(whole[: len(whole) // 2], encoding="utf-8")
    gus = put("gus", centre_of=RIGHT_CENTRE)
    at = next(i for i, cell in enumerate(gus.cells) if grade_id(cell) == "double_mm")
    second = copy.deepcopy(gus.cells[at])
    second.source, second.id = RIGHT_DOUBLE, "copied"
    check = copy.deepcopy(next(cell for cell in gus.cells if grade_id(cell) == "check_double_mm"))
    check.id = "copied-too"
    gus.cells[at + 1 : at + 1] = [second]
    gus.cells.append(check)
    nbformat.write(gus, folder / f"gus_{LESSON}.ipynb")
    paths = [
        root / "gradebook.db",
        root / "source",
        root / "submitted",
        HERE,
        root / "release",
        Path.home() / ".ssh",
    ]
    put("hal", double_mm=NOSY.format(paths=[str(p) for p in paths], port=port))
    put("ivy", double_mm=CHEAT_DOUBLE, centre_of=CHEAT_CENTRE)
    put("jo", double_mm=ENDLESS, centre_of=LEAVES)
    kim = answered(released, double_mm=RIGHT_DOUBLE, centre_of=RIGHT_CENTRE)
    kim.cells = [cell for cell in kim.cells if not grade_id(cell).startswith("check_")]
    with zipfile.ZipFile(folder / "kim.zip", "w") as archive:
        archive.writestr("my homework.ipynb", nbformat.writes(kim))
    (folder / "max.zip").write_bytes((folder / "kim.zip").read_bytes()[:-200])
    (folder / "notes.txt").write_text("a file that nobody asked for", encoding="utf-8")
    (folder / "homework.ipynb").write_text("whose is this?", encoding="utf-8")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    from navcourse.lesson import read_lesson
    from navcourse.render import render, write_notebook

    top = tmp_path_factory.mktemp("class")
    for name in ("checks", "handed_in"):
        (top / name).mkdir()
    (top / "checks" / f"{LESSON}.py").write_text(
        (HERE / "sample_checks.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), top / "source.ipynb")
    sources, root = {LESSON: top / "source.ipynb"}, top / "course"
    root.mkdir()
    course = Course(root, top / "checks", "autumn")
    released = release(course, ASSIGNMENT, sources)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        hand_in(top / "handed_in", released[LESSON], root, listening.getsockname()[1])
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore", UserWarning)  # no sandbox here: said once, and skipped below
            patch.setenv("NAVCOURSE_TEST_SECRET", "token")
            patch.setenv("PATH", "/usr/bin:/bin")  # the environment is not active: no alembic on PATH
            report = grade_class(
                root, ASSIGNMENT, sources, top / "handed_in",
                checks_folder=top / "checks", cohort="autumn", roster=["lou", "ada"], timeout_s=12,
            )  # fmt: skip
    return root, report


@pytest.mark.slow
def test_everyone_gets_the_marks_they_deserve(graded):
    _, report = graded
    got = {row.student: (row.points["double_mm"], row.points["centre_of"]) for row in report.rows}
    assert got == {student: marks[:2] for student, marks in EXPECTED.items()}
    for row in report.rows:
        assert row.status.startswith(EXPECTED[row.student][2]), row
        assert row.total == sum(row.points.values())
        assert row.max == 7  # with the written answer, which a human marks
    assert dict(report.maximum) == {"double_mm": 2.0, "centre_of": 3.0, "answer_what_moves": 2.0}


@pytest.mark.slow
def test_the_gradebook_has_the_same_numbers(graded):
    from nbgrader.api import Gradebook

    root, report = graded
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "navigation") as gradebook:
        stored = {s.student.id: s.score for s in gradebook.assignment_submissions(ASSIGNMENT)}
    assert stored == {row.student: row.total for row in report.rows if row.student not in NOT_GRADED}


@pytest.mark.slow
def test_what_was_repaired_or_set_aside_is_named(graded):
    root, report = graded
    told = {(p.student, p.repaired): p for p in report.problems}
    assert not told["fay", False].repaired
    assert "hand it in anew" in told["fay", False].what_to_do
    assert (root / "quarantine" / "fay" / ASSIGNMENT / f"{LESSON}.ipynb").is_file()
    notes = {row.student: " ".join(row.notes) for row in report.rows}
    assert "the cell 'double_mm' was there twice" in notes["gus"]
    assert "was named 'my homework.ipynb'" in notes["kim"]
    assert "'check_centre_of' was missing and was put back" in notes["kim"]
    assert notes["ada"] == ""
    nobodys = {p.notebook: p.reason for p in report.problems if not p.student}
    assert nobodys == {
        "notes.txt": "neither a notebook nor a zip file",
        "homework.ipynb": "the file's name does not say who and what",
    }


@pytest.mark.slow
def test_the_learner_reads_sentences_and_no_error_output(graded):
    root, _ = graded
    read = {s: outputs_of(root, s) for s in ("ada", "bo", "cy", "dee", "eli", "ivy", "jo")}
    assert "Hidden checks: 2 of 2 points\n✓ one length\n✓ five lengths" in read["ada"]
    assert "noise" not in read["bo"]
    assert "the length itself" in read["cy"]
    assert "the diameter" in read["dee"]
    assert read["eli"].count("not written yet") >= 2
    assert "✗ 4 points: centre_of was imported" in read["ivy"]
    assert "is there a loop that never ends?" in read["jo"]
    assert "a human will look at it" in read["jo"]


@pytest.mark.slow
def test_no_file_for_learners_holds_a_solution_or_a_hidden_check(graded):
    root, _ = graded
    solution = re.findall(
        r"### BEGIN SOLUTION\n(.*?)\n +### END SOLUTION",
        (HERE / "sample_lesson.py").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    lines = "\n".join([*solution, (HERE / "sample_checks.py").read_text(encoding="utf-8")]).splitlines()
    secret = {line.strip() for line in lines if len(line.strip()) > 20 and "import" not in line}
    assert len(secret) > 15
    files = [
        p
        for f in ("release", "exchange", "autograded", "feedback")
        for p in (root / f).rglob("*")
        if p.is_file()
    ]
    assert {p.suffix for p in files} >= {".ipynb", ".html"}
    assert len(files) > 15
    for path in files:
        text = everything_in(path)
        assert [line for line in secret if line in text] == [], path
        assert "navcourse_probe" not in text
        assert "_navcourse" not in text
    source = everything_in(root / "source" / ASSIGNMENT / f"{LESSON}.ipynb")
    assert sum(line in source for line in secret) >= 3  # what is searched for is found where it is


@pytest.mark.slow
def test_feedback_is_there_for_everyone_who_was_graded(graded):
    _, report = graded
    pages = {
        row.student for row in report.rows if row.feedback and (row.feedback / f"{LESSON}.html").is_file()
    }
    assert pages == set(EXPECTED) - NOT_GRADED


@pytest.mark.slow
def test_a_submission_sees_no_gradebook_no_source_and_no_network(graded):
    if not sandbox_available():
        pytest.skip("bubblewrap is missing here, or may not make a namespace")
    root, _ = graded
    text = outputs_of(root, "hal")
    assert "READ" not in text
    assert text.count("absent a path") == 6
    assert "no network" in text
    assert f"NAMES {sorted('none')}" in text


@pytest.mark.slow
def test_the_marks_come_as_a_table_and_as_a_file(graded, tmp_path):
    _, report = graded
    write_csv(report, tmp_path / "marks.csv")
    with (tmp_path / "marks.csv").open(encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["cy"]["double_mm"] == "1.0"
    assert rows["fay"]["status"].startswith("quarantined")
    assert rows["eli"]["max"] == "7.0"
    assert marks_table(report).row_count == len(EXPECTED)


@pytest.mark.slow
def test_grading_one_again_is_quiet(graded, capfd, caplog):
    root, _ = graded
    course = Course(root, root.parent / "checks", "autumn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert autograde(course, ASSIGNMENT, students=["ada"]) == {}
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""
    assert caplog.records == []
    assert (root / "grading.log").stat().st_size > 1000


def outputs_of(root: Path, student: str) -> str:
    notebook = nbformat.read(root / "autograded" / student / ASSIGNMENT / f"{LESSON}.ipynb", 4)
    texts = [o.get("text", "") for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    return "\n".join(texts)


def everything_in(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".ipynb":
        return "\n".join(strings_in(json.loads(text)))
    return html.unescape(re.sub(r"<[^>]+>", "", text))  # highlighted code has a tag around every word


def strings_in(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        if value and all(isinstance(v, str) for v in value):
            return ["".join(value)]
        return [s for v in value for s in strings_in(v)]
    return []


# ------------------------------------------------------------------------------------- steps


def test_an_exercise_without_a_hidden_check_is_not_released(tmp_path):
    write(tmp_path / "n.ipynb", released_notebook())
    (tmp_path / "checks").mkdir()
    with pytest.raises(GradingError, match="exercise 'tip' has no hidden check"):
        release(Course(tmp_path, tmp_path / "checks", "c"), "a", {"n": tmp_path / "n.ipynb"})


def test_a_hidden_check_that_asks_with_an_object_is_not_released(tmp_path):
    write(tmp_path / "n.ipynb", released_notebook())
    check = "from navcourse.grading.judge import Case, hidden\n\n@hidden('tip')\ndef tip(rng):\n"
    write(tmp_path / "checks" / "n.py", check + "    yield Case('one', ({'a': 1},), print)\n")
    with pytest.raises(GradingError, match="a hidden check asks with a dict as part 1"):
        release(Course(tmp_path, tmp_path / "checks", "c"), "a", {"n": tmp_path / "n.ipynb"})


def test_collecting_before_releasing_says_so(tmp_path):
    with pytest.raises(GradingError, match="nothing is released as 'a'"):
        collect(Course(tmp_path, tmp_path, "c"), "a", tmp_path)


def test_a_required_sandbox_that_is_not_there_stops_the_class(tmp_path, monkeypatch):
    monkeypatch.setattr("navcourse.grading.run.sandbox_available", lambda: False)
    course = Course(tmp_path, tmp_path, "c", require_sandbox=True)
    with pytest.raises(GradingError, match="no sandbox here"):
        autograde(course, "a", students=[])
    with pytest.warns(UserWarning, match="with limits on time and memory only"):
        autograde(Course(tmp_path, tmp_path, "c"), "a", students=[])


# ------------------------------------------------------------------------------------ intake


def marked(name, *, solution=False, grade=False):
    marks = {"schema_version": 3, "grade_id": name, "solution": solution, "grade": grade, "task": False}
    marks |= {"locked": not solution} | ({"points": 2} if grade else {})
    cell = {"cell_type": "code", "id": f"id-{name}", "source": f"# {name}", "metadata": {"nbgrader": marks}}
    return cell | {"outputs": [], "execution_count": None}


def released_notebook():
    cells = [marked("given_1"), marked("tip", solution=True), marked("check_tip", grade=True)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def write(path, notebook):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), encoding="utf-8")


@pytest.fixture
def looked_at(tmp_path):
    """Hand in one notebook of learner "ann" for lesson "n"; returns problems and what is there afterwards."""
    write(tmp_path / "release" / "n.ipynb", released_notebook())

    def look(notebook, name="n"):
        write(tmp_path / "submitted" / "ann" / "a" / f"{name}.ipynb", notebook)
        problems = intake(tmp_path / "submitted", "a", {"n": tmp_path / "release" / "n.ipynb"})
        path = tmp_path / "submitted" / "ann" / "a" / "n.ipynb"
        return problems, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    return look


def ids(notebook):
    return [c["metadata"].get("nbgrader", {}).get("grade_id", "-") for c in notebook["cells"]]


def test_a_sound_notebook_passes_untouched(looked_at):
    assert looked_at(released_notebook()) == ([], released_notebook())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"cells": [', "cut off or damaged: no valid JSON at line 1"),
        ("", "cut off or damaged"),
        ("[1, 2]", "not a notebook"),
        ('{"cells": 3}', "not a notebook"),
        ('{"cells": [], "metadata": {}, "nbformat": 3}', "format 3; expected 4"),
        ('{"cells": [], "nbformat": 4}', "no metadata"),
        (
            '{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
            "not a valid",
        ),
        ('{"cells": ["x"], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "not a valid"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_notebook_is_set_aside_with_a_reason(looked_at, tmp_path, content, reason):
    (problem,), after = looked_at(content)
    assert after is None
    assert (problem.student, problem.notebook, problem.repaired) == ("ann", "n", False)
    assert reason in problem.reason
    aside = tmp_path / "quarantine" / "ann" / "a"
    assert (aside / "n.ipynb").read_text(encoding="utf-8") == content
    assert reason in (aside / "n.ipynb.reason.txt").read_text(encoding="utf-8")


def test_a_byte_order_mark_is_no_damage(looked_at):
    problems, after = looked_at("\ufeff" + json.dumps(released_notebook()))
    assert [p.repaired for p in problems] == [True]
    assert after == released_notebook()


def test_copied_cells_are_marked_once_and_the_learners_copy_still_runs(looked_at):
    notebook = released_notebook()
    notebook["cells"].insert(2, marked("tip", solution=True))
    notebook["cells"] += [marked("check_tip", grade=True), marked("given_1")]
    problems, after = looked_at(notebook)
    assert ids(after) == ["given_1", "tip", "-", "check_tip"]
    assert [p.reason for p in problems] == [
        f"the cell '{name}' was there twice; the first one counts" for name in ("tip", "check_tip", "given_1")
    ]
    assert all(p.repaired for p in problems)


def test_deleted_cells_are_put_back_in_their_order(looked_at):
    notebook = released_notebook()
    notebook["cells"] = [{"cell_type": "markdown", "id": "m", "source": "mine", "metadata": {}}]
    problems, after = looked_at(notebook)
    assert ids(after) == ["given_1", "tip", "check_tip", "-"]
    assert len(problems) == 3


def test_stripped_and_changed_marks_are_restored(looked_at):
    notebook = released_notebook()
    del notebook["cells"][1]["metadata"]["nbgrader"]
    notebook["cells"][2]["metadata"]["nbgrader"].update(points=200, locked=False)
    notebook["cells"].append(marked("from_elsewhere", grade=True))
    problems, after = looked_at(notebook)
    assert [c["metadata"].get("nbgrader") for c in after["cells"]] == [
        *(c["metadata"]["nbgrader"] for c in released_notebook()["cells"]),
        None,
    ]
    assert [p.reason for p in problems] == [
        "the cell 'tip' had lost its mark",
        "the mark of the cell 'check_tip' had been changed",
    ]


def test_a_renamed_notebook_is_recognised_and_a_foreign_one_is_left_alone(looked_at):
    (problem,), after = looked_at(released_notebook(), name="n (1)")
    assert after == released_notebook()
    assert "was named 'n (1).ipynb'" in problem.reason
    foreign = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (problem,), after = looked_at(foreign, name="notes")
    assert after == released_notebook()
    assert "no cell of this assignment" in problem.reason


def test_a_damaged_released_notebook_is_the_instructors_error(tmp_path):
    write(tmp_path / "n.ipynb", "{")
    with pytest.raises(ValueError, match="expected the released notebook"):
        intake(tmp_path / "submitted", "a", {"n": tmp_path / "n.ipynb"})


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (("ada_point_pivot.ipynb",), ("ada", "point_pivot")),
        (("ada_lovelace_point_pivot (2).ipynb",), ("ada_lovelace", "point_pivot (2)")),
        (("ada.l@uni.example_point_pivot.ipynb",), ("ada.l@uni.example", "point_pivot")),
        (("ada", "point_pivot.ipynb"), ("ada", "point_pivot")),
        (("ada", "sub", "what.ipynb"), ("ada", "what")),
        (("ada_point_pivot", "x.ipynb"), ("ada", "x")),
        (("ada_homework.ipynb",), ("ada", "homework")),
        (("homework.ipynb",), None),
        (("*_point_pivot.ipynb",), None),
        (("..", "point_pivot.ipynb"), None),
    ],
)
def test_a_file_name_says_who_and_what(parts, found):
    assert student_and_lesson(parts, ["pivot", "point_pivot"]) == found


def test_random_damage_never_stops_intake(looked_at, rng):
    whole = np.frombuffer(json.dumps(released_notebook()).encode(), dtype=np.uint8)
    for _ in range(60):
        hurt = whole.copy()
        at = rng.integers(0, hurt.size, size=4)
        hurt[at] = rng.integers(32, 127, size=4)
        problems, after = looked_at(hurt[: rng.integers(10, hurt.size + 1)].tobytes().decode())
        assert problems or after is not None


def test_the_course_roots_own_settings_are_the_graders(root, monkeypatch):
    monkeypatch.setenv("NAVCOURSE_COHORT", "2026-autumn")
    own = PyFileConfigLoader("nbgrader_config.py", path=str(root / "grading")).load_config()
    assert own == class_config(root / "grading", root / "grading" / "checks", "2026-autumn")
    assert own.ProbeExecute.cohort == own.Judge.cohort == "2026-autumn"
    assert own.OverwriteCells.add_missing_cells is True
    assert own.ProbeExecute.iopub_timeout > 60
