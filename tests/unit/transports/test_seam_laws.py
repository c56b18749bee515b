"""What an endpoint owes its transport, whichever that is: each thing once, and when it is time for it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from primus_proto import ByteClient, ClientConfig, ConnectError, Limits
from primus_proto.http.model import Answer
from primus_proto.transports.base import ClientHost, HeaderPairs
from primus_proto.transports.pipe import Pipe
from primus_proto.transports.registry import TRANSPORTS, Transport
from primus_proto.transports.websockets import WebSocketsServer
from tests.unit.sessions import polled
from tests.unit.wires import START, ClientWire, ServerWire


class Attempt:
    """Asks two questions at once, which travel on two connections; the first answer is the attempt's."""

    made: list[Attempt]

    def __init__(self, host: ClientHost, target: str, headers: HeaderPairs) -> None:
        self.host = host
        self.aborted = 0
        self.made.append(self)

    def start(self, *, now: float) -> None:
        for target in ("/a", "/b"):
            self.host.pool.request("GET", target, (), b"", self.answered, self.failed, now=now)

    def abort(self, *, now: float) -> None:
        self.aborted += 1

    def answered(self, answer: Answer, now: float) -> None:
        self.host.failed(ConnectError("not what was hoped for"), now=now)

    def failed(self, error: ConnectError, now: float) -> None:
        self.host.failed(error, now=now)


class Ending(WebSocketsServer):
    """Counts how often it is told that the server closes."""

    closed = 0

    def close(self, *, now: float) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempt, "made", [], raising=False)
    monkeypatch.setattr(Ending, "closed", 0)
    monkeypatch.setitem(TRANSPORTS, "odd", Transport(Ending, Attempt))


@pytest.mark.parametrize("how", ["end", "timeout", "destroy"])
def test_an_attempt_that_is_given_up_is_told_once_and_loses_its_connections(how: str) -> None:
    wire = ClientWire(transformer="odd", timeout=5.0, strategy=False)
    (attempt,) = Attempt.made
    assert [command.channel for command in wire.opening] == [1, 2]
    if how == "timeout":
        wire.run(5.0)
    else:
        getattr(wire.client, how)()
        wire.pump()
    wire.run(100.0)
    assert attempt.aborted == 1
    assert wire.closed == {1: True, 2: True}


def test_an_attempt_that_has_failed_loses_its_other_connections_and_is_not_told() -> None:
    wire = ClientWire(transformer="odd", strategy=False)
    (attempt,) = Attempt.made
    wire.endpoint.channel_closed(1, "refused", now=wire.now)
    wire.pump()
    assert wire.told()[-3:] == ["readyStateChange", "close", "end"]
    assert wire.closed.keys() == {1, 2}
    assert attempt.aborted == 0
    assert (wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, None)


def test_a_servers_transport_is_told_once_that_the_server_closes() -> None:
    wire = ServerWire(transformer="odd")
    wire.connect()
    wire.server.close()
    for _ in range(3):
        wire.pump()
    wire.server.close()
    wire.run(100.0)
    assert Ending.closed == 1


class Held(Pipe):
    """Lets out all at each flush, and says that there is room, to which the session says something."""

    def __init__(self, endpoint: ByteClient) -> None:
        super().__init__(endpoint.touch)
        self.endpoint = endpoint
        self.out: list[Any] = []

    def pause(self) -> None:
        """It is never paused here."""

    def resume(self) -> None:
        """See `pause`."""

    def flush(self, *, now: float) -> None:
        self.out += [message.payload for message in self.take_all()]
        if len(self.out) == 1:
            self.endpoint.client.write("more")


def test_what_is_written_while_a_pipe_is_flushed_is_flushed_after_it() -> None:
    endpoint = ByteClient(
        ClientConfig(url="http://server", dialect="happn", transformer="odd"), rng=random.Random(1), wall_offset=0.0
    )
    polled(endpoint, now=START)
    pipe = Held(endpoint)
    endpoint.opened(pipe, now=START)
    endpoint.client.write("first")
    for _ in range(3):
        polled(endpoint, now=START)
    assert pipe.out == ['"first"', '"more"']


# --- the question for the spec, beside the connection ---


@pytest.mark.parametrize("answering", [False, True])
def test_a_question_ends_with_the_connection_that_it_was_asked_on(answering: bool) -> None:
    """It is asked anew on the next one, and none may be forgotten, whose server never answers."""
    wire = ClientWire(dialect="auto", min=300.0, limits=Limits(handshake=50.0))
    channel = wire.channel
    question = wire.open()
    assert question == channel + 1
    if answering:
        assert wire.up().startswith(b"GET /primus/spec ")
    wire.eof(channel, "reset")
    assert wire.closed.keys() == {channel, question}
    assert wire.endpoint.channels == 0
    assert wire.endpoint.next_timeout() == START + 300.0
