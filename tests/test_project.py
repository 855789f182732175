"""The project's own rules: what is committed, what the README promises, what conda users get."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from navcourse.environment import environment_yml


@pytest.fixture(scope="module")
def tracked(root) -> list[Path]:
    """Every file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the rules about committed files cannot be checked")
    return [root / name for name in out.splitlines() if (root / name).is_file()]


def texts(paths: list[Path]):
    for path in paths:
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


# Written in parts, so that this file does not hold what it forbids.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry.npm" + "js",
    "conda.ana" + "conda.org",
    "deb.deb" + "ian.org",
]
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|farm|home/[a-z]+|Users/[a-z]+)/[\w.]")


def test_no_file_names_a_package_registry(tracked):
    found = [f"{path.name}: {host}" for path, text in texts(tracked) for host in REGISTRIES if host in text]
    assert found == []


def test_no_file_names_a_path_of_one_machine(tracked):
    # paths inside the sandbox, and planted ones that must go
    allowed = {"sandbox.py", "test_grading.py", "test_project.py", "test_anonymise.py"}
    allowed |= {
        "_bubblewrap.py",
        "_inside.py",
        "test_parallel.py",
        "test_gradebook.py",
        "hostile_submissions.py",
    }
    found = [
        f"{path.name}: {match.group()}"
        for path, text in texts(tracked)
        if path.name not in allowed
        for match in MACHINE.finditer(text)
    ]
    assert found == []


def test_the_lock_holds_versions_and_hashes_and_no_address(root):
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(r"^([\w.-]+)==(\S+)", lock, flags=re.M)
    assert len(pinned) > 100
    for block in re.split(r"\n(?=[\w.-]+==)", lock):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_lock_leaves_out_what_slows_or_downloads(root):
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    for name in ("rfc3987-syntax", "trame-vtklocal"):
        lines = [line for line in lock.splitlines() if line.startswith(f"{name}==")]
        assert all("sys_platform == 'never'" in line for line in lines)
        with pytest.raises(ImportError):
            __import__(name.replace("-", "_"))


def test_the_lock_satisfies_pyproject(root):
    from packaging.requirements import Requirement

    lock = dict(
        re.findall(
            r"^([\w.-]+)==([^\s;]+)", (root / "requirements.lock").read_text(encoding="utf-8"), flags=re.M
        )
    )
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        need = Requirement(text)
        assert need.specifier.contains(lock[need.name.lower()]), text


def test_environment_yml_is_pyprojects(root):
    text = (root / "environment.yml").read_text(encoding="utf-8")
    assert text == environment_yml(root)
    import yaml

    parsed = yaml.safe_load(text)
    assert parsed["channels"] == ["conda-forge", "nodefaults"], (
        "Anaconda's defaults need a licence in a hospital"
    )
    assert "numpy>=2.1" in parsed["dependencies"]
    assert {"pip": ["pyigtl>=0.3.4"]} in parsed["dependencies"], "not on conda-forge"


def test_no_file_is_large_and_a_clone_is_small(tracked):
    sizes = {path: path.stat().st_size for path in tracked}
    assert [p.name for p, size in sizes.items() if size > 1_000_000] == []
    assert sum(sizes.values()) < 10_000_000


def test_no_notebook_is_committed_with_outputs(tracked):
    for path in tracked:
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                assert not cell.get("outputs"), path
                assert cell.get("execution_count") is None, path


def test_nothing_of_the_real_recordings_is_in_the_project(tracked, navkit_data):
    theirs = {p.name for p in navkit_data.rglob("*") if p.is_file()} - {"LICENSE", "LICENSE.md", "README.md"}
    assert [p.name for p in tracked if p.name in theirs] == []


# ---- what the README says ---------------------------------------------------------------------------------


def readme_commands(root: Path) -> list[str]:
    text = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, flags=re.S)
    lines = [line.removeprefix("$ ").split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_opens_with_what_it_is_a_picture_and_two_commands(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    screen = "\n".join(text.splitlines()[:40])
    assert re.search(r"^# ", screen, flags=re.M)
    picture = re.search(r"!\[([^\]]{40,})\]\(([^)]+\.png)\)", screen)
    assert picture, "a picture with a text that tells what it shows"
    assert (root / picture[2]).is_file()
    assert "make demo" in screen
    assert "make test" in screen
    assert "not a medical device" in text


def test_the_readmes_picture_says_in_the_file_what_the_readme_says(root):
    from PIL import Image

    text = (root / "README.md").read_text(encoding="utf-8")
    words, path = re.search(r"!\[([^\]]+)\]\(([^)]+\.png)\)", text).groups()
    assert Image.open(root / path).text["Description"] == " ".join(words.split())


def test_every_command_in_the_readme_exists(root, monkeypatch):
    from typer.main import get_command
    from typer.testing import CliRunner

    import navcourse.__main__
    import navkit.__main__

    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    apps = {"navkit": navkit.__main__.app, "navcourse": navcourse.__main__.app}
    commands = readme_commands(root)
    assert {"make demo", "make test"} <= set(commands)
    for command in commands:
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets, command
        elif words[0] in apps:
            known = get_command(apps[words[0]]).commands
            assert words[1] in known, command
            options = {o for p in known[words[1]].params for o in [*p.opts, *p.secondary_opts]}
            assert {w.split("=")[0] for w in words[2:] if w.startswith("-") and w != "--"} <= options, command
            shown = CliRunner().invoke(apps[words[0]], [words[1], "--help"])
            assert shown.exit_code == 0
        else:
            assert words[0] in {"git", "cd", "conda", "pip", "pytest", "python"}, command


def test_every_command_shows_an_example(root):
    from typer.main import get_command

    import navcourse.__main__
    import navkit.__main__

    for app in (navkit.__main__.app, navcourse.__main__.app):
        for name, command in get_command(app).commands.items():
            assert (command.epilog or "").startswith("Example: nav"), name
            assert f" {name}" in command.epilog


def test_links_between_the_pages_lead_somewhere(tracked):
    for path, text in texts([p for p in tracked if p.suffix == ".md"]):
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)(?:#[^)]*)?\)", text):
            assert (path.parent / target).exists(), f"{path.name} -> {target}"


def test_make_and_ci_are_one_line_of_a_command_line(root):
    lines = (root / "Makefile").read_text(encoding="utf-8").split("\n.venv/ready:")[0]
    for target, body in re.findall(r"^([a-z]+):[^\n]*\n((?:\t[^\n]*\n?)+)", lines, flags=re.M):
        assert body.count("\n\t") == 0, target
    ci = (root / ".ci" / "run").read_text(encoding="utf-8")
    assert "make system" in ci
    assert "make test" in ci


def test_versions_agree(root):
    import navkit

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert navkit.__version__ == project["version"]
    assert f"version: {project['version']}" in (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {project['version']}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_texts_are_read_and_written_as_utf_8_whatever_the_locale(tracked):
    """What a machine takes for its encoding, such as ASCII in a bare container, is no choice of ours."""
    unsaid = []
    for path in (path for path in tracked if path.suffix == ".py"):
        for call in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                before = {"read_text": 0, "write_text": 1}.get(call.func.attr)
                positional = before is not None and len(call.args) <= before
                if positional and not any(keyword.arg == "encoding" for keyword in call.keywords):
                    unsaid.append(f"{path.name}:{call.lineno}")
    assert unsaid == []
