"""The seams of the virtual network: nodes of another kind, and a runner in place of `run`."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.nodes import Caller, Listener, Node


class Stub(Node):
    """A node that writes down what it is told."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        super().__init__(network, name)
        self.endpoint = self
        self.told: list[Any] = []

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.told.append((now, data))

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        self.told.append((now, "closed", error))

    def channel_blocked(self, channel: int) -> None:
        self.told.append("blocked")

    def channel_writable(self, channel: int, *, now: float) -> None:
        self.told.append((now, "writable"))

    def pump(self) -> None:
        pass

    def jump(self, seconds: float) -> None:
        self.told.append(("jump", seconds))


class StubCaller(Stub, Caller):
    def opened(self, channel: int) -> None:
        self.told.append((self.network.now, "opened"))


class StubListener(Stub, Listener):
    def accepted(self, peer: tuple[str, int]) -> int:
        self.told.append(peer)
        return 7


class Runner:
    def __init__(self, *nodes: Node) -> None:
        self.mine = nodes

    def nodes(self) -> Iterable[Node]:
        return self.mine

    def node_of(self, who: object) -> Node | None:
        return self.mine[0] if who == ["the first"] else None


def connected(**options: Any) -> tuple[VirtualNetwork, StubCaller, StubListener]:
    network = VirtualNetwork(**options)
    caller, listener = StubCaller(network, "caller"), StubListener(network, "listener")
    caller.ip = "10.0.0.9"
    network.listen(listener, "somewhere", 5)
    network.open(caller, 3, "somewhere", 5)
    network.run(10)
    assert listener.told == [("10.0.0.9", 1027)]
    listener.told.clear()
    return network, caller, listener


def test_a_node_of_another_kind_is_told_what_an_endpoint_is_told() -> None:
    network, caller, listener = connected(latency=1.0)
    assert caller.told == [(2.0, "opened")]
    caller.links[3].send(caller, b"hello")
    listener.links[7].send(listener, b"hi")
    caller.links[3].close(caller, abort=False)
    network.run(10)
    assert listener.told == [(11.0, b"hello"), (11.0, "closed", None)]
    assert caller.told[1:] == [], "it had closed before"


def test_offer_takes_what_the_window_has_room_for() -> None:
    network, caller, listener = connected(window=10, latency=1.0)
    link = caller.links[3]
    assert [link.offer(caller, data) for data in (b"0123456", b"789abc", b"abc")] == [7, 3, 0]
    network.run(0.5)
    assert caller.told[1:] == []
    network.run(0.5)
    assert [data for _, data in listener.told] == [b"0123456", b"789"]
    assert caller.told[1:] == [(11.0, "writable")], "half of it is free"
    assert link.offer(caller, bytearray(b"0123456789")) == 10
    network.run(1)
    assert len(caller.told) == 2, "a window that was filled exactly blocks nobody"


def test_time_passes_in_steps() -> None:
    network = VirtualNetwork()
    called: list[float] = []
    for when in (1.0, 2.0, 2.0, 5.0):
        network.call_at(when, lambda: called.append(network.now))
    assert network.step(3.0)
    assert called == [1.0]
    assert network.step(3.0)
    assert called == [1.0, 2.0, 2.0], "everything that is due at one instant"
    assert not network.step(3.0)
    assert network.now == 3.0
    assert network.step(inf)
    assert not network.step(inf)
    assert (called[3:], network.now) == ([5.0], 5.0)


def test_a_runner_has_nodes_and_the_network_does_not_run_by_itself() -> None:
    network = VirtualNetwork()
    network.serve()
    caller, listener = StubCaller(network, "mine"), StubListener(network, "server")
    network.runner = Runner(caller, listener)
    assert network.node(["the first"]) is network.node("mine") is caller
    assert network.node("server") is listener
    with pytest.raises(LocalProtocolError, match="there are: server, mine"):
        network.node("yours")
    network.jump(3.0)
    assert (caller.told, listener.told) == ([("jump", 3.0)], [("jump", 3.0)])
    assert network.wall_offset == 1_700_000_003.0
    with pytest.raises(LocalProtocolError, match="an event loop runs this network"):
        network.run(1)
