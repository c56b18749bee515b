"""What the scenarios and properties share: a network told of when they fail, and what travels in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import note

from primus_proto import Spark
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer


@contextmanager
def told(network: VirtualNetwork) -> Iterator[None]:
    """Whatever goes wrong in here, the network's trace stands beside it."""
    try:
        yield
    except BaseException:
        note(network.story(80))
        raise


@contextmanager
def said_by_sparks() -> Iterator[Counter[str]]:
    """Counts the protocol messages that sparks send, by name."""
    counter: Counter[str] = Counter()
    say = Spark.say

    def counted(spark: Spark, name: str, value: str) -> None:
        counter[name] += 1
        say(spark, name, value)

    with patch.object(Spark, "say", counted):
        yield counter


def session(network: VirtualNetwork, **options: Any) -> tuple[VirtualServer, VirtualClient]:
    """A server and a client of it, open. Skips that are allowed: `allowed`; the rest is the client's."""
    server = network.serve(allow_skipped_heartbeats=options.pop("allowed", 2))
    client = network.connect("http://server", **{"dialect": "happn", "timeout": False, **options})
    network.run_until(lambda: client.seen(ev.Opened) == 1)
    return server, client


def data(node: VirtualClient | VirtualServer) -> list[Any]:
    return [event.data for _, event in node.events if isinstance(event, ev.DataReceived | ev.SparkData)]


def when(node: VirtualClient | VirtualServer, kind: type[ev.Event]) -> list[float]:
    """The times of the events of a class."""
    return [time for time, event in node.events if isinstance(event, kind)]
