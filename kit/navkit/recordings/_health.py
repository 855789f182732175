"""Is a recording healthy? Checks on arrays; each gives facts and, where something is wrong, a warning."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.recordings._about import Findings, several
from navkit.tracking import PoseStream, repeated, without_repeats

Array = NDArray[np.float64]

MAX_GAP_S = 0.25
"""A frame farther than this from a tracking sample gets no pose, in CustusX and here."""
MANY_REPEATS = 0.1
REST_S, REST_SAMPLES = 0.5, 5
RESTING_MM = 1.0
JUMP_MM = 20.0
STILL_MM, STILL_DEG = 0.01, 0.01
CLOSE_S = 0.001
RIGID_TOLERANCE = 1e-3


def check_times(time_s: ArrayLike, what: str) -> Findings:
    """Rate, pauses and jitter of a stream's times.

    Parameters
    ----------
    time_s : (n,) s, finite
    what : "frames" or "tracking", or another name of the stream

    Examples
    --------
    >>> round(check_times([0, 0.1, 0.2, 0.7], "frames").numbers["frames_largest_gap_ms"], 6)
    500.0
    """
    time = np.asarray(time_s, dtype=float)
    if len(time) < 2:
        return Findings((), {}, (), (f"rate and pauses of {what}: {several(len(time), 'time')} only",))
    step, span = np.diff(time), float(time[-1] - time[0])
    backward = int((step <= 0).sum())
    if backward:
        k = int(np.flatnonzero(step <= 0)[0]) + 1
        return Findings(
            warnings=(
                f"{what}: {several(backward, 'time')} not after the one before, the first at sample {k} "
                f"({1000 * step[k - 1]:+.1f} ms): poses between such times mean nothing. Was the clock set, "
                "or are two recordings joined? Leave those samples out.",
            )
        )
    middle = float(np.median(step))
    jitter = float(1.4826 * np.median(np.abs(step - middle)))
    long = step > max(MAX_GAP_S, 3 * middle)
    close = int((step < min(CLOSE_S, middle / 5)).sum())
    numbers = {
        f"{what}_duration_s": span,
        f"{what}_rate_hz": (len(time) - 1) / span,
        f"{what}_interval_ms": 1000 * middle,
        f"{what}_jitter_ms": 1000 * jitter,
        f"{what}_largest_gap_ms": 1000 * float(step.max()),
        f"{what}_gaps": float(long.sum()),
        f"{what}_over_250_ms": float((step > MAX_GAP_S).sum()),
        f"{what}_over_3_intervals": float((step > 3 * middle).sum()),
        f"{what}_close": float(close),
    }
    facts = (
        (
            f"times of {what}",
            f"{span:.2f} s, {(len(time) - 1) / span:.1f} Hz; interval {1000 * middle:.1f} ms "
            f"(jitter {1000 * jitter:.1f} ms), the longest {1000 * step.max():.0f} ms",
        ),
    )
    warnings = []
    if long.any():
        at = int(np.argmax(step))
        warnings.append(
            f"{what}: {several(int(long.sum()), 'pause')} of more than "
            f"{1000 * max(MAX_GAP_S, 3 * middle):.0f} ms, the longest {1000 * step.max():.0f} ms after "
            f"sample {at}: where the probe moved meanwhile, the volume has a hole or a frame without a "
            "pose. Sweep that part again, or cut the recording there."
        )
    if close:
        warnings.append(
            f"{what}: {several(close, 'sample')} less than {1000 * min(CLOSE_S, middle / 5):.2g} ms after "
            "the one before: a speed or an extrapolation from such a pair explodes. Do not extrapolate "
            "poses; interpolation is safe."
        )
    return Findings(facts, numbers, tuple(warnings))


def check_repeats(stream: PoseStream, what: str = "tracking") -> Findings:
    """The true rate of a tracker: samples that repeat the pose before them are no measurements.

    Repeats for longer than half a second are told as a standstill, and a tool that moves less than 1 mm may
    repeat its rounded pose.
    """
    valid = PoseStream(stream.time_s[stream.valid], stream.pose[stream.valid], name=stream.name)
    if len(valid) < 3:
        return Findings()
    own = without_repeats(valid)
    place = valid.pose[:, :3, 3]
    span_mm = float(np.linalg.norm(np.ptp(place, axis=0)))
    cosine = (np.einsum("nij,ij->n", valid.pose[:, :3, :3], valid.pose[0, :3, :3]) - 1) / 2
    turn_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1)).max()))
    path = float(np.linalg.norm(np.diff(place, axis=0), axis=1).sum())
    numbers = {
        f"{what}_distinct": float(len(own)),
        f"{what}_repeated_share": 1 - len(own) / len(valid),
        f"{what}_moved_mm": span_mm,
        f"{what}_path_mm": path,
        f"{what}_turned_deg": turn_deg,
    }
    moved = f"{path:.1f} mm of way within {span_mm:.1f} mm, turned by {turn_deg:.1f} deg"
    if span_mm < STILL_MM and turn_deg < STILL_DEG:
        return Findings(
            ((f"{what} motion", moved),),
            numbers,
            (
                f"{what}: the pose never changes in {len(valid)} samples: is it a fixed tool, or was the "
                "tracker frozen? A sweep placed by it would put all frames in one plane. Check that the "
                "tracker sees the tool and record again.",
            ),
        )
    repeats, rest_s = _short_repeats(valid)
    busy_s = float(np.ptp(valid.time_s)) - float(rest_s.sum())
    rate = (len(own) - 1 - len(rest_s)) / busy_s if len(rest_s) else (len(own) - 1) / np.ptp(own.time_s)
    numbers |= {f"{what}_true_rate_hz": float(rate), f"{what}_standstills": float(len(rest_s))}
    told = f"{moved}; truly {rate:.1f} Hz, {len(valid) - len(own)} of {len(valid)} samples are repeats"
    warnings: list[str] = []
    if repeats > MANY_REPEATS * len(valid) and span_mm > RESTING_MM:
        asked = (len(valid) - 1) / float(np.ptp(valid.time_s))
        warnings.append(
            f"{what}: {len(valid) - len(own)} of {len(valid)} samples repeat the pose before them: the "
            f"tracker measured at {rate:.1f} Hz and was asked at {asked:.1f} Hz. Poses between are old by "
            f"up to {1000 / rate:.0f} ms and a filter that counts samples smooths less than it says. Take "
            "the repeats out (navkit.tracking.without_repeats) before filtering."
        )
    if len(rest_s) and span_mm > RESTING_MM:
        warnings.append(
            f"{what}: the pose stands still to the last digit {several(len(rest_s), 'time')}, up to "
            f"{rest_s.max():.1f} s, which a hand never does: the tracker froze or handed out an old pose, "
            "and frames of that time land in one place. Leave them out, or record again."
        )
    return Findings(((f"{what} motion", told),), numbers, tuple(warnings))


def _short_repeats(stream: PoseStream) -> tuple[int, Array]:
    """How many samples repeat in short runs, and the lengths of the long runs, s."""
    again = repeated(stream)
    edges = np.flatnonzero(np.diff(np.r_[False, again, False].astype(int)))
    first, last = edges[::2] - 1, edges[1::2] - 1  # the sample that is repeated, and its last repeat
    length = stream.time_s[last] - stream.time_s[first]
    long = (length > REST_S) & (last - first >= REST_SAMPLES)
    return int((last - first)[~long].sum()), length[long]


def check_rigid(pose: ArrayLike, valid: ArrayLike, name: str) -> Findings:
    """Poses (n, 4, 4) of a transform as stored: mirrored, stretched or not finite, where valid (n,)."""
    m = np.asarray(pose, dtype=float)[np.asarray(valid, dtype=bool)]
    if not len(m):
        return Findings()
    finite = np.isfinite(m).all(axis=(1, 2))
    rotation = m[finite, :3, :3]
    mirrored = np.linalg.det(rotation) < 0
    off = np.abs(np.swapaxes(rotation, 1, 2) @ rotation - np.eye(3)).max(axis=(1, 2), initial=0.0)
    warnings = []
    if not finite.all():
        warnings.append(
            f"{name}: {int((~finite).sum())} of {len(m)} poses marked as good are not finite: frames placed "
            "by them are lost. Mark them INVALID."
        )
    if mirrored.any():
        warnings.append(
            f"{name}: {int(mirrored.sum())} of {len(m)} poses mirror (determinant below 0): left becomes "
            "right in the volume. Was one axis turned between left- and right-handed spaces? Turn two, or "
            "none."
        )
    bent = (off > RIGID_TOLERANCE) & ~mirrored
    if bent.any():
        warnings.append(
            f"{name}: {int(bent.sum())} of {len(m)} poses are not rigid (rotation off by {off.max():.2g}): "
            "what they place is stretched. Is a scale mixed in, or the matrix transposed?"
        )
    return Findings(warnings=tuple(warnings))


def check_jumps(pose: ArrayLike, valid: ArrayLike, name: str) -> Findings:
    """Single poses that lie elsewhere, where valid (n,): what programs write for a tool that was lost.

    Such a pose is marked as good, and no reader can leave it out.
    """
    m = np.asarray(pose, dtype=float)[ok := np.asarray(valid, dtype=bool)]
    if len(m) < 3 or not np.isfinite(m).all():
        return Findings()
    number = np.flatnonzero(ok)
    plain = (m == np.eye(4)).all(axis=(1, 2))
    warnings: list[str] = []
    if plain.any() and not plain.all():
        warnings.append(
            f"{name}: {several(int(plain.sum()), 'pose')} marked as good {_are(int(plain.sum()))} the "
            f"identity among others that are not (the first in frame {number[np.argmax(plain)]}): programs "
            "write it for a tool they do not see, and that frame is thrown far away. Mark it INVALID."
        )
    place, number = m[~plain, :3, 3], number[~plain]
    step = np.linalg.norm(np.diff(place, axis=0), axis=1)
    past = np.linalg.norm(place[2:] - place[:-2], axis=1)
    spike = np.flatnonzero(
        (np.minimum(step[1:], step[:-1]) > JUMP_MM) & (past < np.minimum(step[1:], step[:-1]) / 2)
    )
    if len(spike):
        far = float(np.minimum(step[1:], step[:-1])[spike].max())
        warnings.append(
            f"{name}: {several(len(spike), 'pose')} {_are(len(spike))} up to {far:.0f} mm away from those "
            f"before and after (the first in frame {number[spike[0] + 1]}): no hand moves so, and such a "
            "frame lands far from its place. Was a marker taken for another? Mark it INVALID."
        )
    return Findings(
        (), {f"{name}_jumps": float(plain.sum() * (not plain.all()) + len(spike))}, tuple(warnings)
    )


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def check_status(valid: ArrayLike, name: str) -> Findings:
    """How many samples of a transform are not OK, (n,) bool."""
    ok = np.asarray(valid, dtype=bool)
    lost = int((~ok).sum())
    numbers = {f"{name}_invalid": float(lost)}
    if not lost:
        return Findings((), numbers)
    k = int(np.flatnonzero(~ok)[0])
    return Findings(
        ((f"{name} lost", f"{lost} of {len(ok)} samples"),),
        numbers,
        (
            f"{name}: {lost} of {len(ok)} poses {_are(lost)} not OK (INVALID or missing), the "
            f"first in frame {k}: such a frame has no place and is left out. "
            + ("The tool was never seen. " if lost == len(ok) else "")
            + "Keep the markers in view of the tracker.",
        ),
    )
