"""What the simulated scanner does."""

from dataclasses import dataclass

SPEED_M_S = 1540.0
"""The speed of sound that scanners assume."""

_NEVER = float("-inf")
_WITHIN = {
    "frequency_mhz": (0.5, 100.0),
    "axial_mm": (0.005, 10.0),
    "lateral_mm": (0.01, 20.0),
    "elevation_mm": (0.01, 20.0),
    "ring_down_mm": (1e-6, 100.0),
    "dynamic_range_db": (1.0, 200.0),
    "noise_db": (_NEVER, 40.0),
    "focus_mm": (0.0, 1000.0),
    "focus_zone_mm": (0.1, float("inf")),
    "gain_db": (-200.0, 200.0),
    "tgc_db_cm_mhz": (0.0, 20.0),
    "specular_db": (_NEVER, 120.0),
    "rough_power": (0.0, 1000.0),
    "mirror_power": (0.0, 1000.0),
    "wire_power": (0.0, 1000.0),
    "reverberation_db": (_NEVER, -0.1),
    "clutter_db": (_NEVER, 40.0),
    "clutter_mm": (1e-3, 1000.0),
    "comet_mm": (0.01, 1000.0),
    "comet_decay": (0.0, 0.99),
    "shadow_edge_mm": (0.0, 100.0),
    "assumed_speed_m_s": (300.0, 7000.0),
    "true_speed_m_s": (300.0, 7000.0),
    "voxel_mm": (0.05, 10.0),
    "samples_per_sd": (0.5, 10.0),
    "max_lines": (2, 4096),
    "max_samples": (2, 16384),
    "max_slices": (1, 64),
}


@dataclass(frozen=True)
class SimulationSettings:
    """What the simulated scanner does. A number of dB is relative to the brightest that the picture shows.

    The first six also rule pictures of wires alone; the others only those of tissue.

    Parameters
    ----------
    axial_mm, lateral_mm, elevation_mm : standard deviations of the pulse, the beam and the slice at the
        focus; their resolution (FWHM, -6 dB) is 2.355 times that
    ring_down_mm : over what depth the probe's own face fades
    dynamic_range_db : what the 255 grey levels span
    noise_db : level of electronic noise at the bottom of the picture; above, the TGC amplifies it less
    frequency_mhz : centre of the pulse; attenuation is proportional to it
    focus_mm : depth of the focus, below the face
    focus_zone_mm : so far from the focus, beam and slice are sqrt(2) wider
    gain_db : added to everything
    tgc_db_cm_mhz : time gain compensation, one way, as for a tissue of that attenuation
    specular_db : echo of a total reflection hit squarely, relative to tissue of 0 dB
    rough_power : a rough surface's echo falls with the angle of incidence as cos to this power
    mirror_power : and a mirror's; `Tissue.specular` is the mirror's share
    wire_power : and a wire's, with the angle by which it is not square to the beam; beside tissue only
    reverberation_db : an echo comes again at twice its depth, so much weaker; -inf for never
    clutter_db : haze below the face that does not move with the tissue; -inf for none
    clutter_mm : over what depth it fades
    comet_mm : distance between a wire's repeated echoes
    comet_decay : amplitude of a repeat relative to the one before; 0 for a wire without a tail
    shadow_edge_mm : standard deviation of a shadow's edge: the aperture is not a point
    assumed_speed_m_s : with which the scanner turns time into depth
    true_speed_m_s : of the sound; depths are stretched by assumed / true
    voxel_mm : of the grid on which the phantom is traced; coarser where that would be 150 million voxels
    samples_per_sd : scan lines and samples in one standard deviation of beam and pulse
    max_lines, max_samples, max_slices : never more scan lines, samples on one, layers through the slice;
        where that is too few the resolution is coarser, not the sampling; with one layer the slice has no
        thickness but the scatterers' own

    Raises
    ------
    ValueError
        If a number is outside of what a scanner can have, as it is in a wrong unit.

    Examples
    --------
    >>> SimulationSettings(frequency_mhz=5e6)
    Traceback (most recent call last):
    ValueError: frequency_mhz is 5e+06; expected 0.5 to 100. Is it in another unit?
    """

    axial_mm: float = 0.18
    lateral_mm: float = 0.6
    elevation_mm: float = 0.7
    ring_down_mm: float = 0.15
    dynamic_range_db: float = 55.0
    noise_db: float = -62.0
    frequency_mhz: float = 5.0
    focus_mm: float = 30.0
    focus_zone_mm: float = 40.0
    gain_db: float = -8.0
    tgc_db_cm_mhz: float = 0.5
    specular_db: float = 40.0
    rough_power: float = 2.0
    mirror_power: float = 16.0
    wire_power: float = 8.0
    reverberation_db: float = -34.0
    clutter_db: float = -32.0
    clutter_mm: float = 3.0
    comet_mm: float = 0.6
    comet_decay: float = 0.0
    shadow_edge_mm: float = 0.8
    assumed_speed_m_s: float = SPEED_M_S
    true_speed_m_s: float = SPEED_M_S
    voxel_mm: float = 0.4
    samples_per_sd: float = 1.25
    max_lines: int = 160
    max_samples: int = 512
    max_slices: int = 7

    def __post_init__(self) -> None:
        for name, (low, high) in _WITHIN.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}; expected {low:g} to {high:g}. Is it in another unit?")
            if name.startswith("max_") and value != int(value):
                raise ValueError(f"{name} is {value:g}; expected a whole number.")

    @staticmethod
    def fast(*, frequency_mhz: float = 5.0, focus_mm: float = 30.0) -> "SimulationSettings":
        """For live scanning: the resolution that the frequency gives, as far as 160 x 512 samples carry it.

        Of a pulse of two cycles (-6 dB: a wavelength), a beam of f-number 2.5 and a lens of 6 (0.89 f-number
        wavelengths).

        >>> SimulationSettings.fast(frequency_mhz=7.0).axial_mm
        0.093
        """
        wave_mm = SPEED_M_S / frequency_mhz / 1000
        return SimulationSettings(
            axial_mm=round(wave_mm / 2.355, 3),
            lateral_mm=round(0.89 * 2.5 * wave_mm / 2.355, 3),
            elevation_mm=round(0.89 * 6 * wave_mm / 2.355, 3),
            frequency_mhz=frequency_mhz,
            focus_mm=focus_mm,
        )

    @staticmethod
    def fine(*, frequency_mhz: float = 5.0, focus_mm: float = 30.0) -> "SimulationSettings":
        """For figures and measurements: as `fast`, on more lines, samples, layers and voxels."""
        from dataclasses import replace

        return replace(
            SimulationSettings.fast(frequency_mhz=frequency_mhz, focus_mm=focus_mm),
            voxel_mm=0.3,
            samples_per_sd=1.6,
            max_lines=320,
            max_samples=1024,
            max_slices=11,
        )
