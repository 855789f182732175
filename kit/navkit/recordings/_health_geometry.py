"""Is a calibration or a picture's geometry plausible? Checks on matrices and numbers, as in `_health`."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.recordings._about import Findings

Array = NDArray[np.float64]

UNEQUAL = 1.1
"""Pixels that are longer one way than the other by more than this are suspicious."""
LONG_TIP_MM = 500.0
LATENCY_MS = (-400.0, 600.0)
SKEW_DEG = 2.0


def check_spacing(spacing_mm: tuple[float, float], probe_mm: tuple[float, float] | None) -> Findings:
    """Pixel size of the picture, against the probe's own and across against down."""
    sx, sy = spacing_mm
    facts = (("pixel", f"{sx:.6g} x {sy:.6g} mm"),)
    numbers = {"spacing_x_mm": sx, "spacing_y_mm": sy}
    warnings = []
    if probe_mm is not None and max(abs(sx - probe_mm[0]), abs(sy - probe_mm[1])) > 1e-3:
        warnings.append(
            f"the picture's pixels are {sx:.6g} x {sy:.6g} mm but the probe data say {probe_mm[0]:.6g} x "
            f"{probe_mm[1]:.6g} mm: distances in the volume are wrong by "
            f"{100 * abs(sy / probe_mm[1] - 1):.1f} % in depth if the wrong one is used. Was the sound "
            "speed corrected (then the picture is right: spacing_from='image'), or another depth chosen on "
            "the scanner?"
        )
    ratio = max(sx, sy) / min(sx, sy)
    if ratio > UNEQUAL:
        warnings.append(
            f"pixels are {ratio:.2f} times longer one way than the other ({sx:.4g} x {sy:.4g} mm): scanners "
            "send square pixels. Was the picture scaled on its way? If so both numbers may be right; "
            "measure a known length across and in depth."
        )
    return Findings(facts, numbers, tuple(warnings))


def check_image_matrix(matrix: ArrayLike, name: str, mm_per_px: float = np.nan) -> Findings:
    """Pixels to the probe (4, 4): scale, handedness, right angles, and the size that others state."""
    m = np.asarray(matrix, dtype=float)
    if m.shape != (4, 4) or not np.isfinite(m).all():
        return Findings(warnings=(f"{name} is not 4 x 4 finite numbers: no picture can be placed by it.",))
    scale = np.linalg.norm(m[:3, :3], axis=0)
    numbers = {f"{name}_scale_{axis}_mm": float(s) for axis, s in zip("xyz", scale, strict=True)}
    facts = ((name, f"pixel {scale[0]:.5g} x {scale[1]:.5g} mm, origin {xyz(m[:3, 3])} mm"),)
    if min(scale[:2]) == 0:
        return Findings(
            facts, numbers, (f"{name} has a flat axis: all pixels fall on a line. Calibrate again.",)
        )
    warnings = []
    if np.linalg.det(m[:3, :3]) < 0:
        warnings.append(
            f"{name} mirrors (determinant below 0): the third axis points the other way, and a volume built "
            "with it may be left-right reversed. Check the picture's orientation (MF, UF) against the "
            "calibration."
        )
    ratio = float(max(scale[:2]) / min(scale[:2]))
    if ratio > UNEQUAL:
        warnings.append(
            f"{name} has pixels of {scale[0]:.4g} x {scale[1]:.4g} mm, {100 * (ratio - 1):.0f} % apart: "
            "scanners send square pixels. The calibration is wrong across or in depth unless the picture "
            "was scaled; measure a known length both ways."
        )
    skew = float(np.degrees(np.arcsin(np.clip(abs(m[:3, 0] @ m[:3, 1]) / (scale[0] * scale[1]), 0, 1))))
    if skew > SKEW_DEG:
        warnings.append(
            f"{name}: the picture's axes are {skew:.1f} deg off a right angle: a freely fitted matrix took "
            "up noise. Calibrate with more and more varied frames."
        )
    off = float(np.sqrt(scale[0] * scale[1]) / mm_per_px)
    if np.isfinite(off) and max(off, 1 / off) > UNEQUAL:
        warnings.append(
            f"{name} has pixels of {np.sqrt(scale[0] * scale[1]):.4g} mm where {mm_per_px:.4g} mm are "
            "stated: the calibration was made at another depth setting, and the volume comes out scaled by "
            f"{off:.2f}. Calibrate at the depth in use."
        )
    return Findings(facts, numbers, tuple(warnings))


def check_calibration(s_M_t: ArrayLike, name: str) -> Findings:
    """A tool's calibration (4, 4) rigid: is it the default, or a tip that no tool has?"""
    m = np.asarray(s_M_t, dtype=float)
    length = float(np.linalg.norm(m[:3, 3]))
    facts = (("tip in the sensor's space", f"{xyz(m[:3, 3])} mm, {length:.1f} mm away"),)
    numbers = dict(zip(("tip_x_mm", "tip_y_mm", "tip_z_mm"), map(float, m[:3, 3]), strict=True))
    numbers["tip_length_mm"] = length
    warnings: tuple[str, ...] = ()
    if np.allclose(m, np.eye(4), atol=1e-9):
        warnings = (
            f"{name} is the identity: the tool was not calibrated, and its tip is shown at the sensor. "
            "Right only for a sensor in the very tip; else calibrate (navkit.calibration.calibrate_pivot).",
        )
    elif length == 0:
        warnings = (
            f"{name} has its tip at the sensor (0 0 0) but turned axes: right only for a sensor in the very "
            "tip. Otherwise the tip is shown wrong by the tool's length; calibrate it.",
        )
    elif length > LONG_TIP_MM:
        warnings = (
            f"{name} has its tip {length:.0f} mm from the sensor, longer than any tool in use: an error of "
            f"0.1 deg moves it by {length * np.radians(0.1):.1f} mm. Is it in another unit, or a pose in "
            "the tracker's space instead of a calibration?",
        )
    return Findings(facts, numbers, warnings)


def compare_calibrations(s_M_t: ArrayLike) -> Findings:
    """Repeated calibrations (n, 4, 4) of one tool: how far tip, beam axis and roll differ.

    The axis is the tool's z in the sensor's space. Roll is the turn about the tool's own axis that is left
    when one calibration's axis is laid on the other's by the shortest way.
    """
    from scipy.spatial.transform import Rotation

    m = np.asarray(s_M_t, dtype=float)
    tips, sd = m[:, :3, 3], m[:, :3, 3].std(axis=0, ddof=1)
    turns = [
        Rotation.from_matrix(m[a, :3, :3] @ m[b, :3, :3].T).magnitude()
        for a in range(len(m))
        for b in range(a)
    ]
    angle = float(np.degrees(max(turns)))
    span = float(max(np.linalg.norm(p - q) for p in tips for q in tips))
    z = tips[:, 2]
    facts = (
        ("tip z", f"{z.min():.2f} to {z.max():.2f} mm"),
        ("tip spread", f"sd {xyz(sd)} mm in x y z; the farthest two are {span:.1f} mm apart"),
        ("orientation", f"differs by up to {angle:.0f} deg"),
    )
    numbers = {"calibrations": float(len(m)), "tip_z_min_mm": float(z.min()), "tip_z_max_mm": float(z.max())}
    numbers |= {f"tip_sd_{axis}_mm": float(s) for axis, s in zip("xyz", sd, strict=True)}
    numbers |= {"largest_turn_deg": angle, "largest_tip_distance_mm": span}
    warnings = []
    if angle > 10:
        warnings.append(
            f"the calibrations differ by up to {angle:.0f} deg: if they are of one tool, its picture is "
            "turned about the shaft from one to the next. Was the sensor mounted anew, or does the tracker "
            "not measure the turn about its axis (5 degrees of freedom)? Use the calibration made with the "
            "present mount."
        )
    if span > 2:
        warnings.append(
            f"the tips of repeated calibrations are up to {span:.1f} mm apart: that much error is in every "
            "point shown. Calibrate again, with more poses, and keep the mean of several."
        )
    return Findings(facts, numbers, tuple(warnings))


def check_latency_setting(milliseconds: float, name: str, *, meaning: str = "") -> Findings:
    """A stated delay, ms: those of CustusX's own probes lie between -321 and 500.

    >>> check_latency_setting(115, "temporalCalibration").facts
    (('temporalCalibration', '115 ms'),)
    """
    numbers = {"temporal_calibration_ms": milliseconds}
    facts = ((name, f"{milliseconds:g} ms{meaning}"),)
    low, high = LATENCY_MS
    if low <= milliseconds <= high:
        return Findings(facts, numbers)
    return Findings(
        facts,
        numbers,
        (
            f"{name} is {milliseconds:g} ms, outside {low:g} to {high:g} ms: at 10 mm/s it moves every "
            f"frame by {abs(milliseconds) / 100:.0f} mm. Is it in another unit? Calibrate it again.",
        ),
    )


def xyz(v: Array) -> str:
    """Coordinates for people."""
    return " ".join(f"{x:.4g}" for x in v)
