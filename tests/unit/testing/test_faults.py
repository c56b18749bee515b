"""The trouble that a test can make on a virtual network, and who hears of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.testing.virtual import OPENED, connected, data, echo, pair

# --- freeze ---


def test_a_frozen_node_gets_everything_in_order_once_it_thaws() -> None:
    network = VirtualNetwork(latency=0.1)
    server, client = pair(network, ping=False)
    network.freeze(client)
    client.write(1)
    network.run(5)
    client.write(2)
    network.run(0.05)
    assert data(server) == []
    network.thaw(client)
    client.write(3)
    network.run(1)
    assert data(server) == [1, 2, 3]


def test_two_frozen_ends_need_two_thaws_and_healing_does_not_thaw() -> None:
    network, server, client = connected()
    network.partition(client)
    network.freeze(client)
    network.freeze(server)
    client.write("x")
    for end in (network.heal, partial(network.thaw, client)):
        network.run(1.0)
        end()
    network.run(1.0)
    assert data(server) == []
    network.thaw(server)
    network.run(1.0)
    assert data(server) == ["x"]


# --- drop and kill ---


def test_drop_loses_what_is_on_its_way_and_tells_both_ends() -> None:
    network = VirtualNetwork(latency=0.1)
    server, client = pair(network)
    client.write("lost")
    network.run(0.05)
    network.drop(client)
    assert client.names == [*OPENED, "readyStateChange", "close", "reconnect scheduled"]
    assert server.names[-3:] == ["readyStateChange", "disconnection", "end"]
    network.run(2)
    assert (data(server), client.names[-1]) == ([], "open")


def test_a_killed_server_refuses_until_something_serves_there_again() -> None:
    network, server, client = connected()
    network.kill(server)
    network.run(0.6)
    assert client.names.count("reconnect scheduled") == 2
    again = network.serve(on_event=echo)
    network.run(10)
    assert (client.names[-1], len(server.server), len(again.server)) == ("open", 0, 1)
    with pytest.raises(LocalProtocolError, match=r"client1 is no server: drop\(\) loses its connections"):
        network.kill(client)


# --- breaks ---


def test_a_break_counts_the_bytes_that_arrive() -> None:
    network, server, client = connected()
    network.break_after(client, sent=100)
    client.write("x" * 20)  # 22 bytes with its quotes, 28 with the frame's head and mask
    network.run(0.1)
    assert client.break_limits == {"sent": 72}
    network.break_after(server, received=71, sent=5)
    client.write("x" * 62)
    client.write("x")
    network.run(0.1)
    assert data(server) == ["x" * 20, "x" * 62]
    assert client.names[-1] == "reconnect scheduled"
    assert (client.break_limits, server.break_limits) == ({"sent": 1}, {"sent": 5})
    network.break_after(client)
    network.break_after(server)
    network.run(10.0)
    assert client.names[-1] == "open"


@pytest.mark.parametrize("count", [-1, 1.5, "10"])
def test_a_break_takes_a_number_of_bytes(count: Any) -> None:
    network, _, client = connected()
    network.break_after(client, sent=1000)
    for kind in ("sent", "received"):
        with pytest.raises(LocalProtocolError, match=f"^{kind} is a number of bytes of at least 0, or None; got "):
            network.break_after(client, **{kind: count})
    assert client.break_limits == {"sent": 1000}
    network.break_after(client, sent=0)
    assert client.break_limits == {"sent": 0}


# --- partitions ---


@pytest.mark.parametrize(
    ("who", "way", "up", "down"),
    [
        ("client1", None, False, False),
        ("client1", "out", False, True),
        ("server", "in", False, True),
        ("client1", "in", True, False),
        ("server", "out", True, False),
    ],
)
def test_a_partition_cuts_both_directions_or_one(who: str, way: Any, up: bool, down: bool) -> None:
    network, server, client = connected()
    network.partition(who, way=way)
    for number in range(3):
        client.write(number)
        server.write(number)
        network.run(0.1)
    assert (data(server), data(client)) == ([0, 1, 2] * up, [0, 1, 2] * down)
    network.heal()
    client.write(3)
    network.run(1.0)
    assert (data(server), data(client)) == ([0, 1, 2, 3], [0, 1, 2])


def test_a_partition_without_nodes_divides_everyone() -> None:
    network, server, client = connected()
    network.partition()
    client.write("x")
    nobody = network.connect("http://nobody", strategy=False, timeout=False)
    network.run(3.0)
    assert (data(server), nobody.names) == ([], ["readyStateChange"])
    network.heal()
    network.run(1.0)
    assert (data(server), nobody.names[-1]) == (["x"], "end")


def test_what_both_directions_held_up_comes_in_the_order_of_its_arrival() -> None:
    network, server, client = connected()
    network.partition(client, way="out")
    network.partition(client, way="in")
    order: list[str] = []
    client.on("data", lambda value: order.append(f"client {value}"))
    server.on(ev.SparkData, lambda event: order.append(f"server {event.data}"))
    for number in range(3):
        server.write(number)
        network.run(0.1)
        client.write(number)
        network.run(0.1)
    network.heal()
    network.run(0.0)
    assert order == [f"{who} {number}" for number in range(3) for who in ("client", "server")]


@pytest.mark.parametrize("way", [None, "in", "out"])
@pytest.mark.parametrize("host", ["server", "nobody"])
def test_no_connection_is_opened_or_refused_through_a_partition(host: str, way: Any) -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    client = network.connect(f"http://{host}", strategy=False, timeout=False)
    network.partition(client, way=way)
    network.run(5.0)
    assert (client.names, server.endpoint.channels) == (["readyStateChange"], 0)
    network.heal()
    network.run(4.0)
    assert client.names[-1] == ("open" if host == "server" else "end")


@pytest.mark.parametrize(("way", "end"), [("in", "server"), ("out", "client"), (None, "")])
@pytest.mark.parametrize("loser", ["client", "server"])
def test_a_loss_is_told_only_in_the_direction_that_is_open(loser: str, way: Any, end: str) -> None:
    network, server, client = connected()
    network.partition(client, way=way)
    network.drop(client) if loser == "client" else network.kill(server)
    told = {"client": client.seen(ev.Closed), "server": server.seen(ev.SparkDisconnected)}
    assert told == {"client": loser == "client" or end == "client", "server": loser == "server" or end == "server"}
    network.heal()
    if loser == "client":
        network.run(60.0)
        assert (client.names[-1], len(server.server)) == ("open", 1)


@pytest.mark.parametrize(("nodes", "way"), [(["server"], "up"), (["server"], True), ([], "in"), ([], "out")])
def test_a_wrong_partition_is_refused_and_changes_nothing(nodes: list[str], way: Any) -> None:
    network, *_ = connected()
    before = list(network.trace)
    with pytest.raises(LocalProtocolError, match='way is "out" or "in", as seen from the given nodes'):
        network.partition(*nodes, way=way)
    assert (network.trace, network.faults.partitions) == (before, [])


# --- half-open ---


@pytest.mark.parametrize("who", ["client", "server"])
def test_the_far_end_of_a_half_open_connection_has_to_find_out(who: str) -> None:
    network, server, client = connected()
    client.write("lost on the way")
    network.half_open(client if who == "client" else server)
    assert client.names[-1] == ("reconnect scheduled" if who == "client" else "open")
    client.write("kept, or sent to nobody")
    network.run(2.0)
    assert len(server.server) == (2 if who == "client" else 0)
    network.run(30.0)
    assert (client.names[-1], len(server.server), server.endpoint.channels) == ("open", 1, 1)
    assert (server.seen(ev.Flatlined), client.seen(ev.WentOffline)) == ((1, 0) if who == "client" else (0, 1))
    assert data(server) == (["kept, or sent to nobody"] if who == "client" else [])


def test_a_connection_can_be_half_open_before_it_is_open() -> None:
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


# --- naming ---


def test_nodes_can_be_named() -> None:
    network = VirtualNetwork()
    old, server, other = network.serve(), network.serve(), network.serve(port=8080)
    one, two = network.connect("http://server"), network.connect("http://server:8080")
    names = {"server": server, "server:8080": other, "client1": one, "client2": two}
    assert {name: network.node(name) for name in names} == names, "of several with one name, the last"
    assert network.node(old) is old
    network.run(1)
    network.freeze("client1")
    one.write("held up")
    network.run(1)
    network.thaw("client1")
    network.kill("server:8080")
    network.run(1)
    assert (data(server), two.seen(ev.Closed)) == (["held up"], 1)


@pytest.mark.parametrize("who", ["serve", None, ["server"], object()])
def test_an_unknown_node_is_an_error_that_lists_the_nodes(who: object) -> None:
    network = VirtualNetwork()
    with pytest.raises(LocalProtocolError, match="there are: none"):
        network.node(who)
    network.serve()
    network.connect("http://server")
    with pytest.raises(LocalProtocolError, match="there are: server, client1"):
        network.freeze(who)
