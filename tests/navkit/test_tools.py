"""CustusX's tools, calibrations and position logs.

No real ``.snwpos`` is at hand: the logs are built here, byte by byte, from the documented layout.
"""

import struct
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from navkit.files import (
    FileError,
    Tool,
    read_calibration,
    read_positions,
    read_tool,
    write_calibration,
    write_tool,
)
from navkit.files._tools import FIELDS
from navkit.geometry import check_poses, inverse, pose_error, pose_from

S_M_T = pose_from(Rotation.from_rotvec([0.4, -1.1, 2.0]), [-20.68, 3.5, -158.29])
CAL = "\n".join(" ".join(f"{v:.6g}" for v in row) for row in S_M_T) + "\n\n"
TOOL = """<?xml version="1.0" encoding="utf-8"?>
<!-- before -->
<tool>
\t<type>usprobe</type>
\t<id>VividE9_11L</id>
\t<name lang="a>b"> Håndholdt &amp; god </name>
\t<clinical_app>Neurology Laboratory</clinical_app>
\t<geo_file/>
\t<calibrationFarme colour='"a>b"'>kept</calibrationFarme>
\t<instrument><type>usprobe</type><id>11L</id><scannerid>Vivid E9</scannerid></instrument>
\t<sensor>
\t\t<type>Polaris</type><!-- inside --><DOF>6</DOF>
\t\t<reference_point id="1">134.25 130.5 99.50</reference_point>
\t\t<reference_point id="2">10 -20.5 3e1</reference_point>
\t</sensor>
\t<calibration><cal_file>probe.cal</cal_file><date><yyyy>2012</yyyy></date></calibration>
</tool>
<!-- after -->
"""


def written(folder, text=TOOL, cal=CAL):
    (folder / "probe.cal").write_text(cal, encoding="latin-1")
    (folder / "tool.xml").write_text(text, encoding="utf-8")
    return folder / "tool.xml"


# --- calibrations ---------------------------------------------------------------------------------


def test_the_five_real_calibrations_scatter_as_the_list_says(navkit_data):
    files = sorted((navkit_data / "custusx/ebus_calibrations").glob("*.cal"))
    s_M_t = np.array([read_calibration(file) for file in files])
    x, y, z = s_M_t[:, :3, 3].T
    assert len(files) == 5
    assert (z.min(), z.max()) == (8.11399, 9.52683)
    assert [round(float(v.std(ddof=1)), 2) for v in (x, y, z)] == [1.03, 1.45, 0.54]
    beam_deg = np.degrees(np.arccos(s_M_t[:, 2, 1]))
    assert np.round([beam_deg.min(), beam_deg.max()], 1).tolist() == [10.8, 12.1]


def test_every_real_calibration_is_an_exact_pose(navkit_data):
    files = sorted((navkit_data / "custusx").rglob("*.cal"))
    assert len(files) == 16
    for file in files:
        m = read_calibration(file)
        assert np.abs(m[:3, :3] @ m[:3, :3].T - np.eye(3)).max() < 1e-12
        assert np.abs(m - np.loadtxt(file)).max() < 2e-6
    ndi = read_calibration(next(f for f in files if f.name == "8700340.cal"))
    expected = np.diag([-1.0, 1, -1, 1])
    expected[:3, 3] = -20.68, -0.04, -158.29
    assert np.array_equal(ndi, expected)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
def test_a_calibration_comes_back_to_the_last_bit(tmp_path_factory, turn, shift):
    path = tmp_path_factory.mktemp("cal") / "å.cal"
    s_M_t = pose_from(Rotation.from_rotvec(turn), shift)
    write_calibration(s_M_t, path)
    assert np.array_equal(read_calibration(path), s_M_t)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n".join(CAL.splitlines()[:3]), "3 lines of numbers; expected four. Is the file cut"),
        (CAL + "1 2 3 4\n", "5 lines of numbers"),
        (CAL.replace(".", ","), "line 1: .*expected four numbers. Is it a decimal comma"),
        ("# made by hand\n" + CAL, "line 1: '# made by hand'; expected four numbers"),
        (CAL.replace("3.5", "nan"), "line 2: .*expected four numbers"),
        (CAL.replace("3.5", "3_5"), "line 2: .*expected four numbers"),
        ("\n".join(" ".join(map(str, row)) for row in S_M_T.T), "Is the matrix transposed"),
        ("\n".join(" ".join(map(str, row)) for row in np.diag([2.0, 2, 2, 1])), "not rigid"),
        ("\n".join(" ".join(map(str, row)) for row in np.diag([1.0, 1, -1, 1])), "mirrored"),
        ("1 " * 500_001, "expected at most 1000000"),
    ],
)
def test_a_wrong_calibration_is_refused_with_a_sentence(tmp_path, text, sentence):
    (tmp_path / "a.cal").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=rf"a\.cal.*{sentence}"):
        read_calibration(tmp_path / "a.cal")


def test_only_rigid_calibrations_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"s_M_t.*not rigid"):
        write_calibration(np.diag([1.0, 1, 1.01, 1]), tmp_path / "a.cal")
    with pytest.raises(FileError, match=r"a\.cal is missing"):
        read_calibration(tmp_path / "a.cal")
    assert list(tmp_path.iterdir()) == []


# --- tools ----------------------------------------------------------------------------------------


def test_a_tool_is_read_with_its_calibration(tmp_path):
    tool = read_tool(written(tmp_path))
    assert (tool.type, tool.id, tool.name) == ("usprobe", "VividE9_11L", "Håndholdt & god")
    assert (tool.instrument_id, tool.scanner_id) == ("11L", "Vivid E9")
    assert (tool.instrument_type, tool.tracking_system, tool.degrees_of_freedom) == (
        "usprobe",
        "Polaris",
        "6",
    )
    assert {k: v.tolist() for k, v in tool.reference_points_s.items()} == {
        "1": [134.25, 130.5, 99.5],
        "2": [10.0, -20.5, 30.0],
    }
    assert tool.calibration_file == "probe.cal"
    assert np.abs(tool.s_M_t - S_M_T).max() < 2e-6
    assert tool.notes == ()


def test_what_is_missing_is_noted(tmp_path):
    text = TOOL.replace("<geo_file/>", "<geo_file>p.stl</geo_file>").replace("Polaris", "Optotrak")
    text = text.replace("probe.cal", "none.cal").replace("Neurology Laboratory", "")
    text = text.replace("<DOF>", "<DOF>5</DOF><DOF>")
    tool = read_tool(written(tmp_path, text))
    assert np.array_equal(tool.s_M_t, np.eye(4))
    assert tool.degrees_of_freedom == "5"
    told = " | ".join(tool.notes)
    assert len(tool.notes) == 5
    for part in (
        "p.stl is missing",
        "'Optotrak'; CustusX knows polaris",
        "none.cal is missing; the identity",
    ):
        assert part in told
    assert "<clinical_app> is empty" in told
    assert "<sensor/DOF> stands 2 times; the first is used" in told


@pytest.mark.parametrize(("scale", "noted"), [(1e-3, True), (1.0, False), (1e3, True), (0.0, False)])
def test_a_calibration_in_metres_is_noted(tmp_path, scale, noted):
    m = S_M_T.copy()
    m[:3, 3] *= scale
    cal = "\n".join(" ".join(map(str, row)) for row in m)
    notes = read_tool(written(tmp_path, cal=cal)).notes
    assert any("another unit" in note for note in notes) == noted


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("<tool>", "<tol>", "line 3: the root is <tol>; expected <tool>"),
        ("</sensor>", "", "not well-formed XML"),
        ("<calibration>", "<sensor/><calibration>", "2 <sensor> in <tool>"),
        ("10 -20.5 3e1", "10 -20.5", "line 14: reference point '10 -20.5'; expected x y z"),
        ('id="2"', 'id="1"', "line 14: a second reference point '1'"),
        ("<!-- before -->", '<!DOCTYPE tool [<!ENTITY a "b">]>', "line 2: a DOCTYPE"),
        ("utf-8", "shift_jis", "not well-formed XML"),
        ("utf-8", "klingon", "not well-formed XML"),
    ],
)
def test_a_wrong_tool_is_refused_with_a_sentence(tmp_path, old, new, sentence):
    assert old in TOOL
    text = TOOL.replace(old, new, 1)
    text = text.replace("</tool>", "</tol>") if "<tol>" in text else text
    with pytest.raises(FileError, match=rf"tool\.xml.*{sentence}"):
        read_tool(written(tmp_path, text))


def test_a_tool_without_its_blocks_is_refused(tmp_path):
    (tmp_path / "tool.xml").write_text("<tool><sensor/></tool>", encoding="utf-8")
    with pytest.raises(FileError, match="0 <instrument> in <tool>"):
        read_tool(tmp_path / "tool.xml")
    (tmp_path / "tool.xml").write_text(TOOL, encoding="utf-16")
    with pytest.raises(FileError, match="UTF-16"):
        read_tool(tmp_path / "tool.xml")


def test_deep_nesting_costs_nothing(tmp_path):
    deep = "<a>" * 100_000 + "</a>" * 100_000
    tool = read_tool(written(tmp_path, TOOL.replace("kept", deep)))
    assert tool.id == "VividE9_11L"


def test_real_tools_read_and_come_back_byte_for_byte(navkit_data, tmp_path):
    files = sorted((navkit_data / "custusx/config/tool/Tools").rglob("*.xml"))
    assert len(files) == 15
    tools = {}
    for k, file in enumerate(files):
        tool = tools[file.stem] = read_tool(file)
        root = ET.parse(file).getroot()
        assert {f: getattr(tool, f) for f in FIELDS} == oracle(root)
        copy = tmp_path / str(k) / file.name
        write_tool(tool, copy)
        assert copy.read_bytes() == file.read_bytes()
        if tool.calibration:
            beside = file.parent / tool.calibration_file
            assert (copy.parent / tool.calibration_file).read_bytes() == beside.read_bytes()
        else:
            assert [p.name for p in copy.parent.iterdir()] == [file.name]
    assert sum(bool(tool.calibration) for tool in tools.values()) == 9
    assert [t.tracking_system for t in tools.values()].count("Polaris") == 2
    assert sum(t.type == "reference" for t in tools.values()) == 2
    assert tools["NDI_pnt"].s_M_t[:3, 3].tolist() == [-20.68, -0.04, -158.29]
    assert tools["AnserNeedle1"].notes[-1] == "Dummy.cal is missing; the identity is used"
    assert tools["Pointer_AURORA_port2"].notes == ()


def test_the_real_template_is_told_to_be_no_xml(navkit_data):
    with pytest.raises(FileError, match=r"TEMPLATE_tool\.xml: not well-formed XML.*line 3"):
        read_tool(navkit_data / "custusx/config/tool/TEMPLATE_tool.xml")


def test_a_change_changes_only_its_own_bytes(tmp_path):
    tool = read_tool(written(tmp_path))
    out = tmp_path / "out" / "tool.xml"
    points = {"1": tool.reference_points_s["1"], "2": np.array([1.0, 2.5, -3.0])}
    changed = replace(tool, name="Ny <ø>", geometry_file="p.stl", reference_points_s=points)
    write_tool(changed, out)
    expected = (
        TOOL.replace(" Håndholdt &amp; god ", "Ny &lt;&#248;&gt;")
        .replace("<geo_file/>", "<geo_file>p.stl</geo_file>")
        .replace("10 -20.5 3e1", "1.0 2.5 -3.0")
    )
    assert out.read_text(encoding="utf-8") == expected
    assert (out.parent / "probe.cal").read_text(encoding="utf-8") == CAL


def test_new_elements_go_to_the_end_of_their_block(tmp_path):
    tool = read_tool(written(tmp_path))
    points = {"1": tool.reference_points_s["1"], "ny": np.array([1.0, 2.0, 3.5])}
    changed = replace(tool, rom_file="x.rom", picture_file="x.png", reference_points_s=points)
    write_tool(changed, tmp_path / "out.xml")
    expected = (
        TOOL.replace('<reference_point id="2">10 -20.5 3e1</reference_point>', "")
        .replace(
            "\t</sensor>",
            '\t  <reference_point id="ny">1.0 2.0 3.5</reference_point>\n'
            "\t  <rom_file>x.rom</rom_file>\n\t</sensor>",
        )
        .replace("</tool>", "  <pic_file>x.png</pic_file>\n</tool>")
    )
    assert (tmp_path / "out.xml").read_text(encoding="utf-8") == expected


def test_a_changed_calibration_is_written_beside(tmp_path):
    tool = replace(read_tool(written(tmp_path)), s_M_t=inverse(S_M_T))
    write_tool(tool, tmp_path / "out" / "tool.xml")
    back = read_tool(tmp_path / "out" / "tool.xml")
    assert np.abs(back.s_M_t - inverse(S_M_T)).max() < 1e-12
    for name in ("", "../x.cal", "C:\\x.cal", "tool.xml"):
        with pytest.raises(ValueError, match=r"calibration_file.*expected a plain file name"):
            write_tool(replace(tool, calibration_file=name), tmp_path / "out2" / "tool.xml")
    assert not (tmp_path / "out2").exists()


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).map(str.strip)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(set(FIELDS) - {"calibration_file"})), TEXT),
    st.dictionaries(TEXT, st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3), max_size=3),
    st.booleans(),
)
def test_any_tool_comes_back(tmp_path_factory, values, points, new):
    path = written(tmp_path_factory.mktemp("tool"))
    start = Tool(calibration_file="n.cal", s_M_t=S_M_T) if new else read_tool(path)
    arrays = {key: np.array(xyz) for key, xyz in points.items()}
    tool = replace(start, **values, reference_points_s=arrays)
    illegal = any(c in text for text in (*values.values(), *points) for c in "\ufffe\uffff")
    if illegal:
        with pytest.raises(ValueError, match="cannot stand in XML"):
            write_tool(tool, path)
        return
    write_tool(tool, path)
    back = read_tool(path)
    assert {f: getattr(back, f) for f in FIELDS} == {f: getattr(tool, f) for f in FIELDS}
    assert {k: v.tolist() for k, v in back.reference_points_s.items()} == points
    assert np.abs(back.s_M_t - tool.s_M_t).max() < 1e-12
    assert new or b"<calibrationFarme colour='\"a>b\"'>kept</calibrationFarme>" in back.xml


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": " a"}, "name is ' a' but would be read as 'a'"),
        ({"name": "a\x01"}, "cannot stand in XML"),
        ({"reference_points_s": {"1": np.zeros(2)}}, "reference point '1' is .*three finite numbers"),
        ({"reference_points_s": {"1": np.array([1, 2, np.inf])}}, "three finite numbers"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_tool(replace(Tool(), **change), tmp_path / "t.xml")
    assert list(tmp_path.iterdir()) == []


def oracle(root):
    """The fields by another parser."""
    return {f: (root.findtext(where) or "").strip(" \t\r\n") for f, where in FIELDS.items()}


def mutated(data, rng):
    """Cut, or with a few bytes changed, doubled or left out."""
    data = bytearray(data)
    if rng.random() < 0.3:
        return bytes(data[: rng.integers(len(data))])
    for _ in range(rng.integers(1, 3)):
        at, length = int(rng.integers(len(data))), int(rng.choice([1, 1, 2, 30]))
        kind = rng.integers(7)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at : at + 1] = rng.choice(list(b"<>&/\"' 0-_e")).astype(np.uint8).tobytes()
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            del data[at : at + length]
        else:
            data[at : at + length] = rng.choice(list(b"0123456789-.e ax"), length).astype(np.uint8).tobytes()
    return bytes(data)


def test_spoiled_tools_are_refused_or_read_right(tmp_path, rng):
    path = written(tmp_path)
    clean, read, told = path.read_bytes(), 0, []
    for _ in range(250):
        data = mutated(clean, rng)
        path.write_bytes(data)
        try:
            tool = read_tool(path)
        except FileError as reason:
            told.append(str(reason))
            continue
        read += 1
        assert {f: getattr(tool, f) for f in FIELDS} == oracle(ET.fromstring(data))
        write_tool(replace(tool, calibration=b"", s_M_t=np.eye(4)), tmp_path / "again" / "tool.xml")
        assert (tmp_path / "again" / "tool.xml").read_bytes() == data
    assert all("tool.xml" in sentence or ".cal" in sentence for sentence in told)
    assert 10 < read < 240


def test_spoiled_calibrations_are_refused_or_read_right(tmp_path, rng):
    path, read, told = tmp_path / "a.cal", 0, []
    for _ in range(250):
        path.write_bytes(mutated(CAL.encode(), rng))
        try:
            m = read_calibration(path)
        except FileError as reason:
            told.append(str(reason))
            continue
        read += 1
        check_poses(m[None], "m")
        assert np.abs(m - np.loadtxt(path, encoding="latin-1")).max() < 2e-3
    assert all("a.cal" in sentence for sentence in told)
    assert 10 < read < 240


# --- position logs --------------------------------------------------------------------------------


def tool_record(name):
    text = name.encode("latin-1")
    return struct.pack("<BBI", 2, (len(text) + 4) % 256, len(text)) + text


def pose_record(ms, numbers):
    return struct.pack("<BBQ6d", 3, 68, ms, *numbers)


def log(*records):
    return b"SNWPOS\x02" + b"".join(records)


def rodrigues(theta_xy, theta_z, angle, *t):
    """The pose of six numbers by the textbook."""
    x, y, z = np.cos(theta_xy) * np.cos(theta_z), np.sin(theta_xy) * np.cos(theta_z), np.sin(theta_z)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return pose_from(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k, t)


def read_bytes(folder, data):
    (folder / "toolpositions.snwpos").write_bytes(data)
    return read_positions(folder / "toolpositions.snwpos")


NUMBERS = [(0.3, -0.7, 1.9, 10, -20, 30.5), (2.1, 0.4, -0.6, 11, -21, 31.5), (-1.0, 0.2, 3.0, 5, 6, -7)]


def test_a_log_is_read_by_tool(tmp_path):
    a, b, c = NUMBERS
    long = "Ø" * 300  # its size byte wraps
    streams = read_bytes(
        tmp_path,
        log(
            tool_record("probe"),
            pose_record(1_321_000_000_123, a),
            tool_record(long),
            pose_record(1_321_000_000_100, c),
            tool_record("never seen"),
            tool_record("probe"),
            pose_record(1_321_000_000_150, b),
            struct.pack("<BBQB6d", 1, 69, 1_321_000_000_000, 3, *a),
        ),
    )
    assert list(streams) == ["probe", long, "tool 3"]
    assert [stream.name for stream in streams.values()] == list(streams)
    assert streams["probe"].time_s.tolist() == [1_321_000_000.123, 1_321_000_000.150]
    assert np.abs(streams["probe"].pose - [rodrigues(*a), rodrigues(*b)]).max() < 1e-12
    assert np.abs(streams[long].pose - rodrigues(*c)).max() < 1e-12
    assert np.abs(streams["tool 3"].pose - rodrigues(*a)).max() < 1e-12
    assert streams["tool 3"].time_s.tolist() == [1_321_000_000.0]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(1, 10**6),
            st.lists(st.floats(-6, 6), min_size=3, max_size=3),
            st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
        ),
        max_size=12,
    )
)
def test_any_log_comes_back(tmp_path_factory, samples):
    names, records, ms = ("", "probe", "Pekér"), [], 0
    expected = {}
    for tool, step, angles, t in samples:
        ms += step
        records += [tool_record(names[tool]), pose_record(ms, (*angles, *t))]
        expected.setdefault(names[tool], []).append((ms / 1000, rodrigues(*angles, *t)))
    streams = read_bytes(tmp_path_factory.mktemp("log"), log(*records))
    assert streams.keys() == expected.keys()
    for name, stream in streams.items():
        assert stream.time_s.tolist() == [time for time, _ in expected[name]]
        assert np.array_equal(stream.pose[:, :3, 3], [pose[:3, 3] for _, pose in expected[name]])
        error = pose_error(stream.pose, np.array([pose for _, pose in expected[name]]))
        assert np.max(error.rotation_rad) < 1e-7


def test_a_sample_that_was_written_twice_counts_once(tmp_path):
    record = pose_record(5, NUMBERS[0])
    stream = read_bytes(tmp_path, log(tool_record("a"), record, record, pose_record(6, NUMBERS[1])))["a"]
    assert stream.time_s.tolist() == [0.005, 0.006]


A = tool_record("a")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "starts with b''; expected b'SNWPOS"),
        (b"SNWPOS\x01" + A, r"expected b'SNWPOS\\x02', a position log of version 2"),
        (log(pose_record(1, NUMBERS[0])), "byte 7: a pose before any tool"),
        (log(A, pose_record(1, NUMBERS[0])[:-1]), "the record at byte 14 is cut"),
        (log(A[:-1]), "the record at byte 7 is cut"),
        (log(A, b"\x03"), "the record at byte 14 is cut"),
        (log(struct.pack("<BBI", 2, 3, 2**32 - 1)), "the record at byte 7 is cut"),
        (log(A, b"\x04\x44"), "byte 14: record type 4; expected 1, 2 or 3"),
        (log(b"\x02\x06" + A[2:]), "byte 8: the record's size is 6; expected 5"),
        (
            log(A, b"\x03\x38" + pose_record(1, NUMBERS[0])[2:]),
            "byte 15: the record's size is 56; expected 68",
        ),
        (
            log(A, pose_record(9, NUMBERS[0]), pose_record(8, NUMBERS[0])),
            "byte 72: 8 ms does not come after 9",
        ),
        (log(A, pose_record(9, NUMBERS[0]), pose_record(9, NUMBERS[1])), "Was the clock set back"),
        (log(A, pose_record(2**63, NUMBERS[0])), "expected ms since 1970"),
        (log(A, pose_record(1, (0, 0, np.nan, 1, 2, 3))), "six finite numbers"),
    ],
)
def test_a_wrong_log_is_refused_with_a_sentence(tmp_path, data, sentence):
    with pytest.raises(FileError, match=rf"toolpositions\.snwpos.*{sentence}"):
        read_bytes(tmp_path, data)


def test_a_log_that_is_not_there_and_one_without_poses(tmp_path):
    with pytest.raises(FileError, match="missing; expected a position log"):
        read_positions(tmp_path / "x.snwpos")
    assert read_bytes(tmp_path, log(A)) == {}


def test_spoiled_logs_are_refused_or_read_right(tmp_path, rng):
    clean = log(
        tool_record("probe"),
        *(pose_record(1000 + 40 * k, rng.normal(size=6)) for k in range(6)),
        tool_record("pointer"),
        *(pose_record(1010 + 40 * k, rng.normal(size=6)) for k in range(4)),
    )
    at = [7 + 11 + 58 * k for k in range(6)] + [7 + 11 + 58 * 6 + 13 + 58 * k for k in range(4)]
    read, told = 0, []
    for k in range(250):
        data = bytearray(clean)
        if k % 3:
            for where in rng.integers(len(data), size=1 + k % 2):
                data[where] = rng.integers(256)
        else:
            del data[rng.integers(len(data)) :]
        try:
            streams = read_bytes(tmp_path, bytes(data))
        except FileError as reason:
            told.append(str(reason))
            continue
        read += 1
        rows = [struct.unpack_from("<Q6d", data, a + 2) for a in at if a + 58 <= len(data)]
        expected = sorted([(ms / 1000, *rodrigues(*six)[:3].ravel()) for ms, *six in rows])
        got = sorted(
            (float(t), *pose[:3].ravel())
            for s in streams.values()
            for t, pose in zip(s.time_s, s.pose, strict=True)
        )
        assert len(got) == len(expected)
        assert not got or np.allclose(got, expected, rtol=0, atol=1e-9)
    assert all("toolpositions.snwpos" in sentence for sentence in told)
    assert 60 < read < 240
