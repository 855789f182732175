"""Sphere, all pairs and RANSAC beside the algebraic pivot, and what each says of itself."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from navkit.calibration import calibrate_pivot
from navkit.geometry import pose_from

TIP_S = np.array([-17.9, 12.3, 157.7])
PIVOT_PR = np.array([310.0, -85.0, -1200.0])


def swivel(rng, n, *, cone_deg=35.0, noise_mm=0.0, noise_deg=0.0, ring=False):
    """Poses tilted by at most (`ring`: by exactly) `cone_deg`, twisted about the shaft, with noise."""
    axis = TIP_S / np.linalg.norm(TIP_S)
    side = np.cross(axis, [0.2, 1.0, -0.3])
    side /= np.linalg.norm(side)
    around = rng.uniform(0, 2 * np.pi, n)
    tilt = np.radians(cone_deg) * (np.ones(n) if ring else np.sqrt(rng.uniform(size=n)))
    across = np.outer(np.cos(around), side) + np.outer(np.sin(around), np.cross(axis, side))
    twist = Rotation.from_rotvec(np.outer(rng.uniform(-0.3, 0.3, n), axis))
    turn = Rotation.from_rotvec([0.4, -1.0, 0.7]) * Rotation.from_rotvec(tilt[:, None] * across) * twist
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=noise_deg, size=(n, 3))))
    place = PIVOT_PR - turn.apply(TIP_S) + rng.normal(scale=noise_mm, size=(n, 3))
    return pose_from(shake * turn, place)


def short_of_angle(poses, share):
    """The same poses from a tracker whose angles, from their mean, are short by `share`: a wrong geometry."""
    turns = Rotation.from_matrix(poses[:, :3, :3])
    middle = turns.mean()
    turns = middle * Rotation.from_rotvec((1 - share) * (middle.inv() * turns).as_rotvec())
    return pose_from(turns, poses[:, :3, 3])


def contradicts(result) -> bool:
    return any("angles and positions contradict each other" in w for w in result.warnings)


def off_mm(result) -> float:
    return float(np.linalg.norm(result.tip_s - TIP_S))


@pytest.mark.parametrize("method", ["algebraic", "all-pairs", "sphere", "ransac", "autoregressive"])
@pytest.mark.parametrize("n", [4, 9, 200])
def test_every_method_is_exact_without_noise(rng, method, n):
    result = calibrate_pivot(swivel(rng, n), method=method, rng=rng)
    assert off_mm(result) < 1e-9
    assert result.pivot_pr == pytest.approx(PIVOT_PR, abs=1e-9)
    assert result.rms_mm < 1e-9
    assert result.inliers.all()


def test_all_pairs_is_the_two_step_method_over_every_pair_of_poses(rng):
    poses = swivel(rng, 23, noise_mm=0.8, noise_deg=0.2)
    r, t = poses[:, :3, :3], poses[:, :3, 3]
    first, second = np.triu_indices(23, 1)
    tip = np.linalg.lstsq(
        (r[first] - r[second]).reshape(-1, 3), (t[second] - t[first]).reshape(-1), rcond=None
    )[0]
    result = calibrate_pivot(poses, method="all-pairs")
    np.testing.assert_allclose(result.tip_s, tip, atol=1e-8)
    np.testing.assert_allclose(result.pivot_pr, (r @ tip + t).mean(axis=0), atol=1e-8)
    neighbours = np.linalg.lstsq(
        np.diff(r, axis=0).reshape(-1, 3), -np.diff(t, axis=0).reshape(-1), rcond=None
    )[0]
    assert np.linalg.norm(result.tip_s - neighbours) > 0.01


@pytest.mark.parametrize(
    ("n", "cone_deg", "noise_mm"),
    [(30, 8, 0.1), (150, 9, 0.25), (600, 9, 0.5), (40, 20, 0.5), (150, 45, 0.25)],
)
def test_the_sphere_is_weaker_and_its_own_covariance_says_by_how_much(rng, n, cone_deg, noise_mm):
    """The algebraic sphere alone would be 26 mm off in the second case, and tell 8 mm."""
    found = [
        calibrate_pivot(swivel(rng, n, cone_deg=cone_deg, noise_mm=noise_mm), method="sphere")
        for _ in range(200)
    ]
    told = np.sqrt(np.mean([np.trace(f.covariance) for f in found]))
    true = np.sqrt(np.mean([off_mm(f) ** 2 for f in found]))
    assert told == pytest.approx(true, rel=0.2)
    angles = calibrate_pivot(swivel(rng, n, cone_deg=cone_deg, noise_mm=noise_mm))
    assert told**2 > 2 * np.trace(angles.covariance)
    shaft = TIP_S / np.linalg.norm(TIP_S)  # where a cap tells least
    for f in found:
        assert abs(np.linalg.eigh(f.covariance)[1][:, -1] @ shaft) > 0.95
        error_mm = np.sqrt(np.trace(f.covariance))
        assert any(f"{error_mm:.1f} mm off" in w for w in f.warnings) == (1.0 < error_mm < 15)


@pytest.mark.parametrize(
    ("n", "cone_deg", "noise_mm"), [(30, 8, 0.5), (60, 5, 0.25), (500, 3, 0.25), (2000, 2, 0.3)]
)
def test_a_sphere_on_too_small_a_cap_tells_no_figure_to_rely_on(rng, n, cone_deg, noise_mm):
    for _ in range(20):
        cap = calibrate_pivot(swivel(rng, n, cone_deg=cone_deg, noise_mm=noise_mm), method="sphere")
        assert any("too small a cap to say where the centre is" in w for w in cap.warnings)


def test_the_condition_of_a_sphere_is_that_of_its_last_linear_system(rng):
    poses = swivel(rng, 60, cone_deg=30, noise_mm=0.2)
    sphere = calibrate_pivot(poses, method="sphere")
    away = poses[:, :3, 3] - sphere.pivot_pr
    slope = away / np.linalg.norm(away, axis=1)[:, None]
    system = np.column_stack([slope - slope.mean(axis=0), np.ones(60)])
    assert sphere.condition == pytest.approx(np.linalg.cond(system), rel=1e-3)


@pytest.mark.parametrize("n", [12, 100, 3000])
def test_a_ring_of_positions_has_no_sphere(rng, n):
    """At one tilt all spheres on the axis of the ring fit: exactly refused, and with noise not believed."""
    with pytest.raises(ValueError, match="Was the tilt always the same"):
        calibrate_pivot(swivel(rng, n, cone_deg=25, ring=True), method="sphere")
    for noise_mm in [0.02, 0.3] * (2 if n > 1000 else 50):
        ring = swivel(rng, n, cone_deg=25, noise_mm=noise_mm, ring=True)
        assert any("too small a cap" in w for w in calibrate_pivot(ring, method="sphere").warnings)
        assert calibrate_pivot(ring).warnings == ()


def test_a_narrow_swivel_is_called_so_though_its_residual_is_as_small_as_ever(rng):
    narrow, wide = (
        calibrate_pivot(swivel(rng, 400, cone_deg=c, noise_mm=0.2, noise_deg=0.05)) for c in (4.0, 40.0)
    )
    assert narrow.rms_mm == pytest.approx(wide.rms_mm, rel=0.15)
    assert wide.warnings == ()
    assert len(narrow.warnings) == 1
    assert "Swivel wider" in narrow.warnings[0]
    assert f"{narrow.rms_mm:.2f} mm does not show it" in narrow.warnings[0]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_ransac_leaves_out_the_wrong_poses_and_them_alone(rng, share):
    poses = swivel(rng, 300, noise_mm=0.2)
    wrong = rng.random(300) < share
    poses[wrong, :3, 3] += rng.normal(scale=15.0, size=(int(wrong.sum()), 3)) + 5.0
    plain, robust = calibrate_pivot(poses), calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(robust) < 0.1 < off_mm(plain)
    assert not robust.inliers[wrong].any()
    assert robust.inliers[~wrong].mean() > 0.99
    assert f"{(~robust.inliers).sum()} of 300 poses do not agree" in robust.warnings[0]


def plain_ransac(poses, rng, *, trials, within_mm):
    """Of `trials` triples of poses the tip that most poses agree with, then least squares on those."""

    def algebraic(m):
        system = np.concatenate([np.hstack([pose[:3, :3], -np.eye(3)]) for pose in m])
        return np.split(np.linalg.lstsq(system, -m[:, :3, 3].reshape(-1), rcond=None)[0], 2)

    def agree(tip, pivot):
        return np.linalg.norm(poses[:, :3, :3] @ tip + poses[:, :3, 3] - pivot, axis=1) < within_mm

    drawn = [algebraic(poses[rng.choice(len(poses), 3, replace=False)]) for _ in range(trials)]
    return algebraic(poses[max((agree(*fit) for fit in drawn), key=np.sum)])[0]


def test_ransac_is_no_worse_than_ten_plain_trials_that_are_told_the_noise(rng):
    """RMS error of the tip over 60 recordings, every fifth pose wrong by centimetres."""
    ours, plain, best = [], [], []
    for _ in range(60):
        poses = swivel(rng, 150, noise_mm=0.3, noise_deg=0.1)
        wrong = rng.random(150) < 0.2
        poses[wrong, :3, 3] += rng.normal(scale=15.0, size=(int(wrong.sum()), 3)) + 5.0
        ours.append(off_mm(calibrate_pivot(poses, method="ransac", rng=rng)))
        plain.append(np.linalg.norm(plain_ransac(poses, rng, trials=10, within_mm=4.0) - TIP_S))
        best.append(off_mm(calibrate_pivot(poses[~wrong])))
    rms_ours, rms_plain, rms_best = np.sqrt(np.mean(np.square([ours, plain, best]), axis=1))
    assert rms_ours <= rms_plain
    assert rms_ours < 1.05 * rms_best


def test_ransac_keeps_the_majority_when_the_tip_slipped_into_another_dimple(rng):
    """40 % of the poses agree with one another too, about a point 30 mm away."""
    poses = swivel(rng, 250, noise_mm=0.2)
    slipped = np.arange(250) >= 150
    poses[slipped, :3, 3] += [20.0, -15.0, 17.0]
    robust = calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(robust) < 0.1
    assert not robust.inliers[slipped].any()
    assert robust.rms_mm == pytest.approx(np.sqrt(np.mean(robust.residual_mm[robust.inliers] ** 2)))
    assert robust.residual_mm[slipped].min() > 10


def test_ransacs_choice_is_the_one_that_its_own_noise_implies(rng):
    """99.9 % of three-dimensional Gaussian errors lie within 2.62 times their median length."""
    for _ in range(20):
        poses = swivel(rng, 40, noise_mm=0.4)
        poses[:12, :3, 3] += rng.normal(scale=1.5, size=(12, 3))
        robust = calibrate_pivot(poses, method="ransac", rng=rng)
        limit = np.sqrt(16.266 / 2.366) * np.median(robust.residual_mm[robust.inliers])
        assert np.array_equal(robust.inliers, robust.residual_mm <= limit)


def test_ransac_throws_away_hardly_anything_when_nothing_is_wrong(rng):
    poses = swivel(rng, 500, noise_mm=0.3)
    robust = calibrate_pivot(poses, method="ransac", rng=rng)
    assert robust.inliers.mean() > 0.99
    assert robust.rms_mm == pytest.approx(calibrate_pivot(poses).rms_mm, rel=0.05)


def test_ransac_draws_three_different_poses(rng):
    """Of three poses there is one such triple, so that one trial is enough."""
    for _ in range(60):
        result = calibrate_pivot(swivel(rng, 3), method="ransac", trials=1, rng=rng)
        assert off_mm(result) < 1e-6
        assert result.inliers.all()


def test_ransac_repeats_with_the_same_seed(rng):
    poses = swivel(rng, 120, noise_mm=0.3)
    one, two = (calibrate_pivot(poses, method="ransac", rng=np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one.tip_s, two.tip_s)


def test_a_tool_that_did_not_turn_is_refused_by_every_method(rng):
    still = np.repeat(swivel(rng, 1), 30, axis=0)
    still[:, :3, 3] += rng.normal(scale=0.2, size=(30, 3))
    for method in ("algebraic", "sphere", "ransac"):
        with pytest.raises(ValueError, match="Was the tool still, or turned about one axis"):
            calibrate_pivot(still, method=method, rng=rng)


def test_plus_fake_tracker_five_percent_wild_poses(rng):
    """PLUS's own test (plus.md 6): 100 poses, 5 % of them wild; the tip within 0.5 mm."""
    poses = swivel(rng, 100, noise_mm=0.1)
    wild = rng.choice(100, 5, replace=False)
    poses[wild] = pose_from(Rotation.random(5, random_state=rng), rng.uniform(-1000, 1000, size=(5, 3)))
    result = calibrate_pivot(poses, method="ransac", rng=rng)
    assert off_mm(result) < 0.5
    assert not result.inliers[wild].any()


@pytest.mark.parametrize("method", ["algebraic", "sphere", "ransac"])
def test_angles_that_contradict_the_positions_are_called_so_by_every_method(rng, method):
    """Angles 4 % short move the algebraic tip 6 mm along the shaft; the sphere needs no angle and stays."""
    clean = swivel(rng, 120, cone_deg=30, noise_mm=0.2, noise_deg=0.1)
    bent = short_of_angle(clean, 0.04)
    assert not contradicts(calibrate_pivot(clean, method=method, rng=rng))
    result = calibrate_pivot(bent, method=method, rng=rng)
    assert contradicts(result)
    if method != "ransac":  # whose tips are those of fewer poses
        tips = [calibrate_pivot(bent, method=m).tip_s for m in ("algebraic", "sphere")]
        apart_mm = np.linalg.norm(tips[0] - tips[1])
        assert 4 < apart_mm < 9
        assert f"{apart_mm:.1f} mm from the tip that the angles give" in result.warnings[-1]
    assert "cannot tell which tip is right" in result.warnings[-1]


def test_a_contradiction_of_less_than_a_millimetre_is_not_worth_a_word(rng):
    """0.3 % short: half a millimetre, ten times the noise of 20 000 poses."""
    bent = short_of_angle(swivel(rng, 20_000, cone_deg=40, noise_mm=0.1), 0.003)
    angles, sphere = calibrate_pivot(bent), calibrate_pivot(bent, method="sphere")
    assert 0.3 < np.linalg.norm(angles.tip_s - sphere.tip_s) < 1.0
    assert not contradicts(angles)


@pytest.mark.parametrize("noise_mm", [0.1, 0.5, np.array([0.1, 0.1, 0.25])], ids=["0.1", "0.5", "deep"])
@pytest.mark.parametrize("noise_deg", [0.0, 0.3])
@pytest.mark.parametrize("ring", [False, True])
def test_noise_alone_is_no_contradiction(rng, noise_mm, noise_deg, ring):
    """No alarm in 12 x 100 swivels of 20 to 400 poses in cones of 10 to 45 degrees."""
    for k in range(100):
        n, cone_deg = (20, 60, 150, 400)[k % 4], rng.uniform(10, 45)
        poses = swivel(rng, n, cone_deg=cone_deg, noise_mm=noise_mm, noise_deg=noise_deg, ring=ring)
        assert not contradicts(calibrate_pivot(poses))


@pytest.mark.parametrize("n", [5, 6, 8, 12])
def test_few_poses_raise_no_alarm_though_they_know_their_own_noise_badly(rng, n):
    poses = [swivel(rng, n, cone_deg=45, noise_mm=0.5, noise_deg=0.2) for _ in range(300)]
    assert sum(contradicts(calibrate_pivot(m)) for m in poses) <= 3


@pytest.mark.parametrize(("n", "cone_deg"), [(30, 10), (60, 12), (300, 15), (4000, 8)])
def test_angles_far_worse_than_positions_are_no_contradiction(rng, n, cone_deg):
    for _ in range(100 if n < 1000 else 5):
        poses = swivel(rng, n, cone_deg=cone_deg, noise_mm=0.02, noise_deg=0.5)
        assert not contradicts(calibrate_pivot(poses))


@pytest.mark.parametrize("share", [1.0, 0.05, 0.01, 0.0])
def test_a_sensor_near_or_at_the_tip_has_no_sphere_to_contradict(rng, share):
    for k in range(40):
        poses = swivel(rng, 100)
        poses[:, :3, 3] += (1 - share) * poses[:, :3, :3] @ TIP_S
        poses[:, :3, 3] += rng.normal(scale=0.2 if k else 0.0, size=(100, 3))
        if share == k == 0:
            poses[:, :3, 3] = PIVOT_PR  # to the last digit
        result = calibrate_pivot(poses)
        assert result.tip_s == pytest.approx(share * TIP_S, abs=0.5 if k else 1e-9)
        assert result.warnings == ()


def test_in_the_real_recording_angles_and_positions_contradict_each_other_by_12_mm(navkit_data):
    poses = np.stack([np.loadtxt(p) for p in sorted((navkit_data / "ucl" / "pivot").glob("*.txt"))])
    algebraic, sphere = calibrate_pivot(poses), calibrate_pivot(poses, method="sphere")
    assert sphere.tip_s == pytest.approx([-16.793, 382.777, -7.257], abs=1e-3)
    assert np.linalg.norm(sphere.tip_s - algebraic.tip_s) == pytest.approx(12.08, abs=0.01)
    for result in (algebraic, sphere):
        assert contradicts(result)
        assert "12.1 mm from the tip that the angles give, where 2.7 mm would be usual" in result.warnings[-1]
    assert len(algebraic.warnings) == 1
    assert "its centre may be 1.2 mm off" in sphere.warnings[0]


def swinging(rng, n, share):
    """Poses 15 times a second whose errors, 0.4 mm along each axis, keep `share` of the one before."""
    s = np.arange(n) / 15
    swing = np.stack([0.5 * np.sin(2.1 * s), 0.4 * np.sin(1.3 * s + 1), 0.5 * np.sin(0.7 * s)], axis=1)
    turn = Rotation.from_rotvec([0.4, -1.0, 0.7]) * Rotation.from_euler("xyz", swing)
    news = rng.normal(scale=0.4 * np.sqrt(1 - share**2), size=(n + 100, 3))
    error = lfilter([1], [1, -share], news, axis=0)[100:]
    return pose_from(turn, PIVOT_PR - turn.apply(TIP_S) + error)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_errors_that_last_are_counted_for_what_they_are(rng, share):
    """300 seeded trials. Without memory both methods agree; with it the plain covariance is far off."""
    off, told, plain_off, plain_told = [], [], [], []
    for _ in range(300):
        poses = swinging(rng, 150, share)
        one, plain = calibrate_pivot(poses, method="autoregressive"), calibrate_pivot(poses)
        off.append(off_mm(one) ** 2)
        told.append(np.trace(one.covariance))
        plain_off.append(off_mm(plain) ** 2)
        plain_told.append(np.trace(plain.covariance))
    assert np.sqrt(np.mean(told)) == pytest.approx(np.sqrt(np.mean(off)), rel=0.05 if share == 0 else 0.25)
    if share == 0:
        assert np.mean(off) == pytest.approx(np.mean(plain_off), rel=0.02)
    else:
        assert np.mean(off) < 0.97 * np.mean(plain_off)
        assert np.sqrt(np.mean(plain_told)) < 0.4 * np.sqrt(np.mean(plain_off))


def test_the_autoregressive_residual_is_that_of_its_own_tip(rng):
    poses = swinging(rng, 60, 0.8)
    one, plain = calibrate_pivot(poses, method="autoregressive"), calibrate_pivot(poses)
    error = np.linalg.norm(poses[:, :3, :3] @ one.tip_s + poses[:, :3, 3] - one.pivot_pr, axis=1)
    assert one.residual_mm == pytest.approx(error, abs=1e-9)
    assert one.rms_mm == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-9)
    assert one.rms_mm > plain.rms_mm
    shuffled = calibrate_pivot(rng.permutation(poses), method="autoregressive")
    assert np.linalg.norm(shuffled.tip_s - plain.tip_s) < 0.3 * np.linalg.norm(one.tip_s - plain.tip_s)
