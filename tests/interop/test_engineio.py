"""Engine.IO against the real packages: every transport of their clients and ours, in long conversations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from primus_proto import Refused
from tests.interop.ours import ENDED, our_client, our_server
from tests.interop.peers import EventLog, Peers, interop
from tests.interop.values import JSON_VALUES

PACKAGES = pytest.mark.parametrize("package", [None, "primus6", "primus8"], ids=["happn", "primus6", "primus8"])
WAYS: dict[str, dict[str, Any]] = {
    "upgrade": {},
    "polling": {"transports": ["polling"]},
    "websocket": {"transports": ["websocket"]},
}
BIG = "é" * 2**19  # a mebibyte
COUNT = 1000


def theirs(package: str | None, way: str, **primus: Any) -> dict[str, Any]:
    """Options of a real client that takes this way."""
    options = {"websockets": False} if way == "polling" else {}
    return {"package": package, "library": {"transformer": "engine.io"}, "primus": {**options, **primus}}


def expected(tag: str) -> list[Any]:
    return [*({tag: number} for number in range(COUNT)), BIG, *JSON_VALUES]


async def until_values(log: EventLog, count: int) -> list[Any]:
    await log.until(lambda: len(log.all("data")) >= count, f"{count} values", timeout=20)
    return log.values()


@PACKAGES
@pytest.mark.parametrize("way", ["upgrade", "polling"])
@interop(timeout=60)
async def test_a_real_client_has_a_long_conversation(peers: Peers, package: str | None, way: str) -> None:
    """Both ends write before, amid and after the upgrade."""
    async with our_server(peers, transformer="engine.io", transport={"encode_twice": package is None}) as (server, log):
        heartbeat = {"ping": 300, "pong": 5000} if package is None else {}
        client = await peers.client(server.url, **theirs(package, way, **heartbeat))
        spark = (await log.wait("connection"))["spark"]
        assert spark.request.path == "/primus/"
        assert spark.query["transport"] == "polling"
        client.send("write-many", count=COUNT, tag="up")
        for value in expected("down"):
            spark.write(value)
        for value in expected("up")[COUNT:]:
            client.send("write", value=value)
        assert await until_values(client, len(expected("down"))) == expected("down")
        assert await until_values(log, len(expected("up"))) == expected("up")
        if way == "upgrade":
            await client.wait("upgrade", to="websocket")
            spark.write("after")
            client.send("write", value="after")
            await client.wait("data", value="after")
            await log.wait("data", value="after")
        else:
            assert not client.all("upgrade")
        if package is None:
            for _ in range(2):
                await log.wait("heartbeat")
                await client.wait("pong")
        client.send("id")
        assert (await client.wait("id"))["id"] == spark.id
        client.send("end", value="bye")
        await log.wait("data", value="bye")
        await log.wait("disconnection", id=spark.id)
        assert spark.close_reason.kind == "client"
        await client.wait("end")
        assert client.public()[-3:] == ENDED


@PACKAGES
@pytest.mark.parametrize("way", ["upgrade", "polling"])
@interop(timeout=30)
async def test_our_server_ends_a_real_client(peers: Peers, package: str | None, way: str) -> None:
    async with our_server(peers, transformer="engine.io") as (server, log):
        client = await peers.client(server.url, **theirs(package, way, reconnect={"min": 50}))
        spark = (await log.wait("connection"))["spark"]
        await client.wait("open")
        spark.end(reconnect=True)
        await client.wait("reconnected")
        again = (await log.wait("connection"))["spark"]
        again.end("bye")
        await client.wait("end")
        assert client.values() == ["bye"]
        assert client.public()[-3:] == ENDED


@PACKAGES
@interop()
async def test_a_refusal_of_a_real_client(peers: Peers, package: str | None) -> None:
    async def authorize(request: Any) -> None:
        raise Refused("no")

    async with our_server(peers, transformer="engine.io", authorize=authorize) as (server, log):
        client = await peers.client(server.url, **theirs(package, "upgrade", strategy="disconnect"))
        await client.wait("end")
        assert "xhr poll error" in client.all("error")[0]["message"]
        assert not log.all("connection")


ENGINES = {
    "polling": {"transports": ["polling"]},
    "polling base64": {"transports": ["polling"], "forceBase64": True},
    "websocket": {"transports": ["websocket"]},
    "websocket base64": {"transports": ["websocket"], "forceBase64": True},
    "upgrade": {},
}


@PACKAGES
@pytest.mark.parametrize("engine", ENGINES)
@interop(timeout=60)
async def test_a_client_of_engine_io_alone(peers: Peers, package: str | None, engine: str) -> None:
    """In the ways that Primus's own client never takes."""
    options = {"encode_twice": package is None}
    async with our_server(peers, transformer="engine.io", transport=options, echo=True) as (server, log):
        client = await peers.engine(server.url, package=package, engine=ENGINES[engine])
        await client.wait("open")
        for value in expected("up")[COUNT:]:
            client.send("write", value=value)
        client.send("write-many", count=COUNT, tag="up")
        values = [*expected("up")[COUNT:], *expected("up")[:COUNT]]
        assert await until_values(client, len(values)) == values
        assert log.values() == values
        assert bool(client.all("upgrade")) is (engine == "upgrade")
        client.send("end")
        await log.wait("disconnection")


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
@interop(timeout=60)
async def test_our_client_has_a_long_conversation(peers: Peers, package: str | None, way: str) -> None:
    server = await peers.server(package=package, mode="echo", primus={"transformer": "engine.io"})
    options: dict[str, Any] = {"transformer": "engine.io", "transport": WAYS[way]}
    if package is None:
        options |= {"ping": 0.3, "dialect": "happn"}
    async with our_client(peers, server.url, **options) as (primus, log):
        await log.wait("open")
        id = (await server.wait("connection"))["id"]
        for value in expected("up"):
            primus.write(value)
        server.send("write-many", count=COUNT, tag="down")
        values = await until_values(log, len(expected("up")) + COUNT)
        down = [{"down": number} for number in range(COUNT)]
        assert [value for value in values if not (isinstance(value, dict) and "down" in value)] == expected("up")
        assert [value for value in values if isinstance(value, dict) and "down" in value] == down
        assert await primus.id() == id
        if package is None:
            await server.wait("heartbeat")
        server.send("end-reconnect")
        await log.wait("reconnected")
        await log.wait("open")
        server.send("end", value="bye")
        await log.wait("data", value="bye")
        await log.wait("end")
        assert log.public()[-3:] == ENDED


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
@interop(timeout=30)
async def test_our_client_ends(peers: Peers, package: str | None, way: str) -> None:
    server = await peers.server(package=package, primus={"transformer": "engine.io"})
    async with our_client(peers, server.url, transformer="engine.io", transport=WAYS[way]) as (primus, log):
        await log.wait("open")
        primus.end("bye")
        await server.wait("data", value="bye")
        await server.wait("end")
    async with our_client(
        peers, server.url, transformer="engine.io", transport=WAYS[way], strategy="disconnect, timeout", min=0.05
    ) as (primus, log):
        await log.wait("open")
        await asyncio.sleep(0)
        server.send("destroy", options={"reconnect": True})
        await log.wait("close")
