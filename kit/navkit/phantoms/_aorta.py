"""The abdominal aorta with an aneurysm, in a slice of a body."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._phantom import Part, Phantom, drawn, marks
from navkit.phantoms._shapes import (
    Shape,
    blended,
    box,
    ellipsoid,
    gathered,
    intersection,
    thicker,
    tube,
    union,
)
from navkit.phantoms._tissues import TISSUES

Array = NDArray[np.float64]

AORTA_BOUNDS = {
    "sac_diameter_mm": (55.0, 5.0),
    "sac_length_mm": (80.0, 4.0),
    "lumen_diameter_mm": (20.0, 1.5),
    "neck_length_mm": (22.0, 6.0),
    "angulation_deg": (30.0, 5.0),
    "azimuth_deg": (35.0, 20.0),
    "distal_mm": (15.0, 4.0),
    "iliac_diameter_mm": (12.0, 1.5),
    "bifurcation_deg": (60.0, 8.0),
    "renal_diameter_mm": (6.0, 0.5),
    "renal_step_mm": (7.0, 3.0),
}
"""Reference and half range; all chosen. 55 mm is where repair of a man's aneurysm is considered."""
WALL_MM = 1.5
FILLET_MM = 5.0
SHIFT_MM = 5.0
"""How far the lumen lies behind the sac's axis: thrombus gathers in front."""


def rounded(corners: Array, cut: Array, *, pieces: int = 3) -> Array:
    """A polyline (k, m) with its inner corners replaced by parabolas that begin `cut` (k - 2,) mm before."""
    path = [corners[:1]]
    t = np.linspace(0, 1, pieces + 1)[:, None]
    for before, at, after, c in zip(corners[:-2], corners[1:-1], corners[2:], cut, strict=True):
        start, end = (at + c * (to - at) / np.linalg.norm((to - at)[:3]) for to in (before, after))
        path.append((1 - t) ** 2 * start + 2 * t * (1 - t) * at + t**2 * end)
    return np.concatenate([*path, corners[-1:]])


def aorta(*, seed: int = 0) -> Phantom:
    """An abdominal aortic aneurysm with thrombus, from above the renal arteries to the common iliacs.

    ``d`` is like a patient's LPS: x to the left, y backwards, z upwards; z = 0 is the axis of the lower
    renal artery. The neck runs along -z. The sac is a capsule, tilted against it by the angulation, so a
    slice across z shows it too wide by 1 / cos, less where its round ends are cut. Lumen diameters are
    inner ones, the sac's is the outer one. The arteries' blood has contrast, as in a CT angiography.

    Parameters
    ----------
    seed : of the case, within `AORTA_BOUNDS`; 0 is the reference case

    Returns
    -------
    Phantom
        Centrelines of the lumen: "aorta" down to the bifurcation, "left iliac", "right iliac", "left
        renal", "right renal", each from the aorta's axis outwards, and "vena cava" upwards. Measures:

        - `sac_diameter_mm`: outer, perpendicular to the centreline; `axial_diameter_mm`: the longest
          one that a slice across z shows through the middle of the sac
        - `lumen_diameter_mm` of the neck, `sac_lumen_diameter_mm`, `iliac_diameter_mm`
        - `neck_length_mm`: from the lower edge of the lower renal artery's lumen to the sac
        - `angulation_deg`: between the axes of neck and sac [1]_; `bifurcation_deg` between the iliacs
        - `centreline_length_mm`: from the lower renal artery's axis to the bifurcation

    References
    ----------
    .. [1] Chaikof et al., J. Vasc. Surg. 35(5), 2002, doi:10.1067/mva.2002.123763.

    Examples
    --------
    >>> case = aorta()
    >>> case.measures["sac_diameter_mm"], round(case.measures["axial_diameter_mm"], 1)
    (55.0, 63.5)
    """
    size = drawn(AORTA_BOUNDS, seed)
    r, sac_r = size["lumen_diameter_mm"] / 2, size["sac_diameter_mm"] / 2
    iliac_r, renal_r = size["iliac_diameter_mm"] / 2, size["renal_diameter_mm"] / 2
    angle, azimuth = np.radians(size["angulation_deg"]), np.radians(size["azimuth_deg"])
    # the axes of neck and distal aorta go through the centres of the capsule's ends
    end = np.sqrt(sac_r**2 - (r + WALL_MM) ** 2)
    straight = size["sac_length_mm"] - 2 * end
    down = np.array([0, 0, -1.0])
    neck_end = down * (renal_r + size["neck_length_mm"])
    top = neck_end + down * end
    along = np.array([np.sin(angle) * np.cos(azimuth), -np.sin(angle) * np.sin(azimuth), -np.cos(angle)])
    bottom = top + straight * along
    fork = bottom + down * (end + size["distal_mm"])

    back = np.array([0, 1.0, 0]) - along[1] * along
    shift = SHIFT_MM * back / np.linalg.norm(back)
    corners = [
        ((0, 7, 75), r + 1),
        ((0, 0, 25), r),
        (neck_end + 10 * down, r),
        (top + shift, sac_r / 2),
        (bottom + shift, sac_r / 2),
        (bottom + (end - 10) * down, r),
        (fork, r),
    ]
    cut = np.array([10, 7, 6, 6, 7])
    path = rounded(np.array([[*at, radius] for at, radius in corners], dtype=float), cut)

    half, back_tilt = np.radians(size["bifurcation_deg"]) / 2, np.radians(15)
    cava = np.array([(-43.0, 2, -200), (-44, 3, 90)])
    lines = {"aorta": path[:, :3], "vena cava": cava}
    # in stretches, so that points far from one are asked no more about it
    pipes = [tube(path[k : k + 6, :3], path[k : k + 6, 3]) for k in range(0, len(path) - 1, 5)]
    renal_z = {"left": size["renal_step_mm"], "right": 0.0}
    ostia = {}
    for side, sign, renal_back in (("left", 1, np.radians(20)), ("right", -1, np.radians(25))):
        way = np.array(
            [sign * np.sin(half), np.cos(half) * np.sin(back_tilt), -np.cos(half) * np.cos(back_tilt)]
        )
        lines[f"{side} iliac"] = np.stack([fork, fork + 65 * way])
        way, at = (
            np.array([sign * np.cos(renal_back), np.sin(renal_back), 0]),
            np.array([0, 0, renal_z[side]]),
        )
        lines[f"{side} renal"] = np.stack([at, at + 60 * way])
        pipes += [tube(lines[f"{side} iliac"], iliac_r), tube(lines[f"{side} renal"], renal_r)]
        ostia[f"{side} renal ostium"] = at + r * way
    lumen = gathered(*pipes)
    sac = tube([top, bottom], sac_r)
    contrast = replace(TISSUES["blood"], name="blood with contrast", hounsfield=300)

    from_renal = np.concatenate([np.zeros((1, 3)), path[path[:, 2] < 0, :3]])
    # half a chord through the middle: on the cylinder, or on the sphere at its end if that comes first
    on_sphere = straight / 2 * np.sin(angle) + np.sqrt(sac_r**2 - (straight / 2 * np.cos(angle)) ** 2)
    on_cylinder = sac_r / np.cos(angle)
    reached = on_cylinder * np.sin(angle) <= straight / 2
    return Phantom(
        "aorta",
        parts=(
            *_body(),
            Part("vena cava", tube(cava, 10.0), TISSUES["blood"]),
            Part("artery wall", blended(thicker(lumen, WALL_MM), sac, FILLET_MM), TISSUES["vessel wall"]),
            Part("thrombus", thicker(sac, -WALL_MM), TISSUES["thrombus"]),
            Part("lumen", lumen, contrast),
        ),
        background=TISSUES["air"],
        low=np.array([-75.0, -72.0, -165.0]),
        high=np.array([80.0, 118.0, 65.0]),
        landmarks=marks({**ostia, "neck end": neck_end, "sac": (top + bottom) / 2, "bifurcation": fork}),
        centrelines=lines,
        measures={
            "sac_diameter_mm": size["sac_diameter_mm"],
            "axial_diameter_mm": float(2 * (on_cylinder if reached else on_sphere)),
            "lumen_diameter_mm": size["lumen_diameter_mm"],
            "sac_lumen_diameter_mm": float(sac_r),
            "iliac_diameter_mm": size["iliac_diameter_mm"],
            "neck_length_mm": size["neck_length_mm"],
            "angulation_deg": size["angulation_deg"],
            "bifurcation_deg": size["bifurcation_deg"],
            "centreline_length_mm": float(np.linalg.norm(np.diff(from_renal, axis=0), axis=1).sum()),
        },
        seed=seed,
    )


def _body() -> tuple[Part, ...]:
    """Skin, fat, muscle, and a lumbar spine; sizes chosen."""
    trunk = ellipsoid((0, 40, -50), (165, 110, 2000))
    column = tube([(0, 54, -300), (0, 54, 200)], 21.0)
    arch = tube([(0, 80, -300), (0, 80, 200)], 13.0)
    processes = box((-4, 90, -300), (4, 116, 200))
    # a vertebra of 28 mm every 38 mm
    bodies = Shape(lambda p: np.abs((p[:, 2] + 9) % 38 - 19) - 14, np.full(3, -np.inf), np.full(3, np.inf))
    muscles = union(
        *(
            tube([(s * x, y, -300), (s * x, y, 200)], radius)
            for s in (-1, 1)
            for x, y, radius in ((43, 56, 18.0), (30, 103, 24.0))
        )
    )
    layers = (("skin", 0.0, "skin"), ("subcutaneous fat", -2.0, "fat"), ("abdominal wall", -16.0, "muscle"))
    return (
        *(Part(name, thicker(trunk, by), TISSUES[tissue]) for name, by, tissue in layers),
        Part("abdominal fat", thicker(trunk, -26.0), TISSUES["fat"]),
        Part("muscles", muscles, TISSUES["muscle"]),
        Part("discs", column, TISSUES["muscle"]),
        Part("vertebrae", intersection(union(column, arch, processes), bodies), TISSUES["bone"]),
        Part("spinal canal", tube([(0, 80, -300), (0, 80, 200)], 8.0), TISSUES["csf"]),
    )
