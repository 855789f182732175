"""A liver with two vessel trees and lesions, and a kidney with a cyst and a tumour.

Axes as in LPS: x to the left, y to the back, z to the top; the origin is in the middle of the organ.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._phantom import Part, Phantom, marks
from navkit.phantoms._rays import random_points_in, ray_lengths, star_surface
from navkit.phantoms._shapes import (
    Shape,
    blended,
    ellipsoid,
    intersection,
    pipes,
    rippled,
    sphere,
    thicker,
    tube,
    union,
    without,
)
from navkit.phantoms._tissues import TISSUES
from navkit.phantoms._vessels import VesselTree, grow_tree

Array = NDArray[np.float64]

MOST_TRIES = 2000
VESSEL_MARGIN_MM = 7.0


def liver(*, seed: int = 0) -> Phantom:
    """A liver with portal and hepatic veins, vena cava, gallbladder, metastases and carcinomas.

    The liver is 150 mm high and about 1.2 l, its portal vein about 10 mm wide, the vena cava 20 mm, the
    gallbladder 65 mm long with a wall of 2 mm, the lesions 14 to 30 mm: all chosen. A seed other than 0
    scales the liver by up to 8 % along each axis, places two to four lesions (0: three), 4 mm or more under
    the surface, and grows both trees anew, at least 1 mm from the lesions and 2 mm from each other.

    Returns
    -------
    Phantom
        Measures, for each lesion k: ``lesion_<k>_volume_ml``, ``lesion_<k>_to_vessel_mm`` and
        ``lesion_<k>_to_surface_mm``, the least distances between surfaces (portal and hepatic veins);
        ``portal_vein_diameter_mm`` before its fork; ``portal_to_hepatic_mm``, that of the two trees. Which
        segment a point lies in, `liver_segment` tells.

    Examples
    --------
    >>> case = liver()
    >>> case.part("lesion 1").tissue.name, case.measures["lesion_1_to_vessel_mm"] > 1
    ('liver metastasis', True)
    """
    rng = np.random.default_rng([seed, 0x11FE])
    scale = np.ones(3) if seed == 0 else rng.uniform(0.92, 1.08, size=3)
    organ = _liver_shape(scale)
    neck = np.array([-14.0, 0.0, -34.0]) * scale
    bladder_line = neck + np.array([(0, 0, 0), (-4, -12, -6), (-9, -32, -13), (-12, -46, -18)])
    gallbladder = tube(bladder_line, [3.0, 7.0, 13.0, 12.0])
    duct = tube([neck, neck + [8, 10, -8], neck + [20, 14, -24]], 2.5)
    cava_line = np.array([(-12.0, 46.0, -90.0), (-14.0, 47.0, 30.0), (-10.0, 40.0, 90.0)]) * scale
    cava = tube(cava_line, 10.0)

    n = 3 if seed == 0 else int(rng.integers(2, 5))
    stem = (
        np.array([(14.0, 20.0, -56.0), (8.0, 18.0, -47.0), (1.0, 16.0, -38.0), (-5.0, 13.0, -29.0)]) * scale
    )
    keep_out = union(thicker(gallbladder, 5.0), thicker(cava, 10.0), sphere(stem[-1], 34.0))
    lesions: list[tuple[Shape, Array]] = []
    for _ in range(n):
        lesions.append(_lesion(organ, keep_out, rng))
        keep_out = union(keep_out, thicker(lesions[-1][0], 9.0))

    # margin and clearance leave 6 mm between a lesion and the middle of a vessel
    free = without(
        organ, *(thicker(shape, 6.0 - VESSEL_MARGIN_MM) for shape, _ in lesions), thicker(cava, 2.0)
    )
    caval_end = cava_line[1] + np.array([0.0, -6.0, 14.0])
    portal = grow_tree(
        stem,
        without(free, sphere(caval_end, 32.0), thicker(gallbladder, 1.0)),
        rng=rng,
        targets=160,
        tip_radius_mm=1.1,
        step_mm=4.0,
        margin_mm=VESSEL_MARGIN_MM,
    )
    hepatic = grow_tree(
        caval_end,
        free,
        rng=rng,
        targets=350,
        tip_radius_mm=1.2,
        step_mm=4.0,
        margin_mm=VESSEL_MARGIN_MM,
        avoid=portal,
    )
    trees = {"portal vein": portal, "hepatic vein": hepatic}
    measures = {
        "portal_vein_diameter_mm": float(2 * portal.radius[1]),
        "portal_to_hepatic_mm": float(
            (portal.clearance(_along(hepatic)) - np.tile(hepatic.radius[1:], 9)).min()
        ),
    }
    for k, (shape, middle) in enumerate(lesions, start=1):
        surface, measures[f"lesion_{k}_volume_ml"] = star_surface(shape, middle)
        few = surface[::10]
        measures[f"lesion_{k}_to_vessel_mm"] = float(min(t.clearance(few).min() for t in trees.values()))
        measures[f"lesion_{k}_to_surface_mm"] = float(-organ(surface).max())

    low, high = np.array([-112.0, -78.0, -92.0]), np.array([112.0, 82.0, 92.0])
    inner_wall = ellipsoid((0.0, 0.0, -5.0), (106.0, 76.0, 140.0))
    dome = thicker(organ, 5.0)
    diaphragm = Shape(
        lambda p: np.maximum(dome.distance(p), 5 - p[:, 2]), np.append(dome.low[:2], 5.0), dome.high
    )
    names = ("liver metastasis", "hepatocellular carcinoma")
    portal_shape = portal.shape()
    parts = (
        Part("lung", Shape(lambda p: 30 - p[:, 2], np.append(low[:2], 30.0), high), TISSUES["lung"]),
        Part("diaphragm", diaphragm, TISSUES["muscle"]),
        Part("abdominal wall", Shape(lambda p: -inner_wall.distance(p), low, high), TISSUES["muscle"]),
        Part("ribs", _ribs(thicker(inner_wall, 5.0)), TISSUES["bone"]),
        Part("liver", organ, TISSUES["liver"]),
        Part("vena cava", cava, TISSUES["blood"]),
        Part(
            "gallbladder wall", union(thicker(gallbladder, 2.0), thicker(duct, 1.0)), TISSUES["vessel wall"]
        ),
        Part("gallbladder", union(gallbladder, duct), TISSUES["bile"]),
        Part("portal vein wall", thicker(portal_shape, 0.8), TISSUES["vessel wall"]),
        Part("portal vein", portal_shape, TISSUES["blood"]),
        Part("hepatic vein", hepatic.shape(), TISSUES["blood"]),
        *(Part(f"lesion {k + 1}", one[0], TISSUES[names[k % 2]]) for k, one in enumerate(lesions)),
    )
    places = {
        "portal bifurcation": portal.branches()[0][-1],
        "hepatic vein confluence": hepatic.branches()[0][-1],
        "caval end of the hepatic vein": caval_end,
        "gallbladder fundus": bladder_line[-1],
        "gallbladder neck": neck,
        **{f"lesion {k + 1}": one[1] for k, one in enumerate(lesions)},
    }
    return Phantom(
        "liver",
        parts=parts,
        background=TISSUES["fat"],
        low=low,
        high=high,
        landmarks=marks(places),
        centrelines={f"{n} {k + 1}": b for n, t in trees.items() for k, b in enumerate(t.branches())}
        | {"vena cava": cava_line},
        measures=measures,
        seed=seed,
    )


def _along(tree: VesselTree) -> Array:
    """Points (m, 3) every eighth of a segment of the tree."""
    share = np.linspace(0, 1, 9)[:, None, None]
    return (tree.nodes[tree.parent[1:]] * (1 - share) + tree.nodes[1:] * share).reshape(-1, 3)


def _liver_shape(scale: Array) -> Shape:
    """A right and a left lobe, hollowed from below where stomach and kidney lie."""
    turn = np.deg2rad(20)
    axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    right = ellipsoid(np.array([-36.0, 4, -2]) * scale, np.array([54.0, 60.0, 75.0]) * scale)
    left = ellipsoid(np.array([34.0, -18, 24]) * scale, np.array([62.0, 38.0, 30.0]) * scale, axes)
    both = blended(right, left, 35.0)
    below = sphere(np.array([38.0, 26, -62]) * scale, 62.0)
    return _hollowed(both, below, 18.0)


def _hollowed(shape: Shape, hole: Shape, width_mm: float) -> Shape:
    """`without`, with a rounded edge."""
    everywhere = np.full(3, np.inf)
    outside = Shape(lambda p: -shape.distance(p), -everywhere, everywhere)
    filled = blended(outside, hole, width_mm)
    return Shape(lambda p: -filled.distance(p), shape.low, shape.high)


def _lesion(organ: Shape, keep_out: Shape, rng: np.random.Generator) -> tuple[Shape, Array]:
    """A lumpy ellipsoid in the organ, clear of what it is to keep out of, and its middle."""
    for _ in range(MOST_TRIES):
        radii = rng.uniform(7.0, 15.0) * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0)])
        middle = random_points_in(organ, 1, rng=rng, margin_mm=radii.max() + 5.0)[0]
        shape = _lumpy(ellipsoid(middle, radii), 0.05 * radii.max(), rng)
        surface, _ = star_surface(shape, middle, n=400)
        if keep_out(surface).min() > 0 and organ(surface).max() < -4.5:
            return shape, middle
    raise ValueError("There is no room for a lesion in the organ.")


def _lumpy(shape: Shape, most_mm: float, rng: np.random.Generator) -> Shape:
    """The shape with three gentle waves on its surface."""
    k = rng.normal(size=(3, 3))
    k /= np.linalg.norm(k, axis=1)[:, None] * 2.2
    start = rng.uniform(0, 2 * np.pi, 3)
    return rippled(
        shape, lambda p: most_mm / 3 * np.cos(np.einsum("ij,kj", p, k) + start).sum(axis=1), most_mm
    )


def _ribs(within: Shape) -> Shape:
    """Three ribs of 10 mm in the right wall, falling towards the front."""
    turn = np.linspace(np.deg2rad(125), np.deg2rad(235), 9)
    starts, ends = [], []
    for height in (-45.0, -17.0, 11.0):
        way = np.stack([np.cos(turn), np.sin(turn), (height + 14 * np.sin(turn)) / 90], axis=1)
        way /= np.linalg.norm(way, axis=1)[:, None]
        line = ray_lengths(within, np.zeros(3), way)[:, None] * way
        starts.append(line[:-1])
        ends.append(line[1:])
    a, b = np.concatenate(starts), np.concatenate(ends)
    return pipes(a, b, np.full(len(a), 5.0), reach_mm=8.0)


def kidney(*, seed: int = 0) -> Phantom:
    """A left kidney with cortex, pyramids and sinus, a cyst, a tumour, perirenal fat, muscle and skin.

    The kidney is 110 x 56 x 46 mm, the pyramids end 8 mm under its surface, the fat is 10 mm thick, the cyst
    24 mm and the tumour 26 mm, which bulges out: all chosen. A seed other than 0 scales the kidney by up to
    10 % along each axis and gives cyst and tumour, one in each half, radii of 8 to 15 mm.

    Returns
    -------
    Phantom
        Measures: ``cyst_volume_ml``, ``tumour_volume_ml``, ``kidney_length_mm`` from pole to pole,
        ``tumour_to_sinus_mm``, the least distance between surfaces, ``tumour_to_skin_mm`` likewise.

    Examples
    --------
    >>> case = kidney()
    >>> round(case.measures["kidney_length_mm"]), case.part("cyst").tissue.name
    (110, 'urine')
    """
    rng = np.random.default_rng([seed, 0x41D4])
    scale = np.ones(3) if seed == 0 else rng.uniform(0.9, 1.1, size=3)
    radii = np.array([28.0, 23.0, 55.0]) * scale
    bean = _hollowed(ellipsoid(np.zeros(3), radii), sphere((-44.0 * scale[0], -8.0, 0.0), 26.0), 10.0)
    hilum = np.array([-20.0 * scale[0], -4.0, 0.0])
    sinus = blended(
        ellipsoid((-5.0 * scale[0], -1.5, 0), radii * (0.32, 0.32, 0.48)),
        tube(np.stack([(-6, -1.5, 0), hilum]), 7.0),
        8.0,
    )
    pyramids = intersection(_pyramids(radii), thicker(bean, -8.0))

    sizes = (12.0, 13.0) if seed == 0 else rng.uniform(8.0, 15.0, size=2)
    pole = 1.0 if seed == 0 else float(rng.choice([-1, 1]))
    cyst, cyst_middle = _at_pole(bean, pole, float(sizes[0]), 0.1, rng)
    tumour, tumour_middle = _at_pole(bean, -pole, float(sizes[1]), 0.4, rng)
    _, cyst_ml = star_surface(cyst, cyst_middle)
    tumour_surface, tumour_ml = star_surface(tumour, tumour_middle)

    low, high = np.array([-62.0, -62.0, -88.0]), np.array([84.0, 76.0, 88.0])
    flank = ellipsoid((-58.0, -52.0, 0.0), (138.0, 124.0, 500.0))
    fat = blended(thicker(bean, 10.0), thicker(union(cyst, tumour), 6.0), 8.0)
    fat = intersection(fat, thicker(flank, -26.0))
    vein_line = np.stack([(-12, -2, -3), hilum + [-4, -3, -3], (-50, -22, -8), (-75, -30, -10)])
    artery_line = np.stack([(-12, 0, 4), hilum + [-4, 0, 4], (-50, -8, 6), (-75, -12, 8)])
    parts = (
        Part("skin", flank, TISSUES["skin"]),
        Part("subcutaneous fat", thicker(flank, -2.0), TISSUES["fat"]),
        Part("muscle", thicker(flank, -14.0), TISSUES["muscle"]),
        Part("retroperitoneal fat", thicker(flank, -26.0), TISSUES["fat"]),
        Part("psoas", tube([(-52, 30, -110), (-44, 34, 110)], 20.0), TISSUES["muscle"]),
        Part("perirenal fat", fat, replace(TISSUES["fat"], name="perirenal fat", echo_db=5.0)),
        Part("capsule", thicker(bean, 0.8), TISSUES["vessel wall"]),
        Part("cortex", bean, TISSUES["kidney cortex"]),
        Part(
            "pyramids",
            pyramids,
            replace(TISSUES["kidney cortex"], name="kidney medulla", echo_db=-8.0, mr=0.42),
        ),
        Part("sinus", sinus, TISSUES["kidney sinus"]),
        Part("renal vein", tube(vein_line, [3.5, 5, 6, 6]), TISSUES["blood"]),
        Part("renal artery", tube(artery_line, [2.0, 2.5, 3, 3]), TISSUES["blood"]),
        Part("tumour", tumour, TISSUES["renal tumour"]),
        Part("cyst", cyst, TISSUES["urine"]),
    )
    ends = ray_lengths(bean, np.zeros(3), np.array([(0.0, 0, 1), (0.0, 0, -1)]))
    places = {
        "upper pole": np.array([0, 0, ends[0] - 0.5]),
        "lower pole": np.array([0, 0, 0.5 - ends[1]]),
        "hilum": hilum,
        "sinus": np.array([-5.0 * scale[0], -1.5, 0]),
        "cyst": cyst_middle,
        "tumour": tumour_middle,
    }
    return Phantom(
        "kidney",
        parts=parts,
        background=TISSUES["air"],
        low=low,
        high=high,
        landmarks=marks(places),
        centrelines={"renal vein": vein_line, "renal artery": artery_line},
        measures={
            "kidney_length_mm": float(ends.sum()),
            "cyst_volume_ml": cyst_ml,
            "tumour_volume_ml": tumour_ml,
            "tumour_to_sinus_mm": float(sinus(tumour_surface).min()),
            "tumour_to_skin_mm": float(-flank(tumour_surface).max()),
        },
        seed=seed,
    )


def _pyramids(radii: Array) -> Shape:
    """Blunt cones around the sinus, in three rows."""
    found = []
    for row, rise in enumerate((0.0, 0.9, -0.9)):
        for turn in np.deg2rad([-75, -25, 25, 75]) + (0.35 if row else 0.0):
            way = np.array([np.cos(turn), np.sin(turn), 0.0])
            start = np.array([-2.0, -1.0, 0]) + radii * (0.38 * way[0], 0.38 * way[1], rise * 0.36)
            end = radii * (0.85 * way[0], 0.85 * way[1], rise * 0.62)
            found.append(tube([start, end], [2.5, 8.0]))
    found += [tube([(-2, -1, s * radii[2] * 0.48), (0, 0, s * radii[2] * 0.85)], [2.5, 8.0]) for s in (-1, 1)]
    return union(*found)


def _at_pole(
    bean: Shape, pole: float, radius: float, out: float, rng: np.random.Generator
) -> tuple[Shape, Array]:
    """A lumpy ball at the convex side of a pole, `out` of its radius outside of the kidney's surface."""
    way = np.array([rng.uniform(0.5, 0.75), rng.uniform(-0.2, 0.35), pole * rng.uniform(0.75, 1.0)])
    way /= np.linalg.norm(way)
    middle = (ray_lengths(bean, np.zeros(3), way[None])[0] - (1 - out) * radius) * way
    return _lumpy(sphere(middle, radius), 0.04 * radius, rng), middle
