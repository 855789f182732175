"""Known mistakes are named without the author's help: each alone, never a wrong one."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.checking import CheckFailed, close, close_pose, close_quaternion

TURN = Rotation.from_euler("xyz", [20, -50, 130], degrees=True)
POSE = np.eye(4)
POSE[:3, :3], POSE[:3, 3] = TURN.as_matrix(), [120.3, -35.7, 260.1]
A, B = POSE, np.eye(4)
B[:3, :3], B[:3, 3] = Rotation.from_rotvec([0.4, 0.9, -0.3]).as_matrix(), [-17.0, 44.0, 81.0]
RAS = np.diag([-1.0, -1, 1, 1])
ZYX = np.eye(4)[[2, 1, 0, 3]]
POINTS = np.array([[12.0, -31.0, 55.0], [40.0, 8.0, -23.0], [-9.0, 17.0, 71.0], [3.0, -60.0, 29.0]])
IMAGE = np.arange(30.0).reshape(5, 6) ** 1.5


def mistake_of(function, *args, **options) -> str:
    with pytest.raises(CheckFailed) as caught:
        function(*args, **options)
    named = caught.value.mistake
    assert ("This looks like" in str(caught.value)) == bool(named)
    return named


def with_(pose, rotation=None, shift=None):
    out = pose.copy()
    out[:3, :3] = out[:3, :3] if rotation is None else rotation
    out[:3, 3] = out[:3, 3] if shift is None else shift
    return out


def rotvec(factor):
    return Rotation.from_rotvec(factor * TURN.as_rotvec()).as_matrix()


WRONG_POSES = {
    "inverse": np.linalg.inv(POSE),
    "transposed_rotation": with_(POSE, POSE[:3, :3].T),
    "transposed_matrix": POSE.T,
    "ras_both": RAS @ POSE @ RAS,
    "ras_to": RAS @ POSE,
    "ras_from": POSE @ RAS,
    "axes_reversed": ZYX @ POSE @ ZYX,
    "mirrored_pose": with_(POSE, POSE[:3, :3] @ np.diag([1, -1, 1])),
    "metres": with_(POSE, shift=POSE[:3, 3] / 1000),
    "opposite_translation": with_(POSE, shift=-POSE[:3, 3]),
    "degrees_turn": with_(POSE, rotvec(np.degrees(1))),
    "radians_turn": with_(POSE, rotvec(np.radians(1))),
    "no_translation": with_(POSE, shift=0.0),
    "no_rotation": with_(POSE, np.eye(3)),
    "identity": np.eye(4),
}


@pytest.mark.parametrize("name", WRONG_POSES)
def test_a_known_mistake_of_a_pose_is_named(name):
    wrong = WRONG_POSES[name]
    assert mistake_of(close_pose, wrong, POSE, atol_mm=0.01, atol_deg=0.01) == name
    # an answer within the tolerance of the mistake is the mistake as well, and a wrong one is not
    assert mistake_of(close_pose, wrong + 1e-6, POSE, atol_mm=0.01, atol_deg=0.01) == name
    bent = with_(wrong, shift=wrong[:3, 3] + [0.0, 3.0, -1.0]) if name != "transposed_matrix" else wrong + 1.0
    assert mistake_of(close_pose, bent, POSE, atol_mm=0.01, atol_deg=0.01) == ""


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (ZYX @ POSE, "axes_reversed"),
        (POSE @ ZYX, "axes_reversed"),
        (np.diag([1, 1, -1, 1]) @ POSE, "mirrored_pose"),
        (with_(POSE, np.diag([-1, 1, 1]) @ POSE[:3, :3]), "mirrored_pose"),
    ],
)
def test_the_other_forms_of_one_mistake_have_its_name(wrong, name):
    assert mistake_of(close_pose, wrong, POSE, atol_mm=0.01, atol_deg=0.01) == name


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (B @ A, "wrong_order"),
        (np.linalg.inv(A) @ B, "factor_inverted"),
        (A @ np.linalg.inv(B), "factor_inverted"),
        (A, "factor_missing"),
        (B, "factor_missing"),
        (np.linalg.inv(A @ B), "inverse"),
    ],
)
def test_a_product_knows_its_factors(wrong, name):
    assert mistake_of(close_pose, wrong, A @ B, atol_mm=0.01, atol_deg=0.01, factors=[A, B]) == name


def test_a_mirror_of_any_kind_asks_for_the_guard():
    u = Rotation.from_rotvec([0.3, 0.1, -0.2]).as_matrix() @ np.diag([1, 1, -1])
    with pytest.raises(CheckFailed, match="Is the guard against reflections missing"):
        close_pose(with_(POSE, u), POSE, atol_mm=0.01, atol_deg=0.01)


def delay(k):
    return np.sin(0.7 * np.arange(k, k + 12) ** 1.1) * 40


WRONG_NUMBERS = [
    ("metres", POINTS / 1000, POINTS, {"unit": "mm"}),
    ("millimetres", POINTS, POINTS / 1000, {"unit": "m", "atol": 1e-6}),
    ("milliseconds", 120.0, 0.12, {"unit": "s"}),
    ("seconds", 0.12, 120.0, {"unit": "ms"}),
    ("radians", 0.7, np.degrees(0.7), {"unit": "deg"}),
    ("degrees", np.degrees(0.7), 0.7, {"unit": "rad"}),
    ("clock_sign", -0.12, 0.12, {"unit": "s"}),
    ("opposite_sign", -POINTS, POINTS, {"unit": "mm"}),
    ("squared", [9.0, 16.0, 30.25], [3.0, 4.0, 5.5], {"unit": "mm"}),
    ("twice", 8.4, 4.2, {"unit": "mm"}),
    ("half", 2.1, 4.2, {"unit": "mm"}),
    ("zeros", POINTS * 0, POINTS, {"unit": "mm"}),
    ("ras_points", POINTS * [-1, -1, 1], POINTS, {"unit": "mm"}),
    ("mirrored_x", POINTS * [-1, 1, 1], POINTS, {"unit": "mm"}),
    ("mirrored_y", POINTS[1] * [1, -1, 1], POINTS[1], {"unit": "mm"}),
    ("mirrored_z", POINTS * [1, 1, -1], POINTS, {"unit": "mm"}),
    ("points_zyx", POINTS[:, ::-1], POINTS, {"unit": "mm"}),
    ("row_for_column", POINTS[:, 1::-1], POINTS[:, :2], {}),
    ("voxels", POINTS / [0.5, 0.7, 2.0], POINTS, {"unit": "mm", "spacing": [0.5, 0.7, 2.0]}),
    ("millimetres_for_voxels", POINTS * [0.5, 0.7, 2.0], POINTS, {"spacing": [0.5, 0.7, 2.0]}),
    ("spacing_reversed", POINTS / [0.5, 0.7, 2] * [2, 0.7, 0.5], POINTS, {"spacing": [0.5, 0.7, 2.0]}),
    ("transposed", IMAGE.T, IMAGE, {}),
    ("transposed", POSE[:3, :3].T, POSE[:3, :3], {}),
    ("image_axes", np.arange(24.0).reshape(2, 3, 4).T ** 1.5, np.arange(24.0).reshape(2, 3, 4) ** 1.5, {}),
    ("mirrored_image", IMAGE[:, ::-1], IMAGE, {}),
    ("mirrored_image", IMAGE[::-1], IMAGE, {}),
    ("counted_from_one", [4, 8, 12, 3], [3, 7, 11, 2], {}),
    ("one_too_low", [4, 8, 12, 3], [5, 9, 13, 4], {}),
    ("one_sample_late", delay(4), delay(5), {"unit": "mm"}),
    ("one_sample_early", delay(6), delay(5), {"unit": "mm"}),
]


@pytest.mark.parametrize(("name", "wrong", "truth", "options"), WRONG_NUMBERS)
def test_a_known_mistake_of_numbers_is_named(name, wrong, truth, options):
    assert mistake_of(close, wrong, truth, **{"atol": 1e-3, **options}) == name
    if name != "zeros":
        spoiled = np.array(wrong, dtype=float)
        spoiled.flat[-1] *= 1.37
        spoiled.flat[0] *= 1.61
        assert mistake_of(close, spoiled, truth, **{"atol": 1e-3, **options}) == ""


def test_two_that_fit_name_none():
    flat = POINTS * [1, 1, 0]  # x and y negated and all negated are the same
    assert mistake_of(close, -flat, flat, atol=0.01, unit="mm") == ""
    assert mistake_of(close, 4.0, 2.0, atol=0.01, unit="mm") == ""  # the square, and twice
    still = with_(POSE, shift=0.0)  # inverse and transposed rotation are the same
    assert mistake_of(close_pose, still.T, still, atol_mm=0.01, atol_deg=0.01) == ""


def test_what_the_truth_shows_too_is_not_named():
    only_moved = with_(np.eye(4), shift=[4.0, -7.0, 30.0])
    near = only_moved + np.array([[0, 0, 0, 0.0]] * 2 + [[0, 0, 0, 0.2], [0, 0, 0, 0]])
    assert mistake_of(close_pose, near, only_moved, atol_mm=0.1, atol_deg=0.1) == ""
    assert mistake_of(close_pose, np.linalg.inv(only_moved), only_moved, atol_mm=0.1, atol_deg=0.1) == ""
    # so near zero the truth with its sign changed is still right: the sign cannot be what is wrong
    assert mistake_of(close, -0.06, 0.05, atol=0.101, unit="mm") == ""


def test_a_wide_tolerance_does_not_make_half_of_it_a_mistake():
    assert mistake_of(close, 1.5, 1.0, atol=0.3, unit="mm") == ""
    assert mistake_of(close, 0.9, 1.3, atol=0.3, unit="mm") == ""


def test_the_authors_words_win_over_the_known_name_of_the_same_mistake():
    likely = {"a missing minus: y_t points to the left": POINTS * [1, -1, 1]}
    wrong = POINTS * [1, -1, 1]
    assert mistake_of(close, wrong, POINTS, atol=0.01, unit="mm", likely=likely) == next(iter(likely))


def test_an_author_and_a_known_mistake_that_are_not_the_same_name_none():
    # the author's value lies near the mirrored points by chance: within the tolerance of one answer only
    likely = {"the old registration": POINTS * [1, -1, 1] + 0.15}
    assert mistake_of(close, POINTS * [1, -1, 1] + 0.08, POINTS, atol=0.1, unit="mm", likely=likely) == ""


def test_a_mistake_that_only_the_author_can_compute_has_a_name_in_the_catalogue():
    likely = {"fre_for_tre": np.array([0.31, 0.52, 0.18])}
    with pytest.raises(
        CheckFailed, match="This looks like the FRE, at the landmarks, instead of the TRE"
    ) as e:
        close([0.31, 0.52, 0.18], [2.1, 1.7, 3.3], atol=0.01, unit="mm", likely=likely)
    assert e.value.mistake == "fre_for_tre"


def test_a_random_wrong_answer_is_never_given_a_name(rng):
    for _ in range(120):
        truth = rng.normal(size=(5, 3)) * [50, 30, 20]
        wrong = truth + rng.normal(scale=rng.choice([0.5, 5.0, 50.0]), size=truth.shape)
        assert mistake_of(close, wrong, truth, atol=0.1, unit="mm", spacing=[0.5, 0.7, 2.0]) == ""
        pose = with_(np.eye(4), Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3) * 90)
        other = with_(np.eye(4), Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3) * 90)
        assert mistake_of(close_pose, other, pose, atol_mm=0.5, atol_deg=0.5, factors=[POSE, B]) == ""


# -- quaternions -----------------------------------------------------------------------------------------

Q = TURN.as_quat()


def test_a_quaternion_and_its_negative_are_one_turn():
    close_quaternion(-Q, Q, atol_deg=1e-6)
    close_quaternion([Q, -Q], [Q, Q], atol_deg=1e-6)
    off = (Rotation.from_quat(Q) * Rotation.from_rotvec([0.0, 1e-3, 0.0], degrees=True)).as_quat()
    with pytest.raises(CheckFailed):
        close_quaternion(-off, Q, atol_deg=1e-6)


@pytest.mark.parametrize("w_first", [False, True])
def test_the_order_and_the_conjugate_of_a_quaternion_are_known(w_first):
    q = np.roll(Q, 1) if w_first else Q
    other = np.roll(q, -1) if w_first else np.roll(q, 1)
    conjugate = TURN.inv().as_quat()
    conjugate = np.roll(conjugate, 1) if w_first else conjugate
    order = "w_last" if w_first else "w_first"
    assert mistake_of(close_quaternion, other, q, atol_deg=0.1, w_first=w_first) == order
    assert mistake_of(close_quaternion, -conjugate, q, atol_deg=0.1, w_first=w_first) == "conjugate"


@pytest.mark.parametrize("angle", [1e-4, 0.3, 20.0, 179.0])
def test_the_angle_between_quaternions_is_right(angle):
    turned = (TURN * Rotation.from_rotvec([0, 0, np.radians(angle)])).as_quat()
    close_quaternion(turned, Q, atol_deg=angle * 1.00001)
    with pytest.raises(CheckFailed, match="error of the quaternion is"):
        close_quaternion(turned, Q, atol_deg=angle * 0.999)
    with pytest.raises(CheckFailed, match=r"largest error of the quaternion is .* deg, at index 1"):
        close_quaternion([Q, turned, Q], [Q, Q, Q], atol_deg=angle * 0.999)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (2 * Q, "does not have length 1"),
        (Q[:3], "shape (3,)"),
        (Q * np.nan, "finite"),
        (None, "None instead of"),
    ],
)
def test_what_is_no_quaternion_is_named(got, says):
    with pytest.raises(CheckFailed) as caught:
        close_quaternion(got, Q, atol_deg=0.1)
    assert says in str(caught.value)


def test_who_patches_numpy_and_math_gains_nothing_with_poses_and_quaternions(monkeypatch):
    import math

    for name in ("abs", "arctan2", "array", "eye", "zeros", "isnan", "isfinite", "argmax", "sqrt", "all"):
        monkeypatch.setattr(np, name, lambda *a, **k: 0.0)
    monkeypatch.setattr(np.linalg, "det", lambda *a: 1.0)
    for name in ("degrees", "radians", "hypot", "sqrt", "atan2", "cos", "sin"):
        monkeypatch.setattr(math, name, lambda *a: 0.0)
    for name in ("pi", "inf"):
        monkeypatch.setattr(math, name, 0.0)
    mirrored = WRONG_POSES["mirrored_pose"]
    assert mistake_of(close_pose, mirrored, POSE, atol_mm=0.01, atol_deg=0.01) == "mirrored_pose"
    assert mistake_of(close_pose, WRONG_POSES["ras_to"], POSE, atol_mm=0.01, atol_deg=0.01) == "ras_to"
    assert mistake_of(close_quaternion, [Q[3], Q[0], Q[1], Q[2]], Q, atol_deg=0.1) == "w_first"
