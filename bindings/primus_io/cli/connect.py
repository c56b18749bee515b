"""``primus connect``: a client that sends the lines it reads, one JSON value each, and prints what happens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.parsers import EJSONParser, JSONParser, Parser, get_parser

from ..asyncio import Client
from ..asyncio import connect as connect_to
from .errors import explain
from .input import is_interactive, read_lines
from .options import add_options, converter, given_options
from .output import Output
from .running import race, stopping
from .sockets import add_client_sockets, client_sockets

USAGE = "URL [options]"
SUMMARY = "a client: sends what it reads, prints what it receives"
DESCRIPTION = """\
Connect to a Primus server. Each line of the input is one JSON value to send; blank lines are skipped. Received values
and other events are printed. At the end of the input (Ctrl-D) the client waits until the server has read everything,
then --linger seconds for answers, and ends. SIGINT (Ctrl-C) and SIGTERM end it too."""
STATUS = "0 was connected and ended, 1 never connected, lost for good, or input not sent, 2 wrong usage or input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subcommand."""
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port]/?query of the server")
    linger = "seconds to stay connected after the end of the input, or 'inf' (default: 0)"
    parser.add_argument("--linger", type=converter("S"), default=0.0, metavar="S", help=linger)
    parser.add_argument("--values", action="store_true", help="print only the received values, one JSON value per line")
    add_client_sockets(parser)
    add_options(parser, pp.ClientConfig)


async def run(args: argparse.Namespace, output: Output) -> int:
    """Run this subcommand; returns the exit status. Raises ConfigError."""
    if args.values and args.json:
        raise pp.ConfigError("--values and --json exclude each other: choose one")
    if args.linger < 0:
        raise pp.ConfigError(f"--linger must not be negative; got {args.linger:g}")
    options = given_options(args, pp.ClientConfig) | {"manual": True}  # opened when it has its listeners
    with stopping(output) as stop:
        async with connect_to(wait=False, **client_sockets(args), **options) as primus:
            session = _Session(primus, pp.ClientConfig(**options), args, output, is_interactive() and not args.json)
            session.listen()
            await race(session.send_input(), primus.wait_ended(), stop.wait())
        return session.status(stopped=stop.is_set())


@dataclass(eq=False)
class _Session:
    """One run of the client, from its first attempt to its end."""

    primus: Client
    config: pp.ClientConfig
    args: argparse.Namespace
    output: Output
    interactive: bool
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    started: bool = False
    warned: bool = False
    end: pp.CloseReason | None = None  # why the client ended, unless we ended it
    sent: int = 0
    unsent: int = 0  # dropped, or written after the end
    invalid: int = 0  # lines that are not JSON

    @property
    def notation(self) -> Parser:
        """How a line of input is read. What another parser than JSON's has, such as a date, is written as in EJSON."""
        return JSONParser() if isinstance(get_parser(self.config.parser), JSONParser) else EJSONParser()

    def listen(self) -> None:
        """Print all events from now on."""
        primus = self.primus
        self.output.print_events(primus)
        primus.on("data", self._received)
        primus.on("open", self.opened.set)
        primus.on("error", self._warn)
        primus.on("timeout", lambda: self._warn(pp.ConnectError("no answer in time")))
        primus.on(ev.MessagesDropped, self._dropped)
        primus.on(ev.Ended, self._ended)

    def _received(self, data: Any) -> Coroutine[Any, Any, None] | None:
        # While this waits, only a bounded amount is read from the server.
        return self.output.drain() if self.output.needs_drain else None

    def _dropped(self, event: ev.MessagesDropped) -> None:
        self.unsent += len(event.payloads)

    def _ended(self, event: ev.Ended) -> None:
        if event.reason.kind != "local":
            self.end = event.reason

    def _warn(self, error: pp.PrimusError) -> None:
        """Explain the first failure to connect at once: the last one may be minutes away."""
        if not isinstance(error, pp.ConnectError):
            if self.output.values:
                self.output.note(f"error: {error}")
        elif not self.warned:
            self.warned = True
            if "timeout" in self.config.strategies and self.config.retries != 0 and not error.final:
                self.output.note(f"{explain(error)} Retrying; press Ctrl-C to stop.")

    async def send_input(self) -> None:
        """Send the input, wait until the server has read it, and linger."""
        lines = read_lines(self.output)
        if not hasattr(self.args, "manual"):
            self._start()
        count = 0
        async with contextlib.aclosing(lines):
            async for line in lines:
                count += 1
                await self._send(count, line)
        if self.started:
            await (self._confirmation() if self.sent else self.opened.wait())
            await asyncio.sleep(self.args.linger)

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self.primus.open()

    async def _send(self, number: int, line: bytes) -> None:
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not line.strip():
            return
        try:
            value = self.notation.decode(line.decode())
            self._start()
            accepted = await self.primus.send(value)
        except (UnicodeDecodeError, pp.DecodeError, pp.EncodeError) as error:
            is_word = isinstance(error, pp.DecodeError) and line.strip()[:1].isalpha()
            hint = '; strings need quotes: "hello"' if is_word else ""
            self.output.note(f"line {number} of the input was not sent: {str(error).replace(': line 1 ', ', ')}{hint}")
            self.invalid += 1
        else:
            self.sent += accepted
            self.unsent += not accepted and self.end is not None

    async def _confirmation(self) -> None:
        """Wait until the server has read everything: it answers a request for the id after what was sent before."""
        while True:
            try:
                async with asyncio.timeout(self.config.pong):
                    await self.primus.id()
                    return
            except pp.ConnectionLost:  # printed as an event
                return
            except TimeoutError:
                if self.primus.state == "open" and not self.primus.buffered:
                    self.output.note("the server has not confirmed that it read everything; not waiting any longer")
                    return

    def status(self, *, stopped: bool) -> int:
        """Return the exit status, and print why if it is not 0."""
        note, end = self.output.note, self.end
        if end is not None and end.kind != "server" and not stopped:
            error = end.error or pp.ConnectionLost(str(end))
            text = explain(error) if isinstance(error, pp.ConnectError) else f"connection lost for good: {error}."
            if end.kind == "retries" and (retries := self.config.retries):
                text = f"gave up after {retries:g} more attempt{'s' if retries > 1 else ''}: {text}"
            note(text)
        elif self.started and not self.opened.is_set():
            note("ended before the connection was open")
        elif self.unsent:
            note(f"messages that were not sent: {self.unsent}")
        else:
            return 2 if self.invalid and not self.interactive else 0
        return 1
