"""The whole chain on one page: recording to volume, lessons built, a class of six graded."""

import copy
import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from navcourse.course import Course, build, read_course
from navcourse.grading.mistakes import load_mistakes
from navcourse.grading.report import ClassReport, marks_table
from navcourse.grading.run import grade_class
from navcourse.grading.sandbox import sandbox_available
from navcourse.grading.settings import Progress
from navcourse.lesson import Lesson, find_lessons, read_lesson, solution_source
from navcourse.render import render, write_notebook

COHORT = "demo"
SPACING_MM = 0.2


@dataclass(frozen=True)
class Participant:
    """One simulated participant: who they are, and which named mistake they make in which exercise."""

    name: str
    story: str
    mistakes: Mapping[str, str] = field(default_factory=dict)
    writes: bool = True
    warns: bool = False
    broken: str = ""


CLASS = (
    Participant("p01", "everything right"),
    Participant("p02", "everything right, with a Python warning in each answer", warns=True),
    Participant(
        "p03",
        "tip and pivot mixed up; registration turned round",
        {"find_tip": "returns_the_pivot", "fit_rigid": "maps_the_other_way"},
    ),
    Participant(
        "p04",
        "picture mirrored; the last pixel kept instead of the mean",
        {"pixel_to_reference": "mirrored", "nearest_voxel_mean": "the_last"},
    ),
    Participant("p05", "opened the notebooks and handed them in untouched", writes=False),
    Participant(
        "p06", "everything right, but one file was cut off when it was copied", broken="point_registration"
    ),
)


def run_demo(root: Path, out: Path) -> None:
    """Make the demo page in `out`; prints what happens and ends with three lines telling where to look."""
    from rich.console import Console

    console = Console(highlight=False)
    begin = time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with told_progress() as progress:
        progress("a recording becomes a volume", 0, 1)
        facts = reconstruct_and_picture(out)
        progress("a recording becomes a volume", 1, 1)
        course = read_course(root / "courses" / "practical_use")
        progress("three lessons are built", 0, 1)
        build(root, course, "half_day", out / "notebooks")
        lessons = [_lesson(root, name) for name in course.selections["half_day"]]
        hand_in(root, lessons, out / "submissions")
        progress("three lessons are built", 1, 1)
        report = grade_selection(
            root,
            "practical_use",
            "half_day",
            course_root=out / "grading",
            submissions=out / "submissions",
            cohort=COHORT,
            progress=progress,
        )
    write_page(out, facts, course, lessons, report, time.perf_counter() - begin)
    console.print(marks_table(report))
    for line in (
        f"The page:      {out / 'index.html'}",
        f"The notebooks: {out / 'notebooks' / 'student'} (learners) and instructor (you) beside it",
        "Next:          make lab, and open reconstruction/volume_reconstruction.ipynb",
    ):
        console.print(line, soft_wrap=True)


def reconstruct_and_picture(out: Path) -> dict[str, str]:
    """Reconstruct the wire cross (real recording if here, else simulated), save volume and pictures."""
    from navkit import datasets, files, viewing
    from navkit.reconstruction import measure_wire_cross, output_grid, reconstruct

    real = datasets.recording("custusx/angio_lab_256x192")
    sweep = files.read_acquisition(real or datasets.make("wire_cross_sweep"))
    seen = (137.3, 134.5, 100.3) if real else (134.2, 134.3, 100.1)
    begin = time.perf_counter()
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=SPACING_MM), fill="custusx")
    seconds = time.perf_counter() - begin
    wires = measure_wire_cross(volume, around_pr=seen, rng=np.random.default_rng(0))
    files.write_volume(volume, out / "wire_cross.mha")
    kind = "real CustusX recording" if real else "simulated sweep"
    used = np.flatnonzero(sweep.valid)
    chosen = [int(used[int(q * (len(used) - 1))]) for q in (0.05, 0.3, 0.47, 0.7)]
    words = {
        "frames": f"Four frames of the {kind} of a wire cross in water. One wire is a bright point that "
        "wanders from frame to frame, the other is a line when the probe passes along it.",
        "slices": f"Three slices through the volume at the point where the wires cross. They meet at "
        f"{wires.angle_deg:.1f} degrees. Blue-grey is where there are no data.",
    }
    viewing.save(viewing.frame_gallery(sweep, chosen), out / "frames.png", words["frames"])
    viewing.save(
        viewing.orthogonal_slices(volume, wires.cross_pr, thickness=2), out / "slices.png", words["slices"]
    )
    nz, ny, nx = volume.grid.shape
    x, y, z = volume.grid.extent_mm
    return {
        "kind": kind,
        "frames_words": words["frames"],
        "slices_words": words["slices"],
        "Frames used": f"{len(used)} of {len(sweep)}",
        "Volume": f"{nx} × {ny} × {nz} voxels of {SPACING_MM} mm, {x:.1f} × {y:.1f} × {z:.1f} mm",
        "Voxels with data": f"{100 * float((volume.weight > 0).mean()):.1f} %, filled "
        f"{100 * float(volume.filled.mean()):.1f} %",
        "Angle between the wires": f"{wires.angle_deg:.1f}° (the phantom: 89.99°)",
        "Gap between the wires": f"{wires.gap_mm:.2f} mm (the phantom: 0.01 mm)",
        "Time for reconstruction": f"{seconds:.1f} s, hole filling included",
    }


def readme_picture(path: Path) -> None:
    """The README's picture: the simulated sweep (CC BY) and its volume."""
    from navkit import datasets, files, viewing
    from navkit.reconstruction import measure_wire_cross, output_grid, reconstruct

    sweep = files.read_acquisition(datasets.make("wire_cross_sweep"))
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=SPACING_MM), fill="custusx")
    wires = measure_wire_cross(volume, around_pr=(134.2, 134.3, 100.1), rng=np.random.default_rng(0))
    figure = viewing.sweep_and_volume(sweep, [6, 38, 62], volume, wires.cross_pr, thickness=2)
    viewing.save(
        figure,
        path,
        "Top: three frames of a simulated ultrasound sweep over two crossed wires in water; one wire is a "
        "bright point, the other a line. Bottom: three slices through the volume reconstructed from the "
        "sweep, in which the two wires cross.",
    )


def hand_in(root: Path, lessons: list[Lesson], folder: Path) -> None:
    """Write what the six participants hand in: ``<name>_<lesson>.ipynb``."""
    wrong = {
        (one.exercise, one.name): one
        for many in load_mistakes(root / "grading" / "mistakes").values()
        for one in many
    }
    folder.mkdir(parents=True)
    for lesson in lessons:
        blank = render(lesson, "student")
        for who in CLASS:
            notebook = copy.deepcopy(blank)
            for cell in notebook.cells:
                exercise = cell.metadata.get("nbgrader", {}).get("grade_id", "")
                if exercise in lesson.exercises and who.writes:
                    cell.source = _answer(lesson, exercise, who, wrong)
            path = folder / f"{who.name}_{lesson.id}.ipynb"
            write_notebook(notebook, path)
            if who.broken == lesson.id:
                whole = path.read_bytes()
                path.write_bytes(whole[: len(whole) // 2])


def _answer(lesson: Lesson, exercise: str, who: Participant, wrong: Mapping[tuple[str, str], Any]) -> str:
    """The source of an exercise cell: the solution or the participant's mistake under the right name."""
    if exercise in who.mistakes:
        function = wrong[exercise, who.mistakes[exercise]].function
        source = "\n\n\n".join(_with_helpers(function)).replace(
            f"def {function.__name__}(", f"def {exercise}("
        )
    else:
        source = solution_source(lesson, exercise)
    if who.warns:
        head, _, body = source.partition(":\n")
        source = f'{head}:\n    import warnings\n\n    warnings.warn("deprecated, says a library")\n{body}'
    return "import numpy as np\n\n" + source


def _with_helpers(function: Any) -> list[str]:
    """The source of a function without its decorator, after the functions of its module that it calls."""
    lines = inspect.getsource(function).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("def "))
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    helpers = [f for f in called if inspect.isfunction(f) and f.__module__ == function.__module__]
    return [*(text for f in helpers for text in _with_helpers(f)), "\n".join(lines[start:])]


def grade_selection(
    root: Path,
    course_name: str,
    selection: str,
    *,
    course_root: Path,
    submissions: Path,
    cohort: str,
    require_sandbox: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
    rerun: bool = False,
    foretell: Callable[[str], None] | None = None,
) -> ClassReport:
    """Grade one selection of a course: its lessons rendered as nbgrader's source, then `grade_class`."""
    course = read_course(root / "courses" / course_name)
    if selection not in course.selections:
        raise ValueError(
            f"{course_name} has no selection {selection!r}; expected one of {', '.join(course.selections)}."
        )
    if not submissions.exists():
        raise ValueError(
            f"{submissions} does not exist; expected a folder or a zip with what the learners handed in."
        )
    sources = {}
    for name in course.selections[selection]:
        path = course_root / "rendered" / f"{name}.ipynb"
        write_notebook(render(_lesson(root, name), "source"), path)
        sources[name] = path
    return grade_class(
        course_root,
        selection,
        sources,
        submissions,
        checks_folder=root / "grading" / "checks",
        cohort=cohort,
        require_sandbox=require_sandbox,
        readable=(root / "datasets",),
        progress=progress,
        workers=workers,
        rerun=rerun,
        foretell=foretell,
    )


def _lesson(root: Path, name: str) -> Lesson:
    return read_lesson(find_lessons(root / "notebooks" / "src")[name])


def write_page(
    out: Path,
    facts: Mapping[str, str],
    course: Course,
    lessons: list[Lesson],
    report: ClassReport,
    seconds: float,
) -> None:
    """Write ``index.html``: pictures, lessons, marks, what to open next."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from navkit import __version__

    environment = Environment(
        loader=PackageLoader("navcourse"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    stories = {who.name: who.story for who in CLASS}
    page = environment.get_template("demo.html").render(
        facts={k: v for k, v in facts.items() if k[0].isupper()},
        kind=facts["kind"],
        words={k.removesuffix("_words"): v for k, v in facts.items() if k.endswith("_words")},
        course=course,
        lessons=lessons,
        report=report,
        stories=stories,
        feedback={row.student: _pages(out, row.feedback) for row in report.rows},
        heard={row.student: _heard(out / "grading", report.assignment, row.student) for row in report.rows},
        sandbox=sandbox_available(),
        minutes=sum(lesson.minutes for lesson in lessons),
        seconds=seconds,
        version=__version__,
    )
    (out / "index.html").write_text(page, encoding="utf-8")


def _heard(course_root: Path, assignment: str, student: str) -> dict[str, str]:
    """What the judge told a participant about each exercise that is not right, a line each.

    A line that names a likely cause comes before one that does not.
    """
    told = {}
    for path in sorted((course_root / "judged" / student / assignment).glob("*.json")):
        for exercise, verdict in json.loads(path.read_text(encoding="utf-8")).items():
            wrong = [line for line in verdict["lines"] if line.startswith("✗")]
            if wrong:
                told[exercise] = next((line for line in wrong if "This looks like" in line), wrong[0])
    return told


def _pages(out: Path, folder: Path | None) -> dict[str, str]:
    """The feedback pages of one participant: lesson -> address relative to the page."""
    if folder is None:
        return {}
    here = out.resolve()
    return {path.stem: path.resolve().relative_to(here).as_posix() for path in sorted(folder.glob("*.html"))}


@contextmanager
def told_progress() -> Iterator[Progress]:
    """A progress bar for each step, with the time left, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield tell
