"""The order of events where the application acts in the middle of it (protocol 4.2).

The orders themselves are those of the recordings (test_golden.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ReadyState
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork
from tests.unit.sessions import LOST, OVER, REOPENED, story

LATENCY = 0.02


class Stage:
    """A server, a client, and the events of the client since the last look."""

    def __init__(self, **options: Any) -> None:
        self.network = VirtualNetwork(latency=LATENCY)
        self.server = self.network.serve()
        self.node = self.network.connect("http://server", **options)
        self.client = self.node.client
        self.network.run(1.0)
        self.seen = 0

    def told(self) -> list[str]:
        self.network.run(0.0)
        fresh = self.node.events[self.seen :]
        self.seen = len(self.node.events)
        return story(event for _, event in fresh)

    def run(self, seconds: float) -> None:
        self.network.run(seconds)

    @property
    def spark(self) -> Any:
        (spark,) = self.server.server
        return spark


@pytest.mark.parametrize("name", ["readyStateChange", "close", "reconnect scheduled"])
def test_an_end_in_a_listener_of_a_loss_is_the_end(name: str) -> None:
    stage = Stage()
    stage.told()
    stage.node.on(name, lambda *about: stage.client.end())
    stage.spark.end(reconnect=True)
    stage.run(60)
    assert stage.told() == [*LOST, "end"]


@pytest.mark.parametrize("name", ["reconnected", "readyStateChange", "open"])
def test_an_end_in_a_listener_of_a_success_comes_after_all_of_it(name: str) -> None:
    stage = Stage()
    stage.spark.end(reconnect=True)
    stage.run(0.1)
    stage.told()

    def listener(*about: object) -> None:
        if stage.client.ready_state is ReadyState.OPEN:
            stage.client.end()

    stage.node.on(name, listener)
    stage.run(60)
    assert stage.told() == [*REOPENED, *OVER]


def test_what_a_listener_of_the_open_state_writes_comes_after_what_was_queued() -> None:
    stage = Stage(manual=True)
    stage.node.on("readyStateChange", lambda state: state == "open" and stage.client.write("behind"))
    stage.client.write("queued")
    stage.client.open()
    stage.run(1.0)
    assert [event.data for event in stage.server.all(ev.SparkData)] == ["queued", "behind"]
