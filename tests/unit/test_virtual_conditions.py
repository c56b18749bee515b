"""What a virtual network may be set to: a value that no line can have is refused where it is set, and says why."""

from __future__ import annotations

import math
from typing import Any

import pytest

from primus_proto import ConfigError, LocalProtocolError
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork

BAD: dict[str, list[Any]] = {
    "latency": [-0.1, math.inf, math.nan, "0.1", None, (0.1, -0.1), (0.1,), (0.1, 0.1, 0.1)],
    "jitter": [-0.1, math.inf, math.nan, "0.1", None, (0.1, 0.1)],
    "bandwidth": [0, -1, math.inf, math.nan, "fast", (0, 100), (None, -1), (1, 2, 3)],
    "cut": [0, -1, 1.5, "3"],
    "window": [0, -1, 1.5, math.inf],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_what_cannot_be_is_refused_when_it_is_made(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name} ") as caught:
        VirtualNetwork(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["latency", "jitter", "bandwidth"])
def test_what_cannot_be_is_refused_when_it_is_set_and_changes_nothing(name: str) -> None:
    network = VirtualNetwork(latency=(0.5, 1.0), jitter=0.5, bandwidth=(100, None))
    before = getattr(network, name)
    for value in BAD[name]:
        with pytest.raises(ConfigError, match=f"^{name} "):
            setattr(network, name, value)
    assert getattr(network, name) == before


def test_what_can_be() -> None:
    network = VirtualNetwork(latency=(0, 1.5), jitter=0, bandwidth=(None, 100.5), cut=1, window=1)
    network.latency, network.jitter, network.bandwidth = 1, 0.5, None
    assert (network.latency, network.jitter, network.bandwidth) == (1, 0.5, None)


def test_it_is_shown_as_it_can_be_made_again() -> None:
    assert repr(VirtualNetwork()) == "VirtualNetwork(seed=0)"
    network = VirtualNetwork(seed=7, latency=(0.05, 0.1), jitter=0.2, bandwidth=1000, cut=3, window=4096)
    shown = "VirtualNetwork(seed=7, latency=(0.05, 0.1), jitter=0.2, bandwidth=1000, cut=3, window=4096)"
    assert repr(network) == shown
    assert repr(eval(shown)) == shown


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
    server.write("x" * 9994)  # and quotes, and a frame's head of 4
    network.run(60)

    def took(client: VirtualClient) -> float:
        return round(next(when for when, event in client.events if isinstance(event, ev.DataReceived)) - start, 6)

    assert (took(slow), took(fast)) == (11.0, 0.25)


def test_a_servers_own_line_gives_way_to_its_clients() -> None:
    network = VirtualNetwork()
    server = network.serve(dialect="happn")
    network.line(server).latency = 2.0
    one, other = (network.connect("http://server", dialect="happn") for _ in range(2))
    network.line(other).latency = 1.0
    network.run(20)
    opened = [next(when for when, event in node.events if isinstance(event, ev.Opened)) for node in (one, other)]
    assert opened == [8.0, 5.0]  # the other one's first way was begun before it had its own
    with pytest.raises(ConfigError, match=r"^jitter "):
        network.line(one).jitter = -1.0
    with pytest.raises(LocalProtocolError, match="is, or is called, 'nobody'; there are: "):
        network.line("nobody")


@pytest.mark.parametrize("name", ["bandwith", "cut", "window"])
def test_what_cannot_be_set_is_not_set_in_vain(name: str) -> None:
    network = VirtualNetwork()
    network.connect("http://server")
    for conditions in (network, network.line("client1")):
        with pytest.raises(AttributeError, match=name):
            setattr(conditions, name, 5)
