"""Nothing piles up, however often: tasks, sockets, descriptors, memory; and nobody is woken for nothing."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

from tests.conformance.hosts import LONG, Host, instances, scenario, sockets
from tests.conformance.test_sessions import stay
from tests.conformance.users import Memory, echo, take

CYCLES = 2000
AT_ONCE = 20
# What 2,000 connections may leave behind altogether: caches of the interpreter, of ssl and of the loop.
KEPT = 256 * 1024
IDLE = 60.0 if LONG else 3.0


def descriptors() -> int:
    """How many this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


@scenario(timeout=120)
async def test_thousands_of_short_connections(host: Host) -> None:
    """Connect, echo, end: 2,000 times, 20 at a time."""

    async def cycle(number: int) -> None:
        async with host.connect(server.url) as primus:
            primus.write({"number": number})
            assert await take(primus, 1) == [{"number": number}]

    async def cycles(first: int) -> None:
        for number in range(first, CYCLES, AT_ONCE):
            await cycle(number)

    async def drained() -> None:
        await host.until(lambda: not server.sparks)
        await host.settled(descriptors, quiet=0.05)

    async with host.serve(echo) as server:
        for _ in range(10):
            await cycle(0)
        await drained()
        left, open_before, sockets_before = len(host.leftovers()), descriptors(), len(sockets())
        objects = len(instances(object))
        with Memory() as memory:
            started = time.monotonic()
            workers = [host.start(cycles(first)) for first in range(AT_ONCE)]
            for worker in workers:
                await worker.join()
                worker.result()
            del workers, worker
            took = time.monotonic() - started
            await drained()
            grown = memory.grown()
        more = len(instances(object)) - objects
        print(f"{CYCLES} cycles in {took:.1f} s: {grown} bytes and {more} objects more")
        assert len(host.leftovers()) == left
        assert descriptors() == open_before
        assert len(sockets()) == sockets_before
        assert grown < KEPT
        assert more < CYCLES // 2, "something is kept for each"


@scenario()
async def test_many_clients_share_what_they_can(host: Host) -> None:
    """A client is small: what it takes to receive is there once, not once for each."""
    count = 100
    async with host.serve(stay) as server:
        async with host.connect(server.url):
            pass
        with Memory() as memory:
            clients = [host.connect(server.url) for _ in range(count)]
            for client in clients:
                await client.__aenter__()
            each = memory.grown() / count
            print(f"{each:.0f} bytes for a connection, both ends")
            for client in clients:
                await client.__aexit__(None, None, None)
        assert each < 64 * 1024


@scenario(timeout=90)
async def test_idle(host: Host) -> None:
    """Nothing is due between heartbeats, so nothing runs: not one timer."""
    async with host.serve(stay) as server, host.connect(server.url, ping=25, pong=10):
        await host.pause(0.05)
        before = host.timer_runs()
        started = time.monotonic()
        await host.pause(IDLE)
        took = time.monotonic() - started
        ran = host.timer_runs() - before
    print(f"{ran} timers ran in {took:.0f} s")
    assert ran == int((took + 0.05) / 25), "one for each ping of the client's; its pong is no timer"


@scenario()
async def test_a_timer_runs_once_for_each_thing_that_is_due(host: Host) -> None:
    """Ten pings: not one timer more for being early by the clock's resolution."""
    beats: list[Any] = []
    async with host.serve(stay) as server:
        server.on("connection", lambda spark: spark.on("heartbeat", lambda: beats.append(1)))
        async with host.connect(server.url, ping=0.1003, pong=5):
            await host.until(lambda: len(beats) == 1)
            before = host.timer_runs()
            await host.until(lambda: len(beats) == 11)
            ran = host.timer_runs() - before
    assert ran <= 12, "ten for the pings, and at most two for deadlines that had moved meanwhile"


def test_the_checks_themselves_see_what_they_should(host: Host) -> None:
    """A scenario that leaves something is a scenario that fails."""

    async def leave_a_timer() -> None:
        import asyncio

        asyncio.get_running_loop().call_later(60, print)

    async def leave_a_task() -> None:
        import asyncio

        kept.append(asyncio.ensure_future(asyncio.sleep(60)))

    async def leave_a_client() -> None:
        async with host.serve(stay) as server:
            kept.append(host.connect(server.url, min=60))
            await kept[-1].__aenter__()

    async def leave_a_failure() -> None:
        host.start(fail())
        await host.pause(0)

    async def fail() -> None:
        raise ZeroDivisionError

    kept: list[Any] = []
    for leave in (leave_a_timer, leave_a_task, leave_a_client, leave_a_failure):
        try:
            host.run(leave, 10)
        except AssertionError:
            kept.clear()
            gc.collect()
            continue
        raise RuntimeError(f"{leave.__name__} went unseen")
