"""The virtual network itself: time, trouble, and what it shows of a run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from primus_proto import ClientState, LocalProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer


def opened(network: VirtualNetwork, **options: Any) -> tuple[VirtualServer, VirtualClient]:
    server = network.serve()
    node = network.connect("http://server", **options)
    network.run_until(lambda: node.seen(ev.Opened) == 1)
    return server, node


def test_time_moves_only_in_run_and_exactly_as_far() -> None:
    network = VirtualNetwork(latency=0.25)
    assert network.now == 0.0
    times: list[float] = []
    for when in (3.0, 1.0, 1.0, 2.5):
        network.call_at(when, lambda: times.append(network.now))
    network.run(2.75)
    assert times == [1.0, 1.0, 2.5]
    assert network.now == 2.75
    network.run(0.0)
    network.run(0.25)
    assert times == [1.0, 1.0, 2.5, 3.0]


def test_latency_is_that_of_each_delivery() -> None:
    network = VirtualNetwork(latency=0.25)
    _, node = opened(network)
    assert network.now == 1.0, "there and back for the stream, there and back for the handshake"
    assert node.client.latency == 1.0
    assert [when for when, event in node.events if isinstance(event, ev.Opened)] == [1.0]


@pytest.mark.parametrize("seconds", [-5.0, math.nan, math.inf])
def test_time_cannot_pass_by_what_is_no_time(seconds: float) -> None:
    network = VirtualNetwork()
    with pytest.raises(LocalProtocolError, match=f"at least 0, and finite; got {seconds}"):
        network.run(seconds)
    with pytest.raises(LocalProtocolError, match=f"got {seconds}"):
        network.run_until(lambda: True, limit=seconds)
    assert network.now == 0.0


def test_run_until_stops_at_once_and_says_why_it_could_not() -> None:
    network = VirtualNetwork(latency=0.25)
    _, node = opened(network)
    before = network.now
    network.run_until(lambda: True)
    assert network.now == before
    with pytest.raises(AssertionError, match=r"(?s)the condition never held:.*client1: Opened"):
        network.run_until(lambda: node.seen(ev.Closed) > 0, limit=5.0)
    node.client.end()
    network.run(60.0)
    with pytest.raises(AssertionError, match="the condition never held"):
        network.run_until(lambda: False)  # and nothing at all is due any more


def test_what_a_node_shows() -> None:
    network = VirtualNetwork()
    server, node = opened(network)
    assert node.names == ["readyStateChange", "readyStateChange", "open"]
    assert node.all(ev.ReadyStateChanged) == [ev.ReadyStateChanged("opening"), ev.ReadyStateChanged("open")]
    assert server.seen(ev.SparkConnected) == 1
    assert (server.wakes, node.wakes) == (0, 0)
    assert any(line.endswith("client1: Opened()") for line in network.trace)
    assert any("client1 -> server: " in line and line.endswith(" bytes") for line in network.trace)


def test_the_application_may_call_any_verb_from_its_events() -> None:
    network = VirtualNetwork()

    def app(server: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.SparkData):
            server.server.write(event.data)
            event.spark.end("bye")

    def user(client: VirtualClient, event: ev.Event) -> None:
        if isinstance(event, ev.Opened):
            client.client.write("hi")

    network.serve(on_event=app)
    node = network.connect("http://server", on_event=user)
    network.run(1.0)
    assert [event.data for event in node.all(ev.DataReceived)] == ["hi", "bye"]
    assert node.names[-1] == "end"


def test_hosts_and_ports() -> None:
    network = VirtualNetwork()
    server = network.serve(host="elsewhere", port=8080)
    right = network.connect("http://elsewhere:8080")
    wrong = network.connect("http://elsewhere", strategy=False)
    network.run(1.0)
    assert right.names[-1] == "open"
    assert wrong.names[-1] == "end"
    assert len(server.server) == 1


def test_kill_and_replace() -> None:
    network = VirtualNetwork(latency=0.01)
    server, node = opened(network, strategy=False)
    network.kill(server)
    assert node.names[-1] == "end"
    assert server.names[-1] == "end"
    node.client.open()
    network.run(1.0)
    assert node.seen(ev.ErrorOccurred) == 1, "refused"
    again = network.serve()
    node.client.open()
    network.run(1.0)
    assert node.names[-1] == "open"
    assert (server.seen(ev.SparkConnected), again.seen(ev.SparkConnected)) == (1, 1)


def test_frozen_nothing_passes_and_thawed_everything_does_in_order() -> None:
    network = VirtualNetwork(latency=0.01)
    server, node = opened(network)
    network.freeze(node)
    for n in range(3):
        node.client.write(n)
        network.run(1.0)
    assert server.seen(ev.SparkData) == 0
    network.thaw(node)
    node.client.write(3)
    network.run(1.0)
    assert [event.data for event in server.all(ev.SparkData)] == [0, 1, 2, 3]


def test_frozen_new_connections_hang_too() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    network.freeze(server)
    node = network.connect("http://server", timeout=False)
    network.run(3600.0)
    assert node.client.state is ClientState.CONNECTING
    network.thaw(server)
    network.run(1.0)
    assert node.names[-1] == "open"


def test_two_frozen_ends_need_two_thaws() -> None:
    network = VirtualNetwork(latency=0.01)
    server, node = opened(network, ping=False)
    network.freeze(node)
    network.freeze(server)
    node.client.write("x")
    network.run(1.0)
    network.thaw(node)
    network.run(1.0)
    assert server.seen(ev.SparkData) == 0
    network.thaw(server)
    network.run(1.0)
    assert server.seen(ev.SparkData) == 1


def test_a_client_that_gave_up_before_it_was_refused() -> None:
    network = VirtualNetwork(latency=1.0)
    node = network.connect("http://nobody")
    network.run(0.5)
    node.client.end()
    network.run(10.0)
    assert node.seen(ev.ErrorOccurred) == 0
    assert node.endpoint.channels == 0


def test_a_client_that_gave_up_before_it_reached_the_server() -> None:
    network = VirtualNetwork(latency=1.0)
    server = network.serve()
    node = network.connect("http://server")
    network.run(0.5)
    node.client.end()
    network.run(10.0)
    assert server.names == ["initialised"]
    assert server.endpoint.channels == 0


def test_a_command_that_no_byte_endpoint_gives() -> None:
    network = VirtualNetwork()
    _, node = opened(network)
    with pytest.raises(AssertionError, match="a byte endpoint gave"):
        node._run(cmd.Abort())  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_cutting_changes_nothing_that_is_told(cut: int) -> None:
    def told(cut: int | None) -> list[str]:
        network = VirtualNetwork(latency=0.01, cut=cut)
        server, node = opened(network)
        node.client.write("x" * 2000)
        network.run(100.0)
        return [*server.names, *node.names]

    assert told(cut) == told(None)


def test_a_broadcast_leaves_out_sparks_as_listeners_get_them_or_as_events_carry_them() -> None:
    network = VirtualNetwork()
    server, first = opened(network)
    server.on("connection", lambda spark: spark.on("data", lambda value: server.write(value, exclude=[spark])))
    second, third = (network.connect("http://server") for _ in range(2))
    network.run(1)
    second.write("all but the second")
    network.run(1)
    heard = [[event.data for event in node.all(ev.DataReceived)] for node in (first, second, third)]
    assert heard == [["all but the second"], [], ["all but the second"]]
    assert server.write("the third alone", exclude=[spark.core for spark in server.sparks[:2]]) == 1
    assert server.write("nobody", exclude=server.sparks) == 0


@pytest.mark.parametrize("when", ["5", float("nan"), float("inf"), None])
def test_what_is_called_is_called_at_a_number_of_seconds(when: Any) -> None:
    network = VirtualNetwork()
    with pytest.raises(LocalProtocolError, match="a time is a number of seconds"):
        network.call_at(when, lambda: None)
    network.run(10)


def test_what_would_have_to_be_awaited_is_refused() -> None:
    """A condition of that kind would always hold, and an application would never run."""

    async def asynchronous(*args: object) -> bool:
        return False

    network = VirtualNetwork()
    server = network.serve()
    words = "^nothing awaits here: {} is a plain function$"
    with pytest.raises(LocalProtocolError, match=words.format("on_event")):
        network.serve(on_event=asynchronous)
    with pytest.raises(LocalProtocolError, match=words.format("on_event")):
        network.connect("http://server", on_event=asynchronous)
    with pytest.raises(LocalProtocolError, match=words.format("the condition")):
        network.run_until(asynchronous)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=words.format("what is called at a time")):
        network.call_at(1.0, asynchronous)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=words.format("a listener on the virtual network")):
        server.on("connection", asynchronous)
    with pytest.raises(LocalProtocolError, match=r"^a listener on the virtual network is a function; got 5$"):
        server.on("connection", 5)  # type: ignore[call-overload]
    assert network.listener("server", 80) is server


@pytest.mark.parametrize("count", [-1, 1.5, "10"])
@pytest.mark.parametrize("kind", ["sent", "received"])
def test_a_break_takes_a_number_of_bytes(kind: str, count: Any) -> None:
    network = VirtualNetwork()
    _, client = opened(network)
    network.break_after(client, sent=1000)
    with pytest.raises(LocalProtocolError, match=f"^{kind} is a number of bytes of at least 0, or None; got "):
        network.break_after(client, **{kind: count})
    assert client._quota == {"sent": 1000}


@pytest.mark.parametrize("seconds", ["3600", float("nan"), float("inf"), None])
def test_a_clock_jumps_by_a_number_of_seconds(seconds: Any) -> None:
    network = VirtualNetwork()
    before = network.wall_offset
    with pytest.raises(LocalProtocolError, match="a clock jumps by a number of seconds"):
        network.jump(seconds)
    assert network.wall_offset == before
    assert network.trace == []


def test_an_address_is_no_config() -> None:
    with pytest.raises(LocalProtocolError, match=r"config is a ServerConfig; an address goes into host= and port="):
        VirtualNetwork().serve("server:80")  # type: ignore[arg-type]
