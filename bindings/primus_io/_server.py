"""A server and its sparks, as users of the bindings that await hold them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, ItemsView, Iterator, Mapping, ValuesView
from typing import Any, ClassVar, TypeVar

import primus_proto as pp
from primus_proto import events as ev

from ._session import MESSAGE_OVERHEAD, AsyncEvent, Emitter, Session, SessionInfo, log

__all__ = ["Authorize", "Handler", "Server", "Spark", "SparkInfo", "Sparks", "check_exclude"]

MAX_LISTENER_TASKS = 64
"""Listeners of one server's own events that are at work at a time; what more its peers make it say is only logged."""

Handler = Callable[["Spark"], Awaitable[object]]
Authorize = Callable[[pp.Request], Awaitable[object] | object]


S = TypeVar("S")


class SparkInfo(SessionInfo):
    """What can be read of a spark at any time, without a loop."""

    NAMES = frozenset(
        {"data", "error", "end", "heartbeat", "readyStateChange", "drain", "message ignored", "messages dropped"}
    )
    _core: pp.Spark

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


class Spark(SparkInfo, Session):
    """A spark, as a handler or a `connection` listener gets it."""

    def __init__(self, core: pp.Spark, server: Server) -> None:
        super().__init__(core)
        self.server = server
        """The server it is a spark of."""
        self._io = server._io

    def end(self, data: Any = pp.NOTHING, *, reconnect: bool = False) -> None:
        """Close the session, after sending `data` if given. The client stays away unless `reconnect`."""
        self._end_with(lambda: self._core.end(data, reconnect=reconnect))

    @property
    def _is_over(self) -> bool:
        return not self._core.is_open

    def _deliver(self, event: ev.SparkEvent) -> None:
        self._emit_or_log(event, event.args)
        if type(event) is ev.SparkEnded:
            self._deliver_end()
        elif type(event) is ev.SparkDrained:
            self._wake_waiters()

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is ev.SparkError:
            log.warning("spark %s: %s", self.id, event.error)

    def _handle_failure(self, error: BaseException) -> None:
        log.error("spark %s: its handler or listener raised; ending it", self.id, exc_info=error)
        # A fault is no intention: without primus::server::close, so that the client comes back.
        self._end_with(lambda: self._core.end(reconnect=True, code=1011, reason="internal error"))


class Sparks(Mapping[str, S]):
    """The open sparks of a server by id, as they are at each look; `values()` and `items()` do not change any more."""

    def __init__(self, cores: Callable[[], dict[str, pp.Spark]], held: Callable[[pp.Spark], S]) -> None:
        self._cores = cores
        self._public = held

    def __getitem__(self, id: str) -> S:
        return self._public(self._cores()[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._cores().copy())

    def __len__(self) -> int:
        return len(self._cores())

    def values(self) -> ValuesView[S]:
        """The sparks open now."""
        return self._now().values()

    def items(self) -> ItemsView[str, S]:
        """The sparks open now, each with its id."""
        return self._now().items()

    def _now(self) -> dict[str, S]:
        # Copied in one step: with threads, another one adds and removes some.
        return {id: self._public(core) for id, core in self._cores().copy().items()}


class Server(Emitter):
    """A server, as `serve` gives it."""

    _SPARK: ClassVar[type[Spark]] = Spark
    NAMES = frozenset({"connection", "disconnection", "heartbeat-skipped", "flatline", "initialised", "close", "log"})

    def __init__(self, endpoint: pp.ByteServer, handler: Handler | None, authorize: Authorize | None) -> None:
        super().__init__()
        self._handler = handler
        self._authorize = authorize
        self._waiters: list[AsyncEvent] = []
        self._stop_listening: Callable[[], object] = lambda: None
        self.port = 0
        """The port it listens on."""
        self.url = ""
        """Where a client on this machine finds it."""
        self.sparks: Sparks[Spark] = Sparks(lambda: self._core.sparks, self._spark_of)
        """The open sparks by id."""
        self._reset(endpoint)

    def _reset(self, endpoint: pp.ByteServer) -> None:
        """What belongs to one run of the server; listeners outlive it."""
        self._endpoint = endpoint
        self._core = endpoint.server
        self._pending_authorizations = 0
        self._listener_tasks = 0  # listeners of the server's own events
        self._closed = False

    def spark(self, id: str) -> Spark | None:
        """The open spark with this id."""
        return self.sparks.get(id)

    def write(self, data: Any, *, exclude: Collection[Spark] = ()) -> int:
        """Broadcast one value to every spark but those in `exclude`; returns how many took it.

        Raises EncodeError where it cannot be sent, LocalProtocolError where `exclude` is no collection of sparks.
        """
        check_exclude(exclude, Spark)
        count = self._core.write(data, exclude=[spark._core for spark in exclude])
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
            self._authorize_request(event)
        elif type(event) is ev.Logged and self._listener_tasks >= MAX_LISTENER_TASKS:
            self._log_unhandled(event)
        else:
            self._emit_or_log(event, event.args)
            if type(event) is ev.ServerClosed:
                self._closed = True
                for waiter in self._waiters:
                    waiter.set()

    def _deliver_to(self, spark: Spark, event: ev.SparkEvent[Spark]) -> None:
        if type(event) is ev.SparkData:
            heard = ev.SparkData in self._listeners and self._emit(event, (), event.size + MESSAGE_OVERHEAD, spark)
            spark._deliver_data(event, heard and self._handler is None)
            return
        self._emit(event, event.args, owner=spark)
        if type(event) is not ev.SparkConnected:
            spark._deliver(event)
        elif self._handler is not None:
            self._io.start(self._run_handler(self._handler, spark))

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is ev.Logged and event.level != "error":  # a spark logs its own
            log.warning("%s", event.text)

    def _spark_of(self, core: pp.Spark) -> Spark:
        """What users hold of a spark; made when it is first looked at, be that before its `connection` event."""
        spark: Spark | None = core.context
        if spark is None:
            spark = core.context = self._SPARK(core, self)
        return spark

    async def _run_handler(self, handler: Handler, spark: Spark) -> None:
        try:
            await handler(spark)
        except Exception as error:
            spark._handle_failure(error)
        except BaseException as error:
            if spark.state == "open":  # else it is the server that closes
                spark._handle_failure(error)
            raise
        else:
            spark._core.end()  # what its listeners have still to handle they may
            self._io.schedule()

    async def serve_forever(self) -> None:
        """Serve until the server is closed, or this is cancelled."""
        await self._io.checkpoint()
        if not self._closed:
            waiter = self._io.event()
            self._waiters.append(waiter)
            try:
                await waiter.wait()
            finally:
                self._waiters.remove(waiter)

    async def close(self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0) -> None:
        """Stop listening and end all sparks, after `timeout` seconds if given; wait until all is closed.

        `data` is sent to each spark as it ends; `reconnect` tells the clients to come back. Handlers that have not
        returned some seconds (`Limits.close`) after their spark ended are cancelled.
        """
        self._core.close(data, reconnect=reconnect, timeout=timeout)
        self._stop_listening()
        self._io.pump()
        grace = self._core.limits.close + 1
        try:
            await self._io.within(timeout + grace, self._wait_closed)
        except BaseException:
            grace = 0.0  # whoever cancels does not want to wait
            raise
        finally:
            await self._io.close(grace)

    async def _wait_closed(self) -> None:
        await self.serve_forever()
        await self._io.finish()

    def _authorize_request(self, event: ev.RequestHeld) -> None:
        assert self._authorize is not None
        try:
            result = self._authorize(event.request)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a CancelledError, as from a listener: the pump must go on
            self._answer_request(event.id, error)
        else:
            if inspect.isawaitable(result):
                self._io.start(self._await_authorization(event.id, result))
            else:
                self._answer_request(event.id, result)

    async def _await_authorization(self, id: int, awaitable: Awaitable[object]) -> None:
        result: object = pp.Refused("authorization took too long", 503)

        async def ask() -> None:
            nonlocal result
            try:
                result = await awaitable
            except Exception as error:
                result = error

        limits = self._core.limits
        if self._pending_authorizations >= limits.authorizations:  # also of lost requests
            getattr(awaitable, "close", lambda: None)()
            result = pp.Refused("too many requests wait for authorization", 503)
        else:
            self._pending_authorizations += 1
            try:
                await self._io.within(limits.authorization, ask)
            except BaseException as error:
                if not self._core.closing:  # else it is the binding that closes
                    self._answer_request(id, error)
                    self._io.schedule()
                raise
            finally:
                self._pending_authorizations -= 1
        self._answer_request(id, result)
        self._io.schedule()

    def _answer_request(self, id: int, result: object) -> None:
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

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], size: int) -> None:
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


def check_exclude(value: object, kind: type) -> None:
    """LocalProtocolError for what is no collection of sparks."""
    if not isinstance(value, Collection) or not all(isinstance(spark, kind) for spark in value):
        raise pp.LocalProtocolError(f"exclude takes sparks, as in exclude=[spark]; got {value!r}")
