"""Under noise every estimator errs as much as theory says: RMS over 500 seeded trials, within 5 %."""

import numpy as np
import pytest
from nwire_phantom import WIRES
from test_delay import move
from test_nwires import TRUE_S_M_P as S_M_P_OF_WIRES
from test_nwires import looking as looking_at_wires
from test_pivot_methods import TIP_S, swivel
from test_probe_targets import TARGET_PR, TRUE_S_M_P, looking, mapped, shaken
from test_spin_and_hand_eye import AXIS_S, angle_deg, spinning

from navkit.calibration import (
    calibrate_pivot,
    calibrate_probe_nwires,
    calibrate_probe_point,
    calibrate_probe_stylus,
    calibrate_spin,
    estimate_delay,
)
from navkit.geometry import transform_points
from navkit.registration import expected_tre, fit_rigid
from navkit.tracking import FieldDistortion, estimate_clock

pytestmark = pytest.mark.slow
TRIALS = 500


def rms(errors):
    """Over the trials, of the vectors' lengths."""
    e = np.asarray(errors, dtype=float).reshape(len(errors), -1)
    return np.sqrt(np.mean((e**2).sum(axis=1)))


@pytest.mark.parametrize("method", ["algebraic", "all-pairs", "ransac"])
def test_pivot(rng, method):
    """The normal equations' covariance; "ransac" without an outlier loses next to nothing."""
    poses = swivel(rng, 60, cone_deg=30)
    away = poses[:, :3, :3] - poses[:, :3, :3].mean(axis=0)
    theory = 0.4 * np.sqrt(np.trace(np.linalg.inv(np.einsum("nij,nik->jk", away, away))))
    off = []
    for _ in range(TRIALS):
        noisy = poses.copy()
        noisy[:, :3, 3] += rng.normal(scale=0.4, size=(60, 3))
        off.append(calibrate_pivot(noisy, method=method, rng=rng).tip_s - TIP_S)
    assert rms(off) == pytest.approx(theory, rel=0.05)


def test_spin(rng):
    """Each pose tells the axis across itself once; two components."""
    off = []
    for _ in range(TRIALS):
        poses, _ = spinning(rng, 80, noise_deg=0.3, turn=np.pi)
        off.append(angle_deg(calibrate_spin(poses).axis_s, AXIS_S))
    assert rms(off) == pytest.approx(0.3 * np.sqrt(2 / 80), rel=0.05)


def test_nwires(rng):
    """Linear regression of each coordinate on column and row; one N a frame, for independent rows."""
    s_M_phantom, dots = looking_at_wires(rng, 60)
    one = np.full_like(dots, np.nan)
    one[np.arange(60), np.arange(60) % 3] = dots[np.arange(60), np.arange(60) % 3]
    u = np.column_stack([one[np.isfinite(one[..., 0]).all(axis=2)][:, 1], np.ones(60)])
    at = np.array([100.0, 550.0, 1.0])
    sd = np.array([0.1, 0.2, 0.4])
    theory = np.sqrt((sd**2).sum() * (at @ np.linalg.inv(u.T @ u) @ at))
    off = []
    for _ in range(TRIALS):
        noisy = s_M_phantom.copy()
        noisy[:, :3, 3] += rng.normal(scale=sd, size=(60, 3))
        found = calibrate_probe_nwires(one, WIRES, noisy, trim_sigma=np.inf).s_M_p
        off.append(transform_points(found, [100.0, 550.0, 0]) - S_M_P_OF_WIRES[:3] @ [100, 550, 0, 1])
    assert rms(off) == pytest.approx(theory, rel=0.05)


@pytest.mark.parametrize("target", ["point", "stylus"])
def test_probe_targets(rng, target):
    """What the results tell, averaged over the trials, at a pixel near the corner."""
    sd = np.array([0.2, 0.15, 0.6])
    px, pr_M_s = looking(rng, 30)
    at, told = np.array([[60.0, 520.0]]), []
    off = []
    for _ in range(TRIALS):
        noisy = shaken(rng, pr_M_s, sd)
        if target == "point":
            result = calibrate_probe_point(px, noisy, trim_sigma=np.inf)
        else:
            tips = np.tile(TARGET_PR, (30, 1))
            result = calibrate_probe_stylus(px, tips, noisy, trim_sigma=np.inf)
        off.append(mapped(result.s_M_p, at)[0] - mapped(TRUE_S_M_P, at)[0])
        told.append(result.sd_mm(at[0]) ** 2)
    assert rms(off) == pytest.approx(np.sqrt(np.mean(told, axis=0).sum()), rel=0.05)


def test_delay_of_a_noisy_video(rng):
    """The noise over the signal's slope and over the root of the number of samples."""
    sparse, dense = np.arange(0, 20, 0.087), np.arange(0, 20, 0.025)
    used = sparse[(sparse >= 0.5) & (sparse <= dense[-1] - 0.5)]
    step = 1e-5
    slope = (move(used + step) - move(used - step)) / (2 * step)
    columns = np.column_stack([slope, move(used), np.ones_like(used)])
    theory = np.sqrt(np.linalg.inv(columns.T @ columns)[0, 0])
    off = [
        estimate_delay(
            sparse,
            move(sparse) + rng.normal(size=sparse.size),
            dense,
            move(dense),
            max_delay_s=0.5,
        ).delay_s
        for _ in range(TRIALS)
    ]
    assert rms(off) == pytest.approx(theory, rel=0.05)


def test_field_distortion(rng):
    """Least squares leaves, at its own points, the share parameters / points of the noise's variance."""
    p = rng.uniform([-100, 20, -400], [80, 160, -300], size=(120, 3))
    off = []
    for _ in range(TRIALS):
        fitted = FieldDistortion.fit(p, p + rng.normal(scale=0.5, size=p.shape), degree=2)
        off.append((fitted.correct(p) - p) / np.sqrt(len(p)))
    assert rms(off) == pytest.approx(0.5 * np.sqrt(3 * 27 / 120), rel=0.05)


def test_paired_points(rng):
    """Fitzpatrick, West and Maurer's TRE."""
    markers = np.array([[0.0, 0, 0], [88, 5, -3], [12, 62, 8], [60, 70, -20]])
    tip = np.array([30.0, -10, 190])
    off = [
        transform_points(fit_rigid(markers, markers + rng.normal(scale=0.2, size=(4, 3))).matrix, tip) - tip
        for _ in range(TRIALS)
    ]
    assert rms(off) == pytest.approx(expected_tre(markers, tip, 0.2 * np.sqrt(3)), rel=0.05)


def test_clock(rng):
    """Linear regression: the noise of the stamps over the root of the sum of their squared distances."""
    t = np.sort(rng.uniform(1000, 1060, 200))
    theory = 2e-3 / np.sqrt(np.sum((t - t.mean()) ** 2))
    off = [
        estimate_clock(t, 40 + 1.0002 * t + rng.normal(scale=2e-3, size=t.size)).drift - 2e-4
        for _ in range(TRIALS)
    ]
    assert rms(off) == pytest.approx(theory, rel=0.05)
