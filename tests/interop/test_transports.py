"""Engine.IO and SockJS against the real packages: every way that a client of theirs or ours can take.

Which test proves what is printed by `make matrix` (matrix.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from primus_proto import Refused
from tests.interop.ours import ENDED, our_client, our_server
from tests.interop.peers import EventLog, Peers, interop
from tests.interop.test_parsers import VALUES as PARSED
from tests.interop.values import JSON_VALUES

PACKAGES = {"happn": None, "primus6": "primus6", "primus8": "primus8"}
"""Their folders. All but the second have SockJS."""


class Way(NamedTuple):
    """How a session travels."""

    transformer: str
    server: dict[str, Any]
    """Options of our server that leave nothing but this."""
    client: dict[str, Any]
    """Options of our client that do so."""
    theirs: dict[str, Any]
    """Options of a real client that do so."""
    request: str
    """A part of the URL of the request that opens the session."""


def sockjs(name: str, path: str) -> Way:
    only = {"transports": [name]}
    return Way("sockjs", only, only, {"transport": {"timeout": 5000, **only}}, f"/{path}?")


WAYS = {
    "engine.io upgrade": Way("engine.io", {}, {}, {}, "transport=polling"),
    "engine.io polling": Way("engine.io", {}, {"transports": ["polling"]}, {"websockets": False}, "transport=polling"),
    "engine.io websocket": Way("engine.io", {}, {"transports": ["websocket"]}, {}, "transport=websocket"),
    "sockjs websocket": sockjs("websocket", "websocket"),
    "sockjs xhr-streaming": sockjs("xhr-streaming", "xhr_streaming"),
    "sockjs xhr-polling": sockjs("xhr-polling", "xhr"),
}
CASES = [(way, package) for way in WAYS for package in PACKAGES if way.startswith("engine.io") or package != "primus6"]
# The client of Primus always begins with polling.
THEIR_CASES = [case for case in CASES if case[0] != "engine.io websocket"]
BIG = "é" * 2**19  # a mebibyte
COUNT = 1000


def expected(tag: str) -> list[Any]:
    return [*({tag: number} for number in range(COUNT)), BIG, *JSON_VALUES]


async def until_values(log: EventLog, count: int) -> list[Any]:
    await log.until(lambda: len(log.all("data")) >= count, f"{count} values", timeout=20)
    return log.values()


def server_options(way: Way, package: str) -> dict[str, Any]:
    """Options of our server for clients of a package."""
    more = {"encode_twice": package == "happn"} if way.transformer == "engine.io" else {}
    return {"transformer": way.transformer, "transport": {**way.server, **more}}


async def spark_of(server: Any, client: EventLog) -> Any:
    """The spark of a real client, once it is open there.

    The client of SockJS gives a way less than a second and then tries again, which on a busy machine leaves other
    sparks behind.
    """
    await client.wait("open")
    return list(server.sparks.values())[-1]


@pytest.mark.parametrize(("way", "package"), THEIR_CASES)
@interop(timeout=60)
async def test_a_real_client_has_a_long_conversation(peers: Peers, way: str, package: str) -> None:
    """Both ends write before, amid and after the upgrade. Then each end ends it."""
    how, happn = WAYS[way], package == "happn"
    async with our_server(peers, **server_options(how, package)) as (server, log):
        heartbeat = {"ping": 300, "pong": 5000} if happn else {}
        options = {**how.theirs, **heartbeat, "reconnect": {"min": 50}}
        library = {"transformer": how.transformer}
        client = await peers.client(server.url, package=PACKAGES[package], library=library, primus=options)
        spark = await spark_of(server, client)
        assert how.request in spark.request.target
        client.send("write-many", count=COUNT, tag="up")
        for value in expected("down"):
            spark.write(value)
        for value in expected("up")[COUNT:]:
            client.send("write", value=value)
        assert await until_values(client, len(expected("down"))) == expected("down")
        assert await until_values(log, len(expected("up"))) == expected("up")
        if way.endswith("upgrade"):
            await client.wait("upgrade", to="websocket")
            spark.write("after")
            client.send("write", value="after")
            await client.wait("data", value="after")
            await log.wait("data", value="after")
        else:
            assert not client.all("upgrade")
        for _ in range(2 if happn else 0):
            await log.wait("heartbeat")
            await client.wait("pong")
        client.send("id")
        assert (await client.wait("id"))["id"] == spark.id

        spark.end(reconnect=True)
        await client.wait("reconnected")
        (await spark_of(server, client)).end("bye")
        await client.wait("data", value="bye")
        await client.wait("end")
        assert client.public()[-3:] == ENDED
        client.send("open")
        spark = await spark_of(server, client)
        if how.transformer == "engine.io":
            client.send("end", value="bye")
            await log.wait("data", value="bye", id=spark.id)
        else:
            client.send("end")  # SockJS would drop the value
        await log.wait("disconnection", id=spark.id)
        # A client of SockJS that polls may end between two polls, which shows in its not coming back.
        assert spark.close_reason.kind in (("client", "lost") if way == "sockjs xhr-polling" else ("client",))


@pytest.mark.parametrize(("way", "package"), CASES)
@interop(timeout=60)
async def test_our_client_has_a_long_conversation(peers: Peers, way: str, package: str) -> None:
    how, happn = WAYS[way], package == "happn"
    server = await peers.server(package=PACKAGES[package], mode="echo", primus={"transformer": how.transformer})
    options: dict[str, Any] = {"transformer": how.transformer, "transport": how.client}
    if happn:
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
        if happn:
            await server.wait("heartbeat")

        server.send("end-reconnect")
        await log.wait("reconnected")
        await log.wait("open")
        server.send("end", value="bye")
        await log.wait("data", value="bye")
        await log.wait("end")
        assert log.public()[-3:] == ENDED
    async with our_client(peers, server.url, **options) as (primus, log):
        await log.wait("open")
        primus.end("bye")
        await server.wait("data", value="bye")
        await server.wait("end")


ENGINES = {
    "engine.io polling": {"transports": ["polling"]},
    "engine.io polling base64": {"transports": ["polling"], "forceBase64": True},
    "engine.io websocket": {"transports": ["websocket"]},
    "engine.io websocket base64": {"transports": ["websocket"], "forceBase64": True},
    "engine.io upgrade": {},
    "sockjs raw websocket": None,
}


@pytest.mark.parametrize(
    ("way", "package"),
    [(way, package) for way in ENGINES for package in PACKAGES if way.startswith("engine.io") or package != "primus6"],
)
@interop(timeout=60)
async def test_a_client_without_primus(peers: Peers, way: str, package: str) -> None:
    """In the ways that Primus's own client never takes."""
    how = WAYS["engine.io upgrade" if way.startswith("engine.io") else "sockjs websocket"]
    async with our_server(peers, echo=True, **server_options(how, package)) as (server, log):
        client = await peers.engine(server.url, package=PACKAGES[package], engine=ENGINES[way])
        await client.wait("open")
        for value in expected("up")[COUNT:]:
            client.send("write", value=value)
        client.send("write-many", count=COUNT, tag="up")
        values = [*expected("up")[COUNT:], *expected("up")[:COUNT]]
        assert await until_values(client, len(values)) == values
        assert log.values() == values
        assert bool(client.all("upgrade")) is way.endswith("upgrade")
        client.send("end")
        await log.wait("disconnection")


PARSERS = [
    ("engine.io ejson", "happn"), ("engine.io binary", "happn"), ("sockjs ejson", "happn"),
    ("engine.io ejson", "primus8"), ("engine.io binary", "primus8"), ("engine.io msgpack", "primus8"),
    ("sockjs ejson", "primus8"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "package"), PARSERS)
@interop(timeout=30)
async def test_parsers(peers: Peers, way: str, package: str) -> None:
    """Values of each parser that fits, there and back, between the real ends and ours."""
    transformer, parser = way.split(" ")
    options: dict[str, Any] = {"transformer": transformer, "parser": parser}
    server = await peers.server(package=PACKAGES[package], mode="echo", primus=options)
    async with our_client(peers, server.url, dialect="happn", **options) as (primus, log):
        for value in PARSED[parser] * 2:  # so that some travel behind the upgrade
            primus.write(value)
            assert (await log.wait("data"))["value"] == value
    value = {"a": [1.5, None, "é\u2028", {"b": "x" * 300}]}
    async with our_server(peers, echo=True, **options) as (own, log):
        client = await peers.client(own.url, package=PACKAGES[package], library=options)
        await client.wait("open")
        for _ in range(2):
            client.send("write", value=value)
            assert (await log.wait("data"))["value"] == value
            assert (await client.wait("data"))["value"] == value


@pytest.mark.parametrize(
    ("way", "package"),
    [("engine.io", package) for package in PACKAGES] + [("sockjs", "happn"), ("sockjs", "primus8")],
)
@interop()
async def test_a_refusal_of_a_real_client(peers: Peers, way: str, package: str) -> None:
    async def authorize(request: Any) -> None:
        raise Refused("no")

    async with our_server(peers, transformer=way, authorize=authorize) as (server, log):
        library, options = {"transformer": way}, {"strategy": "disconnect"}
        client = await peers.client(server.url, package=PACKAGES[package], library=library, primus=options)
        await client.wait("end")
        assert client.all("error")
        assert way == "sockjs" or "xhr poll error" in client.all("error")[0]["message"]
        assert not log.all("connection")
