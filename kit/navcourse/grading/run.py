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
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from traitlets.config import Config

from navcourse.grading.collector import student_and_lesson
from navcourse.grading.intake import Problem, intake, quarantine
from navcourse.grading.report import ClassReport, class_report
from navcourse.grading.sandbox import copy_compiled, sandbox_available
from navcourse.grading.settings import Course, GradingError, Progress, last_line, must, session

__all__ = ["Course", "GradingError", "autograde", "collect", "feedback", "grade_class", "release", "report"]

PASSED_OVER = "Nothing, if no lesson asks for such a file; it is not graded."
RENAME = "Rename the file to <student>_<lesson>.ipynb and collect again."
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
    with session(course) as api:
        must(
            api.generate_assignment(assignment, force=True, create=True),
            f"'{assignment}' was not made",
            course,
        )
        if os.name != "nt":  # nbgrader has no exchange on Windows: hand out the folder release/
            must(api.release_assignment(assignment), f"'{assignment}' was not released", course)
    return {name: course.root / "release" / assignment / f"{name}.ipynb" for name in sources}


def collect(course: Course, assignment: str, submissions: Path) -> list[Problem]:
    """Bring in notebooks and zip files named ``<student>_<lesson>``, or ``<student>/<lesson>.ipynb``.

    nbgrader's own zip collector sorts them into ``submitted/``; it needs no exchange and works on
    Windows. Then every notebook is looked at: see `intake`.

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
    from nbgrader.apps.zipcollectapp import ZipCollectApp
    from nbgrader.utils import temp_attrs

    problems = _archive(course, assignment, submissions, list(released))
    shutil.rmtree(course.root / "downloaded" / assignment / "extracted", ignore_errors=True)
    with session(course) as api, temp_attrs(api.coursedir, assignment_id=assignment):
        config = Config(api.config)
        config.ZipCollectApp.collector_plugin = "navcourse.grading.collector.SubmissionCollector"
        config.ZipCollectApp.force = config.ExtractorPlugin.force = True
        config.SubmissionCollector.lessons = list(released)
        config.SubmissionCollector.extracted = str(course.root / "downloaded" / assignment / "extracted")
        app = ZipCollectApp(config=config, coursedir=api.coursedir, log=logging.getLogger("traitlets"))
        app.init_plugins()
        try:
            app.extract_archive_files()
            app.process_extracted_files()
        except SystemExit as error:
            raise GradingError(f"nbgrader's collector stopped; see {course.log}.") from error
        problems += [
            Problem("", name, "the file's name does not say who and what", RENAME, False)
            for name in app.collector_plugin_inst.not_understood
        ]
    problems += intake(course.root / "submitted", assignment, released)
    _notes(course, assignment, "intake").write_text(json.dumps([asdict(p) for p in problems], indent=1))
    return problems


def autograde(course: Course, assignment: str, *, students: Sequence[str] | None = None) -> dict[str, str]:
    """Grade everyone in ``submitted/`` (or `students`), each alone; returns reasons of failures by student.

    Raises
    ------
    GradingError
        If a sandbox is required and there is none.
    """
    if not sandbox_available():
        if course.require_sandbox:
            raise GradingError(NO_SANDBOX.removesuffix(" Use require_sandbox to refuse."))
        warnings.warn(NO_SANDBOX, stacklevel=2)
    who = list(students) if students is not None else submitted_students(course, assignment)
    if who:
        _warm_caches(course, assignment)
    failed: dict[str, str] = {}
    with session(course) as api:
        for done, student in enumerate(who):
            course.progress("autograde", done, len(who))
            if not any((course.root / "submitted" / student / assignment).glob("*.ipynb")):
                continue  # everything of theirs is in quarantine: there is nothing to run
            shutil.rmtree(course.root / "judged" / student / assignment, ignore_errors=True)
            begin = time.perf_counter()
            try:
                result = api.autograde(assignment, student, force=True, create=True)
            except Exception as error:  # one submission never stops the next
                result = {"success": False, "error": repr(error)}
            logging.getLogger("traitlets").info("%s took %.2f s", student, time.perf_counter() - begin)
            if not result["success"]:
                failed[student] = last_line(result.get("error", ""))
    course.progress("autograde", len(who), len(who))
    earlier = _read_notes(course, assignment, "failed", {}) if students is not None else {}
    kept = {student: reason for student, reason in earlier.items() if student not in who}
    _notes(course, assignment, "failed").write_text(json.dumps(kept | failed, indent=1))
    return failed


def feedback(course: Course, assignment: str, *, students: Sequence[str] | None = None) -> dict[str, Path]:
    """Write the feedback pages of everyone who was graded; returns each student's folder."""
    graded = sorted(p.parent.name for p in (course.root / "autograded").glob(f"*/{assignment}"))
    who = [student for student in graded if students is None or student in students]
    with session(course) as api:
        for done, student in enumerate(who):
            course.progress("feedback", done, len(who))
            result = api.generate_feedback(assignment, student, force=True)
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
    autograde(course, assignment)
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
    return json.loads(path.read_text()) if path.is_file() else default


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


def _archive(course: Course, assignment: str, submissions: Path, lessons: list[str]) -> list[Problem]:
    """Copy what was handed in to where nbgrader's collector looks; a damaged zip would stop it."""
    files = [p for p in sorted(submissions.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    if not files:
        raise GradingError(f"{submissions} holds no file; expected the learners' notebooks or zip files.")
    archive = course.root / "downloaded" / assignment / "archive"
    in_place = archive.resolve() == submissions.resolve()
    if not in_place:
        shutil.rmtree(archive, ignore_errors=True)
    archive.mkdir(parents=True, exist_ok=True)
    problems = []
    for path in files:
        parts = path.relative_to(submissions).parts
        damage = _zip_damage(path) if path.suffix == ".zip" else ""
        if path.suffix not in (".ipynb", ".zip"):
            problems.append(
                Problem("", "/".join(parts), "neither a notebook nor a zip file", PASSED_OVER, True)
            )
        elif damage:
            who = student_and_lesson(parts, lessons)
            student = who[0] if who else path.stem
            kept = quarantine(
                path, course.root / "quarantine" / student / assignment, damage, keep=not in_place
            )
            todo = f"Look at {kept} and ask {student} to hand it in anew."
            problems.append(Problem(student, path.name, damage, todo, False))
        elif not in_place:
            target = archive.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return problems


def _zip_damage(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return "the zip file is damaged or has a password"
    return f"the zip file is damaged at '{bad}'" if bad else ""


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
    from navkit import datasets

    try:
        for name in datasets.names():
            if name in notebooks:
                with contextlib.suppress(datasets.DatasetError):  # a recording of others: not made, fetched
                    datasets.make(name)
    except datasets.DatasetError as error:
        logging.getLogger("traitlets").info("no data sets were made: %s", error)
