"""The border between learner and judge: what may cross it, and who decides the score."""

import base64
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from navcourse.grading.codec import MAX_BYTES, CodecError, decode, encode
from navcourse.grading.gate import exercise_problems
from navcourse.grading.judge import Case, cases, hidden, load_checks, score
from navcourse.grading.mistakes import load_mistakes, mistake, stage, trial
from navcourse.grading.probe import MARKER, NOT_WRITTEN, answers_from, ask
from navkit.checking import CheckFailed, language

HERE = Path(__file__).parent


def text_of(members: dict[str, bytes]) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return base64.b64encode(buffer.getvalue()).decode()


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def copied_folder(folder: Path, *names: str) -> Path:
    """A folder with the sample files as one lesson each, as in grading/checks."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return load_checks(copied_folder(tmp_path_factory.mktemp("c") / "checks", "sample_checks.py"))


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    return load_mistakes(copied_folder(tmp_path_factory.mktemp("m") / "mistakes", "sample_mistakes.py"))


@pytest.fixture(scope="module")
def lesson():
    from navcourse.lesson import read_lesson

    return read_lesson(HERE / "sample_lesson.py")


def as_learner(function):
    function.__module__ = "__main__"
    return function


# ---------------------------------------------------------------------------------------- codec


@pytest.mark.parametrize(
    "value",
    [
        3,
        -2.5,
        True,
        1 + 2j,
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([np.nan, np.inf, -0.0]),
        np.zeros((0, 3)),
        [1, 2, 3],
        (np.eye(4), 0.25),
        (7,),
        np.float64(2.5),
        np.array(4),
        (),
    ],
)
def test_numbers_and_arrays_come_back_as_they_were(value):
    back = decode(encode(value))
    assert isinstance(back, tuple) == isinstance(value, tuple)
    pairs = zip(back, value, strict=True) if isinstance(value, tuple) else [(back, value)]
    for got, wanted in pairs:
        np.testing.assert_array_equal(got, wanted)
        assert np.asarray(got).dtype == np.asarray(wanted).dtype
        assert type(got) in ((np.ndarray,) if np.ndim(wanted) else (int, float, bool, complex))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "returned None; expected an array or a number"),
        ("12 mm", "returned a text; expected an array or a number"),
        ({"tip": 1}, "returned a dict; expected an array or a number"),
        (object(), "returned a object; expected an array or a number"),
        (np.array([1, None]), "returned a ndarray; expected an array or a number"),
        ([[1, 2], [3]], "returned a list; expected an array or a number"),
        ((1.0, None), "returned None as part 2 of the tuple; expected an array or a number"),
        (np.zeros(MAX_BYTES + 1, dtype=np.uint8), "returned 64 MB of numbers; expected at most 64 MB"),
        (tuple(range(65)), "returned a tuple of 65 parts; expected at most 64"),
    ],
)
def test_what_is_no_number_is_refused_in_a_sentence(value, sentence):
    with pytest.raises(CodecError) as caught:
        encode(value)
    assert str(caught.value) == sentence


def test_an_array_of_a_class_of_ones_own_becomes_a_plain_one():
    class Agreeable(np.ndarray):
        def __eq__(self, other):
            return np.ones(self.shape, dtype=bool)

    back = decode(encode(np.arange(3.0).view(Agreeable)))
    assert type(back) is np.ndarray
    assert not (back == 7).any()


HUGE_HEADER = npy(np.zeros(3)).replace(b"(3,)", b"(9,)")
OVERFLOWING = npy(np.zeros(0)).replace(b"(0,), }      ", b"(1<<62, 4), }")


@pytest.mark.parametrize(
    "text",
    [
        "no base64 at all!",
        base64.b64encode(b"no zip file").decode(),
        text_of({}),
        text_of({"single_00.npy": npy(np.array([{"a": 1}]), allow_pickle=True)}),
        text_of({"single_00.npy": npy(np.array(["a text"]))}),
        text_of({"single_00.npy": npy(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]))}),
        text_of({"single_00.npy": HUGE_HEADER}),
        text_of({"single_00.npy": OVERFLOWING}),
        text_of({"single_00.npy": b"\x93NUMPY\x01\x00"}),
        text_of({"single_00.npy": npy(np.zeros(MAX_BYTES + 300_000, dtype=np.uint8))}),
        text_of({"single_00.npy": npy(np.zeros(1)), "single_01.npy": npy(np.zeros(1))}),
    ],
)
def test_a_forged_answer_is_refused_and_never_unpickled(text):
    with pytest.raises(CodecError):
        decode(text)


# ---------------------------------------------------------------------------------------- probe


def test_the_answers_pass_as_text_and_errors_as_sentences():
    @as_learner
    def half(x):
        if np.ndim(x):
            raise ValueError("only\none number")
        print("a print is not an answer")
        return x / 2

    assert ask(half, [(3.0,), (np.ones(2),)]) == [(True, 1.5), (False, "raised ValueError: only one number")]


def test_a_call_cannot_change_the_inputs_of_the_next():
    @as_learner
    def greedy(x):
        x += 1
        return x

    start = np.zeros(2)
    answers = ask(greedy, [(start,), (start,)])
    np.testing.assert_array_equal([value for _, value in answers], np.ones((2, 2)))
    np.testing.assert_array_equal(start, 0)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (None, "there is no function tip in the notebook: was its cell run, and is the name right?"),
        (3.0, "tip is a float; expected a function"),
        (np.linalg.norm, "tip was imported; expected a function written in this notebook"),
    ],
)
def test_only_a_function_written_in_the_notebook_is_asked(function, sentence):
    assert ask(function, [(1.0,)], exercise="tip") == [(False, sentence)]


def test_a_stub_says_that_it_is_not_written():
    @as_learner
    def stub(x):
        raise NotImplementedError("Replace this line with your code.")

    assert ask(stub, [(1.0,)]) == [(False, NOT_WRITTEN)]


@pytest.mark.parametrize("raised", [SystemExit(0), GeneratorExit(), MemoryError("all of it")])
def test_an_exit_in_the_function_is_an_error_like_others(raised):
    @as_learner
    def leaves(x):
        raise raised

    ((ok, sentence),) = ask(leaves, [(1.0,)])
    assert not ok
    assert type(raised).__name__ in sentence


@pytest.mark.parametrize(
    "line",
    ["", "[", "{}", "[]", '[{"value": 3}]', '[{"value": "forged"}]', "[1]", "[" * 100_000, '[{"points": 2}]'],
)
def test_a_forged_line_answers_nothing(line):
    ((ok, sentence),) = answers_from(f"{MARKER}n:{line}\n", 1, "n")
    assert not ok
    assert sentence


def test_a_line_without_this_runs_word_is_not_read():
    line = json.dumps([{"value": encode(1.0)}])
    assert answers_from(f"{MARKER}mine:{line}", 1, "mine") == [(True, 1.0)]
    assert answers_from(f"{MARKER}guessed:{line}", 1, "mine")[0][0] is False


# ---------------------------------------------------------------------------------------- judge


def is_two(answer):
    if answer != 2:
        raise AssertionError("expected 2")


def surprised(answer):
    raise KeyError("shape")


def test_the_score_is_the_share_of_cases_as_a_plain_number():
    asked = [Case("one", (1,), is_two), Case("two", (1,), is_two), Case("three", (1,), is_two)]
    verdict = score(asked, [(True, 2), (True, 3), (False, "raised ValueError: x")], 2)
    assert verdict.points == 0.67
    assert type(verdict.points) is float
    assert verdict.lines == ("✓ one", "✗ two: expected 2", "✗ three: raised ValueError: x")
    # 0.333 rounds up to more than there is: nbgrader loses such a submission
    assert score(asked[:1], [(True, 2)], 0.333).points == 0.333
    assert score(asked[:1], [(True, 2)], 0.126).points == 0.126


def test_a_missing_answer_and_a_surprise_in_the_check_do_not_pass():
    verdict = score([Case("a", (), surprised), Case("b", (), is_two)], [(True, 2)], 4)
    assert verdict.points == 0
    assert verdict.lines == (
        "✗ a: this answer could not be compared (KeyError: 'shape')",
        "✗ b: no answer came back",
    )


def test_a_failed_case_earns_what_its_properties_earn_and_never_all():
    def fails(earned):
        def verify(answer):
            raise CheckFailed("wrong", earned=earned)

        return Case("a part", (), verify)

    asked = [fails(0.25), Case("two", (), is_two), fails(0.0)]
    verdict = score(asked, [(True, 1), (True, 2), (True, 1)], 6)
    assert verdict.points == 2.5
    assert verdict.lines == ("✗ a part: earns 25 %; wrong", "✓ two", "✗ a part: wrong")
    with language("nb"):
        assert score(asked, [(True, 1)], 6).lines[0] == "✗ a part: gir 25 %; wrong"
    assert score([fails(7.0)], [(True, 1)], 1).points == 0.9
    assert score([fails(-7.0)], [(True, 1)], 1).points == 0.0
    assert score([fails(0.5)], [(False, "raised")], 1).points == 0.0


def test_an_object_that_equals_everything_gains_nothing(checks):
    class Yes(float):
        def __eq__(self, other):
            return True

        __hash__ = None

        def __sub__(self, other):
            return 0.0

        __rsub__ = __sub__

    asked = cases(checks["double_mm"], "autumn")
    answers = ask(as_learner(lambda length: Yes(3.0)), [c.inputs for c in asked], exercise="double_mm")
    assert score(asked, answers, 2).points == 0

    class Everything:
        def __eq__(self, other):
            return True

        __hash__ = None

    answers = ask(as_learner(lambda length: Everything()), [c.inputs for c in asked], exercise="double_mm")
    assert score(asked, answers, 2).points == 0


def test_cases_are_one_cohorts_own_and_repeatable(checks):
    def inputs(cohort):
        return np.concatenate([np.ravel(c.inputs[0]) for c in cases(checks["centre_of"], cohort)])

    np.testing.assert_array_equal(inputs("autumn"), inputs("autumn"))
    assert not np.isclose(inputs("autumn"), inputs("spring")).any()


def test_a_hidden_check_without_cases_is_an_instructors_error():
    with pytest.raises(ValueError, match="the hidden check of 'tip' yields no case"):
        cases(hidden("tip")(lambda rng: []), "autumn")


def test_two_hidden_checks_for_one_exercise_are_refused(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(
            "from navcourse.grading.judge import hidden\n\n@hidden('tip')\ndef f(rng):\n    yield 1\n",
            encoding="utf-8",
        )
    with pytest.raises(ValueError, match=r"b\.py: a second hidden check for 'tip'"):
        load_checks(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        load_checks(tmp_path / "absent")


# --------------------------------------------------------------- exercises, tested like code


def test_the_sample_lesson_is_sound_for_several_cohorts(lesson, checks, mistakes):
    assert exercise_problems(lesson, checks, mistakes, ["autumn", "spring", "x"]) == []


def test_the_engine_names_what_is_wrong_with_an_exercise(lesson, checks, mistakes):
    wrong = dict(mistakes)
    wrong["double_mm"] = [
        mistake("double_mm", says="you forgot the unit")(lambda length: length),
        mistake("double_mm", says="twice")(lambda length: 2 * np.asarray(length)),
    ]
    easy = hidden("centre_of")(lambda rng: [Case("easy", (np.eye(3),), lambda answer: None)])
    found = exercise_problems(lesson, {**checks, "centre_of": easy}, wrong, ["autumn"])
    assert any("is not told 'you forgot the unit'" in f for f in found)
    assert any("double_mm (cohort autumn): the mistake <lambda> gets full marks" in f for f in found)
    assert any("centre_of (cohort autumn): the mistake median gets full marks" in f for f in found)
    few = exercise_problems(lesson, {"double_mm": checks["double_mm"]}, {}, ["autumn"])
    assert "centre_of: there is no hidden check" in few
    assert "the lesson has 0 named mistakes; expected at least 6" in few

    strict = hidden("double_mm")(lambda rng: [Case("impossible", (1.0,), surprised)])
    found = exercise_problems(lesson, {**checks, "double_mm": strict}, mistakes, ["autumn"])
    assert any("double_mm (cohort autumn): the solution does not pass" in f for f in found)


def test_a_half_right_answer_reads_what_is_wrong_and_gets_half(lesson, checks):
    source = "def double_mm(length_mm):\n    return 2 * length_mm if np.ndim(length_mm) == 0 else length_mm\n"
    result = trial(lesson, "double_mm", source, checks, "autumn")
    assert result.verdict.points == 1.0
    assert "✗" not in result.visible_text
    assert result.visible_text
    assert result.verdict.lines[0] == "✓ one length"
    assert "the length itself" in result.verdict.lines[1]


def test_a_stage_knows_the_names_of_the_lesson_and_refuses_an_unknown_exercise(lesson, checks):
    at = stage(lesson, "centre_of")
    assert at.points == 3
    trial(lesson, "centre_of", at.solution, checks, "autumn", prepared=at)
    assert "centre_of" not in at.names  # one answer leaves nothing for the next
    assert stage(lesson, "centre_of").names["points_pr"].shape == (3, 3)
    with pytest.raises(ValueError, match="no exercise 'absent'"):
        stage(lesson, "absent")
