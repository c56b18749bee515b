"""Primus without a loop of your own: `connect`, `serve`, `fetch_spec`, which block.

A blocking view of `primus_io.asyncio`, which runs on one background thread. The law kept here: the core and the objects
of the asyncio binding change in that thread only. A call is handed to it and waited for, so an exception in the user's
thread, such as KeyboardInterrupt, interrupts a wait and nothing else.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar, TypeVar, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.options import ClientOptions, ServerOptions
from primus_proto.session.link import encode
from primus_proto.session.messages import Message

from . import _background as loop
from . import asyncio as aio
from ._background import background
from ._client import ClientInfo
from ._entry import ConnectBase, ServeBase, refuse_async
from ._server import SparkInfo, Sparks, check_exclude
from ._session import Emitter, SessionInfo

__all__ = ["Client", "Server", "Spark", "connect", "fetch_spec", "serve"]

T = TypeVar("T")


class View(Emitter):
    """What a client, a server and a spark have in common: listeners, and calls that the loop makes for them."""

    _on_loop: loop.Client | loop.Server | loop.Spark

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[object, object, Callable[..., Any]]] = []  # listeners, and what the loop calls for each

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        refuse_async(listener, "a listener")

        async def call(*args: Any) -> None:
            if known in self._calls:  # no `off` meanwhile
                await background().in_worker(listener, *args)

        known = event, listener, call
        self._calls.append(known)
        self._do(lambda: self._on_loop._listen(event, call))

    def off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Undo one `on`; harmless where there was none. It may be running in another thread, for the last time."""
        known = next((each for each in self._calls if each[:2] == (event, listener)), None)
        if known is not None:
            self._calls.remove(known)
            self._do(lambda: self._on_loop.off(event, known[2]))

    def _do(self, function: Callable[[], T]) -> T:
        """Have the loop call a function and do what follows from it; wait for that."""

        def call() -> T:
            try:
                return function()
            finally:
                self._on_loop._io.pump()

        return background().do(call)


class Session(SessionInfo, View):
    """What a client and a spark have in common. `timeout` is in seconds; TimeoutError says that they have passed."""

    _on_loop: loop.Client | loop.Spark

    def __init__(self, session: loop.Client | loop.Spark, parser: pp.Parser, limit: int) -> None:
        super().__init__()
        self._on_loop = session
        self._core = session._core
        self._parser = parser
        self._limit = limit
        self._handing_over = threading.RLock()  # a signal handler may write, too
        self._pending = 0  # bytes on their way to the loop
        self._received: deque[Any] = deque()

    @property
    def buffered(self) -> int:
        """Bytes written that have not reached the socket."""
        return self._core.buffered + self._pending

    @property
    def needs_drain(self) -> bool:
        """Whether so many bytes wait that `drain` and `send` would wait too."""
        return self._core.needs_drain or self.buffered > self._limit // 2

    def write(self, data: Any) -> bool:
        """Send one value. False when it was not taken: after the end, or because the peer does not read.

        The value is encoded here: raises EncodeError where it cannot be sent. Then it is handed to the loop. This waits
        for the loop only while the answer depends on it: unconnected, or with half of what may be buffered.
        """
        if self._on_loop._is_over:
            return False
        message = encode(self._parser, data)
        taken: list[bool] = []
        with self._handing_over:  # what is counted first is sent first
            is_certain = self.state == "open" and self.buffered < self._limit // 2
            self._pending += message.size
            background().post(self._send, message, taken)
        if not is_certain:
            background().do(lambda: None)  # the loop comes to this after the message
        return taken != [False]

    def _send(self, message: Message, taken: list[bool]) -> None:
        with self._handing_over:
            self._pending -= message.size
        taken.append(self._core.write_message(message))
        if self._core.needs_drain:
            self._on_loop._io.pump()
        else:
            self._on_loop._io.schedule()

    def send(self, data: Any, timeout: float | None = None) -> bool:
        """`write`, and then wait until there is room for more. What TimeoutError is raised for is written all the same.

        Raises EncodeError where the value cannot be sent.
        """
        taken = self.write(data)
        if self.needs_drain:
            background().wait(self._on_loop.drain(), timeout)
        return taken

    def drain(self, timeout: float | None = None) -> None:
        """Wait until there is room for more."""
        if self.needs_drain:
            background().wait(self._on_loop.drain(), timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """The next value; iteration without a loop. Raises ConnectionLost when there will be no more."""
        return self._next(timeout)

    def _next(self, timeout: float | None = None) -> Any:
        while True:
            try:
                return self._received.popleft()
            except IndexError:  # the loop fills it, so that an interrupted wait loses nothing
                background().wait(self._on_loop.receive_all(self._received), timeout)

    def __iter__(self) -> Iterator[Any]:
        self._do(self._on_loop.__aiter__)
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except pp.ConnectionLost:
            raise StopIteration from None

    def wait_ended(self, timeout: float | None = None) -> None:
        """Wait for the `end` event."""
        background().wait(self._on_loop.wait_ended(), timeout)


class Client(ClientInfo, Session):
    """A client, as `connect` gives it. Any number of threads may use it."""

    _on_loop: loop.Client

    def __init__(self, client: loop.Client) -> None:
        super().__init__(client, client._core.parser, client._core.limits.queue)

    @property
    def failure(self) -> Exception | None:
        """What a listener raised; `connect` raises it again when it is left."""
        return self._on_loop.failure

    def id(self, timeout: float | None = None) -> str:
        """Ask the server for the id of this connection's spark; waits for a connection if there is none.

        Raises ConnectionLost when the client ends before there was an answer.
        """
        return background().wait(self._on_loop.id(), timeout)

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Ignored while it is being left, an error after that."""
        self._do(self._on_loop.open)

    def end(self, data: Any = pp.NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        self._do(lambda: self._on_loop.end(data))

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        self._do(self._on_loop.destroy)

    def network_offline(self) -> None:
        """Tell the client that the network is gone: it ends until `network_online`."""
        self._do(self._on_loop.network_offline)

    def network_online(self) -> None:
        """Tell the client that the network is back."""
        self._do(self._on_loop.network_online)


class Spark(SparkInfo, Session):
    """A spark, as a handler or a `connection` listener gets it. Any number of threads may use it."""

    _on_loop: loop.Spark

    def __init__(self, spark: loop.Spark, server: Server) -> None:
        super().__init__(spark, spark._core.server.parser, spark._core.server.limits.backlog)
        self.server = server
        """The server it is a spark of."""

    def end(self, data: Any = pp.NOTHING, *, reconnect: bool = False) -> None:
        """Close the session, after sending `data` if given. The client stays away unless `reconnect`."""
        self._do(lambda: self._on_loop.end(data, reconnect=reconnect))


class Server(View):
    """A server, as `serve` gives it. Any number of threads may use it."""

    NAMES = aio.Server.NAMES
    _SPARK: ClassVar[type[Spark]] = Spark
    _on_loop: loop.Server

    def __init__(self, server: loop.Server) -> None:
        super().__init__()
        self._on_loop = server
        self.sparks: Sparks[Spark] = Sparks(lambda: server._core.sparks, self._view_of)
        """The open sparks by id."""
        self.port = 0
        """The port it listens on."""
        self.url = ""
        """Where a client on this machine finds it."""

    def spark(self, id: str) -> Spark | None:
        """The open spark with this id."""
        return self.sparks.get(id)

    def write(self, data: Any, *, exclude: Collection[Spark] = ()) -> int:
        """Broadcast one value to every spark but those in `exclude`; returns how many there are. Does not wait.

        Raises EncodeError where it cannot be sent, LocalProtocolError where `exclude` is no collection of sparks.
        """
        check_exclude(exclude, Spark)
        message = encode(self._on_loop._core.parser, data)
        excluded = {spark._core for spark in exclude}
        background().post(self._broadcast, message, excluded)
        return sum(core not in excluded for core in self._on_loop._core.sparks.copy().values())

    def _broadcast(self, message: Message, excluded: Collection[object]) -> None:
        for core in self._on_loop._core:
            if core not in excluded:
                core.write_message(message)
        self._on_loop._io.pump()

    def serve_forever(self, timeout: float | None = None) -> None:
        """Serve until the server is closed; raises TimeoutError if that takes longer than so many seconds."""
        background().wait(self._on_loop.serve_forever(), timeout)

    def close(self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0) -> None:
        """Stop listening and end all sparks, after `timeout` seconds if given; wait until all is closed.

        `data` is sent to each spark as it ends; `reconnect` tells the clients to come back. Handlers that have not
        returned some seconds (`Limits.close` and one more) after their spark ended are not waited for any longer: they
        cannot be stopped, but their spark has ended, and what they still wait for from it returns.
        """
        background().wait(self._on_loop.close(data, reconnect=reconnect, timeout=timeout))

    def _view_of(self, core: pp.Spark) -> Spark:
        spark = core.context or self._do(lambda: self._on_loop._spark_of(core))
        return spark._public  # type: ignore[no-any-return]


class connect(ConnectBase):  # noqa: N801  # used like a function, as open() is
    """Connect to a Primus server: ``with connect("http://localhost:8080") as primus: ...``

    Entering and leaving block, and leaving also waits for the listeners that still run. All else is as it is for
    `primus_io.asyncio.connect`.
    """

    DRIVER, CLIENT = aio.Driver, loop.Client
    VIEW: ClassVar[type[Client]] = Client

    def __enter__(self) -> Client:
        background().wait(self._enter())
        return self._view

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        background().wait(self._exit(error))

    async def _begin(self) -> None:
        await super()._begin()
        assert isinstance(self._client, loop.Client)
        self._view = self._client.view = self.VIEW(self._client)

    async def _leave(self) -> None:
        self._client._leaving = True
        self._client._core.end()
        self._io.pump()
        await self._io.within(self._config.limits.close + 1, self._io.finish)  # listeners that still run
        await super()._leave()


class serve(ServeBase):  # noqa: N801  # used like a function, as open() is
    """Serve Primus: ``with serve(handler, "127.0.0.1", 8080) as server: server.serve_forever()``

    `handler` and `authorize` are plain functions; each call of them has a thread of its own. All else is as it is for
    `primus_io.asyncio.serve`.
    """

    DRIVER, SERVER = aio.Driver, loop.Server
    VIEW: ClassVar[type[Server]] = Server

    def __init__(
        self,
        handler: Callable[[Spark], object] | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl.SSLContext | None = None,
        authorize: Callable[[pp.Request], object] | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if handler is not None and not callable(handler):
            raise pp.ConfigError(f"the handler must be a plain function taking a spark, or None; got {handler!r}")
        refuse_async(handler, "the handler")
        refuse_async(authorize, "authorize=")
        super().__init__(None, host, port, unix=unix, ssl=ssl, authorize=authorize, **options)
        worker = background().in_worker
        self._handler = None if handler is None else lambda spark: worker(handler, spark._public)
        self._authorize = None if authorize is None else lambda request: worker(authorize, request)

    def __enter__(self) -> Server:
        server = background().wait(self._enter())
        self._view.port, self._view.url = server.port, server.url
        return self._view

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        background().wait(self._exit())

    async def _begin(self) -> None:
        await super()._begin()
        assert isinstance(self._server, loop.Server)
        self._view = self._server.view = self.VIEW(self._server)


def fetch_spec(
    url: str,
    *,
    ssl: ssl.SSLContext | None = None,
    unix: str | os.PathLike[str] | None = None,
    **options: Unpack[ClientOptions],
) -> dict[str, Any]:
    """Ask a server what it is, as `primus_io.asyncio.fetch_spec`; blocks."""
    return background().wait(aio.fetch_spec(url, ssl=ssl, unix=unix, **options))
