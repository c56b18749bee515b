"""Layers of one's own: where they come, what they may return, and how they are removed, replaced and switched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primus_proto import HOLD, Headers, LocalProtocolError, Refused, Request, Response
from primus_proto import events as ev
from tests.unit.wires import HANDSHAKE, ServerWire, handshake

BUILT_IN = ("forwarded", "cors", "primus.js", "spec", "x-xss", "no-cache", "authorization")
TEAPOT = Response(418)


def passing(request: Request) -> None:
    """A layer that does nothing."""


@pytest.mark.parametrize(
    ("index", "place"),
    [(None, 7), (0, 0), (2, 2), (6, 6), (7, 7)],
)
def test_a_layer_comes_last_or_at_its_index(index: int | None, place: int) -> None:
    server = ServerWire().server
    assert server.layers == BUILT_IN
    server.before("mine", passing, index=index)
    assert server.layers == (*BUILT_IN[:place], "mine", *BUILT_IN[place:])
    server.before("mine", passing, index=0)  # replaced at its place
    assert server.layers.index("mine") == place
    server.remove("mine")
    assert server.layers == BUILT_IN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda server: server.before("", passing), "needs a name"),
        (lambda server: server.before(passing, passing), "needs a name"),
        (lambda server: server.before("x", None), "must be a function"),
        (lambda server: server.before("x", passing, index=-1), "index must be from 0 to 7"),
        (lambda server: server.before("x", passing, index=8), "index must be from 0 to 7"),
        (lambda server: server.before("x", passing, index=True), "index must be a whole number"),
        (lambda server: server.before("x", passing, http=0), "http must be True or False"),
        (lambda server: server.before("x", passing, http=False, upgrade=False), "would see no request"),
        (lambda server: server.remove("x"), "no layer 'x'; there are forwarded, cors"),
        (lambda server: server.remove("pathname"), "no layer 'pathname'"),
        (lambda server: server.enable("x"), "no layer 'x'"),
        (lambda server: server.disable("x"), "no layer 'x'"),
    ],
)
def test_mistakes_change_nothing(change: Callable[[Any], object], message: str) -> None:
    server = ServerWire().server
    with pytest.raises(LocalProtocolError, match=message):
        change(server)
    assert server.layers == BUILT_IN


@pytest.mark.parametrize(("name", "method", "path", "status"), [
    ("spec", "GET", "/primus/spec", 426),
    ("primus.js", "GET", "/primus/primus.js", 426),
    ("cors", "PATCH", "/primus", 426),
])  # fmt: skip
def test_built_in_layers_are_removed_switched_and_replaced(name: str, method: str, path: str, status: int) -> None:
    wire = ServerWire()

    def ask() -> int:
        return wire.accept().ask(method, path, headers={"Origin": "http://a.example"}).status

    before = ask()
    assert before != status
    wire.server.disable(name)
    assert ask() == status
    wire.server.enable(name)
    assert ask() == before
    wire.server.before(name, lambda request: TEAPOT)
    assert ask() == 418
    wire.server.disable(name)
    wire.server.before(name, lambda request: TEAPOT)  # enabled again
    assert ask() == 418
    wire.server.remove(name)
    assert ask() == status


def test_without_authorization_everything_is_let_in() -> None:
    wire = ServerWire(authorization=True)
    wire.server.remove("authorization")
    wire.accept().upgrade()


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Refused("full"), 500, b'{"error":"full"}'),
        (Refused("slower", 429), 429, b'{"error":"slower"}'),
        (Refused("fine", 200), 500, b'{"error":"internal error"}'),
        (Refused("no", 401, authenticate="a\nb"), 500, b'{"error":"internal error"}'),
    ],
)
def test_a_layer_refuses(error: Refused, status: int, body: bytes) -> None:
    def refuse(request: Request) -> None:
        raise error

    wire = ServerWire()
    wire.server.before("mine", refuse)
    reply = wire.accept().ask("GET", "/primus", headers=HANDSHAKE)
    assert (reply.status, reply.body) == (status, body)
    logged = [event.text for event in wire.fresh() if isinstance(event, ev.Logged)]
    assert len(logged) == (body == b'{"error":"internal error"}')


async def forgotten(request: Request) -> None:
    """A layer that the core cannot await."""


def test_a_layer_of_the_core_does_not_wait() -> None:
    wire = ServerWire()
    wire.server.before("mine", forgotten)  # type: ignore[arg-type]
    assert wire.accept().ask().status == 200  # answered before
    assert wire.accept().ask("GET", "/primus").status == 500
    assert "must be an async function" in str(wire.fresh())


def test_a_held_request_walks_the_layers_that_were_there_when_it_came() -> None:
    wire = ServerWire()
    ran = []
    wire.server.before("wait", lambda request: HOLD)
    wire.server.before("next", lambda request: ran.append("next"))
    peer = wire.accept()
    peer.send(handshake())
    assert wire.told() == ["request held"]
    wire.server.remove("wait")
    wire.server.before("other", lambda request: ran.append("other"), index=0)
    wire.endpoint.resume(1)
    wire.pump()
    assert peer.reply().status == 101
    assert ran == ["next"]


def test_the_fields_of_a_later_layer_and_of_the_answer_win() -> None:
    wire = ServerWire()
    fields = Headers([("Cache-Control", "private"), ("Set-Cookie", "a=1"), ("Vary", "Cookie")])
    wire.server.before("early", lambda request: Headers([("X-A", "1"), ("Set-Cookie", "b=2")]), index=0)
    wire.server.before("late", lambda request: fields)
    wire.server.before("spec", lambda request: None)
    peer = wire.accept()
    peer.send(b"GET /primus HTTP/1.1\r\nHost: a\r\nOrigin: http://a.example\r\n\r\n")
    head = wire.take(peer.channel).partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head.count("Cache-Control: private") == sum(line.startswith("Cache-Control") for line in head) == 1
    for line in ("X-A: 1", "Set-Cookie: a=1", "Set-Cookie: b=2", "Vary: Origin", "Vary: Cookie", "Pragma: no-cache"):
        assert line in head


@pytest.mark.parametrize(
    ("cookie", "cookies"),
    [
        ("a=1; b=2;c = 3 ", {"a": "1", "b": "2", "c": "3"}),
        ('a="x y"; b="', {"a": "x y", "b": '"'}),
        ("a=1; a=2; ; =5; lonely; e=", {"a": "1", "e": ""}),
        ("a=b=c; session=%20", {"a": "b=c", "session": "%20"}),
    ],
)
def test_what_layers_put_on_a_request_is_on_the_spark(cookie: str, cookies: dict[str, str]) -> None:
    wire = ServerWire(trusted_proxies=["192.0.2.0/24"])

    def identify(request: Request) -> None:
        request.state["user"] = request.cookies
        request.state["ip"] = request.address.ip

    wire.server.before("identify", identify, index=1)
    peer = wire.accept()
    peer.send(handshake(cookie=cookie, x_forwarded_for="203.0.113.9"))
    (spark,) = wire.server.sparks.values()
    assert spark.request.state["user"] == spark.request.cookies == cookies
    assert spark.request.state["ip"] == spark.address.ip
    assert peer.reply().status == 101


def test_the_layers_of_an_earlier_run_are_adopted() -> None:
    earlier, later = ServerWire().server, ServerWire()
    earlier.before("mine", lambda request: TEAPOT, index=0)
    earlier.before("spec", lambda request: TEAPOT)
    earlier.remove("x-xss")
    earlier.disable("mine")
    later.server.pipeline.adopt(earlier.pipeline)
    assert later.server.layers == earlier.layers
    assert later.accept().ask().status == 418
    assert later.accept().ask("GET", "/primus/primus.js").status == 404
    later.server.enable("mine")
    assert later.accept().ask("GET", "/primus").status == 418


def test_one_function_may_answer_everything() -> None:
    wire = ServerWire()
    wire.server.pipeline.replace_all(lambda request: TEAPOT)
    for path in ("/", "/primus/..", "/primus/spec"):
        assert wire.accept().ask("GET", path).status == 418
    assert wire.server.layers == ()
