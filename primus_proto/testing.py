"""A virtual network and clock: any client against any server, in memory, without sockets or sleeping.

Time moves only in `run`, from one due thing straight to the next, so two hours take a fraction of a second, and a
run with the same seed repeats byte for byte (WebSocket masks excepted: wsproto draws those itself).

    network = VirtualNetwork(latency=0.05)
    server = network.serve(on_event=my_server_code)
    client = network.connect("http://server", ping=5.0)
    network.run(3600)
    assert client.seen(events.Opened) == 1
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

from . import commands as cmd
from . import events as ev
from .client import Client
from .config import ClientConfig, ServerConfig
from .endpoint import ByteClient, ByteServer
from .server import Server

__all__ = ["VirtualClient", "VirtualNetwork", "VirtualServer"]

E = TypeVar("E", bound=ev.Event)


class _Node:
    """One endpoint on the network: it runs the driver's pump and keeps what it saw."""

    def __init__(self, network: VirtualNetwork, name: str, endpoint: ByteClient | ByteServer) -> None:
        self.network = network
        self.name = name
        self.endpoint = endpoint
        self.events: list[tuple[float, ev.Event]] = []
        """Every event with the time it was delivered at."""
        self.links: dict[int, _Link] = {}
        self.wakes = 0
        """How often a timer of this endpoint fired."""
        self._on_event: Callable[[Any, ev.Event], object] | None = None

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
        """What every driver does after a call into the core; `commands` may have added events, so they are last too."""
        while self._deliver() or self._obey() or self._deliver():
            pass

    def _deliver(self) -> bool:
        events = self.endpoint.events()
        for event in events:
            self.events.append((self.network.now, event))
            self.network.note(self.name, str(event))
            if self._on_event is not None:
                self._on_event(self, event)
        return bool(events)

    def _obey(self) -> bool:
        commands = self.endpoint.commands(now=self.network.now)
        for command in commands:
            self._run(command)
        return bool(commands)

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
                self.network._open(self, channel, host, port)
            case _:
                raise AssertionError(f"a byte endpoint gave {command}")


class VirtualServer(_Node):
    """A server on the network; `server` is its session side."""

    endpoint: ByteServer
    listening = True

    @property
    def server(self) -> Server:
        """Sparks, broadcast, closing."""
        return self.endpoint.server


class VirtualClient(_Node):
    """A client on the network; `client` is its session side."""

    endpoint: ByteClient
    ip = ""
    """The address that servers see."""

    @property
    def client(self) -> Client:
        """Write, end, state."""
        return self.endpoint.client


class _Way:
    """One direction of a link: what is on its way, in order."""

    def __init__(self, link: _Link, receiver: _Node, channel: int) -> None:
        self.link = link
        self.receiver = receiver
        self.channel = channel
        self.paused = False
        self.over = False
        self.held: deque[bytes | None] = deque()  # arrived, but the receiver does not read; None: EOF
        self.unread = 0  # bytes sent that the receiver has not read
        self.blocked = False  # the sender was told so
        self.latest = 0.0  # when what was sent last arrives: nothing overtakes

    def arrive(self, data: bytes | None) -> None:
        if self.over:
            return
        if self.paused:
            self.held.append(data)
            return
        endpoint, now = self.receiver.endpoint, self.receiver.network.now
        if data is None:
            self.over = True
            self.receiver.links.pop(self.channel, None)
            endpoint.channel_closed(self.channel, now=now)
        else:
            self.unread -= len(data)
            endpoint.receive_data(self.channel, data, now=now)
            self.link.relieve(self)


class _Link:
    """One byte stream between a client and a server."""

    def __init__(self, network: VirtualNetwork, client: _Node, number: int) -> None:
        self.network = network
        self.ways: dict[_Node, _Way] = {client: _Way(self, client, number)}  # by receiver
        self.parties: set[_Node] = {client}
        self.waiting: list[tuple[_Node, Callable[[], None]]] = []

    @property
    def over(self) -> bool:
        return all(way.over for way in self.ways.values())

    @property
    def frozen(self) -> bool:
        return not self.parties.isdisjoint(self.network._frozen)

    def other(self, node: _Node) -> _Way | None:
        """The way that `node` sends on; None while the far end is not there yet."""
        return next((way for receiver, way in self.ways.items() if receiver is not node), None)

    def send(self, sender: _Node, data: bytes) -> None:
        way = self.other(sender)
        assert way is not None, "written to before it was open"
        for piece in self.network._cut(data):
            self.network.note(f"{sender.name} -> {way.receiver.name}", f"{len(piece)} bytes")
            self.network._carry(self, way.receiver, lambda piece=piece: way.arrive(piece))  # type: ignore[misc]
        way.unread += len(data)
        window = self.network._window
        if window is not None and way.unread > window and not way.blocked:
            way.blocked = True
            sender.endpoint.channel_blocked(self.ways[sender].channel)

    def relieve(self, way: _Way) -> None:
        """The sender can go on once half the window is free."""
        window = self.network._window
        if window is None or not way.blocked or way.unread > window // 2:
            return
        way.blocked = False
        sender = next(node for node in self.ways if node is not way.receiver)

        def tell() -> None:
            sender.endpoint.channel_writable(self.ways[sender].channel, now=self.network.now)

        self.network.call_at(self.network.now, tell)

    def close(self, sender: _Node, abort: bool) -> None:
        self.ways[sender].over = True
        way = self.other(sender)
        if way is not None:
            self.network._carry(self, way.receiver, lambda: self._end(way, abort))

    def _end(self, way: _Way, abort: bool) -> None:
        if abort:
            way.paused = False
            way.held.clear()
        way.arrive(None)

    def pause(self, receiver: _Node, paused: bool) -> None:
        way = self.ways[receiver]
        way.paused = paused
        while way.held and not way.paused:
            way.arrive(way.held.popleft())


class VirtualNetwork:
    """The network, its clock, and everything on it.

    `latency` is the seconds every delivery takes; `cut` limits how many bytes arrive at once (None: as written;
    a number: random pieces of at most that size); `window` is how many bytes may be on their way to a node before
    the sender is blocked (None: any number); `wall_offset` is Unix time minus the virtual clock.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: float = 0.0,
        cut: int | None = None,
        window: int | None = None,
        wall_offset: float = 1_700_000_000.0,
    ) -> None:
        self.now = 0.0
        self.latency = latency
        self.rng = random.Random(seed)
        self.trace: list[str] = []
        """What happened, readable, one line each."""
        self._cut_size = cut
        self._window = window
        self._wall_offset = wall_offset
        self._nodes: list[_Node] = []
        self._servers: dict[tuple[str, int], VirtualServer] = {}
        self._links: list[_Link] = []
        self._frozen: set[_Node] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    # --- building ---

    def serve(
        self,
        config: ServerConfig | None = None,
        *,
        host: str = "server",
        port: int = 80,
        on_event: Callable[[VirtualServer, ev.Event], object] | None = None,
        **options: Any,
    ) -> VirtualServer:
        """A server listening at `host`:`port`. Options are those of `ServerConfig`.

        `on_event(server, event)` is the application: it may call any verb. A server at the same address is replaced.
        """
        endpoint = ByteServer(config or ServerConfig(**options), rng=self._fork(), wall_offset=self._wall_offset)
        server = VirtualServer(self, host, endpoint)
        server._on_event = on_event
        self._servers[host, port] = server
        self._add(server)
        return server

    def connect(
        self, url: str, *, on_event: Callable[[VirtualClient, ev.Event], object] | None = None, **options: Any
    ) -> VirtualClient:
        """A client of the server at `url`. Options are those of `ClientConfig`."""
        config = ClientConfig(url=url, **options)
        endpoint = ByteClient(config, rng=self._fork(), wall_offset=self._wall_offset)
        number = sum(isinstance(node, VirtualClient) for node in self._nodes) + 1
        client = VirtualClient(self, f"client{number}", endpoint)
        client.ip = f"10.0.{number >> 8}.{number & 255}"
        client._on_event = on_event
        self._add(client)
        return client

    # --- time ---

    def run(self, seconds: float) -> None:
        """Let this much time pass; whatever is due in it happens at its exact time."""
        end = self.now + seconds
        self._settle()
        while (due := self._next()) is not None and due <= end:
            self._advance(due)
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float = 3600.0) -> None:
        """Let time pass until `condition()` holds; AssertionError, with the end of the trace, if it never does."""
        end = self.now + limit
        self._settle()
        while not condition():
            due = self._next()
            if due is None or due > end:
                raise AssertionError("\n".join(["the condition never held:", *self.trace[-40:]]))
            self._advance(due)

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Have something done at a time."""
        self._serial += 1
        heappush(self._due, (when, self._serial, call))

    # --- trouble ---

    def freeze(self, node: _Node) -> None:
        """Nothing reaches or leaves `node` until `thaw`, new connections included: a hung process, a pulled cable."""
        self._frozen.add(node)

    def thaw(self, node: _Node) -> None:
        """What was held up is delivered, in order."""
        self._frozen.discard(node)
        for link in self._links_of(node):
            if not link.frozen:
                waiting, link.waiting = link.waiting, []
                for receiver, deliver in waiting:
                    self._carry(link, receiver, deliver, latency=0.0)  # it had arrived; what is on its way comes after
        self._settle()

    def drop(self, node: _Node) -> None:
        """Every connection of `node` is lost at once, and both ends are told."""
        for link in self._links_of(node):
            link.waiting.clear()
            for way in list(link.ways.values()):
                way.paused = False
                way.held.clear()
                way.arrive(None)
        self._settle()

    def kill(self, server: VirtualServer) -> None:
        """The server is gone, with its connections; its address refuses until something serves there again."""
        self.drop(server)
        server.listening = False

    # --- inside ---

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:12.3f}  {who}: {what}")

    def _add(self, node: _Node) -> None:
        self._nodes.append(node)
        node.pump()

    def _fork(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    def _next(self) -> float | None:
        times = [time for node in self._nodes if (time := node.endpoint.next_timeout()) is not None]
        if self._due:
            times.append(self._due[0][0])
        return min(times) if times else None

    def _advance(self, due: float) -> None:
        self.now = max(self.now, due)
        for node in self._nodes:
            timeout = node.endpoint.next_timeout()
            if timeout is not None and timeout <= self.now:
                node.wakes += 1
                node.endpoint.handle_timeout(now=self.now)
                node.pump()
        while self._due and self._due[0][0] <= self.now:
            heappop(self._due)[2]()
            self._settle()

    def _settle(self) -> None:
        for node in self._nodes:
            node.pump()

    def _links_of(self, node: _Node) -> list[_Link]:
        return [link for link in self._links if node in link.parties]

    def _cut(self, data: bytes) -> list[bytes]:
        pieces = []
        while self._cut_size is not None and len(data) > 1:
            size = self.rng.randint(1, min(self._cut_size, len(data)))
            pieces.append(data[:size])
            data = data[size:]
        return [*pieces, data] if data else pieces

    def _carry(
        self, link: _Link, receiver: _Node, deliver: Callable[[], None], *, latency: float | None = None
    ) -> None:
        def arrive() -> None:
            if link.frozen:
                link.waiting.append((receiver, deliver))
            else:
                deliver()
                receiver.pump()

        when = self.now + (self.latency if latency is None else latency)
        way = link.ways[receiver]
        if latency is None:
            way.latest = when = max(when, way.latest)
        self.call_at(when, arrive)

    def _open(self, client: VirtualClient, channel: int, host: str, port: int) -> None:
        link = _Link(self, client, channel)
        self._links = [other for other in self._links if not other.over]
        self._links.append(link)
        client.links[channel] = link

        def reach() -> None:
            server = self._servers.get((host, port))
            if server in self._frozen:
                link.parties.add(server)
                link.waiting.append((client, reach))
            elif server is None or not server.listening:
                self._carry(link, client, lambda: self._refuse(client, channel))
            elif not link.ways[client].over:
                number = server.endpoint.channel_accepted((client.ip, 1024 + channel), now=self.now)
                link.ways[server] = _Way(link, server, number)
                link.parties.add(server)
                server.links[number] = link
                server.pump()
                self._carry(link, client, lambda: client.endpoint.channel_opened(channel, now=self.now))

        self._carry(link, client, reach)

    def _refuse(self, client: VirtualClient, channel: int) -> None:
        link = client.links.pop(channel, None)
        if link is not None:
            link.ways[client].over = True
            client.endpoint.channel_closed(channel, "connection refused", now=self.now)
