"""The virtual network: time, latency, cuts, windows, trouble; and that a run repeats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from primus_proto import Limits, ServerConfig
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer

OPENED = ["readyStateChange", "readyStateChange", "open"]
LOST = ["readyStateChange", "close", "reconnect scheduled"]


def echo(node: VirtualServer, event: ev.Event) -> None:
    if isinstance(event, ev.SparkData):
        event.spark.write(event.data)


def pair(**options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(**options)
    server = network.serve(on_event=echo)
    client = network.connect("http://server")
    network.run(1)
    assert client.names == OPENED
    return network, server, client


# --- time ---


def test_time_moves_only_in_run() -> None:
    network = VirtualNetwork(latency=0.25)
    server = network.serve()
    client = network.connect("http://server")
    assert (network.now, client.names) == (0.0, ["readyStateChange"])
    network.run(0.99)
    assert "open" not in client.names
    network.run(0.01)
    assert client.events[-1] == (1.0, ev.Opened())  # there and back, twice
    assert client.client.latency == 1.0
    assert server.all(ev.SparkConnected)[0].spark.address.ip == "10.0.0.1"
    assert network.now == 1.0


def test_what_is_due_happens_at_its_exact_time() -> None:
    network = VirtualNetwork()
    called: list[float] = []
    for when in (2.0, 1.0, 1.0, 5.0):
        network.call_at(when, lambda: called.append(network.now))
    network.run(3)
    assert called == [1.0, 1.0, 2.0]
    network.run_until(lambda: len(called) == 4)
    assert (called[-1], network.now) == (5.0, 5.0)
    network.run_until(lambda: True)
    assert network.now == 5.0


def test_a_condition_that_never_holds_tells_what_happened() -> None:
    network, _, _ = pair()
    with pytest.raises(AssertionError, match=r"the condition never held:\n(.*\n)*.*client1: Opened\(\)"):
        network.run_until(lambda: False, limit=10)
    empty = VirtualNetwork()
    with pytest.raises(AssertionError, match="never held"):
        empty.run_until(lambda: False)


def test_two_hours_of_heartbeats() -> None:
    network = VirtualNetwork(latency=0.05)
    server = network.serve()
    client = network.connect("http://server", ping=5.0)
    network.run(7200)
    assert client.names == OPENED
    assert server.seen(ev.SparkHeartbeat) == 7200 / 5.1 // 1
    assert client.wakes == server.seen(ev.SparkHeartbeat)
    assert server.wakes == 0


def test_a_run_repeats_byte_for_byte_and_another_seed_is_another() -> None:
    def trace(seed: int) -> list[str]:
        network = VirtualNetwork(seed=seed, latency=0.02, cut=10)
        server = network.serve(on_event=echo)
        client = network.connect("http://server", ping=3.0)
        for number in range(10):
            client.client.write(number)
            network.run(3)
        network.drop(client)
        network.run(10)
        server.server.close()
        network.run(10)
        return [re.sub(r"0x[0-9a-f]+", "", line) for line in network.trace]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


# --- delivery ---


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_however_bytes_are_cut(cut: int) -> None:
    network, _, client = pair(cut=cut, latency=0.01)
    client.client.write("x" * 300)
    network.run(1)
    assert [event.data for event in client.all(ev.DataReceived)] == ["x" * 300]
    sizes = [int(line.split()[-2]) for line in network.trace if line.endswith(" bytes")]
    assert max(sizes) <= cut


def test_nothing_overtakes_when_the_network_becomes_faster() -> None:
    network, _, client = pair(latency=1 / 64)
    network.latency = 1.0
    client.client.write("slow")
    network.run(0.5)
    network.latency = 0.0
    client.client.write("fast")
    network.run(2)
    assert [event.data for event in client.all(ev.DataReceived)] == ["slow", "fast"]


def test_a_window_blocks_the_sender() -> None:
    network = VirtualNetwork(window=1000, latency=0.01)
    server = network.serve(limits=Limits(backlog=100_000))
    client = network.connect("http://server")
    network.run(1)
    (spark,) = server.server
    client.client.pause()
    network.run(0.1)
    for _ in range(10):
        spark.write("x" * 300)
        network.run(0.1)
    assert 10 * 300 - 2000 < spark.buffered < 10 * 320
    client.client.resume()
    network.run(0.1)
    assert spark.buffered == 0
    assert client.seen(ev.DataReceived) == 10


def test_without_a_window_nothing_blocks() -> None:
    network, server, client = pair()
    (spark,) = server.server
    client.client.pause()
    network.run(1)
    spark.write("x" * 1_000_000)
    network.run(1)
    assert spark.buffered == 0
    assert client.seen(ev.DataReceived) == 0
    client.client.resume()
    network.run(0)
    assert client.seen(ev.DataReceived) == 1


def test_what_is_held_is_read_in_order_and_the_end_last() -> None:
    network, server, client = pair()
    (spark,) = server.server
    client.client.pause()
    network.run(0)
    spark.write(1)
    network.run(0)
    spark.write(2)
    network.run(0)
    spark.end(reconnect=True)
    network.run(1)
    assert client.names == OPENED
    client.client.resume()
    network.run(0)
    assert client.names == [*OPENED, "data", "data", *LOST]


def test_a_reset_discards_what_was_not_read() -> None:
    network, server, client = pair()
    (spark,) = server.server
    client.client.pause()
    network.run(0)
    spark.write(1)
    spark.end(reconnect=True)
    network.run(5.1)
    assert client.names == [*OPENED, *LOST]


# --- several nodes ---


def test_several_servers_and_clients() -> None:
    network = VirtualNetwork()
    one = network.serve(ServerConfig(pathname="/one"), port=8001)
    two = network.serve(host="other", pathname="/two")
    clients = [network.connect("http://server:8001", pathname="/one") for _ in range(300)]
    clients.append(network.connect("http://other", pathname="/two"))
    network.run(1)
    assert (len(one.server), len(two.server)) == (300, 1)
    assert all(client.names == OPENED for client in clients)
    addresses = {spark.address.ip for spark in one.server}
    assert len(addresses) == 300
    assert {"10.0.0.1", "10.0.1.44"} <= addresses


def test_nobody_listens_there() -> None:
    network = VirtualNetwork()
    client = network.connect("http://nobody", strategy=False)
    network.run(1)
    assert str(client.all(ev.ErrorOccurred)[0].error) == "connection refused"
    assert client.links == {}


def test_a_client_that_gives_up_before_it_is_refused_or_accepted() -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    for url in ("http://server", "http://nobody"):
        client = network.connect(url)
        network.run(0.5)
        client.client.end()
        network.run(5)
        assert client.names[-1] == "end"
        assert client.seen(ev.ErrorOccurred) == 0
    assert server.endpoint.channels == 0


def test_a_client_that_gives_up_while_its_connection_comes_about() -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    client = network.connect("http://server")
    network.run(1.5)
    assert server.endpoint.channels == 1
    client.client.end()
    network.run(5)
    assert (server.endpoint.channels, client.endpoint.channels) == (0, 0)


# --- trouble ---


def test_freezing_holds_everything_up_and_thawing_delivers_it() -> None:
    network, server, client = pair(latency=0.1)
    network.freeze(client)
    client.client.write(1)
    network.run(0.5)
    client.client.write(2)
    network.run(5)
    assert server.seen(ev.SparkData) == 0
    network.thaw(client)
    network.run(1)
    assert [event.data for event in client.all(ev.DataReceived)] == [1, 2]


def test_thawing_keeps_the_order_with_what_is_still_on_its_way() -> None:
    network, server, client = pair(latency=0.1)
    network.freeze(client)
    client.client.write(1)
    network.run(0.15)
    client.client.write(2)
    network.run(0.05)
    network.thaw(client)
    network.run(1)
    assert [event.data for event in server.all(ev.SparkData)] == [1, 2]


def test_nor_does_what_is_sent_in_the_moment_of_thawing_overtake() -> None:
    network = VirtualNetwork()
    server = network.serve()
    client = network.connect("http://server")
    network.run(0.0)
    network.freeze(server)
    client.client.write(1)
    network.run(0.0)
    client.client.write(2)
    network.heal()  # of nothing; but `client` is pumped, and sends
    network.thaw(server)
    network.run(0.0)
    assert [event.data for event in server.all(ev.SparkData)] == [1, 2]


def test_a_frozen_server_takes_no_connection_until_it_thaws() -> None:
    network = VirtualNetwork()
    server = network.serve()
    network.freeze(server)
    client = network.connect("http://server")
    network.run(5)
    assert client.names == ["readyStateChange"]
    network.thaw(server)
    network.run(1)
    assert client.names == OPENED


def test_both_ends_frozen_and_one_thawed() -> None:
    network, server, client = pair()
    network.freeze(client)
    network.freeze(server)
    client.client.write(1)
    network.run(1)
    network.thaw(client)
    network.run(1)
    assert server.seen(ev.SparkData) == 0
    network.thaw(server)
    network.run(1)
    assert server.seen(ev.SparkData) == 1


def test_dropping_loses_what_is_on_its_way_and_tells_both() -> None:
    network, server, client = pair(latency=0.1)
    client.client.write("lost")
    network.run(0.05)
    network.drop(client)
    assert client.names == [*OPENED, *LOST]
    assert server.names[-3:] == ["readyStateChange", "disconnection", "end"]
    network.run(2)
    assert server.seen(ev.SparkData) == 0
    assert client.names[-1] == "open"


def test_killing_and_serving_again() -> None:
    network, server, client = pair()
    network.kill(server)
    network.run(0.6)
    assert client.names.count("reconnect scheduled") == 2
    again = network.serve(on_event=echo)
    network.run(10)
    assert client.names[-1] == "open"
    assert (len(server.server), len(again.server)) == (0, 1)


def test_links_that_are_over_are_forgotten() -> None:
    network, _, client = pair()
    for _ in range(50):
        network.drop(client)
        network.run(20)
    nobody = network.connect("http://nobody", retries=20, max=1.0)
    network.run(30)
    assert nobody.seen(ev.ReconnectScheduled) == 20
    assert len(network._links) == 1


# --- the pump ---


def test_events_that_the_commands_cause_are_not_left_lying() -> None:
    """An idle server that closes has nothing to command, and yet something to say."""
    network = VirtualNetwork()
    server = network.serve()
    server.server.close()
    server.pump()
    assert server.names == ["initialised", "close"]
    client = network.connect("http://server", manual=True)
    client.client.open()
    client.client.network_offline()
    client.client.network_online()
    client.pump()
    assert client.names[-1] == "reconnect scheduled"


def test_a_command_that_no_byte_endpoint_gives() -> None:
    network = VirtualNetwork()
    server = network.serve()
    with pytest.raises(AssertionError, match="a byte endpoint gave"):
        server._run(cmd.Close())  # type: ignore[arg-type]


def test_seen_all_and_names() -> None:
    _, server, client = pair()
    assert server.names == ["initialised", "connection"]
    assert server.seen(ev.SparkConnected) == 1
    assert server.seen(ev.SparkEvent) == 1
    assert [event.state for event in client.all(ev.ReadyStateChanged)] == ["opening", "open"]


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
def test_clients_cost_each_other_nothing(heard: bool) -> None:
    """No client is asked what there is to do because of another one; or a hundred would take minutes for an hour.

    Nor is any because there are listeners: those may call whomever they like, and then that one is asked.
    """

    def asked_for_each_heartbeat(clients: int) -> float:
        network = VirtualNetwork(latency=0.01, jitter=0.01)
        server = network.serve(dialect="happn")
        nodes = [network.connect("http://server", dialect="happn") for _ in range(clients)]
        if heard:
            server.on(ev.SparkHeartbeat, lambda event: heartbeats.append(event))
        network.run(1)
        asked = 0

        def ask(*, now: float, poll: Callable[..., Iterator[Any]]) -> Iterator[Any]:
            nonlocal asked
            asked += 1
            return poll(now=now)

        for node in nodes:
            node.endpoint.poll = partial(ask, poll=node.endpoint.poll)  # type: ignore[method-assign]
        network.run(100)
        assert len(heartbeats) == server.seen(ev.SparkHeartbeat) * heard
        heartbeats.clear()
        return asked / server.seen(ev.SparkHeartbeat)

    heartbeats: list[ev.Event] = []
    assert asked_for_each_heartbeat(40) < asked_for_each_heartbeat(4) * 1.5


def test_a_timer_that_is_off_does_not_fire_with_those_of_others() -> None:
    """Its client was ended before that instant, or at it by the listener of another one."""
    network = VirtualNetwork(latency=0.01)
    server = network.serve(dialect="happn")
    first, second, third = (network.connect("http://server", dialect="happn") for _ in range(3))
    network.run(10)
    third.end()
    network.run(1)
    wakes = third.wakes
    network.freeze(server)
    first.on("offline", second.end)
    network.run(60)
    assert first.seen(ev.WentOffline) == 1
    assert (second.seen(ev.Ended), second.seen(ev.WentOffline)) == (1, 0)
    assert third.wakes == wakes
