"""The client half of Engine.IO: how a session opens, and a move to a WebSocket that fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import ReadyState
from primus_proto import events as ev
from tests.unit.transports.far_server import Asked, FarServer, answer
from tests.unit.wires import CLOSE, TEXT, close_frame

HELLO = {"sid": "abc", "upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 100000}


def hello(**changes: Any) -> str:
    return "0" + json.dumps(HELLO | changes)


def far(*transports: str, opening: str | bytes | None = None, **transport: Any) -> FarServer:
    """A server that has answered the first poll of a client."""
    if transports:
        transport["transports"] = transports
    server = FarServer(transformer="engine.io", transport=transport)
    if opening is not None:
        server.give(server.one(), answer(200, opening))
    return server


def opened(**transport: Any) -> tuple[FarServer, Asked, Asked]:
    """A session, its poll, and its handshake of a WebSocket."""
    server = far(opening=hello(), **transport)
    upgrade, poll = sorted(server.asked(), key=lambda asked: "websocket" not in asked.target)
    assert server.names()[-1] == "open"
    return server, poll, upgrade


def packets(server: FarServer, socket: Asked) -> list[bytes]:
    return [each.payload for each in server.frames(socket) if each.opcode == TEXT]


# --- opening ---


@pytest.mark.parametrize(
    ("opening", "protocol"),
    [
        (hello(), 4),
        (f"{len(hello())}:{hello()}", 3),
    ],
)
def test_the_first_answer_shows_the_protocol(opening: str, protocol: int) -> None:
    server = far("polling", opening=opening)
    server.wire.client.write("é")
    poll, post = server.asked()
    assert (poll.method, post.method) == ("GET", "POST")
    assert ("sid=abc" in poll.target, "transport=polling" in poll.target) == (True, True)
    assert post.body == ('4"é"'.encode() if protocol == 4 else b"\x00\x05\xff" + '4"é"'.encode())


@pytest.mark.parametrize(
    "opening",
    [
        "", "Welcome to SockJS!", "0", "0[]", "0{}", "4" + hello()[1:], hello(sid=None), hello(sid="a&b"),
        hello(sid="x" * 201), hello(pingInterval=0), hello(pingTimeout="20000"), "0" + "[" * 100_000,
    ],
)  # fmt: skip
def test_an_answer_that_is_none_of_engine_io(opening: str) -> None:
    server = far(opening=opening)
    assert "none of Engine.IO" in str(server.error())
    assert server.names()[-1] == "end"


def test_a_refusal_ends_the_attempt() -> None:
    server = far()
    server.give(server.one(), answer(401, '{"error":"no"}'))
    assert server.error().status == 401
    assert server.names()[-1] == "end"


@pytest.mark.parametrize("said", ["x", "4hello", None, b""])
def test_a_websocket_that_opens_no_session(said: str | bytes | None) -> None:
    server = far("websocket")
    socket = server.one()
    server.accept(socket, *([said] if isinstance(said, str) else []))
    if said is None:
        server.wire.eof(socket.channel)
    if said == b"":
        server.give(socket, close_frame(1000, mask=False))
    assert server.names()[-1] == "end"
    assert socket.channel in server.wire.closed or said is None
    assert server.asked() == []


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_client_that_does_not_read_says_that_it_is_there(protocol: int) -> None:
    server = far("polling", opening=hello() if protocol == 4 else f"{len(hello())}:{hello()}")
    poll = server.one()
    server.wire.client.pause()
    server.asked()
    for _ in range(4):
        server.wire.run(10)
        server.give(post := server.one(), answer(200, "ok"))
        assert post.body == (b"3" if protocol == 4 else b"\x00\x01\xff2")
    server.wire.client.resume()
    server.asked()
    server.wire.run(100)
    assert (server.names()[-1], poll.channel in server.wire.closed) == ("end", True)


def test_a_client_of_protocol_3_waits_longer_than_it_pings() -> None:
    opening = hello().replace("25000", "10000")
    server = far("polling", opening=f"{len(opening)}:{opening}")
    server.one()
    server.wire.run(10)
    server.give(server.one(), answer(200, "ok"))
    server.wire.run(19.9)
    assert (server.asked(), server.wire.client.ready_state) == ([], ReadyState.OPEN)
    server.wire.run(0.2)
    assert server.names()[-1] == "end"


def test_a_client_of_protocol_3_pings() -> None:
    server = far("polling", opening=f"{len(hello())}:{hello()}")
    poll = server.one()
    for _ in range(3):
        server.wire.run(25)
        server.give(post := server.one(), answer(200, "ok"))
        assert post.body == b"\x00\x01\xff2"
        server.give(poll, answer(200, "1:3"))
        poll = server.one()
    server.wire.run(25)
    server.give(server.one(), answer(200, "ok"))
    server.wire.run(19.9)
    assert server.wire.client.ready_state is ReadyState.OPEN
    server.wire.run(0.2)
    assert server.names()[-1] == "end"


def test_a_poll_that_fails_while_the_client_ends() -> None:
    server = far("polling", opening=hello())
    poll = server.one()
    server.wire.client.end("bye")
    post = server.one()
    server.wire.eof(poll.channel, "reset")
    assert post.channel not in server.wire.closed
    assert post.body == b'4"bye"\x1e1'
    server.give(post, answer(200, "ok"))
    assert post.channel in server.wire.closed


# --- a move that fails ---


def fail(server: FarServer, upgrade: Asked, how: str) -> None:
    """Let the move to a WebSocket fail."""
    if how == "refused":
        server.give(upgrade, answer(400, "no"))
    elif how == "unreachable":
        server.wire.eof(upgrade.channel, "connection reset")
    else:
        server.accept(upgrade, *([] if how in ("silent", "lost", "closed") else [how]))
        assert packets(server, upgrade) == [b"2probe"]
        if how == "lost":
            server.wire.eof(upgrade.channel)
        elif how == "closed":
            server.wire.feed(upgrade.channel, b"\x88\x00")
        elif how == "silent":
            server.wire.run(10.1)
            assert [each.opcode for each in server.frames(upgrade)] == [CLOSE]


@pytest.mark.parametrize("how", ["refused", "unreachable", "silent", "lost", "closed", "3", "4text", "x"])
def test_a_move_that_fails_is_no_loss(how: str) -> None:
    server, poll, upgrade = opened()
    server.wire.client.write(1)
    fail(server, upgrade, how)
    server.wire.client.write(2)
    asked = server.asked()
    posts = [each for each in asked if each.method == "POST"]
    assert len(posts) == 1
    server.give(posts[0], answer(200, "ok"))
    server.give(poll, answer(200, "41\x1e42"))
    again = server.asked()
    bodies = [each.body for each in (*posts, *again) if each.method == "POST"]
    assert b"\x1e".join(bodies) == b"41\x1e42"
    assert [each.method for each in again].count("GET") == 1
    assert [event.data for event in server.wire.all(ev.DataReceived)] == [1, 2]
    assert server.wire.client.ready_state is ReadyState.OPEN


def test_a_move_that_breaks_once_it_works_is_no_loss_before_it_is_said() -> None:
    """The server has answered the probe. Until the client's requests are answered it moves nothing."""
    server, poll, upgrade = opened()
    server.accept(upgrade, "3probe")
    server.wire.client.write(1)
    assert packets(server, upgrade) == [b"2probe"]
    assert server.asked() == []
    server.wire.eof(upgrade.channel)
    post = server.one()
    assert (post.method, post.body) == ("POST", b"41")
    server.give(poll, answer(200, "6"))
    assert server.one().method == "GET"


def test_what_was_written_while_moving_travels_on_the_websocket() -> None:
    server, poll, upgrade = opened()
    server.wire.client.write(1)
    post = server.one()
    server.accept(upgrade, "3probe")
    server.wire.client.write(2)
    server.give(poll, answer(200, "41"))
    assert packets(server, upgrade) == [b"2probe"]
    server.give(post, answer(200, "ok"))
    assert packets(server, upgrade) == [b"5", b"42"]
    assert server.asked() == []
    assert poll.channel in server.wire.closed


def test_an_end_amid_a_move() -> None:
    server, _, upgrade = opened()
    server.accept(upgrade)
    server.wire.client.end("bye")
    post = server.one()
    assert post.body == b'4"bye"\x1e1'
    server.give(post, answer(200, "ok"))
    assert [each.opcode for each in server.frames(upgrade)][-1] == CLOSE
    server.wire.run(5.1)
    assert upgrade.channel in server.wire.closed
    assert server.wire.endpoint.next_timeout() is None
