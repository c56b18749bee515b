"""Ends that do not run for a while, laptops that sleep and processes that are stopped: what is seen, in which order.

Who wakes hears what came meanwhile, and then finds its timers overdue. What has waited must not be taken for silence,
nor for a word of now (protocol 3).
"""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.unit.testing.virtual import times

LATENCY = 0.05
HOUR = 3600.0
CLIENT = ["offline", "close", "reconnect scheduled", "reconnect", "reconnected", "online", "open"]
SERVER = ["connection", "heartbeat-skipped", "disconnection", "flatline"]


class World:
    """A client and its server, open; what both see from then on is `told`, with the seconds since."""

    def __init__(self, dialect: str, *, server: dict[str, Any] | None = None, **options: Any) -> None:
        self.network = VirtualNetwork(latency=LATENCY)
        self.server = self.network.serve(dialect=dialect, **(server or {}))
        self.client = self.network.connect("http://server", dialect=dialect, **options)
        self.network.run_until(lambda: self.client.seen(ev.Opened) == 1)
        self.began = self.network.now
        self.told: list[tuple[float, str]] = []
        for node, names in ((self.client, CLIENT), (self.server, SERVER)):
            for name in names:
                node.on(name, lambda *_, name=name: self.tell(name))

    def tell(self, name: str) -> None:
        self.told.append((round(self.network.now - self.began, 3), name))

    def until(self, seconds: float) -> None:
        """Until so many seconds after the opening."""
        self.network.run(self.began + seconds - self.network.now)

    def sleep(self, node: VirtualClient | VirtualServer, start: float, end: float) -> None:
        self.until(start)
        self.network.suspend(node)
        self.until(end)
        self.network.resume(node)

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.told]

    def unharmed(self) -> None:
        """The connection that was there at the beginning is there, and goes on being."""
        self.network.run(HOUR)
        assert (self.client.seen(ev.Opened), self.client.seen(ev.Closed), self.client.seen(ev.WentOffline)) == (1, 0, 0)
        assert len(self.server.server) == 1


# --- a client's machine sleeps ---


def test_a_laptop_that_sleeps_for_a_minute_goes_on_where_it_was() -> None:
    """Its last ping was answered as it fell asleep: that the answer is not read yet is no silence of the server's."""
    world = World("happn")
    world.sleep(world.client, 25.01, 85.01)
    assert world.told == [(55.05, "heartbeat-skipped")], "30 s after the ping"
    world.network.run(1.0)
    assert world.told == [(55.05, "heartbeat-skipped"), (85.05, "heartbeat-skipped")]
    world.network.run(1.0)
    [*_, pinged] = times(world.server, ev.SparkHeartbeat)
    assert pinged == pytest.approx(world.began + 85.05 + LATENCY + 1.0 + LATENCY), "a second after the last pong"
    world.unharmed()


@pytest.mark.parametrize(
    ("dialect", "start", "end"),
    [
        *[("happn", start, end) for start in (1.0, 24.99, 25.01) for end in (40.0, 88.5)],
        ("primus6", 25.01, 55.0),
        ("primus", 20.0, 55.0),  # the ping comes at 30 s, `pingTimeout` is over at 45 s
    ],
)
def test_a_client_may_sleep_for_as_long_as_its_server_waits(dialect: str, start: float, end: float) -> None:
    """The next ping counts from the one before, or from the opening, and not from when the last pong was read."""
    world = World(dialect)
    world.sleep(world.client, start, end)
    world.unharmed()


def test_a_laptop_that_sleeps_for_an_hour_opens_anew_as_it_wakes() -> None:
    """The server's close is what it reads first. It has no reason to say that the server was silent."""
    world = World("happn")
    world.sleep(world.client, 25.01, 25.01 + HOUR)
    flatline = 25.0 + LATENCY + 3 * 30.0
    wakes = 25.01 + HOUR
    assert world.told == [
        *((55.05, "heartbeat-skipped"), (85.05, "heartbeat-skipped")),
        *((flatline, "disconnection"), (flatline, "flatline")),
        *((wakes, "close"), (wakes, "reconnect scheduled")),
    ]
    del world.told[:]
    world.network.run(60.0)
    assert world.names == ["reconnect", "connection", "reconnected", "open"]
    assert len(world.server.server) == 1


@pytest.mark.parametrize(("start", "finds_out"), [(10.0, 10.0), (25.01, 0.0)], ids=["at rest", "a pong is due"])
def test_a_laptop_whose_connection_was_forgotten_meanwhile(start: float, finds_out: float) -> None:
    """The address translation on the way has: nobody is there to tell it."""
    world = World("happn")
    world.until(start)
    world.network.suspend(world.client)
    world.network.half_open(world.server)
    world.until(HOUR)
    world.network.resume(world.client)
    world.network.run(60.0)
    seen = [told for told in world.told if told[1] in CLIENT]
    assert seen[:2] == [(HOUR + finds_out, "offline"), (HOUR + finds_out, "close")]
    assert (world.client.names[-1], len(world.server.server)) == ("open", 1)


@pytest.mark.parametrize("dialect", ["happn", "primus6", "primus"])
def test_in_any_dialect_a_laptop_that_sleeps_for_an_hour_comes_back(dialect: str) -> None:
    for start in (1.0, 25.01, 29.0, 30.01, 59.99):
        world = World(dialect)
        world.sleep(world.client, start, start + HOUR)
        assert len(world.server.server) == 0
        world.network.run(60.0)
        assert (world.client.names[-1], world.client.seen(ev.WentOffline), len(world.server.server)) == ("open", 0, 1)


# --- a server does not run ---


@pytest.mark.parametrize(
    ("dialect", "options", "start", "end"),
    [("happn", {}, 24.0, 34.0), ("primus6", {"timeout": 28.0}, 24.0, 34.0), ("primus", {}, 30.01, 64.0)],
)
def test_a_server_that_did_not_run_blames_nobody(
    dialect: str, options: dict[str, Any], start: float, end: float
) -> None:
    """A ping or pong came meanwhile and was not read, and the time for it was over before it could be."""
    world = World(dialect, server=options)
    world.sleep(world.server, start, end)
    world.unharmed()
    assert world.server.seen(ev.HeartbeatSkipped) == 0


# --- again and again ---


def test_sleeps_do_not_add_up() -> None:
    world = World("happn")
    for _ in range(10):
        world.sleep(world.client, world.network.now - world.began + 25.0, world.network.now - world.began + 80.0)
        world.network.run(3.0)
    assert world.client.seen(ev.Closed) == 0
    for _ in range(10):
        world.network.run(23.9)
        world.sleep(world.server, world.network.now - world.began, world.network.now - world.began + 8.0)
        world.network.run(10.0)
    world.unharmed()
