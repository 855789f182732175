"""The bottom of a water tank in pictures, and the delay between two clocks that watched it."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from navkit.calibration import detect_bottom, estimate_delay, estimate_video_delay, principal_motion
from navkit.files import read_sequence
from navkit.geometry import pose_from
from navkit.tracking import PoseStream

CLIP = (225, 574, 40, 549)
"""PLUS's own clip for its tank recording: origin 225 40, size 350 510."""


def move(t):
    """A motion of uneven periods, mm."""
    return 13 * np.sin(2.1 * t) + 9 * np.sin(0.83 * t + 1) + 4 * np.sin(3.7 * t)


def cubic(t):
    return 0.3 * (t - 4) ** 3 - 5 * (t - 3) ** 2 + 2 * t


def tank(rng, row, slope, *, shape=(180, 260), noise=3.0):
    """A picture of a tank bottom that crosses the middle column at `row`, with a bright face and specks."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(float)
    at = row + slope * (columns - (width - 1) / 2)
    brightness = rng.uniform(90, 220, width)
    picture = brightness * np.exp(-0.5 * ((rows - at) / 2.0) ** 2)
    picture += np.where(rows < 6, 250, 0)
    picture[20:24, 30:50] += 240
    return np.clip(picture + np.abs(rng.normal(scale=noise, size=shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("row", "slope"), [(80.3, 0.0), (70.8, -0.21), (120.6, 0.13)])
def test_the_bottom_is_found_beside_a_bright_face_and_a_speck(rng, row, slope):
    line = detect_bottom(tank(rng, row, slope), clip_p=(4, 255, 10, 178))
    assert line.row_at(129.5) == pytest.approx(row, abs=0.3)
    assert line.direction_px[1] / line.direction_px[0] == pytest.approx(slope, abs=0.005)
    assert np.linalg.norm(line.direction_px) == pytest.approx(1.0)
    assert 0.85 < line.used <= 1.0
    assert 0 < line.rms_px < 1.0


def test_a_clear_line_is_exact():
    rows, columns = np.mgrid[:90, :140].astype(float)
    picture = 100 * np.maximum(0, 1 - np.abs(rows - 40) / 4)
    assert detect_bottom(picture).row_at(13) == pytest.approx(40, abs=1e-9)
    up = detect_bottom(100 * np.maximum(0, 1 - np.abs(rows - 40 + 1.0 * (columns - 70) / 4) / 8))
    assert up.row_at(70) == pytest.approx(40, abs=1e-6)  # every fourth column: the slope falls on pixels
    assert up.point_px == pytest.approx([68, 40.5], abs=1e-6)


def test_columns_that_show_something_else_are_outvoted_and_dim_ones_not_asked(rng):
    frame = tank(rng, 110, 0.3).astype(float)
    frame[:, 4:74] = 0
    frame[150:154, 4:74] = 230  # the echo of a bubble
    frame[:, 150:230] = 0
    top = rng.integers(20, 170, 80)
    for k in range(7):
        frame[top + k, np.arange(150, 230)] = 27
    line = detect_bottom(frame, clip_p=(0, 259, 10, 178))
    assert line.row_at(129.5) == pytest.approx(110, abs=0.5)
    assert 0.5 < line.used < 0.7  # dim columns are not counted against it


def test_no_bottom_is_none_and_a_wrong_clip_is_refused(rng):
    assert detect_bottom(rng.integers(0, 6, size=(90, 140))) is None
    assert detect_bottom(np.zeros((90, 140))) is None
    with pytest.raises(ValueError, match="inside a picture of 140 x 90 pixels"):
        detect_bottom(np.zeros((90, 140)), clip_p=(0, 140, 0, 80))
    with pytest.raises(ValueError, match=r"expected one picture \(height, width\)"):
        detect_bottom(np.zeros((2, 90, 140)))


def test_without_noise_the_delay_is_exact_on_any_times(rng):
    sparse = np.sort(rng.uniform(0, 10, 150))
    dense = np.sort(rng.uniform(-0.5, 10.5, 700))
    for tau in (0.137, -0.291):
        later = estimate_delay(sparse, cubic(sparse), dense, 2 - 3 * cubic(dense - tau), max_delay_s=0.4)
        assert later.delay_s == pytest.approx(tau, abs=1e-9)
        assert later.correlation == pytest.approx(-1, abs=1e-9)
        swapped = estimate_delay(dense, cubic(dense - tau), sparse, cubic(sparse), max_delay_s=0.4)
        assert swapped.delay_s == pytest.approx(-tau, abs=1e-9)
        assert swapped.correlation == pytest.approx(1, abs=1e-9)
        assert later.sd_s < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("noisy", ["the sparse", "both"])
def test_the_scatter_of_the_delay_is_what_the_result_tells(rng, noisy):
    """500 seeded trials; the bias stays below a fifth of the scatter, which no sample interval bounds."""
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    found, told = [], []
    for _ in range(500):
        a = move(sparse) + rng.normal(scale=1.0, size=sparse.size)
        b = move(dense + 0.0648) + (rng.normal(scale=1.0, size=dense.size) if noisy == "both" else 0.0)
        result = estimate_delay(sparse, a, dense, b, max_delay_s=0.5)
        found.append(result.delay_s)
        told.append(result.sd_s)
        assert result.confidence > 0.9
    assert np.mean(found) == pytest.approx(-0.0648, abs=0.2 * np.std(found))
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.12)
    # theory: noise over the slope's size and the root of the number of samples that overlap
    slope = np.sqrt(np.mean(np.gradient(move(dense), dense) ** 2))
    if noisy != "both":
        assert np.std(found) == pytest.approx(1.0 / slope / np.sqrt(sparse.size - 12), rel=0.1)


def test_confidence_collapses_for_a_motion_lost_in_noise_or_as_regular_as_a_clock(rng):
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    small = estimate_delay(
        sparse,
        0.02 * move(sparse) + rng.normal(size=sparse.size),
        dense,
        move(dense),
        max_delay_s=0.5,
    )
    assert small.confidence < 0.2
    assert "too small or too regular" in small.warnings[-1]
    regular = estimate_delay(sparse, np.sin(8 * sparse), dense, np.sin(8 * (dense - 0.03)), max_delay_s=0.5)
    assert regular.confidence < 0.05
    assert regular.delay_s == pytest.approx(0.03, abs=1e-4)  # the nearest to none of the equal ones
    assert regular.rival_s == pytest.approx(0.03 - np.pi / 8, abs=1e-3)  # half a period, other sign
    good = estimate_delay(sparse, move(sparse), dense, move(dense - 0.03), max_delay_s=0.5)
    assert good.confidence > 0.95
    assert good.warnings == ()


def test_the_strongest_peak_wins_over_one_nearer_to_none(rng):
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)

    def quick(t):
        return np.sin(8 * t) + 0.3 * np.sin(1.3 * t)

    result = estimate_delay(sparse, quick(sparse), dense, quick(dense - 0.42), max_delay_s=0.6)
    assert result.delay_s == pytest.approx(0.42, abs=1e-3)
    assert result.rival_s == pytest.approx(0.42 - np.pi / 4, abs=0.03)
    swapped = estimate_delay(dense, quick(dense - 0.42), sparse, quick(sparse), max_delay_s=0.6)
    assert [swapped.delay_s, swapped.rival_s] == pytest.approx([-result.delay_s, -result.rival_s], abs=1e-9)


@pytest.mark.slow
def test_noise_that_lasts_for_several_pictures_is_counted_for_what_it_is(rng):
    from scipy.signal import lfilter

    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    found, told = [], []
    for _ in range(200):
        slow = lfilter([0.6], [1, -0.8], rng.normal(size=sparse.size + 50))[50:]
        result = estimate_delay(sparse, move(sparse) + slow, dense, move(dense + 0.0648), max_delay_s=0.5)
        found.append(result.delay_s)
        told.append(result.sd_s)
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.25)


def test_a_delay_beyond_the_search_is_said(rng):
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    result = estimate_delay(sparse, move(sparse), dense, move(dense - 0.45), max_delay_s=0.3)
    assert any("edge of the search" in w for w in result.warnings)


def test_a_gap_in_the_denser_signal_does_no_harm(rng):
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    dense = dense[(dense < 7) | (dense > 7.8)]
    result = estimate_delay(sparse, move(sparse), dense, move(dense - 0.2), max_delay_s=0.5)
    assert result.delay_s == pytest.approx(0.2, abs=0.01)


def test_bad_signals_are_one_sentence():
    t = np.linspace(0, 10, 50)
    x = np.sin(t)
    with pytest.raises(ValueError, match="signal_b is constant; expected a motion"):
        estimate_delay(t, x, t, 0 * t + 4.0, max_delay_s=0.5)
    with pytest.raises(ValueError, match="signal a has values that are not finite"):
        estimate_delay(t, np.where(t > 5, np.nan, x), t, x, max_delay_s=0.5)
    with pytest.raises(ValueError, match=r"time_b\[3\] = .* does not come after"):
        estimate_delay(t, x, np.r_[t[:3], t[2:-1]], x, max_delay_s=0.5)
    with pytest.raises(ValueError, match="are the clocks the same"):
        estimate_delay(t, x, t + 500, x, max_delay_s=0.5)
    with pytest.raises(ValueError, match="max_delay_s is -1"):
        estimate_delay(t, x, t, x, max_delay_s=-1)
    with pytest.raises(ValueError, match=r"time_a has shape \(50,\) and signal_a \(49,\)"):
        estimate_delay(t, x[:-1], t, x, max_delay_s=0.5)


def probe(t, place, direction):
    return PoseStream(t, pose_from(np.eye(3), [300.0, -80, -1100] + np.outer(place, direction)), name="probe")


def test_the_main_motion_is_a_length_along_its_own_direction(rng):
    t = np.arange(0, 10, 0.05)
    time, place = principal_motion(probe(t, move(t), [0.48, -0.6, 0.64]))
    assert time == pytest.approx(t)
    assert np.abs(np.corrcoef(place, move(t))[0, 1]) == pytest.approx(1.0)
    assert np.ptp(place) == pytest.approx(np.ptp(move(t)))
    with pytest.raises(ValueError, match="5 samples are valid"):
        principal_motion(probe(t[:5], move(t[:5]), [1.0, 0, 0]))


def test_from_pictures_and_poses_alone(rng):
    video, tracker = np.arange(0.5, 12, 0.09), np.arange(0, 13, 0.025)
    frames = np.array([tank(rng, 90 + 2 * move(t), -0.1) for t in video])
    stream = probe(tracker, -move(tracker - 0.12), [0.48, -0.6, 0.64])
    result = estimate_video_delay(frames, video, stream, clip_p=(4, 255, 10, 178))
    assert result.delay_s == pytest.approx(0.12, abs=0.002)
    assert abs(result.correlation) > 0.999
    assert result.warnings == ()
    still = probe(tracker, 0.02 * move(tracker - 0.12), [0.48, -0.6, 0.64])
    assert "the probe moved by" in estimate_video_delay(frames, video, still).warnings[-1]
    frames[::3] = 0
    told = estimate_video_delay(frames, video, stream, clip_p=(4, 255, 10, 178))
    assert "the bottom shows in only" in told.warnings[-1]
    assert told.delay_s == pytest.approx(0.12, abs=0.004)
    with pytest.raises(ValueError, match="the bottom shows in 0 of"):
        estimate_video_delay(0 * frames, video, stream)
    with pytest.raises(ValueError, match=r"expected \(n, height, width\) and n times"):
        estimate_video_delay(frames[0], video, stream)


def test_plus_lines_on_plus_pictures(navkit_data):
    folder = navkit_data / "plus" / "temporal"
    frames = read_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha").frames
    lines = 0
    for frame in ET.parse(folder / "LineSegmentationResultsBaseline.xml").getroot():
        line = detect_bottom(frames[int(frame.get("Index"))], clip_p=CLIP)
        column, row = (float(v) for v in frame.get("LineOriginPointPx").split())
        dx, dy = (float(v) for v in frame.get("LineDirectionVectorPx").split())
        assert line.row_at(column) == pytest.approx(row, abs=10)
        ours = np.degrees(np.arctan2(*line.direction_px[::-1]))
        assert ours == pytest.approx(np.degrees(np.arctan(dy / dx)), abs=3)
        lines += 1
    assert lines == len(frames) == 201


def test_plus_lag_from_the_two_files_alone(navkit_data):
    folder = navkit_data / "plus" / "temporal"
    video = read_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha")
    tracker = read_sequence(folder / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
    stream = tracker.stream("ProbeToTracker")
    for clip in (CLIP, None):
        result = estimate_video_delay(video.frames, video.time_s, stream, clip_p=clip)
        assert result.delay_s == pytest.approx(-0.0648266, abs=0.005)
        assert abs(result.correlation) > 0.97
        assert result.sd_s < 0.01
        assert result.confidence > 0.7
        assert result.warnings == ()
