"""The instructor's view: the page, the CSV files, feedback, hints, certificates, ids for names, purge."""

import ast
import csv
import html
import inspect
import itertools
import json
import re
import shutil
import stat
import types
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest

from navcourse.grading._certificates import (
    Certificate,
    certificate_figure,
    write_certificates,
)
from navcourse.grading._csv import POINTS_POSSIBLE, guarded, unguarded
from navcourse.grading._misconceptions import exercises_of, kinds, slow_cells
from navcourse.grading._pseudonyms import default_key, pseudonymise, purge, read_key
from navcourse.grading._similarity import fingerprints, similar_pairs
from navcourse.grading.intake import Problem
from navcourse.grading.mistakes import load_mistakes
from navcourse.grading.report import ClassReport, Row, write_csv, write_feedback, write_report
from navcourse.grading.run import grade_class
from navcourse.lesson import find_lessons, read_lesson, solution_source, stub_source

HERE = Path(__file__).parent
ASSIGNMENT = "half_day"
LESSON = "sample_lesson"
TITLE = "Practical use of the platform"
PEOPLE = ("ottoline_krag", "zebedee_quux", "bartolo_finn", "wilhelmina_oss", "nobody_came")

SQUARES = "def double_mm(length_mm):\n    return np.asarray(length_mm) ** 2\n"
RUDE = (
    "def double_mm(length_mm):\n"
    "    raise ValueError('<script>alert(1)</script> zebedee_quux. This looks like nonsense.')\n"
)
DIAMETER = (
    "def centre_of(points):\n    c = np.average(points, axis=0)\n"
    "    return c, 2 * float(max(np.linalg.norm(p - c) for p in points))\n"
)


# --------------------------------------------------------------------- a class, once, end to end


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course root and its report: one writes everything, one squares, one cuts a file, one is rude."""
    from navcourse.render import render, write_notebook

    top = tmp_path_factory.mktemp("report")
    for name in ("checks", "in", "in/wilhelmina_oss"):
        (top / name).mkdir()
    (top / "checks" / f"{LESSON}.py").write_text(
        (HERE / "sample_checks.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    lesson = read_lesson(HERE / "sample_lesson.py")
    write_notebook(render(lesson, "source"), top / "source.ipynb")
    answers = {
        "ottoline_krag": {name: solution_source(lesson, name) for name in lesson.exercises}
        | {"answer_what_moves": "The centre."},
        "zebedee_quux": {"double_mm": SQUARES, "centre_of": DIAMETER},
        "wilhelmina_oss": {"double_mm": RUDE},
    }
    for student, own in answers.items():
        notebook = render(lesson, "student")
        for cell in notebook.cells:
            cell.source = own.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
        nbformat.write(notebook, top / "in" / f"{student}_{LESSON}.ipynb")
    # handed in by one, under the name of another
    (top / "in" / f"wilhelmina_oss_{LESSON}.ipynb").rename(
        top / "in" / "wilhelmina_oss" / f"zebedee_quux_{LESSON}.ipynb"
    )
    whole = (top / "in" / f"ottoline_krag_{LESSON}.ipynb").read_text(encoding="utf-8")
    (top / "in" / f"bartolo_finn_{LESSON}.ipynb").write_text(whole[: len(whole) // 2], encoding="utf-8")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", UserWarning)  # no sandbox here, where that is so
        patch.setenv("PATH", "/usr/bin:/bin")
        report = grade_class(
            top / "course", ASSIGNMENT, {LESSON: top / "source.ipynb"}, top / "in",
            checks_folder=top / "checks", cohort="autumn", roster=["nobody_came"], timeout_s=30,
        )  # fmt: skip
    pages = write_feedback(report, top / "course", title=TITLE)
    written = write_report(report, top / "course", top / "course" / "report", title=TITLE)
    return top / "course", report, written, pages


@pytest.fixture(scope="module")
def page(graded) -> str:
    return graded[2].page.read_text(encoding="utf-8")


def table(page: str, caption: str) -> list[list[str]]:
    """The rows of the table with this caption, its head first, as text."""
    found = next(t for t in re.findall(r"<table.*?</table>", page, re.DOTALL) if caption in t)
    rows = re.findall(r"<tr>(.*?)</tr>", found, re.DOTALL)
    return [[words(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def words(markup: str) -> str:
    seen = re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL).replace("\u200b", "")
    return (
        " ".join(html.unescape(re.sub(r"<[^>]+>", " ", seen)).split()).replace(" ,", ",").replace(" .", ".")
    )


@pytest.mark.slow
def test_the_page_has_everyones_marks_and_outcome(page):
    head, *rows = table(page, "Points by exercise")
    assert head[1:5] == ["double_mm of 2", "centre_of of 3", "answer_what_moves of 2", "Total of 7"]
    got = {row[0]: row[1:] for row in rows}
    assert set(got) == set(PEOPLE)
    assert got["ottoline_krag"][:6] == ["2", "3", "0", "5", "graded", "1"]
    assert got["zebedee_quux"][:6] == ["0", "0", "0", "0", "graded", ""]
    assert got["bartolo_finn"][4] == "quarantined"
    assert got["nobody_came"] == ["–", "–", "–", "–", "missing", "", ""]
    assert "Nothing came from:</strong> nobody_came." in page


@pytest.mark.slow
def test_what_was_set_aside_has_a_reason_and_something_to_do(page):
    head, row = table(page, "Set aside in")
    assert head == ["Learner", "File", "Reason", "What to do"]
    assert row[:2] == ["bartolo_finn", LESSON]
    assert "cut off or damaged" in row[2]
    assert "hand it in anew" in row[3]


@pytest.mark.slow
def test_misconceptions_are_counted_by_the_judges_words(page):
    section = {
        w[: w.index(" ")]: w for w in map(words, re.findall(r"<section.*?</section>", page, re.DOTALL))
    }
    assert "1 of 3 solved it (33 %)" in section["double_mm"]
    assert "the length squared 1 of 3" in section["double_mm"]
    assert "the function stopped with ValueError 1 of 3" in section["double_mm"]
    assert "nonsense" not in page  # a learner's own words are no misconception
    assert "the diameter 1 of 3" in section["centre_of"]
    assert "not written yet 1 of 3" in section["centre_of"]
    assert "Hidden cases that most failed Case People Bar 4 points 1 of 3" in section["centre_of"]
    assert "width: 33.3%" in page
    assert "judged for nobody: answer_what_moves." in words(page)


def test_slow_cells_are_measured_or_said_not_to_be(tmp_path):
    report = made_up("ada", "bo", "cy")
    write = {"ada": (0.5, 2.0), "bo": (0.7, 31.25), "cy": (0.9, None)}
    for student, seconds in write.items():
        cells = [nbformat.v4.new_code_cell(), nbformat.v4.new_markdown_cell(), nbformat.v4.new_code_cell()]
        cells[0].metadata["nbgrader"] = {"grade_id": "given_0eb4"}
        cells[2].metadata["nbgrader"] = {"grade_id": "check_tip"}
        for cell, took in zip(cells[::2], seconds, strict=True):
            if took is not None:
                end = f"2026-11-24T10:00:{5 + took:09.6f}Z"
                told = {"iopub.execute_input": "2026-11-24T10:00:05.000000Z", "shell.execute_reply": end}
                cell.metadata["execution"] = told
        folder = tmp_path / "autograded" / student / "pivot"
        folder.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "n.ipynb")
    page = write_report(report, tmp_path, tmp_path / "out").page.read_text(encoding="utf-8")
    assert table(page, "took longest")[1:] == [
        ["n", "the check of tip", "16.6 s", "31.2 s", "bo"],
        ["n", "code cell 1", "0.7 s", "0.9 s", "cy"],
    ]
    assert slow_cells(tmp_path, "another", ["ada"]) is None
    silent = write_report(report, tmp_path / "empty", tmp_path / "b").page.read_text(encoding="utf-8")
    assert "Not measured" in silent
    assert "No exercise has been judged yet" in silent


class Page(HTMLParser):
    """What a reader without eyes or mouse needs from a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.mark.slow
def test_the_pages_need_neither_eyes_nor_mouse_nor_network(graded, page):
    _, _, written, pages = graded
    for path in (written.page, *pages.values()):
        text = path.read_text(encoding="utf-8")
        read = Page(text)
        assert read.all("html")[0]["lang"] == "en"
        assert not read.all("script")
        assert "http" not in text
        levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        assert len(read.all("caption")) == len(read.all("table"))
        assert all(cell.get("scope") in ("row", "col") for cell in read.all("th"))
        assert ":focus-visible" in text
        targets = {attrs.get("id") for _, attrs in read.tags}
        for link in (attrs["href"] or "" for attrs in read.all("a")):
            assert link[1:] in targets if link.startswith("#") else (path.parent / link).is_file(), link
    scrolling = [attrs for _, attrs in Page(page).tags if attrs.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolling)


@pytest.mark.parametrize("name", ["report.html", "own_feedback.html"])
def test_words_stand_out_from_their_ground(root, name):
    text = (root / "kit" / "navcourse" / "templates" / name).read_text(encoding="utf-8")
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", text))

    def light(code: str) -> float:
        code = code[1:] if len(code) == 7 else "".join(2 * sign for sign in code[1:])
        part = np.array([int(code[k : k + 2], 16) for k in (0, 2, 4)]) / 255
        return float(
            np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
            @ [0.2126, 0.7152, 0.0722]
        )

    for ink, ground in itertools.product(("ink", "soft", "accent"), ("paper", "tint")):
        assert (light(colour[ground]) + 0.05) / (light(colour[ink]) + 0.05) >= 4.5, (ink, ground)


@pytest.mark.slow
def test_no_page_holds_a_solution_a_hidden_check_or_in_feedback_another_person(graded):
    _, report, written, pages = graded
    solution = re.findall(
        r"### BEGIN SOLUTION\n(.*?)\n +### END SOLUTION",
        (HERE / "sample_lesson.py").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    lines = "\n".join([*solution, (HERE / "sample_checks.py").read_text(encoding="utf-8")]).splitlines()
    secrets = {line.strip() for line in lines if len(line.strip()) > 20 and "import" not in line}
    assert len(secrets) > 15
    files = [*written.page.parent.iterdir(), *pages.values()]
    assert len(files) == 6
    for path in files:
        text = html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))
        assert [secret for secret in secrets if secret in text] == [], path
        assert "SOLUTION" not in text
    assert set(pages) == {"ottoline_krag", "zebedee_quux", "wilhelmina_oss"}
    note = next(" ".join(row.notes) for row in report.rows if row.student == "wilhelmina_oss")
    assert "zebedee_quux" in note  # the instructor reads it; the learner must not
    for student, path in pages.items():
        text = path.read_text(encoding="utf-8").replace("&gt; zebedee_quux. This", "")  # her own words
        assert student in text
        assert [name for name in PEOPLE if name != student and name in text] == []


@pytest.mark.slow
def test_a_person_reads_points_the_likely_cause_and_what_waits(graded):
    pages = {name: path.read_text(encoding="utf-8") for name, path in graded[3].items()}
    right, wrong, rude = (words(pages[name]) for name in ("ottoline_krag", "zebedee_quux", "wilhelmina_oss"))
    assert "5 of 7 points, and 1 written answer that a person will read" in right
    assert "All 3 hidden cases passed." in right
    assert "This looks like the length squared." in wrong
    assert "raised ValueError: <script>alert(1)</script>" in rude
    assert "&lt;script&gt;" in pages["wilhelmina_oss"]


@pytest.mark.slow
def test_a_page_with_ids_names_nobody(graded, tmp_path):
    root, report, _, _ = graded
    key = tmp_path / "key" / "names.csv"
    write_report(report, root, tmp_path / "report", title=TITLE, key_file=key)
    first = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert first == ["index.html", "marks.csv"]  # Canvas's file would need the names
    for path in (tmp_path / "report").iterdir():
        text = path.read_text(encoding="utf-8")
        assert [name for name in PEOPLE if name in text] == []
        assert all(own in text for own in read_key(key).values())
    with pytest.raises(ValueError, match="lies in the course root"):
        write_report(report, root, tmp_path / "report", key_file=root / "names.csv")
    with pytest.raises(ValueError, match="lies beside the report"):
        write_report(report, root, tmp_path / "report", key_file=tmp_path / "report" / "names.csv")


# ------------------------------------------------------------------------------ a made-up report


def made_up(*students: str, **changed) -> ClassReport:
    row = Row("", {"tip": 1.5}, 1.5, 2.0, "graded", 0, (), None)
    rows = tuple(replace(row, student=student, **changed) for student in students)
    return ClassReport("pivot", {"tip": 2.0}, rows, ())


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_spreadsheet_computes_nothing_that_a_learner_wrote(tmp_path):
    bad = ("=HYPERLINK(1)", "+1", "-1", "@sum", "\tx", "＝1")
    report = made_up(*bad, notes=("=cmd|' /C calc'!A0",), status="=1")
    write_csv(report, tmp_path / "marks.csv")
    canvas = write_report(report, tmp_path, tmp_path / "out").canvas
    for path in (tmp_path / "marks.csv", canvas):
        cells = [cell for row in read_rows(path) for cell in row]
        assert sum("HYPERLINK" in cell for cell in cells) >= 1
        assert [cell for cell in cells if cell[:1] in tuple("=+-@\t＝")] == []
    assert [unguarded(guarded(name)) for name in (*bad, "'x", "Ada")] == [*bad, "'x", "Ada"]


def test_canvas_gets_its_columns_its_points_row_and_only_final_marks(tmp_path):
    rows = (*made_up("ada").rows, *made_up("bo", waiting=1).rows, *made_up("cy", status="missing").rows)
    report = replace(made_up(), rows=rows)
    written = write_report(report, tmp_path, tmp_path / "out")
    head, most, *people = read_rows(written.canvas)
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "pivot"]
    assert most == [POINTS_POSSIBLE, "", "", "", "", "2"]
    assert [(row[0], row[3], row[5]) for row in people] == [
        ("ada", "ada", "1.5"),
        ("bo", "bo", ""),
        ("cy", "cy", ""),
    ]


def test_canvas_own_people_are_kept_and_found_by_number_login_or_name(tmp_path):
    roster = tmp_path / "canvas.csv"
    roster.write_text(
        "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Old (1)\n    Points Possible,,,,,5\n"
        '"Lovelace, Ada",1843,u1,ada@uni.example,A,3\n"Quux, Zeb",77,u2,zq,A,\n"Åse, Bo",78,u3,bo,B,\n',
        encoding="utf-8",
    )
    report = made_up("lovelaceada_1843", "ZQ", "stranger")
    written = write_report(report, tmp_path, tmp_path / "out", canvas_roster=roster)
    rows = read_rows(written.canvas)[2:]
    assert [(row[0], row[1], row[5]) for row in rows] == [
        ("Lovelace, Ada", "1843", "1.5"),
        ("Quux, Zeb", "77", "1.5"),
        ("Åse, Bo", "78", ""),
    ]
    assert written.unknown == ("stranger",)
    roster.write_text("name\nada\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Canvas's export of its gradebook"):
        write_report(report, tmp_path, tmp_path / "out", canvas_roster=roster)


def test_late_and_a_dead_process_are_said_on_the_page(tmp_path):
    late = made_up("ada", notes=("tip: Canvas marks it as late",)).rows
    dead = made_up("bo", status="needs a human: tip: the notebook's process ended").rows
    lost = Problem("", "<b>x</b>.txt", "neither a notebook nor a zip file", "Nothing.", False)
    report = replace(made_up(), rows=(*late, *dead), problems=(lost,))
    page = write_report(report, tmp_path, tmp_path / "out").page.read_text(encoding="utf-8")
    rows = {row[0]: row for row in table(page, "Points by exercise")[1:]}
    assert rows["ada"][3] == "graded, late"
    assert rows["bo"][3] == "needs a human"
    assert table(page, "Needs a human")[1][:2] == ["bo", "tip: the notebook's process ended"]
    assert table(page, "Set aside in")[1][0] == "unknown"
    assert "<b>x" not in page


def test_the_kinds_of_wrong_answers_in_judges_lines():
    told = {
        "✗ a: the tip is 3 mm off. This looks like the pivot, not the tip.": "the pivot, not the tip",
        "✗ a: not written yet: replace the line": "not written yet",
        "✗ a: raised IndexError: This looks like me.": "the function stopped with IndexError",
        "✗ the code did not finish in time: is there a loop?": "the code did not finish in time",
        "✗ a: your function returned None instead of the tip: did": "the function returned None",
        "✗ a: the tip has shape (6,); expected (3,).": "the answer has another shape",
        "✗ a: the tip has shape (3, 4); expected (4, 3). Are rows and columns swapped?": (
            "Are rows and columns swapped?"
        ),
        "✗ a: the tip is 3 mm off.": "wrong in a way that no one foresaw",
    }
    assert {line: kinds([line])[0] for line in told} == told
    assert kinds(["✓ a", "✓ b"]) == ()
    assert kinds([*told, *told]) == tuple(told.values())[:-1]


def test_a_case_is_counted_by_its_whole_title_also_with_a_colon():
    lines = {
        "ada": ["✓ a pivot: the dimple", "✓ two"],
        "bo": ["✗ a pivot: the dimple: 3 mm off", "✓ two"],
        "cy": ["✗ a pivot: the dimple: 4 mm off", "✗ two: 1 mm off"],
        "eli": ["✗ a pivot: the dimple: not written yet: replace the line that raises NotImplementedError"]
        * 2,
        "jo": ["✗ the code did not finish in time: is there a loop that never ends?"],
    }
    verdicts = {who: {"tip": {"points": 2.0 * (who == "ada"), "lines": own}} for who, own in lines.items()}
    (tip,) = exercises_of(verdicts, {"tip": 2.0, "by_hand": 1.0})
    assert (tip.judged, tip.solved) == (5, 1)
    assert tip.hardest == (("a pivot: the dimple", 2), ("two", 1))


# ------------------------------------------------------------------------------------ similarity


@pytest.fixture(scope="module")
def material(root):
    """The real lessons' exercises, what is given, and the source of every named mistake."""
    lessons = [read_lesson(path) for path in find_lessons(root / "notebooks" / "src").values()]
    exercises = [(lesson, name) for lesson in lessons for name in lesson.exercises]
    mistakes = load_mistakes(root / "grading" / "mistakes")
    given = [cell.source for lesson in lessons for cell in lesson.cells if cell.kind == "code"]
    given += [text(lesson, name) for lesson, name in exercises for text in (stub_source, solution_source)]
    answers, helpers = {}, set()
    for name, many in mistakes.items():
        answers[name] = [answer_of(one.function, name) for one in many]
        module = vars(inspect.getmodule(many[0].function)).values()
        helpers |= {
            f for f in module if isinstance(f, types.FunctionType) and f.__module__.startswith("_nav")
        }
    given += [inspect.getsource(function) for function in helpers]  # one author's, shared by many mistakes
    return exercises, given, answers


def answer_of(function, name):
    lines = inspect.getsource(function).splitlines()
    return "\n".join(line for line in lines if not line.startswith("@")).replace(function.__name__, name)


def a_class(material, rng, share):
    """30 people: each exercise right or with a named mistake that nobody else makes in the same words."""
    exercises, _, answers = material
    decks = {name: list(rng.permutation(many)) for name, many in answers.items()}

    def cell(lesson, name):
        wrong = rng.random() < share and decks.get(name)
        return str(decks[name].pop()) if wrong else solution_source(lesson, name)

    return {f"p{k:02d}": [cell(*one) for one in exercises] for k in range(30)}


def disguised(cell):
    """The same code under other names, with a comment, other layout and its functions in another order."""
    tree = ast.parse(cell)
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for name in sorted(own, key=len, reverse=True):
        cell = re.sub(rf"(?<![\w.]){name}\b", f"my_{name}", cell)
    parts = [ast.get_source_segment(cell, node) for node in ast.parse(cell).body]
    return "# all mine\n" + "\n\n\n\n".join(reversed(parts)).replace(", ", " ,  ").replace(
        "\n    ", "\n    # so\n    "
    )


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
def test_independent_solutions_are_not_flagged(material, rng, share):
    for _ in range(3):
        assert similar_pairs(a_class(material, rng, share), material[1]) == ()


def test_a_disguised_copy_of_enough_own_code_is_flagged_and_nobody_else(material, rng):
    _, given, _ = material
    known = set().union(*map(fingerprints, given))
    people = a_class(material, rng, 0.8)
    own = {who: set().union(*map(fingerprints, cells)) - known for who, cells in people.items()}
    copied = [who for who in people if len(own[who]) >= 50]
    assert len(copied) >= 3
    for who in copied:
        found = similar_pairs({**people, "zz_copy": [disguised(cell) for cell in people[who]]}, given)
        assert [(pair.one, pair.other) for pair in found] == [(who, "zz_copy")]
        assert found[0].share > 0.9


def test_two_who_hand_in_the_reference_solution_or_nothing_are_not_flagged(material):
    exercises, given, _ = material
    solved = [solution_source(lesson, name) for lesson, name in exercises]
    stubs = [stub_source(lesson, name) for lesson, name in exercises]
    people = {"ada": solved, "bo": solved, "cy": stubs, "dee": stubs, "eli": [], "fay": ["def f(:\n  '''"]}
    assert similar_pairs(people, given) == ()


def test_what_many_wrote_in_the_same_words_is_no_hint(material):
    _, given, answers = material
    taught = answers["fit_rigid"][0] + "\n\n\n" + answers["nearest_voxel_mean"][-1]
    pair = {who: [taught] for who in ("ada", "bo")}
    assert len(similar_pairs(pair, given)) == 1
    assert similar_pairs(pair | {f"p{k}": [taught] for k in range(4)}, given) == ()


def test_what_counts_in_a_fingerprint():
    one = "total = np.sum(values ** 2, axis=1)  # squares\nreturn np.sqrt(total / len(values))\n"
    assert fingerprints(one) == fingerprints(
        one.replace("total", "t").replace("values", "v").replace("  #", "\n\n#")
    )
    assert fingerprints(one) != fingerprints(one.replace("sqrt", "exp"))
    assert fingerprints(one) != fingerprints(one.replace("2", "3"))
    assert fingerprints("x = 1") == set()


# ---------------------------------------------------------------------------------- certificates

PAPER = Certificate(
    "Practical use of the navigation platform", "24 November 2026", 2.5,
    ("Find the tip of a pointer", "Tell a fit from a target's error, å æ ø"), "The course team",
)  # fmt: skip
LONG = "Maximiliane Aurelia Bartholomea von und zu Hohenstauffen-Sachsen-Coburg-Gotha, Østerdalen og Ålesund"


def test_certificates_have_the_same_bytes_and_no_date_of_making(tmp_path):
    first = dict(write_certificates({"p1": "Åse Ødegård", "p2": "Bo"}, PAPER, tmp_path / "a"))
    again = dict(write_certificates({"p1": "Åse Ødegård"}, PAPER, tmp_path / "b"))
    assert [path.name for path in first.values()] == ["p1.pdf", "p2.pdf"]
    assert first["p1"].read_bytes() == again["p1"].read_bytes()
    assert first["p1"].read_bytes() != first["p2"].read_bytes()
    assert first["p1"].read_bytes().startswith(b"%PDF-")
    assert b"CreationDate" not in first["p1"].read_bytes()


@pytest.mark.parametrize("name", ["Li", "Øyvind Åsgård-Sæther", LONG, LONG.replace(" ", "")])
@pytest.mark.parametrize("language", ["en", "nb"])
def test_every_line_of_a_certificate_is_inside_its_frame_and_on_no_other(name, language):
    paper = replace(PAPER, language=language, aims=PAPER.aims * 7, course="A course with a long name " * 4)
    figure = certificate_figure(name, paper)
    figure.canvas.draw()
    boxes = [text.get_window_extent().transformed(figure.transFigure.inverted()) for text in figure.texts]
    said = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert name.split()[0] in said.replace("- ", "-") or len(name.split()) == 1
    assert ("Kursbevis" in said) == (language == "nb")
    assert ("2,5 timer" if language == "nb" else "2.5 hours") in said
    for box in boxes:
        assert 0.04 < box.x0 < box.x1 < 0.96
        assert 0.06 < box.y0 < box.y1 < 0.93
    for one, other in itertools.combinations(boxes, 2):
        assert one.y1 <= other.y0 or other.y1 <= one.y0
    assert min(text.get_fontsize() for text in figure.texts) >= 6


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        ("  ", {}, "expected a name"),
        ("Bo", {"hours": 0.0}, "hours above 0"),
        ("Bo", {"hours": float("nan")}, "hours above 0"),
        ("Bo", {"language": "de"}, "a language among en, nb"),
        ("李", {}, "no sign for '李'"),
    ],
)
def test_what_cannot_be_certified_is_said_before_anything_is_written(tmp_path, name, changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_certificates({"a": "Ada", "b": name}, replace(PAPER, **changed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_with_dollars_is_no_formula_and_an_id_with_slashes_no_path(tmp_path):
    ((_, path),) = write_certificates({"../x": r"Bo $\unknown$ Li"}, PAPER, tmp_path / "out")
    assert path.parent == tmp_path / "out"


# ------------------------------------------------------------------------------ ids and putting away


def test_ids_are_stable_random_and_kept_apart(tmp_path):
    key = tmp_path / "keys" / "names.csv"
    first = pseudonymise(["ada", "=bo", "Åse, Ø"], key)
    more = pseudonymise(["cy", "ada", "'quoted"], key)
    assert more["ada"] == first["ada"]
    assert read_key(key) == first | more
    assert len(set(read_key(key).values())) == 5
    assert all(re.fullmatch("p-[a-z2-9]{6}", own) for own in more.values())
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert pseudonymise(["ada"], tmp_path / "other.csv")["ada"] != first["ada"]  # random: no hash of the name
    with pytest.raises(ValueError, match="outside of it"):
        pseudonymise(["ada"], tmp_path / "course" / "k.csv", course_root=tmp_path / "course")
    assert not default_key(tmp_path / "course").is_relative_to(tmp_path)
    key.write_text("a,b,c\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns id and name"):
        pseudonymise(["ada"], key)


@pytest.mark.slow
def test_purge_lists_first_then_leaves_no_name(graded, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(graded[0], root, ignore=shutil.ignore_patterns("numba"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "zebedee_quux.txt").write_text("not in the course", encoding="utf-8")
    (root / "submitted" / "zebedee_quux" / "link").symlink_to(outside, target_is_directory=True)
    (root / "exchange_cache").unlink() if (root / "exchange_cache").is_symlink() else shutil.rmtree(
        root / "exchange_cache", ignore_errors=True
    )
    (root / "exchange_cache").symlink_to(outside, target_is_directory=True)
    (root / "my own notes.md").write_text("Talk to Zebedee_Quux.", encoding="utf-8")
    before = sorted(root.rglob("*"))

    listed = purge(root)
    assert not listed.done
    assert listed.n_bytes > 10_000
    assert sorted(root.rglob("*")) == before
    assert {path.name for path in listed.removed} >= {
        "submitted", "autograded", "feedback", "judged", "notes", "quarantine", "gradebook.db",
        "grading.log", "report", "exchange_cache",
    }  # fmt: skip

    done = purge(root, yes=True)
    assert (done.done, done.removed) == (True, listed.removed)
    assert done.left == listed.left == (root.resolve() / "my own notes.md",)
    (root / "my own notes.md").unlink()
    for path in root.rglob("*"):
        held = path.read_bytes().lower() if path.is_file() and not path.is_symlink() else b""
        for name in PEOPLE:
            assert name.encode() not in held, path
            assert name not in path.name.lower(), path
    assert (outside / "zebedee_quux.txt").is_file()
    assert (root / "release" / ASSIGNMENT / f"{LESSON}.ipynb").is_file()
    assert (root / "source" / ASSIGNMENT / f"{LESSON}.ipynb").is_file()
    assert purge(root, yes=True).removed == ()


def test_purge_refuses_a_folder_that_is_no_course_root(tmp_path):
    (tmp_path / "feedback").mkdir()
    with pytest.raises(ValueError, match="no course root"):
        purge(tmp_path, yes=True)
    assert (tmp_path / "feedback").is_dir()


def test_purge_searches_for_names_that_it_is_given(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "n.ipynb").write_text(json.dumps({"by": "Ada Lovelace"}), encoding="utf-8")
    assert purge(tmp_path, names=["Ada Lovelace"]).left == (tmp_path.resolve() / "release" / "n.ipynb",)
    assert purge(tmp_path, names=["Lovelac"]).left == ()
