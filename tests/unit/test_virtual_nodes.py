"""The seams of the virtual network: names of nodes, nodes of another kind, and a runner in place of `run`."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.nodes import Caller, Listener, Node


class Stub(Node):
    """A node that writes down what it is told."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        super().__init__(network, name)
        self.endpoint = self
        self.told: list[Any] = []
        self.pumped = 0

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.told.append((now, data))

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        self.told.append((now, "closed", error))

    def channel_blocked(self, channel: int) -> None:
        self.told.append("blocked")

    def channel_writable(self, channel: int, *, now: float) -> None:
        self.told.append((now, "writable"))

    def pump(self) -> None:
        self.pumped += 1

    def jump(self, seconds: float) -> None:
        self.told.append(("jump", seconds))


class StubCaller(Stub, Caller):
    def opened(self, channel: int) -> None:
        self.told.append((self.network.now, "opened"))


class StubListener(Stub, Listener):
    def accepted(self, peer: tuple[str, int]) -> int:
        self.told.append(peer)
        return 7


class Loop:
    """A runner."""

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


# --- naming ---


def test_a_node_is_named_by_its_name_too() -> None:
    network = VirtualNetwork()
    server = network.serve()
    one, two = network.connect("http://server"), network.connect("http://server")
    assert [network.node(who) for who in (server, "server", "client1", "client2")] == [server, server, one, two]
    network.run(1)
    network.partition("client2")
    network.freeze("client1")
    network.thaw("client1")
    network.jump(60, "client1")
    network.break_after("client1", sent=1)
    two.write("held up")
    one.write("cut off")
    network.run(1)
    assert (server.seen(ev.SparkData), one.seen(ev.Closed)) == (0, 1)
    network.heal()
    network.run(1)
    assert [event.data for event in server.all(ev.SparkData)] == ["held up"]
    network.half_open("client2")
    network.drop("client1")
    network.kill("server")
    assert (one.seen(ev.Closed), two.seen(ev.Closed), server.listening) == (2, 1, False)


def test_of_several_by_one_name_the_last_one_is_meant() -> None:
    network = VirtualNetwork()
    old, new = network.serve(), network.serve()
    assert network.node("server") is new
    assert network.node(old) is old


@pytest.mark.parametrize("who", ["serve", None, ["server"], object()])
def test_a_name_that_nobody_has_is_an_error_that_tells_those_there_are(who: object) -> None:
    network = VirtualNetwork()
    with pytest.raises(LocalProtocolError, match="there are: none"):
        network.node(who)
    network.serve()
    network.connect("http://server")
    with pytest.raises(LocalProtocolError, match="there are: server, client1"):
        network.freeze(who)


def test_only_a_server_is_killed() -> None:
    network = VirtualNetwork()
    client = network.connect("http://server")
    with pytest.raises(LocalProtocolError, match=r"client1 is no server: drop\(\) loses its connections"):
        network.kill(client)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", ""])
@pytest.mark.parametrize(
    ("target", "ip"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("elsewhere", None)]
)
def test_a_machine_is_reached_from_itself_by_any_of_its_names(host: str, target: str, ip: str | None) -> None:
    network = VirtualNetwork()
    server = network.serve(host=host, port=80)
    client = network.connect(f"http://{target}", strategy=False)
    network.run(1)
    assert [event.spark.address.ip for event in server.all(ev.SparkConnected)] == [ip] * (ip is not None)
    assert client.seen(ev.Opened) == (ip is not None)


def test_what_listens_somewhere() -> None:
    network = VirtualNetwork()
    assert network.listener("127.0.0.1", 80) is None
    server = network.serve(host="localhost")
    assert network.listener("127.0.0.1", 80) is server
    assert network.listener("127.0.0.1", 81) is None
    network.kill(server)
    assert network.listener("127.0.0.1", 80) is None


# --- nodes of another kind ---


def test_a_node_of_another_kind_is_told_what_an_endpoint_is() -> None:
    network, caller, listener = connected(latency=1.0)
    assert caller.told == [(2.0, "opened")]
    caller.links[3].send(caller, b"hello")
    listener.links[7].send(listener, b"hi")
    caller.links[3].close(caller, abort=False)
    network.run(10)
    assert listener.told == [(11.0, b"hello"), (11.0, "closed", None)]
    assert caller.told[1:] == [], "it had closed before"
    assert caller.pumped
    assert listener.pumped


def test_an_end_that_is_no_eof_says_so() -> None:
    for abort in (False, True):
        network, caller, listener = connected()
        listener.links[7].close(listener, abort=abort)
        network.run(1)
        assert caller.told[1:] == [(10.0, "closed", "connection reset by peer" if abort else None)]


def test_where_nobody_listens() -> None:
    network = VirtualNetwork(latency=1.0)
    caller = StubCaller(network, "caller")
    network.open(caller, 1, "nowhere", 80)
    network.run(10)
    assert caller.told == [(2.0, "closed", "connection refused")]


def test_the_window_takes_what_it_has_room_for() -> None:
    network, caller, listener = connected(window=10, latency=1.0)
    link = caller.links[3]
    assert link.offer(caller, b"0123456") == 7
    assert link.offer(caller, b"789abc") == 3
    assert link.offer(caller, b"abc") == 0
    network.run(0.5)
    assert caller.told[1:] == []
    network.run(0.5)
    assert [data for _, data in listener.told] == [b"0123456", b"789"]
    assert caller.told[1:] == [(11.0, "writable")], "half of it was free"
    assert link.offer(caller, bytearray(b"abc")) == 3


def test_a_window_just_filled_blocks_nobody() -> None:
    network, caller, _ = connected(window=10)
    assert caller.links[3].offer(caller, b"0123456789") == 10
    network.run(1)
    assert caller.told[1:] == []


def test_without_a_window_there_is_room_for_all() -> None:
    network, caller, listener = connected()
    assert caller.links[3].offer(caller, bytes(1 << 20)) == 1 << 20
    network.run(1)
    assert [len(data) for _, data in listener.told] == [1 << 20]


# --- a runner ---


def test_time_passes_in_steps() -> None:
    network = VirtualNetwork()
    said: list[float] = []
    for when in (1.0, 2.0, 2.0, 5.0):
        network.call_at(when, lambda: said.append(network.now))
    assert network.step(3.0)
    assert said == [1.0]
    assert network.step(3.0)
    assert said == [1.0, 2.0, 2.0], "all that is due at once happens at once"
    assert not network.step(3.0)
    assert network.now == 3.0
    assert network.step(inf)
    assert not network.step(inf)
    assert (said[3:], network.now) == ([5.0], 5.0)


def test_a_runner_is_asked_for_nodes_and_the_network_does_not_run_by_itself() -> None:
    network = VirtualNetwork()
    network.serve()
    caller, listener = StubCaller(network, "mine"), StubListener(network, "server")
    network.runner = Loop(caller, listener)
    assert network.node(["the first"]) is caller
    assert network.node("mine") is caller
    assert network.node("server") is listener
    with pytest.raises(LocalProtocolError, match="there are: server, mine"):
        network.node("yours")
    network.jump(3.0)
    assert (caller.told, listener.told) == ([("jump", 3.0)], [("jump", 3.0)])
    assert network.wall_offset == 1_700_000_003.0
    with pytest.raises(LocalProtocolError, match="an event loop runs this network"):
        network.run(1)
    with pytest.raises(LocalProtocolError, match="an event loop runs this network"):
        network.run_until(bool)


def test_standing_still_is_noticed_by_a_runner_too() -> None:
    network = VirtualNetwork()

    def spin() -> None:
        while not network.step(0.0):
            pass

    with pytest.raises(AssertionError, match="time stands still"):
        spin()


@pytest.mark.parametrize("mine", ["spark", "client"])
def test_who_has_been_ended_in_a_listener_hears_no_more_data(mine: str) -> None:
    """Not even what came in one piece with it (protocol 4.5)."""
    network = VirtualNetwork()
    server = network.serve()
    client = network.connect("http://server")
    network.run(1.0)
    (spark,) = server.sparks
    ours: Any = {"spark": spark, "client": client}[mine]
    theirs: Any = {"spark": client.client, "client": spark}[mine]
    heard: list[int] = []

    def data(value: int) -> None:
        heard.append(value)
        ours.end()

    ours.on("data", data)
    for number in range(3):
        theirs.write(number)
    network.run(1.0)
    assert heard == [0]
    assert sum("data=" in line for line in network.trace) == 1


def test_a_server_is_called_by_its_port_where_that_is_not_80() -> None:
    network = VirtualNetwork()
    first, second = network.serve(), network.serve(port=8080)
    assert (network.node("server"), network.node("server:8080")) == (first, second)
    network.connect("http://server:8080")
    network.run(1)
    assert any("client1 -> server:8080: " in line for line in network.trace)
