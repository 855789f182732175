"""The quality gate finds what is wrong with an exercise: each kind of weak check, one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from navcourse.grading import gate as gates
from navcourse.grading.gate import exercise_problems, gate
from navcourse.grading.judge import Case, hidden, load_checks
from navcourse.grading.mistakes import Solution, load_mistakes, load_solutions, stages
from navcourse.lesson import read_lesson
from navkit.checking import close, orthogonal

HERE = Path(__file__).parent


def folder_with(tmp_path_factory, name: str) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    (folder / name).write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def lesson():
    return read_lesson(HERE / "sample_lesson.py")


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return load_checks(folder_with(tmp_path_factory, "sample_checks.py"))


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    return load_mistakes(folder_with(tmp_path_factory, "sample_mistakes.py"))


SOLUTIONS = {
    "double_mm": [Solution("double_mm", lambda length: length + np.asarray(length))],
    "centre_of": [
        Solution(
            "centre_of",
            lambda p: (sum(p) / len(p), max(np.sqrt(((p - sum(p) / len(p)) ** 2).sum(axis=1)))),
        )
    ],
}


def test_a_sound_lesson_passes_and_is_told_in_numbers(lesson, checks, mistakes):
    result = gate(lesson, checks, mistakes, ["a", "b"], solutions=SOLUTIONS, learners=["anna", "bo"])
    assert result.problems == ()
    row = next(row for row in result.rows if row.exercise == "double_mm")
    assert (row.cohorts, row.mistakes, row.most_by_tricks) == (2, 3, 0.0)
    assert row.answers == 3 + 1 + 3 + 6  # solution, stub, repetition; another; mistakes; tricks
    assert row.learners == 0  # the sample lesson loads no data
    assert 0 < row.visible_s < 2
    assert 0 < row.hidden_s < 2


def test_the_second_solution_is_demanded_and_tried(lesson, checks, mistakes):
    found = exercise_problems(
        lesson, checks, mistakes, ["a"], solutions={"double_mm": SOLUTIONS["double_mm"]}
    )
    assert found == ["centre_of: there is no second correct solution"]
    triple = {**SOLUTIONS, "double_mm": [Solution("double_mm", lambda length: 3 * np.asarray(length))]}
    (found,) = exercise_problems(lesson, checks, mistakes, ["a"], solutions=triple)
    assert "double_mm (cohort a): the solution <lambda> does not pass: ✗ twice the length: the error" in found


def test_each_exercise_needs_a_named_mistake(lesson, checks, mistakes):
    found = exercise_problems(lesson, checks, {"double_mm": mistakes["double_mm"] * 2}, ["a"])
    assert found == ["centre_of: there is no named mistake that its check catches"]


def test_a_second_solution_is_read_from_the_file_of_mistakes(tmp_path):
    (tmp_path / "lesson.py").write_text(
        "from navcourse.grading.mistakes import also_correct, mistake\n\n"
        "@also_correct('tip')\ndef other(x):\n    return x\n\n"
        "@mistake('tip', says='no')\ndef wrong(x):\n    return -x\n",
        encoding="utf-8",
    )
    assert [one.name for one in load_solutions(tmp_path)["tip"]] == ["other"]
    assert [one.name for one in load_mistakes(tmp_path)["tip"]] == ["wrong"]


def with_check(checks, function):
    return {**checks, "double_mm": hidden("double_mm")(function)}


def is_twice(x):
    return lambda answer: close(answer, 2 * x, atol=1e-9)


def test_a_check_that_asks_every_cohort_the_same_is_found(lesson, checks, mistakes):
    same = with_check(
        checks, lambda rng: [Case("one", (4.0,), is_twice(4.0)), Case("b", (9.0,), is_twice(9.0))]
    )
    found = exercise_problems(lesson, same, mistakes, ["a", "b"])
    assert "double_mm (cohort b): the copied answers of another cohort gets 2 points" in found


def test_a_check_that_asks_what_the_visible_one_asks_is_found(lesson, checks, mistakes):
    same = with_check(checks, lambda rng: [Case("one", (3.5,), is_twice(3.5))])
    found = exercise_problems(lesson, same, mistakes, ["a"])
    assert "double_mm (cohort a): a constant gets 2 points" in found
    assert "double_mm (cohort a): the copied visible answers gets 2 points" in found


def test_a_check_that_stumbles_over_a_wrong_answer_is_found(lesson, checks, mistakes):
    def stumbles(rng):
        def verify(answer):
            assert answer.shape == (7,), "expected seven numbers"
            close(answer, [0.0] * 7, atol=1e9)

        x = rng.normal(size=7)
        yield Case("seven", (x,), verify)

    found = exercise_problems(lesson, with_check(checks, stumbles), mistakes, ["a"])
    assert any("a constant is not told what is wrong" in one and "AttributeError" in one for one in found)


@pytest.mark.parametrize(
    ("check", "fooled"),
    [
        ("assert double_mm(3.5) == 7\nprint('✓')", "an object that equals everything"),
        ("assert np.all(double_mm(3.5) == 7)\nprint('✓')", "an array that equals everything"),
        ("got = double_mm(3.5)\nassert np.allclose(got, 7)\nprint('✓')", "patched numpy"),
    ],
)
def test_a_visible_check_that_can_be_fooled_is_found(lesson, checks, mistakes, monkeypatch, check, fooled):
    def weak(lesson, *, learner=""):
        found = stages(lesson, learner=learner)
        return {**found, "double_mm": replace(found["double_mm"], check=check)}

    monkeypatch.setattr(gates, "stages", weak)
    before = np.allclose
    found = exercise_problems(lesson, checks, mistakes, ["a"])
    assert np.allclose is before  # what an answer patches is put back
    assert f"double_mm (cohort a): {fooled} passes the visible check" in found


def test_a_check_that_takes_too_long_is_found(lesson, checks, mistakes, monkeypatch):
    monkeypatch.setattr(gates, "MOST_S", 0.0)
    found = exercise_problems(lesson, checks, mistakes, ["a"])
    assert any(one.startswith("double_mm: the hidden check takes") for one in found)
    assert any(one.startswith("centre_of: the visible check takes") for one in found)


def test_partial_marks_of_a_wrong_answer_reach_the_judge(lesson, checks, mistakes):
    def part(rng):
        x = float(rng.uniform(1, 9))
        turn = np.eye(3)[[1, 2, 0]]

        def verify(answer):
            close(turn, 2 * x * turn, atol=1e-9, what="it", properties=[orthogonal(0.25)])

        yield Case("half", (x,), verify)

    from navcourse.grading.mistakes import trial

    result = trial(lesson, "double_mm", lambda length: length, with_check(checks, part), "a")
    assert result.verdict.points == 0.5
    assert result.verdict.lines[0].startswith("✗ half: earns 25 %; the largest error of it is")


# -- learners' own data ----------------------------------------------------------------------------------


def lesson_with_data(folder: Path, check: str):
    text = (HERE / "sample_lesson.py").read_text(encoding="utf-8")
    text = text.replace("from navkit.checking import check, close\n", "from navkit import datasets\n\\g")
    text = text.replace("\\g", "from navkit.checking import check, close\n")
    start, end = text.index("points_t = np.array"), text.index("points_pr =")
    text = text[:start] + 'points_t = datasets.load("head_fiducials")["fiducials_pr_true"]\n' + text[end:]
    start, end = text.index("    centre, radius = centre_of("), text.index("\n\nthree_points(centre_of)")
    text = text[:start] + check + "\n" + text[end:]
    path = folder / "sample_lesson.py"
    path.write_text(text, encoding="utf-8")
    return read_lesson(path)


def test_each_learner_has_data_of_their_own(tmp_path, checks, mistakes):
    own = lesson_with_data(
        tmp_path,
        "    centre, radius = centre_of(points_pr)\n"
        '    close(centre, points_pr.mean(axis=0), atol=1e-9, unit="mm", what="the centre")',
    )
    shown = {who: stages(own, learner=who)["centre_of"].names["points_pr"] for who in ("", "anna", "bo")}
    assert len({points.tobytes() for points in shown.values()}) == 3
    result = gate(own, checks, mistakes, ["a"], solutions=SOLUTIONS, learners=["anna", "bo", "eva"])
    assert [one for one in result.problems if "learner" in one] == [
        # the first exercise of the sample does not look at its data
        f"double_mm (learner {who}): the copied answers of another learner pass the visible check"
        for who in ("anna", "bo", "eva")
    ]
    assert {row.exercise: row.learners for row in result.rows} == {"double_mm": 3, "centre_of": 3}


def test_a_check_that_holds_for_the_courses_data_only_is_found(tmp_path, checks, mistakes):
    centre = (
        stages(lesson_with_data(tmp_path, "    assert centre_of(points_pr)[0] is not None"))["centre_of"]
        .names["points_pr"]
        .mean(axis=0)
    )
    fixed = lesson_with_data(tmp_path, f"    close(centre_of(points_pr)[0], {centre.tolist()}, atol=1e-6)")
    found = exercise_problems(fixed, checks, mistakes, ["a"], solutions=SOLUTIONS, learners=["anna"])
    assert any(
        "centre_of (learner anna): the solution does not pass: ✗ the centre of three" in one for one in found
    )


def test_the_command_prints_a_table_and_says_by_its_code_whether_all_is_well(tmp_path, monkeypatch, capsys):
    root = tmp_path
    for folder, name in (("checks", "sample_checks.py"), ("mistakes", "sample_mistakes.py")):
        (root / "grading" / folder).mkdir(parents=True)
        (root / "grading" / folder / name).write_text(
            (HERE / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    (root / "notebooks" / "src" / "m").mkdir(parents=True)
    text = (HERE / "sample_lesson.py").read_text(encoding="utf-8")
    (root / "notebooks" / "src" / "m" / "sample_lesson.py").write_text(text, encoding="utf-8")
    assert gates.main(["--root", str(root), "--seeds", "1", "--learners", "0"]) == 1
    said = capsys.readouterr().out
    assert "double_mm                 1         0" in said
    assert "✗ double_mm: there is no second correct solution" in said
    assert gates.main(["--root", str(root), "--lesson", "absent"]) == 0
