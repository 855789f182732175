"""Intake and collection: the catalogue of broken submissions, and every place they may come from."""

import contextlib
import copy
import importlib.util
import io
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from navcourse.grading import _read_notebook, _sources, collector
from navcourse.grading._outputs import without_outputs
from navcourse.grading._read_notebook import UnreadableError, read_notebook
from navcourse.grading._repairs import repair
from navcourse.grading.collector import collect
from navcourse.grading.intake import intake
from navcourse.grading.settings import Course, GradingError
from navcourse.lesson import find_lessons, read_lesson, solution_source
from navcourse.render import render, to_text

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("broken_submissions", HERE / "broken_submissions.py")
broken = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(broken)
LESSON, CATALOGUE = broken.LESSON, broken.CATALOGUE
ASSIGNMENT = "half_day"
POINTS_MM = np.array([[0.5, -7.0, 3.0], [4.0, 1.0, -2.0], [9.0, 2.5, 8.0], [-3.0, 0.0, 1.5]])


@pytest.fixture(scope="module")
def released():
    return json.loads(to_text(render(read_lesson(HERE / "sample_lesson.py"), "student")))


@pytest.fixture(scope="module")
def solved(released):
    """The released notebook with everything written and right."""
    notebook = copy.deepcopy(released)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        name = broken.grade_id(cell)
        if name in broken.ANSWERS:
            broken.STUBS[name], cell["source"] = cell["source"], broken.ANSWERS[name]
    return notebook


def as_bytes(content):
    return content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()


def put(folder, files):
    """Write files by name; a notebook is a dict."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(as_bytes(content))
    return folder


def damaged(entry, solved):
    made = entry.damage(copy.deepcopy(solved))
    several = isinstance(made, dict) and not {"cells", "worksheets", "nbformat"} & set(made)
    return made if several else {f"{LESSON}.ipynb": made}


# ------------------------------------------------------------------------------- the catalogue


@pytest.fixture
def class_of_three(tmp_path, released, solved):
    """Learners ann and cyd, both right, and bea, whose files the test gives; returns what intake says."""
    path = put(tmp_path / "release", {f"{LESSON}.ipynb": released}) / f"{LESSON}.ipynb"
    submitted = tmp_path / "submitted"

    def look(files):
        for student in ("ann", "cyd"):
            put(submitted / student / ASSIGNMENT, {f"{LESSON}.ipynb": solved})
        put(submitted / "bea" / ASSIGNMENT, files)
        return intake(submitted, ASSIGNMENT, {LESSON: path})

    look.folder = submitted / "bea" / ASSIGNMENT
    look.again = lambda: intake(submitted, ASSIGNMENT, {LESSON: path})
    return look


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_every_broken_submission_has_its_outcome(entry, class_of_three, tmp_path, solved):
    files = {name: as_bytes(content) for name, content in damaged(entry, solved).items()}
    problems = class_of_three(files)
    for student in ("ann", "cyd"):  # the others are as they were
        theirs = tmp_path / "submitted" / student / ASSIGNMENT
        assert [p.name for p in theirs.rglob("*")] == [f"{LESSON}.ipynb"]
        assert (theirs / f"{LESSON}.ipynb").read_bytes() == as_bytes(solved)
    assert {problem.student for problem in problems} <= {"bea"}
    told = [problem.reason for problem in problems]
    for problem in problems:  # whoever reads it knows what to do
        assert problem.reason[0].islower() or problem.reason[0] in "'1234567890"
        assert problem.what_to_do.endswith(".")
    assert all(content in everything_kept(tmp_path, "bea") for content in files.values())  # nothing is lost
    path = class_of_three.folder / f"{LESSON}.ipynb"
    if entry.outcome == "quarantined":
        (problem,) = problems
        assert not problem.repaired
        assert entry.says in problem.reason
        assert "bea" in problem.what_to_do
        assert entry.todo in problem.what_to_do
        assert not path.exists()
        reason = (tmp_path / "quarantine" / "bea" / ASSIGNMENT / f"{LESSON}.ipynb.reason.txt").read_text(
            encoding="utf-8"
        )
        assert problem.reason in reason
        assert problem.what_to_do in reason
        return
    assert all(problem.repaired for problem in problems)
    assert any(entry.says in reason for reason in told) == bool(entry.says), told
    if entry.outcome == "untouched":
        assert told == []
    if entry.outcome != "repaired":
        assert path.read_bytes() == files[f"{LESSON}.ipynb"]
    passes_nbgrader(path)
    assert marks(path) == entry.marks
    if entry.marks == broken.FULL:
        assert "the radius does not" in path.read_text(encoding="utf-8")  # the written answer too
    again = [problem.reason for problem in class_of_three.again()]
    assert [r for r in again if "second copy" not in r and "no cell of" not in r] == []


def test_damage_on_damage_never_stops_a_class(class_of_three, solved, rng):
    hurt = 0
    for _ in range(25):
        notebook = copy.deepcopy(solved)
        for number in rng.choice(len(CATALOGUE), size=3, replace=False):
            with contextlib.suppress(StopIteration, KeyError, IndexError, ValueError):  # its cell is gone
                made = CATALOGUE[number].damage(copy.deepcopy(notebook))
                notebook = made if isinstance(made, dict) and "cells" in made else notebook
        problems = class_of_three({f"{LESSON}.ipynb": notebook})
        path = class_of_three.folder / f"{LESSON}.ipynb"
        hurt += bool(problems)
        if path.is_file():
            passes_nbgrader(path)
        else:
            assert not all(problem.repaired for problem in problems)
    assert hurt > 20


def test_every_lesson_rightly_solved_or_stripped_of_its_marks_passes(root):
    lessons = [read_lesson(path) for path in find_lessons(root / "notebooks" / "src").values()]
    for lesson in lessons:
        blank = json.loads(to_text(render(lesson, "student")))
        for cell in blank["cells"]:
            cell["source"] = "".join(cell["source"])
        mine = copy.deepcopy(blank)
        for cell in mine["cells"]:
            if broken.grade_id(cell) in lesson.exercises:
                cell["source"] = solution_source(lesson, broken.grade_id(cell))
        bare = copy.deepcopy(mine)
        assert repair(mine, blank) == [], lesson.id
        broken.marks_and_ids_stripped_as_by_colab(bare)
        assert [told for told in repair(bare, blank) if "lost" not in told] == [], lesson.id
        assert [broken.grade_id(c) for c in bare["cells"]] == [broken.grade_id(c) for c in blank["cells"]]
    assert len(lessons) >= 2


def test_the_catalogue_is_long_and_every_outcome_is_in_it():
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE) >= 35
    assert {entry.outcome for entry in CATALOGUE} == {"untouched", "repaired", "noted", "quarantined"}
    assert all(entry.says for entry in CATALOGUE if entry.outcome != "untouched")


def everything_kept(root, student):
    folders = (root / name / student for name in ("submitted", "originals", "quarantine"))
    return {path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def passes_nbgrader(path):
    """nbgrader's own reading, its checks of marks, and each released cell once and in order."""
    import nbformat
    from nbgrader.nbgraderformat import MetadataValidator, reads

    text = path.read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notebook = reads(text, as_version=4)
        MetadataValidator().validate_nb(notebook)
        nbformat.validate(notebook)
    lesson = json.loads(to_text(render(read_lesson(HERE / "sample_lesson.py"), "student")))
    wanted = [broken.grade_id(cell) for cell in lesson["cells"] if broken.grade_id(cell)]
    assert [broken.grade_id(cell) for cell in notebook.cells if broken.grade_id(cell)] == wanted
    right = {broken.grade_id(cell): "".join(cell["source"]).split() for cell in lesson["cells"]}
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("locked"):
            assert cell.source.split() == right[broken.grade_id(cell)]


def marks(path):
    """What the judge would give, without a kernel: cells run in order, each function asked at its check."""
    names = {}
    got = {"double_mm": 0, "centre_of": 0}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            with contextlib.suppress(Exception):
                exec(TransformerManager().transform_cell("".join(cell["source"])), names)
            exercise = broken.grade_id(cell).removeprefix("check_")
            if exercise in got and broken.grade_id(cell).startswith("check_"):
                with contextlib.suppress(Exception):
                    got[exercise] = cell["metadata"]["nbgrader"]["points"] * right(exercise, names[exercise])
    return got["double_mm"], got["centre_of"]


def right(exercise, function):
    if exercise == "double_mm":
        return bool(np.allclose(function(POINTS_MM), 2 * POINTS_MM))
    centre, radius = function(POINTS_MM)
    truth = POINTS_MM.mean(axis=0)
    return bool(
        np.allclose(centre, truth) and np.isclose(radius, np.linalg.norm(POINTS_MM - truth, axis=1).max())
    )


# --------------------------------------------------------------------- what the catalogue cannot hold


def test_a_link_is_set_aside_and_not_followed(class_of_three, tmp_path, solved):
    secret = put(tmp_path, {"secret.ipynb": solved}) / "secret.ipynb"
    class_of_three.folder.mkdir(parents=True)
    (class_of_three.folder / f"{LESSON}.ipynb").symlink_to(secret)
    (problem,) = class_of_three({})
    assert problem.reason == "this is a link, not a file"
    assert problem.what_to_do == "Ask bea to hand in the file itself."
    assert (tmp_path / "quarantine" / "bea" / ASSIGNMENT / f"{LESSON}.ipynb").is_symlink()
    assert secret.read_bytes() == as_bytes(solved)


def test_an_error_of_intake_itself_stops_nobody_else(class_of_three, tmp_path, monkeypatch, solved):
    def fails_for_bea(notebook, released):
        if notebook["metadata"].get("bea"):
            raise TypeError("a mistake of ours")
        return []

    monkeypatch.setattr("navcourse.grading.intake.repair", fails_for_bea)
    (problem,) = class_of_three({f"{LESSON}.ipynb": solved | {"metadata": {"bea": True}}})
    assert problem.reason == "intake itself failed at this file (TypeError: a mistake of ours)"
    assert problem.what_to_do.startswith("Look at bea's file yourself")
    assert not problem.repaired
    assert (tmp_path / "quarantine" / "bea" / ASSIGNMENT / f"{LESSON}.ipynb").is_file()


def test_two_lessons_under_each_others_names_change_places(tmp_path, released, solved):
    other = json.loads(json.dumps(released).replace("double_mm", "halve_mm").replace("given_", "start_"))
    for number, cell in enumerate(other["cells"]):
        cell["id"] = f"other-{number}"
    paths = put(tmp_path / "release", {"a.ipynb": released, "b.ipynb": other})
    put(tmp_path / "submitted" / "bea" / ASSIGNMENT, {"a.ipynb": other, "b.ipynb": solved})
    expected = {name: paths / f"{name}.ipynb" for name in ("a", "b")}
    problems = intake(tmp_path / "submitted", ASSIGNMENT, expected)
    assert [p.reason for p in problems] == [
        "the file was named 'b.ipynb' and was recognised by its cells",
        "the file was named 'a.ipynb' and was recognised by its cells",
    ]
    folder = tmp_path / "submitted" / "bea" / ASSIGNMENT
    assert (folder / "a.ipynb").read_bytes() == as_bytes(solved)
    assert (folder / "b.ipynb").read_bytes() == as_bytes(other)


def test_of_copies_with_the_wrong_name_the_one_saved_last_counts(class_of_three, solved):
    other = copy.deepcopy(solved)
    broken.cell(other, "double_mm")["source"] += "# later\n"
    put(class_of_three.folder, {"z.ipynb": solved, "b.ipynb": other})
    os.utime(class_of_three.folder / "z.ipynb", (1e9, 1e9))
    told = [p.reason for p in class_of_three({})]
    assert told[0] == f"'z.ipynb' is a second copy of '{LESSON}'; graded is 'b.ipynb': it was saved last"
    assert (class_of_three.folder / f"{LESSON}.ipynb").read_bytes() == as_bytes(other)
    assert (class_of_three.folder / "z.ipynb").is_file()


def test_a_file_too_large_without_its_outputs_is_set_aside(tmp_path, monkeypatch, solved):
    monkeypatch.setattr(_read_notebook, "LARGE", 1000)
    monkeypatch.setattr(_read_notebook, "MOST_WITHOUT_OUTPUTS", 5000)
    path = put(tmp_path, {"n.ipynb": solved}) / "n.ipynb"
    with pytest.raises(UnreadableError, match="larger than 0 MB, without its outputs too"):
        read_notebook(path)
    monkeypatch.setattr(_read_notebook, "MOST_BYTES", 2000)
    with pytest.raises(UnreadableError, match="the file is larger than"):
        read_notebook(path)


def test_leaving_out_outputs_leaves_the_rest_byte_by_byte(rng, solved):
    whole = copy.deepcopy(solved)
    for cell in whole["cells"]:
        if cell["cell_type"] == "code":
            words = "".join(rng.choice(list('ab"\\[]{}\n:'), size=200))
            cell["metadata"]["outputs"] = [1, 2]
            cell["source"] += words
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [words, words]}]
    bare = copy.deepcopy(whole)
    for cell in bare["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    assert json.loads(without_outputs(json.dumps(whole, indent=1).encode())) == bare
    assert without_outputs(json.dumps(bare).encode()) == json.dumps(bare).encode()


# ------------------------------------------------------------------------- where it comes from


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, as_bytes(content))
    return path


@pytest.fixture
def two(solved):
    """The notebooks of two learners: right, and different."""
    bea = copy.deepcopy(solved)
    broken.cell(bea, "double_mm")["source"] += "# by bea\n"
    return solved, bea


@pytest.fixture
def collected(tmp_path):
    """Collect from a source; returns what is told and, for each learner, the files that they have then."""
    root = tmp_path / "course"
    root.mkdir()

    def look(source):
        problems = collect(source, root, ASSIGNMENT, [LESSON])
        there = {}
        for folder in sorted((root / "submitted").glob(f"*/{ASSIGNMENT}")):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            there[folder.parent.name] = {
                path.relative_to(folder).as_posix(): path.read_bytes() for path in files
            }
        return {(p.student, p.reason): p for p in problems}, there

    look.root = root
    return look


def only(notebook):
    return {f"{LESSON}.ipynb": as_bytes(notebook)}


def loose_files(top, ann, bea):
    put(top, {f"ann_{LESSON}.ipynb": ann, f"bea_{LESSON} (1).ipynb": bea})
    return top, {"ann": only(ann), "bea": {f"{LESSON} (1).ipynb": as_bytes(bea)}}


def a_folder_for_each(top, ann, bea):
    put(top, {f"Ann Lie/{LESSON}.ipynb": ann, f"b\u00e5rd/half/{LESSON}.ipynb": bea})
    return top, {"Ann_Lie": only(ann), "b\u00e5rd": only(bea)}


def a_zip_file_for_each(top, ann, bea):
    zipped(top / "ann.zip", {f"work/{LESSON}.ipynb": ann, f"__MACOSX/work/._{LESSON}.ipynb": b"x"})
    zipped(top / f"bea_{LESSON}.ZIP", {"mine.ipynb": bea, "data/points.csv": b"1,2"})
    return top, {"ann": only(ann), "bea": {"mine.ipynb": as_bytes(bea), "data/points.csv": b"1,2"}}


def one_zip_file_with_folders(top, ann, bea):
    source = zipped(top / "all.zip", {f"all/ann/{LESSON}.ipynb": ann, f"all/bea/{LESSON}.ipynb": bea})
    return source, {"ann": only(ann), "bea": only(bea)}


def one_zip_file_in_a_folder(top, ann, bea):
    zipped(top / "class.zip", {f"ann_{LESSON}.ipynb": ann, f"bea_{LESSON}.ipynb": bea})
    put(top, {"list of names.txt": b"ann, bea"})
    return top, {"ann": only(ann), "bea": only(bea)}


def an_exchange(top, ann, bea):
    early, late = "2026-11-24 08:01:02.000001 UTC", "2026-11-24 09:01:02.000001 UTC"
    inbound = "navigation/inbound"
    put(top, {
        f"{inbound}/ann+{ASSIGNMENT}+{early}+Kq1_-a/{LESSON}.ipynb": bea,
        f"{inbound}/ann+{ASSIGNMENT}+{late}+Zz9/{LESSON}.ipynb": ann,
        f"{inbound}/ann+{ASSIGNMENT}+{late}+Zz9/timestamp.txt": b"1999-01-01 00:00:00 UTC",
        f"{inbound}/ann+{ASSIGNMENT}+{late}+Zz9/submission_secret.txt": b"s",
        f"{inbound}/b+e+{ASSIGNMENT}+{early}/{LESSON}.ipynb": bea,
        f"{inbound}/ann+another+{late}+Zz9/{LESSON}.ipynb": bea,
        f"navigation/outbound/{ASSIGNMENT}/{LESSON}.ipynb": bea,
    })  # fmt: skip
    named = {"timestamp.txt": late.encode(), "submission_secret.txt": b"s"}
    return top, {"ann": only(ann) | named, "b_e": only(bea) | {"timestamp.txt": early.encode()}}


def home_folders_of_a_hub(top, ann, bea):
    put(top, {
        f"ann/nav/{ASSIGNMENT}/{LESSON}.ipynb": ann,
        f"ann/nav/{ASSIGNMENT}/points.csv": b"1",
        "ann/nav/other/big.bin": b"0" * 10,
        f"ann/.local/share/{LESSON}.ipynb": bea,
        f"bea/{ASSIGNMENT}/{LESSON}.ipynb": bea,
        f"bea/{ASSIGNMENT}/.ipynb_checkpoints/{LESSON}-checkpoint.ipynb": ann,
        f"bea/old/{LESSON}.ipynb": ann,
        "cleaner/notes.txt": b"a home of someone else",
    })  # fmt: skip
    return top, {"ann": only(ann) | {"points.csv": b"1"}, "bea": only(bea)}


def a_download_of_canvas(top, ann, bea):
    source = zipped(top / "submissions.zip", {
        f"lieann_1843_99001_{LESSON}-2.ipynb": ann,
        "bergbea_LATE_1844_99002_homework.zip": zipped(top / "x", {f"{LESSON}.ipynb": bea}).read_bytes(),
    })  # fmt: skip
    return source, {"lieann_1843": {f"{LESSON}-2.ipynb": as_bytes(ann)}, "bergbea_1844": only(bea)}


def a_download_of_moodle(top, ann, bea):
    put(top, {
        f"Ann Lie_1843_assignsubmission_file_/{LESSON}.ipynb": ann,
        f"Bea Øy_1844_assignsubmission_file_{LESSON}.ipynb": bea,
    })  # fmt: skip
    return top, {"Ann_Lie_1843": only(ann), "Bea_Øy_1844": only(bea)}


SOURCES = [loose_files, a_folder_for_each, a_zip_file_for_each, one_zip_file_with_folders,
           one_zip_file_in_a_folder, an_exchange, home_folders_of_a_hub, a_download_of_canvas,
           a_download_of_moodle]  # fmt: skip


@pytest.mark.parametrize("build", SOURCES)
def test_every_source_is_sorted_by_learner_and_is_only_read(build, collected, tmp_path, two):
    source, wanted = build(tmp_path / "handed in", *two)
    before = {path: path.read_bytes() for path in (tmp_path / "handed in").rglob("*") if path.is_file()}
    told, there = collected(source)
    assert there == wanted
    assert all(problem.repaired for problem in told.values()), told
    assert {path: path.read_bytes() for path in before} == before
    assert not (collected.root / "downloaded" / ASSIGNMENT / "extracted").exists()
    assert collected(source)[1] == wanted  # and again


def test_what_a_source_says_is_told(collected, tmp_path, two):
    told, _ = collected(a_download_of_canvas(tmp_path / "canvas", *two)[0])
    assert list(told) == [("bergbea_1844", "Canvas marks it as late")]
    told, _ = collected(an_exchange(tmp_path / "exchange", *two)[0])
    late = "handed in 2 times; the last one counts (2026-11-24 09:01:02.000001 UTC)"
    assert list(told) == [("ann", late)]
    told, _ = collected(home_folders_of_a_hub(tmp_path / "home", *two)[0])
    assert ("bea", f"1 notebooks outside the folder '{ASSIGNMENT}' were not looked at") in told
    assert ("ann", "handed in besides notebooks: points.csv") in told
    assert len(told) == 2


_buffer = io.BytesIO()
with zipfile.ZipFile(_buffer, "w", zipfile.ZIP_DEFLATED) as _archive:
    _archive.writestr("a.bin", b"0" * 30_000)
THIRTY_KB = _buffer.getvalue()  # three of them are more than one learner may unpack here
HOSTILE = {
    "too_large": ({"a.bin": b"0" * 60_000}, "would unpack to 1 files"),
    "too_many": ({f"{n}.txt": b"" for n in range(30)}, "would unpack to 30 files"),
    "leads_out": ({"../../bea/half_day/sample_lesson.ipynb": b"{}"}, "wants to write outside its own folder"),
    "leads_out_on_windows": ({"..\\..\\x.ipynb": b"{}"}, "wants to write outside its own folder"),
    "absolute": ({"/tmp/x.ipynb": b"{}"}, "wants to write outside its own folder"),
    "drive": ({"C:/x.ipynb": b"{}"}, "wants to write outside its own folder"),
    "nothing_in_it": ({}, "the zip file holds no file"),
    "zip_files_in_it": ({f"{n}.zip": THIRTY_KB for n in range(3)}, "would unpack to 1 files"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_file_is_set_aside_and_the_others_go_on(kind, collected, tmp_path, monkeypatch, two):
    monkeypatch.setattr(_sources, "MOST_UNPACKED", 50_000)
    monkeypatch.setattr(_sources, "MOST_MEMBERS", 20)
    files, reason = HOSTILE[kind]
    bad = zipped(tmp_path / "in" / "ann.zip", files)
    put(tmp_path / "in", {f"bea_{LESSON}.ipynb": two[1]})
    told, there = collected(tmp_path / "in")
    assert there.pop("bea") == only(two[1])
    assert len(there) == (kind == "zip_files_in_it")  # the first of them had room
    problem = next(problem for problem in told.values() if "zip file" in problem.reason)
    assert problem.student == "ann"
    assert reason in problem.reason
    assert problem.what_to_do == "Look at the zip file and ask ann to hand it in anew."
    assert not problem.repaired
    kept = {path.read_bytes() for path in (collected.root / "quarantine" / "ann" / ASSIGNMENT).glob("*.zip")}
    assert kept == {bad.read_bytes() if kind != "zip_files_in_it" else THIRTY_KB}


def test_a_hostile_zip_file_in_that_of_a_class_leaves_room_for_the_others(
    collected, tmp_path, monkeypatch, two
):
    monkeypatch.setattr(_sources, "MOST_UNPACKED", 50_000)
    greedy = zipped(tmp_path / "a", {f"{n}.zip": THIRTY_KB for n in range(3)}).read_bytes()
    honest = zipped(tmp_path / "b", {f"{LESSON}.ipynb": two[1]}).read_bytes()
    source = zipped(tmp_path / "all.zip", {"ann.zip": greedy, "bea.zip": honest})
    told, there = collected(source)
    assert there["bea"] == only(two[1])
    assert set(there["ann"]) == {"a.bin"}  # of the three, the first
    assert ("ann", "the zip file would unpack to 1 files of 0 MB") in told


def test_damaged_locked_and_nested_zip_files_are_set_aside(collected, tmp_path, two):
    good = zipped(tmp_path / "good.zip", {f"{LESSON}.ipynb": two[0]}).read_bytes()
    flipped = bytearray(good)
    flipped[200] ^= 0xFF
    locked = bytearray(good)
    locked[6] |= 1
    locked[good.index(b"PK\x01\x02") + 8] |= 1
    inner = good
    for _ in range(5):
        inner = zipped(tmp_path / "inner.zip", {"a.zip": inner}).read_bytes()
    files = {"cut.zip": good[:-100], "flipped.zip": bytes(flipped), "locked.zip": bytes(locked),
             "deep.zip": inner, "other.rar": b"Rar!", f"zip_{LESSON}.ipynb": good}  # fmt: skip
    told, there = collected(put(tmp_path / "in", files))
    assert there == {"zip": only(two[0])}  # a zip file under a notebook's name is opened
    reasons = {student: problem.reason for (student, _), problem in told.items()}
    assert reasons["deep"] == "zip files in zip files, too deep to follow"
    assert reasons["other"] == "a packed file of kind .rar; expected .zip"
    for student in ("cut", "flipped", "locked"):
        assert reasons[student].startswith("the zip file is damaged or has a password")
    assert not any(problem.repaired for problem in told.values())


def test_links_are_told_and_never_followed(collected, tmp_path, two):
    outside = put(tmp_path / "outside", {f"{LESSON}.ipynb": two[0], "key": b"secret"})
    source = put(tmp_path / "in", {f"bea/{LESSON}.ipynb": two[1]})
    (source / "ann").symlink_to(outside)
    (source / "bea" / "key").symlink_to(outside / "key")
    link = zipfile.ZipInfo(f"{LESSON}.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(source / "cyd.zip", "w") as archive:
        archive.writestr(link, str(outside / "key"))
        archive.writestr("own.ipynb", as_bytes(two[0]))
    told, there = collected(source)
    assert there == {"bea": only(two[1]), "cyd": {"own.ipynb": as_bytes(two[0])}}
    reason = "this is a link, not a file; links are not followed"
    assert {who: problem.repaired for (who, why), problem in told.items() if why == reason} == {
        "": False,  # a whole folder may be missing
        "bea": True,
        "cyd": False,
    }


def test_two_people_never_share_a_folder(collected, tmp_path, two):
    ann, bea = two
    people = {"Ada": ann, "ada": bea, "ADA": ann, "A\u030ase": ann, "\u00c5se": bea}
    source = zipped(tmp_path / "all.zip", {f"{who}/{LESSON}.ipynb": work for who, work in people.items()})
    told, there = collected(source)
    twins = sorted(student for student in there if "-" in student)
    assert [twin[:4] for twin in twins] == ["Ada-", "ada-"]
    assert there["ADA"] == only(ann)
    assert there[twins[0]] == only(ann)
    assert there[twins[1]] == only(bea)
    assert (twins[1], "'ada' and 'ADA' are one name where capitals and signs do not count") in told
    assert set(there) == {"ADA", *twins, "\u00c5se"}  # one person, spelled by a Mac and by another system
    assert there["\u00c5se"] == only(ann) | {f"{LESSON} [2].ipynb": as_bytes(bea)}


def test_collecting_again_replaces_what_a_person_had_and_nobody_elses(collected, tmp_path, two):
    put(
        tmp_path / "first",
        {f"ann/{LESSON}.ipynb": two[0], "ann/old.txt": b"1", f"bea/{LESSON}.ipynb": two[1]},
    )
    put(tmp_path / "second", {f"ann_{LESSON} (2).ipynb": two[1]})
    collected(tmp_path / "first")
    _, there = collected(tmp_path / "second")
    assert there == {"ann": {f"{LESSON} (2).ipynb": as_bytes(two[1])}, "bea": only(two[1])}


def test_a_folder_decides_whose_a_file_is(collected, tmp_path, two):
    ann, bea = two
    source = put(tmp_path / "in", {f"ann_{LESSON}.ipynb": ann, f"bea/ann_{LESSON}.ipynb": bea})
    zipped(source / "cyd.zip", {f"ann_{LESSON}.ipynb": bea, f"bea_{LESSON}.ipynb": bea})
    told, there = collected(source)
    assert there["ann"] == only(ann)
    assert there["bea"] == {f"ann_{LESSON}.ipynb": as_bytes(bea)}
    assert len(there["cyd"]) == 2
    problem = told["bea", "the file carries the name of 'ann' and was handed in by 'bea'"]
    assert problem.what_to_do == "See whether it is ann's work; it is graded as bea's."


def test_files_beside_the_notebook_keep_their_places_and_names_fit_every_system(
    collected, tmp_path, monkeypatch, two
):
    monkeypatch.setattr(collector, "MOST_BESIDE", 1000)
    zipped(tmp_path / "in" / "ann.zip", {
        f"hw/{LESSON}.ipynb": two[0], f"hw/sub/{LESSON.upper()}.ipynb": two[1], "hw/con.ipynb": two[1],
        "hw/data/a.csv": b"1", "hw/big.bin": b"0" * 2000, "hw/timestamp.txt": b"1999-01-01 00:00:00 UTC",
        "hw/a:b?.txt": b"2", "hw/" + "n" * 200 + ".txt": b"3",
    })  # fmt: skip
    told, there = collected(tmp_path / "in")
    long_name = "n" * 80 + ".txt"
    assert set(there["ann"]) == {f"{LESSON}.ipynb", f"{LESSON.upper()} [2].ipynb", "_con.ipynb",
                                 "data/a.csv", "a_b_.txt", long_name}  # fmt: skip
    assert ("ann", "the file is too large to be kept beside the notebook (0 MB)") in told
    assert all(problem.repaired for problem in told.values())


@pytest.mark.parametrize("encoding", ["utf-8", "cp850"])
def test_names_in_zip_files_of_old_systems_are_read(encoding, collected, tmp_path, two):
    name = "Øysånn".encode(encoding)  # without the mark that says which encoding it is
    stand_in = "P" * len(name)
    path = zipped(tmp_path / "all.zip", {f"{stand_in}/{LESSON}.ipynb": two[0], f"bo/{LESSON}.ipynb": two[1]})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), name))
    assert collected(path)[1] == {"Øysånn": only(two[0]), "bo": only(two[1])}


def test_what_may_not_be_read_or_is_no_file_is_told(collected, tmp_path, monkeypatch, two):
    source = put(tmp_path / "in", {f"ann/{LESSON}.ipynb": two[0], f"bea/{LESSON}.ipynb": two[1]})
    if hasattr(os, "mkfifo"):
        os.mkfifo(source / "bea" / "pipe")
    monkeypatch.setattr(_sources.os, "access", lambda path, mode: "ann" not in str(path))
    told, there = collected(source)
    assert there == {"bea": only(two[1])}
    assert told["ann", "the file may not be read"].what_to_do.startswith("Ask for the right to read it")
    assert ("bea", "this is no ordinary file") in told or not hasattr(os, "mkfifo")


def test_someone_without_a_notebook_is_told_of(collected, tmp_path, two):
    put(tmp_path / "in", {"ann/report.pdf": b"%PDF", f"bea_{LESSON}.ipynb": two[1], "list.txt": b"names"})
    told, _ = collected(tmp_path / "in")
    problem = told["ann", "no notebook was handed in, only report.pdf"]
    assert not problem.repaired
    assert problem.what_to_do.startswith("Ask ann for the .ipynb file")
    assert told["", "neither a notebook nor a zip file"].repaired


def test_the_courses_own_root_is_not_handed_in(collected, two):
    home = collected.root.parent
    put(home, {f"teacher/{LESSON}.ipynb": two[0], f"course/source/{ASSIGNMENT}/{LESSON}.ipynb": two[1]})
    _, there = collected(home)
    assert there == {"teacher": only(two[0])}


def test_an_empty_source_is_an_error(collected, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(GradingError, match="holds no file"):
        collected(tmp_path / "in")


# ---------------------------------------------------------------------------------- end to end

FIVE = ("marks_and_ids_stripped_as_by_colab", "function_split_in_its_middle_and_both_marked",
        "solution_became_markdown", "check_moved_to_the_top", "solution_deleted")  # fmt: skip


@pytest.mark.slow
def test_five_broken_submissions_get_their_marks_from_nbgrader(tmp_path, solved):
    from navcourse.grading import run
    from navcourse.render import write_notebook

    put(tmp_path / "checks", {f"{LESSON}.py": (HERE / "sample_checks.py").read_bytes()})
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), tmp_path / "source.ipynb")
    chosen = {f"p{number}": entry for number, entry in enumerate(e for e in CATALOGUE if e.name in FIVE)}
    for student, entry in chosen.items():
        zipped(tmp_path / "in" / f"{student}.zip", {"min øving.ipynb": entry.damage(copy.deepcopy(solved))})
    zipped(tmp_path / "in" / "quit.zip", {f"{LESSON}.ipynb": b'{"cells": ['})
    course = Course(tmp_path / "course", tmp_path / "checks", "autumn")
    course.root.mkdir()
    run.release(course, ASSIGNMENT, {LESSON: tmp_path / "source.ipynb"})
    run.collect(course, ASSIGNMENT, tmp_path / "in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no sandbox here
        run.autograde(course, ASSIGNMENT)
    report = run.report(course, ASSIGNMENT)
    got = {row.student: (row.points["double_mm"], row.points["centre_of"], row.status) for row in report.rows}
    assert "quarantined" in got.pop("quit")[2]
    assert got == {student: (*entry.marks, "graded") for student, entry in chosen.items()}
    assert len(got) == 5
