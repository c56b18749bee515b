"""asyncio in virtual time: your own handlers and clients, `primus_io.asyncio` unchanged, on a network in memory.

    network = VirtualNetwork(latency=0.05, seed=1)

    async def main():
        async with serve(handler, "server", 80), connect("http://server") as primus:
            network.partition(primus)
            await asyncio.sleep(3600)  # takes no time

    run(main(), network)

The law kept here: nothing waits. Time passes only when the loop has nothing left to do, straight to whatever is due
next, of the loop's timers and of the network's deliveries; with the same seed everything repeats.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import inspect
import itertools
import logging
import math
import random
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.network import TimeStandsStill
from primus_proto.testing.nodes import Node

from ._awaiting import AsyncClient, AsyncServer
from ._driver import Driver
from ._session import log
from ._virtual.nodes import CallerNode, ListenerNode, LoopNode, StreamServer
from ._virtual.streams import Stream, system_error
from .asyncio import Channel

__all__ = ["VirtualLoop", "VirtualNetwork", "run"]

T = TypeVar("T")

LIMIT = 2 * 86400.0
FIRST_PORT = 49152  # of those that `port=0` picks from

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
    witness = _Witness()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(network, limit=limit)) as runner, witness:
        try:
            result = runner.run(main)
            if witness.errors and not handlers_may_raise:
                raise witness.errors[0]
            return result
        except BaseException as error:
            failure = error
            cast(VirtualLoop, runner.get_loop()).failed = True
    # Not before all is cleaned up: every task that is cancelled for it would show this, and the trace, as its context.
    try:
        raise failure
    finally:
        del failure


class _Witness(logging.Handler):
    """Sees what the binding catches and logs: what the application's own functions raise."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    def __enter__(self) -> None:
        log.addHandler(self)

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is a network's, and whose connections are byte streams on that.

    There are `create_connection` and `create_server`, without TLS; what they are told of sockets, families and names is
    ignored. What `run_in_executor` is given is called at once, in this thread, and takes no virtual time.
    """

    def __init__(self, network: VirtualNetwork | None = None, *, limit: float = LIMIT) -> None:
        super().__init__()
        self.network = network if network is not None else VirtualNetwork()
        if self.network.runner is not None:
            super().close()
            raise RuntimeError("another loop runs this network")
        self.network.runner = self
        self.numbers = itertools.count(1)
        """Of streams."""
        self.failed = False
        """What was run has raised: what is left open is no fault of its own then."""
        self._limit = limit
        self._deadline = self.network.now + limit
        self._nodes: WeakValueDictionary[int, LoopNode] = WeakValueDictionary()
        self._owners: WeakKeyDictionary[object, ref[LoopNode]] = WeakKeyDictionary()
        self._added = itertools.count()
        self._ports = itertools.count(FIRST_PORT)
        self._stranger: RuntimeError | None = None
        self._selector = self  # BaseEventLoop asks it to wait

    # --- time, and what else is the world's ---

    def time(self) -> float:
        """The network's clock."""
        return self.network.now

    @property
    def wall_offset(self) -> float:
        """Unix time minus the clock."""
        return self.network.wall_offset

    def new_rng(self) -> random.Random:
        """Randomness for one endpoint."""
        return self.network.fork()

    def select(self, timeout: float | None) -> list[object]:
        """Let time pass: none (`timeout` 0) where there is something to do, else to what is due next."""
        if self._stranger is not None:  # the thread may have nobody to tell
            stranger, self._stranger = self._stranger, None
            raise stranger
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        network = self.network
        until = network.now if timeout == 0 else timers[0].when() if timers else math.inf
        stuck = "" if until < math.inf else "nothing is due any more"
        try:
            if network.step(until):
                stuck = ""
        except TimeStandsStill:
            stuck = "time stands still"
        if stuck:
            self._fail(stuck)
        if network.now > self._deadline:
            self._fail(f"it is not over after {self._limit:.10g} s, its `limit`")
        self._clock_resolution = math.ulp(network.now)  # timers run at their time, none before
        return []

    def _fail(self, what: str) -> NoReturn:
        self._deadline = self.network.now + self._limit  # for those that clean up
        waiting = "\n".join(sorted(map(_whereabouts, asyncio.all_tasks(self))))
        raise AssertionError(f"{what}, and these still wait:\n{waiting}\n{self.network.story()}")

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
        node = self._caller(owner)
        return await node.call(protocol, host, port), protocol

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
        while port == 0:
            port = next(port for port in self._ports if self.network.listener(host, port) is None)
        if self.network.listener(host, port) is not None:
            raise system_error(errno.EADDRINUSE)
        owner = getattr(protocol_factory, "__self__", None)
        owner = owner if isinstance(owner, Driver) else protocol_factory
        node = ListenerNode(self.network, self, owner, protocol_factory, (host, port))
        self._add(node, owner)
        self.network.listen(node, host, port)
        return StreamServer(node)

    # --- nodes, for the network ---

    def nodes(self) -> list[LoopNode]:
        """Those that are there."""
        return list(self._nodes.values())

    def node_of(self, who: object) -> Node | None:
        """The node of a client or server of `primus_io.asyncio`."""
        if isinstance(who, AsyncClient):
            return self._caller(who._io)
        return self._owned(who._io) if isinstance(who, AsyncServer) else None

    def _caller(self, owner: object) -> CallerNode:
        node = self._owned(owner)
        if not isinstance(node, CallerNode):
            node = CallerNode(self.network, self, owner)
            self._add(node, owner)
        return node

    def _owned(self, owner: object) -> LoopNode | None:
        known = self._owners.get(owner)
        return None if known is None else known()

    def _add(self, node: LoopNode, owner: object) -> None:
        self._nodes[next(self._added)] = node
        self._owners[owner] = ref(node)

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
        if closed:
            return
        left = [what for node in self.nodes() for what in node.shut()]
        self.network.runner = None
        if left and not self.failed and sys.exc_info()[0] is None:  # what has failed must not look like this
            warnings.warn(f"left open: {', '.join(left)}", ResourceWarning, stacklevel=2)

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


def _whereabouts(task: asyncio.Task[Any]) -> str:
    """A task, and the calls in which it waits."""
    calls: list[str] = []
    coroutine: object = task.get_coro()
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame is not None:
        calls.append(f"{coroutine.__qualname__}:{coroutine.cr_frame.f_lineno}")
        coroutine = coroutine.cr_await
    return f"  {task.get_name()}: {' > '.join(calls)}"


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(f"a virtual loop has no {name}, but create_connection and create_server, without TLS")

    return refuse


for _name in ABSENT:
    setattr(VirtualLoop, _name, _refusal(_name))
