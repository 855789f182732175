"""``environment.yml`` for conda users, derived from ``pyproject.toml`` so that the two cannot differ."""

import re
import tomllib
from pathlib import Path

# What conda-forge calls differently, or splits.
CONDA_NAMES = {
    "pyvista[jupyter]": ["pyvista{spec}", "trame", "trame-vtk", "trame-vuetify"],
    "psycopg[binary]": ["psycopg{spec}"],
    "types-pyyaml": ["types-pyyaml{spec}"],
}
PIP_ONLY = {"pyigtl"}  # what conda-forge lacks

HEADER = """\
# For conda users; derived from pyproject.toml by `navcourse notebooks`, a test holds them equal.
# Not solved in CI (no conda channel there). Then: pip install --no-deps -e . ; navcourse demo ; pytest
name: navigation-course
channels:
  - conda-forge
  - nodefaults
dependencies:
"""


def environment_yml(root: Path) -> str:
    """The text of ``environment.yml`` for the checkout at `root`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [f"python{project['requires-python']}", "pip"]
    by_pip = []
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        found = re.fullmatch(r"([\w.-]+(?:\[\w+\])?)(.*)", requirement)
        if found is None:
            raise ValueError(f"pyproject.toml: {requirement!r}; expected a name and versions.")
        name, spec = found[1], found[2]
        if name in PIP_ONLY:
            by_pip.append(requirement)
            continue
        lines += [text.format(spec=spec) for text in CONDA_NAMES.get(name, [f"{name}{{spec}}"])]
    conda = "".join(f'  - "{line}"\n' for line in lines)
    return f"{HEADER}{conda}  - pip:\n" + "".join(f'    - "{line}"\n' for line in by_pip)
