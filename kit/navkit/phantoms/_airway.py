"""The airways of two lungs, with a nodule to reach and lymph nodes to name."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.phantoms._phantom import Part, Phantom, drawn, marks
from navkit.phantoms._shapes import Shape, ellipsoid, gathered, sphere, thicker, tube, union, without
from navkit.phantoms._tissues import TISSUES

Array = NDArray[np.float64]

AIRWAY_BOUNDS = {
    "trachea_diameter_mm": (18.0, 1.5),
    "trachea_length_mm": (110.0, 8.0),
    "right_deg": (35.0, 4.0),
    "left_deg": (45.0, 4.0),
    "branch_deg": (35.0, 3.0),
    "nodule_diameter_mm": (15.0, 3.0),
    "node_mm": (9.0, 1.0),
}
"""Reference and half range; all chosen. Angles are to the parent's axis; `node_mm` is a node's short axis."""
MAIN_MM = {"R": (12.0, 28.0), "L": (11.0, 46.0)}
"""Lumen diameter and length of the main bronchi; chosen: the right one is wider and shorter."""
LOBAR_MM = 32.0
SHRINK = 0.8
INNER_SHARE = 0.6
"""The lower lobar bronchus turns inwards by this part of `branch_deg`."""
LAST_GENERATION = 5
WALL_SHARE = 0.22
"""Thickness of the wall as a part of the lumen's radius, 2 mm in the trachea; chosen."""
NODE_SHAPE = np.array([1.25, 1.0, 1.6])
GAP_MM = 1.5
"""Between a node and the airway's wall."""
TO_NODULE_MM = 14.0
RIGHT_LUNG = ellipsoid((-72, 5, -30), (62, 85, 150))
LEFT_LUNG = ellipsoid((80, 5, -30), (60, 83, 150))
MEDIASTINUM = tube([(3, -2, -300), (3, -2, 300)], 27.0)
CARINA = np.array([3.0, -4.0, 12.0])


@dataclass(frozen=True)
class _Branch:
    name: str
    start: Array
    axes: Array
    """Columns: towards the second child, normal to the plane of the children, along the branch."""
    radius: float
    length: float
    children: tuple["_Branch", ...] = ()

    @property
    def end(self) -> Array:
        end: Array = self.start + self.length * self.axes[:, 2]
        return end

    def all(self) -> list["_Branch"]:
        return [self, *(b for child in self.children for b in child.all())]

    def pipes(self, share: float) -> Shape:
        """With its children, radii times `share`; nested, so that points far from a subtree skip it."""
        own = tube([self.start, self.end], self.radius * share)
        return gathered(own, *(child.pipes(share) for child in self.children)) if self.children else own

    def pruned(self, name: str) -> "_Branch":
        """Without the children of the branch of that name."""
        kept = () if self.name == name else tuple(child.pruned(name) for child in self.children)
        return replace(self, children=kept)


def airway(*, seed: int = 0) -> Phantom:
    """Trachea, bronchi down to the fifth generation, a nodule at the fourth, and lymph nodes.

    ``d`` is like a patient's LPS: x to the left, y backwards, z upwards. The trachea is generation 0, the
    main bronchi ``R`` and ``L`` are generation 1; the children of a branch are called after it, so ``R12``
    is the second child of ``R1``, of generation 3; the first child of a main bronchus is the lower one.
    From generation to generation the radius is 0.8 times as large, from the lobar bronchi on the length too.

    Parameters
    ----------
    seed : of the case, within `AIRWAY_BOUNDS`; with 0 the sizes are the reference ones. Which branch leads
        to the nodule depends on it

    Returns
    -------
    Phantom
        Centrelines by the branch's name, one point each millimetre, each beginning where its parent ends.
        Landmarks: "carina", "nodule", "route end" and the stations "4R", "4L", "7", "10R", "11L" of the
        IASLC's map [1]_, at the middles of their nodes. Measures:

        - `trachea_diameter_mm`, `right_main_diameter_mm`, `left_main_diameter_mm`: of the lumen
        - `right_deg`, `left_deg`: of the main bronchi, to the trachea's axis
        - `route_length_mm`: from the top of the trachea to the end of the bronchus that leads to the nodule
        - `nodule_distance_mm`: from there to the middle of the nodule; no centreline is closer
        - `nodule_diameter_mm`, `node_mm` (the nodes' short axis)

    References
    ----------
    .. [1] Rusch et al., J. Thorac. Oncol. 4(5), 2009, doi:10.1097/JTO.0b013e3181a0d82e.

    Examples
    --------
    >>> case = airway()
    >>> case.centrelines["R12"][0] == case.centrelines["R1"][-1]
    array([ True,  True,  True])
    """
    size = drawn(AIRWAY_BOUNDS, seed)
    rng = np.random.default_rng([seed, 0xA1])
    trachea, target, nodule_at = _with_target(_tree(size, rng), rng)
    branches = trachea.all()
    by_name = {b.name: b for b in branches}
    route = [by_name[target[:k] or "trachea"] for k in range(len(target) + 1)]
    node_radii = NODE_SHAPE * size["node_mm"] / 2
    nodes = _stations(by_name, node_radii)
    nodule = size["nodule_diameter_mm"] / 2

    parts = [
        *_chest(),
        *(
            Part(f"node {name}", ellipsoid(at, node_radii), TISSUES["lymph node"])
            for name, at in nodes.items()
        ),
        Part("airway wall", trachea.pipes(1 + WALL_SHARE), TISSUES["airway wall"]),
        Part("airway", trachea.pipes(1), TISSUES["air"]),
        Part("nodule", sphere(nodule_at, nodule), TISSUES["lung nodule"]),
    ]
    points = {"carina": CARINA, "nodule": nodule_at, "route end": by_name[target].end, **nodes}
    return Phantom(
        "airway",
        parts=tuple(parts),
        background=TISSUES["air"],
        low=np.array([-135.0, -95.0, -135.0]),
        high=np.array([140.0, 105.0, float(trachea.start[2]) - 5]),
        landmarks=marks(points),
        centrelines={b.name: np.linspace(b.start, b.end, int(np.ceil(b.length)) + 1) for b in branches},
        measures={
            "trachea_diameter_mm": 2 * trachea.radius,
            "right_main_diameter_mm": 2 * by_name["R"].radius,
            "left_main_diameter_mm": 2 * by_name["L"].radius,
            "right_deg": size["right_deg"],
            "left_deg": size["left_deg"],
            "route_length_mm": sum(b.length for b in route),
            "nodule_distance_mm": TO_NODULE_MM,
            "nodule_diameter_mm": 2 * nodule,
            "node_mm": size["node_mm"],
        },
        seed=seed,
    )


def _tree(size: dict[str, float], rng: np.random.Generator) -> _Branch:
    back = np.radians(12)
    down = np.array([0, np.sin(back), -np.cos(back)])
    axes = np.stack([(1.0, 0, 0), np.cross(down, (1.0, 0, 0)), down], axis=1)
    mains = []
    for name, sign, angle in (("R", -1, size["right_deg"]), ("L", 1, size["left_deg"])):
        diameter, length = MAIN_MM[name]
        turned = axes @ _turn(sign * angle, 0)
        mains.append(_grown(name, CARINA, turned, diameter / 2, length, sign * size["branch_deg"], rng))
    length = size["trachea_length_mm"]
    return _Branch(
        "trachea", CARINA - length * down, axes, size["trachea_diameter_mm"] / 2, length, tuple(mains)
    )


def _grown(
    name: str, start: Array, axes: Array, radius: float, length: float, angle: float, rng: np.random.Generator
) -> _Branch:
    branch = _Branch(name, start, axes, radius, length)
    if len(name) == LAST_GENERATION:
        return branch
    # the lobar bronchi part in the plane of the main ones, the others across the plane of their parents
    after = LOBAR_MM if len(name) == 1 else length * SHRINK
    inner = INNER_SHARE if len(name) == 1 else 1.0
    children = []
    for k, bend in ((1, -inner * angle), (2, angle)):
        turned = axes @ _turn(bend, 90 + rng.uniform(-20, 20))
        children.append(_grown(f"{name}{k}", branch.end, turned, radius * SHRINK, after, angle, rng))
    return replace(branch, children=tuple(children))


def _turn(bend_deg: float, twist_deg: float) -> Array:
    matrix: Array = Rotation.from_euler("YZ", [bend_deg, twist_deg], degrees=True).as_matrix()
    return matrix


def _with_target(trachea: _Branch, rng: np.random.Generator) -> tuple[_Branch, str, Array]:
    """The tree with one branch of generation 4 cut short by a nodule beyond it, well inside a lung."""
    tips = [b for b in trachea.all() if len(b.name) == LAST_GENERATION - 1]
    at = np.array([tip.end + TO_NODULE_MM * tip.axes[:, 2] for tip in tips])
    inside = without(union(RIGHT_LUNG, LEFT_LUNG), MEDIASTINUM)(at) < -10
    k = int(rng.choice(np.flatnonzero(inside)))
    return trachea.pruned(tips[k].name), tips[k].name, at[k]


def _stations(by_name: dict[str, _Branch], radii: Array) -> dict[str, Array]:
    """Middles of nodes that clear the walls."""

    def clearance(branch: _Branch, way: Array) -> float:
        return float(branch.radius * (1 + WALL_SHARE) + GAP_MM + np.linalg.norm(radii * way))

    def beside(branch: _Branch, share: float, to_deg: float) -> Array:
        across = np.array([np.cos(np.radians(to_deg)), np.sin(np.radians(to_deg)), 0])
        way = branch.axes @ across
        at: Array = branch.start + share * branch.length * branch.axes[:, 2] + clearance(branch, way) * way
        return at

    trachea, right, left = by_name["trachea"], by_name["R"], by_name["L"]
    down = trachea.axes[:, 2]
    beyond = 0.0  # the carina
    for main in (right, left):
        cos = float(main.axes[:, 2] @ down)
        sin = np.sqrt(1 - cos**2)
        beyond = max(beyond, clearance(main, (down - cos * main.axes[:, 2]) / sin) / sin)
    # angles: 0 to the left, 90 to the front
    return {
        "4R": beside(trachea, 0.80, 155),
        "4L": beside(trachea, 0.85, -15),
        "7": CARINA + beyond * down,
        "10R": beside(right, 0.5, 180),
        "11L": beside(left, 1.0, 90),
    }


def _chest() -> tuple[Part, ...]:
    """Fat, muscle, spine, two lungs and what lies between them; sizes chosen."""
    chest = ellipsoid((3, 5, -20), (160, 105, 900))
    return (
        Part("chest wall", chest, TISSUES["fat"]),
        Part("muscle", thicker(chest, -10.0), TISSUES["muscle"]),
        Part("right lung", RIGHT_LUNG, TISSUES["lung"]),
        Part("left lung", LEFT_LUNG, TISSUES["lung"]),
        Part("mediastinum", MEDIASTINUM, TISSUES["fat"]),
        Part("spine", tube([(3, 72, -300), (3, 72, 300)], 19.0), TISSUES["bone"]),
    )
