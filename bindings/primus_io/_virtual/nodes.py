"""The nodes of an event loop on a virtual network. Their channels end at asyncio transports."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.links import REFUSED
from primus_proto.testing.nodes import Caller, Listener, Node

from .._driver import Driver
from .._running import RunningDriver

if TYPE_CHECKING:
    from .streams import Stream

__all__ = ["CallerNode", "ListenerNode", "LoopNode", "MakeAccepted", "MakeOpened", "system_error"]

DRIVER_ENTRIES = ("pump", "timeout", "_arm")
"""Everything a driver does by itself begins in one of these methods. A suspended driver has them replaced."""

MakeAccepted = Callable[["ListenerNode", int, tuple[str, int]], "Stream"]
"""Takes the node that accepted, the number of the stream and the peer's address."""
MakeOpened = Callable[[int, tuple[str, int], Callable[[], None]], "Stream"]
"""Takes the number of the stream, its own address, and what to call when the user may have it."""


def system_error(number: int) -> OSError:
    """The error that the operating system has for an error number."""
    return OSError(number, os.strerror(number))


class LoopNode(Node):
    """A node of an event loop. `owner` is who asked for the connections: a `Driver`, or a protocol of the user's."""

    acknowledges_reads = True

    def __init__(self, network: VirtualNetwork, name: str, numbers: Iterator[int], owner: object) -> None:
        super().__init__(network, name)
        self.endpoint: Any = self
        self.context: contextvars.Context = contextvars.copy_context()
        """Protocols are called in the context that asked for the connection."""
        self.streams: dict[int, Stream] = {}
        self._numbers = numbers
        self._owner = ref(owner)
        if isinstance(owner, Driver):
            self._trace_events(owner)

    def _trace_events(self, driver: Driver) -> None:
        deliver = driver.deliver

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
        """A stream has read some of what arrived."""
        if channel in self.links:
            self.links[channel].directions[self].acknowledge(size)

    def pump(self) -> None:
        """Nothing: what there is to do is in the loop's own queue."""

    def jump(self, seconds: float) -> None:
        owner = self._owner()
        if isinstance(owner, Driver):
            owner.endpoint._session.wall_offset += seconds

    def suspend(self) -> None:
        """Stop the driver. The tasks that use it go on, and wait."""
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
                driver.schedule()  # after what has arrived is read; this also sets the timer

    # --- what links say ---

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.streams[channel].arrived(data)

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].ended(error is not None)

    def channel_blocked(self, channel: int) -> None:
        """Never called: a stream offers no more than the window has room for."""

    def channel_writable(self, channel: int, *, now: float) -> None:
        if channel in self.streams:
            self.streams[channel].writable()


class CallerNode(LoopNode, Caller):
    """A client."""

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
    """A server."""

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
