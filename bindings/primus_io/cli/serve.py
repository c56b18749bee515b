"""``primus serve``: a server that echoes or relays, and says what happens.

The law kept here: a peer that does not read makes those who write to it wait for a while, and is then left to the limit
on its backlog; nothing piles up without bound, and nobody waits for ever.
"""

from __future__ import annotations

import argparse
import errno
import hmac
import os
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import primus_proto as pp

from .._awaiting import AsyncServer as Server
from .._awaiting import AsyncSpark as Spark
from .._awaiting import Serve
from . import report
from .job import Job
from .options import add_server_options, given_options, whole
from .output import Output
from .runtime import Runtime
from .signals import stopping
from .tls import add_server_tls, server_tls

__all__ = ["DESCRIPTION", "NAME", "STATUS", "SUMMARY", "add_arguments", "prepare"]

NAME = "serve"
SUMMARY = "a server that sends each value back, or on to everybody else"
DESCRIPTION = """\
Serve Primus. Each value that a client sends goes back to it (--mode echo) or on to every other client
(--mode relay); each event is printed as a line. SIGINT (Ctrl-C) and SIGTERM end it gracefully: the clients are told
not to come back, or with --reconnect that they may. A second one does not wait for them."""
STATUS = "0 ended by a signal, 1 could not listen, 2 wrong usage"

HOST, PORT = "127.0.0.1", 8080
PATIENCE = 2.0  # seconds for which a peer that does not read may hold up the others


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("--host", help=f"the address to listen on (default: {HOST})")
    parser.add_argument("--port", type=port, help=f"0 picks a free one (default: {PORT})")
    parser.add_argument("--unix", metavar="PATH", help="the Unix socket to listen on, in place of host and port")
    parser.add_argument("--mode", choices=("echo", "relay"), default="echo", help="default: %(default)s")
    parser.add_argument(
        "--reconnect", action="store_true", help="when it is stopped, let the clients come back: for a restart"
    )
    parser.add_argument(
        "--require",
        action="append",
        type=pair,
        default=[],
        metavar="KEY=VALUE",
        help="answer 401 unless the connect URL has this in its query; may be repeated, then all must be there",
    )
    add_server_tls(parser)
    add_server_options(parser)


def port(text: str) -> int:
    """A port number."""
    number = whole(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return number


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"not of the form KEY=VALUE: {text!r}")
    return key, value


def prepare(args: argparse.Namespace, runtime: Runtime) -> Job:
    """Check the options. Raises ConfigError."""
    options = given_options(args, pp.ServerConfig)
    if args.require:
        options.setdefault("authorization", True)
        options["authorize"] = partial(_allowed, args.require)
    elif options.get("authorization"):
        raise pp.ConfigError("--authorization needs --require KEY=VALUE: what a client must bring")
    if args.unix is not None and (args.host is not None or args.port is not None):
        raise pp.ConfigError("--unix takes the place of --host and --port: give either it or those")
    args.host = HOST if args.host is None else args.host
    args.port = PORT if args.port is None else args.port
    starting = runtime.serve(None, args.host, args.port, unix=args.unix, ssl=server_tls(args), **options)
    return partial(_serve, runtime, starting, args)


def _allowed(required: list[tuple[str, str]], request: pp.Request) -> bool:
    query = request.query
    found = [hmac.compare_digest(query.get(key, "").encode(), value.encode()) for key, value in required]
    if not all(found):
        raise pp.Refused(f"the query of the connect URL lacks a {required[found.index(False)][0]!r} that is accepted")
    return True


async def _serve(runtime: Runtime, starting: Serve, args: argparse.Namespace, output: Output) -> int:
    with stopping(runtime) as stop:
        output.on_gone = lambda: stop.ask("")
        try:
            server = await starting.__aenter__()
        except (OSError, UnicodeError) as error:
            output.note(_cannot_listen(args, error))
            return 1
        host = _Host(server, output, runtime, relay=args.mode == "relay")
        try:
            output.event("listening", url=server.url, **({} if args.unix is None else {"unix": args.unix}))
            host.listen()
            await stop.wait()
            output.remark(f"ending ({stop.reason or 'nobody reads the output'}); open sparks: {len(server.sparks)}")
            if args.reconnect:
                await server.close(reconnect=True)
        finally:
            try:
                await starting.__aexit__(None, None, None)
            finally:
                host.say_if_closed()
    return 0


def _cannot_listen(args: argparse.Namespace, error: OSError | UnicodeError) -> str:
    if args.unix is not None:
        return _cannot_listen_there(args.unix, error)
    where = f"cannot listen on {args.host} port {args.port}"
    if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; choose another --host"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: something else does already; choose another --port, or 0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}: this user may not; choose a --port above 1023"
    return f"{where}: {os.strerror(error.errno)}" if error.errno else str(error)


def _cannot_listen_there(path: str, error: OSError | UnicodeError) -> str:
    where = f"cannot listen on {path}"
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"{where}: something else does already, or it is no socket; choose another --unix"
    if number == errno.ENOENT:
        return f"{where}: there is no such folder"
    return f"{where}: {os.strerror(number)}" if number else str(error)


class _Host:
    """Listens to the server and prints what it says."""

    def __init__(self, server: Server, output: Output, runtime: Runtime, *, relay: bool) -> None:
        self.server = server
        self.output = output
        self.runtime = runtime
        self.relay = relay
        self.slow: set[Spark] = set()  # waited for in vain; not again until they have caught up
        self._closed = False

    def listen(self) -> None:
        event = self.output.event
        listeners: dict[str, Callable[..., object]] = {
            "close": self._close,
            "connection": lambda spark: _Guest(self, spark).listen(),
            "disconnection": lambda spark: event("disconnection", id=spark.id, **report.closing(spark.close_reason)),
            "flatline": lambda spark, count: event("flatline", id=spark.id, count=count),
            "heartbeat-skipped": lambda spark, count: event("heartbeat-skipped", id=spark.id, count=count),
            "log": self._log,
        }
        for name in sorted(self.server.NAMES):
            self.server.on(name, listeners.get(name, lambda *_, name=name: event(name)))

    def _log(self, level: str, text: str) -> None:
        if level != "error":  # those are told as their spark's already
            self.output.event("log", level=level, message=text)

    def _close(self) -> None:
        self._closed = True

    def say_if_closed(self) -> None:
        """The last line: to be called when all listeners have ended, for on threads each spark's may be behind."""
        if self._closed:
            self.output.event("close")


class _Guest:
    """Listens to one spark, prints what it says, and answers."""

    def __init__(self, host: _Host, spark: Spark) -> None:
        self._host = host
        self._spark = spark
        self._event = partial(host.output.event, id=spark.id)
        self._waiting = 0  # messages whose answer has to wait, or waits behind such a one

    def listen(self) -> None:
        spark, event = self._spark, self._event
        event("connection", query=spark.query, ip=spark.address.ip)
        listeners: dict[str, Callable[..., object]] = {
            "data": self._received,
            "error": lambda error: event("error", **report.fault(error)),
            "message ignored": lambda text: event("message ignored", text=text),
            # Without the messages, of which there may be a whole backlog for each spark.
            "messages dropped": lambda payloads, why: event("messages dropped", count=len(payloads), reason=why),
        }
        for name in sorted(spark.NAMES):
            spark.on(name, listeners.get(name, lambda *_, name=name: event(name)))
        for name in ("drain", "end"):
            spark.on(name, lambda: self._host.slow.discard(spark))

    def _received(self, data: Any) -> Coroutine[Any, Any, None] | None:
        """Print and answer; what has to wait is left to the spark's own task, in order.

        While that waits, what the spark sends counts as waiting, and past a bound it is not read any more.
        """
        self._event("data", **report.value(data))
        if not self._waiting:
            crowded = self._answer(data)
            if not crowded and not self._host.output.crowded:
                return None
            self._waiting += 1
            return self._wait(crowded)
        self._waiting += 1
        return self._answer_later(data)

    async def _answer_later(self, data: Any) -> None:
        await self._wait(self._answer(data))

    def _answer(self, data: Any) -> list[Spark]:
        """Send it back or on; returns those who had better be waited for."""
        spark, server = self._spark, self._host.server
        try:
            if self._host.relay:
                server.write(data, but=[spark])
                receivers = [other for other in server.sparks.values() if other is not spark]
            else:
                spark.write(data)
                receivers = [spark]
        except pp.EncodeError as error:  # such as bytes, which came in but which this parser cannot send
            what = "a binary message" if isinstance(data, bytes) else "a message"
            self._event("error", message=f"{what} could not be sent on: {error}")
            return []
        return [receiver for receiver in receivers if receiver.crowded and receiver not in self._host.slow]

    async def _wait(self, crowded: list[Spark]) -> None:
        async def room_for_all() -> None:
            for receiver in crowded:
                await receiver.room()

        if crowded and not await self._host.runtime.within(PATIENCE, room_for_all):
            self._host.slow.update(receiver for receiver in crowded if receiver.crowded)
        await self._host.output.room()
        self._waiting -= 1
