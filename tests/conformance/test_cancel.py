"""Cancellation at every point that waits: the call ends at once, and everything stays usable."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from primus_proto import Limits
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import SOON, Host, needing, scenario
from tests.conformance.peers import CLOSE as CLOSING
from tests.conformance.peers import RawPeer, accept_websocket, frame, raw_server, silent
from tests.conformance.users import Memory, echo, mebibytes, why

pytestmark = needing("cancellation")

CLOSE = 0.3
LIMITS = Limits(close=CLOSE)


async def enter(manager: Any) -> None:
    async with manager:
        raise AssertionError("it was entered")


def after(host: Host, seconds: float) -> Callable[[], bool]:
    """Whether so many seconds are over."""
    end = host.time() + seconds
    return lambda: host.time() > end


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """A port that answers no further TCP handshake."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@scenario(needs=["clients", "sockets"])
async def test_connecting_while_tcp_is_on_its_way(host: Host) -> None:
    with full_port() as port:
        url = f"http://localhost:{port}"
        await host.cancelled(enter(host.connect(url)), after(host, 0.05))
        await host.cancelled(host.fetch_spec(url), after(host, 0.05))
        assert host.leftovers() == []


def polite(peer: socket.socket) -> None:
    """A server that does nothing but open and close."""
    accept_websocket(peer)
    while data := peer.recv(1000):
        if data[0] & 0x0F == CLOSING:
            peer.sendall(frame(b"\x03\xe8", CLOSING, masked=False))


# Turns of the loop: each of the first, then ever longer.
TURNS: list[int] = [*range(50), *(int(50 * 1.3**more) for more in range(50))]


async def at_any_moment(host: Host, make: Callable[[], Any], check: Callable[[str], None]) -> int:
    """Cancel the entering of a block after 0, 1, 2, … turns of the loop, until it gets through; that many it took."""
    for turns in TURNS:
        task = host.start(enter(make()))
        for _ in range(turns):
            await host.pause(0)
        task.cancel()
        await task.join()
        check(f"cancelled after {turns} turns")
        if not task.cancelled:
            with pytest.raises(AssertionError, match="it was entered"):
                task.result()
            break
    assert turns < TURNS[-1]
    return turns


@scenario(needs=["clients", "sockets"])
async def test_connecting_at_any_moment(host: Host) -> None:
    def check(when: str) -> None:
        assert host.leftovers() == [], when

    with raw_server(polite) as port:
        assert await at_any_moment(host, lambda: host.connect(f"http://localhost:{port}"), check) > 3


@scenario(needs=["clients", "tls", "turns"])
async def test_connecting_over_tls_at_any_moment(host: Host, tls: Certificates) -> None:
    async with host.serve(echo, "localhost", ssl=tls.server) as server:
        connecting = at_any_moment(host, lambda: host.connect(server.url, ssl=tls.client), lambda when: None)
        assert await connecting > 3
        await host.until(lambda: not server.sparks)


@pytest.mark.parametrize("unix", [False, pytest.param(True, marks=needing("unix"))], ids=["tcp", "unix"])
@scenario()
async def test_serving_at_any_moment(host: Host, tmp_path: Path, unix: bool) -> None:
    """A server that was cancelled before it served does not listen any more."""
    where = {"unix": tmp_path / "primus"} if unix else {}

    def check(when: str) -> None:
        assert (host.leftovers(), list(tmp_path.iterdir())) == ([], []), when

    await at_any_moment(host, lambda: host.serve(echo, **where), check)


@scenario(needs=["clients"])
async def test_iterating(host: Host) -> None:
    """It goes on afterwards as if nothing had been, and forgets who waited."""
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        iterator = aiter(primus)

        async def following() -> Any:
            return await anext(iterator)

        async def wait_in_vain(coroutine: Any) -> None:
            task = host.start(coroutine)
            await host.pause(0)
            await host.pause(0)
            assert not task.done
            task.cancel()
            await task.join()
            assert task.cancelled

        await wait_in_vain(following())
        primus.write(1)
        assert await following() == 1
        before = None
        with Memory() as memory:
            for count in range(600):
                await wait_in_vain(following())
                await wait_in_vain(primus.wait_ended())
                await wait_in_vain(server.serve_forever())
                if count == 200:
                    before = memory.grown()
            assert before is not None
            assert memory.grown() - before < 200_000, "those who waited are remembered"
        [spark] = server.sparks.values()
        spark.write(2)
        assert await following() == 2


@scenario(needs=["sockets"])
async def test_sending(host: Host) -> None:
    async with host.serve(echo, limits=Limits(backlog=100_000)) as server:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()

            sent = 0

            async def send() -> None:
                nonlocal sent
                while await spark.send("x" * 10_000):
                    sent += 1

            task = host.start(send())
            await host.settled(lambda: sent)
            assert spark.needs_drain
            assert not task.done
            task.cancel()
            await task.join()
            assert task.cancelled
            buffered = spark.buffered
            assert buffered > 0
            assert spark.state == "open"
            again = host.start(spark.send("last"))
            await host.pause(0.01)
            assert not again.done
            said: list[tuple[int, bytes]] = []
            while not said or said[-1] != (1, b'"last"'):
                said.append(await host.thread(peer.frame))
            assert {len(payload) for _, payload in said[:-1]} == {10_002}
            await again.join()
            assert again.result() is True


@scenario()
async def test_blocks_that_are_cancelled_inside_are_left_politely(host: Host) -> None:
    servers: list[Any] = []
    inside: list[Any] = []

    async def serve() -> None:
        async with host.serve(echo) as server:
            servers.append(server)
            await server.serve_forever()

    async def use() -> None:
        async with host.connect(servers[0].url) as primus:
            primus.write(mebibytes(1))
            inside.append(primus)
            async for _ in primus:
                pass

    serving = host.start(serve())
    await host.until(lambda: servers)
    using = host.start(use())
    await host.until(lambda: inside)
    [spark] = servers[0].sparks.values()
    using.cancel()
    await using.join()
    assert using.cancelled
    await host.until(lambda: not servers[0].sparks)
    assert spark.close_reason.kind == "client", spark.close_reason
    async with host.connect(servers[0].url) as primus:
        serving.cancel()
        assert [value async for value in primus] == []
        assert why(primus) == "server"
    await serving.join()
    assert serving.cancelled


@scenario(needs=["clients", "sockets"])
async def test_leaving(host: Host) -> None:
    """A server that does not answer the close: leaving waits for it, and can be cancelled out of that."""

    def talk(peer: socket.socket) -> None:
        accept_websocket(peer)
        silent(peer)

    async def use() -> None:
        async with host.connect(f"http://127.0.0.1:{port}", limits=Limits(close=30), dialect="happn"):
            inside.append(1)
        raise AssertionError("it was left")

    inside: list[int] = []
    with raw_server(talk) as port:
        task = host.start(use())
        await host.until(lambda: inside)
        await host.pause(0.05)
        task.cancel()
        await task.join()
        assert task.cancelled
        assert host.leftovers() == []


@pytest.mark.parametrize("how", ["while sparks are left alone", "while a handler hangs", "while a peer hangs"])
@scenario(needs=["sockets"])
async def test_closing_a_server(host: Host, how: str) -> None:
    said: list[str] = []

    async def handler(spark: Any) -> None:
        try:
            await host.pause(60 if "handler" in how else 0)
            await spark.wait_ended()
        finally:
            said.append("ended")

    async def serve() -> None:
        async with host.serve(handler, limits=Limits(close=30)) as server:
            servers.append(server)
            server.on("disconnection", late)
            await entered
            await server.close(timeout=30 if "alone" in how else 0)

    async def late(spark: Any) -> None:
        await host.pause(60)

    servers: list[Any] = []
    opened: list[int] = []
    entered = host.until(lambda: opened)
    serving = host.start(serve())
    await host.until(lambda: servers)
    with RawPeer(servers[0].port) as peer:
        await host.thread(peer.open)
        await host.until(lambda: servers[0].sparks)
        await host.pause(0.02)
        opened.append(1)
        await host.pause(0.05)
        started = host.time()
        serving.cancel()
        await serving.join()
        assert serving.cancelled
        assert host.time() - started < SOON
        assert said == ["ended"]
        assert host.leftovers() == []


@scenario()
async def test_handlers_and_listeners(host: Host) -> None:
    """Those that the end of the server cuts off may clean up."""
    said: list[str] = []

    async def handler(spark: Any) -> None:
        try:
            await host.pause(60)
        finally:
            said.append("handler")

    async def listener(*_: object) -> None:
        try:
            await host.pause(60)
        finally:
            said.append("listener")

    async with host.serve(handler, limits=LIMITS) as server:
        server.on("connection", lambda spark: spark.on("end", listener))
        async with host.connect(server.url) as primus:
            primus.on("end", listener)
    assert sorted(said) == ["handler", "listener", "listener"]
    assert host.leftovers() == []
