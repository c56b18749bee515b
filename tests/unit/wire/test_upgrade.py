"""The fast lane for heads reads what h11 would read."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from primus_proto.http.model import Address, Headers, Request
from primus_proto.transports.base import Exchange
from primus_proto.wire.handshake import switching_protocols
from primus_proto.wire.upgrade import read_upgrade
from tests.unit.wire.http_bench import Bench
from tests.unit.wire.test_http1_bad import Owner
from tests.unit.wires import KEY, request

UPGRADE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)  Chrome/126",
}
HEAD = request("GET", "/primus?a=b", UPGRADE)

odd = st.sampled_from(
    [b"", b" ", b"  ", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\x7f", b"\x80", b"\xff", b":", b"(", b"x"]
)
fields = st.sampled_from(
    [
        *(b"Host: a", b"host: b", b"Upgrade: h2c", b"Connection: close", b"Expect: 100-continue", b"A:b", b"A : b"),
        *(b"Content-Length: 0", b"Content-Length: 3", b"content-length: x", b"Transfer-Encoding: chunked", b"A: b:  c"),
        *(b"A:", b"A: ", b": b", b"A", b" A: b", b"A: b ", b"A: \xe9", b"\xe9: b", b"", b"A: b\r\n c", b"A: b\n c"),
    ]
)
first_lines = st.sampled_from(
    [
        *(b"GET /primus HTTP/1.1", b"GET /primus HTTP/1.0", b"GET /primus HTTP/2.0", b"GET /primus", b"get / HTTP/1.1"),
        *(b"GET http://a/b HTTP/1.1", b"GET * HTTP/1.1", b"GET  / HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"POST / HTTP/1.1"),
        *(b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"\r\nGET / HTTP/1.1", b"CONNECT / HTTP/1.1", b"HEAD / HTTP/1.1"),
    ]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are ordinary but for a little."""
    lines = HEAD.split(b"\r\n")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(1, len(lines) - 2))
        lines[at : at + draw(st.integers(0, 1))] = [draw(fields)]
    if draw(st.booleans()):
        lines[0] = draw(first_lines)
    head = b"\r\n".join(lines)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(head)))
        head = head[:at] + draw(odd) + head[at + draw(st.integers(0, 1)) :]
    return head


def accept(exchange: Exchange, now: float) -> None:
    exchange.accept_websocket(Owner(), 100, (("X-A", "\xe9"),), now=now)


def refuse(exchange: Exchange, now: float) -> None:
    exchange.respond(401, (), b"no", now=now)


def outcome(bench: Bench, pieces: list[bytes]) -> tuple[object, ...]:
    for piece in pieces:
        bench.feed(piece)
    seen = [
        (one.method, one.target, one.headers.pairs, one.http_version, one.peer)
        for one in (exchange.request for exchange in bench.exchanges)
    ]
    return seen, bench.output, bench.commands, bench.log, bench.channel.unread, bench.timers.next()


@pytest.mark.parametrize("handler", [accept, refuse])
@given(heads(), st.sampled_from([b"", b"\x81", HEAD]))
@example(HEAD, b"\x81")
def test_a_head_is_read_as_h11_reads_it(handler: object, head: bytes, behind: bytes) -> None:
    fast, slow = Bench(head=len(HEAD) + 4), Bench(head=len(HEAD) + 4)
    fast.handler = slow.handler = handler  # type: ignore[assignment]
    assert slow.http._conn is not None  # h11 is there, so it reads everything
    assert outcome(fast, [head, behind]) == outcome(slow, [head, behind])


def test_an_ordinary_head_takes_the_lane() -> None:
    ordinary = read_upgrade(HEAD)
    assert ordinary is not None
    assert (ordinary[0], ordinary[1]["user-agent"]) == ("/primus?a=b", UPGRADE["User-Agent"])
    assert read_upgrade(HEAD + b"x") is read_upgrade(HEAD[:-1]) is read_upgrade(request()) is None


def test_the_answer_is_that_of_h11() -> None:
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(HEAD)
    conn.next_event()
    token = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # that of the example in RFC 6455, 1.3
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", token), ("X-A", "\xe9")]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    answer = h11.InformationalResponse(status_code=101, headers=raw, reason=b"Switching Protocols")
    seen = Request("GET", "/", Headers(UPGRADE), Address("", 0))
    assert conn.send(answer) == switching_protocols(seen, fields[3:])
