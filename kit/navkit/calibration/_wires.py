"""The dots that N-wires make in a picture: found, and told apart."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from navkit.calibration._bottom import clipped

Array = NDArray[np.float64]

MOST_DOTS, MOST_GUESSES = 24, 12
SMOOTH_MM, APART_MM = 0.25, 1.2
"""Dots are smoothed by this much, and two of them are no nearer than that."""
HALF_WIDTH_MM, HALF_HEIGHT_MM = 1.6, 0.8
"""Half the window in which a dot's centre is taken: a wire's echo is wider than it is high."""
TILT_DEG = 35.0
"""How far the picture may be turned against the phantom's layers."""
STRETCH = (0.85, 1.35)
"""The phantom's section in a picture that cuts the wires askew is longer; the scale is a guess."""
ROUGH_MM, CLOSE_MM = 3.0, 1.2
"""How far a dot may be from where the others say it should be: at first, and in the end."""


def detect_wires(
    frame: ArrayLike,
    wires_phantom: ArrayLike,
    *,
    mm_per_px: float,
    clip_p: tuple[int, int, int, int] | None = None,
    dark: float = 20.0,
    mirrored: bool | None = None,
    upside_down: bool | None = None,
) -> Array:
    """Find the dots of N-wires in a picture and say which wire made which.

    The outer wires are parallel, so however the picture cuts them, their dots are an affine image of the
    phantom's section. Every pair of bright dots is tried as the outer two of every N; the guess that
    explains most dots is refined with all of them. A middle wire's dot is the brightest one between its
    outer two.

    Parameters
    ----------
    frame : (height, width) grey values
    wires_phantom : (n_wires, 3, 2, 3) mm, end points of the wires of each N as in
        `calibrate_probe_nwires`: first, middle, last
    mm_per_px : about how large a pixel is; 15 % off is near enough
    clip_p : first and last column, first and last row (px) to look at; everything when left out
    dark : grey value below which nothing is a dot
    mirrored : whether the last wires lie to the left of the first; found out when left out
    upside_down : whether the last N lies above the first; found out when left out

    Returns
    -------
    wire_px : (n_wires, 3, 2) column and row of each dot, as `calibrate_probe_nwires` takes them; NaN where
        a wire was not seen, all NaN where the picture does not show the phantom

    Raises
    ------
    ValueError
        If a shape is wrong, the scale is no length, the outer wires are not parallel, or the phantom's
        section looks the same mirrored or upside down and which it is was left out.

    References
    ----------
    Chen, Thurston, Ellis, Abolmaesumi, A real-time freehand ultrasound calibration system with
    automatic accuracy feedback and control, Ultrasound Med. Biol. 35(1), 2009,
    doi:10.1016/j.ultrasmedbio.2008.07.004.
    """
    outer_mm, shares = _section(np.asarray(wires_phantom, dtype=float))
    if not (np.isfinite(mm_per_px) and mm_per_px > 0):
        raise ValueError(f"mm_per_px is {mm_per_px}; expected the size of a pixel, such as 0.08.")
    flips = [
        (columns, rows)
        for columns in ((False, True) if mirrored is None else (mirrored,))
        for rows in ((False, True) if upside_down is None else (upside_down,))
    ]
    _refuse_lookalikes(outer_mm, flips)
    picture, corner = clipped(frame, clip_p)
    dots, brightness = _dots(picture, mm_per_px, dark)
    nothing = np.full((len(outer_mm), 3, 2), np.nan)
    best, best_score = nothing, 0.0
    for outer in _guesses(dots * mm_per_px, outer_mm, flips):
        found, score = _explained(dots, brightness, outer / mm_per_px, outer_mm, shares, CLOSE_MM / mm_per_px)
        if score > best_score:
            best, best_score = found, score
    return best + corner


def _section(wires: Array) -> tuple[Array, Array]:
    """Where the outer wires pierce a section (n, 2, 2) mm, and between which shares of the way from the first
    to the last the middle wire can be (n, 2)."""
    if wires.ndim != 4 or wires.shape[1:] != (3, 2, 3) or len(wires) < 1:
        raise ValueError(f"wires_phantom has shape {wires.shape}; expected (n_wires, 3, 2, 3).")
    ends = wires[:, [0, 2]]
    along = ends[:, :, 1] - ends[:, :, 0]
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    axis = along.reshape(-1, 3).mean(axis=0)
    if np.linalg.norm(axis) < 0.999:
        raise ValueError("the outer wires of wires_phantom are not parallel; expected N-wires.")
    axis /= np.linalg.norm(axis)
    across = ends[0, 1, 0] - ends[0, 0, 0]
    across = across - (across @ axis) * axis
    across /= np.linalg.norm(across)
    down = np.cross(axis, across)
    down *= np.sign(down @ (ends[-1] - ends[0]).mean(axis=(0, 1))) or 1.0  # from the first N to the last
    basis = np.stack([across, down])
    flat = wires @ basis.T  # (n, 3, 2, 2): every end of every wire in the section
    outer = flat[:, [0, 2]].mean(axis=2)
    way = outer[:, 1] - outer[:, 0]
    from_first = flat[:, 1] - outer[:, :1]
    shares = np.einsum("nek,nk->ne", from_first, way) / (way**2).sum(axis=1)[:, None]
    return outer, np.sort(shares, axis=1)


def _refuse_lookalikes(outer: Array, flips: list[tuple[bool, bool]]) -> None:
    """Two ways to lay the section that put its dots at the same places cannot be told apart."""
    flat = outer.reshape(-1, 2)
    flat = flat - (flat.min(axis=0) + flat.max(axis=0)) / 2
    laid = [flat * np.where(flip, -1.0, 1.0) for flip in flips]
    for k, one in enumerate(laid):
        for other in laid[:k]:
            off = np.linalg.norm(one[:, None] - other, axis=-1)
            same = off.argmin(axis=1)
            if off.min(axis=1).max() < CLOSE_MM and (same != np.arange(len(flat))).any():
                raise ValueError(
                    "the phantom's section looks the same mirrored or upside down; expected mirrored=... and "
                    "upside_down=... to say how it lies in the picture."
                )


def _dots(picture: NDArray[np.generic], mm_per_px: float, dark: float) -> tuple[Array, Array]:
    """The centres (k, 2) of the brightest dots, px, and how bright they are (k,), brightest first."""
    # what is to be smoothed over several pixels may be looked at in blocks of them: four times as fast
    block = max(int(SMOOTH_MM / mm_per_px / 1.5), 1)
    height, width = (size // block * block for size in picture.shape)
    parts = picture[:height, :width].reshape(height // block, block, width // block, block)
    coarse = parts.mean(axis=(1, 3), dtype=np.float32)
    mm = block * mm_per_px
    smooth = gaussian_filter(coarse, SMOOTH_MM / mm, truncate=3.0)
    peak = (smooth == maximum_filter(smooth, 2 * round(APART_MM / mm) + 1)) & (smooth >= dark)
    rows, columns = np.nonzero(peak)
    bright = np.argsort(-smooth[rows, columns], kind="stable")[:MOST_DOTS]
    centres = np.empty((len(bright), 2))
    wide, high = round(HALF_WIDTH_MM / mm), round(HALF_HEIGHT_MM / mm)
    for k, (row, column) in enumerate(zip(rows[bright], columns[bright], strict=True)):
        top, left = max(row - high, 0), max(column - wide, 0)
        window = smooth[top : row + high + 1, left : column + wide + 1]
        weight = np.maximum(window - 0.5 * smooth[row, column], 0.0)
        total = weight.sum()
        centres[k] = (
            left + weight.sum(axis=0) @ np.arange(window.shape[1]) / total,
            top + weight.sum(axis=1) @ np.arange(window.shape[0]) / total,
        )
    return block * centres + (block - 1) / 2, smooth[rows[bright], columns[bright]].astype(float)


def _guesses(dots_mm: Array, outer_mm: Array, flips: list[tuple[bool, bool]]) -> Array:
    """Guesses (g, n, 2, 2) of where all outer wires are, from two dots each, best first."""
    k = len(dots_mm)
    i, j = np.nonzero(~np.eye(k, dtype=bool))
    way = dots_mm[j] - dots_mm[i]
    flat = np.abs(way[:, 1]) <= np.tan(np.radians(TILT_DEG)) * np.abs(way[:, 0])
    guesses = []
    for first, last in outer_mm:
        ratio = np.linalg.norm(way, axis=1) / np.linalg.norm(last - first)
        use = flat & (ratio > STRETCH[0]) & (ratio < STRETCH[1])
        # similarities as complex numbers: `turn` takes the section's x to the picture, and its y, which is
        # i times x, to i or -i times that
        source, rest = (last - first) @ [1, 1j], (outer_mm - first) @ [1, 1j]
        for y, there, here in ((1, rest, source), (-1, rest.conj(), np.conj(source))):
            turn = (way[use] @ [1, 1j]) / here
            allowed = np.isin(2 * (turn.real < 0) + (y * turn.real < 0), [2 * c + r for c, r in flips])
            laid = turn[allowed, None, None] * there
            start = dots_mm[i[use]][allowed]
            guesses.append(start[:, None, None] + np.stack([laid.real, laid.imag], axis=-1))
    every = np.concatenate(guesses) if guesses else np.empty((0, *outer_mm.shape))
    off = np.linalg.norm(every[..., None, :] - dots_mm, axis=-1).min(axis=-1, initial=np.inf)
    misfit = np.minimum(off, ROUGH_MM).sum(axis=(1, 2))
    return every[np.argsort(misfit, kind="stable")[:MOST_GUESSES]]


def _explained(
    dots: Array, brightness: Array, outer: Array, outer_mm: Array, shares: Array, close: float
) -> tuple[Array, float]:
    """The dots (n, 3, 2) that a guess of the outer wires' places explains, and how good it is."""
    design = np.column_stack([outer_mm.reshape(-1, 2), np.ones(outer.size // 2)])
    where = outer.reshape(-1, 2)
    reach = close * ROUGH_MM / CLOSE_MM
    for tolerance in (reach, close, close):
        off = np.linalg.norm(where[:, None] - dots, axis=-1)
        nearest = off.argmin(axis=1)
        seen = off.min(axis=1) < tolerance
        if seen.sum() < 4:
            break
        affine = np.linalg.lstsq(design[seen], dots[nearest[seen]], rcond=None)[0]
        where = design @ affine
    found = np.full((len(outer_mm), 3, 2), np.nan)
    found[:, [0, 2]] = np.where(seen[:, None], dots[nearest], np.nan).reshape(-1, 2, 2)
    free = np.ones(len(dots), dtype=bool)
    free[nearest[seen]] = False
    ends = where.reshape(-1, 2, 2)
    way = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(way, axis=1)[:, None]
    rest = dots - ends[:, :1]
    share = np.einsum("nkc,nc->nk", rest, way) / length**2
    beside = np.abs(rest[..., 0] * way[:, 1:] - rest[..., 1] * way[:, :1]) / length
    margin = close / length
    between = (share > shares[:, :1] - margin) & (share < shares[:, 1:] + margin) & (beside < close) & free
    for k, possible in enumerate(between):
        if possible.any():
            found[k, 1] = dots[np.argmax(np.where(possible, brightness, -1.0))]
    misfit = np.minimum(off.min(axis=1) / close, 1.0).mean()
    return found, float(np.isfinite(found[..., 0]).sum() - misfit)
