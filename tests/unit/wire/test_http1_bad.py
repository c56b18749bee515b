"""Request bodies, time limits, and bad HTTP of every kind: each ends in one answer and a channel that closes."""

from __future__ import annotations

import pytest

from primus_proto.transports.base import Exchange
from tests.unit.wire.http_bench import Bench, hold, reading
from tests.unit.wires import HANDSHAKE, ServerWire, request

CHUNKED = {"Transfer-Encoding": "chunked"}

# What is done to a connection whose peer may still send: EOF, and the end a little later.
CUT = ["EndWriting", "CloseChannel!"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- bodies ---


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "0"}, {"Content-Length": "0, 0"}])
def test_no_body_is_an_empty_one(bench: Bench, headers: dict[str, str]) -> None:
    bench.handler, bodies = reading(0)
    assert bench.ask(request("POST", headers=headers)).status == 200
    assert bodies == [b""]


def test_a_body_of_just_the_limit(bench: Bench) -> None:
    bench.handler, bodies = reading(10)
    assert bench.ask(request("POST", body=b"0123456789")).status == 200
    assert bench.ask(request("POST", headers=CHUNKED, body=b"a\r\n0123456789\r\n0\r\n\r\n")).status == 200
    assert bodies == [b"0123456789"] * 2


def test_a_content_length_above_the_limit_is_refused_at_once(bench: Bench) -> None:
    """It is refused at once, before any of it came, and with a lingering close: the peer is busy sending."""
    bench.handler, bodies = reading(10)
    reply = bench.ask(request("POST", headers={"Content-Length": "11"}))
    assert (reply.status, reply.error) == (413, "request body larger than 10 bytes")
    assert reply.headers["connection"] == "close"
    assert bench.commands == CUT[:1]
    bench.feed(b"x" * 11 + request())
    assert (bench.output, bodies, len(bench.exchanges)) == (b"", [], 1)
    bench.run_to(bench.limits.close)
    assert bench.commands == CUT
    assert bench.timers.next() is None


def test_a_chunked_body_larger_than_the_limit(bench: Bench) -> None:
    bench.handler, bodies = reading(10)
    bench.feed(request("POST", headers=CHUNKED) + b"8\r\n01234567\r\n")
    assert bench.output == b""
    assert bench.ask(b"8\r\n012").status == 413
    bench.feed(b"34567\r\n0\r\n\r\n")
    assert (bench.output, bodies) == (b"", [])
    bench.channel.channel_closed(None, now=1.0)
    bench.pump()
    assert bench.commands == CUT
    assert bench.timers.next() is None


def test_a_huge_chunk_is_not_waited_for(bench: Bench) -> None:
    bench.handler, _ = reading(10)
    assert bench.ask(request("POST", headers=CHUNKED) + b"fffffffffffffffffff\r\n" + b"x" * 11).status == 413


def test_100_continue_when_somebody_wants_the_body(bench: Bench) -> None:
    bench.handler, bodies = reading()
    bench.feed(request("POST", headers={"Content-Length": "5", "Expect": "100-continue"}))
    assert bench.output == b"HTTP/1.1 100 Continue\r\n\r\n"
    bench.output = b""
    assert bench.ask(b"hello").body == b"5"
    assert bodies == [b"hello"]


def test_no_100_continue_when_nobody_wants_the_body(bench: Bench) -> None:
    data = request("POST", headers={"Content-Length": "5", "Expect": "100-continue"})
    reply = bench.ask(data)
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_an_early_answer_to_an_unread_body_closes_and_lingers(bench: Bench) -> None:
    reply = bench.ask(request("POST", body=b"hello") + request())
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert bench.commands == CUT[:1]
    bench.run_to(bench.limits.close)
    assert bench.commands == CUT
    assert len(bench.exchanges) == 1


def test_an_answer_while_the_body_is_being_read(bench: Bench) -> None:
    """Neither the rest of the body nor its timer is waited for."""
    called: list[bytes] = []
    bench.handler = lambda exchange, now: exchange.read(10, lambda body, now: called.append(body), now=now)
    bench.feed(request("POST", body=b"hello")[:-1])
    (exchange,) = bench.exchanges
    exchange.stream(200, now=1.0)
    bench.feed(b"o")
    bench.run_to(100.0)
    exchange.finish(now=100.0)
    bench.pump()
    assert called == []
    (reply,) = bench.replies()
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_reading_the_body_makes_room_behind_it() -> None:
    bench = Bench(pipelined=1000)
    bench.handler = hold
    bench.feed(request("POST", body=b"x" * 20_000)[:-1])
    assert bench.commands == ["PauseReading"]
    handler, bodies = reading(20_000)
    handler(bench.exchanges[0], 0.0)
    bench.pump()
    assert bench.commands == ["PauseReading", "ResumeReading"]
    bench.feed(b"x")
    assert bodies == [b"x" * 20_000]


# --- time ---


@pytest.mark.parametrize("data", [b"", b"\r\n"])
def test_a_peer_that_says_nothing_is_closed_without_a_word(data: bytes) -> None:
    bench = Bench(handshake=10)
    bench.channel.receive_data(data[:0], now=0.0)
    bench.run_to(9.9)
    assert bench.commands == []
    bench.run_to(10.0)
    assert (bench.output, bench.commands) == (b"", ["CloseChannel"])


def test_an_unfinished_head_is_answered_with_408() -> None:
    """However busily it trickles: the time counts from the beginning."""
    bench = Bench(handshake=10, close=5)
    head = request()[:-2]
    for at, byte in enumerate(head):
        bench.run_to(at * 0.1)
        bench.feed(bytes([byte]))
    bench.run_to(10.0)
    (reply,) = bench.replies()
    assert (reply.status, reply.error) == (408, "the request head did not arrive in time")
    assert reply.headers["connection"] == "close"
    bench.feed(b"\r\n")
    assert bench.exchanges == []
    bench.run_to(15.0)
    assert bench.commands == CUT
    assert bench.timers.next() is None


def test_an_unfinished_body_is_answered_with_408() -> None:
    bench = Bench(handshake=10)
    bench.handler, bodies = reading()
    bench.run_to(5.0)
    bench.feed(request("POST", body=b"hello")[:-1])
    bench.run_to(14.9)
    assert bench.output == b""
    bench.run_to(15.0)
    (reply,) = bench.replies()
    assert (reply.status, reply.error) == (408, "the request body did not arrive in time")
    bench.feed(b"o")
    assert bodies == []


def test_an_answer_may_take_as_long_as_it_likes() -> None:
    """The transport that holds an exchange has timers of its own."""
    bench = Bench(handshake=10)
    bench.handler = lambda exchange, now: exchange.read(10, lambda body, now: None, now=now)
    bench.feed(request("POST", body=b"hello"))
    assert bench.timers.next() is None
    bench.run_to(1000.0)
    bench.exchanges[0].respond(200, now=1000.0)
    bench.pump()
    assert [reply.status for reply in bench.replies()] == [200]
    assert bench.timers.next() == 1010.0


# --- bad HTTP ---


BAD = {
    "no http": (b"hello world\r\n\r\n", 400),
    "control byte": (b"\x00", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad version": (b"GET / HTTP/11\r\nHost: x\r\n\r\n", 400),
    "bad method": (b"G\xe9T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "byte in target": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no host": (request(host=False), 400),
    "two hosts": (request(headers={"Host": "other"}), 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400),
    "folded first": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bad length": (request(headers={"Content-Length": "-1"}), 400),
    "long length": (request(headers={"Content-Length": "9" * 21}), 400),
    "length twice": (request(headers={"Content-Length": "1", "content-length": "2"}), 400),
    "coding": (request(headers={"Transfer-Encoding": "gzip, chunked"}), 501),
    "coding twice": (request(headers={**CHUNKED, "transfer-encoding": "chunked"}), 501),
    "long head": (request(headers={"A": "x" * 20_000 + "\x00"}), 431),
    "long line": (b"GET /" + b"x" * 30_000, 431),
    "many headers": (request(headers={f"A{number}": "x" for number in range(5000)}), 431),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("size", [1, 100_000])
def test_bad_http(name: str, size: int) -> None:
    data, status = BAD[name]
    bench = Bench()
    for at in range(0, len(data), size):
        bench.feed(data[at : at + size])
    (reply,) = bench.replies()
    assert reply.status == status
    assert reply.headers["connection"] == "close"
    assert reply.error
    assert len(reply.body) < 1000
    (line,) = bench.log
    assert line.startswith("192.0.2.7:80: bad HTTP: ")
    assert len(line) < 500
    assert bench.exchanges == []
    bench.feed(request())  # is discarded
    assert (bench.output, bench.exchanges) == (b"", [])
    bench.run_to(100.0)
    assert bench.commands == CUT
    assert bench.timers.next() is None


@pytest.mark.parametrize("hello", [b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)])
def test_a_tls_handshake_on_a_plain_port(bench: Bench, hello: bytes) -> None:
    bench.feed(hello)
    (reply,) = bench.replies()
    assert reply.status == 400
    assert bench.log == ["192.0.2.7:80: bad HTTP: this port speaks plain HTTP, the peer began a TLS handshake"]


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("broken", [b"x\r\n", b"1\r\nab\r\n", b"-1\r\n", b"1" * 30 + b"\r\n"])
def test_a_body_that_breaks_its_framing(bench: Bench, method: str, broken: bytes) -> None:
    bench.handler, bodies = reading()
    bench.feed(request(method, headers=CHUNKED) + b"3\r\nabc\r\n" + broken)
    (reply,) = bench.replies(head=method == "HEAD")
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert bodies == []
    assert bench.gone == []
    assert len(bench.log) == 1
    bench.run_to(100.0)
    assert bench.commands == CUT
    assert bench.timers.next() is None


def test_the_head_limit_is_one_of_the_limits() -> None:
    bench = Bench(head=500)
    rest = len(request(headers={"A": ""}))
    assert bench.ask(request(headers={"A": "x" * (500 - rest)})).status == 200
    bench.feed(request(headers={"A": "x" * (500 - rest)}) + request(headers={"A": "x" * (502 - rest)}))
    assert [reply.status for reply in bench.replies()] == [200, 431]


@pytest.mark.parametrize("first", [1, 30, 64, 100, 2000])
@pytest.mark.parametrize(("size", "status"), [(500, 200), (502, 431), (700, 431), (900, 431)])
def test_a_pipelined_head_has_the_same_limit(first: int, size: int, status: int) -> None:
    """However both were cut: what h11 was given of the second with the first counts, too."""
    bench = Bench(head=500)
    rest = len(request(headers={"A": ""}))
    both = request() + request(headers={"A": "x" * (size - rest)})
    bench.feed(both[:first])
    bench.feed(both[first:])
    assert [reply.status for reply in bench.replies()] == [200, status]


# --- WebSocket handshakes, as far as HTTP goes (the rest: test_wire_websocket) ---


class Owner:
    """An owner that expects nothing but the end."""

    def closing(self) -> bool:
        return False

    def received(self, data: str | bytes, *, now: float) -> None:
        raise AssertionError

    def pinged(self, *, now: float) -> None:
        raise AssertionError

    def drained(self, *, now: float) -> None:
        """Nothing waits for it."""

    def closed(self, code: int, reason: str, error: object, *, now: float) -> None:
        """The end."""


def upgrading(exchange: Exchange, now: float) -> None:
    exchange.accept_websocket(Owner(), 100, (("X-A", "b"),), ("superchat", "chat"), now=now)


def test_an_upgrade_has_the_headers_given(bench: Bench) -> None:
    bench.handler = upgrading
    reply = bench.ask(request("GET", "/", {**HANDSHAKE, "Sec-WebSocket-Protocol": "wamp, chat"}))
    assert reply.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert (reply.headers["x-a"], reply.headers["sec-websocket-protocol"]) == ("b", "chat")
    assert not bench.exchanges[0].open
    assert bench.timers.next() is None
    bench.exchanges[0].respond(200, now=0.0)
    assert bench.exchanges[0].accept_websocket(Owner(), 100, now=0.0) is None
    bench.pump()
    assert bench.output == b""


def test_a_handshake_with_a_body_is_refused(bench: Bench) -> None:
    """The body would be taken for frames, by this end only."""
    bench.handler = upgrading
    reply = bench.ask(request("GET", "/", HANDSHAKE, b"\x81\x80\x00\x00\x00\x00"))
    assert reply.status == 400
    bench.feed(b"x")
    bench.run_to(100.0)
    assert bench.commands == CUT


def test_reading_goes_on_after_an_upgrade() -> None:
    bench = Bench(pipelined=10)
    bench.handler = hold
    bench.feed(request("GET", "/", HANDSHAKE))
    bench.feed(b"x" * 11)
    assert bench.commands == ["PauseReading"]
    upgrading(bench.exchanges[0], 0.0)
    bench.pump()
    assert bench.commands == ["PauseReading", "ResumeReading"]
    assert bench.channel.unread == b"x" * 11


def test_a_head_that_others_read_in_another_way_is_refused_to_head_too() -> None:
    peer = ServerWire().accept()
    peer.send(b"HEAD /primus/spec HTTP/1.1\r\nHost: server\n\r\n")
    reply = peer.reply(head=True)
    assert (reply.status, reply.headers["connection"]) == (400, "close")
