"""For authors: make sets anew and write their sha256 and bytes into registry.toml.

    python datasets/renew.py [NAME ...]

Without names, every set with a recipe. Look at what you made before you commit it.
"""

import re
import shutil
import sys
import time
import tomllib
from pathlib import Path

import numpy as np

from navkit.datasets import _store
from navkit.datasets._recipes import RECIPES

HERE = Path(__file__).resolve().parent


def renew(name: str, entry: dict[str, object]) -> str:
    """Make one set, put it into its place and rewrite its lines; what was done, as a line of text."""
    start = time.perf_counter()
    content = RECIPES[str(entry["recipe"])](np.random.default_rng(entry["seed"]), None)
    kind = ".npz" if entry["kind"] == "arrays" else ""
    path = HERE / ("files" if entry.get("committed") else "made") / f"{name}{kind}"
    for old in (HERE / "files", HERE / "made"):
        shutil.rmtree(old / path.name, ignore_errors=True)
        (old / path.name).unlink(missing_ok=True)
    _store.write(content, path, lambda _: None)
    sha256, size = _store.digest(path), _store.size(path)
    registry = HERE / "registry.toml"
    head, own, tail = re.split(rf"^(\[{name}\]\n(?:.+\n)*)", registry.read_text(encoding="utf-8"), flags=re.M)
    own = re.sub(r'sha256 = "\w*"', f'sha256 = "{sha256}"', own)
    registry.write_text(head + re.sub(r"bytes = \d+", f"bytes = {size}", own) + tail, encoding="utf-8")
    same = "as before" if (sha256, size) == (entry["sha256"], entry["bytes"]) else "new"
    return f"{name}: {same}, {time.perf_counter() - start:.1f} s"


if __name__ == "__main__":
    for name, entry in tomllib.loads((HERE / "registry.toml").read_text(encoding="utf-8")).items():
        if "recipe" in entry and (not sys.argv[1:] or name in sys.argv[1:]):
            print(renew(name, entry), flush=True)
