"""Primus on asyncio: `connect`, `serve` and `fetch_spec`. Works on any event loop, including uvloop.

This module has no rules of the protocol. A `Driver` gives an endpoint of `primus_proto` what arrives on its sockets,
and runs the commands of the endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import primus_proto as pp
from primus_proto import commands as cmd

from . import _common
from ._client import Client
from ._common import *  # noqa: F403
from ._driver import Deliver, Endpoint, ListenAddress, StopListening, has_settled
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
from ._io import AsyncEvent
from ._liveness import INHERITED, is_hung_up, keep_alive
from ._plain import PlainTransport, accept_from
from ._racing import connect_socket
from ._read_budget import FIRST_READ, MAX_READ, MIN_READ, TIRING, ReadBudget, Turns
from ._running import BackgroundTask, RunningDriver
from ._server import Authorize, Handler, Server, Spark
from ._sockets import CreateSocket, SocketFactory, make_create_socket
from ._target import ConnectTarget, connect_failure, default_context, lost_because

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

# A selector loop fills the buffer and hands it over in one step, so all connections of a thread can share one buffer.
# The proactor loop of Windows reads in the background, so there each connection needs a buffer of its own.
SHARED_BUFFER = sys.platform != "win32"
# A read that filled the buffer and took more seconds of work than this is the only one of its turn. Faster reads may go
# on, which speeds up large messages.
QUICK = 0.0005

# uvloop rounds timers to whole milliseconds. A timer that fires early would have to be set again, many times.
ROUNDING = 0.0005

# Connections that the system keeps until they are accepted.
BACKLOG = 1024


class Receiving(threading.local):
    """The receive buffer of this thread."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(MAX_READ))
        self._views = {1 << bits: self._buffer[: 1 << bits] for bits in range(9, 16)}

    def view(self, size: int) -> memoryview:
        """The first `size` bytes; connections share the views of the usual sizes too."""
        return self._views.get(size) or self._buffer[:size]


RECEIVING = Receiving()


class Channel(asyncio.BufferedProtocol):
    """One byte stream: asyncio's callbacks, passed on."""

    __slots__ = ("_budget", "_reading", "_reads_ahead", "_resting", "_view", "_waiting", "deadline", "driver",
                 "number", "transport", "write")  # fmt: skip

    transport: asyncio.Transport
    write: Callable[[bytes], None]

    def __init__(self, driver: Driver, number: int = 0) -> None:
        self.driver = driver
        self.number: int = number  # a server's gets one from the core
        self.deadline: asyncio.TimerHandle | None = None  # of a close that the peer has a part in
        # The part of the buffer that the next read may fill.
        self._view = (RECEIVING if SHARED_BUFFER else Receiving()).view(FIRST_READ)
        self._budget: ReadBudget | None = None  # made with the first read that it is for
        self._reading = True
        self._resting = False  # until a later turn of the loop
        self._waiting = b""  # what came in a turn that had brought much work before
        self._reads_ahead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        driver = self.driver
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        self.write = self.transport.write
        driver.open.add(self)
        tls, peer = transport.get_extra_info("ssl_object"), transport.get_extra_info("peername")
        self._reads_ahead = tls is not None or (driver.reads_ahead and not isinstance(transport, PlainTransport))
        if self.number or not INHERITED:
            sock = transport.get_extra_info("socket")
            if sock is not None:  # not on a virtual network
                keep_alive(sock)
        self.number = driver.channel_up(self, self.number, peer, tls)
        driver.pump_unless_idle()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        driver = self.driver
        if nbytes < MIN_READ and not self._waiting:
            driver.receive(self.number, self._view[:nbytes])
        elif self._waiting:
            self._rest()
            self._waiting += self._view[:nbytes]
        elif driver.turns.is_enough:
            driver.turns.wait(self)
            self._waiting = bytes(self._view[:nbytes])
        else:
            self._receive(self._view[:nbytes])

    def _receive(self, data: memoryview | bytes) -> None:
        driver, budget = self.driver, self._budget
        if budget is None:
            budget = self._budget = ReadBudget()
        size = budget.size
        seconds, full = driver.receive_measured(self.number, data, budget), len(data) == size
        driver.turns.add(seconds)
        if budget.size != size:
            self._view = RECEIVING.view(budget.size) if SHARED_BUFFER else memoryview(self._view.obj)[: budget.size]
        if seconds > TIRING or (full and self._reads_ahead and seconds > QUICK):
            self._rest()
            driver.turns.rest(self)
        elif self._resting:  # because more came while this waited
            self.rested()

    def go_on(self) -> None:
        """Handle what has waited for this turn."""
        if self._waiting:
            data, self._waiting = self._waiting, b""
            self._receive(data)

    def _rest(self) -> None:
        if not self._resting:
            self._resting = True
            if self._reading:
                self.transport.pause_reading()

    def rested(self) -> None:
        self._resting = False
        if self._reading:
            self.transport.resume_reading()

    def eof_received(self) -> None:
        self._closed(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        self.driver.open.discard(self)
        self.driver.wake_waiters()
        self._closed(lost_because(exc) if exc is not None else None)

    def _closed(self, error: str | None) -> None:
        if self._waiting:
            data, self._waiting = self._waiting, b""
            self.driver.receive(self.number, data)
        self.driver.channel_closed(self.number, error)

    def pause_writing(self) -> None:
        self.driver.endpoint.channel_blocked(self.number)

    def resume_writing(self) -> None:
        self.driver.endpoint.channel_writable(self.number, now=self.driver.now())
        self.driver.schedule()  # not at once: asyncio loses its head over a transport that is closed in here

    def read(self, reading: bool) -> None:
        self._reading = reading
        if not self._resting:
            (self.transport.resume_reading if reading else self.transport.pause_reading)()

    def hung_up(self) -> bool:
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            return is_hung_up(sock)
        has_ended = self.transport.get_extra_info("has_ended")  # of a virtual network
        return has_ended is not None and bool(has_ended())

    def end_writing(self) -> None:
        if not self.transport.can_write_eof():
            return self.close(False)
        try:
            self.transport.write_eof()
        except OSError:  # the peer has reset the connection, which asyncio does not know yet
            self.transport.abort()

    def close(self, abort: bool) -> None:
        transport, driver = self.transport, self.driver
        if abort:
            return transport.abort()
        if self.deadline is not None:
            return None
        if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
            # asyncio would wait for ever on a peer that does not read. Below TLS one cannot see what is unsent.
            self.deadline = driver.loop.call_later(driver.endpoint.limits.close, transport.abort)
        transport.close()


class Wakeup:
    """An event object for one waiter, lighter than `asyncio.Event`."""

    __slots__ = ("future",)
    future: asyncio.Future[None]

    def set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        return self.future


class Driver(RunningDriver):
    """Runs one endpoint on the running event loop."""

    def event(self) -> AsyncEvent:
        return asyncio.Event()

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        super().__init__(endpoint, deliver, target)
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        # uvloop reads up to 32 times in a row while the buffer comes back full. asyncio does something similar with
        # TLS: data from the socket starts another series of reads, one in each turn.
        self.reads_ahead: bool = not isinstance(self.loop, asyncio.BaseEventLoop)
        self._scheduled = self.settling = False
        self.turns = Turns(self.loop.call_soon)
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def environment() -> Environment:
        loop = asyncio.get_running_loop()
        provided: Environment | None = getattr(loop, "primus_environment", None)  # of a loop in virtual time
        # What `loop.time` reads too, with one more call, or on uvloop without fractions of a millisecond.
        plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
        plain = plain or (sys.platform == "linux" and _is_uvloop(loop))
        return provided or Environment(time.monotonic if plain else loop.time)

    def schedule(self) -> None:
        if not self.pumping and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._scheduled_pump, context=self._context)

    def spawn(self, task: BackgroundTask) -> None:
        task.cancel = self.loop.create_task(task.run(), name=task.name).cancel

    async def let_tasks_start(self) -> None:
        await asyncio.sleep(0)

    def wakeup(self) -> Wakeup:
        wakeup = Wakeup()
        wakeup.future = self.loop.create_future()
        return wakeup

    async def checkpoint(self) -> None:
        """asyncio needs none, but a loop over values that have all arrived would never let another task run."""
        await asyncio.sleep(0)

    async def release(self) -> None:
        """Do nothing: `close` leaves nothing behind."""

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wait()

    async def _listen(self, address: ListenAddress, sock: socket.socket | None) -> tuple[Any, StopListening]:
        accept = partial(Channel, self)
        selects = isinstance(self.loop, asyncio.SelectorEventLoop)
        if address.tls is None and (selects or _is_uvloop(self.loop)):
            return await self._listen_plainly(address, sock, accept)
        # The selector loop accepts `backlog` times a turn, and without a free descriptor logs as many errors a second.
        options = {"start_serving": False, **_tls_options(address.tls, self.endpoint.limits)}
        options["backlog"] = 1 if selects else BACKLOG
        listener = await (
            self.loop.create_server(accept, address.host, address.port, **options)
            if sock is None
            else self.loop.create_unix_server(accept, sock=sock, **options)
        )
        try:
            await listener.start_serving()
            for each in () if hasattr(self.loop, "primus_environment") else listener.sockets:
                keep_alive(each)
            for each in listener.sockets if selects else ():
                with each.dup() as same:
                    same.listen(BACKLOG)
        except BaseException:  # cancelled here; with start_serving=True asyncio would listen forever
            listener.close()
            raise

        def stop() -> None:
            if not selects:
                return listener.close()
            # The selector loop accepts in tasks. If the listener closed before such a task starts, the task would leave
            # its connection open and nobody would close it.
            for each in listener.sockets:
                self.loop.remove_reader(each)
            self.loop.call_soon(listener.close)

        return listener.sockets[0].getsockname(), stop

    async def _listen_plainly(
        self, address: ListenAddress, sock: socket.socket | None, accept: Callable[[], Channel]
    ) -> tuple[Any, StopListening]:
        """Listen without TLS on a selector loop or uvloop."""
        if sock is not None:
            listeners = [sock]
        else:
            server = await self.loop.create_server(accept, address.host, address.port, start_serving=False)
            listeners = [each.dup() for each in server.sockets]
            server.close()
        for each in listeners:
            each.setblocking(False)
            each.listen(BACKLOG)
        stops = [accept_from(self.loop, each, accept, self) for each in listeners]

        def stop() -> None:
            for each in stops:
                each()

        return listeners[0].getsockname(), stop

    def _scheduled_pump(self) -> None:
        self._scheduled = False
        self.run_pump()

    def _arm(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = None if due is None else due + ROUNDING
        self._timer = None if due is None else self.loop.call_at(due, self._timer_fired, context=self._context)

    def _timer_fired(self) -> None:
        if not self.settling:
            self.settling = True
            self._settle(-1, 0, self.now())

    def _settle(self, quiet: int, turns: int, fired: float) -> None:
        """Let the loop read what has arrived, then believe the timer."""
        quiet = 0 if self.has_read else quiet + 1
        self.has_read = False
        if not (self._closed or has_settled(quiet, turns, self.now() - fired)):
            self.loop.call_soon(self._settle, quiet, turns + 1, fired, context=self._context)
            return
        self.settling = False
        if not self._closed:
            self.timeout()

    def _open(self, command: cmd.OpenChannel) -> None:
        task = self.loop.create_task(self._connect(command))
        self.opening[command.channel] = task.cancel
        # A task that was cancelled before it started cannot do this itself, nor can an eager task that is done already.
        task.add_done_callback(lambda _: self._opened(command.channel))

    async def _connect(self, command: cmd.OpenChannel) -> None:
        number = command.channel
        channel = Channel(self, number)
        error: pp.ConnectError | None = None
        try:
            await self._connect_channel(channel, command)
        except Exception as failure:
            error = connect_failure(self._target, command, failure)
        except asyncio.CancelledError:
            if channel in self.open:  # connected all the same; uvloop closes it without calling the channel
                channel.transport.abort()
                channel.connection_lost(None)
            raise
        finally:
            self._opened(number)
        if error is not None:
            self.channel_closed(number, error)

    async def _connect_channel(self, channel: Channel, command: cmd.OpenChannel) -> None:
        target, loop = self._target, self.loop
        name = target.tls_name(command)
        if target.lacks_context(command):
            await loop.run_in_executor(None, default_context)
        options: dict[str, Any] = _tls_options(target.tls_context(command), self.endpoint.limits)
        if target.unix is not None:
            await loop.create_unix_connection(lambda: channel, target.unix, server_hostname=name, **options)
        elif hasattr(loop, "primus_environment"):  # a loop in virtual time has no sockets
            target.check_virtual()
            await loop.create_connection(lambda: channel, command.host, command.port, **options)
        else:
            sock = await self._connect_socket(command)
            await loop.create_connection(lambda: channel, sock=sock, server_hostname=name, **options)

    async def _connect_socket(self, command: cmd.OpenChannel) -> socket.socket:
        target = self._target
        if target.sock is not None:
            return target.take_socket(command.channel)
        proxy = None
        if target.proxy is not None:  # in a thread, because some systems look up names for this
            proxy = await self.loop.run_in_executor(None, target.find_proxy, command)
        if proxy is None:
            return await connect_socket(command.host, command.port, target.local_addr)
        from python_socks.async_.asyncio import Proxy  # an extra, which was looked for when the options were checked

        connected = proxy.make(Proxy).connect(command.host, command.port, local_addr=target.local_addr)
        return cast(socket.socket, await connected)

    def _opened(self, number: int) -> None:
        self.opening.pop(number, None)
        self.wake_waiters()


def _is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    return type(loop).__module__ == "uvloop"


def _tls_options(tls: ssl.SSLContext | None, limits: pp.Limits) -> dict[str, Any]:
    if tls is None:
        return {}
    return {"ssl": tls, "ssl_handshake_timeout": limits.handshake, "ssl_shutdown_timeout": limits.close}


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, lambda: Driver)
create_socket: CreateSocket[Connect] = make_create_socket(__name__, connect)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, lambda: Driver, connect)
create_server: CreateServerFunction[Handler, Authorize, Serve] = make_create_server(__name__, serve, Serve.TYPES)
fetch_spec: FetchSpec = make_fetch_spec(__name__, lambda: Driver)
