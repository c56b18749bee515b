"""The Primus-shaped objects users hold, but for what waits. Nothing of any one library is used here.

A binding gives an `IO` and the sockets; the classes here do the rest: events to listeners, iteration, what becomes of
a handler's exception. How a user waits (`await spark.send(...)`, `spark.send(...)`) is added by `_awaiting` and
`_threads.blocking`, over the private coroutines of these classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import primus_proto as pp
from primus_proto import events as ev

from ._session import OVERHEAD, Emitter, Session, Waitable, log

__all__ = ["Authorize", "ClientFacade", "Handle", "ServerFacade", "SparkFacade", "Sparks"]

BUSY = 64
"""Listeners of one server's own events that are at work at a time; what more its peers make it say is only logged."""

Handle = Callable[[Any], Awaitable[object]]
Authorize = Callable[[pp.Request], Awaitable[object] | object]


class SparkFacade(Session):
    """A spark, as a handler or a `connection` listener gets it."""

    NAMES = frozenset(
        {"data", "error", "end", "heartbeat", "readyStateChange", "drain", "message ignored", "messages dropped"}
    )
    _core: pp.Spark

    def __init__(self, core: pp.Spark, server: ServerFacade[Any]) -> None:
        super().__init__(core)
        self._server = server
        self._io = server._io

    def __repr__(self) -> str:
        return f"<Spark {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """Unique for this one connection."""
        return self._core.id

    @property
    def request(self) -> pp.Request:
        """The request that opened the session."""
        return self._core.request

    @property
    def query(self) -> dict[str, str]:
        """The query of the connect URL."""
        return self._core.query

    @property
    def headers(self) -> pp.Headers:
        """The header fields of the connect request."""
        return self._core.headers

    @property
    def address(self) -> pp.Address:
        """The client's `ip` and `port`."""
        return self._core.address

    @property
    def dialect(self) -> str:
        """Whose heartbeat it is: ``happn``, ``primus6`` or ``primus``; ``auto`` while that is not known."""
        return self._core.dialect

    @property
    def heartbeat_timeout(self) -> float | None:
        """Seconds of silence that count as one missed heartbeat; None: silence is no fault."""
        return self._core.heartbeat_timeout

    def end(self, data: Any = pp.NOTHING, *, reconnect: bool = False) -> None:
        """Close the session, after sending `data` if given. The client stays away unless `reconnect`."""
        self._end_by(lambda: self._core.end(data, reconnect=reconnect))

    @property
    def _over(self) -> bool:
        return not self._core.is_open

    def _deliver(self, event: ev.SparkEvent) -> None:
        self._tell(event, event.args)
        if type(event) is ev.SparkEnded:
            self._deliver_end()
        elif type(event) is ev.SparkDrained:
            self._changed()

    def _unheard(self, event: ev.Event) -> None:
        if type(event) is ev.SparkError:
            log.warning("spark %s: %s", self.id, event.error)

    def _fault(self, error: BaseException) -> None:
        log.error("spark %s: its handler or listener raised; ending it", self.id, exc_info=error)
        # A fault is no intention: without primus::server::close, so that the client comes back.
        self._end_by(lambda: self._core.end(reconnect=True, code=1011, reason="internal error"))


class ClientFacade(Session):
    """A client, as `connect` gives it."""

    NAMES = frozenset(
        event.name
        for event in vars(ev).values()
        if isinstance(event, type) and issubclass(event, ev.Event) and not issubclass(event, ev.SparkEvent)
        if event.name and event.name not in {"initialised", "log", "request held", "incoming::id", "spec"}
    )
    _core: pp.Client
    failure: Exception | None = None
    """What a listener raised; `connect` raises it again when it is left."""
    _leaving = _left = False
    _last_id = ""
    _ids = 0
    _opens = 0

    def __repr__(self) -> str:
        config = self._core.config  # without user, password and query: this is what logs have
        scheme = "https" if config.secure else "http"
        return f"<Primus {scheme}://{config.authority}{config.pathname} {self._core.state.value}>"

    @property
    def latency(self) -> float | None:
        """Seconds the last ping took; before the first, seconds the open took; None before that."""
        return self._core.latency

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Ignored while it is being left, an error after that."""
        if self._stays_closed():
            return
        self._core.open()
        self._io.pump()

    def end(self, data: Any = pp.NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        self._end_by(lambda: self._core.end(data))

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        self._end_by(self._core.destroy)

    def network_offline(self) -> None:
        """Tell the client that the network is gone: it ends until `network_online`."""
        self._core.network_offline()
        self._io.schedule()

    def network_online(self) -> None:
        """Tell the client that the network is back."""
        if not self._stays_closed():
            self._core.network_online()
            self._io.pump()

    @property
    def _over(self) -> bool:
        return self._core.state.over

    def _stays_closed(self) -> bool:
        if self._left:
            raise pp.LocalProtocolError("this client has been left: enter a new `connect`")
        return self._leaving

    async def _ask_id(self) -> str:
        await self._io.checkpoint()
        while not self._ended:
            await self._until(lambda: self._ended or self._core.state is pp.ClientState.OPEN)
            if self._core.state is pp.ClientState.OPEN:
                ids, opens = self._ids, self._opens
                self._core.request_id()
                self._io.schedule()
                await self._until(lambda: self._ended or self._ids > ids or self._opens > opens)  # noqa: B023
                if self._ids > ids:
                    return self._last_id
        raise pp.ConnectionLost("the client ended before the server told the id")

    def _deliver(self, event: ev.Event) -> None:
        if type(event) is ev.DataReceived:
            self._deliver_data(event)
            return
        if type(event) is ev.IdReceived:
            self._ids += 1
            self._last_id = event.id
        elif type(event) is ev.Opened:
            self._opens += 1
        elif type(event) is ev.Ended:
            self._ended = True
        elif type(event) is ev.ReconnectScheduled or (type(event) is ev.ReadyStateChanged and event.state == "opening"):
            self._ended = False  # opened again
        self._tell(event, event.args)
        self._changed()

    def _unheard(self, event: ev.Event) -> None:
        if type(event) is ev.ErrorOccurred:
            log.warning("%r: %s", self, event.error)
        elif type(event) is ev.MessagesDropped:  # only counted: they may be large, or secret
            log.warning("%r: %d written values will not be sent: %s", self, len(event.payloads), event.reason)

    def _fault(self, error: BaseException) -> None:
        log.error("%r: its listener raised; ending it", self, exc_info=error)
        if not isinstance(error, Exception):  # raised again as it is, it would cancel whoever leaves
            cancelled, error = error, pp.PrimusError("a listener was cancelled")
            error.__cause__ = cancelled
        self.failure = self.failure or error
        self.end()


S = TypeVar("S", bound=SparkFacade)


class Sparks(Mapping[str, S]):
    """The open sparks of a server by id, as they are at each look."""

    def __init__(self, server: ServerFacade[S]) -> None:
        self._server = server

    def __getitem__(self, id: str) -> S:
        return self._server._spark_of(self._server._core.sparks[id])

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._server._core.sparks))

    def __len__(self) -> int:
        return len(self._server._core.sparks)


class ServerFacade(Emitter, Generic[S]):
    """A server, as `serve` gives it."""

    _SPARK: ClassVar[type[Any]]  # the binding's
    NAMES = frozenset({"connection", "disconnection", "heartbeat-skipped", "flatline", "initialised", "close", "log"})

    def __init__(self, endpoint: pp.ByteServer, handler: Handle | None, authorize: Authorize | None) -> None:
        super().__init__()
        self._handler = handler
        self._authorize = authorize
        self._waiters: list[Waitable] = []
        self._stop_listening: Callable[[], object] = lambda: None
        self.port = 0
        """The port it listens on."""
        self.url = ""
        """Where a client on this machine finds it."""
        self.sparks: Sparks[S] = Sparks(self)
        """The open sparks by id."""
        self._begin_anew(endpoint)

    def _begin_anew(self, endpoint: pp.ByteServer) -> None:
        """What belongs to one run of the server; listeners outlive it."""
        self._endpoint = endpoint
        self._core = endpoint.server
        self._asking = 0
        self._at_work = 0  # listeners of the server's own events
        self._closed = False

    def spark(self, id: str) -> S | None:
        """The open spark with this id."""
        return self.sparks.get(id)

    def write(self, data: Any, *, but: Collection[S] = ()) -> int:
        """Broadcast one value to every spark but those named; returns how many took it.

        Raises EncodeError where it cannot be sent, LocalProtocolError where `but` is no collection of sparks.
        """
        _check_sparks(but)
        count = self._core.write(data, exclude=[spark._core for spark in but])
        if any(spark.needs_drain for spark in self._core.sparks.values()):
            self._io.pump()  # what follows in this turn may be too much for one that reads, too
        else:
            self._io.schedule()
        return count

    def _deliver(self, event: ev.Event) -> None:
        if isinstance(event, ev.SparkEvent):
            spark = self._spark_of(event.spark)
            event.spark = spark  # type: ignore[misc]  # frozen for users, who have not got it yet
            self._deliver_to(spark, event)
        elif type(event) is ev.RequestHeld:
            self._ask(event)
        elif type(event) is ev.Logged and self._at_work >= BUSY:
            self._unheard(event)
        else:
            self._tell(event, event.args)
            if type(event) is ev.ServerClosed:
                self._closed = True
                for waiter in self._waiters:
                    waiter.set()

    def _deliver_to(self, spark: S, event: ev.SparkEvent[S]) -> None:
        if type(event) is ev.SparkData:
            heard = ev.SparkData in self._listeners and self._emit(event, (), event.size + OVERHEAD, spark)
            spark._deliver_data(event, heard and self._handler is None)
            return
        self._emit(event, event.args, owner=spark)
        if type(event) is not ev.SparkConnected:
            spark._deliver(event)
        elif self._handler is not None:
            self._io.start(self._handle(self._handler, spark))

    def _unheard(self, event: ev.Event) -> None:
        if type(event) is ev.Logged and event.level != "error":  # a spark logs its own
            log.warning("%s", event.text)

    def _spark_of(self, core: pp.Spark) -> S:
        """What users hold of a spark; made when it is first looked at, be that before its `connection` event."""
        spark: S | None = core.context
        if spark is None:
            spark = core.context = self._SPARK(core, self)
        return spark

    async def _handle(self, handler: Handle, spark: S) -> None:
        try:
            await handler(spark)
        except Exception as error:
            spark._fault(error)
        except BaseException as error:
            if spark.state == "open":  # else it is the server that closes
                spark._fault(error)
            raise
        else:
            spark._core.end()  # what its listeners have still to handle they may
            self._io.schedule()

    async def _wait_closed(self) -> None:
        await self._io.checkpoint()
        if not self._closed:
            waiter = self._io.event()
            self._waiters.append(waiter)
            try:
                await waiter.wait()
            finally:
                self._waiters.remove(waiter)

    async def _close(self, data: Any, reconnect: bool, timeout: float) -> None:
        self._core.close(data, reconnect=reconnect, timeout=timeout)
        self._stop_listening()
        self._io.pump()
        grace = self._core.limits.close + 1
        try:
            await self._io.within(timeout + grace, self._wind_down)
        except BaseException:
            grace = 0.0  # whoever cancels does not want to wait
            raise
        finally:
            await self._io.close(grace)

    async def _wind_down(self) -> None:
        await self._wait_closed()
        await self._io.finish()

    def _ask(self, event: ev.RequestHeld) -> None:
        assert self._authorize is not None
        try:
            result = self._authorize(event.request)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a CancelledError, as from a listener: the pump must go on
            self._decide(event.id, error)
        else:
            if inspect.isawaitable(result):
                self._io.start(self._ask_later(event.id, result))
            else:
                self._decide(event.id, result)

    async def _ask_later(self, id: int, awaitable: Awaitable[object]) -> None:
        result: object = pp.Refused("authorization took too long", 503)

        async def ask() -> None:
            nonlocal result
            try:
                result = await awaitable
            except Exception as error:
                result = error

        limits = self._core.limits
        if self._asking >= limits.authorizations:  # hooks of requests that have gone count too: they still run
            getattr(awaitable, "close", lambda: None)()
            result = pp.Refused("too many requests wait for authorization", 503)
        else:
            self._asking += 1
            try:
                await self._io.within(limits.authorization, ask)
            except BaseException as error:
                if not self._core.closing:  # else it is the binding that closes
                    self._decide(id, error)
                    self._io.schedule()
                raise
            finally:
                self._asking -= 1
        self._decide(id, result)
        self._io.schedule()

    def _decide(self, id: int, result: object) -> None:
        """Anything but an exception or False lets the request in."""
        if isinstance(result, pp.Refused):
            try:
                refusal = self._core.refusal(result.message, status=result.status, authenticate=result.authenticate)
                self._endpoint.resume(id, refusal)
                return
            except pp.ConfigError as error:
                result = error
        if isinstance(result, BaseException):
            log.error("the authorization hook raised; answering 500", exc_info=result)
            self._endpoint.resume(id, self._core.refusal("internal error", status=500))
        elif result is False:
            self._endpoint.resume(id, self._core.refusal("Unauthorized"))
        else:
            self._endpoint.resume(id)

    def _later(self, coroutine: Coroutine[Any, Any, object], size: int) -> None:
        async def run() -> None:
            try:
                await coroutine
            except Exception as error:
                self._fault(error)
            finally:
                self._at_work -= 1

        self._at_work += 1
        self._io.start(run())

    def _fault(self, error: BaseException) -> None:
        log.error("a listener of the server raised", exc_info=error)


def _check_sparks(value: object) -> None:
    if not isinstance(value, Collection) or not all(isinstance(spark, SparkFacade) for spark in value):
        raise pp.LocalProtocolError(f"but takes sparks, as in but=[spark]; got {value!r}")
