"""What comes off the wire, recorded: the same volume, an acquisition, a truthful list of what was lost."""

import threading
import time
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep

from navkit.files import read_acquisition, read_tracking
from navkit.geometry import inverse, pose_from
from navkit.live import (
    NAMES,
    Client,
    LocalStream,
    Picture,
    Pose,
    Recorder,
    Server,
    Status,
    faults_from,
    patient,
    pointer_tour,
    record,
    room_events,
    tracking_of,
)
from navkit.reconstruction import output_grid, reconstruct

START_S = 1_700_000_000.0
S_M_T = pose_from(Rotation.from_euler("xyz", [80, -15, 33], degrees=True), [12.0, -4.0, 95.0])


class FakeClock:
    """Time passes where somebody sleeps, and only there."""

    def __init__(self, oversleep_s=0.0):
        self.now_s, self.oversleep_s, self.slept = 1234.5, oversleep_s, []

    def time(self):
        return START_S - 1234.5 + self.now_s

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds + self.oversleep_s


def same_share(a, b):
    """The share of voxels that are equal, empty ones included."""
    return float(np.mean((a == b) | (np.isnan(a) & np.isnan(b))))


def volumes(sweep, recorded, *, spacing_mm=0.3):
    """Both reconstructed on the direct one's grid."""
    grid = output_grid(sweep, spacing_mm=spacing_mm)
    return [reconstruct(each, grid).values for each in (sweep, recorded)]


def test_the_recording_of_a_stream_reconstructs_to_the_same_voxels(rng):
    sweep = hand_sweep(rng, n=40, kind="sector")
    for names in NAMES.values():
        options = {"reference": patient(breath_mm=3.0), "pointer": pointer_tour(sweep), "s_M_t": S_M_T}
        stream = LocalStream(room_events(sweep, start_s=START_S, names=names, **options), clock=None)
        with stream, stream.client() as client:
            recording = record(client)
        assert recording.notes == ()
        recorded = recording.sweep(sweep.sector, probe=names.probe, s_M_t=S_M_T)
        assert recorded.valid.all()
        np.testing.assert_allclose(recorded.pr_M_p, sweep.pr_M_p, atol=1e-11)
        direct, streamed = volumes(sweep, recorded)
        assert np.isfinite(direct).mean() > 0.3
        np.testing.assert_array_equal(streamed, direct)


def test_poses_at_100_hz_cut_the_corners_of_a_trembling_hand_a_little(rng):
    sweep = hand_sweep(rng, n=40)
    recorded = record(room_events(sweep, start_s=START_S, tracking_hz=100.0)).sweep(sweep.sector)
    assert recorded.valid.all()
    off = np.linalg.norm((recorded.pr_M_p - sweep.pr_M_p)[:, :3, 3], axis=1)
    assert off.max() < 0.1  # between frames 50 ms apart it trembles by 0.05 mm
    direct, streamed = volumes(sweep, recorded)
    assert same_share(direct, streamed) > 0.9


def test_over_a_socket_poses_are_float32_and_almost_all_voxels_are_the_same(rng):
    sweep = hand_sweep(rng, n=60)
    events = room_events(
        sweep, start_s=START_S, reference=patient(breath_mm=3.0), pointer=pointer_tour(sweep), s_M_t=S_M_T
    )
    with Server(port=0, pictures=100) as server, Client(port=server.port) as client:
        threading.Thread(target=lambda: wait_for(server) or server.run(e for _, e in events)).start()
        recording = record(client)
    assert recording.notes == ()
    recorded = recording.sweep(sweep.sector, s_M_t=S_M_T)
    assert recorded.valid.all()
    np.testing.assert_array_equal(recorded.frames, sweep.frames)
    off = np.linalg.norm((recorded.pr_M_p - sweep.pr_M_p)[:, :3, 3], axis=1)
    assert 1e-9 < off.max() < 1e-3
    direct, streamed = volumes(sweep, recorded)
    assert same_share(direct, streamed) > 0.999


def wait_for(server):
    while not server.clients:
        threading.Event().wait(0.01)


def test_a_real_acquisition_streamed_and_recorded_is_the_same(navkit_data, tmp_path):
    sweep = read_acquisition(navkit_data / "custusx" / "angio_lab_256x192")
    tracking = read_tracking(navkit_data / "custusx" / "angio_lab_256x192")
    clock = FakeClock()
    events = room_events(
        sweep, start_s=START_S, tracking=tracking, reference=patient(breath_mm=2.0), image_latency_s=0.15
    )
    with LocalStream(events, clock=clock) as stream, stream.client() as client:
        recording = record(client)
    assert clock.now_s - 1234.5 == pytest.approx(np.ptp(np.r_[tracking.time_s, sweep.time_s]), abs=0.2)
    written = recording.write(tmp_path, sweep.sector, image_latency_s=0.15, name="US-Acq_again")
    back, samples = read_acquisition(tmp_path), read_tracking(tmp_path)

    shift_s = START_S - min(sweep.time_s[0], tracking.time_s[0])
    assert len(samples) == len(tracking) == 383
    np.testing.assert_allclose(samples.time_s, tracking.time_s + shift_s, atol=1e-6)
    np.testing.assert_allclose(samples.pose, tracking.pose, atol=2e-7)
    np.testing.assert_allclose(back.time_s, sweep.time_s + shift_s, atol=1e-6)
    np.testing.assert_array_equal(back.valid, sweep.valid)
    np.testing.assert_array_equal(back.valid, written.valid)
    assert not back.valid.all()  # the first frames came before the tracking
    np.testing.assert_array_equal(back.frames, sweep.frames)
    seen = sweep.valid
    corners = np.array([[0, 0, 0, 1], [255, 0, 0, 1], [0, 191, 0, 1], [255, 191, 0, 1.0]]).T
    off = np.linalg.norm(((back.pr_M_p - sweep.pr_M_p)[seen] @ corners)[:, :3], axis=1)
    assert off.max() < 1e-5
    direct, streamed = volumes(sweep, back, spacing_mm=0.2)
    assert same_share(direct, streamed) > 0.99999
    assert np.nanmax(direct) == np.nanmax(streamed) > 200


def test_the_acquisition_holds_what_was_seen_when_it_was_seen(rng, tmp_path):
    sweep = hand_sweep(rng, n=80)
    faults = faults_from(["probe hidden 1-2"], rng=rng)
    events = room_events(sweep, start_s=START_S, tracking_hz=50.0, faults=faults, s_M_t=S_M_T)
    recording = record(events)
    recording.write(tmp_path / "a", sweep.sector, s_M_t=S_M_T)
    recording.write(tmp_path / "b", sweep.sector, s_M_t=S_M_T, layout="frames", image_latency_s=0.3)
    a, b = read_tracking(tmp_path / "a"), read_tracking(tmp_path / "b")
    assert len(a) == recording.poses["ProbeToTracker"].valid.sum()
    assert np.diff(a.time_s).max() == pytest.approx(1.02, abs=1e-5)
    np.testing.assert_array_equal(a.pose, b.pose)
    true, _ = tracking_of(sweep).at(a.time_s[:-1] - START_S + sweep.time_s[0])
    np.testing.assert_allclose(a.pose[:-1], true, atol=1e-3)
    first, second = read_acquisition(tmp_path / "a"), read_acquisition(tmp_path / "b")
    assert len(first) == len(second) == 80  # those without a pose as well: as CustusX
    np.testing.assert_allclose(first.time_s - second.time_s, 0.3, atol=1e-6)
    away = first.time_s - START_S
    np.testing.assert_array_equal(first.valid, (away < 1 - 0.02) | (away > 2))


def test_the_latency_taken_off_puts_the_frames_where_they_were_made(rng):
    sweep = hand_sweep(rng, n=40)
    recording = record(room_events(sweep, start_s=START_S, tracking_hz=200.0, image_latency_s=0.2))
    right, wrong = (recording.sweep(sweep.sector, image_latency_s=latency) for latency in (0.2, 0.0))
    off, late = (
        np.linalg.norm((s.pr_M_p - sweep.pr_M_p)[s.valid][:, :3, 3], axis=1).mean() for s in (right, wrong)
    )
    assert right.valid.all()
    assert off < 0.02 < 0.3 < late


def test_the_order_of_arrival_does_not_matter_and_nothing_counts_twice(rng):
    sweep = hand_sweep(rng)
    events = [e for _, e in room_events(sweep, start_s=START_S, reference=patient(breath_mm=1.0))]
    straight, shaken = record(enumerate(events)), Recorder()
    mixed = [events[k] for k in rng.permutation(len(events))]
    for event in mixed + mixed[5:20]:
        shaken.take(event)
    made = shaken.recording()
    for name in straight.poses:
        np.testing.assert_array_equal(made.poses[name].pose, straight.poses[name].pose)
        np.testing.assert_array_equal(made.poses[name].time_s, straight.poses[name].time_s)
    np.testing.assert_array_equal(made.frames, straight.frames)
    np.testing.assert_array_equal(made.frame_s, straight.frame_s)
    assert straight.notes == ()
    again = sum(int(note.split()[1]) for note in made.notes if note.endswith("came again"))
    assert again == sum(not isinstance(e, Status) for e in mixed[5:20])
    assert any("came late" in note for note in made.notes)


def test_what_came_late_is_counted():
    recorder = Recorder()
    for t in (1.0, 2.0, 4.0, 3.0, 3.5, 5.0, 5.0):
        recorder.take(Pose("A", t, np.eye(4)))
    made = recorder.recording()
    assert made.notes == ("A: 2 samples came late", "A: 1 sample came again")
    np.testing.assert_array_equal(made.poses["A"].time_s, [1, 2, 3, 3.5, 4, 5])


def picture(t, value=1, shape=(4, 6), name="Image_Reference"):
    return Picture(name, t, np.full(shape, value, dtype=np.uint8), (0.5, 0.25))


def test_what_was_lost_hidden_or_strange_is_told():
    recorder = Recorder()
    for k in range(10):
        mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
        matrix = None if 3 <= k < 6 else mirrored if k == 8 else pose_from(np.eye(3), [k, 0, 0])
        recorder.take(Pose("ProbeToTracker", 0.2 * k, matrix))
    for k in (0, 1, 2, 5, 6, 7, 9):
        recorder.take(picture(0.1 * k, k))
    recorder.take(picture(1.0, 9, shape=(5, 6)))
    recorder.take(picture(1.1, 9, name="Another"))
    for code, word in ((1, "fine"), (4, "the probe is hidden"), (19, "the end")):
        recorder.take(Status("Room", 2.0, code, word))
    made = recorder.recording()
    assert made.notes == (
        "ProbeToTracker: hidden in 3 of 10 samples, at most 0.80 s on end",
        "ProbeToTracker: 1 of 10 matrices are not rigid and are left out",
        "Image_Reference: about 3 pictures are missing, at 2 places; the longest is 0.30 s",
        "Image_Reference: 1 pictures of another size than the first left out",
        "the server said: the probe is hidden",
    )
    assert (made.picture, made.spacing_mm, len(made.statuses)) == ("Image_Reference", (0.5, 0.25), 3)
    np.testing.assert_array_equal(made.frames[:, 0, 0], [0, 1, 2, 5, 6, 7, 9])
    np.testing.assert_array_equal(np.flatnonzero(~made.poses["ProbeToTracker"].valid), [3, 4, 5, 8])


def test_a_long_list_of_words_from_the_server_is_cut():
    recorder = Recorder()
    for k in range(9):
        recorder.take(Status("Room", 1.0 * k, 2, f"trouble {k}"))
    assert recorder.recording().notes[-2:] == ("the server said: trouble 4", "and 4 more such words")


def test_the_pictures_asked_for_are_kept_and_no_others():
    items = [
        (0.0, picture(t, k, name=n))
        for k, (t, n) in enumerate([(1.0, "A"), (2.0, "B"), (3.0, "A"), (4.0, "B")])
    ]
    assert record(items).frames[:, 0, 0].tolist() == [0, 2]
    assert record(items, picture="B").frames[:, 0, 0].tolist() == [1, 3]
    assert record(items, seconds=1.5).frame_s.tolist() == [1.0]
    empty = record(items, picture="C")
    assert (len(empty.frames), empty.picture) == (0, "")


def test_pictures_go_to_disk_and_stay_there(rng):
    recorder = Recorder()
    frames = rng.integers(0, 256, size=(30, 40, 50), dtype=np.uint8)
    for k in range(20):
        recorder.take(replace(picture(float(k)), pixels=frames[k]))
    early = recorder.recording()
    for k in range(20, 30):
        recorder.take(replace(picture(float(k)), pixels=frames[k]))
    late = recorder.recording()
    del recorder
    assert isinstance(early.frames, np.memmap)
    assert isinstance(late.frames, np.memmap)
    assert not late.frames.flags.writeable
    np.testing.assert_array_equal(early.frames, frames[:20])
    np.testing.assert_array_equal(late.frames, frames)


def test_a_long_recording_does_not_fill_the_memory():
    pixels = np.zeros((400, 512), dtype=np.uint8)
    tracemalloc.start()
    try:
        recorder = Recorder()
        for k in range(150):  # five seconds, 31 MB
            recorder.take(replace(picture(k / 30), pixels=pixels))
            for j in range(4):
                recorder.take(Pose("ProbeToTracker", k / 30 + j / 120, np.eye(4)))
        made = recorder.recording()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.frames.nbytes == 150 * pixels.size
    assert len(made.poses["ProbeToTracker"]) == 600
    assert peak < 3e6


def test_the_reference_may_be_sampled_at_other_times_and_hides_the_tool(rng):
    recorder = Recorder()
    where = patient(breath_mm=4.0)
    t = np.arange(0, 4, 0.1)
    for k, m in zip(t, where(t), strict=True):
        recorder.take(Pose("ReferenceToTracker", k, None if 2 <= k < 3 else m))
    pr_M_s = pose_from(Rotation.from_euler("xyz", [1.0, 2.0, 0.5]), [10.0, -5.0, 40.0])
    when = np.arange(0, 3.9, 0.07)
    for k, m in zip(when, where(when) @ pr_M_s, strict=True):
        recorder.take(Pose("ProbeToTracker", k, m))
    stream = recorder.recording().tracking()
    np.testing.assert_array_equal(stream.valid, (when <= 1.9) | (when >= 3.0 - 1e-9))
    off = stream.pose[stream.valid] - pr_M_s
    assert np.abs(off).max() < 0.1  # breathing between two samples of the reference
    raw = recorder.recording().poses["ProbeToTracker"]
    assert recorder.recording().tracking("ReferenceToTracker", reference="ProbeToTracker").valid.sum() > 20
    assert np.abs(raw.pose[:, :3, 3] - pr_M_s[:3, 3]).max() > 500


def test_what_did_not_come_cannot_be_had(rng):
    sweep = hand_sweep(rng)
    recording = record(room_events(sweep, start_s=START_S))
    with pytest.raises(ValueError, match="no pose of 'ProbeToReference' came; there are ProbeToTracker"):
        recording.tracking("ProbeToReference")
    with pytest.raises(ValueError, match="no pose of 'Clamp' came"):
        recording.tracking(reference="Clamp")
    with pytest.raises(ValueError, match="no picture came; expected some to place"):
        record([(0.0, Pose("ProbeToTracker", 1.0, np.eye(4)))]).sweep(sweep.sector)
    other = replace(sweep.sector, spacing_mm=(0.31, 0.5))
    assert recording.sweep(other).notes == (
        "the pictures say that a pixel is 0.31 x 0.47 mm; the sector's 0.31 x 0.5 mm are used",
    )


def test_a_stream_keeps_time_and_a_late_event_delays_no_other(rng):
    sweep = hand_sweep(rng)
    clock = FakeClock(oversleep_s=0.004)
    pairs = list(room_events(sweep, start_s=START_S, tracking_hz=100.0))
    with LocalStream(pairs, clock=clock) as stream, stream.client() as client:
        came = list(client)
    assert [event for _, event in came] == [event for _, event in pairs]
    late = np.array([arrived - due for (arrived, _), (due, _) in zip(came, pairs, strict=True)])
    assert late.min() >= -1e-6
    assert late.max() <= 0.004 + 2e-6
    assert client.over
    assert max(clock.slept) <= 0.2


def test_as_fast_as_possible_every_event_arrives_when_it_is_due(rng):
    pairs = list(room_events(hand_sweep(rng), start_s=START_S, delay_s=0.25))
    with LocalStream(pairs, clock=None) as stream, stream.client() as client:
        assert list(client) == pairs


def words(n):
    return [(START_S + 0.1 * k, Status("Room", START_S + 0.1 * k, 1, str(k))) for k in range(n)]


def texts(arrivals):
    return [event.text for _, event in arrivals]


def test_several_clients_get_the_same_each_from_when_it_came(rng):
    stream = LocalStream(words(10), clock=FakeClock())
    first = stream.client()
    assert [first.receive()[1].text for _ in range(3)] == ["0", "1", "2"]
    second = stream.client()
    assert [second.receive()[1].text for _ in range(4)] == ["3", "4", "5", "6"]
    assert texts(first) == [str(k) for k in range(3, 10)]
    assert texts(second) == ["7", "8", "9"]
    assert first.receive() is second.receive() is None


def test_a_client_waits_as_long_as_it_was_asked_to():
    clock = FakeClock()
    stream = LocalStream([(START_S, words(1)[0][1]), (START_S + 5, words(2)[1][1])], clock=clock)
    client = stream.client()
    assert client.receive(1.0)[1].text == "0"
    assert client.receive(1.1) is None
    assert clock.now_s == pytest.approx(1235.6)
    assert not client.over
    assert client.receive()[0] == pytest.approx(START_S + 5.0, abs=1e-5)
    assert client.receive(1.0) is None
    assert client.over


def test_a_client_that_leaves_and_a_stream_that_stops():
    stream = LocalStream(words(10), clock=FakeClock())
    gone, stays = stream.client(), stream.client()
    gone.receive()
    gone.close()
    gone.close()
    assert texts(gone) == []
    stays.receive()
    stays.receive()
    stream.stop()
    assert texts(stays) == []
    assert texts(stream.client()) == []


def test_a_client_that_does_not_read_loses_the_oldest_and_holds_nobody_up():
    stream = LocalStream(words(50), clock=None, room=8)
    idle, reader = stream.client(), stream.client()
    assert len(texts(reader)) == 50
    assert texts(idle) == [str(k) for k in range(42, 50)]
    assert (idle.lost, reader.lost) == (42, 0)


def test_clients_in_threads_of_their_own_get_everything_once_and_in_order():
    start_s = time.time()
    stream = LocalStream((start_s + 0.0005 * k, event) for k, (_, event) in enumerate(words(400)))
    clients = [stream.client() for _ in range(4)]
    got = [[] for _ in clients]
    threads = [
        threading.Thread(target=lambda c=c, g=g: g.extend(c)) for c, g in zip(clients, got, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for arrivals in got:
        assert texts(arrivals) == [str(k) for k in range(400)]
        assert all(a <= b for (a, _), (b, _) in pairwise(arrivals))
        assert all(arrived >= start_s + 0.0005 * k - 1e-5 for k, (arrived, _) in enumerate(arrivals))


def test_stopping_wakes_a_client_that_waits():
    stream = LocalStream([(time.time() + 60, words(1)[0][1])])
    client = stream.client()
    waiting = threading.Thread(target=client.receive)
    waiting.start()
    stream.stop()
    waiting.join(2)
    assert not waiting.is_alive()
    assert client.over


def test_a_pose_that_was_measured_relative_to_the_reference_needs_none(rng):
    sweep = hand_sweep(rng)
    recording = record(
        room_events(sweep, start_s=START_S, names=NAMES["slicer"], reference=patient(breath_mm=2.0))
    )
    assert "ReferenceToTracker" in recording.poses
    np.testing.assert_allclose(
        recording.tracking("ProbeToReference").pose,
        sweep.pr_M_p @ inverse(sweep.sector.t_M_p()),
        atol=1e-11,
    )
