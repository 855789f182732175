"""nbgrader's formgrader in a browser: a class is listed, a written answer marked, and the export has it."""

import csv
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from navcourse.grading.regrade import marks_table
from navcourse.grading.report import write_csv
from navcourse.grading.run import collect, release, report
from navcourse.grading.settings import Course, session

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ASSIGNMENT, LESSON, ANSWER = "half_day", "sample_lesson", "answer_what_moves"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> str:
    """The system's browser; asked for before anything is started."""
    pytest.importorskip("playwright.sync_api", reason="no Playwright here: it comes with the dev extra")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here: make system installs it on Debian")
    return path


@pytest.fixture(scope="module")
def course(chromium, tmp_path_factory, root) -> Course:
    """Two learners whose answers wait for a human; no kernel was started for them."""
    from navcourse.lesson import read_lesson
    from navcourse.render import render, write_notebook

    top = tmp_path_factory.mktemp("formgrader")
    course = Course(top / "course", top / "course" / "checks", "default")
    for folder in (course.checks_folder, top / "handed_in"):
        folder.mkdir(parents=True)
    shutil.copyfile(HERE / "sample_checks.py", course.checks_folder / f"{LESSON}.py")
    write_notebook(render(read_lesson(HERE / "sample_lesson.py"), "source"), top / "source.ipynb")
    released = release(course, ASSIGNMENT, {LESSON: top / "source.ipynb"})[LESSON]
    for student in ("ada", "bo"):
        notebook = nbformat.read(released, 4)
        (cell,) = (c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == ANSWER)
        cell.source = f"The centre moves; the radius stays, says {student}."
        nbformat.write(notebook, top / "handed_in" / f"{student}_{LESSON}.ipynb")
    collect(course, ASSIGNMENT, top / "handed_in")
    with session(course) as api:
        steps = api.config.Autograde.autograde_preprocessors
        api.config.Autograde.autograde_preprocessors = [s for s in steps if "navcourse" not in s]
        for student in ("ada", "bo"):
            assert api.autograde(ASSIGNMENT, student)["success"]
    shutil.copyfile(root / "grading" / "nbgrader_config.py", course.root / "nbgrader_config.py")
    return course


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    """A Jupyter server with formgrader on the course root; its address, with a token."""
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"HOME": str(home), "JUPYTER_TOKEN": token, "PATH": scripts}
    environment |= {name: str(home / name) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    extensions = {"nbgrader.server_extensions.formgrader": True, "jupyterlab": False, "jupyter_lsp": False}
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={course.root}"]
    command += [f"--ServerApp.jpserver_extensions={name}={on}" for name, on in extensions.items()]
    with (home / "log").open("w", encoding="utf-8") as log:
        running = subprocess.Popen(command, cwd=course.root, env=environment, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            while not (told := list((home / "JUPYTER_RUNTIME_DIR").glob("jpserver-*.json"))):
                assert running.poll() is None, (home / "log").read_text(encoding="utf-8")
                assert time.monotonic() < end, "the server did not start in 60 s"
                time.sleep(0.1)
            yield json.loads(told[0].read_text(encoding="utf-8"))["url"], token
        finally:
            running.terminate()
            running.wait(20)


@pytest.fixture(scope="module")
def page(chromium, server):
    """A page of a headless Chromium that may speak to the server only."""
    from playwright.sync_api import sync_playwright

    address, token = server
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(20_000)
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())  # MathJax
        page.goto(f"{address}login?token={token}&next=/formgrader/manage_submissions/{ASSIGNMENT}")
        yield page
        browser.close()


def test_a_mark_by_hand_reaches_the_export(course, server, page, tmp_path):
    assert [m.waits for m in marks_table(course, ASSIGNMENT) if m.exercise == ANSWER] == [True, True]

    # The class is listed, and what waits for a human.
    page.get_by_text("bo", exact=True).wait_for()
    listed = page.locator("table tbody tr").all_inner_texts()
    for student, row in zip(("ada", "bo"), sorted(listed), strict=True):
        assert f"\t{student}\t" in row
        assert "needs manual grading" in row
    page.get_by_role("link", name="Manual Grading").click()
    page.get_by_role("link", name=ASSIGNMENT).click()
    page.get_by_role("link", name=LESSON).click()
    page.get_by_role("link", name="Submission #1").click()

    # The answer is there to read; a mark and a comment are typed and saved.
    cell = page.locator(".nbgrader_cell", has=page.locator(f"input#{ANSWER}"))
    words = cell.inner_text()
    student = "ada" if "says ada" in words else "bo"
    assert f"The centre moves; the radius stays, says {student}." in words
    score = cell.locator("input.score")
    cell.locator("input.score.needs_manual_grade").wait_for()  # the marks came from the server
    with page.expect_response(lambda r: "/api/grade/" in r.url and r.request.method == "PUT") as saved:
        score.fill("1.5")
        score.press("Tab")
    assert saved.value.ok
    with page.expect_response(lambda r: "/api/comment/" in r.url and r.request.method == "PUT") as saved:
        cell.locator("textarea.comment").fill("Why does it stay?")
        cell.locator("textarea.comment").press("Tab")
    assert saved.value.ok
    page.screenshot(path=tmp_path / "formgrader.png")
    if keep := os.environ.get("NAVCOURSE_SCREENSHOTS"):
        shutil.copyfile(tmp_path / "formgrader.png", Path(keep) / "formgrader.png")

    # Loaded again, it is still there: it came from the gradebook.
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(f"document.querySelector('input#{ANSWER}').value === '1.5'")

    # The gradebook, the kit's own table and nbgrader's export agree.
    (mark,) = (m for m in marks_table(course, ASSIGNMENT) if (m.student, m.exercise) == (student, ANSWER))
    assert (mark.manual, mark.score, mark.waits, mark.comment) == (1.5, 1.5, False, "Why does it stay?")
    write_csv(report(course, ASSIGNMENT), tmp_path / "marks.csv")
    with (tmp_path / "marks.csv").open(encoding="utf-8") as file:
        ours = {row["student"]: row for row in csv.DictReader(file)}
    assert float(ours[student][ANSWER]) == 1.5
    assert {name: row["waiting"] for name, row in ours.items()} == {"ada": "1", "bo": "1"} | {student: "0"}
    command = [sys.executable, "-m", "nbgrader", "export", f"--to={tmp_path / 'grades.csv'}"]
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        command, cwd=course.root, check=True, capture_output=True, env=os.environ | {"PATH": scripts}
    )
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        theirs = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert theirs == {name: float(row["total"]) for name, row in ours.items()}
    other = "bo" if student == "ada" else "ada"
    assert theirs[student] == theirs[other] + 1.5
