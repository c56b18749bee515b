"""What the virtual network is strung with: byte streams, each of two ways.

The law kept here: a way is first in, first out, whatever latency, jitter and bandwidth do while it is in use.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conditions import Line
    from .network import VirtualNetwork
    from .nodes import Node

__all__ = ["REFUSED", "Link", "Way"]

REFUSED, RESET = "connection refused", "connection reset by peer"
PACKET = 1460  # bytes; a line of limited bandwidth delivers piece by piece


class Way:
    """One direction of a link: what is on its way, in order."""

    def __init__(self, link: Link, receiver: Node, channel: int) -> None:
        self.link = link
        self.receiver = receiver
        self.channel = channel
        self.paused = False
        self.over = False
        self.waiting: deque[tuple[int, Callable[[], None]]] = deque()  # held up by trouble; numbered as they came
        self.held: deque[bytes | None] = deque()  # arrived, but the receiver does not read; None: EOF
        self.unread = 0  # bytes sent that the receiver has not read
        self.blocked = False  # the sender was told so
        self.free = 0.0  # when the last byte given to the line has left the sender
        self.latest = 0.0  # when what was sent last arrives: nothing overtakes

    def end(self) -> None:
        """The receiver hears nothing more."""
        self.over = True
        if all(way.over for way in self.link.ways.values()):
            self.link.network._links.pop(self.link, None)

    def carry(self, data: bytes) -> None:
        """Bytes are there: take them, as far as the connection lasts."""
        lasts = self.link.spend(self, len(data))
        self.arrive(data[:lasts])
        if lasts is not None:
            self.link.network.note(self.receiver.name, "the connection breaks here")
            self.link.lose()

    def arrive(self, data: bytes | None, error: str | None = None) -> None:
        """Bytes, or the end: EOF, or because of an error."""
        if self.over:
            return
        if self.paused:
            self.held.append(data)
            return
        endpoint, now = self.receiver.endpoint, self.receiver.network.now
        if data is None:
            self.end()
            self.receiver.links.pop(self.channel, None)
            endpoint.channel_closed(self.channel, error, now=now)
        else:
            endpoint.receive_data(self.channel, data, now=now)
            if not self.receiver.takes_later:
                self.taken(len(data))

    def taken(self, size: int) -> None:
        """The receiver has read so many of the bytes that arrived."""
        self.unread -= size
        self.link.relieve(self)

    def break_off(self) -> None:
        """The receiver is told at once that the stream is gone; what it has not read is lost."""
        self.paused = False
        self.held.clear()
        self.arrive(None, RESET)

    def lose(self) -> None:
        """The stream is gone, and the receiver is told, as soon as it is awake; all that was held up is lost."""
        self.waiting.clear()
        self.link.network.tell(self.receiver, self.break_off)


class Link:
    """One byte stream between a client and a server."""

    def __init__(self, network: VirtualNetwork, client: Node, number: int, address: tuple[str, int]) -> None:
        self.network = network
        self.client = client
        self.address = address
        self.server: Node | None = None  # from the beginning, where somebody listens
        self.ways: dict[Node, Way] = {client: Way(self, client, number)}  # by receiver
        self._arrivals = itertools.count()
        self.dead = False  # one end is gone, and the other is not told

    @property
    def parties(self) -> list[Node]:
        """Both ends; also the one that has yet to accept it, and would but for the trouble between them."""
        server, network = self.network.at(self.address), self.network
        knocks = len(self.ways) == 1 and self.ways[self.client].waiting
        if knocks and server is not None and not network.holds_up(self.client, self.client):
            return [self.client, server]
        return [*self.ways]

    def held_up(self, receiver: Node) -> bool:
        """Whether nothing comes through to `receiver` for now. It takes both ways until somebody has accepted."""
        network, sender = self.network, self.other(receiver)
        if sender is not None:
            return network.sleeps(receiver) or network.holds_up(sender.receiver, receiver)
        server = network.at(self.address)
        both = network.holds_up(server, receiver) or network.holds_up(receiver, server)
        return both or (server is not None and network.sleeps(server))

    @property
    def line(self) -> Line:
        """The client's own conditions, else the server's, else the network's."""
        for node in (self.client, self.server):
            if node is not None and node.line is not None:
                return node.line
        return self.network

    def other(self, node: Node) -> Way | None:
        """The way that `node` sends on; None while the far end is not there yet."""
        return next((way for receiver, way in self.ways.items() if receiver is not node), None)

    def send(self, sender: Node, data: bytes) -> None:
        way = self.other(sender)
        assert way is not None, "written to before it was open"
        for piece in self.network._cut(data):
            self.network.note(f"{sender.name} -> {way.receiver.name}", f"{len(piece)} bytes")
            for packet in self._packets(piece, way):
                self.carry(way.receiver, lambda packet=packet: way.carry(packet), len(packet))  # type: ignore[misc]
        way.unread += len(data)
        window = self.network._window
        if window is not None and way.unread > window and not way.blocked:
            way.blocked = True
            sender.endpoint.channel_blocked(self.ways[sender].channel)

    def _packets(self, data: bytes, way: Way) -> list[bytes]:
        """What arrives at once: not the first byte with the last, where the last takes its time to leave.

        A tenth of a second's worth at most, so that a long transmission takes no more steps than it has to.
        """
        rate = self.line.rate(way.receiver is not self.client)
        size = len(data) if not rate else max(PACKET, int(rate / 10))
        return [data[start : start + size] for start in range(0, len(data), size)]

    def offer(self, sender: Node, data: bytes | bytearray | memoryview) -> int:
        """`send` what the window has room for, as a socket does; how much that was.

        Where it was not all, the sender hears `channel_writable` once half the window is free.
        """
        way, window = self.other(sender), self.network._window
        assert way is not None, "written to before it was open"
        room = len(data) if window is None else max(window - way.unread, 0)
        if room:
            self.send(sender, bytes(data[:room]))
        if room < len(data):
            way.blocked = True
        return min(room, len(data))

    def carry(self, receiver: Node, deliver: Callable[[], None], size: int = 0, *, up: bool | None = None) -> None:
        """Have something happen at the receiver once it has come all the way, in its turn."""
        network = self.network
        way = self.ways[receiver]
        up = receiver is not self.client if up is None else up
        line = self.line
        rate = line.rate(up)
        way.free = max(network.now, way.free) + (size / rate if rate else 0.0)
        way.latest = max(way.free + line.delay(up, network.rng), way.latest)

        def arrive() -> None:
            if not self.dead:
                way.waiting.append((next(self._arrivals), deliver))
                self._deliver()

        network.schedule(way.latest, arrive)

    def release(self) -> None:
        """What was held up is delivered; what is still on its way comes after it."""
        if self._deliverable():
            self.network.schedule(self.network.now, self._deliver)

    def catch_up(self, receiver: Node) -> None:
        """All that was held up on the way to `receiver` is there, before that does anything."""
        way = self.ways.get(receiver)
        while way is not None and way.waiting and not self.held_up(receiver):
            way.waiting.popleft()[1]()

    def _deliver(self) -> None:
        while ways := self._deliverable():
            way = min(ways, key=lambda way: way.waiting[0][0])
            deliver = way.waiting.popleft()[1]
            deliver()
            way.receiver.pump()

    def _deliverable(self) -> list[Way]:
        return [way for way in self.ways.values() if way.waiting and not self.held_up(way.receiver)]

    def relieve(self, way: Way) -> None:
        """The sender can go on once half the window is free."""
        window = self.network._window
        if window is None or not way.blocked or way.unread > window // 2:
            return
        way.blocked = False
        sender = next(node for node in self.ways if node is not way.receiver)

        def tell() -> None:
            sender.endpoint.channel_writable(self.ways[sender].channel, now=self.network.now)
            sender.pump()

        self.network.schedule(self.network.now, lambda: self.network.tell(sender, tell))

    def close(self, sender: Node, abort: bool) -> None:
        self.ways[sender].end()
        way = self.other(sender)
        if way is not None:
            if not way.over:
                self.network.note(f"{sender.name} -> {way.receiver.name}", "reset" if abort else "end of stream")
            self.carry(way.receiver, lambda: self._end(way, abort))

    def _end(self, way: Way, abort: bool) -> None:
        if abort:
            way.break_off()
        else:
            way.arrive(None)

    def pause(self, receiver: Node, paused: bool) -> None:
        way = self.ways[receiver]
        way.paused = paused
        while way.held and not way.paused:
            way.arrive(way.held.popleft())

    def lose(self) -> None:
        """The stream is gone, and both ends are told."""
        for way in list(self.ways.values()):
            way.lose()

    def abandon(self, node: Node) -> None:
        """The stream is gone for `node`, which is told; the other end is not, and hears nothing more."""
        for way in self.ways.values():
            way.waiting.clear()
        if node in self.ways:
            self.ways[node].lose()
        self.dead = True

    def spend(self, way: Way, size: int) -> int | None:
        """How many of these bytes arrive before the connection is lost; None: all, and it is not."""
        if way.over:
            return None
        quotas = [(node._quota, "received" if node is way.receiver else "sent") for node in self.ways]
        quotas = [(quota, kind) for quota, kind in quotas if kind in quota]
        lasts = min((quota[kind] for quota, kind in quotas), default=None)
        if lasts is None:
            return None
        for quota, kind in quotas:
            quota[kind] -= min(lasts, size)
            if quota[kind] == 0:
                del quota[kind]
        return lasts if lasts <= size else None
