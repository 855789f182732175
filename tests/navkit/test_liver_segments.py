"""Couinaud's segments: all eight, each where the scheme puts it, around the liver's own landmarks."""

import numpy as np
import pytest

from navkit.phantoms import kidney, liver, liver_segment

NEIGHBOURS = {(2, 3), (2, 4), (3, 4), (4, 8), (4, 5), (5, 8), (5, 6), (7, 8), (6, 7)}


@pytest.fixture(scope="module", params=[0, 6])
def case(request):
    organ = liver(seed=request.param)
    axes = [np.arange(a, b, 3.0) for a, b in zip(organ.low, organ.high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return organ, points, liver_segment(organ, points.reshape(-1, 3)).reshape(points.shape[:-1])


def test_all_eight_are_there_in_the_liver_and_nowhere_else(case):
    organ, points, segment = case
    inside = organ.part("liver").shape(points) < 0
    assert np.array_equal(segment > 0, inside)
    assert set(np.unique(segment)) == set(range(9))
    share = np.bincount(segment[inside], minlength=9)[1:] / inside.sum()
    assert share.min() > 0.01
    right = share[[4, 5, 6, 7]].sum()
    assert 0.45 < right < 0.8  # the right lobe is the larger one


def test_they_lie_as_in_the_scheme(case):
    _, points, segment = case
    middle = {k: points[segment == k].mean(axis=0) for k in range(1, 9)}
    x, z = ({k: m[axis] for k, m in middle.items()} for axis in (0, 2))
    assert min(x[2], x[3]) > x[4] > max(x[5], x[8])  # from the left to the right
    assert z[2] > z[3] + 10
    assert min(z[7], z[8]) > max(z[5], z[6]) + 20
    # 6 and 7 lie behind 5 and 8
    assert min(middle[6][1], middle[7][1]) > max(middle[5][1], middle[8][1])


def test_only_those_meet_that_are_neighbours_in_the_scheme(case):
    _, _, segment = case
    met = set()
    for axis in range(3):
        a, b = np.moveaxis(segment, axis, 0)[:-1].ravel(), np.moveaxis(segment, axis, 0)[1:].ravel()
        pairs = np.unique(np.sort(np.stack([a, b], axis=1)[(a != b) & (a > 1) & (b > 1)], axis=1), axis=0)
        met |= {tuple(int(v) for v in pair) for pair in pairs}
    # at an edge where four regions meet, a grid steps across the corner
    assert met >= NEIGHBOURS
    assert met <= NEIGHBOURS | {(3, 8), (2, 5), (5, 7), (6, 8)}


def test_landmarks_are_on_the_borders_they_define(case):
    organ, _, _ = case
    fundus = np.array(organ.landmarks["gallbladder fundus"])
    cava = organ.centrelines["vena cava"]
    at = np.array([np.interp(fundus[2], cava[:, 2], cava[:, k]) for k in (0, 1)])
    way = fundus[:2] - at
    beside = np.array([-way[1], way[0]]) / np.linalg.norm(way)
    middle = np.append(at + 0.6 * way, 12.0)
    beside = np.append(beside if beside[0] > 0 else -beside, 0)
    assert liver_segment(organ, [middle + 3 * beside, middle - 3 * beside]).tolist() == [4, 8]


def test_another_organ_is_refused():
    with pytest.raises(ValueError, match="kidney is no liver"):
        liver_segment(kidney(), [(0, 0, 0)])
