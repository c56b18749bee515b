"""Each parser against the real packages, in both directions: values, heartbeats, the id, ends, reconnecting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from primus_io.asyncio import fetch_spec
from primus_proto import Limits
from tests.interop.ours import OPENED, REOPENED, our_client, our_server
from tests.interop.peers import Peers, interop

MOMENT = datetime(2026, 11, 29, 12, 0, 0, 5000, tzinfo=UTC)
VALUES: dict[str, list[Any]] = {
    "json": ["\ud800", {"a": [1.5, None, "é\u2028"]}],
    "ejson": [MOMENT, [b"bytes", float("inf")], {"$date": 1}, {"a": [1.5, None, "é\u2028"]}],
    "binary": [b"bytes", {"a": [1.5, None, "é\u2028"], "b": list(range(20))}, "x" * 70_000],
    "msgpack": [MOMENT, b"bytes", {"a": [1.5, None, "é\u2028"], "b": list(range(20))}, "x" * 70_000],
}
# happn-primus 6 has no `msgpack`.
PEERS = [pytest.param("happn", name) for name in ("json", "ejson", "binary")]
PEERS += [pytest.param("primus8", name) for name in VALUES]
SERVERS: dict[str, dict[str, Any]] = {"happn": {"pongSkipTime": 1}, "primus8": {"pingInterval": 200}}
CLIENTS: dict[str, dict[str, Any]] = {"happn": {"ping": 200, "pong": 2000}, "primus8": {"pingTimeout": 3000}}
QUICK = Limits(heartbeat_min=0.05)


def peer_options(package: str, parser: str) -> dict[str, Any]:
    chosen = {} if package == "happn" else {"package": package}
    return {**chosen, "library": {"parser": parser}}


@pytest.mark.parametrize(("package", "parser"), PEERS)
@interop()
async def test_our_client_at_their_server(peers: Peers, package: str, parser: str) -> None:
    chosen = {} if package == "happn" else {"package": package}
    server = await peers.server(mode="echo", primus={"parser": parser, **SERVERS[package]}, **chosen)
    assert (await fetch_spec(server.url))["parser"] == parser
    client_options: dict[str, Any] = {"ping": 0.2, "pong": 2.0} if package == "happn" else {}
    async with our_client(peers, server.url, parser=parser, min=0.05, **client_options) as (primus, log):
        await log.wait("open")
        for value in VALUES[parser]:
            primus.write(value)
            assert await log.wait("data") == {"event": "data", "value": value}
        spark = await server.wait("connection")
        assert await primus.id() == spark["id"]
        for _ in range(3):
            await server.wait("pong" if package == "happn" else "client-pong")
        server.send("end-reconnect")
        await log.wait("reconnected")
        await log.wait("open")
        server.send("end", value="last")
        await log.wait("data", value="last")
        await log.wait("end")
        assert primus.close_reason is not None
        assert primus.close_reason.kind == "server"
    assert not [value for value in (*log.values(), *server.values()) if str(value).startswith("primus::")]
    assert not server.all("error")
    assert not log.all("error")


@pytest.mark.parametrize(("package", "parser"), PEERS)
@interop()
async def test_their_client_at_our_server(peers: Peers, package: str, parser: str) -> None:
    dialect: Any = "happn" if package == "happn" else "primus"
    intervals: dict[str, Any] = {} if package == "happn" else {"ping_interval": 0.2}
    async with our_server(peers, echo=True, parser=parser, dialect=dialect, limits=QUICK, **intervals) as (server, log):
        assert (await fetch_spec(server.url))["parser"] == parser
        options = {**CLIENTS[package], "reconnect": {"min": 50}}
        client = await peers.client(server.url, primus=options, **peer_options(package, parser))
        await client.wait("open")
        spark = (await log.wait("connection"))["spark"]
        value = {"a": [1.5, None, "é\u2028", {"b": "x" * 300}]}
        client.send("write", value=value)
        assert (await log.wait("data"))["value"] == value
        assert (await client.wait("data"))["value"] == value
        client.send("id")
        assert (await client.wait("id"))["id"] == spark.id
        for _ in range(3):
            await client.wait("pong" if package == "happn" else "server-ping")
        spark.end(reconnect=True)
        await client.wait("reconnected")
        again = (await log.wait("connection"))["spark"]
        again.end("last")
        await client.wait("data", value="last")
        await client.wait("end")
        assert client.public()[:3] == OPENED
        assert REOPENED[-1] in client.public()
        assert not client.all("error")
        assert not log.all("error")
        assert not [value for value in client.values() if str(value).startswith("primus::")]
