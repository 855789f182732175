"""The wire: a minute of 30 pictures and 100 poses a second into other processes, and the parts of it.

The aims: nothing lost, and the latency that is set within 5 ms. Run it on a machine that does nothing else.
"""

import json
import time

import numpy as np
import pytest
from test_live_server import OURS, PYIGTLS, end, listeners, picture, scene, until

from navkit.live import Client, Pose, Server, paced
from navkit.live._crc import crc64
from navkit.live._wire import HEADER_SIZE, pack, read_header, unpack

SECONDS = 60


@pytest.mark.parametrize("latency_s", [0.0, 0.05])
@pytest.mark.parametrize("script", [PYIGTLS, OURS], ids=["pyigtl", "ours"])
def test_a_minute(benchmark, script, latency_s):
    heard, sent = [], []

    def stream():
        with Server(port=0) as server, listeners(server.port, script) as (process,):
            until(lambda: server.clients)
            sent.extend(scene(SECONDS, start_s=time.time() + 0.1, latency_s=latency_s))
            cpu_s = time.process_time()
            server.run(paced(sent))
            benchmark.extra_info["cpu_percent"] = round(100 * (time.process_time() - cpu_s) / SECONDS, 1)
            server.send(end())
            heard.extend(json.loads(process.communicate(timeout=60)[0]))

    benchmark.pedantic(stream, rounds=1)
    assert len(heard) == len(sent) == 130 * SECONDS
    late_ms = np.array([1000 * (arrived_s - stamp - latency_s) for _, stamp, arrived_s, _ in heard])
    for name, value in zip(
        ("median", "p95", "p99", "max"), np.percentile(late_ms, [50, 95, 99, 100]), strict=True
    ):
        benchmark.extra_info[f"late_ms_{name}"] = round(float(value), 2)
    assert np.median(late_ms) < 5


def test_the_checksum_of_a_picture(benchmark):
    assert benchmark(crc64, picture(7).pixels.tobytes()) > 0


def test_packing_a_picture(benchmark):
    assert len(benchmark(pack, picture(7))) > 512 * 400


def test_unpacking_a_picture(benchmark):
    data = pack(picture(7))
    header, body = read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:]
    assert benchmark(unpack, header, body).pixels.shape == (512, 400)


def test_a_pose_to_a_client_and_back_in_hand(benchmark):
    with Server(port=0) as server, Client(port=server.port) as client:
        until(lambda: server.clients)

        def there():
            server.send(Pose("ProbeToTracker", 1.0, np.eye(4)))
            return client.receive(5.0)

        assert benchmark(there) is not None


def test_a_thousand_pictures_as_fast_as_they_go(benchmark):
    with Server(port=0, pictures=1000) as server, Client(port=server.port) as client:
        until(lambda: server.clients)

        def through():
            for k in range(1000):
                server.send(picture(k))
            return sum(client.receive(5.0) is not None for _ in range(1000))

        assert benchmark.pedantic(through, rounds=3) == 1000
