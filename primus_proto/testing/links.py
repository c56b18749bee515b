"""The byte streams of a virtual network.

Each direction is first in, first out, whatever latency, jitter and bandwidth do meanwhile.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from .clock import VirtualClock
from .conditions import Conditions
from .faults import Faults
from .nodes import Caller, Listener, Node

__all__ = ["REFUSED", "Directory", "Link", "LinkNetwork", "canonical", "open_link"]

LOCAL = ("", "0.0.0.0", "127.0.0.1", "::", "::1")
REFUSED, RESET = "connection refused", "connection reset by peer"
PACKET = 1460  # bytes; with limited bandwidth, data arrives in pieces of at least this size


def canonical(host: str) -> str:
    """One name for all the names of the same host."""
    return "localhost" if host in LOCAL else host


class Directory(Protocol):
    """Knows which node listens at which address."""

    def at(self, address: tuple[str, int]) -> Listener | None:
        """The node that has a canonical address, whether it listens now or did once."""

    def describe(self) -> str:
        """Where connections are accepted, for a trace."""


class LinkNetwork(Protocol):
    """What links need of their network."""

    conditions: Conditions
    clock: VirtualClock
    faults: Faults
    links: dict[Link, None]
    rng: random.Random
    window: int | None

    @property
    def addresses(self) -> Directory:
        """Which node listens where."""

    @property
    def now(self) -> float:
        """The virtual clock, in seconds."""

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""

    def split(self, data: bytes) -> list[bytes]:
        """Cut bytes into the pieces that arrive at once."""


class Direction:
    """One direction of a link."""

    def __init__(self, link: Link, receiver: Node, channel: int) -> None:
        self.link = link
        self.receiver = receiver
        self.channel = channel
        self.closed: bool = False
        self.paused: bool = False
        self.blocked = False  # the sender was told to wait
        self.held_up: deque[tuple[int, Callable[[], None]]] = deque()  # by a fault; numbered in order of arrival
        self.unread: deque[bytes | None] = deque()  # arrived while paused; None: EOF
        self.outstanding: int = 0  # bytes sent that the receiver has not read
        self.sender_free_at: float = 0.0  # when the last byte has left the sender
        self.last_arrival: float = 0.0

    def close(self) -> None:
        """Deliver nothing more to the receiver."""
        self.closed = True
        if all(direction.closed for direction in self.link.directions.values()):
            self.link.network.links.pop(self.link, None)

    def receive(self, data: bytes) -> None:
        """Bytes have arrived. The connection may break in the middle of them."""
        size = self.link.bytes_before_break(self, len(data))
        self.deliver(data[:size])
        if size is not None:
            self.link.network.note(self.receiver.name, "the connection breaks here")
            self.link.reset()

    def deliver(self, data: bytes | None, error: str | None = None) -> None:
        """Hand bytes to the receiver, or the end of the stream (None)."""
        if self.closed:
            return
        if self.paused:
            self.unread.append(data)
            return
        endpoint, now = self.receiver.endpoint, self.link.network.now
        if data is None:
            self.close()
            self.receiver.links.pop(self.channel, None)
            endpoint.channel_closed(self.channel, error, now=now)
        else:
            endpoint.receive_data(self.channel, data, now=now)
            if not self.receiver.acknowledges_reads:
                self.acknowledge(len(data))

    def acknowledge(self, size: int) -> None:
        """The receiver has read this many bytes."""
        self.outstanding -= size
        self.link.unblock(self)

    def break_off(self) -> None:
        """Tell the receiver at once that the stream is gone. What it has not read is lost."""
        self.paused = False
        self.unread.clear()
        self.deliver(None, RESET)

    def reset(self) -> None:
        """Lose the stream; tell the receiver as soon as it is awake. What is held up is lost."""
        self.held_up.clear()
        self.link.network.faults.tell(self.receiver, self.break_off)


class Link:
    """One byte stream between a client and a server."""

    def __init__(self, network: LinkNetwork, client: Node, number: int, address: tuple[str, int]) -> None:
        self.network = network
        self.client = client
        self.address = address
        self.server: Node | None = network.addresses.at(address)
        self.directions: dict[Node, Direction] = {client: Direction(self, client, number)}  # by receiver
        self._arrivals = itertools.count()
        self.abandoned: bool = False  # one end is gone, and the other end is not told

    @property
    def ends(self) -> list[Node]:
        """Both ends. A server that has yet to accept counts if only a fault between the two keeps it from accepting."""
        network, client = self.network, self.client
        server = network.addresses.at(self.address)
        opening = len(self.directions) == 1 and self.directions[client].held_up
        if opening and server is not None and not network.faults.blocks(client, client):
            return [client, server]
        return [*self.directions]

    @property
    def conditions(self) -> Conditions:
        """The client's own, else the server's, else the network's."""
        for node in (self.client, self.server):
            if node is not None and node.conditions is not None:
                return node.conditions
        return self.network.conditions

    def direction_from(self, node: Node) -> Direction | None:
        """The direction in which `node` sends; None while the other end has not accepted."""
        return next((direction for receiver, direction in self.directions.items() if receiver is not node), None)

    # --- sending ---

    def send(self, sender: Node, data: bytes) -> None:
        """Send all of it. The sender is told to wait if that is more than the window."""
        direction = self.direction_from(sender)
        assert direction is not None, "written to before it was open"
        for piece in self.network.split(data):
            self.network.note(f"{sender.name} -> {direction.receiver.name}", f"{len(piece)} bytes")
            for packet in self._packets(piece, direction):
                self.schedule_delivery(direction.receiver, partial(direction.receive, packet), len(packet))
        direction.outstanding += len(data)
        window = self.network.window
        if window is not None and direction.outstanding > window and not direction.blocked:
            direction.blocked = True
            sender.endpoint.channel_blocked(self.directions[sender].channel)

    def _packets(self, data: bytes, direction: Direction) -> list[bytes]:
        """With limited bandwidth the first bytes arrive before the last ones have left.

        A packet is a tenth of a second's worth, so that a long transmission takes few steps.
        """
        rate = self.conditions.rate(direction.receiver is not self.client)
        size = len(data) if not rate else max(PACKET, int(rate / 10))
        return [data[start : start + size] for start in range(0, len(data), size)]

    def offer(self, sender: Node, data: bytes | bytearray | memoryview) -> int:
        """Send what the window has room for, as a socket does. Returns how many bytes that was.

        If it was not all, the sender gets `channel_writable` once half the window is free.
        """
        direction, window = self.direction_from(sender), self.network.window
        assert direction is not None, "written to before it was open"
        room = len(data) if window is None else max(window - direction.outstanding, 0)
        if room:
            self.send(sender, bytes(data[:room]))
        if room < len(data):
            direction.blocked = True
        return min(room, len(data))

    def unblock(self, direction: Direction) -> None:
        """Tell a blocked sender to go on if half the window is free."""
        window = self.network.window
        if window is None or not direction.blocked or direction.outstanding > window // 2:
            return
        direction.blocked = False
        sender = next(node for node in self.directions if node is not direction.receiver)

        def tell() -> None:
            sender.endpoint.channel_writable(self.directions[sender].channel, now=self.network.now)
            sender.pump()

        self.network.clock.call_at(self.network.now, lambda: self.network.faults.tell(sender, tell))

    # --- delivering ---

    def schedule_delivery(
        self, receiver: Node, deliver: Callable[[], None], size: int = 0, *, to_server: bool | None = None
    ) -> None:
        """Call `deliver` when something sent now arrives at the receiver, after everything sent before."""
        network, direction = self.network, self.directions[receiver]
        if to_server is None:
            to_server = receiver is not self.client
        conditions = self.conditions
        rate = conditions.rate(to_server)
        direction.sender_free_at = max(network.now, direction.sender_free_at) + (size / rate if rate else 0.0)
        arrival = direction.sender_free_at + conditions.delay(to_server, network.rng)
        direction.last_arrival = max(arrival, direction.last_arrival)

        def arrive() -> None:
            if not self.abandoned:
                direction.held_up.append((next(self._arrivals), deliver))
                self._deliver_all()

        network.clock.call_at(direction.last_arrival, arrive)

    def is_held_up(self, receiver: Node) -> bool:
        """Whether nothing reaches `receiver` for now. Before the server has accepted, that takes both directions."""
        faults, direction = self.network.faults, self.direction_from(receiver)
        if direction is not None:
            return faults.is_suspended(receiver) or faults.blocks(direction.receiver, receiver)
        server = self.network.addresses.at(self.address)
        blocked = faults.blocks(server, receiver) or faults.blocks(receiver, server)
        return blocked or (server is not None and faults.is_suspended(server))

    def release(self) -> None:
        """Deliver everything that is not held up any more, before anything still on its way."""
        if self._deliverable():
            self.network.clock.call_at(self.network.now, self._deliver_all)

    def catch_up(self, receiver: Node) -> None:
        """Deliver to a node that wakes all that has arrived meanwhile, before it does anything."""
        direction = self.directions.get(receiver)
        while direction is not None and direction.held_up and not self.is_held_up(receiver):
            direction.held_up.popleft()[1]()

    def _deliver_all(self) -> None:
        while directions := self._deliverable():
            direction = min(directions, key=lambda direction: direction.held_up[0][0])
            deliver = direction.held_up.popleft()[1]
            deliver()
            direction.receiver.pump()

    def _deliverable(self) -> list[Direction]:
        return [one for one in self.directions.values() if one.held_up and not self.is_held_up(one.receiver)]

    def pause(self, receiver: Node, paused: bool) -> None:
        """The receiver stops reading, or goes on."""
        direction = self.directions[receiver]
        direction.paused = paused
        while direction.unread and not direction.paused:
            direction.deliver(direction.unread.popleft())

    # --- ending ---

    def has_ended(self, receiver: Node) -> bool:
        """Whether the end of the stream has arrived, read or not."""
        return None in self.directions[receiver].unread

    def close(self, sender: Node, abort: bool) -> None:
        """One end closes the stream."""
        self.directions[sender].close()
        direction = self.direction_from(sender)
        if direction is not None:
            if not direction.closed:
                what = "reset" if abort else "end of stream"
                self.network.note(f"{sender.name} -> {direction.receiver.name}", what)
            end = direction.break_off if abort else partial(direction.deliver, None)
            self.schedule_delivery(direction.receiver, end)

    def reset(self) -> None:
        """Lose the stream, and tell both ends."""
        for direction in list(self.directions.values()):
            direction.reset()

    def abandon(self, node: Node) -> None:
        """Lose the stream at one end. The other end is not notified, and receives nothing more."""
        for direction in self.directions.values():
            direction.held_up.clear()
        if node in self.directions:
            self.directions[node].reset()
        self.abandoned = True

    def bytes_before_break(self, direction: Direction, size: int) -> int | None:
        """How many of `size` bytes arrive before `break_after` loses the connection; None: all, and it goes on."""
        if direction.closed:
            return None
        limits = [(node.break_limits, "received" if node is direction.receiver else "sent") for node in self.directions]
        limits = [(limit, kind) for limit, kind in limits if kind in limit]
        remaining = min((limit[kind] for limit, kind in limits), default=None)
        if remaining is None:
            return None
        for limit, kind in limits:
            limit[kind] -= min(remaining, size)
            if limit[kind] == 0:
                del limit[kind]
        return remaining if remaining <= size else None


def open_link(network: LinkNetwork, client: Caller, channel: int, host: str, port: int) -> None:
    """Open a connection for `client`, which is told the outcome."""
    address = canonical(host), port
    link = client.links[channel] = Link(network, client, channel, address)
    network.links[link] = None
    ip, local_port = client.address(channel)
    if address[0] == "localhost":
        ip = "::1" if host == "::1" else "127.0.0.1"

    def reach_server() -> None:
        server = network.addresses.at(address)
        if server is None or not server.accepts:
            network.note(client.name, f"refused: nobody listens at {host}:{port}, {network.addresses.describe()}")
            link.schedule_delivery(client, refuse)
        elif not link.directions[client].closed:
            number = server.accepted((ip, local_port))
            link.server = server
            link.directions[server] = Direction(link, server, number)
            server.links[number] = link
            server.pump()
            link.schedule_delivery(client, lambda: client.opened(channel))

    def refuse() -> None:
        if client.links.pop(channel, None) is not None:
            link.directions[client].close()
            client.endpoint.channel_closed(channel, REFUSED, now=network.now)

    link.schedule_delivery(client, reach_server, to_server=True)
