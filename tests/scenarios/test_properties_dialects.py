"""Properties of the heartbeats of the other dialects (protocol 3.3, 3.4): who is alive is not cut, who is dead is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import primus_proto.http.spec
from primus_proto import Client, Spark
from primus_proto import events as ev
from primus_proto.http.model import Response
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.scenarios.worlds import extremes, fractions, lines, said_by, told, vary
from tests.unit.testing.virtual import times


@dataclass(frozen=True)
class Heartbeat:
    """The times of one dialect at both ends, and what its bounds make of them."""

    dialect: str
    client: dict[str, Any]
    server: dict[str, Any]
    both: float
    """Both ways together take less, or an end is given up."""
    down: float
    """So does the way down, as long as the one before was no longer."""
    client_dies: float
    """A client notices a dead server within that time."""
    server_dies: float
    """A server notices a dead client within that time."""

    def open(self, network: VirtualNetwork) -> tuple[VirtualServer, VirtualClient]:
        server = network.serve(dialect=self.dialect, **self.server)
        client = network.connect("http://server", dialect=self.dialect, timeout=False, **self.client)
        network.run_until(lambda: client.seen(ev.Opened) == 1)
        return server, client


def primus6(ping: float, pong: float, timeout: float) -> Heartbeat:
    both = min(pong, timeout - ping)
    return Heartbeat("primus6", {"ping": ping, "pong": pong}, {"timeout": timeout}, both, both, ping + pong, timeout)


def primus(interval: float, timeout: float) -> Heartbeat:
    spare = timeout - interval
    options = {"ping_timeout": timeout}, {"ping_interval": interval}
    return Heartbeat("primus", *options, interval, min(spare, interval), timeout, 2 * interval)


HEARTBEATS = [
    *(primus6(25.0, 10.0, 35.0), primus6(5.0, 2.0, 20.0), primus6(5.0, 8.0, 8.0), primus6(1.0, 0.5, 1.25)),
    *(primus(30.0, 45.0), primus(4.0, 12.0), primus(10.0, 10.5), primus(1.0, 1.5)),
]
heartbeats = st.sampled_from(HEARTBEATS)


@given(heartbeats, lines, lines, fractions)
def test_within_the_bound_no_live_connection_is_declared_dead(
    heartbeat: Heartbeat, up: Any, down: Any, share: float
) -> None:
    """Latency may change in any way within the bound, and messages go both ways meanwhile."""
    most_down = heartbeat.down * share * 0.99
    most_up = (heartbeat.both - most_down) * 0.99
    network = VirtualNetwork(latency=0.0)
    server, client = heartbeat.open(network)
    server.on("connection", lambda spark: spark.on("data", spark.write))
    period = heartbeat.server_dies
    vary(network, [(u * most_up, t) for u, t in up], [(d * most_down, t) for d, t in down], period)
    with told(network):
        for number in range(15):
            client.write(number)
            network.run(period)
        assert (client.seen(ev.WentOffline), client.seen(ev.Closed), len(server.server)) == (0, 0, 1)
        assert (client.seen(ev.MessageIgnored), server.seen(ev.SparkMessageIgnored)) == (0, 0)


@pytest.mark.parametrize("heartbeat", HEARTBEATS, ids=str)
@pytest.mark.parametrize("share", [0.99, 1.01])
def test_both_ways_on_both_sides_of_the_bound(heartbeat: Heartbeat, share: float) -> None:
    network = VirtualNetwork(latency=0.0)
    server, client = heartbeat.open(network)
    network.latency = (heartbeat.both * share, 0.0)
    network.run(5 * heartbeat.server_dies)
    assert (client.seen(ev.Closed) == 0) is (share < 1)
    network.latency = 0.0
    network.run(100.0)
    assert (client.names[-1], len(server.server)) == ("open", 1), "and it comes back"


@given(heartbeats, st.floats(0.0, 5.0), st.floats(0.0, 0.2), st.booleans())
def test_a_dead_connection_is_declared_dead_within_the_bound(
    heartbeat: Heartbeat, after: float, latency: float, parted: bool
) -> None:
    network = VirtualNetwork(latency=min(latency * heartbeat.down, 2.0))
    server, client = heartbeat.open(network)
    network.run(after * heartbeat.server_dies)
    network.partition() if parted else network.freeze(client)
    dead, rounding = network.now, 1e-6
    with told(network):
        network.run(max(heartbeat.client_dies, heartbeat.server_dies) + rounding)
        (offline,) = times(client, ev.WentOffline)
        assert dead < offline <= dead + heartbeat.client_dies + rounding
        (flat,) = times(server, ev.SparkDisconnected)
        assert dead < flat <= dead + heartbeat.server_dies + rounding
        assert server.all(ev.SparkDisconnected)[0].reason.kind == "flatline"
        assert server.seen(ev.Flatlined) == server.seen(ev.HeartbeatSkipped) == 0


@given(heartbeats, lines, lines, st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_pongs_never_amplify(heartbeat: Heartbeat, up: Any, down: Any, most_up: float, most_down: float) -> None:
    """Under any delays, deadly ones included: one for each ping that arrived, and one ping for each interval."""
    network = VirtualNetwork(latency=0.0)
    with said_by(Spark) as by_sparks, said_by(Client) as by_clients, told(network):
        server, _ = heartbeat.open(network)
        both = heartbeat.both
        vary(network, [(u * most_up * both, t) for u, t in up], [(d * most_down * both, t) for d, t in down], both)
        network.run(20 * heartbeat.server_dies)
        if heartbeat.dialect == "primus":
            asked, answered, every = by_sparks, by_clients, heartbeat.server["ping_interval"]
        else:
            asked, answered, every = by_clients, by_sparks, heartbeat.client["ping"]
        assert answered["pong"] <= asked["ping"]
        sparks = server.seen(ev.SparkConnected)
        assert asked["ping"] <= network.now / every * (1 if asked is by_clients else sparks)
        assert set(asked) <= {"ping"}
        assert set(answered) <= {"pong"}


# --- dialects are told apart as long as the line keeps the bound (protocol 3.5) ---

# Who is on one port; what serves there; how long there and back may take, in seconds.
TOGETHER = [
    (("happn", "primus6", "primus", "auto"), "auto", 10.0),
    (("happn", "auto"), "happn", 10.0),
    (("primus6", "auto"), "primus6", 10.0),
    (("primus", "primus"), "primus", 10.0),
    (("primus", "auto"), "primus", 5.0),
]
# From moment to moment, parts of what each way may take, and how many seconds it stays so.
courses = st.lists(st.tuples(extremes, extremes, st.floats(0.5, 60.0)), min_size=1, max_size=8)
answers = st.sampled_from([None, Response(404), Response(200, body=b"[1]"), Response(200, body=b" " * 3_000_000)])


@given(st.sampled_from(TOGETHER), extremes, courses, st.lists(st.floats(1.0, 150.0), max_size=3), answers)
def test_below_the_bound_nobody_is_shown_a_stray_message_or_cut(
    together: tuple[tuple[str, ...], str, float],
    share: float,
    course: list[tuple[float, float, float]],
    restarts: list[float],
    answer: Response | None,
) -> None:
    """At default settings, and also where the server is killed and another one comes; no question has to be answered.

    But at a server of `primus` alone, which a client that is not told can only be shown by an answer.
    """
    kinds, dialect, bound = together
    network = VirtualNetwork()
    at = 0.0
    for up, down, stays in course * 20:
        latency = up * share * bound * 0.999, down * (1.0 - share) * bound * 0.999
        network.call_at(at, lambda latency=latency: setattr(network, "latency", latency))  # type: ignore[misc]
        at += stays
    servers = [network.serve(dialect=dialect)]
    with told(network), pytest.MonkeyPatch.context() as patch:
        if answer is not None and dialect != "primus":
            patch.setattr(primus_proto.http.spec, "spec_response", lambda config, root: answer)
        network.run(0.0)
        clients = [network.connect("http://server", dialect=kind, timeout=False) for kind in kinds]
        for lasts in restarts:
            network.run(lasts)
            network.kill(servers[-1])
            servers.append(network.serve(dialect=dialect))
        network.run(300.0)
        for client in clients:
            assert (client.seen(ev.MessageIgnored), client.seen(ev.WentOffline)) == (0, 0)
            assert client.names[-1] == "open"
        for server in servers:
            assert server.seen(ev.SparkMessageIgnored) == 0
            assert {event.reason.kind for event in server.all(ev.SparkDisconnected)} <= {"lost"}, "killed, not cut"
        assert len(servers[-1].server) == len(clients)
