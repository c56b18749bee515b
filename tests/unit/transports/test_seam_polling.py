"""The polling transport of the tests on the wire, and hosts with exchanges of their own."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

from primus_proto import Headers
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.model import Answer
from primus_proto.session.messages import MESSAGE_OVERHEAD, Message, ProtocolMessage
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.transports.base import ERROR_BODY, refusal_error
from primus_proto.transports.pipe import MessagePipe, Pipe
from primus_proto.transports.registry import TRANSPORTS
from tests.unit.exchanges import ForeignCarrier, ForeignExchange, foreign_request
from tests.unit.sessions import SlowPipe
from tests.unit.transports.polling_transport import POLLING, PollingOptions
from tests.unit.wires import HANDSHAKE, ServerWire


@pytest.fixture(autouse=True)
def _polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORTS, "polling", POLLING)


def world(**options: Any) -> tuple[VirtualNetwork, VirtualServer, VirtualClient]:
    network = VirtualNetwork(latency=0.01)
    server = network.serve(transformer="polling", **options)
    client = network.connect("http://server", transformer="polling", ping=False, dialect="happn")
    network.run(0.5)
    assert client.names[-1] == "open"
    return network, server, client


# --- a session over many channels ---


def test_a_session_outlives_its_channels() -> None:
    network, server, client = world()
    (spark,) = server.server
    channels = set()
    for number in range(20):
        client.client.write(number)
        spark.write(number)
        network.run(1)
        channels |= set(server.links)
        network.run(12)  # longer than an idle connection is kept
    assert len(channels) > 20
    assert [event.data for event in server.all(ev.SparkData)] == list(range(20))
    assert [event.data for event in client.all(ev.DataReceived)] == list(range(20))
    assert list(server.server) == [spark]
    assert max(len(links) for links in (server.links, client.links)) <= 2


def test_time_limits_of_its_own() -> None:
    network, server, client = world()
    network.run(600)
    assert server.seen(ev.SparkDisconnected) == 0
    answers = [line for line in network.trace if "server -> client1" in line]
    assert len(answers) == 600 // int(PollingOptions.hold)  # and the way there and back
    assert client.wakes == 0
    network.freeze(client)
    network.run(PollingOptions.hold + PollingOptions.absence + 1)
    (ended,) = server.all(ev.SparkDisconnected)
    assert str(ended.reason) == "lost (1006): the client stopped asking"
    assert server.endpoint.next_timeout() is None


# --- bytes ---


def open_session(peer: Any) -> str:
    """Open a session; the target of its requests."""
    reply = peer.ask("GET", "/primus?ping=false")
    assert reply.status == 200
    ((kind, sid),) = json.loads(reply.body)
    assert kind == "open"
    return f"/primus?sid={sid}"


def test_pipelined_polls() -> None:
    """An answer lets the next request in at once, which finds the session between two states."""
    wire = ServerWire(transformer="polling")
    peer = wire.accept()
    target = open_session(peer)
    (spark,) = wire.server
    peer.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode() * 3)
    for number in range(3):
        spark.write(number)
        wire.pump()
        assert json.loads(peer.reply().body) == [["text", str(number)]]
    wire.run(PollingOptions.absence + 0.1)
    assert wire.told()[-3:] == ["readyStateChange", "disconnection", "end"]
    assert wire.endpoint.next_timeout() == wire.now - PollingOptions.absence - 0.1 + 10  # the idle channel alone


# --- a host with exchanges of its own (ASGI, aiohttp) ---


def test_a_foreign_websocket() -> None:
    wire = ServerWire()

    def connect() -> ForeignCarrier:
        exchange = ForeignExchange(foreign_request("GET", "/primus?ping=false", HANDSHAKE))
        wire.endpoint.request(exchange, now=wire.now)
        assert exchange.carrier is not None
        return exchange.carrier

    carrier = connect()
    (spark,) = wire.server
    carrier.owner.received("1", now=wire.now)
    spark.write(2)
    spark.pause()
    spark.end(reconnect=True)
    wire.pump()
    assert carrier.done == ["pause", "2", "resume", (1000, "")]
    carrier.owner.received("too late", now=wire.now)
    carrier.owner.pinged(now=wire.now)
    carrier.owner.drained(now=wire.now)
    wire.run(5.1)
    assert carrier.done[-1] == "abort"
    assert wire.told() == ["connection", "readyStateChange", "disconnection", "end"]
    assert wire.endpoint.next_timeout() is None

    carrier = connect()
    (spark,) = wire.server
    spark.pipe.abort()
    spark.pipe.abort()
    wire.pump()
    assert carrier.done == ["abort"]


# --- what all pipes have in common ---


def test_a_pipe_closes_once_and_drops_what_it_held() -> None:
    dirty: list[Pipe] = []
    pipe = SlowPipe(dirty.append)
    pipe.send(Message("one"))
    pipe.send(Message("two"))
    assert (len(dirty), pipe.buffered) == (1, 2 * (MESSAGE_OVERHEAD + 3))
    pipe.take()
    assert pipe.buffered == MESSAGE_OVERHEAD + 3
    pipe.close(4000, "first")
    pipe.close(4001, "second")
    assert pipe.ending == (4000, "first")
    pipe.abort()
    assert (pipe.ending, pipe.aborted) == ((4000, "first"), True)
    pipe.send(ProtocolMessage("the protocol's own"))
    pipe.send(Message(b"three"))
    assert pipe.withdraw() == ("two", b"three")
    assert (pipe.take_all(), pipe.buffered, pipe.withdraw()) == ([], 0, ())
    aborted = SlowPipe()
    aborted.abort()
    assert aborted.ending == (1006, "")


def test_the_pipe_of_the_message_seam_ends_once() -> None:
    for end in (MessagePipe.close, MessagePipe.abort):
        commands: deque[cmd.MessageCommand[Any]] = deque()
        pipe = MessagePipe(commands, lambda pipe: None)
        pipe.pause()
        end(pipe)
        ended = list(commands)
        pipe.close()
        pipe.abort()
        pipe.send(Message("too late"))
        assert list(commands) == ended


def test_an_unwelcome_answer_is_kept_in_part() -> None:
    error = refusal_error(Answer(403, Headers([("A", "b")]), b"x" * (ERROR_BODY + 1)))
    assert (error.status, error.headers, len(error.body)) == (403, (("A", "b"),), ERROR_BODY)


def test_an_answer_that_does_not_know_the_open_session() -> None:
    error = refusal_error(Answer(400, Headers(), b'{"code":1,"message":"Session ID unknown"}'), opened=True)
    assert "do all requests reach the same process? (it said: Session ID unknown)" in str(error)
