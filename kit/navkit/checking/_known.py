"""Mistakes that everybody makes, known without the author's help.

Each is told by undoing it: an answer looks like metres for millimetres when a thousand times the answer
is right. So the tolerance is always the check's own. A mistake is named only when it alone fits, and
when the truth itself would not fit it on these data: a tool that only moved cannot show a transposed
rotation.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from numpy.typing import ArrayLike

from navkit.checking._plain import (
    FLOAT64_SLACK,
    Array,
    angle_deg,
    degrees,
    errstate,
    eye,
    hypot,
    largest_error,
    plain,
    radians,
)

Far = Callable[[Array, Array], bool]
Fits = Callable[[Array], bool]
Known = Mapping[str, Fits]
"""For each mistake, whether an answer shows it."""

_cos, _sin = math.cos, math.sin
THOUSAND = 1000.0
SCALES = {
    "mm": ("metres", THOUSAND),
    "m": ("millimetres", 1 / THOUSAND),
    "s": ("milliseconds", 1 / THOUSAND),
    "ms": ("seconds", THOUSAND),
    "deg": ("radians", degrees(1.0)),
    "rad": ("degrees", radians(1.0)),
}
"""For a unit, the other unit that people use, and the factor that undoes it."""
LENGTHS = ("", "mm", "m")
"""Units in which three numbers are a point."""
RAS = plain([-1.0, -1.0, 1.0])
MIRRORS = [plain([-1.0, 1.0, 1.0]), plain([1.0, -1.0, 1.0]), plain([1.0, 1.0, -1.0])]


def mistake_in(
    answer: Array, truth: Array, likely: Mapping[str, ArrayLike] | None, known: Known, far: Far
) -> str:
    """The one mistake that fits the answer and not the truth; else nothing.

    A known mistake that also fits an author's wrong value is the same mistake: the author's words win.
    """
    values = {name: plain(value) for name, value in (likely or {}).items()}
    fitting = [
        name
        for name, wrong in values.items()
        if wrong.shape == answer.shape
        and not far(answer, wrong)
        and (wrong.shape != truth.shape or far(truth, wrong))
    ]
    with errstate(all="ignore"):
        others = [
            name
            for name, fits in known.items()
            if fits(answer) and not fits(truth) and not any(fits(values[own]) for own in fitting)
        ]
    every = fitting + others
    return every[0] if len(every) == 1 else ""


def numbers_known(truth: Array, far: Far, unit: str, spacing: Array | None) -> Known:
    """Mistakes of numbers, points, series and images, by the shape of the truth and its unit."""

    def undone(undo: Callable[[Array], Array], shape: tuple[int, ...] = truth.shape) -> Fits:
        return lambda a: a.shape == shape and not far(undo(a), truth)

    def scaled(undo: Callable[[Array], Array], do: Callable[[Array], Array]) -> Fits:
        # Both ways, or a wide tolerance would call 1.5 twice the value 1.
        wrong = do(truth)
        return lambda a: a.shape == truth.shape and not far(undo(a), truth) and not far(a, wrong)

    with errstate(all="ignore"):
        same = {name: scaled(undo, do) for name, undo, do in _by_size(unit, spacing)}
    turned = {name: undone(undo) for name, undo in _by_axes(truth, unit)}
    found = {**same, **turned, "zeros": lambda a: a.shape == truth.shape and not (a != 0).any()}
    if truth.ndim == 3 or (truth.ndim == 2 and (truth.shape[1] > 3 or truth.shape == (3, 3))):
        found["transposed" if truth.ndim == 2 else "image_axes"] = undone(lambda a: a.T, truth.shape[::-1])
    if truth.ndim == 1 and truth.size > 3:
        found["one_sample_late"] = lambda a: a.shape == truth.shape and not far(a[1:], truth[:-1])
        found["one_sample_early"] = lambda a: a.shape == truth.shape and not far(a[:-1], truth[1:])
    if truth.size and largest_error(truth, truth.round())[0] == 0 and not unit:
        found["counted_from_one"] = undone(lambda a: a - 1)
        found["one_too_low"] = undone(lambda a: a + 1)
    return found


def _by_size(
    unit: str, spacing: Array | None
) -> Iterator[tuple[str, Callable[[Array], Array], Callable[[Array], Array]]]:
    """Name, how to undo it, how to make it."""
    if unit in SCALES:
        name, factor = SCALES[unit]
        yield name, lambda a: a * factor, lambda a: a / factor
    yield ("clock_sign" if unit in ("s", "ms") else "opposite_sign"), lambda a: -a, lambda a: -a
    yield "squared", lambda a: a**0.5, lambda a: a**2
    yield "twice", lambda a: a / 2, lambda a: a * 2
    yield "half", lambda a: a * 2, lambda a: a / 2
    if spacing is not None:
        back = spacing[::-1]
        yield "voxels", lambda a: a * spacing, lambda a: a / spacing
        yield "millimetres_for_voxels", lambda a: a / spacing, lambda a: a * spacing
        yield "spacing_reversed", lambda a: a / back * spacing, lambda a: a / spacing * back


def _by_axes(truth: Array, unit: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    if unit in LENGTHS and (truth.shape == (3,) or (truth.ndim == 2 and truth.shape[1] == 3)):
        yield "ras_points", lambda a: a * RAS
        yield "points_zyx", lambda a: a[..., ::-1]
        for axis, mirror in zip("xyz", MIRRORS, strict=True):
            yield f"mirrored_{axis}", partial(_times, mirror)
    if truth.ndim == 2 and truth.shape[1] == 2:
        yield "row_for_column", lambda a: a[..., ::-1]
    if truth.ndim in (2, 3) and min(truth.shape) > 3:
        yield "mirrored_image", lambda a: _nearest_flip(a, truth)


def _times(signs: Array, a: Array) -> Array:
    return a * signs


def _nearest_flip(a: Array, truth: Array) -> Array:
    """The answer turned over along the axis that brings it nearest to the truth."""
    flips = [a[::-1], a[:, ::-1], *([a[:, :, ::-1]] if a.ndim == 3 else [])]
    return min(flips, key=lambda flipped: largest_error(flipped, truth)[0])


def pose_known(truth: Array, far: Far, factors: Sequence[Array]) -> Known:
    """Mistakes of a rigid transform (4, 4)."""
    one = plain(eye(4))

    def undone(*repairs: Callable[[Array], Array]) -> Fits:
        return lambda a: a.shape == (4, 4) and any(not far(repair(a), truth) for repair in repairs)

    def equal(*wrongs: Array) -> Fits:
        return lambda a: a.shape == (4, 4) and any(not far(a, wrong) for wrong in wrongs)

    ras, swap = plain(eye(4)), plain(eye(4)[[2, 1, 0, 3]])
    ras[:3, :3] *= RAS
    mirrors = [plain(eye(4)) for _ in MIRRORS]
    for mirror, signs in zip(mirrors, MIRRORS, strict=True):
        mirror[:3, :3] *= signs
    found = {
        "inverse": undone(_inverse),
        "transposed_rotation": undone(lambda a: _with(a, rotation=a[:3, :3].T)),
        "transposed_matrix": undone(lambda a: a.T),
        "ras_both": undone(lambda a: ras @ a @ ras),
        "ras_to": undone(lambda a: ras @ a),
        "ras_from": undone(lambda a: a @ ras),
        "axes_reversed": undone(lambda a: swap @ a @ swap, lambda a: swap @ a, lambda a: a @ swap),
        "mirrored_pose": undone(*_products(mirrors)),
        "metres": undone(lambda a: _with(a, shift=a[:3, 3] * THOUSAND)),
        "opposite_translation": undone(lambda a: _with(a, shift=-a[:3, 3])),
        "no_translation": equal(_with(truth, shift=plain([0.0, 0.0, 0.0]))),
        "no_rotation": equal(_with(truth, rotation=one[:3, :3])),
        "identity": equal(one),
    }
    axis, angle = _axis_angle(truth[:3, :3])
    if axis is not None:
        small, large = _rotation(axis, radians(angle)), _rotation(axis, degrees(angle))
        found["degrees_turn"] = equal(_with(truth, rotation=large))
        found["radians_turn"] = equal(_with(truth, rotation=small))
    if len(factors) > 1:
        each = range(len(factors))
        turned = [[_inverse(f) if k == i else f for k, f in enumerate(factors)] for i in each]
        left = [[f for k, f in enumerate(factors) if k != i] for i in each]
        found["wrong_order"] = equal(_product(factors[::-1]))
        found["factor_inverted"] = equal(*(_product(some) for some in turned))
        found["factor_missing"] = equal(*(_product(some) for some in left))
    return found


def quaternion_known(truth: Array, far: Far, w_first: bool) -> Known:
    """Mistakes of quaternions (..., 4), in the order x, y, z, w, or w, x, y, z when `w_first`."""
    signs = plain([1.0, -1.0, -1.0, -1.0] if w_first else [-1.0, -1.0, -1.0, 1.0])
    other = [3, 0, 1, 2] if w_first else [1, 2, 3, 0]  # undoes the other order

    def fits(repair: Callable[[Array], Array]) -> Fits:
        return lambda a: a.shape == truth.shape and not far(repair(a), truth)

    return {
        ("w_last" if w_first else "w_first"): fits(lambda a: a[..., other]),
        "conjugate": fits(lambda a: a * signs),
    }


def _products(mirrors: Iterable[Array]) -> Iterator[Callable[[Array], Array]]:
    for m in mirrors:
        yield partial(_before, m)
        yield partial(_after, m)
        yield partial(_turned, m[:3, :3])


def _before(m: Array, a: Array) -> Array:
    return m @ a


def _after(m: Array, a: Array) -> Array:
    return a @ m


def _turned(r: Array, a: Array) -> Array:
    return _with(a, rotation=r @ a[:3, :3])


def _product(poses: Sequence[Array]) -> Array:
    out = plain(eye(4))
    for pose in poses:
        out = out @ pose
    return out


def _with(pose: Array, *, rotation: Array | None = None, shift: Array | None = None) -> Array:
    out = pose.copy()
    if rotation is not None:
        out[:3, :3] = rotation
    if shift is not None:
        out[:3, 3] = shift
    return out


def _inverse(pose: Array) -> Array:
    turned = pose[:3, :3].T
    return _with(pose, rotation=turned, shift=-turned @ pose[:3, 3])


def _axis_angle(r: Array) -> tuple[Array | None, float]:
    """Axis and angle in rad of a rotation; no axis near 0 and half a turn, where it is not defined well."""
    axial = plain([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    size = hypot(*axial)
    return (axial / size if size > FLOAT64_SLACK**0.25 else None), radians(angle_deg(r))


def _rotation(axis: Array, angle: float) -> Array:
    """Rodrigues' formula."""
    x, y, z = axis
    k = plain([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return plain(eye(3) + _sin(angle) * k + (1 - _cos(angle)) * (k @ k))
