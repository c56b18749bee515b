"""``primus spec``: what a server reports about itself."""

from __future__ import annotations

import argparse
import json
from typing import Any

import primus_proto as pp

from ..asyncio import fetch_spec
from .errors import explain
from .formatting import error_fields, printable
from .options import add_options, given_options
from .output import Output
from .running import race, stopping
from .sockets import add_client_sockets, client_sockets

USAGE = "URL [options]"
SUMMARY = "print the settings that a server publishes"
DESCRIPTION = "Fetch the spec of a Primus server: its version, pathname, parser, transformer and heartbeat settings."
STATUS = "0 the server answered, 1 no answer or not a spec, 2 wrong usage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subcommand."""
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port] of the server")
    add_client_sockets(parser)
    add_options(parser, pp.ClientConfig, {"pathname", "timeout", "headers", "cookies", "head", "handshake", "body"})


async def run(args: argparse.Namespace, output: Output) -> int:
    """Run this subcommand; returns the exit status. Raises ConfigError."""
    options = {**client_sockets(args), **given_options(args, pp.ClientConfig)}
    try:
        with stopping(output) as stop:
            spec: Any = await race(fetch_spec(**options), stop.wait())
    except pp.ConnectError as error:
        if output.json:
            output.event("error", **error_fields(error))
        output.note(explain(error))
        return 1
    if stop.is_set():
        return 1
    if output.json:
        output.event("spec", spec=spec)
    for name, value in spec.items():
        output.text(printable(f"{name:<12} {value if isinstance(value, str) else json.dumps(value)}"))
    return 0
