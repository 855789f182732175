"""For each format: a healthy example, its reader, and what a right answer of a damaged one must satisfy.

A right answer is checked against the damaged bytes by other means than the reader's: numbers must stand in
the text as plain decimals ("echoed"), pixels must be the file's, poses rigid and finite or masked, times
increasing.
"""

import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sweeps import hand_sweep, small_sector

from navkit.files import (
    FileError,
    NamedPoints,
    Sequence,
    Tool,
    Transform,
    read_acquisition,
    read_calibration,
    read_plus_config,
    read_points,
    read_positions,
    read_probe_database,
    read_sequence,
    read_tool,
    read_transform,
    read_volume,
    write_acquisition,
    write_calibration,
    write_points,
    write_sequence,
    write_tool,
    write_transform,
    write_volume,
)
from navkit.geometry import inverse
from navkit.reconstruction import Grid, Volume

Files = dict[str, bytes | None]
Rng = np.random.Generator
DECIMAL = re.compile(rb"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
BASE = "hand"


@dataclass(frozen=True)
class Format:
    """`write` makes the healthy files in a folder, `read` reads them there, `right` asserts of an answer."""

    name: str
    write: Callable[[Path, Rng], object]
    read: Callable[[Path], Any]
    right: Callable[[Any, Files], None]
    in_test: int
    base: str = BASE


@lru_cache(maxsize=16)
def plain_numbers(data: bytes) -> np.ndarray:
    """Magnitudes of the plain decimals in a text, sorted."""
    words = re.split(rb"[\s\"<>,;:=\[\](){}']+", data)
    return np.unique([abs(float(word)) for word in words if DECIMAL.fullmatch(word)])


def echoed(values: object, *data: bytes | None, rel: float = 1e-12) -> None:
    """Every value is finite and stands in the text."""
    wanted = np.abs(np.ravel(np.asarray(values, dtype=float)))
    assert np.isfinite(wanted).all(), "not finite"
    there = np.r_[-np.inf, plain_numbers(b" ".join(part or b"" for part in data)), np.inf]
    after = np.searchsorted(there, wanted)
    away = np.minimum(there[after] - wanted, wanted - there[after - 1])
    stray = wanted[~(away <= rel * wanted)]
    assert not stray.size, f"{stray} do not stand in the file"


def rigid(poses: np.ndarray) -> None:
    r = poses[..., :3, :3]
    assert np.isfinite(poses).all(), "not finite"
    assert np.abs(r @ np.swapaxes(r, -1, -2) - np.eye(3)).max(initial=0) < 1e-6, "not a rotation"
    assert (np.linalg.det(r) > 0).all(), "mirrored"


def header_field(head: bytes, key: bytes, otherwise: bytes = b"") -> bytes:
    found = re.findall(rb"(?:^|[\r\n])\s*" + key + rb"\s*=[ \t\x0b\x0c]*([^\r\n]*)", head)
    return found[-1].strip() if found else otherwise


def unpacked(head: bytes, data: bytes) -> bytes:
    if header_field(head, b"CompressedData").lower() != b"true":
        return data
    return inflated(data)


def inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=47)
    whole = stream.decompress(data)
    assert stream.eof, "cut off"
    assert not stream.unused_data.strip(b"\0"), "more after the stream's end"
    return whole


# ---- CustusX ---------------------------------------------------------------------------------------------


def a_sweep(rng: Rng, kind: str = "linear"):
    return hand_sweep(rng, n=4, kind=kind, name=BASE)


def compressed_colour(folder: Path, rng: Rng) -> None:
    """As CustusX of 2011: colour in a .zraw, the sector from the probe database."""
    sweep = a_sweep(rng)
    write_acquisition(sweep, folder)
    colour = rng.integers(0, 256, (*sweep.frames.shape, 3), dtype=np.uint8)
    (folder / "hand.raw").unlink()
    (folder / "hand.zraw").write_bytes(zlib.compress(colour.tobytes()))
    header = (folder / "hand.mhd").read_text(encoding="utf-8")
    header = header.replace("CompressedData = False", "CompressedData = True\nElementNumberOfChannels = 3")
    header = header.replace("hand.raw", "hand.zraw") + "ConfigurationID = Vivid E9:11L:DVI:Depth40\n"
    (folder / "hand.mhd").write_text(header, encoding="utf-8")
    (folder / "hand.probedata.xml").unlink()
    database(folder, rng)


def right_acquisition(sweep, files: Files) -> None:
    base = sweep.name
    times = (files[f"{base}.fts"] or b"").split()
    assert all(DECIMAL.fullmatch(word) for word in times), "a time that is no decimal"
    assert np.array_equal(np.array(times, dtype=float) / 1000.0, sweep.time_s)
    assert (np.diff(sweep.time_s) > 0).all()
    assert sweep.frames.shape == (len(times), *sweep.sector.shape)
    assert sweep.frames.dtype == np.uint8
    assert sweep.valid.any()
    assert np.isnan(sweep.pr_M_p[~sweep.valid]).any(axis=(1, 2)).all()
    pose = sweep.pr_M_p[sweep.valid] @ inverse(sweep.sector.t_M_p())
    rigid(pose)
    assert np.abs(pose[:, :3, 3]).max() < 1e7, "farther away than any tracker sees"
    rows = (files[f"{base}.tp"] or b"").split()
    assert all(DECIMAL.fullmatch(word) for word in rows), "a pose that is no decimal"
    if files[f"{base}.fts"] == files[f"{base}.tts"]:
        told = np.array(rows, dtype=float).reshape(-1, 3, 4)[sweep.valid]
        assert np.abs(told[:, :, :3] - pose[:, :3, :3]).max() < 2e-3
        assert np.allclose(told[:, :, 3], pose[:, :3, 3], rtol=1e-9, atol=1e-7)
    one = sweep.sector
    head = files.get(f"{base}.mhd") or files.get(f"{base}_0.mhd") or b""
    echoed(one.spacing_mm, head)
    words = files.get(f"{base}.probedata.xml")
    if words is not None and "ProbeCalib" not in str(sweep.notes) and b"Config" not in head:
        echoed([one.width, *one.depth_mm, *one.origin_p, *one.clip_p, *one.shape], words)
    else:
        echoed([*one.origin_p, *one.clip_p], files["ProbeCalibConfigs.xml"])
    names = [f"{base}.mhd"] if files.get(f"{base}.mhd") else [f"{base}_{k}.mhd" for k in range(len(times))]
    heads = [files[name] or b"" for name in names]
    raw = b"".join(unpacked(h, files[header_field(h, b"ElementDataFile").decode()] or b"") for h in heads)
    pixels = np.frombuffer(raw, dtype=np.uint8)
    if pixels.size == sweep.frames.size:
        assert np.array_equal(pixels.reshape(sweep.frames.shape), sweep.frames)
    else:
        colour = pixels.reshape(*sweep.frames.shape, -1)[..., :3] @ np.array([0.30, 0.59, 0.11])
        assert np.abs(colour - sweep.frames).max() <= 0.51


def database(folder: Path, rng: Rng) -> None:
    one, two = (
        f"""    <Config><ID>{name}</ID><Name>{name}</Name>
     <WidthDeg>{degrees}</WidthDeg><Depth>23.5</Depth><Offset>5</Offset>
     <Origin><Col>17.25</Col><Row>2.5</Row></Origin>
     <NCorners>4</NCorners><Corner><Col>3</Col><Row>1</Row></Corner>
     <CroppingEdges><Left>3</Left><Right>30</Right><Top>4</Top><Bottom>24</Bottom></CroppingEdges>
     <PixelSize><Width>0.31</Width><Height>0.47</Height></PixelSize>
    </Config>
"""
        for name, degrees in (("Depth40", 0), ("Wide", 71.5))
    )
    (folder / "ProbeCalibConfigs.xml").write_text(
        f"""<root><Version>4.10.0</Version>
 <USScanner><Name>Vivid E9</Name>
  <USProbe><Name>11L</Name><Type>LinearArray</Type><DefaultRTSource>DVI</DefaultRTSource><Notes/>
   <RTSource><Name>DVI</Name><TemporalCalibration>106</TemporalCalibration>
    <DefaultConfig>Depth40</DefaultConfig>
    <ImageSize><Width>36</Width><Height>27</Height></ImageSize>
    <HorizontalOffset>0</HorizontalOffset>
{one}{two}   </RTSource></USProbe></USScanner></root>
""",
        encoding="utf-8",
    )


def right_database(found, files: Files) -> None:
    text = files["ProbeCalibConfigs.xml"]
    for one in found.values():
        echoed([*one.spacing_mm, *one.origin_p, *one.clip_p, *one.shape], text)
        assert np.isfinite([one.width, *one.depth_mm]).all()
        assert min(one.shape) > 0
        assert min(one.spacing_mm) > 0


def a_pose() -> np.ndarray:
    pose = np.eye(4)
    pose[:3] = [[0.36, 0.48, -0.8, 20.68], [-0.8, 0.6, 0, -0.04], [0.48, 0.64, 0.6, 158.29]]
    return pose


def tool(folder: Path, rng: Rng) -> None:
    points = {"1": np.array([0.0, 1.5, -2.25]), "2": np.array([44.0, 0.125, 3.0])}
    write_tool(
        Tool(type="usprobe", id="11L", name="probe", clinical_app="Laboratory", scanner_id="Vivid E9",
             tracking_system="polaris", calibration_file="hand.cal", reference_points_s=points,
             s_M_t=a_pose()),
        folder / "hand.xml",
    )  # fmt: skip


def right_calibration(s_M_t: np.ndarray, files: Files) -> None:
    rigid(s_M_t)
    echoed(s_M_t[:3, 3], files["hand.cal"])
    rows = [line.split() for line in (files["hand.cal"] or b"").splitlines() if line.strip()]
    assert np.abs(np.array(rows, dtype=float) - s_M_t).max() < 2e-3


def right_tool(one: Tool, files: Files) -> None:
    rigid(one.s_M_t)
    if one.calibration:
        echoed(one.s_M_t[:3, 3], one.calibration)
    else:
        assert np.array_equal(one.s_M_t, np.eye(4))
        assert any("identity" in note for note in one.notes)
    echoed([*one.reference_points_s.values()], one.xml)
    assert one.xml == files["hand.xml"]


def positions(folder: Path, rng: Rng) -> None:
    data = b"SNWPOS\x02"
    for name in (b"pointer", "nål".encode("latin-1")):
        data += struct.pack("<BBI", 2, len(name) + 4, len(name)) + name
        for k in range(4):
            angles, place = rng.uniform(-1.5, 1.5, 3), rng.normal(scale=80, size=3)
            data += struct.pack("<BBQ6d", 3, 68, 1_350_000_000_000 + 33 * k, *angles, *place)
    for k in range(3):
        data += struct.pack("<BBQB6d", 1, 69, 1_350_000_000_500 + 33 * k, 3, 0.5, -0.25, 1.0, 5, 6, 7 + k)
    (folder / "hand.snwpos").write_bytes(data)


def right_positions(streams, files: Files) -> None:
    data = files["hand.snwpos"] or b""
    assert sum(map(len, streams.values())) <= len(data) // 58
    for stream in streams.values():
        rigid(stream.pose)
        assert np.abs(stream.pose[:, :3, 3]).max() < 1e7, "farther away than any tracker sees"
        assert (np.diff(stream.time_s) > 0).all()
        for time_s, place in zip(stream.time_s, stream.pose[:, :3, 3], strict=True):
            assert struct.pack("<3d", *place) in data
            assert struct.pack("<Q", round(1000 * time_s)) in data


# ---- PLUS and Slicer -------------------------------------------------------------------------------------


def a_sequence(rng: Rng) -> Sequence:
    pose = np.array([a_pose()] * 3)
    pose[:, :3, 3] += rng.normal(scale=9, size=(3, 3))
    valid = np.array([True, False, True])
    return Sequence(
        rng.integers(0, 256, (3, 7, 9), dtype=np.uint8),
        np.array([-0.125, 0.25, 0.5]),
        {"ProbeToTracker": Transform(pose, valid), "ReferenceToTracker": Transform(pose[::-1], ~valid)},
        np.array([True, True, False]),
        {"Hand": ("høyre", "", "left")},
        {"Site": "Trondheim"},
    )


def sequence_and_streams(path: Path):
    one = read_sequence(path)
    try:
        return one, [one.stream(name) for name in one.transforms]
    except FileError as reason:  # the sequence no longer knows its file
        raise FileError(f"{path.name}: {reason}") from None


def right_sequence(answer, head: bytes, pixels: bytes) -> None:
    one, streams = answer
    n = len(one)
    echoed(one.time_s[~np.isnan(one.time_s)], head)
    assert one.image_valid.shape == (n,)
    for transform in one.transforms.values():
        assert transform.pose.shape == (n, 4, 4)
        assert transform.valid.shape == (n,)
        assert np.isfinite(transform.pose[transform.valid]).all()
        echoed(transform.pose[np.isfinite(transform.pose)], head)
    for stream in streams:
        rigid(stream.pose)
        assert (np.diff(stream.time_s) > 0).all()
    assert all(len(texts) == n for texts in one.fields.values())
    if one.frames is None:
        assert not one.image_valid.any()
        assert n <= len(head)
    else:
        assert np.array_equal(
            np.sort(np.ravel(one.frames).view(np.uint8)), np.sort(np.frombuffer(pixels, np.uint8))
        )


def right_mha(answer, files: Files) -> None:
    data = files["hand.mha"] or b""
    found = re.search(rb"(?m)^\s*ElementDataFile[ \t]*=[ \t]*(.*?)[ \t]*\r?\n", data)
    assert found
    head, pixels = data[: found.end()], data[found.end() :]
    assert found[1] == b"LOCAL" or answer[0].frames is None or found[1] == b"hand.mha"
    right_sequence(answer, head, unpacked(head, pixels) if answer[0].frames is not None else b"")


def right_mhd(answer, files: Files) -> None:
    head = files["hand.mhd"] or b""
    name = re.search(rb"(?m)^\s*ElementDataFile[ \t]*=[ \t]*(.*?)[ \t]*\r?$", head)
    assert name
    pixels = b""
    if answer[0].frames is not None:
        pixels = unpacked(head[: name.end()], files[name[1].decode()] or b"")
    right_sequence(answer, head, pixels)


def right_nrrd(answer, files: Files) -> None:
    data = files["hand.nrrd"] or b""
    head, _, pixels = re.split(rb"(\r?\n[ \t\r]*\n)", data, maxsplit=1)
    kind = re.findall(rb"(?im)^\s*encoding\s*:\s*(\w+)", head)[-1]
    right_sequence(answer, head, pixels if kind == b"raw" else inflated(pixels))


def config(folder: Path, rng: Rng) -> None:
    matrix = " ".join(map(repr, a_pose().ravel().tolist()))
    wires = "".join(
        f'<Wire Name="{k}" EndPointFront="{k} 0.5 -1" EndPointBack="{k}.25 40 -1"/>\n' for k in (1, 2, 3)
    )
    (folder / "hand.xml").write_text(
        f"""<PlusConfiguration version="2.9">
<DataCollection><Device Id="Tracker" LocalTimeOffsetSec="-0.125"/><Device Id="Video"/></DataCollection>
<CoordinateDefinitions>
<Transform From="Image" To="Probe" Matrix="0.07 0 0 11.5  0 0.08 0 -3  0 0 0.075 2  0 0 0 1"/>
<Transform From="Phantom" To="Reference"
 Matrix="{matrix}"/>
</CoordinateDefinitions>
<PhantomDefinition><Geometry><Pattern Type="NWire">
{wires}</Pattern>
<Landmarks><Landmark Name="#1" Position="1.5 2.5 -3.5"/><Landmark Name="#2" Position="7 8 9"/></Landmarks>
</Geometry></PhantomDefinition>
<Segmentation ApproximateSpacingMmPerPixel="0.078" ClipRectangleOrigin="27 27" ClipRectangleSize="766 562"/>
<VolumeReconstruction OutputSpacing="0.5 0.5 0.5" ClipRectangleOrigin="0 0" ClipRectangleSize="820 616"/>
</PlusConfiguration>
""",
        encoding="utf-8",
    )


def right_config(one, files: Files) -> None:
    text = files["hand.xml"]
    for pose in one.transforms.values():
        echoed(pose, text)
        assert np.array_equal(pose[3], [0, 0, 0, 1])
        assert abs(np.linalg.det(pose[:3, :3])) > 0
    echoed(one.wires, text)
    echoed([*one.landmarks.values()], text)
    echoed([*one.time_offset_s.values()], text)
    if one.clip_p is not None:
        echoed([one.clip_p[0], one.clip_p[2]], text)
        echoed([one.clip_p[1] - one.clip_p[0] + 1, one.clip_p[3] - one.clip_p[2] + 1], text)
    if np.isfinite(one.mm_per_px):
        echoed(one.mm_per_px, text)
        assert one.mm_per_px > 0
    one.spaces()


def points(ending: str) -> Callable[[Path, Rng], None]:
    two = np.array([[10.25, -20.5, 3.0], [7.0, 0.125, -99.5], [1.0, 2.0, 33.0]])
    named = NamedPoints(
        two, ("nose, tip", 'left "ear"', "øye"), second_r=two + 0.25 if ending == ".tag" else None
    )
    return lambda folder, rng: write_points(named, folder / f"hand{ending}")


def right_points(ending: str) -> Callable[[Any, Files], None]:
    def right(one: NamedPoints, files: Files) -> None:
        text = files[f"hand{ending}"] or b""
        told = one.points_r * 1000 if b'"um"' in text else one.points_r
        if b'"um"' not in text:
            echoed(told, text)
        assert one.points_r.shape == (len(one.labels), 3)
        assert np.isfinite(told).all()
        assert len(one.labels) > 0
        if one.second_r is not None:
            assert one.second_r.shape == one.points_r.shape
            echoed(one.second_r, text)
        assert all(isinstance(label, str) for label in one.labels)
        if ending == ".mrk.json":
            json.loads(text)

    return right


def right_transform(answer, files: Files) -> None:
    to_M_from, _ = answer
    assert np.isfinite(to_M_from).all()
    assert np.array_equal(to_M_from[3], [0, 0, 0, 1])
    assert np.abs(np.linalg.det(to_M_from[:3, :3])) > 0
    text = files.get("hand.tfm") or b""
    kind, numbers, fixed = (
        re.findall(rb"(?m)^[ \t]*" + key + rb":(.*?)\r?$", text) or [b""]
        for key in (b"Transform", b"Parameters", b"FixedParameters")
    )
    if len(kind) == 1 and re.match(rb"\s*(AffineTransform|MatrixOffset)", kind[0]):
        m = np.array(numbers[0].split(), dtype=float)
        c = np.array(fixed[0].split(), dtype=float)
        from_M_to = np.eye(4)
        from_M_to[:3, :3] = m[:9].reshape(3, 3)
        from_M_to[:3, 3] = m[9:] + c - from_M_to[:3, :3] @ c
        scale = 1 + np.abs(from_M_to).max() + np.abs(c).max()
        assert np.abs(np.linalg.inv(to_M_from) - from_M_to).max() <= 1e-6 * scale


# ---- volumes ---------------------------------------------------------------------------------------------


def volume(ending: str) -> Callable[[Path, Rng], None]:
    def write(folder: Path, rng: Rng) -> None:
        values = rng.integers(1, 256, (5, 6, 7)).astype(np.float32)
        grid = Grid((5, 6, 7), (0.5, 0.75, 1.25), a_pose())
        write_volume(
            Volume(values, np.ones(values.shape, np.uint32), values < 0, grid), folder / f"hand{ending}"
        )

    return write


def right_volume(one: Volume, files: Files) -> None:
    assert one.values.shape == one.grid.shape
    assert one.values.size < 1e7
    rigid_or_mirrored = one.grid.pr_M_d[:3, :3]
    assert np.isfinite(one.grid.pr_M_d).all()
    assert np.abs(rigid_or_mirrored @ rigid_or_mirrored.T - np.eye(3)).max() < 1e-3
    assert np.isfinite(one.grid.spacing_mm).all()
    assert min(one.grid.spacing_mm) > 0
    if "hand.mha" in files:
        data = files["hand.mha"] or b""
        head = data[: data.find(b"LOCAL")]
        echoed(one.grid.spacing_mm, head, b"1", rel=1e-6)
        corner, last = one.grid.pr_M_d[:3, 3], (one.grid.shape[0] - 1) * one.grid.spacing_mm[2]
        told = re.search(rb"TransformMatrix = ([^\n]*)", head)
        matrix = np.array(told[1].split(), dtype=float) if told else np.eye(3).ravel()
        if (
            np.linalg.det(matrix.reshape(3, 3)) < 0
        ):  # the last axis was turned round, and the corner is another
            corner = np.round(corner + one.grid.pr_M_d[:3, 2] * last, 9)
        echoed(corner, head, b"0", rel=1e-6)
        echoed(one.grid.shape, head)


def acquisition(name: str, write: Callable[[Path, Rng], object]) -> Format:
    return Format(name, write, read_acquisition, right_acquisition, 600)


def at(reader: Callable[[Path], Any], name: str) -> Callable[[Path], Any]:
    return lambda folder: reader(folder / name)


FORMATS = {
    form.name: form
    for form in [
        acquisition("acquisition-stack", lambda folder, rng: write_acquisition(a_sweep(rng), folder)),
        acquisition(
            "acquisition-frames",
            lambda folder, rng: write_acquisition(a_sweep(rng, "sector"), folder, layout="frames"),
        ),
        acquisition("acquisition-2011", compressed_colour),
        Format("probe-database", database, at(read_probe_database, "ProbeCalibConfigs.xml"), right_database,
               600, "ProbeCalibConfigs"),
        Format("tool", tool, at(read_tool, "hand.xml"), right_tool, 600),
        Format("calibration", lambda folder, rng: write_calibration(a_pose(), folder / "hand.cal"),
               at(read_calibration, "hand.cal"), right_calibration, 600),
        Format("positions", positions, at(read_positions, "hand.snwpos"), right_positions, 600),
        *(
            Format(name, points(ending), at(read_points, f"hand{ending}"), right_points(ending), 600)
            for name, ending in (("tag", ".tag"), ("markups", ".mrk.json"), ("fcsv", ".fcsv"))
        ),
        Format("sequence-mha",
               lambda folder, rng: write_sequence(a_sequence(rng), folder / "hand.mha", compressed=False),
               at(sequence_and_streams, "hand.mha"), right_mha, 600),
        Format("sequence-mha-packed",
               lambda folder, rng: write_sequence(a_sequence(rng), folder / "hand.mha"),
               at(sequence_and_streams, "hand.mha"), right_mha, 600),
        Format("sequence-mhd", lambda folder, rng: write_sequence(a_sequence(rng), folder / "hand.mhd"),
               at(sequence_and_streams, "hand.mhd"), right_mhd, 600),
        Format("sequence-nrrd",
               lambda folder, rng: write_sequence(a_sequence(rng), folder / "hand.nrrd"),
               at(sequence_and_streams, "hand.nrrd"), right_nrrd, 600),
        Format("plus-config", config, at(read_plus_config, "hand.xml"), right_config, 600),
        Format("transform-tfm", lambda folder, rng: write_transform(a_pose(), folder / "hand.tfm"),
               at(read_transform, "hand.tfm"), right_transform, 600),
        *(
            Format(f"volume-{ending[1:].replace('.', '-')}", volume(ending), at(read_volume, f"hand{ending}"),
                   right_volume, 400)
            for ending in (".mha", ".nrrd", ".nii.gz")
        ),
        Format("transform-h5", lambda folder, rng: write_transform(a_pose(), folder / "hand.h5"),
               at(read_transform, "hand.h5"), right_transform, 4),
    ]
}  # fmt: skip
assert small_sector().shape == (27, 36), "the database above is for this picture"
