"""Landmarks found where a stylus dwelt: simulated ones, and the eight of PLUS's recording."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_pivot
from navkit.files import read_plus_config, read_sequence
from navkit.geometry import orthonormalised, pose_error, pose_from
from navkit.registration import fit_rigid
from navkit.tracking import PoseStream, find_dwells

TIP_S = np.array([108.6, 7.8, -2.5])
PLACES = np.array([[30.0, -12, 5], [62.0, 8, 9], [30.5, 40, -14]])
RATE_HZ = 20.0


def visits(rng, places=PLACES, *, swivel_deg=30.0, dwell_s=3.0, noise_mm=0.0):
    """A stylus that lies still for 2 s, then dwells at every place and travels between them."""
    still = Rotation.from_rotvec([0.3, -0.5, 0.2])
    tips, turns = [np.tile([-50.0, 90, 33], (int(2 * RATE_HZ), 1))], [still] * int(2 * RATE_HZ)
    before = tips[0][-1]
    for place in places:
        travel = np.linspace(0, 1, int(0.8 * RATE_HZ))[:, None]
        tips.append(before + travel * (place - before))
        turns += [still] * len(travel)
        s = np.arange(0, dwell_s, 1 / RATE_HZ)
        tips.append(np.tile(place, (len(s), 1)))
        angle = np.radians(swivel_deg)
        turns += [
            still * Rotation.from_rotvec([0.2, angle * np.sin(2.3 * u), 0.8 * angle * np.sin(3.1 * u)])
            for u in s
        ]
        before = place
    tip = np.concatenate(tips)
    turn = Rotation.concatenate(turns)
    place = tip - turn.apply(TIP_S) + rng.normal(scale=noise_mm, size=tip.shape)
    return PoseStream(np.arange(len(tip)) / RATE_HZ, pose_from(turn, place), name="stylus")


def test_without_noise_each_landmark_is_exact_and_rest_is_none(rng):
    stream = visits(rng)
    dwells = find_dwells(stream, TIP_S, tip_mm=1e-6)
    assert np.array([d.point_pr for d in dwells]) == pytest.approx(PLACES, abs=1e-9)
    assert max(d.spread_mm for d in dwells) < 1e-9
    for k, dwell in enumerate(dwells):
        begins = 2 + (k + 1) * 0.8 + k * 3.0
        assert stream.time_s[dwell.first] == pytest.approx(begins - 1 / RATE_HZ, abs=1e-6)
        assert 1.0 < stream.time_s[dwell.last] - stream.time_s[dwell.first] <= 3.0


def test_the_spread_and_the_error_are_those_of_the_noise(rng):
    off, spread = [], []
    for _ in range(40):
        dwells = find_dwells(visits(rng, noise_mm=0.15), TIP_S)
        assert len(dwells) == 3
        off += [d.point_pr - place for d, place in zip(dwells, PLACES, strict=True)]
        spread += [d.spread_mm for d in dwells]
    # about 21 samples and a little of the way there
    assert np.sqrt(np.mean(np.sum(np.square(off), axis=1))) < 0.15
    assert np.median(spread) == pytest.approx(np.sqrt(3) * 0.15, rel=0.25)


def test_a_stylus_that_does_not_swivel_or_a_wrong_tip_touches_nothing(rng):
    assert find_dwells(visits(rng, swivel_deg=3.0), TIP_S) == []
    assert find_dwells(visits(rng), TIP_S + [0, 20.0, 0]) == []
    assert len(find_dwells(visits(rng), TIP_S, least_s=2.9)) == 3
    assert find_dwells(visits(rng), TIP_S, least_s=3.5) == []


def test_a_place_touched_again_is_the_same_landmark(rng):
    stream = visits(rng, PLACES[[0, 1, 0, 2]])
    again = find_dwells(stream, TIP_S)
    assert np.array([d.point_pr for d in again]) == pytest.approx(PLACES, abs=0.6)
    assert max(stream.time_s[d.last] - stream.time_s[d.first] for d in again) <= 3.1
    apart = find_dwells(
        visits(rng, PLACES[[0, 1, 0, 2]] + np.outer([0, 0, 1, 0], [3.0, 0, 0])), TIP_S, apart_mm=2.0
    )
    assert len(apart) == 4


def test_samples_that_are_not_valid_are_passed_over(rng):
    stream = visits(rng)
    valid = np.arange(len(stream)) % 5 != 0
    broken = stream.pose.copy()
    broken[~valid] = np.nan
    dwells = find_dwells(PoseStream(stream.time_s, broken, valid), TIP_S)
    assert np.array([d.point_pr for d in dwells]) == pytest.approx(PLACES, abs=0.6)
    assert all(valid[d.first] and valid[d.last] for d in dwells)


def test_bad_sizes_are_one_sentence(rng):
    with pytest.raises(ValueError, match="expected positive numbers"):
        find_dwells(visits(rng), TIP_S, tip_mm=0)
    with pytest.raises(ValueError, match=r"tip_s has shape \(1, 2\)"):
        find_dwells(visits(rng), [1.0, 2.0])


@pytest.fixture(scope="module")
def plus_landmarks(navkit_data):
    """The stream reference_M_stylus, the tip of PLUS's configuration, the phantom's landmarks, the result."""
    folder = navkit_data / "plus" / "landmarks"
    sequence = read_sequence(folder / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha")
    config = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml")
    expected = read_plus_config(folder / "PhantomRegistrationLandmarkDetection.results.xml")
    return (
        sequence.stream("StylusToReference"),
        config.transforms["StylusTip", "Stylus"][:3, 3],
        np.array(list(config.landmarks.values())),
        expected.transforms["Phantom", "Reference"],
    )


def test_plus_recording_gives_eight_landmarks_and_plus_registration(plus_landmarks):
    stream, tip_s, landmarks, expected = plus_landmarks
    dwells = find_dwells(stream, tip_s)
    assert len(dwells) == 8
    fit = fit_rigid(landmarks, [d.point_pr for d in dwells])
    error = pose_error(fit.matrix, expected)
    assert error.translation_mm < 0.1
    assert np.degrees(error.rotation_rad) < 0.2
    assert fit.fre_rms_mm < 0.3


def test_each_of_the_eight_dwells_is_a_pivot_set(plus_landmarks, navkit_data):
    """Errors last for many samples here (0.7 to 0.9 of the one before), as where a tip rolls in its dimple.

    Counted for what they are, every dwell is within 1 mm of the joint tip; plain least squares miss it once,
    by 1.05 mm.
    """
    joint = np.array([109.629, 6.666, 2.799])
    folder = navkit_data / "plus" / "landmarks" / "segments"
    stored = [np.loadtxt(folder / f"landmark{k}.txt").reshape(-1, 4, 4) for k in range(1, 9)]
    results = [calibrate_pivot(orthonormalised(m), method="autoregressive") for m in stored]
    off = np.linalg.norm([r.tip_s - joint for r in results], axis=1)
    assert off.max() < 1.0
    told = np.sqrt([np.trace(r.covariance) for r in results])
    assert 0.5 < np.sqrt(np.mean((off / told) ** 2)) < 2.0
    plain = np.linalg.norm([calibrate_pivot(orthonormalised(m)).tip_s - joint for m in stored], axis=1)
    assert plain[1:].max() < 0.6
    stream, tip_s, _, _ = plus_landmarks
    found = [stream.pose[d.first : d.last + 1] for d in find_dwells(stream, tip_s)]
    off = [np.linalg.norm(calibrate_pivot(m, method="autoregressive").tip_s - joint) for m in found]
    assert sorted(off)[-2] < 0.6  # the first, cut short, is 1.5 mm off and tells 0.8 mm
