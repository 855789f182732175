"""Properties: looked at after the finite numbers and before the accuracy; each earns its share."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.checking import (
    CheckFailed,
    Property,
    check,
    close,
    close_pose,
    demand,
    increasing,
    orthogonal,
    positive,
    proper,
    symmetric,
    unit_length,
)

R = Rotation.from_euler("xyz", [20, -50, 130], degrees=True).as_matrix()
OTHER = Rotation.from_rotvec([0.3, 0.2, -0.9]).as_matrix()
MIRROR = R @ np.diag([1, 1, -1])


def failure(function, *args, **options) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        function(*args, **options)
    return caught.value


HALF = [orthogonal(0.3), proper(0.2)]


@pytest.mark.parametrize(
    ("answer", "says", "earned"),
    [
        (OTHER, "the largest error of the rotation", 0.5),
        (MIRROR, "the rotation does not have determinant +1", 0.3),
        (R * 1.2, "the rotation is not a rotation: R.T @ R is not the identity", 0.0),
        (R @ np.array([[1, 0.4, 0], [0, 1, 0], [0, 0, 1]]), "R.T @ R is not the identity", 0.2),
        (R[:2], "has shape (2, 3)", 0.0),
        (R * np.nan, "expected a finite number", 0.0),
        (None, "returned None", 0.0),
    ],
)
def test_each_property_earns_its_share_and_the_first_that_is_missing_is_named(answer, says, earned):
    failed = failure(close, answer, R, atol=1e-3, what="the rotation", properties=HALF)
    assert says in str(failed)
    assert failed.earned == pytest.approx(earned)


def test_a_right_answer_passes_and_one_without_shares_earns_nothing():
    close(R, R, atol=1e-3, properties=HALF)
    assert failure(close, OTHER, R, atol=1e-3).earned == 0
    assert failure(close, OTHER, R, atol=1e-3, properties=[orthogonal(), proper()]).earned == 0


def test_a_pose_has_properties_too():
    pose, other = np.eye(4), np.eye(4)
    pose[:3, :3], other[:3, :3], other[:3, 3] = R, OTHER, [3.0, 4.0, -9.0]
    failed = failure(close_pose, other, pose, atol_mm=0.1, atol_deg=0.1, properties=HALF)
    assert failed.earned == pytest.approx(0.5)
    other[:3, :3] = MIRROR
    failed = failure(close_pose, other, pose, atol_mm=0.1, atol_deg=0.1, properties=HALF)
    assert failed.earned == pytest.approx(0.3)
    assert "the transform does not have determinant +1" in str(failed)


@pytest.mark.parametrize(
    ("prop", "has", "lacks"),
    [
        (orthogonal(), MIRROR, R * 1.01),
        (proper(), R, MIRROR),
        (symmetric(), R + R.T, R),
        (unit_length(), R, R * 1.01),
        (increasing(), [1.0, 2.0, 2.5], [1.0, 2.0, 2.0]),
        (positive(), [0.1, 3.0], [0.0, 3.0]),
    ],
)
def test_a_property_is_told_from_its_absence(prop, has, lacks):
    assert demand(has, [prop], shape=np.shape(has)) is None
    failed = failure(demand, lacks, [prop, Property("is odd", lambda a: True)], shape=np.shape(has))
    assert failed.earned == pytest.approx(0.5)  # the other one
    assert str(failed).startswith("the result ")


def test_a_demand_goes_in_order_and_shares_the_marks():
    demands = [orthogonal(), proper(), Property("does not point up", lambda a: a[2, 2] > 0)]
    assert "shape (2, 3); expected (3, 3)" in str(failure(demand, R[:2], demands, shape=(3, 3)))
    assert "finite" in str(failure(demand, R * np.inf, demands, shape=(3, 3)))
    down = R @ np.diag([1, -1, -1])
    assert (R[2, 2] > 0) != (down[2, 2] > 0)
    wrong = R if R[2, 2] < 0 else down
    failed = failure(demand, wrong, demands, shape=(3, 3), what="the frame", hint="Look again.")
    assert str(failed) == "the frame does not point up. Look again."
    assert failed.earned == pytest.approx(2 / 3)


def test_a_property_that_stops_or_writes_is_not_met_and_harms_nothing():
    def writes(a):
        a[:] = 0
        return True

    close(R, R, atol=1e-6, properties=[Property("x", writes)])
    assert "R stops" in str(failure(demand, R, [Property("stops", lambda a: 1 / 0)], shape=(3, 3), what="R"))


def test_a_check_hands_on_what_was_earned_and_the_mistake():
    @check("a rotation")
    def rotation(function):
        close(function(), R, atol=1e-3, properties=HALF, likely={"the other one": OTHER})

    failed = failure(rotation, lambda: OTHER)
    assert (failed.earned, failed.mistake) == (pytest.approx(0.5), "the other one")
    assert failure(rotation, lambda: 1 / 0).earned == 0
