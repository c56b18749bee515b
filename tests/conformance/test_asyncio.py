"""What only asyncio has: a CancelledError that any code may raise, eager tasks, loops run by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from primus_io._read_budget import FIRST_READ, MIN_READ
from primus_io._running import CALLS_PER_TURN
from primus_io.asyncio import Spark, connect, serve
from primus_proto import ConnectError, Limits, PrimusError
from tests.conformance.conftest import Certificates, host_of
from tests.conformance.hosts import Host, scenario
from tests.conformance.hosts_asyncio import AsyncioHost, UvloopHost
from tests.conformance.peers import RawPeer, frame
from tests.conformance.test_flood import COUNT, FLOOD, Reads
from tests.conformance.test_messages import KINDS, over
from tests.conformance.users import Diary, echo, take, why

PART = 2000 * 7  # bytes of a flood that are sent at once


@pytest.fixture(params=[AsyncioHost, UvloopHost], ids=lambda row: row.name)
def host(request: pytest.FixtureRequest) -> Host:
    return host_of(request)


async def cancelled_future() -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


async def handler(spark: Spark) -> None:
    """Waits for something that somebody else has cancelled."""
    async for value in spark:
        if value == "raise":
            await (await cancelled_future())
        await spark.send(value)


def sync_listener(spark: Spark) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    spark.on("data", lambda value: future.result() if value == "raise" else spark.write(value))


def async_listener(spark: Spark) -> None:
    @spark.on("data")
    async def data(value: Any) -> None:
        if value == "raise":
            await (await cancelled_future())
        await spark.send(value)


@pytest.mark.parametrize("fault", [handler, sync_listener, async_listener], ids=lambda f: f.__name__)
@scenario()
async def test_a_cancelled_error_that_nobody_asked_for_is_a_fault(host: Host, fault: Any) -> None:
    """Nobody cancelled the handler: without it, the spark must not stay open and unserved."""
    async with host.serve(fault if fault is handler else None) as server:
        if fault is not handler:
            server.on("connection", fault)
        async with host.connect(server.url) as other, host.connect(server.url, min=0.01) as primus:
            diary = Diary(host, primus, "close", "reconnected")
            primus.write("raise")
            await diary.wait("reconnected")
            for client in (primus, other):
                client.write("fine")
                assert await take(client, 1) == ["fine"]
            assert len(server.sparks) == 2


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@scenario()
async def test_a_cancelled_error_in_the_hook_that_authorizes_is_answered_at_once(host: Host, awaits: bool) -> None:
    """Say, of a look-up that several requests share. Nobody waits for `Limits.authorization`."""
    future = await cancelled_future()

    def decide(request: Any) -> None:
        future.result()

    async def decide_later(request: Any) -> None:
        await future

    async with host.serve(echo, authorize=decide_later if awaits else decide) as server:
        started = host.time()
        with pytest.raises(ConnectError, match="500"):
            async with host.connect(server.url, strategy=False):
                raise AssertionError("it was let in")
        assert host.time() < started + server._core.limits.authorization / 2


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@scenario()
async def test_a_cancelled_error_in_a_clients_listener_cancels_nobody(host: Host, awaits: bool) -> None:
    future = await cancelled_future()

    def data(value: Any) -> None:
        future.result()

    async def data_later(value: Any) -> None:
        await future

    async def use(server: Any) -> None:
        async with host.connect(server.url) as primus:
            primus.on("data", data_later if awaits else data)
            primus.write(1)
            await primus.wait_ended()
            assert why(primus) == "local"

    async with host.serve(echo) as server:
        with pytest.raises(PrimusError, match="a listener was cancelled") as caught:
            await use(server)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)


@scenario(needs=["eager tasks"])
async def test_tasks_that_begin_at_once(host: Host) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]

    async def greet(spark: Spark) -> None:
        spark.write("hello")
        async for value in spark:
            spark.write(value)

    async with host.serve(greet, authorize=allow) as server:
        server.on("connection", allow)
        async with host.connect(server.url) as primus:
            assert await take(primus, 1) == ["hello"]
            primus.write(1)
            assert await take(primus, 1) == [1]
            assert await primus.id() in server.sparks


async def allow(_: object) -> None:
    """An authorization hook and a listener that do not wait."""


@scenario()
async def test_broadcasts_in_one_breath(host: Host) -> None:
    """More than the limit before the loop gets its turn: who reads is not cut for that."""
    serving = host.serve(None, limits=Limits(backlog=256 * 1024))
    async with serving as server, host.connect(server.url) as one, host.connect(server.url) as two:
        await host.until(lambda: len(server.sparks) == 2)
        for number in range(32):
            assert server.write(str(number) + "x" * 32_000) == 2
        for primus in (one, two):
            assert [int(value.rstrip("x")) for value in await take(primus, 32)] == list(range(32))


@KINDS
@scenario(needs=["sockets"])
async def test_a_flood_leaves_others_their_turns(
    host: Host, tls: Certificates, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read of it in each turn of the loop, which uvloop has to be made to keep to, and TLS has to."""
    reads = Reads(monkeypatch, seconds=1.0)
    turns = 0
    turn_of: list[int] = []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(turn_of) < COUNT:
            loop.call_soon(turn)

    loop = asyncio.get_running_loop()
    async with over(host, tls, secure, None) as server:
        server.on("connection", lambda spark: spark.on("data", lambda value: turn_of.append(turns)))
        with RawPeer(server.port, tls=tls.client if secure else None) as peer:
            await host.thread(peer.open)
            loop.call_soon(turn)
            for part in range(0, len(FLOOD), PART):
                peer.send(FLOOD[part : part + PART])  # in the loop's own thread, so while there is no read
                while len(turn_of) <= part // len(frame(b"1")):  # none of this part has been read
                    await asyncio.sleep(0)
            await host.until(lambda: len(turn_of) == COUNT)
    assert reads.sizes.count(MIN_READ) > len(FLOOD) / MIN_READ / 2
    first, *rest = sorted(Counter(turn_of).values(), reverse=True)
    assert first <= FIRST_READ // len(frame(b"1")) + 1
    assert max(rest) <= MIN_READ // len(frame(b"1")) + 1


@scenario()
async def test_what_has_waited_leaves_others_their_turns(host: Host) -> None:
    """A handler that finds many messages goes through them without having to wait."""
    count = 1000
    all_there = asyncio.Event()
    turns = 0
    turn_of: list[int] = []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(turn_of) < count:
            loop.call_soon(turn)

    async def handler(spark: Spark) -> None:
        await all_there.wait()
        loop.call_soon(turn)
        async for _ in spark:
            turn_of.append(turns)

    loop = asyncio.get_running_loop()
    async with serve(handler) as server, connect(server.url) as primus:
        for number in range(count):
            primus.write(number)
        [spark] = server.sparks.values()
        await host.until(lambda: spark._inbox is not None and len(spark._inbox) == count)
        all_there.set()
        await host.until(lambda: len(turn_of) == count)
    assert max(Counter(turn_of).values()) <= CALLS_PER_TURN


def test_a_loop_that_is_closed_at_once() -> None:
    """Nothing is left to be done in a later turn: the loop may be closed without one."""
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with serve(echo) as server, connect(server.url) as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
            async with connect(server.url, wait=False):
                pass

    loop.run_until_complete(main())
    loop.close()
