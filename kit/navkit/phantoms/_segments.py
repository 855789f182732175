"""Couinaud's segments of the liver phantom."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points
from navkit.phantoms._phantom import Phantom
from navkit.phantoms._shapes import tube

CAUDATE_MM = 20.0
RIGHT_DEG, LEFT_DEG = 45.0, 40.0
"""Right and left of the plane between the lobes lie the planes of the right vein and of the ligament."""


def liver_segment(phantom: Phantom, points_d: ArrayLike) -> NDArray[np.int64]:
    """Couinaud's segment, 1 to 8, of points in the liver of `liver`; 0 outside it.

    A simplification of his scheme [1]_, all sizes chosen: upright planes through the caval vein, and level
    ones. The plane between the lobes goes through the gallbladder's fundus; 45 degrees to the right lies that
    between 5, 8 and 6, 7, and 40 degrees to the left that between 4 and 2, 3. Half way up the liver 7 and 8
    lie above 6 and 5; a sixth of its height further up 2 lies above 3. What is within 20 mm of the caval
    vein's axis is 1. The grown vessels do not follow these planes.

    Parameters
    ----------
    phantom : from `liver`, whatever its seed
    points_d : (n, 3) mm

    Returns
    -------
    (n,) integers

    Raises
    ------
    ValueError
        If the phantom has no liver, gallbladder and caval vein to go by.

    References
    ----------
    .. [1] Couinaud, Le foie: etudes anatomiques et chirurgicales, Masson, Paris, 1957.

    Examples
    --------
    >>> from navkit.phantoms import liver
    >>> liver_segment(liver(), [(50.0, -20.0, 40.0), (-60.0, 20.0, -30.0), (0.0, 0.0, 300.0)])
    array([2, 6, 0])
    """
    p = check_points(points_d, "points_d")
    try:
        cava, organ = phantom.centrelines["vena cava"], phantom.part("liver").shape
        fundus = np.array(phantom.landmarks["gallbladder fundus"])
    except KeyError as missing:
        raise ValueError(
            f"{phantom.name} is no liver of `navkit.phantoms.liver`: it has no {missing}."
        ) from None

    def turn_deg(q: NDArray[np.float64]) -> NDArray[np.float64]:
        """About the caval vein, 0 to the front, positive to the left; q (n, 3)."""
        x, y = (np.interp(q[:, 2], cava[:, 2], cava[:, i]) for i in (0, 1))
        return np.asarray(np.degrees(np.arctan2(q[:, 0] - x, y - q[:, 1])))

    off = (turn_deg(p) - turn_deg(fundus[None]) + 180) % 360 - 180
    height = (p[:, 2] - organ.low[2]) / (organ.high[2] - organ.low[2])
    left = np.where(height > 2 / 3, 2, 3)
    upper, lower = (np.where(height > 1 / 2, a, b) for a, b in ((8, 5), (7, 6)))
    segment = np.select([off > LEFT_DEG, off > 0, off > -RIGHT_DEG], [left, 4, upper], lower)
    segment[tube(cava, CAUDATE_MM)(p) < 0] = 1
    segment[organ(p) >= 0] = 0
    return np.asarray(segment, dtype=np.int64)
