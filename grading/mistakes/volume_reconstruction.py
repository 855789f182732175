"""Named mistakes of the lesson on volume reconstruction, with the words that each must earn."""

import numpy as np

from navcourse.grading.mistakes import also_correct, mistake

# -- pixel_to_reference --------------------------------------------------------------------------


def placed(across, down, pr_M_t):
    """Points in pr, of millimetres to the right and down in the picture."""
    points_t = np.stack([0 * across, -across, down], axis=1)
    return points_t @ pr_M_t[:3, :3].T + pr_M_t[:3, 3]


@mistake("pixel_to_reference", says="row and column swapped")
def row_for_column(px, pr_M_t, spacing_mm, origin_p):
    row, column = px.T
    across, down = (column - origin_p[0]) * spacing_mm[0], (row - origin_p[1]) * spacing_mm[1]
    return placed(across, down, pr_M_t)


@mistake("pixel_to_reference", says="a missing minus")
def mirrored(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(-across, down, pr_M_t)


@mistake("pixel_to_reference", says="rows that count upwards")
def upside_down(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(across, -down, pr_M_t)


@mistake("pixel_to_reference", says="a forgotten origin_p")
def no_origin(px, pr_M_t, spacing_mm, origin_p):
    across, down = (px * spacing_mm).T
    return placed(across, down, pr_M_t)


@mistake("pixel_to_reference", says="the spacing is missing")
def pixels_as_millimetres(px, pr_M_t, spacing_mm, origin_p):
    across, down = (px - origin_p).T
    return placed(across, down, pr_M_t)


@mistake("pixel_to_reference", says="the width of a pixel taken for its height")
def spacing_swapped(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm[::-1]).T
    return placed(across, down, pr_M_t)


@mistake("pixel_to_reference", says="the inverse pose")
def the_inverse_pose(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(across, down, np.linalg.inv(pr_M_t))


@mistake("pixel_to_reference", says="still in t")
def no_pose(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(across, down, np.eye(4))


@mistake("pixel_to_reference", says="a pose without its translation")
def no_translation(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(across, down, pr_M_t) - pr_M_t[:3, 3]


@mistake("pixel_to_reference", says="a transposed rotation")
def rows_without_transpose(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    points_t = np.stack([0 * across, -across, down], axis=1)
    return points_t @ pr_M_t[:3, :3] + pr_M_t[:3, 3]


@mistake("pixel_to_reference", says="a picture in the plane z_t = 0")
def picture_in_xy(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    points_t = np.stack([across, down, 0 * across], axis=1)
    return points_t @ pr_M_t[:3, :3].T + pr_M_t[:3, 3]


@mistake("pixel_to_reference", says="Are rows and columns swapped?")
def points_in_columns(px, pr_M_t, spacing_mm, origin_p):
    across, down = ((px - origin_p) * spacing_mm).T
    return placed(across, down, pr_M_t).T


# -- nearest_voxel_mean --------------------------------------------------------------------------


def inside_of(ijk, shape):
    return np.all((ijk >= 0) & (ijk < np.array(shape)[::-1]), axis=1)


def averaged(values, ijk, shape):
    """The right mean of points that are all inside, whole indices x, y, z."""
    i, j, k = ijk.T
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (k, j, i), values)
    np.add.at(count, (k, j, i), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def kept(values, ijk):
    """Voxel (k, j, i) -> the list of its values, in order."""
    held = {}
    for value, (i, j, k) in zip(values, ijk.tolist(), strict=True):
        held.setdefault((k, j, i), []).append(value)
    return held


def nearest(values, voxels, shape):
    ijk = np.rint(voxels).astype(int)
    keep = inside_of(ijk, shape)
    return values[keep], ijk[keep]


@mistake("nearest_voxel_mean", says="indices cut off instead of rounded")
def truncates(values, voxels, shape):
    ijk = voxels.astype(int)
    keep = inside_of(ijk, shape)
    return averaged(values[keep], ijk[keep], shape)


@mistake("nearest_voxel_mean", says="floor instead of the nearest")
def floors(values, voxels, shape):
    ijk = np.floor(voxels).astype(int)
    keep = inside_of(ijk, shape)
    return averaged(values[keep], ijk[keep], shape)


@mistake("nearest_voxel_mean", says="the sum instead of the mean")
def the_sum(values, voxels, shape):
    values, ijk = nearest(values, voxels, shape)
    total = np.zeros(shape)
    np.add.at(total, tuple(ijk.T[::-1]), values)
    return np.where(np.isnan(averaged(values, ijk, shape)), np.nan, total)


@mistake("nearest_voxel_mean", says="the last value instead of the mean")
def the_last(values, voxels, shape):
    values, ijk = nearest(values, voxels, shape)
    grid = np.full(shape, np.nan)
    grid[tuple(ijk.T[::-1])] = values
    return grid


@mistake("nearest_voxel_mean", says="the largest value instead of the mean")
def the_maximum(values, voxels, shape):
    grid = np.full(shape, np.nan)
    for at, several in kept(*nearest(values, voxels, shape)).items():
        grid[at] = max(several)
    return grid


@mistake("nearest_voxel_mean", says="0 where there is no data")
def zero_for_no_data(values, voxels, shape):
    return np.nan_to_num(averaged(*nearest(values, voxels, shape), shape))


@mistake("nearest_voxel_mean", says="axes in the order x, y, z")
def axes_x_y_z(values, voxels, shape):
    return averaged(*nearest(values, voxels, shape), shape).T


@mistake("nearest_voxel_mean", says="a negative index that came in again")
def wraps_around(values, voxels, shape):
    ijk = np.rint(voxels).astype(int)
    keep = np.all(ijk < np.array(shape)[::-1], axis=1)
    return averaged(values[keep], ijk[keep], shape)


@mistake("nearest_voxel_mean", says="points outside pushed onto the border")
def clips(values, voxels, shape):
    ijk = np.clip(np.rint(voxels).astype(int), 0, np.array(shape)[::-1] - 1)
    return averaged(values, ijk, shape)


@mistake("nearest_voxel_mean", says="your function stopped with IndexError")
def forgets_the_outside(values, voxels, shape):
    return averaged(values, np.rint(voxels).astype(int), shape)


@mistake("nearest_voxel_mean", says="a sum in one byte")
def sums_in_bytes(values, voxels, shape):
    values, ijk = nearest(values, voxels, shape)
    total, count = np.zeros(shape, values.dtype), np.zeros(shape)
    np.add.at(total, tuple(ijk.T[::-1]), values)
    np.add.at(count, tuple(ijk.T[::-1]), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@mistake("nearest_voxel_mean", says="the last value instead of the mean")
def repeated_index_counts_once(values, voxels, shape):
    values, ijk = nearest(values, voxels, shape)
    at = tuple(ijk.T[::-1])
    total, count = np.zeros(shape), np.zeros(shape)
    total[at] += values
    count[at] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- other ways that are right ------------------------------------------------------------------


@also_correct("pixel_to_reference")
def by_one_matrix(px, pr_M_t, spacing_mm, origin_p):
    """One matrix carries (column, row, 0, 1) all the way."""
    t_M_px = np.array(
        [
            [0, 0, 1, 0],
            [-spacing_mm[0], 0, 0, spacing_mm[0] * origin_p[0]],
            [0, spacing_mm[1], 0, -spacing_mm[1] * origin_p[1]],
            [0, 0, 0, 1],
        ]
    )
    pixels = np.column_stack([px, np.zeros(len(px)), np.ones(len(px))])
    return (pr_M_t @ t_M_px @ pixels.T).T[:, :3]


@also_correct("nearest_voxel_mean")
def by_counting_bins(values, voxels, shape):
    """One number for each voxel, then two histograms."""
    values, ijk = nearest(values, voxels, shape)
    bins = np.ravel_multi_index(tuple(ijk.T[::-1]), shape)
    size = int(np.prod(shape))
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, values, size) / np.bincount(bins, minlength=size)
    return mean.reshape(shape)
