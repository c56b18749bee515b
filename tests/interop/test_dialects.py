"""The other dialects, against the real `primus` 8.0.9 and 6.1.0: heartbeats, ends, restarts, telling them apart.

All of a test's heartbeats are short, and so is what is derived from them: `detect_after` lies between the ping of the
one kind of client and the ping timeout of the other, as it does at default settings (protocol 3.5).
"""

from __future__ import annotations

from typing import Any

import pytest

from primus_io.asyncio import fetch_spec
from primus_proto import Limits
from tests.interop.ours import ENDED, LOST, OPENED, REOPENED, our_client, our_server
from tests.interop.peers import EventLog, Peer, Peers, interop
from tests.unit.sessions import heeded

# Real servers: their package and options; what a client of ours needs to know where it does not ask; what they report
# at each heartbeat.
PRIMUS8: dict[str, Any] = {"package": "primus8", "primus": {"pingInterval": 250}}
PRIMUS6: dict[str, Any] = {"package": "primus6", "primus": {"timeout": 700}}
QUICK = Limits(heartbeat_min=0.1)
TOLD: list[Any] = [
    pytest.param(PRIMUS8, {"dialect": "auto"}, "client-pong", id="primus8-auto"),
    pytest.param(PRIMUS8, {"dialect": "primus", "ping_timeout": 0.9}, "client-pong", id="primus8-told"),
    pytest.param(PRIMUS6, {"dialect": "auto"}, "ping", id="primus6-auto"),
    pytest.param(PRIMUS6, {"dialect": "primus6", "ping": 0.35, "pong": 0.5}, "ping", id="primus6-told"),
]
# Real clients: their package and options, and the dialect that a server of ours takes them for.
HAPPN_CLIENT: dict[str, Any] = {"primus": {"ping": 300, "pong": 600}}
CLIENT6: dict[str, Any] = {"package": "primus6", "primus": {"ping": 300, "pong": 600}}
CLIENT8: dict[str, Any] = {"package": "primus8", "primus": {"pingTimeout": 1500}}
CLIENTS = {"happn": HAPPN_CLIENT, "primus6": CLIENT6, "primus": CLIENT8}
BEATS = {"happn": "pong", "primus6": "pong", "primus": "server-ping"}
AUTO: dict[str, Any] = {"detect_after": 0.8, "ping_interval": 0.4, "limits": Limits(heartbeat_min=0.3)}
SERVERS: list[Any] = [
    pytest.param("primus6", {"dialect": "primus6", "timeout": 0.9}, id="primus6-told"),
    pytest.param("primus", {"dialect": "primus", "ping_interval": 0.4}, id="primus-told"),
]


def soon(client: dict[str, Any], **reconnect: Any) -> dict[str, Any]:
    """A real client's options, and a quick reconnect."""
    return {**client, "primus": {**client["primus"], "reconnect": {"min": 50, **reconnect}}}


async def several(log: EventLog, name: str, count: int = 3, **fields: Any) -> None:
    for _ in range(count):
        await log.wait(name, **fields)


def strays(*logs: EventLog) -> list[Any]:
    """The messages of the protocol that some application was given."""
    return [value for log in logs for value in log.values() if str(value).startswith("primus::")]


# --- our client at their servers ---


@pytest.mark.parametrize(("theirs", "options", "beat"), TOLD)
@interop()
async def test_a_session_at_their_server(
    peers: Peers, theirs: dict[str, Any], options: dict[str, Any], beat: str
) -> None:
    server = await peers.server(mode="echo", **theirs)
    async with our_client(peers, server.url, limits=QUICK, min=0.05, **options) as (primus, log):
        first = await server.wait("connection")
        assert ("ping" in first["query"]) is (options["dialect"] == "auto")
        await log.wait("open")
        assert await primus.id() == first["id"]
        primus.write({"a": [1, "ü"]})
        await log.wait("data", value={"a": [1, "ü"]})
        await several(server, beat)
        await several(server, "heartbeat")
        server.send("end-reconnect")
        second = await server.wait("connection")
        await several(server, beat, 2, id=second["id"])
        assert log.public() == [*OPENED, "data", *LOST, *REOPENED]
        server.send("end", value="bye")
        await log.wait("end")
        assert log.public()[-4:] == ["data", *ENDED]
        primus.open()
        await server.wait("connection")
        primus.end("thanks")
        await server.wait("data", value="thanks")
    assert not strays(server, log)


@pytest.mark.parametrize(("theirs", "options", "beat"), TOLD[::2])
@interop()
async def test_their_server_restarts(peers: Peers, theirs: dict[str, Any], options: dict[str, Any], beat: str) -> None:
    server = await peers.server(**theirs)
    async with our_client(peers, server.url, limits=QUICK, min=0.05, max=0.2, retries=50, **options) as (primus, log):
        await several(server, beat)
        await server.kill()
        await log.wait("reconnect scheduled", attempt=2)
        primus.write("meanwhile")
        again = await peers.server(port=server.port, **theirs)
        await again.wait("data", value="meanwhile")
        await several(again, beat)
        assert log.all("reconnected")
    assert not strays(server, again, log)


@pytest.mark.parametrize(("theirs", "options", "beat"), TOLD)
@interop()
async def test_their_server_falls_silent(
    peers: Peers, theirs: dict[str, Any], options: dict[str, Any], beat: str
) -> None:
    server = await peers.server(**theirs)
    options = heeded(**{"pong": 0.2, **options})
    async with our_client(peers, server.url, limits=QUICK, min=0.05, **options) as (_, log):
        await several(server, beat, 1)
        server.send("mute-pongs")
        await log.wait("reconnect scheduled")
        server.send("mute-pongs", on=False)
        await log.wait("reconnected")
        # A server of primus 8 hears no pong to the pings that it does not send, and may be the first to end it.
        lost = [*OPENED, *LOST] if "offline" not in log.public() else [*OPENED, "offline", *LOST]
        assert log.public()[: len(lost)] == lost


@pytest.mark.parametrize("package", [None, "primus6"])
@interop()
async def test_timeout_false_does_not_mean_that_pings_are_not_wanted(peers: Peers, package: str | None) -> None:
    """Such a spec teaches a client nothing: happn-primus flatlines clients that do not ping, primus 6 does not."""
    options = {"timeout": False} if package else {"timeout": False, "pongSkipTime": 1}
    server = await peers.server(package=package, primus=options)
    assert (await fetch_spec(server.url))["timeout"] is False
    async with our_client(peers, server.url, ping=0.3, pong=5.0, limits=QUICK):
        await several(server, "ping")
        await several(server, "pong")
    if not package:
        silent = await peers.client(server.url, mutePings=True, primus={"ping": 300, "pong": 600})
        await silent.wait("open")
        await server.wait("flatline", count=3)


# --- their clients at our server ---


async def session(peers: Peers, url: str, log: EventLog, dialect: str) -> Peer:
    """One of their clients through several heartbeats, a broken connection and a reconnect, up to its end."""
    client = await peers.client(url, **soon(CLIENTS[dialect]))
    await client.wait("open")
    spark = (await log.wait("connection"))["spark"]
    assert (await client.ask("id"))["id"] == spark.id
    client.send("write", value={"from": dialect})
    await client.wait("data", value={"from": dialect})
    await several(client, BEATS[dialect])
    await several(log, "heartbeat", id=spark.id)
    assert spark.dialect == dialect
    spark.end(reconnect=True)
    await client.wait("reconnected")
    again = (await log.wait("connection"))["spark"]
    await several(client, BEATS[dialect], 2)
    assert again.dialect == dialect
    assert client.public().count("open") == 2
    again.end("bye")
    await client.wait("end")
    assert client.public()[-4:] == ["data", *ENDED]
    assert "offline" not in client.public()
    return client


@pytest.mark.parametrize(("dialect", "options"), SERVERS)
@interop()
async def test_a_session_at_our_server(peers: Peers, dialect: str, options: dict[str, Any]) -> None:
    async with our_server(peers, echo=True, **options) as (server, log):
        client = await session(peers, server.url, log, dialect)
    assert not strays(log, client)


@interop(timeout=30)
async def test_all_three_kinds_on_one_port_at_once(peers: Peers) -> None:
    async with our_server(peers, echo=True, dialect="auto", **AUTO) as (server, log):
        clients = {dialect: await peers.client(server.url, **options) for dialect, options in CLIENTS.items()}
        for client in clients.values():
            await client.wait("open")
        for dialect, client in clients.items():
            await several(client, BEATS[dialect])
        sparks = list(server.sparks.values())
        assert sorted(spark.dialect for spark in sparks) == sorted(CLIENTS)
        for dialect, client in clients.items():
            client.send("write", value=dialect)
            await client.wait("data", value=dialect)
        for spark in sparks:
            await several(log, "heartbeat", id=spark.id)
            spark.end()
        for client in clients.values():
            await client.wait("end")
            assert client.public() == [*OPENED, "data", *ENDED]
        assert sorted(log.values()) == sorted(CLIENTS)


@interop(timeout=30)
async def test_our_server_restarts_under_all_three_kinds(peers: Peers) -> None:
    options = {"serve": {"dialect": "auto", "detect_after": 0.8, "ping_interval": 0.4}}
    server = await peers.own_server(**options)
    clients = {
        dialect: await peers.client(server.url, **soon(theirs, max=200, retries=50))
        for dialect, theirs in CLIENTS.items()
    }
    for dialect in clients:
        await server.wait("heartbeat", dialect=dialect)
    await server.kill()
    for client in clients.values():
        await client.wait("reconnect scheduled")
    again = await peers.own_server(port=server.port, **options)
    for dialect, client in clients.items():
        await client.wait("reconnected")
        await several(again, "heartbeat", 2, dialect=dialect)
        assert client.values() == []
    assert not strays(server, again)


@pytest.mark.parametrize(("dialect", "options"), SERVERS)
@interop()
async def test_their_client_falls_silent(peers: Peers, dialect: str, options: dict[str, Any]) -> None:
    async with our_server(peers, **options) as (server, log):
        theirs = soon(CLIENTS[dialect])
        if dialect == "primus6":
            theirs["primus"]["pong"] = 60000  # so that it is ours that gives up
        client = await peers.client(server.url, mutePings=True, **theirs)
        first = await log.wait("connection")
        await log.wait("disconnection", id=first["id"])
        assert first["spark"].close_reason.kind == "flatline"
        client.send("mute-pings", on=False)
        await client.wait("reconnected")
        again = await log.wait("connection")
        await several(log, "heartbeat", id=again["id"])
        # It was not told that this was on purpose.
        assert client.public()[:6] == [*OPENED, *LOST]
        assert not log.all("flatline")


@interop()
async def test_a_websocket_ping_is_a_heartbeat_in_every_dialect(peers: Peers) -> None:
    for dialect in ("primus6", "primus"):
        async with our_server(peers, dialect=dialect) as (server, log):
            client = await peers.client(server.url, **CLIENTS[dialect])
            await client.wait("open")
            client.send("ws-ping", payload="x")
            await client.wait("ws-pong", payload="x")
            await log.wait("heartbeat")
