"""The state machines as tables, ``(state, trigger) -> state``, and `CloseReason`, why a session ended.

A pair that is missing from a table is not allowed: an application that asks for it gets a `LocalProtocolError`, and the
core itself never does. The diagrams in the documentation are drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal, TypeVar

from ..errors import LocalProtocolError, PrimusError

__all__ = [
    "CLIENT",
    "SPARK",
    "ClientState",
    "ClientTrigger",
    "CloseReason",
    "ReadyState",
    "SparkState",
    "SparkTrigger",
    "check_close",
    "step",
]


class ReadyState(IntEnum):
    """The state of a connection, numbered as in Primus (protocol 4.1)."""

    OPENING = 1
    CLOSED = 2
    OPEN = 3

    @property
    def announced(self) -> Literal["opening", "open", "end"]:
        """The name that a client's `readyStateChange` gives it."""
        if self is ReadyState.CLOSED:
            return "end"
        return "open" if self is ReadyState.OPEN else "opening"


class ClientState(Enum):
    """The state of a client. It is finer than `ReadyState`, where waiting and ended are both CLOSED."""

    IDLE = "idle"  # made with manual=True, and not opened yet
    STARTING = "starting"  # `open` was called; the first attempt begins with the next `poll`
    CONNECTING = "connecting"  # the first attempt of an `open`
    OPEN = "open"
    CLOSING = "closing"  # the server said `primus::server::close`: the loss that follows is the end
    WAITING = "waiting"  # for the delay before the next reconnect attempt
    RECONNECTING = "reconnecting"
    OFFLINE = "offline"  # ended because the network is gone; reconnects when it is back
    RESUMING = "resuming"  # the network is back; reconnecting begins with the next `poll`
    ENDED = "ended"
    DESTROYED = "destroyed"

    @property
    def over(self) -> bool:
        """Whether the client has ended: it takes no data, and only `open` or the network starts it again."""
        return self in _OVER


class ClientTrigger(Enum):
    """What moves a client from state to state."""

    OPEN = "open()"
    START = "polled"
    CONNECTED = "connected"
    SERVER_CLOSE = "server::close received"
    RETRY = "lost, will retry"
    GIVE_UP = "lost for good"
    DUE = "delay over"
    END = "end()"
    OFFLINE = "network gone"
    ONLINE = "network back"
    DESTROY = "destroy()"


class SparkState(Enum):
    """The state of a spark. A new spark is open."""

    OPEN = "open"
    CLOSED = "closed"  # by its peer, a missed heartbeat or a limit: data that came before is still handed out
    ENDED = "ended"  # by this end: data that came before is withheld

    @property
    def over(self) -> bool:
        """Whether the session is over."""
        return self is not SparkState.OPEN


class SparkTrigger(Enum):
    """What closes a spark."""

    END = "end()"
    LOST = "lost"
    FLATLINE = "flatline"
    CUT = "backlog over the limit"


CloseKind = Literal["local", "server", "client", "lost", "refused", "timeout", "retries", "flatline", "backlog"]


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a session ended.

    `kind` is ``local`` (this end closed it), ``server`` or ``client`` (the other end closed it), ``lost`` (the
    connection was lost), ``refused`` (the server answered the connect request with `error.status`), ``timeout``,
    ``retries`` (the client gave up reconnecting), ``flatline`` (too many heartbeats were missed) or ``backlog`` (the
    peer did not read). `code` and `reason` are those of the WebSocket close; without one, the code is 1006.
    """

    kind: CloseKind
    code: int = 1000
    reason: str = ""
    error: PrimusError | None = None

    def __str__(self) -> str:
        detail = f": {self.error}" if self.error else f": {self.reason}" if self.reason else ""
        return f"{self.kind} ({self.code}){detail}"


_C, _T = ClientState, ClientTrigger
_OVER = frozenset((_C.OFFLINE, _C.ENDED, _C.DESTROYED))

CLIENT: Mapping[tuple[ClientState, ClientTrigger], ClientState] = {
    (_C.IDLE, _T.OPEN): _C.STARTING,
    (_C.STARTING, _T.START): _C.CONNECTING,
    (_C.CONNECTING, _T.CONNECTED): _C.OPEN,
    (_C.CONNECTING, _T.RETRY): _C.WAITING,
    (_C.CONNECTING, _T.GIVE_UP): _C.ENDED,
    (_C.OPEN, _T.SERVER_CLOSE): _C.CLOSING,
    (_C.OPEN, _T.RETRY): _C.WAITING,
    (_C.OPEN, _T.GIVE_UP): _C.ENDED,
    (_C.CLOSING, _T.GIVE_UP): _C.ENDED,
    (_C.WAITING, _T.DUE): _C.RECONNECTING,
    (_C.RECONNECTING, _T.CONNECTED): _C.OPEN,
    (_C.RECONNECTING, _T.RETRY): _C.WAITING,
    (_C.RECONNECTING, _T.GIVE_UP): _C.ENDED,
    (_C.OFFLINE, _T.ONLINE): _C.RESUMING,
    (_C.OFFLINE, _T.OPEN): _C.STARTING,
    (_C.OFFLINE, _T.DESTROY): _C.DESTROYED,
    (_C.RESUMING, _T.RETRY): _C.WAITING,
    (_C.RESUMING, _T.GIVE_UP): _C.ENDED,
    (_C.ENDED, _T.OPEN): _C.STARTING,
    (_C.ENDED, _T.DESTROY): _C.DESTROYED,
    **{(state, _T.END): _C.ENDED for state in _C if state not in (_C.ENDED, _C.DESTROYED)},
    **{(state, _T.OFFLINE): _C.OFFLINE for state in _C if state not in _OVER and state is not _C.IDLE},
}

SPARK: Mapping[tuple[SparkState, SparkTrigger], SparkState] = {
    (SparkState.OPEN, SparkTrigger.END): SparkState.ENDED,
    (SparkState.OPEN, SparkTrigger.LOST): SparkState.CLOSED,
    (SparkState.OPEN, SparkTrigger.FLATLINE): SparkState.CLOSED,
    (SparkState.OPEN, SparkTrigger.CUT): SparkState.CLOSED,
    (SparkState.CLOSED, SparkTrigger.END): SparkState.ENDED,
}

S = TypeVar("S", bound=Enum)
T = TypeVar("T", bound=Enum)


def step(table: Mapping[tuple[S, T], S], state: S, trigger: T) -> S:
    """The state after `trigger`. Raises LocalProtocolError if the table has no such step."""
    try:
        return table[state, trigger]
    except KeyError:
        raise LocalProtocolError(f"cannot do '{trigger.value}' while {state.value}") from None


def check_close(code: object, reason: str) -> None:
    """LocalProtocolError for what a WebSocket close frame must not carry (RFC 6455, 7.4)."""
    if not isinstance(code, int) or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
        raise LocalProtocolError(f"code must be a close code that may be sent, 3000 to 4999 for your own; got {code!r}")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"reason cannot be sent: {error}") from None
