"""A head with a brain, its folds, a tumour under a craniotomy, and brain shift.

Axes as in LPS: x to the left, y to the back, z to the top; the origin is the middle of the brain.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._brain import (
    Head,
    atrium,
    folds,
    frontal_horn,
    glioma_at,
    head_of,
    head_rng,
    midline,
    sag,
    unsag,
    ventricle_system,
)
from navkit.phantoms._phantom import Part, Phantom, marks
from navkit.phantoms._rays import ray_lengths, star_surface
from navkit.phantoms._shapes import Shape, ellipsoid, intersection, sphere, thicker, tube, union, without
from navkit.phantoms._tissues import TISSUES
from navkit.phantoms._vessels import grow_tree

Array = NDArray[np.float64]

CSF_MM, DURA_MM, SKULL_MM, SKIN_MM = 1.5, 1.0, 6.5, 5.0
RIBBON_MM = 3.0
WINDOW_RADIUS_MM = 28.0


def neuro(*, seed: int = 0, shift_mm: float = 0.0) -> Phantom:
    """A head: brain with sulci, falx, ventricles, a low-grade glioma, arteries, skull, craniotomy, skin.

    The brain is 170 x 140 x 120 mm, the tumour 30 x 25 x 20 mm with its middle 25 mm under the cortex, the
    arteries have radii of 0.5 to 1.5 mm. These, the ribbon of grey matter (3 mm), the sulci (2 to 4 mm wide,
    8 to 20 mm deep), the coverings and the window of 56 mm are chosen. A seed other than 0 scales the brain
    by up to 5 % along each axis and the tumour by up to 15 %, puts it on either side, its middle 23 to 26 mm
    deep, and folds the brain anew. The window is filled with saline.

    Parameters
    ----------
    seed : of the case; 0 is the reference
    shift_mm : how far the brain has sunk under the craniotomy, see `brain_shift`; landmarks and centrelines
        move with it, measures are those before it

    Returns
    -------
    Phantom
        Measures: ``tumour_volume_ml``; ``tumour_depth_mm`` from the cortex to the nearest of the tumour along
        the axis of the window; ``tumour_to_vessel_mm`` and ``tumour_to_ventricle_mm``, least distances
        between surfaces; ``tumour_length_mm``, its longest diameter before the border was roughened.
        Fiducials: seven on the skin.

    Examples
    --------
    >>> head = neuro()
    >>> head.fiducials.shape, 5 < head.measures["tumour_volume_ml"] < 10
    ((7, 3), True)
    """
    head, rng = head_of(seed), head_rng(seed, 1)
    hull = head.hull
    dura = thicker(hull, CSF_MM + DURA_MM)
    skull, skin = thicker(dura, SKULL_MM), thicker(dura, SKULL_MM + SKIN_MM)
    axis = np.array([head.window, head.window + 50 * head.outward])

    fissure, falx = midline(head, rng)
    clefts = folds(head, seed, fissure)
    core = Shape(
        lambda p: np.maximum(hull.distance(p), -clefts.distance(p)) + RIBBON_MM,
        hull.low + RIBBON_MM,
        hull.high - RIBBON_MM,
    )
    ventricles = ventricle_system(head)
    deep_grey = union(*(ellipsoid((s * 15, 4, -2), (8, 17, 10)) for s in (-1, 1)))

    size = 1.0 if seed == 0 else rng.uniform(0.85, 1.15)
    deep = 25.0 if seed == 0 else rng.uniform(23, 26)
    middle = head.window - deep * head.outward
    tumour = glioma_at(middle, head.outward, size, rng)
    surface, volume_ml = star_surface(tumour, middle)

    around = intersection(thicker(hull, -1.0), sphere(middle, 36.0))
    low_side = np.array([head.side * 0.86, -0.15, -0.2])
    root = (1 - 8 / np.linalg.norm(low_side * head.radii)) * head.radii * low_side / np.linalg.norm(low_side)
    tree = grow_tree(
        root,
        without(around, thicker(tumour, 1.5), thicker(ventricles, 2.0)),
        rng=rng,
        targets=45,
        tip_radius_mm=0.5,
        margin_mm=1.5,
    )
    arteries = tree.shape()
    lines = {f"cerebral artery {k + 1}": line for k, line in enumerate(tree.branches())}

    def sunk(shape: Shape) -> Shape:
        if shift_mm == 0:
            return shape
        return Shape(
            lambda p: shape.distance(unsag(p, head, shift_mm, 0.02)),
            shape.low - shift_mm,
            shape.high + shift_mm,
        )

    tissue = TISSUES
    parts = (
        Part("skin", skin, tissue["skin"]),
        Part("skull", skull, tissue["bone"]),
        Part(
            "craniotomy",
            intersection(tube(axis, WINDOW_RADIUS_MM), skin),
            replace(tissue["water"], name="saline"),
        ),
        Part("dura", dura, tissue["dura"]),
        Part("subarachnoid space", thicker(dura, -DURA_MM), tissue["csf"]),
        Part("grey matter", sunk(hull), tissue["grey matter"]),
        Part("white matter", sunk(core), tissue["white matter"]),
        Part("deep grey matter", sunk(deep_grey), tissue["grey matter"]),
        Part("pia in the sulci", sunk(intersection(thicker(clefts, 0.3), hull)), tissue["sulcus"]),
        Part("sulci", sunk(intersection(thicker(clefts, -0.4), hull)), tissue["csf"]),
        Part("falx", sunk(falx), tissue["dura"]),
        Part("ventricles", sunk(ventricles), tissue["csf"]),
        Part("tumour", sunk(tumour), tissue["low-grade glioma"]),
        Part("cerebral arteries", sunk(arteries), tissue["blood"]),
    )
    fork = tree.branches()[0][-1]
    places = {
        "tumour": middle,
        "cortex under the craniotomy": head.window,
        "artery fork": fork,
        "left frontal horn": frontal_horn(head, 1),
        "right frontal horn": frontal_horn(head, -1),
        "left atrium": atrium(head, 1),
        "right atrium": atrium(head, -1),
    }
    moved = {k: sag(np.asarray(v)[None], head, shift_mm)[0] for k, v in places.items()}
    return Phantom(
        "neuro",
        parts=parts,
        background=tissue["air"],
        low=np.floor(skin.low - 3),
        high=np.ceil(skin.high + 3),
        landmarks=marks(moved),
        fiducials=_fiducials(skin, head),
        centrelines={k: sag(v, head, shift_mm) for k, v in lines.items()},
        measures={
            "tumour_volume_ml": volume_ml,
            "tumour_length_mm": 30 * size,
            "tumour_depth_mm": deep - float(ray_lengths(tumour, middle, head.outward[None])[0]),
            "tumour_to_vessel_mm": float(tree.clearance(surface[::10]).min()),
            "tumour_to_ventricle_mm": float(ventricles(surface).min()),
        },
        seed=seed,
    )


def _fiducials(skin: Shape, head: Head) -> Array:
    """Seven places on the skin, clear of the window: forehead, temples, crown, behind the ears."""
    s = head.side
    ways = np.array(
        [
            (0.1, -1.0, 0.2),
            (s * 0.7, -0.75, -0.05),
            (-s * 0.7, -0.75, 0.1),
            (-s * 1.0, -0.1, 0.2),
            (s * 0.95, 0.45, -0.2),
            (-s * 0.75, 0.6, 0.1),
            (-s * 0.35, 0.1, 0.95),
        ]
    )
    u = ways / np.linalg.norm(ways, axis=1)[:, None]
    return np.asarray(ray_lengths(skin, np.zeros(3), u)[:, None] * u)
