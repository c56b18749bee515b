"""A server and its sparks, as users of the bindings hold them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar, overload

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.session.transforms import Direction

from ._advice import SERVER_ADVICE
from ._announcing import announce
from ._async_session import AsyncSession
from ._emitter import log
from ._io import AsyncEvent
from ._layers import Authorize, LayeredServer, is_async
from ._listeners import ServerListeners, SparkListeners
from ._once import wait_for
from ._peer_log import PeerLog
from ._plugins import ServerPlugins
from ._session import DROPPED, MESSAGE_OVERHEAD
from ._socket_factory import WithSocket
from ._spark import SparkBase
from ._sparks import Sparks
from ._transforming import F, Transforming, start_step

__all__ = ["Authorize", "Handler", "Server", "ServerBase", "Spark", "SparkBase", "Sparks", "check_sparks"]

MAX_LISTENER_TASKS = 64
"""Listeners of one server that may run at a time. Beyond that, what its peers cause is only logged."""

SparkData, SparkHeartbeat = ev.SparkData, ev.SparkHeartbeat  # looked up for every message

S = TypeVar("S", bound="SparkBase")
T = TypeVar("T")


class Spark(SparkListeners["Spark"], SparkBase, AsyncSession):
    """A spark, as a handler or a `connection` listener gets it."""

    def __init__(self, core: pp.Spark, server: Server) -> None:
        super().__init__(core)
        self._io = server._io
        self.server: Server = server
        """The server that it belongs to."""

    def _take_undecoded(self) -> None:
        if self._announcement is None:  # it keeps values for the listener that runs
            self._core.takes_text = self._take_text


Handler = Callable[[Spark], Awaitable[object]]


class ServerBase(LayeredServer, Transforming, ServerPlugins, WithSocket, ServerListeners[S], Generic[S]):
    """A server, but for the methods that wait."""

    _ADVICE: ClassVar[Mapping[str, str]] = SERVER_ADVICE
    _SPARK: Callable[[pp.Spark, Any], S]
    _core: pp.Server = None  # type: ignore[assignment]  # until the first `_reset`

    def __init__(
        self,
        endpoint: pp.ByteServer,
        handler: Callable[[S], Awaitable[object]] | None,
        authorize: Authorize | None,
    ) -> None:
        if not isinstance(endpoint, pp.ByteServer):
            raise pp.LocalProtocolError("servers are made by serve: `async with serve(handler, host, port) as server:`")
        super().__init__()
        self._transforms: list[tuple[Direction, Callable[[pp.Packet], object], bool]] = []
        self._handler = handler
        self._peer_log = PeerLog()
        self._authorize = authorize
        self._waiters: list[AsyncEvent] = []
        self._stop_listening: Callable[[], object] = lambda: None
        self.port: int = 0
        """The port it listens on; 0 with a Unix socket."""
        self.url: str = ""
        """The URL for a client on this machine."""
        self.sparks: Sparks[S] = Sparks(lambda: self._core.sparks, self._spark_of)
        """The open sparks by id."""
        self._reset(endpoint)

    def _reset(self, endpoint: pp.ByteServer) -> None:
        """Begin a new run of the server. Listeners, layers and transforms outlive a run."""
        self._endpoint = endpoint
        earlier, self._core = self._core, endpoint.server
        self._core.context = self
        self._core.present = self._spark_of
        self._core.tells_heartbeats = SparkHeartbeat in self._listeners
        for direction, step, shared in self._transforms:
            self._core.transform(direction, step, shared=shared)
        self._use_again()
        if earlier is not None:
            self._core.adopt(earlier)
        self._listener_tasks = 0  # running listeners of the server's own events
        self._closed = False

    def _check_event(self, event: object) -> None:
        super()._check_event(event)
        if event is SparkData and not self._core.config.receive:
            raise pp.LocalProtocolError(DROPPED)

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        if event is SparkData:
            for core in self._core.sparks.values():
                core.direct = None

    def spark(self, id: str) -> S | None:
        """The open spark with this id, or None."""
        return self.sparks.get(id)

    def write(self, data: Any, *, to: Collection[S] | None = None, exclude: Collection[S] = ()) -> int:
        """Broadcast one value to every spark, or those in `to`, except those in `exclude`. Returns how many took it.

        It is encoded once. Raises EncodeError if the value cannot be encoded, and LocalProtocolError if `to` or
        `exclude` is not a collection of sparks.
        """
        self._io.check_thread()
        sparks = None if to is None else check_sparks("to", to)
        count = self._core.write(data, to=sparks, exclude=check_sparks("exclude", exclude))
        behind = any(map(attrgetter("needs_drain"), self._core.sparks.values()))
        (self._io.pump if behind else self._io.schedule)()
        return count

    @overload
    def transform(self, direction: Direction, function: F, *, shared: bool = False) -> F: ...
    @overload
    def transform(self, direction: Direction, *, shared: bool = False) -> Callable[[F], F]: ...

    def transform(self, direction: Direction, function: Any = None, *, shared: bool = False) -> Any:
        """Have `function` see, change or drop each message of all sparks, as `Spark.transform` does for one.

        A `shared` outgoing transform is called once for a broadcast, with a packet that has no session, and must not
        be async. Any other is called for each spark, with a copy of the value.
        """
        return self._transform(direction, function, shared)

    def _add_transform(self, direction: Direction, step: F, shared: bool) -> None:
        self._transforms.append((direction, step, shared))
        self._do(lambda: self._core.transform(direction, step, shared=shared))

    def _deliver(self, event: ev.Event) -> None:
        if type(event) is SparkData and SparkData not in self._listeners:
            spark = event.spark.context
            event.spark = spark  # type: ignore[misc]  # frozen for users, who have not got it yet
            if spark._announcement is None:
                spark._deliver_data(event)
            else:
                spark._announcement.keep(event)
        elif isinstance(event, ev.SparkEvent):
            spark = self._spark_of(event.spark)
            event.spark = spark  # type: ignore[misc]  # frozen for users, who have not got it yet
            self._deliver_to(spark, event)
        elif type(event) is ev.RequestHeld:
            self._run_held(event)
        elif type(event) is ev.Delivery:
            spark = self._spark_of(event.session)
            if spark._announcement is None:
                spark._deliver_call(event)
            else:
                spark._announcement.keep(event)
        elif isinstance(event, ev.PluginEvent):
            self._deliver_to(event.session, event)
        elif type(event) is ev.StepHeld:
            start_step(self._io, event.held, self._core.limits.transform)
        elif type(event) is ev.Logged and self._listener_tasks >= MAX_LISTENER_TASKS:
            self._log_unhandled(event)
        else:
            self._emit_or_log(event, event.args)
            if type(event) is ev.ServerClosed:
                self._closed = True
                self._peer_log.report()
                for waiter in self._waiters:
                    waiter.set()

    def _add(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._core.tells_heartbeats |= event is SparkHeartbeat
        super()._add(event, listener)

    def _deliver_to(self, spark: S, event: ev.SparkEvent[Any] | ev.PluginEvent) -> None:
        if type(event) is ev.SparkConnected:
            announce(self, spark, event)
            return
        if spark._announcement is not None:
            spark._announcement.keep(event)
        elif type(event) is ev.SparkData:
            heard = self._emit(event, (), event.size + MESSAGE_OVERHEAD, spark)
            spark._deliver_data(event, heard and self._handler is None)
            spark._core.direct = None
        else:
            self._tell(spark, event)
        if isinstance(event, ev.SparkEvent):
            spark._note(event)

    def _tell(self, spark: S, event: ev.SparkEvent[Any] | ev.PluginEvent) -> None:
        """Call the listeners of the server and of a spark."""
        self._emit(event, event.server_args if isinstance(event, ev.PluginEvent) else event.args, owner=spark)
        spark._emit_or_log(event, event.args)

    def _not_announced(self, spark: S, event: ev.SparkConnected[Any]) -> None:
        """Called for a new spark if `connection` has no listeners."""

    def _start_handler(self, spark: S) -> None:
        """Start the handler of a new spark, if there is one."""
        if self._handler is not None:
            self._io.start(self._run_handler(self._handler, spark))

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is not ev.Logged:
            return
        if event.error is not None:
            log.error("%s", event.text, exc_info=event.error)
        elif event.level != "error":  # a spark logs its own
            self._peer_log.warning("%s", event.text)

    def _for_each_now(self, function: Callable[[S], object]) -> None:
        for spark in list(self.sparks.values()):
            if spark.state == "open" and function(spark) is False:
                return

    def _spark_of(self, core: pp.Spark) -> S:
        """The spark that users hold. Made at the first look, which may be before its `connection` event."""
        spark: S | None = core.context
        if spark is None:
            spark = core.context = self._SPARK(core, self)
        return spark

    async def _run_handler(self, handler: Callable[[S], Awaitable[object]], spark: S) -> None:
        try:
            await handler(spark)
        except Exception as error:
            spark._handle_failure(error)
        except BaseException as error:
            if spark.state == "open":  # otherwise the server is closing
                spark._handle_failure(error)
            raise
        else:
            spark._core.end()  # its listeners may still handle earlier data
            self._io.schedule()

    async def _until_closed(self) -> None:
        await self._io.checkpoint()
        if not self._closed:
            waiter = self._io.event()
            self._waiters.append(waiter)
            try:
                await waiter.wait()
            finally:
                self._waiters.remove(waiter)

    @property
    def _is_finished(self) -> bool:
        return self._closed

    async def _wait_for(self, event: str | type[ev.Event], timeout: float | None) -> Any:
        happened = self._io.event()

        async def until(found: Callable[[], object]) -> None:
            if not (found() or self._closed):
                await happened.wait()

        self._waiters.append(happened)  # which the close of the server sets
        try:
            return await wait_for(self, event, timeout, until, happened.set)
        finally:
            self._waiters.remove(happened)

    async def _close(
        self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0, close: bool = True
    ) -> None:
        self._io.check_thread()
        self._core.close(data, reconnect=reconnect, timeout=timeout, close=close)
        if self._endpoint.closing:  # otherwise open sessions still need new connections
            self._stop_listening()
        self._io.pump()
        grace = self._core.limits.close + 1
        if not close:
            await self._io.within(timeout + grace, self._until_closed)
            return
        try:
            await self._io.within(timeout + grace, self._wind_down)
        except BaseException:
            grace = 0.0  # cancelled: do not wait any longer
            raise
        finally:
            self._stop_listening()
            await self._io.close(grace)

    async def _wind_down(self) -> None:
        await self._until_closed()
        self._stop_listening()
        await self._io.finish()

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], listener: object, event: str, size: int) -> None:
        async def run() -> None:
            try:
                await coroutine
            except Exception as error:
                self._handle_failure(error)
            finally:
                self._listener_tasks -= 1

        if self._io.closed:
            coroutine.close()
            return
        self._listener_tasks += 1
        self._io.start(run())

    def _handle_failure(self, error: BaseException) -> None:
        log.error("a listener of the server raised", exc_info=error)


class Server(ServerBase[Spark]):
    """A server, as `serve` gives it."""

    _SPARK = Spark

    async def serve_forever(self) -> None:
        """Wait until the server is closed."""
        await self._until_closed()

    @overload
    def for_each(  # type: ignore[overload-overlap]  # an async function returns an object, too
        self, function: Callable[[Spark], Coroutine[Any, Any, object]]
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def for_each(self, function: Callable[[Spark], object]) -> None: ...

    def for_each(self, function: Callable[[Spark], Any]) -> Any:
        """Call `function(spark)` for each open spark, one after the other, until it returns False.

        With an async function this is awaited, as in ``await server.for_each(function)``. Sparks that connect meanwhile
        get their turn, and those that have ended are passed over.
        """
        if is_async(function):
            return self._for_each(function)
        return self._for_each_now(function)

    async def _for_each(self, function: Callable[[Spark], Awaitable[object]]) -> None:
        seen: set[Spark] = set()
        while rest := [spark for spark in self.sparks.values() if spark not in seen]:
            seen.update(rest)
            for spark in rest:
                if spark.state == "open" and await function(spark) is False:
                    return

    async def wait_for(self, event: str | type[ev.Event], timeout: float | None = None) -> Any:
        """Wait for the next `event`. Returns what its listeners get: None, one value, or a tuple of several.

        Raises TimeoutError after `timeout` seconds, ConnectionLost if the server closes first, and LocalProtocolError
        for an unknown event.
        """
        return await self._wait_for(event, timeout)

    async def close(
        self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0, close: bool = True
    ) -> None:
        """Stop listening, end all sparks `timeout` seconds later, and wait until all is closed.

        `data` is sent to each spark as it ends. `reconnect` tells the clients to come back. A handler that has not
        returned `Limits.close` + 1 seconds after its spark ended is cancelled; in a thread, it is left running. With
        ``close=False`` the server goes on listening until it is closed again, and answers 503.
        """
        await self._close(data, reconnect=reconnect, timeout=timeout, close=close)


def check_sparks(name: str, value: object) -> list[pp.Spark]:
    """Return the core's sparks of a collection of sparks. Raises LocalProtocolError unless it is one."""
    if not isinstance(value, Collection) or not all(isinstance(spark, SparkBase) for spark in value):
        raise pp.LocalProtocolError(f"{name} takes a collection of sparks, as in {name}=[spark]; got {value!r}")
    return [spark._core for spark in value]
