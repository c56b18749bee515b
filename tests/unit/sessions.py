"""Hosts for sessions at the message seam: they do what the core commands, to nobody, and remember all of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from primus_proto import (
    ByteClient,
    ByteServer,
    Client,
    ClientConfig,
    Headers,
    Limits,
    ReadyState,
    Request,
    Server,
    ServerConfig,
    Spark,
    SpecQuery,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.model import Address
from primus_proto.transports.pipe import Pipe

START = 1000.0
"""What the clock of every host shows at first."""
OFFSET = 1_700_000_000.0
"""Unix time minus that clock."""

PEER = Address("192.0.2.1", 40000)


def epoch_ms(now: float) -> int:
    """What a ping or pong sent at `now` says."""
    return int((now + OFFSET) * 1000)


def story(events: Iterable[ev.Event]) -> list[str]:
    """The events by their documented names; `rsc(x)` is a readyStateChange to x."""
    return [f"rsc({event.state})" if isinstance(event, ev.ReadyStateChanged) else event.name for event in events]


def needs_drain(end: Client | Spark) -> bool:
    """`end.needs_drain`, asked anew: a type checker thinks that what it was once it stays."""
    return end.needs_drain


def ready(end: Client | Spark) -> ReadyState:
    """`end.ready_state`, asked anew."""
    return end.ready_state


def request(query: str = "ping=25000&pong=10000", *, peer: Address = PEER, headers: Headers | None = None) -> Request:
    """The connect request of a client."""
    return Request("GET", f"/primus?{query}", headers or Headers(), peer)


HEEDED = {
    **dict.fromkeys(["ping", "pong"], ("auto", "happn", "primus6")),
    "allow_skipped_heartbeats": ("auto", "happn"),
    "timeout": ("auto", "primus6"),  # a server's
    **dict.fromkeys(["ping_timeout", "ping_interval"], ("auto", "primus")),
    "detect_after": ("auto",),
}


def heeded(dialect: str, **options: Any) -> dict[str, Any]:
    """The dialect, and of these options those that are not refused as another's."""
    return {"dialect": dialect, **{name: options[name] for name in options if dialect in HEEDED.get(name, (dialect,))}}


Polls = Client | Server | ByteClient | ByteServer | SpecQuery


def polled(core: Polls, *, now: float) -> tuple[list[ev.Event], list[Any]]:
    """Everything `poll` hands out: the events, and the commands."""
    items = list(core.poll(now=now))
    return [item for item in items if isinstance(item, ev.Event)], [
        item for item in items if not isinstance(item, ev.Event)
    ]


def commanded(core: Polls, *, now: float) -> list[Any]:
    """The commands that `poll` hands out."""
    return polled(core, now=now)[1]


class SlowPipe(Pipe):
    """A pipe to a server that does not read: it keeps what it gets, until told otherwise."""

    def __init__(self) -> None:
        super().__init__(lambda pipe: None)
        self.heard: list[str] = []

    def pause(self) -> None:
        self.heard.append("pause")

    def resume(self) -> None:
        self.heard.append("resume")

    def flush(self, *, now: float) -> None:
        while self.take():
            pass

    def payloads(self) -> list[str | bytes]:
        return [message.payload for message in iter(self.take, None)]


class Host:
    """What both ends have in common: a clock, and a memory."""

    core: Client | Server

    def __init__(self) -> None:
        self.now = START
        self.seen: list[ev.Event] = []
        """Every event there was."""
        self.done: list[cmd.MessageCommand[Any]] = []
        """Every command there was."""
        self.wakes = 0
        self._told = 0
        self._shown = 0

    def pump(self) -> None:
        """What every driver does after a call into the core."""
        for item in self.core.poll(now=self.now):
            if isinstance(item, ev.Event):
                self.seen.append(item)
            else:
                self.done.append(item)

    def run(self, seconds: float) -> None:
        """Let time pass; every timer fires at its exact time."""
        end = self.now + seconds
        self.pump()
        while (due := self.core.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.wakes += 1
            self.core.handle_timeout(now=self.now)
            self.pump()
        self.now = end

    def fresh(self) -> list[ev.Event]:
        """The events since the last question."""
        self.pump()
        fresh = self.seen[self._told :]
        self._told = len(self.seen)
        return fresh

    def told(self) -> list[str]:
        """The story since the last question."""
        return story(self.fresh())

    def commanded(self) -> list[cmd.MessageCommand[Any]]:
        """The commands since the last question."""
        self.pump()
        fresh = self.done[self._shown :]
        self._shown = len(self.done)
        return fresh

    def sent(self) -> list[Any]:
        """The messages since the last question, decoded; of the commands only they are forgotten."""
        return [json.loads(c.data) for c in self.commanded() if isinstance(c, cmd.SendMessage)]


class ClientHost(Host):
    """A client whose host has a WebSocket to nowhere. Options are those of `ClientConfig`."""

    def __init__(self, url: str = "http://server:8080", *, seed: int = 1, **options: Any) -> None:
        super().__init__()
        self.core = self.client = Client(ClientConfig(url=url, **options), rng=random.Random(seed), wall_offset=OFFSET)

    def open(self) -> None:
        """The connection asked for comes about."""
        self.pump()
        self.client.opened(now=self.now)
        self.pump()

    def receive(self, value: Any) -> None:
        """The server sends a value; protocol messages are strings."""
        self.client.receive_message(json.dumps(value), now=self.now)
        self.pump()

    def lose(self, error: Any = None, **how: Any) -> None:
        """The connection, or the attempt, is gone."""
        self.client.connection_lost(error, now=self.now, **how)
        self.pump()


class ServerHost(Host):
    """A server whose host has WebSockets from nowhere. Options are those of `ServerConfig`."""

    def __init__(self, *, limits: Limits | None = None, **options: Any) -> None:
        super().__init__()
        config = ServerConfig(limits=limits or Limits(), **options)
        self.core = self.server = Server(config, rng=random.Random(2), wall_offset=OFFSET)
        assert self.told() == ["initialised"]

    def connect(self, query: str = "ping=25000&pong=10000", *, pipe: Pipe | None = None) -> Spark:
        """A client comes."""
        spark = self.server.open_spark(request(query), now=self.now, pipe=pipe)
        assert "connection" in self.told()
        return spark

    def receive(self, spark: Spark, value: Any) -> None:
        """A client sends a value; protocol messages are strings."""
        spark.receive_message(json.dumps(value), now=self.now)
        self.pump()

    def ping(self, spark: Spark, value: str = "1") -> None:
        """A client sends a ping."""
        self.receive(spark, f"primus::ping::{value}")


def opened(**options: Any) -> ClientHost:
    """One whose connection is open, of which nothing is left to be told."""
    host = ClientHost(**options)
    host.open()
    host.fresh()
    host.commanded()
    return host


def slow(**options: Any) -> tuple[ClientHost, SlowPipe]:
    """The same over a pipe from which nothing leaves by itself."""
    host, pipe = ClientHost(**options), SlowPipe()
    host.pump()
    host.client.opened(now=host.now, pipe=pipe)
    host.told()
    return host, pipe
