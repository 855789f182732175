"""The gradebook: copied, held and looked at, so that no mark is lost and none changes unseen."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nbformat
import nbgrader
import pytest
from nbgrader.api import Gradebook

from navcourse.grading import gradebook as module
from navcourse.grading._one_grader import network_file_system, one_grader
from navcourse.grading.gradebook import (
    after_run,
    backup,
    backups,
    before_run,
    check_schema,
    guarded,
    restore,
    verify,
)
from navcourse.grading.regrade import Mark, differences, marks_table, preview, reasons
from navcourse.grading.settings import Course, GradingError

HERE = Path(__file__).parent
ASSIGNMENT, LESSON = "half_day", "sample_lesson"
HEAD = "e43177bfe90b"  # of nbgrader 0.9.6
OLDER = "282d30a0218e"


def fill(url: str, students=("ada", "bo", "cy")) -> None:
    """A class of one lesson: two checks and a written answer, marked by machine and by hand."""
    with warnings.catch_warnings(), Gradebook(url, "navigation") as book:
        warnings.simplefilter("ignore")  # nbgrader's use of SQLAlchemy
        book.add_assignment(ASSIGNMENT)
        book.add_notebook(LESSON, ASSIGNMENT)
        for number, name in enumerate(("double_mm", "centre_of")):
            cell = {"max_score": 2 + number, "cell_type": "code"}
            book.add_grade_cell(f"check_{name}", LESSON, ASSIGNMENT, **cell)
            book.add_solution_cell(name, LESSON, ASSIGNMENT)
        book.add_grade_cell("answer_what_moves", LESSON, ASSIGNMENT, max_score=2, cell_type="markdown")
        book.add_solution_cell("answer_what_moves", LESSON, ASSIGNMENT)
        for number, student in enumerate(students):
            book.add_student(student)
            book.add_submission(ASSIGNMENT, student)
            for name, auto in (("double_mm", 2.0 - number), ("centre_of", 3.0)):
                grade = book.find_grade(f"check_{name}", LESSON, ASSIGNMENT, student)
                grade.auto_score, grade.needs_manual_grade = auto, False
            book.find_comment("double_mm", LESSON, ASSIGNMENT, student).auto_comment = "No response."
        written = book.find_grade("answer_what_moves", LESSON, ASSIGNMENT, "ada")
        written.manual_score, written.extra_credit, written.needs_manual_grade = 1.5, 0.25, False
        book.find_comment("answer_what_moves", LESSON, ASSIGNMENT, "ada").manual_comment = "Ålesund: ja."
        book.db.commit()


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("template") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic
        fill(f"sqlite:///{path}")
    return path


@pytest.fixture
def course(template, tmp_path) -> Course:
    root = tmp_path / "course"
    root.mkdir()
    shutil.copyfile(template, root / "gradebook.db")
    return Course(root, tmp_path / "checks", "autumn")


def database(course: Course) -> Path:
    return course.root / "gradebook.db"


def rows(path: Path) -> dict[str, list[tuple]]:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names}


def change(course: Course, command: str, *values) -> None:
    with closing(sqlite3.connect(database(course))) as connection:
        connection.execute(command, values)
        connection.commit()


# ------------------------------------------------------------------------------------ backup, restore


def test_a_backup_has_every_row(course):
    made = backup(course)
    assert made.parent == course.root / "backups"
    assert rows(made) == rows(database(course))
    assert len(rows(made)["grade"]) == 9


def test_without_a_gradebook_there_is_nothing_to_copy(course):
    database(course).unlink()
    assert backup(course) is None
    assert before_run(course) is None
    assert not database(course).exists(), "looking at it does not make it"


def test_a_gradebook_that_is_gone_is_told_when_there_are_backups(course):
    made = backup(course)
    database(course).write_bytes(b"")
    with pytest.warns(UserWarning, match=f"no gradebook here any more.*{made.name}"):
        before_run(course)


def test_the_newest_backups_are_kept(course):
    made = []
    for score in range(5):
        change(course, "UPDATE grade SET auto_score = ?", score / 10)
        made.append(backup(course, keep=3))
    assert backups(course) == made[-3:]
    assert [rows(path)["grade"][0][3] for path in made[-3:]] == [0.2, 0.3, 0.4]


def test_a_backup_of_the_same_marks_pushes_none_out(course):
    assert backup(course) == backup(course)
    assert len(backups(course)) == 1


def test_a_backup_is_whole_while_someone_marks(course):
    before = rows(database(course))
    with closing(sqlite3.connect(database(course))) as formgrader:
        formgrader.execute("BEGIN IMMEDIATE")
        formgrader.execute("UPDATE grade SET manual_score = 0.1")
        made = backup(course)
        formgrader.commit()
    assert rows(made) == before


def test_a_locked_gradebook_does_not_hang(course, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    with closing(sqlite3.connect(database(course))) as other:
        other.execute("BEGIN EXCLUSIVE")
        for look in (before_run, check_schema, backup):
            begin = time.perf_counter()
            with pytest.raises(GradingError, match=r"is locked: another program.*formgrader"):
                look(course)
            assert time.perf_counter() - begin < 3
    made = backup(course)
    with closing(sqlite3.connect(database(course))) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(GradingError, match="is locked"):
            restore(course, made)
    assert backups(course) == [made]


def test_nothing_is_restored_while_someone_marks(course, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    made = backup(course)
    with closing(sqlite3.connect(database(course))) as formgrader:
        formgrader.execute("BEGIN IMMEDIATE")
        with pytest.raises(GradingError, match=r"is locked: another program.*formgrader"):
            restore(course, made)
    restore(course, made)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_gradebook_cut_off_is_told_with_its_backup(course, share):
    made = backup(course)
    whole = database(course).read_bytes()
    database(course).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(GradingError, match=rf"damaged.*{made.name}"):
        before_run(course)
    assert backups(course) == [made], "a damaged gradebook pushes no backup out"
    kept = restore(course, made)
    assert rows(database(course)) == rows(made)
    assert kept.read_bytes() == whole[: int(len(whole) * share)]


def test_a_gradebook_of_noise_is_told(course, rng):
    database(course).write_bytes(rng.bytes(4096))
    with pytest.raises(GradingError, match=r"damaged \(file is not a database\)\. There is no backup"):
        before_run(course)


def test_restore_brings_every_row_back_and_keeps_what_was_there(course):
    made, first = backup(course), rows(database(course))
    change(course, "DELETE FROM grade")
    second = rows(database(course))
    kept = restore(course, made)
    assert rows(database(course)) == first
    assert rows(kept) == second
    restore(course, kept)
    assert rows(database(course)) == second


def test_a_damaged_gradebooks_log_does_not_come_back(course):
    made = backup(course)
    database(course).write_bytes(b"noise" * 400)
    (course.root / "gradebook.db-wal").write_bytes(b"more noise")
    restore(course, made)
    assert rows(database(course)) == rows(made)
    assert not (course.root / "gradebook.db-wal").exists()


@pytest.mark.parametrize("content", [b"", b"noise" * 400])
def test_a_damaged_backup_is_refused(course, content):
    made, before = backup(course), rows(database(course))
    made.write_bytes(content)
    with pytest.raises(GradingError, match=rf"the backup .*{made.name} is damaged"):
        restore(course, made)
    with pytest.raises(GradingError, match="there is no backup"):
        restore(course, course.root / "backups" / "monday.db")
    assert rows(database(course)) == before


# ------------------------------------------------------------------------------------ schema


def test_the_schema_of_this_nbgrader_is_fine(course):
    assert rows(database(course))["alembic_version"] == [(HEAD,)]
    check_schema(course)


def test_an_older_schema_is_told_and_never_upgraded(course):
    change(course, "UPDATE alembic_version SET version_num = ?", OLDER)
    before = database(course).read_bytes()
    with pytest.raises(GradingError, match=f"older nbgrader.*{OLDER}.*{HEAD}.*nbgrader db upgrade") as told:
        before_run(course)
    assert database(course).read_bytes() == before
    assert str(backups(course)[-1]) in str(told.value), "the backup comes before the advice to upgrade"


def test_a_real_old_gradebook_is_told(course):
    # nbgrader carries one from before it noted its schema.
    old = Path(nbgrader.__file__).parent / "tests" / "apps" / "files" / "gradebook.db"
    shutil.copyfile(old, database(course))
    with pytest.raises(GradingError, match="older nbgrader: its schema is 'not named'"):
        before_run(course)
    assert database(course).read_bytes() == old.read_bytes()


def test_a_newer_schema_is_told(course):
    change(course, "UPDATE alembic_version SET version_num = 'feedbeef0001'")
    with pytest.raises(GradingError, match="newer nbgrader: its schema is 'feedbeef0001'"):
        check_schema(course)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("DROP TABLE comment", "its table 'comment' lacks auto_comment"),
        ("ALTER TABLE grade DROP COLUMN extra_credit", "its table 'grade' lacks extra_credit"),
    ],
)
def test_a_missing_table_is_not_made_anew(course, command, told):
    made = backup(course)
    change(course, command)
    with pytest.raises(GradingError, match=f"{told}.*Nothing was changed"):
        before_run(course)
    assert made in backups(course)


def test_a_gradebook_without_its_marks_is_not_backed_up(course):
    made = backup(course)
    change(course, "DROP TABLE grade")
    with pytest.raises(GradingError, match="it has no marks in it"):
        before_run(course)
    assert backups(course) == [made]


# ------------------------------------------------------------------------------------ afterwards


def hand_in(course: Course, *students: str) -> None:
    for student in students:
        folder = course.root / "submitted" / student / ASSIGNMENT
        folder.mkdir(parents=True)
        (folder / f"{LESSON}.ipynb").write_text("{}", encoding="utf-8")


def test_every_row_is_there_after_a_run(course):
    hand_in(course, "ada", "bo", "cy")
    assert verify(course, ASSIGNMENT, ["ada", "bo", "cy"]) == ()
    after_run(course, ASSIGNMENT, ["ada", "bo", "cy", "quarantined"])


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "DELETE FROM grade WHERE id = (SELECT g.id FROM grade g JOIN submitted_notebook n "
            "ON n.id = g.notebook_id JOIN submitted_assignment s ON s.id = n.assignment_id "
            "WHERE s.student_id = 'bo' LIMIT 1)",
            "bo, sample_lesson: 2 of 3 marks are in it.",
        ),
        (
            "DELETE FROM submitted_assignment WHERE student_id = 'cy'",
            "A row of 'submitted_notebook' points to a row of 'submitted_assignment' that is gone.",
        ),
        ("DELETE FROM submitted_assignment WHERE student_id = 'cy'", "cy, sample_lesson: 0 of 3 marks"),
    ],
)
def test_a_row_that_lacks_is_told(course, command, told):
    hand_in(course, "ada", "bo", "cy")
    made = backup(course)
    change(course, command)
    assert any(told in line for line in verify(course, ASSIGNMENT, ["ada", "bo", "cy"]))
    with pytest.raises(GradingError, match=f"not as it should be.*{made.name}"):
        after_run(course, ASSIGNMENT, ["ada", "bo", "cy"])


def test_a_class_of_nobody_needs_no_gradebook(course):
    database(course).unlink()
    after_run(course, ASSIGNMENT, [])
    assert not database(course).exists()
    hand_in(course, "ada")
    with pytest.raises(GradingError, match=r"not as it should be\. There is none"):
        after_run(course, ASSIGNMENT, ["ada"])


def test_a_learner_without_a_row_is_told(course):
    hand_in(course, "dee")
    with pytest.raises(GradingError, match="dee, sample_lesson: 0 of 3 marks"):
        after_run(course, ASSIGNMENT, ["dee"])


# ------------------------------------------------------------------------------------ where it lies

MOUNTS = [
    ("/", "ext4"), ("/home", "nfs4"), ("/home/ada/local", "ext4"), ("/mnt/c", "9p"), ("/srv/x", "cifs"),
    ("/srv/x/y", "fuse.sshfs"), ("/srv/z", "ext4"), ("/srv/z", "SMB3"), ("/tmp", "tmpfs"), ("/o", "overlay"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/course", ""), ("/home/bo/course", "nfs4"), ("/homework/course", ""),
        ("/home/ada/local/c", ""),
        ("/mnt/c/Users/ada", "9p"), ("/srv/x/course", "cifs"), ("/srv/x/y/course", "fuse.sshfs"),
        ("/srv/z/course", "SMB3"), ("/tmp/course", ""), ("/o/course", ""),
    ],
)  # fmt: skip
def test_a_network_file_system_is_told(path, kind):
    told = network_file_system(Path(path), mounts=MOUNTS)
    assert bool(told) == bool(kind)
    assert kind in told
    assert not told or ("local disk" in told and "PostgreSQL" in told)


def test_before_a_run_the_file_system_is_looked_at(course, monkeypatch):
    monkeypatch.setattr(module, "network_file_system", lambda path: f"{path.name} is far away")
    with pytest.warns(UserWarning, match="course is far away"):
        before_run(course)


def test_this_machines_own_mounts_can_be_read(tmp_path):
    assert isinstance(network_file_system(tmp_path), str)


# ------------------------------------------------------------------------------------ one grader

HOLD = """
import sys, time
from pathlib import Path
from navcourse.grading._one_grader import one_grader
with one_grader(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_grader_is_told_who_the_first_is(course):
    command = [sys.executable, "-c", HOLD, str(course.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "held\n"
            words = (
                f"another grader is at work here: .* on {socket.gethostname()}, process {first.pid}, since"
            )
            with pytest.raises(GradingError, match=words), guarded(course):
                pass
            assert backups(course) == [], "the second did nothing"
        finally:
            first.kill()
    with pytest.warns(UserWarning, match=f"ended before its time: .*process {first.pid}"), guarded(course):
        pass  # a dead process holds nothing
    with one_grader(course.root):
        pass  # and is told once


def test_a_grader_on_another_machine_is_not_overruled(course):
    note = course.root / "gradebook.lock.json"
    note.write_text(
        json.dumps({"host": "lab-7", "pid": 12, "user": "dee", "since": "2026-11-24 10:00"}), encoding="utf-8"
    )
    with pytest.raises(
        GradingError, match=r"dee on lab-7, process 12, since.*delete .*gradebook\.lock\.json"
    ):
        restore(course, backup(course))
    assert note.exists()
    note.unlink()
    with guarded(course):
        assert json.loads(note.read_text(encoding="utf-8"))["pid"] == os.getpid()
    assert not note.exists()


def test_the_gradebook_is_let_go_after_an_error(course):
    with pytest.raises(ZeroDivisionError), guarded(course):
        raise ZeroDivisionError
    with guarded(course):
        assert len(backups(course)) == 1


# ------------------------------------------------------------------------------------ marks and changes


def test_marks_of_every_kind_are_in_the_table(course):
    marks = marks_table(course, ASSIGNMENT)
    assert len(marks) == 9
    assert marks[0] == Mark("ada", LESSON, "answer_what_moves", None, 1.5, 0.25, False, "Ålesund: ja.")
    assert marks[2] == Mark("ada", LESSON, "double_mm", 2.0, None, None, False, "No response.")
    assert [m.score for m in marks] == [1.75, 3.0, 2.0, 0.0, 3.0, 1.0, 0.0, 3.0, 0.0]
    assert [m.student for m in marks if m.waits] == ["bo", "cy"]
    with Gradebook(course.gradebook_url, "navigation") as book:
        totals = {s.student.id: s.score for s in book.assignment_submissions(ASSIGNMENT)}
    assert totals == {s: sum(m.score for m in marks if m.student == s) for s in totals}


def test_differences_name_who_and_why(course):
    before = marks_table(course, ASSIGNMENT)
    assert differences(before, before, {}) == ()
    change(course, "UPDATE grade SET auto_score = 0.5 WHERE auto_score = 1.0")
    change(course, "UPDATE grade SET auto_score = 1.25 WHERE manual_score = 1.5")
    change(course, "DELETE FROM grade WHERE id IN (SELECT id FROM grade WHERE auto_score = 0.0)")
    why = {("bo", LESSON, "double_mm"): "Another file was handed in."}
    told = [str(c) for c in differences(before, marks_table(course, ASSIGNMENT), why)]
    assert len(told) == 3
    assert told[0].startswith("ada, answer_what_moves: 1.75 becomes 1.75. The mark by hand stays; beneath it")
    assert "no mark becomes 1.25" in told[0]
    assert told[1] == "bo, double_mm: 1 becomes 0.5. Another file was handed in."
    assert told[2].startswith("cy, double_mm: 0 becomes no mark. The same files gave other answers")


def test_reasons_are_those_that_differ():
    then = {
        "submission": "a", "lesson": "b", "check find_tip": "c", "check fit": "d",
        "cohort": "spring", "kit": "e",
    }  # fmt: skip
    assert reasons(then, dict(then), "find_tip") == ""
    assert reasons(None, then, "find_tip") == "It is not known what the earlier mark was made from."
    assert reasons(then, then | {"submission": "x"}, "fit") == "Another file was handed in."
    assert reasons(then, then | {"check fit": "x"}, "find_tip") == ""
    assert reasons(then, then | {"check fit": "x"}, "fit") == "The hidden check of fit is another."
    both = then | {"cohort": "autumn", "kit": "x"}
    assert reasons(then, both, "fit") == "The cohort was spring and is autumn. The kit is another version."


RIGHT = {
    "double_mm": "def double_mm(length_mm):\n    return np.asarray(length_mm) + np.asarray(length_mm)\n",
    "centre_of": (
        "def centre_of(points):\n    c = np.average(points, axis=0)\n"
        "    return c, float(max(np.linalg.norm(p - c) for p in points))\n"
    ),
}


@pytest.mark.slow
def test_a_regrade_says_who_changes_and_why_before_it_writes(tmp_path):
    from navcourse.grading.pipeline import asked_of, checks_in
    from navcourse.grading.run import autograde, collect, release
    from navcourse.lesson import read_lesson
    from navcourse.render import render, write_notebook

    for name in ("checks", "handed_in", "course"):
        (tmp_path / name).mkdir()
    checks = tmp_path / "checks" / f"{LESSON}.py"
    checks.write_text((HERE / "sample_checks.py").read_text(encoding="utf-8"), encoding="utf-8")
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), tmp_path / "source.ipynb")
    course = Course(tmp_path / "course", tmp_path / "checks", "autumn")
    released = release(course, ASSIGNMENT, {LESSON: tmp_path / "source.ipynb"})[LESSON]

    def put(student, **answers):
        notebook = nbformat.read(released, 4)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = answers.get(name, cell.source)
        nbformat.write(notebook, tmp_path / "handed_in" / f"{student}_{LESSON}.ipynb")

    def everything():
        there = [p for p in course.root.rglob("*") if p.is_file() and "executed" not in p.parts]
        return {p: p.read_bytes() for p in there if p.suffix != ".log" and "backups" not in p.parts}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no sandbox here
        put("ada", **RIGHT)
        put("bo", **RIGHT)
        collect(course, ASSIGNMENT, tmp_path / "handed_in")
        with pytest.raises(GradingError, match="ada, sample_lesson"):  # released, not graded yet
            after_run(course, ASSIGNMENT, ["ada"])
        assert autograde(course, ASSIGNMENT) == {}
        assert [m.score for m in marks_table(course, ASSIGNMENT)] == [0.0, 3.0, 2.0] * 2
        assert preview(course, ASSIGNMENT) == (), "nothing is other than before"

        put("bo", centre_of=RIGHT["centre_of"])  # double_mm is the stub again
        collect(course, ASSIGNMENT, tmp_path / "handed_in")
        before = everything()
        (foretold,) = preview(course, ASSIGNMENT)
        assert everything() == before, "nothing is written"
        assert (foretold.student, foretold.exercise) == ("bo", "double_mm")
        assert (foretold.before, foretold.after) == (2.0, 0.0)
        assert foretold.why.startswith("Another file was handed in. The judge now says: ✗ one length:")
        old = marks_table(course, ASSIGNMENT)
        assert autograde(course, ASSIGNMENT) == {}
        (happened,) = differences(old, marks_table(course, ASSIGNMENT), {})
        assert replace(happened, why="") == replace(foretold, why=""), "what was foretold"

        text = checks.read_text(encoding="utf-8").replace(
            "close(answer[1], radius,", "close(answer[1], 2 * radius,"
        )
        checks.write_text(text, encoding="utf-8")
        for cache in (checks_in, asked_of):
            cache.cache_clear()
        (told,) = preview(course, ASSIGNMENT, students=["bo"])
        assert (told.student, told.exercise, told.before, told.after) == ("bo", "centre_of", 3.0, 0.0)
        assert told.why.startswith("The hidden check of centre_of is another. The judge now says: ✗ 4 points")


def test_a_preview_needs_a_gradebook(course):
    database(course).unlink()
    with pytest.raises(GradingError, match="there is no gradebook in"):
        preview(course, ASSIGNMENT)


# ------------------------------------------------------------------------------------ a database server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL server on a socket in a folder of its own; its URL."""
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL here: pip install 'psycopg[binary]'")
    if not shutil.which("initdb") or not shutil.which("pg_ctl"):
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("pg", numbered=True)
    prefix = []
    if os.geteuid() == 0:  # it refuses to run as root
        prefix = ["runuser", "-u", "postgres", "--"]
        folder = Path("/tmp") / f"navcourse-pg-{os.getpid()}"
        folder.mkdir(mode=0o700)
        shutil.chown(folder, "postgres", "postgres")

    def run(*command):
        return subprocess.run([*prefix, *command], cwd="/", check=True, capture_output=True, timeout=60)

    try:
        run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "grader", "--no-sync")
        options = f"-c listen_addresses='' -k {folder} -c fsync=off"
        run("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://grader@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_gradebook_on_postgresql(server, tmp_path, template, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    course = Course(tmp_path, tmp_path / "checks", "autumn", db_url=server)
    fill(server)
    check_schema(course)
    first = marks_table(course, ASSIGNMENT)
    local = replace(course, root=template.parent, db_url="")
    assert first == marks_table(local, ASSIGNMENT), "the same marks as in SQLite"
    with guarded(course):
        pass
    (made,) = backups(course)
    copied = Course(tmp_path / "copy", tmp_path, "autumn", db_url=f"sqlite:///{made}")
    assert marks_table(copied, ASSIGNMENT) == first
    check_schema(copied)
    with Gradebook(server, "navigation") as book:
        book.remove_submission(ASSIGNMENT, "bo")
    assert verify(course, ASSIGNMENT, ["ada", "bo"]) == ("bo, sample_lesson: 0 of 3 marks are in it.",)
    restore(course, made)
    assert marks_table(course, ASSIGNMENT) == first
    assert verify(course, ASSIGNMENT, ["ada", "bo", "cy"]) == ()
