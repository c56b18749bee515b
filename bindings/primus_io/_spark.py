"""A spark, as users of the bindings hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol, cast

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.events import SparkData
from primus_proto.options import Dialect
from primus_proto.session.encoding import new
from primus_proto.timers import Timers

from ._advice import SPARK_ADVICE
from ._emitter import is_goodbye, log
from ._peer_log import PeerLog
from ._session import Session, Undecoded

__all__ = ["SparkBase"]


class Keeping(Protocol):
    """The announcement of a spark, as long as it runs."""

    def keep(self, event: ev.SparkEvent[Any] | ev.Delivery | ev.PluginEvent) -> None:
        """Keep an event for later."""


class SparkBase(Session):
    """A spark, but for the methods that wait."""

    _ADVICE: ClassVar[Mapping[str, str]] = SPARK_ADVICE
    _core: pp.Spark
    _announcement: Keeping | None = None  # while listeners of `connection` wait
    server: Any

    def __repr__(self) -> str:
        return f"<Spark {self.id} {self.state}>"

    @property
    def state(self) -> Literal["open", "closed"]:
        """``open`` or ``closed``."""
        return cast(Literal["open", "closed"], self._core.ready_state.name.lower())

    @property
    def id(self) -> str:
        """The id of this connection. No other connection has the same."""
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
    def dialect(self) -> Dialect:
        """The dialect of its heartbeat: ``happn``, ``primus6`` or ``primus``; ``auto`` until that is known."""
        return cast(Dialect, self._core.dialect)

    @property
    def heartbeat_timeout(self) -> float | None:
        """Seconds of silence that count as one missed heartbeat; None if silence is allowed."""
        return self._core.heartbeat_timeout

    def end(self, data: Any = pp.NOTHING, *, reconnect: bool = False) -> None:
        """Close the session, after sending `data` if given. The client comes back only with `reconnect`."""
        self._do(lambda: self._end_with(lambda: self._core.end(data, reconnect=reconnect)))

    @property
    def _is_over(self) -> bool:
        return not self._core.is_open

    @property
    def _has_taker(self) -> bool:
        return self._iterating or self.server._handler is not None

    @property
    def _timers(self) -> Timers:
        return self._core.server.timers

    @property
    def _peer_log(self) -> PeerLog:
        log: PeerLog = self.server._peer_log
        return log

    def _take_text(self, text: str) -> None:
        """A text came that is decoded when it is taken, or now if anything listens."""
        event, listeners = Undecoded(self, text, len(text)), self._listeners
        if not ("data" in listeners or SparkData in listeners or SparkData in self.server._listeners):
            self._keep(event)
        elif self._decode(event):
            self.server._deliver(SparkData(self._core, event.data, event.size))

    def _decode(self, event: Undecoded) -> bool:
        event.data = self._core.decode_late(event.data)  # type: ignore[misc]  # frozen for users, who never get it
        if event.data is not pp.NOTHING:
            return True
        self._io.schedule()  # of the error
        return False

    def _is_inbox_due(self) -> bool:
        return self._announcement is None and super()._is_inbox_due()

    def _is_busy(self) -> bool:
        self._end_waits = super()._is_busy() or (self._announcement is not None and bool(self._inbox))
        return self._end_waits

    def _add(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._core.server.tells_heartbeats |= event in ("heartbeat", ev.SparkHeartbeat)
        super()._add(event, listener)

    def _data_event(self, value: Any, size: int) -> ev.SparkData:
        event = new(SparkData)  # what SparkData(self, value, size) does, in less time
        event.spark, event.data, event.size = self, value, size
        return event  # type: ignore[no-any-return]  # see `new`

    def _note(self, event: ev.SparkEvent) -> None:
        """Wake those who wait for what an event says."""
        if type(event) is ev.SparkEnded:
            self._deliver_end()
        elif type(event) is ev.SparkDrained:
            self._wake_waiters()

    def _log_unhandled(self, event: ev.Event) -> None:
        if type(event) is ev.SparkError:
            self._peer_log.warning("spark %s: %s", self.id, event.error)

    def _handle_failure(self, error: BaseException) -> None:
        if isinstance(error, pp.Refused):
            self._end_with(lambda: self._core.refuse(error))
            return
        if self._is_over and is_goodbye(error):
            log.debug("spark %s: its handler or listener ended because the spark has: %s", self.id, error)
            return
        log.error("spark %s: its handler or listener raised; ending it", self.id, exc_info=error)
        # Without primus::server::close, so that the client comes back.
        self._end_with(lambda: self._core.end(reconnect=True, code=1011, reason="internal error"))
