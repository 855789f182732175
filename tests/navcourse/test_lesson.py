"""A lesson script becomes cells with marks, or one sentence on what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from navcourse.lesson import (
    CODE_STUB,
    LessonError,
    find_lessons,
    read_lesson,
    solution_source,
    stub_source,
)

SAMPLE = Path(__file__).with_name("sample_lesson.py")


def changed(tmp_path, old, new, count=1):
    """The sample with one thing changed."""
    text = SAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.py"
    path.write_text(text.replace(old, new, count), encoding="utf-8")
    return path


def test_the_sample_is_read_with_front_matter_and_marks():
    lesson = read_lesson(SAMPLE)
    assert (lesson.id, lesson.module, lesson.minutes) == ("sample_lesson", "navcourse", 30)
    assert lesson.title == "A sample lesson: doubling and centring"
    assert lesson.objectives[1] == "Compute the centre of a cloud of points"
    assert lesson.exercises == ("double_mm", "centre_of")
    assert lesson.points == {"double_mm": 2, "centre_of": 3}
    marks = [cell.mark for cell in lesson.cells]
    assert {mark: marks.count(mark) for mark in set(marks)} == {
        "given": 14, "hint": 2, "exercise": 2, "check": 2, "answer": 1, "instructor": 1,
    }  # fmt: skip
    failing = [cell for cell in lesson.cells if cell.fails]
    assert [cell.fails for cell in failing] == ["Are the points in columns?"]
    assert failing[0].source == "transform_points(pr_M_t, points_t[:2].T)"


def test_each_cell_knows_its_line_in_the_script():
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    for cell in read_lesson(SAMPLE).cells:
        assert lines[cell.line - 1].startswith("# %%")
        assert cell.source.split("\n")[0] in lines[cell.line]


def test_the_solution_is_whole_and_the_stub_keeps_signature_docstring_and_indent():
    lesson = read_lesson(SAMPLE)
    solution, stub = solution_source(lesson, "centre_of"), stub_source(lesson, "centre_of")
    assert "points.mean(axis=0)" in solution
    assert "SOLUTION" not in solution + stub
    assert "points.mean" not in stub
    assert stub.split("\n") == [
        "def centre_of(points):",
        '    """The mean point (3,) and the largest distance from it, both in mm."""',
        "    points = np.asarray(points, dtype=float)",
        f"    {CODE_STUB}",
    ]
    with pytest.raises(LessonError, match=r"no exercise 'nothing'; expected one of double_mm, centre_of"):
        solution_source(lesson, "nothing")


WRONG = {
    "unknown mark": ('exercise="double_mm"', 'excercise="double_mm"', "exercise, check, .* got 'excercise'"),
    "two marks": (
        'check="double_mm"',
        'check="double_mm" hint="double_mm"',
        "one mark .* got check and hint",
    ),
    "a title": ("# %% [markdown] instructor=true", "# %% Note [markdown]", "got 'Note'"),
    "check without exercise": (
        'check="double_mm"',
        'check="twice_mm"',
        "an exercise 'twice_mm' before its check",
    ),
    "exercise without check": ('# %% check="double_mm" points=2', "# %%", "a check for exercise 'double_mm'"),
    "hint without exercise": (
        'hint="double_mm"',
        'hint="halve_mm"',
        "exercise or answer 'halve_mm' for this hint",
    ),
    "duplicate check": (
        'check="centre_of"',
        'check="double_mm"',
        r"check 'double_mm' again \(first in line 64\)",
    ),
    "answer named as an exercise": ('answer="what_moves"', 'answer="centre_of"', "answer 'centre_of' again"),
    "no end marker": ("    ### END SOLUTION\n", "", "expected '### END SOLUTION' before the end of the cell"),
    "no begin marker": ("    ### BEGIN SOLUTION\n", "", "expected '### BEGIN SOLUTION' first"),
    "nested markers": ("    ### END SOLUTION", "    ### BEGIN SOLUTION", "for the one begun in line 59"),
    "a marker that nbgrader alone sees": ("### BEGIN SOLUTION", "## BEGIN SOLUTION", "alone, got '## BEGIN"),
    "markers in a given cell": ("import numpy as np", "### BEGIN SOLUTION", "in a cell marked given"),
    "no points on a check": ('check="double_mm" points=2', 'check="double_mm"', "points=n above 0 for check"),
    "no points on an answer": (
        'answer="what_moves" points=2',
        'answer="what_moves"',
        "points=n above 0 for answer",
    ),
    "points in words": ("points=2", 'points="two"', "a whole number above 0, got 'two'"),
    "points on a hint": ('hint="double_mm"', 'hint="double_mm" points=1', "points on a check or an answer"),
    "another function": ("def double_mm(", "def twice_mm(", "define a function 'double_mm' .* got twice_mm"),
    "no Python": ("return 2.0 *", "return 2.0 **(", "solution of 'double_mm' to be Python"),
    "a number as id": ('exercise="double_mm"', "exercise=3", "an id in quotes .* got 3"),
    "fails without words": (
        'fails="Are the points in columns?"',
        "fails=true",
        "message in quotes, got True",
    ),
    "hint in a code cell": (
        '# %% [markdown] hint="double_mm"',
        '# %% hint="double_mm"',
        "a markdown cell for",
    ),
    "a missing key": ("# minutes: 30\n", "", "got none named 'minutes'"),
    "an unknown key": ("# minutes: 30", "# minutes: 30\n# time: 3", "got 'time'"),
    "minutes in words": (
        "# minutes: 30",
        "# minutes: half an hour",
        "'minutes' to be a whole number, got 'half",
    ),
    "a title with a colon": ('"A sample lesson: doubling and centring"', "A: b: c", "lack quotes"),
    "no front matter": ("# ---\n# title", "# title", "begin with '# ---', got '# title"),
    "an endless front matter": ("carry.\n# ---", "carry.", "end with a line '# ---'"),
    "text before the first cell": ("# ---\n\n# %%", "# ---\nx = 1\n# %%", "begin with '# %%', got 'x = 1'"),
}


@pytest.mark.parametrize(("old", "new", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, old, new, words):
    with pytest.raises(LessonError, match=words) as caught:
        read_lesson(changed(tmp_path, old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'changed.py'}:")
    assert message.removeprefix(f"{tmp_path / 'changed.py'}:").split(":")[0].isdigit()
    assert "expected" in message
    assert "got" in message
    assert "\n" not in message


def test_the_line_of_an_error_is_the_line_of_the_cell(tmp_path):
    path = changed(tmp_path, 'exercise="centre_of"', 'exorcise="centre_of"')
    line = next(
        k for k, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if "exorcise" in text
    )
    with pytest.raises(LessonError, match=rf"changed\.py:{line}: "):
        read_lesson(path)


def test_lessons_are_found_by_their_file_names_and_a_name_taken_twice_is_refused(tmp_path):
    for module in ("a", "b"):
        (tmp_path / module).mkdir()
    for name in ("b/one.py", "a/two.py"):
        (tmp_path / name).touch()
    assert list(find_lessons(tmp_path).items()) == [
        ("two", tmp_path / "a" / "two.py"),
        ("one", tmp_path / "b" / "one.py"),
    ]
    (tmp_path / "b" / "two.py").touch()
    with pytest.raises(LessonError, match=r"lesson id 'two' is taken by .*a.two\.py"):
        find_lessons(tmp_path)


@pytest.mark.parametrize("module", ["lesson", "render", "course", "verify"])
def test_reading_lessons_needs_neither_nbgrader_nor_a_kernel(module):
    code = (
        f"import sys, navcourse.{module}\n"
        "print(sorted({'nbgrader', 'nbclient', 'jupytext', 'numpy', 'navkit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
