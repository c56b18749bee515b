"""asyncio in virtual time: your own handlers and clients on a network in memory, with the real binding.

    network = VirtualNetwork(latency=0.05, seed=1)

    async def main():
        async with serve(handler, "server", 80), connect("http://server") as primus:
            network.partition(primus)
            await asyncio.sleep(3600)  # takes no time

    run(main(), network)

Nothing really waits. When the loop has nothing left to do, its clock jumps to whatever is due next: a timer of the loop
or a delivery of the network. With the same seed a run repeats exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NoReturn, TypeVar

from primus_proto.testing import VirtualNetwork

from ._virtual.failures import FailureRecorder, describe_wait
from ._virtual.nodes import ListenerNode
from ._virtual.runtime import DEFAULT_LIMIT, VirtualEnvironment, VirtualRuntime
from ._virtual.streams import Stream, StreamServer
from .asyncio import Channel

__all__ = ["VirtualLoop", "VirtualNetwork", "run"]

T = TypeVar("T")

UNSUPPORTED = (
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
    limit: float = DEFAULT_LIMIT,
    handlers_may_raise: bool = False,
) -> T:
    """`asyncio.run` in virtual time, on this network or a new one.

    Raises AssertionError, with the end of the network's trace, in three cases: nothing is due any more and `main` has
    not returned; `main` has not returned after `limit` seconds of virtual time; time stands still, because a task never
    waits.

    After `main` has returned, raises the first exception that a handler, a listener or an authorization hook raised,
    unless `handlers_may_raise`. In production such an exception ends only the spark or client it belongs to.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("run() makes a loop, but one is running already: await the coroutine instead")
    try:
        loop = VirtualLoop(network, limit=limit)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=lambda: loop) as runner, FailureRecorder() as recorder:
        try:
            result = runner.run(main)
            if not handlers_may_raise:
                recorder.raise_first()
            return result
        except BaseException as error:
            failure = error
        loop.failed = True
        loop.give_up(main)
    # Raised only after the clean-up, or each cancelled task would have this error as its context.
    try:
        raise failure
    finally:
        del failure


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that runs on the clock of a network. Its connections are byte streams on that network.

    It has `create_connection` and `create_server`, without TLS. It ignores options about sockets, address families and
    names. `run_in_executor` calls the function at once in this thread, which takes no virtual time.
    """

    def __init__(self, network: VirtualNetwork | None = None, *, limit: float = DEFAULT_LIMIT) -> None:
        super().__init__()
        try:
            self.runtime: VirtualRuntime = VirtualRuntime(network, limit)
        except BaseException:
            super().close()
            raise
        self.network: VirtualNetwork = self.runtime.network
        self.primus_environment: VirtualEnvironment = VirtualEnvironment(self.network)
        """The clock and the randomness for drivers."""
        self.failed = False
        """Whether the run has raised. Then open connections are not reported."""
        self._intrusion: RuntimeError | None = None
        self._selector = self  # BaseEventLoop calls its `select` to wait

    def give_up(self, main: Coroutine[Any, Any, Any]) -> None:
        """Cancel the task of `main` before all others, so that the blocks it has entered close in order."""
        for task in asyncio.all_tasks(self):
            if task.get_coro() is main:
                task.cancel()
                with contextlib.suppress(AssertionError):  # it still waits; the first failure says why
                    self.run_until_complete(asyncio.wait([task]))

    # --- time ---

    def time(self) -> float:
        """The network's clock."""
        return self.network.now

    def select(self, timeout: float | None) -> list[object]:
        """Let time pass: none if there is something to do (`timeout` is 0), otherwise until the next due time."""
        if self._intrusion is not None:  # raised here too, because the other thread may hide it
            intrusion, self._intrusion = self._intrusion, None
            raise intrusion
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        now = self.network.now
        until = now if timeout == 0 else timers[0].when() if timers else math.inf
        if problem := self.runtime.advance(until):
            tasks = asyncio.all_tasks(self)
            raise self.runtime.failure(problem, (describe_wait(task.get_name(), task.get_coro()) for task in tasks))
        self._clock_resolution = math.ulp(self.network.now)  # so that no timer runs early
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
        """Connect to the listener at `host`:`port` on the network. Raises OSError if there is none, and for TLS."""
        host, port = _address(host, port, ssl, sock)
        protocol = protocol_factory()
        node = self.runtime.caller(protocol.driver if isinstance(protocol, Channel) else protocol)

        def opened(number: int, address: tuple[str, int], finished: Callable[[], None]) -> Stream:
            stream = Stream(self, node, number, protocol, {"peername": (host, port), "sockname": address})
            stream.soon(finished)  # after `connection_made`
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
        """Listen at `host`:`port` on the network. Raises OSError if the address is in use, and for TLS."""
        host, port = _address(host or "", port or 0, ssl, sock)

        def accepted(node: ListenerNode, number: int, peer: tuple[str, int]) -> Stream:
            return Stream(self, node, number, protocol_factory(), {"peername": peer, "sockname": node.address})

        return StreamServer(self, self.runtime.listen(_server_owner(protocol_factory), accepted, host, port))

    # --- the rest of what asyncio needs ---

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """The same as `call_soon`. Raises RuntimeError in another thread."""
        if self.is_running() and threading.get_ident() != self._thread_id:  # type: ignore[attr-defined]
            self._intrusion = RuntimeError(
                "a virtual loop cannot be called from other threads, because its time does not wait for them: run "
                "blocking functions with asyncio.to_thread or run_in_executor"
            )
            raise self._intrusion
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` at once in this thread."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Close the loop and release the network. Warns with ResourceWarning about connections that are still open."""
        closed = self.is_closed()
        super().close()
        if not closed:
            self.runtime.close(failed=self.failed or sys.exc_info()[0] is not None)

    def _process_events(self, events: list[object]) -> None:
        """Do nothing: the network calls the streams."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never sleeps."""


def _server_owner(protocol_factory: Callable[[], asyncio.BaseProtocol]) -> object:
    """The owner of a listener: its driver, so that the node of a server can be found, or otherwise the factory."""
    if isinstance(protocol_factory, partial) and protocol_factory.func is Channel:
        return protocol_factory.args[0]
    return protocol_factory


def _address(host: str | None, port: int | None, ssl: object, sock: object) -> tuple[str, int]:
    if ssl:
        raise OSError("a virtual network has no TLS: use http:// and no ssl=")
    if sock is not None or not isinstance(host, str) or not isinstance(port, int):
        raise ValueError("a virtual network needs a host and a port, and no socket")
    return host, port


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(f"a virtual loop has no {name}, only create_connection and create_server without TLS")

    return refuse


for _name in UNSUPPORTED:
    setattr(VirtualLoop, _name, _refusal(_name))
