"""What a server answers does not depend on how the peer's bytes were cut."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import Compression, Limits
from primus_proto import events as ev
from tests.unit.session.test_transforms import later
from tests.unit.wires import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ServerWire,
    close_frame,
    frame,
    handshake,
    request,
)


class Way(NamedTuple):
    """One way to a server: its options, the request that opens a session, and what else a peer sends."""

    options: dict[str, Any]
    opening: list[bytes]
    pieces: list[bytes]
    requests: Sequence[bytes] = ()
    before: Sequence[bytes] = ()
    """What other peers have sent before: the first opens a session, and the second waits for what comes of it."""


def outcome(way: Way, pieces: list[bytes]) -> tuple[object, ...]:
    """All that a peer who sends these pieces gets to see, and what the application was told."""
    wire = ServerWire(limits=Limits(head=2048, message=1000, fragments=5, body=1500), **way.options)
    wire.on_data = lambda event: event.spark.write({"echo": repr(event.data)})
    peers = [wire.accept() for _ in (*way.before, 0)]
    for other, data in zip(peers, way.before, strict=False):
        other.send(data)
    peer = peers[-1]
    for piece in pieces:
        if not peer.closed():
            peer.send(piece)
    output = [wire.take(each.channel) for each in peers]
    told = [event for event in wire.seen if isinstance(event, ev.SparkEvent)]
    ended = peer.closed() or peer.channel in wire.ended
    values = [event.data for event in wire.all(ev.SparkData)]
    return output, ended, values, [type(event) for event in told]


def deflated(text: str | bytes, *, end: bool = False) -> bytes:
    """A compressed message, with the block that ends a stream if `end`."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = compressor.compress(text.encode() if isinstance(text, str) else text)
    return data + compressor.flush() if end else (data + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


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
HALF, REST = (lambda data: (data[:5], data[5:]))(deflated('"' + "x" * 300 + '"'))
COMPRESSED = [
    frame(TEXT, deflated('{"a":[1,2]}'), rsv=4),
    frame(BINARY, deflated(b"binary"), rsv=4),
    frame(TEXT, deflated('"primus::ping::1"'), rsv=4),
    frame(TEXT, HALF, rsv=4, fin=False),
    frame(0, REST),
    frame(0, REST, fin=False),
    frame(0, b"", fin=False),
    frame(0, b""),
    frame(TEXT, b"", rsv=4),
    frame(TEXT, deflated('"' + "y" * 997 + '"'), rsv=4),
    frame(TEXT, deflated('"' + "y" * 3000 + '"'), rsv=4),
    frame(TEXT, deflated("{"), rsv=4),
    frame(TEXT, deflated(b"\xc3"), rsv=4, fin=False),
    frame(TEXT, deflated(b"\xff"), rsv=4),
    frame(TEXT, deflated('"end"', end=True), rsv=4),
    frame(TEXT, deflated('"end"', end=True) + b"more", rsv=4),
    frame(TEXT, b"\x42\x04\x00", rsv=4),  # it refers to what came before
    frame(TEXT, b"\xff\xff\xff", rsv=4),
    frame(TEXT, "x" * 1001, rsv=4),
    frame(0, deflated('"a"'), rsv=4),
    frame(PING, deflated("a"), rsv=4),
]
SID = f"{random.Random(3).getrandbits(128):032x}"  # the first that a `ServerWire` makes
POLL = f"/primus/?EIO=4&transport=polling&sid={SID}"
PACKETS = ["2probe", "2", "3", "5", "6", "1", '4"x"', '4"' + "x" * 1000 + '"', '4"primus::ping::1"', "4{", "bIg==", "9"]
POLLS = [
    request("GET", POLL),
    request("POST", POLL, body=b'4"x"\x1e4"y"\x1e3'),
    request("POST", POLL, {"Transfer-Encoding": "chunked"}, b'5\r\n4"x"\x1e\r\n4\r\n4"y"\r\n0\r\n\r\n'),
    request("POST", POLL, body=b'4"primus::ping::1"\x1e4"z"'),
    request("POST", POLL, body=b"4{\x1e9"),
    request("POST", POLL, body=b"x" * 1501),
    request("POST", POLL, body=b"1"),
    request("GET", "/primus/?EIO=3&transport=polling"),
    handshake(POLL.replace("polling", "websocket")) + frame(TEXT, "2probe") + frame(TEXT, "5") + frame(TEXT, '4"w"'),
]
SOCKJS_FRAMES = ['["1","2"]', '"3"', "[]", "", '["1",2]', "[", '["{","4"]', '["\\"primus::ping::1\\"","5"]']
XHR = "/primus/000/session/xhr"
XHRS = [
    request("POST", XHR),
    request("POST", XHR + "_streaming"),
    *(request("POST", XHR + "_send", body=text.encode()) for text in SOCKJS_FRAMES),
    request("POST", XHR + "_send", {"Transfer-Encoding": "chunked"}, b'5\r\n["1",\r\n5\r\n"22"]\r\n0\r\n\r\n'),
    request("POST", XHR + "_send", body=b"x" * 5000),
]
DEFLATE = [handshake(sec_websocket_extensions="permessage-deflate")]
WAYS = {
    "websockets": Way({}, [handshake(target) for target in TARGETS], FRAMES, REQUESTS),
    "compressed": Way({"compression": True}, DEFLATE, [*FRAMES, *COMPRESSED, *COMPRESSED]),
    "with takeover": Way(
        {"compression": Compression(context_takeover=True, threshold=10)},
        DEFLATE,
        [*COMPRESSED, frame(TEXT, '"plain"')],
    ),
    "engine.io": Way(
        {"transformer": "engine.io"},
        [handshake(f"/primus/?EIO={protocol}&transport=websocket") for protocol in (3, 4)],
        [*FRAMES, *(frame(TEXT, packet) for packet in PACKETS), frame(BINARY, b"\x041")],
    ),
    "engine.io polling": Way(
        {"transformer": "engine.io"},
        POLLS,
        POLLS,
        REQUESTS,
        [request("GET", "/primus/?EIO=4&transport=polling"), POLLS[0]],
    ),
    "sockjs": Way(
        {"transformer": "sockjs"},
        [handshake("/primus/000/session/websocket"), handshake("/primus/websocket")],
        [*FRAMES, *(frame(TEXT, text) for text in SOCKJS_FRAMES)],
    ),
    "sockjs polling": Way({"transformer": "sockjs"}, XHRS, XHRS, REQUESTS, [XHRS[0], XHRS[0]]),
}


@st.composite
def streams(draw: st.DrawFn, way: Way) -> bytes:
    """A few requests, then most often a session with what its client sends, and a few bytes changed."""
    parts = draw(st.lists(st.sampled_from(way.requests), max_size=3)) if way.requests else []
    if draw(st.integers(0, 4)):
        parts.append(draw(st.sampled_from(way.opening)))
        parts += draw(st.lists(st.sampled_from(way.pieces), max_size=6))
    stream = bytearray(b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        if stream:
            stream[draw(st.integers(0, len(stream) - 1))] = draw(st.integers(0, 255))
    return bytes(stream)


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", WAYS)
@given(st.data(), st.lists(st.integers(0, 3000), max_size=5))
def test_answers_do_not_depend_on_the_cuts(name: str, data: st.DataObject, cuts: list[int]) -> None:
    way = WAYS[name]
    stream = data.draw(streams(way))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cut = [stream[start:stop] for start, stop in pairwise(places)]
    whole = outcome(way, [stream])
    assert outcome(way, cut) == whole
    assert outcome(way, [bytes([byte]) for byte in stream]) == whole


@pytest.mark.parametrize(
    ("name", "opening", "bad"),
    [("engine.io", 1, "9"), ("sockjs", 0, "["), ("sockjs", 0, '["' + "x" * 2000 + '"]')],
)
@pytest.mark.parametrize("how", ["resumes", "takes too long", "ends", "is gone"])
def test_a_violation_waits_for_a_session_that_does_not_read(name: str, opening: int, bad: str, how: str) -> None:
    """It paused at the message before."""
    way = WAYS[name]
    first = frame(TEXT, '4"x"' if name == "engine.io" else r'["\"x\""]')
    wire = ServerWire(limits=Limits(message=1000), **way.options)
    wire.on_data = lambda event: event.spark.pause()
    peer = wire.accept()
    peer.send(way.opening[opening] + first + frame(TEXT, bad))
    (spark,) = wire.server
    wire.run(3.0)
    spark.resume()
    spark.pause()  # before the violation could be looked at
    wire.run(1.9)
    assert wire.all(ev.SparkEnded) == []
    spark.write("answer")
    if how == "resumes":
        spark.resume()
    elif how == "ends":
        spark.end()
    elif how == "is gone":
        peer.eof()
    wire.run(0.2)
    assert len(wire.all(ev.SparkEnded)) == 1
    assert len(wire.all(ev.SparkError)) == (how != "ends")
    assert (b"answer" in wire.take(peer.channel)) == (how != "is gone")


@pytest.mark.parametrize("bad", ["[", '["' + "x" * 2000 + '"]'])
@pytest.mark.parametrize("cut", [False, True])
def test_the_first_of_two_violations_counts(bad: str, cut: bool) -> None:
    """The one behind it comes while what is before it waits for a transform."""
    way = WAYS["sockjs"]
    wire = ServerWire(limits=Limits(message=1000, held=0), **way.options)
    peer = wire.accept()
    peer.send(way.opening[0])
    (spark,) = wire.server
    spark.transform("incoming", later)
    first = frame(TEXT, '["1","' + "x" * 2000 + '","2"]')
    for piece in (first, frame(TEXT, bad)) if cut else (first + frame(TEXT, bad),):
        if not peer.paused():
            peer.send(piece)
    [step] = [event.held for event in wire.all(ev.StepHeld)]
    step.resume(now=wire.now)
    wire.run(0.1)
    assert [event.reason.code for event in wire.all(ev.SparkEnded)] == [1009]
    assert [event.data for event in wire.all(ev.SparkData)] == [1]
