"""The server and the client on loopback: nothing lost, nobody held up, nothing left behind."""

import json
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest

from navkit.live import NAMES, Client, Picture, Pose, Server, Status, _server, paced
from navkit.live._wire import Incoming, pack

WAIT_S = 60.0  # a loaded machine; nothing takes this long
SIZE = 512, 400

OURS = """
    import sys, time
    from navkit.live._client import Client

    came = []
    with Client(port=int(sys.argv[1])) as client:
        for arrived_s, event in client:
            if event.name == "End":
                break
            value = getattr(event, "pixels", None)
            came.append((event.name, event.time_s, arrived_s, None if value is None else int(value[3, 5])))
        assert not client.incoming.refused
"""
PYIGTLS = """
    import sys, time, pyigtl

    class Kept(dict):  # pyigtl's client keeps only the last message of a device
        def __setitem__(self, name, message):
            value = message.image[0, 3, 5] if message.message_type == "IMAGE" else None
            came.append((name, message.timestamp, time.time(), None if value is None else int(value)))

    came = []
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", int(sys.argv[1]), start_now=False)
    client.incoming_messages = Kept()
    client.start()
    while not (came and came[-1][0] == "End"):
        time.sleep(0.01)
    client.stop()
    del came[-1]
"""


@contextmanager
def listeners(port, *scripts):
    """Python processes that listen; each gives what came as (device, stamp, arrival, a pixel)."""
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(script) + "import json; print(json.dumps(came))",
                str(port),
            ],
            stdout=subprocess.PIPE,
        )
        for script in scripts
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def until(condition):
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "did not happen"
        time.sleep(0.01)


def scene(seconds, *, start_s, latency_s=0.0):
    """30 pictures and 100 poses a second, with their due times; picture k is full of k % 251."""
    timed = [(k / 100, Pose("ProbeToTracker", start_s + k / 100, np.eye(4))) for k in range(100 * seconds)]
    pictures = [np.full(SIZE, k, dtype=np.uint8) for k in range(251)]
    timed += [
        (k / 30, Picture("Image_Reference", start_s + k / 30, pictures[k % 251], (0.1, 0.2), np.eye(4)))
        for k in range(30 * seconds)
    ]
    timed.sort(key=lambda pair: pair[0])
    return [(start_s + due_s + latency_s, event) for due_s, event in timed]


def end():
    return Pose("End", 1.0, np.eye(4))


def word(number):
    return Status("Room", float(number), 1, str(number))


def picture(number):
    return Picture("Image_Reference", float(number), np.full(SIZE, number % 251, np.uint8), (0.1, 0.2))


@contextmanager
def raw_server(*answers):
    """Gives each connection in turn some bytes and hangs up; then listens no more."""

    def serve():
        with suppress(TimeoutError):
            for answer in answers:
                sock, _ = listening.accept()
                with sock:
                    sock.sendall(answer)
        listening.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT_S)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(WAIT_S)


def hello(port, data=b"", *, reset=False):
    """Connect, send, and leave, politely or not."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as sock:
        sock.sendall(data)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def not_reading(port):
    """A connection with little room for what is not read."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(WAIT_S)
        sock.connect(("127.0.0.1", port))
        yield sock


# Nothing is lost


@pytest.mark.slow
def test_two_processes_get_every_picture_and_every_pose():
    """Four seconds, through pyigtl's own client and through ours; the benchmark does a minute."""
    with (
        Server(port=0, pictures=1000, words=10000) as server,
        listeners(server.port, PYIGTLS, OURS) as processes,
    ):
        until(lambda: len(server.clients) == 2)
        timed = scene(4, start_s=time.time())
        server.run(paced(timed))
        server.send(end())
        heard = [json.loads(process.communicate(timeout=WAIT_S)[0]) for process in processes]
    for came in heard:
        for name in ("ProbeToTracker", "Image_Reference"):
            sent = [event for _, event in timed if event.name == name]
            got = [(stamp, pixel) for device, stamp, _, pixel in came if device == name]
            assert len(got) == len(sent)
            np.testing.assert_allclose([g[0] for g in got], [e.time_s for e in sent], atol=1e-6)
            if name == "Image_Reference":
                assert [g[1] for g in got] == [k % 251 for k in range(len(sent))]
        assert min(arrived_s - stamp for _, stamp, arrived_s, _ in came) > -0.01


def test_what_was_sent_before_the_server_closed_still_arrives():
    with Server(port=0) as server, Client(port=server.port, patience_s=0.5) as client:
        until(lambda: server.clients)
        for k in range(20):
            server.send(picture(k))
        server.close()
        assert [event.time_s for _, event in client] == [float(k) for k in range(20)]
        assert client.over
        assert client.receive() is None
        with pytest.raises(ValueError, match="closed"):
            server.send(word(1))
        server.close()


def test_every_dialect_comes_back_as_it_was():
    matrix = np.array([[0, -1, 0, 10.0], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])
    for names in NAMES.values():
        with Server(port=0, names=names) as server, Client(port=server.port, names=names) as client:
            until(lambda: server.clients)
            server.send(Pose(names.probe, 5.0, matrix))
            _, event = client.receive(WAIT_S)
            assert (event.name, event.time_s) == (names.probe, 5.0)
            np.testing.assert_array_equal(event.matrix, matrix)


def test_a_client_that_is_not_emptied_loses_nothing_that_it_has_room_for():
    with Server(port=0, words=5000) as server, Client(port=server.port, room=10) as client:
        until(lambda: server.clients)
        for k in range(3000):
            server.send(word(k))
        time.sleep(0.7)  # it has waited for room more than once
        assert [client.receive(WAIT_S)[1].time_s for _ in range(3000)] == [float(k) for k in range(3000)]


# Nobody is held up


def test_a_client_that_stalls_loses_its_oldest_pictures_and_holds_nobody_up():
    with Server(port=0, pictures=10) as server, not_reading(server.port) as stalled:
        until(lambda: server.clients)
        with Client(port=server.port) as client:
            until(lambda: len(server.clients) == 2)
            for k in range(150):  # 30 MB: more than any socket holds
                server.send(picture(k))
                _, event = client.receive(WAIT_S)
                assert (event.time_s, event.pixels[0, 0]) == (k, k)
            until(lambda: server.clients[1].sent == 150)  # counted after it is sent
            slow, good = server.clients
            assert (good.sent, good.lost_pictures, good.lost_words) == (150, 0, 0)
            assert slow.lost_pictures > 10
            assert slow.lost_words == 0
            assert slow.sent + slow.lost_pictures + 10 + 1 >= 150

        incoming, came = Incoming(), []
        while not (came and came[-1].time_s == 149):
            came += incoming.feed(stalled.recv(2**20))
    told = [event for event in came if isinstance(event, Status)]
    numbers = [event.time_s for event in came if isinstance(event, Picture)]
    assert incoming.refused == 0
    assert {event.code for event in told} == {8}
    assert sum(int(event.text.split()[0]) for event in told) == slow.lost_pictures
    assert len(numbers) == 150 - slow.lost_pictures
    assert numbers == sorted(numbers)
    assert numbers[-10:] == list(range(140, 150))


def test_words_overtake_no_picture():
    with Server(port=0) as server, Client(port=server.port) as client:
        until(lambda: server.clients)
        for k in range(0, 40, 2):
            server.send(picture(k))
            server.send(word(k + 1))
        assert [client.receive(WAIT_S)[1].time_s for _ in range(40)] == [float(k) for k in range(40)]


def test_garbage_half_messages_and_resets_from_clients_are_survived(rng):
    get_status = struct.pack(">H12s20sIIQQ", 1, b"GET_STATUS", b"Room", 0, 0, 0, 0)
    with Server(port=0) as server, Client(port=server.port) as client:
        until(lambda: server.clients)
        for k, data in enumerate(
            [get_status, get_status[:30], rng.bytes(100_000), b"GET / HTTP/1.1\r\n\r\n", b""]
        ):
            hello(server.port, data)
            hello(server.port, data, reset=True)
            server.send(word(k))
            assert client.receive(WAIT_S)[1].time_s == k
        until(lambda: len(server.clients) == 1)
        server.send(word(99))
        assert client.receive(WAIT_S)[1].time_s == 99


def test_a_client_that_floods_the_server_holds_nobody_up():
    def flood():
        with suppress(OSError):  # until the server hangs up
            while True:
                flooding.sendall(bytes(2**20))

    with Server(port=0) as server, socket.create_connection(("127.0.0.1", server.port)) as flooding:
        thread = threading.Thread(target=flood)
        thread.start()
        with Client(port=server.port) as client:
            until(lambda: len(server.clients) == 2)
            for k in range(20):
                server.send(word(k))
                assert client.receive(WAIT_S)[1].time_s == k
        server.close()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_what_a_client_sends_is_read_in_parts():
    class Endless:
        parts = 0

        def recv(self, size):
            self.parts += 1
            assert self.parts < 5
            return bytes(size)

    endless = Endless()
    _server._Guest(endless, "", threading.Lock(), deque(), deque()).read()
    assert endless.parts == 1


def test_closing_waits_for_who_reads_slowly(monkeypatch):
    monkeypatch.setattr(_server, "FLUSH_S", WAIT_S)
    with Server(port=0, pictures=100) as server, not_reading(server.port) as sock:
        until(lambda: server.clients)
        for k in range(60):
            server.send(picture(k))
        closing = threading.Thread(target=server.close)
        closing.start()
        incoming, came = Incoming(), []
        while data := sock.recv(2**20):
            came += incoming.feed(data)
        closing.join(WAIT_S)
    assert [event.time_s for event in came] == list(range(60))


def test_closing_does_not_wait_for_who_reads_nothing(monkeypatch):
    monkeypatch.setattr(_server, "FLUSH_S", 0.1)
    with Server(port=0, pictures=100) as server, not_reading(server.port):
        until(lambda: server.clients)
        for k in range(60):
            server.send(picture(k))
        server.close()
        assert not server.clients


# Nothing is left behind


def test_ten_storms_of_connections_leave_no_thread_and_no_socket_behind():
    process = psutil.Process()
    Server(port=0).close()  # what is imported or opened once and for all
    threads, sockets = set(threading.enumerate()), len(process.net_connections())
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    with Server(port=0) as server:
        for storm in range(10):
            guests = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
            server.send(picture(storm))
            for k, sock in enumerate(guests):
                with suppress(OSError):
                    if k % 4 == 0:
                        sock.sendall(b"half a mess")
                    if k % 4 == 1:
                        sock.settimeout(0.01)
                        sock.recv(100)
                    if k % 4 == 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            assert len(set(threading.enumerate()) - threads) == 1
        until(lambda: not server.clients)
        clients = [Client(port=server.port) for _ in range(5)]
        for client in clients:
            client.close()
    assert set(threading.enumerate()) == threads
    assert len(process.net_connections()) <= sockets
    if hasattr(process, "num_fds"):
        assert process.num_fds() == files


def test_ctrl_c_closes_the_server():
    script = """
        import itertools, sys, threading, time
        from navkit.live._events import Status
        from navkit.live._pace import paced
        from navkit.live._server import Server

        start_s = time.time()
        try:
            with Server(port=0) as server:
                print(server.port, flush=True)
                server.run(paced((start_s + k / 50, Status("Room", 1.0, 1, "x")) for k in itertools.count()))
        except KeyboardInterrupt:
            print("closed", [t.name for t in threading.enumerate()], flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline())
        with Client(port=port, patience_s=0.3) as client:
            assert client.receive(WAIT_S)[1].text == "x"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=WAIT_S)[0] == "closed ['MainThread']\n"
            for _ in client:
                pass
            assert client.over
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert process.returncode == 0


# Ports


def test_a_port_in_use_is_followed_by_the_next_that_is_free():
    with Server(port=0) as first, Server(port=first.port) as second:
        assert first.note == ""
        assert first.port < second.port <= first.port + 20
        assert second.note == f"Port {first.port} is in use; this is port {second.port}."
        hello(second.port)


def test_no_free_port_and_no_such_address_say_so(monkeypatch):
    monkeypatch.setattr(_server, "PORTS_TRIED", 0)
    with (
        Server(port=0) as first,
        pytest.raises(OSError, match=f"ports {first.port} to {first.port} .* in use"),
    ):
        Server(port=first.port)
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.7:"):
        Server(host="203.0.113.7", port=0)


def test_only_this_computer_is_let_in_unless_asked():
    with Server(port=0) as server:
        assert server.host == "127.0.0.1"


# The client


def test_a_client_comes_back_when_the_connection_breaks():
    """The first ends within a message, the second within a header."""
    whole = pack(word(1))
    with raw_server(whole + pack(word(2))[:70], pack(word(3)) + whole[:20], pack(word(4))) as port:
        with Client(port=port, patience_s=1.0) as client:
            assert [event.time_s for _, event in client] == [1, 3, 4]
        assert client.connections == 3
        assert client.incoming.refused == 0


def test_a_damaged_message_is_counted_and_the_rest_is_read():
    damaged = bytearray(pack(word(1)))
    damaged[-2] ^= 1
    with raw_server(bytes(damaged) + pack(word(2))) as port, Client(port=port, patience_s=0.3) as client:
        assert [event.time_s for _, event in client] == [2]
        assert client.incoming.refused == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"Im", 0, 0, 10**12, 0), "claims 1000000000000"),
        (b"SSH-2.0-OpenSSH_9.6" + bytes(60), "another program answers"),
        (b"", "it sends nothing"),
    ],
    ids=["absurd size", "another protocol", "silence"],
)
def test_a_server_that_speaks_no_openigtlink_is_named(answer, words):
    with raw_server(answer) as port, Client(port=port, patience_s=0.3) as client:
        with pytest.raises(ConnectionError, match=f"no OpenIGTLink server at 127.0.0.1:{port}: .*{words}"):
            client.receive()
        assert client.connections >= 1


def test_what_came_before_the_nonsense_is_kept():
    nonsense = bytes(100)
    with (
        raw_server(pack(word(1)) + nonsense, pack(word(2))) as port,
        Client(port=port, patience_s=1.0) as client,
    ):
        assert [event.time_s for _, event in client] == [1, 2]


def test_after_nonsense_the_client_does_not_wait_until_the_server_hangs_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT_S)
        with Client(port=listening.getsockname()[1]) as client, listening.accept()[0] as first:
            first.sendall(bytes(100))
            with listening.accept()[0] as second:
                second.sendall(pack(word(2)))
                assert client.receive(WAIT_S)[1].time_s == 2


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with Client(port=port, patience_s=0.3) as client, pytest.raises(ConnectionError, match="nobody answers"):
        next(iter(client))


def test_waiting_for_an_event_ends_in_time_and_closing_ends_the_waiting():
    with Server(port=0) as server:
        client = Client(port=server.port)
        until(lambda: server.clients)
        assert client.receive(0.05) is None
        assert not client.over
        client.close()
        assert client.receive() is None
        until(lambda: not server.clients)
