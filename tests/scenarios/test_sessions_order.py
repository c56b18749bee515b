"""Whole sessions over a virtual network: what client and server tell, in order (protocol 4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConnectError, ReadyState
from primus_proto import events as ev
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer

LATENCY = 0.02
OPENED = ["rsc(opening)", "rsc(open)", "open"]
OVER = ["rsc(end)", "close", "end"]
LOST = ["rsc(end)", "close", "reconnect scheduled"]
REOPENED = ["reconnect", "rsc(opening)", "reconnected", "rsc(open)", "open"]
SPARK_OVER = ["readyStateChange", "disconnection", "end"]


class Stage:
    """A server, a client, and what was told since one last looked."""

    def __init__(self, *, serve: bool = True, server: dict[str, Any] | None = None, **options: Any) -> None:
        self.network = VirtualNetwork(latency=LATENCY)
        self.told_by: dict[object, int] = {}
        if serve:
            self.server = self.network.serve(**(server or {}))
        self.node = self.network.connect("http://server", **options)
        self.client = self.node.client
        if serve:
            self.network.run(1.0)

    def told(self, node: VirtualClient | VirtualServer | None = None) -> list[str]:
        node = node or self.node
        self.network.run(0.0)
        fresh = node.events[self.told_by.get(node, 0) :]
        self.told_by[node] = len(node.events)
        return [f"rsc({e.state})" if isinstance(e, ev.ReadyStateChanged) else e.name for _, e in fresh]

    def run(self, seconds: float) -> None:
        self.network.run(seconds)

    @property
    def spark(self) -> Any:
        (spark,) = self.server.server
        return spark


def test_nobody_listens() -> None:
    stage = Stage(serve=False, retries=2)
    stage.run(LATENCY * 2)
    assert stage.told() == ["rsc(opening)", "error", "rsc(end)", "reconnect scheduled"]
    stage.run(600.0)
    attempt = ["reconnect", "rsc(opening)", "rsc(end)"]
    assert stage.told() == [*attempt, "reconnect scheduled", *attempt, "reconnect failed", "end"]
    (error,) = stage.node.all(ev.ErrorOccurred)
    assert isinstance(error.error, ConnectError)
    assert "connection refused" in str(error.error)
    assert stage.node.endpoint.channels == 0
    assert stage.client.next_timeout() is None


def test_a_silent_server() -> None:
    stage = Stage(serve=False, retries=2)
    stage.network.freeze(stage.network.serve())
    stage.run(10.0)
    assert stage.told() == ["rsc(opening)", "timeout", "reconnect scheduled"]
    stage.run(600.0)
    attempt = ["reconnect", "reconnect timeout"]
    assert stage.told() == [*attempt, "reconnect scheduled", *attempt, "rsc(end)", "reconnect failed", "end"]
    assert stage.node.endpoint.channels == 0


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


def test_pong_timeout_then_the_network_heals() -> None:
    stage = Stage(ping=5.0, pong=2.0)
    stage.told()
    stage.told(stage.server)
    stage.network.freeze(stage.node)
    stage.run(6.5)
    assert stage.told() == ["offline", *LOST]
    stage.network.thaw(stage.node)
    stage.run(1.0)
    assert stage.told() == ["reconnect", "rsc(opening)", "reconnected", "online", "rsc(open)", "open"]
    told = stage.told(stage.server)
    assert sorted(told) == sorted(["heartbeat-skipped", "heartbeat", *SPARK_OVER, "connection"])


def test_refused_for_good() -> None:
    def refuse(server: VirtualServer, event: ev.Event) -> None:
        if isinstance(event, ev.RequestHeld):
            server.endpoint.resume(event.id, server.endpoint.server.refusal("no entry", status=403))

    network = VirtualNetwork()
    network.serve(authorization=True, on_event=refuse)
    node = network.connect("http://server")
    network.run(60.0)
    assert node.names == ["readyStateChange", "error", "readyStateChange", "close", "end"]
    (event,) = node.all(ev.ErrorOccurred)
    assert isinstance(event.error, ConnectError)
    assert (event.error.status, event.error.body) == (403, b'{"error":"no entry"}')
    assert ("Content-Type", "application/json") in event.error.headers
    assert node.all(ev.Ended)[0].reason.kind == "refused"
