"""Probe data in and out, and CustusX's database of probes."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import hand_sweep, small_sector

from navkit.files import (
    FileError,
    ProbeData,
    read_acquisition,
    read_probe_database,
    read_probe_sources,
    read_probedata,
    write_acquisition,
    write_probedata,
)
from navkit.files._probe import probedata_text, sector_from_probedata
from navkit.ultrasound import ProbeSector

PROBE = """<root>
 <configuration type="2" width="37.82" depthStart="0" depthEnd="39.23"
                temporalCalibration="100" centerOffset="0" uid="Vivid E9:11L:DVI:Depth40">
  <image width="1024" height="768" origin_p="452 68 0"
         spacing="0.0641024 0.0651024 1" clipRect_p="157 747 68 680 0 0"/>
 </configuration>
 <tool toolID="VividE9_11L"/>
</root>
"""
CONFIG = """<Config><ID>{}</ID><WidthDeg>{}</WidthDeg><Depth>553</Depth><Offset>5</Offset>
 <Origin><Col>512.5</Col><Row>105</Row></Origin><NCorners>2</NCorners>
 <Corner><Col>249</Col><Row>110</Row></Corner><Corner><Col>778.5</Col><Row>663</Row></Corner>
 <CroppingEdges><Left>249</Left><Right>778</Right><Top>110</Top><Bottom>663</Bottom></CroppingEdges>
 <PixelSize><Width>0.07</Width><Height>0.08</Height></PixelSize></Config>"""
DATABASE = f"""<root><Version>4.10.0</Version><USScanner><Name>E9</Name>
 <USProbe><Name>11L</Name><Type>LinearArray</Type>
  <RTSource><Name>DVI</Name><TemporalCalibration>160</TemporalCalibration>
   <TemporalCalibrationLinux>170</TemporalCalibrationLinux>
   <TemporalCalibrationWindows>-155</TemporalCalibrationWindows><DefaultConfig>A</DefaultConfig>
   <ImageSize><Width>1280</Width><Height>960</Height></ImageSize><HorizontalOffset>-30</HorizontalOffset>
   {CONFIG.format("A", 0)}{CONFIG.format("B", 62)}{CONFIG.format("A", 70)}</RTSource>
  <RTSource><Name>Digital</Name><TemporalCalibration>Empty</TemporalCalibration>
   <DefaultConfig>Empty</DefaultConfig><HorizontalOffset>Empty</HorizontalOffset>
   <Config><ID>Digital</ID></Config></RTSource>
 </USProbe></USScanner></root>"""


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "ProbeCalibConfigs.xml"
    path.write_text(DATABASE, encoding="utf-8")
    return path


def text_file(folder: Path, text: str) -> Path:
    path = folder / "a.probedata.xml"
    path.write_text(text, encoding="utf-8")
    return path


# --- probe data ----------------------------------------------------------------------------------------


def test_the_documented_file(tmp_path):
    data = read_probedata(text_file(tmp_path, PROBE))
    sector = ProbeSector(
        "linear", 37.82, (0, 39.23), (452, 68), (0.0641024, 0.0651024), (157, 747, 68, 680), (768, 1024)
    )
    assert data == ProbeData(sector, "VividE9_11L", 100.0, "Vivid E9:11L:DVI:Depth40")
    assert sector_from_probedata(tmp_path / "a.probedata.xml") == sector


def test_the_real_file_has_its_latency_and_no_tool(navkit_data):
    data = read_probedata(
        navkit_data / "custusx/angio_lab_256x192/US-Acq_03_20121024T132330_dec4.probedata.xml"
    )
    assert (data.latency_ms, data.tool_id, data.uid) == (100.0, "", "")
    assert data.sector.width == 37.8204265


NUMBERS = st.floats(-1e5, 1e5)
POSITIVE = st.floats(1e-6, 1e5)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["linear", "sector"]), POSITIVE, NUMBERS, POSITIVE, st.tuples(NUMBERS, NUMBERS),
    st.tuples(POSITIVE, POSITIVE), st.tuples(*4 * [st.integers(-2000, 2000)]),
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.floats(-500, 500),
    st.text(st.characters(exclude_categories=["C"]), max_size=12),
)  # fmt: skip
def test_any_sector_comes_back_to_the_bit(
    kind, width, start, depth, origin, spacing, clip, shape, latency, tool
):
    sector = ProbeSector(kind, width, (start, start + depth + 1e-3), origin, spacing, clip, shape)
    data = ProbeData(sector, tool, latency, tool, 2.5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.probedata.xml"
        write_probedata(data, path)
        assert read_probedata(path) == data


def test_type_0_has_no_sector_and_comes_back(tmp_path):
    data = ProbeData(None, "11L", 35.0)
    write_probedata(data, tmp_path / "a.probedata.xml")
    assert 'type="0"' in (tmp_path / "a.probedata.xml").read_text(encoding="utf-8")
    assert read_probedata(tmp_path / "a.probedata.xml") == data
    zero = text_file(tmp_path, PROBE.replace('type="2"', 'type="0"'))
    assert read_probedata(zero) == ProbeData(None, "VividE9_11L", 100.0, "Vivid E9:11L:DVI:Depth40")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('type="2"', 'type="3"', "line 2: type=3; expected 1"),
        ('type="2"', 'type="1.5"', "line 2: type=1.5; expected 1"),
        ('type="2"', "", "type=''; expected 1 number"),
        ('width="37.82"', 'width="nan"', "width='nan'; expected 1 number"),
        ('width="37.82"', 'width="-1"', "expected a positive width"),
        ('depthEnd="39.23"', 'depthEnd="-3"', "an end below the start"),
        ('"100"', '"soon"', "temporalCalibration='soon'"),
        ("157 747", "157.5 747", "line 5: clipRect_p=.*whole numbers"),
        ('height="768"', 'height="0"', "height='0'; expected whole numbers"),
        ("0.0641024 0.0651024", "0 1", "spacing_mm"),
        ("452 68 0", "1e300 68 0", "origin_p"),
        ("<root>", '<!DOCTYPE r [<!ENTITY a "b">]><root>', "DOCTYPE"),
        ("</root>", "", "not well-formed"),
        ("configuration", "other", "no <configuration>"),
    ],
)
def test_what_is_no_probe_is_refused(tmp_path, old, new, told):
    assert old in PROBE
    with pytest.raises(FileError, match=told):
        read_probedata(text_file(tmp_path, PROBE.replace(old, new)))


def test_a_sign_that_xml_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(FileError, match="not well-formed"):
        write_probedata(ProbeData(small_sector(), "a\x01"), tmp_path / "a.probedata.xml")
    assert list(tmp_path.iterdir()) == []


def test_an_acquisition_is_written_with_its_tool(tmp_path, rng):
    sweep = hand_sweep(rng, n=3, kind="sector")
    write_acquisition(sweep, tmp_path / "a", tool_id="VividE9_11L")
    data = read_probedata(tmp_path / "a" / "hand.probedata.xml")
    assert (data.sector, data.tool_id) == (sweep.sector, "VividE9_11L")
    assert read_acquisition(tmp_path / "a").sector == sweep.sector
    assert probedata_text(sweep.sector) == probedata_text(ProbeData(sweep.sector))


# --- the database --------------------------------------------------------------------------------------


def test_a_database_has_latencies_defaults_and_both_kinds_of_sector(database):
    sources = read_probe_sources(database)
    assert list(sources) == ["E9:11L:DVI", "E9:11L:Digital"]
    dvi, digital = sources.values()
    assert [dvi.latency(platform) for platform in ("Linux", "Windows", "Apple")] == [170.0, -155.0, 160.0]
    assert (dvi.probe_type, dvi.default, dvi.horizontal_offset) == ("LinearArray", "A", -30.0)
    assert dvi.corners_p["B"] == ((249.0, 110.0), (778.5, 663.0))
    # By hand: the first of the two A counts; pixel height 0.08, offset 5 and depth 553 pixels.
    assert dvi.sectors == {
        "A": ProbeSector(
            "linear", 0.07 * 529, ((110 - 105) * 0.08, (663 - 105) * 0.08), (512.5, 105), (0.07, 0.08),
            (249, 778, 110, 663), (960, 1280),
        ),
        "B": ProbeSector(
            "sector", math.radians(62), (5 * 0.08, 553 * 0.08 + 5 * 0.08), (512.5, 105), (0.07, 0.08),
            (249, 778, 110, 663), (960, 1280),
        ),
    }  # fmt: skip
    assert digital.sectors == {"Digital": None}
    assert (digital.latency(), digital.default, digital.horizontal_offset) == (0.0, "", None)
    assert list(read_probe_database(database)) == ["E9:11L:DVI:A", "E9:11L:DVI:B"]


@pytest.mark.parametrize(("degrees", "kind"), [("0.1", "linear"), ("0.11", "sector")])
def test_a_tenth_of_a_degree_is_still_linear(database, degrees, kind):
    database.write_text(DATABASE.replace("<WidthDeg>62<", f"<WidthDeg>{degrees}<"), encoding="utf-8")
    assert read_probe_database(database)["E9:11L:DVI:B"].kind == kind


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<Depth>553", "<Depth>deep", "<Depth> is 'deep'; expected a number"),
        ("<Left>249", "<Left>249.5", "configuration E9:11L:DVI:A: .*whole numbers"),
        ("<Right>778", "<Right>100", "configuration E9:11L:DVI:A: .*positive width"),
        ("<Width>1280", "<Width>inf", "ImageSize/Width> is 'inf'"),
        ("<root>", '<!DOCTYPE r [<!ENTITY a "b">]><root>', "DOCTYPE"),
    ],
)
def test_a_wrong_database_is_refused_with_the_configuration(database, old, new, told):
    database.write_text(DATABASE.replace(old, new), encoding="utf-8")
    with pytest.raises(FileError, match=told):
        read_probe_sources(database)


@pytest.fixture
def real(navkit_data):
    return read_probe_sources(navkit_data / "custusx/config/tool/ProbeCalibConfigs.xml")


def test_the_real_database_has_24_pairs_113_configurations_and_latencies_from_321_to_500(real):
    assert len({key.rpartition(":")[0] for key in real}) == 24
    assert sum(len(source.sectors) for source in real.values()) == 113
    assert sum(sector is None for source in real.values() for sector in source.sectors.values()) == 8
    latencies = [source.latency() for source in real.values()]
    assert (min(latencies), max(latencies)) == (-321.0, 500.0)
    assert real["Ultrasonix:L14-5:DVI"].latency_ms == {"": 160.0, "Linux": 170.0}
    assert real["Ultrasonix:L14-5:DVI"].latency("Windows") == 160.0
    assert real["Vivid E9:ML6-15:DVI"].latency() == 0.0  # "Empty"
    assert real["Vivid 7 - Karkirurgen:M12L:VGA"].horizontal_offset == -30.0
    assert all(source.default in source.sectors or not source.default for source in real.values())


def coarse(sector: ProbeSector) -> ProbeSector:
    """The same sector in a picture of a quarter as many rows and columns."""
    (c0, r0), (sx, sy), (height, width) = sector.origin_p, sector.spacing_mm, sector.shape
    left, right, top, bottom = (edge // 4 for edge in sector.clip_p)
    origin, spacing = (c0 / 4, r0 / 4), (4 * sx, 4 * sy)
    clip, shape = (left, right, top, bottom), (height // 4, width // 4)
    return replace(sector, origin_p=origin, spacing_mm=spacing, clip_p=clip, shape=shape)


def test_each_real_configuration_comes_back_as_probe_data(real, tmp_path):
    empty, outside = [], []
    for key, source in real.items():
        for name, sector in source.sectors.items():
            data = ProbeData(sector, "tool", source.latency(), f"{key}:{name}")
            write_probedata(data, tmp_path / "a.probedata.xml")
            again = read_probedata(tmp_path / "a.probedata.xml")
            assert again == data
            if sector is None:
                continue
            if not coarse(again.sector).mask().any():
                empty.append(data.uid)
            left, right, top, bottom = sector.clip_p
            if not (0 <= left < right < sector.shape[1] and 0 <= top < bottom < sector.shape[0]):
                outside.append(data.uid)
    # What the database itself has wrong: edges that belong to another picture, and edges counted from 1.
    assert empty == ["Ultrasonix:SURF:DVI:Width100Depth5"]
    assert outside == ["Ultrasonix:SURF:DVI:Width100Depth5", "Ultrasonix:L13-7:Digital:WidthMaxDepth3"]


def test_a_real_linear_array_is_as_wide_as_its_corners(real):
    source = real["Vivid 7 - Karkirurgen:M12L:VGA"]
    sector, corners = source.sectors["WidthMaxDepth40"], np.array(source.corners_p["WidthMaxDepth40"])
    assert np.ptp(corners[:, 0]) * sector.spacing_mm[0] == pytest.approx(sector.width)
    assert (corners.min(0)[1], corners.max(0)[1]) == sector.clip_p[2:]
