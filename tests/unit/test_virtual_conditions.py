"""What a virtual network may be set to: a value that no line can have is refused where it is set, and says why."""

from __future__ import annotations

import math
from typing import Any

import pytest

from primus_proto import ConfigError
from primus_proto.testing import VirtualNetwork

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
