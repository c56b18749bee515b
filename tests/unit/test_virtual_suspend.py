"""Nodes of the virtual network that are suspended: no timer, no word, and all of it as they wake."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.testing.nodes import VirtualEndpoint


def pair(**options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=0.01, **options)
    server = network.serve()
    client = network.connect("http://server", dialect="happn", ping=5.0, pong=2.0)
    network.run(1.0)
    return network, server, client


def data(node: VirtualServer | VirtualClient) -> list[Any]:
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


def test_it_neither_hears_nor_says_anything_and_catches_up() -> None:
    network, server, client = pair()
    client.write("said before")
    network.run(0.0)
    network.suspend(client)
    client.write("said meanwhile")
    server.write("heard meanwhile")
    network.run(3.0)
    assert (data(server), data(client)) == (["said before"], [])
    network.resume(client)
    network.run(0.1)
    assert (data(server), data(client)) == (["said before", "said meanwhile"], ["heard meanwhile"])


def test_no_timer_of_it_fires_and_what_is_overdue_fires_as_it_wakes_after_it_has_heard_what_was_said() -> None:
    network, server, client = pair()
    network.run(3.5)
    network.suspend(client)
    wakes = client.wakes
    network.run(0.3)
    server.write("news")
    network.run(0.9)
    assert (client.wakes, client.seen(ev.DataReceived)) == (wakes, 0)
    network.resume(client)
    assert (client.wakes, data(client)) == (wakes + 1, ["news"])
    told = [line.split("  ")[-1] for line in network.trace[-3:]]
    assert told[0] == "client1: resumed"
    assert told[1].startswith("client1: DataReceived")
    assert told[2].startswith("client1 -> server"), "its ping"


def test_an_answer_that_arrived_while_it_slept_counts() -> None:
    """The ping left at 5 s, and its pong was due at 7 s."""
    network, server, client = pair()
    network.run_until(lambda: server.seen(ev.SparkHeartbeat) == 1)
    network.suspend(client)
    network.run(2.5)
    network.resume(client)
    network.run(1.0)
    assert client.seen(ev.Closed) == 0
    network.run_until(lambda: server.seen(ev.SparkHeartbeat) == 2)
    network.suspend(client)
    network.freeze(client)
    network.run(2.5)
    network.resume(client)
    assert client.seen(ev.WentOffline) == 1, "where its network is not back yet, there is none"


def test_a_server_that_is_suspended_takes_no_connection_and_keeps_no_heartbeat() -> None:
    network, server, client = pair()
    network.suspend(server)
    late = network.connect("http://server", timeout=False, dialect="happn")
    network.run(9.0)
    assert (late.names, client.seen(ev.WentOffline), server.wakes) == (["readyStateChange"], 1, 0)
    network.resume(server)
    network.run(30.0)
    assert (late.names[-1], client.names[-1], len(server.server)) == ("open", "open", 2)


def test_a_client_that_sleeps_as_its_connection_opens() -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    client = network.connect("http://server", timeout=False)
    network.run(0.5)
    network.suspend(client)
    network.run(5.0)
    assert (server.endpoint.channels, client.names) == (1, ["readyStateChange"]), "the system says yes for it"
    network.resume(client)
    network.run(5.0)
    assert client.names[-1] == "open"


@pytest.mark.parametrize("loss", ["drop", "half_open"])
def test_who_sleeps_hears_of_a_loss_as_it_wakes(loss: str) -> None:
    """Even where its network is still away by then."""
    network, server, client = pair()
    network.suspend(client)
    server.write("lost")
    network.run(1.0)
    getattr(network, loss)(client)
    server.write("nobody is there")
    network.run(10.0)
    assert client.seen(ev.Closed) == 0
    assert server.seen(ev.SparkDisconnected) == (loss == "drop")
    network.freeze(client)
    network.resume(client)
    assert (client.seen(ev.Closed), data(client)) == (1, [])
    [closed] = [time for time, event in client.events if isinstance(event, ev.Closed)]
    assert closed == network.now
    network.thaw(client)
    network.run(60.0)
    assert (client.names[-1], data(client)) == ("open", [])


def test_a_server_that_is_killed_in_its_sleep() -> None:
    network, server, client = pair()
    network.suspend(server)
    network.kill(server)
    assert (client.seen(ev.Closed), server.seen(ev.SparkDisconnected)) == (1, 0)
    again = network.serve()
    network.run(10.0)
    assert len(again.server) == 1
    network.resume(server)
    assert server.seen(ev.SparkDisconnected) == 1


def test_who_sleeps_hears_that_it_may_go_on_writing_as_it_wakes() -> None:
    network, server, client = pair(window=1000)
    (spark,) = server.server
    spark.pause()
    network.run(0.1)
    for _ in range(5):
        client.write("x" * 500)
        network.run(0.1)
    assert client.client.buffered > 0
    network.suspend(client)
    spark.resume()
    network.run(1.0)
    assert client.client.buffered > 0
    network.resume(client)
    network.run(1.0)
    assert (client.client.buffered, len(data(server))) == (0, 5)


def test_what_is_held_up_by_its_network_comes_when_that_is_back() -> None:
    """A laptop: it wakes, and has to find its network first."""
    network, server, client = pair()
    network.freeze(client)
    network.suspend(client)
    server.write("meanwhile")
    network.run(1.0)
    network.resume(client)
    network.run(1.0)
    assert data(client) == []
    network.thaw(client)
    network.run(1.0)
    assert data(client) == ["meanwhile"]


def test_twice_is_once_and_to_resume_who_is_awake_is_harmless() -> None:
    network, server, client = pair()
    network.resume(client)
    network.suspend(client)
    network.suspend("client1")
    server.write(1)
    network.run(1.0)
    assert data(client) == []
    network.resume(client)
    network.run(1.0)
    assert data(client) == [1]
    assert [line.rpartition(" ")[2] for line in network.trace if line.endswith(("suspended", "resumed"))] == [
        *("resumed", "suspended", "suspended", "resumed"),
    ]


def test_from_a_listener_it_stops_at_once_and_another_timer_of_that_instant_does_not_fire() -> None:
    network, server, one = pair()
    two = network.connect("http://server", dialect="happn", ping=5.0, pong=2.0)
    network.run(1.0)
    network.freeze(server)
    nodes: list[VirtualEndpoint] = [one, two]
    heard: list[str] = []
    for node in nodes:
        node.on("offline", lambda node=node: heard.append(node.name))
    for node in (two, one):
        one.on("offline", partial(network.suspend, node))
    two.alarm = None  # as if both had been connected at the same time
    network.alarm(two, one.alarm)
    network.run(60.0)
    assert heard == ["client1"]
    assert (one.seen(ev.ReconnectStarted), two.seen(ev.Closed)) == (0, 0)
    network.thaw(server)
    for node in nodes:
        network.resume(node)
    network.run(60.0)
    assert (one.names[-1], two.names[-1]) == ("open", "open")


def test_a_node_of_another_kind_says_what_to_do() -> None:
    network = VirtualNetwork()
    node = network.serve()
    with pytest.raises(LocalProtocolError, match=r"server cannot be suspended, only its network: use freeze\(\)"):
        super(VirtualEndpoint, node).suspend()
    with pytest.raises(LocalProtocolError, match="server is not suspended"):
        super(VirtualEndpoint, node).resume()
