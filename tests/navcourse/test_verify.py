"""The shape of a lesson, fresh notebooks, and runs: each rule is broken once and must be named."""

import copy
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

from navcourse.lesson import find_lessons, read_lesson
from navcourse.render import render, write_notebook
from navcourse.verify import anatomy, execute, execute_problems, stale

HERE = Path(__file__).parent
SAMPLE = HERE / "sample_lesson.py"
SRC = HERE.parents[1] / "notebooks" / "src"
LESSONS = find_lessons(SRC)


def changed(folder, old, new):
    text = SAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = folder / "changed.py"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return read_lesson(path)


def at(word):
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    return next(k for k, line in enumerate(lines, 1) if word in line)


# ------------------------------------------------------------------------------------- anatomy


def test_the_sample_has_the_shape_of_a_lesson():
    assert anatomy(read_lesson(SAMPLE)) == []


LONG_CODE = "\n".join(f"x{k} = {k}" for k in range(13))
WRONG = {
    "a missing section": ("## Spaces", "## Rooms", "expected the sections In the room, Spaces"),
    "sections out of order": ("## Key points", "## References", "got .* References, References"),
    "no exercise": (
        "## Exercise: double a length",
        "## Practice",
        "'Exercise: ...' after Setup, got 'Practice'",
    ),
    "no idea first": ("## Idea: a length is not a position", "## Exercise: x", "an idea, then an exercise"),
    "too many cells": (
        "# ## Break it",
        "# x\n\n" + "# %%\nx = 1\n\n" * 7 + "# %% [markdown]\n# ## Break it",
        "at most 25 cells, got 26",
    ),
    "too much prose": (
        "# A length doubles",
        "# " + "word " * 121 + "\n# A length",
        "at most 120 words .* got 1",
    ),
    "too much code": ("pr_M_t = pose", LONG_CODE + "\npr_M_t = pose", "at most 15 lines of code .* got 16"),
    "an import elsewhere": (
        "pr_M_t = pose",
        "import math\npr_M_t = pose",
        "in Setup only, got 'import math'",
    ),
    "an import in a check": (
        '@check("twice',
        'import os\n\n\n@check("twice',
        "in Setup only, got 'import os'",
    ),
    "two cells in Setup": ("from navkit.checking", "# %%\nfrom navkit.checking", "got 2 code cells"),
    "no hint": ('# %% [markdown] hint="double_mm"', "# %% [markdown]", "a hint for exercise 'double_mm'"),
    "nothing breaks": (
        '# %% fails="Are the points in columns?"',
        "# %%",
        "a cell with fails=... in 'Break it'",
    ),
    "simply": ("You answer with", "You simply answer with", "without 'simply'"),
    "Just in a note": ("Ask the room what", "Just ask what", "without 'Just'"),
    "obviously in front matter": ("Two small exercises", "Obviously two", "front matter without 'Obviously'"),
    "no words for a picture": (
        "A number without",
        "![](a.png)\n# A number without",
        "without alternative text",
    ),
    "no alt": ("A number without", '<img src="a.png" alt="">\n# A number', "without alternative text"),
    "a title in a cell": ("# ## Setup", "# ## Setup\n#\n# # Title", "no level-1 heading"),
    "a skipped level": ("A number without", "\n#\n# #### Deep\n# A number", "without a skipped level"),
    "two sections in a cell": (
        "A number without",
        "\n#\n# ## Late\n# A number",
        "at the top of its own cell",
    ),
    "one objective more": ("# data: []", "#   - Run\n# data: []", "each of the 3 objectives, got 2"),
    "one key point more": ("# - A doubled", "# - Extra.\n# - A doubled", "each of the 2 objectives, got 3"),
    "no source": ("2007. doi:10.2514/1.28949.", "", "a DOI, an address or a year in each reference"),
    "no references": ("# 1. Markley", "# Markley", "numbered references, got none"),
    "one objective": ("#   - Compute the centre of a cloud of points\n", "", "2 to 4 objectives, got 1"),
    "too long": ("# minutes: 30", "# minutes: 90", "30 to 45 minutes, got 90"),
}


@pytest.mark.parametrize(("old", "new", "words"), WRONG.values(), ids=WRONG)
def test_a_lesson_out_of_shape_is_told_what_and_where(tmp_path, old, new, words):
    problems = anatomy(changed(tmp_path, old, new))
    named = [problem for problem in problems if re.search(words, problem)]
    assert len(named) == 1, problems
    assert all(problem.startswith(str(tmp_path)) and problem.endswith(".") for problem in problems)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("You answer with", "You `simply` answer in `just` one line with"),
        ("A number without", "The adjustment is unjust.\n# A number without"),
        ("# A length doubles", "# ```\n# " + "word " * 121 + "\n# just simply\n# ```\n# A length doubles"),
        ("# | `t` | tool", "# | x | " + "word " * 121 + "\n# | `t` | tool"),
        ("A number without", "![A pointer in its divot.](a.png)\n# A number without"),
        ("return 2.0 *", "import math\n    return 2.0 *"),
        ("# - The centre of a cloud", "# - The centre\n#   of\n#   a cloud"),
        ("quaternions. 2007. doi", "quaternions.\n#    2007. doi"),
    ],
    ids=[
        "code spans",
        "parts of words",
        "fences",
        "tables",
        "described",
        "own import",
        "long items",
        "long references",
    ],
)
def test_what_looks_wrong_but_is_not_is_left_alone(tmp_path, old, new):
    assert anatomy(changed(tmp_path, old, new)) == []


def test_a_problem_has_the_line_of_its_cell(tmp_path):
    (problem,) = anatomy(changed(tmp_path, "Ask the room what", "Just ask what"))
    assert problem.startswith(f"{tmp_path / 'changed.py'}:{at('instructor=true')}: ")


# --------------------------------------------------------------------------------------- stale


@pytest.fixture
def project(tmp_path):
    script = tmp_path / "notebooks" / "src" / "tracking" / "one.py"
    script.parent.mkdir(parents=True)
    script.write_text(SAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    path = tmp_path / "notebooks" / "tracking" / "one.ipynb"
    write_notebook(render(read_lesson(script), "self_study"), path)
    return tmp_path, script, path


def test_fresh_notebooks_are_not_stale(project):
    assert stale(project[0]) == []


def test_an_edited_lesson_makes_its_notebook_stale(project):
    root, script, _ = project
    script.write_text(
        script.read_text(encoding="utf-8").replace("Two minutes", "Two hours"), encoding="utf-8"
    )
    assert stale(root) == []  # only the instructor's notebook shows that
    script.write_text(script.read_text(encoding="utf-8").replace("mean point", "middle"), encoding="utf-8")
    assert stale(root) == ["notebooks/tracking/one.ipynb differs from a fresh render of one."]


def test_a_missing_and_a_left_over_notebook_are_named(project):
    root, _, path = project
    path.rename(path.with_name("two.ipynb"))
    assert stale(root) == [
        "notebooks/tracking/one.ipynb is missing; expected the self-study notebook of one.",
        "notebooks/tracking/two.ipynb is left over; expected a lesson script of that name.",
    ]


def test_a_lesson_that_cannot_be_read_is_one_problem_among_others(project):
    root, script, _ = project
    script.write_text("x = 1\n", encoding="utf-8")
    (problem,) = stale(root)
    assert "one.py:1: expected the front matter" in problem


# ------------------------------------------------------------------------------------- execute


@pytest.fixture(scope="module")
def lesson():
    return read_lesson(SAMPLE)


@pytest.fixture(scope="module")
def solved(lesson):
    return execute(render(lesson, "instructor"))


@pytest.fixture
def tiny():
    from nbformat import v4

    def make(source):
        return v4.new_notebook(cells=[v4.new_code_cell(source)])

    return make


def test_the_solved_notebook_runs_and_fails_only_where_it_should(lesson, solved):
    assert execute_problems(lesson, solved) == []
    printed = [
        out.text for cell in solved.cells if cell.cell_type == "code" for out in cell.outputs if "text" in out
    ]
    assert printed == ["✓ twice the length\n", "✓ the centre of three points\n"]


def test_running_changes_only_the_copy_and_adds_no_times(tiny):
    before = tiny("1 + 1")
    after = execute(before)
    assert before.cells[0].outputs == []
    assert after.cells[0].execution_count == 1
    assert after.cells[0].outputs[0].data["text/plain"] == "2"
    assert after.cells[0].metadata == before.cells[0].metadata == {}


def test_a_stuck_learner_can_run_the_self_study_notebook_to_its_end(lesson):
    done = execute(render(lesson, "self_study"))
    assert execute_problems(lesson, done) == []
    assert (
        "not written yet" in next(cell for cell in done.cells if "# CHECK" in cell.source).outputs[0].evalue
    )


def test_an_error_that_nobody_meant_stops_the_run(lesson):
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="not written yet"):
        execute(render(lesson, "student"))


def test_a_cell_that_fails_with_other_words_or_not_at_all_is_named(lesson, tmp_path, solved):
    other = changed(tmp_path, 'fails="Are the points in columns?"', 'fails="Is the matrix transposed?"')
    (problem,) = execute_problems(other, solved)
    assert "expected an error with 'Is the matrix transposed?', got ValueError: " in problem
    assert problem.startswith(f"{other.path}:{at('fails=')}: ")
    works = changed(tmp_path, "points_t[:2].T)", "points_t)")
    (problem,) = execute_problems(works, execute(render(works, "instructor")))
    assert problem.endswith("got no error.")
    assert "expected this cell in the notebook" in execute_problems(works, solved)[-1]


def test_a_failure_that_was_let_through_is_named(lesson, solved):
    untagged = copy.deepcopy(solved)
    failed = next(cell for cell in untagged.cells if cell.metadata.get("tags"))
    failed.source += "  # not the lesson's cell"
    failed.metadata["tags"] = []
    problems = execute_problems(lesson, untagged)
    assert any("of the notebook failed: ValueError" in problem for problem in problems)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no IPC on Windows")
def test_the_kernel_speaks_over_files_and_is_gone_afterwards(tiny, tmp_path):
    code = "import os\nfrom ipykernel.connect import get_connection_info as info\n"
    code += "print(info(unpack=True)['transport'], os.getpid(), os.getcwd(), info(unpack=True)['ip'])"
    done = execute(tiny(code), cwd=tmp_path)
    transport, pid, folder, address = done.cells[0].outputs[0].text.split()
    assert transport == "ipc"
    assert Path(folder) == tmp_path.resolve()
    assert not Path(address).parent.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_where_a_path_is_too_long_for_a_socket_the_kernel_speaks_over_tcp(tiny, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    code = "from ipykernel.connect import get_connection_info as info\nprint(info(unpack=True)['transport'])"
    assert execute(tiny(code)).cells[0].outputs[0].text == "tcp\n"


def test_a_cell_that_takes_too_long_is_stopped(tiny):
    from nbclient.exceptions import CellTimeoutError

    with pytest.raises(CellTimeoutError):
        execute(tiny("import time\ntime.sleep(5)"), timeout_s=1)


# ------------------------------------------------------------------------- the project's lessons


def test_every_lesson_has_the_shape_of_a_lesson():
    assert [problem for path in LESSONS.values() for problem in anatomy(read_lesson(path))] == []


def test_every_exercise_has_a_name_that_no_other_lesson_uses():
    names = [name for path in LESSONS.values() for name in read_lesson(path).exercises]
    assert len(names) == len(set(names)), names


def test_every_self_study_notebook_is_fresh(root):
    assert stale(root) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
@pytest.mark.parametrize("kind", ["instructor", "self_study"])
def test_every_notebook_runs_from_top_to_bottom(name, kind, tmp_path):
    lesson = read_lesson(LESSONS[name])
    assert execute_problems(lesson, execute(render(lesson, kind), cwd=tmp_path)) == []
