"""Layers of a server: called for each request, in order, awaited where they wait, and bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_io import Server
from primus_proto import ConfigError, ConnectError, Headers, Layer, Limits, LocalProtocolError, Refused, Response
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Gate, echo, take


async def refused(host: Host, server: Server, **options: Any) -> ConnectError:
    """The error of a client that does not get in."""
    with pytest.raises(ConnectError) as caught:
        async with host.connect(server.url, strategy=False, **options):
            pass
    assert not server.sparks
    return caught.value


@scenario()
async def test_layers_run_in_order_and_the_spark_has_what_they_found(host: Host) -> None:
    seen = []

    async def session(request: Any) -> None:
        await host.pause(0.01)
        request.state["user"] = request.cookies["session"].upper()

    def count(request: Any) -> Headers:
        seen.append((request.path, request.state.get("user")))
        return Headers({"X-Seen": str(len(seen))})

    users = []

    async def handler(spark: Any) -> None:
        users.append(spark.request.state["user"])
        await echo(spark)

    async with host.serve(handler, middleware=[session, count]) as server:
        assert server.layers[-2:] == ("session", "count")
        async with host.connect(server.url, cookies=lambda: {"lang": "en", "session": "ann"}) as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
        assert (seen, users) == ([("/primus", "ANN")], ["ANN"])
        assert (await host.fetch_spec(server.url))["pathname"] == "/primus"  # answered before
        assert len(seen) == 1


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        pytest.param(Refused("full"), 500, {"error": "full"}, id="refused"),
        pytest.param(Refused("slower", 429), 429, {"error": "slower"}, id="with a status"),
        pytest.param(Refused("fine", 200), 500, {"error": "internal error"}, id="no such status"),
        pytest.param(ZeroDivisionError(), 500, {"error": "internal error"}, id="raises"),
        pytest.param(Headers({"X-A": 1}), 500, {"error": "internal error"}, id="no answer"),  # type: ignore[arg-type]
        pytest.param(Response(503, {"X-A": "b"}, b"{}"), 503, {}, id="answer"),
    ],
)
@scenario()
async def test_a_layer_answers_and_refuses(
    host: Host, result: Any, status: int, body: Any, awaits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(request: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    async def decide_later(request: Any) -> Any:
        await host.pause(0.01)
        return decide(request)

    async with host.serve(echo) as server:
        server.before("mine", decide_later if awaits else decide, index=0)
        error = await refused(host, server)
        assert (error.status, json.loads(error.body)) == (status, body)
        assert ("layer mine" in caplog.text) == (body == {"error": "internal error"})
        server.disable("mine")
        async with host.connect(server.url) as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
        server.enable("mine")
        with pytest.raises(ConnectError):
            await host.fetch_spec(server.url)
        server.remove("mine")
        assert "mine" not in server.layers


@scenario()
async def test_layers_are_replaced_by_name(host: Host) -> None:
    async with host.serve(echo, authorize=lambda request: False) as server:

        @server.before("authorization", http=False)
        async def authorize(request: Any) -> None:
            await host.pause(0.01)
            if "token" not in request.query:
                raise Refused("no token", 403)

        assert server.layers[-1] == "authorization"
        assert (await refused(host, server)).status == 403
        async with host.connect(f"{server.url}?token=1"):
            pass
        server.before("authorization", lambda request: None)
        async with host.connect(server.url):
            pass


@scenario()
async def test_a_layer_that_takes_too_long_is_answered_for(host: Host) -> None:
    gate = Gate(host)
    asked = []

    async def slow(request: Any) -> None:
        asked.append(1)
        await gate.wait()

    async with host.serve(echo, limits=Limits(authorization=0.1, authorizations=2)) as server:
        server.before("slow", slow)
        error = await refused(host, server)
        assert (error.status, json.loads(error.body)) == (503, {"error": "slow took too long"})
        gate.open()
        async with host.connect(server.url):
            assert len(asked) == 2


@scenario()
async def test_mistakes_with_layers_are_named(host: Host) -> None:
    def layer(request: Any) -> None:
        """Pass."""

    mistakes: list[tuple[Any, str]] = [
        (layer, "must be a list"),
        ("spec", "must be a list"),
        ([lambda request: None], "give a named function, or a Layer"),
        ([layer, Layer("layer", layer)], "two layers 'layer'"),
        ([3], "give a named function, or a Layer"),
    ]
    for middleware, message in mistakes:
        with pytest.raises(ConfigError, match=message):
            host.serve(echo, middleware=middleware)
    async with host.serve(echo, middleware=[Layer("mine", layer, index=2)]) as server:
        assert server.layers[2] == "mine"
        for call in (server.remove, server.enable, server.disable):
            with pytest.raises(LocalProtocolError, match="no layer 'other'"):
                call("other")
        with pytest.raises(LocalProtocolError, match="index must be from 0 to 8"):
            server.before("other", layer, index=9)
        with pytest.raises(LocalProtocolError, match="a layer needs a name"):
            server.before(layer)  # type: ignore[call-overload]


@scenario()
async def test_pages_of_other_sites_get_no_websocket(host: Host) -> None:
    async with host.serve(echo, origins=["https://chat.example"]) as server:
        for origin in ("https://evil.example", "null", "https://chat.example:8443"):
            error = await refused(host, server, headers={"Origin": origin})
            assert error.status == 403
            assert f"Origin: {origin}".encode() in error.body
        twice = [("Origin", "https://evil.example"), ("Origin", "https://chat.example")]
        assert (await refused(host, server, headers=twice)).status in (400, 403)  # uvicorn refuses it by itself
        for headers in ({"Origin": "https://chat.EXAMPLE"}, {}):
            async with host.connect(server.url, headers=headers) as primus:
                primus.write(1)
                assert await take(primus, 1) == [1]
