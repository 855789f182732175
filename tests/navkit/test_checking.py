"""Self-checks: never wrong about a right answer, never fooled, and they say what is wrong."""

import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.checking import CheckFailed, check, close, close_pose

TIP = np.array([-14.473, 394.634, -7.407])
POSE = np.eye(4)
POSE[:3, :3] = Rotation.from_euler("xyz", [20, -50, 130], degrees=True).as_matrix()
POSE[:3, 3] = [120.3, -35.7, 260.1]  # none of them exact in single precision


@check("the tip")
def tip_is_right(find_tip):
    close(find_tip(), TIP, atol=0.1, unit="mm", what="the tip")


def message_of(function, *args, **kwargs) -> str:
    with pytest.raises(CheckFailed) as caught:
        function(*args, **kwargs)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    message = str(caught.value)
    assert message.count("\n") == 0
    assert len(message) < 400
    return message


# -- a right answer is never told that it is wrong ---------------------------------------------------


class Dressed(np.ndarray):
    """An ndarray subclass."""


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (list(TIP), TIP),
        (tuple(TIP), TIP),
        (TIP.astype(np.float32), TIP),
        ([np.float64(x) for x in TIP], TIP),
        ([np.array(x) for x in TIP], TIP),
        (TIP.view(Dressed), TIP),
        (np.asfortranarray(np.stack([TIP, 2 * TIP])), np.stack([TIP, 2 * TIP])),
        (TIP + 0j, TIP),
        (np.array(7.0), 7),
        (7, 7.0),
        (np.int64(7), np.array(7.0)),
        (np.float32(0.1), 0.1),
        (Fraction(7, 2), 3.5),
        (True, 1),
        ([2**70], [float(2**70)]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        ([1.0, np.nan], [1.0, np.nan]),
    ],
)
def test_a_right_answer_in_any_clothes_passes(got, expected):
    assert close(got, expected, atol=1e-12) is None


def test_an_error_of_the_tolerance_itself_passes_and_a_little_more_does_not():
    close(TIP + 0.25, TIP, atol=0.25)
    with pytest.raises(CheckFailed):
        close(TIP + 0.2501, TIP, atol=0.25)
    with pytest.raises(CheckFailed):
        close(TIP - 0.2501, TIP, atol=0.25)


def test_single_precision_is_forgiven_its_last_digits_and_nothing_more():
    close(TIP.astype(np.float32), TIP, atol=0)
    with pytest.raises(CheckFailed):
        close(TIP.astype(np.float32) + np.float32(0.01), TIP, atol=0)
    with pytest.raises(CheckFailed):
        close(TIP.astype(np.float16), TIP, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_right_pose_passes_also_in_single_precision(kind):
    assert close_pose(POSE.astype(kind), POSE, atol_mm=1e-9, atol_deg=1e-9) is None
    assert close_pose(POSE.tolist(), POSE, atol_mm=1e-9, atol_deg=1e-9) is None


def test_the_arguments_are_not_written_to():
    got, truth = np.array([1.0, np.nan]), np.array([1.0, np.nan])
    close(got, truth, atol=1)
    np.testing.assert_array_equal(got, truth)
    pose = POSE.copy()
    close_pose(pose, POSE, atol_mm=1, atol_deg=1)
    assert np.array_equal(pose, POSE)


# -- what is not an answer is refused ----------------------------------------------------------------


class Yes:
    """Equals everything."""

    __hash__ = None

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    __rsub__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__


class YesNumber(float):
    __hash__ = float.__hash__

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    __rsub__ = __abs__ = lambda self, *other: 0.0


class YesArray(np.ndarray):
    def __eq__(self, other):
        return np.ones(self.shape, dtype=bool)

    def __sub__(self, other):
        return np.zeros(self.shape)

    __rsub__ = __sub__

    def __array_function__(self, func, types, args, kwargs):
        return True

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return np.zeros(self.shape)


class YesMaker:
    """Makes an array that is a trap, when asked for one."""

    def __array__(self, dtype=None, copy=None):
        return np.zeros(3).view(YesArray)


@pytest.mark.parametrize(
    "got", [Yes(), [Yes(), Yes(), Yes()], [YesNumber(3)] * 3, np.zeros(3).view(YesArray), YesMaker()]
)
def test_an_object_that_equals_everything_fails(got):
    message_of(close, got, TIP, atol=0.1)
    assert message_of(tip_is_right, lambda: got).startswith("✗ the tip: ")


def test_an_array_that_equals_everything_is_no_pose():
    said = message_of(close_pose, np.eye(4).view(YesArray), POSE, atol_mm=0.1, atol_deg=0.1)
    assert "its origin is 289 mm away" in said


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (None, "returned None instead of the tip: did you forget `return`?"),
        ("abc", "of type str; expected numbers"),
        ("-14.473", "of type str; expected numbers"),
        ({"tip": 1}, "of type dict; expected numbers"),
        (lambda: TIP, "of type function; expected numbers"),
        ((TIP, 0.5), "tuple of 2 parts that do not form one array"),
        ([1.0, None, 2.0], "contains None"),
        (TIP + 1j, "complex numbers"),
        (TIP[:, None], "shape (3, 1); expected (3,)"),
        (TIP[:2], "shape (2,); expected (3,)"),
        (np.zeros(0), "shape (0,); expected (3,)"),
        (TIP * [1, np.nan, 1], "nan at index 1; expected a finite number"),
        (TIP * np.inf, "(3 numbers in all)"),
    ],
)
def test_what_is_not_an_answer_is_named(got, says):
    assert says in message_of(close, got, TIP, atol=0.1, what="the tip")


def test_points_in_columns_are_named():
    points = np.arange(12.0).reshape(4, 3)
    assert "rows and columns swapped" in message_of(close, points.T, points, atol=1)


def test_no_data_must_stay_no_data():
    assert "expected NaN" in message_of(close, [1.0, 0.0], [1.0, np.nan], atol=10)


# -- the message ------------------------------------------------------------------------------------


def test_the_message_has_the_largest_error_where_it_is_the_tolerance_and_the_unit():
    message = message_of(
        close, TIP + [0.1, -2.5, 1.0], TIP, atol=0.3, unit="mm", what="the tip", hint="Think again."
    )
    assert message == "the largest error of the tip is 2.5 mm, at index 1 (tolerance 0.3 mm). Think again."


def test_the_message_does_not_give_the_answer_away():
    assert "394" not in message_of(close, TIP + 1.0, TIP, atol=0.3, unit="mm")


def test_error_and_tolerance_never_read_the_same():
    assert "0.300001 mm (tolerance 0.3 mm)" in message_of(close, 0.300001, 0.0, atol=0.3, unit="mm")


def test_the_one_likely_mistake_is_named():
    likely = {"the pivot, not the tip": TIP[::-1], "the tip with its sign changed": -TIP}
    assert "This looks like the pivot, not the tip." in message_of(
        close, TIP[::-1] + 0.01, TIP, atol=0.1, likely=likely
    )
    assert "looks like" not in message_of(close, TIP + 1.0, TIP, atol=0.1, likely=likely)


def test_two_likely_mistakes_name_none():
    likely = {"one": TIP + 1.0, "another": TIP + 1.02}
    assert "looks like" not in message_of(close, TIP + 1.01, TIP, atol=0.1, likely=likely)


def test_a_likely_mistake_that_the_truth_fits_too_is_never_named():
    likely = {"forgot the offset": TIP + 0.05}
    close(TIP + 0.08, TIP, atol=0.1, likely=likely)
    assert "looks like" not in message_of(close, TIP + 0.12, TIP, atol=0.1, likely=likely)


def test_a_likely_mistake_that_is_nan_fits_no_number():
    likely = {"nothing at all": TIP * np.nan, "the division by zero": TIP * [1, np.nan, 1]}
    assert "looks like" not in message_of(close, TIP + 1, TIP, atol=0.1, likely=likely)
    message = message_of(close, TIP * [1, np.nan, 1], TIP, atol=0.1, likely=likely)
    assert message.endswith("expected a finite number. This looks like the division by zero.")


def test_a_likely_mistake_of_another_shape_is_named():
    points = np.arange(12.0).reshape(4, 3) ** 2
    likely = {"only the first point": points[0]}
    message = message_of(close, points[0], points, atol=0.1, likely=likely)
    assert "expected (4, 3)" in message
    assert "This looks like only the first point." in message


# -- poses --------------------------------------------------------------------------------------------


def moved(pose, *, mm=(0, 0, 0), deg=0.0):
    out = pose.copy()
    axis = np.array([1.0, -2.0, 0.5])
    out[:3, :3] = (
        out[:3, :3] @ Rotation.from_rotvec(np.radians(deg) * axis / np.linalg.norm(axis)).as_matrix()
    )
    out[:3, 3] += mm
    return out


def test_a_pose_is_judged_in_millimetres_and_degrees():
    near = moved(POSE, mm=(0.3, 0.0, -0.4), deg=0.9)
    close_pose(near, POSE, atol_mm=0.51, atol_deg=0.91)
    message = message_of(close_pose, near, POSE, atol_mm=0.49, atol_deg=0.91)
    assert "origin is 0.5 mm away (tolerance 0.49 mm); the rotation is right" in message
    message = message_of(close_pose, near, POSE, atol_mm=0.51, atol_deg=0.89)
    assert "rotation is 0.9 deg away (tolerance 0.89 deg); the origin is right" in message
    message = message_of(close_pose, near, POSE, atol_mm=0.1, atol_deg=0.1)
    assert "0.5 mm" in message
    assert "0.9 deg" in message


@pytest.mark.parametrize("angle", [1e-5, 0.01, 30.0, 90.0, 179.0, 180.0])
def test_the_angle_is_right_from_tiny_to_half_a_turn(angle):
    close_pose(moved(POSE, deg=angle), POSE, atol_mm=0.1, atol_deg=angle * (1 + 1e-6))
    with pytest.raises(CheckFailed, match="deg away"):
        close_pose(moved(POSE, deg=angle), POSE, atol_mm=0.1, atol_deg=angle * 0.9)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (POSE[:3], "shape (3, 4); expected (4, 4)"),
        (POSE.T, "This looks like the whole matrix transposed"),
        (moved(POSE, deg=5).T, "Is the matrix transposed?"),
        (POSE @ np.diag([1, 1, -1, 1]), "mirror image (determinant -1)"),
        (POSE @ np.diag([1.1, 1.1, 1.1, 1]), "a scale of 1.1"),
        (POSE @ np.diag([1.1, 1.0, 1.0, 1]), "is not a rotation"),
        (POSE * np.nan, "expected a finite number"),
        (None, "returned None instead of the transform"),
    ],
)
def test_what_is_not_a_rigid_transform_is_named(got, says):
    assert says in message_of(close_pose, got, POSE, atol_mm=0.1, atol_deg=0.1)


def test_a_likely_mistake_of_a_pose_is_named_even_when_it_is_a_mirror():
    likely = {"the inverse": np.linalg.inv(POSE), "no reflection guard": POSE @ np.diag([1, 1, -1, 1])}
    for name, wrong in likely.items():
        message = message_of(close_pose, wrong, POSE, atol_mm=0.1, atol_deg=0.1, likely=likely)
        assert f"This looks like {name}." in message


# -- the decorator ------------------------------------------------------------------------------------


def test_a_passing_check_prints_one_line_and_is_silent_on_stderr(capsys):
    def find_tip():
        warnings.warn("slow", stacklevel=1)
        print("noise", file=sys.stderr)
        return TIP * np.log(np.array([0.0, np.e]))[1]

    assert tip_is_right(find_tip) is None
    assert capsys.readouterr() == ("✓ the tip\n", "")


def test_a_failing_check_prints_nothing_and_raises_one_sentence(capsys):
    message = message_of(tip_is_right, lambda: TIP + 1)
    assert message == "✗ the tip: the largest error of the tip is 1 mm, at index 0 (tolerance 0.1 mm)."
    assert capsys.readouterr() == ("", "")


def test_jupyter_shows_the_sentence_alone():
    with pytest.raises(CheckFailed) as caught:
        tip_is_right(lambda: TIP + 1)
    assert caught.value._render_traceback_() == [str(caught.value)]


def test_a_stub_is_told_that_it_is_not_written_yet():
    def find_tip():
        raise NotImplementedError("Replace this line with your code.")

    expected = "✗ the tip: not written yet: replace `raise NotImplementedError(...)` with your code."
    assert message_of(tip_is_right, find_tip) == expected


def test_an_error_in_the_learners_function_is_told_with_its_type_and_line():
    def find_tip():
        count = 0
        return TIP / np.zeros(4 + count)

    message = message_of(tip_is_right, find_tip)
    line = find_tip.__code__.co_firstlineno + 2
    assert message.startswith("✗ the tip: your function stopped with ValueError: operands could not be")
    assert f"(line {line}: `return TIP / np.zeros(4 + count)`)" in message


def test_an_error_that_is_long_or_cannot_print_is_still_one_short_sentence():
    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError

    def with_error(error):
        def find_tip():
            raise error

        return find_tip

    assert "SilentError" in message_of(tip_is_right, with_error(SilentError()))
    assert "..." in message_of(tip_is_right, with_error(ValueError("many\nwords " * 100)))
    assert "SystemExit" in message_of(tip_is_right, with_error(SystemExit(0)))


def test_an_interrupt_is_not_swallowed():
    def find_tip():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tip_is_right(find_tip)


def test_an_answer_that_the_check_cannot_unpack_is_explained():
    @check("two results")
    def two(function):
        centre, _ = function()
        close(centre, TIP, atol=1)

    assert "did you forget `return`?" in message_of(two, lambda: None)
    assert "Does your function return what the task asks for?" in message_of(two, lambda: 3.0)


def test_a_plain_assertion_of_the_lesson_author_is_told():
    @check("order")
    def order(function):
        assert function() > 0, "the distance is negative"

    assert message_of(order, lambda: -1).startswith("✗ order: the distance is negative")


def test_a_learner_who_patches_numpy_gains_nothing(monkeypatch):
    def find_tip():
        for name in ("allclose", "isclose", "all", "any", "array_equal", "isfinite", "isnan"):
            monkeypatch.setattr(np, name, lambda *a, **k: True)
        for name in ("abs", "absolute", "max", "argmax", "subtract"):
            monkeypatch.setattr(np, name, lambda *a, **k: 0.0)
        for name in ("array", "asarray"):
            monkeypatch.setattr(np, name, lambda *a, **k: TIP)
        monkeypatch.setattr(np.linalg, "norm", lambda *a, **k: 0.0)
        return [1.0, 2.0, 3.0]

    message = message_of(tip_is_right, find_tip)
    assert "the largest error of the tip" in message


def test_the_decorated_function_keeps_its_name():
    assert tip_is_right.__name__ == "tip_is_right"
