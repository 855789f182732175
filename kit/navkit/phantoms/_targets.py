"""Phantoms of the workshop: wires in water, ellipsoids in agar."""

from dataclasses import replace

import numpy as np

from navkit.phantoms._phantom import Part, Phantom
from navkit.phantoms._shapes import ellipsoid
from navkit.phantoms._tissues import TISSUES


def wire_cross() -> Phantom:
    """CustusX's wire phantom: two wires that meet at 89.99 degrees, 0.01 mm apart, in water.

    End points as in CustusX's nominal model ``wire_phantom_cross_pts.vtk``.
    """
    wires = np.array(
        [
            [(9.20, 134.35, 50.64), (259.25, 134.30, 149.64)],
            [(134.20, 259.35, 100.14), (134.20, 9.35, 100.14)],
        ]
    )
    return Phantom(
        "wire_cross",
        low=np.array([90.0, 90.0, 60.0]),
        high=np.array([180.0, 180.0, 140.0]),
        wires=wires,
        landmarks={"cross": (134.21, 134.34, 100.14)},
    )


def ellipsoids_in_tissue(*, seed: int = 0) -> Phantom:
    """Three ellipsoids of unequal radii, off centre, in speckle: a cyst, a bright and a faint one."""
    c, s = np.cos(0.5), np.sin(0.5)
    turned = ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))
    agar = TISSUES["agar"]
    shapes = (
        ("cyst", ellipsoid((31.0, 22.0, 27.0), (9.0, 6.0, 5.0)), TISSUES["water"]),
        (
            "bright lesion",
            ellipsoid((12.0, 30.0, 18.0), (4.0, 7.0, 5.5), turned),
            replace(agar, echo_db=11.0),
        ),
        ("faint lesion", ellipsoid((44.0, 40.0, 21.0), (5.0, 5.0, 8.0)), replace(agar, echo_db=-10.5)),
    )
    return Phantom(
        "ellipsoids_in_tissue",
        parts=tuple(Part(*one) for one in shapes),
        background=agar,
        high=np.array([60.0, 60.0, 50.0]),
        landmarks={
            "cyst": (31.0, 22.0, 27.0),
            "bright lesion": (12.0, 30.0, 18.0),
            "faint lesion": (44.0, 40.0, 21.0),
        },
        seed=seed,
    )
