"""The endpoints of the core as nodes of a virtual network.

Each is polled as a driver polls it, and keeps what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .. import commands as cmd
from .. import events as ev
from ..endpoint import ByteClient, ByteServer
from ..session.client import Client
from ..session.messages import NOTHING
from ..session.server import Server
from ..session.spark import Spark
from .activity import watch_activity
from .listeners import CLIENT_NAMES, SERVER_NAMES, Listeners, VirtualSpark
from .nodes import Caller, Listener, Node

if TYPE_CHECKING:
    from .network import VirtualNetwork

__all__ = ["VirtualClient", "VirtualEndpoint", "VirtualServer"]

E = TypeVar("E", bound=ev.Event)


class VirtualEndpoint(Listeners, Node):
    """An endpoint of the core."""

    network: VirtualNetwork
    endpoint: ByteClient | ByteServer

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteClient | ByteServer) -> None:
        Listeners.__init__(self)
        Node.__init__(self, network, name)
        self.endpoint = endpoint
        self.events: list[tuple[float, ev.Event]] = []
        """Every event, with the time at which it was delivered."""
        self.number = next(network.node_numbers)
        """Its place in the order in which nodes were made."""
        self.alarm: float | None = None
        """When the next of its timers is due."""
        self.wakes = 0
        """How often a timer of this endpoint fired."""
        self.on_event: Callable[[Any, ev.Event], object] | None = None
        self._pump_requested = False  # or it is being pumped
        self._pumping = self._suspended = False
        watch_activity(endpoint, self.request_pump)

    def seen(self, kind: type[ev.Event]) -> int:
        """How many events of this class there were."""
        return len(self.all(kind))

    def all(self, kind: type[E]) -> list[E]:
        """The events of this class, in order."""
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def names(self) -> list[str]:
        """The documented names of all events, in order."""
        return [event.name for _, event in self.events]

    def pump(self) -> None:
        """Deliver events and run commands until there are none, as every driver does after a call into the core."""
        if self._pumping or self._suspended:
            return
        self._pumping = self._pump_requested = True
        try:
            self._poll()
            self._pump_requested = False
        finally:
            self._pumping = False
            if self._pump_requested:  # the application raised, and there may be more to do
                self.network.request_pump(self)
        self.network.clock.set_alarm(self, self.endpoint.next_timeout())

    def _poll(self) -> None:
        """Deliver events and run commands until there are none."""
        for item in self.endpoint.poll(now=self.network.now):
            if isinstance(item, ev.Event):
                self._deliver(item)
            else:
                self._run(item)

    def request_pump(self) -> None:
        """Have the network pump it: there may be something to do."""
        if not self._pump_requested:
            self._pump_requested = True
            self.network.request_pump(self)

    def pump_if_requested(self) -> bool:
        """Pump, unless that has happened since it was requested. Returns whether it did."""
        requested = self._pump_requested
        if requested:
            self.pump()
        return requested

    def fire_timers(self) -> None:
        """Have the timers fire that are due."""
        if self._suspended:
            return
        timeout = self.endpoint.next_timeout()
        if timeout is not None and timeout <= self.network.now:
            self.wakes += 1
            self.endpoint.handle_timeout(now=self.network.now)
        self.pump()

    def suspend(self) -> None:
        """Stop until `resume`."""
        self._suspended = True
        self.network.clock.set_alarm(self, None)

    def resume(self) -> None:
        """Go on: what has arrived comes first, overdue timers after it."""
        self._suspended = False
        self.fire_timers()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.endpoint._session.wall_offset += seconds

    def _deliver(self, event: ev.Event) -> None:
        self.events.append((self.network.now, event))
        self.network.note(self.name, str(event))
        if self.on_event is not None:
            self.on_event(self, event)
        self._notify(event)

    @property
    def _core(self) -> Client | Server:
        session: Any = self.endpoint._session
        return cast(Client | Server, session)

    def _notify(self, event: ev.Event) -> None:
        """Call the listeners, or the function that a plugin delivers a message to."""
        if isinstance(event, ev.Delivery):
            event.function(*event.arguments)
        else:
            self._call_listeners(event, event.args)

    def _run(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(channels, data):
                for channel in channels:
                    self.links[channel].send(self, data)
            case cmd.CloseChannel(channel, abort):
                if channel in self.links:  # the core closes every channel, including one that is already gone
                    self.links.pop(channel).close(self, abort)
            case cmd.EndWriting(channel):  # a link of the network closes in both directions at once
                self.links.pop(channel).close(self, False)
                self.endpoint.channel_closed(channel, now=self.network.now)
            case cmd.PauseReading(channel):
                self.links[channel].pause(self, True)
            case cmd.ProbeChannel(channel):
                if channel in self.links and self.links[channel].has_ended(self):
                    self.endpoint.channel_hung_up(channel)
            case cmd.ResumeReading(channel):
                self.links[channel].pause(self, False)
            case cmd.OpenChannel(channel, host, port, _):
                assert isinstance(self, VirtualClient)
                self.network.open(self, channel, host, port)
            case _:
                raise AssertionError(f"a byte endpoint gave {command}")


class VirtualServer(VirtualEndpoint, Listener):
    """A server on the network; `server` is its session side, `on` adds listeners of its events."""

    _NAMES = frozenset(SERVER_NAMES)
    endpoint: ByteServer

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteServer) -> None:
        super().__init__(network, name, endpoint)
        self._sparks: dict[Spark, VirtualSpark] = {}

    @property
    def accepts(self) -> bool:
        """False once it closes, unless sessions go on that need new connections, as with polling."""
        return self.listening and not self.endpoint.closing

    def accepted(self, peer: tuple[str, int]) -> int:
        """Accept a connection; returns the channel's number."""
        return self.endpoint.channel_accepted(peer, now=self.network.now)

    @property
    def server(self) -> Server:
        """Sparks, broadcast, closing."""
        return self.endpoint.server

    @property
    def sparks(self) -> list[VirtualSpark]:
        """The open sparks, in the form that listeners get."""
        return [self.spark(core) for core in self.server]

    def spark(self, core: Spark) -> VirtualSpark:
        """The object that listeners get for a spark of the core; always the same one."""
        return self._sparks.setdefault(core, VirtualSpark(core))

    def write(self, data: Any, *, exclude: Collection[VirtualSpark | Spark] = ()) -> int:
        """Broadcast to all open sparks except `exclude`; returns how many took it."""
        cores = [spark.core if isinstance(spark, VirtualSpark) else spark for spark in exclude]
        return self.server.write(data, exclude=cores)

    def _notify(self, event: ev.Event) -> None:
        if isinstance(event, ev.PluginEvent):
            self.spark(event.session)._call_listeners(event, event.args)
            self._call_listeners(event, (*event.args, self.spark(event.session)))
            return
        if not isinstance(event, ev.SparkEvent):
            super()._notify(event)
            return
        spark = self.spark(event.spark)
        spark._call_listeners(event, event.args)
        self._call_listeners(event, tuple(spark if arg is event.spark else arg for arg in event.args))


class VirtualClient(VirtualEndpoint, Caller):
    """A client on the network; `client` is its session side, `on` adds listeners of its events."""

    _NAMES = frozenset(CLIENT_NAMES)
    endpoint: ByteClient

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteClient, ip: str = "") -> None:
        super().__init__(network, name, endpoint)
        self.ip = ip

    def opened(self, channel: int) -> None:
        """The requested connection is up."""
        self.endpoint.channel_opened(channel, now=self.network.now)

    @property
    def client(self) -> Client:
        """Write, end, state."""
        return self.endpoint.client

    def write(self, data: Any) -> bool:
        """Send one value, or keep it until the connection is open."""
        return self.client.write(data)

    def end(self, data: Any = NOTHING) -> None:
        """Send `data` if given, and close for good."""
        self.client.end(data)
