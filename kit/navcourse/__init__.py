"""The course machinery: one lesson script becomes notebooks, courses are built, a class is graded.

Reading order::

    lesson       a percent script and its marks
    render       four notebooks from one script
    course       what is taught to whom, and for how long
    verify       anatomy, freshness, execution
    grading      nbgrader, with a judge outside the learner's process
    demo         the whole chain on one page
"""
