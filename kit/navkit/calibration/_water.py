"""Sound in water is slower than scanners assume: how fast it is, and where the echoes really come from."""

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from navkit.ultrasound import ProbeSector

Array = NDArray[np.float64]

SOUND_SPEED_TISSUE_M_S = 1540.0
"""What scanners assume."""
WARMEST_C = 95.0
_SPEED_M_S = Polynomial([1402.385, 5.038813, -5.799136e-2, 3.287156e-4, -1.398845e-6, 2.787860e-9])


def sound_speed_water(temperature_c: ArrayLike) -> Array:
    """Speed of sound, m/s, in pure water at normal pressure, 0 to 95 degrees Celsius.

    The polynomial of Marczak [1]_, good to 0.02 m/s. A tank is never that pure: 1 % of salt adds about
    11 m/s, and 1 degree near 20 degrees adds 3 m/s, so measure the temperature where the probe is.

    Raises
    ------
    ValueError
        If a temperature is outside 0 to 95 degrees Celsius.

    References
    ----------
    .. [1] Marczak, J. Acoust. Soc. Am. 102(5), 1997, doi:10.1121/1.420332.

    Examples
    --------
    >>> sound_speed_water([20, 50]).round(1)
    array([1482.4, 1542.6])
    """
    t = np.asarray(temperature_c, dtype=float)
    wrong = ~((t >= 0) & (t <= WARMEST_C))
    if wrong.any():
        raise ValueError(
            f"temperature_c is {t[wrong].flat[0]}; expected 0 to {WARMEST_C:.0f} degrees Celsius. "
            "Is it in kelvin or Fahrenheit?"
        )
    return np.asarray(_SPEED_M_S(t), dtype=float)


def corrected_pixels(
    px: ArrayLike,
    sector: ProbeSector,
    *,
    speed_m_s: float,
    assumed_m_s: float = SOUND_SPEED_TISSUE_M_S,
    face_mm: float | None = None,
) -> Array:
    """Where echoes seen in a picture would be if the scanner had known the speed of sound.

    A scanner turns time into depth with the speed it assumes, so the true distance from the probe's face
    is `speed_m_s` / `assumed_m_s` of what is shown: in water of 20 degrees 3.7 % less, 3.7 mm of 100 mm.
    Linear probes: along the rows. Sectors: along the ray from the origin, as far as the echo is beyond
    the face. The directions of rays are kept, which is right unless they are steered by delays.

    Calibrate with corrected pixels, and the matrix is right for tissue.

    Parameters
    ----------
    px : (..., 2) column and row
    speed_m_s : in what the picture was taken, see `sound_speed_water`
    face_mm : distance of the probe's face from the sector's origin, where the time starts; the start of
        the beam when left out (a curved probe's radius; near 0 for linear and phased ones)

    Raises
    ------
    ValueError
        If the pixels are not pairs, or a speed is not one of a liquid or tissue.

    Examples
    --------
    >>> sector = ProbeSector("linear", 38, (0, 40), (45, 7), (0.5, 0.4), (7, 83, 7, 107), (128, 96))
    >>> corrected_pixels([60, 107], sector, speed_m_s=1463.0)
    array([ 60., 102.])
    """
    p = np.asarray(px, dtype=float)
    if p.shape[-1:] != (2,):
        raise ValueError(f"px has shape {p.shape}; expected (..., 2), column before row.")
    for name, speed in (("speed_m_s", speed_m_s), ("assumed_m_s", assumed_m_s)):
        if not 1000 <= speed <= 2500:
            raise ValueError(f"{name} is {speed}; expected 1000 to 2500 m/s, tissue has about 1540.")
    face = sector.depth_mm[0] if face_mm is None else face_mm
    spacing = np.array(sector.spacing_mm)
    from_origin = (p - sector.origin_p) * spacing
    if sector.kind == "linear":
        shown, ray = from_origin[..., 1:], np.array([0.0, 1.0])
    else:
        shown = np.linalg.norm(from_origin, axis=-1, keepdims=True)
        ray = from_origin / np.where(shown > 0, shown, 1.0)
    moved: Array = p + (shown - face) * (speed_m_s / assumed_m_s - 1) * ray / spacing
    return moved
