"""The views of the gallery: every phantom as a probe that could stand there sees it. All are chosen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit import phantoms as ph
from navkit.geometry import pose_from
from navkit.phantoms import TISSUES, Phantom, surface_along
from navkit.ultrasound import FlowSettings, ProbeSector, SimulationSettings, curved_array, linear_array

Array = NDArray[np.float64]
Place = tuple[ArrayLike, ArrayLike, ArrayLike]
BRAIN_HU, BODY_HU, WIDE_HU = (35.0, 130.0), (20.0, 400.0), (50.0, 900.0)
LEFT, BACK, UP = np.eye(3)
"""Of the patient: x, y, z of LPS."""


@dataclass(frozen=True)
class View:
    """A phantom seen by a probe.

    Parameters
    ----------
    name : of the phantom's function in `navkit.phantoms`
    title : what is looked at
    probe : the probe in words
    sector : ProbeSector
    settings : SimulationSettings
    place : gives for the phantom: the middle of the probe's face, the way of its beam, and what lies to
        the right in the picture, roughly; (3,) each, in d
    shows : parts or landmarks that get a number, in this order; "lesion 3=metastasis" for other words
    window_hu : middle and width of the CT-like picture's grey scale
    flow : FlowSettings, for colour flow
    build : makes the phantom, unless it is the reference one
    """

    name: str
    title: str
    probe: str
    sector: ProbeSector
    settings: SimulationSettings
    place: Callable[[Phantom], Place]
    shows: tuple[str, ...]
    window_hu: tuple[float, float] = BODY_HU
    flow: FlowSettings | None = None
    build: Callable[[], Phantom] | None = None

    def phantom(self) -> Phantom:
        """The phantom, with gel where there is air around a body: the probe lies in it."""
        return _made(self.build or getattr(ph, self.name))

    def d_M_t(self, phantom: Phantom) -> Array:
        """The tool's pose (4, 4) in the phantom."""
        face, beam, right = (np.asarray(v, dtype=float) for v in self.place(phantom))
        z = beam / np.linalg.norm(beam)
        y = (right @ z) * z - right
        y /= np.linalg.norm(y)
        turn = np.stack([np.cross(y, z), y, z], axis=1)
        return pose_from(turn, face - self.sector.depth_mm[0] * z)


@lru_cache(maxsize=4)
def _made(build: Callable[[], Phantom]) -> Phantom:
    phantom = build()
    gel = replace(TISSUES["water"], name="gel")
    return replace(phantom, background=gel) if phantom.background.name == "air" else phantom


def _settings(frequency_mhz: float, focus_mm: float, gain_db: float = -6.0) -> SimulationSettings:
    """The fine preset with the contrast of a clinical display and a thin ring-down."""
    fine = SimulationSettings.fine(frequency_mhz=frequency_mhz, focus_mm=focus_mm)
    return replace(fine, gain_db=gain_db, dynamic_range_db=48.0, ring_down_mm=0.08)


def _curved(radius_mm: float, angle_deg: float, depth_mm: float) -> tuple[str, ProbeSector]:
    """With as many pixels as a panel has, and so `_linear`."""
    half, end = np.radians(angle_deg) / 2, radius_mm + depth_mm
    pixel_mm = max(2 * end * np.sin(half) / 290, (end - radius_mm * np.cos(half)) / 250)
    sector = curved_array(radius_mm, angle_deg, depth_mm, pixel_mm)
    return f"curved array of {radius_mm:g} mm radius, {angle_deg:g}°", sector


def _linear(width_mm: float, depth_mm: float) -> tuple[str, ProbeSector]:
    return f"linear array, {width_mm:g} mm", linear_array(
        width_mm, depth_mm, max(width_mm / 290, depth_mm / 250)
    )


def _window(phantom: Phantom, *, to: ArrayLike | str = "tumour", right: ArrayLike) -> Place:
    """On the cortex under the craniotomy, as it was before the brain sank."""
    cortex = np.array(_made(ph.neuro).landmarks["cortex under the craniotomy"])
    beam = np.array(phantom.landmarks[to] if isinstance(to, str) else to) - cortex
    return cortex - 0.5 * beam / np.linalg.norm(beam), beam, right


def _on(
    phantom: Phantom, *, part: str, to: ArrayLike, beam: ArrayLike, right: ArrayLike, deep: float
) -> Place:
    """On the part's surface, pressed in by `deep` mm."""
    way = np.array(beam, dtype=float)
    way /= np.linalg.norm(way)
    return surface_along(phantom.part(part).shape, to, -way) + deep * way, way, right


def _airway(phantom: Phantom) -> Place:
    """From inside the trachea, pressed against its wall, at the node 4R."""
    node, line = np.array(phantom.landmarks["4R"]), phantom.centrelines["trachea"]
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    middle = line[0] + ((node - line[0]) @ along) * along
    beam = (node - middle) / np.linalg.norm(node - middle)
    return surface_along(phantom.part("airway").shape, middle, beam) + 0.8 * beam, beam, along


def _at(phantom: Phantom, *, face: ArrayLike, beam: ArrayLike, right: ArrayLike) -> Place:
    """Where no phantom has to be asked."""
    return face, beam, right


SAC = (6.2, -4.3, -63.0)
GALLBLADDER = (-20.0, -22.0, -18.0)

VIEWS = (
    View("neuro", "Brain: tumour, through the craniotomy", *_curved(14, 70, 62), _settings(7, 25),
         partial(_window, right=BACK), ("tumour", "ventricles", "sulci", "cerebral arteries"), BRAIN_HU),
    View("neuro", "Brain: across the midline", *_curved(14, 85, 112), _settings(5, 45),
         partial(_window, to=(-9.8, 2.0, 0.0), right=UP - LEFT),
         ("tumour", "ventricles", "falx", "sulci", "skull"), BRAIN_HU),
    View("neuro", "Brain sunk by 8 mm, saline in the window", *_linear(44, 54), _settings(10, 30, -10.0),
         partial(_window, right=BACK), ("subarachnoid space=saline", "sulci", "tumour", "ventricles"),
         BRAIN_HU, build=partial(ph.neuro, shift_mm=8.0)),
    View("liver", "Liver: metastasis, at surgery", *_curved(20, 62, 90), _settings(5, 40),
         partial(_on, part="liver", to=(0.0, 14, -20), beam=(0.1, 0.8, -0.6), right=LEFT, deep=1.0),
         ("lesion 3=metastasis", "portal vein", "hepatic vein"), BODY_HU),
    View("liver", "Liver: gallbladder, at surgery", *_curved(20, 62, 90), _settings(5, 40),
         partial(_on, part="liver", to=GALLBLADDER, beam=(0.1, 0.6, -0.8), right=BACK, deep=1.0),
         ("gallbladder", "portal vein", "hepatic vein"), BODY_HU),
    View("liver", "Liver: hepatic veins, below the ribs", *_curved(50, 58, 165), _settings(3.5, 80, -2.0),
         partial(_at, face=(-14, -77, -58), beam=(1.0, 120, 98), right=LEFT),
         ("abdominal wall", "liver", "hepatic vein", "portal vein", "vena cava", "lung"), BODY_HU),
    View("liver", "Liver: portal vein, colour flow", *_curved(20, 62, 90), _settings(5, 45),
         partial(_on, part="liver", to=(1.0, 16, -38), beam=(0.0, 0.75, -0.6), right=(-19, -7, 27), deep=1.0),
         ("portal vein", "hepatic vein", "lesion 3=metastasis"), BODY_HU,
         flow=FlowSettings(prf_hz=2500.0, frequency_mhz=3.5, box=(0.12, 0.88, 0.3, 0.97))),
    View("kidney", "Kidney: tumour and cyst, from the flank", *_curved(50, 62, 92), _settings(4, 50, -1.0),
         partial(_on, part="skin", to=(16.0, 3, -4), beam=(-21, -4.6, 4), right=(3.6, -8.9, -44.6), deep=3.0),
         ("cortex", "pyramids", "sinus", "tumour", "cyst", "muscle")),
    View("kidney", "Kidney: cyst, brighter below it", *_curved(50, 62, 92), _settings(4, 50, -1.0),
         partial(_on, part="skin", to=(14.3, 7.6, 18), beam=(-0.85, -0.53, 0.0), right=LEFT - BACK, deep=3.0),
         ("subcutaneous fat", "muscle", "cortex", "cyst", "psoas")),
    View("aorta", "Aorta: aneurysm and thrombus, across", *_curved(50, 60, 130), _settings(3.5, 70, -4.0),
         partial(_on, part="skin", to=SAC, beam=BACK, right=LEFT, deep=3.0),
         ("lumen", "thrombus", "vena cava", "vertebrae", "abdominal wall"), WIDE_HU),
    View("aorta", "Aorta: aneurysm and thrombus, along", *_curved(50, 60, 130), _settings(3.5, 70, -4.0),
         partial(_on, part="skin", to=SAC, beam=BACK, right=0.1 * LEFT - UP, deep=3.0),
         ("lumen", "thrombus", "artery wall", "vertebrae"), WIDE_HU),
    View("airway", "Airways: node 4R, from inside the trachea", *_curved(5, 64, 28), _settings(7.5, 14),
         _airway, ("node 4R", "mediastinum", "airway wall"), BODY_HU),
    View("orbit", "Eye: optic nerve in its sheath, closed lid", *_linear(38, 48), _settings(10, 30, -9.0),
         partial(_at, face=(0, -17.2, 0.0), beam=BACK, right=LEFT),
         ("eyelid", "lens", "vitreous", "optic nerve", "optic nerve sheath", "orbital fat", "bony orbit"),
         BODY_HU),
    View("ellipsoids_in_tissue", "Ellipsoids in agar", *_linear(50, 50), _settings(7, 25),
         partial(_at, face=(28, 28, 0.0), beam=UP, right=(1.0, -0.3, 0)), ("cyst", "bright lesion"),
         (0.0, 120.0)),
    View("wire_target", "Wires in agar: distances, resolution", *_linear(56, 70), _settings(4, 40),
         partial(_at, face=(0, 0, -0.2), beam=-UP, right=LEFT),
         ("column 10=wire 10 mm deep", "row 30 at -20=wire 20 mm aside", "lateral 0=gaps across",
          "axial 0=gaps in depth"), (100.0, 600.0)),
    View("nwires", "N-wires in water", *_linear(52, 60), _settings(7, 30),
         partial(_at, face=(46, 18, 42.0), beam=-UP, right=LEFT), (), (100.0, 600.0)),
    View("wire_cross", "Wire cross in water", *_linear(38, 39), _settings(7, 20),
         partial(_at, face=(134.2, 139, 80.0), beam=(0, 0.0, 1.0), right=(1.0, 0.6, 0)), (), (100.0, 600.0)),
    View("water_tank", "Bottom of a water tank", *_linear(38, 62), _settings(7, 30),
         partial(_at, face=(0, 0, -16.0), beam=(0.03, 0, -1.0), right=LEFT), ("bottom",), (100.0, 600.0)),
)  # fmt: skip
