"""Aorta and airway: what the labels show, measured anew, is what the phantom says of itself."""

from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist, pdist

from navkit.phantoms import AIRWAY_BOUNDS, AORTA_BOUNDS, airway, aorta, tube, union
from navkit.phantoms._phantom import drawn
from navkit.phantoms._shapes import NEAR_MM, gathered

SEEDS = range(20)


@cache
def made(make, seed):
    return make(seed=seed)


ARTERY = ("artery wall", "thrombus", "lumen")


def is_part(phantom, points, *names):
    """Where the points are in parts of these names."""
    index = [k for k, part in enumerate(phantom.parts, start=1) if part.name in names]
    assert len(index) == len(names)
    # later parts win, so the earlier ones need not be asked
    first = min(index) - 1
    return np.isin(replace(phantom, parts=phantom.parts[first:]).labels(points) + first, index)


def plane(at, normal, reach, step=0.25):
    """Points (n, 2) in a plane and in space (n, 3)."""
    normal = np.asarray(normal) / np.linalg.norm(normal)
    across = np.linalg.svd(normal[None])[2][1:]
    t = np.arange(-reach, reach + step / 2, step)
    uv = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
    return uv, np.asarray(at) + uv @ across


def longest(phantom, at, normal, reach, *names):
    uv, points = plane(at, normal, reach)
    inside = uv[is_part(phantom, points, *names)]
    return pdist(inside[ConvexHull(inside).vertices]).max()


def diameter_of_area(phantom, at, normal, reach, *names):
    step = reach / 100
    uv, points = plane(at, normal, reach, step)
    ring = np.linalg.norm(uv, axis=1) < reach
    return 2 * np.sqrt(is_part(phantom, points[ring], *names).sum() * step**2 / np.pi)


def direction_at(line, at):
    """Of the piece of the polyline whose middle is nearest to the point."""
    middles = (line[1:] + line[:-1]) / 2
    return np.diff(line, axis=0)[np.linalg.norm(middles - at, axis=1).argmin()]


def angle_deg(a, b):
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


def length(line):
    return np.linalg.norm(np.diff(line, axis=0), axis=1).sum()


@pytest.mark.parametrize("make", [aorta, airway])
def test_a_seed_is_a_case(rng, make):
    a, again, b = make(seed=3), make(seed=3), make(seed=4)
    points = rng.uniform([-60, -40, -110], [100, 50, 40], size=(20000, 3))
    assert np.array_equal(a.labels(points), again.labels(points))
    assert a.measures == again.measures
    assert a.landmarks == again.landmarks
    assert (a.labels(points) != b.labels(points)).mean() > 1e-3
    same = [name for name in a.measures if a.measures[name] == b.measures[name]]
    assert set(same) <= {"right_main_diameter_mm", "left_main_diameter_mm", "nodule_distance_mm"}


@pytest.mark.parametrize(("make", "bounds"), [(aorta, AORTA_BOUNDS), (airway, AIRWAY_BOUNDS)])
def test_seed_0_is_the_reference_and_others_are_within_bounds_and_use_them(make, bounds):
    for name in bounds.keys() & make().measures.keys():
        assert make().measures[name] == pytest.approx(bounds[name][0])
    cases = [drawn(bounds, seed) for seed in range(200)]
    for name, (middle, half) in bounds.items():
        values = np.array([case[name] for case in cases[1:]])
        assert np.abs(values - middle).max() <= half
        assert values.max() > middle + 0.9 * half
        assert values.min() < middle - 0.9 * half
    measured = [made(make, seed).measures for seed in SEEDS]
    assert all(
        m[n] == pytest.approx(c[n]) for m, c in zip(measured, cases, strict=False) for n in c if n in m
    )


def test_the_reference_cases_are_those_of_the_design():
    m = aorta().measures
    assert [m[f"{n}_diameter_mm"] for n in ("sac", "lumen", "iliac")] == [55, 20, 12]
    assert (m["angulation_deg"], m["bifurcation_deg"]) == (30, 60)
    m = airway().measures
    assert [m[f"{n}_diameter_mm"] for n in ("trachea", "right_main", "left_main", "nodule")] == [
        18,
        12,
        11,
        15,
    ]
    assert (m["right_deg"], m["left_deg"]) == (35, 45)


@pytest.mark.parametrize("seed", [0, 2, 16, 54])
def test_the_sac_is_as_wide_as_stated_across_its_centreline_and_wider_in_an_axial_slice(seed):
    case = made(aorta, seed)
    at, m = np.array(case.landmarks["sac"]), case.measures
    along = direction_at(case.centrelines["aorta"], at)
    assert longest(case, at, along, 45, *ARTERY) == pytest.approx(m["sac_diameter_mm"], abs=0.5)
    assert longest(case, at, [0, 0, 1], 45, *ARTERY) == pytest.approx(m["axial_diameter_mm"], abs=0.5)
    # as a cylinder would, at most
    cylinder = m["sac_diameter_mm"] / np.cos(np.radians(m["angulation_deg"]))
    assert 0.97 * cylinder < m["axial_diameter_mm"] <= cylinder + 1e-9
    assert seed != 54 or m["axial_diameter_mm"] == pytest.approx(cylinder)
    assert diameter_of_area(case, at, along, 45, "lumen") == pytest.approx(
        m["sac_lumen_diameter_mm"], abs=0.2
    )


@pytest.mark.parametrize("seed", [0, 5])
def test_lumens_neck_and_angles_are_those_in_the_labels(seed):
    case = made(aorta, seed)
    m, lines = case.measures, case.centrelines
    end = np.array(case.landmarks["neck end"])
    assert diameter_of_area(case, end / 2, [0, 0, 1], 16, "lumen") == pytest.approx(
        m["lumen_diameter_mm"], abs=0.05
    )
    for side in ("left", "right"):
        line = lines[f"{side} iliac"]
        across = diameter_of_area(case, line.mean(axis=0), line[1] - line[0], 12, "lumen")
        assert across == pytest.approx(m["iliac_diameter_mm"], abs=0.05)
        ostium = np.array(case.landmarks[f"{side} renal ostium"])
        assert np.linalg.norm(ostium[:2]) == pytest.approx(m["lumen_diameter_mm"] / 2)
    between = [np.diff(lines[f"{side} iliac"], axis=0)[0] for side in ("left", "right")]
    assert angle_deg(*between) == pytest.approx(m["bifurcation_deg"])

    # the neck: from where the lower renal artery's lumen ends to where the artery is a tenth wider
    outwards = np.array(case.landmarks["right renal ostium"]) * 1.3
    z = np.arange(0, -60, -0.1)
    column = outwards + z[:, None] * [0, 0, 1]
    start = z[is_part(case, column, "lumen") & (z > -10)].min()
    outer = diameter_of_area(case, (0, 0, -8), [0, 0, 1], 16, *ARTERY) / 2
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = 1.1 * outer * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    wider = is_part(case, ring + z[80:, None, None] * [0, 0, 1], *ARTERY).mean(axis=1) > 0.5
    finish = z[80:][wider].max()
    assert start - finish == pytest.approx(m["neck_length_mm"], abs=1.0)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_lumens_centroids_give_angulation_and_length(seed):
    case = made(aorta, seed)
    fork = np.array(case.landmarks["bifurcation"])

    def centroid(z):
        near = case.centrelines["aorta"][np.abs(case.centrelines["aorta"][:, 2] - z).argmin()]
        _, points = plane([near[0], near[1], z], [0, 0, 1], 22, 0.5)
        return points[is_part(case, points, "lumen")].mean(axis=0)

    sac_z = case.landmarks["sac"][2]
    neck = centroid(-18) - centroid(-5)
    sac = centroid(sac_z - 3) - centroid(sac_z + 3)
    assert angle_deg(neck, sac) == pytest.approx(case.measures["angulation_deg"], abs=1.5)
    path = np.array([(0, 0, 0), *(centroid(z) for z in np.arange(-5, fork[2] + 10, -3.0)), fork])
    assert length(path) == pytest.approx(case.measures["centreline_length_mm"], rel=0.015)


@pytest.mark.parametrize("seed", [0, 9])
def test_the_arteries_are_one_tree_about_their_centrelines_inside_their_wall(rng, seed):
    case = made(aorta, seed)
    only = replace(case, parts=(case.part("lumen"),))
    _, count = label(only.voxels(1.5).labels, structure=np.ones((3, 3, 3)))
    assert count == 1
    arteries = {k: line for k, line in case.centrelines.items() if k != "vena cava"}
    assert len(arteries) == 5
    for line in arteries.values():
        share = np.linspace(0, 1, 20)[:, None]
        points = np.concatenate([a + share * (b - a) for a, b in pairwise(line)])
        assert is_part(case, points, "lumen").all()
    points = rng.uniform([-40, -45, -150], [60, 40, 40], size=(40000, 3))
    off = case.part("lumen").shape(points)
    beside = points[(off > 0.1) & (off < 1.4)]
    assert len(beside) > 300
    assert is_part(case, beside, "artery wall", "thrombus").all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_artery_keeps_clear_of_spine_vein_and_skin(rng, seed):
    case = made(aorta, seed)
    points = rng.uniform([-45, -60, -160], [70, 40, 20], size=(30000, 3))
    inside = points[case.part("artery wall").shape(points) < 0]
    assert len(inside) > 1000
    assert case.part("discs").shape(inside).min() > 0.5
    assert case.part("vena cava").shape(inside).min() > 0.5
    assert case.part("abdominal fat").shape(inside).max() < -3


def generation(name):
    return 0 if name == "trachea" else len(name)


def parent(name):
    return None if name == "trachea" else name[:-1] or "trachea"


def lumen_radius(name, trachea):
    return trachea if name == "trachea" else {"R": 6.0, "L": 5.5}[name[0]] * 0.8 ** (len(name) - 1)


@pytest.mark.parametrize("seed", [0, 11])
def test_airways_have_the_stated_radii_lengths_and_angles(seed):
    case = made(airway, seed)
    lines, m = case.centrelines, case.measures
    shown = [n for n in ("trachea", "R", "L", "R1", "L2", "R12", "L211", "R2121", "L1222") if n in lines]
    assert len(shown) >= 8
    for name in shown:
        r = lumen_radius(name, m["trachea_diameter_mm"] / 2)
        line = lines[name]
        across = diameter_of_area(case, line.mean(axis=0), line[-1] - line[0], 1.4 * r, "airway")
        assert across == pytest.approx(2 * r, rel=0.01)
        wall = diameter_of_area(case, line.mean(axis=0), line[-1] - line[0], 1.4 * r, "airway", "airway wall")
        assert wall == pytest.approx(2.44 * r, rel=0.01)
    way = {name: line[-1] - line[0] for name, line in lines.items()}
    assert angle_deg(way["trachea"], way["R"]) == pytest.approx(m["right_deg"])
    assert angle_deg(way["trachea"], way["L"]) == pytest.approx(m["left_deg"])
    assert way["R"][0] < 0 < way["L"][0]
    assert (length(lines["R"]), length(lines["L"]), length(lines["L1"])) == pytest.approx((28, 46, 32))
    for name in lines:
        if generation(name) >= 3:
            assert length(lines[name]) == pytest.approx(0.8 * length(lines[parent(name)]))
    assert max(map(generation, lines)) == 5


@pytest.mark.parametrize("seed", [0, 12])
def test_the_airway_is_one_tree_with_centrelines_in_its_air(seed):
    case = made(airway, seed)
    for name, line in case.centrelines.items():
        if name != "trachea":
            assert np.array_equal(line[0], case.centrelines[parent(name)][-1])
        assert np.linalg.norm(np.diff(line, axis=0), axis=1).max() <= 1 + 1e-9
        assert is_part(case, line, "airway").all()
    only = replace(case, parts=(case.part("airway"),))
    _, count = label(only.voxels(2.0).labels, structure=np.ones((3, 3, 3)))
    assert count == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_airways_nodes_and_nodule_keep_apart(rng, seed):
    case = made(airway, seed)
    lines = {name: line[::2] for name, line in case.centrelines.items()}
    for a, b in combinations(lines, 2):
        if parent(a) == b or parent(b) == a or parent(a) == parent(b):
            continue
        walls = 1.22 * (lumen_radius(a, 9.75) + lumen_radius(b, 9.75))
        assert cdist(lines[a], lines[b]).min() > walls + 1.0, (a, b)
    wall, nodule = case.part("airway wall").shape, case.part("nodule").shape
    for name in ("node 4R", "node 4L", "node 7", "node 10R", "node 11L"):
        node = case.part(name).shape
        points = rng.uniform(node.low, node.high, size=(2000, 3))
        inside = points[node(points) < 0]
        assert 1.3 < wall(inside).min() < 3.0
        assert nodule(inside).min() > 3
        assert is_part(case, inside, name).all()
    assert wall([case.landmarks["nodule"]])[0] > case.measures["nodule_diameter_mm"] / 2 + 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_are_at_their_stations(seed):
    case = made(airway, seed)
    at = {name: np.array(p) for name, p in case.landmarks.items()}
    down = case.centrelines["trachea"][-1] - case.centrelines["trachea"][0]
    down = down / np.linalg.norm(down)
    below = {name: (p - at["carina"]) @ down for name, p in at.items()}
    assert -35 < below["4R"] < 0
    assert -35 < below["4L"] < 0
    assert 0 < below["7"] < 40
    middle = {name: line.mean(axis=0) for name, line in case.centrelines.items()}
    assert at["4R"][0] < at["carina"][0] - 8
    assert at["4L"][0] > at["carina"][0] + 8
    assert middle["R"][0] < at["7"][0] < middle["L"][0]
    assert at["10R"][0] < middle["R"][0]
    assert at["10R"][2] > middle["R"][2]
    fork = case.centrelines["L"][-1]
    assert at["11L"][1] < fork[1] - 8
    assert np.linalg.norm(at["11L"] - fork) < 16


@pytest.mark.parametrize("seed", SEEDS)
def test_the_route_to_the_nodule_is_as_long_as_stated(seed):
    case = made(airway, seed)
    lines, at = case.centrelines, np.array(case.landmarks["nodule"])
    near = {name: np.linalg.norm(line - at, axis=1).min() for name, line in lines.items()}
    target = min(near, key=near.get)
    assert generation(target) == 4
    assert target + "1" not in lines
    assert near[target] == pytest.approx(case.measures["nodule_distance_mm"])
    assert lines[target][-1] == pytest.approx(case.landmarks["route end"])
    way, name = 0.0, target
    while name is not None:
        way, name = way + length(lines[name]), parent(name)
    assert way == pytest.approx(case.measures["route_length_mm"])
    around = at + 11 * np.vstack([np.eye(3), -np.eye(3)])
    assert is_part(case, around, "right lung", "left lung", "airway wall", "airway").all()


def test_the_nodule_has_its_size_and_not_always_the_same_place():
    case = airway()
    shown = case.voxels(
        0.4, low=np.array(case.landmarks["nodule"]) - 10, high=np.array(case.landmarks["nodule"]) + 10
    )
    names = [t.name for t in shown.tissues]
    volume = (shown.labels == names.index("lung nodule")).sum() * 0.4**3
    assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(case.measures["nodule_diameter_mm"], abs=0.05)
    sides = [made(airway, seed).landmarks["nodule"][0] < 0 for seed in SEEDS]
    assert 3 < sum(sides) < 17


def test_gathered_is_the_union_near_its_surface_and_never_too_long(rng):
    pipes = [tube(rng.uniform(-30, 30, size=(2, 3)), rng.uniform(1, 3)) for _ in range(7)]
    points = rng.uniform(-60, 60, size=(20000, 3))
    fast, exact = gathered(gathered(*pipes[:4]), *pipes[4:])(points), union(*pipes)(points)
    near = exact < NEAR_MM - 1e-9
    assert near.any()
    assert fast[near] == pytest.approx(exact[near])
    assert (fast <= exact + 1e-9).all()
    assert fast[~near].min() > NEAR_MM - 1e-6
