"""Imports flow one way: the order of the rooms is the architecture's, and this test reads the code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ABOVE = {
    "geometry": set(),
    "phantoms": {"geometry"},
    "tracking": {"geometry"},
    "ultrasound": {"geometry", "phantoms", "tracking"},
    "calibration": {"geometry", "tracking", "ultrasound"},
    "registration": {"geometry"},
    "reconstruction": {"geometry", "ultrasound"},
    "planning": {"geometry", "phantoms", "registration"},
    "checking": set(),
}
ABOVE["files"] = {
    "geometry",
    "phantoms",
    "tracking",
    "ultrasound",
    "calibration",
    "registration",
    "reconstruction",
    "planning",
}
ABOVE["recordings"] = ABOVE["files"] | {"files"}
ABOVE["datasets"] = ABOVE["files"] | {"files"}
ABOVE["live"] = ABOVE["datasets"] | {"datasets"}
ABOVE["viewing"] = ABOVE["live"] | {"live", "recordings"}
ABOVE["figures"] = ABOVE["viewing"] | {"viewing"}
ABOVE["commands"] = set(ABOVE) - {"figures"}
ABOVE["__main__"] = {"commands"}
ABOVE["__init__"] = set()


def room_of(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def violations(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        room = room_of(path, package)
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "navcourse":
                found.append(f"{path.name} imports navcourse")
            elif parts[0] == "navkit" and len(parts) > 1 and parts[1] in ABOVE:
                if parts[1] not in ABOVE[room] | {room}:
                    found.append(f"{room} ({path.name}) imports {parts[1]}")
            elif parts[0] in {"matplotlib", "pyvista"} and room != "viewing":
                found.append(f"{room} ({path.name}) imports {parts[0]}")
    return found


def test_every_room_imports_only_from_the_rooms_above_it(root):
    package = root / "kit" / "navkit"
    assert {room_of(p, package) for p in package.rglob("*.py")} <= set(ABOVE)
    assert violations(package) == []


def test_an_import_against_the_flow_is_found(tmp_path):
    (tmp_path / "geometry.py").write_text("from navkit import files\n", encoding="utf-8")
    (tmp_path / "tracking.py").write_text("def f():\n    import matplotlib.pyplot\n", encoding="utf-8")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "_x.py").write_text(
        "from navkit.datasets import load\nimport navcourse.demo\n", encoding="utf-8"
    )
    assert set(violations(tmp_path)) == {
        "files (_x.py) imports datasets",
        "_x.py imports navcourse",
        "geometry (geometry.py) imports files",
        "tracking (tracking.py) imports matplotlib",
    }


def test_nothing_in_the_kit_imports_from_grading_notebooks_or_tests(root):
    for path in (root / "kit").rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & {"grading", "notebooks", "tests", "checks", "mistakes"}, path


@pytest.mark.parametrize("package", ["navkit", "navcourse"])
def test_importing_a_package_loads_nothing_heavy(package):
    heavy = {"numpy", "scipy", "numba", "matplotlib", "SimpleITK", "pyvista", "jupytext", "nbgrader"}
    code = f"import sys, {package}; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_reading_a_recording_needs_no_drawing_and_no_notebook_library():
    code = (
        "import sys, navkit.files, navkit.reconstruction; unwanted = "
        "{'matplotlib', 'pyvista', 'SimpleITK', 'numba', 'jupytext', 'nbgrader'}; "
        "print(sorted(unwanted & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
