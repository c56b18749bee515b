"""Users' own handlers and clients in virtual time and in every kind of trouble: the same on asyncio and on trio."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import anyio
import pytest

from primus_io import anyio as primus_anyio
from primus_io.testing import VirtualNetwork
from primus_proto import ConnectError, Limits, Refused
from tests.scenarios.kits import AsyncioKit, Collector, Kit, TrioKit, echo

KIB = 1024


@pytest.fixture(params=[AsyncioKit, TrioKit], ids=["asyncio", "trio"])
def kit(request: pytest.FixtureRequest) -> Kit:
    made: Kit = request.param()
    return made


# --- time ---


def test_a_day_with_heartbeats_takes_no_time(kit: Kit) -> None:
    async def clock(spark: Any) -> None:
        for hour in range(24):
            spark.write(hour)
            await anyio.sleep(3600)
        spark.end("midnight")

    async def main() -> list[Any]:
        async with kit.serve(clock, "server", 80), kit.connect("http://server") as primus:
            return [value async for value in primus]

    started = time.process_time()
    network = VirtualNetwork(latency=0.05)
    assert kit.run(main, network) == [*range(24), "midnight"]
    assert 86400 < network.now < 86401
    beats = sum("SparkHeartbeat" in line for line in network.trace)
    assert beats == int(86400 / (25 + 0.1 + kit.late)), "25 s after the last pong"
    assert time.process_time() - started < 15


def test_who_says_nothing_for_five_minutes_is_shown_out(kit: Kit) -> None:
    """A handler with a timeout of its own: exact, and not to be confused by heartbeats."""

    async def doorman(spark: Any) -> None:
        values = aiter(spark)
        try:
            while True:
                with anyio.fail_after(300):
                    await anext(values)
        except TimeoutError:
            spark.end("bye")

    @kit.on(VirtualNetwork(latency=0.5), doorman)
    async def test(server: Any, primus: Any) -> None:
        for _ in range(10):
            await anyio.sleep(290)
            primus.write("here")
        said = anyio.current_time()
        assert [value async for value in primus] == ["bye"]
        assert anyio.current_time() == said + 0.5 + 300 + 0.5


def test_anyio_is_the_same(kit: Kit) -> None:
    async def slow(spark: Any) -> None:
        async for value in spark:
            await anyio.sleep(3600)
            await spark.send(value)

    async def main() -> None:
        async with primus_anyio.serve(slow, "server", 80) as server, primus_anyio.connect("http://server") as primus:
            primus.write("hello")
            assert await anext(aiter(primus)) == "hello"
            assert (network.node(server).name, network.node(primus).name) == ("server", "client1")
            with anyio.move_on_after(60):
                await anyio.sleep_forever()
            assert anyio.current_time() == pytest.approx(3660, abs=1)

    network = VirtualNetwork(latency=0.05)
    kit.run(main, network)


def test_back_off_is_exact_and_the_seeds(kit: Kit) -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match=r"(?i)gave up reconnecting: cannot .* server:80: connection refused"):
            async with kit.connect("http://server", wait=True, min=1.0, retries=4, factor=2):
                pass

    def once(seed: int) -> list[float]:
        network = VirtualNetwork(seed=seed)
        kit.run(main, network)
        return [float(line.split()[0]) for line in network.trace if " ReconnectStarted(" in line]

    one, again, two = once(1), once(1), once(2)
    assert one == again != two
    assert len(one) == 4
    gaps = [after - before for before, after in zip([0.0, *one], one, strict=False)]
    assert all(low <= gap <= low * 2 + 0.01 for low, gap in zip([0.99, 2, 4, 8], gaps, strict=True)), gaps


def test_an_authorization_that_takes_its_time(kit: Kit) -> None:
    async def authorize(request: Any) -> None:
        await anyio.sleep(4)
        if request.query.get("token") != "x":
            raise Refused("no")

    async def main() -> None:
        async with kit.serve(echo, "server", 80, authorize=authorize):
            async with kit.connect("http://server?token=x") as primus:
                assert 4 < anyio.current_time() < 4.1
                assert primus.state == "open"
            with pytest.raises(ConnectError, match="401"):
                async with kit.connect("http://server"):
                    pass

    kit.run(main, VirtualNetwork(latency=0.01))


# --- trouble ---


def test_a_pulled_cable(kit: Kit) -> None:
    """Nobody is told; the heartbeat finds out, on both ends, and what was written meanwhile arrives, once."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=25.0, pong=10.0, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        heard: list[str] = []
        for name in ("offline", "reconnected", "online", "close"):
            primus.on(name, lambda *_, name=name: heard.append(name))
        server.on("flatline", lambda spark, count: heard.append(f"flatline {count}"))
        network.partition(primus)
        await anyio.sleep(36)
        assert heard == ["offline", "close"]
        primus.write("meanwhile")
        await anyio.sleep(60)
        assert heard == ["offline", "close", "flatline 3"]
        assert not server.sparks
        network.heal()
        await anyio.sleep(60)
        assert heard[-2:] == ["reconnected", "online"]
        assert (handler.got, handler.ends) == (["meanwhile"], ["flatline"])
        assert len(server.sparks) == 1


def test_a_process_that_hangs_for_a_while_loses_nothing(kit: Kit) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        [spark] = server.sparks.values()
        network.freeze(server)
        for number in range(10):
            primus.write(number)
            await anyio.sleep(1)
        assert handler.got == []
        network.thaw("server")
        await anyio.sleep(1)
        assert handler.got == list(range(10))
        assert list(server.sparks.values()) == [spark]


def test_half_open(kit: Kit) -> None:
    """The client knows that it is gone, and comes back at once; the server has to find out for itself."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        network.half_open(primus)
        await anyio.sleep(5)
        assert (primus.state, len(server.sparks)) == ("open", 2)
        await anyio.sleep(120)
        assert (primus.state, len(server.sparks), handler.ends) == ("open", 1, ["flatline"])


def test_a_server_that_loses_all_its_connections_and_is_not_told(kit: Kit) -> None:
    network = VirtualNetwork(latency=0.05)

    @kit.on(network, echo, ping=25.0, pong=10.0)
    async def test(server: Any, primus: Any) -> None:
        network.half_open(server)
        await anyio.sleep(1)
        assert (primus.state, len(server.sparks)) == ("open", 0)
        await anyio.sleep(60)
        assert (primus.state, len(server.sparks)) == ("open", 1)
        assert await primus.id() in server.sparks


def test_a_crash_and_a_restart(kit: Kit) -> None:
    network, before, after = VirtualNetwork(latency=0.05), Collector(), Collector()

    @kit.on(network, before, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        primus.write("before")
        await anyio.sleep(1)
        network.kill(server)
        await anyio.sleep(1)
        primus.write("between")
        await anyio.sleep(10)
        assert primus.state != "open"
        async with kit.serve(after, "server", 80) as again:
            assert network.node("server") is network.node(again) is not network.node(server)
            await anyio.sleep(60)
            primus.write("after")
            await anyio.sleep(1)
            assert (before.got, before.ends, after.got) == (["before"], ["lost"], ["between", "after"])


@pytest.mark.parametrize("count", [0, 1, 5, 500, 999])
def test_a_message_that_breaks_off_is_none(kit: Kit, count: int) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        network.break_after(primus, sent=count)
        primus.write("x" * 1000)
        await anyio.sleep(10)
        primus.write("next")
        await anyio.sleep(1)
        assert handler.got == ["next"]
        assert handler.ends == ["lost"]


def test_a_slow_line(kit: Kit) -> None:
    """The ping waits behind what is large; nobody is lost for it, and both directions are their own."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @kit.on(network, handler, ping=5.0)
    async def test(server: Any, primus: Any) -> None:
        network.bandwidth = (10_000, None)
        primus.write("x" * 100_000)
        started = anyio.current_time()
        while not handler.got:
            await anyio.sleep(0.1)
        assert 10 <= anyio.current_time() - started <= 10.3
        await anyio.sleep(30)
        assert (primus.state, handler.ends) == ("open", [])
        [spark] = server.sparks.values()
        started = anyio.current_time()
        spark.write("y" * 100_000)
        assert await anext(aiter(primus)) == "y" * 100_000
        assert anyio.current_time() - started == pytest.approx(0.05)


def test_latency_and_jitter_change_no_order(kit: Kit) -> None:
    network = VirtualNetwork(seed=3, latency=(0.1, 0.3), jitter=2.0, cut=5)

    @kit.on(network, echo)
    async def test(server: Any, primus: Any) -> None:
        started = anyio.current_time()
        for number in range(100):
            primus.write(number)
            await anyio.sleep(0.01)
        values = aiter(primus)
        assert [await anext(values) for _ in range(100)] == list(range(100))
        assert anyio.current_time() - started > 1


def test_a_handler_that_raises_and_a_client_that_comes_back(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    async def fragile(spark: Any) -> None:
        async for value in spark:
            await anyio.sleep(10)
            spark.write(1 / value)

    @kit.on(VirtualNetwork(latency=0.05), fragile, handlers_may_raise=True)
    async def test(server: Any, primus: Any) -> None:
        first = await primus.id()
        primus.write(0)
        await anyio.sleep(12)
        primus.write(4)
        assert await anext(aiter(primus)) == 0.25
        assert await primus.id() != first

    assert "ZeroDivisionError" in caplog.text


# --- pressure ---


def test_a_slow_handler_makes_the_client_wait(kit: Kit) -> None:
    """It cannot send faster than the other takes it, and what is under way is bounded."""
    taken: list[float] = []

    async def slow(spark: Any) -> None:
        async for value in spark:
            await anyio.sleep(1)
            taken.append(len(value))

    @kit.on(VirtualNetwork(window=64 * KIB), slow, limits=Limits(queue=256 * KIB))
    async def test(server: Any, primus: Any) -> None:
        ahead = 0
        for sent in range(200):
            await primus.send("x" * 32 * KIB)
            ahead = max(ahead, sent - len(taken))
        assert anyio.current_time() > 150
        assert ahead < 40
        assert primus.state == "open"


def test_a_client_that_does_not_take_it_makes_the_handler_wait(kit: Kit) -> None:
    sent: list[float] = []

    async def flood(spark: Any) -> None:
        for _ in range(200):
            await spark.send("x" * 32 * KIB)
            sent.append(anyio.current_time())

    @kit.on(VirtualNetwork(window=64 * KIB), flood)
    async def test(server: Any, primus: Any) -> None:
        await anyio.sleep(100)
        assert 5 < len(sent) < 60
        assert len([None async for _ in primus]) == 200
        assert len(sent) == 200


def test_who_hangs_is_cut_at_the_limit_and_the_others_are_served(kit: Kit) -> None:
    async def main() -> None:
        limits = Limits(backlog=256 * KIB)
        serving, first, second = (
            kit.serve(None, "server", 80, limits=limits),
            kit.connect("http://server"),
            kit.connect("http://server"),
        )
        async with serving as server, first as good, second as bad:
            network.freeze(bad)
            heard: list[int] = []
            good.on("data", lambda value: heard.append(len(value)))
            for _ in range(50):
                server.write("x" * 32 * KIB)
                await anyio.sleep(0.1)
            assert len(heard) == 50
            assert list(server.sparks) == [await good.id()]
            network.thaw(bad)

    network = VirtualNetwork(window=64 * KIB)
    kit.run(main, network)


# --- the end of a run ---


def test_those_who_go_round_in_circles_can_clean_up(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    async def spin(spark: Any) -> None:
        try:
            while True:
                spark.write(1)
                await anyio.sleep(0)
        finally:
            cleaned.append("spark")

    async def main() -> None:
        try:
            async with kit.serve(spin, "server", 80), kit.connect("http://server") as primus:
                async for _ in primus:
                    pass
        finally:
            cleaned.append("main")

    cleaned: list[str] = []
    with pytest.raises(AssertionError, match="time stands still, and these still wait:"):
        kit.run(main, VirtualNetwork())
    assert sorted(cleaned) == ["main", "spark"]
    assert "time stands still" not in caplog.text  # as the context of what was cancelled for it


def test_what_raises_in_the_network_comes_out(kit: Kit) -> None:
    async def main() -> None:
        network.call_at(1.0, fail)
        await anyio.sleep(2)

    def fail() -> None:
        raise ZeroDivisionError

    network = VirtualNetwork()
    with pytest.raises(ZeroDivisionError):
        kit.run(main, network)
    assert network.runner is None
    assert network.now == 1.0


# --- nothing is left ---


def test_connecting_may_be_cancelled_at_any_moment(kit: Kit) -> None:
    async def main() -> None:
        async with kit.serve(echo, "server", 80) as server:
            tasks = len(asyncio.all_tasks()) if isinstance(kit, AsyncioKit) else 0
            turns, entered = 0, False
            while not entered:
                with anyio.move_on_after(turns * 0.02):
                    async with kit.connect("http://server"):
                        entered = True
                await anyio.sleep(10)
                assert not server.sparks, f"cancelled after {turns} turns"
                assert not network._links
                assert not tasks or len(asyncio.all_tasks()) == tasks
                turns += 1
            assert turns > 10

    network = VirtualNetwork(latency=0.05)
    kit.run(main, network)


def test_nodes_go_with_those_they_were(kit: Kit) -> None:
    async def use() -> None:
        async with kit.connect("http://server") as primus:
            primus.write(1)
            await anext(aiter(primus))

    async def main() -> list[str]:
        async with kit.serve(echo, "server", 80):
            for _ in range(20):
                await use()
            await anyio.sleep(100)  # asyncio keeps the timers that were cancelled until their time
            gc.collect()
            return [node.name for node in network._all()]

    network = VirtualNetwork(latency=0.01)
    assert kit.run(main, network) == ["server"]
