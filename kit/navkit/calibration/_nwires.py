"""Probe calibration with N-wires: from where wires cross the picture to where the picture is."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.calibration._probe_fit import ProbeResult, centred, fit_picture, picture_matrix
from navkit.geometry import check_poses

Array = NDArray[np.float64]

FEWEST_POINTS = 10
SQUARE_TOLERANCE_DEG = 1.0
"""How far the picture's axes may be from a right angle before a calibration is doubted."""


def calibrate_probe_nwires(
    wire_px: ArrayLike,
    wires_phantom: ArrayLike,
    s_M_phantom: ArrayLike,
    *,
    trim_sigma: float = 3.0,
    refine: Literal["in-plane", "distance"] | None = None,
) -> ProbeResult:
    """Calibrate a tracked probe from pictures of N-wires.

    In one N two outer wires are parallel and the third runs across. The ratio of the distances between
    their three dots tells where along the middle wire the picture cuts it [1]_: a point that is known in
    the phantom and in the picture. All of them give one linear system, solved for each coordinate of the
    sensor; rows further than `trim_sigma` standard deviations are left out and it is solved again until
    none is, as in PLUS's fCal [2]_.

    That uses a third of the dots and lets the picture's axes shear. `refine` goes on from there by least
    squares on all dots with the axes at right angles [3]_: "in-plane" brings each dot to where its wire
    pierces the picture, "distance" to the wire itself, across the picture too.

    Parameters
    ----------
    wire_px : (n_frames, n_wires, 3, 2) column and row of the three dots of every N: outer, middle, outer;
        NaN where one was not seen
    wires_phantom : (n_wires, 3, 2, 3) the two ends of the same three wires, mm, in the phantom
    s_M_phantom : (n_frames, 4, 4) rigid; the phantom seen from the probe's sensor, for each frame
    trim_sigma : infinity keeps every row
    refine : None, "in-plane" or "distance"

    Returns
    -------
    ProbeResult
        `residual_mm`, `kept` and `rms_mm` are of the middle wires' points, refined or not, so that the
        figures compare; `covariance` and `noise_mm` are of the fit that gave the matrix.

    Raises
    ------
    ValueError
        If shapes disagree, fewer than 10 points are seen, the middle wire of an N does not cross the
        outer ones, or all points lie on one line of the picture.

    References
    ----------
    .. [1] Chen, Thurston, Ellis, Abolmaesumi, Ultrasound Med. Biol. 35(1), 2009,
       doi:10.1016/j.ultrasmedbio.2008.07.004.
    .. [2] PLUS, vtkPlusProbeCalibrationAlgo.
    .. [3] Carbajal, Lasso, Gomez, Fichtinger, Int. J. CARS 8, 2013, doi:10.1007/s11548-013-0904-9.
    """
    if refine not in (None, "in-plane", "distance"):
        raise ValueError(f"refine is {refine!r}; expected None, 'in-plane' or 'distance'.")
    px = np.asarray(wire_px, dtype=float)
    wires = np.asarray(wires_phantom, dtype=float)
    m = check_poses(s_M_phantom, "s_M_phantom")
    if px.ndim != 4 or px.shape[2:] != (3, 2):
        raise ValueError(f"wire_px has shape {px.shape}; expected (n_frames, n_wires, 3, 2).")
    if wires.shape != (px.shape[1], 3, 2, 3):
        raise ValueError(f"wires_phantom has shape {wires.shape}; expected ({px.shape[1]}, 3, 2, 3).")
    if len(m) != len(px):
        raise ValueError(f"s_M_phantom has {len(m)} poses for {len(px)} frames; expected the same number.")

    # every frame's own pose on every frame's own points
    middle_s = middle_points(px, wires) @ np.swapaxes(m[:, :3, :3], 1, 2) + m[:, None, :3, 3]
    seen = np.isfinite(middle_s).all(axis=-1)
    u = np.concatenate([px[seen][:, 1], np.ones((int(seen.sum()), 1))], axis=1)
    x = middle_s[seen]
    if len(u) < FEWEST_POINTS:
        raise ValueError(f"{len(u)} middle points are seen; expected at least {FEWEST_POINTS}. More frames?")
    spread = np.linalg.svd(u[:, :2] - u[:, :2].mean(axis=0), compute_uv=False)
    if spread[1] < 0.01 * spread[0]:
        raise ValueError(
            "all middle points lie on one line of the picture; expected them spread over it. "
            "Move the probe, or use a phantom with more N's."
        )
    columns = np.zeros((3, 3))
    covariance = np.zeros((3, 3, 3))
    used = np.zeros((3, len(u)), dtype=bool)
    for c in range(3):
        columns[:, c], covariance[c], used[c] = _trimmed(u, x[:, c], trim_sigma)

    off = u @ columns - x
    fitted = used.all(axis=0)
    s_M_p = picture_matrix(columns.T)
    scale = np.linalg.norm(s_M_p[:3, :3], axis=0)
    axes = s_M_p[:3, :3] / scale
    across_rows = np.zeros((3, 3, 3, 3))  # each coordinate was solved for itself
    across_rows[range(3), :, range(3), :] = covariance
    residual, kept = np.full(seen.shape, np.nan), np.zeros(seen.shape, dtype=bool)
    residual[seen], kept[seen] = np.linalg.norm(off, axis=1), fitted
    square_deg = float(np.degrees(np.arccos(axes[:, 0] @ axes[:, 1])))
    warnings = []
    if abs(square_deg - 90) > SQUARE_TOLERANCE_DEG:
        warnings.append(
            f"the picture's axes meet at {square_deg:.1f} deg (expected 90 +- {SQUARE_TOLERANCE_DEG:.0f}): "
            "too few directions of the probe, or dots that are not the wires'."
        )
    if kept.sum() < 0.8 * seen.sum():
        warnings.append(f"{seen.sum() - kept.sum()} of {seen.sum()} points do not fit and were left out.")
    result = ProbeResult(
        s_M_p,
        (float(scale[0]), float(scale[1])),
        float(np.sqrt(np.mean(residual[kept] ** 2))),
        residual,
        kept,
        across_rows,
        np.sqrt(np.sum((off[fitted] @ axes) ** 2, axis=0) / max(int(fitted.sum()) - 3, 1)),
        float(np.linalg.cond(centred(u[:, :2])[0])),
        square_deg,
        tuple(warnings),
    )
    if refine is None:
        return result
    refined = _refined(result.s_M_p, px, wires, m, refine, trim_sigma)
    residual[seen] = np.linalg.norm(u @ refined.s_M_p[:3, [0, 1, 3]].T - x, axis=1)
    return replace(
        refined,
        rms_mm=float(np.sqrt(np.mean(residual[kept] ** 2))),
        residual_mm=residual,
        kept=kept,
        warnings=(*warnings, *refined.warnings),
    )


def _refined(
    start: Array, px: Array, wires: Array, s_M_phantom: Array, refine: str, trim_sigma: float
) -> ProbeResult:
    """Least squares on every dot that was seen, from a matrix that is nearly right."""
    frame, n, wire = np.nonzero(np.isfinite(px).all(axis=-1))
    dots = px[frame, n, wire]
    ends = np.einsum("nij,nkj->nki", s_M_phantom[frame, :3, :3], wires[n, wire])
    first, along = ends[:, 0] + s_M_phantom[frame, :3, 3], ends[:, 1] - ends[:, 0]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, start[:3, 0])
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    sides = np.stack([side, np.cross(along, side)], axis=-1)
    q, q_M_px = centred(dots)

    def off_wire(columns: Array, axes: Array, rest: Array) -> Array:
        off: Array = q @ columns.T - first
        if refine == "distance":
            across: Array = np.einsum("ni,nik->nk", off, sides)
            return across
        # the way along the wire to where it pierces the picture; what is left runs within the picture
        way = off @ axes[:, 2] / (along @ axes[:, 2])
        within: Array = (off - way[:, None] * along) @ axes[:, :2]
        return within

    columns = start[:3, [0, 1, 3]] @ np.linalg.inv(q_M_px)
    return fit_picture(off_wire, columns, np.empty(0), dots, q_M_px, None, None, trim_sigma, [])[0]


def middle_points(wire_px: ArrayLike, wires_phantom: ArrayLike) -> Array:
    """Where the picture cuts the middle wire of every N, (n_frames, n_wires, 3) mm in the phantom."""
    px, wires = np.asarray(wire_px, dtype=float), np.asarray(wires_phantom, dtype=float)
    to_middle, to_last = px[:, :, 1] - px[:, :, 0], px[:, :, 2] - px[:, :, 0]
    share = np.linalg.norm(to_middle, axis=-1) / np.linalg.norm(to_last, axis=-1)
    crossings = []
    for k, (first, middle, last) in enumerate(wires):
        ends = [_crossing(middle, outer) for outer in (first, last)]
        if any(end is None for end in ends):
            raise ValueError(f"the middle wire of N number {k} does not cross the outer two; expected an N.")
        crossings.append(ends)
    start, end = np.moveaxis(np.array(crossings, dtype=float), 1, 0)
    points: Array = start + share[..., None] * (end - start)
    return points


def _crossing(wire: Array, other: Array) -> Array | None:
    """The point of the line `wire` nearest to the line `other`; None where they do not meet within 1 mm."""
    u, v = wire[1] - wire[0], other[1] - other[0]
    normal = np.cross(u, v)
    size = normal @ normal
    if size < 1e-6 * (u @ u) * (v @ v):
        return None
    gap = (other[0] - wire[0]) @ normal / np.sqrt(size)
    if abs(gap) > 1.0:
        return None
    crossing: Array = wire[0] + np.cross(other[0] - wire[0], v) @ normal / size * u
    return crossing


def _trimmed(u: Array, y: Array, sigma: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Least squares without the rows beyond `sigma` deviations: values, covariance, which rows."""
    used: NDArray[np.bool_] = np.ones(len(y), dtype=bool)
    while True:
        solution = np.asarray(np.linalg.lstsq(u[used], y[used], rcond=None)[0], dtype=float)
        off = u[used] @ solution - y[used]
        beyond = np.abs(off - off.mean()) > sigma * off.std() + 1e-12
        if not beyond.any() or used.sum() - beyond.sum() < 6:
            break
        used[np.flatnonzero(used)[beyond]] = False
    variance = float(off @ off) / max(int(used.sum()) - 3, 1)
    covariance = np.asarray(variance * np.linalg.inv(u[used].T @ u[used]), dtype=float)
    return solution, covariance, used
