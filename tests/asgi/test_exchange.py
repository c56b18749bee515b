"""The exchange seam on ASGI: requests, their bodies and answers, WebSockets, and what a host cannot say."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from primus_io.asgi import Primus
from primus_proto import Headers, Limits, Refused
from primus_proto.session.messages import MESSAGE_OVERHEAD
from primus_proto.transports.base import Route
from primus_proto.transports.registry import TRANSPORTS
from tests.asgi.kit import Gate, body, calling, head, http, on_both, on_trio, turns, websocket
from tests.conformance.users import why
from tests.unit.transports.packet_transport import PACKETS, PacketPipe


async def echo(spark: Any) -> None:
    async for value in spark:
        await spark.send(value)


async def stay(spark: Any) -> None:
    await spark.wait_ended()


# --- requests ---


@on_both
async def test_the_spec() -> None:
    async with Primus() as primus, calling(primus, http("/primus/spec")) as caller:
        said = await caller.end()
        assert [words["type"] for words in said] == ["http.response.start", "http.response.body"]
        status, headers = head(caller)
        assert (status, headers[b"content-type"]) == (200, b"application/json")
        assert headers[b"content-length"] == str(len(body(caller))).encode()
        assert json.loads(body(caller))["pathname"] == "/primus"
        assert b"connection" not in headers


@on_both
async def test_a_head_request_gets_no_body() -> None:
    async with Primus() as primus, calling(primus, http("/primus/spec", "HEAD")) as caller:
        await caller.end()
        assert int(head(caller)[1][b"content-length"]) > 0
        assert body(caller) == b""


PATHS = {
    ("", "/primus", 426),
    ("", "/primus/spec", 200),
    ("", "/primusX", 404),
    ("", "/primus/../x", 400),
    ("", "/primus//x", 400),
    ("", "/ü", 404),
    ("/app", "/app/primus/spec", 200),
    ("/app", "/primus/spec", 200),
    ("/app/", "/app/primus/spec", 200),
    ("/app", "/application/primus/spec", 404),
    ("/a b", "/a b/primus/spec", 200),
}


@pytest.mark.parametrize(("root", "path", "status"), sorted(PATHS))
@on_both
async def test_paths_and_what_is_in_front_of_them(root: str, path: str, status: int) -> None:
    """Hosts give the path with the root in front, as the specification has it, or without."""
    async with Primus() as primus, calling(primus, http(path, root_path=root)) as caller:
        await caller.end()
        assert head(caller)[0] == status
        if status == 200:
            place = root.rstrip("/").replace(" ", "%20") + "/primus"
            assert json.loads(body(caller))["pathname"] == place


@on_both
async def test_no_upgrade_header_in_http_2_and_3() -> None:
    scopes = [http("/primus", http_version=version) for version in ("1.1", "2", "3")]
    async with Primus() as primus, calling(primus, *scopes) as callers:
        for caller, upgrade in zip(callers, [b"websocket", None, None], strict=True):
            await caller.end()
            status, headers = head(caller)
            assert (status, headers.get(b"upgrade")) == (426, upgrade)


@on_both
async def test_a_host_without_websockets() -> None:
    """It hands the handshake over as a request like any other."""
    headers = {"upgrade": "websocket", "connection": "upgrade"}
    headers |= {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    async with Primus() as primus, calling(primus, http("/primus", headers=headers)) as caller:
        await caller.end()
        assert head(caller)[0] == 501
        assert b"has no WebSockets" in body(caller)


def add_layer(primus: Primus, run: Any) -> None:
    """Put a layer before all others of a server that runs."""
    primus._endpoint.server.before("extra", run, index=0)


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (http("/primus/spec"), 200),
        (http("/primus/primus.js"), 404),
        (http("/primus"), 426),
        (websocket("/primus?no=1"), 401),
        (websocket("/primus"), 101),
    ],
)
@on_both
async def test_a_layer_adds_headers_to_any_answer(scope: dict[str, Any], status: int) -> None:
    async with Primus(stay, authorize=lambda request: "no" not in request.query) as primus:
        add_layer(primus, lambda request: Headers({"X-Extra": "yes"}))
        async with calling(primus, scope) as caller:
            await caller.until(lambda: caller.said)
            assert dict(caller.said[0]["headers"])[b"x-extra"] == b"yes"
            assert caller.said[0].get("status", 101) == status


@on_both
async def test_a_layer_that_fails() -> None:
    async with Primus() as primus:
        logged: list[Any] = []
        primus.on("log", lambda *args: logged.append(args))
        add_layer(primus, lambda request: 1 / 0)
        async with calling(primus, http("/primus/spec")) as caller:
            await caller.end()
            assert (head(caller)[0], json.loads(body(caller))) == (500, {"error": "internal error"})
        assert logged == [("error", "layer extra: ZeroDivisionError('division by zero')")]


# --- WebSockets ---


@pytest.mark.parametrize(("offered", "chosen"), [("x,packets.v1", "packets.v1"), ("x", None)])
@on_both
async def test_a_subprotocol(offered: str, chosen: str | None) -> None:
    scope = websocket("/primus?ping=false")
    scope["headers"].append((b"sec-websocket-protocol", offered.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRANSPORTS, "packets", PACKETS)
        async with Primus(echo, transformer="packets") as primus, calling(primus, scope) as caller:
            accepted = await caller.hear("websocket.accept")
            assert (accepted["subprotocol"], dict(accepted["headers"])) == (chosen, {b"x-packets": b"yes"})
            [spark] = primus._endpoint.server
            assert isinstance(spark.pipe, PacketPipe)
            assert spark.pipe.carrier.subprotocol == chosen
            caller.give("websocket.receive", text='4"hello"')
            assert (await caller.hear("websocket.send"))["text"] == '4"hello"'


@on_both
async def test_a_session() -> None:
    scope = websocket("/primus?ping=false&x=1", headers=[(b"x-name", b"caf\xe9"), (b"upgrade", b"websocket")])
    async with Primus(echo) as primus, calling(primus, scope) as caller:
        accepted = await caller.hear("websocket.accept")
        assert (accepted["subprotocol"], accepted["headers"]) == (None, [])
        [spark] = primus.sparks.values()
        assert (spark.query["x"], spark.headers["x-name"]) == ("1", "café")
        assert spark.address == ("192.0.2.1", 50000)
        caller.give("websocket.receive", text='"hello"', bytes=None)
        assert (await caller.hear("websocket.send"))["text"] == '"hello"'
        caller.give("websocket.receive", bytes=b"\x00\x01")
        caller.give("websocket.disconnect", code=1000, reason="bye")
        await caller.end()
        assert str(spark.close_reason) == "client (1000): bye"


@on_trio
async def test_a_peer_that_does_not_answer_the_close_is_left_alone_after_a_while() -> None:
    async def once(spark: Any) -> None: ...

    async with Primus(once) as primus, calling(primus, websocket()) as caller:
        await caller.end()
        assert caller.said[-1]["type"] == "websocket.close"
        assert not primus.sparks
        await anyio.sleep(100)  # nothing is due any more, and nothing runs


ENDS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"code": 1001, "reason": ""}, "client", 1001, "None"),
    ({"code": 1005, "reason": ""}, "client", 1005, "None"),
    ({"code": 1005}, "lost", 1006, "without a closing handshake"),
    ({"code": 1006}, "lost", 1006, "without a closing handshake"),
    ({}, "lost", 1006, "without a closing handshake"),
    ({"code": 1012}, "lost", 1012, "is stopping"),
    ({"code": 1009, "reason": "too big"}, "lost", 1009, "too big"),
    ({"code": 1007, "reason": None}, "lost", 1007, "not UTF-8"),
]


@pytest.mark.parametrize(("words", "kind", "code", "error"), ENDS)
@on_both
async def test_each_kind_of_disconnect(words: dict[str, Any], kind: str, code: int, error: str) -> None:
    async with Primus(stay) as primus, calling(primus, websocket()) as caller:
        await caller.hear("websocket.accept")
        [spark] = primus.sparks.values()
        spark.on("error", print)
        caller.give("websocket.disconnect", **words)
        await caller.end()
        reason = spark.close_reason
        assert reason is not None
        assert (reason.kind, reason.code) == (kind, code)
        assert error in str(reason.error)


@on_both
async def test_a_host_that_fails_or_gives_up() -> None:
    async with Primus(stay) as primus:
        async with calling(primus, websocket()) as caller:
            await caller.hear("websocket.accept")
            [spark] = primus.sparks.values()
            caller.broken = OSError("gone")
            spark.write("hello")
            await caller.end()
            assert spark.close_reason is not None
            assert (why(spark), str(spark.close_reason.error)) == ("lost", "the connection was lost: gone")
        async with calling(primus, websocket()) as caller:
            await caller.hear("websocket.accept")
            [spark] = primus.sparks.values()
        assert why(spark) == "lost", "the host cancelled the call"
        assert not primus.sparks


@pytest.mark.parametrize("text", ["x" * 99, "ü" * 50, b"x" * 101], ids=["text", "long letters", "bytes"])
@on_both
async def test_a_message_that_the_host_let_grow_too_large(text: str | bytes) -> None:
    async with Primus(stay, limits=Limits(message=100)) as primus, calling(primus, websocket()) as caller:
        await caller.hear("websocket.accept")
        [spark] = primus.sparks.values()
        errors: list[Any] = []
        spark.on("error", errors.append)
        caller.give("websocket.receive", text='"fine"')
        words = {"text": f'"{text}"'} if isinstance(text, str) else {"bytes": text}
        caller.give("websocket.receive", **words)
        await caller.end()
        assert caller.said[-1] == {
            "type": "websocket.close",
            "code": 1009,
            "reason": "message larger than 100 bytes",
        }
        assert [str(error) for error in errors] == ["WebSocket: message larger than 100 bytes"]


@on_both
async def test_output_that_the_host_has_not_taken_is_bounded() -> None:
    limits = Limits(backlog=1000, burst=1000, stall=0.2)
    async with Primus(stay, limits=limits) as primus, calling(primus, websocket()) as caller:
        await caller.hear("websocket.accept")
        [spark] = primus.sparks.values()
        caller.full = True
        spark.write("x" * 598)
        assert spark.buffered == 600 + MESSAGE_OVERHEAD
        room: list[int] = []

        async def wait_for_room() -> None:
            await spark.drain()
            room.append(1)

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_room)
            await turns()
            assert spark.needs_drain
            assert not room
            caller.drain()
        assert spark.buffered == 0
        caller.full = True
        assert spark.write("x" * 1000)
        assert not spark.write("and more")
        assert spark.state == "open"
        await caller.until(lambda: caller.returned)
        assert why(spark) == "backlog"
        assert spark.buffered == 0
        assert not caller.all("websocket.close"), "it was cut, not closed"


# --- refusals ---


@pytest.mark.parametrize("answers", [True, False])
@on_both
async def test_a_refusal(answers: bool) -> None:
    """In full where the host can say it; else it is a 403, which is all that ASGI has without the extension."""

    def refuse(request: Any) -> None:
        raise Refused("who?", authenticate="Basic")

    scope = websocket(extensions={"websocket.http.response": {}} if answers else None)
    async with Primus(stay, authorize=refuse) as primus, calling(primus, scope) as caller:
        said = await caller.end()
        if answers:
            assert [words["type"] for words in said] == [
                "websocket.http.response.start",
                "websocket.http.response.body",
            ]
            status, headers = head(caller)
            assert (status, headers[b"www-authenticate"]) == (401, b"Basic")
            assert json.loads(body(caller)) == {"error": "who?"}
        else:
            assert said == [{"type": "websocket.close"}]


@on_both
async def test_a_client_that_leaves_before_the_decision_is_forgotten() -> None:
    asked: list[Any] = []
    gate = Gate()

    async def decide(request: Any) -> None:
        asked.append(request)
        gate.moved()
        await gate.wait()

    async with Primus(stay, authorize=decide) as primus, calling(primus, websocket()) as caller:
        await gate.until(lambda: asked)
        caller.give("websocket.disconnect", code=1006)
        assert await caller.end() == []
        gate.open()
    assert not primus.sparks


@on_both
async def test_a_stream_waits_for_the_host_to_take_it() -> None:
    """What transports over requests rely on: parts, whether there is room for more, and when all has left."""
    async with Primus() as primus:
        told: list[str] = []

        def answer(exchange: Any, now: float) -> None:
            exchange.on_drained = lambda now: told.append("drained")
            exchange.stream(200, [("Content-Type", "text/plain")], now=now)
            exchange.write(b"x" * 100_000, now=now)
            exchanges.append(exchange)

        exchanges: list[Any] = []
        primus._endpoint._transport.route = lambda request: Route(opens=True)  # type: ignore[method-assign]
        primus._endpoint._transport.handle = lambda exchange, route, body, *, now: answer(exchange, now)  # type: ignore[method-assign]
        async with calling(primus, http("/primus")) as caller:
            caller.full = True
            caller.give("http.request", body=b"", more_body=False)
            await turns()
            [exchange] = exchanges
            assert (exchange.blocked, exchange.buffered, told) == (True, 100_000, [])
            caller.drain()
            await caller.hear("http.response.body")
            await turns()
            assert (exchange.blocked, exchange.buffered, told) == (False, 0, ["drained"])
            exchange.on_drained = lambda now: told.append("again")
            exchange.write(b"y", now=0.0)
            exchange.finish(now=0.0)
            await caller.end()
            assert body(caller) == b"x" * 100_000 + b"y"
            assert told == ["drained", "again"]
        async with calling(primus, http("/primus")) as caller:
            caller.full = True
            await turns()
            caller.give("http.disconnect")
            await turns()
            assert told == ["drained", "again"]
