"""The course's command line, from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def navcourse(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "navcourse", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_lab_opens_jupyterlab_on_the_self_study_notebooks(root, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={address.rsplit(':')[-1]}",
        "--IdentityProvider.token=t",
    ]
    command = [sys.executable, "-m", "navcourse", "lab", "--", *options]
    environment = os.environ | {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    log = (tmp_path / "log").open("w", encoding="utf-8")
    server = subprocess.Popen(
        command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{address}/api?token=t", timeout=5):
                    break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")[-2000:]
                assert time.monotonic() < deadline, (tmp_path / "log").read_text(encoding="utf-8")[-2000:]
                time.sleep(0.2)
        with urllib.request.urlopen(f"{address}/lab?token=t", timeout=30) as page:
            assert page.status == 200
        with urllib.request.urlopen(f"{address}/api/contents?token=t", timeout=30) as answer:
            names = {item["name"] for item in json.load(answer)["content"]}
        assert {"tracking", "registration", "reconstruction"} <= names
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)
        log.close()


def test_build_makes_numbered_notebooks_for_learners_and_instructors(root, tmp_path):
    done = navcourse(
        "build", "practical_use", "--selection", "half_day", "--out", str(tmp_path / "out"), cwd=root
    )
    assert done.returncode == 0, done.stderr
    for kind in ("student", "instructor"):
        names = [path.name for path in sorted((tmp_path / "out" / kind).glob("*.ipynb"))]
        assert names == [
            "01_pointer_pivot.ipynb",
            "02_point_registration.ipynb",
            "03_volume_reconstruction.ipynb",
        ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("build", "astrology"), "astrology"),
        (("build", "practical_use", "--selection", "night"), "half_day"),
        (("grade", "--submissions", "nowhere"), "does not exist"),
        (("grade", "--selection", "night"), "expected one of half_day"),
        (("report", "--root", "nowhere"), "has no gradebook.db"),
        (("purge", "--root", "nowhere"), "nowhere"),
        (("certificates", "--names", "x.csv", "--date", "today", "--root", "nowhere"), "gradebook.db"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(root, words, sentence):
    done = navcourse(*words, cwd=root)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_notebooks_check_says_that_all_is_fresh_and_changes_nothing(root):
    before = {path: path.read_bytes() for path in (root / "notebooks").rglob("*.ipynb")}
    done = navcourse("notebooks", "--check", cwd=root)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in (root / "notebooks").rglob("*.ipynb")} == before
