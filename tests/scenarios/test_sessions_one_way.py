"""Heartbeats where one way is dead and the other is not: who finds out, when, and that nobody is left believing.

As with a firewall that forgot one direction, or a route that is not the same both ways (protocol 3).
"""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.unit.testing.virtual import times

LATENCY = 0.05
PING, PONG = 10.0, 4.0
TIMEOUT = PING + PONG / 2


def world(dialect: str, **options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=LATENCY)
    server = network.serve(dialect=dialect)
    client = network.connect("http://server", dialect=dialect, **options)
    network.run(100.0)
    assert client.names[-1] == "open"
    return network, server, client


def since(network: VirtualNetwork, node: VirtualServer | VirtualClient) -> list[str]:
    """What a node has seen since the trouble began, but for the heartbeats that come and go."""
    return [event.name for time, event in node.events if time > 100.0 and event.name != "heartbeat"]


def comes_back(network: VirtualNetwork, server: VirtualServer, client: VirtualClient) -> None:
    network.heal()
    network.run(60.0)
    assert (client.names[-1], len(server.server), server.endpoint.channels) == ("open", 1, 1)


def test_pings_arrive_and_pongs_do_not() -> None:
    """The server has no reason to doubt; the client has, and tells it, since that way is good."""
    network, server, client = world("happn", ping=PING, pong=PONG, min=1.0)
    last_pong = times(server, ev.SparkHeartbeat)[-1] + LATENCY
    network.partition(client, way="in")
    network.run(PING + PONG)
    assert times(client, ev.WentOffline) == pytest.approx([last_pong + PING + PONG])
    assert since(network, server) == ["readyStateChange", "disconnection", "end"]
    [lost] = server.all(ev.SparkDisconnected)
    assert (lost.reason.kind, server.seen(ev.HeartbeatSkipped)) == ("lost", 0)
    network.run(120.0)
    assert (len(server.server), client.client.ready_state.announced) == (0, "opening"), "no connection opens one way"
    assert client.seen(ev.ReconnectTimedOut) >= 2
    comes_back(network, server, client)


def test_pongs_arrive_and_pings_do_not() -> None:
    """Unsolicited pongs keep the client content for as long as the server has patience; then the close gets through."""
    network, server, client = world("happn", ping=PING, pong=PONG, min=1.0)
    last_ping = times(server, ev.SparkHeartbeat)[-1]
    network.partition(client, way="out")
    network.run(3 * TIMEOUT)
    assert times(server, ev.HeartbeatSkipped) == pytest.approx([last_ping + TIMEOUT, last_ping + 2 * TIMEOUT])
    assert times(server, ev.Flatlined) == pytest.approx([last_ping + 3 * TIMEOUT])
    assert client.seen(ev.WentOffline) == 0
    assert since(network, client)[:3] == ["readyStateChange", "close", "reconnect scheduled"]
    assert times(client, ev.Closed) == pytest.approx([last_ping + 3 * TIMEOUT + LATENCY])
    network.run(120.0)
    assert len(server.server) == 0
    comes_back(network, server, client)


@pytest.mark.parametrize("dialect", ["happn", "primus6", "primus"])
@pytest.mark.parametrize("who", ["client1", "server"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_way_that_is_dead_for_an_instant_harms_nobody(dialect: str, who: str, way: Any) -> None:
    network, server, client = world(dialect)
    for _ in range(100):
        network.partition(who, way=way)
        network.run(3.0)
        network.heal()
        network.run(7.1)
    assert (client.seen(ev.Closed), server.seen(ev.SparkDisconnected)) == (0, 0)
