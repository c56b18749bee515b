"""The pipeline: the same layers for every seam, layers that add headers, answer, fail or hold (protocol 2 and 6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import HOLD, ConfigError, Headers, Limits, LocalProtocolError, Request, Response
from primus_proto import events as ev
from tests.unit.exchanges import ForeignExchange, foreign_request
from tests.unit.sessions import ServerHost
from tests.unit.wires import HANDSHAKE, TEXT, Peer, Reply, ServerWire, frame, handshake, request

EXTRA = Headers({"X-Extra": "yes"})
POLL = "/primus/?EIO=4&transport=polling"


class Seam:
    """A server, asked by one of its three seams. What the message seam accepts counts as a 101."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.host = ServerHost(**options) if name == "messages" else ServerWire(**options)
        self.server = self.host.server

    def ask(self, target: str, method: str = "GET", headers: dict[str, str] | None = None) -> Reply:
        if isinstance(self.host, ServerHost):
            answer = self.server.answer(foreign_request(method, target, headers))
            if isinstance(answer, Headers):
                return Reply(101, {name: answer[name] for name in answer}, b"", b"")
            fields = {name.lower(): value for name, value in answer.headers}
            return Reply(answer.status, fields, b"" if method == "HEAD" else answer.body, b"")
        if self.name == "bytes":
            return self.host.accept().ask(method, target, headers=headers)
        exchange = ForeignExchange(foreign_request(method, target, headers))
        self.host.endpoint.request(exchange, now=self.host.now)
        self.host.pump()
        assert exchange.answer is not None
        return exchange.answer


SEAMS = ("bytes", "exchanges", "messages")
each_seam = pytest.mark.parametrize("seam", SEAMS)


# --- the built-in layers ---


@pytest.mark.parametrize(
    ("path", "plain", "upgrade"),
    [
        ("/primus", 426, 101),
        ("/primus/", 426, 101),
        ("/primus?a=b", 426, 101),
        ("/primus/deeper/", 426, 101),
        ("/primus/spec", 200, 101),
        ("/primus/spec?x=y", 200, 101),
        ("/primus/spec/x", 426, 101),
        ("/primus/primus.js", 404, 101),
        ("/primusX", 404, 404),
        ("/primu", 404, 404),
        ("/", 404, 404),
        ("/x/primus", 404, 404),
        ("/Primus", 404, 404),
        ("//primus", 404, 404),
        ("/primus/../primus/spec", 400, 400),
        ("/primus/./spec", 400, 400),
        ("/primus/%2e%2E/spec", 400, 400),
        ("/primus//", 400, 400),
        ("/primus/a%2f%2fb", 400, 400),
        ("/primus/..", 400, 400),
        ("/primus/a/%2e", 400, 400),
        ("/primus/x..y/...", 426, 101),
        ("/primus/a%2Fb", 426, 101),
    ],
)
def test_every_seam_answers_alike(path: str, plain: int, upgrade: int) -> None:
    for headers, status in ((None, plain), (HANDSHAKE, upgrade)):
        answers = [Seam(name).ask(path, headers=headers) for name in SEAMS]
        assert {(answer.status, answer.body) for answer in answers} == {(status, answers[0].body)}


@each_seam
def test_the_spec(seam: str) -> None:
    asked = Seam(seam, pathname="/a/b", authorization="all")
    reply = asked.ask("/a/b/spec")
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {
        "version": "6.0.1",
        "pathname": "/a/b",
        "parser": "json",
        "transformer": "websockets",
        "timeout": 35000,
    }
    assert asked.ask("/a/b/spec", "HEAD").status == 200
    for method in ("POST", "OPTIONS", "get"):
        reply = asked.ask("/a/b/spec", method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert asked.ask("/primus/spec").status == 404
    assert asked.host.told() == []  # nothing was asked about authorization


@each_seam
def test_a_closing_server_takes_no_new_session(seam: str) -> None:
    asked = Seam(seam, transformer="engine.io")
    if isinstance(asked.host, ServerHost):
        asked.host.connect()
    else:
        asked.ask(POLL)
    asked.server.close(timeout=5.0)
    for path, headers in ((POLL.replace("polling", "websocket"), HANDSHAKE), (POLL, None), ("/primus/spec", None)):
        reply = asked.ask(path, headers=headers)
        assert (reply.status, json.loads(reply.body)) == (503, {"error": "the server is closing"})
    assert asked.ask("/").status == 404


# --- layers of one's own ---


@each_seam
def test_layers_run_in_order_each_for_its_kind_of_request(seam: str) -> None:
    asked = Seam(seam)
    ran: list[str] = []
    names: list[str] = []

    def layer(name: str, answer: Response | Headers | None = None, **kinds: bool) -> None:
        def run(request: Request) -> Response | Headers | None:
            ran.append(name)
            return answer

        asked.server.before(name, run, index=3 + len(names), **kinds)
        names.append(name)

    layer("plain", upgrade=False)
    layer("upgrades", http=False)
    layer("both", EXTRA)
    assert asked.ask("/primus/spec").status == 200
    assert asked.ask("/primus", headers=HANDSHAKE).headers["x-extra"] == "yes"
    assert asked.ask("/elsewhere").headers.get("x-extra") is None
    assert ran == ["plain", "both", "upgrades", "both"]
    layer("teapot", Response(418))
    assert asked.ask("/primus/spec").status == 418


@each_seam
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/primus/spec", None, 200),
        ("/primus/primus.js", None, 404),
        ("/primus", None, 426),
        ("/primus", HANDSHAKE, 101),
    ],
)
def test_a_layer_adds_headers_to_any_answer(seam: str, path: str, headers: dict[str, str] | None, status: int) -> None:
    asked = Seam(seam)
    asked.server.before("extra", lambda request: EXTRA, index=0)
    reply = asked.ask(path, headers=headers)
    assert (reply.status, reply.headers["x-extra"]) == (status, "yes")


@pytest.mark.parametrize("seam", ["bytes", "exchanges"])
@pytest.mark.parametrize(("path", "status"), [(POLL, 200), (POLL + "&sid=x", 400)])
def test_a_layer_adds_headers_to_the_answers_of_a_transport(seam: str, path: str, status: int) -> None:
    asked = Seam(seam, transformer="engine.io")
    asked.server.before("extra", lambda request: EXTRA, index=0)
    reply = asked.ask(path)
    assert (reply.status, reply.headers["x-extra"]) == (status, "yes")


def fail(request: Request) -> Any:
    raise ZeroDivisionError


def cancel(request: Request) -> Any:
    raise asyncio.CancelledError  # as the result of a task that was cancelled


@each_seam
@pytest.mark.parametrize(
    ("run", "logged"),
    [
        (fail, "ZeroDivisionError"),
        (cancel, "CancelledError"),
        (lambda request: "hello", "answered with a Response, Headers or None; got 'hello'"),
        (lambda request: Headers({"X-A": "a\r\nX-B: b"}), "header X-A has a value that cannot be sent"),
        (lambda request: Headers({"connection": "close"}), "header connection belongs to the connection"),
        (lambda request: Response(200, (("Content-Length", "5"),)), "Content-Length is set when"),
        (lambda request: Response(101), "must be from 200 to 999"),
        (lambda request: Response("200"), "must be from 200 to 999"),  # type: ignore[arg-type]
        (lambda request: Response(200, {"X-A": 5}), "header X-A has a value that cannot be sent"),  # type: ignore[arg-type]
        (lambda request: Response(200, "text"), "headers must be a mapping or"),  # type: ignore[arg-type]
        (lambda request: Response(200, body="text"), "must be bytes"),  # type: ignore[arg-type]
    ],
)
def test_a_layer_that_fails_is_logged_and_answered_500(seam: str, run: Callable[[Any], Any], logged: str) -> None:
    asked = Seam(seam)
    asked.server.before("extra", lambda request: EXTRA, index=0)
    asked.server.before("broken", run, index=2)
    reply = asked.ask("/primus/spec")
    assert (reply.status, reply.headers["x-extra"], reply.body) == (500, "yes", b'{"error":"internal error"}')
    (event,) = asked.host.fresh()
    assert isinstance(event, ev.Logged)
    assert event.level == "error"
    assert event.text.startswith("layer broken: ")
    assert logged in event.text


def test_an_interrupt_in_a_layer_goes_through() -> None:
    def interrupted(request: Request) -> None:
        raise KeyboardInterrupt

    asked = Seam("messages")
    asked.server.before("interrupted", interrupted, index=0)
    with pytest.raises(KeyboardInterrupt):
        asked.ask("/primus/spec")


def test_the_message_seam_passes_over_layers_that_hold() -> None:
    asked = Seam("messages", authorization="all")
    asked.server.before("slow", lambda request: HOLD, index=0)
    asked.server.before("extra", lambda request: EXTRA, index=7)
    for _ in range(2):
        assert asked.server.answer(foreign_request("GET", "/primus", HANDSHAKE)) == EXTRA
    assert (asked.host.told(), asked.server.next_timeout()) == ([], None)


# --- held requests ---


def waiting(*, layer: bool = False, **options: Any) -> tuple[ServerWire, Peer]:
    """A server that authorizes, and a peer that is held. With `layer`, another layer holds it before that."""
    wire = ServerWire(authorization=True, **options)
    if layer:
        wire.server.before("quota", lambda request: HOLD, index=0)
    peer = wire.accept()
    peer.send(handshake("/primus?token=secret"))
    assert wire.told() == ["request held"]
    assert wire.take(peer.channel) == b""
    return wire, peer


def resume(wire: ServerWire, answer: Response | Headers | None = None) -> None:
    """Resume the request that was held last."""
    assert wire.endpoint.resume(wire.all(ev.RequestHeld)[-1].id, answer)
    wire.pump()


def test_a_request_may_be_held_by_one_layer_after_the_other() -> None:
    wire, peer = waiting(layer=True)
    resume(wire, Headers({"X-Quota": "5"}))
    assert wire.told() == ["request held"]
    first, second = wire.all(ev.RequestHeld)
    assert (first.layer, second.layer) == ("quota", "authorization")
    assert second.request.query["token"] == "secret"
    wire.run(3)
    peer.send(frame(TEXT, '"early"'))
    resume(wire)
    assert wire.told() == ["connection", "data"]
    reply = peer.reply()
    assert (reply.status, reply.headers["x-quota"]) == (101, "5")
    for id in (first.id, second.id):
        assert wire.endpoint.resume(id) is False
        assert wire.endpoint.resume(id, wire.server.refusal("no")) is False
        assert wire.endpoint.fail(id, ZeroDivisionError()) is False
    wire.run(60)
    assert len(wire.server) == 1


@pytest.mark.parametrize(
    ("status", "authenticate", "shown"),
    [(401, None, None), (401, 'Basic realm="x"', 'Basic realm="x"'), (403, "Basic", None), (599, None, None)],
)
def test_a_held_request_is_refused(status: int, authenticate: str | None, shown: str | None) -> None:
    wire, peer = waiting(layer=True)
    resume(wire, EXTRA)
    resume(wire, wire.server.refusal("né", status=status, authenticate=authenticate))
    reply = peer.reply()
    assert (reply.status, reply.error, reply.headers.get("www-authenticate")) == (status, "né", shown)
    assert (reply.headers["connection"], reply.headers["x-extra"]) == ("close", "yes")
    assert peer.closed()
    assert not peer.aborted()
    assert wire.told() == ["request held"]
    assert wire.endpoint.next_timeout() is None


def test_a_request_is_resumed_with_nothing_that_cannot_be_sent() -> None:
    wire, peer = waiting()
    refusals: list[Any] = [{"authenticate": value} for value in ("a\r\nX: y", "a\nX: y", "a\x00", "\u20ac")]
    refusals.append({"status": 200})
    for refusal in refusals:
        with pytest.raises(ConfigError):
            wire.server.refusal("no", **refusal)
    answers: list[Any] = [Headers({"X-A": "a\nb"}), Headers({"Upgrade": "x"}), True, HOLD]
    for answer in answers:
        with pytest.raises(LocalProtocolError):
            wire.endpoint.resume(1, answer)
    for id in (0, -1, 2, 99):
        with pytest.raises(LocalProtocolError, match="was ever held"):
            wire.endpoint.resume(id)
    wire.pump()
    assert wire.take(peer.channel) == b""  # it is held still
    resume(wire, wire.server.refusal("no\r\n\r\nHTTP/1.1 200 OK"))
    assert peer.reply().error == "no\r\n\r\nHTTP/1.1 200 OK"


@pytest.mark.parametrize("layer", ["quota", "authorization"])
def test_a_request_is_not_held_for_ever(layer: str) -> None:
    wire, peer = waiting(layer=layer == "quota", limits=Limits(authorization=7.0))
    wire.run(6.9)
    assert wire.take(peer.channel) == b""
    wire.run(0.2)
    reply = peer.reply()
    assert (reply.status, reply.error) == (503, f"{layer} took too long")
    assert peer.closed()
    assert wire.endpoint.resume(1) is False
    assert wire.endpoint.next_timeout() is None


def test_not_too_many_requests_are_held() -> None:
    wire = ServerWire(authorization=True, limits=Limits(authorizations=2))
    first, second, third = (wire.accept() for _ in range(3))
    for peer in (first, second, third):
        peer.send(handshake())
    assert wire.told() == ["request held"] * 2
    reply = third.reply()
    assert (reply.status, reply.error) == (503, "too many requests wait for authorization")
    wire.endpoint.resume(1)
    wire.pump()
    wire.accept().send(handshake())
    assert wire.told() == ["connection", "request held"]
    assert wire.all(ev.RequestHeld)[-1].id == 3


@pytest.mark.parametrize("resumed", ["no", "with nothing", "with an answer"])
@pytest.mark.parametrize("layer", [False, True])
def test_the_peer_of_a_held_request_leaves(resumed: str, layer: bool) -> None:
    wire, peer = waiting(layer=layer)
    if resumed != "no":
        assert wire.endpoint.resume(1, wire.server.refusal("no") if resumed == "with an answer" else None)
    peer.eof()
    assert wire.endpoint.resume(1) is False
    assert wire.told() == []
    assert (wire.endpoint.next_timeout(), wire.endpoint.channels, len(wire.server)) == (None, 0, 0)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("GET", "/primus"), 426),
        (request("POST", "/primus", body=b"x"), 426),
        (handshake(sec_websocket_key=None), 400),
    ],
)
def test_authorization_comes_before_what_is_wrong_with_the_request(data: bytes, status: int) -> None:
    """A refusal does not tell what would have been answered otherwise."""
    wire = ServerWire(authorization=True)
    for answer, expected in ((wire.server.refusal("no"), 401), (None, status)):
        peer = wire.accept()
        peer.send(data)
        assert wire.told() == ["request held"]
        resume(wire, answer)
        assert peer.reply().status == expected
    wire.run(60)
    assert wire.endpoint.channels == 0


# --- closing ---


@pytest.mark.parametrize("resumed", [False, True])
def test_closing_turns_away_who_asks_for_a_session(resumed: bool) -> None:
    wire, peer = waiting()
    wire.server.close()
    if resumed:
        assert wire.endpoint.resume(1) is True
    assert wire.told() == ["close"]
    reply = peer.reply()
    assert (reply.status, reply.error) == (503, "the server is closing")
    assert peer.closed()
    assert wire.endpoint.resume(1) is False
    assert len(wire.server) == 0


def test_closing_waits_for_a_request_that_the_transport_has_not_seen() -> None:
    """It may belong to a session that is open."""
    wire, peer = waiting(layer=True)
    wire.server.close()
    assert wire.told() == []
    resume(wire)
    assert peer.reply().error == "the server is closing"
    assert wire.told() == ["close"]


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


@pytest.mark.parametrize(("fields", "parameters", "status"), [(9, 5, 101), (10, 5, 431), (9, 6, 414)])
def test_header_fields_and_parameters_are_counted(fields: int, parameters: int, status: int) -> None:
    """The handshake has five fields of its own."""
    peer = ServerWire(limits=Limits(headers=14, parameters=5)).accept()
    query = "&".join("ping=1" for _ in range(parameters))
    peer.send(handshake("/primus?" + query, **{f"x_{number}": "1" for number in range(fields)}))
    assert peer.statuses() == [status]
