"""Where a bronchoscope went, laid on the centrelines of the airways."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points, check_poses, pose_from, transform_points
from navkit.registration._airways import along_airways, apart, custusx_loop, nearest, outwards
from navkit.registration._closest import Array
from navkit.registration._lines import Lines, as_lines, curves, settle
from navkit.registration._vessel_fits import spread_starts

LEAST = 10
"""Positions and points of the centreline, as Fraxinus demands."""
POOR = 0.45
"""With a mean weight below this, directions of the other sign are tried."""
SHARE_NEAR = 0.7
"""If a smaller part of the positions lies on the airways and looks along them, one asks for the cause."""
LIKE = 0.5
"""Cosine between scope and airway, from which on the scope looks along it."""


@dataclass(frozen=True)
class CentrelineResult:
    """Where the positions lie on the centreline, and whether to trust it.

    Parameters
    ----------
    matrix : (4, 4)
        ``centreline_M_positions``, rigid: in CustusX the new ``r_M_pr`` if positions are in pr. With
        `breathing`, it holds where all the signals are 0.
    mean_mm, rms_mm : float
        Distance of the used positions to the nearest place of the centreline, breathing taken out. A scope
        rides on walls: the radius of an airway, and no error, may be in it.
    mean_angle_deg : float
        Mean angle between the scope and the centreline there.
    used, kept : (n,) bool
        Positions that took part: apart from each other, within the gate and `within_mm`; and of them those
        that counted in the end.
    iterations, converged : int, bool
    sway_mm : (k, 3)
        How the lung moves, in the centreline's space, where signal k rises by 1.
    sway_range_mm : float
        How far it moved between the extremes of the signals, in all.
    starts : int
    warnings : tuple of str
    """

    matrix: Array
    mean_mm: float
    rms_mm: float
    mean_angle_deg: float
    used: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    iterations: int
    converged: bool
    sway_mm: Array
    sway_range_mm: float
    starts: int
    warnings: tuple[str, ...] = ()


def register_centreline(
    positions: ArrayLike,
    directions: ArrayLike,
    centreline: Lines,
    *,
    method: Literal["robust", "custusx"] = "robust",
    initial: ArrayLike | None = None,
    start: Literal["top", "median", "given"] = "top",
    keep: float = 0.7,
    within_mm: float | None = None,
    thin_mm: float = 0.5,
    step_mm: float = 1.0,
    max_iterations: int | None = None,
    tolerance_mm: float | None = None,
    breathing: ArrayLike | None = None,
    gate: float | None = None,
    capture_mm: float = 20.0,
    capture_deg: float = 25.0,
    scale_mm: float = 4.0,
) -> CentrelineResult:
    """The transform that lays the path of a bronchoscope on the centreline of the airways.

    "custusx" does what CustusX and Fraxinus do: pair each position with the point of the centreline of least
    ``D = P + alpha * O``, where P is the distance, O the length of the difference of the directions, and
    alpha the root of (mean P / mean O) over the points of the centreline; keep the part `keep` of the
    pairs with the least O; fit; and again until the parts of the shift add up to 1 mm or less.

    "robust" weighs pairs by distance and direction, from wide to narrow and from 49 starts, and only what
    lies across the airway counts. It can take breathing out.

    Parameters
    ----------
    positions, directions : (n, 3) mm, and of any length
        The scope's tip and the way it looks, such as columns 3 and 2 of ``pr_M_t``.
    centreline : list of (k, 3) polylines, or one (k, 3) polyline, mm
        The branches of the CT, trachea first or in any order. z is up, as in LPS: the line that reaches
        highest is the trachea, and each other line is turned to lead away from it.
    method : "robust" or "custusx"
    initial : (4, 4) centreline_M_positions to begin with, of which "top" and "median" keep the rotation
    start : "top" lays the highest position on the top of the trachea, "median" the median on the median, as
        CustusX does from image to image (with ``max_iterations=200``); "given" begins at `initial`
    keep : the part of the pairs with the least difference of directions, of "custusx"
    within_mm : leave out positions farther from the centreline than this; CustusX's option is 30
    thin_mm : between points of the centreline
    step_mm : positions nearer than this to the last one used are left out
    max_iterations : 50 when left out; of "robust", those of the last scale
    tolerance_mm : left out, 1 for "custusx" (sum of the parts of the shift) and 0.001 for "robust"
    breathing : (n,) or (n, k)
        A signal such as that of a belt, 0 where the CT was made: the lung moves along some way in proportion
        to it, which is found too. Of a phase, give its cosine and sine. Only "robust".
    gate : over 0 to 1
        Use only that part of the positions with the least breathing signal (the first), the end of
        expiration, instead of finding the motion.
    capture_mm, capture_deg : how far off the start may be, of "robust"
    scale_mm : at this distance a pair counts a quarter: how far from the centreline a scope may be

    Returns
    -------
    CentrelineResult

    Raises
    ------
    ValueError
        If a shape is wrong, one set is a hundred times as large as the other (metres for millimetres), or
        fewer than 10 positions are left. Likely causes of a bad fit are `warnings`.

    References
    ----------
    CustusX, plug-in org.custusx.registration.method.bronchoscopy; Hofstad et al., Med. Phys. 41(4), 2014,
    doi:10.1118/1.4866884. Whether its alpha is taken for each position, as here, is not documented.

    Examples
    --------
    >>> trachea = np.linspace([0, 0, 100], [0, 8, 0], 60)
    >>> right, left = np.linspace([0, 8, 0], [-40, 14, -45], 50), np.linspace([0, 8, 0], [50, 2, -30], 50)
    >>> path = np.concatenate([trachea, right, left])
    >>> looks = np.repeat([[0, 8, -100.0], [-40, 6, -45], [50, -6, -30]], [60, 50, 50], axis=0)
    >>> found = register_centreline(path + [12, -9, 20], looks, [trachea, right, left])
    >>> found.matrix[:3, 3].round(2) + 0.0
    array([-12.,   9., -20.])
    """
    p, d, lines = _checked(positions, directions, centreline)
    if method not in ("robust", "custusx"):
        raise ValueError(f"method is {method!r}; expected 'robust' or 'custusx'.")
    signals = _signals(breathing, len(p))
    if signals is not None and method == "custusx" and gate is None:
        raise ValueError("breathing is a part of method 'robust'; with 'custusx', give gate as well.")
    for name, share in (("keep", keep), ("gate", gate)):
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"{name} is {share}; expected over 0 to 1. In percent?")
    if start not in ("top", "median", "given"):
        raise ValueError(f"start is {start!r}; expected 'top', 'median' or 'given'.")
    goal = curves(lines, loose=False, spacing_mm=thin_mm)
    first = np.eye(4) if initial is None else check_poses(np.asarray(initial, float)[None], "initial")[0]
    first = _started(first, start, p, goal.points)

    used = apart(p, step_mm)
    if gate is not None:
        if signals is None:
            raise ValueError("gate needs breathing, the signal (n,) to gate by.")
        used &= signals[:, 0] <= np.quantile(signals[:, 0], gate)
        signals = None
    if within_mm is not None:
        used &= nearest(goal, transform_points(first, p))[0] <= within_mm
    if used.sum() < LEAST:
        raise ValueError(
            f"{used.sum()} of {len(p)} positions are left, at least {step_mm:g} mm apart"
            + (f", within {within_mm:g} mm of the centreline" if within_mm is not None else "")
            + f"; expected {LEAST}. Did the scope move, is one in metres, or is the start far off?"
        )
    x, look = p[used], d[used]
    rounds = 50 if max_iterations is None else max_iterations
    sway = np.zeros((0 if signals is None else signals.shape[1], 3))
    shift = np.zeros_like(p)
    starts, against = 1, False
    if method == "custusx":
        stop = 1.0 if tolerance_mm is None else tolerance_mm
        pose, good, spent, converged = custusx_loop(x, look, goal, first, keep, rounds, stop)
    else:
        stop = 1e-3 if tolerance_mm is None else tolerance_mm
        few = slice(None, None, max(len(x) // 150, 1))
        about = x.mean(axis=0)
        begin = first @ spread_starts(about, 0.6 * capture_mm, 0.6 * capture_deg)[:49]
        scales = np.geomspace(max(capture_mm, 2 * scale_mm), scale_mm, 7)
        ends = settle(
            x[few], look[few], goal, begin, scales_mm=scales, rounds=4, tolerance_mm=0.01, signed=True
        )
        best = ends.poses[[int(ends.score.argmax())]]
        if ends.score.max() < POOR:
            back = settle(
                x[few],
                -look[few],
                goal,
                begin[:1],
                scales_mm=scales,
                rounds=4,
                tolerance_mm=0.01,
                signed=True,
            )
            against = bool(back.score[0] > ends.score.max() + 0.1)
        given = None if signals is None else signals[used]
        scales = np.array([2 * scale_mm, scale_mm])
        end = settle(
            x,
            look,
            goal,
            best,
            scales_mm=scales,
            rounds=rounds,
            tolerance_mm=stop,
            signed=True,
            signals=given,
        )
        pose, sway, starts = end.poses[0], end.sway[0], len(begin)
        spent, converged = ends.iterations + end.iterations, end.step_mm < stop
        if signals is not None:
            shift = signals @ sway
    moved = transform_points(pose, p) + shift
    distance, along = nearest(goal, moved)
    cosine = np.clip(((d @ pose[:3, :3].T) * along).sum(axis=1), -1, 1)
    kept = np.zeros(len(p), dtype=bool)
    kept[used] = good if method == "custusx" else (distance[used] <= scale_mm) & (cosine[used] > LIKE)
    warnings = [] if converged else [f"stopped after {spent} iterations, still moving"]
    warnings += _causes(distance[used], cosine[used], scale_mm, against)
    extent = 0.0 if not len(sway) else float(np.linalg.norm(np.ptp(shift, axis=0)))
    return CentrelineResult(
        matrix=pose,
        mean_mm=float(distance[used].mean()),
        rms_mm=float(np.sqrt((distance[used] ** 2).mean())),
        mean_angle_deg=float(np.degrees(np.arccos(cosine[used])).mean()),
        used=used,
        kept=kept,
        iterations=spent,
        converged=bool(converged),
        sway_mm=-sway,
        sway_range_mm=extent,
        starts=starts,
        warnings=tuple(warnings),
    )


def update_centreline(
    positions: ArrayLike,
    directions: ArrayLike,
    centreline: Lines,
    initial: ArrayLike,
    *,
    here: ArrayLike | None = None,
    reach_mm: float = 30.0,
    scale_mm: float = 4.0,
    hold: float = 0.001,
) -> CentrelineResult:
    """A registration made better where the scope is now, in a lung that does not move as one rigid body.

    Positions count by how far they are from the scope *along the airways*: the branch beside it, through a
    wall, counts little. All hold a little to where `initial` puts them, so that a straight branch does not
    slide. Farther away the first registration remains the better one.

    Parameters
    ----------
    positions, directions, centreline : as in `register_centreline`
    initial : (4, 4) centreline_M_positions, that of `register_centreline`
    here : (3,) mm, where the scope is, in the space of `positions`; the last of them when left out
    reach_mm : so far along the airways a position counts 0.61, twice as far 0.14
    scale_mm : at this distance a pair counts a quarter
    hold : how much the place by `initial` counts beside the centreline

    Returns
    -------
    CentrelineResult
        Its distances are weighted by how much each position counts; `kept` are those that count more
        than a tenth.

    References
    ----------
    After the idea of Hofstad et al., Intraoperative localized constrained registration in navigated
    bronchoscopy, Med. Phys., 2017.
    """
    p, d, lines = _checked(positions, directions, centreline)
    first = check_poses(np.asarray(initial, dtype=float)[None], "initial")[0]
    at = p[-1] if here is None else check_points(np.asarray(here, dtype=float)[None], "here")[0]
    if not (reach_mm > 0 and scale_mm > 0 and hold >= 0):
        raise ValueError(
            f"reach_mm is {reach_mm}, scale_mm {scale_mm} and hold {hold}; expected positive numbers."
        )
    goal = curves(lines, loose=False, spacing_mm=1.0)
    away = along_airways(lines, goal, transform_points(first, at[None])[0], transform_points(first, p))
    weight = np.exp(-(away**2) / (2 * reach_mm**2))
    if (weight > 0.1).sum() < LEAST:
        raise ValueError(
            f"{(weight > 0.1).sum()} positions lie within {2.1 * reach_mm:.0f} mm of the scope along the "
            f"airways; expected {LEAST}. Take a larger reach_mm, or wait until it has moved."
        )
    end = settle(
        p,
        d,
        goal,
        first[None],
        scales_mm=[2 * scale_mm, scale_mm],
        rounds=30,
        tolerance_mm=1e-3,
        signed=True,
        prior=weight,
        hold=hold,
    )
    pose = end.poses[0]
    distance, along = nearest(goal, transform_points(pose, p))
    cosine = np.clip(((d @ pose[:3, :3].T) * along).sum(axis=1), -1, 1)
    kept = weight > 0.1
    return CentrelineResult(
        matrix=pose,
        mean_mm=float(np.average(distance, weights=weight)),
        rms_mm=float(np.sqrt(np.average(distance**2, weights=weight))),
        mean_angle_deg=float(np.degrees(np.average(np.arccos(cosine), weights=weight))),
        used=np.ones(len(p), dtype=bool),
        kept=kept,
        iterations=end.iterations,
        converged=end.step_mm < 1e-3,
        sway_mm=np.zeros((0, 3)),
        sway_range_mm=0.0,
        starts=1,
        warnings=_causes(distance[kept], cosine[kept], scale_mm, False),
    )


def _started(first: Array, start: str, p: Array, points: Array) -> Array:
    if start == "given":
        return first
    turned = p @ first[:3, :3].T
    if start == "median":
        shift = np.median(points, axis=0) - np.median(turned, axis=0)
    else:
        shift = points[points[:, 2].argmax()] - turned[turned[:, 2].argmax()]
    return np.asarray(pose_from(first[:3, :3], shift))


def _signals(breathing: ArrayLike | None, n: int) -> Array | None:
    if breathing is None:
        return None
    given = np.asarray(breathing, dtype=float)
    signals = given[:, None] if given.ndim == 1 else given
    if signals.ndim != 2 or len(signals) != n or not np.isfinite(signals).all():
        raise ValueError(
            f"breathing has shape {given.shape}; expected ({n},) or ({n}, k) finite numbers, a row for each "
            "position."
        )
    if not (np.ptp(signals, axis=0) > 0).all():
        raise ValueError("a breathing signal does not change; expected one that follows the breath.")
    return signals


def _checked(
    positions: ArrayLike, directions: ArrayLike, centreline: Lines
) -> tuple[Array, Array, list[Array]]:
    p = check_points(positions, "positions", at_least=LEAST)
    d = check_points(directions, "directions", at_least=LEAST)
    if p.shape != d.shape:
        raise ValueError(f"{len(d)} directions for {len(p)} positions; expected one for each.")
    length = np.linalg.norm(d, axis=1, keepdims=True)
    if not (length > 0).all():
        raise ValueError(f"directions[{int(length.argmin())}] is 0; expected the way the scope looks.")
    if np.allclose(np.abs(p - p[0]).max(axis=0), 0) or (
        np.allclose(np.linalg.norm(p, axis=1), 1, atol=1e-6) and not np.allclose(length, 1, atol=1e-6)
    ):
        raise ValueError(
            "all positions have length 1 or are one place; are positions and directions swapped?"
        )
    lines, _ = as_lines(centreline, "centreline")
    lines = outwards([line for line in lines if len(line) > 1])
    if not lines or sum(map(len, lines)) < LEAST:
        raise ValueError(f"centreline has {sum(map(len, lines))} points on lines; expected at least {LEAST}.")
    sizes = [float(np.linalg.norm(np.ptp(q, axis=0))) for q in (p, np.concatenate(lines))]
    if min(sizes) <= 0.01 * max(sizes):
        raise ValueError(
            f"positions extend over {sizes[0]:.3g} mm, centreline over {sizes[1]:.3g} mm. Is one in metres?"
        )
    return p, d / length, lines


def _causes(distance: Array, cosine: Array, scale_mm: float, against: bool) -> tuple[str, ...]:
    told = []
    near = float(((distance <= scale_mm) & (cosine > LIKE)).mean())
    if near < SHARE_NEAR:
        told.append(
            f"only {100 * near:.0f} % of the positions lie within {scale_mm:g} mm of the centreline and look "
            "along it: is the start far off (give initial), or is it another patient?"
        )
    if against or cosine.mean() < -0.3:
        told.append("the scope looks against the airways: have directions the wrong sign?")
    return tuple(told)
