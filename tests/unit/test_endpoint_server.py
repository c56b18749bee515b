"""`ByteServer` as its driver sees it: the whole way from bytes to events and back, timers, closing, sameness."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from primus_proto import ByteServer, ClientConfig, Limits, Server, ServerConfig, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.http.model import Address
from tests.unit.sessions import commanded
from tests.unit.wires import (
    CLOSE,
    PING,
    START,
    TEXT,
    Frame,
    ServerWire,
    close_frame,
    frame,
    handshake,
    request,
)


def test_a_session_from_the_first_byte_to_the_last() -> None:
    wire = ServerWire()
    peer = wire.accept()
    spark = peer.upgrade("/primus?ping=25000&pong=10000&token=x")
    assert wire.told() == ["connection"]
    assert (spark.query["token"], spark.address, spark.request.peer) == (
        "x",
        Address("192.0.2.7", 4711),
        Address("192.0.2.7", 4711),
    )
    peer.send(frame(TEXT, '{"a":1}') + frame(TEXT, '"primus::ping::123"') + frame(PING, "x"))
    assert wire.told() == ["data", "heartbeat", "heartbeat"]
    assert peer.frames() == [Frame(10, b"x"), Frame(TEXT, b'"primus::pong::123"')]
    spark.write([True])
    peer.send(close_frame(1000))
    assert peer.frames() == [Frame(CLOSE, b"\x03\xe8")]
    assert wire.told() == ["readyStateChange", "disconnection", "messages dropped", "end"], "the goodbye came first"
    assert (len(wire.server), wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, 0, None)


def test_a_peer_without_an_address() -> None:
    wire = ServerWire()
    number = wire.endpoint.channel_accepted(now=wire.now)
    wire.feed(number, handshake())
    (spark,) = wire.server
    assert spark.address == Address("", 0)
    number = wire.endpoint.channel_accepted(("::1", 5, 0, 7), now=wire.now)  # type: ignore[arg-type]  # what sockets say
    wire.feed(number, handshake())
    assert [spark.address for spark in wire.server][1] == Address("::1", 5)


def test_getters_are_pure() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    spark.write("x")

    def look() -> tuple[object, ...]:
        return (
            wire.endpoint.next_timeout(),
            wire.endpoint.channels,
            spark.buffered,
            spark.needs_drain,
            spark.ready_state,
            len(wire.server),
            wire.server.closing,
        )

    assert look() == look()
    assert peer.frames() == []
    wire.pump()
    assert peer.frames() == [Frame(TEXT, b'"x"')]


def test_early_and_extra_calls_are_harmless() -> None:
    wire = ServerWire()
    peer, spark = wire.connect()
    due = wire.endpoint.next_timeout()
    assert due is not None
    for _ in range(3):
        wire.endpoint.handle_timeout(now=due - 0.001)
        wire.endpoint.channel_writable(peer.channel, now=wire.now)
    assert commanded(wire.endpoint, now=wire.now) == []
    assert wire.endpoint.next_timeout() == due
    assert spark.skipped == 0


def test_an_empty_feed_means_nothing() -> None:
    wire = ServerWire()
    peer = wire.accept()
    for data in (b"", request()[:10], b"", request()[10:], b""):
        peer.send(data)
    assert peer.reply().status == 200
    peer.upgrade(more=b"")
    peer.send(b"")
    assert wire.told() == ["connection"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer(kind: type) -> None:
    wire = ServerWire()
    peer = wire.accept()
    for data in (request(), handshake() + frame(TEXT, "1"), frame(TEXT, "2")[:3], frame(TEXT, "2")[3:]):
        wire.endpoint.receive_data(peer.channel, kind(data), now=wire.now)
        wire.pump()
    assert [event.data for event in wire.all(ev.SparkData)] == [1, 2]


def test_no_reference_to_a_buffer_is_kept() -> None:
    """A bytearray that is looked at from elsewhere cannot be resized: whoever keeps a view is found out."""
    wire = ServerWire()
    peer = wire.accept()
    held = b"x" * 300
    for data in (
        request(body=held[:200])[:-1],
        b"x",
        request("GET", "/elsewhere")[:-3],
        b"\r\n\r\n"[1:],
        handshake() + frame(TEXT, held)[:-1],
        b"x",
        frame(2, held, fin=False),
        frame(0, held)[:50],
    ):
        buffer = bytearray(data)
        wire.endpoint.receive_data(peer.channel, memoryview(buffer), now=wire.now)
        buffer.clear()
        wire.endpoint.receive_data(peer.channel, buffer, now=wire.now)
        wire.pump()
        buffer.extend(data * 2)


def test_timers_are_one_deadline() -> None:
    wire = ServerWire(limits=Limits(handshake=10, close=5))
    assert wire.endpoint.next_timeout() is None
    wire.accept()
    assert wire.endpoint.next_timeout() == START + 10
    wire.run(3)
    _, spark = wire.connect("/primus?ping=1000&pong=1000")
    assert wire.endpoint.next_timeout() == START + 4.5
    spark.end()
    wire.pump()
    assert wire.endpoint.next_timeout() == START + 8
    wire.run(60)
    assert wire.endpoint.next_timeout() is None
    assert wire.endpoint.channels == 0


def script(seed: int) -> list[cmd.Command]:
    """A busy server; what it commanded."""
    wire = ServerWire()
    wire.endpoint.rng.seed(seed)
    choose = random.Random(7)
    peers = [wire.connect(f"/primus?ping={choose.randint(1000, 5000)}&pong=500")[0] for _ in range(5)]
    for turn in range(50):
        wire.run(choose.random())
        peer = choose.choice(peers)
        if not peer.closed():
            peer.send(frame(TEXT, f'"primus::ping::{turn}"') + frame(TEXT, '"primus::id::"') + frame(PING, "x"))
        wire.server.write(turn)
        wire.accept().send(request())
    wire.server.close()
    wire.run(30)
    return wire.commands


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert script(1) == script(1)
    assert script(1) != script(2)  # ids differ


def test_nothing_is_kept_of_a_session_that_is_over() -> None:
    """A million connections that came and went must not leave a million of anything behind."""
    wire = ServerWire(limits=Limits(heartbeat_max=600))
    wire.connect("/primus?ping=1000&pong=1000")  # what is due earlier keeps the heap from shrinking by itself
    refs: list[weakref.ref[Spark]] = []
    for number in range(200):
        peer, spark = wire.connect("/primus?ping=600000&pong=10")
        refs.append(weakref.ref(spark))
        if number % 2:
            peer.send(close_frame(1000))
        else:
            spark.end()
            peer.send(close_frame(1000))
        del spark
    kept, wire.seen = len(wire.seen), []
    assert kept > 200
    gc.collect()
    assert len(wire.server) == wire.endpoint.channels == 1
    assert sum(ref() is not None for ref in refs) <= 100  # until the heap of timers is tidied


def test_a_server_closes_with_all_it_has() -> None:
    wire = ServerWire(limits=Limits(close=5))
    polite, _ = wire.connect()
    silent, _ = wire.connect()
    bad = wire.accept()
    bad.send(b"nonsense\r\n\r\n")
    wire.server.close("bye")
    wire.pump()
    assert [frame.payload for frame in polite.frames()] == [b'"bye"', b'"primus::server::close"', b"\x03\xe8"]
    polite.send(close_frame(1000))
    assert polite.closed()
    assert wire.told()[-3:] == ["readyStateChange", "disconnection", "end"]
    wire.run(4.9)
    assert wire.told() == []
    wire.run(0.2)
    assert (silent.aborted(), bad.aborted()) == (True, True)
    assert wire.told() == ["close"]
    wire.run(60)
    assert wire.told() == []


def test_a_closing_server_waits_for_the_exchanges_of_its_host() -> None:
    wire = ServerWire()
    open_ones = [1]
    wire.endpoint.watch_host(lambda: bool(open_ones))
    wire.server.close()
    wire.pump()
    assert wire.told() == []
    open_ones.clear()
    wire.pump()
    assert wire.told() == ["close"]


def test_options_are_made_up_where_none_are_given() -> None:
    endpoint = ByteServer(rng=random.Random(1))
    assert endpoint.server.config == ServerConfig()
    assert endpoint.pathname == "/primus"
    assert isinstance(endpoint.server, Server)
    assert not endpoint.closing
    assert ClientConfig(url="http://x").pathname == endpoint.pathname


def test_many_close_at_once_without_looking_at_all_of_them_each_time() -> None:
    """Closing must not take the square of what is open."""
    wire = ServerWire()
    peers = [wire.connect()[0] for _ in range(300)]
    wire.server.close()
    wire.pump()
    looked = 0

    class Counting(dict):  # type: ignore[type-arg]
        def values(self):  # type: ignore[no-untyped-def]
            nonlocal looked
            looked += len(self)
            return super().values()

    wire.endpoint._channels = Counting(wire.endpoint._channels)
    for peer in peers:
        peer.send(close_frame(1000))
    assert looked == 0
    assert wire.told()[-1] == "close"
