"""What the tests of the virtual network share."""

from __future__ import annotations

from typing import Any

from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer

__all__ = ["OPENED", "connected", "data", "echo", "pair", "times"]

OPENED = ["readyStateChange", "readyStateChange", "open"]


def echo(server: VirtualServer, event: ev.Event) -> None:
    """An application that sends everything back."""
    if isinstance(event, ev.SparkData):
        event.spark.write(event.data)


def pair(network: VirtualNetwork, **options: Any) -> tuple[VirtualServer, VirtualClient]:
    """A server and a client of it, open. The options are the client's."""
    server = network.serve()
    client = network.connect("http://server", **{"dialect": "happn", **options})
    network.run_until(lambda: client.seen(ev.Opened) == 1)
    return server, client


def connected(**options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    """A network and an open pair on it. The options are the network's."""
    network = VirtualNetwork(latency=0.01, **options)
    return network, *pair(network, ping=5.0, pong=2.0)


def data(node: VirtualServer | VirtualClient) -> list[Any]:
    """The values that a node received."""
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


def times(node: VirtualServer | VirtualClient, kind: type[ev.Event]) -> list[float]:
    """When a node saw the events of a class."""
    return [when for when, event in node.events if isinstance(event, kind)]
