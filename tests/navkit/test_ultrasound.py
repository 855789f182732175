"""The sector's geometry against CustusX's numbers, and pictures against what they should show."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sweeps import hand_sweep, small_sector

from navkit.geometry import pose_from, transform_points
from navkit.phantoms import TISSUES, Phantom, ellipsoids_in_tissue, wire_cross
from navkit.ultrasound import ProbeSector, SimulationSettings, Sweep, simulate_frame, simulate_sweep


def angio_lab() -> ProbeSector:
    """The probe of CustusX's own real-data test."""
    return ProbeSector(
        "linear",
        37.8204265,
        (0, 39.2306797),
        (452, 68),
        (0.0641024, 0.0641024),
        (157, 747, 68, 680),
        (768, 1024),
    )


def test_pixels_fall_where_custusx_says():
    """Worked numbers of custusx.md 1.4: the left clip edge and the deepest row."""
    sector = angio_lab()
    assert sector.pixels_to_tool([157, 68]) == pytest.approx([0, 18.910, 0], abs=5e-4)
    assert sector.pixels_to_tool([452, 680]) == pytest.approx([0, 0, 39.231], abs=5e-4)


def test_t_M_p_is_custusx_chain_of_u_and_v():
    """tMu . uMv . vMp with the matrices of custusx.md 1.4, on a sector with unequal spacing."""
    sector = small_sector()
    sx, sy = sector.spacing_mm
    h = (sector.shape[0] - 1) * sy
    v_M_p = np.diag([sx, sy, 1, 1])
    u_M_v = pose_from(Rotation.from_rotvec([np.pi, 0, 0]), [0, 0, 0]) @ pose_from(np.eye(3), [0, -h, 0])
    c0, r0 = sector.origin_p
    origin_u = [c0 * sx, h - r0 * sy, 0]
    turn = Rotation.from_rotvec([-np.pi / 2, 0, 0]) * Rotation.from_rotvec([0, np.pi / 2, 0])
    t_M_u = pose_from(turn, [0, 0, 0]) @ pose_from(np.eye(3), -np.array(origin_u))
    assert np.abs(t_M_u @ u_M_v @ v_M_p - sector.t_M_p()).max() < 1e-12


def test_the_linear_mask_is_a_rectangle_cut_by_beam_and_clip():
    sector = small_sector()
    rows, columns = np.nonzero(sector.mask())
    across = (columns - 17.25) * 0.31
    down = (rows - 2.5) * 0.47
    assert np.abs(across).max() <= 4.5 < np.abs(across).max() + 0.31
    assert down.min() >= 0.4 > down.min() - 0.47
    assert (columns.min(), columns.max()) == (3, 30)
    assert rows.max() == 24, "the clip rectangle cuts the beam"


def test_the_sector_mask_opens_with_depth_and_is_bounded_by_two_arcs():
    sector = small_sector("sector")
    rows, columns = np.nonzero(sector.mask())
    across, down = (columns - 17.25) * 0.31, (rows - 2.5) * 0.47
    distance = np.hypot(across, down)
    assert distance.min() >= 3.0
    assert distance.max() <= 12.0
    assert np.abs(np.arctan2(across, down)).max() <= 0.7
    first = columns[rows == rows.min()]
    assert np.diff(first).max() > 1, "the near arc leaves a gap in the first row"
    inside = sector.mask().sum() * 0.31 * 0.47
    assert 0.5 < inside / (0.5 * 1.4 * (12.0**2 - 3.0**2)) < 1.0, "the clip rectangle cuts the deep corners"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "phased"}, "expected 'linear' or 'sector'"),
        ({"width": 0.0}, "positive width"),
        ({"depth_mm": (5, 4)}, "an end below the start"),
        ({"spacing_mm": (0.1, -0.1)}, "expected two positive numbers"),
    ],
)
def test_a_sector_that_cannot_be_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(small_sector(), **change)


def test_a_sweep_whose_parts_disagree_is_one_sentence(rng):
    sweep = hand_sweep(rng)
    with pytest.raises(ValueError, match="expected the same number of each"):
        replace(sweep, time_s=sweep.time_s[:-1])
    with pytest.raises(ValueError, match="the sector is for"):
        replace(sweep, frames=sweep.frames[:, :-1])


def facing(phantom_point, *, tilt=(0.1, -0.2, 0.3)) -> np.ndarray:
    """A probe 15 mm above a point of the phantom, tilted."""
    rotation = Rotation.from_rotvec(tilt)
    return pose_from(rotation, phantom_point - rotation.apply([0.0, 2.0, 15.0]))


def scanner() -> ProbeSector:
    return ProbeSector("linear", 30.0, (0.0, 35.0), (70.5, 4.0), (0.25, 0.2), (0, 139, 0, 180), (190, 140))


def test_a_wires_echo_is_brightest_where_the_wire_crosses_the_plane(rng):
    phantom = Phantom("one", wires=np.array([[[0.0, -60, 3], [14.0, 80, 5]]]))
    crossing = np.array([6.0, 0.0, 27 / 7])
    sector = scanner()
    d_M_t = facing(crossing, tilt=(1.2, 0.15, 0.1))
    frame = simulate_frame(phantom, sector, d_M_t @ sector.t_M_p(), rng=rng).astype(float)
    frame[:20] = 0  # the probe's own face
    rows, columns = np.indices(frame.shape)
    peak = np.array([np.average(columns, weights=frame**4), np.average(rows, weights=frame**4)])
    point_d = transform_points(d_M_t, sector.pixels_to_tool(peak))
    a, b = phantom.wires[0]
    along = (b - a) / np.linalg.norm(b - a)
    miss = np.linalg.norm((point_d - a) - ((point_d - a) @ along) * along)
    assert miss < 0.25


def test_water_is_dark_a_cyst_is_dark_and_a_bright_lesion_bright(rng):
    phantom = ellipsoids_in_tissue()
    sector = scanner()
    quiet = SimulationSettings(ring_down_mm=1e-3)
    levels = {}
    for k, part in enumerate(phantom.parts, start=1):
        m = facing(np.array(phantom.landmarks[part.name])) @ sector.t_M_p()
        frame = simulate_frame(phantom, sector, m, rng=rng, settings=quiet)
        rows, columns = np.nonzero(sector.mask())
        points = transform_points(m, np.stack([columns, rows, 0 * rows], axis=-1).astype(float))
        label = phantom.labels(points)
        # medians: a cyst's wall is bright
        levels[part.name] = np.median(frame[rows, columns][label == k])
        levels["tissue"] = np.median(frame[rows, columns][label == 0])
    assert levels["cyst"] < 10 < levels["faint lesion"] + 40 < levels["tissue"] + 40
    assert levels["cyst"] < levels["faint lesion"] < levels["tissue"] < levels["bright lesion"] - 20


def test_speckle_is_rayleigh_before_compression():
    """Fully developed speckle has mean over standard deviation 1.913 (Wagner 1983)."""
    phantom = Phantom("tissue", background=TISSUES["agar"], seed=3)
    points = np.random.default_rng(5).uniform(-200, 200, size=(200_000, 3))
    speckle = phantom.speckle(points)
    assert speckle.mean() == pytest.approx(1.0, abs=0.03)
    assert speckle.mean() / speckle.std() == pytest.approx(1.913, abs=0.05)


def test_speckle_belongs_to_the_phantom_not_to_the_frame():
    phantom = Phantom("tissue", background=replace(TISSUES["agar"], echo_db=9.5), seed=3)
    sector = scanner()
    m = facing(np.array([5.0, 6.0, 7.0])) @ sector.t_M_p()
    aside = m @ pose_from(np.eye(3), [4.0, 0.0, 0.0])  # four columns, one millimetre
    one, two = (
        simulate_frame(phantom, sector, k, rng=np.random.default_rng(n)) for n, k in enumerate([m, aside])
    )
    a, b = one[20:150, 20:100].astype(float).ravel(), two[20:150, 16:96].astype(float).ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.97
    other = simulate_frame(replace(phantom, seed=4), sector, m, rng=np.random.default_rng(0))
    assert abs(np.corrcoef(a, other[20:150, 20:100].astype(float).ravel())[0, 1]) < 0.1


def test_a_frame_is_a_pure_function_of_phantom_pose_and_seed():
    sector = scanner()
    m = facing(np.array([134.2, 134.3, 100.1])) @ sector.t_M_p()
    frames = [simulate_frame(wire_cross(), sector, m, rng=np.random.default_rng(8)) for _ in range(2)]
    assert np.array_equal(*frames)
    assert frames[0].dtype == np.uint8
    assert not frames[0][~sector.mask()].any()


def test_a_sweep_of_a_moved_phantom_is_the_sweep_of_the_phantom():
    sector = scanner()
    pr_M_d = pose_from(Rotation.from_rotvec([0.3, 0.1, -0.7]), [40, -90, 12])
    d_M_t = np.stack([facing(np.array([134.2 + k, 134.3, 100.1])) for k in range(3)])
    moved = simulate_sweep(
        wire_cross(), sector, pr_M_d @ d_M_t, [0, 1, 2], rng=np.random.default_rng(8), pr_M_d=pr_M_d
    )
    still = simulate_sweep(wire_cross(), sector, d_M_t, [0, 1, 2], rng=np.random.default_rng(8))
    assert isinstance(moved, Sweep)
    assert np.abs(moved.frames.astype(int) - still.frames).max() <= 1
    assert np.abs(pr_M_d @ still.pr_M_p - moved.pr_M_p).max() < 1e-9


# ---- phantoms --------------------------------------------------------------------------------------------


def test_wires_of_the_cross_meet_at_89_99_degrees_one_hundredth_apart():
    (a, b), (c, d) = wire_cross().wires
    u, v = (b - a) / np.linalg.norm(b - a), (d - c) / np.linalg.norm(d - c)
    normal = np.cross(u, v)
    assert np.degrees(np.arcsin(np.linalg.norm(normal))) == pytest.approx(89.99, abs=0.005)
    gap = abs((c - a) @ normal) / np.linalg.norm(normal)
    assert gap == pytest.approx(0.01, abs=0.02)


def test_the_cross_lies_on_custusx_nominal_model(navkit_data):
    import pyvista as pv

    points = np.array(
        pv.read(navkit_data / "custusx" / "config" / "models" / "wire_phantom_cross_pts.vtk").points
    )
    miss = []
    for a, b in wire_cross().wires:
        u = (b - a) / np.linalg.norm(b - a)
        offset = points - a
        miss.append(np.linalg.norm(offset - np.outer(offset @ u, u), axis=1))
    assert len(points) == 1002
    assert np.min(miss, axis=0).max() < 0.05
