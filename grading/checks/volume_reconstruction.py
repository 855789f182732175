"""Hidden checks of the lesson on volume reconstruction."""

import numpy as np
from scipy.spatial.transform import Rotation

from navcourse.grading.judge import Case, hidden
from navkit.checking import close
from navkit.geometry import inverse, pose_from, transform_points


@hidden("pixel_to_reference")
def pixel_to_reference(rng):
    tilted = Rotation.from_rotvec(rng.choice([-1, 1], size=3) * rng.uniform(0.4, 0.9, size=3))
    place = rng.choice([-1, 1], size=3) * rng.uniform(30.0, 150.0, size=3)
    for title, rotation, shift, n in (
        ("a probe that only moved", Rotation.identity(), place, 4),
        ("a probe that only turned", tilted, np.zeros(3), 4),
        ("a tilted probe away from the origin", tilted, place, 6),
        ("one single pixel", tilted.inv(), place[::-1], 1),
        ("many pixels", tilted * tilted, -place, 500),
    ):
        origin_p = rng.uniform([90.0, 8.0], [140.0, 30.0])
        # at least 15 pixels off the origin on both axes: no mistake hides in a zero
        away = rng.uniform(15.0, 110.0, size=(n, 2)) * rng.choice([-1, 1], size=(n, 2))
        px = origin_p + np.round(away)
        sx = rng.uniform(0.1, 0.3)
        spacing_mm = np.array([sx, sx * rng.uniform(1.3, 1.7)])
        pr_M_t = pose_from(rotation, shift)
        yield Case(title, (px, pr_M_t, spacing_mm, origin_p), points_are(px, pr_M_t, spacing_mm, origin_p))


def in_tool(off_p, spacing_mm):
    """Points (n, 3) in t of pixels counted from the origin (n, 2)."""
    across, down = (off_p * spacing_mm).T
    return np.stack([0 * across, -across, down], axis=1)


def points_are(px, pr_M_t, spacing_mm, origin_p):
    off_p = px - origin_p
    points_t = in_tool(off_p, spacing_mm)
    wrong_t = {
        "a missing minus: y_t points to the left in the picture": points_t * [1, -1, 1],
        "rows that count upwards": points_t * [1, 1, -1],
        "row and column swapped": in_tool(px[:, ::-1] - origin_p, spacing_mm),
        "pixels taken for millimetres (the spacing is missing)": in_tool(off_p, 1.0),
        "the width of a pixel taken for its height": in_tool(off_p, spacing_mm[::-1]),
        "a forgotten origin_p": in_tool(px, spacing_mm),
        "a picture in the plane z_t = 0 instead of x_t = 0": points_t[:, [1, 2, 0]] * [-1, 1, 1],
    }
    likely = {name: transform_points(pr_M_t, wrong) for name, wrong in wrong_t.items()}
    likely |= {
        "the inverse pose, t_M_pr": transform_points(inverse(pr_M_t), points_t),
        "points that are still in t": points_t,
        "a pose without its translation": points_t @ pr_M_t[:3, :3].T,
        "a transposed rotation (points in rows need R.T)": points_t @ pr_M_t[:3, :3] + pr_M_t[:3, 3],
    }

    def verify(answer):
        close(
            answer, transform_points(pr_M_t, points_t), atol=1e-3, unit="mm", what="the points", likely=likely
        )

    return verify


@hidden("nearest_voxel_mean")
def nearest_voxel_mean(rng):
    shape = tuple(int(n) for n in rng.permutation([4, 6, 9]))
    size = np.array(shape[::-1])

    def inside(n):
        """Points in the grid, clear of the border between two voxels, several to some voxels."""
        corner = rng.integers(0, size, size=(n, 3))
        corner[1::2] = corner[::2][: n // 2]  # every other point shares a voxel with the one before
        return corner + rng.uniform(0.15, 0.45, size=(n, 3)) * rng.choice([-1, 1], size=(n, 3))

    def outside(n):
        """Points whose nearest voxel lies one or two beyond the grid on one axis, low and high in turn."""
        points = inside(n)
        for row, axis in enumerate(rng.integers(0, 3, size=n)):
            beyond = rng.uniform(0.6, 1.4)
            points[row, axis] = -beyond if row % 2 else size[axis] - 1 + beyond
        return points

    def grey(n):
        return rng.permutation(np.linspace(20.0, 250.0, n))

    def case(title, values, voxels):
        return Case(title, (values, voxels, shape), mean_is(values, voxels, shape))

    middle = size // 2 + rng.uniform(-0.4, 0.4, size=(3, 3))
    yield case("three points in one voxel", np.array([20.0, 200.0, 65.0]), middle)
    yield case("points between the centres of voxels", grey(40), inside(40))
    low = outside(20)
    order = rng.permutation(60)
    yield case("points outside the grid", grey(60)[order], np.concatenate([inside(40), low])[order])
    crowd = rng.permutation(np.concatenate([inside(150), outside(30)]))
    yield case("a crowd of points", grey(180), crowd)
    bright = rng.integers(150, 256, size=120).astype(np.uint8)
    yield case("grey values of one byte", bright, inside(120))


def pasted(values, voxels, shape, *, index=np.rint, rule="mean", border="ignore"):
    """The grid by a plain loop, right or wrong in a known way; None where the mistake stops."""
    held = {}
    for value, where in zip(values.tolist(), index(voxels).astype(int).tolist(), strict=True):
        i, j, k = where
        if border == "clip":
            i, j, k = (min(max(w, 0), n - 1) for w, n in zip((i, j, k), shape[::-1], strict=True))
        lowest = [-n for n in shape] if border == "wrap" else [0, 0, 0]
        if all(low <= w < n for low, w, n in zip(lowest, (k, j, i), shape, strict=True)):
            held.setdefault((k % shape[0], j % shape[1], i % shape[2]), []).append(value)
    rules = {
        "mean": lambda v: sum(v) / len(v),
        "sum": sum,
        "max": max,
        "last": lambda v: v[-1],
        "first": lambda v: v[0],
        "median": np.median,
        "byte": lambda v: sum(v) % 256 / len(v),
    }
    grid = np.full(shape, np.nan)
    for (k, j, i), several in held.items():
        grid[k, j, i] = rules[rule](several)
    return grid


def mean_is(values, voxels, shape):
    mean = pasted(values, voxels, shape)
    likely = {
        "the sum instead of the mean": pasted(values, voxels, shape, rule="sum"),
        "the last value instead of the mean": pasted(values, voxels, shape, rule="last"),
        "the largest value instead of the mean": pasted(values, voxels, shape, rule="max"),
        "the first value instead of the mean": pasted(values, voxels, shape, rule="first"),
        "the median instead of the mean": pasted(values, voxels, shape, rule="median"),
        "0 where there is no data: 0 is a grey value, NaN is none": np.nan_to_num(mean),
        "indices cut off instead of rounded to the nearest": pasted(values, voxels, shape, index=np.trunc),
        "floor instead of the nearest": pasted(values, voxels, shape, index=np.floor),
        "axes in the order x, y, z instead of z, y, x": mean.T,
        "a negative index that came in again at the other end": pasted(values, voxels, shape, border="wrap"),
        "points outside pushed onto the border": pasted(values, voxels, shape, border="clip"),
    }
    if values.dtype == np.uint8:
        likely["a sum in one byte, which starts again at 256"] = pasted(values, voxels, shape, rule="byte")

    def verify(answer):
        close(answer, mean, atol=1e-3, what="the mean of each voxel", likely=likely)

    return verify
