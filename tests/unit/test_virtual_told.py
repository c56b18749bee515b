"""Who on the virtual network is asked what there is to do: whoever was told something, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.testing.nodes import VirtualEndpoint
from tests.unit.sessions import polled

VERBS_OF_A_CLIENT: dict[str, Callable[[VirtualClient], object]] = {
    "write": lambda node: node.client.write(1),
    "request_id": lambda node: node.client.request_id(),
    "pause": lambda node: node.client.pause(),
    "end": lambda node: node.client.end(),
    "destroy": lambda node: node.client.destroy(),
    "network_offline": lambda node: node.client.network_offline(),
}
VERBS_OF_A_SERVER: dict[str, Callable[[VirtualServer, Spark], object]] = {
    "write": lambda node, spark: spark.write(1),
    "end": lambda node, spark: spark.end(),
    "pause": lambda node, spark: spark.pause(),
    "broadcast": lambda node, spark: node.server.write(1),
    "close": lambda node, spark: node.server.close(),
    "close later": lambda node, spark: node.server.close(timeout=5.0),
}


class Pair:
    """A server and a client, in touch and with nothing to do."""

    def __init__(self, **options: Any) -> None:
        self.network = VirtualNetwork(latency=0.01)
        self.server = self.network.serve(**options)
        self.client = self.network.connect("http://server", dialect="happn")
        self.network.run(1.0)

    @property
    def spark(self) -> Spark:
        (spark,) = self.server.server
        return spark

    def noticed(self, node: VirtualEndpoint, verb: Callable[[], object]) -> None:
        """That `verb` gives this node something to do, that it is done at once, and who is done has nothing to do."""
        before = node._told
        verb()
        assert (before, node._told) == (False, True)
        while self.network.step(self.network.now):
            pass
        for one in (self.server, self.client):
            assert not one._told
            assert polled(one.endpoint, now=self.network.now) == ([], [])
            assert one.alarm == one.endpoint.next_timeout()


@pytest.mark.parametrize("verb", VERBS_OF_A_CLIENT)
def test_whatever_is_called_on_a_client_is_noticed(verb: str) -> None:
    pair = Pair()
    pair.noticed(pair.client, lambda: VERBS_OF_A_CLIENT[verb](pair.client))


@pytest.mark.parametrize("verb", VERBS_OF_A_SERVER)
def test_whatever_is_called_on_a_server_is_noticed(verb: str) -> None:
    pair = Pair()
    pair.noticed(pair.server, lambda: VERBS_OF_A_SERVER[verb](pair.server, pair.spark))


def test_what_undoes_it_is_noticed_too() -> None:
    pair = Pair()
    client = pair.client.client
    pair.noticed(pair.client, client.pause)
    pair.noticed(pair.client, client.resume)
    pair.noticed(pair.server, pair.spark.pause)
    pair.noticed(pair.server, pair.spark.resume)
    pair.noticed(pair.client, client.network_offline)
    pair.noticed(pair.client, client.network_online)
    pair.network.run(5.0)
    pair.noticed(pair.client, client.end)
    pair.noticed(pair.client, client.open)


def test_a_server_that_nobody_is_connected_to_closes_at_once() -> None:
    pair = Pair()
    pair.client.end()
    pair.network.run(1.0)
    pair.noticed(pair.server, pair.server.server.close)
    assert pair.server.names[-1] == "close"


@pytest.mark.parametrize("accept", [True, False])
def test_what_is_decided_of_a_request_is_noticed(accept: bool) -> None:
    pair = Pair(authorization=True)
    [request] = pair.server.all(ev.RequestHeld)
    endpoint = pair.server.endpoint
    answer = None if accept else endpoint.server.refusal("no")
    pair.noticed(pair.server, lambda: endpoint.resume(request.id, answer))
    pair.network.run(1.0)
    assert pair.client.names[-1] == ("open" if accept else "end")


def test_they_do_it_in_the_order_they_came_and_round_again() -> None:
    network = VirtualNetwork(latency=0.01)
    network.serve()
    one, two, three = (network.connect("http://server") for _ in range(3))
    network.run(1.0)
    for node in (three, one):
        two.on("end", node.end)
    ended: list[VirtualClient] = []
    for node in (one, two, three):
        node.on("end", lambda node=node: ended.append(node))
    two.end()
    network.run(0.0)
    assert ended == [two, three, one]


def test_nobody_is_asked_amid_what_it_does() -> None:
    """A listener loses a connection, by which others have something to do at once, and perhaps its own node."""
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    one, two = (network.connect("http://server") for _ in range(2))
    network.run(1.0)
    order: list[str] = []

    def heard(data: Any) -> None:
        order.append(f"{data} begins")
        network.drop(two)
        one.write("answer")
        network.drop(two)
        order.append(f"{data} ends")

    one.on("data", heard)
    for value in (1, 2):
        server.write(value)
    network.run(0.015)
    assert order == ["1 begins", "1 ends", "2 begins", "2 ends"]
    assert two.seen(ev.Closed) == 1, "at once"


def test_who_has_raised_goes_on_when_time_does() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    client = network.connect("http://server")
    network.run(1.0)
    client.on("readyStateChange", lambda state: 1 // 0)
    client.end()
    with pytest.raises(ZeroDivisionError):
        network.step(network.now)
    while network.step(network.now + 0.1):
        pass
    assert server.seen(ev.SparkDisconnected) == 1
