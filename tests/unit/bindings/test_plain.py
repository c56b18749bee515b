"""Plain sockets on a selector loop: what their transports tell a protocol, as asyncio's would."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import importlib.util
import os
import select
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from primus_io._plain import HIGH, TOGETHER, EpollReaders, PlainTransport, accept_from

LOOPS = [asyncio.SelectorEventLoop]
if importlib.util.find_spec("uvloop") is not None:
    LOOPS.append(importlib.import_module("uvloop").new_event_loop)

LARGE = bytes(range(256)) * 20_000  # more than the system buffers


class Recorder(asyncio.BufferedProtocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.buffer = memoryview(bytearray(1024))
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(PlainTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.told.append(bytes(self.buffer[:nbytes]))
        if self.told[-1] == b"fail":
            raise RuntimeError("on purpose")

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)
        self.lost.set()


class World:
    """A listener on a selector loop, and one connection to it."""

    settling = False

    def gather(self, read: Callable[[], None]) -> None:
        read()

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.server = Recorder()
        self.stop = accept_from(self.loop, self.listener, lambda: self.server, self)
        self.peer = socket.socket()
        self.peer.setblocking(False)

    async def connect(self) -> None:
        await self.loop.sock_connect(self.peer, self.address)
        await self.loop.sock_sendall(self.peer, b"hello")
        while self.server.told != [b"hello"]:
            await asyncio.sleep(0)
        self.server.told.clear()

    async def drain(self) -> bytes:
        """Read to the end."""
        read = bytearray()
        while data := await self.loop.sock_recv(self.peer, 1 << 20):
            read += data
        return bytes(read)


def run(scenario: Callable[[World], Any]) -> None:
    async def main() -> None:
        world = World()
        try:
            await asyncio.wait_for(scenario(world), 20)
        finally:
            world.stop()
            world.stop()  # harmless
            world.peer.close()

    for loop in LOOPS:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main())


@pytest.mark.parametrize("verb", ["close", "write_eof"])
def test_what_is_unsent_leaves_before_the_end(verb: str) -> None:
    async def scenario(world: World) -> None:
        await world.connect()
        transport = world.server.transport
        transport.write(LARGE)
        transport.write(b"end")
        assert world.server.told == ["pause"]
        assert transport.get_write_buffer_size() > HIGH
        getattr(transport, verb)()
        assert await world.drain() == LARGE + b"end"
        assert transport.get_write_buffer_size() == 0
        if verb == "write_eof":
            await world.loop.sock_sendall(world.peer, b"still read")
            world.peer.shutdown(socket.SHUT_WR)
        await world.server.lost.wait()
        assert world.server.told == ["pause", "resume", *([b"still read", "eof"] if verb == "write_eof" else []), None]

    run(scenario)


def test_reading_stops_and_goes_on() -> None:
    async def scenario(world: World) -> None:
        await world.connect()
        world.server.transport.pause_reading()
        await world.loop.sock_sendall(world.peer, b"later")
        assert select.select([world.server.transport.get_extra_info("socket")], [], [], 10)[0]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not world.server.told
        world.server.transport.resume_reading()
        world.peer.close()
        await world.server.lost.wait()
        assert world.server.told == [b"later", "eof", None]

    run(scenario)


def test_a_reset_is_an_error() -> None:
    async def scenario(world: World) -> None:
        await world.connect()
        world.server.transport.write(LARGE)
        world.server.told.clear()
        world.peer.close()  # with data that nobody has read
        await world.server.lost.wait()
        assert isinstance(world.server.told[-1], ConnectionError)
        world.server.transport.write(b"ignored")
        world.server.transport.abort()

    run(scenario)


def test_a_protocol_that_raises_loses_its_connection() -> None:
    async def scenario(world: World) -> None:
        await world.connect()
        await world.loop.sock_sendall(world.peer, b"fail")
        await world.server.lost.wait()
        assert [str(context["exception"]) for context in world.errors] == ["on purpose"]
        assert await world.drain() == b""

    run(scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_nothing_stays_open_when_the_last_connection_is_gone() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def scenario(world: World) -> None:
        before = opened()
        await world.connect()
        world.stop()
        world.server.transport.abort()
        await world.server.lost.wait()
        await asyncio.sleep(0)
        world.server.__dict__.clear()  # which holds the transport
        assert opened() == before - 2, "the listener and the epoll"

    gc.disable()
    try:
        run(scenario)
    finally:
        gc.enable()


def test_without_descriptors_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        monkeypatch.setattr("primus_io._plain.PAUSE", 0.05)
        accept = socket.socket.accept
        failures = [OSError(errno.EMFILE, "too many open files")]

        def fail(sock: socket.socket) -> Any:
            if failures:
                raise failures.pop()
            return accept(sock)

        monkeypatch.setattr(socket.socket, "accept", fail)
        await world.connect()
        assert len(world.errors) == 1

    run(scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set the options of each connection elsewhere")
def test_accepted_sockets_send_at_once_and_are_kept_alive() -> None:
    async def scenario(world: World) -> None:
        await world.connect()
        sock = world.server.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 120
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
@pytest.mark.parametrize("settling", [False, True])
def test_a_turn_reads_some_sockets_but_all_before_a_timer_is_believed(settling: bool) -> None:
    async def scenario(world: World) -> None:
        world.settling = settling
        readers = EpollReaders(world.loop, world)
        read: list[bytes] = []

        def take(sock: socket.socket) -> None:
            read.append(sock.recv(1))

        with contextlib.ExitStack() as stack:
            for _ in range(TOGETHER + 1):
                ours, theirs = map(stack.enter_context, socket.socketpair())
                readers.add_reader(ours.fileno(), partial(take, ours))
                stack.callback(readers.remove_reader, ours.fileno())
                theirs.send(b"x")
            while not read:
                await asyncio.sleep(0)
            assert len(read) == TOGETHER + settling

    run(scenario)
