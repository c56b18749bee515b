"""Our client at the real server: opening, messages, heartbeats, the id, and refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from primus_io.asyncio import connect, fetch_spec
from primus_proto import ConnectError
from tests.interop.ours import ENDED, LOST, OPENED, REOPENED, our_client
from tests.interop.peers import Peers, interop
from tests.interop.values import JSON_VALUES, UNDECODABLE, canonical, mebibyte

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
async def test_heartbeat_off_is_told_the_server(peers: Peers) -> None:
    server = await peers.server()
    async with connect(server.url, ping=False):
        assert (await server.wait("connection"))["query"]["ping"] == "false"


@interop()
async def test_default_heartbeat_is_told_the_server(peers: Peers) -> None:
    server = await peers.server()
    async with connect(server.url):
        query = (await server.wait("connection"))["query"]
    assert (query["ping"], query["pong"]) == (25000, 10000)


@pytest.mark.parametrize("compression", [False, True])
@interop()
async def test_every_json_type_both_ways(peers: Peers, compression: bool) -> None:
    server = await peers.server(mode="echo", primus={"compression": compression})
    async with our_client(peers, server.url) as (primus, log):
        for value in JSON_VALUES:
            assert primus.write(value)
        await log.until(lambda: len(log.values()) == len(JSON_VALUES), "every echo")
    expected = [canonical(value) for value in JSON_VALUES]
    assert [canonical(value) for value in server.values()] == expected
    assert [canonical(value) for value in log.values()] == expected
    # JavaScript once took these two for the end of a line.
    assert not any("\u2028" in report["raw"] or "\u2029" in report["raw"] for report in server.all("data"))


@pytest.mark.parametrize("compression", [False, True])
@interop()
async def test_a_mebibyte_both_ways(peers: Peers, compression: bool) -> None:
    server = await peers.server(mode="echo", primus={"compression": compression})
    async with our_client(peers, server.url) as (primus, log):
        for value in (mebibyte("x"), [mebibyte("ü")]):
            assert await primus.send(value)
            assert (await server.wait("data"))["value"] == value
            assert (await log.wait("data"))["value"] == value


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
async def test_iterating_gets_a_thousand_messages_and_ends_with_the_server(peers: Peers) -> None:
    server = await peers.server()
    async with connect(server.url) as primus:
        await server.wait("connection")
        server.send("write-many", tag="n", count=1000)
        server.send("end", value="the last one")
        received: list[Any] = [value async for value in primus]
    assert received == [*({"n": index} for index in range(1000)), "the last one"]


@interop()
async def test_a_broadcast_reaches_every_client(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url) as (_, one), our_client(peers, server.url) as (_, two):
        await server.wait("connection")
        await server.wait("connection")
        server.send("broadcast", value={"all": "of you"})
        for log in (one, two):
            assert (await log.wait("data"))["value"] == {"all": "of you"}


@interop()
async def test_heartbeats_keep_both_ends_alive(peers: Peers) -> None:
    # The real server swallows every pong that comes too soon after the last one, hence pongSkipTime.
    server = await peers.server(primus={"pongSkipTime": 1})
    async with our_client(peers, server.url, ping=0.25, pong=0.25) as (primus, log):
        for _ in range(5):
            await server.wait("ping")
        await server.wait("heartbeat")
        assert primus.latency is not None
        assert 0 <= primus.latency < 5
        assert log.public() == OPENED
    assert not server.all("flatline")


@interop()
async def test_a_websocket_ping_is_answered(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url):
        await server.wait("connection")
        server.send("ws-ping", payload="are you there?")
        await server.wait("ws-pong", payload="are you there?")


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
async def test_id_is_the_sparks(peers: Peers) -> None:
    server = await peers.server()
    async with connect(server.url) as primus:
        connection = await server.wait("connection")
        assert await primus.id() == connection["id"]
        server.send("end-reconnect")
        again = await server.wait("connection")
        assert await primus.id() == again["id"] != connection["id"]


@interop()
async def test_what_cannot_be_decoded_is_an_error_in_its_place(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url) as (_, log):
        await server.wait("connection")
        for name, text in UNDECODABLE.items():
            server.send("raw", text=text)
            server.send("write", value=f"after: {name}")
        for name in UNDECODABLE:
            await log.wait("data", value=f"after: {name}")
        assert log.public() == [*OPENED, *["error", "data"] * len(UNDECODABLE)]


@interop()
async def test_unknown_protocol_messages_are_no_data_and_binary_is_bytes(peers: Peers) -> None:
    server = await peers.server()
    async with our_client(peers, server.url) as (_, log):
        await server.wait("connection")
        server.send("raw", text='"primus::unheard::of"')
        server.send("raw", text='"\\u0070rimus::unheard::of"')
        server.send("binary", base64=base64.b64encode(b"\x00\xff\x01").decode())
        server.send("write", value="after")
        await log.wait("data", value="after")
        assert log.values() == [b"\x00\xff\x01", "after"]


@interop()
async def test_a_refusal_is_final_and_says_why(peers: Peers) -> None:
    rule = {"message": "no entry", "authenticate": 'Basic realm="interop"', "delay": 20}
    server = await peers.server(authorization=rule)
    with pytest.raises(ConnectError) as refusal:
        async with connect(server.url):
            pytest.fail("it opened")
    assert refusal.value.status == 401
    assert json.loads(refusal.value.body) == {"error": "no entry"}
    headers = {name.lower(): value for name, value in refusal.value.headers}
    assert headers["www-authenticate"] == 'Basic realm="interop"'
    assert headers["content-type"] == "application/json"


@interop()
async def test_the_events_of_a_refusal(peers: Peers) -> None:
    server = await peers.server(authorization={"status": 403, "message": "not you", "authenticate": "Basic"})
    async with our_client(peers, server.url) as (primus, log):
        error = (await log.wait("error"))["error"]
        assert (error.status, json.loads(error.body)) == (403, {"error": "not you"})
        assert "www-authenticate" not in {name.lower() for name, _ in error.headers}
        await log.wait("end")
        assert log.public() == ["rsc(opening)", "error", *ENDED]
        assert primus.close_reason is not None
        assert primus.close_reason.kind == "refused"
    assert len(server.all("authorization")) == 1


@interop()
async def test_a_server_that_cannot_just_now_is_tried_again(peers: Peers) -> None:
    server = await peers.server(authorization={"status": 503, "message": "later"})
    async with our_client(peers, server.url, min=0.05, retries=2) as (primus, log):
        await log.wait("end")
        attempt = ["reconnect", "rsc(opening)", "rsc(end)"]
        events = log.public()
        assert events[:7] == ["rsc(opening)", "error", "rsc(end)", "reconnect scheduled", *attempt]
        assert events[7:9] == ["reconnect scheduled", "reconnect"]
        assert events[-1] == "end"
        assert "reconnect failed" in events
        assert log.all("error")[0]["error"].status == 503
        assert primus.close_reason is not None
        assert primus.close_reason.kind == "retries"
    assert len(server.all("authorization")) == 3


@interop()
async def test_the_query_may_carry_what_authorization_wants(peers: Peers) -> None:
    server = await peers.server(authorization={"token": "se same"}, mode="echo")
    async with our_client(peers, f"{server.url}/?token=se%20same") as (primus, log):
        primus.write("in")
        await log.wait("data", value="in")


@pytest.mark.parametrize("pathname", ["/primus", "/else/where"])
@interop()
async def test_spec_and_pathname(peers: Peers, pathname: str) -> None:
    # A spec is public even where everybody is refused.
    server = await peers.server(primus={"pathname": pathname}, authorization={"token": "t"})
    assert await fetch_spec(server.url, pathname=pathname) == {**SPEC, "pathname": pathname}
    async with connect(f"{server.url}/?token=t", pathname=pathname):
        await server.wait("connection")
