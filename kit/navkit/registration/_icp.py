"""Iterative closest points: a cloud of points onto a surface, without known pairs."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from navkit.geometry import check_points, check_poses, cross, pose_from, transform_points
from navkit.registration._closest import Array, Cloud, Surface, cloud_normals
from navkit.registration._icp_loop import LEAST, Method, causes, ending, extents, iterate, rms
from navkit.registration._observability import Observability, observability

COARSE = 1000
"""So many points, up to twice, go ahead and are tried from each start; then all follow."""
NEIGHBOURS = 10
"""For the normals of a cloud."""
SAME = 0.02
"""Ends are the same if they bring the points within this part of their RMS radius of each other."""
POOR = 0.02
"""A distance across the surface of this part of the RMS radius, RMS, makes one ask for the cause."""


@dataclass(frozen=True)
class IcpResult:
    """Where closest points led, and whether to trust it.

    A pair is a moved point and the nearest point of the target; kept are the part `trim` of least distance.

    Parameters
    ----------
    matrix : (4, 4)
        ``target_M_points``, rigid.
    initial : (4, 4)
        Where the best start began.
    rms_mm, mean_mm : float
        Distance of the kept pairs, RMS and mean.
    across_rms_mm : float
        RMS of their distance along the normal: how far apart the points of a cloud are does not count.
    distance_mm : (n,)
        Of each pair, kept or not.
    inliers : (n,) bool
        The pairs that were kept.
    iterations : int
        Of them, the last ``len(history_mm) - 1`` were with all points.
    converged : bool
        Whether the change became less than the tolerance; otherwise it stopped by the number of iterations.
    history_mm : tuple of float
        RMS of the kept pairs before each iteration with all points, and at the end. It falls for "point".
    starts, agreeing : int
        How many starts there were, and how many of them ended where the best did.
    observability : Observability or None
        What the shape leaves free; None if fewer than 6 pairs have a normal.
    warnings : tuple of str
    """

    matrix: Array
    initial: Array
    rms_mm: float
    mean_mm: float
    across_rms_mm: float
    distance_mm: Array
    inliers: NDArray[np.bool_]
    iterations: int
    converged: bool
    history_mm: tuple[float, ...]
    starts: int
    agreeing: int
    observability: Observability | None
    warnings: tuple[str, ...] = ()

    @property
    def covariance(self) -> Array:
        """Of the shift (mm) and the turn (rad) by which `matrix` is off, (6, 6), about the target's origin.

        For errors of the points that are independent of each other and as large as `across_rms_mm`; NaN
        without observability. Pairs that are wrong, all to one side, are not in it.
        """
        if self.observability is None:
            return np.full((6, 6), np.nan)
        n = self.observability.n
        return self.observability.covariance(self.across_rms_mm * np.sqrt(n / max(n - 6, 1)))

    def sd_mm(self, p_target: ArrayLike) -> Array:
        """RMS distance (...) by which mapped points (..., 3), in the target's space, may be off."""
        p = np.asarray(p_target, dtype=float)
        effect = np.concatenate([np.broadcast_to(np.eye(3), (*p.shape, 3)), -cross(p)], axis=-1)
        variance: Array = np.einsum("...ij,jk,...ik->...", effect, self.covariance, effect)
        return np.sqrt(variance)

    def moved_mm(self, points: ArrayLike) -> Array:
        """How far (...) the iterations moved points (..., 3) that are given in the space of `points`.

        Fiducials that a point registration had brought together move apart again by this much.
        """
        p = np.asarray(points, dtype=float)
        apart: Array = np.linalg.norm(transform_points(self.matrix - self.initial, p), axis=-1)
        return apart


def icp(
    points: ArrayLike,
    target: Surface | Cloud | ArrayLike,
    *,
    method: Method = "point",
    trim: float = 1.0,
    initial: ArrayLike | None = None,
    starts: ArrayLike | None = None,
    max_iterations: int = 100,
    tolerance_mm: float = 1e-3,
    threads: int | None = None,
) -> IcpResult:
    """The rigid transform that lays points on a surface: pair each with the closest point, fit, and again.

    "point" makes the pairs' distances least [1]_; they never grow, and along smooth surfaces it creeps.
    "plane" makes the distances from the tangent planes least [2]_ and needs a tenth of the iterations. Both
    find the nearest minimum, so the start matters; `starts` tries several. With `trim`, only that part of the
    pairs that is nearest counts in an iteration [3]_. Of many points, some go ahead and all follow.

    Parameters
    ----------
    points : (n, 3) mm
        A part of the surface is enough.
    target : Surface, Cloud, or (m, 3) mm points on a surface
        Without triangles, normals are those of the Cloud, or else of `cloud_normals`.
    method : "point" or "plane"
    trim : the part of the pairs that is kept, over 0 to 1
        Less than 1 if some points have no partner: 0.8 where one in five is off the surface.
    initial : (4, 4) target_M_points to begin with, such as that of `fit_rigid`; left out, the identity
    starts : (k, 4, 4)
        Motions of the points about their mean, after `initial`: each is tried, and none of them. See
        `cube_starts` and `perturbed_starts`. The start with the least RMS of the kept pairs wins.
    max_iterations : with all points, and as many with some of them
    tolerance_mm : it stops when an iteration moves the points by less, RMS
    threads : how many; all cores when left out. The result is the same for any number

    Returns
    -------
    IcpResult

    Raises
    ------
    ValueError
        If a shape is wrong, too few points are there or kept, `initial` is not rigid, or one set is a hundred
        times as large as the other (metres for millimetres). Likely causes of a bad fit are `warnings`.

    References
    ----------
    .. [1] Besl, McKay, IEEE Trans. PAMI 14(2), 1992, doi:10.1109/34.121791.
    .. [2] Chen, Medioni, Image Vis. Comput. 10(3), 1992, doi:10.1016/0262-8856(92)90066-C.
    .. [3] Chetverikov, Stepanov, Krsek, Image Vis. Comput. 23(3), 2005, doi:10.1016/j.imavis.2004.05.007.

    Examples
    --------
    >>> x, y = np.mgrid[0:50:4, 0:40:4].reshape(2, -1)
    >>> surface = np.stack([x, y, 8 * np.sin(x / 9) * np.cos(y / 7)], axis=1)
    >>> fit = icp(surface[20:90] + [0.5, -0.4, 0.6], surface, method="plane")
    >>> fit.matrix[:3, 3].round(6)
    array([-0.5,  0.4, -0.6])
    """
    p, goal, first = _checked(points, target, method, trim, initial)
    moves = np.eye(4)[None]
    if starts is not None:
        moves = np.concatenate([moves, check_poses(starts, "starts")])

    from navkit.registration._bvh_kernels import build

    order = build(p, p, 8)[0]  # neighbours ask for the same boxes, and a stride takes from everywhere
    mean = p.mean(axis=0)
    x = p[order] - mean
    across = _normals(goal, threads)[goal.tree.order]
    if method == "plane" and not across.any():
        raise ValueError("target has no normal anywhere: it is a line or has no area. Use method='point'.")
    run = partial(
        iterate, tree=goal.tree, across=across, trim=trim, iterations=max_iterations, threads=threads
    )

    begin = pose_from(moves[:, :3, :3] @ first[:3, :3], moves[:, :3, 3] + transform_points(first, mean))
    few = x[:: max(len(x) // COARSE, 1)]
    pose, best, spent, same, warnings = begin[0], 0, 0, np.ones(1, dtype=bool), list[str]()
    if len(few) < len(x) or len(begin) > 1:
        ends = [run(few, start, method=method, tolerance_mm=10 * tolerance_mm) for start in begin]
        fit = np.array([end.history[-1] for end in ends])
        best = int(fit.argmin())
        pose, spent = ends[best].pose, ends[best].iterations
        apart = np.array([rms(end.moved - ends[best].moved) for end in ends])
        same = apart < SAME * rms(x)
        rival = ~same & (fit < 1.1 * fit[best])
        if rival.any():
            warnings.append(f"another start ends {apart[rival].min():.3g} mm from here and fits as well")
    end = run(x, pose, method=method, tolerance_mm=tolerance_mm)

    distance, inliers = np.empty(len(p)), np.empty(len(p), dtype=bool)
    distance[order], inliers[order] = np.sqrt(end.square), end.keep
    pairs, normal = end.closest[end.keep], across[end.which[end.keep]]
    known = normal.any(axis=1)
    off = ((end.moved[end.keep] - pairs) * normal).sum(axis=1, keepdims=True)[known]
    seen = observability(pairs, normal) if known.sum() >= LEAST["plane"] else None
    across_rms = rms(off) if known.any() else end.history[-1]
    warnings += ending(end, seen, tolerance_mm)
    if across_rms > POOR * rms(x):
        warnings += causes(x, begin[0], goal, run)
    centred = pose_from(np.eye(3), -mean)
    return IcpResult(
        matrix=end.pose @ centred,
        initial=begin[best] @ centred,
        rms_mm=end.history[-1],
        mean_mm=float(distance[inliers].mean()),
        across_rms_mm=across_rms,
        distance_mm=distance,
        inliers=inliers,
        iterations=spent + end.iterations,
        converged=end.step_mm < tolerance_mm,
        history_mm=tuple(end.history),
        starts=len(begin),
        agreeing=int(same.sum()),
        observability=seen,
        warnings=tuple(warnings),
    )


def cube_starts() -> Array:
    """The 24 rotations of a cube into itself (24, 4, 4), for the `starts` of `icp` from any orientation.

    No rotation is more than 63 deg from one of them.
    """
    return pose_from(Rotation.create_group("O"), np.zeros((24, 3)))


def perturbed_starts(number: int, *, angle_deg: float, shift_mm: float, rng: np.random.Generator) -> Array:
    """Random motions (number, 4, 4) for the `starts` of `icp`, up to an angle and a shift of any direction.

    >>> perturbed_starts(20, angle_deg=10, shift_mm=5, rng=np.random.default_rng(1)).shape
    (20, 4, 4)
    """
    axis, way = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in rng.normal(size=(2, number, 3)))
    turn, far = np.radians(angle_deg) * rng.random((number, 1)), shift_mm * rng.random((number, 1)) ** (1 / 3)
    return pose_from(Rotation.from_rotvec(turn * axis), far * way)


def _normals(goal: Surface | Cloud, threads: int | None) -> Array:
    if goal.normals is not None:
        return goal.normals
    return cloud_normals(goal, neighbours=min(NEIGHBOURS, len(goal.points)), threads=threads)


def _checked(
    points: ArrayLike,
    target: Surface | Cloud | ArrayLike,
    method: str,
    trim: float,
    initial: ArrayLike | None,
) -> tuple[Array, Surface | Cloud, Array]:
    """The points, the target, and the pose to begin with."""
    if method not in LEAST:
        raise ValueError(f"method is {method!r}; expected 'point' or 'plane'.")
    least = LEAST[method]
    p = check_points(points, "points", at_least=least)
    if not isinstance(target, Surface | Cloud):
        target = Cloud(check_points(target, "target", at_least=3))
    if not 0 < trim <= 1:
        raise ValueError(f"trim is {trim}; expected the part of the pairs to keep, such as 0.8. In percent?")
    if round(trim * len(p)) < least:
        raise ValueError(
            f"trim {trim} keeps {round(trim * len(p))} of {len(p)} pairs; {method!r} needs {least} or more."
        )
    sizes = extents(p, target)
    if min(sizes) <= 0.01 * max(sizes):
        raise ValueError(
            f"points extend over {sizes[0]:.3g} mm and target over {sizes[1]:.3g} mm. Is one in metres?"
        )
    first = np.eye(4) if initial is None else check_poses(np.asarray(initial, float)[None], "initial")[0]
    return p, target, first
