"""SockJS against the real packages: every transport of their clients and ours, in long conversations."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Refused
from tests.interop.ours import ENDED, our_client, our_server
from tests.interop.peers import EventLog, Peers, interop
from tests.interop.values import JSON_VALUES

PACKAGES = pytest.mark.parametrize("package", [None, "primus8"], ids=["happn", "primus8"])
WAYS = {"websocket": "websocket", "xhr-streaming": "xhr_streaming", "xhr-polling": "xhr"}
"""And the last segments of their paths."""
BIG = "é" * 2**19  # a mebibyte
COUNT = 1000


def theirs(package: str | None, *ways: str, **primus: Any) -> dict[str, Any]:
    """Options of a real client that takes these ways. Since 1.6 it can be told to be patient."""
    transport = {"transports": ways, "timeout": 5000} if ways else {}
    return {"package": package, "library": {"transformer": "sockjs"}, "primus": {"transport": transport, **primus}}


def expected(tag: str) -> list[Any]:
    return [*({tag: number} for number in range(COUNT)), BIG, *JSON_VALUES]


async def spark_of(server: Any, client: EventLog) -> Any:
    """The spark of a real client, once it is open there.

    The client gives a way less than a second and then tries again, which on a busy machine leaves other sparks behind.
    """
    await client.wait("open")
    return list(server.sparks.values())[-1]


async def until_values(log: EventLog, count: int) -> list[Any]:
    await log.until(lambda: len(log.all("data")) >= count, f"{count} values", timeout=20)
    return log.values()


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
@interop(timeout=60)
async def test_a_real_client_has_a_long_conversation(peers: Peers, package: str | None, way: str) -> None:
    async with our_server(peers, transformer="sockjs", transport={"transports": [way]}) as (server, log):
        heartbeat = {"ping": 300, "pong": 5000} if package is None else {}
        client = await peers.client(server.url, **theirs(package, way, **heartbeat))
        spark = await spark_of(server, client)
        assert spark.request.path.rpartition("/")[2] == WAYS[way]
        client.send("write-many", count=COUNT, tag="up")
        for value in expected("down"):
            spark.write(value)
        for value in expected("up")[COUNT:]:
            client.send("write", value=value)
        assert await until_values(client, len(expected("down"))) == expected("down")
        assert await until_values(log, len(expected("up"))) == expected("up")
        if package is None:
            for _ in range(2):
                await log.wait("heartbeat")
                await client.wait("pong")
        client.send("id")
        assert (await client.wait("id"))["id"] == spark.id
        client.send("end")
        await log.wait("disconnection", id=spark.id)
        # A client that polls may end between two polls, which shows in its not coming back.
        assert spark.close_reason.kind in (("client", "lost") if way == "xhr-polling" else ("client",))
        await client.wait("end")
        assert client.public()[-3:] == ENDED


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
@interop(timeout=30)
async def test_our_server_ends_a_real_client(peers: Peers, package: str | None, way: str) -> None:
    async with our_server(peers, transformer="sockjs", transport={"transports": [way]}) as (server, _):
        client = await peers.client(server.url, **theirs(package, way, reconnect={"min": 50}))
        (await spark_of(server, client)).end(reconnect=True)
        await client.wait("reconnected")
        (await spark_of(server, client)).end("bye")
        await client.wait("end")
        assert client.values() == ["bye"]
        assert client.public()[-3:] == ENDED


@PACKAGES
@interop()
async def test_a_refusal_of_a_real_client(peers: Peers, package: str | None) -> None:
    async def authorize(request: Any) -> None:
        raise Refused("no")

    async with our_server(peers, transformer="sockjs", authorize=authorize) as (server, log):
        client = await peers.client(server.url, **theirs(package, strategy="disconnect"))
        await client.wait("end")
        assert client.all("error")
        assert not log.all("connection")


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
@interop(timeout=60)
async def test_our_client_has_a_long_conversation(peers: Peers, package: str | None, way: str) -> None:
    server = await peers.server(package=package, mode="echo", primus={"transformer": "sockjs"})
    options: dict[str, Any] = {"transformer": "sockjs", "transport": {"transports": [way]}}
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
        server.send("end-reconnect")
        await log.wait("reconnected")
        await log.wait("open")
        server.send("end", value="bye")
        await log.wait("data", value="bye")
        await log.wait("end")
        assert log.public()[-3:] == ENDED
