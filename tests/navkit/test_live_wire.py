"""Events as OpenIGTLink messages and back, checked against pyigtl, and 20,000 damaged ones."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyigtl import messages
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from
from navkit.live import NAMES, Picture, Pose, Status, WireError, _messages, paced
from navkit.live._crc import crc64
from navkit.live._wire import HEADER_SIZE, MAX_BODY, Incoming, pack, read_header, unpack

TIME = 1_700_000_000.123456
POSE = pose_from(Rotation.from_euler("xyz", [10, -50, 120], degrees=True), [31.5, -210.25, 87.0])


def picture(rng, *, shape=(7, 11), matrix=POSE, name="Image_Reference"):
    return Picture(name, TIME, rng.integers(0, 256, shape, dtype=np.uint8), (0.25, 0.4), matrix)


def there_and_back(event, names=NAMES["custusx"]):
    data = pack(event, names)
    return unpack(read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:], names)


def read_by_pyigtl(data):
    fields = messages.MessageBase.parse_header(data[:HEADER_SIZE])
    message = messages.MessageBase.create_message(fields["message_type"])
    message.unpack(fields, data[HEADER_SIZE:])
    return message


def with_crc(data):
    """The message with a checksum that fits its body."""
    return data[:50] + struct.pack(">Q", crc64(data[58:])) + data[58:]


# The checksum


def crc_bit_by_bit(data):
    crc = 0
    for byte in data:
        crc ^= byte << 56
        for _ in range(8):
            crc = (crc << 1 ^ (0x42F0E1EBA9EA3693 if crc >> 63 else 0)) & (1 << 64) - 1
    return crc


@pytest.mark.parametrize("size", [*range(20), 63, 64, 65, 1001])
def test_the_checksum_is_crcmods_and_the_standards(rng, size):
    import crcmod

    crcmods = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, rev=False, initCrc=0, xorOut=0)
    data = rng.bytes(size)
    assert crc64(data) == crcmods(data) == crc_bit_by_bit(data)


# One message


def test_a_pose_is_what_pyigtl_reads():
    message = read_by_pyigtl(pack(Pose("ProbeToTracker", TIME, POSE)))
    assert (message.message_type, message.device_name) == ("TRANSFORM", "ProbeToTracker")
    assert message.timestamp == pytest.approx(TIME, abs=3e-7)
    np.testing.assert_allclose(message.matrix, POSE, atol=1e-5)


def test_a_picture_is_what_pyigtl_reads(rng):
    event = picture(rng)
    message = read_by_pyigtl(pack(event))
    assert (message.message_type, message.device_name) == ("IMAGE", "Image_Reference")
    np.testing.assert_array_equal(message.image, event.pixels[None])
    ijk_to_world = POSE @ np.diag([0.25, 0.4, 1.0, 1.0])
    np.testing.assert_allclose(message.ijk_to_world_matrix, ijk_to_world, atol=5e-5)


def test_the_bytes_of_a_picture_are_the_protocols(rng):
    """Size as columns, rows, 1; axes as long as a pixel; and the middle of the picture."""
    event = picture(rng)
    body = pack(event)[HEADER_SIZE:]
    head = struct.unpack_from(">HBBBBHHH12f6H", body)
    assert head[:8] == (1, 1, 3, 2, 2, 11, 7, 1)  # one unsigned byte, little-endian, LPS
    assert head[20:] == (0, 0, 0, 11, 7, 1)
    t, s, n, middle = np.reshape(head[8:20], (4, 3))
    np.testing.assert_allclose([t, s, n], (POSE[:3, :3] * [0.25, 0.4, 1.0]).T, atol=1e-6)
    np.testing.assert_allclose(middle, (POSE @ [0.25 * 5, 0.4 * 3, 0, 1])[:3], atol=5e-5)
    assert body[72:] == event.pixels.tobytes()


def test_a_status_is_the_protocols():
    body = pack(Status("Room", TIME, 7, "blå skjerm"))[HEADER_SIZE:]
    assert body == struct.pack(">Hq20s", 7, 0, b"") + "blå skjerm".encode() + b"\0"
    assert there_and_back(Status("Room", TIME, 7, "blå skjerm")) == Status("Room", TIME, 7, "blå skjerm")


def test_a_hidden_tool_has_no_transform_that_others_would_believe():
    data = pack(Pose("ProbeToTracker", TIME, None))
    assert data[2:14].rstrip(b"\0") == b"STATUS"
    assert there_and_back(Pose("ProbeToTracker", TIME, None)) == Pose("ProbeToTracker", TIME, None)
    told = Status("ProbeToTracker", TIME, 16, "another server's word")
    assert there_and_back(told) == told


def test_a_picture_without_a_pose_says_so_as_plus_does(rng):
    event = picture(rng, matrix=None)
    message = read_by_pyigtl(pack(event))
    assert message.metadata == {"ImageToReferenceTransformStatus": "INVALID"}
    np.testing.assert_allclose(message.ijk_to_world_matrix, np.diag([0.25, 0.4, 1, 1]), atol=1e-6)
    back = there_and_back(event)
    assert back.matrix is None
    np.testing.assert_array_equal(back.pixels, event.pixels)


def test_a_pose_at_the_origin_is_a_pose(rng):
    np.testing.assert_allclose(there_and_back(picture(rng, matrix=np.eye(4))).matrix, np.eye(4), atol=1e-6)


@pytest.mark.parametrize(("status", "seen"), [("OK", True), ("INVALID", False), ("OUT_OF_VIEW", False)])
def test_the_status_that_plus_gives_a_transform_is_read(status, seen):
    message = messages.TransformMessage(POSE, timestamp=TIME, device_name="ProbeToTracker")
    message.header_version, message.metadata = 2, {"TransformStatus": status}
    data = message.pack()
    event = unpack(read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:])
    assert (event.matrix is not None) == seen


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spacing=st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    shift=st.tuples(*[st.floats(-2000, 2000)] * 3),
    time_s=st.floats(0, 4e9),
    dialect=st.sampled_from(sorted(NAMES)),
    seed=st.integers(0, 2**32 - 1),
)
def test_pictures_and_poses_come_back(shape, spacing, turn, shift, time_s, dialect, seed):
    names, pixels = NAMES[dialect], np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    matrix = pose_from(Rotation.from_rotvec(turn), shift)
    back = there_and_back(Picture(names.image, time_s, pixels, spacing, matrix), names)
    assert back.name == names.image
    assert back.time_s == pytest.approx(time_s, abs=3e-7)
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_allclose(back.spacing_mm, spacing, rtol=1e-6)
    np.testing.assert_allclose(back.matrix[:3, :3], matrix[:3, :3], atol=1e-6)
    np.testing.assert_allclose(back.matrix[:3, 3], matrix[:3, 3], atol=1e-3)  # single precision at 2 m
    np.testing.assert_allclose(
        there_and_back(Pose(names.probe, 1.0, matrix), names).matrix, matrix, atol=2e-4
    )


def test_a_time_of_today_comes_back_to_the_bit():
    for time_s in TIME + np.arange(2000) * 0.0123457:
        assert there_and_back(Pose("ProbeToTracker", time_s, POSE)).time_s == time_s


# Dialects


def test_slicer_gets_what_leads_to_the_reference_in_ras(rng):
    """A point to the patient's left is at +x in LPS, at -x in RAS."""
    names, left = NAMES["slicer"], pose_from(np.eye(3), [5.0, 7.0, 9.0])
    assert read_by_pyigtl(pack(Pose(names.probe, TIME, left), names)).matrix[:3, 3].tolist() == [-5, -7, 9]
    assert read_by_pyigtl(pack(Pose(names.reference, TIME, left), names)).matrix[:3, 3].tolist() == [5, 7, 9]
    image = read_by_pyigtl(pack(picture(rng, matrix=left), names))
    assert image.world_coordinate_system == "ras"
    np.testing.assert_allclose(image.ijk_to_world_matrix[:3, 3], [-5, -7, 9], atol=1e-5)
    np.testing.assert_allclose(image.ijk_to_world_matrix[:3, 0], [-0.25, 0, 0], atol=1e-6)
    assert (
        read_by_pyigtl(pack(picture(rng, matrix=left), replace(names, ras=False))).ijk_to_world_matrix[0, 3]
        > 0
    )


@pytest.mark.parametrize("dialect", NAMES)
def test_names_of_a_dialect_fit_the_header_and_follow_plus(dialect):
    names = NAMES[dialect]
    assert all(len(n) <= 20 and "To" in n for n in (names.probe, names.pointer, names.reference))
    assert len(names.image) <= 20
    assert names.image.count("_") == 1


# What cannot be sent


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Pose("", 1.0, None), "device name of 1 to 20"),
        (Pose("a" * 21, 1.0, None), "device name of 1 to 20"),
        (Pose("Åsa", 1.0, None), "ASCII"),
        (Pose("Tool", -1.0, None), "since 1970"),
        (Pose("Tool", float("nan"), None), "since 1970"),
        (Pose("Tool", 1.0, np.eye(3)), r"\(4, 4\) matrix .* for Tool"),
        (Pose("Tool", 1.0, np.full((4, 4), np.nan)), "below 1 km"),
        (Picture("Im", 1.0, np.zeros((2, 3)), (1.0, 1.0)), r"\(h, w\) uint8, got \(2, 3\) float64"),
        (Picture("Im", 1.0, np.zeros((2, 3, 3), np.uint8), (1.0, 1.0)), "uint8"),
        (Picture("Im", 1.0, np.zeros((0, 3), np.uint8), (1.0, 1.0)), "uint8"),
        (Picture("Im", 1.0, np.zeros((2, 3), np.uint8), (0.0, 1.0)), "above 0 mm"),
    ],
)
def test_an_event_that_cannot_be_sent_is_refused(event, words):
    with pytest.raises(ValueError, match=words):
        pack(event)


# What comes in


def test_pieces_of_any_size_make_the_same_events(rng):
    events = [
        Pose("ProbeToTracker", TIME, None),
        Status("Room", TIME, 1, "x"),
        Pose("P", 2.0, None),
        Status("R", 3.0, 2, ""),
    ]
    stream = b"".join(map(pack, events))
    for size in (1, 7, 58, 59, 1000):
        incoming = Incoming()
        out = [e for k in range(0, len(stream), size) for e in incoming.feed(stream[k : k + size])]
        assert out == events
        assert incoming.messages == 4


def test_unknown_kinds_are_counted_and_left_out():
    incoming = Incoming()
    word = messages.StringMessage("depth 50", timestamp=TIME, device_name="Scanner").pack()
    told = Status("Room", TIME, 1, "x")
    assert list(incoming.feed(word + word + pack(told))) == [told]
    assert incoming.unknown == {"STRING": 2}
    assert incoming.refused == 0


def test_a_damaged_message_is_left_out_and_the_next_is_read(rng):
    incoming, told = Incoming(), Status("Room", TIME, 1, "x")
    data = bytearray(pack(picture(rng)))
    data[150] ^= 4
    assert list(incoming.feed(bytes(data) + pack(told))) == [told]
    assert incoming.refused == 1
    assert "checksum" in incoming.notes[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"Im", 0, 0, 10**12, 0),
            "claims 1000000000000 for IMAGE 'Im'",
        ),
        (struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"Im", 0, 0, MAX_BODY + 1, 0), "at most"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html; charset=utf-8\r\n\r\n", "another program"),
        (struct.pack(">H12s20sIIQQ", 1, b"\xff\xfe", b"Im", 0, 0, 0, 0), "expected an OpenIGTLink header"),
        (bytes(58), "another program"),
    ],
)
def test_what_is_no_openigtlink_is_refused_at_the_header(data, words):
    incoming = Incoming()
    with pytest.raises(WireError, match=words):
        list(incoming.feed(pack(Status("Room", TIME, 1, "x")) + data))
    assert incoming.messages == 1


@pytest.mark.parametrize(("place", "value"), [(1, 2), (63, 200)], ids=["version", "size of metadata"])
def test_parts_that_do_not_fit_into_the_body_are_refused(place, value):
    """The checksum does not cover the header: a version that is not its own shifts what is read."""
    message = _messages.StatusMessage(1, "words", timestamp=TIME, device_name="Room")
    message.header_version, message.metadata = (1, {}) if place == 1 else (2, {"key": "value"})
    data = bytearray(message.pack())
    data[place] = value
    data = with_crc(bytes(data))
    with pytest.raises(WireError, match="do not fit into"):
        unpack(read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((1, 3, 4, 3), np.uint8), "8 bit grey"),
        (np.zeros((2, 3, 4), np.uint8), "8 bit grey"),
        (np.zeros((1, 3, 4), np.float32), "8 bit grey"),
    ],
)
def test_volumes_and_colours_are_refused(image, words):
    data = messages.ImageMessage(image, timestamp=TIME, device_name="Im").pack()
    with pytest.raises(WireError, match=words):
        unpack(read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:])


@pytest.mark.parametrize("matrix", [np.diag([0.0, 1, 1, 1]), np.diag([np.nan, 1, 1, 1])])
def test_a_picture_without_size_is_refused(matrix):
    data = messages.ImageMessage(
        np.zeros((1, 3, 4), np.uint8), matrix, timestamp=TIME, device_name="Im"
    ).pack()
    with pytest.raises(WireError, match=r"larger than 0 mm|below 1 km"):
        unpack(read_header(data[:HEADER_SIZE]), data[HEADER_SIZE:])


def test_twenty_thousand_damaged_messages_give_an_error_or_a_right_event(rng):
    """Half of them with a checksum that fits, so that the damage reaches what reads the body."""
    metadata = messages.TransformMessage(POSE, timestamp=TIME, device_name="ProbeToTracker")
    metadata.header_version, metadata.metadata = 2, {"TransformStatus": "OK", "other": "x" * 30}
    whole = [
        pack(Pose("ProbeToTracker", TIME, POSE)),
        pack(picture(rng, shape=(5, 4))),
        pack(picture(rng, shape=(5, 4), matrix=None)),
        pack(Status("Room", TIME, 1, "words")),
        pack(Pose("ProbeToTracker", TIME, None)),
        metadata.pack(),
    ]
    ending = Status("Room", TIME, 1, "the end")
    right = [pack(event)[58:] for data in whole for event in Incoming().feed(data)]
    named = {"ProbeToTracker", "Image_Reference", "Room"}
    outcomes = dict.fromkeys(["event", "left out", "no OpenIGTLink", "waits"], 0)
    for k in range(20_000):
        which = k % len(whole)
        data = bytearray(whole[which])
        match rng.integers(4):
            case 0:  # bits
                for place in rng.integers(0, len(data), rng.integers(1, 5)):
                    data[place] ^= 1 << rng.integers(8)
            case 1:  # bytes of the body or of what describes it
                place = rng.integers(58, len(data))
                data[place : place + 4] = rng.bytes(4)
            case 2:  # cut short
                del data[rng.integers(0, len(data)) :]
            case 3:  # another length, of header or body
                place = rng.integers(58, len(data) + 1)
                data[place:place] = rng.bytes(rng.integers(1, 40))
        mended = bool(k % 2) and len(data) >= HEADER_SIZE
        if mended:
            data[42:50] = struct.pack(">Q", len(data) - HEADER_SIZE)
            data = bytearray(with_crc(bytes(data)))
        incoming = Incoming()
        try:
            events = list(incoming.feed(bytes(data) + pack(ending)))
        except WireError:
            outcomes["no OpenIGTLink"] += 1
            continue
        events = [event for event in events if event != ending]
        if not mended:  # the checksum vouches for the body, not for the name
            assert all(pack(event)[58:] in right for event in events if event.name in named)
        outcomes["event" if events else "left out" if incoming.messages else "waits"] += 1
    assert min(outcomes.values()) > 100, outcomes


# Pace


class FakeClock:
    def __init__(self):
        self.now_s, self.slept = 50.0, []

    def time(self):
        return 1_700_000_000.0 + self.now_s

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds + 0.002  # oversleeps


def test_the_pace_is_kept_by_absolute_times():
    clock = FakeClock()
    start_s, came = clock.time(), []
    for number in paced([(start_s + 0.1 * k, k) for k in range(6)], clock):
        came.append(clock.time() - start_s)
        clock.now_s += 0.25 if number == 2 else 0.01  # the third takes long
    np.testing.assert_allclose(came, [0, 0.102, 0.202, 0.452, 0.462, 0.502], atol=1e-6)
    assert len(clock.slept) == 3


def test_messages_of_pyigtl_have_the_fast_checksum():
    assert messages.CRC64 is crc64 is _messages.crc64
