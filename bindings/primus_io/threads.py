"""Primus without an event loop of your own: `connect`, `serve` and `fetch_spec` block.

Methods that block take a `timeout` in seconds and raise TimeoutError after it. Any number of threads may use an object.
One background thread runs the loop of `primus_io.asyncio`. Objects and core change in that thread only: a call is
handed to it and waited for. So an exception in the user's thread, such as KeyboardInterrupt, only interrupts a wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, TypeVar, Unpack, cast

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.config import ASKED
from primus_proto.options import ClientOptions, URLSource
from primus_proto.plugins import Reply
from primus_proto.session.encoding import encode
from primus_proto.session.messages import Message
from primus_proto.session.transforms import Transform

from . import _common
from . import asyncio as aio
from ._announcing import Announcement
from ._client import ClientBase
from ._common import *  # noqa: F403
from ._emitter import Emitter
from ._entry import ConnectBase, ServeBase, check_plain
from ._functions import (
    ConnectFunction,
    CreateServerFunction,
    ServeFunction,
    make_connect,
    make_create_server,
    make_serve,
)
from ._listeners import SparkListeners
from ._loop_thread import WAKE_UP, loop_thread
from ._once import Once
from ._pumping import check_source
from ._server import ServerBase, SparkBase, check_sparks
from ._session import MESSAGE_OVERHEAD, Session
from ._sockets import CreateSocket, SocketFactory, make_create_socket
from ._transforming import Transforming
from ._turns import Turn

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

T = TypeVar("T")

OVERTAKE = 0.05
"""Seconds after which the listeners of other events no longer wait for a listener to return."""


class InWorker:
    """A user's function as an async one, which calls it in a worker thread."""

    removed = False  # a listener that `off` was called for; it may still be queued

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        check_plain(function, what)
        self.function = function

    async def __call__(self, *args: Any) -> Any:
        if not self.removed:
            return await loop_thread().in_worker(self.function, *args)


class ThreadSafe(Transforming, Emitter):
    """Calls from other threads, handed to the loop."""

    def _step(self, function: Transform) -> Transform:
        return InWorker(function, "a transform")

    def _do(self, function: Callable[[], T]) -> T:
        return loop_thread().do(function)

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        call: Callable[..., Any]
        if isinstance(listener, Once):
            call = Once(self, event, InWorker(listener.function, "a listener"))
        else:
            call = InWorker(listener, "a listener")
        self._do(lambda: self._add(event, call))

    def _off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        def remove() -> None:
            for call in self._listeners.get(event, ()):
                worker = call.function if isinstance(call, Once) else call
                if isinstance(worker, InWorker) and worker.function == listener:
                    worker.removed = True
                    return self._remove(event, call)

        self._do(remove)


class ThreadSession(ThreadSafe, Session):
    """What a client and a spark share."""

    def __init__(self, core: pp.Client | pp.Spark) -> None:
        super().__init__(core)
        self._limit = core.limits.queue if isinstance(core, pp.Client) else core.server.limits.backlog
        self._handing_over = threading.RLock()  # reentrant, because a signal handler may write
        self._received: deque[Any] = deque()
        self._overtaking: dict[Turn, asyncio.TimerHandle] = {}

    @property
    def needs_drain(self) -> bool:
        return self._core.needs_drain or self.buffered > self._limit // 2

    def write(self, data: Any) -> bool:
        # Waits for the loop only if the answer depends on it: without a connection, or with half of the limit used.
        if self._is_over:
            return False
        if self._core.has_outgoing:
            return self._do(lambda: super(ThreadSession, self).write(data))
        message = encode(self._core.parser, data)
        taken: list[bool] = []
        with self._handing_over:  # counted and posted in one step, so that the order is the same
            is_certain = self._core.ready_state is pp.ReadyState.OPEN and self.buffered < self._limit // 2
            self._handed_over += message.size
            loop_thread().post(self._write_message, message, taken)
        if not is_certain:
            loop_thread().do(lambda: None)  # runs after the message
        return taken != [False]

    def _write_message(self, message: Message, taken: list[bool]) -> None:
        with self._handing_over:
            self._handed_over -= message.size
        taken.append(self._core.write_message(message))
        (self._io.pump if self._core.needs_drain else self._io.schedule)()

    def send(self, data: Any, timeout: float | None = None) -> bool:
        """`write`, then wait until there is room for more. After a TimeoutError the value is written all the same."""
        taken = self.write(data)
        ThreadSession.drain(self, timeout)
        return taken

    def drain(self, timeout: float | None = None) -> None:
        if self.needs_drain:
            loop_thread().wait(self._until_drained(), timeout)

    def receive(self, timeout: float | None = None) -> Any:
        while True:
            try:
                return self._received.popleft()
            except IndexError:
                loop_thread().wait(self._receive_all(), timeout)

    async def _receive_all(self) -> None:
        """Wait for a value. Take it and all others that are there now, so that an interrupted wait loses nothing."""
        self._received.append(await self._receive())
        while self._inbox:  # without awaiting: more may arrive all the time, and the reader waits
            self._received.append(self._take_first().data)

    def __iter__(self) -> Iterator[Any]:
        self._do(self._begin_iterating)
        return self

    def __next__(self) -> Any:
        try:
            return ThreadSession.receive(self)
        except pp.ConnectionLost:
            raise StopIteration from None

    def wait_for(self, event: str | type[ev.Event], timeout: float | None = None) -> Any:
        return loop_thread().wait(self._wait_for(event, timeout))

    def wait_ended(self, timeout: float | None = None) -> None:
        loop_thread().wait(self._until_ended(), timeout)

    def wait_for_reply(self, reply: Reply[Any]) -> None:
        done = threading.Event()
        self._do(lambda: reply.add_done_callback(done.set))
        while not done.wait(WAKE_UP):
            pass

    def pump(self, source: Iterable[Any]) -> int:
        check_source(source, (Iterable,), "an iterable of values")
        count = 0
        for value in source:
            if not ThreadSession.send(self, value):
                break
            count += 1
        return count

    def relay(self, other: ThreadSession) -> int:
        if not isinstance(other, ThreadSession):
            raise pp.LocalProtocolError(f"relay takes a client or spark to send to; got {type(other).__name__}")
        return ThreadSession.pump(other, ThreadSession.__iter__(self))

    # --- events, on the loop ---

    def _deliver_call(self, event: ev.Delivery) -> None:
        function = InWorker(event.function, "a function that a transform delivers to")
        self._call(function, event.arguments, event.topic, event.size + MESSAGE_OVERHEAD)

    def _turn_begins(self, turn: Turn) -> None:
        def let_others_start() -> None:
            turn.begun = True
            if self._turns is not None:
                self._turns.changed()

        self._overtaking[turn] = asyncio.get_running_loop().call_later(OVERTAKE, let_others_start)

    def _turn_ends(self, turn: Turn) -> None:
        self._overtaking.pop(turn).cancel()
        if turn.event == "data" and self._turns is not None and self._turns.is_last(turn) and self._is_listened_to():
            self._emit_first(self._end_count)

    # A listener may remove itself, or end the session. So what arrives while it runs waits in the inbox.

    def _deliver_data(self, event: ev.DataReceived | ev.SparkData, heard: bool = False) -> None:
        if heard or self._iterating or self._turns is None or self._turns.current("data") is None:
            super()._deliver_data(event, heard)
        else:
            self._keep(event)
            self._turns.watch()

    def _waits_for(self, turn: Turn) -> bool:
        return turn.event == "data" and self._is_listened_to()

    def _is_inbox_due(self) -> bool:
        return self._is_listened_to() and (self._turns is None or self._turns.current("data") is None)

    def _is_listened_to(self) -> bool:
        """Whether listeners are to have what is in the inbox."""
        return super()._is_inbox_due()

    def _end_with(self, end: Callable[[], object]) -> None:
        super()._end_with(end)
        while self._inbox and self._is_listened_to():
            self._take_first()

    def _is_inside(self, turn: Turn) -> bool:
        return True  # a thread that a listener has started does not know of it


class Client(ThreadSession, ClientBase):
    """A client, as `connect` gives it."""

    def id(self, timeout: float | None = None) -> str:
        return loop_thread().wait(self._request_id(), timeout)

    def wait_open(self, timeout: float | None = None) -> None:
        loop_thread().wait(self._until_is_open(), timeout)

    def _call_function(self, function: Callable[[], Any]) -> Any:
        return loop_thread().in_worker(function)


class Spark(SparkListeners["Spark"], ThreadSession, SparkBase):
    """A spark, as a handler or a `connection` listener gets it."""

    _unannounced: ev.SparkConnected | None = None  # its `connection` event, while that had no listener

    def __init__(self, core: pp.Spark, server: Server) -> None:
        super().__init__(core)
        self._io = server._io
        self.server: Server = server
        """The server that it belongs to."""


class Server(ThreadSafe, ServerBase[Spark]):
    """A server, as `serve` gives it."""

    _SPARK = Spark

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._handing_over = threading.RLock()  # reentrant, because a signal handler may write
        self._handed_over = 0  # bytes of broadcasts on the way to the loop

    def write(self, data: Any, *, to: Collection[Spark] | None = None, exclude: Collection[Spark] = ()) -> int:
        """Broadcast as on asyncio. Returns how many sparks are open and meant.

        Waits only for the thread that does the IO, while half of `Limits.backlog` is on its way to that.
        """
        meant = None if to is None else set(check_sparks("to", to))
        excluded = set(check_sparks("exclude", exclude))
        if not self._core.encodes_once:
            return self._do(lambda: super(Server, self).write(data, to=to, exclude=exclude))
        message = encode(self._core.parser, data)
        with self._handing_over:
            self._handed_over += message.size
            is_far_ahead = self._handed_over > self._core.limits.backlog // 2
            loop_thread().post(self._broadcast, message, meant, excluded)
        if is_far_ahead:
            loop_thread().do(lambda: None)  # runs after the message
        cores = self._core.sparks.copy().values()
        return sum(core not in excluded and (meant is None or core in meant) for core in cores)

    def _broadcast(self, message: Message, meant: set[pp.Spark] | None, excluded: set[pp.Spark]) -> None:
        with self._handing_over:
            self._handed_over -= message.size
        for core in self._core if meant is None else meant:
            if core not in excluded:
                core.write_message(message)
        self._io.pump()

    def for_each(self, function: Callable[[Spark], object]) -> None:
        """Call `function(spark)` for each open spark, one after the other, until it returns False."""
        check_plain(function, "for_each's function")
        self._for_each_now(function)

    def wait_for(self, event: str | type[ev.Event], timeout: float | None = None) -> Any:
        return loop_thread().wait(self._wait_for(event, timeout))

    def use(self, name: Any, plugin: Any = None) -> None:
        use = super().use
        self._do(lambda: use(name, plugin))

    def plugout(self, name: str) -> bool:
        plugout = super().plugout
        return self._do(lambda: plugout(name))

    def serve_forever(self, timeout: float | None = None) -> None:
        loop_thread().wait(self._until_closed(), timeout)

    def close(
        self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0, close: bool = True
    ) -> None:
        loop_thread().wait(self._close(data, reconnect=reconnect, timeout=timeout, close=close))

    def _to_await(self, function: Callable[..., Any]) -> InWorker:
        return InWorker(function, "a layer")

    def _spark_of(self, core: pp.Spark) -> Spark:
        return core.context or self._do(lambda: super(Server, self)._spark_of(core))

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """Call a new listener for what it has missed: the ready server, or the open sparks without a listener."""
        super()._listener_added(event)
        call = self._listeners[event][-1]
        if event in ("initialised", ev.Initialised):
            self._call(call, (ev.Initialised(),) if event is ev.Initialised else (), "initialised", 0)
        elif event in ("connection", ev.SparkConnected):
            for spark in self.sparks.values():
                missed, spark._unannounced = spark._unannounced, None
                first = None if missed is None else call(missed if event is ev.SparkConnected else spark)
                if first is not None:
                    Announcement(self, spark, iter(()), handled=False).start(first)

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        if type(event) is ev.Initialised:  # a listener got it when it was added
            return True
        return super()._emit(event, args, size, owner)

    def _not_announced(self, spark: Spark, event: ev.SparkConnected[Any]) -> None:
        spark._unannounced = event


class Connect(ConnectBase[Client]):
    """An entered `connect` has a client."""

    CALL: ClassVar[str] = "with connect(...) as primus:"
    CLIENT: Callable[[pp.Client], Client] = Client
    WAIT_FOR_LISTENERS: ClassVar[bool] = True

    def _check_option(self, name: str, function: object) -> None:
        check_plain(function, f"{name}=")

    def __enter__(self) -> Client:
        return loop_thread().wait(self._enter())

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        loop_thread().wait(self._exit(error))

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            self._misused()

        __aexit__ = ConnectBase._misused


Handler = Callable[[Spark], object]
Authorize = Callable[[pp.Request], object]


class Serve(ServeBase[Server, Handler, Authorize]):
    """An entered `serve` has a server."""

    CALL: ClassVar[str] = "with serve(...) as server:"
    TYPES: ClassVar[Mapping[str, str]] = {"H": "Callable[[Spark], object]", "A": "Callable[[Request], object]"}
    SERVER: Callable[[pp.ByteServer, Any, Any], Server] = Server

    def _check(self, function: Any, what: str) -> InWorker:
        return InWorker(function, what)

    def __enter__(self) -> Server:
        return loop_thread().wait(self._enter())

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        loop_thread().wait(self._exit())

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            self._misused()

        __aexit__ = ConnectBase._misused


connect: ConnectFunction[Connect] = make_connect(__name__, Connect, lambda: aio.Driver)
create_socket: CreateSocket[Connect] = make_create_socket(__name__, connect)
serve: ServeFunction[Handler, Authorize, Serve] = make_serve(__name__, Serve, lambda: aio.Driver, connect)
create_server: CreateServerFunction[Handler, Authorize, Serve] = make_create_server(__name__, serve, Serve.TYPES)


def fetch_spec(  # noqa: D103, below
    url: URLSource,
    *,
    ssl: ssl.SSLContext | None = None,
    unix: str | os.PathLike[str] | None = None,
    server_hostname: str | None = None,
    local_addr: tuple[str, int] | None = None,
    sock: socket.socket | None = None,
    proxy: str | Literal[True] | None = None,
    **options: Unpack[ClientOptions],
) -> dict[str, Any]:
    values: Any = {name: value() if callable(value) and name in ASKED else value for name, value in options.items()}
    url = cast(str, url() if callable(url) else url)  # in this thread, which may wait
    ways: Any = {"server_hostname": server_hostname, "local_addr": local_addr, "sock": sock, "proxy": proxy}
    return loop_thread().wait(aio.fetch_spec(url, ssl=ssl, unix=unix, **ways, **values))


fetch_spec.__doc__ = aio.fetch_spec.__doc__
fetch_spec.__annotations__["url"] = "str | Callable[[], str]"
for _class, _original in ((ThreadSession, aio.Client), (Client, aio.Client), (Server, aio.Server)):
    for _name, _member in vars(_class).items():
        if not _name.startswith("_") and _member.__doc__ is None:
            _member.__doc__ = getattr(_original, _name).__doc__
