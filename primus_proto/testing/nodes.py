"""The base classes of nodes, whatever has connections on a virtual network.

`endpoints` has those of the core. A node of another kind, such as an event loop's, handles what arrives in the four
methods of `Receiver`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from ..errors import LocalProtocolError
from .conditions import Conditions

if TYPE_CHECKING:
    from .links import Link, LinkNetwork

__all__ = ["Caller", "Listener", "Node", "Receiver"]


class Receiver(Protocol):
    """What links tell a node: the same methods as those of `ByteClient` and `ByteServer`."""

    def receive_data(self, channel: int, data: bytes, *, now: float) -> None: ...
    def channel_closed(self, channel: int, error: str | None, *, now: float) -> None: ...
    def channel_blocked(self, channel: int) -> None: ...
    def channel_writable(self, channel: int, *, now: float) -> None: ...


class Node(ABC):
    """One end of connections."""

    endpoint: Receiver
    acknowledges_reads = False
    """Whether it calls `Direction.acknowledge` for what it has read. If not, it reads all that arrives at once."""

    def __init__(self, network: LinkNetwork, name: str) -> None:
        self.network = network
        self.name = name
        self.links: dict[int, Link] = {}
        self.conditions: Conditions | None = None
        """How deliveries from and to it travel; None: by the network's conditions."""
        self.break_limits: dict[str, int] = {}
        """How many bytes may still be "sent" or "received" before a connection is lost."""

    @abstractmethod
    def pump(self) -> None:
        """The receiver was told something: do what follows from it."""

    @abstractmethod
    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back."""

    def suspend(self) -> None:
        """Stop until `resume`. Raises LocalProtocolError if it cannot be stopped."""
        raise LocalProtocolError(f"{self.name} cannot be suspended, only its network: use freeze() and thaw()")

    def resume(self) -> None:  # noqa: B027  # a node that cannot be suspended has nothing to do here
        """Go on: what has arrived comes first, overdue timers after it."""


class Caller(Node):
    """A node that opens connections."""

    ip = ""
    """The IP address that servers see."""

    def address(self, channel: int) -> tuple[str, int]:
        """The address and port a connection comes from."""
        return self.ip, 1024 + channel % 60_000

    @abstractmethod
    def opened(self, channel: int) -> None:
        """The requested connection is up."""


class Listener(Node):
    """A node that connections are opened to."""

    listening = True

    @property
    def accepts(self) -> bool:
        """Whether it accepts connections; if not, they are refused."""
        return self.listening

    @abstractmethod
    def accepted(self, peer: tuple[str, int]) -> int:
        """Accept a connection; returns the channel's number."""
