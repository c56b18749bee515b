"""How deliveries travel on a virtual network: latency, jitter and bandwidth, in order."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from primus_proto import ConfigError, LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.testing.virtual import data, pair, times

BAD: dict[str, list[Any]] = {
    "latency": [-0.1, math.inf, math.nan, "0.1", None, (0.1, -0.1), (0.1,), (0.1, 0.1, 0.1)],
    "jitter": [-0.1, math.inf, math.nan, "0.1", None, (0.1, 0.1)],
    "bandwidth": [0, -1, math.inf, math.nan, "fast", (0, 100), (None, -1), (1, 2, 3)],
    "cut": [0, -1, 1.5, "3"],
    "window": [0, -1, 1.5, math.inf],
}


# --- settings ---


@pytest.mark.parametrize("name", BAD)
def test_impossible_values_are_refused_and_change_nothing(name: str) -> None:
    network = VirtualNetwork(latency=(0.5, 1.0), jitter=0.5, bandwidth=(100, None))
    before = repr(network)
    for value in BAD[name]:
        with pytest.raises(ConfigError, match=f"^{name} ") as caught:
            VirtualNetwork(**{name: value})
        assert repr(value) in str(caught.value)
        if name not in ("cut", "window"):
            with pytest.raises(ConfigError, match=f"^{name} "):
                setattr(network, name, value)
    assert repr(network) == before


@pytest.mark.parametrize("name", ["bandwith", "cut"])
def test_a_misspelt_or_fixed_setting_is_an_error(name: str) -> None:
    network = VirtualNetwork()
    network.connect("http://server")
    for conditions in (network, network.line("client1")):
        with pytest.raises(AttributeError, match=name):
            setattr(conditions, name, 5)


def test_repr_makes_the_network_again() -> None:
    assert repr(VirtualNetwork()) == "VirtualNetwork(seed=0)"
    shown = "VirtualNetwork(seed=7, latency=(0.05, 0.1), jitter=0.2, bandwidth=1000, cut=3, window=4096)"
    assert repr(eval(shown)) == shown


# --- effects ---


def test_nothing_overtakes_when_the_network_becomes_faster() -> None:
    network = VirtualNetwork(latency=1 / 64)
    server, client = pair(network)
    network.latency = 1.0
    client.write("slow")
    network.run(0.5)
    network.latency = 0.0
    client.write("fast")
    network.run(2)
    assert data(server) == ["slow", "fast"]


def test_jitter_comes_from_the_seed_and_never_reorders() -> None:
    def arrivals(seed: int) -> list[float]:
        network = VirtualNetwork(seed=seed, latency=0.1, jitter=0.5)
        server, client = pair(network)
        for number in range(50):
            client.write(number)
            network.run(0.125)
        network.run(1.0)
        assert data(server) == list(range(50))
        arrived = times(server, ev.SparkData)
        assert all(later >= earlier for earlier, later in pairwise(arrived))
        assert len({round(when - 0.125 * number, 6) for number, when in enumerate(arrived)}) > 10
        return arrived

    assert arrivals(1) == arrivals(1) != arrivals(2)


def test_a_large_message_on_a_slow_line_delays_what_is_behind_it() -> None:
    network = VirtualNetwork(latency=0.5, bandwidth=(1000.0, None))
    server, client = pair(network, ping=False)
    (spark,) = server.server
    start = network.now
    client.write("before")
    client.write("x" * 9984)  # 10,000 bytes with its quotes and the head of the frame
    client.write("after")
    spark.write("down")
    network.run(60.0)
    before, large, after = (when - start for when in times(server, ev.SparkData))
    assert before < 0.5 + 1.5, "less than one packet"
    assert large == pytest.approx(0.5 + 10.0, abs=0.05)
    assert after == pytest.approx(large, abs=0.02)
    assert times(client, ev.DataReceived) == [start + 0.5], "the other direction has no limit"
    network.bandwidth = None
    start = network.now
    client.write("x" * 100_000)
    network.run(60.0)
    assert times(server, ev.SparkData)[-1] == start + 0.5


def test_an_idle_line_has_no_debt() -> None:
    network = VirtualNetwork(bandwidth=1000.0)
    server, client = pair(network, ping=False)
    for number in range(3):
        network.run(100.0 - network.now % 100.0)
        client.write(str(number) * (1000 - 10))
    network.run(60.0)
    assert [round(when % 100.0, 2) for when in times(server, ev.SparkData)] == [1.0, 1.0, 1.0]


# --- the conditions of one node ---


def test_one_client_can_be_slower_than_the_others() -> None:
    network = VirtualNetwork(latency=0.5)
    server = network.serve(dialect="happn")
    slow, fast = (network.connect("http://server", dialect="happn") for _ in range(2))
    network.run(5)
    network.line(slow).bandwidth = (None, 1000)
    network.line("client1").latency = (0.5, 1.0)
    network.latency = 0.25
    assert network.bandwidth is None
    start = network.now
    server.write("x" * 9994)  # 10,000 bytes with its quotes and the head of the frame
    network.run(60)
    took = [round(times(client, ev.DataReceived)[0] - start, 6) for client in (slow, fast)]
    assert took == [11.0, 0.25]


def test_the_conditions_of_a_client_come_before_those_of_its_server() -> None:
    network = VirtualNetwork()
    server = network.serve(dialect="happn")
    network.line(server).latency = 2.0
    one, other = (network.connect("http://server", dialect="happn") for _ in range(2))
    network.line(other).latency = 1.0
    network.run(20)
    opened = [times(node, ev.Opened)[0] for node in (one, other)]
    assert opened == [8.0, 5.0]  # the other's first packet left before it had its own conditions
    with pytest.raises(ConfigError, match=r"^jitter "):
        network.line(one).jitter = -1.0
    with pytest.raises(LocalProtocolError, match="is, or is called, 'nobody'; there are: "):
        network.line("nobody")
