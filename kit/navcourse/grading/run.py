"""A whole class through nbgrader: release, collect, autograde, feedback, one student at a time.

nbgrader stays the system of record: its gradebook, its folders, its feedback. `grade_class` calls
the four steps in order; a command line may call them one by one with the same `Course`.
"""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from navcourse.grading import collector
from navcourse.grading.gradebook import after_run, guarded
from navcourse.grading.intake import Problem, intake
from navcourse.grading.regrade import preview, remember
from navcourse.grading.report import ClassReport, class_report
from navcourse.grading.sandbox import copy_compiled, sandbox_available
from navcourse.grading.settings import Course, GradingError, Progress, last_line, must, session

__all__ = ["Course", "GradingError", "autograde", "collect", "feedback", "grade_class", "release", "report"]

NO_SANDBOX = (
    "no sandbox here: bubblewrap (bwrap) is missing or may not make a namespace. Learners' code runs as you, "
    "with limits on time and memory only. Use require_sandbox to refuse."
)


def release(course: Course, assignment: str, sources: Mapping[str, Path]) -> dict[str, Path]:
    """Make the released notebooks from the source notebooks; returns them by name.

    Raises
    ------
    GradingError
        If an exercise has no hidden check or one that fails, or nbgrader refuses a source notebook.
    """
    _complete(course, sources)
    folder = course.root / "source" / assignment
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, path in sources.items():
        shutil.copyfile(path, folder / f"{name}.ipynb")
    exchange = course.root / "exchange"
    exchange.mkdir(exist_ok=True)
    if os.name != "nt":  # nbgrader refuses an exchange that is not open to everyone
        exchange.chmod(0o777)
    with guarded(course), session(course) as api:
        must(
            api.generate_assignment(assignment, force=True, create=True),
            f"'{assignment}' was not made",
            course,
        )
        if os.name != "nt":  # nbgrader has no exchange on Windows: hand out the folder release/
            must(api.release_assignment(assignment), f"'{assignment}' was not released", course)
    return {name: course.root / "release" / assignment / f"{name}.ipynb" for name in sources}


def collect(course: Course, assignment: str, submissions: Path) -> list[Problem]:
    """Sort what was handed in into ``submitted/``, then look at every notebook: see `intake`.

    Parameters
    ----------
    submissions : a folder of notebooks, folders or zip files, one zip file, an nbgrader exchange, a hub's
        home folders, or a download from Canvas or Moodle: see `collector`. It is only read.

    Raises
    ------
    GradingError
        If nothing was released under this name, or the folder holds no file.
    """
    released = {path.stem: path for path in sorted((course.root / "release" / assignment).glob("*.ipynb"))}
    if not released:
        raise GradingError(
            f"nothing is released as '{assignment}' in {course.root}; expected release to run first."
        )
    problems = collector.collect(submissions, course.root, assignment, list(released))
    problems += intake(course.root / "submitted", assignment, released)
    _notes(course, assignment, "intake").write_text(
        json.dumps([asdict(p) for p in problems], indent=1), encoding="utf-8"
    )
    return problems


def autograde(
    course: Course,
    assignment: str,
    *,
    students: Sequence[str] | None = None,
    workers: int | None = None,
    rerun: bool = False,
) -> dict[str, str]:
    """Grade everyone in ``submitted/`` (or `students`), each alone; returns reasons of failures by student.

    Notebooks run in several processes at a time; their results stay in ``executed/`` and are used again as
    long as nothing changes that decides them. A run that was cut short goes on where it was.

    Parameters
    ----------
    workers : notebooks that run at a time; as many as there are processor cores when left out.
    rerun : run every notebook anew.

    Raises
    ------
    GradingError
        If a sandbox is required and there is none, or `workers` is no number of processes.
    """
    if workers is not None and workers < 1:
        raise GradingError(f"expected one worker or more, got {workers}.")
    if not sandbox_available():
        if course.require_sandbox:
            raise GradingError(NO_SANDBOX.removesuffix(" Use require_sandbox to refuse."))
        warnings.warn(NO_SANDBOX, stacklevel=2)
    who = list(students) if students is not None else submitted_students(course, assignment)
    if who:
        _warm_caches(course, assignment)
    from navcourse.grading._worker import one_engine

    failed: dict[str, str] = {}
    with guarded(course), session(course) as api, one_engine():
        for done, (student, reasons) in enumerate(_graded(api, course, assignment, who, workers, rerun)):
            course.progress("autograde", done + 1, len(who))
            if reasons:
                failed[student] = "; ".join(reasons)
    course.progress("autograde", len(who), len(who))
    earlier = _read_notes(course, assignment, "failed", {}) if students is not None else {}
    kept = {student: reason for student, reason in earlier.items() if student not in who}
    _notes(course, assignment, "failed").write_text(json.dumps(kept | failed, indent=1), encoding="utf-8")
    _notes(course, assignment, "running").unlink(missing_ok=True)
    graded = [student for student in who if student not in failed]
    remember(course, assignment, graded)
    if who:  # without anybody there may be no gradebook yet
        after_run(course, assignment, graded)
    return failed


def _graded(
    api: Any, course: Course, assignment: str, who: Sequence[str], workers: int | None, rerun: bool
) -> Iterator[tuple[str, list[str]]]:
    """Each student when nbgrader has their marks, with the reasons of failures: see `_resume`."""
    from navcourse.grading import _resume
    from navcourse.grading._jobs import cores
    from navcourse.grading.pipeline import ProbeExecute

    # nbgrader checks a notebook against the format after every step; once at the end finds the same.
    api.config.Exporter.optimistic_validation = True
    execute = ProbeExecute(parent=api)
    jobs = {student: _resume.jobs_of(course, assignment, student, execute) for student in who}
    running = _notes(course, assignment, "running")
    cut_short = running.is_file() and not rerun
    done = _resume.finished(course, assignment, jobs, scores_of(api, assignment)) if cut_short else set()
    running.touch()
    for student in who:
        if student in done or not jobs[student]:  # all of theirs in quarantine: there is nothing to run
            yield student, []
    left = {student: own for student, own in jobs.items() if own and student not in done}
    results = _resume.run_missing(course, left, workers=workers or cores(), rerun=rerun)
    with contextlib.closing(results):
        for student, keys, reasons in results:
            reasons += _one_through_nbgrader(api, course, assignment, student, keys)
            if not reasons:
                _resume.mark_finished(course, assignment, student, keys)
            yield student, reasons


def _one_through_nbgrader(
    api: Any, course: Course, assignment: str, student: str, keys: Mapping[str, str]
) -> list[str]:
    """nbgrader's own autograding of one student, with results in place of kernels; what went wrong."""
    shutil.rmtree(course.root / "judged" / student / assignment, ignore_errors=True)
    api.config.ProbeExecute.executed = str(course.root / "executed")
    api.config.ProbeExecute.keys = dict(keys)
    begin = time.perf_counter()
    try:
        result = _unless_stopped(api.autograde(assignment, student, force=True, create=True))
    except Exception as error:  # one submission never stops the next
        result = {"success": False, "error": repr(error)}
    logging.getLogger("traitlets").info("%s took %.2f s", student, time.perf_counter() - begin)
    return [] if result["success"] else [last_line(result.get("error", ""))]


def _unless_stopped(result: Any) -> Any:
    """What a step of nbgrader gave; it takes Ctrl-C for a failure of the learner's and would go on."""
    if "\nKeyboardInterrupt" in result.get("error", ""):
        raise KeyboardInterrupt
    return result


def scores_of(api: Any, assignment: str) -> dict[str, dict[str, float]]:
    """What the gradebook has as automatic scores: student -> cell -> score."""
    with api.gradebook as gradebook:
        return {
            submission.student.id: {
                grade.name: grade.auto_score for notebook in submission.notebooks for grade in notebook.grades
            }
            for submission in gradebook.assignment_submissions(assignment)
        }


def feedback(course: Course, assignment: str, *, students: Sequence[str] | None = None) -> dict[str, Path]:
    """Write the feedback pages of everyone who was graded; returns each student's folder."""
    graded = sorted(p.parent.name for p in (course.root / "autograded").glob(f"*/{assignment}"))
    who = [student for student in graded if students is None or student in students]
    with session(course) as api:
        for done, student in enumerate(who):
            course.progress("feedback", done, len(who))
            result = _unless_stopped(api.generate_feedback(assignment, student, force=True))
            if not result["success"]:
                logging.getLogger("traitlets").error("feedback for %s: %s", student, result.get("error"))
    course.progress("feedback", len(who), len(who))
    folders = {student: course.root / "feedback" / student / assignment for student in who}
    return {student: folder for student, folder in folders.items() if folder.is_dir()}


def grade_class(
    course_root: Path,
    assignment: str,
    sources: Mapping[str, Path],
    submissions_folder: Path,
    *,
    checks_folder: Path,
    cohort: str,
    require_sandbox: bool = False,
    roster: Sequence[str] = (),
    readable: Sequence[Path] = (),
    timeout_s: int = 60,
    progress: Progress | None = None,
    workers: int | None = None,
    rerun: bool = False,
    foretell: Callable[[str], None] | None = None,
) -> ClassReport:
    """Release, collect, autograde and write feedback; one bad submission changes nobody else's mark.

    Parameters
    ----------
    course_root : nbgrader's course folder, made when missing; give each class its own.
    sources : the source notebook of each lesson (`navcourse.render`, kind "source").
    submissions_folder : what the learners handed in: ``<student>_<lesson>.ipynb`` or zip files.
    checks_folder : the hidden checks, `grading/checks`.
    cohort : seeds the hidden cases, such as "2026-autumn".
    roster : learners who are expected; one without a submission is reported as missing.
    readable : folders that the sandbox may read besides Python and the kit, such as data sets.
    workers : notebooks that run at a time; as many as there are processor cores when left out.
    rerun : run every notebook anew, also what ran before and has not changed.
    foretell : no mark is changed then: it is called with a sentence for each mark that would be.
    """
    course = Course(
        Path(course_root).resolve(),
        Path(checks_folder).resolve(),
        cohort,
        require_sandbox=require_sandbox,
        readable=tuple(readable),
        timeout_s=timeout_s,
        progress=progress or (lambda step, done, total: None),
    )
    course.root.mkdir(parents=True, exist_ok=True)
    release(course, assignment, sources)
    collect(course, assignment, Path(submissions_folder))
    if foretell is not None:
        for change in preview(course, assignment):
            foretell(str(change))
    else:
        autograde(course, assignment, workers=workers, rerun=rerun)
        feedback(course, assignment)
    return report(course, assignment, roster=roster)


def report(course: Course, assignment: str, *, roster: Sequence[str] = ()) -> ClassReport:
    """The marks as the gradebook has them, with what the steps before found for a human to look at."""
    problems = [Problem(**p) for p in _read_notes(course, assignment, "intake", [])]
    failed = _read_notes(course, assignment, "failed", {})
    named = {problem.student for problem in problems if problem.student}
    who = sorted({*roster, *submitted_students(course, assignment), *named})
    with session(course) as api:
        return class_report(api, course.root, assignment, who, problems, failed)


def submitted_students(course: Course, assignment: str) -> list[str]:
    """Everyone with a folder in ``submitted/``, also when it is empty after intake."""
    return sorted(path.parent.name for path in (course.root / "submitted").glob(f"*/{assignment}"))


def _notes(course: Course, assignment: str, step: str) -> Path:
    """Where one step leaves word for a later one, perhaps in another process."""
    folder = course.root / "notes"
    folder.mkdir(exist_ok=True)
    return folder / f"{assignment}.{step}.json"


def _read_notes(course: Course, assignment: str, step: str, default: Any) -> Any:
    path = _notes(course, assignment, step)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def _complete(course: Course, sources: Mapping[str, Path]) -> None:
    """Every exercise has a hidden check that can be asked: better known now than on the grading day."""
    import nbformat

    from navcourse.grading.pipeline import asked_of, checks_in, exercise_of

    checks = checks_in(str(course.checks_folder))
    for name, path in sources.items():
        for exercise in filter(None, map(exercise_of, nbformat.read(path, 4).cells)):
            if exercise not in checks:
                raise GradingError(
                    f"lesson '{name}': exercise '{exercise}' has no hidden check in {course.checks_folder}; "
                    "expected one function marked @hidden."
                )
            try:
                asked_of(checks[exercise], course.cohort)
            except Exception as error:
                raise GradingError(
                    f"lesson '{name}': the hidden check of '{exercise}' fails: {error}"
                ) from error


def _warm_caches(course: Course, assignment: str) -> None:
    """What every kernel needs and may not make, or not each anew: fonts, compiled functions, data sets."""
    fonts = course.root / "cache" / "matplotlib"
    if not any(fonts.glob("fontlist*.json")):
        fonts.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"MPLCONFIGDIR": str(fonts), "MPLBACKEND": "agg"}
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        subprocess.run(command, env=environment, capture_output=True, check=False)
    copy_compiled(course.root / "cache" / "numba")
    released = (course.root / "release" / assignment).glob("*.ipynb")
    _make_data_sets("".join(path.read_text(encoding="utf-8") for path in released))


def _make_data_sets(notebooks: str) -> None:
    # The folder of the data sets is read-only inside the sandbox: what is made on demand is made here.
    if "datasets" not in notebooks:  # nobody can ask for one
        return
    from navkit import datasets

    try:
        for name in datasets.names():
            if name in notebooks:
                with contextlib.suppress(datasets.DatasetError):  # a recording of others: not made, fetched
                    datasets.make(name)
    except datasets.DatasetError as error:
        logging.getLogger("traitlets").info("no data sets were made: %s", error)
