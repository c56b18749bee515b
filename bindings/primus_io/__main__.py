"""The `primus` command, also as ``python -m primus_io``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status: 0 clean, 1 could not connect or lost for good, 2 wrong usage."""
    status = 1
    try:
        from .cli.app import run  # imported here, so that Ctrl-C during the import prints no traceback

        status = run(argv)
    except SystemExit as done:  # from argparse: after --help, --version and wrong usage
        status = done.code if isinstance(done.code, int) else 2
    except KeyboardInterrupt:
        status = 1
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # the reader has gone; the interpreter would report that again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
