"""The typed `on` and `off` of clients, sparks and servers: which events there are, and what each listener is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, get_args, overload

import primus_proto as pp
from primus_proto import events as ev

from ._emitter import Emitter

__all__ = [
    "ClientEventName",
    "ClientListeners",
    "ServerEventName",
    "ServerListeners",
    "SparkEventName",
    "SparkListeners",
]

Payloads = tuple[str | bytes, ...]
State = Literal["opening", "open", "end"]
Level = Literal["error", "warning"]

E = TypeVar("E", bound=ev.Event)
ServerEvent = TypeVar("ServerEvent", ev.Initialised, ev.ServerClosed, ev.Logged, ev.PluginAdded, ev.PluginRemoved)
PE = TypeVar("PE", bound=ev.PluginEvent)
F = TypeVar("F", bound=Callable[..., object])
R = TypeVar("R")
S = TypeVar("S")

ClientPlain = Literal["open", "close", "end", "timeout", "online", "offline", "destroy", "drain"]
ClientReconnect = Literal["reconnect scheduled", "reconnect", "reconnected", "reconnect timeout", "reconnect failed"]
ClientOther = Literal["data", "error", "readyStateChange", "message ignored", "messages dropped"]
ClientEventName = ClientPlain | ClientReconnect | ClientOther

SparkPlain = Literal["end", "heartbeat", "readyStateChange", "drain"]
SparkOther = Literal["data", "error", "message ignored", "messages dropped"]
SparkEventName = SparkPlain | SparkOther

ServerPlain = Literal["initialised", "close"]
ServerSpark = Literal["connection", "disconnection"]
ServerCount = Literal["heartbeat-skipped", "flatline"]
ServerPlugin = Literal["plugin", "plugout"]
ServerEventName = ServerPlain | ServerSpark | ServerCount | ServerPlugin | Literal["log"]


def names_of(*literals: Any) -> frozenset[str]:
    """The event names of these Literals."""
    return frozenset(name for literal in literals for name in get_args(literal))


class ClientListeners(Emitter):
    """`on` and `off` of a client."""

    NAMES = names_of(ClientPlain, ClientReconnect, ClientOther)

    @overload
    def on(self, event: ClientPlain, listener: Callable[[], R]) -> Callable[[], R]: ...
    @overload
    def on(self, event: Literal["data"], listener: Callable[[Any], R]) -> Callable[[Any], R]: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[pp.PrimusError], R]) -> Callable[[pp.PrimusError], R]: ...
    @overload
    def on(self, event: Literal["readyStateChange"], listener: Callable[[State], R]) -> Callable[[State], R]: ...
    @overload
    def on(
        self, event: ClientReconnect, listener: Callable[[ev.ReconnectEvent], R]
    ) -> Callable[[ev.ReconnectEvent], R]: ...
    @overload
    def on(self, event: Literal["message ignored"], listener: Callable[[str], R]) -> Callable[[str], R]: ...
    @overload
    def on(
        self, event: Literal["messages dropped"], listener: Callable[[Payloads, str], R]
    ) -> Callable[[Payloads, str], R]: ...
    @overload
    def on(self, event: type[E], listener: Callable[[E], R]) -> Callable[[E], R]: ...
    @overload
    def on(self, event: ClientEventName | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: Any, listener: Any = None) -> Any:
        """Call `listener` at each `event`. Usable as a decorator. Returns the listener.

        With an event name the listener gets the arguments that the documentation lists; with a class of
        `primus_proto.events` it gets the event. A coroutine function runs in the background: those of one
        event one at a time, in order, and those of `end` after all others. Raises LocalProtocolError for an unknown
        event and for a listener that is not callable.
        """
        return self._on(event, listener)

    def off(self, event: ClientEventName | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Undo one `on`. Does nothing if the listener is not registered."""
        self._off(event, listener)


class SparkListeners(Emitter, Generic[S]):
    """`on` and `off` of a spark. `S` is the class of the spark in event objects."""

    NAMES = names_of(SparkPlain, SparkOther)

    @overload
    def on(self, event: SparkPlain, listener: Callable[[], R]) -> Callable[[], R]: ...
    @overload
    def on(self, event: Literal["data"], listener: Callable[[Any], R]) -> Callable[[Any], R]: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[pp.PrimusError], R]) -> Callable[[pp.PrimusError], R]: ...
    @overload
    def on(self, event: Literal["message ignored"], listener: Callable[[str], R]) -> Callable[[str], R]: ...
    @overload
    def on(
        self, event: Literal["messages dropped"], listener: Callable[[Payloads, str], R]
    ) -> Callable[[Payloads, str], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkDisconnected[Any]], listener: Callable[[ev.SparkDisconnected[S]], R]
    ) -> Callable[[ev.SparkDisconnected[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkData[Any]], listener: Callable[[ev.SparkData[S]], R]
    ) -> Callable[[ev.SparkData[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkError[Any]], listener: Callable[[ev.SparkError[S]], R]
    ) -> Callable[[ev.SparkError[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkReadyStateChanged[Any]], listener: Callable[[ev.SparkReadyStateChanged[S]], R]
    ) -> Callable[[ev.SparkReadyStateChanged[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkEnded[Any]], listener: Callable[[ev.SparkEnded[S]], R]
    ) -> Callable[[ev.SparkEnded[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkHeartbeat[Any]], listener: Callable[[ev.SparkHeartbeat[S]], R]
    ) -> Callable[[ev.SparkHeartbeat[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkMessageIgnored[Any]], listener: Callable[[ev.SparkMessageIgnored[S]], R]
    ) -> Callable[[ev.SparkMessageIgnored[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkMessagesDropped[Any]], listener: Callable[[ev.SparkMessagesDropped[S]], R]
    ) -> Callable[[ev.SparkMessagesDropped[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkDrained[Any]], listener: Callable[[ev.SparkDrained[S]], R]
    ) -> Callable[[ev.SparkDrained[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.HeartbeatSkipped[Any]], listener: Callable[[ev.HeartbeatSkipped[S]], R]
    ) -> Callable[[ev.HeartbeatSkipped[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.Flatlined[Any]], listener: Callable[[ev.Flatlined[S]], R]
    ) -> Callable[[ev.Flatlined[S]], R]: ...
    @overload
    def on(self, event: type[PE], listener: Callable[[PE], R]) -> Callable[[PE], R]: ...
    @overload
    def on(self, event: SparkEventName | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: Any, listener: Any = None) -> Any:
        return self._on(event, listener)

    def off(self, event: SparkEventName | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._off(event, listener)

    on.__doc__, off.__doc__ = ClientListeners.on.__doc__, ClientListeners.off.__doc__


class ServerListeners(Emitter, Generic[S]):
    """`on` and `off` of a server. `S` is the class of its sparks."""

    NAMES = names_of(ServerPlain, ServerSpark, ServerCount, ServerPlugin, Literal["log"])

    @overload
    def on(self, event: ServerPlain, listener: Callable[[], R]) -> Callable[[], R]: ...
    @overload
    def on(self, event: ServerSpark, listener: Callable[[S], R]) -> Callable[[S], R]: ...
    @overload
    def on(self, event: ServerCount, listener: Callable[[S, int], R]) -> Callable[[S, int], R]: ...
    @overload
    def on(self, event: ServerPlugin, listener: Callable[[str, Any], R]) -> Callable[[str, Any], R]: ...
    @overload
    def on(self, event: Literal["log"], listener: Callable[[Level, str], R]) -> Callable[[Level, str], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkConnected[Any]], listener: Callable[[ev.SparkConnected[S]], R]
    ) -> Callable[[ev.SparkConnected[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkDisconnected[Any]], listener: Callable[[ev.SparkDisconnected[S]], R]
    ) -> Callable[[ev.SparkDisconnected[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkData[Any]], listener: Callable[[ev.SparkData[S]], R]
    ) -> Callable[[ev.SparkData[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkError[Any]], listener: Callable[[ev.SparkError[S]], R]
    ) -> Callable[[ev.SparkError[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkReadyStateChanged[Any]], listener: Callable[[ev.SparkReadyStateChanged[S]], R]
    ) -> Callable[[ev.SparkReadyStateChanged[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkEnded[Any]], listener: Callable[[ev.SparkEnded[S]], R]
    ) -> Callable[[ev.SparkEnded[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkHeartbeat[Any]], listener: Callable[[ev.SparkHeartbeat[S]], R]
    ) -> Callable[[ev.SparkHeartbeat[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkMessageIgnored[Any]], listener: Callable[[ev.SparkMessageIgnored[S]], R]
    ) -> Callable[[ev.SparkMessageIgnored[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkMessagesDropped[Any]], listener: Callable[[ev.SparkMessagesDropped[S]], R]
    ) -> Callable[[ev.SparkMessagesDropped[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.SparkDrained[Any]], listener: Callable[[ev.SparkDrained[S]], R]
    ) -> Callable[[ev.SparkDrained[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.HeartbeatSkipped[Any]], listener: Callable[[ev.HeartbeatSkipped[S]], R]
    ) -> Callable[[ev.HeartbeatSkipped[S]], R]: ...
    @overload
    def on(
        self, event: type[ev.Flatlined[Any]], listener: Callable[[ev.Flatlined[S]], R]
    ) -> Callable[[ev.Flatlined[S]], R]: ...
    @overload
    def on(self, event: type[ServerEvent], listener: Callable[[ServerEvent], R]) -> Callable[[ServerEvent], R]: ...
    @overload
    def on(self, event: type[PE], listener: Callable[[PE], R]) -> Callable[[PE], R]: ...
    @overload
    def on(self, event: ServerEventName | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: Any, listener: Any = None) -> Any:
        """Call `listener` at each `event`. Usable as a decorator. Returns the listener.

        Listeners of ``connection`` are called one after the other, and coroutine functions among them are awaited,
        before the handler starts and before any other event of the spark is delivered. One that raises `Refused` ends
        the spark for good. One that takes longer than `Limits.authorization` seconds ends it, unless it reads from the
        spark. The rest is as for `Client.on`.
        """
        return self._on(event, listener)

    def off(self, event: ServerEventName | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._off(event, listener)

    off.__doc__ = ClientListeners.off.__doc__
