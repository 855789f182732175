"""Live filters: what each does to noise, how late each is, and what none of them may do."""

from functools import partial

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.signal import butter, dimpulse
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.geometry import pose_error, pose_from
from navkit.tracking import (
    PoseStream,
    constant_velocity_kalman,
    custusx_live_filter,
    filter_lag_s,
    one_euro,
    without_repeats,
)


def kalman_stream(stream: PoseStream, **options: float) -> PoseStream:
    return constant_velocity_kalman(stream, position_sd_mm=0.2, acceleration_sd_mm_s2=300, **options).stream


FILTERS = {
    "one euro": one_euro,
    "kalman": kalman_stream,
    "custusx": partial(custusx_live_filter, settle_s=0),
    "custusx settling": partial(custusx_live_filter, max_gap_s=1.0),
}
MAX_GAP_S = {"one euro": 0.25, "kalman": 0.25, "custusx": 1.0, "custusx settling": 1.0}
every_filter = pytest.mark.parametrize("name", FILTERS)


def wandering(rng: np.random.Generator, n: int = 150) -> PoseStream:
    """A hand's irregular motion in irregular time, 30 Hz; rotation far from the identity."""
    time = 500.0 + np.cumsum(rng.uniform(0.02, 0.05, n))
    turn = Rotation.from_rotvec(np.cumsum(rng.normal(scale=0.02, size=(n, 3)), axis=0) + [2.9, 0.4, -0.2])
    place = np.cumsum(rng.normal(scale=[0.9, 0.3, 0.5], size=(n, 3)), axis=0) + [100, -20, 7]
    return PoseStream(time, pose_from(turn, place), name="pointer")


def straight(time_s: np.ndarray, velocity_mm_s: tuple[float, float, float]) -> PoseStream:
    return PoseStream(time_s, pose_from(np.eye(3), [9, -4, 30] + np.outer(time_s, velocity_mm_s)))


def noise(rng: np.random.Generator, n: int, rate_hz: float, sd_mm: float) -> PoseStream:
    return PoseStream(np.arange(n) / rate_hz, pose_from(np.eye(3), rng.normal(scale=sd_mm, size=(n, 3))))


# ---- rules for all filters ---------------------------------------------------------------------------------


@every_filter
def test_a_tool_at_rest_stays_where_it_is(rng, name):
    time = np.cumsum(rng.uniform(0.01, 0.06, 200))
    pose = pose_from(Rotation.from_rotvec([1.9, -0.4, 0.8]), [123.4, -56.7, 8.9])
    stream = PoseStream(time, np.tile(pose, (200, 1, 1)), name="probe")
    still = FILTERS[name](stream)
    assert np.abs(still.pose - pose).max() < 1e-9
    assert np.array_equal(still.time_s, time)
    assert still.name == "probe"


@every_filter
def test_the_past_does_not_depend_on_the_future(rng, name):
    stream = wandering(rng)
    pose = stream.pose.copy()
    pose[100:, :3, 3] += [30, -20, 10]
    pose[100:] = pose[100:] @ pose_from(Rotation.from_rotvec([0, 1.0, 0]), [0, 0, 0])
    other = FILTERS[name](PoseStream(stream.time_s, pose)).pose
    assert np.array_equal(FILTERS[name](stream).pose[:100], other[:100])
    assert not np.allclose(FILTERS[name](stream).pose[100], other[100])


@every_filter
def test_an_invalid_sample_is_used_by_nothing_and_stays(rng, name):
    stream = wandering(rng)
    pose, valid = stream.pose.copy(), stream.valid.copy()
    lost = [0, 40, 41, 90, 149]
    valid[lost] = False
    pose[[0, 40, 149]], pose[41], pose[90, :3, 3] = np.nan, 1e6, 1e6
    given = pose.copy()
    smooth = FILTERS[name](PoseStream(stream.time_s, pose, valid))
    without = FILTERS[name](PoseStream(stream.time_s[valid], pose[valid]))
    assert np.array_equal(smooth.valid, valid)
    assert np.array_equal(smooth.pose[~valid], given[~valid], equal_nan=True)
    assert np.abs(smooth.pose[valid] - without.pose).max() < 1e-9


@every_filter
@pytest.mark.parametrize("how", ["no samples", "invalid samples"])
def test_after_a_gap_a_filter_starts_anew(rng, name, how):
    stream = wandering(rng, 400)
    cut = np.searchsorted(stream.time_s, stream.time_s[180] + MAX_GAP_S[name])
    valid = np.ones(400, dtype=bool)
    valid[181 : cut + 1] = False
    keep = valid if how == "no samples" else np.ones(400, dtype=bool)
    smooth = FILTERS[name](PoseStream(stream.time_s[keep], stream.pose[keep], valid[keep]))
    alone = FILTERS[name](PoseStream(stream.time_s[cut + 1 :], stream.pose[cut + 1 :]))
    assert np.abs(smooth.pose[-len(alone) :] - alone.pose).max() < 1e-9
    # a little less of a gap, and the filter goes on
    valid[cut - 1 :] = True
    goes_on = FILTERS[name](PoseStream(stream.time_s, stream.pose, valid))
    alone = FILTERS[name](PoseStream(stream.time_s[cut - 1 :], stream.pose[cut - 1 :]))
    assert np.abs(goes_on.pose[cut - 1 :] - alone.pose)[:40].max() > 1e-3


@every_filter
def test_the_result_does_not_depend_on_the_trackers_axes(rng, name):
    stream = wandering(rng)
    q_M_r = pose_from(Rotation.from_rotvec([0.4, -1.3, 0.7]), [300, -80, 20])
    moved = FILTERS[name](PoseStream(stream.time_s, q_M_r @ stream.pose)).pose
    assert np.abs(moved - q_M_r @ FILTERS[name](stream).pose).max() < 1e-9


@every_filter
def test_a_stream_without_valid_samples_passes_through(name):
    stream = PoseStream(np.arange(3.0), np.full((3, 4, 4), np.nan), np.zeros(3, dtype=bool))
    smooth = FILTERS[name](stream)
    assert not smooth.valid.any()
    assert np.isnan(smooth.pose).all()


@pytest.mark.parametrize("name", ["kalman", "custusx"])
def test_rotation_passes_through(rng, name):
    stream = wandering(rng)
    smooth = FILTERS[name](stream)
    assert np.array_equal(smooth.pose[:, :3, :3], stream.pose[:, :3, :3])
    assert np.abs(smooth.pose[:, :3, 3] - stream.pose[:, :3, 3]).max() > 0.1


# ---- the 1-Euro filter -------------------------------------------------------------------------------------


def test_one_euro_equals_a_filter_that_sees_one_sample_at_a_time(rng):
    stream = wandering(rng)
    smooth = one_euro(stream, min_cutoff_hz=0.7, beta=0.05, beta_rotation=3.0, derivative_cutoff_hz=1.5)

    def alpha(cutoff: float, dt: float) -> float:
        return dt / (dt + 1 / (2 * np.pi * cutoff))

    place, turn = stream.pose[:, :3, 3], Rotation.from_matrix(stream.pose[:, :3, :3])
    x, r, velocity, spin = place[0], turn[0], np.zeros(3), np.zeros(3)
    for k in range(1, len(stream)):
        dt = stream.time_s[k] - stream.time_s[k - 1]
        velocity = velocity + alpha(1.5, dt) * ((place[k] - place[k - 1]) / dt - velocity)
        spin = spin + alpha(1.5, dt) * ((turn[k] * turn[k - 1].inv()).as_rotvec() / dt - spin)
        x = x + alpha(0.7 + 0.05 * np.linalg.norm(velocity), dt) * (place[k] - x)
        share = alpha(0.7 + 3.0 * np.linalg.norm(spin), dt)
        r = Rotation.from_rotvec(share * (turn[k] * r.inv()).as_rotvec()) * r
        assert smooth.pose[k, :3, 3] == pytest.approx(x, abs=1e-9)
        assert np.abs(smooth.pose[k, :3, :3] - r.as_matrix()).max() < 1e-9


def test_one_euro_at_beta_0_lowers_noise_as_an_exponential_filter(rng):
    stream = noise(rng, 60000, 30.0, 0.25)
    alpha = 1 / (1 + 30 / (2 * np.pi * 2.0))
    after = one_euro(stream, min_cutoff_hz=2.0, beta=0).pose[200:, :3, 3]
    assert after.var() == pytest.approx(0.25**2 * alpha / (2 - alpha), rel=0.02)


def test_one_euro_at_beta_0_lowers_the_noise_of_rotations_alike(rng):
    turn = Rotation.from_rotvec(rng.normal(scale=0.004, size=(60000, 3))) * Rotation.from_rotvec([0.9, -2, 1])
    stream = PoseStream(np.arange(60000) / 30, pose_from(turn, [1, 2, 3]))
    alpha = 1 / (1 + 30 / (2 * np.pi * 2.0))
    smooth = Rotation.from_matrix(one_euro(stream, min_cutoff_hz=2.0, beta_rotation=0).pose[200:, :3, :3])
    after = (smooth * Rotation.from_rotvec([0.9, -2, 1]).inv()).as_rotvec()
    assert after.var() == pytest.approx(0.004**2 * alpha / (2 - alpha), rel=0.02)


def test_one_euro_does_not_mind_a_quaternions_sign():
    """A matrix's quaternion has its largest part positive: about this axis its sign flips at 103 degrees."""
    angle = np.radians(np.linspace(90, 115, 200))
    turn = Rotation.from_rotvec(np.outer(angle, [0, -0.6, -0.8]))
    quaternion = Rotation.from_matrix(turn.as_matrix()).as_quat()
    assert (np.sum(quaternion[1:] * quaternion[:-1], axis=1) < 0).any(), "the case must have a flip"
    stream = PoseStream(np.arange(200) / 30, pose_from(turn, [1, 2, 3]))
    behind = pose_error(one_euro(stream).pose, stream.pose).rotation_rad
    assert np.ptp(behind[60:]) < 1e-6, "a steady lag, over the flip too"
    assert 0.1 < np.degrees(behind[-1]) < 1.0


@pytest.mark.parametrize("rate_hz", [20.0, 100.0])
@pytest.mark.parametrize("speed", [0.5, 10.0, 80.0])
def test_one_euros_lag_is_that_of_its_cutoff_at_any_rate(rate_hz, speed):
    stream = straight(np.arange(0, 12, 1 / rate_hz), (0.8 * speed, 0.0, -0.6 * speed))
    lag = filter_lag_s(one_euro(stream, beta=0.1), stream, settle_s=8.0)
    assert lag == pytest.approx(1 / (2 * np.pi * (1.0 + 0.1 * speed)), rel=1e-3)
    behind = lag * speed
    assert behind < 1 / (2 * np.pi * 0.1), "never farther behind than 1 / (2 pi beta)"


def test_one_euros_lag_at_beta_0_in_samples():
    stream = straight(np.arange(0, 12, 0.04), (5.0, 3.0, -20.0))
    alpha = 1 / (1 + 1 / (2 * np.pi * 1.5 * 0.04))
    lag = filter_lag_s(one_euro(stream, min_cutoff_hz=1.5, beta=0), stream, settle_s=4.0)
    assert lag == pytest.approx((1 - alpha) / alpha * 0.04, rel=1e-6)


def test_one_euros_rotation_lags_alike_and_by_no_more_than_a_degree():
    time = np.arange(0, 12, 0.02)
    turn = Rotation.from_rotvec(np.outer(1.4 * time, [0.6, 0.0, -0.8])) * Rotation.from_rotvec(
        [0.3, 2.0, 1.0]
    )
    stream = PoseStream(time, pose_from(turn, [5, 6, 7]))
    behind = pose_error(one_euro(stream).pose[-1], stream.pose[-1]).rotation_rad
    assert behind == pytest.approx(1.4 / (2 * np.pi * (1.0 + 9.0 * 1.4)), rel=1e-3)
    assert np.degrees(behind) < 1.02


# ---- the Kalman filter -------------------------------------------------------------------------------------


def model(dt: float, acceleration_sd: float) -> tuple[np.ndarray, np.ndarray]:
    transition, push = np.array([[1, dt], [0, 1]]), np.array([dt**2 / 2, dt])
    return transition, np.outer(push, push) * acceleration_sd**2


def test_the_kalman_filters_covariance_is_riccatis_and_true(rng):
    dt, sd, push, n = 0.04, 0.3, 150.0, 30000
    acceleration = rng.normal(scale=push, size=(n, 3))
    velocity = 50 * np.array([1, 0.5, -1]) + np.cumsum(acceleration, axis=0) * dt
    before = np.vstack([np.zeros(3), velocity[:-1]])
    place = np.cumsum(before * dt + acceleration * dt**2 / 2, axis=0)
    stream = PoseStream(np.arange(n) * dt, pose_from(np.eye(3), place + rng.normal(scale=sd, size=(n, 3))))
    track = constant_velocity_kalman(stream, position_sd_mm=sd, acceleration_sd_mm_s2=push)

    transition, q = model(dt, push)
    look = np.array([[1.0, 0.0]])
    prior = solve_discrete_are(transition.T, look.T, q, [[sd**2]])
    gain = prior @ look.T / (look @ prior @ look.T + sd**2)
    steady = prior - gain @ look @ prior
    assert track.covariance[-1] == pytest.approx(steady, rel=1e-9)

    error = track.stream.pose[100:, :3, 3] - place[100:]
    slip = track.velocity_mm_s[100:] - velocity[100:]
    assert error.var() == pytest.approx(steady[0, 0], rel=0.05)
    assert slip.var() == pytest.approx(steady[1, 1], rel=0.05)
    assert np.mean(error * slip) == pytest.approx(steady[0, 1], rel=0.05)
    assert steady[0, 0] < 0.75 * sd**2, "the filter must have done something"
    assert track.innovation_ratio == pytest.approx(1.0, abs=0.02)
    trusting = constant_velocity_kalman(stream, position_sd_mm=sd / 2, acceleration_sd_mm_s2=push / 2)
    assert trusting.innovation_ratio == pytest.approx(4.0, rel=0.02)


def test_the_kalman_filter_equals_its_matrices_in_irregular_time(rng):
    stream = wandering(rng)
    track = constant_velocity_kalman(stream, position_sd_mm=0.4, acceleration_sd_mm_s2=200)
    look = np.array([[1.0, 0.0]])
    state, p = np.stack([stream.pose[0, :3, 3], np.zeros(3)]), np.diag([0.4**2, 1000.0**2])
    for k in range(1, len(stream)):
        transition, q = model(stream.time_s[k] - stream.time_s[k - 1], 200)
        state, p = transition @ state, transition @ p @ transition.T + q
        gain = p @ look.T / (look @ p @ look.T + 0.4**2)
        state, p = state + gain @ (stream.pose[k : k + 1, :3, 3] - look @ state), p - gain @ look @ p
        assert track.stream.pose[k, :3, 3] == pytest.approx(state[0], abs=1e-8)
        assert track.velocity_mm_s[k] == pytest.approx(state[1], abs=1e-6)
        assert track.covariance[k] == pytest.approx(p, rel=1e-6)


def test_the_kalman_filter_has_no_lag_at_a_steady_speed_and_the_stated_one_under_acceleration():
    time = np.arange(0, 20, 0.05)
    steady = straight(time, (40.0, -15.0, 5.0))
    track = constant_velocity_kalman(steady, position_sd_mm=0.3, acceleration_sd_mm_s2=50)
    assert filter_lag_s(track.stream, steady, settle_s=10.0) == pytest.approx(0.0, abs=1e-6)
    assert track.velocity_mm_s[-1] == pytest.approx([40, -15, 5], abs=1e-4)

    pushed = PoseStream(time, pose_from(np.eye(3), np.outer(time**2 / 2, [12.0, 0, -5.0])))
    track = constant_velocity_kalman(pushed, position_sd_mm=0.3, acceleration_sd_mm_s2=50)
    g, h = track.covariance[-1, 0] / 0.3**2 * [1, 0.05]  # of the position, and of the velocity times dt
    behind = pushed.pose[-1, :3, 3] - track.stream.pose[-1, :3, 3]
    assert behind == pytest.approx(np.array([12.0, 0, -5.0]) * 0.05**2 * (1 - g) / h, rel=1e-6, abs=1e-9)
    assert behind[0] > 0.01


def test_the_kalman_filter_says_nothing_where_nothing_was_seen(rng):
    stream = wandering(rng)
    valid = np.ones(len(stream), dtype=bool)
    valid[[3, 70]] = False
    track = constant_velocity_kalman(
        PoseStream(stream.time_s, stream.pose, valid), position_sd_mm=0.4, acceleration_sd_mm_s2=200
    )
    assert np.array_equal(np.isnan(track.velocity_mm_s).any(axis=1), ~valid)
    assert np.array_equal(np.isnan(track.covariance).any(axis=(1, 2)), ~valid)
    one = constant_velocity_kalman(
        PoseStream(stream.time_s[:1], stream.pose[:1]), position_sd_mm=0.4, acceleration_sd_mm_s2=200
    )
    assert np.isnan(one.innovation_ratio)
    assert np.array_equal(one.stream.pose, stream.pose[:1])


# ---- CustusX's live filter ---------------------------------------------------------------------------------


def test_custusx_live_filter_equals_one_that_is_fed_sample_by_sample(rng):
    """Steps of 10 ms after the first sample; a low pass that starts at the origin; shown after 100 steps."""
    stream = wandering(rng)
    shown = custusx_live_filter(stream).pose[:, :3, 3]
    b, a = butter(2, 3.0, fs=100.0)
    place, start = stream.pose[:, :3, 3], stream.time_s[0]
    steps, smooth = [np.zeros(3)] * 3, [np.zeros(3)] * 3
    done = 0
    for k in range(1, len(stream)):
        t0, t1 = stream.time_s[k - 1 : k + 1]
        while start + (done + 1) / 100 <= t1:
            done += 1
            s = (start + done / 100 - t0) / (t1 - t0)
            steps = [(1 - s) * place[k - 1] + s * place[k], *steps[:2]]
            new = b[0] * steps[0] + b[1] * steps[1] + b[2] * steps[2] - a[1] * smooth[0] - a[2] * smooth[1]
            smooth = [new, *smooth[:2]]
        if done <= 100:
            assert np.array_equal(shown[k], place[k]), "the first second is shown as measured"
        else:
            assert shown[k] == pytest.approx(smooth[0], abs=1e-3)  # what the start at the origin left over
    assert done > 400


def test_custusx_live_filter_lowers_noise_by_its_impulse_response(rng):
    stream = noise(rng, 60000, 100.0, 0.25)
    b, a = butter(2, 3.0, fs=100.0)
    _, (response,) = dimpulse((b, a, 0.01), n=2000)
    after = custusx_live_filter(stream).pose[500:, :3, 3]
    assert after.var() == pytest.approx(0.25**2 * np.sum(response**2), rel=0.04)


def test_custusx_live_filter_halves_the_power_at_3_hz():
    time = np.arange(0, 30, 0.01)
    stream = PoseStream(time, pose_from(np.eye(3), np.outer(np.sin(2 * np.pi * 3 * time), [20, 4, -9])))
    after = custusx_live_filter(stream).pose[1000:, :3, 3]
    assert after.std(axis=0) / stream.pose[1000:, :3, 3].std(axis=0) == pytest.approx(
        1 / np.sqrt(2), rel=1e-3
    )


@pytest.mark.parametrize("cutoff_hz", [3.0, 8.0])
def test_custusx_live_filters_lag(cutoff_hz):
    time = np.arange(0, 20, 0.01)
    exact = np.sqrt(2) / (2 * 100 * np.tan(np.pi * cutoff_hz / 100))
    ramp = straight(time, (50.0, -10.0, 4.0))
    lag = filter_lag_s(custusx_live_filter(ramp, cutoff_hz=cutoff_hz), ramp, settle_s=3.0)
    assert lag == pytest.approx(exact, rel=1e-6)
    assert lag == pytest.approx(np.sqrt(2) / (2 * np.pi * cutoff_hz), rel=0.05)
    slow = PoseStream(time, pose_from(np.eye(3), np.outer(np.sin(2 * np.pi * 0.3 * time), [40, 5, 0])))
    lag = filter_lag_s(custusx_live_filter(slow, cutoff_hz=cutoff_hz), slow, settle_s=3.0)
    assert lag == pytest.approx(exact, rel=0.05)


def test_custusx_live_filter_is_half_a_step_later_between_steps(rng):
    stream = straight(np.cumsum(rng.uniform(0.02, 0.05, 600)), (50.0, -10.0, 4.0))
    lag = filter_lag_s(custusx_live_filter(stream), stream, settle_s=3.0)
    assert lag == pytest.approx(np.sqrt(2) / (200 * np.tan(0.03 * np.pi)) + 0.005, abs=0.0005)


def test_on_the_real_recording_every_filter_is_calmer_and_near(navkit_data):
    """The sweep of the wire cross, 15 Hz, about 5 mm/s: no truth, so only calm and nearness are told."""
    stream = without_repeats(files.read_tracking(navkit_data / "custusx" / "angio_lab_text"))

    def unrest(s: PoseStream) -> float:
        return float(np.sqrt(np.mean(np.diff(s.pose[15:, :3, 3], n=2, axis=0) ** 2)))

    share = {name: unrest(f(stream)) / unrest(stream) for name, f in FILTERS.items()}
    assert share["one euro"] < 0.5
    assert share["custusx"] < 0.35
    assert share["kalman"] < 1.0
    for name, limit in {"one euro": 1.0, "kalman": 0.3, "custusx": 2.0}.items():
        away = pose_error(FILTERS[name](stream).pose, stream.pose).translation_mm
        assert np.median(away) < limit, name


# ---- the lag itself, and bad input -------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [-0.04, 0.0, 0.11])
def test_a_known_lag_is_found(rng, lag):
    time = np.cumsum(rng.uniform(0.02, 0.05, 400))

    def path(t: np.ndarray) -> np.ndarray:
        return pose_from(np.eye(3), np.stack([30 * np.sin(1.7 * t), 9 * np.cos(2.9 * t), 4 * t], axis=1))

    late = PoseStream(time, path(time - lag))
    valid = np.arange(400) % 7 != 3
    pose = np.where(valid[:, None, None], late.pose, np.nan)
    found = filter_lag_s(PoseStream(time, pose, valid), PoseStream(time, path(time), valid))
    assert found == pytest.approx(lag, abs=1e-4)


def test_no_lag_without_a_motion_is_one_sentence(rng):
    stream = wandering(rng)
    still = PoseStream(stream.time_s, np.tile(np.eye(4), (len(stream), 1, 1)))
    with pytest.raises(ValueError, match="does not move"):
        filter_lag_s(still, still)
    with pytest.raises(ValueError, match="different times"):
        filter_lag_s(stream, PoseStream(stream.time_s + 1, stream.pose))
    with pytest.raises(ValueError, match=r"0 samples are left after 100.0 s"):
        filter_lag_s(stream, stream, settle_s=100.0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (partial(one_euro, min_cutoff_hz=0), "min_cutoff_hz is 0; expected a number above 0"),
        (partial(one_euro, derivative_cutoff_hz=np.nan), "derivative_cutoff_hz is nan"),
        (partial(one_euro, beta=-1), "beta and beta_rotation are -1 and 9.0; expected 0 or more"),
        (partial(constant_velocity_kalman, position_sd_mm=0, acceleration_sd_mm_s2=1), "position_sd_mm is 0"),
        (
            partial(constant_velocity_kalman, position_sd_mm=1, acceleration_sd_mm_s2=-1),
            "acceleration_sd_mm_s2",
        ),
        (partial(custusx_live_filter, rate_hz=-1), "rate_hz is -1"),
        (
            partial(custusx_live_filter, cutoff_hz=50),
            "cutoff_hz is 50; expected less than half of rate_hz, 50.0",
        ),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(rng, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(wandering(rng, 10))
