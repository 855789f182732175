"""Registrations of a patient: out of CustusX's histories, and into them with nothing lost."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from patients import R_M_CT, SEVENTEEN, STEP, made, registered_twice, rich

from navkit.files import History, Parent, Registered, with_registrations
from navkit.files._patient import document, same
from navkit.files._patient_document import patient_of
from navkit.files._patient_history import timestamp_of
from navkit.registration import orient_reference, register_to_image, register_to_patient


def test_registrations_go_into_the_histories_and_come_back(rng):
    p, _, _ = made(rng)
    twice = registered_twice(p)
    now = patient_of("custusdoc.xml", document(twice)).registrations
    np.testing.assert_array_equal(now.r_M_pr, R_M_CT)
    np.testing.assert_allclose(now.data["us"].r_M_d, STEP @ STEP @ R_M_CT, atol=1e-12)
    np.testing.assert_array_equal(now.data["ct"].r_M_d, R_M_CT)
    told = [(c.what, c.method, c.moved) for c in now.history()]
    assert told == [
        ("patient", "Patient Landmarks", ()),
        ("us to ct", "Landmark image to image", ("us",)),
        ("patient", "Fast", ()),
    ]
    np.testing.assert_allclose(now.history()[1].delta_r, STEP, atol=1e-12)
    np.testing.assert_array_equal(now.at(1_900_000_059.0).r_M_pr, p.registrations.r_M_pr)
    for uid, one in p.data.items():  # nothing that was is lost
        if one.history is not None:
            kept = twice.data[uid].history.entries[: len(one.history.entries)]
            assert same(kept, one.history.entries)


def test_a_way_back_is_the_current_time_and_the_way_forward_stays(rng):
    twice = registered_twice(made(rng)[0])
    back = with_registrations(twice, twice.registrations.at(1_900_000_030.0))
    assert back.r_M_pr.current_time == timestamp_of(1_900_000_000.0)
    assert len(back.r_M_pr.entries) == 2
    told = patient_of("custusdoc.xml", document(back))
    np.testing.assert_array_equal(told.registrations.r_M_pr, STEP)
    first = twice.registrations.history()[0]
    at_first = with_registrations(twice, twice.registrations.at(first.time_s + 0.5))
    assert at_first.r_M_pr.current_time == at_first.r_M_pr.entries[0].timestamp
    np.testing.assert_array_equal(at_first.registrations.r_M_pr, STEP)  # of that very second counts too
    np.testing.assert_array_equal(at_first.registrations.data["us"].r_M_d, STEP @ R_M_CT)
    start = with_registrations(twice, twice.registrations.at(0.0)).registrations
    np.testing.assert_array_equal(start.r_M_pr, np.eye(4))
    np.testing.assert_array_equal(start.data["us"].r_M_d, STEP @ R_M_CT)
    # Registered again after the way back: the latest entry counts, what was undone stays in the list.
    anew = with_registrations(
        back, register_to_patient(back.registrations, np.eye(4), time_s=1_900_000_040.0)
    )
    assert anew.r_M_pr.current_time == ""
    assert len(anew.r_M_pr.entries) == 3
    np.testing.assert_array_equal(anew.registrations.r_M_pr, np.eye(4))
    stamps = [one.timestamp for one in anew.r_M_pr.entries]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 3


def test_an_image_that_is_tied_to_another_gets_it_as_parent():
    p = rich()
    now = register_to_image(p.registrations, "mesh_1", "ct_1", STEP, time_s=SEVENTEEN + 5)
    assert with_registrations(p, now).data["mesh_1"].history.parents == p.data["mesh_1"].history.parents
    alone = replace(p.data["mesh_1"], history=History((), (Parent("frame_2"),)))
    p = replace(p, data=dict(p.data, mesh_1=alone))
    tied = with_registrations(
        p, register_to_image(p.registrations, "mesh_1", "ct_1", STEP, time_s=SEVENTEEN + 5)
    )
    assert [one.value for one in tied.data["mesh_1"].history.parents] == ["frame_2", "ct_1"]
    text = document(tied)
    assert patient_of("x", text).registrations.data["mesh_1"].parent == "ct_1"
    history = ET.fromstring(text).find("managers/datamanager/data[@uid='mesh_1']/registrationHistory")
    tags = [e.tag for e in history]
    assert tags == ["currentTime", "registrationTransform", "parentFrame", "parentFrame"]


def test_the_reference_turns_patient_and_data():
    p = rich()
    data = {uid: one for uid, one in p.data.items() if uid != "ct_1"}
    data["mesh_1"] = replace(data["mesh_1"], history=History((Registered(R_M_CT),)))
    data.pop("m1"), data.pop("m5")
    p = replace(p, data=data)
    now = orient_reference(p.registrations, STEP, time_s=SEVENTEEN + 9, method="Orientation")
    told = patient_of("x", document(with_registrations(p, now))).registrations
    assert told.history()[-1].what == "reference"
    np.testing.assert_allclose(told.r_M_pr, STEP @ p.registrations.r_M_pr, atol=1e-12)
    np.testing.assert_allclose(told.pr_M_d("mesh_1"), p.registrations.pr_M_d("mesh_1"), atol=1e-9)


def test_registrations_of_another_patient_are_refused(rng):
    p = rich()
    with pytest.raises(ValueError, match="expected \\['ct_1', 'mesh_1'\\]"):
        with_registrations(p, made(rng)[0].registrations)
    foreign = replace(p.registrations, r_M_pr=R_M_CT, change=None, before=None)
    with pytest.raises(ValueError, match="do not continue"):
        with_registrations(p, foreign)
    with pytest.raises(ValueError, match="9999"):
        with_registrations(p, register_to_patient(p.registrations, STEP, time_s=1e30))
