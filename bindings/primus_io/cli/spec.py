"""``primus spec``: what a server says of itself."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

import primus_proto as pp

from . import report
from .advice import advice
from .job import Job
from .options import SPEC_OPTIONS, add_client_options, add_unix, given_options
from .output import Output
from .runtime import Runtime
from .signals import stopping
from .tls import add_client_tls, client_tls

__all__ = ["DESCRIPTION", "NAME", "STATUS", "SUMMARY", "add_arguments", "prepare"]

NAME = "spec"
SUMMARY = "what a server says of itself"
DESCRIPTION = "Ask a Primus server for its spec: the version, pathname, parser, transformer and heartbeat it has."
STATUS = "0 answered, 1 no answer or none that is a spec, 2 wrong usage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port] of the server")
    add_unix(parser)
    add_client_tls(parser)
    add_client_options(parser, SPEC_OPTIONS)


def prepare(args: argparse.Namespace, runtime: Runtime) -> Job:
    """Check the options. Raises ConfigError."""
    options = given_options(args, pp.ClientConfig)
    pp.ClientConfig(**options)
    return partial(_spec, runtime, {"ssl": client_tls(args), "unix": args.unix, **options})


async def _spec(runtime: Runtime, options: dict[str, Any], output: Output) -> int:
    try:
        with stopping(runtime) as stop:
            spec = await runtime.race(partial(runtime.fetch_spec, **options), stop.wait)
    except pp.ConnectError as error:
        if output.json:
            output.event("error", **report.fault(error))
        output.note(advice(error))
        return 1
    if spec is None:  # stopped
        return 1
    if output.json:
        output.event("spec", spec=spec)
    else:
        for name, value in spec.items():
            output.text(report.printable(f"{name:<12} {value if isinstance(value, str) else json.dumps(value)}"))
    return 0
