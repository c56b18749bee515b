"""Heartbeats of whole sessions, in hours of virtual time (protocol 3)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Limits
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer

HOUR = 3600.0


def two_hours(seed: int) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(seed=seed, latency=0.05)

    def echo(server: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.SparkData):
            event.spark.write(event.data)

    server = network.serve(on_event=echo)
    node = network.connect("http://server/?a=b")
    node.client.write("hello")
    network.run(2 * HOUR)
    return network, server, node


def test_two_hours_take_no_timer_that_the_protocol_does_not_need() -> None:
    _, server, node = two_hours(seed=1)
    heartbeats = server.seen(ev.SparkHeartbeat)
    assert 280 <= heartbeats <= 288
    assert server.wakes == 0, "the pings come in time, so no timer of a server ever fires"
    assert node.wakes == heartbeats
    assert node.client.latency == pytest.approx(0.1)
    assert node.names == ["readyStateChange", "readyStateChange", "open", "data"]
    assert set(server.names) == {"initialised", "connection", "data", "heartbeat"}


# --- who is alive, and who is not ---


def session(latency: float = 0.05, **options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=latency)
    server = network.serve(limits=Limits(heartbeat_max=1800.0))
    node = network.connect("http://server", **options)
    network.run_until(lambda: node.seen(ev.Opened) == 1)
    return network, server, node


# --- a ping longer than the upper limit ---


@pytest.mark.parametrize(("ping", "lives"), [(599.0, True), (700.0, True), (1799.0, True), (1801.0, False)])
def test_a_client_whose_ping_is_above_the_limit_lives_as_long_as_the_silence_is_below(ping: float, lives: bool) -> None:
    """Half an hour in all. No unsolicited pong puts off a ping that is not due yet."""
    network, server, node = session(dialect="happn", ping=ping, pong=10.0)
    network.run(4 * HOUR)
    if lives:
        assert (node.seen(ev.Closed), server.seen(ev.HeartbeatSkipped)) == (0, 0)
        assert server.seen(ev.SparkHeartbeat) == int(4 * HOUR // (ping + 0.1))
    else:
        assert [event.count for event in server.all(ev.Flatlined)] == [1] * 7
        assert node.names[-1] == "open"


@pytest.mark.parametrize(
    ("stuck", "skips", "lives"), [(4.0, 0, True), (6.0, 1, True), (1099.0, 2, True), (1101.0, 2, False)]
)
def test_a_delayed_ping_of_such_a_client(stuck: float, skips: int, lives: bool) -> None:
    """Unsolicited pongs come when they are needed, at 705 and 1410 s; the end at 1800 s, before a third timeout is."""
    network, server, node = session(0.0, dialect="happn", ping=700.0, pong=10.0)
    network.latency = (stuck, 0.0)
    network.run(1900.0)
    assert max((event.count for event in server.all(ev.HeartbeatSkipped)), default=0) == skips
    assert node.seen(ev.WentOffline) == 0
    assert (server.seen(ev.Flatlined), node.seen(ev.Closed)) == ((0, 0) if lives else (1, 1))
