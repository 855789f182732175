"""`stream` and `listen` as their user meets them: lines of text, a clean end, nothing half written."""

import _thread
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit.files import read_acquisition, read_tracking, write_acquisition
from navkit.live import Client, Server, Status, listen, patient, record, room_events, stream, tracking_of
from navkit.live._inputs import read_source, sheared_mm
from navkit.reconstruction import output_grid, reconstruct
from navkit.tracking import PoseStream

N = 22


@pytest.fixture
def acquisition(rng, tmp_path):
    """A folder with a sweep of about a second, and the sweep."""
    write_acquisition(hand_sweep(rng, n=N), tmp_path / "in")
    return tmp_path / "in", read_acquisition(tmp_path / "in")


class Serving:
    """`stream` in a thread of its own, with what it says."""

    def __init__(self, source, **options):
        self.lines, self.sent, self.interrupt_at = [], None, None
        self._thread = threading.Thread(target=self._run, args=(source, options))
        self._thread.start()
        end_s = time.monotonic() + 20
        while not any(line.startswith("Serving") for line in self.lines):
            assert time.monotonic() < end_s, self.lines
            time.sleep(0.01)
        self.port = int(re.search(r"on 127\.0\.0\.1:(\d+):", self.lines[-1])[1])

    def _run(self, source, options):
        self.sent = stream(source, say=self.say, port=0, wait=True, **options)

    def say(self, line):
        self.lines.append(line)
        if self.interrupt_at and self.interrupt_at in line:
            self.interrupt_at = None
            raise KeyboardInterrupt

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(20)
        assert not self._thread.is_alive()


def left_over(before):
    return [t.name for t in threading.enumerate() if t not in before]


@pytest.mark.parametrize("dialect", ["custusx", "slicer"])
def test_what_is_streamed_and_listened_to_reconstructs_to_almost_the_same_voxels(
    acquisition, tmp_path, dialect
):
    before, told = threading.enumerate(), []
    folder, sweep = acquisition
    options = {"dialect": dialect, "image_latency_s": 0.15}
    with Serving(folder, breath_mm=2.0, **options) as serving:
        made = listen(
            tmp_path / "out",
            say=told.append,
            sector=folder / "hand.probedata.xml",
            port=serving.port,
            **options,
        )
    assert left_over(before) == []
    read = read_acquisition(tmp_path / "out")
    np.testing.assert_array_equal(read.frames, sweep.frames)
    np.testing.assert_array_equal(made.frames, sweep.frames)
    assert len(read_tracking(tmp_path / "out")) == len(read_tracking(folder)) == N
    assert read.valid.sum() >= N - 1  # the last stamp may fall behind the tracking by its last digit
    grid = output_grid(sweep, spacing_mm=0.4)
    keep = sweep.__class__(sweep.frames, sweep.time_s, sweep.pr_M_p, sweep.sector, read.valid)
    direct, streamed = (reconstruct(s, grid).values for s in (keep, read))
    assert np.mean((direct == streamed) | (np.isnan(direct) & np.isnan(streamed))) > 0.999

    probe = {"custusx": "ProbeToTracker", "slicer": "ProbeToReference"}[dialect]
    assert f"{probe}, Stylus" in serving.lines[0]
    assert "Image_Reference (36 x 27)" in serving.lines[0]
    assert serving.lines[1].endswith("is here.")
    assert re.fullmatch(
        r"90 events in \d\.\d s\. Clients: 1; messages sent: \d+, lost by slow clients: 0\.",
        serving.lines[-1],
    ), serving.lines[-1]
    assert 80 < serving.sent <= 92  # the last may go unseen: the listener leaves with it
    assert told[0].startswith("Recording from 127.0.0.1:")
    assert told[1] == "The first event is here."
    assert re.search(
        r"22 frames of 36 x 27 in [01]\.\d s, 2[12] of them tracked, by 22 samples of Probe", told[-1]
    )


def test_a_stream_that_is_interrupted_says_goodbye(acquisition):
    before = threading.enumerate()
    with Serving(acquisition[0], loop=True, tracking_hz=50.0) as serving:
        serving.interrupt_at = "is gone"
        with Client(port=serving.port, patience_s=0.3) as stays, Client(port=serving.port) as leaves:
            assert leaves.receive(10) is not None
            leaves.close()
            last = [event for _, event in stays][-1]
    assert last == Status("Room", last.time_s, 19, "the stream is stopped")
    assert serving.lines[-2].endswith("lost by slow clients: 0.")
    assert serving.lines[-1] == "Stopped."
    assert left_over(before) == []


def test_a_stream_of_some_seconds(acquisition):
    with (
        Serving(acquisition[0], loop=True, seconds=0.4) as serving,
        Client(port=serving.port, patience_s=0.3) as client,
    ):
        poses = [event.time_s for _, event in client if event.name == "ProbeToTracker"]
    assert 0.3 < np.ptp(poses) <= 0.4


def test_a_listener_for_some_seconds(acquisition, tmp_path):
    with Serving(acquisition[0], loop=True, seconds=1.4) as serving:
        made = listen(
            tmp_path / "out", say=lambda _: None, sector=acquisition[0], port=serving.port, seconds=0.8
        )
    assert 1 < len(made) < 1.2 * N
    assert np.ptp(made.time_s) < 1.1


def test_a_listener_that_is_interrupted_writes_what_it_has(acquisition, tmp_path):
    told = []

    def say(line):
        told.append(line)
        if line.startswith("The first"):
            threading.Timer(0.7, _thread.interrupt_main).start()

    with Serving(acquisition[0], loop=True, seconds=1.5) as serving:
        made = listen(tmp_path / "out", say=say, sector=acquisition[0], port=serving.port)
    assert "Stopped." in told
    assert 1 < len(made) < 1.4 * N
    assert len(read_acquisition(tmp_path / "out")) == len(made)
    assert not [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_nothing_is_written_where_nothing_can_be(rng, tmp_path, acquisition):
    before, told = threading.enumerate(), []
    folder, sweep = acquisition
    with Server(port=0) as server:
        events = [e for _, e in room_events(sweep, start_s=1.7e9) if not hasattr(e, "pixels")]

        def serve():
            while not server.clients:
                time.sleep(0.01)
            server.run(events)

        threading.Thread(target=serve).start()
        made = listen(tmp_path / "out", say=told.append, sector=folder, port=server.port)
    assert made is None
    assert told[-1] == "Nothing is written: no picture came that can be used. Devices: ProbeToTracker."
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="holds an acquisition already"):
        listen(folder, say=told.append, sector=folder)
    with pytest.raises(ValueError, match="cannot be written"):
        listen(folder / "hand.tts" / "below", say=told.append, sector=folder)
    with pytest.raises(ConnectionError, match=r"no OpenIGTLink server at 127\.0\.0\.1:1: nobody answers"):
        listen(tmp_path / "out", say=told.append, sector=folder, port=1, patience_s=0.2)
    assert left_over(before) == []


def test_a_probe_that_is_hidden_all_the_time_gives_no_acquisition(acquisition, tmp_path):
    told = []
    with Serving(acquisition[0], faults=["probe hidden 0 99"]) as serving:
        made = listen(tmp_path / "out", say=told.append, sector=acquisition[0], port=serving.port)
    assert made is None
    assert told[-1].startswith("Nothing is written: no pose of ProbeToTracker came that can be used.")
    assert not (tmp_path / "out").exists()


def test_pictures_that_do_not_fit_the_sector_are_refused_at_once(rng, acquisition, tmp_path):
    write_acquisition(replace_sector(hand_sweep(rng, kind="sector")), tmp_path / "other")
    sentence = "Image_Reference is 36 x 27 pixels; the sector is for 30 x 27"
    with (
        Serving(acquisition[0], loop=True, seconds=0.6) as serving,
        pytest.raises(ValueError, match=sentence),
    ):
        listen(tmp_path / "out", say=lambda _: None, sector=tmp_path / "other", port=serving.port)
    assert not (tmp_path / "out").exists()


def replace_sector(sweep):
    """Of another width."""
    sector = replace(sweep.sector, shape=(27, 30), clip_p=(3, 29, 1, 24))
    return replace(sweep, frames=sweep.frames[:, :, :30], sector=sector)


def test_what_cannot_be_streamed_is_refused_before_a_port_is_opened(acquisition, tmp_path):
    before = threading.enumerate()
    for source, options, sentence in (
        ("no_such_set", {}, "no_such_set is no file and no data set; .* wire_cross_sweep"),
        ("pointer_pivoting", {}, "the data set pointer_pivoting holds arrays; expected a sweep"),
        (tmp_path, {}, "no .fts file"),
        (acquisition[0], {"faults": ["probe melts"]}, "'probe melts' is not understood"),
        (acquisition[0], {"speed": 0.0}, "speed is 0.0; expected a number above 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            stream(source, say=print, port=0, **options)
    assert left_over(before) == []


def test_sources_of_every_kind(acquisition, navkit_data):
    sweep, tracking = read_source(acquisition[0] / "hand.fts")
    assert isinstance(tracking, PoseStream)
    assert len(sweep) == len(tracking) == N
    volrec = navkit_data / "plus" / "volrec"
    with pytest.raises(ValueError, match="is a PLUS sequence; expected its configuration"):
        read_source(volrec / "SpinePhantomFreehand.igs.mha")
    spine, own = read_source(
        volrec / "SpinePhantomFreehand.igs.mha",
        volrec / "PlusDeviceSet_VolumeReconstructionOnly_SpinePhantom_NN_MEAN.xml",
    )
    assert own is None
    recorded = record(room_events(spine, start_s=1.7e9, reference=patient(), tracking_hz=50.0))
    placed = recorded.sweep(spine.sector)
    assert placed.valid.sum() >= spine.valid.sum() - 1
    seen = spine.valid & placed.valid
    rigid = tracking_of(spine).pose @ spine.sector.t_M_p()
    off = (placed.pr_M_p - rigid)[seen] @ [400.0, 300.0, 0.0, 1.0]
    assert np.abs(off).max() < 0.1
    assert 1.0 < sheared_mm(spine) < 2.0  # its axes meet at 92.7 degrees
    assert sheared_mm(sweep) < 1e-9
