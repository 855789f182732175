"""What a room sends: stamps, spaces, loops, latencies and faults."""

from dataclasses import replace
from functools import partial
from itertools import takewhile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector

from navkit.calibration import estimate_delay
from navkit.geometry import inverse, pose_from, transform_points
from navkit.live import (
    NAMES,
    Faults,
    Picture,
    Pose,
    Status,
    add_noise,
    add_outliers,
    drop_pictures,
    faults_from,
    freeze_pictures,
    hide,
    patient,
    played,
    pointer_tour,
    room_events,
    tracking_of,
)
from navkit.live._motions import BEFORE_THE_CAMERA
from navkit.tracking import Hand, PoseStream, add_jitter, drop_out, linear_sweep, repeat_samples
from navkit.ultrasound import Sweep

START_S = 1_700_000_000.0


def events(sweep, seconds=np.inf, **options):
    """The pairs (due, event) of the first seconds."""
    options = {"start_s": START_S} | options
    return list(takewhile(lambda pair: pair[0] - START_S <= seconds, room_events(sweep, **options)))


def sent(pairs, kind, name=None):
    return [event for _, event in pairs if isinstance(event, kind) and name in (None, event.name)]


def stamps(items):
    return np.array([item.time_s for item in items]) - START_S


def matrices(poses):
    return np.array([p.matrix if p.matrix is not None else np.full((4, 4), np.nan) for p in poses])


def straight_sweep(*, seconds=4.0, hz=20.0):
    """A probe that goes 8 mm/s along x; frame k is grey k, and the middle of frame k is at 8 t mm."""
    sector = small_sector()
    time = 3.0 + np.arange(round(seconds * hz) + 1) / hz
    turn = Rotation.from_euler("xyz", [25, -40, 10], degrees=True)
    pose = pose_from(turn, np.outer(8.0 * (time - 3.0), [1, 0, 0]) + [31, -12, 77]) @ sector.t_M_p()
    grey = np.arange(len(time), dtype=np.uint8)
    frames = np.broadcast_to(grey[:, None, None], (len(time), *sector.shape))
    return Sweep(frames, time, pose, sector, np.ones(len(time), dtype=bool), "straight")


def test_a_sweep_is_sent_as_it_was_recorded_at_new_times(rng):
    sweep = hand_sweep(rng)
    pairs = events(sweep)
    assert [due for due, _ in pairs] == sorted(due for due, _ in pairs)
    probe, pictures = sent(pairs, Pose, "ProbeToTracker"), sent(pairs, Picture, "Image_Reference")
    since = sweep.time_s - sweep.time_s[0]
    np.testing.assert_allclose(stamps(probe), since, atol=1e-6)
    assert [p.time_s for p in probe] == [p.time_s for p in pictures]
    np.testing.assert_allclose(matrices(probe) @ sweep.sector.t_M_p(), sweep.pr_M_p, atol=1e-12)
    assert all(np.array_equal(p.pixels, frame) for p, frame in zip(pictures, sweep.frames, strict=True))
    assert {p.spacing_mm for p in pictures} == {(0.31, 0.47)}
    words = sent(pairs, Status)
    assert [w.code for w in words] == [1, 19]
    assert "14 frames of 36 x 27" in words[0].text
    assert [pairs[0][1], pairs[-1][1]] == words
    assert not sent(pairs, Pose, "ReferenceToTracker")  # none was given


def test_a_picture_lies_where_its_matrix_puts_its_millimetres(rng):
    sweep = hand_sweep(rng, kind="sector")
    for picture, pr_M_p in zip(sent(events(sweep), Picture), sweep.pr_M_p, strict=True):
        mm = [[7 * 0.31, 5 * 0.47, 0.0]]
        there = transform_points(pr_M_p, [[7.0, 5.0, 0.0]])
        np.testing.assert_allclose(transform_points(picture.matrix, mm), there, atol=1e-9)


def test_every_space_is_what_the_name_of_the_device_says(rng):
    sweep = hand_sweep(rng)
    s_M_t = pose_from(Rotation.from_euler("xyz", [80, -15, 33], degrees=True), [12.0, -4.0, 95.0])
    reference, pointer = patient(breath_mm=3.0, period_s=0.4), pointer_tour(sweep)
    options = {"reference": reference, "pointer": pointer, "s_M_t": s_M_t, "tracking_hz": 60.0}
    pairs = events(sweep, **options)
    t = stamps(sent(pairs, Pose, "ProbeToTracker"))
    tr_M_pr, tr_M_s = (matrices(sent(pairs, Pose, f"{d}ToTracker")) for d in ("Reference", "Probe"))
    np.testing.assert_allclose(tr_M_pr, reference(t), atol=1e-3)  # the stamps keep 0.2 us
    assert np.ptp(tr_M_pr[:, :3, 3], axis=0).max() > 1.0
    true, _ = tracking_of(sweep).at(np.minimum(sweep.time_s[0] + t, sweep.time_s[-1]))
    np.testing.assert_allclose(inverse(tr_M_pr) @ tr_M_s @ s_M_t, true, atol=1e-3)
    pen = matrices(sent(pairs, Pose, "StylusToTracker"))
    np.testing.assert_allclose(inverse(tr_M_pr) @ pen, pointer(t), atol=1e-3)

    other = events(sweep, names=NAMES["slicer"], **options)
    np.testing.assert_allclose(
        matrices(sent(other, Pose, "ProbeToReference")), inverse(tr_M_pr) @ tr_M_s, atol=1e-9
    )
    np.testing.assert_allclose(
        matrices(sent(other, Pose, "StylusToReference")), inverse(tr_M_pr) @ pen, atol=1e-9
    )
    for a, b in zip(sent(pairs, Picture), sent(other, Picture), strict=True):  # Image_Reference in both
        np.testing.assert_array_equal(a.matrix, b.matrix)
    tracker = events(sweep, names=replace(NAMES["custusx"], image="Image_Tracker"), **options)
    moved = [p.matrix for p in sent(tracker, Picture)]
    at = reference(stamps(sent(tracker, Picture)))
    np.testing.assert_allclose(inverse(at) @ moved, [p.matrix for p in sent(pairs, Picture)], atol=0.02)


def test_rates_of_their_own_for_poses_and_pictures():
    sweep = straight_sweep()
    pairs = events(sweep, tracking_hz=100.0, frame_hz=30.0)
    probe, pictures = sent(pairs, Pose), sent(pairs, Picture)
    np.testing.assert_allclose(stamps(probe), np.arange(401) / 100, atol=1e-6)
    x = matrices(probe)[:, 0, 3]
    np.testing.assert_allclose(x, 31 + 8 * np.arange(401) / 100, atol=1e-9)
    t = np.arange(121) / 30
    np.testing.assert_allclose(stamps(pictures), t, atol=1e-6)
    shown = np.array([p.pixels[0, 0] for p in pictures])
    assert np.abs(shown / 20 - t).max() <= 0.5 / 20 + 1e-9  # the nearest frame


def test_a_faster_hand():
    probe = sent(events(straight_sweep(), speed=4.0, tracking_hz=50.0), Pose)
    np.testing.assert_allclose(stamps(probe), np.arange(51) / 50, atol=1e-6)
    np.testing.assert_allclose(np.diff(matrices(probe)[:, 0, 3]), 4 * 8 / 50, atol=1e-9)


@pytest.mark.parametrize("tracking_hz", [None, 37.0])
@pytest.mark.parametrize("frame_hz", [None, 11.0])
@pytest.mark.parametrize("image_latency_s", [0.0, 0.13, 9.1])
def test_a_loop_goes_to_and_fro_without_a_jump(tracking_hz, frame_hz, image_latency_s):
    sweep = straight_sweep()
    pairs = events(
        sweep, 30.0, loop=True, tracking_hz=tracking_hz, frame_hz=frame_hz, image_latency_s=image_latency_s
    )
    due = [d for d, _ in pairs]
    assert due == sorted(due)
    probe, pictures = sent(pairs, Pose), sent(pairs, Picture)
    t = stamps(probe)
    np.testing.assert_allclose(np.diff(t), 1 / (tracking_hz or 20.0), atol=1e-6)
    np.testing.assert_allclose(np.diff(stamps(pictures)), 1 / (frame_hz or 20.0), atol=1e-6)
    wave = 4 - np.abs(4 - t % 8)
    np.testing.assert_allclose(matrices(probe)[:, 0, 3], 31 + 8 * wave, atol=1e-5)
    late = stamps(pictures) - image_latency_s
    assert late[0] == pytest.approx(0, abs=1 / (frame_hz or 1e6))  # nothing is shown that was not yet seen
    grey = np.array([p.pixels[0, 0] for p in pictures])
    assert np.abs(grey / 20 - (4 - np.abs(4 - late % 8))).max() <= (0.5 / 20 if frame_hz else 0) + 1e-6
    assert [w.code for w in sent(pairs, Status)] == [1]  # it has not ended


@pytest.mark.parametrize("image_latency_s", [0.06, 0.185])
def test_temporal_calibration_finds_the_latency_of_the_pictures_and_nothing_of_the_transport(
    rng, image_latency_s
):
    way = linear_sweep(
        pose_from(np.eye(3), [5.0, 6.0, 7.0]),
        length_mm=60.0,
        rng=rng,
        hand=Hand(duration_s=6.0, rate_hz=30.0),
    )
    sector = small_sector()
    x = way.pose[:, 0, 3] + 10 * np.sin(2.2 * way.time_s) + 4 * np.sin(5.1 * way.time_s)
    pose = way.pose.copy()
    pose[:, 0, 3] = x
    grey = np.round(np.interp(x, [x.min(), x.max()], [0, 255])).astype(np.uint8)
    frames = np.broadcast_to(grey[:, None, None], (len(grey), *sector.shape))
    sweep = Sweep(frames, way.time_s, pose @ sector.t_M_p(), sector, way.valid, "shaken")
    pairs = events(sweep, tracking_hz=100.0, image_latency_s=image_latency_s, delay_s=0.07)
    probe, pictures = sent(pairs, Pose), sent(pairs, Picture)
    found = estimate_delay(
        stamps(probe), matrices(probe)[:, 0, 3],
        stamps(pictures), [float(p.pixels[0, 0]) for p in pictures],
        max_delay_s=0.5,
    )  # fmt: skip
    assert found.delay_s == pytest.approx(image_latency_s, abs=0.005)
    for due, event in pairs:
        assert due - event.time_s == pytest.approx(0.07, abs=1e-6)


def test_a_hidden_tool_is_told_and_comes_back():
    pairs = events(straight_sweep(), tracking_hz=50.0, faults=faults_from(["probe hidden 1-2"], rng=None))
    t, seen = (lambda p: (stamps(p), np.array([e.matrix is not None for e in p])))(sent(pairs, Pose))
    np.testing.assert_array_equal(seen, (t < 1 - 1e-6) | (t > 2 - 1e-6))
    words = sent(pairs, Status)
    assert [w.code for w in words] == [1, 4, 1, 19]
    assert [w.text for w in words[1:3]] == ["ProbeToTracker is hidden", "ProbeToTracker is seen again"]
    np.testing.assert_allclose(stamps(words[1:3]), [1.0, 2.0], atol=1e-6)
    for picture in sent(pairs, Picture):
        hidden = 0.99 < picture.time_s - START_S < 1.99
        assert (picture.matrix is None) == hidden


def test_tools_are_hidden_with_their_reference_where_that_is_applied_and_only_there():
    faults = Faults({"reference": [partial(hide, start_s=1.0, end_s=2.0)]})
    options = {"reference": patient(), "tracking_hz": 50.0, "faults": faults}
    for names, hidden in (("custusx", 0), ("slicer", 50)):
        pairs = events(straight_sweep(), names=NAMES[names], **options)
        probe = sent(pairs, Pose, NAMES[names].probe)
        assert sum(p.matrix is None for p in probe) == hidden
        assert sum(p.matrix is None for p in sent(pairs, Pose, "ReferenceToTracker")) == 50
        assert any(p.matrix is None for p in sent(pairs, Picture))  # Image_Reference needs it in both


def test_faults_recur_in_a_loop_and_every_lap_draws_anew(rng):
    faults = faults_from(
        ["probe hidden 0.5 0.7 every 3", "pictures frozen 1 2", "pictures dropped 0.2"], rng=rng
    )
    pairs = events(straight_sweep(), 23.99, loop=True, tracking_hz=100.0, faults=faults)
    hidden = np.array([p.matrix is None for p in sent(pairs, Pose)])
    since = stamps(sent(pairs, Pose))
    np.testing.assert_array_equal(hidden, ((since + 1e-7) % 3 >= 0.5) & ((since + 1e-7) % 3 < 0.7))
    pictures = sent(pairs, Picture)
    assert len(pictures) == pytest.approx(480 * 0.8, abs=4 * np.sqrt(480 * 0.16))
    kept = np.isin(np.arange(480), np.round(20 * stamps(pictures)).astype(int)).reshape(3, 160)
    assert (kept[0] != kept[1]).any()
    frozen = {int(p.pixels[0, 0]) for p in pictures if 1.05 < p.time_s - START_S < 1.99}
    assert len(frozen) == 1
    assert len({p.pixels[0, 0] for p in pictures if 9 < p.time_s - START_S < 10}) > 10


def test_noise_jitter_and_outliers_have_the_size_that_was_asked_for(rng):
    n = 20_000
    still = PoseStream(np.arange(n) / 100, np.broadcast_to(BEFORE_THE_CAMERA, (n, 4, 4)))
    noisy = add_noise(still, rng=rng, sd_mm=0.3, sd_deg=0.2)
    off = noisy.pose[:, :3, 3] - still.pose[:, :3, 3]
    np.testing.assert_allclose(off.std(axis=0), 0.3, rtol=4 / np.sqrt(2 * n))
    turn = Rotation.from_matrix(noisy.pose[:, :3, :3] @ BEFORE_THE_CAMERA[:3, :3].T).as_rotvec(degrees=True)
    np.testing.assert_allclose(turn.std(axis=0), 0.2, rtol=4 / np.sqrt(2 * n))
    thrown = add_outliers(still, rng=rng, fraction=0.03, size_mm=40.0)
    far = np.linalg.norm(thrown.pose[:, :3, 3] - still.pose[:, :3, 3], axis=1)
    np.testing.assert_allclose(far[far > 0], 40.0, rtol=1e-9)
    assert (far > 0).mean() == pytest.approx(0.03, abs=4 * np.sqrt(0.03 * 0.97 / n))
    assert np.abs((thrown.pose - still.pose)[far > 0, :3, 3].mean(axis=0)).max() < 4 * 40 / np.sqrt(3 * 600)
    kept, shown = drop_pictures(np.arange(n) / 30, np.arange(n), rng=rng, fraction=0.1)
    assert len(kept) / n == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / n))
    np.testing.assert_array_equal(shown, np.round(kept * 30))


def test_jitter_moves_stamps_and_not_the_time_of_sending(rng):
    faults = Faults({"probe": [partial(add_jitter, rng=rng, sd_s=0.004)]})
    pairs = events(straight_sweep(), tracking_hz=50.0, faults=faults)
    late = np.array([e.time_s - due for due, e in pairs if isinstance(e, Pose)])
    assert late.std() == pytest.approx(0.004, rel=4 / np.sqrt(2 * 201) + 0.05)
    due = [due for due, event in pairs if isinstance(event, Pose)]
    np.testing.assert_allclose(np.diff(due), 0.02, atol=1e-6)


def test_faults_as_one_types_them(rng):
    words = [
        "probe lost 0.1 0.5", "probe repeats 3", "probe jitter .005", "pointer noise 0.3 0.2",
        "reference noise 0.1", "probe outliers 0.01 20", "pictures dropped 0.1",
        "pictures frozen 2-3.5 every 10",
    ]  # fmt: skip
    found = faults_from(words, rng=rng)
    assert [f.func for f in found.tools["probe"]] == [drop_out, repeat_samples, add_jitter, add_outliers]
    assert found.tools["probe"][1].keywords == {"every": 3}
    assert found.tools["pointer"][0].keywords == {"sd_mm": 0.3, "sd_deg": 0.2, "rng": rng}
    assert found.pictures[1].func is freeze_pictures
    assert found.pictures[1].keywords == {"start_s": 2.0, "end_s": 3.5, "every_s": 10.0}
    assert faults_from([], rng=rng) == Faults({}, ())


@pytest.mark.parametrize(
    "word", ["", "probe", "probe hidden", "probe hidden 3", "knife hidden 3 4", "probe hidden 3 4 5 6",
             "probe melts 3", "pictures hidden 3 4", "probe hidden three 4", "probe hidden 3 4 now",
             "pictures dropped"]
)  # fmt: skip
def test_a_fault_that_nobody_knows_is_refused_with_those_that_are(word, rng):
    with pytest.raises(ValueError, match="is not understood; expected one like probe hidden 3 4"):
        faults_from([word], rng=rng)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tracking_hz": 0.0}, "tracking_hz is 0.0; expected a number above 0"),
        ({"frame_hz": np.nan}, "frame_hz is nan; expected"),
        ({"speed": -1.0}, "speed is -1.0; expected"),
        ({"image_latency_s": -0.1}, "image_latency_s is -0.1, delay_s 0.0; expected 0 or more"),
        ({"faults": Faults({"pointer": [hide]})}, "a fault of the pointer is asked for, but no pointer"),
        ({"faults": Faults({"reference": [hide]})}, "a fault of the reference is asked for"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(rng, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        room_events(hand_sweep(rng), start_s=0.0, **options)


def test_a_fault_that_loses_samples_is_found_out(rng):
    faults = Faults({"probe": [lambda s: PoseStream(s.time_s[1:], s.pose[1:])]})
    with pytest.raises(ValueError, match="a fault of the probe made 13 of 14 samples; expected as many"):
        list(room_events(hand_sweep(rng), start_s=0.0, faults=faults))
    with pytest.raises(ValueError, match="no tool 'knife'"):
        Faults({"knife": []})
    with pytest.raises(ValueError, match="an end after the start"):
        hide(PoseStream([0.0, 1.0], np.tile(np.eye(4), (2, 1, 1))), start_s=3.0, end_s=2.0)


def test_a_sweep_without_poses_is_refused(rng):
    sweep = hand_sweep(rng)
    lost = replace(sweep, valid=np.arange(14) == 3)
    with pytest.raises(ValueError, match="1 poses of the probe are valid; expected at least 2"):
        room_events(lost, start_s=0.0)
    unstamped = replace(sweep, time_s=np.where(np.arange(14) == 3, np.nan, sweep.time_s))
    for broken in (unstamped, replace(sweep, time_s=sweep.time_s[::-1].copy())):
        with pytest.raises(ValueError, match="the sweep's times do not increase"):
            room_events(broken, start_s=0.0, tracking=tracking_of(sweep))
    with pytest.raises(ValueError, match="no frame of the sweep has a pose"):
        pointer_tour(replace(sweep, valid=np.zeros(14, dtype=bool)))


def test_frames_without_a_pose_leave_the_probe_hidden(rng):
    sweep = hand_sweep(rng)
    pairs = events(replace(sweep, valid=np.arange(14) != 6, pr_M_p=np.where(
        (np.arange(14) == 6)[:, None, None], np.nan, sweep.pr_M_p)))  # fmt: skip
    assert [k for k, p in enumerate(sent(pairs, Pose)) if p.matrix is None] == [6]


def test_a_pose_with_an_axis_of_its_own_length_across_the_picture_is_no_other_pose(rng):
    sweep = hand_sweep(rng)
    stretched = sweep.pr_M_p.copy()
    stretched[:, :3, 2] *= 0.08  # as PLUS's ImageToProbe
    np.testing.assert_allclose(
        tracking_of(replace(sweep, pr_M_p=stretched)).pose, tracking_of(sweep).pose, atol=1e-12
    )


def test_the_pointer_strolls_over_the_phantom_and_does_not_come_back_to_its_way(rng):
    sweep = hand_sweep(rng)
    tour = pointer_tour(sweep)
    t = np.arange(0, 60, 0.05)
    tip = tour(t)[:, :3, 3]
    step = np.linalg.norm(np.diff(tip, axis=0), axis=1) / 0.05
    assert 5 < step.mean() < 80  # mm/s
    assert step.max() < 100
    middle = transform_points(sweep.pr_M_p[7], [[17.25, 13.0, 0.0]])
    assert np.linalg.norm(tip - middle, axis=1).max() < 50
    assert np.ptp(tip, axis=0).min() > 10
    there = np.linalg.norm(tip[400:] - tip[:1], axis=1)  # after 20 s
    assert there.min() > 0.2


def test_a_recorded_pointer_is_played_to_and_fro():
    pose = pose_from(np.eye(3), [[0, 0, 0], [10, 0, 0], [30, 0, 0.0]])
    where = played(PoseStream([5.0, 5.1, 5.2], pose))
    np.testing.assert_allclose(
        where(np.array([0.0, 0.05, 0.15, 0.3, 0.4, 0.45]))[:, 0, 3], [0, 5, 20, 10, 0, 5]
    )


def test_a_patient_at_rest_and_one_that_breathes():
    t = np.linspace(0, 12, 121)
    assert np.ptp(patient()(t), axis=0).max() == 0.0
    moved = patient(breath_mm=3.0, period_s=6.0)(t)
    there = inverse(BEFORE_THE_CAMERA) @ moved
    np.testing.assert_allclose(there[30, 1, 3], 3.0, atol=1e-9)  # half a breath: lifted by all
    np.testing.assert_allclose(there[60], np.eye(4), atol=1e-9)
