"""Pings behind a large message on a slow line (protocol 3.2), on both sides of every threshold.

With the defaults a spark's timeout is 25 + 10 / 2 = 30 s, three of which are a flatline: a ping may be under way for
2 x 25 + 3 x 5 = 65 s, and the unsolicited pong has 10 / 2 s for its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from primus_proto import Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import said_by, session
from tests.unit.testing.virtual import data, times

PING, PONG = 25.0, 10.0
TIMEOUT = PING + PONG / 2


@dataclass
class Delayed:
    """A session whose client begins to send a large message just before its first ping."""

    network: VirtualNetwork
    server: VirtualServer
    client: VirtualClient
    began: float
    """When the large message was given to the line."""


def delay(size: int, bandwidth: float) -> Delayed:
    """Send `size` bytes, at `bandwidth` bytes a second, just before the ping is due."""
    network = VirtualNetwork(latency=0.05)
    server, client = session(network, ping=PING, pong=PONG)
    network.run(PING - 1e-3)
    network.bandwidth = (bandwidth, None)
    client.write("x" * (size - 16 if size > 70_000 else size - 10))  # less its quotes and the frame's head
    return Delayed(network, server, client, network.now)


# --- how long the ping is stuck, and what becomes of the session ---

THRESHOLDS = [
    # seconds for the payload, heartbeats skipped, does it live
    (0.5, 0, True),
    (4.8, 0, True),
    (5.1, 1, True),
    (9.9, 1, True),
    (10.1, 1, True),
    (34.0, 1, True),
    (35.1, 2, True),
    (64.0, 2, True),
    (64.8, 2, True),
    (65.1, 2, False),
    (80.0, 2, False),
    (300.0, 2, False),
]


@pytest.mark.parametrize(("seconds", "skips", "lives"), THRESHOLDS)
def test_a_ping_behind_a_large_payload(seconds: float, skips: int, lives: bool) -> None:
    world = delay(int(seconds * 30_000), 30_000.0)
    network, server, client = world.network, world.server, world.client
    network.run(seconds + 3 * TIMEOUT)
    assert server.seen(ev.HeartbeatSkipped) == skips
    assert client.seen(ev.WentOffline) == 0, "the unsolicited pongs come in time, whatever the ping does"
    assert server.seen(ev.Flatlined) == (not lives)
    if lives:
        assert client.seen(ev.Closed) == 0
        assert len(data(server)) == 1
        assert times(server, ev.SparkData)[0] == pytest.approx(world.began + seconds + 0.05, abs=0.05)
    else:
        assert client.names.count("reconnect scheduled") == 1
        network.bandwidth = None
        network.run(60.0)
        recovered(world)


def recovered(world: Delayed) -> None:
    """A new connection, a new spark, and it works."""
    first, second = [event.spark for event in world.server.all(ev.SparkConnected)]
    assert (first.id != second.id, first.is_open, second.is_open) == (True, False, True)
    assert world.client.seen(ev.Reconnected) == 1
    world.client.write("again")
    world.network.run(300.0)
    assert data(world.server)[-1] == "again"
    assert world.client.seen(ev.Opened) == 2
    assert list(world.server.server) == [second]


def test_pings_that_were_queued_get_one_pong_together() -> None:
    """The client pings again after each unsolicited pong, and all of it comes out behind the payload at once."""
    with said_by(Spark) as said:
        world = delay(600_000, 10_000.0)
        world.network.run(60.5)
    heartbeats = times(world.server, ev.SparkHeartbeat)
    assert len(heartbeats) == 3
    assert heartbeats == pytest.approx([heartbeats[0]] * 3, abs=0.1)
    assert said == {"pong": 2 + 1}, "two unsolicited, and one for the three"
    world.network.run(600.0)
    assert (world.client.seen(ev.Closed), world.server.seen(ev.Flatlined)) == (0, 0)


# --- the other direction ---


@pytest.mark.parametrize(("seconds", "lives"), [(5.0, True), (9.5, True), (10.5, False), (40.0, False)])
def test_a_pong_behind_a_large_payload(seconds: float, lives: bool) -> None:
    """A delayed pong has the client's `pong`, and no more."""
    network = VirtualNetwork(latency=0.05)
    server, client = session(network, ping=PING, pong=PONG)
    (spark,) = server.server
    network.run(PING - 1e-3)
    network.bandwidth = (None, 10_000.0)
    spark.write("x" * int(10_000 * seconds))
    network.run(PONG + 0.2)
    assert (client.seen(ev.WentOffline) == 0) is lives
    network.bandwidth = None
    network.run(120.0)
    assert client.names[-1] == ("data" if lives else "open")
    assert len(server.server) == 1
