"""``navkit stream`` in one process and ``navkit listen`` in another: an acquisition comes out."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import files


@pytest.fixture
def source(rng, tmp_path) -> Path:
    files.write_acquisition(hand_sweep(rng, n=30), tmp_path / "acq")
    return tmp_path / "acq"


def navkit(*argv) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "navkit", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )


def serving(*argv) -> tuple[subprocess.Popen, str]:
    """The server, and the port that it says."""
    server = navkit("stream", *argv)
    for line in server.stdout:
        found = re.match(r"Serving .* on 127\.0\.0\.1:(\d+): ProbeToTracker", line)
        if found:
            return server, found[1]
    raise AssertionError(server.communicate()[1])


def test_a_stream_is_recorded_as_an_acquisition(source, tmp_path):
    server, port = serving(source, "--port", 0, "--wait", "--speed", 2)
    listener = navkit(
        "listen",
        "-o",
        tmp_path / "got",
        "--sector",
        source,
        "--port",
        port,
        "--reference",
        "ReferenceToTracker",
    )
    told, err = listener.communicate(timeout=120)
    assert (listener.returncode, err) == (0, "")
    assert re.search(r": 30 frames of .* 30 of them tracked", told)
    end, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")
    assert "Clients: 1" in end
    want, got = files.read_acquisition(source), files.read_acquisition(tmp_path / "got")
    assert np.array_equal(got.frames, want.frames)
    np.testing.assert_allclose(np.diff(got.time_s), np.diff(want.time_s) / 2, atol=2e-4)


def test_a_stopped_stream_says_goodbye(source):
    server, _ = serving(source, "--port", 0, "--loop")
    server.send_signal(signal.SIGINT)
    told, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")
    assert "Stopped." in told
    assert "Clients: 0" in told


def test_no_server_no_source_and_unknown_faults_are_one_sentence(source, tmp_path):
    for argv, word in (
        (("listen", "-o", tmp_path / "x", "--sector", source, "--port", 1, "--patience", 0.5), "127.0.0.1:1"),
        (("stream", tmp_path / "nothing"), "no file and no data set"),
        (("stream", source, "--fault", "probe melted"), "probe melted"),
    ):
        process = navkit(*argv)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2, err
        assert err.startswith("error: ")
        assert word in err
    assert not (tmp_path / "x").exists()
