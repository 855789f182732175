"""Courses: who is taught what and when, read from ``courses/``; and the bundles made from them."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navcourse.lesson import find_lessons, read_lesson
from navcourse.render import render, write_notebook

__all__ = [
    "Course",
    "CourseError",
    "Entry",
    "Need",
    "build",
    "find_courses",
    "needs_table",
    "read_course",
    "read_needs",
]

STATES = ("answered", "partly", "planned")


class CourseError(ValueError):
    """A course or a table of needs that cannot be read: file, expected, got, in one sentence."""


@dataclass(frozen=True)
class Entry:
    """A lesson's place in a course: its id, the minutes it takes, and whether it counts."""

    lesson: str
    minutes: int
    assessed: bool


@dataclass(frozen=True)
class Course:
    """A course: ordered lessons, named selections of them, and what is planned but not there yet."""

    id: str
    title: str
    title_nb: str
    audience: str
    needs: tuple[str, ...]
    lessons: tuple[Entry, ...]
    selections: Mapping[str, tuple[str, ...]]
    planned: tuple[str, ...]

    @property
    def minutes(self) -> int:
        """The minutes of all lessons, without breaks."""
        return sum(entry.minutes for entry in self.lessons)


@dataclass(frozen=True)
class Need:
    """A need of the plan's tables: its number, its words, and what answers it.

    `answers` holds lesson ids and pages (paths from the top of the project, ending in ``.md``);
    `state` is "answered", "partly" or "planned"; `planned` says what is still to come.
    """

    number: str
    text: str
    text_nb: str
    state: str
    answers: tuple[str, ...]
    planned: str


def read_course(folder: Path | str) -> Course:
    """Read ``course.toml`` in a folder of ``courses/``; the folder's name is the course's id.

    Raises
    ------
    CourseError
        If a key is missing, unknown or of the wrong type, a lesson stands twice, or a selection names
        a lesson that the course does not have.
    FileNotFoundError
        If there is no ``course.toml``.
    """
    path = Path(folder) / "course.toml"
    data = _toml(path)
    keys = {
        "title": str, "title_nb": str, "audience": str, "needs": list, "lessons": list, "selections": dict,
        "planned": list,
    }  # fmt: skip
    _demand_keys(path, "the course", data, keys)
    entries = []
    for item in data["lessons"]:
        _demand_keys(path, "a lesson", item, {"lesson": str, "minutes": int, "assessed": bool})
        entries.append(Entry(item["lesson"], item["minutes"], item["assessed"]))
    names = [entry.lesson for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise CourseError(f"{path}: expected each lesson once, got '{name}' {names.count(name)} times.")
    for title, chosen in data["selections"].items():
        for name in chosen:
            if name not in names:
                raise CourseError(
                    f"{path}: expected the selection '{title}' to name lessons of the course "
                    f"({', '.join(names)}), got '{name}'."
                )
    return Course(
        id=path.resolve().parent.name,
        title=data["title"],
        title_nb=data["title_nb"],
        audience=data["audience"],
        needs=tuple(data["needs"]),
        lessons=tuple(entries),
        selections={title: tuple(chosen) for title, chosen in data["selections"].items()},
        planned=tuple(data["planned"]),
    )


def find_courses(root: Path | str) -> dict[str, Path]:
    """Course id -> folder, for each folder of ``courses/`` with a ``course.toml``, sorted by name."""
    return {path.parent.name: path.parent for path in sorted(Path(root).glob("courses/*/course.toml"))}


def read_needs(path: Path | str) -> tuple[Need, ...]:
    """Read ``courses/needs.toml``.

    Raises
    ------
    CourseError
        If a key is missing, unknown or of the wrong type, a number stands twice, or a state and its
        answers contradict each other: "planned" has none, the others have some.
    """
    path = Path(path)
    data = _toml(path)
    _demand_keys(path, "the file", data, {"needs": list})
    keys = {"number": str, "text": str, "text_nb": str, "state": str, "answers": list, "planned": str}
    needs: list[Need] = []
    for item in data["needs"]:
        _demand_keys(path, "a need", item, keys)
        need = Need(**{**item, "answers": tuple(item["answers"])})
        if any(other.number == need.number for other in needs):
            raise CourseError(f"{path}: expected each need once, got {need.number} twice.")
        if need.state not in STATES:
            raise CourseError(
                f"{path}: expected the state of {need.number} to be one of {', '.join(STATES)}, "
                f"got {need.state!r}."
            )
        if (need.state == "planned") == bool(need.answers):
            got = ", ".join(need.answers) or "none"
            raise CourseError(
                f"{path}: expected answers for need {need.number} unless it is planned, got {got} "
                f"in the state '{need.state}'."
            )
        if (need.state == "answered") == bool(need.planned):
            raise CourseError(
                f"{path}: expected words on what is planned for need {need.number} unless it is answered, "
                f"got {need.planned!r} in the state '{need.state}'."
            )
        needs.append(need)
    return tuple(needs)


def build(root: Path | str, course: Course, selection: str | None, out: Path | str) -> tuple[Path, ...]:
    """Write a course's notebooks, numbered in their order, into ``out/student`` and ``out/instructor``.

    Everything is rendered before anything is written. Numbered notebooks of an earlier build are removed.

    Parameters
    ----------
    root : top of the project, with ``notebooks/src``
    course : from `read_course`
    selection : name of one of its selections; None for all its lessons
    out : folder, made when it is missing

    Returns
    -------
    the paths written, e.g. ``out/student/01_pointer_pivot.ipynb``

    Raises
    ------
    CourseError
        If the course has no such selection, or a lesson does not exist.
    """
    if selection is not None and selection not in course.selections:
        known = ", ".join(course.selections) or "none"
        raise CourseError(f"{course.id} has no selection {selection!r}; expected one of {known}.")
    chosen = [e.lesson for e in course.lessons] if selection is None else course.selections[selection]
    scripts = find_lessons(Path(root) / "notebooks" / "src")
    for name in chosen:
        if name not in scripts:
            known = ", ".join(scripts) or "none"
            raise CourseError(f"{course.id}: expected lessons among {known}, got '{name}'.")
    made = {}
    for number, name in enumerate(chosen, 1):
        lesson = read_lesson(scripts[name])
        for kind in ("student", "instructor"):
            made[Path(out) / kind / f"{number:02d}_{name}.ipynb"] = render(lesson, kind)
    for kind in ("student", "instructor"):
        for path in (Path(out) / kind).glob("[0-9][0-9]_*.ipynb"):
            if path not in made:
                path.unlink()
    for path, notebook in made.items():
        write_notebook(notebook, path)
    return tuple(made)


def needs_table(root: Path | str) -> str:
    """The text of ``courses/README.md``: which need is answered by what, and what each course holds.

    Raises
    ------
    CourseError
        If a course names a need that ``needs.toml`` does not have.
    """
    root = Path(root)
    needs = read_needs(root / "courses" / "needs.toml")
    courses = [read_course(folder) for folder in find_courses(root).values()]
    numbers = [need.number for need in needs]
    for course in courses:
        for number in course.needs:
            if number not in numbers:
                raise CourseError(
                    f"courses/{course.id}/course.toml: expected needs among {', '.join(numbers)}, "
                    f"got '{number}'."
                )
    lines = [
        "# Courses",
        "",
        "<!-- Made from needs.toml and each course.toml by `navcourse notebooks`: edit those. -->",
        "",
        "Which need is answered by what, and what each course holds today. "
        "A need that is *planned* has no lesson yet.",
        "",
        "## Needs",
        "",
        "| need | in English | på norsk | state | course | answered by | still planned |",
        "|---|---|---|---|---|---|---|",
    ]
    for need in needs:
        taught = [f"[{c.title}]({c.id}/syllabus.md)" for c in courses if need.number in c.needs]
        row = (
            need.number,
            need.text,
            need.text_nb,
            need.state,
            ", ".join(taught) or "none",
            ", ".join(_answer(answer) for answer in need.answers) or "nothing yet",
            need.planned or "nothing",
        )
        lines.append(_row(row))
    lines += [
        "",
        "## Courses",
        "",
        "| course | på norsk | for whom | lessons, in order | minutes | selections |",
        "|---|---|---|---|---|---|",
    ]
    for course in courses:
        titles = [f"`{e.lesson}`" + (" (assessed)" if e.assessed else "") for e in course.lessons]
        cells = (
            f"[{course.title}]({course.id}/syllabus.md)",
            f"[{course.title_nb}]({course.id}/syllabus.nb.md)",
            course.audience,
            ", ".join(titles) or "none yet",
            str(course.minutes),
            ", ".join(f"`{name}`" for name in course.selections) or "none",
        )
        lines.append(_row(cells))
    lines += [
        "",
        "Minutes are those of the lessons, without breaks. Build one with `navcourse build <course>`; "
        "the course is the folder's name, such as `practical_use`.",
        "",
    ]
    return "\n".join(lines)


# -- the parts -----------------------------------------------------------------------------------


def _answer(answer: str) -> str:
    if answer.endswith(".md"):
        return f"[{answer}]({answer.removeprefix('courses/')})"
    return f"`{answer}`"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path}: expected TOML, got a mistake: {error}.") from None


def _demand_keys(path: Path, what: str, data: Any, keys: Mapping[str, type]) -> None:
    expected = ", ".join(keys)
    for key in data:
        if key not in keys:
            raise CourseError(f"{path}: expected the keys {expected} in {what}, got '{key}'.")
    for key, kind in keys.items():
        if key not in data:
            raise CourseError(f"{path}: expected the keys {expected} in {what}, got none named '{key}'.")
        if type(data[key]) is not kind:  # exactly: true is no number of minutes
            raise CourseError(
                f"{path}: expected '{key}' of {what} to be of type {kind.__name__}, got {data[key]!r}."
            )
