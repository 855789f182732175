"""`navcourse demo`, once, from an empty folder: the marks that the six participants deserve."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from navcourse.demo import CLASS
from navcourse.grading.sandbox import sandbox_available
from navcourse.lesson import find_lessons, read_lesson, solution_source, stub_source

pytestmark = pytest.mark.slow

EXERCISES = (
    "fit_rigid",
    "target_error",
    "tip_positions",
    "find_tip",
    "pixel_to_reference",
    "nearest_voxel_mean",
)
POINTS = (3, 2, 2, 3, 2, 3)

# What each participant deserves, exercise by exercise, in the order of EXERCISES, and the outcome.
DESERVED = {
    "p01": ((3, 2, 2, 3, 2, 3), "graded"),
    "p02": ((3, 2, 2, 3, 2, 3), "graded"),  # a warning on stderr costs nothing
    "p03": ((0, 2, 2, 0, 2, 3), "graded"),
    "p04": ((3, 2, 2, 3, 0, 0), "graded"),
    "p05": ((0, 0, 0, 0, 0, 0), "graded"),
    "p06": ((0, 0, 2, 3, 2, 3), "quarantined"),  # one file cut off; the two others count
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, root) -> tuple[Path, str]:
    """The demo's folder and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "page"
    command = [sys.executable, "-m", "navcourse", "demo", "--out", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out, done.stdout


@pytest.fixture(scope="module")
def page(demo) -> str:
    return (demo[0] / "index.html").read_text(encoding="utf-8")


def cells(row: str) -> list[str]:
    return [
        re.sub(r"<[^>]+>", "", c).strip() for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.S)
    ]


def test_the_six_participants_get_the_marks_that_they_deserve(page):
    table = re.search(r'<table id="marks">(.*?)</table>', page, flags=re.S)[1]
    head, *rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.S)
    names = [c.replace("\u200b", "").split("of")[0].strip() for c in cells(head)[1:-2]]
    assert tuple(names) == EXERCISES
    got = {c[0]: (tuple(float(v) for v in c[1:7]), c[7], c[8]) for c in map(cells, rows)}
    assert set(got) == set(DESERVED) == {who.name for who in CLASS}
    for name, (points, outcome) in DESERVED.items():
        assert got[name] == (points, f"{sum(points)} of {sum(POINTS)}", outcome), name


def test_nbgraders_own_gradebook_has_the_same_totals(demo):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{demo[0] / 'grading' / 'gradebook.db'}") as gradebook:
        totals = {s.student.id: s.score for s in gradebook.assignment_submissions("half_day")}
    assert totals == {name: sum(points) for name, (points, _) in DESERVED.items()}


def test_typical_mistakes_are_named_to_who_made_them(page):
    for words in (
        "This looks like the pivot point in pr, not the tip in s",
        "This looks like the transform the other way round",
        "This looks like a missing minus: y_t points to the left",
        "This looks like the last value instead of the mean",
    ):
        assert words in page.replace("&#39;", "'")


def test_the_broken_notebook_is_reported_by_name_with_a_reason(demo, page):
    assert "quarantined: point_registration: the file is cut off or damaged" in page
    out, printed = demo
    assert "p06: point_registration: the file is cut off" in " ".join(printed.split())
    kept = list((out / "grading" / "quarantine" / "p06").rglob("*point_registration*"))
    assert kept, "nothing is lost: the broken file is kept"


def test_it_ends_with_three_lines_telling_where_to_look(demo):
    lines = [line for line in demo[1].splitlines() if line.strip()]
    assert lines[-3].startswith("The page:")
    assert lines[-2].startswith("The notebooks:")
    assert lines[-1].startswith("Next:")
    assert Path(lines[-3].split(":", 1)[1].strip()).is_file()


def test_no_released_or_feedback_file_holds_a_solution_or_a_hidden_check(demo, root):
    """Lines of solutions and of hidden checks, looked for in every file a participant receives."""
    out, _ = demo
    scripts = find_lessons(root / "notebooks" / "src").values()
    secrets = set()
    for path in scripts:
        lesson = read_lesson(path)
        text = path.read_text(encoding="utf-8")
        for exercise in lesson.exercises:
            given = stub_source(lesson, exercise)
            for line in solution_source(lesson, exercise).splitlines():
                secret = line.strip()
                # what also stands in the open (hints, ideas, other cells) is no secret
                if len(secret) > 30 and text.count(secret) == 1 and secret not in given:
                    secrets.add(secret)
    for path in (root / "grading" / "checks").glob("*.py"):
        titles = re.findall(
            r"def (?!pixel|nearest|fit|target|find|tip_p)(\w+)\(", path.read_text(encoding="utf-8")
        )
        secrets |= {f"def {name}(" for name in titles} | {"@hidden(", "yield Case("}
    assert len(secrets) > 15
    received = [
        *(out / "grading" / "release").rglob("*.ipynb"),
        *(out / "notebooks" / "student").glob("*.ipynb"),
    ]
    pages = [p for name in ("p05",) for p in (out / "grading" / "feedback" / name).rglob("*.html")]
    assert len(received) == 6
    assert len(pages) == 3
    for path in [*received, *pages]:
        raw = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(c["source"]) for c in json.loads(raw)["cells"])
        else:
            text = (
                re.sub(r"<[^>]+>", "", raw).replace("&quot;", '"').replace("&#39;", "'").replace("&gt;", ">")
            )
        found = [secret for secret in secrets if secret in text]
        assert found == [], path
        assert "BEGIN SOLUTION" not in text
    # everyone's feedback, also of who wrote the right answer: no hidden check in it
    for path in (out / "grading" / "feedback").rglob("*.html"):
        text = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8"))
        assert not [s for s in secrets if s.startswith(("def ", "@hidden", "yield")) and s in text], path


class Page(HTMLParser):
    """What a reader without eyes or mouse needs from a page."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        elif tag == "a":
            self.links.append(found.get("href") or "")
        elif tag == "html":
            self.language = found.get("lang") or ""
        elif re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


def test_the_page_is_whole_and_needs_neither_eyes_nor_network(demo, page):
    read = Page()
    read.feed(page)
    assert read.language == "en"
    assert len(read.images) == 2
    for image in read.images:
        assert len((image["alt"] or "").split()) > 8
        assert (demo[0] / (image["src"] or "")).is_file()
    assert len(read.links) > 20
    for link in read.links:
        assert not link.startswith("http")
        assert (demo[0] / link).is_file(), link
    assert read.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(read.headings, read.headings[1:], strict=False)), (
        "no level is skipped"
    )
    assert "<script" not in page
    assert ("in a sandbox without network" in page) == sandbox_available()


def test_a_browser_shows_the_page_without_scrolling_sideways(demo, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium here: make system installs it on Debian")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ]
    flags += [f"--user-data-dir={tmp_path / 'profile'}"]
    picture = tmp_path / "page.png"
    command = [
        chromium,
        *flags,
        f"--screenshot={picture}",
        "--window-size=1200,3600",
        (demo[0] / "index.html").as_uri(),
    ]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    import numpy as np
    from PIL import Image

    grey = np.asarray(Image.open(picture).convert("L"), dtype=float)
    assert grey.shape == (3600, 1200)
    ink = (grey < 128).sum(axis=1)
    assert (ink > 0).sum() > 800, "the page is drawn"
    left, right = grey[:, :40], grey[:, -40:]
    assert (left > 250).mean() > 0.99
    assert (right > 250).mean() > 0.99, "nothing runs into the margin"
