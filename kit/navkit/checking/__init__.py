"""Self-checks that speak: one line when an answer is right, one sentence when it is not.

A check in a lesson is a function of the learner's function::

    @check("the tip of a noiseless pointer")
    def noiseless(find_tip):
        close(find_tip(poses), tip_s, atol=1e-6, unit="mm", what="the tip",
              likely={"the pivot point, not the tip": pivot_pr})

    noiseless(find_tip)

`close`, `close_pose` and `close_quaternion` also judge answers outside the notebook; `demand` looks at
properties alone. Each goes from shape over finite numbers and properties to accuracy, and names the
mistake when exactly one known mistake fits. `language("nb")`, or NAVKIT_LANGUAGE=nb in the environment,
makes them speak Norwegian; `either` gives the author's own words in the language of the moment.

They look at plain numbers only: an object that claims to equal everything is refused, and a learner who
patches a numpy function changes nothing here, because every function used is bound at import.
"""

from navkit.checking._check import check
from navkit.checking._close import close, close_pose, close_quaternion, demand
from navkit.checking._plain import CheckFailed
from navkit.checking._properties import (
    Property,
    increasing,
    orthogonal,
    positive,
    proper,
    symmetric,
    unit_length,
)
from navkit.checking._words import either, language

__all__ = [
    "CheckFailed",
    "Property",
    "check",
    "close",
    "close_pose",
    "close_quaternion",
    "demand",
    "either",
    "increasing",
    "language",
    "orthogonal",
    "positive",
    "proper",
    "symmetric",
    "unit_length",
]
