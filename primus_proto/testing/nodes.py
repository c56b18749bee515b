"""What is on a virtual network: nodes, and the endpoints of the core among them.

Each endpoint runs the driver's pump, and keeps what it saw. A node of another kind, such as an event loop's, says what
becomes of the bytes by the four methods of `Receiver`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import commands as cmd
from .. import events as ev
from ..endpoint import ByteClient, ByteServer
from ..errors import LocalProtocolError
from ..session.client import Client
from ..session.messages import NOTHING
from ..session.server import Server
from ..session.spark import Spark
from .listeners import CLIENT_NAMES, SERVER_NAMES, Listeners, VirtualSpark
from .watch import watch

if TYPE_CHECKING:
    from .conditions import Line
    from .lines import Link
    from .network import VirtualNetwork

__all__ = ["Caller", "Listener", "Node", "Receiver", "VirtualClient", "VirtualEndpoint", "VirtualServer"]

E = TypeVar("E", bound=ev.Event)


class Receiver(Protocol):
    """What the lines tell a node: as `ByteClient` and `ByteServer` have it."""

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None: ...
    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None: ...
    def channel_blocked(self, channel: int) -> None: ...
    def channel_writable(self, channel: int, *, now: float) -> None: ...


class Node(ABC):
    """One end of connections."""

    endpoint: Receiver
    takes_later = False
    """Whether it says itself what it has read of the bytes that arrived, by `Way.taken`; else it takes all at once."""

    def __init__(self, network: VirtualNetwork, name: str) -> None:
        self.network = network
        self.name = name
        self.links: dict[int, Link] = {}
        self.line: Line | None = None
        """How deliveries from and to it travel; None: as the network has it."""
        self._quota: dict[str, int] = {}  # bytes that may still be "sent" or "received" before the connection is lost

    @abstractmethod
    def pump(self) -> None:
        """The receiver was told something: do what comes of it."""

    @abstractmethod
    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""

    def suspend(self) -> None:
        """Stop until `resume`. Raises LocalProtocolError where it cannot."""
        raise LocalProtocolError(f"{self.name} cannot be suspended, only its network: use freeze() and thaw()")

    def resume(self) -> None:
        """Go on, with what has arrived, and then all that is overdue. Raises LocalProtocolError where it had not
        stopped."""
        raise LocalProtocolError(f"{self.name} is not suspended")


class Caller(Node):
    """A node that opens connections."""

    ip = ""
    """The address that servers see."""

    def address(self, channel: int) -> tuple[str, int]:
        """Where a connection comes from, on the outside."""
        return self.ip, 1024 + channel % 60_000

    @abstractmethod
    def opened(self, channel: int) -> None:
        """The connection asked for is up."""


class Listener(Node):
    """A node that connections are opened to."""

    listening = True

    @property
    def accepts(self) -> bool:
        """Whether it takes connections; else they are refused."""
        return self.listening

    @abstractmethod
    def accepted(self, peer: tuple[str, int]) -> int:
        """Someone has connected; returns the channel's number."""


class VirtualEndpoint(Listeners, Node):
    """An endpoint of the core."""

    endpoint: ByteClient | ByteServer

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteClient | ByteServer) -> None:
        Listeners.__init__(self)
        Node.__init__(self, network, name)
        self.endpoint = endpoint
        self.events: list[tuple[float, ev.Event]] = []
        """Every event with the time it was delivered at."""
        self.number = next(network.numbers)
        """Which of the network's, in the order they came."""
        self.alarm: float | None = None
        """When the network is to look after its timers."""
        self.wakes = 0
        """How often a timer of this endpoint fired."""
        self._on_event: Callable[[Any, ev.Event], object] | None = None
        self._told = False  # there may be something to do, or it is being done
        self._pumping = self._suspended = False
        watch(endpoint, self.told)

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
        """What every driver does after a call into the core."""
        if self._pumping or self._suspended:
            return
        self._pumping = self._told = True
        try:
            for item in self.endpoint.poll(now=self.network.now):
                if isinstance(item, ev.Event):
                    self._deliver(item)
                else:
                    self._run(item)
            self._told = False
        finally:
            self._pumping = False
            if self._told:  # the application has raised, and there may be more to do
                self.network.told(self)
        self.network.alarm(self, self.endpoint.next_timeout())

    def pump_if_told(self) -> None:
        """`pump`, unless that was done since something was told."""
        if self._told:
            self.pump()

    def told(self) -> None:
        """There may be something to do."""
        if not self._told:
            self._told = True
            self.network.told(self)

    def ring(self) -> None:
        """Have its timers fire that are due."""
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
        self.network.alarm(self, None)

    def resume(self) -> None:
        """Go on, with what has arrived, and then all that is overdue."""
        self._suspended = False
        self.ring()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self.endpoint._session.wall_offset += seconds

    def _deliver(self, event: ev.Event) -> None:
        self.events.append((self.network.now, event))
        self.network.note(self.name, str(event))
        if self._on_event is not None:
            self._on_event(self, event)
        self._tell(event)

    def _tell(self, event: ev.Event) -> None:
        """Call the listeners."""
        self._hear(event, event.args)

    def _run(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(channels, data):
                for channel in channels:
                    self.links[channel].send(self, data)
            case cmd.CloseChannel(channel, abort):
                if channel in self.links:  # the core has the last word on a channel, also on one that is gone
                    self.links.pop(channel).close(self, abort)
            case cmd.PauseReading(channel):
                self.links[channel].pause(self, True)
            case cmd.ResumeReading(channel):
                self.links[channel].pause(self, False)
            case cmd.OpenChannel(channel, host, port, _):
                assert isinstance(self, VirtualClient)
                self.network.open(self, channel, host, port)
            case _:
                raise AssertionError(f"a byte endpoint gave {command}")


class VirtualServer(VirtualEndpoint, Listener):
    """A server on the network; `server` is its session side, `on` hears its events."""

    _NAMES = frozenset(SERVER_NAMES)
    endpoint: ByteServer

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteServer) -> None:
        super().__init__(network, name, endpoint)
        self._sparks: dict[Spark, VirtualSpark] = {}

    @property
    def accepts(self) -> bool:
        """Not once it closes, unless sessions go on that come by ever new connections, as with polling."""
        return self.listening and not self.endpoint.closing

    def accepted(self, peer: tuple[str, int]) -> int:
        """Someone has connected; returns the channel's number."""
        return self.endpoint.channel_accepted(peer, now=self.network.now)

    @property
    def server(self) -> Server:
        """Sparks, broadcast, closing."""
        return self.endpoint.server

    @property
    def sparks(self) -> list[VirtualSpark]:
        """The open sparks, as listeners get them."""
        return [self.spark(core) for core in self.server]

    def spark(self, core: Spark) -> VirtualSpark:
        """A spark of the core's, as listeners get it: always the same object."""
        return self._sparks.setdefault(core, VirtualSpark(core))

    def write(self, data: Any, *, exclude: Collection[VirtualSpark | Spark] = ()) -> int:
        """Broadcast to all open sparks but those named; returns how many took it."""
        cores = [spark.core if isinstance(spark, VirtualSpark) else spark for spark in exclude]
        return self.server.write(data, exclude=cores)

    def _tell(self, event: ev.Event) -> None:
        if not isinstance(event, ev.SparkEvent):
            super()._tell(event)
            return
        spark = self.spark(event.spark)
        spark._hear(event, event.args)
        self._hear(event, tuple(spark if arg is event.spark else arg for arg in event.args))


class VirtualClient(VirtualEndpoint, Caller):
    """A client on the network; `client` is its session side, `on` hears its events."""

    _NAMES = frozenset(CLIENT_NAMES)
    endpoint: ByteClient

    def opened(self, channel: int) -> None:
        """The connection asked for is up."""
        self.endpoint.channel_opened(channel, now=self.network.now)

    @property
    def client(self) -> Client:
        """Write, end, state."""
        return self.endpoint.client

    def write(self, data: Any) -> bool:
        """Send one value, or keep it for when the connection is open."""
        return self.client.write(data)

    def end(self, data: Any = NOTHING) -> None:
        """Close for good, after sending `data` if given."""
        self.client.end(data)
