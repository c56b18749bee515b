"""Handlers and clients of users in virtual time and in trouble."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from primus_io import anyio as primus_anyio
from primus_io.asyncio import connect, serve
from primus_io.testing import VirtualNetwork, run
from primus_proto import LocalProtocolError

KIB = 1024


class Collector:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.ends: list[str] = []

    async def __call__(self, spark: Any) -> None:
        async for value in spark:
            self.got.append(value)
        self.ends.append(spark.close_reason.kind)


def on(network: VirtualNetwork, handler: Any, **options: Any) -> Callable[..., None]:
    """Decorates `async def test(server, primus)`: runs it with a client connected, and checks that nothing is left."""

    def decorate(test: Callable[[Any, Any], Awaitable[None]]) -> None:
        async def main() -> None:
            async with serve(handler, "server", 80) as server, connect("http://server", **options) as primus:
                await test(server, primus)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert not network.links

        run(main(), network)

    return decorate


# --- time ---


def test_a_day_with_heartbeats_takes_no_time() -> None:
    async def clock(spark: Any) -> None:
        for hour in range(24):
            spark.write(hour)
            await asyncio.sleep(3600)
        spark.end("midnight")

    async def main() -> list[Any]:
        async with serve(clock, "server", 80), connect("http://server") as primus:
            return [value async for value in primus]

    started = time.process_time()
    network = VirtualNetwork(latency=0.05)
    assert run(main(), network) == [*range(24), "midnight"]
    beats = sum("SparkHeartbeat" in line for line in network.trace)
    assert beats == int(86400 / (25 + 0.1 + 0.0005)), "25 s after the last pong; timers are set 0.5 ms late"
    assert time.process_time() - started < 15


def test_anyio_programs_run_too() -> None:
    async def slow(spark: Any) -> None:
        async for value in spark:
            await anyio.sleep(3600)
            await spark.send(value)

    async def main() -> None:
        async with primus_anyio.serve(slow, "server", 80) as server, primus_anyio.connect("http://server") as primus:
            primus.write("hello")
            with anyio.fail_after(3601):
                assert await primus.receive() == "hello"
            assert (network.node(server).name, network.node(primus).name) == ("server", "client1")

    network = VirtualNetwork(latency=0.05)
    run(main(), network)


# --- trouble ---


def test_a_partition_ends_the_session_and_nothing_written_is_lost() -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler, ping=25.0, pong=10.0, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        heard: list[str] = []
        for name in ("offline", "reconnected", "online", "close"):
            primus.on(name, lambda *_, name=name: heard.append(name))
        server.on("flatline", lambda spark, count: heard.append(f"flatline {count}"))
        network.partition(primus)
        await asyncio.sleep(36)
        primus.write("meanwhile")
        await asyncio.sleep(60)
        assert heard == ["offline", "close", "flatline 3"]
        assert not server.sparks
        network.heal()
        await asyncio.sleep(60)
        assert heard[-2:] == ["reconnected", "online"]
        assert (handler.got, handler.ends, len(server.sparks)) == (["meanwhile"], ["flatline"], 1)


@pytest.mark.parametrize("stop", ["freeze", "suspend"])
def test_a_server_that_stops_for_ten_seconds_loses_nothing(stop: str) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        [spark] = server.sparks.values()
        getattr(network, stop)(server)
        for number in range(10):
            primus.write(number)
            await asyncio.sleep(1)
        assert handler.got == []
        {"freeze": network.thaw, "suspend": network.resume}[stop]("server")
        await asyncio.sleep(1)
        assert handler.got == list(range(10))
        assert list(server.sparks.values()) == [spark]


def test_a_crash_and_a_restart() -> None:
    network, before, after = VirtualNetwork(latency=0.05), Collector(), Collector()

    @on(network, before, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        network.kill(server)
        await asyncio.sleep(1)
        primus.write("between")
        await asyncio.sleep(10)
        assert primus.state != "open"
        async with serve(after, "server", 80) as again:
            assert network.node("server") is network.node(again) is not network.node(server)
            await asyncio.sleep(60)
            primus.write("after")
            await asyncio.sleep(1)
            assert (before.ends, after.got) == (["lost"], ["between", "after"])


def test_a_suspended_client_that_sleeps_for_an_hour_comes_back() -> None:
    """Its driver is suspended: it hears and sends nothing. The tasks that use it go on."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.suspend("client1")
        network.call_at(network.now + 3600, lambda: network.resume(primus))
        primus.write("written")
        await asyncio.sleep(3599)
        assert (primus.state, handler.got, handler.ends) == ("open", [], ["flatline"])
        await asyncio.sleep(10)
        primus.write("back")
        await asyncio.sleep(1)
        assert (primus.state, len(server.sparks), handler.got) == ("open", 1, ["back"])


def test_a_suspended_client_may_leave_and_other_connections_cannot_be_suspended() -> None:
    async def main() -> None:
        async with serve(Collector(), "server", 80) as server:
            async with connect("http://server") as primus:
                network.suspend(primus)
            await asyncio.sleep(60)
            network.resume("client1")
            assert not server.sparks
            _, peer = await asyncio.open_connection("server", 80)
            with pytest.raises(LocalProtocolError, match="client2 cannot be suspended, only its network: use freeze"):
                network.suspend("client2")
            peer.close()

    network = VirtualNetwork()
    run(main(), network)


# --- pressure ---


# --- nothing is left ---


def test_connecting_may_be_cancelled_at_any_moment() -> None:
    async def main() -> None:
        async with serve(None, "server", 80) as server:
            tasks = len(asyncio.all_tasks())
            tries, entered = 0, False
            while not entered:
                with anyio.move_on_after(tries * 0.02):
                    async with connect("http://server"):
                        entered = True
                await asyncio.sleep(10)
                assert not server.sparks, f"cancelled after {tries} tries"
                assert not network.links
                assert len(asyncio.all_tasks()) == tasks
                tries += 1
            assert tries > 10

    network = VirtualNetwork(latency=0.05)
    run(main(), network)


def test_nodes_go_when_their_clients_go() -> None:
    async def use() -> None:
        async with connect("http://server") as primus:
            primus.write(1)

    async def main() -> list[str]:
        async with serve(None, "server", 80):
            for _ in range(20):
                await use()
            await asyncio.sleep(100)  # asyncio keeps cancelled timers until their time
            gc.collect()
            return [node.name for node in network.nodes()]

    network = VirtualNetwork(latency=0.01)
    assert run(main(), network) == ["server"]
