"""Colour flow: where blood goes, what the scanner measures of it, and what it paints."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from navkit.geometry import pose_from, transform_points
from navkit.phantoms import (
    TISSUES,
    Part,
    Phantom,
    Shape,
    aorta,
    box,
    kidney,
    liver,
    neuro,
    sphere,
    tube,
    union,
)
from navkit.ultrasound import (
    FlowSettings,
    ProbeSector,
    SimulationSettings,
    flow_colours,
    flow_velocity,
    simulate_angio,
    simulate_angio_sweep,
    simulate_flow,
    simulate_frame,
    split_angio,
)

LINEAR = ProbeSector("linear", 36.0, (0.5, 40.0), (80.5, 4.0), (0.24, 0.2), (0, 160, 0, 205), (210, 165))
CURVED = ProbeSector("sector", 0.9, (18.0, 60.0), (101.0, -80.0), (0.3, 0.24), (0, 205, 0, 175), (180, 210))
GREY = replace(SimulationSettings.fast(focus_mm=20.0), voxel_mm=0.8)
CALM = FlowSettings(noise=0.0, elevation_mm=0.7, frequency_mhz=3.0, box=(0.1, 0.8, 0.15, 0.95))
NYQUIST = CALM.nyquist_mm_s


def looking_down(sector: ProbeSector, *, tilt=(0.0, 0.0, 0.0)) -> np.ndarray:
    """d_M_p of a probe whose face is near z = 0, the beam about along z."""
    return pose_from(Rotation.from_rotvec(tilt), [0, 0, -sector.depth_mm[0]]) @ sector.t_M_p()


def scene(blood: Shape, *more: tuple[str, Shape], lines=None, background: str = "liver") -> Phantom:
    parts = [Part(f"{k} {name}", shape, TISSUES[name]) for k, (name, shape) in enumerate(more)]
    return Phantom(
        "scene",
        (Part("vessel", blood, TISSUES["blood"]), *parts),
        TISSUES[background],
        low=np.array([-8.0, -30.0, -3.0]),
        high=np.array([8.0, 31.0, 48.0]),
        centrelines=lines or {},
        seed=3,
    )


@cache
def vessel(angle_deg: float, *, radius: float = 5.0) -> Phantom:
    """A tube through (0.4, -1, 20) whose axis rises towards +y by so many degrees above the horizontal."""
    way = np.array([0.0, np.cos(np.radians(angle_deg)), -np.sin(np.radians(angle_deg))])
    line = np.array([0.4, -1.0, 20.0]) + np.array([[-60.0], [70.0]]) * way
    return scene(tube(line, radius), lines={"artery": line})


def at_speed(mm_s: float, *, radius: float = 5.0, **more) -> FlowSettings:
    return replace(CALM, artery_per_s=mm_s / radius, **more)


def flow_of(phantom, sector=LINEAR, flow=CALM, *, m=None, settings=GREY, seed=0):
    m = looking_down(sector) if m is None else m
    return simulate_flow(phantom, sector, m, rng=np.random.default_rng(seed), settings=settings, flow=flow)


def angio_of(phantom, sector=LINEAR, flow=CALM, *, seed=0):
    rng = np.random.default_rng(seed)
    return simulate_angio(phantom, sector, looking_down(sector), rng=rng, settings=GREY, flow=flow)


def painted(rgb) -> np.ndarray:
    return np.ptp(rgb.astype(int), axis=2) > 0


def pixel_points(sector: ProbeSector) -> np.ndarray:
    rows, columns = np.indices(sector.shape)
    return transform_points(looking_down(sector), np.stack([columns, rows, 0 * rows], axis=-1).astype(float))


# ---- where blood goes -------------------------------------------------------------------------------------


def test_the_speed_is_a_parabola_along_the_vessel():
    line = np.array([(3.0, -1, 2), (33, 39, -7)])
    way = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
    beside = np.cross(way, [0.3, 0.1, 1.0])
    beside /= np.linalg.norm(beside)
    phantom = scene(tube(line, 4.0), lines={"artery": line})
    off = np.array([0.0, 1.0, 2.5, 3.9, 4.1, 9.0])
    points = line.mean(axis=0) + 3.3 * way + off[:, None] * beside
    expected = 320.0 * np.maximum(1 - (off / 4) ** 2, 0)
    np.testing.assert_allclose(flow_velocity(phantom, points), expected[:, None] * way, atol=1e-9)
    plug = flow_velocity(phantom, points, flow=FlowSettings(profile="plug", artery_per_s=50.0))
    np.testing.assert_allclose(plug, 200.0 * (off < 4)[:, None] * way, atol=1e-9)


def test_the_mean_over_a_section_is_half_of_the_peak():
    phantom = vessel(25.0)
    way = np.array([0, np.cos(np.radians(25)), -np.sin(np.radians(25))])
    beside, up = np.array([1.0, 0, 0]), np.cross([1.0, 0, 0], way)
    share, weight = np.polynomial.legendre.leggauss(8)  # in the square of the radius: equal areas
    r, turn = 5 * np.sqrt((share + 1) / 2)[:, None], np.arange(7) / 7 * 2 * np.pi
    across = (r * np.cos(turn))[..., None] * beside + (r * np.sin(turn))[..., None] * up
    speed = flow_velocity(phantom, ([0.4, -1, 20] + 4.1 * way + across).reshape(-1, 3)) @ way
    mean = (speed.reshape(8, 7).mean(axis=1) * weight / 2).sum()
    assert mean == pytest.approx(80.0 * 5 / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "radii", "along"),
    [
        ("left renal artery", [4, 2], 1),
        ("left renal artery", [2, 4], -1),
        ("portal vein 7", [4, 2], 1),
        ("hepatic vein 2", [4, 2], -1),
        ("renal vein", [2, 4], 1),
        ("vena cava", [3, 3], 1),
        ("some artery", [3, 3], 1),
    ],
)
def test_arteries_flow_to_their_narrow_end_and_veins_to_their_wide_one(name, radii, along):
    line = np.array([(1.0, 2, 3), (21, 12, 3)])
    phantom = scene(tube(line, radii), lines={name: line})
    got = flow_velocity(phantom, [(11.0, 7, 3)])[0]
    per_s = 35.0 if name in ("hepatic vein 2", "renal vein", "vena cava") else 80.0
    narrow = min(radii) + 0.1 * np.ptp(radii)  # a tenth of the way from its end
    speed = per_s * narrow**3 / np.mean(radii) ** 2
    np.testing.assert_allclose(got, along * speed * np.array([2, 1, 0]) / np.sqrt(5), rtol=0.12)


def test_as_much_flows_through_an_aneurysm_as_before_it():
    line = np.array([(0.0, 0, 0), (20, 0, 0), (30, 0, 0), (40, 0, 0), (60, 0, 0)])
    phantom = scene(tube(line, [4, 4, 8, 4, 4]), lines={"artery": line})
    peak = flow_velocity(phantom, [(10.0, 0, 0), (30, 0, 0)])[:, 0]
    np.testing.assert_allclose(peak, [320, 80], rtol=0.03)  # a node of the line is up to 0.25 mm away


def test_what_flows_into_a_fork_flows_out_of_it_and_a_branch_does_not_disturb_its_parent():
    # Murray: 5^3 = 4^3 + 61; each branch is drawn from its parent's axis
    radii = (5.0, 4.0, 61 ** (1 / 3))
    lines = [np.array(x, dtype=float) for x in (
        [(0, 0, 0), (40, 0, 0)], [(40, 0, 0), (70, 25, 0)], [(40, 0, 0), (70, -25, 5)],
    )]  # fmt: skip
    twig = np.array([(18.0, 0, 0), (18, 0, 30)])
    shape = union(*(tube(a, r) for a, r in zip(lines, radii, strict=True)), tube(twig, 1.0))
    names = {f"artery {k}": a for k, a in enumerate(lines)} | {"artery twig": twig}
    phantom = scene(shape, lines=names)
    middle = np.array([a[0] + 0.9 * (a[1] - a[0]) for a in lines])
    middle[0] = (10, 0, 0)
    flux = np.linalg.norm(flow_velocity(phantom, middle), axis=1) * np.square(radii) * np.pi / 2
    assert flux[0] == pytest.approx(flux[1] + flux[2], rel=1e-9)
    at_the_twig = flow_velocity(phantom, [(18.0, 0, 0), (18, 0.3, 2.0), (18, 0, -2), (18, 0.2, 20)])
    np.testing.assert_allclose(at_the_twig[:3, 1:], 0, atol=1e-9)
    assert (at_the_twig[:3, 0] > 300).all()
    assert at_the_twig[3, 2] > 70


def test_blood_stands_still_where_no_centreline_is_near_or_another_tissue_lies():
    line = np.array([(0.0, 0, 0), (40, 0, 0)])
    blood = union(tube(line, 3.0), tube(line + [0, 20, 0], 3.0))
    phantom = scene(blood, ("thrombus", sphere((10, 0, 0), 2.0)), lines={"artery": line})
    still = flow_velocity(phantom, [(20.0, 20, 0), (10, 0, 0), (20, 0, 0)])
    np.testing.assert_allclose(still, [(0, 0, 0), (0, 0, 0), (240, 0, 0)], atol=1e-9)
    assert not flow_velocity(scene(blood), [(20.0, 0, 0)]).any()
    assert not flow_velocity(Phantom("bare"), [(20.0, 0, 0)]).any()


@pytest.mark.parametrize("make", [liver, kidney, neuro, aorta])
def test_the_clinical_phantoms_have_flow_in_their_vessels(make, rng):
    phantom = make(seed=4)
    for part in phantom.parts:
        if not part.tissue.name.startswith("blood"):
            continue
        low, high = np.maximum(part.shape.low, phantom.low), np.minimum(part.shape.high, phantom.high)
        p = rng.uniform(low, high, size=(20000, 3))
        p = p[part.shape(p) < -0.05]
        p = p[[phantom.tissues[k].name.startswith("blood") for k in phantom.labels(p)]]
        velocity = flow_velocity(phantom, p)
        moves = (np.linalg.norm(velocity, axis=1) > 0).mean()
        assert moves > 0.99, part.name
    if make is aorta:
        assert flow_velocity(phantom, [(0.0, 0, 15)])[0, 2] < -500
    if make is liver:
        cava = phantom.centrelines["vena cava"]
        assert flow_velocity(phantom, cava[1:2])[0, 2] > 200  # up, to the heart
        stem = phantom.centrelines["portal vein 1"]
        assert flow_velocity(phantom, stem[1:2])[0] @ (stem[-1] - stem[0]) > 0
        stem = phantom.centrelines["hepatic vein 1"]
        assert flow_velocity(phantom, stem[1:2])[0] @ (stem[-1] - stem[0]) < 0
    if make is kidney:
        assert flow_velocity(phantom, phantom.centrelines["renal vein"][2:3])[0, 0] < 0  # out of it
        assert flow_velocity(phantom, phantom.centrelines["renal artery"][2:3])[0, 0] > 0


# ---- what the scanner measures ----------------------------------------------------------------------------


def inside(phantom, sector, found, *, margin_mm=3.0) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are well inside the vessel, and the unit ways (n, 3) of the lines."""
    start = sector.depth_mm[0]
    if sector.kind == "linear":
        way = np.tile([0.0, 0, 1], (len(found.across), 1))
        points = np.stack([0 * found.across, -found.across, 0 * found.across], axis=1)[:, None]
        points = points + found.depth_mm[:, None] * way[:, None]
    else:
        way = np.stack([0 * found.across, -np.sin(found.across), np.cos(found.across)], axis=1)
        points = (start + found.depth_mm)[:, None] * way[:, None] - [0, 0, start]
    return phantom.part("vessel").shape(points) < -margin_mm, way


@pytest.mark.parametrize("sector", [LINEAR, CURVED], ids=["linear", "curved"])
@pytest.mark.parametrize("angle_deg", [65.0, 30.0, -20.0])
def test_only_the_velocity_along_the_line_is_measured(sector, angle_deg):
    phantom = vessel(angle_deg, radius=6.0)
    found = flow_of(phantom, sector, at_speed(300.0, radius=6.0, profile="plug", elevation_mm=0.4))
    deep, way = inside(phantom, sector, found, margin_mm=4.5)
    assert deep.sum() > 40
    flow = 300.0 * np.array([0, np.cos(np.radians(angle_deg)), -np.sin(np.radians(angle_deg))])
    towards = np.broadcast_to((-way @ flow)[:, None], deep.shape)
    # lines of an array that is curved differ within a cell; those of a linear one do not
    tolerance = 1e-9 if sector.kind == "linear" else 1.5
    middle = (
        np.abs(np.arange(len(deep)) - len(deep) / 2) < len(deep) / 2 - 4
    )  # cells are cut off at the border
    cells = deep & (np.abs(towards) > 40) & middle[:, None]
    np.testing.assert_allclose(found.velocity_mm_s[cells], towards[cells], atol=tolerance)
    if sector.kind == "linear":
        np.testing.assert_allclose(found.velocity_mm_s[deep], 300 * np.sin(np.radians(angle_deg)), atol=1e-9)


@pytest.mark.parametrize("times", [0.4, 1 - 1e-6, 1 + 1e-6, 1.3, 2.6])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_faster_than_the_nyquist_velocity_comes_out_on_the_other_side(times, sign):
    angle = sign * 50.0
    phantom = vessel(angle)
    speed = times * NYQUIST / np.sin(np.radians(50))
    found = flow_of(phantom, flow=at_speed(speed, profile="plug", elevation_mm=0.4))
    deep, _ = inside(phantom, LINEAR, found, margin_mm=4.0)
    wrapped = times - 2 * np.round(times / 2)
    np.testing.assert_allclose(found.velocity_mm_s[deep], sign * wrapped * NYQUIST, atol=1e-8)
    assert abs(NYQUIST - 1540e3 * 4000 / (4 * 3e6)) < 1e-9


def test_what_is_slower_than_the_wall_filter_is_not_seen():
    def power(along_mm_s, angle=50.0):
        speed = along_mm_s / np.sin(np.radians(50))
        return flow_of(vessel(angle), flow=at_speed(speed, profile="plug")).power

    assert power(CALM.wall_mm_s * 0.999).max() == 0
    assert power(CALM.wall_mm_s * 1.001).max() == pytest.approx(1, abs=1e-3)
    assert power(400.0, angle=0.0).max() == 0  # across the lines
    assert power(2 * NYQUIST + 0.9 * CALM.wall_mm_s).max() == 0  # a blind speed
    slow = at_speed(CALM.wall_mm_s * 0.99 / np.sin(np.radians(50)))
    assert not painted(angio_of(vessel(50.0), flow=slow)).any()


def test_the_noise_of_a_velocity_is_the_stated_share_of_the_nyquist_velocity():
    phantom = vessel(40.0, radius=8.0)
    flow = at_speed(150.0, radius=8.0, profile="plug", noise=0.03)
    frames = [flow_of(phantom, flow=flow, seed=k) for k in range(6)]
    deep, _ = inside(phantom, LINEAR, frames[0], margin_mm=4.0)
    error = np.concatenate([f.velocity_mm_s[deep] for f in frames]) - 150 * np.sin(np.radians(40))
    n = len(error)
    assert n > 3000
    sd = 0.03 * NYQUIST
    assert error.std() == pytest.approx(sd, rel=0.01 + 4 / np.sqrt(2 * n))
    assert abs(error.mean()) < 4 * sd / np.sqrt(n)
    # where half of a cell moves, its velocity is twice as uncertain
    half = (flow_of(phantom, flow=replace(flow, noise=0.0)).power - 0.5).round(2) == 0
    error = np.concatenate([f.velocity_mm_s[half] for f in frames]) - 150 * np.sin(np.radians(40))
    assert error.std() == pytest.approx(2 * sd, rel=0.02 + 4 / np.sqrt(2 * len(error)))


def test_the_mean_of_all_that_moves_is_half_of_the_peak():
    # seen in a plane that cuts the vessel askew; no wall filter, and far below the Nyquist velocity
    phantom = vessel(35.0)
    flow = at_speed(60.0, wall_mm_s=1e-6, elevation_mm=1e-3, lateral_mm=0.5, axial_mm=0.3)
    m = looking_down(LINEAR, tilt=(0.1, 0.25, 1.2))
    found = flow_of(phantom, flow=flow, m=m)
    beam = m[:3, 1] / np.linalg.norm(m[:3, 1])
    way = np.array([0, np.cos(np.radians(35)), -np.sin(np.radians(35))])
    mean = np.angle(found.correlation.sum()) / np.pi * NYQUIST
    assert mean == pytest.approx(-60 / 2 * (way @ beam), rel=0.02)
    assert found.power.sum() > 100


@pytest.mark.parametrize("tilt_deg", [0.0, 35.0, 70.0])
def test_colour_bleeds_past_a_flat_wall_as_stated(tilt_deg):
    # blood fills everything below a plane whose normal is tilted from the lines
    normal = np.array([0, np.sin(np.radians(tilt_deg)), -np.cos(np.radians(tilt_deg))])
    middle = np.array([0.0, 1.3, 19.2])
    blood = Shape(lambda p: np.maximum((p - middle) @ normal, -40.0), np.full(3, -90.0), np.full(3, 90.0))
    line = middle - 25 * normal + np.array([[-3.0, 0, 0], [3, 0, 0]])
    # without a wall filter, and in a fluid that does not echo, power is the share of blood
    phantom = scene(blood, lines={"artery": line}, background="urine")
    flow = replace(CALM, lateral_mm=1.4, axial_mm=0.5, wall_mm_s=0.0)
    found = flow_of(phantom, flow=flow)
    y, z = np.meshgrid(-found.across, found.depth_mm, indexing="ij")
    outside = (np.stack([0 * y, y, z], axis=-1) - middle) @ normal
    sd = np.hypot(1.4 * normal[1], 0.5 * normal[2])
    free = (np.abs(outside) < 2 * sd) & (np.abs(y + 1) < 8) & (np.abs(z - 20) < 12)
    assert free.sum() > 60
    error = found.power[free] - norm.cdf(-outside[free] / sd)
    assert np.sqrt(np.mean(error**2)) < 0.08  # cells are smaller than the blur, not much
    assert abs(error.mean()) < 0.03  # and the wall is met to half a cell
    tail = (np.abs(outside - 2.2 * sd) < 0.4 * sd) & (np.abs(y + 1) < 8) & (np.abs(z - 20) < 12)
    assert found.power[tail].mean() == pytest.approx(norm.cdf(-outside[tail] / sd).mean(), rel=0.4)
    assert norm.ppf(0.3) == pytest.approx(-0.524, abs=1e-3)


@pytest.mark.parametrize("beside_mm", [-0.8, 0.6])
def test_a_vessel_beside_the_plane_is_seen_by_its_share_of_the_slice(beside_mm):
    # the slice is sampled at 0, 1.356 and 2.857 standard deviations, as Gauss and Hermite tell
    way = np.array([0.0, np.cos(0.7), -np.sin(0.7)])
    line = np.array([8.0 + beside_mm, -1.0, 20.0]) + np.array([[-40.0], [40.0]]) * way
    phantom = scene(tube(line, 8.0), lines={"artery": line})
    found = flow_of(phantom, flow=at_speed(300.0, radius=8.0, profile="plug", lateral_mm=0.3, axial_mm=0.2))
    share = {-0.8: 1 - 0.0112574 - 0.2220759, 0.6: 0.2220759 + 0.0112574}[beside_mm]
    assert found.power.max() == pytest.approx(share, abs=1e-4)


def test_no_colour_behind_bone_or_air():
    lid = box((-20.0, 0.0, 6.0), (20.0, 40.0, 9.0))
    line = np.array([(0.4, -50.0, 35.0), (0.4, 55.0, -5.0)])
    for name in ("bone", "air"):
        found = flow_of(scene(tube(line, 4.0), (name, lid), lines={"artery": line}))
        below = found.depth_mm > 12
        right = found.power[found.across > 6][:, below]  # y points to the left
        left = found.power[found.across < -6][:, below]
        assert right.max() > 0.9, name
        assert left.max() == 0, name
    muscle = scene(tube(line, 4.0), ("muscle", lid), lines={"artery": line})
    assert flow_of(muscle).power[:20].max() > 0.9


def test_a_wrong_speed_of_sound_stretches_depth_and_velocity():
    phantom = vessel(40.0)
    flow = at_speed(200.0, profile="plug", elevation_mm=0.4)
    slow = replace(GREY, true_speed_m_s=1400.0)
    found = flow_of(phantom, flow=flow, settings=slow)
    column = np.argmin(np.abs(found.across - 1.0))
    full = found.power[column] > 0.5
    depth = found.depth_mm[full].mean() + 0.0
    assert found.velocity_mm_s[column, full][5] == pytest.approx(200 * np.sin(np.radians(40)) * 1.1, abs=1e-6)
    assert depth == pytest.approx(20.0 * 1.1, abs=0.3)


# ---- flashes -----------------------------------------------------------------------------------------------


def test_tissue_that_moves_is_painted_and_fluid_is_not():
    cyst = sphere((0.0, 9.0, 22.0), 6.0)
    phantom = scene(tube([(0, -90, 20), (0, -80, 20)], 2.0), ("urine", cyst))
    quiet = flow_of(phantom, flow=replace(CALM, tissue_mm_s=0.99 * CALM.wall_mm_s))
    assert quiet.power.max() == 0
    flow = replace(CALM, tissue_mm_s=-70.0)
    found = flow_of(phantom, flow=flow)
    solid = found.power > 1
    assert solid.mean() > 0.7
    np.testing.assert_allclose(found.velocity_mm_s[solid], -70.0, atol=1e-9)
    rgb = angio_of(phantom, flow=flow)
    off = np.linalg.norm(pixel_points(LINEAR) - [0, 9, 22], axis=-1)
    assert not painted(rgb)[off < 2.5].any()
    seen = painted(rgb) & (off > 8)
    assert (rgb[seen][:, 2] > rgb[seen][:, 0]).all()  # blue: away


def test_a_flash_comes_as_often_and_as_fast_as_stated():
    phantom = scene(tube([(0, -90, 20), (0, -80, 20)], 2.0))
    small = replace(LINEAR, width=8.0, depth_mm=(0.5, 10.0))
    flow = replace(
        CALM, flash_chance=0.3, flash_mm_s=90.0, wall_mm_s=1e-6, prf_hz=12000.0, box=(0.1, 0.9, 0, 1)
    )
    found = [flow_of(phantom, small, flow, seed=k) for k in range(300)]
    flashed = np.array([f.power.max() > 1 for f in found])
    assert flashed.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 300))
    n, k = found[0].power.shape
    middle = np.array([f.velocity_mm_s[n // 2, k // 2] for f in found])[flashed]
    assert middle.std() == pytest.approx(90.0, rel=4 / np.sqrt(2 * flashed.sum()))


def test_blood_goes_on_in_a_flash():
    phantom = vessel(40.0, radius=9.0)
    flow = at_speed(200.0, radius=9.0, profile="plug", tissue_mm_s=50.0, elevation_mm=0.4)
    found = flow_of(phantom, flow=flow)
    deep, _ = inside(phantom, LINEAR, found, margin_mm=7.5)
    np.testing.assert_allclose(found.velocity_mm_s[deep], 200 * np.sin(np.radians(40)) + 50, atol=1e-3)


# ---- what it paints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["colour", "power"])
def test_grey_pixels_are_those_of_the_grey_picture_and_painted_ones_are_colour(mode):
    flow = at_speed(300.0, mode=mode, noise=0.02)
    phantom = vessel(40.0)
    rgb = angio_of(phantom, flow=flow, seed=8)
    grey = simulate_frame(phantom, LINEAR, looking_down(LINEAR), rng=np.random.default_rng(8), settings=GREY)
    on = painted(rgb)
    assert rgb.dtype == np.uint8
    assert 0.05 < on.mean() < 0.5
    np.testing.assert_array_equal(rgb[~on], np.repeat(grey[~on][:, None], 3, axis=1))
    assert np.ptp(rgb[on].astype(int), axis=1).min() >= 6
    scale = {tuple(c) for c in flow_colours(mode)}
    assert {tuple(c) for c in rgb[on]} <= scale
    assert np.array_equal(rgb, angio_of(phantom, flow=flow, seed=8))
    _, angio = split_angio(rgb)
    np.testing.assert_array_equal(angio > 0, on)


@pytest.mark.parametrize("mode", ["colour", "power"])
def test_the_scale_is_one_to_one_and_survives_the_grey_pixel_rule(mode):
    scale = flow_colours(mode)
    assert len(np.unique(scale, axis=0)) == 256
    _, angio = split_angio(scale[None])
    assert angio.min() > 0


@pytest.mark.parametrize(("sector", "steer"), [(LINEAR, 0.0), (LINEAR, 18.0), (LINEAR, -12.0), (CURVED, 0.0)])
def test_the_colour_lies_in_the_vessel_and_tells_the_velocity(sector, steer):
    angle = 35.0
    phantom = vessel(angle)
    flow = at_speed(280.0, profile="plug", steer_deg=steer, wall_mm_s=60.0)
    rgb = angio_of(phantom, sector, flow)
    on = painted(rgb)
    points = pixel_points(sector)
    deep = phantom.part("vessel").shape(points)
    assert on.sum() > 1000
    assert deep[on].max() < 1.0

    # each pixel's velocity, read back from its colour
    index = {tuple(c): k for k, c in enumerate(flow_colours("colour"))}
    velocity = (np.array([index[tuple(c)] for c in rgb[on]]) + 0.5) / 128 * NYQUIST - NYQUIST
    if sector.kind == "linear":
        way = np.array([0, -np.sin(np.radians(steer)), np.cos(np.radians(steer))])
        ways = np.tile(way, (on.sum(), 1))
    else:
        ways = points[on] + [0, 0, sector.depth_mm[0]]
        ways /= np.linalg.norm(ways, axis=1)[:, None]
    truth = -280 * ways @ np.array([0, np.cos(np.radians(angle)), -np.sin(np.radians(angle))])
    assert np.abs(velocity - truth).max() < NYQUIST / 256 + (0.0 if sector.kind == "linear" else 12.0) + 1e-6

    # nothing of the vessel in the box is missing
    z = points[..., 2] + sector.depth_mm[0]
    y = points[..., 1]
    if sector.kind == "linear":
        depth, end = points[..., 2] / np.cos(np.radians(steer)), 39.5 / np.cos(np.radians(steer))
        share = (-y - points[..., 2] * np.tan(np.radians(steer))) / 36 + 0.5
    else:
        depth, end, share = np.hypot(y, z) - 18, 42.0, np.arctan2(-y, z) / 0.9 + 0.5
    boxed = (share > 0.105) & (share < 0.795) & (depth > 0.155 * end) & (depth < 0.945 * end)
    boxed &= sector.mask() & (np.abs(share - 0.45) < 0.3)
    if sector.kind == "linear":
        assert on[boxed & (deep < -0.5)].all()
    outside = (share < 0.095) | (share > 0.805) | (depth < 0.145 * end) | (depth > 0.955 * end)
    assert not on[outside].any()


def test_a_vessel_along_the_face_needs_steering():
    phantom = vessel(0.0)
    flow = at_speed(300.0, profile="plug", elevation_mm=0.4)
    assert not painted(angio_of(phantom, flow=flow)).any()
    found = flow_of(phantom, flow=replace(flow, steer_deg=20.0))
    # the blood goes to the left, +y; lines that go to the right see it come
    expected = 300 * np.sin(np.radians(20))
    np.testing.assert_allclose(found.velocity_mm_s[found.power > 0.95], expected, atol=1e-9)
    assert (found.power > 0.95).sum() > 50


def test_power_is_logarithmic_from_the_threshold_to_a_full_cell():
    phantom = vessel(50.0, radius=7.0)
    flow = at_speed(300.0, radius=7.0, mode="power", profile="plug", threshold=0.2, elevation_mm=0.4)
    rgb = angio_of(phantom, flow=flow)
    deep = phantom.part("vessel").shape(pixel_points(LINEAR))
    assert (rgb[painted(rgb) & (deep < -4.5)] == flow_colours("power")[-1]).all()
    edge = np.abs(deep) < 0.05
    index = {tuple(c): k for k, c in enumerate(flow_colours("power"))}
    levels = np.array([index[tuple(c)] for c in rgb[edge & painted(rgb)]])
    # at the wall half of a cell moves, a little less as the wall is curved
    assert levels.mean() / 256 == pytest.approx(1 - np.log(0.5) / np.log(0.2), abs=0.07)


def test_split_angio_is_custusx_rule(rng):
    rgb = rng.integers(0, 256, size=(40, 50, 3), dtype=np.uint8)
    rgb[:20] = rgb[:20, :, :1] + rng.integers(0, 8, size=(20, 50, 3), dtype=np.uint8)
    bmode, angio = split_angio(rgb)
    grey_ones = 0
    for r, g, b, got, kept in zip(*rgb.reshape(-1, 3).T.astype(int), bmode.flat, angio.flat, strict=True):
        assert got == (30 * r + 59 * g + 11 * b) // 100
        grey = int((abs(r - g) + abs(r - b) + abs(g - b)) / 3) <= 3
        grey_ones += grey
        assert kept == (0 if grey else got)
    assert 300 < grey_ones < 1000
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(split_angio(every)[0][0], np.arange(256))
    both = split_angio(np.stack([rgb, rgb[::-1]]))
    np.testing.assert_array_equal(both[1][1], angio[::-1])


def test_a_sweep_gives_both_channels(rng):
    tool = pose_from(Rotation.identity(), [0, 0, -LINEAR.depth_mm[0]])
    poses = np.stack([tool, tool])
    poses[1, 0, 3] = 1.5
    pr_M_d = pose_from(Rotation.from_rotvec([0.2, 0.1, -0.4]), [5.0, 6, 7])
    flow = at_speed(300.0)
    bmode, angio = simulate_angio_sweep(
        vessel(40.0), LINEAR, pr_M_d @ poses, [0.0, 0.1],
        rng=np.random.default_rng(8), pr_M_d=pr_M_d, settings=GREY, flow=flow, name="neck",
    )  # fmt: skip
    first = split_angio(angio_of(vessel(40.0), flow=flow, seed=8))
    assert np.mean(bmode.frames[0] != first[0]) < 1e-3  # the pose went to and fro
    assert np.mean(angio.frames[0] != first[1]) < 1e-3
    assert (bmode.name, angio.name) == ("neck", "neck angio")
    np.testing.assert_allclose(angio.pr_M_p, pr_M_d @ poses @ LINEAR.t_M_p())
    assert (angio.frames[1] > 0).mean() > 0.05
    assert np.mean(angio.frames[0] != angio.frames[1]) > 0.001


def test_bad_settings_say_what_is_wrong():
    with pytest.raises(ValueError, match="expected at most 10 mm with a PRF of 77000 Hz"):
        flow_of(vessel(40.0), flow=replace(CALM, prf_hz=77000.0))
    with pytest.raises(ValueError, match="only the lines of a linear array"):
        flow_of(vessel(40.0), CURVED, replace(CALM, steer_deg=10.0))
    with pytest.raises(ValueError, match="left < right"):
        FlowSettings(box=(0.8, 0.2, 0.0, 1.0))
    with pytest.raises(ValueError, match="mode is 'angio'"):
        FlowSettings(mode="angio")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold is"):
        FlowSettings(threshold=1.5)
    with pytest.raises(ValueError, match=r"expected uint8 \(\.\.\., height, width, 3\)"):
        split_angio(np.zeros((4, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"points_d has shape \(3,\)"):
        flow_velocity(vessel(40.0), [0.0, 0, 0])
