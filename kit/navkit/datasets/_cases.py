"""A patient's pictures before the operation, and the truth: CT-like, MR-like, labels, landmarks, measures."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.datasets._patients import drawn_patient
from navkit.datasets._store import Arrays, Progress
from navkit.geometry import pose_from, transform_points
from navkit.phantoms import ct_like, labels_like, mr_like

SPACING_MM = {
    "neuro": (2.7, 2.7, 4.4),
    "liver": (3.2, 3.2, 4.8),
    "kidney": (2.6, 2.6, 4.0),
    "aorta": (3.1, 3.1, 4.6),
    "airway": (3.9, 3.9, 5.8),
    "orbit": (0.9, 0.9, 1.3),
}
"""Coarse, for the files to be small; as scanners do, the slices are thicker than the pixels."""
TILT_DEG = (4.0, -6.0, 9.0)
TOUCH_MM = 0.7


def case(kind: str, rng: np.random.Generator, progress: Progress | None = None) -> Arrays:
    """The pictures of a patient of that kind, on one oblique grid, and what is true of them.

    The pictures are of the unshifted phantom, in the image's space r (LPS). `fiducials_pr` (landmarks where
    the phantom has no fiducials) were touched in the room with an error of 0.7 mm RMS.
    """
    patient = drawn_patient(kind, rng)
    p, spacing = patient.phantom, SPACING_MM[kind]
    grid = pose_from(Rotation.from_euler("xyz", TILT_DEG, degrees=True), np.zeros(3))
    grid = np.round(grid, 12)
    labels = labels_like(p, spacing, d_M_i=grid)
    ct = ct_like(p, spacing, d_M_i=grid, rng=rng)
    mr = mr_like(p, spacing, d_M_i=grid, rng=rng)
    marks = np.array(list(p.landmarks.values()))
    fiducials = np.round(p.fiducials if len(p.fiducials) else marks, 4)
    touched = transform_points(patient.pr_M_r, fiducials)
    touched = touched + rng.normal(scale=TOUCH_MM / np.sqrt(3), size=touched.shape)
    lines = list(p.centrelines.values())
    return {
        "ct": ct.values.astype(np.int16),
        "mr": np.clip(np.rint(mr.values / 4), 0, 255).astype(np.uint8),
        "labels": labels.values.astype(np.uint8),
        "label_names": np.array(["background", *(part.name for part in p.parts)]),
        "origin_r": np.round(labels.origin_mm, 4),
        "spacing_mm": labels.spacing_mm,
        "direction": labels.direction,
        "landmark_names": np.array(list(p.landmarks)),
        "landmarks_r": np.round(marks, 4),
        "fiducials_r": fiducials,
        "fiducials_pr": np.round(touched, 4),
        "centreline_names": np.array(list(p.centrelines)),
        "centreline_ends": np.cumsum([len(line) for line in lines]),
        "centrelines_r": np.round(np.concatenate(lines), 3),
        "measure_names": np.array(list(p.measures)),
        "measures": np.round(list(p.measures.values()), 4),
        "pr_M_r_true": np.round(patient.pr_M_r, 9),
        "phantom_seed": np.array(p.seed),
    }
