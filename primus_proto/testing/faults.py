"""Which nodes of a virtual network are partitioned from which, and which are suspended."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol

__all__ = ["Faults", "Side"]

Side = Literal["out", "in"] | None


class Suspendable(Protocol):
    """A node, as faults see it."""

    def suspend(self) -> None:
        """Stop. Raises LocalProtocolError if it cannot be stopped."""


class Partition(NamedTuple):
    """A partition between some nodes and all others. `way` is the direction that stops, seen from the nodes."""

    nodes: AbstractSet[Suspendable]
    way: Side

    def separates(self, sender: Suspendable | None, receiver: Suspendable | None) -> bool:
        """Whether nothing gets from one to the other."""
        if not self.nodes:
            return True  # everyone from everyone
        leaves = sender in self.nodes
        crosses = leaves != (receiver in self.nodes)
        return crosses and self.way in (None, "out" if leaves else "in")


class Faults:
    """What is wrong on the network right now. None stands for an address that no node has."""

    def __init__(self) -> None:
        self.frozen: set[Suspendable] = set()
        self.partitions: list[Partition] = []
        self._suspended: dict[Suspendable, list[Callable[[], None]]] = {}  # with what to call on waking

    def partition(self, nodes: AbstractSet[Suspendable], way: Side) -> None:
        """Cut these nodes off from all others."""
        self.partitions.append(Partition(nodes, way))

    def separates(self, sender: Suspendable | None, receiver: Suspendable | None) -> bool:
        """Whether a partition lies between them."""
        return any(partition.separates(sender, receiver) for partition in self.partitions)

    def blocks(self, sender: Suspendable | None, receiver: Suspendable | None) -> bool:
        """Whether what `sender` sends does not reach `receiver` for now."""
        return sender in self.frozen or receiver in self.frozen or self.separates(sender, receiver)

    def is_suspended(self, node: Suspendable) -> bool:
        return node in self._suspended

    def suspend(self, node: Suspendable) -> None:
        """Stop a node. Raises LocalProtocolError if it cannot be stopped."""
        if node not in self._suspended:
            node.suspend()
            self._suspended[node] = []

    def wake(self, node: Suspendable) -> list[Callable[[], None]]:
        """No longer count a node as suspended; returns what it has to be told."""
        return self._suspended.pop(node)

    def tell(self, node: Suspendable, call: Callable[[], None]) -> None:
        """Call now, or when the node is no longer suspended: for what its own machine tells it, not the network."""
        if node in self._suspended:
            self._suspended[node].append(call)
        else:
            call()
