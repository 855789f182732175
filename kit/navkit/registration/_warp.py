"""Deformation: smooth warps through landmarks, back again, and whether they fold."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import check_points

if TYPE_CHECKING:
    from scipy.interpolate import NdBSpline

Array = NDArray[np.float64]
POINTS_A_BLOCK = 20_000
FLAT_RATIO = 1e-6


class Warp(Protocol):
    """What `fit_thin_plate` and `fit_bspline` give."""

    def __call__(self, points: ArrayLike, /) -> Array:
        """Where points (n, 3) mm go."""

    def jacobian(self, points: ArrayLike, /) -> Array:
        """(n, 3, 3) derivatives of where points go, by where they are."""


@dataclass(frozen=True)
class ThinPlate:
    """``f(x) = affine + sum of weights * |x - centre|``, the thin plate in three dimensions.

    Parameters
    ----------
    centres : (n, 3) mm
    weights : (n, 3)
    affine : (4, 4)
    bending : that of the warp, ``-trace(weights.T @ |centre - centre| @ weights)``; 0 for an affine one
    """

    centres: Array
    weights: Array
    affine: Array
    bending: float

    def __call__(self, points: ArrayLike, /) -> Array:
        from scipy.spatial.distance import cdist

        p = check_points(points, "points", at_least=0)
        out = p @ self.affine[:3, :3].T + self.affine[:3, 3]
        for k in range(0, len(p), POINTS_A_BLOCK):
            out[k : k + POINTS_A_BLOCK] += cdist(p[k : k + POINTS_A_BLOCK], self.centres) @ self.weights
        return out

    def jacobian(self, points: ArrayLike, /) -> Array:
        p = check_points(points, "points", at_least=0)
        out = np.repeat(self.affine[None, :3, :3], len(p), axis=0)
        block = max(POINTS_A_BLOCK // max(len(self.centres), 1), 1)
        for k in range(0, len(p), block):
            away = p[k : k + block, None] - self.centres
            length = np.linalg.norm(away, axis=2, keepdims=True)
            unit = np.divide(away, length, out=np.zeros_like(away), where=length > 0)
            out[k : k + block] += np.einsum("cd,pce->pde", self.weights, unit)
        return out


@dataclass(frozen=True)
class BSplineWarp:
    """``f(x) = x + a cubic B-spline of x`` on a lattice of control points; NaN outside its box.

    Parameters
    ----------
    low_mm, spacing_mm : (3,)
    control : (kx, ky, kz, 3) mm, shifts of the control points; point 0 lies at ``low_mm - spacing_mm``
    """

    low_mm: Array
    spacing_mm: Array
    control: Array

    @property
    def high_mm(self) -> Array:
        corner: Array = self.low_mm + self.spacing_mm * (np.array(self.control.shape[:3]) - 3)
        return corner

    def __call__(self, points: ArrayLike, /) -> Array:
        p = check_points(points, "points", at_least=0)
        return np.asarray(p + self._spline(p, extrapolate=False))

    def jacobian(self, points: ArrayLike, /) -> Array:
        p = check_points(points, "points", at_least=0)
        columns = [
            self._spline(p, nu=tuple(np.eye(3, dtype=int)[axis]), extrapolate=False) for axis in range(3)
        ]
        return np.asarray(np.eye(3) + np.stack(columns, axis=2))

    @cached_property
    def _spline(self) -> "NdBSpline":
        from scipy.interpolate import NdBSpline

        return NdBSpline(_knots(self.low_mm, self.spacing_mm, self.control.shape[:3]), self.control, 3)


def fit_thin_plate(p_from: ArrayLike, p_to: ArrayLike, *, stiffness_mm: float = 0.0) -> ThinPlate:
    """The smoothest warp that brings landmarks, or points of vessels, to their partners [1]_.

    Far from the landmarks it goes on as it does at the outermost ones: do not trust it there.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 4, not in a plane
    stiffness_mm : 0 goes through every landmark; the larger, the more a landmark is thought to be wrong and
        the nearer is the warp to the best affine one. Landmarks that disagree by d over a distance of L
        are smoothed with a stiffness of about L

    Raises
    ------
    ValueError
        If the shapes disagree, the points lie in a plane, two of `p_from` coincide and nothing smooths, or
        the stiffness is negative.

    References
    ----------
    .. [1] Bookstein, IEEE Trans. PAMI 11(6), 1989, doi:10.1109/34.24792; with smoothing Rohr et al., IEEE
       Trans. Med. Imaging 20(6), 2001, doi:10.1109/42.929618.

    Examples
    --------
    >>> p = np.array([[0, 0, 0], [40, 0, 0], [0, 30, 0], [0, 0, 20], [20, 20, 10.0]])
    >>> q = p + [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 5.0]]
    >>> warp = fit_thin_plate(p, q)
    >>> warp([[20, 20, 10.0], [40, 0, 0]]).round(6).tolist()
    [[20.0, 20.0, 15.0], [40.0, 0.0, 0.0]]
    """
    p, q = _pairs(p_from, p_to, at_least=4)
    if not (np.isfinite(stiffness_mm) and stiffness_mm >= 0):
        raise ValueError(f"stiffness_mm is {stiffness_mm}; expected a finite number, 0 or more.")
    from scipy.spatial.distance import cdist

    centre = p.mean(axis=0)
    spread = np.linalg.svd(p - centre, compute_uv=False)
    if spread[2] <= FLAT_RATIO * spread[0]:
        raise ValueError(
            "the landmarks lie in a plane: how space moves across it is not determined. Add one outside it, "
            "or register them rigidly."
        )
    apart = cdist(p, p)
    twins = np.argwhere(np.triu(apart <= 1e-9 * spread[0], 1))
    if len(twins) and stiffness_mm == 0:
        a, b = twins[0]
        raise ValueError(
            f"p_from[{a}] and p_from[{b}] are one place; expected different ones. Entered twice?"
        )
    n, size = len(p), spread[0]
    # in units of the landmarks' spread, about their centre, so that the system is well conditioned
    x = np.column_stack([np.ones(n), (p - centre) / size])
    system = np.zeros((n + 4, n + 4))
    system[:n, :n] = (apart - stiffness_mm * np.eye(n)) / size
    system[:n, n:], system[n:, :n] = x, x.T
    solved = np.linalg.solve(system, np.vstack([q, np.zeros((4, 3))]))
    weights = solved[:n] / size
    affine = np.eye(4)
    affine[:3, :3] = solved[n + 1 :].T / size
    affine[:3, 3] = solved[n] - affine[:3, :3] @ centre
    return ThinPlate(p.copy(), weights, affine, float(-np.einsum("ik,ij,jk->", weights, apart, weights)))


def fit_bspline(
    p_from: ArrayLike,
    p_to: ArrayLike,
    *,
    spacing_mm: ArrayLike,
    stiffness: float = 0.01,
    margin_mm: float | None = None,
) -> BSplineWarp:
    """The B-spline warp nearest to many landmarks, or points of vessels, that bends little [1]_.

    Least of the mean squared distance to the landmarks plus ``stiffness * spacing**4``, of the smallest
    spacing, times the mean of the squared second derivatives over the lattice. An affine motion is met
    exactly, with any stiffness.

    Parameters
    ----------
    p_from, p_to : (n, 3) mm, n >= 4, not in a plane
    spacing_mm : of the control points, one number or three
    stiffness : positive; the larger, the smoother
    margin_mm : how far the box reaches beyond `p_from`; one spacing when left out. The warp is NaN outside

    Raises
    ------
    ValueError
        If the shapes disagree, the points lie in a plane, a number is out of range or the lattice has more
        than 100,000 control points.

    References
    ----------
    .. [1] Rueckert et al., IEEE Trans. Med. Imaging 18(8), 1999, doi:10.1109/42.796284.
    """
    from scipy.interpolate import NdBSpline
    from scipy.sparse import csr_array, diags_array, eye_array, kron
    from scipy.sparse.linalg import splu

    p, q = _pairs(p_from, p_to, at_least=4)
    h = np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3).copy()
    margin = h if margin_mm is None else np.full(3, float(margin_mm))
    if not (np.isfinite(h).all() and (h > 0).all() and np.isfinite(margin).all() and (margin >= 0).all()):
        raise ValueError(
            f"spacing_mm is {h.tolist()} and margin_mm {margin.tolist()}; expected positive numbers."
        )
    if not (np.isfinite(stiffness) and stiffness > 0):
        raise ValueError(
            f"stiffness is {stiffness}; expected a positive number, or holes are not determined."
        )
    spread = np.linalg.svd(p - p.mean(axis=0), compute_uv=False)
    if spread[2] <= FLAT_RATIO * spread[0]:
        raise ValueError("the landmarks lie in a plane: how space moves across it is not determined.")
    low = p.min(axis=0) - margin
    cells = np.maximum(np.ceil((p.max(axis=0) + margin - low) / h - 1e-9), 1).astype(int)
    shape = tuple((cells + 3).tolist())
    if np.prod(shape) > 100_000:
        raise ValueError(
            f"{' x '.join(map(str, shape))} control points are too many; expected at most 100,000. "
            "Take a larger spacing_mm."
        )
    basis = csr_array(NdBSpline.design_matrix(p, _knots(low, h, shape), 3))
    basis.resize(len(p), int(np.prod(shape)))  # scipy leaves out the last control points if none is used
    # second derivatives by differences of the control points, in units of the spacing
    once = [diags_array([-1.0, 1.0], offsets=[0, 1], shape=(k - 1, k)) for k in shape]
    twice = [diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(k - 2, k)) for k in shape]
    energy = 0.0 * eye_array(int(np.prod(shape)))
    for a, b in combinations_with_replacement(range(3), 2):
        each = [
            twice[n] if a == b == n else once[n] if n in (a, b) else eye_array(shape[n]) for n in range(3)
        ]
        across = kron(kron(each[0], each[1]), each[2])
        scale = h.min() ** 4 / (h[a] * h[b]) ** 2  # unequal spacings bend alike
        energy = energy + (1 if a == b else 2) * scale * (across.T @ across)
    system = basis.T @ basis / len(p) + stiffness / np.prod(shape) * energy
    # symmetric and positive definite: no pivoting, and an order that keeps the factor sparse
    factor = splu(
        system.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    control = factor.solve((basis.T @ (q - p)) / len(p))
    return BSplineWarp(low, h, control.reshape(*shape, 3))


def invert_warp(warp: Warp, points: ArrayLike, *, tolerance_mm: float = 1e-6) -> Array:
    """Where points (n, 3) came from, by Newton's method; to draw a warped image, ask for each of its voxels.

    NaN where that does not settle: the warp folds there, or the point lies outside a B-spline's box.
    """
    q = check_points(points, "points", at_least=0)
    p = q.copy()
    for _ in range(50):
        off = warp(p) - q
        far = np.abs(off).max(axis=1) >= tolerance_mm  # not so where NaN: those have left the box
        if not far.any():
            break
        p[far] -= np.linalg.solve(warp.jacobian(p[far]), off[far, :, None])[..., 0]
    p[~(np.abs(warp(p) - q).max(axis=1) < tolerance_mm)] = np.nan
    return p


@dataclass(frozen=True)
class Folding:
    """What `check_folding` finds: how much space shrinks and grows, 1 is neither.

    Parameters
    ----------
    least, most : determinants of the Jacobian
    folded : the part of the points where it is not positive: there the warp is not one to one
    worst : (3,) mm, where it is least
    """

    least: float
    most: float
    folded: float
    worst: Array


def check_folding(warp: Warp, points: ArrayLike) -> Folding:
    """Whether a warp tears or folds at any of the points (n, 3), say those of a grid over the organ.

    Points outside a B-spline's box are left out.
    """
    p = check_points(points, "points", at_least=1)
    slope = warp.jacobian(p)
    inside = np.isfinite(slope).all(axis=(1, 2))
    if not inside.any():
        raise ValueError("no point lies in the box of the warp; expected some. In another space?")
    p, determinant = p[inside], np.linalg.det(slope[inside])
    return Folding(
        float(determinant.min()),
        float(determinant.max()),
        float((determinant <= 0).mean()),
        p[np.argmin(determinant)],
    )


def _knots(low: Array, h: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Uniform cubic knots, three before and behind the box."""
    return tuple(low[n] + h[n] * np.arange(-3.0, shape[n] + 1) for n in range(3))


def _pairs(p_from: ArrayLike, p_to: ArrayLike, *, at_least: int) -> tuple[Array, Array]:
    p = check_points(p_from, "p_from", at_least=at_least)
    q = check_points(p_to, "p_to", at_least=at_least)
    if len(p) != len(q):
        raise ValueError(f"p_from has {len(p)} points and p_to {len(q)}; expected pairs, in the same order.")
    return p, q
