"""Hosts for sessions at the message seam. They have no WebSockets: they record every event and command."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

from primus_proto import (
    ByteClient,
    ByteServer,
    Client,
    ClientConfig,
    CloseReason,
    EncodeError,
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
"""The time at which every host starts."""
OFFSET = 1_700_000_000.0
"""Unix time minus the time of a host."""

PEER = Address("192.0.2.1", 40000)

# The parts of a client's story, as `told` gives it, and the end of a spark's.
OPENED = ["rsc(opening)", "rsc(open)", "open"]
OVER = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
REOPENED = ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]
SPARK_OVER = ["readyStateChange", "disconnection", "end"]


def epoch_ms(now: float) -> int:
    """The value of a ping or pong sent at `now`."""
    return int((now + OFFSET) * 1000)


def story(events: Iterable[ev.Event]) -> list[str]:
    """The events by their documented names; `rsc(x)` is a readyStateChange to x."""
    return [f"rsc({event.state})" if isinstance(event, ev.ReadyStateChanged) else event.name for event in events]


def needs_drain(end: Client | Spark) -> bool:
    """`end.needs_drain`, for repeated checks: a type checker takes a property for a constant."""
    return end.needs_drain


def ready(end: Client | Spark) -> ReadyState:
    """`end.ready_state`, for repeated checks."""
    return end.ready_state


def request(query: str = "ping=25000&pong=10000", *, peer: Address = PEER, headers: Headers | None = None) -> Request:
    """The connect request of a client."""
    return Request("GET", f"/primus?{query}", headers or Headers(), peer)


ACCEPTED = {
    **dict.fromkeys(["ping", "pong"], ("auto", "happn", "primus6")),
    "allow_skipped_heartbeats": ("auto", "happn"),
    "timeout": ("auto", "primus6"),  # a server's
    **dict.fromkeys(["ping_timeout", "ping_interval"], ("auto", "primus")),
    "detect_after": ("auto",),
}


def heeded(dialect: str, **options: Any) -> dict[str, Any]:
    """The dialect, and those of the options that it does not refuse."""
    return {
        "dialect": dialect,
        **{name: options[name] for name in options if dialect in ACCEPTED.get(name, (dialect,))},
    }


Polls = Client | Server | ByteClient | ByteServer | SpecQuery


def polled(core: Polls, *, now: float) -> tuple[list[ev.Event], list[Any]]:
    """Everything that `poll` hands out: events and commands."""
    items = list(core.poll(now=now))
    return [item for item in items if isinstance(item, ev.Event)], [
        item for item in items if not isinstance(item, ev.Event)
    ]


def commanded(core: Polls, *, now: float) -> list[Any]:
    """The commands that `poll` hands out."""
    return polled(core, now=now)[1]


class SlowPipe(Pipe):
    """A pipe whose peer does not read: messages stay in it until `take` or `flush`."""

    def __init__(self, on_dirty: Callable[[Pipe], object] = lambda pipe: None) -> None:
        super().__init__(on_dirty)
        self.heard: list[str] = []

    def pause(self) -> None:
        self.heard.append("pause")

    def resume(self) -> None:
        self.heard.append("resume")

    def flush(self, *, now: float) -> None:
        self.take_all()

    def take(self) -> None:
        """The next message leaves, if there is one."""
        for message in self.take_all()[1:]:
            self.send(message)

    def payloads(self) -> list[str | bytes]:
        return [message.payload for message in self.take_all()]


class Host:
    """What both hosts share: a clock and a record."""

    core: Client | Server

    def __init__(self) -> None:
        self.now = START
        self.seen: list[ev.Event] = []
        """All events so far."""
        self.done: list[cmd.MessageCommand[Any]] = []
        """All commands so far."""
        self.wakes = 0
        self._told = 0
        self._shown = 0

    def pump(self) -> None:
        """Poll, as every driver does after a call into the core."""
        for item in self.core.poll(now=self.now):
            if isinstance(item, ev.Event):
                self.seen.append(item)
            else:
                self.done.append(item)

    def run(self, seconds: float) -> None:
        """Let time pass. Every timer fires exactly when it is due."""
        end = self.now + seconds
        self.pump()
        while (due := self.core.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.wakes += 1
            self.core.handle_timeout(now=self.now)
            self.pump()
        self.now = end

    def fresh(self) -> list[ev.Event]:
        """The events since the last call."""
        self.pump()
        fresh = self.seen[self._told :]
        self._told = len(self.seen)
        return fresh

    def told(self) -> list[str]:
        """The story since the last call."""
        return story(self.fresh())

    def commanded(self) -> list[cmd.MessageCommand[Any]]:
        """The commands since the last call."""
        self.pump()
        fresh = self.done[self._shown :]
        self._shown = len(self.done)
        return fresh

    def sent(self) -> list[Any]:
        """The messages sent since the last call of this or `commanded`, decoded."""
        return [json.loads(c.data) for c in self.commanded() if isinstance(c, cmd.SendMessage)]


class ClientHost(Host):
    """A client and its host. Options are those of `ClientConfig`."""

    def __init__(self, url: str = "http://server:8080", *, seed: int = 1, **options: Any) -> None:
        super().__init__()
        self.core = self.client = Client(ClientConfig(url=url, **options), rng=random.Random(seed), wall_offset=OFFSET)

    def open(self) -> None:
        """The connection opens."""
        self.pump()
        self.client.opened(now=self.now)
        self.pump()

    def receive(self, value: Any) -> None:
        """The server sends a value, or a protocol message as a string."""
        self.client.receive_message(json.dumps(value), now=self.now)
        self.pump()

    def lose(self, error: Any = None, **how: Any) -> None:
        """The connection is lost, or the attempt fails."""
        self.client.connection_lost(error, now=self.now, **how)
        self.pump()


class ServerHost(Host):
    """A server and its host. Options are those of `ServerConfig`."""

    def __init__(self, *, limits: Limits | None = None, **options: Any) -> None:
        super().__init__()
        config = ServerConfig(limits=limits or Limits(), **options)
        self.core = self.server = Server(config, rng=random.Random(2), wall_offset=OFFSET)
        assert self.told()[-1] == "initialised"

    def connect(self, query: str = "ping=25000&pong=10000", *, pipe: Pipe | None = None) -> Spark:
        """A client connects."""
        spark = self.server.open_spark(request(query), now=self.now, pipe=pipe)
        assert "connection" in self.told()
        return spark

    def receive(self, spark: Spark, value: Any) -> None:
        """A client sends a value, or a protocol message as a string."""
        spark.receive_message(json.dumps(value), now=self.now)
        self.pump()

    def ping(self, spark: Spark, value: str = "1") -> None:
        """A client sends a ping."""
        self.receive(spark, f"primus::ping::{value}")


def manual() -> ClientHost:
    """A host whose client was never opened."""
    return ClientHost(manual=True)


def connecting(**options: Any) -> ClientHost:
    """A host in the middle of its first attempt, with nothing left to tell."""
    host = ClientHost(**options)
    host.told()
    host.commanded()
    return host


def opened(**options: Any) -> ClientHost:
    """A host whose connection is open, with nothing left to tell."""
    host = ClientHost(**options)
    host.open()
    assert host.told() == OPENED
    host.commanded()
    return host


def waiting(**options: Any) -> ClientHost:
    """A host that lost its connection and waits for the first reconnect attempt."""
    host = opened(**options)
    host.lose()
    assert host.told() == LOST
    return host


def attempting(**options: Any) -> ClientHost:
    """A host in the middle of the first reconnect attempt."""
    host = waiting(**options)
    host.run(0.5)
    assert host.told() == ["reconnect", "rsc(opening)"]
    host.commanded()
    return host


def ended(**options: Any) -> ClientHost:
    """A host whose client was opened and ended, with nothing left to tell."""
    host = opened(**options)
    host.client.end()
    host.told()
    host.commanded()
    return host


def slow(**options: Any) -> tuple[ClientHost, SlowPipe]:
    """An open client, over a pipe that sends nothing by itself."""
    host, pipe = ClientHost(**options), SlowPipe()
    host.pump()
    host.client.opened(now=host.now, pipe=pipe)
    host.told()
    return host, pipe


def reason(end: Client | Spark) -> CloseReason:
    """Why this end closed."""
    assert end.close_reason is not None
    return end.close_reason


class Fussy:
    """A parser that refuses to encode the protocol's own strings, and decodes text as it is."""

    name = "fussy"
    binary = False

    def encode(self, value: Any) -> str:
        if str(value).startswith("primus::"):
            raise EncodeError(f"not {value}")
        return str(value)

    def decode(self, data: str | bytes) -> Any:
        return data
