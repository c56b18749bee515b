"""What users of the binding that blocks hold: `_facade`'s objects, with what waits as plain methods.

The law kept here: what is the user's runs in a thread of the pool and never under the lock; the listeners of one
session one after the other, in the order of its events. A `connection` listener runs while more comes in, so who hears
an event is decided when its turn has come, not when it arrives. State changes at once: whoever iterates or waits in a
listener waits for the peer, not for the turns behind its own.
"""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Callable, Collection, Coroutine, ItemsView, Iterator, ValuesView
from types import TracebackType
from typing import Any, Protocol, TypeVar, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.options import ClientOptions

from .._driver import Driver
from .._entry import Asking, Connecting, Serving
from .._facade import Authorize, ClientFacade, Handle, ServerFacade, SparkFacade, Sparks
from .._session import DATA, OVERHEAD, Emitter, Session
from .monitor import GaveUp, Monitor, refuse_coroutine, run

__all__ = ["BlockingClient", "BlockingServer", "BlockingSpark", "Connect", "Handler", "Serve", "spec_fetcher"]

Handler = Callable[["BlockingSpark"], object]

S = TypeVar("S", bound=SparkFacade)


class FetchSpec(Protocol):
    """The type of `fetch_spec`."""

    def __call__(
        self,
        url: str,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]: ...


class BlockingEmitter(Emitter):
    """Listeners that are called by threads of the pool."""

    _io: Monitor
    _working = False

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        refuse_coroutine(listener, "a listener")
        with self._io:
            super()._listen(event, listener)

    def off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Undo one `on`; harmless where there was none. It may be running in another thread, for the last time."""
        with self._io:
            super().off(event, listener)

    def _listening(self, event: ev.Event, args: tuple[Any, ...]) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
        by_name = [(listener, args) for listener in self._listeners.get(event.name, ())]
        return by_name + [(listener, (event,)) for listener in self._listeners.get(type(event), ())]

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        heard = bool(self._listening(event, args))
        if heard:
            self._queue(event, args, size, owner)
        return heard

    def _tell(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        if self._working:
            self._queue(event, args, told=True)
        else:
            super()._tell(event, args)

    def _queue(
        self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None, told: bool = False
    ) -> None:
        owner = owner or self
        owner._later(self._turn(event, args, owner, told), size)

    async def _turn(self, event: ev.Event, args: tuple[Any, ...], owner: Emitter, told: bool = False) -> None:
        """Call who listens by now."""
        listening = self._listening(event, args)
        for listener, given in listening:
            await self._call_outside(listener, given, owner)
        if told and not listening:
            self._unheard(event)

    async def _call_outside(self, listener: Callable[..., Any], args: tuple[Any, ...], owner: Emitter) -> None:
        try:
            await self._io.outside(listener, *args)
        except GaveUp:
            raise
        except BaseException as error:  # nobody above would know what to do about one that is no Exception either
            owner._fault(error)

    def _later(self, coroutine: Coroutine[Any, Any, object], size: int) -> None:
        if self._io.closed:
            coroutine.close()
        else:
            super()._later(coroutine, size)


class BlockingSession(BlockingEmitter, Session):
    """What a spark and a client wait for. `timeout` is in seconds; TimeoutError says that they have passed."""

    _turns = 0
    """How many messages, the last of the inbox, have a turn of their own to come."""

    def write(self, data: Any) -> bool:
        """Send one value. False when it was not taken: after the end, or because the peer does not read.

        Raises EncodeError where the value cannot be sent.
        """
        with self._io:
            return super().write(data)

    def send(self, data: Any, timeout: float | None = None) -> bool:
        """`write`, and then wait until there is room for more. What TimeoutError is raised for is written all the same.

        Raises EncodeError where the value cannot be sent.
        """
        return self._io.call(self._send(data), timeout)

    def room(self, timeout: float | None = None) -> None:
        """Wait until there is room for more."""
        self._io.call(self._room(), timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """The next value; iteration without a loop. Raises ConnectionLost when there will be no more."""
        return self._io.call(self._receive(), timeout)

    def __iter__(self) -> Iterator[Any]:
        with self._io:
            self._iterating = True
        return self

    def __next__(self) -> Any:
        event = self._io.call(self._take())
        if event is None:
            raise StopIteration
        return event.data

    def wait_ended(self, timeout: float | None = None) -> None:
        """Wait for the `end` event."""
        self._io.call(self._wait_ended(), timeout)

    # --- for the binding ---

    def _deliver_data(self, event: ev.DataReceived | ev.SparkData, heard: bool = False) -> None:
        if not self._working or self._iterating:
            super()._deliver_data(event, heard)
        elif heard:
            self._queue(event, (event.data,), event.size + OVERHEAD)
        else:
            self._inbox = deque() if self._inbox is None else self._inbox
            self._inbox.append(event)
            self._add(event.size + OVERHEAD)
            self._give_turns([event])
            self._changed()

    def _give_turns(self, messages: Collection[ev.DataReceived | ev.SparkData]) -> None:
        for event in messages:
            self._turns += 1
            self._later(self._data_turn(event, self._ends), 0)

    async def _data_turn(self, event: ev.DataReceived | ev.SparkData, ends: int) -> None:
        """Give a message to those who listen by now; else it stays where iteration finds it."""
        self._turns -= 1
        if self._listening(event, ()):
            if self._inbox and self._inbox[0] is event and not self._iterating:
                self._inbox.popleft()
                self._unload(event.size + OVERHEAD)
            if ends == self._ends:
                await self._turn(event, (event.data,), self)

    def _heeded(self, event: str | type[ev.Event]) -> None:
        """What came while nobody took it had its turn: it gets another one, before all that came later."""
        if event in DATA and self._inbox and not self._iterating and not self._io.closed:
            kept = list(self._inbox)[: len(self._inbox) - self._turns]
            self._give_turns(kept)
            assert self._work is not None
            self._work.rotate(len(kept))


class BlockingSpark(BlockingSession, SparkFacade):
    """A spark, as a handler or a `connection` listener gets it."""

    _unannounced: ev.SparkConnected | None = None
    """Its connection, which nobody has listened to yet."""

    @property
    def server(self) -> BlockingServer:
        """The server it is a spark of."""
        assert isinstance(self._server, BlockingServer)
        return self._server

    def end(self, data: Any = pp.NOTHING, *, reconnect: bool = False) -> None:
        """Close the session, after sending `data` if given. The client stays away unless `reconnect`."""
        with self._io:
            super().end(data, reconnect=reconnect)


class BlockingClient(BlockingSession, ClientFacade):
    """A client, as `connect` gives it. Any number of threads may use it."""

    def id(self, timeout: float | None = None) -> str:
        """Ask the server for the id of this connection's spark; waits for a connection if there is none.

        Raises ConnectionLost when the client ends before there was an answer.
        """
        return self._io.call(self._ask_id(), timeout)

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Ignored while it is being left, an error after that."""
        with self._io:
            super().open()

    def end(self, data: Any = pp.NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        with self._io:
            super().end(data)

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        with self._io:
            super().destroy()

    def network_offline(self) -> None:
        """Tell the client that the network is gone: it ends until `network_online`."""
        with self._io:
            super().network_offline()

    def network_online(self) -> None:
        """Tell the client that the network is back."""
        with self._io:
            super().network_online()


class LockedSparks(Sparks[S]):
    """The open sparks of a server by id, as they are at each look; `values()` and `items()` do not change any more."""

    def __getitem__(self, id: str) -> S:
        with self._server._io:  # type: ignore[attr-defined]
            return super().__getitem__(id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        with self._server._io:  # type: ignore[attr-defined]
            return super().__len__()

    def values(self) -> ValuesView[S]:
        """The sparks open now."""
        return self._now().values()

    def items(self) -> ItemsView[str, S]:
        """The sparks open now, each with its id."""
        return self._now().items()

    def _now(self) -> dict[str, S]:
        with self._server._io:  # type: ignore[attr-defined]
            return {id: self._server._spark_of(core) for id, core in self._server._core.sparks.items()}


class BlockingServer(BlockingEmitter, ServerFacade[BlockingSpark]):
    """A server, as `serve` gives it. Any number of threads may use it."""

    _SPARK = BlockingSpark
    _ready: ev.Initialised | None = None

    def __init__(self, endpoint: pp.ByteServer, handler: Handle | None, authorize: Authorize | None) -> None:
        async def ask(request: pp.Request) -> object:
            assert authorize is not None
            return await self._io.outside(authorize, request)

        super().__init__(endpoint, handler, ask if authorize is not None else None)
        self.sparks = LockedSparks(self)

    def write(self, data: Any, *, but: Collection[BlockingSpark] = ()) -> int:
        """Broadcast one value to every spark but those named; returns how many took it.

        Raises EncodeError where it cannot be sent.
        """
        with self._io:
            return super().write(data, but=but)

    def serve_forever(self, timeout: float | None = None) -> None:
        """Serve until the server is closed; raises TimeoutError if that takes longer than so many seconds."""
        self._io.call(self._wait_closed(), timeout)

    def close(self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0) -> None:
        """Stop listening and end all sparks, after `timeout` seconds if given; wait until all is closed.

        `data` is sent to each spark as it ends; `reconnect` tells the clients to come back. Handlers that have not
        returned some seconds (`Limits.close` and one more) after their spark ended are not waited for any longer: they
        cannot be stopped, but their spark has ended, and what they still wait for from it returns.
        """
        self._io.call(self._close(data, reconnect, timeout))

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        super()._listen(event, listener)
        if event in ("initialised", ev.Initialised):  # by the time one can ask for it, it has been
            with self._io:
                if self._ready is not None:
                    args = (self._ready,) if event is ev.Initialised else ()
                    self._later(self._call_outside(listener, args, self), 0)
        elif event in ("connection", ev.SparkConnected):  # peers may be quicker than whoever has just begun to serve
            with self._io:
                for spark in self.sparks.values():
                    if (missed := spark._unannounced) is not None:
                        spark._unannounced = None
                        given = (missed,) if event is ev.SparkConnected else (spark,)
                        spark._later(self._call_outside(listener, given, spark), 0)

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        heard = super()._emit(event, args, size, owner)
        if not heard and type(event) is ev.SparkConnected:
            event.spark._unannounced = event
        return heard

    def _tell(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        if type(event) is ev.Initialised:
            self._ready = event
        super()._tell(event, args)


class Connect(Connecting[BlockingClient]):
    """Connect to a Primus server: ``with connect("http://localhost:8080") as primus: ...``

    Entering waits for the first `open`, and raises ConnectError once the strategy gives up; `wait=False` enters at
    once, and what is written is kept until the connection is open. Leaving calls `end`, waits for the listeners that
    still run, and raises again what a listener raised. `ssl` is the TLS context for ``https``; `unix` the path of a
    Unix socket to connect to, whatever host the URL names. The other options are those of `primus_proto.ClientConfig`.
    Raises ConfigError for options that cannot be.
    """

    CLIENT = BlockingClient

    def __enter__(self) -> BlockingClient:
        run(self._begin())
        return self._monitor.call(self._enter())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._monitor.forked:
            self._monitor.call(self._exit(error))

    @property
    def _monitor(self) -> Monitor:
        return self._client._io

    async def _leave(self) -> None:
        self._client._leaving = True
        self._client._core.end()
        self._io.pump()  # what that says to listeners is to be waited for too
        await self._io.within(self._config.limits.close + 1, self._io.finish)
        await super()._leave()


class Serve(Serving[BlockingServer, Handler]):
    """Serve Primus: ``with serve(handler, "127.0.0.1", 8080) as server: server.serve_forever()``

    `handler` is a function that is given each new spark, in a thread of its own; when it returns the spark is ended,
    and when it raises, that is logged and the client may reconnect. None: use ``server.on("connection", ...)``.
    `authorize` is a function that is given each request that wants a session, in a thread too, and lets it in unless
    it raises `Refused` or returns False. `port` 0 picks one; `unix` is the path of a Unix socket to listen on instead.
    `ssl` is a TLS context; the other options are those of `primus_proto.ServerConfig`. Raises ConfigError for options
    that cannot be, OSError where it cannot listen.
    """

    SERVER = BlockingServer

    def _accepts(self, handler: object) -> Handle:
        if not callable(handler):
            raise pp.ConfigError(f"the handler must be a plain function taking a spark, or None; got {handler!r}")
        refuse_coroutine(handler, "the handler")

        async def handle(spark: BlockingSpark) -> None:
            await spark._io.outside(handler, spark)

        return handle

    def _decides(self, authorize: Authorize) -> Authorize:
        refuse_coroutine(authorize, "authorize=")
        return authorize

    def __enter__(self) -> BlockingServer:
        run(self._begin())
        return self._monitor.call(self._enter())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._monitor.forked:
            self._monitor.call(self._exit())

    @property
    def _monitor(self) -> Monitor:
        return self._server._io


def spec_fetcher(driver: type[Driver]) -> FetchSpec:
    """A binding's `fetch_spec`."""

    def fetch_spec(
        url: str,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]:
        """Ask a server what it is: the JSON object of ``<pathname>/spec``. Options are `primus_proto.ClientConfig`'s.

        Raises ConnectError where there is no answer, or one that is no spec; ConfigError for options that cannot be.
        """
        asking = Asking(driver, url, ssl, unix, options)
        run(asking._begin())
        monitor = asking._io
        assert isinstance(monitor, Monitor)
        return monitor.call(asking._answer())

    return fetch_spec
