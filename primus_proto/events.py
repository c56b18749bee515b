"""What the application should know, in the order in which it happened.

Each event class has the documented name (`name`, protocol 5) under which listeners ask for it, and gives what such a
listener is called with (`args`). A server's events carry their `Spark`; a client has but one connection to speak of.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal

from .commands import message
from .errors import LocalProtocolError, PrimusError
from .session.states import CloseReason

# What stands for a spark: `primus_proto.Spark`, or the object that a binding's user holds.
if TYPE_CHECKING:
    from typing_extensions import TypeVar  # every type checker brings this one; the default is not known before 3.13

    from .http.model import Request

    S = TypeVar("S", default=Any)
else:
    from typing import TypeVar

    S = TypeVar("S")


__all__ = [
    "CloseReason", "Closed", "ConnectTimedOut", "DataReceived", "Destroyed",
    "Drained", "Ended", "ErrorOccurred", "Event", "Flatlined", "HeartbeatSkipped", "IdReceived", "Initialised",
    "Logged", "MessageIgnored", "MessagesDropped", "Opened", "ReadyStateChanged", "ReconnectEvent",
    "ReconnectFailed", "ReconnectScheduled", "ReconnectStarted", "ReconnectTimedOut", "Reconnected", "RequestHeld",
    "ServerClosed", "SparkConnected", "SparkData", "SparkDisconnected", "SparkDrained", "SparkEnded",
    "SparkError", "SparkEvent", "SparkHeartbeat", "SparkMessageIgnored", "SparkMessagesDropped",
    "SparkReadyStateChanged", "SpecReceived", "WentOffline", "WentOnline",
]  # fmt: skip


class Event:
    """Base class of all events."""

    __slots__ = ()
    name: ClassVar[str] = ""

    @property
    def args(self) -> tuple[Any, ...]:
        """What a listener registered under the documented name is called with."""
        return ()


# --- of a client ---


@message
class Opened(Event):
    """The connection is open, for the first time or again."""

    name = "open"


@message
class DataReceived(Event):
    """A message arrived; `data` is the decoded value."""

    name = "data"
    data: Any
    size: int = field(default=0, compare=False, repr=False)
    """Length of the encoded message, for whoever bounds what waits to be handled."""

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.data,)


@message
class ErrorOccurred(Event):
    """Something went wrong; alone it does not mean that the connection is gone."""

    name = "error"
    error: PrimusError

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.error,)


@message
class Closed(Event):
    """The connection is gone; the client may reconnect."""

    name = "close"
    reason: CloseReason


@message
class Ended(Event):
    """The client is at its end and stays there unless `open` is called. The last event."""

    name = "end"
    reason: CloseReason


@message
class ReadyStateChanged(Event):
    """`state` is ``opening``, ``open`` or ``end``."""

    name = "readyStateChange"
    state: Literal["opening", "open", "end"]

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.state,)


@message
class ReconnectEvent(Event):
    """Base of the events of a reconnect procedure.

    `attempt` counts from 1 up to `retries` (None: there is no last); `delay` is the wait before this attempt; `start`
    is when the procedure began, on the driver's clock; `duration` is how long it has run. Seconds. `error` is what
    failed.
    """

    attempt: int
    retries: int | None
    delay: float
    start: float
    duration: float
    error: PrimusError | None = None

    @property
    def args(self) -> tuple[Any, ...]:
        return (self,)


@message
class ReconnectScheduled(ReconnectEvent):
    """An attempt will be made after `delay` seconds."""

    name = "reconnect scheduled"


@message
class ReconnectStarted(ReconnectEvent):
    """An attempt is about to be made."""

    name = "reconnect"


@message
class Reconnected(ReconnectEvent):
    """The attempt succeeded."""

    name = "reconnected"


@message
class ReconnectTimedOut(ReconnectEvent):
    """The attempt took longer than `reconnect_timeout`."""

    name = "reconnect timeout"


@message
class ReconnectFailed(ReconnectEvent):
    """All attempts are used up; `error` is what the last one failed with."""

    name = "reconnect failed"


@message
class ConnectTimedOut(Event):
    """The first connect took longer than `timeout`."""

    name = "timeout"


@message
class WentOnline(Event):
    """The network is back."""

    name = "online"


@message
class WentOffline(Event):
    """The server stopped answering, or the host said that the network is gone."""

    name = "offline"


@message
class Destroyed(Event):
    """`destroy` was called: the client cannot be opened again."""

    name = "destroy"


@message
class IdReceived(Event):
    """The answer to `request_id`."""

    name = "incoming::id"
    id: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.id,)


@message
class SpecReceived(Event):
    """What a server says of itself; of a `SpecQuery`."""

    name = "spec"
    spec: dict[str, Any]

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spec,)


@message
class MessageIgnored(Event):
    """A ``primus::`` message that is unknown, or makes no sense now, arrived and was ignored (protocol 1)."""

    name = "message ignored"
    text: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.text,)


@message
class MessagesDropped(Event):
    """Messages that were written and will not be sent: `payloads` as encoded, and why (protocol 4.3)."""

    name = "messages dropped"
    payloads: tuple[str | bytes, ...]
    reason: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.payloads, self.reason)


@message
class Drained(Event):
    """The unsent bytes fell to half the limit or below, after they had been above it."""

    name = "drain"


# --- of a server ---


@message
class SparkEvent(Event, Generic[S]):
    """Base of the events about one spark.

    `spark` is a `primus_proto.Spark` as the core hands the event out; a binding replaces it with the object that its
    user holds.
    """

    spark: S


@message
class SparkConnected(SparkEvent[S]):
    """A new session."""

    name = "connection"

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark,)


@message
class SparkDisconnected(SparkEvent[S]):
    """A session is over."""

    name = "disconnection"
    reason: CloseReason

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark,)


@message
class SparkData(SparkEvent[S]):
    """A message arrived; `data` is the decoded value."""

    name = "data"
    data: Any
    size: int = field(default=0, compare=False, repr=False)
    """Length of the encoded message, for whoever bounds what waits to be handled."""

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.data,)


@message
class SparkError(SparkEvent[S]):
    """Something went wrong on this spark; alone it does not mean that the spark is gone."""

    name = "error"
    error: PrimusError

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.error,)


@message
class SparkReadyStateChanged(SparkEvent[S]):
    """The spark closed: a spark is born open and changes but once."""

    name = "readyStateChange"


@message
class SparkEnded(SparkEvent[S]):
    """The spark is closed; nothing more comes from it."""

    name = "end"
    reason: CloseReason


@message
class SparkHeartbeat(SparkEvent[S]):
    """A ping came; the count of skipped heartbeats starts again."""

    name = "heartbeat"


@message
class SparkMessageIgnored(SparkEvent[S]):
    """A ``primus::`` message that is unknown, or makes no sense here, arrived and was ignored (protocol 1)."""

    name = "message ignored"
    text: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.text,)


@message
class SparkMessagesDropped(SparkEvent[S]):
    """Messages that were written to the spark and will not be sent: `payloads` as encoded, and why (protocol 4.3)."""

    name = "messages dropped"
    payloads: tuple[str | bytes, ...]
    reason: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.payloads, self.reason)


@message
class SparkDrained(SparkEvent[S]):
    """The spark's unsent bytes fell to half the limit or below, after they had been above it."""

    name = "drain"


@message
class HeartbeatSkipped(SparkEvent[S]):
    """No ping within the heartbeat timeout, `count` times in a row (protocol 3.2)."""

    name = "heartbeat-skipped"
    count: int

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark, self.count)


@message
class Flatlined(SparkEvent[S]):
    """More heartbeats were missed than allowed, or for longer: the spark was ended, and its client may reconnect."""

    name = "flatline"
    count: int

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark, self.count)


@message
class RequestHeld(Event):
    """A layer has to wait, such as ``authorization``: call `resume(id, ...)`, now or later (protocol 6)."""

    name = "request held"
    id: int
    layer: str
    request: Request

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.id, self.layer, self.request)


@message
class Initialised(Event):
    """The server is ready."""

    name = "initialised"


@message
class ServerClosed(Event):
    """The server has closed and every session is over."""

    name = "close"


@message
class Logged(Event):
    """Something worth a line in a log (protocol 4.2).

    `level` is ``error`` for what is the `error` of a spark too, ``warning`` for what belongs to none, such as a peer
    that does not speak HTTP.
    """

    name = "log"
    level: Literal["error", "warning"]
    text: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.level, self.text)


def check_event(event: object, names: Collection[str]) -> None:
    """Raise LocalProtocolError for what nobody can listen to: none of these names, and no class of this module."""
    if isinstance(event, str):
        if event not in names:
            known = ", ".join(sorted(names))
            raise LocalProtocolError(f"there is no event {event!r} here; there are: {known}")
    elif not (isinstance(event, type) and issubclass(event, Event)):
        raise LocalProtocolError(f"an event is a name, or a class of primus_proto.events; got {event!r}")
