"""The event loop in virtual time: its clock, its ends, what it has and what it says it has not."""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import threading
import time
from typing import Any

import pytest

from primus_io.asyncio import connect, fetch_spec, serve
from primus_io.testing import VirtualLoop, VirtualNetwork, run
from primus_proto import ConfigError, ConnectError, LocalProtocolError
from primus_proto.testing import VirtualNetwork as CoreNetwork


async def echo(spark: Any) -> None:
    async for value in spark:
        await spark.send(value)


async def stay(spark: Any) -> None:
    await spark.wait_ended()


async def forever() -> None:
    await asyncio.Event().wait()


def loop_time() -> float:
    return asyncio.get_running_loop().time()


# --- time ---


def test_it_is_the_network_of_the_core() -> None:
    assert VirtualNetwork is CoreNetwork


def test_time_goes_straight_to_what_is_due_and_to_nothing_before() -> None:
    async def main() -> list[Any]:
        said: list[Any] = []

        async def one(name: str, *pauses: float) -> None:
            for pause in pauses:
                await asyncio.sleep(pause)
                said.append((name, loop_time()))

        await asyncio.gather(one("a", 10, 10), one("b", 15, 1e5), one("c", 0, 0.1))
        return said

    started = time.process_time()
    network = VirtualNetwork()
    said = run(main(), network)
    assert said == [("c", 0.0), ("c", 0.1), ("a", 10.0), ("b", 15.0), ("a", 20.0), ("b", 100_015.0)]
    assert network.now == 100_015.0
    assert time.process_time() - started < 5


@pytest.mark.parametrize("now", [0.0, 0.1, 12345.678, 1e9, 1e12])
def test_a_timer_runs_at_its_time_however_late_it_is(now: float) -> None:
    """Also where a second is hardly more than what the clock can tell apart."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.3, 1.0, 1 / 3, 0.0):
            due = loop.time() + delay
            loop.call_at(due, fire)
            await asyncio.sleep(2)
            assert fired.pop() == due
            assert fired == []

    def fire() -> None:
        fired.append(loop_time())

    fired: list[float] = []

    network = VirtualNetwork()
    network.run(now)
    run(main(), network)
    assert network.now == pytest.approx(now + 8)


def test_network_and_loop_share_one_time() -> None:
    async def main() -> None:
        network.call_at(3.0, lambda: said.append(("network", network.now, loop_time())))
        asyncio.get_running_loop().call_at(3.0, lambda: said.append(("loop", network.now, loop_time())))
        await asyncio.sleep(5)

    said: list[Any] = []
    network = VirtualNetwork()
    network.run(1)
    run(main(), network)
    assert said == [("network", 3.0, 3.0), ("loop", 3.0, 3.0)]
    assert network.now == 6.0
    network.run(1)
    run(asyncio.sleep(1), network)
    assert network.now == 8.0


def test_timeouts_are_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await forever()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 86400)
        return loop_time()

    assert run(main()) == 3600 + 86400


# --- how it ends ---


def test_what_main_returns_and_raises() -> None:
    async def good() -> str:
        return "result"

    async def bad() -> None:
        raise ZeroDivisionError

    assert run(good()) == "result"
    with pytest.raises(ZeroDivisionError):
        run(bad())


def test_where_nothing_is_due_any_more_it_says_who_waits_and_what_was_before() -> None:
    async def hangs() -> None:
        await forever()

    async def main() -> None:
        network.note("test", "the last thing that happened")
        await asyncio.gather(hangs(), forever())

    network = VirtualNetwork()
    with pytest.raises(AssertionError) as caught:
        run(main(), network)
    text = str(caught.value)
    assert text.startswith("nothing is due any more, and these still wait:\n")
    here = main.__code__.co_firstlineno
    assert f": {main.__qualname__}:{here + 2}\n" in text
    assert f".hangs:{here - 2} > forever:" in text
    assert text.endswith("test: the last thing that happened")


def test_who_is_left_over_by_that_may_clean_up() -> None:
    async def main() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(60)
            said.append(loop_time())

    said: list[float] = []
    with pytest.raises(AssertionError, match="nothing is due"):
        run(main())
    assert said == [60]


def test_what_goes_on_for_ever_has_a_limit() -> None:
    """A heartbeat keeps things happening, so that nobody would ever notice."""

    async def main() -> None:
        async with serve(stay, "server", 80), connect("http://server") as primus:
            await primus.wait_ended()

    network = VirtualNetwork()
    with pytest.raises(AssertionError, match="not over after 3600 s, its `limit`, and these still wait:") as caught:
        run(main(), network, limit=3600)
    assert "Session.wait_ended" in str(caught.value)
    assert "SparkHeartbeat" in str(caught.value)
    assert 3600 < network.now < 3600 + 60
    with pytest.raises(AssertionError, match="not over after 172800 s"):
        run(asyncio.sleep(1e9))


def test_going_round_in_circles_is_noticed() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match=r"^time stands still, and these still wait:\n  Task-\d+: .*main:\d+"):
        run(main())


def test_there_is_one_loop_in_a_thread() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="await the coroutine instead"):
            run(asyncio.sleep(1))

    run(main())


def test_one_loop_at_a_time_runs_a_network_and_nobody_else_does() -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="an event loop runs this network"):
            network.run(1)
        with pytest.raises(RuntimeError, match="another loop runs this network"):
            VirtualLoop(network)

    network = VirtualNetwork()
    run(main(), network)
    run(main(), network)


def test_a_loop_that_is_made_by_hand() -> None:
    """As other test tools do, with a loop_factory."""
    network = VirtualNetwork(latency=1.0)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(network)) as runner:
        runner.run(asyncio.sleep(1))
        assert runner.get_loop().time() == 1.0
        runner.run(asyncio.sleep(1))
    assert network.now == 2.0
    loop = VirtualLoop()
    assert isinstance(loop.network, VirtualNetwork)
    loop.close()
    loop.close()


def test_what_is_left_open_is_told() -> None:
    async def main() -> None:
        server = await serve(None, "server", 80).__aenter__()
        await connect("http://server").__aenter__()
        kept.append(server)

    kept: list[Any] = []
    with pytest.warns(ResourceWarning, match=r"left open: <listener at server>, <Stream of server .*client1"):
        run(main())


def test_who_fails_is_not_told_that_too(recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "server", 80)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())
    assert list(recwarn) == []


def test_what_a_handler_raises_fails_the_run_unless_it_may() -> None:
    async def fragile(spark: Any) -> None:
        raise ZeroDivisionError(spark.query["name"])

    async def main(fails: bool) -> str:
        async with serve(fragile, "server", 80):
            for name in ("ann", "bob"):
                async with connect(f"http://server?name={name}"):
                    await asyncio.sleep(1)
        assert not fails
        return "done"

    with pytest.raises(ZeroDivisionError, match="ann"):
        run(main(False))
    assert run(main(False), handlers_may_raise=True) == "done"
    with pytest.raises(AssertionError, match="not True"):
        run(main(True))


@pytest.mark.parametrize("where", ["listener", "authorization"])
def test_so_does_what_a_listener_or_the_authorization_raises(where: str) -> None:
    def fragile(*what: object) -> None:
        raise ZeroDivisionError(where)

    async def main() -> None:
        async with serve(None, "server", 80, authorize=fragile if where == "authorization" else None) as server:
            if where == "listener":
                server.on("connection", fragile)
            async with connect("http://server", wait=False) as primus:
                await primus.wait_ended() if where == "authorization" else await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError, match=where):
        run(main())


# --- what the rest of asyncio asks ---


def test_threads_and_executors() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here = threading.get_ident()
        assert await asyncio.to_thread(threading.get_ident) == here
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        said: list[object] = []
        loop.call_soon_threadsafe(said.append, 1)
        assert said == []
        await asyncio.sleep(0)
        assert said == [1]
        assert loop.time() == 0

    run(main())


def test_a_call_from_another_thread_is_an_error_in_both() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def intrude() -> None:
            with pytest.raises(RuntimeError, match="a virtual loop has no other threads"):
                loop.call_soon_threadsafe(print)
            said.append("refused")

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        await forever()

    said: list[str] = []
    with pytest.raises(RuntimeError, match=r"call what blocks by asyncio\.to_thread or run_in_executor"):
        run(main())
    assert said == ["refused"]


@pytest.mark.parametrize("name", ["add_reader", "sock_recv", "add_signal_handler", "getaddrinfo", "subprocess_exec"])
def test_what_there_is_not_says_so(name: str) -> None:
    async def main() -> None:
        with pytest.raises(NotImplementedError, match=f"a virtual loop has no {name}, but create_connection and"):
            getattr(asyncio.get_running_loop(), name)(1, 2)

    run(main())


def test_everything_a_loop_has_is_here_or_refused() -> None:
    """With words, so that nobody is left alone with a bare NotImplementedError."""
    abstract = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    bare = {name for name in abstract if getattr(VirtualLoop, name) is getattr(asyncio.AbstractEventLoop, name)}
    assert bare == set()


def test_what_is_no_network() -> None:
    async def main() -> None:
        raise AssertionError("it was run")

    with pytest.raises(ConfigError, match="network must be a VirtualNetwork; got 5"):
        run(main(), 5)  # type: ignore[arg-type]


def test_a_run_that_fails_ends_its_handlers_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """As where the block is left: that they are cancelled is no fault of theirs, and hides nothing."""
    said: list[str] = []

    async def handler(spark: Any) -> None:
        async for value in spark:
            said.append(value)
        said.append("ended")

    async def main() -> None:
        async with serve(handler, "server", 80), connect("http://server", ping=False) as primus:
            primus.write("hello")
            await asyncio.sleep(3600)

    with pytest.raises(AssertionError, match="not over after 100 s"):
        run(main(), limit=100)
    assert said == ["hello", "ended"]
    assert caplog.records == []


def test_there_is_no_tls_and_that_is_said() -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        words = "there is no TLS on a virtual network: use http:// and no ssl="
        with pytest.raises(OSError, match=words):
            async with serve(echo, "server", 443, ssl=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)):
                pass
        with pytest.raises(ConnectError, match=f"cannot connect to server:443: {words}"):
            async with connect("https://server", ssl=context):
                pass
        with pytest.raises(ConnectError, match=words):
            await fetch_spec("https://server", ssl=context)
        loop: Any = asyncio.get_running_loop()
        for options in ({"host": "server", "port": 1, "sock": 1}, {"host": "server"}, {"port": 1}):
            with pytest.raises(ValueError, match="a host and a port are needed"):
                await loop.create_connection(asyncio.Protocol, **options)

    run(main())


def test_a_unix_socket_is_none_of_the_networks() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match="cannot connect to /tmp/nowhere: a virtual loop has no create_unix_"):
            async with connect("http://server", unix="/tmp/nowhere"):
                pass

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
        name.set("server")
        server = Named()
        listening = await loop.create_server(lambda: server, "there", 5)
        name.set("client")
        client = Named()
        await loop.create_connection(lambda: client, "there", 5)
        name.set("test")
        client.transport.write(b"x")
        server.transport.write(b"x")
        await asyncio.sleep(1)
        assert (server.heard, client.heard) == (["server"], ["client"])
        listening.close()
        client.transport.close()
        await asyncio.sleep(1)

    run(main())
