"""Nothing accumulates: tasks, sockets, descriptors, memory; and an idle program is not woken."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
from typing import Any

import pytest

from tests.conformance.hosts import LONG, Host, instances, needing, scenario, sockets
from tests.conformance.peers import RawPeer, frame
from tests.conformance.test_sessions import stay
from tests.conformance.users import Memory, echo, take

CYCLES = 2000 if LONG else 400
FEW_THREADS = 16  # beside one for each handler that is at work
OF_A_THREAD = 40  # objects that one is made of
AT_ONCE = 20
# What 2,000 connections may leave behind altogether: asyncio keeps a hundred timers that were cancelled, or as many as
# are armed, until their time has come; uvicorn keeps its last connections for a while.
KEPT = 1024 * 1024
IDLE = 60.0 if LONG else 1.0


def descriptors() -> int:
    """How many this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


@scenario(timeout=120)
async def test_thousands_of_short_connections(host: Host) -> None:
    """Connect, echo, end: hundreds of times, 20 at a time; 2,000 in the long version."""

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
        threads_before = threading.active_count()
        objects = len(instances(object))
        # Counting bytes makes it three times as slow.
        with Memory() if LONG else contextlib.nullcontext() as memory:
            started = host.time()
            workers = [host.start(cycles(first)) for first in range(AT_ONCE)]
            for worker in workers:
                await worker.join()
                worker.result()
            took = host.time() - started
            await drained()
            grown = memory.grown() if memory is not None else 0
        few = threads_before + FEW_THREADS  # a worker thread that is idle ends in a few seconds
        await host.until(lambda: threading.active_count() <= few, "worker threads do not end", timeout=20)
        assert len(host.leftovers()) == left  # and what the host itself has noted of timers that are over is forgotten
        more = len(instances(object)) - objects
        print(
            f"{host.name}: {CYCLES} cycles in {took:.1f} s. Before and after: tasks and timers {left} and "
            f"{len(host.leftovers())}, descriptors {open_before} and {descriptors()}, threads {threads_before} and "
            f"{threading.active_count()}; {grown} bytes and {more} objects more"
        )
        assert descriptors() == open_before
        assert len(sockets()) == sockets_before
        assert grown < KEPT
        idle = max(threading.active_count() - threads_before, 0)
        assert more < CYCLES + host.keeps + OF_A_THREAD * idle, "something is kept for each"


@scenario(timeout=60, needs=["sockets"])
async def test_idle_connections_take_no_thread_each(host: Host) -> None:
    """However many are connected: what runs is what there is to do."""
    count = 300
    before = threading.active_count()
    async with host.serve(None) as server:
        server.on("connection", lambda spark: spark.on("data", spark.write))
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(RawPeer(server.port)) for _ in range(count)]
            for peer in peers:
                await host.thread(peer.open)
            await host.until(lambda: len(server.sparks) == count)
            more = await host.settled(lambda: threading.active_count() - before)
            print(f"{more} threads for {count} idle connections")
            assert more <= FEW_THREADS
            for peer in (peers[0], peers[-1]):
                peer.send(frame(b'"still there?"'))
                assert await host.thread(peer.frame) == (1, b'"still there?"')
        await host.until(lambda: not server.sparks)


@scenario(needs=["clients"])
async def test_many_clients_share_what_they_can(host: Host) -> None:
    """A client is small: what it takes to receive is there once, not once for each."""
    count = 40
    async with host.serve(stay) as server:
        async with host.connect(server.url):
            pass
        with Memory() as memory:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(count):
                    await stack.enter_async_context(host.connect(server.url))
                each = memory.grown() / count
                print(f"{each:.0f} bytes for a connection, both ends")
        assert each < 64 * 1024


@scenario(timeout=90)
async def test_nothing_runs_while_idle(host: Host) -> None:
    """Nothing is due between heartbeats, so nothing runs: not one timer."""
    async with host.serve(stay) as server, host.connect(server.url, ping=25, pong=10):
        await host.pause(0.05)
        before = host.timer_runs()
        started = host.time()
        await host.pause(IDLE)
        took = host.time() - started
        ran = host.timer_runs() - before
    print(f"{ran} timers ran in {took:.0f} s")
    assert ran == int((took + 0.05) / 25), "one for each ping of the client's; its pong is no timer"


@scenario()
async def test_a_timer_runs_once_for_each_thing_that_is_due(host: Host) -> None:
    """Five pings: not one timer more for being early by the clock's resolution."""
    beats: list[Any] = []
    async with host.serve(stay) as server:
        server.on("connection", lambda spark: spark.on("heartbeat", lambda: beats.append(1)))
        async with host.connect(server.url, ping=0.1003, pong=5):
            await host.until(lambda: len(beats) == 1)
            before = host.timer_runs()
            await host.until(lambda: len(beats) == 6)
            ran = host.timer_runs() - before
    assert ran <= 7, "five for the pings, and at most two for deadlines that had moved meanwhile"


@needing("loose ends")
def test_the_checks_see_what_was_entered_and_not_left(host: Host) -> None:
    """A scenario that leaves something is a scenario that fails."""

    async def leave_a_handler() -> None:
        server = await host.serve(stay).__aenter__()
        server._stop_listening()
        server._io.start(host.pause(60))

    async def leave_a_timer() -> None:
        server = await host.serve(stay).__aenter__()
        server._stop_listening()
        server._io._arm(1e12)  # type: ignore[attr-defined]

    for leave, words in ((leave_a_handler, "pause"), (leave_a_timer, "timer")):
        with pytest.raises(AssertionError, match=words):
            host.run(leave, 10)
        gc.collect()


def test_the_checks_see_sockets_and_failures(host: Host) -> None:
    left: list[socket.socket] = []

    async def leave_a_socket() -> None:
        left.append(socket.socket())

    async def leave_a_failure() -> None:
        host.start(fail())
        await host.pause(0)

    async def fail() -> None:
        raise ZeroDivisionError

    for leave, words in ((leave_a_socket, "socket:"), (leave_a_failure, "ZeroDivisionError")):
        with pytest.raises(AssertionError, match=words):
            host.run(leave, 10)
    left[0].close()
