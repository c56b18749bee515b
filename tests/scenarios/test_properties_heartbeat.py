"""Properties of the heartbeat between two whole ends (protocol 3.2): who is alive is not cut, and who is dead is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Client, Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import extremes, fractions, lines, said_by, session, told, vary
from tests.unit.testing.virtual import times

HEARTBEATS = st.sampled_from([(25.0, 10.0), (10.0, 4.0), (4.0, 8.0), (2.0, 1.5), (60.0, 30.0), (1.5, 0.5), (4.0, 1.0)])
ALLOWED = st.integers(2, 5)
courses = st.lists(st.tuples(extremes, st.floats(0.1, 3.0)), min_size=1, max_size=8)


def bounds(ping: float, pong: float, allowed: int) -> tuple[float, float]:
    """The bound in its two parts: how long both ways together may take, and the way down alone, in seconds."""
    return allowed * ping + (allowed + 1) * pong / 2, pong / 2


# --- alive ---


@given(HEARTBEATS, ALLOWED, lines, lines, fractions)
def test_within_the_bound_no_live_connection_is_declared_dead(
    heartbeat: tuple[float, float], allowed: int, up: Any, down: Any, share: float
) -> None:
    """Latency may change in any way within the bound. Where it falls, messages bunch up; none overtakes another."""
    ping, pong = heartbeat
    both, half = bounds(ping, pong, allowed)
    most_down = half * share * 0.99
    most_up = (both - most_down) * 0.99
    network = VirtualNetwork(latency=0.0)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    vary(network, [(u * most_up, t) for u, t in up], [(d * most_down, t) for d, t in down], ping + pong)
    with told(network):
        network.run(30 * (ping + pong))
        assert client.seen(ev.WentOffline) == 0
        assert server.seen(ev.Flatlined) == 0
        assert (client.seen(ev.Closed), len(server.server)) == (0, 1)


@given(HEARTBEATS, ALLOWED, st.lists(st.tuples(fractions, st.floats(0.0, 2.0)), max_size=10), fractions)
def test_within_the_bound_payloads_may_be_large_and_the_line_slow(
    heartbeat: tuple[float, float], allowed: int, payloads: list[tuple[float, float]], share: float
) -> None:
    """Latency and transmission together: each payload is given to an idle line, and holds it for up to the bound."""
    ping, pong = heartbeat
    both, half = bounds(ping, pong, allowed)
    network = VirtualNetwork(latency=0.0)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    down = half * share * 0.99
    network.latency, network.bandwidth = (0.05, down), (1000.0, None)
    (link,) = client.links.values()
    to_server = link.directions[server]
    longest = (both - down) * 0.99 - 0.2  # the handful of pings behind it takes its time, too
    with told(network):
        for size, gap in payloads:
            network.run(gap * ping)
            network.run(max(to_server.sender_free_at - network.now, 0.0))
            client.write("x" * int(1000.0 * longest * size))
            network.run(0.0)
        network.run(both + 10 * (ping + pong))
        assert (client.seen(ev.Closed), server.seen(ev.Flatlined)) == (0, 0)
        assert server.seen(ev.SparkData) == len(payloads)


@given(HEARTBEATS, ALLOWED, courses, courses, extremes)
def test_as_long_as_pongs_come_within_pong_the_way_down_does_not_matter(
    heartbeat: tuple[float, float], allowed: int, up: Any, down: Any, share: float
) -> None:
    """It may also change."""
    ping, pong = heartbeat
    most_up, most_down = pong * share * 0.99, pong * (1 - share) * 0.99
    network = VirtualNetwork(latency=0.0)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    vary(network, [(u * most_up, t) for u, t in up], [(d * most_down, t) for d, t in down], ping + pong)
    with told(network):
        network.run(30 * (ping + pong))
        assert (client.seen(ev.Closed), server.seen(ev.Flatlined)) == (0, 0)


@given(HEARTBEATS, ALLOWED, st.floats(0.001, 3.0))
def test_beyond_the_bound_the_server_cuts_and_the_client_comes_back(
    heartbeat: tuple[float, float], allowed: int, beyond: float
) -> None:
    ping, pong = heartbeat
    both, _ = bounds(ping, pong, allowed)
    network = VirtualNetwork(latency=0.0)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    network.latency = (both + beyond * pong, 0.0)
    with told(network):
        network.run((allowed + 1) * (ping + pong / 2) + 0.001)
        assert [event.count for event in server.all(ev.Flatlined)] == [allowed + 1]
        assert server.seen(ev.HeartbeatSkipped) == allowed
        assert (client.seen(ev.WentOffline), client.names[-1]) == (0, "reconnect scheduled")
        comes_back(network, server, client)


@given(HEARTBEATS, ALLOWED, st.floats(0.001, 3.0))
def test_beyond_the_bound_the_client_gives_up_and_comes_back(
    heartbeat: tuple[float, float], allowed: int, beyond: float
) -> None:
    ping, pong = heartbeat
    network = VirtualNetwork(latency=0.0)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    network.latency = (ping, pong / 2 + beyond * pong)  # the ping's own pong is too late as well
    with told(network):
        opened = network.now
        network.run(ping + pong)
        assert times(client, ev.WentOffline) == [opened + ping + pong]
        comes_back(network, server, client)


def comes_back(network: VirtualNetwork, server: VirtualServer, client: VirtualClient) -> None:
    """The line is as it should be again: so is the session, a new one."""
    network.latency = 0.0
    network.run(100.0)
    assert client.names[-1] == "open"
    assert len(server.server) == 1
    assert len({event.spark.id for event in server.all(ev.SparkConnected)}) == server.seen(ev.SparkConnected) >= 2


@pytest.mark.parametrize("down", [0.99, 1.01])
def test_the_unsolicited_pong_has_half_of_pong_for_its_way(down: float) -> None:
    """The bound from both sides, without queued pings that could eat into it."""
    network = VirtualNetwork(latency=0.0)
    _, client = session(network, ping=25.0, pong=10.0)
    network.latency = (60.0, down * 5.0)
    network.run(55.0)
    assert (client.seen(ev.WentOffline) == 0) is (down < 1)


# --- dead ---


@given(HEARTBEATS, ALLOWED, st.floats(0.0, 5.0), st.floats(0.0, 0.2), st.sampled_from(["freeze", "partition", "half"]))
def test_a_dead_connection_is_declared_dead_within_the_bound(
    heartbeat: tuple[float, float], allowed: int, after: float, latency: float, how: str
) -> None:
    ping, pong = heartbeat
    latency = min(latency * pong, 2.0)  # a handshake is to fit into its own limit
    network = VirtualNetwork(latency=latency)
    server, client = session(network, ping=ping, pong=pong, allowed=allowed)
    network.run(after * (ping + pong))
    dead = network.now
    if how == "freeze":
        network.freeze(client)
    elif how == "partition":
        network.partition()
    else:
        (link,) = client.links.values()
        link.abandoned = True  # neither is told
        network.partition()
    last_pong = max([time for time, _ in client.events])  # the open, at the earliest
    rounding = 1e-6
    with told(network):
        network.run(ping + pong + rounding)
        (offline,) = times(client, ev.WentOffline)
        assert last_pong < offline <= dead + ping + pong + rounding
        network.run((allowed + 1) * (ping + pong / 2))
        (flat,) = times(server, ev.Flatlined)
        assert flat <= dead + (allowed + 1) * (ping + pong / 2) + rounding
        heard = max([*times(server, ev.SparkConnected), *times(server, ev.SparkHeartbeat)])
        assert flat == pytest.approx(heard + (allowed + 1) * (ping + pong / 2))
        assert len(server.server) == 0


# --- pongs ---


@given(HEARTBEATS, ALLOWED, lines, lines, st.floats(0.0, 10.0), st.floats(0.0, 5.0))
def test_pongs_never_amplify(
    heartbeat: tuple[float, float], allowed: int, up: Any, down: Any, most_up: float, most_down: float
) -> None:
    """Under any delays, deadly ones included, over any number of connections."""
    ping, pong = heartbeat
    network = VirtualNetwork(latency=0.0)
    with said_by(Spark) as said, said_by(Client) as asked, told(network):
        server, _ = session(network, ping=ping, pong=pong, allowed=allowed, retries=1000, max=1.0)
        vary(network, [(u * most_up * ping, t) for u, t in up], [(d * most_down * ping, t) for d, t in down], ping)
        network.run(25 * (ping + pong))
        pings, skips = server.seen(ev.SparkHeartbeat), server.seen(ev.HeartbeatSkipped)
        assert said["pong"] <= pings + skips
        assert pings <= asked["ping"] <= network.now / ping, "and no more pings than intervals"
        assert set(said) <= {"pong"}
        assert set(asked) <= {"ping"}


# --- clocks ---


@given(
    HEARTBEATS,
    st.lists(st.tuples(st.floats(-1e10, 1e10), st.floats(0.0, 3.0), st.booleans()), max_size=10),
    st.floats(-1e9, 1e9),
)
def test_wall_clocks_fire_and_starve_no_timer(
    heartbeat: tuple[float, float], jumps: list[tuple[float, float, bool]], skew: float
) -> None:
    ping, pong = heartbeat

    def run(by_how_much: float) -> list[tuple[float, str]]:
        network = VirtualNetwork(latency=0.05)
        server = network.serve(skew=skew * by_how_much)
        client = network.connect("http://server", ping=ping, pong=pong)
        for number, (jump, stays, at_client) in enumerate(jumps):
            network.jump(jump * by_how_much, client if at_client else server)
            if number == 3:
                network.freeze(client)
            network.run(stays * ping)
        network.thaw(client)
        network.run(5 * (ping + pong))
        return [(time, event.name) for node in (server, client) for time, event in node.events]

    assert run(1.0) == run(0.0)
