"""How WebSockets end, politely or not, and what pings may do."""

from __future__ import annotations

import gc
import struct
import tracemalloc

import pytest

from primus_proto import ConnectionLost, Limits
from primus_proto import events as ev
from primus_proto.commands import CloseChannel, Write
from primus_proto.errors import PrimusError
from primus_proto.session.messages import Message
from primus_proto.wire.channel import Channel
from primus_proto.wire.declared_length import DeclaredLength
from primus_proto.wire.websocket import WebSocket
from tests.unit.wire.http_bench import Channels
from tests.unit.wires import CLOSE, PING, PONG, TEXT, ClientWire, Frame, ServerWire, close_frame, frame, frames

OVER = ["readyStateChange", "disconnection", "end"]


@pytest.fixture
def wire() -> ServerWire:
    return ServerWire()


def reason(wire: ServerWire) -> tuple[str, int, str]:
    """How the last session ended."""
    ended = wire.all(ev.SparkEnded)[-1].reason
    return ended.kind, ended.code, ended.reason


# --- pings ---


def test_a_ping_is_answered_and_is_a_heartbeat(wire: ServerWire) -> None:
    peer, _ = wire.connect()
    peer.send(frame(PING, "hello") + frame(PING, b"\xff" * 125) + frame(PING))
    assert peer.frames() == [Frame(PONG, b"hello"), Frame(PONG, b"\xff" * 125), Frame(PONG, b"")]
    assert wire.told() == ["heartbeat"] * 3


def test_a_client_answers_pings_too(wire: ServerWire) -> None:
    client = ClientWire(ping=False)
    channel = client.open()
    client.told()
    client.feed(channel, frame(PING, "hello", mask=False))
    assert client.frames() == [Frame(PONG, b"hello", masked=True)]
    assert client.told() == []


def test_of_the_pings_of_a_peer_that_does_not_read_the_last_is_answered() -> None:
    """RFC 6455, 5.5.3."""
    wire = ServerWire()
    peer, spark = wire.connect()
    wire.block(peer.channel)
    for number in range(100):
        peer.send(frame(PING, b"%d" % number))
    assert spark.buffered == 0
    wire.unblock(peer.channel)
    assert peer.frames() == [Frame(PONG, b"99")]
    peer.send(frame(PING, b"again"))
    assert peer.frames() == [Frame(PONG, b"again")]


# --- the peer closes ---


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1013, 3000, 4999])
def test_a_close_is_answered_in_kind(wire: ServerWire, code: int) -> None:
    peer, _ = wire.connect()
    peer.send(close_frame(code, "why not") + frame(TEXT, '"too late"'))
    assert peer.frames() == [Frame(CLOSE, struct.pack("!H", code) + b"why not")]
    assert wire.told() == OVER
    assert reason(wire) == ("client", code, "why not")
    assert peer.closed()
    assert not peer.aborted()
    assert wire.endpoint.next_timeout() is None


def test_a_channel_that_just_ends_is_1006(wire: ServerWire) -> None:
    peer, _ = wire.connect()
    peer.eof()
    assert wire.told() == OVER
    assert reason(wire) == ("lost", 1006, "")
    error = wire.all(ev.SparkEnded)[-1].reason.error
    assert isinstance(error, ConnectionLost)
    assert str(error) == "the connection was closed without a closing handshake"

    peer, _ = wire.connect()
    peer.eof("connection reset by peer")
    assert str(wire.all(ev.SparkEnded)[-1].reason.error) == "connection reset by peer"


# --- we close ---


def test_our_close_waits_for_the_peers(wire: ServerWire) -> None:
    peer, spark = wire.connect()
    spark.end({"last": "words"}, code=4000, reason="enough")
    assert wire.told() == OVER
    wire.pump()
    assert peer.frames() == [
        Frame(TEXT, b'{"last":"words"}'),
        Frame(TEXT, b'"primus::server::close"'),
        Frame(CLOSE, struct.pack("!H", 4000) + b"enough"),
    ]
    assert not peer.closed()
    peer.send(frame(TEXT, '"on its way"') + frame(PING) + close_frame(4000))
    assert wire.told() == []
    assert peer.frames() == []
    assert peer.closed()
    assert not peer.aborted()
    assert wire.endpoint.next_timeout() is None


def test_our_close_waits_five_seconds(wire: ServerWire) -> None:
    peer, spark = wire.connect()
    spark.end(reconnect=True)
    wire.pump()
    assert peer.frames() == [Frame(CLOSE, struct.pack("!H", 1000))]
    wire.run(4.9)
    assert not peer.closed()
    wire.run(0.2)
    assert peer.aborted()
    assert wire.endpoint.channels == 0
    assert wire.endpoint.next_timeout() is None
    assert len(wire.all(ev.SparkEnded)) == 1


def test_our_close_and_the_peers_cross(wire: ServerWire) -> None:
    peer, spark = wire.connect()
    spark.end()
    wire.feed(peer.channel, close_frame(1001))
    assert [each.opcode for each in peer.frames()] == [TEXT, CLOSE]
    assert peer.closed()
    assert reason(wire) == ("local", 1000, "")


def test_our_close_and_a_violation(wire: ServerWire) -> None:
    peer, spark = wire.connect()
    spark.end()
    wire.pump()
    peer.frames()
    peer.send(frame(3) + frame(TEXT, "1"))
    assert wire.told() == OVER
    assert peer.frames() == []  # one close frame is enough
    wire.run(5.1)
    assert peer.aborted()
    assert wire.endpoint.next_timeout() is None


@pytest.mark.parametrize(("last", "code"), [(close_frame(4000), 4000), (frame(3), 1002)])
def test_what_came_before_the_end_is_answered_before_it(wire: ServerWire, last: bytes, code: int) -> None:
    """One read brings it all, and its answers leave in the order of what they answer."""
    peer, spark = wire.connect()
    wire.on_data = lambda event: event.spark.write(event.data)
    peer.send(frame(TEXT, "1") + frame(PING) + frame(TEXT, '"primus::id::"') + frame(TEXT, "2") + last)
    *answers, end = peer.frames()
    assert [each.payload for each in answers] == [b"1", b"", b'"primus::id::%s"' % spark.id.encode(), b"2"]
    assert (end.opcode, end.payload[:2]) == (CLOSE, struct.pack("!H", code))
    assert spark.close_reason is not None
    assert spark.close_reason.code == code


def test_what_came_behind_the_message_that_ended_a_spark_is_not_answered(wire: ServerWire) -> None:
    peer, _ = wire.connect()
    wire.on_data = lambda event: event.spark.end(reconnect=True)
    peer.send(frame(TEXT, "1") + frame(PING) + frame(TEXT, '"primus::id::"') + frame(TEXT, '"primus::ping::1"'))
    assert [each.opcode for each in peer.frames()] == [CLOSE]


@pytest.mark.parametrize("last", [close_frame(4000), frame(3)])
@pytest.mark.parametrize("how", ["resumes", "takes too long", "ends", "is gone"])
def test_an_end_waits_for_an_application_that_is_busy(wire: ServerWire, last: bytes, how: str) -> None:
    peer, spark = wire.connect("/primus?ping=1000&pong=1")
    busy = True
    spark.is_busy = lambda: busy
    peer.send(frame(TEXT, "1") + last + frame(TEXT, "2"))
    wire.run(4.9)
    assert (wire.told(), peer.paused(), spark.is_open) == (["data"], True, True), "and no heartbeat is missed"
    assert {each.opcode for each in peer.frames()} == {TEXT}  # pongs
    if how == "is gone":
        peer.eof()
    elif how == "takes too long":
        spark.settle()  # a binding may say so too early
    else:
        spark.write(3)
        busy = False
        spark.end() if how == "ends" else spark.settle()
    wire.run(0.1)
    answers = {"resumes": [TEXT, CLOSE], "ends": [TEXT, TEXT, CLOSE], "takes too long": [CLOSE], "is gone": []}
    assert [each.opcode for each in peer.frames()] == answers[how]
    assert not spark.is_open
    wire.run(1.0)
    assert peer.closed()
    assert wire.endpoint.next_timeout() is None


WEBSOCKETS = {
    "websockets": "/primus",
    "engine.io": "/primus/?EIO=4&transport=websocket",
    "sockjs": "/primus/1/session/websocket",
    "sockjs, raw": "/primus/websocket",
}


@pytest.mark.parametrize("transport", WEBSOCKETS)
@pytest.mark.parametrize("flood", [frame(TEXT, "x" * 1000), frame(TEXT, "1"), frame(PING), frame(PONG)])
@pytest.mark.parametrize("blocked", [False, True])
def test_a_peer_that_ignores_our_close_is_cut(transport: str, flood: bytes, blocked: bool) -> None:
    """It could send for as long as `Limits.close`: nobody waits for a flood, least of all of tiny frames."""
    wire = ServerWire(transformer=transport.partition(",")[0])
    peer, spark = wire.connect(WEBSOCKETS[transport])
    if blocked:
        wire.endpoint.channel_blocked(peer.channel)
        spark.write("unread")
    spark.end()
    wire.pump()
    for _ in range(40):
        if not peer.closed():
            peer.send(flood * 100)
    assert peer.aborted() or (blocked and flood == frame(PONG))  # before our close has left, a pong may have a reason


@pytest.mark.parametrize("flood", [frame(TEXT, "1"), frame(PONG)])
def test_a_peer_that_goes_on_after_it_broke_a_rule_of_the_transport_is_cut(flood: bytes) -> None:
    wire = ServerWire(transformer="engine.io")
    peer, spark = wire.connect(WEBSOCKETS["engine.io"])
    peer.send(frame(TEXT, "garbage"))
    assert not spark.is_open
    for _ in range(40):
        if not peer.closed():
            peer.send(flood * 100)
    assert peer.aborted()


def test_a_paused_session_that_ends_reads_on_for_the_close(wire: ServerWire) -> None:
    peer, spark = wire.connect()
    spark.pause()
    wire.pump()
    assert peer.paused()
    spark.end()
    wire.pump()
    assert not peer.paused()
    peer.send(close_frame(1000))
    assert peer.closed()


def test_a_client_closes_too() -> None:
    client = ClientWire(ping=False)
    channel = client.open()
    client.client.end("bye")
    client.pump()
    assert client.frames() == [Frame(TEXT, b'"bye"', masked=True), Frame(CLOSE, struct.pack("!H", 1000), masked=True)]
    client.feed(channel, close_frame(1000, mask=False))
    assert client.closed == {channel: False}
    assert client.endpoint.next_timeout() is None


# --- the carrier by itself: what a transport other than ours may do with one ---


class Owner:
    """An owner that remembers, and may act at once on what it is told."""

    def closing(self) -> bool:
        return False

    def __init__(self) -> None:
        self.carrier: WebSocket | None = None
        self.told: list[object] = []

    def received(self, data: str | bytes, *, now: float) -> None:
        self.told.append(data)
        if self.carrier is not None and data == "abort":
            self.carrier.abort(now=now)
        elif self.carrier is not None and data == "close":
            self.carrier.close(3000, "as you wish", now=now)

    def pinged(self, *, now: float) -> None:
        self.told.append("ping")

    def drained(self, *, now: float) -> None:
        self.told.append("drained")

    def closed(self, code: int, reason: str, error: PrimusError | None, *, now: float) -> None:
        self.told.append((code, reason, error))


class Bench(Channels):
    """One channel, one carrier."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.channel = Channel(1, self)
        self.channel.user = self.carrier = WebSocket(self.channel, self.limits, 100)
        self.carrier.owner = self.owner = Owner()
        self.owner.carrier = self.carrier

    def pump(self) -> tuple[list[Frame], list[CloseChannel]]:
        commands = self.collected()
        sent = b"".join(command.data for command in commands if isinstance(command, Write))
        return frames(sent), [command for command in commands if isinstance(command, CloseChannel)]


def test_a_carrier_pings() -> None:
    bench = Bench()
    bench.carrier.ping(b"x" * 200, now=0.0)
    assert bench.carrier.buffered == 127
    bench.carrier.report_drained()
    assert bench.pump() == ([Frame(PING, b"x" * 125)], [])
    assert bench.owner.told == ["drained"]


def test_after_its_close_a_carrier_sends_nothing() -> None:
    bench = Bench()
    bench.carrier.close(1000, now=0.0)
    bench.pump()
    bench.carrier.close(1000, now=0.0)
    bench.carrier.ping(now=0.0)
    bench.carrier.send([Message("x")], now=0.0)
    assert bench.pump() == ([], [])


def test_an_owner_that_aborts_at_once_hears_nothing_more() -> None:
    bench = Bench()
    bench.channel.receive_data(frame(TEXT, "abort") + frame(TEXT, "x") + frame(PING) + close_frame(1000), now=0.0)
    assert bench.owner.told == ["abort", (1006, "", None)]
    assert bench.pump() == ([], [CloseChannel(1, abort=True)])


def test_a_carrier_is_closed_once() -> None:
    bench = Bench()
    bench.carrier.abort(now=0.0)
    bench.carrier.abort(now=0.0)
    assert bench.owner.told == [(1006, "", None)]
    assert bench.pump() == ([], [CloseChannel(1, abort=True)])


def test_the_limit_by_declared_length_is_nothing_to_negotiate() -> None:
    limit = DeclaredLength(100)
    assert limit.enabled()
    assert not limit.offer()


def test_an_owner_that_closes_at_once_hears_of_the_rest() -> None:
    bench = Bench()
    bench.channel.receive_data(frame(TEXT, "close") + frame(TEXT, "x") + frame(PING) + close_frame(3000), now=0.0)
    assert bench.owner.told == ["close", "x", "ping", (3000, "", None)]
    sent, closed = bench.pump()
    assert sent == [Frame(CLOSE, struct.pack("!H", 3000) + b"as you wish")]
    assert closed == [CloseChannel(1)]


def test_a_new_owner_gets_what_comes_next() -> None:
    bench = Bench()
    bench.channel.receive_data(frame(TEXT, "one")[:-1], now=0.0)
    bench.carrier.owner = second = Owner()
    bench.channel.receive_data(frame(TEXT, "one")[-1:], now=0.0)
    assert (bench.owner.told, second.told) == ([], ["one"])


def test_an_unfinished_message_goes_with_its_connection(wire: ServerWire) -> None:
    """At once, and not only when the garbage is collected."""
    peer, spark = wire.connect()
    half = frame(TEXT, "x" * 2_000_000)[:-1]
    gc.disable()
    tracemalloc.start()
    try:
        peer.send(half)
        kept, _ = tracemalloc.get_traced_memory()
        wire.eof(peer.channel)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert not spark.is_open
    assert kept > 1_900_000
    assert left < 100_000
