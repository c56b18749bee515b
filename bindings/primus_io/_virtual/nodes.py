"""What clients and servers are on a virtual network: nodes whose channels end at what their library has for sockets.

The law kept here: a node is there as long as what it is of, a `Driver` as a rule; neither its world nor the network
keep one that nobody uses.
"""

from __future__ import annotations

import contextvars
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import ref

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.lines import REFUSED
from primus_proto.testing.nodes import Caller, Listener, Node

from .._driver import Driver
from .._running import RunningDriver

if TYPE_CHECKING:
    from .world import Happening, World

__all__ = ["CallerNode", "End", "ListenerNode", "LoopNode", "MakeAccepted", "MakeOpened", "system_error"]


class End(Protocol):
    """One end of a connection, as a node tells it what happens."""

    def arrived(self, data: bytes) -> None: ...
    def ended(self, broken: bool) -> None: ...
    def writable(self) -> None: ...
    def abort(self) -> None: ...


DOING = ("pump", "timeout", "_arm")
"""All that a driver does by itself begins with one of these."""

E = TypeVar("E", bound=End)
MakeAccepted = Callable[["ListenerNode", int, tuple[str, int]], End]
"""Of the node that accepted a connection, that one's number, and the peer's address: its end."""
MakeOpened = Callable[[int, tuple[str, int], Callable[[], None]], E]
"""Of the connection's number, its own address, and what to call when whoever asked for it may have it: its end."""


def system_error(number: int) -> OSError:
    """The error that the operating system has for this."""
    return OSError(number, os.strerror(number))


class LoopNode(Node):
    """A node of whoever asked for connections."""

    takes_later = True

    def __init__(self, network: VirtualNetwork, name: str, world: World, owner: object) -> None:
        super().__init__(network, name)
        self.endpoint = self
        self.world = world
        self.context = contextvars.copy_context()
        """In which whoever is called about a connection is called."""
        self.ends: dict[int, End] = {}
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
        """It is all over; returns what was left open."""
        left = [repr(end) for end in self.ends.values()]
        for link in self.links.values():
            link.close(self, True)
        self.links.clear()
        self.ends.clear()
        return left

    def took(self, channel: int, size: int) -> None:
        """So much of what arrived was read."""
        if channel in self.links:
            self.links[channel].ways[self].taken(size)

    def pump(self) -> None:
        """What there is to do, the library's own queue has."""

    def jump(self, seconds: float) -> None:
        owner = self._owner()
        if isinstance(owner, Driver):
            owner.endpoint._session.wall_offset += seconds

    def suspend(self) -> None:
        """Its driver stops; the tasks that use it go on, and wait."""
        driver = self._owner()
        if not isinstance(driver, RunningDriver):
            super().suspend()
            return
        driver._arm(None)
        vars(driver).update(dict.fromkeys(DOING, lambda *args: None))

    def resume(self) -> None:
        driver = self._owner()
        if isinstance(driver, RunningDriver):
            for name in DOING:
                del vars(driver)[name]
            if not driver._closed:
                driver._armed = None
                driver.schedule()  # behind what reads what has arrived; the timer is set by it

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None:
        self.ends[channel].arrived(data)

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self.ends:
            self.ends[channel].ended(error is not None)

    def channel_blocked(self, channel: int) -> None:
        """It never is: an end offers no more than the line takes."""

    def channel_writable(self, channel: int, *, now: float) -> None:
        if channel in self.ends:
            self.ends[channel].writable()


class CallerNode(LoopNode, Caller):
    """A client."""

    def __init__(self, network: VirtualNetwork, world: World, owner: object) -> None:
        name, self.ip = network.introduce()
        super().__init__(network, name, world, owner)
        self._calls: dict[int, Call] = {}

    async def call(self, host: str, port: int, make: MakeOpened[E]) -> E:
        """Connect. Raises OSError where that fails."""
        number = next(self.world.numbers)
        made: list[E] = []

        def opened() -> End:
            made.append(make(number, self.address(number), call.answer))
            return made[0]

        call = self._calls[number] = Call(opened, self.world.happening())
        self.network.open(self, number, host, port)
        try:
            await call.answered.wait()
            if call.failure is not None:
                raise call.failure
        except BaseException:
            self._hang_up(number)
            raise
        finally:
            del self._calls[number]
        return made[0]

    def opened(self, channel: int) -> None:
        if channel in self._calls:
            self.ends[channel] = self._calls[channel].opened()

    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None:
        if channel in self._calls and channel not in self.ends:
            number = errno.ECONNREFUSED if error == REFUSED else errno.ECONNRESET
            self._calls[channel].answer(system_error(number))
        else:
            super().channel_closed(channel, error, now=now)

    def _hang_up(self, number: int) -> None:
        if number in self.ends:
            self.ends[number].abort()
        elif number in self.links:
            self.links.pop(number).close(self, True)


@dataclass
class Call:
    """A connection that is being opened."""

    opened: Callable[[], End]
    answered: Happening
    failure: OSError | None = field(init=False, default=None)

    def answer(self, failure: OSError | None = None) -> None:
        """It is open, or it failed."""
        self.failure = failure
        self.answered.set()


class ListenerNode(LoopNode, Listener):
    """A server."""

    def __init__(
        self, network: VirtualNetwork, world: World, owner: object, make: MakeAccepted, address: tuple[str, int]
    ) -> None:
        host, port = address
        name = host or "localhost"
        super().__init__(network, name if port == 80 else f"{name}:{port}", world, owner)
        self._make = make
        self.address = address

    def accepted(self, peer: tuple[str, int]) -> int:
        number = next(self.world.numbers)
        self.ends[number] = self._make(self, number, peer)
        return number

    def shut(self) -> list[str]:
        left = [f"<listener at {self.name}>"] if self.listening else []
        self.listening = False
        return left + super().shut()
