"""The real client at our server: opening, messages, heartbeats, the id, refusals, plain HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from primus_proto import Limits, Refused
from tests.interop.ours import our_server
from tests.interop.peers import Peers, interop
from tests.interop.values import UNDECODABLE

OPENED = ["rsc(opening)", "rsc(open)", "open"]
# With this strategy a refusal is the end of the real client, as it is of one built by an authorizing server.
NO_TIMEOUT = {"strategy": "disconnect, online"}


@interop()
async def test_open_carries_the_users_query_and_the_heartbeat(peers: Peers) -> None:
    async with our_server(peers) as (server, log):
        busters = set()
        for _ in range(2):
            url = f"{server.url}/?token=a%20b%26c&lang=%C3%BC&empty="
            client = await peers.client(url, primus={"ping": 20000, "pong": 7500})
            await client.wait("open")
            spark = (await log.wait("connection"))["spark"]
            query = dict(spark.query)
            busters.add(query.pop("_primuscb"))
            assert query == {"token": "a b&c", "lang": "ü", "empty": "", "ping": "20000", "pong": "7500"}
            assert spark.heartbeat_timeout == 23.75
            assert spark.address.ip == "127.0.0.1"
            assert spark.headers["Upgrade"].lower() == "websocket"
            assert spark.request.path == "/primus"
            assert server.spark(spark.id) is spark
            assert client.public() == OPENED
        assert len(busters - {""}) == 2
        assert len(server.sparks) == 2


@interop()
async def test_heartbeats_keep_both_ends_alive_at_default_options(peers: Peers) -> None:
    """The original's own server, at its default pongSkipTime, loses this client at the second ping."""
    async with our_server(peers) as (server, log):
        client = await peers.client(server.url, primus={"ping": 300, "pong": 300})
        for _ in range(4):
            await client.wait("pong")
            await log.wait("heartbeat")
        state = await client.ask("state")
        assert 0 <= state["latency"] < 5000
        assert client.public() == OPENED
        assert not log.all("disconnection")


@interop()
async def test_a_ping_longer_than_the_upper_limit_comes_all_the_same(peers: Peers) -> None:
    """Their client counts from any pong, so one that it did not ask for yet would keep it from ever pinging."""
    async with our_server(peers, limits=Limits(heartbeat_min=0.4, heartbeat_max=1.2)) as (server, log):
        client = await peers.client(server.url, primus={"ping": 500, "pong": 3000})
        for _ in range(3):
            await log.wait("heartbeat")
        assert client.public() == OPENED
        assert log.names() == ["connection", *["heartbeat"] * 3]


@interop()
async def test_a_websocket_ping_is_a_heartbeat_and_gets_no_more_than_its_pong(peers: Peers) -> None:
    async with our_server(peers) as (server, log):
        client = await peers.client(server.url)
        await client.wait("open")
        client.send("ws-ping", payload="are you there?")
        await client.wait("ws-pong", payload="are you there?")
        await log.wait("heartbeat")
        client.send("id")
        await client.wait("id")  # a primus::pong would have come before this answer
        assert not client.all("pong")


@interop(timeout=30)
async def test_missed_pings_are_skipped_twice_and_then_flatline(peers: Peers) -> None:
    async with our_server(peers, limits=Limits(heartbeat_min=0.1)) as (server, log):
        # It believes that it pings, so it also waits for pongs: only unsolicited ones, in time, keep it.
        options = {"ping": 500, "pong": 1000, "reconnect": {"min": 50}}
        client = await peers.client(server.url, primus=options, mutePings=True)
        spark = (await log.wait("connection"))["spark"]
        assert spark.heartbeat_timeout == 1.0
        assert (await log.wait("heartbeat-skipped"))["count"] == 1
        await client.wait("pong")
        assert (await log.wait("heartbeat-skipped"))["count"] == 2
        await client.wait("pong")
        assert (await log.wait("flatline"))["count"] == 3
        client.send("mute-pings", on=False)
        again = await log.wait("connection")
        await client.wait("reconnected")
        assert again["id"] != spark.id
        events = log.names()
        assert events == [
            *("connection", "heartbeat-skipped", "heartbeat-skipped"),
            *("readyStateChange", "disconnection", "end", "flatline", "connection"),
        ]
        # Neither offline, nor told that this was on purpose.
        assert client.public()[:6] == [*OPENED, "rsc(end)", "close", "reconnect scheduled"]


@interop()
async def test_what_cannot_be_decoded_is_an_error_in_its_place(peers: Peers) -> None:
    async with our_server(peers) as (server, log):
        client = await peers.client(server.url)
        await client.wait("open")
        for name, text in UNDECODABLE.items():
            client.send("raw", text=text)
            client.send("write", value=f"after: {name}")
        for name in UNDECODABLE:
            await log.wait("data", value=f"after: {name}")
        assert log.names() == ["connection", *["error", "log", "data"] * len(UNDECODABLE)]
        assert client.public() == OPENED


@interop()
async def test_a_refusal_says_why(peers: Peers) -> None:
    async def authorize(request: Any) -> None:
        await asyncio.sleep(0)
        if request.query.get("token") != "se same":
            raise Refused('no "entry" é', authenticate='Basic realm="interop"')

    async with our_server(peers, authorize=authorize) as (server, log):
        client = await peers.client(server.url, primus=NO_TIMEOUT)
        refusal = await client.wait("unexpected-response")
        assert refusal["status"] == 401
        assert json.loads(refusal["body"]) == {"error": 'no "entry" é'}
        assert refusal["headers"]["content-type"] == "application/json"
        assert refusal["headers"]["www-authenticate"] == 'Basic realm="interop"'
        assert refusal["headers"]["connection"].lower() == "close"
        await client.wait("end")
        assert client.public() == ["rsc(opening)", "error", "rsc(end)", "close", "end"]
        assert not log.all("connection")

        client = await peers.client(f"{server.url}/?token=se%20same", primus=NO_TIMEOUT)
        await client.wait("open")
        await log.wait("connection")
