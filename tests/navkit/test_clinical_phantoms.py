"""Every case is as its docstring says: measured on its labels, over many seeds."""

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, maximum_filter
from scipy.spatial import cKDTree

from navkit.phantoms import Phantom, sphere, tube, union
from navkit.phantoms._abdomen import kidney, liver
from navkit.phantoms._airway import airway
from navkit.phantoms._aorta import aorta
from navkit.phantoms._brain import brain_shift, undo_brain_shift
from navkit.phantoms._neuro import neuro
from navkit.phantoms._orbit import orbit
from navkit.phantoms._rays import random_points_in, ray_lengths, star_surface
from navkit.phantoms._shapes import pipes
from navkit.phantoms._vessels import VesselTree, _clear_of, grow_tree

CASES = [neuro, liver, kidney, orbit]
SEEDS = range(20)


def names_at(case: Phantom, points) -> list[str]:
    """The name of the part at every point."""
    names = ["background", *(part.name for part in case.parts)]
    return [names[k] for k in np.atleast_1d(case.labels(points))]


def near(case: Phantom, name: str, spacing: float):
    """(mask, points) of one part on a grid that is just as big."""
    shape = case.part(name).shape
    grid = case.voxels(spacing, low=shape.low - 1.3, high=shape.high + 1.3)
    k = 1 + [part.name for part in case.parts].index(name)
    where = np.argwhere(grid.labels == k)[:, ::-1]
    return grid.labels == k, grid.origin_mm + where * spacing


def points_of(case: Phantom, name: str, spacing: float, low, high):
    """Middles of the voxels of one part, between two corners."""
    shape = case.part(name).shape
    axes = (
        np.arange(a, b, spacing)
        for a, b in zip(np.maximum(shape.low, low), np.minimum(shape.high, high), strict=True)
    )
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
    return grid[shape(grid) < 0]


@pytest.fixture(scope="module")
def reference():
    return {make.__name__: make() for make in CASES}


# ---------------------------------------------------------------- the same, and different


@pytest.mark.parametrize("make", CASES)
def test_a_seed_is_one_case_and_two_seeds_are_two(rng, make):
    one, same, other = make(seed=7), make(seed=7), make(seed=8)
    p = rng.uniform(one.low, one.high, size=(20_000, 3))
    assert np.array_equal(one.labels(p), same.labels(p))
    assert one.measures == same.measures
    assert one.landmarks == same.landmarks
    assert all(np.array_equal(line, same.centrelines[name]) for name, line in one.centrelines.items())
    assert (one.labels(p) != other.labels(p)).mean() > 0.005
    shared = one.measures.keys() & other.measures.keys()
    assert sum(one.measures[k] != other.measures[k] for k in shared) >= 2


@pytest.mark.parametrize("make", CASES)
def test_a_case_is_whole(make):
    case = make(seed=3)
    assert len(case.landmarks) >= 5
    assert len({part.name for part in case.parts}) == len(case.parts)
    units = ("_mm", "_ml", "_deg")
    assert all(name.endswith(units) and np.isfinite(value) for name, value in case.measures.items())
    for p in (*case.landmarks.values(), *case.fiducials):
        assert (np.array(p) > case.low).all()
        assert (np.array(p) < case.high).all()


# ---------------------------------------------------------------- measures against labels

VOLUMES = [
    (neuro, "tumour", "tumour_volume_ml"),
    (liver, "lesion 1", "lesion_1_volume_ml"),
    (liver, "lesion 2", "lesion_2_volume_ml"),
    (liver, "lesion 3", "lesion_3_volume_ml"),
    (kidney, "cyst", "cyst_volume_ml"),
    (kidney, "tumour", "tumour_volume_ml"),
]


@pytest.mark.parametrize(("make", "part", "measure"), VOLUMES)
def test_a_volume_is_what_its_voxels_count_to(reference, make, part, measure):
    case = reference[make.__name__]
    for spacing, share in ((1.0, 0.02), (0.5, 0.004)):
        mask, _ = near(case, part, spacing)
        assert mask.sum() * spacing**3 / 1000 == pytest.approx(case.measures[measure], rel=share)


def test_the_globe_is_what_its_voxels_count_to(reference):
    case = reference["orbit"]
    shape = case.part("sclera").shape
    grid = np.stack(
        np.meshgrid(*[np.arange(a, b, 0.4) for a, b in zip(shape.low, shape.high, strict=True)]), -1
    )
    assert (shape(grid) < 0).sum() * 0.4**3 / 1000 == pytest.approx(
        case.measures["globe_volume_ml"], rel=0.004
    )


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_sheath_and_nerve_have_their_diameters_3_mm_behind_the_globe(seed):
    case = orbit(seed=seed)
    at = np.array(case.landmarks["optic nerve 3 mm behind the globe"])
    pole = np.array(case.landmarks["back pole"])
    way = (at - pole) / np.linalg.norm(at - pole)
    assert np.linalg.norm(at - pole) == pytest.approx(3.0, abs=1e-9)
    assert case.part("sclera").shape(pole) == pytest.approx(0, abs=1e-9)
    assert np.degrees(np.arccos(way[1])) == pytest.approx(case.measures["nerve_angle_deg"], abs=1e-6)
    across = np.cross(way, [0.3, -0.2, 0.9])
    across /= np.linalg.norm(across)
    far = np.arange(0.005, 6, 0.01)
    for turn in np.linspace(0, 2 * np.pi, 9):
        out = np.cos(turn) * across + np.sin(turn) * np.cross(way, across)
        found = names_at(case, at + far[:, None] * out)
        for last, measure in (
            ("optic nerve", "nerve_diameter_3mm_mm"),
            ("optic nerve sheath", "sheath_diameter_3mm_mm"),
        ):
            edge = len(found) - found[::-1].index(last)
            assert 2 * 0.01 * edge == pytest.approx(case.measures[measure], abs=0.021)


@pytest.mark.parametrize("seed", [0, 6])
def test_the_tumour_is_as_deep_as_it_is_said(seed):
    case = neuro(seed=seed)
    cortex, middle = (np.array(case.landmarks[k]) for k in ("cortex under the craniotomy", "tumour"))
    way = (middle - cortex) / np.linalg.norm(middle - cortex)
    steps = np.arange(0.01, 30, 0.02)
    depth = steps[names_at(case, cortex + steps[:, None] * way).index("tumour")]
    assert depth == pytest.approx(case.measures["tumour_depth_mm"], abs=0.03)


@pytest.mark.parametrize(
    ("make", "one", "others", "measure"),
    [
        (neuro, "tumour", ["cerebral arteries"], "tumour_to_vessel_mm"),
        (neuro, "tumour", ["ventricles"], "tumour_to_ventricle_mm"),
        (liver, "lesion 1", ["portal vein", "hepatic vein"], "lesion_1_to_vessel_mm"),
        (liver, "lesion 3", ["portal vein", "hepatic vein"], "lesion_3_to_vessel_mm"),
        (kidney, "tumour", ["sinus"], "tumour_to_sinus_mm"),
    ],
)
def test_a_least_distance_is_that_of_the_nearest_voxels(reference, make, one, others, measure):
    case, spacing = reference[make.__name__], 0.6
    these = points_of(case, one, spacing, case.low, case.high)
    reach = case.measures[measure] + 3
    those = np.concatenate(
        [
            points_of(case, other, spacing, these.min(axis=0) - reach, these.max(axis=0) + reach)
            for other in others
        ]
    )
    found = cKDTree(those).query(these)[0].min()
    # middles of voxels are inside both, each by no more than half a diagonal
    assert case.measures[measure] - 0.02 <= found <= case.measures[measure] + 1.1 * np.sqrt(3) * spacing


def test_the_kidney_is_as_long_as_its_labels(reference):
    case = reference["kidney"]
    z = np.arange(-80, 80, 0.05)
    found = np.array(names_at(case, np.stack([0 * z, 0 * z, z], axis=1)))
    inside = z[np.isin(found, ["cortex", "pyramids", "sinus"])]
    assert np.ptp(inside) == pytest.approx(case.measures["kidney_length_mm"], abs=0.11)


# ---------------------------------------------------------------- what lies in what


LANDMARKS = {
    neuro: {
        "tumour": {"tumour"},
        "artery fork": {"cerebral arteries"},
        "left frontal horn": {"ventricles"},
        "right frontal horn": {"ventricles"},
        "left atrium": {"ventricles"},
        "right atrium": {"ventricles"},
    },
    liver: {
        "portal bifurcation": {"portal vein"},
        "hepatic vein confluence": {"hepatic vein"},
        "caval end of the hepatic vein": {"hepatic vein"},
        "gallbladder fundus": {"gallbladder"},
        "gallbladder neck": {"gallbladder"},
        "lesion 1": {"lesion 1"},
        "lesion 2": {"lesion 2"},
    },
    kidney: {
        "upper pole": {"cortex"},
        "lower pole": {"cortex"},
        "hilum": {"sinus", "renal vein", "renal artery"},
        "sinus": {"sinus"},
        "cyst": {"cyst"},
        "tumour": {"tumour"},
    },
    orbit: {
        "middle of the globe": {"vitreous"},
        "lens": {"lens"},
        "cornea": {"sclera"},
        "optic nerve 3 mm behind the globe": {"optic nerve"},
        "orbital apex": {"optic nerve"},
    },
}


@pytest.mark.parametrize("make", CASES)
def test_landmarks_are_in_the_parts_that_they_name(make):
    for seed in (0, 1, 2):
        case = make(seed=seed)
        for name, parts in LANDMARKS[make].items():
            assert names_at(case, case.landmarks[name])[0] in parts, (seed, name)


def test_the_nerve_is_in_its_sheath_and_the_lens_in_the_globe(rng):
    case = orbit(seed=4)
    inner = {
        "optic nerve": ["subarachnoid space", "sclera"],
        "subarachnoid space": ["optic nerve sheath"],
        "lens": ["sclera"],
        "vitreous": ["sclera"],
    }
    for name, outer in inner.items():
        p = random_points_in(case.part(name).shape, 3000, rng=rng)
        assert (np.min([case.part(o).shape(p) for o in outer], axis=0) < 1e-9).all(), name
    line = case.centrelines["optic nerve"]
    assert set(names_at(case, line[1:])) == {"optic nerve"}


def test_a_head_has_its_layers_in_order(reference):
    case = reference["neuro"]
    far = np.arange(0, 110, 0.2)
    for way in ([0.2, -1, 0.1], [-1, 0.3, 0.2], [-0.5, 0.5, -0.8]):
        found = names_at(case, far[:, None] * np.array(way) / np.linalg.norm(way))
        shells = ["subarachnoid space", "dura", "skull", "skin", "background"]
        ends = [len(found) - found[::-1].index(name) for name in shells]
        assert ends == sorted(ends)
        thick = np.diff(ends)[:3] * 0.2
        assert thick == pytest.approx([1.0, 6.5, 5.0], rel=0.25)
    cortex = np.array(case.landmarks["cortex under the craniotomy"])
    out = cortex - case.landmarks["tumour"]
    out /= np.linalg.norm(out)
    found = names_at(case, cortex + np.arange(0.3, 14, 0.1)[:, None] * out)
    assert set(found) <= {"subarachnoid space", "dura", "craniotomy", "background"}
    assert found.count("craniotomy") > 80


def test_grey_matter_is_a_ribbon_of_3_mm_about_the_white(reference, rng):
    case = reference["neuro"]
    white, hull = case.part("white matter").shape, case.part("grey matter").shape
    p = random_points_in(hull, 20_000, rng=rng)
    inside = white(p) < 0
    assert 0.4 < inside.mean() < 0.75
    assert hull(p[inside]).max() < -2.99
    wet = case.part("sulci").shape(p) < 0
    assert not (inside & wet).any()


def test_sulci_are_2_to_4_mm_wide_and_8_to_20_mm_deep(reference):
    case = reference["neuro"]
    low = np.array([18.0, -75.0, 20.0])
    grid = case.voxels(0.5, low=low, high=low + [45, 70, 36])
    names = [part.name for part in case.parts]
    cleft = np.isin(grid.labels, [1 + names.index(n) for n in ("sulci", "pia in the sulci")])
    z, y, x = (grid.origin_mm[i] + 0.5 * np.arange(cleft.shape[2 - i]) for i in (2, 1, 0))
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    under = -case.part("grey matter").shape(np.stack([xx, yy, zz], axis=-1))
    off_midline = xx > 8
    assert under[cleft & off_midline].max() < 20.5
    assert np.percentile(under[cleft & off_midline], 98) > 14
    half = distance_transform_edt(cleft) * 0.5
    ridge = cleft & (half == maximum_filter(half, 5)) & (under > 5) & (under < 9) & (half > 0.5)
    assert 2.0 < 2 * np.median(half[ridge]) < 4.0
    shell = (under > 3) & (under < 8) & off_midline
    assert 0.12 < cleft[shell].mean() < 0.45


def test_fiducials_are_on_the_skin_and_clear_of_the_window():
    for seed in (0, 2, 9):
        case = neuro(seed=seed)
        assert case.fiducials.shape == (7, 3)
        assert case.part("skin").shape(case.fiducials) == pytest.approx(0, abs=1e-6)
        middle = case.fiducials.mean(axis=0)
        assert set(names_at(case, case.fiducials + 0.02 * (middle - case.fiducials))) == {"skin"}
        off = case.fiducials - case.landmarks["cortex under the craniotomy"]
        assert np.linalg.norm(off, axis=1).min() > 38
        # spread in every direction, so that no axis of a rotation is left open
        assert np.linalg.svd(case.fiducials - middle)[1].min() > 55


# ---------------------------------------------------------------- vessels


def trees_of(case, name):
    return [line for key, line in case.centrelines.items() if key.startswith(name)]


def test_both_trees_are_in_the_liver_and_do_not_meet(rng):
    case = liver(seed=2)
    organ, cava = case.part("liver").shape, case.part("vena cava").shape
    lines = trees_of(case, "portal vein")
    along = np.concatenate(lines[1:])
    past_the_porta = np.linalg.norm(along - case.landmarks["portal bifurcation"], axis=1) > 10
    assert organ(along[past_the_porta]).max() < -3
    hepatic = np.concatenate(trees_of(case, "hepatic vein"))
    assert np.minimum(organ(hepatic) + 2, cava(hepatic)).max() < 0
    assert len(lines) > 30
    assert len(trees_of(case, "hepatic vein")) > 15
    a, b = (random_points_in(case.part(f"{n} vein").shape, 4000, rng=rng) for n in ("portal", "hepatic"))
    least = cKDTree(a).query(b)[0].min()
    assert 2 <= case.measures["portal_to_hepatic_mm"] < least < case.measures["portal_to_hepatic_mm"] + 2


def test_radii_follow_murrays_law_and_branches_cover_the_tree(rng):
    ball = sphere((4, -3, 10), 30)
    tree = grow_tree((4, -3, -22), ball, rng=rng, targets=60, tip_radius_mm=0.5)
    assert (tree.parent[1:] < np.arange(1, len(tree.nodes))).all()
    cubes = np.zeros(len(tree.nodes))
    np.add.at(cubes, tree.parent[1:], tree.radius[1:] ** 3)
    inner = np.unique(tree.parent[1:])
    assert np.cbrt(cubes[inner]) == pytest.approx(tree.radius[inner])
    tips = np.setdiff1d(np.arange(len(tree.nodes)), inner)
    assert tree.radius[tips] == pytest.approx(0.5)
    assert len(tips) > 20
    assert sum(len(line) - 1 for line in tree.branches()) == len(tree.nodes) - 1
    assert ball(tree.nodes[20:]).max() < -2
    other = grow_tree((4, 20, 33), ball, rng=rng, targets=60, tip_radius_mm=0.4, avoid=tree, gap_mm=1.5)
    ends = np.linspace(0, 1, 11)[:, None, None]
    along = other.nodes[other.parent[1:]] * (1 - ends) + other.nodes[1:] * ends
    gap = tree.clearance(along.reshape(-1, 3)) - np.tile(other.radius[1:], 11)
    assert gap.min() >= 1.5
    assert len(other.nodes) > 20
    with pytest.raises(ValueError, match="lies on the tree"):
        grow_tree(tree.nodes[5], ball, rng=rng, targets=60, tip_radius_mm=0.4, avoid=tree)


def test_what_crosses_another_tree_is_cut_off_with_all_that_hangs_on_it():
    far = np.arange(0, 40, 2.0)
    stay = VesselTree(np.stack([far, 0 * far, 0 * far], 1), np.arange(20) - 1, np.full(20, 1.5))
    # along z, through the other at z = 0; a twig leaves before it
    z = np.arange(-20, 22, 2.0)
    nodes = np.concatenate([np.stack([0 * z + 15, 0 * z + 0.5, z], 1), [(15, 3, -13), (15, 6, -13)]])
    parent = np.concatenate([np.arange(21) - 1, [3, 21]])
    cut = _clear_of(VesselTree(nodes, parent, np.full(23, 1.0)), stay, 2.0, 0.8)
    # walls of 1.0 and 1.5, a gap of 2, and half of the longest segment
    assert cut.nodes[:, 2].max() == pytest.approx(-6.5 + 0.5, abs=0.51)
    assert {tuple(p) for p in cut.nodes} >= {(15, 3, -13), (15, 6, -13), (15, 0.5, -20)}
    assert cut.radius[0] == pytest.approx(0.8 * 2 ** (1 / 3))
    assert (stay.clearance(cut.nodes) > 2.8).all()


def test_many_pipes_are_the_union_of_tubes_up_to_their_reach(rng):
    a = rng.uniform(-20, 20, size=(40, 3)) * [1, 0.6, 1.4]
    b, r = a + rng.normal(size=(40, 3)) * 5, rng.uniform(0.5, 2.5, 40)
    plain = union(*(tube([x, y], s) for x, y, s in zip(a, b, r, strict=True)))
    p = rng.uniform(-40, 40, size=(20_000, 3))
    fast = pipes(a, b, r, reach_mm=4.0)
    assert fast(p) == pytest.approx(np.minimum(plain(p), 4.0))
    inside = p[fast(p) < 0]
    assert len(inside) > 50
    assert (inside > fast.low).all()
    assert (inside < fast.high).all()


def test_rays_and_volumes_are_those_of_a_ball():
    ball = sphere((3, -4, 5), 7.0)
    way = np.array([[0.6, 0, 0.8], [0, -1, 0]])
    off = np.array([2.0, 0.5, -1.0])
    along = way @ off
    exact = -along + np.sqrt(along**2 + 49 - off @ off)
    assert ray_lengths(ball, np.array([3, -4, 5]) + off, way) == pytest.approx(exact, abs=1e-9)
    points, volume = star_surface(ball, np.array([3, -4, 5]) + off)
    assert ball(points) == pytest.approx(0, abs=1e-9)
    assert volume == pytest.approx(4 / 3 * np.pi * 0.343, rel=1e-3)
    with pytest.raises(ValueError, match="no room"):
        random_points_in(ball, 5, rng=np.random.default_rng(0), margin_mm=8.0)


# ---------------------------------------------------------------- brain shift


def test_brain_shift_is_undone_exactly_and_leaves_the_skull_base(rng):
    for seed, depth in ((0, 8.0), (3, 20.0)):
        case = neuro(seed=seed)
        hull = case.part("grey matter").shape
        p = random_points_in(hull, 5000, rng=rng)
        after = brain_shift(p, depth_mm=depth, seed=seed)
        assert undo_brain_shift(after, depth_mm=depth, seed=seed) == pytest.approx(p, abs=1e-6)
        assert brain_shift(
            undo_brain_shift(p, depth_mm=depth, seed=seed), depth_mm=depth, seed=seed
        ) == pytest.approx(p, abs=1e-6)
        base = p[p[:, 2] <= -0.75 * hull.high[2]]
        assert len(base) > 50
        assert np.array_equal(brain_shift(base, depth_mm=depth, seed=seed), base)
        by = np.linalg.norm(after - p, axis=1)
        cortex = np.array(case.landmarks["cortex under the craniotomy"])
        assert by.max() <= depth
        assert np.linalg.norm(brain_shift([cortex], depth_mm=depth, seed=seed)[0] - cortex) == pytest.approx(
            depth
        )


def test_brain_shift_follows_its_law():
    case = neuro()
    cortex, tumour = (np.array(case.landmarks[k]) for k in ("cortex under the craniotomy", "tumour"))
    down = (tumour - cortex) / np.linalg.norm(tumour - cortex)
    # level with the cortex, 35 mm from the axis: one sigma
    aside = np.cross(down, [0, 0, 1.0])
    aside *= 35 / np.linalg.norm(aside)
    moved = brain_shift([cortex + aside], depth_mm=10.0)[0] - cortex - aside
    assert moved == pytest.approx(10 * np.exp(-0.5) * down, abs=1e-9)
    # on the axis, half way down to the base: a quarter
    half = cortex + down * (cortex[2] + 45.0) / 2 / -down[2]
    assert brain_shift([half], depth_mm=10.0)[0] - half == pytest.approx(2.5 * down, abs=1e-9)
    for bad in (-1.0, 21.0):
        with pytest.raises(ValueError, match="expected 0 to 20"):
            brain_shift([cortex], depth_mm=bad)


def test_a_sunk_brain_is_the_brain_where_the_shift_takes_it(rng):
    before, after = neuro(seed=2), neuro(seed=2, shift_mm=9.0)
    p = random_points_in(before.part("grey matter").shape, 4000, rng=rng)
    there = brain_shift(p, depth_mm=9.0, seed=2)
    assert (before.labels(p) == after.labels(there)).mean() > 0.985
    assert (before.labels(p) == after.labels(p)).mean() < 0.95
    moved = brain_shift([before.landmarks["tumour"]], depth_mm=9.0, seed=2)[0]
    assert after.landmarks["tumour"] == pytest.approx(moved)
    assert 2 < np.linalg.norm(moved - before.landmarks["tumour"]) < 9


# ---------------------------------------------------------------- bounds over many seeds


def between(value, low, high):
    return low <= value <= high


@pytest.mark.slow
def test_twenty_heads_are_within_bounds():
    sides = set()
    for seed in SEEDS:
        case = neuro(seed=seed)
        m, brain = case.measures, case.part("grey matter").shape
        assert np.abs(brain.high / [70, 85, 60] - 1).max() <= 0.05
        assert between(m["tumour_length_mm"], 30 * 0.85, 30 * 1.15)
        assert between(m["tumour_volume_ml"], 4.0, 13.0), m
        assert between(m["tumour_depth_mm"], 8.0, 22.0), m
        assert between(m["tumour_to_vessel_mm"], 0.3, 25.0), m
        assert m["tumour_to_ventricle_mm"] > 0, m
        assert brain(np.concatenate(list(case.centrelines.values()))).max() < -0.5
        assert len(case.centrelines) >= 7
        sides.add(np.sign(case.landmarks["tumour"][0]))
    assert sides == {-1, 1}


@pytest.mark.slow
def test_twenty_livers_are_within_bounds():
    counts = set()
    for seed in SEEDS:
        m = liver(seed=seed).measures
        n = sum(name.endswith("_volume_ml") for name in m)
        counts.add(n)
        for k in range(1, n + 1):
            assert between(m[f"lesion_{k}_volume_ml"], 0.7, 16.0), (seed, m)
            assert between(m[f"lesion_{k}_to_vessel_mm"], 1.0, 40.0), (seed, m)
            assert m[f"lesion_{k}_to_surface_mm"] >= 4.0, (seed, m)
        assert between(m["portal_vein_diameter_mm"], 8.0, 12.0), (seed, m)
        assert m["portal_to_hepatic_mm"] >= 2.0, (seed, m)
    assert counts == {2, 3, 4}


def test_twenty_kidneys_and_eyes_are_within_bounds():
    for seed in SEEDS:
        m = kidney(seed=seed).measures
        assert between(m["kidney_length_mm"], 99, 121)
        for name in ("cyst_volume_ml", "tumour_volume_ml"):
            assert between(m[name], 1.9, 15.5), (seed, m)
        assert m["tumour_to_sinus_mm"] > 0.5, (seed, m)
        assert m["tumour_to_skin_mm"] > 15, (seed, m)
        m = orbit(seed=seed).measures
        assert between(m["sheath_diameter_3mm_mm"], 4.5, 6.5)
        assert between(m["nerve_angle_deg"], 10, 20)
        assert between(m["globe_diameter_mm"], 23, 25)


@pytest.mark.parametrize("seed", [1, 4])
def test_lesions_cysts_and_tumours_do_not_meet(rng, seed):
    for case, names in ((liver(seed=seed), "lesion"), (kidney(seed=seed), ("cyst", "tumour"))):
        found = [part.shape for part in case.parts if part.name.startswith(names)]
        assert len(found) >= 2
        for a, b in combinations(found, 2):
            assert b(random_points_in(a, 500, rng=rng)).min() > 0


# ---------------------------------------------------------------- labels on a grid


@pytest.mark.parametrize("make", [neuro, liver, kidney, orbit, aorta, airway])
def test_a_grid_asked_in_blocks_has_the_labels_of_its_points(make):
    case = make(seed=4)
    middle = np.array(next(iter(case.landmarks.values())))
    low, high = middle - [31.0, 23.3, 37.1], middle + [30.0, 33.2, 26.4]
    grid = case.voxels((0.7, 1.1, 0.9), low=low, high=high)
    axes = [
        grid.origin_mm[i] + grid.spacing_mm[i] * np.arange(n) for i, n in enumerate(grid.labels.shape[::-1])
    ]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    assert grid.labels.shape == (71, 52, 88)
    assert np.array_equal(grid.labels, case.labels(np.stack([x, y, z], axis=-1)))
    assert len(np.unique(grid.labels)) >= 5
