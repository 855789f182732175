"""Sweeps go where they say, and a hand shakes as much as it says and no faster."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.geometry import inverse, pose_error, pose_from, transform_points
from navkit.tracking import (
    Hand,
    back_and_forth,
    fan_sweep,
    linear_sweep,
    rotation_sweep,
    tilt_sweep,
)
from navkit.tracking._trajectories import band_limited

MIDDLE = pose_from(Rotation.from_rotvec([0.7, -0.2, 1.4]), [31.0, -55, 120])
ALL = (linear_sweep, fan_sweep, tilt_sweep, rotation_sweep, back_and_forth)


def seen_from_middle(stream):
    return inverse(MIDDLE) @ stream.pose


def test_a_steady_linear_sweep_is_a_line_across_the_picture_at_even_speed():
    stream = linear_sweep(MIDDLE, length_mm=48.0, hand=Hand(duration_s=6.0, rate_hz=25.0))
    assert len(stream) == 151
    assert stream.time_s[[0, 1, -1]] == pytest.approx([0, 0.04, 6])
    m = seen_from_middle(stream)
    assert m[:, :3, :3] == pytest.approx(np.broadcast_to(np.eye(3), (151, 3, 3)), abs=1e-12)
    assert m[:, 0, 3] == pytest.approx(np.linspace(-24, 24, 151))
    assert m[:, 1:3, 3] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("sweep", "axis"), [(fan_sweep, 1), (tilt_sweep, 0), (rotation_sweep, 2)])
def test_steady_turns_are_about_their_axis_by_their_angle(sweep, axis):
    m = seen_from_middle(sweep(MIDDLE, angle_deg=50.0, hand=Hand(duration_s=4.0)))
    turn = np.degrees(Rotation.from_matrix(m[:, :3, :3]).as_rotvec())
    assert turn[:, axis] == pytest.approx(np.linspace(-25, 25, len(m)))
    assert np.delete(turn, axis, axis=1) == pytest.approx(0, abs=1e-9)
    assert m[:, :3, 3] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sweep", [fan_sweep, tilt_sweep])
def test_the_place_of_contact_stays(sweep):
    contact = transform_points(sweep(MIDDLE, contact_mm=37.0).pose, [0, 0, 37.0])
    assert contact == pytest.approx(np.broadcast_to(transform_points(MIDDLE, [0, 0, 37.0]), contact.shape))


def test_back_and_forth_swings_about_the_middle():
    stream = back_and_forth(
        MIDDLE, amplitude_mm=11.0, period_s=1.6, direction_t=(0, 3, 4), hand=Hand(duration_s=8.0)
    )
    p = seen_from_middle(stream)[:, :3, 3]
    expected = 11 * np.sin(2 * np.pi * stream.time_s / 1.6)
    assert p == pytest.approx(expected[:, None] * [0, 0.6, 0.8], abs=1e-9)


def test_tremor_has_its_size_and_its_band(rng):
    hand = Hand(
        duration_s=120.0, rate_hz=50.0, speed_variation=0, tremor_mm=0.5, tremor_deg=0.7, band_hz=(1.0, 6.0)
    )
    shaken, steady = (linear_sweep(MIDDLE, rng=r, hand=hand) for r in (rng, None))
    off = inverse(steady.pose) @ shaken.pose
    turn = np.degrees(Rotation.from_matrix(off[:, :3, :3]).as_rotvec())
    for values, rms in ((off[:, :3, 3], 0.5), (turn, 0.7)):
        assert np.sqrt((values**2).mean(axis=0)) == pytest.approx(rms, rel=0.15)
        power = np.abs(np.fft.rfft(values * np.hanning(len(values))[:, None], axis=0)) ** 2
        f = np.fft.rfftfreq(len(values), 1 / 50)
        outside = (f < 0.9) | (f > 6.1)
        assert (power[outside].sum(axis=0) < 1e-3 * power.sum(axis=0)).all()
        inside = (f > 1.2) & (f < 5.8)
        thirds = [part.mean() for part in np.array_split(power[inside].mean(axis=1), 3)]
        assert max(thirds) < 1.6 * min(thirds)
    assert abs(np.corrcoef(off[:, 0, 3], off[:, 1, 3])[0, 1]) < 0.15


def test_tremor_is_in_the_probes_own_space():
    hand = Hand(speed_variation=0)
    off = [
        inverse(sweep(MIDDLE, hand=hand).pose) @ sweep(MIDDLE, rng=np.random.default_rng(3), hand=hand).pose
        for sweep in ALL
    ]
    assert np.ptp(off, axis=0) == pytest.approx(0, abs=1e-9)


def test_a_very_uneven_hand_does_not_stop_or_turn_back(rng):
    hand = Hand(duration_s=60.0, tremor_mm=0, tremor_deg=0, speed_variation=1.0)
    way = np.diff(seen_from_middle(linear_sweep(MIDDLE, rng=rng, hand=hand))[:, 0, 3])
    assert way.min() > 0.1 * way.mean()


def test_uneven_speed_keeps_the_way_and_never_stops(rng):
    hand = Hand(duration_s=60.0, tremor_mm=0, tremor_deg=0, speed_variation=0.25)
    stream = linear_sweep(MIDDLE, length_mm=60.0, rng=rng, hand=hand)
    m = seen_from_middle(stream)
    assert m[[0, -1], 0, 3] == pytest.approx([-30, 30])
    speed = np.diff(m[:, 0, 3]) * hand.rate_hz
    assert speed.min() > 0.15
    assert speed.std() / speed.mean() == pytest.approx(0.25, abs=0.06)
    # smooth: hardly any change from one sample to the next
    assert np.abs(np.diff(speed)).max() < 0.2 * speed.mean()


@pytest.mark.parametrize("sweep", ALL)
def test_the_same_generator_gives_the_same_sweep_and_another_another(sweep):
    a, b, c = (sweep(MIDDLE, rng=np.random.default_rng(k)) for k in (1, 1, 2))
    assert np.array_equal(a.pose, b.pose)
    assert pose_error(a.pose, c.pose).translation_mm.max() > 0.3
    assert a.valid.all()
    steady = sweep(MIDDLE)
    assert np.array_equal(a.time_s, steady.time_s)
    assert (a.pose != steady.pose).any()


def test_band_limited_noise_has_unit_variance_and_does_not_return_to_its_start(rng):
    noise = band_limited(3000, 100.0, (0.5, 4.0), 40, rng)
    assert noise.var() == pytest.approx(1, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert np.abs(noise[0] - noise[-1]).mean() > 0.5


def test_bad_hands_and_poses_are_refused():
    with pytest.raises(ValueError, match="make 3 samples"):
        Hand(duration_s=0.01)
    with pytest.raises(ValueError, match="below 0"):
        Hand(tremor_mm=-1)
    for band in ((5.0, 1.0), (1.0, 16.0), (-1.0, 2.0)):
        with pytest.raises(ValueError, match=r"band_hz is .* expected the lower first"):
            Hand(band_hz=band)
    with pytest.raises(ValueError, match="pr_M_t"):
        linear_sweep(np.diag([1, 1, 1.1, 1]))
    for wrong in ({"period_s": 0.0}, {"direction_t": (0, 0, 0)}, {"direction_t": (0, 1)}):
        with pytest.raises(ValueError, match="expected a period above 0"):
            back_and_forth(MIDDLE, **wrong)
