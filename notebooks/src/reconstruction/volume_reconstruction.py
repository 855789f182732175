# ---
# title: "Volume reconstruction: from tracked frames to a volume"
# minutes: 45
# needs: []
# objectives:
#   - Place any pixel of a tracked frame in the patient reference
#   - Average the pixels that fall into each voxel, and leave the other voxels empty
#   - Choose a voxel size, and tell measured voxels from filled ones
#   - Recognise a volume that looks sharp and is wrong
# data: [wire_cross_sweep]
# custusx: "the step Acquisition: record a sweep, then reconstruct it; algorithm pnn, orientation MiddleFrame"
# summary: You turn a freehand sweep of two crossed wires into a volume, and measure what the volume is worth.
# ---

# %% [markdown]
# ## In the room
#
# A vessel runs behind the tumour. One ultrasound picture shows it as a bright dot, and a dot does not say where
# the vessel goes. So you sweep the probe, and the platform builds a volume that you can cut in any direction.
#
# What goes wrong: a volume can be sharp and false. A mirrored picture or a forgotten latency leaves no hole and
# no blur. You navigate, with confidence, to the wrong place.
#
# ```text
#   tracked frames       a point for each pixel       a value for each voxel       holes filled
#   picture + pose  -->  Exercise 1              -->  Exercise 2              -->  guesses, marked
# ```

# %% [markdown]
# ## Spaces
#
# | symbol | what it is | unit | where it comes from |
# |---|---|---|---|
# | `p` | pixel: column, row (downwards); centres at whole numbers | pixel | the picture |
# | `t` | tool: `z` along the beam, `y` to the left in the picture | mm | the probe's geometry |
# | `pr` | patient reference | mm | tracked reference frame |
# | `d` | the volume's own space: voxel (0, 0, 0) at its origin | mm | the output grid |
# | `pr_M_t` | tool to patient reference, one for each frame | mm | tracking, calibration |
# | `t_M_p` | pixel to tool | mm a pixel | origin and spacing |
#
# `pr_M_p = pr_M_t @ t_M_p`: letters that meet are the same, and cancel.

# %% [markdown]
# ## Setup
#
# Two wires cross in a water bath. If the real CustusX recording is on this machine, you work with it. If not, you
# work with a simulated sweep of the same geometry. All numbers below are computed from the one you have.

# %%
from dataclasses import replace

import numpy as np

from navkit import datasets, files
from navkit.checking import check, close
from navkit.geometry import inverse, transform_points
from navkit.reconstruction import measure_wire_cross, output_grid, reconstruct
from navkit.viewing import compare_slices, frames_in_space, show, voxel_shares, wires_in_their_plane

recording = datasets.recording("custusx/angio_lab_256x192")
folder = recording or datasets.make("wire_cross_sweep")
sweep = files.read_acquisition(folder)
seen_pr = np.array([137.3, 134.5, 100.3] if recording else [134.21, 134.34, 100.14])  # where the wires cross
print("real recording" if recording else "simulated sweep", *sweep.notes, sep="; ")

# %% [markdown]
# ## Idea: a frame is a thin sheet in space
#
# A frame is a picture with a pose. In the tool's space the picture is the plane `x_t = 0`. The pose `pr_M_t` puts
# this plane into the room: one sheet for each moment of the sweep. Nobody measured anything between two sheets.
#
# The figure draws a few sheets, and the bright pixels of *all* frames. In each single picture a wire is one bright
# spot, or a short line. What do you expect to see when every spot stands where its pose puts it?

# %%
some = np.flatnonzero(sweep.valid)[::15]
show(
    frames_in_space(sweep, some, brighter_than=200, deeper_than_mm=3.0),
    "Tilted rectangles stand one behind the other like loose pages, the probe at their upper edge. "
    "Most bright pixels gather along two lines that cross in the upper half; in the real recording "
    "some stray echoes lie apart.",
)
centres = transform_points(sweep.pr_M_p[sweep.valid], [*sweep.sector.origin_p, 0.0])
gap_mm = np.linalg.norm(np.diff(centres, axis=0), axis=1)
print(f"{sweep.valid.sum()} frames with a pose; a pixel is {sweep.sector.spacing_mm[0]:.2f} mm wide.")
print(f"Between frames the probe moves {np.median(gap_mm):.2f} mm (median), {gap_mm.max():.2f} mm at most.")

# %% [markdown] instructor=true
# 8 minutes to here. Ask: "Which is coarser, the pixels in a frame or the frames in space?" Most groups say the
# pixels. The printed gaps say the frames, and they are uneven: a hand does not move like a motor.

# %% [markdown]
# ## Exercise: from pixel to room
#
# The wires stand out although no volume exists yet: good poses do most of the work. Now do that step yourself.
#
# Write `pixel_to_reference(px, pr_M_t, spacing_mm, origin_p)`.
#
# - `px` (n, 2): pixels, **column first**, then row
# - `pr_M_t` (4, 4): the pose of the frame, mm
# - `spacing_mm` (2,): width and height of a pixel, mm
# - `origin_p` (2,): column and row of the origin of `t`
#
# Return the points (n, 3) in `pr`, mm. CustusX puts pixel (c, r) at `(0, -(c - c0) sx, (r - r0) sy)` in `t`.

# %% [markdown] hint="pixel_to_reference"
# Two steps. First the points in `t`: three columns, of which the first is zero. Then the pose: rotate and shift.

# %% [markdown] hint="pixel_to_reference"
# `across = (px[:, 0] - origin_p[0]) * spacing_mm[0]`, and `down` in the same way from the rows.
# Stack `0`, `-across`, `down` with `np.stack([...], axis=1)`. `transform_points(pr_M_t, points_t)` does the rest.


# %% exercise="pixel_to_reference"
def pixel_to_reference(px, pr_M_t, spacing_mm, origin_p):
    """Points (n, 3) in pr, mm, of the pixels `px` (n, 2), column first, of a frame with the pose `pr_M_t`."""
    px = np.asarray(px, dtype=float)
    ### BEGIN SOLUTION
    across = (px[:, 0] - origin_p[0]) * spacing_mm[0]
    down = (px[:, 1] - origin_p[1]) * spacing_mm[1]
    points_t = np.stack([np.zeros(len(px)), -across, down], axis=1)
    return points_t @ pr_M_t[:3, :3].T + pr_M_t[:3, 3]
    ### END SOLUTION


# %% check="pixel_to_reference" points=2
@check("a probe that stands at the origin of pr")
def at_the_origin(pixel_to_reference):
    px = np.array([[10.0, 4.0], [13.0, 9.0], [2.0, 5.0], [11.0, 7.0]])
    points = np.array([[0.0, 0.0, 0.0], [0.0, -0.6, 2.0], [0.0, 1.6, 0.4], [0.0, -0.2, 1.2]])
    close(
        pixel_to_reference(px, np.eye(4), np.array([0.2, 0.4]), np.array([10.0, 4.0])),
        points,
        atol=1e-3,
        unit="mm",
        what="the points",
        likely={
            "a missing minus: y_t points to the left in the picture": points * [1, -1, 1],
            "row and column swapped": [[0, 1.2, 2.4], [0, 0.2, 3.6], [0, 1.0, -0.8], [0, 0.6, 2.8]],
            "pixels taken for millimetres (the spacing is missing)": points / [1, 0.2, 0.4],
            "a forgotten origin_p": points + [0, -2.0, 1.6],
            "a picture in the plane z_t = 0 instead of x_t = 0": np.roll(points * [1, -1, 1], -1, axis=1),
        },
    )


@check("a frame of the sweep")
def a_frame_of_the_sweep(pixel_to_reference):
    sector = sweep.sector
    pr_M_t = sweep.pr_M_p[some[1]] @ inverse(sector.t_M_p())
    px = np.array([[45.0, 20.0], [180.0, 31.0], [101.5, 166.0]])
    points_t = sector.pixels_to_tool(px)
    mirrored_t = points_t * [1, -1, 1]
    close(
        pixel_to_reference(px, pr_M_t, np.array(sector.spacing_mm), np.array(sector.origin_p)),
        transform_points(pr_M_t, points_t),
        atol=1e-3,
        unit="mm",
        what="the points",
        likely={
            "the inverse pose, t_M_pr": transform_points(inverse(pr_M_t), points_t),
            "points that are still in t": points_t,
            "a pose without its translation": points_t @ pr_M_t[:3, :3].T,
            "a missing minus: y_t points to the left in the picture": transform_points(pr_M_t, mirrored_t),
        },
    )


at_the_origin(pixel_to_reference)
a_frame_of_the_sweep(pixel_to_reference)

# %% [markdown]
# ## Idea: the grid comes before the pixels
#
# Before a pixel falls, you decide where the voxels lie: the axes (CustusX: those of the middle frame), a box around
# all frames, and the voxel size. Half the size means eight times the voxels, and the sweep brings no more pixels.
# Voxels that no pixel hits are **holes**. CustusX fills a hole with the mean of the smallest cube around it that
# holds data.
#
# What do you expect at 0.5, 0.25 and 0.15 mm: which share of the voxels is measured, and which is guessed?
# The second figure shows one slice before and after filling. Can you tell guesses from data on its right side?

# %%
volumes = {}
for size_mm in (0.5, 0.25, 0.15):
    grid = output_grid(sweep, spacing_mm=size_mm)
    volumes[f"{size_mm} mm"] = volume = reconstruct(sweep, grid, fill="custusx")
    memory = sum(part.nbytes for part in (volume.values, volume.weight, volume.filled)) / 1e6
    hit, guessed = np.mean(volume.weight > 0), np.mean(volume.filled)
    print(f"{size_mm:4} mm: {volume.values.size / 1e6:4.1f} million voxels, {memory:3.0f} MB;", end=" ")
    print(f"{1 - hit:3.0%} empty: {guessed:3.0%} then filled, {1 - hit - guessed:3.0%} out of reach")
show(
    voxel_shares(volumes, title="Where the values of a volume come from"),
    "Three bars, one for each voxel size. From 0.5 to 0.15 mm the measured share falls to a small "
    "rest, the filled share grows, and the share without data, outside the sheets, hardly changes.",
)

# %%
filled = volumes["0.25 mm"]
measured = replace(filled, values=np.where(filled.filled, np.nan, filled.values))
show(
    compare_slices({"measured": measured, "after filling": filled}, seen_pr, plane="xz", within_mm=10.0),
    "The same slice twice, across the frames, 0.25 mm voxels. Left: flat blue-grey stripes without data "
    "between the frames. Right: the stripes are gone and the wires look continuous.",
)
ratio = filled.filled.sum() / (filled.weight > 0).sum()
print(f"In this volume, {ratio:.2f} voxels are guessed for each one that was measured.")

# %% [markdown] instructor=true
# 10 minutes. Groups believe that smaller voxels show more. Ask: "Where did the detail in the 0.15 mm volume come
# from?" From the filling: the picture in a sheet has fixed pixels, and between sheets there is nothing.
# If time is left, let them try `orientation="reference"` in `output_grid`: the same sweep, a larger box.

# %% [markdown]
# ## Exercise: the mean of each voxel
#
# A voxel size near the gap between frames is honest; smaller voxels hold guesses. Now paste pixels yourself.
#
# Write `nearest_voxel_mean(values, voxels, shape)`: pixel nearest neighbour (PNN) with the mean.
#
# - `values` (n,): grey values, as numbers of any kind, `uint8` too
# - `voxels` (n, 3): where each of them falls, in continuous voxel indices **x, y, z**
# - `shape`: three numbers, **(nz, ny, nx)**
#
# Return an array of this shape: the mean of the values whose nearest voxel it is, NaN where none fell.
# A point whose nearest voxel is not in the grid is left out.

# %% [markdown] hint="nearest_voxel_mean"
# Round first, then ask which points are inside: `0 <= index < size` on all three axes. Then collect, for each voxel,
# a sum and a count. A voxel with count 0 has no mean.

# %% [markdown] hint="nearest_voxel_mean"
# `ijk = np.rint(voxels).astype(int)` gives x, y, z, and `np.array(shape)[::-1]` their sizes. With the inside points,
# `np.add.at(total, (k, j, i), value)` adds also where an index repeats; `total[k, j, i] += value` does not.


# %% exercise="nearest_voxel_mean"
def nearest_voxel_mean(values, voxels, shape):
    """Mean (nz, ny, nx) of the `values` (n,) that fall into each voxel; NaN where none does.

    `voxels` (n, 3) are continuous indices x, y, z; `shape` is (nz, ny, nx); points outside are left out.
    """
    values = np.asarray(values)
    voxels = np.asarray(voxels, dtype=float)
    ### BEGIN SOLUTION
    ijk = np.rint(voxels).astype(int)
    inside = np.all((ijk >= 0) & (ijk < np.array(shape)[::-1]), axis=1)
    i, j, k = ijk[inside].T
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (k, j, i), values[inside])
    np.add.at(count, (k, j, i), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
    ### END SOLUTION


# %% check="nearest_voxel_mean" points=3
empty = np.full((2, 3, 4), np.nan)


def with_values(at_310, at_121):
    """The grid with two values: at x, y, z = 3, 1, 0 and at 1, 2, 1."""
    grid_values = empty.copy()
    grid_values[0, 1, 3], grid_values[1, 2, 1] = at_310, at_121
    return grid_values


three_and_one = np.array([[2.8, 0.9, 0.2], [3.4, 1.3, -0.3], [3.1, 0.6, 0.4], [0.7, 2.2, 1.4]])


@check("three points in one voxel, one in another")
def three_points_in_one(nearest_voxel_mean):
    mean = with_values(150.0, 80.0)
    cut = empty.copy()
    cut[0, 0, 2], cut[0, 1, 3], cut[0, 0, 3], cut[1, 2, 0] = 140.0, 200.0, 110.0, 80.0
    floored = cut.copy()
    floored[0, 1, 3] = np.nan
    close(
        nearest_voxel_mean(np.array([140, 200, 110, 80], dtype=np.uint8), three_and_one, (2, 3, 4)),
        mean,
        atol=1e-3,
        what="the mean of each voxel",
        likely={
            "the sum instead of the mean": with_values(450.0, 80.0),
            "the last value instead of the mean": with_values(110.0, 80.0),
            "the largest value instead of the mean": with_values(200.0, 80.0),
            "the first value instead of the mean": with_values(140.0, 80.0),
            "a sum in one byte, which starts again at 256": with_values(194.0 / 3, 80.0),
            "0 where there is no data: 0 is a grey value, NaN is none": np.nan_to_num(mean),
            "indices cut off instead of rounded to the nearest": cut,
            "floor instead of the nearest": floored,
            "axes in the order x, y, z instead of z, y, x": mean.T,
        },
    )


@check("points outside the grid")
def points_outside(nearest_voxel_mean):
    outside = np.array([[-0.8, 1.1, 0.2], [1.2, 0.3, 1.7], [0.9, 3.6, 0.1]])
    values = np.array([140.0, 200.0, 110.0, 80.0, 230.0, 90.0, 30.0])
    clipped = with_values(150.0, 80.0)
    clipped[0, 1, 0], clipped[1, 0, 1], clipped[0, 2, 1] = 230.0, 90.0, 30.0
    close(
        nearest_voxel_mean(values, np.concatenate([three_and_one, outside]), (2, 3, 4)),
        with_values(150.0, 80.0),
        atol=1e-3,
        what="the mean of each voxel",
        likely={
            "a negative index that came in again at the other end": with_values(170.0, 80.0),
            "points outside pushed onto the border": clipped,
        },
    )


three_points_in_one(nearest_voxel_mean)
points_outside(nearest_voxel_mean)

# %% [markdown] instructor=true
# 15 minutes for both exercises. The slow part is x, y, z against z, y, x. Let them write the order on paper beside
# each array. Who used `total[k, j, i] += value` gets the last value: ask why (an index that repeats counts once).

# %% [markdown]
# ## Idea: what a voxel keeps
#
# Where frames overlap, or where a voxel is larger than a pixel, several pixels fall into one voxel. You took the mean.
# CustusX's manual says *maximum*: where one frame lies in a shadow, another may not. Its code overwrites the voxel
# each time, so the *last* frame wins. This is a known difference; here you can have each by name.
#
# What do you expect: which of the three makes the wires thickest? And which depends on the direction of the sweep?

# %%
coarse = output_grid(sweep, spacing_mm=0.5)
kept = {rule: reconstruct(sweep, coarse, compounding=rule) for rule in ("mean", "max", "last")}
shared = np.mean(kept["mean"].weight[kept["mean"].weight > 0] > 1)
print(f"0.5 mm voxels: {shared:.0%} of those that were hit hold more than one pixel")
for rule, volume in kept.items():
    print(f"{rule:>4}: {np.sum(volume.values > 128):5d} voxels brighter than 128")
show(
    compare_slices(kept, seen_pr, plane="xz", within_mm=6.0),
    "The same slice three times, through the crossing wires. With the maximum the wires are brighter "
    "and wider than with the mean; with the last value their edges differ again.",
)

# %% [markdown]
# ## Idea: sharp is not right
#
# The maximum keeps the brightest pixel, so it widens wires and keeps each flash; swept backwards, the last value is
# another volume. The rule mostly changes how thick a wire looks. Two mistakes change where it is:
#
# - **mirrored**: the picture is flipped left to right on the scanner
# - **100 ms late**: the latency is not subtracted, so each frame gets the pose of a moment later
#
# The true wires meet at 90°. The figure looks straight onto their plane, so the angle on paper is the angle in space.
# What do you expect: which of the two mistakes will blur the wires? Which changes the angle?

# %%
left, right = sweep.sector.clip_p[:2]
frames = sweep.frames.copy()
frames[:, :, left : right + 1] = np.flip(sweep.frames[:, :, left : right + 1], axis=2)
poses, valid = files.read_tracking(folder).at(sweep.time_s + 0.1)
late = replace(sweep, pr_M_p=poses @ sweep.sector.t_M_p(), valid=valid)
sweeps = {"as recorded": sweep, "mirrored": replace(sweep, frames=frames), "100 ms late": late}
seen = dict.fromkeys(sweeps, seen_pr)
seen["mirrored"] = [140.0, 153.5, 102.6] if recording else [135.4, 144.4, 101.2]  # look for it there
rebuilt = {name: reconstruct(s, output_grid(s, spacing_mm=0.25)) for name, s in sweeps.items()}
found = [measure_wire_cross(rebuilt[n], around_pr=seen[n], rng=np.random.default_rng(1)) for n in sweeps]
for name, cross in zip(sweeps, found, strict=True):
    moved = np.linalg.norm(cross.cross_pr - found[0].cross_pr)
    print(f"{name:>11}: angle {cross.angle_deg:.1f}°, {moved:5.2f} mm from the cross as recorded")
words = "Dots along two lines, three times: almost square as recorded and late, aslant when mirrored."
show(wires_in_their_plane(rebuilt, found), words)

# %% [markdown]
# **What it means.** No mistake blurs the wires: the scatter about the lines in the titles is nearly the same. The
# mirrored volume is caught by its angle, and only because you know the phantom. The late volume keeps even the angle.
# The cross has moved by a fraction of a millimetre, further with a faster hand. Nothing inside the volume says so:
# every frame moved along with its neighbours.
#
# **A beautiful volume is no proof.** One sweep cannot reveal a small error of time or calibration. A second sweep in
# the opposite direction can: a latency moves the two volumes in opposite directions.

# %% [markdown] instructor=true
# 8 minutes; the heart of the lesson. Ask before running: "You are handed this volume. What would make you suspicious?"
# Most say blur. Then: "In a patient, what takes the place of the known angle?" Something seen twice: a landmark
# touched with the pointer, a second sweep, the vessel in the MR. Let them compare the printed distance of the late
# volume with the speed of the probe times 0.1 s.

# %% [markdown]
# ## Break it
#
# You want to see more, so you ask for 0.05 mm voxels within CustusX's default limit, "Volume Size" 32 MB.
# The next cell fails on purpose. Read the message before you read on.
#
# It teaches: memory grows with the third power, so the kit counts before it allocates. CustusX enlarges the voxels
# instead. So look at the spacing of what you got, not at what you asked for.

# %% fails="Take a larger spacing"
output_grid(sweep, spacing_mm=0.05, max_voxels=32 * 1024**2)

# %% [markdown] instructor=true
# A second one to try: `output_grid(replace(sweep, valid=np.zeros(len(sweep), dtype=bool)))`. The message says that
# no frame is valid. In the room this is a reference frame that stood covered during the whole sweep.

# %% [markdown]
# ## In practice
#
# - CustusX's defaults: PNN, orientation MiddleFrame, "Reduce mask" 3 %, "Volume Size" 32 MB, "Interpolation Steps" 3,
#   "Position Filter Strength" 2 [1].
# - Its file holds 0 for *no data* and 1 for the darkest echo. Filled voxels are not marked. The kit uses NaN and a mask.
# - It continues the tracking beyond its ends; the kit leaves such frames out. See `sweep.notes`.
# - The stored frame times are already corrected for latency. Do not subtract it twice.
# - Voxel-based methods (VNN, distance weighted) start from the voxel instead of the pixel [2].
# - Limits here: still water, thin wires, one sweep. Tissue adds the speed of sound and the probe's pressure.

# %% [markdown]
# ## Key points
#
# - A pixel reaches the room in two steps: spacing, origin and sign put it into `t`; the pose puts it into `pr`.
# - Each pixel goes to its nearest voxel, and each voxel keeps the mean. A voxel without a pixel is NaN, not 0.
# - The smaller the voxels, the more of the volume is guessed. Keep the mask that says which voxels were measured.
# - Sharp is not right: a mirrored volume is caught by a known angle, a late one by a second sweep.

# %% [markdown]
# ## References
#
# 1. Askeland C, et al. CustusX: an open-source research platform for image-guided therapy. Int J CARS 11, 2016.
#    doi:10.1007/s11548-015-1292-0. The defaults named above: its plug-ins org.custusx.usreconstruction and
#    org.custusx.usreconstruction.pnn.
# 2. Solberg OV, Lindseth F, Torp H, Blake RE, Nagelhus Hernes TA. Freehand 3D ultrasound reconstruction algorithms:
#    a review. Ultrasound Med Biol 33(7), 2007. doi:10.1016/j.ultrasmedbio.2007.02.015.
