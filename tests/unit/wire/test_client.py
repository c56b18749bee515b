"""The client's side of HTTP/1.1: every request ends in one outcome, whatever the server sends."""

from __future__ import annotations

import pytest

from primus_proto import ConnectError
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.transports.base import ERROR_BODY
from primus_proto.wire.client import INTERIM
from tests.unit.wires import TEXT, ClientWire, frame


def failure(wire: ClientWire) -> ConnectError:
    """What the first connect failed with; the client gave up at once (strategy=False)."""
    assert wire.told()[-4:] == ["error", "readyStateChange", "close", "end"]
    (event,) = wire.all(ev.ErrorOccurred)
    assert isinstance(event.error, ConnectError)
    wire.run(60)
    assert set(wire.closed) == {command.channel for command in wire.opening}
    assert wire.endpoint.channels == 0
    assert wire.endpoint.next_timeout() is None
    return event.error


@pytest.fixture
def wire() -> ClientWire:
    return ClientWire(strategy=False)


# --- what it says ---


def test_what_it_asks_of_the_driver() -> None:
    assert ClientWire("https://[::1]:8443").opening == [cmd.OpenChannel(1, "::1", 8443, True)]
    assert ClientWire("http://server/").opening == [cmd.OpenChannel(1, "server", 80, False)]


def test_the_handshake() -> None:
    wire = ClientWire("http://user:pa%20ss@server:8080/?a=b", headers={"X-One": "1", "Cookie": "\xe9"})
    head, rest = wire.up().decode("latin-1").split("\r\n\r\n")
    start, *lines = head.split("\r\n")
    assert rest == ""
    assert start.startswith("GET /primus?a=b&_primuscb=")
    assert start.endswith("&ping=25000&pong=10000 HTTP/1.1")
    fields = dict(line.split(": ") for line in lines)
    key = fields.pop("Sec-WebSocket-Key")
    assert len(key) == 24
    assert list(fields.items()) == [
        ("Host", "server:8080"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("X-One", "1"),
        ("Cookie", "\xe9"),
        ("Authorization", "Basic dXNlcjpwYSBzcw=="),
    ]
    other = ClientWire("http://server")
    assert other.up() == ClientWire("http://server").up()  # the same rng, the same key


# --- it opens ---


def test_frames_and_an_end_before_the_first_pump_are_not_lost(wire: ClientWire) -> None:
    said = wire.up()
    wire.feed(wire.channel, wire.answer(said, frame(TEXT, "1", mask=False)), pump=False)
    wire.feed(wire.channel, frame(TEXT, "2", mask=False), pump=False)
    wire.eof(wire.channel)
    assert wire.told()[2:] == ["open", "data", "data", "readyStateChange", "close", "end"]


@pytest.mark.parametrize(("count", "opens"), [(INTERIM, True), (INTERIM + 1, False)])
def test_interim_answers_without_end_fail(wire: ClientWire, count: int, opens: bool) -> None:
    said = wire.up()
    wire.feed(wire.channel, b"HTTP/1.1 102 Processing\r\n\r\n" * count)
    if opens:
        wire.feed(wire.channel, wire.answer(said))
        assert wire.told()[-1] == "open"
    else:
        assert str(failure(wire)) == "the server gives interim answers without end"


@pytest.mark.parametrize(
    "change",
    [
        {"upgrade": None},
        {"upgrade": "h2c"},
        {"upgrade": "websocket, h2c"},
        {"connection": None},
        {"connection": "keep-alive"},
        {"sec_websocket_accept": None},
        {"sec_websocket_accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        {"sec_websocket_extensions": "permessage-deflate"},
        {"sec_websocket_protocol": "chat"},
    ],
)
def test_bad_101s(wire: ClientWire, change: dict[str, str | None]) -> None:
    said = wire.up()
    wire.feed(wire.channel, wire.answer(said, frame(TEXT, "1", mask=False), **change))
    error = failure(wire)
    assert (str(error), error.status) == ("the server's answer is no valid WebSocket handshake", None)


# --- it does not ---


def test_a_server_that_resets_a_tls_connection_before_it_has_said_anything() -> None:
    wire = ClientWire("https://server", strategy=False)
    wire.up()
    wire.eof(wire.channel, "reset")
    assert str(failure(wire)) == "reset; perhaps the server wants a certificate of this client"


def test_not_opened_and_no_reason(wire: ClientWire) -> None:
    wire.eof(wire.channel)
    assert str(failure(wire)) == "the connection could not be opened"


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        (b"", None, "the server closed without an answer"),
        (b"", "reset", "reset"),
        (b"HTTP/1.1 20", None, "the server closed without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None, "the server closed without an answer"),
        (b"HTTP/1.1 200 OK\r\n\r\npart", "reset", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", None, "the server broke off its answer: peer closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, "the server broke off its answer: peer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", None, "the server broke off its answer: ill"),
    ],
)  # fmt: skip
def test_closed_without_a_whole_answer(wire: ClientWire, said: bytes, error: str | None, text: str) -> None:
    wire.up()
    wire.feed(wire.channel, said)
    if wire.channel not in wire.closed:
        wire.eof(wire.channel, error)
    assert str(failure(wire)).startswith(text)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_garbage(wire: ClientWire, said: bytes, size: int) -> None:
    wire.up()
    for at in range(0, len(said), size):
        wire.feed(wire.channel, said[at : at + size])
    error = failure(wire)
    assert str(error).startswith("the server does not speak HTTP: ")
    assert len(str(error)) < 300
    assert error.status is None


def test_a_tls_server_on_a_plain_port(wire: ClientWire) -> None:
    wire.up()
    wire.feed(wire.channel, b"\x15\x03\x01\x00\x02\x02\x46")
    assert str(failure(wire)) == "the server speaks TLS here: use https://"


def test_a_tls_alert_counts_only_as_the_first_byte(wire: ClientWire) -> None:
    wire.up()
    wire.feed(wire.channel, b"HTTP/1.1 200 OK\r\nX: ")
    wire.feed(wire.channel, b"")
    wire.feed(wire.channel, b"\x15\r\nContent-Length: 0\r\n\r\n")
    assert failure(wire).headers == (("X", "\x15"), ("Content-Length", "0"))


@pytest.mark.parametrize("connects", [True, False])
def test_an_attempt_that_takes_too_long(connects: bool) -> None:
    wire = ClientWire(timeout=3.0, strategy=False)
    if connects:
        wire.up()
    wire.run(2.9)
    assert wire.told() == ["readyStateChange"]
    wire.run(0.2)
    assert wire.told() == ["timeout", "readyStateChange", "close", "end"]
    assert wire.closed == {1: True}
    assert wire.endpoint.next_timeout() is None
    wire.endpoint.channel_opened(1, now=wire.now)  # it had been on its way
    wire.pump()
    assert wire.take(1) == b""


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("200 OK", "200 OK instead of a connection: is this a Primus server with the same transformer?"),
        ("302 Found", "302 Found: redirects are not followed, connect to the new address"),
        ("400 Bad Request", "400 Bad Request instead of a connection: is this"),
        ("401 Unauthorized", "401 Unauthorized"),
        ("404 Not Found", "404 Not Found: no Primus under this pathname?"),
        ("503 Service Unavailable", "503 Service Unavailable"),
        ("599 Whatever", "599"),
    ],
)
def test_other_answers(wire: ClientWire, status: str, text: str) -> None:
    wire.up()
    wire.feed(wire.channel, f'HTTP/1.1 {status}\r\nX-One: 1\r\nContent-Length: 11\r\n\r\n{{"error":1}}'.encode())
    error = failure(wire)
    assert str(error).startswith(f"the server answered {text}")
    assert error.status == int(status[:3])
    assert error.headers == (("X-One", "1"), ("Content-Length", "11"))
    assert error.body == b'{"error":1}'


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://b.example/primus?token=secret", " https://b.example/primus"),
        ("https://user:secret@b.example/", ""),
        ("/\u009b31m", ""),
        ("", ""),
    ],
)
def test_a_redirect_names_the_new_address_without_secrets(wire: ClientWire, location: str, told: str) -> None:
    wire.up()
    head = f"HTTP/1.1 301 Moved Permanently\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    wire.feed(wire.channel, head.encode("latin-1"))
    assert str(failure(wire)).endswith(f"connect to the new address{told}")


@pytest.mark.parametrize("head", [b"HTTP/1.0 403 No\r\n\r\n", b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n"])
def test_an_answer_that_ends_with_the_connection(wire: ClientWire, head: bytes) -> None:
    wire.up()
    wire.feed(wire.channel, head + b"all ")
    wire.feed(wire.channel, b"of it")
    wire.eof(wire.channel)
    error = failure(wire)
    assert (error.status, error.body) == (403, b"all of it")
    assert str(error) == "the server answered 403 Forbidden: a refusal, or no Primus under this pathname"


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked", "Connection: close"])
def test_the_body_of_a_refusal_may_drip(wire: ClientWire, status: int, length: str) -> None:
    wire.up()
    wire.feed(wire.channel, f"HTTP/1.1 {status} No\r\n{length}\r\n\r\n".encode())
    for _ in range(20):
        wire.feed(wire.channel, b"1\r\nx\r\n" if "chunked" in length else b"x")
        wire.run(0.1)
    error = failure(wire)
    assert (error.status, error.body) == (status, b"x" * 10)


@pytest.mark.parametrize("chunk", [1000, 300_000])
def test_only_the_beginning_of_an_endless_answer_is_kept(wire: ClientWire, chunk: int) -> None:
    wire.up()
    wire.feed(wire.channel, b"HTTP/1.1 500 No\r\n\r\n")
    for _ in range(300_000 // chunk):
        wire.feed(wire.channel, b"x" * chunk)
    error = failure(wire)
    assert (error.status, error.body) == (500, b"x" * ERROR_BODY)


# --- attempts that are over ---


def test_an_answer_in_the_turn_in_which_the_client_ends_and_opens() -> None:
    wire = ClientWire(ping=False)
    said = wire.up()
    wire.client.end()
    wire.client.open()
    wire.feed(wire.channel, wire.answer(said, frame(TEXT, '"old"', mask=False)), pump=False)
    wire.pump()
    assert wire.closed == {1: True}
    wire.open(more=frame(TEXT, '"new"', mask=False))
    assert [event.data for event in wire.all(ev.DataReceived)] == ["new"]
    assert wire.endpoint.channels == 1
