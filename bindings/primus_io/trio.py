"""Primus on trio: `connect`, `serve`, `fetch_spec`. A nursery owns everything; leaving it leaves nothing behind.

Who is cancelled still says goodbye, as far as the system takes it at once: the tasks that carry bytes are shielded, and
end when their block is left.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Self

from primus_proto import commands as cmd

from ._awaiting import AsyncClient as Client
from ._awaiting import AsyncServer as Server
from ._awaiting import AsyncSpark as Spark
from ._awaiting import Connect, Serve, spec_fetcher
from ._driver import Deliver, Endpoint, Listening, Reach, StopListening, connect_failure, unix_listener
from ._running import Job, RunningDriver

try:
    import trio
except ImportError as missing:
    raise ImportError("primus_io.trio needs trio: pip install 'primus-proto[trio]'") from missing

__all__ = ["Client", "Server", "Spark", "connect", "fetch_spec", "serve"]

CHUNK = 32 * 1024  # what one read brings is handled in one go, so no peer holds up the others for longer
HIGH = 64 * 1024  # unsent bytes of one channel above which the core keeps the rest
HASTE = 0.1  # seconds for last words, where nobody wants to wait


class Channel:
    """One byte stream: a task that reads, and one that writes, until the core closes it."""

    def __init__(self, driver: Driver, stream: trio.abc.Stream) -> None:
        self.number = 0
        self._driver = driver
        self._stream = stream
        self._scope = trio.CancelScope()
        self._out: list[bytes] = []
        self._unsent = 0
        self._blocked = False
        self._closing = False
        self._reading = trio.Event()
        self._reading.set()
        self._work = trio.Event()

    async def run(self) -> None:
        """Carry bytes until the channel is closed."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watched, self._receive)
                    await self._watched(self._send)
                    self._scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        error = None
        try:
            await work()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as failure:
            error = str(failure.__cause__ or failure)
        self._driver.channel_closed(self.number, error)

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

    def close(self, abort: bool) -> None:
        self._close_within(-math.inf if abort else self._driver.endpoint.limits.close)

    def drop(self) -> None:
        self._close_within(HASTE)

    def _close_within(self, seconds: float) -> None:
        """Close once all is written, or when that takes too long."""
        self._closing = True
        self._work.set()
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    async def _receive(self) -> None:
        driver = self._driver
        await self._reading.wait()
        while data := await self._stream.receive_some(CHUNK):
            driver.endpoint.receive_data(self.number, data, now=driver.now())
            driver.pump()
            await self._reading.wait()

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
            if self._blocked:
                self._blocked = False
                driver.endpoint.channel_writable(self.number, now=driver.now())
                driver.pump()
        await self._stream.aclose()


class Driver(RunningDriver):
    """Runs one endpoint in a nursery."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> None:
        super().__init__(endpoint, deliver, reach)
        self._wanted = trio.Event()
        self._alarm = trio.CancelScope()
        self._due = math.inf
        self._scope = trio.CancelScope(shield=True)
        self._manager = trio.open_nursery()
        self._outer: trio.Nursery  # of the block that was entered: handlers and listeners
        self._inner: trio.Nursery  # shielded: what carries bytes

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, reach: Reach) -> Self:
        driver = cls(endpoint, deliver, reach)
        driver._outer = await driver._manager.__aenter__()
        try:
            await driver._outer.start(driver._main)
        except BaseException:
            await driver.release()
            raise
        return driver

    async def _main(self, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            async with trio.open_nursery() as self._inner:
                self._inner.start_soon(self._clockwork)
                self._inner.start_soon(self._pump_when_wanted)
                task_status.started()

    @staticmethod
    def clock() -> float:
        return trio.current_time()

    def event(self) -> trio.Event:
        return trio.Event()

    def schedule(self) -> None:
        if not self._pumping:
            self._wanted.set()

    def spawn(self, job: Job) -> None:
        scope = trio.CancelScope()
        job.cancel = scope.cancel
        self._outer.start_soon(self._in_scope, scope, job.run, name=job.name)

    async def _in_scope(self, scope: trio.CancelScope, run: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await run()

    def shield(self) -> trio.CancelScope:
        return trio.CancelScope(shield=True)

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        with trio.move_on_after(seconds):
            await wait()

    async def release(self) -> None:
        self._scope.cancel()
        await self._manager.__aexit__(None, None, None)

    async def listen(self, where: Listening) -> tuple[int, StopListening]:
        scope = trio.CancelScope()
        remove: StopListening = lambda: None  # noqa: E731
        if where.unix is None:
            listeners = await trio.open_tcp_listeners(where.port, host=where.host or None, backlog=1024)
            port = listeners[0].socket.getsockname()[1]
        else:
            sock, remove = unix_listener(where.unix)
            listeners, port = [trio.SocketListener(trio.socket.from_stdlib_socket(sock))], 0

        async def accept(stream: trio.SocketStream) -> None:
            peer: object = None
            with contextlib.suppress(OSError):  # gone already, as its reader will find
                peer = stream.socket.getpeername()
            secure = where.tls and trio.SSLStream(stream, where.tls, server_side=True)
            await self._carry(secure or stream, 0, peer)

        async def accept_all() -> None:
            with scope:
                await trio.serve_listeners(accept, listeners, handler_nursery=self._inner)

        def stop() -> None:
            scope.cancel()
            remove()

        self._inner.start_soon(accept_all)
        return port, stop

    # --- inside ---

    async def _clockwork(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._due) as self._alarm:
                await trio.sleep_forever()
            self._due = math.inf
            self.timeout()

    async def _pump_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            self.pump()

    def _arm(self, due: float | None) -> None:
        self._due = self._alarm.deadline = math.inf if due is None else due

    def _open(self, command: cmd.OpenChannel) -> None:
        scope = trio.CancelScope()
        self.opening[command.channel] = scope.cancel
        self._inner.start_soon(self._connect, command, scope)

    async def _connect(self, command: cmd.OpenChannel, scope: trio.CancelScope) -> None:
        number, error = command.channel, None
        stream: trio.abc.Stream | None = None
        try:
            with scope:
                stream = await self._reached(command)
        except (OSError, UnicodeError, trio.BrokenResourceError, trio.TooSlowError) as failure:
            error = connect_failure(command, self._reach.unix, failure)
        finally:
            del self.opening[number]
            self.note_change()
        if stream is not None:
            await self._carry(stream, number)
        else:
            self.channel_closed(number, error)  # the core knows of it already where it was cancelled

    async def _reached(self, command: cmd.OpenChannel) -> trio.abc.Stream:
        unix, tls = self._reach.unix, self._reach.context(command)
        stream: trio.abc.Stream = await (
            trio.open_tcp_stream(command.host, command.port) if unix is None else trio.open_unix_socket(unix)
        )
        if tls is None:
            return stream
        secure = trio.SSLStream(stream, tls, server_hostname=command.host, https_compatible=True)
        try:
            with trio.fail_after(self.endpoint.limits.handshake):
                await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return secure

    async def _carry(self, stream: trio.abc.Stream, number: int, peer: object = None) -> None:
        channel = Channel(self, stream)
        self.open.add(channel)
        try:
            channel.number = self.channel_up(channel, number, peer)
            self.pump()
            await channel.run()
        finally:
            self.open.discard(channel)
            self.note_change()


class connect(Connect):  # noqa: N801  # used like a function, as open_nursery() is
    DRIVER = Driver


class serve(Serve):  # noqa: N801  # used like a function, as open_nursery() is
    DRIVER = Driver


fetch_spec = spec_fetcher(Driver)
