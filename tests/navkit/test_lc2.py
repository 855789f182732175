"""LC2 and the descriptors against slow twins, and what a similarity of ultrasound and MR has to obey."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import correlate, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from navkit.geometry import inverse, pose_from
from navkit.registration._descriptors import PAIRS, self_similarity
from navkit.registration._lc2 import (
    Level,
    Workers,
    at_level,
    chained,
    climb,
    lc2_evaluate,
    offsets,
    similarity,
    smoothed,
    with_gradient,
)

EDGE = 2


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield Workers(threads, 2)


def scene(rng, *, holes=0.1):
    """An ultrasound level with holes, an MR, and the pose between them: nothing is symmetric."""
    f_M_voxel = pose_from(Rotation.from_euler("xyz", [20, -35, 50], degrees=True), [40.0, -70.0, 15.0])
    f_M_voxel = f_M_voxel @ np.diag([1.9, 2.3, 2.1, 1.0])
    u = gaussian_filter(rng.normal(size=(9, 13, 11)), 1.0)
    u[rng.random(u.shape) < holes] = np.nan
    mr = gaussian_filter(rng.normal(size=(17, 14, 21)), 1.5) * 300 + 500
    m_M_voxel = pose_from(Rotation.from_euler("xyz", [-10, 65, 5], degrees=True), [-310.0, 22.0, 90.0])
    m_M_voxel = m_M_voxel @ np.diag([1.5, 2.6, 2.2, 1.0])
    middle = np.array(mr.shape[::-1]) / 2
    # the ultrasound's middle on the MR's, turned, so that a corner of it hangs out
    turn = pose_from(Rotation.from_euler("xyz", [14, 8, -20], degrees=True), np.zeros(3))
    place = pose_from(Rotation.identity(), -(np.array(u.shape[::-1]) - 1) / 2)
    index_M_u = np.diag([1.3, 0.9, 1.0, 1.0]) @ turn @ place
    index_M_u[:3, 3] += middle - 0.5
    m_M_f = m_M_voxel @ index_M_u @ inverse(f_M_voxel)
    nearest = np.linalg.svd(m_M_f[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = nearest[0] @ nearest[2]
    centre = f_M_voxel @ [5.0, 6.0, 4.0, 1.0]
    rigid[:3, 3] = (m_M_f @ centre)[:3] - rigid[:3, :3] @ centre[:3]
    return Level(u, f_M_voxel), mr, m_M_voxel, rigid


def seen_by_twin(level, channels, m_M_voxel, m_M_f):
    """Intensity and gradient at every voxel of the level, by scipy; NaN outside."""
    k, j, i = np.indices(level.values.shape)
    at = np.stack([i, j, k, np.ones_like(i)], -1) @ (inverse(m_M_voxel) @ m_M_f @ level.f_M_voxel).T
    at = at[..., 2::-1].reshape(-1, 3).T
    return [
        map_coordinates(channels[..., c], at, order=1, mode="constant", cval=np.nan).reshape(i.shape)
        for c in range(2)
    ]


def lc2_twin(level, moving, m_M_voxel, m_M_f, edge=EDGE, *, with_g=True):
    """Sum of the variances and of what is left, patch by patch, by least squares."""
    channels = with_gradient(moving, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    p, g = seen_by_twin(level, channels, m_M_voxel, m_M_f)
    u = level.values
    variance, left, patches = 0.0, 0.0, 0
    for k, j, i in np.ndindex(*(max(-(-n // edge) - 1, 1) for n in u.shape)):
        box = tuple(slice(edge * a, edge * (a + 2)) for a in (k, j, i))
        known = np.isfinite(u[box] + p[box] + g[box])
        n = known.sum()
        if n < (2 * edge) ** 3 / 2:
            continue
        a = np.stack([p[box][known], g[box][known] if with_g else p[box][known], np.ones(n)], axis=1)
        b = u[box][known]
        rest = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
        variance, left, patches = variance + b.var(), left + (rest**2).sum() / n, patches + 1
    return variance, left, patches


def test_lc2_equals_least_squares_patch_by_patch(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    total = lc2_evaluate(level, mr, m_M_voxel, EDGE, pool)(m_M_f, True)
    variance, left, patches = lc2_twin(level, mr, m_M_voxel, m_M_f)
    assert 20 < patches < 5 * 6 * 5  # some hang out of the MR, most do not
    assert total[2] == patches
    assert_allclose(total[:2], [variance, left], rtol=1e-9)
    assert 0.05 < similarity(total) < 0.9
    # patches of other sides, and without the slope
    for edge in (1, 3):
        total = lc2_evaluate(level, mr, m_M_voxel, edge, pool)(m_M_f, False)
        assert_allclose(total[:3], lc2_twin(level, mr, m_M_voxel, m_M_f, edge), rtol=1e-9)
        assert not total[4:].any()


def test_voxels_without_data_never_count(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    total = lc2_evaluate(level, mr, m_M_voxel, EDGE, pool)(m_M_f, True)
    channels = with_gradient(mr, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    p, _ = seen_by_twin(level, channels, m_M_voxel, m_M_f)
    wild = replace(level, values=np.where(np.isnan(p), 1e4 * rng.normal(size=p.shape), level.values))
    assert np.isnan(p).any()
    far = lc2_evaluate(wild, mr, m_M_voxel, EDGE, pool)(m_M_f, True)
    assert_allclose(far[2:4], total[2:4])
    assert_allclose(far[:2], total[:2], rtol=1e-6)
    hidden = mr.copy()
    hidden[:, :, 9:] = np.nan
    fewer = lc2_evaluate(level, hidden, m_M_voxel, EDGE, pool)(m_M_f, True)
    assert 0 < fewer[2] < total[2]
    assert_allclose(fewer[:3], lc2_twin(level, hidden, m_M_voxel, m_M_f), rtol=1e-9)


def test_what_intensity_and_gradient_make_up_is_explained_wholly(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng, holes=0.0)
    channels = with_gradient(mr, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    p, g = seen_by_twin(level, channels, m_M_voxel, m_M_f)
    exact = Level(0.3 * p - 0.7 * g + 41.0, level.f_M_voxel)
    total = lc2_evaluate(exact, mr, m_M_voxel, EDGE, pool)(m_M_f, False)
    assert total[0] > 0
    assert_allclose(similarity(total), 1.0, atol=1e-9)
    beside = lc2_evaluate(exact, mr, m_M_voxel, EDGE, pool)(
        m_M_f @ pose_from(np.eye(3), [2.0, -1.0, 1.0]), False
    )
    assert similarity(beside) < 0.95


def test_lc2_does_not_depend_on_gain_and_offset_of_either(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    want = similarity(lc2_evaluate(level, mr, m_M_voxel, EDGE, pool)(m_M_f, False))
    for gain, offset in ((3.0, 200.0), (-0.2, 5.0)):
        louder = replace(level, values=gain * level.values + offset)
        for other in (mr, 700 - 2.5 * mr):
            got = similarity(lc2_evaluate(louder, other, m_M_voxel, EDGE, pool)(m_M_f, False))
            assert_allclose(got, want, rtol=1e-9)


def test_lc2_of_noise_stays_between_0_and_1_and_a_flat_mr_explains_nothing(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    for _ in range(5):
        noise = replace(level, values=rng.normal(size=level.values.shape))
        assert 0 < similarity(lc2_evaluate(noise, mr, m_M_voxel, EDGE, pool)(m_M_f, False)) < 0.5
    flat = np.full(mr.shape, 300.0)
    assert similarity(lc2_evaluate(level, flat, m_M_voxel, EDGE, pool)(m_M_f, False)) == 0.0
    # a ramp: the gradient is the same everywhere, its rounding explains nothing
    ramp = np.indices(mr.shape)[2] * 10.1
    total = lc2_evaluate(level, ramp, m_M_voxel, EDGE, pool)(m_M_f, True)
    assert_allclose(total[:3], lc2_twin(level, ramp, m_M_voxel, m_M_f, with_g=False), rtol=1e-9)
    assert np.isfinite(total).all()


def numeric_slope(evaluate, m_M_f, centre, step=1e-5):
    """Of what is not explained, by the six motions about the centre."""
    slope = []
    for axis in range(6):
        ends = []
        for sign in (-1, 1):
            motion = np.zeros(6)
            motion[axis] = sign * step
            turn = Rotation.from_rotvec(motion[:3])
            moved = m_M_f @ pose_from(turn, centre - turn.apply(centre) + motion[3:])
            ends.append(evaluate(moved, False)[1])
        slope.append((ends[1] - ends[0]) / (2 * step))
    return np.array(slope)


def test_the_slope_is_that_of_the_value(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    evaluate = lc2_evaluate(level, mr, m_M_voxel, EDGE, pool)
    total = evaluate(m_M_f, True)
    # the sum's slope is -2 of the kernel's, which is that of the step
    want = numeric_slope(evaluate, m_M_f, level.centre()[0])
    assert_allclose(-2 * total[4:10], want, rtol=1e-4, atol=1e-3 * np.abs(want).max())


def test_the_matrix_is_the_curvature_where_everything_is_explained(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng, holes=0.0)
    mr = gaussian_filter(mr, 1.5)
    channels = with_gradient(mr, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    p, g = seen_by_twin(level, channels, m_M_voxel, m_M_f)
    evaluate = lc2_evaluate(Level(0.4 * p + 0.9 * g, level.f_M_voxel), mr, m_M_voxel, EDGE, pool)
    total = evaluate(m_M_f, True)
    lower = total[10:].reshape(6, 6)
    matrix = lower + np.tril(lower, -1).T
    centre = level.centre()[0]
    for axis in range(6):
        motion = np.zeros(6)
        motion[axis] = 2e-4 if axis < 3 else 3e-3
        ends = []
        for sign in (-1, 1):
            turn = Rotation.from_rotvec(sign * motion[:3])
            moved = m_M_f @ pose_from(turn, centre - turn.apply(centre) + sign * motion[3:])
            ends.append(evaluate(moved, False)[1])
        assert_allclose(np.mean(ends), motion @ matrix @ motion, rtol=0.05)


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_the_value_is_the_same_for_any_number_of_threads(rng, pool, threads):
    level, mr, m_M_voxel, m_M_f = scene(rng)
    want = lc2_evaluate(level, mr, m_M_voxel, EDGE, pool)(m_M_f, True)
    with ThreadPoolExecutor(threads) as some:
        got = lc2_evaluate(level, mr, m_M_voxel, EDGE, Workers(some, threads))(m_M_f, True)
    assert_array_equal(got, want)


def test_a_climb_ends_on_the_top_and_never_goes_down(rng, pool):
    level, mr, m_M_voxel, m_M_f = scene(rng, holes=0.0)
    mr = gaussian_filter(mr, 1.0)
    channels = with_gradient(mr, np.linalg.norm(m_M_voxel[:3, :3], axis=0))
    p, g = seen_by_twin(level, channels, m_M_voxel, m_M_f)
    exact = Level(0.4 * p + 2.0 * g, level.f_M_voxel)
    evaluate = lc2_evaluate(exact, mr, m_M_voxel, EDGE, pool)
    start = m_M_f @ pose_from(Rotation.from_rotvec([0.02, -0.03, 0.01]), [0.4, -0.3, 0.2])
    away = climb(evaluate, exact, int, start, 40)
    assert away.value > similarity(evaluate(start, False))
    centre, reach = exact.centre()
    miss = inverse(m_M_f) @ away.m_M_f
    assert np.linalg.norm(miss[:3, :3] @ centre + miss[:3, 3] - centre) < 0.02
    assert Rotation.from_matrix(miss[:3, :3]).magnitude() * reach < 0.03
    assert 0 < away.loose_mm < 5
    assert climb(evaluate, exact, int, start, 1).steps == 1
    # where all is explained, a Gauss-Newton step about the right centre leaves a small share of the error
    one = inverse(m_M_f) @ climb(evaluate, exact, int, start, 1).m_M_f
    assert np.linalg.norm(one[:3, :3] @ centre + one[:3, 3] - centre) < 0.2
    assert Rotation.from_matrix(one[:3, :3]).magnitude() * reach < 0.15


def test_the_gradient_is_by_mm_along_each_axis():
    spacing = np.array([0.7, 1.9, 3.1])
    k, j, i = np.indices((6, 5, 7))
    ramp = np.stack([i, j, k], -1) * spacing @ [3.0, -4.0, 12.0]
    both = with_gradient(ramp, spacing)
    assert_array_equal(both[..., 0], ramp)
    assert_allclose(both[..., 1], 13.0, rtol=1e-9)


def test_smoothing_does_not_mix_in_what_is_not_known(rng):
    flat = np.where(rng.random((9, 8, 7)) < 0.3, np.nan, 12.5)
    smooth = smoothed(flat, np.array([0.5, 0.8, 1.1]), 2.0)
    assert np.isfinite(smooth).mean() > 0.9
    assert_allclose(smooth[np.isfinite(smooth)], 12.5, rtol=1e-12)


def test_a_level_keeps_a_ramp_where_it_is_and_nothing_where_there_was_nothing():
    f_M_voxel = pose_from(Rotation.from_euler("xyz", [5, 60, -20], degrees=True), [9.0, -4.0, 30.0])
    f_M_voxel = f_M_voxel @ np.diag([0.8, 0.5, 1.7, 1.0])
    k, j, i = np.indices((19, 33, 26))
    points = np.stack([i, j, k], -1) @ f_M_voxel[:3, :3].T + f_M_voxel[:3, 3]
    ramp = points @ [1.0, -2.0, 0.5] + 7
    ramp[:, :9] = np.nan
    level = at_level(ramp, f_M_voxel, 2.0)
    assert_allclose(np.linalg.norm(level.f_M_voxel[:3, :3], axis=0), 2.0)
    k, j, i = np.indices(level.values.shape)
    points = np.stack([i, j, k], -1) @ level.f_M_voxel[:3, :3].T + level.f_M_voxel[:3, 3]
    inner = np.s_[2:-2, 5:-3, 2:-2]  # smoothing bends a ramp at its ends
    assert_allclose(level.values[inner], (points @ [1.0, -2.0, 0.5] + 7)[inner], atol=0.02)
    first = np.argmax(np.isfinite(level.values[8, :, 5]))
    assert first in (2, 3)  # 9 voxels of 0.5 mm
    assert np.isnan(level.values[:, : first - 1]).all()
    # coarser than the level already: nothing is made up in between
    assert at_level(ramp, f_M_voxel, 0.5).values.shape == ramp.shape[:1] + (33, 26)
    assert_array_equal(np.isnan(smoothed(ramp, np.full(3, 0.5), 0.5)), np.isnan(ramp))


def ssc_twin(values, distance, sigma, truncate):
    """Voxel by voxel."""
    reach = int(truncate * sigma + 0.5)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights = np.einsum("i,j,k->ijk", taps, taps, taps) / taps.sum() ** 3
    ways = np.array([(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0)]) * distance
    d = np.zeros((*values.shape, 12))

    def at(place):
        inside = [min(max(q, 0), n - 1) for q, n in zip(place, values.shape, strict=True)]
        return values[tuple(inside)]

    channel = 0
    for a in range(6):
        for b in range(a + 1, 6):
            if not (ways[a] + ways[b]).any():
                continue
            apart = np.empty(values.shape)
            for place in np.ndindex(values.shape):
                apart[place] = (at(place + ways[a]) - at(place + ways[b])) ** 2
            d[..., channel] = correlate(apart, weights, mode="reflect")
            channel += 1
    d -= d.min(axis=-1, keepdims=True)
    v = d.mean(axis=-1, keepdims=True)
    return np.exp(-d / np.clip(v, 1e-3 * v.mean(), 1e3 * v.mean()))


def test_the_descriptor_equals_its_definition(rng):
    values = rng.normal(size=(5, 4, 6))
    assert len(PAIRS) == 12
    got = self_similarity(values, distance=1)
    assert_allclose(got, ssc_twin(values, 1, 1.5, 2), atol=1e-6)
    assert_allclose(got.max(axis=-1), 1.0)
    values[0, 0, 0] = np.nan
    assert np.isnan(self_similarity(values, distance=1)[0, 0, 0]).any()


def test_the_slope_of_the_descriptors_difference(rng, pool):
    from navkit.registration._lc2_kernels import TOTAL, difference_slices

    level = scene(rng, holes=0.0)[0]
    fixed = self_similarity(level.values)
    channels = gaussian_filter(rng.random((17, 14, 21, 12)), (1, 1, 1, 0))
    index_M_f = np.diag([1.203, 0.9071, 1.1037, 1.0]) @ inverse(
        level.f_M_voxel
    )  # no place on the lattice, where the
    index_M_f[:3, 3] += [3.317, 1.443, 4.229]  # slope jumps

    def evaluate(m_M_f, slope):
        out = np.zeros((len(fixed), TOTAL))
        at = chained(index_M_f @ m_M_f, level)
        difference_slices(fixed, channels, at, offsets(level), slope, 0, len(fixed), out)
        return out.sum(axis=0)

    total = evaluate(np.eye(4), True)
    assert total[3] > 500
    assert total[0] == 12 * total[3]
    want = numeric_slope(evaluate, np.eye(4), level.centre()[0], step=1e-6)
    assert_allclose(-2 * total[4:10], want, rtol=1e-4, atol=1e-3 * np.abs(want).max())
    k, j, i = np.argwhere(np.isfinite(fixed[..., 0]))[100]
    at = (index_M_f @ level.f_M_voxel @ [i, j, k, 1])[2::-1]
    there = [map_coordinates(channels[..., c], at[:, None], order=1)[0] for c in range(12)]
    only = np.full_like(fixed, np.nan)
    only[k, j, i] = fixed[k, j, i]
    out = np.zeros((len(fixed), TOTAL))
    difference_slices(only, channels, chained(index_M_f, level), offsets(level), False, 0, len(fixed), out)
    assert_allclose(out[:, 1].sum(), ((fixed[k, j, i] - there) ** 2).sum(), rtol=1e-6)
