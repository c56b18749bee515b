"""Trouble that stops what goes one way and not what goes the other, on the virtual network."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer


def pair(**options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=0.01, **options)
    server = network.serve()
    client = network.connect("http://server", dialect="happn")
    network.run(1.0)
    return network, server, client


def data(node: VirtualServer | VirtualClient) -> list[Any]:
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


@pytest.mark.parametrize(("who", "way"), [("client1", "out"), ("server", "in")])
def test_a_client_that_is_not_heard(who: str, way: Any) -> None:
    network, server, client = pair()
    network.partition(who, way=way)
    client.write("up")
    server.write("down")
    network.run(5.0)
    assert (data(server), data(client)) == ([], ["down"])
    network.heal()
    network.run(1.0)
    assert data(server) == ["up"]


@pytest.mark.parametrize(("who", "way"), [("client1", "in"), ("server", "out")])
def test_a_client_that_does_not_hear(who: str, way: Any) -> None:
    network, server, client = pair()
    network.partition(who, way=way)
    client.write("up")
    server.write("down")
    network.run(5.0)
    assert (data(server), data(client)) == (["up"], [])
    network.heal()
    network.run(1.0)
    assert data(client) == ["down"]


def test_it_is_between_these_and_the_others_only() -> None:
    network, server, near = pair()
    far = network.connect("http://server", dialect="happn")
    network.run(1.0)
    network.partition(server, near, way="in")
    for client in (near, far):
        client.write(client.name)
    server.write("all")
    network.run(1.0)
    assert (data(server), data(near), data(far)) == (["client1"], ["all"], ["all"])


def test_each_way_keeps_its_order_and_the_other_goes_on_meanwhile() -> None:
    network, server, client = pair()
    network.partition(client, way="out")
    for number in range(10):
        client.write(number)
        server.write(number)
        network.run(0.1)
    assert (data(server), data(client)) == ([], [*range(10)])
    network.call_at(network.now, network.heal)
    client.write(10)
    network.run(1.0)
    assert data(server) == [*range(11)]


def test_what_both_ways_held_up_comes_in_the_order_it_arrived_in() -> None:
    network, server, client = pair()
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
    assert order == []
    network.heal()
    network.run(0.0)
    assert order == [f"{who} {number}" for number in range(3) for who in ("client", "server")]


@pytest.mark.parametrize("way", ["in", "out"])
@pytest.mark.parametrize("who", ["client1", "server"])
def test_no_connection_opens_then_as_that_takes_both_ways(who: str, way: Any) -> None:
    network, server, client = pair()
    client.end()
    network.run(1.0)
    network.partition(who, way=way)
    client.client.open()
    network.run(5.0)
    assert (len(server.server), server.endpoint.channels, client.client.ready_state.announced) == (0, 0, "opening")
    network.heal()
    network.run(1.0)
    assert (client.names[-1], len(server.server)) == ("open", 1)


@pytest.mark.parametrize("way", [None, "in", "out"])
def test_nobody_is_refused_through_it(way: Any) -> None:
    network = VirtualNetwork(latency=0.01)
    client = network.connect("http://nowhere", strategy=False, timeout=False)
    network.partition(client, way=way)
    network.run(5.0)
    assert client.names == ["readyStateChange"]
    network.heal()
    network.run(1.0)
    assert client.names[-1] == "end"


def test_a_refusal_on_its_way_is_held_up() -> None:
    network = VirtualNetwork(latency=1.0)
    client = network.connect("http://nowhere", strategy=False, timeout=False)
    network.run(1.5)
    network.partition(client, way="in")
    network.run(5.0)
    assert client.names == ["readyStateChange"]
    network.heal()
    network.run(0.0)
    assert client.names[-1] == "end"


@pytest.mark.parametrize(("way", "told"), [("in", 1), ("out", 0), (None, 0)])
def test_who_can_hear_of_a_loss_is_told(way: Any, told: int) -> None:
    """The loss is the client's: that goes the way out."""
    network, server, client = pair()
    network.partition(client, way=way)
    network.drop(client)
    assert (client.seen(ev.Closed), server.seen(ev.SparkDisconnected)) == (1, told)


@pytest.mark.parametrize(("way", "told"), [("in", 0), ("out", 1), (None, 0)])
def test_who_can_hear_of_a_death_is_told(way: Any, told: int) -> None:
    network, server, client = pair()
    network.partition(client, way=way)
    network.kill(server)
    assert (client.seen(ev.Closed), server.seen(ev.SparkDisconnected)) == (told, 1)


def test_a_window_that_is_not_read_blocks_across_it() -> None:
    network, server, client = pair(window=1000)
    network.partition(client, way="out")
    for _ in range(10):
        client.write("x" * 500)
        network.run(0.1)
    assert client.client.buffered > 2000
    network.heal()
    network.run(1.0)
    assert (client.client.buffered, len(data(server))) == (0, 10)


def test_the_trace_tells_of_it() -> None:
    network, _, client = pair()
    network.partition(client, way="in")
    network.partition("client1", "server", way="out")
    assert network.trace[-2:] == [
        "       1.000  network: parted from the rest: client1, who do not hear",
        "       1.000  network: parted from the rest: client1, server, who are not heard",
    ]


@pytest.mark.parametrize(("nodes", "way"), [(["server"], "up"), (["server"], True), ([], "in"), ([], "out")])
def test_a_way_is_in_or_out_of_somewhere(nodes: list[str], way: Any) -> None:
    network, *_ = pair()
    before = list(network.trace)
    with pytest.raises(LocalProtocolError, match="nodes that are parted, which must be given; None: both ways; got "):
        network.partition(*nodes, way=way)
    assert (network.trace, network._islands) == (before, [])
