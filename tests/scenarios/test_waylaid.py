"""Waylaid pings: stuck behind a large message on a slow line (protocol 3.2), on both sides of every threshold.

With the defaults a spark's timeout is 25 + 10 / 2 = 30 s, three of which are a flatline: a ping may be under way for
2 x 25 + 3 x 5 = 65 s, and the unsolicited pong has 10 / 2 s for its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from primus_proto import Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import data, said_by, session, when

PING, PONG, ALLOWED = 25.0, 10.0, 2
TIMEOUT = PING + PONG / 2


@dataclass
class Waylaid:
    """A session whose client begins to send a large message just before its first ping."""

    network: VirtualNetwork
    server: VirtualServer
    client: VirtualClient
    began: float
    """When the large message was given to the line."""


def waylay(
    size: int, bandwidth: float, latency: float | tuple[float, float] = 0.05, *, before: float = 1e-3, allowed: int = 2
) -> Waylaid:
    """`size` bytes on the wire, at `bandwidth` bytes a second, given to the line `before` the ping is due."""
    network = VirtualNetwork(latency=latency)
    server, client = session(network, ping=PING, pong=PONG, allowed=allowed)
    network.run(PING - before)
    network.bandwidth = (bandwidth, None)
    client.write("x" * (size - 16 if size > 70_000 else size - 10))  # less its quotes and the frame's head
    return Waylaid(network, server, client, network.now)


def test_the_payload_is_as_long_as_it_says() -> None:
    for size in (1000, 100_000):
        world = waylay(size, 2000.0, 0.0)
        world.network.run_until(lambda world=world: len(data(world.server)) == 1)  # type: ignore[misc]
        assert world.network.now - world.began == pytest.approx(size / 2000.0)


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


@pytest.mark.parametrize("bandwidth", [2_000.0, 56_000.0, 1_000_000.0])
@pytest.mark.parametrize(("seconds", "skips", "lives"), THRESHOLDS)
def test_a_ping_behind_a_large_payload(seconds: float, skips: int, lives: bool, bandwidth: float) -> None:
    if bandwidth * seconds > 10_000_000:
        bandwidth = 30_000.0  # more than a message may be
    world = waylay(int(seconds * bandwidth), bandwidth)
    network, server, client = world.network, world.server, world.client
    network.run(seconds + 3 * TIMEOUT)
    assert server.seen(ev.HeartbeatSkipped) == skips
    assert client.seen(ev.WentOffline) == 0, "the unsolicited pongs come in time, whatever the ping does"
    assert server.seen(ev.Flatlined) == (not lives)
    if lives:
        assert client.seen(ev.Closed) == 0
        assert len(data(server)) == 1
        assert when(server, ev.SparkData)[0] == pytest.approx(world.began + seconds + 0.05, abs=0.05)
    else:
        assert client.names.count("reconnect scheduled") == 1
        network.bandwidth = None
        network.run(60.0)
        recovered(world)


def recovered(world: Waylaid) -> None:
    """A new connection, a new spark, and it works."""
    first, second = [event.spark for event in world.server.all(ev.SparkConnected)]
    assert (first.id != second.id, first.is_open, second.is_open) == (True, False, True)
    assert world.client.seen(ev.Reconnected) == 1
    world.client.write("again")
    world.network.run(300.0)
    assert data(world.server)[-1] == "again"
    assert world.client.seen(ev.Opened) == 2
    assert list(world.server.server) == [second]


@pytest.mark.parametrize("allowed", [2, 3, 5])
def test_every_skip_that_is_allowed_is_survived_and_none_beyond(allowed: int) -> None:
    for seconds, lives in ((allowed * PING + (allowed + 1) * PONG / 2 + off, off < 0) for off in (-0.5, 0.5)):
        world = waylay(int(seconds * 10_000), 10_000.0, allowed=allowed)
        world.network.run(seconds + TIMEOUT)
        assert world.server.seen(ev.HeartbeatSkipped) == allowed
        assert (world.server.seen(ev.Flatlined) == 0) is lives


def test_pings_that_were_queued_get_one_pong_together() -> None:
    """The client pings again after each unsolicited pong, and all of it comes out behind the payload at once."""
    with said_by(Spark) as said:
        world = waylay(600_000, 10_000.0)
        world.network.run(60.5)
    heartbeats = when(world.server, ev.SparkHeartbeat)
    assert len(heartbeats) == 3
    assert heartbeats == pytest.approx([heartbeats[0]] * 3, abs=0.1)
    assert said == {"pong": 2 + 1}, "two unsolicited, and one for the three"
    world.network.run(600.0)
    assert (world.client.seen(ev.Closed), world.server.seen(ev.Flatlined)) == (0, 0)


def test_payload_after_payload() -> None:
    """A line that is never idle: each payload within the bound, for an hour."""
    network = VirtualNetwork(latency=0.05)
    server, client = session(network, ping=PING, pong=PONG)
    network.bandwidth = (10_000.0, None)
    for number in range(60):
        client.write(f"{number:06}" * 90_000)  # 54 s
        network.run(60.0)
    assert client.seen(ev.Closed) == 0
    assert server.seen(ev.Flatlined) == 0
    assert server.seen(ev.HeartbeatSkipped) > 10
    network.run(60.0)
    assert [int(text[:6]) for text in data(server)] == list(range(60))


# --- the unsolicited pong's way ---


@pytest.mark.parametrize("down", [0.0, 0.05, 1.0, 2.5, 3.9, 4.5, 4.9])
def test_the_unsolicited_pong_comes_before_the_pong_timer(down: float) -> None:
    """The way down becomes that long only now, which is worst: the ping before was answered at once."""
    world = waylay(600_000, 10_000.0, (0.05, 0.0))
    world.network.latency = (0.05, down)
    world.network.run(60.0 - 1.0)
    assert world.client.seen(ev.WentOffline) == 0
    world.network.run(600.0)
    assert (world.client.seen(ev.Closed), world.server.seen(ev.Flatlined)) == (0, 0)


@pytest.mark.parametrize("down", [5.2, 7.0, 30.0])
def test_beyond_half_the_pong_it_comes_too_late_and_the_client_recovers(down: float) -> None:
    world = waylay(600_000, 10_000.0, (0.05, 0.0))
    world.network.latency = (0.05, down)
    world.network.run(PONG + 0.1)
    assert world.client.names[-4:] == ["offline", "readyStateChange", "close", "reconnect scheduled"]
    world.network.latency = 0.05
    world.network.bandwidth = None
    world.network.run(120.0)
    recovered(world)


@pytest.mark.parametrize("down", [6.0, 9.0])
def test_a_steady_delay_shifts_both_and_harms_nobody(down: float) -> None:
    """What counts is by how much the way down varies: a line that was always slow is slow for the pong before, too."""
    world = waylay(100_000, 10_000.0, (0.05, down))
    world.network.run(120.0)
    assert world.client.seen(ev.WentOffline) == 0


# --- the other direction ---


@pytest.mark.parametrize(("seconds", "lives"), [(5.0, True), (9.5, True), (10.5, False), (40.0, False)])
def test_a_pong_behind_a_large_payload(seconds: float, lives: bool) -> None:
    """Nobody speaks for the server: its pong has the client's `pong`, and no more."""
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
