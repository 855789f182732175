# ---
# title: "A sample lesson: doubling and centring"
# minutes: 30
# needs: []
# objectives:
#   - Double a length and keep its unit
#   - Compute the centre of a cloud of points
# data: []
# custusx: nowhere; this lesson is a fixture of the course machinery's own tests
# summary: Two small exercises that use every mark a lesson can carry.
# ---

# %% [markdown]
# ## In the room
#
# A surgeon asks how far the tool is from the target. You answer with a number in millimetres.
# A number without its unit or its space has hurt people.

# %% [markdown]
# ## Spaces
#
# | symbol | space | unit |
# |---|---|---|
# | `t` | tool | mm |
# | `pr` | patient reference | mm |

# %% [markdown]
# ## Setup

# %%
import numpy as np

from navkit.checking import check, close
from navkit.geometry import pose_from, transform_points

# %% [markdown]
# ## Idea: a length is not a position
#
# A length doubles when everything grows by two. A position moves away from the origin.
# What do you expect if the tool is rotated?

# %%
pr_M_t = pose_from(np.eye(3), [10.0, 0.0, -3.0])
points_t = np.array([[0.0, 1.0, 2.0], [4.0, 0.0, 0.0], [0.0, -7.0, 1.0]])
points_pr = transform_points(pr_M_t, points_t)

# %% [markdown]
# ## Exercise: double a length
#
# Write `double_mm(length_mm)`: a number or an array of lengths in mm, returned twice as long, in mm.

# %% [markdown] hint="double_mm"
# Which operator multiplies each element of an array?


# %% exercise="double_mm"
def double_mm(length_mm):
    """Twice `length_mm`, in mm."""
    ### BEGIN SOLUTION
    return 2.0 * np.asarray(length_mm)
    ### END SOLUTION


# %% check="double_mm" points=2
@check("twice the length")
def twice(double_mm):
    likely = {"the length itself": 3.5}
    close(double_mm(3.5), 7.0, atol=1e-9, unit="mm", what="the doubled length", likely=likely)


twice(double_mm)

# %% [markdown] instructor=true
# Ask the room what `double_mm` does with a list. Two minutes.

# %% [markdown]
# ## Exercise: the centre of a cloud
#
# Write `centre_of(points)`: `points` is `(n, 3)` in mm; return the mean point `(3,)` in mm and the largest
# distance of any point from it, in mm.

# %% [markdown] hint="centre_of"
# `np.mean` has an argument `axis`.


# %% exercise="centre_of"
def centre_of(points):
    """The mean point (3,) and the largest distance from it, both in mm."""
    points = np.asarray(points, dtype=float)
    ### BEGIN SOLUTION
    centre_point = points.mean(axis=0)
    return centre_point, np.linalg.norm(points - centre_point, axis=1).max()
    ### END SOLUTION


# %% check="centre_of" points=3
@check("the centre of three points")
def three_points(centre_of):
    centre, radius = centre_of(points_pr)
    close(centre, [34.0 / 3, -2.0, -2.0], atol=1e-9, unit="mm", what="the centre")
    close(radius, np.sqrt(241.0) / 3, atol=1e-9, unit="mm", what="the radius")


three_points(centre_of)

# %% [markdown]
# Which of the two results changes when all points move together, and why? Answer in two sentences.

# %% [markdown] answer="what_moves" points=2
# The centre moves with the points. The radius is a distance between points, so it stays.

# %% [markdown]
# ## Break it
#
# Points in columns are a common mistake. The next cell fails on purpose.

# %% fails="Are the points in columns?"
transform_points(pr_M_t, points_t[:2].T)

# %% [markdown]
# ## In practice
#
# The platform reports distances in mm in patient reference. Ask for the space before you trust a number.

# %% [markdown]
# ## Key points
#
# - A doubled length keeps its unit.
# - The centre of a cloud is the mean over its points.

# %% [markdown]
# ## References
#
# 1. Markley, Cheng, Crassidis, Oshman. Averaging quaternions. 2007. doi:10.2514/1.28949.
