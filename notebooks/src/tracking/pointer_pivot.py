# ---
# title: "Pointer pivot: where is the tip?"
# minutes: 40
# needs: []
# objectives:
#   - Carry a point of the tool into the patient reference, pose by pose
#   - Find the tip of a pointer from poses recorded while it pivots
#   - Tell from the swivel and the covariance, not from the residual, whether to trust the tip
# data: [pointer_pivoting]
# custusx: "the tool's .cal file (sMt); Tracking, and the tool tip calibration against a known point"
# summary: You calibrate the tip of a tracked pointer, and learn why a small residual proves nothing.
# ---

# %% [markdown]
# ## In the room
#
# The surgeon touches a vessel with the pointer and looks at the screen. The camera never sees the tip: it sees the
# spheres on the handle. Between the two lies one vector, and somebody measured it, perhaps years ago.
#
# What goes wrong: the pointer was bent, or the spheres were changed. The cross on the screen is off by millimetres,
# and it moves as smoothly as ever.
#
# ```text
#      spheres  o--o            the camera sees these: pr_M_s
#                \ |
#                 \|
#                  \            tip_s: where the tip is, seen from the spheres
#                   \
#                    V  tip     resting in a dimple: pivot_pr
# ```

# %% [markdown]
# ## Spaces
#
# | symbol | what it is | unit | where it comes from |
# |---|---|---|---|
# | `s` | sensor: the frame of spheres on the pointer | mm | its rigid body file |
# | `pr` | patient reference | mm | tracked reference frame |
# | `pr_M_s` | sensor to patient reference, one for each sample | mm | tracking |
# | `tip_s` | the tip in the sensor's space; it does not change | mm | **this lesson** |
# | `pivot_pr` | the dimple in the patient reference; it does not move | mm | this lesson, as a by-product |
#
# `tip_pr = pr_M_s @ tip_s`: letters that meet are the same, and cancel.

# %% [markdown]
# ## Setup
#
# A simulated optical tracker followed a pointer while its tip rested in a dimple. The truth is known.

# %%
import numpy as np
from scipy.spatial.transform import Rotation

from navkit import datasets
from navkit.calibration import calibrate_pivot
from navkit.checking import check, close
from navkit.geometry import pose_from, transform_points
from navkit.viewing import curves, point_clouds, show

data = datasets.load("pointer_pivoting")
pr_M_s, tip_s, pivot_pr = data["pr_M_s"], data["tip_s"], data["pivot_pr"]
print(f"{len(pr_M_s)} poses; the sensor travels over {np.ptp(pr_M_s[:, :3, 3], axis=0).round()} mm")

# %% [markdown]
# ## Idea: the sensor moves, the tip stays
#
# You swivel a pointer with its tip in a dimple. Every point of the tool moves, on a sphere of its own around the
# dimple, except one. That point is the tip.
#
# Suppose that you know `tip_s`. You carry it into `pr` with every pose. What do you expect to see: a sphere, a line,
# a single dot, or a small cloud?

# %%
tips_pr = transform_points(pr_M_s, tip_s)
show(
    point_clouds(
        {"sensor": (pr_M_s[:, :3, 3], "measured"), "tip": (tips_pr, "result")},
        title="One pivot, seen along y and along x",
    ),
    "Circles, the positions of the sensor, form a cap of a wide sphere. Triangles, the positions of the tip, "
    "lie on one spot far below, which both views show as nearly one dot.",
)
scatter_mm = np.linalg.norm(tips_pr - pivot_pr, axis=1)
rms_mm = np.sqrt(np.mean(scatter_mm**2))
print(f"the tip stays within {scatter_mm.max():.2f} mm of the dimple; RMS {rms_mm:.2f} mm")

# %% [markdown] instructor=true
# 8 minutes to here. Ask: "How far is the tip from the spheres, and how much does a tenth of a degree move it?" Let them
# compute it by hand, with the length of `tip_s` (about 0.3 mm). Many think that the tracker's accuracy is the tip's accuracy.

# %% [markdown]
# ## Exercise: carry the tip along
#
# The small cloud is noise, most of it from the angle: the tip is far from the spheres, and an error of angle grows
# with that distance. Now carry the tip yourself.
#
# Write `tip_positions(pr_M_s, tip_s)`.
#
# - `pr_M_s` (n, 4, 4): poses of the sensor, mm
# - `tip_s` (3,): the tip in the sensor's space, mm
#
# Return the positions (n, 3) of the tip in `pr`, mm: one for each pose.

# %% [markdown] hint="tip_positions"
# A pose rotates first and shifts afterwards. Which part of the 4 x 4 matrix does which?

# %% [markdown] hint="tip_positions"
# `pr_M_s[:, :3, :3] @ tip_s` rotates the tip by every pose at once; its shape is (n, 3). Then add `pr_M_s[:, :3, 3]`.


# %% exercise="tip_positions"
def tip_positions(pr_M_s, tip_s):
    """Positions (n, 3) in pr, mm, of the point `tip_s` (3,) of a tool with the poses `pr_M_s` (n, 4, 4)."""
    ### BEGIN SOLUTION
    rotation, translation = pr_M_s[:, :3, :3], pr_M_s[:, :3, 3]
    return rotation @ tip_s + translation
    ### END SOLUTION


# %% check="tip_positions" points=2
@check("a tool that turned by 90 degrees")
def a_quarter_turn(tip_positions):
    quarter = pose_from(Rotation.from_rotvec([[0, 0, 0], [0, 0, np.pi / 2]]), [[0, 0, 0], [10.0, 20.0, 30.0]])
    tip = np.array([5.0, 1.0, -100.0])
    close(
        tip_positions(quarter, tip),
        [[5.0, 1.0, -100.0], [9.0, 25.0, -70.0]],
        atol=1e-6,
        unit="mm",
        what="the tip's positions",
        likely={
            "a tip that was shifted but not rotated": [[5, 1, -100], [15, 21, -70]],
            "a rotation the wrong way round (transposed)": [[5, 1, -100], [11, 15, -70]],
            "a pose without its translation": [[5, 1, -100], [-1, 5, -100]],
        },
    )


@check("the recorded poses")
def the_recorded_poses(tip_positions):
    inverse_poses = transform_points(np.linalg.inv(pr_M_s), tip_s)
    close(
        tip_positions(pr_M_s, tip_s),
        tips_pr,
        atol=1e-3,
        unit="mm",
        what="the tip's positions",
        likely={"the inverse pose, s_M_pr": inverse_poses},
    )


a_quarter_turn(tip_positions)
the_recorded_poses(tip_positions)

# %% [markdown]
# ## Idea: one equation for each pose
#
# Now the other way round: the poses are known, the tip is not. Each pose says that the tip lies in the dimple:
#
# `R_i @ tip_s + t_i = pivot_pr`
#
# Both `tip_s` and `pivot_pr` are unknown, and both enter linearly. Put the unknowns on the left:
#
# `R_i @ tip_s - pivot_pr = -t_i`
#
# One pose gives three equations for six unknowns. What do you expect: how many poses are enough? And what must the
# tool do between them?

# %%
rows = [np.hstack([pose[:3, :3], -np.eye(3)]) for pose in pr_M_s[:3]]
for n in (1, 2, 3):
    rank = np.linalg.matrix_rank(np.vstack(rows[:n]), tol=1e-3)
    print(f"{n} pose(s): {3 * n} equations, rank {rank} of 6")

# %% [markdown]
# ## Exercise: find the tip
#
# Two poses are not enough: the tip can slide along the axis of the turn between them. Three poses that turn about
# different axes are enough; more poses average the noise.
#
# Write `find_tip(pr_M_s)`: the algebraic one-step pivot calibration.
#
# - `pr_M_s` (n, 4, 4): poses recorded while the tip rested in one dimple, mm
#
# Return `tip_s` (3,), the tip in the sensor's space, mm.

# %% [markdown] hint="find_tip"
# Build one matrix with three rows for each pose: the rotation in columns 0-2, minus the identity in columns 3-5. The
# right-hand side is minus the translation. `np.linalg.lstsq` solves it.

# %% [markdown] hint="find_tip"
# `np.concatenate([R, -I], axis=2).reshape(-1, 6)` gives all rows at once, if `I` is the identity repeated n times:
# `np.tile(np.eye(3), (n, 1, 1))`. Of the six numbers that come back, the first three are the tip.


# %% exercise="find_tip"
def find_tip(pr_M_s):
    """The tip (3,) in the sensor's space, mm, of a tool that pivoted through the poses `pr_M_s` (n, 4, 4)."""
    ### BEGIN SOLUTION
    rotation, translation = pr_M_s[:, :3, :3], pr_M_s[:, :3, 3]
    minus_identity = np.tile(-np.eye(3), (len(pr_M_s), 1, 1))
    equations = np.concatenate([rotation, minus_identity], axis=2).reshape(-1, 6)
    unknowns = np.linalg.lstsq(equations, -translation.ravel(), rcond=None)[0]
    return unknowns[:3]
    ### END SOLUTION


# %% check="find_tip" points=3
@check("poses without noise")
def without_noise(find_tip):
    close(
        find_tip(data["pr_M_s_true"]),
        tip_s,
        atol=1e-3,
        unit="mm",
        what="the tip",
        likely={
            "the pivot point in pr, not the tip in s": pivot_pr,
            "the tip with the opposite sign": -tip_s,
            "metres instead of millimetres": tip_s / 1000,
            "the mean position of the sensor": data["pr_M_s_true"][:, :3, 3].mean(axis=0),
            "both the tip and the pivot point: return the first three numbers": [*tip_s, *pivot_pr],
        },
    )


@check("the recorded poses, with noise")
def with_noise(find_tip):
    close(
        find_tip(pr_M_s),
        tip_s,
        atol=0.4,
        unit="mm",
        what="the tip",
        likely={"rotations that were transposed": calibrate_pivot(transposed(pr_M_s)).tip_s},
    )


def transposed(poses):
    """The same poses with each rotation the wrong way round."""
    return pose_from(np.swapaxes(poses[:, :3, :3], 1, 2), poses[:, :3, 3])


without_noise(find_tip)
with_noise(find_tip)

# %% [markdown] instructor=true
# 12 minutes for both exercises. The sign on the right-hand side is the usual slip. A pair that finishes early computes
# the residual of its own tip with `tip_positions` and compares it with the `rms_mm` of `calibrate_pivot`.

# %% [markdown]
# ## Idea: the residual does not know
#
# `calibrate_pivot` returns `rms_mm`: how far the tips lie from the common pivot, RMS over the poses. It looks like a
# measure of quality. Test it: calibrate the same pointer many times, with a narrow swivel and with a wide one.
#
# What do you expect when the swivel gets wider: does the residual fall, rise or stay? And the error of the tip?


# %%
def swivel(cone_deg, rng, n=200):
    """Noisy poses of the same pointer, tilted by at most `cone_deg` out of one direction."""
    tilt, around = np.radians(cone_deg) * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, size=n)
    turn = Rotation.from_rotvec(np.stack([tilt * np.cos(around), tilt * np.sin(around), 0 * tilt], axis=1))
    shake = Rotation.from_rotvec(np.radians(rng.normal(scale=0.1, size=(n, 3))))
    position = pivot_pr - turn.apply(tip_s) + rng.normal(scale=[0.1, 0.1, 0.25], size=(n, 3))
    return pose_from(shake * turn, position)


cones_deg = np.array([4, 6, 9, 13, 20, 30, 45])
rng = np.random.default_rng(7)
tries = [[calibrate_pivot(swivel(cone, rng)) for _ in range(25)] for cone in cones_deg]


# %%
def figures(one):
    """Residual, true error and the error that the covariance tells, all in mm."""
    return one.rms_mm, np.linalg.norm(one.tip_s - tip_s), np.sqrt(np.trace(one.covariance))


residual, error, told = np.mean([[figures(one) for one in many] for many in tries], axis=1).T
lines = {"true error": (error, "truth"), "residual": (residual, "measured"), "covariance": (told, "result")}
picture = curves(cones_deg, lines, xlabel="widest tilt (deg)", ylabel="error or residual (mm)", log=True)
show(
    picture,
    "The true error of the tip falls steeply as the tilt grows, and what the covariance tells falls with it. "
    "The residual is flat.",
)
for i in (0, -1):
    print(f"widest tilt {cones_deg[i]} deg: condition {tries[i][0].condition:.0f}, ", end="")
    print(f"residual {residual[i]:.2f} mm, true error {error[i]:.2f} mm")

# %% [markdown]
# **What it means.** The residual is the noise of the tracker, whatever you did with the tool. It is the same for a
# good calibration and for a useless one. **A small residual is no proof of a good tip.** Ask how far the tool turned
# (`spread_deg`), how much the equations magnify an error (`condition`), and how far the tip may be off
# (`covariance`). `calibrate_pivot` puts its doubts into `warnings`. Swivel wide.

# %% [markdown] instructor=true
# 10 minutes; the heart of the lesson. Before running, let each pair draw its two curves. Ask afterwards: "Your vendor's
# software prints one number after a pivot. Which one is it?" Then: "What would you write on the wall of the lab?"

# %% [markdown]
# ## Break it
#
# A colleague spins the pointer about its own axis, neatly and for a whole minute. No pose has any noise.
#
# Take a false tip, further along that axis. What do you expect: does it move more than the true one? And what will the
# kit say? The next cell fails on purpose. Read its message before you read on.

# %% fails="Was the tool still, or turned about one axis?"
spin = Rotation.from_rotvec(np.outer(np.linspace(0.0, 3.0, 60), [0.0, 0.0, 1.0]))
spun = pose_from(spin, pivot_pr - spin.apply(tip_s))
off_mm = 24.0
moves_mm = np.ptp(transform_points(spun, tip_s + [0.0, 0.0, off_mm]), axis=0).max()
print(f"a false tip, {off_mm:.0f} mm away, moves by {moves_mm:.3f} mm")
calibrate_pivot(spun)

# %% [markdown]
# ## In practice
#
# - What you saw: every point of the axis of a spin stays still. All of them fit, with a perfect residual, and some
#   program will return one. The kit refuses.
# - CustusX has no pivot calibration. It reads `sMt` from the tool's `.cal` file, which an engineer makes [1].
# - Its tool tip calibration moves the tip to a known point on the reference frame. It corrects a shift only.
# - Other programs fit a sphere to the sensor's positions, without angles. Studies disagree on whether that is worse
#   [2, 3].
#
# The next cell tries both on a real pointer, if its recording is here. Nobody knows its true tip. Do you expect the
# two to agree?

# %%
folder = datasets.recording("ucl/pivot")
files = sorted(folder.glob("*.txt")) if folder else []
poses = np.stack([np.loadtxt(path) for path in files]) if files else swivel(30, rng, n=57)
print("a real recording" if files else "the real recording is absent: a simulated swivel instead")
angles, sphere = calibrate_pivot(poses), calibrate_pivot(poses, method="sphere")
off_sphere_mm = np.std(np.linalg.norm(poses[:, :3, 3] - sphere.pivot_pr, axis=1))
print(f"algebraic:  tip {angles.tip_s.round(1)} mm, the tip scatters by {angles.rms_mm:.2f} mm")
print(f"sphere fit: tip {sphere.tip_s.round(1)} mm, the sensor leaves the sphere by {off_sphere_mm:.2f} mm")
apart_mm = np.linalg.norm(angles.tip_s - sphere.tip_s)
told_mm = np.sqrt(np.trace(angles.covariance + sphere.covariance))
print(f"the two tips lie {apart_mm:.1f} mm apart; by both covariances {told_mm:.1f} mm would be usual")

# %% [markdown]
# **What it means.** Alone, each residual looks fine: they measure different things. Compare the last two numbers, as
# the kit's `warnings` do for you. Where they are of one size, noise explains the difference. In the real recording
# they are not: angles and positions contradict each other. Such an error is systematic. More poses do not average it
# away, and a covariance does not see it.
#
# Which tip is right? These poses cannot tell, and neither can we. A second, independent check can: touch a point that
# you know. That is what CustusX's tool tip calibration is built on.

# %% [markdown] instructor=true
# 10 minutes with "Break it". Ask: "Which of the two tips would you type into the `.cal` file?" The honest answer is
# neither, before a known point was touched. Groups like to choose the smaller residual; let them say what it measures.

# %% [markdown]
# ## Key points
#
# - A pose rotates first and shifts afterwards: `tip_pr = R @ tip_s + t`. The order is the meaning.
# - Each pose of a pivoting tool gives three linear equations. Three poses about different axes determine the tip.
# - The residual shows the tracker's noise. The swivel, the condition and the covariance show what that noise does to
#   the tip. A systematic error shows only at a known point.

# %% [markdown]
# ## References
#
# 1. Askeland C, et al. CustusX: an open-source research platform for image-guided therapy. Int J CARS 11, 2016.
#    doi:10.1007/s11548-015-1292-0. The `.cal` file and the tool tip calibration: its tool parser and calibration plug-in.
# 2. Yaniv Z. Which pivot calibration? Proc SPIE 9415, 2015. doi:10.1117/12.2081348.
# 3. Ma B, et al. Is pose-based pivot calibration superior to sphere fitting? Proc SPIE 10135, 2017.
#    doi:10.1117/12.2256050.
