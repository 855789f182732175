"""Probe calibration on a fixed point, a flat wall or a tracked stylus: no phantom but what is at hand."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import null_space
from scipy.spatial.transform import Rotation

from navkit.calibration._probe_fit import ProbeResult, centred, fit_picture
from navkit.geometry import check_points, check_poses

Array = NDArray[np.float64]

FEWEST_PICTURES = 10
FEWEST_LINES = 16
"""A line gives two equations, and the start of the wall's calibration has 31 unknowns less a factor."""
LEAST_TURN_DEG = 2.0
"""The probe must turn about a second axis by this much (RMS); below, the answer is refused."""
FAIR_TURN_DEG = 8.0
"""Below this much, it is doubted."""


def calibrate_probe_point(
    pixel: ArrayLike,
    pr_M_s: ArrayLike,
    *,
    target_pr: ArrayLike | None = None,
    scale_mm: ArrayLike | None = None,
    shape: tuple[int, int] | None = None,
    trim_sigma: float = 3.0,
) -> ProbeResult:
    """Calibrate a tracked probe from pictures of one fixed point: a cross of wires, the centre of a sphere.

    ``pr_M_s[i] @ s_M_p @ [u_i, v_i, 0, 1]`` is the same point every time [1]_. For an affine picture this
    is linear, in the unknown point as well; that is the start. Least squares with the axes at right
    angles follow. A slice is thick, so where across it the point lies is what is read off worst [2]_:
    `noise_mm` tells by how much. Turn the probe widely, about two axes or more.

    Parameters
    ----------
    pixel : (n, 2) column and row of the point, n >= 10
    pr_M_s : (n, 4, 4) rigid, the probe's sensor in the patient reference
    target_pr : (3,) mm, the point, if it was touched with a pointer; estimated when left out
    scale_mm : (2,) width and height of a pixel, if they are known
    shape : (height, width) of the picture, px; only to warn when the pixels cover a part of it
    trim_sigma : pixels further off than this many times the RMS distance are left out, and all is solved
        again until none is; infinity keeps all

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than 10 pictures, the pixels lie on one line of the picture,
        or the point is not known and the probe turns about one axis only.

    References
    ----------
    .. [1] Prager, Rohling, Gee, Berman, Ultrasound Med. Biol. 24(6), 1998,
       doi:10.1016/S0301-5629(98)00044-1.
    .. [2] Mercier, Lango, Lindseth, Collins, Ultrasound Med. Biol. 31(4), 2005,
       doi:10.1016/j.ultrasmedbio.2004.11.015.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> px, turn = rng.uniform(50, 600, size=(20, 2)), Rotation.from_rotvec(rng.uniform(-1, 1, size=(20, 3)))
    >>> pr_M_s = np.tile(np.eye(4), (20, 1, 1))
    >>> pr_M_s[:, :3, :3] = turn.as_matrix()
    >>> pr_M_s[:, :3, 3] = [30, 20, 10] - turn.apply(np.column_stack([0.08 * px, np.full(20, 5)]))
    >>> result = calibrate_probe_point(px, pr_M_s)
    >>> result.s_M_p.round(6) + 0.0
    array([[0.08, 0.  , 0.  , 0.  ],
           [0.  , 0.08, 0.  , 0.  ],
           [0.  , 0.  , 0.08, 5.  ],
           [0.  , 0.  , 0.  , 1.  ]])
    >>> result.target_pr.round(6)
    array([30., 20., 10.])
    """
    px, m = _checked(pixel, pr_M_s, "pixel", (2,), FEWEST_PICTURES)
    known = None if target_pr is None else check_points(np.asarray(target_pr)[None], "target_pr")[0]
    return _points(px, m, known, scale_mm, shape, trim_sigma)


def calibrate_probe_stylus(
    pixel: ArrayLike,
    tip_pr: ArrayLike,
    pr_M_s: ArrayLike,
    *,
    scale_mm: ArrayLike | None = None,
    shape: tuple[int, int] | None = None,
    trim_sigma: float = 3.0,
) -> ProbeResult:
    """Calibrate a tracked probe from pictures of the tip of a tracked stylus.

    Each tip is a known point in the sensor's space, so for an affine picture this is one linear system, as
    with N-wires; least squares with the axes at right angles follow. The probe need not turn, but the tips
    must be all over the picture.

    Parameters
    ----------
    pixel : (n, 2) column and row of the tip, n >= 10
    tip_pr : (n, 3) mm, the tip at the same moments, in the patient reference
    pr_M_s : (n, 4, 4) rigid, the probe's sensor in the patient reference
    scale_mm, shape, trim_sigma : as in `calibrate_probe_point`

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than 10 pictures, or the pixels lie on one line of the picture.

    References
    ----------
    Mercier, Lango, Lindseth, Collins, Ultrasound Med. Biol. 31(4), 2005,
    doi:10.1016/j.ultrasmedbio.2004.11.015.
    """
    px, m = _checked(pixel, pr_M_s, "pixel", (2,), FEWEST_PICTURES)
    tips = check_points(tip_pr, "tip_pr")
    if len(tips) != len(m):
        raise ValueError(f"tip_pr has {len(tips)} points for {len(m)} pictures; expected the same number.")
    return _points(px, m, tips, scale_mm, shape, trim_sigma)


def calibrate_probe_wall(
    line: ArrayLike,
    pr_M_s: ArrayLike,
    *,
    scale_mm: ArrayLike | None = None,
    shape: tuple[int, int] | None = None,
    trim_sigma: float = 3.0,
) -> ProbeResult:
    """Calibrate a tracked probe from pictures of a flat wall: the bottom of a tank of water.

    The wall is a line in every picture, and all their points lie in one plane [1]_. There are eleven
    unknowns, three of them the wall's; a turn within the wall and a shift along it change nothing and are
    not asked. So turning the probe about the wall's normal tells nothing: tilt it both ways, by 30 degrees
    or more, and change its depth. A poor motion makes a matrix that fits and is wrong, and only
    `condition`, `sd_mm` and `warnings` tell.

    Correct the pixels for the sound speed in water first (`corrected_pixels`). A thick slice that meets
    the wall askew shows the wall where its nearest edge meets it: with wide beams the matrix is biased.

    Parameters
    ----------
    line : (n, 2, 2) column and row of two points of the line, far apart; n >= 16
    pr_M_s : (n, 4, 4) rigid, the probe's sensor in the patient reference
    scale_mm, shape, trim_sigma : as in `calibrate_probe_point`; every tenth line may be wrong

    Raises
    ------
    ValueError
        If shapes disagree, there are fewer than 16 pictures, the line is always the same, or the probe
        turns about one axis only.

    References
    ----------
    .. [1] Prager, Rohling, Gee, Berman, Ultrasound Med. Biol. 24(6), 1998,
       doi:10.1016/S0301-5629(98)00044-1.
    """
    px, m = _checked(line, pr_M_s, "line", (2, 2), FEWEST_LINES)
    doubts = _turning_doubts(m, "the wall")
    px, m = px.reshape(-1, 2), np.repeat(m, 2, axis=0)
    q, q_M_px = centred(px)
    middle = m[:, :3, 3].mean(axis=0)
    turn, shift = m[:, :3, :3], m[:, :3, 3] - middle
    columns, normal = _wall_start(q, turn, shift)
    sideways = null_space(normal[None])

    def tilted(by: Array) -> Array:
        n: Array = normal + sideways @ by
        return n / np.linalg.norm(n)

    def off_wall(columns: Array, axes: Array, rest: Array) -> Array:
        n = tilted(rest[:2])
        off: Array = np.einsum("nij,i,nj->n", turn, n, q @ columns.T) + shift @ n - rest[2]
        return off[:, None]

    distance = off_wall(columns, np.eye(3), np.zeros(3)).mean()
    start = np.array([0.0, 0.0, distance])
    result, found = fit_picture(off_wall, columns, start, px, q_M_px, scale_mm, shape, trim_sigma, doubts)
    normal = tilted(found[:2])
    distance = found[2] + normal @ middle
    return replace(
        result,
        target_pr=np.append(normal, distance) * (-1 if distance < 0 else 1),
        residual_mm=result.residual_mm.reshape(-1, 2),
        kept=result.kept.reshape(-1, 2),
    )


def _wall_start(q: Array, turn: Array, shift: Array) -> tuple[Array, Array]:
    """The columns (3, 3) of an affine picture and the wall's normal, in closed form.

    ``n . (R (columns @ q) + T) = d`` is linear in the products of n and the columns, in n and in d. The
    normal found so is good even where the columns are not; with it they are found once more, now alone.
    """
    rows = np.einsum("nc,nij->nijc", q, turn).reshape(-1, 27)
    rows = np.column_stack([rows, shift, np.ones(len(q))])
    size = np.linalg.norm(rows, axis=0)
    if not size.all():
        raise ValueError(
            "the sensor stays at one place along an axis of pr_M_s; expected it to move along all."
        )
    normal = (np.linalg.svd(rows / size, full_matrices=False)[2][-1] / size)[27:30]
    normal = normal / np.linalg.norm(normal)
    rows = np.einsum("nc,nij,i->njc", q, turn, normal).reshape(-1, 9)
    rows = np.column_stack([rows, np.ones(len(q))])
    columns: Array = np.linalg.lstsq(rows, -shift @ normal, rcond=None)[0][:9].reshape(3, 3)
    return columns, normal


def _points(
    px: Array,
    m: Array,
    known: Array | None,
    scale_mm: ArrayLike | None,
    shape: tuple[int, int] | None,
    trim_sigma: float,
) -> ProbeResult:
    """The matrix from pixels of points that are known, (n, 3) or (3,), or of one that is not."""
    doubts = [] if known is not None else _turning_doubts(m, "the point")
    q, q_M_px = centred(px)
    turn, shift = m[:, :3, :3], m[:, :3, 3]
    # R (columns @ q) - target = -T is linear in the columns, and in a target that is not known
    rows = np.einsum("nc,nij->nijc", q, turn).reshape(-1, 9)
    if known is None:
        rows = np.hstack([rows, np.tile(-np.eye(3), (len(q), 1))])
    right = ((0 if known is None else known) - shift).ravel()
    affine = np.asarray(np.linalg.lstsq(rows, right, rcond=None)[0], dtype=float)

    def off_point(columns: Array, axes: Array, rest: Array) -> Array:
        there = (rest if known is None else known) - shift
        off: Array = (q @ columns.T - np.einsum("nij,ni->nj", turn, there)) @ axes
        return off

    columns = affine[:9].reshape(3, 3)
    result, found = fit_picture(
        off_point, columns, affine[9:], px, q_M_px, scale_mm, shape, trim_sigma, doubts
    )
    off = (rows @ affine - right).reshape(-1, 3)[result.kept]
    affine_mm = np.sqrt((off**2).sum(axis=1).mean())
    warnings = result.warnings
    if result.rms_mm > 1.5 * affine_mm + 1e-6:
        warnings += (
            f"with the picture's axes at right angles {result.rms_mm:.2f} mm are left (RMS), with any axes "
            f"{affine_mm:.2f} mm: is a pixel (column, row), are its scales and the sound speed right?",
        )
    return replace(result, target_pr=found if known is None else known, warnings=warnings)


def _turning_doubts(m: Array, what: str) -> list[str]:
    """How far the probe turned (RMS) about the second of its axes of turning, when that is little."""
    rotation = Rotation.from_matrix(m[:, :3, :3])
    turn = (rotation.mean().inv() * rotation).as_rotvec()
    first, second, _ = np.degrees(np.linalg.svd(turn, compute_uv=False) / np.sqrt(len(m)))
    told = f"the probe turns by {first:.1f} deg about one axis and {second:.1f} deg about the next (RMS)"
    if second < LEAST_TURN_DEG:
        raise ValueError(
            f"{told}; expected {LEAST_TURN_DEG:.0f} deg or more about two: {what} and the picture may "
            "otherwise move together unseen."
        )
    return [f"{told}; expected {FAIR_TURN_DEG:.0f} deg or more."] if second < FAIR_TURN_DEG else []


def _checked(
    pixel: ArrayLike, pr_M_s: ArrayLike, name: str, each: tuple[int, ...], at_least: int
) -> tuple[Array, Array]:
    px = np.asarray(pixel, dtype=float)
    if px.shape[1:] != each or px.ndim < 2:
        raise ValueError(f"{name} has shape {px.shape}; expected {('n', *each)}, column before row.")
    m = check_poses(pr_M_s, "pr_M_s")
    if len(m) != len(px):
        raise ValueError(f"pr_M_s has {len(m)} poses for {len(px)} pictures; expected the same number.")
    if len(px) < at_least:
        raise ValueError(f"{name} has {len(px)} pictures; expected at least {at_least}.")
    if not np.isfinite(px).all():
        raise ValueError(f"{name} has NaN or infinity in it; expected only pictures that show the target.")
    return px, m
