"""Grading inside nbgrader's own pipeline: the learner's process never knows the truth.

Reading order: `codec` (plain arrays through text), `probe` (asks the learner's function, in the
learner's kernel), `judge` (hidden cases and the score, outside it), `pipeline` (nbgrader's
preprocessors), `sandbox`, `intake`, `run` (a whole class), `report`, `mistakes` (exercises tested
like code). Nothing is imported here: the launcher of every kernel passes through this file.
"""
