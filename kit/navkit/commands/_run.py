"""How a command line runs: errors in one sentence, a bar for long work."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def progress() -> "Progress":
    """A bar with the time left on the terminal; where there is none it is silent."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def run(application: Callable[[], None], *mendable: type[Exception]) -> int:
    """Run a command line: every error that a user can mend is one sentence on stderr and exit code 2.

    Those are ValueError and OSError, and what `mendable` adds.
    """
    caught: tuple[type[Exception], ...] = (ValueError, OSError, *mendable)
    try:
        application()
    except SystemExit as done:
        return int(done.code) if isinstance(done.code, int) else int(done.code is not None)
    except caught as reason:
        typer.echo(f"error: {' '.join(str(reason).split())}", err=True)
        return 2
    return 0
