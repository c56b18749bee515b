"""What the virtual network can do to a connection: breaks, partitions, half-open ends, clocks; and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import LocalProtocolError, ReadyState
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer, VirtualSpark


def pair(network: VirtualNetwork, **options: Any) -> tuple[VirtualServer, VirtualClient]:
    server = network.serve()
    client = network.connect("http://server", **options)
    network.run_until(lambda: client.seen(ev.Opened) == 1)
    return server, client


def data(node: VirtualServer | VirtualClient) -> list[Any]:
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


# --- breaks ---


@pytest.mark.parametrize("kind", ["sent", "received"])
def test_a_connection_breaks_after_any_byte(kind: str) -> None:
    """From the first byte of the handshake to the last message: it opens again, and both ends were told."""
    opened = set()
    for count in range(0, 231, 7):
        network = VirtualNetwork(latency=0.01, cut=50)
        server = network.serve()
        server.on("connection", lambda spark: spark.on("data", spark.write))
        client = network.connect("http://server", dialect="happn")
        network.break_after(client, **{kind: count})
        client.write("a" * 100)
        network.run(0.4)
        opened.add(client.seen(ev.Opened))
        assert client._quota == {}
        network.run(10.0)
        assert client.client.ready_state is ReadyState.OPEN
        assert (client.seen(ev.ReconnectScheduled), len(server.server)) == (1, 1)
        assert server.endpoint.channels == client.endpoint.channels == 1
        assert any("breaks here" in line for line in network.trace)
    assert opened == {0, 1}


def test_a_break_counts_the_bytes_that_arrive() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network, dialect="happn")
    network.break_after(client, sent=100)
    network.run(0.1)
    client.write("x" * 20)  # 22 bytes with its quotes, 28 with the frame's head and mask
    network.run(0.1)
    assert client._quota == {"sent": 72}
    network.break_after(server, received=71, sent=5)
    client.write("x" * 62)
    client.write("x")
    network.run(0.1)
    assert data(server) == ["x" * 20, "x" * 62]
    assert client.names[-1] == "reconnect scheduled"
    assert (client._quota, server._quota) == ({"sent": 1}, {"sent": 5})
    network.break_after(client)
    network.break_after(server)
    network.run(10.0)
    assert client.names[-1] == "open"


# --- partitions ---


def test_a_partition_divides_some_from_the_others() -> None:
    network = VirtualNetwork(latency=0.01)
    server, near = pair(network)
    far = network.connect("http://server")
    network.run(1.0)
    network.partition(server, near)
    near.write("near")
    far.write("far")
    late = network.connect("http://server", timeout=False)
    network.run(5.0)
    assert data(server) == ["near"]
    assert late.names == ["readyStateChange"]
    network.heal()
    network.run(1.0)
    assert data(server) == ["near", "far"]
    assert late.names[-1] == "open"


def test_a_partition_of_all() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network)
    network.partition()
    client.write("x")
    other = network.connect("http://server", timeout=False)
    nobody = network.connect("http://nobody", strategy=False)
    network.run(5.0)
    assert (data(server), other.names, nobody.names) == ([], ["readyStateChange"], ["readyStateChange"])
    network.heal()
    network.run(1.0)
    assert data(server) == ["x"]
    assert (other.names[-1], nobody.names[-1]) == ("open", "end")


def test_a_server_that_dies_behind_a_partition_tells_nobody_there() -> None:
    network = VirtualNetwork(latency=0.01)
    server, near = pair(network, strategy=False)
    far = network.connect("http://server", dialect="happn", ping=4.0, pong=2.0)
    network.run(1.0)
    network.partition(far)
    network.kill(server)
    assert (len(server.server), server.endpoint.channels) == (0, 0)
    assert (near.names[-1], far.names[-1]) == ("end", "open")
    network.serve()
    network.heal()
    network.run(3.0)
    assert far.names[-1] == "open", "nobody has said anything to it yet"
    network.run(7.0)
    assert far.seen(ev.WentOffline) == 1
    assert far.names[-1] == "open"


@pytest.mark.parametrize("near", ["server", "client"])
def test_a_connection_lost_behind_a_partition_is_known_to_the_near_end_alone(near: str) -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network, dialect="happn", ping=4.0, pong=2.0)
    network.partition(client)
    network.drop(server if near == "server" else client)
    assert (len(server.server), client.names[-1]) == ((0, "open") if near == "server" else (1, "reconnect scheduled"))
    network.heal()
    network.run(3.0)
    assert client.names[-1] == "open"
    assert len(server.server) == (0 if near == "server" else 2), "nobody has said anything to the far end yet"
    network.run(30.0)
    assert (client.names[-1], len(server.server)) == ("open", 1)
    assert (client.seen(ev.WentOffline), server.seen(ev.Flatlined)) == ((1, 0) if near == "server" else (0, 1))


def test_a_connection_that_is_not_there_yet_is_lost_behind_a_partition() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    client = network.connect("http://server", timeout=False)
    network.partition(client)
    network.run(1.0)
    network.drop(client)
    assert client.seen(ev.ReconnectScheduled) == 1
    network.heal()
    network.run(5.0)
    assert (client.names[-1], len(server.server)) == ("open", 1)


def test_a_server_that_dies_cannot_tell_of_connections_it_has_forgotten() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network)
    network.half_open(server)
    network.kill(server)
    network.run(1.0)
    assert client.names[-1] == "open"
    network.run(60.0)
    assert client.seen(ev.WentOffline) == 1


def test_healing_does_not_thaw() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network)
    network.partition(client)
    network.freeze(server)
    client.write("x")
    network.run(1.0)
    network.heal()
    network.run(1.0)
    assert data(server) == []
    network.thaw(server)
    network.run(1.0)
    assert data(server) == ["x"]


# --- a server that closes, or refuses ---


def test_a_server_that_closes_listens_no_longer() -> None:
    """Also while it gives its sparks time, and long after."""
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network)
    server.server.close(timeout=5.0)
    for _ in range(2):
        late = network.connect("http://server", strategy=False)
        network.run(1.0)
        (event,) = late.all(ev.ErrorOccurred)
        assert str(event.error) == "connection refused"
        network.run(10.0)
    assert (client.names[-1], server.names[-1], server.endpoint.channels) == ("end", "close", 0)


@pytest.mark.parametrize("cut", [None, 7])
@pytest.mark.parametrize("kind", ["sent", "received"])
def test_a_refusal_that_breaks_off_is_one_or_none(kind: str, cut: int | None) -> None:
    """Its head tells enough, whatever becomes of the body; with less than that, the client tries again."""

    def refuse(server: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.RequestHeld):
            server.endpoint.resume(event.id, server.endpoint.server.refusal("no entry"))

    outcomes = []
    for count in range(0, 320, 3):
        network = VirtualNetwork(latency=0.01, cut=cut)
        server = network.serve(on_event=refuse, authorization=True)
        client = network.connect("http://server", retries=1)
        network.break_after(client, **{kind: count})
        network.run(60.0)
        error = client.all(ev.ErrorOccurred)[0].error
        status = getattr(error, "status", None)
        outcomes.append(status)
        assert client.names[-1] == "end"
        assert client.seen(ev.ReconnectScheduled) == (status is None)
        assert server.endpoint.channels == client.endpoint.channels == 0
    assert outcomes == sorted(outcomes, key=lambda status: status is not None), "from some byte on it is one"
    assert set(outcomes) == {None, 401}


# --- half-open ---


def test_a_client_that_was_restarted_leaves_a_half_open_server() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network, ping=4.0, pong=2.0)
    network.half_open(client)
    assert client.names[-1] == "reconnect scheduled"
    network.run(2.0)
    assert len(server.server) == 2, "the old spark does not know"
    network.run(20.0)
    assert len(server.server) == 1
    assert (server.seen(ev.Flatlined), client.seen(ev.WentOffline)) == (1, 0)
    assert server.endpoint.channels == 1


def test_a_server_that_was_restarted_leaves_a_half_open_client() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network, ping=4.0, pong=2.0)
    client.write("lost on the way")
    network.half_open(server)
    assert len(server.server) == 0
    assert client.names[-1] == "open"
    client.write("nobody gets this")
    network.run(6.5)
    assert client.seen(ev.WentOffline) == 1
    network.run(5.0)
    assert client.names[-1] == "open"
    assert data(server) == []
    network.drop(client)
    network.run(5.0)
    assert client.names[-1] == "open"


def test_what_was_held_up_is_lost_with_the_half_that_sent_it() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network, strategy=False)
    network.freeze(server)
    client.write("held up")
    network.run(1.0)
    network.half_open(client)
    network.thaw(server)
    network.run(1.0)
    assert (data(server), len(server.server)) == ([], 1)


def test_half_open_before_it_was_open() -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    network.freeze(server)
    client = network.connect("http://server")
    network.run(1.5)
    network.half_open(server)
    network.thaw(server)
    network.run(5.0)
    assert client.names == ["readyStateChange"]
    network.run(60.0)
    assert client.names[-1] == "open"


# --- clocks ---


def test_wall_clocks_that_differ_and_jump_change_only_timestamps() -> None:
    def told(*jumps: float, skew: float = 0.0) -> list[tuple[float, str]]:
        network = VirtualNetwork(latency=0.05)
        server = network.serve(skew=skew)
        client = network.connect("http://server", ping=4.0, pong=2.0)
        network.run(3.0)
        network.freeze(client)
        for jump in jumps:
            network.jump(jump, client)
            network.run(6.0 / len(jumps))
        network.thaw(client)
        network.run(5.0)
        for jump in jumps:
            network.jump(-jump)
            network.run(100.0 / len(jumps))
        return [(round(when, 6), event.name) for node in (server, client) for when, event in node.events]

    plain = told(0.0)
    assert ("offline" in [name for _, name in plain]) is True
    assert told(1e6) == told(-1e6) == told(0.001, -3600.0, 1e9) == told(-3e9, skew=-2e9) == plain


def test_a_jump_is_for_nodes_to_come_too() -> None:
    network = VirtualNetwork(wall_offset=0.0)
    early = network.connect("http://server", skew=2.0)
    network.jump(100.0)
    late = network.connect("http://server", skew=1.0)
    assert (early.client.epoch(0.0), late.client.epoch(0.0)) == (102.0, 101.0)


# --- listeners ---


def chat(server: VirtualServer) -> None:
    """An application as it is written with listeners."""

    @server.on("connection")
    def connection(spark: VirtualSpark) -> None:
        spark.write(f"welcome, {spark.query['name']}")

        def said(text: str) -> None:
            server.write(f"{spark.query['name']}: {text}")

        spark.on("data", said)
        spark.on("end", lambda: server.write(f"{spark.query['name']} is gone"))


def test_listener_style_code_runs() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    chat(server)
    ann, bob = (network.connect(f"http://server/?name={name}") for name in ("ann", "bob"))
    heard: list[str] = []
    bob.on("data", heard.append)
    ann.on(ev.Opened, lambda event: ann.write("hi"))
    network.run(1.0)
    assert len(server.sparks) == 2
    ann.end("bye")
    network.run(1.0)
    assert heard == ["welcome, bob", "ann: hi", "ann: bye", "ann is gone"]
    (spark,) = server.sparks
    assert spark.core is next(iter(server.server))
    assert repr(spark) == repr(spark.core)
    bob.off("data", heard.append)
    bob.off("open", print)
    spark.write("x")
    network.run(1.0)
    assert len(heard) == 4


def test_events_of_a_server_come_with_their_sparks() -> None:
    network = VirtualNetwork()
    server = network.serve()
    seen: list[Any] = []
    server.on("connection", seen.append)
    server.on("disconnection", seen.append)
    server.on("heartbeat-skipped", lambda spark, count: seen.append((spark, count)))
    server.on(ev.SparkEnded, seen.append)
    server.on("close", lambda: seen.append("close"))
    client = network.connect("http://server", ping=1.0, pong=1.0)
    network.run(0.5)
    (spark,) = server.sparks
    network.partition(client)
    network.run(2.0)
    server.server.close()
    network.run(10.0)
    assert seen[:3] == [spark, (spark, 1), spark]
    assert isinstance(seen[3], ev.SparkEnded)
    assert seen[4:] == ["close"]


def test_listeners_for_what_there_is_not() -> None:
    network = VirtualNetwork()
    server, client = pair(network)
    for node in (server, client, server.sparks[0]):
        with pytest.raises(LocalProtocolError, match="there is no event 'dta' here; there are: "):
            node.on("dta", print)
        with pytest.raises(LocalProtocolError, match="an event is a name, or a class of primus_proto"):
            node.on(int, print)  # type: ignore[arg-type]

    async def waits() -> None: ...

    with pytest.raises(LocalProtocolError, match="plain function"):
        client.on("data", waits)


def test_what_a_listener_raises_fails_the_test() -> None:
    network = VirtualNetwork()
    _, client = pair(network)
    client.on("end", lambda: 1 // 0)
    client.end()
    with pytest.raises(ZeroDivisionError):
        network.run(1.0)


# --- the trace ---


def test_the_trace_tells_of_trouble_and_is_readable() -> None:
    network = VirtualNetwork()
    server, client = pair(network)
    client.write("x" * 1000)
    network.freeze(client)
    network.thaw(client)
    network.partition()
    network.partition(client)
    network.heal()
    network.half_open(client)
    network.drop(client)
    network.jump(-1.0, server)
    network.kill(server)
    network.run(1.0)
    story = network.story(1000)
    assert max(map(len, story.splitlines())) < 260
    for line in (
        "client1: frozen",
        "client1: thawed",
        "network: parted from the rest: everyone",
        "network: parted from the rest: client1",
        "network: healed",
        "client1: its connections are lost, and nobody else is told",
        "server: the wall clock jumps by -1 s",
        "server: killed",
    ):
        assert line in story
    assert network.story(2).splitlines() == [repr(network), *network.trace[-2:]]


def test_going_round_in_circles_is_noticed() -> None:
    network = VirtualNetwork()

    def again() -> None:
        network.call_at(network.now, again)

    def alive() -> bool:
        return False

    again()
    with pytest.raises(AssertionError, match="time stands still"):
        network.run_until(alive)
