"""The event loop in virtual time: its clock, how runs end, its addresses and nodes, and what it does not have."""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import threading
from typing import Any

import pytest

from primus_io.asyncio import connect, fetch_spec, serve
from primus_io.testing import VirtualLoop, VirtualNetwork, run
from primus_proto import ConfigError, ConnectError, LocalProtocolError
from primus_proto import events as ev
from tests.unit.testing.virtual import data


async def echo(spark: Any) -> None:
    async for value in spark:
        await spark.send(value)


async def forever() -> None:
    await asyncio.Event().wait()


def loop_time() -> float:
    return asyncio.get_running_loop().time()


# --- time ---


@pytest.mark.parametrize("now", [0.0, 0.1, 12345.678, 1e9, 1e12])
def test_timers_run_exactly_at_their_time(now: float) -> None:
    """Also where the clock can hardly tell one second from the next."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.3, 1.0, 1 / 3, 0.0):
            due = loop.time() + delay
            loop.call_at(due, lambda: fired.append(loop_time()))
            await asyncio.sleep(2)
            assert fired.pop() == due
            assert fired == []

    fired: list[float] = []
    network = VirtualNetwork()
    network.run(now)
    run(main(), network)
    assert network.now == pytest.approx(now + 8)


def test_network_and_loop_share_one_clock() -> None:
    async def main() -> None:
        network.call_at(3.0, lambda: seen.append(("network", network.now, loop_time())))
        asyncio.get_running_loop().call_at(3.0, lambda: seen.append(("loop", network.now, loop_time())))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await forever()

    seen: list[Any] = []
    network = VirtualNetwork()
    network.run(1)
    run(main(), network)
    assert seen == [("network", 3.0, 3.0), ("loop", 3.0, 3.0)]
    network.run(1)
    run(asyncio.sleep(1), network)
    assert network.now == 8.0


# --- how a run ends ---


def test_run_returns_and_raises_what_main_does() -> None:
    async def good() -> str:
        return "result"

    async def bad() -> None:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "server", 80)
        raise ZeroDivisionError

    assert run(good()) == "result"
    with pytest.raises(ZeroDivisionError):  # and no ResourceWarning, which would hide it
        run(bad())


def test_a_run_with_nothing_due_fails_and_says_which_tasks_wait() -> None:
    async def hangs() -> None:
        await forever()

    async def main() -> None:
        network.note("test", "the last thing that happened")
        try:
            await asyncio.gather(hangs(), forever())
        finally:
            await asyncio.sleep(60)
            cleaned.append(loop_time())

    cleaned: list[float] = []
    network = VirtualNetwork()
    with pytest.raises(AssertionError) as caught:
        run(main(), network)
    text = str(caught.value)
    assert text.startswith("nothing is due any more, and these still wait:\n")
    here = main.__code__.co_firstlineno
    assert f": {main.__qualname__}:{here + 3}\n" in text
    assert f".hangs:{here - 2} > forever:" in text
    assert text.endswith("test: the last thing that happened")
    assert cleaned == [60]


def test_a_run_has_a_limit_and_the_handlers_end_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """Heartbeats alone would go on for ever. Cancelled tasks are not reported as failures of their own."""
    got: list[str] = []

    async def handler(spark: Any) -> None:
        async for value in spark:
            got.append(value)
        got.append("ended")

    async def main() -> None:
        async with serve(handler, "server", 80), connect("http://server") as primus:
            primus.write("hello")
            await primus.wait_ended()

    network = VirtualNetwork(seed=3)
    with pytest.raises(AssertionError, match="not ended after 3600 s, its `limit`, and these still wait:") as caught:
        run(main(), network, limit=3600)
    for part in ("Session.wait_ended", "VirtualNetwork(seed=3)", "client1: Opened()", "times more, until 35"):
        assert part in str(caught.value)
    assert 3600 < network.now < 3600 + 60
    assert (got, caplog.records) == (["hello", "ended"], [])


def test_a_task_that_never_waits_is_noticed_and_can_clean_up(caplog: pytest.LogCaptureFixture) -> None:
    async def spin(spark: Any) -> None:
        try:
            while True:
                spark.write(1)
                await asyncio.sleep(0)
        finally:
            cleaned.append("spark")

    async def main() -> None:
        try:
            async with serve(spin, "server", 80), connect("http://server") as primus:
                await primus.wait_ended()
        finally:
            cleaned.append("main")

    cleaned: list[str] = []
    with pytest.raises(AssertionError, match="time stands still, and these still wait:"):
        run(main())
    assert sorted(cleaned) == ["main", "spark"]
    assert "time stands still" not in caplog.text  # as the context of what was cancelled for it


def test_an_exception_of_a_network_call_comes_out() -> None:
    network = VirtualNetwork()
    network.call_at(1.0, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run(asyncio.sleep(2), network)
    assert (network.runner, network.now) == (None, 1.0)


@pytest.mark.parametrize("where", ["handler", "listener", "authorization"])
def test_an_exception_of_the_application_fails_the_run_unless_it_may_raise(where: str) -> None:
    def fragile(*arguments: object) -> None:
        raise ZeroDivisionError(where)

    async def handler(spark: Any) -> None:
        fragile()

    async def main(fails: bool) -> str:
        given = handler if where == "handler" else None
        authorize = fragile if where == "authorization" else None
        async with serve(given, "server", 80, authorize=authorize) as server:
            if where == "listener":
                server.on("connection", fragile)
            async with connect("http://server", wait=False):
                await asyncio.sleep(1)
        assert not fails
        return "done"

    with pytest.raises(ZeroDivisionError, match=where):
        run(main(False))
    assert run(main(False), handlers_may_raise=True) == "done"
    with pytest.raises(AssertionError, match="not True"):
        run(main(True))


def test_what_is_left_open_is_a_warning() -> None:
    async def main() -> None:
        kept.append(await serve(None, "server", 80).__aenter__())
        await connect("http://server").__aenter__()

    kept: list[Any] = []
    with pytest.warns(ResourceWarning, match=r"left open: <listener at server>, <Stream of server .*client1"):
        run(main())


def test_one_loop_at_a_time_runs_a_network() -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="an event loop runs this network"):
            network.run(1)
        with pytest.raises(RuntimeError, match="already runs on another loop"):
            VirtualLoop(network)
        with pytest.raises(RuntimeError, match="await the coroutine instead"):
            run(asyncio.sleep(1))

    network = VirtualNetwork()
    run(main(), network)
    run(main(), network)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [(5, {}, "network must be a VirtualNetwork; got 5"), *[(None, {"limit": n}, "limit must be") for n in (0, "1")]],
)
def test_wrong_arguments_are_refused(network: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(forever(), network, **options)


def test_other_tools_can_make_the_loop() -> None:
    network = VirtualNetwork(latency=1.0)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(network)) as runner:
        runner.run(asyncio.sleep(1))
        runner.run(asyncio.sleep(1))
    assert network.now == 2.0
    loop = VirtualLoop()
    loop.close()
    loop.close()


# --- addresses, nodes, clocks ---


def test_ports() -> None:
    async def main() -> None:
        async with serve(echo) as one, serve(echo) as two, serve(echo, "server") as three:
            assert [one.url, two.url] == ["http://127.0.0.1:49152", "http://127.0.0.1:49153"]
            with pytest.raises(OSError, match="in use"):
                async with serve(echo, "localhost", one.port):
                    pass
            for server, address in ((two, "127.0.0.1"), (three, "10.0.0.")):
                async with connect(server.url):
                    [spark] = server.sparks.values()
                    assert spark.address.ip.startswith(address)
        with pytest.raises(ConnectError, match=r"(?i)cannot connect to 127.0.0.1:49152: connection refused"):
            async with connect(one.url, strategy=False):
                pass
        async with serve(echo, "127.0.0.1", one.port) as again:
            assert (await fetch_spec(again.url))["pathname"] == "/primus"

    run(main())


def test_clients_and_servers_are_nodes() -> None:
    async def main() -> None:
        async with serve(echo, "server", 80) as server, serve(echo, "server", 8080) as other:
            first, second = connect("http://server"), connect("http://server:8080", manual=True)
            async with first as one, second as two:
                objects, names = (server, other, one, two), ("server", "server:8080", "client1", "client2")
                for who, name in zip(objects, names, strict=True):
                    assert network.node(who).name == name
                    assert network.node(who) is network.node(name) is network.node(network.node(who))
                two.open()
                assert await two.id() in other.sparks
                [spark] = server.sparks.values()
                with pytest.raises(LocalProtocolError, match="there are: server, server:8080, client1, client2"):
                    network.node(spark)

    network = VirtualNetwork()
    run(main(), network)
    with pytest.raises(LocalProtocolError, match="there are: none"):
        network.node("server")


def test_endpoints_of_the_core_can_be_on_the_same_network() -> None:
    async def main() -> None:
        core = network.serve(host="core")
        async with serve(echo, "server", 80), connect("http://core") as primus:
            client = network.connect("http://server")
            await asyncio.sleep(1)
            core.write("from the core")
            client.write("to the loop")
            assert await primus.receive() == "from the core"
            await asyncio.sleep(1)
            assert data(client) == ["to the loop"]
            client.end()
        await asyncio.sleep(1)
        assert core.seen(ev.SparkDisconnected) == 1

    network = VirtualNetwork(latency=0.01)
    run(main(), network)


def test_the_wall_clock_is_the_networks_and_jumps_disturb_nobody() -> None:
    async def main() -> None:
        async with serve(None, "server", 80) as server, connect("http://server", ping=10) as primus:
            for seconds, who in ((3600, primus), (-7200, server), (86400, "client1"), (-60, None)):
                network.jump(seconds, who)
                await asyncio.sleep(60)
            assert primus.state == "open"
            assert primus.latency == pytest.approx(0.2)
            assert primus._core.wall_offset == 1000 + 3600 + 86400 - 60
            assert server._core.wall_offset == 1000 - 7200 - 60

    network = VirtualNetwork(latency=0.1, wall_offset=1000.0)
    run(main(), network)
    assert network.wall_offset == 1000 - 60


# --- what else asyncio asks of a loop ---


def test_executors_call_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        called: list[object] = []
        loop.call_soon_threadsafe(called.append, 1)
        await asyncio.sleep(0)
        assert (called, loop.time()) == ([1], 0)

    run(main())


def test_a_call_from_another_thread_is_an_error_in_both() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def intrude() -> None:
            with pytest.raises(RuntimeError, match="a virtual loop cannot be called from other threads"):
                loop.call_soon_threadsafe(print)
            refused.append(True)

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        await forever()

    refused: list[bool] = []
    with pytest.raises(RuntimeError, match=r"with asyncio\.to_thread or run_in_executor"):
        run(main())
    assert refused == [True]


def test_everything_a_loop_has_is_here_or_refused_with_a_reason() -> None:
    async def main() -> None:
        for name in ("add_reader", "sock_recv", "add_signal_handler", "getaddrinfo", "subprocess_exec"):
            with pytest.raises(NotImplementedError, match=f"a virtual loop has no {name}, only create_connection"):
                getattr(asyncio.get_running_loop(), name)(1, 2)

    run(main())
    abstract = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    assert {
        name for name in abstract if getattr(VirtualLoop, name) is getattr(asyncio.AbstractEventLoop, name)
    } == set()


@pytest.mark.parametrize("way", [{"local_addr": ("127.0.0.1", 0)}, {"proxy": "socks5://127.0.0.1:1080"}])
def test_ways_past_the_network_are_refused(way: Any) -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match="has no meaning on a virtual network"):
            async with connect("http://server", strategy=False, **way):
                pass

    run(main())


def test_tls_and_unix_sockets_are_refused() -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        message = "a virtual network has no TLS: use http:// and no ssl="
        with pytest.raises(OSError, match=message):
            async with serve(echo, "server", 443, ssl=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)):
                pass
        with pytest.raises(ConnectError, match=f"cannot connect to server:443: {message}"):
            async with connect("https://server", ssl=context):
                pass
        with pytest.raises(ConnectError, match="cannot connect to /tmp/nowhere: a virtual loop has no create_unix_"):
            async with connect("http://server", unix="/tmp/nowhere"):
                pass
        loop: Any = asyncio.get_running_loop()
        for options in ({"host": "server", "port": 1, "sock": 1}, {"host": "server"}, {"port": 1}):
            with pytest.raises(ValueError, match="needs a host and a port"):
                await loop.create_connection(asyncio.Protocol, **options)

    run(main())


def test_protocols_run_in_the_context_that_asked_for_the_connection() -> None:
    name = contextvars.ContextVar("name", default="nobody")

    class Named(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.heard: list[str] = []

        def data_received(self, data: bytes) -> None:
            self.heard.append(name.get())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server, client = Named(), Named()
        name.set("server")
        listening = await loop.create_server(lambda: server, "there", 5)
        name.set("client")
        await loop.create_connection(lambda: client, "there", 5)
        name.set("test")
        for protocol in (client, server):
            protocol.transport.write(b"x")
        await asyncio.sleep(1)
        assert (server.heard, client.heard) == (["server"], ["client"])
        listening.close()
        client.transport.close()
        await asyncio.sleep(1)

    run(main())
