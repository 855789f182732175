"""The command line of the course."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from navcourse import instructor
from navkit.commands import run

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    help="The navigation-platform course: build lessons, grade classes. "
    "For teaching and research; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(epilog="Example: navcourse demo --out build/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the page; what is there is replaced.")] = Path(
        "build/demo"
    ),
) -> None:
    """The whole chain: a recording becomes a volume, lessons are built, a class is graded, on one page."""
    from navcourse.demo import run_demo

    run_demo(ROOT, out)


@app.command(
    epilog="Example: navcourse lab -- --no-browser",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the self-study notebooks; what follows -- goes to JupyterLab."""
    # JupyterLab asks for news, updates and extensions on the network; here nothing does.
    offline = [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    command = [sys.executable, "-m", "jupyterlab", str(ROOT / "notebooks"), *offline, *context.args]
    raise typer.Exit(subprocess.run(command, env=_environment(), check=False).returncode)


@app.command(epilog="Example: navcourse notebooks --check")
def notebooks(
    check: Annotated[bool, typer.Option("--check", help="Only say what is stale; change nothing.")] = False,
) -> None:
    """Derive the self-study notebooks and the generated pages from their sources."""
    from navcourse.course import needs_table
    from navcourse.environment import environment_yml
    from navcourse.lesson import find_lessons, read_lesson
    from navcourse.render import render, write_notebook
    from navcourse.verify import stale

    if check:
        problems = stale(ROOT)
        if problems:
            raise ValueError(" ".join(problems) + " Run: navcourse notebooks")
        typer.echo("every derived notebook is fresh")
        return
    lessons = [read_lesson(path) for path in find_lessons(ROOT / "notebooks" / "src").values()]
    wanted = set()
    for lesson in lessons:
        path = ROOT / "notebooks" / lesson.module / f"{lesson.id}.ipynb"
        write_notebook(render(lesson, "self_study"), path)
        wanted.add(path)
    for path in (ROOT / "notebooks").glob("*/*.ipynb"):
        if path not in wanted:
            path.unlink()
    (ROOT / "courses" / "README.md").write_text(needs_table(ROOT), encoding="utf-8")
    (ROOT / "environment.yml").write_text(environment_yml(ROOT), encoding="utf-8")
    typer.echo(f"{len(lessons)} lessons derived into notebooks/")


@app.command(epilog="Example: navcourse build practical_use --selection half_day")
def build(
    course: Annotated[str, typer.Argument(help="A folder of courses/.")],
    selection: Annotated[
        str | None, typer.Option(help="A selection of its lessons; all when left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; build/<course> when left out.")] = None,
) -> None:
    """Build a course's student and instructor notebooks, numbered in their order."""
    from navcourse.course import build as build_course
    from navcourse.course import read_course

    folder = out or ROOT / "build" / course
    build_course(ROOT, read_course(ROOT / "courses" / course), selection, folder)
    typer.echo(
        f"{course}: notebooks for learners in {folder / 'student'}, for you in {folder / 'instructor'}"
    )


@app.command(epilog="Example: navcourse grade practical_use --selection half_day --submissions downloads")
def grade(
    course: Annotated[str, typer.Argument(help="A folder of courses/.")] = "practical_use",
    selection: Annotated[str, typer.Option(help="A selection of its lessons.")] = "half_day",
    submissions: Annotated[
        Path | None,
        typer.Option(
            help="Notebooks or zips named <student>_<lesson>; grading/downloaded/<selection>/archive."
        ),
    ] = None,
    cohort: Annotated[
        str, typer.Option(help="Seeds the hidden cases; one word for each class.")
    ] = "workshop",
    require_sandbox: Annotated[
        bool, typer.Option("--require-sandbox", help="Refuse to run learners' code without bubblewrap.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Notebooks that run at a time; one for each core.", min=1)
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run every notebook anew, also what has not changed.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say who would get another mark, and why.")
    ] = False,
) -> None:
    """Grade a class through nbgrader: release, collect, autograde, feedback; one table at the end."""
    from rich.console import Console

    from navcourse.demo import grade_selection, told_progress
    from navcourse.grading.report import marks_table, write_csv

    root = ROOT / "grading"
    foretold: list[str] = []
    with told_progress() as progress:
        report = grade_selection(
            ROOT,
            course,
            selection,
            course_root=root,
            submissions=submissions or root / "downloaded" / selection / "archive",
            cohort=cohort,
            require_sandbox=require_sandbox,
            progress=progress,
            workers=workers,
            rerun=rerun,
            foretell=foretold.append if preview else None,
        )
    if preview:
        typer.echo("\n".join(foretold) or "no mark would change")
        return
    Console().print(marks_table(report))
    write_csv(report, root / "marks.csv")
    typer.echo(f"marks: {root / 'marks.csv'}; feedback: {root / 'feedback'}; by hand: nbgrader formgrader")


for command, example in (
    (instructor.report, "navcourse report practical_use --selection half_day"),
    (instructor.certificates, "navcourse certificates --names names.csv --date '24 November 2026'"),
    (instructor.purge, "navcourse purge"),
):
    app.command(epilog=f"Example: {example}")(command)


@app.command(
    epilog="Example: navcourse check -- tests/navkit -k pivot",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def check(
    context: typer.Context,
    only: Annotated[
        Literal["all", "lint", "tests"], typer.Option(help="Style and types, or the tests, or all.")
    ] = "all",
) -> None:
    """Everything that CI checks: style, types, tests, notebooks, grading end to end."""
    python = sys.executable
    lint = [
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy"],
    ]
    tests = [[python, "-m", "pytest", "-n", "2", "--dist", "worksteal", *context.args]]
    for command in {"all": lint + tests, "lint": lint, "tests": tests}[only]:
        typer.echo("$ " + " ".join(command[1:]))
        code = subprocess.run(command, cwd=ROOT, env=_environment(), check=False).returncode
        if code:
            raise typer.Exit(code)


def _environment() -> dict[str, str]:
    """This process's environment with the interpreter's own scripts on PATH: nbgrader calls alembic."""
    scripts = str(Path(sys.executable).parent)
    return os.environ | {"PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}


def main() -> None:
    """The console script."""
    from navcourse.grading.settings import GradingError

    os.environ.update(_environment())
    warnings.formatwarning = lambda message, *where, **more: f"note: {message}\n"
    sys.exit(run(app, GradingError))


if __name__ == "__main__":
    main()
