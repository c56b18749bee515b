"""What a server answers does not depend on how the peer's bytes were cut."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Limits
from primus_proto import events as ev
from tests.unit.wires import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Peer,
    ServerWire,
    close_frame,
    frame,
    handshake,
    request,
)


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """All that a peer who sends these pieces gets to see, and what the application was told."""
    wire = ServerWire(limits=Limits(head=2048, message=1000, fragments=5))
    wire.on_data = lambda event: event.spark.write({"echo": repr(event.data)})
    peer: Peer = wire.accept()
    for piece in pieces:
        if not peer.closed():
            peer.send(piece)
    output, told = wire.take(peer.channel), [event for event in wire.seen if isinstance(event, ev.SparkEvent)]
    ended = peer.closed() or peer.channel in wire.ended
    values = [event.data for event in wire.all(ev.SparkData)]
    return output, ended, values, [type(event) for event in told]


FRAMES = [
    frame(TEXT, '{"a":[1,2]}'),
    frame(TEXT, '"héllo"'),
    frame(BINARY, b'"binary"'),
    frame(TEXT, '"in', fin=False),
    frame(0, " two", fin=False),
    frame(0, ' parts"'),
    frame(TEXT, "{"),
    frame(TEXT, b"\xff"),
    frame(TEXT, '"primus::ping::1"'),
    frame(TEXT, '"primus::id::"'),
    frame(TEXT, '"primus::what"'),
    frame(PING, b"hi"),
    frame(PONG, b""),
    frame(TEXT, '"' + "x" * 300 + '"'),
    frame(TEXT, "x" * 1001),
    frame(TEXT, '"unmasked"', mask=False),
    frame(3, b"reserved"),
    b"\xc1\x80\x00\x00\x00\x00",
    b"\x89\xfe\x00\x7e\x00\x00\x00\x00",
    b"\x82\xff" + struct.pack("!Q", 1 << 36),
    close_frame(1000, "bye"),
    close_frame(999),
    frame(CLOSE, b""),
    frame(CLOSE, b"\x03"),
]
REQUESTS = [
    request(),
    request("HEAD"),
    request("POST", "/primus", body=b"hello"),
    request("GET", "/elsewhere"),
    request(headers={"Connection": "close"}),
    request(headers={"X": "y" * 1000}),
    request(headers={"X": "y" * 3000}),
    request(headers={"Transfer-Encoding": "chunked", "Content-Length": "3"}),
    request(headers={"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n0\r\n\r\n",
    request(host=False),
    request(version="1.0"),
    request(version="2.0"),
    handshake(sec_websocket_version="8"),
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET /primus HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET /pri\x00mus HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\r\n\r\n",
    b"nonsense\r\n",
]
TARGETS = ["/primus?ping=25000&pong=10000", "/primus", "/primus?ping=false"]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A few requests, then most often a WebSocket with some frames, and a few bytes changed."""
    parts = draw(st.lists(st.sampled_from(REQUESTS), max_size=3))
    if draw(st.integers(0, 4)):
        parts.append(handshake(draw(st.sampled_from(TARGETS))))
        parts += draw(st.lists(st.sampled_from(FRAMES), max_size=6))
    stream = bytearray(b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        if stream:
            stream[draw(st.integers(0, len(stream) - 1))] = draw(st.integers(0, 255))
    return bytes(stream)


@pytest.mark.hypothesis
@given(streams(), st.lists(st.integers(0, 3000), max_size=5))
def test_answers_do_not_depend_on_the_cuts(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cut = [stream[start:stop] for start, stop in pairwise(places)]
    whole = outcome([stream])
    assert outcome(cut) == whole
    assert outcome([bytes([byte]) for byte in stream]) == whole
