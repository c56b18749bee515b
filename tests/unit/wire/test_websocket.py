"""WebSockets on a channel (RFC 6455): handshakes, messages and their limits, pings, closing."""

from __future__ import annotations

import struct

import pytest

from primus_proto import Limits, RemoteProtocolError
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from tests.unit.wires import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ClientWire,
    Frame,
    Peer,
    ServerWire,
    close_frame,
    frame,
    handshake,
    request,
    values,
)


@pytest.fixture
def wire() -> ServerWire:
    return ServerWire()


# --- the handshake ---


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"upgrade": None}, 426),
        ({"upgrade": "h2c"}, 426),
        ({"upgrade": "h2c, WebSocket"}, 101),
        ({"connection": None}, 400),
        ({"connection": "keep-alive"}, 400),
        ({"connection": "keep-alive, UPGRADE"}, 101),
        ({"sec_websocket_version": None}, 426),
        ({"sec_websocket_version": "13, 8"}, 426),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAAAA"}, 400),
        ({"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAA==="}, 400),
        ({"sec_websocket_key": "!!!!!!!!!!!!!!!!!!!!!!=="}, 400),
        ({"sec_websocket_key": "\xe9" * 22 + "=="}, 400),
        ({"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"}, 101),
        ({"sec_websocket_protocol": "chat, superchat"}, 101),
    ],
)  # fmt: skip
def test_handshakes(wire: ServerWire, change: dict[str, str | None], status: int) -> None:
    peer = wire.accept()
    peer.send(handshake(**change))
    reply = peer.reply()
    assert reply.status == status
    assert "sec-websocket-extensions" not in reply.headers
    assert "sec-websocket-protocol" not in reply.headers
    assert ("connection" in wire.told()) == (status == 101)
    if status == 426:
        assert (reply.headers.get("upgrade"), reply.headers.get("sec-websocket-version")) in [
            ("websocket", None),
            (None, "13"),
        ]
    if status != 101:
        asked = change.get("upgrade", "websocket") == "websocket"  # what follows may be meant as frames
        assert reply.headers.get("connection") == ("close" if asked else "Upgrade")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (handshake()[:-2] + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", 400),
        (handshake()[:-2] + b"Sec-WebSocket-Version: 13\r\n\r\n", 426),
        (handshake().replace(b"GET", b"POST", 1), 426),
    ],
    ids=["HTTP/1.0", "two keys", "two versions", "POST"],
)
def test_other_handshakes_that_are_refused(wire: ServerWire, data: bytes, status: int) -> None:
    peer = wire.accept()
    peer.send(data)
    assert peer.reply().status == status


def test_a_handshake_behind_a_request_on_one_connection(wire: ServerWire) -> None:
    peer = wire.accept()
    peer.send(request() + handshake() + frame(TEXT, "1"))
    assert peer.statuses() == [200, 101]
    assert values(wire) == [1]


def test_frames_and_an_end_before_the_first_pump_are_not_lost(wire: ServerWire) -> None:
    """A driver may be given more before it gets to pump, and the end as well."""
    peer = wire.accept()
    wire.feed(peer.channel, handshake() + frame(TEXT, "1"), pump=False)
    wire.feed(peer.channel, frame(TEXT, "2"), pump=False)
    wire.eof(peer.channel)
    assert values(wire) == [1, 2]
    assert wire.told() == ["connection", "data", "data", "readyStateChange", "disconnection", "end"]


@pytest.mark.parametrize("blocked", [False, True])
def test_of_a_flood_of_pings_a_hundred_are_answered_in_a_second_and_then_the_last(blocked: bool) -> None:
    wire = ServerWire()
    peer, _ = wire.connect()
    for number in range(5000):
        peer.send(frame(PING, f"{number}"))
    pongs = peer.frames()
    assert [pong.payload for pong in pongs] == [b"%d" % number for number in range(100)]
    if blocked:
        wire.block(peer.channel)
    wire.run(1.0)
    if blocked:
        assert not peer.frames()
        wire.unblock(peer.channel)
    assert [pong.payload for pong in peer.frames()] == [b"4999"]
    peer.send(frame(PING, "again"))
    assert [pong.payload for pong in peer.frames()] == [b"again"]


# --- messages ---


def session() -> bytes:
    """What a peer may say, by every kind of frame."""
    parts = [
        frame(TEXT, '"héllo"'),
        frame(TEXT, '"frag', fin=False),
        frame(PING, "within"),
        frame(0, "mén", fin=False),
        frame(0, ""),
        frame(BINARY, b"\x00\x01", fin=False),
        frame(0, b"\x02"),
        frame(PONG, "unasked"),
        frame(TEXT, "[" + "1," * 100 + "1]"),
        frame(TEXT, "€".encode()[:1], fin=False),
        frame(0, "€".encode()[1:]),
        frame(BINARY, b""),
        frame(PING, b""),
        close_frame(1001, "bye"),
    ]
    return b"".join(parts)


def test_cut_anywhere_the_events_are_the_same() -> None:
    stream = session()
    seen = []
    for at in range(len(stream) + 1):
        wire = ServerWire()
        peer, _ = wire.connect()
        peer.send(stream[:at])
        peer.send(stream[at:])
        seen.append((wire.told(), values(wire), peer.frames(), dict(wire.closed)))
    assert all(outcome == seen[0] for outcome in seen)
    told, got, sent, closed = seen[0]
    assert got == ["héllo", b"\x00\x01\x02", [1] * 101, b""]
    assert told == [
        *("data", "heartbeat", "error", "log", "data", "data", "error", "log", "data", "heartbeat"),
        *("readyStateChange", "disconnection", "end"),
    ]
    assert sent == [Frame(PONG, b"within"), Frame(PONG, b""), Frame(CLOSE, struct.pack("!H", 1001) + b"bye")]
    assert closed == {1: False}


def test_a_client_masks_and_a_server_does_not(wire: ServerWire) -> None:
    client = ClientWire(ping=False)
    channel = client.open()
    client.client.write("x")
    client.client.write("y" * 300)
    client.pump()
    assert client.frames() == [Frame(TEXT, b'"x"', masked=True), Frame(TEXT, b'"' + b"y" * 300 + b'"', masked=True)]
    client.feed(channel, frame(TEXT, '"in"', mask=False) + frame(BINARY, b"in", mask=False))
    assert [event.data for event in client.all(ev.DataReceived)] == ["in", b"in"]


class BytesParser(JSONParser):
    """A parser whose messages are binary."""

    binary = True

    def encode(self, value: object) -> bytes:  # type: ignore[override]
        return b"%r" % value


def test_binary_messages_of_either_end() -> None:
    wire = ServerWire(parser=BytesParser())
    peer, spark = wire.connect()
    spark.write(1)
    wire.pump()
    assert peer.frames() == [Frame(BINARY, b"1")]
    client = ClientWire(parser=BytesParser(), ping=False)
    client.open()
    client.client.write(2)
    client.pump()
    assert client.frames() == [Frame(BINARY, b"2", masked=True)]


# --- limits ---


def ended(wire: ServerWire, peer: Peer) -> tuple[int, str]:
    """The one way in which violations end; code and reason of our close frame."""
    assert wire.told()[-5:] == ["error", "log", "readyStateChange", "disconnection", "end"]
    assert isinstance(wire.all(ev.SparkError)[-1].error, RemoteProtocolError)
    (last,) = [each for each in peer.frames() if each.opcode == CLOSE]
    code: int = struct.unpack("!H", last.payload[:2])[0]
    disconnected = wire.all(ev.SparkDisconnected)[-1].reason
    assert (disconnected.kind, disconnected.code) == ("lost", code)
    before = len(wire.seen)
    assert not peer.closed()
    peer.send(frame(TEXT, '"discarded"') + frame(PING, "discarded") + b"\xff" * 1000 + close_frame(1000))
    assert len(wire.seen) == before
    assert peer.frames() == []
    wire.run(5.1)
    assert peer.aborted()
    assert len(wire.seen) == before
    assert wire.endpoint.next_timeout() is None
    return code, last.payload[2:].decode()


@pytest.mark.parametrize("declared", [11, 126, 65536, 2**36, 2**63 - 1])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_a_frame_is_refused_by_its_declared_length(declared: int, kind: int) -> None:
    """Before any of the payload is there."""
    wire = ServerWire(limits=Limits(message=10))
    peer, _ = wire.connect()
    head = frame(kind, declare=declared)
    peer.send(head[: len(head) - 4])  # not even the mask
    assert ended(wire, peer) == (1009, "message larger than 10 bytes")
    assert values(wire) == []


def test_a_message_of_just_the_limit_in_one_frame_or_many() -> None:
    wire = ServerWire(limits=Limits(message=10))
    peer, _ = wire.connect()
    for _ in range(3):
        peer.send(frame(BINARY, b"0123456789"))
        for byte in frame(BINARY, b"0123456789"):
            peer.send(bytes([byte]))
        peer.send(frame(BINARY, b"01234", fin=False) + frame(PING, "x" * 100) + frame(0, b"56789"))
    assert values(wire) == [b"0123456789"] * 9


@pytest.mark.parametrize("size", [1, 1000])
def test_fragments_count_together(size: int) -> None:
    wire = ServerWire(limits=Limits(message=10))
    peer, _ = wire.connect()
    stream = frame(TEXT, "0123", fin=False) + frame(0, "4567", fin=False) + frame(0, "89x")
    for at in range(0, len(stream), size):
        peer.send(stream[at : at + size])
    assert ended(wire, peer) == (1009, "message larger than 10 bytes")


@pytest.mark.parametrize("size", [1, 10_000])
def test_fragments_are_counted_and_cuts_are_not(size: int) -> None:
    wire = ServerWire(limits=Limits(fragments=4))
    peer, _ = wire.connect()
    fine = frame(TEXT, '"', fin=False) + frame(0, "", fin=False) * 2 + frame(0, 'abcdef"')
    stream = fine * 3 + frame(TEXT, '"' + "x" * 100 + '"')
    for at in range(0, len(stream), size):
        peer.send(stream[at : at + size])
    assert values(wire) == ["abcdef"] * 3 + ["x" * 100]
    peer.send(frame(TEXT, '"', fin=False) + frame(0, "", fin=False) * 3 + frame(0, '"') + frame(TEXT, "1"))
    assert ended(wire, peer) == (1009, "too many fragments")
    assert len(values(wire)) == 4


# --- violations ---


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (frame(TEXT, "x", mask=False), 1002),
        (frame(3, "x"), 1002),
        (frame(TEXT, "x", rsv=4), 1002),
        (frame(0, "x"), 1002),
        (frame(TEXT, "x", fin=False) + frame(TEXT, "y"), 1002),
        (frame(PING, "x" * 126), 1002),
        (frame(PING, "x", fin=False), 1002),
        (frame(CLOSE, "x"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"x" * 200 + b"\xff"), 1007),
        (frame(TEXT, "€".encode()[:2]), 1007),
        (frame(TEXT, "€".encode()[:2], fin=False) + frame(0, "x"), 1007),
        (struct.pack("!BBH", 0x81, 0xFE, 5), 1002),
        (struct.pack("!BBQ", 0x81, 0xFF, 5), 1002),
        (struct.pack("!BBQ", 0x81, 0xFF, 1 << 63), 1002),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_violations(wire: ServerWire, stream: bytes, code: int, size: int) -> None:
    peer, _ = wire.connect()
    peer.send(frame(TEXT, '"good"'))
    for at in range(0, len(stream), size):
        peer.send(stream[at : at + size])
    told, reason = ended(wire, peer)
    assert told == code
    assert (reason == "not UTF-8") == (code == 1007)
    assert values(wire) == ["good"]


def test_a_violation_by_the_server() -> None:
    client = ClientWire(ping=False, strategy=False)
    channel = client.open()
    client.told()
    client.feed(channel, frame(TEXT, "1", mask=False) + frame(TEXT, "2") + frame(TEXT, "3", mask=False))
    assert client.told() == ["data", "error", "readyStateChange", "close", "end"]
    (sent,) = client.frames()
    assert sent[:2] == (CLOSE, struct.pack("!H", 1002) + b"client received unexpected masked frame")
    assert sent.masked
    client.run(5.1)
    assert client.closed == {channel: True}
