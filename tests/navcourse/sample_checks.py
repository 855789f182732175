"""Hidden checks of the sample lesson."""

import numpy as np

from navcourse.grading.judge import Case, hidden
from navkit.checking import close


@hidden("double_mm")
def double_mm(rng):
    length = float(rng.uniform(3, 40))

    def verify_one(answer):
        likely = {"the length itself": length, "the length squared": length**2}
        close(answer, 2 * length, atol=1e-9, unit="mm", what="the doubled length", likely=likely)

    yield Case("one length", (length,), verify_one)

    several = rng.uniform(3, 40, size=5)

    def verify_several(answer):
        likely = {"the length itself": several, "the length squared": several**2}
        close(answer, 2 * several, atol=1e-9, unit="mm", what="the doubled lengths", likely=likely)

    yield Case("five lengths", (several,), verify_several)


@hidden("centre_of")
def centre_of(rng):
    for n in (4, 7, 50):
        points = rng.normal(size=(n, 3)) * [5.0, 20.0, 60.0] + [10.0, -70.0, 130.0]
        yield Case(f"{n} points", (points,), verify_centre(points))


def verify_centre(points):
    centre = points.mean(axis=0)
    radius = np.linalg.norm(points - centre, axis=1).max()
    centres = {"the median of the points": np.median(points, axis=0), "the first point": points[0]}

    def verify(answer):
        if not isinstance(answer, tuple):
            raise AssertionError("expected the centre and the radius")
        close(answer[0], centre, atol=1e-6, unit="mm", what="the centre", likely=centres)
        close(answer[1], radius, atol=1e-6, unit="mm", what="the radius", likely={"the diameter": 2 * radius})

    return verify
