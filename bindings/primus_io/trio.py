"""Primus on trio: `connect`, `serve` and `fetch_spec`. A nursery owns everything, so leaving it leaves nothing behind.

The tasks of a block are shielded from cancellation around it, and end when the block is left. So a block that is
cancelled still sends its close frames, within half a second.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

import primus_proto as pp
from primus_proto import commands as cmd

from . import _common
from ._client import Client
from ._common import *  # noqa: F403
from ._driver import Deliver, Endpoint, ListenAddress, StopListening
from ._entry import Connect, Serve
from ._environment import Environment
from ._functions import (
    ConnectFunction,
    CreateServerFunction,
    FetchSpec,
    ServeFunction,
    make_connect,
    make_create_server,
    make_fetch_spec,
    make_serve,
)
from ._io import OTHER_TASK, AsyncEvent
from ._liveness import is_hung_up, keep_alive
from ._read_budget import MIN_READ, REST_TURNS, TIRING, ReadBudget, TurnWork
from ._running import BackgroundTask, RunningDriver
from ._server import Authorize, Handler, Server, Spark
from ._sockets import CreateSocket, SocketFactory, make_create_socket
from ._target import ConnectTarget, connect_failure, default_context, lost_because

try:
    import trio
except ImportError as _missing:
    raise ImportError("primus_io.trio needs trio: pip install 'primus-proto[trio]'") from _missing

__all__ = [
    "Client",
    "Server",
    "SocketFactory",
    "Spark",
    "connect",
    "create_server",
    "create_socket",
    "fetch_spec",
    "serve",
]
__all__ += _common.__all__

# What `accept` fails with while the process or the system has no room for another connection, and the seconds until it
# is tried again.
NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
RETRY = 0.1

HIGH = 64 * 1024  # unsent bytes of one channel above which the core keeps the rest
Opening = trio.abc.Stream | Awaitable[trio.abc.Stream]


class Channel:
    """One byte stream: a task that reads and a task that writes, until the core closes it."""

    def __init__(self, driver: Driver, number: int = 0) -> None:
        self.number: int = number
        self.up: bool = False
        self._driver = driver
        self._stream: trio.abc.Stream
        self._scope = trio.CancelScope()
        self._out: list[bytes] = []
        self._unsent = 0
        self._waiting: bytes | bytearray = b""  # what came in a turn that had brought much work before
        self._blocked = False
        self._closing = self._eof = False
        self._reading, self._work = trio.Event(), trio.Event()
        self._reading.set()
        driver.open.add(self)

    async def run(self, opening: Opening, failed: Callable[[Exception], None], peer: object = None) -> None:
        """Open the stream and carry bytes until the channel is closed. Calls `failed` if it cannot be opened."""
        driver = self._driver
        try:
            with self._scope:
                try:
                    self._stream = opening if isinstance(opening, trio.abc.Stream) else await opening
                    if isinstance(self._stream, trio.SSLStream):
                        with trio.fail_after(driver.endpoint.limits.handshake):
                            await self._stream.do_handshake()
                except Exception as failure:
                    return failed(failure)
                self.up = True
                if not self._scope.cancel_called:
                    tls: Any = self._stream if isinstance(self._stream, trio.SSLStream) else None
                    self.number = driver.channel_up(self, self.number, peer, tls)
                    driver.pump_unless_idle()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watched, self._receive)
                    await self._watched(self._send)
                    self._scope.cancel()
        finally:
            if hasattr(self, "_stream"):
                with driver.shield():
                    await trio.aclose_forcefully(self._stream)
            driver.open.discard(self)
            driver.wake_waiters()

    def write(self, data: bytes) -> None:
        self._out.append(data)
        self._unsent += len(data)
        if self._unsent > HIGH:
            self._blocked = True
            self._driver.endpoint.channel_blocked(self.number)
        self._work.set()

    def read(self, reading: bool) -> None:
        if reading:
            self._reading.set()
        else:
            self._reading = trio.Event()

    def hung_up(self) -> bool:
        stream: Any = self._stream
        return is_hung_up((stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket)

    def end_writing(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            self._eof = True
            self._work.set()
        else:
            self.close(False)

    def close(self, abort: bool) -> None:
        self._closing = True
        self._work.set()
        seconds = -math.inf if abort else self._driver.endpoint.limits.close
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        error, driver = None, self._driver
        try:
            await work()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as failure:
            error = lost_because(failure.__cause__ or failure)
        if self._waiting:
            driver.receive(self.number, self._waiting)
        driver.channel_closed(self.number, error)

    async def _receive(self) -> None:
        driver, budget = self._driver, ReadBudget()
        await self._reading.wait()
        while data := await self._stream.receive_some(budget.size):
            if len(data) < MIN_READ:
                driver.receive(self.number, data)
            else:
                await self._receive_much(data, budget)
            await self._reading.wait()

    async def _receive_much(self, data: bytes | bytearray, budget: ReadBudget) -> None:
        driver = self._driver
        if driver.turn_work.is_enough:
            self._waiting = data
            await driver.wait_for_turn()
            self._waiting = b""
        seconds = driver.receive_measured(self.number, data, budget)
        driver.turn_work.add(seconds)
        if seconds > TIRING:
            await driver.rest()

    async def _send(self) -> None:
        driver = self._driver
        while self._out or not self._closing:
            await self._work.wait()
            self._work = trio.Event()
            while self._out:
                data = b"".join(self._out)
                self._out.clear()
                await self._stream.send_all(data)
                self._unsent -= len(data)
            if self._eof:
                self._eof = False
                assert isinstance(self._stream, trio.abc.HalfCloseableStream)
                await self._stream.send_eof()
            if self._blocked:
                self._blocked = False
                driver.endpoint.channel_writable(self.number, now=driver.now())
                driver.run_pump()
        await self._stream.aclose()


class Listener(trio.abc.Listener[trio.SocketStream]):
    """A listener that waits while there is no room for a connection. trio would log a traceback ten times a second."""

    def __init__(self, listener: trio.SocketListener, full: Callable[[str], None]) -> None:
        self._listener = listener
        self._full = full

    async def accept(self) -> trio.SocketStream:
        while True:
            try:
                return await self._listener.accept()
            except OSError as failure:
                if failure.errno not in NO_ROOM:
                    raise
                self._full(os.strerror(failure.errno))
            await trio.sleep(RETRY)

    async def aclose(self) -> None:
        await self._listener.aclose()


class Driver(RunningDriver):
    """Runs one endpoint in a nursery."""

    CANCELLED_GRACE = 0.5

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        super().__init__(endpoint, deliver, target)
        self.open: set[Channel]
        self._resting, self._next = trio.Lock(), trio.Lock()
        self.turn_work = TurnWork(trio.lowlevel.current_trio_token().run_sync_soon)
        self._pump_wanted = trio.Event()
        self._timer_scope = trio.CancelScope()
        self._due = math.inf
        self._scope = trio.CancelScope(shield=True)
        self._manager = trio.open_nursery()
        self._owner = trio.lowlevel.current_task()
        self._released = False
        self._inner: trio.Nursery

    @staticmethod
    def environment() -> Environment:
        return Environment(trio.current_time)

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> Self:
        driver = cls(endpoint, deliver, target)
        (await driver._manager.__aenter__()).start_soon(driver._main)
        with driver.shield():
            await driver._change.wait()
        return driver

    async def _main(self) -> None:
        with self._scope:
            async with trio.open_nursery() as self._inner:
                self._inner.start_soon(self._run_timer)
                self.wake_waiters()  # `begin` goes on

    def schedule(self) -> None:
        if not self.pumping:
            self._pump_wanted.set()

    def should_yield(self) -> bool:
        return True  # trio expects a checkpoint in every call

    def spawn(self, task: BackgroundTask) -> None:
        scope = trio.CancelScope()
        task.cancel = scope.cancel
        self._inner.start_soon(self._in_scope, scope, task.run, name=task.name)

    async def _in_scope(self, scope: trio.CancelScope, run: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await run()

    def event(self) -> AsyncEvent:
        return trio.Event()

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_for_turn(self) -> None:
        """Wait for a turn that has not brought much work yet: one channel after another."""
        async with self._next:
            while self.turn_work.is_enough:
                await trio.lowlevel.checkpoint()

    async def rest(self) -> None:
        """Wait for a later turn of the loop: one channel at a time."""
        async with self._resting:
            for _ in range(REST_TURNS if self._resting.statistics().tasks_waiting else 1):
                await trio.lowlevel.checkpoint()

    def shield(self) -> trio.CancelScope:
        return trio.CancelScope(shield=True)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        with trio.move_on_after(seconds):
            await wait()

    async def release(self) -> None:
        self._scope.cancel()
        if trio.lowlevel.current_task() is not self._owner:
            raise pp.LocalProtocolError(OTHER_TASK)
        if not self._released:
            self._released = True
            await self._manager.__aexit__(None, None, None)

    async def _listen(self, address: ListenAddress, sock: socket.socket | None) -> tuple[Any, StopListening]:
        if sock is None:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=1024)
        else:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock))]
        scope = trio.CancelScope()

        async def accept(stream: trio.SocketStream) -> None:
            if scope.cancel_called:
                return await trio.aclose_forcefully(stream)
            with contextlib.suppress(OSError):  # closed already
                peer = stream.socket.getpeername()
                keep_alive(stream.socket)
                secure = address.tls and trio.SSLStream(stream, address.tls, server_side=True)
                await Channel(self).run(secure or stream, lambda failure: None, peer)

        def stop() -> None:
            scope.cancel()
            for channel in self.open:
                if not channel.up:  # in the TLS handshake
                    channel.close(True)

        waiting = [Listener(each, self._no_room) for each in listeners]
        accept_all = partial(trio.serve_listeners, accept, waiting, handler_nursery=self._inner)
        self._inner.start_soon(self._in_scope, scope, accept_all, name="primus_io.trio.Driver.listen")
        return listeners[0].socket.getsockname(), stop

    def _no_room(self, why: str) -> None:
        assert isinstance(self.endpoint, pp.ByteServer)
        self.endpoint.bad_peer(f"cannot accept a connection: {why}")
        self.run_pump()

    async def _run_timer(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._due) as self._timer_scope:
                await self._pump_wanted.wait()
            if self._timer_scope.cancelled_caught:
                self._due = math.inf
                await self.settle()
                self.timeout()
            else:
                self._pump_wanted = trio.Event()
                self.run_pump()

    def _arm(self, due: float | None) -> None:
        self._due = self._timer_scope.deadline = math.inf if due is None else due

    def _open(self, command: cmd.OpenChannel) -> None:
        channel = self.channels[command.channel] = Channel(self, command.channel)

        def failed(failure: Exception) -> None:
            self.channel_closed(command.channel, connect_failure(self._target, command, failure))

        self._inner.start_soon(channel.run, self._open_stream(command), failed)

    async def _open_stream(self, command: cmd.OpenChannel) -> trio.abc.Stream:
        target = self._target
        if target.lacks_context(command):
            await trio.to_thread.run_sync(default_context)
        tls, name = target.tls_context(command), target.tls_name(command)
        stream = await (trio.open_unix_socket(target.unix) if target.unix else self._connect_socket(command))
        return trio.SSLStream(stream, tls, server_hostname=name, https_compatible=True) if tls else stream

    async def _connect_socket(self, command: cmd.OpenChannel) -> trio.SocketStream:
        target, local = self._target, self._target.local_addr
        if target.sock is not None:
            return trio.SocketStream(trio.socket.from_stdlib_socket(target.take_socket(command.channel)))
        proxy = None
        if target.proxy is not None:  # in a thread, because some systems look up names for this
            proxy = await trio.to_thread.run_sync(target.find_proxy, command)
        if proxy is not None:
            from python_socks.async_.trio import Proxy  # an extra, looked for when the options were checked

            return trio.SocketStream(await proxy.make(Proxy).connect(command.host, command.port, local_addr=local))
        if local is not None and local[1] != 0:
            return await _connect_from(local, command)
        return await trio.open_tcp_stream(command.host, command.port, local_address=local and local[0])


async def _connect_from(local: tuple[str, int], command: cmd.OpenChannel) -> trio.SocketStream:
    """Connect from a port of this machine, of which there is one for all attempts."""
    family = trio.socket.AF_INET6 if ":" in local[0] else trio.socket.AF_INET
    infos = await trio.socket.getaddrinfo(command.host, command.port, family, trio.socket.SOCK_STREAM)
    sock = trio.socket.socket(*infos[0][:3])
    try:
        await sock.bind(local)
        await sock.connect(infos[0][4])
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, lambda: Driver)
create_socket: CreateSocket[Connect] = make_create_socket(__name__, connect)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, lambda: Driver, connect)
create_server: CreateServerFunction[Handler, Authorize, Serve] = make_create_server(__name__, serve, Serve.TYPES)
fetch_spec: FetchSpec = make_fetch_spec(__name__, lambda: Driver)
