"""The polling transport of the tests on the wire, and hosts with exchanges of their own."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

from primus_proto import Headers, Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.commands import Abort, Close, Pause, Resume, SendMessage
from primus_proto.http.model import Answer
from primus_proto.session.messages import Message, ProtocolMessage
from primus_proto.testing import VirtualClient, VirtualNetwork, VirtualServer
from primus_proto.transports.base import ERROR_BODY, refusal_error
from primus_proto.transports.pipe import MessagePipe, Pipe
from primus_proto.transports.registry import TRANSPORTS
from tests.unit.exchanges import ForeignCarrier, ForeignExchange, foreign_request
from tests.unit.transports.polling_transport import POLLING, SESSIONS, PollingOptions
from tests.unit.wires import HANDSHAKE, Reply, ServerWire


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


def test_one_broken_channel_of_two() -> None:
    """The server's side of a session waits for the client to ask again; the client's side takes it for lost."""
    wire = ServerWire(transformer="polling")
    getter, poster = wire.accept(), wire.accept()
    target = open_session(getter)
    getter.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
    getter.eof("reset")
    assert poster.ask("POST", target, body=b'[["text","1"]]').status == 204
    (spark,) = wire.server
    spark.write("kept")
    wire.run(PollingOptions.absence - 0.1)
    getter = wire.accept()
    assert json.loads(getter.ask("GET", target).body) == [["text", '"kept"']]
    assert wire.told()[-2:] == ["connection", "data"]


# --- bytes ---


def open_session(peer: Any) -> str:
    """Open a session; the target of its requests."""
    reply = peer.ask("GET", "/primus?ping=false")
    assert reply.status == 200
    ((kind, sid),) = json.loads(reply.body)
    assert kind == "open"
    return f"/primus?sid={sid}"


def test_what_a_session_answers() -> None:
    wire = ServerWire(transformer="polling", limits=Limits(message=1000))
    peer, other = wire.accept(), wire.accept()
    target = open_session(peer)
    (spark,) = wire.server
    assert spark.pipe.transport == "polling"
    for method, path, status in (
        ("POST", "/primus", 405),
        ("GET", "/primus/x", 404),
        ("GET", "/primus?sid=guess", 404),
        ("GET", "/primus/spec", 200),
    ):
        assert other.ask(method, path).status == status
    assert other.ask("POST", target, body=b'[["text","1"],["binary","AAE="],["text","2"]]').status == 204
    assert [event.data for event in wire.all(ev.SparkData)] == [1, b"\x00\x01", 2]
    spark.write("x")
    spark.write("y")
    wire.pump()
    assert json.loads(peer.ask("GET", target).body) == [["text", '"x"'], ["text", '"y"']]
    assert other.ask("POST", target, headers={"Content-Length": "2001"}).status == 413
    assert len(wire.server) == 1


@pytest.mark.parametrize("body", [b"", b"\xff", b"nonsense", b"{}", b"[1]", b'[["what"]]', b'[["text",1]]', b"[[]]"])
def test_a_peer_that_breaks_the_transports_rules(body: bytes) -> None:
    wire = ServerWire(transformer="polling")
    peer, other = wire.accept(), wire.accept()
    target = open_session(peer)
    wire.told()
    assert other.ask("POST", target, body=body).status in (204, 400)
    assert wire.told() == ["error", "log", "readyStateChange", "disconnection", "end"]
    assert other.ask("GET", target).status == 404


def test_a_session_that_is_paused_holds_its_posts() -> None:
    wire = ServerWire(transformer="polling")
    peer, other = wire.accept(), wire.accept()
    target = open_session(peer)
    (spark,) = wire.server
    spark.pause()
    other.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" % target.encode() + b'[["text","1"]]')
    assert wire.take(other.channel) == b""
    spark.resume()
    wire.pump()
    assert other.reply().status == 204


def test_a_second_get_takes_the_place_of_the_first() -> None:
    wire = ServerWire(transformer="polling")
    peer, other = wire.accept(), wire.accept()
    target = open_session(peer)
    get = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode()
    peer.send(get)
    other.send(get)
    assert peer.reply().body == b"[]"
    assert wire.take(other.channel) == b""


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


def test_sessions_are_bounded() -> None:
    wire = ServerWire(transformer="polling")
    for _ in range(SESSIONS):
        open_session(wire.accept())
    assert wire.accept().ask("GET", "/primus").status == 503
    wire.run(PollingOptions.absence + 0.1)
    assert len(wire.server) == 0
    open_session(wire.accept())


def test_the_peer_leaves_while_its_session_is_being_decided() -> None:
    wire = ServerWire(transformer="polling", authorization="all")
    peer = wire.accept()
    peer.send(b"POST /primus?sid=x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
    assert wire.told() == []
    assert peer.reply().status == 404
    peer = wire.accept()
    peer.send(b"GET /primus HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.endpoint.resume(1)
    wire.pump()
    ((_, sid),) = json.loads(peer.reply().body)
    peer = wire.accept()
    peer.send(b"POST /primus?sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" % sid.encode())
    assert wire.endpoint.resume(2)
    peer.eof()
    assert wire.endpoint.next_timeout() == wire.now + PollingOptions.absence
    peer = wire.accept()
    peer.send(b'POST /primus?sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n[["text","1"]]' % sid.encode())
    wire.server.close(timeout=1)
    wire.pump()
    assert wire.take(peer.channel) == b""  # a session's own request is not turned away
    assert wire.endpoint.resume(3)
    wire.pump()
    assert peer.reply().status == 204
    assert [event.data for event in wire.all(ev.SparkData)] == [1]


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


def test_polling_over_foreign_exchanges() -> None:
    wire = ServerWire(transformer="polling")

    def answer(method: str, target: str, body: bytes = b"") -> Reply:
        exchange = ForeignExchange(foreign_request(method, target), body)
        wire.endpoint.request(exchange, now=wire.now)
        wire.pump()
        assert exchange.answer is not None
        return exchange.answer

    ((_, sid),) = json.loads(answer("GET", "/primus?ping=false").body)
    (spark,) = wire.server
    assert spark.id == sid
    assert answer("POST", f"/primus?sid={sid}", b'[["text","1"]]').status == 204
    spark.write(2)
    wire.pump()
    assert json.loads(answer("GET", f"/primus?sid={sid}").body) == [["text", "2"]]
    assert wire.told() == ["connection", "data"]
    assert wire.commands == []
    wire.server.close()
    wire.pump()
    assert json.loads(answer("GET", f"/primus?sid={sid}").body)[-1] == ["close", 1000, ""]
    assert wire.told()[-1] == "close"


# --- what all pipes have in common ---


def test_a_pipe_closes_once_and_drops_what_it_held() -> None:
    dirty: list[Pipe] = []

    class Bare(Pipe):
        def pause(self) -> None:
            """Nothing reads."""

        def resume(self) -> None:
            """Nothing reads."""

        def flush(self, *, now: float) -> None:
            self.dirty = False

    pipe = Bare(dirty.append)
    assert pipe.take() is None
    pipe.send(Message("one"))
    pipe.send(Message("two"))
    assert (len(dirty), pipe.buffered) == (1, 6)
    message = pipe.take()
    assert message is not None
    assert (message.payload, pipe.buffered) == ("one", 3)
    pipe.close(4000, "first")
    pipe.close(4001, "second")
    assert pipe.ending == (4000, "first")
    pipe.abort()
    assert (pipe.ending, pipe.aborted) == ((4000, "first"), True)
    pipe.send(ProtocolMessage("the protocol's own"))
    pipe.send(Message(b"three"))
    assert pipe.withdraw() == ("two", b"three")
    assert (pipe.take(), pipe.buffered, pipe.withdraw()) == (None, 0, ())
    aborted = Bare(dirty.append)
    aborted.abort()
    assert aborted.ending == (1006, "")


def test_the_pipe_of_the_message_seam_turns_acts_into_commands() -> None:
    commands: deque[cmd.MessageCommand[Any]] = deque()
    pipe = MessagePipe(commands)
    pipe.send(Message("x"))
    pipe.pause()
    pipe.resume()
    pipe.flush(now=0.0)
    pipe.close(4000, "why")
    pipe.close()
    pipe.abort()
    pipe.send(Message("y"))
    assert list(commands) == [SendMessage("x"), Pause(), Resume(), Close(4000, "why")]
    other = MessagePipe(commands)
    other.abort()
    other.abort()
    assert list(commands)[4:] == [Abort()]
    assert (pipe.buffered, pipe.transport) == (0, "messages")


def test_an_unwelcome_answer_is_kept_in_part() -> None:
    error = refusal_error(Answer(403, Headers([("A", "b")]), b"x" * (ERROR_BODY + 1)))
    assert (error.status, error.headers, len(error.body)) == (403, (("A", "b"),), ERROR_BODY)
