"""Layers and the listeners of `connection`: theirs at our client, ours at the real clients, the same on the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from primus_io.asyncio import ConnectError, Refused, connect
from tests.interop.ours import OPENED, our_server
from tests.interop.peers import Peers, interop

PACKAGES: list[Any] = [pytest.param({}, id="happn"), pytest.param({"package": "primus8"}, id="primus8")]
ONCE = {"strategy": False}


@pytest.mark.parametrize("status", [None, 403, 503])
@pytest.mark.parametrize("package", PACKAGES)
@interop()
async def test_our_client_at_their_layer(peers: Peers, package: dict[str, Any], status: int | None) -> None:
    server = await peers.server(layer={"status": status, "message": "not you"}, **package)
    with pytest.raises(ConnectError) as caught:
        async with connect(server.url, strategy=False):
            pass
    assert (caught.value.status, json.loads(caught.value.body)) == (status or 500, {"error": "not you"})
    assert ("content-type", "application/json") in [(name.lower(), value) for name, value in caught.value.headers]
    async with connect(f"{server.url}/?token=x") as primus:
        assert primus.state == "open"


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("package", PACKAGES)
@interop()
async def test_their_client_at_our_layer(peers: Peers, package: dict[str, Any], awaits: bool) -> None:
    def layer(request: Any) -> None:
        if "token" not in request.query:
            raise Refused("not you", 403)

    async def waiting(request: Any) -> None:
        await asyncio.sleep(0.01)
        layer(request)

    async with our_server(peers, middleware=[waiting if awaits else layer]) as (server, log):
        client = await peers.client(server.url, primus=ONCE, **package)
        await client.wait("error")
        assert "open" not in client.public()
        client = await peers.client(f"{server.url}/?token=x", primus=ONCE, **package)
        await client.wait("open")
        await log.wait("connection")
        assert log.names() == ["connection"]


@pytest.mark.parametrize("package", PACKAGES)
@interop()
async def test_their_client_at_our_listener_of_connection(peers: Peers, package: dict[str, Any]) -> None:
    async with our_server(peers) as (server, _):
        gate = asyncio.Event()

        @server.on("connection")
        async def intercept(spark: Any) -> None:
            await gate.wait()
            if spark.query.get("user") == "mallory":
                raise Refused("banned")
            spark.on("data", lambda value: spark.write({"got": value}))

        client = await peers.client(f"{server.url}/?user=ann", primus={"reconnect": {"min": 20}}, **package)
        banned = await peers.client(f"{server.url}/?user=mallory", primus={"reconnect": {"min": 20}}, **package)
        await client.wait("open")
        await banned.wait("open")
        for number in range(5):
            client.send("write", value=number)
        await client.ask("id")  # which is answered after what was sent before has arrived
        assert client.values() == []
        gate.set()
        await client.until(lambda: len(client.values()) == 5, "what it wrote early")
        assert client.values() == [{"got": number} for number in range(5)]
        await banned.wait("end")
        assert banned.public() == [*OPENED, "rsc(end)", "close", "end"]  # it stays away
        assert [spark.query["user"] for spark in server.sparks.values()] == ["ann"]
