"""`emitter`: events with arguments and acknowledgements, on the wire of primus-emitter 3.1 (protocol 5.3).

The laws kept here: frames of this plugin do not reach `data`; what a peer can make grow is bounded; a call ends in an
answer, a timeout or the loss of the connection.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..errors import ConfigError, ConnectionLost, LocalProtocolError, PrimusError, RemoteProtocolError
from ..session.names import CLIENT_EVENTS, SPARK_EVENTS, is_reserved
from ..session.transforms import DROP, Packet
from .base import Extension, Plugin, Reply

if TYPE_CHECKING:
    from ..session.client import Client
    from ..session.server import Server
    from ..session.spark import Spark

__all__ = ["Ack", "Emitter", "EmitterPlugin", "ServerEmitter", "event_frame"]

EVENT, ACK = 0, 1

F = TypeVar("F", bound=Callable[..., object])


class Ack:
    """Returned by a listener: the arguments of the acknowledgement, as in ``return Ack(None, result)``."""

    __slots__ = ("args",)

    def __init__(self, *args: Any) -> None:
        self.args: tuple[Any, ...] = args

    def __repr__(self) -> str:
        return f"Ack{self.args!r}"


def check_name(name: object, *reserved: Collection[str]) -> None:
    """Raise LocalProtocolError for a name that is reserved at the end that listens, which therefore ignores it."""
    if not isinstance(name, str) or not name:
        raise LocalProtocolError(f"an event needs a name, a string; got {name!r}")
    if is_reserved(name, *reserved):
        raise LocalProtocolError(f"the event name {name!r} is reserved at the end that listens, which would ignore it")


def event_frame(name: str, args: tuple[Any, ...], reserved: Collection[str] = CLIENT_EVENTS) -> dict[str, Any]:
    """The frame of an event. Raises LocalProtocolError for a name that is reserved at the other end."""
    check_name(name, reserved)
    return {"type": EVENT, "data": [name, *args]}


class Listeners:
    """Listeners by the name of their event, of which some are `reserved`."""

    def __init__(self, *reserved: Collection[str]) -> None:
        self._reserved = reserved
        self._listeners: dict[str, tuple[tuple[Callable[..., object], inspect.Signature | None], ...]] = {}

    @overload
    def on(self, name: str, listener: F) -> F: ...
    @overload
    def on(self, name: str) -> Callable[[F], F]: ...

    def on(self, name: str, listener: Any = None) -> Any:
        """Call `listener` with the arguments of each event of this name. Usable as a decorator. Returns the listener.

        If the other end asks for an acknowledgement, it gets what the first listener returns; `Ack(...)` for several
        arguments. The listener may be a coroutine function. Raises LocalProtocolError for a reserved name.
        """
        check_name(name, *self._reserved)
        if listener is None:
            return lambda function: self.on(name, function)
        if not callable(listener):
            raise LocalProtocolError(f"a listener must be callable; got {listener!r}")
        try:
            signature = inspect.signature(listener)
        except (TypeError, ValueError):  # of some functions that are written in C
            signature = None
        self._listeners[name] = (*self._listeners.get(name, ()), (listener, signature))
        return listener

    def off(self, name: str, listener: Callable[..., object]) -> None:
        """Undo one `on`. Does nothing if the listener is not registered."""
        kept = list(self._listeners.get(name, ()))
        for entry in kept:
            if entry[0] == listener:
                kept.remove(entry)
                break
        self._listeners[name] = tuple(kept)

    def find(self, name: str) -> tuple[tuple[Callable[..., object], inspect.Signature | None], ...]:
        """The listeners of an event, each with its signature if that is known."""
        return self._listeners.get(name, ())


class Emitter(Listeners, Extension):
    """The events of one spark or client: ``spark.extension(Emitter)``."""

    def __init__(self, core: Client | Spark, plugin: EmitterPlugin, shared: Listeners | None = None) -> None:
        Listeners.__init__(self, core.EVENTS, core.plugin_events)
        Extension.__init__(self, core)
        self._plugin = plugin
        self._shared = shared  # of the server
        self._reserved_there = CLIENT_EVENTS if core.EVENTS is SPARK_EVENTS else SPARK_EVENTS
        self._ids = count(1)
        self._pending: dict[int, Reply[Any]] = {}

    @property
    def pending(self) -> int:
        """Calls that wait for their acknowledgement."""
        return len(self._pending)

    def send(self, name: str, *args: Any) -> bool:
        """Send an event. Returns what `write` returns. Raises EncodeError for arguments that cannot be sent."""
        return bool(self.session.write(event_frame(name, args, self._reserved_there)))

    def call(self, name: str, *args: Any, timeout: float | None = None) -> Reply[Any]:
        """Send an event and ask for an acknowledgement: ``await emitter.call("sum", 1, 2, timeout=5)``.

        The result is the argument of the acknowledgement, a list if there are several, or None if there are none. The
        reply fails with TimeoutError after `timeout` seconds (default: that of the plugin), and with ConnectionLost if
        the connection is lost first. Raises LocalProtocolError while too many calls wait.
        """
        check_name(name, self._reserved_there)
        seconds = self._plugin.timeout if timeout is None else timeout
        check_timeout(seconds)
        if len(self._pending) >= self._plugin.pending:
            raise LocalProtocolError(f"{len(self._pending)} calls wait for their acknowledgement: wait for some first")
        return self.in_core(lambda: self._start_call(name, args, seconds))

    def _start_call(self, name: str, args: tuple[Any, ...], seconds: float) -> Reply[Any]:
        id, reply = next(self._ids), Reply[Any](self)
        self._pending[id] = reply
        try:
            taken = self.session.write({**event_frame(name, args, self._reserved_there), "id": id})
        except BaseException:
            del self._pending[id]
            raise
        if not taken:
            self._settle(id, ConnectionLost(f"the event {name!r} was not sent: the session has ended, or is full"))
            return reply
        late = TimeoutError(f"no acknowledgement of {name!r} within {seconds:g} seconds")
        timer = self.core.after(seconds, lambda now: self._settle(id, late))
        reply.add_done_callback(timer.cancel)
        return reply

    def closed(self, error: PrimusError) -> None:
        for id in list(self._pending):
            self._settle(id, error)

    def receive(self, packet: Packet) -> object:
        """The incoming transform: take out the frames of this plugin."""
        frame = packet.data
        if type(frame) is not dict or type(args := frame.get("data")) is not list:
            return None
        kind, id = frame.get("type"), frame.get("id")
        if type(kind) is not int or type(id) not in (int, float, type(None)):
            return None
        if kind == ACK and id is not None:
            reply = self._pending.pop(id, None) if isinstance(id, int) else None
            if reply is not None:
                reply.set_result(args[0] if len(args) == 1 else args or None)
            return DROP
        if kind != EVENT or not args or type(args[0]) is not str:
            return None
        self._dispatch(packet, args[0], args[1:], id or None)
        return DROP

    def _dispatch(self, packet: Packet, name: str, args: list[Any], id: float | None) -> None:
        found = [(listener, signature, args) for listener, signature in self.find(name)]
        if self._shared is not None:
            found += [(listener, signature, [self.session, *args]) for listener, signature in self._shared.find(name)]
        if not found:
            self.core.ignore(f"event {name[:80]!r}, which has no listener")
        for listener, signature, arguments in found:
            if signature is not None:
                try:
                    signature.bind(*arguments)
                except TypeError as error:
                    text = f"an event {name[:80]!r} came with arguments that its listener does not take: {error}"
                    raise RemoteProtocolError(text) from None
            packet.deliver(self._call, listener, arguments, id, topic=name)
            id = None  # the first listener answers

    def _call(self, listener: Callable[..., object], args: list[Any], id: float | None) -> object:
        """Call a listener, as listeners of the binding are called, and acknowledge."""
        result = listener(*args)
        if inspect.iscoroutine(result):
            return self._finish(result, id)
        self._acknowledge(result, id)
        return None

    async def _finish(self, coroutine: Coroutine[Any, Any, object], id: float | None) -> None:
        self._acknowledge(await coroutine, id)

    def _acknowledge(self, result: object, id: float | None) -> None:
        if id is not None:
            args = list(result.args) if isinstance(result, Ack) else [] if result is None else [result]
            self.session.write({"type": ACK, "id": id, "data": args})

    def _settle(self, id: int, error: Exception) -> None:
        reply = self._pending.pop(id, None)
        if reply is not None:
            reply.set_error(error)


class ServerEmitter(Listeners):
    """The events of all sparks of a server: ``server.extension(ServerEmitter)``. Its listeners get the spark first."""

    def __init__(self, core: Server) -> None:
        super().__init__(SPARK_EVENTS, core.plugin_events)
        self.core: Server = core
        """The core's server."""

    def adopt(self, earlier: ServerEmitter) -> None:
        """Take over the listeners of an earlier run of the server."""
        self._listeners = earlier._listeners

    def send(self, name: str, *args: Any, **options: Any) -> int:
        """Broadcast an event. `options` are those of the server's `write`. Returns what `write` returns."""
        return int(self.core.face.write(event_frame(name, args), **options))


class EmitterPlugin(Plugin):
    """The plugin: `timeout` seconds are the default of calls, of which at most `pending` wait on each session."""

    name = "emitter"

    def __init__(self, *, timeout: float = 10.0, pending: int = 1000) -> None:
        check_timeout(timeout)
        if type(pending) is not int or pending < 1:
            raise ConfigError(f"pending must be a whole number of at least 1; got {pending!r}")
        self.timeout: float = timeout
        self.pending: int = pending

    def server(self, server: Server) -> ServerEmitter:
        return ServerEmitter(server)

    def spark(self, spark: Spark) -> Emitter:
        shared = spark.server.find_extension(ServerEmitter)
        return self._emitter(spark, shared)

    def client(self, client: Client) -> Emitter:
        return self._emitter(client, None)

    def _emitter(self, core: Client | Spark, shared: Listeners | None) -> Emitter:
        emitter = Emitter(core, self, shared)
        core.transform("incoming", emitter.receive)
        return emitter


def check_timeout(seconds: object) -> None:
    """Raise LocalProtocolError unless it is a number of seconds above 0."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < float("inf"):
        raise ConfigError(f"timeout must be a number of seconds above 0, and finite; got {seconds!r}")
