"""Phantoms that a probe is calibrated and checked with: N-wires, a water tank, parallel wires in agar."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from navkit.phantoms._phantom import Part, Phantom
from navkit.phantoms._shapes import box
from navkit.phantoms._tissues import TISSUES

Array = NDArray[np.float64]
FCalVersion = Literal["2.0", "1.2", "1.0"]

WIRE_MM = 40.0
_LAYERS = {
    "2.0": (
        (20, (30, 30), (55, 35), (60, 60)),
        (10, (30, 30), (35, 55), (60, 60)),
        (0, (35, 35), (55, 40), (60, 60)),
    ),
    "1.2": (
        (10, (20, 20), (40, 25), (45, 45)),
        (5, (20, 20), (25, 45), (50, 50)),
        (0, (20, 20), (45, 25), (50, 50)),
    ),
    "1.0": ((5, (20, 20), (25, 45), (50, 50)), (0, (20, 20), (45, 25), (50, 50))),
}
"""For each N its height z, and x of its three wires at y = 0 and at y = 40 mm."""
_BOX_1 = ((95, 5, 15), (95, 40, 15), (95, 40, 0), (95, 0, 0),
          (-25, 40, 15), (-25, 0, 10), (-25, 0, 0), (-25, 40, 0))  # fmt: skip
_BOX_2 = ((104.3, 5, 20), (104.3, 45, 20), (104.3, 45, 0), (104.3, -5, 0),
          (-34.3, 45, 15), (-34.3, -5, 20), (-34.3, -5, 0), (-34.3, 45, 0))  # fmt: skip
_DIVOTS = {"2.0": _BOX_2, "1.2": _BOX_1, "1.0": _BOX_1}


def nwire_array(version: FCalVersion = "2.0") -> Array:
    """The wires of PLUS's fCal phantom as `calibrate_probe_nwires` takes them.

    Parameters
    ----------
    version : "2.0" has three N's 10 mm apart, "1.2" three 5 mm apart, "1.0" two

    Returns
    -------
    (n, 3, 2, 3) mm in the phantom's space d: for every N, from the highest one down, the two ends of the
    outer, the middle and the other outer wire, as in PLUS's own configurations [1]_

    Raises
    ------
    ValueError
        If there is no such version.

    References
    ----------
    .. [1] PlusLibData, ConfigFiles, PhantomDefinition, BSD-3.

    Examples
    --------
    >>> nwire_array("1.0").shape
    (2, 3, 2, 3)
    >>> nwire_array()[0, 1]
    array([[55.,  0., 20.],
           [35., 40., 20.]])
    """
    if version not in _LAYERS:
        raise ValueError(f"version is {version!r}; expected one of {', '.join(map(repr, _LAYERS))}.")
    return np.array(
        [[[(x0, 0, z), (x1, WIRE_MM, z)] for x0, x1 in wires] for z, *wires in _LAYERS[version]], dtype=float
    )


def nwires(version: FCalVersion = "2.0") -> Phantom:
    """PLUS's fCal phantom in water: `nwire_array` as wires, landmarks "#1" to "#8" for a pointer.

    The wires run between two plastic walls; their thickness and height are chosen.

    Raises
    ------
    ValueError
        If there is no such version.

    Examples
    --------
    >>> nwires().wires.shape, nwires().landmarks["#1"]
    ((9, 2, 3), (104.3, 5.0, 20.0))
    """
    wires = nwire_array(version).reshape(-1, 2, 3)
    ends = wires.reshape(-1, 3)
    divots = {
        f"#{k}": (float(x), float(y), float(z)) for k, (x, y, z) in enumerate(_DIVOTS[version], start=1)
    }
    low, high = ends.min(axis=0) - [10, 10, 10], ends.max(axis=0) + [10, 10, 30]
    walls = [box((low[0], y, -5), (high[0], y + 4, high[2] - 20)) for y in (-4.0, WIRE_MM)]
    return Phantom(
        f"nwires_fcal_{version}",
        parts=tuple(
            Part(name, wall, TISSUES["plastic"])
            for name, wall in zip(("near wall", "far wall"), walls, strict=True)
        ),
        low=low,
        high=high,
        wires=wires,
        landmarks=divots,
    )


def water_tank(*, depth_mm: float = 60.0) -> Phantom:
    """Water over a flat plastic plate, for delays and for calibration on a wall.

    The water's surface is z = 0 and the plate's face z = `-depth_mm`.

    Raises
    ------
    ValueError
        If the depth is not above 0.

    Examples
    --------
    >>> tank = water_tank(depth_mm=45.0)
    >>> [tank.tissues[k].name for k in tank.labels([[3, 4, -44.9], [3, 4, -45.1]])]
    ['water', 'plastic']
    """
    if not 0 < depth_mm < np.inf:
        raise ValueError(
            f"depth_mm is {depth_mm}; expected a number above 0, downwards from the water's surface."
        )
    thick = 12.0  # chosen
    # it goes on below the tank's box: no echo from underneath
    plate = box((-150, -100, -depth_mm - 2 * thick), (150, 100, -depth_mm))
    return Phantom(
        "water_tank",
        parts=(Part("bottom", plate, TISSUES["plastic"]),),
        low=np.array([-75.0, -50.0, -depth_mm - thick]),
        high=np.array([75.0, 50.0, 0.0]),
        landmarks={"bottom": (0.0, 0.0, -depth_mm)},
        measures={"depth_mm": depth_mm},
    )


def wire_target(
    *,
    depths_mm: Sequence[float] = (10, 20, 30, 40, 50, 60, 70, 80),
    row_depths_mm: Sequence[float] = (30, 60),
    row_step_mm: float = 10.0,
    pair_depth_mm: float = 45.0,
    gaps_mm: Sequence[float] = (4, 3, 2, 1, 0.5),
    length_mm: float = 50.0,
    seed: int = 0,
) -> Phantom:
    """Parallel wires in agar: distances, depths and resolution to check a picture with.

    The probe stands on z = 0 and looks along -z; the wires run along y. After multi-purpose test objects
    (thin wires, 10 mm apart), but after no maker's. All numbers are chosen.

    Parameters
    ----------
    depths_mm : a column of wires at x = 0
    row_depths_mm, row_step_mm : two wires on either side of the column at each of these depths
    pair_depth_mm, gaps_mm : a row of wires at this depth, to the right of the column (x > 0), with these
        gaps from wire to wire, for lateral resolution; and to its left a staircase with the same gaps in
        depth and 2 mm steps aside, for axial resolution
    length_mm : of the wires, half of it on either side of y = 0
    seed : of the speckle

    Returns
    -------
    Phantom
        Its landmarks are the middles of the wires in the order of `Phantom.wires`: "column 10",
        "row 30 at -20", "lateral 0", "axial 0" and so on.

    Raises
    ------
    ValueError
        If a depth, a step, a gap or the length is not above 0.

    Examples
    --------
    >>> target = wire_target()
    >>> target.landmarks["column 10"], target.landmarks["row 30 at -20"]
    ((0.0, 0.0, -10.0), (-20.0, 0.0, -30.0))
    """
    if not np.min([*depths_mm, *row_depths_mm, row_step_mm, pair_depth_mm, *gaps_mm, length_mm]) > 0:
        raise ValueError(
            "a depth, step, gap or length is not above 0; depths count downwards from the probe."
        )
    beyond = np.concatenate([[0.0], np.cumsum(gaps_mm)])
    at = {f"column {d:g}": (0.0, -d) for d in depths_mm}
    for d in row_depths_mm:
        at |= {f"row {d:g} at {k * row_step_mm:g}": (k * row_step_mm, -d) for k in (-2, -1, 1, 2)}
    at |= {f"lateral {k}": (8 + b, -pair_depth_mm) for k, b in enumerate(beyond)}
    at |= {f"axial {k}": (-8 - 2.0 * k, -pair_depth_mm - b) for k, b in enumerate(beyond)}
    middles = np.array([(x, 0.0, z) for x, z in at.values()])
    half = np.array([0.0, length_mm / 2, 0.0])
    low = np.array([middles[:, 0].min() - 15, -length_mm / 2, middles[:, 2].min() - 15])
    high = np.array([middles[:, 0].max() + 15, length_mm / 2, 0.0])
    agar = TISSUES["agar"]
    return Phantom(
        "wire_target",
        parts=(Part("agar", box(low - 1, high + 1), agar),),
        background=agar,
        low=low,
        high=high,
        wires=np.stack([middles - half, middles + half], axis=1),
        wire_echo=3.0,  # 30 dB above the agar: a wire stands out, as it does in such an object
        landmarks={name: (float(x), 0.0, float(z)) for name, (x, z) in at.items()},
        measures={"row_step_mm": row_step_mm, "smallest_gap_mm": float(min(gaps_mm))},
        seed=seed,
    )
