"""What the clients and servers of an event loop are on a virtual network: nodes whose channels are the loop's streams.

The law kept here: a node is there as long as what it is of, a `Driver` as a rule; neither the loop nor the network keep
one that nobody uses.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import ref

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.lines import REFUSED
from primus_proto.testing.nodes import Caller, Listener, Node

from .._driver import Driver
from .streams import Stream, system_error

if TYPE_CHECKING:
    from ..testing import VirtualLoop

__all__ = ["CallerNode", "ListenerNode", "LoopNode", "StreamServer"]


class LoopNode(Node):
    """A node of whoever asked for connections."""

    takes_later = True

    def __init__(self, network: VirtualNetwork, name: str, loop: VirtualLoop, owner: object) -> None:
        super().__init__(network, name)
        self.endpoint = self
        self.loop = loop
        self.context = contextvars.copy_context()
        self.streams: dict[int, Stream] = {}
        self._owner = ref(owner)
        if isinstance(owner, Driver):
            self._listen_in(owner)

    def _listen_in(self, driver: Driver) -> None:
        deliver = driver.deliver

        def note_and_deliver(event: object) -> None:
            self.network.note(self.name, str(event))
            deliver(event)

        driver.deliver = note_and_deliver

    def shut(self) -> list[str]:
        """The loop is closed; returns what was left open."""
        left = [repr(stream) for stream in self.streams.values()]
        for link in self.links.values():
            link.close(self, True)
        self.links.clear()
        self.streams.clear()
        return left

    def took(self, channel: int, size: int) -> None:
        """A protocol was given so much."""
        if channel in self.links:
            self.links[channel].ways[self].taken(size)

    def pump(self) -> None:
        """What there is to do is in the loop's queue."""

    def jump(self, seconds: float) -> None:
        owner = self._owner()
        if isinstance(owner, Driver):
            owner.endpoint._session.wall_offset += seconds

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.streams[channel].arrived(data)

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].ended(error is not None)

    def channel_blocked(self, channel: int) -> None:
        """It never is: a stream offers no more than the line takes."""

    def channel_writable(self, channel: int, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].writable()


class CallerNode(LoopNode, Caller):
    """A client."""

    def __init__(self, network: VirtualNetwork, loop: VirtualLoop, owner: object) -> None:
        name, self.ip = network.introduce()
        super().__init__(network, name, loop, owner)
        self._calls: dict[int, Call] = {}

    async def call(self, protocol: asyncio.BaseProtocol, host: str, port: int) -> Stream:
        """Connect. Raises OSError where that fails."""
        number = next(self.loop.numbers)
        call = self._calls[number] = Call(protocol, host, port, self.loop.create_future())
        self.network.open(self, number, host, port)
        try:
            await call.answered
        except BaseException:
            self._hang_up(number)
            raise
        finally:
            del self._calls[number]
        return self.streams.get(number) or call.stream

    def opened(self, channel: int) -> None:
        if channel in self._calls:
            call = self._calls[channel]
            extra = {"peername": (call.host, call.port), "sockname": self.address(channel)}
            call.stream = self.streams[channel] = Stream(self, channel, call.protocol, extra)
            call.stream.soon(call.answer, None)  # after `connection_made`

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self._calls and channel not in self.streams:
            number = errno.ECONNREFUSED if error == REFUSED else errno.ECONNRESET
            self._calls[channel].answer(system_error(number))
        else:
            super().channel_closed(channel, error, now=now)

    def _hang_up(self, number: int) -> None:
        if number in self.streams:
            self.streams[number].abort()
        elif number in self.links:
            self.links.pop(number).close(self, True)


@dataclass
class Call:
    """A connection that is being opened."""

    protocol: asyncio.BaseProtocol
    host: str
    port: int
    answered: asyncio.Future[None]
    stream: Stream = field(init=False)

    def answer(self, failure: OSError | None) -> None:
        """It is open, or it failed."""
        if self.answered.done():
            return  # nobody waits for it any longer
        if failure is None:
            self.answered.set_result(None)
        else:
            self.answered.set_exception(failure)


class ListenerNode(LoopNode, Listener):
    """A server."""

    def __init__(
        self,
        network: VirtualNetwork,
        loop: VirtualLoop,
        owner: object,
        factory: Callable[[], asyncio.BaseProtocol],
        address: tuple[str, int],
    ) -> None:
        host, port = address
        name = host or "localhost"
        super().__init__(network, name if port == 80 else f"{name}:{port}", loop, owner)
        self._factory = factory
        self.address = address

    def accepted(self, peer: tuple[str, int]) -> int:
        number = next(self.loop.numbers)
        extra = {"peername": peer, "sockname": self.address}
        self.streams[number] = Stream(self, number, self._factory(), extra)
        return number

    def shut(self) -> list[str]:
        left = [f"<listener at {self.name}>"] if self.listening else []
        self.listening = False
        return left + super().shut()


class StreamServer(asyncio.AbstractServer):
    """What `create_server` gives."""

    def __init__(self, node: ListenerNode) -> None:
        self._node = node
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        """The address, as of a socket."""
        return self._node.address

    def get_loop(self) -> VirtualLoop:
        return self._node.loop

    def is_serving(self) -> bool:
        return self._node.listening

    def close(self) -> None:
        self._node.listening = False

    async def start_serving(self) -> None:
        """It does already."""

    async def serve_forever(self) -> None:
        try:
            await self._node.loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""
