"""The virtual network: time, addresses, delivery, and that a run repeats."""

from __future__ import annotations

import math
from typing import Any

import pytest

from primus_proto import LocalProtocolError, ServerConfig
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.testing.virtual import OPENED, data, pair

LOST = ["readyStateChange", "close", "reconnect scheduled"]


# --- time ---


def test_time_moves_only_in_run_and_exactly_as_far() -> None:
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


def test_run_until_shows_the_trace_if_the_condition_never_holds() -> None:
    network = VirtualNetwork(seed=5)
    _, client = pair(network)
    with pytest.raises(AssertionError, match=r"(?s)never held:\nVirtualNetwork\(seed=5\).*client1: Opened\(\)"):
        network.run_until(lambda: client.seen(ev.Closed) > 0, limit=10)
    with pytest.raises(AssertionError, match="never held"):
        VirtualNetwork().run_until(lambda: False)  # nothing at all is due


def test_an_endless_loop_at_one_instant_is_noticed() -> None:
    network = VirtualNetwork()

    def again() -> None:
        network.call_at(network.now, again)

    again()
    with pytest.raises(AssertionError, match=r"time stands still:\nVirtualNetwork\(seed=0\)"):
        network.run(1.0)


# --- wrong arguments ---


async def asynchronous(*args: object) -> bool:
    return False


NO_TIME: list[Any] = ["5", math.nan, math.inf, None]
WRONG = [
    *[("run", (seconds,), "time passes by a finite number of seconds") for seconds in (-5.0, math.nan, math.inf)],
    *[("run_until", (bool, limit), "time passes by a finite number of") for limit in (-5.0, math.nan, math.inf)],
    *[("call_at", (when, print), "a time is a finite number of seconds") for when in NO_TIME],
    *[("jump", (seconds,), "a clock jumps by a finite number of seconds") for seconds in NO_TIME],
    ("call_at", (1.0, asynchronous), "what is called at a time must be a plain function"),
    ("run_until", (asynchronous,), "the condition must be a plain function"),
    ("serve", ("server:80",), "config is a ServerConfig; an address goes into host= and port="),
    ("serve", (), "on_event must be a plain function"),
    ("connect", ("http://server",), "on_event must be a plain function"),
]


@pytest.mark.parametrize(("method", "arguments", "message"), WRONG)
def test_wrong_arguments_are_refused_and_change_nothing(method: str, arguments: Any, message: str) -> None:
    network = VirtualNetwork()
    options = {"on_event": asynchronous} if "on_event" in message else {}
    with pytest.raises(LocalProtocolError, match=message):
        getattr(network, method)(*arguments, **options)
    assert (network.now, network.wall_offset, network.trace) == (0.0, 1_700_000_000.0, [])
    network.run(10)


# --- addresses ---


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


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", ""])
@pytest.mark.parametrize(
    ("target", "ip"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("elsewhere", None)]
)
def test_all_names_of_localhost_are_one_host(host: str, target: str, ip: str | None) -> None:
    network = VirtualNetwork()
    server = network.serve(host=host)
    client = network.connect(f"http://{target}", strategy=False)
    network.run(1)
    assert [event.spark.address.ip for event in server.all(ev.SparkConnected)] == [ip] * (ip is not None)
    assert client.seen(ev.Opened) == (ip is not None)


def test_connections_are_refused_where_nobody_listens() -> None:
    network = VirtualNetwork()
    client = network.connect("http://nobody", strategy=False)
    network.run(1)
    assert str(client.all(ev.ErrorOccurred)[0].error) == "connection refused"
    assert (client.links, network.links) == ({}, {})


# --- delivery ---


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_cutting_the_bytes_changes_no_event(cut: int) -> None:
    def events(cut: int | None) -> list[str]:
        network = VirtualNetwork(latency=0.01, cut=cut)
        server, client = pair(network)
        client.write("x" * 300)
        network.run(1)
        sizes = [int(line.split()[-2]) for line in network.trace if line.endswith(" bytes")]
        assert cut is None or max(sizes) <= cut
        assert data(server) == ["x" * 300]
        return [*server.names, *client.names]

    assert events(cut) == events(None)


@pytest.mark.parametrize("seconds", [1, 5.1])
def test_a_paused_client_reads_everything_in_order_unless_the_connection_is_reset(seconds: float) -> None:
    network = VirtualNetwork()
    server, client = pair(network)
    (spark,) = server.server
    client.client.pause()
    network.run(0)
    for value in (1, 2):
        spark.write(value)
        network.run(0)
    spark.end(reconnect=True)
    network.run(seconds)
    reset = seconds > 5  # that is how long the server waits for the client to close
    assert client.names == [*OPENED, *(LOST if reset else [])]
    client.client.resume()
    network.run(0)
    assert client.names == [*OPENED, *([] if reset else ["data", "data"]), *LOST]


def test_later_nodes_follow_a_jump_of_all_clocks() -> None:
    network = VirtualNetwork(wall_offset=0.0)
    early = network.connect("http://server", skew=2.0)
    network.jump(100.0)
    late = network.connect("http://server", skew=1.0)
    assert (early.client.epoch(0.0), late.client.epoch(0.0)) == (102.0, 101.0)
