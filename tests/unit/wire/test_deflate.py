"""permessage-deflate: what is agreed on, messages both ways, bombs, and what is never compressed (RFC 7692)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from typing import Any

import pytest

from primus_proto import Compression, ConfigError
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.limits import Limits
from primus_proto.session.messages import Message
from primus_proto.wire.deflate import Deflate, _Inflater, agreed, choose, offer
from tests.unit.wires import BINARY, CLOSE, TEXT, ClientWire, Frame, Peer, ServerWire, close_frame, frame, handshake

NODE = "permessage-deflate; client_max_window_bits"  # what `ws` and browsers offer
LONG = f"{random.Random(1).getrandbits(24000):x}"  # half of it is information


def deflated(text: str | bytes, *, bits: int = 15) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -bits)
    data = text.encode() if isinstance(text, str) else text
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def connect(extensions: str | None = NODE, **options: Any) -> tuple[ServerWire, Peer, str | None]:
    """A server that compresses, a client of it, and the server's answer to its offer."""
    wire = ServerWire(**{"compression": True, **options})
    peer = wire.accept()
    peer.send(handshake(sec_websocket_extensions=extensions))
    reply = peer.reply()
    assert reply.status == 101
    wire.told()
    return wire, peer, reply.headers.get("sec-websocket-extensions")


TAKEOVER = Compression(context_takeover=True)
BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("settings", "offered", "answer"),
    [
        (Compression(), NODE, BOTH),
        (Compression(), "permessage-deflate", BOTH),
        (TAKEOVER, NODE, "permessage-deflate"),
        (TAKEOVER, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        (TAKEOVER, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        (
            Compression(window_bits=11, context_takeover=True),
            NODE,
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=11",
        ),
        (TAKEOVER, 'permessage-deflate; client_max_window_bits="12"', "permessage-deflate; client_max_window_bits=12"),
        (TAKEOVER, "x-other, permessage-deflate; unknown, permessage-deflate", "permessage-deflate"),
        (TAKEOVER, "permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=8", None),
        (TAKEOVER, "permessage-deflate; server_max_window_bits", None),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=7", None),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=016", None),
        (TAKEOVER, "permessage-deflate; client_no_context_takeover=1", None),
        (TAKEOVER, "permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        (TAKEOVER, "x-webkit-deflate-frame", None),
    ],
)
def test_what_a_server_agrees_to(settings: Compression, offered: str, answer: str | None) -> None:
    _, _, found = connect(offered, compression=settings)
    assert found == answer
    if answer is not None:
        assert agreed(settings, [answer]) is not None


@pytest.mark.parametrize(
    "answer",
    [
        "x-other",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    ],
)
@pytest.mark.parametrize("compression", [False, True])
def test_an_answer_that_was_not_offered_fails_the_connection(answer: str, compression: bool) -> None:
    wire = ClientWire(compression=compression)
    wire.feed(wire.channel, wire.answer(wire.up(), sec_websocket_extensions=answer))
    assert "no valid WebSocket handshake" in str(wire.all(ev.ErrorOccurred)[-1].error)


def test_what_a_client_offers() -> None:
    for settings, offered in (
        (TAKEOVER, NODE),
        (Compression(), f"{NODE}; client_no_context_takeover; server_no_context_takeover"),
        (
            Compression(window_bits=10, context_takeover=True),
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=10",
        ),
    ):
        assert offer(settings) == offered
        assert choose(Compression(), [offered]) is not None
    assert b"extensions" not in ClientWire().up().lower()
    assert NODE.encode() in ClientWire(compression=True).up()


def test_wsproto_takes_no_part_in_the_handshake() -> None:
    inflater = _Inflater(Deflate(Compression(), 15, False, 15, False), 100)
    assert inflater.enabled()
    assert inflater.offer() is False


@pytest.mark.parametrize("takeover", [False, True])
def test_messages_both_ways(takeover: bool) -> None:
    compression = Compression(context_takeover=takeover, threshold=10)
    server, client = ServerWire(compression=compression), ClientWire(compression=compression)
    peer = server.accept()
    peer.send(client.up())
    client.feed(client.channel, server.take(peer.channel))
    (spark,) = server.server.sparks.values()
    noise = bytes(random.Random(2).choices(range(33, 127), k=100_000)).decode()
    values: list[Any] = [LONG, "short", "\u20ac" * 500, {"a": [LONG]}, LONG, 5, None, noise, "?#~^|`"]
    sizes = []
    for value in values:
        assert client.client.write(value)
        client.pump()
        said = client.take(client.channel)
        sizes.append(len(said))
        peer.send(said)
        assert server.all(ev.SparkData)[-1].data == value
        assert spark.write(value)
        server.pump()
        client.feed(client.channel, server.take(peer.channel))
        assert client.all(ev.DataReceived)[-1].data == value
    assert sizes[0] < 0.7 * len(LONG)
    assert (sizes[4] < sizes[0] / 2) is takeover  # it has been sent before


def test_what_is_never_compressed() -> None:
    wire, peer, _ = connect(compression=Compression(threshold=0))
    (spark,) = wire.server.sparks.values()
    peer.send(frame(TEXT, '"primus::ping::1"') + frame(TEXT, '"primus::id::"'))
    spark.write("incompressible")
    spark.end(LONG)
    wire.pump()
    data = wire.take(peer.channel)
    assert data.startswith(b'\x81\x11"primus::pong::1"')
    assert b"\xc1" in data  # the long one
    assert data.count(b"primus::") == 3


def test_a_broadcast_is_compressed_once() -> None:
    wire = ServerWire(compression=True)
    plain, *peers = (wire.accept() for _ in range(4))
    plain.upgrade()
    for peer in peers:
        peer.send(handshake(sec_websocket_extensions=NODE))
        peer.reply()
    wire.server.write(LONG)
    wire.pump()
    writes = [command for command in wire.commands if isinstance(command, cmd.Write)][-2:]
    assert sorted(len(command.channels) for command in writes) == [1, 3]
    assert {command.data[0] for command in writes} == {0x81, 0xC1}


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_bomb_costs_no_memory(fragments: int) -> None:
    wire, peer, _ = connect(limits=Limits(message=100_000))
    bomb = deflated(b'"' + bytes(50_000_000))
    assert len(bomb) < 60_000
    size = len(bomb) // fragments + 1
    parts = [bomb[start : start + size] for start in range(0, len(bomb), size)]
    tracemalloc.start()
    for number, part in enumerate(parts):
        first = number == 0
        peer.send(frame(TEXT if first else 0, part, rsv=4 if first else 0, fin=number == len(parts) - 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert "message larger than 100000 bytes" in str(wire.all(ev.SparkError)[-1].error)
    assert peer.frames()[-1].payload[:2] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize("size", [99_990, 100_000, 100_001])
def test_the_limit_is_that_of_the_inflated_message(size: int) -> None:
    wire, peer, _ = connect(limits=Limits(message=100_000))
    peer.send(frame(TEXT, deflated('"' + "x" * (size - 2) + '"'), rsv=4))
    assert (len(wire.all(ev.SparkData)) == 1) is (size <= 100_000)


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(TEXT, b"\xff\xff\xff", rsv=4), 1007, "not"),
        (frame(TEXT, deflated(b'"\xff"'), rsv=4), 1007, "not UTF-8"),
        (frame(TEXT, deflated('"a"'), rsv=2), 1002, "eserved"),
        (frame(TEXT, deflated('"a"')[:3], rsv=4, fin=False) + frame(0, b"x", rsv=4), 1002, "eserved"),
        (frame(9, b"x", rsv=4), 1002, "eserved"),
    ],
)
def test_violations(data: bytes, code: int, reason: str) -> None:
    wire, peer, _ = connect()
    peer.send(data)
    assert reason in str(wire.all(ev.SparkError)[-1].error)
    assert int.from_bytes(peer.frames()[-1].payload[:2], "big") == code
    assert wire.all(ev.SparkData) == []


def test_fragments_with_a_ping_between_them() -> None:
    wire, peer, _ = connect()
    data = deflated(f'"{LONG}"')
    for byte in (
        frame(TEXT, data[:5], rsv=4, fin=False) + frame(9, b"?") + frame(0, data[5:], fin=False) + frame(0, b"")
    ):
        peer.send(bytes([byte]))
    peer.send(frame(BINARY, b'"plain"') + frame(TEXT, '"plain"'))
    assert wire.all(ev.SparkData)[0].data == LONG
    assert wire.all(ev.SparkData)[-1].data == "plain"


@pytest.mark.parametrize(
    "options",
    [{"level": 0}, {"level": 10}, {"window_bits": 8}, {"window_bits": 16}, {"threshold": -1}, {"context_takeover": 1}],
    ids=str,
)
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"compression.{next(iter(options))} must be"):
        Compression(**options)


def test_after_its_close_nothing_is_sent() -> None:
    wire, peer, _ = connect()
    (spark,) = wire.server
    peer.send(frame(TEXT, deflated("1"), rsv=4) + close_frame(1000))
    spark.pipe.carrier.send([Message("x")], now=wire.now)  # type: ignore[attr-defined]
    assert peer.frames() == [Frame(CLOSE, b"\x03\xe8")]
