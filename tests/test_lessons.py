"""Every lesson in notebooks/src: anatomy, freshness, execution; every exercise like code."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "notebooks" / "src").glob("*/*.py"))
COHORTS = [f"seed-{k}" for k in range(int(os.environ.get("NAVCOURSE_SEEDS", "3")))]
LEARNERS = [f"learner-{k}" for k in range(int(os.environ.get("NAVCOURSE_LEARNERS", "2")))]


def by_name(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def checks():
    from navcourse.grading.judge import load_checks

    return load_checks(ROOT / "grading" / "checks")


@pytest.fixture(scope="module")
def mistakes():
    from navcourse.grading.mistakes import load_mistakes

    return load_mistakes(ROOT / "grading" / "mistakes")


@pytest.fixture(scope="module")
def solutions():
    from navcourse.grading.mistakes import load_solutions

    return load_solutions(ROOT / "grading" / "mistakes")


def test_there_are_lessons_to_test():
    assert {"pointer_pivot", "point_registration", "volume_reconstruction"} <= {p.stem for p in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_a_lesson_has_the_anatomy_of_a_lesson(path):
    from navcourse.lesson import read_lesson
    from navcourse.verify import anatomy

    assert anatomy(read_lesson(path)) == []


def test_the_derived_notebooks_are_fresh():
    from navcourse.verify import stale

    assert stale(ROOT) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["instructor", "self_study"])
@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_a_notebook_runs_from_clean_and_says_nothing_on_stderr(path, kind):
    """The instructor's runs solved; the self-study one runs with its stubs: a stuck learner can go on."""
    from navcourse.lesson import read_lesson
    from navcourse.render import render
    from navcourse.verify import execute, execute_problems

    lesson = read_lesson(path)
    notebook = render(lesson, kind)
    if kind == "self_study":  # the stub's check fails for the learner too; everything else must run
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.source.startswith("# CHECK"):
                cell.metadata.setdefault("tags", []).append("raises-exception")
    done = execute(notebook, timeout_s=120, cwd=ROOT)
    if kind == "instructor":
        assert execute_problems(lesson, done) == []
    spoken = [
        out.text
        for cell in done.cells
        if cell.cell_type == "code"
        for out in cell.outputs
        if out.output_type == "stream" and out.name == "stderr"
    ]
    assert spoken == []


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_right_answers_pass_and_every_mistake_and_trick_is_caught(path, checks, mistakes, solutions):
    """The whole gate, 20 seeds and 30 learners: python -m navcourse.grading.gate --seeds 20 --learners 30."""
    from navcourse.grading.gate import exercise_problems
    from navcourse.lesson import read_lesson

    lesson = read_lesson(path)
    found = exercise_problems(lesson, checks, mistakes, COHORTS, solutions=solutions, learners=LEARNERS)
    assert found == []


def test_every_hidden_check_mistake_and_solution_belongs_to_an_exercise(checks, mistakes, solutions):
    from navcourse.lesson import read_lesson

    exercises = {name for path in SCRIPTS for name in read_lesson(path).exercises}
    assert set(checks) == exercises
    assert set(mistakes) == exercises
    assert set(solutions) == exercises
