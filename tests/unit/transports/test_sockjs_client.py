"""The client half of SockJS: one way after the other, and the end of a session."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConnectionLost, ReadyState, RemoteProtocolError
from primus_proto import events as ev
from tests.unit.transports.far_server import Asked, FarServer, answer
from tests.unit.wires import BINARY, TEXT, close_frame, frame

INFO = '{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":1}'
STREAM = answer(200, "", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")


def chunk(data: str) -> bytes:
    return f"{len(data):x}\r\n{data}\r\n".encode()


def far(*ways: str, info: str | None = INFO, **transport: Any) -> FarServer:
    """A server that has told a client what there is."""
    if ways:
        transport["transports"] = ways
    server = FarServer(transformer="sockjs", transport=transport)
    if info is not None:
        server.give(server.one("info"), answer(200, info))
    return server


def polled(*frames: str) -> tuple[FarServer, Asked]:
    """A session that polls, and its poll."""
    server = far("xhr-polling")
    server.give(server.one("xhr"), answer(200, "o\n"))
    assert server.names()[-1:] == ["open"]
    return server, server.one("xhr")


# --- one way after the other ---


def test_every_way_is_tried_with_a_key_of_its_own() -> None:
    server = far()
    keys = set()
    for what, status in (("websocket", 404), ("xhr_streaming", 500), ("xhr", 404)):
        asked = server.one(what)
        keys.add(asked.target.split("/")[3])
        server.give(asked, answer(status))
    assert len(keys) == 3
    assert server.names()[-1] == "end"
    assert server.error().status == 404


@pytest.mark.parametrize("way", ["websocket", "xhr-streaming"])
def test_a_way_that_stays_silent_is_left_in_time(way: str) -> None:
    """A proxy may accept a WebSocket and pass on nothing, or keep a streamed answer to itself."""
    server = far(way, "xhr-polling", fallback_timeout=2.0)
    asked = server.one()
    if way == "websocket":
        server.accept(asked)
    else:
        server.give(asked, STREAM, chunk("h" * 2048 + "\n"))
    server.wire.run(1.9)
    assert server.asked() == []
    server.wire.run(0.2)
    assert server.wire.closed[asked.channel]
    server.give(server.one("xhr"), answer(200, "o\n"))
    assert server.names()[-1:] == ["open"]
    server.wire.run(5)
    assert server.wire.client.ready_state is ReadyState.OPEN


@pytest.mark.parametrize("text", ["", "x", "h", 'a["1"]', 'c[3000,"Go away!"]'])
@pytest.mark.parametrize("way", ["websocket", "xhr-streaming"])
def test_a_way_that_opens_no_session_is_left_at_once(way: str, text: str) -> None:
    server = far(way, "xhr-polling")
    asked = server.one()
    if way == "websocket":
        server.accept(asked, text)
    else:
        server.give(asked, STREAM, chunk(text + "\n"), b"0\r\n\r\n")
    assert server.one("xhr").target
    assert server.names() == ["readyStateChange"]


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_refusal_ends_the_attempt(status: int) -> None:
    server = far()
    server.give(server.one("websocket"), answer(status, '{"error":"no"}'))
    assert server.asked() == []
    assert server.names()[-1] == "end"
    assert server.error().status == status


@pytest.mark.parametrize("info", ["", "Welcome to SockJS!", "[]", "{}", '{"websocket":1}'])
def test_an_answer_that_is_none_of_sockjs(info: str) -> None:
    server = far(info=info)
    assert "none of SockJS" in str(server.error())
    assert server.names()[-1] == "end"


def test_a_server_without_sockjs() -> None:
    server = far(info=None)
    server.give(server.one("info"), answer(404))
    assert (server.error().status, server.names()[-1]) == (404, "end")


def test_a_websocket_that_closes_without_a_session() -> None:
    server = far("websocket")
    asked = server.one()
    server.accept(asked)
    server.give(asked, close_frame(1000, mask=False))
    assert "none of SockJS" in str(server.error())
    assert server.names()[-1] == "end"


def test_no_way_in_common() -> None:
    server = far("websocket", info=INFO.replace("true", "false"))
    assert "no way in common" in str(server.error())


def test_an_attempt_that_is_given_up_lets_go_of_its_websocket() -> None:
    server = far("websocket")
    asked = server.one()
    server.accept(asked)
    server.wire.client.end()
    server.wire.pump()
    assert server.wire.closed[asked.channel]


# --- the end of a session ---


def test_the_end_gives_up_a_request_that_waits_at_the_server() -> None:
    """What else would tell it? It would wait for the client to come back."""
    server, poll = polled()
    server.wire.client.end("bye")
    posted = server.one("xhr_send")
    assert posted.body == b'["\\"bye\\""]'
    server.give(posted, answer(204))
    asked = server.one("xhr_send")  # the answer to the first may have crossed one to the poll
    assert asked.body == b"[]"
    server.give(poll, answer(200, 'a["1"]\n'))  # as it does here
    poll = server.one("xhr")
    server.give(asked, answer(204))
    asked = server.one("xhr_send")
    assert poll.channel not in server.wire.closed
    server.give(asked, answer(204))
    assert server.wire.closed[poll.channel]
    assert [event.data for event in server.wire.all(ev.DataReceived)] == []


def test_the_end_of_a_session_that_streams_takes_one_request() -> None:
    server = far("xhr-streaming")
    stream = server.one("xhr_streaming")
    server.give(stream, STREAM, chunk("h" * 2048 + "\no\n"))
    server.wire.client.end("bye")
    server.give(server.one("xhr_send"), answer(204))
    assert server.wire.closed[stream.channel]


def test_an_end_at_both_ends() -> None:
    server, poll = polled()
    server.wire.client.end()
    assert server.one("xhr_send").body == b"[]"
    server.give(poll, answer(200, 'c[1000,"Normal closure"]\n'))
    assert poll.channel in server.wire.closed
    assert server.asked() == []


def test_an_end_that_the_server_does_not_answer_is_bounded() -> None:
    server, poll = polled()
    server.wire.client.end()
    server.wire.run(5.1)
    assert server.wire.closed[poll.channel]
    assert server.wire.endpoint.next_timeout() is None


# --- what goes wrong in a session ---


@pytest.mark.parametrize(
    ("given", "code", "error"),
    [
        (answer(404), 1006, ConnectionLost),
        (answer(200, "x\n"), 3000, RemoteProtocolError),
        (answer(200, 'a["1",2]\n'), 3000, RemoteProtocolError),
        (answer(200, "c" + "[" * 998 + "\n"), 3000, RemoteProtocolError),
        (answer(200, 'a["1"]'), 1006, ConnectionLost),  # it does not end
        (answer(200, 'c[2010,"Another connection still open"]\n'), 2010, ConnectionLost),
        (answer(200, 'c[2010,"Another connection still open"]\nx\n'), 2010, ConnectionLost),
        (answer(200, "c[2010]\n"), 3000, RemoteProtocolError),
        (answer(200, 'a"1"\n'), 3000, RemoteProtocolError),
        (answer(200, "a[" + '"1",' * 2000 + "2]\n"), 3000, RemoteProtocolError),
    ],
)
def test_what_ends_a_session(given: bytes, code: int, error: type[Exception]) -> None:
    server, poll = polled()
    server.give(poll, given)
    (closed,) = server.wire.all(ev.Closed)
    assert (closed.reason.kind, closed.reason.code, type(closed.reason.error)) == ("lost", code, error)
    assert server.wire.all(ev.DataReceived) == []


def test_a_post_that_fails_ends_the_session() -> None:
    server, _ = polled()
    server.wire.client.write("x")
    server.give(server.one("xhr_send"), answer(404))
    assert [event.reason.kind for event in server.wire.all(ev.Closed)] == ["lost"]


def test_a_websocket_session() -> None:
    server = far("websocket")
    asked = server.one()
    server.accept(asked, "o", 'a["1"]', 'm"2"', "h")
    server.wire.client.write("é")
    server.wire.pump()
    assert [event.data for event in server.wire.all(ev.DataReceived)] == [1, 2]
    assert [(each.opcode, each.payload) for each in server.frames(asked)] == [(TEXT, b'["\\"\\u00e9\\""]')]


def test_a_reason_with_half_a_surrogate_pair() -> None:
    server = far("websocket")
    asked = server.one()
    server.accept(asked, "o", r'c[3000,"cut \ud83d"]')
    assert [event.reason.reason for event in server.wire.all(ev.Closed)] == ["cut ?"]
    assert [each.payload for each in server.frames(asked)] == [b"\x0b\xb8cut ?"]


@pytest.mark.parametrize("bad", [frame(BINARY, b"x", mask=False), frame(TEXT, "x", mask=False)])
def test_a_websocket_that_brings_no_frames(bad: bytes) -> None:
    server = far("websocket")
    asked = server.one()
    server.accept(asked, "o")
    server.give(asked, bad + frame(TEXT, 'c[1000,"too late"]', mask=False))
    assert [event.reason.code for event in server.wire.all(ev.Closed)] == [3000]


def test_a_client_that_does_not_read_says_that_it_is_there() -> None:
    server, _ = polled()
    server.wire.client.pause()
    server.wire.run(2)
    post = server.one("xhr_send")
    server.wire.run(2)
    assert (post.body, server.asked()) == (b"[]", [])
    server.give(post, answer(204))
    server.wire.run(2)
    assert server.one("xhr_send").body == b"[]"
