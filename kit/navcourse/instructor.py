"""What an instructor does after the grading: ``navcourse report``, ``certificates``, ``purge``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from navcourse.grading.report import ClassReport

ROOT = Path(__file__).resolve().parents[2]
CourseName = Annotated[str, typer.Argument(help="A folder of courses/.")]
Selection = Annotated[str, typer.Option(help="A selection of its lessons.")]
CourseRoot = Annotated[Path, typer.Option("--root", help="nbgrader's course root.", show_default="grading")]


def report(
    course: CourseName = "practical_use",
    selection: Selection = "half_day",
    root: CourseRoot = ROOT / "grading",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page and the CSV files; <root>/report.")
    ] = None,
    canvas: Annotated[
        Path | None, typer.Option(help="Canvas's export of its gradebook: its people and numbers are kept.")
    ] = None,
    pseudonyms: Annotated[
        bool,
        typer.Option(
            "--pseudonyms", help="Random ids instead of names; the key goes to a file outside the course."
        ),
    ] = False,
    key: Annotated[Path | None, typer.Option(help="Where the key of ids and names is kept.")] = None,
    roster: Annotated[Path | None, typer.Option(help="Learners who are expected, one a line.")] = None,
) -> None:
    """One page of the class: marks, what was misunderstood, what was set aside, slow cells, similar code.

    Marks go to CSV for Canvas and for anyone; each person gets a feedback page.
    """
    from navcourse.course import read_course
    from navcourse.grading import report as pages
    from navcourse.grading._pseudonyms import default_key

    expected = () if roster is None else tuple(filter(None, map(str.strip, _lines(roster))))
    found = _class(root, selection, expected)
    title = read_course(ROOT / "courses" / course).title
    pages.write_feedback(found, root, title=title)
    written = pages.write_report(
        found,
        root,
        out or root / "report",
        title=title,
        key_file=(key or default_key(root)) if pseudonyms else None,
        canvas_roster=canvas,
    )
    typer.echo(f"{written.page}; marks: {written.marks}")
    if written.unknown:
        typer.echo(f"not in Canvas's list: {', '.join(written.unknown)}")


def certificates(
    names: Annotated[
        Path, typer.Option(help="CSV with the columns id and name, the name as on the certificate.")
    ],
    date: Annotated[str, typer.Option(help="As it is to be read, such as '24 November 2026'.")],
    course: CourseName = "practical_use",
    selection: Selection = "half_day",
    root: CourseRoot = ROOT / "grading",
    hours: Annotated[
        float | None, typer.Option(help="Without it the lessons' minutes, rounded to half hours.")
    ] = None,
    language: Annotated[Literal["en", "nb"], typer.Option(help="Of the fixed words.")] = "en",
    issued_by: Annotated[str, typer.Option(help="Who signs.")] = "",
    at_least: Annotated[
        float, typer.Option(help="Only for this share of the points, %.", min=0, max=100)
    ] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the PDFs; <root>/certificates.")] = None,
) -> None:
    """A certificate as PDF for each person who handed in: name, course, date, hours, aims."""
    from navcourse.course import read_course
    from navcourse.grading._certificates import Certificate, write_certificates
    from navcourse.grading._pseudonyms import read_key
    from navcourse.lesson import find_lessons, read_lesson

    taught = read_course(ROOT / "courses" / course)
    if selection not in taught.selections:
        known = ", ".join(taught.selections)
        raise ValueError(f"{course} has no selection {selection!r}; expected one of {known}.")
    sources = find_lessons(ROOT / "notebooks" / "src")
    lessons = [read_lesson(sources[name]) for name in taught.selections[selection]]
    full = {own: name for name, own in read_key(names).items()}
    there = [row for row in _class(root, selection).rows if row.status != "missing"]
    passed = [row.student for row in there if row.total >= at_least / 100 * row.max]
    certificate = Certificate(
        taught.title_nb if language == "nb" else taught.title,
        date,
        round(sum(lesson.minutes for lesson in lessons) / 30) / 2 if hours is None else hours,
        tuple(aim for lesson in lessons for aim in lesson.objectives),
        issued_by,
        language,
    )
    folder = out or root / "certificates"
    written = write_certificates({own: full[own] for own in passed if own in full}, certificate, folder)
    typer.echo(f"{len(written)} certificates in {folder}")
    if unnamed := [own for own in passed if own not in full]:
        typer.echo(f"without a name in {names.name}: {', '.join(unnamed)}")


def purge(
    root: CourseRoot = ROOT / "grading",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; there is no way back.")] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="Also search what stays for this name; may be given again.")
    ] = None,
) -> None:
    """Remove what identifies people from the course root when the course is over; without --yes only list it.

    Copy the marks to where your institution keeps them first.
    """
    from navcourse.grading import _pseudonyms

    found = _pseudonyms.purge(root, names=tuple(name or ()), yes=yes)
    for path in found.removed:
        typer.echo(str(path))
    typer.echo(
        f"{found.n_bytes / 1e6:.1f} MB {'are removed' if found.done else 'would be removed with --yes'}"
    )
    for path in found.left:
        typer.echo(f"still names someone, look yourself: {path}")


def _class(root: Path, selection: str, roster: tuple[str, ...] = ()) -> "ClassReport":
    from navcourse.grading import run
    from navcourse.grading.settings import Course

    if not (root / "gradebook.db").is_file():
        raise ValueError(f"{root} has no gradebook.db; expected a class that was graded (navcourse grade).")
    graded = Course(root.resolve(), (ROOT / "grading" / "checks").resolve(), cohort="")
    return run.report(graded, selection, roster=roster)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8-sig").splitlines()
