"""Heartbeats of whole sessions, in hours of virtual time (protocol 3)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Client, ClientConfig, Limits, Server, ServerConfig, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.unit.sessions import polled, request

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


def test_the_same_seed_gives_the_same_trace() -> None:
    assert two_hours(seed=7)[0].trace == two_hours(seed=7)[0].trace
    assert two_hours(seed=7)[0].trace != two_hours(seed=8)[0].trace, "ids are random"


class Joined:
    """A client and a server, joined at the message seam: every byte that either says is seen, unmasked."""

    def __init__(self, seed: int, **options: Any) -> None:
        self.now = 0.0
        self.said: list[tuple[float, str, str]] = []
        config = ClientConfig(url="http://server", **options)
        self.client = Client(config, rng=random.Random(seed), wall_offset=1e9)
        self.server = Server(ServerConfig(), rng=random.Random(seed + 1), wall_offset=1e9)
        self.spark: Spark | None = None

    def pump(self) -> None:
        busy = True
        while busy:
            events, from_client = polled(self.client, now=self.now)
            more, from_server = polled(self.server, now=self.now)
            events += more
            self.said += [(self.now, "client", str(command)) for command in from_client]
            self.said += [(self.now, "server", str(command)) for command in from_server]
            for command in from_client:
                match command:
                    case cmd.Connect(url, _):
                        self.spark = self.server.open_spark(request(url.partition("?")[2]), now=self.now)
                        self.client.opened(now=self.now)
                    case cmd.SendMessage(data) if self.spark:
                        self.spark.receive_message(data, now=self.now)
            for command in from_server:
                match command:
                    case cmd.SendMessage(data):
                        self.client.receive_message(data, now=self.now)
                    case cmd.Close(code, reason):
                        self.client.connection_lost(code=code, reason=reason, now=self.now)
            busy = bool(events or from_client or from_server)

    def run(self, until: float) -> None:
        self.pump()
        while (
            due := min((t for end in (self.client, self.server) if (t := end.next_timeout())), default=until)
        ) < until:
            self.now = due
            self.client.handle_timeout(now=due)
            self.server.handle_timeout(now=due)
            self.pump()
        self.now = until


def test_the_same_seed_gives_the_same_bytes() -> None:
    def run(seed: int) -> list[tuple[float, str, str]]:
        joined = Joined(seed)
        joined.run(HOUR)
        assert joined.spark is not None
        joined.spark.end("again", reconnect=True)
        joined.run(2 * HOUR)
        return joined.said

    said = run(3)
    assert len(said) > 500
    assert said == run(3) != run(4)


# --- who is alive, and who is not ---


def session(latency: float = 0.05, **options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=latency)
    server = network.serve()
    node = network.connect("http://server", **options)
    network.run_until(lambda: node.seen(ev.Opened) == 1)
    return network, server, node


def test_both_ends_learn_of_a_pulled_cable_in_bounded_time() -> None:
    network, server, node = session(ping=10.0, pong=4.0)
    network.run(57.0)
    since = network.now
    network.freeze(server)
    network.run(10.0 + 4.0)
    assert node.seen(ev.WentOffline) == 1, "the client: ping + pong at the most"
    network.run(3 * 12.0 - 14.0)
    (when,) = [when for when, event in server.events if isinstance(event, ev.Flatlined)]
    assert when - since <= 3 * 12.0, "the server: three timeouts of ping + pong / 2"


def test_a_client_that_hangs_flatlines_and_comes_back() -> None:
    network, server, node = session(ping=10.0, pong=4.0)
    network.freeze(node)
    network.run(40.0)
    told = [name for name in server.names if name != "heartbeat"]
    assert told == [
        *("initialised", "connection", "heartbeat-skipped", "heartbeat-skipped"),
        *("readyStateChange", "disconnection", "end", "flatline"),
    ]
    network.thaw(node)
    network.run(60.0)
    assert node.names[-1] == "open"
    assert len(server.server) == 1


@pytest.mark.parametrize(("latency", "skips"), [(0.0, False), (0.5, False), (0.99, False), (1.1, True), (1.9, True)])
def test_a_live_client_is_never_cut(latency: float, skips: bool) -> None:
    """As long as the way there and back takes less than `pong`; less than half of it, and nothing is skipped."""
    network, server, node = session(latency=latency, ping=4.0, pong=4.0, timeout=60)
    network.run(HOUR)
    assert node.seen(ev.Closed) == 0
    assert (server.seen(ev.HeartbeatSkipped) > 0) is skips
    assert server.seen(ev.SparkHeartbeat) > 400


def test_a_steady_line_slower_than_pong_harms_nobody() -> None:
    """The unsolicited pongs are as late as the pong before them."""
    network, server, node = session(latency=0.1, ping=4.0, pong=0.15)
    network.run(HOUR)
    assert node.seen(ev.Closed) == 0
    assert server.seen(ev.HeartbeatSkipped) > 400


@pytest.mark.parametrize(("latency", "lives"), [(4.2, True), (4.25, False)])
def test_beyond_the_skips_that_are_allowed_it_is_cut(latency: float, lives: bool) -> None:
    network, server, node = session(latency=latency, ping=4.0, pong=0.3, timeout=False)
    network.run(60.0)
    assert (server.seen(ev.Flatlined) == 0) is lives
    assert node.seen(ev.WentOffline) == 0


# --- a ping longer than the upper limit ---


@pytest.mark.parametrize(("ping", "lives"), [(599.0, True), (700.0, True), (1799.0, True), (1801.0, False)])
def test_a_client_whose_ping_is_above_the_limit_lives_as_long_as_the_silence_is_below(ping: float, lives: bool) -> None:
    """Ten minutes for each of three timeouts. No unsolicited pong puts off a ping that is not due yet."""
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
def test_a_waylaid_ping_of_such_a_client(stuck: float, skips: int, lives: bool) -> None:
    """Unsolicited pongs come when they are needed, at 705 and 1410 s; the end at 1800 s, before a third timeout is."""
    network, server, node = session(0.0, dialect="happn", ping=700.0, pong=10.0)
    network.latency = (stuck, 0.0)
    network.run(1900.0)
    assert max((event.count for event in server.all(ev.HeartbeatSkipped)), default=0) == skips
    assert node.seen(ev.WentOffline) == 0
    assert (server.seen(ev.Flatlined), node.seen(ev.Closed)) == ((0, 0) if lives else (1, 1))


@given(
    st.floats(0.0, 100.0, allow_nan=False),
    st.sampled_from([(25.0, 10.0), (10.0, 4.0), (4.0, 8.0), (2.0, 1.0)]),
)
def test_pings_stuck_behind_a_large_message(stuck: float, heartbeat: tuple[float, float]) -> None:
    """Up to the skips that are allowed the session lives, on both ends; beyond them it ends, and comes back.

    What the client says is held up for `stuck` seconds, from a moment on; what the server says is not.
    """
    ping, pong = heartbeat
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    node = network.connect("http://server", ping=ping, pong=pong)
    network.run(1.0)
    (link,) = node.links.values()
    network.run(ping * 1.5)
    held: list[tuple[Any, bytes]] = []
    send = link.send
    start = network.now

    def hold(sender: Any, data: bytes) -> None:
        if sender is node and network.now < start + stuck:
            held.append((sender, data))
        else:
            send(sender, data)

    def release() -> None:
        for sender, data in held:
            if link in node.links.values():
                send(sender, data)

    link.send = hold  # type: ignore[method-assign]
    network.call_at(start + stuck, release)
    timeout = ping + pong / 2
    last_ping = max(when for when, event in server.events if isinstance(event, ev.SparkHeartbeat))
    flat = last_ping + 3 * timeout
    network.run(stuck + 20 * (ping + pong))
    assert node.seen(ev.WentOffline) == 0, "the unsolicited pongs keep the client from giving up"
    if start + stuck + 0.02 < flat:
        assert server.seen(ev.Flatlined) == 0
        assert node.seen(ev.Closed) == 0
    elif start + stuck > flat:
        assert server.seen(ev.Flatlined) == 1
        assert node.seen(ev.Opened) == 2
    assert node.names[-1] == "open"
    assert len(server.server) == 1


# --- the reader's pace ---


def test_a_client_that_does_not_read_is_alive() -> None:
    network, server, node = session(ping=5.0, pong=2.0)
    node.client.pause()
    network.run(600.0)
    assert node.seen(ev.Closed) == 0
    assert server.seen(ev.HeartbeatSkipped) == 0, "its server goes on hearing pings"
    node.client.resume()
    network.run(60.0)
    assert node.seen(ev.Closed) == 0
    assert server.seen(ev.SparkHeartbeat) > 10


def test_a_server_that_does_not_read_is_alive() -> None:
    network, server, node = session(ping=5.0, pong=2.0)
    (spark,) = server.server
    spark.pause()
    network.run(600.0)
    assert node.seen(ev.Closed) == 0
    assert server.seen(ev.HeartbeatSkipped) == 0
    spark.resume()
    network.run(60.0)
    assert node.seen(ev.Closed) == 0
    assert server.seen(ev.SparkHeartbeat) > 10


def test_a_wall_clock_that_jumps_fires_nothing() -> None:
    """The clock of timers is not the clock of timestamps."""
    for offset in (0.0, 1e9, -1e6):
        network = VirtualNetwork(latency=0.05, wall_offset=offset)
        server = network.serve()
        node = network.connect("http://server")
        network.run(HOUR)
        assert (server.wakes, node.wakes) == (0, server.seen(ev.SparkHeartbeat))


def test_heartbeats_off() -> None:
    network, server, node = session(ping=False, timeout=False)
    network.run(24 * HOUR)
    assert (server.wakes, node.wakes) == (0, 0)
    assert node.names[-1] == "open"


def test_the_urls_heartbeat_is_held_within_limits() -> None:
    network = VirtualNetwork()
    server = network.serve(limits=Limits(heartbeat_min=2.0))
    network.connect("http://server", ping=0.01, pong=5.0)
    network.run(0.5)
    (spark,) = server.server
    assert spark.heartbeat_timeout == pytest.approx(2.51)
