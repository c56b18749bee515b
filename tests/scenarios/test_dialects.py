"""Dialects told apart, and their heartbeats, in virtual time (protocol 3.3 to 3.5).

The bound that is shown here. A server in dialect ``auto`` takes every client at default settings for what it is, never
shows it a stray message and never cuts it, as long as the way there and back takes less than 10 seconds: the time
between the ping of a `primus6` client at 25 s and `detect_after` at 35 s, between that and the 45 s of a `primus`
client, and the `pong` of a `happn` client. A client in dialect ``auto`` asks a `primus` server in time as long as there
and back takes less than 5 seconds: connecting and asking once within 10.
"""

from __future__ import annotations

from typing import Any

import pytest

import primus_proto.http.spec
from primus_proto import Client, Limits, Spark
from primus_proto import events as ev
from primus_proto.http.model import Response
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from tests.unit.sessions import ServerHost

HOUR = 3600.0
KINDS = ("happn", "primus6", "primus")
# So that sessions open at all where the way is very long.
PATIENT = Limits(handshake=300.0)


def world(*dialects: str, server: dict[str, Any] | None = None, **network: Any) -> tuple[Any, ...]:
    """A server, and one client of each of these dialects."""
    net = VirtualNetwork(**network)
    node = net.serve(limits=PATIENT, **(server or {}))
    clients = [net.connect("http://server", dialect=dialect, timeout=False) for dialect in dialects]
    return (node, *clients)


def taken_for(server: VirtualServer) -> list[str]:
    return [spark.dialect for spark in server.server]


def strays(*nodes: Any) -> list[str]:
    """Every message of the protocol that some end could do nothing with."""
    kinds = (ev.MessageIgnored, ev.SparkMessageIgnored)
    return [event.text for node in nodes for _, event in node.events if isinstance(event, kinds)]


def unharmed(server: VirtualServer, *clients: Any) -> None:
    assert strays(server, *clients) == []
    assert server.seen(ev.SparkDisconnected) == 0
    for client in clients:
        assert [name for name in client.names if name != "log"][-1] == "open"
        assert client.seen(ev.Opened) == 1


# --- a server tells its clients apart ---


@pytest.mark.parametrize(
    "network",
    [
        {"latency": 0.0},
        {"latency": 0.05},
        {"latency": 1.0},
        {"latency": 4.99},
        {"latency": (9.9, 0.05)},
        {"latency": (0.05, 9.9)},
        {"latency": 0.0, "jitter": 4.99, "seed": 1},
        {"latency": 1.0, "jitter": 3.99, "seed": 2},
    ],
    ids=str,
)
def test_all_kinds_on_one_port_below_the_bound(network: dict[str, Any]) -> None:
    server, *clients = world(*KINDS, "auto", **network)
    server.network.run(HOUR)
    unharmed(server, *clients)
    assert sorted(taken_for(server)) == ["happn", "happn", "primus", "primus6"]
    # All of them live on heartbeats: one each 25 s and the way for three of them, one each 30 s for the fourth.
    assert server.seen(ev.SparkHeartbeat) >= 3 * HOUR // 35 + HOUR // 31


def test_above_the_bound_a_primus6_client_is_taken_for_another_and_gives_up() -> None:
    server, client = world("primus6", latency=5.01)
    server.network.run_until(lambda: taken_for(server) == ["primus"], 60.0)
    server.network.run(10.0)
    assert client.seen(ev.WentOffline) == 1


@pytest.mark.parametrize(("longer", "lives"), [(9.9, True), (10.1, False)])
def test_a_primus_client_waits_for_a_first_ping_that_is_under_way_for_longer(longer: float, lives: bool) -> None:
    """Any way will do that is always as long; the bound is on how much longer it may become."""
    server, client = world("primus")
    server.network.run_until(lambda: client.seen(ev.Opened) == 1)
    server.network.latency = longer
    server.network.run(46.0)
    assert (client.seen(ev.WentOffline) == 0) is lives


# --- a client finds out what its server is ---


def test_above_the_bound_a_client_does_not_get_its_answer_and_pings() -> None:
    server, client = world("auto", server={"dialect": "primus"}, latency=2.51)
    server.network.run(HOUR)
    (stray,) = strays(server)
    assert stray.startswith("primus::ping::")
    # The server's first ping then says what its spec could not.
    assert client.seen(ev.Opened) == 1
    assert strays(client) == []


def test_an_answer_that_comes_late_does_not_make_the_ping_late() -> None:
    """A `primus6` server counts from the open, whenever its client learned what it is."""
    server, client = world("auto", server={"dialect": "primus6"}, latency=2.4)
    server.network.run(HOUR)
    unharmed(server, client)
    first = next(when for when, event in server.events if isinstance(event, ev.SparkHeartbeat))
    opened = next(when for when, event in client.events if isinstance(event, ev.Opened))
    assert first == pytest.approx(opened + 25.0 + 2.4)


def conversation(dialect: str, latency: float) -> list[tuple[float, str]]:
    def echo(server: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.SparkConnected):
            event.spark.write("welcome")
        if isinstance(event, ev.SparkData):
            event.spark.write(event.data)

    def say(client: VirtualClient, event: ev.Event) -> None:
        if isinstance(event, ev.Opened):
            client.client.write("first")

    network = VirtualNetwork(latency=latency)
    network.serve(on_event=echo)
    node = network.connect("http://server", on_event=say, dialect=dialect)
    node.client.write("early")
    network.run(HOUR)
    return [(when, event.name) for when, event in node.events]


@pytest.mark.parametrize("latency", [0.0, 0.05, 1.0, 4.0])
def test_the_question_takes_no_time(latency: float) -> None:
    """A client that asks sees the same events at the same times as one that does not."""
    asked = conversation("auto", latency)
    assert asked == conversation("happn", latency)
    assert [name for _, name in asked].count("data") == 3


@pytest.mark.parametrize("latency", [0.05, 2.4])
@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_a_client_that_comes_back_to_another_server(before: str, after: str, latency: float) -> None:
    """What it learned of the old one neither shows the new one a stray message nor makes one end give up the other."""
    server, client = world("auto", server={"dialect": before}, latency=latency)
    network = server.network
    network.run(100.0)
    network.kill(server)
    another = network.serve(dialect=after, limits=PATIENT)
    network.run(HOUR)
    assert strays(server, another, client) == []
    assert (client.seen(ev.Opened), client.seen(ev.WentOffline)) == (2, 0)
    assert another.seen(ev.SparkDisconnected) == 0
    assert another.seen(ev.SparkHeartbeat) > 100


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_a_client_that_comes_back_and_cannot_ask(before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it may be wrong, but finds out: by the server's ping, or at its next connection."""
    server, client = world("auto", server={"dialect": before}, latency=0.05)
    network = server.network
    network.run(100.0)
    network.kill(server)
    monkeypatch.setattr(primus_proto.http.spec, "spec_response", lambda config, root: Response(404))
    another = network.serve(dialect=after, limits=PATIENT)
    network.run(HOUR)
    assert len(strays(another)) == (before != "primus" and after == "primus")
    assert client.seen(ev.Opened) == (3 if before == "primus" != after else 2)
    assert another.seen(ev.SparkHeartbeat) > 100


ANSWERS = {
    "none": Response(404),
    "refused": Response(401, body=b'{"error":"no"}'),
    "broken": Response(500),
    "empty": Response(200),
    "garbage": Response(200, body=b"\xff\x00<html>"),
    "a list": Response(200, body=b"[1]"),
    "deep": Response(200, body=b"[" * 100_000),
    "other words": Response(200, body=b'{"hello":"world"}'),
    "not a number": Response(200, body=b'{"pingInterval":NaN,"timeout":1e999}'),
    "nested": Response(200, body=b'{"pingInterval":{"a":[1]},"timeout":35000}'),
    "large": Response(200, body=b" " * 3_000_000),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_tells_nothing_is_harmless(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = conversation("happn", 0.05)
    monkeypatch.setattr(primus_proto.http.spec, "spec_response", lambda config, root: ANSWERS[answer])
    assert conversation("auto", 0.05) == expected


def test_a_question_that_is_met_by_silence_is_dropped() -> None:
    server, client = world("auto", server={"dialect": "primus"})
    hear = client.endpoint.receive_data

    def deaf(channel: int, data: Any, *, now: float) -> None:
        if channel == 1:
            hear(channel, data, now=now)

    client.endpoint.receive_data = deaf
    server.network.run(9.0)
    assert client.endpoint.channels == 2
    server.network.run(2.0)
    assert client.endpoint.channels == 1
    server.network.run(HOUR)
    assert client.seen(ev.Opened) == 1


def test_a_question_does_not_outlive_its_client() -> None:
    server, client = world("auto", latency=1.0)
    network = server.network
    network.run_until(lambda: client.seen(ev.Opened) == 1)
    assert client.endpoint.channels == 2
    client.client.end()
    network.run(10.0)
    assert client.endpoint.channels == 0
    assert client.endpoint.next_timeout() is None


# --- pausing and silence ---


def opened(dialect: str, **server: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient, Spark]:
    node, client = world(dialect, server={"dialect": dialect, **server}, latency=0.05)
    network = node.network
    network.run(100.0)
    (spark,) = node.server
    return network, node, client, spark


@pytest.mark.parametrize("dialect", KINDS)
@pytest.mark.parametrize("who", ["client", "spark"])
def test_a_paused_end_is_not_cut_and_cuts_nobody(dialect: str, who: str) -> None:
    network, server, client, spark = opened(dialect)
    reader: Client | Spark = client.client if who == "client" else spark
    for _ in range(3):
        reader.pause()
        network.run(900.0)
        reader.resume()
        network.run(100.0)
    if (dialect, who) == ("primus6", "spark"):
        # Nothing but the answer to its ping keeps such a client, and that is unread; it comes back.
        assert {event.reason.kind for event in server.all(ev.SparkDisconnected)} <= {"lost", "client"}
        assert client.names[-1] == "open"
    else:
        unharmed(server, client)


@pytest.mark.parametrize("dialect", KINDS)
@pytest.mark.parametrize("pause", [(0.0, 34.0), (10.0, 0.5), (20.0, 4.9), (24.0, 9.0), (34.0, 5.0), (26.0, 18.0)])
def test_a_server_that_does_not_read_for_a_while_still_decides_in_time(
    dialect: str, pause: tuple[float, float]
) -> None:
    server, client = world(dialect, latency=0.05)
    network = server.network
    network.run(0.5)
    (spark,) = server.server
    after, long = pause
    network.run(after)
    spark.pause()
    network.run(long)
    spark.resume()
    network.run(HOUR)
    unharmed(server, client)
    assert taken_for(server) == [dialect]


def test_a_client_of_primus_that_pings_by_websocket_is_alive() -> None:
    """At the message seam: it answers no ping, but its library sends pings of its own."""
    host = ServerHost(dialect="primus")
    spark = host.connect("_primuscb=1")
    for _ in range(20):
        host.run(25.0)
        spark.receive_ping(now=host.now)
    assert spark.is_open
    host.run(60.0)
    assert not spark.is_open


@pytest.mark.parametrize("dialect", KINDS)
def test_off_means_off(dialect: str) -> None:
    net = VirtualNetwork()
    server = net.serve(dialect=dialect, timeout=False, ping_interval=False, limits=PATIENT)
    client = net.connect("http://server", dialect=dialect, ping=False, ping_timeout=False, timeout=False)
    net.run(24 * HOUR)
    unharmed(server, client)
    assert (server.wakes, client.wakes) == (0, 0)
