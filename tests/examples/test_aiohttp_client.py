"""The client on aiohttp, over real sockets: servers of primus_io, its own server, and such as do not answer."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from primus_io.asyncio import connect, serve
from primus_proto import Refused
from primus_proto import events as ev
from tests.conformance.peers import unused_port
from tests.examples.aiohttp_world import client_of, listening, real, take, wait_for_beats
from tests.examples.programs import program
from tests.interop.peers import WAIT

PIECE = "x" * 64 * 1024


@real
async def test_the_client_at_a_server_of_primus_io() -> None:
    async def handler(spark: Any) -> None:
        async for value in spark:
            if value == "end":
                spark.end("bye")
            else:
                spark.write({"echo": value})

    async with serve(handler) as server, client_of(server.url, ping=0.05, pong=WAIT) as (client, story, host):
        for number in range(100):
            client.write(number)
        await story.until(lambda: len(story.values()) == 100)
        assert story.values() == [{"echo": number} for number in range(100)]
        await wait_for_beats(server, 3)
        client.write("end")
        host.pump()
        assert (await story.first(ev.Ended)).reason.kind == "server"
        assert story.values()[-1] == "bye"
        assert not story.all(ev.ReconnectScheduled)


@real
async def test_the_client_comes_back_with_what_was_written_meanwhile() -> None:
    sparks: asyncio.Queue[Any] = asyncio.Queue()
    async with serve(None) as server, client_of(server.url) as (client, story, host):
        server.on("connection", sparks.put_nowait)
        first = await sparks.get()
        first.end(reconnect=True)
        await story.first(ev.ReconnectScheduled)
        client.write("meanwhile")
        second = await sparks.get()
        assert [value async for value in take(second, 1)] == ["meanwhile"]
        assert host.link is not None
        host.link.abort()  # no goodbye from here
        third = await sparks.get()
        assert len({first.id, second.id, third.id}) == 3
        await story.first(ev.Reconnected, 1)
        assert [event.reason.kind for event in story.all(ev.Closed)] == ["lost", "lost"]


@real
async def test_a_refusal_is_final_and_a_missing_server_is_not() -> None:
    def authorize(request: Any) -> None:
        raise Refused("not you", status=403)

    async with serve(None, authorize=authorize) as server, client_of(server.url) as (_, story, _):
        ended = await story.first(ev.Ended)
        assert (ended.reason.kind, ended.reason.error.status) == ("refused", 403)
        assert ("Content-Type", "application/json") in ended.reason.error.headers
    async with client_of(f"http://127.0.0.1:{unused_port()}", retries=2) as (_, story, _):
        ended = await story.first(ev.Ended)
        assert (ended.reason.kind, len(story.all(ev.ReconnectScheduled))) == ("retries", 2)


@real
async def test_an_attempt_that_is_not_answered_in_time_is_dropped() -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)  # until the client has gone
        gone.set()

    async with listening(silent) as url, client_of(url, timeout=0.1, strategy=False) as (_, story, _):
        assert (await story.first(ev.Ended)).reason.kind == "timeout"
        await gone.wait()


@real
async def test_the_spec_tells_the_client_who_sends_the_heartbeats() -> None:
    async with serve(None, dialect="primus", ping_interval=0.2) as server, client_of(server.url) as (_, story, _):
        await story.first(ev.Opened)
        await wait_for_beats(server, 2)  # its pings are answered
        assert not story.all(ev.MessageIgnored)
    async with serve(None, dialect="primus6", timeout=14) as server, client_of(server.url) as (client, story, host):
        await story.first(ev.Opened)
        started = host.loop.time()
        async with asyncio.timeout(WAIT):
            while (client.next_timeout() or 0.0) > started + 16:  # it pings after 7 seconds, and not after 25
                await asyncio.sleep(0.001)


@real
async def test_a_client_that_pauses_slows_the_server_down() -> None:
    sent = 0

    async def pour(spark: Any) -> None:
        nonlocal sent
        while sent < 400 and await spark.send(PIECE):
            sent += 1
        await spark.wait_ended()

    async with serve(pour) as server, client_of(server.url) as (client, story, host):
        await story.first(ev.DataReceived)
        client.pause()
        host.pump()
        [spark] = server.sparks.values()
        async with asyncio.timeout(WAIT):
            while not spark.needs_drain:
                await asyncio.sleep(0.001)
        assert sent < 400
        client.resume()
        host.pump()
        await story.until(lambda: len(story.values()) == 400)


# --- the programs ---


def test_the_programs() -> None:
    async def main() -> None:
        port = unused_port()
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(4 * WAIT), program("aiohttp_app.py", "serve", "--port", str(port)) as server:
            async with program("aiohttp_app.py", "connect", url, "hello", "world") as chat:  # it may come too early
                await chat.heard({"echo": "world"})
                async with connect(url) as primus:
                    primus.write(1)
                    assert [value async for value in take(primus, 1)] == [{"echo": 1}]
                chat.process.send_signal(signal.SIGINT)
                assert await chat.status() == 130
            assert [line for line in chat.complaints if not line.startswith("!")] == []
            server.process.send_signal(signal.SIGINT)
            assert await server.status() == 0
            assert server.complaints == []

    asyncio.run(main())


@pytest.mark.parametrize(("args", "words"), [(["nonsense"], "url must"), (["http://x", "primus::y"], "reserved")])
def test_bad_usage_says_what_is_wrong(args: list[str], words: str) -> None:
    async def main() -> None:
        async with program("aiohttp_app.py", "connect", *args) as chat:
            assert await chat.status() == 1
        assert words in "\n".join(chat.complaints)

    asyncio.run(main())
