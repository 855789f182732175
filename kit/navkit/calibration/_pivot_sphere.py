"""The sphere that a pivoting sensor moves on, and whether it agrees with the angles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONTRADICTS = 4.0
"""Distance between the two tips, in standard deviations, that noise does not explain: it stays below 3.3 in
99 % of simulated swivels."""
WORTH_SAYING_MM = 1.0
"""A difference or an error of the tip below this is no news to anyone who navigates."""
TOO_FLAT = 0.1
"""Error of a sphere's centre, as a part of its radius, beyond which its linear theory no longer holds."""


@dataclass(frozen=True)
class Sphere:
    """The best sphere through positions and the spectrum of its last linear system."""

    centre: Array
    radius_mm: float
    radial_mm: float
    covariance: Array
    condition: float
    too_flat: bool


def fit_sphere(t: Array) -> Sphere:
    """The sphere with the least squares of distances to (3, n) positions about their mean.

    It starts at the algebraic sphere, which is pulled towards a small cap: at a cone of 9 degrees, a radius
    of 159 mm and 0.25 mm of noise its centre is 26 mm off, and 2 mm after a few Gauss-Newton steps
    (1000 positions).

    Raises
    ------
    ValueError
        If the positions lie in one plane: the centre may be anywhere across it.
    """
    n = t.shape[1]
    scatter, axes = np.linalg.eigh(np.einsum("kn,ln->kl", t, t))
    if scatter[0] <= 1e-12 * scatter[2]:
        thick, wide = np.sqrt(np.maximum(scatter[[0, 2]], 0) / n)
        raise ValueError(
            f"the {n} positions of the sensor keep within {thick:.2g} mm RMS of a plane, over {wide:.2g} mm; "
            "expected a cap of a sphere. The centre is not determined across the plane. Was the tilt always "
            "the same?"
        )
    start = axes / (2 * scatter) @ axes.T @ (t @ np.einsum("kn,kn->n", t, t))
    centre, distance, curvature, settled = _settle(t, start)
    radius = float(distance.sum() / n)
    radial2 = float(((distance - radius) ** 2).sum()) / max(n - 4, 1)
    bent, axes = np.linalg.eigh(curvature)
    # Noise alone tilts the directions to the centre; a curvature of that size is none.
    along = min(abs(float(axes[:, 0] @ centre)) / radius, 1.0)
    of_noise = n * radial2 / radius**2 * (1 - along**2)
    error_mm = np.sqrt((radial2 / bent).sum())
    return Sphere(
        centre=centre,
        radius_mm=radius,
        radial_mm=float(np.sqrt(radial2)),
        covariance=radial2 * (axes / bent) @ axes.T,
        condition=float(np.sqrt(n / bent[0])),
        too_flat=bool(not settled or bent[0] < 10 * of_noise or error_mm > TOO_FLAT * radius),
    )


def contradiction(t: Array, r_mean: Array, tip: Array, covariance: Array, variance: float) -> str | None:
    """A warning if positions and angles give different tips, farther apart than their noise allows.

    The distances of the sensor from the pivot that the angles gave are regressed on its direction. The
    slope is the way to the sphere's centre, and is judged without solving for it, so that a small cap makes
    the test weak and not wrong. To the errors of the distances come those of the pivot: its covariance, half
    as much again because errors of an angle act across the shaft only. Neighbouring poses that share their
    errors make the test too sure, as they do the covariance.

    Parameters
    ----------
    t : (3, n) mm
        Positions of the sensor about their mean, so that the pivot is at ``r_mean @ tip``.
    r_mean, tip, covariance
        The mean rotation, the algebraic tip and its covariance.
    variance : mm^2
        Of one coordinate of the tip in one pose.
    """
    n = t.shape[1]
    length2 = float(tip @ tip)
    if n < 8 or length2 < 1e-6:  # too few to know their noise, or the sensor is at the tip: no sphere
        return None
    pivot = r_mean @ tip
    distance, curvature, gradient, step = _step(t, pivot)
    radius = distance.sum() / n
    deviation = distance - radius
    radial2 = max(float(deviation @ deviation - gradient @ step) / (n - 4), 0.0) + 1e-18 * length2
    limit = CONTRADICTS**2 * (1 + 10 / (n - 4))  # few poses know their own noise badly
    if gradient @ step < limit * radial2:  # even if the pivot had no error
        return None
    # Noise along one axis (a camera's depth) pushes distance and direction together, across the radius.
    across = np.eye(3) - curvature / n - pivot[:, None] * pivot / radius**2
    spread = curvature @ r_mean
    of_gradient = (
        radial2 * curvature
        + 1.5 * spread @ covariance @ spread.T
        + 1.5 * variance * radial2 * (n / radius) ** 2 * across
    )
    if gradient @ np.linalg.solve(of_gradient, gradient) < limit:
        return None
    apart_mm = float(np.linalg.norm(r_mean.T @ (_settle(t, pivot)[0] - pivot)))
    if apart_mm < WORTH_SAYING_MM:
        return None
    unbent = np.linalg.inv(curvature)
    usual_mm = np.sqrt(np.trace(unbent @ of_gradient @ unbent))
    return (
        f"angles and positions contradict each other: the sphere through the sensor's positions has its "
        f"centre, seen from the tool, {apart_mm:.1f} mm from the tip that the angles give, where "
        f"{usual_mm:.1f} mm would be usual. That is a systematic error (a bent field, a wrong marker "
        "geometry or frame, a mixed-up tool), and these poses cannot tell which tip is right: record again "
        "in another place, or compare with a known tip."
    )


def _step(t: Array, centre: Array) -> tuple[Array, Array, Array, Array]:
    """Distances from `centre`, curvature and gradient of their scatter, the Gauss-Newton step."""
    away = t - centre[:, None]
    distance = np.sqrt(np.einsum("kn,kn->n", away, away))
    slope = away / distance
    slope -= slope.sum(axis=1)[:, None] / len(distance)  # the radius drops out
    # Not slope @ slope.T: BLAS would start threads for it, and wait for them on a busy machine.
    curvature = np.einsum("kn,ln->kl", slope, slope) + 1e-12 * len(distance) * np.eye(3)
    gradient = slope @ distance
    return distance, curvature, gradient, np.linalg.solve(curvature, gradient)


def _settle(t: Array, centre: Array) -> tuple[Array, Array, Array, bool]:
    """The centre that steps lead to, the last distances and curvature; False if they lead nowhere."""
    for _ in range(30):
        distance, curvature, _, step = _step(t, centre)
        size, radius = np.linalg.norm(step), distance.sum() / len(distance)
        if size > 10 * radius:
            break
        centre = centre + step
        if size < 1e-6 * radius:  # the next would be smaller by far
            return centre, distance, curvature, True
    return centre, distance, curvature, False
