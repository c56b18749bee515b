"""What attackers send to a whole endpoint: smuggled requests, forged headers, floods, and bad servers."""

from __future__ import annotations

import pytest

from primus_proto import ReadyState
from tests.unit.exchanges import ForeignExchange, foreign_request
from tests.unit.wires import CLOSE, TEXT, ClientWire, ServerWire, close_frame, frame, handshake, replies, request

SMUGGLED = request("GET", "/primus/spec?smuggled")


def post(*lines: str, end: str = "\r\n") -> bytes:
    """The head of a POST."""
    return end.join(["POST /primus/spec HTTP/1.1", "Host: x", *lines, "", ""]).encode("latin-1")


# Each is read as one request by one party, and as two by another.
SMUGGLING = {
    "two lengths": post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
    "a list of lengths": post(f"Content-Length: 0, {len(SMUGGLED)}"),
    "chunked and a length": post(f"Content-Length: {len(SMUGGLED)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a signed length": post("Content-Length: +0"),
    "a length in hexadecimal": post("Content-Length: 0x0"),
    "a folded line": post("X-A: b", " Transfer-Encoding: chunked"),
    "a line folded by a tab": post("X-A: b", "\tContent-Length: 9"),
    "lines that end with a bare LF": post(end="\n"),
    "a bare LF in a value": post("X-A: b\nContent-Length: 0"),
    "a space before the colon": post("Content-Length : 0"),
    "a tab in the coding": post("Transfer-Encoding: \x0bchunked"),
    "another coding": post("Transfer-Encoding: xchunked"),
    "two codings": post("Transfer-Encoding: chunked, identity"),
    "a NUL in a value": post("X-A: b\x00c"),
    "a NUL in a name": post("X-\x00A: b"),
    "a CR in a value": post("X-A: b\rContent-Length: 0"),
    "an upgrade that is refused": handshake(sec_websocket_version="8"),
    "a chunk with a bare LF": post("Transfer-Encoding: chunked") + b"1\nx\n0\n\n",
    "a signed chunk": post("Transfer-Encoding: chunked") + b"+1\r\nx\r\n0\r\n\r\n",
    "a chunk of 2**64": post("Transfer-Encoding: chunked") + b"10000000000000000\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
@pytest.mark.parametrize("size", [1, 10_000])
def test_nothing_is_smuggled(name: str, size: int) -> None:
    """One answer, the connection closes, and what follows is no request."""
    wire = ServerWire()
    peer = wire.accept()
    data = SMUGGLING[name] + SMUGGLED
    for at in range(0, len(data), size):
        if not peer.closed():
            peer.send(data[at : at + size])
    found, rest = replies(wire.take(peer.channel))
    assert len(found) == 1
    assert found[0].headers["connection"] == "close"
    assert not rest
    wire.run(10.0)
    assert peer.closed()


def test_a_host_of_our_exchanges_lets_nothing_be_smuggled_either() -> None:
    wire = ServerWire()
    exchange = ForeignExchange(
        foreign_request("POST", "/primus", {"Content-Length": "9", "Transfer-Encoding": "chunked"})
    )
    wire.endpoint.request(exchange, now=wire.now)
    wire.pump()
    assert exchange.answer is not None
    assert (exchange.answer.status, exchange.answer.error) == (400, "both Content-Length and Transfer-Encoding")


# --- a server that means ill ---


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000,
        b"X-More: y\r\n" * 100,
        b"\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100,
    ],
)
def test_an_endless_answer_ends_the_attempt(flood: bytes) -> None:
    wire = ClientWire(strategy=False)
    wire.up()
    channel, sent = wire.channel, 0
    while channel not in wire.closed:
        wire.feed(channel, flood)
        wire.run(0.001)
        sent += len(flood)
        assert sent < 1_000_000
    assert wire.told()[-1] == "end"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_nowhere(status: int) -> None:
    wire = ClientWire(strategy=False, headers={"Cookie": "secret"})
    wire.up()
    head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n"
    wire.feed(wire.channel, head.encode())
    wire.run(100.0)
    assert [command.host for command in wire.opening] == ["server"]


@pytest.mark.parametrize("said", ['"primus::id::x"', '"primus::pong::1"', '"primus::open::"', '"primus::"'])
def test_a_storm_of_what_nobody_asked_for_leaves_nothing_behind(said: str) -> None:
    wire = ClientWire(strategy=False, ping=False)
    channel = wire.open()
    wire.told()
    for _ in range(50):
        wire.feed(channel, frame(TEXT, said, mask=False) * 100)
        assert set(wire.told()) <= {"message ignored"}
    assert wire.frames() == []
    assert wire.client.ready_state is ReadyState.OPEN


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535])
def test_no_bad_close_code_is_taken_or_returned(code: int) -> None:
    server = ServerWire()
    peer, spark = server.connect()
    peer.send(close_frame(code))
    assert [each.payload[:2] for each in peer.frames() if each.opcode == CLOSE] == [b"\x03\xea"]
    assert spark.close_reason is not None
    assert spark.close_reason.code == 1002
