"""Sessions over many channels, hosts with exchanges of their own, and what all pipes have in common."""

from __future__ import annotations

from collections import deque
from typing import Any

from primus_proto import Headers
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.model import Answer
from primus_proto.session.messages import MESSAGE_OVERHEAD, Message, ProtocolMessage
from primus_proto.testing import VirtualNetwork
from primus_proto.transports.base import ERROR_BODY, refusal_error
from primus_proto.transports.pipe import MessagePipe, Pipe
from tests.unit.exchanges import ForeignCarrier, ForeignExchange, foreign_request
from tests.unit.sessions import SlowPipe
from tests.unit.wires import HANDSHAKE, ServerWire

# --- a session over many channels ---


def test_a_session_outlives_its_channels() -> None:
    way: dict[str, Any] = {"transformer": "engine.io", "transport": {"transports": ["polling"]}}
    network = VirtualNetwork(latency=0.01)
    server = network.serve(**way)
    client = network.connect("http://server", ping=False, dialect="happn", **way)
    network.run(0.5)
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
