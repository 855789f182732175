# ---
# title: "Point registration: how wrong may you be at the target?"
# minutes: 45
# needs: []
# objectives:
#   - Fit the rigid transform between paired points, and never a mirror image
#   - Compute the error at a target, where it matters
#   - Explain why a small error at the landmarks says nothing about the target
#   - Place landmarks where they help the target
# data: [head_fiducials]
# custusx: "Registration, Image to Patient, Landmarks; the result is rMpr"
# summary: You register a head by landmarks, and learn which error the screen shows and which it does not.
# ---

# %% [markdown]
# ## In the room
#
# The patient lies still. The surgeon touches six landmarks with the pointer; the same six were marked in the MR. The
# screen says "mean accuracy" and a small number. Everyone nods.
#
# What goes wrong: the number belongs to the landmarks, on the skin. The tumour lies deep inside, and its error is
# another number. A phantom test of CustusX's single-landmark registration was good at the landmark, and 12.4 mm off at
# a distance of 60 mm [3].
#
# ```text
#    touched in the room: p_pr          marked in the image: p_r
#        o    o                              o    o
#       o  *   o          rMpr              o  *   o          * the target: nobody touches it
#        o    o           ---->              o    o
# ```

# %% [markdown]
# ## Spaces
#
# | symbol | what it is | unit | where it comes from |
# |---|---|---|---|
# | `r` | reference: the image of the patient | mm | CustusX's root space |
# | `pr` | patient reference: the room | mm | tracked reference frame |
# | `r_M_pr` | the patient registration, CustusX's `rMpr` | mm | **this lesson** |
#
# `p_r = r_M_pr @ p_pr`: letters that meet are the same, and cancel.

# %% [markdown]
# ## Setup
#
# A simulated head: six landmarks on the skin, four targets inside. The landmarks were touched with a known error.

# %%
import numpy as np
import pyvista as pv

from navkit import datasets
from navkit.checking import check, close, close_pose
from navkit.geometry import inverse, pose_from, transform_points
from navkit.registration import expected_fre, expected_tre
from navkit.registration import fit_rigid as kit_fit
from navkit.viewing import curves, error_maps, error_scatter, point_clouds, show

data = datasets.load("head_fiducials")
p_r, p_pr, target_r, target_pr = (
    data[k] for k in ("fiducials_r", "fiducials_pr", "targets_r", "targets_pr_true")
)
fle_rms_mm = float(data["fle_rms_mm"])

# %% [markdown]
# ## Idea: one transform for all landmarks
#
# You look for the rotation and the shift that bring the touched landmarks onto the marked ones. Six pairs give more
# equations than unknowns, and each touch is a little wrong: that is the **FLE**, the fiducial localisation error.
# So the landmarks cannot all meet. What is left over is the **FRE**, the fiducial registration error.
#
# What do you expect after the fit: all six exact, five exact and one off, or all six a little off?

# %%
registered = kit_fit(p_pr, p_r)
touched_r = transform_points(registered.matrix, p_pr)
clouds = {"marked": (p_r, "truth"), "touched": (touched_r, "measured"), "targets": (target_r, "target")}
show(
    point_clouds(clouds, title="Six landmarks and four targets in r", space="r"),
    "Crosses and circles, six each, lie on one another at this scale, spread over the outline of a head. "
    "Stars, the four targets, lie inside.",
)
print(f"distances {registered.residual_mm.round(2)} mm")
print(f"mean {registered.residual_mm.mean():.2f} mm, RMS {registered.fre_rms_mm:.2f} mm")

# %% [markdown] instructor=true
# 8 minutes to here. CustusX's landmark widget shows the distances and their mean; papers mean the RMS. Ask: "Which is
# the larger one, and can it ever be the other way round?" (The RMS is never smaller than the mean.)

# %% [markdown]
# ## Exercise: fit the transform
#
# All six are a little off: least squares shares the error out. Now fit the transform yourself.
#
# Write `fit_rigid(p_from, p_to)`.
#
# - `p_from`, `p_to` (n, 3): paired points, mm; row i of one belongs to row i of the other
#
# Return `to_M_from` (4, 4): the rigid transform with the least sum of squared distances. Its rotation has
# determinant +1, also when the points lie in a plane and the noise pulls towards a mirror image.

# %% [markdown] hint="fit_rigid"
# Subtract each set's centroid first: then only the rotation is left. Find the shift last, from the centroids.

# %% [markdown] hint="fit_rigid"
# With centred points `a` and `b` in rows: `u, _, vt = np.linalg.svd(a.T @ b)`. The rotation is
# `vt.T @ np.diag([1, 1, d]) @ u.T`, where `d = np.sign(np.linalg.det(vt.T @ u.T))` forbids the mirror.
# The shift is `centroid_to - rotation @ centroid_from`.


# %% exercise="fit_rigid"
def fit_rigid(p_from, p_to):
    """The rigid transform to_M_from (4, 4) that best maps `p_from` (n, 3) onto `p_to` (n, 3), mm."""
    ### BEGIN SOLUTION
    centre_from, centre_to = p_from.mean(axis=0), p_to.mean(axis=0)
    u, _, vt = np.linalg.svd((p_from - centre_from).T @ (p_to - centre_to))
    guard = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    to_M_from = np.eye(4)
    to_M_from[:3, :3] = vt.T @ guard @ u.T
    to_M_from[:3, 3] = centre_to - to_M_from[:3, :3] @ centre_from
    return to_M_from
    ### END SOLUTION


# %% check="fit_rigid" points=3
@check("landmarks touched without error")
def without_error(fit_rigid):
    exact_pr, truth = data["fiducials_pr_true"], data["r_M_pr_true"]
    turned = pose_from(truth[:3, :3].T, p_r.mean(axis=0) - truth[:3, :3].T @ exact_pr.mean(axis=0))
    shifted = pose_from(truth[:3, :3], p_r.mean(axis=0) - exact_pr.mean(axis=0))
    u, _, vt = np.linalg.svd(exact_pr.T @ p_r)
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    uncentred = pose_from(turn, p_r.mean(axis=0) - turn @ exact_pr.mean(axis=0))
    close_pose(
        fit_rigid(exact_pr, p_r),
        truth,
        atol_mm=0.01,
        atol_deg=0.01,
        likely={
            "the transform the other way round, pr_M_r": inverse(truth),
            "a transposed rotation": turned,
            "a shift between the centroids that forgets the rotation": shifted,
            "a rotation fitted before the points were centred": uncentred,
        },
    )


@check("the landmarks as they were touched")
def as_touched(fit_rigid):
    best = registered.matrix
    close_pose(fit_rigid(p_pr, p_r), best, atol_mm=0.01, atol_deg=0.01, what="the registration")


@check("landmarks on a flat plate, touched with an error that pulls towards the mirror")
def on_a_plate(fit_rigid):
    corners = [[0, 0, 0.3], [80, 0, -0.3], [80, 50, 0.3], [0, 50, -0.3], [30, 20, 0]]
    plate_r = np.array(corners) + np.array([20, -60, 35])
    turn = data["r_M_pr_true"][:3, :3]
    plate_pr = (plate_r * [1, 1, -1] + [0, 0, 70]) @ turn  # the small heights came out the other way round
    close_pose(
        fit_rigid(plate_pr, plate_r),
        kit_fit(plate_pr, plate_r).matrix,
        atol_mm=0.01,
        atol_deg=0.01,
        what="the registration",
        hint="The guard may flip only the weakest of the three directions.",
    )


without_error(fit_rigid)
as_touched(fit_rigid)
on_a_plate(fit_rigid)

# %% [markdown] instructor=true
# 10 minutes. The slip that costs most time: `u @ vt` instead of `vt.T @ u.T`, which is the transposed rotation. The
# third check fails without the guard, and also with a guard on the wrong axis: only the weakest direction may flip. Ask
# the fast ones: "Which landmarks on a face lie nearly in a plane?" Swapping the two point sets is the same mistake as
# returning the inverse; the check cannot tell them apart and says so once, "the other way round".

# %% [markdown]
# ## Exercise: the error that matters
#
# A target is a point that nobody touches: a tumour, a vessel. Its error is the **TRE**, the target registration error.
#
# Write `target_error(r_M_pr, target_pr, target_r)`.
#
# - `r_M_pr` (4, 4): the registration to be judged
# - `target_pr` (n, 3), `target_r` (n, 3): where each target truly is, in the room and in the image, mm
#
# Return the TRE (n,) in mm: for each target, how far the registered point lies from the true one.

# %% [markdown] hint="target_error"
# Carry `target_pr` into `r` with the registration. Then you have two points for each target in the same space.

# %% [markdown] hint="target_error"
# `transform_points(r_M_pr, target_pr)` carries them. `np.linalg.norm(..., axis=1)` gives one length for each row.


# %% exercise="target_error"
def target_error(r_M_pr, target_pr, target_r):
    """The TRE (n,) in mm of the registration `r_M_pr` at targets known in both spaces, (n, 3) each."""
    ### BEGIN SOLUTION
    registered_r = target_pr @ r_M_pr[:3, :3].T + r_M_pr[:3, 3]
    return np.linalg.norm(registered_r - target_r, axis=1)
    ### END SOLUTION


# %% check="target_error" points=2
@check("a registration that is 3, 4 and 12 mm off")
def three_four_twelve(target_error):
    off = pose_from(np.eye(3), [3.0, 4.0, 12.0])
    points = np.array([[10.0, -5.0, 2.0], [0.0, 30.0, 7.0]])
    close(
        target_error(off, points, points),
        [13.0, 13.0],
        atol=1e-6,
        unit="mm",
        what="the TRE",
        likely={
            "the squares of the distances": [169.0, 169.0],
            "the vectors instead of their lengths": [[3.0, 4.0, 12.0]] * 2,
            "one number instead of one for each target": 13.0,
            "a registration without its shift": [0.0, 0.0],
        },
    )


@check("the head, registered")
def the_head(target_error):
    truth = np.linalg.norm(transform_points(registered.matrix, target_pr) - target_r, axis=1)
    wrong_way = np.linalg.norm(transform_points(inverse(registered.matrix), target_pr) - target_r, axis=1)
    m = registered.matrix
    turned = np.linalg.norm(target_pr @ m[:3, :3] + m[:3, 3] - target_r, axis=1)
    close(
        target_error(registered.matrix, target_pr, target_r),
        truth,
        atol=1e-3,
        unit="mm",
        what="the TRE",
        likely={"the inverse registration, pr_M_r": wrong_way, "a transposed rotation": turned},
    )


three_four_twelve(target_error)
the_head(target_error)

# %% [markdown] instructor=true
# 5 minutes. Many return one mean for all targets, as the screen does. Ask: "Which of the four would you operate on?"

# %% [markdown]
# ## Idea: the screen cannot know
#
# In the room you see the FRE. You want the TRE. Touch the same landmarks 2000 times, each time with new errors of the
# same size, and note both: the FRE, and the TRE at the deepest target.
#
# What do you expect: does a touch with a smaller FRE have a smaller TRE? Draw your cloud first, then run the cell.

# %%
rng = np.random.default_rng(3)
truth_pr, deep = data["fiducials_pr_true"], 3
touched = truth_pr + rng.normal(scale=fle_rms_mm / np.sqrt(3), size=(2000, *truth_pr.shape))
fits = [kit_fit(one, p_r) for one in touched]
fre = np.array([fit.fre_rms_mm for fit in fits])
tre = np.array([np.linalg.norm(transform_points(f.matrix, target_pr[deep]) - target_r[deep]) for f in fits])
show(
    error_scatter(fre, tre, xlabel="FRE, RMS over the landmarks (mm)", ylabel="TRE at the target (mm)"),
    "A round cloud of 2000 points without any slope: small and large errors at the target occur "
    "equally at every error of the landmarks. Above the dotted line the target is worse than the landmarks.",
)
print(f"correlation {np.corrcoef(fre, tre)[0, 1]:+.2f}; FRE RMS {np.sqrt(np.mean(fre**2)):.2f} mm")
formula_mm = expected_tre(p_r, target_r[deep], fle_rms_mm)
print(f"TRE RMS {np.sqrt(np.mean(tre**2)):.2f} mm; the formula says {formula_mm:.2f} mm")

# %% [markdown] instructor=true
# 6 minutes; the heart of the lesson. Nearly everyone draws a rising cloud. Let them say why before you do: the fit has
# already removed the part of the errors that moves the head; what remains at the landmarks is the part that does not.

# %% [markdown]
# ## Idea: the better screen may be the worse registration
#
# **What it means.** The cloud has no slope: for one registration the FRE does not predict the TRE [1].
#
# Now compare two teams. One touches four landmarks on the forehead, nearly on a line. The other touches four, spread
# around the head. Same pointer, same care, 1000 times each. From the first team you keep only the 50 *best* screens,
# from the second only the 50 *worst*. The target is the deep one.
#
# Whose registrations do you expect to be better at the target? By how much?

# %%
forehead = np.array([[-45.0, -96, 30], [-15.0, -103, 36], [18.0, -104, 33], [48.0, -95, 31]])
spread = np.array([[-70.0, -40, 30], [2.0, -104, 10], [72.0, -35, 25], [5.0, -30, 95]])
teams = {
    "forehead, 50 best screens": (forehead, slice(50)),
    "spread, 50 worst screens": (spread, slice(-50, None)),
}
for name, (layout, keep) in teams.items():
    touched = layout + rng.normal(scale=fle_rms_mm / np.sqrt(3), size=(1000, 4, 3))
    fits = [kit_fit(one, layout) for one in touched]
    screen = np.array([fit.residual_mm.mean() for fit in fits])
    moved = np.array([transform_points(fit.matrix, target_r[deep]) for fit in fits])
    miss = np.linalg.norm(moved - target_r[deep], axis=1)
    kept = np.argsort(screen)[keep]
    print(f"{name}: mean accuracy {screen[kept].mean():.2f} mm, target missed by {miss[kept].mean():.1f} mm")

# %% [markdown] instructor=true
# 4 minutes; the result that looks good and is wrong. Ask: "You may repeat the registration until the screen looks good.
# What have you gained?" (Nothing at the target: the choice is made by a number that does not know it.)

# %% [markdown]
# ## Idea: landmarks are placed for the target
#
# **What it means.** A beautiful screen can hide a bad layout. What counts is the size of the FLE, the number of
# landmarks, and where they lie around the target [2]. A formula tells the expected TRE at any point *before* anyone
# touches the patient.
#
# First, the same two layouts. The expected FRE is the same for both. What do you expect of the maps? Where is each
# layout at its best?
#
# Then, the number: 3 to 24 landmarks, anywhere on the front half of the head. What do you expect of more landmarks:
# does the number on the screen fall? Does the error at the target?

# %%
x, y = np.linspace(-80, 80, 41), np.linspace(-110, 80, 48)
plane = np.stack(np.meshgrid(x, y, target_r[deep, 2]), axis=-1).reshape(-1, 3)
maps, marks = {}, {}
for name, layout in {"on the forehead": forehead, "spread": spread}.items():
    title = f"{name}: {expected_tre(layout, target_r[deep], fle_rms_mm):.1f} mm at the target"
    maps[title] = expected_tre(layout, plane, fle_rms_mm).reshape(len(y), len(x))
    marks[title] = {"landmarks": (layout[:, :2], "measured"), "target": (target_r[deep, :2], "target")}
show(
    error_maps(
        x, y, maps, marks, levels_mm=[0.5, 1, 2, 4, 8], xlabel="x$_r$ (mm)", ylabel="y$_r$, backwards (mm)"
    ),
    "Two maps of the expected error. With landmarks on the forehead it is small only near them and grows "
    "quickly towards the back of the head. With spread landmarks it stays small over most of the head.",
)

# %%
some = np.random.default_rng(8).normal(size=(200, 24, 3))
some[..., 1] = -np.abs(some[..., 1])
skin = some / np.linalg.norm(some, axis=-1, keepdims=True) * [75, 105, 90]
counts = np.arange(3, 25)
fre_n = [expected_fre(fle_rms_mm, int(n)) for n in counts]
tre_n = [np.median([expected_tre(one[:n], target_r[deep], fle_rms_mm) for one in skin]) for n in counts]
lines = {"FRE, at the landmarks": (fre_n, "measured"), "TRE, at the target": (tre_n, "result")}
show(
    curves(counts, lines, xlabel="number of landmarks", ylabel="expected error (mm, RMS)"),
    "Two curves cross. With more landmarks the error at the landmarks rises towards the size of a touch; "
    "the error at the target, in the middle one of 200 layouts, falls: quickly at first, then slowly.",
)
# %% [markdown] instructor=true
# 6 minutes. Ask: "Both screens show the same number. What do you tell the surgeon?" Then let them move one landmark of
# the forehead layout and run the map again: what does one landmark behind the ear change? The curves surprise most
# groups: the fit has six freedoms to please the landmarks, and the more there are, the fewer it can please.

# %% [markdown]
# ## Break it
#
# **What they mean.** Near the landmarks both layouts are good; far from a line of landmarks a small turn becomes a long
# way. A fourth and a fifth landmark help much, a twentieth little; and the screen gets *worse* while the target gets
# better. Place before number: one layout is so bad that it has no answer.
#
# Three landmarks along one line, across the forehead, say. The next cell fails on purpose. Read the message before you
# read on.
#
# It teaches: the head can still turn about the line, and no landmark would notice. The FRE would be tiny. The kit
# refuses; a program that does not ask returns one of the many answers.

# %% fails="The paired points lie on a line"
on_a_line = np.array([[-60.0, -80, 30], [0.0, -80, 30], [60.0, -80, 30]])
kit_fit(on_a_line, on_a_line + [5.0, -2.0, 11.0])

# %% [markdown]
# ## In practice
#
# - CustusX wants at least three landmarks that are active in both lists. It shows the distance for each and their
#   **mean**; it does not show a target error.
# - A registration replaces `rMpr`: it moves the patient, the images stay.
# - Four landmarks or more, around the target, not on a line. Then touch something that was *not* a landmark.
#
# The next cell does that on a real pelvis [4], if the recording is on this machine: four landmarks, and 2000 points
# scanned on the bone. From the FRE it guesses the FLE, and from that the expected TRE. Do you expect the scanned points
# as close to the bone as the formula says?

# %%
folder = datasets.recording("ucl/pelvis")
if folder:
    marked = np.loadtxt(folder / "pelvis_cropped_ct_fiducial_markers.txt")
    fit = kit_fit(np.loadtxt(folder / "Tracker_Fiducial_Markers.txt"), marked)
    scan = transform_points(fit.matrix, np.loadtxt(folder / "Tracker_Surface_Scan.txt"))
    bone = pv.read(folder / "pelvis_cropped_decimated.vtk")
    _, nearest = bone.find_closest_cell(scan, return_closest_point=True)  # on the surface, not its corners
    off_mm = np.linalg.norm(scan - nearest, axis=1)
    promised_mm = expected_tre(marked, scan, fit.fre_rms_mm / np.sqrt(1 - 2 / len(marked)))
    print(f"FRE {fit.fre_rms_mm:.2f} mm RMS, so the formula promises {promised_mm.mean():.1f} mm (mean)")
    print(f"the scanned points lie {off_mm.mean():.1f} mm off the bone (mean)")
    print("What all landmarks share, neither the FRE nor the formula sees: touch something else.")
else:
    print("The recording ucl/pelvis is not on this machine: the simulated head is all you have.")

# %% [markdown] instructor=true
# 5 minutes. The recording does not say why the scan and the landmarks disagree. Let the groups list what both numbers
# cannot see: a pointer calibrated wrongly and held differently, a reference that moved, landmarks marked at other
# places than they were touched but all alike. The formula holds for errors that are independent. The distance to the
# *nearest* bone is a lower bound: a point that slid along the bone counts as right. Without the recording, stay with
# the two teams.

# %% [markdown]
# ## Key points
#
# - Centre both sets, rotate by the SVD, guard against the mirror, find the shift last.
# - The TRE is measured at a point that took no part in the fit. One number for each target.
# - FRE and TRE of one registration are uncorrelated: a small FRE is no proof. The screen's number is a mean over the
#   landmarks, neither the RMS nor the error at the target.
# - The expected TRE depends on the FLE, on the number of landmarks and on where they lie. Surround the target.

# %% [markdown]
# ## References
#
# 1. Fitzpatrick JM. Fiducial registration error and target registration error are uncorrelated. Proc SPIE 7261, 2009.
#    doi:10.1117/12.813601.
# 2. Fitzpatrick JM, West JB, Maurer CR. Predicting error in rigid-body point-based registration. IEEE Trans Med Imaging
#    17(5), 1998. doi:10.1109/42.736021.
# 3. Pérez de Frutos J, Hofstad EF, Solberg OV, et al. Laboratory test of Single Landmark registration method for
#    ultrasound-based navigation in laparoscopy using an open-source platform. Int J CARS 13, 2018.
#    doi:10.1007/s11548-018-1830-7.
# 4. The pelvis: recording of the course MPHY0026, University College London, https://github.com/UCL/MPHY0026. Creative
#    Commons Attribution.
# 3. The fit: Umeyama S. IEEE Trans Pattern Anal Mach Intell 13(4), 1991. doi:10.1109/34.88573.
# 4. The pelvis: University College London, course MPHY0026, Creative Commons Attribution. 2020.
