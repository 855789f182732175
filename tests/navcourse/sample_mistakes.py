"""Named mistakes of the sample lesson, with the words that each must earn."""

import numpy as np

from navcourse.grading.mistakes import mistake


@mistake("double_mm", says="the length itself")
def forgets_to_double(length_mm):
    return length_mm


@mistake("double_mm", says="the length squared")
def squares(length_mm):
    return np.asarray(length_mm) ** 2


@mistake("double_mm", says="returned None")
def forgets_return(length_mm):
    2 * np.asarray(length_mm)


@mistake("centre_of", says="the median of the points")
def median(points):
    centre = np.median(points, axis=0)
    return centre, np.linalg.norm(points - centre, axis=1).max()


@mistake("centre_of", says="the diameter")
def diameter(points):
    centre = points.mean(axis=0)
    return centre, 2 * np.linalg.norm(points - centre, axis=1).max()


@mistake("centre_of", says="expected the centre and the radius")
def only_the_centre(points):
    return points.mean(axis=0)


@mistake("centre_of", says="the first point")
def first_point(points):
    return points[0], np.linalg.norm(points - points[0], axis=1).max()
