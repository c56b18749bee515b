"""The command itself: its parser, and what every subcommand has in common.

The law kept here: the exit status is 0 for a clean end, 1 where something could not be reached or was lost for good, 2
for wrong usage; a mistake of the user's is answered in one sentence and never by a traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from primus_proto import ConfigError, __version__

from . import connect, demo, serve, spec
from .job import Job
from .options import in_flags
from .output import Output
from .report import printable
from .runtime import RUNTIMES, Runtime, load

__all__ = ["run"]

EPILOG = """\
exit status: 0 clean, 1 could not connect or lost for good, 2 wrong usage or input

  primus demo                              see it work
  primus serve --port 8080                 a server that echoes
  primus connect http://localhost:8080     talk to it, one JSON value a line
"""


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(_usage(self.prog, message))


def _usage(program: str, message: str) -> int:
    print(f"{program}: {printable(message)}\nSee '{program} --help'.", file=sys.stderr)
    return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; each sets `prepare` and `program`."""
    parser = Parser(
        prog="primus",
        usage="primus COMMAND [options]",
        description="Servers and clients of the Primus real-time protocol, for trying things out and for scripts.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"primus {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command, arguments in ((serve, ""), (connect, " URL"), (spec, " URL"), (demo, "")):
        name = command.NAME
        subparser = commands.add_parser(
            name,
            prog=f"primus {name}",
            usage=f"primus {name}{arguments} [options]",
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog="exit status: " + command.STATUS,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32),
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.add_argument(
            "--io",
            choices=RUNTIMES,
            default="asyncio",
            help="what it runs on; trio has to be installed (default: %(default)s)",
        )
        subparser.add_argument("--json", action="store_true", help="print each event as one JSON object a line")
        subparser.add_argument("--verbose", action="store_true", help="say more on stderr, tracebacks included")
        subparser.set_defaults(prepare=command.prepare, program=f"primus {name}")
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Parse, run, and return the exit status. Raises SystemExit where argparse does."""
    parser = make_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        return _usage(getattr(args, "program", "primus"), f"there is no {unknown[0]!r} here")
    if not hasattr(args, "prepare"):
        parser.print_help(sys.stderr)
        return 2
    try:
        runtime = load(args.io)
        job: Job = args.prepare(args, runtime)
    except ConfigError as error:
        return _usage(args.program, in_flags(str(error)))
    output = Output(args.program, runtime, json=args.json, verbose=args.verbose)
    try:
        return _run(runtime, job, output)
    finally:
        _close(output)


def _run(runtime: Runtime, job: Job, output: Output) -> int:
    _log_to(output)
    try:
        status = runtime.run(partial(job, output))
    except KeyboardInterrupt:  # a second signal, or one before we had a word in it
        return 1
    except Exception as error:
        output.note(f"internal error: {error!r}; please report it, with what --verbose says")
        if output.verbose:
            output.trace(traceback.format_exc())
        return 1
    if output.failure is not None:
        output.note(f"cannot write to the standard output: {output.failure.strerror or output.failure}")
        return 1
    return status


def _close(output: Output) -> None:
    try:
        output.close()
    except KeyboardInterrupt:  # whoever should read our output does not, and somebody is tired of waiting
        os._exit(1)


class _Handler(logging.Handler):
    """What the library logs, said on stderr."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.DEBUG if output.verbose else logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info and self._output.verbose:
            self._output.trace("".join(traceback.format_exception(*record.exc_info)))


def _log_to(output: Output) -> None:
    logging.getLogger().addHandler(_Handler(output))
    if output.verbose:
        logging.getLogger("primus_io").setLevel(logging.DEBUG)
