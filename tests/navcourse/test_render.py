"""One lesson, four notebooks: what is in them, what is not, and the same bytes every time."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from navcourse.lesson import CODE_STUB, TEXT_STUB, read_lesson
from navcourse.render import KINDS, render, to_text, write_notebook

SAMPLE = Path(__file__).with_name("sample_lesson.py")


@pytest.fixture(scope="module")
def lesson():
    return read_lesson(SAMPLE)


@pytest.fixture(scope="module")
def notebooks(lesson):
    return {kind: render(lesson, kind) for kind in KINDS}


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def marks(notebook):
    found = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    return {mark["grade_id"]: mark for mark in found if mark}


def solution_lines(lesson):
    """The lines that only an instructor may see: in each solution region, and the written answers."""
    lines = []
    for cell in lesson.cells:
        if cell.mark == "exercise":
            for region in re.findall(r"### BEGIN SOLUTION\n(.*?)\n *### END", cell.source, re.DOTALL):
                lines += [line.strip() for line in region.split("\n")]
        elif cell.mark == "answer":
            lines += cell.source.split("\n")
    assert len(lines) == 4
    return lines


@pytest.mark.parametrize("kind", KINDS)
def test_each_rendering_is_a_valid_notebook_without_outputs_or_pairing(notebooks, kind):
    notebook = notebooks[kind]
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"nbgrader", "tags", "deletable", "editable"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_an_unknown_kind_is_refused(lesson):
    with pytest.raises(ValueError, match=r"kind is 'teacher'; expected one of source, student"):
        render(lesson, "teacher")


def test_no_solution_reaches_the_student(lesson, notebooks):
    text = to_text(notebooks["student"])
    for line in solution_lines(lesson):
        assert line in "\n".join(sources(notebooks["source"]))
        assert not any(line in source for source in sources(notebooks["student"]))
    assert "SOLUTION" not in text
    assert "Ask the room" not in text
    assert text.count("Replace this line with your code.") == 2
    assert text.count(TEXT_STUB) == 1


def test_in_self_study_a_solution_stands_only_where_it_is_folded(lesson, notebooks):
    shown = sources(notebooks["self_study"])
    folded = "\n".join(source for source in shown if source.startswith("<details>"))
    in_the_open = "\n".join(
        re.sub(r"<details>.*?</details>", "", source, flags=re.DOTALL) for source in shown
    )
    for line in solution_lines(lesson):
        assert line in folded
        assert line not in in_the_open
    assert "SOLUTION" not in in_the_open.replace("CHECK", "")
    assert marks(notebooks["self_study"]) == {}
    assert "Ask the room" not in folded + in_the_open


def test_each_fold_names_its_exercise_and_stands_after_the_check(notebooks):
    shown = sources(notebooks["self_study"])
    folds = [source for source in shown if source.startswith("<details>")]
    summaries = [re.search(r"<summary>(.*)</summary>\n\n", fold).group(1) for fold in folds]
    assert summaries == [
        "Hint for double_mm", "Solution of double_mm", "Hint for centre_of", "Solution of centre_of",
        "Model answer for what_moves",
    ]  # fmt: skip
    assert all(fold.endswith("\n\n</details>") for fold in folds)
    check = next(k for k, source in enumerate(shown) if source.startswith("# CHECK centre_of"))
    assert shown[check + 1].startswith("<details>\n<summary>Solution of centre_of")
    assert "```python\ndef centre_of(points):" in shown[check + 1]


def test_the_instructor_sees_solutions_hints_and_notes_in_the_open(lesson, notebooks):
    shown = "\n".join(sources(notebooks["instructor"]))
    for line in solution_lines(lesson):
        assert line in shown
    assert "SOLUTION" not in shown
    assert "<details>" not in shown
    assert "> **Instructor**\n>\n> Ask the room what `double_mm` does" in shown
    assert "**Hint for centre_of.** `np.mean`" in shown
    assert CODE_STUB not in shown
    assert "Instructor's copy" in sources(notebooks["instructor"])[0]
    assert "Instructor's copy" not in "".join(sources(notebooks["student"]))


def test_the_source_has_the_marks_that_nbgrader_needs(notebooks):
    got = marks(notebooks["source"])
    base = {"schema_version": 3, "task": False}
    assert got["double_mm"] == base | {
        "grade": False, "solution": True, "locked": False, "grade_id": "double_mm",
    }  # fmt: skip
    assert got["check_centre_of"] == base | {
        "grade": True, "solution": False, "locked": True, "points": 3, "grade_id": "check_centre_of",
    }  # fmt: skip
    assert got["answer_what_moves"] == base | {
        "grade": True, "solution": True, "locked": False, "points": 2, "grade_id": "answer_what_moves",
    }  # fmt: skip
    given = {name: mark for name, mark in got.items() if name.startswith("given_")}
    assert len(given) == 3
    assert all(mark["locked"] and not mark["grade"] and not mark["solution"] for mark in given.values())
    assert all("nbgrader" not in c.metadata for c in notebooks["source"].cells if c.source.startswith("## "))
    assert marks(notebooks["student"]) == got


def test_marks_are_in_words_for_a_screen_reader(notebooks):
    for kind in ("source", "student", "self_study"):
        first = [source.split("\n")[0] for source in sources(notebooks[kind])]
        assert "# EXERCISE double_mm: edit this cell" in first
        assert "# CHECK double_mm: run this cell, do not edit it" in first
    assert any(s.startswith("**ANSWER what_moves (2 points): edit") for s in sources(notebooks["student"]))


def test_the_first_cell_says_what_how_long_and_that_it_is_no_medical_device(notebooks):
    header = sources(notebooks["student"])[0].split("\n")
    assert header == [
        "# A sample lesson: doubling and centring",
        "",
        "30 minutes · module: navcourse · needs: nothing",
        "",
        "In this lesson you learn to:",
        "",
        "- Double a length and keep its unit",
        "- Compute the centre of a cloud of points",
        "",
        "In CustusX: nowhere; this lesson is a fixture of the course machinery's own tests.",
        "",
        "For teaching and research; not a medical device.",
    ]


def test_cells_that_may_fail_are_tagged_so_that_run_all_goes_on(notebooks):
    def tagged(kind):
        cells = [cell for cell in notebooks[kind].cells if cell.metadata.get("tags") == ["raises-exception"]]
        return [cell.source.split("\n")[0] for cell in cells]

    on_purpose = "transform_points(pr_M_t, points_t[:2].T)"
    checks = [f"# CHECK {name}: run this cell, do not edit it" for name in ("double_mm", "centre_of")]
    assert tagged("self_study") == [*checks, on_purpose]  # nobody else decides whether a check passed
    for kind in ("source", "student", "instructor"):
        assert tagged(kind) == [on_purpose]


def test_cell_ids_are_unique_and_the_same_in_every_rendering(notebooks):
    by_kind = {kind: [cell.id for cell in notebook.cells] for kind, notebook in notebooks.items()}
    for ids in by_kind.values():
        assert len(set(ids)) == len(ids)
    assert by_kind["source"] == by_kind["student"]
    assert set(by_kind["student"]) < set(by_kind["self_study"])


def test_two_processes_write_the_same_bytes(lesson):
    code = (
        "import hashlib, sys\nfrom navcourse.lesson import read_lesson\nfrom navcourse.render import *\n"
        "lesson = read_lesson(sys.argv[1])\n"
        "for kind in KINDS: print(hashlib.sha256(to_text(render(lesson, kind)).encode()).hexdigest())"
    )
    there = [
        subprocess.run(
            [sys.executable, "-c", code, str(SAMPLE)],
            env={"PYTHONHASHSEED": seed, "PATH": "", "LC_ALL": "C"},
            capture_output=True, text=True, check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]  # fmt: skip
    here = [hashlib.sha256(to_text(render(lesson, kind)).encode()).hexdigest() for kind in KINDS]
    assert there == [here, here]


def test_the_text_ends_in_one_newline_and_keeps_its_letters(notebooks):
    text = to_text(notebooks["student"])
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    assert '\n "cells": [' in text
    assert "minutes · module" in text


def test_a_notebook_is_written_whole_or_not_at_all(notebooks, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "one.ipynb"
    write_notebook(notebooks["student"], path)
    assert path.read_bytes() == to_text(notebooks["student"]).encode("utf-8")
    assert path.stat().st_mode & 0o444 == 0o444

    def refuse(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="full"):
        write_notebook(notebooks["instructor"], path)
    assert path.read_bytes() == to_text(notebooks["student"]).encode("utf-8")
    assert [item.name for item in path.parent.iterdir()] == ["one.ipynb"]


def test_an_answer_may_keep_its_question_beside_the_place_to_write(tmp_path):
    text = SAMPLE.read_text(encoding="utf-8")
    old = "# The centre moves with"
    path = tmp_path / "sample.py"
    path.write_text(
        text.replace(old, f"# Which one?\n#\n# ### BEGIN SOLUTION\n{old}").replace(
            "so it stays.", "so it stays.\n# ### END SOLUTION"
        ),
        encoding="utf-8",
    )
    notebook = render(read_lesson(path), "student")
    answer = next(source for source in sources(notebook) if "ANSWER" in source)
    assert answer == f"**ANSWER what_moves (2 points): edit this cell**\n\nWhich one?\n\n{TEXT_STUB}"


@pytest.mark.slow
def test_the_student_notebook_is_what_nbgrader_makes_of_the_source(notebooks, tmp_path):
    from navcourse.grading.settings import Course, session

    (tmp_path / "checks").mkdir()
    write_notebook(notebooks["source"], tmp_path / "source" / "one" / "sample_lesson.ipynb")
    with session(Course(tmp_path, tmp_path / "checks", "test")) as api:
        result = api.generate_assignment("one", create=True)
    assert result["success"], result
    made = nbformat.read(tmp_path / "release" / "one" / "sample_lesson.ipynb", as_version=4)
    ours = notebooks["student"]
    assert sources(made) == sources(ours)
    assert [cell.id for cell in made.cells] == [cell.id for cell in ours.cells]
    for theirs, cell in zip(made.cells, ours.cells, strict=True):
        metadata = dict(theirs.metadata)
        if "nbgrader" in metadata:  # what nbgrader adds for itself
            metadata["nbgrader"] = {
                key: value
                for key, value in metadata["nbgrader"].items()
                if key not in ("checksum", "cell_type")
            }
        assert metadata == dict(cell.metadata), cell.source
