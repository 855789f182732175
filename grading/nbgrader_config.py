"""nbgrader's settings for this course root, for `nbgrader` and the formgrader started in this folder.

`navcourse grade` uses the same settings without reading this file. NAVCOURSE_COHORT names the class:
it seeds the hidden cases, so it must stay the same while a class is graded.
"""

import os
from pathlib import Path

from navcourse.grading.settings import class_config

HERE = Path(__file__).resolve().parent

c = get_config()  # noqa: F821  nbgrader puts this name here
c.merge(class_config(HERE, HERE / "checks", os.environ.get("NAVCOURSE_COHORT", "default")))
