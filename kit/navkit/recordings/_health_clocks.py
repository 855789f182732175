"""Do pictures and tracking belong together in time? Checks on arrays, as in `_health`."""

import numpy as np
from numpy.typing import ArrayLike

from navkit.calibration import estimate_delay
from navkit.recordings._about import Findings

DRIFT_S = 0.02
LATE_S = 0.05


def check_inside(frame_s: ArrayLike, tracking_s: ArrayLike) -> Findings:
    """Frames before the first tracking sample, after the last one, or far from any."""
    frame, track = np.asarray(frame_s, dtype=float), np.asarray(tracking_s, dtype=float)
    first, last = 1000 * float(frame[0] - track[0]), 1000 * float(frame[-1] - track[-1])
    outside = (frame < track[0]) | (frame > track[-1])
    n = int(outside.sum())
    numbers = {"first_frame_ms": first, "last_frame_ms": last, "frames_outside": float(n)}
    facts = (
        (
            "frames in tracking",
            f"{len(frame) - n} of {len(frame)}; first frame {first:+.1f} ms from the first sample, last "
            f"{last:+.1f} ms from the last",
        ),
    )
    if not n:
        return Findings(facts, numbers)
    if n == len(frame):
        return Findings(
            facts,
            numbers,
            (
                "no frame lies within the tracking: nothing can be reconstructed. Do pictures and tracking "
                "have the same clock, and belong to the same recording?",
            ),
        )
    return Findings(
        facts,
        numbers,
        (
            f"{n} of {len(frame)} frames lie{'s' * (n == 1)} outside the tracking: without a pose they are "
            "left out; extrapolated, as CustusX does, they can land many mm away. Start tracking before "
            "the pictures and stop it after them.",
        ),
    )


def check_drift(time_s: ArrayLike, other_s: ArrayLike, names: tuple[str, str]) -> Findings:
    """Two clocks' stamps of the same events: does their difference grow?"""
    a, b = np.asarray(time_s, dtype=float), np.asarray(other_s, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 8:
        return Findings()
    a, b = a[both], b[both]
    slope = float(np.polyfit(a - a.mean(), b - a - (b - a).mean(), 1)[0])
    grown = slope * float(np.ptp(a))
    facts = (
        (
            "clock drift",
            f"{names[1]} against {names[0]}: {1000 * grown:+.1f} ms over {np.ptp(a):.1f} s",
        ),
    )
    warnings: tuple[str, ...] = ()
    if abs(grown) > DRIFT_S:
        warnings = (
            f"{names[1]} drifts by {1000 * grown:+.0f} ms against {names[0]} in {np.ptp(a):.1f} s: the "
            "delay between pictures and tracking is not one number, and the end of the sweep is displaced "
            "against its start. Stretch one clock to the other before placing frames.",
        )
    return Findings(facts, {"clock_drift_ms": 1000 * grown}, warnings)


def check_latency(frame_s: ArrayLike, change: ArrayLike, tracking_s: ArrayLike, place: ArrayLike) -> Findings:
    """The delay between pictures and tracking, from when both say that the probe moves.

    Parameters
    ----------
    frame_s : (n,) s
    change : (n - 1,) how much each picture differs from the one before it
    tracking_s, place : (m,) s and (m, 3) mm, without repeats

    Returns
    -------
    Findings
        With a delay only where the two agree; it then has its own confidence. A fault of less than 50 ms
        gives no warning.
    """
    frame, track = np.asarray(frame_s, dtype=float), np.asarray(tracking_s, dtype=float)
    unsure = ("latency: not estimated, the pictures' change does not follow the probe's speed well enough",)
    if len(frame) < 20 or len(track) < 20:
        return Findings(not_checked=("latency: not estimated, too few frames or samples",))
    keep = np.r_[True, np.diff(track) > np.median(np.diff(track)) / 3]
    track, way = track[keep], np.asarray(place, dtype=float)[keep]
    speed = np.linalg.norm(np.diff(way, axis=0), axis=1) / np.diff(track)
    rate = np.asarray(change, dtype=float) / np.diff(frame)
    middle = [(t[1:] + t[:-1]) / 2 for t in (frame, track)]
    reach = min(0.5, 0.2 * float(np.ptp(frame)))
    try:
        found = estimate_delay(middle[0], rate, middle[1], speed, max_delay_s=reach)
    except ValueError:
        return Findings(not_checked=unsure)
    # a constant speed fits any delay; only a sure peak well inside the search counts
    sure = found.correlation > 0.6 and found.confidence > 0.5 and abs(found.delay_s) < 0.9 * reach
    if not sure or found.sd_s > 0.03:
        return Findings(not_checked=unsure)
    ms = 1000 * found.delay_s
    who = "late" if ms < 0 else "early"
    facts = (
        (
            "latency seen",
            f"frames are stamped {abs(ms):.0f} ms {who}, +- {1000 * found.sd_s:.0f} ms "
            f"(correlation {found.correlation:.2f}, confidence {found.confidence:.2f})",
        ),
    )
    warnings: tuple[str, ...] = ()
    if abs(found.delay_s) > max(LATE_S, 3 * found.sd_s):
        warnings = (
            f"the pictures change about {abs(ms):.0f} ms {'after' if ms < 0 else 'before'} the probe moves: "
            f"frames look stamped {who}, and lie off by speed times this, to either side on the way to and "
            f"fro. Calibrate the delay; to try, place the frames with latency_s={-found.delay_s:.3f} "
            "(navkit.ultrasound.track_frames).",
        )
    return Findings(facts, {"latency_seen_ms": ms, "latency_confidence": found.confidence}, warnings)
