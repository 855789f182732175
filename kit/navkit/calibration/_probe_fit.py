"""What the calibrations of a probe share: the result, the least squares, and how sure they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares, nnls
from scipy.spatial.transform import Rotation

from navkit.geometry import orthonormalised

Array = NDArray[np.float64]

FEWEST_KEPT = 10
LARGEST_CONDITION = 1000.0
FAIR_SHARE = 0.5
"""The pixels should reach over this part of the picture's width and height."""


@dataclass(frozen=True)
class ProbeResult:
    """Where the picture is, seen from the probe's sensor, and what tells whether to trust it.

    Parameters
    ----------
    s_M_p : (4, 4) affine; maps pixels (column, row, 0) to the sensor, mm. Its third column is the cross
        product of the first two, as long as their mean: the picture itself says nothing about it
    scale_mm : (2,) width and height of a pixel
    rms_mm : RMS over the residuals that were kept
    residual_mm : 3-D distance of each mapped pixel from where the target is: (n,) for a point or a stylus,
        (n_frames, n_wires) of the middle wires' points, NaN where one was not seen; for a wall (n, 2), of
        each line's two points from the wall
    kept : bool, of the same shape; False where a residual was trimmed
    covariance : (3, 3, 3, 3) of the coefficients of column, row and 1 in the matrix's rows; the indices
        are row, coefficient, row, coefficient
    noise_mm : (3,) standard deviation of one measurement along the picture's columns, its rows and across
        it, where the slice's thickness shows; (1,) across the wall; (2,) of a dot from its wire
    condition : of the normalised equations; above about 100 the motion was poor
    square_deg : the angle between the picture's axes; 90 where that was demanded
    warnings : tuple of str
    target_pr : mm, what was looked at, in the patient reference: the point (3,), the stylus's tips as given
        (n, 3), or the wall (4,), its unit normal and its distance from the origin along it; None for wires
    """

    s_M_p: Array
    scale_mm: tuple[float, float]
    rms_mm: float
    residual_mm: Array
    kept: NDArray[np.bool_]
    covariance: Array
    noise_mm: Array
    condition: float
    square_deg: float
    warnings: tuple[str, ...]
    target_pr: Array | None = None

    def pixel_covariance(self, px: ArrayLike) -> Array:
        """Covariance (..., 3, 3) of mapped pixels (..., 2) in the sensor's space, mm squared."""
        p = np.asarray(px, dtype=float)
        u = np.concatenate([p, np.ones((*p.shape[:-1], 1))], axis=-1)
        covariance: Array = np.einsum("...i,aibj,...j->...ab", u, self.covariance, u)
        return covariance

    def sd_mm(self, px: ArrayLike) -> Array:
        """Standard deviation (..., 3) of mapped pixels (..., 2), along the sensor's axes, mm."""
        return np.sqrt(np.diagonal(self.pixel_covariance(px), axis1=-2, axis2=-1))

    def best_95(self) -> tuple[float, float]:
        """Mean and standard deviation of the smallest 95 % of the residuals, mm: the figure PLUS reports."""
        return best_95(self.residual_mm)


def best_95(residual_mm: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation of the smallest 95 % of some distances (NaN passed over), mm."""
    r = np.asarray(residual_mm, dtype=float)
    r = np.sort(r[np.isfinite(r)])
    r = r[: max(round(0.95 * len(r)), 1)]
    return float(r.mean()), float(r.std())


def centred(px: Array) -> tuple[Array, Array]:
    """Pixels about their mean, in units of their spread, with a 1 behind (n, 3); and the matrix for it."""
    spread = np.linalg.svd(px - px.mean(axis=0), compute_uv=False)
    if not spread[1] > 0.01 * spread[0]:
        raise ValueError(
            "all pixels lie on one line of the picture; expected them spread over it. Move the probe so "
            "that the target is seen left and right, near and far."
        )
    unit = spread[0] / np.sqrt(len(px))
    u, v = px.mean(axis=0)
    q_M_px = np.array([[1, 0, -u], [0, 1, -v], [0, 0, unit]]) / unit
    return np.column_stack([px, np.ones(len(px))]) @ q_M_px.T, q_M_px


def fit_picture(
    model: Callable[[Array, Array, Array], Array],
    columns: Array,
    rest: Array,
    px: Array,
    q_M_px: Array,
    scale_mm: ArrayLike | None,
    shape: tuple[int, int] | None,
    trim_sigma: float,
    doubts: list[str],
) -> tuple[ProbeResult, Array]:
    """Least squares with the picture's axes at right angles, from an affine start; and what else was unknown.

    `model` takes the matrix's columns for centred pixels, the picture's axes in the sensor's space and
    what else is unknown; it gives residuals (n, k) whose k components may have noise of their own.
    """
    start = picture_matrix(columns)
    scale = np.linalg.norm(start[:3, :2], axis=0)
    base = orthonormalised(start / np.append(scale, [scale.mean(), 1]))[:3, :3]
    if scale_mm is not None:
        scale = _check_scale(scale_mm) / q_M_px[0, 0]
    theta = np.concatenate([np.zeros(3), columns[:, 2], scale, rest])
    free = np.ones(len(theta), dtype=bool)
    free[6:8] = scale_mm is None

    def picture(values: Array) -> tuple[Array, Array, Array]:
        full = theta.copy()
        full[free] = values
        axes = base @ Rotation.from_rotvec(full[:3]).as_matrix()
        return np.column_stack([axes[:, :2] * full[6:8], full[3:6]]), axes, full[8:]

    values = theta[free]
    kept = np.ones(len(px), dtype=bool)
    tight = 1e-14
    while True:
        solved = least_squares(
            lambda x, use: model(*picture(x))[use].ravel(),
            values,
            "2-point",
            method="lm",
            x_scale="jac",
            ftol=tight,
            xtol=tight,
            gtol=tight,
            max_nfev=200,
            args=(kept,),
        )
        values = solved.x
        residual = model(*picture(values))
        size = np.linalg.norm(residual, axis=1)
        rms = float(np.sqrt(np.mean(size[kept] ** 2)))
        fits = kept & (size <= trim_sigma * rms + 1e-9)
        if fits.sum() == kept.sum() or fits.sum() < FEWEST_KEPT:
            break
        kept = fits
    norms = np.linalg.norm(solved.jac, axis=0)
    condition = float(np.linalg.cond(solved.jac / norms)) if norms.all() else np.inf
    if not (solved.success and condition < LARGEST_CONDITION):
        raise ValueError(
            f"the equations' condition is {condition:.0f}; expected less than {LARGEST_CONDITION:.0f}. Did "
            "the probe tilt one way only, or stay at one depth?"
        )
    variance, covariance = _covariance(solved.jac, residual[kept])
    steps = 1e-6 * np.eye(len(values))
    change = np.array([picture(values + h)[0] - picture(values - h)[0] for h in steps]) @ q_M_px / 2e-6
    s_M_p = picture_matrix(picture(values)[0] @ q_M_px)
    result = ProbeResult(
        s_M_p,
        (float(np.linalg.norm(s_M_p[:3, 0])), float(np.linalg.norm(s_M_p[:3, 1]))),
        rms,
        size,
        kept,
        np.einsum("pac,pq,qbd->acbd", change, covariance, change),
        np.sqrt(variance),
        condition,
        90.0,
        (),
    )
    return replace(result, warnings=(*doubts, *_doubts(result, px, shape))), picture(values)[2]


def picture_matrix(columns: Array) -> Array:
    """The matrix (4, 4) with these columns for column, row and origin, and a third one to go with them."""
    along, down, origin = columns.T
    across = np.cross(along, down)
    length = (np.linalg.norm(along) + np.linalg.norm(down)) / 2
    m = np.eye(4)
    m[:3] = np.column_stack([along, down, across / np.linalg.norm(across) * length, origin])
    return m


def _covariance(jac: Array, residual: Array) -> tuple[Array, Array]:
    """Unbiased variances (k,) of the components of residuals (n, k), and the parameters' covariance.

    One fit mixes the components: of each one's sum of squares, a part comes from the others' noise.
    """
    n, k = residual.shape
    q, r = np.linalg.qr(jac)
    part = q.reshape(n, k, -1)
    gram = np.einsum("nkp,nkq->kpq", part, part)
    mixed = np.diag(n - 2 * np.trace(gram, axis1=1, axis2=2)) + np.einsum("kpq,lpq->kl", gram, gram)
    variance = np.asarray(nnls(mixed, (residual**2).sum(axis=0))[0], dtype=float)
    back = np.linalg.inv(r)
    return variance, back @ np.einsum("k,kpq->pq", variance, gram) @ back.T


def _doubts(result: ProbeResult, px: Array, shape: tuple[int, int] | None) -> list[str]:
    """What speaks against a calibration, with numbers."""
    doubts = []
    left = int((~result.kept).sum())
    if left > 0.2 * len(px):
        doubts.append(f"{left} of {len(px)} points do not fit and were left out.")
    first, last = px.min(axis=0), px.max(axis=0)
    if shape is not None:
        share = (last - first) / (np.array(shape[::-1]) - 1)
        if share.min() < FAIR_SHARE:
            doubts.append(
                f"the pixels reach over {share[0]:.0%} of the picture's width and {share[1]:.0%} of its "
                f"height; expected {FAIR_SHARE:.0%} or more of both."
            )
        first, last = np.zeros(2), np.array(shape[::-1]) - 1.0
    corners = np.array([[x, y] for x in (first[0], last[0]) for y in (first[1], last[1])])
    worst = np.sqrt(np.linalg.eigvalsh(result.pixel_covariance(corners)).max())
    if worst > 2 * result.rms_mm:
        doubts.append(
            f"a corner's standard deviation is {worst:.2g} mm where one residual is {result.rms_mm:.2g} mm "
            "(RMS): more pictures, and more different ones, are needed."
        )
    return doubts


def _check_scale(scale_mm: ArrayLike) -> Array:
    scale = np.asarray(scale_mm, dtype=float)
    if scale.shape != (2,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"scale_mm is {scale}; expected the width and height of a pixel, both positive.")
    return scale
