"""The state machines, as data: ``(state, trigger) -> state``; and `CloseReason`, why a session came to its end.

A pair that is missing from a table cannot happen: asked for by the application it is a `LocalProtocolError`,
and the code never asks for it otherwise. The diagrams in the documentation are these tables.
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
    "step",
]


class ReadyState(IntEnum):
    """The connection as the original numbers it (protocol 4.1)."""

    OPENING = 1
    CLOSED = 2
    OPEN = 3

    @property
    def announced(self) -> str:
        """What a client's `readyStateChange` calls it."""
        return "end" if self is ReadyState.CLOSED else self.name.lower()


class ClientState(Enum):
    """Where a client is in its life. `ReadyState` tells less: waiting and ended are both CLOSED there."""

    IDLE = "idle"  # made with manual=True and not opened yet
    CONNECTING = "connecting"  # the first attempt of an `open`
    OPEN = "open"
    WAITING = "waiting"  # for the delay before the next reconnect attempt
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    DESTROYED = "destroyed"


class ClientTrigger(Enum):
    """What moves a client from state to state."""

    OPEN = "open()"
    CONNECTED = "connected"
    RETRY = "lost, will retry"
    GIVE_UP = "lost for good"
    DUE = "delay over"
    END = "end()"
    ONLINE = "network back"
    DESTROY = "destroy()"


class SparkState(Enum):
    """Where a spark is in its life: it is born open."""

    OPEN = "open"
    CLOSED = "closed"


class SparkTrigger(Enum):
    """What closes a spark."""

    END = "end()"
    LOST = "lost"
    FLATLINE = "flatline"
    CUT = "backlog over the limit"


CloseKind = Literal["local", "server", "client", "lost", "refused", "timeout", "retries", "flatline", "backlog"]


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a session is over.

    `kind` is ``local`` (this end ended it), ``server`` or ``client`` (the other end did, politely), ``lost``,
    ``refused`` (the server answered the connect request with `error.status`), ``timeout``, ``retries``
    (reconnecting was given up), ``flatline`` (too many heartbeats missed) or ``backlog`` (the peer did not read).
    `code` and `reason` are those of the WebSocket close, 1006 where there was none.
    """

    kind: CloseKind
    code: int = 1000
    reason: str = ""
    error: PrimusError | None = None

    def __str__(self) -> str:
        detail = f": {self.error}" if self.error else f": {self.reason}" if self.reason else ""
        return f"{self.kind} ({self.code}){detail}"


_C, _T = ClientState, ClientTrigger
CLIENT: Mapping[tuple[ClientState, ClientTrigger], ClientState] = {
    (_C.IDLE, _T.OPEN): _C.CONNECTING,
    (_C.IDLE, _T.END): _C.ENDED,
    (_C.CONNECTING, _T.CONNECTED): _C.OPEN,
    (_C.CONNECTING, _T.RETRY): _C.WAITING,
    (_C.CONNECTING, _T.GIVE_UP): _C.ENDED,
    (_C.CONNECTING, _T.END): _C.ENDED,
    (_C.OPEN, _T.RETRY): _C.WAITING,
    (_C.OPEN, _T.GIVE_UP): _C.ENDED,
    (_C.OPEN, _T.END): _C.ENDED,
    (_C.WAITING, _T.DUE): _C.RECONNECTING,
    (_C.WAITING, _T.GIVE_UP): _C.ENDED,
    (_C.WAITING, _T.END): _C.ENDED,
    (_C.RECONNECTING, _T.CONNECTED): _C.OPEN,
    (_C.RECONNECTING, _T.RETRY): _C.WAITING,
    (_C.RECONNECTING, _T.GIVE_UP): _C.ENDED,
    (_C.RECONNECTING, _T.END): _C.ENDED,
    (_C.ENDED, _T.OPEN): _C.CONNECTING,
    (_C.ENDED, _T.ONLINE): _C.WAITING,
    (_C.ENDED, _T.DESTROY): _C.DESTROYED,
}

SPARK: Mapping[tuple[SparkState, SparkTrigger], SparkState] = {
    (SparkState.OPEN, trigger): SparkState.CLOSED for trigger in SparkTrigger
}

S = TypeVar("S", bound=Enum)
T = TypeVar("T", bound=Enum)


def step(table: Mapping[tuple[S, T], S], state: S, trigger: T) -> S:
    """The state after `trigger`; LocalProtocolError where the table knows no such step."""
    try:
        return table[state, trigger]
    except KeyError:
        raise LocalProtocolError(f"cannot do '{trigger.value}' while {state.value}") from None
