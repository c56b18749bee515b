"""Events: what happened, in order, as `poll(now=)` hands it out.

Each class has the documented `name` of the event (protocol 5). A listener of that name is called with its `args`.
Events about one session of a server carry its `Spark`.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, Literal

from .commands import message
from .errors import PrimusError
from .event_base import AttemptHeld, Event
from .plugin_events import Delivery, PluginAdded, PluginEvent, PluginRemoved, StepHeld
from .session.states import CloseReason

# The type of a spark: `primus_proto.Spark`, or the object that a binding gives its users.
if TYPE_CHECKING:
    from typing_extensions import TypeVar  # every type checker knows this module; typing has no defaults before 3.13

    from .http.model import Request

    S = TypeVar("S", default=Any)
else:
    from typing import TypeVar

    S = TypeVar("S")


__all__ = [
    "AttemptHeld", "CloseReason", "Closed", "ConnectTimedOut", "DataReceived", "Delivery", "Destroyed", "Drained",
    "Ended", "ErrorOccurred", "Event", "Flatlined", "HeartbeatSkipped", "IdReceived", "Initialised", "Logged",
    "MessageIgnored", "MessagesDropped", "Opened", "PluginAdded", "PluginEvent", "PluginRemoved",
    "ReadyStateChanged", "ReconnectEvent", "ReconnectFailed", "ReconnectScheduled", "ReconnectStarted",
    "ReconnectTimedOut", "Reconnected", "RequestHeld", "ServerClosed", "SparkConnected", "SparkData",
    "SparkDisconnected", "SparkDrained", "SparkEnded", "SparkError", "SparkEvent", "SparkHeartbeat",
    "SparkMessageIgnored", "SparkMessagesDropped", "SparkReadyStateChanged", "SpecReceived", "StepHeld",
    "WentOffline", "WentOnline",
]  # fmt: skip


# --- of a client ---


@message
class Opened(Event):
    """The connection is open, for the first time or again."""

    name = "open"


@message
class DataReceived(Event):
    """A message arrived. `data` is the decoded value."""

    name = "data"
    data: Any
    size: int = field(default=0, compare=False, repr=False)
    """Length of the encoded message in bytes, by which a binding bounds what waits to be handled."""

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.data,)


@message
class ErrorOccurred(Event):
    """Something went wrong. The connection may still be open."""

    name = "error"
    error: PrimusError

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.error,)


@message
class Closed(Event):
    """The connection is gone. The client may reconnect."""

    name = "close"
    reason: CloseReason


@message
class Ended(Event):
    """The client has ended, and stays so unless `open` is called.

    This is its last event, but for an `error` about values that an asynchronous transform has not finished with.
    """

    name = "end"
    reason: CloseReason


@message
class ReadyStateChanged(Event):
    """The ready state has changed: `state` is ``opening``, ``open`` or ``end``."""

    name = "readyStateChange"
    state: Literal["opening", "open", "end"]

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.state,)


@message
class ReconnectEvent(Event):
    """Base of the events of a reconnect procedure.

    `attempt` counts from 1 up to `retries` (None: no limit). All times are seconds: `delay` is the wait before this
    attempt, `start` is when the procedure began, on the driver's clock, and `duration` is how long it has run.
    `error` is the last failure.
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
    """All attempts are used up. `error` is the failure of the last one."""

    name = "reconnect failed"


@message
class ConnectTimedOut(Event):
    """The first attempt to connect took longer than `timeout`."""

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
    """A server's spec, which a `SpecQuery` asked for."""

    name = "spec"
    spec: dict[str, Any]

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spec,)


@message
class MessageIgnored(Event):
    """A ``primus::`` message arrived that is unknown, or has no meaning now. It was ignored (protocol 1)."""

    name = "message ignored"
    text: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.text,)


@message
class MessagesDropped(Event):
    """Written messages will not be sent. `payloads` has them encoded, `reason` says why (protocol 4.3)."""

    name = "messages dropped"
    payloads: tuple[str | bytes, ...]
    reason: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.payloads, self.reason)


@message
class Drained(Event):
    """The unsent bytes fell to half the limit, after they had been above it."""

    name = "drain"


# --- of a server ---


@message
class SparkEvent(Event, Generic[S]):
    """Base of the events about one spark.

    The core sets `spark` to a `primus_proto.Spark`. A binding replaces it by the object that it gives its users.
    """

    spark: S


@message
class SparkConnected(SparkEvent[S]):
    """A session has opened."""

    name = "connection"

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark,)


@message
class SparkDisconnected(SparkEvent[S]):
    """A session has ended."""

    name = "disconnection"
    reason: CloseReason

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark,)


@message
class SparkData(SparkEvent[S]):
    """A message arrived. `data` is the decoded value."""

    name = "data"
    data: Any
    size: int = field(default=0, compare=False, repr=False)
    """Length of the encoded message in bytes, by which a binding bounds what waits to be handled."""

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.data,)


@message
class SparkError(SparkEvent[S]):
    """Something went wrong on this spark. It may still be open."""

    name = "error"
    error: PrimusError

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.error,)


@message
class SparkReadyStateChanged(SparkEvent[S]):
    """The spark has closed. A new spark is open, and this is the only change."""

    name = "readyStateChange"


@message
class SparkEnded(SparkEvent[S]):
    """The spark has ended. This is its last event."""

    name = "end"
    reason: CloseReason


@message
class SparkHeartbeat(SparkEvent[S]):
    """A heartbeat arrived. The count of skipped heartbeats starts again."""

    name = "heartbeat"


@message
class SparkMessageIgnored(SparkEvent[S]):
    """A ``primus::`` message arrived that is unknown, or has no meaning here. It was ignored (protocol 1)."""

    name = "message ignored"
    text: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.text,)


@message
class SparkMessagesDropped(SparkEvent[S]):
    """Messages written to the spark will not be sent. `payloads` has them encoded, `reason` says why (protocol 4.3)."""

    name = "messages dropped"
    payloads: tuple[str | bytes, ...]
    reason: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.payloads, self.reason)


@message
class SparkDrained(SparkEvent[S]):
    """The spark's unsent bytes fell to half the limit, after they had been above it."""

    name = "drain"


@message
class HeartbeatSkipped(SparkEvent[S]):
    """No ping arrived within the heartbeat timeout, `count` times in a row (protocol 3.2)."""

    name = "heartbeat-skipped"
    count: int

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark, self.count)


@message
class Flatlined(SparkEvent[S]):
    """Too many heartbeats were missed, or for too long. The spark was ended; its client may reconnect."""

    name = "flatline"
    count: int

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.spark, self.count)


@message
class RequestHeld(Event):
    """A layer such as ``authorization`` holds a request until `resume(id, ...)` is called (protocol 6)."""

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
    """The server has closed, and all sessions have ended."""

    name = "close"


@message
class Logged(Event):
    """Something worth a line in a log (protocol 4.2).

    `level` is ``error`` for errors of sparks and layers that fail, and ``warning`` for what belongs to no spark, such
    as a peer that does not speak HTTP. `error` is what a layer raised, otherwise None. A client says here what becomes
    of its last values after `end`, which is its last event with a name.
    """

    name = "log"
    level: Literal["error", "warning"]
    text: str
    error: BaseException | None = None

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.level, self.text)
