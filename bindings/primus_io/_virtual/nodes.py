"""The nodes of an event loop on a virtual network. Their channels are asyncio transports."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

from primus_proto import ByteServer
from primus_proto.testing import VirtualNetwork
from primus_proto.testing.links import REFUSED
from primus_proto.testing.nodes import Caller, Listener, Node

from .._driver import Driver
from .._running import RunningDriver

if TYPE_CHECKING:
    from .streams import Stream

__all__ = ["CallerNode", "ListenerNode", "LoopNode", "MakeAccepted", "MakeOpened", "system_error"]

DRIVER_ENTRIES = ("run_pump", "timeout", "_arm")
"""The methods in which a driver becomes active by itself. Suspending a driver replaces them."""

MakeAccepted = Callable[["ListenerNode", int, tuple[str, int]], "Stream"]
"""Takes the node that accepted, the number of the stream and the address of the peer."""
MakeOpened = Callable[[int, tuple[str, int], Callable[[], None]], "Stream"]
"""Takes the number of the stream, its own address, and a function to call once the user may have it."""


def system_error(number: int) -> OSError:
    """The error of the operating system with this number."""
    return OSError(number, os.strerror(number))


class LoopNode(Node):
    """A node of an event loop. `owner` asked for the connections: a `Driver`, or a protocol of the user."""

    network: VirtualNetwork
    acknowledges_reads = True

    def __init__(self, network: VirtualNetwork, name: str, numbers: Iterator[int], owner: object) -> None:
        super().__init__(network, name)
        self.endpoint: Any = self
        self.context: contextvars.Context = contextvars.copy_context()
        """Protocols are called in this context, in which the connection was asked for."""
        self.streams: dict[int, Stream] = {}
        self._numbers = numbers
        self._owner = ref(owner)
        if isinstance(owner, Driver):
            self._trace_events(owner)

    def _trace_events(self, driver: Driver) -> None:
        deliver = driver.deliver
        if isinstance(driver.endpoint, ByteServer):
            driver.endpoint.server.tells_heartbeats = True

        def note_and_deliver(event: object) -> None:
            self.network.note(self.name, str(event))
            deliver(event)

        driver.deliver = note_and_deliver

    def close_all(self) -> list[str]:
        """Close everything. Returns what was left open."""
        left = [repr(stream) for stream in self.streams.values()]
        for link in self.links.values():
            link.close(self, True)
        self.links.clear()
        self.streams.clear()
        return left

    def has_read(self, channel: int, size: int) -> None:
        """Acknowledge that a stream has read so many bytes."""
        if channel in self.links:
            self.links[channel].directions[self].acknowledge(size)

    def pump(self) -> None:
        """Do nothing: all work is in the queue of the loop."""

    def jump(self, seconds: float) -> None:
        owner = self._owner()
        if isinstance(owner, Driver):
            owner.endpoint._session.wall_offset += seconds

    def suspend(self) -> None:
        """Suspend the driver. The tasks that use it keep running, and wait for it."""
        driver = self._owner()
        if not isinstance(driver, RunningDriver):
            super().suspend()
            return
        driver._arm(None)
        vars(driver).update(dict.fromkeys(DRIVER_ENTRIES, lambda *args: None))

    def resume(self) -> None:
        driver = self._owner()
        if isinstance(driver, RunningDriver):
            for name in DRIVER_ENTRIES:
                del vars(driver)[name]
            if not driver._closed:
                driver._armed = None
                driver.schedule()  # after reading what has arrived; this also sets the timer

    # --- for the links ---

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.streams[channel].arrived(data)

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].ended(error is not None)

    def channel_blocked(self, channel: int) -> None:
        """Do nothing: a stream never offers more than fits into the window."""

    def channel_writable(self, channel: int, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].writable()


class CallerNode(LoopNode, Caller):
    """The node of a client."""

    def __init__(self, network: VirtualNetwork, numbers: Iterator[int], owner: object) -> None:
        self.ip: str
        name, self.ip = network.addresses.name_client()
        super().__init__(network, name, numbers, owner)
        self._attempts: dict[int, Attempt] = {}

    async def call(self, host: str, port: int, make: MakeOpened) -> Stream:
        """Open a connection. Raises OSError if that fails."""
        number = next(self._numbers)
        attempt = self._attempts[number] = Attempt(make)
        self.network.open(self, number, host, port)
        try:
            await attempt.finished.wait()
            if attempt.failure is not None:
                raise attempt.failure
        except BaseException:
            self._give_up(number)
            raise
        finally:
            del self._attempts[number]
        assert attempt.stream is not None
        return attempt.stream

    def opened(self, channel: int) -> None:
        if channel in self._attempts:
            attempt = self._attempts[channel]
            attempt.stream = attempt.make(channel, self.address(channel), attempt.finished.set)
            self.streams[channel] = attempt.stream

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self._attempts and channel not in self.streams:
            attempt = self._attempts[channel]
            attempt.failure = system_error(errno.ECONNREFUSED if error == REFUSED else errno.ECONNRESET)
            attempt.finished.set()
        else:
            super().channel_closed(channel, error, now=now)

    def _give_up(self, number: int) -> None:
        if number in self.streams:
            self.streams[number].abort()
        elif number in self.links:
            self.links.pop(number).close(self, True)


class Attempt:
    """A connection that is being opened."""

    def __init__(self, make: MakeOpened) -> None:
        self.make = make
        self.finished = asyncio.Event()
        self.stream: Stream | None = None
        self.failure: OSError | None = None


class ListenerNode(LoopNode, Listener):
    """The node of a server."""

    def __init__(
        self,
        network: VirtualNetwork,
        numbers: Iterator[int],
        owner: object,
        make: MakeAccepted,
        address: tuple[str, int],
    ) -> None:
        host, port = address
        name = host or "localhost"
        super().__init__(network, name if port == 80 else f"{name}:{port}", numbers, owner)
        self._make = make
        self.address = address

    def accepted(self, peer: tuple[str, int]) -> int:
        number = next(self._numbers)
        self.streams[number] = self._make(self, number, peer)
        return number

    def close_all(self) -> list[str]:
        left = [f"<listener at {self.name}>"] if self.listening else []
        self.listening = False
        return left + super().close_all()
