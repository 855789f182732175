"""Which data a registration moves, what stays, and the way back: CustusX's rules on a small operation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import inverse, pose_from, transform_points
from navkit.registration import Datum, Registrations, orient_reference, register_to_image, register_to_patient


def turn(*deg_and_mm):
    return pose_from(Rotation.from_euler("xyz", deg_and_mm[:3], degrees=True), deg_and_mm[3:])


DELTA = turn(7, -12, 30, 4.0, -9.0, 15.0)
R_M_D = {name: turn(10 * n, 5 - 20 * n, 3, 50.0 * n, -30, 7.0 * n) for n, name in enumerate("abcdefg")}
R_M_PR = turn(-80, 15, 33, 120.0, 45, -60)


def theatre():
    """a CT with a segmentation of it and a mesh of that; an MR; an ultrasound and its angio; loose g.

    a <- b <- c;  a <- d (MR, tied to the CT);  e <- f
    """
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "e": None, "f": "e", "g": None}
    return Registrations({name: Datum(R_M_D[name], parents[name]) for name in parents}, R_M_PR)


def moved_by(before, after):
    """By what each datum moved in r; those that did not are left out."""
    deltas = {n: after.data[n].r_M_d @ inverse(before.data[n].r_M_d) for n in before.data}
    return {n: delta for n, delta in deltas.items() if not np.allclose(delta, np.eye(4), atol=1e-12)}


@pytest.mark.parametrize(
    ("moving", "fixed", "kin", "new_parent"),
    [
        ("d", "a", "d", {}),  # a child against its parent: it alone
        ("b", "d", "bc", {}),  # between siblings: the moving branch, their parent stays
        ("c", "d", "bc", {}),  # the oldest ancestor that d does not share is b
        ("c", "b", "c", {}),
        ("e", "a", "ef", {"e": "a"}),  # nothing in common: tied to the fixed one
        ("f", "c", "ef", {"e": "c"}),  # ... by its oldest ancestor
        ("c", "g", "abcd", {"a": "g"}),
    ],
)
def test_the_kin_move_and_nothing_else(moving, fixed, kin, new_parent):
    before = theatre()
    after = register_to_image(before, moving, fixed, DELTA, time_s=5.0)
    deltas = moved_by(before, after)
    assert "".join(sorted(deltas)) == kin
    for delta in deltas.values():
        np.testing.assert_allclose(delta, DELTA, atol=1e-12)
    assert "".join(sorted(after.change.moved)) == kin
    for name, one in after.data.items():
        assert one.parent == new_parent.get(name, before.data[name].parent)
    np.testing.assert_array_equal(after.r_M_pr, R_M_PR)


def test_a_point_that_was_marked_in_the_moving_image_lands_on_its_partner_in_the_fixed_one():
    before = theatre()
    mark_f = np.array([3.0, -8.0, 21.0])
    mark_r = transform_points(R_M_D["f"], mark_f)
    wanted_r = transform_points(DELTA, mark_r)
    after = register_to_image(before, "f", "a", DELTA, time_s=0.0)
    np.testing.assert_allclose(transform_points(after.data["f"].r_M_d, mark_f), wanted_r, atol=1e-10)


def test_once_tied_the_ultrasound_follows_the_image():
    tied = register_to_image(theatre(), "f", "d", DELTA, time_s=1.0)
    after = register_to_image(tied, "a", "g", DELTA, time_s=2.0)
    assert "".join(sorted(moved_by(tied, after))) == "abcdef"


def test_image_to_patient_moves_the_patient_and_no_datum():
    before = theatre()
    wanted = DELTA @ R_M_PR
    after = register_to_patient(before, wanted, time_s=3.0, method="landmarks")
    assert moved_by(before, after) == {}
    np.testing.assert_allclose(after.r_M_pr, wanted, atol=1e-12)
    np.testing.assert_allclose(after.change.delta_r, DELTA, atol=1e-12)
    np.testing.assert_allclose(after.pr_M_d("c"), inverse(wanted) @ R_M_D["c"], atol=1e-12)
    # and an ultrasound volume that lay right in the patient does not any more
    assert not np.allclose(after.pr_M_d("e"), before.pr_M_d("e"))


def test_turning_the_reference_moves_nothing_against_another():
    before = theatre()
    after = orient_reference(before, DELTA, time_s=3.0)
    for name in before.data:
        np.testing.assert_allclose(after.pr_M_d(name), before.pr_M_d(name), atol=1e-10)
        np.testing.assert_allclose(after.data[name].r_M_d, DELTA @ R_M_D[name], atol=1e-12)


def test_history_tells_all_and_rewinds_to_any_time():
    start = theatre()
    one = register_to_patient(start, DELTA @ R_M_PR, time_s=10.0, method="landmarks")
    two = register_to_image(one, "e", "a", DELTA, time_s=20.0, method="vessels")
    three = orient_reference(two, DELTA, time_s=20.0)
    told = [(c.time_s, c.what, c.method) for c in three.history()]
    assert told == [(10.0, "patient", "landmarks"), (20.0, "e to a", "vessels"), (20.0, "reference", "")]
    assert three.at(9.9) is start
    assert three.at(10.0) is one
    assert three.at(19.0) is one
    assert three.at(20.0) is three
    assert start.history() == []
    assert moved_by(start, three.at(15.0)) == {}


def test_a_temporary_change_is_replaced_by_the_next_of_its_kind():
    start = theatre()
    drag = register_to_image(start, "e", "a", turn(1, 0, 0, 5.0, 0, 0), time_s=1.0, temporary=True)
    drag = register_to_image(drag, "e", "a", turn(2, 0, 0, 9.0, 0, 0), time_s=2.0, temporary=True)
    done = register_to_image(drag, "e", "a", DELTA, time_s=3.0)
    np.testing.assert_allclose(moved_by(start, done)["f"], DELTA, atol=1e-12)
    assert [c.time_s for c in done.history()] == [3.0]
    # one that stands is not replaced, nor is a temporary one of another kind
    again = register_to_image(done, "e", "a", DELTA, time_s=4.0)
    np.testing.assert_allclose(moved_by(start, again)["f"], DELTA @ DELTA, atol=1e-9)
    other = register_to_image(drag, "f", "g", DELTA, time_s=5.0)
    assert [c.what for c in other.history()] == ["e to a", "f to g"]


def test_what_was_is_never_written_to():
    start, delta, pose = theatre(), DELTA.copy(), R_M_PR.copy()
    after = register_to_image(register_to_patient(start, pose, time_s=0), "e", "a", delta, time_s=1)
    pose[:], delta[:] = 0.0, 0.0
    np.testing.assert_array_equal(start.data["e"].r_M_d, R_M_D["e"])
    np.testing.assert_allclose(after.r_M_pr, R_M_PR)
    np.testing.assert_allclose(after.change.delta_r, DELTA)
    with pytest.raises(TypeError):
        start.data["e"] = Datum(np.eye(4))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda s: register_to_image(s, "a", "c", DELTA, time_s=0), "'c' descends from moving 'a'.*swapped"),
        (lambda s: register_to_image(s, "a", "a", DELTA, time_s=0), "descends from moving"),
        (lambda s: register_to_image(s, "x", "a", DELTA, time_s=0), "'x' is not among the data"),
        (lambda s: register_to_image(s, "a", "g", DELTA.T, time_s=0), "transposed"),
        (lambda s: register_to_image(s, "a", "g", np.diag([1, 1, -1, 1]), time_s=0), "delta_r"),
        (lambda s: register_to_patient(s, np.eye(3), time_s=0), r"r_M_pr has shape \(3, 3\)"),
        (lambda s: register_to_patient(s, np.full((4, 4), np.nan), time_s=0), "finite"),
        (lambda s: register_to_patient(orient_reference(s, DELTA, time_s=9), DELTA, time_s=8), "9.0 or"),
        (lambda s: register_to_patient(orient_reference(s, DELTA, time_s=1), DELTA, time_s=np.nan), "later"),
        (lambda s: Registrations({"a": Datum(np.eye(4), "z")}, np.eye(4)), "'z', the parent of 'a', is not"),
        (
            lambda s: Registrations({"a": Datum(np.eye(4), "b"), "b": Datum(np.eye(4), "a")}, np.eye(4)),
            "form a ring: a <- b <- a",
        ),
        (lambda s: s.pr_M_d("q"), "'q' is not among the data"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong(theatre())
