"""The pose of a tool from its markers, and whether its markers can be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.geometry import RigidFit, check_points, fit_rigid

Array = NDArray[np.float64]
Names = tuple[int, ...]

NEARLY_A_LINE = 0.1
"""Below this ratio of the spreads across and along, the turn about the line is badly known."""
MOST_MARKERS = 12
SURE = 6.0
"""How many times the noise two distances must differ by: three standard deviations of either."""


@dataclass(frozen=True)
class MarkerGeometry:
    """How well the markers of a tool can be told apart by their distances.

    Parameters
    ----------
    segment_gap_mm : the least difference between the distances of two pairs of markers
    segments : those two pairs
    triple_gap_mm : how far, at least, three markers are from fitting onto three others, or onto themselves in
        another order: the largest of the three differences of their sides
    triples : those two triples; the first may be taken for the second when just these are seen
    warnings : tuple of str
    """

    segment_gap_mm: float
    segments: tuple[Names, Names]
    triple_gap_mm: float
    triples: tuple[Names, Names]
    warnings: tuple[str, ...]


def locate_rigid_body(
    markers_t: ArrayLike, markers_pr: ArrayLike, weights: ArrayLike | None = None
) -> RigidFit:
    """The pose of a tool from where its markers were found: the least-squares fit of `fit_rigid`.

    Parameters
    ----------
    markers_t : (n, 3) mm, the markers as the tool's maker (or a calibration) gives them
    markers_pr : (n, 3) mm, where they were found, in the same order; a row of NaN is a marker that was hidden
    weights : (n,) not negative; 1 / FLE^2 where the markers are not equally good

    Returns
    -------
    RigidFit
        ``matrix`` is ``pr_M_t``. `residual_mm` is NaN for hidden markers; `fre_rms_mm` is what NDI's trackers
        call the tool's error. ``sd_mm(tip_pr)`` tells how far off a point of the tool may be. Warns when
        markers are hidden or lie nearly on a line.

    Raises
    ------
    ValueError
        If shapes disagree, fewer than three markers are seen, or the ones that are lie on a line.

    References
    ----------
    .. [1] Horn, J. Opt. Soc. Am. A 4(4), 1987, doi:10.1364/JOSAA.4.000629.

    Examples
    --------
    >>> markers_t = np.array([[0, 0, 0], [50, 0, 0], [0, 88, 0], [-10, 20, 30.0]])
    >>> markers_pr = markers_t[:, [1, 2, 0]] + [300, 0, -1000]
    >>> markers_pr[1] = np.nan
    >>> locate_rigid_body(markers_t, markers_pr).matrix.round(6) + 0.0
    array([[    0.,     1.,     0.,   300.],
           [    0.,     0.,     1.,     0.],
           [    1.,     0.,     0., -1000.],
           [    0.,     0.,     0.,     1.]])
    """
    tool = check_points(markers_t, "markers_t", at_least=3)
    found = np.asarray(markers_pr, dtype=float)
    if found.shape != tool.shape:
        raise ValueError(
            f"markers_pr has shape {found.shape}; expected {tool.shape}, a row for each marker and NaN for "
            "the hidden ones."
        )
    w = np.ones(len(tool)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (len(tool),):
        raise ValueError(f"weights has shape {w.shape}; expected ({len(tool)},), one for each marker.")
    seen = ~np.isnan(found).all(axis=1)
    if seen.sum() < 3:
        raise ValueError(
            f"{seen.sum()} of {len(tool)} markers are seen; expected at least 3. Was the line of sight "
            "blocked?"
        )
    fit = fit_rigid(tool[seen], found[seen], weights=w[seen])
    residual = np.full(len(tool), np.nan)
    residual[seen] = fit.residual_mm
    warnings = []
    if not seen.all():
        hidden = ", ".join(str(k) for k in np.flatnonzero(~seen))
        warnings.append(f"markers hidden: {hidden}; the pose is from {seen.sum()} of {len(tool)}.")
    along, across = np.sqrt(fit.singular_values[:2])
    if across < NEARLY_A_LINE * along:
        warnings.append(
            f"the markers seen lie nearly on a line ({across:.1f} mm RMS across, {along:.1f} mm along): the "
            "turn about it is badly known."
        )
    return replace(fit, residual_mm=residual, warnings=tuple(warnings))


def marker_geometry(markers_t: ArrayLike, *, noise_mm: float = 0.25) -> MarkerGeometry:
    """Whether markers can be mistaken for one another.

    A tracker knows which marker is which by their distances alone. A triangle that fits onto another, or onto
    itself in another order, gives a wrong pose with a small residual when no other marker is seen.

    Parameters
    ----------
    markers_t : (n, 3) mm, 3 to 12 markers
    noise_mm : standard deviation of a distance; warns of gaps below six times that

    Raises
    ------
    ValueError
        If there are fewer than 3 or more than 12 markers.

    Examples
    --------
    >>> square = np.array([[0, 0, 0], [50, 0, 0], [50, 50, 0], [0, 50, 0.0]])
    >>> marker_geometry(square).triple_gap_mm
    0.0
    """
    p = check_points(markers_t, "markers_t", at_least=3)
    if len(p) > MOST_MARKERS:
        raise ValueError(f"markers_t has {len(p)} markers; expected at most {MOST_MARKERS}.")
    length = np.linalg.norm(p[:, None] - p, axis=-1)
    pairs = list(combinations(range(len(p)), 2))
    segment_gap, segments = _closest([length[pair] for pair in pairs], pairs, len(pairs))
    # first the triangles, each once, then the same with their corners in every other order
    triples = list(combinations(range(len(p)), 3))
    once = len(triples)
    triples += [t for t in permutations(range(len(p)), 3) if t != tuple(sorted(t))]
    sides = [(length[a, b], length[b, c], length[c, a]) for a, b, c in triples]
    triple_gap, pair = _closest(sides, triples, once)
    warnings = []
    for gap, what, two in ((triple_gap, "triangles", pair), (segment_gap, "distances", segments)):
        if gap < SURE * noise_mm:
            warnings.append(
                f"the {what} {two[0]} and {two[1]} differ by only {gap:.2f} mm; expected "
                f"{SURE * noise_mm:.2f} mm or more for a noise of {noise_mm} mm."
            )
    return MarkerGeometry(segment_gap, segments, triple_gap, pair, tuple(warnings))


def _closest(values: ArrayLike, names: Sequence[Names], once: int) -> tuple[float, tuple[Names, Names]]:
    """The least, over two rows, of their largest difference, and the names of the two; the first is one of
    the rows up to `once`."""
    v = np.asarray(values, dtype=float).reshape(len(names), -1)
    off = np.abs(v[:once, None] - v).max(axis=-1)
    off[range(once), range(once)] = np.inf
    k, other = np.unravel_index(off.argmin(), off.shape)
    return float(off[k, other]), (names[int(k)], names[int(other)])
