"""Channels without an endpoint, and one with the server's side of HTTP on it, for the tests of those alone."""

from __future__ import annotations

from collections.abc import Callable

from primus_proto import Limits
from primus_proto.commands import CloseChannel, Command, Write
from primus_proto.compression import Compression
from primus_proto.http.model import Address, Request
from primus_proto.timers import Deadlines, Timers
from primus_proto.transports.base import Exchange
from primus_proto.wire.channel import Channel, collect
from primus_proto.wire.http1 import HttpServer
from tests.unit.wires import OFFSET, Reply, replies

Handler = Callable[[Exchange, float], None]


class Channels:
    """An endpoint with nothing but channels."""

    def __init__(self, limits: Limits) -> None:
        self.timers = Timers()
        self.limits = limits
        self.dirty: list[Channel] = []
        self.now = 0.0

    def channel_dirty(self, channel: Channel) -> None:
        self.dirty.append(channel)

    def defer(self, call: Callable[[float], None]) -> None:
        call(self.now)

    def collected(self, *, now: float = 0.0) -> list[Command]:
        """The commands of the channels that have changed."""
        found: list[Command] = []
        dirty, self.dirty = self.dirty, []
        collect(dirty, found, now=now)
        return found


class Bench(Channels):
    """One channel with an HTTP server on it, whose requests go to `handler`."""

    def __init__(self, **limits: float) -> None:
        super().__init__(Limits(**limits))  # type: ignore[arg-type]  # counts are whole numbers
        self.deadlines = Deadlines(self.timers, self.limits.handshake)
        self.closing = False
        self.compression: Compression | None = None
        self.exchanges: list[Exchange] = []
        self.log: list[str] = []
        self.gone: list[float] = []
        self.handler: Handler = lambda exchange, now: exchange.respond(200, (), b"ok", now=now)
        self.commands: list[str] = []
        self.output = b""
        self.channel = Channel(1, self)
        self.channel.user = self.http = HttpServer(self.channel, self, Address("192.0.2.7", 80), now=0.0)

    def request(self, exchange: Exchange, *, now: float) -> None:
        self.exchanges.append(exchange)
        exchange.on_gone = self.gone.append
        self.handler(exchange, now)

    def admit(self, channel: int, request: Request) -> bool:
        return True

    def bad_peer(self, text: str) -> None:
        self.log.append(text)

    def epoch(self, now: float) -> float:
        return now + OFFSET

    def pump(self) -> None:
        """Carry out all commands; those that do not write are kept by name."""
        while self.dirty:
            for command in self.collected(now=self.now):
                if isinstance(command, Write):
                    self.output += command.data
                else:
                    at_once = isinstance(command, CloseChannel) and command.abort
                    self.commands.append(type(command).__name__ + "!" * at_once)

    def feed(self, data: bytes) -> None:
        buffer = bytearray(data)
        with memoryview(buffer) as view:
            self.channel.receive_data(view, now=self.now)
        buffer[:] = b"\xa5" * len(buffer)
        self.pump()

    def replies(self, *, head: bool = False) -> list[Reply]:
        found, rest = replies(self.output, head=head)
        assert not rest
        self.output = b""
        return found

    def ask(self, data: bytes, *, head: bool = False) -> Reply:
        self.feed(data)
        (reply,) = self.replies(head=head)
        return reply

    def run_to(self, now: float) -> None:
        while (due := self.timers.next()) is not None and due <= now:
            self.now = due
            self.timers.fire(due)
            self.pump()
        self.now = now


def hold(exchange: Exchange, now: float) -> None:
    """A handler that answers later."""


def reading(limit: int = 100) -> tuple[Handler, list[bytes]]:
    """A handler that reads the body and answers with its length."""
    bodies: list[bytes] = []

    def handler(exchange: Exchange, now: float) -> None:
        def done(body: bytes, now: float) -> None:
            bodies.append(body)
            exchange.respond(200, (), b"%d" % len(body), now=now)

        exchange.read(limit, done, now=now)

    return handler, bodies
