"""Our client at the real server: opening, messages, heartbeats, the id, and refusals."""

from __future__ import annotations

import json

import pytest

from primus_io.asyncio import connect, fetch_spec
from tests.interop.ours import ENDED, LOST, OPENED, REOPENED, our_client
from tests.interop.peers import Peers, interop

SPEC = {"version": "6.0.1", "parser": "json", "transformer": "websockets", "timeout": 35000}


@interop()
async def test_open_carries_the_users_query_and_the_heartbeat(peers: Peers) -> None:
    server = await peers.server()
    url = f"{server.url}/?token=a%20b%26c&lang=%C3%BC&empty="
    busters = set()
    for _ in range(2):
        options = {"ping": 20.0, "pong": 7.5, "headers": {"X-From": "interop"}}
        async with our_client(peers, url, **options) as (primus, log):
            connection = await server.wait("connection")
            await log.wait("open")
            assert primus.state == "open"
            assert log.public() == OPENED
        query = connection["query"]
        busters.add(query.pop("_primuscb"))
        assert query == {"token": "a b&c", "lang": "ü", "empty": "", "ping": 20000, "pong": 7500}
        assert connection["headers"]["x-from"] == "interop"
    assert len(busters - {""}) == 2


@interop()
async def test_a_thousand_messages_in_order_each_way_at_once(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url) as (primus, log):
        await server.wait("connection")
        await log.wait("open")
        server.send("write-many", tag="theirs", count=1000)
        for index in range(1000):
            primus.write({"ours": index})
        await log.until(lambda: len(log.values()) == 1000, "a thousand messages")
        await server.until(lambda: len(server.values()) == 1000, "a thousand messages")
    assert log.values() == [{"theirs": index} for index in range(1000)]
    assert server.values() == [{"ours": index} for index in range(1000)]


@interop()
async def test_a_server_without_pongs_is_offline(peers: Peers) -> None:
    server = await peers.server(primus={"pongSkipTime": 1}, mutePongs=True)
    async with our_client(peers, server.url, ping=0.25, pong=0.25, min=0.05) as (_, log):
        await log.wait("offline")
        server.send("mute-pongs", on=False)
        await log.wait("online")
        await log.wait("open")
        await log.wait("open")
        reopened = [*REOPENED]
        reopened.insert(reopened.index("rsc(open)"), "online")
        assert log.public() == [*OPENED, "offline", *LOST, *reopened]


@interop()
async def test_a_refusal_is_final_and_says_why(peers: Peers) -> None:
    rule = {"message": "not you", "authenticate": 'Basic realm="interop"', "delay": 20}
    server = await peers.server(authorization=rule)
    async with our_client(peers, server.url) as (primus, log):
        error = (await log.wait("error"))["error"]
        assert (error.status, json.loads(error.body)) == (401, {"error": "not you"})
        headers = {name.lower(): value for name, value in error.headers}
        assert headers["www-authenticate"] == 'Basic realm="interop"'
        assert headers["content-type"] == "application/json"
        await log.wait("end")
        assert log.public() == ["rsc(opening)", "error", *ENDED]
        assert primus.close_reason is not None
        assert primus.close_reason.kind == "refused"
    assert len(server.all("authorization")) == 1


@pytest.mark.parametrize("pathname", ["/primus", "/else/where"])
@interop()
async def test_spec_and_pathname(peers: Peers, pathname: str) -> None:
    # A spec is public even where everybody is refused.
    server = await peers.server(primus={"pathname": pathname}, authorization={"token": "t"})
    assert await fetch_spec(server.url, pathname=pathname) == {**SPEC, "pathname": pathname}
    async with connect(f"{server.url}/?token=t", pathname=pathname):
        await server.wait("connection")
