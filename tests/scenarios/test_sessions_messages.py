"""Messages of whole sessions: in order, once, however the bytes are cut; nothing lost unseen; broadcast; closing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Limits
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, st.lists, max_leaves=5)
SPARK_OVER = ["readyStateChange", "disconnection", "end"]


def data(node: VirtualClient | VirtualServer) -> list[Any]:
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


def echo(server: VirtualServer, event: ev.Event) -> None:
    if isinstance(event, ev.SparkData):
        event.spark.write(event.data)


@given(
    st.lists(values.filter(lambda value: not str(value).startswith("primus::")), max_size=10),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_messages_arrive_in_order_and_once_however_they_are_cut(sent: list[Any], cut: int, seed: int) -> None:
    network = VirtualNetwork(seed=seed, latency=0.01, cut=cut)
    server = network.serve(on_event=echo)
    node = network.connect("http://server")
    for value in sent:
        node.client.write(value)
    network.run(1.0)
    for value in sent:
        node.client.write(value)
    network.run(1.0)
    assert data(server) == data(node) == sent * 2


# --- who does not read ---


def test_a_client_that_never_reads_is_cut_at_the_limit_and_others_are_served() -> None:
    network = VirtualNetwork(latency=0.01, window=64 * 1024)
    server = network.serve(limits=Limits(backlog=256 * 1024))
    slow, quick = network.connect("http://server", strategy=False), network.connect("http://server")
    network.run(1.0)
    slow.client.pause()
    network.run(1.0)
    for n in range(20):
        server.server.write([n, "x" * 32 * 1024])
        network.run(0.1)
    (cut,) = [event.spark for event in server.all(ev.SparkEnded)]
    assert cut.close_reason is not None
    assert cut.close_reason.kind == "backlog"
    assert [value[0] for value in data(quick)] == list(range(20))
    assert server.names[-4:] == [*SPARK_OVER[:-1], "messages dropped", "end"]
    slow.client.resume()
    network.run(60.0)
    assert slow.names[-1] == "end"
    assert len(server.server) == 1


def test_a_client_that_reads_again_drains() -> None:
    network = VirtualNetwork(latency=0.01, window=64 * 1024)
    server = network.serve()
    node = network.connect("http://server")
    network.run(1.0)
    (spark,) = server.server
    node.client.pause()
    network.run(0.1)
    count = 0
    while not spark.needs_drain:
        assert spark.write("x" * 10_000)
        count += 1
        network.run(0.0)
    assert spark.buffered > 512 * 1024
    node.client.resume()
    network.run(1.0)
    assert server.seen(ev.SparkDrained) == 1
    assert spark.buffered == 0
    assert len(data(node)) == count


# --- the server closes ---


@pytest.mark.parametrize(("reconnect", "last"), [(False, "end"), (True, "reconnect scheduled")])
def test_the_server_closes(reconnect: bool, last: str) -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    nodes = [network.connect("http://server") for _ in range(3)]
    network.run(1.0)
    server.server.close("bye", reconnect=reconnect)
    network.run(0.1)
    assert [data(node) for node in nodes] == [["bye"]] * 3
    assert [node.names[-1] for node in nodes] == [last] * 3
    assert server.names[-10:] == [*SPARK_OVER * 3, "close"]
    assert server.endpoint.channels == 0
    assert server.endpoint.next_timeout() is None


def test_the_server_closes_after_a_time_and_takes_nobody_new() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    node = network.connect("http://server")
    network.run(1.0)
    server.server.close("bye", timeout=10.0)
    network.run(1.0)
    late = network.connect("http://server", strategy=False)
    network.run(1.0)
    assert late.names[-1] == "end"
    assert server.seen(ev.SparkConnected) == 1
    node.client.write("still")
    network.run(5.0)
    assert data(server) == ["still"]
    assert node.names[-1] == "open"
    network.run(5.0)
    assert data(node) == ["bye"]
    assert node.names[-1] == "end"
    assert server.names[-4:] == [*SPARK_OVER, "close"]


def test_a_peer_that_does_not_close_is_not_waited_for_long() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    node = network.connect("http://server")
    network.run(1.0)
    network.freeze(node)
    server.server.close()
    network.run(4.9)
    assert server.names[-1] == "end"
    network.run(0.2)
    assert server.names[-1] == "close"
    assert server.endpoint.channels == 0
