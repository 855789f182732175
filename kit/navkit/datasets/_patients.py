"""Whose data it is: a phantom within stated bounds, where it lies in the room, and where a probe looks from.

Pictures of sets of one patient agree because the patient is the first thing drawn from the generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import orthonormalised, pose_from
from navkit.phantoms import Phantom, airway, aorta, kidney, liver, neuro, orbit, surface_along

Array = NDArray[np.float64]

MOST_TRIES = 40


@dataclass(frozen=True)
class Patient:
    """A phantom whose space d is the image's, r; its place in the room; and how to look at its target.

    Parameters
    ----------
    phantom : Phantom
    pr_M_r : (4, 4) where it lies in the room
    face_r, beam_r, across_r : (3,) middle of the probe's face, way of its beam, way across the picture
    target_r : (3,) what is to be seen
    """

    phantom: Phantom
    pr_M_r: Array
    face_r: Array
    beam_r: Array
    across_r: Array
    target_r: Array

    @property
    def difficulty(self) -> dict[str, float]:
        """The measures, and how deep the target's middle lies under the probe's face."""
        depth = float((self.target_r - self.face_r) @ self.beam_r)
        return {**self.phantom.measures, "target_depth_mm": depth}


_Build = Callable[..., Phantom]
_View = Callable[[Phantom], tuple[Array, Array, Array, Array]]


def _neuro(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """On the cortex under the craniotomy, looking at the tumour."""
    cortex, tumour = (np.array(p.landmarks[k]) for k in ("cortex under the craniotomy", "tumour"))
    beam = tumour - cortex
    return cortex - 0.5 * beam / np.linalg.norm(beam), beam, np.array([0.0, 1.0, 0.0]), tumour


def _liver(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """On the liver's front, at surgery, over the lesion that lies nearest to it."""
    organ, beam = p.part("liver").shape, np.array([0.0, 1.0, 0.0])
    lesions = [np.array(v) for k, v in p.landmarks.items() if k.startswith("lesion")]
    contacts = [surface_along(organ, at, -beam) for at in lesions]
    k = int(np.argmin([at[1] - c[1] for at, c in zip(lesions, contacts, strict=True)]))
    return contacts[k] + 1.0 * beam, beam, np.array([0.0, 0.0, 1.0]), lesions[k]


def _kidney(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """From the flank, the nearest skin, looking at the tumour."""
    skin, tumour = p.part("skin").shape, np.array(p.landmarks["tumour"])
    steps = np.vstack([np.eye(3), -np.eye(3)])
    slope = skin(tumour + steps)
    out = slope[:3] - slope[3:]
    out = out / np.linalg.norm(out)
    return surface_along(skin, tumour, out) - 3.0 * out, -out, np.array([0.0, 0.0, 1.0]), tumour


def _aorta(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """From the belly, cross sections of the sac."""
    sac, beam = np.array(p.landmarks["sac"]), np.array([0.0, 1.0, 0.0])
    return (
        surface_along(p.part("skin").shape, sac, -beam) + 3.0 * beam,
        beam,
        np.array([0.0, 0.0, -1.0]),
        sac,
    )


def _airway(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """From inside the trachea through its wall, looking at the lymph node 4R."""
    node = np.array(p.landmarks["4R"])
    line = p.centrelines["trachea"]
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    middle = line[0] + ((node - line[0]) @ along) * along
    beam = (node - middle) / np.linalg.norm(node - middle)
    return surface_along(p.part("airway").shape, middle, beam) + 0.8 * beam, beam, along, node


def _orbit(p: Phantom) -> tuple[Array, Array, Array, Array]:
    """In gel on the closed lid, looking along the eye at the sheath 3 mm behind the globe."""
    cornea = np.array(p.landmarks["cornea"])
    face = cornea - [0.0, 5.0, 0.0]
    target = np.array(p.landmarks["optic nerve 3 mm behind the globe"])
    return face, np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), target


PATIENTS: dict[str, tuple[_Build, _View]] = {
    "neuro": (neuro, _neuro),
    "liver": (liver, _liver),
    "kidney": (kidney, _kidney),
    "aorta": (aorta, _aorta),
    "airway": (airway, _airway),
    "orbit": (orbit, _orbit),
}

BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "neuro": {
        "tumour_volume_ml": (4.5, 12.5),
        "tumour_to_vessel_mm": (1.0, 6.0),
        "tumour_to_ventricle_mm": (2.5, 12.0),
        "target_depth_mm": (23.0, 27.0),
    },
    "liver": {
        "lesion_1_volume_ml": (0.9, 14.0),
        "lesion_2_volume_ml": (0.9, 14.0),
        "lesion_1_to_vessel_mm": (3.0, 12.0),
        "lesion_2_to_vessel_mm": (3.0, 12.0),
        "target_depth_mm": (15.0, 50.0),
    },
    "kidney": {
        "tumour_volume_ml": (2.0, 14.5),
        "cyst_volume_ml": (2.0, 14.5),
        "tumour_to_sinus_mm": (1.5, 13.0),
        "target_depth_mm": (28.0, 45.0),
    },
    "aorta": {
        "sac_diameter_mm": (50.0, 60.0),
        "neck_length_mm": (16.0, 28.0),
        "target_depth_mm": (56.0, 66.0),
    },
    "airway": {
        "route_length_mm": (200.0, 250.0),
        "nodule_diameter_mm": (12.0, 18.0),
        "node_mm": (8.0, 10.0),
        "target_depth_mm": (5.0, 12.0),
    },
    "orbit": {
        "sheath_diameter_3mm_mm": (4.5, 6.5),
        "nerve_angle_deg": (10.0, 20.0),
        "target_depth_mm": (31.0, 33.0),
    },
}
"""What every case keeps, the course's and each learner's: chosen so that the task stays as hard for all."""


def drawn_patient(kind: str, rng: np.random.Generator) -> Patient:
    """A patient within `BOUNDS`: phantoms are drawn until one is.

    Raises
    ------
    ValueError
        If none of 40 is.
    """
    build, view = PATIENTS[kind]
    for seed in rng.integers(1, 2**31, size=MOST_TRIES):
        phantom = build(seed=int(seed))
        face, beam, across, target = view(phantom)
        beam = beam / np.linalg.norm(beam)
        turn = Rotation.from_rotvec(rng.normal(scale=0.4, size=3))
        pr_M_r = orthonormalised(np.round(pose_from(turn, rng.normal(scale=60.0, size=3)), 6))
        patient = Patient(phantom, pr_M_r, np.round(face, 2), beam, across, target)
        if within(kind, patient.difficulty):
            return patient
    raise ValueError(f"none of {MOST_TRIES} {kind} phantoms lies within its bounds.")


def within(kind: str, difficulty: dict[str, float]) -> bool:
    """Whether a case keeps its bounds."""
    return all(low <= difficulty[key] <= high for key, (low, high) in BOUNDS[kind].items())
