"""Courses and needs are read, built in their order, and shown on one page that is always true."""

import re
from pathlib import Path

import nbformat
import pytest

from navcourse.course import (
    Course,
    CourseError,
    Entry,
    build,
    find_courses,
    needs_table,
    read_course,
    read_needs,
)
from navcourse.lesson import find_lessons, read_lesson

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLE = HERE / "sample_lesson.py"
COURSES = find_courses(ROOT)
LESSONS = find_lessons(ROOT / "notebooks" / "src")

COURSE_TOML = """\
title = "Two"
title_nb = "To"
audience = "us"
needs = ["9-1"]
planned = ["three"]

[[lessons]]
lesson = "beta"
minutes = 30
assessed = true

[[lessons]]
lesson = "alpha"
minutes = 35
assessed = false

[selections]
short = ["alpha"]
"""
NEEDS_TOML = """\
[[needs]]
number = "9-1"
text = "Learn | try"
text_nb = "Lære"
state = "partly"
answers = ["beta", "courses/two/syllabus.md"]
planned = "more"

[[needs]]
number = "9-2"
text = "Later"
text_nb = "Senere"
state = "planned"
answers = []
planned = "everything"
"""


@pytest.fixture
def project(tmp_path):
    """A project with two lessons, one course and two needs."""
    folder = tmp_path / "courses" / "two"
    folder.mkdir(parents=True)
    (folder / "course.toml").write_text(COURSE_TOML, encoding="utf-8")
    (tmp_path / "courses" / "needs.toml").write_text(NEEDS_TOML, encoding="utf-8")
    text = SAMPLE.read_text(encoding="utf-8")
    for name in ("one/alpha", "two/beta"):
        path = tmp_path / "notebooks" / "src" / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("A sample lesson", f"Lesson {path.stem}"), encoding="utf-8")
    return tmp_path


def test_a_course_is_read_in_its_order(project):
    assert read_course(project / "courses" / "two") == Course(
        id="two",
        title="Two",
        title_nb="To",
        audience="us",
        needs=("9-1",),
        lessons=(Entry("beta", 30, True), Entry("alpha", 35, False)),
        selections={"short": ("alpha",)},
        planned=("three",),
    )
    assert read_course(project / "courses" / "two").minutes == 65
    assert find_courses(project) == {"two": project / "courses" / "two"}


WRONG_COURSE = {
    "a missing key": ('audience = "us"\n', "", "got none named 'audience'"),
    "an unknown key": ('audience = "us"', 'audience = "us"\nlevel = 3', "got 'level'"),
    "a missing key in a lesson": ("minutes = 35\n", "", "in a lesson, got none named 'minutes'"),
    "minutes in words": (
        "minutes = 35",
        'minutes = "35"',
        "'minutes' of a lesson to be of type int, got '35'",
    ),
    "true for minutes": ("minutes = 35", "minutes = true", "to be of type int, got True"),
    "a lesson twice": ('lesson = "alpha"', 'lesson = "beta"', "each lesson once, got 'beta' 2 times"),
    "a strange selection": ('short = ["alpha"]', 'short = ["gamma"]', r"\(beta, alpha\), got 'gamma'"),
    "no TOML": ("[selections]", "[selections", "expected TOML"),
}


@pytest.mark.parametrize(("old", "new", "words"), WRONG_COURSE.values(), ids=WRONG_COURSE)
def test_a_wrong_course_is_named_in_one_sentence(project, old, new, words):
    path = project / "courses" / "two" / "course.toml"
    assert old in COURSE_TOML
    path.write_text(COURSE_TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(CourseError, match=words) as caught:
        read_course(path.parent)
    assert str(path) in str(caught.value)


WRONG_NEEDS = {
    "a state of its own": (
        'state = "partly"',
        'state = "soon"',
        "one of answered, partly, planned, got 'soon'",
    ),
    "answers without an answer": (
        'state = "planned"',
        'state = "partly"',
        "answers for need 9-2 .* got none",
    ),
    "a plan with answers": ("answers = []", 'answers = ["beta"]', "got beta in the state 'planned'"),
    "partly, and nothing to come": ('planned = "more"', 'planned = ""', "what is planned for need 9-1"),
    "a number twice": ('"9-2"', '"9-1"', "got 9-1 twice"),
    "a missing text": ('text_nb = "Senere"\n', "", "got none named 'text_nb'"),
}


@pytest.mark.parametrize(("old", "new", "words"), WRONG_NEEDS.values(), ids=WRONG_NEEDS)
def test_a_table_of_needs_that_contradicts_itself_is_refused(tmp_path, old, new, words):
    path = tmp_path / "needs.toml"
    assert old in NEEDS_TOML
    path.write_text(NEEDS_TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(CourseError, match=words):
        read_needs(path)


# --------------------------------------------------------------------------------------- build


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_build_numbers_the_notebooks_in_the_order_of_the_course(project):
    out = project / "build"
    written = build(project, read_course(project / "courses" / "two"), None, out)
    for kind in ("student", "instructor"):
        assert names(out / kind) == ["01_beta.ipynb", "02_alpha.ipynb"]
    assert sorted(written) == sorted(out.glob("*/*.ipynb"))
    first = nbformat.read(out / "student" / "01_beta.ipynb", as_version=4)
    assert first.cells[0].source.startswith("# Lesson beta")
    assert "points.mean(axis=0)" not in str(first)
    assert "points.mean(axis=0)" in (out / "instructor" / "01_beta.ipynb").read_text(encoding="utf-8")


def test_a_selection_replaces_an_earlier_build_and_leaves_other_files(project):
    course, out = read_course(project / "courses" / "two"), project / "build"
    build(project, course, None, out)
    (out / "student" / "notes.txt").touch()
    build(project, course, "short", out)
    assert names(out / "student") == ["01_alpha.ipynb", "notes.txt"]
    assert names(out / "instructor") == ["01_alpha.ipynb"]


def test_two_builds_have_the_same_bytes(project):
    course = read_course(project / "courses" / "two")
    for out in ("a", "b"):
        build(project, course, None, project / out)
    paths = sorted((project / "a").glob("*/*"))
    assert len(paths) == 4
    for path in paths:
        assert path.read_bytes() == (project / "b" / path.relative_to(project / "a")).read_bytes()


def test_an_unknown_selection_or_lesson_stops_the_build_before_anything_is_written(project):
    course, out = read_course(project / "courses" / "two"), project / "build"
    with pytest.raises(CourseError, match=r"two has no selection 'long'; expected one of short\."):
        build(project, course, "long", out)
    (project / "notebooks" / "src" / "one" / "alpha.py").unlink()
    with pytest.raises(CourseError, match=r"two: expected lessons among beta, got 'alpha'\."):
        build(project, course, None, out)
    assert not out.exists()


# --------------------------------------------------------------------------------------- needs


def test_the_table_says_what_is_planned_and_never_claims_an_answer_for_it(project):
    lines = needs_table(project).split("\n")
    partly, planned = (next(line for line in lines if line.startswith(f"| 9-{k} ")) for k in (1, 2))
    assert partly == (
        "| 9-1 | Learn \\| try | Lære | partly | [Two](two/syllabus.md) | "
        "`beta`, [courses/two/syllabus.md](two/syllabus.md) | more |"
    )
    assert planned == "| 9-2 | Later | Senere | planned | none | nothing yet | everything |"
    assert any(line.startswith("| [Two](two/syllabus.md) | [To]") and "| 65 |" in line for line in lines)


def test_a_course_for_a_need_that_does_not_exist_is_refused(project):
    path = project / "courses" / "two" / "course.toml"
    path.write_text(COURSE_TOML.replace('"9-1"', '"8-1"'), encoding="utf-8")
    with pytest.raises(CourseError, match=r"two/course.toml: expected needs among 9-1, 9-2, got '8-1'"):
        needs_table(project)


# ------------------------------------------------------------------------- the project's courses


def test_the_page_of_courses_is_made_from_what_it_shows():
    page = (ROOT / "courses" / "README.md").read_text(encoding="utf-8")
    assert page == needs_table(ROOT), "run: navcourse notebooks"


def test_the_courses_are_there_with_their_pages():
    assert list(COURSES) == ["know_the_platform", "practical_use", "research_and_development", "self_study"]
    for folder in COURSES.values():
        for page in ("syllabus.md", "syllabus.nb.md", "instructor.md"):
            assert (folder / page).read_text(encoding="utf-8").startswith("# ")


def test_each_need_of_table_6_has_a_place():
    needs = {need.number: need for need in read_needs(ROOT / "courses" / "needs.toml")}
    assert list(needs) == ["5-1", "5-2", "5-3"]
    taught = {number for folder in COURSES.values() for number in read_course(folder).needs}
    assert taught == set(needs)
    lessons = {entry.lesson for folder in COURSES.values() for entry in read_course(folder).lessons}
    for need in needs.values():
        for answer in need.answers:
            assert (ROOT / answer).is_file() if answer.endswith(".md") else answer in lessons


def test_half_a_day_is_three_assessed_lessons():
    course = read_course(COURSES["practical_use"])
    half_day = ("pointer_pivot", "point_registration", "volume_reconstruction")
    assert course.selections["half_day"] == half_day
    assert all(entry.assessed for entry in course.lessons if entry.lesson in half_day)
    assert tuple(entry.lesson for entry in read_course(COURSES["self_study"]).lessons)[:3] == half_day


@pytest.mark.parametrize("name", COURSES)
def test_a_course_gives_each_lesson_the_minutes_that_the_lesson_says(name):
    said = {e.lesson: e.minutes for e in read_course(COURSES[name]).lessons if e.lesson in LESSONS}
    assert said == {lesson: read_lesson(LESSONS[lesson]).minutes for lesson in said}


@pytest.mark.parametrize("name", COURSES)
def test_every_lesson_of_a_course_exists_and_every_planned_one_does_not(name):
    course = read_course(COURSES[name])
    assert [entry.lesson for entry in course.lessons if entry.lesson not in LESSONS] == []
    assert [lesson for lesson in course.planned if lesson in LESSONS] == []


@pytest.mark.parametrize("page", ["syllabus.md", "syllabus.nb.md"])
@pytest.mark.parametrize("name", COURSES)
def test_a_syllabus_shows_the_lessons_and_minutes_of_its_course(name, page):
    course = read_course(COURSES[name])
    text = (COURSES[name] / page).read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(\w+)` \| (\d+) \|(?: (yes|ja|no|nei) \|)?", text, flags=re.MULTILINE)
    assert [(lesson, int(minutes)) for lesson, minutes, _ in shown] == [
        (entry.lesson, entry.minutes) for entry in course.lessons
    ]
    for entry, (_, _, assessed) in zip(course.lessons, shown, strict=True):
        assert (assessed in ("yes", "ja")) == entry.assessed
    for lesson in course.planned:
        assert f"`{lesson}`" in text
    assert text.startswith(f"# {course.title if page == 'syllabus.md' else course.title_nb}\n")


@pytest.mark.parametrize("name", COURSES)
def test_the_instructor_is_told_the_minutes_of_each_assessed_lesson(name):
    text = (COURSES[name] / "instructor.md").read_text(encoding="utf-8")
    for entry in read_course(COURSES[name]).lessons:
        if entry.assessed:
            assert f"`{entry.lesson}`, {entry.minutes} minutes" in text
    assert re.search(r"\b(simply|just|obviously)\b", text, re.IGNORECASE) is None
