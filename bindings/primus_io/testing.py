"""asyncio or trio in virtual time: your own handlers and clients, the binding unchanged, on a network in memory.

    network = VirtualNetwork(latency=0.05, seed=1)

    async def main():
        async with serve(handler, "server", 80), connect("http://server") as primus:
            network.partition(primus)
            await asyncio.sleep(3600)  # takes no time

    run(main(), network)  # on trio: run_trio(main, network)

The law kept here: nothing waits. Time passes only when the loop has nothing left to do, straight to whatever is due
next, of the loop's timers and of the network's deliveries; with the same seed everything repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from primus_proto.testing import VirtualNetwork

from ._driver import Driver
from ._virtual.nodes import ListenerNode
from ._virtual.streams import Stream, StreamServer
from ._virtual.world import LIMIT, Witness, World, whereabouts
from .asyncio import Channel

__all__ = ["VirtualLoop", "VirtualNetwork", "run", "run_trio"]

T = TypeVar("T")

ABSENT = (
    *("add_reader", "remove_reader", "add_writer", "remove_writer", "add_signal_handler", "remove_signal_handler"),
    *("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto"),
    *("sock_connect", "sock_accept", "sock_sendfile", "sendfile", "start_tls", "connect_accepted_socket"),
    *("create_datagram_endpoint", "create_unix_connection", "create_unix_server", "getaddrinfo", "getnameinfo"),
    *("connect_read_pipe", "connect_write_pipe", "subprocess_shell", "subprocess_exec"),
)


def run(
    main: Coroutine[Any, Any, T],
    network: VirtualNetwork | None = None,
    *,
    limit: float = LIMIT,
    handlers_may_raise: bool = False,
) -> T:
    """`asyncio.run` in virtual time, on this network, or one of its own.

    Raises AssertionError, with the end of the network's trace, if nothing is due any more and `main` has not returned,
    if it has not after `limit` seconds of virtual time, or if time stands still because something never waits.

    Once `main` has returned, raises what a handler, listener or authorization hook raised first, unless they may. In
    production nothing but their spark or client ends by that.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("run() makes a loop, and one is running here already: await the coroutine instead")
    try:
        loop = VirtualLoop(network, limit=limit)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=lambda: loop) as runner, Witness() as witness:
        try:
            result = runner.run(main)
            if not handlers_may_raise:
                witness.tell()
            return result
        except BaseException as error:
            failure = error
        loop.failed = True
        loop.give_up(main)
    # Not before all is cleaned up: every task that is cancelled for it would show this, and the trace, as its context.
    try:
        raise failure
    finally:
        del failure


def run_trio(
    main: Callable[[], Awaitable[T]],
    network: VirtualNetwork | None = None,
    *,
    limit: float = LIMIT,
    handlers_may_raise: bool = False,
) -> T:
    """`trio.run` in virtual time: what `run` is for asyncio. `main` is an async function without parameters."""
    from . import trio  # noqa: F401  # only here: asyncio's users need none; who does and has none is told how to get it
    from ._virtual import trio as kit

    return kit.run(main, network, limit, handlers_may_raise)


class VirtualLoop(World, asyncio.BaseEventLoop):
    """An event loop whose time is a network's, and whose connections are byte streams on that.

    There are `create_connection` and `create_server`, without TLS; what they are told of sockets, families and names is
    ignored. What `run_in_executor` is given is called at once, in this thread, and takes no virtual time.
    """

    def __init__(self, network: VirtualNetwork | None = None, *, limit: float = LIMIT) -> None:
        asyncio.BaseEventLoop.__init__(self)
        try:
            World.__init__(self, network, limit)
        except BaseException:
            asyncio.BaseEventLoop.close(self)
            raise
        self._stranger: RuntimeError | None = None
        self._selector = self  # BaseEventLoop asks it to wait

    def give_up(self, main: Coroutine[Any, Any, Any]) -> None:
        """Cancel the task of `main`, before all others are, so that what it has entered closes them in order."""
        for task in asyncio.all_tasks(self):
            if task.get_coro() is main:
                task.cancel()
                with contextlib.suppress(AssertionError):  # it goes on waiting: the first failure has told why
                    self.run_until_complete(asyncio.wait([task]))

    # --- time, and what else is the world's ---

    def time(self) -> float:
        """The network's clock."""
        return self.network.now

    def happening(self) -> asyncio.Event:
        return asyncio.Event()

    def select(self, timeout: float | None) -> list[object]:
        """Let time pass: none (`timeout` 0) where there is something to do, else to what is due next."""
        if self._stranger is not None:  # the thread may have nobody to tell
            stranger, self._stranger = self._stranger, None
            raise stranger
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        now = self.network.now
        until = now if timeout == 0 else timers[0].when() if timers else math.inf
        if stuck := self.advance(until):
            raise self.failure(
                stuck, (whereabouts(task.get_name(), task.get_coro()) for task in asyncio.all_tasks(self))
            )
        self._clock_resolution = math.ulp(self.network.now)  # timers run at their time, none before
        return []

    # --- connections ---

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        sock: None = None,
        **options: object,
    ) -> tuple[Stream, asyncio.BaseProtocol]:
        """Connect to what listens at `host`:`port` on the network. Raises OSError where nothing does, and for TLS."""
        host, port = _address(host, port, ssl, sock)
        protocol = protocol_factory()
        owner = protocol._driver if isinstance(protocol, Channel) else protocol
        node = self.caller(owner)

        def opened(number: int, address: tuple[str, int], answer: Callable[[], None]) -> Stream:
            stream = Stream(self, node, number, protocol, {"peername": (host, port), "sockname": address})
            stream.soon(answer)  # after `connection_made`
            return stream

        return await node.call(host, port, opened), protocol

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        sock: None = None,
        **options: object,
    ) -> StreamServer:
        """Listen at `host`:`port` of the network. Raises OSError where something does already, and for TLS."""
        host, port = _address(host or "", port or 0, ssl, sock)
        owner = getattr(protocol_factory, "__self__", None)
        owner = owner if isinstance(owner, Driver) else protocol_factory

        def accepted(node: ListenerNode, number: int, peer: tuple[str, int]) -> Stream:
            return Stream(self, node, number, protocol_factory(), {"peername": peer, "sockname": node.address})

        return StreamServer(self, self.listen(owner, accepted, host, port))

    # --- what the rest of asyncio asks of a loop ---

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """`call_soon`, for those in the loop's own thread."""
        if self.is_running() and threading.get_ident() != self._thread_id:  # type: ignore[attr-defined]
            self._stranger = RuntimeError(
                "a virtual loop has no other threads, for time does not wait for them: call what blocks by "
                "asyncio.to_thread or run_in_executor"
            )
            raise self._stranger
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Close the loop, and let go of the network. What is left open there is a ResourceWarning."""
        closed = self.is_closed()
        super().close()
        if not closed:
            self.failed = self.failed or sys.exc_info()[0] is not None  # what has failed must not look like this
            self.leave()

    def _process_events(self, events: list[object]) -> None:
        """There are none: the network has told the streams."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken."""


def _address(host: str | None, port: int | None, ssl: object, sock: object) -> tuple[str, int]:
    if ssl:
        raise OSError("there is no TLS on a virtual network: use http:// and no ssl=")
    if sock is not None or not isinstance(host, str) or not isinstance(port, int):
        raise ValueError("on a virtual network a host and a port are needed, and no socket")
    return host, port


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(f"a virtual loop has no {name}, but create_connection and create_server, without TLS")

    return refuse


for _name in ABSENT:
    setattr(VirtualLoop, _name, _refusal(_name))
