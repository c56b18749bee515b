"""The seam around a transport: the same sessions over each transport.

Nothing outside ``transports/`` knows which of them runs, so everything the ends see must be the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import primus_proto
from primus_proto import Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.unit.testing.virtual import OPENED, data

ENDED = ["readyStateChange", "close", "end"]
LOST = ["readyStateChange", "close", "reconnect scheduled"]
GONE = ["readyStateChange", "disconnection", "end"]


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "websockets": ("websockets", {}),
    "engine.io": ("engine.io", {}),
    "engine.io polling": ("engine.io", {"transports": ["polling"]}),
    "engine.io websocket": ("engine.io", {"transports": ["websocket"]}),
    "engine.io 3": ("engine.io", {"protocol": 3}),
    "engine.io 3 polling": ("engine.io", {"protocol": 3, "transports": ["polling"]}),
    "sockjs": ("sockjs", {}),
    "sockjs streaming": ("sockjs", {"transports": ["xhr-streaming"]}),
    "sockjs polling": ("sockjs", {"transports": ["xhr-polling"]}),
}
"""Transports with their options."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """One of `WAYS`."""
    return str(request.param)


class World:
    """A network with one server and one client of the transport that is tested."""

    def __init__(self, way: str, *, on_event: Callable[..., Any] | None = None, **options: Any) -> None:
        network = {name: options.pop(name) for name in ("cut", "window") if name in options}
        client = {name: options.pop(name) for name in tuple(options) if name in CLIENT}
        self.transformer, self.transport = WAYS[way]
        self.network = VirtualNetwork(latency=0.01, **network)
        self.server = self.network.serve(
            transformer=self.transformer, transport=self.transport, on_event=on_event, **options
        )
        self.client = self.connect(**client)

    def connect(self, **options: Any) -> VirtualClient:
        return self.network.connect("http://server", transformer=self.transformer, transport=self.transport, **options)

    def open(self) -> Spark:
        self.network.run(0.5)
        assert self.client.names == OPENED
        assert self.server.names == ["initialised", "connection"]
        self.forget()
        (spark,) = self.server.server
        return spark

    def forget(self) -> None:
        self.client.events.clear()
        self.server.events.clear()

    def quiet(self) -> None:
        """Nothing is left: no channel, no timer, no session."""
        self.network.run(60)
        for node in (self.client, self.server):
            assert node.endpoint.channels == 0
            assert node.endpoint.next_timeout() is None
            assert node.links == {}
        assert len(self.server.server) == 0


CLIENT = ("ping", "pong", "strategy", "retries")


@pytest.mark.parametrize("cut", [None, 7])
def test_messages_both_ways_in_order(way: str, cut: int | None) -> None:
    world = World(way, cut=cut)
    spark = world.open()
    assert spark.request.query["ping"] == "25000"
    for number in range(200):
        assert world.client.client.write({"up": number})
        assert spark.write({"down": number})
        if number % 10 == 0:
            world.network.run(0.003)
    world.network.run(5)
    assert data(world.server) == [{"up": number} for number in range(200)]
    assert data(world.client) == [{"down": number} for number in range(200)]
    assert (spark.buffered, world.client.client.buffered) == (0, 0)


def test_the_server_ends_it(way: str) -> None:
    world = World(way)
    spark = world.open()
    spark.end("bye", code=4001, reason="enough")
    world.network.run(1)
    assert data(world.client) == ["bye"]
    assert world.client.names == ["data", *ENDED]
    (closed,) = world.client.all(ev.Closed)
    told = (4001, "enough") if world.transport.get("transports") != ["polling"] else (1000, "")  # it cannot tell
    assert (closed.reason.kind, closed.reason.code, closed.reason.reason) == ("server", *told)
    assert world.server.names == GONE
    world.quiet()


def test_the_client_ends_it(way: str) -> None:
    world = World(way)
    spark = world.open()
    world.client.client.end("bye")
    world.network.run(1)
    assert world.client.names == ENDED
    assert data(world.server) == ["bye"]
    assert world.server.names == ["data", *GONE]
    assert spark.close_reason is not None
    assert (spark.close_reason.kind, spark.close_reason.code) == ("client", 1000)
    world.quiet()


def test_the_client_ends_it_and_opens_again_at_once(way: str) -> None:
    """The last message of the old session is not lost to the new one."""
    world = World(way)
    world.open()
    world.client.client.end("bye")
    world.client.client.open()
    world.client.client.write("hello")
    world.network.run(1)
    assert data(world.server) == ["bye", "hello"]
    assert sorted(world.server.names) == sorted(["data", *GONE, "connection", "data"])
    assert len(world.server.server) == 1


def test_heartbeats(way: str) -> None:
    world = World(way, ping=5.0)
    spark = world.open()
    world.network.run(3600)
    assert world.client.names == []
    assert set(world.server.names) == {"heartbeat"}
    assert 710 <= world.server.seen(ev.SparkHeartbeat) <= 720
    assert spark.skipped == 0
    assert world.client.client.latency == pytest.approx(0.02, abs=0.021)


def test_a_server_that_hangs(way: str) -> None:
    world = World(way, ping=10.0, pong=4.0)
    world.open()
    world.network.freeze(world.server)
    world.network.run(16)
    assert world.client.names[:4] == ["offline", *LOST]
    world.network.thaw(world.server)
    world.network.run(30)
    assert world.client.names[-1] == "open"
    assert len(world.server.server) == 1
    assert world.client.client.online


def test_the_wrong_transport(way: str) -> None:
    """Each end believes in another one: an error that says so, and no session."""
    network = VirtualNetwork()
    transformer, transport = WAYS[way]
    other = "engine.io" if transformer == "websockets" else "websockets"
    server = network.serve(transformer=transformer, transport=transport)
    client = network.connect("http://server", transformer=other, strategy=False)
    network.run(1)
    (event,) = client.all(ev.ErrorOccurred)
    hint = "it expects another transformer" if transformer == "websockets" else "same transformer?"
    assert hint in str(event.error)
    network.run(30)
    assert len(server.server) == 0
    assert server.endpoint.channels == 0
    assert server.endpoint.next_timeout() is None


def test_authorization_of_all(way: str) -> None:
    """Every request of a session is held: one of a WebSocket, as many as it takes of another transport."""

    def on_event(node: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.RequestHeld):
            node.endpoint.resume(event.id)

    world = World(way, authorization="all", on_event=on_event)
    world.network.run(1)
    (spark,) = world.server.server
    world.client.client.write(1)
    spark.write(2)
    world.network.run(1)
    assert (data(world.server), data(world.client)) == ([1], [2])
    questions = world.server.seen(ev.RequestHeld)
    assert questions == 1 if "websocket" in way.removesuffix("s") else questions >= (2 if way == "sockjs" else 3)


def test_a_session_that_does_not_read(way: str) -> None:
    """Back-pressure reaches the peer: what it writes stays with it, and comes in order once the session reads."""
    world = World(way, window=2000)
    spark = world.open()
    spark.pause()
    for number in range(100):
        world.client.client.write(str(number) * 100)
        world.network.run(0.1)
    held = world.client.client.buffered
    assert held > 5000
    assert len(data(world.server)) < 50
    spark.resume()
    world.network.run(5)
    assert data(world.server) == [str(number) * 100 for number in range(100)]
    assert world.client.client.buffered == 0


@pytest.mark.parametrize("timeout", [0.0, 30.0])
@pytest.mark.parametrize("reconnect", [False, True])
def test_the_server_closes(way: str, timeout: float, reconnect: bool) -> None:
    world = World(way, strategy="disconnect", retries=1)
    spark = world.open()
    world.server.server.close("bye", reconnect=reconnect, timeout=timeout)
    if timeout:
        late = world.connect(strategy=False)
        for number in range(5):
            world.network.run(5)
            assert spark.write(number)
            world.client.client.write(number)
        world.network.run(1)
        assert data(world.client) == data(world.server) == [0, 1, 2, 3, 4]
        assert late.names[-3:] == ENDED
        assert len(world.server.server) == 1
        world.forget()
    world.network.run(6)
    assert data(world.client) == ["bye"]
    assert world.client.names[1:4] == (LOST if reconnect else ENDED)
    assert world.server.names == [*GONE, "close"]
    assert world.server.endpoint.channels == 0
    assert world.server.endpoint.next_timeout() is None


def test_nothing_else_knows_a_transport() -> None:
    """Only the registry names one; ``transports/websockets.py`` is imported by nobody else."""
    root = Path(primus_proto.__file__).parent
    for file in sorted(root.rglob("*.py")):
        if file.name == "registry.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                assert not node.module.endswith("transports.websockets"), file
