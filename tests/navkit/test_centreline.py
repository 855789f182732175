"""A bronchoscope's path on the airways: to Fraxinus' letter, with breathing, and near the scope."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from navkit import phantoms
from navkit.geometry import fit_rigid, inverse, pose_from, transform_points
from navkit.registration import register_centreline, update_centreline
from navkit.registration._airways import outwards
from navkit.registration._lines import curves, resampled

DOWN = np.array([-0.13, 0.31, -0.94]) / np.linalg.norm([-0.13, 0.31, -0.94])
"""The way the lung goes when it fills; mostly to the feet."""


def motion(shift=(0, 0, 0), angle_deg=0.0, axis=(1, -2, 1.5)):
    turn = Rotation.from_rotvec(np.radians(angle_deg) * np.array(axis) / np.linalg.norm(axis))
    return pose_from(turn, np.array(shift, dtype=float))


def route(case, names):
    """Down the trachea and into branches one after another, back to the fork each time."""
    path, look, last = [], [], ""

    def go(name, back):
        line = resampled(case.centrelines[name], 0.7)
        way = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
        path.append(line[::-1] if back else line)
        look.append(np.tile(way, (len(line), 1)))

    go("trachea", False)
    for name in names:
        same = next((k for k in range(len(name)) if name[: k + 1] != last[: k + 1]), len(name))
        for k in range(len(last), same, -1):
            go(last[:k], True)
        for k in range(same + 1, len(name) + 1):
            go(name[:k], False)
        last = name
    return np.concatenate(path), np.concatenate(look)


def scope(case, rng, names, *, breath_mm=5.0):
    """Positions and directions in r of a scope that rides in the lumen, noisy, in a lung that breathes."""
    p, d = route(case, names)
    n = len(p)
    beside = gaussian_filter1d(rng.normal(size=(n, 3)), 12, axis=0)
    beside *= 1.8 / np.sqrt((beside**2).sum(axis=1).mean())
    beside -= (beside * d).sum(axis=1, keepdims=True) * d
    ahead = gaussian_filter1d(d, 4, axis=0)
    wobble = Rotation.from_rotvec(rng.normal(scale=np.radians(8) / np.sqrt(3), size=(n, 3)))
    breath = np.sin(np.pi * 0.07 * np.arange(n) / 4.3 + rng.uniform(0, 3)) ** 2
    p = p + beside + breath_mm * breath[:, None] * DOWN + rng.normal(scale=0.3, size=(n, 3))
    return p, wobble.apply(ahead), breath


def tips(case):
    """Branches on both sides, the one to the nodule first."""
    nodule = next(n for n in case.centrelines if len(n) == 4 and n + "1" not in case.centrelines)
    other = "L" if nodule[0] == "R" else "R"
    return [nodule, other + "21", nodule[0] + ("2" if nodule[1] == "1" else "1") + "1", other + "11"]


@pytest.fixture(scope="module")
def case():
    return phantoms.airway(seed=0)


@pytest.fixture(scope="module")
def lines(case):
    return list(case.centrelines.values())


def target_error(found, truth, case):
    p_r = np.array(list(case.landmarks.values()))
    p_pr = transform_points(inverse(truth), p_r)
    return np.linalg.norm(transform_points(found.matrix, p_pr) - p_r, axis=1)


# -- exact ------------------------------------------------------------------------------------------


def test_a_perfect_path_is_laid_down_exactly(case, lines):
    truth = motion((70, -30, 210), 14)
    p, d = route(case, tips(case))
    p, d = transform_points(inverse(truth), p), d @ truth[:3, :3]
    found = register_centreline(p, 7 * d, lines, tolerance_mm=1e-9)
    np.testing.assert_allclose(found.matrix, truth, atol=1e-5)
    assert found.mean_mm < 1e-6
    assert found.mean_angle_deg < 6
    assert found.converged
    theirs = register_centreline(p, d, lines, method="custusx", tolerance_mm=0.01)
    assert target_error(theirs, truth, case).max() < 0.5


def plain(p, d, at, way, keep, rounds, stop):
    """Fraxinus' loop once more, point by point."""
    pose, spent = np.eye(4), 0
    pose[:3, 3] = at[np.argmax(at[:, 2])] - p[np.argmax(p[:, 2])]
    for _ in range(rounds):
        spent += 1
        q, turned = transform_points(pose, p), d @ pose[:3, :3].T
        pair, angle = [], []
        for one, look in zip(q, turned, strict=True):
            far = np.linalg.norm(at - one, axis=1)
            other = np.linalg.norm(way - look, axis=1)
            best = np.argmin(far + np.sqrt(far.mean() / other.mean()) * other)
            pair.append(best)
            angle.append(other[best])
        order = np.argsort(angle, kind="stable")[: int(keep * len(p))]
        step = fit_rigid(q[order], at[np.array(pair)[order]]).matrix
        pose = step @ pose
        if np.abs(step[:3, 3]).sum() <= stop:
            break
    return pose, order, spent


@pytest.mark.parametrize("stop", [1.0, 0.05])
def test_custusx_to_the_letter(case, lines, rng, stop):
    p, d, _ = scope(case, rng, tips(case)[:2])
    truth = motion((12, 5, -8), 9)
    p, d = transform_points(inverse(truth), p)[::3], (d @ truth[:3, :3])[::3]
    found = register_centreline(p, d, lines, method="custusx", tolerance_mm=stop)
    goal = curves(outwards(lines), loose=False, spacing_mm=0.5)
    d = d / np.linalg.norm(d, axis=1, keepdims=True)
    used = found.used
    pose, order, rounds = plain(p[used], d[used], goal.points, goal.along, 0.7, 50, stop)
    np.testing.assert_allclose(found.matrix, pose, atol=1e-9)
    assert found.iterations == rounds > 1
    np.testing.assert_array_equal(np.flatnonzero(found.kept), np.sort(np.flatnonzero(used)[order]))
    assert found.kept.sum() == int(0.7 * used.sum())


def test_positions_are_more_than_a_step_apart_and_near_the_centreline(case, lines, rng):
    p, d, _ = scope(case, rng, tips(case)[:2], breath_mm=0.0)
    slow = np.repeat(p, 3, axis=0) + rng.normal(scale=0.02, size=(3 * len(p), 3))
    found = register_centreline(slow, np.repeat(d, 3, axis=0), lines, start="given", method="custusx")
    steps = np.linalg.norm(np.diff(slow[found.used], axis=0), axis=1)
    assert steps.min() > 1
    assert found.used.sum() < 1.1 * len(p)
    p = p.copy()
    p[40:60] += [0, 80, 0]  # out of the mouth
    near = register_centreline(p, d, lines, start="given", method="custusx", within_mm=30)
    assert not near.used[40:60].any()
    assert near.used.sum() > 100
    assert register_centreline(p, d, lines, start="given", method="custusx").used[40:60].any()


def test_it_begins_at_the_top_or_at_the_median(case, lines):
    p, d = route(case, tips(case))
    given = motion((500, 200, -300))
    p = transform_points(given, p)
    for start in ("top", "median"):
        found = register_centreline(p, d, lines, start=start, method="custusx", max_iterations=200)
        assert target_error(found, inverse(given), case).max() < 15 * (start == "median") + 1
    with pytest.raises(ValueError, match=r"0 of .* within 30 mm .*start far off"):
        register_centreline(p, d, lines, start="given", within_mm=30, method="custusx")


def test_lines_in_any_order_and_either_way_are_turned_outwards(case, lines, rng):
    p, d, _ = scope(case, rng, tips(case)[:2])
    shuffled = [line[:: rng.choice([-1, 1])] for line in lines]
    rng.shuffle(shuffled)
    a, b = (register_centreline(p, d, some, method="custusx") for some in (lines, shuffled))
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-9)


# -- breathing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_the_airway_that_breathes_by_5_mm(seed):
    case, rng = phantoms.airway(seed=seed), np.random.default_rng([seed, 6])
    p, d, breath = scope(case, rng, tips(case))
    truth = motion((60, -20, 150), 10, rng.normal(size=3))
    p, d = transform_points(inverse(truth), p), d @ truth[:3, :3]
    lines = list(case.centrelines.values())
    theirs = register_centreline(p, d, lines, method="custusx")
    ours = register_centreline(p, d, lines)
    with_breath = register_centreline(p, d, lines, breathing=breath)
    gated = register_centreline(p, d, lines, breathing=breath, gate=0.35)
    for found, most in ((theirs, 4), (ours, 4), (with_breath, 1.6), (gated, 1.6)):
        assert target_error(found, truth, case).mean() < most
    assert target_error(with_breath, truth, case).mean() < target_error(ours, truth, case).mean() / 1.5
    np.testing.assert_allclose(with_breath.sway_mm[0], 5 * DOWN, atol=1.2)
    assert with_breath.sway_range_mm == pytest.approx(5, abs=0.8)
    assert breath[gated.used].max() <= np.quantile(breath, 0.35)


def test_motion_with_a_phase_is_found_exactly_on_perfect_data(case, lines):
    p, d = route(case, tips(case))
    phase = 2 * np.pi * np.arange(len(p)) / 61
    signals = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    sway = np.array([[0.5, -1, 2.5], [0.7, 0.4, -0.8]])
    truth = motion((20, -10, 30), 6)
    p = transform_points(inverse(truth), p + signals @ sway)
    found = register_centreline(
        p, d @ truth[:3, :3], lines, breathing=signals, tolerance_mm=1e-9, scale_mm=2.0
    )
    np.testing.assert_allclose(found.sway_mm, sway, atol=0.02)
    np.testing.assert_allclose(found.matrix, truth, atol=0.03)
    assert found.mean_mm < 0.01


# -- near the scope ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 2])
def test_near_the_scope_an_update_follows_a_lung_that_bends(seed, rng):
    case = phantoms.airway(seed=seed)
    lines = list(case.centrelines.values())
    p, d, _ = scope(case, rng, tips(case), breath_mm=0.0)
    here = case.centrelines[tips(case)[0]][-1]
    bend = np.array([3.0, 4, -4])

    def bent(q):
        return q + np.exp(-((q - here) ** 2).sum(axis=1) / (2 * 45**2))[:, None] * bend

    p, at = bent(p), bent(here[None])
    found = register_centreline(p, d, lines)
    local = update_centreline(p, d, lines, found.matrix, here=at[0])
    before, after = (np.linalg.norm(transform_points(m.matrix, at)[0] - here) for m in (found, local))
    assert before > 3
    assert after < 0.7 * before
    far = case.centrelines[tips(case)[1]][-1]
    assert not local.kept[np.linalg.norm(p - far, axis=1) < 30].any()
    assert 10 <= local.kept.sum() < 0.7 * len(p)
    held = update_centreline(p, d, lines, found.matrix, here=at[0], hold=1e4)
    np.testing.assert_allclose(held.matrix, found.matrix, atol=0.02)


def test_near_is_along_the_airways_and_not_through_the_wall():
    """Two branches side by side, 12 mm apart, joined 60 mm higher."""
    down = np.linspace([0, 0, 60], [0, 0, -20], 81)
    one, two = (np.linspace([0, 0, -20], [s, 3 * (s > 0), -90], 71) for s in (-6, 6))
    p = np.concatenate([down, one, two])
    d = np.concatenate([np.tile(line[-1] - line[0], (len(line), 1)) for line in (down, one, two)])
    found = update_centreline(p, d, [down, one, two], np.eye(4), here=one[-1], reach_mm=20)
    assert found.kept[81:152][-30:].all()
    assert not found.kept[152:][-30:].any()


# -- wrong input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda p, d: (p.T, d.T), {}, "in columns"),
        (lambda p, d: (p / 1000, d), {}, "metres"),
        (lambda p, d: (d, p), {}, "swapped"),
        (lambda p, d: (p, d[1:]), {}, "one for each"),
        (lambda p, d: (p, 0 * d), {}, r"directions\[0\] is 0"),
        (lambda p, d: (p[:9], d[:9]), {}, "positions has 9 points"),
        (lambda p, d: (p[:12], d[:12]), {"step_mm": 3.0}, "of 12 positions are left"),
        (lambda p, d: (p, d), {"breathing": np.ones(7)}, "a row for each position"),
        (lambda p, d: (p, d), {"breathing": "same"}, "does not change"),
        (lambda p, d: (p, d), {"gate": 0.3}, "gate needs breathing"),
        (lambda p, d: (p, d), {"keep": 70}, "In percent"),
        (lambda p, d: (p, d), {"method": "icp"}, "method is 'icp'"),
        (lambda p, d: (p, d), {"start": "bottom"}, "start is 'bottom'"),
    ],
)
def test_wrong_input_is_named(case, lines, change, options, words):
    p, d = change(*route(case, tips(case)[:1]))
    if isinstance(options.get("breathing"), str):
        options = {"breathing": np.ones(len(p))}
    with pytest.raises(ValueError, match=words) as told:
        register_centreline(p, d, lines, **options)
    assert "\n" not in str(told.value)


def test_a_scope_that_stays_in_the_trachea_is_refused_by_custusx_way(case, lines):
    p = resampled(case.centrelines["trachea"], 1.5)
    d = np.tile(p[-1] - p[0], (len(p), 1))
    with pytest.raises(ValueError, match="a bronchus on each side"):
        register_centreline(p, d, lines, method="custusx")


def test_directions_of_the_wrong_sign_and_a_far_start_are_warned_of(case, lines, rng):
    p, d, breath = scope(case, rng, tips(case)[:2])
    for method in ("custusx", "robust"):
        backwards = register_centreline(p, -d, lines, method=method)
        assert any("wrong sign" in told for told in backwards.warnings)
    other, turn = phantoms.airway(seed=1), motion(angle_deg=85)
    p1, d1, _ = scope(other, np.random.default_rng(3), tips(other)[:2])
    away = register_centreline(
        transform_points(turn, p1), d1 @ turn[:3, :3].T, list(other.centrelines.values())
    )
    assert any("is the start far off" in told for told in away.warnings)
    assert not register_centreline(p, d, lines).warnings
    with pytest.raises(ValueError, match="part of method 'robust'"):
        register_centreline(p, d, lines, method="custusx", breathing=breath)
    with pytest.raises(ValueError, match=r"reach_mm is -1"):
        update_centreline(p, d, lines, np.eye(4), reach_mm=-1)
    with pytest.raises(ValueError, match="larger reach_mm"):
        update_centreline(p, d, lines, np.eye(4), reach_mm=1)
