"""``primus connect``: a client that sends what it reads, a JSON value a line, and says what happens.

The law kept here: what was read was sent, or it is said that it was not. At the end of the input the server is asked
for the id of the connection, because whoever answers that has read everything before it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.parsers import JSONParser

from .._awaiting import AsyncClient as Client
from .._awaiting import Connect
from . import report
from .advice import advice
from .input import Chunks, lines
from .job import Job
from .options import add_client_options, add_unix, given_options, number
from .output import Output
from .runtime import Changes, Runtime
from .signals import Stop, stopping
from .terminal import PlainPrompt, Terminal, can_edit, is_terminal
from .tls import add_client_tls, client_tls

__all__ = ["DESCRIPTION", "NAME", "STATUS", "SUMMARY", "add_arguments", "prepare"]

NAME = "connect"
SUMMARY = "a client: sends what it reads, prints what arrives"
DESCRIPTION = """\
Connect to a Primus server. Each line of the input is one JSON value, and is sent; blank lines are skipped. What
arrives is printed, and so is each event. At the end of the input (Ctrl-D) the client waits until the server has read
everything and, for --linger seconds, for answers; then it ends politely, as it does at SIGINT (Ctrl-C) and SIGTERM."""
STATUS = """\
0 ended politely by either side, 1 could not connect or lost for good, or the
server ended it before all was sent, 2 wrong usage, or input (unless typed) that was no JSON"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this subcommand."""
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port]/?query of the server")
    parser.add_argument(
        "--linger",
        type=seconds,
        default=0.0,
        metavar="S",
        help="seconds to stay after the input, or 'inf' (default: 0)",
    )
    add_unix(parser)
    add_client_tls(parser)
    add_client_options(parser)


def seconds(text: str) -> float:
    """A duration."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return value


def prepare(args: argparse.Namespace, runtime: Runtime) -> Job:
    """Check the options. Raises ConfigError."""
    options = given_options(args, pp.ClientConfig) | {"manual": True}  # opened once the listeners are there
    connecting = runtime.connect(wait=False, ssl=client_tls(args), unix=args.unix, **options)
    config = pp.ClientConfig(**options)
    return partial(_connect, runtime, connecting, config, args)


async def _connect(
    runtime: Runtime, connecting: Connect, config: pp.ClientConfig, args: argparse.Namespace, output: Output
) -> int:
    with stopping(runtime) as stop:
        output.on_gone = lambda: stop.ask("")
        async with connecting as primus:
            talk = _Talk(runtime, primus, config, args, output, stop)
            talk.listen()
            await talk.run()
        return talk.status()


class _Talk:
    """One client's life, from its first attempt to its end."""

    def __init__(
        self,
        runtime: Runtime,
        primus: Client,
        config: pp.ClientConfig,
        args: argparse.Namespace,
        output: Output,
        stop: Stop,
    ) -> None:
        self._runtime = runtime
        self._primus = primus
        self._config = config
        self._args = args
        self._output = output
        self._stop = stop
        self._parser = JSONParser()
        self._opened = False
        self._changes = Changes(runtime)  # of that
        self._prompt = contextlib.ExitStack()  # what is to be undone where a person has typed
        self._started = False
        self._end: pp.CloseReason | None = None  # why the client ended, if not because we said so
        self._sent = 0
        self._dropped = 0
        self._not_taken = 0  # how many in a row, up to the last
        self._wrong = 0  # lines that are no JSON
        self._warned = False
        self._typed = is_terminal(sys.stdin) and is_terminal(sys.stdout) and not output.json

    # --- what happens ---

    def listen(self) -> None:
        """Print every event there is."""
        primus, event = self._primus, self._output.event
        wall_offset = time.time() - self._runtime.clock()
        listeners: dict[str, Callable[..., object]] = {
            "close": lambda: event("close", **report.closing(primus.close_reason)),
            "data": self._received,
            "error": lambda error: event("error", **report.fault(error)),
            "message ignored": lambda text: event("message ignored", text=text),
            "messages dropped": self._note_dropped,
            "readyStateChange": lambda state: event("readyStateChange", state=state),
        }

        def attempted(attempt: ev.ReconnectEvent) -> None:
            event(attempt.name, **report.attempt(attempt, wall_offset))

        def happened(name: str, *_: object) -> None:
            event(name)

        for name in sorted(primus.NAMES):
            other = attempted if name.startswith("reconnect") else partial(happened, name)
            primus.on(name, listeners.get(name, other))
        primus.on("error", self._warn)
        primus.on("timeout", lambda: self._warn(pp.ConnectError("no answer in time")))
        primus.on("open", self._open)
        primus.on("close", self._close)
        primus.on(ev.Ended, self._ended)

    def _open(self) -> None:
        self._opened = True
        self._changes.note()
        self._output.remark(f"open after {(self._primus.latency or 0) * 1000:.1f} ms")

    def _close(self) -> None:
        self._opened = False

    def _received(self, data: Any) -> Coroutine[Any, Any, None] | None:
        self._output.event("data", **report.value(data))
        # While that waits the server is not read from, past a bound.
        return self._output.room() if self._output.crowded else None

    def _ended(self, event: ev.Ended) -> None:
        if event.reason.kind != "local":
            self._end = event.reason

    def _note_dropped(self, payloads: tuple[str | bytes, ...], reason: str) -> None:
        self._dropped += len(payloads)
        messages = [report.value(payload).get("base64", payload) for payload in payloads]
        self._output.event("messages dropped", count=len(payloads), reason=reason, messages=messages)

    def _warn(self, error: pp.PrimusError) -> None:
        """The first failure to connect, in words that say what to do: it may be long until the last."""
        if isinstance(error, pp.ConnectError) and not self._warned:
            self._warned = True
            retrying = "timeout" in self._config.strategies and self._config.retries != 0 and not error.final
            if retrying:
                self._output.note(f"{advice(error)} Trying again; Ctrl-C ends it.")

    # --- what is done ---

    async def run(self) -> None:
        """Until the input ends, the client does, or somebody wants it to."""
        with self._prompt:  # the terminal is left even if whoever reads from it is stuck in a send
            await self._runtime.race(self._converse, self._primus.wait_ended, self._stop.wait)

    async def _converse(self) -> None:
        if not hasattr(self._args, "manual"):
            self._start()
        async with contextlib.aclosing(self._lines()) as source:
            count = 0
            async for line in source:
                count += 1
                await self._send(count, line)
        self._output.remark(f"end of the input: {self._sent} messages")
        if self._started:
            await self._flush()
            self._output.remark(f"nothing is left to send; staying for {self._args.linger:g} s")
            await self._runtime.sleep(self._args.linger)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._output.remark(f"connecting to {self._config.authority}, path {self._config.pathname}")
            self._primus.open()

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        output = self._output
        if self._typed and can_edit():
            terminal = self._prompt.enter_context(Terminal(sys.stdin, output, self._runtime))
            self._prompt.enter_context(self._stop.continuing(terminal.continued))
            async with contextlib.aclosing(terminal.lines()) as typed:
                async for line in typed:
                    yield line
            self._prompt.close()
            return
        if self._typed:
            output.show(PlainPrompt())
            self._prompt.callback(output.hide)
        chunks = Chunks(sys.stdin, self._runtime)
        async with contextlib.aclosing(lines(chunks)) as read:
            async for line in read:
                yield line
        self._prompt.close()
        if chunks.error is not None:
            output.note(f"cannot read the input: {chunks.error.strerror or chunks.error}")

    async def _send(self, number: int, line: bytes) -> None:
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not line.strip():
            return
        try:
            value = self._parser.decode(line.decode())
        except (UnicodeDecodeError, pp.DecodeError) as error:
            self._refuse(number, _what_is_wrong(line, error))
            return
        self._start()
        try:
            taken = await self._primus.send(value)
        except pp.EncodeError as error:
            self._refuse(number, str(error))
            return
        self._sent += taken
        self._not_taken = 0 if taken else self._not_taken + 1

    def _refuse(self, number: int, why: str) -> None:
        self._wrong += 1
        self._output.note(f"line {number} of the input was not sent: {why}")

    async def _flush(self) -> None:
        """Wait until the server has read all that was sent; for an open connection if that was nothing."""
        if not self._sent:
            await self._changes.until(lambda: self._opened)
            return
        await self._runtime.race(self._confirmed, self._lose_patience)

    async def _confirmed(self) -> None:
        with contextlib.suppress(pp.ConnectionLost):  # said by the client's events
            await self._primus.id()

    async def _lose_patience(self) -> None:
        confirming = False  # whether it could by now
        while not confirming:
            await self._changes.until(lambda: self._opened)
            await self._runtime.sleep(self._config.pong)
            confirming = self._opened and not self._primus.buffered
        self._output.note("the server has not confirmed that it read everything; giving up on that")

    # --- how it ended ---

    def status(self) -> int:
        """The exit status, with a last word if it is not 0."""
        if self._stop:
            self._output.remark(f"ended by {self._stop.reason or 'an output that nobody reads'}")
            return 0
        note = self._output.note
        end = self._end
        if end is not None and end.kind != "server":
            error = end.error or pp.ConnectionLost(str(end))
            how = "" if isinstance(error, pp.ConnectError) else "the connection is lost for good: "
            if end.kind == "retries" and (retries := self._config.retries):
                how = f"gave up after {retries} more attempt{'s' if retries > 1 else ''}: "
            note(how + advice(error))
            return 1
        # What did not fit into the queue is among the dropped; what was not taken at the last came after the end.
        unsent = self._dropped + (self._not_taken if end is not None else 0)
        if unsent:
            note(f"not everything was sent: {unsent} of the messages were dropped, or came after the end")
            return 1
        return 2 if self._wrong and not self._typed else 0


def _what_is_wrong(line: bytes, error: UnicodeDecodeError | pp.DecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte {error.start + 1})"
    cause = error.__cause__
    if not isinstance(cause, json.JSONDecodeError):
        return str(error)
    hint = '; a string stands in quotes: "hello"' if line.strip()[:1].isalpha() else ""
    return f"not JSON (column {cause.colno}): {cause.msg[:1].lower()}{cause.msg[1:]}{hint}"
