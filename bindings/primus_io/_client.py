"""A client, as users of the bindings that await hold it."""

from __future__ import annotations

from typing import Any

import primus_proto as pp
from primus_proto import events as ev

from ._session import Session, SessionInfo, log

__all__ = ["Client", "ClientInfo"]


class ClientInfo(SessionInfo):
    """What can be read of a client at any time, without a loop."""

    NAMES = frozenset(
        event.name
        for event in vars(ev).values()
        if isinstance(event, type) and issubclass(event, ev.Event) and not issubclass(event, ev.SparkEvent)
        if event.name and event.name not in {"initialised", "log", "request held", "incoming::id", "spec"}
    )
    _core: pp.Client

    def __repr__(self) -> str:
        config = self._core.config  # without user, password and query: this is what logs have
        scheme = "https" if config.secure else "http"
        return f"<Primus {scheme}://{config.authority}{config.pathname} {self._core.state.value}>"

    @property
    def latency(self) -> float | None:
        """Seconds the last ping took; before the first, seconds the open took; None before that."""
        return self._core.latency


class Client(ClientInfo, Session):
    """A client, as `connect` gives it."""

    failure: Exception | None = None
    """What a listener raised; `connect` raises it again when it is left."""
    _leaving = _left = False
    _last_id = ""
    _ids = 0
    _opens = 0

    def open(self) -> None:
        """Connect, with `manual=True` or after an end. Ignored while it is being left, an error after that."""
        if self._stays_closed():
            return
        self._core.open()
        self._io.pump()

    def end(self, data: Any = pp.NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        self._end_with(lambda: self._core.end(data))

    def destroy(self) -> None:
        """`end`, and never to be opened again."""
        self._end_with(self._core.destroy)

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
    def _is_over(self) -> bool:
        return self._core.state.over

    def _stays_closed(self) -> bool:
        if self._left:
            raise pp.LocalProtocolError("this client has been left: enter a new `connect`")
        return self._leaving

    async def id(self) -> str:
        """Ask the server for the id of this connection's spark; waits for a connection if there is none.

        Raises ConnectionLost when the client ends before there was an answer.
        """
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
        self._emit_or_log(event, event.args)
        self._wake_waiters()

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is ev.ErrorOccurred:
            log.warning("%r: %s", self, event.error)
        elif type(event) is ev.MessagesDropped:  # only counted: they may be large, or secret
            log.warning("%r: %d written values will not be sent: %s", self, len(event.payloads), event.reason)

    def _handle_failure(self, error: BaseException) -> None:
        log.error("%r: its listener raised; ending it", self, exc_info=error)
        if not isinstance(error, Exception):  # raised again as it is, it would cancel whoever leaves
            cancelled, error = error, pp.PrimusError("a listener was cancelled")
            error.__cause__ = cancelled
        self.failure = self.failure or error
        self.end()
