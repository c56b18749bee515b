"""Nodes of a virtual network that are suspended: they stop, and catch up when they wake."""

from __future__ import annotations

from functools import partial

import pytest

from primus_proto import LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.nodes import Node
from tests.unit.testing.virtual import connected, data


def test_a_suspended_node_neither_hears_nor_speaks_and_then_catches_up() -> None:
    network, server, client = connected()
    client.write("before")
    network.run(0.0)
    network.suspend(client)
    network.suspend("client1")
    client.write("meanwhile")
    server.write("meanwhile")
    network.run(3.0)
    assert (data(server), data(client)) == (["before"], [])
    for _ in range(2):
        network.resume(client)
        network.run(0.1)
    assert (data(server), data(client)) == (["before", "meanwhile"], ["meanwhile"])
    noted = [line.rpartition(" ")[2] for line in network.trace if line.endswith(("suspended", "resumed"))]
    assert noted == ["suspended", "suspended", "resumed", "resumed"]


def test_overdue_timers_fire_on_waking_after_what_has_arrived() -> None:
    network, server, client = connected()
    network.run(4.5)
    network.suspend(client)
    wakes = client.wakes
    server.write("news")
    network.run(1.2)
    assert (client.wakes, data(client)) == (wakes, [])
    network.resume(client)
    assert (client.wakes, data(client)) == (wakes + 1, ["news"])
    noted = [line.split("  ")[-1] for line in network.trace[-3:]]
    for line, start in zip(noted, ("client1: resumed", "client1: DataReceived", "client1 -> server"), strict=True):
        assert line.startswith(start)


def test_a_suspended_server_takes_no_connection_and_keeps_no_heartbeat() -> None:
    network, server, client = connected()
    network.suspend(server)
    late = network.connect("http://server", timeout=False, dialect="happn")
    network.run(9.0)
    assert (late.names, client.seen(ev.WentOffline), server.wakes) == (["readyStateChange"], 1, 0)
    network.resume(server)
    network.run(30.0)
    assert (late.names[-1], client.names[-1], len(server.server)) == ("open", "open", 2)


@pytest.mark.parametrize("loss", ["drop", "half_open"])
def test_a_suspended_node_hears_of_a_loss_when_it_wakes(loss: str) -> None:
    network, server, client = connected()
    network.suspend(client)
    server.write("lost")
    network.run(1.0)
    getattr(network, loss)(client)
    network.run(10.0)
    assert (client.seen(ev.Closed), server.seen(ev.SparkDisconnected)) == (0, loss == "drop")
    network.freeze(client)
    network.resume(client)
    assert (client.seen(ev.Closed), data(client)) == (1, [])
    network.thaw(client)
    network.run(60.0)
    assert (client.names[-1], data(client)) == ("open", [])


def test_a_listener_may_suspend_nodes_whose_timers_are_due_at_the_same_instant() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    one, two = (network.connect("http://server", dialect="happn", ping=5.0, pong=2.0) for _ in range(2))
    network.run(1.0)
    network.freeze(server)
    for node in (two, one):
        one.on("offline", partial(network.suspend, node))
    network.run(60.0)
    assert (one.seen(ev.WentOffline), one.seen(ev.ReconnectStarted)) == (1, 0)
    assert two.seen(ev.WentOffline) == 0
    network.thaw(server)
    for node in (one, two):
        network.resume(node)
    network.run(60.0)
    assert (one.names[-1], two.names[-1]) == ("open", "open")


def test_a_node_of_another_kind_cannot_be_suspended() -> None:
    _, server, _ = connected()
    with pytest.raises(LocalProtocolError, match=r"server cannot be suspended, only its network: use freeze\(\)"):
        Node.suspend(server)
