"""Objects whose truth is known.

A phantom lives in its own space ``d`` (mm): parts of a tissue, each a signed distance, in a background, with
thin wires, landmarks, fiducials, centrelines and the numbers that a learner is asked to measure. Build
shapes with `sphere`, `ellipsoid`, `tube` and the like, combine them with `union`, `without`, `blended`.
"""

from navkit.phantoms._airway import AIRWAY_BOUNDS, airway
from navkit.phantoms._aorta import AORTA_BOUNDS, aorta
from navkit.phantoms._calibration import nwire_array, nwires, water_tank, wire_target
from navkit.phantoms._phantom import LabelVolume, Part, Phantom
from navkit.phantoms._pictures import Picture, ct_like, labels_like, mr_like
from navkit.phantoms._shapes import (
    Shape,
    blended,
    box,
    ellipsoid,
    half_space,
    intersection,
    moved,
    rippled,
    sphere,
    thicker,
    tube,
    union,
    wall,
    without,
)
from navkit.phantoms._targets import ellipsoids_in_tissue, wire_cross
from navkit.phantoms._tissues import TISSUES, Tissue

__all__ = [
    "AIRWAY_BOUNDS",
    "AORTA_BOUNDS",
    "TISSUES",
    "LabelVolume",
    "Part",
    "Phantom",
    "Picture",
    "Shape",
    "Tissue",
    "airway",
    "aorta",
    "blended",
    "box",
    "ct_like",
    "ellipsoid",
    "ellipsoids_in_tissue",
    "half_space",
    "intersection",
    "labels_like",
    "moved",
    "mr_like",
    "nwire_array",
    "nwires",
    "rippled",
    "sphere",
    "thicker",
    "tube",
    "union",
    "wall",
    "water_tank",
    "wire_cross",
    "wire_target",
    "without",
]
