"""``primus serve``: a server that echoes or relays, and prints what happens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import primus_proto as pp

from ..asyncio import Server, Spark
from ..asyncio import serve as serve_on
from .options import add_options, converter, given_options
from .output import Output
from .running import stopping
from .sockets import add_server_tls, server_tls

USAGE = "[options]"
SUMMARY = "a server: sends each value back, or on to all other clients"
DESCRIPTION = """\
Serve Primus. Each value that a client sends goes back to it (--mode echo) or on to every other client (--mode relay).
Every event is printed as a line. SIGINT (Ctrl-C) and SIGTERM end the server gracefully: clients are told not to come
back, or with --reconnect that they should. A second signal ends it without waiting for the clients."""
STATUS = "0 ended by a signal, 1 could not listen, 2 wrong usage"

HOST, PORT = "127.0.0.1", 8080
PATIENCE = 2.0  # seconds that a client which does not read may hold up the others


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this subcommand."""
    parser.add_argument("--host", help=f"address to listen on (default: {HOST})")
    parser.add_argument("--port", type=converter("N"), help=f"port to listen on; 0 picks a free one (default: {PORT})")
    parser.add_argument("--unix", metavar="PATH", help="Unix socket to listen on, instead of a host and port")
    mode = "send values back ('echo') or on to all other clients ('relay') (default: %(default)s)"
    parser.add_argument("--mode", choices=("echo", "relay"), default="echo", help=mode)
    parser.add_argument("--reconnect", action="store_true", help="let clients reconnect after the server is stopped")
    require = "reject clients (401) whose URL query lacks this KEY=VALUE; repeat to require several"
    common: dict[str, Any] = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument("--require", type=converter("KEY=VALUE"), help=require, **common)
    add_server_tls(parser)
    add_options(parser, pp.ServerConfig)


async def run(args: argparse.Namespace, output: Output) -> int:
    """Run this subcommand; returns the exit status. Raises ConfigError."""
    options = given_options(args, pp.ServerConfig)
    if args.require:
        options.setdefault("authorization", True)
        options["authorize"] = partial(_authorize, args.require)
    elif options.get("authorization"):
        raise pp.ConfigError("--authorization needs --require KEY=VALUE: what clients must send")
    if args.unix is not None and (args.host is not None or args.port is not None):
        raise pp.ConfigError("--unix replaces --host and --port: give either it or them")
    host, port = args.host or HOST, PORT if args.port is None else args.port
    if not 0 <= port <= 65535:
        raise pp.ConfigError(f"--port must be a number from 0 to 65535; got {port}")
    serving = serve_on(None, host, port, unix=args.unix, ssl=server_tls(args), **options)
    with stopping(output) as stop:
        async with contextlib.AsyncExitStack() as stack:
            try:
                server = await stack.enter_async_context(serving)
            except (OSError, UnicodeError) as error:
                why = error.strerror or str(error) if isinstance(error, OSError) else f"cannot listen: {error}"
                output.note(f"{why}; choose another {'--unix' if args.unix else '--host or --port'}")
                return 1
            output.event("listening", url=server.url, **({} if args.unix is None else {"unix": args.unix}))
            _listen(server, output, relay=args.mode == "relay")
            await stop.wait()
            if args.reconnect:
                await server.close(reconnect=True)
    return 0


def _authorize(required: list[tuple[str, str]], request: pp.Request) -> None:
    for key, value in required:
        if not hmac.compare_digest(request.query.get(key, "").encode(), value.encode()):
            raise pp.Refused(f"the query of the connect URL needs a valid {key!r}")


def _listen(server: Server, output: Output, *, relay: bool) -> None:
    """Print all events, and answer messages."""
    slow: set[Spark] = set()

    def connected(spark: Spark) -> None:
        output.event("connection", id=spark.id, query=spark.query, ip=spark.address.ip)
        output.print_events(spark, id=spark.id)
        connection = _Connection(server, spark, output, relay, slow)
        spark.on("data", connection.received)
        for name in ("drain", "end"):
            spark.on(name, partial(slow.discard, spark))

    def log(level: str, text: str) -> None:
        if level != "error":  # errors are printed as events of their spark
            output.event("log", level=level, message=text)

    output.print_events(server, {"connection": connected, "log": log})


@dataclass(eq=False)
class _Connection:
    """Answers the messages of one spark."""

    server: Server
    spark: Spark
    output: Output
    relay: bool
    slow: set[Spark]  # all sparks that did not drain in time; not waited for until they have
    waiting: int = 0  # messages that are not handled yet

    def received(self, data: Any) -> Coroutine[Any, Any, None] | None:
        """Answer a message; if that has to wait, later ones are answered in order in the background.

        While they wait, only a bounded amount is read from this client.
        """
        receivers = None if self.waiting else self._answer(data)
        if receivers == [] and not self.output.needs_drain:
            return None
        self.waiting += 1
        return self._wait(data, receivers)

    def _answer(self, data: Any) -> list[Spark]:
        """Send a message back or on; returns the receivers to wait for."""
        receivers = [self.spark]
        try:
            if self.relay:
                self.server.write(data, exclude=receivers)
                receivers = [spark for spark in self.server.sparks.values() if spark is not self.spark]
            else:
                self.spark.write(data)
        except pp.EncodeError as error:  # such as a binary message, which this parser cannot send
            what = "a binary message" if isinstance(data, bytes) else "a message"
            self.output.event("error", id=self.spark.id, message=f"{what} could not be sent on: {error}")
            return []
        return [spark for spark in receivers if spark.needs_drain and spark not in self.slow]

    async def _wait(self, data: Any, receivers: list[Spark] | None) -> None:
        if receivers is None:
            receivers = self._answer(data)  # its turn has come
        try:
            async with asyncio.timeout(PATIENCE):
                for spark in receivers:
                    await spark.drain()
        except TimeoutError:
            self.slow.update(spark for spark in receivers if spark.needs_drain)
        await self.output.drain()
        self.waiting -= 1
