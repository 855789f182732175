"""Demands on an answer: first shape, then finite, then properties, then accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from numpy.typing import ArrayLike

from navkit.checking._known import mistake_in, numbers_known, pose_known, quaternion_known
from navkit.checking._plain import (
    RIGID_TOLERANCE,
    About,
    Array,
    angle_deg,
    degrees,
    demand_finite,
    demand_shape,
    det,
    eye,
    first,
    index_text,
    largest_error,
    largest_size,
    numbers_of,
    plain,
    quaternion_angles_deg,
    radians,
    sqrt,
    zeros,
)
from navkit.checking._properties import Property, demand_properties, unit_length
from navkit.checking._words import number, say


def close(
    got: object,
    expected: ArrayLike,
    *,
    atol: float,
    unit: str = "",
    what: str = "",
    hint: str = "",
    likely: Mapping[str, ArrayLike] | None = None,
    spacing: ArrayLike | None = None,
    properties: Sequence[Property] = (),
) -> None:
    """Demand that numbers are right to within a tolerance.

    Known by itself, from the shape of the truth and the unit: metres for millimetres, seconds and
    milliseconds, degrees and radians, the opposite sign (of a delay: the clocks), squares, factors of two,
    zeros; of points x and y negated (RAS for LPS), one axis mirrored, z y x for x y z; row and column, with
    `spacing` voxels for millimetres; a series late or early by one sample, indices counted from 1;
    matrices and images transposed or mirrored.

    Parameters
    ----------
    got : numbers, nested lists or tuples of numbers, or an array
        The answer. Single precision is given the digits that it lacks.
    expected : array
        The truth. NaN means no data; the answer must be NaN there and nowhere else.
    atol : float
        Largest allowed absolute error of any one number, in `unit`.
    what : str
        What the numbers are: "the tip".
    hint : str
        A sentence that is added to whatever is wrong.
    likely : dict
        Wrong answers that people give, by their description ("the pivot point, not the tip") or an id of
        the catalogue ("fre_for_tre"). One is named only when it alone fits the answer and the truth does
        not fit it.
    spacing : array
        The size of a voxel, mm, in the order of the numbers of a point.
    properties : sequence of `Property`
        What must hold before the accuracy is looked at, and the part of the marks that it earns.

    Raises
    ------
    CheckFailed
        With the largest error and the tolerance, in words.

    Examples
    --------
    >>> close([1, 2, 3], [1.0, 2.0, 3.0], atol=1e-6)
    >>> close([3, 2, 1], [1, 2, 3], atol=0.1, unit="mm", likely={"x and z swapped": [3, 2, 1]})
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the largest error of the result is 2 mm, at index 0 (tolerance 0.1 mm).
    This looks like x and z swapped.
    >>> close(-0.12, 0.12, atol=0.01, unit="s", what="the delay")
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the error of the delay is 0.24 s (tolerance 0.01 s).
    This looks like the opposite sign: which of the two clocks is late.
    """
    about = About(what or say("the_result"), hint)
    truth = plain(expected)
    answer, relative = numbers_of(got, truth.shape, about)
    allowed = atol + relative * largest_size(answer)

    def far(a: Array, b: Array) -> bool:
        return largest_error(a, b)[0] > allowed

    known = numbers_known(truth, far, unit, None if spacing is None else plain(spacing))
    about = replace(about, mistake=mistake_in(answer, truth, likely, known, far))
    demand_shape(answer, truth.shape, about)
    demand_finite(answer, truth, about)
    earned = demand_properties(answer, properties, about)
    error, index = largest_error(answer, truth)
    if error > allowed:
        size, limit = _texts(error, atol)
        values = {
            "size": size,
            "limit": limit,
            "unit": f" {unit}" if unit else "",
            "index": index_text(index),
        }
        raise about.fails("largest_error" if truth.size > 1 else "error", values, earned=earned)


def close_pose(
    got: object,
    expected: ArrayLike,
    *,
    atol_mm: float,
    atol_deg: float,
    what: str = "",
    hint: str = "",
    likely: Mapping[str, ArrayLike] | None = None,
    factors: Sequence[ArrayLike] = (),
    properties: Sequence[Property] = (),
) -> None:
    """Demand that a rigid (4, 4) transform is right in millimetres and degrees.

    First the shape, finite numbers, properties, the last row, whether the 3 x 3 part is a rotation; then
    the distance between the two origins and the angle between the two rotations.

    Known by itself: the inverse (or swapped sets), a transposed rotation or matrix, RAS for LPS on either
    side or both, axes z y x, a mirrored axis, degrees for radians, metres, a missing translation or
    rotation, the identity; with `factors`, the wrong order, a missing or an inverted factor.

    Parameters
    ----------
    got, expected, what, hint, likely, properties
        As in `close`.
    factors : sequence of (4, 4)
        Transforms whose product, in this order, is the truth.

    Raises
    ------
    CheckFailed
        With what is wrong, in words.

    Examples
    --------
    >>> import numpy as np
    >>> close_pose(np.eye(4), np.eye(4), atol_mm=0.1, atol_deg=0.1)
    >>> close_pose(np.diag([1, 1, -1, 1]), np.eye(4), atol_mm=0.1, atol_deg=0.1)
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the 3 x 3 part of the transform is a mirror image (determinant -1), ...
    """
    about = About(what or say("the_transform"), hint)
    truth = plain(expected)
    answer, relative = numbers_of(got, (4, 4), about)
    slack = relative * largest_size(answer)

    def far(a: Array, b: Array) -> bool:
        # Element by element, so that a mirror or a scale can be recognised as well.
        shift = largest_error(a[:3, 3], b[:3, 3])[0] > atol_mm + slack
        turn = largest_error(a[:3, :3], b[:3, :3])[0] > radians(atol_deg) + relative
        return shift or turn or largest_error(a[3], b[3])[0] > RIGID_TOLERANCE

    known = pose_known(truth, far, [plain(one) for one in factors])
    about = replace(about, mistake=mistake_in(answer, truth, likely, known, far))
    demand_shape(answer, (4, 4), about)
    demand_finite(answer, truth, about)
    earned = demand_properties(answer, properties, about)
    _demand_rigid(answer, about, earned)

    difference = answer[:3, 3] - truth[:3, 3]
    distance = sqrt(float(difference @ difference))
    angle = angle_deg(answer[:3, :3].T @ truth[:3, :3])
    moved = distance > atol_mm + slack
    turned = angle > atol_deg + degrees(relative)
    if moved or turned:
        mm, limit_mm = _texts(distance, atol_mm)
        deg, limit_deg = _texts(angle, atol_deg)
        values = {"mm": mm, "limit_mm": limit_mm, "deg": deg, "limit_deg": limit_deg}
        name = "pose_both" if moved and turned else "pose_origin" if moved else "pose_rotation"
        raise about.fails(name, values, earned=earned)


def close_quaternion(
    got: object,
    expected: ArrayLike,
    *,
    atol_deg: float,
    w_first: bool = False,
    what: str = "",
    hint: str = "",
    likely: Mapping[str, ArrayLike] | None = None,
    properties: Sequence[Property] = (),
) -> None:
    """Demand that quaternions (4,) or (n, 4) turn as the truth does; q and -q are the same turn.

    Known by itself: w at the wrong end, and the conjugate.

    Parameters
    ----------
    got, expected, what, hint, likely, properties
        As in `close`. The answer must have length 1.
    w_first : bool
        The order is w, x, y, z, and not x, y, z, w as in scipy.

    Raises
    ------
    CheckFailed
        With the largest angle and the tolerance, in words.

    Examples
    --------
    >>> close_quaternion([0, 0, -0.6, -0.8], [0, 0, 0.6, 0.8], atol_deg=0.1)
    >>> close_quaternion([0.8, 0, 0, 0.6], [0, 0, 0.6, 0.8], atol_deg=0.1)
    Traceback (most recent call last):
    navkit.checking.CheckFailed: the error of the quaternion is 123 deg (tolerance 0.1 deg).
    This looks like the quaternion with w first: the order is x, y, z, w.
    """
    about = About(what or say("the_quaternion"), hint)
    truth = plain(expected)
    answer, relative = numbers_of(got, truth.shape, about)
    allowed = atol_deg + degrees(relative)

    def far(a: Array, b: Array) -> bool:
        return not (quaternion_angles_deg(a, b) <= allowed).all()  # NaN is far

    known = quaternion_known(truth, far, w_first)
    about = replace(about, mistake=mistake_in(answer, truth, likely, known, far))
    demand_shape(answer, truth.shape, about)
    demand_finite(answer, truth, about)
    earned = demand_properties(answer, [*properties, unit_length()], about)
    angles = quaternion_angles_deg(answer, truth)
    worst = first(angles) if angles.ndim else ()
    if angles[worst] > allowed:
        size, limit = _texts(float(angles[worst]), atol_deg)
        values = {"size": size, "limit": limit, "index": index_text(worst) if worst else ""}
        raise about.fails("largest_turn" if worst else "turn", values, earned=earned)


def demand(
    got: object, properties: Sequence[Property], *, shape: tuple[int, ...], what: str = "", hint: str = ""
) -> None:
    """Demand properties of an answer that has no one truth: shape, finite, each property.

    Properties without a share of their own share the marks equally.

    Raises
    ------
    CheckFailed
        With the first property that does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from navkit.checking import orthogonal, proper
    >>> demand(np.diag([1, 1, -1]), [orthogonal(), proper()], shape=(3, 3), what="R")
    Traceback (most recent call last):
    navkit.checking.CheckFailed: R does not have determinant +1: it is a mirror image or has a scale.
    """
    about = About(what or say("the_result"), hint)
    answer, _ = numbers_of(got, shape, about)
    demand_shape(answer, shape, about)
    demand_finite(answer, plain(zeros(shape)), about)
    equal = [p if p.share else replace(p, share=1 / len(properties)) for p in properties]
    demand_properties(answer, equal, about)


def _demand_rigid(m: Array, about: About, earned: float) -> None:
    last = plain([0.0, 0.0, 0.0, 1.0])
    if largest_error(m[3], last)[0] > RIGID_TOLERANCE:
        flipped = largest_error(m[:, 3], last)[0] <= RIGID_TOLERANCE and not about.mistake
        row = " ".join(f"{value:.4g}" for value in m[3])
        then = say("ask_transposed") if flipped else ""
        raise about.fails("last_row", {"row": row}, then=then, earned=earned)
    r = m[:3, :3]
    product = r.T @ r
    off = largest_error(product, eye(3))[0]
    d = float(det(r))
    if off <= RIGID_TOLERANCE and d > 0:
        return
    mean = float(product.trace()) / 3
    if off <= RIGID_TOLERANCE:
        then = "" if about.mistake else say("ask_guard")
        raise about.fails("mirror", {"det": number(d, 3)}, then=then, earned=earned)
    if d > 0 and largest_error(product, mean * eye(3))[0] <= RIGID_TOLERANCE * mean:
        raise about.fails("scaled", {"scale": number(sqrt(mean), 4)}, earned=earned)
    raise about.fails("not_rotation", {"off": number(off, 2), "det": number(d, 3)}, earned=earned)


def _texts(error: float, limit: float) -> tuple[str, str]:
    """Both numbers with as few digits as tell them apart."""
    for digits in range(3, 18):
        texts = number(error, digits), number(limit, digits)
        if texts[0] != texts[1]:
            break
    return texts
