"""Users' own handlers and clients, written for `primus_io.trio`, in virtual time and in every kind of trouble."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from primus_io import anyio as primus_anyio
from primus_io.testing import VirtualNetwork, run_trio
from primus_io.trio import connect, fetch_spec, serve
from primus_proto import ConnectError, Limits, LocalProtocolError, Refused
from primus_proto import events as ev
from tests.scenarios.test_virtual_handlers import Collector, echo

KIB = 1024


def on(network: VirtualNetwork, handler: Any, **options: Any) -> Callable[..., None]:
    """Decorates `async def test(server, primus)`: runs it with one client connected, and looks for what it left."""

    def decorate(test: Callable[[Any, Any], Awaitable[None]]) -> None:
        async def main() -> None:
            async with serve(handler, "server", 80) as server, connect("http://server", **options) as primus:
                await test(server, primus)
            await trio.sleep(60)  # what was still on its way when both had left
            assert not network._links

        run_trio(main, network)

    return decorate


# --- time ---


def test_a_day_with_heartbeats_takes_no_time() -> None:
    async def clock(spark: Any) -> None:
        for hour in range(24):
            spark.write(hour)
            await trio.sleep(3600)
        spark.end("midnight")

    async def main() -> list[Any]:
        async with serve(clock, "server", 80), connect("http://server") as primus:
            return [value async for value in primus]

    started = time.process_time()
    network = VirtualNetwork(latency=0.05)
    assert run_trio(main, network) == [*range(24), "midnight"]
    assert 86400 < network.now < 86401
    beats = sum("SparkHeartbeat" in line for line in network.trace)
    assert beats == int(86400 / (25 + 0.1)), "25 s after the last pong"
    assert time.process_time() - started < 15


def test_who_says_nothing_for_five_minutes_is_shown_out() -> None:
    """A handler with a timeout of its own: exact, and not to be confused by heartbeats."""

    async def doorman(spark: Any) -> None:
        values = aiter(spark)
        while True:
            with trio.move_on_after(300) as patience:
                await anext(values)
            if patience.cancelled_caught:
                spark.end("bye")
                return

    @on(VirtualNetwork(latency=0.5), doorman)
    async def test(server: Any, primus: Any) -> None:
        for _ in range(10):
            await trio.sleep(290)
            primus.write("here")
        said = trio.current_time()
        assert [value async for value in primus] == ["bye"]
        assert trio.current_time() == said + 0.5 + 300 + 0.5


def test_anyio_on_trio_is_the_same() -> None:
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
    run_trio(main, network)


def test_back_off_is_exact_and_the_seeds() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match=r"(?i)gave up reconnecting: cannot .* server:80: connection refused"):
            async with connect("http://server", wait=True, min=1.0, retries=4, factor=2):
                pass

    def once(seed: int) -> list[float]:
        network = VirtualNetwork(seed=seed)
        run_trio(main, network)
        return [float(line.split()[0]) for line in network.trace if " ReconnectStarted(" in line]

    one, again, two = once(1), once(1), once(2)
    assert one == again != two
    gaps = [after - before for before, after in zip([0.0, *one], one, strict=False)]
    assert all(low <= gap <= low * 2 + 0.01 for low, gap in zip([0.99, 2, 4, 8], gaps, strict=True)), gaps


def test_an_authorization_that_takes_its_time() -> None:
    async def authorize(request: Any) -> None:
        await trio.sleep(4)
        if request.query.get("token") != "x":
            raise Refused("no")

    async def main() -> None:
        async with serve(echo, "server", 80, authorize=authorize):
            async with connect("http://server?token=x") as primus:
                assert 4 < trio.current_time() < 4.1
                assert primus.state == "open"
            with pytest.raises(ConnectError, match="401"):
                async with connect("http://server"):
                    pass

    run_trio(main, VirtualNetwork(latency=0.01))


# --- who is who ---


def test_nodes_have_the_same_names_as_on_asyncio() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, serve(echo, "server", 8080) as other:
            assert other.url == "http://server:8080"
            async with connect(server.url) as one, connect(other.url, manual=True) as two:
                for who, name in ((server, "server"), (other, "server:8080"), (one, "client1"), (two, "client2")):
                    assert network.node(who) is network.node(name) is network.node(network.node(who))
                two.open()
                assert await two.id() in other.sparks
                [spark] = server.sparks.values()
                assert spark.address.ip == "10.0.0.1"
                with pytest.raises(LocalProtocolError, match="there are: server, server:8080, client1, client2"):
                    network.node(spark)
            with pytest.raises(OSError, match="cannot listen on server:80: Address already in use"):
                async with serve(echo, "server", 80):
                    pass

    network = VirtualNetwork()
    run_trio(main, network)


def test_a_client_of_a_handler_is_its_own_node() -> None:
    """Not the server's, in whose task it begins."""

    async def relay(spark: Any) -> None:
        async with connect("http://behind") as primus:
            async for value in spark:
                primus.write(value)
                spark.write(await anext(aiter(primus)))

    async def main() -> None:
        async with serve(echo, "behind", 80), serve(relay, "server", 80), connect("http://server") as primus:
            primus.write("hello")
            assert await anext(aiter(primus)) == "hello"
            assert {"server", "behind", "client1", "client2"} == {node.name for node in network._all()}
            stream = await trio.open_tcp_stream("server", 80)
            assert network.node("client3").name == "client3"
            await stream.aclose()

    network = VirtualNetwork(latency=0.05)
    run_trio(main, network)


def test_endpoints_of_the_core_are_on_the_same_network() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server:
            clients = [network.connect("http://server") for _ in range(100)]
            await trio.sleep(1)
            assert len(server.sparks) == 100
            for number, client in enumerate(clients):
                client.write(number)
            await trio.sleep(1)
            heard = [event.data for client in clients for event in client.all(ev.DataReceived)]
            assert heard == list(range(100))

    network = VirtualNetwork(latency=0.01)
    run_trio(main, network)


def test_the_wall_clock_is_the_networks_and_jumps_disturb_nobody() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, connect("http://server", ping=10) as primus:
            for seconds, who in ((3600, primus), (-7200, server), (86400, "client1"), (-60, None)):
                network.jump(seconds, who)
                await trio.sleep(60)
            assert primus.state == "open"
            assert primus.latency == pytest.approx(0.2)
            assert primus._core.wall_offset == 1000 + 3600 + 86400 - 60
            assert server._core.wall_offset == 1000 - 7200 - 60
            assert (await fetch_spec("http://server"))["pathname"] == "/primus"

    network = VirtualNetwork(latency=0.1, wall_offset=1000.0)
    run_trio(main, network)


# --- trouble ---


def test_a_pulled_cable() -> None:
    """Nobody is told; the heartbeat finds out, on both ends, and what was written meanwhile arrives, once."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler, ping=25.0, pong=10.0, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        heard: list[str] = []
        for name in ("offline", "reconnected", "online", "close"):
            primus.on(name, lambda *_, name=name: heard.append(name))
        server.on("flatline", lambda spark, count: heard.append(f"flatline {count}"))
        network.partition(primus)
        await trio.sleep(36)
        assert heard == ["offline", "close"]
        primus.write("meanwhile")
        await trio.sleep(60)
        assert heard == ["offline", "close", "flatline 3"]
        assert not server.sparks
        network.heal()
        await trio.sleep(60)
        assert heard[-2:] == ["reconnected", "online"]
        assert (handler.got, handler.ends) == (["meanwhile"], ["flatline"])
        assert len(server.sparks) == 1


def test_a_process_that_hangs_for_a_while_loses_nothing() -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        [spark] = server.sparks.values()
        network.freeze(server)
        for number in range(10):
            primus.write(number)
            await trio.sleep(1)
        assert handler.got == []
        network.thaw("server")
        await trio.sleep(1)
        assert handler.got == list(range(10))
        assert list(server.sparks.values()) == [spark]


def test_half_open() -> None:
    """The client knows that it is gone, and comes back at once; the server has to find out for itself."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        network.half_open(primus)
        await trio.sleep(5)
        assert (primus.state, len(server.sparks)) == ("open", 2)
        await trio.sleep(120)
        assert (primus.state, len(server.sparks), handler.ends) == ("open", 1, ["flatline"])


def test_a_crash_and_a_restart() -> None:
    network, before, after = VirtualNetwork(latency=0.05), Collector(), Collector()

    @on(network, before, min=0.5)
    async def test(server: Any, primus: Any) -> None:
        primus.write("before")
        await trio.sleep(1)
        network.kill(server)
        await trio.sleep(1)
        primus.write("between")
        await trio.sleep(10)
        assert primus.state != "open"
        async with serve(after, "server", 80) as again:
            assert network.node("server") is network.node(again) is not network.node(server)
            await trio.sleep(60)
            primus.write("after")
            await trio.sleep(1)
            assert (before.got, before.ends, after.got) == (["before"], ["lost"], ["between", "after"])


@pytest.mark.parametrize("count", [0, 1, 5, 500, 999])
def test_a_message_that_breaks_off_is_none(count: int) -> None:
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler)
    async def test(server: Any, primus: Any) -> None:
        network.break_after(primus, sent=count)
        primus.write("x" * 1000)
        await trio.sleep(10)
        primus.write("next")
        await trio.sleep(1)
        assert handler.got == ["next"]
        assert handler.ends == ["lost"]


def test_a_slow_line() -> None:
    """The ping waits behind what is large; nobody is lost for it, and both directions are their own."""
    network, handler = VirtualNetwork(latency=0.05), Collector()

    @on(network, handler, ping=5.0)
    async def test(server: Any, primus: Any) -> None:
        network.line(primus).bandwidth = (10_000, None)
        primus.write("x" * 100_000)
        started = trio.current_time()
        while not handler.got:
            await trio.sleep(0.1)
        assert 10 <= trio.current_time() - started <= 10.3
        await trio.sleep(30)
        assert (primus.state, handler.ends) == ("open", [])
        [spark] = server.sparks.values()
        started = trio.current_time()
        spark.write("y" * 100_000)
        assert await anext(aiter(primus)) == "y" * 100_000
        assert trio.current_time() - started == pytest.approx(0.05)


def test_latency_and_jitter_change_no_order() -> None:
    network = VirtualNetwork(seed=3, latency=(0.1, 0.3), jitter=2.0, cut=5)

    @on(network, echo)
    async def test(server: Any, primus: Any) -> None:
        started = trio.current_time()
        for number in range(100):
            primus.write(number)
            await trio.sleep(0.01)
        values = aiter(primus)
        assert [await anext(values) for _ in range(100)] == list(range(100))
        assert trio.current_time() - started > 1


# --- pressure ---


def test_a_slow_handler_makes_the_client_wait() -> None:
    """It cannot send faster than the other takes it, and what is under way is bounded."""
    taken: list[float] = []

    async def slow(spark: Any) -> None:
        async for value in spark:
            await trio.sleep(1)
            taken.append(len(value))

    @on(VirtualNetwork(window=64 * KIB), slow, limits=Limits(queue=256 * KIB))
    async def test(server: Any, primus: Any) -> None:
        ahead = 0
        for sent in range(200):
            await primus.send("x" * 32 * KIB)
            ahead = max(ahead, sent - len(taken))
        assert trio.current_time() > 150
        assert ahead < 40
        assert primus.state == "open"


def test_a_client_that_does_not_take_it_makes_the_handler_wait() -> None:
    sent: list[float] = []

    async def flood(spark: Any) -> None:
        for _ in range(200):
            await spark.send("x" * 32 * KIB)
            sent.append(trio.current_time())

    @on(VirtualNetwork(window=64 * KIB), flood)
    async def test(server: Any, primus: Any) -> None:
        await trio.sleep(100)
        assert 5 < len(sent) < 60
        assert len([None async for _ in primus]) == 200
        assert len(sent) == 200


# --- nothing is left ---


def test_connecting_may_be_cancelled_at_any_moment() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server:
            turns, entered = 0, False
            while not entered:
                with trio.move_on_after(turns * 0.02):
                    async with connect("http://server"):
                        entered = True
                await trio.sleep(10)
                assert not server.sparks, f"cancelled after {turns} turns"
                assert not network._links
                turns += 1
            assert turns > 10

    network = VirtualNetwork(latency=0.05)
    run_trio(main, network)


def test_nodes_go_with_those_they_were() -> None:
    async def use() -> None:
        async with connect("http://server") as primus:
            primus.write(1)
            await anext(aiter(primus))

    async def main() -> list[str]:
        async with serve(echo, "server", 80):
            for _ in range(20):
                await use()
            await trio.sleep(100)
            gc.collect()
            return [node.name for node in network._all()]

    network = VirtualNetwork(latency=0.01)
    assert run_trio(main, network) == ["server"]
