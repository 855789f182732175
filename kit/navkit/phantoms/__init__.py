"""Objects whose truth is known.

A phantom lives in its own space ``d`` (mm): parts of a tissue, each a signed distance, in a background, with
thin wires, landmarks, fiducials, centrelines and the numbers that a learner is asked to measure. Build
shapes with `sphere`, `ellipsoid`, `tube` and the like, combine them with `union`, `without`, `blended`. The
clinical ones (`neuro`, `liver`, `kidney`, `aorta`, `airway`, `orbit`) give a case of its own for every seed.
`surface_mesh` gives triangles, `ct_like` and `mr_like` give pictures.
"""

from navkit.phantoms._abdomen import kidney, liver
from navkit.phantoms._airway import AIRWAY_BOUNDS, airway
from navkit.phantoms._aorta import AORTA_BOUNDS, aorta
from navkit.phantoms._brain import brain_shift, undo_brain_shift
from navkit.phantoms._calibration import nwire_array, nwires, water_tank, wire_target
from navkit.phantoms._mesh import surface_mesh
from navkit.phantoms._neuro import neuro
from navkit.phantoms._orbit import orbit
from navkit.phantoms._phantom import LIVER_LEVEL, LabelVolume, Part, Phantom
from navkit.phantoms._pictures import Picture, ct_like, labels_like, mr_like
from navkit.phantoms._rays import surface_along
from navkit.phantoms._segments import liver_segment
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
from navkit.phantoms._vessels import VesselTree, grow_tree

__all__ = [
    "AIRWAY_BOUNDS",
    "AORTA_BOUNDS",
    "LIVER_LEVEL",
    "TISSUES",
    "LabelVolume",
    "Part",
    "Phantom",
    "Picture",
    "Shape",
    "Tissue",
    "VesselTree",
    "airway",
    "aorta",
    "blended",
    "box",
    "brain_shift",
    "ct_like",
    "ellipsoid",
    "ellipsoids_in_tissue",
    "grow_tree",
    "half_space",
    "intersection",
    "kidney",
    "labels_like",
    "liver",
    "liver_segment",
    "moved",
    "mr_like",
    "neuro",
    "nwire_array",
    "nwires",
    "orbit",
    "rippled",
    "sphere",
    "surface_along",
    "surface_mesh",
    "thicker",
    "tube",
    "undo_brain_shift",
    "union",
    "wall",
    "water_tank",
    "wire_cross",
    "wire_target",
    "without",
]
