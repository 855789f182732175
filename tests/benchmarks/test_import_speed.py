"""How long importing takes; nothing here is asserted in `make test`."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["", "navkit", "numpy"])
def test_import(benchmark, package):
    """`import navkit` against Python alone and numpy: below 0.2 s more than Python alone."""
    command = [sys.executable, "-c", f"import {package}" if package else "pass"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True}, rounds=7, warmup_rounds=1)
