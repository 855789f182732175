"""What the tests of navkit share."""

import sys

import pytest

from navkit.commands import app, run


@pytest.fixture
def navkit(monkeypatch, capsys):
    """Runs the command line: exit code, what it printed, and what it printed as an error."""

    def command(*argv) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["navkit", *map(str, argv)])
        code = run(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command
