"""Vessels to vessels: CustusX's way, and a robust one that starts from farther away."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_poses, inverse, transform_points
from navkit.registration._closest import Array, search
from navkit.registration._lines import Curves, Lines, as_lines, cropped, curves, resampled, settle
from navkit.registration._observability import Observability, observability
from navkit.registration._vessel_fits import (
    Fit,
    auto_trimmed,
    nearest_pairs,
    robust_fit,
    trimmed_fit,
    warped_pairs,
)
from navkit.registration._warp import ThinPlate, check_folding, fit_thin_plate

FAR_MM, FAR_DEG = 20.0, 10.0
"""CustusX warns of results beyond these."""
POOR = 0.45
"""A mean weight below this makes one ask for the cause."""
LEAST = 10
"""Points that are left of each set, at least."""


@dataclass(frozen=True)
class VesselResult:
    """Where one set of vessels lies on the other, and whether to trust it.

    Parameters
    ----------
    matrix : (4, 4)
        ``target_M_source``, rigid.
    mean_mm : float
        Mean distance of *all* moved points to the nearest of the other set, kept or not: what CustusX's
        interface labels RMS, and what it chooses the LTS ratio by.
    rms_mm : float
        The root mean square of the same distances; never less than the mean.
    kept_mean_mm : float
        Mean over the kept points only. It falls with the LTS ratio, right or wrong: do not choose by it.
    points, distance_mm, kept : (k, 3), (k,), (k,) bool
        The moved points, where they were given, their distances after the rigid fit, and which counted: the
        nearest of them ("custusx"), or those with a weight of at least 1/4 ("robust"). They are points of
        the source within the crop; of the target if `swapped`.
    iterations, converged : int, bool
        Of the best ratio or start.
    swapped : bool
        The source had more points, so the target was moved and the result inverted.
    lts_ratio : float or None
        The part that was kept; None for "robust".
    tried : tuple of (ratio, mean over all, mean over the kept)
        With ``lts_ratio="auto"``, of each ratio.
    starts, agreeing : int
        How many starts there were, and how many of them ended where the best did.
    warp : ThinPlate or None
        Maps source to target, the rigid part included; instead of `matrix`.
    observability : Observability or None
        What the vessels leave free, such as the slide along a single one.
    warnings : tuple of str
    """

    matrix: Array
    mean_mm: float
    rms_mm: float
    kept_mean_mm: float
    points: Array
    distance_mm: Array
    kept: NDArray[np.bool_]
    iterations: int
    converged: bool
    swapped: bool
    lts_ratio: float | None
    tried: tuple[tuple[float, float, float], ...]
    starts: int
    agreeing: int
    warp: ThinPlate | None
    observability: Observability | None
    warnings: tuple[str, ...] = ()


def register_vessels(
    source: Lines,
    target: Lines,
    *,
    method: Literal["robust", "custusx"] = "robust",
    initial: ArrayLike | None = None,
    lts_ratio: float | Literal["auto"] = 0.8,
    margin_mm: float = 40.0,
    max_iterations: int = 100,
    tolerance: float = 0.001,
    capture_mm: float = 25.0,
    capture_deg: float = 30.0,
    scale_mm: float = 2.0,
    spacing_mm: float = 1.0,
    thin_plate: bool = False,
    stiffness_mm: float | None = None,
) -> VesselResult:
    """The transform that lays the centrelines of one set of vessels on those of another.

    "custusx" does what CustusX does: crop the source to the target's box and a margin, move the set with
    fewer points, pair each point with the nearest, keep the nearest part (least trimmed squares), fit, and
    stop when the mean distance over all points changes by less than `tolerance` [1]_. It finds what is
    near: its own tests start up to 3 mm and 5 degrees off.

    "robust" weighs pairs by distance and by the direction of the vessels, from wide to narrow. Only what
    lies across the vessels counts, so that cut vessels slide into place. If the first start does not end
    well, 48 others are tried, and then 176. The last steps pair both ways.

    Parameters
    ----------
    source, target : list of (k, 3) polylines, or (n, 3) points of centrelines, mm
        Lines are better: the nearest place between two of their points counts. Such as those of a vessel
        segmentation of the ultrasound (source) and of the MR (target).
    method : "robust" or "custusx"
    initial : (4, 4) target_M_source to begin with; left out, the identity
    lts_ratio : over 0 to 1, or "auto"
        Of "custusx", the part of the pairs that is kept. "auto" tries 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85,
        0.9, 0.95 and 1, and takes the one with the least mean over *all* points. "robust" weighs instead.
    margin_mm : about the target's box; what is farther out of the source is left out
    max_iterations : of one fit; in "robust", of the last steps
    tolerance : mm
        "custusx" stops when the mean distance changes by less, "robust" when the points move by less.
    capture_mm, capture_deg : how far off the start may be, of "robust"
    scale_mm : in the end, at this distance a pair counts a quarter; twice the noise or so, of "robust"
    spacing_mm : of the points put on the lines, of "robust"
    thin_plate : whether to bend what the rigid fit leaves
        "custusx" takes one exact step, "robust" many, from stiff to soft.
    stiffness_mm : of the last thin plate; left out, 0 for "custusx" and 20 for "robust"

    Returns
    -------
    VesselResult

    Raises
    ------
    ValueError
        If a shape is wrong, one set is a hundred times as large as the other (metres for millimetres), or
        fewer than 10 points of the source lie within the margin. Likely causes of a bad fit are `warnings`.

    References
    ----------
    .. [1] Reinertsen et al., Med. Image Anal. 11(4), 2007, doi:10.1016/j.media.2007.04.002; its
       implementation in CustusX. Weights: Geman, McClure, Bull. Int. Stat. Inst. 52, 1987.

    Examples
    --------
    >>> s = np.linspace(0, 40, 41)[:, None]
    >>> trunk = s * [1, 0.2, 0] + np.sin(s / 9) * [0, 6, 9]
    >>> branch = trunk[20] + s[:25] * [0.3, 0.9, -0.4]
    >>> found = register_vessels([trunk + [9, -8, 6], branch + [9, -8, 6]], [trunk, branch])
    >>> found.matrix[:3, 3].round(2) + 0.0
    array([-9.,  8., -6.])
    """
    lines, loose = as_lines(source, "source")
    other_lines, other_loose = as_lines(target, "target")
    _check(method, lts_ratio, margin_mm, max_iterations, scale_mm, spacing_mm, capture_mm)
    first = np.eye(4) if initial is None else check_poses(np.asarray(initial, float)[None], "initial")[0]
    lines = [transform_points(first, line) for line in lines]
    lines = _cropped(lines, loose, other_lines, other_loose, margin_mm, spacing_mm)
    mine, goal = (
        curves(one, loose=apart, spacing_mm=spacing_mm)
        for one, apart in ((lines, loose), (other_lines, other_loose))
    )
    warnings = list[str]()
    own, other = (float(np.linalg.norm(np.ptp(c.vertices, axis=0))) for c in (mine, goal))
    if own > 1.5 * other:
        warnings.append(
            f"source extends over {own:.4g} mm and target over {other:.4g} mm: swapped? matrix maps source "
            "to target"
        )
    count = [len(c.points if method == "robust" else c.vertices) for c in (mine, goal)]
    swapped = count[0] > count[1]
    if swapped:
        mine, goal = goal, mine
    points = mine.points if method == "robust" else mine.vertices

    tried: tuple[tuple[float, float, float], ...] = ()
    if method == "robust":
        fit = robust_fit(
            mine,
            goal,
            capture_mm=capture_mm,
            capture_deg=capture_deg,
            scale_mm=scale_mm,
            iterations=max_iterations,
            tolerance_mm=tolerance,
        )
        if fit.score < POOR:
            warnings.append(_cause(mine, goal, fit, capture_mm, scale_mm))
    elif lts_ratio == "auto":
        fits = auto_trimmed(points, goal, max_iterations, tolerance)
        fit = fits[0]
        told = [(f.lts_ratio or 0.0, f.distance.mean(), f.distance[f.kept].mean()) for f in fits]
        tried = tuple((r, float(a), float(k)) for r, a, k in sorted(told))
    else:
        fit = trimmed_fit(points, goal, float(lts_ratio), max_iterations, tolerance)

    if not fit.converged:
        warnings.append(f"stopped after {fit.iterations} iterations, still moving")
    about = np.zeros(3) if method == "custusx" else points.mean(axis=0)
    warnings += _far(fit.pose, about)
    seen = _seen(points, goal, fit)
    if seen is not None and seen.free:
        warnings.append(f"the vessels leave {len(seen.free)} motions free: {seen.words}")
    rigid = inverse(fit.pose) @ first if swapped else fit.pose @ first
    warp = None
    if thin_plate:
        soft = {"custusx": 0.0, "robust": 20.0}[method] if stiffness_mm is None else float(stiffness_mm)
        exact = method == "custusx"
        here, there = (
            nearest_pairs(points, goal, fit) if exact else warped_pairs(mine, goal, fit, soft, scale_mm)
        )
        warp = _thin_plate(*((there, here) if swapped else (here, there)), first, soft)
        folding = check_folding(warp, _grid(warp.centres))
        if folding.folded > 0:
            warnings.append(f"the thin plate folds in {100 * folding.folded:.0f} % of the box of its points")
    back = points if swapped else transform_points(inverse(first), points)
    return VesselResult(
        matrix=rigid,
        mean_mm=float(fit.distance.mean()),
        rms_mm=float(np.sqrt((fit.distance**2).mean())),
        kept_mean_mm=float(fit.distance[fit.kept].mean()) if fit.kept.any() else float("nan"),
        points=back,
        distance_mm=fit.distance,
        kept=fit.kept,
        iterations=fit.iterations,
        converged=fit.converged,
        swapped=swapped,
        lts_ratio=fit.lts_ratio,
        tried=tried,
        starts=fit.starts,
        agreeing=fit.agreeing,
        warp=warp,
        observability=seen,
        warnings=tuple(warnings),
    )


def _check(
    method: str,
    lts_ratio: float | str,
    margin_mm: float,
    max_iterations: int,
    scale_mm: float,
    spacing_mm: float,
    capture_mm: float,
) -> None:
    if method not in ("robust", "custusx"):
        raise ValueError(f"method is {method!r}; expected 'robust' or 'custusx'.")
    if lts_ratio != "auto" and not (not isinstance(lts_ratio, str) and 0 < lts_ratio <= 1):
        raise ValueError(f"lts_ratio is {lts_ratio!r}; expected over 0 to 1, or 'auto'. In percent?")
    if not max_iterations >= 1:
        raise ValueError(f"max_iterations is {max_iterations}; expected 1 or more.")
    told = {"margin_mm": margin_mm, "scale_mm": scale_mm, "spacing_mm": spacing_mm, "capture_mm": capture_mm}
    for name, value in told.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}; expected a positive number of mm.")


def _cropped(
    lines: list[Array],
    loose: bool,
    other: list[Array],
    other_loose: bool,
    margin_mm: float,
    spacing_mm: float,
) -> list[Array]:
    """The source within the target's box and margin; refuses what cannot be right."""

    def number(given: list[Array], apart: bool) -> int:
        return sum(len(line if apart else resampled(line, spacing_mm)) for line in given)

    mine, goal = np.concatenate(lines), np.concatenate(other)
    sizes = [float(np.linalg.norm(np.ptp(p, axis=0))) for p in (mine, goal)]
    if min(sizes) <= 0.01 * max(sizes):
        raise ValueError(
            f"source extends over {sizes[0]:.3g} mm and target over {sizes[1]:.3g} mm. Is one in metres?"
        )
    for name, count in (("source", number(lines, loose)), ("target", number(other, other_loose))):
        if count < LEAST:
            raise ValueError(f"{name} has {count} points; expected at least {LEAST}, all along the vessels.")
    low, high = goal.min(axis=0) - margin_mm, goal.max(axis=0) + margin_mm
    left = cropped(lines, low, high)
    if number(left, loose) < LEAST:
        cause = "In another space? Give initial."
        flipped = mine * [-1, -1, 1]
        if ((flipped > low) & (flipped < high)).all(axis=1).mean() > 0.5:
            cause = "With the signs of x and y changed they do: RAS for LPS?"
        gap = np.linalg.norm(np.maximum(np.maximum(low - mine.mean(axis=0), mine.mean(axis=0) - high), 0))
        raise ValueError(
            f"{number(left, loose)} of {number(lines, loose)} points of source lie in the target's box and "
            f"{margin_mm:g} mm about it, their middle {gap:.4g} mm outside; expected {LEAST} or more. {cause}"
        )
    return left


def _far(pose: Array, about: Array) -> list[str]:
    shift = float(np.linalg.norm(transform_points(pose, about[None])[0] - about))
    angle = float(np.degrees(Rotation.from_matrix(pose[:3, :3]).magnitude()))
    if shift <= FAR_MM and angle <= FAR_DEG:
        return []
    return [
        f"the vessels moved by {shift:.1f} mm and {angle:.1f} deg, more than {FAR_MM:g} mm or {FAR_DEG:g} "
        "deg: look at the result before you use it"
    ]


def _thin_plate(p: Array, q: Array, first: Array, stiffness_mm: float) -> ThinPlate:
    """From the source, which the fit saw after `first`, to the target; twice the same point counts once."""
    p = transform_points(inverse(first), p)
    _, single = np.unique(p.round(6), axis=0, return_index=True)
    return fit_thin_plate(p[np.sort(single)], q[np.sort(single)], stiffness_mm=stiffness_mm)


def _seen(points: Array, goal: Curves, fit: Fit) -> Observability | None:
    """Each pair tells two directions, across the vessel."""
    moved, guess = transform_points(fit.pose, points[fit.kept]), np.full(int(fit.kept.sum()), -1)
    if len(moved) < 3 or not np.ptp(moved, axis=0).any():
        return None
    search(goal.surface.tree, moved, guess, None)
    along = goal.along_face[goal.surface.tree.order[guess]]
    least = np.eye(3)[np.abs(along).argmin(axis=1)]
    one = np.cross(along, least)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    return observability(np.tile(moved, (2, 1)), np.concatenate([one, np.cross(along, one)]))


def _cause(mine: Curves, goal: Curves, fit: Fit, capture_mm: float, scale_mm: float) -> str:
    """Why a robust fit is poor: an axis has the other sign, or the start was too far off."""
    about = mine.points.mean(axis=0)
    told = f"only {100 * fit.kept.mean():.0f} % of the points found a partner: "
    step = max(len(mine.points) // 100, 1)
    for signs, name in (([-1, 1, 1], "x"), ([1, -1, 1], "y"), ([1, 1, -1], "z")):
        flipped = (mine.points[::step] - about) * signs + about
        ways = mine.along[::step] * signs
        scales = np.geomspace(capture_mm, scale_mm, 8)
        end = settle(flipped, ways, goal, np.eye(4)[None], scales_mm=scales, rounds=4, tolerance_mm=0.01)
        if end.score[0] > max(2 * fit.score, 0.4):
            return told + f"with the sign of {name} changed it fits, mirrored data?"
    return told + (
        "is the start farther off than capture_mm and capture_deg, has the tissue bent, or is it "
        "another patient?"
    )


def _grid(points: Array) -> Array:
    """12 places along each axis of the box about points."""
    axes = [np.linspace(a, b, 12) for a, b in zip(points.min(axis=0), points.max(axis=0), strict=True)]
    grid: Array = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid
