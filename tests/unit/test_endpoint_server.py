"""`ByteServer` as a driver sees it: from bytes to events and back, its timers, closing, and what it keeps."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Iterator
from itertools import islice

from primus_proto import ByteServer, ClientConfig, Limits, Server, ServerConfig, Spark
from primus_proto.commands import Command, Write
from primus_proto.events import Event
from primus_proto.http.model import Address
from tests.unit.sessions import commanded
from tests.unit.wires import (
    START,
    ServerWire,
    close_frame,
    handshake,
    request,
)


def test_a_peer_may_have_no_address_or_one_of_ipv6() -> None:
    wire = ServerWire()
    number = wire.endpoint.channel_accepted(now=wire.now)
    wire.feed(number, handshake())
    (spark,) = wire.server
    assert spark.address == Address("", 0)
    number = wire.endpoint.channel_accepted(("::1", 5, 0, 7), now=wire.now)  # type: ignore[arg-type]  # what sockets say
    wire.feed(number, handshake())
    assert [spark.address for spark in wire.server][1] == Address("::1", 5)


def test_early_and_extra_calls_are_harmless() -> None:
    wire = ServerWire(limits=Limits(handshake=10))
    assert wire.endpoint.next_timeout() is None
    wire.accept()
    assert wire.endpoint.next_timeout() == START + 10
    peer, spark = wire.connect("/primus?ping=1000&pong=1000")
    due = wire.endpoint.next_timeout()
    assert due == START + 1.5
    for _ in range(3):
        wire.endpoint.handle_timeout(now=due - 0.001)
        wire.endpoint.channel_writable(peer.channel, now=wire.now)
    assert commanded(wire.endpoint, now=wire.now) == []
    assert wire.endpoint.next_timeout() == due
    assert spark.skipped == 0
    wire.run(60)
    assert wire.endpoint.next_timeout() is None
    assert wire.endpoint.channels == 0


def test_empty_data_changes_nothing() -> None:
    wire = ServerWire()
    peer = wire.accept()
    for data in (b"", request()[:10], b"", request()[10:], b""):
        peer.send(data)
    assert peer.reply().status == 200
    peer.upgrade(more=b"")
    peer.send(b"")
    assert wire.told() == ["connection"]


def test_iterators_of_poll_may_overlap() -> None:
    wire = ServerWire()
    sparks = {peer.channel: spark for peer, spark in (wire.connect() for _ in range(2))}
    a, b = sparks
    written: dict[int, bytes] = {a: b"", b: b""}

    def take(items: Iterator[Event | Command]) -> None:
        for item in items:
            assert isinstance(item, Write)
            for channel in item.channels:
                written[channel] += item.data

    sparks[a].write(1)
    sparks[b].write(1)
    first = wire.endpoint.poll(now=wire.now)
    take(islice(first, 1))  # breaks off
    take(wire.endpoint.poll(now=wire.now))
    sparks[a].write(2)
    del first
    sparks[a].write(3)
    take(wire.endpoint.poll(now=wire.now))
    assert written == {a: b"\x81\x011\x81\x012\x81\x013", b: b"\x81\x011"}


def test_nothing_is_kept_of_sessions_that_are_over() -> None:
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


def test_close_waits_for_the_exchanges_of_the_host() -> None:
    wire = ServerWire()
    open_ones = [1]
    wire.endpoint.watch_host(lambda: bool(open_ones))
    wire.server.close()
    wire.pump()
    assert wire.told() == []
    open_ones.clear()
    wire.pump()
    assert wire.told() == ["close"]


def test_without_a_config_the_defaults_hold() -> None:
    endpoint = ByteServer(rng=random.Random(1))
    assert endpoint.server.config == ServerConfig()
    assert endpoint.pathname == "/primus"
    assert isinstance(endpoint.server, Server)
    assert not endpoint.closing
    assert ClientConfig(url="http://x").pathname == endpoint.pathname


def test_closing_takes_time_in_proportion_to_what_is_open() -> None:
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
