"""What a phantom is made of: numbers for ultrasound, CT-like and MR-like pictures.

Speeds, densities and attenuations are typical values at 37 C after Duck, Physical Properties of Tissue,
1990, and Mast, Acoust. Res. Lett. Online 1(2), 2000, doi:10.1121/1.1336896, unless said otherwise. The echo
levels, textures, Hounsfield numbers and MR intensities are chosen, so that pictures look as the tissues do.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """A material.

    Parameters
    ----------
    name : str
    speed_m_s, density_kg_m3 : of sound, and of the material; their product is the impedance
    attenuation_db_cm_mhz : one way
    echo_db : level of its speckle relative to liver or brain; -inf for a fluid without scatterers
    hounsfield : CT-like grey value
    mr : MR-like grey value, 0 to 1, as in a T1-weighted picture
    specular : 0 to 1, how mirror-like its surface is
    texture_db : standard deviation of its echo level, coarser than speckle; `echo_db` is the mean power's
    texture_mm : size of the texture's grains (full width at half maximum of its autocovariance) along x, y
        and z of the phantom; unequal for fibres
    """

    name: str
    speed_m_s: float
    density_kg_m3: float
    attenuation_db_cm_mhz: float
    echo_db: float
    hounsfield: float
    mr: float
    specular: float = 0.2
    texture_db: float = 0.0
    texture_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)

    @property
    def impedance_mrayl(self) -> float:
        """Acoustic impedance, 1e6 kg / (m^2 s)."""
        return self.speed_m_s * self.density_kg_m3 * 1e-6


NO_ECHO = float("-inf")
_ALL = (
    Tissue("air", 343, 1.2, 7.5, NO_ECHO, -1000, 0.0, 1.0),
    Tissue("lung", 650, 394, 40.0, 0.0, -750, 0.05, 0.5),
    Tissue("water", 1482, 998, 0.0022, NO_ECHO, 0, 0.05),  # at 20 C, as in a calibration tank
    Tissue("csf", 1505, 1007, 0.01, NO_ECHO, 8, 0.08, 0.5),
    Tissue("urine", 1505, 1007, 0.01, NO_ECHO, 5, 0.1, 0.5),
    Tissue("bile", 1505, 1010, 0.01, NO_ECHO, 10, 0.2, 0.5),
    Tissue("vitreous", 1505, 1007, 0.01, NO_ECHO, 10, 0.08, 0.5),
    Tissue("blood", 1584, 1060, 0.15, -24.0, 45, 0.15, 0.4),
    Tissue("thrombus", 1590, 1065, 0.3, -9.0, 40, 0.35, texture_db=2.0, texture_mm=(5.0, 5.0, 5.0)),
    Tissue("vessel wall", 1570, 1100, 1.0, 6.0, 50, 0.35, 0.9),
    Tissue("grey matter", 1560, 1040, 0.6, -1.0, 38, 0.5, texture_db=0.8),
    Tissue("white matter", 1560, 1040, 0.6, 1.0, 29, 0.72, texture_db=1.2, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("sulcus", 1540, 1030, 0.5, 11.0, 20, 0.25, 0.6),
    Tissue("dura", 1600, 1110, 1.0, 14.0, 60, 0.3, 0.9),
    Tissue("low-grade glioma", 1570, 1045, 0.7, 8.0, 22, 0.38, texture_db=2.0, texture_mm=(4.0, 4.0, 4.0)),
    Tissue("meningioma", 1580, 1050, 0.9, 10.0, 50, 0.58, 0.5, texture_db=1.5, texture_mm=(2.5, 2.5, 2.5)),
    Tissue("liver", 1595, 1060, 0.5, 0.0, 58, 0.6, texture_db=1.2, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("liver metastasis", 1575, 1055, 0.6, -7.0, 42, 0.4, texture_db=1.5, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("hepatocellular carcinoma", 1570, 1055, 0.6, 4.0, 50, 0.5, texture_db=1.0),
    Tissue("kidney cortex", 1560, 1050, 1.0, -3.0, 36, 0.52, texture_db=1.0),
    Tissue("kidney sinus", 1478, 950, 0.8, 7.0, -60, 0.85, texture_db=3.0, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("renal tumour", 1565, 1050, 0.9, 2.0, 40, 0.45, texture_db=2.0, texture_mm=(4.0, 4.0, 4.0)),
    Tissue("spleen", 1567, 1055, 0.4, 1.0, 48, 0.5, texture_db=0.8, texture_mm=(1.5, 1.5, 1.5)),
    Tissue("muscle", 1580, 1060, 1.1, -4.0, 55, 0.42, texture_db=3.0, texture_mm=(9.0, 1.6, 12.0)),
    Tissue("fat", 1465, 940, 0.63, 3.0, -95, 0.95, texture_db=2.0, texture_mm=(6.0, 2.5, 6.0)),
    Tissue("orbital fat", 1465, 940, 0.63, 8.0, -90, 0.95, texture_db=2.0, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("optic nerve", 1560, 1040, 0.6, -13.0, 35, 0.55),
    Tissue("nerve sheath", 1600, 1110, 1.0, 4.0, 45, 0.35, 0.6),
    Tissue("sclera", 1620, 1100, 1.2, 8.0, 55, 0.3, 0.9),
    Tissue("lens", 1640, 1070, 1.0, -18.0, 70, 0.35, 0.8),
    Tissue("lymph node", 1570, 1050, 0.6, -6.0, 40, 0.45, texture_db=1.0),
    Tissue("lung nodule", 1570, 1050, 0.6, -4.0, 35, 0.45, texture_db=1.5, texture_mm=(3.0, 3.0, 3.0)),
    Tissue("airway wall", 1640, 1100, 1.5, 8.0, 80, 0.3, 0.8),
    Tissue("skin", 1624, 1109, 1.5, 5.0, 60, 0.5, 0.6),
    Tissue("bone", 3500, 1900, 10.0, 3.0, 1100, 0.03, 1.0),
    Tissue("agar", 1540, 1045, 0.5, 0.0, 15, 0.4),
    Tissue("plastic", 2600, 1140, 2.0, NO_ECHO, 120, 0.0, 1.0),
    Tissue("steel", 5900, 7800, 0.1, NO_ECHO, 3000, 0.0, 1.0),
)
TISSUES = {tissue.name: tissue for tissue in _ALL}
"""Every tissue by its name."""
