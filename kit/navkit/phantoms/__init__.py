"""Objects whose truth is known.

A phantom lives in its own space ``d`` (mm): parts of a tissue, each a signed distance, in a background, with
thin wires, landmarks, fiducials, centrelines and the numbers that a learner is asked to measure. Build
shapes with `sphere`, `ellipsoid`, `tube` and the like, combine them with `union`, `without`, `blended`.
"""

from navkit.phantoms._phantom import LabelVolume, Part, Phantom
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
    "TISSUES",
    "LabelVolume",
    "Part",
    "Phantom",
    "Shape",
    "Tissue",
    "blended",
    "box",
    "ellipsoid",
    "ellipsoids_in_tissue",
    "half_space",
    "intersection",
    "moved",
    "rippled",
    "sphere",
    "thicker",
    "tube",
    "union",
    "wall",
    "wire_cross",
    "without",
]
