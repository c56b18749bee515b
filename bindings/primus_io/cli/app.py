"""The command: its parser, and what all subcommands share. A user's mistake is answered with one sentence."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from primus_proto import ConfigError, __version__
from primus_proto.suggestions import suggestion

from . import connect, demo, serve, spec
from .formatting import printable
from .options import in_flags
from .output import Output

USAGE = "primus COMMAND [options]"
DESCRIPTION = "Servers and clients of the Primus real-time protocol, for trying things out and for scripts."
EPILOG = """\
examples:
  primus demo                              see it work
  primus serve --port 8080                 a server that echoes
  primus connect http://localhost:8080     talk to it, one JSON value per line

'primus COMMAND --help' lists the options of a command.
exit status: 0 clean end, 1 could not connect or lost for good, 2 wrong usage or input
"""
COMMANDS = {"serve": serve, "connect": connect, "spec": spec, "demo": demo}


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\nSee '{self.prog} --help'.\n")


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the command line, and those of the subcommands by name."""
    parser = Parser("primus", USAGE, DESCRIPTION, EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"primus {__version__}")
    parser.set_defaults(values=False)
    _add_output_flags(parser, default=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            prog=f"primus {name}",
            usage=f"primus {name} {command.USAGE}",
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog=f"exit status: {command.STATUS}",
        )
        command.add_arguments(parsers[name])
        _add_output_flags(parsers[name], default=argparse.SUPPRESS)
    return parser, parsers


def _add_output_flags(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the flags that are understood before and after the command."""
    common: dict[str, Any] = {"action": "store_true", "default": default}
    parser.add_argument("--json", help="print each event as one JSON object per line", **common)
    timestamps = "print the time of each line; with --json as Unix time, in a field 'time'"
    parser.add_argument("--timestamps", help=timestamps, **common)
    verbose = "print more: changes of the ready state (--json always has them), debug messages, tracebacks"
    parser.add_argument("-v", "--verbose", help=verbose, **common)


def run(argv: Sequence[str] | None = None) -> int:
    """Parse, run, and return the exit status. Raises SystemExit where argparse does."""
    argv = sys.argv[1:] if argv is None else argv
    parser, parsers = make_parser()
    _check_words(argv, parser, parsers)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    subparser = parsers[args.command]
    output = Output(subparser.prog, args.json, args.values, args.verbose, args.timestamps)
    handler = _LogHandler(output)
    logging.getLogger().addHandler(handler)
    try:
        status: int = asyncio.run(COMMANDS[args.command].run(args, output))
        if output.error is not None:
            output.note(f"cannot write to the standard output: {output.error.strerror or output.error}")
            return 1
        return status
    except ConfigError as error:
        subparser.error(in_flags(str(error)))
    except (asyncio.CancelledError, KeyboardInterrupt):  # a second signal, or one before we handled them
        return 1
    except Exception as error:
        output.note(f"internal error: {error!r}; please report it, with the output of --verbose")
        output.debug(traceback.format_exc())
        return 1
    finally:
        logging.getLogger().removeHandler(handler)
        try:
            output.close()
        except KeyboardInterrupt:  # nobody reads the output, and the user does not want to wait
            os._exit(1)


def _check_words(argv: Sequence[str], parser: Parser, parsers: Mapping[str, Parser]) -> None:
    """Report an unknown command or flag first, with a suggestion: argparse would report what it misses instead."""
    current = parser
    for word in argv:
        flag, flags = word.partition("=")[0], current._option_string_actions
        if flag.startswith("--") and flag != "--" and " " not in flag and flag not in flags:
            current.error(f"unknown option {flag}{suggestion(flag, flags)}")
        if current is parser and not word.startswith("-"):
            if word not in parsers:
                parser.error(f"unknown command {word!r}{suggestion(word, parsers)}")
            current = parsers[word]


class _LogHandler(logging.Handler):
    """Prints what the library logs as notes."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "primus_io.client":  # what happens to a client is said by its events
            return
        self._output.note(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info:
            self._output.debug("".join(traceback.format_exception(*record.exc_info)))
