"""HTTP/1.1 on a server's channel: bytes in, answers out. What the answers say is the gate's business (test_gate)."""

from __future__ import annotations

import pytest

from primus_proto import LocalProtocolError
from primus_proto.http.model import Address
from primus_proto.transports.base import Exchange
from primus_proto.wire.http1 import SLICE
from tests.unit.wire.http_bench import Bench, Handler, hold, reading
from tests.unit.wires import request


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- what a request becomes ---


def test_the_head_becomes_a_request(bench: Bench) -> None:
    bench.feed(request("GET", "/a?b=c", {"X-One": "1", "x-one": "\xe9"}))
    (seen,) = (exchange.request for exchange in bench.exchanges)
    assert (seen.method, seen.target, seen.path, seen.query_string) == ("GET", "/a?b=c", "/a", "b=c")
    assert seen.headers.pairs == (("Host", "server"), ("X-One", "1"), ("x-one", "\xe9"))
    assert seen.headers.get_all("x-ONE") == ["1", "\xe9"]
    assert seen.peer == Address("192.0.2.7", 80)
    assert seen.http_version == "1.1"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://server/primus/spec", "/primus/spec"),
        ("HTTPS://user@server:8080/a?b=http://c/d", "/a?b=http://c/d"),
        ("http://server", "/"),
        ("http://server?x=/y", "/?x=/y"),
        ("/x?y=http://z/w", "/x?y=http://z/w"),
        ("//double", "//double"),
    ],
)
def test_targets(bench: Bench, target: str, path: str) -> None:
    assert bench.ask(request("GET", target)).status == 200
    assert bench.exchanges[0].request.target == path


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("OPTIONS", "*"),
        ("CONNECT", "server:443"),
        ("CONNECT", "/primus"),
        ("GET", "server:80"),
        ("GET", "x?y=://z/primus/spec"),
        ("GET", "primus/spec"),
        ("GET", "://server/primus/spec"),
    ],
)
def test_targets_that_make_no_sense_here(bench: Bench, method: str, target: str) -> None:
    reply = bench.ask(request(method, target))
    assert (reply.status, reply.error) == (400, "request target not understood")
    assert bench.exchanges == []
    assert bench.commands == ["CloseChannel"]


def test_the_answer_has_what_answers_have(bench: Bench) -> None:
    reply = bench.ask(request())
    assert reply.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.headers == {"content-length": "2", "date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    assert reply.body == b"ok"
    assert bench.exchanges[0].sent == 2
    assert not bench.exchanges[0].open


def test_an_answer_with_a_date_and_a_status_of_its_own(bench: Bench) -> None:
    bench.handler = lambda exchange, now: exchange.respond(499, (("DATE", "today"),), now=now)
    reply = bench.ask(request())
    assert reply.head.startswith(b"HTTP/1.1 499 Unknown\r\n")
    assert reply.headers["date"] == "today"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_requests_that_are_cut_anywhere(size: int) -> None:
    bench = Bench()
    bench.handler, bodies = reading()
    data = (
        request()
        + request("POST", "/a", body=b"hello")
        + request("POST", "/b", {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")
        + request("GET", "/c")
    )
    for at in range(0, len(data), size):
        bench.feed(data[at : at + size])
    assert [reply.body for reply in bench.replies()] == [b"0", b"5", b"5", b"0"]
    assert bodies == [b"", b"hello", b"abcde", b""]
    assert bench.commands == []


# --- keep-alive ---


def test_keep_alive_until_it_is_idle_too_long() -> None:
    bench = Bench(handshake=10)
    for _ in range(3):
        assert bench.ask(request()).status == 200
        bench.run_to(bench.now + 9.9)
        assert bench.commands == []
    bench.run_to(bench.now + 0.2)
    assert bench.commands == ["CloseChannel"]
    assert bench.output == b""
    assert bench.timers.next() is None


@pytest.mark.parametrize(
    "data",
    [request(headers={"Connection": "close"}), request(version="1.0"), request(version="1.0", host=False)],
    ids=["close", "1.0", "1.0 without Host"],
)
def test_no_keep_alive(bench: Bench, data: bytes) -> None:
    reply = bench.ask(data)
    assert reply.headers["connection"] == "close"
    assert bench.commands == ["CloseChannel"]
    assert bench.timers.next() is None


def test_a_close_with_more_to_come_lingers() -> None:
    """Closing with unread input makes the kernel send a reset, which can eat the answer."""
    for more in (request(), b"G", b"x" * SLICE * 2):
        bench = Bench(close=5)
        bench.handler = lambda exchange, now: exchange.respond(200, (), b"x", True, now=now)
        bench.feed(request() + more)
        assert len(bench.replies()) == 1
        bench.feed(b"and more")
        bench.run_to(5.0)
        assert bench.commands == ["EndWriting", "CloseChannel!"]
        assert len(bench.exchanges) == 1


# --- pipelining ---


def test_pipelined_requests_are_answered_in_order(bench: Bench) -> None:
    bench.handler = lambda exchange, now: exchange.respond(200, (), exchange.request.target.encode(), now=now)
    bench.feed(b"".join(request("GET", f"/{number}") for number in range(500)))
    assert [reply.body for reply in bench.replies()] == [b"/%d" % number for number in range(500)]


def test_pipelining_is_bounded() -> None:
    bench = Bench(pipelined=1000)
    bench.handler = hold
    bench.feed(request())
    bench.feed(b"G" * 1000)
    assert bench.commands == []
    bench.feed(b"G")
    bench.feed(b"G")  # what was on its way when reading stopped
    assert bench.commands == ["PauseReading"]
    bench.exchanges[0].respond(200, now=0.0)
    bench.pump()
    assert bench.commands == ["PauseReading", "ResumeReading"]


def test_pipelining_is_bounded_over_many_requests() -> None:
    """Each answer must not let more in than it used up."""
    bench = Bench(pipelined=1000)
    bench.handler = hold
    one = request()
    sent = read = 0
    paused = False
    bench.feed(one)
    sent += len(one)
    for _ in range(200):
        while not paused:
            bench.feed(one * 5)
            sent += len(one) * 5
            paused = bool(bench.commands) and bench.commands[-1] == "PauseReading"
        assert sent - read < 1000 + SLICE + 6 * len(one)
        bench.exchanges[-1].respond(200, now=0.0)
        read += len(one)
        bench.pump()
        paused = bench.commands[-1] == "PauseReading"
    assert len(bench.exchanges) == 201


def test_a_peer_that_does_not_read_gets_no_more_answers() -> None:
    bench = Bench(backlog=10_000, pipelined=1000)
    bench.handler = lambda exchange, now: exchange.respond(200, (), b"x" * 1000, now=now)
    bench.channel.blocked = True
    for _ in range(100):
        bench.feed(request())
    assert bench.commands == ["PauseReading"]
    assert 10_000 < bench.channel.buffered < 12_000
    answered = len(bench.exchanges)
    assert answered < 11
    bench.channel.blocked = False
    bench.channel.touch()
    bench.pump()
    assert len(bench.exchanges) == 100
    assert len(bench.replies()) == 100
    assert bench.commands == ["PauseReading", "ResumeReading"]


def test_a_peer_that_never_reads_is_dropped() -> None:
    bench = Bench(backlog=100, handshake=10, close=5)
    bench.channel.blocked = True
    bench.feed(request() * 20)
    bench.run_to(20.0)
    assert bench.commands == ["CloseChannel!"]
    assert bench.timers.next() is None


# --- HEAD, 204, 304, streams ---


def test_head_has_the_headers_of_get_and_no_body(bench: Bench) -> None:
    reply = bench.ask(request("HEAD"), head=True)
    assert (reply.status, reply.headers["content-length"]) == (200, "2")
    assert bench.output == b""
    assert bench.exchanges[0].sent == 0
    assert bench.ask(request()).body == b"ok"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_cannot_have_a_body(bench: Bench, status: int) -> None:
    bench.handler = lambda exchange, now: exchange.respond(status, (), b"never sent", now=now)
    reply = bench.ask(request())
    assert reply.status == status
    assert "content-length" not in reply.headers
    bench.handler = lambda exchange, now: exchange.respond(200, (), b"ok", now=now)
    assert bench.ask(request()).body == b"ok"


def stream(status: int = 200) -> Handler:
    def handler(exchange: Exchange, now: float) -> None:
        exchange.extra_headers = (("X-Extra", "yes"),)
        exchange.stream(status, (("X-A", "b"),), now=now)
        for part in (b"one", b"", b"two"):
            exchange.write(part, now=now)
        exchange.finish(now=now)

    return handler


def test_a_stream_is_chunked(bench: Bench) -> None:
    bench.handler = stream()
    for _ in range(2):
        reply = bench.ask(request())
        assert reply.headers["transfer-encoding"] == "chunked"
        assert (reply.headers["x-a"], reply.headers["x-extra"]) == ("b", "yes")
        assert reply.body == b"onetwo"
    assert bench.exchanges[0].sent == 6
    assert bench.commands == []


def test_a_stream_to_an_old_peer_ends_with_the_channel(bench: Bench) -> None:
    bench.handler = stream()
    bench.feed(request(version="1.0"))
    assert bench.output.endswith(b"\r\n\r\nonetwo")
    assert b"transfer-encoding" not in bench.output.lower()
    assert bench.commands == ["CloseChannel"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_stream_that_must_not_have_a_body(bench: Bench, method: str, status: int) -> None:
    bench.handler = stream(status)
    bench.feed(request(method))
    assert bench.output.endswith(b"\r\n\r\n")
    assert b"one" not in bench.output
    assert bench.exchanges[0].sent == 0
    assert bench.commands == []


def test_a_stream_says_when_its_output_has_left(bench: Bench) -> None:
    bench.handler = hold
    bench.feed(request())
    (exchange,) = bench.exchanges
    drained: list[float] = []
    exchange.on_drained = drained.append
    exchange.stream(200, now=0.0)
    exchange.write(b"x" * 100, now=0.0)
    assert exchange.buffered > 100
    bench.now = 3.0
    bench.pump()
    assert (exchange.buffered, drained) == (0, [3.0])
    exchange.write(b"y", now=3.0)
    bench.pump()
    assert drained == [3.0]  # asked for once, told once
    exchange.finish(now=3.0)
    bench.pump()
    assert bench.replies()[0].body == b"x" * 100 + b"y"


def test_an_answer_says_when_it_has_left(bench: Bench) -> None:
    """Each of two that wait for the same peer to read."""
    drained: list[tuple[str, float]] = []

    def answer(exchange: Exchange, now: float) -> None:
        path = exchange.request.path
        exchange.on_drained = lambda now: drained.append((path, now))
        exchange.respond(200, (), b"x", now=now)

    bench.handler = answer
    bench.channel.blocked = True
    bench.feed(request(target="/a") + request(target="/b"))
    blocked = [bench.exchanges[1].blocked]
    assert drained == []
    bench.now = 3.0
    bench.channel.writable(now=3.0)
    bench.pump()
    assert [*blocked, bench.exchanges[1].blocked] == [True, False]
    assert drained == [("/a", 3.0), ("/b", 3.0)]


def test_a_misused_exchange_raises(bench: Bench) -> None:
    bench.handler = hold
    bench.feed(request())
    (exchange,) = bench.exchanges
    with pytest.raises(LocalProtocolError, match="no answer to finish"):
        exchange.finish(now=0.0)
    exchange.write(b"before there is a stream: dropped", now=0.0)
    exchange.stream(200, now=0.0)
    with pytest.raises(LocalProtocolError, match="begun already"):
        exchange.respond(200, now=0.0)
    with pytest.raises(LocalProtocolError, match="begun already"):
        exchange.stream(200, now=0.0)
    exchange.write(b"unharmed", now=0.0)
    exchange.finish(now=0.0)
    bench.pump()
    assert bench.replies()[0].body == b"unharmed"


def test_an_answered_exchange_ignores_every_call(bench: Bench) -> None:
    bench.feed(request())
    bench.replies()
    (exchange,) = bench.exchanges
    called: list[bytes] = []
    exchange.respond(500, now=0.0)
    exchange.stream(500, now=0.0)
    exchange.write(b"x", now=0.0)
    exchange.finish(now=0.0)
    exchange.abort(now=0.0)
    exchange.read(10, lambda body, now: called.append(body), now=0.0)
    bench.pump()
    assert (bench.output, bench.commands, called) == (b"", [], [])


def test_abort(bench: Bench) -> None:
    bench.handler, _ = reading()
    bench.feed(request("POST", body=b"12345")[:-1])
    assert bench.timers.next() is not None
    bench.exchanges[0].abort(now=0.0)
    bench.pump()
    assert bench.commands == ["CloseChannel!"]
    assert bench.gone == []
    assert bench.timers.next() is None
    assert not bench.exchanges[0].open


# --- the peer leaves ---


@pytest.mark.parametrize("listens", [True, False])
def test_the_peer_leaves_before_the_answer(bench: Bench, listens: bool) -> None:
    bench.handler = hold
    bench.feed(request())
    if not listens:
        bench.exchanges[0].on_gone = None
    bench.channel.channel_closed(None, now=4.0)
    bench.pump()
    assert bench.gone == [4.0] * listens
    assert not bench.exchanges[0].open
    assert bench.commands == ["CloseChannel!"]
    bench.exchanges[0].respond(200, now=5.0)
    bench.pump()
    assert bench.output == b""


@pytest.mark.parametrize("data", [b"", b"GET /", request()])
def test_the_peer_leaves_and_nobody_waits(bench: Bench, data: bytes) -> None:
    bench.feed(data)
    bench.channel.channel_closed("reset", now=4.0)
    bench.pump()
    assert bench.gone == []
    assert bench.commands == ["CloseChannel!"]
    assert bench.timers.next() is None


def test_closing_when_idle(bench: Bench) -> None:
    bench.handler = hold
    bench.feed(request())
    bench.http.close_when_idle()
    bench.pump()
    assert bench.commands == []
    bench.exchanges[0].respond(200, now=0.0)
    bench.http.close_when_idle()
    bench.http.close_when_idle()
    bench.pump()
    assert bench.commands == ["CloseChannel"]
    assert bench.timers.next() is None


def test_while_the_host_is_closing_every_answer_is_the_last(bench: Bench) -> None:
    bench.handler = hold
    bench.feed(request())
    bench.exchanges[0].stream(200, now=0.0)
    bench.closing = True
    bench.exchanges[0].finish(now=0.0)
    bench.pump()
    assert bench.commands == ["CloseChannel"]
    assert bench.timers.next() is None
