"""The command line: ``python -m navkit``."""

import signal
import sys

from navkit.commands import app, run

__all__ = ["app", "main", "run"]


def main() -> None:
    """The console script."""
    # SIGTERM alone would leave half-written files behind; so it ends as everything else does
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(run(app))


if __name__ == "__main__":
    main()
