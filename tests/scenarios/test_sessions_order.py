"""The order of events where the application acts in the middle of it (protocol 4.2).

The orders themselves are those of the recordings (test_golden.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ReadyState
from primus_proto import events as ev
from primus_proto.testing import VirtualNetwork

LATENCY = 0.02
OVER = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
REOPENED = ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]


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
        return [f"rsc({e.state})" if isinstance(e, ev.ReadyStateChanged) else e.name for _, e in fresh]

    def run(self, seconds: float) -> None:
        self.network.run(seconds)

    @property
    def spark(self) -> Any:
        (spark,) = self.server.server
        return spark


def test_end_at_every_stage_of_a_reconnect() -> None:
    for pause, before, after in (
        (0.1, LOST, ["end"]),
        (0.51, [*LOST, "reconnect", "rsc(opening)"], OVER),
        (0.55, [*LOST, "reconnect", "rsc(opening)"], OVER),
    ):
        stage = Stage()
        stage.told()
        stage.network.drop(stage.node)
        stage.run(pause)
        assert stage.told() == before
        stage.client.end()
        assert stage.told() == after
        stage.run(3600)
        assert stage.told() == []
        assert len(stage.server.server) == 0
        assert stage.server.endpoint.channels == stage.node.endpoint.channels == 0


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


def test_end_at_the_very_moment_of_opening() -> None:
    """Between the answer's arrival and the application's word there is no pump: nothing may be left behind."""
    network = VirtualNetwork(latency=LATENCY)
    server = network.serve()
    node = network.connect("http://server")
    answers: list[bytes] = []
    endpoint = node.endpoint
    receive = endpoint.receive_data

    def end_just_before(channel: int, data: Any, *, now: float) -> None:
        if not answers:
            node.client.end()
            node.client.open()
        answers.append(bytes(data))
        receive(channel, data, now=now)

    endpoint.receive_data = end_just_before  # type: ignore[method-assign]
    network.run(1.0)
    assert answers[0].startswith(b"HTTP/1.1 101 ")
    assert node.client.ready_state is ReadyState.OPEN
    assert len(server.server) == 1
    assert endpoint.channels == server.endpoint.channels == 1
    for spark in server.server:
        spark.write("once")
    network.run(1.0)
    assert [event.data for event in node.all(ev.DataReceived)] == ["once"]
