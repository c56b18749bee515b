"""The server on aiohttp, over real sockets: clients of primus_io, and peers that take liberties."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest

from aiohttp_app import application
from primus_io.asyncio import connect
from primus_proto import ConnectError, Limits, Refused, Request
from primus_proto import events as ev
from tests.conformance.peers import frame
from tests.examples.aiohttp_world import deaf, hosting, real, running, take, until_closed
from tests.interop.peers import WAIT

PIECE = "x" * 64 * 1024


@real
async def test_heartbeats() -> None:
    """Primus's, and a WebSocket ping, which counts as one and gets no more than its pong."""
    async with hosting() as (_, story, url):
        async with connect(url, ping=0.05, pong=WAIT) as primus:
            await story.first(ev.SparkHeartbeat, 3)
            assert primus.state == "open"
        beats = len(story.all(ev.SparkHeartbeat))
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/primus?ping=25000", autoping=False) as websocket,
        ):
            await websocket.ping(b"there?")
            message = await websocket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"there?")
            await websocket.pong(b"unasked")
            await websocket.send_str("[")
            assert len(story.all(ev.SparkHeartbeat)) == beats + 1
            assert "not JSON" in str((await story.first(ev.SparkError)).error)


@real
async def test_refusals() -> None:
    async def authorize(request: Request) -> object:
        if request.query.get("token") == "slow":
            await asyncio.sleep(2 * WAIT)
        if request.query.get("token") == "odd":
            return "no"
        if request.query.get("token") != "right":
            raise Refused("no entry", authenticate="Basic")
        return None

    async with hosting(authorize, authorization=0.05) as (_, story, url):
        with pytest.raises(ConnectError) as refused:
            await connect(url).__aenter__()
        assert (refused.value.status, refused.value.body) == (401, b'{"error":"no entry"}')
        assert ("WWW-Authenticate", "Basic") in refused.value.headers
        with pytest.raises(ConnectError) as late:
            await connect(f"{url}/?token=slow", strategy=False).__aenter__()
        assert (late.value.status, late.value.body) == (503, b'{"error":"authorization took too long"}')
        with pytest.raises(ConnectError) as odd:
            await connect(f"{url}/?token=odd").__aenter__()
        assert odd.value.status == 401
        async with connect(f"{url}/?token=right"):
            pass
        assert len(story.all(ev.SparkConnected)) == 1


@real
async def test_plain_requests() -> None:
    async with hosting() as (_, _, url), aiohttp.ClientSession() as session:
        for method, path, status in (
            ("GET", "/primus/spec", 200),
            ("HEAD", "/primus/spec", 200),
            ("POST", "/primus/spec", 405),
            ("GET", "/primus", 426),
            ("POST", "/primus/deeper", 426),
            ("GET", "/primusX", 404),
        ):
            async with session.request(method, url + path) as answer:
                assert answer.status == status, path
                if path == "/primus/spec" and method == "GET":
                    assert (await answer.json())["pathname"] == "/primus"


@real
async def test_a_message_may_be_as_large_as_the_limit() -> None:
    async with hosting(message=1000) as (_, story, url), connect(url, strategy=False) as primus:
        primus.write("x" * 998)
        await story.first(ev.SparkData)
        primus.write("x" * 999)
        await primus.wait_ended()
        assert primus.close_reason is not None
        assert primus.close_reason.code == 1009
        assert (await story.first(ev.SparkDisconnected)).reason.code == 1009


@real
async def test_what_is_not_read_waits_in_the_core_until_it_is_cut() -> None:
    async with hosting(backlog=4 * 1024 * 1024, stall=0.2) as (host, story, url), deaf(url):
        spark = (await story.first(ev.SparkConnected)).spark
        sock = spark.context.websocket.get_extra_info("socket")
        written = most = 0
        while spark.write(PIECE):
            written += 1
            most = max(most, spark.buffered)
            host.pump()
            await asyncio.sleep(0)
            assert written < 1024
        host.pump()
        assert most > 4 * 1024 * 1024
        assert (await story.first(ev.SparkDisconnected)).reason.kind == "backlog"
        await until_closed(sock)


@real
async def test_a_peer_that_reads_nothing_is_not_waited_for() -> None:
    """The goodbye is behind eight megabytes that aiohttp waits to send."""
    async with hosting(close=0.2) as (host, story, url), deaf(url):
        spark = (await story.first(ev.SparkConnected)).spark
        sock = spark.context.websocket.get_extra_info("socket")
        spark.end("x" * 8 * 1024 * 1024)
        host.pump()
        started = host.loop.time()
        await until_closed(sock)
        assert 0.2 <= host.loop.time() - started < WAIT / 2


@real
async def test_a_peer_that_vanishes_while_it_is_not_read_from_is_noticed() -> None:
    """By what is written to it, since nobody reads."""
    message = frame(b'"' + b"x" * 60_000 + b'"')
    async with hosting() as (_, story, url), deaf(url, message * 300) as peer:
        spark = (await story.first(ev.SparkConnected)).spark
        await story.until(lambda: not spark.context.readable.is_set())
        assert len(story.values()) < 300
        peer.transport.abort()
        assert (await story.first(ev.SparkDisconnected)).reason.kind == "lost"


@real
async def test_a_server_that_shuts_down_says_so_and_waits() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with hosting() as (host, story, url):
            primus = await stack.enter_async_context(connect(url, min=60.0))
            story_of_client: list[str] = []
            primus.on("reconnect scheduled", lambda _: story_of_client.append("reconnect scheduled"))
            await story.first(ev.SparkConnected)
        assert type(story.events[-1]) is ev.ServerClosed
        assert not host.server.sparks
        primus.write("to be kept")
        assert story_of_client == ["reconnect scheduled"]


@real
async def test_the_application_slows_down_for_a_slow_reader() -> None:
    """Its echo pauses a client that is behind, so the client is slowed down and not cut."""
    count = 200
    async with running(await application(limits=Limits(backlog=1024 * 1024))) as url, connect(url) as primus:
        received = 0
        sender = asyncio.create_task(send_all(primus, count))
        async for value in primus:
            assert value == {"echo": PIECE}
            received += 1
            if received % 10 == 0:
                await asyncio.sleep(0.001)  # a slow reader
            if received == count:
                break
        await sender


async def send_all(primus: Any, count: int) -> None:
    for _ in range(count):
        assert await primus.send(PIECE)


@real
async def test_the_application_beside_its_other_routes() -> None:
    async with running(await application("secret")) as url, aiohttp.ClientSession() as session:
        with pytest.raises(ConnectError) as refused:
            await connect(url).__aenter__()
        assert refused.value.status == 401
        async with connect(f"{url}/?token=secret") as primus:
            async with session.post(f"{url}/say", json={"news": 1}) as answer:
                assert await answer.json() == {"heard by": 1}
            for wrong in (b"{", b'"primus::server::close"'):
                async with session.post(f"{url}/say", data=wrong) as answer:
                    assert answer.status == 400
            primus.write("hello")
            assert [value async for value in take(primus, 2)] == [{"news": 1}, {"echo": "hello"}]
            async with session.get(url) as answer:
                assert await answer.text() == "1 here\n"
