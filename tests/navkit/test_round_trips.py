"""What is written comes back, over generated sweeps, poses, points and tools.

| what | comes back |
|---|---|
| grey values of frames and volumes, labels, names, clip, picture's size, validity | exactly |
| acquisition: times | 0.05 us (four decimals of ms), and a double's own rounding of the ms |
| acquisition: poses | 1e-8 of the distance they span (nine digits each) |
| acquisition: sector | spacing 1e-8, origin, width and depth 1e-11 of their size (9 and 12 digits) |
| PLUS sequence, .mha, .mhd, .nrrd | to the bit |
| points, calibrations | to the bit |
| linear transforms, .tfm, .h5 | 1e-12 of the condition and size |
| position log, as the test writes it | times exactly, poses 1e-9 of their size |
| volumes, .mha, .mhd, .nrrd | place 1e-9 mm |
| volumes, .nii.gz | place 1e-5 of its size: NIfTI has floats of 32 bits |
"""

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep

from navkit import files
from navkit.files import Sequence, Transform
from navkit.geometry import inverse, orthonormalised, pose_from
from navkit.reconstruction import Grid, Volume
from navkit.tracking import PoseStream
from navkit.ultrasound import ProbeSector, Sweep

ORIENTATIONS = ["MFA", "MF", "MN", "UF", "UND", "FM", "NM", "FU", "NU", "XX"]
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def within(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most, allow_nan=False, allow_infinity=False, allow_subnormal=False)


letters = st.characters(categories=("L", "Nd"), include_characters=" _-.'#%")
names = st.text(letters, min_size=1, max_size=20).map(lambda s: s.strip(" .")).filter(bool)


@st.composite
def poses(draw, n: int) -> np.ndarray:
    turn = draw(arrays(float, (n, 3), elements=within(-3, 3)))
    place = draw(arrays(float, (n, 3), elements=within(-1e5, 1e5)))
    return pose_from(Rotation.from_rotvec(turn), place)


@st.composite
def sectors(draw) -> ProbeSector:
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from(["linear", "sector"]))
    left, top = draw(st.integers(0, w - 1)), draw(st.integers(0, h - 1))
    right, bottom = draw(st.integers(left, w - 1)), draw(st.integers(top, h - 1))
    start = draw(within(-20, 90))
    return ProbeSector(
        kind,
        draw(within(0.01, 6.2 if kind == "sector" else 90)),
        (start, start + draw(within(0.1, 200))),
        (draw(within(-300, 900)), draw(within(-300, 900))),
        (draw(within(0.004, 3)), draw(within(0.004, 3))),
        (left, right, top, bottom),
        (h, w),
    )


@st.composite
def sweeps(draw) -> Sweep:
    """One frame or a few, of any size from one pixel; times before 1970, gaps, frames that are not valid."""
    sector, n = draw(sectors()), draw(st.integers(1, 5))
    frames = draw(arrays(np.uint8, (n, *sector.shape)))
    steps = draw(arrays(float, n, elements=within(0.001, 2)))
    time_s = draw(within(-4e9, 4e9)) + np.cumsum(steps)
    valid = draw(arrays(bool, n))
    valid[draw(st.integers(0, n - 1))] = True
    pr_M_p = draw(poses(n)) @ sector.t_M_p()
    pr_M_p[~valid] = np.nan
    return Sweep(frames, time_s, pr_M_p, sector, valid, draw(names))


def assert_same_sector(back: ProbeSector, one: ProbeSector) -> None:
    assert (back.kind, back.clip_p, back.shape) == (one.kind, one.clip_p, one.shape)
    assert np.allclose(back.spacing_mm, one.spacing_mm, rtol=1e-8, atol=0)
    told = [one.width, *one.depth_mm, *one.origin_p]
    assert np.allclose([back.width, *back.depth_mm, *back.origin_p], told, rtol=1e-11, atol=1e-300)


# ---- CustusX ---------------------------------------------------------------------------------------------


@given(sweep=sweeps(), layout=st.sampled_from(["stack", "frames"]), folder=names, by_file=st.booleans())
@QUICK
def test_any_acquisition_comes_back_in_both_layouts(tmp_path_factory, sweep, layout, folder, by_file):
    path = tmp_path_factory.mktemp("sweep") / folder
    files.write_acquisition(sweep, path, layout=layout)
    back = files.read_acquisition(path / f"{sweep.name}.fts" if by_file else path)
    kept = sweep.valid
    assert back.name == sweep.name
    assert back.valid.all()
    assert np.array_equal(back.frames, sweep.frames[kept])
    time_s = sweep.time_s[kept]
    assert (np.abs(back.time_s - time_s) <= 0.05e-6 + 3 * np.spacing(np.abs(time_s))).all()
    assert_same_sector(back.sector, sweep.sector)
    span = np.abs(sweep.pr_M_p[kept]).max() + 300 * max(sweep.sector.spacing_mm) * 3 + 1
    assert np.abs(back.pr_M_p - sweep.pr_M_p[kept]).max() <= 1e-8 * span
    assert not list(path.glob(".*"))


@given(sweep=sweeps(), one=poses(1), hole=st.integers(1, 3))
@QUICK
def test_an_acquisition_with_its_own_tracking_keeps_frames_in_gaps_as_not_valid(
    tmp_path_factory, sweep, one, hole
):
    n = len(sweep)
    sweep = replace(sweep, time_s=sweep.time_s[0] + np.arange(n) * 1.0)
    before, after = sweep.time_s[0] - 1 + 0.1 * np.arange(3), sweep.time_s[-1] + hole + 0.1 * np.arange(3)
    time_s = np.concatenate([before, sweep.time_s[:1], after])
    tracking = PoseStream(time_s, np.repeat(one, len(time_s), axis=0))
    path = tmp_path_factory.mktemp("sweep")
    files.write_acquisition(sweep, path, tracking=tracking)
    back = files.read_acquisition(path)
    assert np.array_equal(back.frames, sweep.frames)
    assert back.valid.tolist() == [True] + [False] * (n - 1)
    assert np.isnan(back.pr_M_p[1:]).any(axis=(1, 2)).all()
    assert bool(back.notes) == (n > 1)
    place = (back.pr_M_p[0] @ inverse(back.sector.t_M_p()))[:3, 3]
    assert np.allclose(place, one[0, :3, 3], rtol=1e-8, atol=1e-6)
    assert np.allclose(files.read_tracking(path).time_s, time_s, rtol=1e-15, atol=0.06e-6)


@pytest.mark.parametrize("name", ["a/b", "..", " ", "a\nb", "hand."])
def test_a_name_that_no_file_can_have_is_refused_before_anything_is_written(tmp_path, rng, name):
    with pytest.raises(ValueError, match="a name that a file can have"):
        files.write_acquisition(replace(hand_sweep(rng), name=name), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_sweep_without_a_valid_frame_is_refused(tmp_path, rng):
    sweep = hand_sweep(rng)
    with pytest.raises(ValueError, match="0 frames and 0 samples"):
        files.write_acquisition(replace(sweep, valid=np.zeros(len(sweep), bool)), tmp_path / "out")


def test_of_two_names_of_which_one_begins_the_other_the_file_tells(tmp_path, rng):
    for name in ("hand", "hand_2"):
        files.write_acquisition(hand_sweep(rng, name=name), tmp_path)
    assert files.read_acquisition(tmp_path / "hand_2.fts").name == "hand_2"
    assert files.read_acquisition(tmp_path / "hand.mhd").name == "hand"


def log_of(streams: dict[str, PoseStream]) -> bytes:
    """A position log as CustusX writes it: the axis' two angles, the angle about it, the position."""
    data = b"SNWPOS\x02"
    for name, stream in streams.items():
        text = name.encode("latin-1")
        data += struct.pack("<BBI", 2, (len(text) + 4) & 255, len(text)) + text
        for time_s, pose in zip(stream.time_s, stream.pose, strict=True):
            turn = Rotation.from_matrix(pose[:3, :3]).as_rotvec()
            angle = float(np.linalg.norm(turn))
            x, y, z = turn / angle if angle else (1.0, 0.0, 0.0)
            angles = math.atan2(y, x), math.asin(min(1.0, max(-1.0, z))), angle
            data += struct.pack("<BBQ6d", 3, 68, round(1000 * time_s), *angles, *pose[:3, 3])
    return data


@given(st.data())
@QUICK
def test_a_position_log_comes_back(tmp_path, data):
    latin = st.text(st.characters(codec="latin-1"), min_size=1, max_size=9)
    streams = {}
    for name in data.draw(st.lists(latin, min_size=1, max_size=3, unique=True)):
        n = data.draw(st.integers(1, 5))
        ms = np.unique(data.draw(arrays(np.int64, n, elements=st.integers(0, 4_000_000_000_000))))
        streams[name] = PoseStream(ms / 1000.0, data.draw(poses(len(ms))), name=name)
    (tmp_path / "toolpositions.snwpos").write_bytes(log_of(streams))
    back = files.read_positions(tmp_path / "toolpositions.snwpos")
    assert back.keys() == streams.keys()
    for name, stream in streams.items():
        assert np.array_equal(back[name].time_s, stream.time_s)
        assert np.array_equal(back[name].pose[:, :3, 3], stream.pose[:, :3, 3])
        assert np.abs(back[name].pose[:, :3, :3] - stream.pose[:, :3, :3]).max() < 2e-8  # asin near the pole


texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zs", "Zl", "Zp")), max_size=12)


@given(
    one=poses(1),
    name=texts,
    points=st.dictionaries(texts, arrays(float, 3, elements=within(-1e9, 1e9)), max_size=3),
)
@QUICK
def test_a_tool_and_its_calibration_come_back(tmp_path, one, name, points):
    exact = orthonormalised(one[0])
    tool = files.Tool(
        type="pointer", name=name, clinical_app="Laboratory", tracking_system="polaris",
        calibration_file="nål.cal", reference_points_s=points, s_M_t=exact,
    )  # fmt: skip
    files.write_tool(tool, tmp_path / "verktøy.xml")
    back = files.read_tool(tmp_path / "verktøy.xml")
    assert back.name == name
    assert np.abs(back.s_M_t - exact).max() < 1e-12
    assert np.array_equal(back.s_M_t[:3, 3], exact[:3, 3])
    assert back.reference_points_s.keys() == points.keys()
    assert all(np.array_equal(back.reference_points_s[key], xyz) for key, xyz in points.items())


# ---- PLUS and Slicer -------------------------------------------------------------------------------------


@given(
    sweep=sweeps().filter(lambda sweep: sweep.frames[0].size > 1),
    ending=st.sampled_from([".mha", ".mhd", ".nrrd"]),
    compressed=st.booleans(),
    orientation=st.sampled_from(ORIENTATIONS),
    folder=names,
)
@QUICK
def test_any_sweep_comes_back_as_a_plus_sequence_to_the_bit(
    tmp_path_factory, sweep, ending, compressed, orientation, folder
):
    path = tmp_path_factory.mktemp("sequence") / folder / f"{sweep.name}{ending}"
    one = files.sequence_of(sweep)
    files.write_sequence(one, path, compressed=compressed, orientation=orientation)
    back = files.read_sequence(path)
    assert np.array_equal(back.frames, sweep.frames)
    assert back.time_s.tobytes() == sweep.time_s.tobytes()
    placed = back.transforms["ImageToReference"]
    assert np.array_equal(placed.valid, sweep.valid)
    assert placed.pose[sweep.valid].tobytes() == sweep.pr_M_p[sweep.valid].tobytes()
    assert back.header["UltrasoundImageOrientation"] == orientation


@given(time_s=arrays(float, 3, elements=within(-1e9, 1e9)), pose=poses(3), compressed=st.booleans())
@example(time_s=np.array([-3.5, -0.0, np.nan]), pose=np.array([np.eye(4)] * 3), compressed=True)
@QUICK
def test_tracking_without_pictures_comes_back_to_the_bit(tmp_path, time_s, pose, compressed):
    moved = Transform(pose, np.array([True, False, True]))
    one = Sequence(None, time_s, {"ProbeToTracker": moved}, np.zeros(3, bool), {"Hånd": ("å", "", "=")}, {})
    files.write_sequence(one, tmp_path / "s.mha", compressed=compressed)
    back = files.read_sequence(tmp_path / "s.mha")
    assert back.frames is None
    assert back.time_s.tobytes() == time_s.tobytes()
    assert back.transforms["ProbeToTracker"].pose.tobytes() == pose.tobytes()
    assert back.transforms["ProbeToTracker"].valid.tolist() == [True, False, True]
    assert back.fields == one.fields


@given(one=poses(1), stretch=arrays(float, 3, elements=within(0.1, 10)), mirror=st.booleans())
@QUICK
def test_a_linear_transform_comes_back(tmp_path, one, stretch, mirror):
    matrix = one[0] @ np.diag([*stretch[:2], stretch[2] * (-1 if mirror else 1), 1])
    files.write_transform(matrix, tmp_path / "målt.tfm")
    back, notes = files.read_transform(tmp_path / "målt.tfm")
    # The file holds the inverse, of a condition up to 100, seen from points 1 m away.
    assert np.abs(back - matrix).max() <= 1e-12 * 100 * (1000 + np.abs(matrix).max())
    assert any("mirrors" in note for note in notes) == mirror


def test_a_linear_transform_comes_back_as_hdf5(tmp_path, rng):
    matrix = pose_from(Rotation.from_rotvec([0.3, -1.2, 0.7]), rng.normal(scale=300, size=3))
    files.write_transform(matrix, tmp_path / "målt.h5")
    assert np.abs(files.read_transform(tmp_path / "målt.h5")[0] - matrix).max() < 1e-9


finite = st.floats(allow_nan=False, allow_infinity=False)
labels = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    ['a, "b"', "'", ",", '"', "ørkenrøys", " blank ", "\\", "%d;", "#1", ""]
)


@given(
    named=st.lists(st.tuples(labels, st.tuples(*[finite] * 3)), min_size=1, max_size=5),
    ending=st.sampled_from([".mrk.json", ".fcsv", ".tag"]),
)  # fmt: skip
@QUICK
def test_points_come_back_to_the_bit_with_any_label(tmp_path, named, ending):
    points = np.array([xyz for _, xyz in named])
    one = files.NamedPoints(points, tuple(label for label, _ in named))
    files.write_points(one, tmp_path / f"punkt{ending}")
    back = files.read_points(tmp_path / f"punkt{ending}")
    assert np.array_equal(back.points_r, points)
    assert back.labels == one.labels
    assert back.second_r is None


# ---- volumes ---------------------------------------------------------------------------------------------


@given(
    values=arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(1, 255)),
    spacing=st.tuples(*[within(0.01, 5)] * 3),
    one=poses(1),
    ending=st.sampled_from([".mha", ".mhd", ".nrrd", ".nii.gz"]),
)
@QUICK
def test_a_volume_comes_back_with_its_place(tmp_path, values, spacing, one, ending):
    grid = Grid(values.shape, spacing, one[0])
    grey = values.astype(np.float32)
    files.write_volume(
        Volume(grey, np.ones(grey.shape, np.uint32), grey < 0, grid), tmp_path / f"volum{ending}"
    )
    back = files.read_volume(tmp_path / f"volum{ending}")
    assert np.array_equal(back.values, grey)
    tolerance = 1e-9 if ending != ".nii.gz" else 1e-5 * (1 + np.abs(one).max())
    assert np.abs(back.grid.pr_M_voxel() - grid.pr_M_voxel()).max() <= tolerance
