"""A client, as users of the bindings hold it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Literal, cast

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.timers import Timers

from ._advice import CLIENT_ADVICE
from ._async_session import AsyncSession
from ._emitter import is_goodbye, log
from ._listeners import ClientListeners
from ._peer_log import PeerLog
from ._plugins import WithPlugins
from ._session import Session
from ._transforming import start_step

__all__ = ["Client", "ClientBase", "connect_error", "option_error"]

progress_log = logging.getLogger("primus_io.client")


class ClientBase(WithPlugins, ClientListeners, Session):
    """A client, but for the methods that wait."""

    _ADVICE: ClassVar[Mapping[str, str]] = CLIENT_ADVICE
    _core: pp.Client
    _failure: Exception | None = None
    _entering = False  # `connect` waits, and will raise what goes wrong
    _is_reconnecting = False  # and that was logged
    _leaving = _left = False
    _last_id = ""
    _ids = 0
    _opens = 0

    def __init__(self, core: pp.Client) -> None:
        if not isinstance(core, pp.Client):
            raise pp.LocalProtocolError("clients are made by connect: `async with connect(url) as primus:`")
        super().__init__(core)
        self._log = PeerLog()

    def __repr__(self) -> str:
        config = self._core.attempts.target  # without user, password and query, because this goes into logs
        if callable(config.url):
            return f"<Primus, whose url= is a function, {self._core.state.value}>"
        scheme = "https" if config.secure else "http"
        return f"<Primus {scheme}://{config.authority}{config.pathname} {self._core.state.value}>"

    @property
    def state(self) -> Literal["opening", "open", "closed"]:
        """``opening``, ``open`` or ``closed``."""
        return cast(Literal["opening", "open", "closed"], self._core.ready_state.name.lower())

    @property
    def latency(self) -> float | None:
        """Seconds that the last ping took; before the first ping, that the open took; None before that."""
        return self._core.latency

    @property
    def failure(self) -> Exception | None:
        """The first exception that a listener raised. Leaving `connect` raises it again."""
        return self._failure

    def open(self) -> None:
        """Connect, with `manual=True` or after an end.

        Does nothing while `connect` is being left, and raises LocalProtocolError after that.
        """

        def open_again() -> None:
            if not self._stays_closed():
                self._core.open()
                self._io.pump()

        self._do(open_again)

    def end(self, data: Any = pp.NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        self._do(lambda: self._end_with(lambda: self._core.end(data)))

    def destroy(self) -> None:
        """Close for good. The client cannot be opened again."""
        self._do(lambda: self._end_with(self._core.destroy))

    def network_offline(self) -> None:
        """Tell the client that the network is gone. It ends until `network_online` is called."""

        def tell() -> None:
            self._core.network_offline()
            self._io.schedule()

        self._do(tell)

    def network_online(self) -> None:
        """Tell the client that the network is back."""

        def tell() -> None:
            if not self._stays_closed():
                self._core.network_online()
                self._io.pump()

        self._do(tell)

    @property
    def _is_over(self) -> bool:
        return self._core.state.over

    @property
    def _timers(self) -> Timers:
        return self._core.timers

    @property
    def _peer_log(self) -> PeerLog:
        return self._log

    def _stays_closed(self) -> bool:
        if self._left:
            raise pp.LocalProtocolError("this client has been left: enter a new `connect`")
        return self._leaving

    async def _until_is_open(self) -> None:
        await self._io.checkpoint()
        await self._until(lambda: self._ended or self._core.ready_state is pp.ReadyState.OPEN)
        if self._core.ready_state is not pp.ReadyState.OPEN:
            assert self.close_reason is not None
            raise connect_error(self.close_reason)

    def _call_function(self, function: Callable[[], Any]) -> Any:
        """Call a function among the options; the result may be awaitable."""
        return function()

    def _ask_functions(self, id: int) -> None:
        """Ask the functions among the options, and go on with the attempt that waits for them."""
        answers: dict[str, Any] = {}
        waiting: dict[str, Awaitable[Any]] = {}
        for name, function in self._core.config.functions.items():
            try:
                answers[name] = self._call_function(function)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # even a CancelledError: the pump must go on
                close_all(waiting)
                self._core.resume_attempt(id, option_error(name, error))
                return
            if inspect.isawaitable(answers[name]):
                waiting[name] = answers[name]
        if waiting:
            self._io.start(self._await_functions(id, answers, waiting))
        else:
            self._resume_attempt(id, answers)

    async def _await_functions(self, id: int, answers: dict[str, Any], waiting: dict[str, Awaitable[Any]]) -> None:
        try:
            for name in list(waiting):
                try:
                    answers[name] = await waiting.pop(name)
                except Exception as error:
                    self._core.resume_attempt(id, option_error(name, error))
                    break
                except BaseException as error:  # cancelled, by itself or because the binding is closing
                    self._core.resume_attempt(id, option_error(name, error))
                    raise
            else:
                self._resume_attempt(id, answers)
        finally:
            close_all(waiting)
        self._io.schedule()

    def _resume_attempt(self, id: int, answers: dict[str, Any]) -> None:
        try:
            self._core.resume_attempt(id, answers)
        except pp.LocalProtocolError as error:  # an invalid value
            self._core.resume_attempt(id, option_error(", ".join(answers), error))

    async def _request_id(self) -> str:
        await self._io.checkpoint()
        while not self._ended:
            await self._until(lambda: self._ended or self._core.ready_state is pp.ReadyState.OPEN)
            if self._core.ready_state is pp.ReadyState.OPEN:
                ids, opens = self._ids, self._opens
                self._core.request_id()
                self._io.schedule()
                await self._until(lambda: self._ended or self._ids > ids or self._opens > opens)  # noqa: B023
                if self._ids > ids:
                    return self._last_id
        raise pp.ConnectionLost("the client ended before the server sent the id")

    def _deliver(self, event: ev.Event) -> None:
        if type(event) is ev.DataReceived:
            self._deliver_data(event)
            return
        if type(event) is ev.AttemptHeld:
            self._ask_functions(event.id)
            return
        if type(event) is ev.StepHeld:
            start_step(self._io, event.held, self._core.limits.transform)
            return
        if type(event) is ev.Delivery:
            self._deliver_call(event)
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
        self._log_progress(event)
        self._emit_or_log(event, event.args)
        self._wake_waiters()

    def _log_progress(self, event: ev.Event) -> None:
        """Log once that the connection is lost, that it is back, and that the client has given up."""
        if type(event) is ev.ReconnectScheduled:
            level = logging.DEBUG if self._is_reconnecting else logging.INFO
            progress_log.log(level, "%r: not connected, trying again in %.1f s: %s", self, event.delay, event.error)
            self._is_reconnecting = True
        elif type(event) is ev.Opened and self._is_reconnecting:
            progress_log.info("%r: connected%s", self, " again" if self._opens > 1 else "")
            self._is_reconnecting = False
        elif type(event) is ev.Ended:
            if event.reason.kind not in ("local", "server") and not self._entering:
                progress_log.warning("%r: it has ended: %s", self, event.reason)
            self._is_reconnecting = False

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is ev.ErrorOccurred:
            if isinstance(event.error, pp.ConnectError):  # told by what follows: reconnecting, or the end
                log.debug("%r: %s", self, event.error)
            else:
                self._peer_log.warning("%r: %s", self, event.error)
        elif type(event) is ev.Logged:
            self._peer_log.warning("%r, %s", self, event.text)
        elif type(event) is ev.MessagesDropped:  # only counted, because they may be large or secret
            self._peer_log.warning(
                "%r: %d written values will not be sent: %s", self, len(event.payloads), event.reason
            )

    def _handle_failure(self, error: BaseException) -> None:
        if self._is_over and is_goodbye(error):
            log.debug("%r: a listener ended because it has ended: %s", self, error)
            return
        log.error("%r: a listener raised; ending the client", self, exc_info=error)
        if not isinstance(error, Exception):  # raised again unwrapped, it would cancel the task that leaves `connect`
            cancelled, error = error, pp.PrimusError("a listener was cancelled")
            error.__cause__ = cancelled
        self._failure = self._failure or error
        self.end()


def option_error(name: str, error: BaseException) -> pp.ConnectError:
    """Return the error of an attempt that failed because a function among its options did."""
    failure = pp.ConnectError(f"the function for {name} failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def close_all(waiting: Mapping[str, Awaitable[Any]]) -> None:
    """Close coroutines that will not be awaited."""
    for each in waiting.values():
        getattr(each, "close", lambda: None)()


def connect_error(reason: pp.CloseReason) -> pp.ConnectError:
    """Return the exception for a client that gave up before it was ever open. Its cause is the last failure."""
    last = reason.error
    text = {"retries": "gave up reconnecting", "timeout": "gave up"}.get(reason.kind, "could not connect")
    if isinstance(last, pp.ConnectError):
        error = pp.ConnectError(f"{text}: {last}", status=last.status, headers=last.headers, body=last.body)
    else:
        error = pp.ConnectError(f"{text}: {last or reason}")
    error.__cause__ = last
    return error


class Client(ClientBase, AsyncSession):
    """A client, as `connect` gives it."""

    async def wait_open(self) -> None:
        """Wait until the connection is open. Returns at once if it is.

        Raises ConnectError once the client has ended, with the failure of the last attempt if there was one.
        """
        await self._until_is_open()

    async def id(self) -> str:
        """Ask the server for the id of this connection's spark. Waits for a connection if there is none.

        Raises ConnectionLost if the client ends before the answer.
        """
        return await self._request_id()
