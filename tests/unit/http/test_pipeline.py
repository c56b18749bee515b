"""The gate: whose path it is, the spec, and authorization as an event and an answer (protocol 2 and 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import ConfigError, Limits, LocalProtocolError
from primus_proto import events as ev
from tests.unit.wires import HANDSHAKE, TEXT, Peer, ServerWire, frame, handshake, request


@pytest.fixture
def wire() -> ServerWire:
    return ServerWire()


def asked(wire: ServerWire) -> int:
    """The id of the last question."""
    return wire.all(ev.RequestHeld)[-1].id


# --- whose path ---


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/primus", 426),
        ("/primus/", 426),
        ("/primus?a=b", 426),
        ("/primus/deeper/", 426),
        ("/primus/spec", 200),
        ("/primus/spec?x=y", 200),
        ("http://server/primus/spec", 200),
        ("/primus/spec/", 426),
        ("/primus/spec/x", 426),
        ("/primus/primus.js", 404),
        ("/primusX", 404),
        ("/primu", 404),
        ("/", 404),
        ("/x/primus", 404),
        ("/Primus", 404),
        ("//primus", 404),
        ("/primus/../primus/spec", 400),
        ("/primus/./spec", 400),
        ("/primus/%2e%2E/spec", 400),
        ("/primus//spec", 400),
        ("/primus/a%2f%2fb", 400),
        ("/primus/..", 400),
        ("/primus/x..y/...", 426),
    ],
)
def test_paths_go_by_whole_segments(wire: ServerWire, path: str, status: int) -> None:
    peer = wire.accept()
    assert peer.ask("GET", path).status == status
    assert wire.told() == []
    assert peer.ask().status == 200  # the connection goes on


def test_a_pathname_of_more_than_one_segment() -> None:
    wire = ServerWire(pathname="/a/b")
    peer = wire.accept()
    for path, status in (("/a/b/spec", 200), ("/a/b", 426), ("/a", 404), ("/primus/spec", 404)):
        assert peer.ask("GET", path).status == status
    peer.upgrade("/a/b?ping=false")


def test_a_handshake_goes_by_the_path_as_well(wire: ServerWire) -> None:
    peer = wire.accept()
    for path, status in (("/primusX", 404), ("/primus/../primus", 400)):
        assert peer.ask("GET", path, headers=HANDSHAKE).status == status
    assert peer.ask("GET", "/primus/spec", headers=HANDSHAKE).status == 101


# --- the spec ---


def test_the_spec(wire: ServerWire) -> None:
    peer = wire.accept()
    reply = peer.ask("GET", "/primus/spec")
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {
        "version": "6.0.1",
        "pathname": "/primus",
        "parser": "json",
        "transformer": "websockets",
        "timeout": 35000,
    }
    head = peer.ask("HEAD", "/primus/spec")
    assert (head.status, head.headers["content-length"]) == (200, str(len(reply.body)))


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "get"])
def test_the_spec_is_only_for_reading(wire: ServerWire, method: str) -> None:
    peer = wire.accept()
    reply = peer.ask(method, "/primus/spec")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_the_spec_and_the_library_need_no_authorization() -> None:
    for authorization in (True, "all"):
        wire = ServerWire(authorization=authorization)
        peer = wire.accept()
        assert peer.ask("GET", "/primus/spec").status == 200
        assert peer.ask("GET", "/primus/primus.js").status == 404
        assert wire.told() == []


# --- authorization ---


def waiting(**options: Any) -> tuple[ServerWire, Peer]:
    """A server that asks, and a peer that waits for the answer."""
    wire = ServerWire(authorization=True, **options)
    peer = wire.accept()
    peer.send(handshake("/primus?token=secret"))
    assert wire.told() == ["request held"]
    assert wire.take(peer.channel) == b""
    return wire, peer


def test_accepted() -> None:
    wire, peer = waiting()
    (question,) = wire.all(ev.RequestHeld)
    assert question.request.query["token"] == "secret"
    assert question.request.headers["upgrade"] == "websocket"
    wire.run(3)
    peer.send(frame(TEXT, '"early"'))
    assert wire.endpoint.resume(question.id) is True
    assert wire.told() == ["connection", "data"]
    assert peer.reply().status == 101
    assert wire.server.spark(wire.all(ev.SparkConnected)[0].spark.id) is not None
    assert wire.endpoint.resume(question.id) is False  # answered already
    assert wire.endpoint.resume(question.id, wire.endpoint.server.refusal("no")) is False
    wire.run(60)
    assert len(wire.server) == 1


def test_rejected() -> None:
    wire, peer = waiting()
    assert wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("no entry")) is True
    wire.pump()
    reply = peer.reply()
    assert (reply.status, reply.error) == (401, "no entry")
    assert reply.body == b'{"error":"no entry"}'
    assert reply.headers["connection"] == "close"
    assert "www-authenticate" not in reply.headers
    assert peer.closed()
    assert not peer.aborted()
    assert wire.told() == []
    assert wire.endpoint.next_timeout() is None


@pytest.mark.parametrize(("status", "shown"), [(401, 'Basic realm="x"'), (403, None), (500, None), (599, None)])
def test_rejected_with_a_status_and_a_challenge(status: int, shown: str | None) -> None:
    wire, peer = waiting()
    wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("né", status=status, authenticate='Basic realm="x"'))
    wire.pump()
    reply = peer.reply()
    assert (reply.status, reply.error) == (status, "né")
    assert reply.headers.get("www-authenticate") == shown


@pytest.mark.parametrize("authenticate", ["a\r\nSet-Cookie: x", "a\nb", "a\x00", " a", "\u20ac"])
def test_no_header_can_be_smuggled_in(authenticate: str) -> None:
    wire, peer = waiting()
    with pytest.raises(ConfigError, match="WWW-Authenticate"):
        wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("no", authenticate=authenticate))
    wire.pump()
    assert wire.take(peer.channel) == b""  # nothing was changed: it still waits
    assert wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("no\r\n\r\nHTTP/1.1 200 OK")) is True
    wire.pump()
    assert peer.reply().error == "no\r\n\r\nHTTP/1.1 200 OK"


@pytest.mark.parametrize("status", [200, 399, 600, "401", None])
def test_a_refusal_has_the_status_of_one(status: int) -> None:
    wire, _ = waiting()
    with pytest.raises(ConfigError, match="400 to 599"):
        wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("no", status=status))
    assert wire.endpoint.resume(asked(wire))


@pytest.mark.parametrize("id", [0, -1, 2, 99])
def test_an_id_that_was_never_issued(id: int) -> None:
    wire, _ = waiting()
    with pytest.raises(LocalProtocolError, match="was ever held"):
        wire.endpoint.resume(id)
    with pytest.raises(LocalProtocolError):
        wire.endpoint.resume(id, wire.endpoint.server.refusal("no"))
    assert wire.endpoint.resume(1) is True


def test_nobody_decides_in_time() -> None:
    wire, peer = waiting(limits=Limits(authorization=7.0))
    wire.run(6.9)
    assert wire.take(peer.channel) == b""
    wire.run(0.2)
    reply = peer.reply()
    assert (reply.status, reply.error) == (503, "authorization took too long")
    assert peer.closed()
    assert wire.endpoint.resume(asked(wire)) is False
    assert wire.endpoint.next_timeout() is None


def test_the_peer_leaves_first() -> None:
    wire, peer = waiting()
    peer.eof()
    assert wire.endpoint.resume(asked(wire)) is False
    assert wire.endpoint.next_timeout() is None
    assert wire.told() == []
    assert wire.endpoint.channels == 0


@pytest.mark.parametrize("accept", [True, False])
def test_the_peer_leaves_between_the_decision_and_its_doing(accept: bool) -> None:
    wire, peer = waiting()
    decided = wire.endpoint.resume(1) if accept else wire.endpoint.resume(1, wire.endpoint.server.refusal("no"))
    assert decided is True
    peer.eof()
    assert wire.told() == []
    assert len(wire.server) == 0
    assert wire.endpoint.next_timeout() is None


def test_too_many_wait() -> None:
    wire = ServerWire(authorization=True, limits=Limits(authorizations=2))
    first, second, third = (wire.accept() for _ in range(3))
    for peer in (first, second, third):
        peer.send(handshake())
    assert wire.told() == ["request held"] * 2
    reply = third.reply()
    assert (reply.status, reply.error) == (503, "too many requests wait for authorization")
    wire.endpoint.resume(1)
    wire.pump()
    third.send(handshake())
    assert wire.told() == ["connection", "request held"]
    assert asked(wire) == 3


def test_authorization_comes_before_what_is_wrong_with_the_request() -> None:
    """A refusal tells nothing of what would have been answered otherwise."""
    wire = ServerWire(authorization=True)
    peer = wire.accept()
    for data, status in (
        (request("GET", "/primus"), 426),
        (request("POST", "/primus", body=b"x"), 426),
        (handshake(sec_websocket_key=None), 400),
    ):
        peer = wire.accept()
        peer.send(data)
        assert wire.told() == ["request held"]
        wire.endpoint.resume(asked(wire), wire.endpoint.server.refusal("no"))
        wire.pump()
        assert peer.reply().status == 401
        peer = wire.accept()
        peer.send(data)
        assert wire.told() == ["request held"]
        wire.endpoint.resume(asked(wire))
        wire.pump()
        assert peer.reply().status == status
    wire.run(60)
    assert wire.endpoint.channels == 0


def test_pipelining_behind_a_question_is_bounded() -> None:
    wire, peer = waiting(limits=Limits(pipelined=1000))
    peer.send(b"x" * 1000)
    assert not peer.paused()
    peer.send(b"x")
    assert peer.paused()
    wire.endpoint.resume(1)
    wire.pump()
    assert not peer.paused()


# --- closing ---


def test_while_closing_everything_is_refused() -> None:
    wire = ServerWire()
    _, spark = wire.connect()
    idle, busy, late = (wire.accept() for _ in range(3))
    busy.send(b"GET /primus/sp")
    wire.server.close(timeout=5)
    wire.endpoint.receive_data(late.channel, handshake(), now=wire.now)
    wire.pump()
    assert idle.closed()
    assert busy.closed()
    reply = late.reply()
    assert (reply.status, reply.headers["connection"]) == (503, "close")
    assert late.closed()
    assert spark.close_reason is None
    late = wire.accept()
    assert late.aborted()
    wire.run(5)
    assert wire.told() == ["readyStateChange", "disconnection", "end"]
    wire.run(5)
    assert wire.told() == ["close"]
    assert wire.endpoint.next_timeout() is None
    assert wire.endpoint.channels == 0


def test_while_closing_nobody_waits_for_authorization() -> None:
    wire, peer = waiting()
    wire.server.close()
    wire.pump()
    reply = peer.reply()
    assert (reply.status, reply.error) == (503, "the server is closing")
    assert peer.closed()
    assert wire.endpoint.resume(1) is False
    assert wire.told() == ["close"]


def test_accepted_in_the_same_breath_as_the_server_closes() -> None:
    wire, peer = waiting()
    wire.server.close()
    assert wire.endpoint.resume(1) is True
    assert wire.told() == ["close"]
    assert peer.reply().status == 503
    assert len(wire.server) == 0


def test_a_server_with_nothing_to_do_closes_at_once() -> None:
    wire = ServerWire()
    wire.server.close()
    assert wire.told() == ["close"]
    assert wire.accept().aborted()
    assert wire.endpoint.next_timeout() is None
    assert wire.told() == []
